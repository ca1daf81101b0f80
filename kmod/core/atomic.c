// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands that read, decide and write as one: COMPARE AND WRITE and ORWRITE.
 *
 * Nobody else writes to their blocks from before the first is read until the last is written (turn.c).  As other commands of
 * several actions they go from action to action by cmd->step(), and no thread waits.
 */
#include "commands.h"
#include <linux/sched/mm.h>

/**
 * struct scst_atomic - a command that has its blocks for itself
 * @alone: so that it has
 * @data: the command's own
 * @begin: what is done then
 * @half: of COMPARE AND WRITE: what is written, the second half of the data; or, with protection information, the blocks of the first
 * @chunk: of ORWRITE: memory that is read into, changed, and written from
 * @chunk_size: of @chunk, bytes
 * @sg: @chunk
 * @done: bytes that are written
 * @piece: bytes of the piece at hand
 * @error: of the last action
 */
struct scst_atomic {
	struct scst_alone alone;
	struct scst_data data;
	void (*begin)(struct scst_cmd *cmd);
	struct sg_table half;
	struct page *chunk;
	unsigned int chunk_size;
	struct scatterlist sg;
	u32 done;
	u32 piece;
	int error;
};

/* Nothing of it is at the medium any more.  Any context. */
static void scst_atomic_end(struct scst_cmd *cmd)
{
	struct scst_atomic *atomic = cmd->step_data;

	scst_turn_end(&atomic->alone.writer);
	cmd->data = atomic->data;
	scst_steps_end(cmd);
	sg_free_table(&atomic->half);
	if (atomic->chunk)
		scst_chunk_put(atomic->chunk);
	kfree(atomic);
}

/* Status and sense data are set, or it is aborted. */
static void scst_atomic_respond(struct scst_cmd *cmd)
{
	scst_atomic_end(cmd);
	scst_cmd_respond(cmd);
}

static void scst_atomic_fail(struct scst_cmd *cmd, int error)
{
	scst_cmd_errno(cmd, error);
	scst_atomic_respond(cmd);
}

/* All is written, or could not be: stable, if it had to be.  Any context. */
static void scst_atomic_written(struct scst_cmd *cmd, int error)
{
	scst_atomic_end(cmd);
	cmd->len = cmd->xfer_len;
	if (cmd->fua)
		scst_stable_step(cmd, error);
	else
		scst_cmd_done(cmd, error);
}

static u32 scst_atomic_bytes(const struct scst_cmd *cmd)
{
	return cmd->nblocks << cmd->dev->geo.block_shift;
}

/* Of the command's own flag, or because there is no cache. */
static void scst_atomic_set_fua(struct scst_cmd *cmd)
{
	cmd->fua = cmd->fua || READ_ONCE(cmd->dev->wce_off) || cmd->dev->write_through;
}

static void scst_atomic_to_handler(struct scst_cmd *cmd, enum scst_action action,
				   void (*step)(struct scst_cmd *cmd, int error))
{
	scst_steps_begin(cmd, step);
	cmd->action = action;
	cmd->dev->handler->execute(cmd);
}

/* --- until it is alone ------------------------------------------------------------------------- */

static void scst_atomic_synced_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	struct scst_atomic *atomic = cmd->step_data;
	unsigned int noio = memalloc_noio_save();

	if (scst_cmd_aborted(cmd))
		scst_atomic_respond(cmd);
	else if (atomic->error)
		scst_atomic_fail(cmd, atomic->error);
	else
		atomic->begin(cmd);
	memalloc_noio_restore(noio);
}

static void scst_atomic_synced(struct scst_cmd *cmd, int error)
{
	struct scst_atomic *atomic = cmd->step_data;

	atomic->error = error;
	scst_cmd_to_thread(cmd, scst_atomic_synced_job);
}

/* As in a READ with FUA: what is read is what the medium has. */
static void scst_atomic_begin(struct scst_cmd *cmd)
{
	struct scst_atomic *atomic = cmd->step_data;

	if (cmd->fua) {
		cmd->range_len = scst_atomic_bytes(cmd);
		scst_atomic_to_handler(cmd, SCST_ACTION_SYNC, scst_atomic_synced);
	} else {
		atomic->begin(cmd);
	}
}

static void scst_atomic_look(struct scst_cmd *cmd)
{
	struct scst_atomic *atomic = cmd->step_data;

	if (scst_cmd_aborted(cmd))
		scst_atomic_respond(cmd);
	else if (scst_alone_look(&atomic->alone))
		scst_atomic_begin(cmd);
}

static void scst_atomic_turn_job(struct scst_job *job)
{
	unsigned int noio = memalloc_noio_save();

	scst_atomic_look(scst_cmd_of_job(job));
	memalloc_noio_restore(noio);
}

