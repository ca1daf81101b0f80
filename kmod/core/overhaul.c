// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is done to the whole medium, and during which everybody else is told so: FORMAT UNIT (SBC-3 4.33) and SANITIZE (SBC-4 4.11).
 *
 * It is an object of the device's, which goes on whatever becomes of who has asked for it, piece by piece, and holds the backing for the
 * piece at hand: so a device parks when that is done.  In this order: the gate is closed, and the medium is had alone (turn.c), so that
 * no write from before comes to it later; what is begun is made stable in the pr_file; the command is answered, if it is not to wait; the
 * pieces, and what is in a cache after each pass; that it is done is made stable; the gate is opened.
 *
 * Whatever ends it early, a loss of power as well, leaves what is written in the file, and with it a gate that only another one that
 * comes to its end opens.  So nobody takes it for done, by whatever he asks.  Where there is no file it has a command that waits for it,
 * and ends with that.
 */
#include "overhaul.h"
#include <linux/math64.h>
#include <linux/sched/mm.h>

/* Memory for one, with @cmd as its command, or NULL.  Process context. */
static struct scst_overhaul *scst_overhaul_alloc(struct scst_cmd *cmd)
{
	struct scst_overhaul *overhaul = kzalloc(sizeof(*overhaul), GFP_NOIO);

	if (!overhaul)
		return NULL;
	overhaul->cmd = cmd;
	overhaul->dev = cmd->dev;
	overhaul->passes = 1;
	overhaul->chunk = scst_chunk_get(&overhaul->chunk_size);
	if (overhaul->chunk)
		return overhaul;
	kfree(overhaul);
	return NULL;
}

static void scst_overhaul_free(struct scst_overhaul *overhaul)
{
	scst_chunk_put(overhaul->chunk);
	kfree(overhaul);
}

/* --- what others are told ------------------------------------------------------------------------ */

/* The gates of what is undone are what the state in force says.  Under nexus_lock. */
void scst_overhaul_settle(struct scst_device *dev)
{
	u8 undone = scst_pr_undone(dev);

	lockdep_assert_held(&dev->nexus_lock);
	scst_gate_assign(dev, SCST_GATE_FORMAT_FAILED, undone == SCST_UNDONE_FORMAT);
	scst_gate_assign(dev, SCST_GATE_SANITIZE_FAILED, undone > SCST_UNDONE_FORMAT);
}

static const struct {
	enum scst_gate gate;
	u32 sense;
	const char *name;
} scst_overhaul_states[] = {
	{ SCST_GATE_FORMATTING, SCST_SENSE_FORMATTING, "format" },
	{ SCST_GATE_SANITIZING, SCST_SENSE_SANITIZING, "sanitize" },
	{ SCST_GATE_SANITIZE_FAILED, SCST_SENSE_SANITIZE_FAILED, "sanitize-failed" },
	{ SCST_GATE_FORMAT_FAILED, SCST_SENSE_FORMAT_FAILED, "format-failed" },
};

/* The first that is so, or -1.  Any context. */
static int scst_overhaul_state(const struct scst_device *dev)
{
	unsigned long gates = READ_ONCE(dev->gates);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(scst_overhaul_states); i++)
		if (gates & BIT(scst_overhaul_states[i].gate))
			return i;
	return -1;
}

/* What is being done, or undone, as sense data: SCST_SENSE(), or 0: nothing.  Any context. */
u32 scst_overhaul_sense(const struct scst_device *dev)
{
	int state = scst_overhaul_state(dev);

	return state < 0 ? 0 : scst_overhaul_states[state].sense;
}

/* ... in a word.  Any context. */
const char *scst_overhaul_name(const struct scst_device *dev)
{
	int state = scst_overhaul_state(dev);

	return state < 0 ? "none" : scst_overhaul_states[state].name;
}

/* Tell udev that it has begun, or ended.  Process context. */
void scst_overhaul_event(struct scst_device *dev)
{
	/* The class device does not go meanwhile. */
	mutex_lock(&dev->settings_lock);
	scst_device_event(dev, "overhaul");
	mutex_unlock(&dev->settings_lock);
}

static u64 scst_overhaul_size(const struct scst_device *dev)
{
	return READ_ONCE(dev->geo.nblocks) << dev->geo.block_shift;
}

