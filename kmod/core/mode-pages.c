// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mode pages as bytes: what MODE SENSE answers, and what MODE SELECT may change (SPC-4 6.11 to 6.14, 7.5; SBC-3 6.4).
 *
 * A page is built from a few values, and read into them again.  Pages that initiators ask for, and whose functions there are
 * none of, say so and can't be changed.  Pure: no state, no locks, no allocation.  Also built in user space by the tests.
 */
#include <linux/kernel.h>
#include <linux/string.h>
#include "compat.h"
#include "mode-pages.h"

#define PAGE_ERROR_RECOVERY	0x01
#define PAGE_RECONNECT		0x02
#define PAGE_CACHING		0x08
#define PAGE_CONTROL		0x0a
#define PAGE_EXCEPTIONS		0x1c
#define PAGE_ALL		0x3f
#define SUBPAGE_EXTENSION	0x01
#define SUBPAGE_PROVISIONING	0x02
#define SPF			0x40	/* byte 0: a subpage code and two bytes of length follow */

#define CACHING_WCE		0x04	/* byte 2 */
#define CONTROL_TST_PER_NEXUS	0x20	/* byte 2: each I_T nexus has a task set of its own */
#define CONTROL_GLTSD		0x02	/* byte 2: nothing is saved */
#define CONTROL_D_SENSE		0x04	/* byte 2 */
#define CONTROL_REORDER		0x10	/* byte 3: commands may be reordered; QERR 00b */
#define CONTROL_SWP		0x08	/* byte 4; byte 5: TAS 0 */
#define CONTROL_ATO		0x80	/* byte 5 */
#define EXTENSION_TCMOS		0x04	/* byte 4: the clock may be the host's... */
#define EXTENSION_SCSIP		0x02	/* ... until SET TIMESTAMP, which goes before */
#define EXTENSION_IALUAE	0x01	/* byte 4: states of target port groups change by themselves */
#define EXTENSION_SENSE_AT	6	/* MAXIMUM SENSE DATA LENGTH */
#define EXCEPTIONS_DEXCPT	0x08	/* byte 2: none is reported, for none is looked for */
#define RECOVERY_LBPERE		0x80	/* byte 7: that space becomes scarce is told */
#define PROVISIONING_AT		16	/* first threshold descriptor; byte 4: SITUA 0, everybody is told */
#define PROVISIONING_ENABLED	0x80	/* byte 0 of it; a count (000b), as it falls (000b) */
#define PROVISIONING_AVAILABLE	0x01	/* byte 1 of it: of what */

#define PARAM_WP		0x80	/* device-specific parameter */
#define PARAM_DPOFUA		0x10
#define PARAM_LONGLBA		0x01	/* byte 4 of the long header */

#define DESC_SHORT		8
#define DESC_LONG		16

/* --- pages --------------------------------------------------------------------------------- */

/**
 * struct scst_mode_page - a mode page
 * @code: page code
 * @subpage: subpage code; 0: there is none in the page
 * @len: length in bytes with the header
 * @space: there is such a page where there are thresholds of space
 * @fixed: write the bits that never change; NULL: all are zero
 * @fill: write values; NULL: nothing can be changed
 * @read: the reverse
 */
struct scst_mode_page {
	u8 code;
	u8 subpage;
	u8 len;
	bool space;
	void (*fixed)(const struct scst_mode_state *state, u8 *page);
	void (*fill)(const struct scst_mode_values *values, u8 *page);
	void (*read)(struct scst_mode_values *values, const u8 *page);
};

static void scst_mode_fill_caching(const struct scst_mode_values *values, u8 *page)
{
	if (values->wce)
		page[2] |= CACHING_WCE;
}

static void scst_mode_read_caching(struct scst_mode_values *values, const u8 *page)
{
	values->wce = page[2] & CACHING_WCE;
}

static void scst_mode_fixed_control(const struct scst_mode_state *state, u8 *page)
{
	page[2] = CONTROL_TST_PER_NEXUS | CONTROL_GLTSD;
	page[3] = CONTROL_REORDER;
	page[5] = state->ato ? CONTROL_ATO : 0;
}

static void scst_mode_fill_control(const struct scst_mode_values *values, u8 *page)
{
	if (values->d_sense)
		page[2] |= CONTROL_D_SENSE;
	if (values->swp)
		page[4] |= CONTROL_SWP;
}

