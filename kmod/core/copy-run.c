// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a segment is copied: chunk by chunk, each by commands of the core's own on behalf of the initiator.
 *
 * A part is such a command: copy-part.c.  Between two chunks a copy holds nothing of either unit: who waits for one of them never waits for
 * the other.
 *
 * What has to be done between parts is done on threads of which there are as many as wait, so that a unit that hangs takes none from
 * anybody.
 */
#include "copy.h"
#include "trace.h"

#define COPY_CHUNK		SZ_1M		/* of what goes through memory */
#define COPY_CHUNK_MIN		SZ_64K		/* ... where there is little */
#define COPY_CHUNK_HANDLER	SZ_16M		/* of what does not */

struct scst_threads scst_copy_threads;

/* --- failures ------------------------------------------------------------------------------------ */

/* The first one counts. */
static void scst_copy_fail(struct scst_copy *copy, const struct scst_copy_failure *failure)
{
	spin_lock(&copy->lock);
	if (!copy->failure.sense)
		copy->failure = *failure;
	spin_unlock(&copy->lock);
}

/* What a unit has said goes into what the copy says. */
static void scst_copy_fail_part(struct scst_copy *copy, const struct scst_cmd *cmd)
{
	struct scst_copy_failure failure = {
		.sense		= SCST_COPY_DEVICE_FAILURE,
		.segment	= copy->segment,
		.byte		= -1,
		.of_source	= cmd->dir == DMA_FROM_DEVICE,
		.status		= cmd->status,
		.told_len	= cmd->sense_len,
	};

	memcpy(failure.told, cmd->sense, cmd->sense_len);
	scst_copy_fail(copy, &failure);
}

/* A part has ended in an error, or was aborted: true, and it is over.  Before who waits for that is answered the copy has failed. */
static bool scst_part_failed(struct scst_copy *copy, struct scst_cmd *cmd, int error)
{
	if (scst_cmd_aborted(cmd))
		cmd->status = SAM_STAT_TASK_ABORTED;
	else if (error)
		scst_cmd_errno(cmd, error);
	else
		return false;
	scst_copy_fail_part(copy, cmd);
	scst_part_end(cmd);
	return true;
}

/*
 * It has failed; or the command was aborted, or what it came by was taken away or excluded from the unit meanwhile.  It is not answered
 * before its parts are over.
 */
static bool scst_copy_stopped(struct scst_copy *copy)
{
	const struct scst_cmd *cmd = copy->cmd;
	/* That it is read-only the destination says itself. */
	u64 stops = cmd->op->stops & SCST_STOPS_LASTING & ~SCST_STOPS_READ_ONLY;
	struct scst_copy_failure failure = { .sense = SCST_COPY_NOT_REACHABLE, .segment = -1, .byte = -1 };

	if (READ_ONCE(copy->failure.sense))
		return true;
	if (READ_ONCE(copy->cancelled))
		failure.sense = SCST_COPY_ABORTED;
	else if (!scst_cmd_aborted(cmd) && !(READ_ONCE(cmd->nexus->gates) & stops))
		return false;
	scst_copy_fail(copy, &failure);
	return true;
}

/* The token that says what is read has ended, and what was read may be something else: true, and the copy has failed. */
static bool scst_copy_stale(struct scst_copy *copy)
{
	struct scst_copy_failure failure = { .segment = -1, .byte = -1 };
	u32 over = copy->token ? scst_token_over(copy->token) : 0;

	if (!over)
		return false;
	/* It has begun. */
	failure.sense = COPY_ABORTED << 16 | (over & 0xffff);
	scst_copy_fail(copy, &failure);
	return true;
}

/* --- lanes --------------------------------------------------------------------------------------- */

static void scst_lane_next_job(struct scst_job *job);
static void scst_lane_turn_job(struct scst_job *job);
static void scst_copy_settle(struct scst_copy *copy);
static void scst_lane_write(struct scst_copy_lane *lane);

static void scst_lane_then(struct scst_copy_lane *lane, void (*fn)(struct scst_job *job))
{
	lane->job.fn = fn;
	scst_threads_add(&scst_copy_threads, &lane->job);
}

