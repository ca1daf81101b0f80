// SPDX-License-Identifier: GPL-2.0-only
/*
 * Target driver local: each configured initiator name is a SCSI host on this machine that logs in to
 * the target under that name.
 *
 * The host's command memory holds the target's command, its scatterlist is the target's: nothing is
 * copied or allocated.  queuecommand() may sleep, so that a back end which must can do so right there,
 * and commands that need not complete before it returns.
 *
 * local_login_lock serialises login and logout; local_lock guards the lists of hosts and is
 * all that mkdir and rmdir take.
 */
#define pr_fmt(fmt) "scst_local: " fmt

#include <linux/completion.h>
#include <linux/ctype.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <scsi/scsi.h>
#include <scsi/scsi_cmnd.h>
#include <scsi/scsi_device.h>
#include <scsi/scsi_host.h>
#include "scst.h"
#include "compat.h"

#define LOCAL_MAX_LUN		0x8000	/* flat space addressing and 14 bits */
#define LOCAL_CAN_QUEUE		512	/* commands per hardware queue */
#define LOCAL_CMD_PER_LUN	128
#define LOCAL_SG_TABLESIZE	1024
#define LOCAL_MAX_SECTORS	8192

struct local_target {
	struct scst_target tgt;
	struct config_group hosts_group;
	struct list_head hosts;		/* under local_lock */
	bool open;			/* under local_login_lock */
	bool auto_rescan;
};

/* Held by its directory and by queued work; holds the target. */
struct local_host {
	struct config_item item;
	struct list_head entry;		/* lt->hosts, while its directory exists */
	struct local_target *lt;
	struct Scsi_Host *shost;	/* while logged in, under local_login_lock */
	struct scst_session *sess;
	bool dead;			/* its directory is gone, under local_lock */
	spinlock_t lock;		/* the two below */
	unsigned int users;		/* rescans and resets; logging out waits for them */
	bool ready;			/* they may begin */
	int host_no;			/* -1: logged out */
	wait_queue_head_t returned;	/* a command or a user */
	struct work_struct work;	/* log in or out after mkdir or rmdir */
	struct work_struct rescan_work;
};

struct local_cmd {
	struct scst_cmd cmd;
	bool busy;			/* the target has it */
};

static DEFINE_MUTEX(local_login_lock);
static DEFINE_MUTEX(local_lock);
static struct workqueue_struct *local_wq;
static struct device *local_root;
static struct device *local_port;

static struct local_target *local_target_of(struct scst_target *tgt)
{
	return container_of(tgt, struct local_target, tgt);
}

static struct local_host *local_host_of(struct Scsi_Host *shost)
{
	return *(struct local_host **)shost_priv(shost);
}

/* --- users of a session: none begins while it is logged out, and none waits for that to end ---------- */

static bool local_use(struct local_host *host)
{
	bool ready;

	spin_lock(&host->lock);
	ready = host->ready;
	host->users += ready;
	spin_unlock(&host->lock);
	return ready;
}

static void local_unuse(struct local_host *host)
{
	spin_lock(&host->lock);
	if (!--host->users)
		wake_up_all(&host->returned);
	spin_unlock(&host->lock);
}

static void local_set_ready(struct local_host *host, bool ready)
{
	spin_lock(&host->lock);
	WRITE_ONCE(host->ready, ready);
	spin_unlock(&host->lock);
}

static bool local_used(struct local_host *host)
{
	bool used;

	spin_lock(&host->lock);
	used = host->users;
	spin_unlock(&host->lock);
	return used;
}

/* --- commands ------------------------------------------------------------------------------------ */

static struct scsi_cmnd *local_scsi_cmnd(struct scst_cmd *cmd)
{
	return (struct scsi_cmnd *)container_of(cmd, struct local_cmd, cmd) - 1;
}

/*
 * The SCSI layer's number is the LUN structure read as integers: from 256 on it holds the addressing method
 * as well, and looks like 16640 for LUN 256.
 */
static u32 local_lun(const struct scsi_device *sdev)
{
	struct scsi_lun lun;

	if (likely(sdev->lun < 256))
		return sdev->lun;
	int_to_scsilun(sdev->lun, &lun);
	return scst_lun_unpack(lun.scsi_lun);
}

