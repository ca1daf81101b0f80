// SPDX-License-Identifier: GPL-2.0-only
/*
 * From the wanted access (the configfs tree) to the access in force: lunsets, the table of groups,
 * and the views of the sessions.  Everything here is under scst_config_mutex.
 *
 * A publication first prepares everything that can fail for every target that changed, next to what is
 * in force.  Then it switches pointers, which can't fail.  Or it discards, and nothing has happened.
 */
#include "core.h"
#include <linux/sort.h>

DEFINE_MUTEX(scst_config_mutex);
LIST_HEAD(scst_targets);

static u64 scst_generation_nr = 1;
static bool scst_autocommit_on = true;
static bool scst_staged_changes;
static bool scst_fence;	/* of the publication that is under way */

struct scst_access_group {
	const char *name;
	struct scst_lunset *set;
};

/* Who sees what on one target, in force: immutable.  Strings and rules are in the same allocation. */
struct scst_access {
	struct scst_lunset *default_set;
	struct scst_acl acl;
	u32 nr_groups;
	struct scst_access_group group[] __counted_by(nr_groups);
};

/* --- lunsets --------------------------------------------------------------------------------- */

static int scst_lun_dir_prepare(struct scst_lun_dir *dir)
{
	struct scst_lun_item *item;
	struct scst_lunset *set;
	u32 nr = 0;

	if (!dir->dirty) {
		dir->next_set = scst_lunset_get(dir->set);
		return 0;
	}
	list_for_each_entry(item, &dir->luns, entry)
		nr += !!item->dev;
	if (scst_fault_commit())
		return -ENOMEM;
	set = kvzalloc(struct_size(set, entry, nr), GFP_KERNEL);
	if (!set)
		return -ENOMEM;
	kref_init(&set->kref);
	/* First, for it is what entry[] is checked against. */
	set->nr = nr;
	nr = 0;
	list_for_each_entry(item, &dir->luns, entry) {
		if (!item->dev)
			continue;
		scst_device_get(item->dev);
		item->dev->lun_links++;
		set->entry[nr].dev = item->dev;
		set->entry[nr].lun = item->lun;
		set->entry[nr].limits = item->limits;
		set->entry[nr++].read_only = item->read_only;
	}
	atomic_inc(&scst_objects[SCST_OBJ_LUNSETS]);
	dir->next_set = set;
	return 0;
}

static void scst_lun_dir_discard(struct scst_lun_dir *dir)
{
	scst_lunset_put(dir->next_set);
	dir->next_set = NULL;
}

static void scst_lun_dir_switch(struct scst_lun_dir *dir)
{
	scst_lunset_put(dir->set);
	dir->set = dir->next_set;
	dir->next_set = NULL;
	dir->dirty = false;
}

/* --- the table of groups -------------------------------------------------------------------- */

static int scst_acl_group_cmp(const void *a, const void *b)
{
	const struct scst_acl_group *x = *(const struct scst_acl_group *const *)a;
	const struct scst_acl_group *y = *(const struct scst_acl_group *const *)b;

	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	return strcmp(config_item_name((struct config_item *)&x->group.cg_item),
		      config_item_name((struct config_item *)&y->group.cg_item));
}

/* The wanted groups in order of precedence. */
static struct scst_acl_group **scst_acl_groups_sorted(struct scst_target *tgt, u32 nr)
{
	struct scst_acl_group **groups = kvmalloc_array(nr ?: 1, sizeof(*groups), GFP_KERNEL);
	struct scst_acl_group *group;
	u32 i = 0;

	if (!groups)
		return NULL;
	list_for_each_entry(group, &tgt->acl_groups, entry)
		groups[i++] = group;
	sort(groups, nr, sizeof(*groups), scst_acl_group_cmp, NULL);
	return groups;
}

struct scst_access_size {
	u32 groups, exact, wild;
	size_t strings;
};

