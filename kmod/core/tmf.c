// SPDX-License-Identifier: GPL-2.0-only
/*
 * Task management functions (SAM-5 clause 7), and whatever else waits for the end of commands.
 *
 * A function marks the commands it affects when it is submitted: those that are in their session's table by then, which
 * every command is that may change the medium or whose data or response the driver may hold.  Who waits is an object that counts: the end of an
 * awaited command takes one off all objects that count it, and the last one answers.  No thread waits.
 *
 * Which objects count a command is not written down but follows from two facts, both under scst_wait_lock: an object counts the
 * commands in its scope that are in the table when it looks, and an awaited command leaves the table in the same hold of the lock
 * in which it is taken off.  So it is counted by every object in whose scope it is, from the first that found it (awaited_seq)
 * on, and by none that looked before it came.  ABORT TASKs, of which there may be as many as commands, hang on their command instead.
 *
 * A fence is such objects for a command instead of a request: PERSISTENT RESERVE OUT is answered when what it has excluded is
 * over.  Aborted, it waits for nobody any more.
 *
 * An awaited command that the driver holds is recalled: its abort() is called from a work item, without a lock, because the driver
 * calls scst_cmd_sent() under its own.  The command is kept from its release meanwhile.
 */
#include "commands.h"
#include "trace.h"

static DEFINE_SPINLOCK(scst_wait_lock);
static LIST_HEAD(scst_waits);
static u64 scst_wait_seq;

static struct workqueue_struct *scst_tmf_wq;
static LLIST_HEAD(scst_tmf_answers);
static LLIST_HEAD(scst_recalls);

static void scst_tmf_answer_work(struct work_struct *work);
static void scst_recall_work_fn(struct work_struct *work);
static DECLARE_WORK(scst_tmf_work, scst_tmf_answer_work);
static DECLARE_WORK(scst_recall_work, scst_recall_work_fn);

/* --- objects that count commands ------------------------------------------------------------------ */

/* Nothing of what this looks at changes between the command's entering the table and leaving it. */
static bool scst_wait_covers(const struct scst_wait *wait, const struct scst_cmd *cmd)
{
	return (!wait->sess || cmd->sess == wait->sess) &&
	       (!wait->nexus || cmd->nexus == wait->nexus) &&
	       (!wait->dev || cmd->dev == wait->dev) &&
	       (!wait->set || scst_lunset_has(wait->set, cmd->dev)) &&
	       (!wait->writes || (cmd->op && cmd->op->flags & SCST_OP_WRITE)) &&
	       (!wait->no_pr_out || !cmd->op || cmd->op->access != SCST_ACCESS_PR_OUT) &&
	       (!wait->aca || cmd->attr == SCST_TASK_ACA);
}

static void scst_fence_less(struct scst_fence *fence, u32 nr)
{
	lockdep_assert_held(&scst_wait_lock);
	fence->left -= nr;
	if (fence->left)
		return;
	clear_bit(SCST_CMD_FENCING, &fence->cmd->flags);
	fence->over(fence);
}

static void scst_fence_wait_over(struct scst_wait *wait)
{
	scst_fence_less(container_of(wait, struct scst_fence_wait, wait)->fence, 1);
}

/*
 * The command is aborted: nobody reads its answer, and by itself it does nothing any more.  It must not keep its session, or who
 * aborts it, waiting for a stranger.
 */
static void scst_fence_give_up(struct scst_fence *fence)
{
	u32 i, given_up = 0;

	lockdep_assert_held(&scst_wait_lock);
	for (i = 0; i < fence->nr; i++) {
		struct scst_wait *wait = &fence->wait[i].wait;

		if (list_empty(&wait->entry))
			continue;
		list_del_init(&wait->entry);
		given_up++;
	}
	if (given_up)
		scst_fence_less(fence, given_up);
}

