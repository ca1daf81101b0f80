// SPDX-License-Identifier: GPL-2.0-only
/*
 * Targets: identity, enable and disable, end.
 *
 *	disabled --> enabled --> closing --> parked --> disabled
 *	    |           ^                     | ^
 *	    |           +---------------------+ |
 *	    +-----------------------------------+
 *
 * tgt->wanted is what the administrator has asked for.  A job on a thread of the target's own calls the driver's
 * enable() and disable(), which may take their time, and goes from state to state until nothing is left to do:
 * scst_target_step().  Who made a request waits for the answer to tgt->request, and may give up waiting.  Of two
 * contradictory requests the later one holds, and who waits for the earlier is told -ECANCELED.
 *
 * Who holds tgt->kref: the configfs item, each session, the job.  It is freed by work: the last reference may go in
 * the job.
 */
#include "core.h"
#include "trace.h"
#include <linux/idr.h>
#include <linux/numa.h>

#define SCST_MAX_XFER		(4 << 20)
#define SCST_MAX_SEGS		256
#define SCST_SESSION_CMDS	1024
#define SCST_SESSION_MEMORY	(64 << 20)

static DEFINE_IDA(scst_target_ids);

static const char *const scst_target_states[] = {
	[SCST_TARGET_DISABLED]	= "disabled",
	[SCST_TARGET_PARKED]	= "parked",
	[SCST_TARGET_ENABLED]	= "enabled",
	[SCST_TARGET_CLOSING]	= "closing",
};

const char *scst_target_state_name(const struct scst_target *tgt)
{
	return scst_target_states[READ_ONCE(tgt->state)];
}

/* What the driver leaves to the core. */
void scst_target_limits_default(struct scst_target *tgt)
{
	struct scst_target_limits *limits = &tgt->limits;

	limits->max_xfer = limits->max_xfer ?: SCST_MAX_XFER;
	limits->max_segs = limits->max_segs ?: SCST_MAX_SEGS;
	limits->cmds = limits->cmds ?: SCST_SESSION_CMDS;
}

/* The longest command that can be told to initiators and answered. */
u32 scst_target_max_xfer(const struct scst_target *tgt)
{
	/* A driver that brings its own memory knows what fits. */
	if (!tgt->driver->receive_data)
		return tgt->limits.max_xfer;
	return min_t(u64, tgt->limits.max_xfer, scst_data_max(&tgt->limits));
}

/* --- references --------------------------------------------------------------------------------- */

static void scst_target_free_work(struct work_struct *work)
{
	struct scst_target *tgt = container_of(work, struct scst_target, free_work);
	const struct scst_target_driver *drv = tgt->driver;

	/* The job that dropped the last reference may still be returning. */
	scst_threads_stop(&tgt->threads);
	if (drv->free)
		drv->free(tgt);
	if (!tgt->retired)
		ida_free(&scst_target_ids, tgt->rel_tgt_id);
	scst_target_dirs_free(tgt);
	cancel_work_sync(&tgt->resume_work);
	scst_account_exit(&tgt->memory);
	kfree(tgt);
	module_put(drv->owner);
	atomic_dec(&scst_objects[SCST_OBJ_TARGETS]);
}

static void scst_target_release(struct kref *kref)
{
	struct scst_target *tgt = container_of(kref, struct scst_target, kref);

	queue_work(scst_release_wq, &tgt->free_work);
}

/** scst_target_get() - take a reference; any context. */
void scst_target_get(struct scst_target *tgt)
{
	kref_get(&tgt->kref);
}
EXPORT_SYMBOL_GPL(scst_target_get);

/** scst_target_put() - drop a reference; any context. */
void scst_target_put(struct scst_target *tgt)
{
	kref_put(&tgt->kref, scst_target_release);
}
EXPORT_SYMBOL_GPL(scst_target_put);

/* --- states: in the job ----------------------------------------------------------------------------- */

static void scst_target_set_state(struct scst_target *tgt, enum scst_target_state state)
{
	enum scst_target_state before = tgt->state;

	lockdep_assert_held(&tgt->lock);
	WRITE_ONCE(tgt->state, state);
	trace_scst_target_state(tgt, before);
	scst_sysfs_event(tgt->classdev, scst_target_state_name(tgt), scst_target_state_name(tgt));
}

