// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device handler fileio: a regular file, through the page cache or around it (o_direct).
 *
 * Reads of cached pages complete in the submitter's context; everything else may wait for a
 * file system and runs on the core's threads.
 */
#include <linux/bvec.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/log2.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/namei.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/uio.h>
#include <linux/workqueue.h>
#include "scst.h"
#include "compat.h"

#define FILEIO_BLOCK_SIZE	512
#define FILEIO_INLINE_BVECS	20

/**
 * struct fileio_device - a file behind a logical unit
 * @dev: the core's half
 * @path: of the file
 * @o_direct: bypass the page cache
 * @file: open while the device is active
 * @cached: what is in the page cache may be read from it without asking the file system
 * @pos_mask: bits that must be clear in position and length of direct I/O
 * @mem_mask: bits that must be clear in address and length of its segments
 */
struct fileio_device {
	struct scst_device dev;
	char *path;
	bool o_direct;
	bool cached;
	unsigned int pos_mask;
	unsigned int mem_mask;
	struct file *file;
};

/* In the command's private memory. */
struct fileio_cmd {
	struct kiocb iocb;
	struct work_struct work;	/* the rest of a direct I/O that did not get through */
	struct bio_vec *bvec;
	u32 done;			/* bytes direct I/O has moved */
	struct bio_vec inline_bvec[FILEIO_INLINE_BVECS];
};

static_assert(sizeof(struct fileio_cmd) <= SCST_CMD_PRIVATE);

static struct workqueue_struct *fileio_wq;

static struct fileio_device *to_fileio(struct scst_device *dev)
{
	return container_of(dev, struct fileio_device, dev);
}

/*
 * The initiator may be this host, and its memory may be waiting for us to write it back.  So
 * allocations must not start I/O, and the file's writes are throttled only by the state of their own
 * backing device, not by dirty pages whose cleaning depends on them.
 */
static unsigned int fileio_enter(void)
{
	unsigned int flags = current->flags;

	current->flags |= PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE;
	return flags;
}

static void fileio_leave(unsigned int flags)
{
	current_restore_flags(flags, PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE);
}

/* --- reads from the page cache, in any context ---------------------------------------------- */

struct fileio_cursor {
	struct scatterlist *sg;
	unsigned int offset;
};

static void fileio_copy(void *to, const void *from, unsigned int len)
{
	if (len == PAGE_SIZE)
		copy_page(to, (void *)from);
	else
		memcpy(to, from, len);
}

/* Up to the end of a page, here or there; returns the bytes copied. */
static unsigned int fileio_copy_part(struct fileio_cursor *to, struct page *from,
				     unsigned int offset, unsigned int len)
{
	unsigned int at = to->sg->offset + to->offset;
	void *src, *dst;

	len = min3(len, to->sg->length - to->offset,
		   (unsigned int)PAGE_SIZE - max_t(unsigned int, offset, offset_in_page(at)));
	dst = kmap_local_page(sg_page(to->sg) + (at >> PAGE_SHIFT));
	src = kmap_local_page(from);
	fileio_copy(dst + offset_in_page(at), src + offset, len);
	kunmap_local(src);
	kunmap_local(dst);

	to->offset += len;
	if (to->offset == to->sg->length) {
		to->sg = sg_next(to->sg);
		to->offset = 0;
	}
	return len;
}

static bool fileio_copy_folio(struct fileio_cursor *to, struct folio *folio, size_t offset,
			      size_t len)
{
	while (len) {
		struct page *page = folio_page(folio, offset >> PAGE_SHIFT);
		unsigned int n;

		if (unlikely(PageHWPoison(page)))
			return false;
		n = fileio_copy_part(to, page, offset_in_page(offset), len);
		offset += n;
		len -= n;
	}
	return true;
}

/*
 * A folio with the readahead mark is left to the file system's read, which starts the next
 * stretch of readahead when it meets the mark.
 */
static bool fileio_folio_usable(const struct address_space *mapping, struct folio *folio)
{
	return folio_test_uptodate(folio) && folio->mapping == mapping &&
	       !folio_test_readahead(folio);
}

