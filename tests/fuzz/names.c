// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any name and any pattern: the canonical spelling is one of the same name and its own; a name is chosen by the pattern that is its
 * own spelling; whom a pattern claims, its reverse does not.
 */
#include <stdlib.h>
#include <string.h>
#include "acl.h"
#include "spelling.h"

#define NAME_MAX_LEN	250

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static char *text(const u8 *data, size_t size)
{
	char *copy = calloc(1, size + 1);

	memcpy(copy, data, size);
	return copy;
}

static void check_canonical(const char *name)
{
	size_t size = scst_name_canonical_size(name);
	char *canonical = malloc(size), *twice;

	scst_name_canonical(canonical, name);
	if (strlen(canonical) >= size || !scst_name_same(name, canonical))
		abort();
	twice = malloc(scst_name_canonical_size(canonical));
	scst_name_canonical(twice, canonical);
	if (strcmp(canonical, twice))
		abort();
	free(twice);
	free(canonical);
}

static void check_pattern(const char *name, const char *pattern)
{
	bool claims = scst_pattern_match(pattern, name);
	char *reverse;

	if (pattern[0] == '!')
		return;
	reverse = malloc(strlen(pattern) + 2);
	reverse[0] = '!';
	strcpy(reverse + 1, pattern);
	if (scst_pattern_match(reverse, name) == claims)
		abort();
	if (scst_pattern_is_exact(pattern) && claims != scst_name_same(name, pattern))
		abort();
	free(reverse);
}

/* The group of the exact name is chosen before that of the pattern. */
static void check_choice(const char *name, const char *pattern)
{
	char *canonical = malloc(scst_name_canonical_size(name));
	struct scst_acl_rule exact = { canonical, 1 }, wild = { pattern, 0 };
	struct scst_acl acl = { .nr_exact = 1, .nr_wild = 1, .exact = &exact, .wild = &wild };

	scst_name_canonical(canonical, name);
	if (scst_acl_select(&acl, name, NULL) != 1)
		abort();
	acl.nr_exact = 0;
	if (scst_acl_select(&acl, name, NULL) != (scst_pattern_match(pattern, name) ? 0 : -1))
		abort();
	free(canonical);
}

/* The group of a name with its portal is chosen before that of the name, for who has come by it. */
static void check_portal(const char *name)
{
	size_t size = scst_name_canonical_size(name) + 2;
	char *at = malloc(size), *canonical = malloc(size);
	struct scst_acl_rule exact[] = { { canonical, 0 }, { at, 1 } };
	struct scst_acl acl = { .nr_exact = 2, .exact = exact };

	scst_name_canonical(canonical, name);
	strcpy(at, canonical);
	strcat(at, "#p");
	if (scst_acl_select(&acl, name, at) != 1 || scst_acl_select(&acl, name, NULL) != 0)
		abort();
	free(canonical);
	free(at);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	const u8 *split = memchr(data, '\n', size);
	char *name, *pattern;

	if (!split || size > 2 * NAME_MAX_LEN || split == data || split == data + size - 1)
		return 0;
	name = text(data, split - data);
	pattern = text(split + 1, data + size - split - 1);
	if (*name && *pattern) {
		check_canonical(name);
		check_pattern(name, pattern);
		if (scst_pattern_is_exact(name))
			check_choice(name, pattern);
		if (scst_pattern_is_exact(name) && !strchr(name, '#'))
			check_portal(name);
	}
	free(pattern);
	free(name);
	return 0;
}
