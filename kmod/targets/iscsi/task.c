// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests that are no commands, and what the target says without having been asked: task management, NOP, logout, rejects,
 * asynchronous messages.  All under the socket's lock, but for iscsi_tmf_done().
 */
#include "iscsi.h"
#include <scsi/scsi_proto.h>

/* Seconds an initiator may stay away without losing what only a connection keeps: none. */
#define TIME_TO_WAIT	2
#define TIME_TO_RETAIN	0

#define ISCSI_SENSE_FIXED	18

/* The answer goes out; its numbers are put in then. */
void iscsi_answer(struct iscsi_req *req)
{
	req->kind = ISCSI_KIND_PLAIN;
	req->answered = true;
	iscsi_tx_queue(req);
}

/* A header of the target's in the place of the request's, whose tag it keeps. */
void iscsi_head_make(struct iscsi_req *req, u8 opcode, u32 itt)
{
	memset(req->head, 0, ISCSI_BHS);
	req->head[0] = opcode;
	req->head[ISCSI_AT_FLAGS] = ISCSI_FINAL;
	put_unaligned_be32(itt, req->head + ISCSI_AT_ITT);
}

/* It takes no place any more, and has no answer. */
void iscsi_request_drop(struct iscsi_req *req)
{
	iscsi_req_leave(req);
	if (!list_empty(&req->early))
		list_del_init(&req->early);
	iscsi_req_unpage(req);
	iscsi_req_free(req);
}

/* --- NOP (11.18, 11.19) ------------------------------------------------------------------------ */

static void iscsi_nop(struct iscsi_req *req)
{
	u32 itt = iscsi_itt(req);
	u8 lun[8];

	/* The answer to a question of ours, or a sign of life; that it came is all that matters. */
	if (itt == ISCSI_TAG_NONE) {
		iscsi_request_drop(req);
		return;
	}
	memcpy(lun, req->head + ISCSI_AT_LUN, sizeof(lun));
	iscsi_head_make(req, ISCSI_NOP_IN, itt);
	memcpy(req->head + ISCSI_AT_LUN, lun, sizeof(lun));
	put_unaligned_be32(ISCSI_TAG_NONE, req->head + ISCSI_AT_TTT);
	/* What the initiator would not take, or is too much for one PDU, is not sent back. */
	req->paged = min3(req->paged, req->conn->max_xmit, (u32)ISCSI_ECHO_MAX);
	iscsi_answer(req);
}

/* A question that the initiator answers, if it is there. */
void iscsi_ping(struct iscsi_conn *conn)
{
	struct iscsi_req *req = iscsi_req_get(conn);

	if (!req)
		return;
	if (++conn->ping == ISCSI_TAG_NONE)
		conn->ping = 0;
	iscsi_head_make(req, ISCSI_NOP_IN, ISCSI_TAG_NONE);
	put_unaligned_be32(conn->ping, req->head + ISCSI_AT_TTT);
	conn->pinged = true;
	iscsi_answer(req);
}

/* --- reject (11.17) ----------------------------------------------------------------------------- */

/**
 * iscsi_reject() - say that the PDU whose header is in the frame is not taken
 * @conn: the connection
 * @reason: enum iscsi_reason
 *
 * Return: 0, -EAGAIN: there is no room for an answer now, or -ENOMEM: the connection ends.
 */
int iscsi_reject(struct iscsi_conn *conn, u8 reason)
{
	struct iscsi_req *req = iscsi_req_get(conn);
	void *where;
	u32 room;

	if (!req)
		return -EAGAIN;
	if (iscsi_req_page(req, 0, &where, &room)) {
		iscsi_req_free(req);
		iscsi_conn_end(conn, SCST_ISCSI_REASON_MEMORY);
		return -ENOMEM;
	}
	conn->rejects++;
	iscsi_head_make(req, ISCSI_REJECT, ISCSI_TAG_NONE);
	req->head[ISCSI_AT_RESPONSE] = reason;
	memcpy(where, conn->frame.head, conn->frame.head_len);
	/* Additional headers may be more than the initiator takes in one PDU. */
	req->paged = min_t(u32, conn->frame.head_len, conn->max_xmit);
	iscsi_answer(req);
	return 0;
}

/* --- logout (11.14, 11.15) ---------------------------------------------------------------------- */

static u8 iscsi_logout_response(const struct iscsi_req *req)
{
	switch (req->head[ISCSI_AT_FLAGS] & ISCSI_LOGOUT_REASON) {
	case ISCSI_LOGOUT_SESSION:
		return ISCSI_LOGGED_OUT;
	case ISCSI_LOGOUT_CONNECTION:
		return get_unaligned_be16(req->head + ISCSI_AT_CID) == req->conn->cid ? ISCSI_LOGGED_OUT : ISCSI_LOGOUT_NO_CID;
	default:
		return ISCSI_LOGOUT_NO_RECOVERY;
	}
}