static void scst_access_measure(struct scst_target *tgt, struct scst_access_size *size)
{
	struct scst_acl_pattern *pattern;
	struct scst_acl_group *group;

	list_for_each_entry(group, &tgt->acl_groups, entry) {
		size->groups++;
		size->strings += strlen(config_item_name(&group->group.cg_item)) + 1;
		list_for_each_entry(pattern, &group->patterns, entry) {
			const char *name = config_item_name(&pattern->item);

			if (scst_pattern_is_exact(name)) {
				size->strings += scst_name_canonical_size(name);
				size->exact++;
			} else {
				size->strings += strlen(name) + 1;
				size->wild++;
			}
		}
	}
}

static const char *scst_access_string(char **pool, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = memcpy(*pool, text, size);

	*pool += size;
	return copy;
}

static const char *scst_access_name(char **pool, const char *name)
{
	char *copy = *pool;

	scst_name_canonical(copy, name);
	*pool += strlen(copy) + 1;
	return copy;
}

static void scst_access_add_pattern(struct scst_access *access, const char *text, u32 group, char **pool)
{
	struct scst_acl_rule *rule;

	if (scst_pattern_is_exact(text)) {
		rule = &access->acl.exact[access->acl.nr_exact++];
		rule->pattern = scst_access_name(pool, text);
	} else {
		rule = &access->acl.wild[access->acl.nr_wild++];
		rule->pattern = scst_access_string(pool, text);
	}
	rule->group = group;
}

static void scst_access_add_group(struct scst_access *access, struct scst_acl_group *group, u32 i, char **pool)
{
	struct scst_acl_pattern *pattern;

	access->group[i].name = scst_access_string(pool, config_item_name(&group->group.cg_item));
	access->group[i].set = scst_lunset_get(group->luns->next_set);
	list_for_each_entry(pattern, &group->patterns, entry)
		scst_access_add_pattern(access, config_item_name(&pattern->item), i, pool);
}

static struct scst_access *scst_access_build(struct scst_target *tgt)
{
	struct scst_access_size size = {};
	struct scst_acl_group **groups;
	struct scst_access *access;
	size_t rules;
	char *pool, *end;
	u32 i;

	scst_access_measure(tgt, &size);
	if (scst_fault_commit())
		return NULL;
	groups = scst_acl_groups_sorted(tgt, size.groups);
	if (!groups)
		return NULL;
	rules = array_size(size.exact + size.wild, sizeof(struct scst_acl_rule));
	access = kvzalloc(struct_size(access, group, size.groups) + rules + size.strings, GFP_KERNEL);
	if (!access)
		goto out;
	access->nr_groups = size.groups;
	access->acl.exact = (void *)&access->group[size.groups];
	access->acl.wild = access->acl.exact + size.exact;
	pool = (void *)(access->acl.wild + size.wild);
	end = pool + size.strings;
	access->default_set = scst_lunset_get(tgt->luns->next_set);
	for (i = 0; i < size.groups; i++)
		scst_access_add_group(access, groups[i], i, &pool);
	WARN_ON_ONCE(pool != end);
	sort(access->acl.exact, access->acl.nr_exact, sizeof(struct scst_acl_rule), scst_acl_rule_cmp, NULL);
	atomic_inc(&scst_objects[SCST_OBJ_ACCESSES]);
out:
	kvfree(groups);
	return access;
}

static void scst_access_put(struct scst_access *access)
{
	u32 i;

	if (!access)
		return;
	scst_lunset_put(access->default_set);
	for (i = 0; i < access->nr_groups; i++)
		scst_lunset_put(access->group[i].set);
	kvfree(access);
	atomic_dec(&scst_objects[SCST_OBJ_ACCESSES]);
}

/* --- sessions ---------------------------------------------------------------------------------- */

static struct scst_lunset *scst_access_select(const struct scst_access *access, const struct scst_session *sess,
					      const char **group)
{
	int i = scst_acl_select(&access->acl, sess->initiator, sess->at[0] ? sess->at : NULL);

	*group = i < 0 ? NULL : access->group[i].name;
	return i < 0 ? access->default_set : access->group[i].set;
}

static int scst_session_prepare(struct scst_session *sess, const struct scst_access *access)
{
	struct scst_lunset *set = scst_access_select(access, sess, &sess->next_group_name);
	struct scst_view *view = rcu_dereference_protected(sess->view, lockdep_is_held(&scst_config_mutex));

	if (view && view->set == set)
		return 0;
	return scst_view_prepare(sess, set);
}

