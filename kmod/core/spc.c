// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands of every logical unit (SPC-4): TEST UNIT READY, REQUEST SENSE, INQUIRY, REPORT LUNS.
 *
 * All but the first are answered for absent logical units too: cmd->dev may be NULL.
 */
#include "overhaul.h"

#define INQUIRY_LEN		74
#define INQUIRY_NO_LUN		0x7f	/* qualifier 3, type 1Fh: there can be no unit here */
#define INQUIRY_NOT_CONNECTED	0x20	/* qualifier 1: the unit's device is not connected now */
#define VERSION_SPC4		0x06
#define VERSION_DESC_SAM5	0x00a0
#define VERSION_DESC_SPC4	0x0460
#define VERSION_DESC_SBC3	0x04c0

/* Enough for VPD page 83h with a target name of full length. */
#define VPD_SIZE		768

#define LUN_LIST_HEADER		8
#define LUN_LIST_MIN		16
#define LUN_LIST_CHUNK		32	/* LUNs copied at a time */

/* Whatever keeps the unit from being ready ended the command before it came here. */
void scst_spc_test_unit_ready(struct scst_cmd *cmd)
{
	scst_cmd_good(cmd);
}

/* The state REQUEST SENSE reports; a unit attention is cleared by being reported. */
static u32 scst_spc_pending_sense(struct scst_cmd *cmd)
{
	const struct scst_device *dev = cmd->dev;
	u32 sense;

	if (!dev)
		return SCST_SENSE_LUN_NOT_SUPPORTED;
	sense = scst_ua_take(cmd->nexus);
	if (sense)
		return sense;
	sense = scst_gate_port(cmd->nexus);
	if (sense)
		return sense;
	if (test_bit(SCST_GATE_PARKED, &cmd->nexus->gates))
		return SCST_SENSE_UNAVAILABLE;
	if (scst_medium_ejected(dev))
		return SCST_SENSE_NO_MEDIUM;
	if (test_bit(SCST_GATE_STOPPED, &dev->gates))
		return SCST_SENSE_START_REQUIRED;
	return scst_overhaul_sense(dev);
}

/**
 * scst_spc_request_sense() - REQUEST SENSE (SPC-4 6.39)
 * @cmd: the command
 *
 * The CDB, not D_SENSE, chooses the format.  An initiator that leaves no room for an answer
 * clears no unit attention.
 */
void scst_spc_request_sense(struct scst_cmd *cmd)
{
	u8 buf[SCST_SENSE_SIZE];
	unsigned int len;
	u32 sense;

	if (!cmd->len) {
		scst_cmd_good(cmd);
		return;
	}
	sense = scst_spc_pending_sense(cmd);
	len = scst_sense_build(buf, cmd->cdb[1] & 0x01, sense);
	if (sense == SCST_SENSE_FORMATTING || sense == SCST_SENSE_SANITIZING)
		len = scst_sense_progress(buf, READ_ONCE(cmd->dev->progress));
	scst_cmd_reply(cmd, buf, len);
}

/*
 * Peripheral qualifier and device type (SPC-4 6.6.2); @nexus is NULL for an absent logical unit.  A parked unit
 * says that its device is not connected, so that an initiator which finds it does not wait for a disk that may
 * be late by days (Linux spins up for 100 s under the device's lock).  So does one that is unavailable by this port (SPC-4 5.15.2.4.5).
 */
u8 scst_spc_peripheral(const struct scst_nexus *nexus)
{
	const struct scst_device *dev;

	if (!nexus)
		return INQUIRY_NO_LUN;
	dev = nexus->dev;
	return READ_ONCE(dev->state) == SCST_DEVICE_ACTIVE && !scst_alua_not_connected(nexus) ?
	       dev->handler->device_type : INQUIRY_NOT_CONNECTED | dev->handler->device_type;
}

/* TPGS: states change by themselves, and at the wish of initiators. */
static u8 scst_inquiry_tpgs(const struct scst_nexus *nexus)
{
	bool by_command;

	if (!scst_alua_group_id(nexus, &by_command))
		return 0;
	return by_command ? 0x30 : 0x10;
}

static void scst_spc_pad(u8 *field, const char *text, unsigned int size)
{
	memset(field, ' ', size);
	memcpy(field, text, strnlen(text, size));
}

