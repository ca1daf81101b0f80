// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices: enable, activate, park, retire.
 *
 *	disabled --> opening --> active
 *	   ^          |  ^ |       |
 *	   |          v  | v       v
 *	   +--closing--parked <--closing
 *
 * What was asked for last is dev->goal; scst_device_go() begins the next step towards it and returns at once.  The
 * states OPENING and CLOSING belong to a job on a thread of scst_state_threads, which may hang as long as the backing
 * does, for there are as many threads as jobs; at its end it looks at the goal again.  So a request is never lost and never waits for a lock: who made it
 * may wait, for the answer to dev->request, and may give up waiting.  Of two contradictory requests the later
 * one holds, and who waits for the earlier is told -ECANCELED.
 *
 * dev->active_ref is live only while the device is active; parking kills it, and its last command has the backing
 * closed.
 *
 * Who holds dev->kref: the configfs item, each published LUN, each nexus, a killed active_ref, jobs, queued work.
 * It is freed by work: the last reference may go where nobody may wait, or in one of the device's own threads.
 */
#include "overhaul.h"
#include "trace.h"
#include <linux/completion.h>
#include <linux/cred.h>
#include <linux/fs_struct.h>
#include <linux/sched/mm.h>

#define SCST_DEVICE_THREADS	128		/* commands that may block at once */
#define SCST_BUSY_PATIENCE	(10 * HZ)	/* for a backing that something on its way out may have */

/* What every command reads is in the first cache line, what is locked is not. */
static_assert(offsetofend(struct scst_device, geo.max_xfer) <= 64);
static_assert(offsetof(struct scst_device, settings_lock) >= 64);

LIST_HEAD(scst_devices);

static const char *const scst_device_states[] = {
	[SCST_DEVICE_DISABLED]	= "disabled",
	[SCST_DEVICE_PARKED]	= "parked",
	[SCST_DEVICE_ACTIVE]	= "active",
	[SCST_DEVICE_OPENING]	= "opening",
	[SCST_DEVICE_CLOSING]	= "closing",
};

const char *scst_device_state_name(const struct scst_device *dev)
{
	return scst_device_states[READ_ONCE(dev->state)];
}

/* In force: 0 until the backing was open once. */
u32 scst_device_block_size(const struct scst_device *dev)
{
	return dev->geo.block_shift ? 1U << dev->geo.block_shift : 0;
}

/* In force or, where it is a setting, what will be. */
u64 scst_device_size(const struct scst_device *dev)
{
	if (dev->handler->flags & SCST_HANDLER_SIZE_RW && READ_ONCE(dev->state) == SCST_DEVICE_DISABLED)
		return READ_ONCE(dev->size);
	return READ_ONCE(dev->geo.nblocks) << dev->geo.block_shift;
}

/* The setting, or what the backing is. */
bool scst_device_rotational(const struct scst_device *dev)
{
	return dev->rotational < 0 ? dev->geo.rotational : dev->rotational;
}

/*
 * Where backings are opened and closed.  One set for all devices: most openings are over at once, and the next one
 * need not have a thread made for it.  Whatever hangs keeps its thread, and takes it from nobody.
 */
static struct scst_threads scst_state_threads;

int scst_device_module_init(void)
{
	scst_threads_init(&scst_state_threads, "state", UINT_MAX);
	return 0;
}

/* After the last device. */
void scst_device_module_exit(void)
{
	scst_threads_stop(&scst_state_threads);
}

/* Tell udev what has happened.  Process context. */
void scst_device_event(struct scst_device *dev, const char *event)
{
	scst_sysfs_event(dev->classdev, event, scst_device_state_name(dev));
}

/* --- references ------------------------------------------------------------------------------- */

static void scst_opening_drop(struct scst_opening *opening)
{
	kfree(opening->elsewhere);
	if (opening->cred) {
		put_cred(opening->cred);
		path_put(&opening->root);
	}
	memset(opening, 0, sizeof(*opening));
}

static void scst_opening_capture(struct scst_opening *opening)
{
	scst_opening_drop(opening);
	opening->cred = get_current_cred();
	get_fs_root(current->fs, &opening->root);
}

static void scst_device_free_work(struct work_struct *work)
{
	struct scst_device *dev = container_of(work, struct scst_device, free_work);
	const struct scst_handler *handler = dev->handler;

	WARN_ON_ONCE(!list_empty(&dev->turns));
	/* The job that dropped the last reference may still be returning. */
	scst_threads_stop(&dev->threads);
	scst_space_stop(dev);
	scst_tokens_stop(dev);
	scst_recorder_free(&dev->recorder);
	scst_buffers_forget(dev);
	scst_pr_free(dev);
	if (handler->free)
		handler->free(dev);
	scst_device_free_texts(dev);
	scst_opening_drop(&dev->opening);
	percpu_ref_exit(&dev->active_ref);
	kfree(dev);
	module_put(handler->owner);
	atomic_dec(&scst_objects[SCST_OBJ_DEVICES]);
}

static void scst_device_release(struct kref *kref)
{
	struct scst_device *dev = container_of(kref, struct scst_device, kref);

	queue_work(scst_release_wq, &dev->free_work);
}

