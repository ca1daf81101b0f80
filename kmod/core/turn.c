// SPDX-License-Identifier: GPL-2.0-only
/*
 * Who writes where, when a command must have a range of the medium for itself (COMPARE AND WRITE, ORWRITE).
 *
 * Each device has a line of turns, in the order in which they came.  Who wants to be alone (SCST_TURN_ALONE) waits for all turns before it
 * that overlap; everybody else waits only for those before it that are alone and overlap.  So nobody waits for who came later, and there is no
 * circle.  A turn is a range and not a command: whatever takes long (UNMAP, WRITE SAME, a copy) takes one for each piece that it
 * hands to the back end, and waits for the next with nothing at the medium.  No thread waits.
 *
 * WRITE and WRITE AND VERIFY, of which there are many, are not in the line.  While nobody wants to be alone they see that in a word of
 * the device which they read anyhow, and pass.  Who wants to be alone finds them in the tables of their sessions (track.c), where every
 * command is that may change the medium, and marks those that overlap: the end of a marked one is told (scst_turn_left()).
 *
 * Nobody slips through.  A WRITE enters its table, which is a full barrier, and then reads dev->alone; who wants to be alone
 * sets it, and after a full barrier looks at the tables.  So one of the two sees the other:
 *
 *	WRITE					alone
 *	slot = cmd	(cmpxchg: barrier)	dev->alone = true
 *						smp_mb()
 *	read dev->alone				read slot
 *
 * If the WRITE sees it, it takes turn_lock and waits in the line, or finds that it does not overlap.  Else it is seen, and it
 * does not matter how far it is: its range counts once it is pinned (lba and nblocks are written before), and until then it may be any.
 * What was looked at too early, too late or for nothing is made good in the same way, with a barrier on both sides:
 *
 *  - it waits in the line itself, or has come to look whether it must: scst_turn_pass() sets WAITING before it takes MARKED away, and
 *    who marks looks for WAITING afterwards;
 *  - its driver has it, for data that is not there yet or with its response: scst_cmd_to_driver() sets AT_DRIVER before it looks for
 *    MARKED, and who marks looks for AT_DRIVER afterwards.  When the data is there AT_DRIVER is cleared before dev->alone is read;
 *  - it has not begun, because of its task attribute or others', or of a limit: scst_order_hold() does the same with HELD, and
 *    scst_lane_hold() with LIMITED;
 *  - it is blocked by an ACA condition: scst_aca_block() does the same with BLOCKED;
 *  - it leaves the table: a mark changes its slot, so that it can't leave without finding it.
 *
 * How many were found is a guess that may be too low, never too high: one that was not counted may end, too.  When it has come
 * down to nothing the tables are looked at again, and a range is taken only when nothing was found in it.
 *
 * tests/unit/test_turn_order.py goes through all orders of that.
 *
 * turn_lock is inside scst_wait_lock and the slots' bits (an abort takes who waits out of the line), outside the locks of threads.
 */
#include "commands.h"

static u64 scst_turn_behind(const struct scst_turn *turn)
{
	return turn->nblocks == SCST_TURN_TO_END ? U64_MAX : turn->lba + turn->nblocks;
}

/* May both be at the medium together? */
static bool scst_turn_excludes(const struct scst_turn *a, const struct scst_turn *b)
{
	if (a->kind != SCST_TURN_ALONE && b->kind != SCST_TURN_ALONE)
		return false;
	return a->lba < scst_turn_behind(b) && b->lba < scst_turn_behind(a);
}

static struct scst_writer *scst_writer_of(struct scst_turn *turn)
{
	return container_of(turn, struct scst_writer, turn);
}

static struct scst_alone *scst_alone_of(struct scst_turn *turn)
{
	return container_of(turn, struct scst_alone, writer.turn);
}

/* Of those that are in the line. */
static unsigned int scst_turn_count_before(struct scst_device *dev, const struct scst_turn *turn)
{
	const struct scst_turn *other;
	unsigned int before = 0;

	list_for_each_entry(other, &dev->turns, entry)
		before += scst_turn_excludes(other, turn);
	return before;
}

static void scst_turn_enter(struct scst_device *dev, struct scst_turn *turn)
{
	lockdep_assert_held(&dev->turn_lock);
	turn->before = scst_turn_count_before(dev, turn);
	list_add_tail(&turn->entry, &dev->turns);
	if (turn->kind == SCST_TURN_ALONE && !dev->nr_alone++)
		WRITE_ONCE(dev->alone, true);
}

