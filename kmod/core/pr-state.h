/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Persistent reservations (SPC-4, SPC-5: Reservations): what is registered and reserved on one device, and what each
 * command makes of it.
 *
 * Pure: no locks, no allocation, nothing of the kernel but names of types, so that models, fuzzers and user space
 * have the same code.  A state is a value: it is never changed, but replaced whole by what scst_pr_out() makes of it.
 *
 *   pr-state.c	PERSISTENT RESERVE OUT: the state that follows, the status, who is told what
 *   pr-parse.c	its parameter lists
 *   pr-report.c	PERSISTENT RESERVE IN
 *   pr-access.c	what may pass a reservation
 *   pr-record.c	the state as bytes that survive a loss of power
 */
#ifndef SCST_PR_STATE_H
#define SCST_PR_STATE_H

#include <linux/types.h>
#include "transport-id.h"

#define SCST_PR_MAX	1024	/* registrants of a device: beyond it, INSUFFICIENT REGISTRATION RESOURCES */
#define SCST_PR_NOBODY	0xffffffffu

/* PERSISTENT RESERVE OUT service actions */
enum scst_pr_action {
	SCST_PR_REGISTER,
	SCST_PR_RESERVE,
	SCST_PR_RELEASE,
	SCST_PR_CLEAR,
	SCST_PR_PREEMPT,
	SCST_PR_PREEMPT_AND_ABORT,
	SCST_PR_REGISTER_AND_IGNORE,
	SCST_PR_REGISTER_AND_MOVE,
	SCST_PR_REPLACE_LOST,
	SCST_PR_ACTIONS,
};

enum scst_pr_type {
	SCST_PR_NONE			= 0,	/* nothing is reserved */
	SCST_PR_WRITE_EXCLUSIVE		= 1,
	SCST_PR_EXCLUSIVE_ACCESS	= 3,
	SCST_PR_WRITE_EXCLUSIVE_RO	= 5,	/* registrants only */
	SCST_PR_EXCLUSIVE_ACCESS_RO	= 6,
	SCST_PR_WRITE_EXCLUSIVE_AR	= 7,	/* all registrants: each of them is a holder */
	SCST_PR_EXCLUSIVE_ACCESS_AR	= 8,
};

/* An I_T nexus: an initiator port, and the relative identifier of the target port. */
struct scst_pr_nexus {
	struct scst_transport_id id;
	u16 port;
};

struct scst_pr_registrant {
	u64 key;	/* never 0 */
	struct scst_pr_nexus nexus;
};

#define SCST_IDENT_KINDS	2
#define SCST_IDENT_MAX		(64 + 256)	/* bytes of all kinds */

/**
 * struct scst_ident - identifying information that initiators have given the device: see ident.c
 * @len: bytes of each kind
 * @bytes: the kinds, each with room for its most; zeroes behind @len
 */
struct scst_ident {
	u16 len[SCST_IDENT_KINDS];
	u8 bytes[SCST_IDENT_MAX];
};

/* The most there is of a kind, and where it is in scst_ident.bytes. */
static inline u16 scst_ident_max(u32 kind)
{
	return kind ? 256 : 64;
}

static inline u16 scst_ident_at(u32 kind)
{
	return kind ? 64 : 0;
}

/* What was begun with the whole medium, and is not known to have come to its end: see overhaul.c. */
enum scst_undone {
	SCST_UNDONE_NOTHING,
	SCST_UNDONE_FORMAT,		/* FORMAT UNIT that was answered before */
	SCST_UNDONE_SANITIZE,		/* SANITIZE: only another one that succeeds is a way out */
	SCST_UNDONE_SANITIZE_FREE,	/* ... or EXIT FAILURE MODE */
	SCST_UNDONE_NR,
};

/**
 * struct scst_pr - what is registered and reserved on one device
 * @generation: PRGENERATION
 * @nr: registrants
 * @room: of how many there is memory for
 * @holder: which of them holds the reservation; SCST_PR_NOBODY if nothing is reserved, or all of them hold it
 * @type: enum scst_pr_type
 * @aptpl: it survives a loss of power
 * @lost: it should have, and did not: nobody is registered, and only REPLACE LOST RESERVATION helps
 * @undone: enum scst_undone; like @ident
 * @ident: nothing of reservations, but of what survives a loss of power; no reservation and no end of one changes it
 * @reg: each I_T nexus once, in the order in which they came
 */