void scst_device_get(struct scst_device *dev)
{
	kref_get(&dev->kref);
}

/* Any context. */
void scst_device_put(struct scst_device *dev)
{
	kref_put(&dev->kref, scst_device_release);
}

/* --- who sees it ------------------------------------------------------------------------------------- */

/**
 * scst_device_for_each_nexus() - call a function for every nexus of a device
 * @dev: the device
 * @fn: must not sleep
 * @arg: passed on
 *
 * Process or softirq context.
 */
void scst_device_for_each_nexus(struct scst_device *dev, void (*fn)(struct scst_nexus *, void *),
				void *arg)
{
	struct scst_nexus *nexus;

	spin_lock_bh(&dev->nexus_lock);
	list_for_each_entry(nexus, &dev->nexuses, dev_entry)
		fn(nexus, arg);
	spin_unlock_bh(&dev->nexus_lock);
}

/* --- the goal ------------------------------------------------------------------------------------- */

static void scst_device_set_state(struct scst_device *dev, enum scst_device_state state)
{
	enum scst_device_state before = dev->state;

	lockdep_assert_held(&dev->settings_lock);
	WRITE_ONCE(dev->state, state);
	trace_scst_device_state(dev, before);
	wake_up_all(&dev->changed);
}

/* At most one at a time; it holds a reference. */
static void scst_device_add_job(struct scst_device *dev, struct scst_job *job)
{
	scst_device_get(dev);
	scst_threads_add(&scst_state_threads, job);
}

static void scst_device_begin_open(struct scst_device *dev)
{
	scst_device_set_state(dev, SCST_DEVICE_OPENING);
	scst_device_add_job(dev, &dev->open_job);
}

/* By whoever finds first that no command runs. */
static void scst_device_queue_close(struct scst_device *dev)
{
	if (!test_and_set_bit(0, &dev->close_queued))
		scst_device_add_job(dev, &dev->close_job);
}

/* Last command out.  Any context. */
static void scst_device_drained(struct percpu_ref *ref)
{
	struct scst_device *dev = container_of(ref, struct scst_device, active_ref);

	scst_device_queue_close(dev);
	complete_all(&dev->drained);
	scst_device_put(dev);
}

static bool scst_device_unused(struct scst_device *dev)
{
	bool unused;

	spin_lock_bh(&dev->nexus_lock);
	unused = list_empty(&dev->nexuses);
	spin_unlock_bh(&dev->nexus_lock);
	return unused;
}

/* From ACTIVE or PARKED.  The gate first: commands that come now are told so, and not pinned in vain. */
static void scst_device_begin_close(struct scst_device *dev)
{
	bool active = dev->state == SCST_DEVICE_ACTIVE;

	scst_device_set_state(dev, SCST_DEVICE_CLOSING);
	if (!active) {
		scst_device_add_job(dev, &dev->close_job);
		return;
	}
	/*
	 * No unit attention: whoever has a use for the unit hears NOT READY from it, and INQUIRY DATA HAS CHANGED would
	 * only have Linux look at everything again that can't be looked at now.
	 */
	scst_gate_device(dev, SCST_GATE_PARKED, true);
	scst_alua_ask_device(dev);
	scst_overhaul_stop(dev);
	clear_bit(0, &dev->close_queued);
	reinit_completion(&dev->drained);
	scst_device_get(dev);
	percpu_ref_kill(&dev->active_ref);
	/*
	 * Without a nexus there is no command, and the backing need not wait for the grace period in which
	 * active_ref dies.  Who gets a nexus from here on finds it killed.
	 */
	if (scst_device_unused(dev))
		scst_device_queue_close(dev);
	scst_device_event(dev, "closing");
}

static void scst_device_arrived(struct scst_device *dev, int result)
{
	scst_request_answer(&dev->request, result);
	scst_opening_drop(&dev->opening);
	if (dev->retired && dev->state == SCST_DEVICE_DISABLED)
		scst_retire_end(&dev->retiree);
}

/* The next step towards what is asked for.  Never waits. */
static void scst_device_go(struct scst_device *dev)
{
	lockdep_assert_held(&dev->settings_lock);
	if (dev->state == SCST_DEVICE_OPENING || dev->state == SCST_DEVICE_CLOSING)
		return;		/* its job comes here in the end */
	if (dev->state == dev->goal)
		scst_device_arrived(dev, 0);
	else if (dev->goal == SCST_DEVICE_ACTIVE)
		scst_device_begin_open(dev);
	else
		scst_device_begin_close(dev);
}

/* A step has failed, and that is the answer. */
static void scst_device_give_up(struct scst_device *dev, enum scst_device_state state, int error)
{
	WRITE_ONCE(dev->goal, state);
	scst_device_set_state(dev, state);
	scst_device_arrived(dev, error);
}

/*
 * Ask for a state.  The reference to @req is used up; the request to wait for is returned, which is that of
 * an earlier asker who wants the same.
 */
static struct scst_request *scst_device_ask(struct scst_device *dev, enum scst_device_state goal,
					    struct scst_request *req)
{
	lockdep_assert_held(&dev->settings_lock);
	if (dev->request && dev->goal == goal) {
		scst_request_put(req);
		return scst_request_get(dev->request);
	}
	scst_request_answer(&dev->request, -ECANCELED);
	dev->request = scst_request_get(req);
	WRITE_ONCE(dev->goal, goal);
	if (goal == SCST_DEVICE_ACTIVE)
		scst_opening_capture(&dev->opening);
	scst_device_go(dev);
	return req;
}

