/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of scst_blockio.ko share.
 */
#ifndef BLOCKIO_H
#define BLOCKIO_H

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bio.h>
#include <linux/blkdev.h>
#include "scst_handler.h"

/**
 * struct blockio_device - a block device behind a logical unit
 * @dev: the core's half
 * @bdev: open exclusively while the device is active, else NULL
 * @offset_mask: bits that must be clear in the address of a segment
 * @len_mask: bits that must be clear in its length
 * @pi: blocks go with their protection information
 * @bios: for commands of many segments, and with @pi
 * @lock: protects @reserve and @waiting
 * @reserve: memory for bounced commands, NULL while one has it
 * @waiting: bounced commands that wait for it, by their jobs
 * @bdev_file: what @bdev was opened by
 * @had_cache: what write_cache() says while @bdev is NULL
 * @path: of the device node
 */
struct blockio_device {
	struct scst_device dev;
	struct block_device *bdev;
	unsigned int offset_mask;
	unsigned int len_mask;
	bool pi;
	struct bio_set bios;
	spinlock_t lock;
	struct page *reserve;
	struct list_head waiting;
	struct file *bdev_file;
	bool had_cache;
	char *path;
};

/* A command that goes through @page, one piece after the other.  The last page is for their protection information, if they have any. */
struct blockio_bounce {
	struct scst_job job;
	struct bio bio;
	struct bio_vec bvec;
	struct page *page;
	u8 order;
	bool reserved;		/* @page is the device's reserve */
	int error;
	u32 done;		/* bytes moved */
	u32 len;		/* of the piece in flight */
};

static inline struct blockio_device *to_blockio(struct scst_device *dev)
{
	return container_of(dev, struct blockio_device, dev);
}

void blockio_done(struct scst_cmd *cmd, int error);
void blockio_submit_plugged(struct bio *bio);

/*
 * One bio.  Without a plug the block layer sends it straight to the hardware's queue.
 *
 * Inside another driver's submit_bio() it would only be put on a list; that list is empty, see
 * blockio_execute(), so nobody misses it while it is put aside.
 */
static inline void blockio_submit(struct bio *bio)
{
	struct bio_list *bio_list = current->bio_list;

	if (unlikely(current->plug)) {
		blockio_submit_plugged(bio);
		return;
	}
	current->bio_list = NULL;
	submit_bio(bio);
	current->bio_list = bio_list;
}

/*
 * REQ_FUA is right on every device: where the hardware lacks it, the block layer flushes after
 * the write; without a volatile cache it is dropped.  REQ_IDLE exempts the write from writeback
 * throttling, which would put the submitter to sleep.
 */
static inline blk_opf_t blockio_opf(const struct scst_cmd *cmd)
{
	blk_opf_t opf = REQ_OP_WRITE | REQ_SYNC | REQ_IDLE;

	if (cmd->action == SCST_ACTION_READ)
		return REQ_OP_READ;
	if (cmd->fua || cmd->dev->write_through)
		opf |= REQ_FUA;
	return opf;
}

/* blockio-bounce.c */
int blockio_bounce_init(struct blockio_device *bd);
void blockio_bounce_exit(struct blockio_device *bd);
void blockio_bounce(struct scst_cmd *cmd);

/* blockio-pi.c */
int blockio_pi_fits(const struct scst_device *dev, struct block_device *bdev, unsigned int size);
void blockio_pi_submit(const struct scst_cmd *cmd, struct bio *bio, void *pi);
void blockio_pi_rw(struct scst_cmd *cmd);

#endif /* BLOCKIO_H */
