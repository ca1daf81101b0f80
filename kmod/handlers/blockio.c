// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device handler blockio: a block device, by bios on the command's own pages.
 *
 * Runs in the submitter's context where that may sleep.  Usual commands fit in the bio inside the command; longer ones
 * take theirs from a bio_set, which always makes progress because each bio is on its way before the next one is
 * asked for.  What the device cannot take as it is goes through memory of our own (blockio-bounce.c).  Reserves belong to the device:
 * when memory is short and one device hangs, the others have theirs.
 */
#include "blockio.h"
#include <linux/blk-integrity.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include "compat.h"

#define BLOCKIO_MAX_BLOCK_SIZE	4096
#define BLOCKIO_RESERVE		2		/* bios of long commands that make progress without memory */

/* A command that needs bios of the bio_set. */
struct blockio_long {
	struct scst_job job;
	atomic_t pending;	/* bios in flight, and one for the submitter */
	int error;		/* of the first bio that failed */
	bool unaligned;		/* a segment the device cannot take was met: all again, bounced */
};

#define BLOCKIO_INLINE_BVECS	((SCST_CMD_PRIVATE - sizeof(struct bio)) / sizeof(struct bio_vec))

/*
 * In the command's private memory: one way at a time.  What is looked at where a bio ends is on the line of the command that
 * travels, and on the next one.
 */
union blockio_cmd {
	struct {
		struct bio bio;
		struct bio_vec bvec[BLOCKIO_INLINE_BVECS];
	};
	struct blockio_long many;
	struct blockio_bounce bounce;
	struct scst_job job;	/* not started yet */
};

static_assert(BLOCKIO_INLINE_BVECS >= 4);
static_assert(sizeof(union blockio_cmd) <= SCST_CMD_PRIVATE);
static_assert(offsetofend(struct bio, bi_private) <= SCST_CMD_PRIVATE_SHARED + SCST_CMD_LINE);

static bool blockio_dead(struct block_device *bdev)
{
	return test_bit(GD_DEAD, &bdev->bd_disk->state) || blk_queue_dying(bdev_get_queue(bdev));
}

/* Any context. */
static void blockio_failed(struct scst_cmd *cmd, int error)
{
	if (blockio_dead(to_blockio(cmd->dev)->bdev)) {
		scst_device_lost(cmd->dev);
		error = -ENODEV;
	}
	scst_cmd_done(cmd, error);
}

void blockio_done(struct scst_cmd *cmd, int error)
{
	if (unlikely(error))
		blockio_failed(cmd, error);
	else
		scst_cmd_done(cmd, 0);
}

/* --- towards the block layer ------------------------------------------------------------------ */

/* Where bios go while the submitter's own list and plug are put aside. */
struct blockio_window {
	struct bio_list *bio_list;
	struct blk_plug *outer;
	struct blk_plug plug;
};

/*
 * The submitter may be in the flush of a plug itself: that is where a block layer hands requests to the target driver.
 * Bios left on that plug would start only when it returns, but before that it may wait for a tag which only their
 * completion gives back.  So they get a plug of their own, which is flushed before we return and when we sleep, and
 * which does not inherit "do not wait".
 *
 * From 6.9 on a task that has the time from its plug (PF_BLOCK_TS) has a plug until it is scheduled: that is so here,
 * because one plug is put in the place of another.  The flush of the inner one takes the flag back; the outer one
 * keeps its time until its own flush, which is what we are in.
 */
static void blockio_open_window(struct blockio_window *window)
{
	window->bio_list = current->bio_list;
	window->outer = current->plug;
	current->bio_list = NULL;
	current->plug = NULL;
	blk_start_plug(&window->plug);
}

static void blockio_close_window(struct blockio_window *window)
{
	blk_finish_plug(&window->plug);
	current->plug = window->outer;
	current->bio_list = window->bio_list;
}

noinline void blockio_submit_plugged(struct bio *bio)
{
	struct blockio_window window;

	blockio_open_window(&window);
	submit_bio(bio);
	blockio_close_window(&window);
}

/* --- commands of many segments -------------------------------------------------------------------- */

