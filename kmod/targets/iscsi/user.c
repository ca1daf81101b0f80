// SPDX-License-Identifier: GPL-2.0-only
/*
 * users/NAME in configfs: who proves himself by CHAP, to a target or to discovery, and what a target proves itself with.
 *
 * A secret can be written, and nobody can read it here: who logs initiators in asks iscsi_secret_get().  Whether there is one, and what
 * it was taken from if who wrote it has said so, is in `secret_from`.
 */
#include "config.h"
#include <linux/ctype.h>
#include <linux/module.h>
#include <linux/slab.h>

/**
 * struct iscsi_user - a user
 * @item: his directory
 * @entry: users->list
 * @users: the others
 * @direction: enum iscsi_direction
 * @expires: when he is over, seconds since 1970; 0: never.  As @uses, kept for who logs initiators in
 * @uses: logins that he is good for, 0: any number
 * @len: bytes of @secret; 0: he has none yet
 * @secret: what he proves himself with
 * @secret_from: what it was taken from, kept for who configures; ISCSI_BY_HAND: nobody has said so; empty: there is none
 */
struct iscsi_user {
	struct config_item item;
	struct list_head entry;
	struct iscsi_users *users;
	u8 direction;
	u32 expires;
	u32 uses;
	u8 len;
	u8 secret[SCST_ISCSI_SECRET_MAX];
	char secret_from[ISCSI_SOURCE_LEN + 1];
};

#define ISCSI_BY_HAND	"-"

enum iscsi_direction {
	ISCSI_IN,		/* the initiator proves itself */
	ISCSI_OUT,		/* the target does */
	ISCSI_DIRECTIONS,
};

static const char *const iscsi_directions[] = {
	[ISCSI_IN]	= "in",
	[ISCSI_OUT]	= "out",
};

static LIST_HEAD(iscsi_targets);	/* struct iscsi_target_config, under iscsi_config_lock */

static struct iscsi_user *iscsi_user_of(struct config_item *item)
{
	return container_of(item, struct iscsi_user, item);
}

/*
 * Would one secret be good for both directions (RFC 7143 9.2.1: never)?  An initiator could have the target compute the answer that it
 * can't give itself.  Under iscsi_config_lock.
 */
static bool iscsi_secret_reflects(const struct iscsi_user *user, u8 direction, const u8 *secret, u32 len)
{
	const struct iscsi_user *other;

	lockdep_assert_held(&iscsi_config_lock);
	list_for_each_entry(other, &user->users->list, entry)
		if (other->direction != direction && other->len == len && len && !memcmp(other->secret, secret, len) && other != user)
			return true;
	return false;
}

static ssize_t iscsi_user_direction_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%s\n", iscsi_directions[READ_ONCE(iscsi_user_of(item)->direction)]);
}

static ssize_t iscsi_user_direction_store(struct config_item *item, const char *page, size_t count)
{
	int direction = __sysfs_match_string(iscsi_directions, ISCSI_DIRECTIONS, page);
	struct iscsi_user *user = iscsi_user_of(item);
	int ret = 0;

	if (direction < 0)
		return direction;
	mutex_lock(&iscsi_config_lock);
	if (iscsi_secret_reflects(user, direction, user->secret, user->len))
		ret = -EEXIST;
	else
		WRITE_ONCE(user->direction, direction);
	mutex_unlock(&iscsi_config_lock);
	if (ret)
		return ret;
	iscsi_config_changed();
	return count;
}

static int iscsi_user_set_secret(struct iscsi_user *user, const u8 *secret, size_t len)
{
	int ret = 0;

	if (len < ISCSI_SECRET_MIN || len > SCST_ISCSI_SECRET_MAX)
		return -ERANGE;
	mutex_lock(&iscsi_config_lock);
	if (iscsi_secret_reflects(user, user->direction, secret, len)) {
		ret = -EEXIST;
	} else {
		memzero_explicit(user->secret, sizeof(user->secret));
		memcpy(user->secret, secret, len);
		WRITE_ONCE(user->len, len);
		strscpy(user->secret_from, ISCSI_BY_HAND, sizeof(user->secret_from));
	}
	mutex_unlock(&iscsi_config_lock);
	return ret;
}

/* Without a newline at its end.  What is written is in memory of the open file's, which configfs frees as it is. */
static ssize_t iscsi_user_secret_store(struct config_item *item, const char *page, size_t count)
{
	size_t len = count && page[count - 1] == '\n' ? count - 1 : count;
	int ret = iscsi_user_set_secret(iscsi_user_of(item), page, len);

	memzero_explicit((char *)page, count);
	if (ret)
		return ret;
	iscsi_config_changed();
	return count;
}

/* A line of UTF-8. */
static int iscsi_source_check(const char *text)
{
	for (; *text; text++)
		if (isascii(*text) && !isprint(*text))
			return -EINVAL;
	return 0;
}

static ssize_t iscsi_user_secret_from_show(struct config_item *item, char *page)
{
	return iscsi_show_text(page, iscsi_user_of(item)->secret_from);
}

static ssize_t iscsi_user_secret_from_store(struct config_item *item, const char *page, size_t count)
{
	struct iscsi_user *user = iscsi_user_of(item);

	if (!count || page[0] == '\n')
		return -EINVAL;
	if (!READ_ONCE(user->len))
		return -ENOKEY;
	return iscsi_store_text(page, count, iscsi_source_check, user->secret_from, sizeof(user->secret_from));
}

CONFIGFS_ATTR(iscsi_user_, direction);
ISCSI_NUMBER(iscsi_user_, iscsi_user_of, expires, 0, U32_MAX);
ISCSI_NUMBER(iscsi_user_, iscsi_user_of, uses, 0, U16_MAX);
CONFIGFS_ATTR(iscsi_user_, secret_from);
CONFIGFS_ATTR_WO(iscsi_user_, secret);

