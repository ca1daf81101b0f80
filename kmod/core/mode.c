// SPDX-License-Identifier: GPL-2.0-only
/*
 * MODE SENSE and MODE SELECT (SPC-4 6.11 to 6.14, 7.5; SBC-3 6.4).
 *
 * A page is built from a few values; building and parsing are pure.  The values are single
 * bytes of the device that commands read without a lock; two MODE SELECTs at a time are
 * serialised by nothing, the later one wins bit by bit.
 */
#include "core.h"

#define PAGE_CACHING		0x08
#define PAGE_CONTROL		0x0a
#define PAGE_ALL		0x3f
#define SUBPAGE_ALL		0xff

#define PC_CURRENT		0
#define PC_CHANGEABLE		1
#define PC_DEFAULT		2
#define PC_SAVED		3

#define CACHING_LEN		20
#define CONTROL_LEN		12
#define PAGE_MAX		20

#define CACHING_WCE		0x04	/* byte 2 */
#define CONTROL_TST_PER_NEXUS	0x20	/* byte 2: each I_T nexus has a task set of its own */
#define CONTROL_GLTSD		0x02	/* byte 2: nothing is saved */
#define CONTROL_D_SENSE		0x04	/* byte 2 */
#define CONTROL_REORDER		0x10	/* byte 3: commands may be reordered; QERR 00b */
#define CONTROL_SWP		0x08	/* byte 4; byte 5: TAS 0 */

#define PARAM_WP		0x80	/* device-specific parameter */
#define PARAM_DPOFUA		0x10
#define PARAM_LONGLBA		0x01	/* byte 4 of the long header */

#define DESC_SHORT		8
#define DESC_LONG		16

/* Header, long descriptor and both pages. */
#define SENSE_MAX		(8 + DESC_LONG + CACHING_LEN + CONTROL_LEN)
/* Room for a few repeated pages; what is longer repeats beyond reason. */
#define SELECT_MAX		255

struct scst_mode_values {
	bool wce;
	bool d_sense;
	bool swp;
};

/* What a mode parameter list is built from or held against. */
struct scst_mode_state {
	struct scst_mode_values current_values;
	struct scst_mode_values defaults;
	struct scst_mode_values changeable;
	u64 nblocks;
	u32 block_size;
	bool dpofua;
	bool wp;
};

/* Why a parameter list is refused; the pointer is used with SCST_SENSE_INVALID_FIELD_LIST. */
struct scst_mode_error {
	u32 sense;
	u16 byte;
	s8 bit;
};

static void scst_mode_state(const struct scst_cmd *cmd, struct scst_mode_state *state)
{
	struct scst_device *dev = cmd->dev;
	bool cache = scst_device_write_cache(dev);

	*state = (struct scst_mode_state) {
		.current_values = {
			.wce	= cache && !READ_ONCE(dev->wce_off),
			.d_sense = READ_ONCE(dev->d_sense),
			.swp	= READ_ONCE(dev->swp),
		},
		.defaults.wce = cache,
		/* Without FUA there is no way to write through the backing's cache. */
		.changeable = {
			.wce	= cache && dev->fua,
			.d_sense = true,
			.swp	= true,
		},
		.nblocks	= READ_ONCE(dev->geo.nblocks),
		.block_size	= scst_device_block_size(dev),
		.dpofua		= dev->fua,
		.wp		= READ_ONCE(cmd->nexus->gates) & SCST_STOPS_WRITE,
	};
}

static void scst_cache_told(struct scst_device *dev, bool cache)
{
	if (xchg(&dev->cache_told, cache) != cache)
		scst_ua_device(dev, SCST_UA_MODE_CHANGED, NULL);
}

/**
 * scst_device_write_cache() - is there a volatile write cache now?
 * @dev: the device
 *
 * Process or softirq context.  Asked each time, because it may be switched at run time; whoever notices that it is not what
 * initiators were told last tells them.  A parked device has what it had.
 */
