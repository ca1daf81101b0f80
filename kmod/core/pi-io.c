// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands that move protection information (SBC-3 4.22): RDPROTECT, WRPROTECT or VRPROTECT is not 000b.
 *
 * These take a way of their own, piece by piece on the device's own threads: a piece is read with its information, checked, and copied to
 * the initiator; or copied from there, checked, and written.  So what is checked is what is written: initiators may change their memory at
 * any time.
 */
#include "pi.h"
#include <linux/sched/mm.h>

/* --- piece by piece ------------------------------------------------------------------------------- */

enum scst_pi_phase {
	SCST_PI_SYNC,		/* what is newer in a cache, before it is read */
	SCST_PI_READ,
	SCST_PI_WRITE,
	SCST_PI_STABLE,		/* what was written, before it is verified */
	SCST_PI_VERIFY,
	SCST_PI_OR_READ,	/* ORWRITE: a piece is read and changed, and then written, before the next is read */
	SCST_PI_OR_WRITE,
};

/* Blocks and their information. */
struct scst_pi_memory {
	struct page *chunk;
	u8 *pi;
	unsigned int size;	/* of the chunk */
};

/**
 * struct scst_pi_io - a command that moves protection information
 * @data: the command's own
 * @prot: the command's own
 * @rule: what is checked; its reference tag is that of the first block
 * @ours: blocks at hand, as they are on the medium
 * @theirs: VERIFY: what the initiator says of them; ORWRITE: what the initiator has
 * @sg: the blocks at hand
 * @pi_sg: their information
 * @pos: byte at which the first block is
 * @total: blocks
 * @done: of them
 * @piece: at hand
 * @most: of a piece
 * @len: cmd->len of the whole
 * @skip: blocks of the initiator's data before those that are meant
 * @end: what follows before the response, or NULL
 * @arg: cmd->step_data of who wants that
 * @bytchk: VERIFY: enum scst_bytchk
 * @phase: enum scst_pi_phase
 * @error: of the last action
 */
struct scst_pi_io {
	struct scst_data data;
	struct scst_data prot;
	struct scst_pi_rule rule;
	struct scst_pi_memory ours;
	struct scst_pi_memory theirs;
	struct scatterlist sg;
	struct scatterlist pi_sg;
	u64 pos;
	u32 total;
	u32 done;
	u32 piece;
	u32 most;
	u32 len;
	u32 skip;
	void (*end)(struct scst_cmd *cmd);
	void *arg;
	u8 bytchk;
	u8 phase;
	int error;
};

static bool scst_pi_memory_get(struct scst_pi_memory *memory)
{
	memory->chunk = scst_chunk_get(&memory->size);
	memory->pi = (u8 *)__get_free_page(GFP_NOIO);
	return memory->chunk && memory->pi;
}

static void scst_pi_memory_put(struct scst_pi_memory *memory)
{
	if (memory->chunk)
		scst_chunk_put(memory->chunk);
	free_page((unsigned long)memory->pi);
}

static void scst_pi_io_free(struct scst_pi_io *io)
{
	scst_pi_memory_put(&io->ours);
	scst_pi_memory_put(&io->theirs);
	kfree(io);
}

static struct scst_pi_io *scst_pi_io_alloc(struct scst_cmd *cmd, u8 phase)
{
	struct scst_pi_io *io = kzalloc(sizeof(*io), GFP_NOIO);
	u8 shift = cmd->dev->geo.block_shift;
	bool two;

	if (!io)
		return NULL;
	io->data = cmd->data;
	io->prot = cmd->prot;
	io->pos = cmd->pos;
	io->total = cmd->nblocks;
	io->len = cmd->len;
	io->phase = phase;
	io->arg = cmd->step_data;
	if (cmd->op->execute == scst_sbc_verify || cmd->op->execute == scst_sbc_write_verify)
		io->bytchk = scst_verify_bytchk(cmd);
	two = io->bytchk || phase == SCST_PI_OR_READ;
	scst_pi_expect(cmd, &io->rule);
	if (scst_pi_memory_get(&io->ours) && (!two || scst_pi_memory_get(&io->theirs))) {
		io->most = min_t(u32, two ? min(io->ours.size, io->theirs.size) >> shift : io->ours.size >> shift, SCST_PI_BLOCKS);
		return io;
	}
	scst_pi_io_free(io);
	return NULL;
}

