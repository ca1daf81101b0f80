// SPDX-License-Identifier: GPL-2.0-only
/*
 * How much an I_T_L nexus may do in a second: commands and bytes, reads and writes apart, as its mapping says.
 *
 * A nexus that is not limited has nothing of this.  One that is has a limiter, with a lane for reads and one for writes, each with a
 * bucket for commands and one for bytes; and a gate of its word says to whoever reads, or writes, that he has to ask.  Nothing is shared
 * between nexuses, so one initiator's limit costs no other.
 *
 * Who has to wait is held in the order of arrival (HEAD OF QUEUE before all others), after its gates were passed and before anything else:
 * its data is not asked for yet, it holds no backing, and it has not reached the medium.  It is in its session's table, where aborts find
 * it.  One timer of the nexus lets it go, from a work item, and then it passes its gates again.  No thread waits.
 *
 * Nobody waits for it in vain.  Aborted, it is answered at once.  Whoever closes a gate for longer than one answer calls
 * scst_gate_look(): those that it stops go at once, to be told so.  They hold the lock of the lane when they look whether a
 * gate is closed, so one of the two sees the other.  Who wants a range of the medium alone does not wait for it: see turn.c.
 *
 * What a command costs is one command, and the blocks that its CDB names.  Not limited are commands that neither read nor write blocks,
 * SYNCHRONIZE CACHE, which only makes stable what was paid for, and copies.
 *
 * A third lane is for whom an injected fault holds (fault.c): by when they go on, those that nobody lets go last.
 *
 * The lock of a limiter is inside scst_wait_lock, the slots' bits and nexus_lock, outside turn_lock.
 */
#include "core.h"
#include <linux/ktime.h>

/* Timers that are late by that let several go at once. */
#define LIMIT_SLACK_NS		(50 * NSEC_PER_USEC)

/* What may be read, or written, or is held; under the lock of its limiter. */
struct scst_lane {
	struct scst_bucket commands;	/* that of faults uses neither */
	struct scst_bucket bytes;
	struct list_head waiting;	/* struct scst_waiter, who goes next first */
	u32 nr;				/* of them */
};

/**
 * struct scst_limiter - of a nexus
 * @lock: for all of it
 * @timer: the next that waits may go
 * @lane: enum scst_lane_kind
 * @limits: in force
 * @limited: there are some, or were
 * @waited: commands that have waited for them, and are not any more
 * @waited_ns: all together
 */
struct scst_limiter {
	spinlock_t lock;
	struct hrtimer timer;
	struct scst_lane lane[SCST_LANES];
	struct scst_limits limits;
	bool limited;
	u64 waited;
	u64 waited_ns;
};

static struct scst_cmd *scst_cmd_of_waiter(struct scst_waiter *waiter)
{
	return container_of(waiter, struct scst_cmd, waiter);
}

static struct scst_cmd *scst_lane_first(struct scst_lane *lane)
{
	return list_first_entry_or_null(&lane->waiting, struct scst_cmd, waiter.entry);
}

/* --- lanes ------------------------------------------------------------------------------------------ */

/* Nanoseconds, 0: now. */
static u64 scst_lane_wait(const struct scst_lane *lane, u32 bytes, u64 now)
{
	return max(scst_bucket_wait(&lane->commands, 1, now), scst_bucket_wait(&lane->bytes, bytes, now));
}

static void scst_lane_take(struct scst_lane *lane, u32 bytes, u64 now)
{
	scst_bucket_take(&lane->commands, 1, now);
	scst_bucket_take(&lane->bytes, bytes, now);
}

/* The first of a lane: nanoseconds until it may go, 0: now, SCST_FAULT_HELD: not by itself. */
static u64 scst_waiter_wait(const struct scst_lane *lane, const struct scst_waiter *waiter, u64 now)
{
	if (waiter->lane != SCST_LANE_FAULT)
		return scst_lane_wait(lane, waiter->bytes, now);
	if (waiter->due == SCST_FAULT_HELD)
		return SCST_FAULT_HELD;
	return waiter->due > now ? waiter->due - now : 0;
}