/* The directory is gone, and so is all that was enabled. */
static void scst_target_finish(struct scst_target *tgt)
{
	mutex_lock(&scst_config_mutex);
	if (!list_empty(&tgt->entry)) {
		list_del_init(&tgt->entry);
		scst_access_free(tgt);
	}
	mutex_unlock(&scst_config_mutex);
	scst_retire_end(&tgt->retiree);
}

static void scst_target_disabled(struct scst_target *tgt)
{
	scst_sysfs_remove(&tgt->classdev);
	scst_target_set_state(tgt, SCST_TARGET_DISABLED);
	if (tgt->retired)
		scst_target_finish(tgt);
}

/* Without the lock the driver's enable(), after which sessions may come at once. */
static int scst_target_enable(struct scst_target *tgt)
{
	int ret = tgt->classdev ? 0 : scst_sysfs_add_target(tgt);

	if (ret) {
		pr_warn("target %s: no class device: %s\n", tgt->name, scst_errno_name(ret));
		return ret;
	}
	ret = scst_port_claim(tgt);
	if (ret)
		return ret;
	WRITE_ONCE(tgt->starting, true);
	mutex_unlock(&tgt->lock);
	ret = tgt->driver->enable(tgt);
	scst_target_limits_default(tgt);
	mutex_lock(&tgt->lock);
	WRITE_ONCE(tgt->starting, false);
	if (ret)
		scst_port_release(tgt);
	return ret;
}

/* From DISABLED or PARKED, with hope of success. */
static void scst_target_start(struct scst_target *tgt)
{
	int ret = scst_target_enable(tgt);

	if (!ret) {
		scst_target_set_state(tgt, SCST_TARGET_ENABLED);
	} else if (ret == -ENODEV || tgt->state == SCST_TARGET_PARKED) {
		if (ret != -ENODEV)
			pr_warn("target %s: not enabled: %s; parked\n", tgt->name, scst_errno_name(ret));
		if (tgt->state != SCST_TARGET_PARKED)
			scst_target_set_state(tgt, SCST_TARGET_PARKED);
		if (tgt->wanted)
			scst_request_answer(&tgt->request, ret == -ENODEV ? 0 : ret);
	} else if (tgt->wanted) {
		pr_warn("target %s: not enabled: %s\n", tgt->name, scst_errno_name(ret));
		WRITE_ONCE(tgt->wanted, false);
		scst_request_answer(&tgt->request, ret);
	}
}

static void scst_target_leave(struct scst_target *tgt)
{
	struct scst_session *sess;

	mutex_lock(&scst_config_mutex);
	list_for_each_entry(sess, &tgt->sessions, entry)
		scst_session_leave(sess);
	mutex_unlock(&scst_config_mutex);
}

static void scst_target_stop(struct scst_target *tgt)
{
	scst_target_set_state(tgt, SCST_TARGET_CLOSING);
	mutex_unlock(&tgt->lock);
	scst_target_leave(tgt);
	tgt->driver->disable(tgt);
	mutex_lock(&tgt->lock);
}

/* The last session has gone: the port is free for others.  If it is still wanted, there is another attempt. */
static void scst_target_closed(struct scst_target *tgt)
{
	scst_port_release(tgt);
	tgt->attempt = tgt->wanted;
	scst_target_set_state(tgt, SCST_TARGET_PARKED);
}

/* One step towards what is wanted, which may release the lock meanwhile; false: nothing left to do now. */
static bool scst_target_step(struct scst_target *tgt)
{
	bool wanted = tgt->wanted;

	lockdep_assert_held(&tgt->lock);
	switch (tgt->state) {
	case SCST_TARGET_CLOSING:
		/* After the state was set: see scst_target_session_gone(). */
		smp_mb();
		if (READ_ONCE(tgt->nr_sessions))
			return false;	/* the last one looks again */
		scst_target_closed(tgt);
		return true;
	case SCST_TARGET_ENABLED:
		if (!wanted || !scst_port_there(tgt)) {
			scst_target_stop(tgt);
			return true;
		}
		break;
	default:
		if (wanted && tgt->attempt) {
			WRITE_ONCE(tgt->attempt, false);
			scst_target_start(tgt);
			return true;
		}
		if (!wanted)
			scst_target_disabled(tgt);
	}
	scst_request_answer(&tgt->request, 0);
	return false;
}