/* The last one to be over goes on with the copy. */
static void scst_lane_over(struct scst_copy_lane *lane)
{
	struct scst_copy *copy = lane->copy;
	bool last;

	spin_lock(&copy->lock);
	last = !--copy->lanes;
	spin_unlock(&copy->lock);
	if (last)
		scst_copy_settle(copy);
}

/* False: nothing is left to be begun. */
static bool scst_lane_take(struct scst_copy_lane *lane)
{
	struct scst_copy *copy = lane->copy;
	struct scst_copy_extent *left = &copy->extent;

	spin_lock(&copy->lock);
	lane->len = copy->failure.sense ? 0 : min_t(u64, left->len, copy->by_handler ? COPY_CHUNK_HANDLER : lane->memory);
	lane->from = left->from;
	lane->to = left->to;
	left->len -= lane->len;
	if (copy->backwards) {
		lane->from += left->len;
		lane->to += left->len;
	} else {
		left->from += lane->len;
		left->to += lane->len;
	}
	spin_unlock(&copy->lock);
	return lane->len;
}

/* What has not been begun yet is, by the second lane as well, unless that is on its way already.  By the first. */
static void scst_copy_add_lane(struct scst_copy *copy)
{
	bool more;

	spin_lock(&copy->lock);
	more = !copy->one_lane && copy->lanes < SCST_COPY_LANES && copy->extent.len && !copy->failure.sense;
	if (more)
		copy->lanes++;
	spin_unlock(&copy->lock);
	if (more)
		scst_lane_then(&copy->lane[1], scst_lane_next_job);
}

/* The handler has no way of its own. */
static void scst_copy_by_memory(struct scst_copy *copy)
{
	spin_lock(&copy->lock);
	copy->by_handler = false;
	spin_unlock(&copy->lock);
}

/* A piece of the chunk is written: all of it, and the next one, or the rest. */
static void scst_lane_written(struct scst_copy_lane *lane, u32 bytes)
{
	scst_copy_record_add(lane->copy, bytes);
	lane->from += bytes;
	lane->to += bytes;
	lane->len -= bytes;
	scst_lane_then(lane, scst_lane_next_job);
}

static void scst_lane_written_job(struct scst_job *job)
{
	struct scst_copy_lane *lane = container_of(job, struct scst_copy_lane, job);
	struct scst_cmd *cmd = &lane->write.cmd;

	cmd->now = SCST_CTX_TASK;
	scst_turn_end(&lane->writer);
	if (lane->error == -EOPNOTSUPP && lane->direct) {
		scst_part_end(cmd);
		scst_copy_by_memory(lane->copy);
		scst_lane_then(lane, scst_lane_next_job);
		return;
	}
	if (scst_part_failed(lane->copy, cmd, lane->error)) {
		scst_lane_over(lane);
		return;
	}
	scst_part_end(cmd);
	scst_lane_written(lane, cmd->len);
}

static void scst_lane_written_step(struct scst_cmd *cmd, int error)
{
	struct scst_copy_lane *lane = container_of(cmd, struct scst_copy_lane, write.cmd);

	lane->error = error;
	scst_lane_then(lane, scst_lane_written_job);
}

static void scst_lane_read_job(struct scst_job *job)
{
	struct scst_copy_lane *lane = container_of(job, struct scst_copy_lane, job);
	struct scst_cmd *cmd = &lane->read.cmd;

	if (scst_part_failed(lane->copy, cmd, lane->error)) {
		scst_lane_over(lane);
		return;
	}
	scst_part_end(cmd);
	if (scst_copy_stale(lane->copy))
		scst_lane_over(lane);
	else
		scst_lane_write(lane);
}

static void scst_lane_read_step(struct scst_cmd *cmd, int error)
{
	struct scst_copy_lane *lane = container_of(cmd, struct scst_copy_lane, read.cmd);

	lane->error = error;
	scst_lane_then(lane, scst_lane_read_job);
}

