// SPDX-License-Identifier: GPL-2.0-only
/*
 * drivers/iscsi/portals/NAME in configfs, and the links to them in portals/ of targets.
 *
 * A link is in a directory that goes with its target, and symlink(2) lets go of that directory's lock while it looks for what the link is
 * to point to.  It holds the directory's item meanwhile, and nothing else: so the item is not part of the target, and has a reference to
 * the module.  With the lock again, a directory that is dead takes no link.
 *
 * symlink(2) anywhere in configfs may hold what it finds under the name it was given.  Portals therefore have a reference to the module
 * until they are freed, too; configfs' own ends with the directory.
 */
#include "config.h"
#include <linux/ctype.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/slab.h>

struct iscsi_portal {
	struct config_item item;
	struct list_head entry;			/* iscsi_portals */
	u32 port;
	u8 discovery_auth;
	char address[ISCSI_HOST_LEN + 1];
	char netns[ISCSI_HOST_LEN + 1];
	char advertise[ISCSI_HOST_PORT_LEN + 1];
	char state[SCST_ISCSI_STATE];
	const void *told_by;			/* who has said so, while he is there */
};

static LIST_HEAD(iscsi_portals);		/* under iscsi_config_lock */

static struct iscsi_portal *iscsi_portal_of(struct config_item *item)
{
	return container_of(item, struct iscsi_portal, item);
}

/* --- values ------------------------------------------------------------------------------------------- */

/* An IPv6 address, of a link perhaps: fe80::1%eth0. */
static int iscsi_address_check_ipv6(const char *text)
{
	const char *zone = strchrnul(text, '%');

	if (!iscsi_is_ipv6(text, zone - text))
		return -EINVAL;
	return *zone && !dev_valid_name(zone + 1) ? -EINVAL : 0;
}

/* What is made of digits and dots is meant to be an address, though an interface might be called so. */
static int iscsi_address_check(const char *text)
{
	if (!strcmp(text, "*"))
		return 0;
	if (strchr(text, ':'))
		return iscsi_address_check_ipv6(text);
	if (!text[strspn(text, "0123456789.")])
		return iscsi_is_ipv4(text, strlen(text)) ? 0 : -EINVAL;
	return strpbrk(text, "*%") || !dev_valid_name(text) ? -EINVAL : 0;
}

/* The name of a file in /run/netns. */
static int iscsi_netns_check(const char *text)
{
	const char *c;

	if (!strcmp(text, ".") || !strcmp(text, ".."))
		return -EINVAL;
	for (c = text; *c; c++)
		if (!isascii(*c) || !isgraph(*c) || *c == '/')
			return -EINVAL;
	return 0;
}

static ssize_t iscsi_portal_address_show(struct config_item *item, char *page)
{
	return iscsi_show_text(page, iscsi_portal_of(item)->address);
}

/* There is no portal without one. */
static ssize_t iscsi_portal_address_store(struct config_item *item, const char *page, size_t count)
{
	struct iscsi_portal *portal = iscsi_portal_of(item);

	if (!count || page[0] == '\n')
		return -EINVAL;
	return iscsi_store_text(page, count, iscsi_address_check, portal->address, sizeof(portal->address));
}

CONFIGFS_ATTR(iscsi_portal_, address);
ISCSI_NUMBER(iscsi_portal_, iscsi_portal_of, port, 1, U16_MAX);
ISCSI_TEXT(iscsi_portal_, iscsi_portal_of, netns, iscsi_netns_check);
ISCSI_TEXT(iscsi_portal_, iscsi_portal_of, advertise, iscsi_host_port_check);
ISCSI_WORD(iscsi_portal_, iscsi_portal_of, discovery_auth, iscsi_auths, ISCSI_AUTHS);

static ssize_t iscsi_portal_state_show(struct config_item *item, char *page)
{
	return iscsi_show_text(page, iscsi_portal_of(item)->state);
}

CONFIGFS_ATTR_RO(iscsi_portal_, state);

/**
 * iscsi_portal_set_state() - what a portal's `state` is to show
 * @name: of the portal
 * @state: one line
 * @by: who says so: shown until he says something else, or iscsi_portal_forget()
 *
 * Process context, may sleep.  Return: 0, -ENOENT: no such portal, -EINVAL for more than a line.
 */
int iscsi_portal_set_state(const char *name, const char *state, const void *by)
{
	struct iscsi_portal *portal;
	int ret = -ENOENT;

	if (strlen(state) >= SCST_ISCSI_STATE || strchr(state, '\n'))
		return -EINVAL;
	mutex_lock(&iscsi_config_lock);
	list_for_each_entry(portal, &iscsi_portals, entry) {
		if (!strcmp(config_item_name(&portal->item), name)) {
			strscpy(portal->state, state, sizeof(portal->state));
			portal->told_by = by;
			ret = 0;
		}
	}
	mutex_unlock(&iscsi_config_lock);
	return ret;
}

/**
 * iscsi_portal_forget() - what somebody has said of portals is not so any more
 * @by: he is gone, and so is what he has listened at
 *
 * What a successor has said meanwhile stays.  Process context, may sleep.
 */
