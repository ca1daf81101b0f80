/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which group claims an initiator; pure.
 */
#ifndef SCST_ACL_H
#define SCST_ACL_H

#include <linux/types.h>

/**
 * struct scst_acl_rule - a pattern and the group it speaks for
 * @pattern: exact name in canonical spelling (scst_name_canonical()), or pattern in any
 * @group: index of the group in order of precedence
 */
struct scst_acl_rule {
	const char *pattern;
	u32 group;
};

/**
 * struct scst_acl - the rules of a target
 * @nr_exact: rules in @exact
 * @nr_wild: rules in @wild
 * @exact: exact names, sorted by scst_acl_rule_cmp()
 * @wild: patterns, ascending by group
 */
struct scst_acl {
	u32 nr_exact;
	u32 nr_wild;
	struct scst_acl_rule *exact;
	struct scst_acl_rule *wild;
};

bool scst_pattern_is_exact(const char *pattern);
bool scst_pattern_match(const char *pattern, const char *name);
int scst_acl_rule_cmp(const void *a, const void *b);
int scst_acl_select(const struct scst_acl *acl, const char *name, const char *at);

#endif /* SCST_ACL_H */