static void iscsi_logout(struct iscsi_req *req)
{
	u8 response = iscsi_logout_response(req);

	iscsi_head_make(req, ISCSI_LOGOUT_RESPONSE, iscsi_itt(req));
	req->head[ISCSI_AT_RESPONSE] = response;
	put_unaligned_be16(TIME_TO_WAIT, req->head + ISCSI_AT_TIME_WAIT);
	put_unaligned_be16(TIME_TO_RETAIN, req->head + ISCSI_AT_TIME_WAIT + 2);
	req->last = response == ISCSI_LOGGED_OUT;
	iscsi_answer(req);
}

/* --- task management (11.5, 11.6) ----------------------------------------------------------------- */

static void iscsi_tmf_respond(struct iscsi_req *req, u8 response)
{
	iscsi_head_make(req, ISCSI_TMF_RESPONSE, iscsi_itt(req));
	req->head[ISCSI_AT_RESPONSE] = response;
	iscsi_answer(req);
}

static const u8 iscsi_functions[] = {
	[ISCSI_ABORT_TASK]	= SCST_TMF_ABORT_TASK + 1,
	[ISCSI_ABORT_TASK_SET]	= SCST_TMF_ABORT_TASK_SET + 1,
	[ISCSI_CLEAR_ACA]	= SCST_TMF_CLEAR_ACA + 1,
	[ISCSI_CLEAR_TASK_SET]	= SCST_TMF_CLEAR_TASK_SET + 1,
	[ISCSI_LUN_RESET]	= SCST_TMF_LUN_RESET + 1,
	[ISCSI_WARM_RESET]	= SCST_TMF_TARGET_RESET + 1,
	[ISCSI_COLD_RESET]	= SCST_TMF_TARGET_RESET + 1,
	[ISCSI_QUERY_TASK]	= SCST_TMF_QUERY_TASK + 1,
	[ISCSI_QUERY_TASK_SET]	= SCST_TMF_QUERY_TASK_SET + 1,
	[ISCSI_I_T_NEXUS_RESET]	= SCST_TMF_I_T_NEXUS_RESET + 1,
};

/* Those of RFC 7144 exist from iSCSIProtocolLevel 2 on. */
static int iscsi_tmf_function(const struct iscsi_req *req)
{
	u8 fn = req->head[ISCSI_AT_FLAGS] & ~ISCSI_FINAL;

	if (fn >= ARRAY_SIZE(iscsi_functions) || (fn >= ISCSI_QUERY_TASK && req->conn->protocol_level < 2))
		return -1;
	return iscsi_functions[fn] - 1;
}

/*
 * ABORT TASK of a command that has not come: if it may still come, its number is taken as if it had (11.5.1).  One that waits for its turn is
 * taken out, and its number left as a hole.
 */
static u8 iscsi_abort_absent(struct iscsi_req *req)
{
	struct iscsi_conn *conn = req->conn;
	u32 sn = get_unaligned_be32(req->head + ISCSI_AT_REF_CMD_SN);
	struct iscsi_req *hole;

	/* A number that nobody had when the function was sent is that of a later command (11.6.1). */
	if (!iscsi_sn_before(sn, req->cmd_sn))
		return ISCSI_NO_TASK;
	hole = iscsi_req_get(conn);
	if (!hole)
		return ISCSI_FUNCTION_REJECTED;
	if (iscsi_early_hole(conn, hole, sn))
		return ISCSI_FUNCTION_COMPLETE;
	iscsi_req_free(hole);
	return ISCSI_NO_TASK;
}

static u8 iscsi_abort_early(struct iscsi_req *victim)
{
	iscsi_req_unhash(victim);
	iscsi_req_unpage(victim);
	if (victim->conn->rx == victim)
		victim->conn->rx = NULL;
	victim->kind = ISCSI_KIND_HOLE;
	return ISCSI_FUNCTION_COMPLETE;
}

/*
 * A function for many commands is for those, too, that were sent before it and wait for their turn (4.2.3.3): they are never begun.  What else
 * it is for the core finds.
 */
static void iscsi_abort_early_all(struct iscsi_req *req, int fn)
{
	bool all = fn == SCST_TMF_TARGET_RESET || fn == SCST_TMF_I_T_NEXUS_RESET;
	u32 lun = scst_lun_unpack(req->head + ISCSI_AT_LUN);
	struct iscsi_req *victim;

	if (!all && fn != SCST_TMF_ABORT_TASK_SET && fn != SCST_TMF_CLEAR_TASK_SET && fn != SCST_TMF_LUN_RESET)
		return;
	list_for_each_entry(victim, &req->conn->early, early)
		if (victim->kind == ISCSI_KIND_COMMAND && iscsi_sn_before(victim->cmd_sn, req->cmd_sn) && (all || victim->cmd.lun == lun))
			iscsi_abort_early(victim);
}

