// SPDX-License-Identifier: GPL-2.0-only
/*
 * PERSISTENT RESERVE IN and OUT: what the pure parts decide is brought into force.
 *
 * The state of a device is immutable and replaced whole, by jobs in a line and under nexus_lock; readers use RCU.  A
 * PERSISTENT RESERVE OUT command is such a job, on threads of the device's own that the back end can't hold up, so that who
 * hangs can be preempted.  Reading the file in which a state outlives a loss of power (pr-file.c) is another: so nobody has to
 * hold a lock while it is written.
 *
 * In one hold of nexus_lock the new state is switched to, the gates of all nexuses follow, the unit attentions are pending, and
 * commands that the reservation excludes from now on and that had passed before are counted (a fence, see tmf.c).  The
 * last of them answers: after GOOD none of them changes the medium.  Nobody waits in a thread, and who is aborted waits no
 * longer.
 */
#include "core.h"
#include "overhaul.h"
#include <linux/completion.h>
#include <linux/mm.h>

#define SCST_PR_THREADS		4
#define SCST_PR_MORE		8	/* nexuses that may come while memory is allocated */

enum scst_pr_in_action {
	SCST_PR_READ_KEYS,
	SCST_PR_READ_RESERVATION,
	SCST_PR_REPORT_CAPABILITIES,
	SCST_PR_READ_FULL_STATUS,
};

/* A state in force, or to be. */
struct scst_pr_state {
	struct rcu_head rcu;
	struct scst_pr pr;
};

/* A PERSISTENT RESERVE OUT command while it is being done. */
struct scst_pr_act {
	struct scst_cmd *cmd;
	struct scst_device *dev;
	struct scst_pr_nexus who;
	struct scst_pr_place place;
	struct scst_pr_request req;
	struct scst_pr_answer answer;
	u8 *list;
	struct scst_pr_port *ports;
	struct scst_pr *next;
	struct scst_fence *fence;	/* NULL: it excludes nobody */
};

static struct scst_pr_state *scst_pr_state_of(struct scst_pr *pr)
{
	return container_of(pr, struct scst_pr_state, pr);
}

/* Nothing registered, nothing reserved, nobody sees it; NULL: no memory.  Process context. */
struct scst_pr *scst_pr_new(u32 room)
{
	struct scst_pr_state *state;

	state = kvmalloc(offsetof(struct scst_pr_state, pr) + scst_pr_size(room), GFP_KERNEL);
	if (!state)
		return NULL;
	scst_pr_init(&state->pr, room);
	return &state->pr;
}

/* Nobody has seen it, or sees it any more.  Process context; NULL is allowed. */
void scst_pr_discard(struct scst_pr *pr)
{
	if (pr)
		kvfree(scst_pr_state_of(pr));
}

/* --- what is to be waited for ----------------------------------------------------------------- */

static void scst_pr_answer_fenced(struct scst_fence *fence)
{
	struct scst_cmd *cmd = fence->cmd;

	kvfree(fence);
	scst_cmd_good(cmd);
}

static void scst_pr_fence_job(struct scst_job *job)
{
	scst_pr_answer_fenced(scst_cmd_of_job(job)->step_data);
}

/* Under the lock of tmf.c. */
static void scst_pr_fence_over(struct scst_fence *fence)
{
	struct scst_cmd *cmd = fence->cmd;

	cmd->job.fn = scst_pr_fence_job;
	scst_threads_add(&cmd->dev->pr_threads, &cmd->job);
}

/* Whose reservation excludes others.  (Who ends a registration excludes nobody but itself.) */
static bool scst_pr_excludes(const struct scst_pr_request *req)
{
	return req->action == SCST_PR_RESERVE || req->action == SCST_PR_PREEMPT ||
	       req->action == SCST_PR_PREEMPT_AND_ABORT || req->action == SCST_PR_REGISTER_AND_MOVE ||
	       req->action == SCST_PR_REPLACE_LOST;
}

