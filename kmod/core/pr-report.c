// SPDX-License-Identifier: GPL-2.0-only
/*
 * What PERSISTENT RESERVE IN returns (SPC-4 6.15).
 *
 * Pure.  Each function writes as much as fits, and returns how long the whole is: lengths in the data are those of
 * the whole, whatever the allocation length.
 */
#include <linux/kernel.h>
#include <linux/string.h>
#include "compat.h"
#include "pr-state.h"

#define HEADER_LEN		8	/* PRGENERATION, ADDITIONAL LENGTH */
#define KEY_LEN			8
#define RESERVATION_LEN		16
#define CAPABILITIES_LEN	8
#define STATUS_LEN		24	/* of a full status descriptor, without its TransportID */

#define R_HOLDER	0x01

#define RLR_C		0x80
#define CRH		0x10
#define SIP_C		0x08
#define ATP_C		0x04
#define PTPL_C		0x01
#define TMV		0x80
#define PTPL_A		0x01
/* MODE SENSE, READ BUFFER and the like pass write exclusive reservations, TEST UNIT READY all of them. */
#define ALLOW_COMMANDS	(3 << 4)
/* WR_EX_AR, EX_AC_RO, WR_EX_RO, EX_AC, WR_EX; EX_AC_AR is in the next byte */
#define TYPES_LOW	0xea
#define TYPES_HIGH	0x01

/* Where data goes, and how much of it has come. */
struct scst_pr_window {
	u8 *buf;
	u32 size;
	u32 at;
};

static void scst_pr_put(struct scst_pr_window *out, const void *data, u32 len)
{
	u32 room = out->at < out->size ? out->size - out->at : 0;

	if (room)
		memcpy(out->buf + out->at, data, len < room ? len : room);
	out->at += len;
}

static void scst_pr_put_header(struct scst_pr_window *out, const struct scst_pr *pr, u32 additional)
{
	u8 header[HEADER_LEN];

	put_unaligned_be32(pr->generation, header);
	put_unaligned_be32(additional, header + 4);
	scst_pr_put(out, header, HEADER_LEN);
}

/* READ KEYS.  Return: length of the whole. */
u32 scst_pr_read_keys(const struct scst_pr *pr, u8 *buf, u32 size)
{
	struct scst_pr_window out = { .buf = buf, .size = size };
	u8 key[KEY_LEN];
	u32 i;

	scst_pr_put_header(&out, pr, pr->nr * KEY_LEN);
	for (i = 0; i < pr->nr; i++) {
		put_unaligned_be64(pr->reg[i].key, key);
		scst_pr_put(&out, key, KEY_LEN);
	}
	return out.at;
}

/* READ RESERVATION; where all registrants hold it, the key is 0.  Return: length of the whole. */
u32 scst_pr_read_reservation(const struct scst_pr *pr, u8 *buf, u32 size)
{
	struct scst_pr_window out = { .buf = buf, .size = size };
	u8 data[RESERVATION_LEN] = { [13] = pr->type };

	scst_pr_put_header(&out, pr, pr->type ? RESERVATION_LEN : 0);
	if (!pr->type)
		return out.at;
	if (pr->holder != SCST_PR_NOBODY)
		put_unaligned_be64(pr->reg[pr->holder].key, data);
	scst_pr_put(&out, data, RESERVATION_LEN);
	return out.at;
}

/* REPORT CAPABILITIES.  Return: length of the whole. */
u32 scst_pr_report_capabilities(const struct scst_pr *pr, bool durable, u8 *buf, u32 size)
{
	struct scst_pr_window out = { .buf = buf, .size = size };
	u8 data[CAPABILITIES_LEN] = {
		[1] = CAPABILITIES_LEN,
		[2] = RLR_C | CRH | SIP_C | ATP_C | (durable ? PTPL_C : 0),
		[3] = TMV | ALLOW_COMMANDS | (pr->aptpl ? PTPL_A : 0),
		[4] = TYPES_LOW,
		[5] = TYPES_HIGH,
	};

	scst_pr_put(&out, data, CAPABILITIES_LEN);
	return out.at;
}

/* ALL_TG_PT stays 0: registrations through all target ports are one each. */
static void scst_pr_put_status(struct scst_pr_window *out, const struct scst_pr *pr, u32 registrant)
{
	const struct scst_pr_registrant *reg = &pr->reg[registrant];
	u8 data[STATUS_LEN] = { };

	put_unaligned_be64(reg->key, data);
	if (scst_pr_is_holder(pr, registrant)) {
		data[12] = R_HOLDER;
		data[13] = pr->type;
	}
	put_unaligned_be16(reg->nexus.port, data + 18);
	put_unaligned_be32(reg->nexus.id.len, data + 20);
	scst_pr_put(out, data, STATUS_LEN);
	scst_pr_put(out, reg->nexus.id.bytes, reg->nexus.id.len);
}

/* READ FULL STATUS.  Return: length of the whole. */
u32 scst_pr_read_full_status(const struct scst_pr *pr, u8 *buf, u32 size)
{
	struct scst_pr_window out = { .buf = buf, .size = size };
	u32 i, len = 0;

	for (i = 0; i < pr->nr; i++)
		len += STATUS_LEN + pr->reg[i].nexus.id.len;
	scst_pr_put_header(&out, pr, len);
	for (i = 0; i < pr->nr; i++)
		scst_pr_put_status(&out, pr, i);
	return out.at;
}
