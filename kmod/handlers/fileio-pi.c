// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device handler fileio: protection information in a file of its own.
 *
 *	0	header: what the file is, type of protection, block size
 *	4096	map: one bit for each region of the medium: may be being written to
 *	8192	eight bytes for each block, all bits inverted, so that a hole says what a block without information has: all ones
 *
 * A block and its information are written to two files, and the machine may die between them.  Before a region is written to its bit in
 * the map is stable; it is taken back some time after all of the region is stable.  Who opens the files next after a crash
 * looks at all blocks of such regions: one whose information does not fit may be new with the old one or old with the new one.  Its
 * information is replaced by all ones: what was not acknowledged as stable is not known, and reads as what the data file has, unchecked.  What
 * was stable fits, and stays; and outside of those regions nothing is looked at: what does not fit there is damage, and is told as such.
 *
 * Whoever writes to blocks has them for himself from the data to the information, against others that write, or read, these blocks.
 */
#include "fileio.h"
#include <linux/bvec.h>
#include <linux/cred.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/jiffies.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/namei.h>
#include <linux/uio.h>

#define PI_MAP_AT	4096
#define PI_MAP_SIZE	4096
#define PI_DATA_AT	8192
#define PI_VERSION	1

#define PI_REGION_SHIFT	24		/* bytes of the medium for which there is a bit */
#define PI_REGIONS	(PI_MAP_SIZE * 8)	/* beyond them the next medium's worth has the same bits */
#define PI_CLEAN_AFTER	HZ		/* bits are taken back no more often */

static const u8 pi_magic[8] = { 'S', 'C', 'S', 'T', '-', 'P', 'I', '\n' };

struct fileio_pi_header {
	u8 magic[8];
	__be32 version;
	__be32 block_size;
	u8 type;
	u8 reserved[15];
};

/**
 * struct fileio_pi_region - what is known of a region
 * @writers: commands that are writing to it
 * @marked: its bit is stable in the file
 * @fresh: it was written to since bits were taken back last
 * @leaving: it was not, when the files were about to be made stable
 *
 * Under the lock of struct fileio_pi.
 */
struct fileio_pi_region {
	u16 writers;
	bool marked : 1;
	bool fresh : 1;
	bool leaving : 1;
};

/**
 * struct fileio_pi - the file with protection information of an open device
 * @entry: in fileio_pis
 * @file: open
 * @wb_since: errors of writing back until it was opened
 * @lock: ranges and regions
 * @ranges: blocks that somebody reads or writes, in the order in which they came
 * @left: one of them has gone
 * @region: of each bit
 * @map_lock: the map, in memory and in the file
 * @map: as it is, or is going to be, in the file
 * @clean_lock: one takes bits back
 * @cleaned: jiffies, when that was
 */
struct fileio_pi {
	struct list_head entry;
	struct file *file;
	errseq_t wb_since;
	spinlock_t lock;
	struct list_head ranges;
	wait_queue_head_t left;
	struct mutex map_lock;
	u8 *map;
	struct mutex clean_lock;
	unsigned long cleaned;
	struct fileio_pi_region region[PI_REGIONS];
};

static LIST_HEAD(fileio_pis);
static DEFINE_MUTEX(fileio_pis_lock);	/* the list: two devices would write over each other's information */

/* --- reading and writing ------------------------------------------------------------------------------ */

/* At most @len bytes, through the page cache or, where @iocb says so, around it. */
static ssize_t fileio_pi_call(struct file *file, struct kiocb *iocb, struct page *page, u32 offset, u32 len, loff_t pos, bool write)
{
	struct iov_iter iter;
	struct bio_vec bvec;
	ssize_t ret;

	bvec_set_page(&bvec, page + (offset >> PAGE_SHIFT), len, offset_in_page(offset));
	iov_iter_bvec(&iter, write ? ITER_SOURCE : ITER_DEST, &bvec, 1, len);
	iocb->ki_pos = pos;
	if (!write)
		return file->f_op->read_iter(iocb, &iter);
	iocb->ki_flags |= IOCB_WRITE;
	file_start_write(file);
	ret = file->f_op->write_iter(iocb, &iter);
	file_end_write(file);
	return ret;
}

