// SPDX-License-Identifier: GPL-2.0-only
/*
 * Faults that an administrator injects on purpose: commands that are dropped, held for a while, or answered with what he says.
 *
 * A nexus that no fault may strike has nothing of this: its gates say so, which every command reads anyhow.  One that a fault may strike has
 * the gate of faults closed and, in nexus->faults, a bit for each of them.  A command of it that all other gates let pass, and whose CDB is in
 * order, looks through these, once: what concerns it makes a choice, and the first that strikes has it.  Only that choice is shared, by those
 * that the fault concerns.
 *
 * Who is held, or dropped, stands in the lane of faults of its nexus's limiter (limit.c), visible to task management: whatever ends a command
 * that has not begun ends it, and so does the end of the fault.  Then it begins as if there had been none.
 *
 * Who may be struck is known by names, so that a fault can be there before its target, its group or its LUN is: each view that comes into
 * force is looked at under scst_config_mutex, and a fault that comes into force looks at all views.
 */
#include "core.h"
#include "trace.h"

DEFINE_MUTEX(scst_fault_mutex);

/* Those in force; written under both mutexes, read under RCU. */
static struct scst_fault __rcu *scst_faults[SCST_FAULTS_MAX];

const char *const scst_fault_actions[SCST_FAULT_ACTIONS] = {
	[SCST_FAULT_DROP]		= "drop",
	[SCST_FAULT_DELAY]		= "delay",
	[SCST_FAULT_BUSY]		= "busy",
	[SCST_FAULT_TASK_SET_FULL]	= "task_set_full",
	[SCST_FAULT_SENSE]		= "sense",
};

/* --- in a command's way ------------------------------------------------------------------------------ */

static bool scst_fault_concerns(const struct scst_fault *fault, const struct scst_cmd *cmd)
{
	switch (fault->commands) {
	case SCST_FAULT_READS:
		return cmd->op->stops & SCST_STOPS_READ;
	case SCST_FAULT_WRITES:
		return cmd->op->stops & BIT_ULL(SCST_GATE_LIMIT_WRITE);
	case SCST_FAULT_OPCODE:
		return cmd->cdb[0] == fault->opcode;
	default:
		return true;
	}
}

static bool scst_fault_strikes(struct scst_fault *fault)
{
	bool strikes, last;
	unsigned long irq;

	if (READ_ONCE(fault->over))
		return false;
	spin_lock_irqsave(&fault->lock, irq);
	strikes = scst_chance_strikes(&fault->chance);
	last = strikes && scst_chance_over(&fault->chance);
	if (last)
		WRITE_ONCE(fault->over, true);
	spin_unlock_irqrestore(&fault->lock, irq);
	if (last)
		pr_info("fault %s: has struck as often as it was to\n", config_item_name(&fault->item));
	return strikes;
}

/* Under RCU.  NULL: none strikes it. */
static struct scst_fault *scst_fault_find(const struct scst_cmd *cmd)
{
	unsigned long faults = READ_ONCE(cmd->nexus->faults);
	struct scst_fault *fault;
	unsigned int place;

	for_each_set_bit(place, &faults, SCST_FAULTS_MAX) {
		fault = rcu_dereference(scst_faults[place]);
		if (fault && scst_fault_concerns(fault, cmd) && scst_fault_strikes(fault))
			return fault;
	}
	return NULL;
}

static void scst_fault_answer(struct scst_cmd *cmd, const struct scst_fault *fault)
{
	set_bit(SCST_CMD_STRUCK, &cmd->flags);
	if (fault->action == SCST_FAULT_SENSE)
		scst_cmd_sense(cmd, fault->sense);
	else
		cmd->status = fault->action == SCST_FAULT_BUSY ? SAM_STAT_BUSY : SAM_STAT_TASK_SET_FULL;
	scst_cmd_respond(cmd);
}

/* True: it goes on. */
static bool scst_fault_strike(const struct scst_fault *fault, struct scst_cmd *cmd)
{
	trace_scst_cmd_fault(cmd, config_item_name((struct config_item *)&fault->item), scst_fault_actions[fault->action]);
	switch (fault->action) {
	case SCST_FAULT_DROP:
		return scst_cmd_track_late(cmd) && !scst_limiter_hold(cmd, fault->place, SCST_FAULT_HELD);
	case SCST_FAULT_DELAY:
		return scst_cmd_track_late(cmd) && !scst_limiter_hold(cmd, fault->place, fault->delay_ms);
	default:
		scst_fault_answer(cmd, fault);
		return false;
	}
}

/**
 * scst_fault_pass() - may a command begin, or does a fault strike it?
 * @cmd: its gates are passed but for that of faults and those of limits, and it is prepared; not pinned
 *
 * Any context.  Return: true: it is to look at its gates again; it has SCST_CMD_TRIED.  False: it has been answered, or begins by itself,
 * from a work item.
 */
bool scst_fault_pass(struct scst_cmd *cmd)
{
	struct scst_fault *fault;
	bool passes;

	set_bit(SCST_CMD_TRIED, &cmd->flags);
	/* Pairs with scst_limiter_set_faults(): who finds the gate finds the limiter, and the faults. */
	smp_rmb();
	rcu_read_lock();
	fault = scst_fault_find(cmd);
	passes = !fault || scst_fault_strike(fault, cmd);
	rcu_read_unlock();
	return passes;
}

/* --- whom they may strike ------------------------------------------------------------------------------- */

