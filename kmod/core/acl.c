// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which group claims an initiator: name patterns and precedence.
 * Pure: no state, no locks, no allocation.  Also built in user space by the tests.
 */
#include <linux/ctype.h>
#include <linux/string.h>
#include "acl.h"

bool scst_pattern_is_exact(const char *pattern)
{
	return pattern[0] != '!' && !strpbrk(pattern, "*?");
}

/*
 * Going back to the last star is enough: a later star can swallow whatever an earlier one
 * could, so the time is bounded by the product of both lengths.
 */
static bool scst_glob_match(const char *pattern, const char *name)
{
	const char *star = NULL, *resume = NULL;

	while (*name) {
		if (*pattern == '*') {
			star = pattern++;
			resume = name;
		} else if (*pattern == '?' || tolower(*pattern) == tolower(*name)) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star + 1;
			name = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

/**
 * scst_pattern_match() - does an initiator name match a pattern?
 * @pattern: * any run, ? one character, a leading ! inverts; case does not matter
 * @name: the initiator's name
 */
bool scst_pattern_match(const char *pattern, const char *name)
{
	if (*pattern == '!')
		return !scst_glob_match(pattern + 1, name);
	return scst_glob_match(pattern, name);
}

/* For sort(): names first, then precedence. */
int scst_acl_rule_cmp(const void *a, const void *b)
{
	const struct scst_acl_rule *x = a, *y = b;
	int order = strcasecmp(x->pattern, y->pattern);

	if (order)
		return order;
	return x->group < y->group ? -1 : x->group > y->group;
}

/* The first rule of that name: it has the best precedence. */
static int scst_acl_find_exact(const struct scst_acl *acl, const char *name)
{
	u32 low = 0, high = acl->nr_exact;

	while (low < high) {
		u32 mid = low + (high - low) / 2;

		if (strcasecmp(acl->exact[mid].pattern, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == acl->nr_exact || strcasecmp(acl->exact[low].pattern, name))
		return -1;
	return acl->exact[low].group;
}

/**
 * scst_acl_select() - the group that claims an initiator
 * @acl: the rules
 * @name: the initiator's name
 *
 * An exact name wins over every pattern.  Among equals the group of better precedence.
 *
 * Return: the group's index, or -1 if none claims it.
 */
int scst_acl_select(const struct scst_acl *acl, const char *name)
{
	int group = scst_acl_find_exact(acl, name);
	u32 i;

	for (i = 0; group < 0 && i < acl->nr_wild; i++)
		if (scst_pattern_match(acl->wild[i].pattern, name))
			group = acl->wild[i].group;
	return group;
}
