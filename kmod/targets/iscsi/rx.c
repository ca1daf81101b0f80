// SPDX-License-Identifier: GPL-2.0-only
/*
 * What comes: bytes of the socket's receive queue, to where they belong, once.
 *
 * A command is submitted as soon as its header is there, so that the data that comes with it is copied into the command's own
 * memory.  Requests other than commands begin when they are there as a whole.  All under the socket's lock.
 */
#include "iscsi.h"
#include <linux/crc32c.h>

/* Bytes and PDUs that are looked at before others get a chance. */
#define RX_BYTES	SZ_256K
#define RX_PDUS		64

/* --- digests (RFC 7143 clause 13.1): the last four bytes, least significant first ------------ */

/* Goes on with a digest that begins with ISCSI_CRC_START. */
u32 iscsi_crc(u32 crc, const void *data, u32 len)
{
	return crc32c(crc, data, len);
}

void iscsi_crc_put(u32 crc, u8 *wire)
{
	put_unaligned_le32(~crc, wire);
}

static bool iscsi_crc_right(u32 crc, const u8 *wire)
{
	return get_unaligned_le32(wire) == ~crc;
}

/* --- a header is there ------------------------------------------------------------------------ */

static bool iscsi_head_damaged(struct iscsi_conn *conn)
{
	const struct iscsi_frame *frame = &conn->frame;

	if (!frame->header_digest || iscsi_crc_right(iscsi_crc(ISCSI_CRC_START, frame->head, frame->head_len),
						     frame->head + frame->head_len))
		return false;
	conn->header_digest_errors++;
	iscsi_conn_end(conn, SCST_ISCSI_REASON_DIGEST);
	return true;
}

/* Is a request of this number the next one, or does it wait for others? */
static bool iscsi_in_window(const struct iscsi_conn *conn, u32 sn)
{
	return !iscsi_sn_before(sn, conn->exp_cmd_sn) && !iscsi_sn_before(conn->exp_cmd_sn + conn->depth - conn->windowed - 1, sn);
}

/* By number; each number once. */
static bool iscsi_early_add(struct iscsi_conn *conn, struct iscsi_req *req)
{
	struct iscsi_req *other;

	if (list_empty(&conn->early))
		conn->early_since = jiffies;
	list_for_each_entry_reverse(other, &conn->early, early) {
		if (other->cmd_sn == req->cmd_sn)
			return false;
		if (iscsi_sn_before(other->cmd_sn, req->cmd_sn))
			break;
	}
	list_add(&req->early, &other->early);
	return true;
}

/* Has it come already?  Then it is passed over (4.2.2.1), whatever else is wrong with it. */
static bool iscsi_early_has(const struct iscsi_conn *conn, u32 sn)
{
	const struct iscsi_req *req;

	list_for_each_entry(req, &conn->early, early)
		if (req->cmd_sn == sn)
			return true;
	return false;
}

/* A number that will not come any more is taken as if it had.  False: it has come, or is none of the window's. */
bool iscsi_early_hole(struct iscsi_conn *conn, struct iscsi_req *req, u32 sn)
{
	if (!iscsi_in_window(conn, sn))
		return false;
	req->kind = ISCSI_KIND_HOLE;
	req->cmd_sn = sn;
	return iscsi_early_add(conn, req);
}

/* Its turn has come. */
static void iscsi_turn(struct iscsi_req *req)
{
	req->conn->exp_cmd_sn++;
	req->conn->windowed++;
	req->windowed = true;
}

static void iscsi_early_begin(struct iscsi_req *req)
{
	struct iscsi_conn *conn = req->conn;

	list_del_init(&req->early);
	conn->early_since = jiffies;
	if (req->kind == ISCSI_KIND_HOLE) {
		conn->exp_cmd_sn++;
		iscsi_req_free(req);
		return;
	}
	iscsi_turn(req);
	if (req->kind == ISCSI_KIND_COMMAND)
		iscsi_command_submit(req);
	else
		iscsi_request_begin(req);
}

static void iscsi_early_look(struct iscsi_conn *conn)
{
	struct iscsi_req *req;

	while (!list_empty(&conn->early)) {
		req = list_first_entry(&conn->early, struct iscsi_req, early);
		if (req->cmd_sn != conn->exp_cmd_sn)
			return;
		iscsi_early_begin(req);
	}
}