/* Its presence keeps the SCSI layer from clearing all of it for each command. */
static int local_init_cmd_priv(struct Scsi_Host *shost, struct scsi_cmnd *scmd)
{
	struct local_cmd *lc = scsi_cmd_priv(scmd);

	lc->busy = false;
	lc->cmd.cdb = scmd->cmnd;
	lc->cmd.tag = (uintptr_t)scmd;
	return 0;
}

static scsi_qc_status_t local_queuecommand(struct Scsi_Host *shost, struct scsi_cmnd *scmd)
{
	struct local_cmd *lc = scsi_cmd_priv(scmd);
	struct scst_cmd *cmd = &lc->cmd;

	scst_cmd_init(cmd, local_host_of(shost)->sess);
	cmd->cdb_len = scmd->cmd_len;
	cmd->lun = local_lun(scmd->device);
	/* A worker of the block layer may be the one that a backing needs to go on. */
	cmd->can_sleep = !(current->flags & PF_WQ_WORKER);
	cmd->dir = scmd->sc_data_direction;
	cmd->sense = scmd->sense_buffer;
	cmd->sg = scsi_sglist(scmd);
	cmd->sg_cnt = scsi_sg_count(scmd);
	cmd->data_len = scsi_bufflen(scmd);
	WRITE_ONCE(lc->busy, true);
	scst_cmd_submit(cmd);
	return 0;
}

/*
 * All of the way back is one RCU reader: error handling, once it knows the command has left the target,
 * waits for a grace period and then knows that scsi_done() has returned, too.
 */
static void local_send_response(struct scst_cmd *cmd)
{
	struct scsi_cmnd *scmd = local_scsi_cmnd(cmd);

	scmd->result = likely(!scst_cmd_aborted(cmd)) ? cmd->status : DID_RESET << 16;
	scsi_set_resid(scmd, scsi_bufflen(scmd) - cmd->len);
	rcu_read_lock();
	scst_cmd_sent(cmd);
	rcu_read_unlock();
}

static void local_release(struct scst_cmd *cmd)
{
	struct local_host *host = cmd->sess->driver_data;

	WRITE_ONCE(container_of(cmd, struct local_cmd, cmd)->busy, false);
	if (wq_has_sleeper(&host->returned))
		wake_up_all(&host->returned);
	scsi_done(local_scsi_cmnd(cmd));
}

/* --- error handling -------------------------------------------------------------------------------- */

struct local_tmf {
	struct scst_tmf tmf;
	struct completion done;
};

static void local_tmf_done(struct scst_tmf *tmf)
{
	complete(&container_of(tmf, struct local_tmf, tmf)->done);
}

/*
 * Waits as long as the back end takes.  Giving up would hand the command's pages back while a device may still
 * write to them; the SCSI layer aborts from a work item, so other commands of the host go on.
 */
static int local_tmf(struct scsi_cmnd *scmd, enum scst_tmf_function fn)
{
	struct local_host *host = local_host_of(scmd->device->host);
	struct local_tmf lt = {
		.tmf = {
			.sess	= host->sess,
			.fn	= fn,
			.lun	= local_lun(scmd->device),
			.tag	= (uintptr_t)scmd,
		},
	};

	init_completion(&lt.done);
	scst_tmf_submit(&lt.tmf);
	wait_for_completion_state(&lt.done, TASK_IDLE);
	return lt.tmf.response == SCST_TMF_BAD_LUN ? FAILED : SUCCESS;
}

static int local_eh_abort(struct scsi_cmnd *scmd)
{
	struct local_cmd *lc = scsi_cmd_priv(scmd);
	struct local_host *host = local_host_of(scmd->device->host);

	local_tmf(scmd, SCST_TMF_ABORT_TASK);
	wait_event_idle(host->returned, !READ_ONCE(lc->busy));
	synchronize_rcu();
	return SUCCESS;
}

/* No command in flight need be behind a reset, so nothing else keeps the session. */
static int local_reset(struct scsi_cmnd *scmd, enum scst_tmf_function fn)
{
	struct local_host *host = local_host_of(scmd->device->host);
	int ret = FAILED;

	if (local_use(host)) {
		ret = local_tmf(scmd, fn);
		local_unuse(host);
	}
	return ret;
}

