// SPDX-License-Identifier: GPL-2.0-only
/*
 * What goes: answers and R2Ts, in the order in which they were queued, a few PDUs to a call of the socket.  Headers get their numbers when
 * their PDU is made, so that StatSN goes up by one with each status, and the window that is told is the one there is.
 *
 * A few kilobytes are copied into the socket; more goes by reference, and its pages are the socket's, too, until the initiator
 * has acknowledged them.  All under the socket's lock; never waits for room.
 */
#include "iscsi.h"
#include <scsi/scsi_proto.h>

/* A PDU has a header, a tail, and room for some data between them. */
#define PDU_PIECES_MIN	4

/* The request has something to send. */
void iscsi_tx_queue(struct iscsi_req *req)
{
	if (list_empty(&req->tx))
		list_add_tail(&req->tx, &req->conn->tx_list);
}

/* --- PDUs ----------------------------------------------------------------------------------------- */

static void iscsi_piece_add(struct iscsi_tx *tx, void *base, u32 len, bool by_reference)
{
	tx->piece[tx->nr++] = (struct iscsi_piece){ .base = base, .len = len, .by_reference = by_reference };
}

static void iscsi_put_data_len(u8 *head, u32 len)
{
	head[ISCSI_AT_DATA_LEN] = len >> 16;
	head[ISCSI_AT_DATA_LEN + 1] = len >> 8;
	head[ISCSI_AT_DATA_LEN + 2] = len;
}

/* @status: it takes a StatSN; all others tell the next one. */
static void iscsi_put_numbers(struct iscsi_conn *conn, u8 *head, bool status)
{
	put_unaligned_be32(conn->stat_sn, head + ISCSI_AT_STAT_SN);
	put_unaligned_be32(conn->exp_cmd_sn, head + ISCSI_AT_EXP_CMD_SN);
	put_unaligned_be32(conn->exp_cmd_sn + conn->depth - conn->windowed - 1, head + ISCSI_AT_MAX_CMD_SN);
	if (status)
		conn->stat_sn++;
}

static struct iscsi_tx_pdu *iscsi_pdu_begin(struct iscsi_tx *tx)
{
	struct iscsi_tx_pdu *pdu = &tx->pdu[tx->pdus];

	pdu->req = NULL;
	iscsi_piece_add(tx, pdu->head, ISCSI_BHS, false);
	return pdu;
}

static u32 iscsi_pieces_digest(const struct iscsi_tx *tx, u32 from)
{
	u32 crc = ISCSI_CRC_START;

	for (; from < tx->nr; from++)
		crc = iscsi_crc(crc, tx->piece[from].base, tx->piece[from].len);
	return crc;
}

/* @first: its piece with the header; @len: bytes of data behind that; @req: is over with it, or NULL */
static void iscsi_pdu_end(struct iscsi_conn *conn, struct iscsi_tx_pdu *pdu, u32 first, u32 len, struct iscsi_req *req)
{
	struct iscsi_tx *tx = &conn->tx;
	u32 tail = -len & 3;

	iscsi_put_data_len(pdu->head, len);
	memset(pdu->tail, 0, tail);
	if (len && conn->frame.data_digest) {
		iscsi_crc_put(iscsi_crc(iscsi_pieces_digest(tx, first + 1), pdu->tail, tail), pdu->tail + tail);
		tail += ISCSI_DIGEST;
	}
	if (conn->frame.header_digest) {
		iscsi_crc_put(iscsi_crc(ISCSI_CRC_START, pdu->head, ISCSI_BHS), pdu->head + ISCSI_BHS);
		tx->piece[first].len += ISCSI_DIGEST;
	}
	if (tail)
		iscsi_piece_add(tx, pdu->tail, tail, false);
	pdu->end = tx->nr;
	pdu->req = req;
	tx->pdus++;
	conn->pdus_out++;
}

/* --- of commands ---------------------------------------------------------------------------------- */

static void iscsi_put_residual(u8 *head, const struct scst_cmd *cmd)
{
	s64 residual = scst_cmd_residual(cmd);

	if (residual > 0)
		head[ISCSI_AT_FLAGS] |= ISCSI_UNDERFLOW;
	else if (residual < 0)
		head[ISCSI_AT_FLAGS] |= ISCSI_OVERFLOW;
	put_unaligned_be32(abs(residual), head + ISCSI_AT_RESIDUAL);
}