static struct scst_fence *scst_pr_fence_alloc(struct scst_pr_act *act)
{
	u32 room = READ_ONCE(act->dev->nr_nexuses) + SCST_PR_MORE;
	struct scst_fence *fence = kvzalloc(struct_size(fence, wait, room), GFP_KERNEL);

	if (!fence)
		return NULL;
	fence->room = room;
	fence->cmd = act->cmd;
	fence->over = scst_pr_fence_over;
	return fence;
}

/* --- into force ------------------------------------------------------------------------------- */

static void scst_pr_tell(struct scst_nexus *nexus, u8 told)
{
	if (told & SCST_PR_TOLD_PREEMPTED)
		set_bit(SCST_UA_RESERVATIONS_PREEMPTED, &nexus->gates);
	if (told & SCST_PR_TOLD_RELEASED)
		set_bit(SCST_UA_RESERVATIONS_RELEASED, &nexus->gates);
	if (told & SCST_PR_TOLD_UNREGISTERED)
		set_bit(SCST_UA_REGISTRATIONS_PREEMPTED, &nexus->gates);
}

/* PREEMPT AND ABORT of the faulted nexus, with the ACA attribute (SAM-5 5.9.5). */
static bool scst_pr_clears_own_aca(const struct scst_pr_act *act, const struct scst_nexus *nexus)
{
	return act->cmd && act->cmd->nexus == nexus && act->req.action == SCST_PR_PREEMPT_AND_ABORT &&
	       test_bit(SCST_CMD_ACA, &act->cmd->flags);
}

/* The gates first: nothing is told that is not so yet. */
static void scst_pr_switch_nexus(struct scst_pr_act *act, const struct scst_pr *old, struct scst_nexus *nexus)
{
	bool stopped = scst_access_update(nexus) & BIT(SCST_ACCESS_WRITE), abort;
	struct scst_pr_nexus who;
	u32 registrant;
	u8 told;

	scst_reserve_who(&who, nexus->sess);
	registrant = scst_pr_find(old, &who);
	told = registrant == SCST_PR_NOBODY ? 0 : act->answer.told[registrant];
	abort = told & SCST_PR_TOLD_ABORT;
	if (abort)
		nexus->prevents = false;
	if (act->fence && (stopped || abort))
		scst_fence_add(act->fence, nexus, abort);
	if (abort || scst_pr_clears_own_aca(act, nexus))
		scst_aca_clear(nexus);
	scst_pr_tell(nexus, told);
}

static void scst_pr_switch(struct scst_pr_act *act, const struct scst_pr *old)
{
	struct scst_device *dev = act->dev;
	struct scst_nexus *nexus;

	lockdep_assert_held(&dev->nexus_lock);
	if (act->fence)
		scst_fence_begin(act->fence);
	if (act->answer.changed) {
		rcu_assign_pointer(dev->pr, act->next);
		act->next = NULL;
	}
	list_for_each_entry(nexus, &dev->nexuses, dev_entry)
		scst_pr_switch_nexus(act, old, nexus);
}

/* It is not in force any more. */
static void scst_pr_drop(struct scst_pr *pr)
{
	struct scst_pr_state *state = scst_pr_state_of(pr);

	if (pr)
		kvfree_rcu(state, rcu);
}

/* Only the line changes it. */
static struct scst_pr *scst_pr_in_force(struct scst_device *dev)
{
	return rcu_dereference_protected(dev->pr, true);
}

/* -ERESTART: there are more nexuses than there is memory for; -EBADE: somebody has been faster with RESERVE. */
static int scst_pr_publish(struct scst_pr_act *act, const struct scst_pr *old)
{
	struct scst_device *dev = act->dev;
	struct scst_pr *was = scst_pr_in_force(dev);
	int ret = 0;

	spin_lock_bh(&dev->nexus_lock);
	/* A LUN that was taken away may be one of a device that has been disabled, and enabled anew. */
	if (test_bit(SCST_GATE_REVOKED, &act->cmd->nexus->gates))
		ret = -ENODEV;
	else if (scst_access_now(act->cmd->nexus, SCST_ACCESS_PR_OUT) == SCST_ACCESS_CONFLICT)
		ret = -EBADE;
	else if (act->fence && dev->nr_nexuses > act->fence->room)
		ret = -ERESTART;
	else
		scst_pr_switch(act, old);
	spin_unlock_bh(&dev->nexus_lock);
	if (!ret && act->answer.changed)
		scst_pr_drop(was);
	return ret;
}

