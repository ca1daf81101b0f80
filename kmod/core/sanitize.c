// SPDX-License-Identifier: GPL-2.0-only
/*
 * SANITIZE (SBC-4 4.11, 5.30): OVERWRITE and EXIT FAILURE MODE.
 *
 * Every block of the unit is written, as often as was asked for, each time to the medium.  What a back end does with what it had there before
 * (a file system that writes elsewhere, snapshots, flash) is not known to anybody here, so there is no BLOCK ERASE, and no
 * CRYPTOGRAPHIC ERASE.
 *
 * Once it has begun nothing but its end makes it done: neither aborts nor resets end it, and a loss of power, or of the backing, fails it,
 * which the pr_file remembers.  So only devices with one have the command.
 */
#include "overhaul.h"

#define SA_OVERWRITE	0x01

/* Byte 1 of the CDB */
#define IMMED		0x80
#define AUSE		0x20	/* EXIT FAILURE MODE is a way out, if it fails */
#define ACTION		0x1f

#define HEADER		4	/* of the list */

/* Byte 0 of the list */
#define INVERT		0x80
#define TEST		0x60
#define COUNT		0x1f

static u32 scst_sanitize_block(const struct scst_cmd *cmd)
{
	return 1U << cmd->dev->geo.block_shift;
}

bool scst_sanitize_prepare(struct scst_cmd *cmd)
{
	bool overwrite = (cmd->cdb[1] & ACTION) == SA_OVERWRITE;

	if (!scst_op_offered(cmd->op, cmd->dev))
		scst_cmd_refuse_opcode(cmd);
	else if (overwrite ? cmd->xfer_len <= HEADER || cmd->xfer_len > HEADER + scst_sanitize_block(cmd) : cmd->xfer_len)
		scst_cmd_invalid_cdb(cmd, 7, 7);
	else if (cmd->len < cmd->xfer_len)
		scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	else
		return true;
	return false;
}

/* --- OVERWRITE --------------------------------------------------------------------------------------- */

/* @list: its header; all of it is there.  Sets sense data and returns false if it asks for what is not done. */
static bool scst_sanitize_check(struct scst_cmd *cmd, const u8 *list)
{
	u16 len = get_unaligned_be16(list + 2);

	if (list[0] & TEST)
		scst_cmd_invalid_list(cmd, 0, 6);
	else if (!(list[0] & COUNT))
		scst_cmd_invalid_list(cmd, 0, 4);
	else if (list[1])
		scst_cmd_invalid_list(cmd, 1, fls(list[1]) - 1);
	else if (!len || len > scst_sanitize_block(cmd))
		scst_cmd_invalid_list(cmd, 2, 7);
	else if (len > cmd->xfer_len - HEADER)
		scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	else
		return true;
	return false;
}

/* Each block begins with the pattern, @len bytes that are not read twice: the initiator may change them. */
static void scst_sanitize_pattern(struct scst_cmd *cmd, struct scst_overhaul *overhaul, u16 len)
{
	u32 block = scst_sanitize_block(cmd), at;
	u8 *p = page_address(overhaul->chunk);

	sg_pcopy_to_buffer(cmd->data.sgl, cmd->data.nents, p, len, HEADER);
	for (at = len; at < block; at += len)
		memcpy(p + at, p, min_t(u32, len, block - at));
	scst_fill_chunk(overhaul->chunk, overhaul->chunk_size, block);
}

/* One that has failed in the restricted completion mode is not followed by one that could be left (SBC-4 4.11.1). */
static bool scst_sanitize_allowed(struct scst_cmd *cmd)
{
	if (!(cmd->cdb[1] & AUSE) || scst_pr_undone(cmd->dev) != SCST_UNDONE_SANITIZE)
		return true;
	scst_cmd_invalid_cdb(cmd, 1, 5);
	return false;
}

static bool scst_sanitize_take(struct scst_cmd *cmd, struct scst_overhaul *overhaul)
{
	u8 list[HEADER];

	scst_cmd_fetch(cmd, list, sizeof(list));
	if (!scst_sanitize_check(cmd, list) || !scst_sanitize_allowed(cmd))
		return false;
	overhaul->gate = SCST_GATE_SANITIZING;
	overhaul->undone = cmd->cdb[1] & AUSE ? SCST_UNDONE_SANITIZE_FREE : SCST_UNDONE_SANITIZE;
	overhaul->immed = cmd->cdb[1] & IMMED;
	overhaul->action = SCST_ACTION_WRITE;
	overhaul->passes = list[0] & COUNT;
	overhaul->invert = list[0] & INVERT;
	scst_sanitize_pattern(cmd, overhaul, get_unaligned_be16(list + 2));
	return true;
}

static void scst_sanitize_job(struct scst_job *job)
{
	scst_overhaul_begin(job, scst_sanitize_take);
}

/**
 * scst_sanitize_overwrite() - SANITIZE, OVERWRITE
 * @cmd: the command
 */
void scst_sanitize_overwrite(struct scst_cmd *cmd)
{
	scst_cmd_to_thread(cmd, scst_sanitize_job);
}

/* --- EXIT FAILURE MODE -------------------------------------------------------------------------------- */

/* 0 or a negative errno. */
static int scst_sanitize_leave(struct scst_device *dev)
{
	int ret = scst_pr_keep_undone(dev, SCST_UNDONE_NOTHING);

	if (ret)
		return ret;
	spin_lock_bh(&dev->nexus_lock);
	scst_overhaul_settle(dev);
	spin_unlock_bh(&dev->nexus_lock);
	scst_overhaul_event(dev);
	return 0;
}

/* In the line, where nobody else changes what is undone. */
static void scst_sanitize_exit_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	u8 undone = scst_pr_undone(cmd->dev);
	struct scst_stop stop;
	int ret = 0;

	/* One that has begun since then is not left by it. */
	if (READ_ONCE(cmd->nexus->gates) & SCST_STOPS_BUSY && scst_gate_take(cmd, &stop)) {
		scst_cmd_stop(cmd, &stop);
		return;
	}
	if (undone == SCST_UNDONE_SANITIZE)
		scst_cmd_invalid_cdb(cmd, 1, 4);
	else if (undone == SCST_UNDONE_SANITIZE_FREE && !scst_cmd_aborted(cmd))
		ret = scst_sanitize_leave(cmd->dev);
	if (ret)
		scst_cmd_errno(cmd, ret);
	scst_cmd_respond(cmd);
}

/**
 * scst_sanitize_exit() - SANITIZE, EXIT FAILURE MODE
 * @cmd: the command
 */
void scst_sanitize_exit(struct scst_cmd *cmd)
{
	scst_cmd_to_line(cmd, &cmd->dev->pr_line, &cmd->dev->pr_threads, scst_sanitize_exit_job);
}