/* Status and sense data are set, or it is aborted. */
static void scst_pi_end(struct scst_cmd *cmd)
{
	struct scst_pi_io *io = cmd->step_data;
	void (*end)(struct scst_cmd *cmd) = io->end;

	scst_pi_unmark(cmd);
	cmd->data = io->data;
	cmd->prot = io->prot;
	cmd->step_data = io->arg;
	scst_steps_end(cmd);
	scst_pi_io_free(io);
	if (end)
		end(cmd);
}

static void scst_pi_respond(struct scst_cmd *cmd)
{
	scst_pi_end(cmd);
	scst_cmd_respond(cmd);
}

/* --- from and to the initiator -------------------------------------------------------------------- */

/* The next bytes of its data, to or from @buf. */
static void scst_pi_copy(struct sg_mapping_iter *miter, u8 *buf, u32 len, bool to_initiator)
{
	while (len && sg_miter_next(miter)) {
		u32 n = min_t(size_t, len, miter->length);

		if (to_initiator)
			memcpy(miter->addr, buf, n);
		else
			memcpy(buf, miter->addr, n);
		miter->consumed = n;
		buf += n;
		len -= n;
	}
}

/* The whole data has @room bytes; what is behind them is not touched. */
static void scst_pi_move_between(struct scst_pi_io *io, struct scst_pi_memory *memory, u32 first, u32 nr, u32 room, bool to_initiator)
{
	unsigned int flags = SG_MITER_ATOMIC | (to_initiator ? SG_MITER_TO_SG : SG_MITER_FROM_SG);
	u32 block = io->rule.block, at = first * (block + SCST_PI_SIZE), i, n;
	struct sg_mapping_iter miter;

	if (at >= room)
		return;
	room -= at;
	sg_miter_start(&miter, io->data.sgl, io->data.nents, flags);
	sg_miter_skip(&miter, at);
	for (i = 0; i < nr; i++) {
		n = min(block, room);
		scst_pi_copy(&miter, (u8 *)page_address(memory->chunk) + i * block, n, to_initiator);
		room -= n;
		n = min_t(u32, SCST_PI_SIZE, room);
		scst_pi_copy(&miter, memory->pi + i * SCST_PI_SIZE, n, to_initiator);
		room -= n;
	}
	sg_miter_stop(&miter);
}

/* The driver's hardware would make it. */
static void scst_pi_insert(const struct scst_pi_io *io, const u8 *data, u8 *pi, u32 first, u32 nr)
{
	struct scst_pi_rule rule = io->rule;

	rule.ref_tag += first;
	scst_pi_generate(&rule, data, pi, nr);
}

static void scst_pi_move_apart(struct scst_pi_io *io, struct scst_pi_memory *memory, u32 first, u32 nr, u32 room, bool to_initiator)
{
	u32 block = io->rule.block, at = (io->skip + first) * block, pi_at = (io->skip + first) * SCST_PI_SIZE;
	u8 *data = page_address(memory->chunk);

	if (at >= room)
		return;
	if (to_initiator) {
		sg_pcopy_from_buffer(io->data.sgl, io->data.nents, data, min(nr * block, room - at), at);
		if (io->prot.len)
			sg_pcopy_from_buffer(io->prot.sgl, io->prot.nents, memory->pi, nr * SCST_PI_SIZE, pi_at);
	} else {
		sg_pcopy_to_buffer(io->data.sgl, io->data.nents, data, min(nr * block, room - at), at);
		if (io->prot.len)
			sg_pcopy_to_buffer(io->prot.sgl, io->prot.nents, memory->pi, nr * SCST_PI_SIZE, pi_at);
		else
			scst_pi_insert(io, data, memory->pi, first, nr);
	}
}