static void scst_waiter_count(struct scst_limiter *limiter, struct scst_cmd *cmd, u64 now)
{
	if (cmd->waiter.lane == SCST_LANE_FAULT) {
		scst_stage(cmd, SCST_STAGE_FAULT);
		if (scst_cmd_aborted(cmd))
			set_bit(SCST_CMD_STRUCK, &cmd->flags);
		return;
	}
	limiter->waited++;
	limiter->waited_ns += now - cmd->waiter.since;
	set_bit(SCST_CMD_PAID, &cmd->flags);
	scst_stage(cmd, SCST_STAGE_LIMITED);
}

/* It does not wait any more. */
static void scst_lane_leave(struct scst_limiter *limiter, struct scst_cmd *cmd, u64 now)
{
	lockdep_assert_held(&limiter->lock);
	list_del(&cmd->waiter.entry);
	limiter->lane[cmd->waiter.lane].nr--;
	scst_waiter_count(limiter, cmd, now);
	clear_bit(SCST_CMD_LIMITED, &cmd->flags);
	/* Before dev->alone is looked at: see turn.c. */
	smp_mb__after_atomic();
}

static void scst_lane_let_go(struct scst_limiter *limiter, struct scst_cmd *cmd, u64 now)
{
	scst_lane_leave(limiter, cmd, now);
	scst_cmd_start_later(cmd);
}

/* Let go who may.  Return: nanoseconds until the next may; 0: nobody waits; SCST_FAULT_HELD: nobody goes by itself. */
static u64 scst_lane_run(struct scst_limiter *limiter, struct scst_lane *lane, u64 now)
{
	struct scst_cmd *cmd;
	u64 wait;

	while ((cmd = scst_lane_first(lane))) {
		wait = scst_waiter_wait(lane, &cmd->waiter, now);
		if (wait)
			return wait;
		if (cmd->waiter.lane != SCST_LANE_FAULT)
			scst_lane_take(lane, cmd->waiter.bytes, now);
		scst_lane_let_go(limiter, cmd, now);
	}
	return 0;
}

static void scst_limiter_run(struct scst_limiter *limiter, u64 now)
{
	u64 next = 0;
	int i;

	lockdep_assert_held(&limiter->lock);
	for (i = 0; i < SCST_LANES; i++) {
		u64 wait = scst_lane_run(limiter, &limiter->lane[i], now);

		next = min_not_zero(next, wait);
	}
	if (next && next != SCST_FAULT_HELD)
		hrtimer_start_range_ns(&limiter->timer, ns_to_ktime(now + next), LIMIT_SLACK_NS, HRTIMER_MODE_ABS_SOFT);
}

static enum hrtimer_restart scst_limiter_timer(struct hrtimer *timer)
{
	struct scst_limiter *limiter = container_of(timer, struct scst_limiter, timer);
	unsigned long irq;

	spin_lock_irqsave(&limiter->lock, irq);
	scst_limiter_run(limiter, ktime_get_ns());
	spin_unlock_irqrestore(&limiter->lock, irq);
	return HRTIMER_NORESTART;
}

/* --- in a command's way ------------------------------------------------------------------------------ */

/* By what its CDB names, also where it moves them between medium and memory of ours only. */
static u32 scst_limit_bytes(const struct scst_cmd *cmd)
{
	if (cmd->op->format == SCST_CDB_PLAIN)
		return 0;
	return min_t(u64, (u64)cmd->nblocks << cmd->dev->geo.block_shift, SCST_BUCKET_TAKE_MAX);
}

static bool scst_limit_stopped(const struct scst_cmd *cmd)
{
	return scst_cmd_aborted(cmd) || READ_ONCE(cmd->nexus->gates) & cmd->op->stops & SCST_STOPS_LASTING;
}

/* False: somebody meant it meanwhile, and it is not to wait.  @after: in its lane. */
static bool scst_lane_hold(struct scst_limiter *limiter, struct scst_cmd *cmd, struct list_head *after, u64 now)
{
	lockdep_assert_held(&limiter->lock);
	list_add(&cmd->waiter.entry, after);
	limiter->lane[cmd->waiter.lane].nr++;
	scst_stage(cmd, SCST_STAGE_CORE);
	set_bit(SCST_CMD_LIMITED, &cmd->flags);
	/* Pairs with scst_cmd_abort() and scst_turn_scan_cmd(). */
	smp_mb__after_atomic();
	if (test_bit(SCST_CMD_MARKED, &cmd->flags))
		scst_turn_left(cmd);
	if (!scst_limit_stopped(cmd))
		return true;
	scst_lane_leave(limiter, cmd, now);
	return false;
}

