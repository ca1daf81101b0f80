/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files about protection information share: see pi.c and pi-io.c.
 */
#ifndef SCST_PI_H
#define SCST_PI_H

#include "commands.h"
#include "pi-check.h"

/* Does the transport move it apart from the data? */
static inline bool scst_pi_apart(const struct scst_cmd *cmd)
{
	return cmd->pi_type;
}

int scst_pi_errno(enum scst_pi_fault fault);
void scst_pi_expect(const struct scst_cmd *cmd, struct scst_pi_rule *rule);
void scst_pi_mark(struct scst_cmd *cmd, bool none);
void scst_pi_unmark(struct scst_cmd *cmd);

#endif /* SCST_PI_H */