/* Blocks of the initiator's from @first on of those that are meant. */
static void scst_pi_move(struct scst_cmd *cmd, struct scst_pi_memory *memory, u32 first, u32 nr, bool to_initiator)
{
	struct scst_pi_io *io = cmd->step_data;

	if (scst_pi_apart(cmd))
		scst_pi_move_apart(io, memory, first, nr, io->len, to_initiator);
	else
		scst_pi_move_between(io, memory, io->skip + first, nr, io->len, to_initiator);
}

/* --- checks ----------------------------------------------------------------------------------------- */

/* False: status and sense data are set, with the LBA of the block that is wrong; what is before it is there already. */
static bool scst_pi_right(struct scst_cmd *cmd, const struct scst_pi_memory *memory, u32 nr)
{
	struct scst_pi_io *io = cmd->step_data;
	struct scst_pi_rule rule = io->rule;
	enum scst_pi_fault fault;
	u32 bad;

	rule.ref_tag += io->done;
	rule.escapes = memory == &io->ours && io->phase != SCST_PI_WRITE;
	fault = scst_pi_check(&rule, page_address(memory->chunk), memory->pi, nr, &bad);
	if (!fault)
		return true;
	if (io->phase == SCST_PI_READ)
		scst_pi_move(cmd, &io->ours, io->done, bad, true);
	scst_cmd_errno(cmd, scst_pi_errno(fault));
	scst_cmd_sense_info_add(cmd, cmd->lba + io->done + bad);
	if (io->phase == SCST_PI_READ) {
		cmd->len = min(io->len, (io->done + bad) * scst_pi_stride(cmd));
		set_bit(SCST_CMD_KEEP_LEN, &cmd->flags);
	}
	return false;
}

/* BYTCHK: false: sense data are set; INFORMATION is the offset of the first difference in the initiator's data. */
static bool scst_pi_same(struct scst_cmd *cmd, u32 nr)
{
	static const u8 all[SCST_PI_SIZE] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	struct scst_pi_io *io = cmd->step_data;
	const u8 *ours = page_address(io->ours.chunk), *theirs = page_address(io->theirs.chunk);
	u32 block = io->rule.block, stride = scst_pi_stride(cmd), i, j, same;
	u8 mask[SCST_PI_SIZE];

	scst_pi_compare_mask(scst_pi_field(cmd), scst_pi_ato(cmd->dev), mask);
	for (i = 0; i < nr; i++) {
		j = io->bytchk == BYTCHK_ONE ? 0 : i;
		same = scst_pi_alike(ours + i * block, theirs + j * block, block, all);
		if (same == block)
			same += scst_pi_alike(io->ours.pi + i * SCST_PI_SIZE, io->theirs.pi + j * SCST_PI_SIZE, SCST_PI_SIZE, mask);
		if (same < block + SCST_PI_SIZE) {
			scst_cmd_sense_info(cmd, SCST_SENSE_MISCOMPARE, (u64)(io->done + i) * stride + same);
			return false;
		}
	}
	return true;
}

/* One block stands for all, and so does its reference tag: of that only the first can be right. */
static bool scst_pi_verify_theirs(struct scst_cmd *cmd)
{
	struct scst_pi_io *io = cmd->step_data;

	if (io->bytchk == BYTCHK_ONE) {
		if (io->done)
			return true;
		scst_pi_move(cmd, &io->theirs, 0, 1, false);
		return scst_pi_right(cmd, &io->theirs, 1);
	}
	scst_pi_move(cmd, &io->theirs, io->done, io->piece, false);
	return scst_pi_right(cmd, &io->theirs, io->piece);
}

