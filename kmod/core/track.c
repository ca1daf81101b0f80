// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands that task management may have to find: a table of slots per session.
 *
 * To enter is to put a pointer into a free slot, to leave is to take it out again: one atomic operation each, on a
 * line that the CPU which submits has for itself as long as it has few commands in flight.  Whoever looks at a command sets
 * the lowest bit of its slot, and it can't leave meanwhile.  Only tmf.c looks, under its lock.
 *
 * Entering is a full barrier: a command that has entered before it looks at the gates of its nexus either finds a gate
 * that was closed, or is found by whoever looks after having closed it.
 */
#include "core.h"
#include <linux/log2.h>
#include <linux/mm.h>

#define SLOT_LOOK	1UL
#define SLOTS_MIN	8	/* per CPU: a cache line */
#define SLOTS_MAX	SZ_64K
#define SLOTS_DEFAULT	1024

/* Process context. */
int scst_track_alloc(struct scst_session *sess)
{
	const struct scst_target_limits *limits = &sess->tgt->limits;
	u32 cpus = roundup_pow_of_two(nr_cpu_ids);
	u32 nr = roundup_pow_of_two(clamp_t(u32, limits->cmds ?: SLOTS_DEFAULT, SLOTS_MIN, SLOTS_MAX));

	nr = max(nr, cpus * SLOTS_MIN);
	sess->slots = kvcalloc(nr, sizeof(*sess->slots), GFP_KERNEL);
	if (!sess->slots)
		return -ENOMEM;
	sess->slot_mask = nr - 1;
	sess->slot_stride = nr / cpus;
	return 0;
}

void scst_track_free(struct scst_session *sess)
{
	kvfree(sess->slots);
}

/* See scst_track(). */
bool scst_slot_search(struct scst_cmd *cmd, u32 from)
{
	u32 mask = cmd->sess->slot_mask, i;

	for (i = 1; i <= mask; i++)
		if (scst_slot_enter(cmd, &cmd->sess->slots[(from + i) & mask]))
			return true;
	__clear_bit(SCST_CMD_TRACKED, &cmd->flags);
	return false;
}

/* The end of a command that somebody waits for; nobody is looking. */
void scst_untrack(struct scst_cmd *cmd)
{
	unsigned long *slot = &cmd->slot->cmd;

	WARN_ON_ONCE(READ_ONCE(*slot) != (unsigned long)cmd);
	smp_store_release(slot, 0);
}

/**
 * scst_track_for_each() - look at each command of a session that is in the table
 * @sess: the session
 * @fn: called for each, which can't leave meanwhile
 * @arg: passed on
 *
 * Interrupts are off, for a command may leave in one; one caller at a time.
 */
void scst_track_for_each(struct scst_session *sess, void (*fn)(struct scst_cmd *cmd, void *arg), void *arg)
{
	u32 i = 0;

	lockdep_assert_irqs_disabled();
	while (i <= sess->slot_mask) {
		unsigned long *slot = &sess->slots[i].cmd, cmd = READ_ONCE(*slot);

		if (cmd) {
			if (cmpxchg(slot, cmd, cmd | SLOT_LOOK) != cmd)
				continue;
			fn((struct scst_cmd *)cmd, arg);
			smp_store_release(slot, cmd);
		}
		i++;
	}
}
