// SPDX-License-Identifier: GPL-2.0-only
/*
 * The record of a device's persistent reservations: what survives a loss of power, and what nodes that share a device
 * hand to each other.
 *
 * Pure.  Numbers are big-endian, as in SCSI.
 *
 *	 0	8	magic
 *	 8	2	version
 *	10	2	0
 *	12	4	length of the whole record
 *	16	8	sequence number
 *	24	4	CRC-32C of the bytes so far		(so far it is the same in every version)
 *	28	4	PRGENERATION
 *	32	4	registrants
 *	36	4	which of them holds the reservation, or ffffffff
 *	40	1	TYPE, 0: nothing is reserved
 *	41	1	RECORD_*
 *	42	2	bytes of the owner
 *	44	n	owner, with zeroes up to a multiple of 4
 *	per registrant: key (8), relative target port (2), bytes of TransportID (2), TransportID
 *	version 2, if there is identifying information: bytes of its kinds (2 each), they
 *	version 3, if something is undone: the same, whether there is any or not, and then 3 bytes of 0, enum scst_undone
 *	at the end: CRC-32C of all before it (4), the sequence number once more (8)
 *
 * The sequence number is what is written last: where it is not that of the beginning, the record was not written to
 * its end.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include "compat.h"
#include "pr-state.h"

#define MAGIC		"SCST-PR\n"
#define MAGIC_LEN	8
/* An earlier module takes none for more than it understands. */
#define VERSION_PLAIN	1
#define VERSION_IDENT	2
#define VERSION_UNDONE	3
#define HEADER_CRC_AT	24
#define HEADER_LEN	SCST_PR_RECORD_HEADER
#define FIXED_LEN	44
#define REG_LEN		12
#define IDENT_LEN	(2 * SCST_IDENT_KINDS)
#define UNDONE_LEN	4
#define TRAILER_LEN	12
#define RECORD_MIN	(FIXED_LEN + TRAILER_LEN)
#define ID_MIN		24

#define RECORD_APTPL	0x01
#define RECORD_LOST	0x02

