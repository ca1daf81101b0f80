// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device handler blockio: what the device cannot take as it is goes through memory of our own, piece by piece.
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

static bool blockio_page_get(struct blockio_device *bd, struct blockio_bounce *bb)
{
	gfp_t gfp = GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN;

	bb->reserved = false;
	bb->order = BLOCKIO_BOUNCE_ORDER;
	bb->page = alloc_pages(gfp, bb->order);
	if (bb->page)
		return true;
	bb->order = 0;
	bb->page = alloc_page(gfp);
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

/* A piece is done: the next one, or the end.  On a thread of the device's: it copies. */
static void blockio_bounced_job(struct scst_job *job)
{
	struct blockio_bounce *bb = container_of(job, struct blockio_bounce, job);
	struct scst_cmd *cmd = scst_cmd_of_private(bb);
	int error = bb->error;

	if (!error && cmd->action == SCST_ACTION_READ)
		sg_pcopy_from_buffer(cmd->data.sgl, cmd->data.nents, page_address(bb->page), bb->len, bb->done);
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
	bio_uninit(bio);
	scst_device_defer(cmd->dev, &bb->job, blockio_bounced_job);
}

/* Nobody waits for it: blockio_bounce_end_io() goes on.  A read that ends inside a block reads all of that. */
static void blockio_bounce_piece(struct scst_cmd *cmd)
{
	struct blockio_device *bd = to_blockio(cmd->dev);
	struct blockio_bounce *bb = scst_cmd_private(cmd);
	struct bio *bio = &bb->bio;

	bb->len = min_t(u32, cmd->len - bb->done, PAGE_SIZE << bb->order);
	if (cmd->action == SCST_ACTION_WRITE)
		sg_pcopy_to_buffer(cmd->data.sgl, cmd->data.nents, page_address(bb->page), bb->len, bb->done);
	bio_init(bio, bd->bdev, &bb->bvec, 1, blockio_opf(cmd));
	__bio_add_page(bio, bb->page, round_up(bb->len, bd->len_mask + 1), 0);
	bio->bi_iter.bi_sector = (cmd->pos + bb->done) >> SECTOR_SHIFT;
	bio->bi_private = cmd;
	bio->bi_end_io = blockio_bounce_end_io;
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
	bd->reserve = alloc_page(GFP_KERNEL);
	return bd->reserve ? 0 : -ENOMEM;
}

/** blockio_bounce_exit() - no command of @bd is left, so none waits.  Process context. */
void blockio_bounce_exit(struct blockio_device *bd)
{
	WARN_ON_ONCE(!list_empty(&bd->waiting));
	__free_page(bd->reserve);
}
