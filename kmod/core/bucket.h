/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A bucket that fills with time, and what may be taken from it; pure.
 */
#ifndef SCST_BUCKET_H
#define SCST_BUCKET_H

#include <linux/types.h>

#define SCST_BUCKET_RATE_MAX	1000000000000ULL	/* units per second */
#define SCST_BUCKET_TAKE_MAX	0xffffffffU		/* units at once */
#define SCST_BUCKET_BURST_MAX	60000000000ULL		/* nanoseconds */

/**
 * struct scst_bucket - a rate that is not exceeded
 * @rate: units per second; 0: there is no limit
 * @burst: nanoseconds in which it becomes full: what can be taken at once is that long's worth, or a single taking if that is more
 * @full_at: when it is full, in nanoseconds of a clock that does not go back
 * @part: ... and that part of a nanosecond more, in parts of @rate
 */
struct scst_bucket {
	u64 rate;
	u64 burst;
	u64 full_at;
	u64 part;
};

void scst_bucket_set(struct scst_bucket *bucket, u64 rate, u64 burst, u64 now);
u64 scst_bucket_wait(const struct scst_bucket *bucket, u32 units, u64 now);
void scst_bucket_take(struct scst_bucket *bucket, u32 units, u64 now);

#endif /* SCST_BUCKET_H */
