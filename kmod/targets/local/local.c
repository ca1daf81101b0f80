// SPDX-License-Identifier: GPL-2.0-only
/*
 * Target driver local: each configured initiator name is a SCSI host on this machine that logs in to
 * the target under that name.
 *
 * Each directory in hosts/ has a thread, which logs in and out and keeps the SCSI host's devices in step with its
 * LUNs.  Whatever it waits for, only that initiator does: mkdir, rmdir and disable() leave a request with
 * it, and enable() waits only for threads that are free to log in.
 */
#include "local.h"
#include <linux/ctype.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

struct device *local_root;
static struct scst_port *local_port;
static atomic_t local_threads = ATOMIC_INIT(0);

/* --- threads: the module waits for their last steps -------------------------------------------------- */

struct task_struct *local_thread_run(int (*fn)(void *data), void *data, const char *name)
{
	struct task_struct *task;

	atomic_inc(&local_threads);
	task = kthread_run(fn, data, "%s", name);
	if (IS_ERR(task))
		local_thread_end();
	return task;
}

/* What a thread returns with.  The few instructions after it are what unregistering the driver waits for. */
int local_thread_end(void)
{
	if (atomic_dec_and_test(&local_threads))
		wake_up_var(&local_threads);
	return 0;
}

/* --- the thread of a host ---------------------------------------------------------------------------- */

enum local_step {
	LOCAL_STEP_WAIT,
	LOCAL_STEP_IN,
	LOCAL_STEP_OUT,
	LOCAL_STEP_LOOK,
	LOCAL_STEP_END,
};

/* Any context. */
void local_ask(struct local_host *host, enum local_request request)
{
	set_bit(request, &host->requests);
	wake_up(&host->asked);
}

static enum local_step local_step_in(struct local_host *host)
{
	if (test_bit(LOCAL_DEAD, &host->requests) || test_bit(LOCAL_LOGOUT, &host->requests))
		return LOCAL_STEP_OUT;
	return test_and_clear_bit(LOCAL_LOOK, &host->requests) ? LOCAL_STEP_LOOK : LOCAL_STEP_WAIT;
}

static enum local_step local_step_out(struct local_host *host)
{
	if (test_bit(LOCAL_DEAD, &host->requests))
		return LOCAL_STEP_END;
	if (!test_and_clear_bit(LOCAL_LOGIN, &host->requests))
		return LOCAL_STEP_WAIT;
	host->in = true;
	WRITE_ONCE(host->lt->in, host->lt->in + 1);
	WRITE_ONCE(host->lt->registering, host->lt->registering + 1);
	return LOCAL_STEP_IN;
}

static enum local_step local_next_step(struct local_host *host)
{
	enum local_step step;

	spin_lock(&host->lt->lock);
	step = host->in ? local_step_in(host) : local_step_out(host);
	spin_unlock(&host->lt->lock);
	return step;
}

static bool local_asked(const struct local_host *host)
{
	unsigned long in = BIT(LOCAL_DEAD) | BIT(LOCAL_LOGOUT) | BIT(LOCAL_LOOK);
	unsigned long out = BIT(LOCAL_DEAD) | BIT(LOCAL_LOGIN);

	return READ_ONCE(host->requests) & (host->in ? in : out);
}

/* Whoever waits in enable() need not wait for this host any more.  Return: did somebody? */
static bool local_settle(struct local_host *host, int error)
{
	struct local_target *lt = host->lt;
	bool awaited;

	spin_lock(&lt->lock);
	awaited = host->pending;
	if (awaited) {
		host->pending = false;
		lt->error = lt->error ?: error;
		WRITE_ONCE(lt->pending, lt->pending - 1);
	}
	spin_unlock(&lt->lock);
	wake_up_all(&lt->settled);
	return awaited;
}

static void local_host_out(struct local_host *host)
{
	struct local_target *lt = host->lt;

	spin_lock(&lt->lock);
	host->in = false;
	WRITE_ONCE(lt->in, lt->in - 1);
	clear_bit(LOCAL_LOGOUT, &host->requests);
	spin_unlock(&lt->lock);
	wake_up_all(&lt->settled);
}

static void local_registered(struct local_target *lt)
{
	spin_lock(&lt->lock);
	WRITE_ONCE(lt->registering, lt->registering - 1);
	spin_unlock(&lt->lock);
	wake_up_all(&lt->settled);
}