/* How many bytes were moved, or a negative errno: fewer than @len only where a file that is read ends. */
static ssize_t fileio_pi_io(struct file *file, struct page *page, u32 len, loff_t pos, bool write, bool direct)
{
	struct kiocb iocb;
	ssize_t ret;
	u32 done = 0;

	while (done < len) {
		init_sync_kiocb(&iocb, file);
		if (!direct)
			iocb.ki_flags &= ~IOCB_DIRECT;
		ret = fileio_pi_call(file, &iocb, page, done, len - done, pos + done, write);
		if (direct && (ret <= 0 || ret < len - done)) {
			/* Alignment, a hole, the end of the file: the page cache knows. */
			direct = false;
			done += max_t(ssize_t, ret, 0);
			if (ret >= 0 || ret == -EINVAL || ret == -EOPNOTSUPP)
				continue;
		}
		if (ret < 0)
			return ret;
		if (!ret)
			return write ? -EIO : done;
		done += ret;
	}
	return done;
}

static int fileio_pi_data(struct fileio_device *fd, struct page *page, u32 len, loff_t pos, bool write)
{
	bool direct = fd->o_direct && !((pos | len) & fd->pos_mask);
	ssize_t ret = fileio_pi_io(fd->file, page, len, pos, write, direct);

	return ret < 0 ? ret : ret == len ? 0 : -EIO;
}

static void fileio_pi_invert(u8 *pi, u32 len)
{
	u32 i;

	for (i = 0; i < len; i++)
		pi[i] = ~pi[i];
}

/* Information of blocks; behind the end of the file there is none. */
static int fileio_pi_get(struct fileio_pi *pi, u8 *tuples, u64 lba, u32 nr)
{
	u32 len = nr * SCST_PI_BYTES;
	ssize_t ret = fileio_pi_io(pi->file, virt_to_page(tuples), len, PI_DATA_AT + lba * SCST_PI_BYTES, false, false);

	if (ret < 0)
		return ret;
	memset(tuples + ret, 0, len - ret);
	fileio_pi_invert(tuples, len);
	return 0;
}

/* @tuples is inverted afterwards. */
static int fileio_pi_put(struct fileio_pi *pi, u8 *tuples, u64 lba, u32 nr)
{
	u32 len = nr * SCST_PI_BYTES;
	ssize_t ret;

	fileio_pi_invert(tuples, len);
	ret = fileio_pi_io(pi->file, virt_to_page(tuples), len, PI_DATA_AT + lba * SCST_PI_BYTES, true, false);
	return min_t(ssize_t, ret, 0);
}

/* --- who has which blocks ------------------------------------------------------------------------------- */

/* Under the lock.  On the stack of who reads or writes; who came first goes first. */
struct fileio_pi_range {
	struct list_head entry;
	u64 lba;
	u64 end;
	bool write;
};

static bool fileio_pi_range_free(struct fileio_pi *pi, const struct fileio_pi_range *range)
{
	const struct fileio_pi_range *other;
	bool free = true;

	spin_lock(&pi->lock);
	list_for_each_entry(other, &pi->ranges, entry) {
		if (other == range)
			break;
		if ((other->write || range->write) && other->lba < range->end && range->lba < other->end) {
			free = false;
			break;
		}
	}
	spin_unlock(&pi->lock);
	return free;
}

/* On a thread of the device's.  Waits for others of the device that are at the medium. */
static void fileio_pi_range_take(struct fileio_pi *pi, struct fileio_pi_range *range, u64 lba, u64 nr, bool write)
{
	range->lba = lba;
	range->end = lba + nr;
	range->write = write;
	spin_lock(&pi->lock);
	list_add_tail(&range->entry, &pi->ranges);
	spin_unlock(&pi->lock);
	wait_event_idle(pi->left, fileio_pi_range_free(pi, range));
}

static void fileio_pi_range_end(struct fileio_pi *pi, struct fileio_pi_range *range)
{
	spin_lock(&pi->lock);
	list_del(&range->entry);
	spin_unlock(&pi->lock);
	wake_up_all(&pi->left);
}