static void scst_cmd_await(struct scst_cmd *cmd, u64 seq)
{
	if (test_bit(SCST_CMD_AWAITED, &cmd->flags))
		return;
	cmd->waiters = NULL;
	cmd->counted_seq = 0;
	cmd->awaited_seq = seq;
	set_bit(SCST_CMD_AWAITED, &cmd->flags);
}

/* The command, which can't leave, is aborted by @by; the driver is asked for it if it may have it. */
static void scst_cmd_abort(struct scst_cmd *cmd, const struct scst_session *by)
{
	lockdep_assert_held(&scst_wait_lock);
	if (scst_cmd_aborted(cmd))
		return;
	trace_scst_cmd_abort(cmd, by);
	scst_session_count(cmd->sess, aborted);
	if (cmd->sess != by)
		set_bit(SCST_CMD_FOREIGN, &cmd->flags);
	set_bit(SCST_CMD_ABORTED, &cmd->flags);
	if (test_bit(SCST_CMD_FENCING, &cmd->flags))
		scst_fence_give_up(cmd->step_data);
	/*
	 * Pairs with scst_cmd_to_driver(), scst_turn_wait(), scst_order_hold(), scst_aca_block(), scst_lane_hold() and
	 * scst_ask_wait(): one of the two sees what the other has set.
	 */
	smp_mb__after_atomic();
	if (test_bit(SCST_CMD_HELD, &cmd->flags))
		scst_order_aborted(cmd);
	if (test_bit(SCST_CMD_BLOCKED, &cmd->flags))
		scst_aca_aborted(cmd);
	if (test_bit(SCST_CMD_LIMITED, &cmd->flags))
		scst_limit_aborted(cmd);
	if (test_bit(SCST_CMD_ASKING, &cmd->flags))
		scst_alua_ask_aborted(cmd);
	if (test_bit(SCST_CMD_WAITING, &cmd->flags))
		scst_turn_aborted(cmd);
	if (test_bit(SCST_CMD_AT_DRIVER, &cmd->flags)) {
		set_bit(SCST_CMD_RECALLED, &cmd->flags);
		if (llist_add(&cmd->recall, &scst_recalls))
			queue_work(scst_tmf_wq, &scst_recall_work);
	}
}

struct scst_scan {
	struct scst_wait *wait;		/* counts them; NULL: nobody does */
	const struct scst_wait *scope;
	const struct scst_nexus *nexus;	/* only of this one */
	const struct scst_session *by;
	const struct scst_cmd *except;
	bool abort;
	bool found;
};

/* Once, though two LUNs of a set may lead to one device. */
static void scst_count_cmd(struct scst_wait *wait, struct scst_cmd *cmd)
{
	if (cmd->counted_seq == wait->seq)
		return;
	cmd->counted_seq = wait->seq;
	wait->left++;
}

static void scst_scan_cmd(struct scst_cmd *cmd, void *arg)
{
	struct scst_scan *scan = arg;

	if (cmd == scan->except || (scan->nexus && cmd->nexus != scan->nexus) || !scst_wait_covers(scan->scope, cmd))
		return;
	scan->found = true;
	if (scan->wait || scan->abort)
		scst_cmd_await(cmd, scst_wait_seq);
	if (scan->wait && scst_wait_covers(scan->wait, cmd))
		scst_count_cmd(scan->wait, cmd);
	if (scan->abort)
		scst_cmd_abort(cmd, scan->by);
}

/* All commands on a device that is reset, whoever they are from, and what keeps them.  Nexuses and their sessions are freed after a grace period. */
static void scst_scan_device(const struct scst_device *dev, struct scst_scan *scan)
{
	struct scst_nexus *nexus;

	lockdep_assert_held(&scst_wait_lock);
	rcu_read_lock();
	list_for_each_entry_rcu(nexus, &dev->nexuses, dev_entry) {
		scan->nexus = nexus;
		scst_track_for_each(nexus->sess, scst_scan_cmd, scan);
		scst_aca_clear(nexus);
	}
	rcu_read_unlock();
}

