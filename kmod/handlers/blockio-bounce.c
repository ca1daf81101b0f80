// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device handler blockio: what the device cannot take as it is goes through memory of our own, piece by piece.  So do blocks that have
 * protection information which the initiator does not move: it is made of what is written, and initiators may change their memory
 * meanwhile; and what is read is theirs only if it is right.
 */
#include "blockio.h"
#include <linux/sizes.h>
#include <linux/slab.h>

#define BLOCKIO_BOUNCE_ORDER	get_order(SZ_64K)

static void blockio_bounce_piece(struct scst_cmd *cmd);

static void blockio_reserved_job(struct scst_job *job)
{
	blockio_bounce_piece(scst_cmd_of_private(container_of(job, struct blockio_bounce, job)));
}

/* Takes the reserve, or false: blockio_reserved_job() goes on when it is free. */
static bool blockio_reserve_get(struct blockio_device *bd, struct blockio_bounce *bb)
{
	bool got;

	spin_lock(&bd->lock);
	bb->page = bd->reserve;
	bd->reserve = NULL;
	got = bb->page;
	if (!got)
		list_add_tail(&bb->job.entry, &bd->waiting);
	spin_unlock(&bd->lock);
	return got;
}

/* To who has waited longest. */
static void blockio_reserve_put(struct blockio_device *bd, struct page *page)
{
	struct blockio_bounce *next;

	spin_lock(&bd->lock);
	next = list_first_entry_or_null(&bd->waiting, struct blockio_bounce, job.entry);
	if (next)
		list_del(&next->job.entry);
	else
		bd->reserve = page;
	spin_unlock(&bd->lock);
	if (next) {
		next->page = page;
		scst_device_defer(&bd->dev, &next->job, blockio_reserved_job);
	}
}

/* The least memory is for a block, and for its information. */
static unsigned int blockio_least_order(const struct blockio_device *bd)
{
	return bd->pi ? 1 : 0;
}

/* Bytes of a piece, at most. */
static u32 blockio_bounce_room(const struct blockio_device *bd, const struct blockio_bounce *bb)
{
	return (PAGE_SIZE << bb->order) - (bd->pi ? PAGE_SIZE : 0);
}

static void *blockio_bounce_pi(const struct blockio_device *bd, const struct blockio_bounce *bb)
{
	return page_address(bb->page) + blockio_bounce_room(bd, bb);
}

static bool blockio_page_get(struct blockio_device *bd, struct blockio_bounce *bb)
{
	gfp_t gfp = GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN;

	bb->reserved = false;
	bb->order = BLOCKIO_BOUNCE_ORDER;
	bb->page = alloc_pages(gfp, bb->order);
	if (bb->page)
		return true;
	bb->order = blockio_least_order(bd);
	bb->page = alloc_pages(gfp, bb->order);
	if (bb->page)
		return true;
	bb->reserved = true;
	return blockio_reserve_get(bd, bb);
}

static void blockio_page_put(struct blockio_device *bd, struct blockio_bounce *bb)
{
	if (bb->reserved)
		blockio_reserve_put(bd, bb->page);
	else
		__free_pages(bb->page, bb->order);
}

/* What was read goes to the initiator, up to what is wrong. */
static int blockio_bounce_give(struct scst_cmd *cmd, const struct blockio_bounce *bb)
{
	const struct blockio_device *bd = to_blockio(cmd->dev);
	u8 shift = cmd->dev->geo.block_shift;
	u32 len = bb->len, bad = 0;
	int error = 0;

	if (bd->pi)
		error = scst_pi_look(cmd->dev, (cmd->pos + bb->done) >> shift, page_address(bb->page), blockio_bounce_pi(bd, bb),
				     DIV_ROUND_UP(len, 1U << shift), &bad);
	if (error)
		len = bad << shift;
	sg_pcopy_from_buffer(cmd->data.sgl, cmd->data.nents, page_address(bb->page), len, bb->done);
	return error;
}

static void blockio_bounce_take(struct scst_cmd *cmd, const struct blockio_bounce *bb)
{
	const struct blockio_device *bd = to_blockio(cmd->dev);
	u8 shift = cmd->dev->geo.block_shift;

	sg_pcopy_to_buffer(cmd->data.sgl, cmd->data.nents, page_address(bb->page), bb->len, bb->done);
	if (bd->pi)
		scst_pi_make(cmd->dev, (cmd->pos + bb->done) >> shift, page_address(bb->page), blockio_bounce_pi(bd, bb),
			     bb->len >> shift);
}

