// SPDX-License-Identifier: GPL-2.0-only
/*
 * targets/DRIVER/NAME and drivers/DRIVER in configfs.  User interface only: enabling and lifetimes are in target.c, what is
 * below luns/ and groups/ in configfs-access.c.
 */
#include "core.h"

/* A driver's directory, and the item types made from its attributes. */
struct scst_driver_dir {
	struct config_group group;
	const struct scst_target_driver *driver;
	struct config_item_type type;
	struct config_item_type target_type;
	struct list_head entry;
	struct configfs_attribute *attrs[];
};

static LIST_HEAD(scst_driver_dirs);
static DEFINE_MUTEX(scst_drivers_lock);		/* the list of drivers */

static struct scst_target *scst_target_of(struct config_item *item)
{
	return container_of(to_config_group(item), struct scst_target, group);
}

static ssize_t scst_target_enabled_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", READ_ONCE(scst_target_of(item)->wanted));
}

static ssize_t scst_target_enabled_store(struct config_item *item, const char *page, size_t count)
{
	char text[SCST_WORD_LEN];
	const char *word;
	u64 until;
	bool on;
	int ret = scst_parse_within(page, text, &word, &until) ?: scst_parse_bool(word, &on);

	if (!ret)
		ret = scst_target_set_enabled(scst_target_of(item), on, until);

	return ret ?: count;
}

static ssize_t scst_target_state_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%s\n", scst_target_state_name(scst_target_of(item)));
}

static ssize_t scst_target_rel_tgt_id_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%u\n", READ_ONCE(scst_target_of(item)->rel_tgt_id));
}

static ssize_t scst_target_rel_tgt_id_store(struct config_item *item, const char *page, size_t count)
{
	u64 id;
	int ret = scst_parse_u64(page, U16_MAX, &id);

	if (!ret && !id)
		ret = -ERANGE;
	ret = ret ?: scst_target_set_rel_id(scst_target_of(item), id);
	return ret ?: count;
}

static ssize_t scst_target_queue_depth_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%u\n", READ_ONCE(scst_target_of(item)->queue_depth));
}

static ssize_t scst_target_queue_depth_store(struct config_item *item, const char *page, size_t count)
{
	u64 depth;
	int ret = scst_parse_u64(page, U16_MAX, &depth);

	if (ret)
		return ret;
	/* It stays on: commands that were counted are still on their way. */
	if (depth)
		static_branch_enable(&scst_queue_limits);
	WRITE_ONCE(scst_target_of(item)->queue_depth, depth);
	return count;
}

/* A limit of memory for data, in force at once.  The longest command must fit. */
static int scst_target_parse_limit(struct scst_target *tgt, const char *page, long *where)
{
	u64 limit;
	int ret = scst_parse_u64(page, LONG_MAX, &limit);

	if (!ret && limit && limit < tgt->limits.max_xfer)
		ret = -ERANGE;
	if (!ret)
		WRITE_ONCE(*where, limit);
	return ret;
}

static ssize_t scst_target_buffer_limit_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%ld\n", READ_ONCE(scst_target_of(item)->memory.limit));
}

static ssize_t scst_target_buffer_limit_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_target *tgt = scst_target_of(item);

	return scst_target_parse_limit(tgt, page, &tgt->memory.limit) ?: count;
}

static ssize_t scst_target_session_buffer_limit_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%ld\n", READ_ONCE(scst_target_of(item)->session_memory));
}

static ssize_t scst_target_session_buffer_limit_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_target *tgt = scst_target_of(item);

	return scst_target_parse_limit(tgt, page, &tgt->session_memory) ?: count;
}

CONFIGFS_ATTR(scst_target_, enabled);
CONFIGFS_ATTR_RO(scst_target_, state);
CONFIGFS_ATTR(scst_target_, rel_tgt_id);
CONFIGFS_ATTR(scst_target_, queue_depth);
CONFIGFS_ATTR(scst_target_, buffer_limit);
CONFIGFS_ATTR(scst_target_, session_buffer_limit);

