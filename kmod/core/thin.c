// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ranges of the medium that are given back (UNMAP) or filled (WRITE SAME), and what is known of them (GET LBA STATUS).
 *
 * They may be long, so they are done piece by piece, each an action of the device handler; nobody waits between them, and an abort
 * ends the command with the piece that is being done.  What has to be done between two pieces is done on the device's own threads.
 */
#include "pi.h"
#include "unmap.h"
#include <linux/sched/mm.h>

/**
 * struct scst_sweep - ranges of the medium that are done piece by piece
 * @writer: takes a turn for each piece
 * @data: the command's own data
 * @pos: first byte that is not done of the range at hand
 * @left: bytes of it
 * @piece: bytes of the piece that is being done
 * @action: how: SCST_ACTION_UNMAP, SCST_ACTION_ZERO, SCST_ACTION_WRITE
 * @error: of the piece
 * @next: ranges of the list that were begun
 * @ranges: in the list
 * @block: bytes
 * @chunk_size: bytes
 * @prot: the command's own
 * @tuple: of WRITE SAME: protection information that the block comes with
 * @pi: memory for that of a piece, or NULL: the handler's matter
 * @pi_sg: @pi
 * @chunk: of UNMAP the list; of WRITE SAME the block, as often as it fits
 * @sg: the chunk, again and again
 */
struct scst_sweep {
	struct scst_writer writer;
	struct scst_data data;
	u64 pos;
	u64 left;
	u32 piece;
	u8 action;
	int error;
	unsigned int next;
	unsigned int ranges;
	unsigned int block;
	unsigned int chunk_size;
	struct scst_data prot;
	u8 tuple[SCST_PI_BYTES];
	u8 *pi;
	struct scatterlist pi_sg;
	struct page *chunk;
	struct scatterlist sg[SCST_FILL_SEGMENTS];
};

static void scst_sweep_free(struct scst_sweep *sweep)
{
	if (sweep->chunk)
		scst_chunk_put(sweep->chunk);
	free_page((unsigned long)sweep->pi);
	kfree(sweep);
}

static struct scst_sweep *scst_sweep_alloc(const struct scst_cmd *cmd)
{
	struct scst_sweep *sweep = kzalloc(sizeof(*sweep), GFP_NOIO);

	if (!sweep)
		return NULL;
	sweep->data = cmd->data;
	sweep->prot = cmd->prot;
	sweep->block = 1U << cmd->dev->geo.block_shift;
	sweep->chunk = scst_chunk_get(&sweep->chunk_size);
	if (sweep->chunk)
		return sweep;
	scst_sweep_free(sweep);
	return NULL;
}

/* Status and sense data are set, or the status is GOOD. */
static void scst_sweep_end(struct scst_cmd *cmd)
{
	struct scst_sweep *sweep = cmd->step_data;

	scst_pi_unmark(cmd);
	cmd->data = sweep->data;
	cmd->prot = sweep->prot;
	cmd->len = cmd->xfer_len;
	scst_steps_end(cmd);
	scst_sweep_free(sweep);
}

static void scst_sweep_respond(struct scst_cmd *cmd)
{
	scst_sweep_end(cmd);
	scst_cmd_respond(cmd);
}

static void scst_sweep_fail(struct scst_cmd *cmd, int error)
{
	scst_sweep_end(cmd);
	scst_cmd_errno(cmd, error);
	scst_cmd_respond(cmd);
}

/* All is done.  Without a cache it is to be stable as well. */
static void scst_sweep_over(struct scst_cmd *cmd)
{
	struct scst_sweep *sweep = cmd->step_data;
	bool unmap = sweep->action == SCST_ACTION_UNMAP;

	scst_sweep_end(cmd);
	cmd->status = SAM_STAT_GOOD;
	if (!READ_ONCE(cmd->dev->wce_off) && !cmd->dev->write_through)
		scst_cmd_respond(cmd);
	else if (unmap)
		scst_sync(cmd, 0, 0);
	else
		scst_sync(cmd, cmd->lba << cmd->dev->geo.block_shift, (u64)cmd->nblocks << cmd->dev->geo.block_shift);
}