/* --- regions that are written to --------------------------------------------------------------------------- */

static u32 fileio_pi_region_of(u64 pos)
{
	return (pos >> PI_REGION_SHIFT) % PI_REGIONS;
}

static int fileio_pi_write_map(struct fileio_pi *pi)
{
	ssize_t ret = fileio_pi_io(pi->file, virt_to_page(pi->map), PI_MAP_SIZE, PI_MAP_AT, true, false);

	return ret < 0 ? ret : vfs_fsync(pi->file, 1);
}

/* The bit of a region that is going to be written to, or is. */
static int fileio_pi_mark(struct fileio_pi *pi, u32 nr)
{
	struct fileio_pi_region *region = &pi->region[nr];
	int ret = 0;

	mutex_lock(&pi->map_lock);
	if (!region->marked) {
		pi->map[nr / 8] |= BIT(nr % 8);
		ret = fileio_pi_write_map(pi);
		spin_lock(&pi->lock);
		region->marked = !ret;
		spin_unlock(&pi->lock);
	}
	mutex_unlock(&pi->map_lock);
	return ret;
}

static int fileio_pi_enter_region(struct fileio_pi *pi, u32 nr)
{
	struct fileio_pi_region *region = &pi->region[nr];
	bool marked;

	spin_lock(&pi->lock);
	region->writers++;
	region->fresh = true;
	region->leaving = false;
	marked = region->marked;
	spin_unlock(&pi->lock);
	return marked ? 0 : fileio_pi_mark(pi, nr);
}

static void fileio_pi_leave_regions(struct fileio_pi *pi, u64 first, u64 last)
{
	u64 nr;

	spin_lock(&pi->lock);
	for (nr = first; nr <= last; nr++)
		pi->region[nr % PI_REGIONS].writers--;
	spin_unlock(&pi->lock);
}

/* Before the first byte of a range is written.  0, or a negative errno: nothing may be. */
static int fileio_pi_enter_regions(struct fileio_pi *pi, u64 first, u64 last)
{
	u64 nr;
	int ret;

	for (nr = first; nr <= last; nr++) {
		ret = fileio_pi_enter_region(pi, nr % PI_REGIONS);
		if (ret) {
			fileio_pi_leave_regions(pi, first, nr);
			return ret;
		}
	}
	return 0;
}

/* Those that nobody has written to for a while: both files are going to be made stable. */
static void fileio_pi_clean_begin(struct fileio_pi *pi)
{
	u32 nr;

	spin_lock(&pi->lock);
	for (nr = 0; nr < PI_REGIONS; nr++) {
		struct fileio_pi_region *region = &pi->region[nr];

		region->leaving = region->marked && !region->writers && !region->fresh;
		region->fresh = region->writers;
	}
	spin_unlock(&pi->lock);
}

/* They are, and nobody has come meanwhile.  That a bit is gone need not be stable: one too many is only looked at. */
static void fileio_pi_clean_end(struct fileio_pi *pi)
{
	u32 nr;

	mutex_lock(&pi->map_lock);
	spin_lock(&pi->lock);
	for (nr = 0; nr < PI_REGIONS; nr++) {
		struct fileio_pi_region *region = &pi->region[nr];

		if (!region->leaving)
			continue;
		region->leaving = false;
		region->marked = false;
		pi->map[nr / 8] &= ~BIT(nr % 8);
	}
	spin_unlock(&pi->lock);
	mutex_unlock(&pi->map_lock);
}

/**
 * fileio_pi_sync() - make all of both files stable
 * @fd: a device with protection information
 *
 * Process context.  Return: 0 or a negative errno.
 */
int fileio_pi_sync(struct fileio_device *fd)
{
	struct fileio_pi *pi = fd->pi;
	bool clean = time_after_eq(jiffies, READ_ONCE(pi->cleaned) + PI_CLEAN_AFTER) && mutex_trylock(&pi->clean_lock);
	int ret;

	if (clean)
		fileio_pi_clean_begin(pi);
	ret = vfs_fsync(fd->file, 1) ?: vfs_fsync(pi->file, 1);
	if (!clean)
		return ret;
	if (!ret)
		fileio_pi_clean_end(pi);
	WRITE_ONCE(pi->cleaned, jiffies);
	mutex_unlock(&pi->clean_lock);
	return ret;
}

