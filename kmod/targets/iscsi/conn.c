// SPDX-License-Identifier: GPL-2.0-only
/*
 * A connection's socket: taking it from who has logged in, and who may work on it.
 *
 * What is done for a connection is done under the socket's spinlock, while nobody owns the socket: then its backlog is empty, and nothing
 * that sends has to look at it (tcp_sendmsg_locked() would sleep there).  Who finds it owned (by a system call on a descriptor that somebody
 * kept) leaves it to the work item, which waits for the owner.
 */
#include "iscsi.h"
#include <linux/file.h>
#include <linux/inet.h>

/* The connection that this CPU works for; bottom halves are off then. */
static DEFINE_PER_CPU(struct iscsi_conn *, iscsi_current);

/* --- who may work on it ------------------------------------------------------------------------- */

/**
 * iscsi_running() - is the caller inside iscsi_run() of this connection?
 * @conn: the connection
 *
 * Any context.
 */
bool iscsi_running(const struct iscsi_conn *conn)
{
	return !in_hardirq() && this_cpu_read(iscsi_current) == conn;
}

/* Where its work is done best: the CPU that receives for it has its cache lines. */
int iscsi_conn_cpu(const struct iscsi_conn *conn)
{
	int cpu = READ_ONCE(conn->socket->sk->sk_incoming_cpu);

	return cpu < 0 || cpu >= nr_cpu_ids || !cpu_online(cpu) ? WORK_CPU_UNBOUND : cpu;
}

void iscsi_run_later(struct iscsi_conn *conn)
{
	queue_work_on(iscsi_conn_cpu(conn), iscsi_wq, &conn->work);
}

static void iscsi_req_due(struct iscsi_req *req)
{
	if (req->kind == ISCSI_KIND_TMF)
		iscsi_tmf_answer(req);
	else
		iscsi_command_due(req, req->due);
}

static void iscsi_inbox(struct iscsi_conn *conn)
{
	struct iscsi_req *req, *next;
	struct llist_node *list;

	if (llist_empty(&conn->inbox))
		return;
	list = llist_reverse_order(llist_del_all(&conn->inbox));
	llist_for_each_entry_safe(req, next, list, inbox)
		iscsi_req_due(req);
}

/*
 * What was done without it being able to go out goes out, and what came meanwhile is looked at.  Only then is TCP told what was taken: the
 * answers have acknowledged it, and it need not send a packet for that.
 */
static void iscsi_run_out(struct iscsi_conn *conn)
{
	do {
		iscsi_inbox(conn);
		if (test_bit(ISCSI_CONN_NEWS, &conn->state) && test_and_clear_bit(ISCSI_CONN_NEWS, &conn->state))
			iscsi_tell_luns(conn);
		if (iscsi_over(conn))
			iscsi_tx_drop(conn);
		else
			iscsi_tx(conn);
	} while (!llist_empty(&conn->inbox));
	iscsi_rx_done(conn);
}

/* It is received from, unless it is not time yet, or not any more. */
static bool iscsi_run_in(struct iscsi_conn *conn)
{
	return test_bit(ISCSI_CONN_LIVE, &conn->state) && !iscsi_over(conn) && iscsi_rx(conn);
}

/*
 * Under the socket's spinlock, the socket not owned, bottom halves off.  All that is sent in one call of the socket is sent at the end, when
 * all that has come was looked at.
 */
static void iscsi_run(struct iscsi_conn *conn, bool receive)
{
	bool more;

	iscsi_assert_locked(conn);
	this_cpu_write(iscsi_current, conn);
	iscsi_inbox(conn);
	more = receive && iscsi_run_in(conn);
	iscsi_run_out(conn);
	this_cpu_write(iscsi_current, NULL);
	if (more)
		iscsi_run_later(conn);
}

/**
 * iscsi_conn_lock() - have a connection for oneself
 * @conn: the connection, which has its socket
 *
 * Process context.  Bottom halves are off until iscsi_conn_unlock(), which sends what was queued.
 */
