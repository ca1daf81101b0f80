// SPDX-License-Identifier: GPL-2.0-only
/*
 * A bucket that fills with time, and what may be taken from it; pure.
 *
 * Instead of its level it is kept when it will be full: that moves on by what a taking costs in time, and needs no clock that ticks.
 * To the exact fraction of a nanosecond, so that what was let go in any time is never more than the rate gives, however many takings
 * there were, nor less by more than the rounding up of one of them.
 *
 * Nothing overflows: a taking is less than 2^32 units of 10^9 parts each, and a part is less than the rate (2^40).  It is as good as full
 * when more than it holds is taken from it, so that at most one such cost (below 2^62 ns) is ahead of the clock.
 */
#include "bucket.h"

#define NS_PER_SECOND	1000000000ULL

/**
 * scst_bucket_set() - another rate from now on
 * @bucket: the bucket; all zeroes if it is new
 * @rate: units per second, at most SCST_BUCKET_RATE_MAX; 0: no limit
 * @burst: in nanoseconds, 1 to SCST_BUCKET_BURST_MAX
 * @now: the time
 *
 * If both are as they are nothing changes.  Else what was taken in advance at the old rate is forgotten: it is empty at most.  No new
 * filling comes with it.
 */
void scst_bucket_set(struct scst_bucket *bucket, u64 rate, u64 burst, u64 now)
{
	if (bucket->rate == rate && bucket->burst == burst)
		return;
	bucket->full_at += !!bucket->part;
	bucket->part = 0;
	if (bucket->full_at > now + burst)
		bucket->full_at = now + burst;
	bucket->rate = rate;
	bucket->burst = burst;
}

/**
 * scst_bucket_wait() - how long until so much may be taken?
 * @bucket: the bucket
 * @units: how much
 * @now: the time
 *
 * What is more than a full bucket may be taken when it is full.
 *
 * Return: nanoseconds from @now, rounded up; 0: now.
 */
u64 scst_bucket_wait(const struct scst_bucket *bucket, u32 units, u64 now)
{
	u64 cost = units * NS_PER_SECOND, start;

	if (!bucket->rate || bucket->full_at < now)
		return 0;
	if (cost / bucket->rate >= bucket->burst)
		start = bucket->full_at + !!bucket->part;
	else
		start = bucket->full_at + (bucket->part + cost + bucket->rate - 1) / bucket->rate - bucket->burst;
	/* The bucket may be so young that the clock has not reached its burst: then the difference is negative. */
	return (s64)(start - now) > 0 ? start - now : 0;
}

/**
 * scst_bucket_take() - take it
 * @bucket: the bucket
 * @units: how much; scst_bucket_wait() has said that it may be
 * @now: the time
 */
void scst_bucket_take(struct scst_bucket *bucket, u32 units, u64 now)
{
	u64 cost;

	if (!bucket->rate)
		return;
	if (bucket->full_at < now) {
		bucket->full_at = now;
		bucket->part = 0;
	}
	cost = bucket->part + units * NS_PER_SECOND;
	bucket->full_at += cost / bucket->rate;
	bucket->part = cost % bucket->rate;
}
