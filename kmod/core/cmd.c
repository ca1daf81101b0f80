// SPDX-License-Identifier: GPL-2.0-only
/*
 * The life of a command, in this order:
 *
 *	address, track, order, check, admit, prepare, [buffer, receive, gates again], pin, execute, respond, release
 *
 * One direction.  Every stage may finish the command early with a status; it is released exactly once.  What may change the medium, or
 * has data or a response that the driver may hold, is visible to task management before the gates are looked at (track.c).
 */
#include "commands.h"
#include "trace.h"
#include <linux/indirect_call_wrapper.h>
#include <linux/sched/mm.h>

/* For commands that must not go on where they are; nothing on it blocks. */
struct workqueue_struct *scst_cmd_wq;

DEFINE_STATIC_KEY_FALSE(scst_queue_limits);

static void scst_cmd_fail(struct scst_cmd *cmd, u32 sense)
{
	scst_cmd_sense(cmd, sense);
	scst_cmd_respond(cmd);
}

static void scst_cmd_task_set_full(struct scst_cmd *cmd, enum scst_full what)
{
	trace_scst_cmd_full(cmd, what);
	cmd->status = SAM_STAT_TASK_SET_FULL;
	scst_cmd_respond(cmd);
}

/* --- respond and release ------------------------------------------------------------------ */

static void scst_cmd_unpin(struct scst_cmd *cmd)
{
	if (likely(cmd->pinned))
		percpu_ref_put(&cmd->nexus->dev->active_ref);
}

static void scst_cmd_count(struct scst_cmd *cmd)
{
	struct scst_session_pcpu __percpu *pcpu = cmd->sess->pcpu;

	this_cpu_inc(pcpu->commands);
	/* Where the CDB says otherwise nothing is moved: scst_cmd_room(). */
	if (cmd->dir == DMA_FROM_DEVICE)
		this_cpu_add(pcpu->read_bytes, cmd->len);
	else
		this_cpu_add(pcpu->write_bytes, cmd->len);
}

static void scst_cmd_stall(struct scst_cmd *cmd, u32 resumes)
{
	struct scst_target *tgt = cmd->sess->tgt;
	unsigned long irq;

	trace_scst_cmd_stall(cmd);
	set_bit(SCST_CMD_STALLED, &cmd->flags);
	spin_lock_irqsave(&tgt->stalled_lock, irq);
	list_add_tail(&cmd->stalled, &tgt->stalled);
	if (tgt->resumes != resumes)
		queue_work(scst_cmd_wq, &tgt->resume_work);
	spin_unlock_irqrestore(&tgt->stalled_lock, irq);
}

/*
 * The driver has the command from here on, and is asked for it when it is aborted; it is not at the medium.  Pairs with
 * scst_cmd_abort() and scst_turn_scan_cmd(): one of the two sees what the other has set.
 */
static bool scst_cmd_to_driver(struct scst_cmd *cmd)
{
	set_bit(SCST_CMD_AT_DRIVER, &cmd->flags);
	smp_mb__after_atomic();
	if (unlikely(test_bit(SCST_CMD_MARKED, &cmd->flags)))
		scst_turn_left(cmd);
	return !scst_cmd_aborted(cmd);
}

static noinline void scst_cmd_send_tracked(struct scst_cmd *cmd)
{
	struct scst_session *sess = cmd->sess;
	u32 resumes = READ_ONCE(sess->tgt->resumes);

	if (scst_cmd_tracked(cmd))
		scst_cmd_to_driver(cmd);
	if (sess->driver->send_response(cmd))
		scst_cmd_stall(cmd, resumes);
}

static __always_inline void scst_cmd_send(struct scst_cmd *cmd)
{
	struct scst_session *sess = cmd->sess;

	if (likely(!sess->track_all))
		sess->driver->send_response(cmd);
	else
		scst_cmd_send_tracked(cmd);
}

static void scst_cmd_count_status(const struct scst_cmd *cmd)
{
	switch (cmd->status) {
	case SAM_STAT_CHECK_CONDITION:
		scst_session_count(cmd->sess, check_conditions);
		break;
	case SAM_STAT_BUSY:
		scst_session_count(cmd->sess, busy);
		break;
	case SAM_STAT_TASK_SET_FULL:
		scst_session_count(cmd->sess, task_set_full);
	}
}

