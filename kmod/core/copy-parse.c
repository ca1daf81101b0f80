// SPDX-License-Identifier: GPL-2.0-only
/*
 * The parameter lists of EXTENDED COPY(LID1) (SPC-4 6.4) and EXTENDED COPY(LID4) (6.5), of which only the headers differ:
 *
 *	LID1	LID4
 *		0	PARAMETER LIST FORMAT
 *	1	1	STR, LIST ID USAGE, PRIORITY
 *		2	HEADER CSCD DESCRIPTOR LIST LENGTH: of what comes from byte 16 on
 *		15	G_SENSE, IMMED
 *		16	HEADER CSCD DESCRIPTOR TYPE CODE
 *	0	20	LIST IDENTIFIER
 *	2	42	CSCD DESCRIPTOR LIST LENGTH
 *	8	44	SEGMENT DESCRIPTOR LIST LENGTH
 *	12	46	INLINE DATA LENGTH
 *	16	48	CSCD descriptors, segment descriptors
 *
 * Pure.  All of a list is checked before anything of it is done.
 */
#include <linux/kernel.h>
#include "compat.h"
#include "copy-parse.h"

#define ID_USAGE_AT		1
#define HEADER_LEN_AT		2
#define FLAGS_AT		15
#define HEADER_TYPE_AT		16

#define FORMAT			0x01
#define HEADER_LEN		0x20
#define HEADER_TYPE		0xff
#define G_SENSE			0x02	/* sense data with GOOD status, too */
#define IMMED			0x01	/* to be answered when it has begun */
#define NUL			0x20	/* byte 1 of a CSCD descriptor: there is no such device */
#define LU_ID_TYPE		0xc0
#define DEVICE_TYPE		0x1f
#define DC			0x02	/* byte 1 of a segment descriptor */

static const struct scst_copy_form scst_copy_lid1 = {
	.len = 16, .id = 0, .cscds = 2, .segments = 8, .inline_data = 12,
};

static const struct scst_copy_form scst_copy_lid4 = {
	.len = SCST_COPY_HEADER, .id = 20, .cscds = 42, .segments = 44, .inline_data = 46, .lid4 = true,
};

static bool scst_copy_refuse(struct scst_copy_fault *fault, u32 sense, s32 byte, s8 bit)
{
	*fault = (struct scst_copy_fault){ .sense = sense, .byte = byte, .bit = bit, .segment = -1 };
	return false;
}

static bool scst_copy_invalid(struct scst_copy_fault *fault, s32 byte, s8 bit)
{
	return scst_copy_refuse(fault, SCST_COPY_INVALID_FIELD, byte, bit);
}

/* One that is to be kept apart by its number has one; who has none says so by 0. */
static bool scst_copy_check_id(struct scst_copy_list *list, struct scst_copy_fault *fault)
{
	const u8 *id = list->bytes + list->form->id;

	list->id = list->form->lid4 ? get_unaligned_be32(id) : *id;
	list->id_usage = list->bytes[ID_USAGE_AT] >> 3 & 3;
	if (list->id_usage == 1)
		return scst_copy_invalid(fault, ID_USAGE_AT, 4);
	if (list->id_usage == SCST_COPY_ID_NONE && list->id)
		return scst_copy_invalid(fault, list->form->id, 7);
	return true;
}

/* One of the lengths at @at that have four bytes in the one form, and two in the other. */
static u32 scst_copy_len(const struct scst_copy_list *list, u8 at)
{
	return list->form->lid4 ? get_unaligned_be16(list->bytes + at) : get_unaligned_be32(list->bytes + at);
}

/* Are there as many bytes as the lengths say, and no more of each than there may be? */
static bool scst_copy_check_lengths(const struct scst_copy_list *list, u32 len, struct scst_copy_fault *fault)
{
	const struct scst_copy_form *form = list->form;
	u32 cscds = get_unaligned_be16(list->bytes + form->cscds), segments = scst_copy_len(list, form->segments);

	if (segments > SCST_COPY_DESCRIPTORS || cscds + segments > SCST_COPY_DESCRIPTORS)
		return scst_copy_refuse(fault, SCST_COPY_LIST_LENGTH, -1, -1);
	if (scst_copy_len(list, form->inline_data))
		return scst_copy_refuse(fault, SCST_COPY_INLINE_DATA, form->inline_data, 7);
	if (form->len + cscds + segments > len)
		return scst_copy_refuse(fault, SCST_COPY_LIST_LENGTH, -1, -1);
	if (cscds % SCST_COPY_CSCD)
		return scst_copy_invalid(fault, form->cscds, 7);
	if (cscds / SCST_COPY_CSCD > SCST_COPY_CSCDS)
		return scst_copy_refuse(fault, SCST_COPY_TOO_MANY_CSCDS, form->cscds, 7);
	if (segments / SCST_COPY_SEGMENT > SCST_COPY_SEGMENTS)
		return scst_copy_refuse(fault, SCST_COPY_TOO_MANY_SEGMENTS, form->segments, 7);
	return true;
}