/* Under scst_wait_lock: the object counts from here on. */
static void scst_wait_begin(struct scst_wait *wait)
{
	lockdep_assert_held(&scst_wait_lock);
	wait->seq = ++scst_wait_seq;
	wait->left = 1;		/* until everything is counted */
	list_add_tail(&wait->entry, &scst_waits);
}

/* Under scst_wait_lock: one less. */
static void scst_wait_less(struct scst_wait *wait)
{
	lockdep_assert_held(&scst_wait_lock);
	if (--wait->left)
		return;
	list_del_init(&wait->entry);
	wait->over(wait);
}

static void scst_wait_ended(struct scst_cmd *cmd)
{
	struct scst_wait *wait, *next;

	list_for_each_entry_safe(wait, next, &scst_waits, entry)
		if (wait->seq >= cmd->awaited_seq && scst_wait_covers(wait, cmd))
			scst_wait_less(wait);
}

/* --- answers ------------------------------------------------------------------------------------- */

static void scst_tmf_answer(struct scst_tmf *tmf, enum scst_tmf_response response)
{
	tmf->response = response;
	trace_scst_tmf_done(tmf);
	if (llist_add(&tmf->done, &scst_tmf_answers))
		queue_work(scst_tmf_wq, &scst_tmf_work);
}

static void scst_tmf_over(struct scst_wait *wait)
{
	scst_tmf_answer(container_of(wait, struct scst_tmf, wait), SCST_TMF_COMPLETE);
}

static void scst_tmf_finish(struct scst_tmf *tmf)
{
	struct scst_session *sess = tmf->sess;
	struct scst_lunset *set = tmf->set;

	scst_record_tmf(tmf);
	sess->driver->tmf_done(tmf);
	if (set) {
		mutex_lock(&scst_config_mutex);
		scst_lunset_put(set);
		mutex_unlock(&scst_config_mutex);
	}
	percpu_ref_put(&sess->ref);
}

static void scst_tmf_answer_work(struct work_struct *work)
{
	struct llist_node *list = llist_reverse_order(llist_del_all(&scst_tmf_answers));
	struct scst_tmf *tmf, *next;

	llist_for_each_entry_safe(tmf, next, list, done)
		scst_tmf_finish(tmf);
}

/* --- the end of an awaited command --------------------------------------------------------------------- */

static void scst_waiters_answer(struct scst_cmd *cmd)
{
	struct scst_tmf *tmf = cmd->waiters, *next;

	for (; tmf; tmf = next) {
		next = tmf->next_waiter;
		scst_tmf_answer(tmf, SCST_TMF_COMPLETE);
	}
}

static void scst_awaited_ended(struct scst_cmd *cmd)
{
	scst_waiters_answer(cmd);
	scst_wait_ended(cmd);
}

/**
 * scst_tmf_ended() - a command is over, and somebody wants to know
 * @cmd: still in the table
 *
 * Any context.  Return: false if it is being recalled: scst_recall_work_fn() goes on.
 */
bool scst_tmf_ended(struct scst_cmd *cmd)
{
	unsigned long irq;
	bool over;

	spin_lock_irqsave(&scst_wait_lock, irq);
	over = !test_bit(SCST_CMD_RECALLED, &cmd->flags);
	if (over) {
		scst_untrack(cmd);
		if (test_bit(SCST_CMD_AWAITED, &cmd->flags))
			scst_awaited_ended(cmd);
	} else {
		set_bit(SCST_CMD_SENT, &cmd->flags);
	}
	spin_unlock_irqrestore(&scst_wait_lock, irq);
	if (over && test_bit(SCST_CMD_MARKED, &cmd->flags))
		scst_turn_left(cmd);
	if (over && test_bit(SCST_CMD_PLACED, &cmd->flags))
		scst_order_left(cmd);
	return over;
}

