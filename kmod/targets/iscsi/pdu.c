// SPDX-License-Identifier: GPL-2.0-only
/*
 * iSCSI protocol data units; pure.  What they say is untrusted, but for what iscsi_pdu_check() has found fine.
 */
#include "compat.h"
#include "pdu.h"

#define AHS_CDB		1	/* extended CDB (11.2.2.3) */
#define AHS_READ_LEN	2	/* expected bidirectional read data length (11.2.2.4) */
#define AHS_HEADER	3	/* its length, which does not count itself and the type */
#define ATTR_LAST	4

/* --- is it one? ------------------------------------------------------------------------------ */

/* The next additional header segment; its whole length, 0: it is not all there. */
static u32 iscsi_ahs_size(const u8 *ahs, u32 left)
{
	u32 size;

	if (left < AHS_HEADER)
		return 0;
	size = ALIGN(AHS_HEADER + get_unaligned_be16(ahs), 4);
	return size <= left && get_unaligned_be16(ahs) ? size : 0;
}

static int iscsi_ahs_check(const u8 *head)
{
	u32 left = head[ISCSI_AT_AHS_LEN] * 4, size;
	const u8 *ahs = head + ISCSI_BHS;

	for (; left; ahs += size, left -= size) {
		size = iscsi_ahs_size(ahs, left);
		if (!size)
			return ISCSI_CLOSE;
		if (ahs[2] != AHS_CDB && ahs[2] != AHS_READ_LEN)
			return ISCSI_REASON_FIELD;
	}
	return ISCSI_FINE;
}

/* Data that nobody has asked for may come in two ways, if both sides have agreed to. */
static int iscsi_unsolicited_check(const u8 *head, const struct iscsi_rules *rules)
{
	u32 len = iscsi_data_len(head);
	u8 flags = head[ISCSI_AT_FLAGS];

	if (!len && flags & ISCSI_FINAL)
		return ISCSI_FINE;
	if (!(flags & ISCSI_CMD_WRITE) || (!(flags & ISCSI_FINAL) && rules->initial_r2t))
		return ISCSI_REASON_PROTOCOL;
	if (len && (!rules->immediate_data || len > rules->first_burst))
		return ISCSI_REASON_PROTOCOL;
	return len <= get_unaligned_be32(head + ISCSI_AT_EDTL) ? ISCSI_FINE : ISCSI_REASON_PROTOCOL;
}

static int iscsi_command_check(const u8 *head, const struct iscsi_rules *rules)
{
	int ret = iscsi_ahs_check(head);

	if (ret)
		return ret;
	if (get_unaligned_be32(head + ISCSI_AT_ITT) == ISCSI_TAG_NONE || (head[ISCSI_AT_FLAGS] & ISCSI_CMD_ATTR) > ATTR_LAST)
		return ISCSI_REASON_FIELD;
	return iscsi_unsolicited_check(head, rules);
}

/* More than each side must be able to take is not taken (6.2). */
static int iscsi_text_check(const u8 *head)
{
	if (get_unaligned_be32(head + ISCSI_AT_ITT) == ISCSI_TAG_NONE)
		return ISCSI_REASON_FIELD;
	return iscsi_data_len(head) <= ISCSI_TEXT_MAX ? ISCSI_FINE : ISCSI_REASON_PROTOCOL;
}

/**
 * iscsi_pdu_check() - is it one that an initiator may send in the full-feature phase?
 * @head: its header segments, whole
 * @rules: what was agreed to
 *
 * Return: ISCSI_FINE, ISCSI_CLOSE, or enum iscsi_reason, why it is rejected.
 */
int iscsi_pdu_check(const u8 *head, const struct iscsi_rules *rules)
{
	if (iscsi_data_len(head) > rules->max_recv)
		return ISCSI_CLOSE;
	switch (ISCSI_OPCODE(head)) {
	case ISCSI_COMMAND:
		return iscsi_command_check(head, rules);
	case ISCSI_TEXT:
		return iscsi_text_check(head);
	case ISCSI_DATA_OUT:
	case ISCSI_NOP_OUT:
	case ISCSI_TMF:
	case ISCSI_LOGOUT:
		return ISCSI_FINE;
	case ISCSI_SNACK:
		return ISCSI_REASON_SNACK;
	case ISCSI_LOGIN:
		return ISCSI_CLOSE;
	default:
		return ISCSI_OPCODE(head) < ISCSI_NOP_IN ? ISCSI_REASON_COMMAND : ISCSI_CLOSE;
	}
}

