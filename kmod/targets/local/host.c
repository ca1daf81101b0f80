// SPDX-License-Identifier: GPL-2.0-only
/*
 * The SCSI host that an initiator is: commands, error handling, login and logout.
 *
 * The host's command memory holds the target's command, its scatterlist is the target's: nothing is
 * copied or allocated.  queuecommand() may sleep, so that a back end which must can do so right there,
 * and commands that need not complete before it returns.
 */
#include "local.h"
#include <linux/blk-mq.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/t10-pi.h>

#define LOCAL_MAX_LUN	0x8000	/* flat space addressing and 14 bits */

/* Of our part in a request, which begins on a cache line, until the target's command begins on one, too. */
#define LOCAL_CMD_AT	(SCST_CMD_LINE - (sizeof(struct request) + sizeof(struct scsi_cmnd)) % SCST_CMD_LINE)

/*
 * Nothing of a command that ends well is written where it ends, for that may be another CPU.  So @busy stays as it is
 * at the end of one that was tracked and that nobody waits for; see local_returned().
 */
struct local_cmd {
	union {
		struct {
			bool busy;	/* the target has it */
			bool awaited;	/* error handling waits for it */
		};
		u8 at[LOCAL_CMD_AT];
	};
	struct scst_cmd cmd;
};

static_assert((sizeof(struct request) + sizeof(struct scsi_cmnd) + offsetof(struct local_cmd, cmd)) % SCST_CMD_LINE == 0);
/* What queue.h reckons with, and 8 bytes before it on 6.1; kernels with debugging aids have larger ones. */
static_assert(IS_ENABLED(CONFIG_LOCKDEP) || IS_ENABLED(CONFIG_DEBUG_SG) || sizeof(struct scst_cmd) <= 576);

/* --- users of a login: none begins while it is being logged out -------------------------------------- */

bool local_use(struct local_login *login)
{
	bool ready;

	spin_lock(&login->lock);
	ready = login->ready;
	login->users += ready;
	spin_unlock(&login->lock);
	return ready;
}

/* The login may be gone on return, but for who has a reference to its SCSI host. */
void local_unuse(struct local_login *login)
{
	spin_lock(&login->lock);
	if (!--login->users)
		wake_up_all(&login->returned);
	spin_unlock(&login->lock);
}

/*
 * Removing a host and taking the driver from one of its devices do not go together: the SCSI layer removes the link to
 * bsg from a directory that the block layer removes when the disk goes, and has no lock against that.
 */
bool local_unbind_begin(struct local_login *login)
{
	bool ready;

	spin_lock(&login->lock);
	ready = login->ready;
	WRITE_ONCE(login->unbinding, login->unbinding + ready);
	spin_unlock(&login->lock);
	return ready;
}

void local_unbind_end(struct local_login *login)
{
	spin_lock(&login->lock);
	WRITE_ONCE(login->unbinding, login->unbinding - 1);
	if (!login->unbinding)
		wake_up_all(&login->returned);
	spin_unlock(&login->lock);
}

static void local_set_ready(struct local_login *login, bool ready)
{
	spin_lock(&login->lock);
	login->ready = ready;
	spin_unlock(&login->lock);
}

static bool local_used(struct local_login *login)
{
	bool used;

	spin_lock(&login->lock);
	used = login->users;
	spin_unlock(&login->lock);
	return used;
}

/* --- commands ---------------------------------------------------------------------------------------- */

static struct scsi_cmnd *local_scsi_cmnd(struct scst_cmd *cmd)
{
	return (struct scsi_cmnd *)container_of(cmd, struct local_cmd, cmd) - 1;
}

/*
 * Called once for the memory of each command, when the host is added.  Its presence keeps the SCSI layer from
 * clearing that memory for each command, too.
 */
static int local_init_cmd_priv(struct Scsi_Host *shost, struct scsi_cmnd *scmd)
{
	struct local_cmd *lc = scsi_cmd_priv(scmd);

	BUILD_BUG_ON(SCSI_SENSE_BUFFERSIZE < SCST_SENSE_SIZE);
	BUILD_BUG_ON(sizeof(scmd->cmnd) < SCST_MAX_CDB);
	lc->busy = false;
	lc->awaited = false;
	lc->cmd.sess = local_login_of(shost)->sess;
	lc->cmd.cdb = scmd->cmnd;
	lc->cmd.sense = scmd->sense_buffer;
	lc->cmd.tag = (uintptr_t)scmd;
	lc->cmd.data.read_only = false;
	return 0;
}

