// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sessions: from the end of a login to the end of the connection.
 *
 * A connection is in iscsi_conns from its adoption until its session is gone.  One initiator port has one session with a target at a
 * time (RFC 7143 4.4.3): who logs in anew ends the older, and is let in when that is gone; he waits for that, and nobody else.
 */
#include "iscsi.h"
#include <linux/idr.h>
#include <linux/mm.h>
#include <linux/slab.h>

static LIST_HEAD(iscsi_conns);
static LIST_HEAD(iscsi_targets);
static DEFINE_MUTEX(iscsi_conns_lock);
static u64 iscsi_logins;	/* how many there were; under it */
static DEFINE_IDA(iscsi_tsihs);

#define TICK	HZ

static void iscsi_conn_destroy(struct kref *kref)
{
	struct iscsi_conn *conn = container_of(kref, struct iscsi_conn, kref);

	iscsi_reqs_free(conn);
	iscsi_heads_free(&conn->heads);
	kfree(conn->login);
	kfree(conn);
}

static void iscsi_conn_put(struct iscsi_conn *conn)
{
	kref_put(&conn->kref, iscsi_conn_destroy);
}

/* --- the end ------------------------------------------------------------------------------------- */

static const char *const iscsi_reasons[] = {
	[SCST_ISCSI_REASON_LOGOUT]	= "logout",
	[SCST_ISCSI_REASON_PEER]	= "closed by the initiator",
	[SCST_ISCSI_REASON_REINSTATED]	= "the initiator port has logged in anew",
	[SCST_ISCSI_REASON_PROTOCOL]	= "protocol error of the initiator",
	[SCST_ISCSI_REASON_DIGEST]	= "wrong header digest",
	[SCST_ISCSI_REASON_SILENT]	= "no sign of life",
	[SCST_ISCSI_REASON_STUCK]	= "the initiator takes nothing",
	[SCST_ISCSI_REASON_DISABLED]	= "the target is not enabled any more",
	[SCST_ISCSI_REASON_DROPPED]	= "dropped",
	[SCST_ISCSI_REASON_RESET]	= "target cold reset",
	[SCST_ISCSI_REASON_MEMORY]	= "out of memory",
};

/**
 * iscsi_conn_end() - a connection is over
 * @conn: it has its socket and its session
 * @reason: why; the first counts
 *
 * Any context.  Nothing is received or sent from here on; all else follows in a work item.
 */
void iscsi_conn_end(struct iscsi_conn *conn, enum scst_iscsi_reason reason)
{
	if (atomic_cmpxchg(&conn->reason, SCST_ISCSI_REASON_NONE, reason) != SCST_ISCSI_REASON_NONE)
		return;
	set_bit(ISCSI_CONN_OVER, &conn->state);
	queue_work(iscsi_wq, &conn->end_work);
}

/* What has been put into the socket before arrives; in these cases nobody waits for it, or would take it. */
static bool iscsi_ends_at_once(enum scst_iscsi_reason reason)
{
	return reason == SCST_ISCSI_REASON_DROPPED || reason == SCST_ISCSI_REASON_SILENT || reason == SCST_ISCSI_REASON_STUCK ||
	       reason == SCST_ISCSI_REASON_REINSTATED;
}

static void iscsi_conn_end_work(struct work_struct *work)
{
	struct iscsi_conn *conn = container_of(work, struct iscsi_conn, end_work);
	enum scst_iscsi_reason reason = atomic_read(&conn->reason);

	if (reason != SCST_ISCSI_REASON_LOGOUT)
		pr_info_ratelimited("%s: session %u of %s ends: %s\n", conn->target->scst.name, conn->tsih, conn->sess->initiator,
				    iscsi_reasons[reason]);
	iscsi_socket_close(conn, iscsi_ends_at_once(reason));
	/* What is queued goes; commands are called back, and go as they end. */
	iscsi_conn_lock(conn);
	iscsi_conn_unlock(conn);
	iscsi_event_gone(conn->tsih, reason);
	scst_session_close(conn->sess);
}