/* --- registration ------------------------------------------------------------------------------------ */

static bool scst_bytes_equal(const u8 *a, unsigned int a_len, const u8 *b, unsigned int b_len)
{
	return a_len && a_len == b_len && !memcmp(a, b, a_len);
}

/* What two devices must not have in common, or initiators take them for paths to one; NULL: nothing. */
static const char *scst_identity_clash(const struct scst_identity *a, const struct scst_identity *b)
{
	if (scst_bytes_equal(a->naa, a->naa_len, b->naa, b->naa_len))
		return "naa";
	if (!strcmp(a->serial, b->serial))
		return "serial";
	return scst_bytes_equal(a->eui64, a->eui64_len, b->eui64, b->eui64_len) ? "eui64" : NULL;
}

static int scst_device_claim_locked(struct scst_device *dev)
{
	const struct scst_device *other;

	lockdep_assert_held(&scst_config_mutex);
	list_for_each_entry(other, &scst_devices, entry) {
		const char *clash = other != dev && other->claimed ?
				    scst_identity_clash(&dev->id, &other->id) : NULL;

		if (clash) {
			pr_warn("device %s: id/%s is that of device %s as well; not enabled\n",
				dev->name, clash, other->name);
			return -EEXIST;
		}
	}
	dev->claimed = true;
	return 0;
}

/* From here on until it is disabled again no other device may have the identity. */
static int scst_device_claim(struct scst_device *dev)
{
	int ret;

	mutex_lock(&scst_config_mutex);
	ret = scst_device_claim_locked(dev);
	mutex_unlock(&scst_config_mutex);
	return ret;
}

/* From here on LUNs may lead here. */
static int scst_device_register(struct scst_device *dev)
{
	int ret;

	if (dev->retired)
		return -ENOENT;
	ret = scst_sysfs_add_device(dev);
	if (ret) {
		pr_warn("device %s: no class device: %s; not enabled\n", dev->name, scst_errno_name(ret));
		return ret;
	}
	mutex_lock(&scst_config_mutex);
	WRITE_ONCE(dev->enabled, true);
	mutex_unlock(&scst_config_mutex);
	return 0;
}

static void scst_device_unregister(struct scst_device *dev)
{
	scst_sysfs_remove(&dev->classdev);
	mutex_lock(&scst_config_mutex);
	WRITE_ONCE(dev->enabled, false);
	dev->claimed = false;
	mutex_unlock(&scst_config_mutex);
}

/* --- opening: the job owns the state --------------------------------------------------------------- */

/* The backing is not there, or another one is: enabling does not fail because of what may come. */
static bool scst_errno_parks(int error)
{
	return error == -ENOENT || error == -ENXIO || error == -ENODEV ||
	       error == -ENOTDIR || error == -ENOMEDIUM || error == -ESTALE;
}

static void scst_device_close_backing(struct scst_device *dev)
{
	int ret = dev->handler->close(dev);

	scst_device_forget_backing(dev);
	dev->backing_open = false;
	WRITE_ONCE(dev->retiree.backing, NULL);
	if (ret >= 0)
		return;
	pr_warn("device %s: data that were acknowledged could not be written: %s\n", dev->name, scst_errno_name(ret));
	WRITE_ONCE(dev->open_error, ret);
	scst_gate_write_lost(dev);
}

/* A unit that comes back with other blocks, or without its end, would be read wrongly by all who know it. */
static int scst_device_check_geometry(struct scst_device *dev, const struct scst_geometry *before)
{
	struct scst_geometry *geo = &dev->geo;
	u64 asked = dev->size_asked >> geo->block_shift;

	if (!geo->nblocks) {
		pr_warn("device %s: its backing is smaller than a block of block_size %u\n",
			dev->name, 1U << geo->block_shift);
		return -EINVAL;
	}
	if (before->block_shift && geo->block_shift != before->block_shift) {
		pr_warn("device %s: its backing has blocks of %u bytes now, %u before; not activated\n",
			dev->name, 1U << geo->block_shift, 1U << before->block_shift);
		return -EINVAL;
	}
	if (asked > geo->nblocks || asked << geo->block_shift != dev->size_asked) {
		pr_warn("device %s: its backing does not have the %llu bytes that size asks for; not activated\n",
			dev->name, dev->size_asked);
		return -EINVAL;
	}
	if (!asked && !dev->shrink_ok && before->block_shift && geo->nblocks < before->nblocks) {
		pr_warn("device %s: its backing has %llu blocks now, %llu before; not activated unless size is written\n",
			dev->name, geo->nblocks, before->nblocks);
		return -EINVAL;
	}
	if (asked)
		WRITE_ONCE(geo->nblocks, asked);
	return 0;
}