static void scst_overhaul_progress(struct scst_overhaul *overhaul)
{
	u64 size = scst_overhaul_size(overhaul->dev);
	u64 of_pass = mul_u64_u64_div_u64(min(overhaul->pos, size), U16_MAX, size);

	WRITE_ONCE(overhaul->dev->progress, div_u64((u64)overhaul->pass * U16_MAX + of_pass, overhaul->passes));
}

/* --- the end --------------------------------------------------------------------------------------- */

/* Status and sense data of its command: of @error, of what stops it, or GOOD. */
static void scst_overhaul_answer(struct scst_cmd *cmd, int error, bool done)
{
	struct scst_stop stop;

	if (done)
		scst_cmd_good(cmd);
	else if (!scst_cmd_aborted(cmd) && !error && scst_gate_take(cmd, &stop))
		scst_cmd_stop(cmd, &stop);
	else {
		if (!scst_cmd_aborted(cmd))
			scst_cmd_errno(cmd, error ?: -EAGAIN);
		scst_cmd_respond(cmd);
	}
}

/* It has come to its end, or is given up.  What is undone is in the state in force.  Process context. */
static void scst_overhaul_end(struct scst_overhaul *overhaul, bool done)
{
	struct scst_device *dev = overhaul->dev;

	/* Tokens of what was read by who had passed the gates before. */
	scst_tokens_end(dev);
	scst_turn_end(&overhaul->alone.writer);
	spin_lock_bh(&dev->nexus_lock);
	scst_overhaul_settle(dev);
	scst_gate_assign(dev, overhaul->gate, false);
	dev->overhaul = NULL;
	spin_unlock_bh(&dev->nexus_lock);
	scst_overhaul_event(dev);
	/* Who has looked at the unit meanwhile has seen little of it. */
	scst_device_for_each_nexus(dev, scst_device_tell_driver, NULL);
	if (overhaul->cmd)
		scst_overhaul_answer(overhaul->cmd, overhaul->error, done);
	scst_overhaul_free(overhaul);
	scst_device_put(dev);
}

static void scst_overhaul_in_line(struct scst_overhaul *overhaul, void (*fn)(struct scst_job *job))
{
	overhaul->job.fn = fn;
	scst_line_add(&overhaul->dev->pr_line, &overhaul->dev->pr_threads, &overhaul->job);
}

static void scst_overhaul_done_job(struct scst_job *job)
{
	struct scst_overhaul *overhaul = container_of(job, struct scst_overhaul, job);
	bool stopped = READ_ONCE(overhaul->stopped);

	/* Then the file may be another by now. */
	if (!stopped)
		overhaul->error = scst_pr_keep_undone(overhaul->dev, SCST_UNDONE_NOTHING);
	scst_overhaul_end(overhaul, !stopped && !overhaul->error);
}

/* --- piece by piece -------------------------------------------------------------------------------- */

static void scst_overhaul_job(struct scst_job *job);

static void scst_overhaul_step(struct scst_cmd *io, int error)
{
	struct scst_overhaul *overhaul = container_of(io, struct scst_overhaul, io);

	percpu_ref_put(&overhaul->dev->active_ref);
	overhaul->error = error;
	scst_device_defer(overhaul->dev, &overhaul->job, scst_overhaul_job);
}

/* @len: of SCST_ACTION_SYNC 0: all of the medium. */
static void scst_overhaul_execute(struct scst_overhaul *overhaul, enum scst_action action, u32 len)
{
	struct scst_cmd *io = &overhaul->io;
	struct scst_data data = { };

	overhaul->piece = len;
	overhaul->syncing = action == SCST_ACTION_SYNC;
	if (action == SCST_ACTION_WRITE)
		scst_fill_data(&data, overhaul->sg, overhaul->chunk, overhaul->chunk_size, len);
	scst_cmd_init(io, NULL);
	io->dev = overhaul->dev;
	io->now = SCST_CTX_TASK;
	io->ctx = SCST_CTX_TASK;
	io->step = scst_overhaul_step;
	__set_bit(SCST_CMD_STEPS, &io->flags);
	io->action = action;
	io->data = data;
	io->pos = len ? overhaul->pos : 0;
	io->len = action == SCST_ACTION_WRITE ? len : 0;
	io->range_len = len;
	io->unmap = overhaul->dev->thin;
	io->fua = false;
	overhaul->dev->handler->execute(io);
}

static u32 scst_overhaul_length(const struct scst_overhaul *overhaul, u64 left)
{
	if (overhaul->action == SCST_ACTION_ZERO)
		return scst_clear_length(&overhaul->dev->geo, overhaul->pos, left);
	return min_t(u64, left, (u64)overhaul->chunk_size * SCST_FILL_SEGMENTS);
}