/**
 * scst_session_attach() - give a new session its view and make it part of its target
 * @sess: the session
 *
 * Process context, takes scst_config_mutex.  Its target counts it whatever comes of it, until it is gone.
 *
 * Return: 0 or -ENOMEM.
 */
int scst_session_attach(struct scst_session *sess)
{
	struct scst_target *tgt = sess->tgt;
	int ret;

	mutex_lock(&scst_config_mutex);
	scst_fault_commit_begin();
	if (tgt->access)
		ret = scst_session_prepare(sess, tgt->access);
	else
		ret = scst_view_prepare(sess, NULL);
	scst_fault_commit_end();
	if (!ret) {
		scst_view_switch(sess, false);
		sess->group_name = sess->next_group_name;
		list_add_tail(&sess->entry, &tgt->sessions);
	}
	WRITE_ONCE(tgt->nr_sessions, tgt->nr_sessions + 1);
	mutex_unlock(&scst_config_mutex);
	return ret;
}

/* --- target ports of a device ---------------------------------------------------------------- */

static bool scst_access_maps(const struct scst_access *access, const struct scst_device *dev)
{
	u32 i;

	if (access->default_set && scst_lunset_has(access->default_set, dev))
		return true;
	for (i = 0; i < access->nr_groups; i++)
		if (access->group[i].set && scst_lunset_has(access->group[i].set, dev))
			return true;
	return false;
}

static u32 scst_targets_count(void)
{
	const struct scst_target *tgt;
	u32 nr = 0;

	list_for_each_entry(tgt, &scst_targets, entry)
		nr++;
	return nr;
}

/**
 * scst_device_ports() - the target ports that a device can be reached by
 * @dev: the device
 * @ports: where to put the array of them; freed by the caller with kvfree()
 *
 * Process context, takes scst_config_mutex.  Of all targets that have it for anybody, in the access in force.
 *
 * Return: how many, or -ENOMEM.
 */
int scst_device_ports(const struct scst_device *dev, struct scst_pr_port **ports)
{
	const struct scst_target *tgt;
	int nr = 0;

	mutex_lock(&scst_config_mutex);
	*ports = kvmalloc_array(scst_targets_count() + 1, sizeof(**ports), GFP_KERNEL);
	if (!*ports)
		nr = -ENOMEM;
	list_for_each_entry(tgt, &scst_targets, entry) {
		if (!*ports || !tgt->access || !scst_access_maps(tgt->access, dev))
			continue;
		(*ports)[nr++] = (struct scst_pr_port){
			.id = READ_ONCE(tgt->rel_tgt_id), .protocol = tgt->driver->protocol,
		};
	}
	mutex_unlock(&scst_config_mutex);
	return nr;
}

/* --- publication -------------------------------------------------------------------------------- */

static void scst_target_discard(struct scst_target *tgt)
{
	struct scst_acl_group *group;
	struct scst_session *sess;

	list_for_each_entry(sess, &tgt->sessions, entry)
		scst_view_discard(sess);
	scst_access_put(tgt->next_access);
	tgt->next_access = NULL;
	list_for_each_entry(group, &tgt->acl_groups, entry)
		scst_lun_dir_discard(group->luns);
	scst_lun_dir_discard(tgt->luns);
}

static int scst_target_prepare(struct scst_target *tgt)
{
	struct scst_acl_group *group;
	struct scst_session *sess;
	int ret = scst_lun_dir_prepare(tgt->luns);

	list_for_each_entry(group, &tgt->acl_groups, entry)
		ret = ret ?: scst_lun_dir_prepare(group->luns);
	if (ret)
		return ret;
	tgt->next_access = scst_access_build(tgt);
	if (!tgt->next_access)
		return -ENOMEM;
	list_for_each_entry(sess, &tgt->sessions, entry) {
		ret = scst_session_prepare(sess, tgt->next_access);
		if (ret)
			return ret;
	}
	return 0;
}

