// SPDX-License-Identifier: GPL-2.0-only
/*
 * Class "scst": what the kernel makes by itself, and the uevents that say "look".
 *
 * A class device lives from enable to disable (targets, devices), login to logout (sessions); removing
 * it waits for readers of its attributes, so these may use the object without a reference.  Ports are in port.c.
 */
#include "core.h"
#include "overhaul.h"

static int scst_class_uevent(SCST_UEVENT_CONST struct device *cdev, struct kobj_uevent_env *env)
{
	const char *name = strchr(dev_name(cdev), '.');
	int ret = add_uevent_var(env, "SCST_TYPE=%s", cdev->type->name);

	return ret ?: add_uevent_var(env, "SCST_NAME=%s", name ? name + 1 : dev_name(cdev));
}

struct class scst_class = {
	.name		= "scst",
	.dev_uevent	= scst_class_uevent,
};

static void scst_classdev_release(struct device *cdev)
{
	kfree(cdev);
}

static struct device *scst_classdev_add(const struct device_type *type, struct device *parent,
					const struct attribute_group **groups, void *object, const char *name)
{
	struct device *cdev = kzalloc(sizeof(*cdev), GFP_KERNEL);
	int ret;

	if (!cdev)
		return ERR_PTR(-ENOMEM);
	device_initialize(cdev);
	cdev->class = &scst_class;
	cdev->type = type;
	cdev->parent = parent;
	cdev->groups = groups;
	cdev->release = scst_classdev_release;
	dev_set_drvdata(cdev, object);
	ret = dev_set_name(cdev, "%s", name) ?: device_add(cdev);
	if (ret) {
		put_device(cdev);
		return ERR_PTR(ret);
	}
	return cdev;
}

/* Waits for readers of its attributes: not under a lock these take. */
void scst_sysfs_remove(struct device **classdev)
{
	struct device *cdev = *classdev;

	*classdev = NULL;
	if (cdev)
		device_unregister(cdev);
}

#define SCST_EVENT_MORE	5

/* @more: further variables, SCST_EVENT_MORE at most, and NULL behind them; or NULL */
static void scst_sysfs_event_with(struct device *classdev, const char *event, const char *state, char *const *more)
{
	static atomic64_t sequence;
	char event_var[40], state_var[SCST_DEVICE_NAME_LEN + 16], seq_var[40];
	char *env[3 + SCST_EVENT_MORE + 1] = { event_var, state_var, seq_var };
	unsigned int i;

	for (i = 0; more && more[i] && !WARN_ON_ONCE(i == SCST_EVENT_MORE); i++)
		env[3 + i] = more[i];
	if (!classdev)
		return;
	snprintf(event_var, sizeof(event_var), "SCST_EVENT=%s", event);
	snprintf(state_var, sizeof(state_var), "SCST_STATE=%s", state);
	snprintf(seq_var, sizeof(seq_var), "SCST_SEQ=%lld", atomic64_inc_return(&sequence));
	kobject_uevent_env(&classdev->kobj, KOBJ_CHANGE, env);
}

/**
 * scst_sysfs_event() - tell user space to look at an object
 * @classdev: its class device, or NULL: nobody can look
 * @event: what happened, a word
 * @state: the state it is in now
 */
void scst_sysfs_event(struct device *classdev, const char *event, const char *state)
{
	scst_sysfs_event_with(classdev, event, state, NULL);
}

