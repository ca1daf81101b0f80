// SPDX-License-Identifier: GPL-2.0-only
/*
 * One initiator, one name: names that are numbers (WWNs, GIDs) and those of iSCSI are written in many ways, and which
 * one somebody took must not decide what an initiator sees.
 *
 * Pure: no state, no locks, no allocation.  Also built in user space by the tests, which compare it with what the
 * administration tool does (pyscstadmin/config/spelling.py).
 */
#include <linux/ctype.h>
#include <linux/string.h>
#include "spelling.h"

#define WWN_LEN	8
#define GID_LEN	16

/* What may stand before the digits of a number of @len bytes (0: of either), and whether an address may follow. */
static const struct scst_name_prefix {
	const char *text;
	u8 len;
	bool address;
} scst_name_prefixes[] = {
	{ .text = "0x" },
	{ .text = "naa.", .len = WWN_LEN },
	{ .text = "wwn.", .len = WWN_LEN },
	{ .text = "wwn-0x", .len = WWN_LEN },
	{ .text = "wwn-", .len = WWN_LEN },
	{ .text = "fc:0x", .len = WWN_LEN, .address = true },
	{ .text = "sas:0x", .len = WWN_LEN },
	{ .text = "ib.", .len = GID_LEN },
	{ .text = "" },
};

#define NR_PREFIXES (sizeof(scst_name_prefixes) / sizeof(scst_name_prefixes[0]))

/* --- numbers -------------------------------------------------------------------------------- */

