// SPDX-License-Identifier: GPL-2.0-only
/*
 * Target driver for tests: does at each stage of a command what a program tells it to, and watches the core meanwhile.
 *
 * The program owns the initiators: it makes sessions, submits commands and task management functions, and reads back as
 * events what the core did.  A command carries its script: when its data comes, from which context, how often
 * there is no room, whether its response is held or lost.  Requests and events: wire.h.
 *
 * Each callback checks what its description in scst_target.h promises.  A broken promise is counted in debugfs and
 * warned about, which fails the test run.  A command's memory is poisoned when it is released, and looked at later.
 *
 * Drivers: "script", and "scriptport", whose targets need a port.
 */
#include "script.h"
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

struct workqueue_struct *script_wq;
static struct dentry *script_debugfs;

static const char *const script_counter_names[SCRIPT_COUNTERS] = {
	[SCRIPT_SUBMITTED]	= "submitted",
	[SCRIPT_RELEASES]	= "released",
	[SCRIPT_TMFS]		= "tmfs",
	[SCRIPT_TMFS_DONE]	= "tmfs_done",
	[SCRIPT_SESSIONS]	= "sessions",
	[SCRIPT_SESSIONS_GONE]	= "sessions_gone",
	[SCRIPT_BAD_CONTEXT]	= "bad_context",
	[SCRIPT_BAD_STATE]	= "bad_state",
	[SCRIPT_BAD_DATA]	= "bad_data",
	[SCRIPT_DOUBLE_RELEASE]	= "double_release",
	[SCRIPT_DOUBLE_TMF]	= "double_tmf",
	[SCRIPT_DOUBLE_ABORT]	= "double_abort",
	[SCRIPT_LATE_TOUCH]	= "late_touch",
	[SCRIPT_EVENTS_LOST]	= "events_lost",
};

/* --- the device ---------- */

static DEFINE_MUTEX(script_request_mutex);

static ssize_t script_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	struct script_request req;
	void *data = NULL;
	int ret;

	if (count < sizeof(req) || copy_from_user(&req, from, sizeof(req)))
		return -EINVAL;
	if (req.data_len != count - sizeof(req) || req.data_len > SCRIPT_DATA_MAX)
		return -EINVAL;
	/* One more byte ends a name. */
	data = script_zalloc(req.data_len + 1, GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	ret = -EFAULT;
	if (!copy_from_user(data, from + sizeof(req), req.data_len)) {
		mutex_lock(&script_request_mutex);
		ret = script_do(&req, data);
		mutex_unlock(&script_request_mutex);
	}
	kvfree(data);
	return ret ?: count;
}

static ssize_t script_read(struct file *file, char __user *to, size_t room, loff_t *pos)
{
	struct script_report *report;
	size_t done = 0;
	int ret;

	if (!(file->f_flags & O_NONBLOCK)) {
		ret = wait_event_interruptible(script_events_wait, READ_ONCE(script_nr_events));
		if (ret)
			return ret;
	}
	for (;;) {
		report = script_next_event(room - done);
		if (IS_ERR_OR_NULL(report))
			break;
		ret = copy_to_user(to + done, &report->event, report->event.size);
		done += report->event.size;
		kvfree(report);
		if (ret)
			return -EFAULT;
	}
	if (done)
		return done;
	return report ? PTR_ERR(report) : -EAGAIN;
}

static __poll_t script_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &script_events_wait, table);
	return (READ_ONCE(script_nr_events) ? EPOLLIN | EPOLLRDNORM : 0) | EPOLLOUT | EPOLLWRNORM;
}

static int script_fop_open(struct inode *inode, struct file *file)
{
	int ret = 0;

	spin_lock_irq(&script_events_lock);
	if (script_open)
		ret = -EBUSY;
	else
		script_open = true;
	spin_unlock_irq(&script_events_lock);
	if (!ret)
		WRITE_ONCE(script_letting_go, false);
	return ret;
}

/* A program that ends, however it ends, leaves nothing behind that a target would wait for. */
static int script_fop_release(struct inode *inode, struct file *file)
{
	struct script_target *st;
	struct script_session *ss;

	mutex_lock(&script_request_mutex);
	script_let_go();
	mutex_lock(&script_mutex);
	list_for_each_entry(st, &script_targets, entry)
		list_for_each_entry(ss, &st->sessions, entry)
			script_session_close(ss);
	mutex_unlock(&script_mutex);
	script_ports_down();
	mutex_unlock(&script_request_mutex);
	spin_lock_irq(&script_events_lock);
	script_open = false;
	spin_unlock_irq(&script_events_lock);
	script_drop_events();
	return 0;
}

static const struct file_operations script_fops = {
	.owner		= THIS_MODULE,
	.open		= script_fop_open,
	.release	= script_fop_release,
	.read		= script_read,
	.write		= script_write,
	.poll		= script_poll,
};

static struct miscdevice script_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "scst_script",
	.fops	= &script_fops,
};

static int script_counters_show(struct seq_file *m, void *unused)
{
	int i;

	for (i = 0; i < SCRIPT_COUNTERS; i++)
		seq_printf(m, "%s %d\n", script_counter_names[i], atomic_read(&script_counters[i]));
	seq_printf(m, "size_of_command %zu\n", sizeof(struct scst_cmd));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(script_counters);

/* --- module ---------- */

static int __init script_register(void)
{
	int ret;

	script_port_driver = script_driver;
	script_port_driver.name = "scriptport";
	script_port_driver.needs_port = true;
	ret = scst_target_driver_register(&script_driver);
	if (ret)
		return ret;
	ret = scst_target_driver_register(&script_port_driver);
	if (ret)
		goto out_driver;
	ret = misc_register(&script_device);
	if (ret)
		goto out_port_driver;
	return 0;

out_port_driver:
	scst_target_driver_unregister(&script_port_driver);
out_driver:
	scst_target_driver_unregister(&script_driver);
	return ret;
}

static int __init script_init(void)
{
	int ret;

	script_wq = alloc_workqueue("scst_script", WQ_UNBOUND, 0);
	if (!script_wq)
		return -ENOMEM;
	ret = script_register();
	if (ret) {
		destroy_workqueue(script_wq);
		return ret;
	}
	script_debugfs = debugfs_create_dir("scst_script", NULL);
	debugfs_create_file("counters", 0444, script_debugfs, NULL, &script_counters_fops);
	return 0;
}

static void __exit script_exit(void)
{
	debugfs_remove_recursive(script_debugfs);
	misc_deregister(&script_device);
	scst_target_driver_unregister(&script_port_driver);
	scst_target_driver_unregister(&script_driver);
	flush_delayed_work(&script_reaper);
	destroy_workqueue(script_wq);
}

module_init(script_init);
module_exit(script_exit);
MODULE_DESCRIPTION("SCST target driver for tests");
MODULE_LICENSE("GPL");
