// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any stream of bytes, cut into PDUs of iSCSI: in one piece and in pieces it is the same PDUs with the same verdicts; a CDB is no longer than its
 * room; data of a command is only ever the next that was sent unasked or asked for, and never more than the initiator has said.
 */
#include <stdlib.h>
#include <string.h>
#include "compat.h"
#include "pdu.h"

#define CONFIG	6
#define SEEN	64

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static const u32 lengths[] = { 512, 2048, 8192, 0xffffff };

static struct iscsi_rules rules;
static struct iscsi_bursts bursts;

/* What was found: verdict and place of each. */
struct seen {
	unsigned int nr;
	struct {
		int verdict;
		u32 data_len;
		u32 head;
	} pdu[SEEN];
};

static void want(bool condition)
{
	if (!condition)
		abort();
}

static u32 sum(const u8 *data, u32 len)
{
	u32 value = len;

	while (len--)
		value = value * 31 + *data++;
	return value;
}

static void check_command(const u8 *head)
{
	u8 *cdb = malloc(ISCSI_CDB_MAX);
	u32 len = iscsi_cdb(head, cdb), edtl = get_unaligned_be32(head + ISCSI_AT_EDTL);

	want(!len || (len >= ISCSI_CDB && len <= ISCSI_CDB_MAX));
	want(iscsi_data_len(head) <= edtl && iscsi_data_len(head) <= rules.first_burst);
	free(cdb);
}

/* The header in memory of its own, as long as it says. */
static int check_head(const struct iscsi_frame *frame)
{
	u8 *head = malloc(frame->head_len);
	int verdict;

	memcpy(head, frame->head, frame->head_len);
	verdict = iscsi_pdu_check(head, &rules);
	want(verdict != ISCSI_FINE || iscsi_data_len(head) <= rules.max_recv);
	if (verdict == ISCSI_FINE && ISCSI_OPCODE(head) == ISCSI_COMMAND)
		check_command(head);
	free(head);
	return verdict;
}

/* A part is over.  False: nothing that follows can be trusted. */
static bool part_done(struct iscsi_frame *frame, struct seen *seen)
{
	int verdict;

	if (frame->part == ISCSI_PART_TAIL) {
		iscsi_frame_start(frame);
		return true;
	}
	if (frame->part == ISCSI_PART_HEAD) {
		verdict = check_head(frame);
		if (seen->nr < SEEN) {
			seen->pdu[seen->nr].verdict = verdict;
			seen->pdu[seen->nr].data_len = iscsi_data_len(frame->head);
			seen->pdu[seen->nr++].head = sum(frame->head, frame->head_len);
		}
		if (verdict == ISCSI_CLOSE)
			return false;
	}
	iscsi_frame_next(frame);
	return true;
}

static void cut(const u8 *data, size_t size, size_t step, u8 digests, struct seen *seen)
{
	struct iscsi_frame *frame = calloc(1, sizeof(*frame));
	u32 n;

	memset(seen, 0, sizeof(*seen));
	frame->header_digest = digests & 1;
	frame->data_digest = digests & 2;
	iscsi_frame_start(frame);
	while (size) {
		n = min_t(size_t, min_t(size_t, size, step), frame->left);
		if (frame->part != ISCSI_PART_DATA)
			memcpy(iscsi_frame_room(frame), data, n);
		iscsi_frame_added(frame, n);
		data += n;
		size -= n;
		while (!frame->left)
			if (!part_done(frame, seen))
				goto over;
	}
over:
	free(frame);
}

/* Data-Out of one command, whatever they say: what is taken is what comes next. */
static void burst(const u8 *data, size_t size)
{
	struct iscsi_out out;
	u32 offset, len, before;

	if (size < ISCSI_BHS || data[ISCSI_AT_AHS_LEN] || iscsi_pdu_check(data, &rules) || ISCSI_OPCODE(data) != ISCSI_COMMAND)
		return;
	iscsi_out_begin(&out, data, &rules);
	iscsi_out_end(&out, data, &bursts);
	if (data[2] & 1)
		out.want = min(out.edtl, get_unaligned_be32(data + 44));
	for (data += ISCSI_BHS, size -= ISCSI_BHS; size >= ISCSI_BHS; data += ISCSI_BHS, size -= ISCSI_BHS) {
		len = iscsi_out_ask(&out, &bursts, &offset);
		want(!len || (len <= bursts.max && offset + len <= out.want && out.open <= bursts.open));
		if (ISCSI_OPCODE(data) != ISCSI_DATA_OUT || !iscsi_out_check(&out, data))
			continue;
		before = out.got;
		iscsi_out_end(&out, data, &bursts);
		want(out.got == before + iscsi_data_len(data) && out.got <= out.edtl);
		want(out.got <= max(out.asked, min(out.edtl, rules.first_burst)));
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct seen whole, pieces;

	if (size < CONFIG)
		return 0;
	rules.max_recv = lengths[data[0] & 3];
	rules.first_burst = lengths[data[0] >> 2 & 3];
	rules.immediate_data = data[1] & 1;
	rules.initial_r2t = data[1] & 2;
	bursts.max = max(lengths[data[0] >> 4 & 3], rules.first_burst);
	bursts.open = 1 + data[2] % 8;
	cut(data + CONFIG, size - CONFIG, size, data[1] >> 2, &whole);
	cut(data + CONFIG, size - CONFIG, 1 + data[3] % 64, data[1] >> 2, &pieces);
	want(!memcmp(&whole, &pieces, sizeof(whole)));
	burst(data + CONFIG, size - CONFIG);
	return 0;
}
