// SPDX-License-Identifier: GPL-2.0-only
/*
 * The root of the configfs tree, and the syntax its values share.
 */
#include "core.h"
#include <linux/ctype.h>
#include <linux/dcache.h>
#include <linux/fs.h>

/* --- syntax ------------------------------------------------------------------------------------- */

/**
 * scst_name_check() - is this a name a directory may have?
 * @name: the name
 * @max: longest allowed
 * @more: characters allowed besides letters, digits and "_.:-"
 *
 * Return: 0, -ENAMETOOLONG or -EINVAL.
 */
int scst_name_check(const char *name, size_t max, const char *more)
{
	const char *c;

	if (strlen(name) > max)
		return -ENAMETOOLONG;
	if (name[0] == '.' || name[0] == '-' || !name[0])
		return -EINVAL;
	for (c = name; *c; c++)
		if (!isascii(*c) || (!isalnum(*c) && !strchr("_.:-", *c) && !strchr(more, *c)))
			return -EINVAL;
	return 0;
}
EXPORT_SYMBOL_GPL(scst_name_check);

/**
 * scst_item_drop() - end of a configfs drop_item operation: the directory's reference goes
 * @item: the item whose directory is being removed
 *
 * symlink(2) takes a reference to the item it points to as long as the item's dentry is hashed, and the VFS
 * unhashes it only after rmdir(2) has dropped the last reference. Hence it is unhashed here; a lookup of the name
 * then waits for the parent's lock, that is, for the end of the removal. Items whose mkdir(2) failed half way
 * may have no dentry.
 *
 * Context: process context, under the parent's inode lock. @item may be gone afterwards.
 */
void scst_item_drop(struct config_item *item)
{
	if (item->ci_dentry)
		d_drop(item->ci_dentry);
	config_item_put(item);
}
EXPORT_SYMBOL_GPL(scst_item_drop);

/*
 * The end of a directory that a module has registered.  configfs unlinks it without a look at who is in it: a mkdir(2) that
 * has begun goes on using its item, or finds it unlinked, which is a BUG().  But a mkdir(2) holds the directory's lock
 * all the time, and refuses a directory that is dead.  So with the lock it is declared dead: who was in it has
 * gone then, and nobody comes any more.
 */
void scst_group_withdraw(struct config_group *group)
{
	struct inode *inode = d_inode(group->cg_item.ci_dentry);

	inode_lock(inode);
	inode->i_flags |= S_DEAD;
	inode_unlock(inode);
	configfs_unregister_group(group);
}

/* Whole words only: kstrtobool() would take "nonsense" for no. */
int scst_parse_bool(const char *page, bool *value)
{
	static const char *const words[] = { "0", "1", "n", "y", "off", "on" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(words); i++) {
		if (sysfs_streq(page, words[i])) {
			*value = i & 1;
			return 0;
		}
	}
	return -EINVAL;
}
EXPORT_SYMBOL_GPL(scst_parse_bool);

/**
 * scst_parse_u64() - a number, decimal or 0x and hexadecimal digits, with a newline behind it perhaps
 * @page: the text
 * @max: the largest allowed
 * @value: out; may be written to in case of an error as well
 *
 * Any context.  Return: 0, -EINVAL: no number, -ERANGE.
 */
int scst_parse_u64(const char *page, u64 max, u64 *value)
{
	unsigned int base = page[0] == '0' && tolower(page[1]) == 'x' ? 16 : 10;
	int ret;

	if (!isdigit(page[0]))
		return -EINVAL;
	ret = kstrtou64(page, base, value);
	if (ret)
		return ret;
	return *value > max ? -ERANGE : 0;
}
EXPORT_SYMBOL_GPL(scst_parse_u64);

#define SCST_WITHIN		" within "
#define SCST_WITHIN_MAX		(24 * 3600 * MSEC_PER_SEC)

/**
 * scst_parse_within() - what is asked for, and how long to wait for it
 * @page: "WORD", or "WORD within MILLISECONDS"
 * @text: memory for WORD
 * @word: WORD
 * @until: to wait until (jiffies), SCST_STORE_ENDLESS if it is not said
 *
 * Return: 0, -EINVAL, -ERANGE for a number that is none of ours, and for more than a day.
 */
int scst_parse_within(const char *page, char text[SCST_WORD_LEN], const char **word, u64 *until)
{
	const char *within = strstr(page, SCST_WITHIN);
	u64 ms;
	int ret;

	*word = page;
	*until = SCST_STORE_ENDLESS;
	if (!within)
		return 0;
	if (within - page >= SCST_WORD_LEN)
		return isdigit(page[0]) ? -ERANGE : -EINVAL;
	memcpy(text, page, within - page);
	text[within - page] = '\0';
	*word = text;
	ret = scst_parse_u64(within + strlen(SCST_WITHIN), SCST_WITHIN_MAX, &ms);
	if (!ret)
		*until = get_jiffies_64() + msecs_to_jiffies(ms);
	return ret;
}

