// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A connection of iSCSI in its full-feature phase: what comes, commands and their data, task management, what goes.  The input plays the
 * initiator, the mid-level and the socket: bytes in portions of any size, when commands want their data and end, who aborts them, how much the
 * socket takes, when memory is short.
 *
 * What must hold: nothing is touched that is not there or not any more; data that a command is given without an error is what was sent for it; what
 * is sent is PDUs of a target, in the order of their numbers, and none is held back for more that does not come; a ping comes back whole; memory
 * is counted under the socket's lock; as long as nothing is short what comes is read; when it is over every command has been given back, once,
 * and no memory is left.
 */
#include "iscsi.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

#define DEPTH_MAX	8
#define LEN_MAX		16384
#define STREAM_MAX	(1 << 18)
#define R2TS		16

u32 fuzz_memory;

static struct sock sk;
static u8 *socket_memory;	/* what has come, and was not taken */
static u32 socket_len;
static struct socket sock_of;
static struct scst_session sess;
static struct iscsi_conn *conn;
static struct list_head cmds, tmfs;
static struct list_head sent;	/* by the driver, while the mid-level was going to recall them */
static bool running, again, pattern;
static bool corked;		/* what was sent last waits for more */
static bool ended;		/* nobody uses the connection any more */
static bool scarce;		/* memory, or room in the socket, is or was short */
static bool overtaken;		/* while something is sent, that command is aborted: */
static u32 overtaken_itt;

/* --- what the initiator sees --------------------------------------------------------------------- */

static u8 out[1 << 17];		/* of the target, not yet looked at */
static u32 out_len, stat_sn, exp_cmd_sn, max_cmd_sn;
static struct r2t {
	u32 itt, ttt, offset, len;
} r2ts[R2TS];
static u32 nr_r2ts;

#define want(condition)	assert(condition)

static void look_at_numbers(const u8 *head, bool status)
{
	u32 exp = get_unaligned_be32(head + ISCSI_AT_EXP_CMD_SN), most = get_unaligned_be32(head + ISCSI_AT_MAX_CMD_SN);

	want(get_unaligned_be32(head + ISCSI_AT_STAT_SN) == stat_sn);
	stat_sn += status;
	want(!iscsi_sn_before(exp, exp_cmd_sn) && !iscsi_sn_before(most, max_cmd_sn) && !iscsi_sn_before(most + 1, exp));
	exp_cmd_sn = exp;
	max_cmd_sn = most;
}

static void look_at_r2t(const u8 *head)
{
	struct r2t *one = &r2ts[nr_r2ts++ % R2TS];

	one->itt = get_unaligned_be32(head + ISCSI_AT_ITT);
	one->ttt = get_unaligned_be32(head + ISCSI_AT_TTT);
	one->offset = get_unaligned_be32(head + ISCSI_AT_OFFSET);
	one->len = get_unaligned_be32(head + ISCSI_AT_R2T_LEN);
	want(one->ttt != ISCSI_TAG_NONE && one->len && one->len <= conn->bursts.max);
}

/* What pings had with them, by the last byte of their tags. */
#define PING_NONE	(~0u)
#define PING_UNSURE	(~1u)	/* there were several */
static u32 pings[256];
static u32 nr_numbered;		/* requests that have a number of their own */

static void ping_sent(const u8 *head, u32 len)
{
	u32 *ping = &pings[head[ISCSI_AT_ITT + 3]];

	*ping = *ping == PING_NONE || *ping == len ? len : PING_UNSURE;
}

static void look_at_ping(const u8 *head, u32 len)
{
	u32 ping = pings[head[ISCSI_AT_ITT + 3]];

	if (pattern && ping != PING_UNSURE)
		want(len == min(ping, conn->max_xmit));
}

