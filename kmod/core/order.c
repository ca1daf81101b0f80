// SPDX-License-Identifier: GPL-2.0-only
/*
 * Task attributes (SAM-5 8.6, 8.9): which command may begin before which.  Each I_T_L nexus has a task set of its own (TST 001b).
 *
 * SIMPLE begins when no older ORDERED or HEAD OF QUEUE is left, ORDERED when nothing older is left, HEAD OF QUEUE at once.
 * As long as there are only SIMPLE ones nothing of this file is passed: nexus->order.closed says that somebody has to ask.
 *
 * Who can't begin is held, in the order of arrival, before anything of it is looked at: its data is not asked for yet, and gates are
 * passed when it begins.  It is in its session's table all the time, where aborts find it.  No thread waits.
 *
 * Each command that has to do with the order has a place in it (SCST_CMD_PLACED), of three kinds:
 *
 *  - held (SCST_CMD_HELD);
 *  - it blocks (SCST_CMD_BLOCKS): an ORDERED or HEAD OF QUEUE that has begun, counted by @blocking;
 *  - else it has begun and is older than some that are held, counted by @older.
 *
 * Whoever sets the bit decides which.  An ORDERED finds those that came before it in the table and places them; a SIMPLE that sees
 * that it has to ask and has no place yet is younger.  A command's place ends with its leaving the table.
 *
 * That of PERSISTENT RESERVE OUT ends when it waits for commands of others (a fence, tmf.c): what it does is done then, and two of them
 * could wait for each other's held ones.  Parts of copies have no place, for their EXTENDED COPY has one.
 *
 * While an ACA condition is in effect (aca.c) nothing begins that is held.
 *
 * order->lock is inside scst_wait_lock and the slots' bits, outside turn_lock.
 */
#include "core.h"

static void scst_order_place(struct scst_cmd *cmd, void *arg)
{
	struct scst_nexus *nexus = arg;
	struct scst_order *order = &nexus->order;

	if (cmd->nexus != nexus || test_bit(SCST_CMD_PART, &cmd->flags))
		return;
	spin_lock(&order->lock);
	if (!test_and_set_bit(SCST_CMD_PLACED, &cmd->flags)) {
		order->older++;
		/* Pairs with scst_fence_begin() and scst_fence_end(). */
		smp_mb__after_atomic();
		if (test_bit(SCST_CMD_FENCING, &cmd->flags) && test_and_clear_bit(SCST_CMD_PLACED, &cmd->flags))
			order->older--;
	}
	spin_unlock(&order->lock);
}

static void scst_order_begins(struct scst_order *order, struct scst_cmd *cmd, bool blocks)
{
	lockdep_assert_held(&order->lock);
	if (blocks) {
		set_bit(SCST_CMD_BLOCKS, &cmd->flags);
		order->blocking++;
	} else {
		order->older++;
	}
}

static void scst_order_unhold(struct scst_order *order, struct scst_cmd *cmd)
{
	lockdep_assert_held(&order->lock);
	list_del(&cmd->held);
	scst_stage(cmd, SCST_STAGE_ORDER);
	clear_bit(SCST_CMD_HELD, &cmd->flags);
	/* Before dev->alone is looked at: see turn.c. */
	smp_mb__after_atomic();
}

/* Let begin what may; under order->lock.  Return: true: @self may, and is the caller's. */
bool scst_order_go(struct scst_order *order, const struct scst_cmd *self)
{
	struct scst_cmd *cmd;
	bool mine = false;

	lockdep_assert_held(&order->lock);
	while ((cmd = list_first_entry_or_null(&order->held, struct scst_cmd, held))) {
		bool ordered = cmd->attr == SCST_TASK_ORDERED;

		if (order->aca || order->blocking || (ordered && order->older))
			break;
		scst_order_unhold(order, cmd);
		scst_order_begins(order, cmd, ordered);
		if (cmd == self)
			mine = true;
		else
			scst_cmd_start_later(cmd);
	}
	if (!cmd && !order->blocking && !order->arriving && !order->aca)
		WRITE_ONCE(order->closed, false);
	return mine;
}

/* False: it was aborted meanwhile, and is not to wait. */
static bool scst_order_hold(struct scst_order *order, struct scst_cmd *cmd)
{
	lockdep_assert_held(&order->lock);
	list_add_tail(&cmd->held, &order->held);
	set_bit(SCST_CMD_HELD, &cmd->flags);
	/* Pairs with scst_cmd_abort() and scst_turn_scan_cmd(). */
	smp_mb__after_atomic();
	if (test_bit(SCST_CMD_MARKED, &cmd->flags))
		scst_turn_left(cmd);
	if (!scst_cmd_aborted(cmd))
		return true;
	scst_order_unhold(order, cmd);
	scst_order_begins(order, cmd, false);
	return false;
}

/* It takes a place, under the lock.  Who came at the same time may have placed it as older; then this is after that one. */
static void scst_order_take_place(struct scst_order *order, struct scst_cmd *cmd)
{
	WRITE_ONCE(order->closed, true);
	if (test_and_set_bit(SCST_CMD_PLACED, &cmd->flags))
		order->older--;
}