static void scst_recall_one(struct scst_cmd *cmd)
{
	bool sent;

	if (cmd->sess->driver->abort && test_bit(SCST_CMD_AT_DRIVER, &cmd->flags))
		cmd->sess->driver->abort(cmd);
	/* Or it waits for room in the driver's ring, which it does not need any more. */
	scst_target_resume(cmd->sess->tgt);
	spin_lock_irq(&scst_wait_lock);
	sent = test_bit(SCST_CMD_SENT, &cmd->flags);
	clear_bit(SCST_CMD_RECALLED, &cmd->flags);
	spin_unlock_irq(&scst_wait_lock);
	/* The driver gave it back meanwhile, and it is ours to release. */
	if (sent && scst_tmf_ended(cmd))
		scst_cmd_finish(cmd);
}

static void scst_recall_work_fn(struct work_struct *work)
{
	struct llist_node *list = llist_reverse_order(llist_del_all(&scst_recalls));
	struct scst_cmd *cmd, *next;

	/* Not yet released: each is kept until its own turn. */
	llist_for_each_entry_safe(cmd, next, list, recall)
		scst_recall_one(cmd);
}

/* --- commands of one task, a task set, a device, a session ------------------------------------------------ */

struct scst_tag_scan {
	struct scst_tmf *tmf;
	bool found;
};

static void scst_scan_tag(struct scst_cmd *cmd, void *arg)
{
	struct scst_tag_scan *scan = arg;
	struct scst_tmf *tmf = scan->tmf;

	if (scan->found || cmd->tag != tmf->tag || test_bit(SCST_CMD_PART, &cmd->flags))
		return;
	scan->found = true;
	if (tmf->fn == SCST_TMF_QUERY_TASK)
		return;
	scst_cmd_await(cmd, scst_wait_seq);
	tmf->next_waiter = cmd->waiters;
	cmd->waiters = tmf;
	scst_cmd_abort(cmd, tmf->sess);
}

static bool scst_tmf_find_task(struct scst_tmf *tmf)
{
	struct scst_tag_scan scan = { .tmf = tmf };
	unsigned long irq;

	spin_lock_irqsave(&scst_wait_lock, irq);
	scst_wait_seq++;
	scst_track_for_each(tmf->sess, scst_scan_tag, &scan);
	spin_unlock_irqrestore(&scst_wait_lock, irq);
	return scan.found;
}

static void scst_tmf_task(struct scst_tmf *tmf)
{
	bool found = scst_tmf_find_task(tmf);

	if (tmf->fn == SCST_TMF_QUERY_TASK)
		scst_tmf_answer(tmf, found ? SCST_TMF_SUCCEEDED : SCST_TMF_COMPLETE);
	else if (!found)
		scst_tmf_answer(tmf, SCST_TMF_NO_TASK);
}

/* All that it affects is marked and counted. */
static void scst_tmf_marked(struct scst_tmf *tmf)
{
	trace_scst_tmf_wait(tmf, tmf->wait.left - 1);
	scst_wait_less(&tmf->wait);
}

/* What was aborted goes first, so that it does nothing any more. */
static void scst_tmf_clear_aca(struct scst_tmf *tmf, struct scst_nexus *nexus)
{
	if (tmf->fn == SCST_TMF_CLEAR_ACA)
		scst_aca_clear(nexus);
	else if (tmf->fn == SCST_TMF_I_T_NEXUS_RESET)
		scst_aca_clear_session(tmf->sess);
}

/* Commands of the own session, in the scope that is set in tmf->wait; of @nexus, NULL: of all. */
static void scst_tmf_session(struct scst_tmf *tmf, struct scst_nexus *nexus)
{
	struct scst_scan scan = { .wait = &tmf->wait, .scope = &tmf->wait, .by = tmf->sess, .abort = true };
	unsigned long irq;

	tmf->wait.sess = tmf->sess;
	tmf->wait.nexus = nexus;
	spin_lock_irqsave(&scst_wait_lock, irq);
	scst_wait_begin(&tmf->wait);
	scst_track_for_each(tmf->sess, scst_scan_cmd, &scan);
	scst_tmf_clear_aca(tmf, nexus);
	scst_tmf_marked(tmf);
	spin_unlock_irqrestore(&scst_wait_lock, irq);
}

