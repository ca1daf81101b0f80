// SPDX-License-Identifier: GPL-2.0-only
/*
 * START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL (SBC-3 5.20, SPC-4 5.9, 6.20).
 *
 * The medium of a removable unit is its backing.  Ejected it stays open: whoever loads it again, an initiator or the
 * administrator by activating the device, finds what was there.
 *
 * What is stopped or ejected, and who prevents removal, is decided in one hold of nexus_lock together with the gates.
 */
#include "commands.h"

/* The CDB asks for what the unit doesn't have. */
bool scst_medium_prepare_start_stop(struct scst_cmd *cmd)
{
	const u8 *cdb = cmd->cdb;

	if (cdb[3] & 0x0f)		/* POWER CONDITION MODIFIER */
		scst_cmd_invalid_cdb(cmd, 3, 3);
	else if (cdb[4] & 0xf0)		/* POWER CONDITION: there is only "active" */
		scst_cmd_invalid_cdb(cmd, 4, 7);
	else if (cdb[4] & 0x02 && !cmd->dev->removable)		/* LOEJ */
		scst_cmd_invalid_cdb(cmd, 4, 1);
	else
		return true;
	return false;
}

/* One initiator does not stop what others use, unless the administrator says so. */
static void scst_medium_stop(struct scst_device *dev)
{
	spin_lock_bh(&dev->nexus_lock);
	if (READ_ONCE(dev->stop_unit) || list_empty(&dev->nexuses) || list_is_singular(&dev->nexuses))
		scst_gate_assign(dev, SCST_GATE_STOPPED, true);
	spin_unlock_bh(&dev->nexus_lock);
}

/* A nexus that no view shows any more is lost, and with it what it has asked for, however long its commands take to end. */
static bool scst_medium_prevented(const struct scst_device *dev)
{
	const struct scst_nexus *nexus;

	lockdep_assert_held(&dev->nexus_lock);
	list_for_each_entry(nexus, &dev->nexuses, dev_entry)
		if (nexus->prevents && !test_bit(SCST_GATE_REVOKED, &nexus->gates))
			return true;
	return false;
}

/* Returns false if somebody prevents it. */
static bool scst_medium_eject(struct scst_device *dev)
{
	bool prevented;

	spin_lock_bh(&dev->nexus_lock);
	prevented = !test_bit(SCST_GATE_EJECTED, &dev->gates) && scst_medium_prevented(dev);
	if (!prevented)
		scst_gate_assign(dev, SCST_GATE_EJECTED, true);
	spin_unlock_bh(&dev->nexus_lock);
	if (!prevented)
		scst_tokens_end(dev);
	return !prevented;
}

/**
 * scst_medium_load() - the medium is there, and the unit runs
 * @dev: the device
 * @load: if it was ejected, too
 * @by: who has loaded it and need not be told, or NULL
 *
 * Unit attentions first: no command may slip through before them.  Process or softirq context.
 */
void scst_medium_load(struct scst_device *dev, bool load, const struct scst_nexus *by)
{
	spin_lock_bh(&dev->nexus_lock);
	if (load && test_bit(SCST_GATE_EJECTED, &dev->gates)) {
		scst_ua_assign(dev, SCST_UA_READY, by);
		scst_gate_assign(dev, SCST_GATE_EJECTED, false);
	}
	scst_gate_assign(dev, SCST_GATE_STOPPED, false);
	spin_unlock_bh(&dev->nexus_lock);
}

/* Is the medium ejected? */
bool scst_medium_ejected(const struct scst_device *dev)
{
	return test_bit(SCST_GATE_EJECTED, &dev->gates);
}

/**
 * scst_medium_start_stop() - START STOP UNIT
 * @cmd: the command
 *
 * Stopping and ejecting keep new commands out first and then empty the cache, unless NO_FLUSH is set.
 */
void scst_medium_start_stop(struct scst_cmd *cmd)
{
	bool start = cmd->cdb[4] & 0x01, move = cmd->cdb[4] & 0x02, no_flush = cmd->cdb[4] & 0x04;

	if (start) {
		scst_medium_load(cmd->dev, move, cmd->nexus);
	} else if (!move) {
		scst_medium_stop(cmd->dev);
	} else if (!scst_medium_eject(cmd->dev)) {
		scst_cmd_sense(cmd, SCST_SENSE_REMOVAL_PREVENTED);
		scst_cmd_respond(cmd);
		return;
	}
	if (start || no_flush)
		scst_cmd_good(cmd);
	else
		scst_sync(cmd, 0, 0);
}

bool scst_medium_prepare_prevent(struct scst_cmd *cmd)
{
	if (scst_op_offered(cmd->op, cmd->dev))
		return true;
	scst_cmd_refuse_opcode(cmd);
	return false;
}

/**
 * scst_medium_prevent() - PREVENT ALLOW MEDIUM REMOVAL
 * @cmd: the command
 *
 * Holds for the I_T nexus, until it allows removal, is lost or reset, or is preempted and aborted (SPC-4 6.20).
 */
void scst_medium_prevent(struct scst_cmd *cmd)
{
	spin_lock_bh(&cmd->dev->nexus_lock);
	cmd->nexus->prevents = cmd->cdb[4] & 0x01;
	spin_unlock_bh(&cmd->dev->nexus_lock);
	scst_cmd_good(cmd);
}

/* The nexus does not prevent removal any more.  Process or softirq context. */
void scst_medium_allow(struct scst_nexus *nexus)
{
	spin_lock_bh(&nexus->dev->nexus_lock);
	nexus->prevents = false;
	spin_unlock_bh(&nexus->dev->nexus_lock);
}

/* The unit was reset: it runs, and nobody prevents removal.  What is ejected stays so.  Process or softirq context. */
void scst_medium_reset(struct scst_device *dev)
{
	struct scst_nexus *nexus;

	spin_lock_bh(&dev->nexus_lock);
	list_for_each_entry(nexus, &dev->nexuses, dev_entry)
		nexus->prevents = false;
	scst_gate_assign(dev, SCST_GATE_STOPPED, false);
	spin_unlock_bh(&dev->nexus_lock);
}
