// SPDX-License-Identifier: GPL-2.0-or-later
/* Any parameter list of EXTENDED COPY, of LID1 and LID4, between units of any size: no name is beyond its end, and no segment beyond that of a unit. */
#include <stdlib.h>
#include <string.h>
#include "compat.h"
#include "copy-parse.h"

#define HEAD	18
#define SHIFTS	4	/* blocks of 512 to 4096 bytes */
#define LID4	0x80	/* byte 8 */

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void check_names(const struct scst_copy_list *list, size_t size)
{
	struct scst_copy_cscd cscd;
	unsigned int i;

	if (list->nr_cscds > SCST_COPY_CSCDS)
		abort();
	for (i = 0; i < list->nr_cscds; i++) {
		scst_copy_cscd(list, i, &cscd);
		if (cscd.designator + cscd.len > list->bytes + size || cscd.len > SCST_COPY_DESIGNATOR)
			abort();
	}
}

static int within(u64 pos, u64 len, const struct scst_copy_medium *medium)
{
	u64 size = medium->nblocks << medium->block_shift;

	return len <= size && pos <= size - len && !(len & ((1 << medium->block_shift) - 1));
}

static void check_segments(const struct scst_copy_list *list, const struct scst_copy_medium media[2])
{
	struct scst_copy_segment segment;
	struct scst_copy_extent extent;
	unsigned int i;

	if (list->nr_segments > SCST_COPY_SEGMENTS)
		abort();
	for (i = 0; i < list->nr_segments; i++) {
		scst_copy_segment(list, i, &segment);
		if (segment.from >= list->nr_cscds || segment.to >= list->nr_cscds)
			abort();
		if (scst_copy_extent(&segment, &media[0], &media[1], &extent) == SCST_COPY_FITS &&
		    !(within(extent.from, extent.len, &media[0]) && within(extent.to, extent.len, &media[1])))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct scst_copy_medium media[2];
	struct scst_copy_fault fault;
	struct scst_copy_list list;
	unsigned int i;
	bool lid4;
	u8 *bytes;

	if (size < HEAD)
		return 0;
	lid4 = data[8] & LID4;
	for (i = 0; i < 2; i++)
		media[i] = (struct scst_copy_medium){
			.nblocks = get_unaligned_be64(data + 9 * i) >> 13, .block_shift = 9 + data[9 * i + 8] % SHIFTS,
		};
	size -= HEAD;
	bytes = malloc(size);
	memcpy(bytes, data + HEAD, size);
	if ((lid4 ? scst_copy_parse_lid4 : scst_copy_parse)(&list, &fault, bytes, size)) {
		check_names(&list, size);
		check_segments(&list, media);
	} else if (!fault.sense || (fault.byte >= 0 && (size_t)fault.byte >= size)) {
		abort();
	}
	free(bytes);
	return 0;
}