static struct scst_atomic *scst_atomic_alloc(struct scst_cmd *cmd, void (*begin)(struct scst_cmd *cmd))
{
	struct scst_atomic *atomic = kzalloc(sizeof(*atomic), GFP_NOIO);

	if (!atomic)
		return NULL;
	atomic->data = cmd->data;
	atomic->begin = begin;
	atomic->alone.writer = (struct scst_writer){
		.turn.lba = cmd->lba, .turn.nblocks = cmd->nblocks,
		.dev = cmd->dev, .cmd = cmd, .fn = scst_atomic_turn_job,
	};
	return atomic;
}

static void scst_atomic_start(struct scst_cmd *cmd, void (*begin)(struct scst_cmd *cmd))
{
	struct scst_atomic *atomic;

	if (scst_cmd_aborted(cmd)) {
		scst_cmd_respond(cmd);
		return;
	}
	atomic = scst_atomic_alloc(cmd, begin);
	if (!atomic) {
		scst_cmd_errno(cmd, -ENOMEM);
		scst_cmd_respond(cmd);
		return;
	}
	cmd->step_data = atomic;
	if (scst_alone_take(&atomic->alone))
		scst_atomic_look(cmd);
}

/* --- COMPARE AND WRITE ------------------------------------------------------------------------- */

/**
 * scst_caw_max() - most blocks of a COMPARE AND WRITE
 * @dev: the device
 * @max_xfer: bytes that one command may move
 *
 * The field has one byte, and the data is twice as long as the blocks, which may have protection information.  Return: 0 if the device has
 * no such command.
 */
u8 scst_caw_max(const struct scst_device *dev, u32 max_xfer)
{
	if (dev->handler->flags & SCST_HANDLER_FORGETS)
		return 0;
	return min(max_xfer / 2 / ((scst_device_block_size(dev) ?: 512) + (dev->protection ? SCST_PI_BYTES : 0)), 255U);
}

/* List @len bytes of @data from @skip on, in entries from @to on, and count them.  Returns the last. */
static struct scatterlist *scst_caw_list(const struct scst_data *data, u32 skip, u32 len, struct scatterlist *to, unsigned int *nents)
{
	struct scatterlist *from;
	unsigned int i;

	for_each_sg(data->sgl, from, data->nents, i) {
		u32 at = from->offset + skip, n;

		if (skip >= from->length) {
			skip -= from->length;
			continue;
		}
		n = min(len, from->length - skip);
		sg_set_page(to, sg_page(from) + (at >> PAGE_SHIFT), n, offset_in_page(at));
		++*nents;
		len -= n;
		if (!len)
			break;
		skip = 0;
		to = sg_next(to);
	}
	return to;
}

static void scst_caw_write(struct scst_cmd *cmd)
{
	struct scst_atomic *atomic = cmd->step_data;
	u32 len = scst_atomic_bytes(cmd);
	unsigned int nents = 0;

	if (sg_alloc_table(&atomic->half, atomic->data.nents, GFP_NOIO)) {
		scst_atomic_fail(cmd, -ENOMEM);
		return;
	}
	sg_mark_end(scst_caw_list(&atomic->data, len, len, atomic->half.sgl, &nents));
	cmd->data = (struct scst_data){ .sgl = atomic->half.sgl, .nents = nents, .len = len };
	cmd->pos = cmd->lba << cmd->dev->geo.block_shift;
	cmd->len = len;
	scst_atomic_set_fua(cmd);
	scst_atomic_to_handler(cmd, SCST_ACTION_WRITE, scst_atomic_written);
}

/* ... with its protection information. */
static void scst_caw_write_protected(struct scst_cmd *cmd)
{
	const struct scst_atomic *atomic = cmd->step_data;

	cmd->data = atomic->data;
	cmd->pos = cmd->lba << cmd->dev->geo.block_shift;
	cmd->len = cmd->xfer_len;
	scst_pi_caw(cmd, scst_atomic_end);
}

static void scst_caw_compared(struct scst_cmd *cmd)
{
	if (scst_cmd_aborted(cmd) || cmd->status)
		scst_atomic_respond(cmd);
	else if (scst_pi_field(cmd))
		scst_caw_write_protected(cmd);
	else
		scst_caw_write(cmd);
}

/* What is compared are the blocks, and not the information behind each of them.  False: there is no memory. */
static bool scst_caw_list_blocks(struct scst_cmd *cmd)
{
	u32 stride = scst_pi_stride(cmd), block = 1U << cmd->dev->geo.block_shift, i;
	struct scst_atomic *atomic = cmd->step_data;
	struct scatterlist *to;
	unsigned int nents = 0;

	if (sg_alloc_table(&atomic->half, atomic->data.nents + cmd->nblocks, GFP_NOIO))
		return false;
	to = scst_caw_list(&atomic->data, 0, block, atomic->half.sgl, &nents);
	for (i = 1; i < cmd->nblocks; i++)
		to = scst_caw_list(&atomic->data, i * stride, block, sg_next(to), &nents);
	sg_mark_end(to);
	cmd->data = (struct scst_data){ .sgl = atomic->half.sgl, .nents = nents, .len = scst_atomic_bytes(cmd) };
	return true;
}