/* What an aborted command would have said does not matter any more, nor whose fault it was. */
static noinline void scst_cmd_spoil(struct scst_cmd *cmd)
{
	if (scst_cmd_aborted(cmd)) {
		cmd->status = SAM_STAT_TASK_ABORTED;
		cmd->sense_len = 0;
		cmd->len = 0;
	} else {
		scst_cmd_count_status(cmd);
		if (!test_bit(SCST_CMD_KEEP_LEN, &cmd->flags))
			cmd->len = 0;
	}
	scst_record_failed(cmd);
}

/* Its answer goes out. */
static __always_inline void scst_cmd_answer(struct scst_cmd *cmd)
{
	scst_stage(cmd, scst_cmd_at_handler(cmd) ? SCST_STAGE_HANDLER : SCST_STAGE_CORE);
	if (unlikely(cmd->status || scst_cmd_aborted(cmd)))
		scst_cmd_spoil(cmd);
	scst_cmd_count(cmd);
	if (trace_scst_cmd_respond_enabled())
		scst_trace_respond(cmd);
	scst_cmd_send(cmd);
}

/* True: it waits for the end of an ACA condition.  What had no room in the table is answered at once. */
static bool scst_cmd_blocked(struct scst_cmd *cmd)
{
	if (!cmd->nexus || !scst_cmd_tracked(cmd))
		return false;
	if (likely(!READ_ONCE(cmd->nexus->order.aca)) && cmd->status != SAM_STAT_CHECK_CONDITION)
		return false;
	return !scst_aca_answer(cmd);
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
	if (likely(!cmd->sess->track_all) || !scst_cmd_blocked(cmd))
		scst_cmd_answer(cmd);
}

static __always_inline void scst_cmd_end(struct scst_cmd *cmd)
{
	struct scst_nexus *nexus = cmd->nexus;
	struct scst_session *sess = cmd->sess;

	if (static_branch_unlikely(&scst_latency_measured))
		scst_latency_end(cmd);
	if (trace_scst_cmd_release_enabled())
		scst_trace_release(cmd);
	if (static_branch_unlikely(&scst_queue_limits) && test_bit(SCST_CMD_COUNTED, &cmd->flags))
		atomic_dec(&nexus->queued);
	sess->driver->release(cmd);
	/* Last, so that a session whose references are gone has seen all its releases. */
	if (likely(nexus))
		percpu_ref_put(&nexus->ref);
	else
		percpu_ref_put(&sess->ref);
}

/* The end of a command that somebody has waited for: it has left the table. */
void scst_cmd_finish(struct scst_cmd *cmd)
{
	scst_cmd_end(cmd);
}

/**
 * scst_cmd_sent() - the driver is done with the response
 * @cmd: the command
 *
 * Called by the target driver, exactly once per command.  Any context, also with the driver's own locks held, as long as
 * release() takes none of them.  Calls release(), after which the command is the driver's; that of a command
 * which is being recalled follows when abort() has returned.
 */
void scst_cmd_sent(struct scst_cmd *cmd)
{
	if (unlikely(test_bit(SCST_CMD_MEMORY, &cmd->flags)))
		scst_data_put(cmd);
	if (unlikely(scst_cmd_ticks(cmd) >= READ_ONCE(scst_slow_after)))
		scst_record_slow(cmd);
	if (scst_cmd_tracked(cmd) && unlikely(!scst_untrack_unawaited(cmd)) && !scst_tmf_ended(cmd))
		return;
	scst_cmd_end(cmd);
}
EXPORT_SYMBOL_GPL(scst_cmd_sent);

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
	cmd->len = min(cmd->len, cmd->xfer_len);
	if (cmd->len)
		sg_copy_from_buffer(cmd->data.sgl, cmd->data.nents, data, cmd->len);
	scst_cmd_good(cmd);
}

/* Read a parameter list; @len is at most cmd->len. */
void scst_cmd_fetch(struct scst_cmd *cmd, void *buf, unsigned int len)
{
	sg_copy_to_buffer(cmd->data.sgl, cmd->data.nents, buf, len);
}

/* --- the driver's ring was full ------------------------------------------------------------------ */

static void scst_cmd_receive(struct scst_cmd *cmd)
{
	u32 resumes = READ_ONCE(cmd->sess->tgt->resumes);

	if (!scst_cmd_to_driver(cmd)) {
		clear_bit(SCST_CMD_AT_DRIVER, &cmd->flags);
		clear_bit(SCST_CMD_RECEIVING, &cmd->flags);
		scst_cmd_respond(cmd);
		return;
	}
	scst_stage(cmd, SCST_STAGE_CORE);
	trace_scst_cmd_receive(cmd);
	if (cmd->sess->driver->receive_data(cmd))
		scst_cmd_stall(cmd, resumes);
}