/* After a while, or when something else is asked of the host. */
static void local_login_again(struct local_host *host)
{
	struct local_target *lt = host->lt;

	wait_event_idle_timeout(host->asked, local_asked(host), HZ);
	spin_lock(&lt->lock);
	if (lt->open)
		local_ask(host, LOCAL_LOGIN);
	spin_unlock(&lt->lock);
}

/* Who waits in enable() is told of an error.  Nobody else is, so what memory was not enough for is tried again. */
static void local_host_login(struct local_host *host)
{
	struct local_login *login = local_login_begin(host);
	int ret;

	local_registered(host->lt);
	ret = PTR_ERR_OR_ZERO(login) ?: local_login_finish(login);
	if (ret) {
		pr_warn("initiator %s could not log in to %s: error %d\n",
			config_item_name(&host->item), host->lt->tgt.name, ret);
		local_host_out(host);
	}
	if (!local_settle(host, ret) && ret == -ENOMEM)
		local_login_again(host);
}

static void local_host_logout(struct local_host *host)
{
	local_logout(host);
	local_host_out(host);
}

/* What memory was not enough for is tried again. */
static void local_host_look(struct local_host *host)
{
	if (!READ_ONCE(host->lt->auto_rescan))
		return;
	if (local_look(host->login, test_and_clear_bit(LOCAL_POKE, &host->requests)))
		return;
	schedule_timeout_idle(HZ);
	local_ask(host, LOCAL_POKE);
	local_ask(host, LOCAL_LOOK);
}

static void local_host_do(struct local_host *host, enum local_step step)
{
	switch (step) {
	case LOCAL_STEP_IN:
		local_host_login(host);
		break;
	case LOCAL_STEP_OUT:
		local_host_logout(host);
		break;
	case LOCAL_STEP_LOOK:
		local_host_look(host);
		break;
	default:
		wait_event_idle(host->asked, local_asked(host));
	}
}

static int local_host_thread(void *data)
{
	struct local_host *host = data;
	enum local_step step;

	while ((step = local_next_step(host)) != LOCAL_STEP_END)
		local_host_do(host, step);
	local_settle(host, 0);
	config_item_put(&host->item);
	return local_thread_end();
}

/* Under a spinlock of the core's.  The session may not have a SCSI host yet, but it has a thread. */
static void local_luns_changed(struct scst_session *sess)
{
	struct local_login *login = sess->driver_data;

	if (!READ_ONCE(login->host->lt->auto_rescan))
		return;
	local_ask(login->host, LOCAL_POKE);
	local_ask(login->host, LOCAL_LOOK);
}

/* --- configfs: targets/local/NAME/hosts/INITIATOR -------------------------------------------------- */

static struct local_host *local_host_of_item(struct config_item *item)
{
	return container_of(item, struct local_host, item);
}

static ssize_t local_host_host_show(struct config_item *item, char *page)
{
	int no = READ_ONCE(local_host_of_item(item)->host_no);

	return no < 0 ? sysfs_emit(page, "\n") : sysfs_emit(page, "%d\n", no);
}

CONFIGFS_ATTR_RO(local_host_, host);

static struct configfs_attribute *local_host_attrs[] = {
	&local_host_attr_host,
	NULL,
};

static void local_host_release(struct config_item *item)
{
	struct local_host *host = local_host_of_item(item);

	scst_target_put(&host->lt->tgt);
	kfree(host);
}

static struct configfs_item_operations local_host_item_ops = {
	.release	= local_host_release,
};

static struct config_item_type local_host_type = {
	.ct_owner	= THIS_MODULE,
	.ct_item_ops	= &local_host_item_ops,
	.ct_attrs	= local_host_attrs,
};

static int local_host_check_name(const char *name)
{
	const char *c;

	if (strlen(name) > SCST_INITIATOR_NAME_LEN)
		return -ENAMETOOLONG;
	for (c = name; *c; c++)
		if (!isascii(*c) || !isgraph(*c) || strchr("*?!", *c))
			return -EINVAL;
	return 0;
}