bool scst_device_write_cache(struct scst_device *dev)
{
	bool cache;

	if (!percpu_ref_tryget_live(&dev->active_ref))
		return READ_ONCE(dev->cache_told);
	cache = dev->handler->write_cache && dev->handler->write_cache(dev);
	percpu_ref_put(&dev->active_ref);
	if (unlikely(READ_ONCE(dev->cache_told) != cache))
		scst_cache_told(dev, cache);
	return cache;
}

/* --- pages --------------------------------------------------------------------------------- */

static void scst_mode_caching(const struct scst_mode_values *values, bool fixed, u8 *page)
{
	if (values->wce)
		page[2] |= CACHING_WCE;
}

static void scst_mode_control(const struct scst_mode_values *values, bool fixed, u8 *page)
{
	if (fixed) {
		page[2] = CONTROL_TST_PER_NEXUS | CONTROL_GLTSD;
		page[3] = CONTROL_REORDER;
	}
	if (values->d_sense)
		page[2] |= CONTROL_D_SENSE;
	if (values->swp)
		page[4] |= CONTROL_SWP;
}

static void scst_mode_read_caching(struct scst_mode_values *values, const u8 *page)
{
	values->wce = page[2] & CACHING_WCE;
}

static void scst_mode_read_control(struct scst_mode_values *values, const u8 *page)
{
	values->d_sense = page[2] & CONTROL_D_SENSE;
	values->swp = page[4] & CONTROL_SWP;
}

/**
 * struct scst_mode_page - a mode page; none has subpages
 * @code: page code
 * @len: length in bytes with the header
 * @fill: write values; @fixed: the bits that never change, too
 * @read: the reverse
 */
struct scst_mode_page {
	u8 code;
	u8 len;
	void (*fill)(const struct scst_mode_values *values, bool fixed, u8 *page);
	void (*read)(struct scst_mode_values *values, const u8 *page);
};

static const struct scst_mode_page scst_mode_pages[] = {
	{ PAGE_CACHING, CACHING_LEN, scst_mode_caching, scst_mode_read_caching },
	{ PAGE_CONTROL, CONTROL_LEN, scst_mode_control, scst_mode_read_control },
};

static const struct scst_mode_page *scst_mode_find(u8 code)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(scst_mode_pages); i++)
		if (scst_mode_pages[i].code == code)
			return &scst_mode_pages[i];
	return NULL;
}

static unsigned int scst_mode_put_page(const struct scst_mode_page *page,
				       const struct scst_mode_state *state, u8 pc, u8 *buf)
{
	memset(buf, 0, page->len);
	buf[0] = page->code;
	buf[1] = page->len - 2;
	if (pc == PC_CHANGEABLE)
		page->fill(&state->changeable, false, buf);
	else
		page->fill(pc == PC_DEFAULT ? &state->defaults : &state->current_values, true, buf);
	return page->len;
}

/* --- MODE SENSE ---------------------------------------------------------------------------- */

struct scst_mode_request {
	bool ten;		/* MODE SENSE(10) or MODE SELECT(10) */
	bool dbd;
	bool llbaa;
	u8 pc;
	u8 page;
	u8 subpage;
};

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

/*
 * Pure.  @buf holds SENSE_MAX bytes.  Returns the length of the list.  The request is
 * valid: see scst_mode_sense_check().
 */
static unsigned int scst_mode_build(const struct scst_mode_request *req,
				    const struct scst_mode_state *state, u8 *buf)
{
	unsigned int header = req->ten ? 8 : 4, len = header, i;
	u8 desc_len = 0;

	memset(buf, 0, header);
	if (!req->dbd)
		desc_len = scst_mode_put_desc(state, req->ten && req->llbaa, buf + len);
	len += desc_len;
	for (i = 0; i < ARRAY_SIZE(scst_mode_pages); i++)
		if (req->page == PAGE_ALL || req->page == scst_mode_pages[i].code)
			len += scst_mode_put_page(&scst_mode_pages[i], state, req->pc, buf + len);
	scst_mode_put_header(req, state, desc_len, len, buf);
	return len;
}