static void scst_target_resume_work(struct work_struct *work)
{
	struct scst_target *tgt = container_of(work, struct scst_target, resume_work);
	struct scst_cmd *cmd, *next;
	LIST_HEAD(list);

	spin_lock_irq(&tgt->stalled_lock);
	list_splice_init(&tgt->stalled, &list);
	spin_unlock_irq(&tgt->stalled_lock);
	list_for_each_entry_safe(cmd, next, &list, stalled) {
		clear_bit(SCST_CMD_STALLED, &cmd->flags);
		if (test_bit(SCST_CMD_RECEIVING, &cmd->flags))
			scst_cmd_receive(cmd);
		else
			scst_cmd_send(cmd);
	}
}

/**
 * scst_target_resume() - there is room for what receive_data() or send_response() refused with -EAGAIN
 * @tgt: the target
 *
 * Any context, also with the driver's own locks held: the callbacks come from a work item.
 */
void scst_target_resume(struct scst_target *tgt)
{
	unsigned long irq;

	spin_lock_irqsave(&tgt->stalled_lock, irq);
	WRITE_ONCE(tgt->resumes, tgt->resumes + 1);
	if (!list_empty(&tgt->stalled))
		queue_work(scst_cmd_wq, &tgt->resume_work);
	spin_unlock_irqrestore(&tgt->stalled_lock, irq);
}
EXPORT_SYMBOL_GPL(scst_target_resume);

/* Fields of a new target that are this file's. */
void scst_target_setup_commands(struct scst_target *tgt)
{
	spin_lock_init(&tgt->stalled_lock);
	INIT_LIST_HEAD(&tgt->stalled);
	INIT_WORK(&tgt->resume_work, scst_target_resume_work);
}

/* --- done ------------------------------------------------------------------------------------------ */

static noinline void scst_cmd_done_slow(struct scst_cmd *cmd, int error)
{
	/* One of the core's own that no initiator has sent: overhaul.c. */
	if (!cmd->sess) {
		cmd->step(cmd, error);
		return;
	}
	scst_stage(cmd, SCST_STAGE_HANDLER);
	trace_scst_cmd_done(cmd, error);
	if (test_bit(SCST_CMD_STEPS, &cmd->flags)) {
		cmd->step(cmd, error);
		return;
	}
	if (scst_search_wanted(cmd, error)) {
		scst_search_begin(cmd, error);
		return;
	}
	if (error)
		scst_cmd_errno(cmd, error);
	scst_cmd_respond(cmd);
}

/**
 * scst_cmd_done() - a device handler has finished a command's action
 * @cmd: the command
 * @error: 0 or a negative errno
 *
 * Any context.  The command may be gone on return.
 */
void scst_cmd_done(struct scst_cmd *cmd, int error)
{
	if (trace_scst_cmd_done_enabled() || unlikely(error || test_bit(SCST_CMD_STEPS, &cmd->flags)))
		scst_cmd_done_slow(cmd, error);
	else
		scst_cmd_respond(cmd);
}
EXPORT_SYMBOL_GPL(scst_cmd_done);

/**
 * scst_cmd_done_sense() - a device handler has finished SCST_ACTION_CDB
 * @cmd: the command
 * @status: SAM status
 * @sense: sense data, copied; may be NULL
 * @sense_len: its length; what is beyond SCST_SENSE_SIZE is cut
 * @len: bytes moved, at most cmd->len as it was; sent whatever the status is
 *
 * Any context.  The command may be gone on return.
 */
void scst_cmd_done_sense(struct scst_cmd *cmd, u8 status, const u8 *sense, unsigned int sense_len, u32 len)
{
	WARN_ON_ONCE(len > cmd->len);
	cmd->status = status;
	cmd->sense_len = min_t(unsigned int, sense_len, SCST_SENSE_SIZE);
	if (cmd->sense_len)
		memcpy(cmd->sense, sense, cmd->sense_len);
	cmd->len = min(len, cmd->len);
	set_bit(SCST_CMD_KEEP_LEN, &cmd->flags);
	trace_scst_cmd_done(cmd, 0);
	scst_cmd_respond(cmd);
}
EXPORT_SYMBOL_GPL(scst_cmd_done_sense);

/* --- execute -------------------------------------------------------------------------------- */

static void scst_cmd_execute(struct scst_cmd *cmd)
{
	unsigned int noio = memalloc_noio_save();

	cmd->dev->handler->execute(cmd);
	memalloc_noio_restore(noio);
}

static void scst_cmd_execute_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);

	if (unlikely(scst_cmd_aborted(cmd)))
		scst_cmd_done(cmd, -ECANCELED);
	else
		scst_cmd_execute(cmd);
}