/* Standard INQUIRY data (SPC-4 6.6.2).  @nexus is NULL for an absent logical unit. */
static void scst_inquiry_standard(const struct scst_nexus *nexus, u8 *buf)
{
	const struct scst_device *dev = nexus ? nexus->dev : NULL;

	memset(buf, 0, INQUIRY_LEN);
	buf[0] = scst_spc_peripheral(nexus);
	buf[1] = dev && dev->removable ? 0x80 : 0;	/* RMB */
	buf[2] = VERSION_SPC4;
	buf[3] = 0x10 | 0x02;		/* HISUP, response data format */
	if (nexus && scst_aca_offered(nexus->sess))
		buf[3] |= 0x20;		/* NORMACA */
	buf[4] = INQUIRY_LEN - 5;
	buf[5] = nexus ? scst_inquiry_tpgs(nexus) | 0x08 : 0;	/* TPGS, 3PC */
	if (dev && dev->protection)
		buf[5] |= 0x01;		/* PROTECT */
	buf[7] = 0x02;			/* CMDQUE */
	scst_spc_pad(buf + 8, dev ? dev->id.vendor : "", 8);
	scst_spc_pad(buf + 16, dev ? dev->id.product : "", 16);
	scst_spc_pad(buf + 32, dev ? dev->id.revision : "", 4);
	put_unaligned_be16(VERSION_DESC_SAM5, buf + 58);
	put_unaligned_be16(VERSION_DESC_SPC4, buf + 60);
	if (dev)
		put_unaligned_be16(VERSION_DESC_SBC3, buf + 62);
}

static noinline void scst_inquiry_vpd(struct scst_cmd *cmd)
{
	u8 buf[VPD_SIZE];
	unsigned int len;

	len = scst_vpd_page(cmd->nexus, cmd->sess->tgt, cmd->cdb[2], buf, sizeof(buf));
	if (!len) {
		scst_cmd_invalid_cdb(cmd, 2, 7);
		scst_cmd_respond(cmd);
		return;
	}
	scst_cmd_reply(cmd, buf, len);
}

/**
 * scst_spc_inquiry() - INQUIRY (SPC-4 6.6)
 * @cmd: the command
 */
void scst_spc_inquiry(struct scst_cmd *cmd)
{
	u8 buf[INQUIRY_LEN];

	if (cmd->cdb[1] & 0x01) {
		scst_inquiry_vpd(cmd);
		return;
	}
	if (cmd->cdb[2]) {
		scst_cmd_invalid_cdb(cmd, 2, 7);
		scst_cmd_respond(cmd);
		return;
	}
	scst_inquiry_standard(cmd->nexus, buf);
	scst_cmd_reply(cmd, buf, sizeof(buf));
}

static u32 scst_luns_put(struct scst_cmd *cmd, const u8 *data, u32 len, u32 at, u32 room)
{
	if (at < room)
		sg_pcopy_from_buffer(cmd->data.sgl, cmd->data.nents, data, min(len, room - at), at);
	return at + len;
}

/*
 * Write the list straight into the command's buffer, which needs no memory however long it is.
 * @room: bytes that may be written.  Returns the length of the whole list.
 */
static u32 scst_luns_write(struct scst_cmd *cmd, const struct scst_view *view, u32 room)
{
	u32 nr = view ? view->nr : 0, at, i, j, n;
	u8 buf[LUN_LIST_CHUNK * 8] = { };

	put_unaligned_be32(nr * 8, buf);
	at = scst_luns_put(cmd, buf, LUN_LIST_HEADER, 0, room);
	for (i = 0; i < nr && at < room; i += n) {
		n = min_t(u32, nr - i, LUN_LIST_CHUNK);
		for (j = 0; j < n; j++)
			scst_lun_pack(view->entry[i + j].lun, buf + j * 8);
		at = scst_luns_put(cmd, buf, n * 8, at, room);
	}
	return LUN_LIST_HEADER + nr * 8;
}

/* All logical units (00h, 02h) are in the view; none is a well known one (01h). */
static void scst_luns_report(struct scst_cmd *cmd, bool none)
{
	struct scst_session *sess = cmd->sess;
	u32 room = cmd->len;
	u32 total;

	/*
	 * A commit switches the view, then raises the attention.  Clearing it before looking
	 * can repeat it for a list that is already known, but never lose it for one that isn't.
	 */
	if (!none)
		scst_ua_luns_reported(sess);
	rcu_read_lock();
	total = scst_luns_write(cmd, none ? NULL : rcu_dereference(sess->view), room);
	rcu_read_unlock();
	cmd->xfer_len = min(cmd->xfer_len, total);
	cmd->len = min(room, total);
	scst_cmd_good(cmd);
}

bool scst_spc_prepare_report_luns(struct scst_cmd *cmd)
{
	if (cmd->cdb[2] > 2)
		scst_cmd_invalid_cdb(cmd, 2, 7);
	else if (cmd->xfer_len < LUN_LIST_MIN)
		scst_cmd_invalid_cdb(cmd, 6, 7);
	else
		return true;
	return false;
}

/**
 * scst_spc_report_luns() - REPORT LUNS (SPC-4 6.33)
 * @cmd: the command
 */
void scst_spc_report_luns(struct scst_cmd *cmd)
{
	scst_luns_report(cmd, cmd->cdb[2] == 1);
}