static int local_eh_device_reset(struct scsi_cmnd *scmd)
{
	return local_reset(scmd, SCST_TMF_LUN_RESET);
}

static int local_eh_target_reset(struct scsi_cmnd *scmd)
{
	return local_reset(scmd, SCST_TMF_TARGET_RESET);
}

/*
 * A command that takes too long is aborted once.  What the SCSI layer would do next (or at once, where an
 * administrator has set a deadline) is take the command back, whether or not the target still moves its data.
 */
static enum scsi_timeout_action local_eh_timed_out(struct scsi_cmnd *scmd)
{
	return scmd->eh_eflags || scmd->device->host->eh_deadline != -1 ? SCSI_EH_RESET_TIMER :
									  SCSI_EH_NOT_HANDLED;
}

/* --- the SCSI host ----------------------------------------------------------------------------------- */

/* Remember which device the LUN leads to: a rescan must notice when that changes. */
static int local_sdev_init(struct scsi_device *sdev)
{
	u64 cookie = scst_session_lun_cookie(local_host_of(sdev->host)->sess, local_lun(sdev));

	sdev->hostdata = (void *)(uintptr_t)cookie;
	return 0;
}

static const struct scsi_host_template local_template = {
	.module			= THIS_MODULE,
	.name			= "SCST local initiator",
	.proc_name		= "scst_local",
	SCST_HOST_MAY_BLOCK
	.queuecommand		= local_queuecommand,
	.init_cmd_priv		= local_init_cmd_priv,
	.eh_timed_out		= local_eh_timed_out,
	.eh_abort_handler	= local_eh_abort,
	.eh_device_reset_handler = local_eh_device_reset,
	.eh_target_reset_handler = local_eh_target_reset,
	.sdev_init		= local_sdev_init,
	.change_queue_depth	= scsi_change_queue_depth,
	.cmd_size		= sizeof(struct local_cmd),
	.can_queue		= LOCAL_CAN_QUEUE,
	.cmd_per_lun		= LOCAL_CMD_PER_LUN,
	.sg_tablesize		= LOCAL_SG_TABLESIZE,
	.max_sectors		= LOCAL_MAX_SECTORS,
	.max_segment_size	= UINT_MAX,
	.this_id		= -1,
};

/* Found while its device was parked, it has no disk driver yet; whoever has it open keeps it. */
static void local_connect(struct scsi_device *sdev)
{
	sdev->inq_periph_qual = SCSI_INQ_PQ_CON;
	if (device_attach(&sdev->sdev_gendev) < 0)
		sdev_printk(KERN_WARNING, sdev, "no disk driver\n");
}

/* What the initiator has found, compared with what it would find now. */
static void local_refresh(struct local_host *host)
{
	struct scsi_device *sdev;

	shost_for_each_device(sdev, host->shost) {
		u32 lun = local_lun(sdev);
		u64 cookie = scst_session_lun_cookie(host->sess, lun);

		if (sdev->hostdata != (void *)(uintptr_t)cookie)
			scsi_remove_device(sdev);
		else if (sdev->inq_periph_qual == SCSI_INQ_PQ_NOT_CON &&
			 scst_session_lun_ready(host->sess, lun))
			local_connect(sdev);
	}
}

static void local_rescan_work(struct work_struct *work)
{
	struct local_host *host = container_of(work, struct local_host, rescan_work);

	if (!local_use(host))
		return;
	local_refresh(host);
	scsi_scan_target(&host->shost->shost_gendev, 0, 0, SCAN_WILD_CARD, SCSI_SCAN_MANUAL);
	local_unuse(host);
}

static void local_luns_changed(struct scst_session *sess)
{
	struct local_host *host = sess->driver_data;

	if (READ_ONCE(host->ready) && READ_ONCE(host->lt->auto_rescan))
		queue_work(local_wq, &host->rescan_work);
}

static struct Scsi_Host *local_shost_alloc(struct local_host *host)
{
	struct Scsi_Host *shost = scsi_host_alloc((struct scsi_host_template *)&local_template,
						  sizeof(struct local_host *));