void iscsi_conn_lock(struct iscsi_conn *conn)
	__acquires(&conn->socket->sk->sk_lock.slock)
{
	struct sock *sk = conn->socket->sk;

	/* The slow way owns the socket, and has waited for who owned it; what is wanted is that nobody does. */
	while (lock_sock_fast(sk))
		unlock_sock_fast(sk, true);
	this_cpu_write(iscsi_current, conn);
}

void iscsi_conn_unlock(struct iscsi_conn *conn)
	__releases(&conn->socket->sk->sk_lock.slock)
{
	iscsi_run_out(conn);
	this_cpu_write(iscsi_current, NULL);
	unlock_sock_fast(conn->socket->sk, false);
}

static void iscsi_work(struct work_struct *work)
{
	struct iscsi_conn *conn = container_of(work, struct iscsi_conn, work);
	bool more;

	iscsi_conn_lock(conn);
	iscsi_inbox(conn);
	more = iscsi_run_in(conn);
	iscsi_conn_unlock(conn);
	if (more)
		iscsi_run_later(conn);
}

/* Work on it here, if that may be done here.  Under RCU. */
static void iscsi_kick(struct iscsi_conn *conn)
{
	struct sock *sk = conn->socket->sk;

	if (in_hardirq() || irqs_disabled() || this_cpu_read(iscsi_current)) {
		iscsi_run_later(conn);
		return;
	}
	local_bh_disable();
	/* Who ends a command may hold the lock of an initiator's socket; that one never waits for ours. */
	bh_lock_sock_nested(sk);
	if (sock_owned_by_user(sk))
		iscsi_run_later(conn);
	else
		iscsi_run(conn, false);
	bh_unlock_sock(sk);
	local_bh_enable();
}

/**
 * iscsi_due() - something has to be done for a request
 * @req: the request, which nothing is due for yet
 * @due: what
 *
 * Any context; the request may be over on return.
 */
void iscsi_due(struct iscsi_req *req, enum iscsi_due due)
{
	struct iscsi_conn *conn = req->conn;

	req->due = due;
	/* The connection is freed a grace period after its last request. */
	rcu_read_lock();
	if (llist_add(&req->inbox, &conn->inbox))
		iscsi_kick(conn);
	rcu_read_unlock();
}

/* --- callbacks of the socket -------------------------------------------------------------------- */

/* Under the socket's lock, which is also held while the callbacks are put there and taken away; so there is always a connection. */
static void iscsi_data_ready(struct sock *sk)
{
	struct iscsi_conn *conn = sk->sk_user_data;

	sock_owned_by_me(sk);
	if (!test_bit(ISCSI_CONN_LIVE, &conn->state))
		return;
	if (sock_owned_by_user(sk) || this_cpu_read(iscsi_current))
		iscsi_run_later(conn);
	else
		iscsi_run(conn, true);
}

static void iscsi_write_space(struct sock *sk)
{
	struct iscsi_conn *conn;

	read_lock_bh(&sk->sk_callback_lock);
	conn = sk->sk_user_data;
	/* Before it is live nothing waits for room but its owner, and nobody would wait for the work item. */
	if (conn && test_bit(ISCSI_CONN_LIVE, &conn->state) && sk_stream_is_writeable(sk)) {
		clear_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
		if (!iscsi_running(conn))
			iscsi_run_later(conn);
	}
	read_unlock_bh(&sk->sk_callback_lock);
}

static void iscsi_state_change(struct sock *sk)
{
	struct iscsi_conn *conn;

	read_lock_bh(&sk->sk_callback_lock);
	conn = sk->sk_user_data;
	if (conn && sk->sk_state != TCP_ESTABLISHED) {
		if (test_bit(ISCSI_CONN_LIVE, &conn->state))
			iscsi_conn_end(conn, SCST_ISCSI_REASON_PEER);
		else
			set_bit(ISCSI_CONN_PEER_GONE, &conn->state);
	}
	read_unlock_bh(&sk->sk_callback_lock);
}

/* --- taking it, and giving it back ---------------------------------------------------------------- */

