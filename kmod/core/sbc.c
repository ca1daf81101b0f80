// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands of block devices (SBC-3).  The core holds dev->active_ref for each of them, so
 * that capacity and block length stand still, but for growth.
 */
#include "core.h"

#define RW_PROTECT		0xe0	/* byte 1: RDPROTECT, WRPROTECT, VRPROTECT */
#define RW_DPO			0x10
#define RW_FUA			0x08

#define VERIFY_CHUNK		SZ_16K	/* a multiple of every block length */

static noinline void scst_sbc_out_of_range(struct scst_cmd *cmd)
{
	scst_cmd_sense(cmd, SCST_SENSE_LBA_OUT_OF_RANGE);
	scst_cmd_respond(cmd);
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
	default:
		return 10;
	}
}

/* --- READ, WRITE --------------------------------------------------------------------------- */

/* Byte 1 has bits beyond FUA, or FUA on a device without: false if it is refused. */
static noinline bool scst_sbc_flags_allowed(struct scst_cmd *cmd, u8 flags)
{
	if (flags & RW_PROTECT)
		scst_cmd_invalid_cdb(cmd, 1, 7);
	else if (!cmd->dev->fua && (flags & RW_DPO))
		scst_cmd_invalid_cdb(cmd, 1, 4);
	else if (!cmd->dev->fua && (flags & RW_FUA))
		scst_cmd_invalid_cdb(cmd, 1, 3);
	else
		return true;
	scst_cmd_respond(cmd);
	return false;
}

static noinline void scst_sbc_too_long(struct scst_cmd *cmd)
{
	scst_cmd_invalid_cdb(cmd, scst_sbc_length_at(cmd), 7);
	scst_cmd_respond(cmd);
}

/*
 * Check the CDB and set fua, xfer_len and len.  False: the command has been answered.
 * A buffer that is too small moves the whole blocks it has room for; the residual tells.
 */
static __always_inline bool scst_sbc_setup(struct scst_cmd *cmd)
{
	const struct scst_device *dev = cmd->dev;
	u8 shift = dev->block_shift;
	u8 flags = cmd->op->format == SCST_CDB_RW6 ? 0 : cmd->cdb[1];

	if (unlikely(flags & (RW_PROTECT | RW_DPO | RW_FUA)) &&
	    !scst_sbc_flags_allowed(cmd, flags))
		return false;
	if (!scst_sbc_in_range(cmd, READ_ONCE(dev->nblocks))) {
		scst_sbc_out_of_range(cmd);
		return false;
	}
	if (unlikely(cmd->nblocks > U32_MAX >> shift)) {
		scst_sbc_too_long(cmd);
		return false;
	}
	cmd->fua = flags & RW_FUA;
	cmd->xfer_len = cmd->nblocks << shift;
	cmd->len = cmd->xfer_len;
	if (unlikely(cmd->data_len < cmd->len))
		cmd->len = cmd->data_len >> shift << shift;
	if (unlikely(!cmd->len)) {
		scst_cmd_good(cmd);
		return false;
	}
	return true;
}

/**
 * scst_sbc_read() - READ(6), (10), (12) and (16)
 * @cmd: the command
 */
void scst_sbc_read(struct scst_cmd *cmd)
{
	if (scst_sbc_setup(cmd))
		scst_cmd_to_handler(cmd, SCST_ACTION_READ);
}

/**
 * scst_sbc_write() - WRITE(6), (10), (12) and (16)
 * @cmd: the command
 *
 * With the write cache disabled every write has FUA, whatever its CDB says.
 */
void scst_sbc_write(struct scst_cmd *cmd)
{
	if (!scst_sbc_setup(cmd))
		return;
	if (cmd->dev->volatile_cache && unlikely(!READ_ONCE(cmd->dev->wce)))
		cmd->fua = true;
	scst_cmd_to_handler(cmd, SCST_ACTION_WRITE);
}

/* --- VERIFY -------------------------------------------------------------------------------- */

enum scst_bytchk {
	BYTCHK_NONE	= 0,	/* can the medium be read? */
	BYTCHK_ALL	= 1,	/* compare with as many blocks */
	BYTCHK_ONE	= 3,	/* compare each with the same block */
};

static u8 scst_verify_bytchk(const struct scst_cmd *cmd)
{
	return cmd->cdb[1] >> 1 & 3;
}

/* Bytes of the medium that the command covers, given the data it came with. */
static u64 scst_verify_total(const struct scst_cmd *cmd)
{
	u64 all = (u64)cmd->nblocks << cmd->dev->block_shift;

	switch (scst_verify_bytchk(cmd)) {
	case BYTCHK_ALL:
		return cmd->len;
	case BYTCHK_ONE:
		return cmd->len ? all : 0;
	default:
		return all;
	}
}

