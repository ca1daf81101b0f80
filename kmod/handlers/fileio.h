/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of scst_fileio.ko share.
 */
#ifndef FILEIO_H
#define FILEIO_H

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/errseq.h>
#include <linux/sched/mm.h>
#include "scst_handler.h"
#include "compat.h"

struct fileio_pi;

/**
 * struct fileio_device - a file behind a logical unit
 * @dev: the core's half
 * @path: of the file
 * @o_direct: bypass the page cache
 * @file: open while the device is active
 * @cached: what is in the page cache may be read from it without asking the file system
 * @pos_mask: bits that must be clear in position and length of direct I/O
 * @mem_mask: bits that must be clear in address and length of its segments
 * @inode: of @file, only to be compared
 * @wb_since: errors of writing back until the file was opened
 * @protection_file: path of the file with protection information
 * @pi: that file, open; NULL: the device has none
 */
struct fileio_device {
	struct scst_device dev;
	char *path;
	bool o_direct;
	bool cached;
	unsigned int pos_mask;
	unsigned int mem_mask;
	struct file *file;
	const struct inode *inode;
	errseq_t wb_since;
	char *protection_file;
	struct fileio_pi *pi;
};

static inline struct fileio_device *to_fileio(struct scst_device *dev)
{
	return container_of(dev, struct fileio_device, dev);
}

/*
 * The initiator may be this host, and its memory may be waiting for us to write it back.  So
 * allocations must not start I/O, and the file's writes are throttled only by the state of their own
 * backing device, not by dirty pages whose cleaning depends on them.
 */
static inline unsigned int fileio_enter(void)
{
	unsigned int flags = current->flags;

	current->flags |= PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE;
	return flags;
}

static inline void fileio_leave(unsigned int flags)
{
	current_restore_flags(flags, PF_MEMALLOC_NOIO | PF_LOCAL_THROTTLE);
}

int fileio_clear(const struct scst_cmd *cmd);

/* fileio-pi.c */
int fileio_pi_open(struct fileio_device *fd, const struct scst_opening *opening, u64 size);
int fileio_pi_close(struct fileio_device *fd, bool kept);
int fileio_pi_rw(struct scst_cmd *cmd);
int fileio_pi_clear(struct scst_cmd *cmd);
int fileio_pi_sync(struct fileio_device *fd);
int fileio_pi_wb_error(const struct fileio_device *fd);

#endif /* FILEIO_H */