/* Is it its turn, with nobody before it? */
static bool scst_lane_pass(struct scst_lane *lane, struct scst_cmd *cmd, u32 bytes, u64 now)
{
	if (!list_empty(&lane->waiting) || scst_lane_wait(lane, bytes, now))
		return false;
	scst_lane_take(lane, bytes, now);
	set_bit(SCST_CMD_PAID, &cmd->flags);
	return true;
}

/* Behind those that came before it, or before all of them. */
static bool scst_lane_wait_here(struct scst_limiter *limiter, struct scst_lane *lane, struct scst_cmd *cmd, u32 bytes, u64 now)
{
	bool waits;

	cmd->waiter.since = now;
	cmd->waiter.bytes = bytes;
	cmd->waiter.lane = lane - limiter->lane;
	waits = scst_lane_hold(limiter, cmd, cmd->attr == SCST_TASK_HEAD_OF_QUEUE ? &lane->waiting : lane->waiting.prev, now);
	if (scst_lane_first(lane) == cmd)
		scst_limiter_run(limiter, now);
	return waits;
}

/* True: it goes on.  False: it waits. */
static bool scst_limiter_enter(struct scst_limiter *limiter, struct scst_cmd *cmd)
{
	bool writes = cmd->op->stops & BIT_ULL(SCST_GATE_LIMIT_WRITE), passes;
	struct scst_lane *lane = &limiter->lane[writes ? SCST_LANE_WRITE : SCST_LANE_READ];
	u32 bytes = scst_limit_bytes(cmd);
	unsigned long irq;
	u64 now;

	spin_lock_irqsave(&limiter->lock, irq);
	now = ktime_get_ns();
	passes = scst_lane_pass(lane, cmd, bytes, now) || !scst_lane_wait_here(limiter, lane, cmd, bytes, now);
	spin_unlock_irqrestore(&limiter->lock, irq);
	return passes;
}

/**
 * scst_limit_pass() - may a command begin now?
 * @cmd: its gates are passed but for that of a limit, and it is prepared; not pinned
 *
 * Any context.  Return: true: yes, or it is to look at its gates again; it has SCST_CMD_PAID either way.  False: it begins by itself, from a
 * work item, or has been answered because there is no room for it.
 */
bool scst_limit_pass(struct scst_cmd *cmd)
{
	/* Who waits is visible to task management. */
	if (!scst_cmd_track_late(cmd))
		return false;
	/* Pairs with scst_limiter_set(): who finds the gate finds the limiter. */
	smp_rmb();
	return scst_limiter_enter(READ_ONCE(cmd->nexus->limiter), cmd);
}

/**
 * scst_limit_aborted() - a command is aborted that waits
 * @cmd: SCST_CMD_ABORTED is set; can't go meanwhile
 *
 * Any context; under scst_wait_lock.  It goes on at once, to be answered.
 */
void scst_limit_aborted(struct scst_cmd *cmd)
{
	struct scst_limiter *limiter = READ_ONCE(cmd->nexus->limiter);
	unsigned long irq;

	spin_lock_irqsave(&limiter->lock, irq);
	if (test_bit(SCST_CMD_LIMITED, &cmd->flags))
		scst_lane_let_go(limiter, cmd, ktime_get_ns());
	spin_unlock_irqrestore(&limiter->lock, irq);
}

static void scst_lane_look(struct scst_limiter *limiter, struct scst_lane *lane, u64 now)
{
	struct scst_waiter *waiter, *next;

	list_for_each_entry_safe(waiter, next, &lane->waiting, entry)
		if (scst_limit_stopped(scst_cmd_of_waiter(waiter)))
			scst_lane_let_go(limiter, scst_cmd_of_waiter(waiter), now);
}

/**
 * scst_limiter_look() - see scst_gate_look()
 * @nexus: the nexus
 *
 * Any context.
 */
