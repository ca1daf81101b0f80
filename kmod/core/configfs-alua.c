// SPDX-License-Identifier: GPL-2.0-only
/*
 * alua/ in configfs: device groups, their devices, and the target port groups that these have.
 *
 * Each change is made in the tree under scst_config_mutex and published by alua.c, at once: nothing is staged.  A refused
 * publication is undone here before the errno goes out.
 *
 * A link is in a directory of its own (devices/NAME/device), as that of a LUN: symlink(2) lets go of the directory while it looks for
 * what it is to point to, and only an item that it holds is there afterwards.
 */
#include "core.h"
#include "alua.h"

/* What can't be refused: the value is some kilobytes at most. */
#define SCST_ALUA_NOFAIL	(GFP_KERNEL | __GFP_NOFAIL)

static int scst_alua_changed(struct scst_alua_dir *dir)
{
	return scst_alua_publish(dir, SCST_UA_ALUA_CHANGED, NULL, GFP_KERNEL);
}

static void scst_alua_removed(struct scst_alua_dir *dir)
{
	scst_alua_publish(dir, SCST_UA_ALUA_CHANGED, NULL, SCST_ALUA_NOFAIL);
}

/* --- target_port_groups/NAME/ports/NAME -------------------------------------------------------------- */

static struct scst_alua_port *scst_alua_port_of_item(struct config_item *item)
{
	return container_of(item, struct scst_alua_port, item);
}

/* Is it the identifier of another port of the device group?  Under scst_config_mutex. */
static bool scst_alua_id_taken(const struct scst_alua_dir *dir, u16 id, const struct scst_alua_port *except)
{
	const struct scst_alua_port *port;
	const struct scst_alua_tpg *tpg;

	list_for_each_entry(tpg, &dir->tpgs, entry)
		list_for_each_entry(port, &tpg->port_list, entry)
			if (port != except && scst_alua_port_id(port) == id)
				return true;
	return false;
}

static ssize_t scst_alua_port_rel_tgt_id_show(struct config_item *item, char *page)
{
	u16 id;

	mutex_lock(&scst_config_mutex);
	id = scst_alua_port_id(scst_alua_port_of_item(item));
	mutex_unlock(&scst_config_mutex);
	return sysfs_emit(page, "%u\n", id);
}

/* Under scst_config_mutex. */
static int scst_alua_port_set_id(struct scst_alua_port *port, u16 id)
{
	u16 old = port->remote_id;
	int ret;

	if (port->tgt)
		return -EBUSY;
	if (id == old)
		return 0;
	if (id && scst_alua_id_taken(port->tpg->dir, id, port))
		return -EEXIST;
	port->remote_id = id;
	ret = scst_alua_changed(port->tpg->dir);
	if (ret)
		port->remote_id = old;
	return ret;
}

static ssize_t scst_alua_port_rel_tgt_id_store(struct config_item *item, const char *page, size_t count)
{
	u64 id;
	int ret = scst_parse_u64(page, U16_MAX, &id);

	if (ret)
		return ret;
	mutex_lock(&scst_config_mutex);
	ret = scst_alua_port_set_id(scst_alua_port_of_item(item), id);
	mutex_unlock(&scst_config_mutex);
	return ret ?: count;
}

CONFIGFS_ATTR(scst_alua_port_, rel_tgt_id);

static struct configfs_attribute *scst_alua_port_attrs[] = {
	&scst_alua_port_attr_rel_tgt_id,
	NULL,
};

/* Under scst_config_mutex. */
static int scst_alua_port_link(struct scst_alua_port *port, struct scst_target *tgt)
{
	int ret;

	if (list_empty(&port->entry))
		return -ENOENT;
	if (port->tgt)
		return -EEXIST;
	if (port->remote_id)
		return -EBUSY;
	if (scst_alua_id_taken(port->tpg->dir, READ_ONCE(tgt->rel_tgt_id), port))
		return -EEXIST;
	port->tgt = tgt;
	ret = scst_alua_changed(port->tpg->dir);
	if (ret)
		port->tgt = NULL;
	else
		scst_target_get(tgt);
	return ret;
}

static int scst_alua_port_allow_link(struct config_item *src, struct config_item *target)
{
	struct scst_target *tgt;
	int ret;

	if (target->ci_type->ct_item_ops != &scst_target_item_ops)
		return -EINVAL;
	tgt = container_of(to_config_group(target), struct scst_target, group);
	mutex_lock(&scst_config_mutex);
	ret = scst_alua_port_link(scst_alua_port_of_item(src), tgt);
	mutex_unlock(&scst_config_mutex);
	return ret;
}

