// SPDX-License-Identifier: GPL-2.0-only
/*
 * devices/HANDLER/NAME in configfs.  User interface only: states and lifetimes are in device.c.
 */
#include "commands.h"
#include <linux/ctype.h>
#include <linux/random.h>

/* A handler's directory, and the item types made from its attributes. */
struct scst_handler_dir {
	struct config_group group;
	const struct scst_handler *handler;
	struct config_item_type type;
	struct config_item_type device_type;
	struct list_head entry;
	struct configfs_attribute *attrs[];
};

static LIST_HEAD(scst_handler_dirs);
static DEFINE_MUTEX(scst_handlers_lock);	/* the list of handlers */

/* --- settings: only while the device is disabled ----------------------------------------------- */

static int scst_device_lock_in(struct scst_device *dev, bool parked_too)
{
	int ret = mutex_lock_killable(&dev->settings_lock);

	if (!ret && dev->state != SCST_DEVICE_DISABLED && !(parked_too && dev->state == SCST_DEVICE_PARKED)) {
		mutex_unlock(&dev->settings_lock);
		ret = -EBUSY;
	}
	return ret;
}

static int scst_device_lock_settings(struct scst_device *dev)
{
	return scst_device_lock_in(dev, false);
}

/**
 * scst_device_store_bool() - store half of a handler's boolean attribute
 * @dev: the device
 * @where: the setting
 * @page: what was written
 *
 * Return: 0, -EINVAL, -EBUSY while the device is enabled.
 */
int scst_device_store_bool(struct scst_device *dev, bool *where, const char *page)
{
	bool value;
	int ret = scst_parse_bool(page, &value) ?: scst_device_lock_settings(dev);

	if (ret)
		return ret;
	*where = value;
	mutex_unlock(&dev->settings_lock);
	return 0;
}
EXPORT_SYMBOL_GPL(scst_device_store_bool);

/**
 * scst_device_show_path() - show half of a handler's path attribute
 * @dev: the device
 * @where: the setting
 * @page: as the attribute's show() got it
 *
 * Return: characters, or -ERESTARTSYS if killed.
 */
ssize_t scst_device_show_path(struct scst_device *dev, char *const *where, char *page)
{
	ssize_t len = mutex_lock_killable(&dev->settings_lock);

	if (len)
		return len;
	len = sysfs_emit(page, "%s\n", *where ?: "");
	mutex_unlock(&dev->settings_lock);
	return len;
}
EXPORT_SYMBOL_GPL(scst_device_show_path);

static int scst_device_swap_path(struct scst_device *dev, char **where, const char *page, size_t count, bool parked_too)
{
	char *path = scst_parse_text(page, count, SCST_TEXT_MAX);
	int ret;

	if (IS_ERR(path))
		return PTR_ERR(path);
	ret = path && path[0] != '/' ? -EINVAL : scst_device_lock_in(dev, parked_too);
	if (!ret) {
		swap(*where, path);
		mutex_unlock(&dev->settings_lock);
	}
	kfree(path);
	return ret;
}

/**
 * scst_device_store_path() - store half of a handler's path attribute
 * @dev: the device
 * @where: the setting; a kmalloc'ed string or NULL, freed by the handler's free()
 * @page: what was written; empty clears the setting
 * @count: its length
 *
 * Settable while parked, too: a disk may have got another name meanwhile.
 *
 * Return: 0, -EINVAL if not an absolute path of printable characters, -ENAMETOOLONG, -EBUSY while the
 * device is neither disabled nor parked, -ENOMEM.
 */
int scst_device_store_path(struct scst_device *dev, char **where, const char *page, size_t count)
{
	return scst_device_swap_path(dev, where, page, count, true);
}
EXPORT_SYMBOL_GPL(scst_device_store_path);

#define SCST_DEVICE_ATTR_BOOL(name)							\
static ssize_t scst_device_##name##_show(struct config_item *item, char *page)		\
{											\
	return sysfs_emit(page, "%d\n", scst_device_of(item)->name);			\
}											\
											\
