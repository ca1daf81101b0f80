// SPDX-License-Identifier: GPL-2.0-only
/*
 * Which group claims an initiator: name patterns and precedence.
 * Pure: no state, no locks, no allocation.  Also built in user space by the tests.
 */
#include <linux/ctype.h>
#include <linux/string.h>
#include "acl.h"
#include "spelling.h"

bool scst_pattern_is_exact(const char *pattern)
{
	return pattern[0] != '!' && !strpbrk(pattern, "*?");
}

/**
 * scst_pattern_match() - does an initiator name match a pattern?
 * @pattern: in any spelling, see scst_spellings_match()
 * @name: the initiator's name, in any spelling
 */
bool scst_pattern_match(const char *pattern, const char *name)
{
	struct scst_spellings of;

	scst_spellings_of(&of, name);
	return scst_spellings_match(&of, pattern);
}

/* For sort(): names first, then precedence.  Exact names are in canonical spelling. */
int scst_acl_rule_cmp(const void *a, const void *b)
{
	const struct scst_acl_rule *x = a, *y = b;
	int order = strcasecmp(x->pattern, y->pattern);

	if (order)
		return order;
	return x->group < y->group ? -1 : x->group > y->group;
}

/* The first rule of that name, canonical but for case: it has the best precedence. */
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
 * @name: the initiator's name, in any spelling
 * @at: the canonical name, # and the name of the portal that it has come by; NULL: by none
 *
 * A pattern with # is about name and portal, where there is one.  An exact name wins over every pattern, and one with its portal over
 * one without.  Among equals the group of better precedence.
 *
 * Return: the group's index, or -1 if none claims it.
 */
int scst_acl_select(const struct scst_acl *acl, const char *name, const char *at)
{
	struct scst_spellings of, of_at, *full = &of;
	int group = -1;
	u32 i;

	scst_spellings_of(&of, name);
	if (at) {
		full = &of_at;
		scst_spellings_of(full, at);
		group = scst_acl_find_exact(acl, at);
	}
	if (group < 0)
		group = scst_acl_find_exact(acl, of.name);
	for (i = 0; group < 0 && i < acl->nr_wild; i++) {
		const char *pattern = acl->wild[i].pattern;

		if (scst_spellings_match(strchr(pattern, '#') ? full : &of, pattern))
			group = acl->wild[i].group;
	}
	return group;
}