/* What could not be written back stays lost until the device is opened again.  Any context. */
int fileio_pi_wb_error(const struct fileio_device *fd)
{
	return fd->pi ? errseq_check(&fd->pi->file->f_mapping->wb_err, fd->pi->wb_since) : 0;
}

/* --- commands ------------------------------------------------------------------------------------------------- */

/* Memory for a piece: blocks and their information. */
struct fileio_pi_memory {
	struct page *page;
	u8 *tuples;
	unsigned int size;
};

/* The core's own, which holds all of the command, or some of ours.  False: there is none. */
static bool fileio_pi_memory_get(struct scst_cmd *cmd, struct fileio_pi_memory *memory)
{
	if (scst_cmd_has_pi(cmd)) {
		memory->page = sg_page(cmd->data.sgl);
		memory->tuples = sg_virt(cmd->prot.sgl);
		memory->size = cmd->len;
		return true;
	}
	memory->page = scst_chunk_get(&memory->size);
	memory->tuples = (u8 *)__get_free_page(GFP_NOIO);
	memory->size = min_t(u32, memory->size, SCST_PI_BLOCKS << cmd->dev->geo.block_shift);
	return memory->page && memory->tuples;
}

static void fileio_pi_memory_put(struct scst_cmd *cmd, struct fileio_pi_memory *memory)
{
	if (scst_cmd_has_pi(cmd))
		return;
	if (memory->page)
		scst_chunk_put(memory->page);
	free_page((unsigned long)memory->tuples);
}

/* What the initiator may change meanwhile is copied first. */
static int fileio_pi_write(struct scst_cmd *cmd, struct fileio_pi_memory *memory, u32 done, u32 len)
{
	struct fileio_device *fd = to_fileio(cmd->dev);
	u8 shift = cmd->dev->geo.block_shift;
	u64 pos = cmd->pos + done, lba = pos >> shift;

	if (!scst_cmd_has_pi(cmd)) {
		sg_pcopy_to_buffer(cmd->data.sgl, cmd->data.nents, page_address(memory->page), len, done);
		scst_pi_make(cmd->dev, lba, page_address(memory->page), memory->tuples, len >> shift);
	}
	return fileio_pi_data(fd, memory->page, len, pos, true) ?: fileio_pi_put(fd->pi, memory->tuples, lba, len >> shift);
}

/* What is wrong is not given to the initiator, but what is before it is. */
static int fileio_pi_read(struct scst_cmd *cmd, struct fileio_pi_memory *memory, u32 done, u32 len)
{
	struct fileio_device *fd = to_fileio(cmd->dev);
	u8 shift = cmd->dev->geo.block_shift;
	u64 pos = cmd->pos + done, lba = pos >> shift;
	u32 whole = round_up(len, 1U << shift), bad = 0;
	int ret;

	ret = fileio_pi_data(fd, memory->page, whole, pos, false) ?: fileio_pi_get(fd->pi, memory->tuples, lba, whole >> shift);
	if (ret || scst_cmd_has_pi(cmd))
		return ret;
	ret = scst_pi_look(cmd->dev, lba, page_address(memory->page), memory->tuples, whole >> shift, &bad);
	sg_pcopy_from_buffer(cmd->data.sgl, cmd->data.nents, page_address(memory->page), ret ? bad << shift : len, done);
	return ret;
}

static int fileio_pi_pieces(struct scst_cmd *cmd, struct fileio_pi_memory *memory)
{
	bool write = cmd->action == SCST_ACTION_WRITE;
	u32 done, len;
	int ret = 0;

	for (done = 0; !ret && done < cmd->len; done += len) {
		len = min(cmd->len - done, memory->size);
		ret = write ? fileio_pi_write(cmd, memory, done, len) : fileio_pi_read(cmd, memory, done, len);
	}
	return ret;
}