/*
 * The submitter may be inside the dispatch of a block layer (current->bio_list) or a
 * transaction of a file system (current->journal_info): waiting for I/O there can wait for itself,
 * and entering a file system would find the other one's transaction.  Folios that are
 * present and up to date need neither.  For anything else the answer is "no"; what has been
 * copied until then is overwritten by execute().
 */
static bool fileio_read_cached(struct scst_cmd *cmd)
{
	struct address_space *mapping = to_fileio(cmd->dev)->file->f_mapping;
	struct fileio_cursor to = { .sg = cmd->sg };
	loff_t pos = scst_cmd_pos(cmd);
	u32 left = cmd->len;

	while (left) {
		struct folio *folio = filemap_get_folio(mapping, pos >> PAGE_SHIFT);
		size_t offset, n;
		bool ok;

		if (IS_ERR(folio))
			return false;
		offset = offset_in_folio(folio, pos);
		n = min_t(size_t, left, folio_size(folio) - offset);
		ok = fileio_folio_usable(mapping, folio) &&
		     fileio_copy_folio(&to, folio, offset, n);
		/* Its per-CPU lists are not safe against softirqs. */
		if (ok && in_task())
			folio_mark_accessed(folio);
		folio_put(folio);
		if (!ok)
			return false;
		pos += n;
		left -= n;
	}
	/* Truncation lowers the size before it clears what is beyond: the copy was in time. */
	smp_rmb();
	return pos <= i_size_read(mapping->host);
}

static bool fileio_try_execute(struct scst_cmd *cmd)
{
	if (cmd->action != SCST_ACTION_READ || !to_fileio(cmd->dev)->cached)
		return false;
	if (!fileio_read_cached(cmd))
		return false;
	scst_cmd_done(cmd, 0);
	return true;
}

/* --- through the file system ---------------------------------------------------------------- */

/* The command's buffer from byte @skip on, in at most @max segments; returns its length. */
static u32 fileio_map(struct scst_cmd *cmd, u32 skip, struct bio_vec *bvec, unsigned int max,
		      struct iov_iter *iter)
{
	struct scatterlist *sg = cmd->sg;
	u32 left = cmd->len - skip;
	unsigned int nr = 0;
	u32 bytes = 0;

	for (; skip >= sg->length; sg = sg_next(sg))
		skip -= sg->length;
	for (; bytes < left && nr < max; sg = sg_next(sg), skip = 0) {
		u32 n = min(left - bytes, sg->length - skip);
		unsigned int at = sg->offset + skip;

		bvec_set_page(&bvec[nr++], sg_page(sg) + (at >> PAGE_SHIFT), n, offset_in_page(at));
		bytes += n;
	}
	iov_iter_bvec(iter, cmd->action == SCST_ACTION_READ ? ITER_DEST : ITER_SOURCE,
		      bvec, nr, bytes);
	return bytes;
}

/* One call of the file system, synchronous and through the page cache. */
static ssize_t fileio_iter(struct file *file, struct kiocb *iocb, struct iov_iter *iter, loff_t pos)
{
	ssize_t ret;

	init_sync_kiocb(iocb, file);
	iocb->ki_flags &= ~IOCB_DIRECT;
	iocb->ki_pos = pos;
	if (iov_iter_rw(iter) == READ)
		return file->f_op->read_iter(iocb, iter);

	iocb->ki_flags |= IOCB_WRITE;
	file_start_write(file);
	ret = file->f_op->write_iter(iocb, iter);
	file_end_write(file);
	return ret;
}

static bool fileio_stable(const struct scst_cmd *cmd)
{
	return cmd->action == SCST_ACTION_WRITE && (cmd->fua || cmd->dev->write_through);
}

/*
 * In pieces of what the segments inside the command can describe, so that it needs no memory.
 * A stable write is made stable once, at the end.  No progress means the end of
 * a file that has shrunk; a full file system says so on the call after a short one.
 */