/* What was read or what the initiator has, with the tags that the initiator has. */
static bool scst_pi_combine(struct scst_cmd *cmd)
{
	struct scst_pi_io *io = cmd->step_data;
	u8 *ours = page_address(io->ours.chunk), *theirs = page_address(io->theirs.chunk);
	u32 len = io->piece * io->rule.block, i;

	scst_pi_move(cmd, &io->theirs, io->done, io->piece, false);
	if (!scst_pi_right(cmd, &io->theirs, io->piece))
		return false;
	for (i = 0; i < len; i++)
		ours[i] |= theirs[i];
	memcpy(io->ours.pi, io->theirs.pi, io->piece * SCST_PI_SIZE);
	scst_pi_regenerate(ours, io->rule.block, io->ours.pi, io->piece);
	return true;
}

/* A piece was read.  False: status and sense data are set. */
static bool scst_pi_use(struct scst_cmd *cmd)
{
	struct scst_pi_io *io = cmd->step_data;

	if (!scst_pi_right(cmd, &io->ours, io->piece))
		return false;
	if (io->phase == SCST_PI_READ)
		scst_pi_move(cmd, &io->ours, io->done, io->piece, true);
	else if (io->phase == SCST_PI_OR_READ)
		return scst_pi_combine(cmd);
	else if (io->bytchk)
		return scst_pi_verify_theirs(cmd) && scst_pi_same(cmd, io->piece);
	return true;
}

/* All that the initiator has is looked at before any is written.  False: status and sense data are set. */
static bool scst_pi_all_right(struct scst_cmd *cmd)
{
	struct scst_pi_io *io = cmd->step_data;
	bool right = true;

	for (io->done = 0; right && io->done < io->total; io->done += io->piece) {
		io->piece = min(io->total - io->done, io->most);
		scst_pi_move(cmd, &io->ours, io->done, io->piece, false);
		right = scst_pi_right(cmd, &io->ours, io->piece);
	}
	io->done = 0;
	return right;
}

/* --- from action to action ------------------------------------------------------------------------- */

static void scst_pi_execute(struct scst_cmd *cmd, enum scst_action action)
{
	struct scst_pi_io *io = cmd->step_data;

	cmd->pos = io->pos + ((u64)io->done << cmd->dev->geo.block_shift);
	cmd->len = io->piece << cmd->dev->geo.block_shift;
	sg_init_table(&io->sg, 1);
	sg_set_page(&io->sg, io->ours.chunk, cmd->len, 0);
	sg_init_one(&io->pi_sg, io->ours.pi, io->piece * SCST_PI_SIZE);
	cmd->data = (struct scst_data) { .sgl = &io->sg, .nents = 1, .len = cmd->len };
	cmd->prot = (struct scst_data) { .sgl = &io->pi_sg, .nents = 1, .len = io->piece * SCST_PI_SIZE };
	cmd->action = action;
	cmd->dev->handler->execute(cmd);
}

static void scst_pi_go(struct scst_cmd *cmd)
{
	struct scst_pi_io *io = cmd->step_data;

	io->piece = min(io->total - io->done, io->most);
	switch (io->phase) {
	case SCST_PI_SYNC:
	case SCST_PI_STABLE:
		cmd->pos = io->pos;
		cmd->range_len = (u64)io->total << cmd->dev->geo.block_shift;
		cmd->action = SCST_ACTION_SYNC;
		cmd->dev->handler->execute(cmd);
		break;
	case SCST_PI_WRITE:
		scst_pi_move(cmd, &io->ours, io->done, io->piece, false);
		if (scst_pi_right(cmd, &io->ours, io->piece))
			scst_pi_execute(cmd, SCST_ACTION_WRITE);
		else
			scst_pi_respond(cmd);
		break;
	case SCST_PI_OR_WRITE:
		scst_pi_execute(cmd, SCST_ACTION_WRITE);
		break;
	default:
		scst_pi_execute(cmd, SCST_ACTION_READ);
	}
}

