// SPDX-License-Identifier: GPL-2.0-only
/*
 * The CDB and the parameter lists of PERSISTENT RESERVE OUT (SPC-4 6.16).
 *
 * Pure: no state, no locks, no allocation.  Also built in user space by the tests.
 */
#include <linux/kernel.h>
#include <linux/string.h>
#include "compat.h"
#include "pr-state.h"

#define BASIC_LEN	24
#define FLAGS_AT	20
#define SPEC_I_PT	0x08
#define ALL_TG_PT	0x04
#define APTPL		0x01
#define IDS_LEN_AT	24
#define IDS_AT		28

#define MOVE_FLAGS_AT	17
#define UNREG		0x02
#define MOVE_PORT_AT	18
#define MOVE_LEN_AT	20
#define MOVE_ID_AT	24
#define MOVE_ID_MIN	24

/**
 * scst_pr_refuse() - end in CHECK CONDITION
 * @verdict: set
 * @sense: SCST_PR_SENSE_*
 * @byte: first byte of the field that is to blame, -1: none
 * @bit: its most significant bit, or -1
 *
 * Return: false.
 */
bool scst_pr_refuse(struct scst_pr_verdict *verdict, u32 sense, s32 byte, s8 bit)
{
	*verdict = (struct scst_pr_verdict){
		.status = SCST_PR_CHECK,
		.sense = sense,
		.in_cdb = sense == SCST_PR_SENSE_INVALID_CDB,
		.byte = byte,
		.bit = bit,
	};
	return false;
}

static bool scst_pr_invalid(struct scst_pr_verdict *verdict, s32 byte, s8 bit)
{
	return scst_pr_refuse(verdict, SCST_PR_SENSE_INVALID_LIST, byte, bit);
}

static bool scst_pr_too_short(struct scst_pr_verdict *verdict)
{
	return scst_pr_refuse(verdict, SCST_PR_SENSE_LIST_LENGTH, -1, -1);
}

/* Are there whole TransportIDs, of known forms, and nothing else?  More than can be registered are not looked at. */
static bool scst_pr_count_ids(struct scst_pr_request *req, struct scst_pr_verdict *verdict)
{
	struct scst_transport_id id;
	u32 at = 0, len;

	for (req->nr_ids = 0; at < req->ids_len; req->nr_ids++, at += len) {
		if (req->nr_ids == SCST_PR_MAX)
			return scst_pr_refuse(verdict, SCST_PR_SENSE_RESOURCES, -1, -1);
		len = scst_transport_id_parse(&id, req->ids + at, req->ids_len - at);
		if (!len)
			return scst_pr_invalid(verdict, IDS_AT + at, -1);
	}
	return true;
}

static bool scst_pr_parse_ids(struct scst_pr_request *req, struct scst_pr_verdict *verdict, const u8 *list, u32 len)
{
	if (len < IDS_AT)
		return scst_pr_too_short(verdict);
	req->ids = list + IDS_AT;
	req->ids_len = get_unaligned_be32(list + IDS_LEN_AT);
	if (req->ids_len > len - IDS_AT)
		return scst_pr_too_short(verdict);
	return scst_pr_count_ids(req, verdict);
}

static bool scst_pr_parse_basic(struct scst_pr_request *req, struct scst_pr_verdict *verdict, const u8 *list, u32 len)
{
	u8 flags = list[FLAGS_AT];

	req->spec_i_pt = flags & SPEC_I_PT;
	req->all_tg_pt = flags & ALL_TG_PT;
	req->aptpl = flags & APTPL;
	if (req->spec_i_pt && req->action != SCST_PR_REGISTER)
		return scst_pr_invalid(verdict, FLAGS_AT, 3);
	if (req->spec_i_pt)
		return scst_pr_parse_ids(req, verdict, list, len);
	return len == BASIC_LEN || scst_pr_too_short(verdict);
}

static bool scst_pr_parse_move(struct scst_pr_request *req, struct scst_pr_verdict *verdict, const u8 *list, u32 len)
{
	struct scst_transport_id id;

	req->unreg = list[MOVE_FLAGS_AT] & UNREG;
	req->aptpl = list[MOVE_FLAGS_AT] & APTPL;
	req->port = get_unaligned_be16(list + MOVE_PORT_AT);
	req->ids_len = get_unaligned_be32(list + MOVE_LEN_AT);
	if (req->ids_len < MOVE_ID_MIN || req->ids_len % 4)
		return scst_pr_invalid(verdict, MOVE_LEN_AT, -1);
	if (req->ids_len > len - MOVE_ID_AT)
		return scst_pr_too_short(verdict);
	req->ids = list + MOVE_ID_AT;
	req->nr_ids = 1;
	if (scst_transport_id_parse(&id, req->ids, req->ids_len) != req->ids_len)
		return scst_pr_invalid(verdict, MOVE_ID_AT, -1);
	return true;
}

/**
 * scst_pr_parse() - read a PERSISTENT RESERVE OUT command
 * @req: set; points into @list
 * @verdict: set if it is refused
 * @cdb: 10 bytes
 * @list: the parameter list
 * @len: bytes of it that came
 *
 * What is reserved, or obsolete, is not looked at: initiators leave in it what was there.  Return: false: refused.
 */
bool scst_pr_parse(struct scst_pr_request *req, struct scst_pr_verdict *verdict, const u8 *cdb, const u8 *list,
		   u32 len)
{
	*req = (struct scst_pr_request){ .action = cdb[1] & 0x1f, .scope = cdb[2] >> 4, .type = cdb[2] & 0x0f };
	if (req->action >= SCST_PR_ACTIONS)
		return scst_pr_refuse(verdict, SCST_PR_SENSE_INVALID_CDB, 1, 4);
	if (len < BASIC_LEN)
		return scst_pr_too_short(verdict);
	req->key = get_unaligned_be64(list);
	req->sa_key = get_unaligned_be64(list + 8);
	if (req->action == SCST_PR_REGISTER_AND_MOVE)
		return scst_pr_parse_move(req, verdict, list, len);
	return scst_pr_parse_basic(req, verdict, list, len);
}