/**
 * scst_clear_length() - how much of a range is one piece of what is given back or cleared
 * @geo: of the device
 * @pos: where the range begins
 * @left: bytes of it
 *
 * Pure.  No longer than a piece may be, and up to where a group of blocks begins that the backing gives back together: what is cut in two
 * would not be given back at all.
 */
u32 scst_clear_length(const struct scst_geometry *geo, u64 pos, u64 left)
{
	u64 group = (u64)(geo->unmap_granularity ?: 1) << geo->block_shift;
	u64 first = (u64)geo->unmap_alignment << geo->block_shift, most;

	if (left <= SCST_CLEAR_MAX)
		return left;
	if (group > SCST_CLEAR_MAX)
		return SCST_CLEAR_MAX;
	most = rounddown(SCST_CLEAR_MAX, group);
	return most - (pos + most - first % most) % most;
}

/* The block that a chunk begins with, as often as it fits. */
void scst_fill_chunk(struct page *chunk, unsigned int chunk_size, unsigned int block)
{
	u8 *p = page_address(chunk);
	unsigned int at;

	for (at = block; at < chunk_size; at += block)
		memcpy(p + at, p, block);
}

/**
 * scst_fill_data() - a chunk as data to be written, again and again
 * @data: set
 * @sg: SCST_FILL_SEGMENTS entries for it
 * @chunk: memory that is not changed until it is written
 * @chunk_size: bytes of it
 * @left: bytes that are to be written in the end
 *
 * Return: bytes in @data: no more than fits into one write.
 */
u32 scst_fill_data(struct scst_data *data, struct scatterlist *sg, struct page *chunk, unsigned int chunk_size, u64 left)
{
	u32 len = min_t(u64, left, (u64)chunk_size * SCST_FILL_SEGMENTS), done = 0, n;
	unsigned int nr = 0;

	sg_init_table(sg, DIV_ROUND_UP(len, chunk_size));
	for (; done < len; done += n) {
		n = min(len - done, chunk_size);
		sg_set_page(&sg[nr++], chunk, n, 0);
	}
	*data = (struct scst_data) { .sgl = sg, .nents = nr, .len = len, .read_only = true };
	return len;
}

/* Who moves the information moves one chunk at a time. */
static void scst_sweep_write(struct scst_cmd *cmd, struct scst_sweep *sweep)
{
	u64 most = sweep->pi ? min_t(u64, sweep->left, sweep->chunk_size) : sweep->left;
	u8 shift = cmd->dev->geo.block_shift;
	u32 nr;

	sweep->piece = scst_fill_data(&cmd->data, sweep->sg, sweep->chunk, sweep->chunk_size, most);
	cmd->len = sweep->piece;
	if (!sweep->pi)
		return;
	nr = sweep->piece >> shift;
	scst_pi_repeat(cmd->dev->protection, sweep->tuple, (sweep->pos >> shift) - cmd->lba, sweep->pi, nr);
	sg_init_one(&sweep->pi_sg, sweep->pi, nr * SCST_PI_BYTES);
	cmd->prot = (struct scst_data) { .sgl = &sweep->pi_sg, .nents = 1, .len = nr * SCST_PI_BYTES };
	scst_pi_mark(cmd, scst_pi_none(sweep->tuple));
}

static void scst_sweep_execute(struct scst_cmd *cmd)
{
	struct scst_sweep *sweep = cmd->step_data;

	cmd->pos = sweep->pos;
	cmd->range_len = sweep->piece;
	cmd->action = sweep->action;
	cmd->dev->handler->execute(cmd);
}

/* It had to wait for its turn. */
static void scst_sweep_turn_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	struct scst_sweep *sweep = cmd->step_data;
	unsigned int noio = memalloc_noio_save();

	if (scst_cmd_aborted(cmd)) {
		scst_turn_end(&sweep->writer);
		scst_sweep_respond(cmd);
	} else {
		scst_sweep_execute(cmd);
	}
	memalloc_noio_restore(noio);
}