/* One backing behind two devices is allowed, but hardly ever meant. */
static int scst_device_check_backing(struct scst_device *dev)
{
	const void *backing = dev->handler->backing ? dev->handler->backing(dev) : NULL;
	const struct scst_device *other;

	if (!backing)
		return 0;
	if (scst_pr_file_is(dev, backing)) {
		pr_warn("device %s: pr_file is its own backing; not activated\n", dev->name);
		return -EINVAL;
	}
	WRITE_ONCE(dev->retiree.backing, backing);
	/* Commands of what is on its way out may still write. */
	if (!dev->read_only && scst_retiring_backing(&dev->retiree, backing))
		return -EBUSY;
	mutex_lock(&scst_config_mutex);
	list_for_each_entry(other, &scst_devices, entry)
		if (other != dev && !dev->read_only && !other->read_only &&
		    READ_ONCE(other->retiree.backing) == backing)
			pr_warn("device %s: writes to the same backing as device %s\n", dev->name, other->name);
	mutex_unlock(&scst_config_mutex);
	return 0;
}

static int scst_device_open(struct scst_device *dev, const struct scst_opening *opening,
			    const struct scst_geometry *before)
{
	const struct cred *own;
	int ret;

	/* At most a grace period: its commands have ended, or the backing would not be closed. */
	wait_for_completion_state(&dev->drained, TASK_IDLE);
	/* What was said of the backing before does not hold for this one. */
	WRITE_ONCE(dev->lost, false);
	own = override_creds(opening->cred);
	ret = dev->handler->open(dev, opening);
	revert_creds(own);
	if (ret) {
		scst_device_forget_backing(dev);
		goto out;
	}
	dev->backing_open = true;
	ret = scst_device_check_geometry(dev, before) ?: scst_device_check_backing(dev);
	if (ret)
		scst_device_close_backing(dev);
out:
	if (ret)
		dev->geo = *before;
	return ret;
}

/* An initiator that is idle learns of a unit attention only if its driver goes and looks.  Under the device's nexus_lock. */
void scst_device_tell_driver(struct scst_nexus *nexus, void *unused)
{
	scst_session_tell_luns(nexus->sess);
}

/* Who looked while the device was parked may have found no use for the LUN. */
static void scst_device_notify(struct scst_nexus *nexus, void *unused)
{
	set_bit(SCST_UA_LUNS_CHANGED, &nexus->sess->ua_once);
	set_bit(SCST_UA_LUNS_CHANGED, &nexus->gates);
	scst_device_tell_driver(nexus, unused);
}

/* The backing is open and wanted.  Unit attentions first: no command may slip through before them. */
static void scst_device_activate(struct scst_device *dev, const struct scst_geometry *before)
{
	lockdep_assert_held(&dev->settings_lock);
	if (!before->block_shift)
		WRITE_ONCE(dev->cache_told, dev->handler->write_cache && dev->handler->write_cache(dev));
	dev->shrink_ok = false;
	scst_ua_device(dev, SCST_UA_READY, NULL);
	scst_ua_device(dev, SCST_UA_INQUIRY_CHANGED, NULL);
	if (before->block_shift && before->nblocks != dev->geo.nblocks)
		scst_ua_device(dev, SCST_UA_CAPACITY_CHANGED, NULL);
	scst_medium_load(dev, true, NULL);
	percpu_ref_reinit(&dev->active_ref);
	scst_device_for_each_nexus(dev, scst_nexus_begin_writing, NULL);
	scst_device_set_state(dev, SCST_DEVICE_ACTIVE);
	scst_gate_device(dev, SCST_GATE_PARKED, false);
	scst_device_for_each_nexus(dev, scst_device_notify, NULL);
	scst_device_event(dev, "active");
	WRITE_ONCE(dev->space_scarce, false);
	scst_space_watch(dev);
}

/* The backing is open; is it still wanted?  Errors from here on are those of registration. */
static void scst_device_opened(struct scst_device *dev, const struct scst_geometry *before)
{
	int ret = dev->enabled || dev->goal == SCST_DEVICE_DISABLED ? 0 : scst_device_register(dev);
	bool lost = READ_ONCE(dev->lost);

	if (!ret && !lost && dev->goal == SCST_DEVICE_ACTIVE) {
		scst_device_activate(dev, before);
		scst_device_go(dev);
		return;
	}
	if (ret) {
		scst_request_answer(&dev->request, ret);
		WRITE_ONCE(dev->goal, SCST_DEVICE_DISABLED);
	} else if (lost && dev->goal == SCST_DEVICE_ACTIVE) {
		scst_request_answer(&dev->request, -ENODEV);
		WRITE_ONCE(dev->goal, SCST_DEVICE_PARKED);
	}
	WRITE_ONCE(dev->open_error, ret ?: lost ? -ENODEV : 0);
	scst_device_set_state(dev, SCST_DEVICE_CLOSING);
	scst_device_add_job(dev, &dev->close_job);
}

/* The backing is not open, because of @error. */
static void scst_device_open_failed(struct scst_device *dev, int error)
{
	bool parks = scst_errno_parks(error);

	if (dev->enabled) {
		scst_device_set_state(dev, SCST_DEVICE_PARKED);
		scst_device_event(dev, "parked");
		if (dev->goal == SCST_DEVICE_ACTIVE)
			scst_device_give_up(dev, SCST_DEVICE_PARKED, error);
		else
			scst_device_go(dev);
		return;
	}
	if (parks && dev->goal != SCST_DEVICE_DISABLED) {
		error = scst_device_register(dev);
		if (!error) {
			scst_device_give_up(dev, SCST_DEVICE_PARKED, 0);
			scst_device_event(dev, "parked");
			return;
		}
	}
	if (dev->goal == SCST_DEVICE_DISABLED)
		error = 0;
	scst_device_unregister(dev);
	scst_device_give_up(dev, SCST_DEVICE_DISABLED, error);
}