static void blockio_bounce_job(struct scst_job *job)
{
	blockio_bounce(scst_cmd_of_private(container_of(job, struct blockio_long, job)));
}

static void blockio_long_put(struct scst_cmd *cmd)
{
	struct blockio_long *bl = scst_cmd_private(cmd);

	if (!atomic_dec_and_test(&bl->pending))
		return;
	if (unlikely(bl->unaligned))
		scst_device_defer(cmd->dev, &bl->job, blockio_bounce_job);
	else
		blockio_done(cmd, bl->error);
}

static void blockio_long_end_io(struct bio *bio)
{
	struct scst_cmd *cmd = bio->bi_private;
	struct blockio_long *bl = scst_cmd_private(cmd);

	if (unlikely(bio->bi_status))
		cmpxchg(&bl->error, 0, blk_status_to_errno(bio->bi_status));
	bio_put(bio);
	blockio_long_put(cmd);
}

/*
 * Describe up to @max segments or @left bytes from *@sg on, which becomes the last one of them; *@bytes is how much
 * they are.  Returns the number of segments, or 0 if the device cannot take one of them.
 */
static __always_inline unsigned int blockio_map(const struct blockio_device *bd, struct scatterlist **sg, u32 left,
						struct bio_vec *bvec, unsigned int max, u32 *bytes)
{
	unsigned int offsets = 0, lens = 0, nr = 0;
	struct scatterlist *at = *sg;
	u32 all = left;

	for (;;) {
		u32 n = min(left, at->length);

		bvec[nr].bv_page = sg_page(at) + (at->offset >> PAGE_SHIFT);
		bvec[nr].bv_len = n;
		bvec[nr].bv_offset = offset_in_page(at->offset);
		offsets |= at->offset;
		lens |= n;
		left -= n;
		if (++nr == max || !left)
			break;
		at = sg_next(at);
	}
	*sg = at;
	*bytes = all - left;
	return (offsets & bd->offset_mask) | (lens & bd->len_mask) ? 0 : nr;
}

/* The next bio, or NULL: unaligned. */
static struct bio *blockio_long_bio(struct scst_cmd *cmd, struct scatterlist **sg, u32 done, unsigned int segs)
{
	struct blockio_device *bd = to_blockio(cmd->dev);
	struct bio *bio = bio_alloc_bioset(bd->bdev, bio_max_segs(segs), blockio_opf(cmd), GFP_NOIO, &bd->bios);

	bio->bi_iter.bi_sector = (cmd->pos + done) >> SECTOR_SHIFT;
	bio->bi_private = cmd;
	bio->bi_end_io = blockio_long_end_io;
	if (done)
		*sg = sg_next(*sg);
	bio->bi_vcnt = blockio_map(bd, sg, cmd->len - done, bio->bi_io_vec, bio->bi_max_vecs, &bio->bi_iter.bi_size);
	if (likely(bio->bi_vcnt))
		return bio;
	bio_put(bio);
	return NULL;
}

static noinline void blockio_long(struct scst_cmd *cmd)
{
	struct blockio_long *bl = scst_cmd_private(cmd);
	struct scatterlist *sg = cmd->data.sgl;
	unsigned int segs = cmd->data.nents;
	struct blockio_window window;
	u32 done = 0;

	atomic_set(&bl->pending, 1);
	bl->error = 0;
	bl->unaligned = false;
	blockio_open_window(&window);
	while (done < cmd->len) {
		struct bio *bio = blockio_long_bio(cmd, &sg, done, segs);

		if (unlikely(!bio)) {
			bl->unaligned = true;
			break;
		}
		segs -= bio->bi_vcnt;
		done += bio->bi_iter.bi_size;
		atomic_inc(&bl->pending);
		submit_bio(bio);
	}
	blockio_close_window(&window);
	blockio_long_put(cmd);
}

/* --- commands ------------------------------------------------------------------------------- */

static void blockio_end_io(struct bio *bio)
{
	struct scst_cmd *cmd = bio->bi_private;
	blk_status_t status = bio->bi_status;

	bio_uninit(bio);
	if (unlikely(status))
		blockio_failed(cmd, blk_status_to_errno(status));
	else
		scst_cmd_done(cmd, 0);
}