/* Sets sense data and returns false if the request can't be met. */
static bool scst_mode_sense_check(struct scst_cmd *cmd, const struct scst_mode_request *req)
{
	if (req->page != PAGE_ALL && !scst_mode_find(req->page))
		scst_cmd_invalid_cdb(cmd, 2, 5);
	else if (req->subpage && req->subpage != SUBPAGE_ALL)
		scst_cmd_invalid_cdb(cmd, 3, 7);
	else if (req->pc == PC_SAVED)
		scst_cmd_sense(cmd, SCST_SENSE_SAVING_NOT_SUPPORTED);
	else
		return true;
	return false;
}

/**
 * scst_mode_sense() - MODE SENSE(6) and (10)
 * @cmd: the command
 */
void scst_mode_sense(struct scst_cmd *cmd)
{
	const u8 *cdb = cmd->cdb;
	const struct scst_mode_request req = {
		.ten		= cdb[0] == MODE_SENSE_10,
		.dbd		= cdb[1] & 0x08,
		.llbaa		= cdb[1] & 0x10,
		.pc		= cdb[2] >> 6,
		.page		= cdb[2] & 0x3f,
		.subpage	= cdb[3],
	};
	struct scst_mode_state state;
	u8 buf[SENSE_MAX];

	if (!scst_mode_sense_check(cmd, &req)) {
		scst_cmd_respond(cmd);
		return;
	}
	scst_mode_state(cmd, &state);
	scst_cmd_reply(cmd, buf, scst_mode_build(&req, &state, buf));
}

/* --- MODE SELECT --------------------------------------------------------------------------- */

static int scst_mode_refuse(struct scst_mode_error *err, unsigned int byte, int bit)
{
	*err = (struct scst_mode_error) { SCST_SENSE_INVALID_FIELD_LIST, byte, bit };
	return -EINVAL;
}

