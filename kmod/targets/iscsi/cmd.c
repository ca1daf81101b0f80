// SPDX-License-Identifier: GPL-2.0-only
/*
 * SCSI commands and their data-out.  Data comes in order, because the login agrees to that: with the command, behind it without
 * having been asked for, and as the answer to R2Ts.  Until the core asks for it, it is kept in pages of the request's.
 */
#include "iscsi.h"
#include <linux/mm.h>

/* --- arrival ---------------------------------------------------------------------------------- */

static u8 iscsi_attr(u8 flags)
{
	static const u8 attrs[] = { SCST_TASK_SIMPLE, SCST_TASK_SIMPLE, SCST_TASK_ORDERED, SCST_TASK_HEAD_OF_QUEUE, SCST_TASK_ACA };

	return attrs[flags & ISCSI_CMD_ATTR];
}

static u8 iscsi_direction(u8 flags)
{
	if (flags & ISCSI_CMD_WRITE)
		return DMA_TO_DEVICE;
	return flags & ISCSI_CMD_READ ? DMA_FROM_DEVICE : DMA_NONE;
}

/* No command has both directions, or a CDB as long: an operation code that nobody knows says so. */
static u32 iscsi_command_cdb(struct iscsi_req *req, const u8 *head)
{
	u32 len = iscsi_cdb(head, req->cdb);
	u8 flags = head[ISCSI_AT_FLAGS];

	if (len && !(flags & ISCSI_CMD_READ && flags & ISCSI_CMD_WRITE))
		return len;
	memset(req->cdb, 0xff, ISCSI_CDB);
	return ISCSI_CDB;
}

/* Its turn has come.  It may be over, and have been used again, on return. */
void iscsi_command_submit(struct iscsi_req *req)
{
	struct scst_cmd *cmd = &req->cmd;

	cmd->attr = iscsi_attr(req->head[ISCSI_AT_FLAGS]);
	if (unlikely(req->conn->protocol_level >= 2))
		cmd->priority = req->head[ISCSI_AT_PRIORITY] >> 4;
	scst_cmd_submit(cmd);
}

/* Its header is there, in the frame; @now: and it is its turn. */
void iscsi_command(struct iscsi_req *req, bool now)
{
	struct iscsi_conn *conn = req->conn;
	const u8 *head = conn->frame.head;
	struct scst_cmd *cmd = &req->cmd;

	iscsi_req_hash(req);
	iscsi_out_begin(&req->out, head, &conn->rules);
	scst_cmd_init(cmd, conn->sess);
	cmd->cdb_len = iscsi_command_cdb(req, head);
	cmd->cdb = req->cdb;
	cmd->sense = req->payload + 2;
	cmd->tag = iscsi_itt(req);
	cmd->lun = scst_lun_unpack(req->head + ISCSI_AT_LUN);
	cmd->dir = iscsi_direction(head[ISCSI_AT_FLAGS]);
	cmd->expected_len = cmd->dir == DMA_NONE ? 0 : req->out.edtl;
	cmd->ctx = SCST_CTX_ATOMIC;
	if (now)
		iscsi_command_submit(req);
}

/* --- data-out --------------------------------------------------------------------------------- */

/* What came early goes where it belongs. */
static void iscsi_command_unpage(struct iscsi_req *req)
{
	struct scst_data *data = &req->cmd.data;
	u32 at = 0, n;
	struct page *page;

	list_for_each_entry(page, &req->pages, lru) {
		n = min_t(u32, req->paged - at, PAGE_SIZE);
		sg_pcopy_from_buffer(data->sgl, data->nents, page_address(page), n, at);
		at += n;
	}
	iscsi_req_unpage(req);
}

/* ... and what comes now, behind it; NULL: there is room for no more. */
static void iscsi_command_seek(struct iscsi_req *req, u32 at)
{
	struct scatterlist *sg = req->cmd.data.sgl;

	for (; sg && at >= sg->length; sg = sg_next(sg))
		at -= sg->length;
	req->sg = sg;
	req->sg_at = sg ? at : 0;
}

static void iscsi_command_received(struct iscsi_req *req, int error)
{
	req->ready = false;
	req->sg = NULL;
	/* No more R2Ts, and what comes for those that are out is too late. */
	req->out.open = 0;
	if (!list_empty(&req->tx))
		list_del_init(&req->tx);
	if (req->conn->rx == req)
		req->conn->rx = NULL;
	scst_data_received(&req->cmd, error, SCST_CTX_ATOMIC);
}

/* Is more of its data on its way?  Whoever counts wrong cannot be trusted to say when that is over. */
static bool iscsi_command_owed(const struct iscsi_req *req)
{
	const struct iscsi_conn *conn = req->conn;

	if (conn->rx == req && iscsi_data_len(conn->frame.head))
		return true;
	return req->spoilt != -EMSGSIZE && iscsi_out_owed(&req->out);
}

/* It has failed: that is said when all that is on its way has come (7.8, 11.17.1). */
static void iscsi_command_failed(struct iscsi_req *req)
{
	if (!list_empty(&req->tx))
		list_del_init(&req->tx);
	if (!iscsi_command_owed(req))
		iscsi_command_received(req, req->spoilt);
}

/* It is known what is wanted, or more has come: is that all, or is there more to ask for? */
static void iscsi_command_more(struct iscsi_req *req)
{
	if (req->conn->rx == req)
		return;
	if (unlikely(req->held && !iscsi_command_owed(req)))
		iscsi_command_answer(req);
	if (!req->ready)
		return;
	if (req->spoilt)
		iscsi_command_failed(req);
	else if (iscsi_out_complete(&req->out))
		iscsi_command_received(req, 0);
	else if (iscsi_out_may_ask(&req->out, &req->conn->bursts))
		iscsi_tx_queue(req);
}

