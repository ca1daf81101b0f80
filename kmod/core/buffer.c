// SPDX-License-Identifier: GPL-2.0-only
/*
 * READ BUFFER and WRITE BUFFER (SPC-4 6.18, 6.49): memory of a logical unit's, by which initiators test the way to it.
 *
 * The data buffer is everybody's.  Of the echo buffer each I_T nexus is told what it has written itself, or that somebody has written over it.
 * Neither has anything to do with the medium, or with the backing.  A piece of memory is there once it was written to; until then it is zeroes.
 * Resets touch none of it; a device that is disabled has forgotten, as at a loss of power.
 */
#include "commands.h"

#define PIECE		SZ_4K
#define DATA_LEN	SZ_64K
#define ECHO_AT		DATA_LEN	/* behind the data buffer, in the same pieces */
#define ECHO_LEN	SZ_4K		/* the most that the standard has */

#define DESC_LEN	4	/* of both descriptors */
#define EBOS		0x01	/* who finds the echo buffer overwritten is told */

#define NOBODY		0	/* cookie that no nexus has */

static_assert(SCST_BUFFER_PIECES * PIECE == DATA_LEN + ECHO_LEN);

/* --- memory ------------------------------------------------------------------------------------ */

/* Fields of a new device that are this file's. */
void scst_buffers_setup(struct scst_device *dev)
{
	spin_lock_init(&dev->buffers.lock);
}

/* The device begins, or goes: nobody has written anything.  Process context. */
void scst_buffers_forget(struct scst_device *dev)
{
	struct scst_buffers *buffers = &dev->buffers;
	unsigned int i;

	spin_lock_bh(&buffers->lock);
	buffers->echo_owner = NOBODY;
	for (i = 0; i < SCST_BUFFER_PIECES; i++) {
		kfree(buffers->piece[i]);
		buffers->piece[i] = NULL;
	}
	spin_unlock_bh(&buffers->lock);
}

/* All pieces of a range are there, or nothing is written. */
static bool scst_buffers_grow(struct scst_buffers *buffers, u32 at, u32 len)
{
	unsigned int i;

	for (i = at / PIECE; i < DIV_ROUND_UP(at + len, PIECE); i++) {
		if (!buffers->piece[i])
			buffers->piece[i] = kzalloc(PIECE, GFP_NOWAIT | __GFP_NOWARN);
		if (!buffers->piece[i])
			return false;
	}
	return true;
}

static bool scst_buffers_write(struct scst_buffers *buffers, u32 at, struct scst_cmd *cmd)
{
	u32 done, n;

	lockdep_assert_held(&buffers->lock);
	if (!scst_buffers_grow(buffers, at, cmd->len))
		return false;
	for (done = 0; done < cmd->len; done += n, at += n) {
		n = min_t(u32, cmd->len - done, PIECE - at % PIECE);
		sg_pcopy_to_buffer(cmd->data.sgl, cmd->data.nents, buffers->piece[at / PIECE] + at % PIECE, n, done);
	}
	return true;
}

/* Of @total bytes what there is room for. */
static void scst_buffers_read(struct scst_buffers *buffers, u32 at, u32 total, struct scst_cmd *cmd)
{
	u32 done, n;

	lockdep_assert_held(&buffers->lock);
	cmd->xfer_len = min(cmd->xfer_len, total);
	cmd->len = min(cmd->len, total);
	for (done = 0; done < cmd->len; done += n, at += n) {
		const u8 *piece = buffers->piece[at / PIECE];

		n = min_t(u32, cmd->len - done, PIECE - at % PIECE);
		if (piece)
			sg_pcopy_from_buffer(cmd->data.sgl, cmd->data.nents, piece + at % PIECE, n, done);
		else
			sg_zero_buffer(cmd->data.sgl, cmd->data.nents, n, done);
	}
}

static void scst_buffer_written(struct scst_cmd *cmd, bool written)
{
	if (written) {
		scst_cmd_good(cmd);
		return;
	}
	scst_cmd_errno(cmd, -ENOMEM);
	scst_cmd_respond(cmd);
}

/* --- the CDB ----------------------------------------------------------------------------------- */

static bool scst_buffer_long(const struct scst_cmd *cmd)
{
	return cmd->op->cdb_len == 16;
}

static u8 scst_buffer_id(const struct scst_cmd *cmd)
{
	return cmd->cdb[scst_buffer_long(cmd) ? 14 : 2];
}

static u64 scst_buffer_offset(const struct scst_cmd *cmd)
{
	return scst_buffer_long(cmd) ? get_unaligned_be64(cmd->cdb + 2) : get_unaligned_be24(cmd->cdb + 3);
}