void scst_limiter_look(struct scst_nexus *nexus)
{
	struct scst_limiter *limiter = READ_ONCE(nexus->limiter);
	unsigned long irq;
	int i;

	if (!limiter)
		return;
	spin_lock_irqsave(&limiter->lock, irq);
	for (i = 0; i < SCST_LANES; i++)
		scst_lane_look(limiter, &limiter->lane[i], ktime_get_ns());
	spin_unlock_irqrestore(&limiter->lock, irq);
}

/* --- injected faults ---------------------------------------------------------------------------------- */

/* Behind those that go on earlier, or at the same time. */
static struct list_head *scst_lane_before(const struct scst_lane *lane, u64 due)
{
	struct scst_waiter *waiter;

	list_for_each_entry_reverse(waiter, &lane->waiting, entry)
		if (waiter->due <= due)
			break;
	return &waiter->entry;
}

/* True: it waits. */
static bool scst_lane_hold_until(struct scst_limiter *limiter, struct scst_cmd *cmd, unsigned int fault, u64 due, u64 now)
{
	struct scst_lane *lane = &limiter->lane[SCST_LANE_FAULT];
	bool waits;

	cmd->waiter.due = due;
	cmd->waiter.lane = SCST_LANE_FAULT;
	cmd->waiter.fault = fault;
	waits = scst_lane_hold(limiter, cmd, scst_lane_before(lane, due), now);
	if (scst_lane_first(lane) == cmd)
		scst_limiter_run(limiter, now);
	return waits;
}

/**
 * scst_limiter_hold() - a fault holds a command before it has begun
 * @cmd: tracked; its gates are passed; not pinned
 * @fault: its place in nexus->faults
 * @ms: so long, or SCST_FAULT_HELD: until the fault is ended, or the command is
 *
 * Any context.  Return: true: it begins by itself, from a work item.  False: the fault does not concern it any more, or it is to look at
 * its gates again.
 */
bool scst_limiter_hold(struct scst_cmd *cmd, unsigned int fault, u64 ms)
{
	struct scst_limiter *limiter = READ_ONCE(cmd->nexus->limiter);
	unsigned long irq;
	bool waits;
	u64 now;

	spin_lock_irqsave(&limiter->lock, irq);
	now = ktime_get_ns();
	waits = cmd->nexus->faults & BIT(fault) &&
		scst_lane_hold_until(limiter, cmd, fault, ms == SCST_FAULT_HELD ? ms : now + ms * NSEC_PER_MSEC, now);
	spin_unlock_irqrestore(&limiter->lock, irq);
	return waits;
}

/**
 * scst_limiter_set_faults() - the faults that may strike commands of a nexus, from now on
 * @nexus: prepared for them
 * @faults: bits of their places
 *
 * Under scst_config_mutex.  Can't fail.  Those that are held by others go on.
 */
void scst_limiter_set_faults(struct scst_nexus *nexus, unsigned long faults)
{
	struct scst_limiter *limiter = nexus->limiter;
	struct scst_waiter *waiter, *next;
	unsigned long irq;

	lockdep_assert_held(&scst_config_mutex);
	if (nexus->faults == faults)
		return;
	spin_lock_irqsave(&limiter->lock, irq);
	WRITE_ONCE(nexus->faults, faults);
	/* After that, as after the limiter: set_mask_bits() is a full barrier. */
	set_mask_bits(&nexus->gates, (unsigned long)SCST_STOPS_FAULT, faults ? (unsigned long)SCST_STOPS_FAULT : 0UL);
	list_for_each_entry_safe(waiter, next, &limiter->lane[SCST_LANE_FAULT].waiting, entry)
		if (!(faults & BIT(waiter->fault)))
			scst_lane_let_go(limiter, scst_cmd_of_waiter(waiter), ktime_get_ns());
	spin_unlock_irqrestore(&limiter->lock, irq);
}

/* --- limits ------------------------------------------------------------------------------------------- */

static bool scst_limits_any(const struct scst_limits *limits, int lane)
{
	return limits->iops[lane] || limits->bytes[lane];
}

static struct scst_limiter *scst_limiter_alloc(void)
{
	struct scst_limiter *limiter = kzalloc(sizeof(*limiter), GFP_KERNEL);
	int i;