static void scst_tmf_query_set(struct scst_tmf *tmf)
{
	struct scst_scan scan = { .scope = &tmf->wait };
	unsigned long irq;

	spin_lock_irqsave(&scst_wait_lock, irq);
	scst_track_for_each(tmf->sess, scst_scan_cmd, &scan);
	spin_unlock_irqrestore(&scst_wait_lock, irq);
	scst_tmf_answer(tmf, scan.found ? SCST_TMF_SUCCEEDED : SCST_TMF_COMPLETE);
}

/* SAM-5 6.3.3: mode parameters back to their defaults, running again, and everybody is told. */
static void scst_reset_state(struct scst_device *dev)
{
	/* A full barrier: parts of copies are in the table by now, or will find it. */
	atomic_inc_return(&dev->resets);
	scst_ua_device(dev, SCST_UA_RESET, NULL);
	scst_reserve_end(dev, NULL);
	WRITE_ONCE(dev->wce_off, false);
	WRITE_ONCE(dev->d_sense, false);
	WRITE_ONCE(dev->swp, false);
	scst_gate_device(dev, SCST_GATE_WRITE_PROTECT, dev->read_only);
	scst_medium_reset(dev);
}

static void scst_tmf_reset_scan(struct scst_tmf *tmf)
{
	struct scst_scan scan = { .wait = &tmf->wait, .scope = &tmf->wait, .by = tmf->sess, .abort = true };
	unsigned long irq;
	u32 i;

	spin_lock_irqsave(&scst_wait_lock, irq);
	scst_wait_begin(&tmf->wait);
	if (tmf->wait.dev)
		scst_scan_device(tmf->wait.dev, &scan);
	for (i = 0; tmf->set && i < tmf->set->nr; i++)
		scst_scan_device(tmf->set->entry[i].dev, &scan);
	scst_tmf_marked(tmf);
	spin_unlock_irqrestore(&scst_wait_lock, irq);
}

/* The LUNs that the session sees; held. */
static struct scst_lunset *scst_session_lunset(struct scst_session *sess)
{
	const struct scst_view *view;
	struct scst_lunset *set = NULL;

	rcu_read_lock();
	do {
		view = rcu_dereference(sess->view);
	} while (view && view->set && !kref_get_unless_zero(&view->set->kref));
	if (view)
		set = view->set;
	rcu_read_unlock();
	return set;
}

/* Nobody resets what he can't see. */
static void scst_tmf_target_reset(struct scst_tmf *tmf)
{
	u32 i;

	tmf->set = scst_session_lunset(tmf->sess);
	if (!tmf->set) {
		scst_tmf_answer(tmf, SCST_TMF_COMPLETE);
		return;
	}
	tmf->wait.set = tmf->set;
	for (i = 0; i < tmf->set->nr; i++)
		scst_reset_state(tmf->set->entry[i].dev);
	scst_tmf_reset_scan(tmf);
}

static void scst_tmf_lun(struct scst_tmf *tmf)
{
	struct scst_nexus *nexus = scst_nexus_find(tmf->sess, tmf->lun);

	if (!nexus) {
		scst_tmf_answer(tmf, SCST_TMF_BAD_LUN);
		return;
	}
	switch (tmf->fn) {
	case SCST_TMF_LUN_RESET:
		tmf->wait.dev = nexus->dev;
		scst_reset_state(nexus->dev);
		scst_tmf_reset_scan(tmf);
		break;
	case SCST_TMF_QUERY_TASK_SET:
		tmf->wait.nexus = nexus;
		scst_tmf_query_set(tmf);
		break;
	default:
		/* To the command with the ACA attribute CLEAR ACA is an ABORT TASK (SAM-5 7.4). */
		tmf->wait.aca = tmf->fn == SCST_TMF_CLEAR_ACA;
		scst_tmf_session(tmf, nexus);
	}
	percpu_ref_put(&nexus->ref);
}