static int fileio_pi_write_marked(struct scst_cmd *cmd, struct fileio_pi_memory *memory)
{
	u64 first = cmd->pos >> PI_REGION_SHIFT, last = (cmd->pos + cmd->len - 1) >> PI_REGION_SHIFT;
	struct fileio_device *fd = to_fileio(cmd->dev);
	int ret = fileio_pi_enter_regions(fd->pi, first, last);

	if (ret)
		return ret;
	ret = fileio_pi_pieces(cmd, memory);
	fileio_pi_leave_regions(fd->pi, first, last);
	return ret;
}

/**
 * fileio_pi_rw() - SCST_ACTION_READ and SCST_ACTION_WRITE of a device with protection information
 * @cmd: the command
 *
 * On a thread of the device's.  Return: 0, a negative errno, or what is wrong: see scst_pi_look().
 */
int fileio_pi_rw(struct scst_cmd *cmd)
{
	struct fileio_device *fd = to_fileio(cmd->dev);
	bool write = cmd->action == SCST_ACTION_WRITE;
	u8 shift = cmd->dev->geo.block_shift;
	struct fileio_pi_memory memory = { };
	struct fileio_pi_range range;
	int ret;

	if (!fileio_pi_memory_get(cmd, &memory)) {
		fileio_pi_memory_put(cmd, &memory);
		return -ENOMEM;
	}
	fileio_pi_range_take(fd->pi, &range, cmd->pos >> shift, DIV_ROUND_UP(cmd->len, 1U << shift), write);
	ret = write ? fileio_pi_write_marked(cmd, &memory) : fileio_pi_pieces(cmd, &memory);
	fileio_pi_range_end(fd->pi, &range);
	fileio_pi_memory_put(cmd, &memory);
	/* Who moves the information makes it stable by an action of its own. */
	if (!ret && write && !scst_cmd_has_pi(cmd) && (cmd->fua || cmd->dev->write_through))
		ret = fileio_pi_sync(fd);
	return ret;
}

/* A hole in the file says that there is none; where there can be no holes, zeroes do. */
static int fileio_pi_forget(struct fileio_pi *pi, u64 lba, u64 nr)
{
	loff_t pos = PI_DATA_AT + lba * SCST_PI_BYTES, len = nr * SCST_PI_BYTES;
	struct page *page = ZERO_PAGE(0);
	ssize_t ret;

	ret = vfs_fallocate(pi->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, pos, len);
	if (ret != -EOPNOTSUPP)
		return ret;
	for (ret = 0; ret >= 0 && len > 0; pos += ret, len -= ret)
		ret = fileio_pi_io(pi->file, page, min_t(loff_t, len, PAGE_SIZE), pos, true, false);
	return min_t(ssize_t, ret, 0);
}

/* The information first: what is between then is not known, and nothing is wrong. */
static int fileio_pi_clear_marked(struct scst_cmd *cmd)
{
	u64 first = cmd->pos >> PI_REGION_SHIFT, last = (cmd->pos + cmd->range_len - 1) >> PI_REGION_SHIFT;
	struct fileio_device *fd = to_fileio(cmd->dev);
	u8 shift = cmd->dev->geo.block_shift;
	int ret = fileio_pi_enter_regions(fd->pi, first, last);

	if (ret)
		return ret;
	ret = fileio_pi_forget(fd->pi, cmd->pos >> shift, cmd->range_len >> shift) ?: fileio_clear(cmd);
	fileio_pi_leave_regions(fd->pi, first, last);
	return ret;
}

/**
 * fileio_pi_clear() - SCST_ACTION_UNMAP and SCST_ACTION_ZERO of a device with protection information
 * @cmd: the command
 *
 * On a thread of the device's.  Return: 0, or as fileio_clear().
 */
int fileio_pi_clear(struct scst_cmd *cmd)
{
	struct fileio_device *fd = to_fileio(cmd->dev);
	u8 shift = cmd->dev->geo.block_shift;
	struct fileio_pi_range range;
	int ret;

	fileio_pi_range_take(fd->pi, &range, cmd->pos >> shift, cmd->range_len >> shift, true);
	ret = fileio_pi_clear_marked(cmd);
	fileio_pi_range_end(fd->pi, &range);
	return ret;
}

