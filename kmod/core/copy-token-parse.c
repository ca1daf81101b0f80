// SPDX-License-Identifier: GPL-2.0-only
/*
 * The parameter lists of POPULATE TOKEN and WRITE USING TOKEN (SBC-3 5.7, 5.50):
 *
 *	0	length of what follows
 *	2	IMMED, and RTV or DEL_TKN
 *	4	POPULATE TOKEN: INACTIVITY TIMEOUT, ROD TYPE (8)
 *	8	WRITE USING TOKEN: OFFSET INTO ROD, the token (16)
 *	14, 534	BLOCK DEVICE RANGE DESCRIPTOR LENGTH
 *	16, 536	block device range descriptors
 *
 * and ROD tokens (SPC-4 5.16.6.2).  Pure.  All of a list is checked before anything of it is done.
 */
#include <linux/kernel.h>
#include "compat.h"
#include "copy-token-parse.h"

#define FLAGS_AT		2
#define IMMED			0x01
#define RTV			0x02	/* ROD TYPE is there */
#define DEL_TKN			0x02
#define TIMEOUT_AT		4
#define TYPE_AT			8
#define OFFSET_AT		8
#define TOKEN_AT		16

#define TOKEN_LEN		(SCST_TOKEN - 8)	/* ROD TOKEN LENGTH */
#define BYTES_AT		56
#define BLOCK_AT		96
#define SECRET_AT		256

static bool scst_token_refuse(struct scst_copy_fault *fault, u32 sense, s32 byte, s8 bit)
{
	*fault = (struct scst_copy_fault){ .sense = sense, .byte = byte, .bit = bit, .segment = -1 };
	return false;
}

static bool scst_token_invalid(struct scst_copy_fault *fault, s32 byte, s8 bit)
{
	return scst_token_refuse(fault, SCST_COPY_INVALID_FIELD, byte, bit);
}

/* --- lists ----------------------------------------------------------------------------------------- */

/* Lengths and IMMED: what is begun is done before it is answered. */
static bool scst_token_check_head(const u8 *bytes, u32 len, u32 header, struct scst_copy_fault *fault)
{
	u32 said;

	if (len < header)
		return scst_token_refuse(fault, SCST_COPY_LIST_LENGTH, -1, -1);
	said = get_unaligned_be16(bytes) + 2;
	if (said < header + SCST_TOKEN_RANGE)
		return scst_token_invalid(fault, 0, 7);
	if (said > len)
		return scst_token_refuse(fault, SCST_COPY_LIST_LENGTH, -1, -1);
	if (bytes[FLAGS_AT] & IMMED)
		return scst_token_invalid(fault, FLAGS_AT, 0);
	return true;
}

static bool scst_token_check_range(const struct scst_token_list *list, unsigned int nr, const struct scst_copy_medium *medium,
				   s32 byte, struct scst_copy_fault *fault)
{
	struct scst_token_range range, other;
	unsigned int i;

	scst_token_range(list, nr, &range);
	if (range.nblocks > medium->nblocks || range.lba > medium->nblocks - range.nblocks)
		return scst_token_refuse(fault, SCST_TOKEN_OUT_OF_RANGE, -1, -1);
	for (i = 0; i < nr; i++) {
		scst_token_range(list, i, &other);
		if (scst_token_touches(&other, 1, range.lba, range.nblocks))
			return scst_token_invalid(fault, byte, 7);
	}
	return true;
}

/* @header: bytes before the first; the two before it are how long all of them are. */
static bool scst_token_check_ranges(struct scst_token_list *list, const u8 *bytes, u32 header, const struct scst_copy_medium *medium,
				    struct scst_copy_fault *fault)
{
	u32 len = get_unaligned_be16(bytes + header - 2), said = get_unaligned_be16(bytes) + 2;
	struct scst_token_range range;
	unsigned int i;

	if (len < SCST_TOKEN_RANGE || len % SCST_TOKEN_RANGE || header + len > said)
		return scst_token_invalid(fault, header - 2, 7);
	if (len / SCST_TOKEN_RANGE > SCST_TOKEN_RANGES)
		return scst_token_refuse(fault, SCST_COPY_TOO_MANY_SEGMENTS, header - 2, 7);
	list->ranges = bytes + header;
	list->nr = len / SCST_TOKEN_RANGE;
	for (i = 0; i < list->nr; i++) {
		if (!scst_token_check_range(list, i, medium, header + i * SCST_TOKEN_RANGE, fault))
			return false;
		scst_token_range(list, i, &range);
		list->nblocks += range.nblocks;
		if (list->nblocks > SCST_TOKEN_BYTES >> medium->block_shift)
			return scst_token_invalid(fault, header + i * SCST_TOKEN_RANGE + 8, 7);
	}
	return true;
}

static bool scst_token_type_made(u32 type)
{
	return type == SCST_ROD_DEFAULT || type == SCST_ROD_VULNERABLE || type == SCST_ROD_ANY;
}

/**
 * scst_token_parse_populate() - check the parameter list of POPULATE TOKEN
 * @list: set, if the list is right
 * @fault: set, if it is not
 * @bytes: the list
 * @len: bytes of it
 * @medium: of the unit
 *
 * Reserved bytes are not looked at.  Return: is it right?
 */
