// SPDX-License-Identifier: GPL-2.0-only
/*
 * Logical unit numbers, the views sessions have of them, and the nexuses behind.
 *
 * A view is immutable and replaced as a whole: prepare (may fail, changes nothing), then switch
 * (cannot fail) or discard.  All three under scst_config_mutex; readers use RCU.
 */
#include "core.h"

/**
 * scst_lun_unpack() - logical unit number of an 8-byte LUN structure (SAM-5 4.7)
 * @lun: the structure, single level: peripheral device or flat space addressing
 *
 * Any context.  Return: the number, or SCST_LUN_INVALID for other methods and levels.
 */
u32 scst_lun_unpack(const u8 lun[8])
{
	if (get_unaligned_be32(lun + 2) || lun[6] || lun[7])
		return SCST_LUN_INVALID;
	switch (lun[0] >> 6) {
	case 0:
		return lun[0] ? SCST_LUN_INVALID : lun[1];
	case 1:
		return (lun[0] & 0x3f) << 8 | lun[1];
	default:
		return SCST_LUN_INVALID;
	}
}
EXPORT_SYMBOL_GPL(scst_lun_unpack);

/**
 * scst_lun_pack() - 8-byte LUN structure of a number
 * @lun: 0 to SCST_MAX_LUN
 * @out: peripheral device addressing below 256, flat space addressing from there
 */
void scst_lun_pack(u32 lun, u8 out[8])
{
	memset(out, 0, 8);
	out[0] = lun < 256 ? 0 : 0x40 | lun >> 8;
	out[1] = lun;
}
EXPORT_SYMBOL_GPL(scst_lun_pack);