/* --- PERSISTENT RESERVE OUT --------------------------------------------------------------------- */

static void scst_pr_forget_fence(struct scst_pr_act *act)
{
	kvfree(act->fence);
	act->fence = NULL;
}

/*
 * Who reserves again what he has changes nothing, but may have given up waiting for what was excluded when he did it
 * first.
 */
static bool scst_pr_takes_effect(const struct scst_pr_act *act)
{
	return act->answer.verdict.status == SCST_PR_GOOD && (act->answer.changed || act->fence);
}

static int scst_pr_get_memory(struct scst_pr_act *act, const struct scst_pr *old)
{
	kvfree(act->answer.told);
	act->answer.told = kvmalloc(old->nr ?: 1, GFP_KERNEL);
	act->next = scst_pr_new(scst_pr_room(old, &act->place, &act->req));
	if (!act->answer.told || !act->next)
		return -ENOMEM;
	if (!scst_pr_excludes(&act->req))
		return 0;
	act->fence = scst_pr_fence_alloc(act);
	return act->fence ? 0 : -ENOMEM;
}

/* Was it in the file, or is it to be? */
static bool scst_pr_outlives(const struct scst_pr_act *act, const struct scst_pr *old)
{
	return act->dev->pr_store && act->answer.changed && (act->next->aptpl || old->aptpl || old->lost);
}

/* Stable before it is in force, and in force before it is answered. */
static int scst_pr_commit(struct scst_pr_act *act, const struct scst_pr *old,
			  int (*publish)(struct scst_pr_act *act, const struct scst_pr *old))
{
	bool outlives = scst_pr_outlives(act, old);
	int ret = outlives ? scst_pr_file_write(act->dev, act->next) : 0;

	ret = ret ?: publish(act, old);
	/* What is refused is not to come true by a loss of power. */
	if (ret && outlives)
		scst_pr_file_write(act->dev, old);
	return ret;
}

static int scst_pr_try(struct scst_pr_act *act)
{
	const struct scst_pr *old = scst_pr_in_force(act->dev) ?: &scst_pr_nothing;
	int ret = scst_pr_get_memory(act, old);
	bool effect;

	ret = ret ?: scst_pr_out(old, &act->place, &act->req, act->next, &act->answer);
	effect = !ret && scst_pr_takes_effect(act);
	if (effect)
		ret = scst_pr_commit(act, old, scst_pr_publish);
	if (ret || !effect)
		scst_pr_forget_fence(act);
	scst_pr_discard(act->next);
	act->next = NULL;
	return ret;
}

static int scst_pr_change(struct scst_pr_act *act)
{
	int ret;

	do {
		ret = scst_pr_try(act);
	} while (ret == -ERESTART);
	return ret;
}

/* The ports are asked for only where they matter. */
static int scst_pr_find_place(struct scst_pr_act *act)
{
	const struct scst_pr_request *req = &act->req;
	int nr = 0;

	scst_reserve_who(&act->who, act->cmd->sess);
	if (req->all_tg_pt || req->spec_i_pt || req->action == SCST_PR_REGISTER_AND_MOVE)
		nr = scst_device_ports(act->dev, &act->ports);
	if (nr < 0)
		return nr;
	act->place = (struct scst_pr_place){
		.who = &act->who, .ports = act->ports, .nr_ports = nr, .max = SCST_PR_MAX,
		.durable = act->dev->pr_store,
	};
	return 0;
}