/* A grace period after the last command: nobody is inside of iscsi_due() any more. */
static void iscsi_conn_free_work(struct work_struct *work)
{
	struct iscsi_conn *conn = container_of(to_rcu_work(work), struct iscsi_conn, free_work);

	cancel_delayed_work_sync(&conn->tick);
	cancel_delayed_work_sync(&conn->drop);
	cancel_delayed_work_sync(&conn->room);
	cancel_work_sync(&conn->work);
	sockfd_put(conn->socket);
	iscsi_conn_put(conn);
}

/* For the core: the last command is released. */
void iscsi_session_gone(struct scst_session *sess)
{
	struct iscsi_conn *conn = sess->driver_data;

	/* Who has released it may still be on his way out. */
	iscsi_conn_lock(conn);
	iscsi_conn_unlock(conn);
	mutex_lock(&iscsi_conns_lock);
	list_del(&conn->entry);
	ida_free(&iscsi_tsihs, conn->tsih);
	mutex_unlock(&iscsi_conns_lock);
	complete_all(&conn->gone);
	queue_rcu_work(iscsi_wq, &conn->free_work);
}

/* --- signs of life ------------------------------------------------------------------------------- */

static bool iscsi_late(unsigned long since, u32 seconds)
{
	return seconds && time_after(jiffies, since + (unsigned long)seconds * HZ);
}

static bool iscsi_is_sending(const struct iscsi_conn *conn)
{
	return conn->tx.at < conn->tx.nr || !list_empty(&conn->tx_list);
}

/* What the socket has taken is not with the other side yet, and may be all there is. */
static bool iscsi_is_stuck(struct iscsi_conn *conn)
{
	const struct tcp_sock *tp = tcp_sk(conn->socket->sk);

	if (conn->acked != tp->snd_una) {
		conn->acked = tp->snd_una;
		conn->moved = jiffies;
	}
	return (iscsi_is_sending(conn) || tp->snd_una != tp->write_seq) && iscsi_late(conn->moved, conn->send_timeout);
}

/*
 * Each second: is the other side there?  Anything that comes is a sign of life; it is asked for one after a while of silence.  A command that
 * waits for one with a lower number waits as long: on one connection nothing is overtaken.
 */
static void iscsi_tick(struct work_struct *work)
{
	struct iscsi_conn *conn = container_of(to_delayed_work(work), struct iscsi_conn, tick);

	iscsi_conn_lock(conn);
	/* Who is not read may have said something. */
	if (test_bit(ISCSI_CONN_NO_ROOM, &conn->state) || test_bit(ISCSI_CONN_STARVED, &conn->state))
		conn->heard = conn->early_since = jiffies;
	if (iscsi_is_stuck(conn))
		iscsi_conn_end(conn, SCST_ISCSI_REASON_STUCK);
	else if (conn->pinged && iscsi_late(conn->heard, conn->nop_interval + conn->nop_timeout) && conn->nop_timeout)
		iscsi_conn_end(conn, SCST_ISCSI_REASON_SILENT);
	else if (!conn->pinged && iscsi_late(conn->heard, conn->nop_interval))
		iscsi_ping(conn);
	iscsi_text_tick(conn);
	/* Where there was no memory, nobody says when there is. */
	if (test_bit(ISCSI_CONN_STARVED, &conn->state))
		iscsi_run_later(conn);
	if (!list_empty(&conn->early) && iscsi_late(conn->early_since, conn->nop_timeout))
		iscsi_conn_end(conn, SCST_ISCSI_REASON_PROTOCOL);
	iscsi_conn_unlock(conn);
	if (!iscsi_over(conn))
		queue_delayed_work_on(iscsi_conn_cpu(conn), iscsi_wq, &conn->tick, TICK);
}

static void iscsi_drop_work(struct work_struct *work)
{
	iscsi_conn_end(container_of(to_delayed_work(work), struct iscsi_conn, drop), SCST_ISCSI_REASON_DROPPED);
}

/* --- LUNs ---------------------------------------------------------------------------------------- */

/* For the core: under a spinlock of its own, perhaps while a command of this connection is being looked at. */
void iscsi_luns_changed(struct scst_session *sess)
{
	struct iscsi_conn *conn = sess->driver_data;

	/* Before the session has a number nobody has seen other LUNs. */
	if (!test_and_set_bit(ISCSI_CONN_NEWS, &conn->state) && test_bit(ISCSI_CONN_LIVE, &conn->state))
		iscsi_run_later(conn);
}