static void scst_alua_port_drop_link(struct config_item *src, struct config_item *target)
{
	struct scst_alua_port *port = scst_alua_port_of_item(src);
	struct scst_target *tgt;

	mutex_lock(&scst_config_mutex);
	tgt = port->tgt;
	port->tgt = NULL;
	scst_alua_removed(port->tpg->dir);
	mutex_unlock(&scst_config_mutex);
	scst_target_put(tgt);
}

static void scst_alua_port_release(struct config_item *item)
{
	kfree(scst_alua_port_of_item(item));
}

static struct configfs_item_operations scst_alua_port_item_ops = {
	.release	= scst_alua_port_release,
	.allow_link	= scst_alua_port_allow_link,
	.drop_link	= scst_alua_port_drop_link,
};

static struct config_item_type scst_alua_port_type = {
	.ct_owner	= THIS_MODULE,
	.ct_item_ops	= &scst_alua_port_item_ops,
	.ct_attrs	= scst_alua_port_attrs,
};

static struct scst_alua_tpg *scst_alua_tpg_of_ports(struct config_group *ports)
{
	return container_of(ports, struct scst_alua_tpg, ports);
}

static int scst_alua_port_add(struct scst_alua_tpg *tpg, struct scst_alua_port *port)
{
	int ret = 0;

	mutex_lock(&scst_config_mutex);
	if (tpg->nr_ports == SCST_ALUA_PORTS_MAX) {
		ret = -ENOSPC;
	} else {
		tpg->nr_ports++;
		list_add_tail(&port->entry, &tpg->port_list);
	}
	mutex_unlock(&scst_config_mutex);
	return ret;
}

/* A port has its target's name behind that of the driver. */
#define SCST_ALUA_PORT_NAME_LEN		240

static struct config_item *scst_alua_port_make(struct config_group *group, const char *name)
{
	struct scst_alua_port *port;
	int ret = scst_name_check(name, SCST_ALUA_PORT_NAME_LEN, "+@,");

	if (ret)
		return ERR_PTR(ret);
	port = kzalloc(sizeof(*port), GFP_KERNEL);
	if (!port)
		return ERR_PTR(-ENOMEM);
	port->tpg = scst_alua_tpg_of_ports(group);
	INIT_LIST_HEAD(&port->entry);
	config_item_init_type_name(&port->item, name, &scst_alua_port_type);
	/* There is no other word about the copy of a long name. */
	ret = config_item_name(&port->item) ? scst_alua_port_add(port->tpg, port) : -ENOMEM;
	if (ret) {
		config_item_put(&port->item);
		return ERR_PTR(ret);
	}
	return &port->item;
}

/* Its link went before it; a port of another host goes here. */
static void scst_alua_port_drop(struct config_group *group, struct config_item *item)
{
	struct scst_alua_port *port = scst_alua_port_of_item(item);

	mutex_lock(&scst_config_mutex);
	list_del_init(&port->entry);
	port->tpg->nr_ports--;
	if (port->remote_id)
		scst_alua_removed(port->tpg->dir);
	mutex_unlock(&scst_config_mutex);
	scst_item_drop(item);
}

static struct configfs_group_operations scst_alua_ports_group_ops = {
	.make_item	= scst_alua_port_make,
	.drop_item	= scst_alua_port_drop,
};

static struct config_item_type scst_alua_ports_type = {
	.ct_owner	= THIS_MODULE,
	.ct_group_ops	= &scst_alua_ports_group_ops,
};

/* Is the target one of the ports of a device group? */
static bool scst_alua_has_target(const struct scst_alua_dir *dir, const struct scst_target *tgt)
{
	const struct scst_alua_port *port;
	const struct scst_alua_tpg *tpg;

	list_for_each_entry(tpg, &dir->tpgs, entry)
		list_for_each_entry(port, &tpg->port_list, entry)
			if (port->tgt == tgt)
				return true;
	return false;
}

/**
 * scst_alua_renumber() - give a target another relative target port identifier
 * @tgt: the target; disabled, under its lock
 * @id: the identifier, which no other target has
 *
 * Process context, takes scst_config_mutex.  Return: 0, or -EEXIST: in one of its device groups it is that of a port of
 * another host.
 */
