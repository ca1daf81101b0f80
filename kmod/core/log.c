// SPDX-License-Identifier: GPL-2.0-only
/*
 * LOG SENSE (SPC-4 6.8, 7.3): which pages there are; how much space thin devices have; and that no informational exception is pending,
 * for none is looked for (mode page 1Ch, DEXCPT).  Nothing is counted here that initiators could read, and nothing of theirs is kept, so there is no LOG SELECT.
 */
#include "commands.h"

#define HEADER		4
#define LOG_MAX		32	/* of the longest page */

#define PC_CUMULATIVE	0x01
#define DS		0x80	/* byte 0: nothing is saved */
#define SPF		0x40	/* byte 0: a page with a subpage code */

#define PAGE_PAGES	0x00
#define PAGE_PROVISIONING	0x0c
#define PAGE_EXCEPTIONS	0x2f
#define SUBPAGE_ALL	0xff

/* Control byte of a parameter */
#define PARAM_TSD	0x20	/* nor does it save itself */
#define PARAM_LIST	0x03	/* a list in binary form */

#define NO_TEMPERATURE	0xff

/**
 * struct scst_log_page - a log page
 * @code: page code
 * @subpage: subpage code
 * @len: bytes of @params; 0: it is a list of pages, those with subpages among them if it is one itself
 * @params: log parameters
 * @space: there is such a page where the space of the device is known, and its parameters are asked for on its threads
 */
struct scst_log_page {
	u8 code;
	u8 subpage;
	u8 len;
	const u8 *params;
	bool space;
};

/* Parameter 0000h: ASC and ASCQ of an exception, 0: there is none; and a temperature. */
static const u8 scst_log_exceptions[] = { 0, 0, PARAM_TSD | PARAM_LIST, 4, 0, 0, NO_TEMPERATURE, 0 };

/* Ascending, as they are listed. */
static const struct scst_log_page scst_log_pages[] = {
	{ .code = PAGE_PAGES },
	{ .code = PAGE_PAGES, .subpage = SUBPAGE_ALL },
	{ .code = PAGE_PROVISIONING, .space = true },
	{ .code = PAGE_EXCEPTIONS, .len = sizeof(scst_log_exceptions), .params = scst_log_exceptions },
};

static_assert(HEADER + sizeof(scst_log_exceptions) <= LOG_MAX);
static_assert(HEADER + 2 * ARRAY_SIZE(scst_log_pages) <= LOG_MAX);

static_assert(HEADER + SCST_SPACE_LOG_LEN <= LOG_MAX);

static bool scst_log_offered(const struct scst_log_page *page, const struct scst_device *dev)
{
	return !page->space || scst_space_exponent(dev);
}

static const struct scst_log_page *scst_log_find(const struct scst_device *dev, u8 code, u8 subpage)
{
	const struct scst_log_page *page = scst_log_pages;

	for (; page < scst_log_pages + ARRAY_SIZE(scst_log_pages); page++)
		if (page->code == code && page->subpage == subpage && scst_log_offered(page, dev))
			return page;
	return NULL;
}

/* Page codes; with subpages each has its subpage code behind it. */
static unsigned int scst_log_put_list(const struct scst_device *dev, bool subpages, u8 *list)
{
	const struct scst_log_page *page = scst_log_pages;
	unsigned int len = 0;

	for (; page < scst_log_pages + ARRAY_SIZE(scst_log_pages); page++) {
		if ((page->subpage && !subpages) || !scst_log_offered(page, dev))
			continue;
		list[len++] = page->code;
		if (subpages)
			list[len++] = page->subpage;
	}
	return len;
}

/* Returns the length of the parameters, or of the list. */
static unsigned int scst_log_put_body(const struct scst_log_page *page, struct scst_device *dev, u8 *body)
{
	if (page->space)
		return scst_space_log(dev, body);
	if (!page->len)
		return scst_log_put_list(dev, page->subpage, body);
	memcpy(body, page->params, page->len);
	return page->len;
}

static void scst_log_reply(struct scst_cmd *cmd)
{
	const struct scst_log_page *page = scst_log_find(cmd->dev, cmd->cdb[2] & 0x3f, cmd->cdb[3]);
	u8 buf[LOG_MAX] = { };
	unsigned int len = scst_log_put_body(page, cmd->dev, buf + HEADER);

	buf[0] = page->code | (page->code == PAGE_PAGES ? 0 : DS) | (page->subpage ? SPF : 0);
	buf[1] = page->subpage;
	put_unaligned_be16(len, buf + 2);
	scst_cmd_reply(cmd, buf, HEADER + len);
}

static void scst_log_job(struct scst_job *job)
{
	scst_log_reply(scst_cmd_of_job(job));
}

/*
 * The first thing that is wrong with the CDB.  Thresholds and defaults there are none of; a parameter to begin with can be no
 * other than 0000h, which is the only one, where there is any.
 */
bool scst_log_prepare_sense(struct scst_cmd *cmd)
{
	const u8 *cdb = cmd->cdb;
	u8 code = cdb[2] & 0x3f;

	if (cdb[2] >> 6 != PC_CUMULATIVE)
		scst_cmd_invalid_cdb(cmd, 2, 7);
	else if (!scst_log_find(cmd->dev, code, 0))
		scst_cmd_invalid_cdb(cmd, 2, 5);
	else if (!scst_log_find(cmd->dev, code, cdb[3]))
		scst_cmd_invalid_cdb(cmd, 3, 7);
	else if (get_unaligned_be16(cdb + 5))		/* PARAMETER POINTER */
		scst_cmd_invalid_cdb(cmd, 5, 7);
	else
		return true;
	return false;
}

/**
 * scst_log_sense() - LOG SENSE (SPC-4 6.8)
 * @cmd: the command
 */
void scst_log_sense(struct scst_cmd *cmd)
{
	if (scst_log_find(cmd->dev, cmd->cdb[2] & 0x3f, cmd->cdb[3])->space)
		scst_cmd_to_threads_of(cmd, &cmd->dev->threads, scst_log_job);
	else
		scst_log_reply(cmd);
}