static void scst_target_change_job(struct scst_job *job)
{
	struct scst_target *tgt = container_of(job, struct scst_target, change_job);

	clear_bit(0, &tgt->change_queued);
	/* Who finds the bit set from here on has the job run again. */
	smp_mb__after_atomic();
	mutex_lock(&tgt->lock);
	while (scst_target_step(tgt))
		;
	mutex_unlock(&tgt->lock);
	scst_target_put(tgt);
}

/* Something has changed that the job looks at.  Any context. */
void scst_target_look(struct scst_target *tgt)
{
	if (test_and_set_bit(0, &tgt->change_queued))
		return;
	scst_target_get(tgt);
	scst_threads_add(&tgt->threads, &tgt->change_job);
}

/* What was missing may be there now.  Any context. */
void scst_target_try(struct scst_target *tgt)
{
	WRITE_ONCE(tgt->attempt, true);
	scst_target_look(tgt);
}

/**
 * scst_target_session_gone() - a session has been freed
 * @tgt: its target; the caller holds a reference
 *
 * Called by session.c when nothing of the session is left, its class device included: tgt->nr_sessions counts from
 * scst_session_attach() until here.  Process context, takes scst_config_mutex.
 */
void scst_target_session_gone(struct scst_target *tgt)
{
	mutex_lock(&scst_config_mutex);
	WRITE_ONCE(tgt->nr_sessions, tgt->nr_sessions - 1);
	mutex_unlock(&scst_config_mutex);
	/* Either the job finds the session gone, or the state is seen here. */
	smp_mb();
	if (READ_ONCE(tgt->state) == SCST_TARGET_CLOSING)
		scst_target_look(tgt);
}

/* --- requests --------------------------------------------------------------------------------------- */

/* Uses up @req; what to wait for, NULL: it is so. */
static struct scst_request *scst_target_ask(struct scst_target *tgt, bool on, struct scst_request *req)
{
	bool rest = on ? tgt->state == SCST_TARGET_ENABLED : tgt->state == SCST_TARGET_DISABLED && !tgt->starting;

	lockdep_assert_held(&tgt->lock);
	if (tgt->wanted == on && (tgt->request || rest)) {
		scst_request_put(req);
		return tgt->request ? scst_request_get(tgt->request) : NULL;
	}
	scst_request_answer(&tgt->request, -ECANCELED);
	tgt->request = scst_request_get(req);
	WRITE_ONCE(tgt->wanted, on);
	if (on)
		scst_target_try(tgt);
	else
		scst_target_look(tgt);
	return req;
}

/**
 * scst_target_set_enabled() - open a target to initiators, or close it
 * @tgt: the target
 * @on: which
 * @until: to wait until (jiffies)
 *
 * In a store of the target's; a request and a killable wait for what comes of it.  Before enabling it waits for another
 * target on its way out that has the name; killed then, nothing was asked for.  Closing it waits for the
 * last session to go, and enabling one that is being closed does, too.
 *
 * Return: 0, also if the hardware is not there, or what the driver's enable() said.  -ERESTARTSYS if killed and
 * -EINPROGRESS if it was to wait no longer or somebody wants to remove the directory: the request goes on by itself.
 * -ECANCELED if a contradictory one came in between.  -EBUSY if nothing was asked for in time.
 */
int scst_target_set_enabled(struct scst_target *tgt, bool on, u64 until)
{
	const struct config_item *item = &tgt->group.cg_item;
	struct scst_request *req;
	int ret = on ? scst_wait_in_store(item, scst_retired, !scst_retiring_name(&tgt->retiree), until) : 0;

	if (ret)
		return ret == -ERESTARTSYS ? ret : -EBUSY;
	req = scst_request_alloc();
	if (!req)
		return -ENOMEM;
	ret = mutex_lock_killable(&tgt->lock);
	if (ret) {
		scst_request_put(req);
		return ret;
	}
	req = scst_target_ask(tgt, on, req);
	mutex_unlock(&tgt->lock);
	if (!req)
		return 0;
	ret = scst_request_wait(req, item, until);
	scst_request_put(req);
	return ret == -ETIMEDOUT ? -EINPROGRESS : ret;
}

