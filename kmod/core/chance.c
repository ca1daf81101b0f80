// SPDX-License-Identifier: GPL-2.0-only
/*
 * Whom chance strikes, the same ones each time; pure.
 *
 * The nth choice follows from the seed and n alone: it is the nth number of SplitMix64.
 */
#include "chance.h"

/* The nth number, from 0 on. */
static u64 scst_chance_number(u64 seed, u64 n)
{
	u64 x = seed + (n + 1) * 0x9e3779b97f4a7c15ULL;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

/* From the beginning. */
void scst_chance_begin(struct scst_chance *chance)
{
	chance->asked = 0;
	chance->hits = 0;
}

/* Has it struck so often as it was to? */
bool scst_chance_over(const struct scst_chance *chance)
{
	return chance->count && chance->hits >= chance->count;
}

/**
 * scst_chance_strikes() - the next choice
 * @chance: begun
 *
 * Return: true: it strikes.
 */
bool scst_chance_strikes(struct scst_chance *chance)
{
	u64 number;

	if (scst_chance_over(chance))
		return false;
	number = scst_chance_number(chance->seed, chance->asked++);
	if ((number >> 32) * SCST_CHANCE_SURE >> 32 >= chance->permille)
		return false;
	chance->hits++;
	return true;
}