/* --- after a crash ----------------------------------------------------------------------------------------------- */

/* What was found. */
struct fileio_pi_mended {
	u64 blocks;
	u64 first;
};

/* Blocks of one piece: those whose information does not fit get all ones. */
static int fileio_pi_mend_piece(struct fileio_device *fd, struct fileio_pi_memory *memory, u64 pos, u32 len,
				struct fileio_pi_mended *mended)
{
	u8 shift = fd->dev.geo.block_shift, *data = page_address(memory->page);
	u32 nr = len >> shift, i = 0, bad;
	u64 lba = pos >> shift, before = mended->blocks;
	int ret = fileio_pi_data(fd, memory->page, len, pos, false) ?: fileio_pi_get(fd->pi, memory->tuples, lba, nr);

	if (ret)
		return ret;
	while (i < nr && scst_pi_look(&fd->dev, lba + i, data + (i << shift), memory->tuples + i * SCST_PI_BYTES, nr - i, &bad)) {
		i += bad;
		if (!mended->blocks++)
			mended->first = lba + i;
		memset(memory->tuples + i * SCST_PI_BYTES, 0xff, SCST_PI_BYTES);
		i++;
	}
	return mended->blocks == before ? 0 : fileio_pi_put(fd->pi, memory->tuples, lba, nr);
}

static int fileio_pi_mend_region(struct fileio_device *fd, struct fileio_pi_memory *memory, u64 pos, u64 end,
				 struct fileio_pi_mended *mended)
{
	u32 len;
	int ret = 0;

	for (; !ret && pos < end; pos += len) {
		len = min_t(u64, end - pos, memory->size);
		ret = fileio_pi_mend_piece(fd, memory, pos, len, mended);
		cond_resched();
	}
	return ret;
}

static int fileio_pi_mend_all(struct fileio_device *fd, struct fileio_pi_memory *memory, u64 size, struct fileio_pi_mended *mended)
{
	u64 pos, region = 1ULL << PI_REGION_SHIFT;
	int ret = 0;

	for (pos = 0; !ret && pos < size; pos += region) {
		u32 nr = fileio_pi_region_of(pos);

		if (fd->pi->map[nr / 8] & BIT(nr % 8))
			ret = fileio_pi_mend_region(fd, memory, pos, min(pos + region, size), mended);
	}
	return ret;
}

/* What is mended is stable before the map forgets it. */
static int fileio_pi_mend(struct fileio_device *fd, u64 size)
{
	struct fileio_pi_memory memory = { };
	struct fileio_pi_mended mended = { };
	int ret = -ENOMEM;

	memory.page = scst_chunk_get(&memory.size);
	memory.tuples = (u8 *)__get_free_page(GFP_KERNEL);
	memory.size = min_t(u32, memory.size, SCST_PI_BLOCKS << fd->dev.geo.block_shift);
	if (memory.page && memory.tuples)
		ret = fileio_pi_mend_all(fd, &memory, size, &mended) ?: vfs_fsync(fd->pi->file, 1);
	if (memory.page)
		scst_chunk_put(memory.page);
	free_page((unsigned long)memory.tuples);
	if (mended.blocks)
		pr_warn("%s: not closed in order: %llu blocks, the first LBA %llu, have lost their protection information\n",
			fd->dev.name, mended.blocks, mended.first);
	if (ret)
		return ret;
	memset(fd->pi->map, 0, PI_MAP_SIZE);
	return fileio_pi_write_map(fd->pi);
}

/* --- the file ------------------------------------------------------------------------------------------------------ */

static struct file *fileio_pi_open_file(struct fileio_device *fd, const struct scst_opening *opening)
{
	int flags = O_LARGEFILE | O_NONBLOCK | (fd->dev.read_only ? O_RDONLY : O_RDWR | O_CREAT);
	struct file *file = file_open_root(&opening->root, fd->protection_file, flags, 0600);
	const char *fault = NULL;