static void scst_mode_read_control(struct scst_mode_values *values, const u8 *page)
{
	values->d_sense = page[2] & CONTROL_D_SENSE;
	values->swp = page[4] & CONTROL_SWP;
}

static void scst_mode_fixed_extension(const struct scst_mode_state *state, u8 *page)
{
	page[4] = EXTENSION_TCMOS | EXTENSION_SCSIP | (state->implicit_alua ? EXTENSION_IALUAE : 0);
	page[EXTENSION_SENSE_AT] = state->sense_max;
}

static void scst_mode_fixed_exceptions(const struct scst_mode_state *state, u8 *page)
{
	page[2] = EXCEPTIONS_DEXCPT;
}

static void scst_mode_fixed_recovery(const struct scst_mode_state *state, u8 *page)
{
	if (state->space_threshold)
		page[7] = RECOVERY_LBPERE;
}

static void scst_mode_fixed_provisioning(const struct scst_mode_state *state, u8 *page)
{
	u8 *desc = page + PROVISIONING_AT;

	desc[0] = state->space_threshold ? PROVISIONING_ENABLED : 0;
	desc[1] = PROVISIONING_AVAILABLE;
	put_unaligned_be32(state->space_threshold, desc + 4);
}

/* Ascending: MODE SENSE answers in this order. */
static const struct scst_mode_page scst_mode_pages[] = {
	{ .code = PAGE_ERROR_RECOVERY, .len = 12, .fixed = scst_mode_fixed_recovery },
	{ .code = PAGE_RECONNECT, .len = 16 },
	{ .code = PAGE_CACHING, .len = 20, .fill = scst_mode_fill_caching, .read = scst_mode_read_caching },
	{ .code = PAGE_CONTROL, .len = 12, .fixed = scst_mode_fixed_control, .fill = scst_mode_fill_control,
	  .read = scst_mode_read_control },
	{ .code = PAGE_CONTROL, .subpage = SUBPAGE_EXTENSION, .len = 32, .fixed = scst_mode_fixed_extension },
	{ .code = PAGE_EXCEPTIONS, .len = 12, .fixed = scst_mode_fixed_exceptions },
	{ .code = PAGE_EXCEPTIONS, .subpage = SUBPAGE_PROVISIONING, .len = 24, .space = true,
	  .fixed = scst_mode_fixed_provisioning },
};

static bool scst_mode_offered(const struct scst_mode_page *page, const struct scst_mode_state *state)
{
	return !page->space || state->space;
}

static const struct scst_mode_page *scst_mode_find(const struct scst_mode_state *state, u8 code, u8 subpage)
{
	const struct scst_mode_page *page = scst_mode_pages;

	for (; page < scst_mode_pages + ARRAY_SIZE(scst_mode_pages); page++)
		if (page->code == code && page->subpage == subpage && scst_mode_offered(page, state))
			return page;
	return NULL;
}

/* Is the page among those that are asked for?  All subpages: page_0 format as well (SPC-4 table 154). */
static bool scst_mode_asked(const struct scst_mode_page *page, const struct scst_mode_state *state, u8 code, u8 subpage)
{
	return (code == PAGE_ALL || code == page->code) && (subpage == SCST_MODE_ANY || subpage == page->subpage) &&
	       scst_mode_offered(page, state);
}

/**
 * scst_mode_known() - can a page be asked for?
 * @state: of the device
 * @page: PAGE CODE, also that of all pages
 * @subpage: SUBPAGE CODE, also that of all subpages
 */
bool scst_mode_known(const struct scst_mode_state *state, u8 page, u8 subpage)
{
	unsigned int i;

	if (page == PAGE_ALL)
		return !subpage || subpage == SCST_MODE_ANY;
	for (i = 0; i < ARRAY_SIZE(scst_mode_pages); i++)
		if (scst_mode_asked(&scst_mode_pages[i], state, page, subpage))
			return true;
	return false;
}

static unsigned int scst_mode_put_page(const struct scst_mode_page *page, const struct scst_mode_state *state, u8 pc,
				       u8 *buf)
{
	const struct scst_mode_values *values = pc == SCST_MODE_CHANGEABLE ? &state->changeable :
						pc == SCST_MODE_DEFAULT ? &state->defaults : &state->current_values;

	memset(buf, 0, page->len);
	if (page->fixed && pc != SCST_MODE_CHANGEABLE)
		page->fixed(state, buf);
	if (page->fill)
		page->fill(values, buf);
	buf[0] = page->code;
	if (page->subpage) {
		buf[0] |= SPF;
		buf[1] = page->subpage;
		put_unaligned_be16(page->len - 4, buf + 2);
	} else {
		buf[1] = page->len - 2;
	}
	return page->len;
}

