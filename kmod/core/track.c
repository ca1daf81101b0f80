// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands that task management may have to find: a table of slots per session.
 *
 * To enter is to put a pointer into a free slot, to leave is to take it out again: one atomic operation each, on a
 * line that the CPU which submits has for itself as long as it has few commands in flight.  Whoever looks at a command sets
 * the lowest bit of its slot, and it can't leave meanwhile: tmf.c under its lock, and who reads debugfs for as long as it takes to
 * copy some 100 bytes.
 *
 * Entering is a full barrier: a command that has entered before it looks at the gates of its nexus either finds a gate
 * that was closed, or is found by whoever looks after having closed it.
 *
 * Who finds a command whose end he wants to know of leaves a bit in its slot, which it can't leave as if nothing were: a flag of the
 * command alone could be set between its looking at it and its leaving.
 */
#include "commands.h"
#include <linux/log2.h>
#include <linux/mm.h>

#define SLOT_BITS	(SCST_SLOT_LOOK | SCST_SLOT_ASKED)
#define SLOTS_MIN	8	/* per CPU: a cache line */
#define SLOTS_MAX	SZ_64K
#define SLOTS_DEFAULT	1024

/* Process context; after the session's memory of each CPU. */
int scst_track_alloc(struct scst_session *sess)
{
	const struct scst_target_limits *limits = &sess->tgt->limits;
	u32 cpus = roundup_pow_of_two(nr_cpu_ids);
	u32 cmds = clamp_t(u32, limits->cmds ?: SLOTS_DEFAULT, SLOTS_MIN, SLOTS_MAX);
	u32 nr = roundup_pow_of_two(cmds + SCST_COPY_SLOTS);
	int cpu;

	nr = max(nr, cpus * SLOTS_MIN);
	sess->slots = kvcalloc(nr, sizeof(*sess->slots), GFP_KERNEL);
	if (!sess->slots)
		return -ENOMEM;
	sess->slot_mask = nr - 1;
	for_each_possible_cpu(cpu) {
		struct scst_session_pcpu *pcpu = per_cpu_ptr(sess->pcpu, cpu);

		pcpu->slot_last = nr / cpus - 1;
		pcpu->slots = sess->slots + cpu * (nr / cpus);
	}
	return 0;
}

void scst_track_free(struct scst_session *sess)
{
	kvfree(sess->slots);
}

/* See scst_track(). */
bool scst_slot_search(struct scst_cmd *cmd, struct scst_slot *from)
{
	struct scst_slot *slots = cmd->sess->slots;
	u32 mask = cmd->sess->slot_mask, i;

	for (i = 1; i <= mask; i++) {
		struct scst_slot *slot = &slots[(from - slots + i) & mask];

		if (!READ_ONCE(slot->cmd) && scst_slot_enter(cmd, slot))
			return true;
	}
	return false;
}

/**
 * scst_cmd_left() - has a command left the place where task management finds it?
 * @cmd: a command that was submitted, in memory that the driver keeps, and has not used again
 *
 * For drivers that want to know without having their every release() write it down.  Any context.  Return: true: its
 * release() follows, or is over, unless it is being recalled; false: it is there still, or was not yet, or never (see
 * scst_cmd_tracked()).
 */
bool scst_cmd_left(const struct scst_cmd *cmd)
{
	const struct scst_slot *slot = READ_ONCE(cmd->slot);

	return slot && (READ_ONCE(slot->cmd) & ~SLOT_BITS) != (unsigned long)cmd;
}
EXPORT_SYMBOL_GPL(scst_cmd_left);

/* The end of a command that somebody waits for. */
void scst_untrack(struct scst_cmd *cmd)
{
	unsigned long *slot = &cmd->slot->cmd, me = READ_ONCE(*slot) & ~SCST_SLOT_LOOK;

	WARN_ON_ONCE((me & ~SLOT_BITS) != (unsigned long)cmd);
	while (cmpxchg(slot, me, 0) != me) {
		cpu_relax();
		me = READ_ONCE(*slot) & ~SCST_SLOT_LOOK;
	}
}

static bool scst_cmd_asked(const struct scst_cmd *cmd)
{
	return test_bit(SCST_CMD_AWAITED, &cmd->flags) || test_bit(SCST_CMD_MARKED, &cmd->flags) ||
	       test_bit(SCST_CMD_PLACED, &cmd->flags);
}

/**
 * scst_track_ask() - the end of a command is to be told
 * @cmd: in its table, and the caller's
 *
 * Any context, without a lock that somebody may want who looks at the command.
 */
void scst_track_ask(struct scst_cmd *cmd)
{
	unsigned long *slot = &cmd->slot->cmd, was;

	do {
		was = READ_ONCE(*slot) & ~SCST_SLOT_LOOK;
	} while (cmpxchg(slot, was, was | SCST_SLOT_ASKED) != was);
}

/**
 * scst_slot_look() - look at the command in a slot
 * @slot: of a session that the caller keeps from going
 * @fn: called for the command, which can't leave meanwhile; must be short, takes no lock
 * @arg: passed on
 *
 * Interrupts are off, for a command may leave in one.  Return: false if there is none.
 */
bool scst_slot_look(struct scst_slot *slot, void (*fn)(struct scst_cmd *cmd, void *arg), void *arg)
{
	struct scst_cmd *cmd;
	unsigned long was;

	lockdep_assert_irqs_disabled();
	while ((was = READ_ONCE(slot->cmd) & ~SCST_SLOT_LOOK)) {
		/* It leaves, or another looks at it: for a moment only. */
		if (cmpxchg(&slot->cmd, was, was | SCST_SLOT_LOOK) != was) {
			cpu_relax();
			continue;
		}
		cmd = (struct scst_cmd *)(was & ~SLOT_BITS);
		fn(cmd, arg);
		smp_store_release(&slot->cmd, scst_cmd_asked(cmd) ? was | SCST_SLOT_ASKED : was);
		return true;
	}
	return false;
}

/**
 * scst_track_for_each() - look at each command of a session that is in the table
 * @sess: the session
 * @fn: as scst_slot_look()
 * @arg: passed on
 *
 * Interrupts are off.
 */
void scst_track_for_each(struct scst_session *sess, void (*fn)(struct scst_cmd *cmd, void *arg), void *arg)
{
	u32 i;

	for (i = 0; i <= sess->slot_mask; i++)
		scst_slot_look(&sess->slots[i], fn, arg);
}

/**
 * scst_track_look_through() - the same, without keeping interrupts off from one command to the next
 * @sess: the session
 * @fn: as scst_slot_look()
 * @arg: passed on
 *
 * Any context.
 */
void scst_track_look_through(struct scst_session *sess, void (*fn)(struct scst_cmd *cmd, void *arg), void *arg)
{
	unsigned long irq;
	u32 i;

	for (i = 0; i <= sess->slot_mask; i++) {
		if (!READ_ONCE(sess->slots[i].cmd))
			continue;
		local_irq_save(irq);
		scst_slot_look(&sess->slots[i], fn, arg);
		local_irq_restore(irq);
	}
}