static ssize_t scst_device_##name##_store(struct config_item *item, const char *page,	\
					  size_t count)					\
{											\
	struct scst_device *dev = scst_device_of(item);					\
	int ret = scst_device_store_bool(dev, &dev->name, page);			\
											\
	return ret ?: count;								\
}											\
CONFIGFS_ATTR(scst_device_, name)

SCST_DEVICE_ATTR_BOOL(read_only);
SCST_DEVICE_ATTR_BOOL(write_through);
SCST_DEVICE_ATTR_BOOL(removable);
SCST_DEVICE_ATTR_BOOL(stop_unit);
SCST_DEVICE_ATTR_BOOL(thin);

static ssize_t scst_device_protection_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%u\n", scst_device_of(item)->protection);
}

static ssize_t scst_device_protection_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);
	u64 type;
	int ret = scst_parse_u64(page, 3, &type) ?: scst_device_lock_settings(dev);

	if (ret)
		return ret;
	dev->protection = type;
	mutex_unlock(&dev->settings_lock);
	return count;
}

static ssize_t scst_device_rotational_show(struct config_item *item, char *page)
{
	s8 rotational = scst_device_of(item)->rotational;

	return rotational < 0 ? sysfs_emit(page, "auto\n") : sysfs_emit(page, "%d\n", rotational);
}

static ssize_t scst_device_rotational_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);
	bool backing = sysfs_streq(page, "auto"), value = false;
	int ret = backing ? 0 : scst_parse_bool(page, &value);

	ret = ret ?: scst_device_lock_settings(dev);
	if (ret)
		return ret;
	dev->rotational = backing ? -1 : value;
	mutex_unlock(&dev->settings_lock);
	return count;
}

static ssize_t scst_device_pr_file_show(struct config_item *item, char *page)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_show_path(dev, &dev->pr_file, page);
}

/* Not while parked: it is open. */
static ssize_t scst_device_pr_file_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_swap_path(dev, &dev->pr_file, page, count, false) ?: count;
}

static ssize_t scst_device_size_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%llu\n", scst_device_size(scst_device_of(item)));
}

static ssize_t scst_device_size_store(struct config_item *item, const char *page, size_t count)
{
	char text[SCST_WORD_LEN];
	const char *word;
	u64 size, until;
	int ret = scst_parse_within(page, text, &word, &until) ?: scst_parse_u64(word, S64_MAX, &size);

	return ret ?: scst_device_resize(scst_device_of(item), size, until) ?: count;
}

static ssize_t scst_device_space_threshold_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%llu\n", READ_ONCE(scst_device_of(item)->space_threshold));
}

static ssize_t scst_device_space_threshold_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);
	u64 bytes;
	int ret = scst_parse_u64(page, S64_MAX, &bytes) ?: mutex_lock_killable(&dev->settings_lock);

	if (ret)
		return ret;
	scst_space_set_threshold(dev, bytes);
	mutex_unlock(&dev->settings_lock);
	return count;
}

static ssize_t scst_device_block_size_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%u\n", scst_device_of(item)->block_size);
}

static ssize_t scst_device_block_size_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);
	u64 size;
	int ret = scst_parse_u64(page, 4096, &size);

	if (!ret && size && (size < 512 || !is_power_of_2(size)))
		ret = -ERANGE;
	ret = ret ?: scst_device_lock_settings(dev);
	if (ret)
		return ret;
	dev->block_size = size;
	mutex_unlock(&dev->settings_lock);
	return count;
}

/* --- states -------------------------------------------------------------------------------------- */

/* Under the lock: who waits for the end of a request sees no state on the way, as `parked` between closing and opening. */
static ssize_t scst_device_state_show(struct config_item *item, char *page)
{
	struct scst_device *dev = scst_device_of(item);
	ssize_t len = mutex_lock_killable(&dev->settings_lock);

	if (len)
		return len;
	len = sysfs_emit(page, "%s\n", scst_device_state_name(dev));
	mutex_unlock(&dev->settings_lock);
	return len;
}

static ssize_t scst_device_error_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%s\n", scst_errno_name(READ_ONCE(scst_device_of(item)->open_error)));
}

