// SPDX-License-Identifier: GPL-2.0-or-later
/* Any parameter list of UNMAP, on a unit of any size: no range that is taken is beyond its end, and together they are not too many. */
#include <stdlib.h>
#include <string.h>
#include "compat.h"
#include "unmap.h"

#define HEAD	20

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check_ranges(const u8 *list, size_t len, unsigned int nr, const struct scst_unmap_limits *limits)
{
	u64 total = 0, lba;
	unsigned int i;
	u32 nblocks;

	if (nr > limits->max_descs || SCST_UNMAP_HEADER + nr * SCST_UNMAP_DESC > len)
		abort();
	for (i = 0; i < nr; i++) {
		scst_unmap_range(list, i, &lba, &nblocks);
		total += nblocks;
		if (lba > limits->nblocks || nblocks > limits->nblocks - lba)
			abort();
	}
	if (total > limits->max_blocks)
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct scst_unmap_limits limits;
	u16 byte = 0;
	u8 *list;
	int nr;

	if (size < HEAD)
		return 0;
	limits.nblocks = get_unaligned_be64(data);
	limits.max_blocks = get_unaligned_be64(data + 8);
	limits.max_descs = get_unaligned_be32(data + 16) & 0xfff;
	size -= HEAD;
	list = malloc(size);
	memcpy(list, data + HEAD, size);
	nr = scst_unmap_check(list, size, &limits, &byte);
	if (nr > 0)
		check_ranges(list, size, nr, &limits);
	else if (nr < SCST_UNMAP_RANGE || (nr < SCST_UNMAP_CUT && byte >= size))
		abort();
	free(list);
	return 0;
}
