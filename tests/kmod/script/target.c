// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver's half of task management, sessions and targets.
 */
#include "script.h"
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/slab.h>

DEFINE_MUTEX(script_mutex);
LIST_HEAD(script_targets);
DEFINE_XARRAY_FLAGS(script_sessions, XA_FLAGS_LOCK_IRQ);

/* --- settings ---------- */

static struct scst_target_limits script_limits = { .node = NUMA_NO_NODE };
module_param_named(max_xfer, script_limits.max_xfer, uint, 0644);
module_param_named(max_segs, script_limits.max_segs, uint, 0644);
module_param_named(max_seg_len, script_limits.max_seg_len, uint, 0644);
module_param_named(cmds, script_limits.cmds, uint, 0644);
module_param_named(dma_mask, script_limits.dma_mask, ullong, 0644);
module_param_named(node, script_limits.node, int, 0644);
module_param_named(stable, script_limits.stable, bool, 0644);
MODULE_PARM_DESC(max_xfer, "Limits of targets made from now on: see struct scst_target_limits");

static int script_enable_error;
module_param_named(enable_error, script_enable_error, int, 0644);
MODULE_PARM_DESC(enable_error, "What enable() returns");

/* --- task management, sessions, targets ---------- */

static void script_tmf_done(struct scst_tmf *tmf)
{
	struct script_tmf *st = container_of(tmf, struct script_tmf, tmf);

	script_promise(script_in_process(), SCRIPT_BAD_CONTEXT);
	if (xchg(&st->done, 1)) {
		script_promise(false, SCRIPT_DOUBLE_TMF);
		return;
	}
	script_count(SCRIPT_TMFS_DONE);
	if (!st->quiet)
		script_tell(SCRIPT_TMF_DONE, st->id, st->session, tmf->response, 0);
	llist_add(&st->dead, &script_dead_tmfs);
	script_reap_later();
}

static void script_session_gone(struct scst_session *sess)
{
	struct script_session *ss = sess->driver_data;

	script_promise(script_may_sleep(), SCRIPT_BAD_CONTEXT);
	xa_erase_irq(&script_sessions, ss->number);
	/* Calls that have returned a moment ago. */
	while (atomic_read(&ss->users))
		msleep(1);
	mutex_lock(&script_mutex);
	list_del(&ss->entry);
	mutex_unlock(&script_mutex);
	script_count(SCRIPT_SESSIONS_GONE);
	script_tell(SCRIPT_GONE, 0, ss->number, 0, 0);
	kvfree(ss);
}

static void script_luns_changed(struct scst_session *sess)
{
	struct script_session *ss = sess->driver_data;

	script_tell(SCRIPT_LUNS_CHANGED, 0, ss->number, 0, 0);
}

/* Once per session.  Under script_mutex. */
void script_session_close(struct script_session *ss)
{
	bool first;

	lockdep_assert_held(&script_mutex);
	xa_lock_irq(&script_sessions);
	first = !ss->closing;
	ss->closing = true;
	xa_unlock_irq(&script_sessions);
	if (first)
		scst_session_close(ss->sess);
}

static int script_init_target(struct scst_target *tgt)
{
	struct script_target *st = script_target_of(tgt);

	script_promise(script_may_sleep(), SCRIPT_BAD_CONTEXT);
	tgt->limits = script_limits;
	INIT_LIST_HEAD(&st->sessions);
	mutex_lock(&script_mutex);
	list_add(&st->entry, &script_targets);
	mutex_unlock(&script_mutex);
	return 0;
}

static void script_free_target(struct scst_target *tgt)
{
	script_promise(script_may_sleep(), SCRIPT_BAD_CONTEXT);
	mutex_lock(&script_mutex);
	list_del(&script_target_of(tgt)->entry);
	mutex_unlock(&script_mutex);
}

static int script_enable(struct scst_target *tgt)
{
	script_promise(script_may_sleep(), SCRIPT_BAD_CONTEXT);
	if (script_enable_error)
		return script_enable_error;
	mutex_lock(&script_mutex);
	script_promise(!script_target_of(tgt)->open, SCRIPT_BAD_STATE);
	script_target_of(tgt)->open = true;
	mutex_unlock(&script_mutex);
	return 0;
}

static void script_disable(struct scst_target *tgt)
{
	struct script_target *st = script_target_of(tgt);
	struct script_session *ss;

	script_promise(script_may_sleep(), SCRIPT_BAD_CONTEXT);
	mutex_lock(&script_mutex);
	script_promise(st->open, SCRIPT_BAD_STATE);
	st->open = false;
	list_for_each_entry(ss, &st->sessions, entry)
		script_session_close(ss);
	mutex_unlock(&script_mutex);
}

const struct scst_target_driver script_driver = {
	.owner		= THIS_MODULE,
	.name		= "script",
	.protocol	= SCST_PROTOCOL_NONE,
	.target_size	= sizeof(struct script_target),
	.init		= script_init_target,
	.free		= script_free_target,
	.enable		= script_enable,
	.disable	= script_disable,
	.receive_data	= script_receive_data,
	.send_response	= script_send_response,
	.release	= script_release,
	.abort		= script_abort,
	.tmf_done	= script_tmf_done,
	.session_gone	= script_session_gone,
	.luns_changed	= script_luns_changed,
};

struct scst_target_driver script_port_driver;
