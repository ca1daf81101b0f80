// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands of block devices (SBC-3).  What their CDBs ask for is checked against what is known of the device, which is
 * known while it is parked, too; the block length never changes while somebody sees it.
 */
#include "commands.h"

#define RW_PROTECT		0xe0	/* byte 1: RDPROTECT, WRPROTECT, VRPROTECT */
#define RW_DPO			0x10
#define RW_FUA			0x08

/* For those who refuse: false. */
noinline bool scst_sbc_out_of_range(struct scst_cmd *cmd)
{
	scst_cmd_sense(cmd, SCST_SENSE_LBA_OUT_OF_RANGE);
	return false;
}

static inline bool scst_sbc_in_range(const struct scst_cmd *cmd, u64 nblocks)
{
	return likely(cmd->nblocks <= nblocks && cmd->lba <= nblocks - cmd->nblocks);
}

/* Byte offset of the transfer length field. */
static unsigned int scst_sbc_length_at(const struct scst_cmd *cmd)
{
	switch (cmd->op->format) {
	case SCST_CDB_RW6:
		return 4;
	case SCST_CDB_RW10:
		return 7;
	case SCST_CDB_RW12:
		return 6;
	case SCST_CDB_RW32:
		return 28;
	default:
		return 10;
	}
}

/* --- READ, WRITE --------------------------------------------------------------------------- */

/*
 * Protection bits on a device whose blocks have no such information, or DPO or FUA on a device without: false, it is refused.  With the first,
 * too, execute() goes its way apart, where it looks which of them it was.
 */
static noinline bool scst_sbc_take_flags(struct scst_cmd *cmd, u8 flags)
{
	cmd->fua = flags & (RW_PROTECT | RW_FUA);
	if (flags & RW_PROTECT && !scst_pi_prepare(cmd))
		return false;
	if (!cmd->dev->fua && (flags & RW_DPO))
		scst_cmd_invalid_cdb(cmd, scst_cdb_flags_at(cmd), 4);
	else if (!cmd->dev->fua && (flags & RW_FUA))
		scst_cmd_invalid_cdb(cmd, scst_cdb_flags_at(cmd), 3);
	else
		return true;
	return false;
}

/* The last of the checks: most commands have no flags, and nothing is left to do. */
static __always_inline bool scst_sbc_flags(struct scst_cmd *cmd)
{
	u8 flags = cmd->op->format == SCST_CDB_RW6 ? 0 : cmd->cdb[1];

	return likely(!(flags & (RW_PROTECT | RW_DPO | RW_FUA))) || scst_sbc_take_flags(cmd, flags);
}

static noinline bool scst_sbc_too_long(struct scst_cmd *cmd)
{
	scst_cmd_invalid_cdb(cmd, scst_sbc_length_at(cmd), 7);
	return false;
}

/* Set pos and xfer_len, if the device has so many blocks there and they are not too many at once. */
static __always_inline bool scst_sbc_extent(struct scst_cmd *cmd)
{
	const struct scst_device *dev = cmd->dev;
	u8 shift = dev->geo.block_shift;
	u64 bytes = (u64)cmd->nblocks << shift;

	if (!scst_sbc_in_range(cmd, READ_ONCE(dev->geo.nblocks))) {
		scst_sbc_out_of_range(cmd);
		return false;
	}
	if (unlikely(bytes > cmd->sess->max_xfer)) {
		scst_sbc_too_long(cmd);
		return false;
	}
	cmd->xfer_len = bytes;
	cmd->pos = cmd->lba << shift;
	return true;
}

/* READ(6), (10), (12) and (16): a buffer that is too small gets what it has room for, to the byte; the residual tells. */
bool scst_sbc_prepare_read(struct scst_cmd *cmd)
{
	if (!scst_sbc_extent(cmd))
		return false;
	cmd->len = min(cmd->xfer_len, scst_cmd_room(cmd));
	return scst_sbc_flags(cmd);
}

/* Data-out that is shorter than the CDB asks for is somebody's mistake, and not to be written. */
static noinline bool scst_sbc_short(struct scst_cmd *cmd)
{
	scst_cmd_sense(cmd, SCST_SENSE_SHORT_TRANSFER);
	return false;
}