static void iscsi_put_tags(u8 *head, const struct iscsi_req *req, u8 opcode)
{
	memset(head, 0, ISCSI_BHS);
	head[0] = opcode;
	memcpy(head + ISCSI_AT_ITT, req->head + ISCSI_AT_ITT, 4);
}

static void iscsi_tx_response(struct iscsi_req *req)
{
	struct iscsi_conn *conn = req->conn;
	struct scst_cmd *cmd = &req->cmd;
	u32 first = conn->tx.nr, len = cmd->sense_len ? cmd->sense_len + 2 : 0;
	struct iscsi_tx_pdu *pdu = iscsi_pdu_begin(&conn->tx);

	iscsi_put_tags(pdu->head, req, ISCSI_RESPONSE);
	pdu->head[ISCSI_AT_FLAGS] = ISCSI_FINAL;
	pdu->head[ISCSI_AT_STATUS] = cmd->status;
	iscsi_put_residual(pdu->head, cmd);
	put_unaligned_be32(req->data_sn, pdu->head + ISCSI_AT_DATA_SN);
	iscsi_req_leave(req);
	iscsi_put_numbers(conn, pdu->head, true);
	if (len)
		iscsi_piece_add(&conn->tx, req->payload, len, false);
	iscsi_pdu_end(conn, pdu, first, len, req);
}

static u32 iscsi_data_in_len(const struct scst_cmd *cmd)
{
	return cmd->dir == DMA_FROM_DEVICE ? cmd->len : 0;
}

/* At most @len bytes of data from where the last ended, as pieces.  Return: how many bytes. */
static u32 iscsi_data_pieces(struct iscsi_req *req, u32 len)
{
	struct iscsi_tx *tx = &req->conn->tx;
	bool by_reference = len > ISCSI_SMALL;
	u32 done = 0, n;

	/* One is kept for the tail. */
	while (done < len && tx->nr < ISCSI_PIECES - 1) {
		n = min(req->sg->length - req->sg_at, len - done);
		iscsi_piece_add(tx, sg_virt(req->sg) + req->sg_at, n, by_reference);
		done += n;
		req->sg_at += n;
		if (req->sg_at == req->sg->length) {
			req->sg = sg_next(req->sg);
			req->sg_at = 0;
		}
	}
	return done;
}

/* Status may go with the last data, if that is all there is to say (11.4.2). */
static bool iscsi_collapsed(const struct scst_cmd *cmd)
{
	return cmd->status == SAM_STAT_GOOD && !cmd->sense_len;
}

/* True: it was the command's last PDU. */
static bool iscsi_tx_data_in(struct iscsi_req *req)
{
	struct iscsi_conn *conn = req->conn;
	struct scst_cmd *cmd = &req->cmd;
	u32 first = conn->tx.nr, left = cmd->len - req->sent, in_burst = conn->bursts.max - req->sent % conn->bursts.max;
	struct iscsi_tx_pdu *pdu = iscsi_pdu_begin(&conn->tx);
	u32 len = iscsi_data_pieces(req, min3(left, conn->max_xmit, in_burst));
	bool last = len == left && iscsi_collapsed(cmd);

	iscsi_put_tags(pdu->head, req, ISCSI_DATA_IN);
	put_unaligned_be32(ISCSI_TAG_NONE, pdu->head + ISCSI_AT_TTT);
	put_unaligned_be32(req->data_sn++, pdu->head + ISCSI_AT_DATA_SN);
	put_unaligned_be32(req->sent, pdu->head + ISCSI_AT_OFFSET);
	req->sent += len;
	if (len == left || len == in_burst)
		pdu->head[ISCSI_AT_FLAGS] = ISCSI_FINAL;
	if (last) {
		pdu->head[ISCSI_AT_FLAGS] |= ISCSI_DATA_STATUS;
		iscsi_put_residual(pdu->head, cmd);
		iscsi_req_leave(req);
	}
	iscsi_put_numbers(conn, pdu->head, last);
	iscsi_pdu_end(conn, pdu, first, len, last ? req : NULL);
	return last;
}