static ssize_t scst_device_medium_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%s\n", scst_medium_ejected(scst_device_of(item)) ? "ejected" : "present");
}

static ssize_t scst_device_enabled_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", READ_ONCE(scst_device_of(item)->enabled));
}

static ssize_t scst_device_enabled_store(struct config_item *item, const char *page, size_t count)
{
	char text[SCST_WORD_LEN];
	const char *word;
	u64 until;
	bool on;
	int ret = scst_parse_within(page, text, &word, &until) ?: scst_parse_bool(word, &on);

	return ret ?: scst_device_set_enabled(scst_device_of(item), on, until) ?: count;
}

static ssize_t scst_device_active_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", READ_ONCE(scst_device_of(item)->state) == SCST_DEVICE_ACTIVE);
}

static ssize_t scst_device_active_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);
	char text[SCST_WORD_LEN];
	const char *word;
	u64 until;
	bool on;
	int ret = scst_parse_within(page, text, &word, &until);

	if (ret)
		return ret;
	if (sysfs_streq(word, "reopen"))
		ret = scst_device_reopen(dev, until);
	else
		ret = scst_parse_bool(word, &on) ?: scst_device_set_active(dev, on, until);
	return ret ?: count;
}

static ssize_t scst_device_wanted_show(struct config_item *item, char *page)
{
	const struct scst_device *dev = scst_device_of(item);

	return sysfs_emit(page, "%d\n", READ_ONCE(dev->wanted) && READ_ONCE(dev->state) != SCST_DEVICE_DISABLED);
}

static ssize_t scst_device_facts_show(struct config_item *item, char *page)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_show_path(dev, &dev->facts, page);
}

static ssize_t scst_device_facts_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_set_text(dev, &dev->facts, page, count, SCST_TEXT_MAX) ?: count;
}

static ssize_t scst_device_elsewhere_show(struct config_item *item, char *page)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_show_path(dev, &dev->elsewhere, page);
}

static ssize_t scst_device_elsewhere_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);

	if (page[0] != '/' && !sysfs_streq(page, ""))
		return -EINVAL;
	return scst_device_set_text(dev, &dev->elsewhere, page, count, SCST_TEXT_MAX) ?: count;
}

static ssize_t scst_device_expect_show(struct config_item *item, char *page)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_show_path(dev, &dev->expect, page);
}

static ssize_t scst_device_expect_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_set_text(dev, &dev->expect, page, count, SCST_BACKING_LEN) ?: count;
}

static ssize_t scst_device_backing_show(struct config_item *item, char *page)
{
	struct scst_device *dev = scst_device_of(item);
	ssize_t len = mutex_lock_killable(&dev->settings_lock);

	if (len)
		return len;
	len = sysfs_emit(page, "%s\n", dev->backing);
	mutex_unlock(&dev->settings_lock);
	return len;
}

CONFIGFS_ATTR(scst_device_, enabled);
CONFIGFS_ATTR(scst_device_, active);
CONFIGFS_ATTR_RO(scst_device_, state);
CONFIGFS_ATTR_RO(scst_device_, medium);
CONFIGFS_ATTR_RO(scst_device_, error);
CONFIGFS_ATTR_RO(scst_device_, wanted);
CONFIGFS_ATTR(scst_device_, facts);
CONFIGFS_ATTR(scst_device_, elsewhere);
CONFIGFS_ATTR(scst_device_, expect);
CONFIGFS_ATTR_RO(scst_device_, backing);
CONFIGFS_ATTR(scst_device_, size);
CONFIGFS_ATTR(scst_device_, space_threshold);
CONFIGFS_ATTR(scst_device_, block_size);
CONFIGFS_ATTR(scst_device_, rotational);
CONFIGFS_ATTR(scst_device_, pr_file);
CONFIGFS_ATTR(scst_device_, protection);

static struct configfs_attribute scst_device_attr_size_ro = {
	.ca_name	= "size",
	.ca_mode	= 0444,
	.ca_owner	= THIS_MODULE,
	.show		= scst_device_size_show,
};