/*
 * ... unless the initiator is told what of it was not (RFC 7143 11.4.5; the first of the choices that FCP-4 has): then the whole blocks
 * that come are written, and nothing behind them.  A part of a block would need the rest of it from somewhere: it is refused all the
 * same, which is another of the choices.
 */
static noinline bool scst_sbc_write_part(struct scst_cmd *cmd)
{
	u8 shift = cmd->dev->geo.block_shift;

	if (!cmd->sess->tgt->driver->tells_overrun || cmd->dir != cmd->op->dir || cmd->expected_len & (BIT(shift) - 1))
		return scst_sbc_short(cmd);
	cmd->len = cmd->expected_len;
	cmd->nblocks = cmd->len >> shift;
	return true;
}

/* How much of a WRITE is written, whose extent is fine. */
static __always_inline bool scst_sbc_write_len(struct scst_cmd *cmd)
{
	cmd->len = cmd->xfer_len;
	return likely(cmd->xfer_len <= scst_cmd_room(cmd)) || scst_sbc_write_part(cmd);
}

/* WRITE(6), (10), (12) and (16) */
bool scst_sbc_prepare_write(struct scst_cmd *cmd)
{
	return scst_sbc_extent(cmd) && scst_sbc_write_len(cmd) && scst_sbc_flags(cmd);
}

static noinline void scst_sbc_read_apart(struct scst_cmd *cmd)
{
	if (scst_pi_field(cmd))
		scst_pi_read(cmd);
	else
		scst_read_fua(cmd);
}

/**
 * scst_sbc_read() - READ(6), (10), (12) and (16)
 * @cmd: the command
 */
void scst_sbc_read(struct scst_cmd *cmd)
{
	if (unlikely(!cmd->len))
		scst_cmd_good(cmd);
	else if (unlikely(cmd->fua))
		scst_sbc_read_apart(cmd);
	else
		scst_cmd_to_handler(cmd, SCST_ACTION_READ);
}

/* False: it goes on when somebody else does not need the range for himself any more, or has been answered. */
static bool scst_sbc_may_write(struct scst_cmd *cmd)
{
	return likely(!READ_ONCE(cmd->dev->alone)) || scst_turn_pass(cmd);
}

static noinline void scst_sbc_write_apart(struct scst_cmd *cmd)
{
	if (!scst_sbc_may_write(cmd))
		return;
	if (scst_pi_field(cmd))
		scst_pi_write(cmd);
	else if (cmd->fua || READ_ONCE(cmd->dev->wce_off) || cmd->dev->write_through)
		scst_write_stable(cmd);
	else
		scst_cmd_to_handler(cmd, SCST_ACTION_WRITE);
}

/**
 * scst_sbc_write() - WRITE(6), (10), (12) and (16)
 * @cmd: the command
 *
 * With the write cache disabled every write is stable, whatever its CDB says.
 */
void scst_sbc_write(struct scst_cmd *cmd)
{
	if (unlikely(!cmd->len)) {
		scst_cmd_good(cmd);
		return;
	}
	if (unlikely(!cmd->nexus->wrote))
		WRITE_ONCE(cmd->nexus->wrote, true);
	if (unlikely(cmd->fua || READ_ONCE(cmd->dev->write_apart)))
		scst_sbc_write_apart(cmd);
	else
		scst_cmd_to_handler(cmd, SCST_ACTION_WRITE);
}

/* The last of the checks of who has no DPO and FUA. */
static bool scst_sbc_protect(struct scst_cmd *cmd)
{
	return !(scst_cdb_flags(cmd) & RW_PROTECT) || scst_pi_prepare(cmd);
}

/* --- WRITE SAME ---------------------------------------------------------------------------- */

/*
 * WRITE SAME(10), (16) and (32).  A number of zero would mean all that is behind the first block, and more than initiators have time for
 * is not begun: VPD page B0h says so (WSNZ, MAXIMUM WRITE SAME LENGTH).  One block of data, or by NDOB none; who offers more may
 * have meant something else.
 */
