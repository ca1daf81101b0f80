// SPDX-License-Identifier: GPL-2.0-only
/*
 * The space that thin devices share with others: how much there is (log page 0Ch), and that it becomes scarce (unit attention 38h/07h;
 * the threshold is in mode page 1Ch/02h).
 *
 * Space is used up by others, too, so a device with a threshold looks once a second while it is active.  It looks on its own threads,
 * where it may hang, and looks again a second after it has got its answer.  Counts are in threshold sets: groups of blocks that are
 * larger than what the backing gives, and few enough for the 32 bits of a count.
 */
#include "commands.h"
#include "mode-pages.h"

#define SPACE_LOOK		HZ
#define SPACE_REARM		16	/* there has to be more than the threshold by a fraction, or who is near it is told each second */
#define SPACE_SET_SHIFT		20	/* log2 of the bytes of a threshold set, unless the device is larger than its counts */

#define LOG_PARAM		8
#define LOG_AVAILABLE		0x0001
#define LOG_USED		0x0002
#define LOG_CONTROL		0x23	/* it does not save itself; a list in binary form */
#define LOG_DEDICATED		1	/* SCOPE: of this logical unit only */
#define LOG_SHARED		2

static_assert(2 * LOG_PARAM + 2 * 4 == SCST_SPACE_LOG_LEN);

/**
 * scst_space_exponent() - log2 of the blocks in a threshold set
 * @dev: the device
 *
 * Any context.  Return: 0 if nobody knows its space, so that there are no thresholds.
 */
u8 scst_space_exponent(const struct scst_device *dev)
{
	int bits = fls64(READ_ONCE(dev->geo.nblocks));

	if (!dev->thin || !dev->handler->space)
		return 0;
	return max(SPACE_SET_SHIFT - dev->geo.block_shift, bits - 32);
}

static u32 scst_space_sets(const struct scst_device *dev, u64 bytes)
{
	return min_t(u64, bytes >> (dev->geo.block_shift + scst_space_exponent(dev)), U32_MAX);
}

/* In threshold sets; 0: there is none.  A part of a set counts as one, or it would be none. */
u32 scst_space_threshold(const struct scst_device *dev)
{
	u64 bytes = READ_ONCE(dev->space_threshold);

	if (!bytes || !scst_space_exponent(dev))
		return 0;
	return max(scst_space_sets(dev, bytes), 1U);
}

/* --- what initiators ask ----------------------------------------------------------------------- */

static void scst_space_param(const struct scst_device *dev, u8 *param, u16 code, u64 bytes, u8 scope)
{
	put_unaligned_be16(code, param);
	param[2] = LOG_CONTROL;
	param[3] = LOG_PARAM;
	put_unaligned_be32(scst_space_sets(dev, bytes), param + 4);
	param[8] = scope;
}

/**
 * scst_space_log() - parameters of the Logical Block Provisioning log page
 * @dev: a device with scst_space_exponent()
 * @params: SCST_SPACE_LOG_LEN bytes, zeroed
 *
 * On the device's own threads, may sleep and hang.
 *
 * Return: bytes of them; none while the backing is not open or does not say.
 */
unsigned int scst_space_log(struct scst_device *dev, u8 *params)
{
	struct scst_space space;
	int ret;

	if (!percpu_ref_tryget_live(&dev->active_ref))
		return 0;
	ret = dev->handler->space(dev, &space);
	if (!ret) {
		scst_space_param(dev, params, LOG_AVAILABLE, space.available, LOG_SHARED);
		scst_space_param(dev, params + SCST_SPACE_LOG_LEN / 2, LOG_USED, space.used, LOG_DEDICATED);
	}
	percpu_ref_put(&dev->active_ref);
	return ret ? 0 : SCST_SPACE_LOG_LEN;
}

/* --- the threshold ------------------------------------------------------------------------------- */

static void scst_space_tell(struct scst_device *dev, bool scarce)
{
	WRITE_ONCE(dev->space_scarce, scarce);
	if (scarce) {
		scst_ua_device(dev, SCST_UA_SPACE_SCARCE, NULL);
		scst_device_for_each_nexus(dev, scst_device_tell_driver, NULL);
	}
	scst_device_event(dev, scarce ? "space-scarce" : "space-enough");
}

/* Initiators are told once for each time that it becomes scarce. */
static void scst_space_judge(struct scst_device *dev, u64 available)
{
	u64 threshold = dev->space_threshold;

	lockdep_assert_held(&dev->settings_lock);
	if (dev->state != SCST_DEVICE_ACTIVE)
		return;
	if (!dev->space_scarce && available < threshold)
		scst_space_tell(dev, true);
	else if (dev->space_scarce && available >= threshold && available - threshold >= threshold / SPACE_REARM)
		scst_space_tell(dev, false);
}

static void scst_space_job(struct scst_job *job)
{
	struct scst_device *dev = container_of(job, struct scst_device, space_job);
	struct scst_space space;

	if (!dev->handler->space(dev, &space)) {
		mutex_lock(&dev->settings_lock);
		scst_space_judge(dev, space.available);
		mutex_unlock(&dev->settings_lock);
	}
	/* Before the device can go: it ends the work when nothing of it is active any more. */
	clear_bit_unlock(0, &dev->space_looking);
	queue_delayed_work(scst_release_wq, &dev->space_work, SPACE_LOOK);
	percpu_ref_put(&dev->active_ref);
}

static void scst_space_work(struct work_struct *work)
{
	struct scst_device *dev = container_of(to_delayed_work(work), struct scst_device, space_work);

	if (!READ_ONCE(dev->space_threshold) || test_and_set_bit_lock(0, &dev->space_looking))
		return;
	if (percpu_ref_tryget_live(&dev->active_ref))
		scst_device_defer(dev, &dev->space_job, scst_space_job);
	else
		clear_bit_unlock(0, &dev->space_looking);
}

/**
 * scst_space_watch() - look from now on, if there is a threshold
 * @dev: the device; active, or there is nothing to look at
 *
 * Any context.  It ends by itself when the device is not active any more.
 */
void scst_space_watch(struct scst_device *dev)
{
	if (scst_space_exponent(dev) && READ_ONCE(dev->space_threshold))
		mod_delayed_work(scst_release_wq, &dev->space_work, 0);
}

/* Under settings_lock.  Whoever has been told of another threshold is told of this one. */
void scst_space_set_threshold(struct scst_device *dev, u64 bytes)
{
	lockdep_assert_held(&dev->settings_lock);
	if (bytes == dev->space_threshold)
		return;
	WRITE_ONCE(dev->space_threshold, bytes);
	WRITE_ONCE(dev->space_scarce, false);
	if (dev->state != SCST_DEVICE_ACTIVE || !scst_space_exponent(dev))
		return;
	scst_ua_device(dev, SCST_UA_MODE_CHANGED, NULL);
	scst_space_watch(dev);
}

void scst_space_setup(struct scst_device *dev)
{
	INIT_DELAYED_WORK(&dev->space_work, scst_space_work);
}

/* The last reference to the device is gone.  May sleep. */
void scst_space_stop(struct scst_device *dev)
{
	might_sleep();
	cancel_delayed_work_sync(&dev->space_work);
	WARN_ON_ONCE(test_bit(0, &dev->space_looking));
}
