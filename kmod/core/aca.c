// SPDX-License-Identifier: GPL-2.0-only
/*
 * Auto contingent allegiance (SAM-5 5.9).
 *
 * A command whose NACA bit is one and that ends in CHECK CONDITION establishes an ACA condition.  Each I_T_L nexus has a task set of its own
 * (TST 001b), so the condition is that of the faulted nexus and nobody else's, and nothing is aborted by it (QERR 00b):
 *
 *  - what arrives ends in ACA ACTIVE, but for one command at a time with the ACA attribute: it is carried out;
 *  - what is there is blocked.  What has not begun does not begin (order.c); what has its data does not go on; what is at the back end ends
 *    there, and its answer waits.  No thread waits, and nothing of the backing is held.
 *
 * It ends with CLEAR ACA, which aborts the command with the ACA attribute; when that ends in CHECK CONDITION (one with NACA establishes the next);
 * with a PREEMPT AND ABORT, of another nexus that preempts this one, or of this nexus's command with the ACA attribute; with a reset of the logical
 * unit, the loss of the I_T nexus, logout, and the LUN's being taken away.  ABORT TASK SET and CLEAR TASK SET leave it.
 *
 * Blocked commands go on in the order in which they were blocked, up to one whose answer is a CHECK CONDITION with NACA: that is the next condition,
 * and those behind it stay.
 *
 * Only where every command is in its session's table (track_all), and so can be found, held and aborted, and the driver conveys attribute and
 * CLEAR ACA.  Elsewhere NACA is refused, and INQUIRY says so.
 *
 * Without a condition a command reads order.closed when it arrives, as it does anyhow, and order.aca before its answer goes out: the same line,
 * which nobody writes.  Both are set before the CHECK CONDITION goes out.  A command that has not seen the first is as one that was there before.
 *
 * All is under order->lock; see order.c.
 */
#include "core.h"
#include "trace.h"

#define NACA	0x04

/*
 * Where CONTROL is (SAM-5 5.2), by the group of the opcode, for commands that there are not as well; 0: not known.  Of 60h to 7Fh only
 * the variable length CDB is defined.
 */
unsigned int scst_cdb_control_at(u8 opcode)
{
	static const u8 at[] = { 5, 9, 9, 0, 15, 11, 0, 0 };

	return opcode == VARIABLE_LENGTH_CMD ? 1 : at[opcode >> 5];
}

/* Does the initiator have what an ACA condition needs?  INQUIRY (NORMACA) and the TMFs that are reported say the same. */
bool scst_aca_offered(const struct scst_session *sess)
{
	return sess->track_all;
}

/* NACA where the CDB of a command may have it, else 0. */
u8 scst_aca_control(const struct scst_cmd *cmd)
{
	return cmd->nexus && scst_aca_offered(cmd->sess) ? NACA : 0;
}

/* Would its answer establish a condition?  One that is aborted has none; a nexus that nobody sees any more has nobody to clear it. */
static bool scst_aca_faults(const struct scst_cmd *cmd)
{
	unsigned int at = scst_cdb_control_at(cmd->cdb[0]);

	return cmd->status == SAM_STAT_CHECK_CONDITION && at && at < cmd->cdb_len && cmd->cdb[at] & NACA &&
	       !scst_cmd_aborted(cmd) && !test_bit(SCST_GATE_REVOKED, &cmd->nexus->gates);
}

static void scst_aca_begin(struct scst_order *order, const struct scst_cmd *cmd)
{
	lockdep_assert_held(&order->lock);
	trace_scst_aca(cmd->nexus, true);
	WRITE_ONCE(order->aca, true);
	WRITE_ONCE(order->closed, true);
}

/* --- blocked commands ---------------------------------------------------------------------------- */

/* False: it was aborted meanwhile, and is not to wait. */
static bool scst_aca_block(struct scst_order *order, struct scst_cmd *cmd)
{
	lockdep_assert_held(&order->lock);
	list_add_tail(&cmd->held, &order->blocked);
	scst_stage(cmd, SCST_STAGE_CORE);
	set_bit(SCST_CMD_BLOCKED, &cmd->flags);
	/* Pairs with scst_cmd_abort() and scst_turn_scan_cmd(). */
	smp_mb__after_atomic();
	if (test_bit(SCST_CMD_MARKED, &cmd->flags))
		scst_turn_left(cmd);
	if (!scst_cmd_aborted(cmd)) {
		trace_scst_cmd_block(cmd);
		return true;
	}
	list_del(&cmd->held);
	clear_bit(SCST_CMD_BLOCKED, &cmd->flags);
	return false;
}

static void scst_aca_unblock(struct scst_order *order, struct scst_cmd *cmd)
{
	lockdep_assert_held(&order->lock);
	list_del(&cmd->held);
	scst_stage(cmd, SCST_STAGE_ORDER);
	clear_bit(SCST_CMD_BLOCKED, &cmd->flags);
	/* Before dev->alone is looked at: see turn.c. */
	smp_mb__after_atomic();
	scst_cmd_unblock_later(cmd);
}

