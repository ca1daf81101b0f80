// SPDX-License-Identifier: GPL-2.0-only
/*
 * luns/ and groups/ of a target in configfs: the wanted access.
 *
 * Each change is made in the tree under scst_config_mutex and handed to commit.c, which publishes it
 * or stages it.  A refused publication is undone here before the errno goes out.
 */
#include "core.h"
#include <linux/ctype.h>

/* --- luns/N ---------------------------------------------------------------------------------------- */

static struct scst_lun_item *scst_lun_of(struct config_item *item)
{
	return container_of(item, struct scst_lun_item, item);
}

static int scst_lun_changed(struct scst_lun_item *lun)
{
	lun->dir->dirty = true;
	return scst_access_changed(lun->dir->tgt);
}

static ssize_t scst_lun_read_only_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", READ_ONCE(scst_lun_of(item)->read_only));
}

static int scst_lun_set_read_only(struct scst_lun_item *lun, bool value)
{
	int ret = 0;

	mutex_lock(&scst_config_mutex);
	if (lun->read_only != value) {
		WRITE_ONCE(lun->read_only, value);
		if (lun->dev)
			ret = scst_lun_changed(lun);
		if (ret)
			WRITE_ONCE(lun->read_only, !value);
	}
	mutex_unlock(&scst_config_mutex);
	return ret;
}

static ssize_t scst_lun_read_only_store(struct config_item *item, const char *page, size_t count)
{
	bool value;
	int ret = scst_parse_bool(page, &value) ?: scst_lun_set_read_only(scst_lun_of(item), value);

	return ret ?: count;
}

static ssize_t scst_lun_state_show(struct config_item *item, char *page)
{
	struct scst_lun_item *lun = scst_lun_of(item);
	const char *state;

	mutex_lock(&scst_config_mutex);
	state = lun->dev ? scst_device_state_name(lun->dev) : "unmapped";
	mutex_unlock(&scst_config_mutex);
	return sysfs_emit(page, "%s\n", state);
}

static int scst_lun_set_limits(struct scst_lun_item *lun, const struct scst_limits *limits)
{
	struct scst_limits old = lun->limits;
	int ret = 0;

	lockdep_assert_held(&scst_config_mutex);
	if (!memcmp(&old, limits, sizeof(old)))
		return 0;
	lun->limits = *limits;
	if (lun->dev)
		ret = scst_lun_changed(lun);
	if (ret)
		lun->limits = old;
	return ret;
}

/* A number among the limits. */
#define SCST_LUN_LIMIT(name_, field_, min_, max_)							\
static ssize_t scst_lun_##name_##_show(struct config_item *item, char *page)			\
{												\
	return sysfs_emit(page, "%llu\n", (u64)READ_ONCE(scst_lun_of(item)->limits.field_));	\
}												\
												\
static ssize_t scst_lun_##name_##_store(struct config_item *item, const char *page, size_t count)	\
{												\
	struct scst_lun_item *lun = scst_lun_of(item);						\
	struct scst_limits limits;								\
	u64 value;										\
	int ret = scst_parse_u64(page, max_, &value);						\
												\
	if (ret || value < (min_))								\
		return ret ?: -ERANGE;								\
	mutex_lock(&scst_config_mutex);								\
	limits = lun->limits;									\
	limits.field_ = value;									\
	ret = scst_lun_set_limits(lun, &limits);						\
	mutex_unlock(&scst_config_mutex);							\
	return ret ?: count;									\
}												\
CONFIGFS_ATTR(scst_lun_, name_)

SCST_LUN_LIMIT(read_iops, iops[0], 0, SCST_LIMIT_IOPS_MAX);
SCST_LUN_LIMIT(write_iops, iops[1], 0, SCST_LIMIT_IOPS_MAX);
SCST_LUN_LIMIT(read_bytes_per_sec, bytes[0], 0, SCST_LIMIT_BYTES_MAX);
SCST_LUN_LIMIT(write_bytes_per_sec, bytes[1], 0, SCST_LIMIT_BYTES_MAX);
SCST_LUN_LIMIT(burst, burst, 1, SCST_LIMIT_BURST_MAX);

CONFIGFS_ATTR(scst_lun_, read_only);
CONFIGFS_ATTR_RO(scst_lun_, state);

