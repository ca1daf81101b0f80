/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Device groups and target port groups as the configfs tree has them.  All of it is under scst_config_mutex.
 */
#ifndef SCST_ALUA_H
#define SCST_ALUA_H

#include "core.h"

/* What is in force of a device group; readers use RCU.  Groups and ports are behind it. */
struct scst_alua_now {
	struct rcu_head rcu;
	struct scst_alua alua;
};

/**
 * struct scst_alua_ask - what a device group asks user space, see alua-ask.c
 * @ms: how long an answer may take, 0: nobody is asked; under scst_config_mutex
 * @number: of the question that is open, or of the last one
 * @cmd: SET TARGET PORT GROUPS that waits for the answer, NULL: no question is open
 * @entry: open questions
 * @until: jiffies, 64 bits, when it is too late
 * @states: wanted, of each group in force
 * @work: it is too late
 *
 * All but @ms is under scst_ask_lock.
 */
struct scst_alua_ask {
	u32 ms;
	u64 number;
	struct scst_cmd *cmd;
	struct list_head entry;
	u64 until;
	u8 states[SCST_ALUA_GROUPS_MAX];
	struct delayed_work work;
};

/**
 * struct scst_alua_dir - alua/GROUP: devices that have the same target port groups
 * @by_command: initiators may change states (SET TARGET PORT GROUPS)
 * @transition_time: what initiators are told of implicit changes, seconds
 * @ask: what user space is asked before they do
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
	struct scst_alua_ask ask;
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
struct scst_alua_tpg *scst_alua_find_tpg(const struct scst_alua_dir *dir, u16 id);
int scst_alua_change(struct scst_alua_dir *dir, const u8 *states, const struct scst_nexus *by);

/* --- alua-ask.c --- */

#define SCST_ALUA_ASK_MAX	60000U	/* milliseconds: about as long as initiators wait for a command */

int scst_alua_ask(struct scst_alua_dir *dir, struct scst_cmd *cmd, const u8 *states);
void scst_alua_ask_void(struct scst_alua_ask *ask);
ssize_t scst_alua_ask_print(const struct scst_alua_dir *dir, char *page);
int scst_alua_ask_end(struct scst_alua_dir *dir, u64 number, bool accept);
void scst_alua_ask_setup(struct scst_alua_ask *ask);
void scst_alua_ask_stop(struct scst_alua_ask *ask);

#endif /* SCST_ALUA_H */
