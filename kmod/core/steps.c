// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands that are made of several actions of the device handler: each ends in cmd->step() instead of a response.
 *
 * Nobody waits for any of them.  What has to be done between two actions (comparing, copying) is done on the device's own
 * threads; step() itself may be called in hard interrupt context.
 */
#include "commands.h"

/* --- SYNCHRONIZE CACHE, stable WRITE, READ with FUA ------------------------------------------------- */

void scst_steps_begin(struct scst_cmd *cmd, void (*step)(struct scst_cmd *cmd, int error))
{
	cmd->step = step;
	set_bit(SCST_CMD_STEPS, &cmd->flags);
}

/* The next scst_cmd_done() is the last. */
void scst_steps_end(struct scst_cmd *cmd)
{
	clear_bit(SCST_CMD_STEPS, &cmd->flags);
}

/*
 * An error of writing back is told to the first who asks the file system; here everybody who may have written what is lost hears of
 * it once.
 */
int scst_lost(struct scst_cmd *cmd)
{
	const struct scst_handler *handler = cmd->dev->handler;
	struct scst_nexus *nexus = cmd->nexus;
	int lost = 0;

	if (handler->wb_error)
		lost = handler->wb_error(cmd->dev, &nexus->wb_since);
	/* Before the backing was closed. */
	if (unlikely(READ_ONCE(nexus->lost)) && xchg(&nexus->lost, false))
		lost = -EIO;
	return lost;
}

/*
 * What is lost is told once, and a MEDIUM ERROR would not be the end of it: Linux sends the command again, which ends GOOD.  A
 * HARDWARE ERROR it believes.
 */
static void scst_stable_end(struct scst_cmd *cmd, int lost, int error)
{
	scst_steps_end(cmd);
	if (scst_error_is_medium(lost)) {
		scst_cmd_sense(cmd, SCST_SENSE_WRITE_LOST);
		scst_cmd_respond(cmd);
	} else {
		scst_cmd_done(cmd, lost ?: error);
	}
}

/* The end of what had to be stable.  Any context. */
void scst_stable_step(struct scst_cmd *cmd, int error)
{
	scst_stable_end(cmd, scst_cmd_aborted(cmd) ? 0 : scst_lost(cmd), error);
}

/* Make @len bytes at @pos (0: to the end) stable, and end the command.  Pinned; context as cmd->now says. */
void scst_sync(struct scst_cmd *cmd, u64 pos, u64 len)
{
	cmd->pos = pos;
	cmd->range_len = len;
	scst_steps_begin(cmd, scst_stable_step);
	scst_cmd_to_handler(cmd, SCST_ACTION_SYNC);
}

/* A write that is stable before its status. */
void scst_write_stable(struct scst_cmd *cmd)
{
	cmd->fua = true;
	scst_steps_begin(cmd, scst_stable_step);
	scst_cmd_to_handler(cmd, SCST_ACTION_WRITE);
}

static void scst_write_verify_step(struct scst_cmd *cmd, int error)
{
	bool aborted = scst_cmd_aborted(cmd);
	int lost = aborted ? 0 : scst_lost(cmd);

	if (aborted || lost || error) {
		scst_stable_end(cmd, lost, error);
		return;
	}
	cmd->fua = false;
	scst_steps_end(cmd);
	scst_verify_begin(cmd);
}

/* A write that is stable, and then read again. */
void scst_write_verify(struct scst_cmd *cmd)
{
	cmd->fua = true;
	scst_steps_begin(cmd, scst_write_verify_step);
	scst_cmd_to_handler(cmd, SCST_ACTION_WRITE);
}

static void scst_read_fua_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);

	if (scst_cmd_aborted(cmd))
		scst_cmd_respond(cmd);
	else
		scst_cmd_to_handler(cmd, SCST_ACTION_READ);
}

static void scst_read_fua_step(struct scst_cmd *cmd, int error)
{
	scst_steps_end(cmd);
	if (error) {
		scst_cmd_done(cmd, error);
		return;
	}
	scst_cmd_to_thread(cmd, scst_read_fua_job);
}

