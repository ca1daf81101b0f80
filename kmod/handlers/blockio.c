// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device handler blockio: a block device, by bios on the command's own pages.
 *
 * Runs in the submitter's context where that may sleep.  Usual commands fit in the bio inside
 * the command; longer ones take theirs from a bio_set, which always makes progress because
 * each bio is on its way before the next one is asked for.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/log2.h>
#include <linux/mempool.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include "scst.h"
#include "compat.h"

#define BLOCKIO_INLINE_BVECS	16
#define BLOCKIO_MAX_BLOCK_SIZE	4096
#define BLOCKIO_POOL_SIZE	64
#define BLOCKIO_BOUNCE_ORDER	get_order(64 * 1024)

/**
 * struct blockio_device - a block device behind a logical unit
 * @dev: the core's half
 * @path: of the device node
 * @bdev_file: exclusive open of it, while the device is active
 * @bdev: the same, in a form the command path can use
 * @offset_mask: bits that must be clear in the address of a segment
 * @len_mask: bits that must be clear in its length
 */
struct blockio_device {
	struct scst_device dev;
	char *path;
	struct file *bdev_file;
	struct block_device *bdev;
	unsigned int offset_mask;
	unsigned int len_mask;
};

/* In the command's private memory.  A bounced command does not use the bio. */
struct blockio_cmd {
	atomic_t pending;	/* bios of the bio_set in flight, and one for the submitter */
	int error;		/* of the first bio that failed */
	union {
		struct bio bio;
		struct work_struct bounce;
	};
	struct bio_vec bvec[BLOCKIO_INLINE_BVECS];
};

static_assert(sizeof(struct blockio_cmd) <= SCST_CMD_PRIVATE);

static struct bio_set blockio_bios;
static mempool_t *blockio_pages;
static struct workqueue_struct *blockio_wq;

static struct blockio_device *to_blockio(struct scst_device *dev)
{
	return container_of(dev, struct blockio_device, dev);
}

static bool blockio_dead(struct block_device *bdev)
{
	return test_bit(GD_DEAD, &bdev->bd_disk->state) || blk_queue_dying(bdev_get_queue(bdev));
}

static void blockio_done(struct scst_cmd *cmd, int error)
{
	if (unlikely(error) && blockio_dead(to_blockio(cmd->dev)->bdev)) {
		scst_device_lost(cmd->dev);
		error = -ENODEV;
	}
	scst_cmd_done(cmd, error);
}

/*
 * The submitter may be inside submit_bio() or the flush of a plug itself: that is where a block
 * layer hands requests to the target driver.  Bios left on its list or plug would start only
 * when it returns, but before that it may wait for a tag which only their completion gives back.
 * So they start at once, and without inheriting the plug's "do not wait".
 */
static void blockio_submit(struct bio *bio)
{
	struct bio_list *bio_list = current->bio_list;
	struct blk_plug *plug = current->plug;

	scst_plug_forget_time();
	current->bio_list = NULL;
	current->plug = NULL;
	submit_bio(bio);
	current->bio_list = bio_list;
	current->plug = plug;
}

static void blockio_inline_end_io(struct bio *bio)
{
	int error = blk_status_to_errno(bio->bi_status);
	struct scst_cmd *cmd = bio->bi_private;

	bio_uninit(bio);
	blockio_done(cmd, error);
}

static void blockio_put(struct scst_cmd *cmd)
{
	struct blockio_cmd *bc = scst_cmd_private(cmd);

	if (atomic_dec_and_test(&bc->pending))
		blockio_done(cmd, bc->error);
}

static void blockio_end_io(struct bio *bio)
{
	struct scst_cmd *cmd = bio->bi_private;
	struct blockio_cmd *bc = scst_cmd_private(cmd);

	if (unlikely(bio->bi_status))
		cmpxchg(&bc->error, 0, blk_status_to_errno(bio->bi_status));
	bio_put(bio);
	blockio_put(cmd);
}

/*
 * REQ_FUA is right on every device: where the hardware lacks it, the block layer flushes after
 * the write; without a volatile cache it is dropped.  REQ_IDLE exempts the write from writeback
 * throttling, which would put the submitter to sleep.
 */
static blk_opf_t blockio_opf(const struct scst_cmd *cmd)
{
	blk_opf_t opf = REQ_OP_WRITE | REQ_SYNC | REQ_IDLE;

	if (cmd->action == SCST_ACTION_READ)
		return REQ_OP_READ | REQ_SYNC;
	if (cmd->fua || cmd->dev->write_through)
		opf |= REQ_FUA;
	return opf;
}

