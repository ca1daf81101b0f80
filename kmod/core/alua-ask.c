// SPDX-License-Identifier: GPL-2.0-only
/*
 * SET TARGET PORT GROUPS with somebody's consent: where a device group has `ask_ms`, what is asked for is put to user space as a question,
 * by a uevent, and is carried out when that accepts it.
 *
 * A device group has one open question at most; who asks meanwhile is told BUSY.  Its command waits: it is in its session's table, where
 * aborts find it, holds no backing and no thread, and nobody but its initiator waits for it.  The groups stay as they are.
 *
 * It ends with an answer, after `ask_ms`, when the command is aborted, and when it has become void: what it is about has changed, its unit
 * was parked or has left the device group, or a gate was closed that would stop the command.  Whatever is not an "accept" is
 * SET TARGET PORT GROUPS COMMAND FAILED, and nothing has changed.
 *
 * Whoever ends it takes the command out under scst_ask_lock, and goes on with it on threads that do not wait for a back end.
 * scst_ask_lock is inside scst_config_mutex, nexus_lock, scst_wait_lock and the slots' bits, outside the locks of threads.
 */
#include "core.h"
#include "alua.h"

static DEFINE_SPINLOCK(scst_ask_lock);
static LIST_HEAD(scst_asks);	/* open questions */
static u64 scst_ask_last;	/* number: never used twice, so that an answer can't be for another question */

/* --- the end of a question ---------------------------------------------------------------------------- */

static void scst_ask_accepted_job(struct scst_job *job)
{
	scst_cmd_good(scst_cmd_of_job(job));
}

static void scst_ask_failed_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);

	scst_cmd_sense(cmd, SCST_SENSE_SET_PORT_GROUPS_FAILED);
	scst_cmd_respond(cmd);
}

/* The question is not open any more, and its command is the caller's. */
static struct scst_cmd *scst_ask_take(struct scst_alua_ask *ask)
{
	struct scst_cmd *cmd = ask->cmd;

	lockdep_assert_held(&scst_ask_lock);
	list_del(&ask->entry);
	ask->cmd = NULL;
	scst_stage(cmd, SCST_STAGE_QUESTION);
	clear_bit(SCST_CMD_ASKING, &cmd->flags);
	return cmd;
}

static void scst_ask_answer(struct scst_cmd *cmd, bool accepted)
{
	scst_cmd_to_threads_of(cmd, &cmd->dev->pr_threads, accepted ? scst_ask_accepted_job : scst_ask_failed_job);
}

static void scst_ask_fail(struct scst_alua_ask *ask)
{
	scst_ask_answer(scst_ask_take(ask), false);
}

static void scst_ask_expired(struct work_struct *work)
{
	struct scst_alua_ask *ask = container_of(to_delayed_work(work), struct scst_alua_ask, work);

	spin_lock_irq(&scst_ask_lock);
	/* Or it is about one that has ended by now. */
	if (ask->cmd && time_after_eq64(get_jiffies_64(), ask->until))
		scst_ask_fail(ask);
	spin_unlock_irq(&scst_ask_lock);
}

/**
 * scst_alua_ask_void() - what a question is about has changed
 * @ask: the device group's
 *
 * Process context.
 */
void scst_alua_ask_void(struct scst_alua_ask *ask)
{
	spin_lock_irq(&scst_ask_lock);
	if (ask->cmd)
		scst_ask_fail(ask);
	spin_unlock_irq(&scst_ask_lock);
}

static bool scst_ask_stopped(const struct scst_cmd *cmd)
{
	return scst_cmd_aborted(cmd) || READ_ONCE(cmd->nexus->gates) & cmd->op->stops & SCST_STOPS_LASTING;
}

/**
 * scst_alua_ask_look() - a gate of a nexus was closed: whom it stops does not wait for an answer
 * @nexus: the nexus
 *
 * Any context.
 */
void scst_alua_ask_look(const struct scst_nexus *nexus)
{
	struct scst_alua_ask *ask, *next;
	unsigned long irq;

	/* Pairs with scst_ask_wait(): who asks now finds the gate, or is found. */
	smp_mb();
	if (list_empty(&scst_asks))
		return;
	spin_lock_irqsave(&scst_ask_lock, irq);
	list_for_each_entry_safe(ask, next, &scst_asks, entry)
		if (ask->cmd->nexus == nexus && scst_ask_stopped(ask->cmd))
			scst_ask_fail(ask);
	spin_unlock_irqrestore(&scst_ask_lock, irq);
}

/**
 * scst_alua_ask_device() - a device is parked, or leaves its device group: nobody is asked about it any more
 * @dev: the device
 *
 * Process context.
 */