/* What takes long is visible to task management.  Any context.  False: there is no room, the command has been answered. */
bool scst_cmd_track_late(struct scst_cmd *cmd)
{
	if (scst_cmd_tracked(cmd) || likely(scst_track(cmd)))
		return true;
	scst_cmd_task_set_full(cmd, SCST_FULL_SLOTS);
	return false;
}

/* False: there is no room for it, it has been answered. */
static bool scst_cmd_queue(struct scst_cmd *cmd)
{
	if (!scst_cmd_track_late(cmd))
		return false;
	trace_scst_cmd_queue(cmd);
	scst_stage(cmd, SCST_STAGE_CORE);
	cmd->now = SCST_NOW_QUEUED;
	return true;
}

/**
 * scst_cmd_to_thread() - go on with a command on its device's own threads
 * @cmd: the command, pinned
 * @fn: what to do there; begins with scst_cmd_of_job()
 *
 * Any context.
 */
void scst_cmd_to_thread(struct scst_cmd *cmd, void (*fn)(struct scst_job *job))
{
	if (scst_cmd_queue(cmd))
		scst_device_defer(cmd->dev, &cmd->job, fn);
}

/* Go on with a command on threads that are not for the back end.  As scst_cmd_to_thread(); it need not be pinned. */
void scst_cmd_to_threads_of(struct scst_cmd *cmd, struct scst_threads *threads, void (*fn)(struct scst_job *job))
{
	if (!scst_cmd_queue(cmd))
		return;
	cmd->job.fn = fn;
	scst_threads_add(threads, &cmd->job);
}

/* ... and after those that are in the line already. */
void scst_cmd_to_line(struct scst_cmd *cmd, struct scst_line *line, struct scst_threads *threads,
		      void (*fn)(struct scst_job *job))
{
	if (!scst_cmd_queue(cmd))
		return;
	cmd->job.fn = fn;
	scst_line_add(line, threads, &cmd->job);
}

/* Threads would only wait for each other; not so where a write waits for the medium. */
static bool scst_cmd_in_line(const struct scst_cmd *cmd)
{
	return cmd->action == SCST_ACTION_WRITE && cmd->dev->one_writer && !cmd->fua && !cmd->dev->write_through;
}

static void scst_cmd_execute_later(struct scst_cmd *cmd)
{
	if (scst_cmd_in_line(cmd))
		scst_cmd_to_line(cmd, &cmd->dev->writes, &cmd->dev->threads, scst_cmd_execute_job);
	else
		scst_cmd_to_thread(cmd, scst_cmd_execute_job);
}

/**
 * scst_cmd_to_handler() - hand a command to the device handler
 * @cmd: the command, pinned; pos, len and fua are set
 * @action: what to do
 *
 * Context as cmd->now says.  What cannot block runs here and now.
 */
void scst_cmd_to_handler(struct scst_cmd *cmd, enum scst_action action)
{
	const struct scst_handler *handler;

	cmd->action = action;
	if (trace_scst_cmd_execute_enabled())
		scst_trace_execute(cmd);
	handler = cmd->dev->handler;
	if (handler->try_execute && handler->try_execute(cmd))
		return;
	if (!(handler->flags & SCST_HANDLER_DIRECT) || cmd->now != SCST_CTX_TASK)
		scst_cmd_execute_later(cmd);
	else if (scst_cmd_track_late(cmd))
		scst_cmd_execute(cmd);
}

/* Under RCU.  From here on lba and nblocks are what they are: see turn.c. */
static __always_inline bool scst_cmd_pin_rcu(struct scst_cmd *cmd)
{
	bool pinned;

	if (unlikely(!(cmd->op->flags & SCST_OP_MEDIUM)))
		return true;
	pinned = percpu_ref_tryget_live_rcu(&cmd->dev->active_ref);
	smp_store_release(&cmd->pinned, pinned);
	return pinned;
}

static bool scst_cmd_pin(struct scst_cmd *cmd)
{
	bool pinned;

	rcu_read_lock();
	pinned = scst_cmd_pin_rcu(cmd);
	rcu_read_unlock();
	return pinned;
}

/* All gates are passed and all data-out is there; @pinned is what scst_cmd_pin() has said. */
static __always_inline void scst_cmd_run(struct scst_cmd *cmd, bool pinned)
{
	if (unlikely(!pinned))
		scst_cmd_fail(cmd, SCST_SENSE_BECOMING_READY);
	else if (unlikely(scst_cmd_aborted(cmd)))
		scst_cmd_respond(cmd);
	else
		INDIRECT_CALL_2(cmd->op->execute, scst_sbc_read, scst_sbc_write, cmd);
}