static int fileio_buffered(struct scst_cmd *cmd, u32 done)
{
	struct file *file = to_fileio(cmd->dev)->file;
	struct fileio_cmd *fc = scst_cmd_private(cmd);
	loff_t pos = scst_cmd_pos(cmd);
	struct iov_iter iter;
	ssize_t ret;

	while (done < cmd->len) {
		fileio_map(cmd, done, fc->inline_bvec, FILEIO_INLINE_BVECS, &iter);
		ret = fileio_iter(file, &fc->iocb, &iter, pos + done);
		if (ret <= 0)
			return ret ?: -EIO;
		done += ret;
	}
	if (fileio_stable(cmd))
		return vfs_fsync_range(file, pos, pos + cmd->len - 1, 1);
	return 0;
}

static void fileio_finish(struct scst_cmd *cmd, int error)
{
	struct fileio_cmd *fc = scst_cmd_private(cmd);

	if (fc->bvec != fc->inline_bvec)
		kfree(fc->bvec);
	scst_cmd_done(cmd, error);
}

static void fileio_rest_work(struct work_struct *work)
{
	struct fileio_cmd *fc = container_of(work, struct fileio_cmd, work);
	struct scst_cmd *cmd = container_of((void *)fc, struct scst_cmd, handler_private);
	unsigned int flags = fileio_enter();

	fileio_finish(cmd, fileio_buffered(cmd, fc->done));
	fileio_leave(flags);
}

/*
 * Any context.  Direct I/O may refuse (alignment) or stop short (holes, the end of the file); the
 * page cache takes whatever is left.
 */
static void fileio_direct_complete(struct kiocb *iocb, long ret)
{
	struct fileio_cmd *fc = container_of(iocb, struct fileio_cmd, iocb);
	struct scst_cmd *cmd = container_of((void *)fc, struct scst_cmd, handler_private);

	if (iocb->ki_flags & IOCB_WRITE)
		kiocb_end_write(iocb);
	if (ret == cmd->len) {
		fileio_finish(cmd, 0);
	} else if (ret >= 0 || ret == -EINVAL || ret == -EOPNOTSUPP) {
		fc->done = max(ret, 0L);
		INIT_WORK(&fc->work, fileio_rest_work);
		queue_work(fileio_wq, &fc->work);
	} else {
		fileio_finish(cmd, ret);
	}
}

static void fileio_direct_start(struct scst_cmd *cmd, struct iov_iter *iter)
{
	struct fileio_cmd *fc = scst_cmd_private(cmd);
	struct file *file = to_fileio(cmd->dev)->file;
	struct kiocb *iocb = &fc->iocb;
	ssize_t ret;

	init_sync_kiocb(iocb, file);
	iocb->ki_flags |= IOCB_DIRECT;
	iocb->ki_pos = scst_cmd_pos(cmd);
	iocb->ki_complete = fileio_direct_complete;
	if (cmd->action == SCST_ACTION_READ) {
		ret = file->f_op->read_iter(iocb, iter);
	} else {
		iocb->ki_flags |= IOCB_WRITE | (fileio_stable(cmd) ? IOCB_DSYNC : 0);
		kiocb_start_write(iocb);
		ret = file->f_op->write_iter(iocb, iter);
	}
	if (ret != -EIOCBQUEUED)
		fileio_direct_complete(iocb, ret);
}

/* May direct I/O take this command?  If so, it is mapped. */
static bool fileio_direct_map(struct scst_cmd *cmd, struct iov_iter *iter)
{
	struct fileio_device *fd = to_fileio(cmd->dev);
	struct fileio_cmd *fc = scst_cmd_private(cmd);

	if (!fd->o_direct || (scst_cmd_pos(cmd) | cmd->len) & fd->pos_mask)
		return false;
	if (cmd->sg_cnt > FILEIO_INLINE_BVECS) {
		fc->bvec = kmalloc_array(cmd->sg_cnt, sizeof(*fc->bvec),
					 GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN);
		if (!fc->bvec) {
			fc->bvec = fc->inline_bvec;
			return false;
		}
	}
	fileio_map(cmd, 0, fc->bvec, cmd->sg_cnt, iter);
	return !(iov_iter_alignment(iter) & fd->mem_mask);
}