static struct configfs_attribute *iscsi_user_attrs[] = {
	&iscsi_user_attr_direction,
	&iscsi_user_attr_expires,
	&iscsi_user_attr_uses,
	&iscsi_user_attr_secret,
	&iscsi_user_attr_secret_from,
	NULL,
};

/* The module: see portal.c. */
static void iscsi_user_release(struct config_item *item)
{
	kfree_sensitive(iscsi_user_of(item));
	module_put(THIS_MODULE);
}

static struct configfs_item_operations iscsi_user_item_ops = {
	.release	= iscsi_user_release,
};

static const struct config_item_type iscsi_user_type = {
	.ct_owner	= THIS_MODULE,
	.ct_item_ops	= &iscsi_user_item_ops,
	.ct_attrs	= iscsi_user_attrs,
};

/* Names are what initiators have been given: anything that CHAP_N and a directory can have. */
static int iscsi_user_check(const char *name)
{
	const char *c;

	if (strlen(name) >= SCST_ISCSI_NAME)
		return -ENAMETOOLONG;
	for (c = name; *c; c++)
		if (!isascii(*c) || !isgraph(*c))
			return -EINVAL;
	return 0;
}

static struct config_item *iscsi_user_make(struct config_group *group, const char *name)
{
	struct iscsi_users *users = container_of(group, struct iscsi_users, group);
	struct iscsi_user *user;
	int ret = iscsi_user_check(name);

	if (ret)
		return ERR_PTR(ret);
	user = kzalloc(sizeof(*user), GFP_KERNEL);
	if (!user)
		return ERR_PTR(-ENOMEM);
	__module_get(THIS_MODULE);
	user->users = users;
	config_item_init_type_name(&user->item, name, &iscsi_user_type);
	/* There is no other word about the copy of a long name. */
	if (!config_item_name(&user->item)) {
		config_item_put(&user->item);
		return ERR_PTR(-ENOMEM);
	}
	mutex_lock(&iscsi_config_lock);
	list_add_tail(&user->entry, &users->list);
	mutex_unlock(&iscsi_config_lock);
	iscsi_config_changed();
	return &user->item;
}

static void iscsi_user_drop(struct config_group *group, struct config_item *item)
{
	mutex_lock(&iscsi_config_lock);
	list_del(&iscsi_user_of(item)->entry);
	mutex_unlock(&iscsi_config_lock);
	scst_item_drop(item);
	iscsi_config_changed();
}

static struct configfs_group_operations iscsi_users_group_ops = {
	.make_item	= iscsi_user_make,
	.drop_item	= iscsi_user_drop,
};

static const struct config_item_type iscsi_users_type = {
	.ct_owner	= THIS_MODULE,
	.ct_group_ops	= &iscsi_users_group_ops,
};

void iscsi_users_init(struct iscsi_users *users)
{
	INIT_LIST_HEAD(&users->list);
	config_group_init_type_name(&users->group, "users", &iscsi_users_type);
}

/* --- secrets, for who logs initiators in ------------------------------------------------------------- */

static const struct iscsi_user *iscsi_user_find(const struct iscsi_users *users, const char *name)
{
	const struct iscsi_user *user;

	list_for_each_entry(user, &users->list, entry)
		if (!strcmp(config_item_name((struct config_item *)&user->item), name))
			return user;
	return NULL;
}

/* One of the name may be on its way out: it has no users any more. */
static const struct iscsi_user *iscsi_target_user_find(const char *target, const char *name)
{
	const struct iscsi_target_config *config;
	const struct iscsi_user *user;

	list_for_each_entry(config, &iscsi_targets, entry) {
		user = strcmp(config->name, target) ? NULL : iscsi_user_find(&config->users, name);
		if (user)
			return user;
	}
	return NULL;
}

/**
 * iscsi_secret_get() - what a user proves himself with
 * @target: name of the target; empty: a user of discovery
 * @user: his name
 * @secret: out; to be zeroed by the caller
 * @len: out: bytes
 *
 * Process context, may sleep.  Return: 0, -ENOENT: no such user, -ENOKEY: no secret was written.
 */
int iscsi_secret_get(const char *target, const char *user, u8 secret[SCST_ISCSI_SECRET_MAX], u32 *len)
{
	const struct iscsi_user *found;
	int ret = -ENOENT;

	mutex_lock(&iscsi_config_lock);
	found = *target ? iscsi_target_user_find(target, user) : iscsi_user_find(&iscsi_discovery_users, user);
	if (found)
		ret = found->len ? 0 : -ENOKEY;
	if (!ret) {
		memcpy(secret, found->secret, found->len);
		*len = found->len;
	}
	mutex_unlock(&iscsi_config_lock);
	return ret;
}

/* Is there a target of this name, be it enabled or not?  Process context, may sleep. */
bool iscsi_target_exists(const char *name)
{
	const struct iscsi_target_config *config;
	bool found = false;

	mutex_lock(&iscsi_config_lock);
	list_for_each_entry(config, &iscsi_targets, entry)
		found |= !strcmp(config->name, name);
	mutex_unlock(&iscsi_config_lock);
	return found;
}

/* Secrets of the target's users are found from here on. */
void iscsi_users_publish(struct iscsi_target_config *config)
{
	mutex_lock(&iscsi_config_lock);
	list_add_tail(&config->entry, &iscsi_targets);
	mutex_unlock(&iscsi_config_lock);
}

void iscsi_users_withdraw(struct iscsi_target_config *config)
{
	mutex_lock(&iscsi_config_lock);
	list_del(&config->entry);
	mutex_unlock(&iscsi_config_lock);
}