#define SCST_SYSFS_ATTR(object, attr, fmt, value)					\
static ssize_t scst_##object##_##attr##_show(struct device *cdev,			\
					     struct device_attribute *da, char *page)	\
{											\
	struct scst_##object *o = dev_get_drvdata(cdev);				\
											\
	return sysfs_emit(page, fmt "\n", value);					\
}											\
static struct device_attribute scst_##object##_attr_##attr =				\
	__ATTR(attr, 0444, scst_##object##_##attr##_show, NULL)

/* --- devices ----------------------------------------------------------------------------------- */

SCST_SYSFS_ATTR(device, name, "%s", o->name);
SCST_SYSFS_ATTR(device, handler, "%s", o->handler->name);
SCST_SYSFS_ATTR(device, state, "%s", scst_device_state_name(o));
SCST_SYSFS_ATTR(device, size, "%llu", scst_device_size(o));
SCST_SYSFS_ATTR(device, block_size, "%u", scst_device_block_size(o));
SCST_SYSFS_ATTR(device, space_scarce, "%d", READ_ONCE(o->space_scarce));
SCST_SYSFS_ATTR(device, overhaul, "%s", scst_overhaul_name(o));
SCST_SYSFS_ATTR(device, overhaul_percent, "%u", READ_ONCE(o->progress) * 100 / U16_MAX);

static struct attribute *scst_device_sysfs_attrs[] = {
	&scst_device_attr_name.attr,
	&scst_device_attr_handler.attr,
	&scst_device_attr_state.attr,
	&scst_device_attr_size.attr,
	&scst_device_attr_block_size.attr,
	&scst_device_attr_space_scarce.attr,
	&scst_device_attr_overhaul.attr,
	&scst_device_attr_overhaul_percent.attr,
	NULL,
};
ATTRIBUTE_GROUPS(scst_device_sysfs);

static const struct device_type scst_device_type = {
	.name	= "device",
	.groups	= scst_device_sysfs_groups,
};

int scst_sysfs_add_device(struct scst_device *dev)
{
	char name[SCST_DEVICE_NAME_LEN + 10];
	struct device *cdev;

	snprintf(name, sizeof(name), "device.%s", dev->name);
	cdev = scst_classdev_add(&scst_device_type, NULL, NULL, dev, name);
	if (IS_ERR(cdev))
		return PTR_ERR(cdev);
	dev->classdev = cdev;
	return 0;
}

/* --- targets ----------------------------------------------------------------------------------- */

SCST_SYSFS_ATTR(target, name, "%s", o->name);
SCST_SYSFS_ATTR(target, driver, "%s", o->driver->name);
SCST_SYSFS_ATTR(target, state, "%s", scst_target_state_name(o));
SCST_SYSFS_ATTR(target, sessions, "%u", READ_ONCE(o->nr_sessions));

static struct attribute *scst_target_sysfs_attrs[] = {
	&scst_target_attr_name.attr,
	&scst_target_attr_driver.attr,
	&scst_target_attr_state.attr,
	&scst_target_attr_sessions.attr,
	NULL,
};
ATTRIBUTE_GROUPS(scst_target_sysfs);

static const struct device_type scst_target_type = {
	.name	= "target",
	.groups	= scst_target_sysfs_groups,
};

int scst_sysfs_add_target(struct scst_target *tgt)
{
	char name[SCST_DEVICE_NAME_LEN + SCST_TARGET_NAME_LEN + 10];
	struct device *cdev;

	snprintf(name, sizeof(name), "target.%s.%s", tgt->driver->name, tgt->name);
	cdev = scst_classdev_add(&scst_target_type, NULL, NULL, tgt, name);
	if (IS_ERR(cdev))
		return PTR_ERR(cdev);
	tgt->classdev = cdev;
	return 0;
}

/* --- sessions ----------------------------------------------------------------------------------- */

static u64 scst_session_sum(const struct scst_session *sess, size_t offset)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += *(u64 *)((char *)per_cpu_ptr(sess->pcpu, cpu) + offset);
	return sum;
}

#define scst_session_total(sess, field) \
	scst_session_sum(sess, offsetof(struct scst_session_pcpu, field))

SCST_SYSFS_ATTR(session, initiator, "%s", o->initiator);
SCST_SYSFS_ATTR(session, commands, "%llu", scst_session_total(o, commands));
SCST_SYSFS_ATTR(session, read_bytes, "%llu", scst_session_total(o, read_bytes));
SCST_SYSFS_ATTR(session, write_bytes, "%llu", scst_session_total(o, write_bytes));

SCST_SYSFS_ATTR(session, aborted, "%llu", scst_session_total(o, aborted));
SCST_SYSFS_ATTR(session, lun_resets, "%llu", scst_session_total(o, lun_resets));
SCST_SYSFS_ATTR(session, unit_attentions, "%llu", scst_session_total(o, unit_attentions));
SCST_SYSFS_ATTR(session, busy, "%llu", scst_session_total(o, busy));
SCST_SYSFS_ATTR(session, task_set_full, "%llu", scst_session_total(o, task_set_full));
SCST_SYSFS_ATTR(session, check_conditions, "%llu", scst_session_total(o, check_conditions));

static ssize_t scst_session_target_show(struct device *cdev, struct device_attribute *da, char *page)
{
	const struct scst_session *sess = dev_get_drvdata(cdev);

	return sysfs_emit(page, "%s/%s\n", sess->tgt->driver->name, sess->tgt->name);
}
static struct device_attribute scst_session_attr_target = __ATTR(target, 0444, scst_session_target_show, NULL);

static ssize_t scst_session_group_show(struct device *cdev, struct device_attribute *da, char *page)
{
	const struct scst_session *sess = dev_get_drvdata(cdev);
	ssize_t len;

	mutex_lock(&scst_config_mutex);
	len = sysfs_emit(page, "%s\n", sess->group_name ?: "");
	mutex_unlock(&scst_config_mutex);
	return len;
}
static struct device_attribute scst_session_attr_group = __ATTR(group, 0444, scst_session_group_show, NULL);