int scst_alua_renumber(struct scst_target *tgt, u16 id)
{
	struct scst_alua_dir *dir;
	int ret = 0;

	mutex_lock(&scst_config_mutex);
	list_for_each_entry(dir, &scst_alua_dirs, entry)
		if (scst_alua_has_target(dir, tgt) && scst_alua_id_taken(dir, id, NULL))
			ret = -EEXIST;
	if (!ret) {
		WRITE_ONCE(tgt->rel_tgt_id, id);
		list_for_each_entry(dir, &scst_alua_dirs, entry)
			if (scst_alua_has_target(dir, tgt))
				scst_alua_removed(dir);
	}
	mutex_unlock(&scst_config_mutex);
	return ret;
}

/* --- target_port_groups/NAME ----------------------------------------------------------------------------- */

static struct scst_alua_tpg *scst_alua_tpg_of(struct config_item *item)
{
	return container_of(to_config_group(item), struct scst_alua_tpg, group);
}

static ssize_t scst_alua_tpg_group_id_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%u\n", READ_ONCE(scst_alua_tpg_of(item)->id));
}

static bool scst_alua_group_id_taken(const struct scst_alua_dir *dir, u16 id)
{
	const struct scst_alua_tpg *tpg;

	list_for_each_entry(tpg, &dir->tpgs, entry)
		if (tpg->id == id)
			return true;
	return false;
}

/* Under scst_config_mutex. */
static int scst_alua_tpg_set_id(struct scst_alua_tpg *tpg, u16 id)
{
	u16 old = tpg->id;
	int ret;

	if (id == old)
		return 0;
	if (scst_alua_group_id_taken(tpg->dir, id))
		return -EEXIST;
	WRITE_ONCE(tpg->id, id);
	ret = scst_alua_changed(tpg->dir);
	if (ret)
		WRITE_ONCE(tpg->id, old);
	return ret;
}

static ssize_t scst_alua_tpg_group_id_store(struct config_item *item, const char *page, size_t count)
{
	u64 id;
	int ret = scst_parse_u64(page, U16_MAX, &id);

	if (!ret && !id)
		ret = -ERANGE;
	if (ret)
		return ret;
	mutex_lock(&scst_config_mutex);
	ret = scst_alua_tpg_set_id(scst_alua_tpg_of(item), id);
	mutex_unlock(&scst_config_mutex);
	return ret ?: count;
}

static ssize_t scst_alua_tpg_state_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%s\n", scst_alua_state_name(READ_ONCE(scst_alua_tpg_of(item)->state)));
}

static ssize_t scst_alua_tpg_state_store(struct config_item *item, const char *page, size_t count)
{
	unsigned int state;

	for (state = 0; state < SCST_ALUA_STATES; state++) {
		const char *name = scst_alua_state_name(state);

		if (name && sysfs_streq(page, name))
			return scst_alua_set_state(scst_alua_tpg_of(item), state) ?: count;
	}
	return -EINVAL;
}

static ssize_t scst_alua_tpg_preferred_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", READ_ONCE(scst_alua_tpg_of(item)->preferred));
}

/* A yes or no of a device group, or of one of its target port groups. */
static int scst_alua_set_bool(struct scst_alua_dir *dir, bool *where, const char *page)
{
	bool value;
	int ret = scst_parse_bool(page, &value);

	if (ret)
		return ret;
	mutex_lock(&scst_config_mutex);
	if (*where != value) {
		WRITE_ONCE(*where, value);
		ret = scst_alua_changed(dir);
		if (ret)
			WRITE_ONCE(*where, !value);
	}
	mutex_unlock(&scst_config_mutex);
	return ret;
}

static ssize_t scst_alua_tpg_preferred_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_alua_tpg *tpg = scst_alua_tpg_of(item);

	return scst_alua_set_bool(tpg->dir, &tpg->preferred, page) ?: count;
}

CONFIGFS_ATTR(scst_alua_tpg_, group_id);
CONFIGFS_ATTR(scst_alua_tpg_, state);
CONFIGFS_ATTR(scst_alua_tpg_, preferred);

static struct configfs_attribute *scst_alua_tpg_attrs[] = {
	&scst_alua_tpg_attr_group_id,
	&scst_alua_tpg_attr_state,
	&scst_alua_tpg_attr_preferred,
	NULL,
};

static void scst_alua_tpg_release(struct config_item *item)
{
	kfree(scst_alua_tpg_of(item));
}

static struct configfs_item_operations scst_alua_tpg_item_ops = {
	.release	= scst_alua_tpg_release,
};