/* A PDU with its data is over; @head: its header. */
void iscsi_command_data(struct iscsi_req *req, const u8 *head)
{
	iscsi_out_end(&req->out, head, &req->conn->bursts);
	iscsi_command_more(req);
}

/* The header of a Data-Out is there, in the frame.  What nobody waits for is dropped: its command may have ended. */
int iscsi_data_out(struct iscsi_conn *conn)
{
	const u8 *head = conn->frame.head;
	u32 tag = get_unaligned_be32(head + ISCSI_AT_TTT);
	struct iscsi_req *req;
	bool stale = true;

	if (tag == ISCSI_TAG_NONE)
		req = iscsi_req_find(conn, get_unaligned_be32(head + ISCSI_AT_ITT));
	else
		req = iscsi_req_by_tag(conn, tag, &stale);
	if (!req || req->kind != ISCSI_KIND_COMMAND || (tag == ISCSI_TAG_NONE) != req->out.unsolicited) {
		conn->stale++;
		return stale ? 0 : iscsi_reject(conn, ISCSI_REASON_FIELD);
	}
	/* Tags of two commands: it cannot be told whose it is. */
	if (iscsi_itt(req) != get_unaligned_be32(head + ISCSI_AT_ITT))
		return iscsi_reject(conn, ISCSI_REASON_FIELD);
	if (!iscsi_out_check(&req->out, head)) {
		req->spoilt = -EMSGSIZE;
		req->out.unsolicited = false;
		iscsi_command_more(req);
		return 0;
	}
	conn->rx = req;
	return 0;
}

/* --- what the core asks for ------------------------------------------------------------------- */

static void iscsi_command_ready(struct iscsi_req *req)
{
	u32 paged = req->paged;

	/* Whoever aborts it after this look finds that it is ready. */
	if (unlikely(iscsi_over(req->conn) || scst_cmd_aborted(&req->cmd))) {
		iscsi_command_received(req, -ECANCELED);
		return;
	}
	req->ready = true;
	req->out.want = req->cmd.len;
	if (unlikely(paged))
		iscsi_command_unpage(req);
	iscsi_command_seek(req, paged);
	iscsi_command_more(req);
}

/* Under the socket's lock: nothing holds its answer any more. */
void iscsi_command_answer(struct iscsi_req *req)
{
	struct scst_cmd *cmd = &req->cmd;

	if (unlikely(req->held))
		list_del_init(&req->tx);
	req->held = false;
	req->ready = false;
	req->answered = true;
	req->sg = cmd->data.sgl;
	req->sg_at = 0;
	iscsi_req_unhash(req);
	if (req->conn->rx == req)
		req->conn->rx = NULL;
	/* Data that came early, and was never asked for, must not be there when the next command looks for its own. */
	if (unlikely(!list_empty(&req->pages)))
		iscsi_req_unpage(req);
	if (cmd->sense_len)
		put_unaligned_be16(cmd->sense_len, req->payload);
	iscsi_tx_queue(req);
}

/* What is on its way is passed over, and then it is answered (11.4.2). */
static noinline void iscsi_command_hold(struct iscsi_req *req)
{
	struct iscsi_conn *conn = req->conn;

	req->held = true;
	req->spoilt = req->spoilt ?: -ECANCELED;
	list_add_tail(&req->tx, &conn->held);
	iscsi_req_unpage(req);
	/* It may be what there was no room for. */
	if (conn->rx == req)
		iscsi_run_later(conn);
}

static void iscsi_command_answered(struct iscsi_req *req)
{
	struct iscsi_conn *conn = req->conn;

	/* Whoever aborts it after this look finds that it is held. */
	if (unlikely(iscsi_command_owed(req)) && !iscsi_over(conn) && !scst_cmd_aborted(&req->cmd))
		iscsi_command_hold(req);
	else
		iscsi_command_answer(req);
}

/* Under the socket's lock. */
void iscsi_command_due(struct iscsi_req *req, enum iscsi_due due)
{
	iscsi_assert_locked(req->conn);
	if (due == ISCSI_DUE_DATA)
		iscsi_command_ready(req);
	else
		iscsi_command_answered(req);
}

int iscsi_receive_data(struct scst_cmd *cmd)
{
	struct iscsi_req *req = iscsi_req_of(cmd);

	if (iscsi_running(req->conn))
		iscsi_command_ready(req);
	else
		iscsi_due(req, ISCSI_DUE_DATA);
	return 0;
}

int iscsi_send_response(struct scst_cmd *cmd)
{
	struct iscsi_req *req = iscsi_req_of(cmd);

	if (iscsi_running(req->conn))
		iscsi_command_answered(req);
	else
		iscsi_due(req, ISCSI_DUE_ANSWER);
	return 0;
}

/* Any context. */
void iscsi_release(struct scst_cmd *cmd)
{
	iscsi_req_free(iscsi_req_of(cmd));
}

/* Process context.  What waits for data waits no more, nor does an answer; what is to be sent is sent, or dropped with the connection. */
void iscsi_abort(struct scst_cmd *cmd)
{
	struct iscsi_req *req = iscsi_req_of(cmd);
	struct iscsi_conn *conn = req->conn;

	iscsi_conn_lock(conn);
	if (req->ready)
		iscsi_command_received(req, -ECANCELED);
	else if (req->held)
		iscsi_command_answer(req);
	iscsi_conn_unlock(conn);
}
