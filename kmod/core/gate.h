/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * gate.c: what may stop a command.
 */
#ifndef SCST_GATE_H
#define SCST_GATE_H

#include <linux/bits.h>
#include <linux/types.h>
#include "pr-state.h"

struct scst_cmd;
struct scst_device;
struct scst_nexus;
struct scst_session;
struct scst_view;

/* Unit attentions, in order of precedence: the one that makes Linux look at everything again comes last. */
enum scst_ua {
	SCST_UA_POWER_ON,
	SCST_UA_RESET,
	SCST_UA_NEXUS_LOSS,
	SCST_UA_READY,
	SCST_UA_LUNS_CHANGED,
	SCST_UA_CAPACITY_CHANGED,
	SCST_UA_MODE_CHANGED,
	SCST_UA_RESERVATIONS_PREEMPTED,
	SCST_UA_RESERVATIONS_RELEASED,
	SCST_UA_REGISTRATIONS_PREEMPTED,
	SCST_UA_ALUA_CHANGED,
	SCST_UA_ALUA_FAILED,
	SCST_UA_TIMESTAMP_CHANGED,
	SCST_UA_IDENTIFIER_CHANGED,
	SCST_UA_SPACE_SCARCE,
	SCST_UA_INQUIRY_CHANGED,
	SCST_UA_NR,
};

/*
 * Gates, in order of precedence, in the upper half of the same word.  RESERVATION CONFLICT goes before unit attentions,
 * which REVOKED does not (SAM-5: status precedence).
 */
enum scst_gate {
	SCST_GATE_REVOKED	= 32,	/* no view shows the nexus any more */
	SCST_GATE_ACCESS,		/* reservations: one gate for each class of commands, which is added */
	SCST_GATE_PROBE		= SCST_GATE_ACCESS + SCST_ACCESS_PROBE,
	SCST_GATE_READ		= SCST_GATE_ACCESS + SCST_ACCESS_READ,
	SCST_GATE_WRITE		= SCST_GATE_ACCESS + SCST_ACCESS_WRITE,
	SCST_GATE_PR_IN		= SCST_GATE_ACCESS + SCST_ACCESS_PR_IN,
	SCST_GATE_PR_OUT	= SCST_GATE_ACCESS + SCST_ACCESS_PR_OUT,
	SCST_GATE_RESERVE	= SCST_GATE_ACCESS + SCST_ACCESS_RESERVE,
	SCST_GATE_RELEASE	= SCST_GATE_ACCESS + SCST_ACCESS_RELEASE,
	SCST_GATE_STANDBY	= SCST_GATE_ACCESS + SCST_ACCESS_NR,	/* states of the port's target port group */
	SCST_GATE_UNAVAILABLE,
	SCST_GATE_OFFLINE,
	SCST_GATE_TRANSITIONING,
	SCST_GATE_READ_ONLY,		/* the mapping is read-only */
	SCST_GATE_WRITE_PROTECT,	/* the device is, or software write protection is on */
	SCST_GATE_WRITE_LOST,		/* something acknowledged could not be kept: told once */
	SCST_GATE_PARKED,		/* the backing is not open */
	SCST_GATE_EJECTED,		/* START STOP UNIT of a removable medium */
	SCST_GATE_STOPPED,		/* START STOP UNIT */
	SCST_GATE_FORMATTING,		/* FORMAT UNIT is being done */
	SCST_GATE_SANITIZING,		/* SANITIZE is */
	SCST_GATE_SANITIZE_FAILED,	/* ... or has not come to its end */
	SCST_GATE_FORMAT_FAILED,
	SCST_GATE_LIMIT_READ,		/* not closed but narrow: who reads asks limit.c */
	SCST_GATE_LIMIT_WRITE,		/* ... who writes */
	SCST_GATE_TOKENS,		/* likewise: who writes tells token.c where */
	SCST_GATE_FAULT,		/* ... whom an injected fault may strike asks fault.c */
	SCST_GATE_NR,
	SCST_GATE_LAST		= SCST_GATE_FORMAT_FAILED,	/* of those that end a command */
};

