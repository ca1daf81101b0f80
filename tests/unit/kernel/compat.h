/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The kernel's names for numbers in SCSI's byte order, as kmod/include/compat.h gets them from the kernel. */
#ifndef SCST_TEST_COMPAT_H
#define SCST_TEST_COMPAT_H

#include <endian.h>
#include <linux/kernel.h>
#include <linux/types.h>
#include <string.h>

#define SCST_UNALIGNED(bits)							\
static inline u##bits get_unaligned_be##bits(const void *from)			\
{										\
	u##bits value;								\
										\
	memcpy(&value, from, sizeof(value));					\
	return be##bits##toh(value);						\
}										\
static inline void put_unaligned_be##bits(u##bits value, void *to)		\
{										\
	value = htobe##bits(value);						\
	memcpy(to, &value, sizeof(value));					\
}

SCST_UNALIGNED(16)
SCST_UNALIGNED(32)
SCST_UNALIGNED(64)

static inline u32 get_unaligned_be24(const void *from)
{
	const u8 *byte = from;

	return byte[0] << 16 | byte[1] << 8 | byte[2];
}

#endif /* SCST_TEST_COMPAT_H */