static struct config_item_type scst_alua_tpg_type = {
	.ct_owner	= THIS_MODULE,
	.ct_item_ops	= &scst_alua_tpg_item_ops,
	.ct_attrs	= scst_alua_tpg_attrs,
};

static u16 scst_alua_first_free_id(const struct scst_alua_dir *dir)
{
	u16 id = 1;

	while (scst_alua_group_id_taken(dir, id))
		id++;
	return id;
}

static int scst_alua_tpg_add(struct scst_alua_dir *dir, struct scst_alua_tpg *tpg)
{
	int ret = 0;

	mutex_lock(&scst_config_mutex);
	if (dir->nr_tpgs == SCST_ALUA_GROUPS_MAX) {
		ret = -ENOSPC;
	} else {
		dir->nr_tpgs++;
		tpg->id = scst_alua_first_free_id(dir);
		list_add_tail(&tpg->entry, &dir->tpgs);
	}
	mutex_unlock(&scst_config_mutex);
	return ret;
}

static struct config_group *scst_alua_tpg_make(struct config_group *parent, const char *name)
{
	struct scst_alua_tpg *tpg;
	int ret = scst_name_check(name, SCST_DEVICE_NAME_LEN, "");

	if (ret)
		return ERR_PTR(ret);
	tpg = kzalloc(sizeof(*tpg), GFP_KERNEL);
	if (!tpg)
		return ERR_PTR(-ENOMEM);
	tpg->dir = container_of(parent, struct scst_alua_dir, groups);
	INIT_LIST_HEAD(&tpg->port_list);
	config_group_init_type_name(&tpg->group, name, &scst_alua_tpg_type);
	config_group_init_type_name(&tpg->ports, "ports", &scst_alua_ports_type);
	configfs_add_default_group(&tpg->ports, &tpg->group);
	ret = config_item_name(&tpg->group.cg_item) ? scst_alua_tpg_add(tpg->dir, tpg) : -ENOMEM;
	if (ret) {
		config_group_put(&tpg->group);
		return ERR_PTR(ret);
	}
	return &tpg->group;
}

/* It has no ports any more, so it is not in force. */
static void scst_alua_tpg_drop(struct config_group *parent, struct config_item *item)
{
	struct scst_alua_tpg *tpg = scst_alua_tpg_of(item);

	mutex_lock(&scst_config_mutex);
	list_del(&tpg->entry);
	tpg->dir->nr_tpgs--;
	mutex_unlock(&scst_config_mutex);
	scst_item_drop(item);
}

static struct configfs_group_operations scst_alua_tpgs_group_ops = {
	.make_group	= scst_alua_tpg_make,
	.drop_item	= scst_alua_tpg_drop,
};

static struct config_item_type scst_alua_tpgs_type = {
	.ct_owner	= THIS_MODULE,
	.ct_group_ops	= &scst_alua_tpgs_group_ops,
};

/* --- devices/NAME ------------------------------------------------------------------------------------------ */

static struct scst_alua_device *scst_alua_device_of(struct config_item *item)
{
	return container_of(item, struct scst_alua_device, item);
}

/* Under scst_config_mutex. */
static int scst_alua_device_link(struct scst_alua_device *entry, struct scst_device *dev)
{
	if (list_empty(&entry->entry))
		return -ENOENT;
	if (entry->dev || dev->alua_dir)
		return -EEXIST;
	scst_device_get(dev);
	entry->dev = dev;
	scst_alua_join(dev, entry->dir);
	return 0;
}

static int scst_alua_device_allow_link(struct config_item *src, struct config_item *target)
{
	int ret;

	if (target->ci_type->ct_item_ops != &scst_device_item_ops)
		return -EINVAL;
	mutex_lock(&scst_config_mutex);
	ret = scst_alua_device_link(scst_alua_device_of(src), scst_device_of(target));
	mutex_unlock(&scst_config_mutex);
	return ret;
}

static void scst_alua_device_drop_link(struct config_item *src, struct config_item *target)
{
	struct scst_alua_device *entry = scst_alua_device_of(src);
	struct scst_device *dev;

	mutex_lock(&scst_config_mutex);
	dev = entry->dev;
	entry->dev = NULL;
	scst_alua_join(dev, NULL);
	mutex_unlock(&scst_config_mutex);
	scst_device_put(dev);
}

static void scst_alua_device_release(struct config_item *item)
{
	kfree(scst_alua_device_of(item));
}