/**
 * iscsi_cdb() - a command's CDB
 * @head: the header segments of one that is fine
 * @cdb: it goes there
 *
 * Return: its length, 0: it is longer than any that is carried out.
 */
u32 iscsi_cdb(const u8 *head, u8 cdb[ISCSI_CDB_MAX])
{
	u32 left = head[ISCSI_AT_AHS_LEN] * 4, len = ISCSI_CDB, size, more;
	const u8 *ahs = head + ISCSI_BHS;

	memcpy(cdb, head + ISCSI_AT_CDB, ISCSI_CDB);
	for (; left; ahs += size, left -= size) {
		size = iscsi_ahs_size(ahs, left);
		if (ahs[2] != AHS_CDB)
			continue;
		/* Behind a byte that is reserved. */
		more = get_unaligned_be16(ahs) - 1;
		if (more > ISCSI_CDB_MAX - ISCSI_CDB)
			return 0;
		memcpy(cdb + ISCSI_CDB, ahs + AHS_HEADER + 1, more);
		len = ISCSI_CDB + more;
	}
	return len;
}

/* --- data-out, of a command ------------------------------------------------------------------ */

/* A command that is fine has come, and may bring data. */
void iscsi_out_begin(struct iscsi_out *out, const u8 *head, const struct iscsi_rules *rules)
{
	*out = (struct iscsi_out){
		.edtl = get_unaligned_be32(head + ISCSI_AT_EDTL),
		.want = U32_MAX,
		.unsolicited = !(head[ISCSI_AT_FLAGS] & ISCSI_FINAL),
	};
	out->burst_end = min(out->edtl, rules->first_burst);
}

/**
 * iscsi_out_check() - does a Data-Out go on where the one before it ended?
 * @out: of its command
 * @head: its header
 *
 * Return: yes; no: it breaks 11.7, and what it has with it is not to be used.
 */
bool iscsi_out_check(const struct iscsi_out *out, const u8 *head)
{
	u32 end = out->got + iscsi_data_len(head);
	bool final = head[ISCSI_AT_FLAGS] & ISCSI_FINAL;

	if (!out->unsolicited && !out->open)
		return false;
	if (get_unaligned_be32(head + ISCSI_AT_OFFSET) != out->got || get_unaligned_be32(head + ISCSI_AT_DATA_SN) != out->data_sn)
		return false;
	if (end > out->burst_end || end < out->got)
		return false;
	/* A burst ends with it, and only what nobody has asked for may be shorter. */
	return final ? out->unsolicited || end == out->burst_end : end < out->burst_end;
}

/**
 * iscsi_out_end() - data has come
 * @out: of its command
 * @head: of a Data-Out that was found right, or of the command: immediate data
 * @bursts: what was agreed to
 */
void iscsi_out_end(struct iscsi_out *out, const u8 *head, const struct iscsi_bursts *bursts)
{
	out->got += iscsi_data_len(head);
	if (ISCSI_OPCODE(head) != ISCSI_DATA_OUT)
		return;
	out->data_sn++;
	if (!(head[ISCSI_AT_FLAGS] & ISCSI_FINAL))
		return;
	out->data_sn = 0;
	if (out->unsolicited)
		out->unsolicited = false;
	else
		out->open--;
	out->burst_end = min_t(u64, (u64)out->got + bursts->max, out->asked);
}

/**
 * iscsi_out_may_ask() - is there more to ask for, and may it be asked for now?
 * @out: the command's
 * @bursts: what was agreed to
 */
bool iscsi_out_may_ask(const struct iscsi_out *out, const struct iscsi_bursts *bursts)
{
	return !out->unsolicited && out->want != U32_MAX && out->open < bursts->open && out->asked < out->want && out->got < out->want;
}

/**
 * iscsi_out_ask() - ask for more
 * @out: the command's
 * @bursts: what was agreed to
 * @offset: set: from where on
 *
 * Return: bytes of an R2T, 0: there is none to be sent now.
 */
u32 iscsi_out_ask(struct iscsi_out *out, const struct iscsi_bursts *bursts, u32 *offset)
{
	u32 len;

	if (!iscsi_out_may_ask(out, bursts))
		return 0;
	if (out->asked < out->got)
		out->asked = out->got;
	len = min(bursts->max, out->want - out->asked);
	*offset = out->asked;
	out->asked += len;
	if (!out->open)
		out->burst_end = out->asked;
	out->open++;
	return len;
}