static ssize_t scst_session_transport_id_show(struct device *cdev, struct device_attribute *da, char *page)
{
	const struct scst_transport_id *id = &((struct scst_session *)dev_get_drvdata(cdev))->transport_id;
	char *end = bin2hex(page, id->bytes, min_t(size_t, id->len, sizeof(id->bytes)));

	*end++ = '\n';
	return end - page;
}
static struct device_attribute scst_session_attr_transport_id =
	__ATTR(transport_id, 0444, scst_session_transport_id_show, NULL);

/* Add a line to a text; what falls into the window is copied. */
void scst_text_add(struct scst_text *text, const char *line, size_t len)
{
	loff_t end = text->from + (loff_t)text->size;
	loff_t first = max(text->from, text->at), last = min(end, text->at + (loff_t)len);

	if (first < last) {
		memcpy(text->buf + (first - text->from), line + (first - text->at), last - first);
		text->done = last - text->from;
	}
	text->at += len;
}

/* By its mapping, or because the device is. */
static bool scst_entry_read_only(const struct scst_view_entry *e)
{
	return e->read_only || test_bit(SCST_GATE_WRITE_PROTECT, &e->nexus->gates);
}

static void scst_view_print(const struct scst_view *view, struct scst_text *text)
{
	char line[SCST_DEVICE_NAME_LEN + 20];
	u32 i;

	for (i = 0; view && i < view->nr; i++) {
		const struct scst_view_entry *e = &view->entry[i];

		scst_text_add(text, line, scnprintf(line, sizeof(line), "%u %s %s\n", e->lun, e->nexus->dev->name,
						    scst_entry_read_only(e) ? "ro" : "rw"));
	}
}

static ssize_t scst_session_luns_read(struct file *file, struct kobject *kobj,
				      SCST_BIN_CONST struct bin_attribute *attr, char *buf, loff_t from,
				      size_t size)
{
	struct scst_session *sess = dev_get_drvdata(kobj_to_dev(kobj));
	struct scst_text text = { .buf = buf, .from = from, .size = size };

	rcu_read_lock();
	scst_view_print(rcu_dereference(sess->view), &text);
	rcu_read_unlock();
	return text.done;
}

static struct bin_attribute scst_session_attr_luns = {
	.attr	= { .name = "luns", .mode = 0444 },
	.read	= scst_session_luns_read,
};

/* Of those that are limited, or were. */
static void scst_limits_line(const struct scst_view_entry *e, struct scst_text *text)
{
	struct scst_limited limited;
	const struct scst_limits *limits = &limited.limits;
	char line[160];

	if (!scst_limiter_read(e->nexus, &limited))
		return;
	scst_text_add(text, line, scnprintf(line, sizeof(line), "%u %u %u %llu %llu %u %u %llu %llu\n", e->lun,
					    limits->iops[0], limits->iops[1], limits->bytes[0], limits->bytes[1],
					    limits->burst, limited.waiting, limited.commands, limited.microseconds));
}

static ssize_t scst_session_limits_read(struct file *file, struct kobject *kobj,
					SCST_BIN_CONST struct bin_attribute *attr, char *buf, loff_t from,
					size_t size)
{
	struct scst_session *sess = dev_get_drvdata(kobj_to_dev(kobj));
	struct scst_text text = { .buf = buf, .from = from, .size = size };
	const struct scst_view *view;
	u32 i;

	rcu_read_lock();
	view = rcu_dereference(sess->view);
	for (i = 0; view && i < view->nr; i++)
		scst_limits_line(&view->entry[i], &text);
	rcu_read_unlock();
	return text.done;
}

static struct bin_attribute scst_session_attr_limits = {
	.attr	= { .name = "limits", .mode = 0444 },
	.read	= scst_session_limits_read,
};

static struct attribute *scst_session_sysfs_attrs[] = {
	&scst_session_attr_target.attr,
	&scst_session_attr_initiator.attr,
	&scst_session_attr_transport_id.attr,
	&scst_session_attr_group.attr,
	&scst_session_attr_commands.attr,
	&scst_session_attr_read_bytes.attr,
	&scst_session_attr_write_bytes.attr,
	&scst_session_attr_aborted.attr,
	&scst_session_attr_lun_resets.attr,
	&scst_session_attr_unit_attentions.attr,
	&scst_session_attr_busy.attr,
	&scst_session_attr_task_set_full.attr,
	&scst_session_attr_check_conditions.attr,
	NULL,
};

static SCST_BIN_CONST struct bin_attribute *SCST_BIN_CONST scst_session_bin_attrs[] = {
	&scst_session_attr_luns,
	&scst_session_attr_limits,
	NULL,
};

