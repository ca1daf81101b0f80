// SPDX-License-Identifier: GPL-2.0-only
/*
 * REPORT SUPPORTED OPERATION CODES and REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 6.35, 6.36): told from the
 * tables by which commands are done, so that what is reported is what there is.
 *
 * The answer is written straight into the command's buffer, which needs no memory however long it is.
 */
#include "commands.h"

#define RCTD		0x80	/* RETURN COMMANDS TIMEOUT DESCRIPTOR */
#define OPTIONS		0x07	/* REPORTING OPTIONS */

#define HEADER		4
#define DESC		8
#define TIMEOUTS	12
#define CTDP		0x02	/* of a descriptor in the list of all */
#define SERVACTV	0x01
#define ONE_CTDP	0x80	/* of the answer about one */
#define NOT_SUPPORTED	0x01
#define STANDARD	0x03

#define LUN2		0xe0	/* byte 1 up to SCSI-2 */

enum scst_ops_option {
	SCST_OPS_ALL,
	SCST_OPS_OPCODE,	/* which has no service actions */
	SCST_OPS_ACTION,	/* of an opcode that has */
	SCST_OPS_EITHER,
};

/* An answer that is being written: @at counts what doesn't fit as well. */
struct scst_ops_answer {
	struct scst_cmd *cmd;
	u32 at;
	bool timeouts;
};

static void scst_ops_put(struct scst_ops_answer *answer, const u8 *data, u32 len)
{
	struct scst_cmd *cmd = answer->cmd;

	if (answer->at < cmd->len)
		sg_pcopy_from_buffer(cmd->data.sgl, cmd->data.nents, data, min(len, cmd->len - answer->at), answer->at);
	answer->at += len;
}

/* How long a command takes is the backing's matter: no time is promised, and none recommended. */
static void scst_ops_put_timeouts(struct scst_ops_answer *answer)
{
	static const u8 timeouts[TIMEOUTS] = { 0, TIMEOUTS - 2 };

	if (answer->timeouts)
		scst_ops_put(answer, timeouts, sizeof(timeouts));
}

static void scst_ops_good(struct scst_ops_answer *answer)
{
	struct scst_cmd *cmd = answer->cmd;

	cmd->xfer_len = min(cmd->xfer_len, answer->at);
	cmd->len = min(cmd->len, answer->at);
	scst_cmd_good(cmd);
}

/* --- all commands ------------------------------------------------------------------------------ */

static void scst_ops_put_row(struct scst_ops_answer *answer, const struct scst_opcode *op, u8 opcode, u16 action,
			     bool actions)
{
	u8 desc[DESC] = { opcode };

	if (!scst_op_offered(op, answer->cmd->dev))
		return;
	put_unaligned_be16(action, desc + 2);
	desc[5] = (answer->timeouts ? CTDP : 0) | (actions ? SERVACTV : 0);
	put_unaligned_be16(op->cdb_len, desc + 6);
	scst_ops_put(answer, desc, sizeof(desc));
	scst_ops_put_timeouts(answer);
}

static void scst_ops_put_opcode(struct scst_ops_answer *answer, const struct scst_opcode *op, u8 opcode)
{
	unsigned int action;

	if (!op->sa) {
		scst_ops_put_row(answer, op, opcode, 0, false);
		return;
	}
	for (action = 0; action < op->nr_sa; action++)
		if (op->sa[action])
			scst_ops_put_row(answer, op->sa[action], opcode, action, true);
}

static void scst_ops_put_all(struct scst_ops_answer *answer)
{
	const struct scst_op_table *table = answer->cmd->dev->ops;
	unsigned int opcode;

	for (opcode = 0; opcode < ARRAY_SIZE(table->row); opcode++)
		if (table->row[opcode])
			scst_ops_put_opcode(answer, table->row[opcode], opcode);
}

static void scst_ops_report_all(struct scst_ops_answer *answer)
{
	u8 header[HEADER];
	u32 len = answer->cmd->len;

	/* How long it is has to be said first. */
	answer->cmd->len = 0;
	answer->at = 0;
	scst_ops_put_all(answer);
	put_unaligned_be32(answer->at, header);
	answer->cmd->len = len;
	answer->at = 0;
	scst_ops_put(answer, header, sizeof(header));
	scst_ops_put_all(answer);
}

/* --- one of them ------------------------------------------------------------------------------- */

/* Byte of GROUP NUMBER, a hint that is not heeded; 0: there is none. */
static unsigned int scst_ops_group_at(const struct scst_opcode *op)
{
	switch (op->format) {
	case SCST_CDB_RW10:
		return 6;
	case SCST_CDB_RW12:
		return 10;
	case SCST_CDB_RW16:
		return 14;
	case SCST_CDB_RW32:
		return 6;
	default:
		if (op->cdb_mask[0] == UNMAP)
			return 6;
		return op->flags & SCST_OP_TURNS || op->execute == scst_copy_populate ? 14 : 0;
	}
}