void iscsi_portal_forget(const void *by)
{
	struct iscsi_portal *portal;

	mutex_lock(&iscsi_config_lock);
	list_for_each_entry(portal, &iscsi_portals, entry) {
		if (portal->told_by == by) {
			strscpy(portal->state, ISCSI_NOBODY, sizeof(portal->state));
			portal->told_by = NULL;
		}
	}
	mutex_unlock(&iscsi_config_lock);
}

/* --- portals/NAME ------------------------------------------------------------------------------------- */

static struct configfs_attribute *iscsi_portal_attrs[] = {
	&iscsi_portal_attr_address,
	&iscsi_portal_attr_port,
	&iscsi_portal_attr_netns,
	&iscsi_portal_attr_advertise,
	&iscsi_portal_attr_discovery_auth,
	&iscsi_portal_attr_state,
	NULL,
};

static void iscsi_portal_release(struct config_item *item)
{
	kfree(iscsi_portal_of(item));
	module_put(THIS_MODULE);
}

static struct configfs_item_operations iscsi_portal_item_ops = {
	.release	= iscsi_portal_release,
};

static const struct config_item_type iscsi_portal_type = {
	.ct_owner	= THIS_MODULE,
	.ct_item_ops	= &iscsi_portal_item_ops,
	.ct_attrs	= iscsi_portal_attrs,
};

static struct config_item *iscsi_portal_make(struct config_group *group, const char *name)
{
	struct iscsi_portal *portal;
	int ret = scst_name_check(name, SCST_ISCSI_PORTAL_NAME - 1, "");

	if (ret)
		return ERR_PTR(ret);
	portal = kzalloc(sizeof(*portal), GFP_KERNEL);
	if (!portal)
		return ERR_PTR(-ENOMEM);
	__module_get(THIS_MODULE);
	strscpy(portal->address, "*", sizeof(portal->address));
	portal->port = 3260;
	strscpy(portal->state, ISCSI_NOBODY, sizeof(portal->state));
	config_item_init_type_name(&portal->item, name, &iscsi_portal_type);
	/* There is no other word about the copy of a long name. */
	if (!config_item_name(&portal->item)) {
		config_item_put(&portal->item);
		return ERR_PTR(-ENOMEM);
	}
	mutex_lock(&iscsi_config_lock);
	list_add_tail(&portal->entry, &iscsi_portals);
	mutex_unlock(&iscsi_config_lock);
	iscsi_config_changed();
	return &portal->item;
}

/* No target has a link to it: configfs says EBUSY then. */
static void iscsi_portal_drop(struct config_group *group, struct config_item *item)
{
	mutex_lock(&iscsi_config_lock);
	list_del(&iscsi_portal_of(item)->entry);
	mutex_unlock(&iscsi_config_lock);
	scst_item_drop(item);
	iscsi_config_changed();
}

static struct configfs_group_operations iscsi_portals_group_ops = {
	.make_item	= iscsi_portal_make,
	.drop_item	= iscsi_portal_drop,
};

static const struct config_item_type iscsi_portals_type = {
	.ct_owner	= THIS_MODULE,
	.ct_group_ops	= &iscsi_portals_group_ops,
};

static struct config_group iscsi_portals_group;

/* portals/ of drivers/iscsi. */
void iscsi_portals_init(struct config_group *parent)
{
	config_group_init_type_name(&iscsi_portals_group, "portals", &iscsi_portals_type);
	configfs_add_default_group(&iscsi_portals_group, parent);
}

/* --- portals/ of a target ------------------------------------------------------------------------------- */

/* The lock of the directory is held, and who calls has its dentry.  The target of the link may be any item of any subsystem. */
static int iscsi_portal_allow_link(struct config_item *src, struct config_item *target)
{
	if (IS_DEADDIR(d_inode(src->ci_dentry)))
		return -ENOENT;
	if (target->ci_type != &iscsi_portal_type)
		return -EINVAL;
	iscsi_config_changed();
	return 0;
}

static void iscsi_portal_drop_link(struct config_item *src, struct config_item *target)
{
	iscsi_config_changed();
}

static void iscsi_portal_links_release(struct config_item *item)
{
	kfree(to_config_group(item));
	module_put(THIS_MODULE);
}

static struct configfs_item_operations iscsi_portal_links_item_ops = {
	.release	= iscsi_portal_links_release,
	.allow_link	= iscsi_portal_allow_link,
	.drop_link	= iscsi_portal_drop_link,
};

static const struct config_item_type iscsi_portal_links_type = {
	.ct_owner	= THIS_MODULE,
	.ct_item_ops	= &iscsi_portal_links_item_ops,
};

/* The caller's with a reference; NULL: no memory. */
struct config_group *iscsi_portal_links_alloc(void)
{
	struct config_group *group = kzalloc(sizeof(*group), GFP_KERNEL);

	if (!group)
		return NULL;
	__module_get(THIS_MODULE);
	config_group_init_type_name(group, "portals", &iscsi_portal_links_type);
	return group;
}
