/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCST_TEST_KERNEL_H
#define SCST_TEST_KERNEL_H

/* What pure kernel code uses of it. */
#include <linux/types.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#define ALIGN(value, to)	(((value) + (to) - 1) / (to) * (to))
#define clamp_t(type, value, low, high)						\
	((type)(value) < (type)(low) ? (type)(low) :				\
	 (type)(value) > (type)(high) ? (type)(high) : (type)(value))
#define max(a, b)		((a) > (b) ? (a) : (b))
#define min(a, b)		((a) < (b) ? (a) : (b))
#define min_t(type, a, b)	((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#define U32_MAX			UINT32_MAX
#define U64_MAX			UINT64_MAX

/* The most significant bit that is set, from 1; 0 of 0. */
static inline int fls(unsigned int value)
{
	return value ? 32 - __builtin_clz(value) : 0;
}

#endif /* SCST_TEST_KERNEL_H */
