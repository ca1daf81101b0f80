// SPDX-License-Identifier: GPL-2.0-only
/*
 * The parameter list of UNMAP (SBC-3 5.28.2); pure.
 *
 *	0	UNMAP DATA LENGTH: of what follows it
 *	2	UNMAP BLOCK DESCRIPTOR DATA LENGTH
 *	8	descriptors of 16 bytes: 8 of LBA, 4 of NUMBER OF LOGICAL BLOCKS, 4 reserved
 *
 * Nothing is done unless all of it is right: what is given back by mistake is lost.
 */
#include "unmap.h"

static u64 scst_unmap_get(const u8 *p, unsigned int size)
{
	u64 value = 0;

	while (size--)
		value = value << 8 | *p++;
	return value;
}

/**
 * scst_unmap_range() - a range of a list
 * @list: the list, which has that range
 * @nr: which, from 0
 * @lba: set to its first block
 * @nblocks: set to the number of blocks, 0: none
 */
void scst_unmap_range(const u8 *list, unsigned int nr, u64 *lba, u32 *nblocks)
{
	const u8 *desc = list + SCST_UNMAP_HEADER + nr * SCST_UNMAP_DESC;

	*lba = scst_unmap_get(desc, 8);
	*nblocks = scst_unmap_get(desc + 8, 4);
}

/* The ranges; @nr of them are there. */
static int scst_unmap_check_ranges(const u8 *list, unsigned int nr, const struct scst_unmap_limits *limits, u16 *byte)
{
	u64 left = limits->max_blocks, lba;
	unsigned int i;
	u32 nblocks;

	for (i = 0; i < nr; i++) {
		scst_unmap_range(list, i, &lba, &nblocks);
		*byte = SCST_UNMAP_HEADER + i * SCST_UNMAP_DESC;
		if (nblocks > limits->nblocks || lba > limits->nblocks - nblocks)
			return SCST_UNMAP_RANGE;
		*byte += 8;
		if (nblocks > left)
			return SCST_UNMAP_FIELD;
		left -= nblocks;
	}
	return nr;
}

/**
 * scst_unmap_check() - may all ranges of a list be given back?
 * @list: the list
 * @len: bytes of it
 * @limits: what it is held against
 * @byte: set to the first byte of the field that is wrong, unless the list is cut
 *
 * An incomplete descriptor at the end is ignored, as the standard says; reserved bytes are not looked at.
 *
 * Return: the number of ranges, or why not: enum scst_unmap_fault.
 */
int scst_unmap_check(const u8 *list, size_t len, const struct scst_unmap_limits *limits, u16 *byte)
{
	unsigned int data, descs;

	if (len < SCST_UNMAP_HEADER)
		return SCST_UNMAP_CUT;
	data = scst_unmap_get(list, 2);
	descs = scst_unmap_get(list + 2, 2);
	if (data + 2 > len)
		return SCST_UNMAP_CUT;
	if (!descs)
		return 0;
	*byte = 2;
	if (descs + SCST_UNMAP_HEADER > data + 2 || descs / SCST_UNMAP_DESC > limits->max_descs)
		return SCST_UNMAP_FIELD;
	return scst_unmap_check_ranges(list, descs / SCST_UNMAP_DESC, limits, byte);
}