static struct configfs_item_operations scst_alua_device_item_ops = {
	.release	= scst_alua_device_release,
	.allow_link	= scst_alua_device_allow_link,
	.drop_link	= scst_alua_device_drop_link,
};

static struct config_item_type scst_alua_device_type = {
	.ct_owner	= THIS_MODULE,
	.ct_item_ops	= &scst_alua_device_item_ops,
};

static struct config_item *scst_alua_device_make(struct config_group *group, const char *name)
{
	struct scst_alua_device *entry;
	int ret = scst_name_check(name, SCST_DEVICE_NAME_LEN, "");

	if (ret)
		return ERR_PTR(ret);
	entry = kzalloc(sizeof(*entry), GFP_KERNEL);
	if (!entry)
		return ERR_PTR(-ENOMEM);
	entry->dir = container_of(group, struct scst_alua_dir, devices);
	config_item_init_type_name(&entry->item, name, &scst_alua_device_type);
	if (!config_item_name(&entry->item)) {
		config_item_put(&entry->item);
		return ERR_PTR(-ENOMEM);
	}
	mutex_lock(&scst_config_mutex);
	list_add_tail(&entry->entry, &entry->dir->device_list);
	mutex_unlock(&scst_config_mutex);
	return &entry->item;
}

static void scst_alua_device_drop(struct config_group *group, struct config_item *item)
{
	mutex_lock(&scst_config_mutex);
	list_del_init(&scst_alua_device_of(item)->entry);
	mutex_unlock(&scst_config_mutex);
	scst_item_drop(item);
}

static struct configfs_group_operations scst_alua_devices_group_ops = {
	.make_item	= scst_alua_device_make,
	.drop_item	= scst_alua_device_drop,
};

static struct config_item_type scst_alua_devices_type = {
	.ct_owner	= THIS_MODULE,
	.ct_group_ops	= &scst_alua_devices_group_ops,
};

/* --- alua/GROUP ------------------------------------------------------------------------------------------------ */

static struct scst_alua_dir *scst_alua_dir_of(struct config_item *item)
{
	return container_of(to_config_group(item), struct scst_alua_dir, group);
}

static ssize_t scst_alua_dir_explicit_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", READ_ONCE(scst_alua_dir_of(item)->by_command));
}

static ssize_t scst_alua_dir_explicit_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_alua_dir *dir = scst_alua_dir_of(item);

	return scst_alua_set_bool(dir, &dir->by_command, page) ?: count;
}

static ssize_t scst_alua_dir_transition_time_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%u\n", READ_ONCE(scst_alua_dir_of(item)->transition_time));
}

static int scst_alua_dir_set_time(struct scst_alua_dir *dir, u8 seconds)
{
	u8 old;
	int ret;

	mutex_lock(&scst_config_mutex);
	old = dir->transition_time;
	WRITE_ONCE(dir->transition_time, seconds);
	ret = scst_alua_changed(dir);
	if (ret)
		WRITE_ONCE(dir->transition_time, old);
	mutex_unlock(&scst_config_mutex);
	return ret;
}

static ssize_t scst_alua_dir_transition_time_store(struct config_item *item, const char *page, size_t count)
{
	u64 seconds;
	int ret = scst_parse_u64(page, U8_MAX, &seconds) ?: scst_alua_dir_set_time(scst_alua_dir_of(item), seconds);

	return ret ?: count;
}

static ssize_t scst_alua_dir_ask_ms_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%u\n", READ_ONCE(scst_alua_dir_of(item)->ask.ms));
}

/* An open question keeps its time. */
static ssize_t scst_alua_dir_ask_ms_store(struct config_item *item, const char *page, size_t count)
{
	u64 ms;
	int ret = scst_parse_u64(page, SCST_ALUA_ASK_MAX, &ms);

	if (ret)
		return ret;
	mutex_lock(&scst_config_mutex);
	WRITE_ONCE(scst_alua_dir_of(item)->ask.ms, ms);
	mutex_unlock(&scst_config_mutex);
	return count;
}

static ssize_t scst_alua_dir_question_show(struct config_item *item, char *page)
{
	ssize_t len;

	mutex_lock(&scst_config_mutex);
	len = scst_alua_ask_print(scst_alua_dir_of(item), page);
	mutex_unlock(&scst_config_mutex);
	return len ?: sysfs_emit(page, "\n");
}