/* One that is whole. */
static void look_at(const u8 *head, u32 len, const u8 *data)
{
	u8 flags = head[ISCSI_AT_FLAGS];
	bool tagged = get_unaligned_be32(head + ISCSI_AT_ITT) != ISCSI_TAG_NONE;

	want(len <= conn->max_xmit);
	switch (ISCSI_OPCODE(head)) {
	case ISCSI_NOP_IN:
		look_at_numbers(head, tagged);
		if (tagged)
			look_at_ping(head, len);
		break;
	case ISCSI_DATA_IN:
		want(!(flags & ISCSI_DATA_STATUS) || flags & ISCSI_FINAL);
		look_at_numbers(head, flags & ISCSI_DATA_STATUS);
		break;
	case ISCSI_R2T:
		look_at_numbers(head, false);
		look_at_r2t(head);
		break;
	case ISCSI_RESPONSE:
	case ISCSI_TMF_RESPONSE:
	case ISCSI_TEXT_RESPONSE:
	case ISCSI_LOGOUT_RESPONSE:
	case ISCSI_ASYNC:
	case ISCSI_REJECT:
		look_at_numbers(head, true);
		break;
	default:
		abort();
	}
}

static bool digest_right(const u8 *data, u32 len)
{
	return get_unaligned_le32(data + len) == ~crc32c(~0u, data, len);
}

/* Of a PDU: the place behind it, 0: it is not all there. */
static u32 look_at_one(const u8 *at, u32 left)
{
	u32 head = ISCSI_BHS + (conn->frame.header_digest ? ISCSI_DIGEST : 0), len, whole;

	if (left < head)
		return 0;
	len = iscsi_data_len(at);
	whole = ALIGN(len, 4);
	if (left < head + whole + (len && conn->frame.data_digest ? ISCSI_DIGEST : 0))
		return 0;
	want(!at[ISCSI_AT_AHS_LEN]);
	want(!conn->frame.header_digest || digest_right(at, ISCSI_BHS));
	want(!len || !conn->frame.data_digest || digest_right(at + head, whole));
	look_at(at, len, at + head);
	return head + whole + (len && conn->frame.data_digest ? ISCSI_DIGEST : 0);
}

static void look(void)
{
	u32 at = 0, n;

	while ((n = look_at_one(out + at, out_len - at)))
		at += n;
	out_len -= at;
	memmove(out, out + at, out_len);
}

static void abort_cmd(struct scst_cmd *cmd, bool by_other);

/* On another CPU. */
static void overtake(void)
{
	struct scst_cmd *cmd;

	list_for_each_entry(cmd, &cmds, entry)
		if (overtaken && cmd->tag == overtaken_itt && cmd->place == FUZZ_SENDING)
			abort_cmd(cmd, false);
	overtaken = false;
}

int scst_tcp_send(struct sock *to, struct iov_iter *iter, int flags, bool by_reference)
{
	u32 n = min_t(size_t, min_t(size_t, iter->count, to->room), sizeof(out) - out_len), done = 0, part;
	unsigned int i;

	if (!n)
		return -EAGAIN;
	for (i = 0; i < iter->nr && done < n; i++, done += part) {
		const struct bio_vec *bvec = by_reference ? &iter->bvec[i] : NULL;
		const void *from = bvec ? page_address(bvec->bv_page) + bvec->bv_offset : iter->kvec[i].iov_base;

		part = min_t(size_t, bvec ? bvec->bv_len : iter->kvec[i].iov_len, n - done);
		memcpy(out + out_len + done, from, part);
	}
	want(done == n);
	corked = flags & MSG_MORE;
	to->room -= n;
	out_len += n;
	look();
	overtake();
	return n;
}

/* --- the socket, and who works on the connection: conn.c, of one thread ----------------------------- */

/* What has come lies in two pieces; numbers wrap within the first few. */
static void enqueue(void)
{
	static struct sk_buff skb[2];
	u32 cut = (socket_len + 1) / 2;

	sk.sk_receive_queue = NULL;
	if (!socket_len)
		return;
	skb[0] = (struct sk_buff){ .data = socket_memory, .len = cut, .seq = sk.copied_seq, .next = &skb[1] };
	skb[1] = (struct sk_buff){ .data = socket_memory + cut, .len = socket_len - cut, .seq = sk.copied_seq + cut };
	sk.sk_receive_queue = skb;
}

