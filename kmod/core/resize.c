// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much of its backing a device serves, and growth of a backing that is open.
 *
 * The backing is looked at on the device's own threads, where it may hang; who asked waits for a request, as for the states
 * (device.c).
 */
#include "commands.h"

/* A look at the capacity of an open backing. */
struct scst_resize {
	struct scst_job job;
	struct scst_device *dev;
	struct scst_request *req;
	u64 size;		/* to be served, 0: all there is */
	bool grow;		/* no size was asked for: take what has grown */
};

/* Under settings_lock. */
static int scst_resize_apply(struct scst_device *dev, const struct scst_resize *resize, u64 capacity)
{
	u64 all = capacity >> dev->geo.block_shift, nblocks = resize->size >> dev->geo.block_shift;

	lockdep_assert_held(&dev->settings_lock);
	if (resize->grow && (dev->size_asked || all <= dev->geo.nblocks))
		return 0;
	if (resize->size && (!nblocks || nblocks << dev->geo.block_shift != resize->size))
		return -EINVAL;
	if (nblocks > all)
		return -ERANGE;
	nblocks = nblocks ?: all;
	if (!nblocks)
		return -EINVAL;
	if (!resize->grow)
		dev->size_asked = resize->size;
	if (nblocks == dev->geo.nblocks)
		return 0;
	WRITE_ONCE(dev->geo.nblocks, nblocks);
	scst_tokens_end(dev);
	scst_ua_device(dev, SCST_UA_CAPACITY_CHANGED, NULL);
	scst_device_for_each_nexus(dev, scst_device_tell_driver, NULL);
	scst_device_event(dev, "resized");
	return 0;
}

static int scst_resize_run(struct scst_device *dev, const struct scst_resize *resize)
{
	s64 capacity;
	int ret;

	/* As a command: the backing stays open meanwhile. */
	if (!percpu_ref_tryget_live(&dev->active_ref))
		return -ESHUTDOWN;
	capacity = dev->handler->capacity(dev);
	mutex_lock(&dev->settings_lock);
	ret = capacity < 0 ? capacity : scst_resize_apply(dev, resize, capacity);
	mutex_unlock(&dev->settings_lock);
	percpu_ref_put(&dev->active_ref);
	return ret;
}

static void scst_resize_job(struct scst_job *job)
{
	struct scst_resize *resize = container_of(job, struct scst_resize, job);
	struct scst_device *dev = resize->dev;

	scst_request_answer(&resize->req, scst_resize_run(dev, resize));
	kfree(resize);
	scst_device_put(dev);
}

static int scst_device_look(struct scst_device *dev, u64 size, bool grow, u64 until)
{
	struct scst_resize *resize = kzalloc(sizeof(*resize), GFP_KERNEL);
	struct scst_request *req = scst_request_alloc();
	int ret;

	if (!resize || !req) {
		kfree(resize);
		kfree(req);
		return -ENOMEM;
	}
	resize->job.fn = scst_resize_job;
	resize->dev = dev;
	resize->size = size;
	resize->grow = grow;
	resize->req = scst_request_get(req);
	scst_device_get(dev);
	scst_threads_add(&dev->threads, &resize->job);
	ret = scst_request_wait(req, &dev->group.cg_item, until);
	scst_request_put(req);
	return ret == -ETIMEDOUT ? -EINPROGRESS : ret;
}

/**
 * scst_device_follow() - serve what an open backing has grown by, unless a size was asked for
 * @dev: the device; its handler has capacity()
 * @until: to wait until (jiffies)
 *
 * In a store of the device's; killable.
 *
 * Return: 0; -ESHUTDOWN: it is not open; or as scst_device_set_enabled().
 */
int scst_device_follow(struct scst_device *dev, u64 until)
{
	return scst_device_look(dev, 0, true, until);
}

/* While disabled it is a setting, if it is one at all; while parked it is what to serve next. */
static int scst_device_resize_closed(struct scst_device *dev, u64 size, bool *active)
{
	int ret = mutex_lock_killable(&dev->settings_lock);

	if (ret)
		return ret;
	*active = dev->state == SCST_DEVICE_ACTIVE;
	if (dev->state == SCST_DEVICE_DISABLED) {
		if (dev->handler->flags & SCST_HANDLER_SIZE_RW)
			WRITE_ONCE(dev->size, size);
		else
			ret = -EINVAL;
	} else if (!dev->handler->capacity) {
		ret = -EBUSY;
	} else if (dev->state == SCST_DEVICE_PARKED) {
		dev->size_asked = size;
		dev->shrink_ok = true;
	} else if (!*active) {
		ret = -EBUSY;
	}
	mutex_unlock(&dev->settings_lock);
	return ret;
}

/**
 * scst_device_resize() - choose how much of the backing is served
 * @dev: the device
 * @size: bytes, a multiple of the block size; 0: all there is
 * @until: to wait until (jiffies)
 *
 * In a store of the device's; killable.  Active, it holds from now on; parked, from the next activation, and a backing
 * that has become smaller is accepted then.  Forgotten when the device is disabled.  Disabled, it is the
 * setting of handlers whose size is one.
 *
 * Return: 0; -ERANGE: the backing has less; -EINVAL: no multiple, or no setting; -EBUSY: enabled, and the size
 * can't change, or just being opened or closed; or as scst_device_set_enabled().
 */
int scst_device_resize(struct scst_device *dev, u64 size, u64 until)
{
	bool active = false;
	int ret = scst_device_resize_closed(dev, size, &active);

	if (!ret && active)
		ret = scst_device_look(dev, size, false, until);
	return ret == -ESHUTDOWN ? -EBUSY : ret;
}