/* Without memory for it the host would make and check it: the target does. */
static noinline void local_take_pi(struct scst_cmd *cmd, struct scsi_cmnd *scmd)
{
	unsigned int nents = scsi_prot_sg_count(scmd);

	cmd->pi_type = scsi_get_prot_type(scmd);
	cmd->prot = (struct scst_data) {
		.sgl	= nents ? scsi_prot_sglist(scmd) : NULL,
		.nents	= nents,
		.len	= nents ? scsi_bufflen(scmd) / scsi_prot_interval(scmd) * sizeof(struct t10_pi_tuple) : 0,
		.owner	= SCST_DATA_DRIVER,
	};
}

/* What is read comes first, so that scst_cmd_init() writes nothing that is written again. */
static scsi_qc_status_t local_queuecommand(struct Scsi_Host *shost, struct scsi_cmnd *scmd)
{
	struct local_cmd *lc = scsi_cmd_priv(scmd);
	struct scst_cmd *cmd = &lc->cmd;
	u32 lun = local_lun(scmd->device);
	/* A worker of the block layer may be the one that a backing needs to go on. */
	u8 ctx = current->flags & PF_WQ_WORKER ? SCST_CTX_ATOMIC : SCST_CTX_TASK;

	scst_cmd_init(cmd, cmd->sess);
	cmd->cdb_len = scmd->cmd_len;
	cmd->lun = lun;
	cmd->ctx = ctx;
	cmd->dir = scmd->sc_data_direction;
	cmd->expected_len = scsi_bufflen(scmd);
	cmd->data.sgl = scsi_sglist(scmd);
	cmd->data.nents = scsi_sg_count(scmd);
	cmd->data.len = scsi_bufflen(scmd);
	cmd->data.owner = SCST_DATA_DRIVER;
	if (unlikely(scmd->prot_op))
		local_take_pi(cmd, scmd);
	scmd->result = SAM_STAT_GOOD;
	/* After the target's half, for who waits for it. */
	smp_store_release(&lc->busy, true);
	scst_cmd_submit(cmd);
	return 0;
}

/* The SCSI layer knows no residual overrun: it asks how much of its buffer was not used. */
static noinline void local_tell(struct scsi_cmnd *scmd, const struct scst_cmd *cmd)
{
	scsi_set_resid(scmd, cmd->expected_len - cmd->len);
	scmd->result = cmd->status;
	if (scst_cmd_aborted(cmd))
		scmd->result = DID_RESET << 16;
	else if (cmd->sense_len)
		local_lun_news(scmd->device, cmd);
}

/*
 * What the SCSI layer is told of a command that did what it was asked for is there since queuecommand().
 *
 * All of it is one RCU reader, from before the command leaves the target's table until scsi_done() has returned.
 */
int local_send_response(struct scst_cmd *cmd)
{
	rcu_read_lock();
	if (unlikely(cmd->status || scst_cmd_aborted(cmd) || cmd->len != cmd->expected_len))
		local_tell(local_scsi_cmnd(cmd), cmd);
	scst_cmd_sent(cmd);
	rcu_read_unlock();
	return 0;
}

static noinline void local_wake(struct local_login *login, struct local_cmd *lc)
{
	if (!READ_ONCE(lc->awaited))
		return;
	WRITE_ONCE(lc->busy, false);
	wake_up_all(&login->returned);
}

void local_release(struct scst_cmd *cmd)
{
	struct local_login *login = cmd->sess->driver_data;
	struct local_cmd *lc = container_of(cmd, struct local_cmd, cmd);

	/* Inside queuecommand(), where it was written, too. */
	if (!scst_cmd_tracked(cmd))
		WRITE_ONCE(lc->busy, false);
	if (unlikely(atomic_read(&login->awaited)))
		local_wake(login, lc);
	scsi_done(local_scsi_cmnd(cmd));
}

/* --- error handling ---------------------------------------------------------------------------------- */

