// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sessions: I_T nexuses from login to logout.
 *
 * Who holds sess->ref: each nexus, and each command that found none.  The target driver's
 * own hold ends in scst_session_unregister(), which waits for the rest and frees.
 */
#include "core.h"
#include <linux/idr.h>
#include <linux/sched.h>

static DEFINE_IDA(scst_session_ids);

static void scst_session_release(struct percpu_ref *ref)
{
	complete(&container_of(ref, struct scst_session, ref)->gone);
}

static void scst_session_free(struct scst_session *sess)
{
	ida_free(&scst_session_ids, sess->id);
	percpu_ref_exit(&sess->ref);
	free_percpu(sess->pcpu);
	scst_target_put(sess->tgt);
	kfree(sess);
	atomic_dec(&scst_objects[SCST_OBJ_SESSIONS]);
}

static int scst_session_alloc_pcpu(struct scst_session *sess)
{
	int cpu;

	sess->pcpu = alloc_percpu(struct scst_session_pcpu);
	if (!sess->pcpu)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		struct scst_track *track = &per_cpu_ptr(sess->pcpu, cpu)->track;

		spin_lock_init(&track->lock);
		INIT_LIST_HEAD(&track->cmds);
	}
	return 0;
}

static struct scst_session *scst_session_alloc(struct scst_target *tgt, const char *initiator)
{
	struct scst_session *sess = kzalloc(sizeof(*sess), GFP_KERNEL);
	int id;

	if (!sess)
		return NULL;
	if (scst_session_alloc_pcpu(sess))
		goto out_free;
	if (percpu_ref_init(&sess->ref, scst_session_release, 0, GFP_KERNEL))
		goto out_free_pcpu;
	id = ida_alloc_min(&scst_session_ids, 1, GFP_KERNEL);
	if (id < 0)
		goto out_exit_ref;
	sess->id = id;
	sess->tgt = tgt;
	scst_target_get(tgt);
	strscpy(sess->initiator, initiator, sizeof(sess->initiator));
	init_completion(&sess->gone);
	atomic_inc(&scst_objects[SCST_OBJ_SESSIONS]);
	return sess;

out_exit_ref:
	percpu_ref_exit(&sess->ref);
out_free_pcpu:
	free_percpu(sess->pcpu);
out_free:
	kfree(sess);
	return NULL;
}

/**
 * scst_session_register() - an initiator port has logged in
 * @tgt: the target port
 * @initiator: name of the initiator port as access groups know it
 * @driver_data: the driver's own
 *
 * Process context, may sleep.  Commands may be submitted on return.
 *
 * Return: the session, to be ended by scst_session_unregister(), or an ERR_PTR: -EINVAL for a name
 * that is empty or too long, -ENOMEM.
 */
struct scst_session *scst_session_register(struct scst_target *tgt, const char *initiator,
					   void *driver_data)
{
	struct scst_session *sess;
	int ret;

	if (!*initiator || strlen(initiator) > SCST_INITIATOR_NAME_LEN)
		return ERR_PTR(-EINVAL);
	sess = scst_session_alloc(tgt, initiator);
	if (!sess)
		return ERR_PTR(-ENOMEM);
	sess->driver_data = driver_data;
	ret = scst_session_attach(sess);
	if (ret) {
		scst_session_free(sess);
		return ERR_PTR(ret);
	}
	ret = scst_sysfs_add_session(sess);
	if (ret) {
		scst_session_unregister(sess);
		return ERR_PTR(ret);
	}
	return sess;
}
EXPORT_SYMBOL_GPL(scst_session_register);

/**
 * scst_session_unregister() - the initiator port has logged out
 * @sess: the session; freed
 *
 * The driver submits nothing more.  Aborts what is running and waits for it, without a bound of its own:
 * the commands' memory is the driver's and their pages are with the back end until then.
 * Process context, sleeps.
 */
void scst_session_unregister(struct scst_session *sess)
{
	mutex_lock(&scst_config_mutex);
	list_del(&sess->entry);
	sess->tgt->nr_sessions--;
	scst_view_drop(sess);
	mutex_unlock(&scst_config_mutex);
	scst_sysfs_remove(&sess->classdev);
	scst_abort_session(sess);
	percpu_ref_kill(&sess->ref);
	wait_for_completion_state(&sess->gone, TASK_IDLE);
	scst_session_free(sess);
}
EXPORT_SYMBOL_GPL(scst_session_unregister);