static struct configfs_attribute *scst_device_common_attrs[] = {
	&scst_device_attr_enabled,
	&scst_device_attr_active,
	&scst_device_attr_state,
	&scst_device_attr_error,
	&scst_device_attr_medium,
	&scst_device_attr_wanted,
	&scst_device_attr_block_size,
	&scst_device_attr_read_only,
	&scst_device_attr_rotational,
	&scst_device_attr_removable,
	&scst_device_attr_stop_unit,
	&scst_device_attr_pr_file,
};

static struct configfs_attribute *scst_device_facts_attrs[] = {
	&scst_device_attr_facts,
	&scst_device_attr_elsewhere,
	&scst_device_attr_expect,
	&scst_device_attr_backing,
};

/* --- identity ------------------------------------------------------------------------------------ */

static struct scst_device *scst_id_device(struct config_item *item)
{
	return container_of(to_config_group(item), struct scst_device, id_group);
}

static int scst_id_store_string(struct config_item *item, char *where, size_t size, const char *page,
				size_t count)
{
	size_t len = count && page[count - 1] == '\n' ? count - 1 : count;
	struct scst_device *dev = scst_id_device(item);
	size_t i;
	int ret;

	if (!len)
		return -EINVAL;
	if (len >= size)
		return -ENAMETOOLONG;
	for (i = 0; i < len; i++)
		if (!isascii(page[i]) || !isprint(page[i]))
			return -EINVAL;
	ret = scst_device_lock_settings(dev);
	if (ret)
		return ret;
	memcpy(where, page, len);
	memset(where + len, 0, size - len);
	mutex_unlock(&dev->settings_lock);
	return 0;
}

#define SCST_ID_ATTR(name)								\
static ssize_t scst_id_##name##_show(struct config_item *item, char *page)		\
{											\
	return sysfs_emit(page, "%s\n", scst_id_device(item)->id.name);			\
}											\
											\
static ssize_t scst_id_##name##_store(struct config_item *item, const char *page,	\
				      size_t count)					\
{											\
	struct scst_identity *id = &scst_id_device(item)->id;				\
	int ret = scst_id_store_string(item, id->name, sizeof(id->name), page, count);	\
											\
	return ret ?: count;								\
}											\
CONFIGFS_ATTR(scst_id_, name)

SCST_ID_ATTR(vendor);
SCST_ID_ATTR(product);
SCST_ID_ATTR(revision);
SCST_ID_ATTR(serial);

/* Hex digits, exactly; the number of bytes, 0 if the value is empty. */
static int scst_id_parse_hex(const char *page, size_t count, u8 out[16])
{
	size_t len = count && page[count - 1] == '\n' ? count - 1 : count;

	if (len > 32)
		return -ENAMETOOLONG;
	if (len % 2 || hex2bin(out, page, len / 2))
		return -EINVAL;
	return len / 2;
}

static bool scst_naa_valid(const u8 *naa, int len)
{
	int type = naa[0] >> 4;

	return (len == 8 && (type == 2 || type == 3 || type == 5)) || (len == 16 && type == 6);
}

static bool scst_eui64_valid(const u8 *eui, int len)
{
	return len == 0 || len == 8 || len == 12 || len == 16;
}

static ssize_t scst_id_store_bytes(struct config_item *item, u8 *where, u8 *where_len, const char *page,
				   size_t count, bool (*valid)(const u8 *, int))
{
	struct scst_device *dev = scst_id_device(item);
	u8 bytes[16] = {};
	int ret, len;

	len = scst_id_parse_hex(page, count, bytes);
	if (len < 0)
		return len;
	if (!valid(bytes, len))
		return -EINVAL;
	ret = scst_device_lock_settings(dev);
	if (ret)
		return ret;
	memcpy(where, bytes, sizeof(bytes));
	*where_len = len;
	mutex_unlock(&dev->settings_lock);
	return count;
}

static ssize_t scst_id_naa_show(struct config_item *item, char *page)
{
	struct scst_identity *id = &scst_id_device(item)->id;

	return sysfs_emit(page, "%*phN\n", id->naa_len, id->naa);
}

