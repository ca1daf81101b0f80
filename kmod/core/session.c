// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sessions: I_T nexuses from login to logout.
 *
 * Who holds sess->ref: each nexus, each command that found none, each task management request.  The target driver's own hold
 * ends in scst_session_close(); when the rest is gone, so is the session.  Nobody waits for that.
 *
 * All sessions, from login until they are freed, are in a table by number: who reads what is in flight looks there.
 */
#include "commands.h"
#include "trace.h"
#include <linux/xarray.h>

/* The canonical spelling of a short name may be longer than the name. */
static_assert(SCST_INITIATOR_NAME_LEN >= SCST_NUMBER_TEXT);

static DEFINE_XARRAY_ALLOC1(scst_sessions);

/**
 * scst_session_next() - the next session, also one that is going
 * @id: the smallest number it may have
 *
 * Process context.  Return: the session, to be given to scst_session_put() soon, or NULL: there is none.
 */
struct scst_session *scst_session_next(u32 id)
{
	unsigned long index = id;
	struct scst_session *sess;

	/* It leaves the table before its reference count goes. */
	xa_lock(&scst_sessions);
	xa_for_each_start(&scst_sessions, index, sess, id)
		if (percpu_ref_tryget(&sess->ref))
			break;
	xa_unlock(&scst_sessions);
	return sess;
}

/* Process context. */
void scst_session_put(struct scst_session *sess)
{
	percpu_ref_put(&sess->ref);
}

static void scst_session_free(struct scst_session *sess)
{
	struct scst_target *tgt = sess->tgt;

	xa_erase(&scst_sessions, sess->id);
	percpu_ref_exit(&sess->ref);
	scst_copy_forget(sess);
	scst_track_free(sess);
	free_percpu(sess->pcpu);
	kfree(sess);
	atomic_dec(&scst_objects[SCST_OBJ_SESSIONS]);
	scst_target_put(tgt);
}

/* The last command is released, and task management is answered. */
static void scst_session_gone_work(struct work_struct *work)
{
	struct scst_session *sess = container_of(work, struct scst_session, gone_work);
	struct scst_target *tgt = sess->tgt;

	trace_scst_session_state(sess, SCST_SESSION_GONE);
	if (!sess->silent)
		sess->driver->session_gone(sess);
	scst_target_get(tgt);
	scst_session_free(sess);
	scst_target_session_gone(tgt);
	scst_target_put(tgt);
}

static void scst_session_release(struct percpu_ref *ref)
{
	queue_work(scst_release_wq, &container_of(ref, struct scst_session, ref)->gone_work);
}

static void scst_session_close_work(struct work_struct *work)
{
	struct scst_session *sess = container_of(work, struct scst_session, close_work);
	struct scst_target *tgt = sess->tgt;

	trace_scst_session_state(sess, SCST_SESSION_CLOSING);
	mutex_lock(&scst_config_mutex);
	list_del(&sess->entry);
	scst_view_drop(sess);
	mutex_unlock(&scst_config_mutex);
	scst_sysfs_remove(&sess->classdev);
	scst_abort_session(sess);
	/* What the driver had no room for goes to it once more, and it sees that it is aborted. */
	scst_target_resume(tgt);
	percpu_ref_kill(&sess->ref);
}

/* The allocations of a session; scst_session_free() undoes them all. */
static int scst_session_init(struct scst_session *sess)
{
	int ret;

	sess->pcpu = alloc_percpu(struct scst_session_pcpu);
	if (!sess->pcpu)
		return -ENOMEM;
	ret = scst_track_alloc(sess);
	if (ret)
		goto out_pcpu;
	ret = percpu_ref_init(&sess->ref, scst_session_release, 0, GFP_KERNEL);
	if (ret)
		goto out_track;
	ret = xa_alloc(&scst_sessions, &sess->id, NULL, xa_limit_31b, GFP_KERNEL);
	if (ret)
		goto out_ref;
	return 0;

out_ref:
	percpu_ref_exit(&sess->ref);
out_track:
	scst_track_free(sess);
out_pcpu:
	free_percpu(sess->pcpu);
	return ret;
}

static struct scst_session *scst_session_alloc(struct scst_target *tgt, const char *initiator, const char *portal)
{
	struct scst_session *sess = kzalloc_node(sizeof(*sess), GFP_KERNEL, tgt->limits.node);

	if (!sess)
		return NULL;
	sess->tgt = tgt;
	sess->driver = tgt->driver;
	if (scst_session_init(sess)) {
		kfree(sess);
		return NULL;
	}
	scst_target_get(tgt);
	sess->max_xfer = scst_target_max_xfer(tgt);
	sess->stable = tgt->limits.stable;
	sess->track_all = tgt->driver->receive_data || tgt->driver->abort;
	scst_copy_setup_session(sess);
	scst_name_canonical(sess->initiator, initiator);
	if (portal)
		snprintf(sess->at, sizeof(sess->at), "%s#%s", sess->initiator, portal);
	INIT_WORK(&sess->close_work, scst_session_close_work);
	INIT_WORK(&sess->gone_work, scst_session_gone_work);
	atomic_inc(&scst_objects[SCST_OBJ_SESSIONS]);
	return sess;
}