/* Whoever still has it has something that is not there. */
void tcp_read_done(struct sock *from, size_t len)
{
	u8 *left = NULL;

	want(len && len <= socket_len);
	socket_len -= len;
	from->copied_seq += len;
	if (socket_len) {
		left = malloc(socket_len);
		memcpy(left, socket_memory + len, socket_len);
	}
	free(socket_memory);
	socket_memory = left;
	enqueue();
}

bool iscsi_running(const struct iscsi_conn *of)
{
	return running;
}

void iscsi_run_later(struct iscsi_conn *of)
{
	again = true;
}

void iscsi_conn_end(struct iscsi_conn *of, enum scst_iscsi_reason reason)
{
	set_bit(ISCSI_CONN_OVER, &of->state);
}

static void inbox(void)
{
	struct llist_node *list = llist_del_all(&conn->inbox), *back = NULL, *next;

	for (; list; list = next) {
		next = list->next;
		list->next = back;
		back = list;
	}
	for (; back; back = next) {
		struct iscsi_req *req = llist_entry(back, struct iscsi_req, inbox);

		next = back->next;
		if (req->kind == ISCSI_KIND_TMF)
			iscsi_tmf_answer(req);
		else
			iscsi_command_due(req, req->due);
	}
}

static void run_out(void)
{
	do {
		inbox();
		if (test_and_clear_bit(ISCSI_CONN_NEWS, &conn->state))
			iscsi_tell_luns(conn);
		if (iscsi_over(conn))
			iscsi_tx_drop(conn);
		else
			iscsi_tx(conn);
	} while (!llist_empty(&conn->inbox));
	iscsi_rx_done(conn);
	want(!corked || iscsi_over(conn) || !sk.room || conn->tx.at < conn->tx.nr || !list_empty(&conn->tx_list));
	/* However many commands and functions hang. */
	want(!test_bit(ISCSI_CONN_STARVED, &conn->state) || scarce || !sk.room);
}

static void run(bool receive)
{
	do {
		again = false;
		running = true;
		inbox();
		want(!conn->taken);
		if (receive && !iscsi_over(conn))
			again |= iscsi_rx(conn);
		run_out();
		running = false;
	} while (again);
}

void iscsi_conn_lock(struct iscsi_conn *of)
{
	want(!running);
	running = true;
}

void iscsi_conn_unlock(struct iscsi_conn *of)
{
	run_out();
	running = false;
}

void iscsi_due(struct iscsi_req *req, enum iscsi_due due)
{
	req->due = due;
	if (llist_add(&req->inbox, &conn->inbox) && !running)
		run(false);
}

void iscsi_target_reset(struct iscsi_target *target)
{
	iscsi_conn_end(conn, SCST_ISCSI_REASON_RESET);
}

/* --- room.c, text.c: others are as impatient, and there is always an answer ------------------------------- */

static bool full, patient;

void iscsi_room_charge(struct iscsi_conn *of, long bytes)
{
	want(running || ended);
	of->kept += bytes;
}

bool iscsi_room(void)
{
	return !full;
}

int iscsi_room_lacks(struct iscsi_conn *of)
{
	struct iscsi_req *req = of->rx;

	patient = !patient;
	if (patient) {
		set_bit(ISCSI_CONN_NO_ROOM, &of->state);
		return -EAGAIN;
	}
	if (req->kind == ISCSI_KIND_COMMAND) {
		req->spoilt = -ENOMEM;
		iscsi_req_unpage(req);
		return 0;
	}
	of->rx = NULL;
	iscsi_request_drop(req);
	return iscsi_reject(of, ISCSI_REASON_LONG);
}

void iscsi_text(struct iscsi_req *req)
{
	u32 itt = iscsi_itt(req);

	iscsi_req_leave(req);
	iscsi_req_unpage(req);
	iscsi_head_make(req, ISCSI_TEXT_RESPONSE, itt);
	iscsi_answer(req);
}

/* --- the mid-level ------------------------------------------------------------------------------------ */

u32 scst_lun_unpack(const u8 lun[8])
{
	return lun[1];
}