static ssize_t scst_id_naa_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_identity *id = &scst_id_device(item)->id;

	return scst_id_store_bytes(item, id->naa, &id->naa_len, page, count, scst_naa_valid);
}

static ssize_t scst_id_eui64_show(struct config_item *item, char *page)
{
	struct scst_identity *id = &scst_id_device(item)->id;

	return id->eui64_len ? sysfs_emit(page, "%*phN\n", id->eui64_len, id->eui64) : sysfs_emit(page, "\n");
}

static ssize_t scst_id_eui64_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_identity *id = &scst_id_device(item)->id;

	return scst_id_store_bytes(item, id->eui64, &id->eui64_len, page, count, scst_eui64_valid);
}

CONFIGFS_ATTR(scst_id_, naa);
CONFIGFS_ATTR(scst_id_, eui64);

static struct configfs_attribute *scst_id_attrs[] = {
	&scst_id_attr_vendor,
	&scst_id_attr_product,
	&scst_id_attr_revision,
	&scst_id_attr_serial,
	&scst_id_attr_naa,
	&scst_id_attr_eui64,
	NULL,
};

static struct config_item_type scst_id_type = {
	.ct_owner	= THIS_MODULE,
	.ct_attrs	= scst_id_attrs,
};

/* NAA 3, locally assigned: random, for names are the same on many hosts, and used again on one. */
static void scst_identity_default(struct scst_device *dev)
{
	u64 naa;

	get_random_bytes(&naa, sizeof(naa));
	naa = naa >> 4 | 3ULL << 60;
	put_unaligned_be64(naa, dev->id.naa);
	dev->id.naa_len = 8;
	strscpy(dev->id.vendor, "SCST", sizeof(dev->id.vendor));
	strscpy(dev->id.product, dev->handler->name, sizeof(dev->id.product));
	strscpy(dev->id.revision, "1", sizeof(dev->id.revision));
	snprintf(dev->id.serial, sizeof(dev->id.serial), "%016llx", naa);
}

/* --- directories ---------------------------------------------------------------------------------- */

static void scst_device_item_release(struct config_item *item)
{
	scst_device_put(scst_device_of(item));
}

struct configfs_item_operations scst_device_item_ops = {
	.release	= scst_device_item_release,
};

static struct scst_device *scst_device_create(struct scst_handler_dir *dir, const char *name)
{
	const struct scst_handler *handler = dir->handler;
	struct scst_device *dev = kzalloc(handler->device_size, GFP_KERNEL);
	int ret;

	if (!dev)
		return ERR_PTR(-ENOMEM);
	ret = scst_device_init_ref(dev);
	if (ret) {
		kfree(dev);
		return ERR_PTR(ret);
	}
	scst_device_setup(dev, handler, name);
	scst_identity_default(dev);
	config_group_init_type_name(&dev->group, name, &dir->device_type);
	config_group_init_type_name(&dev->id_group, "id", &scst_id_type);
	configfs_add_default_group(&dev->id_group, &dev->group);
	scst_pr_dir_init(dev);
	/* There is no other word about the copy of a long name. */
	if (!config_item_name(&dev->group.cg_item)) {
		config_group_put(&dev->group);
		return ERR_PTR(-ENOMEM);
	}
	return dev;
}

static struct config_group *scst_device_make(struct config_group *group, const char *name)
{
	struct scst_handler_dir *dir = container_of(group, struct scst_handler_dir, group);
	struct scst_device *dev;
	int ret = scst_name_check(name, SCST_DEVICE_NAME_LEN, "");

	if (ret)
		return ERR_PTR(ret);
	dev = scst_device_create(dir, name);
	if (IS_ERR(dev))
		return ERR_CAST(dev);
	mutex_lock(&scst_config_mutex);
	if (scst_device_name_taken(name))
		ret = -EEXIST;
	else
		list_add_tail(&dev->entry, &scst_devices);
	mutex_unlock(&scst_config_mutex);
	if (ret) {
		config_group_put(&dev->group);
		return ERR_PTR(ret);
	}
	return &dev->group;
}

