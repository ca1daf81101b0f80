// SPDX-License-Identifier: GPL-2.0-only
/*
 * How long commands take: a histogram per I_T_L nexus and kind of command, while it is switched on (latency of
 * /sys/class/scst/core), shown by latency of debugfs.
 *
 * From scst_cmd_submit() until the driver has its memory back: what waiting for data and the sending of a response take is
 * part of it.  Switched off nobody has memory for it, and commands pass a nop; on, they read the clock twice and count in one of
 * a few stripes, so that CPUs seldom meet.
 */
#include "commands.h"
#include <linux/bitops.h>
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/math64.h>

#define LATENCY_STRIPES_MAX	8
#define LATENCY_WRAPS		(30 * 60 * HZ)	/* cmd->began comes round after more than twice that */

struct scst_latency_stripe {
	atomic64_t count[SCST_LATENCY_KINDS][SCST_LATENCY_BUCKETS];
} ____cacheline_aligned;

struct scst_latency {
	struct rcu_head rcu;
	u32 nr;			/* a power of two */
	struct scst_latency_stripe stripe[] __counted_by(nr);
};

DEFINE_STATIC_KEY_FALSE(scst_latency_measured);

static DEFINE_MUTEX(scst_latency_switch);
static bool scst_latency_wanted;	/* under scst_config_mutex */

/* --- in a command's way, switched on ----------------------------------------------------------- */

static u32 scst_latency_clock(void)
{
	return div_u64(ktime_get_ns(), NSEC_PER_USEC);
}

/* A command that nobody else knows yet. */
void __cold scst_latency_begin(struct scst_cmd *cmd)
{
	cmd->began = scst_latency_clock();
	__set_bit(SCST_CMD_TIMED, &cmd->flags);
}

static enum scst_latency_kind scst_latency_kind(const struct scst_opcode *op)
{
	if (!op || op->format == SCST_CDB_PLAIN)
		return SCST_LATENCY_OTHER;
	if (op->execute == scst_sbc_read)
		return SCST_LATENCY_READ;
	return op->execute == scst_sbc_write ? SCST_LATENCY_WRITE : SCST_LATENCY_OTHER;
}

static unsigned int scst_latency_bucket(const struct scst_cmd *cmd)
{
	if (scst_cmd_tracked(cmd) && scst_cmd_ticks(cmd) > LATENCY_WRAPS)
		return SCST_LATENCY_BUCKETS - 1;
	return min(fls(scst_latency_clock() - cmd->began), SCST_LATENCY_BUCKETS - 1);
}

/* Still the core's; holds its nexus, if it has one.  Any context. */
void __cold scst_latency_end(struct scst_cmd *cmd)
{
	struct scst_latency *latency;

	if (!cmd->nexus || !test_bit(SCST_CMD_TIMED, &cmd->flags))
		return;
	rcu_read_lock();
	latency = rcu_dereference(cmd->nexus->latency);
	if (latency) {
		struct scst_latency_stripe *stripe = &latency->stripe[raw_smp_processor_id() & (latency->nr - 1)];

		atomic64_inc(&stripe->count[scst_latency_kind(cmd->op)][scst_latency_bucket(cmd)]);
	}
	rcu_read_unlock();
}

/* --- reading ------------------------------------------------------------------------------------- */

/* The caller keeps @latency, or is an RCU reader. */
void scst_latency_sum(const struct scst_latency *latency, u64 (*sums)[SCST_LATENCY_BUCKETS])
{
	u32 stripe, kind, bucket;

	memset(sums, 0, SCST_LATENCY_KINDS * sizeof(*sums));
	for (stripe = 0; stripe < latency->nr; stripe++)
		for (kind = 0; kind < SCST_LATENCY_KINDS; kind++)
			for (bucket = 0; bucket < SCST_LATENCY_BUCKETS; bucket++)
				sums[kind][bucket] += atomic64_read(&latency->stripe[stripe].count[kind][bucket]);
}

/* --- on and off ----------------------------------------------------------------------------------- */

static struct scst_latency *scst_latency_alloc(void)
{
	u32 nr = min_t(u32, roundup_pow_of_two(nr_cpu_ids), LATENCY_STRIPES_MAX);
	struct scst_latency *latency;

	latency = kzalloc(struct_size(latency, stripe, nr), GFP_KERNEL);
	if (latency)
		latency->nr = nr;
	return latency;
}

/* A new nexus.  Under scst_config_mutex.  Return: false: no memory. */
bool scst_latency_prepare(struct scst_nexus *nexus)
{
	struct scst_latency *latency;

	lockdep_assert_held(&scst_config_mutex);
	if (!scst_latency_wanted)
		return true;
	latency = scst_latency_alloc();
	RCU_INIT_POINTER(nexus->latency, latency);
	return latency;
}

static void scst_latency_add(struct scst_nexus *nexus, void *arg)
{
	struct scst_latency *latency = scst_latency_alloc();
	int *ret = arg;

	if (!latency)
		*ret = -ENOMEM;
	rcu_assign_pointer(nexus->latency, latency);
}

static void scst_latency_drop(struct scst_nexus *nexus, void *arg)
{
	struct scst_latency *latency = rcu_replace_pointer(nexus->latency, NULL, lockdep_is_held(&scst_config_mutex));

	if (latency)
		kfree_rcu(latency, rcu);
}

/* Memory for all that are there and, from here on, for all that come; or for none. */
static int scst_latency_want(bool on)
{
	int ret = 0;

	mutex_lock(&scst_config_mutex);
	scst_latency_wanted = on;
	if (on)
		scst_for_each_nexus(scst_latency_add, &ret);
	if (ret)
		scst_latency_wanted = false;
	if (!scst_latency_wanted)
		scst_for_each_nexus(scst_latency_drop, NULL);
	mutex_unlock(&scst_config_mutex);
	return ret;
}

/**
 * scst_latency_set() - measure how long commands take, or stop that
 * @on: which; switched on, all counts begin at 0, and switched off they are gone
 *
 * Process context, waits for no command.  Return: 0, or -ENOMEM and it is off.
 */
int scst_latency_set(bool on)
{
	int ret = 0;

	mutex_lock(&scst_latency_switch);
	if (on && !static_key_enabled(&scst_latency_measured)) {
		ret = scst_latency_want(true);
		if (!ret)
			static_branch_enable(&scst_latency_measured);
	} else if (!on && static_key_enabled(&scst_latency_measured)) {
		static_branch_disable(&scst_latency_measured);
		scst_latency_want(false);
	}
	mutex_unlock(&scst_latency_switch);
	return ret;
}