void scst_alua_ask_device(const struct scst_device *dev)
{
	struct scst_alua_ask *ask, *next;

	spin_lock_irq(&scst_ask_lock);
	list_for_each_entry_safe(ask, next, &scst_asks, entry)
		if (ask->cmd->dev == dev)
			scst_ask_fail(ask);
	spin_unlock_irq(&scst_ask_lock);
}

/**
 * scst_alua_ask_aborted() - a command is aborted that waits for an answer
 * @cmd: SCST_CMD_ABORTED is set; can't go meanwhile
 *
 * Any context; under scst_wait_lock.  It goes on at once, to be answered.
 */
void scst_alua_ask_aborted(struct scst_cmd *cmd)
{
	unsigned long irq;

	spin_lock_irqsave(&scst_ask_lock, irq);
	if (test_bit(SCST_CMD_ASKING, &cmd->flags))
		scst_ask_fail(cmd->step_data);
	spin_unlock_irqrestore(&scst_ask_lock, irq);
}

/* --- the question ------------------------------------------------------------------------------------------ */

#define ASK_VARS	5
#define ASK_WANTED	"SCST_WANTED="
#define ASK_WANTED_LEN	1024	/* an event has room for 2048 bytes in all */

/* Variables of its event. */
struct scst_ask_event {
	char *var[ASK_VARS + 1];
	char number[40];
	char ms[32];
	char target[16 + 64 + SCST_TARGET_NAME_LEN];
	char initiator[20 + SCST_INITIATOR_NAME_LEN];
	char wanted[ASK_WANTED_LEN];
};

static u32 scst_ask_left(const struct scst_alua_ask *ask)
{
	u64 now = get_jiffies_64();

	return time_after64(ask->until, now) ? jiffies_to_msecs(ask->until - now) : 0;
}

/* What would change: NAME=STATE for each, parted by blanks.  Under scst_config_mutex.  Return: bytes that all of it takes. */
static size_t scst_ask_wanted(const struct scst_alua_dir *dir, char *buf, size_t size)
{
	const struct scst_alua *alua = &dir->now->alua;
	unsigned int i;
	size_t at = 0;

	for (i = 0; i < alua->nr_groups; i++) {
		struct scst_alua_tpg *tpg = scst_alua_find_tpg(dir, alua->group[i].id);
		u8 state = dir->ask.states[i];

		if (alua->group[i].state != state)
			at += snprintf(buf + min(at, size), at < size ? size - at : 0, "%s%s=%s", at ? " " : "",
				       config_item_name(&tpg->group.cg_item), scst_alua_state_name(state));
	}
	return at;
}

/* Of a long list the event has nothing; `question` has it all. */
static void scst_ask_describe(struct scst_ask_event *event, const struct scst_alua_dir *dir, const struct scst_cmd *cmd)
{
	char *list = event->wanted + strlen(ASK_WANTED);
	size_t room = sizeof(event->wanted) - strlen(ASK_WANTED);

	if (scst_ask_wanted(dir, list, room) >= room)
		*list = '\0';
	memcpy(event->wanted, ASK_WANTED, strlen(ASK_WANTED));
	snprintf(event->number, sizeof(event->number), "SCST_QUESTION=%llu", dir->ask.number);
	snprintf(event->ms, sizeof(event->ms), "SCST_LEFT_MS=%u", scst_ask_left(&dir->ask));
	snprintf(event->target, sizeof(event->target), "SCST_TARGET=%s/%s", cmd->sess->driver->name, cmd->sess->tgt->name);
	snprintf(event->initiator, sizeof(event->initiator), "SCST_INITIATOR=%s", cmd->sess->initiator);
	event->var[0] = event->number;
	event->var[1] = event->ms;
	event->var[2] = event->target;
	event->var[3] = event->initiator;
	event->var[4] = event->wanted;
}

/* False: it was aborted meanwhile, or is stopped, and is not to wait. */
static bool scst_ask_wait(struct scst_alua_ask *ask, struct scst_cmd *cmd)
{
	lockdep_assert_held(&scst_ask_lock);
	ask->cmd = cmd;
	cmd->step_data = ask;
	list_add_tail(&ask->entry, &scst_asks);
	scst_stage(cmd, SCST_STAGE_CORE);
	set_bit(SCST_CMD_ASKING, &cmd->flags);
	/* Pairs with scst_cmd_abort() and scst_alua_ask_look(). */
	smp_mb__after_atomic();
	if (!scst_ask_stopped(cmd))
		return true;
	scst_ask_take(ask);
	return false;
}