static void scst_device_drop(struct config_group *group, struct config_item *item)
{
	scst_device_retire(scst_device_of(item));
	scst_item_drop(item);
}

static struct configfs_group_operations scst_handler_group_ops = {
	.make_group	= scst_device_make,
	.drop_item	= scst_device_drop,
};

/* --- device_table: all devices in one read -------------------------------------------------------------- */

#define SCST_TABLE_SLACK	256	/* for values that have become longer between the two reads of configfs */

struct scst_table {
	char *buf;		/* as much of it as there is room for is in here */
	size_t size, len;
	char *page;		/* for one value, as an attribute's show() wants it */
};

static void scst_table_add(struct scst_table *table, const char *text, size_t len)
{
	if (table->len < table->size)
		memcpy(table->buf + table->len, text, min(len, table->size - table->len));
	table->len += len;
}

static void scst_table_words(struct scst_table *table, const char *const words[])
{
	for (; *words; words++)
		scst_table_add(table, *words, strlen(*words));
}

static int scst_table_attrs(struct scst_table *table, struct config_item *item, const char *folder)
{
	struct configfs_attribute **attr;

	for (attr = item->ci_type->ct_attrs; *attr; attr++) {
		ssize_t len = (*attr)->show ? (*attr)->show(item, table->page) : 0;

		if (len < 0)
			return len;
		if (!len)
			continue;
		scst_table_words(table, (const char *[]){ folder, (*attr)->ca_name, " ", NULL });
		scst_table_add(table, table->page, len);
	}
	return 0;
}

static int scst_table_device(struct scst_table *table, struct scst_device *dev)
{
	scst_table_words(table, (const char *[]){ "/", dev->handler->name, "/", dev->name, "\n", NULL });
	return scst_table_attrs(table, &dev->group.cg_item, "") ?:
	       scst_table_attrs(table, &dev->id_group.cg_item, "id/");
}

static int scst_table_devices(struct scst_table *table)
{
	struct scst_device **devs;
	int i, ret = 0, nr = scst_devices_hold(&devs);

	for (i = 0; i < nr; i++) {
		ret = ret ?: scst_table_device(table, devs[i]);
		scst_device_put(devs[i]);
	}
	kvfree(devs);
	return nr < 0 ? nr : ret;
}

/**
 * scst_device_table_read() - the read half of a binary attribute of configfs
 * @buf: NULL when configfs asks how much room is needed
 * @size: of @buf
 *
 * For each device a line "/HANDLER/NAME", and one for each attribute that can be read: its name, a blank, its value.
 * Room that is left over is empty lines at the end.  Process context, no lock is held from one value to the next.
 *
 * Return: bytes, -ENOMEM, or -EAGAIN if there came more between the two calls.
 */
ssize_t scst_device_table_read(void *buf, size_t size)
{
	struct scst_table table = { .buf = buf, .size = buf ? size : 0 };
	int ret;

	table.page = (char *)__get_free_page(GFP_KERNEL);
	if (!table.page)
		return -ENOMEM;
	ret = scst_table_devices(&table);
	free_page((unsigned long)table.page);
	if (ret)
		return ret;
	if (!buf)
		return table.len + SCST_TABLE_SLACK;
	if (table.len > size)
		return -EAGAIN;
	memset(buf + table.len, '\n', size - table.len);
	return size;
}

/* --- handlers ---------------------------------------------------------------------------------------- */

static size_t scst_count_attrs(struct configfs_attribute **attrs)
{
	size_t nr = 0;

	while (attrs && attrs[nr])
		nr++;
	return nr;
}

static struct scst_handler_dir *scst_handler_dir_alloc(const struct scst_handler *handler)
{
	size_t own = scst_count_attrs(handler->attrs), nr = ARRAY_SIZE(scst_device_common_attrs);
	size_t facts = handler->flags & SCST_HANDLER_FACTS ? ARRAY_SIZE(scst_device_facts_attrs) : 0;
	struct scst_handler_dir *dir = kzalloc(struct_size(dir, attrs, nr + facts + own + 6), GFP_KERNEL);

