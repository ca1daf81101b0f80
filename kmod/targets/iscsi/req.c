// SPDX-License-Identifier: GPL-2.0-only
/*
 * Requests: where they come from, and how they are found.  A session has as many as it has ever needed at a time, up to a limit;
 * one that is free is used again before another is made.
 *
 * Freed in any context, taken under the socket's lock.
 */
#include "iscsi.h"
#include <linux/mm.h>
#include <linux/slab.h>

/* A target transfer tag: which request, how often it was used by then, and which R2T.  All ones is none. */
#define TAG_INDEX_SHIFT		20
#define TAG_GENERATION_SHIFT	8
#define TAG_GENERATION_MASK	0xfff
#define TAG_R2T_MASK		0xff

static_assert(2 * (ISCSI_DEPTH_MAX + ISCSI_IMMEDIATES) + ISCSI_EXTRA < BIT(32 - TAG_INDEX_SHIFT) - 1);	/* iscsi_reqs_max() */

static struct kmem_cache *iscsi_req_cache;

int iscsi_reqs_init(void)
{
	iscsi_req_cache = KMEM_CACHE(iscsi_req, SLAB_HWCACHE_ALIGN);
	return iscsi_req_cache ? 0 : -ENOMEM;
}

void iscsi_reqs_exit(void)
{
	kmem_cache_destroy(iscsi_req_cache);
}

static struct iscsi_req *iscsi_req_make(struct iscsi_conn *conn)
{
	struct iscsi_req *req;

	if (conn->nr_reqs == iscsi_reqs_max(conn->depth))
		return NULL;
	req = kmem_cache_zalloc(iscsi_req_cache, GFP_ATOMIC | __GFP_NOWARN);
	if (!req)
		return NULL;
	req->conn = conn;
	req->index = conn->nr_reqs;
	INIT_LIST_HEAD(&req->tx);
	INIT_LIST_HEAD(&req->early);
	INIT_LIST_HEAD(&req->pages);
	conn->reqs[conn->nr_reqs++] = req;
	return req;
}

/**
 * iscsi_req_get() - a request that is free
 * @conn: its connection, locked
 *
 * Return: NULL: there is none now; who frees one looks whether somebody waits.
 */
struct iscsi_req *iscsi_req_get(struct iscsi_conn *conn)
{
	struct iscsi_req *req;

	iscsi_assert_locked(conn);
	if (!conn->spare)
		conn->spare = llist_del_all(&conn->freed);
	if (!conn->spare)
		return iscsi_req_make(conn);
	req = llist_entry(conn->spare, struct iscsi_req, free);
	conn->spare = conn->spare->next;
	memset(&req->fresh, 0, sizeof(req->fresh));
	req->generation++;
	return req;
}

/* Any context; the connection is there until the session is gone. */
void iscsi_req_free(struct iscsi_req *req)
{
	struct iscsi_conn *conn = req->conn;

	llist_add(&req->free, &conn->freed);
	/* Pairs with iscsi_rx(), which sets it and then looks for one once more. */
	if (unlikely(test_bit(ISCSI_CONN_STARVED, &conn->state)))
		iscsi_run_later(conn);
}

/* --- by tag ---------------------------------------------------------------------------------- */

/* The target transfer tag of its next R2T. */
u32 iscsi_req_tag(const struct iscsi_req *req)
{
	return req->index << TAG_INDEX_SHIFT | (req->generation & TAG_GENERATION_MASK) << TAG_GENERATION_SHIFT |
	       (req->out.r2t_sn & TAG_R2T_MASK);
}

/**
 * iscsi_req_by_tag() - whose data is it?
 * @conn: the connection, locked
 * @tag: a target transfer tag, from the wire
 * @stale: set: nobody's any more
 *
 * Return: the request whose R2T, the oldest that is not answered, had that tag; NULL if there is none.
 */
struct iscsi_req *iscsi_req_by_tag(struct iscsi_conn *conn, u32 tag, bool *stale)
{
	u32 index = tag >> TAG_INDEX_SHIFT;
	struct iscsi_req *req;
	u32 r2t;

	*stale = index < conn->nr_reqs;
	if (!*stale)
		return NULL;
	req = conn->reqs[index];
	r2t = req->out.r2t_sn - req->out.open;
	if (!req->hashed || !req->out.open || ((tag >> TAG_GENERATION_SHIFT ^ req->generation) & TAG_GENERATION_MASK) ||
	    ((tag ^ r2t) & TAG_R2T_MASK))
		return NULL;
	return req;
}

/* --- data that came before anybody wanted it ------------------------------------------------- */

/**
 * iscsi_req_page() - memory for it
 * @req: whose
 * @at: bytes that are there already
 * @where: set: where the next go
 * @room: set: how many of them
 *
 * Return: 0 or -ENOMEM.
 */
int iscsi_req_page(struct iscsi_req *req, u32 at, void **where, u32 *room)
{
	u32 in = at % PAGE_SIZE;
	struct page *page;

	if (!in) {
		page = alloc_page(GFP_ATOMIC | __GFP_NOWARN);
		if (!page)
			return -ENOMEM;
		list_add_tail(&page->lru, &req->pages);
		iscsi_room_charge(req->conn, PAGE_SIZE);
	} else {
		page = list_last_entry(&req->pages, struct page, lru);
	}
	*where = page_address(page) + in;
	*room = PAGE_SIZE - in;
	return 0;
}

void iscsi_req_unpage(struct iscsi_req *req)
{
	struct page *page, *next;
	long bytes = 0;

	list_for_each_entry_safe(page, next, &req->pages, lru) {
		list_del(&page->lru);
		put_page(page);
		bytes += PAGE_SIZE;
	}
	if (bytes)
		iscsi_room_charge(req->conn, -bytes);
	req->paged = 0;
}

/* Nobody uses them any more. */
void iscsi_reqs_free(struct iscsi_conn *conn)
{
	u32 i;

	for (i = 0; i < conn->nr_reqs; i++) {
		iscsi_req_unpage(conn->reqs[i]);
		kmem_cache_free(iscsi_req_cache, conn->reqs[i]);
	}
	kvfree(conn->reqs);
}