static bool scst_copy_check_cscd(const u8 *bytes, u32 at, struct scst_copy_fault *fault)
{
	const u8 *desc = bytes + at;

	if (desc[0] != SCST_COPY_CSCD_E4)
		return scst_copy_refuse(fault, SCST_COPY_CSCD_TYPE, at, 7);
	if (desc[1] & LU_ID_TYPE)
		return scst_copy_invalid(fault, at + 1, 7);
	if (desc[1] & NUL)
		return scst_copy_refuse(fault, SCST_COPY_UNREACHABLE, -1, -1);
	if (desc[1] & DEVICE_TYPE)
		return scst_copy_refuse(fault, SCST_COPY_DEVICE_TYPE, -1, -1);
	if (desc[7] > SCST_COPY_DESIGNATOR)
		return scst_copy_invalid(fault, at + 7, 7);
	return true;
}

static bool scst_copy_check_cscds(struct scst_copy_list *list, struct scst_copy_fault *fault)
{
	unsigned int i;

	list->nr_cscds = get_unaligned_be16(list->bytes + list->form->cscds) / SCST_COPY_CSCD;
	for (i = 0; i < list->nr_cscds; i++)
		if (!scst_copy_check_cscd(list->bytes, list->form->len + i * SCST_COPY_CSCD, fault))
			return false;
	return true;
}

/* A descriptor of @left bytes or more; which kind it is has to be known before its length is. */
static bool scst_copy_check_segment(const struct scst_copy_list *list, u32 at, u32 left, struct scst_copy_fault *fault)
{
	const u8 *desc = list->bytes + at;

	if (desc[0] != SCST_COPY_SEGMENT_02)
		return scst_copy_refuse(fault, SCST_COPY_SEGMENT_TYPE, at, 7);
	if (left < SCST_COPY_SEGMENT)
		return scst_copy_invalid(fault, list->form->segments, 7);
	if (get_unaligned_be16(desc + 2) != SCST_COPY_SEGMENT - 4)
		return scst_copy_invalid(fault, at + 2, 7);
	if (get_unaligned_be16(desc + 4) < list->nr_cscds && get_unaligned_be16(desc + 6) < list->nr_cscds)
		return true;
	scst_copy_refuse(fault, SCST_COPY_NOT_REACHABLE, -1, -1);
	fault->segment = list->nr_segments;
	return false;
}

static bool scst_copy_check_segments(struct scst_copy_list *list, struct scst_copy_fault *fault)
{
	u32 at = list->form->len + list->nr_cscds * SCST_COPY_CSCD;
	u32 end = at + scst_copy_len(list, list->form->segments);

	for (list->nr_segments = 0; at < end; list->nr_segments++, at += SCST_COPY_SEGMENT)
		if (!scst_copy_check_segment(list, at, end - at, fault))
			return false;
	return true;
}

static bool scst_copy_check(struct scst_copy_list *list, struct scst_copy_fault *fault, u32 len)
{
	return scst_copy_check_id(list, fault) && scst_copy_check_lengths(list, len, fault) &&
	       scst_copy_check_cscds(list, fault) && scst_copy_check_segments(list, fault);
}

/**
 * scst_copy_parse() - check the parameter list of EXTENDED COPY(LID1)
 * @list: set, if the list is right
 * @fault: set, if it is not
 * @bytes: the list
 * @len: bytes of it
 *
 * Reserved bytes are not looked at; nor are STR and PRIORITY, which promise nothing, and CAT and PAD: what would need them is refused,
 * see scst_copy_extent().  Return: is it right?
 */
bool scst_copy_parse(struct scst_copy_list *list, struct scst_copy_fault *fault, const u8 *bytes, u32 len)
{
	*list = (struct scst_copy_list){ .bytes = bytes, .form = &scst_copy_lid1 };
	if (len < list->form->len)
		return scst_copy_refuse(fault, SCST_COPY_LIST_LENGTH, -1, -1);
	return scst_copy_check(list, fault, len);
}

