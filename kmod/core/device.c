// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices: enable, activate, park, retire.
 *
 * State changes are under dev->lock; those from and to DISABLED under scst_config_mutex as well,
 * so that a LUN can't be linked to a device that is going.  dev->active_ref is live only while the
 * device is active; parking kills it, and its last command has the backing closed.
 *
 * Who holds dev->kref: the configfs item, each published LUN, each nexus, queued work.
 */
#include "core.h"
#include <linux/sched.h>
#include <linux/wait.h>

LIST_HEAD(scst_devices);
/*
 * What is on its way out waits on the first queue, for work on the second, which waits for nothing: on one queue,
 * which runs so many at a time, those who wait could keep what they wait for from running.
 */
struct workqueue_struct *scst_retire_wq;
struct workqueue_struct *scst_release_wq;

/*
 * Devices and targets whose directory is gone, while their backing, sessions and class device are on the way
 * out.  Whoever enables one of the same name, or on the same backing, waits for that.
 */
static atomic_t scst_retiring;
static DECLARE_WAIT_QUEUE_HEAD(scst_retired);

void scst_retire_begin(void)
{
	atomic_inc(&scst_retiring);
}

void scst_retire_end(void)
{
	if (atomic_dec_and_test(&scst_retiring))
		wake_up_all(&scst_retired);
}

/* Until all that is on its way out now is gone. */
void scst_retire_flush(void)
{
	flush_workqueue(scst_retire_wq);
	flush_workqueue(scst_release_wq);
}

/* Return: 0, or -ERESTARTSYS if killed. */
int scst_retire_wait(void)
{
	return wait_event_killable(scst_retired, !atomic_read(&scst_retiring));
}

static const char *const scst_device_states[] = {
	[SCST_DEVICE_DISABLED]	= "disabled",
	[SCST_DEVICE_PARKED]	= "parked",
	[SCST_DEVICE_ACTIVE]	= "active",
};

const char *scst_device_state_name(const struct scst_device *dev)
{
	return scst_device_states[READ_ONCE(dev->state)];
}

/* In force: 0 until the backing was open once. */
u32 scst_device_block_size(const struct scst_device *dev)
{
	return dev->block_shift ? 1U << dev->block_shift : 0;
}

static void scst_device_event(struct scst_device *dev, const char *event)
{
	scst_sysfs_event(dev->classdev, event, scst_device_state_name(dev));
}

/* --- references ------------------------------------------------------------------------------- */

static void scst_device_free(struct kref *kref)
{
	struct scst_device *dev = container_of(kref, struct scst_device, kref);
	const struct scst_handler *handler = dev->handler;

	if (handler->free)
		handler->free(dev);
	if (dev->wq)
		destroy_workqueue(dev->wq);
	percpu_ref_exit(&dev->active_ref);
	kfree(dev);
	module_put(handler->owner);
	atomic_dec(&scst_objects[SCST_OBJ_DEVICES]);
}

void scst_device_get(struct scst_device *dev)
{
	kref_get(&dev->kref);
}

void scst_device_put(struct scst_device *dev)
{
	kref_put(&dev->kref, scst_device_free);
}

/* --- the backing -------------------------------------------------------------------------------- */

/* Last command out: the backing may be closed, unless it was closed because there was none. */
static void scst_device_drained(struct percpu_ref *ref)
{
	struct scst_device *dev = container_of(ref, struct scst_device, active_ref);

	queue_work(scst_release_wq, &dev->close_work);
}

static void scst_device_close_work(struct work_struct *work)
{
	struct scst_device *dev = container_of(work, struct scst_device, close_work);

	if (!dev->closed)
		dev->handler->close(dev);
	dev->closed = false;
	complete_all(&dev->drained);
	scst_device_put(dev);
}

/*
 * Under dev->lock, dev is active, or was and is claimed as disabled.  The backing is closed when dev->drained
 * completes.
 */