/* --- what MODE SENSE answers ----------------------------------------------------------------- */

static unsigned int scst_mode_put_desc(const struct scst_mode_state *state, bool wide, u8 *buf)
{
	if (wide) {
		put_unaligned_be64(state->nblocks, buf);
		put_unaligned_be32(0, buf + 8);
		put_unaligned_be32(state->block_size, buf + 12);
		return DESC_LONG;
	}
	put_unaligned_be32(min_t(u64, state->nblocks, U32_MAX), buf);
	put_unaligned_be32(state->block_size, buf + 4);
	return DESC_SHORT;
}

static void scst_mode_put_header(const struct scst_mode_request *req,
				 const struct scst_mode_state *state, u8 desc_len,
				 unsigned int total, u8 *buf)
{
	u8 param = (state->wp ? PARAM_WP : 0) | (state->dpofua ? PARAM_DPOFUA : 0);

	if (!req->ten) {
		buf[0] = total - 1;
		buf[2] = param;
		buf[3] = desc_len;
		return;
	}
	put_unaligned_be16(total - 2, buf);
	buf[3] = param;
	buf[4] = desc_len == DESC_LONG ? PARAM_LONGLBA : 0;
	buf[7] = desc_len;
}

/**
 * scst_mode_build() - a mode parameter list
 * @req: what is asked for: scst_mode_known(), and no saved values
 * @state: what it is built from
 * @buf: of SCST_MODE_SENSE_MAX bytes
 *
 * Return: its length.
 */
unsigned int scst_mode_build(const struct scst_mode_request *req, const struct scst_mode_state *state, u8 *buf)
{
	unsigned int header = req->ten ? 8 : 4, len = header, i;
	u8 desc_len = 0;

	memset(buf, 0, header);
	if (!req->dbd)
		desc_len = scst_mode_put_desc(state, req->ten && req->llbaa, buf + len);
	len += desc_len;
	for (i = 0; i < ARRAY_SIZE(scst_mode_pages); i++)
		if (scst_mode_asked(&scst_mode_pages[i], state, req->page, req->subpage))
			len += scst_mode_put_page(&scst_mode_pages[i], state, req->pc, buf + len);
	scst_mode_put_header(req, state, desc_len, len, buf);
	return len;
}

/* --- what MODE SELECT may change ------------------------------------------------------------- */

static int scst_mode_refuse(struct scst_mode_error *err, unsigned int byte, int bit)
{
	*err = (struct scst_mode_error){ .byte = byte, .bit = bit };
	return SCST_MODE_FIELD;
}

/* Zero and all ones stand for "as it is". */
static bool scst_mode_desc_capacity(const struct scst_mode_state *state, u64 nblocks, u64 ones)
{
	return !nblocks || nblocks == ones || nblocks == state->nblocks;
}

/* The descriptor is an offer to change capacity or block length, which can't be accepted. */
static int scst_mode_parse_desc(const struct scst_mode_state *state, const u8 *list,
				unsigned int at, bool wide, struct scst_mode_error *err)
{
	const u8 *desc = list + at;
	u64 nblocks = wide ? get_unaligned_be64(desc) : get_unaligned_be32(desc);
	unsigned int length_at = wide ? 12 : 5;
	u32 length = wide ? get_unaligned_be32(desc + 12) : get_unaligned_be24(desc + 5);

	if (!scst_mode_desc_capacity(state, nblocks, wide ? U64_MAX : U32_MAX))
		return scst_mode_refuse(err, at, 7);
	if (length != state->block_size)
		return scst_mode_refuse(err, at + length_at, 7);
	return 0;
}