static __always_inline void blockio_rw_some(struct scst_cmd *cmd, unsigned int max)
{
	struct blockio_device *bd = to_blockio(cmd->dev);
	union blockio_cmd *bc = scst_cmd_private(cmd);
	struct scatterlist *sg = cmd->data.sgl;
	struct bio *bio = &bc->bio;

	bio_init(bio, bd->bdev, bc->bvec, BLOCKIO_INLINE_BVECS, blockio_opf(cmd));
	bio->bi_vcnt = blockio_map(bd, &sg, cmd->len, bc->bvec, max, &bio->bi_iter.bi_size);
	if (unlikely(!bio->bi_vcnt)) {
		bio_uninit(bio);
		blockio_bounce(cmd);
		return;
	}
	bio->bi_iter.bi_sector = cmd->pos >> SECTOR_SHIFT;
	bio->bi_private = cmd;
	bio->bi_end_io = blockio_end_io;
	blockio_submit(bio);
}

static noinline void blockio_rw_few(struct scst_cmd *cmd)
{
	blockio_rw_some(cmd, BLOCKIO_INLINE_BVECS);
}

/* One segment is the most frequent number by far, and needs no loop. */
static void blockio_rw(struct scst_cmd *cmd)
{
	if (unlikely(to_blockio(cmd->dev)->pi))
		blockio_pi_rw(cmd);
	else if (likely(cmd->data.nents == 1))
		blockio_rw_some(cmd, 1);
	else if (cmd->data.nents <= BLOCKIO_INLINE_BVECS)
		blockio_rw_few(cmd);
	else
		blockio_long(cmd);
}

/* A flush has no range: it covers the device.  Without a volatile cache the block layer ends it at once. */
static noinline void blockio_sync(struct scst_cmd *cmd)
{
	union blockio_cmd *bc = scst_cmd_private(cmd);

	bio_init(&bc->bio, to_blockio(cmd->dev)->bdev, NULL, 0, REQ_OP_WRITE | REQ_PREFLUSH);
	bc->bio.bi_private = cmd;
	bc->bio.bi_end_io = blockio_end_io;
	blockio_submit(&bc->bio);
}

/*
 * What the disk can't do after all is no failure of UNMAP, which promises nothing here (blockio_thin()), and zeroes are written then.
 * SCSI disks that only seemed to have WRITE SAME end in a target error, and take their word back.
 */
static void blockio_clear_end_io(struct bio *bio)
{
	struct scst_cmd *cmd = bio->bi_private;
	int error = blk_status_to_errno(bio->bi_status);
	bool unmap = cmd->action == SCST_ACTION_UNMAP;

	if (error == -EREMOTEIO && !unmap && !bdev_write_zeroes_sectors(bio->bi_bdev))
		error = -EOPNOTSUPP;
	bio_uninit(bio);
	if (error == -EOPNOTSUPP)
		scst_cmd_done(cmd, unmap ? 0 : error);
	else
		blockio_done(cmd, error);
}

/* One bio, which the block layer cuts as the disk wants it. */
static noinline void blockio_clear(struct scst_cmd *cmd)
{
	union blockio_cmd *bc = scst_cmd_private(cmd);
	blk_opf_t opf = REQ_OP_DISCARD;

	if (cmd->action == SCST_ACTION_ZERO)
		opf = REQ_OP_WRITE_ZEROES | (cmd->unmap ? 0 : REQ_NOUNMAP);
	bio_init(&bc->bio, to_blockio(cmd->dev)->bdev, NULL, 0, opf);
	bc->bio.bi_iter.bi_sector = cmd->pos >> SECTOR_SHIFT;
	bc->bio.bi_iter.bi_size = cmd->range_len;
	bc->bio.bi_private = cmd;
	bc->bio.bi_end_io = blockio_clear_end_io;
	blockio_submit(&bc->bio);
}

/* What zeroes that the disk makes itself have for protection information, nobody says: then they are written. */
static bool blockio_can_clear(const struct scst_cmd *cmd)
{
	return cmd->action == SCST_ACTION_UNMAP || (cmd->action == SCST_ACTION_ZERO && !to_blockio(cmd->dev)->pi);
}