static struct configfs_attribute *scst_lun_attrs[] = {
	&scst_lun_attr_read_only,
	&scst_lun_attr_read_iops,
	&scst_lun_attr_write_iops,
	&scst_lun_attr_read_bytes_per_sec,
	&scst_lun_attr_write_bytes_per_sec,
	&scst_lun_attr_burst,
	&scst_lun_attr_state,
	NULL,
};

/* Under scst_config_mutex. */
static int scst_lun_link(struct scst_lun_item *lun, struct scst_device *dev)
{
	int ret;

	/* symlink(2) lets go of the directory while it looks for the target. */
	if (list_empty(&lun->entry))
		return -ENOENT;
	if (lun->dev)
		return -EEXIST;
	if (dev->dead || !dev->enabled)
		return -ENODEV;
	scst_device_get(dev);
	dev->lun_links++;
	lun->dev = dev;
	ret = scst_lun_changed(lun);
	if (ret) {
		lun->dev = NULL;
		scst_device_unlink(dev);
	}
	return ret;
}

/* The target may be any item of any subsystem. */
static int scst_lun_allow_link(struct config_item *src, struct config_item *target)
{
	int ret;

	if (target->ci_type->ct_item_ops != &scst_device_item_ops)
		return -EINVAL;
	mutex_lock(&scst_config_mutex);
	ret = scst_lun_link(scst_lun_of(src), scst_device_of(target));
	mutex_unlock(&scst_config_mutex);
	return ret;
}

static void scst_lun_drop_link(struct config_item *src, struct config_item *target)
{
	struct scst_lun_item *lun = scst_lun_of(src);

	mutex_lock(&scst_config_mutex);
	lun->dev = NULL;
	lun->dir->dirty = true;
	scst_access_removed(lun->dir->tgt);
	scst_device_unlink(scst_device_of(target));
	mutex_unlock(&scst_config_mutex);
}

static void scst_lun_release(struct config_item *item)
{
	kfree(scst_lun_of(item));
}

static struct configfs_item_operations scst_lun_item_ops = {
	.release	= scst_lun_release,
	.allow_link	= scst_lun_allow_link,
	.drop_link	= scst_lun_drop_link,
};

static struct config_item_type scst_lun_type = {
	.ct_owner	= THIS_MODULE,
	.ct_item_ops	= &scst_lun_item_ops,
	.ct_attrs	= scst_lun_attrs,
};

/* --- luns/ --------------------------------------------------------------------------------------------- */

static struct scst_lun_dir *scst_lun_dir_of(struct config_item *item)
{
	return container_of(to_config_group(item), struct scst_lun_dir, group);
}

/* One spelling per number: configfs tells names apart, not numbers. */
static int scst_lun_parse(const char *name, u32 *lun)
{
	const char *c;

	for (c = name; *c; c++)
		if (!isdigit(*c))
			return -EINVAL;
	if (!*name || (name[0] == '0' && name[1]))
		return -EINVAL;
	if (kstrtou32(name, 10, lun) || *lun > SCST_MAX_LUN)
		return -ERANGE;
	return 0;
}

/* Usually in ascending order, hence from the end. */
static void scst_lun_dir_insert(struct scst_lun_dir *dir, struct scst_lun_item *lun)
{
	struct scst_lun_item *other;

	mutex_lock(&scst_config_mutex);
	list_for_each_entry_reverse(other, &dir->luns, entry)
		if (other->lun < lun->lun)
			break;
	list_add(&lun->entry, &other->entry);
	mutex_unlock(&scst_config_mutex);
}

static struct config_item *scst_lun_make(struct config_group *group, const char *name)
{
	struct scst_lun_dir *dir = scst_lun_dir_of(&group->cg_item);
	struct scst_lun_item *lun;
	u32 number;
	int ret = scst_lun_parse(name, &number);

	if (ret)
		return ERR_PTR(ret);
	lun = kzalloc(sizeof(*lun), GFP_KERNEL);
	if (!lun)
		return ERR_PTR(-ENOMEM);
	lun->lun = number;
	lun->limits.burst = SCST_LIMIT_BURST;
	lun->dir = dir;
	config_item_init_type_name(&lun->item, name, &scst_lun_type);
	scst_lun_dir_insert(dir, lun);
	return &lun->item;
}

/* Its link went before it, so nothing in force changes. */
static void scst_lun_drop(struct config_group *group, struct config_item *item)
{
	mutex_lock(&scst_config_mutex);
	list_del_init(&scst_lun_of(item)->entry);
	mutex_unlock(&scst_config_mutex);
	scst_item_drop(item);
}

