// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a command: address, admit, receive, execute, respond, release.
 *
 * No locks in the common case: the view is read under RCU, the nexus is held by a percpu
 * reference, the device's backing by another.  Only commands that may take long are put on
 * a list, one per session and CPU, where task management finds them.
 */
#include "core.h"
#include <linux/sched/mm.h>

struct workqueue_struct *scst_cmd_wq;

/* --- tracking: commands that task management may have to find ---------------------------- */

static void scst_cmd_track(struct scst_cmd *cmd)
{
	unsigned int cpu = raw_smp_processor_id();
	struct scst_track *track = &per_cpu_ptr(cmd->sess->pcpu, cpu)->track;
	unsigned long irq;

	cmd->track_cpu = cpu;
	__set_bit(SCST_CMD_TRACKED, &cmd->flags);
	spin_lock_irqsave(&track->lock, irq);
	list_add_tail(&cmd->track, &track->cmds);
	/* A reset that came after the command was admitted may have looked at the list already. */
	if (unlikely(READ_ONCE(cmd->nexus->attention) & BIT(SCST_UA_RESET)))
		set_bit(SCST_CMD_ABORTED, &cmd->flags);
	spin_unlock_irqrestore(&track->lock, irq);
}

static void scst_cmd_untrack(struct scst_cmd *cmd)
{
	struct scst_track *track = &per_cpu_ptr(cmd->sess->pcpu, cmd->track_cpu)->track;
	unsigned long irq;
	bool aborted;

	spin_lock_irqsave(&track->lock, irq);
	list_del(&cmd->track);
	/* Task management sets the flag under this lock: it can't be set behind our back now. */
	aborted = scst_cmd_aborted(cmd);
	spin_unlock_irqrestore(&track->lock, irq);
	if (unlikely(aborted))
		wake_up_all(&scst_quiet);
}

/* --- respond and release ------------------------------------------------------------------ */

static void scst_cmd_unpin(struct scst_cmd *cmd)
{
	if (cmd->pinned) {
		cmd->pinned = false;
		percpu_ref_put(&cmd->dev->active_ref);
	}
}

static void scst_cmd_count(struct scst_cmd *cmd)
{
	struct scst_session_pcpu __percpu *pcpu = cmd->sess->pcpu;

	this_cpu_inc(pcpu->commands);
	if (cmd->op && cmd->op->dir == DMA_FROM_DEVICE)
		this_cpu_add(pcpu->read_bytes, cmd->len);
	else
		this_cpu_add(pcpu->write_bytes, cmd->len);
}

/**
 * scst_cmd_respond() - send status, sense and data of a finished command
 * @cmd: the command; status, sense_len and len are set
 *
 * Any context.  The command may be gone on return.
 */
void scst_cmd_respond(struct scst_cmd *cmd)
{
	scst_cmd_unpin(cmd);
	if (unlikely(scst_cmd_aborted(cmd)))
		cmd->status = SAM_STAT_TASK_ABORTED;
	if (unlikely(cmd->status))
		cmd->len = 0;
	scst_cmd_count(cmd);
	cmd->sess->tgt->driver->send_response(cmd);
}

/**
 * scst_cmd_sent() - the driver is done with the response
 * @cmd: the command
 *
 * Called by the target driver, exactly once per command.  Any context.  Calls the driver's
 * release(), after which the command is the driver's.
 */
void scst_cmd_sent(struct scst_cmd *cmd)
{
	struct scst_nexus *nexus = cmd->nexus;
	struct scst_session *sess = cmd->sess;

	if (test_bit(SCST_CMD_TRACKED, &cmd->flags))
		scst_cmd_untrack(cmd);
	sess->tgt->driver->release(cmd);
	/* Last, so that a session whose references are gone has seen all its releases. */
	if (likely(nexus))
		percpu_ref_put(&nexus->ref);
	else
		percpu_ref_put(&sess->ref);
}
EXPORT_SYMBOL_GPL(scst_cmd_sent);

/**
 * scst_cmd_done() - a device handler has finished a command
 * @cmd: the command
 * @error: 0 or a negative errno
 *
 * Any context.  The command may be gone on return.
 */