static void scst_caw_begin(struct scst_cmd *cmd)
{
	if (scst_pi_field(cmd) && !scst_caw_list_blocks(cmd))
		scst_atomic_fail(cmd, -ENOMEM);
	else
		scst_compare(cmd, scst_atomic_bytes(cmd), scst_caw_compared);
}

static void scst_caw_job(struct scst_job *job)
{
	unsigned int noio = memalloc_noio_save();

	scst_atomic_start(scst_cmd_of_job(job), scst_caw_begin);
	memalloc_noio_restore(noio);
}

/* COMPARE AND WRITE: pinned, all data-out is there.  Any context. */
void scst_atomic_caw(struct scst_cmd *cmd)
{
	scst_cmd_to_thread(cmd, scst_caw_job);
}

/* --- ORWRITE ------------------------------------------------------------------------------------- */

static void scst_or_piece(struct scst_cmd *cmd);

static void scst_or_written_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	struct scst_atomic *atomic = cmd->step_data;
	unsigned int noio = memalloc_noio_save();

	atomic->done += atomic->piece;
	if (scst_cmd_aborted(cmd))
		scst_atomic_respond(cmd);
	else
		scst_or_piece(cmd);
	memalloc_noio_restore(noio);
}

static void scst_or_written(struct scst_cmd *cmd, int error)
{
	const struct scst_atomic *atomic = cmd->step_data;

	if (error || atomic->done + atomic->piece == cmd->xfer_len)
		scst_atomic_written(cmd, error);
	else
		scst_cmd_to_thread(cmd, scst_or_written_job);
}

/* What was read, or what the command has. */
static void scst_or_combine(struct scst_atomic *atomic)
{
	u8 *p = page_address(atomic->chunk), *end = p + atomic->piece;
	struct sg_mapping_iter miter;
	size_t i;

	sg_miter_start(&miter, atomic->data.sgl, atomic->data.nents, SG_MITER_ATOMIC | SG_MITER_FROM_SG);
	sg_miter_skip(&miter, atomic->done);
	while (p < end && sg_miter_next(&miter)) {
		const u8 *from = miter.addr;

		for (i = 0; i < miter.length && p < end; i++)
			*p++ |= from[i];
	}
	sg_miter_stop(&miter);
}

static void scst_or_read_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	struct scst_atomic *atomic = cmd->step_data;
	unsigned int noio = memalloc_noio_save();

	if (scst_cmd_aborted(cmd)) {
		scst_atomic_respond(cmd);
	} else if (atomic->error) {
		scst_atomic_fail(cmd, atomic->error);
	} else {
		scst_or_combine(atomic);
		scst_atomic_set_fua(cmd);
		scst_atomic_to_handler(cmd, SCST_ACTION_WRITE, scst_or_written);
	}
	memalloc_noio_restore(noio);
}

static void scst_or_read(struct scst_cmd *cmd, int error)
{
	struct scst_atomic *atomic = cmd->step_data;

	atomic->error = error;
	scst_cmd_to_thread(cmd, scst_or_read_job);
}

static void scst_or_piece(struct scst_cmd *cmd)
{
	struct scst_atomic *atomic = cmd->step_data;

	atomic->piece = min(cmd->xfer_len - atomic->done, atomic->chunk_size);
	sg_init_table(&atomic->sg, 1);
	sg_set_page(&atomic->sg, atomic->chunk, atomic->piece, 0);
	cmd->data = (struct scst_data){ .sgl = &atomic->sg, .nents = 1, .len = atomic->piece };
	cmd->pos = (cmd->lba << cmd->dev->geo.block_shift) + atomic->done;
	cmd->len = atomic->piece;
	scst_atomic_to_handler(cmd, SCST_ACTION_READ, scst_or_read);
}

static void scst_or_begin(struct scst_cmd *cmd)
{
	struct scst_atomic *atomic = cmd->step_data;

	if (scst_pi_field(cmd)) {
		scst_pi_or(cmd, scst_atomic_end);
		return;
	}
	atomic->chunk = scst_chunk_get(&atomic->chunk_size);
	if (atomic->chunk)
		scst_or_piece(cmd);
	else
		scst_atomic_fail(cmd, -ENOMEM);
}

static void scst_or_job(struct scst_job *job)
{
	unsigned int noio = memalloc_noio_save();

	scst_atomic_start(scst_cmd_of_job(job), scst_or_begin);
	memalloc_noio_restore(noio);
}

/* ORWRITE: pinned, all data-out is there.  Any context. */
void scst_atomic_or(struct scst_cmd *cmd)
{
	scst_cmd_to_thread(cmd, scst_or_job);
}
