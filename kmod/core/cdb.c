// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tables of commands, one per device type, and what a CDB says about blocks and lengths.
 *
 * Pure but for scst_cdb_prepare(), which writes down what it says.  The rows are in cdb-spc.c and cdb-sbc.c.
 */
#include "cdb.h"
#include <linux/indirect_call_wrapper.h>

/* Block devices (SBC-3). */
static const struct scst_op_table scst_ops_sbc = { .row = {
	[TEST_UNIT_READY]	= &scst_row_test_unit_ready,
	[REQUEST_SENSE]		= &scst_row_request_sense,
	[FORMAT_UNIT]		= &scst_row_format_unit,
	[READ_6]		= &scst_row_read6,
	[WRITE_6]		= &scst_row_write6,
	[INQUIRY]		= &scst_row_inquiry,
	[MODE_SELECT]		= &scst_row_mode_select6,
	[OP_RESERVE6]		= &scst_row_reserve6,
	[OP_RELEASE6]		= &scst_row_release6,
	[MODE_SENSE]		= &scst_row_mode_sense6,
	[START_STOP]		= &scst_row_start_stop,
	[RECEIVE_DIAGNOSTIC]	= &scst_row_receive_diagnostic,
	[SEND_DIAGNOSTIC]	= &scst_row_send_diagnostic,
	[ALLOW_MEDIUM_REMOVAL]	= &scst_row_prevent,
	[READ_CAPACITY]		= &scst_row_read_capacity10,
	[READ_10]		= &scst_row_read10,
	[WRITE_10]		= &scst_row_write10,
	[WRITE_VERIFY]		= &scst_row_write_verify10,
	[VERIFY]		= &scst_row_verify10,
	[SYNCHRONIZE_CACHE]	= &scst_row_sync10,
	[WRITE_BUFFER]		= &scst_row_write_buffer,
	[READ_BUFFER]		= &scst_row_read_buffer10,
	[OP_READ_BUFFER16]	= &scst_row_read_buffer16,
	[WRITE_SAME]		= &scst_row_write_same10,
	[UNMAP]			= &scst_row_unmap,
	[LOG_SENSE]		= &scst_row_log_sense,
	[MODE_SELECT_10]	= &scst_row_mode_select10,
	[OP_RESERVE10]		= &scst_row_reserve10,
	[OP_RELEASE10]		= &scst_row_release10,
	[MODE_SENSE_10]		= &scst_row_mode_sense10,
	[PERSISTENT_RESERVE_IN]	= &scst_row_persistent_reserve_in,
	[PERSISTENT_RESERVE_OUT] = &scst_row_persistent_reserve_out,
	[OP_THIRD_PARTY_OUT]	= &scst_row_third_party_out,
	[OP_THIRD_PARTY_IN]	= &scst_row_third_party_in,
	[VARIABLE_LENGTH_CMD]	= &scst_row_variable,
	[OP_SANITIZE]		= &scst_row_sanitize,
	[READ_16]		= &scst_row_read16,
	[PRE_FETCH]		= &scst_row_prefetch10,
	[OP_PREFETCH16]		= &scst_row_prefetch16,
	[READ_DEFECT_DATA]	= &scst_row_read_defects10,
	[OP_READ_DEFECT_DATA12]	= &scst_row_read_defects12,
	[OP_COMPARE_AND_WRITE]	= &scst_row_compare_and_write,
	[WRITE_16]		= &scst_row_write16,
	[OP_ORWRITE16]		= &scst_row_orwrite16,
	[WRITE_VERIFY_16]	= &scst_row_write_verify16,
	[VERIFY_16]		= &scst_row_verify16,
	[SYNCHRONIZE_CACHE_16]	= &scst_row_sync16,
	[WRITE_SAME_16]		= &scst_row_write_same16,
	[SERVICE_ACTION_IN_16]	= &scst_row_service_action_in,
	[REPORT_LUNS]		= &scst_row_report_luns,
	[MAINTENANCE_IN]	= &scst_row_maintenance_in,
	[MAINTENANCE_OUT]	= &scst_row_maintenance_out,
	[READ_12]		= &scst_row_read12,
	[WRITE_12]		= &scst_row_write12,
	[WRITE_VERIFY_12]	= &scst_row_write_verify12,
	[VERIFY_12]		= &scst_row_verify12,
} };

/* Absent logical units (SPC-4 6.6.1, 6.33, 6.39). */
const struct scst_op_table scst_ops_no_lun = { .row = {
	[REQUEST_SENSE]		= &scst_row_request_sense,
	[INQUIRY]		= &scst_row_inquiry,
	[REPORT_LUNS]		= &scst_row_report_luns,
} };

/* The commands of a device type, or NULL: of a type that is not known.  Pure. */
const struct scst_op_table *scst_ops_of_type(u8 device_type)
{
	return device_type == TYPE_DISK ? &scst_ops_sbc : NULL;
}