bool scst_token_parse_populate(struct scst_token_list *list, struct scst_copy_fault *fault, const u8 *bytes, u32 len,
			       const struct scst_copy_medium *medium)
{
	*list = (struct scst_token_list){ };
	if (!scst_token_check_head(bytes, len, SCST_POPULATE_HEADER, fault))
		return false;
	list->timeout = get_unaligned_be32(bytes + TIMEOUT_AT) ?: SCST_TOKEN_TIMEOUT;
	if (list->timeout > SCST_TOKEN_TIMEOUT_MAX)
		return scst_token_invalid(fault, TIMEOUT_AT, 7);
	if (bytes[FLAGS_AT] & RTV && !scst_token_type_made(get_unaligned_be32(bytes + TYPE_AT)))
		return scst_token_invalid(fault, TYPE_AT, 7);
	return scst_token_check_ranges(list, bytes, SCST_POPULATE_HEADER, medium, fault);
}

/**
 * scst_token_parse_write() - check the parameter list of WRITE USING TOKEN
 * @list: set, if the list is right; what is in its token is another matter: scst_token_decode()
 * @fault: set, if it is not
 * @bytes: the list
 * @len: bytes of it
 * @medium: of the destination
 *
 * Return: is it right?
 */
bool scst_token_parse_write(struct scst_token_list *list, struct scst_copy_fault *fault, const u8 *bytes, u32 len,
			    const struct scst_copy_medium *medium)
{
	*list = (struct scst_token_list){ };
	if (!scst_token_check_head(bytes, len, SCST_WRITE_HEADER, fault))
		return false;
	list->delete = bytes[FLAGS_AT] & DEL_TKN;
	list->offset = get_unaligned_be64(bytes + OFFSET_AT);
	list->token = bytes + TOKEN_AT;
	list->timeout = SCST_TOKEN_TIMEOUT;
	return scst_token_check_ranges(list, bytes, SCST_WRITE_HEADER, medium, fault);
}

/**
 * scst_token_range() - one of the ranges of a list
 * @list: its ranges are there
 * @nr: below its nr
 * @range: set
 */
void scst_token_range(const struct scst_token_list *list, unsigned int nr, struct scst_token_range *range)
{
	const u8 *desc = list->ranges + nr * SCST_TOKEN_RANGE;

	*range = (struct scst_token_range){ .lba = get_unaligned_be64(desc), .nblocks = get_unaligned_be32(desc + 8) };
}

/* --- tokens ------------------------------------------------------------------------------------------ */

/**
 * scst_token_encode() - a ROD token
 * @text: what is said in it
 * @token: set, SCST_TOKEN bytes
 */
void scst_token_encode(const struct scst_token_text *text, u8 *token)
{
	u8 *cscd = token + SCST_TOKEN_CSCD;

	memset(token, 0, SCST_TOKEN);
	put_unaligned_be32(SCST_ROD_VULNERABLE, token);
	put_unaligned_be16(TOKEN_LEN, token + 6);
	put_unaligned_be64(text->id, token + 8);
	cscd[0] = SCST_COPY_CSCD_E4;
	cscd[4] = 1;		/* CODE SET: binary */
	cscd[5] = text->type;
	cscd[7] = text->len;
	memcpy(cscd + 8, text->designator, text->len);
	put_unaligned_be32(1U << text->block_shift, cscd + 28);
	put_unaligned_be64(text->bytes, token + BYTES_AT);
	put_unaligned_be32(1U << text->block_shift, token + BLOCK_AT);
	memcpy(token + SECRET_AT, text->secret, SCST_TOKEN_SECRET);
}

/**
 * scst_token_decode() - what a token is of
 * @token: SCST_TOKEN bytes that anybody may have made
 * @type: set: SCST_ROD_VULNERABLE or SCST_ROD_ZERO
 * @cscd: of the former: set to the unit that its data is of
 *
 * Is it one of ours?  Only who knows those can say.  Return: 0, or enum scst_token_sense.
 */
u32 scst_token_decode(const u8 *token, u32 *type, struct scst_copy_cscd *cscd)
{
	const u8 *desc = token + SCST_TOKEN_CSCD;

	*type = get_unaligned_be32(token);
	if (*type != SCST_ROD_VULNERABLE && *type != SCST_ROD_ZERO)
		return SCST_TOKEN_TYPE;
	if (get_unaligned_be16(token + 6) != TOKEN_LEN)
		return SCST_TOKEN_LENGTH;
	if (*type == SCST_ROD_ZERO)
		return 0;
	if (desc[0] != SCST_COPY_CSCD_E4 || desc[7] > SCST_COPY_DESIGNATOR)
		return SCST_TOKEN_CORRUPT;
	scst_copy_cscd_of(desc, cscd);
	return 0;
}

/**
 * scst_token_touches() - are there blocks of these among others?
 * @ranges: some
 * @nr: of them
 * @lba: first of the others
 * @nblocks: number of the others
 */
bool scst_token_touches(const struct scst_token_range *ranges, unsigned int nr, u64 lba, u64 nblocks)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		if (nblocks && ranges[i].nblocks && ranges[i].lba < lba + nblocks && lba < ranges[i].lba + ranges[i].nblocks)
			return true;
	return false;
}

/**
 * scst_token_place() - where data of a token is
 * @ranges: of the token, of less than 2^64 bytes
 * @nr: of them
 * @block_shift: of their blocks
 * @pos: byte of the token's data, one that there is
 * @len: how much is wanted; set to how much of that lies together there
 *
 * Return: byte of the unit.
 */
u64 scst_token_place(const struct scst_token_range *ranges, unsigned int nr, u8 block_shift, u64 pos, u64 *len)
{
	unsigned int i = 0;

	while (i < nr && pos >= (u64)ranges[i].nblocks << block_shift)
		pos -= (u64)ranges[i++].nblocks << block_shift;
	if (i == nr) {
		*len = 0;
		return 0;
	}
	if (*len > ((u64)ranges[i].nblocks << block_shift) - pos)
		*len = ((u64)ranges[i].nblocks << block_shift) - pos;
	return (ranges[i].lba << block_shift) + pos;
}