/* What a CDB of the fuzzer's asks for: bytes 1 and 2 how much, byte 3 what happens at once, and whose the data is, byte 4 how the pieces are. */
#define WANTS(cmd)	(get_unaligned_be16((cmd)->cdb + 1) % (LEN_MAX + 1))
#define AT_ONCE(cmd)	((cmd)->cdb[3] & 1)
#define ENDS_AT_ONCE(cmd)	((cmd)->cdb[3] & 2)
#define FAILS(cmd)	((cmd)->cdb[3] & 4)
#define LENT(cmd)	((cmd)->cdb[3] & 8)
#define PIECE(cmd)	(((cmd)->cdb[4] & 7) ? ((cmd)->cdb[4] & 0xffu) * 16 : LEN_MAX)

static void data_make(struct scst_cmd *cmd)
{
	u32 nents = (cmd->len + PIECE(cmd) - 1) / PIECE(cmd), left = cmd->len, i;

	if (!cmd->len)
		return;
	cmd->data.sgl = calloc(nents, sizeof(struct scatterlist));
	cmd->data.nents = nents;
	cmd->data.owner = LENT(cmd) ? SCST_DATA_HANDLER : SCST_DATA_CORE;
	for (i = 0; i < nents; i++, left -= cmd->data.sgl[i - 1].length) {
		struct scatterlist *sg = &cmd->data.sgl[i];

		sg->length = min(left, PIECE(cmd));
		sg->page.memory = malloc(sg->length);
		sg->last = i == nents - 1;
		memset(sg->page.memory, cmd->dir == DMA_FROM_DEVICE ? 0x5a : 0, sg->length);
	}
}

static void data_free(struct scst_cmd *cmd)
{
	u32 i;

	for (i = 0; i < cmd->data.nents; i++)
		free(cmd->data.sgl[i].page.memory);
	free(cmd->data.sgl);
	cmd->data.sgl = NULL;
	cmd->data.nents = 0;
}

static u8 byte_of(u32 itt, u32 offset)
{
	return (itt * 31 + offset) ^ offset >> 8;
}

static void data_check(const struct scst_cmd *cmd)
{
	u32 i, at, offset = 0;

	for (i = 0; i < cmd->data.nents; i++)
		for (at = 0; at < cmd->data.sgl[i].length; at++, offset++)
			want(cmd->data.sgl[i].page.memory[at] == byte_of(cmd->tag, offset));
}

static void answer(struct scst_cmd *cmd)
{
	cmd->place = FUZZ_SENDING;
	if (FAILS(cmd)) {
		cmd->status = 2;
		cmd->sense_len = 18;
		memset(cmd->sense, 0, 18);
	}
	want(!iscsi_send_response(cmd));
}

static void ask(struct scst_cmd *cmd)
{
	data_make(cmd);
	if (cmd->dir == DMA_TO_DEVICE && cmd->len) {
		cmd->place = FUZZ_RECEIVING;
		want(!iscsi_receive_data(cmd));
	} else {
		answer(cmd);
	}
}

void scst_cmd_submit(struct scst_cmd *cmd)
{
	want(running);
	cmd->xfer_len = cmd->dir == DMA_NONE ? 0 : WANTS(cmd);
	cmd->len = min(cmd->xfer_len, cmd->expected_len);
	cmd->place = FUZZ_CORE;
	list_add_tail(&cmd->entry, &cmds);
	if (AT_ONCE(cmd))
		ask(cmd);
}

void scst_data_received(struct scst_cmd *cmd, int error, enum scst_context ctx)
{
	want(cmd->place == FUZZ_RECEIVING);
	if (!error && pattern)
		data_check(cmd);
	cmd->place = FUZZ_RECEIVED;
	if (error) {
		cmd->status = 2;
		cmd->sense_len = 18;
		memset(cmd->sense, 0, 18);
	}
	if (ENDS_AT_ONCE(cmd))
		answer(cmd);
}

void scst_cmd_sent(struct scst_cmd *cmd)
{
	want(cmd->place == FUZZ_SENDING);
	cmd->place = FUZZ_NOWHERE;
	data_free(cmd);
	list_del(&cmd->entry);
	if (cmd->recalled)
		list_add_tail(&cmd->entry, &sent);
	else
		iscsi_release(cmd);
}