/* Up to the bio's capacity in segments, from *sg on; returns the bytes added. */
static u32 blockio_fill(struct bio *bio, struct scatterlist **sg, u32 left)
{
	u32 done = 0;

	while (done < left && bio->bi_vcnt < bio->bi_max_vecs) {
		u32 n = min(left - done, (*sg)->length);

		__bio_add_page(bio, sg_page(*sg) + ((*sg)->offset >> PAGE_SHIFT), n,
			       offset_in_page((*sg)->offset));
		done += n;
		*sg = sg_next(*sg);
	}
	return done;
}

static void blockio_rw_inline(struct scst_cmd *cmd)
{
	struct blockio_cmd *bc = scst_cmd_private(cmd);
	struct scatterlist *sg = cmd->sg;
	struct bio *bio = &bc->bio;

	bio_init(bio, to_blockio(cmd->dev)->bdev, bc->bvec, BLOCKIO_INLINE_BVECS, blockio_opf(cmd));
	bio->bi_iter.bi_sector = scst_cmd_pos(cmd) >> SECTOR_SHIFT;
	bio->bi_private = cmd;
	bio->bi_end_io = blockio_inline_end_io;
	blockio_fill(bio, &sg, cmd->len);
	blockio_submit(bio);
}

static void blockio_rw_long(struct scst_cmd *cmd)
{
	struct block_device *bdev = to_blockio(cmd->dev)->bdev;
	struct blockio_cmd *bc = scst_cmd_private(cmd);
	loff_t pos = scst_cmd_pos(cmd);
	struct scatterlist *sg = cmd->sg;
	unsigned int segs = cmd->sg_cnt;
	blk_opf_t opf = blockio_opf(cmd);
	u32 left = cmd->len;

	atomic_set(&bc->pending, 1);
	bc->error = 0;
	while (left) {
		struct bio *bio = bio_alloc_bioset(bdev, bio_max_segs(segs), opf, GFP_NOIO,
						   &blockio_bios);
		u32 n;

		bio->bi_iter.bi_sector = pos >> SECTOR_SHIFT;
		bio->bi_private = cmd;
		bio->bi_end_io = blockio_end_io;
		n = blockio_fill(bio, &sg, left);
		segs -= bio->bi_vcnt;
		left -= n;
		pos += n;
		atomic_inc(&bc->pending);
		blockio_submit(bio);
	}
	blockio_put(cmd);
}

/* May the device see the command's own memory? */
static bool blockio_aligned(const struct blockio_device *bd, const struct scst_cmd *cmd)
{
	unsigned int offsets = 0, lens = 0;
	struct scatterlist *sg = cmd->sg;
	u32 left = cmd->len;

	while (left) {
		u32 n = min(left, sg->length);

		offsets |= sg->offset;
		lens |= n;
		left -= n;
		sg = sg_next(sg);
	}
	return !(offsets & bd->offset_mask) && !(lens & bd->len_mask);
}

/* --- through memory of our own: buffers the device cannot take, and VERIFY ------------------ */

struct blockio_buf {
	struct page *page;
	unsigned int order;
};

static void blockio_buf_get(struct blockio_buf *buf)
{
	buf->order = BLOCKIO_BOUNCE_ORDER;
	buf->page = alloc_pages(GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN, buf->order);
	if (buf->page)
		return;
	buf->order = 0;
	buf->page = mempool_alloc(blockio_pages, GFP_NOIO);
}

static void blockio_buf_put(struct blockio_buf *buf)
{
	if (buf->order)
		__free_pages(buf->page, buf->order);
	else
		mempool_free(buf->page, blockio_pages);
}

static unsigned int blockio_buf_size(const struct blockio_buf *buf)
{
	return PAGE_SIZE << buf->order;
}

static int blockio_buf_io(struct block_device *bdev, struct blockio_buf *buf, unsigned int len,
			  loff_t pos, blk_opf_t opf)
{
	struct bio_vec bvec;
	struct bio bio;
	int ret;

	bio_init(&bio, bdev, &bvec, 1, opf);
	bio.bi_iter.bi_sector = pos >> SECTOR_SHIFT;
	__bio_add_page(&bio, buf->page, len, 0);
	ret = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return ret;
}