static void iscsi_tx_r2t(struct iscsi_req *req)
{
	struct iscsi_conn *conn = req->conn;
	u32 first = conn->tx.nr, tag = iscsi_req_tag(req), offset, len = iscsi_out_ask(&req->out, &conn->bursts, &offset);
	struct iscsi_tx_pdu *pdu;

	if (!len)
		return;
	pdu = iscsi_pdu_begin(&conn->tx);
	iscsi_put_tags(pdu->head, req, ISCSI_R2T);
	pdu->head[ISCSI_AT_FLAGS] = ISCSI_FINAL;
	memcpy(pdu->head + ISCSI_AT_LUN, req->head + ISCSI_AT_LUN, 8);
	put_unaligned_be32(tag, pdu->head + ISCSI_AT_TTT);
	put_unaligned_be32(req->out.r2t_sn++, pdu->head + ISCSI_AT_R2T_SN);
	req->data_sn++;
	put_unaligned_be32(offset, pdu->head + ISCSI_AT_OFFSET);
	put_unaligned_be32(len, pdu->head + ISCSI_AT_R2T_LEN);
	iscsi_put_numbers(conn, pdu->head, false);
	iscsi_pdu_end(conn, pdu, first, 0, NULL);
}

/* --- of other requests ------------------------------------------------------------------------- */

static u32 iscsi_payload_pieces(struct iscsi_req *req)
{
	struct iscsi_tx *tx = &req->conn->tx;
	struct page *page;
	u32 done = 0, n;

	if (req->payload_len) {
		iscsi_piece_add(tx, req->payload, req->payload_len, false);
		return req->payload_len;
	}
	list_for_each_entry(page, &req->pages, lru) {
		n = min_t(u32, req->paged - done, PAGE_SIZE);
		if (!n || tx->nr == ISCSI_PIECES - 1)
			break;
		iscsi_piece_add(tx, page_address(page), n, false);
		done += n;
	}
	return done;
}

/* A question of ours has no status of its own (11.19.5), nor has an answer that was made elsewhere. */
static bool iscsi_has_status(const u8 *head)
{
	return ISCSI_OPCODE(head) != ISCSI_NOP_IN || get_unaligned_be32(head + ISCSI_AT_ITT) != ISCSI_TAG_NONE;
}

static void iscsi_tx_plain(struct iscsi_req *req)
{
	struct iscsi_conn *conn = req->conn;
	u32 first = conn->tx.nr;
	struct iscsi_tx_pdu *pdu = iscsi_pdu_begin(&conn->tx);

	memcpy(pdu->head, req->head, ISCSI_BHS);
	iscsi_req_leave(req);
	iscsi_put_numbers(conn, pdu->head, iscsi_has_status(pdu->head));
	iscsi_pdu_end(conn, pdu, first, iscsi_payload_pieces(req), req);
}

/* --- the queue --------------------------------------------------------------------------------- */

/* Aborted commands have no answer, unless somebody else aborted them (SAM-5 5.3.4). */
static bool iscsi_silent(const struct iscsi_req *req)
{
	return req->kind == ISCSI_KIND_COMMAND && req->answered && scst_cmd_aborted(&req->cmd) && !req->sent &&
	       !scst_cmd_aborted_by_other(&req->cmd);
}

/* It has nothing more to send, or what it had does not matter any more. */
static void iscsi_req_over(struct iscsi_req *req)
{
	if (req->last)
		iscsi_conn_end(req->conn, SCST_ISCSI_REASON_LOGOUT);
	iscsi_req_leave(req);
	if (req->kind == ISCSI_KIND_COMMAND) {
		scst_cmd_sent(&req->cmd);
		return;
	}
	iscsi_req_unpage(req);
	iscsi_req_free(req);
}

/* The next PDU of a request.  True: the request is not in the queue any more. */
static bool iscsi_tx_next(struct iscsi_req *req)
{
	bool last = true;

	if (req->kind != ISCSI_KIND_COMMAND) {
		iscsi_tx_plain(req);
	} else if (!req->answered) {
		iscsi_tx_r2t(req);
		last = req->out.open == req->conn->bursts.open || req->out.asked >= req->out.want;
	} else if (req->sent < iscsi_data_in_len(&req->cmd)) {
		last = iscsi_tx_data_in(req);
	} else {
		iscsi_tx_response(req);
	}
	if (last)
		list_del_init(&req->tx);
	return last;
}