/* All of it is written.  What is not verified may have to be stable. */
static void scst_pi_written(struct scst_cmd *cmd)
{
	struct scst_pi_io *io = cmd->step_data;
	bool stable = scst_cdb_flags(cmd) & 0x08 || READ_ONCE(cmd->dev->wce_off) || cmd->dev->write_through;
	u64 len = (u64)io->total << cmd->dev->geo.block_shift, pos = io->pos;

	if (cmd->op->execute == scst_sbc_write_verify) {
		io->phase = SCST_PI_STABLE;
		scst_pi_go(cmd);
		return;
	}
	cmd->len = io->len;
	cmd->status = SAM_STAT_GOOD;
	scst_pi_end(cmd);
	if (stable)
		scst_sync(cmd, pos, len);
	else
		scst_cmd_respond(cmd);
}

/* The phase is over. */
static void scst_pi_next(struct scst_cmd *cmd)
{
	struct scst_pi_io *io = cmd->step_data;

	io->done = 0;
	switch (io->phase) {
	case SCST_PI_SYNC:
		io->phase = SCST_PI_READ;
		scst_pi_go(cmd);
		break;
	case SCST_PI_WRITE:
	case SCST_PI_OR_READ:
		scst_pi_written(cmd);
		break;
	case SCST_PI_STABLE:
		io->phase = SCST_PI_VERIFY;
		scst_pi_go(cmd);
		break;
	default:
		cmd->len = io->len;
		cmd->status = SAM_STAT_GOOD;
		scst_pi_respond(cmd);
	}
}

static bool scst_pi_in_pieces(const struct scst_pi_io *io)
{
	return io->phase != SCST_PI_SYNC && io->phase != SCST_PI_STABLE;
}

/* Of a piece that can't be read, or written, it is found out which block it is. */
static void scst_pi_failed(struct scst_cmd *cmd)
{
	struct scst_pi_io *io = cmd->step_data;
	bool has_block = scst_error_is_medium(io->error) && scst_pi_in_pieces(io);

	if (has_block && io->piece > 1) {
		io->most = 1;
		scst_pi_go(cmd);
		return;
	}
	scst_cmd_errno(cmd, io->error);
	if (has_block)
		scst_cmd_sense_info_add(cmd, cmd->lba + io->done);
	scst_pi_respond(cmd);
}

/* As scst_stable_step(): what was lost is told as what initiators believe. */
static int scst_pi_lost(struct scst_cmd *cmd)
{
	int lost = scst_lost(cmd);

	if (!lost)
		return 0;
	if (scst_error_is_medium(lost))
		scst_cmd_sense(cmd, SCST_SENSE_WRITE_LOST);
	else
		scst_cmd_errno(cmd, lost);
	return lost;
}

/* What was done is right. */
static void scst_pi_advance(struct scst_cmd *cmd)
{
	struct scst_pi_io *io = cmd->step_data;

	switch (io->phase) {
	case SCST_PI_OR_READ:
		io->phase = SCST_PI_OR_WRITE;
		scst_pi_go(cmd);
		return;
	case SCST_PI_OR_WRITE:
		io->phase = SCST_PI_OR_READ;
		break;
	}
	io->done += scst_pi_in_pieces(io) ? io->piece : io->total;
	if (io->done < io->total)
		scst_pi_go(cmd);
	else
		scst_pi_next(cmd);
}

/* What COMPARE AND WRITE has begun to write it writes to the end. */
static bool scst_pi_left(const struct scst_cmd *cmd)
{
	const struct scst_pi_io *io = cmd->step_data;

	return scst_cmd_aborted(cmd) && !(io->skip && io->phase == SCST_PI_WRITE);
}

