// SPDX-License-Identifier: GPL-2.0-only
/*
 * The clock of a device: REPORT TIMESTAMP and SET TIMESTAMP (SPC-4 5.2, 6.38, 6.46).
 *
 * It shows the host's wall clock until an initiator sets it.  From then on it counts by itself, also while the host sleeps, and does not
 * jump when somebody sets the host's: what was set goes before (mode page 0Ah/01h, TCMOS and SCSIP).  Neither resets nor the
 * loss of a nexus touch it; a device that was disabled has forgotten, as at a loss of power.
 */
#include "commands.h"

#define STAMP_LEN	12	/* of the report and of the list */
#define STAMP_AT	4	/* TIMESTAMP: milliseconds since 1970, in both */
#define STAMP_SIZE	6
#define FIRST_MAX	0xf0	/* of its first byte in a list */

/* TIMESTAMP ORIGIN: what has initialised the clock */
#define ORIGIN_COMMAND	0x02
#define ORIGIN_OUTSIDE	0x03	/* methods outside of the standard */

/* dev->clock if nobody has set it; what is set is never so far from the time since boot */
#define CLOCK_OF_HOST	S64_MIN

/* The device begins: nobody has set its clock. */
void scst_clock_reset(struct scst_device *dev)
{
	WRITE_ONCE(dev->clock, CLOCK_OF_HOST);
}

/* All of it is in one word, so that a report has the clock of before or that of afterwards. */
static void scst_clock_set(struct scst_device *dev, u64 stamp)
{
	WRITE_ONCE(dev->clock, (s64)stamp - ktime_to_ms(ktime_get_boottime()));
}

/**
 * scst_clock_report() - REPORT TIMESTAMP (SPC-4 6.38)
 * @cmd: the command
 */
void scst_clock_report(struct scst_cmd *cmd)
{
	s64 clock = READ_ONCE(cmd->dev->clock);
	u8 buf[STAMP_LEN] = { };
	u64 stamp;

	if (clock == CLOCK_OF_HOST) {
		buf[2] = ORIGIN_OUTSIDE;
		stamp = ktime_to_ms(ktime_get_real());
	} else {
		buf[2] = ORIGIN_COMMAND;
		stamp = ktime_to_ms(ktime_get_boottime()) + clock;
	}
	put_unaligned_be16(STAMP_LEN - 2, buf);
	put_unaligned_be48(stamp, buf + STAMP_AT);
	scst_cmd_reply(cmd, buf, sizeof(buf));
}

/* No list at all changes nothing and is no error; there is only one other length. */
bool scst_clock_prepare_set(struct scst_cmd *cmd)
{
	if (!cmd->xfer_len || (cmd->xfer_len == STAMP_LEN && cmd->len == STAMP_LEN))
		return true;
	scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	return false;
}

/* Sets sense data and returns false if the list is wrong. */
static bool scst_clock_check(struct scst_cmd *cmd, const u8 *list)
{
	unsigned int i;

	for (i = 0; i < STAMP_LEN; i++) {
		if (list[i] && (i < STAMP_AT || i >= STAMP_AT + STAMP_SIZE)) {
			scst_cmd_invalid_list(cmd, i, fls(list[i]) - 1);
			return false;
		}
	}
	if (list[STAMP_AT] > FIRST_MAX)
		scst_cmd_invalid_list(cmd, STAMP_AT, 7);
	return list[STAMP_AT] <= FIRST_MAX;
}

/**
 * scst_clock_execute_set() - SET TIMESTAMP (SPC-4 6.46)
 * @cmd: the command
 *
 * Everybody else who sees the device is told, by a unit attention.
 */
void scst_clock_execute_set(struct scst_cmd *cmd)
{
	u8 list[STAMP_LEN];

	if (!cmd->xfer_len) {
		scst_cmd_good(cmd);
		return;
	}
	scst_cmd_fetch(cmd, list, sizeof(list));
	if (!scst_clock_check(cmd, list)) {
		scst_cmd_respond(cmd);
		return;
	}
	scst_clock_set(cmd->dev, get_unaligned_be48(list + STAMP_AT));
	scst_ua_device(cmd->dev, SCST_UA_TIMESTAMP_CHANGED, cmd->nexus);
	scst_cmd_good(cmd);
}