static int scst_alua_dir_answer(struct config_item *item, const char *page, bool accept)
{
	u64 number;
	int ret = scst_parse_u64(page, U64_MAX, &number);

	if (ret)
		return ret;
	mutex_lock(&scst_config_mutex);
	ret = scst_alua_ask_end(scst_alua_dir_of(item), number, accept);
	mutex_unlock(&scst_config_mutex);
	return ret;
}

static ssize_t scst_alua_dir_accept_store(struct config_item *item, const char *page, size_t count)
{
	return scst_alua_dir_answer(item, page, true) ?: count;
}

static ssize_t scst_alua_dir_refuse_store(struct config_item *item, const char *page, size_t count)
{
	return scst_alua_dir_answer(item, page, false) ?: count;
}

CONFIGFS_ATTR(scst_alua_dir_, explicit);
CONFIGFS_ATTR(scst_alua_dir_, transition_time);
CONFIGFS_ATTR(scst_alua_dir_, ask_ms);
CONFIGFS_ATTR_RO(scst_alua_dir_, question);
CONFIGFS_ATTR_WO(scst_alua_dir_, accept);
CONFIGFS_ATTR_WO(scst_alua_dir_, refuse);

static struct configfs_attribute *scst_alua_dir_attrs[] = {
	&scst_alua_dir_attr_explicit,
	&scst_alua_dir_attr_transition_time,
	&scst_alua_dir_attr_ask_ms,
	&scst_alua_dir_attr_question,
	&scst_alua_dir_attr_accept,
	&scst_alua_dir_attr_refuse,
	NULL,
};

static void scst_alua_dir_release(struct config_item *item)
{
	struct scst_alua_dir *dir = scst_alua_dir_of(item);

	scst_alua_ask_stop(&dir->ask);
	scst_alua_forget(dir);
	kfree(dir);
}

static struct configfs_item_operations scst_alua_dir_item_ops = {
	.release	= scst_alua_dir_release,
};

static struct config_item_type scst_alua_dir_type = {
	.ct_owner	= THIS_MODULE,
	.ct_item_ops	= &scst_alua_dir_item_ops,
	.ct_attrs	= scst_alua_dir_attrs,
};

static void scst_alua_dir_init(struct scst_alua_dir *dir, const char *name)
{
	INIT_LIST_HEAD(&dir->device_list);
	INIT_LIST_HEAD(&dir->tpgs);
	scst_alua_ask_setup(&dir->ask);
	config_group_init_type_name(&dir->group, name, &scst_alua_dir_type);
	config_group_init_type_name(&dir->devices, "devices", &scst_alua_devices_type);
	configfs_add_default_group(&dir->devices, &dir->group);
	config_group_init_type_name(&dir->groups, "target_port_groups", &scst_alua_tpgs_type);
	configfs_add_default_group(&dir->groups, &dir->group);
}

static struct config_group *scst_alua_dir_make(struct config_group *parent, const char *name)
{
	struct scst_alua_dir *dir;
	int ret = scst_name_check(name, SCST_DEVICE_NAME_LEN, "");

	if (ret)
		return ERR_PTR(ret);
	dir = kzalloc(sizeof(*dir), GFP_KERNEL);
	if (!dir)
		return ERR_PTR(-ENOMEM);
	scst_alua_dir_init(dir, name);
	if (!config_item_name(&dir->group.cg_item)) {
		config_group_put(&dir->group);
		return ERR_PTR(-ENOMEM);
	}
	mutex_lock(&scst_config_mutex);
	list_add_tail(&dir->entry, &scst_alua_dirs);
	mutex_unlock(&scst_config_mutex);
	return &dir->group;
}

static void scst_alua_dir_drop(struct config_group *parent, struct config_item *item)
{
	mutex_lock(&scst_config_mutex);
	list_del(&scst_alua_dir_of(item)->entry);
	mutex_unlock(&scst_config_mutex);
	scst_item_drop(item);
}

static struct configfs_group_operations scst_alua_root_group_ops = {
	.make_group	= scst_alua_dir_make,
	.drop_item	= scst_alua_dir_drop,
};

static struct config_item_type scst_alua_root_type = {
	.ct_owner	= THIS_MODULE,
	.ct_group_ops	= &scst_alua_root_group_ops,
};

static struct config_group scst_alua_root;

/* alua/ of the tree. */
void scst_alua_root_init(struct config_group *parent)
{
	config_group_init_type_name(&scst_alua_root, "alua", &scst_alua_root_type);
	configfs_add_default_group(&scst_alua_root, parent);
}