/* A negative errno, or 0: the verdict is in act->answer. */
static int scst_pr_act(struct scst_pr_act *act)
{
	struct scst_cmd *cmd = act->cmd;

	act->answer.verdict = (struct scst_pr_verdict){ .bit = -1, .byte = -1 };
	act->list = kvmalloc(cmd->len ?: 1, GFP_KERNEL);
	if (!act->list)
		return -ENOMEM;
	if (cmd->len)
		scst_cmd_fetch(cmd, act->list, cmd->len);
	if (!scst_pr_parse(&act->req, &act->answer.verdict, cmd->cdb, act->list, cmd->len))
		return 0;
	return scst_pr_find_place(act) ?: scst_pr_change(act);
}

static void scst_pr_refused(struct scst_cmd *cmd, const struct scst_pr_verdict *verdict)
{
	if (verdict->status == SCST_PR_CONFLICT)
		scst_cmd_conflict(cmd);
	else if (verdict->byte < 0)
		scst_cmd_sense(cmd, verdict->sense);
	else if (verdict->in_cdb)
		scst_cmd_invalid_cdb(cmd, verdict->byte, verdict->bit);
	else
		scst_cmd_invalid_list(cmd, verdict->byte, verdict->bit);
	scst_cmd_respond(cmd);
}

static void scst_pr_serve(struct scst_pr_act *act)
{
	struct scst_cmd *cmd = act->cmd;
	int ret = scst_pr_act(act);

	kvfree(act->list);
	kvfree(act->ports);
	kvfree(act->answer.told);
	if (ret) {
		scst_cmd_errno(cmd, ret);
		scst_cmd_respond(cmd);
	} else if (act->answer.verdict.status != SCST_PR_GOOD) {
		scst_pr_refused(cmd, &act->answer.verdict);
	} else if (!act->fence) {
		scst_cmd_good(cmd);
	} else if (scst_fence_end(act->fence)) {
		scst_pr_answer_fenced(act->fence);
	}
}

/* --- what is kept with it ---------------------------------------------------------------------------- */

/* A copy of the state in force, to be changed and kept.  -ENODEV: there is no place for it, or what is there could not be read. */
static struct scst_pr *scst_pr_changed(struct scst_device *dev, const struct scst_pr *old)
{
	struct scst_pr *next;

	/* Nothing is written over what could not be read. */
	if (!dev->pr_store || old->lost)
		return ERR_PTR(-ENODEV);
	next = scst_pr_new(old->nr);
	if (!next)
		return ERR_PTR(-ENOMEM);
	scst_pr_copy(next, old);
	return next;
}

/* In force, and everybody else is told.  -ENODEV, -EBADE: as scst_pr_publish() */
static int scst_pr_publish_ident(struct scst_cmd *cmd, struct scst_pr *next)
{
	struct scst_device *dev = cmd->dev;
	int ret = 0;

	spin_lock_bh(&dev->nexus_lock);
	if (test_bit(SCST_GATE_REVOKED, &cmd->nexus->gates)) {
		ret = -ENODEV;
	} else if (scst_access_now(cmd->nexus, SCST_ACCESS_WRITE) != SCST_ACCESS_PASS) {
		ret = -EBADE;
	} else {
		rcu_assign_pointer(dev->pr, next);
		scst_ua_assign(dev, SCST_UA_IDENTIFIER_CHANGED, cmd->nexus);
	}
	spin_unlock_bh(&dev->nexus_lock);
	return ret;
}

/**
 * scst_pr_keep_ident() - replace a device's identifying information: stable before it is in force
 * @cmd: who asks for it
 * @ident: what it is to be
 *
 * In the line of the device's PERSISTENT RESERVE OUT commands.  Return: 0 or a negative errno: nothing has changed.
 */
int scst_pr_keep_ident(struct scst_cmd *cmd, const struct scst_ident *ident)
{
	struct scst_device *dev = cmd->dev;
	struct scst_pr *was = scst_pr_in_force(dev);
	const struct scst_pr *old = was ?: &scst_pr_nothing;
	struct scst_pr *next = scst_pr_changed(dev, old);
	int ret;

	if (IS_ERR(next))
		return PTR_ERR(next);
	next->ident = *ident;
	ret = scst_pr_file_write(dev, next) ?: scst_pr_publish_ident(cmd, next);
	if (!ret) {
		scst_pr_drop(was);
		return 0;
	}
	scst_pr_file_write(dev, old);
	scst_pr_discard(next);
	return ret;
}