void scst_tmf_submit(struct scst_tmf *tmf)
{
	list_add_tail(&tmf->entry, &tmfs);
}

/* It is aborted at once, and recalled by a thread that comes to it some time later. */
static void abort_cmd(struct scst_cmd *cmd, bool by_other)
{
	if (cmd->aborted)
		return;
	cmd->aborted = true;
	cmd->by_other = by_other;
	cmd->recalled = true;
}

/* What was sent meanwhile is given back by that thread. */
static void recall_sent(void)
{
	struct scst_cmd *cmd;

	while (!list_empty(&sent)) {
		cmd = list_first_entry(&sent, struct scst_cmd, entry);
		list_del(&cmd->entry);
		iscsi_abort(cmd);
		iscsi_release(cmd);
	}
}

static void recall(struct scst_cmd *cmd)
{
	if (cmd->recalled && cmd->place != FUZZ_NOWHERE) {
		iscsi_abort(cmd);
		if (cmd->place != FUZZ_NOWHERE)
			cmd->recalled = false;
	}
	recall_sent();
}

static struct scst_cmd *nth(u32 n)
{
	struct scst_cmd *cmd;

	list_for_each_entry(cmd, &cmds, entry)
		if (!n--)
			return cmd;
	return NULL;
}

static void go_on(struct scst_cmd *cmd)
{
	if (cmd->place == FUZZ_CORE)
		ask(cmd);
	else if (cmd->place == FUZZ_RECEIVED)
		answer(cmd);
}

static void manage(void)
{
	struct scst_tmf *tmf;
	struct scst_cmd *cmd;

	if (list_empty(&tmfs))
		return;
	tmf = list_first_entry(&tmfs, struct scst_tmf, entry);
	list_del(&tmf->entry);
	tmf->response = SCST_TMF_NO_TASK;
	list_for_each_entry(cmd, &cmds, entry) {
		if (tmf->fn != SCST_TMF_LUN_RESET && cmd->tag != tmf->tag)
			continue;
		tmf->response = SCST_TMF_COMPLETE;
		abort_cmd(cmd, false);
		recall(cmd);
		break;
	}
	iscsi_tmf_done(tmf);
}

/* --- what the initiator sends --------------------------------------------------------------------------- */

/* In pieces of @step bytes; what is not taken stays before what comes next. */
static void arrive(const u8 *data, u32 len, u32 step)
{
	u32 n;

	for (; len && !iscsi_over(conn) && socket_len < STREAM_MAX; data += n, len -= n) {
		n = min(len, step);
		socket_memory = realloc(socket_memory, socket_len + n);
		memcpy(socket_memory + socket_len, data, n);
		socket_len += n;
		enqueue();
		run(true);
	}
}

/* Of a PDU that the input has: what is made right. */
#define BAD_HEADER_DIGEST	0x01
#define BAD_DATA_DIGEST		0x02
#define FOR_R2T			0x04	/* an answer to one */
#define OWN_CMD_SN		0x08
#define OWN_LEN			0x10	/* the length that it announces is none of what follows */
#define BAD_PADDING		0x20
#define KNOBS			4	/* bytes: these; which R2T, or how far from the next CmdSN; step; additional headers, words */

static void answer_r2t(u8 *head, u8 which)
{
	const struct r2t *one = &r2ts[which % R2TS];

	head[0] = ISCSI_DATA_OUT;
	put_unaligned_be32(one->itt, head + ISCSI_AT_ITT);
	put_unaligned_be32(one->ttt, head + ISCSI_AT_TTT);
	/* Bits of what is there move within the R2T, so that rules are kept and broken. */
	put_unaligned_be32(one->offset + get_unaligned_be32(head + ISCSI_AT_OFFSET), head + ISCSI_AT_OFFSET);
	if (!iscsi_data_len(head)) {
		head[5] = 0;
		put_unaligned_be16(min(one->len, conn->rules.max_recv), head + 6);
	}
}