static void scst_tmf_nexus_reset(struct scst_tmf *tmf)
{
	scst_ua_session(tmf->sess, SCST_UA_NEXUS_LOSS);
	scst_reserve_lost_session(tmf->sess);
	scst_copy_forget(tmf->sess);
	scst_tmf_session(tmf, NULL);
}

/**
 * scst_tmf_submit() - a task management request has arrived
 * @tmf: sess, fn and what it needs are set; the core's until the driver's tmf_done()
 *
 * Process or softirq context.  On return all commands that it affects are marked; those that are submitted from here on are not.
 */
void scst_tmf_submit(struct scst_tmf *tmf)
{
	scst_assert_context(SCST_CTX_ATOMIC);
	trace_scst_tmf_submit(tmf);
	tmf->since = jiffies;
	if (tmf->fn == SCST_TMF_LUN_RESET)
		scst_session_count(tmf->sess, lun_resets);
	percpu_ref_get(&tmf->sess->ref);
	tmf->set = NULL;
	tmf->wait = (struct scst_wait) { .over = scst_tmf_over };
	switch (tmf->fn) {
	case SCST_TMF_ABORT_TASK:
	case SCST_TMF_QUERY_TASK:
		scst_tmf_task(tmf);
		break;
	case SCST_TMF_CLEAR_ACA:
		if (!scst_aca_offered(tmf->sess)) {
			scst_tmf_answer(tmf, SCST_TMF_NOT_SUPPORTED);
			break;
		}
		fallthrough;
	case SCST_TMF_ABORT_TASK_SET:
	case SCST_TMF_CLEAR_TASK_SET:
	case SCST_TMF_LUN_RESET:
	case SCST_TMF_QUERY_TASK_SET:
		scst_tmf_lun(tmf);
		break;
	case SCST_TMF_TARGET_RESET:
		scst_tmf_target_reset(tmf);
		break;
	case SCST_TMF_I_T_NEXUS_RESET:
		scst_tmf_nexus_reset(tmf);
		break;
	default:
		scst_tmf_answer(tmf, SCST_TMF_NOT_SUPPORTED);
	}
}
EXPORT_SYMBOL_GPL(scst_tmf_submit);

/* --- for others ------------------------------------------------------------------------------------------ */

static void scst_abort_scope(struct scst_session *sess, struct scst_wait *scope)
{
	struct scst_scan scan = { .scope = scope, .by = sess, .abort = true };
	unsigned long irq;

	spin_lock_irqsave(&scst_wait_lock, irq);
	scst_wait_seq++;
	scst_track_for_each(sess, scst_scan_cmd, &scan);
	spin_unlock_irqrestore(&scst_wait_lock, irq);
}

/* Everything of a session that is going.  Process context. */
void scst_abort_session(struct scst_session *sess)
{
	struct scst_wait scope = { };

	scst_abort_scope(sess, &scope);
}

/* Everything of a nexus whose access was revoked: its gate is closed.  Process context. */
void scst_abort_nexus(struct scst_nexus *nexus)
{
	struct scst_wait scope = { .nexus = nexus };

	scst_abort_scope(nexus->sess, &scope);
}

/**
 * scst_await_writes() - wait for the writes that a nexus has admitted
 * @wait: the nexus's; wait->over is called when the last has ended, under scst_wait_lock
 * @nexus: its gate for writes is closed, so that no more are admitted
 * @abort: abort them
 *
 * Process context.  A wait that is not over yet goes on with the later writes as well.
 */