/* Not opened: will it be parked? */
static bool scst_device_stays(const struct scst_device *dev, int error)
{
	return dev->enabled || (scst_errno_parks(error) && dev->goal != SCST_DEVICE_DISABLED);
}

/* By the job that owns the state, with settings_lock, which it gives up meanwhile. */
static void scst_device_let_go(struct scst_device *dev)
{
	mutex_unlock(&dev->settings_lock);
	scst_pr_unload(dev);
	mutex_lock(&dev->settings_lock);
}

static void scst_device_open_job(struct scst_job *job)
{
	struct scst_device *dev = container_of(job, struct scst_device, open_job);
	struct scst_geometry before = dev->geo;
	struct scst_opening opening;
	int ret = 0;

	mutex_lock(&dev->settings_lock);
	opening = dev->opening;
	memset(&dev->opening, 0, sizeof(dev->opening));
	if (dev->elsewhere) {
		opening.elsewhere = kstrdup(dev->elsewhere, GFP_KERNEL);
		ret = opening.elsewhere ? 0 : -ENOMEM;
	}
	mutex_unlock(&dev->settings_lock);
	/* What is reserved is known before anybody can get at the medium.  The setting does not change meanwhile. */
	ret = ret ?: scst_pr_load(dev, &opening, dev->pr_file) ?: scst_device_open(dev, &opening, &before);
	scst_opening_drop(&opening);
	mutex_lock(&dev->settings_lock);
	if (ret && !scst_device_stays(dev, ret))
		scst_device_let_go(dev);
	WRITE_ONCE(dev->open_error, ret);
	if (ret)
		scst_device_open_failed(dev, ret);
	else
		scst_device_opened(dev, &before);
	mutex_unlock(&dev->settings_lock);
	scst_device_put(dev);
}

/* --- closing: the job owns the state --------------------------------------------------------------- */

static void scst_device_close_job(struct scst_job *job)
{
	struct scst_device *dev = container_of(job, struct scst_device, close_job);

	/* Nobody makes one any more, for no command runs; what comes back is another medium. */
	scst_tokens_end(dev);
	if (dev->backing_open)
		scst_device_close_backing(dev);
	mutex_lock(&dev->settings_lock);
	if (!dev->enabled)
		scst_device_let_go(dev);
	if (dev->enabled) {
		scst_device_set_state(dev, SCST_DEVICE_PARKED);
		scst_device_event(dev, "parked");
	} else {
		scst_device_unregister(dev);
		scst_device_set_state(dev, SCST_DEVICE_DISABLED);
	}
	scst_device_go(dev);
	mutex_unlock(&dev->settings_lock);
	scst_device_put(dev);
}

/* --- requests ------------------------------------------------------------------------------------- */

/* On its way to DISABLED?  Without the lock, for those who wait for the end of it. */
static bool scst_device_leaving(const struct scst_device *dev)
{
	return READ_ONCE(dev->goal) == SCST_DEVICE_DISABLED && READ_ONCE(dev->state) != SCST_DEVICE_DISABLED;
}

/* What may differ from the time before: all that is not a setting. */
static void scst_device_reset(struct scst_device *dev)
{
	WRITE_ONCE(dev->wce_off, false);
	WRITE_ONCE(dev->d_sense, false);
	WRITE_ONCE(dev->swp, false);
	scst_clock_reset(dev);
	scst_buffers_forget(dev);
	dev->size_asked = 0;
	dev->shrink_ok = false;
	memset(&dev->geo, 0, sizeof(dev->geo));
	WRITE_ONCE(dev->pr_unread, true);
	scst_gate_device(dev, SCST_GATE_WRITE_PROTECT, dev->read_only);
}

/* Under settings_lock.  Uses up *@req, and replaces it by what to wait for; NULL: there is nothing. */
static int scst_device_ask_enabled(struct scst_device *dev, struct scst_request **req)
{
	int ret;

	if (dev->state == SCST_DEVICE_DISABLED) {
		ret = dev->handler->check(dev) ?: scst_device_claim(dev);
		if (ret)
			return ret;
		scst_device_reset(dev);
	} else if (dev->goal == SCST_DEVICE_DISABLED) {
		return -EBUSY;
	} else if (dev->enabled) {
		scst_request_put(*req);
		*req = NULL;
		return 0;
	}
	WRITE_ONCE(dev->wanted, true);
	*req = scst_device_ask(dev, SCST_DEVICE_ACTIVE, *req);
	return 0;
}

static int scst_device_ask_disabled(struct scst_device *dev, struct scst_request **req)
{
	int ret = 0;

	mutex_lock(&scst_config_mutex);
	if (dev->lun_links)
		ret = -EBUSY;
	else
		WRITE_ONCE(dev->enabled, false);
	mutex_unlock(&scst_config_mutex);
	if (!ret)
		*req = scst_device_ask(dev, SCST_DEVICE_DISABLED, *req);
	return ret;
}

