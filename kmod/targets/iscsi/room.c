// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory for data that comes before anybody wants it: that of commands that wait for others, or for what their LUN lets them do.  All
 * sessions share it, up to drivers/iscsi/memory_limit.  Where that is used up a socket is not read, until there is room, and TCP keeps
 * the initiator from sending more.
 *
 * That is not for ever: what would make room may be behind what is not read (the data of an older command of the same task set), and so are
 * signs of life.  After a while the command goes on without its data, which is dropped, and ends as if there were too many.
 *
 * The account counts per CPU, and is added up only where it is nearly used up; the data of a command that wants it never gets here.
 */
#include "iscsi.h"
#include <linux/percpu_counter.h>

#define ROOM_BATCH	SZ_64K
#define ROOM_WAIT	(2 * HZ)	/* initiators give up a connection that is silent for 5 seconds */
#define ROOM_LOOK	(HZ / 50)

static struct percpu_counter iscsi_room_used;

int iscsi_room_init(void)
{
	return percpu_counter_init(&iscsi_room_used, 0, GFP_KERNEL);
}

void iscsi_room_exit(void)
{
	percpu_counter_destroy(&iscsi_room_used);
}

/* So many bytes more, or less, are in use.  Under the socket's lock, or nobody uses the connection any more. */
void iscsi_room_charge(struct iscsi_conn *conn, long bytes)
{
	conn->kept += bytes;
	percpu_counter_add_batch(&iscsi_room_used, bytes, ROOM_BATCH);
}

/* Is there room for one page more?  Any context. */
bool iscsi_room(void)
{
	return __percpu_counter_compare(&iscsi_room_used, (s64)iscsi_memory_limit() - PAGE_SIZE, ROOM_BATCH) <= 0;
}

static bool iscsi_room_waited(const struct iscsi_conn *conn)
{
	return time_after(jiffies, READ_ONCE(conn->room_since) + ROOM_WAIT);
}

/* It goes on without what would need room.  Return: 0, or an errno of iscsi_reject(). */
static int iscsi_room_do_without(struct iscsi_conn *conn, struct iscsi_req *req)
{
	if (req->kind == ISCSI_KIND_COMMAND) {
		req->spoilt = -ENOMEM;
		iscsi_req_unpage(req);
		return 0;
	}
	conn->rx = NULL;
	iscsi_request_drop(req);
	return iscsi_reject(conn, ISCSI_REASON_LONG);
}

/**
 * iscsi_room_lacks() - there is no memory for what comes now
 * @conn: locked; what comes is for conn->rx
 *
 * Return: -EAGAIN: wait, the socket is looked at again; 0: what comes is dropped; or another errno: the connection ends.
 */
int iscsi_room_lacks(struct iscsi_conn *conn)
{
	/* One that ended because its command wanted the data after all, or had none, has not said so. */
	if (!conn->no_room || time_after(jiffies, conn->room_lacked + 2 * ROOM_WAIT)) {
		conn->no_room = true;
		WRITE_ONCE(conn->room_since, jiffies);
		conn->memory_full++;
		pr_warn_ratelimited("%s: session %u is not read: memory_limit is reached\n", conn->target->scst.name, conn->tsih);
	}
	conn->room_lacked = jiffies;
	if (iscsi_room_waited(conn))
		return iscsi_room_do_without(conn, conn->rx);
	set_bit(ISCSI_CONN_NO_ROOM, &conn->state);
	queue_delayed_work(iscsi_wq, &conn->room, ROOM_LOOK);
	return -EAGAIN;
}

static void iscsi_room_work(struct work_struct *work)
{
	struct iscsi_conn *conn = container_of(to_delayed_work(work), struct iscsi_conn, room);

	if (iscsi_room() || iscsi_room_waited(conn))
		iscsi_run_later(conn);
	else if (!iscsi_over(conn))
		queue_delayed_work(iscsi_wq, &conn->room, ROOM_LOOK);
}

void iscsi_room_prepare(struct iscsi_conn *conn)
{
	INIT_DELAYED_WORK(&conn->room, iscsi_room_work);
}