struct local_tmf {
	struct scst_tmf tmf;
	struct completion done;
};

void local_tmf_done(struct scst_tmf *tmf)
{
	complete(&container_of(tmf, struct local_tmf, tmf)->done);
}

/*
 * Waits as long as the back end takes.  Giving up would hand the command's pages back while a device may still
 * write to them; the SCSI layer aborts from a work item of this host's own, so other commands go on.
 */
static int local_tmf(struct scsi_cmnd *scmd, enum scst_tmf_function fn)
{
	struct local_tmf lt = {
		.tmf = {
			.sess	= local_login_of(scmd->device->host)->sess,
			.fn	= fn,
			.lun	= local_lun(scmd->device),
			.tag	= (uintptr_t)scmd,
		},
	};

	init_completion(&lt.done);
	scst_tmf_submit(&lt.tmf);
	wait_for_completion_state(&lt.done, TASK_IDLE);
	switch (lt.tmf.response) {
	case SCST_TMF_COMPLETE:
	case SCST_TMF_SUCCEEDED:
	case SCST_TMF_NO_TASK:
		return SUCCESS;
	default:
		return FAILED;
	}
}

/*
 * The target has let go of the command, or is about to.  It is marked as awaited, and a grace period has passed: who ends it
 * from now on sees the mark.  Who did not has ended it, and that shows.
 */
static bool local_returned(struct local_cmd *lc)
{
	return !smp_load_acquire(&lc->busy) || scst_cmd_left(&lc->cmd);
}

/*
 * A command in flight keeps the session.  Whatever the answer: it ends well only when the target has let go of the
 * command, and scsi_done() has returned, which it has one more grace period later; see local_send_response().
 */
static int local_eh_abort(struct scsi_cmnd *scmd)
{
	struct local_login *login = local_login_of(scmd->device->host);
	struct local_cmd *lc = scsi_cmd_priv(scmd);

	local_tmf(scmd, SCST_TMF_ABORT_TASK);
	WRITE_ONCE(lc->awaited, true);
	atomic_inc(&login->awaited);
	synchronize_rcu();
	wait_event_idle(login->returned, local_returned(lc));
	synchronize_rcu();
	atomic_dec(&login->awaited);
	WRITE_ONCE(lc->awaited, false);
	return SUCCESS;
}

/*
 * No command in flight need be behind a reset, so nothing else keeps the session.  One that comes while the host
 * is being removed fails: the session's end aborts everything anyway.
 */
