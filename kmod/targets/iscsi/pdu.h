/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * iSCSI protocol data units (RFC 7143 clause 11) of the full-feature phase: where their fields are, how they are cut out of a
 * stream of bytes, and which of them are none.  Pure; also built in user space.
 */
#ifndef ISCSI_PDU_H
#define ISCSI_PDU_H

#include <linux/types.h>
#include "compat.h"

#define ISCSI_BHS		48
#define ISCSI_AHS_MAX		(255 * 4)
#define ISCSI_DIGEST		4
#define ISCSI_TEXT_MAX		8192	/* of a Text Request, or its answer */
#define ISCSI_CDB		16	/* bytes of it in the basic header segment */
#define ISCSI_CDB_MAX		32	/* the longest that is carried out */

#define ISCSI_TAG_NONE		0xffffffffu

/* 11.2.1.2 */
enum iscsi_opcode {
	ISCSI_NOP_OUT		= 0x00,
	ISCSI_COMMAND		= 0x01,
	ISCSI_TMF		= 0x02,
	ISCSI_LOGIN		= 0x03,
	ISCSI_TEXT		= 0x04,
	ISCSI_DATA_OUT		= 0x05,
	ISCSI_LOGOUT		= 0x06,
	ISCSI_SNACK		= 0x10,
	ISCSI_NOP_IN		= 0x20,
	ISCSI_RESPONSE		= 0x21,
	ISCSI_TMF_RESPONSE	= 0x22,
	ISCSI_LOGIN_RESPONSE	= 0x23,
	ISCSI_TEXT_RESPONSE	= 0x24,
	ISCSI_DATA_IN		= 0x25,
	ISCSI_LOGOUT_RESPONSE	= 0x26,
	ISCSI_R2T		= 0x31,
	ISCSI_ASYNC		= 0x32,
	ISCSI_REJECT		= 0x3f,
};

#define ISCSI_OPCODE(head)	((head)[0] & 0x3f)
#define ISCSI_IMMEDIATE(head)	((head)[0] & 0x40)
#define ISCSI_FINAL		0x80

/* Where fields are that several of them have. */
#define ISCSI_AT_FLAGS		1
#define ISCSI_AT_AHS_LEN	4
#define ISCSI_DATA_LEN_MAX	0xffffffu	/* in the three bytes behind it */
#define ISCSI_AT_LUN		8
#define ISCSI_AT_ITT		16
#define ISCSI_AT_TTT		20
#define ISCSI_AT_CMD_SN		24	/* of what the initiator sends; below: of what the target sends */
#define ISCSI_AT_STAT_SN	24
#define ISCSI_AT_EXP_STAT_SN	28
#define ISCSI_AT_EXP_CMD_SN	28
#define ISCSI_AT_MAX_CMD_SN	32

#define ISCSI_AT_TSIH		14	/* Login Response (11.13) */

/* SCSI Command (11.3) */
#define ISCSI_CMD_READ		0x40
#define ISCSI_CMD_WRITE		0x20
#define ISCSI_CMD_ATTR		0x07
#define ISCSI_AT_PRIORITY	3
#define ISCSI_AT_EDTL		20
#define ISCSI_AT_CDB		32

/* SCSI Response, Data-In (11.4, 11.7) */
#define ISCSI_DATA_STATUS	0x01
#define ISCSI_UNDERFLOW		0x02
#define ISCSI_OVERFLOW		0x04
#define ISCSI_AT_RESPONSE	2
#define ISCSI_AT_STATUS		3
#define ISCSI_AT_DATA_SN	36
#define ISCSI_AT_OFFSET		40
#define ISCSI_AT_RESIDUAL	44

/* Ready To Transfer (11.8) */
#define ISCSI_AT_R2T_SN		36
#define ISCSI_AT_R2T_LEN	44

/* Task management (11.5, 11.6) */
enum iscsi_function {
	ISCSI_ABORT_TASK	= 1,
	ISCSI_ABORT_TASK_SET,
	ISCSI_CLEAR_ACA,
	ISCSI_CLEAR_TASK_SET,
	ISCSI_LUN_RESET,
	ISCSI_WARM_RESET,
	ISCSI_COLD_RESET,
	ISCSI_TASK_REASSIGN,
	ISCSI_QUERY_TASK,		/* RFC 7144, from here on */
	ISCSI_QUERY_TASK_SET,
	ISCSI_I_T_NEXUS_RESET,
	ISCSI_QUERY_ASYNC_EVENT,
};

