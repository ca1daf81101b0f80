// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parts: commands of the core's own, on behalf of an initiator, by which copies read and write.
 *
 * A part goes the way of any other command: its nexus is looked up in the view in force, it is in its session's table before it
 * looks at the gates, and it holds the backing only while it reads or writes.  So whoever takes the initiator's access away, reserves,
 * parks or resets a unit, finds what is being done to it as he finds the initiator's own commands, and nothing of it begins later.
 *
 * Parts are on no transport and never answered.
 */
#include "copy.h"
#include "trace.h"

/* Unit attentions and deferred errors are for the initiator's own commands: they stay pending. */
#define STOPS	(SCST_STOPS_ALWAYS | SCST_STOPS_UNAVAILABLE | (SCST_STOPS_MEDIUM & ~BIT_ULL(SCST_GATE_WRITE_LOST)))

const struct scst_opcode scst_copy_op_read = {
	.name		= "EXTENDED COPY, source",
	.stops		= STOPS | SCST_STOPS_ACCESS(SCST_ACCESS_READ),
	.access		= SCST_ACCESS_READ,
	.cdb_len	= 16,
	.format		= SCST_CDB_RW16,
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_FROM_DEVICE,
};

const struct scst_opcode scst_copy_op_write = {
	.name		= "EXTENDED COPY, destination",
	.stops		= STOPS | SCST_STOPS_READ_ONLY | SCST_STOPS_ACCESS(SCST_ACCESS_WRITE),
	.access		= SCST_ACCESS_WRITE,
	.cdb_len	= 16,
	.format		= SCST_CDB_RW16,
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TURNS,
	.dir		= DMA_TO_DEVICE,
};

/* The nexus, held, if it is still the one that stands behind the LUN; or NULL.  Any context. */
struct scst_nexus *scst_copy_nexus(struct scst_session *sess, const struct scst_copy_unit *unit)
{
	struct scst_nexus *nexus;

	rcu_read_lock();
	do {
		nexus = scst_view_nexus(rcu_dereference(sess->view), unit->lun);
	} while (nexus && nexus->cookie == unit->cookie && !percpu_ref_tryget_live_rcu(&nexus->ref));
	if (nexus && nexus->cookie != unit->cookie)
		nexus = NULL;
	rcu_read_unlock();
	return nexus;
}

/* For whoever looks at what is in flight. */
static void scst_part_describe(struct scst_copy_part *part, const struct scst_opcode *op)
{
	struct scst_cmd *cmd = &part->cmd;

	memset(part->cdb, 0, sizeof(part->cdb));
	part->cdb[0] = op->dir == DMA_TO_DEVICE ? WRITE_16 : READ_16;
	put_unaligned_be64(cmd->lba, part->cdb + 2);
	put_unaligned_be32(cmd->nblocks, part->cdb + 10);
}

/**
 * scst_part_init() - a part that has not begun
 * @copy: whose
 * @part: in memory that may hold an earlier one, whose data stays
 * @op: scst_copy_op_read or scst_copy_op_write
 * @pos: first byte
 * @len: bytes
 */
void scst_part_init(struct scst_copy *copy, struct scst_copy_part *part, const struct scst_opcode *op, u64 pos, u32 len)
{
	struct scst_cmd *cmd = &part->cmd;
	struct scst_data data = cmd->data;

	scst_cmd_init(cmd, copy->cmd->sess);
	__set_bit(SCST_CMD_PART, &cmd->flags);
	cmd->data = data;
	cmd->op = op;
	cmd->cdb = part->cdb;
	cmd->cdb_len = sizeof(part->cdb);
	cmd->sense = part->sense;
	cmd->tag = copy->cmd->tag;
	cmd->dir = op->dir;
	cmd->now = SCST_CTX_TASK;
	cmd->ctx = SCST_CTX_TASK;
	cmd->pos = pos;
	cmd->len = len;
	cmd->xfer_len = len;
	cmd->expected_len = len;
	cmd->dev = NULL;
	cmd->nexus = NULL;
	scst_stages_begin(cmd);
}

/* One that has begun is over.  On a thread of the copies'. */
void scst_part_end(struct scst_cmd *cmd)
{
	struct scst_nexus *nexus = cmd->nexus;

	if (cmd->pinned)
		percpu_ref_put(&cmd->dev->active_ref);
	/* It is never at a driver, and so never recalled. */
	if (!scst_untrack_unawaited(cmd))
		scst_tmf_ended(cmd);
	percpu_ref_put(&nexus->ref);
}

/* Does something stop it that stops the initiator's commands?  Then status and sense data say what. */
static bool scst_part_stopped(struct scst_cmd *cmd)
{
	struct scst_stop stop;

	if (likely(!(READ_ONCE(cmd->nexus->gates) & cmd->op->stops)) || !scst_gate_take(cmd, &stop))
		return false;
	trace_scst_cmd_stop(cmd, stop.gate);
	if (stop.status == SAM_STAT_RESERVATION_CONFLICT)
		scst_cmd_conflict(cmd);
	else
		scst_cmd_sense(cmd, stop.sense);
	return true;
}

static bool scst_part_in_range(const struct scst_cmd *cmd)
{
	u8 shift = cmd->dev->geo.block_shift;
	u64 size = READ_ONCE(cmd->dev->geo.nblocks) << shift;

	return cmd->len <= size && cmd->pos <= size - cmd->len;
}

/* In the table: is it admitted?  If not, status and sense data say why. */
static bool scst_part_admit(struct scst_cmd *cmd, const struct scst_copy_unit *unit)
{
	if (atomic_read(&cmd->dev->resets) != unit->resets || scst_cmd_aborted(cmd)) {
		cmd->status = SAM_STAT_TASK_ABORTED;
		return false;
	}
	if (scst_part_stopped(cmd))
		return false;
	cmd->pinned = percpu_ref_tryget_live(&cmd->dev->active_ref);
	if (!cmd->pinned) {
		scst_cmd_sense(cmd, SCST_SENSE_BECOMING_READY);
		return false;
	}
	if (!scst_part_in_range(cmd)) {
		scst_cmd_sense(cmd, SCST_SENSE_LBA_OUT_OF_RANGE);
		return false;
	}
	return true;
}

/**
 * scst_part_begin() - may it read or write now?
 * @part: initialised
 * @unit: where
 *
 * On a thread of the copies'.  Return: true: it is in the table and has the backing until scst_part_end(); false: it may not, or can't, and
 * status and sense data say why; then there is nothing to end.
 */
bool scst_part_begin(struct scst_copy_part *part, const struct scst_copy_unit *unit)
{
	struct scst_cmd *cmd = &part->cmd;

	cmd->lun = unit->lun;
	cmd->nexus = scst_copy_nexus(cmd->sess, unit);
	if (!cmd->nexus) {
		scst_cmd_sense(cmd, SCST_SENSE_LUN_NOT_SUPPORTED);
		return false;
	}
	cmd->dev = cmd->nexus->dev;
	cmd->lba = cmd->pos >> cmd->dev->geo.block_shift;
	cmd->nblocks = cmd->len >> cmd->dev->geo.block_shift;
	scst_part_describe(part, cmd->op);
	if (!scst_track(cmd)) {
		cmd->status = SAM_STAT_TASK_SET_FULL;
		percpu_ref_put(&cmd->nexus->ref);
		return false;
	}
	if (scst_part_admit(cmd, unit))
		return true;
	scst_part_end(cmd);
	return false;
}