/* The unit may have another size with each piece. */
static void scst_overhaul_next(struct scst_overhaul *overhaul)
{
	u64 size = scst_overhaul_size(overhaul->dev);

	if (!percpu_ref_tryget_live(&overhaul->dev->active_ref))
		scst_overhaul_end(overhaul, false);
	else if (overhaul->pos < size)
		scst_overhaul_execute(overhaul, overhaul->action, scst_overhaul_length(overhaul, size - overhaul->pos));
	else
		scst_overhaul_execute(overhaul, SCST_ACTION_SYNC, 0);
}

static void scst_overhaul_complement(struct scst_overhaul *overhaul)
{
	unsigned long *p = page_address(overhaul->chunk);
	unsigned int i;

	for (i = 0; i < overhaul->chunk_size / sizeof(*p); i++)
		p[i] = ~p[i];
}

/* The pass is stable.  False: it was the last. */
static bool scst_overhaul_next_pass(struct scst_overhaul *overhaul)
{
	overhaul->pass++;
	if (overhaul->pass == overhaul->passes)
		return false;
	overhaul->pos = 0;
	if (overhaul->invert)
		scst_overhaul_complement(overhaul);
	return true;
}

/*
 * Nobody is to wait for its end any more: its command was aborted, or somebody takes the right to go on from it.  True: it ends with its command;
 * one whose end is kept goes on without it (SBC-4 4.11.2).
 */
static bool scst_overhaul_left(struct scst_overhaul *overhaul)
{
	u64 stops = SCST_STOPS_LASTING & ~SCST_STOPS_BUSY;
	struct scst_cmd *cmd = overhaul->cmd;

	if (!cmd || (!scst_cmd_aborted(cmd) && !(READ_ONCE(cmd->nexus->gates) & cmd->op->stops & stops)))
		return false;
	if (!overhaul->undone)
		return true;
	overhaul->cmd = NULL;
	scst_overhaul_answer(cmd, 0, false);
	return false;
}

/* What was done is right.  False: it is over. */
static bool scst_overhaul_advance(struct scst_overhaul *overhaul)
{
	if (overhaul->syncing && !scst_overhaul_next_pass(overhaul))
		return false;
	if (!overhaul->syncing)
		overhaul->pos += overhaul->piece;
	scst_overhaul_progress(overhaul);
	return true;
}

/* A piece is done, or is not; or there was none yet. */
static void scst_overhaul_job(struct scst_job *job)
{
	struct scst_overhaul *overhaul = container_of(job, struct scst_overhaul, job);
	unsigned int noio = memalloc_noio_save();

	if (overhaul->error == -EOPNOTSUPP && overhaul->io.action == SCST_ACTION_ZERO) {
		overhaul->error = 0;
		overhaul->piece = 0;
		overhaul->action = SCST_ACTION_WRITE;
	}
	if (overhaul->error || READ_ONCE(overhaul->stopped) || scst_overhaul_left(overhaul))
		scst_overhaul_end(overhaul, false);
	else if (scst_overhaul_advance(overhaul))
		scst_overhaul_next(overhaul);
	else
		scst_overhaul_in_line(overhaul, scst_overhaul_done_job);
	memalloc_noio_restore(noio);
}

/* --- the beginning --------------------------------------------------------------------------------- */

/* From here on a command that does not wait for it has been told that it is done. */
static void scst_overhaul_run(struct scst_overhaul *overhaul)
{
	struct scst_cmd *cmd = overhaul->cmd;

	if (overhaul->invert && !(overhaul->passes & 1))
		scst_overhaul_complement(overhaul);
	if (overhaul->immed) {
		overhaul->cmd = NULL;
		scst_cmd_good(cmd);
	} else {
		/* For who looks where it is. */
		cmd->action = overhaul->action;
	}
	scst_tokens_end(overhaul->dev);
	scst_overhaul_event(overhaul->dev);
	scst_device_defer(overhaul->dev, &overhaul->job, scst_overhaul_job);
}

static void scst_overhaul_keep_job(struct scst_job *job)
{
	struct scst_overhaul *overhaul = container_of(job, struct scst_overhaul, job);

	if (!READ_ONCE(overhaul->stopped))
		overhaul->error = scst_pr_keep_undone(overhaul->dev, overhaul->undone);
	if (overhaul->error || READ_ONCE(overhaul->stopped))
		scst_overhaul_end(overhaul, false);
	else
		scst_overhaul_run(overhaul);
}