static void scst_device_park(struct scst_device *dev, int error)
{
	if (dev->state != SCST_DEVICE_DISABLED)
		WRITE_ONCE(dev->state, SCST_DEVICE_PARKED);
	dev->open_error = error;
	reinit_completion(&dev->drained);
	scst_device_get(dev);
	percpu_ref_kill(&dev->active_ref);
	scst_device_event(dev, "parked");
}

static bool scst_device_unused(struct scst_device *dev)
{
	bool unused;

	spin_lock_bh(&dev->nexus_lock);
	unused = list_empty(&dev->nexuses);
	spin_unlock_bh(&dev->nexus_lock);
	return unused;
}

/*
 * Under dev->lock, dev is active and can't get LUNs.  Without a nexus there is no command, so that the backing
 * need not wait for the grace period in which active_ref dies.
 */
static void scst_device_park_unlinked(struct scst_device *dev)
{
	bool unused = scst_device_unused(dev);

	dev->closed = unused;
	scst_device_park(dev, 0);
	if (unused)
		dev->handler->close(dev);
}

static bool scst_errno_is_absent(int error)
{
	return error == -ENOENT || error == -ENXIO || error == -ENODEV ||
	       error == -ENOTDIR || error == -ENOMEDIUM;
}

/* A unit that comes back with other blocks would be read wrongly by everybody who knows it. */
static int scst_device_check_backing(struct scst_device *dev, u8 old_shift)
{
	if (!dev->nblocks)
		return -EINVAL;
	if (old_shift && dev->block_shift != old_shift) {
		pr_warn("device %s: its backing has %u-byte blocks now, %u before; not activated\n",
			dev->name, 1U << dev->block_shift, 1U << old_shift);
		return -EINVAL;
	}
	return 0;
}

/* Under dev->lock, dev is parked or being enabled, and no earlier backing is open. */
static int scst_device_open(struct scst_device *dev)
{
	u8 old_shift = dev->state == SCST_DEVICE_DISABLED ? 0 : dev->block_shift;
	u64 old_blocks = dev->nblocks;
	int ret;

	/* What was said of the backing before does not hold for this one. */
	WRITE_ONCE(dev->lost, false);
	ret = dev->handler->open(dev);
	if (!ret) {
		ret = scst_device_check_backing(dev, old_shift);
		if (ret)
			dev->handler->close(dev);
	}
	dev->open_error = ret;
	if (ret) {
		dev->nblocks = old_blocks;
		dev->block_shift = old_shift;
		return ret;
	}
	dev->size = dev->nblocks << dev->block_shift;
	if (!old_shift)
		dev->wce = dev->volatile_cache;
	if (dev->state == SCST_DEVICE_PARKED)
		scst_ua_device(dev, SCST_UA_READY, NULL);
	if (old_shift && old_blocks != dev->nblocks)
		scst_ua_device(dev, SCST_UA_CAPACITY_CHANGED, NULL);
	percpu_ref_reinit(&dev->active_ref);
	return 0;
}

/* --- enabled -------------------------------------------------------------------------------------- */

static void scst_device_set_state(struct scst_device *dev, enum scst_device_state state)
{
	mutex_lock(&scst_config_mutex);
	WRITE_ONCE(dev->state, state);
	mutex_unlock(&scst_config_mutex);
}

/*
 * For as long as the device lives.  On the submitter's CPU, where a worker is woken without an interrupt to
 * another.  Without a rescuer, as in the loop driver: file systems wait in writes for work that has none either.
 */
static int scst_device_alloc_wq(struct scst_device *dev)
{
	if (dev->wq || dev->handler->flags & SCST_HANDLER_DIRECT)
		return 0;
	dev->wq = alloc_workqueue("scst/%s", SCST_WQ_PERCPU, 0, dev->name);
	return dev->wq ? 0 : -ENOMEM;
}

