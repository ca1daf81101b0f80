/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The parameter lists of POPULATE TOKEN and WRITE USING TOKEN (SBC-3 5.7, 5.50), and ROD tokens (SPC-4 5.16.6).
 *
 * Pure: no state, no locks, no allocation.  Also built in user space by the tests.
 */
#ifndef SCST_COPY_TOKEN_PARSE_H
#define SCST_COPY_TOKEN_PARSE_H

#include <linux/types.h>
#include "copy-parse.h"

#define SCST_TOKEN		512	/* bytes of a ROD token */
#define SCST_TOKEN_CSCD		16	/* where a token has the CSCD descriptor of the unit that its data is of */
#define SCST_TOKEN_SECRET	32	/* random bytes in a token, besides those of its identifier */
#define SCST_POPULATE_HEADER	16
#define SCST_WRITE_HEADER	536
#define SCST_TOKEN_RANGE	16

/* What is said by VPD page 8Fh, and heeded. */
#define SCST_TOKEN_RANGES	64
#define SCST_TOKEN_BYTES	(256U << 20)	/* that one command may be about */
#define SCST_TOKEN_OPTIMAL	(64U << 20)
#define SCST_TOKEN_TIMEOUT	60		/* seconds that a token may rest if nothing is said of it */
#define SCST_TOKEN_TIMEOUT_MAX	600
#define SCST_TOKEN_LIFETIME	3600		/* seconds after which it ends in any case */

/* ROD types: data as it was when the token was made, for as long as it does not change; zeroes. */
#define SCST_ROD_DEFAULT	0x00800000	/* any such type: it is up to us */
#define SCST_ROD_VULNERABLE	0x00800001
#define SCST_ROD_ANY		0x0080ffff
#define SCST_ROD_ZERO		0xffff0001

/* Sense data, as enum scst_copy_sense. */
enum scst_token_sense {
	SCST_TOKEN_UNDERRUN	= 0x050d04,	/* there is not so much data in the token */
	SCST_TOKEN_OUT_OF_RANGE	= 0x052100,
	SCST_TOKEN_TYPE		= 0x052301,
	SCST_TOKEN_REMOTE	= 0x052302,
	SCST_TOKEN_UNKNOWN	= 0x052304,
	SCST_TOKEN_CORRUPT	= 0x052305,
	SCST_TOKEN_REVOKED	= 0x052306,
	SCST_TOKEN_EXPIRED	= 0x052307,
	SCST_TOKEN_DELETED	= 0x052309,
	SCST_TOKEN_LENGTH	= 0x05230a,
	SCST_TOKEN_NO_ROOM	= 0x05550d,
};

/* Blocks that follow each other. */
struct scst_token_range {
	u64 lba;
	u32 nblocks;
};

/**
 * struct scst_token_list - a list that has been checked
 * @ranges: its range descriptors; in the list, which must stay
 * @token: of WRITE USING TOKEN, likewise; else NULL
 * @nr: ranges
 * @nblocks: of all of them
 * @offset: first block of the token's data that is written, in blocks of the destination
 * @timeout: INACTIVITY TIMEOUT; never 0
 * @delete: the token is not needed any more
 */
struct scst_token_list {
	const u8 *ranges;
	const u8 *token;
	u16 nr;
	u64 nblocks;
	u64 offset;
	u32 timeout;
	bool delete;
};

/**
 * struct scst_token_text - what is said in a token
 * @id: COPY MANAGER ROD TOKEN IDENTIFIER, random
 * @secret: more of the same
 * @designator: of the unit that its data is of: NAA or EUI-64
 * @type: DESIGNATOR TYPE
 * @len: bytes of @designator, at most SCST_COPY_DESIGNATOR
 * @block_shift: of the unit
 * @bytes: of data
 */
struct scst_token_text {
	u64 id;
	u8 secret[SCST_TOKEN_SECRET];
	const u8 *designator;
	u8 type;
	u8 len;
	u8 block_shift;
	u64 bytes;
};

bool scst_token_parse_populate(struct scst_token_list *list, struct scst_copy_fault *fault, const u8 *bytes, u32 len,
			       const struct scst_copy_medium *medium);
bool scst_token_parse_write(struct scst_token_list *list, struct scst_copy_fault *fault, const u8 *bytes, u32 len,
			    const struct scst_copy_medium *medium);
void scst_token_range(const struct scst_token_list *list, unsigned int nr, struct scst_token_range *range);
void scst_token_encode(const struct scst_token_text *text, u8 *token);
u32 scst_token_decode(const u8 *token, u32 *type, struct scst_copy_cscd *cscd);
bool scst_token_touches(const struct scst_token_range *ranges, unsigned int nr, u64 lba, u64 nblocks);
u64 scst_token_place(const struct scst_token_range *ranges, unsigned int nr, u8 block_shift, u64 pos, u64 *len);

#endif /* SCST_COPY_TOKEN_PARSE_H */