static void scst_turn_leave(struct scst_device *dev, struct scst_turn *turn);

static void scst_turn_held_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);

	if (scst_cmd_aborted(cmd))
		scst_cmd_respond(cmd);
	else
		cmd->op->execute(cmd);
}

/* On threads where it can be answered although all others hang, if it was aborted: what follows does not come to the back end. */
static void scst_cmd_to_turn(struct scst_cmd *cmd, void (*fn)(struct scst_job *job))
{
	struct scst_threads *threads = scst_cmd_aborted(cmd) ? &cmd->dev->pr_threads : &cmd->dev->threads;

	scst_cmd_to_threads_of(cmd, threads, fn);
}

static void scst_writer_go(struct scst_writer *writer)
{
	if (writer->cmd) {
		scst_stage(writer->cmd, SCST_STAGE_TURN);
		clear_bit(SCST_CMD_WAITING, &writer->cmd->flags);
	}
	if (writer->go)
		writer->go(writer);
	else
		scst_cmd_to_turn(writer->cmd, writer->fn);
}

static void scst_turn_release_held(struct scst_device *dev, struct scst_turn *turn)
{
	struct scst_cmd *cmd = container_of(turn, struct scst_cmd, turn);

	/* First, for who has waited for it looks at once where it is. */
	scst_stage(cmd, SCST_STAGE_TURN);
	set_bit(SCST_CMD_PASSED, &cmd->flags);
	clear_bit(SCST_CMD_WAITING, &cmd->flags);
	/* The turn is in the place of the job. */
	scst_turn_leave(dev, turn);
	scst_cmd_to_turn(cmd, scst_turn_held_job);
}

/* Nothing before it is left. */
static void scst_turn_comes(struct scst_device *dev, struct scst_turn *turn)
{
	if (turn->kind == SCST_TURN_HELD)
		scst_turn_release_held(dev, turn);
	else
		scst_writer_go(scst_writer_of(turn));
}

/* Of those that it may let go only itself leaves the line with that, and it keeps none but who is alone: there is no third round. */
static void scst_turn_leave(struct scst_device *dev, struct scst_turn *turn)
{
	struct scst_turn *later = turn, *next;

	lockdep_assert_held(&dev->turn_lock);
	list_for_each_entry_safe_continue(later, next, &dev->turns, entry)
		if (scst_turn_excludes(turn, later) && !--later->before)
			scst_turn_comes(dev, later);
	list_del_init(&turn->entry);
	if (turn->kind == SCST_TURN_ALONE && !--dev->nr_alone)
		WRITE_ONCE(dev->alone, false);
}

/* --- marks ------------------------------------------------------------------------------------- */

/* One that was marked is not at the medium any more, or was not meant: any of those who look for such may have counted it. */
static void scst_turn_less(struct scst_device *dev)
{
	struct scst_turn *turn;

	lockdep_assert_held(&dev->turn_lock);
	list_for_each_entry(turn, &dev->turns, entry) {
		struct scst_alone *alone;

		if (turn->kind != SCST_TURN_ALONE || turn->before)
			continue;
		alone = scst_alone_of(turn);
		if (atomic_dec_return(&alone->found) > 0 || !alone->counting)
			continue;
		alone->counting = false;
		scst_writer_go(&alone->writer);
	}
}

/**
 * scst_turn_left() - a marked command is not at the medium: it has left its table, or its driver has it
 * @cmd: the command
 *
 * Any context.
 */
void scst_turn_left(struct scst_cmd *cmd)
{
	struct scst_device *dev = cmd->dev;
	unsigned long irq;

	spin_lock_irqsave(&dev->turn_lock, irq);
	if (test_and_clear_bit(SCST_CMD_MARKED, &cmd->flags))
		scst_turn_less(dev);
	spin_unlock_irqrestore(&dev->turn_lock, irq);
}

struct scst_turn_scan {
	struct scst_alone *alone;
	const struct scst_nexus *nexus;
	bool found;
};

static bool scst_turn_may_overlap(const struct scst_turn *turn, const struct scst_cmd *cmd)
{
	/* Pairs with scst_cmd_pin_rcu(). */
	if (!smp_load_acquire(&cmd->pinned))
		return true;
	return cmd->lba < scst_turn_behind(turn) && turn->lba < cmd->lba + cmd->nblocks;
}

