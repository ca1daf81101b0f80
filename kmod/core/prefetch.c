// SPDX-License-Identifier: GPL-2.0-only
/*
 * What initiators ask of a medium besides its data: to have it at hand (PRE-FETCH), and what is broken (READ DEFECT DATA).
 */
#include "commands.h"
#include <linux/sched/mm.h>

/* --- PRE-FETCH --------------------------------------------------------------------------------- */

#define PREFETCH_IMMED	0x02
#define PREFETCH_MAX	SZ_32M	/* no single command takes more of a cache that is everybody's */

/* PRE-FETCH(10) and (16) */
bool scst_prefetch_prepare(struct scst_cmd *cmd)
{
	u64 nblocks = READ_ONCE(cmd->dev->geo.nblocks);

	cmd->len = 0;
	cmd->xfer_len = 0;
	if (cmd->nblocks > nblocks || cmd->lba > nblocks - cmd->nblocks)
		return scst_sbc_out_of_range(cmd);
	cmd->pos = cmd->lba << cmd->dev->geo.block_shift;
	return true;
}

/* PREFETCH LENGTH of zero: all there is from there on. */
static u64 scst_prefetch_bytes(const struct scst_cmd *cmd)
{
	u64 nblocks = cmd->nblocks ?: READ_ONCE(cmd->dev->geo.nblocks) - cmd->lba;

	return nblocks << cmd->dev->geo.block_shift;
}

/* All of it is in the cache, or is on its way there. */
static void scst_prefetch_met(struct scst_cmd *cmd)
{
	if (!scst_cmd_aborted(cmd) && !cmd->status)
		cmd->status = SAM_STAT_CONDITION_MET;
	scst_cmd_respond(cmd);
}

/* GOOD means that not all of it is, or will be: there is no cache of ours, or no room (SBC-3 5.10). */
static void scst_prefetch(struct scst_cmd *cmd)
{
	bool (*prefetch)(struct scst_device *dev, u64 pos, u64 len) = cmd->dev->handler->prefetch;
	u64 bytes = scst_prefetch_bytes(cmd);

	if (!bytes)
		scst_prefetch_met(cmd);
	else if (!prefetch || !prefetch(cmd->dev, cmd->pos, min_t(u64, bytes, PREFETCH_MAX)) || bytes > PREFETCH_MAX)
		scst_cmd_good(cmd);
	else if (cmd->cdb[1] & PREFETCH_IMMED)
		scst_prefetch_met(cmd);
	else
		scst_read_through(cmd, bytes, scst_prefetch_met);
}

static void scst_prefetch_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	unsigned int noio = memalloc_noio_save();

	if (scst_cmd_aborted(cmd))
		scst_cmd_respond(cmd);
	else
		scst_prefetch(cmd);
	memalloc_noio_restore(noio);
}

/**
 * scst_prefetch_begin() - PRE-FETCH(10) and (16)
 * @cmd: the command
 */
void scst_prefetch_begin(struct scst_cmd *cmd)
{
	scst_cmd_to_thread(cmd, scst_prefetch_job);
}

/* --- READ DEFECT DATA -------------------------------------------------------------------------- */

#define DEFECT_FORMAT	0x07
#define DEFECT_RESERVED	0x07	/* the only format that is none */

static bool scst_defects_twelve(const struct scst_cmd *cmd)
{
	return cmd->op->cdb_len == 12;
}

/* READ DEFECT DATA(10) and (12) */
bool scst_defects_prepare(struct scst_cmd *cmd)
{
	unsigned int at = scst_defects_twelve(cmd) ? 1 : 2;

	if ((cmd->cdb[at] & DEFECT_FORMAT) != DEFECT_RESERVED)
		return true;
	scst_cmd_invalid_cdb(cmd, at, 2);
	return false;
}

/**
 * scst_defects_report() - READ DEFECT DATA(10) and (12)
 * @cmd: the command
 *
 * What is broken is the backing's matter and never has an address here: both lists are empty, in whatever format.
 */
void scst_defects_report(struct scst_cmd *cmd)
{
	u8 buf[8] = { };

	/* REQ_PLIST, REQ_GLIST and the format become PLISTV, GLISTV and the format. */
	buf[1] = cmd->cdb[scst_defects_twelve(cmd) ? 1 : 2];
	scst_cmd_reply(cmd, buf, scst_defects_twelve(cmd) ? 8 : 4);
}