/**
 * scst_target_lock_disabled() - begin to change what may change only while no session is there
 * @tgt: the target
 *
 * Process context.  Return: 0: tgt->lock is held, and the caller's to release; -EBUSY: it is not disabled; -EINTR.
 */
int scst_target_lock_disabled(struct scst_target *tgt)
{
	int ret = mutex_lock_killable(&tgt->lock);

	if (!ret && (tgt->wanted || tgt->starting || tgt->state != SCST_TARGET_DISABLED)) {
		mutex_unlock(&tgt->lock);
		ret = -EBUSY;
	}
	return ret;
}
EXPORT_SYMBOL_GPL(scst_target_lock_disabled);

/**
 * scst_target_set_rel_id() - choose the relative target port identifier (SPC-4 3.1.120)
 * @tgt: the target
 * @id: 1 to 65535
 *
 * Process context, never waits.  Return: 0, -EBUSY while enabled or closing, -EEXIST if another target has it, or a port of another
 * host in one of its device groups, -ENOMEM.
 */
int scst_target_set_rel_id(struct scst_target *tgt, u16 id)
{
	int ret = scst_target_lock_disabled(tgt);

	if (ret)
		return ret;
	if (id != tgt->rel_tgt_id) {
		ret = ida_alloc_range(&scst_target_ids, id, id, GFP_KERNEL);
		if (ret == id) {
			u16 old = tgt->rel_tgt_id;

			ret = scst_alua_renumber(tgt, id);
			ida_free(&scst_target_ids, ret ? id : old);
		} else if (ret == -ENOSPC) {
			ret = -EEXIST;
		}
	}
	mutex_unlock(&tgt->lock);
	return ret;
}

/* --- the end, the beginning --------------------------------------------------------------------------- */

/* The target's directory is gone, and its identifier free for the next one.  Never waits. */
void scst_target_retire(struct scst_target *tgt)
{
	mutex_lock(&tgt->lock);
	tgt->retired = true;
	ida_free(&scst_target_ids, tgt->rel_tgt_id);
	scst_request_answer(&tgt->request, -ECANCELED);
	WRITE_ONCE(tgt->wanted, false);
	scst_retire_begin(&tgt->retiree);
	if (tgt->state == SCST_TARGET_DISABLED && !tgt->starting)
		scst_target_finish(tgt);
	else
		scst_target_look(tgt);
	mutex_unlock(&tgt->lock);
}

/* Fields of a new, zeroed target; undone by scst_target_put(). */
int scst_target_setup(struct scst_target *tgt, const struct scst_target_driver *drv, const char *name)
{
	int ret, id = ida_alloc_range(&scst_target_ids, 1, U16_MAX, GFP_KERNEL);

	if (id < 0)
		return id;
	ret = scst_account_init(&tgt->memory, 0);
	if (ret) {
		ida_free(&scst_target_ids, id);
		return ret;
	}
	__module_get(drv->owner);
	tgt->driver = drv;
	tgt->rel_tgt_id = id;
	tgt->limits.node = NUMA_NO_NODE;
	tgt->session_memory = SCST_SESSION_MEMORY;
	scst_target_limits_default(tgt);
	strscpy(tgt->name, name, sizeof(tgt->name));
	kref_init(&tgt->kref);
	mutex_init(&tgt->lock);
	INIT_LIST_HEAD(&tgt->entry);
	INIT_LIST_HEAD(&tgt->sessions);
	INIT_LIST_HEAD(&tgt->acl_groups);
	INIT_LIST_HEAD(&tgt->retiree.entry);
	tgt->retiree.kind = drv;
	tgt->retiree.name = tgt->name;
	tgt->change_job.fn = scst_target_change_job;
	INIT_WORK(&tgt->free_work, scst_target_free_work);
	scst_threads_init(&tgt->threads, tgt->name, 1);
	scst_target_setup_commands(tgt);
	atomic_inc(&scst_objects[SCST_OBJ_TARGETS]);
	return 0;
}
