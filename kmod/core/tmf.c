// SPDX-License-Identifier: GPL-2.0-only
/*
 * Task management functions (SAM-5 clause 7).
 *
 * A command that may take long is on its session's list from before the handler sees it until its
 * release.  A function marks the commands it affects under the list's lock, then waits until
 * none that is marked is left: only then the medium can't change any more.  Commands that
 * are on no list finish in their submitter's context and never change the medium.
 */
#include "core.h"
#include <linux/sched.h>
#include <linux/wait.h>

struct workqueue_struct *scst_tmf_wq;
DECLARE_WAIT_QUEUE_HEAD(scst_quiet);

/* Which commands: all conditions that are set. */
struct scst_tmf_scope {
	const struct scst_nexus *nexus;
	const struct scst_device *dev;
	u64 tag;
	bool by_tag;
	bool mark;		/* mark them, or count the marked ones */
	unsigned int found;
};

static bool scst_tmf_affects(const struct scst_tmf_scope *scope, const struct scst_cmd *cmd)
{
	return (!scope->nexus || cmd->nexus == scope->nexus) &&
	       (!scope->dev || cmd->dev == scope->dev) &&
	       (!scope->by_tag || cmd->tag == scope->tag) &&
	       (scope->mark || scst_cmd_aborted(cmd));
}

static void scst_tmf_scan(struct scst_session *sess, struct scst_tmf_scope *scope)
{
	struct scst_cmd *cmd;
	int cpu;

	for_each_possible_cpu(cpu) {
		struct scst_track *track = &per_cpu_ptr(sess->pcpu, cpu)->track;

		spin_lock_irq(&track->lock);
		list_for_each_entry(cmd, &track->cmds, track) {
			if (!scst_tmf_affects(scope, cmd))
				continue;
			if (scope->mark)
				set_bit(SCST_CMD_ABORTED, &cmd->flags);
			scope->found++;
		}
		spin_unlock_irq(&track->lock);
	}
}

static void scst_tmf_scan_nexus(struct scst_nexus *nexus, void *arg)
{
	struct scst_tmf_scope *scope = arg;

	scope->nexus = nexus;
	scst_tmf_scan(nexus->sess, scope);
}

static unsigned int scst_tmf_scan_device(struct scst_device *dev, bool mark)
{
	struct scst_tmf_scope scope = { .dev = dev, .mark = mark };

	scst_device_for_each_nexus(dev, scst_tmf_scan_nexus, &scope);
	return scope.found;
}

static unsigned int scst_tmf_scan_session(struct scst_session *sess, struct scst_tmf_scope scope, bool mark)
{
	scope.mark = mark;
	scst_tmf_scan(sess, &scope);
	return scope.found;
}

/* Mark everything of a session that is going. */
void scst_abort_session(struct scst_session *sess)
{
	scst_tmf_scan_session(sess, (struct scst_tmf_scope){}, true);
}

static enum scst_tmf_response scst_tmf_abort(struct scst_session *sess, struct scst_tmf_scope scope)
{
	unsigned int marked = scst_tmf_scan_session(sess, scope, true);

	wait_event_idle(scst_quiet, !scst_tmf_scan_session(sess, scope, false));
	return marked || !scope.by_tag ? SCST_TMF_COMPLETE : SCST_TMF_NO_TASK;
}

/*
 * SAM-5 6.3.3: commands of all initiators, mode parameters back to their defaults, everybody is told: before
 * waiting, because the reset has happened for whatever comes from here on, and before looking for commands, so
 * that one which was admitted earlier and gets on its list later finds that it was told.
 */
static void scst_tmf_reset_device(struct scst_device *dev)
{
	scst_ua_device(dev, SCST_UA_RESET, NULL);
	scst_tmf_scan_device(dev, true);
	dev->wce = dev->volatile_cache;
	dev->d_sense = false;
	dev->swp = false;
	wait_event_idle(scst_quiet, !scst_tmf_scan_device(dev, false));
}

static struct scst_nexus *scst_tmf_hold_nexus(struct scst_session *sess, u32 lun)
{
	const struct scst_view_entry *entry;
	struct scst_nexus *nexus = NULL;

	rcu_read_lock();
	entry = scst_view_find(rcu_dereference(sess->view), lun);
	if (entry && percpu_ref_tryget(&entry->nexus->ref))
		nexus = entry->nexus;
	rcu_read_unlock();
	return nexus;
}

static enum scst_tmf_response scst_tmf_on_lun(struct scst_tmf *tmf)
{
	struct scst_nexus *nexus = scst_tmf_hold_nexus(tmf->sess, tmf->lun);

	if (!nexus)
		return SCST_TMF_BAD_LUN;
	if (tmf->fn == SCST_TMF_LUN_RESET)
		scst_tmf_reset_device(nexus->dev);
	else
		scst_tmf_abort(tmf->sess, (struct scst_tmf_scope){ .nexus = nexus });
	percpu_ref_put(&nexus->ref);
	return SCST_TMF_COMPLETE;
}

/* The lowest LUN from @lun on, or SCST_LUN_INVALID. */
static u32 scst_tmf_next_lun(struct scst_session *sess, u32 lun)
{
	const struct scst_view *view;
	u32 i, next = SCST_LUN_INVALID;

	rcu_read_lock();
	view = rcu_dereference(sess->view);
	for (i = 0; view && i < view->nr && next == SCST_LUN_INVALID; i++)
		if (view->entry[i].lun >= lun)
			next = view->entry[i].lun;
	rcu_read_unlock();
	return next;
}

static enum scst_tmf_response scst_tmf_target_reset(struct scst_tmf *tmf)
{
	struct scst_nexus *nexus;
	u32 lun;

	for (lun = scst_tmf_next_lun(tmf->sess, 0); lun != SCST_LUN_INVALID;
	     lun = scst_tmf_next_lun(tmf->sess, lun + 1)) {
		nexus = scst_tmf_hold_nexus(tmf->sess, lun);
		if (!nexus)
			continue;
		scst_tmf_reset_device(nexus->dev);
		percpu_ref_put(&nexus->ref);
	}
	return SCST_TMF_COMPLETE;
}

static enum scst_tmf_response scst_tmf_execute(struct scst_tmf *tmf)
{
	switch (tmf->fn) {
	case SCST_TMF_ABORT_TASK:
		return scst_tmf_abort(tmf->sess, (struct scst_tmf_scope){ .tag = tmf->tag, .by_tag = true });
	case SCST_TMF_TARGET_RESET:
		return scst_tmf_target_reset(tmf);
	default:
		return scst_tmf_on_lun(tmf);
	}
}

static void scst_tmf_work(struct work_struct *work)
{
	struct scst_tmf *tmf = container_of(work, struct scst_tmf, work);
	struct scst_session *sess = tmf->sess;

	tmf->response = scst_tmf_execute(tmf);
	sess->tgt->driver->tmf_done(tmf);
	percpu_ref_put(&sess->ref);
}

/**
 * scst_tmf_submit() - a task management request has arrived
 * @tmf: sess, fn and what it needs are set; the core's until the driver's tmf_done()
 *
 * Any context.
 */
void scst_tmf_submit(struct scst_tmf *tmf)
{
	percpu_ref_get(&tmf->sess->ref);
	INIT_WORK(&tmf->work, scst_tmf_work);
	queue_work(scst_tmf_wq, &tmf->work);
}
EXPORT_SYMBOL_GPL(scst_tmf_submit);