/* A command in a table, which can't leave it meanwhile. */
static void scst_turn_scan_cmd(struct scst_cmd *cmd, void *arg)
{
	struct scst_turn_scan *scan = arg;
	const u16 kind = SCST_OP_WRITE | SCST_OP_TURNS;

	if (cmd->nexus != scan->nexus || !cmd->op || (cmd->op->flags & kind) != SCST_OP_WRITE ||
	    !scst_turn_may_overlap(&scan->alone->writer.turn, cmd))
		return;
	set_bit(SCST_CMD_MARKED, &cmd->flags);
	smp_mb__after_atomic();
	if (test_bit(SCST_CMD_AT_DRIVER, &cmd->flags) || test_bit(SCST_CMD_WAITING, &cmd->flags) ||
	    test_bit(SCST_CMD_HELD, &cmd->flags) || test_bit(SCST_CMD_BLOCKED, &cmd->flags) ||
	    test_bit(SCST_CMD_LIMITED, &cmd->flags))
		return;
	atomic_inc(&scan->alone->found);
	scan->found = true;
}

/* Mark the writes at the medium that overlap; are there any?  Whoever comes later sees dev->alone. */
static bool scst_turn_scan(struct scst_alone *alone)
{
	struct scst_turn_scan scan = { .alone = alone };
	struct scst_nexus *nexus;

	atomic_set(&alone->found, 0);
	smp_mb();
	rcu_read_lock();
	list_for_each_entry_rcu(nexus, &alone->writer.dev->nexuses, dev_entry) {
		scan.nexus = nexus;
		scst_track_look_through(nexus->sess, scst_turn_scan_cmd, &scan);
	}
	rcu_read_unlock();
	return scan.found;
}

/* --- who takes turns ------------------------------------------------------------------------------- */

/* It is going to wait: an abort finds it, or is found.  False: it was aborted, and is not to wait. */
static bool scst_turn_wait(struct scst_cmd *cmd)
{
	scst_stage(cmd, SCST_STAGE_CORE);
	set_bit(SCST_CMD_WAITING, &cmd->flags);
	/* Pairs with scst_cmd_abort(). */
	smp_mb__after_atomic();
	if (!scst_cmd_aborted(cmd))
		return true;
	clear_bit(SCST_CMD_WAITING, &cmd->flags);
	return false;
}

/* An aborted one is let go at once, out of the line. */
static void scst_writer_wait(struct scst_writer *writer)
{
	if (!writer->cmd || scst_turn_wait(writer->cmd))
		return;
	scst_turn_leave(writer->dev, &writer->turn);
	scst_writer_go(writer);
}

/**
 * scst_turn_pass() - may a WRITE go to the medium now?
 * @cmd: in its table, pinned; it has seen dev->alone
 *
 * Any context.  Return: true: yes; false: it goes on by itself, with its op->execute(), or has been answered because it was aborted.
 */
bool scst_turn_pass(struct scst_cmd *cmd)
{
	struct scst_device *dev = cmd->dev;
	bool aborted = false;
	unsigned long irq;
	bool waits;

	if (test_and_clear_bit(SCST_CMD_PASSED, &cmd->flags))
		return true;
	spin_lock_irqsave(&dev->turn_lock, irq);
	cmd->turn = (struct scst_turn){ .lba = cmd->lba, .nblocks = cmd->nblocks, .kind = SCST_TURN_HELD };
	waits = scst_turn_count_before(dev, &cmd->turn);
	if (waits)
		aborted = !scst_turn_wait(cmd);
	if (waits && !aborted)
		scst_turn_enter(dev, &cmd->turn);
	/* Marked before it was known that it waits, or where it writes. */
	if (test_and_clear_bit(SCST_CMD_MARKED, &cmd->flags))
		scst_turn_less(dev);
	spin_unlock_irqrestore(&dev->turn_lock, irq);
	if (aborted)
		scst_cmd_respond(cmd);
	return !waits;
}

/**
 * scst_turn_take() - is it this writer's turn to write to a range?
 * @writer: dev, turn.lba and turn.nblocks are set, and how it goes on: @cmd and @fn, or @go; not in the line
 *
 * Any context.  For whatever writes to a medium and is not a WRITE: before each piece that it hands to the back end, holding no
 * other turn.  Return: true: yes; false: it is told when to go on.  It is its turn then, unless it has been aborted.  Either way it
 * ends with scst_turn_end().
 */