static const struct attribute_group scst_session_sysfs_group = {
	.attrs		= scst_session_sysfs_attrs,
	.bin_attrs	= scst_session_bin_attrs,
};

static const struct attribute_group *scst_session_sysfs_groups[] = { &scst_session_sysfs_group, NULL };

static const struct device_type scst_session_type = {
	.name	= "session",
	.groups	= scst_session_sysfs_groups,
};

int scst_sysfs_add_session(struct scst_session *sess)
{
	char name[20];
	struct device *cdev;

	snprintf(name, sizeof(name), "session.%u", sess->id);
	cdev = scst_classdev_add(&scst_session_type, sess->tgt->classdev, sess->driver->session_groups, sess, name);
	if (IS_ERR(cdev))
		return PTR_ERR(cdev);
	sess->classdev = cdev;
	return 0;
}

/* --- the core itself: /sys/class/scst/core ----------------------------------------------------------- */

static struct device *scst_core_dev;

static ssize_t scst_core_settled_show(struct device *cdev, struct device_attribute *da, char *page)
{
	return sysfs_emit(page, "%llu\n", scst_settled());
}
static struct device_attribute scst_core_attr_settled = __ATTR(settled, 0444, scst_core_settled_show, NULL);

static ssize_t scst_core_latency_show(struct device *cdev, struct device_attribute *da, char *page)
{
	return sysfs_emit(page, "%d\n", static_key_enabled(&scst_latency_measured));
}

static ssize_t scst_core_latency_store(struct device *cdev, struct device_attribute *da, const char *page, size_t count)
{
	bool on;
	int ret = scst_parse_bool(page, &on);

	return ret ?: scst_latency_set(on) ?: count;
}
static struct device_attribute scst_core_attr_latency =
	__ATTR(latency, 0644, scst_core_latency_show, scst_core_latency_store);

static ssize_t scst_core_slow_ms_show(struct device *cdev, struct device_attribute *da, char *page)
{
	return sysfs_emit(page, "%u\n", scst_slow_ms());
}

static ssize_t scst_core_slow_ms_store(struct device *cdev, struct device_attribute *da, const char *page, size_t count)
{
	u64 ms;
	int ret = scst_parse_u64(page, SCST_SLOW_MS_MAX, &ms);

	if (ret)
		return ret;
	scst_slow_set_ms(ms);
	return count;
}
static struct device_attribute scst_core_attr_slow_ms =
	__ATTR(slow_ms, 0644, scst_core_slow_ms_show, scst_core_slow_ms_store);

static ssize_t scst_core_unsettled_read(struct file *file, struct kobject *kobj,
					SCST_BIN_CONST struct bin_attribute *attr, char *buf, loff_t from,
					size_t size)
{
	return scst_unsettled_print(buf, from, size);
}

static struct bin_attribute scst_core_attr_unsettled = {
	.attr	= { .name = "unsettled", .mode = 0444 },
	.read	= scst_core_unsettled_read,
};

static struct attribute *scst_core_sysfs_attrs[] = {
	&scst_core_attr_settled.attr,
	&scst_core_attr_latency.attr,
	&scst_core_attr_slow_ms.attr,
	NULL,
};

static SCST_BIN_CONST struct bin_attribute *SCST_BIN_CONST scst_core_bin_attrs[] = {
	&scst_core_attr_unsettled,
	NULL,
};

static const struct attribute_group scst_core_sysfs_group = {
	.attrs		= scst_core_sysfs_attrs,
	.bin_attrs	= scst_core_bin_attrs,
};

static const struct attribute_group *scst_core_sysfs_groups[] = { &scst_core_sysfs_group, NULL };

static const struct device_type scst_core_type = {
	.name	= "core",
	.groups	= scst_core_sysfs_groups,
};

/* Wakes those who poll.  Process context. */
void scst_sysfs_notify_settled(void)
{
	sysfs_notify(&scst_core_dev->kobj, NULL, "settled");
}

/* Something has happened that is no object's alone; @more as in scst_sysfs_event_with().  Any process context. */
void scst_sysfs_core_event(const char *event, const char *state, char *const *more)
{
	scst_sysfs_event_with(scst_core_dev, event, state, more);
}

int scst_sysfs_init(void)
{
	int ret = class_register(&scst_class);

	if (ret)
		return ret;
	scst_core_dev = scst_classdev_add(&scst_core_type, NULL, NULL, NULL, "core");
	if (!IS_ERR(scst_core_dev))
		return 0;
	class_unregister(&scst_class);
	return PTR_ERR(scst_core_dev);
}

void scst_sysfs_exit(void)
{
	scst_sysfs_remove(&scst_core_dev);
	class_unregister(&scst_class);
}