/* --- memory, and data-out that comes later ----------------------------------------------------- */

/* Data of the handler's own, which is there already. */
static bool scst_cmd_lent(struct scst_cmd *cmd)
{
	const struct scst_handler *handler = cmd->dev->handler;

	if (!handler->lend || cmd->op->format == SCST_CDB_PLAIN || cmd->fua || cmd->sess->stable)
		return false;
	cmd->action = SCST_ACTION_READ;
	if (!handler->lend(cmd))
		return false;
	if (!scst_data_fits(&cmd->data, &cmd->sess->tgt->limits)) {
		scst_data_put(cmd);
		return false;
	}
	set_bit(SCST_CMD_MEMORY, &cmd->flags);
	trace_scst_cmd_buffer(cmd);
	return true;
}

static int scst_cmd_get_memory(struct scst_cmd *cmd)
{
	int ret = scst_data_get(cmd);

	if (!ret) {
		set_bit(SCST_CMD_MEMORY, &cmd->flags);
		trace_scst_cmd_buffer(cmd);
	}
	return ret;
}

static void scst_cmd_in(struct scst_cmd *cmd)
{
	if (!scst_cmd_pin(cmd))
		scst_cmd_fail(cmd, SCST_SENSE_BECOMING_READY);
	else if (cmd->dev && scst_cmd_lent(cmd))
		scst_cmd_good(cmd);
	else if (scst_cmd_get_memory(cmd))
		scst_cmd_task_set_full(cmd, SCST_FULL_MEMORY);
	else if (scst_cmd_aborted(cmd))
		scst_cmd_respond(cmd);
	else
		cmd->op->execute(cmd);
}

static void scst_cmd_out(struct scst_cmd *cmd)
{
	if (cmd->data.owner == SCST_DATA_NONE && scst_cmd_get_memory(cmd)) {
		scst_cmd_task_set_full(cmd, SCST_FULL_MEMORY);
		return;
	}
	set_bit(SCST_CMD_RECEIVING, &cmd->flags);
	scst_cmd_receive(cmd);
}

/*
 * What a transport can ask for and is not done: ACA without the condition (SAM-5 8.9.5), protection information apart from data that is in the
 * core's memory.  0: nothing.
 */
static u32 scst_cmd_asks_too_much(const struct scst_cmd *cmd)
{
	if (cmd->attr == SCST_TASK_ACA && !test_bit(SCST_CMD_ACA, &cmd->flags))
		return SCST_SENSE_INVALID_MESSAGE;
	return cmd->pi_type && cmd->data.owner == SCST_DATA_NONE ? SCST_SENSE_INVALID_FIELD_CDB : 0;
}

/* For drivers that bring no memory, or whose data-out comes later. */
static noinline void scst_cmd_buffer(struct scst_cmd *cmd)
{
	u32 sense = scst_cmd_asks_too_much(cmd);

	if (sense)
		scst_cmd_fail(cmd, sense);
	else if (cmd->len && cmd->op->dir == DMA_TO_DEVICE && cmd->sess->driver->receive_data)
		scst_cmd_out(cmd);
	else if (cmd->len && cmd->data.owner == SCST_DATA_NONE)
		scst_cmd_in(cmd);
	else
		scst_cmd_run(cmd, scst_cmd_pin(cmd));
}

/* --- address, check and admit ------------------------------------------------------------------------ */

/*
 * Find the nexus in the view in force and hold it.  A nexus that can't be held any more was
 * dropped by a newer view, which must be looked at instead: its LUN may lead elsewhere now.  Under RCU.
 */
static __always_inline void scst_cmd_address(struct scst_cmd *cmd)
{
	struct scst_session *sess = cmd->sess;
	struct scst_nexus *nexus;

	do {
		nexus = scst_view_nexus(rcu_dereference(sess->view), cmd->lun);
	} while (likely(nexus) && unlikely(!percpu_ref_tryget_live_rcu(&nexus->ref)));
	cmd->nexus = nexus;
	cmd->dev = likely(nexus) ? nexus->dev : NULL;
	if (unlikely(!nexus))
		percpu_ref_get(&sess->ref);
}

/* The row, or NULL: of the device's type, or of what is answered for absent units too. */
static const struct scst_opcode *scst_cmd_find_op(const struct scst_cmd *cmd)
{
	const struct scst_op_table *table = likely(cmd->nexus) ? cmd->dev->ops : &scst_ops_no_lun;
	const struct scst_opcode *op = table->row[cmd->cdb[0]];

	return likely(!op || !op->sa) ? op : scst_op_service_action(op, cmd->cdb, cmd->cdb_len);
}