/* May there be one more?  Those that may wait for a back end are so many (4.2.2.1), so that all others have room. */
static bool iscsi_immediate_room(const struct iscsi_conn *conn, u8 opcode)
{
	if (opcode == ISCSI_COMMAND)
		return conn->immediates < ISCSI_IMMEDIATES;
	return opcode != ISCSI_TMF || conn->functions < iscsi_functions_max(conn->depth);
}

static void iscsi_immediate_enter(struct iscsi_req *req, u8 opcode)
{
	req->immediate = opcode == ISCSI_COMMAND;
	req->function = opcode == ISCSI_TMF;
	req->conn->immediates += req->immediate;
	req->conn->functions += req->function;
}

/*
 * A request that is fine but for its turn.  Return: 0, or an errno: -EAGAIN: there is no room for it now.
 */
static int iscsi_head_request(struct iscsi_conn *conn)
{
	const u8 *head = conn->frame.head;
	bool immediate = ISCSI_IMMEDIATE(head), now;
	u32 sn = get_unaligned_be32(head + ISCSI_AT_CMD_SN);
	struct iscsi_req *req;

	if (immediate && !iscsi_immediate_room(conn, ISCSI_OPCODE(head)))
		return iscsi_reject(conn, ISCSI_REASON_IMMEDIATE);
	if (ISCSI_OPCODE(head) == ISCSI_COMMAND && iscsi_req_find(conn, get_unaligned_be32(head + ISCSI_AT_ITT)))
		return !immediate && iscsi_early_has(conn, sn) ? 0 : iscsi_reject(conn, ISCSI_REASON_TASK);
	req = iscsi_req_get(conn);
	if (!req)
		return -EAGAIN;
	memcpy(req->head, head, ISCSI_BHS);
	req->kind = ISCSI_OPCODE(head) == ISCSI_COMMAND ? ISCSI_KIND_COMMAND : ISCSI_KIND_PLAIN;
	req->cmd_sn = sn;
	now = immediate || sn == conn->exp_cmd_sn;
	if (!now && !iscsi_early_add(conn, req)) {
		iscsi_req_free(req);
		return 0;
	}
	if (immediate)
		iscsi_immediate_enter(req, ISCSI_OPCODE(head));
	conn->rx = req;
	if (req->kind != ISCSI_KIND_COMMAND)
		return 0;
	if (now && !immediate)
		iscsi_turn(req);
	iscsi_command(req, now);
	return 0;
}

static int iscsi_head_done(struct iscsi_conn *conn)
{
	const u8 *head = conn->frame.head;
	int verdict;

	conn->rx = NULL;
	verdict = iscsi_pdu_check(head, &conn->rules);
	if (verdict == ISCSI_CLOSE) {
		iscsi_conn_end(conn, SCST_ISCSI_REASON_PROTOCOL);
		return -EPROTO;
	}
	if (ISCSI_OPCODE(head) == ISCSI_DATA_OUT)
		return iscsi_data_out(conn);
	/* What is outside of the window does not exist (4.2.2.1). */
	if (ISCSI_OPCODE(head) != ISCSI_SNACK && !ISCSI_IMMEDIATE(head) &&
	    !iscsi_in_window(conn, get_unaligned_be32(head + ISCSI_AT_CMD_SN))) {
		conn->window_full++;
		return 0;
	}
	/* The number of what is rejected counts as not received (11.17.1). */
	return verdict ? iscsi_reject(conn, verdict) : iscsi_head_request(conn);
}

/* --- data ------------------------------------------------------------------------------------------ */

/* Nobody wants it yet. */
static int iscsi_data_keep(struct iscsi_conn *conn, struct iscsi_req *req, void **where, u32 *room)
{
	u32 left = *room;

	if (!(req->paged % PAGE_SIZE) && !iscsi_room())
		return iscsi_room_lacks(conn);
	if (!iscsi_req_page(req, req->paged, where, room)) {
		conn->no_room = false;
		return 0;
	}
	*where = NULL;
	*room = left;
	return iscsi_room_lacks(conn);
}