static int scst_device_ask_active(struct scst_device *dev, struct scst_request **req)
{
	if (dev->state == SCST_DEVICE_DISABLED || dev->goal == SCST_DEVICE_DISABLED)
		return -EINVAL;
	WRITE_ONCE(dev->wanted, true);
	*req = scst_device_ask(dev, SCST_DEVICE_ACTIVE, *req);
	return 0;
}

/* One request, so that nobody is left half way who asked for it. */
static int scst_device_ask_reopened(struct scst_device *dev, struct scst_request **req)
{
	if (dev->state == SCST_DEVICE_ACTIVE)
		scst_device_begin_close(dev);
	return scst_device_ask_active(dev, req);
}

static int scst_device_ask_parked(struct scst_device *dev, struct scst_request **req)
{
	if (dev->state == SCST_DEVICE_DISABLED || dev->goal == SCST_DEVICE_DISABLED)
		return -EINVAL;
	WRITE_ONCE(dev->open_error, 0);
	WRITE_ONCE(dev->wanted, false);
	*req = scst_device_ask(dev, SCST_DEVICE_PARKED, *req);
	return 0;
}

typedef int scst_device_ask_fn(struct scst_device *dev, struct scst_request **req);

/* What to wait for, NULL: there is nothing. */
static struct scst_request *scst_device_place(struct scst_device *dev, scst_device_ask_fn *ask)
{
	struct scst_request *req = scst_request_alloc();
	unsigned int noio;
	int ret;

	if (!req)
		return ERR_PTR(-ENOMEM);
	noio = memalloc_noio_save();
	ret = mutex_lock_killable(&dev->settings_lock);
	if (!ret) {
		ret = ask(dev, &req);
		mutex_unlock(&dev->settings_lock);
	}
	memalloc_noio_restore(noio);
	if (!ret)
		return req;
	scst_request_put(req);
	return ERR_PTR(ret);
}

/* Ask and wait, in a store of the device's. */
static int scst_device_store(struct scst_device *dev, scst_device_ask_fn *ask, u64 until)
{
	struct scst_request *req = scst_device_place(dev, ask);
	int ret;

	if (IS_ERR_OR_NULL(req))
		return PTR_ERR_OR_ZERO(req);
	ret = scst_request_wait(req, &dev->group.cg_item, until);
	scst_request_put(req);
	return ret == -ETIMEDOUT ? -EINPROGRESS : ret;
}

/*
 * The backing does not answer in time, and is opened without anybody who waits.  The device is enabled as one is whose
 * backing is absent: from here on LUNs may lead here, and what the opening says is the error of a parked device.
 */
static int scst_device_register_opening(struct scst_device *dev)
{
	int ret = dev->enabled ? 0 : scst_device_register(dev);

	lockdep_assert_held(&dev->settings_lock);
	if (ret) {
		scst_request_answer(&dev->request, ret);
		WRITE_ONCE(dev->goal, SCST_DEVICE_DISABLED);
		return ret;
	}
	scst_device_event(dev, "opening");
	return 0;
}

/* The time is up: what is answered meanwhile is answered. */
static int scst_device_enable_late(struct scst_device *dev, const struct scst_request *req)
{
	unsigned int noio = memalloc_noio_save();
	int ret;

	mutex_lock(&dev->settings_lock);
	if (req->answered)
		ret = req->result;
	else
		ret = scst_device_register_opening(dev);
	mutex_unlock(&dev->settings_lock);
	memalloc_noio_restore(noio);
	return ret;
}

static int scst_device_store_enabled(struct scst_device *dev, u64 until)
{
	struct scst_request *req = scst_device_place(dev, scst_device_ask_enabled);
	int ret;

	if (IS_ERR_OR_NULL(req))
		return PTR_ERR_OR_ZERO(req);
	ret = scst_request_wait(req, &dev->group.cg_item, until);
	if (ret == -ETIMEDOUT)
		ret = scst_device_enable_late(dev, req);
	scst_request_put(req);
	return ret;
}

/* Until neither the device itself nor one of its name is on the way out. */
static int scst_device_wait_clear(struct scst_device *dev, u64 until)
{
	const struct config_item *item = &dev->group.cg_item;
	int ret = scst_wait_in_store(item, dev->changed, !scst_device_leaving(dev), until);

	return ret ?: scst_wait_in_store(item, scst_retired, !scst_retiring_name(&dev->retiree), until);
}

/*
 * The backing was busy: is that because of a device on its way out?  There is no telling before it is open, so
 * one of the same handler is waited for, but not for long.
 */
static bool scst_device_busy_wait(struct scst_device *dev, unsigned int ends, u64 until)
{
	const void *kind = dev->handler;

	if (ends == scst_retire_ends() && !scst_retiring_kind(kind, ends))
		return false;
	return !scst_wait_in_store(&dev->group.cg_item, scst_retired, !scst_retiring_kind(kind, ends), until);
}