static void fileio_rw(struct scst_cmd *cmd)
{
	struct fileio_cmd *fc = scst_cmd_private(cmd);
	struct iov_iter iter;

	fc->bvec = fc->inline_bvec;
	if (fileio_direct_map(cmd, &iter))
		fileio_direct_start(cmd, &iter);
	else
		fileio_finish(cmd, fileio_buffered(cmd, 0));
}

static int fileio_sync(struct scst_cmd *cmd)
{
	loff_t pos = scst_cmd_pos(cmd);
	loff_t end = cmd->sync_len ? pos + cmd->sync_len - 1 : LLONG_MAX;

	return vfs_fsync_range(to_fileio(cmd->dev)->file, pos, end, 1);
}

static void fileio_execute(struct scst_cmd *cmd)
{
	unsigned int flags = fileio_enter();

	switch (cmd->action) {
	case SCST_ACTION_READ:
	case SCST_ACTION_WRITE:
		fileio_rw(cmd);
		break;
	case SCST_ACTION_SYNC:
		scst_cmd_done(cmd, fileio_sync(cmd));
		break;
	default:
		scst_cmd_done(cmd, -EOPNOTSUPP);
	}
	fileio_leave(flags);
}

static int fileio_read(struct scst_device *dev, void *buf, unsigned int len, loff_t pos)
{
	struct kvec kvec = { .iov_base = buf, .iov_len = len };
	unsigned int flags = fileio_enter();
	struct iov_iter iter;
	struct kiocb iocb;
	ssize_t ret = 0;

	iov_iter_kvec(&iter, ITER_DEST, &kvec, 1, len);
	while (iov_iter_count(&iter)) {
		ret = fileio_iter(to_fileio(dev)->file, &iocb, &iter, pos);
		if (ret <= 0)
			break;
		pos += ret;
	}
	fileio_leave(flags);
	if (iov_iter_count(&iter))
		return ret ?: -EIO;
	return 0;
}

/* --- backing -------------------------------------------------------------------------------- */

static int fileio_check(struct scst_device *dev)
{
	const char *path = to_fileio(dev)->path;

	return path && *path ? 0 : -ENODATA;
}

/* Looks before it opens: opening a pipe or a tape has effects of its own. */
static struct file *fileio_open_regular(const char *name, int flags)
{
	struct file *file = ERR_PTR(-EINVAL);
	struct path path;
	int ret;

	ret = kern_path(name, LOOKUP_FOLLOW, &path);
	if (ret)
		return ERR_PTR(ret);
	if (S_ISREG(d_inode(path.dentry)->i_mode))
		file = dentry_open(&path, flags, current_cred());
	path_put(&path);
	return file;
}

/*
 * On local file systems a folio in the cache is the file's content.  Network file systems have to
 * ask before they believe that, and DAX has no folios to find.
 */
static bool fileio_cache_is_content(struct file *file)
{
	struct super_block *sb = file_inode(file)->i_sb;

	if (IS_DAX(file_inode(file)))
		return false;
	return sb->s_magic == TMPFS_MAGIC || sb->s_type->fs_flags & FS_REQUIRES_DEV;
}

/* File systems that do not tell their alignment go by their device's, or by a sector. */
static void fileio_direct_alignment(struct fileio_device *fd, const struct kstat *stat)
{
	struct super_block *sb = file_inode(fd->file)->i_sb;

	if (stat->result_mask & STATX_DIOALIGN && stat->dio_offset_align) {
		fd->pos_mask = stat->dio_offset_align - 1;
		fd->mem_mask = stat->dio_mem_align - 1;
	} else {
		fd->pos_mask = sb->s_bdev ? bdev_logical_block_size(sb->s_bdev) - 1 : SECTOR_SIZE - 1;
		fd->mem_mask = fd->pos_mask;
	}
}