/* Under dev->lock. */
static int scst_device_enable(struct scst_device *dev)
{
	int ret = dev->handler->check(dev);

	ret = ret ?: wait_for_completion_killable(&dev->drained);
	ret = ret ?: scst_device_alloc_wq(dev);
	if (ret)
		return ret;
	dev->d_sense = false;
	dev->swp = false;
	dev->stopped = false;
	dev->nblocks = 0;
	dev->block_shift = 0;
	ret = scst_device_open(dev);
	if (ret && !scst_errno_is_absent(ret))
		return ret;
	scst_device_set_state(dev, ret ? SCST_DEVICE_PARKED : SCST_DEVICE_ACTIVE);
	ret = scst_sysfs_add_device(dev);
	if (!ret)
		return 0;
	if (dev->state == SCST_DEVICE_ACTIVE)
		scst_device_park(dev, 0);
	wait_for_completion_state(&dev->drained, TASK_IDLE);
	scst_device_set_state(dev, SCST_DEVICE_DISABLED);
	return ret;
}

/* Under dev->lock.  Claims the DISABLED state first, so that no LUN can be linked while we wait. */
static int scst_device_disable(struct scst_device *dev)
{
	enum scst_device_state state;
	int ret = 0;

	mutex_lock(&scst_config_mutex);
	state = dev->state;
	if (dev->lun_links)
		ret = -EBUSY;
	else
		WRITE_ONCE(dev->state, SCST_DEVICE_DISABLED);
	mutex_unlock(&scst_config_mutex);
	if (ret)
		return ret;
	if (state == SCST_DEVICE_ACTIVE)
		scst_device_park_unlinked(dev);
	if (!dev->closed)
		ret = wait_for_completion_killable(&dev->drained);
	scst_device_set_state(dev, ret ? SCST_DEVICE_PARKED : SCST_DEVICE_DISABLED);
	if (!ret)
		scst_sysfs_remove(&dev->classdev);
	return ret;
}

/**
 * scst_device_set_enabled() - register or unregister a device
 * @dev: the device
 * @on: which
 *
 * Process context, sleeps: opens the backing, or waits for it to be closed.
 *
 * Return: 0; enabling: -ENODATA, -EINVAL or what opening the backing said, unless that means "absent",
 * which parks the device; disabling: -EBUSY while LUNs point at it, -ERESTARTSYS if killed.
 */
int scst_device_set_enabled(struct scst_device *dev, bool on)
{
	int ret = 0;

	if (on)
		ret = scst_retire_wait();
	ret = ret ?: mutex_lock_killable(&dev->lock);
	if (ret)
		return ret;
	if (on != (dev->state != SCST_DEVICE_DISABLED))
		ret = on ? scst_device_enable(dev) : scst_device_disable(dev);
	mutex_unlock(&dev->lock);
	return ret;
}

/* --- active ---------------------------------------------------------------------------------------- */

/* Who looked while the device was parked may have found no use for the LUN. */
static void scst_device_notify(struct scst_nexus *nexus, void *unused)
{
	const struct scst_target_driver *drv = nexus->sess->tgt->driver;

	if (drv->luns_changed)
		drv->luns_changed(nexus->sess);
}

/* Under dev->lock. */
static int scst_device_activate(struct scst_device *dev)
{
	int ret = wait_for_completion_killable(&dev->drained);

	ret = ret ?: scst_device_open(dev);
	if (ret)
		return ret;
	WRITE_ONCE(dev->state, SCST_DEVICE_ACTIVE);
	scst_device_for_each_nexus(dev, scst_device_notify, NULL);
	scst_device_event(dev, "active");
	return 0;
}

/**
 * scst_device_set_active() - open or close the backing of an enabled device
 * @dev: the device
 * @on: which
 *
 * Process context, sleeps.  Closing waits for running commands; killed while waiting it leaves the
 * device parked, and the backing is closed when the last of them ends.
 *
 * Return: 0, -EINVAL if the device is disabled, -ERESTARTSYS if killed, or what the open said.
 */