/**
 * scst_op_service_action() - the row of a command that has service actions
 * @op: the row of its opcode
 * @cdb: the CDB
 * @cdb_len: its length
 *
 * Pure.  Return: the row, or NULL if there is no such service action.
 */
const struct scst_opcode *scst_op_service_action(const struct scst_opcode *op, const u8 *cdb, u8 cdb_len)
{
	unsigned int sa;

	if (cdb_len < op->cdb_len)
		return NULL;
	sa = op->cdb_len > 16 ? get_unaligned_be16(cdb + 8) : cdb[1] & 0x1f;
	return sa < op->nr_sa ? op->sa[sa] : NULL;
}

/* Is a command of the table one of this device, too?  @dev: NULL for an absent logical unit.  Pure. */
bool scst_op_offered(const struct scst_opcode *op, const struct scst_device *dev)
{
	if (op->flags & SCST_OP_THIN && !dev->thin)
		return false;
	if (op->flags & SCST_OP_REMOVABLE && !dev->removable)
		return false;
	if (op->flags & SCST_OP_TYPE2 && dev->protection != 2)
		return false;
	if (op->flags & SCST_OP_ALUA && !scst_alua_offered(dev, op->flags & SCST_OP_ALUA_SET))
		return false;
	if (op->flags & SCST_OP_DURABLE && !READ_ONCE(dev->pr_store))
		return false;
	return !(op->flags & SCST_OP_KEPT) || !(dev->handler->flags & SCST_HANDLER_FORGETS);
}

static u32 scst_cdb_length(const struct scst_opcode *op, const u8 *cdb)
{
	switch (op->len_size) {
	case 1:
		return cdb[op->len_at];
	case 2:
		return get_unaligned_be16(cdb + op->len_at);
	case 3:
		return get_unaligned_be24(cdb + op->len_at);
	case 4:
		return get_unaligned_be32(cdb + op->len_at);
	default:
		return op->fixed_len;
	}
}

/* More than any reply or parameter list has. */
#define PLAIN_MAX	SZ_256K

static noinline bool scst_cdb_prepare_plain(struct scst_cmd *cmd)
{
	const struct scst_opcode *op = cmd->op;

	cmd->lba = 0;
	cmd->nblocks = 0;
	cmd->xfer_len = scst_cdb_length(op, cmd->cdb);
	cmd->len = min3(cmd->xfer_len, scst_cmd_room(cmd), (u32)PLAIN_MAX);
	return !op->prepare || op->prepare(cmd);
}

/**
 * scst_cdb_prepare() - write down what a CDB asks for, and check it against the device
 * @cmd: its opcode is known and its reserved bits are clear
 *
 * Any context.  Sets lba, nblocks, xfer_len, len, pos and whatever else execute() needs; may be called again when data has
 * come.  Return: false: refused, status and sense data are set.
 */
bool scst_cdb_prepare(struct scst_cmd *cmd)
{
	const struct scst_opcode *op = cmd->op;
	const u8 *cdb = cmd->cdb;

	switch (op->format) {
	case SCST_CDB_RW10:
		cmd->lba = get_unaligned_be32(cdb + 2);
		cmd->nblocks = get_unaligned_be16(cdb + 7);
		break;
	case SCST_CDB_RW16:
		cmd->lba = get_unaligned_be64(cdb + 2);
		cmd->nblocks = get_unaligned_be32(cdb + 10);
		break;
	case SCST_CDB_RW12:
		cmd->lba = get_unaligned_be32(cdb + 2);
		cmd->nblocks = get_unaligned_be32(cdb + 6);
		break;
	case SCST_CDB_RW32:
		cmd->lba = get_unaligned_be64(cdb + 12);
		cmd->nblocks = get_unaligned_be32(cdb + 28);
		break;
	case SCST_CDB_RW6:
		cmd->lba = get_unaligned_be24(cdb + 1) & 0x1fffff;
		cmd->nblocks = cdb[4] ?: 256;
		break;
	default:
		return scst_cdb_prepare_plain(cmd);
	}
	/* Two functions are nearly all there is, and an indirect call costs more than two comparisons. */
	return INDIRECT_CALL_2(op->prepare, scst_sbc_prepare_read, scst_sbc_prepare_write, cmd);
}

/* See scst_cdb_reserved_bit(); @control: what may be set in CONTROL as well. */
int scst_cdb_find_reserved(const struct scst_opcode *op, const u8 *cdb, u8 control)
{
	unsigned int i, control_at = scst_cdb_control_at(cdb[0]);

	for (i = 0; i < op->cdb_len; i++) {
		u8 bad = cdb[i] & ~op->cdb_mask[i] & ~(i == control_at ? control : 0);

		if (bad)
			return i * 8 + fls(bad) - 1;
	}
	return -1;
}