static noinline void scst_cmd_refuse(struct scst_cmd *cmd, int reserved)
{
	if (reserved >= 0 && scst_op_offered(cmd->op, cmd->dev))
		scst_cmd_invalid_cdb(cmd, reserved / 8, reserved % 8);
	else if (!cmd->nexus)
		scst_cmd_sense(cmd, SCST_SENSE_LUN_NOT_SUPPORTED);
	else
		scst_cmd_refuse_opcode(cmd);
	scst_cmd_respond(cmd);
}

/* Answer what scst_gate_take() has said. */
void scst_cmd_stop(struct scst_cmd *cmd, const struct scst_stop *stop)
{
	trace_scst_cmd_stop(cmd, stop->gate);
	if (stop->status == SAM_STAT_RESERVATION_CONFLICT)
		scst_cmd_conflict(cmd);
	else if (stop->sense)
		scst_cmd_sense(cmd, stop->sense);
	if (stop->gate < SCST_GATE_NR && BIT_ULL(stop->gate) & SCST_STOPS_BUSY)
		cmd->sense_len = scst_sense_progress(cmd->sense, READ_ONCE(cmd->dev->progress));
	/* That of an earlier command (SPC-4 4.5.5). */
	if (stop->gate == SCST_GATE_WRITE_LOST)
		scst_cmd_sense_deferred(cmd);
	scst_cmd_respond(cmd);
}

/* True: the command has been answered. */
static bool scst_cmd_stopped(struct scst_cmd *cmd)
{
	struct scst_stop stop;

	/* A unit attention is not for a command whose answer nobody reads. */
	if (scst_cmd_aborted(cmd)) {
		scst_cmd_respond(cmd);
		return true;
	}
	if (!scst_gate_take(cmd, &stop))
		return false;
	scst_cmd_stop(cmd, &stop);
	return true;
}

/* Does it have to ask scst_limit_pass()?  It has passed all other gates. */
static bool scst_cmd_limited(const struct scst_cmd *cmd)
{
	return READ_ONCE(cmd->nexus->gates) & cmd->op->stops & SCST_STOPS_LIMITS && !test_bit(SCST_CMD_PAID, &cmd->flags);
}

/* ... scst_fault_pass()? */
static bool scst_cmd_faulty(const struct scst_cmd *cmd)
{
	return READ_ONCE(cmd->nexus->gates) & SCST_STOPS_FAULT && !test_bit(SCST_CMD_TRIED, &cmd->flags);
}

/* There are ROD tokens of the unit's data, and it may change what they are of.  False: it is refused, and has been answered. */
static bool scst_cmd_tell_tokens(struct scst_cmd *cmd)
{
	if (!(READ_ONCE(cmd->nexus->gates) & cmd->op->stops & BIT_ULL(SCST_GATE_TOKENS)))
		return true;
	if (!scst_cdb_prepare(cmd)) {
		scst_cmd_respond(cmd);
		return false;
	}
	/* Where UNMAP writes is not known yet: see scst_turn_take(). */
	scst_tokens_changed(cmd->dev, cmd->lba, cmd->nblocks);
	return true;
}

/* False: the command has been answered, waits for what its nexus may do in a second, or is held by a fault. */
static noinline bool scst_cmd_gates(struct scst_cmd *cmd)
{
	while (!scst_cmd_stopped(cmd)) {
		bool faulty = scst_cmd_faulty(cmd);

		if (!faulty && !scst_cmd_limited(cmd))
			return scst_cmd_tell_tokens(cmd);
		if (!scst_cdb_prepare(cmd)) {
			scst_cmd_respond(cmd);
			return false;
		}
		if (!(faulty ? scst_fault_pass(cmd) : scst_limit_pass(cmd)))
			return false;
		/* A gate may have been closed by who did not find it waiting. */
	}
	return false;
}

/* Its data has come: whether it may begin now is not asked again. */
static noinline bool scst_cmd_gates_again(struct scst_cmd *cmd)
{
	set_bit(SCST_CMD_PAID, &cmd->flags);
	set_bit(SCST_CMD_TRIED, &cmd->flags);
	return scst_cmd_gates(cmd);
}

static bool scst_cmd_admit(struct scst_cmd *cmd)
{
	if (unlikely(!cmd->nexus) || likely(!(READ_ONCE(cmd->nexus->gates) & cmd->op->stops)))
		return true;
	return scst_cmd_gates(cmd);
}