int scst_device_set_active(struct scst_device *dev, bool on)
{
	int ret = mutex_lock_killable(&dev->lock);

	if (ret)
		return ret;
	if (dev->state == SCST_DEVICE_DISABLED) {
		ret = -EINVAL;
	} else if (on && dev->state == SCST_DEVICE_PARKED) {
		ret = scst_device_activate(dev);
	} else if (!on) {
		if (dev->state == SCST_DEVICE_ACTIVE)
			scst_device_park(dev, 0);
		dev->open_error = 0;
		ret = wait_for_completion_killable(&dev->drained);
	}
	mutex_unlock(&dev->lock);
	return ret;
}

static void scst_device_lost_work(struct work_struct *work)
{
	struct scst_device *dev = container_of(work, struct scst_device, lost_work);

	mutex_lock(&dev->lock);
	if (dev->state == SCST_DEVICE_ACTIVE && READ_ONCE(dev->lost)) {
		pr_warn("device %s: its backing is gone; parked until it comes back\n", dev->name);
		scst_device_park(dev, -ENODEV);
	}
	mutex_unlock(&dev->lock);
	scst_device_put(dev);
}

/**
 * scst_device_lost() - the backing has gone; park the device
 * @dev: an active device
 *
 * Called by device handlers.  Any context; takes effect asynchronously.
 */
void scst_device_lost(struct scst_device *dev)
{
	WRITE_ONCE(dev->lost, true);
	scst_device_get(dev);
	if (!queue_work(scst_retire_wq, &dev->lost_work))
		scst_device_put(dev);
}
EXPORT_SYMBOL_GPL(scst_device_lost);

/* --- the end ---------------------------------------------------------------------------------------- */

static void scst_device_retire_work(struct work_struct *work)
{
	struct scst_device *dev = container_of(work, struct scst_device, retire_work);

	mutex_lock(&dev->lock);
	if (dev->state == SCST_DEVICE_ACTIVE)
		scst_device_park(dev, 0);
	wait_for_completion_state(&dev->drained, TASK_IDLE);
	scst_device_set_state(dev, SCST_DEVICE_DISABLED);
	mutex_unlock(&dev->lock);
	scst_device_put(dev);
	scst_retire_end();
}

/* Under scst_config_mutex; with its own reference, which the work drops. */
static void scst_device_retire_unused(struct scst_device *dev)
{
	if (dev->dead && !dev->lun_links) {
		scst_device_get(dev);
		scst_retire_begin();
		queue_work(scst_retire_wq, &dev->retire_work);
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
 * Never waits for commands: what a generation in force still shows is served until it is replaced.
 */
void scst_device_retire(struct scst_device *dev)
{
	mutex_lock(&dev->lock);
	scst_sysfs_remove(&dev->classdev);
	mutex_unlock(&dev->lock);
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

	list_for_each_entry(dev, &scst_devices, entry)
		if (!strcmp(dev->name, name))
			return true;
	return false;
}

/* Fields of a new, zeroed device; active_ref is made by the caller, who can fail. */
void scst_device_setup(struct scst_device *dev, const struct scst_handler *handler, const char *name)
{
	__module_get(handler->owner);
	dev->handler = handler;
	strscpy(dev->name, name, sizeof(dev->name));
	kref_init(&dev->kref);
	mutex_init(&dev->lock);
	spin_lock_init(&dev->nexus_lock);
	INIT_LIST_HEAD(&dev->nexuses);
	INIT_LIST_HEAD(&dev->entry);
	init_completion(&dev->drained);
	complete_all(&dev->drained);
	INIT_WORK(&dev->close_work, scst_device_close_work);
	INIT_WORK(&dev->lost_work, scst_device_lost_work);
	INIT_WORK(&dev->retire_work, scst_device_retire_work);
	atomic_inc(&scst_objects[SCST_OBJ_DEVICES]);
}

int scst_device_init_ref(struct scst_device *dev)
{
	return percpu_ref_init(&dev->active_ref, scst_device_drained,
			       PERCPU_REF_INIT_DEAD | PERCPU_REF_ALLOW_REINIT, GFP_KERNEL);
}