struct scst_pr {
	u32 generation;
	u32 nr;
	u32 room;
	u32 holder;
	u8 type;
	bool aptpl;
	bool lost;
	u8 undone;
	struct scst_ident ident;
	struct scst_pr_registrant reg[];
};

/* A port that the device can be reached by. */
struct scst_pr_port {
	u16 id;		/* relative target port identifier */
	u8 protocol;	/* enum scst_protocol; SCST_PROTOCOL_NONE: initiator ports of all */
};

/**
 * struct scst_pr_place - where a command came from, and what the device is like
 * @who: the I_T nexus it came by
 * @ports: all that the device can be reached by, that of @who among them
 * @nr_ports: entries in @ports
 * @max: registrants there may be; never more than SCST_PR_MAX
 * @durable: the state can be made to survive a loss of power
 */
struct scst_pr_place {
	const struct scst_pr_nexus *who;
	const struct scst_pr_port *ports;
	u32 nr_ports;
	u32 max;
	bool durable;
};

/**
 * struct scst_pr_request - a PERSISTENT RESERVE OUT command, as scst_pr_parse() has read it
 * @action: enum scst_pr_action
 * @scope: SCOPE
 * @type: TYPE
 * @spec_i_pt: SPEC_I_PT: @ids are registered as well
 * @all_tg_pt: ALL_TG_PT: through all target ports
 * @aptpl: APTPL
 * @unreg: UNREG
 * @port: REGISTER AND MOVE: RELATIVE TARGET PORT IDENTIFIER
 * @key: RESERVATION KEY
 * @sa_key: SERVICE ACTION RESERVATION KEY
 * @ids: TransportIDs as they came, checked, in the caller's parameter list
 * @ids_len: bytes of them
 * @nr_ids: how many they are
 */
struct scst_pr_request {
	u8 action;
	u8 scope;
	u8 type;
	bool spec_i_pt;
	bool all_tg_pt;
	bool aptpl;
	bool unreg;
	u16 port;
	u64 key;
	u64 sa_key;
	const u8 *ids;
	u32 ids_len;
	u32 nr_ids;
};

/* How a command ends. */
enum scst_pr_status {
	SCST_PR_GOOD,
	SCST_PR_CONFLICT,	/* RESERVATION CONFLICT */
	SCST_PR_CHECK,		/* CHECK CONDITION */
};

/* Sense key, additional sense code and its qualifier, one byte each, as SCST_SENSE() has them. */
#define SCST_PR_SENSE_LIST_LENGTH	0x051a00
#define SCST_PR_SENSE_INVALID_CDB	0x052400
#define SCST_PR_SENSE_INVALID_LIST	0x052600
#define SCST_PR_SENSE_INVALID_RELEASE	0x052604
#define SCST_PR_SENSE_RESOURCES		0x055504
#define SCST_PR_SENSE_LOST		0x074401

/**
 * struct scst_pr_verdict - status and sense data
 * @status: enum scst_pr_status
 * @in_cdb: the field is in the CDB, else in the parameter list
 * @bit: its most significant bit, or -1
 * @byte: its first byte, or -1: no field is to blame
 * @sense: of a CHECK CONDITION
 */
struct scst_pr_verdict {
	u8 status;
	bool in_cdb;
	s8 bit;
	s32 byte;
	u32 sense;
};

/* What becomes of a registrant of the old state: bits of scst_pr_answer.told. */
enum scst_pr_told {
	SCST_PR_TOLD_PREEMPTED		= 1 << 0,	/* unit attention 2A/03: RESERVATIONS PREEMPTED */
	SCST_PR_TOLD_RELEASED		= 1 << 1,	/* 2A/04: RESERVATIONS RELEASED */
	SCST_PR_TOLD_UNREGISTERED	= 1 << 2,	/* 2A/05: REGISTRATIONS PREEMPTED */
	SCST_PR_TOLD_ABORT		= 1 << 3,	/* its other commands are aborted, its PREVENT and its ACA end */
	SCST_PR_TOLD_GONE		= 1 << 4,	/* is registered no more; told nothing by that alone */
};