static struct configfs_attribute *scst_target_common_attrs[] = {
	&scst_target_attr_enabled,
	&scst_target_attr_state,
	&scst_target_attr_rel_tgt_id,
	&scst_target_attr_queue_depth,
};

/* Of drivers whose data is in the core's memory. */
static struct configfs_attribute *scst_target_buffer_attrs[] = {
	&scst_target_attr_buffer_limit,
	&scst_target_attr_session_buffer_limit,
};

static void scst_target_item_release(struct config_item *item)
{
	scst_target_put(scst_target_of(item));
}

struct configfs_item_operations scst_target_item_ops = {
	.release	= scst_target_item_release,
};

/**
 * scst_target_add_group() - give a target a directory of the driver's own
 * @tgt: the target
 * @group: initialised; embedded in the driver's target structure, or with a life of its own
 *
 * Only from the driver's init().
 */
void scst_target_add_group(struct scst_target *tgt, struct config_group *group)
{
	configfs_add_default_group(group, &tgt->group);
}
EXPORT_SYMBOL_GPL(scst_target_add_group);

static struct scst_target *scst_target_create(struct scst_driver_dir *dir, const char *name)
{
	const struct scst_target_driver *drv = dir->driver;
	struct scst_target *tgt = kzalloc(drv->target_size, GFP_KERNEL);
	int ret;

	if (!tgt)
		return ERR_PTR(-ENOMEM);
	ret = scst_target_setup(tgt, drv, name);
	if (ret) {
		kfree(tgt);
		return ERR_PTR(ret);
	}
	config_group_init_type_name(&tgt->group, name, &dir->target_type);
	/* There is no other word about the copy of a long name. */
	ret = config_item_name(&tgt->group.cg_item) ? scst_target_dirs_alloc(tgt) : -ENOMEM;
	if (!ret && drv->init)
		ret = drv->init(tgt);
	scst_target_limits_default(tgt);
	if (ret) {
		config_group_put(&tgt->group);
		return ERR_PTR(ret);
	}
	return tgt;
}

static struct config_group *scst_target_make(struct config_group *group, const char *name)
{
	struct scst_driver_dir *dir = container_of(group, struct scst_driver_dir, group);
	struct scst_target *tgt;
	int ret = scst_name_check(name, SCST_TARGET_NAME_LEN, "+@,");

	if (ret)
		return ERR_PTR(ret);
	tgt = scst_target_create(dir, name);
	if (IS_ERR(tgt))
		return ERR_CAST(tgt);
	mutex_lock(&scst_config_mutex);
	list_add_tail(&tgt->entry, &scst_targets);
	mutex_unlock(&scst_config_mutex);
	return &tgt->group;
}

static void scst_target_drop(struct config_group *group, struct config_item *item)
{
	scst_target_retire(scst_target_of(item));
	scst_item_drop(item);
}

static struct configfs_group_operations scst_driver_group_ops = {
	.make_group	= scst_target_make,
	.drop_item	= scst_target_drop,
};

/* --- drivers -------------------------------------------------------------------------------------- */

static ssize_t scst_target_lun_table_read(struct config_item *item, void *buf, size_t size)
{
	return scst_lun_table_read(scst_target_of(item)->luns, buf, size);
}

CONFIGFS_BIN_ATTR_RO(scst_target_, lun_table, NULL, 0);

static struct configfs_bin_attribute *scst_target_bin_attrs[] = {
	&scst_target_attr_lun_table,
	NULL,
};

static struct scst_driver_dir *scst_driver_dir_alloc(const struct scst_target_driver *drv)
{
	size_t nr = ARRAY_SIZE(scst_target_common_attrs), own = 0;
	struct scst_driver_dir *dir;