	if (IS_ERR(file)) {
		pr_warn("%s: protection_file %s can't be opened: error %ld\n", fd->dev.name, fd->protection_file, PTR_ERR(file));
		return file;
	}
	if (!S_ISREG(file_inode(file)->i_mode) || !file->f_op->read_iter || (!fd->dev.read_only && !file->f_op->write_iter))
		fault = "is no regular file that can be read and written from here";
	else if (file_inode(file) == file_inode(fd->file))
		fault = "is what has the data";
	if (!fault)
		return file;
	pr_warn("%s: protection_file %s %s\n", fd->dev.name, fd->protection_file, fault);
	scst_fput(file);
	return ERR_PTR(-EINVAL);
}

/* An empty file: no block has protection information yet. */
static int fileio_pi_make_file(struct fileio_device *fd)
{
	struct fileio_pi *pi = fd->pi;
	struct fileio_pi_header *header = (struct fileio_pi_header *)pi->map;
	ssize_t ret;

	if (fd->dev.read_only)
		return 0;
	pr_notice("%s: protection_file %s is new: what is in %s has no protection information until it is written\n", fd->dev.name,
		  fd->protection_file, fd->path);
	memset(pi->map, 0, PI_MAP_SIZE);
	memcpy(header->magic, pi_magic, sizeof(pi_magic));
	header->version = cpu_to_be32(PI_VERSION);
	header->block_size = cpu_to_be32(1U << fd->dev.geo.block_shift);
	header->type = fd->dev.protection;
	ret = fileio_pi_io(pi->file, virt_to_page(pi->map), PI_MAP_AT, 0, true, false);
	memset(pi->map, 0, PI_MAP_SIZE);
	if (ret >= 0)
		ret = fileio_pi_write_map(pi) ?: vfs_fsync(pi->file, 0) ?: scst_file_keep_name(pi->file);
	return min_t(ssize_t, ret, 0);
}

static const char *fileio_pi_fault(const struct fileio_device *fd, const struct fileio_pi_header *header)
{
	if (memcmp(header->magic, pi_magic, sizeof(pi_magic)))
		return "holds something else";
	if (be32_to_cpu(header->version) != PI_VERSION)
		return "is of a newer version";
	if (header->type != fd->dev.protection)
		return "is of another type of protection: take another file, or empty this one, and no block has any";
	if (be32_to_cpu(header->block_size) != 1U << fd->dev.geo.block_shift)
		return "is of another block_size";
	return NULL;
}

/* What is found in pi->map: 0: there is nothing to be mended. */
static const char *fileio_pi_look_at_map(struct fileio_device *fd, bool *mend)
{
	*mend = memchr_inv(fd->pi->map, 0, PI_MAP_SIZE);
	if (*mend && fd->dev.read_only)
		return "was not closed in order, and can't be mended with read_only 1: open it once for writing";
	return NULL;
}

static int fileio_pi_read_file(struct fileio_device *fd, u64 size)
{
	struct fileio_pi *pi = fd->pi;
	const char *fault = NULL;
	bool mend = false;
	ssize_t ret = fileio_pi_io(pi->file, virt_to_page(pi->map), PI_MAP_AT, 0, false, false);

	if (ret < 0)
		return ret;
	if (memchr_inv(pi->map, 0, PI_MAP_AT))
		fault = fileio_pi_fault(fd, (struct fileio_pi_header *)pi->map);
	else if (i_size_read(file_inode(pi->file)) >= PI_DATA_AT)
		fault = "holds something else";
	/* That, too, was being made when the machine died. */
	if (!fault && i_size_read(file_inode(pi->file)) < PI_DATA_AT)
		return fileio_pi_make_file(fd);
	if (!fault) {
		ret = fileio_pi_io(pi->file, virt_to_page(pi->map), PI_MAP_SIZE, PI_MAP_AT, false, false);
		if (ret < 0)
			return ret;
		fault = fileio_pi_look_at_map(fd, &mend);
	}
	if (!fault)
		return mend ? fileio_pi_mend(fd, size) : 0;
	pr_warn("%s: protection_file %s %s\n", fd->dev.name, fd->protection_file, fault);
	return -EINVAL;
}

