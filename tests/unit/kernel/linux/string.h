/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SCST_TEST_STRING_H
#define SCST_TEST_STRING_H

#include <string.h>
#include <strings.h>

static inline void strscpy(char *to, const char *from, size_t size)
{
	size_t len = strnlen(from, size - 1);

	memcpy(to, from, len);
	to[len] = 0;
}

#endif /* SCST_TEST_STRING_H */