static void scst_sweep_piece(struct scst_cmd *cmd)
{
	struct scst_sweep *sweep = cmd->step_data;
	u8 shift = cmd->dev->geo.block_shift;

	if (sweep->action == SCST_ACTION_WRITE)
		scst_sweep_write(cmd, sweep);
	else
		sweep->piece = scst_clear_length(&cmd->dev->geo, sweep->pos, sweep->left);
	sweep->writer.turn.lba = sweep->pos >> shift;
	sweep->writer.turn.nblocks = sweep->piece >> shift;
	if (scst_turn_take(&sweep->writer))
		scst_sweep_execute(cmd);
}

/*
 * False: there is none any more.  Ranges that lie one behind the other are one: a backing gives groups of blocks back, and for some
 * each call is a transaction.
 */
static bool scst_sweep_next_range(const struct scst_cmd *cmd, struct scst_sweep *sweep)
{
	u8 shift = cmd->dev->geo.block_shift;
	u32 nblocks;
	u64 lba;

	for (; sweep->next < sweep->ranges; sweep->next++) {
		scst_unmap_range(page_address(sweep->chunk), sweep->next, &lba, &nblocks);
		if (!sweep->left)
			sweep->pos = lba << shift;
		else if (nblocks && lba << shift != sweep->pos + sweep->left)
			break;
		sweep->left += (u64)nblocks << shift;
	}
	return sweep->left;
}

static void scst_sweep_go(struct scst_cmd *cmd)
{
	if (scst_sweep_next_range(cmd, cmd->step_data))
		scst_sweep_piece(cmd);
	else
		scst_sweep_over(cmd);
}

static void scst_sweep_fill(struct scst_sweep *sweep)
{
	scst_fill_chunk(sweep->chunk, sweep->chunk_size, sweep->block);
	sweep->action = SCST_ACTION_WRITE;
}

/* A piece is done, or is not. */
static void scst_sweep_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	struct scst_sweep *sweep = cmd->step_data;
	unsigned int noio = memalloc_noio_save();

	if (scst_cmd_aborted(cmd)) {
		scst_sweep_respond(cmd);
	} else if (sweep->error == -EOPNOTSUPP && sweep->action == SCST_ACTION_ZERO) {
		scst_sweep_fill(sweep);
		scst_sweep_piece(cmd);
	} else if (sweep->error) {
		scst_sweep_fail(cmd, sweep->error);
	} else {
		sweep->pos += sweep->piece;
		sweep->left -= sweep->piece;
		scst_sweep_go(cmd);
	}
	memalloc_noio_restore(noio);
}

static void scst_sweep_step(struct scst_cmd *cmd, int error)
{
	struct scst_sweep *sweep = cmd->step_data;

	scst_turn_end(&sweep->writer);
	sweep->error = error;
	scst_cmd_to_thread(cmd, scst_sweep_job);
}

/* On a thread of the device's; @take: what is to be done goes into the sweep, or false: nothing, sense data are set. */
static void scst_sweep_begin(struct scst_job *job, bool (*take)(struct scst_cmd *cmd, struct scst_sweep *sweep))
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	unsigned int noio = memalloc_noio_save();
	struct scst_sweep *sweep = scst_sweep_alloc(cmd);

	if (!sweep) {
		scst_cmd_errno(cmd, -ENOMEM);
		scst_cmd_respond(cmd);
	} else if (scst_cmd_aborted(cmd) || !take(cmd, sweep)) {
		scst_sweep_free(sweep);
		scst_cmd_respond(cmd);
	} else {
		sweep->writer.dev = cmd->dev;
		sweep->writer.cmd = cmd;
		sweep->writer.fn = scst_sweep_turn_job;
		cmd->step_data = sweep;
		scst_steps_begin(cmd, scst_sweep_step);
		scst_sweep_go(cmd);
	}
	memalloc_noio_restore(noio);
}

/* --- WRITE SAME ---------------------------------------------------------------------------- */

/* NDOB: there is no block of data, but zeroes are meant. */
bool scst_same_has_data(const struct scst_cmd *cmd)
{
	return !(scst_cdb_flags(cmd) & 0x01);
}

/*
 * The block, and the protection information that comes with it: all ones with NDOB, whether it is told or not.  False: it is
 * wrong, or there is no memory; status and sense data are set.
 */
