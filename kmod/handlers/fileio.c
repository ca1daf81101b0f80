// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device handler fileio: a regular file, through the page cache or around it (o_direct).
 *
 * Reads of cached pages complete in the submitter's context, or are sent from the page cache itself; everything
 * else may wait for a file system and runs on the device's own threads.
 */
#include "fileio.h"
#include <linux/backing-dev.h>
#include <linux/bvec.h>
#include <linux/errseq.h>
#include <linux/fadvise.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/highmem.h>
#include <linux/log2.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/statfs.h>
#include <linux/swap.h>
#include <linux/uio.h>

#define FILEIO_BLOCK_SIZE	512
#define FILEIO_MAX_PHYSICAL	4096
#define FILEIO_SOFTIRQ_MAX	SZ_64K
#define FILEIO_INLINE_BVECS	10
#define FILEIO_STACK_BVECS	32
#define FILEIO_LENT		(SCST_CMD_PRIVATE / sizeof(struct scatterlist))

/* Of a direct I/O, in the command's private memory. */
struct fileio_cmd {
	struct kiocb iocb;
	struct scst_job job;		/* the rest, if it did not get through */
	struct bio_vec *bvec;
	atomic_t pending;		/* the I/O, and the call that starts it */
	int ret;			/* bytes it has moved, or why it has not */
	struct bio_vec inline_bvec[FILEIO_INLINE_BVECS];
};

static_assert(sizeof(struct fileio_cmd) <= SCST_CMD_PRIVATE);

/* --- reads from the page cache, in any context ---------------------------------------------- */

static bool fileio_folio_poisoned(struct folio *folio)
{
	return folio_test_hwpoison(folio) || (folio_test_large(folio) && folio_test_has_hwpoisoned(folio));
}

/*
 * A folio with the readahead mark is left to the file system's read, which starts the next stretch of readahead when
 * it meets the mark.  So is one with a page that the hardware can't read: it knows which.
 */
static bool fileio_folio_usable(const struct address_space *mapping, struct folio *folio)
{
	return folio_test_uptodate(folio) && folio->mapping == mapping && !folio_test_readahead(folio) &&
	       !fileio_folio_poisoned(folio);
}

/*
 * What is in the page cache at @pos: a folio, with a reference, and how much of it from where; no more than @left bytes.
 * NULL: it is not to be had.
 */
static __always_inline struct folio *fileio_get_folio(struct address_space *mapping, loff_t pos, u32 left,
						      size_t *offset, u32 *len)
{
	struct folio *folio = filemap_get_folio(mapping, pos >> PAGE_SHIFT);

	if (IS_ERR(folio))
		return NULL;
	if (unlikely(!fileio_folio_usable(mapping, folio))) {
		folio_put(folio);
		return NULL;
	}
	/* Its per-CPU lists are not safe against softirqs. */
	if (in_task())
		folio_mark_accessed(folio);
	*offset = offset_in_folio(folio, pos);
	*len = min_t(size_t, left, folio_size(folio) - *offset);
	return folio;
}

struct fileio_cursor {
	struct scatterlist *sg;
	u32 offset;
};