/* It begins, and younger ones wait for it; under order->lock. */
void scst_order_begin_blocking(struct scst_order *order, struct scst_cmd *cmd)
{
	scst_order_take_place(order, cmd);
	scst_order_begins(order, cmd, true);
}

static void scst_order_head(struct scst_order *order, struct scst_cmd *cmd)
{
	unsigned long irq;

	spin_lock_irqsave(&order->lock, irq);
	scst_order_begin_blocking(order, cmd);
	spin_unlock_irqrestore(&order->lock, irq);
}

static bool scst_order_ordered(struct scst_order *order, struct scst_cmd *cmd)
{
	unsigned long irq;
	bool begins;

	spin_lock_irqsave(&order->lock, irq);
	scst_order_take_place(order, cmd);
	order->arriving++;
	spin_unlock_irqrestore(&order->lock, irq);
	/* Who is not in the table now sees that it has to ask: entering is a full barrier. */
	smp_mb();
	scst_track_look_through(cmd->sess, scst_order_place, cmd->nexus);
	spin_lock_irqsave(&order->lock, irq);
	order->arriving--;
	begins = !scst_order_hold(order, cmd);
	begins |= scst_order_go(order, cmd);
	spin_unlock_irqrestore(&order->lock, irq);
	return begins;
}

static bool scst_order_simple(struct scst_order *order, struct scst_cmd *cmd)
{
	bool begins = true;
	unsigned long irq;

	spin_lock_irqsave(&order->lock, irq);
	if ((!list_empty(&order->held) || order->blocking || order->arriving) &&
	    !test_and_set_bit(SCST_CMD_PLACED, &cmd->flags))
		begins = !scst_order_hold(order, cmd);
	spin_unlock_irqrestore(&order->lock, irq);
	return begins;
}

static bool scst_order_by_attribute(struct scst_order *order, struct scst_cmd *cmd)
{
	switch (cmd->attr) {
	case SCST_TASK_HEAD_OF_QUEUE:
		scst_order_head(order, cmd);
		return true;
	case SCST_TASK_ORDERED:
		return scst_order_ordered(order, cmd);
	default:
		return scst_order_simple(order, cmd);
	}
}

/**
 * scst_order_pass() - may a command begin?
 * @cmd: in its table, with a nexus; it has an attribute, or has seen order.closed
 *
 * Any context, under RCU.  In the order of arrival, where the driver knows one.  Return: true: yes; false: it begins by itself, from a
 * work item, or is answered from one: ACA ACTIVE.
 */
bool scst_order_pass(struct scst_cmd *cmd)
{
	struct scst_order *order = &cmd->nexus->order;

	scst_track_ask(cmd);
	switch (READ_ONCE(order->aca) ? scst_aca_arrives(cmd) : SCST_ACA_NONE) {
	case SCST_ACA_GOES:
		return true;
	case SCST_ACA_ACTIVE:
		scst_cmd_start_later(cmd);
		return false;
	default:
		return scst_order_by_attribute(order, cmd);
	}
}

/**
 * scst_order_left() - nobody has to wait for a command any more
 * @cmd: it has begun; its nexus is held
 *
 * Any context, without a lock of this file's or inside of it.
 */
void scst_order_left(struct scst_cmd *cmd)
{
	struct scst_order *order = &cmd->nexus->order;
	unsigned long irq;

	spin_lock_irqsave(&order->lock, irq);
	if (test_and_clear_bit(SCST_CMD_PLACED, &cmd->flags)) {
		if (test_and_clear_bit(SCST_CMD_BLOCKS, &cmd->flags))
			order->blocking--;
		else
			order->older--;
		if (order->aca_cmd == cmd)
			order->aca_cmd = NULL;
		scst_order_go(order, NULL);
	}
	spin_unlock_irqrestore(&order->lock, irq);
}

/**
 * scst_order_aborted() - a command is aborted that is held
 * @cmd: SCST_CMD_ABORTED is set; can't go meanwhile
 *
 * Any context; under scst_wait_lock.  It goes on at once, to be answered.
 */
void scst_order_aborted(struct scst_cmd *cmd)
{
	struct scst_order *order = &cmd->nexus->order;
	unsigned long irq;

	spin_lock_irqsave(&order->lock, irq);
	if (test_bit(SCST_CMD_HELD, &cmd->flags)) {
		scst_order_unhold(order, cmd);
		scst_order_begins(order, cmd, false);
		scst_cmd_start_later(cmd);
	}
	spin_unlock_irqrestore(&order->lock, irq);
}

/* Fields of a new nexus that are this file's. */
void scst_order_setup(struct scst_nexus *nexus)
{
	spin_lock_init(&nexus->order.lock);
	INIT_LIST_HEAD(&nexus->order.held);
	INIT_LIST_HEAD(&nexus->order.blocked);
}