/* Where the next bytes of data go; NULL: they are dropped.  Return: 0, or an errno, -EAGAIN: nowhere yet. */
static int iscsi_data_room(struct iscsi_conn *conn, void **where, u32 *room)
{
	struct iscsi_req *req = conn->rx;

	*where = NULL;
	*room = conn->frame.left;
	if (!req || req->spoilt)
		return 0;
	if (!req->ready)
		return iscsi_data_keep(conn, req, where, room);
	if (!req->sg)
		return 0;
	*where = sg_virt(req->sg) + req->sg_at;
	*room = req->sg->length - req->sg_at;
	return 0;
}

/* Bytes have been put there. */
static void iscsi_data_put(struct iscsi_conn *conn, u32 n)
{
	struct iscsi_req *req = conn->rx;

	if (!req || req->spoilt)
		return;
	if (!req->ready) {
		req->paged += n;
		return;
	}
	if (!req->sg)
		return;
	req->sg_at += n;
	if (req->sg_at == req->sg->length) {
		req->sg = sg_next(req->sg);
		req->sg_at = 0;
	}
}

/* What is dropped has a digest all the same. */
static void iscsi_skb_digest(struct iscsi_conn *conn, struct sk_buff *skb, unsigned int at, u32 n)
{
	u8 buf[128];
	u32 part;

	for (; n; n -= part, at += part) {
		part = min_t(u32, n, sizeof(buf));
		skb_copy_bits(skb, at, buf, part);
		conn->crc = iscsi_crc(conn->crc, buf, part);
	}
}

/* Return: bytes taken, or a negative errno. */
static int iscsi_data_take(struct iscsi_conn *conn, struct sk_buff *skb, unsigned int at, u32 len)
{
	void *where;
	u32 room;
	int ret = iscsi_data_room(conn, &where, &room);

	if (ret)
		return ret;
	len = min3(len, room, conn->frame.left);
	if (where)
		skb_copy_bits(skb, at, where, len);
	if (conn->frame.data_digest) {
		if (where)
			conn->crc = iscsi_crc(conn->crc, where, len);
		else
			iscsi_skb_digest(conn, skb, at, len);
	}
	iscsi_data_put(conn, len);
	return len;
}

static void iscsi_data_damaged(struct iscsi_conn *conn)
{
	conn->data_digest_errors++;
	iscsi_reject(conn, ISCSI_REASON_DIGEST);
}