void scst_cmd_done(struct scst_cmd *cmd, int error)
{
	if (unlikely(error))
		scst_cmd_errno(cmd, error);
	scst_cmd_respond(cmd);
}
EXPORT_SYMBOL_GPL(scst_cmd_done);

void scst_cmd_good(struct scst_cmd *cmd)
{
	cmd->status = SAM_STAT_GOOD;
	scst_cmd_respond(cmd);
}

/* Answer with data of the core's own making. */
void scst_cmd_reply(struct scst_cmd *cmd, const void *data, unsigned int len)
{
	/* What the CDB allows beyond the data there is is no overrun. */
	cmd->xfer_len = min(cmd->xfer_len, len);
	len = min(cmd->xfer_len, cmd->data_len);
	cmd->len = sg_copy_from_buffer(cmd->sg, cmd->sg_cnt, data, len);
	scst_cmd_good(cmd);
}

/* Read a parameter list; @len is at most cmd->data_len. */
void scst_cmd_fetch(struct scst_cmd *cmd, void *buf, unsigned int len)
{
	cmd->len = sg_copy_to_buffer(cmd->sg, cmd->sg_cnt, buf, len);
}

/* --- execute -------------------------------------------------------------------------------- */

static void scst_cmd_execute(struct scst_cmd *cmd)
{
	unsigned int noio = memalloc_noio_save();

	cmd->dev->handler->execute(cmd);
	memalloc_noio_restore(noio);
}

static void scst_cmd_execute_work(struct work_struct *work)
{
	struct scst_cmd *cmd = container_of(work, struct scst_cmd, work);

	if (unlikely(scst_cmd_aborted(cmd)))
		scst_cmd_respond(cmd);
	else
		scst_cmd_execute(cmd);
}

/*
 * Go on in process context.  A workqueue runs so many at a time: a device whose commands wait for their backing
 * has one of its own, so that when they hang, the others' don't.
 */
void scst_cmd_to_thread(struct scst_cmd *cmd, work_func_t fn)
{
	if (!test_bit(SCST_CMD_TRACKED, &cmd->flags))
		scst_cmd_track(cmd);
	INIT_WORK(&cmd->work, fn);
	queue_work(cmd->dev->wq ?: scst_cmd_wq, &cmd->work);
}

/**
 * scst_cmd_to_handler() - hand a command to the device handler
 * @cmd: the command, pinned; lba, len and fua are set
 * @action: what to do
 *
 * What cannot block runs here and now, in the submitter's context.  The rest becomes visible to
 * task management first.
 */
void scst_cmd_to_handler(struct scst_cmd *cmd, enum scst_action action)
{
	const struct scst_handler *handler = cmd->dev->handler;

	cmd->action = action;
	if (handler->try_execute && handler->try_execute(cmd))
		return;
	if (!(handler->flags & SCST_HANDLER_DIRECT) || !cmd->can_sleep) {
		scst_cmd_to_thread(cmd, scst_cmd_execute_work);
		return;
	}
	scst_cmd_track(cmd);
	if (unlikely(scst_cmd_aborted(cmd)))
		scst_cmd_respond(cmd);
	else
		scst_cmd_execute(cmd);
}

/* --- address and admit ----------------------------------------------------------------------- */

static void scst_cmd_fail(struct scst_cmd *cmd, u32 sense)
{
	scst_cmd_sense(cmd, sense);
	scst_cmd_respond(cmd);
}

/*
 * Find the nexus in the view in force and hold it.  A nexus that can't be held any more was
 * dropped by a newer view, which must be looked at instead: its LUN may lead elsewhere now.
 */
static void scst_cmd_address(struct scst_cmd *cmd)
{
	struct scst_session *sess = cmd->sess;
	const struct scst_view_entry *entry;

	rcu_read_lock();
	do {
		entry = scst_view_find(rcu_dereference(sess->view), cmd->lun);
	} while (entry && unlikely(!percpu_ref_tryget(&entry->nexus->ref)));
	if (likely(entry)) {
		cmd->nexus = entry->nexus;
		cmd->dev = entry->nexus->dev;
		cmd->read_only = entry->read_only;
	} else {
		percpu_ref_get(&sess->ref);
	}
	rcu_read_unlock();
}