/* Commands of an I_T_L nexus, where their number is limited. */
static noinline bool scst_cmd_queue_full(struct scst_cmd *cmd)
{
	u32 depth = READ_ONCE(cmd->sess->tgt->queue_depth);

	if (!depth || !cmd->nexus)
		return false;
	__set_bit(SCST_CMD_COUNTED, &cmd->flags);
	return atomic_inc_return(&cmd->nexus->queued) > depth;
}

/* False: the command has been answered, or goes on elsewhere. */
static bool scst_cmd_enter(struct scst_cmd *cmd)
{
	if (static_branch_unlikely(&scst_queue_limits) && scst_cmd_queue_full(cmd)) {
		scst_cmd_task_set_full(cmd, SCST_FULL_QUEUE_DEPTH);
		return false;
	}
	if (unlikely(!scst_track(cmd))) {
		scst_cmd_task_set_full(cmd, SCST_FULL_SLOTS);
		return false;
	}
	return true;
}

/* From check to prepare.  False: the command has been answered. */
static __always_inline bool scst_cmd_check(struct scst_cmd *cmd)
{
	const struct scst_opcode *op = cmd->op;
	int reserved = -1;

	if (unlikely(!op || cmd->cdb_len < op->cdb_len) ||
	    unlikely((reserved = scst_cdb_reserved_bit(op, cmd)) >= 0)) {
		scst_cmd_refuse(cmd, reserved);
		return false;
	}
	if (!scst_cmd_admit(cmd))
		return false;
	if (unlikely(!scst_cdb_prepare(cmd))) {
		scst_cmd_respond(cmd);
		return false;
	}
	if (trace_scst_cmd_admit_enabled())
		scst_trace_admit(cmd);
	return true;
}

static void scst_cmd_start(struct scst_cmd *cmd)
{
	if (!scst_cmd_check(cmd))
		return;
	if (cmd->sess->track_all)
		scst_cmd_buffer(cmd);
	else
		scst_cmd_run(cmd, scst_cmd_pin(cmd));
}

static bool scst_cmd_must_enter(const struct scst_cmd *cmd)
{
	return (likely(cmd->op) && cmd->op->flags & SCST_OP_WRITE) || unlikely(cmd->sess->track_all);
}

static void scst_cmd_start_or_answer(struct scst_cmd *cmd)
{
	if (cmd->status)
		scst_cmd_respond(cmd);
	else
		scst_cmd_start(cmd);
}

static void scst_cmd_start_job(struct scst_job *job)
{
	scst_cmd_start_or_answer(container_of(job, struct scst_cmd, job));
}

static void scst_cmd_start_work(struct work_struct *work)
{
	scst_cmd_start_or_answer(container_of(work, struct scst_cmd, work));
}

/* Begin with a command from a work item.  Any context. */
void scst_cmd_start_later(struct scst_cmd *cmd)
{
	cmd->now = SCST_CTX_ATOMIC;
	INIT_WORK(&cmd->work, scst_cmd_start_work);
	queue_work(scst_cmd_wq, &cmd->work);
}

/* False: it waits for others of its task set.  Where not every command is in the table all are SIMPLE. */
static __always_inline bool scst_cmd_in_order(struct scst_cmd *cmd)
{
	if (likely(!cmd->sess->track_all) || unlikely(!cmd->nexus))
		return true;
	return likely(!cmd->attr && !READ_ONCE(cmd->nexus->order.closed)) || scst_order_pass(cmd);
}

/* Visible at once, for the order against others and task management, but answered later. */
static noinline void scst_cmd_submit_deferred(struct scst_cmd *cmd)
{
	bool deep = scst_cmd_queue_full(cmd);

	if (deep || !scst_track(cmd)) {
		trace_scst_cmd_full(cmd, deep ? SCST_FULL_QUEUE_DEPTH : SCST_FULL_SLOTS);
		cmd->status = SAM_STAT_TASK_SET_FULL;
	} else if (!scst_cmd_in_order(cmd)) {
		return;
	}
	cmd->now = SCST_CTX_ATOMIC;
	scst_soft_add(&cmd->job, scst_cmd_start_job);
}

/**
 * scst_cmd_submit() - a command has arrived
 * @cmd: initialised by scst_cmd_init(), the driver's half filled in
 *
 * Context as cmd->ctx says.  The command belongs to the core until the driver's release(), which may be called before this
 * returns, unless the context is SCST_CTX_DEFER.  A task management function that is submitted later affects it.
 */
