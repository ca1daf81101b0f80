// SPDX-License-Identifier: GPL-2.0-only
/*
 * The trace points' own code, and calls for those that every command passes: what is inline there would cost
 * registers and cache although nobody looks.
 */
#include "core.h"
#define CREATE_TRACE_POINTS
#include "trace.h"

void __cold scst_trace_submit(const struct scst_cmd *cmd)
{
	trace_scst_cmd_submit(cmd);
}

void __cold scst_trace_admit(const struct scst_cmd *cmd)
{
	trace_scst_cmd_admit(cmd);
}

void __cold scst_trace_execute(const struct scst_cmd *cmd)
{
	trace_scst_cmd_execute(cmd);
}

void __cold scst_trace_respond(const struct scst_cmd *cmd)
{
	trace_scst_cmd_respond(cmd);
}

void __cold scst_trace_release(const struct scst_cmd *cmd)
{
	trace_scst_cmd_release(cmd);
}