/* --- adoption ---------------------------------------------------------------------------------- */

static struct iscsi_conn *iscsi_conn_alloc(const struct scst_iscsi_adopt *adopt)
{
	struct iscsi_conn *conn = kzalloc(sizeof(*conn), GFP_KERNEL);

	if (!conn)
		return NULL;
	conn->reqs = kvcalloc(iscsi_reqs_max(adopt->queue_depth), sizeof(*conn->reqs), GFP_KERNEL);
	if (!conn->reqs) {
		kfree(conn);
		return NULL;
	}
	kref_init(&conn->kref);
	init_completion(&conn->gone);
	iscsi_heads_init(&conn->heads);
	init_llist_head(&conn->inbox);
	init_llist_head(&conn->freed);
	INIT_LIST_HEAD(&conn->tx_list);
	INIT_LIST_HEAD(&conn->early);
	INIT_LIST_HEAD(&conn->held);
	INIT_LIST_HEAD(&conn->entry);
	INIT_WORK(&conn->end_work, iscsi_conn_end_work);
	INIT_RCU_WORK(&conn->free_work, iscsi_conn_free_work);
	/* Not a deferrable one: a CPU that has nothing to do is where nobody else would notice. */
	INIT_DELAYED_WORK(&conn->tick, iscsi_tick);
	INIT_DELAYED_WORK(&conn->drop, iscsi_drop_work);
	iscsi_room_prepare(conn);
	return conn;
}

/* What the login has agreed to. */
static void iscsi_conn_agree(struct iscsi_conn *conn, const struct scst_iscsi_adopt *adopt)
{
	conn->stat_sn = adopt->stat_sn;
	conn->exp_cmd_sn = adopt->exp_cmd_sn;
	conn->depth = adopt->queue_depth;
	conn->max_xmit = adopt->max_xmit;
	conn->rules = (struct iscsi_rules){
		.max_recv = adopt->max_recv,
		.first_burst = adopt->first_burst,
		.immediate_data = adopt->immediate_data,
		.initial_r2t = adopt->initial_r2t,
	};
	conn->bursts = (struct iscsi_bursts){ .max = adopt->max_burst, .open = adopt->max_outstanding_r2t };
	conn->frame.header_digest = adopt->header_digest;
	conn->frame.data_digest = adopt->data_digest;
	conn->nop_interval = adopt->nop_interval;
	conn->nop_timeout = adopt->nop_timeout;
	conn->send_timeout = adopt->send_timeout;
	conn->protocol_level = adopt->protocol_level;
	conn->cid = adopt->cid;
	memcpy(conn->isid, adopt->isid, sizeof(conn->isid));
	strscpy(conn->portal, adopt->portal, sizeof(conn->portal));
}

/* RFC 7143 clause 13, as far as the kernel depends on it. */
static int iscsi_adopt_check(const struct scst_iscsi_adopt *adopt)
{
	if (adopt->max_xmit < 512 || adopt->max_xmit > 0xffffff || adopt->max_recv < 512 || adopt->max_recv > 0xffffff)
		return -EINVAL;
	if (adopt->max_burst < 512 || adopt->max_burst > 0xffffff || adopt->first_burst < 512 || adopt->first_burst > 0xffffff)
		return -EINVAL;
	if (adopt->first_burst > adopt->max_burst || adopt->initial_r2t > 1 || adopt->immediate_data > 1 || adopt->header_digest > 1 ||
	    adopt->data_digest > 1)
		return -EINVAL;
	if (!adopt->max_outstanding_r2t || adopt->max_outstanding_r2t > U16_MAX)
		return -EINVAL;
	if (!adopt->queue_depth || adopt->queue_depth > ISCSI_DEPTH_MAX)
		return -EINVAL;
	if (adopt->nop_interval > U16_MAX || adopt->nop_timeout > U16_MAX || adopt->send_timeout > U16_MAX)
		return -EINVAL;
	if (memchr_inv(adopt->reserved, 0, sizeof(adopt->reserved)) || adopt->reserved2)
		return -EINVAL;
	return adopt->response_len < ISCSI_BHS || adopt->response_len % 4 ? -EINVAL : 0;
}

