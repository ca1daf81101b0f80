/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCST_TEST_TYPES_H
#define SCST_TEST_TYPES_H

/* The kernel's names for what a C library has, so that pure kernel code builds in user space. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int8_t s8;
typedef int32_t s32;
typedef int64_t s64;
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#endif /* SCST_TEST_TYPES_H */
