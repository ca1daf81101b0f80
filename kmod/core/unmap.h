/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parameter list of UNMAP (SBC-3 5.28.2); pure.
 */
#ifndef SCST_UNMAP_H
#define SCST_UNMAP_H

#include <linux/types.h>

#define SCST_UNMAP_HEADER	8
#define SCST_UNMAP_DESC		16

/**
 * struct scst_unmap_limits - what a list is held against
 * @nblocks: capacity of the unit
 * @max_blocks: most blocks of all ranges together
 * @max_descs: most ranges
 */
struct scst_unmap_limits {
	u64 nblocks;
	u64 max_blocks;
	u32 max_descs;
};

/* Why a list is refused: negative results of scst_unmap_check(). */
enum scst_unmap_fault {
	SCST_UNMAP_CUT		= -1,	/* it says that it is longer than it is */
	SCST_UNMAP_FIELD	= -2,	/* a field is wrong */
	SCST_UNMAP_RANGE	= -3,	/* a range is not all of the unit's */
};

int scst_unmap_check(const u8 *list, size_t len, const struct scst_unmap_limits *limits, u16 *byte);
void scst_unmap_range(const u8 *list, unsigned int nr, u64 *lba, u32 *nblocks);

#endif /* SCST_UNMAP_H */