/**
 * scst_pr_keep_undone() - what is undone with a device's medium: stable before it is in force
 * @dev: the device
 * @undone: enum scst_undone
 *
 * In the line of the device's PERSISTENT RESERVE OUT commands.  Return: 0 or a negative errno: nothing has changed.
 */
int scst_pr_keep_undone(struct scst_device *dev, u8 undone)
{
	struct scst_pr *was = scst_pr_in_force(dev);
	const struct scst_pr *old = was ?: &scst_pr_nothing;
	struct scst_pr *next;
	int ret;

	if (old->undone == undone)
		return 0;
	next = scst_pr_changed(dev, old);
	if (IS_ERR(next))
		return PTR_ERR(next);
	next->undone = undone;
	ret = scst_pr_file_write(dev, next);
	if (ret) {
		scst_pr_file_write(dev, old);
		scst_pr_discard(next);
		return ret;
	}
	spin_lock_bh(&dev->nexus_lock);
	rcu_assign_pointer(dev->pr, next);
	spin_unlock_bh(&dev->nexus_lock);
	scst_pr_drop(was);
	return 0;
}

/* Of the state in force.  Any context. */
u8 scst_pr_undone(const struct scst_device *dev)
{
	u8 undone;

	rcu_read_lock();
	undone = scst_reserve_persistent(dev)->undone;
	rcu_read_unlock();
	return undone;
}

/* --- the line ---------------------------------------------------------------------------------------- */

/* True: what is reserved has not been read yet, the command has been answered. */
static bool scst_pr_unknown(struct scst_cmd *cmd)
{
	if (!READ_ONCE(cmd->dev->pr_unread))
		return false;
	scst_cmd_sense(cmd, SCST_SENSE_BECOMING_READY);
	scst_cmd_respond(cmd);
	return true;
}

static void scst_pr_out_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	struct scst_pr_act act = { .cmd = cmd, .dev = cmd->dev };

	if (scst_pr_unknown(cmd))
		return;
	if (scst_cmd_aborted(cmd))
		scst_cmd_respond(cmd);
	else
		scst_pr_serve(&act);
}

/* All of the list has to be there; how long it has to be is for scst_pr_parse() to say. */
bool scst_pr_prepare_out(struct scst_cmd *cmd)
{
	if (cmd->xfer_len <= cmd->len)
		return true;
	scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	return false;
}

/**
 * scst_pr_execute_out() - PERSISTENT RESERVE OUT (SPC-4 6.16)
 * @cmd: the command
 */
void scst_pr_execute_out(struct scst_cmd *cmd)
{
	struct scst_device *dev = cmd->dev;

	scst_cmd_to_line(cmd, &dev->pr_line, &dev->pr_threads, scst_pr_out_job);
}

/* --- PERSISTENT RESERVE IN ------------------------------------------------------------------------ */

/* Length of the whole; 0: what it asks for is lost.  Under RCU. */
static u32 scst_pr_report(const struct scst_cmd *cmd, const struct scst_pr *pr, u8 *buf)
{
	u8 action = cmd->cdb[1] & 0x1f;

	if (action == SCST_PR_REPORT_CAPABILITIES)
		return scst_pr_report_capabilities(pr, READ_ONCE(cmd->dev->pr_store), buf, cmd->len);
	if (pr->lost)
		return 0;
	switch (action) {
	case SCST_PR_READ_KEYS:
		return scst_pr_read_keys(pr, buf, cmd->len);
	case SCST_PR_READ_RESERVATION:
		return scst_pr_read_reservation(pr, buf, cmd->len);
	default:
		return scst_pr_read_full_status(pr, buf, cmd->len);
	}
}

