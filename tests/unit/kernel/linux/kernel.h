/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What pure kernel code uses of it. */
#include <linux/types.h>

#define ARRAY_SIZE(array)	(sizeof(array) / sizeof((array)[0]))
#define ALIGN(value, to)	(((value) + (to) - 1) / (to) * (to))
#define clamp_t(type, value, low, high)						\
	((type)(value) < (type)(low) ? (type)(low) :				\
	 (type)(value) > (type)(high) ? (type)(high) : (type)(value))
