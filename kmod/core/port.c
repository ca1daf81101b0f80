// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hardware ports: what a target needs if its driver says so, and a class device that tells what is there.
 *
 * At most one target uses a port.  Both sides of that are under scst_config_mutex.
 */
#include "core.h"
#include <linux/device.h>

struct scst_port {
	struct device cdev;
	const struct scst_target_driver *driver;
	void *data;
	char name[SCST_TARGET_NAME_LEN + 1];
	spinlock_t state_lock;
	char state[16];
	struct list_head entry;		/* scst_ports */
	struct scst_target *user;
	bool offered;			/* targets may use it */
	bool going;
	wait_queue_head_t unused;
};

static LIST_HEAD(scst_ports);

static struct scst_port *scst_port_of(struct device *classdev)
{
	return container_of(classdev, struct scst_port, cdev);
}

/* --- targets and ports ------------------------------------------------------------------------------ */

static bool scst_port_fits(const struct scst_port *port, const struct scst_target *tgt)
{
	return port->driver == tgt->driver && !strcmp(port->name, tgt->name);
}

/**
 * scst_port_claim() - take the port that a target needs
 * @tgt: the target
 *
 * Process context.  Return: 0, also if the driver knows no ports, or -ENODEV.
 */
int scst_port_claim(struct scst_target *tgt)
{
	struct scst_port *port;
	int ret = -ENODEV;

	if (!tgt->driver->needs_port)
		return 0;
	mutex_lock(&scst_config_mutex);
	list_for_each_entry(port, &scst_ports, entry) {
		if (!scst_port_fits(port, tgt) || !port->offered || port->user)
			continue;
		port->user = tgt;
		tgt->port = port;
		ret = 0;
		break;
	}
	mutex_unlock(&scst_config_mutex);
	return ret;
}

/* The target does not touch it any more.  Nothing happens if it has none. */
void scst_port_release(struct scst_target *tgt)
{
	mutex_lock(&scst_config_mutex);
	if (tgt->port) {
		WRITE_ONCE(tgt->port->user, NULL);
		wake_up_all(&tgt->port->unused);
		tgt->port = NULL;
	}
	mutex_unlock(&scst_config_mutex);
}

/* Is there no reason to close the target? */
bool scst_port_there(const struct scst_target *tgt)
{
	bool there;

	mutex_lock(&scst_config_mutex);
	there = !tgt->port || !tgt->port->going;
	mutex_unlock(&scst_config_mutex);
	return there;
}

/* --- class devices ------------------------------------------------------------------------------------ */

static ssize_t scst_port_driver_show(struct device *cdev, struct device_attribute *da, char *page)
{
	return sysfs_emit(page, "%s\n", scst_port_of(cdev)->driver->name);
}
static struct device_attribute scst_port_attr_driver = __ATTR(driver, 0444, scst_port_driver_show, NULL);

static ssize_t scst_port_name_show(struct device *cdev, struct device_attribute *da, char *page)
{
	return sysfs_emit(page, "%s\n", scst_port_of(cdev)->name);
}
static struct device_attribute scst_port_attr_name = __ATTR(name, 0444, scst_port_name_show, NULL);

static ssize_t scst_port_state_show(struct device *cdev, struct device_attribute *da, char *page)
{
	struct scst_port *port = scst_port_of(cdev);
	ssize_t len;

	spin_lock(&port->state_lock);
	len = sysfs_emit(page, "%s\n", port->state);
	spin_unlock(&port->state_lock);
	return len;
}
static struct device_attribute scst_port_attr_state = __ATTR(state, 0444, scst_port_state_show, NULL);

static struct attribute *scst_port_sysfs_attrs[] = {
	&scst_port_attr_name.attr,
	&scst_port_attr_driver.attr,
	&scst_port_attr_state.attr,
	NULL,
};
ATTRIBUTE_GROUPS(scst_port_sysfs);

static const struct device_type scst_port_type = {
	.name	= "port",
	.groups	= scst_port_sysfs_groups,
};

static void scst_port_free(struct device *cdev)
{
	kfree(scst_port_of(cdev));
}

static void scst_port_set_state(struct scst_port *port, const char *state)
{
	spin_lock(&port->state_lock);
	strscpy(port->state, state, sizeof(port->state));
	spin_unlock(&port->state_lock);
}

static struct scst_port *scst_port_alloc(const struct scst_port_info *info)
{
	struct scst_port *port = kzalloc(sizeof(*port), GFP_KERNEL);