static bool scst_same_fetch(struct scst_cmd *cmd, struct scst_sweep *sweep)
{
	bool has_data = scst_same_has_data(cmd);
	u8 *p = page_address(sweep->chunk);

	if (cmd->dev->protection && (!has_data || scst_pi_field(cmd))) {
		sweep->pi = (u8 *)__get_free_page(GFP_NOIO);
		if (!sweep->pi) {
			scst_cmd_errno(cmd, -ENOMEM);
			return false;
		}
	}
	if (has_data && sweep->pi)
		return scst_pi_fetch(cmd, p, sweep->tuple);
	memset(sweep->tuple, 0xff, SCST_PI_BYTES);
	if (has_data)
		scst_cmd_fetch(cmd, p, sweep->block);
	else
		memset(p, 0, sweep->block);
	return true;
}

/* What is neither written nor given back has no protection information: not if it came with some, or is to get it. */
static bool scst_same_protected(const struct scst_cmd *cmd, const struct scst_sweep *sweep)
{
	if (!cmd->dev->protection)
		return false;
	return sweep->pi ? !scst_pi_none(sweep->tuple) : !cmd->unmap;
}

/*
 * Zeroes may be had without writing them, and may be given back if that is asked for, for then they are read from where there is
 * nothing.  Anything else is written: the block is not changed while it is, the initiator may change it.
 */
static bool scst_same_take(struct scst_cmd *cmd, struct scst_sweep *sweep)
{
	if (!scst_same_fetch(cmd, sweep))
		return false;
	sweep->pos = cmd->pos;
	sweep->left = (u64)cmd->nblocks << cmd->dev->geo.block_shift;
	sweep->action = SCST_ACTION_ZERO;
	cmd->unmap = scst_cdb_flags(cmd) & 0x08;
	cmd->fua = false;
	if (memchr_inv(page_address(sweep->chunk), 0, sweep->block) || scst_same_protected(cmd, sweep))
		scst_sweep_fill(sweep);
	return true;
}

static void scst_same_job(struct scst_job *job)
{
	scst_sweep_begin(job, scst_same_take);
}

/* WRITE SAME: pinned, all data-out is there.  Any context. */
void scst_same_begin(struct scst_cmd *cmd)
{
	scst_cmd_to_thread(cmd, scst_same_job);
}

/* --- UNMAP ----------------------------------------------------------------------------------- */

/* A list of no length at all asks for nothing, and that is done. */
bool scst_thin_prepare_unmap(struct scst_cmd *cmd)
{
	if (!scst_op_offered(cmd->op, cmd->dev))
		scst_cmd_refuse_opcode(cmd);
	else if (cmd->xfer_len > cmd->len || (cmd->xfer_len && cmd->xfer_len < SCST_UNMAP_HEADER))
		scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	else
		return true;
	return false;
}

static void scst_unmap_refuse(struct scst_cmd *cmd, int fault, u16 byte)
{
	switch (fault) {
	case SCST_UNMAP_CUT:
		scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
		break;
	case SCST_UNMAP_FIELD:
		scst_cmd_invalid_list(cmd, byte, 7);
		break;
	default:
		scst_cmd_sense_list(cmd, SCST_SENSE_LBA_OUT_OF_RANGE, byte, 7);
	}
}

/* The list is copied, for the initiator may change it while it is used. */
static bool scst_unmap_take(struct scst_cmd *cmd, struct scst_sweep *sweep)
{
	u32 most = SCST_UNMAP_HEADER + SCST_UNMAP_DESCS * SCST_UNMAP_DESC;
	const struct scst_unmap_limits limits = {
		.nblocks	= READ_ONCE(cmd->dev->geo.nblocks),
		.max_blocks	= SCST_UNMAP_BYTES >> cmd->dev->geo.block_shift,
		.max_descs	= SCST_UNMAP_DESCS,
	};
	u16 byte = 0;
	int ranges;

	scst_cmd_fetch(cmd, page_address(sweep->chunk), min(cmd->xfer_len, most));
	ranges = scst_unmap_check(page_address(sweep->chunk), cmd->xfer_len, &limits, &byte);
	if (ranges < 0) {
		scst_unmap_refuse(cmd, ranges, byte);
		return false;
	}
	sweep->ranges = ranges;
	sweep->action = SCST_ACTION_UNMAP;
	return true;
}

