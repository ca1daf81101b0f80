/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Device groups and target port groups as the configfs tree has them.  All of it is under scst_config_mutex.
 */
#ifndef SCST_ALUA_H
#define SCST_ALUA_H

#include "core.h"

struct scst_alua_now;

/**
 * struct scst_alua_dir - alua/GROUP: devices that have the same target port groups
 * @by_command: initiators may change states (SET TARGET PORT GROUPS)
 * @transition_time: what initiators are told of implicit changes, seconds
 * @now: what is in force, NULL: nothing ever was
 */
struct scst_alua_dir {
	struct config_group group;
	struct config_group devices;
	struct config_group groups;
	struct list_head entry;		/* scst_alua_dirs */
	struct list_head device_list;
	struct list_head tpgs;
	u32 nr_tpgs;
	bool by_command;
	u8 transition_time;
	struct scst_alua_now *now;
};

/* alua/GROUP/devices/NAME */
struct scst_alua_device {
	struct config_item item;
	struct list_head entry;		/* empty: its directory is gone */
	struct scst_alua_dir *dir;
	struct scst_device *dev;	/* NULL: no link */
};

/**
 * struct scst_alua_tpg - alua/GROUP/target_port_groups/NAME
 * @nr_ports: directories of ports
 * @id: TARGET PORT GROUP
 * @state: enum scst_alua_state
 * @before: the one that "transitioning" came after
 * @status: enum scst_alua_status
 * @preferred: PREF
 */
struct scst_alua_tpg {
	struct config_group group;
	struct config_group ports;
	struct scst_alua_dir *dir;
	struct list_head entry;
	struct list_head port_list;
	u32 nr_ports;
	u16 id;
	u8 state;
	u8 before;
	u8 status;
	bool preferred;
};

/* .../ports/NAME: a target of this host, or a port of another one that is known by its number */
struct scst_alua_port {
	struct config_item item;
	struct list_head entry;		/* empty: its directory is gone */
	struct scst_alua_tpg *tpg;
	struct scst_target *tgt;	/* NULL: no link */
	u16 remote_id;			/* 0: none */
};

extern struct list_head scst_alua_dirs;

/* Relative target port identifier, 0: it has none (yet). */
static inline u16 scst_alua_port_id(const struct scst_alua_port *port)
{
	return port->tgt ? READ_ONCE(port->tgt->rel_tgt_id) : port->remote_id;
}

int scst_alua_publish(struct scst_alua_dir *dir, enum scst_ua ua, const struct scst_nexus *except, gfp_t gfp);
void scst_alua_join(struct scst_device *dev, struct scst_alua_dir *dir);
void scst_alua_forget(struct scst_alua_dir *dir);
int scst_alua_set_state(struct scst_alua_tpg *tpg, u8 state);

#endif /* SCST_ALUA_H */