bool scst_sbc_prepare_write_same(struct scst_cmd *cmd)
{
	u8 shift = cmd->dev->geo.block_shift;

	if ((scst_cdb_flags(cmd) & 0x08) && !cmd->dev->thin) {
		scst_cmd_invalid_cdb(cmd, scst_cdb_flags_at(cmd), 3);
		return false;
	}
	if (!scst_sbc_in_range(cmd, READ_ONCE(cmd->dev->geo.nblocks)))
		return scst_sbc_out_of_range(cmd);
	if (!cmd->nblocks || cmd->nblocks > SCST_SAME_BYTES >> shift)
		return scst_sbc_too_long(cmd);
	cmd->pos = cmd->lba << shift;
	cmd->xfer_len = scst_same_has_data(cmd) ? 1U << shift : 0;
	if (!scst_sbc_protect(cmd))
		return false;
	if (cmd->xfer_len && cmd->xfer_len != scst_cmd_room(cmd))
		return scst_sbc_short(cmd);
	cmd->len = cmd->xfer_len;
	return true;
}

/**
 * scst_sbc_write_same() - WRITE SAME(10), (16) and (32)
 * @cmd: the command
 */
void scst_sbc_write_same(struct scst_cmd *cmd)
{
	WRITE_ONCE(cmd->nexus->wrote, true);
	scst_same_begin(cmd);
}

/* --- VERIFY -------------------------------------------------------------------------------- */

/* Bytes of data-out the CDB asks for. */
static u64 scst_verify_data(const struct scst_cmd *cmd)
{
	u64 blocks = cmd->nblocks;

	switch (scst_verify_bytchk(cmd)) {
	case BYTCHK_ALL:
		return blocks << cmd->dev->geo.block_shift;
	case BYTCHK_ONE:
		return blocks ? 1U << cmd->dev->geo.block_shift : 0;
	default:
		return 0;
	}
}

/* VERIFY(10), (12) and (16).  DPO is a hint and needs no support. */
bool scst_sbc_prepare_verify(struct scst_cmd *cmd)
{
	if (scst_verify_bytchk(cmd) == 2) {
		scst_cmd_invalid_cdb(cmd, scst_cdb_flags_at(cmd), 2);
		return false;
	}
	if (!scst_sbc_in_range(cmd, READ_ONCE(cmd->dev->geo.nblocks)))
		return scst_sbc_out_of_range(cmd);
	if (scst_verify_data(cmd) > cmd->sess->max_xfer)
		return scst_sbc_too_long(cmd);
	cmd->pos = cmd->lba << cmd->dev->geo.block_shift;
	cmd->xfer_len = scst_verify_data(cmd);
	if (cmd->xfer_len > scst_cmd_room(cmd))
		return scst_sbc_short(cmd);
	cmd->len = cmd->xfer_len;
	return scst_sbc_protect(cmd);
}

/**
 * scst_sbc_verify() - VERIFY(10), (12), (16) and (32)
 * @cmd: the command
 */
void scst_sbc_verify(struct scst_cmd *cmd)
{
	if (!cmd->nblocks)
		scst_cmd_good(cmd);
	else if (scst_pi_field(cmd))
		scst_pi_verify(cmd);
	else
		scst_verify_begin(cmd);
}

/* --- WRITE AND VERIFY ------------------------------------------------------------------------ */

/* WRITE AND VERIFY(10), (12) and (16): byte 1 is that of VERIFY. */
bool scst_sbc_prepare_write_verify(struct scst_cmd *cmd)
{
	if (scst_verify_bytchk(cmd) > BYTCHK_ALL) {
		scst_cmd_invalid_cdb(cmd, scst_cdb_flags_at(cmd), 2);
		return false;
	}
	return scst_sbc_extent(cmd) && scst_sbc_write_len(cmd) && scst_sbc_protect(cmd);
}

/**
 * scst_sbc_write_verify() - WRITE AND VERIFY(10), (12), (16) and (32)
 * @cmd: the command
 *
 * What is verified is on the medium, or the verification would say nothing about it.
 */
void scst_sbc_write_verify(struct scst_cmd *cmd)
{
	if (!cmd->len) {
		scst_cmd_good(cmd);
		return;
	}
	WRITE_ONCE(cmd->nexus->wrote, true);
	if (!scst_sbc_may_write(cmd))
		return;
	if (scst_pi_field(cmd))
		scst_pi_write(cmd);
	else
		scst_write_verify(cmd);
}

/* --- commands of 32 bytes ---------------------------------------------------------------------- */