/* --- root ------------------------------------------------------------------------------------------ */

static ssize_t scst_root_version_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%s\n", SCST_VERSION);
}

static ssize_t scst_root_features_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "\n");
}

static ssize_t scst_root_generation_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%llu\n", scst_generation());
}

static ssize_t scst_root_staged_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", scst_staged());
}

static ssize_t scst_root_autocommit_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", scst_autocommit());
}

static ssize_t scst_root_autocommit_store(struct config_item *item, const char *page, size_t count)
{
	bool on;
	int ret = scst_parse_bool(page, &on) ?: scst_set_autocommit(on);

	return ret ?: count;
}

static ssize_t scst_root_commit_store(struct config_item *item, const char *page, size_t count)
{
	u64 base;
	int ret = scst_parse_u64(page, U64_MAX, &base) ?: scst_commit(base, false);

	return ret ?: count;
}

static ssize_t scst_root_commit_fence_store(struct config_item *item, const char *page, size_t count)
{
	u64 base;
	int ret = scst_parse_u64(page, U64_MAX, &base) ?: scst_commit(base, true);

	return ret ?: count;
}

static ssize_t scst_root_settled_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%llu\n", scst_settled());
}

/* As it was set; 0: as the host's memory suggests. */
static u64 scst_buffer_limit;

static ssize_t scst_root_buffer_limit_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%llu\n", READ_ONCE(scst_buffer_limit));
}

static ssize_t scst_root_buffer_limit_store(struct config_item *item, const char *page, size_t count)
{
	u64 limit;
	int ret = scst_parse_u64(page, LONG_MAX, &limit);

	if (ret)
		return ret;
	WRITE_ONCE(scst_buffer_limit, limit);
	WRITE_ONCE(scst_host_memory.limit, limit ?: scst_host_memory_default());
	return count;
}

static ssize_t scst_root_device_table_read(struct config_item *item, void *buf, size_t size)
{
	return scst_device_table_read(buf, size);
}

CONFIGFS_ATTR_RO(scst_root_, version);
CONFIGFS_ATTR_RO(scst_root_, features);
CONFIGFS_ATTR_RO(scst_root_, generation);
CONFIGFS_ATTR_RO(scst_root_, staged);
CONFIGFS_ATTR(scst_root_, autocommit);
CONFIGFS_ATTR_WO(scst_root_, commit);
CONFIGFS_ATTR_WO(scst_root_, commit_fence);
CONFIGFS_ATTR_RO(scst_root_, settled);
CONFIGFS_ATTR(scst_root_, buffer_limit);
CONFIGFS_BIN_ATTR_RO(scst_root_, device_table, NULL, 0);

static struct configfs_attribute *scst_root_attrs[] = {
	&scst_root_attr_version,
	&scst_root_attr_features,
	&scst_root_attr_generation,
	&scst_root_attr_staged,
	&scst_root_attr_autocommit,
	&scst_root_attr_commit,
	&scst_root_attr_commit_fence,
	&scst_root_attr_settled,
	&scst_root_attr_buffer_limit,
	NULL,
};

static struct configfs_bin_attribute *scst_root_bin_attrs[] = {
	&scst_root_attr_device_table,
	NULL,
};

static struct config_item_type scst_root_type = {
	.ct_owner	= THIS_MODULE,
	.ct_attrs	= scst_root_attrs,
	.ct_bin_attrs	= scst_root_bin_attrs,
};

static struct configfs_subsystem scst_subsystem = {
	.su_group = {
		.cg_item = {
			.ci_namebuf	= "scst",
			.ci_type	= &scst_root_type,
		},
	},
};

static struct config_item_type scst_branch_type = {
	.ct_owner	= THIS_MODULE,
};

struct config_group scst_devices_group;
struct config_group scst_targets_group;
struct config_group scst_drivers_group;		/* what target drivers have besides targets */

int scst_configfs_init(void)
{
	config_group_init(&scst_subsystem.su_group);
	mutex_init(&scst_subsystem.su_mutex);
	config_group_init_type_name(&scst_devices_group, "devices", &scst_branch_type);
	configfs_add_default_group(&scst_devices_group, &scst_subsystem.su_group);
	config_group_init_type_name(&scst_drivers_group, "drivers", &scst_branch_type);
	configfs_add_default_group(&scst_drivers_group, &scst_subsystem.su_group);
	config_group_init_type_name(&scst_targets_group, "targets", &scst_branch_type);
	configfs_add_default_group(&scst_targets_group, &scst_subsystem.su_group);
	scst_alua_root_init(&scst_subsystem.su_group);
	scst_fault_root_init(&scst_subsystem.su_group);
	return configfs_register_subsystem(&scst_subsystem);
}

void scst_configfs_exit(void)
{
	configfs_unregister_subsystem(&scst_subsystem);
	/* Targets and groups are freed by work that their directories left behind, nexuses after a grace period. */
	scst_retire_flush();
	rcu_barrier();
	scst_retire_flush();
	scst_settle_exit();
}