static bool scst_fault_is_of(const struct scst_fault *fault, const struct scst_target *tgt, const char *group, u32 lun)
{
	size_t driver = strlen(tgt->driver->name);

	if (strcmp(fault->target, SCST_FAULT_ANY) &&
	    (strncmp(fault->target, tgt->driver->name, driver) || fault->target[driver] != '/' ||
	     strcmp(fault->target + driver + 1, tgt->name)))
		return false;
	if (strcmp(fault->group, SCST_FAULT_ANY) && strcmp(fault->group, group ?: SCST_FAULT_NO_GROUP))
		return false;
	return fault->lun == SCST_LUN_INVALID || fault->lun == lun;
}

static struct scst_fault *scst_fault_at(unsigned int place)
{
	return rcu_dereference_protected(scst_faults[place], lockdep_is_held(&scst_config_mutex));
}

/**
 * scst_faults_of() - the faults in force that may strike commands
 * @tgt: by this target
 * @group: of initiators of this group, NULL: of those that no group claims
 * @lun: to this LUN
 *
 * Under scst_config_mutex.  Return: bits of their places.
 */
unsigned long scst_faults_of(const struct scst_target *tgt, const char *group, u32 lun)
{
	unsigned long faults = 0;
	unsigned int place;

	for (place = 0; place < SCST_FAULTS_MAX; place++) {
		const struct scst_fault *fault = scst_fault_at(place);

		if (fault && scst_fault_is_of(fault, tgt, group, lun))
			faults |= BIT(place);
	}
	return faults;
}

static void scst_nexus_prepare_faults(struct scst_nexus *nexus, void *failed)
{
	const struct scst_session *sess = nexus->sess;

	if (!scst_limiter_prepare(nexus, NULL, scst_faults_of(sess->tgt, sess->group_name, nexus->lun)))
		*(bool *)failed = true;
}

static void scst_nexus_set_faults(struct scst_nexus *nexus, void *unused)
{
	const struct scst_session *sess = nexus->sess;

	scst_limiter_set_faults(nexus, scst_faults_of(sess->tgt, sess->group_name, nexus->lun));
}

/* --- in force, and not any more -------------------------------------------------------------------------- */

static int scst_fault_find_place(void)
{
	int place;

	for (place = 0; place < SCST_FAULTS_MAX; place++)
		if (!scst_fault_at(place))
			return place;
	return -ENOSPC;
}

/* Nobody asks it before the faults of a nexus have its bit. */
static int scst_fault_publish(struct scst_fault *fault)
{
	int place = scst_fault_find_place();
	bool failed = false;

	lockdep_assert_held(&scst_config_mutex);
	if (place < 0)
		return place;
	fault->place = place;
	rcu_assign_pointer(scst_faults[place], fault);
	scst_fault_commit_begin();
	scst_for_each_nexus(scst_nexus_prepare_faults, &failed);
	scst_fault_commit_end();
	if (!failed) {
		scst_for_each_nexus(scst_nexus_set_faults, NULL);
		return 0;
	}
	RCU_INIT_POINTER(scst_faults[place], NULL);
	fault->place = -1;
	return -ENOMEM;
}

static void scst_fault_log(struct scst_fault *fault)
{
	char lun[SCST_FAULT_LUN_LEN];

	scst_fault_lun_text(fault, lun);
	pr_info("fault %s: in force: %s, target %s, group %s, LUN %s, %u per mille\n", config_item_name(&fault->item),
		scst_fault_actions[fault->action], fault->target, fault->group, lun, fault->chance.permille);
}

/**
 * scst_fault_begin() - bring a fault into force
 * @fault: not in force
 *
 * Under scst_fault_mutex; takes scst_config_mutex.  It begins its choices anew.
 *
 * Return: 0, -ENOSPC: there are too many, -ENOMEM; then nothing has happened.
 */
int scst_fault_begin(struct scst_fault *fault)
{
	int ret;

	lockdep_assert_held(&scst_fault_mutex);
	fault->over = false;
	spin_lock_irq(&fault->lock);
	scst_chance_begin(&fault->chance);
	spin_unlock_irq(&fault->lock);
	mutex_lock(&scst_config_mutex);
	ret = scst_fault_publish(fault);
	mutex_unlock(&scst_config_mutex);
	if (!ret)
		scst_fault_log(fault);
	return ret;
}

/**
 * scst_fault_end() - a fault is over: whom it holds goes on
 * @fault: in force
 *
 * Under scst_fault_mutex; takes scst_config_mutex, sleeps for a grace period.  Nobody knows it any more.
 */
void scst_fault_end(struct scst_fault *fault)
{
	lockdep_assert_held(&scst_fault_mutex);
	mutex_lock(&scst_config_mutex);
	RCU_INIT_POINTER(scst_faults[fault->place], NULL);
	scst_for_each_nexus(scst_nexus_set_faults, NULL);
	mutex_unlock(&scst_config_mutex);
	/* Who still has it makes a choice that nobody counts; its place is another's from here on. */
	synchronize_rcu();
	fault->place = -1;
	pr_info("fault %s: ended, has struck %llu commands\n", config_item_name(&fault->item), fault->chance.hits);
}

/* Commands that it has struck since it came into force last.  Any context. */
u64 scst_fault_hits(struct scst_fault *fault)
{
	unsigned long irq;
	u64 hits;

	spin_lock_irqsave(&fault->lock, irq);
	hits = fault->chance.hits;
	spin_unlock_irqrestore(&fault->lock, irq);
	return hits;
}
