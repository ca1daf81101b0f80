// SPDX-License-Identifier: GPL-2.0-only
/*
 * MODE SENSE and MODE SELECT (SPC-4 6.11 to 6.14); mode-pages.c has the pages.
 *
 * What they are built from are single bytes of the device that commands read without a lock; two MODE SELECTs at a time are
 * serialised by nothing, the later one wins bit by bit.
 */
#include "commands.h"
#include "mode-pages.h"

/* Room for a few repeated pages; what is longer repeats beyond reason. */
#define SELECT_MAX		255

static void scst_mode_state(const struct scst_cmd *cmd, struct scst_mode_state *state)
{
	struct scst_device *dev = cmd->dev;
	bool cache = scst_device_write_cache(dev);

	*state = (struct scst_mode_state) {
		.current_values = {
			.wce	= cache && !READ_ONCE(dev->wce_off),
			.d_sense = READ_ONCE(dev->d_sense),
			.swp	= READ_ONCE(dev->swp),
		},
		.defaults.wce = cache,
		/* Without FUA there is no way to write through the backing's cache. */
		.changeable = {
			.wce	= cache && dev->fua,
			.d_sense = true,
			.swp	= true,
		},
		.nblocks	= READ_ONCE(dev->geo.nblocks),
		.block_size	= scst_device_block_size(dev),
		.sense_max	= SCST_SENSE_SIZE,
		.implicit_alua	= scst_alua_offered(dev, false),
		.dpofua		= dev->fua,
		.ato		= scst_pi_ato(dev),
		.space		= scst_space_exponent(dev),
		.space_threshold = scst_space_threshold(dev),
		.wp		= READ_ONCE(cmd->nexus->gates) & SCST_STOPS_READ_ONLY,
	};
}

static void scst_cache_told(struct scst_device *dev, bool cache)
{
	if (xchg(&dev->cache_told, cache) != cache)
		scst_ua_device(dev, SCST_UA_MODE_CHANGED, NULL);
}

/**
 * scst_device_write_cache() - is there a volatile write cache now?
 * @dev: the device
 *
 * Process or softirq context.  Asked each time, because it may be switched at run time; whoever notices that it is not what
 * initiators were told last tells them.  A parked device has what it had.
 */
bool scst_device_write_cache(struct scst_device *dev)
{
	bool cache;

	if (!percpu_ref_tryget_live(&dev->active_ref))
		return READ_ONCE(dev->cache_told);
	cache = dev->handler->write_cache && dev->handler->write_cache(dev);
	percpu_ref_put(&dev->active_ref);
	if (unlikely(READ_ONCE(dev->cache_told) != cache))
		scst_cache_told(dev, cache);
	return cache;
}

/* Sets sense data and returns false if the request can't be met. */
static bool scst_mode_sense_check(struct scst_cmd *cmd, const struct scst_mode_state *state,
				  const struct scst_mode_request *req)
{
	if (!scst_mode_known(state, req->page, SCST_MODE_ANY))
		scst_cmd_invalid_cdb(cmd, 2, 5);
	else if (!scst_mode_known(state, req->page, req->subpage))
		scst_cmd_invalid_cdb(cmd, 3, 7);
	else if (req->pc == SCST_MODE_SAVED)
		scst_cmd_sense(cmd, SCST_SENSE_SAVING_NOT_SUPPORTED);
	else
		return true;
	return false;
}

/**
 * scst_mode_sense() - MODE SENSE(6) and (10)
 * @cmd: the command
 */
void scst_mode_sense(struct scst_cmd *cmd)
{
	const u8 *cdb = cmd->cdb;
	const struct scst_mode_request req = {
		.ten		= cdb[0] == MODE_SENSE_10,
		.dbd		= cdb[1] & 0x08,
		.llbaa		= cdb[1] & 0x10,
		.pc		= cdb[2] >> 6,
		.page		= cdb[2] & 0x3f,
		.subpage	= cdb[3],
	};
	struct scst_mode_state state;
	u8 buf[SCST_MODE_SENSE_MAX];

	scst_mode_state(cmd, &state);
	if (!scst_mode_sense_check(cmd, &state, &req)) {
		scst_cmd_respond(cmd);
		return;
	}
	scst_cmd_reply(cmd, buf, scst_mode_build(&req, &state, buf));
}

/* --- MODE SELECT --------------------------------------------------------------------------- */

/* What was written under the old rules must be stable before the new ones are in force. */
static bool scst_mode_must_flush(const struct scst_mode_values *old,
				 const struct scst_mode_values *new)
{
	return (old->wce && !new->wce) || (!old->swp && new->swp);
}

static void scst_mode_apply(struct scst_cmd *cmd, const struct scst_mode_values *old,
			    const struct scst_mode_values *new)
{
	struct scst_device *dev = cmd->dev;

	if (old->wce != new->wce)
		WRITE_ONCE(dev->wce_off, !new->wce);
	if (old->d_sense != new->d_sense)
		WRITE_ONCE(dev->d_sense, new->d_sense);
	if (old->swp != new->swp) {
		WRITE_ONCE(dev->swp, new->swp);
		scst_gate_device(dev, SCST_GATE_WRITE_PROTECT, new->swp || dev->read_only);
	}
	if (memcmp(old, new, sizeof(*old)))
		scst_ua_device(dev, SCST_UA_MODE_CHANGED, cmd->nexus);
	if (scst_mode_must_flush(old, new))
		scst_sync(cmd, 0, 0);
	else
		scst_cmd_good(cmd);
}

/* The CDB asks for what can't be done.  (A reader, who must not change what writers rely on, has been stopped before.) */
bool scst_mode_prepare_select(struct scst_cmd *cmd)
{
	if (!(cmd->cdb[1] & 0x10))	/* PF: parameters of the vendor's own form */
		scst_cmd_invalid_cdb(cmd, 1, 4);
	else if (cmd->cdb[1] & 0x01)	/* SP: nothing is saved */
		scst_cmd_invalid_cdb(cmd, 1, 0);
	else if (cmd->xfer_len > min_t(u32, cmd->len, SELECT_MAX))
		scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	else
		return true;
	return false;
}

/**
 * scst_mode_select() - MODE SELECT(6) and (10)
 * @cmd: the command
 *
 * Either the whole list is valid and in force when the command ends, or nothing has changed.
 */
void scst_mode_select(struct scst_cmd *cmd)
{
	struct scst_mode_values values;
	struct scst_mode_state state;
	struct scst_mode_error err;
	u8 list[SELECT_MAX];
	int fault;

	if (!cmd->xfer_len) {
		scst_cmd_good(cmd);
		return;
	}
	scst_cmd_fetch(cmd, list, cmd->xfer_len);
	scst_mode_state(cmd, &state);
	fault = scst_mode_parse(&state, list, cmd->xfer_len, cmd->cdb[0] == MODE_SELECT_10, &values, &err);
	if (!fault) {
		scst_mode_apply(cmd, &state.current_values, &values);
		return;
	}
	if (fault == SCST_MODE_FIELD)
		scst_cmd_invalid_list(cmd, err.byte, err.bit);
	else
		scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	scst_cmd_respond(cmd);
}