static struct iscsi_target *iscsi_target_find(const char *name)
{
	struct iscsi_target *target;

	list_for_each_entry(target, &iscsi_targets, entry)
		if (!strcmp(target->scst.name, name))
			return target;
	return NULL;
}

/* The session of the same initiator port with the same target, if there is one. */
static struct iscsi_conn *iscsi_conn_same(const struct iscsi_target *target, const struct scst_iscsi_adopt *adopt)
{
	struct iscsi_conn *conn;

	list_for_each_entry(conn, &iscsi_conns, entry)
		if (conn->target == target && !memcmp(conn->isid, adopt->isid, sizeof(conn->isid)) &&
		    scst_initiator_same(conn->sess->initiator, adopt->initiator))
			return conn;
	return NULL;
}

/* SPC-4 7.6.4.6: name and ISID. */
static void iscsi_transport_id(struct scst_transport_id *id, const struct scst_iscsi_adopt *adopt)
{
	int len;

	memset(id, 0, sizeof(*id));
	id->bytes[0] = SCST_PROTOCOL_ISCSI | 0x40;
	len = snprintf((char *)id->bytes + 4, sizeof(id->bytes) - 4, "%s,i,0x%6phN", adopt->initiator, adopt->isid);
	id->len = ALIGN(4 + len + 1, 4);
	put_unaligned_be16(id->len - 4, id->bytes + 2);
}

/* Sessions that are not over. */
static u32 iscsi_target_sessions(const struct iscsi_target *target)
{
	struct iscsi_conn *conn;
	u32 nr = 0;

	list_for_each_entry(conn, &iscsi_conns, entry)
		nr += conn->target == target && !iscsi_over(conn);
	return nr;
}

static int iscsi_session_make(struct iscsi_conn *conn, struct iscsi_target *target, struct scst_iscsi_adopt *adopt)
{
	const char *portal = conn->portal[0] ? conn->portal : NULL;
	struct scst_transport_id id;
	u32 max = READ_ONCE(target->config.max_sessions);
	int tsih;

	if (max && iscsi_target_sessions(target) >= max)
		return -ENOSPC;
	tsih = ida_alloc_range(&iscsi_tsihs, 1, U16_MAX, GFP_KERNEL);
	if (tsih < 0)
		return tsih;
	conn->target = target;
	conn->tsih = adopt->tsih = tsih;
	iscsi_transport_id(&id, adopt);
	conn->sess = scst_session_register(&target->scst, adopt->initiator, portal, &id, conn);
	if (IS_ERR(conn->sess)) {
		ida_free(&iscsi_tsihs, tsih);
		return PTR_ERR(conn->sess);
	}
	/* A digest is of what is sent: what may change meanwhile must not be lent. */
	conn->sess->stable |= adopt->data_digest;
	list_add_tail(&conn->entry, &iscsi_conns);
	return 0;
}

/* The answer to the login: TSIH and numbers are put in, and it goes before all else. */
static void iscsi_login_answer(struct iscsi_conn *conn, u8 *response, u32 len)
{
	struct iscsi_tx *tx = &conn->tx;

	conn->login = response;
	put_unaligned_be16(conn->tsih, response + ISCSI_AT_TSIH);
	put_unaligned_be32(conn->stat_sn++, response + ISCSI_AT_STAT_SN);
	put_unaligned_be32(conn->exp_cmd_sn, response + ISCSI_AT_EXP_CMD_SN);
	put_unaligned_be32(conn->exp_cmd_sn + conn->depth - 1, response + ISCSI_AT_MAX_CMD_SN);
	tx->piece[0] = (struct kvec){ .iov_base = response, .iov_len = len };
	tx->nr = 1;
}

/* It has its session: it begins to serve.  Nobody else finds it before, who might end it. */
static void iscsi_conn_begin(struct iscsi_conn *conn, u8 *response, u32 len)
{
	iscsi_login_answer(conn, response, len);
	queue_delayed_work(iscsi_wq, &conn->tick, TICK);
	iscsi_socket_open(conn);
}

/*
 * Under the lock.  Ends the session of the same initiator port.  NULL: there is none; an error: it is the session of a login that
 * came later, and is not ended by one that has waited all the while, and that its initiator may have given up.
 */