static void scst_pr_in_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	u8 *buf;
	u32 len;

	if (scst_pr_unknown(cmd))
		return;
	buf = kvmalloc(cmd->len ?: 1, GFP_KERNEL);
	if (!buf) {
		scst_cmd_errno(cmd, -ENOMEM);
		scst_cmd_respond(cmd);
		return;
	}
	rcu_read_lock();
	len = scst_pr_report(cmd, scst_reserve_persistent(cmd->dev), buf);
	rcu_read_unlock();
	if (len) {
		scst_cmd_reply(cmd, buf, len);
	} else {
		scst_cmd_sense(cmd, SCST_PR_SENSE_LOST);
		scst_cmd_respond(cmd);
	}
	kvfree(buf);
}

/**
 * scst_pr_execute_in() - PERSISTENT RESERVE IN (SPC-4 6.15)
 * @cmd: the command
 */
void scst_pr_execute_in(struct scst_cmd *cmd)
{
	scst_cmd_to_threads_of(cmd, &cmd->dev->pr_threads, scst_pr_in_job);
}

/* --- the device ------------------------------------------------------------------------------------ */

/* Something that is done in the line, and waited for. */
struct scst_pr_task {
	struct scst_job job;
	struct completion done;
	struct scst_device *dev;
	const struct scst_opening *opening;
	char *path;
	int ret;
};

static int scst_pr_do_in_line(struct scst_pr_task *task, void (*fn)(struct scst_job *job))
{
	struct scst_device *dev = task->dev;

	might_sleep();
	task->job.fn = fn;
	init_completion(&task->done);
	scst_line_add(&dev->pr_line, &dev->pr_threads, &task->job);
	wait_for_completion_state(&task->done, TASK_IDLE);
	return task->ret;
}

/* Into force, without anybody's having asked for it; nobody has reserved anything meanwhile: scst_reserve() sees to it. */
static void scst_pr_begin_with(struct scst_device *dev, struct scst_pr *pr)
{
	struct scst_pr *was = scst_pr_in_force(dev);
	struct scst_nexus *nexus;

	spin_lock_bh(&dev->nexus_lock);
	rcu_assign_pointer(dev->pr, pr);
	WRITE_ONCE(dev->pr_unread, false);
	list_for_each_entry(nexus, &dev->nexuses, dev_entry)
		scst_access_update(nexus);
	scst_overhaul_settle(dev);
	spin_unlock_bh(&dev->nexus_lock);
	scst_pr_drop(was);
}

static void scst_pr_load_job(struct scst_job *job)
{
	struct scst_pr_task *task = container_of(job, struct scst_pr_task, job);
	struct scst_device *dev = task->dev;
	struct scst_pr *pr = NULL;

	scst_pr_file_close(dev);
	if (task->path)
		pr = scst_pr_file_load(dev, task->opening, task->path);
	task->ret = PTR_ERR_OR_ZERO(pr);
	if (!task->ret)
		scst_pr_begin_with(dev, pr);
	complete(&task->done);
}

/**
 * scst_pr_load() - what is reserved on a device that is opened
 * @dev: being opened; nothing happens if it has not been disabled since the last time
 * @opening: on whose behalf
 * @path: the file, or NULL: nothing outlives a loss of power
 *
 * By the job that owns the state.  Waits as long as the file does.  Return: 0 or a negative errno.
 */
int scst_pr_load(struct scst_device *dev, const struct scst_opening *opening, char *path)
{
	struct scst_pr_task task = { .dev = dev, .opening = opening, .path = path };

	return READ_ONCE(dev->pr_unread) ? scst_pr_do_in_line(&task, scst_pr_load_job) : 0;
}

static void scst_pr_unload_job(struct scst_job *job)
{
	struct scst_pr_task *task = container_of(job, struct scst_pr_task, job);

	WRITE_ONCE(task->dev->pr_unread, true);
	scst_pr_file_close(task->dev);
	complete(&task->done);
}