static void iscsi_tx_fill(struct iscsi_conn *conn)
{
	struct iscsi_tx *tx = &conn->tx;
	struct iscsi_req *req;

	tx->nr = tx->at = tx->off = tx->pdus = tx->over = 0;
	while (!list_empty(&conn->tx_list) && tx->pdus < ISCSI_PDUS && tx->nr + PDU_PIECES_MIN <= ISCSI_PIECES) {
		req = list_first_entry(&conn->tx_list, struct iscsi_req, tx);
		if (iscsi_silent(req)) {
			list_del_init(&req->tx);
			iscsi_req_over(req);
		} else {
			iscsi_tx_next(req);
		}
	}
}

/* --- the socket -------------------------------------------------------------------------------- */

/* The pieces from tx->at on that go in one call, as @iter; sets @flags. */
static bool iscsi_tx_gather(struct iscsi_conn *conn, struct iov_iter *iter, int *flags)
{
	struct iscsi_tx *tx = &conn->tx;
	bool by_reference = tx->piece[tx->at].by_reference;
	u32 at, nr = 0, skip = tx->off, len = 0;

	for (at = tx->at; at < tx->nr && tx->piece[at].by_reference == by_reference; at++, nr++, skip = 0) {
		void *base = tx->piece[at].base + skip;
		u32 n = tx->piece[at].len - skip;

		if (by_reference)
			bvec_set_page(&tx->bvec[nr], virt_to_page(base), n, offset_in_page(base));
		else
			tx->kvec[nr] = (struct kvec){ .iov_base = base, .iov_len = n };
		len += n;
	}
	if (by_reference)
		iov_iter_bvec(iter, ITER_SOURCE, tx->bvec, nr, len);
	else
		iov_iter_kvec(iter, ITER_SOURCE, tx->kvec, nr, len);
	*flags = MSG_DONTWAIT | MSG_NOSIGNAL;
	if (at < tx->nr || !list_empty(&conn->tx_list))
		*flags |= MSG_MORE;
	return by_reference;
}

/* Bytes have gone: what is over with them? */
static void iscsi_tx_gone(struct iscsi_conn *conn, u32 n)
{
	struct iscsi_tx *tx = &conn->tx;

	tx->off += n;
	while (tx->at < tx->nr && tx->off >= tx->piece[tx->at].len)
		tx->off -= tx->piece[tx->at++].len;
	while (tx->over < tx->pdus && tx->pdu[tx->over].end <= tx->at) {
		struct iscsi_req *req = tx->pdu[tx->over++].req;

		if (req)
			iscsi_req_over(req);
	}
}

/**
 * iscsi_tx() - send what there is to be sent, as far as the socket takes it
 * @conn: locked, not over
 */
void iscsi_tx(struct iscsi_conn *conn)
{
	struct iscsi_tx *tx = &conn->tx;
	struct iov_iter iter;
	bool by_reference;
	int flags, n;

	for (;;) {
		if (tx->at == tx->nr) {
			conn->moved = jiffies;
			iscsi_tx_fill(conn);
		}
		if (!tx->nr || iscsi_over(conn))
			return;
		by_reference = iscsi_tx_gather(conn, &iter, &flags);
		n = scst_tcp_send(conn->socket->sk, &iter, flags, by_reference);
		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			iscsi_conn_end(conn, SCST_ISCSI_REASON_PEER);
			return;
		}
		conn->moved = jiffies;
		iscsi_tx_gone(conn, n);
	}
}

/* The connection is over: nothing of it is sent any more. */
void iscsi_tx_drop(struct iscsi_conn *conn)
{
	struct iscsi_tx *tx = &conn->tx;
	struct iscsi_req *req;

	while (tx->over < tx->pdus) {
		req = tx->pdu[tx->over++].req;
		if (req)
			iscsi_req_over(req);
	}
	tx->nr = tx->at = 0;
	while (!list_empty(&conn->tx_list)) {
		req = list_first_entry(&conn->tx_list, struct iscsi_req, tx);
		list_del_init(&req->tx);
		/* A command that waits for data is called back by the core. */
		if (req->kind != ISCSI_KIND_COMMAND || req->answered)
			iscsi_req_over(req);
	}
}