/* @view may be NULL: no LUNs. */
const struct scst_view_entry *scst_view_find(const struct scst_view *view, u32 lun)
{
	u32 low = 0, high = view ? view->nr : 0;

	while (low < high) {
		u32 mid = low + (high - low) / 2;

		if (view->entry[mid].lun == lun)
			return &view->entry[mid];
		if (view->entry[mid].lun < lun)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/**
 * scst_session_lun_cookie() - what stands behind a LUN, for drivers that keep a picture of it
 * @sess: the session
 * @lun: logical unit number
 *
 * Any context.  Return: a number that changes when the LUN leads to another device, 0: no such LUN.
 */
u64 scst_session_lun_cookie(struct scst_session *sess, u32 lun)
{
	const struct scst_nexus *nexus;
	u64 cookie;

	rcu_read_lock();
	nexus = scst_view_nexus(rcu_dereference(sess->view), lun);
	cookie = nexus ? nexus->cookie : 0;
	rcu_read_unlock();
	return cookie;
}
EXPORT_SYMBOL_GPL(scst_session_lun_cookie);

/**
 * scst_session_lun_ready() - is there an active device behind a LUN, and can it be reached by this port?
 * @sess: the session
 * @lun: logical unit number
 *
 * Any context.
 */
bool scst_session_lun_ready(struct scst_session *sess, u32 lun)
{
	const struct scst_nexus *nexus;
	bool ready;

	rcu_read_lock();
	nexus = scst_view_nexus(rcu_dereference(sess->view), lun);
	ready = nexus && READ_ONCE(nexus->dev->state) == SCST_DEVICE_ACTIVE && !scst_alua_not_ready(nexus);
	rcu_read_unlock();
	return ready;
}
EXPORT_SYMBOL_GPL(scst_session_lun_ready);

/* The nexus behind a LUN, held; NULL: none.  One that is dying belongs to an older view.  Any context. */
struct scst_nexus *scst_nexus_find(struct scst_session *sess, u32 lun)
{
	struct scst_nexus *nexus;

	rcu_read_lock();
	do {
		nexus = scst_view_nexus(rcu_dereference(sess->view), lun);
	} while (nexus && !percpu_ref_tryget(&nexus->ref));
	rcu_read_unlock();
	return nexus;
}

/* --- nexuses ---------------------------------------------------------------------------------- */

static void scst_nexus_free_rcu(struct rcu_head *rcu)
{
	struct scst_nexus *nexus = container_of(rcu, struct scst_nexus, rcu);

	percpu_ref_put(&nexus->sess->ref);
	kfree(rcu_access_pointer(nexus->latency));
	kfree(nexus->limiter);
	kfree(nexus);
	atomic_dec(&scst_objects[SCST_OBJ_NEXUSES]);
}

static void scst_nexus_free(struct scst_nexus *nexus)
{
	struct scst_device *dev = nexus->dev;

	scst_reserve_end(dev, nexus);
	spin_lock_bh(&dev->nexus_lock);
	list_del_rcu(&nexus->dev_entry);
	dev->nr_nexuses--;
	spin_unlock_bh(&dev->nexus_lock);
	percpu_ref_exit(&nexus->ref);
	scst_limiter_stop(nexus);
	scst_unsettled_del(nexus);
	scst_device_put(dev);
	/* Task management may be looking at the session's commands by way of the nexus. */
	call_rcu(&nexus->rcu, scst_nexus_free_rcu);
}

static void scst_nexus_free_work(struct work_struct *work)
{
	scst_nexus_free(container_of(work, struct scst_nexus, free_work));
}

/*
 * The last command of a dropped nexus.  It stays on the device's list until here, so
 * that a LUN reset finds its commands to the end.
 */
static void scst_nexus_release(struct percpu_ref *ref)
{
	struct scst_nexus *nexus = container_of(ref, struct scst_nexus, ref);

	queue_work(scst_release_wq, &nexus->free_work);
}

/* Under scst_wait_lock. */
static void scst_nexus_writes_over(struct scst_wait *wait)
{
	struct scst_nexus *nexus = container_of(wait, struct scst_nexus, wait);

	/* Of a session that is leaving everything counts, to the end. */
	if (!READ_ONCE(nexus->sess->leaving))
		scst_unsettled_writes_over(nexus);
}

/**
 * scst_nexus_begin_writing() - nothing is written yet, and nothing lost
 * @nexus: a new one, or any of a device that has just been opened
 * @unused: not used
 *
 * Under the device's nexus_lock.  What was lost before an initiator came is not its loss, and what was lost before the
 * backing was opened has been told or will be (SCST_GATE_WRITE_LOST).
 */
void scst_nexus_begin_writing(struct scst_nexus *nexus, void *unused)
{
	struct scst_device *dev = nexus->dev;

	lockdep_assert_held(&dev->nexus_lock);
	WRITE_ONCE(nexus->wrote, false);
	/* If it is not open, whoever opens it finds the nexus on the list. */
	if (!dev->handler->wb_error || !percpu_ref_tryget_live(&dev->active_ref))
		return;
	dev->handler->wb_error(dev, &nexus->wb_since);
	percpu_ref_put(&dev->active_ref);
}

/* Under scst_config_mutex. */
static struct scst_nexus *scst_nexus_alloc(struct scst_session *sess, struct scst_device *dev, u32 lun)
{
	static u64 cookie;
	struct scst_nexus *nexus;

	if (scst_fault_commit())
		return NULL;
	nexus = kzalloc(sizeof(*nexus), GFP_KERNEL);
	if (!nexus)
		return NULL;
	if (!scst_latency_prepare(nexus) || percpu_ref_init(&nexus->ref, scst_nexus_release, 0, GFP_KERNEL)) {
		kfree(rcu_access_pointer(nexus->latency));
		kfree(nexus);
		return NULL;
	}
	nexus->gates = BIT(SCST_UA_POWER_ON);
	INIT_LIST_HEAD(&nexus->unsettled);
	INIT_LIST_HEAD(&nexus->wait.entry);
	nexus->wait.over = scst_nexus_writes_over;
	scst_order_setup(nexus);
	nexus->cookie = ++cookie;
	nexus->lun = lun;
	nexus->dev = dev;
	nexus->sess = sess;
	scst_device_get(dev);
	percpu_ref_get(&sess->ref);
	INIT_WORK(&nexus->free_work, scst_nexus_free_work);
	spin_lock_bh(&dev->nexus_lock);
	nexus->gates |= dev->gates;
	/* Who was registered before he logged in again still is. */
	scst_access_update(nexus);
	scst_alua_update(nexus);
	list_add_tail_rcu(&nexus->dev_entry, &dev->nexuses);
	dev->nr_nexuses++;
	scst_nexus_begin_writing(nexus, NULL);
	spin_unlock_bh(&dev->nexus_lock);
	atomic_inc(&scst_objects[SCST_OBJ_NEXUSES]);
	return nexus;
}

/* --- views ------------------------------------------------------------------------------------ */

static struct scst_view *scst_view_current(struct scst_session *sess)
{
	return rcu_dereference_protected(sess->view, lockdep_is_held(&scst_config_mutex));
}

static void scst_view_for_each_nexus(struct scst_session *sess, void (*fn)(struct scst_nexus *nexus, void *arg), void *arg)
{
	const struct scst_view *view = scst_view_current(sess);
	u32 i;

	for (i = 0; view && i < view->nr; i++)
		fn(view->entry[i].nexus, arg);
}

/**
 * scst_for_each_nexus() - call a function for every nexus that a session sees
 * @fn: may sleep
 * @arg: passed on
 *
 * Under scst_config_mutex.  One that no session sees any more is not among them.
 */
void scst_for_each_nexus(void (*fn)(struct scst_nexus *nexus, void *arg), void *arg)
{
	struct scst_target *tgt;
	struct scst_session *sess;

	lockdep_assert_held(&scst_config_mutex);
	list_for_each_entry(tgt, &scst_targets, entry)
		list_for_each_entry(sess, &tgt->sessions, entry)
			scst_view_for_each_nexus(sess, fn, arg);
}

static struct scst_view *scst_view_alloc(struct scst_lunset *set)
{
	u32 nr = set ? set->nr : 0;
	struct scst_view *view;

	if (scst_fault_commit())
		return NULL;
	view = kvzalloc(struct_size(view, entry, nr), GFP_KERNEL);
	if (!view)
		return NULL;
	view->set = set;
	if (set)
		kref_get(&set->kref);
	atomic_inc(&scst_objects[SCST_OBJ_VIEWS]);
	return view;
}

static void scst_view_free(struct scst_view *view)
{
	scst_lunset_put(view->set);
	kvfree_rcu(view, rcu);
	atomic_dec(&scst_objects[SCST_OBJ_VIEWS]);
}

/* Same LUN, same device: initiator and device go on as if nothing had happened. */
static struct scst_nexus *scst_view_carry(const struct scst_view *old, const struct scst_lunset_entry *want)
{
	const struct scst_view_entry *entry = scst_view_find(old, want->lun);

	if (!entry || entry->nexus->dev != want->dev)
		return NULL;
	entry->nexus->carried = true;
	entry->nexus->mode_changed = entry->read_only != want->read_only;
	return entry->nexus;
}

/**
 * scst_view_prepare() - make the view a session will have
 * @sess: the session
 * @set: the LUNs; NULL: none
 *
 * Under scst_config_mutex.  Changes nothing an initiator could see.
 *
 * Return: 0, or -ENOMEM with nothing left to discard.
 */
int scst_view_prepare(struct scst_session *sess, struct scst_lunset *set)
{
	const struct scst_view *old = scst_view_current(sess);
	struct scst_view *view = scst_view_alloc(set);
	u32 i;

	if (!view)
		return -ENOMEM;
	sess->next_view = view;
	sess->luns_differ = !old || old->nr != (set ? set->nr : 0);
	for (i = 0; set && i < set->nr; i++) {
		const struct scst_lunset_entry *want = &set->entry[i];
		struct scst_nexus *nexus = scst_view_carry(old, want);

		if (!nexus) {
			nexus = scst_nexus_alloc(sess, want->dev, want->lun);
			if (!nexus) {
				scst_view_discard(sess);
				return -ENOMEM;
			}
			if (scst_view_find(old, want->lun))
				set_bit(SCST_UA_INQUIRY_CHANGED, &nexus->gates);
			sess->luns_differ = true;
		}
		view->nr = i + 1;
		if (!nexus->carried && want->read_only)
			set_bit(SCST_GATE_READ_ONLY, &nexus->gates);
		view->entry[i].lun = want->lun;
		view->entry[i].read_only = want->read_only;
		view->entry[i].nexus = nexus;
		if (!scst_limiter_prepare(nexus, &want->limits, scst_faults_of(sess->tgt, sess->next_group_name, want->lun))) {
			scst_view_discard(sess);
			return -ENOMEM;
		}
	}
	return 0;
}

/* Give up a prepared view. */
void scst_view_discard(struct scst_session *sess)
{
	struct scst_view *view = sess->next_view;
	u32 i;

	if (!view)
		return;
	for (i = 0; i < view->nr; i++) {
		struct scst_nexus *nexus = view->entry[i].nexus;

		if (nexus->carried)
			nexus->carried = false;
		else
			scst_nexus_free(nexus);
	}
	sess->next_view = NULL;
	scst_view_free(view);
}

/*
 * No view shows the nexus any more.  Its gate is closed before its commands are looked for, so that one which was
 * admitted before is found, and one that was not is stopped.
 */
static void scst_nexus_revoke(struct scst_nexus *nexus, u64 generation, bool fence)
{
	set_bit(SCST_GATE_REVOKED, &nexus->gates);
	smp_mb__after_atomic();
	scst_gate_look(nexus);
	/* Nobody finds it any more who ends one. */
	scst_limiter_set_faults(nexus, 0);
	scst_reserve_end(nexus->dev, nexus);
	scst_unsettled_add(nexus, generation);
	if (fence)
		scst_abort_nexus(nexus);
	/* Nobody could clear it any more; none is established behind that gate. */
	scst_aca_clear(nexus);
	/*
	 * The view that showed it is replaced by now, and the reference dies after a grace period only: a reader who found the
	 * nexus in the old view either got a reference, or sees that it is dying and looks at the new view.
	 */
	percpu_ref_kill(&nexus->ref);
}

/* The mapping has become read-only, or writable. */
static void scst_nexus_mode(struct scst_nexus *nexus, u64 generation, bool fence)
{
	if (!nexus->mode_changed)
		return;
	set_bit(SCST_UA_MODE_CHANGED, &nexus->gates);
	if (test_and_change_bit(SCST_GATE_READ_ONLY, &nexus->gates))
		return;
	scst_gate_look(nexus);
	scst_unsettled_add(nexus, generation);
	scst_await_writes(&nexus->wait, nexus, fence);
}

/* Drop a view that readers can't find any more, and the nexuses that have no place in the next, by @generation. */
static void scst_view_retire(struct scst_view *view, u64 generation, bool fence)
{
	u32 i;

	for (i = 0; i < view->nr; i++) {
		struct scst_nexus *nexus = view->entry[i].nexus;

		if (!nexus->carried) {
			scst_nexus_revoke(nexus, generation, fence);
			continue;
		}
		nexus->carried = false;
		scst_nexus_mode(nexus, generation, fence);
	}
	scst_view_free(view);
}

/* Whose nexus it becomes is limited, and faulty, from its first command on; who has it already a moment before the rest changes. */
static void scst_view_limit(const struct scst_session *sess, const struct scst_view *view)
{
	u32 i;

	for (i = 0; i < view->nr; i++) {
		struct scst_nexus *nexus = view->entry[i].nexus;

		scst_limiter_set(nexus, &view->set->entry[i].limits);
		scst_limiter_set_faults(nexus, scst_faults_of(sess->tgt, sess->next_group_name, nexus->lun));
	}
}

static void scst_view_unsettle(const struct scst_view *view, u64 generation)
{
	u32 i;

	for (i = 0; view && i < view->nr; i++)
		scst_unsettled_add(view->entry[i].nexus, generation);
}

/**
 * scst_view_switch() - bring the prepared view into force
 * @sess: the session; nothing happens if it has no prepared view
 * @fence: abort the running commands of access that the new view does not give
 *
 * Under scst_config_mutex.  Commands see the old view or the new one.
 */
void scst_view_switch(struct scst_session *sess, bool fence)
{
	struct scst_view *old = scst_view_current(sess), *view = sess->next_view;

	if (!view)
		return;
	sess->next_view = NULL;
	scst_view_limit(sess, view);
	rcu_assign_pointer(sess->view, view);
	if (sess->leaving)
		scst_view_unsettle(view, scst_generation() + 1);
	if (!old)
		return;
	scst_view_retire(old, scst_generation() + 1, fence);
	if (!sess->luns_differ)
		return;
	scst_ua_luns_changed(sess, view);
	scst_session_tell_luns(sess);
}

/*
 * The session is to go as soon as its driver can let go of it: its access has been taken away by now, although its commands
 * may run on.  Under scst_config_mutex.
 */
void scst_session_leave(struct scst_session *sess)
{
	lockdep_assert_held(&scst_config_mutex);
	WRITE_ONCE(sess->leaving, true);
	scst_view_unsettle(scst_view_current(sess), scst_generation());
}

/* The session goes: no LUNs any more.  Under scst_config_mutex. */
void scst_view_drop(struct scst_session *sess)
{
	struct scst_view *old = scst_view_current(sess);

	rcu_assign_pointer(sess->view, NULL);
	if (old)
		scst_view_retire(old, scst_generation(), false);
}