static int scst_digit(char c)
{
	if (isdigit(c))
		return c - '0';
	c = tolower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static unsigned int scst_digits_in_a_row(const char *text, unsigned int max)
{
	unsigned int nr = 0;

	while (nr < max && scst_digit(text[nr]) >= 0)
		nr++;
	return nr;
}

/* How many digits stand together: 2 with : or - after them, 4 with :, or all of them (0). */
static unsigned int scst_digits_step(const char *text)
{
	unsigned int nr = scst_digits_in_a_row(text, 5);

	if (nr == 2 && (text[2] == ':' || text[2] == '-'))
		return 2;
	return nr == 4 && text[4] == ':' ? 4 : 0;
}

/* Moves *@at behind the digits.  Return: how many there are. */
static unsigned int scst_digits_take(const char **at, u8 *bytes)
{
	const char *c = *at;
	unsigned int step = scst_digits_step(c), nr;
	char sign = step ? c[step] : 0;

	for (nr = 0; nr < 2 * SCST_NUMBER_MAX; nr++) {
		unsigned int apart = step && nr && nr % step == 0;
		int digit;

		if (apart && *c != sign)
			break;
		digit = scst_digit(c[apart]);
		if (digit < 0)
			break;
		bytes[nr / 2] = nr & 1 ? bytes[nr / 2] | digit : digit << 4;
		c += apart + 1;
	}
	*at = c;
	return nr;
}

/* The rest of a text that begins with @prefix, or NULL. */
static const char *scst_text_after(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncasecmp(text, prefix, len) ? NULL : text + len;
}

static const struct scst_name_prefix scst_node_prefix = { .text = "nn-0xNODE:pn-0x", .len = WWN_LEN };

/* NODE is 16 digits. */
static const char *scst_text_after_node(const char *text)
{
	const char *rest = scst_text_after(text, "nn-0x");

	if (!rest || scst_digits_in_a_row(rest, 2 * WWN_LEN) != 2 * WWN_LEN)
		return NULL;
	return scst_text_after(rest + 2 * WWN_LEN, ":pn-0x");
}

/* The address that a port has in its fabric for the time being: a comma, 0x and up to six digits. */
static bool scst_is_address(const char *text)
{
	const char *rest = scst_text_after(text, ",0x");
	unsigned int nr = rest ? scst_digits_in_a_row(rest, 6) : 0;

	return nr && !rest[nr];
}

static bool scst_number_take(const struct scst_name_prefix *prefix, const char *text,
			     struct scst_name_number *number)
{
	unsigned int nr = scst_digits_take(&text, number->bytes);

	if (*text && !(prefix->address && scst_is_address(text)))
		return false;
	if (nr != 2 * WWN_LEN && nr != 2 * GID_LEN)
		return false;
	number->len = nr / 2;
	return !prefix->len || prefix->len == number->len;
}

/**
 * scst_name_parse() - is a name the spelling of a number?
 * @name: an initiator's name
 * @number: set; its len is 0 if it is not
 *
 * 16 digits (WWN) or 32 (GID), in any case, in pairs with : or - between, in fours with :, or without; 0x, naa., wwn.
 * and their like may stand before them.
 */
bool scst_name_parse(const char *name, struct scst_name_number *number)
{
	const char *port = scst_text_after_node(name);
	unsigned int i;

	if (port && scst_number_take(&scst_node_prefix, port, number))
		return true;
	for (i = 0; i < NR_PREFIXES; i++) {
		const struct scst_name_prefix *prefix = &scst_name_prefixes[i];
		const char *digits = scst_text_after(name, prefix->text);

		if (digits && scst_number_take(prefix, digits, number))
			return true;
	}
	number->len = 0;
	return false;
}

/* In groups of @step digits with @sign between them; @step 0: without groups. */
static void scst_number_print(char *buf, const struct scst_name_number *number, unsigned int step, char sign)
{
	unsigned int nr;

	for (nr = 0; nr < 2 * number->len; nr++) {
		u8 byte = number->bytes[nr / 2];

		if (step && nr && nr % step == 0)
			*buf++ = sign;
		*buf++ = "0123456789abcdef"[nr & 1 ? byte & 0xf : byte >> 4];
	}
	*buf = 0;
}

static unsigned int scst_number_step(const struct scst_name_number *number)
{
	return number->len == WWN_LEN ? 2 : 4;
}

/* --- names ---------------------------------------------------------------------------------- */

static bool scst_text_is_digits(const char *text, unsigned int nr)
{
	return text && scst_digits_in_a_row(text, nr) == nr && !text[nr];
}

/* iqn., eui. and naa. names (RFC 7143, RFC 3980) are in lower case, whoever writes them. */
static bool scst_name_is_iscsi(const char *name)
{
	return scst_text_after(name, "iqn.") ||
	       scst_text_is_digits(scst_text_after(name, "eui."), 2 * WWN_LEN) ||
	       scst_text_is_digits(scst_text_after(name, "naa."), 2 * GID_LEN);
}

/**
 * scst_name_canonical_size() - bytes that the canonical spelling of a name takes, with the null
 * @name: an initiator's name
 */
size_t scst_name_canonical_size(const char *name)
{
	struct scst_name_number number;

	if (!scst_name_parse(name, &number))
		return strlen(name) + 1;
	return 2 * number.len + 2 * number.len / scst_number_step(&number);
}

/**
 * scst_name_canonical() - the spelling of a name that is shown
 * @buf: at least scst_name_canonical_size() bytes
 * @name: an initiator's name
 *
 * WWNs in pairs, GIDs in fours, iSCSI names in lower case; all else as it is.
 */
void scst_name_canonical(char *buf, const char *name)
{
	struct scst_name_number number;
	bool lower;

	if (scst_name_parse(name, &number)) {
		scst_number_print(buf, &number, scst_number_step(&number), ':');
		return;
	}
	lower = scst_name_is_iscsi(name);
	do
		*buf++ = lower ? tolower(*name) : *name;
	while (*name++);
}

/**
 * scst_number_same() - are two names the same number?
 * @a: what scst_name_parse() made of one
 * @b: of the other
 *
 * Return: true if both are that number, or neither is any.
 */
bool scst_number_same(const struct scst_name_number *a, const struct scst_name_number *b)
{
	return a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}

/**
 * scst_name_same() - are two names spellings of one?
 * @a: an initiator's name
 * @b: another
 */
bool scst_name_same(const char *a, const char *b)
{
	struct scst_name_number x, y;

	scst_name_parse(a, &x);
	scst_name_parse(b, &y);
	return scst_number_same(&x, &y) && (x.len || !strcasecmp(a, b));
}

/**
 * scst_spellings_of() - the ways to write a name
 * @of: set
 * @name: an initiator's name, in any spelling; must stay as long as @of is used
 */
void scst_spellings_of(struct scst_spellings *of, const char *name)
{
	of->name = name;
	if (!scst_name_parse(name, &of->number))
		return;
	scst_number_print(of->canonical, &of->number, scst_number_step(&of->number), ':');
	scst_number_print(of->digits, &of->number, 0, 0);
	scst_number_print(of->dashed, &of->number, 2, '-');
	scst_number_print(of->fours, &of->number, 4, ':');
	of->name = of->canonical;
}

/* --- patterns ------------------------------------------------------------------------------- */

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

/* A pattern without what may stand before the digits of such a number: the longest is meant. */
static const char *scst_pattern_digits(const char *pattern, u8 len)
{
	const char *longest = pattern;
	unsigned int i;

	for (i = 0; i < NR_PREFIXES; i++) {
		const struct scst_name_prefix *prefix = &scst_name_prefixes[i];
		const char *rest = scst_text_after(pattern, prefix->text);

		if (rest && rest > longest && (!prefix->len || prefix->len == len))
			longest = rest;
	}
	return longest;
}

/* Does a pattern begin with this many digits or ? */
static bool scst_pattern_begins(const char *pattern, unsigned int nr)
{
	while (nr && (*pattern == '?' || scst_digit(*pattern) >= 0)) {
		pattern++;
		nr--;
	}
	return !nr;
}

static bool scst_pattern_is_dashed(const char *pattern)
{
	return scst_pattern_begins(pattern, 2) && pattern[2] == '-' && scst_pattern_begins(pattern + 3, 2);
}

static bool scst_pattern_is_fours(const char *pattern)
{
	return scst_pattern_begins(pattern, 4) && pattern[4] == ':';
}

static bool scst_number_match(const struct scst_spellings *of, const char *pattern)
{
	const char *rest = scst_pattern_digits(pattern, of->number.len);

	if (scst_glob_match(rest, of->digits) || (rest != pattern && scst_glob_match(rest, of->canonical)))
		return true;
	if (of->number.len != WWN_LEN)
		return false;
	return (scst_pattern_is_dashed(rest) && scst_glob_match(rest, of->dashed)) ||
	       (scst_pattern_is_fours(rest) && scst_glob_match(rest, of->fours));
}

static bool scst_text_match(const struct scst_spellings *of, const char *pattern)
{
	if (!strpbrk(pattern, "*?"))
		return scst_name_same(of->name, pattern);
	return scst_glob_match(pattern, of->name) || (of->number.len && scst_number_match(of, pattern));
}

/**
 * scst_spellings_match() - does a name match a pattern?
 * @of: the name
 * @pattern: * any run, ? one character, a leading ! inverts; case does not matter
 *
 * The pattern is compared with the canonical name.  Where that is a number, the pattern (without 0x and its like) is
 * also compared with its digits alone, and, if it begins like that, with the pairs 50-00-c5-... and the fours
 * 5000:c500:... of a WWN.  A pattern without * and ? has to be a spelling of the name.
 */
bool scst_spellings_match(const struct scst_spellings *of, const char *pattern)
{
	if (*pattern == '!')
		return !scst_text_match(of, pattern + 1);
	return scst_text_match(of, pattern);
}
