// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sets of LUNs in force: immutable, shared by the target's access and the views made from it.
 */
#include "core.h"

static void scst_lunset_free(struct kref *kref)
{
	struct scst_lunset *set = container_of(kref, struct scst_lunset, kref);
	u32 i;

	for (i = 0; i < set->nr; i++)
		scst_device_unlink(set->entry[i].dev);
	/* Task management finds it by way of a view. */
	kvfree_rcu(set, rcu);
	atomic_dec(&scst_objects[SCST_OBJ_LUNSETS]);
}

/* Does one of its LUNs lead there?  Any context. */
bool scst_lunset_has(const struct scst_lunset *set, const struct scst_device *dev)
{
	u32 i;

	for (i = 0; i < set->nr; i++)
		if (set->entry[i].dev == dev)
			return true;
	return false;
}

/* Under scst_config_mutex.  NULL is allowed. */
void scst_lunset_put(struct scst_lunset *set)
{
	lockdep_assert_held(&scst_config_mutex);
	if (set)
		kref_put(&set->kref, scst_lunset_free);
}

struct scst_lunset *scst_lunset_get(struct scst_lunset *set)
{
	if (set)
		kref_get(&set->kref);
	return set;
}
