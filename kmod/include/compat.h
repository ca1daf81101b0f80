/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Today's names on yesterday's kernels; the only place with version conditionals.
 */
#ifndef SCST_COMPAT_H
#define SCST_COMPAT_H

#include <linux/blkdev.h>
#include <linux/err.h>
#include <linux/file.h>
#include <linux/hrtimer.h>
#include <linux/pagemap.h>
#include <linux/version.h>
#include <linux/workqueue.h>

/* Until 6.12: the architecture's header. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#include <asm/unaligned.h>
#else
#include <linux/unaligned.h>
#endif

/* Until 6.6: the attribute's name exists in the compiler's headers only from there on. */
#ifndef __counted_by
#define __counted_by(member)
#endif

/* Until 6.2: uevent callbacks of a class take a device they may change. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define SCST_UEVENT_CONST
#else
#define SCST_UEVENT_CONST const
#endif

/* Until 6.17: a workqueue is bound to CPUs unless it says otherwise; stable kernels before know the flag, too. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 17, 0)
#define SCST_WQ_PERCPU	0
#else
#define SCST_WQ_PERCPU	WQ_PERCPU
#endif

/* Until 6.13: a timer is made in two steps. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static inline void scst_hrtimer_setup(struct hrtimer *timer, enum hrtimer_restart (*fn)(struct hrtimer *timer), clockid_t clock,
				      enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = fn;
}
#else
#define scst_hrtimer_setup	hrtimer_setup
#endif

/* Until 6.2: what a timed-out SCSI command's fate is called. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define scsi_timeout_action	blk_eh_timer_return
#define SCSI_EH_RESET_TIMER	BLK_EH_RESET_TIMER
#define SCSI_EH_NOT_HANDLED	BLK_EH_DONE
#endif

/* Until 6.16: binary attributes, their callbacks and tables are not const. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 16, 0)
#define SCST_BIN_CONST
#else
#define SCST_BIN_CONST const
#endif

/*
 * Until 6.5: a SCSI host can't say that its queuecommand() may sleep.  On 6.1 the flag it would set is read
 * when a request queue is made, so it may still be set between adding the host and scanning it.
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
#error "kernels from 6.2 to 6.4 are not supported: SCSI hosts can't be made to sleep there"
#endif
#define SCST_HOST_MAY_BLOCK
#define scst_host_set_blocking(shost)	((shost)->tag_set.flags |= BLK_MQ_F_BLOCKING)
#else
#define SCST_HOST_MAY_BLOCK		.queuecommand_may_block = true,
#define scst_host_set_blocking(shost)	do { } while (0)
#endif

/* Until 6.12: hex2bin() is declared in kernel.h. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#include <linux/hex.h>
#endif

/* Until 6.10: a trace event is told a second time which string a field is made of. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
#define scst_assign_str(field, text)	__assign_str(field, text)
#else
#define scst_assign_str(field, text)	__assign_str(field)
#endif

/* Until 7.0: queuecommand() returns an int. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
typedef int scsi_qc_status_t;
#else
typedef enum scsi_qc_status scsi_qc_status_t;
#endif

/* Until 6.14: the callback that sees a new SCSI device first had another name. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 14, 0)
#define sdev_init	slave_alloc
#endif

/*
 * Not a matter of versions: a kernel thread's last fput() takes effect some time later, but who parks a device
 * expects its backing to be free.  In a system call it takes effect before that returns.
 */
static inline void scst_fput(struct file *file)
{
	if (current->flags & PF_KTHREAD)
		__fput_sync(file);
	else
		fput(file);
}

/* Until 6.3: a folio that is not there is NULL, not an error pointer. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline struct folio *scst_filemap_get_folio(struct address_space *mapping, pgoff_t index)
{
	return __filemap_get_folio(mapping, index, 0, 0) ?: ERR_PTR(-ENOENT);
}
#define filemap_get_folio scst_filemap_get_folio
#endif

/* Until 7.0: there is only a name for disks that do not rotate. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
static inline bool bdev_rot(struct block_device *bdev)
{
	return !bdev_nonrot(bdev);
}
#endif

/*
 * scst_bdev_open() - open a block device exclusively; the caller has asked path_permission()
 *
 * Until 6.9: no block device files for users inside the kernel.  An exclusive open of the
 * device node gives the same thing; the file itself is the holder then, and nobody tells it
 * that the device has gone.  (6.5 to 6.8 knew two more interfaces; no supported kernel has them.)
 */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
typedef fmode_t blk_mode_t;

#define BLK_OPEN_READ	FMODE_READ
#define BLK_OPEN_WRITE	FMODE_WRITE

struct blk_holder_ops {
	void (*mark_dead)(struct block_device *bdev, bool surprise);
};

static inline struct block_device *file_bdev(struct file *bdev_file)
{
	return I_BDEV(bdev_file->f_mapping->host);
}

#define bdev_fput	scst_fput

static inline struct file *scst_bdev_open(const struct path *path, blk_mode_t mode, void *holder,
					  const struct blk_holder_ops *hops)
{
	int flags = O_EXCL | O_LARGEFILE | (mode & BLK_OPEN_WRITE ? O_RDWR : O_RDONLY);

	return dentry_open(path, flags, current_cred());
}