enum iscsi_function_response {
	ISCSI_FUNCTION_COMPLETE		= 0,
	ISCSI_NO_TASK			= 1,
	ISCSI_NO_LUN			= 2,
	ISCSI_NO_REASSIGN		= 4,
	ISCSI_NO_FUNCTION		= 5,
	ISCSI_FUNCTION_SUCCEEDED	= 7,
	ISCSI_FUNCTION_REJECTED		= 255,
};

#define ISCSI_AT_REF_TAG	20
#define ISCSI_AT_REF_CMD_SN	32

/* Logout (11.14, 11.15) */
#define ISCSI_LOGOUT_REASON	0x7f
#define ISCSI_AT_CID		20

enum iscsi_logout {
	ISCSI_LOGOUT_SESSION,
	ISCSI_LOGOUT_CONNECTION,
	ISCSI_LOGOUT_RECOVERY,
};

enum iscsi_logout_response {
	ISCSI_LOGGED_OUT,
	ISCSI_LOGOUT_NO_CID,
	ISCSI_LOGOUT_NO_RECOVERY,
};

#define ISCSI_AT_TIME_WAIT	40

/* Asynchronous Message (11.9) */
#define ISCSI_AT_EVENT		36
#define ISCSI_AT_PARAMETER1	38
#define ISCSI_AT_PARAMETER3	42

enum iscsi_event {
	ISCSI_EVENT_SCSI	= 0,
	ISCSI_EVENT_LOGOUT	= 1,
};

/* Reject (11.17.1) */
enum iscsi_reason {
	ISCSI_REASON_DIGEST	= 0x02,
	ISCSI_REASON_SNACK	= 0x03,
	ISCSI_REASON_PROTOCOL	= 0x04,
	ISCSI_REASON_COMMAND	= 0x05,	/* not supported */
	ISCSI_REASON_IMMEDIATE	= 0x06,	/* too many */
	ISCSI_REASON_TASK	= 0x07,	/* in progress */
	ISCSI_REASON_FIELD	= 0x09,
	ISCSI_REASON_LONG	= 0x0a,	/* nothing to go on with it */
};

/* Serial numbers (RFC 1982). */
static inline bool iscsi_sn_before(u32 a, u32 b)
{
	return (s32)(a - b) < 0;
}

static inline u32 iscsi_data_len(const u8 *head)
{
	return get_unaligned_be32(head + ISCSI_AT_AHS_LEN) & ISCSI_DATA_LEN_MAX;
}

/* --- cut out of a stream --------------------------------------------------------------------- */

enum iscsi_frame_part {
	ISCSI_PART_HEAD,	/* both header segments, and their digest */
	ISCSI_PART_DATA,
	ISCSI_PART_TAIL,	/* padding, and the data's digest */
};

/**
 * struct iscsi_frame - where in a protocol data unit a stream is
 * @part: what comes next
 * @left: bytes of that
 * @have: bytes of the header
 * @head_len: length of the header segments, known when the first is there
 * @data_len: of the data
 * @tail_len: of padding and digest
 * @header_digest: headers have one
 * @data_digest: data has one
 * @head: the header
 * @tail: what is behind the data
 */
struct iscsi_frame {
	u8 part;
	u8 tail_len;
	bool header_digest;
	bool data_digest;
	u16 have;
	u16 head_len;
	u32 left;
	u32 data_len;
	u8 head[ISCSI_BHS + ISCSI_AHS_MAX + ISCSI_DIGEST];
	u8 tail[3 + ISCSI_DIGEST];
};

/* The next one begins. */
static inline void iscsi_frame_start(struct iscsi_frame *frame)
{
	frame->part = ISCSI_PART_HEAD;
	frame->have = 0;
	frame->left = ISCSI_BHS;
}

/* Where bytes of a header or a tail go: frame->left of them. */
static inline u8 *iscsi_frame_room(struct iscsi_frame *frame)
{
	if (frame->part == ISCSI_PART_TAIL)
		return frame->tail + frame->tail_len - frame->left;
	return frame->head + frame->have;
}