static void blockio_start(struct scst_cmd *cmd)
{
	if (likely(cmd->action == SCST_ACTION_READ || cmd->action == SCST_ACTION_WRITE))
		blockio_rw(cmd);
	else if (cmd->action == SCST_ACTION_SYNC)
		blockio_sync(cmd);
	else if (blockio_can_clear(cmd))
		blockio_clear(cmd);
	else
		scst_cmd_done(cmd, -EOPNOTSUPP);
}

static void blockio_start_job(struct scst_job *job)
{
	blockio_start(scst_cmd_of_private(container_of(job, union blockio_cmd, job)));
}

/* Inside another driver's submit_bio() that has more to send?  Two lists: of this level, and of those above. */
static bool blockio_nested(void)
{
	const struct bio_list *list = current->bio_list;

	return list && !(bio_list_empty(&list[0]) && bio_list_empty(&list[1]));
}

/*
 * Bios on the submitter's list may hold elements of pools that somebody waits for, and rescuers look for them there:
 * they are not put aside, a thread of the device's own submits instead.
 */
static void blockio_execute(struct scst_cmd *cmd)
{
	union blockio_cmd *bc = scst_cmd_private(cmd);

	if (unlikely(blockio_nested()))
		scst_device_defer(cmd->dev, &bc->job, blockio_start_job);
	else
		blockio_start(cmd);
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

/* What open(2) would check for who asked; his credentials are in force. */
static int blockio_may_open(const struct scst_device *dev, const struct path *path)
{
	if (!S_ISBLK(d_inode(path->dentry)->i_mode))
		return -ENOTBLK;
	if (path->mnt->mnt_flags & MNT_NODEV || path->mnt->mnt_sb->s_iflags & SB_I_NODEV)
		return -EACCES;
	return path_permission(path, MAY_OPEN | MAY_READ | (dev->read_only ? 0 : MAY_WRITE));
}

static int blockio_number(dev_t number, char words[SCST_BACKING_LEN + 1])
{
	return scnprintf(words, SCST_BACKING_LEN + 1, "b %u:%u", MAJOR(number), MINOR(number));
}

/* Looks before it opens: opening a pipe or a tape has effects of its own. */
static struct file *blockio_open_path(struct blockio_device *bd, const struct scst_opening *opening)
{
	blk_mode_t mode = BLK_OPEN_READ;
	char words[SCST_BACKING_LEN + 1];
	struct file *found, *file;
	int ret;

	found = file_open_root(&opening->root, opening->elsewhere ?: bd->path, O_PATH, 0);
	if (IS_ERR(found))
		return found;
	if (!bd->dev.read_only)
		mode |= BLK_OPEN_WRITE;
	blockio_number(d_inode(found->f_path.dentry)->i_rdev, words);
	ret = blockio_may_open(&bd->dev, &found->f_path) ?: scst_device_expects(&bd->dev, words);
	file = ret ? ERR_PTR(ret) : scst_bdev_open(&found->f_path, mode, bd, &blockio_holder_ops);
	scst_fput(found);
	return file;
}

/* Says what the reason in the device's directory can't; what is only absent comes again. */
static int blockio_not_opened(const struct blockio_device *bd, int error)
{
	const struct scst_device *dev = &bd->dev;

	switch (error) {
	case -ENOENT:
	case -ENXIO:
	case -ENODEV:
	case -ENOTDIR:
	case -ENOMEDIUM:
		break;
	case -ESTALE:	/* told where it was found */
		break;
	case -EBUSY:
		pr_warn("%s: path %s: in use\n", dev->name, bd->path);
		break;
	case -ENOTBLK:
		pr_warn("%s: path %s: not a block device\n", dev->name, bd->path);
		break;
	default:
		pr_warn("%s: path %s: cannot be opened with read_only %d: error %d\n", dev->name, bd->path,
			dev->read_only, error);
	}
	return error;
}

static int blockio_fits(const struct scst_device *dev, struct block_device *bdev, unsigned int size)
{
	unsigned int logical = bdev_logical_block_size(bdev);

	if (!dev->read_only && bdev_read_only(bdev)) {
		pr_warn("%s: read_only is 0, the disk is read-only\n", dev->name);
		return -EACCES;
	}
	if (bdev_is_zoned(bdev)) {
		pr_warn("%s: path: zoned block devices are not supported\n", dev->name);
		return -EINVAL;
	}
	if (size < logical) {
		pr_warn("%s: block_size %u is below the disk's %u\n", dev->name, size, logical);
		return -EINVAL;
	}
	if (size > BLOCKIO_MAX_BLOCK_SIZE) {
		pr_warn("%s: block_size %u%s is above %u\n", dev->name, size, dev->block_size ? "" : " of the disk",
			BLOCKIO_MAX_BLOCK_SIZE);
		return -EINVAL;
	}
	return 0;
}

/* The disk tells the offset of its first physical block in bytes, or -1: stacked so that there is no rule. */
static void blockio_alignment(struct scst_geometry *geo, struct block_device *bdev, unsigned int size)
{
	unsigned int physical = bdev_physical_block_size(bdev);
	int offset = bdev_alignment_offset(bdev);

	if (physical <= size)
		return;
	geo->physical_exp = ilog2(physical / size);
	if (offset > 0 && IS_ALIGNED(offset, size))
		geo->lowest_aligned = offset % physical / size;
}

/*
 * What the disk gives back, and in which groups.  What is read there afterwards nobody says, nor whether the disk takes space only for
 * what is written.
 */
static int blockio_thin(const struct scst_device *dev, struct scst_geometry *geo, struct block_device *bdev)
{
	unsigned int group = bdev_discard_granularity(bdev) >> geo->block_shift;
	unsigned int offset = bdev_discard_alignment(bdev);

	if (!bdev_max_discard_sectors(bdev)) {
		if (!dev->thin)
			return 0;
		pr_warn("%s: thin is 1, but the disk gives nothing back: it knows no discard\n", dev->name);
		return -EOPNOTSUPP;
	}
	geo->unmap_granularity = max(group, 1U);
	if (IS_ALIGNED(offset, 1U << geo->block_shift))
		geo->unmap_alignment = (offset >> geo->block_shift) % geo->unmap_granularity;
	return 0;
}

static int blockio_geometry(struct blockio_device *bd, struct block_device *bdev)
{
	unsigned int logical = bdev_logical_block_size(bdev);
	struct scst_device *dev = &bd->dev;
	unsigned int size = dev->block_size ?: logical;
	struct scst_geometry geo = {
		.block_shift		= ilog2(size),
		.nblocks		= bdev_nr_bytes(bdev) >> ilog2(size),
		.opt_granularity	= min_t(unsigned int, bdev_io_min(bdev) / size, U16_MAX),
		.opt_xfer		= round_down(bdev_io_opt(bdev), size),
		.rotational		= bdev_rot(bdev),
	};
	int ret;

	ret = blockio_fits(dev, bdev, size) ?: blockio_pi_fits(dev, bdev, size) ?: blockio_thin(dev, &geo, bdev);
	if (ret)
		return ret;
	if (!geo.nblocks)
		return -ENOMEDIUM;
	blockio_alignment(&geo, bdev, size);
	dev->geo = geo;
	dev->fua = true;
	bd->offset_mask = bdev_dma_alignment(bdev);
	bd->len_mask = logical - 1;
	bd->pi = dev->protection;
	return 0;
}

static int blockio_reserves_init(struct blockio_device *bd)
{
	int ret = blockio_bounce_init(bd);

	if (ret)
		return ret;
	ret = bioset_init(&bd->bios, BLOCKIO_RESERVE, 0, BIOSET_NEED_BVECS);
	if (!ret && bd->pi && scst_bioset_integrity(&bd->bios, BLOCKIO_RESERVE)) {
		bioset_exit(&bd->bios);
		ret = -ENOMEM;
	}
	if (ret)
		blockio_bounce_exit(bd);
	return ret;
}

static void blockio_reserves_exit(struct blockio_device *bd)
{
	bioset_exit(&bd->bios);
	blockio_bounce_exit(bd);
}

/* Device numbers are given again; the sequence number of a disk never is. */
static int blockio_found(struct blockio_device *bd, const struct block_device *bdev)
{
	char words[SCST_BACKING_LEN + 1];
	int len = blockio_number(bdev->bd_dev, words);

	scnprintf(words + len, SCST_BACKING_LEN + 1 - len, " %llu", bdev->bd_disk->diskseq);
	return scst_device_found(&bd->dev, words);
}

static int blockio_setup(struct blockio_device *bd, struct block_device *bdev)
{
	int ret;

	ret = blockio_geometry(bd, bdev);
	if (ret)
		return ret;
	/* What an earlier opener left in the page cache is not seen by bios. */
	ret = sync_blockdev(bdev);
	if (ret) {
		pr_warn("%s: path %s: what was cached of it cannot be written: error %d\n", bd->dev.name, bd->path,
			ret);
		return ret;
	}
	return blockio_reserves_init(bd);
}

static int blockio_open(struct scst_device *dev, const struct scst_opening *opening)
{
	struct blockio_device *bd = to_blockio(dev);
	struct file *file;
	int ret;

	file = blockio_open_path(bd, opening);
	if (IS_ERR(file))
		return blockio_not_opened(bd, PTR_ERR(file));
	ret = blockio_found(bd, file_bdev(file)) ?: blockio_setup(bd, file_bdev(file));
	if (ret) {
		bdev_fput(file);
		return ret;
	}
	bd->bdev_file = file;
	WRITE_ONCE(bd->bdev, file_bdev(file));
	return 0;
}

/* What the disk has acknowledged is the disk's: there is nothing here that could still be lost. */
static int blockio_close(struct scst_device *dev)
{
	struct blockio_device *bd = to_blockio(dev);

	bd->had_cache = bdev_write_cache(bd->bdev);
	/* Whoever else has it open may have cached what initiators have overwritten since. */
	invalidate_bdev(bd->bdev);
	WRITE_ONCE(bd->bdev, NULL);
	bdev_fput(bd->bdev_file);
	bd->bdev_file = NULL;
	blockio_reserves_exit(bd);
	return 0;
}

/* Also without a pin: a disk that is closed and goes stays in memory for readers under RCU. */
static bool blockio_write_cache(const struct scst_device *dev)
{
	const struct blockio_device *bd = container_of(dev, struct blockio_device, dev);
	struct block_device *bdev;
	bool cache;

	if (dev->write_through)
		return false;
	rcu_read_lock();
	bdev = READ_ONCE(bd->bdev);
	cache = bdev ? bdev_write_cache(bdev) : bd->had_cache;
	rcu_read_unlock();
	return cache;
}

static s64 blockio_capacity(struct scst_device *dev)
{
	return bdev_nr_bytes(to_blockio(dev)->bdev);
}

/* A disk and its partitions are different things here. */
static const void *blockio_backing(const struct scst_device *dev)
{
	return READ_ONCE(container_of(dev, struct blockio_device, dev)->bdev);
}

static void blockio_free(struct scst_device *dev)
{
	kfree(to_blockio(dev)->path);
}

/* --- attributes ----------------------------------------------------------------------------- */

static ssize_t blockio_path_show(struct config_item *item, char *page)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_show_path(dev, &to_blockio(dev)->path, page);
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
	.flags		= SCST_HANDLER_DIRECT | SCST_HANDLER_FACTS | SCST_HANDLER_THIN | SCST_HANDLER_PROTECTION,
	.attrs		= blockio_attrs,
	.free		= blockio_free,
	.check		= blockio_check,
	.open		= blockio_open,
	.close		= blockio_close,
	.execute	= blockio_execute,
	.write_cache	= blockio_write_cache,
	.capacity	= blockio_capacity,
	.backing	= blockio_backing,
};

static int __init blockio_init(void)
{
	return scst_handler_register(&blockio_handler);
}

static void __exit blockio_exit(void)
{
	scst_handler_unregister(&blockio_handler);
}

module_init(blockio_init);
module_exit(blockio_exit);

MODULE_DESCRIPTION("SCSI target device handler: block devices");
MODULE_LICENSE("GPL");
MODULE_ALIAS("scst-handler-blockio");