/* They are those of units with protection of type 2 (SBC-3 5.13).  False: it is refused. */
static bool scst_sbc_is_32(struct scst_cmd *cmd)
{
	int reserved = scst_cdb_find_reserved(cmd->op, cmd->cdb, scst_aca_control(cmd));

	if (!scst_op_offered(cmd->op, cmd->dev))
		scst_cmd_refuse_opcode(cmd);
	else if (reserved >= 0)
		scst_cmd_invalid_cdb(cmd, reserved / 8, reserved % 8);
	else if (cmd->cdb[7] != 32 - 8)		/* ADDITIONAL CDB LENGTH */
		scst_cmd_invalid_cdb(cmd, 7, 7);
	else
		return true;
	return false;
}

bool scst_sbc_prepare_read32(struct scst_cmd *cmd)
{
	if (!scst_sbc_is_32(cmd) || !scst_sbc_extent(cmd))
		return false;
	cmd->len = min(cmd->xfer_len, scst_cmd_room(cmd));
	return scst_sbc_take_flags(cmd, scst_cdb_flags(cmd));
}

bool scst_sbc_prepare_write32(struct scst_cmd *cmd)
{
	return scst_sbc_is_32(cmd) && scst_sbc_extent(cmd) && scst_sbc_write_len(cmd) && scst_sbc_take_flags(cmd, scst_cdb_flags(cmd));
}

bool scst_sbc_prepare_write_same32(struct scst_cmd *cmd)
{
	return scst_sbc_is_32(cmd) && scst_sbc_prepare_write_same(cmd);
}

bool scst_sbc_prepare_verify32(struct scst_cmd *cmd)
{
	return scst_sbc_is_32(cmd) && scst_sbc_prepare_verify(cmd);
}

bool scst_sbc_prepare_write_verify32(struct scst_cmd *cmd)
{
	return scst_sbc_is_32(cmd) && scst_sbc_prepare_write_verify(cmd);
}

/* --- COMPARE AND WRITE, ORWRITE ---------------------------------------------------------------- */

/* They look for protection bits themselves: cmd->fua is what it says. */
static bool scst_sbc_atomic_flags(struct scst_cmd *cmd)
{
	if (!scst_sbc_flags(cmd))
		return false;
	cmd->fua = cmd->cdb[1] & RW_FUA;
	return true;
}

/* False: refused. */
static bool scst_caw_refuse(struct scst_cmd *cmd)
{
	scst_cmd_invalid_cdb(cmd, 13, 7);
	return false;
}

/*
 * COMPARE AND WRITE: the data is the blocks that are expected and as many that are written.  Who offers another number may have meant
 * something else, as does who offers data for no blocks: the field has one byte, in which 256 is 0.
 */
bool scst_sbc_prepare_caw(struct scst_cmd *cmd)
{
	if (!scst_op_offered(cmd->op, cmd->dev)) {
		scst_cmd_refuse_opcode(cmd);
		return false;
	}
	cmd->lba = get_unaligned_be64(cmd->cdb + 2);
	cmd->nblocks = cmd->cdb[13];
	cmd->pos = cmd->lba << cmd->dev->geo.block_shift;
	cmd->xfer_len = 2 * cmd->nblocks << cmd->dev->geo.block_shift;
	if (cmd->nblocks > scst_caw_max(cmd->dev, cmd->sess->max_xfer) || (!cmd->nblocks && scst_cmd_room(cmd)))
		return scst_caw_refuse(cmd);
	if (!scst_sbc_in_range(cmd, READ_ONCE(cmd->dev->geo.nblocks)))
		return scst_sbc_out_of_range(cmd);
	if (!scst_sbc_atomic_flags(cmd))
		return false;
	if (cmd->xfer_len != scst_cmd_room(cmd))
		return scst_sbc_short(cmd);
	cmd->len = cmd->xfer_len;
	return true;
}

/**
 * scst_sbc_caw() - COMPARE AND WRITE
 * @cmd: the command
 */
void scst_sbc_caw(struct scst_cmd *cmd)
{
	if (!cmd->len) {
		scst_cmd_good(cmd);
		return;
	}
	WRITE_ONCE(cmd->nexus->wrote, true);
	scst_atomic_caw(cmd);
}