/* Returns where the pages begin, or enum scst_mode_fault. */
static int scst_mode_parse_header(const struct scst_mode_state *state, const u8 *list,
				  unsigned int len, bool ten, struct scst_mode_error *err)
{
	unsigned int header = ten ? 8 : 4, desc_len;
	bool wide;
	int ret;

	if (len < header)
		return SCST_MODE_CUT;
	wide = ten && (list[4] & PARAM_LONGLBA);
	desc_len = ten ? get_unaligned_be16(list + 6) : list[3];
	if (list[ten ? 2 : 1])
		return scst_mode_refuse(err, ten ? 2 : 1, 7);
	if (desc_len && desc_len != (wide ? DESC_LONG : DESC_SHORT))
		return scst_mode_refuse(err, ten ? 6 : 3, 7);
	if (header + desc_len > len)
		return SCST_MODE_CUT;
	if (desc_len) {
		ret = scst_mode_parse_desc(state, list, header, wide, err);
		if (ret)
			return ret;
	}
	return header + desc_len;
}

/* No bit may differ from its current value unless it is changeable. */
static int scst_mode_check_bits(const struct scst_mode_page *page,
				const struct scst_mode_state *state, const u8 *list,
				unsigned int at, struct scst_mode_error *err)
{
	u8 now[SCST_MODE_PAGE_MAX], mask[SCST_MODE_PAGE_MAX];
	unsigned int i;

	scst_mode_put_page(page, state, SCST_MODE_CURRENT, now);
	scst_mode_put_page(page, state, SCST_MODE_CHANGEABLE, mask);
	for (i = page->subpage ? 4 : 2; i < page->len; i++) {
		u8 bad = (list[at + i] ^ now[i]) & ~mask[i];

		if (bad)
			return scst_mode_refuse(err, at + i, fls(bad) - 1);
	}
	return 0;
}

/* The page that @at begins, or NULL: @err says where it is none of ours.  There are four bytes of one with a subpage. */
static const struct scst_mode_page *scst_mode_identify(const struct scst_mode_state *state, const u8 *list, unsigned int at,
							struct scst_mode_error *err)
{
	bool spf = list[at] & SPF;
	u8 code = list[at] & 0x3f;
	const struct scst_mode_page *page = scst_mode_find(state, code, spf ? list[at + 1] : 0);

	if (page && !page->subpage == !spf)
		return page;
	if (page)				/* subpage 0 is not written so */
		scst_mode_refuse(err, at, 6);
	else if (spf && code != PAGE_ALL && scst_mode_known(state, code, SCST_MODE_ANY))
		scst_mode_refuse(err, at + 1, 7);
	else
		scst_mode_refuse(err, at, 5);
	return NULL;
}

static int scst_mode_check_length(const struct scst_mode_page *page, const u8 *page_at, unsigned int at,
				  struct scst_mode_error *err)
{
	if (page->subpage && get_unaligned_be16(page_at + 2) != page->len - 4)
		return scst_mode_refuse(err, at + 2, 7);
	if (!page->subpage && page_at[1] != page->len - 2)
		return scst_mode_refuse(err, at + 1, 7);
	return 0;
}

/* Returns the length of the page at @at, or enum scst_mode_fault. */
static int scst_mode_parse_page(const struct scst_mode_state *state, const u8 *list, unsigned int len, unsigned int at,
				struct scst_mode_values *values, struct scst_mode_error *err)
{
	const struct scst_mode_page *page;
	int ret;

	if (len - at < 2 || (list[at] & SPF && len - at < 4))
		return SCST_MODE_CUT;
	page = scst_mode_identify(state, list, at, err);
	if (!page)
		return SCST_MODE_FIELD;
	ret = scst_mode_check_length(page, list + at, at, err);
	if (ret)
		return ret;
	if (len - at < page->len)
		return SCST_MODE_CUT;
	ret = scst_mode_check_bits(page, state, list, at, err);
	if (ret)
		return ret;
	if (page->read)
		page->read(values, list + at);
	return page->len;
}

/**
 * scst_mode_parse() - what a mode parameter list changes
 * @state: what it is held against
 * @list: the list
 * @len: bytes of it
 * @ten: it is that of MODE SELECT(10)
 * @values: set: those in force after the list, if it is right
 * @err: set if a field is wrong: where
 *
 * Return: 0 or enum scst_mode_fault.
 */
int scst_mode_parse(const struct scst_mode_state *state, const u8 *list, unsigned int len, bool ten,
		    struct scst_mode_values *values, struct scst_mode_error *err)
{
	int at, ret;

	*values = state->current_values;
	at = scst_mode_parse_header(state, list, len, ten, err);
	if (at < 0)
		return at;
	while (at < len) {
		ret = scst_mode_parse_page(state, list, len, at, values, err);
		if (ret < 0)
			return ret;
		at += ret;
	}
	return 0;
}
