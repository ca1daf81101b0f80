// SPDX-License-Identifier: GPL-2.0-only
/*
 * What goes: answers and R2Ts, in the order in which they were queued, a few PDUs to a call of the socket.  Headers get their numbers when
 * their PDU is made, so that StatSN goes up by one with each status, and the window that is told is the one there is.
 *
 * What a handler lends goes by reference, and so does more than a few kilobytes; then its pages are the socket's, too, until the initiator
 * has acknowledged them, and so are those that the header is in.  Other data is copied into the socket, with its header.  All under the
 * socket's lock; never waits for room.
 */
#include "iscsi.h"
#include <scsi/scsi_proto.h>

/* --- PDUs ----------------------------------------------------------------------------------------- */

static void iscsi_piece_copy(struct iscsi_tx *tx, void *base, u32 len)
{
	tx->piece[tx->nr++] = (struct kvec){ .iov_base = base, .iov_len = len };
}

/* @offset may be beyond the first page of a larger one */
static void iscsi_piece_refer(struct iscsi_tx *tx, struct page *page, u32 offset, u32 len)
{
	tx->by_reference |= BIT_ULL(tx->nr);
	bvec_set_page(&tx->bvec[tx->nr], page, len, offset);
	iscsi_piece_copy(tx, page_address(page) + offset, len);
}

static void iscsi_piece_set_len(struct iscsi_tx *tx, u32 at, u32 len)
{
	tx->piece[at].iov_len = len;
	tx->bvec[at].bv_len = len;
}