static struct configfs_group_operations scst_lun_dir_group_ops = {
	.make_item	= scst_lun_make,
	.drop_item	= scst_lun_drop,
};

static struct config_item_type scst_lun_dir_type = {
	.ct_owner	= THIS_MODULE,
	.ct_group_ops	= &scst_lun_dir_group_ops,
};

void scst_lun_dir_init(struct scst_lun_dir *dir, struct scst_target *tgt, struct config_group *parent)
{
	INIT_LIST_HEAD(&dir->luns);
	dir->tgt = tgt;
	config_group_init_type_name(&dir->group, "luns", &scst_lun_dir_type);
	configfs_add_default_group(&dir->group, parent);
}

/* --- lun_table: all LUNs of a target or a group in one read ------------------------------------------------ */

#define SCST_LIMITS_LEN	160

/* Words for what is not as it is by default. */
static void scst_limits_print(char *buf, size_t size, const struct scst_limits *limits)
{
	const struct {
		const char *name;
		u64 value;
		u64 usual;
	} word[] = {
		{ "read_iops", limits->iops[0], 0 },
		{ "write_iops", limits->iops[1], 0 },
		{ "read_bytes_per_sec", limits->bytes[0], 0 },
		{ "write_bytes_per_sec", limits->bytes[1], 0 },
		{ "burst", limits->burst, SCST_LIMIT_BURST },
	};
	size_t i;
	int len = 0;

	for (i = 0; i < ARRAY_SIZE(word); i++)
		if (word[i].value != word[i].usual)
			len += scnprintf(buf + len, size - len, " %s=%llu", word[i].name, word[i].value);
	buf[len] = 0;
}

/* As much as fits into @size; returns the length of the whole. */
static size_t scst_lun_table_print(struct scst_lun_dir *dir, char *buf, size_t size)
{
	char limits[SCST_LIMITS_LEN];
	struct scst_lun_item *lun;
	size_t len = 0;

	mutex_lock(&scst_config_mutex);
	list_for_each_entry(lun, &dir->luns, entry) {
		scst_limits_print(limits, sizeof(limits), &lun->limits);
		len += snprintf(buf + min(len, size), size - min(len, size), "%u %d %s%s\n", lun->lun, lun->read_only,
				lun->dev ? lun->dev->name : "", limits);
	}
	mutex_unlock(&scst_config_mutex);
	return len;
}

/**
 * scst_lun_table_read() - the read half of a binary attribute of configfs
 * @dir: whose LUNs
 * @buf: NULL when configfs asks how much room is needed
 * @size: of @buf
 *
 * A line for each LUN, in ascending order: number, read_only, the device, which may be empty, and "NAME=VALUE" for each limit that is not
 * as it is by default.  Lines that went
 * between the two calls are empty lines at the end.  Process context, takes scst_config_mutex.
 *
 * Return: bytes, or -EAGAIN if there came more between the two calls.
 */
ssize_t scst_lun_table_read(struct scst_lun_dir *dir, void *buf, size_t size)
{
	size_t len;

	/* One more for the 0 behind the text. */
	if (!buf) {
		len = scst_lun_table_print(dir, NULL, 0);
		return len ? len + 1 : 0;
	}
	len = scst_lun_table_print(dir, buf, size);
	if (len >= size)
		return -EAGAIN;
	memset(buf + len, '\n', size - len);
	return size;
}

/* --- groups/GROUP/initiators/PATTERN ---------------------------------------------------------------- */

static struct scst_acl_pattern *scst_pattern_of(struct config_item *item)
{
	return container_of(item, struct scst_acl_pattern, item);
}

static void scst_pattern_release(struct config_item *item)
{
	kfree(scst_pattern_of(item));
}

static struct configfs_item_operations scst_pattern_item_ops = {
	.release	= scst_pattern_release,
};

static struct config_item_type scst_pattern_type = {
	.ct_owner	= THIS_MODULE,
	.ct_item_ops	= &scst_pattern_item_ops,
};

static int scst_pattern_check(const char *name)
{
	const char *c;

	if (strlen(name) > SCST_INITIATOR_NAME_LEN)
		return -ENAMETOOLONG;
	for (c = name; *c; c++)
		if (!isascii(*c) || !isgraph(*c))
			return -EINVAL;
	if (name[0] == '!' && (!name[1] || strchr(name + 1, '!')))
		return -EINVAL;
	return name[0] != '!' && strchr(name, '!') ? -EINVAL : 0;
}

