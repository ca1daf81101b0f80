/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One initiator, one name: the spellings there are for it; pure.
 */
#ifndef SCST_SPELLING_H
#define SCST_SPELLING_H

#include <linux/types.h>

#define SCST_NUMBER_MAX		16	/* bytes of a GID; a WWN has half of it */
#define SCST_NUMBER_TEXT	40	/* the longest text of a number, with its null */

/**
 * struct scst_name_number - the number that a name is a spelling of
 * @len: bytes; 0: the name is a text
 * @bytes: most significant first
 */
struct scst_name_number {
	u8 len;
	u8 bytes[SCST_NUMBER_MAX];
};

/**
 * struct scst_spellings - a name in the ways that patterns are compared with
 * @number: what it is a spelling of
 * @name: canonical, but for the case of letters; points at the name itself or into @canonical
 * @canonical: of a number
 * @digits: of a number, without anything between them
 * @dashed: of a WWN, in pairs
 * @fours: of a WWN
 */
struct scst_spellings {
	struct scst_name_number number;
	const char *name;
	char canonical[SCST_NUMBER_TEXT];
	char digits[SCST_NUMBER_TEXT];
	char dashed[SCST_NUMBER_TEXT];
	char fours[SCST_NUMBER_TEXT];
};

bool scst_name_parse(const char *name, struct scst_name_number *number);
bool scst_number_same(const struct scst_name_number *a, const struct scst_name_number *b);
bool scst_name_same(const char *a, const char *b);
size_t scst_name_canonical_size(const char *name);
void scst_name_canonical(char *buf, const char *name);
void scst_spellings_of(struct scst_spellings *of, const char *name);
bool scst_spellings_match(const struct scst_spellings *of, const char *pattern);

#endif /* SCST_SPELLING_H */