static struct iscsi_conn *iscsi_older(struct iscsi_conn *conn, struct iscsi_target *target, const struct scst_iscsi_adopt *adopt)
{
	struct iscsi_conn *other = target ? iscsi_conn_same(target, adopt) : NULL;

	if (!other)
		return NULL;
	if (other->came > conn->came)
		return ERR_PTR(-ECANCELED);
	kref_get(&other->kref);
	iscsi_conn_end(other, SCST_ISCSI_REASON_REINSTATED);
	return other;
}

/* When there is no other session of the same initiator port; the lock is not held while that one goes. */
static int iscsi_session_begin(struct iscsi_conn *conn, struct scst_iscsi_adopt *adopt, u8 *response)
{
	long left = msecs_to_jiffies(adopt->wait_ms);
	struct iscsi_target *target;
	struct iscsi_conn *older;
	int ret;

	for (;;) {
		mutex_lock(&iscsi_conns_lock);
		target = iscsi_target_find(adopt->target);
		if (!conn->came)
			conn->came = ++iscsi_logins;
		older = iscsi_older(conn, target, adopt);
		if (!older)
			break;
		mutex_unlock(&iscsi_conns_lock);
		if (IS_ERR(older))
			return PTR_ERR(older);
		left = left ? wait_for_completion_killable_timeout(&older->gone, left) : 0;
		iscsi_conn_put(older);
		if (left <= 0)
			return left ?: -EAGAIN;
	}
	ret = target ? iscsi_session_make(conn, target, adopt) : -ENODEV;
	if (!ret)
		iscsi_conn_begin(conn, response, adopt->response_len);
	mutex_unlock(&iscsi_conns_lock);
	if (ret == -ENODEV && iscsi_target_exists(adopt->target))
		return -ESHUTDOWN;
	return ret;
}

/**
 * iscsi_adopt() - take a connection whose login is over
 * @adopt: all about it; its TSIH is set
 * @response: the answer to its last login request
 *
 * Process context; waits for the commands of an older session of the same initiator port, but not longer than it says.
 *
 * Return: 0: the session is there, and @response is its own; or an errno: nothing has been sent, and the socket is as it was.
 */
int iscsi_adopt(struct scst_iscsi_adopt *adopt, u8 *response)
{
	struct iscsi_conn *conn;
	int ret = iscsi_adopt_check(adopt);

	if (ret)
		return ret;
	conn = iscsi_conn_alloc(adopt);
	if (!conn)
		return -ENOMEM;
	iscsi_conn_agree(conn, adopt);
	ret = iscsi_socket_claim(conn, adopt->fd);
	if (!ret) {
		ret = iscsi_session_begin(conn, adopt, response);
		if (!ret)
			return 0;
		iscsi_socket_give_back(conn);
	}
	iscsi_conn_put(conn);
	return ret;
}

/* --- by hand --------------------------------------------------------------------------------------- */

static int iscsi_conn_drop(struct iscsi_conn *conn, const struct scst_iscsi_drop *drop)
{
	if (drop->how == SCST_ISCSI_DROP_NOW) {
		iscsi_conn_end(conn, SCST_ISCSI_REASON_DROPPED);
		return 0;
	}
	iscsi_conn_lock(conn);
	iscsi_ask_for_logout(conn, drop->seconds);
	iscsi_conn_unlock(conn);
	/* The last word counts. */
	mod_delayed_work(iscsi_wq, &conn->drop, drop->seconds * HZ);
	return 0;
}

/**
 * iscsi_drop() - end a session, or have its initiator end it
 * @drop: which, and how
 *
 * Process context.  Return: 0, -EINVAL, -ENOENT: there is no such session.
 */
int iscsi_drop(const struct scst_iscsi_drop *drop)
{
	struct iscsi_conn *conn;
	int ret = -ENOENT;

	if (drop->how > SCST_ISCSI_DROP_ASK)
		return -EINVAL;
	mutex_lock(&iscsi_conns_lock);
	list_for_each_entry(conn, &iscsi_conns, entry)
		if (conn->tsih == drop->tsih && !iscsi_over(conn))
			ret = iscsi_conn_drop(conn, drop);
	mutex_unlock(&iscsi_conns_lock);
	return ret;
}

/* --- texts ------------------------------------------------------------------------------------------ */