/* Spellings of one name are the same initiator to every group. */
static int local_host_add(struct local_target *lt, struct local_host *host)
{
	const char *name = config_item_name(&host->item);
	struct local_host *other;
	int ret = 0;

	spin_lock(&lt->lock);
	list_for_each_entry(other, &lt->hosts, entry)
		if (scst_initiator_same(config_item_name(&other->item), name))
			ret = -EEXIST;
	if (!ret)
		list_add_tail(&host->entry, &lt->hosts);
	if (!ret && lt->open)
		set_bit(LOCAL_LOGIN, &host->requests);
	spin_unlock(&lt->lock);
	return ret;
}

static void local_host_remove(struct local_host *host)
{
	spin_lock(&host->lt->lock);
	list_del(&host->entry);
	local_ask(host, LOCAL_DEAD);
	spin_unlock(&host->lt->lock);
}

/* The thread may be logging in when this returns, or may have done. */
static int local_host_start(struct local_target *lt, struct local_host *host)
{
	struct task_struct *task;
	int ret = local_host_add(lt, host);

	if (ret)
		return ret;
	config_item_get(&host->item);
	task = local_thread_run(local_host_thread, host, "scst_local");
	if (!IS_ERR(task))
		return 0;
	local_host_remove(host);
	local_settle(host, 0);
	config_item_put(&host->item);
	return PTR_ERR(task);
}

static struct local_host *local_host_alloc(struct local_target *lt, const char *name)
{
	struct local_host *host = kzalloc(sizeof(*host), GFP_KERNEL);

	if (!host)
		return NULL;
	host->lt = lt;
	host->host_no = -1;
	init_waitqueue_head(&host->asked);
	scst_target_get(&lt->tgt);
	config_item_init_type_name(&host->item, name, &local_host_type);
	/* It returns nothing, but a long name needs memory. */
	if (config_item_name(&host->item))
		return host;
	config_item_put(&host->item);
	return NULL;
}

static struct config_item *local_host_make(struct config_group *group, const char *name)
{
	struct local_target *lt = container_of(group, struct local_target, hosts_group);
	struct local_host *host;
	int ret = local_host_check_name(name);

	if (ret)
		return ERR_PTR(ret);
	host = local_host_alloc(lt, name);
	if (!host)
		return ERR_PTR(-ENOMEM);
	ret = local_host_start(lt, host);
	if (!ret)
		return &host->item;
	config_item_put(&host->item);
	return ERR_PTR(ret);
}

static void local_host_drop(struct config_group *group, struct config_item *item)
{
	struct local_host *host = local_host_of_item(item);

	scst_initiator_leave(&host->lt->tgt, config_item_name(item));
	local_host_remove(host);
	scst_item_drop(item);
}

static struct configfs_group_operations local_hosts_group_ops = {
	.make_item	= local_host_make,
	.drop_item	= local_host_drop,
};

static struct config_item_type local_hosts_type = {
	.ct_owner	= THIS_MODULE,
	.ct_group_ops	= &local_hosts_group_ops,
};

/* --- targets ------------------------------------------------------------------------------------------- */

static ssize_t local_target_auto_rescan_show(struct config_item *item, char *page)
{
	struct scst_target *tgt = container_of(to_config_group(item), struct scst_target, group);

	return sysfs_emit(page, "%d\n", local_target_of(tgt)->auto_rescan);
}

static ssize_t local_target_auto_rescan_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_target *tgt = container_of(to_config_group(item), struct scst_target, group);
	bool value;
	int ret = scst_parse_bool(page, &value);

	if (ret)
		return ret;
	WRITE_ONCE(local_target_of(tgt)->auto_rescan, value);
	return count;
}

CONFIGFS_ATTR(local_target_, auto_rescan);

static ssize_t local_target_protection_show(struct config_item *item, char *page)
{
	struct scst_target *tgt = container_of(to_config_group(item), struct scst_target, group);

	return sysfs_emit(page, "%d\n", local_target_of(tgt)->protection);
}

/* The SCSI layer wants to know it when a host is made. */
static ssize_t local_target_protection_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_target *tgt = container_of(to_config_group(item), struct scst_target, group);
	bool value;
	int ret = scst_parse_bool(page, &value) ?: scst_target_lock_disabled(tgt);

	if (ret)
		return ret;
	WRITE_ONCE(local_target_of(tgt)->protection, value);
	mutex_unlock(&tgt->lock);
	return count;
}

CONFIGFS_ATTR(local_target_, protection);

static struct configfs_attribute *local_target_attrs[] = {
	&local_target_attr_auto_rescan,
	&local_target_attr_protection,
	NULL,
};