/* What bytes from @done on are to be; @expect is filled once for all if it is one block. */
static void scst_verify_expect(struct scst_cmd *cmd, u8 *expect, u64 done, unsigned int len)
{
	unsigned int block = 1U << cmd->dev->block_shift, at;

	if (scst_verify_bytchk(cmd) == BYTCHK_ALL) {
		sg_pcopy_to_buffer(cmd->sg, cmd->sg_cnt, expect, len, done);
	} else if (!done) {
		sg_copy_to_buffer(cmd->sg, cmd->sg_cnt, expect, block);
		for (at = block; at < len; at += block)
			memcpy(expect + at, expect, block);
	}
}

/* Offset of the first difference, or @len. */
static unsigned int scst_verify_compare(const u8 *a, const u8 *b, unsigned int len)
{
	unsigned int i = 0;

	if (!memcmp(a, b, len))
		return len;
	while (a[i] == b[i])
		i++;
	return i;
}

/* True: go on.  False: status and sense are set. */
static bool scst_verify_chunk(struct scst_cmd *cmd, u8 *buf, u64 done, unsigned int len)
{
	struct scst_device *dev = cmd->dev;
	u8 *expect = buf + VERIFY_CHUNK;
	unsigned int same;
	int ret;

	ret = dev->handler->read(dev, buf, len, scst_cmd_pos(cmd) + done);
	if (ret) {
		scst_cmd_errno(cmd, ret);
		return false;
	}
	if (scst_verify_bytchk(cmd) == BYTCHK_NONE)
		return true;
	scst_verify_expect(cmd, expect, done, len);
	same = scst_verify_compare(buf, expect, len);
	if (same == len)
		return true;
	scst_cmd_sense_info(cmd, SCST_SENSE_MISCOMPARE, done + same);
	return false;
}

static void scst_verify_work(struct work_struct *work)
{
	struct scst_cmd *cmd = container_of(work, struct scst_cmd, work);
	u64 total = scst_verify_total(cmd), done;
	u8 *buf = kmalloc(2 * VERIFY_CHUNK, GFP_NOIO);
	unsigned int len;

	cmd->status = SAM_STAT_GOOD;
	if (!buf)
		scst_cmd_errno(cmd, -ENOMEM);
	for (done = 0; buf && done < total && !scst_cmd_aborted(cmd); done += len) {
		len = min_t(u64, total - done, VERIFY_CHUNK);
		if (!scst_verify_chunk(cmd, buf, done, len))
			break;
		cond_resched();
	}
	kfree(buf);
	scst_cmd_respond(cmd);
}

/* Bytes of data-out the CDB asks for. */
static u64 scst_verify_data(const struct scst_cmd *cmd)
{
	u64 blocks = cmd->nblocks;

	switch (scst_verify_bytchk(cmd)) {
	case BYTCHK_ALL:
		return blocks << cmd->dev->block_shift;
	case BYTCHK_ONE:
		return blocks ? 1U << cmd->dev->block_shift : 0;
	default:
		return 0;
	}
}

/* Check the CDB; false: status and sense are set. */
static bool scst_verify_check(struct scst_cmd *cmd)
{
	if (cmd->cdb[1] & RW_PROTECT)
		scst_cmd_invalid_cdb(cmd, 1, 7);
	else if (scst_verify_bytchk(cmd) == 2)
		scst_cmd_invalid_cdb(cmd, 1, 2);
	else if (!scst_sbc_in_range(cmd, READ_ONCE(cmd->dev->nblocks)))
		scst_cmd_sense(cmd, SCST_SENSE_LBA_OUT_OF_RANGE);
	else if (scst_verify_data(cmd) > U32_MAX)
		scst_cmd_invalid_cdb(cmd, scst_sbc_length_at(cmd), 7);
	else
		return true;
	return false;
}

/**
 * scst_sbc_verify() - VERIFY(10) and (16)
 * @cmd: the command
 *
 * On MISCOMPARE the INFORMATION field is the offset in bytes of the first difference
 * from the beginning of the range.  DPO is a hint and needs no support.
 */
void scst_sbc_verify(struct scst_cmd *cmd)
{
	u8 shift = cmd->dev->block_shift;

	if (!scst_verify_check(cmd)) {
		scst_cmd_respond(cmd);
		return;
	}
	cmd->action = SCST_ACTION_VERIFY;
	cmd->xfer_len = scst_verify_data(cmd);
	cmd->len = min(cmd->xfer_len, cmd->data_len) >> shift << shift;
	if (scst_verify_total(cmd))
		scst_cmd_to_thread(cmd, scst_verify_work);
	else
		scst_cmd_good(cmd);
}

/* --- SYNCHRONIZE CACHE, START STOP UNIT ---------------------------------------------------- */

static void scst_sbc_flush(struct scst_cmd *cmd)
{
	if (cmd->dev->volatile_cache)
		scst_cmd_to_handler(cmd, SCST_ACTION_SYNC);
	else
		scst_cmd_good(cmd);
}