	if (!dir)
		return NULL;
	memcpy(dir->attrs, scst_device_common_attrs, sizeof(scst_device_common_attrs));
	dir->attrs[nr++] = handler->flags & SCST_HANDLER_SIZE_RW || handler->capacity ?
			   &scst_device_attr_size : &scst_device_attr_size_ro;
	if (!(handler->flags & SCST_HANDLER_NO_CACHE))
		dir->attrs[nr++] = &scst_device_attr_write_through;
	if (handler->flags & SCST_HANDLER_THIN)
		dir->attrs[nr++] = &scst_device_attr_thin;
	if (handler->flags & SCST_HANDLER_PROTECTION)
		dir->attrs[nr++] = &scst_device_attr_protection;
	if (handler->space)
		dir->attrs[nr++] = &scst_device_attr_space_threshold;
	if (facts)
		memcpy(&dir->attrs[nr], scst_device_facts_attrs, sizeof(scst_device_facts_attrs));
	nr += facts;
	if (own)
		memcpy(&dir->attrs[nr], handler->attrs, own * sizeof(*handler->attrs));
	dir->handler = handler;
	dir->type.ct_owner = handler->owner;
	dir->type.ct_group_ops = &scst_handler_group_ops;
	dir->device_type.ct_owner = handler->owner;
	dir->device_type.ct_item_ops = &scst_device_item_ops;
	dir->device_type.ct_attrs = dir->attrs;
	config_group_init_type_name(&dir->group, handler->name, &dir->type);
	return dir;
}

static struct scst_handler_dir *scst_handler_find(const char *name)
{
	struct scst_handler_dir *dir;

	list_for_each_entry(dir, &scst_handler_dirs, entry)
		if (!strcmp(dir->handler->name, name))
			return dir;
	return NULL;
}

/**
 * scst_handler_register() - offer a device handler
 * @handler: its table, valid until scst_handler_unregister()
 *
 * Process context, from the module's init; makes devices/NAME in configfs.
 *
 * Return: 0, -EINVAL if a mandatory member is missing, -EEXIST for a name in use, -ENOMEM.
 */
int scst_handler_register(const struct scst_handler *handler)
{
	struct scst_handler_dir *dir;
	int ret;

	if (!handler->owner || !handler->check || !handler->open || !handler->close || !handler->execute ||
	    !scst_ops_of_type(handler->device_type) || !handler->lend != !handler->unlend ||
	    handler->device_size < sizeof(struct scst_device) ||
	    scst_name_check(handler->name, sizeof_field(struct scst_identity, product) - 1, ""))
		return -EINVAL;
	dir = scst_handler_dir_alloc(handler);
	if (!dir)
		return -ENOMEM;
	mutex_lock(&scst_handlers_lock);
	ret = scst_handler_find(handler->name) ? -EEXIST :
	      configfs_register_group(&scst_devices_group, &dir->group);
	if (!ret)
		list_add(&dir->entry, &scst_handler_dirs);
	mutex_unlock(&scst_handlers_lock);
	if (ret)
		kfree(dir);
	return ret;
}
EXPORT_SYMBOL_GPL(scst_handler_register);

/**
 * scst_handler_unregister() - withdraw a device handler
 * @handler: as registered; has no devices any more, each of which holds the module
 *
 * Process context, from the module's exit.
 */
void scst_handler_unregister(const struct scst_handler *handler)
{
	struct scst_handler_dir *dir;

	mutex_lock(&scst_handlers_lock);
	dir = scst_handler_find(handler->name);
	scst_group_withdraw(&dir->group);
	list_del(&dir->entry);
	mutex_unlock(&scst_handlers_lock);
	/* The work that dropped the last device may still be returning from the handler ... */
	scst_retire_flush();
	/* ... and so may submitters that were preempted in it after they had dropped the last reference. */
	synchronize_rcu_tasks();
	kfree(dir);
}
EXPORT_SYMBOL_GPL(scst_handler_unregister);