/* SCST runs on 64-bit kernels, where all memory is mapped: folios and segments are one stretch each. */
static void fileio_copy(struct fileio_cursor *to, const void *from, u32 len)
{
	while (len) {
		u32 n;

		/* Not when the last one is full: most commands have no other. */
		if (to->offset == to->sg->length) {
			to->sg = sg_next(to->sg);
			to->offset = 0;
		}
		n = min(len, to->sg->length - to->offset);
		memcpy(sg_virt(to->sg) + to->offset, from, n);
		to->offset += n;
		from += n;
		len -= n;
	}
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
	struct fileio_cursor to = { .sg = cmd->data.sgl };
	loff_t pos = cmd->pos;
	u32 left = cmd->len, n;
	size_t offset;

	while (left) {
		struct folio *folio = fileio_get_folio(mapping, pos, left, &offset, &n);

		if (!folio)
			return false;
		fileio_copy(&to, folio_address(folio) + offset, n);
		folio_put(folio);
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
	if (unlikely(cmd->len > FILEIO_SOFTIRQ_MAX) && !in_task())
		return false;
	if (!fileio_read_cached(cmd))
		return false;
	scst_cmd_done(cmd, 0);
	return true;
}

/* --- reads from the page cache, without a copy ------------------------------------------------ */

/* Any context: folio_put() is allowed in hard interrupts, the last one, too, as when direct I/O ends there. */
static void fileio_put_folios(struct scatterlist *sgl, unsigned int nr)
{
	while (nr--)
		folio_put(page_folio(sg_page(&sgl[nr])));
}

static unsigned int fileio_lend_folios(struct scst_cmd *cmd, struct scatterlist *sgl)
{
	struct address_space *mapping = to_fileio(cmd->dev)->file->f_mapping;
	unsigned int nr = 0;
	u32 done = 0, n;
	size_t offset;

	sg_init_table(sgl, FILEIO_LENT);
	while (done < cmd->len && nr < FILEIO_LENT) {
		struct folio *folio = fileio_get_folio(mapping, cmd->pos + done, cmd->len - done, &offset, &n);

		if (!folio)
			break;
		sg_set_page(&sgl[nr++], folio_page(folio, offset >> PAGE_SHIFT), n, offset_in_page(offset));
		done += n;
	}
	/* As for a copy: what is truncated from here on was there when it was lent. */
	smp_rmb();
	if (done == cmd->len && nr && cmd->pos + done <= i_size_read(mapping->host)) {
		sg_mark_end(&sgl[nr - 1]);
		return nr;
	}
	fileio_put_folios(sgl, nr);
	return 0;
}

static bool fileio_lend(struct scst_cmd *cmd)
{
	struct scatterlist *sgl = scst_cmd_private(cmd);
	unsigned int nr;

	if (!to_fileio(cmd->dev)->cached)
		return false;
	nr = fileio_lend_folios(cmd, sgl);
	if (!nr)
		return false;
	cmd->data = (struct scst_data) {
		.sgl		= sgl,
		.nents		= nr,
		.len		= cmd->len,
		.owner		= SCST_DATA_HANDLER,
		.read_only	= true,
	};
	return true;
}

static void fileio_unlend(struct scst_cmd *cmd)
{
	fileio_put_folios(scst_cmd_private(cmd), cmd->data.nents);
}

/* --- through the file system ---------------------------------------------------------------- */

/* The command's buffer from byte @skip on, in at most @max segments; returns its length. */
static u32 fileio_map(struct scst_cmd *cmd, u32 skip, struct bio_vec *bvec, unsigned int max,
		      struct iov_iter *iter)
{
	struct scatterlist *sg = cmd->data.sgl;
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
 * In pieces of what @max segments can describe, so that it needs no memory.
 * A stable write is made stable once, at the end.  No progress means the end of
 * a file that has shrunk; a full file system says so on the call after a short one.
 */
static __always_inline int fileio_pieces(struct scst_cmd *cmd, u32 done, struct bio_vec *bvec, unsigned int max)
{
	struct file *file = to_fileio(cmd->dev)->file;
	loff_t pos = cmd->pos;
	struct iov_iter iter;
	struct kiocb iocb;
	ssize_t ret;

	while (done < cmd->len) {
		fileio_map(cmd, done, bvec, max, &iter);
		ret = fileio_iter(file, &iocb, &iter, pos + done);
		if (ret <= 0)
			return ret ?: -EIO;
		done += ret;
	}
	if (fileio_stable(cmd))
		return vfs_fsync_range(file, pos, pos + cmd->len - 1, 1);
	return 0;
}

static noinline int fileio_scattered(struct scst_cmd *cmd, u32 done)
{
	struct bio_vec bvec[FILEIO_STACK_BVECS];

	return fileio_pieces(cmd, done, bvec, FILEIO_STACK_BVECS);
}

/* One segment is the most frequent number by far, and kernels may clear what is on the stack for each command. */
static int fileio_buffered(struct scst_cmd *cmd, u32 done)
{
	struct bio_vec one;

	return cmd->data.nents == 1 ? fileio_pieces(cmd, done, &one, 1) : fileio_scattered(cmd, done);
}

static void fileio_direct_finish(struct scst_cmd *cmd, int error)
{
	struct fileio_cmd *fc = scst_cmd_private(cmd);

	if (fc->bvec != fc->inline_bvec)
		kfree(fc->bvec);
	scst_cmd_done(cmd, error);
}

static void fileio_rest_job(struct scst_job *job)
{
	struct fileio_cmd *fc = container_of(job, struct fileio_cmd, job);
	struct scst_cmd *cmd = scst_cmd_of_private(fc);
	unsigned int flags = fileio_enter();

	fileio_direct_finish(cmd, fileio_buffered(cmd, max(fc->ret, 0)));
	fileio_leave(flags);
}

/*
 * Any context.  Direct I/O may refuse (alignment) or stop short (holes, the end of the file); the
 * page cache takes whatever is left.
 */
static void fileio_direct_over(struct scst_cmd *cmd)
{
	struct fileio_cmd *fc = scst_cmd_private(cmd);
	int ret = fc->ret;

	if (ret == cmd->len)
		fileio_direct_finish(cmd, 0);
	else if (ret >= 0 || ret == -EINVAL || ret == -EOPNOTSUPP)
		scst_device_defer(cmd->dev, &fc->job, fileio_rest_job);
	else
		fileio_direct_finish(cmd, ret);
}

/*
 * File systems look at the iocb once more when they have queued the I/O, which may have ended by then.  So the
 * command goes on when both are through.
 */
static void fileio_direct_put(struct fileio_cmd *fc)
{
	if (atomic_dec_and_test(&fc->pending))
		fileio_direct_over(scst_cmd_of_private(fc));
}

/* Any context. */
static void fileio_direct_complete(struct kiocb *iocb, long ret)
{
	struct fileio_cmd *fc = container_of(iocb, struct fileio_cmd, iocb);

	if (iocb->ki_flags & IOCB_WRITE)
		kiocb_end_write(iocb);
	fc->ret = ret;
	fileio_direct_put(fc);
}

static void fileio_direct_start(struct scst_cmd *cmd, struct iov_iter *iter)
{
	struct fileio_cmd *fc = scst_cmd_private(cmd);
	struct file *file = to_fileio(cmd->dev)->file;
	struct kiocb *iocb = &fc->iocb;
	ssize_t ret;

	atomic_set(&fc->pending, 2);
	init_sync_kiocb(iocb, file);
	iocb->ki_flags |= IOCB_DIRECT;
	iocb->ki_pos = cmd->pos;
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
	fileio_direct_put(fc);
}

/* Room for the command's segments, or false: the page cache takes it in pieces. */
static bool fileio_bvec_get(struct scst_cmd *cmd)
{
	struct fileio_cmd *fc = scst_cmd_private(cmd);

	fc->bvec = fc->inline_bvec;
	if (cmd->data.nents > FILEIO_INLINE_BVECS)
		fc->bvec = kmalloc_array(cmd->data.nents, sizeof(*fc->bvec),
					 GFP_NOIO | __GFP_NORETRY | __GFP_NOWARN);
	return fc->bvec;
}

/* May direct I/O take this command?  If so, it has been started. */
static bool fileio_direct(struct scst_cmd *cmd)
{
	struct fileio_device *fd = to_fileio(cmd->dev);
	struct fileio_cmd *fc = scst_cmd_private(cmd);
	struct iov_iter iter;

	if (!fd->o_direct || (cmd->pos | cmd->len) & fd->pos_mask || !fileio_bvec_get(cmd))
		return false;
	fileio_map(cmd, 0, fc->bvec, cmd->data.nents, &iter);
	if (iov_iter_alignment(&iter) & fd->mem_mask) {
		if (fc->bvec != fc->inline_bvec)
			kfree(fc->bvec);
		return false;
	}
	fileio_direct_start(cmd, &iter);
	return true;
}

static void fileio_rw(struct scst_cmd *cmd)
{
	if (unlikely(to_fileio(cmd->dev)->pi))
		scst_cmd_done(cmd, fileio_pi_rw(cmd));
	else if (!fileio_direct(cmd))
		scst_cmd_done(cmd, fileio_buffered(cmd, 0));
}

static int fileio_sync(const struct scst_cmd *cmd)
{
	loff_t pos = cmd->pos;
	loff_t end = cmd->range_len ? pos + cmd->range_len - 1 : LLONG_MAX;
	struct fileio_device *fd = to_fileio(cmd->dev);

	return fd->pi ? fileio_pi_sync(fd) : vfs_fsync_range(fd->file, pos, end, 1);
}

static int fileio_fallocate(const struct scst_cmd *cmd, int mode)
{
	return vfs_fallocate(to_fileio(cmd->dev)->file, mode | FALLOC_FL_KEEP_SIZE, cmd->pos, cmd->range_len);
}

/* A hole reads as zeroes, also where it begins or ends inside a block of the file system. */
int fileio_clear(const struct scst_cmd *cmd)
{
	int ret = -EOPNOTSUPP;

	if (cmd->action == SCST_ACTION_UNMAP || cmd->unmap)
		ret = fileio_fallocate(cmd, FALLOC_FL_PUNCH_HOLE);
	if (ret == -EOPNOTSUPP && cmd->action == SCST_ACTION_ZERO)
		ret = fileio_fallocate(cmd, FALLOC_FL_ZERO_RANGE);
	return ret;
}

/* What was copied of the last block counts when all of it is; of less than a block, the core copies by itself. */
static ssize_t fileio_whole_blocks(const struct scst_device *from, const struct scst_device *to, ssize_t len)
{
	return round_down(len, 1 << max(from->geo.block_shift, to->geo.block_shift)) ?: -EOPNOTSUPP;
}

/*
 * Within one file system: blocks are shared where it can do that, or it copies by itself.  With o_direct they are only shared: a copy through the
 * page cache is not what it asks for.
 */
static ssize_t fileio_copy_range(struct scst_cmd *cmd, struct scst_device *from, u64 pos)
{
	struct file *in = to_fileio(from)->file, *out = to_fileio(cmd->dev)->file;
	bool direct = to_fileio(from)->o_direct || to_fileio(cmd->dev)->o_direct;
	unsigned int flags;
	ssize_t ret;

	/* It would have to be checked, or generated. */
	if (to_fileio(from)->pi || to_fileio(cmd->dev)->pi)
		return -EOPNOTSUPP;
	if (file_inode(in)->i_sb != file_inode(out)->i_sb)
		return -EOPNOTSUPP;
	flags = fileio_enter();
	if (direct)
		ret = vfs_clone_file_range(in, pos, out, cmd->pos, cmd->len, 0);
	else
		ret = vfs_copy_file_range(in, pos, out, cmd->pos, cmd->len, 0);
	fileio_leave(flags);
	if (ret == -EINVAL || ret == -EXDEV || ret == -ENOSYS || ret == -ETXTBSY)
		return -EOPNOTSUPP;
	return ret > 0 && ret < cmd->len ? fileio_whole_blocks(from, cmd->dev, ret) : ret;
}

static noinline int fileio_without_data(struct scst_cmd *cmd)
{
	switch (cmd->action) {
	case SCST_ACTION_SYNC:
		return fileio_sync(cmd);
	case SCST_ACTION_UNMAP:
	case SCST_ACTION_ZERO:
		return to_fileio(cmd->dev)->pi ? fileio_pi_clear(cmd) : fileio_clear(cmd);
	default:
		return -EOPNOTSUPP;
	}
}

static void fileio_execute(struct scst_cmd *cmd)
{
	unsigned int flags = fileio_enter();

	if (likely(cmd->action == SCST_ACTION_READ || cmd->action == SCST_ACTION_WRITE))
		fileio_rw(cmd);
	else
		scst_cmd_done(cmd, fileio_without_data(cmd));
	fileio_leave(flags);
}

/* --- backing -------------------------------------------------------------------------------- */

static bool fileio_is_set(const char *path)
{
	return path && *path;
}

static int fileio_check(struct scst_device *dev)
{
	const struct fileio_device *fd = to_fileio(dev);

	if (!fileio_is_set(fd->path))
		return -ENODATA;
	if (!dev->protection || fileio_is_set(fd->protection_file))
		return 0;
	pr_warn("%s: protection is %u, but there is no protection_file\n", dev->name, dev->protection);
	return -EINVAL;
}

/*
 * Files of the kernel's own file systems (proc, sysfs, configfs, debugfs, cgroups ...) are conversations, not memory:
 * their sizes are made up, and writing is a command.  What tells them from all others is that nothing of theirs is
 * ever written back.  Three kinds keep data without that: two in memory, and one in files of others.
 */
static bool fileio_keeps_data(const struct super_block *sb)
{
	switch (sb->s_magic) {
	case OVERLAYFS_SUPER_MAGIC:
	case RAMFS_MAGIC:
	case TMPFS_MAGIC:
		return true;
	default:
		return sb->s_bdi->capabilities & BDI_CAP_WRITEBACK;
	}
}

static int fileio_check_inode(const struct fileio_device *fd, const struct inode *inode)
{
	if (!S_ISREG(inode->i_mode)) {
		pr_warn("%s: path %s: not a regular file\n", fd->dev.name, fd->path);
		return -EINVAL;
	}
	if (!fileio_keeps_data(inode->i_sb)) {
		pr_warn("%s: path %s: files of type %s do not keep data\n", fd->dev.name, fd->path,
			inode->i_sb->s_type->name);
		return -EINVAL;
	}
	return 0;
}

/* The same for as long as there is the file, and its birth tells it from others that get its number later. */
static int fileio_words(const struct fileio_device *fd, const struct path *path, char words[SCST_BACKING_LEN + 1])
{
	struct kstat stat;
	int ret, len;

	ret = vfs_getattr(path, &stat, STATX_INO | STATX_BTIME, AT_STATX_SYNC_AS_STAT);
	if (ret) {
		pr_warn("%s: path %s: no attributes: error %d\n", fd->dev.name, fd->path, ret);
		return ret;
	}
	len = scnprintf(words, SCST_BACKING_LEN + 1, "f %u:%u %llu ", MAJOR(stat.dev), MINOR(stat.dev), stat.ino);
	if (stat.result_mask & STATX_BTIME)
		scnprintf(words + len, SCST_BACKING_LEN + 1 - len, "%lld.%09ld", (s64)stat.btime.tv_sec,
			  stat.btime.tv_nsec);
	else
		strcpy(words + len, "-");
	return 0;
}

/* Looks before it opens: opening a pipe or a tape has effects of its own. */
static int fileio_look(struct fileio_device *fd, const struct scst_opening *opening)
{
	struct file *found = file_open_root(&opening->root, opening->elsewhere ?: fd->path, O_PATH, 0);
	char words[SCST_BACKING_LEN + 1];
	int ret;

	if (IS_ERR(found))
		return PTR_ERR(found);
	ret = fileio_check_inode(fd, file_inode(found)) ?: fileio_words(fd, &found->f_path, words);
	scst_fput(found);
	ret = ret ?: scst_device_expects(&fd->dev, words);
	return ret;
}

/*
 * With the checks of open(2), for who asked: modes, ACLs, immutable and append-only files, security modules.  If a pipe
 * has come into the file's place meanwhile, O_NONBLOCK gets us out again; later on some file systems would read less
 * than they are asked for because of it.
 */
static struct file *fileio_open_file(struct fileio_device *fd, const struct scst_opening *opening)
{
	char words[SCST_BACKING_LEN + 1];
	int flags = O_LARGEFILE | O_NONBLOCK | (fd->dev.read_only ? O_RDONLY : O_RDWR);
	struct file *file;
	int ret;

	ret = fileio_look(fd, opening);
	if (ret)
		return ERR_PTR(ret);
	file = file_open_root(&opening->root, opening->elsewhere ?: fd->path,
			      flags | (fd->o_direct ? O_DIRECT : 0), 0);
	if (IS_ERR(file)) {
		if (fd->o_direct && PTR_ERR(file) == -EINVAL)
			pr_warn("%s: o_direct is 1, but the file system of %s has no direct I/O\n", fd->dev.name,
				fd->path);
		return file;
	}
	ret = fileio_check_inode(fd, file_inode(file)) ?: fileio_words(fd, &file->f_path, words);
	ret = ret ?: scst_device_found(&fd->dev, words);
	if (ret) {
		scst_fput(file);
		return ERR_PTR(ret);
	}
	spin_lock(&file->f_lock);
	file->f_flags &= ~O_NONBLOCK;
	spin_unlock(&file->f_lock);
	return file;
}

/* Says what the reason in the device's directory can't; what is only absent comes again. */
static void fileio_not_opened(const struct fileio_device *fd, int error)
{
	const struct scst_device *dev = &fd->dev;

	switch (error) {
	case -ENOENT:
	case -ENXIO:
	case -ENODEV:
	case -ENOTDIR:
	case -ENOMEDIUM:
		break;
	case -EINVAL:	/* told where they were found */
	case -ESTALE:
		break;
	case -EPERM:
		pr_warn("%s: path %s: not opened with read_only %d: immutable, append-only or forbidden\n",
			dev->name, fd->path, dev->read_only);
		break;
	default:
		pr_warn("%s: path %s: cannot be opened with read_only %d: error %d\n", dev->name, fd->path,
			dev->read_only, error);
	}
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
static void fileio_direct_alignment(struct fileio_device *fd, const struct file *file, const struct kstat *stat)
{
	struct super_block *sb = file_inode(file)->i_sb;

	if (stat->result_mask & STATX_DIOALIGN && stat->dio_offset_align) {
		fd->pos_mask = stat->dio_offset_align - 1;
		fd->mem_mask = stat->dio_mem_align - 1;
	} else {
		fd->pos_mask = sb->s_bdev ? bdev_logical_block_size(sb->s_bdev) - 1 : SECTOR_SIZE - 1;
		fd->mem_mask = fd->pos_mask;
	}
}

/*
 * Smaller writes than the file system's block are read, changed and written by it, as by a disk of such physical
 * blocks: initiators align to them.  Nothing beyond a page: larger blocks are for throughput.
 */
static u8 fileio_physical_exp(const struct inode *inode, u8 block_shift)
{
	unsigned int shift = min_t(unsigned int, inode->i_blkbits, ilog2(FILEIO_MAX_PHYSICAL));

	return shift > block_shift ? shift - block_shift : 0;
}

static int fileio_geometry(struct fileio_device *fd, const struct inode *inode, u64 size)
{
	struct scst_device *dev = &fd->dev;
	u32 block_size = dev->block_size ?: FILEIO_BLOCK_SIZE;
	struct block_device *bdev = inode->i_sb->s_bdev;
	u8 shift = ilog2(block_size);

	if (size < block_size) {
		pr_warn("%s: path %s: %llu bytes are less than a block_size of %u\n", dev->name, fd->path, size,
			block_size);
		return -EINVAL;
	}
	dev->geo = (struct scst_geometry) {
		.nblocks	= size >> shift,
		.block_shift	= shift,
		.physical_exp	= fileio_physical_exp(inode, shift),
		.rotational	= bdev && bdev_rot(bdev),
		.unmap_zeroes	= true,
		.sparse		= true,
		.unmap_granularity = max_t(u32, i_blocksize(inode) >> shift, 1),
	};
	dev->fua = true;
	/* Through the page cache, file systems write a file under a lock of its own. */
	dev->one_writer = !fd->o_direct;
	return 0;
}

/*
 * Can the file have holes?  That a file system knows fallocate() does not say which of its modes, so a hole is made far behind the
 * file's end, where nobody's single write can have come meanwhile.  Nobody gives back anything of what is open for reading only.
 */
static int fileio_try_hole(struct fileio_device *fd, struct file *file)
{
	struct inode *inode = file_inode(file);
	u64 size = i_size_read(inode), block = i_blocksize(inode);
	u64 pos = round_down(min_t(u64, size + SZ_4G, inode->i_sb->s_maxbytes - block), block);
	int ret;

	if (!fd->dev.thin || fd->dev.read_only || pos < size)
		return 0;
	ret = vfs_fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos, block);
	if (ret)
		pr_warn("%s: thin is 1, but files of type %s have no holes: error %d\n", fd->dev.name,
			inode->i_sb->s_type->name, ret);
	return ret;
}

static int fileio_setup(struct fileio_device *fd, struct file *file)
{
	struct kstat stat;
	int ret;

	if (!file->f_op->read_iter || (!fd->dev.read_only && !file->f_op->write_iter)) {
		pr_warn("%s: path %s: its file system has no way to read or write it from here\n", fd->dev.name,
			fd->path);
		return -EINVAL;
	}
	ret = vfs_getattr(&file->f_path, &stat, STATX_SIZE | STATX_DIOALIGN, AT_STATX_SYNC_AS_STAT);
	if (ret) {
		pr_warn("%s: path %s: no size: error %d\n", fd->dev.name, fd->path, ret);
		return ret;
	}
	ret = fileio_geometry(fd, file_inode(file), stat.size) ?: fileio_try_hole(fd, file);
	if (ret)
		return ret;
	/* What has protection information is checked first. */
	fd->cached = !fd->o_direct && !fd->dev.protection && fileio_cache_is_content(file);
	fileio_direct_alignment(fd, file, &stat);
	fd->wb_since = errseq_sample(&file->f_mapping->wb_err);
	return 0;
}

static int fileio_open(struct scst_device *dev, const struct scst_opening *opening)
{
	struct fileio_device *fd = to_fileio(dev);
	struct file *file;
	int ret;

	file = fileio_open_file(fd, opening);
	if (IS_ERR(file)) {
		fileio_not_opened(fd, PTR_ERR(file));
		return PTR_ERR(file);
	}
	ret = fileio_setup(fd, file);
	if (ret) {
		scst_fput(file);
		return ret;
	}
	fd->file = file;
	if (dev->protection)
		ret = fileio_pi_open(fd, opening, dev->geo.nblocks << dev->geo.block_shift);
	if (ret) {
		fd->file = NULL;
		scst_fput(file);
		return ret;
	}
	WRITE_ONCE(fd->inode, file_inode(file));
	return 0;
}

static int fileio_wb_error(struct scst_device *dev, errseq_t *since)
{
	int ret = errseq_check_and_advance(&to_fileio(dev)->file->f_mapping->wb_err, since);

	return ret ?: fileio_pi_wb_error(to_fileio(dev));
}

/*
 * Writes all that is acknowledged.  An earlier error was told once by the file system, perhaps to one initiator of
 * many, so anything since the file was opened counts.
 */
static int fileio_flush(struct fileio_device *fd)
{
	unsigned int flags = fileio_enter();
	int ret = vfs_fsync(fd->file, 1);

	fileio_leave(flags);
	return ret ?: fileio_wb_error(&fd->dev, &fd->wb_since);
}

static int fileio_close(struct scst_device *dev)
{
	struct fileio_device *fd = to_fileio(dev);
	int ret = 0;

	might_sleep();
	if (!dev->read_only)
		ret = fileio_flush(fd);
	if (fd->pi)
		ret = fileio_pi_close(fd, !ret) ?: ret;
	WRITE_ONCE(fd->inode, NULL);
	scst_fput(fd->file);
	fd->file = NULL;
	return ret;
}

/* There is always one: the page cache, or with o_direct the disk's, and what the file system knows of the file. */
static bool fileio_write_cache(const struct scst_device *dev)
{
	return !dev->write_through;
}

static s64 fileio_capacity(struct scst_device *dev)
{
	struct kstat stat;
	int ret;

	ret = vfs_getattr(&to_fileio(dev)->file->f_path, &stat, STATX_SIZE, AT_STATX_SYNC_AS_STAT);
	return ret ?: stat.size;
}

static const void *fileio_backing(const struct scst_device *dev)
{
	return READ_ONCE(container_of(dev, struct fileio_device, dev)->inode);
}

/* What was allocated and never written, or was zeroed, counts as a hole: it reads as one. */
static int fileio_mapped(struct scst_device *dev, u64 pos, u64 *end)
{
	struct file *file = to_fileio(dev)->file;
	u32 block = 1U << dev->geo.block_shift;
	loff_t data, hole;

	data = vfs_llseek(file, pos, SEEK_DATA);
	if (data == -ENXIO)
		data = S64_MAX;
	if (data < 0)
		return data;
	*end = round_down(data, block);
	if (*end > pos)
		return 0;
	hole = vfs_llseek(file, data, SEEK_HOLE);
	if (hole < 0)
		return hole;
	*end = round_up(hole, block);
	return 1;
}

/* Of what is available others may take as well. */
static int fileio_space(struct scst_device *dev, struct scst_space *space)
{
	const struct path *path = &to_fileio(dev)->file->f_path;
	struct kstatfs fs;
	struct kstat stat;
	int ret = vfs_getattr(path, &stat, STATX_BLOCKS, AT_STATX_SYNC_AS_STAT) ?: vfs_statfs(path, &fs);

	if (ret)
		return ret;
	space->used = stat.blocks << SECTOR_SHIFT;
	space->available = fs.f_bavail * (fs.f_frsize ?: fs.f_bsize);
	return 0;
}

/* No call begins to read more than the file's readahead is long. */
static bool fileio_prefetch(struct scst_device *dev, u64 pos, u64 len)
{
	struct fileio_device *fd = to_fileio(dev);
	u64 most = (u64)fd->file->f_ra.ra_pages << PAGE_SHIFT, n;

	if (fd->o_direct || !most)
		return false;
	for (; len; pos += n, len -= n) {
		n = min(len, most);
		if (vfs_fadvise(fd->file, pos, n, POSIX_FADV_WILLNEED))
			return false;
		cond_resched();
	}
	return true;
}

static void fileio_free(struct scst_device *dev)
{
	kfree(to_fileio(dev)->path);
	kfree(to_fileio(dev)->protection_file);
}

/* --- attributes ----------------------------------------------------------------------------- */

static ssize_t fileio_path_show(struct config_item *item, char *page)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_show_path(dev, &to_fileio(dev)->path, page);
}

static ssize_t fileio_path_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_store_path(dev, &to_fileio(dev)->path, page, count) ?: count;
}