/* Of four bits at a time, the polynomial 82f63b78h (RFC 3720 B.4). */
static const u32 scst_crc32c_table[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
	0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
	0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

/**
 * scst_crc32c() - CRC-32C, which no module has to be loaded for
 * @crc: of what is before @buf, 0 at the beginning
 * @buf: bytes
 * @len: how many
 */
u32 scst_crc32c(u32 crc, const void *buf, u32 len)
{
	const u8 *at = buf;

	for (crc = ~crc; len--; at++) {
		crc = crc >> 4 ^ scst_crc32c_table[(crc ^ *at) & 0xf];
		crc = crc >> 4 ^ scst_crc32c_table[(crc ^ *at >> 4) & 0xf];
	}
	return ~crc;
}

static u32 scst_padded(u32 len)
{
	return (len + 3) & ~3u;
}

/* --- to bytes ------------------------------------------------------------------------------- */

static u16 scst_record_version(const struct scst_pr *pr)
{
	if (pr->undone)
		return VERSION_UNDONE;
	return pr->ident.len[0] || pr->ident.len[1] ? VERSION_IDENT : VERSION_PLAIN;
}

/* Bytes behind the registrants. */
static u32 scst_record_more(const struct scst_pr *pr)
{
	u16 version = scst_record_version(pr);

	if (version == VERSION_PLAIN)
		return 0;
	return IDENT_LEN + pr->ident.len[0] + pr->ident.len[1] + (version == VERSION_UNDONE ? UNDONE_LEN : 0);
}

/* Length of a record in bytes. */
u32 scst_pr_record_size(const struct scst_pr *pr, u32 owner_len)
{
	u32 i, len = RECORD_MIN + scst_padded(owner_len) + scst_record_more(pr);

	for (i = 0; i < pr->nr; i++)
		len += REG_LEN + pr->reg[i].nexus.id.len;
	return len;
}

static void scst_record_put_header(u8 *buf, u16 version, u32 len, u64 sequence)
{
	memcpy(buf, MAGIC, MAGIC_LEN);
	put_unaligned_be16(version, buf + 8);
	put_unaligned_be16(0, buf + 10);
	put_unaligned_be32(len, buf + 12);
	put_unaligned_be64(sequence, buf + 16);
	put_unaligned_be32(scst_crc32c(0, buf, HEADER_CRC_AT), buf + HEADER_CRC_AT);
}

static u8 *scst_record_put_state(u8 *buf, const struct scst_pr *pr, const u8 *owner, u32 owner_len)
{
	put_unaligned_be32(pr->generation, buf + 28);
	put_unaligned_be32(pr->nr, buf + 32);
	put_unaligned_be32(pr->holder, buf + 36);
	buf[40] = pr->type;
	buf[41] = (pr->aptpl ? RECORD_APTPL : 0) | (pr->lost ? RECORD_LOST : 0);
	put_unaligned_be16(owner_len, buf + 42);
	memset(buf + FIXED_LEN, 0, scst_padded(owner_len));
	memcpy(buf + FIXED_LEN, owner, owner_len);
	return buf + FIXED_LEN + scst_padded(owner_len);
}

static u8 *scst_record_put_registrant(u8 *at, const struct scst_pr_registrant *reg)
{
	put_unaligned_be64(reg->key, at);
	put_unaligned_be16(reg->nexus.port, at + 8);
	put_unaligned_be16(reg->nexus.id.len, at + 10);
	memcpy(at + REG_LEN, reg->nexus.id.bytes, reg->nexus.id.len);
	return at + REG_LEN + reg->nexus.id.len;
}

static u8 *scst_record_put_ident(u8 *at, const struct scst_ident *ident)
{
	u32 kind;

	for (kind = 0; kind < SCST_IDENT_KINDS; kind++)
		put_unaligned_be16(ident->len[kind], at + 2 * kind);
	for (kind = 0, at += IDENT_LEN; kind < SCST_IDENT_KINDS; at += ident->len[kind++])
		memcpy(at, ident->bytes + scst_ident_at(kind), ident->len[kind]);
	return at;
}

/**
 * scst_pr_record_encode() - a state as a record
 * @pr: the state
 * @sequence: of the record, from 1; higher than that of every record before it
 * @owner: what it is a record of
 * @owner_len: bytes of it, up to SCST_PR_OWNER_MAX
 * @buf: where it goes
 * @size: bytes in @buf
 *
 * Return: bytes of the record; 0: it does not fit, or cannot be written.
 */
u32 scst_pr_record_encode(const struct scst_pr *pr, u64 sequence, const u8 *owner, u32 owner_len, u8 *buf, u32 size)
{
	u32 i, len = scst_pr_record_size(pr, owner_len);
	u16 version = scst_record_version(pr);
	u8 *at;

	if (len > size || owner_len > SCST_PR_OWNER_MAX || !sequence)
		return 0;
	scst_record_put_header(buf, version, len, sequence);
	at = scst_record_put_state(buf, pr, owner, owner_len);
	for (i = 0; i < pr->nr; i++)
		at = scst_record_put_registrant(at, &pr->reg[i]);
	if (version >= VERSION_IDENT)
		at = scst_record_put_ident(at, &pr->ident);
	if (version >= VERSION_UNDONE) {
		put_unaligned_be32(pr->undone, at);
		at += UNDONE_LEN;
	}
	put_unaligned_be32(scst_crc32c(0, buf, at - buf), at);
	put_unaligned_be64(sequence, at + 4);
	return len;
}

/* --- from bytes ----------------------------------------------------------------------------- */

static bool scst_record_is_zero(const u8 *buf, u32 len)
{
	while (len && !*buf) {
		buf++;
		len--;
	}
	return !len;
}

/* Bytes that do not begin as a record does. */
static enum scst_pr_record scst_record_no_magic(const u8 *buf, u32 size)
{
	u32 len = size < MAGIC_LEN ? size : MAGIC_LEN;

	if (scst_record_is_zero(buf, size))
		return SCST_PR_RECORD_NONE;
	if (scst_record_is_zero(buf, len))
		return SCST_PR_RECORD_TORN;
	return size < MAGIC_LEN && !memcmp(buf, MAGIC, size) ? SCST_PR_RECORD_TORN : SCST_PR_RECORD_DAMAGED;
}

/* What is the same in every version. */
static enum scst_pr_record scst_record_check_header(const u8 *buf, u32 size)
{
	u16 version;

	if (size < MAGIC_LEN || memcmp(buf, MAGIC, MAGIC_LEN))
		return scst_record_no_magic(buf, size);
	if (size < HEADER_LEN)
		return SCST_PR_RECORD_TORN;
	if (scst_crc32c(0, buf, HEADER_CRC_AT) != get_unaligned_be32(buf + HEADER_CRC_AT))
		return SCST_PR_RECORD_DAMAGED;
	version = get_unaligned_be16(buf + 8);
	if (version > VERSION_UNDONE)
		return SCST_PR_RECORD_NEWER;
	return version ? SCST_PR_RECORD_WHOLE : SCST_PR_RECORD_DAMAGED;
}

static enum scst_pr_record scst_record_check_trailer(const u8 *buf, u32 size)
{
	u32 len = get_unaligned_be32(buf + 12);
	const u8 *trailer;

	if (len < RECORD_MIN)
		return SCST_PR_RECORD_DAMAGED;
	if (len > size)
		return SCST_PR_RECORD_TORN;
	trailer = buf + len - TRAILER_LEN;
	if (memcmp(buf + 16, trailer + 4, 8))
		return SCST_PR_RECORD_TORN;
	if (scst_crc32c(0, buf, len - TRAILER_LEN) != get_unaligned_be32(trailer))
		return SCST_PR_RECORD_DAMAGED;
	return SCST_PR_RECORD_WHOLE;
}

/* Is the next registrant whole, in front of @end?  Return: its length, or 0. */
static u32 scst_record_registrant(const u8 *at, const u8 *end)
{
	u32 id_len;

	if (end - at < REG_LEN)
		return 0;
	id_len = get_unaligned_be16(at + 10);
	if (id_len < ID_MIN || id_len > SCST_TRANSPORT_ID_MAX || end - at - REG_LEN < id_len)
		return 0;
	return REG_LEN + id_len;
}

/* Is what is undone the last there is in front of @end? */
static bool scst_record_undone_fits(const u8 *at, const u8 *end)
{
	u32 undone;

	if (end - at < UNDONE_LEN)
		return false;
	undone = get_unaligned_be32(end - UNDONE_LEN);
	return undone && undone < SCST_UNDONE_NR;
}

/* Is the identifying information all there is in front of @end?  @none: or nothing. */
static bool scst_record_ident_fits(const u8 *at, const u8 *end, bool none)
{
	u32 kind, len, all = 0;

	if (end - at < IDENT_LEN)
		return false;
	for (kind = 0; kind < SCST_IDENT_KINDS; kind++, all += len) {
		len = get_unaligned_be16(at + 2 * kind);
		if (len > scst_ident_max(kind))
			return false;
	}
	return (all || none) && end - at == IDENT_LEN + all;
}

/* What is behind the registrants, up to @end, for a version. */
static bool scst_record_more_fits(u16 version, const u8 *at, const u8 *end)
{
	switch (version) {
	case VERSION_PLAIN:
		return at == end;
	case VERSION_IDENT:
		return scst_record_ident_fits(at, end, false);
	default:
		return scst_record_undone_fits(at, end) && scst_record_ident_fits(at, end - UNDONE_LEN, true);
	}
}

static bool scst_record_is_consistent(const u8 *buf, const struct scst_pr_record_info *info)
{
	const u8 *at = buf + FIXED_LEN, *end = buf + info->length - TRAILER_LEN;
	u32 nr = info->nr, len;

	if (info->owner_len > SCST_PR_OWNER_MAX || scst_padded(info->owner_len) > end - at || nr > SCST_PR_MAX)
		return false;
	for (at += scst_padded(info->owner_len); nr; nr--, at += len) {
		len = scst_record_registrant(at, end);
		if (!len)
			return false;
	}
	return scst_record_more_fits(get_unaligned_be16(buf + 8), at, end);
}

static void scst_record_info(const u8 *buf, struct scst_pr_record_info *info)
{
	info->length = get_unaligned_be32(buf + 12);
	info->sequence = get_unaligned_be64(buf + 16);
	info->nr = get_unaligned_be32(buf + 32);
	info->owner_len = get_unaligned_be16(buf + 42);
}

/**
 * scst_pr_record_check() - what some bytes are
 * @buf: they
 * @size: how many; what is behind the record is not looked at
 * @info: set if the record is whole
 */
enum scst_pr_record scst_pr_record_check(const u8 *buf, u32 size, struct scst_pr_record_info *info)
{
	enum scst_pr_record record = scst_record_check_header(buf, size);

	memset(info, 0, sizeof(*info));
	if (record == SCST_PR_RECORD_WHOLE)
		record = scst_record_check_trailer(buf, size);
	if (record != SCST_PR_RECORD_WHOLE)
		return record;
	scst_record_info(buf, info);
	if (info->sequence && scst_record_is_consistent(buf, info)) {
		memcpy(info->owner, buf + FIXED_LEN, info->owner_len);
		return SCST_PR_RECORD_WHOLE;
	}
	memset(info, 0, sizeof(*info));
	return SCST_PR_RECORD_DAMAGED;
}

static const u8 *scst_record_take(const u8 *at, struct scst_pr_registrant *reg)
{
	memset(reg, 0, sizeof(*reg));
	reg->key = get_unaligned_be64(at);
	reg->nexus.port = get_unaligned_be16(at + 8);
	reg->nexus.id.len = get_unaligned_be16(at + 10);
	memcpy(reg->nexus.id.bytes, at + REG_LEN, reg->nexus.id.len);
	return at + REG_LEN + reg->nexus.id.len;
}

/* Returns what is behind it. */
static const u8 *scst_record_take_ident(const u8 *at, struct scst_ident *ident)
{
	const u8 *from = at + IDENT_LEN;
	u32 kind;

	for (kind = 0; kind < SCST_IDENT_KINDS; kind++, from += ident->len[kind - 1]) {
		ident->len[kind] = get_unaligned_be16(at + 2 * kind);
		memcpy(ident->bytes + scst_ident_at(kind), from, ident->len[kind]);
	}
	return from;
}

/**
 * scst_pr_record_decode() - the state that a record holds
 * @buf: the record
 * @size: bytes in @buf
 * @pr: initialised, with room for as many registrants as scst_pr_record_check() has said; set
 *
 * Return: 0, -ENOMEM: @pr has too little room, -EBADMSG: there is no whole record, or it says what cannot be.
 */
int scst_pr_record_decode(const u8 *buf, u32 size, struct scst_pr *pr)
{
	struct scst_pr_record_info info;
	const u8 *at;
	u32 i;

	if (scst_pr_record_check(buf, size, &info) != SCST_PR_RECORD_WHOLE)
		return -EBADMSG;
	if (info.nr > pr->room)
		return -ENOMEM;
	pr->generation = get_unaligned_be32(buf + 28);
	pr->nr = info.nr;
	pr->holder = get_unaligned_be32(buf + 36);
	pr->type = buf[40];
	pr->aptpl = buf[41] & RECORD_APTPL;
	pr->lost = buf[41] & RECORD_LOST;
	at = buf + FIXED_LEN + scst_padded(info.owner_len);
	for (i = 0; i < pr->nr; i++)
		at = scst_record_take(at, &pr->reg[i]);
	memset(&pr->ident, 0, sizeof(pr->ident));
	if (get_unaligned_be16(buf + 8) >= VERSION_IDENT)
		at = scst_record_take_ident(at, &pr->ident);
	pr->undone = get_unaligned_be16(buf + 8) >= VERSION_UNDONE ? get_unaligned_be32(at) : SCST_UNDONE_NOTHING;
	if (scst_pr_valid(pr))
		return 0;
	scst_pr_init(pr, pr->room);
	return -EBADMSG;
}
