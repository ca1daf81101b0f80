// SPDX-License-Identifier: GPL-2.0-only
/*
 * FORMAT UNIT (SBC-3 5.3).  There is one format, with the protection information that the device has or without, so what it does is to fill the medium with zeroes, which a thin unit has by giving its space
 * back.  Nothing is certified, no block is defective, none changes its length.
 *
 * Answered when it is done, it ends with its command: aborted, or stopped by who takes the right to write, it leaves what is not done as it
 * was.  With IMMED, which only a device has that remembers it (pr_file), it goes on to its end: overhaul.c.
 */
#include "overhaul.h"

/* Byte 1 of the CDB */
#define LONGLIST	0x20
#define FMTPINFO	0xc0
#define FMTDATA		0x10	/* there is a list */
#define OF_LIST		0x2f	/* what is said about the list */

#define HEADER_SHORT	4
#define HEADER_LONG	8

#define FIELD_USAGE	0x07	/* byte 0 of the list: PROTECTION FIELD USAGE */

/* Byte 1 of the list */
#define FOV		0x80	/* the next three, and IP, are meant */
#define DPRY		0x40
#define DCRT		0x20
#define STPF		0x10	/* what of defects, which there are none of */
#define IMMED		0x02

static u32 scst_format_header(const struct scst_cmd *cmd)
{
	if (!(cmd->cdb[1] & FMTDATA))
		return 0;
	return cmd->cdb[1] & LONGLIST ? HEADER_LONG : HEADER_SHORT;
}

/* FMTPINFO for the protection information that the device has: types 2 and 3 differ by PROTECTION FIELD USAGE. */
static u8 scst_format_pinfo(const struct scst_device *dev)
{
	switch (dev->protection) {
	case 0:
		return 0;
	case 1:
		return 0x80;
	default:
		return 0xc0;
	}
}

/* Of the list there is no more than its header: its length is not in the CDB.  Another type of protection is a setting, and no command's. */
bool scst_format_prepare(struct scst_cmd *cmd)
{
	u8 of_list = cmd->cdb[1] & OF_LIST;

	if ((cmd->cdb[1] & FMTPINFO) != scst_format_pinfo(cmd->dev)) {
		scst_cmd_invalid_cdb(cmd, 1, 7);
		return false;
	}
	if (of_list && !(cmd->cdb[1] & FMTDATA)) {
		scst_cmd_invalid_cdb(cmd, 1, fls(of_list) - 1);
		return false;
	}
	cmd->xfer_len = scst_format_header(cmd);
	cmd->len = min(cmd->xfer_len, scst_cmd_room(cmd));
	if (cmd->len == cmd->xfer_len)
		return true;
	scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	return false;
}

/* No other protection information, no pattern, no defects.  Sets sense data and returns false if the list says otherwise. */
static bool scst_format_check(struct scst_cmd *cmd, const u8 *list)
{
	u8 immed = READ_ONCE(cmd->dev->pr_store) ? IMMED : 0;
	u8 bad = list[1] & ~((list[1] & FOV ? FOV | DPRY | DCRT | STPF : 0) | immed);
	bool is_long = cmd->xfer_len == HEADER_LONG;

	if (list[0] & ~FIELD_USAGE)
		scst_cmd_invalid_list(cmd, 0, fls(list[0]) - 1);
	else if ((list[0] & FIELD_USAGE) != (cmd->dev->protection == 3))
		scst_cmd_invalid_list(cmd, 0, 2);
	else if (bad)
		scst_cmd_invalid_list(cmd, 1, fls(bad) - 1);
	else if (is_long && list[2])
		scst_cmd_invalid_list(cmd, 2, fls(list[2]) - 1);
	else if (is_long && list[3])
		scst_cmd_invalid_list(cmd, 3, fls(list[3]) - 1);
	else if (is_long ? get_unaligned_be32(list + 4) : get_unaligned_be16(list + 2))
		scst_cmd_invalid_list(cmd, is_long ? 4 : 2, 7);
	else
		return true;
	return false;
}

static bool scst_format_take(struct scst_cmd *cmd, struct scst_overhaul *overhaul)
{
	u8 list[HEADER_LONG] = { };

	if (cmd->xfer_len)
		scst_cmd_fetch(cmd, list, cmd->xfer_len);
	if (!scst_format_check(cmd, list))
		return false;
	overhaul->gate = SCST_GATE_FORMATTING;
	overhaul->immed = list[1] & IMMED;
	overhaul->undone = overhaul->immed ? SCST_UNDONE_FORMAT : SCST_UNDONE_NOTHING;
	overhaul->action = SCST_ACTION_ZERO;
	/* Where the handler can't. */
	memset(page_address(overhaul->chunk), 0, overhaul->chunk_size);
	return true;
}

static void scst_format_job(struct scst_job *job)
{
	scst_overhaul_begin(job, scst_format_take);
}

/**
 * scst_format_unit() - FORMAT UNIT
 * @cmd: the command
 */
void scst_format_unit(struct scst_cmd *cmd)
{
	scst_cmd_to_thread(cmd, scst_format_job);
}
