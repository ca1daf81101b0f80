// SPDX-License-Identifier: GPL-2.0-only
/*
 * What may pass a reservation: the tables of SPC-4 (persistent reservations) and SPC-2 (RESERVE and RELEASE), with
 * the exceptions that SPC-3 made for RESERVE and RELEASE beside persistent reservations (CRH).  Pure.
 *
 * scst_access_stops() has a bit for each class of commands: what a nexus's gates have to be while nothing changes.
 */
#include <linux/kernel.h>
#include "pr-state.h"

#define OF(name)	(1 << SCST_ACCESS_##name)
#define MEDIUM		(OF(READ) | OF(WRITE))
#define OLD		(OF(RESERVE) | OF(RELEASE))
#define PERSISTENT	(OF(PR_IN) | OF(PR_OUT))

/**
 * struct scst_access_row - what a nexus may not do
 * @conflict: classes that end in RESERVATION CONFLICT
 * @nothing: classes that end GOOD, and nothing is done
 */
struct scst_access_row {
	u16 conflict;
	u16 nothing;
};

static const struct scst_access_row scst_access_rows[SCST_HOLD_NR][SCST_RELATION_NR] = {
	[SCST_HOLD_KEYS] = {
		[SCST_RELATION_NONE]		= { .conflict = OLD },
		[SCST_RELATION_REGISTERED]	= { .conflict = OLD },
	},
	[SCST_HOLD_RESERVE] = {
		[SCST_RELATION_NONE]		= {
			.conflict = OF(PROBE) | MEDIUM | OF(RESERVE) | PERSISTENT,
			.nothing = OF(RELEASE),
		},
		[SCST_RELATION_HOLDER]		= { .conflict = PERSISTENT },
	},
	[SCST_HOLD_WRITE] = {
		[SCST_RELATION_NONE]		= { .conflict = OF(WRITE) | OLD },
		[SCST_RELATION_REGISTERED]	= { .conflict = OF(WRITE) | OLD },
		[SCST_RELATION_HOLDER]		= { .nothing = OLD },
	},
	[SCST_HOLD_ACCESS] = {
		[SCST_RELATION_NONE]		= { .conflict = MEDIUM | OLD },
		[SCST_RELATION_REGISTERED]	= { .conflict = MEDIUM | OLD },
		[SCST_RELATION_HOLDER]		= { .nothing = OLD },
	},
	[SCST_HOLD_WRITE_REG] = {
		[SCST_RELATION_NONE]		= { .conflict = OF(WRITE) | OLD },
		[SCST_RELATION_REGISTERED]	= { .nothing = OLD },
		[SCST_RELATION_HOLDER]		= { .nothing = OLD },
	},
	[SCST_HOLD_ACCESS_REG] = {
		[SCST_RELATION_NONE]		= { .conflict = MEDIUM | OLD },
		[SCST_RELATION_REGISTERED]	= { .nothing = OLD },
		[SCST_RELATION_HOLDER]		= { .nothing = OLD },
	},
};

/* What was held is not known: only what no reservation stops, and what tells of it or can mend it. */
#define LOST_STOPS	(OF(PROBE) | MEDIUM | OLD)

/**
 * scst_access_of() - the class of a command whose class is in its CDB
 * @access: column of the opcode's row
 * @cdb: at least 6 bytes
 *
 * To start a unit, and to allow removal of its medium, is everybody's right.
 *
 * Return: one of those below SCST_ACCESS_NR.
 */
enum scst_op_access scst_access_of(enum scst_op_access access, const u8 *cdb)
{
	bool start = (cdb[4] & 0xf1) == 0x01, allow = !(cdb[4] & 0x03);

	if (access == SCST_ACCESS_START_STOP)
		return start ? SCST_ACCESS_ALWAYS : SCST_ACCESS_WRITE;
	if (access == SCST_ACCESS_PREVENT)
		return allow ? SCST_ACCESS_ALWAYS : SCST_ACCESS_WRITE;
	return access;
}

/* What holds a device that nobody has reserved by RESERVE. */
enum scst_hold scst_pr_hold(const struct scst_pr *pr)
{
	bool write = pr->type == SCST_PR_WRITE_EXCLUSIVE || pr->type == SCST_PR_WRITE_EXCLUSIVE_RO ||
		     pr->type == SCST_PR_WRITE_EXCLUSIVE_AR;

	if (pr->lost)
		return SCST_HOLD_LOST;
	if (pr->type == SCST_PR_NONE)
		return pr->nr ? SCST_HOLD_KEYS : SCST_HOLD_FREE;
	if (scst_pr_of_registrants(pr->type))
		return write ? SCST_HOLD_WRITE_REG : SCST_HOLD_ACCESS_REG;
	return write ? SCST_HOLD_WRITE : SCST_HOLD_ACCESS;
}

/* What an I_T nexus is to the persistent reservation. */
enum scst_relation scst_pr_relation(const struct scst_pr *pr, const struct scst_pr_nexus *nexus)
{
	u32 registrant = scst_pr_find(pr, nexus);

	if (registrant == SCST_PR_NOBODY)
		return SCST_RELATION_NONE;
	return scst_pr_is_holder(pr, registrant) ? SCST_RELATION_HOLDER : SCST_RELATION_REGISTERED;
}

/* Bits of the classes (enum scst_op_access) that do not just pass. */
u32 scst_access_stops(enum scst_hold hold, enum scst_relation relation)
{
	const struct scst_access_row *row = &scst_access_rows[hold][relation];

	return hold == SCST_HOLD_LOST ? LOST_STOPS : row->conflict | row->nothing;
}

/**
 * scst_access_decide() - may a command pass?
 * @hold: what holds the device
 * @relation: what the nexus is to it
 * @access: what the command wants: below SCST_ACCESS_NR
 */
enum scst_access_answer scst_access_decide(enum scst_hold hold, enum scst_relation relation,
					   enum scst_op_access access)
{
	const struct scst_access_row *row = &scst_access_rows[hold][relation];

	if (!(scst_access_stops(hold, relation) & 1 << access))
		return SCST_ACCESS_PASS;
	if (hold == SCST_HOLD_LOST)
		return SCST_ACCESS_LOST;
	return row->nothing & 1 << access ? SCST_ACCESS_NOTHING : SCST_ACCESS_CONFLICT;
}
