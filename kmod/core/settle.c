// SPDX-License-Identifier: GPL-2.0-only
/*
 * From when on nothing older is alive.  Access that a publication has revoked is over when its last command is: a nexus that no view
 * shows any more when it is freed, one that has become read-only when the writes from before have ended.  Until then it is on
 * a list, in the order of the generations that revoked it.
 *
 * /sys/class/scst/core shows it, and wakes those who poll.
 */
#include "core.h"

static DEFINE_SPINLOCK(scst_unsettled_lock);
static LIST_HEAD(scst_unsettled);

static void scst_settled_work_fn(struct work_struct *work)
{
	scst_sysfs_notify_settled();
}
static DECLARE_WORK(scst_settled_work, scst_settled_work_fn);

/* Under scst_config_mutex, hence in order.  The oldest generation that it is alive from counts. */
void scst_unsettled_add(struct scst_nexus *nexus, u64 generation)
{
	lockdep_assert_held(&scst_config_mutex);
	spin_lock_irq(&scst_unsettled_lock);
	if (list_empty(&nexus->unsettled)) {
		nexus->revoked = generation;
		list_add_tail(&nexus->unsettled, &scst_unsettled);
	}
	spin_unlock_irq(&scst_unsettled_lock);
}

static void scst_unsettled_end(struct scst_nexus *nexus, bool writes_only)
{
	unsigned long irq;
	bool was;

	spin_lock_irqsave(&scst_unsettled_lock, irq);
	was = !list_empty(&nexus->unsettled) && !(writes_only && test_bit(SCST_GATE_REVOKED, &nexus->gates));
	if (was)
		list_del_init(&nexus->unsettled);
	spin_unlock_irqrestore(&scst_unsettled_lock, irq);
	if (was)
		queue_work(scst_retire_wq, &scst_settled_work);
}

/* Nothing of it is left.  Any context. */
void scst_unsettled_del(struct scst_nexus *nexus)
{
	scst_unsettled_end(nexus, false);
}

/* Its writes are over.  Of one that was revoked meanwhile, which is said before it is put on the list, all has to end.  Any context. */
void scst_unsettled_writes_over(struct scst_nexus *nexus)
{
	scst_unsettled_end(nexus, true);
}

/**
 * scst_settled() - the newest generation such that nothing older is alive
 *
 * Any context.  Never claims too much: the generation is read first, so that what a publication revokes meanwhile is either on the
 * list or belongs to a later one.
 */
u64 scst_settled(void)
{
	const struct scst_nexus *first;
	u64 settled = scst_generation();
	unsigned long irq;

	smp_rmb();
	spin_lock_irqsave(&scst_unsettled_lock, irq);
	first = list_first_entry_or_null(&scst_unsettled, struct scst_nexus, unsettled);
	if (first)
		settled = min(settled, first->revoked - 1);
	spin_unlock_irqrestore(&scst_unsettled_lock, irq);
	return settled;
}

/**
 * scst_unsettled_print() - who is still alive from before: a line each, as far as they fall into a window
 * @buf: the window
 * @from: where it begins in the whole text
 * @size: its length
 *
 * Any context.  Return: bytes in the window.
 */
size_t scst_unsettled_print(char *buf, loff_t from, size_t size)
{
	char line[SCST_TARGET_NAME_LEN + SCST_INITIATOR_NAME_LEN + 2 * SCST_DEVICE_NAME_LEN + 64];
	struct scst_text text = { .buf = buf, .from = from, .size = size };
	struct scst_nexus *nexus;

	spin_lock_irq(&scst_unsettled_lock);
	list_for_each_entry(nexus, &scst_unsettled, unsettled) {
		const struct scst_session *sess = nexus->sess;
		int len = scnprintf(line, sizeof(line), "%llu %s/%s %s %u %s\n", nexus->revoked, sess->driver->name,
				    sess->tgt->name, sess->initiator, nexus->lun, nexus->dev->name);

		scst_text_add(&text, line, len);
	}
	spin_unlock_irq(&scst_unsettled_lock);
	return text.done;
}

void scst_settle_exit(void)
{
	flush_work(&scst_settled_work);
}