CONFIGFS_ATTR(fileio_, path);

static ssize_t fileio_protection_file_show(struct config_item *item, char *page)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_show_path(dev, &to_fileio(dev)->protection_file, page);
}

static ssize_t fileio_protection_file_store(struct config_item *item, const char *page, size_t count)
{
	struct scst_device *dev = scst_device_of(item);

	return scst_device_store_path(dev, &to_fileio(dev)->protection_file, page, count) ?: count;
}

CONFIGFS_ATTR(fileio_, protection_file);

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
	&fileio_attr_protection_file,
	NULL,
};

static const struct scst_handler fileio_handler = {
	.owner		= THIS_MODULE,
	.name		= "fileio",
	.device_size	= sizeof(struct fileio_device),
	.flags		= SCST_HANDLER_FACTS | SCST_HANDLER_THIN | SCST_HANDLER_PROTECTION,
	.attrs		= fileio_attrs,
	.free		= fileio_free,
	.check		= fileio_check,
	.open		= fileio_open,
	.close		= fileio_close,
	.try_execute	= fileio_try_execute,
	.execute	= fileio_execute,
	.lend		= fileio_lend,
	.unlend		= fileio_unlend,
	.write_cache	= fileio_write_cache,
	.wb_error	= fileio_wb_error,
	.capacity	= fileio_capacity,
	.backing	= fileio_backing,
	.mapped		= fileio_mapped,
	.space		= fileio_space,
	.prefetch	= fileio_prefetch,
	.copy		= fileio_copy_range,
};

static int __init fileio_init(void)
{
	return scst_handler_register(&fileio_handler);
}

static void __exit fileio_exit(void)
{
	scst_handler_unregister(&fileio_handler);
}

module_init(fileio_init);
module_exit(fileio_exit);

MODULE_DESCRIPTION("SCSI target device handler: regular files");
MODULE_LICENSE("GPL");
MODULE_ALIAS("scst-handler-fileio");