/* Why the command may not run at all, or 0. */
static u32 scst_cmd_check(struct scst_cmd *cmd, const struct scst_opcode *op)
{
	if (unlikely(!cmd->nexus) && !(op && (op->flags & SCST_OP_NO_LUN)))
		return SCST_SENSE_LUN_NOT_SUPPORTED;
	if (unlikely(!op || cmd->cdb_len < op->cdb_len))
		return SCST_SENSE_INVALID_OPCODE;
	return 0;
}

/* One test of the nexus; reservations, ACA and the like will hang on the same word. */
static u32 scst_cmd_admit(struct scst_cmd *cmd, const struct scst_opcode *op)
{
	struct scst_device *dev = cmd->dev;

	if (unlikely(!cmd->nexus))
		return 0;
	if (unlikely(READ_ONCE(cmd->nexus->attention)) && !(op->flags & SCST_OP_NO_UA)) {
		u32 sense = scst_ua_take(cmd->nexus);

		if (sense)
			return sense;
	}
	if ((op->flags & SCST_OP_WRITE) &&
	    unlikely(cmd->read_only || dev->read_only || dev->swp))
		return SCST_SENSE_WRITE_PROTECTED;
	if (op->flags & SCST_OP_MEDIUM) {
		if (unlikely(!percpu_ref_tryget_live(&dev->active_ref)))
			return SCST_SENSE_BECOMING_READY;
		cmd->pinned = true;
		if (unlikely(dev->stopped) && !(op->flags & SCST_OP_STOPPED))
			return SCST_SENSE_START_REQUIRED;
	}
	return 0;
}

/**
 * scst_cmd_submit() - a command has arrived
 * @cmd: initialised by scst_cmd_init(), the driver's half filled in
 *
 * Any context; process context if cmd->can_sleep.  The command belongs to the core until the
 * driver's release(), which may be called before this returns.
 */
void scst_cmd_submit(struct scst_cmd *cmd)
{
	const struct scst_opcode *op = scst_opcodes[cmd->cdb[0]];
	const struct scst_target_driver *drv;
	int bad;
	u32 sense;

	cmd->op = op;
	scst_cmd_address(cmd);
	sense = scst_cmd_check(cmd, op);
	if (unlikely(sense))
		goto fail;
	bad = scst_cdb_reserved_bit(op, cmd->cdb);
	if (unlikely(bad >= 0)) {
		scst_cmd_invalid_cdb(cmd, bad / 8, bad % 8);
		scst_cmd_respond(cmd);
		return;
	}
	sense = scst_cmd_admit(cmd, op);
	if (unlikely(sense))
		goto fail;
	scst_cdb_decode(op, cmd->cdb, &cmd->lba, &cmd->nblocks, &cmd->xfer_len);
	if (unlikely(op->dir != cmd->dir))
		cmd->data_len = 0;
	drv = cmd->sess->tgt->driver;
	if (op->dir == DMA_TO_DEVICE && unlikely(drv->receive_data) && cmd->data_len) {
		cmd->len = cmd->data_len;
		drv->receive_data(cmd);
		return;
	}
	op->execute(cmd);
	return;
fail:
	scst_cmd_fail(cmd, sense);
}
EXPORT_SYMBOL_GPL(scst_cmd_submit);

/**
 * scst_data_received() - data-out asked for by receive_data() has arrived
 * @cmd: the command
 * @error: 0, or a negative errno if the transfer failed
 *
 * Any context.
 */
void scst_data_received(struct scst_cmd *cmd, int error)
{
	if (unlikely(error || scst_cmd_aborted(cmd))) {
		if (error)
			scst_cmd_errno(cmd, error);
		scst_cmd_respond(cmd);
		return;
	}
	cmd->len = 0;
	cmd->op->execute(cmd);
}
EXPORT_SYMBOL_GPL(scst_data_received);
