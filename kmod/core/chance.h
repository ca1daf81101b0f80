/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whom chance strikes, the same ones each time; pure.
 */
#ifndef SCST_CHANCE_H
#define SCST_CHANCE_H

#include <linux/types.h>

#define SCST_CHANCE_SURE	1000U	/* per mille */

/**
 * struct scst_chance - a sequence of choices
 * @seed: which sequence
 * @permille: how many of a thousand it strikes, in the long run
 * @count: so many, then no more; 0: no end
 * @asked: choices made
 * @hits: of these, those that have struck
 */
struct scst_chance {
	u64 seed;
	u32 permille;
	u64 count;
	u64 asked;
	u64 hits;
};

void scst_chance_begin(struct scst_chance *chance);
bool scst_chance_over(const struct scst_chance *chance);
bool scst_chance_strikes(struct scst_chance *chance);

#endif /* SCST_CHANCE_H */
