/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Asymmetric logical unit access (SPC-4 5.15.2, SPC-5 5.18): the target port groups of a logical unit, what REPORT TARGET PORT
 * GROUPS says of them, and what SET TARGET PORT GROUPS asks for.
 *
 * Pure: no locks, no allocation.  Also built in user space by the tests.  A struct scst_alua is a value: it is never
 * changed, but replaced whole.
 */
#ifndef SCST_ALUA_STATE_H
#define SCST_ALUA_STATE_H

#include <linux/types.h>

#define SCST_ALUA_GROUPS_MAX	32	/* target port groups of a device group */
#define SCST_ALUA_PORTS_MAX	255	/* ports of a target port group: its count is a byte */
#define SCST_ALUA_LIST_MAX	(4 + 4 * (SCST_ALUA_GROUPS_MAX + 1))	/* of a longer list it is known that it is wrong */

/* ASYMMETRIC ACCESS STATE */
enum scst_alua_state {
	SCST_ALUA_OPTIMIZED	= 0x0,
	SCST_ALUA_NONOPTIMIZED	= 0x1,
	SCST_ALUA_STANDBY	= 0x2,
	SCST_ALUA_UNAVAILABLE	= 0x3,
	SCST_ALUA_OFFLINE	= 0xe,
	SCST_ALUA_TRANSITIONING	= 0xf,
	SCST_ALUA_STATES,
};

/* STATUS CODE: what has brought a group into its state */
enum scst_alua_status {
	SCST_ALUA_NO_STATUS,
	SCST_ALUA_BY_COMMAND,	/* SET TARGET PORT GROUPS */
	SCST_ALUA_IMPLICIT,
};

/**
 * struct scst_alua_group - a target port group
 * @id: TARGET PORT GROUP
 * @first: its first port among those of the logical unit
 * @nr_ports: ports, at least one
 * @state: enum scst_alua_state
 * @status: enum scst_alua_status
 * @preferred: PREF
 */
struct scst_alua_group {
	u16 id;
	u16 first;
	u8 nr_ports;
	u8 state;
	u8 status;
	bool preferred;
};

/**
 * struct scst_alua - the target port groups of a logical unit
 * @by_command: SET TARGET PORT GROUPS may change states
 * @transition_time: IMPLICIT TRANSITION TIME, seconds; 0: not told
 * @nr_groups: groups
 * @nr_ports: ports of all of them
 * @group: each identifier once
 * @port: relative target port identifiers, each once
 */
struct scst_alua {
	bool by_command;
	u8 transition_time;
	u16 nr_groups;
	u16 nr_ports;
	const struct scst_alua_group *group;
	const u16 *port;
};

/* Why a list is refused: negative results of scst_alua_parse(). */
enum scst_alua_fault {
	SCST_ALUA_CUT	= -1,	/* it ends in the middle of a descriptor */
	SCST_ALUA_FIELD	= -2,	/* a field is wrong */
};

/* Takes a report piece by piece. */
typedef void (*scst_alua_put_fn)(void *to, const u8 *bytes, u32 len);

const char *scst_alua_state_name(u8 state);
const struct scst_alua_group *scst_alua_of_port(const struct scst_alua *alua, u16 port);
bool scst_alua_same(const struct scst_alua *a, const struct scst_alua *b);
void scst_alua_report(const struct scst_alua *alua, bool extended, scst_alua_put_fn put, void *to);
int scst_alua_parse(const struct scst_alua *alua, const u8 *list, u32 len, u8 *states, u16 *byte);

#endif /* SCST_ALUA_STATE_H */