/**
 * struct scst_pr_answer - what else comes of a command
 * @verdict: how it ends
 * @changed: the new state differs from the old one: to be recorded before the command is answered
 * @told: enum scst_pr_told of each registrant of the old state, in its order: the caller's memory, old->nr bytes.
 *	Nobody else is told anything, and none of it is to be told before the new state is in force.
 */
struct scst_pr_answer {
	struct scst_pr_verdict verdict;
	bool changed;
	u8 *told;
};

/* --- pr-state.c ----------------------------------------------------------------------------- */

size_t scst_pr_size(u32 room);
void scst_pr_init(struct scst_pr *pr, u32 room);
int scst_pr_copy(struct scst_pr *to, const struct scst_pr *from);
void scst_pr_power_loss(struct scst_pr *pr);
void scst_pr_wipe(const struct scst_pr *old, struct scst_pr *new, u8 *told);
bool scst_pr_valid(const struct scst_pr *pr);
bool scst_pr_type_valid(u8 type);
bool scst_pr_nexus_same(const struct scst_pr_nexus *a, const struct scst_pr_nexus *b);
u32 scst_pr_find(const struct scst_pr *pr, const struct scst_pr_nexus *nexus);
bool scst_pr_is_holder(const struct scst_pr *pr, u32 registrant);
u32 scst_pr_room(const struct scst_pr *old, const struct scst_pr_place *place, const struct scst_pr_request *req);
int scst_pr_out(const struct scst_pr *old, const struct scst_pr_place *place, const struct scst_pr_request *req,
		struct scst_pr *new, struct scst_pr_answer *answer);

/* Registrants only, or all registrants: who is registered may do what the holder may. */
static inline bool scst_pr_of_registrants(u8 type)
{
	return type >= SCST_PR_WRITE_EXCLUSIVE_RO;
}

static inline bool scst_pr_of_all(u8 type)
{
	return type >= SCST_PR_WRITE_EXCLUSIVE_AR;
}

/* --- pr-parse.c ----------------------------------------------------------------------------- */

bool scst_pr_refuse(struct scst_pr_verdict *verdict, u32 sense, s32 byte, s8 bit);
bool scst_pr_parse(struct scst_pr_request *req, struct scst_pr_verdict *verdict, const u8 *cdb, const u8 *list,
		   u32 len);

/* --- pr-report.c ---------------------------------------------------------------------------- */

u32 scst_pr_read_keys(const struct scst_pr *pr, u8 *buf, u32 size);
u32 scst_pr_read_reservation(const struct scst_pr *pr, u8 *buf, u32 size);
u32 scst_pr_report_capabilities(const struct scst_pr *pr, bool durable, u8 *buf, u32 size);
u32 scst_pr_read_full_status(const struct scst_pr *pr, u8 *buf, u32 size);

/* --- pr-access.c ---------------------------------------------------------------------------- */

/**
 * enum scst_op_access - what a command wants, as the tables of reservations see it
 * @SCST_ACCESS_ALWAYS: nothing that a reservation is about
 * @SCST_ACCESS_PROBE: to know whether the unit is ready: passes persistent reservations
 * @SCST_ACCESS_READ: passes those that are write exclusive
 * @SCST_ACCESS_WRITE: passes those that do not exclude who asks
 * @SCST_ACCESS_PR_IN: PERSISTENT RESERVE IN
 * @SCST_ACCESS_PR_OUT: PERSISTENT RESERVE OUT, which scst_pr_out() decides more about
 * @SCST_ACCESS_RESERVE: RESERVE (6) and (10)
 * @SCST_ACCESS_RELEASE: RELEASE (6) and (10)
 * @SCST_ACCESS_NR: those above are bits of scst_access_stops()
 * @SCST_ACCESS_START_STOP: by its CDB: see scst_access_of()
 * @SCST_ACCESS_PREVENT: by its CDB
 */
