// SPDX-License-Identifier: GPL-2.0-only
/*
 * SEND DIAGNOSTIC and RECEIVE DIAGNOSTIC RESULTS (SPC-4 6.42, 6.21): the default self-test, and the page that says that there are no other
 * pages.  So what was sent last decides nothing, and whoever asks for its results gets that page.
 */
#include "commands.h"

#define SELF_TEST_CODE	0xe0
#define PF		0x10	/* the list is a page of the standard */
#define SELFTEST	0x04
#define PCV		0x01	/* the page is that of the CDB */

#define PAGE_SUPPORTED	0x00
#define PAGE_HEADER	4

static const u8 scst_diagnostic_pages[] = { PAGE_SUPPORTED, 0, 0, 1, PAGE_SUPPORTED };

/* A list is the page that has no parameters, and is sent without a self-test. */
bool scst_diagnostic_prepare_send(struct scst_cmd *cmd)
{
	u8 flags = cmd->cdb[1];

	if (flags & SELF_TEST_CODE)
		scst_cmd_invalid_cdb(cmd, 1, 7);
	else if (cmd->xfer_len && (cmd->xfer_len != PAGE_HEADER || (flags & (PF | SELFTEST)) != PF))
		scst_cmd_invalid_cdb(cmd, 3, 7);
	else if (cmd->xfer_len > cmd->len)
		scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	else
		return true;
	return false;
}

/* Sets sense data and returns false if the page is wrong. */
static bool scst_diagnostic_check(struct scst_cmd *cmd)
{
	u8 page[PAGE_HEADER];

	scst_cmd_fetch(cmd, page, sizeof(page));
	if (page[0] != PAGE_SUPPORTED)
		scst_cmd_invalid_list(cmd, 0, 7);
	else if (page[1])
		scst_cmd_invalid_list(cmd, 1, fls(page[1]) - 1);
	else if (get_unaligned_be16(page + 2))
		scst_cmd_invalid_list(cmd, 2, 7);
	else
		return true;
	return false;
}

/**
 * scst_diagnostic_send() - SEND DIAGNOSTIC
 * @cmd: the command
 *
 * What there is to test is whether the backing can be used, and it has passed the gates that tell.
 */
void scst_diagnostic_send(struct scst_cmd *cmd)
{
	if (!cmd->xfer_len || scst_diagnostic_check(cmd))
		scst_cmd_good(cmd);
	else
		scst_cmd_respond(cmd);
}

bool scst_diagnostic_prepare_receive(struct scst_cmd *cmd)
{
	if (!(cmd->cdb[1] & PCV) || cmd->cdb[2] == PAGE_SUPPORTED)
		return true;
	scst_cmd_invalid_cdb(cmd, 2, 7);
	return false;
}

/**
 * scst_diagnostic_receive() - RECEIVE DIAGNOSTIC RESULTS
 * @cmd: the command
 */
void scst_diagnostic_receive(struct scst_cmd *cmd)
{
	scst_cmd_reply(cmd, scst_diagnostic_pages, sizeof(scst_diagnostic_pages));
}
