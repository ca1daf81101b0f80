/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Today's names on yesterday's kernels; the only place with version conditionals.
 */
#ifndef SCST_COMPAT_H
#define SCST_COMPAT_H

#include <linux/version.h>

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

/* Until 6.14: the callback that sees a new SCSI device first had another name. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 14, 0)
#define sdev_init	slave_alloc
#endif

/* Until 6.12: the header was the architecture's. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#include <asm/unaligned.h>
#else
#include <linux/unaligned.h>
#endif

#endif /* SCST_COMPAT_H */