/* Which buffer, and from where on.  There is one, with the number 0. */
bool scst_buffer_prepare_read(struct scst_cmd *cmd)
{
	if (scst_buffer_id(cmd))
		scst_cmd_invalid_cdb(cmd, scst_buffer_long(cmd) ? 14 : 2, 7);
	else if (scst_buffer_offset(cmd) >= DATA_LEN)
		scst_cmd_invalid_cdb(cmd, scst_buffer_long(cmd) ? 2 : 3, 7);
	else
		return true;
	return false;
}

/* There is room for the list, and all of it comes. */
static bool scst_buffer_prepare_list(struct scst_cmd *cmd, u32 room)
{
	if (cmd->xfer_len > room)
		scst_cmd_invalid_cdb(cmd, 6, 7);
	else if (cmd->xfer_len > cmd->len)
		scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	else
		return true;
	return false;
}

bool scst_buffer_prepare_write(struct scst_cmd *cmd)
{
	return scst_buffer_prepare_read(cmd) && scst_buffer_prepare_list(cmd, DATA_LEN - scst_buffer_offset(cmd));
}

/* Number and offset are ignored (SPC-4 6.49.9). */
bool scst_buffer_prepare_echo(struct scst_cmd *cmd)
{
	return scst_buffer_prepare_list(cmd, ECHO_LEN);
}

/* --- the data buffer --------------------------------------------------------------------------- */

/**
 * scst_buffer_descriptor() - READ BUFFER, descriptor (SPC-4 6.18.5)
 * @cmd: the command
 *
 * Of a buffer that is not there it is all zeroes.
 */
void scst_buffer_descriptor(struct scst_cmd *cmd)
{
	u8 buf[DESC_LEN] = { };

	if (!scst_buffer_id(cmd))
		put_unaligned_be24(DATA_LEN, buf + 1);
	scst_cmd_reply(cmd, buf, sizeof(buf));
}

/**
 * scst_buffer_read() - READ BUFFER, data (SPC-4 6.18.4)
 * @cmd: the command
 */
void scst_buffer_read(struct scst_cmd *cmd)
{
	struct scst_buffers *buffers = &cmd->dev->buffers;
	u32 at = scst_buffer_offset(cmd);

	spin_lock_bh(&buffers->lock);
	scst_buffers_read(buffers, at, DATA_LEN - at, cmd);
	spin_unlock_bh(&buffers->lock);
	scst_cmd_good(cmd);
}

/**
 * scst_buffer_write() - WRITE BUFFER, data (SPC-4 6.49.4)
 * @cmd: the command
 */
void scst_buffer_write(struct scst_cmd *cmd)
{
	struct scst_buffers *buffers = &cmd->dev->buffers;
	bool written;

	spin_lock_bh(&buffers->lock);
	written = scst_buffers_write(buffers, scst_buffer_offset(cmd), cmd);
	spin_unlock_bh(&buffers->lock);
	scst_buffer_written(cmd, written);
}

/* --- the echo buffer --------------------------------------------------------------------------- */

/**
 * scst_buffer_echo_descriptor() - READ BUFFER, echo buffer descriptor (SPC-4 6.18.9)
 * @cmd: the command
 */
void scst_buffer_echo_descriptor(struct scst_cmd *cmd)
{
	u8 buf[DESC_LEN] = { EBOS };

	put_unaligned_be16(ECHO_LEN, buf + 2);
	scst_cmd_reply(cmd, buf, sizeof(buf));
}

/**
 * scst_buffer_read_echo() - READ BUFFER, echo buffer (SPC-4 6.18.8)
 * @cmd: the command
 */
void scst_buffer_read_echo(struct scst_cmd *cmd)
{
	struct scst_buffers *buffers = &cmd->dev->buffers;
	u32 sense = 0;

	spin_lock_bh(&buffers->lock);
	if (buffers->echo_owner == cmd->nexus->cookie)
		scst_buffers_read(buffers, ECHO_AT, buffers->echo_len, cmd);
	else
		sense = cmd->nexus->echoed ? SCST_SENSE_ECHO_OVERWRITTEN : SCST_SENSE_COMMAND_SEQUENCE;
	spin_unlock_bh(&buffers->lock);
	if (!sense) {
		scst_cmd_good(cmd);
		return;
	}
	scst_cmd_sense(cmd, sense);
	scst_cmd_respond(cmd);
}

/**
 * scst_buffer_write_echo() - WRITE BUFFER, echo buffer (SPC-4 6.49.9)
 * @cmd: the command
 */
void scst_buffer_write_echo(struct scst_cmd *cmd)
{
	struct scst_buffers *buffers = &cmd->dev->buffers;
	bool written;

	spin_lock_bh(&buffers->lock);
	written = scst_buffers_write(buffers, ECHO_AT, cmd);
	if (written) {
		buffers->echo_owner = cmd->nexus->cookie;
		buffers->echo_len = cmd->len;
		cmd->nexus->echoed = true;
	}
	spin_unlock_bh(&buffers->lock);
	scst_buffer_written(cmd, written);
}