/* Spellings of one name, or of one pattern. */
static bool scst_pattern_same(const struct scst_acl_pattern *a, const struct scst_acl_pattern *b)
{
	const char *x = config_item_name((struct config_item *)&a->item);
	const char *y = config_item_name((struct config_item *)&b->item);

	if (!scst_number_same(&a->number, &b->number))
		return false;
	return a->number.len ? (*x == '!') == (*y == '!') : !strcasecmp(x, y);
}

/* Under scst_config_mutex. */
static int scst_pattern_add(struct scst_acl_group *group, struct scst_acl_pattern *pattern)
{
	const char *name = config_item_name(&pattern->item);
	struct scst_acl_pattern *other;
	int ret;

	scst_name_parse(name + (*name == '!'), &pattern->number);
	list_for_each_entry(other, &group->patterns, entry)
		if (scst_pattern_same(other, pattern))
			return -EEXIST;
	list_add_tail(&pattern->entry, &group->patterns);
	ret = scst_access_changed(group->tgt);
	if (ret)
		list_del(&pattern->entry);
	return ret;
}

static struct config_item *scst_pattern_make(struct config_group *parent, const char *name)
{
	struct scst_acl_group *group = container_of(parent, struct scst_acl_group, initiators);
	struct scst_acl_pattern *pattern;
	int ret = scst_pattern_check(name);

	if (ret)
		return ERR_PTR(ret);
	pattern = kzalloc(sizeof(*pattern), GFP_KERNEL);
	if (!pattern)
		return ERR_PTR(-ENOMEM);
	config_item_init_type_name(&pattern->item, name, &scst_pattern_type);
	mutex_lock(&scst_config_mutex);
	/* There is no other word about the copy of a long name. */
	ret = config_item_name(&pattern->item) ? scst_pattern_add(group, pattern) : -ENOMEM;
	mutex_unlock(&scst_config_mutex);
	if (ret) {
		config_item_put(&pattern->item);
		return ERR_PTR(ret);
	}
	return &pattern->item;
}

static void scst_pattern_drop(struct config_group *parent, struct config_item *item)
{
	struct scst_acl_group *group = container_of(parent, struct scst_acl_group, initiators);

	mutex_lock(&scst_config_mutex);
	list_del(&scst_pattern_of(item)->entry);
	scst_access_removed(group->tgt);
	mutex_unlock(&scst_config_mutex);
	scst_item_drop(item);
}

static struct configfs_group_operations scst_initiators_group_ops = {
	.make_item	= scst_pattern_make,
	.drop_item	= scst_pattern_drop,
};

static struct config_item_type scst_initiators_type = {
	.ct_owner	= THIS_MODULE,
	.ct_group_ops	= &scst_initiators_group_ops,
};

/* --- groups/GROUP ----------------------------------------------------------------------------------------- */

#define SCST_PRIORITY_DEFAULT	100

static struct scst_acl_group *scst_acl_group_of(struct config_item *item)
{
	return container_of(to_config_group(item), struct scst_acl_group, group);
}

static ssize_t scst_acl_group_priority_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%u\n", READ_ONCE(scst_acl_group_of(item)->priority));
}

static int scst_acl_group_set_priority(struct scst_acl_group *group, u16 priority)
{
	u16 old = group->priority;
	int ret = 0;

	mutex_lock(&scst_config_mutex);
	if (old != priority) {
		WRITE_ONCE(group->priority, priority);
		ret = scst_access_changed(group->tgt);
		if (ret)
			WRITE_ONCE(group->priority, old);
	}
	mutex_unlock(&scst_config_mutex);
	return ret;
}

static ssize_t scst_acl_group_priority_store(struct config_item *item, const char *page, size_t count)
{
	u64 priority;
	int ret = scst_parse_u64(page, U16_MAX, &priority) ?:
		  scst_acl_group_set_priority(scst_acl_group_of(item), priority);

	return ret ?: count;
}

static ssize_t scst_acl_group_lun_table_read(struct config_item *item, void *buf, size_t size)
{
	return scst_lun_table_read(scst_acl_group_of(item)->luns, buf, size);
}

CONFIGFS_ATTR(scst_acl_group_, priority);
CONFIGFS_BIN_ATTR_RO(scst_acl_group_, lun_table, NULL, 0);