/* True: the core need not be asked. */
static bool iscsi_abort_here(struct iscsi_req *req, int fn, u8 *response)
{
	struct iscsi_req *victim;

	if (fn != SCST_TMF_ABORT_TASK)
		return false;
	victim = iscsi_req_find(req->conn, get_unaligned_be32(req->head + ISCSI_AT_REF_TAG));
	if (victim && list_empty(&victim->early))
		return false;
	*response = victim ? iscsi_abort_early(victim) : iscsi_abort_absent(req);
	return true;
}

static void iscsi_tmf(struct iscsi_req *req)
{
	struct scst_tmf *tmf = &req->tmf;
	int fn = iscsi_tmf_function(req);
	u8 response = ISCSI_NO_FUNCTION;

	if ((req->head[ISCSI_AT_FLAGS] & ~ISCSI_FINAL) == ISCSI_TASK_REASSIGN)
		response = ISCSI_NO_REASSIGN;
	if (fn < 0 || iscsi_abort_here(req, fn, &response)) {
		iscsi_tmf_respond(req, response);
		return;
	}
	iscsi_abort_early_all(req, fn);
	req->kind = ISCSI_KIND_TMF;
	memset(tmf, 0, sizeof(*tmf));
	tmf->sess = req->conn->sess;
	tmf->fn = fn;
	tmf->lun = scst_lun_unpack(req->head + ISCSI_AT_LUN);
	tmf->tag = get_unaligned_be32(req->head + ISCSI_AT_REF_TAG);
	scst_tmf_submit(tmf);
}

/* Process context. */
void iscsi_tmf_done(struct scst_tmf *tmf)
{
	iscsi_due(container_of(tmf, struct iscsi_req, tmf), ISCSI_DUE_ANSWER);
}

/* The core has answered. */
void iscsi_tmf_answer(struct iscsi_req *req)
{
	static const u8 responses[] = {
		[SCST_TMF_COMPLETE]		= ISCSI_FUNCTION_COMPLETE,
		[SCST_TMF_SUCCEEDED]		= ISCSI_FUNCTION_SUCCEEDED,
		[SCST_TMF_NO_TASK]		= ISCSI_NO_TASK,
		[SCST_TMF_BAD_LUN]		= ISCSI_NO_LUN,
		[SCST_TMF_NOT_SUPPORTED]	= ISCSI_NO_FUNCTION,
	};
	bool cold = (req->head[ISCSI_AT_FLAGS] & ~ISCSI_FINAL) == ISCSI_COLD_RESET;

	iscsi_tmf_respond(req, responses[req->tmf.response]);
	if (cold)
		iscsi_target_reset(req->conn->target);
}

/* --- a request is there --------------------------------------------------------------------------- */

/* As a whole, and it is its turn. */
void iscsi_request_begin(struct iscsi_req *req)
{
	switch (ISCSI_OPCODE(req->head)) {
	case ISCSI_NOP_OUT:
		iscsi_nop(req);
		break;
	case ISCSI_TMF:
		/* Neither has data that is good for anything, and none that goes back. */
		iscsi_req_unpage(req);
		iscsi_tmf(req);
		break;
	case ISCSI_LOGOUT:
		iscsi_req_unpage(req);
		iscsi_logout(req);
		break;
	case ISCSI_TEXT:
		iscsi_text(req);
		break;
	default:
		/* iscsi_pdu_check() lets no others through. */
		WARN_ON_ONCE(1);
		iscsi_request_drop(req);
	}
}

/* --- asynchronous messages (11.9) ------------------------------------------------------------------ */

static struct iscsi_req *iscsi_async(struct iscsi_conn *conn, u8 event)
{
	struct iscsi_req *req = iscsi_req_get(conn);

	if (!req)
		return NULL;
	iscsi_head_make(req, ISCSI_ASYNC, ISCSI_TAG_NONE);
	req->head[ISCSI_AT_EVENT] = event;
	return req;
}

/* The initiator is to log out within @seconds. */
void iscsi_ask_for_logout(struct iscsi_conn *conn, u16 seconds)
{
	struct iscsi_req *req = iscsi_async(conn, ISCSI_EVENT_LOGOUT);

	if (!req)
		return;
	put_unaligned_be16(seconds, req->head + ISCSI_AT_PARAMETER3);
	iscsi_answer(req);
}

/* REPORTED LUNS DATA HAS CHANGED: initiators that look at their LUNs by themselves do it now (11.9.1). */
void iscsi_tell_luns(struct iscsi_conn *conn)
{
	struct iscsi_req *req = iscsi_async(conn, ISCSI_EVENT_SCSI);
	u8 *sense;

	if (!req)
		return;
	sense = req->payload + 2;
	memset(req->payload, 0, ISCSI_SENSE_FIXED + 2);
	put_unaligned_be16(ISCSI_SENSE_FIXED, req->payload);
	sense[0] = 0x70;
	sense[2] = UNIT_ATTENTION;
	sense[7] = ISCSI_SENSE_FIXED - 8;
	sense[12] = 0x3f;
	sense[13] = 0x0e;
	req->payload_len = ISCSI_SENSE_FIXED + 2;
	iscsi_answer(req);
}