bool scst_turn_take(struct scst_writer *writer)
{
	struct scst_device *dev = writer->dev;
	unsigned long irq;
	bool now;

	if (unlikely(test_bit(SCST_GATE_TOKENS, &dev->gates)))
		scst_tokens_changed(dev, writer->turn.lba, writer->turn.nblocks);
	writer->turn.kind = SCST_TURN_WRITE;
	spin_lock_irqsave(&dev->turn_lock, irq);
	scst_turn_enter(dev, &writer->turn);
	now = !writer->turn.before;
	if (!now)
		scst_writer_wait(writer);
	spin_unlock_irqrestore(&dev->turn_lock, irq);
	return now;
}

/**
 * scst_turn_end() - what was written is written, or is given up
 * @writer: the writer, whose turn it was, or was to be when it was aborted
 *
 * Any context.
 */
void scst_turn_end(struct scst_writer *writer)
{
	struct scst_device *dev = writer->dev;
	unsigned long irq;

	spin_lock_irqsave(&dev->turn_lock, irq);
	if (!list_empty(&writer->turn.entry))
		scst_turn_leave(dev, &writer->turn);
	spin_unlock_irqrestore(&dev->turn_lock, irq);
}

/* It has its turn, and goes on without its command, which may be gone from here on.  Process context. */
void scst_turn_disown(struct scst_writer *writer)
{
	spin_lock_irq(&writer->dev->turn_lock);
	writer->cmd = NULL;
	spin_unlock_irq(&writer->dev->turn_lock);
}

/**
 * scst_alone_take() - have a range of the medium alone
 * @alone: as scst_turn_take()
 *
 * Process context.  Return: true: ask scst_alone_look(); false: when it is told to go on.
 */
bool scst_alone_take(struct scst_alone *alone)
{
	struct scst_writer *writer = &alone->writer;
	bool now;

	writer->turn.kind = SCST_TURN_ALONE;
	alone->counting = false;
	atomic_set(&alone->found, 0);
	spin_lock_irq(&writer->dev->turn_lock);
	scst_turn_enter(writer->dev, &writer->turn);
	now = !writer->turn.before;
	if (!now)
		scst_writer_wait(writer);
	spin_unlock_irq(&writer->dev->turn_lock);
	return now;
}

/* The tables were looked at, and something was found.  True: all of it may be over by now. */
static bool scst_alone_again(struct scst_alone *alone)
{
	struct scst_device *dev = alone->writer.dev;
	bool again;

	spin_lock_irq(&dev->turn_lock);
	again = atomic_read(&alone->found) <= 0;
	alone->counting = !again;
	if (!again)
		scst_writer_wait(&alone->writer);
	spin_unlock_irq(&dev->turn_lock);
	return again;
}

/**
 * scst_alone_look() - is nobody else at the medium there any more?
 * @alone: nothing before it is left in the line
 *
 * Process context; the command is not aborted.  Return: true: nobody is; false: it is told when to ask again, or that it was
 * aborted.
 */
bool scst_alone_look(struct scst_alone *alone)
{
	while (scst_turn_scan(alone))
		if (!scst_alone_again(alone))
			return false;
	return true;
}

/* --- aborts ---------------------------------------------------------------------------------------- */

static struct scst_turn *scst_turn_of(struct scst_cmd *cmd)
{
	struct scst_turn *turn;

	list_for_each_entry(turn, &cmd->dev->turns, entry) {
		if (turn == &cmd->turn)
			return turn;
		if (turn->kind != SCST_TURN_HELD && scst_writer_of(turn)->cmd == cmd)
			return turn;
	}
	return NULL;
}

/**
 * scst_turn_aborted() - a command is aborted that waits for its turn
 * @cmd: SCST_CMD_ABORTED is set; can't go meanwhile
 *
 * Any context; under scst_wait_lock.  It leaves the line and goes on at once, to be answered: it waits for nobody's back end.
 */
void scst_turn_aborted(struct scst_cmd *cmd)
{
	struct scst_device *dev = cmd->dev;
	struct scst_turn *turn;
	unsigned long irq;

	spin_lock_irqsave(&dev->turn_lock, irq);
	turn = test_bit(SCST_CMD_WAITING, &cmd->flags) ? scst_turn_of(cmd) : NULL;
	if (turn && turn->kind == SCST_TURN_HELD) {
		scst_turn_release_held(dev, turn);
	} else if (turn) {
		scst_turn_leave(dev, turn);
		scst_writer_go(scst_writer_of(turn));
	}
	spin_unlock_irqrestore(&dev->turn_lock, irq);
}

/* Fields of a new device that are this file's. */
void scst_turn_setup(struct scst_device *dev)
{
	spin_lock_init(&dev->turn_lock);
	INIT_LIST_HEAD(&dev->turns);
}