#define SCST_STOPS_ALWAYS	BIT_ULL(SCST_GATE_REVOKED)
/* The states of a target port group.  Most commands are executed in none of them, those that are not for the medium in standby. */
#define SCST_STOPS_STANDBY	BIT_ULL(SCST_GATE_STANDBY)
#define SCST_STOPS_UNAVAILABLE	GENMASK_ULL(SCST_GATE_TRANSITIONING, SCST_GATE_UNAVAILABLE)
#define SCST_STOPS_ALUA		(SCST_STOPS_STANDBY | SCST_STOPS_UNAVAILABLE)
/* Whatever is not INQUIRY, REPORT LUNS or REQUEST SENSE (SBC-3 4.33, SBC-4 4.11). */
#define SCST_STOPS_BUSY		(BIT_ULL(SCST_GATE_FORMATTING) | BIT_ULL(SCST_GATE_SANITIZING))
#define SCST_STOPS_OVERHAUL	(SCST_STOPS_BUSY | BIT_ULL(SCST_GATE_SANITIZE_FAILED))
#define SCST_STOPS_ATTENTION	(SCST_STOPS_ALWAYS | GENMASK_ULL(31, 0) | SCST_STOPS_OVERHAUL)
#define SCST_STOPS_UA		(SCST_STOPS_ATTENTION | SCST_STOPS_UNAVAILABLE)
#define SCST_STOPS_READ_ONLY	(BIT_ULL(SCST_GATE_READ_ONLY) | BIT_ULL(SCST_GATE_WRITE_PROTECT))
#define SCST_STOPS_WRITE	(SCST_STOPS_READ_ONLY | BIT_ULL(SCST_GATE_LIMIT_WRITE) | BIT_ULL(SCST_GATE_TOKENS))
#define SCST_STOPS_READ		BIT_ULL(SCST_GATE_LIMIT_READ)
#define SCST_STOPS_LIMITS	(BIT_ULL(SCST_GATE_LIMIT_READ) | BIT_ULL(SCST_GATE_LIMIT_WRITE))
#define SCST_STOPS_FAULT	BIT_ULL(SCST_GATE_FAULT)
#define SCST_STOPS_READER	BIT_ULL(SCST_GATE_READ_ONLY)
#define SCST_STOPS_PARKED	(BIT_ULL(SCST_GATE_WRITE_LOST) | BIT_ULL(SCST_GATE_PARKED))
#define SCST_STOPS_STOPPED	(BIT_ULL(SCST_GATE_EJECTED) | BIT_ULL(SCST_GATE_STOPPED))
#define SCST_STOPS_READY	(SCST_STOPS_PARKED | SCST_STOPS_STOPPED)
#define SCST_STOPS_MEDIUM	(SCST_STOPS_READY | SCST_STOPS_STANDBY | SCST_STOPS_OVERHAUL | BIT_ULL(SCST_GATE_FORMAT_FAILED))
/* What is undone: what begins it anew helps. */
#define SCST_STOPS_FAILED	(BIT_ULL(SCST_GATE_SANITIZE_FAILED) | BIT_ULL(SCST_GATE_FORMAT_FAILED))
/* What is closed for longer than one answer. */
#define SCST_STOPS_LASTING	(GENMASK_ULL(SCST_GATE_LAST, SCST_GATE_REVOKED) & ~BIT_ULL(SCST_GATE_WRITE_LOST))

/* All gates of reservations; that of a class is never closed for SCST_ACCESS_ALWAYS. */
#define SCST_STOPS_RESERVED	GENMASK_ULL(SCST_GATE_STANDBY - 1, SCST_GATE_ACCESS)

/* That of the class of a row.  Where the class is in the CDB it may be that of a write: scst_access_of(). */
#define SCST_STOPS_ACCESS(access)								\
	((access) == SCST_ACCESS_ALWAYS ? 0 :							\
	 BIT_ULL(SCST_GATE_ACCESS + ((access) < SCST_ACCESS_NR ? (access) : SCST_ACCESS_WRITE)))

/**
 * struct scst_stop - what is said instead of running a command
 * @gate: what stops it: enum scst_gate, or enum scst_ua
 * @status: SAM status
 * @sense: of CHECK CONDITION
 */
struct scst_stop {
	unsigned int gate;
	u8 status;
	u32 sense;
};

bool scst_gate_take(const struct scst_cmd *cmd, struct scst_stop *stop);
void scst_cmd_stop(struct scst_cmd *cmd, const struct scst_stop *stop);
u32 scst_ua_take(struct scst_nexus *nexus);
u32 scst_gate_port(struct scst_nexus *nexus);
void scst_gate_look(struct scst_nexus *nexus);
void scst_gate_device(struct scst_device *dev, enum scst_gate gate, bool closed);
void scst_gate_assign(struct scst_device *dev, enum scst_gate gate, bool closed);
void scst_ua_assign(struct scst_device *dev, enum scst_ua ua, const struct scst_nexus *except);
void scst_gate_write_lost(struct scst_device *dev);
void scst_ua_luns_changed(struct scst_session *sess, const struct scst_view *view);
void scst_ua_luns_reported(struct scst_session *sess);
void scst_ua_device(struct scst_device *dev, enum scst_ua ua, const struct scst_nexus *except);
void scst_ua_session(struct scst_session *sess, enum scst_ua ua);

#endif /* SCST_GATE_H */