static inline void scst_bdev_holder_unlock(struct block_device *bdev)
{
}
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
#error "kernels from 6.5 to 6.8 are not supported: no bdev_file_open_by_dev()"
#else
static inline struct file *scst_bdev_open(const struct path *path, blk_mode_t mode, void *holder,
					  const struct blk_holder_ops *hops)
{
	return bdev_file_open_by_dev(d_inode(path->dentry)->i_rdev, mode, holder, hops);
}

/* mark_dead() is called with this lock held and has to release it. */
static inline void scst_bdev_holder_unlock(struct block_device *bdev)
{
	mutex_unlock(&bdev->bd_holder_lock);
}
#endif

/*
 * scst_bio_integrity() - let the blocks of a bio go with their protection information: @len bytes at @pi, in one page
 *
 * @seed is what the reference tag of the first is, where it is of the submitter's numbers; with @check adapter and disk look at it.  The bio
 * has one vector for that at most.  Until 6.13 the payload is of the bio_set, and checks are switched off; since then it is allocated, and
 * they are switched on.  0 or a negative errno: -EOPNOTSUPP if the disk has it no more.
 */
#ifdef _LINUX_BLK_INTEGRITY_H
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define scst_bioset_integrity	bioset_integrity_create

static inline unsigned short scst_bip_flags(const struct blk_integrity *bi, bool check)
{
	return check ? 0 : BIP_CTRL_NOCHECK | BIP_DISK_NOCHECK;
}
#else
static inline int scst_bioset_integrity(struct bio_set *bs, int nr)
{
	return 0;
}

static inline unsigned short scst_bip_flags(const struct blk_integrity *bi, bool check)
{
	if (!check)
		return BIP_DISK_NOCHECK;
	return BIP_CHECK_GUARD | (bi->flags & BLK_INTEGRITY_REF_TAG ? BIP_CHECK_REFTAG : 0);
}
#endif

#ifdef CONFIG_BLK_DEV_INTEGRITY
static inline int scst_bio_integrity(struct bio *bio, sector_t seed, void *pi, unsigned int len, bool check)
{
	const struct blk_integrity *bi = bdev_get_integrity(bio->bi_bdev);
	struct bio_integrity_payload *bip;

	if (!bi)
		return -EOPNOTSUPP;
	bip = bio_integrity_alloc(bio, GFP_NOIO, 1);
	if (IS_ERR(bip))
		return PTR_ERR(bip);
	bip_set_seed(bip, seed);
	bip->bip_flags |= scst_bip_flags(bi, check);
	if (bio_integrity_add_page(bio, virt_to_page(pi), len, offset_in_page(pi)) != len)
		return -EIO;
	/* Until 6.6: bio_integrity_add_page() leaves it as it is. */
	bip->bip_iter.bi_size = len;
	return 0;
}
#else
static inline int scst_bio_integrity(struct bio *bio, sector_t seed, void *pi, unsigned int len, bool check)
{
	return -EOPNOTSUPP;
}
#endif

/* Until 6.11: the name is in the profile. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
static inline const char *blk_integrity_profile_name(struct blk_integrity *bi)
{
	return bi->profile->name ?: "";
}
#endif
#endif

/*
 * scst_tcp_send() - send from memory or, by reference, from pages; returns as tcp_sendmsg_locked()
 *
 * Until 6.5: pages go one by one, by a function of their own; nothing leaves before the last.
 */
#ifdef _TCP_H
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 5, 0)
static inline int scst_tcp_send(struct sock *sk, struct iov_iter *iter, int flags, bool by_reference)
{
	const struct bio_vec *bvec = iter->bvec, *last = bvec + iter->nr_segs - 1;
	int more = MSG_MORE | MSG_SENDPAGE_NOTLAST, done = 0, n;

	if (!by_reference) {
		struct msghdr msg = { .msg_flags = flags, .msg_iter = *iter };

		return tcp_sendmsg_locked(sk, &msg, iov_iter_count(iter));
	}
	for (; bvec <= last; bvec++) {
		int how = flags | (bvec < last ? more : 0);

		/* The first sees to what is once for all. */
		if (bvec == iter->bvec)
			n = tcp_sendpage_locked(sk, bvec->bv_page, bvec->bv_offset, bvec->bv_len, how);
		else
			n = do_tcp_sendpages(sk, bvec->bv_page, bvec->bv_offset, bvec->bv_len, how);
		if (n <= 0)
			return done ?: n;
		done += n;
		if (n < bvec->bv_len)
			break;
	}
	return done;
}
#else
static inline int scst_tcp_send(struct sock *sk, struct iov_iter *iter, int flags, bool by_reference)
{
	struct msghdr msg = { .msg_flags = flags | (by_reference ? MSG_SPLICE_PAGES : 0), .msg_iter = *iter };

	return tcp_sendmsg_locked(sk, &msg, iov_iter_count(iter));
}
#endif
#endif

#endif /* SCST_COMPAT_H */