/* What is begun is done before it is answered, and its status says all of what has become of it. */
static bool scst_copy_check_header(const u8 *bytes, struct scst_copy_fault *fault)
{
	if (bytes[0] != FORMAT)
		return scst_copy_invalid(fault, 0, 7);
	if (get_unaligned_be16(bytes + HEADER_LEN_AT) != HEADER_LEN)
		return scst_copy_invalid(fault, HEADER_LEN_AT, 7);
	if (bytes[FLAGS_AT] & (G_SENSE | IMMED))
		return scst_copy_invalid(fault, FLAGS_AT, bytes[FLAGS_AT] & G_SENSE ? 1 : 0);
	if (bytes[HEADER_TYPE_AT] != HEADER_TYPE)
		return scst_copy_invalid(fault, HEADER_TYPE_AT, 7);
	return true;
}

/**
 * scst_copy_parse_lid4() - check the parameter list of EXTENDED COPY(LID4)
 * @list: set, if the list is right
 * @fault: set, if it is not
 * @bytes: the list
 * @len: bytes of it
 *
 * As scst_copy_parse().  Return: is it right?
 */
bool scst_copy_parse_lid4(struct scst_copy_list *list, struct scst_copy_fault *fault, const u8 *bytes, u32 len)
{
	*list = (struct scst_copy_list){ .bytes = bytes, .form = &scst_copy_lid4 };
	if (len < list->form->len)
		return scst_copy_refuse(fault, SCST_COPY_LIST_LENGTH, -1, -1);
	return scst_copy_check_header(bytes, fault) && scst_copy_check(list, fault, len);
}

/**
 * scst_copy_cscd_of() - what an identification descriptor CSCD descriptor says
 * @desc: SCST_COPY_CSCD bytes, which must stay
 * @cscd: set
 */
void scst_copy_cscd_of(const u8 *desc, struct scst_copy_cscd *cscd)
{
	*cscd = (struct scst_copy_cscd){
		.designator	= desc + 8,
		.code_set	= desc[4] & 0x0f,
		.association	= desc[5] >> 4 & 3,
		.type		= desc[5] & 0x0f,
		.len		= desc[7],
		.block		= get_unaligned_be32(desc + 28) & 0xffffff,
	};
}

/**
 * scst_copy_cscd() - one of the logical units that a list names
 * @list: checked
 * @nr: below its nr_cscds
 * @cscd: set
 */
void scst_copy_cscd(const struct scst_copy_list *list, unsigned int nr, struct scst_copy_cscd *cscd)
{
	scst_copy_cscd_of(list->bytes + list->form->len + nr * SCST_COPY_CSCD, cscd);
}

/**
 * scst_copy_segment() - one of the stretches of a list
 * @list: checked
 * @nr: below its nr_segments
 * @segment: set
 */
void scst_copy_segment(const struct scst_copy_list *list, unsigned int nr, struct scst_copy_segment *segment)
{
	const u8 *desc = list->bytes + list->form->len + list->nr_cscds * SCST_COPY_CSCD + nr * SCST_COPY_SEGMENT;

	*segment = (struct scst_copy_segment){
		.from		= get_unaligned_be16(desc + 4),
		.to		= get_unaligned_be16(desc + 6),
		.by_destination	= desc[1] & DC,
		.nblocks	= get_unaligned_be16(desc + 10),
		.from_lba	= get_unaligned_be64(desc + 12),
		.to_lba		= get_unaligned_be64(desc + 20),
	};
}

/* Does a medium have those bytes? */
static bool scst_copy_within(const struct scst_copy_medium *medium, u64 lba, u64 len)
{
	u64 nblocks = len >> medium->block_shift;

	return nblocks <= medium->nblocks && lba <= medium->nblocks - nblocks;
}

/**
 * scst_copy_extent() - where a segment is
 * @segment: the segment
 * @from: its source, of less than 2^64 bytes
 * @to: its destination
 * @extent: set if it fits
 *
 * Blocks of different lengths are no matter if the segment is whole blocks of both.
 */
enum scst_copy_fit scst_copy_extent(const struct scst_copy_segment *segment, const struct scst_copy_medium *from,
				    const struct scst_copy_medium *to, struct scst_copy_extent *extent)
{
	u64 len = (u64)segment->nblocks << (segment->by_destination ? to : from)->block_shift;

	if (len & ((1ULL << from->block_shift) - 1) || len & ((1ULL << to->block_shift) - 1))
		return SCST_COPY_PARTIAL_BLOCK;
	if (!scst_copy_within(from, segment->from_lba, len))
		return SCST_COPY_BEHIND_SOURCE;
	if (!scst_copy_within(to, segment->to_lba, len))
		return SCST_COPY_BEHIND_DESTINATION;
	*extent = (struct scst_copy_extent){
		.from	= segment->from_lba << from->block_shift,
		.to	= segment->to_lba << to->block_shift,
		.len	= len,
	};
	return SCST_COPY_FITS;
}