static int iscsi_socket_check(struct socket *socket)
{
	struct sock *sk = socket->sk;

	if (!sk || (sk->sk_family != AF_INET && sk->sk_family != AF_INET6) || sk->sk_type != SOCK_STREAM ||
	    sk->sk_protocol != IPPROTO_TCP)
		return -EPROTONOSUPPORT;
	if (inet_csk(sk)->icsk_ulp_ops)
		return -EPROTONOSUPPORT;
	return sk->sk_state == TCP_ESTABLISHED ? 0 : -ENOTCONN;
}

static int iscsi_socket_take(struct iscsi_conn *conn)
{
	struct sock *sk = conn->socket->sk;
	int ret;

	lock_sock(sk);
	write_lock_bh(&sk->sk_callback_lock);
	ret = iscsi_socket_check(conn->socket);
	if (!ret && sk->sk_user_data)
		ret = -EBUSY;
	if (!ret) {
		conn->data_ready = sk->sk_data_ready;
		conn->write_space = sk->sk_write_space;
		conn->state_change = sk->sk_state_change;
		sk->sk_user_data = conn;
		sk->sk_data_ready = iscsi_data_ready;
		sk->sk_write_space = iscsi_write_space;
		sk->sk_state_change = iscsi_state_change;
	}
	write_unlock_bh(&sk->sk_callback_lock);
	release_sock(sk);
	return ret;
}

/**
 * iscsi_socket_claim() - take a socket that somebody has logged in
 * @conn: new
 * @fd: his descriptor
 *
 * Process context.  What comes stays where it is until iscsi_socket_open().  Return: 0, or -EBADF, -ENOTSOCK, -EPROTONOSUPPORT,
 * -ENOTCONN, -EBUSY: it has an owner.
 */
int iscsi_socket_claim(struct iscsi_conn *conn, int fd)
{
	int ret;

	INIT_WORK(&conn->work, iscsi_work);
	conn->socket = sockfd_lookup(fd, &ret);
	if (!conn->socket)
		return ret;
	ret = iscsi_socket_take(conn);
	if (!ret)
		return 0;
	sockfd_put(conn->socket);
	conn->socket = NULL;
	return ret;
}

/* From here on it is received from.  Process context. */
void iscsi_socket_open(struct iscsi_conn *conn)
{
	struct sock *sk = conn->socket->sk;

	tcp_sock_set_nodelay(sk);
	iscsi_conn_lock(conn);
	sk->sk_allocation = GFP_ATOMIC;
	iscsi_frame_start(&conn->frame);
	conn->heard = conn->moved = jiffies;
	clear_bit(ISCSI_CONN_NEWS, &conn->state);
	set_bit(ISCSI_CONN_LIVE, &conn->state);
	iscsi_conn_unlock(conn);
	if (test_bit(ISCSI_CONN_PEER_GONE, &conn->state))
		iscsi_conn_end(conn, SCST_ISCSI_REASON_PEER);
	/* What has come already. */
	iscsi_run_later(conn);
}

static void iscsi_socket_leave(struct iscsi_conn *conn)
{
	struct sock *sk = conn->socket->sk;

	lock_sock(sk);
	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_user_data = NULL;
	sk->sk_data_ready = conn->data_ready;
	sk->sk_write_space = conn->write_space;
	sk->sk_state_change = conn->state_change;
	write_unlock_bh(&sk->sk_callback_lock);
	release_sock(sk);
}

/* It is its owner's again, as it was; if he waits for something he looks now whether it has come meanwhile.  Process context. */
void iscsi_socket_give_back(struct iscsi_conn *conn)
{
	struct sock *sk = conn->socket->sk;

	iscsi_socket_leave(conn);
	lock_sock(sk);
	sk->sk_state_change(sk);
	sk->sk_data_ready(sk);
	sk->sk_write_space(sk);
	release_sock(sk);
	sockfd_put(conn->socket);
}

/**
 * iscsi_socket_close() - nothing is received or sent any more
 * @conn: it is over
 * @at_once: what is on its way to the peer need not arrive
 *
 * Process context.
 */
void iscsi_socket_close(struct iscsi_conn *conn, bool at_once)
{
	iscsi_socket_leave(conn);
	if (at_once)
		tcp_abort(conn->socket->sk, ECONNABORTED);
	else
		kernel_sock_shutdown(conn->socket, SHUT_RDWR);
}