/* The handler's own way.  False: it has none for these two, and all the rest goes through memory. */
static bool scst_lane_by_handler(struct scst_copy_lane *lane)
{
	struct scst_copy *copy = lane->copy;
	struct scst_cmd *read = &lane->read.cmd, *write = &lane->write.cmd;
	ssize_t ret;

	ret = write->dev->handler->copy(write, read->dev, lane->from);
	scst_turn_end(&lane->writer);
	scst_part_end(read);
	/* Whose fault an error of the medium is shows only if it is read first. */
	if (ret == -EOPNOTSUPP || scst_error_is_medium(ret) || !ret) {
		scst_part_end(write);
		scst_copy_by_memory(copy);
		return false;
	}
	trace_scst_copy_chunk(write, copy->from->lun, lane->from, true);
	if (scst_part_failed(copy, write, min_t(ssize_t, ret, 0))) {
		scst_lane_over(lane);
		return true;
	}
	scst_part_end(write);
	/* Then it is not said to be copied. */
	if (scst_copy_stale(copy))
		scst_lane_over(lane);
	else
		scst_lane_written(lane, ret);
	return true;
}

/* The handler makes the zeroes. */
static void scst_lane_zero(struct scst_copy_lane *lane)
{
	struct scst_cmd *cmd = &lane->write.cmd;

	trace_scst_copy_chunk(cmd, lane->copy->from->lun, lane->from, true);
	cmd->range_len = lane->len;
	__set_bit(SCST_CMD_STEPS, &cmd->flags);
	cmd->step = scst_lane_written_step;
	scst_cmd_to_handler(cmd, SCST_ACTION_ZERO);
}

/**
 * scst_copy_issue() - all that is ever written to a destination
 * @lane: its part for writing has begun and has its turn; that for reading, if there is one, has ended, or with @by_handler is going on
 * @by_handler: by the handler's own way, if there is one
 *
 * On a thread of the copies'.  Return: false: there is no such way, and both parts have ended.
 */
static bool scst_copy_issue(struct scst_copy_lane *lane, bool by_handler)
{
	struct scst_cmd *cmd = &lane->write.cmd;

	WRITE_ONCE(cmd->nexus->wrote, true);
	if (by_handler && lane->copy->zero) {
		scst_lane_zero(lane);
		return true;
	}
	if (by_handler) {
		cmd->action = SCST_ACTION_WRITE;
		return scst_lane_by_handler(lane);
	}
	trace_scst_copy_chunk(cmd, lane->copy->from->lun, lane->from, false);
	__set_bit(SCST_CMD_STEPS, &cmd->flags);
	cmd->step = scst_lane_written_step;
	cmd->data = lane->read.cmd.data;
	cmd->data.owner = SCST_DATA_DRIVER;
	scst_cmd_to_handler(cmd, SCST_ACTION_WRITE);
	return true;
}

/* False: it may not be written. */
static bool scst_lane_begin_write(struct scst_copy_lane *lane)
{
	struct scst_copy *copy = lane->copy;
	struct scst_cmd *cmd = &lane->write.cmd;

	scst_part_init(copy, &lane->write, &scst_copy_op_write, lane->to, lane->len);
	if (!scst_copy_stopped(copy) && scst_part_begin(&lane->write, copy->to))
		return true;
	if (cmd->status)
		scst_copy_fail_part(copy, cmd);
	return false;
}

/* Under turn_lock: its turn has come, or it was aborted while it waited. */
static void scst_lane_turn_comes(struct scst_writer *writer)
{
	scst_lane_then(container_of(writer, struct scst_copy_lane, writer), scst_lane_turn_job);
}

/* The part for writing has begun.  May it write now?  False: scst_lane_turn_job() follows. */
static bool scst_lane_turn(struct scst_copy_lane *lane)
{
	struct scst_cmd *cmd = &lane->write.cmd;

	lane->writer = (struct scst_writer){
		.turn = { .lba = cmd->lba, .nblocks = cmd->nblocks },
		.dev = cmd->dev, .cmd = cmd, .go = scst_lane_turn_comes,
	};
	INIT_LIST_HEAD(&lane->writer.turn.entry);
	return scst_turn_take(&lane->writer);
}

/* What is in memory. */
static void scst_lane_write(struct scst_copy_lane *lane)
{
	lane->direct = false;
	if (!scst_lane_begin_write(lane))
		scst_lane_over(lane);
	else if (scst_lane_turn(lane))
		scst_copy_issue(lane, false);
}