static u32 put_data(u8 *at, const u8 *head, u32 len, u8 knobs)
{
	u32 from = ISCSI_OPCODE(head) == ISCSI_DATA_OUT ? get_unaligned_be32(head + ISCSI_AT_OFFSET) : 0;
	u32 itt = get_unaligned_be32(head + ISCSI_AT_ITT), i;

	for (i = 0; i < len; i++)
		at[i] = byte_of(itt, from + i);
	for (; i & 3; i++)
		at[i] = knobs & BAD_PADDING ? 0xff : 0;
	if (conn->frame.data_digest && len) {
		put_unaligned_le32(~crc32c(~0u, at, i) ^ (knobs & BAD_DATA_DIGEST ? 1 : 0), at + i);
		i += ISCSI_DIGEST;
	}
	return i;
}

static void send_pdu(const u8 *input, u32 size)
{
	static u8 wire[ISCSI_BHS + ISCSI_AHS_MAX + LEN_MAX + 64];
	u8 knobs, step;
	u32 len, at, head_len;

	if (size < KNOBS)
		return;
	knobs = input[0];
	step = input[2];
	memset(wire, 0, ISCSI_BHS + ISCSI_AHS_MAX);
	at = min_t(u32, size - KNOBS, ISCSI_BHS + ISCSI_AHS_MAX);
	memcpy(wire, input + KNOBS, at);
	head_len = ISCSI_BHS + input[3] % 16 * 4;
	wire[ISCSI_AT_AHS_LEN] = input[3] % 16;
	if (knobs & FOR_R2T)
		answer_r2t(wire, input[1]);
	else if (!(knobs & OWN_CMD_SN))
		put_unaligned_be32(conn->exp_cmd_sn + (s8)input[1], wire + ISCSI_AT_CMD_SN);
	len = iscsi_data_len(wire);
	if (!(knobs & OWN_LEN)) {
		len = min_t(u32, len, LEN_MAX);
		wire[5] = 0;
		put_unaligned_be16(len, wire + 6);
	}
	len = min_t(u32, len, LEN_MAX);
	at = head_len;
	if (conn->frame.header_digest) {
		put_unaligned_le32(~crc32c(~0u, wire, head_len) ^ (knobs & BAD_HEADER_DIGEST ? 1 : 0), wire + at);
		at += ISCSI_DIGEST;
	}
	at += put_data(wire + at, wire, len, knobs);
	if (ISCSI_OPCODE(wire) == ISCSI_NOP_OUT)
		ping_sent(wire, len);
	nr_numbered += !ISCSI_IMMEDIATE(wire);
	arrive(wire, at, step ? step : at);
}

/* --- the input ------------------------------------------------------------------------------------------ */

enum { A_PDU, BYTES, GO_ON, RECALL, MANAGE, ROOM, NO_MEMORY, NEWS, KINDS };

static void by_itself(u8 what)
{
	iscsi_conn_lock(conn);
	if (!iscsi_over(conn)) {
		if (what & 1)
			iscsi_ping(conn);
		else if (what & 2)
			iscsi_ask_for_logout(conn, what);
		else
			set_bit(ISCSI_CONN_NEWS, &conn->state);
	}
	iscsi_conn_unlock(conn);
}

static void step(u8 kind, const u8 *data, u32 len)
{
	u8 first = len ? data[0] : 0;
	struct scst_cmd *cmd;

	recall_sent();
	cmd = nth(first & 0x7f);
	if (kind == A_PDU) {
		send_pdu(data, len);
	} else if (kind == BYTES) {
		pattern = false;
		arrive(data, len, 1 + first);
	} else if (kind == GO_ON && cmd) {
		go_on(cmd);
	} else if (kind == RECALL && cmd && len > 1 && data[1] & 2) {
		overtaken = true;
		overtaken_itt = cmd->tag;
	} else if (kind == RECALL && cmd) {
		abort_cmd(cmd, first & 0x80);
		/* Or later. */
		if (len < 2 || !(data[1] & 1))
			recall(cmd);
	} else if (kind == MANAGE) {
		manage();
	} else if (kind == ROOM) {
		sk.room = first * 64;
		scarce = true;
		run(true);
	} else if (kind == NO_MEMORY) {
		fuzz_memory = first;
		scarce = true;
		full = len > 1 && data[1] & 1;
	} else if (kind == NEWS) {
		by_itself(first);
	}
}