/* Its driver learns that its LUNs are others now.  Any context. */
void scst_session_tell_luns(struct scst_session *sess)
{
	if (!sess->driver->luns_changed)
		return;
	rcu_read_lock();
	if (!READ_ONCE(sess->silent))
		sess->driver->luns_changed(sess);
	rcu_read_unlock();
}

/* The driver does not get it: from here on its driver_data is not looked at. */
static void scst_session_silence(struct scst_session *sess)
{
	WRITE_ONCE(sess->silent, true);
	synchronize_rcu();
}

/* Its TransportID in the form in which two of the same port are equal, if it is of a form that is known. */
static void scst_session_identify(struct scst_session *sess, const struct scst_transport_id *id)
{
	struct scst_transport_id made, read;

	if (!id) {
		scst_transport_id_default(&made, sess->driver->protocol, sess->initiator);
		id = &made;
	}
	sess->transport_id = scst_transport_id_parse(&read, id->bytes, id->len) ? read : *id;
}

/**
 * scst_session_register() - an initiator port has logged in
 * @tgt: the target port
 * @initiator: name of the initiator port, in any of the spellings that access groups may have for it
 * @portal: name of what it has come by, where a target port has several, for access groups that ask for it: there is no # in @initiator
 *	then; NULL: there are none
 * @id: its TransportID, copied; NULL: made from the name
 * @driver_data: the driver's own
 *
 * Process context, may sleep, but waits for no back end.  Commands may be submitted on return.  The session has the
 * name in its canonical spelling.
 *
 * Return: the session, to be ended by scst_session_close(), or an ERR_PTR: -EINVAL for a name that is empty, or one or a TransportID
 * that is too long, -ENOMEM.
 */
struct scst_session *scst_session_register(struct scst_target *tgt, const char *initiator, const char *portal,
					   const struct scst_transport_id *id, void *driver_data)
{
	struct scst_session *sess;
	int ret;

	might_sleep();
	if (!*initiator || strlen(initiator) > SCST_INITIATOR_NAME_LEN || (id && id->len > SCST_TRANSPORT_ID_MAX))
		return ERR_PTR(-EINVAL);
	if (portal && (strchr(initiator, '#') || strlen(portal) > SCST_PORTAL_NAME_LEN))
		return ERR_PTR(-EINVAL);
	sess = scst_session_alloc(tgt, initiator, portal);
	if (!sess)
		return ERR_PTR(-ENOMEM);
	sess->driver_data = driver_data;
	scst_session_identify(sess, id);
	ret = scst_session_attach(sess);
	if (ret) {
		/* It is held by each nexus that was made for it, until a grace period after the nexus was given up. */
		scst_session_silence(sess);
		percpu_ref_kill(&sess->ref);
		return ERR_PTR(ret);
	}
	/* Its place is reserved; from here on it goes by its reference count only, and may be looked at. */
	xa_store(&scst_sessions, sess->id, sess, GFP_KERNEL);
	ret = scst_sysfs_add_session(sess);
	if (ret) {
		scst_session_silence(sess);
		scst_session_close(sess);
		return ERR_PTR(ret);
	}
	trace_scst_session_state(sess, SCST_SESSION_LOGIN);
	return sess;
}
EXPORT_SYMBOL_GPL(scst_session_register);

/**
 * scst_session_close() - the initiator port has logged out, or is to be
 * @sess: the session; the driver submits nothing more
 *
 * Any context, once.  Aborts what is running; the driver's abort() is called for what it holds.  When the last command is released
 * and the last task management request answered, session_gone() is called and the session freed, however long
 * that takes: the commands' memory is the driver's, and their pages are with the back end until then.
 */
void scst_session_close(struct scst_session *sess)
{
	queue_work(scst_release_wq, &sess->close_work);
}
EXPORT_SYMBOL_GPL(scst_session_close);

/**
 * scst_initiator_leave() - an initiator's sessions are going to be closed
 * @tgt: the target
 * @initiator: its name
 *
 * For drivers that know before they can close them: until a session is gone, its access counts as revoked and not over.
 * Process context, waits for no back end.
 */
void scst_initiator_leave(struct scst_target *tgt, const char *initiator)
{
	struct scst_session *sess;

	mutex_lock(&scst_config_mutex);
	list_for_each_entry(sess, &tgt->sessions, entry)
		if (scst_name_same(sess->initiator, initiator))
			scst_session_leave(sess);
	mutex_unlock(&scst_config_mutex);
}
EXPORT_SYMBOL_GPL(scst_initiator_leave);

/**
 * scst_initiator_same() - are two names spellings of one initiator?
 * @a: a name
 * @b: another
 *
 * Any context.
 */
bool scst_initiator_same(const char *a, const char *b)
{
	return scst_name_same(a, b);
}
EXPORT_SYMBOL_GPL(scst_initiator_same);