static bool scst_lane_begin_read(struct scst_copy_lane *lane)
{
	struct scst_copy *copy = lane->copy;
	struct scst_cmd *cmd = &lane->read.cmd;

	scst_part_init(copy, &lane->read, &scst_copy_op_read, lane->from, lane->len);
	if (!scst_copy_stopped(copy) && scst_part_begin(&lane->read, copy->from))
		return true;
	if (cmd->status)
		scst_copy_fail_part(copy, cmd);
	return false;
}

/* Both ends at once; the turn is the lane's.  False: it is to be done by way of memory. */
static bool scst_lane_direct(struct scst_copy_lane *lane)
{
	if (lane->copy->zero || scst_lane_begin_read(lane))
		return scst_copy_issue(lane, true);
	scst_turn_end(&lane->writer);
	scst_part_end(&lane->write.cmd);
	scst_lane_over(lane);
	return true;
}

/* The turn first: who waits for it must not hold the source meanwhile. */
static bool scst_lane_shortcut(struct scst_copy_lane *lane)
{
	lane->direct = READ_ONCE(lane->copy->by_handler);
	if (!lane->direct)
		return false;
	if (!scst_lane_begin_write(lane))
		scst_lane_over(lane);
	else if (scst_lane_turn(lane))
		return scst_lane_direct(lane);
	return true;
}

/* Memory for chunks, charged as a command's own is.  It is kept to the end of the copy. */
static bool scst_lane_get_memory(struct scst_copy_lane *lane)
{
	struct scst_cmd *cmd = &lane->read.cmd;
	u32 len;

	for (len = COPY_CHUNK; !lane->memory && len >= COPY_CHUNK_MIN; len /= 4) {
		scst_cmd_init(cmd, lane->copy->cmd->sess);
		cmd->len = len;
		cmd->now = SCST_CTX_TASK;
		if (scst_data_get(cmd))
			continue;
		lane->memory = len;
		if (lane->copy->zero)
			sg_zero_buffer(cmd->data.sgl, cmd->data.nents, len, 0);
	}
	return lane->memory;
}

/* As much of the chunk as there is memory for; the rest is not begun yet. */
static void scst_lane_cut(struct scst_copy_lane *lane)
{
	struct scst_copy *copy = lane->copy;
	u32 back = lane->len - min(lane->len, lane->memory);

	if (!back)
		return;
	/* Only chunks of the handler's are longer, and those are taken one by one, in order. */
	lane->len -= back;
	spin_lock(&copy->lock);
	copy->extent.from -= back;
	copy->extent.to -= back;
	copy->extent.len += back;
	spin_unlock(&copy->lock);
}

/* By way of memory. */
static void scst_lane_read(struct scst_copy_lane *lane)
{
	struct scst_cmd *cmd = &lane->read.cmd;

	scst_lane_cut(lane);
	if (lane == &lane->copy->lane[0])
		scst_copy_add_lane(lane->copy);
	if (lane->copy->zero) {
		scst_lane_write(lane);
		return;
	}
	if (!scst_lane_begin_read(lane)) {
		scst_lane_over(lane);
		return;
	}
	__set_bit(SCST_CMD_STEPS, &cmd->flags);
	cmd->step = scst_lane_read_step;
	scst_cmd_to_handler(cmd, SCST_ACTION_READ);
}

/* No memory for the first lane: the initiator is to try again.  The second one is not needed. */
static void scst_lane_without_memory(struct scst_copy_lane *lane)
{
	struct scst_copy *copy = lane->copy;
	struct scst_copy_failure failure = { .sense = SCST_COPY_ABORTED, .segment = -1, .status = SAM_STAT_TASK_SET_FULL };

	if (lane == &copy->lane[0])
		scst_copy_fail(copy, &failure);
	scst_lane_over(lane);
}

static void scst_lane_by_memory(struct scst_copy_lane *lane)
{
	if (scst_lane_get_memory(lane))
		scst_lane_read(lane);
	else
		scst_lane_without_memory(lane);
}