/**
 * scst_sbc_sync() - SYNCHRONIZE CACHE(10) and (16)
 * @cmd: the command
 *
 * IMMED allows to answer early and SYNC_NV to stop at a non-volatile cache; neither is needed.
 */
void scst_sbc_sync(struct scst_cmd *cmd)
{
	if (!scst_sbc_in_range(cmd, READ_ONCE(cmd->dev->nblocks))) {
		scst_sbc_out_of_range(cmd);
		return;
	}
	cmd->sync_len = (u64)cmd->nblocks << cmd->dev->block_shift;
	scst_sbc_flush(cmd);
}

/* Sets sense data and returns false if the CDB asks for what the unit doesn't have. */
static bool scst_start_stop_check(struct scst_cmd *cmd)
{
	const u8 *cdb = cmd->cdb;

	if (cmd->read_only)		/* a reader must not take the unit from the writers */
		scst_cmd_sense(cmd, SCST_SENSE_WRITE_PROTECTED);
	else if (cdb[3] & 0x0f)		/* POWER CONDITION MODIFIER */
		scst_cmd_invalid_cdb(cmd, 3, 3);
	else if (cdb[4] & 0xf0)		/* POWER CONDITION: there is only "active" */
		scst_cmd_invalid_cdb(cmd, 4, 7);
	else if (cdb[4] & 0x02)		/* LOEJ: the medium is not removable */
		scst_cmd_invalid_cdb(cmd, 4, 1);
	else
		return true;
	return false;
}

/**
 * scst_sbc_start_stop() - START STOP UNIT
 * @cmd: the command
 *
 * Stopping keeps new commands out first and then empties the cache, unless NO_FLUSH is set.
 */
void scst_sbc_start_stop(struct scst_cmd *cmd)
{
	bool start = cmd->cdb[4] & 0x01, no_flush = cmd->cdb[4] & 0x04;

	if (!scst_start_stop_check(cmd)) {
		scst_cmd_respond(cmd);
		return;
	}
	WRITE_ONCE(cmd->dev->stopped, !start);
	if (start || no_flush) {
		scst_cmd_good(cmd);
		return;
	}
	cmd->sync_len = 0;
	scst_sbc_flush(cmd);
}

/* --- READ CAPACITY ------------------------------------------------------------------------- */

/*
 * PMI asks for the last block before a substantial delay, of which there is none.
 * Without PMI the LBA has no meaning and must be zero.  False: status and sense are set.
 */
static bool scst_capacity_check(struct scst_cmd *cmd, u64 lba, bool pmi, u64 nblocks)
{
	if (!pmi && lba)
		scst_cmd_invalid_cdb(cmd, 2, 7);
	else if (pmi && lba >= nblocks)
		scst_cmd_sense(cmd, SCST_SENSE_LBA_OUT_OF_RANGE);
	else
		return true;
	scst_cmd_respond(cmd);
	return false;
}

/**
 * scst_sbc_read_capacity10() - READ CAPACITY(10)
 * @cmd: the command
 */
void scst_sbc_read_capacity10(struct scst_cmd *cmd)
{
	u64 nblocks = READ_ONCE(cmd->dev->nblocks);
	u32 lba = get_unaligned_be32(cmd->cdb + 2);
	u8 buf[8];

	if (!scst_capacity_check(cmd, lba, cmd->cdb[8] & 0x01, nblocks))
		return;
	put_unaligned_be32(min_t(u64, nblocks - 1, U32_MAX), buf);
	put_unaligned_be32(1U << cmd->dev->block_shift, buf + 4);
	cmd->xfer_len = sizeof(buf);
	scst_cmd_reply(cmd, buf, sizeof(buf));
}

/* One logical block per physical block as far as is known, no provisioning: all else is 0. */
static void scst_sbc_read_capacity16(struct scst_cmd *cmd)
{
	u64 nblocks = READ_ONCE(cmd->dev->nblocks);
	u64 lba = get_unaligned_be64(cmd->cdb + 2);
	u8 buf[32] = { };

	if (!scst_capacity_check(cmd, lba, cmd->cdb[14] & 0x01, nblocks))
		return;
	put_unaligned_be64(nblocks - 1, buf);
	put_unaligned_be32(1U << cmd->dev->block_shift, buf + 8);
	scst_cmd_reply(cmd, buf, sizeof(buf));
}

/**
 * scst_sbc_service_action_in() - SERVICE ACTION IN(16)
 * @cmd: the command
 */
void scst_sbc_service_action_in(struct scst_cmd *cmd)
{
	switch (cmd->cdb[1] & 0x1f) {
	case SAI_READ_CAPACITY_16:
		scst_sbc_read_capacity16(cmd);
		return;
	default:
		scst_cmd_invalid_cdb(cmd, 1, 4);
		scst_cmd_respond(cmd);
	}
}