static_assert(SCST_UNMAP_HEADER + SCST_UNMAP_DESCS * SCST_UNMAP_DESC <= PAGE_SIZE);

static void scst_unmap_job(struct scst_job *job)
{
	scst_sweep_begin(job, scst_unmap_take);
}

/**
 * scst_thin_unmap() - UNMAP
 * @cmd: the command
 */
void scst_thin_unmap(struct scst_cmd *cmd)
{
	if (!cmd->xfer_len) {
		scst_cmd_good(cmd);
		return;
	}
	WRITE_ONCE(cmd->nexus->wrote, true);
	scst_cmd_to_thread(cmd, scst_unmap_job);
}

/* --- GET LBA STATUS --------------------------------------------------------------------------- */

#define STATUS_HEADER	8
#define STATUS_DESC	16
#define STATUS_MAX	16	/* extents in one answer; who wants to know more asks again */

#define STATUS_MAPPED		0	/* or nobody knows */
#define STATUS_DEALLOCATED	1

bool scst_thin_prepare_status(struct scst_cmd *cmd)
{
	if (!scst_op_offered(cmd->op, cmd->dev)) {
		scst_cmd_refuse_opcode(cmd);
		return false;
	}
	cmd->lba = get_unaligned_be64(cmd->cdb + 2);
	if (cmd->lba >= READ_ONCE(cmd->dev->geo.nblocks))
		return scst_sbc_out_of_range(cmd);
	return true;
}

/* What is there from @lba on, and for how many blocks: *@nblocks, at most as it was.  A negative errno, or whether it is mapped. */
static int scst_status_at(struct scst_device *dev, u64 lba, u64 *nblocks)
{
	u8 shift = dev->geo.block_shift;
	u64 pos = lba << shift, end;
	int mapped;

	if (!dev->handler->mapped)
		return 1;
	mapped = dev->handler->mapped(dev, pos, &end);
	if (mapped < 0)
		return mapped;
	if (WARN_ON_ONCE(end <= pos || end & ((1U << shift) - 1)))
		return -EIO;
	*nblocks = min(*nblocks, (end - pos) >> shift);
	return mapped;
}

/* Up to @max extents; returns how many, or a negative errno. */
static int scst_status_fill(struct scst_device *dev, u64 lba, u8 *desc, unsigned int max)
{
	u64 all = READ_ONCE(dev->geo.nblocks), nblocks;
	unsigned int nr;
	int mapped;

	for (nr = 0; nr < max && lba < all; nr++, lba += nblocks, desc += STATUS_DESC) {
		nblocks = min_t(u64, all - lba, U32_MAX);
		mapped = scst_status_at(dev, lba, &nblocks);
		if (mapped < 0)
			return mapped;
		put_unaligned_be64(lba, desc);
		put_unaligned_be32(nblocks, desc + 8);
		desc[12] = mapped ? STATUS_MAPPED : STATUS_DEALLOCATED;
	}
	return nr;
}

static void scst_status_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	u8 buf[STATUS_HEADER + STATUS_MAX * STATUS_DESC] = { };
	u32 room = cmd->len > STATUS_HEADER ? (cmd->len - STATUS_HEADER) / STATUS_DESC : 0;
	unsigned int noio = memalloc_noio_save();
	int nr = scst_status_fill(cmd->dev, cmd->lba, buf + STATUS_HEADER, clamp_t(u32, room, 1, STATUS_MAX));

	memalloc_noio_restore(noio);
	if (nr < 0) {
		scst_cmd_errno(cmd, nr);
		scst_cmd_respond(cmd);
		return;
	}
	put_unaligned_be32(nr * STATUS_DESC + STATUS_HEADER - 4, buf);
	scst_cmd_reply(cmd, buf, STATUS_HEADER + nr * STATUS_DESC);
}

/**
 * scst_thin_status() - GET LBA STATUS(16)
 * @cmd: the command
 */
void scst_thin_status(struct scst_cmd *cmd)
{
	if (cmd->len)
		scst_cmd_to_thread(cmd, scst_status_job);
	else
		scst_cmd_good(cmd);
}
