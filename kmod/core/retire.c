// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is on its way out, and how a store in configfs waits.
 *
 * A directory can be removed at any time, and what it stood for may take any time to go: commands run, backings
 * close, sessions end.  Only what collides with such a thing waits for it, and only for that one.
 */
#include "core.h"
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/wait.h>

/*
 * For short work only: freeing, and what can't be done in the context it is asked for in.  The first may wait for
 * work on the second, not the other way round.
 */
struct workqueue_struct *scst_retire_wq;
struct workqueue_struct *scst_release_wq;

static DEFINE_SPINLOCK(scst_retiring_lock);
static LIST_HEAD(scst_retiring);
static unsigned int scst_retire_nr_ends;
DECLARE_WAIT_QUEUE_HEAD(scst_retired);

void scst_retire_begin(struct scst_retiree *retiree)
{
	spin_lock(&scst_retiring_lock);
	if (list_empty(&retiree->entry))
		list_add_tail(&retiree->entry, &scst_retiring);
	spin_unlock(&scst_retiring_lock);
}

/* Nothing happens if it had not begun. */
void scst_retire_end(struct scst_retiree *retiree)
{
	spin_lock(&scst_retiring_lock);
	if (!list_empty(&retiree->entry)) {
		list_del_init(&retiree->entry);
		scst_retire_nr_ends++;
	}
	spin_unlock(&scst_retiring_lock);
	wake_up_all(&scst_retired);
}

/* Is there another of the same kind and name? */
bool scst_retiring_name(const struct scst_retiree *own)
{
	const struct scst_retiree *other;
	bool found = false;

	spin_lock(&scst_retiring_lock);
	list_for_each_entry(other, &scst_retiring, entry)
		found |= other != own && other->kind == own->kind && !strcmp(other->name, own->name);
	spin_unlock(&scst_retiring_lock);
	return found;
}

/* Is there another that has this backing open? */
bool scst_retiring_backing(const struct scst_retiree *own, const void *backing)
{
	const struct scst_retiree *other;
	bool found = false;

	spin_lock(&scst_retiring_lock);
	list_for_each_entry(other, &scst_retiring, entry)
		found |= other != own && READ_ONCE(other->backing) == backing;
	spin_unlock(&scst_retiring_lock);
	return found && backing;
}

/* How many have gone so far. */
unsigned int scst_retire_ends(void)
{
	return READ_ONCE(scst_retire_nr_ends);
}

/* Is one of the kind on its way out, and has none gone since there were so many? */
bool scst_retiring_kind(const void *kind, unsigned int ends)
{
	const struct scst_retiree *other;
	bool found = false;

	spin_lock(&scst_retiring_lock);
	list_for_each_entry(other, &scst_retiring, entry)
		found |= other->kind == kind;
	found &= ends == scst_retire_nr_ends;
	spin_unlock(&scst_retiring_lock);
	return found;
}

/* What is being freed now is free then. */
void scst_retire_flush(void)
{
	flush_workqueue(scst_retire_wq);
	flush_workqueue(scst_release_wq);
}

/* --- waiting in a store --------------------------------------------------------------------------- */

/* How long to wait until the next look; 0: the time is up. */
long scst_store_left(const struct scst_store_wait *wait)
{
	u64 now = get_jiffies_64();

	if (wait->until <= now)
		return 0;
	return min_t(u64, wait->until - now, SCST_STORE_LOOK);
}

/**
 * scst_store_in_the_way() - does somebody wait for the end of this store?
 * @wait: the store's
 *
 * A store holds off rmdir(2) of its directory, and that waits with the lock of the parent held: no mkdir(2)
 * beside it would get on.  So who waits in a store looks at that lock from time to time.  Held three times in a row
 * it is taken for such an rmdir(2), and the store ends with -EINPROGRESS; what it has asked for goes on.
 */
bool scst_store_in_the_way(struct scst_store_wait *wait)
{
	struct dentry *dentry = wait->item->ci_dentry;

	if (inode_is_locked(d_inode(dentry->d_parent)))
		wait->looks++;
	else
		wait->looks = 0;
	return wait->looks >= 3;
}

struct scst_request *scst_request_alloc(void)
{
	struct scst_request *req = kzalloc(sizeof(*req), GFP_KERNEL);

	if (!req)
		return NULL;
	kref_init(&req->kref);
	init_waitqueue_head(&req->wait);
	return req;
}

static void scst_request_free(struct kref *kref)
{
	kfree(container_of(kref, struct scst_request, kref));
}

struct scst_request *scst_request_get(struct scst_request *req)
{
	kref_get(&req->kref);
	return req;
}

void scst_request_put(struct scst_request *req)
{
	kref_put(&req->kref, scst_request_free);
}

/* Tell whoever waits, if anybody does, and drop the reference in @slot. */
void scst_request_answer(struct scst_request **slot, int result)
{
	struct scst_request *req = *slot;

	if (!req)
		return;
	*slot = NULL;
	req->result = result;
	smp_store_release(&req->answered, true);
	wake_up_all(&req->wait);
	scst_request_put(req);
}

/* Return: the result, or what scst_wait_in_store() says. */
int scst_request_wait(struct scst_request *req, const struct config_item *item, u64 until)
{
	return scst_wait_in_store(item, req->wait, smp_load_acquire(&req->answered), until) ?: req->result;
}