/* Let go of the file; it is read again before anybody asks.  By the job that owns the state. */
void scst_pr_unload(struct scst_device *dev)
{
	struct scst_pr_task task = { .dev = dev };

	if (READ_ONCE(dev->pr_store))
		scst_pr_do_in_line(&task, scst_pr_unload_job);
}

/* The administrator has everything cleared. */
struct scst_pr_clearing {
	struct scst_job job;
	struct scst_device *dev;
	struct scst_request *req;
	u32 generation;		/* of what he has seen */
};

static int scst_pr_publish_cleared(struct scst_pr_act *act, const struct scst_pr *old)
{
	struct scst_pr *was = scst_pr_in_force(act->dev);

	spin_lock_bh(&act->dev->nexus_lock);
	scst_pr_switch(act, old);
	spin_unlock_bh(&act->dev->nexus_lock);
	scst_pr_drop(was);
	return 0;
}

static int scst_pr_clear_from(struct scst_device *dev, const struct scst_pr *old)
{
	struct scst_pr_act act = {
		.dev = dev,
		.next = scst_pr_new(0),
		.answer = { .changed = true, .told = kvmalloc(old->nr ?: 1, GFP_KERNEL) },
	};
	int ret = -ENOMEM;

	if (act.next && act.answer.told) {
		scst_pr_wipe(old, act.next, act.answer.told);
		ret = scst_pr_commit(&act, old, scst_pr_publish_cleared);
	}
	kvfree(act.answer.told);
	scst_pr_discard(act.next);
	return ret;
}

static void scst_pr_clear_job(struct scst_job *job)
{
	struct scst_pr_clearing *clearing = container_of(job, struct scst_pr_clearing, job);
	struct scst_device *dev = clearing->dev;
	const struct scst_pr *old = scst_pr_in_force(dev) ?: &scst_pr_nothing;
	int ret;

	if (READ_ONCE(dev->pr_unread))
		ret = -ESHUTDOWN;
	else if (old->generation != clearing->generation)
		ret = -ESTALE;
	else
		ret = scst_pr_clear_from(dev, old);
	scst_request_answer(&clearing->req, ret);
	kfree(clearing);
	scst_device_put(dev);
}

/**
 * scst_pr_clear() - end all registrations and the persistent reservation; what was lost is known again: nothing
 * @dev: the device
 * @generation: PRGENERATION of the state that is to be cleared
 * @until: to wait until (jiffies)
 *
 * In a store of the device's; a request and a killable wait for what comes of it.  The registrants are told as by the command
 * CLEAR.
 *
 * Return: 0, -ESTALE if it is not that state any more, -ESHUTDOWN if what is reserved is not known, because the device is
 * disabled or its file has not been read; what writing the file said; or as scst_device_set_enabled().
 */
int scst_pr_clear(struct scst_device *dev, u32 generation, u64 until)
{
	struct scst_pr_clearing *clearing = kzalloc(sizeof(*clearing), GFP_KERNEL);
	struct scst_request *req = scst_request_alloc();
	int ret;

	if (!clearing || !req) {
		kfree(clearing);
		kfree(req);
		return -ENOMEM;
	}
	clearing->job.fn = scst_pr_clear_job;
	clearing->dev = dev;
	clearing->generation = generation;
	clearing->req = scst_request_get(req);
	scst_device_get(dev);
	scst_line_add(&dev->pr_line, &dev->pr_threads, &clearing->job);
	ret = scst_request_wait(req, &dev->group.cg_item, until);
	scst_request_put(req);
	return ret == -ETIMEDOUT ? -EINPROGRESS : ret;
}

/* Fields of a new device that are this file's. */
void scst_pr_setup(struct scst_device *dev)
{
	dev->pr_unread = true;
	scst_threads_init(&dev->pr_threads, dev->name, SCST_PR_THREADS);
	scst_line_init(&dev->pr_line);
}

/* Nobody has a reference to the device any more.  Process context. */
void scst_pr_free(struct scst_device *dev)
{
	scst_threads_stop(&dev->pr_threads);
	scst_pr_file_close(dev);
	scst_pr_discard(scst_pr_in_force(dev));
}