static int local_reset(struct scsi_cmnd *scmd, enum scst_tmf_function fn)
{
	struct local_login *login = local_login_of(scmd->device->host);
	int ret = FAILED;

	if (local_use(login)) {
		ret = local_tmf(scmd, fn);
		local_unuse(login);
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

/* --- the SCSI host ------------------------------------------------------------------------------------- */

/*
 * A flush of our disk may end inside the end of its backing's: the block layer holds the lock of a flush queue there.
 * They are two queues, and lockdep can't tell unless ours have a class of their own.
 */
static void local_flush_lock_class(struct request_queue *queue)
{
	static struct lock_class_key key;
	struct blk_mq_hw_ctx *hctx;
	unsigned long i;

	queue_for_each_hw_ctx(queue, hctx, i)
		blk_mq_hctx_set_fq_lock_class(hctx, &key);
}

/*
 * The SCSI layer cuts cmd_per_lun to what one hardware queue takes, but a device's commands come by all of them.
 */
static int local_sdev_init(struct scsi_device *sdev)
{
	struct scst_session *sess = local_login_of(sdev->host)->sess;

	local_lun_begin(sdev, scst_session_lun_cookie(sess, local_lun(sdev)));
	local_flush_lock_class(sdev->request_queue);
	scsi_change_queue_depth(sdev, LOCAL_CMD_PER_LUN);
	return 0;
}

/* Not const: until 6.4 scsi_host_alloc() takes no other. */
static struct scsi_host_template local_template = {
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
	.can_queue		= LOCAL_QUEUE_MIN,
	.cmd_per_lun		= LOCAL_CMD_PER_LUN,
	.sg_tablesize		= LOCAL_SG_TABLESIZE,
	.max_sectors		= LOCAL_MAX_SECTORS,
	.max_segment_size	= UINT_MAX,
	.this_id		= -1,
};

/* The SCSI layer gives each command more memory for it, so it is not had by who does not ask for it. */
static void local_set_protection(struct Scsi_Host *shost)
{
	scsi_host_set_prot(shost, SHOST_DIF_TYPE1_PROTECTION | SHOST_DIF_TYPE2_PROTECTION | SHOST_DIF_TYPE3_PROTECTION |
				  SHOST_DIX_TYPE1_PROTECTION | SHOST_DIX_TYPE2_PROTECTION | SHOST_DIX_TYPE3_PROTECTION);
	scsi_host_set_guard(shost, SHOST_DIX_GUARD_CRC);
}

static struct Scsi_Host *local_shost_alloc(struct local_host *host)
{
	struct Scsi_Host *shost = scsi_host_alloc(&local_template, sizeof(struct local_login));
	struct local_login *login;

	if (!shost)
		return NULL;
	/* Nobody may find a device before the host is set up. */
	shost->max_id = 0;
	shost->max_lun = LOCAL_MAX_LUN;
	shost->max_channel = 0;
	shost->max_cmd_len = SCST_MAX_CDB;
	shost->nr_hw_queues = num_possible_cpus();
	shost->can_queue = local_can_queue(num_possible_cpus());
	if (READ_ONCE(host->lt->protection))
		local_set_protection(shost);
	login = local_login_of(shost);
	login->host = host;
	login->shost = shost;
	spin_lock_init(&login->lock);
	init_waitqueue_head(&login->returned);
	init_completion(&login->gone);
	return shost;
}

void local_session_gone(struct scst_session *sess)
{
	struct local_login *login = sess->driver_data;

	complete(&login->gone);
}

static void local_session_end(struct local_login *login)
{
	scst_session_close(login->sess);
	wait_for_completion_state(&login->gone, TASK_IDLE);
}

static int local_add_host(struct local_login *login)
{
	struct Scsi_Host *shost = login->shost;
	int ret = scsi_add_host(shost, local_root);

	if (ret)
		return ret;
	scst_host_set_blocking(shost);
	shost->max_id = 1;
	WRITE_ONCE(login->host->host_no, shost->host_no);
	local_set_ready(login, true);
	return 0;
}

/**
 * local_login_begin() - make a session for an initiator
 * @host: the initiator; called by its thread
 *
 * Return: the login, or an ERR_PTR.
 */
struct local_login *local_login_begin(struct local_host *host)
{
	struct Scsi_Host *shost = local_shost_alloc(host);
	struct local_login *login;
	struct scst_session *sess;

	if (!shost)
		return ERR_PTR(-ENOMEM);
	login = local_login_of(shost);
	sess = scst_session_register(&host->lt->tgt, config_item_name(&host->item), NULL, NULL, login);
	if (IS_ERR(sess)) {
		scsi_host_put(shost);
		return ERR_CAST(sess);
	}
	login->sess = sess;
	return login;
}

/**
 * local_login_finish() - make the SCSI host, and find its LUNs
 * @login: from local_login_begin(); gone if this fails
 *
 * What it asks the LUNs is answered without their backings.  Return: 0 or a negative errno.
 */
int local_login_finish(struct local_login *login)
{
	int ret = local_add_host(login);

	if (ret) {
		local_session_end(login);
		scsi_host_put(login->shost);
		return ret;
	}
	login->host->login = login;
	if (!local_find(login, SCSI_SCAN_INITIAL))
		local_ask(login->host, LOCAL_LOOK);
	return 0;
}

/*
 * In the host's thread.  Waits for the initiator's commands, which may be for ever: nobody waits for the thread.
 * Removing the host comes first, it ends what users may be doing with their devices.
 */
void local_logout(struct local_host *host)
{
	struct local_login *login = host->login;

	local_set_ready(login, false);
	local_drain(login->shost, NULL);
	wait_event_idle(login->returned, !READ_ONCE(login->unbinding));
	scsi_remove_host(login->shost);
	WRITE_ONCE(host->host_no, -1);
	wait_event_idle(login->returned, !local_used(login));
	local_session_end(login);
	host->login = NULL;
	scsi_host_put(login->shost);
}