/* CDB USAGE DATA: what is heeded of the bits that may be set; @control: of CONTROL. */
static void scst_ops_usage(const struct scst_opcode *op, u16 action, bool actions, u8 control, u8 *usage)
{
	unsigned int group = scst_ops_group_at(op);

	memcpy(usage, op->cdb_mask, op->cdb_len);
	usage[1] &= op->byte1 ?: ~LUN2;
	if (group)
		usage[group] = 0;
	usage[scst_cdb_control_at(op->cdb_mask[0])] = control;
	if (actions && op->cdb_len > 16)
		put_unaligned_be16(action, usage + 8);
	else if (actions)
		usage[1] = (usage[1] & ~0x1f) | action;
}

static void scst_ops_report_one(struct scst_ops_answer *answer, const struct scst_opcode *op, u16 action, bool actions)
{
	u8 buf[HEADER + SCST_MAX_CDB] = { };

	if (!op || !scst_op_offered(op, answer->cmd->dev)) {
		buf[1] = NOT_SUPPORTED;
		scst_ops_put(answer, buf, HEADER);
		return;
	}
	buf[1] = STANDARD | (answer->timeouts ? ONE_CTDP : 0);
	put_unaligned_be16(op->cdb_len, buf + 2);
	scst_ops_usage(op, action, actions, scst_aca_control(answer->cmd), buf + HEADER);
	scst_ops_put(answer, buf, HEADER + op->cdb_len);
	scst_ops_put_timeouts(answer);
}

/* The row of the opcode that a CDB asks about, or NULL: there is none. */
static const struct scst_opcode *scst_ops_asked(const struct scst_cmd *cmd)
{
	const struct scst_opcode *op = cmd->dev->ops->row[cmd->cdb[3]];

	return op && scst_op_offered(op, cmd->dev) ? op : NULL;
}

/* That of its service action. */
static const struct scst_opcode *scst_ops_action(const struct scst_opcode *op, u16 action)
{
	if (op && op->sa)
		return action < op->nr_sa ? op->sa[action] : NULL;
	return action ? NULL : op;
}

/**
 * scst_ops_prepare_report() - what REPORT SUPPORTED OPERATION CODES may not ask
 * @cmd: the command
 *
 * Whether an opcode has service actions is to be known to who asks for it by the first two options.
 */
bool scst_ops_prepare_report(struct scst_cmd *cmd)
{
	const struct scst_opcode *op = scst_ops_asked(cmd);
	u8 option = cmd->cdb[2] & OPTIONS;

	if (option > SCST_OPS_EITHER)
		scst_cmd_invalid_cdb(cmd, 2, 2);
	else if (op && option == SCST_OPS_OPCODE && op->sa)
		scst_cmd_invalid_cdb(cmd, 3, 7);
	else if (op && option == SCST_OPS_ACTION && !op->sa)
		scst_cmd_invalid_cdb(cmd, 3, 7);
	else
		return true;
	return false;
}

/**
 * scst_ops_report() - REPORT SUPPORTED OPERATION CODES
 * @cmd: the command
 */
void scst_ops_report(struct scst_cmd *cmd)
{
	struct scst_ops_answer answer = { .cmd = cmd, .timeouts = cmd->cdb[2] & RCTD };
	u8 option = cmd->cdb[2] & OPTIONS;
	u16 action = option == SCST_OPS_OPCODE ? 0 : get_unaligned_be16(cmd->cdb + 4);
	const struct scst_opcode *op = scst_ops_asked(cmd);

	if (option == SCST_OPS_ALL)
		scst_ops_report_all(&answer);
	else
		scst_ops_report_one(&answer, scst_ops_action(op, action), action, op && op->sa);
	scst_ops_good(&answer);
}

/* --- task management functions ------------------------------------------------------------------- */

#define REPD		0x80	/* RETURN EXTENDED PARAMETER DATA */
#define TMF_LEN		4
#define TMF_EXTENDED	16

#define CACAS		0x20	/* CLEAR ACA */

/* See scst_tmf_submit(): what is not here ends in "not supported". */
static const u8 scst_ops_tmfs[TMF_LEN] = {
	0x80 |	/* ABORT TASK */
	0x40 |	/* ABORT TASK SET */
	0x10 |	/* CLEAR TASK SET */
	0x08 |	/* LOGICAL UNIT RESET */
	0x04 |	/* QUERY TASK */
	0x02,	/* TARGET RESET, which the standard has given up */
	0x02 |	/* QUERY TASK SET */
	0x01,	/* I_T NEXUS RESET */
};

bool scst_ops_prepare_tmfs(struct scst_cmd *cmd)
{
	if (cmd->xfer_len >= TMF_LEN)
		return true;
	scst_cmd_invalid_cdb(cmd, 6, 7);
	return false;
}

/**
 * scst_ops_tmfs_report() - REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS
 * @cmd: the command
 *
 * As with commands, no time is promised.
 */
void scst_ops_tmfs_report(struct scst_cmd *cmd)
{
	u8 buf[TMF_EXTENDED] = { };
	bool extended = cmd->cdb[2] & REPD;

	memcpy(buf, scst_ops_tmfs, TMF_LEN);
	if (scst_aca_offered(cmd->sess))
		buf[0] |= CACAS;
	buf[3] = extended ? TMF_EXTENDED - 4 : 0;
	scst_cmd_reply(cmd, buf, extended ? TMF_EXTENDED : TMF_LEN);
}