/* The one that has waited longest of those behind that number. */
static struct iscsi_conn *iscsi_texts_find(u64 number)
{
	struct iscsi_conn *conn, *found = NULL;
	u64 least = U64_MAX, this;

	list_for_each_entry(conn, &iscsi_conns, entry) {
		this = READ_ONCE(conn->text_number);
		if (this > number && this < least) {
			least = this;
			found = conn;
		}
	}
	return found;
}

/**
 * iscsi_texts_next() - the next text of any session that waits for an answer
 * @text: behind which number it is to be, and the room there is; all of it is set
 * @data: so much room
 *
 * Process context.  Return: 0, -ENOENT: there is none, -EMSGSIZE.
 */
int iscsi_texts_next(struct scst_iscsi_text *text, u8 *data)
{
	struct iscsi_conn *conn;
	int ret = -ENOENT;

	mutex_lock(&iscsi_conns_lock);
	for (;;) {
		conn = iscsi_texts_find(text->number);
		if (!conn)
			break;
		text->number = READ_ONCE(conn->text_number) ?: text->number;
		ret = iscsi_text_get(conn, text, data);
		if (ret != -ESTALE)
			break;
		ret = -ENOENT;
	}
	mutex_unlock(&iscsi_conns_lock);
	return ret;
}

/**
 * iscsi_texts_answer() - answer a text
 * @answer: which, and with what
 * @data: @answer->len bytes
 *
 * Process context.  Return: 0, -ESTALE: it does not wait any more, -EINVAL: that would be no answer to it.
 */
int iscsi_texts_answer(const struct scst_iscsi_text_answer *answer, const u8 *data)
{
	struct iscsi_conn *conn;
	int ret = -ESTALE;

	mutex_lock(&iscsi_conns_lock);
	list_for_each_entry(conn, &iscsi_conns, entry) {
		if (READ_ONCE(conn->text_number) != answer->number)
			continue;
		ret = iscsi_text_answer(conn, answer, data);
		break;
	}
	mutex_unlock(&iscsi_conns_lock);
	return ret;
}

/* --- targets --------------------------------------------------------------------------------------- */

static void iscsi_target_end(const struct iscsi_target *target, enum scst_iscsi_reason reason)
{
	struct iscsi_conn *conn;

	lockdep_assert_held(&iscsi_conns_lock);
	list_for_each_entry(conn, &iscsi_conns, entry)
		if (conn->target == target)
			iscsi_conn_end(conn, reason);
}

static void iscsi_reset_work(struct work_struct *work)
{
	mutex_lock(&iscsi_conns_lock);
	iscsi_target_end(container_of(work, struct iscsi_target, reset_work), SCST_ISCSI_REASON_RESET);
	mutex_unlock(&iscsi_conns_lock);
}

/* TARGET COLD RESET (RFC 7143 11.5.1): all its sessions end.  Any context. */
void iscsi_target_reset(struct iscsi_target *target)
{
	queue_work(iscsi_wq, &target->reset_work);
}

int iscsi_target_init(struct scst_target *tgt)
{
	struct iscsi_target *target = iscsi_target_of(tgt);

	INIT_WORK(&target->reset_work, iscsi_reset_work);
	return iscsi_target_config_init(target);
}

void iscsi_target_free(struct scst_target *tgt)
{
	struct iscsi_target *target = iscsi_target_of(tgt);

	/* Not where init() has failed before there was any. */
	if (target->reset_work.func)
		cancel_work_sync(&target->reset_work);
	iscsi_target_config_free(target);
}

int iscsi_enable(struct scst_target *tgt)
{
	mutex_lock(&iscsi_conns_lock);
	list_add_tail(&iscsi_target_of(tgt)->entry, &iscsi_targets);
	mutex_unlock(&iscsi_conns_lock);
	iscsi_config_changed();
	return 0;
}

void iscsi_disable(struct scst_target *tgt)
{
	struct iscsi_target *target = iscsi_target_of(tgt);

	mutex_lock(&iscsi_conns_lock);
	list_del(&target->entry);
	iscsi_target_end(target, SCST_ISCSI_REASON_DISABLED);
	mutex_unlock(&iscsi_conns_lock);
	iscsi_config_changed();
}