enum scst_op_access {
	SCST_ACCESS_ALWAYS,
	SCST_ACCESS_PROBE,
	SCST_ACCESS_READ,
	SCST_ACCESS_WRITE,
	SCST_ACCESS_PR_IN,
	SCST_ACCESS_PR_OUT,
	SCST_ACCESS_RESERVE,
	SCST_ACCESS_RELEASE,
	SCST_ACCESS_NR,
	SCST_ACCESS_START_STOP = SCST_ACCESS_NR,
	SCST_ACCESS_PREVENT,
};

/* What holds a device. */
enum scst_hold {
	SCST_HOLD_FREE,
	SCST_HOLD_KEYS,		/* somebody is registered, nothing is reserved */
	SCST_HOLD_RESERVE,	/* RESERVE (6) or (10) */
	SCST_HOLD_WRITE,	/* write exclusive */
	SCST_HOLD_ACCESS,	/* exclusive access */
	SCST_HOLD_WRITE_REG,	/* write exclusive, registrants only or all registrants */
	SCST_HOLD_ACCESS_REG,
	SCST_HOLD_LOST,		/* what held it is not known any more */
	SCST_HOLD_NR,
};

/* What an I_T nexus is to it. */
enum scst_relation {
	SCST_RELATION_NONE,
	SCST_RELATION_REGISTERED,
	SCST_RELATION_HOLDER,
	SCST_RELATION_NR,
};

enum scst_access_answer {
	SCST_ACCESS_PASS,
	SCST_ACCESS_CONFLICT,	/* RESERVATION CONFLICT */
	SCST_ACCESS_NOTHING,	/* GOOD, and nothing is done */
	SCST_ACCESS_LOST,	/* CHECK CONDITION, SCST_PR_SENSE_LOST */
};

enum scst_op_access scst_access_of(enum scst_op_access access, const u8 *cdb);
enum scst_hold scst_pr_hold(const struct scst_pr *pr);
enum scst_relation scst_pr_relation(const struct scst_pr *pr, const struct scst_pr_nexus *nexus);
u32 scst_access_stops(enum scst_hold hold, enum scst_relation relation);
enum scst_access_answer scst_access_decide(enum scst_hold hold, enum scst_relation relation,
					   enum scst_op_access access);

/* --- pr-record.c ---------------------------------------------------------------------------- */

#define SCST_PR_OWNER_MAX	64
#define SCST_PR_RECORD_HEADER	28	/* bytes at the beginning that say which record it is */
#define SCST_PR_RECORD_END	8	/* bytes at the end that say that it is whole */

/* What some bytes are. */
enum scst_pr_record {
	SCST_PR_RECORD_NONE,	/* nothing was ever written: empty, or zeroes */
	SCST_PR_RECORD_WHOLE,
	SCST_PR_RECORD_TORN,	/* only a part of it was written */
	SCST_PR_RECORD_DAMAGED,	/* it was written, and has changed since */
	SCST_PR_RECORD_NEWER,	/* of a version that is not known here */
};

/**
 * struct scst_pr_record_info - what a record says of itself
 * @sequence: from 1; of two whole ones that with the larger number counts
 * @nr: registrants in it
 * @length: bytes of it
 * @owner_len: bytes of @owner
 * @owner: what it is a record of, as its writer identifies it
 */
struct scst_pr_record_info {
	u64 sequence;
	u32 nr;
	u32 length;
	u32 owner_len;
	u8 owner[SCST_PR_OWNER_MAX];
};

u32 scst_crc32c(u32 crc, const void *buf, u32 len);
u32 scst_pr_record_size(const struct scst_pr *pr, u32 owner_len);
u32 scst_pr_record_encode(const struct scst_pr *pr, u64 sequence, const u8 *owner, u32 owner_len, u8 *buf, u32 size);
enum scst_pr_record scst_pr_record_check(const u8 *buf, u32 size, struct scst_pr_record_info *info);
int scst_pr_record_decode(const u8 *buf, u32 size, struct scst_pr *pr);

#endif /* SCST_PR_STATE_H */
