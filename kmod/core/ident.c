// SPDX-License-Identifier: GPL-2.0-only
/*
 * REPORT IDENTIFYING INFORMATION and SET IDENTIFYING INFORMATION (SPC-4 5.6, 6.32, 6.45): what initiators call a device, as bytes and as text.
 *
 * It is kept where reservations outlive a loss of power (pr_file), in the same record, and changed in the same line.  A device without such a
 * file has room for none: it says so, and refuses whatever is longer than nothing.
 */
#include "commands.h"

#define TYPE_AT		10	/* in both CDBs, in bits 7-1 */
#define TYPE_SUPPORTED	0x7f	/* of a report: what kinds there are */

#define HEADER		4	/* of a report: its length without it in bytes 2 and 3 */
#define DESC		4	/* of a kind */
#define REPORT_MAX	(HEADER + 256)

/* IDENTIFYING INFORMATION TYPE of each kind */
static const u8 scst_ident_types[SCST_IDENT_KINDS] = { 0x00, 0x02 };

static u8 scst_ident_type(const struct scst_cmd *cmd)
{
	return cmd->cdb[TYPE_AT] >> 1;
}

/* The kind of which a command is; SCST_IDENT_KINDS: there is no such kind. */
static u32 scst_ident_kind(const struct scst_cmd *cmd)
{
	u32 kind = 0;

	while (kind < SCST_IDENT_KINDS && scst_ident_types[kind] != scst_ident_type(cmd))
		kind++;
	return kind;
}

static u32 scst_ident_room(const struct scst_device *dev, u32 kind)
{
	return READ_ONCE(dev->pr_store) ? scst_ident_max(kind) : 0;
}

/* Sets sense data and returns false: there is no such kind, or nobody knows yet what there is. */
static bool scst_ident_known(struct scst_cmd *cmd, bool known)
{
	if (!known)
		scst_cmd_invalid_cdb(cmd, TYPE_AT, 7);
	else if (READ_ONCE(cmd->dev->pr_unread))
		scst_cmd_sense(cmd, SCST_SENSE_BECOMING_READY);
	else
		return true;
	return false;
}

/* --- REPORT ------------------------------------------------------------------------------------ */

bool scst_ident_prepare_report(struct scst_cmd *cmd)
{
	return scst_ident_known(cmd, scst_ident_type(cmd) == TYPE_SUPPORTED || scst_ident_kind(cmd) < SCST_IDENT_KINDS);
}

static u32 scst_ident_put_supported(const struct scst_device *dev, u8 *buf)
{
	u32 kind;

	for (kind = 0; kind < SCST_IDENT_KINDS; kind++, buf += DESC) {
		buf[0] = scst_ident_types[kind] << 1;
		put_unaligned_be16(scst_ident_room(dev, kind), buf + 2);
	}
	return SCST_IDENT_KINDS * DESC;
}

/* Bytes, or -1: what there was is lost. */
static int scst_ident_put(const struct scst_cmd *cmd, u8 *buf)
{
	u32 kind = scst_ident_kind(cmd);
	const struct scst_pr *pr;
	int len = -1;

	rcu_read_lock();
	pr = scst_reserve_persistent(cmd->dev);
	if (!pr->lost) {
		len = pr->ident.len[kind];
		memcpy(buf, pr->ident.bytes + scst_ident_at(kind), len);
	}
	rcu_read_unlock();
	return len;
}

/**
 * scst_ident_report() - REPORT IDENTIFYING INFORMATION
 * @cmd: the command
 */
void scst_ident_report(struct scst_cmd *cmd)
{
	bool supported = scst_ident_type(cmd) == TYPE_SUPPORTED;
	u8 buf[REPORT_MAX] = { };
	int len = supported ? (int)scst_ident_put_supported(cmd->dev, buf + HEADER) : scst_ident_put(cmd, buf + HEADER);

	if (len < 0) {
		scst_cmd_sense(cmd, SCST_PR_SENSE_LOST);
		scst_cmd_respond(cmd);
		return;
	}
	put_unaligned_be16(len, buf + 2);
	scst_cmd_reply(cmd, buf, HEADER + len);
}

/* --- SET --------------------------------------------------------------------------------------- */

bool scst_ident_prepare_set(struct scst_cmd *cmd)
{
	u32 kind = scst_ident_kind(cmd);

	if (!scst_ident_known(cmd, kind < SCST_IDENT_KINDS))
		return false;
	if (cmd->xfer_len > scst_ident_room(cmd->dev, kind))
		scst_cmd_invalid_cdb(cmd, 6, 7);
	else if (cmd->xfer_len > cmd->len)
		scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	else
		return true;
	return false;
}

/* What there is by now; nobody but the line changes it. */
static struct scst_ident scst_ident_now(const struct scst_device *dev)
{
	struct scst_ident ident;

	rcu_read_lock();
	ident = scst_reserve_persistent(dev)->ident;
	rcu_read_unlock();
	return ident;
}

/* 0 or a negative errno.  What is there already is stable. */
static int scst_ident_change(struct scst_cmd *cmd)
{
	struct scst_ident was = scst_ident_now(cmd->dev), ident = was;
	u32 kind = scst_ident_kind(cmd);

	ident.len[kind] = cmd->len;
	memset(ident.bytes + scst_ident_at(kind), 0, scst_ident_max(kind));
	if (cmd->len)
		scst_cmd_fetch(cmd, ident.bytes + scst_ident_at(kind), cmd->len);
	return memcmp(&ident, &was, sizeof(ident)) ? scst_pr_keep_ident(cmd, &ident) : 0;
}

static void scst_ident_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	int ret = scst_cmd_aborted(cmd) ? 0 : scst_ident_change(cmd);

	if (ret)
		scst_cmd_errno(cmd, ret);
	scst_cmd_respond(cmd);
}

/**
 * scst_ident_set() - SET IDENTIFYING INFORMATION
 * @cmd: the command
 *
 * Answered when it is stable.  Everybody else who sees the device is told, by a unit attention.
 */
void scst_ident_set(struct scst_cmd *cmd)
{
	scst_cmd_to_line(cmd, &cmd->dev->pr_line, &cmd->dev->pr_threads, scst_ident_job);
}