	if (!shost)
		return NULL;
	*(struct local_host **)shost_priv(shost) = host;
	/* Nobody may find a device before the host is set up. */
	shost->max_id = 0;
	shost->max_lun = LOCAL_MAX_LUN;
	shost->max_channel = 0;
	shost->max_cmd_len = SCST_MAX_CDB;
	shost->nr_hw_queues = num_possible_cpus();
	return shost;
}

/* Under local_login_lock. */
static int local_login(struct local_host *host)
{
	struct Scsi_Host *shost = local_shost_alloc(host);
	struct scst_session *sess;
	int ret;

	if (!shost)
		return -ENOMEM;
	sess = scst_session_register(&host->lt->tgt, config_item_name(&host->item), host);
	if (IS_ERR(sess)) {
		ret = PTR_ERR(sess);
		goto out_put;
	}
	host->sess = sess;
	ret = scsi_add_host(shost, local_root);
	if (ret)
		goto out_session;
	scst_host_set_blocking(shost);
	shost->max_id = 1;
	host->shost = shost;
	WRITE_ONCE(host->host_no, shost->host_no);
	local_set_ready(host, true);
	scsi_scan_target(&shost->shost_gendev, 0, 0, SCAN_WILD_CARD, SCSI_SCAN_INITIAL);
	return 0;

out_session:
	scst_session_unregister(sess);
	host->sess = NULL;
out_put:
	scsi_host_put(shost);
	return ret;
}