/* The condition is over; blocked ones go on, up to one that establishes the next. */
static void scst_aca_end(struct scst_nexus *nexus)
{
	struct scst_order *order = &nexus->order;
	struct scst_cmd *cmd;
	bool next = false;

	lockdep_assert_held(&order->lock);
	if (!order->aca)
		return;
	trace_scst_aca(nexus, false);
	while (!next && (cmd = list_first_entry_or_null(&order->blocked, struct scst_cmd, held))) {
		next = test_bit(SCST_CMD_ANSWERED, &cmd->flags) && scst_aca_faults(cmd);
		if (next)
			scst_aca_begin(order, cmd);
		scst_aca_unblock(order, cmd);
	}
	if (next)
		return;
	WRITE_ONCE(order->aca, false);
	scst_order_go(order, NULL);
}

/**
 * scst_aca_clear() - the end of an ACA condition
 * @nexus: the faulted nexus, or any
 *
 * Any context; also under scst_wait_lock and the device's nexus_lock.
 */
void scst_aca_clear(struct scst_nexus *nexus)
{
	struct scst_order *order = &nexus->order;
	unsigned long irq;

	spin_lock_irqsave(&order->lock, irq);
	scst_aca_end(nexus);
	spin_unlock_irqrestore(&order->lock, irq);
}

/* The I_T nexus is lost: on every logical unit that the session sees.  Any context. */
void scst_aca_clear_session(struct scst_session *sess)
{
	const struct scst_view *view;
	u32 i;

	rcu_read_lock();
	view = rcu_dereference(sess->view);
	for (i = 0; view && i < view->nr; i++)
		scst_aca_clear(view->entry[i].nexus);
	rcu_read_unlock();
}

/**
 * scst_aca_aborted() - a command is aborted that is blocked
 * @cmd: SCST_CMD_ABORTED is set; can't go meanwhile
 *
 * Any context; under scst_wait_lock.  It goes on at once, to be answered.
 */
void scst_aca_aborted(struct scst_cmd *cmd)
{
	struct scst_order *order = &cmd->nexus->order;
	unsigned long irq;

	spin_lock_irqsave(&order->lock, irq);
	if (test_bit(SCST_CMD_BLOCKED, &cmd->flags))
		scst_aca_unblock(order, cmd);
	spin_unlock_irqrestore(&order->lock, irq);
}

/* --- the way of a command ---------------------------------------------------------------------------- */

/**
 * scst_aca_arrives() - what becomes of a command that arrives while there may be a condition (SAM-5 5.9.3)
 * @cmd: in its table, and its end is told
 *
 * Any context.  One with the ACA attribute is in the place of a HEAD OF QUEUE: it begins at once, and younger ones wait for it when the condition
 * is over before it is.
 */
enum scst_aca_answer scst_aca_arrives(struct scst_cmd *cmd)
{
	struct scst_order *order = &cmd->nexus->order;
	enum scst_aca_answer answer = SCST_ACA_NONE;
	unsigned long irq;

	spin_lock_irqsave(&order->lock, irq);
	if (order->aca && cmd->attr == SCST_TASK_ACA && !order->aca_cmd) {
		answer = SCST_ACA_GOES;
		order->aca_cmd = cmd;
		set_bit(SCST_CMD_ACA, &cmd->flags);
		scst_order_begin_blocking(order, cmd);
	} else if (order->aca) {
		answer = SCST_ACA_ACTIVE;
		cmd->status = SAM_STAT_ACA_ACTIVE;
	}
	spin_unlock_irqrestore(&order->lock, irq);
	return answer;
}

/**
 * scst_aca_data() - may a command go on whose data is there?
 * @cmd: in its table
 *
 * Any context.  Return: false: it is blocked, and goes on by itself.
 */
bool scst_aca_data(struct scst_cmd *cmd)
{
	struct scst_order *order = &cmd->nexus->order;
	bool goes = true;
	unsigned long irq;

	spin_lock_irqsave(&order->lock, irq);
	if (order->aca && !test_bit(SCST_CMD_ACA, &cmd->flags))
		goes = !scst_aca_block(order, cmd);
	spin_unlock_irqrestore(&order->lock, irq);
	return goes;
}

/* It is blocked with its answer.  False: it was aborted. */
static bool scst_aca_block_answer(struct scst_order *order, struct scst_cmd *cmd)
{
	set_bit(SCST_CMD_ANSWERED, &cmd->flags);
	if (scst_aca_block(order, cmd))
		return true;
	clear_bit(SCST_CMD_ANSWERED, &cmd->flags);
	return false;
}

/**
 * scst_aca_answer() - may the answer of a command go out, and what follows from it?
 * @cmd: in its table; status is set
 *
 * Any context, once for each command.  Who aborts a command after this has asked for the end of one that has ended: the condition stands.
 * Return: false: it is blocked; scst_cmd_unblock_later() goes on.
 */
bool scst_aca_answer(struct scst_cmd *cmd)
{
	struct scst_nexus *nexus = cmd->nexus;
	struct scst_order *order = &nexus->order;
	bool own = test_bit(SCST_CMD_ACA, &cmd->flags), goes = true;
	unsigned long irq;

	spin_lock_irqsave(&order->lock, irq);
	if (order->aca && !own && cmd->status != SAM_STAT_ACA_ACTIVE)
		goes = !scst_aca_block_answer(order, cmd);
	else if (scst_aca_faults(cmd))
		scst_aca_begin(order, cmd);
	else if (own && cmd->status == SAM_STAT_CHECK_CONDITION && !scst_cmd_aborted(cmd))
		scst_aca_end(nexus);
	spin_unlock_irqrestore(&order->lock, irq);
	return goes;
}