static struct configfs_attribute *scst_acl_group_attrs[] = {
	&scst_acl_group_attr_priority,
	NULL,
};

static struct configfs_bin_attribute *scst_acl_group_bin_attrs[] = {
	&scst_acl_group_attr_lun_table,
	NULL,
};

static void scst_acl_group_release(struct config_item *item)
{
	struct scst_acl_group *group = scst_acl_group_of(item);

	mutex_lock(&scst_config_mutex);
	scst_lunset_put(group->luns->set);
	mutex_unlock(&scst_config_mutex);
	kfree(group->luns);
	kfree(group);
}

static struct configfs_item_operations scst_acl_group_item_ops = {
	.release	= scst_acl_group_release,
};

static struct config_item_type scst_acl_group_type = {
	.ct_owner	= THIS_MODULE,
	.ct_item_ops	= &scst_acl_group_item_ops,
	.ct_attrs	= scst_acl_group_attrs,
	.ct_bin_attrs	= scst_acl_group_bin_attrs,
};

/* --- groups/ ----------------------------------------------------------------------------------------------- */

/* The default groups of a target that the core makes. */
struct scst_target_dirs {
	struct scst_lun_dir luns;
	struct config_group groups;
};

static struct scst_target_dirs *scst_target_dirs_of(struct scst_target *tgt)
{
	return container_of(tgt->luns, struct scst_target_dirs, luns);
}

static struct scst_target *scst_groups_target(struct config_group *groups)
{
	return container_of(groups, struct scst_target_dirs, groups)->luns.tgt;
}

static struct config_group *scst_acl_group_make(struct config_group *parent, const char *name)
{
	struct scst_target *tgt = scst_groups_target(parent);
	struct scst_acl_group *group;
	int ret = scst_name_check(name, SCST_DEVICE_NAME_LEN, "");

	if (ret)
		return ERR_PTR(ret);
	group = kzalloc(sizeof(*group), GFP_KERNEL);
	if (!group)
		return ERR_PTR(-ENOMEM);
	group->luns = kzalloc(sizeof(*group->luns), GFP_KERNEL);
	if (!group->luns) {
		kfree(group);
		return ERR_PTR(-ENOMEM);
	}
	group->tgt = tgt;
	group->priority = SCST_PRIORITY_DEFAULT;
	INIT_LIST_HEAD(&group->patterns);
	config_group_init_type_name(&group->group, name, &scst_acl_group_type);
	scst_lun_dir_init(group->luns, tgt, &group->group);
	config_group_init_type_name(&group->initiators, "initiators", &scst_initiators_type);
	configfs_add_default_group(&group->initiators, &group->group);
	if (!config_item_name(&group->group.cg_item)) {
		config_group_put(&group->group);
		return ERR_PTR(-ENOMEM);
	}
	mutex_lock(&scst_config_mutex);
	list_add_tail(&group->entry, &tgt->acl_groups);
	mutex_unlock(&scst_config_mutex);
	return &group->group;
}

/* It is empty, so it claims nobody: what is in force may keep it until the next publication. */
static void scst_acl_group_drop(struct config_group *parent, struct config_item *item)
{
	struct scst_acl_group *group = scst_acl_group_of(item);

	mutex_lock(&scst_config_mutex);
	list_del(&group->entry);
	group->tgt->access_dirty = true;
	mutex_unlock(&scst_config_mutex);
	scst_item_drop(item);
}

static struct configfs_group_operations scst_groups_group_ops = {
	.make_group	= scst_acl_group_make,
	.drop_item	= scst_acl_group_drop,
};

static struct config_item_type scst_groups_type = {
	.ct_owner	= THIS_MODULE,
	.ct_group_ops	= &scst_groups_group_ops,
};

int scst_target_dirs_alloc(struct scst_target *tgt)
{
	struct scst_target_dirs *dirs = kzalloc(sizeof(*dirs), GFP_KERNEL);

	if (!dirs)
		return -ENOMEM;
	tgt->luns = &dirs->luns;
	scst_lun_dir_init(&dirs->luns, tgt, &tgt->group);
	config_group_init_type_name(&dirs->groups, "groups", &scst_groups_type);
	configfs_add_default_group(&dirs->groups, &tgt->group);
	return 0;
}

void scst_target_dirs_free(struct scst_target *tgt)
{
	if (tgt->luns)
		kfree(scst_target_dirs_of(tgt));
}