/* What is newer in a cache goes to the medium first (SBC-3 4.15.3): what is read then is what the medium has. */
void scst_read_fua(struct scst_cmd *cmd)
{
	cmd->range_len = cmd->len;
	scst_steps_begin(cmd, scst_read_fua_step);
	scst_cmd_to_handler(cmd, SCST_ACTION_SYNC);
}

/* --- reading a range piece by piece, into memory of our own ----------------------------------------------- */

/**
 * struct scst_walk - a range of the medium that is read piece by piece
 * @data: the command's own data
 * @pos: of the range
 * @total: bytes
 * @done: bytes that are read and right
 * @piece: bytes of the piece that is being read
 * @chunk_size: of @chunk, bytes
 * @chunk: memory that it is read into
 * @expect: BYTCHK_ONE: the block that all are compared with, as often as it fits into a chunk
 * @sg: @chunk
 * @error: of the piece
 * @first_error: the command's own, if it is a read that has failed
 * @by_block: look for the block that can't be read
 * @bytchk: enum scst_bytchk
 * @then: what follows instead of a response, or NULL
 * @arg: cmd->step_data of who wants that
 */
struct scst_walk {
	struct scst_data data;
	u64 pos;
	u64 total;
	u64 done;
	u32 piece;
	unsigned int chunk_size;
	struct page *chunk;
	struct page *expect;
	struct scatterlist sg;
	int error;
	int first_error;
	bool by_block;
	u8 bytchk;
	void (*then)(struct scst_cmd *cmd);
	void *arg;
};

static void scst_walk_step(struct scst_cmd *cmd, int error);

static void scst_walk_free(struct scst_walk *walk)
{
	if (walk->chunk)
		scst_chunk_put(walk->chunk);
	if (walk->expect)
		scst_chunk_put(walk->expect);
	kfree(walk);
}

/* Status and sense data are set, or the status is GOOD. */
static void scst_walk_end(struct scst_cmd *cmd)
{
	struct scst_walk *walk = cmd->step_data;
	void (*then)(struct scst_cmd *cmd) = walk->then ?: scst_cmd_respond;

	cmd->data = walk->data;
	cmd->step_data = walk->arg;
	scst_steps_end(cmd);
	scst_walk_free(walk);
	then(cmd);
}

static void scst_walk_read(struct scst_cmd *cmd)
{
	struct scst_walk *walk = cmd->step_data;
	u32 most = walk->by_block ? 1U << cmd->dev->geo.block_shift : walk->chunk_size;

	walk->piece = min_t(u64, walk->total - walk->done, most);
	sg_init_table(&walk->sg, 1);
	sg_set_page(&walk->sg, walk->chunk, walk->piece, 0);
	cmd->data = (struct scst_data) { .sgl = &walk->sg, .nents = 1, .len = walk->piece };
	cmd->pos = walk->pos + walk->done;
	cmd->len = walk->piece;
	cmd->action = SCST_ACTION_READ;
	cmd->dev->handler->execute(cmd);
}

static u64 scst_walk_lba(const struct scst_cmd *cmd, const struct scst_walk *walk)
{
	return (walk->pos + walk->done) >> cmd->dev->geo.block_shift;
}

/* What is before the bad block is sent with the sense data: initiators take as much of a read as has been moved. */
static void scst_walk_keep_good(struct scst_cmd *cmd)
{
	struct scst_walk *walk = cmd->step_data;

	if (!walk->first_error)
		return;
	cmd->len = walk->done;
	set_bit(SCST_CMD_KEEP_LEN, &cmd->flags);
}

/* The piece could not be read: find out which block, unless the error is of another kind. */
static void scst_walk_failed(struct scst_cmd *cmd)
{
	struct scst_walk *walk = cmd->step_data;

	if (!scst_error_has_block(walk->error)) {
		scst_cmd_errno(cmd, walk->error);
		scst_walk_end(cmd);
	} else if (walk->piece > 1U << cmd->dev->geo.block_shift) {
		walk->by_block = true;
		scst_walk_read(cmd);
	} else {
		scst_cmd_errno(cmd, walk->error);
		scst_cmd_sense_info_add(cmd, scst_walk_lba(cmd, walk));
		scst_walk_keep_good(cmd);
		scst_walk_end(cmd);
	}
}