	if (!port)
		return NULL;
	device_initialize(&port->cdev);
	port->cdev.class = &scst_class;
	port->cdev.type = &scst_port_type;
	port->cdev.parent = info->parent;
	port->cdev.groups = info->groups;
	port->cdev.release = scst_port_free;
	dev_set_drvdata(&port->cdev, port);
	port->driver = info->driver;
	port->data = info->data;
	strscpy(port->name, info->name, sizeof(port->name));
	spin_lock_init(&port->state_lock);
	scst_port_set_state(port, "present");
	init_waitqueue_head(&port->unused);
	return port;
}

/* One port of a name. */
static int scst_port_reserve(struct scst_port *port)
{
	struct scst_port *other;
	int ret = 0;

	mutex_lock(&scst_config_mutex);
	list_for_each_entry(other, &scst_ports, entry)
		if (other->driver == port->driver && !strcmp(other->name, port->name))
			ret = -EEXIST;
	if (!ret)
		list_add_tail(&port->entry, &scst_ports);
	mutex_unlock(&scst_config_mutex);
	return ret;
}

static void scst_port_unreserve(struct scst_port *port)
{
	mutex_lock(&scst_config_mutex);
	list_del(&port->entry);
	mutex_unlock(&scst_config_mutex);
}

/* From here on targets find it. */
static void scst_port_offer(struct scst_port *port)
{
	struct scst_target *tgt;

	mutex_lock(&scst_config_mutex);
	port->offered = true;
	list_for_each_entry(tgt, &scst_targets, entry)
		if (scst_port_fits(port, tgt))
			scst_target_try(tgt);
	mutex_unlock(&scst_config_mutex);
}

/**
 * scst_port_register() - a hardware port that can be a target was found
 * @info: which; only what @groups, @parent and @data point to must stay until scst_port_unregister()
 *
 * Process context.  A target that is parked for want of it is enabled soon, in another thread.
 *
 * Return: the port, to be given to scst_port_unregister(), or an ERR_PTR: -EINVAL for a name that is empty or too
 * long, -EEXIST, -ENOMEM.
 */
struct scst_port *scst_port_register(const struct scst_port_info *info)
{
	struct scst_port *port;
	int ret = scst_name_check(info->name, SCST_TARGET_NAME_LEN, "+@,");

	if (ret)
		return ERR_PTR(-EINVAL);
	port = scst_port_alloc(info);
	if (!port)
		return ERR_PTR(-ENOMEM);
	ret = scst_port_reserve(port);
	if (ret)
		goto out_put;
	ret = dev_set_name(&port->cdev, "port.%s.%s", info->driver->name, info->name) ?: device_add(&port->cdev);
	if (ret)
		goto out_unreserve;
	scst_port_offer(port);
	return port;

out_unreserve:
	scst_port_unreserve(port);
out_put:
	put_device(&port->cdev);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(scst_port_register);

/**
 * scst_port_unregister() - a hardware port is going
 * @port: from scst_port_register(); freed
 *
 * Process context, sleeps.  Its target, if there is one, is disabled, its sessions have gone, and nobody reads the
 * port's attributes any more when this returns: the hardware may go.  Under no lock that the driver's enable(),
 * disable() or session_gone() take.
 */
void scst_port_unregister(struct scst_port *port)
{
	might_sleep();
	device_del(&port->cdev);
	mutex_lock(&scst_config_mutex);
	list_del(&port->entry);
	port->going = true;
	if (port->user)
		scst_target_look(port->user);
	mutex_unlock(&scst_config_mutex);
	wait_event_idle(port->unused, !READ_ONCE(port->user));
	/* Who has released it may still be waking us. */
	mutex_lock(&scst_config_mutex);
	mutex_unlock(&scst_config_mutex);
	put_device(&port->cdev);
}
EXPORT_SYMBOL_GPL(scst_port_unregister);

/**
 * scst_port_changed() - tell user space that a port is in another state
 * @port: the port
 * @event: what happened, a word
 * @state: the state it is in now, a word of at most 15 characters
 *
 * Process context, may sleep.
 */
void scst_port_changed(struct scst_port *port, const char *event, const char *state)
{
	scst_port_set_state(port, state);
	scst_sysfs_event(&port->cdev, event, state);
}
EXPORT_SYMBOL_GPL(scst_port_changed);

/** scst_port_data() - the driver's own data, in attributes of the port's class device. */
void *scst_port_data(struct device *classdev)
{
	return scst_port_of(classdev)->data;
}
EXPORT_SYMBOL_GPL(scst_port_data);

/**
 * scst_target_port() - what belongs to the port of a target
 * @tgt: the target
 *
 * Any context, from enable() until disable() returns.  Return: what the driver gave when it registered the port.
 */
void *scst_target_port(const struct scst_target *tgt)
{
	return tgt->port->data;
}
EXPORT_SYMBOL_GPL(scst_target_port);
