/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parameter lists of EXTENDED COPY (SPC-4 6.4, 6.5): between which logical units what is copied.
 *
 * Pure: no state, no locks, no allocation.  Also built in user space by the tests.
 */
#ifndef SCST_COPY_PARSE_H
#define SCST_COPY_PARSE_H

#include <linux/types.h>

#define SCST_COPY_HEADER	48	/* the longer one: of LID4 */
#define SCST_COPY_CSCD		32
#define SCST_COPY_SEGMENT	28
#define SCST_COPY_DESIGNATOR	20	/* longest that a CSCD descriptor has room for */

/* What is said of them by OPERATING PARAMETERS and VPD page 8Fh, and heeded. */
#define SCST_COPY_CSCDS		16
#define SCST_COPY_SEGMENTS	64
#define SCST_COPY_DESCRIPTORS	(SCST_COPY_CSCDS * SCST_COPY_CSCD + SCST_COPY_SEGMENTS * SCST_COPY_SEGMENT)
#define SCST_COPY_LIST		(SCST_COPY_HEADER + SCST_COPY_DESCRIPTORS)

#define SCST_COPY_CSCD_E4	0xe4	/* identification descriptor CSCD descriptor */
#define SCST_COPY_SEGMENT_02	0x02	/* block device to block device */

/* Sense data: key, ASC and ASCQ as SCST_SENSE() has them. */
enum scst_copy_sense {
	SCST_COPY_IN_PROGRESS		= 0x050016,
	SCST_COPY_LIST_LENGTH		= 0x051a00,
	SCST_COPY_INVALID_FIELD		= 0x052600,
	SCST_COPY_TOO_MANY_CSCDS	= 0x052606,
	SCST_COPY_CSCD_TYPE		= 0x052607,
	SCST_COPY_TOO_MANY_SEGMENTS	= 0x052608,
	SCST_COPY_SEGMENT_TYPE		= 0x052609,
	SCST_COPY_INLINE_DATA		= 0x05260b,
	SCST_COPY_ABORTED		= 0x0a0000,
	SCST_COPY_UNREACHABLE		= 0x0a0804,
	SCST_COPY_DEVICE_FAILURE	= 0x0a0d01,
	SCST_COPY_NOT_REACHABLE		= 0x0a0d02,
	SCST_COPY_DEVICE_TYPE		= 0x0a0d03,
	SCST_COPY_INEXACT		= 0x0a260a,
};

/* LIST ID USAGE */
enum scst_copy_id_usage {
	SCST_COPY_ID_HOLD	= 0,	/* results are kept */
	SCST_COPY_ID_DISCARD	= 2,	/* ... while it runs */
	SCST_COPY_ID_NONE	= 3,	/* it has no list identifier */
};

/**
 * struct scst_copy_fault - why a list is refused
 * @sense: enum scst_copy_sense
 * @byte: of the list, first of the field that is to blame; -1: none
 * @bit: its most significant bit
 * @segment: number of the segment that is to blame; -1: none
 */
struct scst_copy_fault {
	u32 sense;
	s32 byte;
	s8 bit;
	s32 segment;
};

/**
 * struct scst_copy_form - where the header of a list has what
 * @len: bytes before the first CSCD descriptor
 * @id: LIST IDENTIFIER
 * @cscds: CSCD DESCRIPTOR LIST LENGTH, of two bytes
 * @segments: SEGMENT DESCRIPTOR LIST LENGTH
 * @inline_data: INLINE DATA LENGTH
 * @lid4: LIST IDENTIFIER has four bytes, and lengths two; else it has one, and they have four
 */
struct scst_copy_form {
	u8 len;
	u8 id;
	u8 cscds;
	u8 segments;
	u8 inline_data;
	bool lid4;
};

/**
 * struct scst_copy_list - a list that has been checked
 * @bytes: the list, which must stay
 * @form: of its header
 * @nr_cscds: logical units that are named
 * @nr_segments: stretches that are copied, one after the other
 * @id: LIST IDENTIFIER
 * @id_usage: enum scst_copy_id_usage
 */
struct scst_copy_list {
	const u8 *bytes;
	const struct scst_copy_form *form;
	u16 nr_cscds;
	u16 nr_segments;
	u32 id;
	u8 id_usage;
};

/**
 * struct scst_copy_cscd - a logical unit that is a source or a destination
 * @designator: as in VPD page 83h; @len bytes of the list
 * @code_set: of it
 * @association: with what
 * @type: of it
 * @len: bytes
 * @block: bytes of a block, 0: not said
 */
struct scst_copy_cscd {
	const u8 *designator;
	u8 code_set;
	u8 association;
	u8 type;
	u8 len;
	u32 block;
};

/**
 * struct scst_copy_segment - a stretch that is copied
 * @from: number of its source among the CSCD descriptors
 * @to: of its destination
 * @by_destination: @nblocks is of the destination's blocks (DC)
 * @nblocks: number of blocks
 * @from_lba: first block of the source
 * @to_lba: of the destination
 */
struct scst_copy_segment {
	u16 from;
	u16 to;
	bool by_destination;
	u16 nblocks;
	u64 from_lba;
	u64 to_lba;
};

/* What a logical unit is for a segment. */
struct scst_copy_medium {
	u64 nblocks;
	u8 block_shift;
};

/* Where a segment is, in bytes. */
struct scst_copy_extent {
	u64 from;
	u64 to;
	u64 len;
};

enum scst_copy_fit {
	SCST_COPY_FITS,
	SCST_COPY_BEHIND_SOURCE,	/* the source has not so many blocks */
	SCST_COPY_BEHIND_DESTINATION,
	SCST_COPY_PARTIAL_BLOCK,	/* of the one that @nblocks does not count */
};

bool scst_copy_parse(struct scst_copy_list *list, struct scst_copy_fault *fault, const u8 *bytes, u32 len);
bool scst_copy_parse_lid4(struct scst_copy_list *list, struct scst_copy_fault *fault, const u8 *bytes, u32 len);
void scst_copy_cscd_of(const u8 *desc, struct scst_copy_cscd *cscd);
void scst_copy_cscd(const struct scst_copy_list *list, unsigned int nr, struct scst_copy_cscd *cscd);
void scst_copy_segment(const struct scst_copy_list *list, unsigned int nr, struct scst_copy_segment *segment);
enum scst_copy_fit scst_copy_extent(const struct scst_copy_segment *segment, const struct scst_copy_medium *from,
				    const struct scst_copy_medium *to, struct scst_copy_extent *extent);

#endif /* SCST_COPY_PARSE_H */
