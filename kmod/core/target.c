// SPDX-License-Identifier: GPL-2.0-only
/*
 * Targets: identity, enable and disable, end.
 *
 * Who holds tgt->kref: the configfs item, each session.  tgt->enable_lock serialises enabling;
 * the driver's enable() and disable() may sleep under it and call into sessions.
 */
#include "core.h"
#include <linux/idr.h>

static DEFINE_IDA(scst_target_ids);

const char *scst_target_state_name(const struct scst_target *tgt)
{
	return READ_ONCE(tgt->enabled) ? "enabled" : "disabled";
}

static void scst_target_free(struct kref *kref)
{
	struct scst_target *tgt = container_of(kref, struct scst_target, kref);
	const struct scst_target_driver *drv = tgt->driver;

	if (drv->free)
		drv->free(tgt);
	if (!tgt->retired)
		ida_free(&scst_target_ids, tgt->rel_tgt_id);
	scst_target_dirs_free(tgt);
	kfree(tgt);
	module_put(drv->owner);
	atomic_dec(&scst_objects[SCST_OBJ_TARGETS]);
}

void scst_target_get(struct scst_target *tgt)
{
	kref_get(&tgt->kref);
}
EXPORT_SYMBOL_GPL(scst_target_get);

void scst_target_put(struct scst_target *tgt)
{
	kref_put(&tgt->kref, scst_target_free);
}
EXPORT_SYMBOL_GPL(scst_target_put);

/* Under tgt->enable_lock. */
static int scst_target_enable(struct scst_target *tgt)
{
	int ret = scst_sysfs_add_target(tgt);

	if (ret)
		return ret;
	ret = tgt->driver->enable(tgt);
	if (ret) {
		scst_sysfs_remove(&tgt->classdev);
		return ret;
	}
	WRITE_ONCE(tgt->enabled, true);
	scst_sysfs_event(tgt->classdev, "enabled", scst_target_state_name(tgt));
	return 0;
}

/* Under tgt->enable_lock. */
static void scst_target_disable(struct scst_target *tgt)
{
	WRITE_ONCE(tgt->enabled, false);
	tgt->driver->disable(tgt);
	scst_sysfs_remove(&tgt->classdev);
}

/**
 * scst_target_set_enabled() - open a target to initiators, or close it
 * @tgt: the target
 * @on: which
 *
 * Process context, sleeps.  Return: 0, -ERESTARTSYS if killed while another change runs, or what the
 * driver's enable() said.
 */
int scst_target_set_enabled(struct scst_target *tgt, bool on)
{
	int ret = on ? scst_retire_wait() : 0;

	ret = ret ?: mutex_lock_killable(&tgt->enable_lock);
	if (ret)
		return ret;
	if (on && !tgt->enabled)
		ret = scst_target_enable(tgt);
	else if (!on && tgt->enabled)
		scst_target_disable(tgt);
	mutex_unlock(&tgt->enable_lock);
	return ret;
}

/**
 * scst_target_set_rel_id() - choose the relative target port identifier (SPC-4 3.1.120)
 * @tgt: the target
 * @id: 1 to 65535
 *
 * Return: 0, -EBUSY while enabled, -EEXIST if another target has it, -ENOMEM.
 */
int scst_target_set_rel_id(struct scst_target *tgt, u16 id)
{
	int ret = 0;

	mutex_lock(&tgt->enable_lock);
	if (tgt->enabled) {
		ret = -EBUSY;
	} else if (id != tgt->rel_tgt_id) {
		ret = ida_alloc_range(&scst_target_ids, id, id, GFP_KERNEL);
		if (ret == id) {
			ida_free(&scst_target_ids, tgt->rel_tgt_id);
			tgt->rel_tgt_id = id;
			ret = 0;
		} else if (ret == -ENOSPC) {
			ret = -EEXIST;
		}
	}
	mutex_unlock(&tgt->enable_lock);
	return ret;
}

static void scst_target_retire_work(struct work_struct *work)
{
	struct scst_target *tgt = container_of(work, struct scst_target, retire_work);

	mutex_lock(&tgt->enable_lock);
	if (tgt->enabled)
		scst_target_disable(tgt);
	mutex_unlock(&tgt->enable_lock);
	mutex_lock(&scst_config_mutex);
	list_del(&tgt->entry);
	scst_access_free(tgt);
	mutex_unlock(&scst_config_mutex);
	scst_target_put(tgt);
	scst_retire_end();
}

/* The target's directory is gone, and its identifier free for the next one.  Never waits. */
void scst_target_retire(struct scst_target *tgt)
{
	tgt->retired = true;
	ida_free(&scst_target_ids, tgt->rel_tgt_id);
	scst_target_get(tgt);
	scst_retire_begin();
	queue_work(scst_retire_wq, &tgt->retire_work);
}

/* Fields of a new, zeroed target. */
int scst_target_setup(struct scst_target *tgt, const struct scst_target_driver *drv, const char *name)
{
	int id = ida_alloc_range(&scst_target_ids, 1, U16_MAX, GFP_KERNEL);

	if (id < 0)
		return id;
	__module_get(drv->owner);
	tgt->driver = drv;
	tgt->rel_tgt_id = id;
	strscpy(tgt->name, name, sizeof(tgt->name));
	kref_init(&tgt->kref);
	mutex_init(&tgt->enable_lock);
	INIT_LIST_HEAD(&tgt->entry);
	INIT_LIST_HEAD(&tgt->sessions);
	INIT_LIST_HEAD(&tgt->acl_groups);
	INIT_WORK(&tgt->retire_work, scst_target_retire_work);
	atomic_inc(&scst_objects[SCST_OBJ_TARGETS]);
	return 0;
}