static int scst_mode_truncated(struct scst_mode_error *err)
{
	*err = (struct scst_mode_error) { .sense = SCST_SENSE_LIST_LENGTH };
	return -EINVAL;
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

/* Returns where the pages begin, or a negative errno. */
static int scst_mode_parse_header(const struct scst_mode_state *state, const u8 *list,
				  unsigned int len, bool ten, struct scst_mode_error *err)
{
	unsigned int header = ten ? 8 : 4, desc_len;
	bool wide;
	int ret;

	if (len < header)
		return scst_mode_truncated(err);
	wide = ten && (list[4] & PARAM_LONGLBA);
	desc_len = ten ? get_unaligned_be16(list + 6) : list[3];
	if (list[ten ? 2 : 1])
		return scst_mode_refuse(err, ten ? 2 : 1, 7);
	if (desc_len && desc_len != (wide ? DESC_LONG : DESC_SHORT))
		return scst_mode_refuse(err, ten ? 6 : 3, 7);
	if (header + desc_len > len)
		return scst_mode_truncated(err);
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
	u8 now[PAGE_MAX], mask[PAGE_MAX];
	unsigned int i;

	scst_mode_put_page(page, state, PC_CURRENT, now);
	scst_mode_put_page(page, state, PC_CHANGEABLE, mask);
	for (i = 2; i < page->len; i++) {
		u8 bad = (list[at + i] ^ now[i]) & ~mask[i];

		if (bad)
			return scst_mode_refuse(err, at + i, fls(bad) - 1);
	}
	return 0;
}

/* Returns the length of the page at @at, or a negative errno. */
static int scst_mode_parse_page(const struct scst_mode_state *state, const u8 *list,
				unsigned int len, unsigned int at,
				struct scst_mode_values *values, struct scst_mode_error *err)
{
	const struct scst_mode_page *page;
	int ret;

	if (len - at < 2)
		return scst_mode_truncated(err);
	page = scst_mode_find(list[at] & 0x3f);
	if (!page)
		return scst_mode_refuse(err, at, 5);
	if (list[at] & 0x40)		/* SPF: no page has subpages */
		return scst_mode_refuse(err, at, 6);
	if (list[at + 1] != page->len - 2)
		return scst_mode_refuse(err, at + 1, 7);
	if (len - at < page->len)
		return scst_mode_truncated(err);
	ret = scst_mode_check_bits(page, state, list, at, err);
	if (ret)
		return ret;
	page->read(values, list + at);
	return page->len;
}

/*
 * Pure.  @values holds the values after the list, valid if 0 is returned; else @err says what
 * is wrong with it.
 */
static int scst_mode_parse(const struct scst_mode_state *state, const u8 *list, unsigned int len,
			   bool ten, struct scst_mode_values *values, struct scst_mode_error *err)
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

/* What was written under the old rules must be stable before the new ones are in force. */
static bool scst_mode_must_flush(const struct scst_mode_values *old,
				 const struct scst_mode_values *new)
{
	return (old->wce && !new->wce) || (!old->swp && new->swp);
}

static void scst_mode_apply(struct scst_cmd *cmd, const struct scst_mode_values *old,
			    const struct scst_mode_values *new)
{
	struct scst_device *dev = cmd->dev;

	if (old->wce != new->wce)
		WRITE_ONCE(dev->wce_off, !new->wce);
	if (old->d_sense != new->d_sense)
		WRITE_ONCE(dev->d_sense, new->d_sense);
	if (old->swp != new->swp) {
		WRITE_ONCE(dev->swp, new->swp);
		scst_gate_device(dev, SCST_GATE_WRITE_PROTECT, new->swp || dev->read_only);
	}
	if (memcmp(old, new, sizeof(*old)))
		scst_ua_device(dev, SCST_UA_MODE_CHANGED, cmd->nexus);
	if (scst_mode_must_flush(old, new))
		scst_sync(cmd, 0, 0);
	else
		scst_cmd_good(cmd);
}

/* The CDB asks for what can't be done.  (A reader, who must not change what writers rely on, has been stopped before.) */
bool scst_mode_prepare_select(struct scst_cmd *cmd)
{
	if (!(cmd->cdb[1] & 0x10))	/* PF: parameters of the vendor's own form */
		scst_cmd_invalid_cdb(cmd, 1, 4);
	else if (cmd->cdb[1] & 0x01)	/* SP: nothing is saved */
		scst_cmd_invalid_cdb(cmd, 1, 0);
	else if (cmd->xfer_len > min_t(u32, cmd->len, SELECT_MAX))
		scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	else
		return true;
	return false;
}

/**
 * scst_mode_select() - MODE SELECT(6) and (10)
 * @cmd: the command
 *
 * Either the whole list is valid and in force when the command ends, or nothing has changed.
 */
void scst_mode_select(struct scst_cmd *cmd)
{
	struct scst_mode_values values;
	struct scst_mode_state state;
	struct scst_mode_error err;
	u8 list[SELECT_MAX];

	if (!cmd->xfer_len) {
		scst_cmd_good(cmd);
		return;
	}
	scst_cmd_fetch(cmd, list, cmd->xfer_len);
	scst_mode_state(cmd, &state);
	if (!scst_mode_parse(&state, list, cmd->xfer_len, cmd->cdb[0] == MODE_SELECT_10, &values,
			     &err)) {
		scst_mode_apply(cmd, &state.current_values, &values);
		return;
	}
	if (err.sense == SCST_SENSE_INVALID_FIELD_LIST)
		scst_cmd_invalid_list(cmd, err.byte, err.bit);
	else
		scst_cmd_sense(cmd, err.sense);
	scst_cmd_respond(cmd);
}