static int local_target_init(struct scst_target *tgt)
{
	struct local_target *lt = local_target_of(tgt);
	unsigned int cpus = num_possible_cpus();

	spin_lock_init(&lt->lock);
	INIT_LIST_HEAD(&lt->hosts);
	init_waitqueue_head(&lt->settled);
	lt->auto_rescan = true;
	tgt->limits.max_xfer = LOCAL_MAX_SECTORS << SECTOR_SHIFT;
	tgt->limits.max_segs = LOCAL_SG_TABLESIZE;
	tgt->limits.cmds = cpus * local_can_queue(cpus);
	config_group_init_type_name(&lt->hosts_group, "hosts", &local_hosts_type);
	scst_target_add_group(tgt, &lt->hosts_group);
	return 0;
}

/* Hosts that are still logging out from the last time log in when they have: they are not waited for. */
static void local_open(struct local_target *lt)
{
	struct local_host *host;

	spin_lock(&lt->lock);
	lt->open = true;
	lt->error = 0;
	list_for_each_entry(host, &lt->hosts, entry) {
		if (!host->in && !host->pending) {
			host->pending = true;
			WRITE_ONCE(lt->pending, lt->pending + 1);
		}
		local_ask(host, LOCAL_LOGIN);
	}
	spin_unlock(&lt->lock);
}

static void local_disable(struct scst_target *tgt)
{
	struct local_target *lt = local_target_of(tgt);
	struct local_host *host;

	spin_lock(&lt->lock);
	lt->open = false;
	list_for_each_entry(host, &lt->hosts, entry) {
		clear_bit(LOCAL_LOGIN, &host->requests);
		if (host->in)
			local_ask(host, LOCAL_LOGOUT);
	}
	spin_unlock(&lt->lock);
	/* Whose thread has just taken its request to log in makes a session yet; that waits for nobody. */
	wait_event_idle(lt->settled, !READ_ONCE(lt->registering));
}

/*
 * On a thread of the target's own.  One that could not be opened leaves no session behind, as long as that
 * may take; who asked for it need not wait for that.
 */
static int local_enable(struct scst_target *tgt)
{
	struct local_target *lt = local_target_of(tgt);
	int error;

	local_open(lt);
	wait_event_idle(lt->settled, !READ_ONCE(lt->pending));
	/* The last one to settle may not have got to the end of it. */
	spin_lock(&lt->lock);
	error = lt->error;
	spin_unlock(&lt->lock);
	if (!error)
		return 0;
	local_disable(tgt);
	wait_event_idle(lt->settled, !READ_ONCE(lt->in));
	return error;
}

static const struct scst_target_driver local_driver = {
	.owner		= THIS_MODULE,
	.name		= "local",
	.protocol	= SCST_PROTOCOL_NONE,
	.target_size	= sizeof(struct local_target),
	.target_attrs	= local_target_attrs,
	.init		= local_target_init,
	.enable		= local_enable,
	.disable	= local_disable,
	.send_response	= local_send_response,
	.release	= local_release,
	.tmf_done	= local_tmf_done,
	.session_gone	= local_session_gone,
	.luns_changed	= local_luns_changed,
};

static const struct scst_port_info local_port_info = {
	.driver	= &local_driver,
	.name	= "this_host",
};

static int __init local_init(void)
{
	int ret;

	local_root = root_device_register("scst_local");
	if (IS_ERR(local_root))
		return PTR_ERR(local_root);
	ret = scst_target_driver_register(&local_driver);
	if (ret)
		goto out_root;
	local_port = scst_port_register(&local_port_info);
	if (IS_ERR(local_port)) {
		ret = PTR_ERR(local_port);
		goto out_driver;
	}
	return 0;

out_driver:
	scst_target_driver_unregister(&local_driver);
out_root:
	root_device_unregister(local_root);
	return ret;
}

/* Each host's thread holds its target, and a target holds the module: what is left of them are last steps. */
static void __exit local_exit(void)
{
	scst_port_unregister(local_port);
	wait_var_event(&local_threads, !atomic_read(&local_threads));
	scst_target_driver_unregister(&local_driver);
	root_device_unregister(local_root);
}

module_init(local_init);
module_exit(local_exit);
MODULE_DESCRIPTION("SCSI target driver: initiators on the same machine");
MODULE_LICENSE("GPL");
MODULE_ALIAS("scst-target-local");