/* A piece is done: the next one, or the end.  On a thread of the device's: it copies. */
static void blockio_bounced_job(struct scst_job *job)
{
	struct blockio_bounce *bb = container_of(job, struct blockio_bounce, job);
	struct scst_cmd *cmd = scst_cmd_of_private(bb);
	int error = bb->error;

	if (!error && cmd->action == SCST_ACTION_READ)
		error = blockio_bounce_give(cmd, bb);
	bb->done += bb->len;
	if (!error && bb->done < cmd->len) {
		blockio_bounce_piece(cmd);
		return;
	}
	blockio_page_put(to_blockio(cmd->dev), bb);
	blockio_done(cmd, error);
}

static void blockio_bounce_end_io(struct bio *bio)
{
	struct scst_cmd *cmd = bio->bi_private;
	struct blockio_bounce *bb = scst_cmd_private(cmd);

	bb->error = blk_status_to_errno(bio->bi_status);
	if (bio == &bb->bio)
		bio_uninit(bio);
	else
		bio_put(bio);
	scst_device_defer(cmd->dev, &bb->job, blockio_bounced_job);
}

/* With protection information it is one of the bio_set, whose pools are for that, too. */
static struct bio *blockio_bounce_bio(struct scst_cmd *cmd, struct blockio_bounce *bb)
{
	struct blockio_device *bd = to_blockio(cmd->dev);

	if (bd->pi)
		return bio_alloc_bioset(bd->bdev, 1, blockio_opf(cmd), GFP_NOIO, &bd->bios);
	bio_init(&bb->bio, bd->bdev, &bb->bvec, 1, blockio_opf(cmd));
	return &bb->bio;
}

/* Nobody waits for its end: blockio_bounce_end_io() goes on.  A read that ends inside a block reads all of that. */
static void blockio_bounce_piece(struct scst_cmd *cmd)
{
	struct blockio_device *bd = to_blockio(cmd->dev);
	struct blockio_bounce *bb = scst_cmd_private(cmd);
	struct bio *bio;

	bb->len = min(cmd->len - bb->done, blockio_bounce_room(bd, bb));
	if (cmd->action == SCST_ACTION_WRITE)
		blockio_bounce_take(cmd, bb);
	bio = blockio_bounce_bio(cmd, bb);
	__bio_add_page(bio, bb->page, round_up(bb->len, bd->len_mask + 1), 0);
	bio->bi_iter.bi_sector = (cmd->pos + bb->done) >> SECTOR_SHIFT;
	bio->bi_private = cmd;
	bio->bi_end_io = blockio_bounce_end_io;
	if (bd->pi)
		blockio_pi_submit(cmd, bio, blockio_bounce_pi(bd, bb));
	else
		blockio_submit(bio);
}

/**
 * blockio_bounce() - do a command through memory of our own
 * @cmd: SCST_ACTION_READ or SCST_ACTION_WRITE
 *
 * As execute() of struct scst_handler.
 */
void blockio_bounce(struct scst_cmd *cmd)
{
	struct blockio_bounce *bb = scst_cmd_private(cmd);

	bb->done = 0;
	if (blockio_page_get(to_blockio(cmd->dev), bb))
		blockio_bounce_piece(cmd);
}

/**
 * blockio_bounce_init() - the memory with which there is always progress
 * @bd: a device that is being opened
 *
 * Process context, may sleep.  Return: 0 or -ENOMEM.
 */
int blockio_bounce_init(struct blockio_device *bd)
{
	spin_lock_init(&bd->lock);
	INIT_LIST_HEAD(&bd->waiting);
	bd->reserve = alloc_pages(GFP_KERNEL, blockio_least_order(bd));
	return bd->reserve ? 0 : -ENOMEM;
}

/** blockio_bounce_exit() - no command of @bd is left, so none waits.  Process context. */
void blockio_bounce_exit(struct blockio_device *bd)
{
	WARN_ON_ONCE(!list_empty(&bd->waiting));
	__free_pages(bd->reserve, blockio_least_order(bd));
}
