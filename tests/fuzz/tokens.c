// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any parameter list of POPULATE TOKEN and WRITE USING TOKEN, for a unit of any size, and any token: no range is beyond the unit, none is in
 * another, nothing is read beyond the list, and what is copied is where the ranges are.
 */
#include <stdlib.h>
#include <string.h>
#include "compat.h"
#include "copy-token-parse.h"

#define HEAD	10
#define SHIFTS	4	/* blocks of 512 to 4096 bytes */

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check_places(const struct scst_token_range *ranges, unsigned int nr, u8 shift, u64 bytes)
{
	u64 pos, len, at;
	unsigned int i;

	for (pos = 0; pos < bytes; pos += len) {
		len = bytes - pos;
		at = scst_token_place(ranges, nr, shift, pos, &len);
		for (i = 0; i < nr; i++)
			if (at >= ranges[i].lba << shift && at + len <= (ranges[i].lba + ranges[i].nblocks) << shift)
				break;
		if (!len || i == nr)
			abort();
	}
	len = 1;
	scst_token_place(ranges, nr, shift, bytes, &len);
	if (len)
		abort();
}

static void check_ranges(const struct scst_token_list *list, const u8 *end, const struct scst_copy_medium *medium)
{
	struct scst_token_range ranges[SCST_TOKEN_RANGES];
	u64 nblocks = 0;
	unsigned int i;

	if (!list->nr || list->nr > SCST_TOKEN_RANGES || list->ranges + list->nr * SCST_TOKEN_RANGE > end)
		abort();
	for (i = 0; i < list->nr; i++) {
		scst_token_range(list, i, &ranges[i]);
		if (ranges[i].nblocks > medium->nblocks || ranges[i].lba > medium->nblocks - ranges[i].nblocks)
			abort();
		if (scst_token_touches(ranges, i, ranges[i].lba, ranges[i].nblocks))
			abort();
		nblocks += ranges[i].nblocks;
	}
	if (nblocks != list->nblocks || nblocks << medium->block_shift > SCST_TOKEN_BYTES)
		abort();
	if (!list->timeout || list->timeout > SCST_TOKEN_TIMEOUT_MAX)
		abort();
	check_places(ranges, list->nr, medium->block_shift, nblocks << medium->block_shift);
}

static void check_token(const u8 *token)
{
	struct scst_copy_cscd cscd = { };
	u32 type, sense = scst_token_decode(token, &type, &cscd);

	if (!sense && type == SCST_ROD_VULNERABLE && cscd.designator + cscd.len > token + SCST_TOKEN)
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct scst_copy_medium medium;
	struct scst_copy_fault fault;
	struct scst_token_list list;
	bool write, right;
	u8 *bytes;

	if (size < HEAD)
		return 0;
	write = data[0] & 1;
	medium = (struct scst_copy_medium){
		.nblocks = get_unaligned_be64(data + 1) >> 13, .block_shift = 9 + data[9] % SHIFTS,
	};
	size -= HEAD;
	bytes = malloc(size);
	memcpy(bytes, data + HEAD, size);
	right = (write ? scst_token_parse_write : scst_token_parse_populate)(&list, &fault, bytes, size, &medium);
	if (right)
		check_ranges(&list, bytes + size, &medium);
	else if (!fault.sense || (fault.byte >= 0 && (size_t)fault.byte >= size))
		abort();
	if (right && write)
		check_token(list.token);
	free(bytes);
	return 0;
}
