// SPDX-License-Identifier: GPL-2.0-only
/*
 * Protection information (SBC-3 4.22): what others ask about it, and what CDBs may ask for.
 *
 * Where blocks have such information the device handler keeps it.  Commands that do not move it leave it to the handler: what they write
 * gets its information there, and what they read is held against it.  Those that do (pi-io.c) have it from the initiator behind each block
 * (520 bytes for one of 512), or the transport moves it apart (cmd->prot).
 */
#include "pi.h"
#include <linux/crc-t10dif.h>

#define AT_REF_TAG	20	/* in CDBs of 32 bytes */
#define AT_APP_TAG	24
#define AT_APP_MASK	26

static_assert(SCST_PI_BYTES == SCST_PI_SIZE);

u16 scst_pi_guard(const u8 *block, u32 len)
{
	return crc_t10dif(block, len);
}

static void scst_pi_rule(const struct scst_device *dev, u64 lba, struct scst_pi_rule *rule)
{
	*rule = (struct scst_pi_rule) {
		.type		= dev->protection,
		.ref_tag	= lba,
		.block		= 1U << dev->geo.block_shift,
	};
}

/* --- for device handlers ------------------------------------------------------------------------ */

/**
 * scst_pi_make() - the protection information of blocks that are written without
 * @dev: the device
 * @lba: first block
 * @data: the blocks
 * @pi: set, SCST_PI_BYTES of each
 * @nr: how many
 *
 * Any context.
 */
void scst_pi_make(const struct scst_device *dev, u64 lba, const u8 *data, u8 *pi, u32 nr)
{
	struct scst_pi_rule rule;

	scst_pi_rule(dev, lba, &rule);
	scst_pi_generate(&rule, data, pi, nr);
}
EXPORT_SYMBOL_GPL(scst_pi_make);

/* For scst_cmd_done(). */
int scst_pi_errno(enum scst_pi_fault fault)
{
	switch (fault) {
	case SCST_PI_RIGHT:
		return 0;
	case SCST_PI_GUARD:
		return -SCST_EGUARD;
	case SCST_PI_APP:
		return -SCST_EAPPTAG;
	default:
		return -SCST_EREFTAG;
	}
}

/**
 * scst_pi_look() - hold blocks that are read without protection information against it
 * @dev: the device
 * @lba: first block
 * @data: the blocks
 * @pi: their information
 * @nr: how many
 * @bad: set to the number of the first that is wrong
 *
 * The reference tag of type 2 is known to who moves it, and to nobody else.  Any context.  Return: 0, or for scst_cmd_done() what is wrong.
 */
int scst_pi_look(const struct scst_device *dev, u64 lba, const u8 *data, const u8 *pi, u32 nr, u32 *bad)
{
	struct scst_pi_rule rule;

	scst_pi_rule(dev, lba, &rule);
	rule.guard = true;
	rule.ref = dev->protection == 1;
	rule.escapes = true;
	return scst_pi_errno(scst_pi_check(&rule, data, pi, nr, bad));
}
EXPORT_SYMBOL_GPL(scst_pi_look);

/* --- what is told, and what is asked for ---------------------------------------------------------- */

/* Byte 4 of VPD page 86h: SPT (there is but the type that the device has), GRD_CHK, APP_CHK, REF_CHK. */
u8 scst_pi_extended(const struct scst_device *dev)
{
	static const u8 bytes[] = { 0, 0x00 << 3 | 0x05, 0x02 << 3 | 0x07, 0x04 << 3 | 0x04 };

	return bytes[dev->protection];
}

/* What the initiator expects of the tags: of type 2 it says so. */
void scst_pi_expect(const struct scst_cmd *cmd, struct scst_pi_rule *rule)
{
	scst_pi_rule(cmd->dev, cmd->lba, rule);
	if (cmd->op->format == SCST_CDB_RW32) {
		rule->ref_tag = get_unaligned_be32(cmd->cdb + AT_REF_TAG);
		rule->app_tag = get_unaligned_be16(cmd->cdb + AT_APP_TAG);
		rule->app_mask = get_unaligned_be16(cmd->cdb + AT_APP_MASK);
	}
	scst_pi_protect(scst_pi_field(cmd), rule);
}