static int scst_ask_open(struct scst_alua_dir *dir, struct scst_cmd *cmd, const u8 *states, struct scst_ask_event *event)
{
	struct scst_alua_ask *ask = &dir->ask;
	unsigned long left = msecs_to_jiffies(ask->ms);
	int ret = 0;

	spin_lock_irq(&scst_ask_lock);
	if (ask->cmd) {
		ret = -EBUSY;
	} else {
		ask->number = ++scst_ask_last;
		ask->until = get_jiffies_64() + left;
		memcpy(ask->states, states, sizeof(ask->states));
		scst_ask_describe(event, dir, cmd);
		if (!scst_ask_wait(ask, cmd))
			ret = -ECANCELED;
	}
	spin_unlock_irq(&scst_ask_lock);
	if (!ret)
		mod_delayed_work(scst_cmd_wq, &ask->work, left);
	return ret;
}

/**
 * scst_alua_ask() - may what a command asks for be done?
 * @dir: the device group, with ask.ms
 * @cmd: the command, in its session's table
 * @states: wanted, of each group in force; some differ
 *
 * Under scst_config_mutex.  Return: -EINPROGRESS: the question is put, and the command goes on by itself; -EBUSY: one is open already;
 * -ECANCELED: nobody is to be asked any more; -ENOMEM.
 */
int scst_alua_ask(struct scst_alua_dir *dir, struct scst_cmd *cmd, const u8 *states)
{
	struct scst_ask_event *event = kzalloc(sizeof(*event), GFP_KERNEL);
	int ret;

	lockdep_assert_held(&scst_config_mutex);
	if (!event)
		return -ENOMEM;
	ret = scst_ask_open(dir, cmd, states, event);
	if (!ret) {
		scst_sysfs_core_event("alua-question", config_item_name(&dir->group.cg_item), event->var);
		ret = -EINPROGRESS;
	}
	kfree(event);
	return ret;
}

/* --- user space --------------------------------------------------------------------------------------------- */

/**
 * scst_alua_ask_print() - the open question, a line: number, milliseconds left, target, initiator, device, and what would change
 * @dir: the device group
 * @page: a page
 *
 * Under scst_config_mutex.  Return: bytes; 0: none is open.
 */
ssize_t scst_alua_ask_print(const struct scst_alua_dir *dir, char *page)
{
	const struct scst_alua_ask *ask = &dir->ask;
	const struct scst_cmd *cmd;
	int at = 0;

	/* The command does not go meanwhile. */
	spin_lock_irq(&scst_ask_lock);
	cmd = ask->cmd;
	if (cmd) {
		at = scnprintf(page, PAGE_SIZE, "%llu %u %s/%s %s %s ", ask->number, scst_ask_left(ask), cmd->sess->driver->name,
			       cmd->sess->tgt->name, cmd->sess->initiator, cmd->dev->name);
		at += scst_ask_wanted(dir, page + at, PAGE_SIZE - at);
		at += scnprintf(page + at, PAGE_SIZE - at, "\n");
	}
	spin_unlock_irq(&scst_ask_lock);
	return at;
}

/**
 * scst_alua_ask_end() - the answer
 * @dir: the device group
 * @number: of the question
 * @accept: do what is asked for
 *
 * Under scst_config_mutex.  What is accepted is in force on return.
 *
 * Return: 0; -ESTALE: that question is not open (any more), and nothing has happened; -ENOMEM: nothing has changed, and the command fails.
 */
int scst_alua_ask_end(struct scst_alua_dir *dir, u64 number, bool accept)
{
	struct scst_alua_ask *ask = &dir->ask;
	struct scst_cmd *cmd = NULL;
	int ret = 0;

	lockdep_assert_held(&scst_config_mutex);
	spin_lock_irq(&scst_ask_lock);
	if (ask->cmd && ask->number == number)
		cmd = scst_ask_take(ask);
	spin_unlock_irq(&scst_ask_lock);
	if (!cmd)
		return -ESTALE;
	if (accept)
		ret = scst_alua_change(dir, ask->states, cmd->nexus);
	scst_ask_answer(cmd, accept && !ret);
	return ret;
}

/* Fields of a new device group that are this file's. */
void scst_alua_ask_setup(struct scst_alua_ask *ask)
{
	INIT_DELAYED_WORK(&ask->work, scst_ask_expired);
}

/* The device group goes: it has no devices any more, so no question is open.  Process context. */
void scst_alua_ask_stop(struct scst_alua_ask *ask)
{
	WARN_ON_ONCE(ask->cmd);
	cancel_delayed_work_sync(&ask->work);
}