void scst_cmd_submit(struct scst_cmd *cmd)
{
	bool pinned;

	scst_assert_context(cmd->ctx);
	cmd->now = cmd->ctx;
	/* Until it is pinned: nothing of that sleeps, and to begin and end twice would cost more than all of it. */
	rcu_read_lock();
	scst_cmd_address(cmd);
	cmd->op = scst_cmd_find_op(cmd);
	scst_stages_begin(cmd);
	if (static_branch_unlikely(&scst_latency_measured))
		scst_latency_begin(cmd);
	if (trace_scst_cmd_submit_enabled())
		scst_trace_submit(cmd);
	if (unlikely(cmd->ctx == SCST_CTX_DEFER)) {
		scst_cmd_submit_deferred(cmd);
		goto out_unlock;
	}
	if ((scst_cmd_must_enter(cmd) && !scst_cmd_enter(cmd)) || !scst_cmd_in_order(cmd) || !scst_cmd_check(cmd))
		goto out_unlock;
	if (unlikely(cmd->sess->track_all)) {
		rcu_read_unlock();
		scst_cmd_buffer(cmd);
		return;
	}
	pinned = scst_cmd_pin_rcu(cmd);
	rcu_read_unlock();
	scst_cmd_run(cmd, pinned);
	return;
out_unlock:
	rcu_read_unlock();
}
EXPORT_SYMBOL_GPL(scst_cmd_submit);

/* --- data-out has arrived ---------------------------------------------------------------------------- */

/*
 * The LUN may have been parked, revoked or made read-only since the command was admitted, or its device have another
 * size.
 */
static void scst_cmd_go_on(struct scst_cmd *cmd)
{
	if (cmd->status) {
		scst_cmd_respond(cmd);
		return;
	}
	if (likely(cmd->nexus) && unlikely(READ_ONCE(cmd->nexus->order.aca)) && !scst_aca_data(cmd))
		return;
	if (unlikely(cmd->nexus && READ_ONCE(cmd->nexus->gates) & cmd->op->stops) && !scst_cmd_gates_again(cmd))
		return;
	if (scst_cdb_prepare(cmd))
		scst_cmd_run(cmd, scst_cmd_pin(cmd));
	else
		scst_cmd_respond(cmd);
}

static void scst_cmd_go_on_job(struct scst_job *job)
{
	scst_cmd_go_on(container_of(job, struct scst_cmd, job));
}

static void scst_cmd_unblock_work(struct work_struct *work)
{
	struct scst_cmd *cmd = container_of(work, struct scst_cmd, work);

	if (test_and_clear_bit(SCST_CMD_ANSWERED, &cmd->flags))
		scst_cmd_answer(cmd);
	else
		scst_cmd_go_on(cmd);
}

/* The ACA condition that a command was blocked by is over, or it was aborted: it goes on from a work item.  Any context. */
void scst_cmd_unblock_later(struct scst_cmd *cmd)
{
	cmd->now = SCST_CTX_ATOMIC;
	INIT_WORK(&cmd->work, scst_cmd_unblock_work);
	queue_work(scst_cmd_wq, &cmd->work);
}

/**
 * scst_data_received() - data-out asked for by receive_data() has arrived, or will not
 * @cmd: the command
 * @error: 0, or a negative errno if the transfer failed; nothing is written then.  -EBADMSG: it was damaged (PROTOCOL SERVICE CRC ERROR);
 *	-EMSGSIZE: another amount came than was agreed on (NOT ENOUGH UNSOLICITED DATA)
 * @ctx: where this is called from
 *
 * Context as @ctx says, exactly once for each receive_data() that returned 0; may be called inside it.
 */
void scst_data_received(struct scst_cmd *cmd, int error, enum scst_context ctx)
{
	scst_assert_context(ctx);
	trace_scst_cmd_received(cmd, error);
	scst_stage(cmd, SCST_STAGE_DATA);
	clear_bit(SCST_CMD_AT_DRIVER, &cmd->flags);
	clear_bit(SCST_CMD_RECEIVING, &cmd->flags);
	/* Before dev->alone is looked at: see turn.c. */
	smp_mb__after_atomic();
	if (error)
		scst_cmd_transfer_error(cmd, error);
	if (ctx == SCST_CTX_DEFER) {
		cmd->now = SCST_CTX_ATOMIC;
		scst_soft_add(&cmd->job, scst_cmd_go_on_job);
		return;
	}
	cmd->now = ctx;
	scst_cmd_go_on(cmd);
}
EXPORT_SYMBOL_GPL(scst_data_received);