static int scst_device_enable(struct scst_device *dev, u64 until)
{
	u64 busy_until = min(until, get_jiffies_64() + SCST_BUSY_PATIENCE);
	unsigned int ends;
	int ret;

	do {
		ret = scst_device_wait_clear(dev, until);
		/* Nothing has been asked for yet. */
		if (ret)
			return ret == -ERESTARTSYS ? ret : -EBUSY;
		ends = scst_retire_ends();
		ret = scst_device_store_enabled(dev, until);
	} while (ret == -EBUSY && scst_device_busy_wait(dev, ends, busy_until));
	return ret;
}

/**
 * scst_device_set_enabled() - register or unregister a device
 * @dev: the device
 * @on: which
 * @until: to wait until (jiffies)
 *
 * In a store of the device's; a request and a killable wait for what comes of it.  Before enabling it waits for an
 * earlier disable, and for another device on its way out that has the name; killed then, nothing was asked for.
 * A backing that can't be opened in time goes on being opened, and the device is enabled.
 *
 * Return: 0; enabling: -ENODATA, -EINVAL, -EEXIST if another device has the identity, or what opening the backing
 * said, unless that means "absent", which parks the device; -EBUSY if nothing could be asked for in time; disabling:
 * -EBUSY while LUNs point at it, -EINPROGRESS if it was to wait no longer.
 * -ERESTARTSYS if killed and -EINPROGRESS if somebody wants to remove the directory: the request goes on by
 * itself.  -ECANCELED if another request came in between.
 */
int scst_device_set_enabled(struct scst_device *dev, bool on, u64 until)
{
	return on ? scst_device_enable(dev, until) : scst_device_store(dev, scst_device_ask_disabled, until);
}

static void scst_device_lost_work(struct work_struct *work)
{
	struct scst_device *dev = container_of(work, struct scst_device, lost_work);
	unsigned int noio = memalloc_noio_save();

	mutex_lock(&dev->settings_lock);
	if (dev->state == SCST_DEVICE_ACTIVE && READ_ONCE(dev->lost)) {
		pr_warn("device %s: its backing is gone; parked until it comes back\n", dev->name);
		WRITE_ONCE(dev->open_error, -ENODEV);
		WRITE_ONCE(dev->goal, SCST_DEVICE_PARKED);
		scst_device_go(dev);
	}
	mutex_unlock(&dev->settings_lock);
	memalloc_noio_restore(noio);
	scst_device_put(dev);
}

/**
 * scst_device_lost() - the backing has gone; park the device
 * @dev: an active device, or one that is being opened
 *
 * Called by device handlers.  Any context; takes effect asynchronously.
 */
void scst_device_lost(struct scst_device *dev)
{
	WRITE_ONCE(dev->lost, true);
	scst_device_get(dev);
	if (!queue_work(scst_release_wq, &dev->lost_work))
		scst_device_put(dev);
}
EXPORT_SYMBOL_GPL(scst_device_lost);

/* --- active ---------------------------------------------------------------------------------------- */

/**
 * scst_device_set_active() - open or close the backing of an enabled device
 * @dev: the device
 * @on: which; of a device that is active: look whether its backing has grown
 * @until: to wait until (jiffies)
 *
 * In a store of the device's; a request and a killable wait for what comes of it.
 *
 * Return: 0, -EINVAL if the device is disabled, what the open said, or as scst_device_set_enabled().
 */
int scst_device_set_active(struct scst_device *dev, bool on, u64 until)
{
	if (on && READ_ONCE(dev->state) == SCST_DEVICE_ACTIVE) {
		int ret = dev->handler->capacity ? scst_device_follow(dev, until) : 0;

		/* Unless it was parked just now. */
		if (ret != -ESHUTDOWN)
			return ret;
	}
	return scst_device_store(dev, on ? scst_device_ask_active : scst_device_ask_parked, until);
}

/**
 * scst_device_reopen() - close the backing of an enabled device, if it is open, and open it
 * @dev: the device
 * @until: to wait until (jiffies)
 *
 * In a store of the device's; a request and a killable wait for what comes of it.
 *
 * Return: 0, -EINVAL if the device is disabled, what the open said, or as scst_device_set_enabled().
 */
int scst_device_reopen(struct scst_device *dev, u64 until)
{
	return scst_device_store(dev, scst_device_ask_reopened, until);
}

/* --- the end ---------------------------------------------------------------------------------------- */

static void scst_device_retire_work(struct work_struct *work)
{
	struct scst_device *dev = container_of(work, struct scst_device, retire_work);
	unsigned int noio = memalloc_noio_save();

	mutex_lock(&dev->settings_lock);
	mutex_lock(&scst_config_mutex);
	WRITE_ONCE(dev->enabled, false);
	mutex_unlock(&scst_config_mutex);
	scst_request_answer(&dev->request, -ECANCELED);
	WRITE_ONCE(dev->goal, SCST_DEVICE_DISABLED);
	scst_device_go(dev);
	mutex_unlock(&dev->settings_lock);
	memalloc_noio_restore(noio);
	scst_device_put(dev);
}

/* No LUN leads here any more, nor ever will; with its own reference, which the work drops. */
static void scst_device_retire_unused(struct scst_device *dev)
{
	lockdep_assert_held(&scst_config_mutex);
	if (dev->dead && !dev->lun_links) {
		scst_device_get(dev);
		scst_retire_begin(&dev->retiree);
		queue_work(scst_release_wq, &dev->retire_work);
	}
}