static int blockio_bounce_part(struct scst_cmd *cmd, struct blockio_buf *buf, u32 at, u32 n)
{
	struct block_device *bdev = to_blockio(cmd->dev)->bdev;
	void *p = page_address(buf->page);
	int ret;

	if (cmd->action == SCST_ACTION_WRITE)
		sg_pcopy_to_buffer(cmd->sg, cmd->sg_cnt, p, n, at);
	ret = blockio_buf_io(bdev, buf, n, scst_cmd_pos(cmd) + at, blockio_opf(cmd));
	if (!ret && cmd->action == SCST_ACTION_READ)
		sg_pcopy_from_buffer(cmd->sg, cmd->sg_cnt, p, n, at);
	return ret;
}

static void blockio_bounce_work(struct work_struct *work)
{
	struct blockio_cmd *bc = container_of(work, struct blockio_cmd, bounce);
	struct scst_cmd *cmd = container_of((void *)bc, struct scst_cmd, handler_private);
	struct blockio_buf buf;
	int ret = 0;
	u32 at, n;

	blockio_buf_get(&buf);
	for (at = 0; at < cmd->len && !ret; at += n) {
		n = min(cmd->len - at, blockio_buf_size(&buf));
		ret = blockio_bounce_part(cmd, &buf, at, n);
	}
	blockio_buf_put(&buf);
	blockio_done(cmd, ret);
}

static void blockio_bounce(struct scst_cmd *cmd)
{
	struct blockio_cmd *bc = scst_cmd_private(cmd);

	INIT_WORK(&bc->bounce, blockio_bounce_work);
	queue_work(blockio_wq, &bc->bounce);
}

static int blockio_read(struct scst_device *dev, void *to, unsigned int len, loff_t pos)
{
	struct block_device *bdev = to_blockio(dev)->bdev;
	struct blockio_buf buf;
	unsigned int n;
	int ret = 0;

	blockio_buf_get(&buf);
	for (; len && !ret; len -= n, pos += n, to += n) {
		n = min(len, blockio_buf_size(&buf));
		ret = blockio_buf_io(bdev, &buf, n, pos, REQ_OP_READ | REQ_SYNC);
		if (!ret)
			memcpy(to, page_address(buf.page), n);
	}
	blockio_buf_put(&buf);
	if (ret && blockio_dead(bdev)) {
		scst_device_lost(dev);
		ret = -ENODEV;
	}
	return ret;
}

/* --- commands ------------------------------------------------------------------------------- */

static void blockio_rw(struct scst_cmd *cmd)
{
	if (unlikely(!blockio_aligned(to_blockio(cmd->dev), cmd)))
		blockio_bounce(cmd);
	else if (likely(cmd->sg_cnt <= BLOCKIO_INLINE_BVECS))
		blockio_rw_inline(cmd);
	else
		blockio_rw_long(cmd);
}

/* A flush has no range: it covers the device. */
static void blockio_sync(struct scst_cmd *cmd)
{
	struct blockio_cmd *bc = scst_cmd_private(cmd);

	bio_init(&bc->bio, to_blockio(cmd->dev)->bdev, NULL, 0, REQ_OP_WRITE | REQ_PREFLUSH);
	bc->bio.bi_private = cmd;
	bc->bio.bi_end_io = blockio_inline_end_io;
	blockio_submit(&bc->bio);
}

static void blockio_execute(struct scst_cmd *cmd)
{
	switch (cmd->action) {
	case SCST_ACTION_READ:
	case SCST_ACTION_WRITE:
		blockio_rw(cmd);
		break;
	case SCST_ACTION_SYNC:
		blockio_sync(cmd);
		break;
	default:
		scst_cmd_done(cmd, -EOPNOTSUPP);
	}
}

/* --- backing -------------------------------------------------------------------------------- */

/* Called with the holder lock, which keeps close() from giving the device away underneath. */
static void blockio_mark_dead(struct block_device *bdev, bool surprise)
{
	scst_device_lost(bdev->bd_holder);
	scst_bdev_holder_unlock(bdev);
}

static const struct blk_holder_ops blockio_holder_ops = {
	.mark_dead	= blockio_mark_dead,
};

static int blockio_check(struct scst_device *dev)
{
	const char *path = to_blockio(dev)->path;

	return path && *path ? 0 : -ENODATA;
}