/* A whole PDU is there. */
static void iscsi_pdu_done(struct iscsi_conn *conn)
{
	struct iscsi_frame *frame = &conn->frame;
	struct iscsi_req *req = conn->rx;
	u32 pad = -frame->data_len & 3;
	bool damaged = false;

	if (frame->data_digest && frame->data_len) {
		conn->crc = iscsi_crc(conn->crc, frame->tail, pad);
		damaged = !iscsi_crc_right(conn->crc, frame->tail + pad);
	}
	conn->pdus_in++;
	conn->rx = NULL;
	if (damaged)
		iscsi_data_damaged(conn);
	if (req && (ISCSI_OPCODE(frame->head) == ISCSI_COMMAND || ISCSI_OPCODE(frame->head) == ISCSI_DATA_OUT)) {
		req->spoilt = req->spoilt ?: damaged ? -EBADMSG : 0;
		iscsi_command_data(req, frame->head);
	} else if (req && damaged) {
		/* Its number has not come (11.17.1). */
		iscsi_request_drop(req);
	} else if (req && list_empty(&req->early)) {
		if (!ISCSI_IMMEDIATE(frame->head))
			iscsi_turn(req);
		iscsi_request_begin(req);
	}
	iscsi_early_look(conn);
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* A part is there.  Return: 0, or an errno: -EAGAIN: it is looked at again when there is room. */
static int iscsi_part_done(struct iscsi_conn *conn)
{
	struct iscsi_frame *frame = &conn->frame;
	int ret = 0;

	if (frame->part == ISCSI_PART_TAIL) {
		iscsi_pdu_done(conn);
		iscsi_frame_start(frame);
		return iscsi_over(conn) ? -ESHUTDOWN : 0;
	}
	if (frame->part == ISCSI_PART_HEAD) {
		if (iscsi_head_damaged(conn))
			return -EBADMSG;
		conn->crc = ISCSI_CRC_START;
		ret = iscsi_head_done(conn);
	}
	if (!ret)
		iscsi_frame_next(frame);
	return ret;
}

static int iscsi_take(struct iscsi_conn *conn, struct sk_buff *skb, unsigned int at, u32 len)
{
	struct iscsi_frame *frame = &conn->frame;

	if (frame->part == ISCSI_PART_DATA)
		return iscsi_data_take(conn, skb, at, len);
	len = min(len, frame->left);
	skb_copy_bits(skb, at, iscsi_frame_room(frame), len);
	return len;
}

static void iscsi_starve(struct iscsi_conn *conn)
{
	set_bit(ISCSI_CONN_STARVED, &conn->state);
	smp_mb__after_atomic();
}

/* What is over with the bytes that are there.  True: there may be more to be taken. */
static bool iscsi_rx_parts(struct iscsi_conn *conn)
{
	do {
		int ret = iscsi_part_done(conn);

		if (ret == -EAGAIN)
			iscsi_starve(conn);
		if (ret || conn->pdus_in == conn->rx_until)
			return false;
	} while (!conn->frame.left);
	return true;
}

static bool iscsi_rx_goes_on(struct iscsi_conn *conn)
{
	return conn->frame.left || iscsi_rx_parts(conn);
}

/* False: that is all for now. */
static bool iscsi_rx_skb(struct iscsi_conn *conn, struct sk_buff *skb, unsigned int at, u32 len)
{
	int n;

	for (; len; at += n, len -= n) {
		n = iscsi_take(conn, skb, at, len);
		if (n < 0)
			return false;
		conn->taken += n;
		iscsi_frame_added(&conn->frame, n);
		if (!iscsi_rx_goes_on(conn))
			return false;
	}
	return true;
}

/* Return: has all that is there been taken? */
static bool iscsi_rx_queue(struct iscsi_conn *conn)
{
	struct sock *sk = conn->socket->sk;
	u32 seq = tcp_sk(sk)->copied_seq, at;
	struct sk_buff *skb;

	/* What was left undone for want of something. */
	if (!iscsi_rx_goes_on(conn))
		return false;
	skb_queue_walk(&sk->sk_receive_queue, skb) {
		at = seq + conn->taken - TCP_SKB_CB(skb)->seq;
		/* The end of the stream has no data. */
		if (at >= skb->len)
			break;
		if (!iscsi_rx_skb(conn, skb, at, min(skb->len - at, RX_BYTES - conn->taken)) || conn->taken == RX_BYTES)
			return false;
	}
	return true;
}

/**
 * iscsi_rx() - take what has come
 * @conn: locked, and live; what was taken before is the socket's again
 *
 * It stays in the socket's queue until iscsi_rx_done().  Return: true: there may be more, but others wait, too.
 */
bool iscsi_rx(struct iscsi_conn *conn)
{
	bool all;

	iscsi_assert_locked(conn);
	conn->rx_until = conn->pdus_in + RX_PDUS;
	/* Rarely set, and to look costs less than to clear. */
	if (unlikely(READ_ONCE(conn->state) & (BIT(ISCSI_CONN_STARVED) | BIT(ISCSI_CONN_NO_ROOM)))) {
		clear_bit(ISCSI_CONN_STARVED, &conn->state);
		clear_bit(ISCSI_CONN_NO_ROOM, &conn->state);
	}
	all = iscsi_rx_queue(conn);
	if (conn->taken) {
		conn->heard = jiffies;
		conn->pinged = false;
	}
	if (iscsi_over(conn) || test_bit(ISCSI_CONN_NO_ROOM, &conn->state))
		return false;
	/* One may have been freed by somebody who did not see that it is waited for. */
	if (test_bit(ISCSI_CONN_STARVED, &conn->state))
		return !llist_empty(&conn->freed);
	return !all;
}

/**
 * iscsi_rx_done() - the socket may have back what was taken
 * @conn: locked; what there was to be sent is out
 *
 * TCP acknowledges now what nothing has acknowledged yet, if it is more than a packet of the peer's; mostly an answer has.
 */
void iscsi_rx_done(struct iscsi_conn *conn)
{
	u32 taken = conn->taken;

	iscsi_assert_locked(conn);
	if (!taken)
		return;
	conn->taken = 0;
	tcp_read_done(conn->socket->sk, taken);
}