/* It had to wait for its turn. */
static void scst_lane_turn_job(struct scst_job *job)
{
	struct scst_copy_lane *lane = container_of(job, struct scst_copy_lane, job);
	struct scst_cmd *cmd = &lane->write.cmd;

	if (scst_cmd_aborted(cmd)) {
		scst_turn_end(&lane->writer);
		scst_part_failed(lane->copy, cmd, 0);
		scst_lane_over(lane);
	} else if (!lane->direct) {
		scst_copy_issue(lane, false);
	} else if (!scst_lane_direct(lane)) {
		scst_lane_by_memory(lane);
	}
}

/* Nothing of the lane is on its way. */
static void scst_lane_next_job(struct scst_job *job)
{
	struct scst_copy_lane *lane = container_of(job, struct scst_copy_lane, job);
	bool by_handler = READ_ONCE(lane->copy->by_handler);

	if (!by_handler && !scst_lane_get_memory(lane)) {
		scst_lane_without_memory(lane);
		return;
	}
	if (!lane->len && !scst_lane_take(lane)) {
		scst_lane_over(lane);
		return;
	}
	if (!scst_lane_shortcut(lane))
		scst_lane_by_memory(lane);
}

/* --- without a cache ------------------------------------------------------------------------------ */

static void scst_copy_stable_job(struct scst_job *job)
{
	struct scst_copy_lane *lane = container_of(job, struct scst_copy_lane, job);
	struct scst_cmd *cmd = &lane->write.cmd;
	int lost = scst_cmd_aborted(cmd) ? 0 : scst_lost(cmd);

	if (!scst_part_failed(lane->copy, cmd, lost ?: lane->error))
		scst_part_end(cmd);
	scst_copy_over(lane->copy);
}

static void scst_copy_stable_step(struct scst_cmd *cmd, int error)
{
	struct scst_copy_lane *lane = container_of(cmd, struct scst_copy_lane, write.cmd);

	lane->error = error;
	scst_lane_then(lane, scst_copy_stable_job);
}

/* All of the segment is written.  Where writes are to be stable it is made so; else it is in the cache, as a write is. */
static void scst_copy_settle(struct scst_copy *copy)
{
	struct scst_copy_lane *lane = &copy->lane[0];
	struct scst_cmd *cmd = &lane->write.cmd;

	if (copy->failure.sense) {
		scst_copy_over(copy);
		return;
	}
	lane->to = copy->whole.to;
	lane->len = 0;
	/* Should it fail now none of it counts. */
	copy->extent.len = copy->whole.len;
	if (!scst_lane_begin_write(lane)) {
		scst_copy_over(copy);
	} else if (!READ_ONCE(cmd->dev->wce_off) && !cmd->dev->write_through) {
		scst_part_end(cmd);
		scst_copy_over(copy);
	} else {
		cmd->range_len = copy->whole.len;
		__set_bit(SCST_CMD_STEPS, &cmd->flags);
		cmd->step = scst_copy_stable_step;
		scst_cmd_to_handler(cmd, SCST_ACTION_SYNC);
	}
}

/**
 * scst_copy_reached() - how much of a segment is copied from its beginning on, without a gap
 * @copy: nothing of it is on its way
 *
 * Return: bytes.
 */
u64 scst_copy_reached(struct scst_copy *copy)
{
	u64 reached = copy->whole.len - copy->extent.len;
	const struct scst_copy_lane *lane;

	if (!copy->failure.sense)
		return copy->whole.len;
	if (copy->backwards)
		return 0;
	for (lane = copy->lane; lane < copy->lane + SCST_COPY_LANES; lane++)
		if (lane->len)
			reached = min(reached, lane->to - copy->whole.to);
	return reached;
}

/**
 * scst_copy_run() - copy what is in copy->extent
 * @copy: its source, destination and extent are set
 *
 * On a thread of the copies'.  scst_copy_over() goes on when that is done, or has failed.
 */
void scst_copy_run(struct scst_copy *copy)
{
	struct scst_copy_lane *lane = &copy->lane[0];

	copy->lanes = 1;
	copy->lane[0].len = 0;
	copy->lane[1].len = 0;
	scst_lane_next_job(&lane->job);
}