static int blockio_geometry(struct blockio_device *bd, struct block_device *bdev)
{
	unsigned int logical = bdev_logical_block_size(bdev);
	struct scst_device *dev = &bd->dev;
	unsigned int size = dev->block_size ?: logical;

	if (size < logical || size > BLOCKIO_MAX_BLOCK_SIZE)
		return -EINVAL;
	dev->block_shift = ilog2(size);
	dev->nblocks = bdev_nr_bytes(bdev) >> dev->block_shift;
	if (!dev->nblocks)
		return -ENOMEDIUM;
	bd->offset_mask = bdev_dma_alignment(bdev);
	bd->len_mask = logical - 1;
	return 0;
}

static int blockio_open(struct scst_device *dev)
{
	struct blockio_device *bd = to_blockio(dev);
	blk_mode_t mode = BLK_OPEN_READ;
	struct file *file;
	int ret;

	if (!dev->read_only)
		mode |= BLK_OPEN_WRITE;
	file = bdev_file_open_by_path(bd->path, mode, dev, &blockio_holder_ops);
	if (IS_ERR(file))
		return PTR_ERR(file);
	bd->bdev = file_bdev(file);
	ret = blockio_geometry(bd, bd->bdev);
	/* What an earlier opener left in the page cache is not seen by bios. */
	if (!ret)
		ret = sync_blockdev(bd->bdev);
	if (ret) {
		bdev_fput(file);
		return ret;
	}
	bd->bdev_file = file;
	dev->volatile_cache = bdev_write_cache(bd->bdev) && !dev->write_through;
	dev->fua = true;
	return 0;
}

static void blockio_close(struct scst_device *dev)
{
	struct blockio_device *bd = to_blockio(dev);

	/* Whoever else has it open may have cached what initiators have overwritten since. */
	invalidate_bdev(bd->bdev);
	bdev_fput(bd->bdev_file);
	bd->bdev_file = NULL;
	bd->bdev = NULL;
}

static void blockio_free(struct scst_device *dev)
{
	kfree(to_blockio(dev)->path);
}

/* --- attributes ----------------------------------------------------------------------------- */

static ssize_t blockio_path_show(struct config_item *item, char *page)
{
	struct scst_device *dev = scst_device_of(item);
	ssize_t ret;

	mutex_lock(&dev->lock);
	ret = sysfs_emit(page, "%s\n", to_blockio(dev)->path ?: "");
	mutex_unlock(&dev->lock);
	return ret;
}

static ssize_t blockio_path_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_store_path(dev, &to_blockio(dev)->path, page, count) ?: count;
}

CONFIGFS_ATTR(blockio_, path);

static struct configfs_attribute *blockio_attrs[] = {
	&blockio_attr_path,
	NULL,
};

static const struct scst_handler blockio_handler = {
	.owner		= THIS_MODULE,
	.name		= "blockio",
	.device_size	= sizeof(struct blockio_device),
	.flags		= SCST_HANDLER_DIRECT,
	.attrs		= blockio_attrs,
	.free		= blockio_free,
	.check		= blockio_check,
	.open		= blockio_open,
	.close		= blockio_close,
	.execute	= blockio_execute,
	.read		= blockio_read,
};

static int __init blockio_init(void)
{
	int ret;

	ret = bioset_init(&blockio_bios, BLOCKIO_POOL_SIZE, 0, BIOSET_NEED_BVECS);
	if (ret)
		return ret;
	ret = -ENOMEM;
	blockio_pages = mempool_create_page_pool(BLOCKIO_POOL_SIZE, 0);
	if (!blockio_pages)
		goto out_exit_bios;
	blockio_wq = alloc_workqueue("scst_blockio", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!blockio_wq)
		goto out_destroy_pages;
	ret = scst_handler_register(&blockio_handler);
	if (ret)
		goto out_destroy_wq;
	return 0;

out_destroy_wq:
	destroy_workqueue(blockio_wq);
out_destroy_pages:
	mempool_destroy(blockio_pages);
out_exit_bios:
	bioset_exit(&blockio_bios);
	return ret;
}

static void __exit blockio_exit(void)
{
	scst_handler_unregister(&blockio_handler);
	destroy_workqueue(blockio_wq);
	mempool_destroy(blockio_pages);
	bioset_exit(&blockio_bios);
}

module_init(blockio_init);
module_exit(blockio_exit);

MODULE_DESCRIPTION("SCSI target device handler: block devices");
MODULE_LICENSE("GPL");
MODULE_ALIAS("scst-handler-blockio");