/* Under local_login_lock.  Waits for the initiator's commands. */
static void local_logout(struct local_host *host)
{
	if (!host->shost)
		return;
	local_set_ready(host, false);
	wait_event_idle(host->returned, !local_used(host));
	scsi_remove_host(host->shost);
	WRITE_ONCE(host->host_no, -1);
	scst_session_unregister(host->sess);
	/* One that a change of LUNs queued before has nothing to do now, but needs the host's memory. */
	cancel_work_sync(&host->rescan_work);
	scsi_host_put(host->shost);
	host->shost = NULL;
	host->sess = NULL;
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

/* After mkdir or rmdir: what the directory and the target want now. */
static void local_host_work(struct work_struct *work)
{
	struct local_host *host = container_of(work, struct local_host, work);
	bool dead;

	mutex_lock(&local_login_lock);
	mutex_lock(&local_lock);
	dead = host->dead;
	mutex_unlock(&local_lock);
	if (dead)
		local_logout(host);
	else if (host->lt->open && !host->shost && local_login(host))
		pr_warn("initiator %s could not log in to %s: out of memory\n",
			config_item_name(&host->item), host->lt->tgt.name);
	mutex_unlock(&local_login_lock);
	config_item_put(&host->item);
}

static void local_host_queue(struct local_host *host)
{
	config_item_get(&host->item);
	if (!queue_work(local_wq, &host->work))
		config_item_put(&host->item);
}

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

/* Names that differ by case only are the same initiator to every group. */
static int local_host_add(struct local_target *lt, struct local_host *host)
{
	const char *name = config_item_name(&host->item);
	struct local_host *other;
	int ret = 0;

	mutex_lock(&local_lock);
	list_for_each_entry(other, &lt->hosts, entry)
		if (!strcasecmp(config_item_name(&other->item), name))
			ret = -EEXIST;
	if (!ret)
		list_add_tail(&host->entry, &lt->hosts);
	mutex_unlock(&local_lock);
	return ret;
}

static struct config_item *local_host_make(struct config_group *group, const char *name)
{
	struct local_target *lt = container_of(group, struct local_target, hosts_group);
	struct local_host *host;
	int ret = local_host_check_name(name);

	if (ret)
		return ERR_PTR(ret);
	host = kzalloc(sizeof(*host), GFP_KERNEL);
	if (!host)
		return ERR_PTR(-ENOMEM);
	host->lt = lt;
	host->host_no = -1;
	init_waitqueue_head(&host->returned);
	spin_lock_init(&host->lock);
	INIT_WORK(&host->work, local_host_work);
	INIT_WORK(&host->rescan_work, local_rescan_work);
	scst_target_get(&lt->tgt);
	config_item_init_type_name(&host->item, name, &local_host_type);
	ret = local_host_add(lt, host);
	if (ret) {
		config_item_put(&host->item);
		return ERR_PTR(ret);
	}
	local_host_queue(host);
	return &host->item;
}

static void local_host_drop(struct config_group *group, struct config_item *item)
{
	struct local_host *host = local_host_of_item(item);

	mutex_lock(&local_lock);
	list_del(&host->entry);
	host->dead = true;
	/* Queued with the same lock held: who does not find it on the list any more finds it on the queue. */
	local_host_queue(host);
	mutex_unlock(&local_lock);
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

static struct configfs_attribute *local_target_attrs[] = {
	&local_target_attr_auto_rescan,
	NULL,
};

static int local_target_init(struct scst_target *tgt)
{
	struct local_target *lt = local_target_of(tgt);

	INIT_LIST_HEAD(&lt->hosts);
	lt->auto_rescan = true;
	config_group_init_type_name(&lt->hosts_group, "hosts", &local_hosts_type);
	scst_target_add_group(tgt, &lt->hosts_group);
	return 0;
}

/* The next host that is logged in (or out), referenced; NULL when there is none left. */
static struct local_host *local_next_host(struct local_target *lt, bool logged_in)
{
	struct local_host *host, *found = NULL;

	mutex_lock(&local_lock);
	list_for_each_entry(host, &lt->hosts, entry) {
		if (!!host->shost == logged_in) {
			found = host;
			config_item_get(&host->item);
			break;
		}
	}
	mutex_unlock(&local_lock);
	return found;
}

/* Under local_login_lock. */
static void local_logout_all(struct local_target *lt)
{
	struct local_host *host;

	lt->open = false;
	while ((host = local_next_host(lt, true))) {
		local_logout(host);
		config_item_put(&host->item);
	}
}

static int local_enable(struct scst_target *tgt)
{
	struct local_target *lt = local_target_of(tgt);
	struct local_host *host;
	int ret = 0;

	mutex_lock(&local_login_lock);
	lt->open = true;
	while (!ret && (host = local_next_host(lt, false))) {
		ret = local_login(host);
		config_item_put(&host->item);
	}
	if (ret)
		local_logout_all(lt);
	mutex_unlock(&local_login_lock);
	return ret;
}

static void local_disable(struct scst_target *tgt)
{
	mutex_lock(&local_login_lock);
	local_logout_all(local_target_of(tgt));
	mutex_unlock(&local_login_lock);
	/* Hosts whose directories went a moment ago are sessions of the target until they are logged out. */
	flush_workqueue(local_wq);
}

static const struct scst_target_driver local_driver = {
	.owner		= THIS_MODULE,
	.name		= "local",
	.target_size	= sizeof(struct local_target),
	.target_attrs	= local_target_attrs,
	.init		= local_target_init,
	.enable		= local_enable,
	.disable	= local_disable,
	.send_response	= local_send_response,
	.release	= local_release,
	.tmf_done	= local_tmf_done,
	.luns_changed	= local_luns_changed,
};

static int __init local_init(void)
{
	int ret = -ENOMEM;

	local_wq = alloc_workqueue("scst_local", WQ_UNBOUND, 0);
	if (!local_wq)
		return ret;
	local_root = root_device_register("scst_local");
	if (IS_ERR(local_root)) {
		ret = PTR_ERR(local_root);
		goto out_wq;
	}
	ret = scst_target_driver_register(&local_driver);
	if (ret)
		goto out_root;
	local_port = scst_port_register(&local_driver, "this_host");
	if (IS_ERR(local_port)) {
		ret = PTR_ERR(local_port);
		goto out_driver;
	}
	return 0;

out_driver:
	scst_target_driver_unregister(&local_driver);
out_root:
	root_device_unregister(local_root);
out_wq:
	destroy_workqueue(local_wq);
	return ret;
}

static void __exit local_exit(void)
{
	scst_port_unregister(local_port);
	/* Hosts whose directories are gone log out in work, and hold their targets until then. */
	flush_workqueue(local_wq);
	scst_target_driver_unregister(&local_driver);
	destroy_workqueue(local_wq);
	root_device_unregister(local_root);
}

module_init(local_init);
module_exit(local_exit);
MODULE_DESCRIPTION("SCSI target driver: initiators on the same machine");
MODULE_LICENSE("GPL");
MODULE_ALIAS("scst-target-local");