/* A LUN, wanted or published, no longer points here.  Under scst_config_mutex. */
void scst_device_unlink(struct scst_device *dev)
{
	lockdep_assert_held(&scst_config_mutex);
	dev->lun_links--;
	scst_device_retire_unused(dev);
	scst_device_put(dev);
}

/**
 * scst_device_retire() - the device's directory is gone
 * @dev: the device
 *
 * Never waits for commands or a backing: what a generation in force still shows is served until it is replaced.
 * The name is free at once.
 */
void scst_device_retire(struct scst_device *dev)
{
	mutex_lock(&dev->settings_lock);
	dev->retired = true;
	scst_sysfs_remove(&dev->classdev);
	mutex_unlock(&dev->settings_lock);
	mutex_lock(&scst_config_mutex);
	list_del(&dev->entry);
	dev->dead = true;
	scst_device_retire_unused(dev);
	mutex_unlock(&scst_config_mutex);
}

/* --- the beginning ------------------------------------------------------------------------------------ */

/* Under scst_config_mutex. */
bool scst_device_name_taken(const char *name)
{
	const struct scst_device *dev;

	lockdep_assert_held(&scst_config_mutex);
	list_for_each_entry(dev, &scst_devices, entry)
		if (!strcmp(dev->name, name))
			return true;
	return false;
}

#define SCST_DEVICES_MORE	16	/* that may come while memory is allocated */

static size_t scst_devices_count(void)
{
	const struct scst_device *dev;
	size_t nr = 0;

	mutex_lock(&scst_config_mutex);
	list_for_each_entry(dev, &scst_devices, entry)
		nr++;
	mutex_unlock(&scst_config_mutex);
	return nr;
}

/* What scst_devices_hold() has given. */
void scst_devices_put(struct scst_device **devs, size_t nr)
{
	while (nr)
		scst_device_put(devs[--nr]);
	kvfree(devs);
}

/**
 * scst_devices_hold() - take a reference to every device
 * @devs: where to put the array of them, in the order in which they were made; see scst_devices_put()
 *
 * Process context, takes scst_config_mutex.
 *
 * Return: how many, -ENOMEM, or -EAGAIN if there are more all of a sudden.
 */
int scst_devices_hold(struct scst_device ***devs)
{
	size_t room = scst_devices_count() + SCST_DEVICES_MORE, held = 0;
	struct scst_device *dev;
	bool more = false;

	*devs = kvmalloc_array(room, sizeof(**devs), GFP_KERNEL);
	if (!*devs)
		return -ENOMEM;
	mutex_lock(&scst_config_mutex);
	list_for_each_entry(dev, &scst_devices, entry) {
		more = held == room;
		if (more)
			break;
		scst_device_get(dev);
		(*devs)[held++] = dev;
	}
	mutex_unlock(&scst_config_mutex);
	if (!more)
		return held;
	scst_devices_put(*devs, held);
	*devs = NULL;
	return -EAGAIN;
}

/* Fields of a new, zeroed device; active_ref is made by the caller, who can fail. */
void scst_device_setup(struct scst_device *dev, const struct scst_handler *handler, const char *name)
{
	__module_get(handler->owner);
	dev->handler = handler;
	dev->ops = scst_ops_of_type(handler->device_type);
	strscpy(dev->name, name, sizeof(dev->name));
	dev->rotational = -1;
	dev->state = SCST_DEVICE_DISABLED;
	dev->goal = SCST_DEVICE_DISABLED;
	dev->gates = BIT(SCST_GATE_PARKED);
	kref_init(&dev->kref);
	mutex_init(&dev->settings_lock);
	spin_lock_init(&dev->nexus_lock);
	INIT_LIST_HEAD(&dev->nexuses);
	INIT_LIST_HEAD(&dev->entry);
	INIT_LIST_HEAD(&dev->retiree.entry);
	dev->retiree.kind = handler;
	dev->retiree.name = dev->name;
	init_waitqueue_head(&dev->changed);
	init_completion(&dev->drained);
	complete_all(&dev->drained);
	dev->open_job.fn = scst_device_open_job;
	dev->close_job.fn = scst_device_close_job;
	INIT_WORK(&dev->lost_work, scst_device_lost_work);
	INIT_WORK(&dev->retire_work, scst_device_retire_work);
	INIT_WORK(&dev->free_work, scst_device_free_work);
	scst_threads_init(&dev->threads, dev->name, SCST_DEVICE_THREADS);
	scst_threads_near(&dev->threads);
	scst_line_init(&dev->writes);
	scst_space_setup(dev);
	scst_tokens_setup(dev);
	scst_recorder_setup(&dev->recorder);
	scst_turn_setup(dev);
	scst_buffers_setup(dev);
	scst_pr_setup(dev);
	atomic_inc(&scst_objects[SCST_OBJ_DEVICES]);
}

int scst_device_init_ref(struct scst_device *dev)
{
	return percpu_ref_init(&dev->active_ref, scst_device_drained,
			       PERCPU_REF_INIT_DEAD | PERCPU_REF_ALLOW_REINIT, GFP_KERNEL);
}