/* ORWRITE(16) */
bool scst_sbc_prepare_or(struct scst_cmd *cmd)
{
	if (!scst_op_offered(cmd->op, cmd->dev)) {
		scst_cmd_refuse_opcode(cmd);
		return false;
	}
	if (!scst_sbc_extent(cmd) || !scst_sbc_atomic_flags(cmd))
		return false;
	/* All of it, or nothing. */
	if (cmd->xfer_len > scst_cmd_room(cmd))
		return scst_sbc_short(cmd);
	cmd->len = cmd->xfer_len;
	return true;
}

/**
 * scst_sbc_or() - ORWRITE(16)
 * @cmd: the command
 */
void scst_sbc_or(struct scst_cmd *cmd)
{
	if (!cmd->len) {
		scst_cmd_good(cmd);
		return;
	}
	WRITE_ONCE(cmd->nexus->wrote, true);
	scst_atomic_or(cmd);
}

/* --- SYNCHRONIZE CACHE --------------------------------------------------------------------- */

/* IMMED allows to answer early and SYNC_NV to stop at a non-volatile cache; neither is needed. */
bool scst_sbc_prepare_sync(struct scst_cmd *cmd)
{
	if (!scst_sbc_in_range(cmd, READ_ONCE(cmd->dev->geo.nblocks)))
		return scst_sbc_out_of_range(cmd);
	cmd->len = 0;
	return true;
}

/**
 * scst_sbc_sync() - SYNCHRONIZE CACHE(10) and (16)
 * @cmd: the command
 *
 * Always a matter of the handler: whether there is a volatile cache may change at any time.
 */
void scst_sbc_sync(struct scst_cmd *cmd)
{
	u8 shift = cmd->dev->geo.block_shift;

	scst_device_write_cache(cmd->dev);
	scst_sync(cmd, cmd->lba << shift, (u64)cmd->nblocks << shift);
}

/* --- READ CAPACITY ------------------------------------------------------------------------- */

/*
 * What is known of a parked unit is told.  PMI asks for the last block before a substantial delay, of which there is none.
 * Without PMI the LBA has no meaning and must be zero.
 */
bool scst_sbc_prepare_capacity(struct scst_cmd *cmd)
{
	bool ten = cmd->cdb[0] == READ_CAPACITY;
	u64 lba = ten ? get_unaligned_be32(cmd->cdb + 2) : get_unaligned_be64(cmd->cdb + 2);
	bool pmi = cmd->cdb[ten ? 8 : 14] & 0x01;

	if (!cmd->dev->geo.block_shift)
		scst_cmd_sense(cmd, SCST_SENSE_BECOMING_READY);
	else if (!pmi && lba)
		scst_cmd_invalid_cdb(cmd, 2, 7);
	else if (pmi && lba >= READ_ONCE(cmd->dev->geo.nblocks))
		scst_cmd_sense(cmd, SCST_SENSE_LBA_OUT_OF_RANGE);
	else
		return true;
	return false;
}

/**
 * scst_sbc_read_capacity10() - READ CAPACITY(10)
 * @cmd: the command
 */
void scst_sbc_read_capacity10(struct scst_cmd *cmd)
{
	u64 nblocks = READ_ONCE(cmd->dev->geo.nblocks);
	u8 buf[8];

	put_unaligned_be32(min_t(u64, nblocks - 1, U32_MAX), buf);
	put_unaligned_be32(1U << cmd->dev->geo.block_shift, buf + 4);
	scst_cmd_reply(cmd, buf, sizeof(buf));
}

/**
 * scst_sbc_read_capacity16() - READ CAPACITY(16)
 * @cmd: the command
 */
void scst_sbc_read_capacity16(struct scst_cmd *cmd)
{
	const struct scst_geometry *geo = &cmd->dev->geo;
	u8 buf[32] = { };

	put_unaligned_be64(READ_ONCE(geo->nblocks) - 1, buf);
	put_unaligned_be32(1U << geo->block_shift, buf + 8);
	if (cmd->dev->protection)
		buf[12] = (cmd->dev->protection - 1) << 1 | 0x01;	/* P_TYPE, PROT_EN */
	buf[13] = geo->physical_exp & 0x0f;
	put_unaligned_be16(geo->lowest_aligned & 0x3fff, buf + 14);
	if (cmd->dev->thin)
		buf[14] |= 0x80 | (geo->unmap_zeroes ? 0x40 : 0);	/* LBPME, LBPRZ */
	scst_cmd_reply(cmd, buf, sizeof(buf));
}