/* So many bytes of the part have come, at most frame->left. */
static inline void iscsi_frame_added(struct iscsi_frame *frame, u32 n)
{
	frame->left -= n;
	if (frame->part != ISCSI_PART_HEAD)
		return;
	frame->have += n;
	if (frame->left || frame->have > ISCSI_BHS)
		return;
	/* The basic segment says how much there is of the others. */
	frame->head_len = ISCSI_BHS + frame->head[ISCSI_AT_AHS_LEN] * 4;
	frame->left = frame->head_len - ISCSI_BHS + (frame->header_digest ? ISCSI_DIGEST : 0);
}

/* A part that is not the last is over.  The tail may be empty; data that is empty is none. */
static inline void iscsi_frame_next(struct iscsi_frame *frame)
{
	if (frame->part == ISCSI_PART_HEAD) {
		frame->data_len = frame->left = iscsi_data_len(frame->head);
		frame->tail_len = -frame->data_len & 3;
		if (frame->data_digest && frame->data_len)
			frame->tail_len += ISCSI_DIGEST;
		frame->part = ISCSI_PART_DATA;
		if (frame->data_len)
			return;
	}
	frame->part = ISCSI_PART_TAIL;
	frame->left = frame->tail_len;
}

/* --- is it one? ------------------------------------------------------------------------------ */

/**
 * struct iscsi_rules - what a session has agreed to
 * @max_recv: longest data segment
 * @first_burst: most bytes that come unasked for
 * @immediate_data: some may come with the command
 * @initial_r2t: no others may
 */
struct iscsi_rules {
	u32 max_recv;
	u32 first_burst;
	bool immediate_data;
	bool initial_r2t;
};

#define ISCSI_FINE	0
#define ISCSI_CLOSE	(-1)	/* nothing that follows can be trusted, or it broke a rule that has no other answer */

int iscsi_pdu_check(const u8 *head, const struct iscsi_rules *rules);
u32 iscsi_cdb(const u8 *head, u8 cdb[ISCSI_CDB_MAX]);

/* --- data-out, of a command ------------------------------------------------------------------ */

/**
 * struct iscsi_out - what has come of a command's data, and what of it was asked for
 * @edtl: bytes that the initiator would send in all
 * @want: bytes that are wanted, U32_MAX: it is not known yet
 * @got: have come; they come in order
 * @asked: up to there R2Ts have been sent
 * @burst_end: where the burst ends that is coming; R2Ts are answered in order
 * @data_sn: of the next Data-Out of the burst
 * @r2t_sn: of the next R2T
 * @open: R2Ts that are not answered
 * @unsolicited: data comes that was not asked for
 */
struct iscsi_out {
	u32 edtl;
	u32 want;
	u32 got;
	u32 asked;
	u32 burst_end;
	u32 data_sn;
	u32 r2t_sn;
	u16 open;
	bool unsolicited;
};

/**
 * struct iscsi_bursts - the agreement on them
 * @max: bytes of an R2T
 * @open: R2Ts at a time
 */
struct iscsi_bursts {
	u32 max;
	u32 open;
};

void iscsi_out_begin(struct iscsi_out *out, const u8 *head, const struct iscsi_rules *rules);
bool iscsi_out_check(const struct iscsi_out *out, const u8 *head);
void iscsi_out_end(struct iscsi_out *out, const u8 *head, const struct iscsi_bursts *bursts);
bool iscsi_out_may_ask(const struct iscsi_out *out, const struct iscsi_bursts *bursts);
u32 iscsi_out_ask(struct iscsi_out *out, const struct iscsi_bursts *bursts, u32 *offset);

/* All that is wanted is there, and no more comes unasked for. */
static inline bool iscsi_out_complete(const struct iscsi_out *out)
{
	return !out->unsolicited && out->got >= out->want;
}

/* More is on its way: what may come unasked for, or what was asked for. */
static inline bool iscsi_out_owed(const struct iscsi_out *out)
{
	return out->open || (out->unsolicited && out->got < out->burst_end);
}

#endif /* ISCSI_PDU_H */