static int fileio_pi_claim(struct fileio_device *fd)
{
	const struct fileio_pi *other;
	int ret = 0;

	mutex_lock(&fileio_pis_lock);
	list_for_each_entry(other, &fileio_pis, entry)
		if (file_inode(other->file) == file_inode(fd->pi->file))
			ret = -EBUSY;
	if (!ret)
		list_add(&fd->pi->entry, &fileio_pis);
	mutex_unlock(&fileio_pis_lock);
	if (ret)
		pr_warn("%s: protection_file %s is that of another device as well\n", fd->dev.name, fd->protection_file);
	return ret;
}

static void fileio_pi_free(struct fileio_device *fd)
{
	struct fileio_pi *pi = fd->pi;

	fd->pi = NULL;
	if (!list_empty(&pi->entry)) {
		mutex_lock(&fileio_pis_lock);
		list_del(&pi->entry);
		mutex_unlock(&fileio_pis_lock);
	}
	if (!IS_ERR_OR_NULL(pi->file))
		scst_fput(pi->file);
	free_page((unsigned long)pi->map);
	kvfree(pi);
}

static struct fileio_pi *fileio_pi_alloc(void)
{
	struct fileio_pi *pi = kvzalloc(sizeof(*pi), GFP_KERNEL);

	if (!pi)
		return NULL;
	INIT_LIST_HEAD(&pi->entry);
	INIT_LIST_HEAD(&pi->ranges);
	spin_lock_init(&pi->lock);
	init_waitqueue_head(&pi->left);
	mutex_init(&pi->map_lock);
	mutex_init(&pi->clean_lock);
	pi->cleaned = jiffies;
	pi->map = (u8 *)get_zeroed_page(GFP_KERNEL);
	if (pi->map)
		return pi;
	kvfree(pi);
	return NULL;
}

static int fileio_pi_load(struct fileio_device *fd, const struct scst_opening *opening, u64 size)
{
	struct fileio_pi *pi = fd->pi;
	int ret;

	pi->file = fileio_pi_open_file(fd, opening);
	if (IS_ERR(pi->file))
		return PTR_ERR(pi->file);
	spin_lock(&pi->file->f_lock);
	pi->file->f_flags &= ~O_NONBLOCK;
	spin_unlock(&pi->file->f_lock);
	pi->wb_since = errseq_sample(&pi->file->f_mapping->wb_err);
	ret = fileio_pi_claim(fd);
	if (ret)
		return ret;
	return fileio_pi_read_file(fd, size);
}

/**
 * fileio_pi_open() - open the file with protection information, and mend it after a crash
 * @fd: its data file is open
 * @opening: on whose behalf
 * @size: of the medium in bytes
 *
 * As open() of struct scst_handler.  Return: 0 or a negative errno.
 */
int fileio_pi_open(struct fileio_device *fd, const struct scst_opening *opening, u64 size)
{
	unsigned int flags;
	int ret;

	static_assert(sizeof(struct fileio_pi_header) == 32 && PI_MAP_AT <= PAGE_SIZE && PI_MAP_SIZE <= PAGE_SIZE);
	fd->pi = fileio_pi_alloc();
	if (!fd->pi)
		return -ENOMEM;
	flags = fileio_enter();
	ret = fileio_pi_load(fd, opening, size);
	fileio_leave(flags);
	if (ret)
		fileio_pi_free(fd);
	return ret;
}

/**
 * fileio_pi_close() - close it
 * @fd: the device; no command is running
 * @kept: all data is stable
 *
 * As close() of struct scst_handler.  Return: 0, or a negative errno if something could not be kept.
 */
int fileio_pi_close(struct fileio_device *fd, bool kept)
{
	struct fileio_pi *pi = fd->pi;
	unsigned int flags = fileio_enter();
	int ret = 0;

	if (!fd->dev.read_only) {
		ret = vfs_fsync(pi->file, 1) ?: fileio_pi_wb_error(fd);
		if (!ret && kept) {
			memset(pi->map, 0, PI_MAP_SIZE);
			ret = fileio_pi_write_map(pi);
		}
	}
	fileio_leave(flags);
	fileio_pi_free(fd);
	return ret;
}