static int fileio_setup(struct fileio_device *fd)
{
	struct scst_device *dev = &fd->dev;
	struct file *file = fd->file;
	struct kstat stat;
	int ret;

	if (!file->f_op->read_iter || (!dev->read_only && !file->f_op->write_iter))
		return -EINVAL;
	ret = vfs_getattr(&file->f_path, &stat, STATX_SIZE | STATX_DIOALIGN, AT_STATX_SYNC_AS_STAT);
	if (ret)
		return ret;
	dev->block_shift = ilog2(dev->block_size ?: FILEIO_BLOCK_SIZE);
	dev->nblocks = stat.size >> dev->block_shift;
	if (!dev->nblocks)
		return -EINVAL;
	dev->volatile_cache = !dev->write_through;
	dev->fua = true;
	fd->cached = !fd->o_direct && fileio_cache_is_content(file);
	fileio_direct_alignment(fd, &stat);
	return 0;
}

static int fileio_open(struct scst_device *dev)
{
	struct fileio_device *fd = to_fileio(dev);
	int flags = O_LARGEFILE | (dev->read_only ? O_RDONLY : O_RDWR);
	int ret;

	if (fd->o_direct)
		flags |= O_DIRECT;
	fd->file = fileio_open_regular(fd->path, flags);
	if (IS_ERR(fd->file))
		return PTR_ERR(fd->file);
	ret = fileio_setup(fd);
	if (ret)
		fput(fd->file);
	return ret;
}

static void fileio_close(struct scst_device *dev)
{
	struct fileio_device *fd = to_fileio(dev);

	scst_fput(fd->file);
	fd->file = NULL;
}

static void fileio_free(struct scst_device *dev)
{
	kfree(to_fileio(dev)->path);
}

/* --- attributes ----------------------------------------------------------------------------- */

static ssize_t fileio_path_show(struct config_item *item, char *page)
{
	struct scst_device *dev = scst_device_of(item);
	ssize_t ret;

	mutex_lock(&dev->lock);
	ret = sysfs_emit(page, "%s\n", to_fileio(dev)->path ?: "");
	mutex_unlock(&dev->lock);
	return ret;
}

static ssize_t fileio_path_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_store_path(dev, &to_fileio(dev)->path, page, count) ?: count;
}

CONFIGFS_ATTR(fileio_, path);

static ssize_t fileio_o_direct_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", to_fileio(scst_device_of(item))->o_direct);
}

static ssize_t fileio_o_direct_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_store_bool(dev, &to_fileio(dev)->o_direct, page) ?: count;
}

CONFIGFS_ATTR(fileio_, o_direct);

static struct configfs_attribute *fileio_attrs[] = {
	&fileio_attr_path,
	&fileio_attr_o_direct,
	NULL,
};

static const struct scst_handler fileio_handler = {
	.owner		= THIS_MODULE,
	.name		= "fileio",
	.device_size	= sizeof(struct fileio_device),
	.attrs		= fileio_attrs,
	.free		= fileio_free,
	.check		= fileio_check,
	.open		= fileio_open,
	.close		= fileio_close,
	.try_execute	= fileio_try_execute,
	.execute	= fileio_execute,
	.read		= fileio_read,
};

static int __init fileio_init(void)
{
	int ret;

	fileio_wq = alloc_workqueue("scst_fileio", WQ_UNBOUND, 0);
	if (!fileio_wq)
		return -ENOMEM;
	ret = scst_handler_register(&fileio_handler);
	if (ret)
		destroy_workqueue(fileio_wq);
	return ret;
}

static void __exit fileio_exit(void)
{
	scst_handler_unregister(&fileio_handler);
	destroy_workqueue(fileio_wq);
}

module_init(fileio_init);
module_exit(fileio_exit);

MODULE_DESCRIPTION("SCSI target device handler: regular files");
MODULE_LICENSE("GPL");
MODULE_ALIAS("scst-handler-fileio");