/* There are no additional headers, whose length is the byte before it. */
static void iscsi_put_data_len(u8 *head, u32 len)
{
	put_unaligned_be32(len, head + ISCSI_AT_AHS_LEN);
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

void iscsi_heads_init(struct iscsi_heads *heads)
{
	heads->at = PAGE_SIZE;
}

/* The socket may still have them: then they are his to free. */
void iscsi_heads_free(struct iscsi_heads *heads)
{
	u32 i;

	for (i = 0; i < ISCSI_HEAD_PAGES; i++)
		if (heads->page[i])
			put_page(heads->page[i]);
}

/* The next page, or a new one in its place, once in dozens of PDUs.  False: there is no memory. */
static noinline bool iscsi_heads_turn(struct iscsi_heads *heads)
{
	u32 next = (heads->now + 1) % ISCSI_HEAD_PAGES;
	struct page *page = heads->page[next];

	if (page && page_ref_count(page) == 1) {
		/* What is written from here on comes after whoever had it has let go of it. */
		smp_acquire__after_ctrl_dep();
	} else {
		struct page *fresh = alloc_page(GFP_ATOMIC | __GFP_NOWARN);

		if (!fresh)
			return false;
		if (page)
			put_page(page);
		heads->page[next] = fresh;
	}
	heads->now = next;
	heads->at = 0;
	return true;
}

/* Is there room for the header and the tail of a PDU? */
static bool iscsi_heads_room(struct iscsi_heads *heads)
{
	return heads->at + ISCSI_HEAD_ROOM <= PAGE_SIZE || iscsi_heads_turn(heads);
}

/* @by_reference: as its data is, if it has any */
static struct iscsi_tx_pdu *iscsi_pdu_begin(struct iscsi_conn *conn, bool by_reference)
{
	struct iscsi_heads *heads = &conn->heads;
	struct iscsi_tx *tx = &conn->tx;
	struct iscsi_tx_pdu *pdu = &tx->pdu[tx->pdus];

	if (by_reference && iscsi_heads_room(heads))
		iscsi_piece_refer(tx, heads->page[heads->now], heads->at, ISCSI_BHS);
	else
		iscsi_piece_copy(tx, pdu->space, ISCSI_BHS);
	pdu->head = tx->piece[tx->nr - 1].iov_base;
	return pdu;
}

static u32 iscsi_pieces_digest(const struct iscsi_tx *tx, u32 from)
{
	u32 crc = ISCSI_CRC_START;

	for (; from < tx->nr; from++)
		crc = iscsi_crc(crc, tx->piece[from].iov_base, tx->piece[from].iov_len);
	return crc;
}

/* @first: its piece with the header; @len: bytes of data behind that; @req: is over with it, or NULL */
static void iscsi_pdu_end(struct iscsi_conn *conn, struct iscsi_tx_pdu *pdu, u32 first, u32 len, struct iscsi_req *req)
{
	struct iscsi_heads *heads = &conn->heads;
	struct iscsi_tx *tx = &conn->tx;
	bool by_reference = pdu->head != pdu->space;
	u32 head_len = ISCSI_BHS, tail_len = -len & 3;
	u8 *tail;

	iscsi_put_data_len(pdu->head, len);
	if (conn->frame.header_digest) {
		iscsi_crc_put(iscsi_crc(ISCSI_CRC_START, pdu->head, ISCSI_BHS), pdu->head + ISCSI_BHS);
		head_len += ISCSI_DIGEST;
		iscsi_piece_set_len(tx, first, head_len);
	}
	tail = pdu->head + head_len;
	memset(tail, 0, tail_len);
	if (len && conn->frame.data_digest) {
		iscsi_crc_put(iscsi_crc(iscsi_pieces_digest(tx, first + 1), tail, tail_len), tail + tail_len);
		tail_len += ISCSI_DIGEST;
	}
	if (tail_len && by_reference)
		iscsi_piece_refer(tx, heads->page[heads->now], heads->at + head_len, tail_len);
	else if (tail_len)
		iscsi_piece_copy(tx, tail, tail_len);
	if (by_reference)
		heads->at += head_len + tail_len;
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
	struct iscsi_tx_pdu *pdu = iscsi_pdu_begin(conn, !len);

	iscsi_put_tags(pdu->head, req, ISCSI_RESPONSE);
	pdu->head[ISCSI_AT_FLAGS] = ISCSI_FINAL;
	pdu->head[ISCSI_AT_STATUS] = cmd->status;
	iscsi_put_residual(pdu->head, cmd);
	put_unaligned_be32(req->data_sn, pdu->head + ISCSI_AT_DATA_SN);
	iscsi_req_leave(req);
	iscsi_put_numbers(conn, pdu->head, true);
	if (len)
		iscsi_piece_copy(&conn->tx, req->payload, len);
	iscsi_pdu_end(conn, pdu, first, len, req);
}

static u32 iscsi_data_in_len(const struct scst_cmd *cmd)
{
	return cmd->dir == DMA_FROM_DEVICE ? cmd->len : 0;
}

/* At most @len bytes of data from where the last ended, as pieces.  Return: how many bytes. */
static u32 iscsi_data_pieces(struct iscsi_req *req, u32 len, bool by_reference)
{
	struct iscsi_tx *tx = &req->conn->tx;
	u32 done = 0, n;

	/* One is kept for the tail. */
	while (done < len && tx->nr < ISCSI_PIECES - 1) {
		n = min(req->sg->length - req->sg_at, len - done);
		if (by_reference)
			iscsi_piece_refer(tx, sg_page(req->sg), req->sg->offset + req->sg_at, n);
		else
			iscsi_piece_copy(tx, sg_virt(req->sg) + req->sg_at, n);
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
	u32 len = min3(left, conn->max_xmit, in_burst);
	bool by_reference = len > ISCSI_SMALL || cmd->data.owner == SCST_DATA_HANDLER, last;
	struct iscsi_tx_pdu *pdu = iscsi_pdu_begin(conn, by_reference);

	len = iscsi_data_pieces(req, len, by_reference);
	last = len == left && iscsi_collapsed(cmd);

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

	/* Who has nothing to ask for is not queued. */
	if (WARN_ON_ONCE(!len))
		return;
	pdu = iscsi_pdu_begin(conn, true);
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
		iscsi_piece_copy(tx, req->payload, req->payload_len);
		return req->payload_len;
	}
	list_for_each_entry(page, &req->pages, lru) {
		n = min_t(u32, req->paged - done, PAGE_SIZE);
		if (!n || tx->nr == ISCSI_PIECES - 1)
			break;
		iscsi_piece_copy(tx, page_address(page), n);
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
	struct iscsi_tx_pdu *pdu = iscsi_pdu_begin(conn, !req->payload_len && !req->paged);

	memcpy(pdu->head, req->head, ISCSI_BHS);
	iscsi_req_leave(req);
	iscsi_put_numbers(conn, pdu->head, iscsi_has_status(pdu->head));
	iscsi_pdu_end(conn, pdu, first, iscsi_payload_pieces(req), req);
}

/* --- the queue --------------------------------------------------------------------------------- */

/*
 * Aborted commands have no answer, unless somebody else aborted them (SAM-5 5.3.4), or it comes too late: on another CPU, when what was sent
 * before has been told that there is more to come.
 */
static bool iscsi_silent(const struct iscsi_req *req)
{
	return req->kind == ISCSI_KIND_COMMAND && req->answered && scst_cmd_aborted(&req->cmd) && !req->sent &&
	       !scst_cmd_aborted_by_other(&req->cmd) && req != req->conn->tx.promised;
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

/* The next PDU of a request, which leaves the queue with its last. */
static void iscsi_tx_next(struct iscsi_req *req)
{
	bool last = true;

	req->conn->tx.promised = NULL;
	if (req->kind != ISCSI_KIND_COMMAND) {
		iscsi_tx_plain(req);
	} else if (!req->answered) {
		iscsi_tx_r2t(req);
		last = !iscsi_out_may_ask(&req->out, &req->conn->bursts);
	} else if (req->sent < iscsi_data_in_len(&req->cmd)) {
		last = iscsi_tx_data_in(req);
	} else {
		iscsi_tx_response(req);
	}
	if (last)
		list_del_init(&req->tx);
}

static bool iscsi_tx_queued(const struct iscsi_conn *conn)
{
	return !list_empty(&conn->tx_list);
}

/* The first that has something to send, or NULL; what has nothing any more leaves the queue. */
static struct iscsi_req *iscsi_tx_first(struct iscsi_conn *conn)
{
	struct iscsi_req *req;

	while ((req = list_first_entry_or_null(&conn->tx_list, struct iscsi_req, tx)) && iscsi_silent(req)) {
		list_del_init(&req->tx);
		iscsi_req_over(req);
	}
	return req;
}

/* Data of commands goes in as many PDUs as it takes; that of others is not cut. */
static u32 iscsi_pieces_needed(const struct iscsi_req *req)
{
	return ISCSI_PIECES_MIN + (req->kind == ISCSI_KIND_COMMAND ? 0 : req->paged / PAGE_SIZE);
}

static void iscsi_tx_fill(struct iscsi_conn *conn)
{
	struct iscsi_tx *tx = &conn->tx;
	struct iscsi_req *req;

	tx->nr = tx->at = tx->pdus = tx->over = 0;
	tx->by_reference = 0;
	while (tx->pdus < ISCSI_PDUS) {
		req = iscsi_tx_first(conn);
		if (!req || tx->nr + iscsi_pieces_needed(req) > ISCSI_PIECES)
			return;
		iscsi_tx_next(req);
	}
}

/* --- the socket -------------------------------------------------------------------------------- */

static bool iscsi_piece_referred(const struct iscsi_tx *tx, u32 at)
{
	return tx->by_reference >> at & 1;
}

/* The pieces from tx->at on that go in one call, as @iter; sets @flags.  Return: are they sent by reference? */
static bool iscsi_tx_gather(struct iscsi_conn *conn, struct iov_iter *iter, int *flags)
{
	struct iscsi_tx *tx = &conn->tx;
	bool by_reference = iscsi_piece_referred(tx, tx->at);
	u32 at = tx->at, len = 0;

	for (; at < tx->nr && iscsi_piece_referred(tx, at) == by_reference; at++)
		len += tx->piece[at].iov_len;
	if (by_reference)
		iov_iter_bvec(iter, ITER_SOURCE, &tx->bvec[tx->at], at - tx->at, len);
	else
		iov_iter_kvec(iter, ITER_SOURCE, &tx->piece[tx->at], at - tx->at, len);
	*flags = MSG_DONTWAIT | MSG_NOSIGNAL;
	/* Only if more does come: what waits for it goes with the next acknowledgement, or a timer. */
	tx->promised = at < tx->nr || !iscsi_tx_queued(conn) ? NULL : iscsi_tx_first(conn);
	if (at < tx->nr || tx->promised)
		*flags |= MSG_MORE;
	return by_reference;
}

/* Bytes have gone: what is over with them? */
static void iscsi_tx_gone(struct iscsi_conn *conn, u32 n)
{
	struct iscsi_tx *tx = &conn->tx;

	for (; tx->at < tx->nr && n >= tx->piece[tx->at].iov_len; tx->at++)
		n -= tx->piece[tx->at].iov_len;
	if (n) {
		tx->piece[tx->at].iov_base += n;
		tx->bvec[tx->at].bv_offset += n;
		iscsi_piece_set_len(tx, tx->at, tx->piece[tx->at].iov_len - n);
	}
	while (tx->over < tx->pdus && tx->pdu[tx->over].end <= tx->at) {
		struct iscsi_req *req = tx->pdu[tx->over++].req;

		if (req)
			iscsi_req_over(req);
	}
}

/* False: there is nothing to be sent. */
static bool iscsi_tx_ready(struct iscsi_conn *conn)
{
	if (conn->tx.at == conn->tx.nr) {
		if (!iscsi_tx_queued(conn))
			return false;
		conn->moved = jiffies;
		iscsi_tx_fill(conn);
	}
	return conn->tx.at < conn->tx.nr && !iscsi_over(conn);
}

/**
 * iscsi_tx() - send what there is to be sent, as far as the socket takes it
 * @conn: locked, not over
 */
void iscsi_tx(struct iscsi_conn *conn)
{
	struct iov_iter iter;
	bool by_reference;
	int flags, n;

	iscsi_assert_locked(conn);
	while (iscsi_tx_ready(conn)) {
		by_reference = iscsi_tx_gather(conn, &iter, &flags);
		n = scst_tcp_send(conn->socket->sk, &iter, flags, by_reference);
		if (n == -EAGAIN) {
			/* What it has is on its way, and takes along what waits. */
			conn->tx.promised = NULL;
			return;
		}
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

	iscsi_assert_locked(conn);
	while (tx->over < tx->pdus) {
		req = tx->pdu[tx->over++].req;
		if (req)
			iscsi_req_over(req);
	}
	tx->nr = tx->at = 0;
	while (!list_empty(&conn->held))
		iscsi_command_answer(list_first_entry(&conn->held, struct iscsi_req, tx));
	while (!list_empty(&conn->tx_list)) {
		req = list_first_entry(&conn->tx_list, struct iscsi_req, tx);
		list_del_init(&req->tx);
		/* A command that waits for data is called back by the core. */
		if (req->kind != ISCSI_KIND_COMMAND || req->answered)
			iscsi_req_over(req);
	}
}