/* Nothing before it is left in the line; but WRITEs may be at the medium. */
static void scst_overhaul_look(struct scst_overhaul *overhaul)
{
	if (scst_cmd_aborted(overhaul->cmd) || READ_ONCE(overhaul->stopped)) {
		scst_overhaul_end(overhaul, false);
		return;
	}
	if (!scst_alone_look(&overhaul->alone))
		return;
	scst_turn_disown(&overhaul->alone.writer);
	if (overhaul->undone)
		scst_overhaul_in_line(overhaul, scst_overhaul_keep_job);
	else
		scst_overhaul_run(overhaul);
}

static void scst_overhaul_look_job(struct scst_job *job)
{
	scst_overhaul_look(container_of(job, struct scst_overhaul, job));
}

/* Under turn_lock.  Where it was aborted it comes to no back end, and is not to wait for threads that hang there. */
static void scst_overhaul_go(struct scst_writer *writer)
{
	struct scst_overhaul *overhaul = container_of(writer, struct scst_overhaul, alone.writer);
	struct scst_device *dev = overhaul->dev;

	overhaul->job.fn = scst_overhaul_look_job;
	scst_threads_add(scst_cmd_aborted(writer->cmd) ? &dev->pr_threads : &dev->threads, &overhaul->job);
}

/* False: something stops its command by now, maybe another one. */
static bool scst_overhaul_claim(struct scst_overhaul *overhaul)
{
	const struct scst_cmd *cmd = overhaul->cmd;
	struct scst_device *dev = overhaul->dev;
	bool stopped;

	spin_lock_bh(&dev->nexus_lock);
	stopped = READ_ONCE(cmd->nexus->gates) & cmd->op->stops & SCST_STOPS_LASTING;
	if (!stopped) {
		dev->overhaul = overhaul;
		WRITE_ONCE(dev->progress, 0);
		scst_gate_assign(dev, overhaul->gate, true);
	}
	spin_unlock_bh(&dev->nexus_lock);
	return !stopped;
}

/* It is known what is to be done.  Answers the command. */
static void scst_overhaul_open(struct scst_overhaul *overhaul)
{
	struct scst_device *dev = overhaul->dev;
	struct scst_cmd *cmd = overhaul->cmd;
	struct scst_stop stop;

	while (!scst_overhaul_claim(overhaul)) {
		if (!scst_gate_take(cmd, &stop))
			continue;
		scst_overhaul_free(overhaul);
		scst_cmd_stop(cmd, &stop);
		return;
	}
	scst_device_get(dev);
	WRITE_ONCE(cmd->nexus->wrote, true);
	overhaul->alone.writer = (struct scst_writer){
		.dev = dev, .cmd = cmd, .go = scst_overhaul_go,
		.turn.nblocks = SCST_TURN_TO_END,
	};
	if (scst_alone_take(&overhaul->alone))
		scst_overhaul_look(overhaul);
}

/**
 * scst_overhaul_begin() - begin, or refuse to
 * @job: that of the command, which is pinned, on a thread of the device's
 * @take: sets what is to be done; false: nothing, status and sense data are set
 *
 * It answers the command.
 */
void scst_overhaul_begin(struct scst_job *job, bool (*take)(struct scst_cmd *cmd, struct scst_overhaul *overhaul))
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	unsigned int noio = memalloc_noio_save();
	struct scst_overhaul *overhaul = scst_overhaul_alloc(cmd);

	if (!overhaul) {
		scst_cmd_errno(cmd, -ENOMEM);
		scst_cmd_respond(cmd);
	} else if (scst_cmd_aborted(cmd) || !take(cmd, overhaul)) {
		scst_overhaul_free(overhaul);
		scst_cmd_respond(cmd);
	} else {
		scst_overhaul_open(overhaul);
	}
	memalloc_noio_restore(noio);
}

/**
 * scst_overhaul_stop() - the backing is going to be closed: what is being done ends with the piece at hand
 * @dev: its gate PARKED is closed
 *
 * Process context.
 */
void scst_overhaul_stop(struct scst_device *dev)
{
	spin_lock_bh(&dev->nexus_lock);
	if (dev->overhaul)
		WRITE_ONCE(dev->overhaul->stopped, true);
	spin_unlock_bh(&dev->nexus_lock);
}