/* What is being done moves cmd->prot from here on, of which the initiator has chosen the checks; @none: it is all ones, which no check passes. */
void scst_pi_mark(struct scst_cmd *cmd, bool none)
{
	struct scst_pi_rule rule = { };

	set_bit(SCST_CMD_PI, &cmd->flags);
	scst_pi_protect(scst_pi_field(cmd), &rule);
	if (none || !rule.guard || !rule.ref)
		set_bit(SCST_CMD_PI_AS_IS, &cmd->flags);
}

void scst_pi_unmark(struct scst_cmd *cmd)
{
	clear_bit(SCST_CMD_PI, &cmd->flags);
	clear_bit(SCST_CMD_PI_AS_IS, &cmd->flags);
}

/* Bytes of the initiator's data for a block. */
u32 scst_pi_stride(const struct scst_cmd *cmd)
{
	return (1U << cmd->dev->geo.block_shift) + (scst_pi_apart(cmd) ? 0 : SCST_PI_SIZE);
}

/**
 * scst_pi_fetch() - the block of a WRITE SAME, and its protection information
 * @cmd: all data-out is there
 * @block: set
 * @pi: set, SCST_PI_BYTES
 *
 * All ones are not checked: they ask for blocks that have no information (SBC-4, WRITE SAME).  Process context.  Return: false: it is wrong,
 * status and sense data are set.
 */
bool scst_pi_fetch(struct scst_cmd *cmd, u8 *block, u8 *pi)
{
	struct scst_pi_rule rule;
	enum scst_pi_fault fault;
	u32 bad;

	scst_pi_expect(cmd, &rule);
	scst_cmd_fetch(cmd, block, rule.block);
	if (!scst_pi_apart(cmd))
		sg_pcopy_to_buffer(cmd->data.sgl, cmd->data.nents, pi, SCST_PI_SIZE, rule.block);
	else if (cmd->prot.len)
		sg_copy_to_buffer(cmd->prot.sgl, cmd->prot.nents, pi, SCST_PI_SIZE);
	else
		scst_pi_generate(&rule, block, pi, 1);
	fault = scst_pi_none(pi) ? SCST_PI_RIGHT : scst_pi_check(&rule, block, pi, 1, &bad);
	if (!fault)
		return true;
	scst_cmd_errno(cmd, scst_pi_errno(fault));
	scst_cmd_sense_info_add(cmd, cmd->lba);
	return false;
}

/* Where a byte of the blocks is in the initiator's data. */
u64 scst_pi_offset(const struct scst_cmd *cmd, u64 offset)
{
	u8 shift = cmd->dev->geo.block_shift;

	return scst_pi_field(cmd) ? (offset >> shift) * scst_pi_stride(cmd) + (offset & ((1U << shift) - 1)) : offset;
}

/* The information counts as data, or is somewhere else. */
static bool scst_pi_lengthen(struct scst_cmd *cmd)
{
	u32 blocks = cmd->xfer_len >> cmd->dev->geo.block_shift;
	u64 bytes = (u64)blocks * scst_pi_stride(cmd);

	if (scst_pi_apart(cmd) && cmd->prot.len && cmd->prot.len < blocks * SCST_PI_SIZE) {
		scst_cmd_sense(cmd, SCST_SENSE_SHORT_TRANSFER);
	} else if (bytes > cmd->sess->max_xfer || (cmd->pi_type && cmd->pi_type != cmd->dev->protection)) {
		scst_cmd_sense(cmd, SCST_SENSE_INVALID_FIELD_CDB);
	} else {
		cmd->xfer_len = bytes;
		cmd->len = min(cmd->xfer_len, scst_cmd_room(cmd));
		if (cmd->op->dir == DMA_FROM_DEVICE || cmd->len == cmd->xfer_len)
			return true;
		scst_cmd_sense(cmd, SCST_SENSE_SHORT_TRANSFER);
	}
	return false;
}

/**
 * scst_pi_prepare() - a CDB asks for protection information
 * @cmd: all else of it is right; xfer_len is that of its blocks
 *
 * Any context.  Return: false: it is refused, status and sense data are set.
 */
bool scst_pi_prepare(struct scst_cmd *cmd)
{
	struct scst_pi_rule rule = { };

	if (cmd->dev->protection == 2 && cmd->op->format != SCST_CDB_RW32)
		scst_cmd_sense(cmd, SCST_SENSE_INVALID_OPCODE);
	else if (!cmd->dev->protection || !scst_pi_protect(scst_pi_field(cmd), &rule))
		scst_cmd_invalid_cdb(cmd, scst_cdb_flags_at(cmd), 7);
	else
		return scst_pi_lengthen(cmd);
	return false;
}