/* All was read.  A read that had failed has failed all the same, but at no block that we could name. */
static void scst_walk_over(struct scst_cmd *cmd)
{
	struct scst_walk *walk = cmd->step_data;

	cmd->len = walk->data.owner ? min_t(u64, cmd->expected_len, cmd->xfer_len) : 0;
	if (walk->first_error)
		scst_cmd_errno(cmd, walk->first_error);
	else
		cmd->status = SAM_STAT_GOOD;
	scst_walk_end(cmd);
}

/* Offset of the first difference, or @len. */
static unsigned int scst_bytes_alike(const u8 *a, const u8 *b, unsigned int len)
{
	unsigned int i = 0;

	if (!memcmp(a, b, len))
		return len;
	while (a[i] == b[i])
		i++;
	return i;
}

/* Compare the piece with the command's data, from @done on, segment by segment. */
static unsigned int scst_walk_compare_all(struct scst_walk *walk)
{
	const u8 *read = page_address(walk->chunk);
	struct sg_mapping_iter miter;
	unsigned int at = 0, n, same;

	sg_miter_start(&miter, walk->data.sgl, walk->data.nents, SG_MITER_ATOMIC | SG_MITER_FROM_SG);
	if (!sg_miter_skip(&miter, walk->done))
		goto out;
	while (at < walk->piece && sg_miter_next(&miter)) {
		n = min_t(unsigned int, miter.length, walk->piece - at);
		same = scst_bytes_alike(read + at, miter.addr, n);
		at += same;
		if (same < n)
			break;
	}
out:
	sg_miter_stop(&miter);
	return at;
}

/*
 * The piece was read.  Nobody knows what a read that has failed has moved, so what can be read is moved once more; the
 * data of VERIFY is compared.  False: status and sense data are set, INFORMATION is the offset in bytes of the first
 * difference in the initiator's data (SBC-3 5.34).
 */
static bool scst_walk_use(struct scst_cmd *cmd)
{
	struct scst_walk *walk = cmd->step_data;
	unsigned int same = walk->piece;

	if (walk->first_error)
		sg_pcopy_from_buffer(walk->data.sgl, walk->data.nents, page_address(walk->chunk), walk->piece, walk->done);
	if (walk->bytchk == BYTCHK_NONE)
		return true;
	if (walk->bytchk == BYTCHK_ALL)
		same = scst_walk_compare_all(walk);
	else
		same = scst_bytes_alike(page_address(walk->chunk), page_address(walk->expect), walk->piece);
	if (same == walk->piece)
		return true;
	scst_cmd_sense_info(cmd, SCST_SENSE_MISCOMPARE, scst_pi_offset(cmd, walk->done + same));
	return false;
}

/* A piece was read, or was not. */
static void scst_walk_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	struct scst_walk *walk = cmd->step_data;
	unsigned int noio = memalloc_noio_save();

	if (scst_cmd_aborted(cmd)) {
		scst_walk_end(cmd);
	} else if (walk->error) {
		scst_walk_failed(cmd);
	} else if (!scst_walk_use(cmd)) {
		scst_walk_end(cmd);
	} else {
		walk->done += walk->piece;
		if (walk->done < walk->total)
			scst_walk_read(cmd);
		else
			scst_walk_over(cmd);
	}
	memalloc_noio_restore(noio);
}

static void scst_walk_step(struct scst_cmd *cmd, int error)
{
	struct scst_walk *walk = cmd->step_data;

	walk->error = error;
	scst_cmd_to_thread(cmd, scst_walk_job);
}