static void scst_target_switch(struct scst_target *tgt)
{
	struct scst_acl_group *group;
	struct scst_session *sess;

	list_for_each_entry(sess, &tgt->sessions, entry) {
		scst_view_switch(sess, scst_fence);
		sess->group_name = sess->next_group_name;
	}
	scst_access_put(tgt->access);
	tgt->access = tgt->next_access;
	tgt->next_access = NULL;
	list_for_each_entry(group, &tgt->acl_groups, entry)
		scst_lun_dir_switch(group->luns);
	scst_lun_dir_switch(tgt->luns);
	tgt->access_dirty = false;
}

/* All or nothing. */
static int scst_publish(void)
{
	struct scst_target *tgt;
	int ret = 0;

	lockdep_assert_held(&scst_config_mutex);
	scst_fault_commit_begin();
	list_for_each_entry(tgt, &scst_targets, entry) {
		if (tgt->access_dirty)
			ret = scst_target_prepare(tgt);
		if (ret)
			break;
	}
	scst_fault_commit_end();
	list_for_each_entry(tgt, &scst_targets, entry) {
		if (!tgt->access_dirty)
			continue;
		if (ret)
			scst_target_discard(tgt);
		else
			scst_target_switch(tgt);
	}
	if (ret)
		return ret;
	/* Who reads the new number finds on the list what is still alive from before it: see scst_settled(). */
	smp_wmb();
	WRITE_ONCE(scst_generation_nr, scst_generation_nr + 1);
	scst_staged_changes = false;
	return 0;
}

static int scst_publish_fenced(bool fence)
{
	int ret;

	scst_fence = fence;
	ret = scst_publish();
	scst_fence = false;
	return ret;
}

/**
 * scst_access_changed() - a wanted change was made in the tree
 * @tgt: the target it belongs to
 *
 * Under scst_config_mutex.  Return: 0, or an errno after which the caller must undo the change.
 */
int scst_access_changed(struct scst_target *tgt)
{
	tgt->access_dirty = true;
	if (scst_autocommit_on)
		return scst_publish();
	scst_staged_changes = true;
	return 0;
}

/**
 * scst_access_removed() - something was removed from the tree, and the removal can't be refused
 * @tgt: the target it belonged to
 *
 * Under scst_config_mutex.  Out of memory the removal stays staged, where `staged` shows it and a
 * later commit brings it into force.
 */
void scst_access_removed(struct scst_target *tgt)
{
	if (scst_access_changed(tgt)) {
		scst_staged_changes = true;
		pr_warn("out of memory: a removal on target %s is staged, not in force; write the generation to commit\n",
			tgt->name);
	}
}

/**
 * scst_commit() - bring all staged changes into force together, or none
 * @base: the generation they were based on
 * @fence: abort the running commands of access that is revoked
 *
 * Process context.  Waits for no command: scst_settled() tells when those of revoked access are over.
 *
 * Return: 0, -ESTALE if the generation has moved, -ENOMEM.
 */
int scst_commit(u64 base, bool fence)
{
	int ret = 0;

	mutex_lock(&scst_config_mutex);
	if (base != scst_generation_nr)
		ret = -ESTALE;
	else if (scst_staged_changes)
		ret = scst_publish_fenced(fence);
	mutex_unlock(&scst_config_mutex);
	return ret;
}

/* Turning it on commits what is staged, and stays off if that fails. */
int scst_set_autocommit(bool on)
{
	int ret = 0;

	mutex_lock(&scst_config_mutex);
	if (on && scst_staged_changes)
		ret = scst_publish();
	if (!ret)
		scst_autocommit_on = on;
	mutex_unlock(&scst_config_mutex);
	return ret;
}

bool scst_autocommit(void)
{
	return READ_ONCE(scst_autocommit_on);
}

bool scst_staged(void)
{
	return READ_ONCE(scst_staged_changes);
}

u64 scst_generation(void)
{
	return READ_ONCE(scst_generation_nr);
}

/* The target is going and has no sessions any more.  Under scst_config_mutex. */
void scst_access_free(struct scst_target *tgt)
{
	scst_access_put(tgt->access);
	tgt->access = NULL;
	scst_lunset_put(tgt->luns->set);
	tgt->luns->set = NULL;
}
