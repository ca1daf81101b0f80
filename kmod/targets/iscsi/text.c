// SPDX-License-Identifier: GPL-2.0-only
/*
 * Text Requests of a session (RFC 7143 11.10, 11.11): what they say is for who has /dev/scst-iscsi open.
 *
 * A session has one at a time.  It is held until somebody answers it, and has no place in the window meanwhile, so that commands go on;
 * where nobody does, the tick rejects it after a while.  What a text means is known there, and so is how a long one goes on; here is
 * only what would break the rules of the PDU.
 */
#include "iscsi.h"
#include <linux/mm.h>
#include <linux/slab.h>

/* Seconds that somebody has to answer: a daemon that is being replaced is back by then. */
#define TEXT_SECONDS	10

/* In the order in which they came, over all sessions; 0 is none. */
static atomic64_t iscsi_text_numbers;

/* --- under the socket's lock ------------------------------------------------------------------------- */

/* The header of it is what a Reject has as data. */
static void iscsi_text_reject(struct iscsi_req *req, u8 reason)
{
	iscsi_req_unpage(req);
	memcpy(req->payload, req->head, ISCSI_BHS);
	req->payload_len = ISCSI_BHS;
	req->conn->rejects++;
	iscsi_head_make(req, ISCSI_REJECT, ISCSI_TAG_NONE);
	req->head[ISCSI_AT_RESPONSE] = reason;
	iscsi_answer(req);
}

/* One is there, as a whole. */
void iscsi_text(struct iscsi_req *req)
{
	struct iscsi_conn *conn = req->conn;

	iscsi_assert_locked(conn);
	iscsi_req_leave(req);
	if (conn->text) {
		/* An initiator has one at a time (11.10). */
		iscsi_text_reject(req, ISCSI_REASON_PROTOCOL);
		return;
	}
	conn->text = req;
	conn->text_since = jiffies;
	WRITE_ONCE(conn->text_number, atomic64_inc_return(&iscsi_text_numbers));
	iscsi_event_text(conn->tsih);
}

static struct iscsi_req *iscsi_text_take(struct iscsi_conn *conn)
{
	struct iscsi_req *req = conn->text;

	conn->text = NULL;
	WRITE_ONCE(conn->text_number, 0);
	return req;
}

/* Each second: there was nobody who would answer. */
void iscsi_text_tick(struct iscsi_conn *conn)
{
	if (conn->text && time_after(jiffies, conn->text_since + TEXT_SECONDS * HZ))
		iscsi_text_reject(iscsi_text_take(conn), ISCSI_REASON_LONG);
}

/* --- from who answers: process context --------------------------------------------------------------- */

/* Copy what is waiting, if it still is. */
static int iscsi_text_copy(struct iscsi_conn *conn, struct scst_iscsi_text *text, u8 *data)
{
	const struct iscsi_req *req = conn->text;
	struct page *page;
	u32 at = 0;

	if (!req || iscsi_over(conn) || conn->text_number != text->number)
		return -ESTALE;
	if (req->paged > text->len)
		return -EMSGSIZE;
	list_for_each_entry(page, &req->pages, lru) {
		memcpy(data + at, page_address(page), min_t(u32, req->paged - at, PAGE_SIZE));
		at += PAGE_SIZE;
	}
	text->len = req->paged;
	text->tsih = conn->tsih;
	text->flags = req->head[ISCSI_AT_FLAGS] & (SCST_ISCSI_TEXT_FINAL | SCST_ISCSI_TEXT_CONTINUE);
	text->tag = iscsi_itt(req);
	text->transfer_tag = get_unaligned_be32(req->head + ISCSI_AT_TTT);
	text->max_xmit = conn->max_xmit;
	return 0;
}

/**
 * iscsi_text_get() - the next text that waits
 * @conn: its connection
 * @text: with the number of it, and the room there is; the rest is set
 * @data: so much room
 *
 * Process context.  Return: 0, -ESTALE: it does not wait any more, -EMSGSIZE.
 */
int iscsi_text_get(struct iscsi_conn *conn, struct scst_iscsi_text *text, u8 *data)
{
	int ret;

	iscsi_conn_lock(conn);
	ret = iscsi_text_copy(conn, text, data);
	iscsi_conn_unlock(conn);
	return ret;
}

/* Would it be a Text Response that answers the request (11.11.1, 11.11.4)? */
static bool iscsi_text_fits(const struct iscsi_conn *conn, const struct scst_iscsi_text_answer *answer)
{
	bool final = answer->flags & SCST_ISCSI_TEXT_FINAL, more = answer->flags & SCST_ISCSI_TEXT_CONTINUE;

	if (answer->len > (answer->max_xmit ?: conn->max_xmit) || (final && more) || final != (answer->transfer_tag == ISCSI_TAG_NONE))
		return false;
	return !final || conn->text->head[ISCSI_AT_FLAGS] & ISCSI_FINAL;
}

static int iscsi_text_fill(struct iscsi_req *req, const u8 *data, u32 len)
{
	u32 room, n;
	void *where;

	iscsi_req_unpage(req);
	for (; len; len -= n, data += n, req->paged += n) {
		if (iscsi_req_page(req, req->paged, &where, &room))
			return -ENOMEM;
		n = min(len, room);
		memcpy(where, data, n);
	}
	return 0;
}

static int iscsi_text_respond(struct iscsi_conn *conn, const struct scst_iscsi_text_answer *answer, const u8 *data)
{
	struct iscsi_req *req;
	u8 lun[8];

	if (!answer->reject && !iscsi_text_fits(conn, answer))
		return -EINVAL;
	req = iscsi_text_take(conn);
	if (answer->reject || iscsi_text_fill(req, data, answer->len)) {
		iscsi_text_reject(req, answer->reject ?: ISCSI_REASON_LONG);
		return 0;
	}
	memcpy(lun, req->head + ISCSI_AT_LUN, sizeof(lun));
	iscsi_head_make(req, ISCSI_TEXT_RESPONSE, iscsi_itt(req));
	req->head[ISCSI_AT_FLAGS] = answer->flags;
	memcpy(req->head + ISCSI_AT_LUN, lun, sizeof(lun));
	put_unaligned_be32(answer->transfer_tag, req->head + ISCSI_AT_TTT);
	iscsi_answer(req);
	if (answer->max_xmit)
		conn->max_xmit = answer->max_xmit;
	return 0;
}

/**
 * iscsi_text_answer() - answer a text
 * @conn: its connection
 * @answer: the answer, or why there is none
 * @data: @answer->len bytes
 *
 * Process context.  Return: 0, -ESTALE: it does not wait any more, -EINVAL: that would be no answer to it.
 */
int iscsi_text_answer(struct iscsi_conn *conn, const struct scst_iscsi_text_answer *answer, const u8 *data)
{
	int ret = -ESTALE;

	iscsi_conn_lock(conn);
	if (conn->text && !iscsi_over(conn) && conn->text_number == answer->number)
		ret = iscsi_text_respond(conn, answer, data);
	iscsi_conn_unlock(conn);
	return ret;
}