/* The block of BYTCHK_ONE, as often as it fits: the chunk that is compared with it begins with a block. */
static bool scst_walk_fill_expect(struct scst_cmd *cmd, struct scst_walk *walk)
{
	unsigned int block = 1U << cmd->dev->geo.block_shift, size, at;
	u8 *p;

	walk->expect = scst_chunk_get(&size);
	if (!walk->expect)
		return false;
	walk->chunk_size = min(walk->chunk_size, size);
	p = page_address(walk->expect);
	sg_copy_to_buffer(walk->data.sgl, walk->data.nents, p, block);
	for (at = block; at < walk->chunk_size; at += block)
		memcpy(p + at, p, block);
	return true;
}

static struct scst_walk *scst_walk_alloc(struct scst_cmd *cmd, u8 bytchk)
{
	struct scst_walk *walk = kzalloc(sizeof(*walk), GFP_NOIO);

	if (!walk)
		return NULL;
	walk->data = cmd->data;
	walk->pos = cmd->pos;
	walk->first_error = cmd->walk_error;
	walk->bytchk = bytchk;
	walk->arg = cmd->step_data;
	walk->chunk = scst_chunk_get(&walk->chunk_size);
	if (walk->chunk && (bytchk != BYTCHK_ONE || scst_walk_fill_expect(cmd, walk)))
		return walk;
	scst_walk_free(walk);
	return NULL;
}

static void scst_walk_begin(struct scst_cmd *cmd, struct scst_walk *walk, u64 total)
{
	walk->total = total;
	cmd->step_data = walk;
	scst_steps_begin(cmd, scst_walk_step);
	scst_walk_read(cmd);
}

static void scst_walk_begin_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	unsigned int noio = memalloc_noio_save();
	struct scst_walk *walk = scst_walk_alloc(cmd, cmd->walk_error ? BYTCHK_NONE : scst_verify_bytchk(cmd));

	if (!walk) {
		scst_cmd_errno(cmd, cmd->walk_error ?: -ENOMEM);
		scst_cmd_respond(cmd);
	} else {
		scst_walk_begin(cmd, walk, cmd->walk_error ? cmd->len : (u64)cmd->nblocks << cmd->dev->geo.block_shift);
	}
	memalloc_noio_restore(noio);
}

static void scst_walk_then(struct scst_cmd *cmd, u32 len, u8 bytchk, void (*then)(struct scst_cmd *cmd))
{
	struct scst_walk *walk;

	cmd->walk_error = 0;
	walk = scst_walk_alloc(cmd, bytchk);
	if (!walk) {
		scst_cmd_errno(cmd, -ENOMEM);
		then(cmd);
		return;
	}
	walk->then = then;
	scst_walk_begin(cmd, walk, len);
}

/**
 * scst_compare() - compare the medium with a command's data
 * @cmd: the command, pinned; pos is set
 * @len: bytes, of the medium at pos and from the beginning of the data
 * @then: goes on: GOOD if they are equal, else status and sense data are set; or it was aborted.  Process context
 *
 * On the device's threads, with memory allocation limited to GFP_NOIO.
 */
void scst_compare(struct scst_cmd *cmd, u32 len, void (*then)(struct scst_cmd *cmd))
{
	scst_walk_then(cmd, len, BYTCHK_ALL, then);
}

/* ... only read it, as scst_compare() does. */
void scst_read_through(struct scst_cmd *cmd, u32 len, void (*then)(struct scst_cmd *cmd))
{
	scst_walk_then(cmd, len, BYTCHK_NONE, then);
}

/* VERIFY: pinned, all data-out is there.  Any context. */
void scst_verify_begin(struct scst_cmd *cmd)
{
	cmd->walk_error = 0;
	scst_cmd_to_thread(cmd, scst_walk_begin_job);
}

/* A read has failed: which block is it?  Initiators take what is before it, and repair it alone. */
bool scst_search_wanted(const struct scst_cmd *cmd, int error)
{
	return cmd->action == SCST_ACTION_READ && scst_error_has_block(error) && cmd->pinned && !scst_cmd_aborted(cmd);
}

/* Any context. */
void scst_search_begin(struct scst_cmd *cmd, int error)
{
	cmd->walk_error = error;
	scst_cmd_to_thread(cmd, scst_walk_begin_job);
}