static void scst_pi_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	struct scst_pi_io *io = cmd->step_data;
	bool writes = io->phase == SCST_PI_WRITE || io->phase == SCST_PI_OR_WRITE;
	unsigned int noio = memalloc_noio_save();

	if (scst_pi_left(cmd))
		scst_pi_respond(cmd);
	else if (io->phase == SCST_PI_STABLE && scst_pi_lost(cmd))
		scst_pi_respond(cmd);
	else if (io->error)
		scst_pi_failed(cmd);
	else if (scst_pi_in_pieces(io) && !writes && !scst_pi_use(cmd))
		scst_pi_respond(cmd);
	else
		scst_pi_advance(cmd);
	memalloc_noio_restore(noio);
}

static void scst_pi_step(struct scst_cmd *cmd, int error)
{
	struct scst_pi_io *io = cmd->step_data;

	io->error = error;
	scst_cmd_to_thread(cmd, scst_pi_job);
}

/* @skip, @end: as in struct scst_pi_io.  On a thread of the device's, with memory allocation limited to GFP_NOIO. */
static void scst_pi_start(struct scst_cmd *cmd, u8 phase, u32 skip, void (*end)(struct scst_cmd *cmd))
{
	struct scst_pi_io *io = scst_cmd_aborted(cmd) ? NULL : scst_pi_io_alloc(cmd, phase);

	/* Of the whole command, not of a piece: see scst_pi_written(). */
	cmd->fua = false;
	if (!io) {
		scst_cmd_errno(cmd, -ENOMEM);
		if (end)
			end(cmd);
		scst_cmd_respond(cmd);
		return;
	}
	io->skip = skip;
	io->end = end;
	cmd->step_data = io;
	scst_pi_mark(cmd, false);
	scst_steps_begin(cmd, scst_pi_step);
	if (skip && !scst_pi_all_right(cmd))
		scst_pi_respond(cmd);
	else
		scst_pi_go(cmd);
}

static void scst_pi_begin(struct scst_job *job, u8 phase)
{
	unsigned int noio = memalloc_noio_save();

	scst_pi_start(scst_cmd_of_job(job), phase, 0, NULL);
	memalloc_noio_restore(noio);
}

static void scst_pi_read_job(struct scst_job *job)
{
	const struct scst_cmd *cmd = container_of(job, struct scst_cmd, job);

	scst_pi_begin(job, scst_cdb_flags(cmd) & 0x08 ? SCST_PI_SYNC : SCST_PI_READ);
}

static void scst_pi_write_job(struct scst_job *job)
{
	scst_pi_begin(job, SCST_PI_WRITE);
}

static void scst_pi_verify_job(struct scst_job *job)
{
	scst_pi_begin(job, SCST_PI_VERIFY);
}

/* READ: pinned.  Any context. */
void scst_pi_read(struct scst_cmd *cmd)
{
	scst_cmd_to_thread(cmd, scst_pi_read_job);
}

/* WRITE and WRITE AND VERIFY: pinned, all data-out is there, and nobody else has the range for himself.  Any context. */
void scst_pi_write(struct scst_cmd *cmd)
{
	scst_cmd_to_thread(cmd, scst_pi_write_job);
}

/* VERIFY: pinned, all data-out is there.  Any context. */
void scst_pi_verify(struct scst_cmd *cmd)
{
	scst_cmd_to_thread(cmd, scst_pi_verify_job);
}

/**
 * scst_pi_caw() - the second half of the data of COMPARE AND WRITE is written, if all of it is right
 * @cmd: has its range for itself; data, pos and len are its own, and the first half was compared
 * @end: called before it is answered, or its data are made stable, when nothing of it is at the medium any more
 *
 * On a thread of the device's, with memory allocation limited to GFP_NOIO.  It answers the command.
 */
void scst_pi_caw(struct scst_cmd *cmd, void (*end)(struct scst_cmd *cmd))
{
	scst_pi_start(cmd, SCST_PI_WRITE, cmd->nblocks, end);
}

/* ORWRITE, all of it, as scst_pi_caw(). */
void scst_pi_or(struct scst_cmd *cmd, void (*end)(struct scst_cmd *cmd))
{
	scst_pi_start(cmd, SCST_PI_OR_READ, 0, end);
}