/* The session ends: each command comes back. */
static void finish(void)
{
	struct scst_cmd *cmd;

	iscsi_conn_end(conn, SCST_ISCSI_REASON_PEER);
	iscsi_conn_lock(conn);
	iscsi_conn_unlock(conn);
	while (!list_empty(&tmfs))
		manage();
	while (!list_empty(&cmds)) {
		cmd = list_first_entry(&cmds, struct scst_cmd, entry);
		abort_cmd(cmd, false);
		recall(cmd);
		if (list_empty(&cmds) || list_first_entry(&cmds, struct scst_cmd, entry) != cmd)
			continue;
		want(cmd->place == FUZZ_CORE || cmd->place == FUZZ_RECEIVED);
		go_on(cmd);
	}
	recall_sent();
	want(conn->header_digest_errors < 2);
	want(!pattern || conn->window_full <= nr_numbered);
	ended = true;
	iscsi_reqs_free(conn);
	want(!conn->kept);
	iscsi_heads_free(&conn->heads);
	free(conn);
	free(socket_memory);
	socket_memory = NULL;
	socket_len = 0;
}

static const u32 lengths[] = { 512, 1024, 4096, LEN_MAX };

static void begin(const u8 *config)
{
	u32 depth = 1 + config[0] % DEPTH_MAX;

	conn = calloc(1, sizeof(*conn));
	conn->reqs = calloc(iscsi_reqs_max(depth), sizeof(*conn->reqs));
	conn->socket = &sock_of;
	conn->sess = &sess;
	conn->depth = depth;
	conn->exp_cmd_sn = exp_cmd_sn = config[1] & 1 ? 0xfffffffe : 1;
	conn->stat_sn = stat_sn = config[1] & 2 ? 0xfffffffe : 1;
	max_cmd_sn = exp_cmd_sn - 1;
	conn->rules = (struct iscsi_rules){
		.max_recv = lengths[config[2] & 3], .first_burst = lengths[config[2] >> 2 & 3],
		.immediate_data = config[1] & 4, .initial_r2t = config[1] & 8,
	};
	conn->bursts = (struct iscsi_bursts){ .max = lengths[config[2] >> 4 & 3], .open = 1 + config[3] % 4 };
	if (conn->bursts.max < conn->rules.first_burst)
		conn->bursts.max = conn->rules.first_burst;
	conn->max_xmit = lengths[config[2] >> 6];
	conn->frame.header_digest = config[1] & 16;
	conn->frame.data_digest = config[1] & 32;
	conn->protocol_level = config[1] & 64 ? 2 : 1;
	INIT_LIST_HEAD(&conn->tx_list);
	INIT_LIST_HEAD(&conn->early);
	INIT_LIST_HEAD(&conn->held);
	INIT_LIST_HEAD(&cmds);
	INIT_LIST_HEAD(&tmfs);
	INIT_LIST_HEAD(&sent);
	iscsi_heads_init(&conn->heads);
	iscsi_frame_start(&conn->frame);
	set_bit(ISCSI_CONN_LIVE, &conn->state);
	sess.driver_data = conn;
	sock_of.sk = &sk;
	sk = (struct sock){ .room = 1 << 20, .copied_seq = -100 };
	enqueue();
	out_len = nr_r2ts = nr_numbered = fuzz_memory = 0;
	memset(r2ts, 0, sizeof(r2ts));
	memset(pings, 0xff, sizeof(pings));
	corked = ended = overtaken = scarce = false;
	pattern = true;
	full = patient = false;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static bool ready;
	u32 len;

	if (!ready)
		ready = !iscsi_reqs_init();
	if (size < 4)
		return 0;
	begin(data);
	/* Records: kind, length, and so many bytes. */
	for (data += 4, size -= 4; size >= 2 && !iscsi_over(conn); data += 2 + len, size -= 2 + len) {
		len = min_t(u32, data[1], size - 2);
		step(data[0] % KINDS, data + 2, len);
	}
	finish();
	return 0;
}