	if (!limiter)
		return NULL;
	spin_lock_init(&limiter->lock);
	scst_hrtimer_setup(&limiter->timer, scst_limiter_timer, CLOCK_MONOTONIC, HRTIMER_MODE_ABS_SOFT);
	for (i = 0; i < SCST_LANES; i++)
		INIT_LIST_HEAD(&limiter->lane[i].waiting);
	return limiter;
}

/**
 * scst_limiter_prepare() - have what is needed for limits that will be in force
 * @nexus: the nexus
 * @limits: of its mapping, or NULL
 * @faults: that may strike it
 *
 * Under scst_config_mutex.  Changes nothing that anybody could see.  Return: false: no memory.
 */
bool scst_limiter_prepare(struct scst_nexus *nexus, const struct scst_limits *limits, unsigned long faults)
{
	bool limited = limits && (scst_limits_any(limits, SCST_LANE_READ) || scst_limits_any(limits, SCST_LANE_WRITE));
	struct scst_limiter *limiter;

	lockdep_assert_held(&scst_config_mutex);
	if (nexus->limiter || (!limited && !faults))
		return true;
	limiter = scst_fault_commit() ? NULL : scst_limiter_alloc();
	if (!limiter)
		return false;
	/* Whoever finds it finds it whole. */
	smp_store_release(&nexus->limiter, limiter);
	return true;
}

static void scst_lane_set(struct scst_lane *lane, const struct scst_limits *limits, int i, u64 now)
{
	u64 burst = limits->burst * (u64)NSEC_PER_MSEC;

	scst_bucket_set(&lane->commands, limits->iops[i], burst, now);
	scst_bucket_set(&lane->bytes, limits->bytes[i], burst, now);
}

/**
 * scst_limiter_set() - limits are in force from now on, for those that wait, too
 * @nexus: prepared for them
 * @limits: of its mapping
 *
 * Under scst_config_mutex.  Can't fail.
 */
void scst_limiter_set(struct scst_nexus *nexus, const struct scst_limits *limits)
{
	struct scst_limiter *limiter = nexus->limiter;
	unsigned long gates = 0, irq;
	u64 now;
	int i;

	lockdep_assert_held(&scst_config_mutex);
	if (!limiter)
		return;
	spin_lock_irqsave(&limiter->lock, irq);
	now = ktime_get_ns();
	limiter->limits = *limits;
	for (i = 0; i < SCST_LIMITED_LANES; i++) {
		scst_lane_set(&limiter->lane[i], limits, i, now);
		if (scst_limits_any(limits, i))
			gates |= BIT(SCST_GATE_LIMIT_READ + i);
	}
	limiter->limited |= !!gates;
	/* The limiter before its gates: set_mask_bits() is a full barrier. */
	set_mask_bits(&nexus->gates, (unsigned long)SCST_STOPS_LIMITS, gates);
	scst_limiter_run(limiter, now);
	spin_unlock_irqrestore(&limiter->lock, irq);
}

/* The nexus goes: nobody waits, nor comes any more.  Process context. */
void scst_limiter_stop(struct scst_nexus *nexus)
{
	if (nexus->limiter)
		hrtimer_cancel(&nexus->limiter->timer);
}

/**
 * scst_limiter_read() - what a limiter has done
 * @nexus: the nexus
 * @limited: set
 *
 * Any context.  Return: false: it was never limited.
 */
bool scst_limiter_read(const struct scst_nexus *nexus, struct scst_limited *limited)
{
	struct scst_limiter *limiter = READ_ONCE(nexus->limiter);
	unsigned long irq;
	bool was;
	int i;

	if (!limiter)
		return false;
	spin_lock_irqsave(&limiter->lock, irq);
	was = limiter->limited;
	*limited = (struct scst_limited){ .limits = limiter->limits, .commands = limiter->waited };
	limited->microseconds = div_u64(limiter->waited_ns, NSEC_PER_USEC);
	for (i = 0; i < SCST_LIMITED_LANES; i++)
		limited->waiting += limiter->lane[i].nr;
	spin_unlock_irqrestore(&limiter->lock, irq);
	return was;
}