	while (drv->target_attrs && drv->target_attrs[own])
		own++;
	dir = kzalloc(struct_size(dir, attrs, nr + ARRAY_SIZE(scst_target_buffer_attrs) + own + 1), GFP_KERNEL);
	if (!dir)
		return NULL;
	memcpy(dir->attrs, scst_target_common_attrs, sizeof(scst_target_common_attrs));
	if (drv->receive_data) {
		memcpy(&dir->attrs[nr], scst_target_buffer_attrs, sizeof(scst_target_buffer_attrs));
		nr += ARRAY_SIZE(scst_target_buffer_attrs);
	}
	if (own)
		memcpy(&dir->attrs[nr], drv->target_attrs, own * sizeof(*drv->target_attrs));
	dir->driver = drv;
	dir->type.ct_owner = drv->owner;
	dir->type.ct_group_ops = &scst_driver_group_ops;
	dir->target_type.ct_owner = drv->owner;
	dir->target_type.ct_item_ops = &scst_target_item_ops;
	dir->target_type.ct_attrs = dir->attrs;
	dir->target_type.ct_bin_attrs = scst_target_bin_attrs;
	config_group_init_type_name(&dir->group, drv->name, &dir->type);
	return dir;
}

static struct scst_driver_dir *scst_driver_find(const char *name)
{
	struct scst_driver_dir *dir;

	list_for_each_entry(dir, &scst_driver_dirs, entry)
		if (!strcmp(dir->driver->name, name))
			return dir;
	return NULL;
}

/* Under scst_drivers_lock.  What targets may have links to is there before them, and goes after them. */
static int scst_driver_dir_register(struct scst_driver_dir *dir)
{
	struct config_group *own = dir->driver->driver_group;
	int ret = own ? configfs_register_group(&scst_drivers_group, own) : 0;

	if (ret)
		return ret;
	ret = configfs_register_group(&scst_targets_group, &dir->group);
	if (ret && own)
		scst_group_withdraw(own);
	return ret;
}

/* Under scst_drivers_lock. */
static void scst_driver_dir_withdraw(struct scst_driver_dir *dir)
{
	scst_group_withdraw(&dir->group);
	if (dir->driver->driver_group)
		scst_group_withdraw(dir->driver->driver_group);
}

/**
 * scst_target_driver_register() - offer a target driver
 * @drv: its table, valid until scst_target_driver_unregister()
 *
 * Process context, from the module's init; makes targets/NAME in configfs, and drivers/NAME if there is a @drv->driver_group.
 *
 * Return: 0, -EINVAL if a mandatory member is missing or the group has another name, -EEXIST for a name in use, -ENOMEM.
 */
int scst_target_driver_register(const struct scst_target_driver *drv)
{
	struct scst_driver_dir *dir;
	int ret;

	if (!drv->owner || !drv->enable || !drv->disable || !drv->send_response || !drv->release ||
	    !drv->tmf_done || !drv->session_gone || drv->target_size < sizeof(struct scst_target) ||
	    scst_name_check(drv->name, SCST_DEVICE_NAME_LEN, ""))
		return -EINVAL;
	if (drv->driver_group && strcmp(config_item_name(&drv->driver_group->cg_item), drv->name))
		return -EINVAL;
	dir = scst_driver_dir_alloc(drv);
	if (!dir)
		return -ENOMEM;
	mutex_lock(&scst_drivers_lock);
	ret = scst_driver_find(drv->name) ? -EEXIST : scst_driver_dir_register(dir);
	if (!ret)
		list_add(&dir->entry, &scst_driver_dirs);
	mutex_unlock(&scst_drivers_lock);
	if (ret)
		kfree(dir);
	return ret;
}
EXPORT_SYMBOL_GPL(scst_target_driver_register);

/**
 * scst_target_driver_unregister() - withdraw a target driver
 * @drv: as registered; has no targets any more, each of which holds the module, and nothing that was made in its driver_group
 *
 * Process context, from the module's exit.
 */
void scst_target_driver_unregister(const struct scst_target_driver *drv)
{
	struct scst_driver_dir *dir;

	mutex_lock(&scst_drivers_lock);
	dir = scst_driver_find(drv->name);
	scst_driver_dir_withdraw(dir);
	list_del(&dir->entry);
	mutex_unlock(&scst_drivers_lock);
	/* The work that dropped the last target may still be returning from the driver, and so may answers ... */
	scst_retire_flush();
	scst_tmf_flush();
	/* ... and what was preempted in the driver's text after it had dropped the last reference. */
	synchronize_rcu_tasks();
	kfree(dir);
}
EXPORT_SYMBOL_GPL(scst_target_driver_unregister);
