/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What was slow, and what failed: what commands pass of it.
 */
#ifndef SCST_RECORDER_H
#define SCST_RECORDER_H

#include <linux/jiffies.h>
#include "scst_handler.h"
#include "scst_target.h"

#define SCST_SLOW_MS		1000		/* default of slow_ms */
#define SCST_SLOW_MS_MAX	(60 * 60 * MSEC_PER_SEC)

extern u32 scst_slow_after;	/* jiffies, U32_MAX: never */
extern u32 scst_stage_after;	/* ... an eighth of it */
void scst_recorder_setup(struct scst_recorder *recorder);
void scst_recorder_free(struct scst_recorder *recorder);
int scst_recorder_init(void);
void scst_recorder_exit(void);
void scst_record_slow(struct scst_cmd *cmd);
void scst_record_failed(struct scst_cmd *cmd);
void scst_record_tmf(const struct scst_tmf *tmf);
u32 scst_slow_ms(void);
void scst_slow_set_ms(u32 ms);
void scst_stage_add(struct scst_cmd *cmd, enum scst_stage stage);

/* Jiffies since it came.  Any context. */
static inline u32 scst_cmd_ticks(const struct scst_cmd *cmd)
{
	return (u32)jiffies - (u32)(READ_ONCE(cmd->flags) >> SCST_CMD_SINCE);
}

/* A new command that nobody else knows yet. */
static inline void scst_stages_begin(struct scst_cmd *cmd)
{
	u32 now = jiffies;

	cmd->flags |= (unsigned long)now << SCST_CMD_SINCE;
	cmd->at = now;
	cmd->longest = 0;
	cmd->longest_in = SCST_STAGE_CORE;
}

/* Since the last of these calls it was in @stage.  By whoever has the command.  Of those that are not slow yet nothing is touched. */
static inline void scst_stage(struct scst_cmd *cmd, enum scst_stage stage)
{
	if (unlikely(scst_cmd_ticks(cmd) >= READ_ONCE(scst_stage_after)))
		scst_stage_add(cmd, stage);
}

/* Has a handler been asked to do something?  Until it is answered it is there, but for what it tells by scst_stage(). */
static inline bool scst_cmd_at_handler(const struct scst_cmd *cmd)
{
	return READ_ONCE(cmd->pinned) && READ_ONCE(cmd->action);
}

#endif /* SCST_RECORDER_H */