void scst_await_writes(struct scst_wait *wait, struct scst_nexus *nexus, bool abort)
{
	struct scst_scan scan = { .wait = wait, .scope = wait, .by = nexus->sess, .abort = abort };
	unsigned long irq;

	spin_lock_irqsave(&scst_wait_lock, irq);
	if (!list_empty(&wait->entry))
		list_del(&wait->entry);
	wait->nexus = nexus;
	wait->writes = true;
	scst_wait_begin(wait);
	scst_track_for_each(nexus->sess, scst_scan_cmd, &scan);
	scst_wait_less(wait);
	spin_unlock_irqrestore(&scst_wait_lock, irq);
}

/* --- fences ------------------------------------------------------------------------------------------------ */

/**
 * scst_fence_begin() - a command is going to wait for others
 * @fence: new: its command, over() and room are set
 *
 * Process context.
 */
void scst_fence_begin(struct scst_fence *fence)
{
	spin_lock_irq(&scst_wait_lock);
	fence->left = 1;
	fence->nr = 0;
	fence->cmd->step_data = fence;
	set_bit(SCST_CMD_FENCING, &fence->cmd->flags);
	spin_unlock_irq(&scst_wait_lock);
}

/**
 * scst_fence_add() - wait for the commands of a nexus that a reservation excludes from now on
 * @fence: begun
 * @nexus: on its device's list; its gates are closed, so that no more are admitted
 * @abort: abort all that the nexus has, and wait for them; else wait for its writes
 *
 * Under the device's nexus_lock.  The command that waits is neither aborted nor waited for.  Other PERSISTENT RESERVE OUT
 * commands are aborted and not waited for: they may wait for it, and what they do is not done to the medium.  If it was
 * aborted itself it waits for nobody.
 */
void scst_fence_add(struct scst_fence *fence, struct scst_nexus *nexus, bool abort)
{
	const struct scst_cmd *by = fence->cmd;
	struct scst_fence_wait *entry;
	struct scst_wait scope = { .nexus = nexus, .writes = !abort };
	struct scst_scan scan = { .scope = &scope, .by = by->sess, .except = by, .abort = abort };
	unsigned long irq;

	lockdep_assert_held(&nexus->dev->nexus_lock);
	spin_lock_irqsave(&scst_wait_lock, irq);
	if (WARN_ON_ONCE(fence->nr == fence->room))
		goto out_unlock;
	entry = &fence->wait[fence->nr++];
	entry->fence = fence;
	entry->wait = (struct scst_wait){
		.over = scst_fence_wait_over, .nexus = nexus, .writes = !abort, .no_pr_out = true,
	};
	INIT_LIST_HEAD(&entry->wait.entry);
	scan.wait = &entry->wait;
	fence->left++;
	scst_wait_begin(&entry->wait);
	scst_track_for_each(nexus->sess, scst_scan_cmd, &scan);
	scst_wait_less(&entry->wait);
	if (scst_cmd_aborted(by))
		scst_fence_give_up(fence);
out_unlock:
	spin_unlock_irqrestore(&scst_wait_lock, irq);
}

/**
 * scst_fence_end() - all are counted
 * @fence: begun
 *
 * Process context.  Return: true: none is left, and it is the caller's; false: over() is called, or has been, and it may
 * be gone.
 */
bool scst_fence_end(struct scst_fence *fence)
{
	bool over;

	/* Those that it waits for may be held by others who wait for it. */
	scst_order_left(fence->cmd);
	spin_lock_irq(&scst_wait_lock);
	over = !--fence->left;
	if (over)
		clear_bit(SCST_CMD_FENCING, &fence->cmd->flags);
	spin_unlock_irq(&scst_wait_lock);
	return over;
}

/* Until all answers that are on their way are given.  Process context. */
void scst_tmf_flush(void)
{
	flush_workqueue(scst_tmf_wq);
}

int scst_tmf_init(void)
{
	scst_tmf_wq = alloc_workqueue("scst_tmf", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return scst_tmf_wq ? 0 : -ENOMEM;
}

void scst_tmf_exit(void)
{
	destroy_workqueue(scst_tmf_wq);
}
