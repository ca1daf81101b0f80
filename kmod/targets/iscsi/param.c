// SPDX-License-Identifier: GPL-2.0-only
/*
 * What targets/iscsi/NAME has in configfs beside the core's: attributes, and the keys and limits in params/.
 */
#include "config.h"
#include <linux/ctype.h>
#include <linux/string.h>

/* --- attributes of the target ----------------------------------------------------------------------------- */

static struct iscsi_target_config *iscsi_config_of(struct config_item *item)
{
	struct scst_target *tgt = container_of(to_config_group(item), struct scst_target, group);

	return &iscsi_target_of(tgt)->config;
}

/* One line, of UTF-8 perhaps (RFC 7143 13.7). */
static int iscsi_alias_check(const char *text)
{
	for (; *text; text++)
		if (isascii(*text) && !isprint(*text))
			return -EINVAL;
	return 0;
}

static const char *const iscsi_algorithms[] = { "sha3-256", "sha256", "sha1", "md5" };

/* Index of the word up to a comma or the end, -EINVAL. */
static int iscsi_algorithm_find(const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(iscsi_algorithms); i++)
		if (strlen(iscsi_algorithms[i]) == len && !strncmp(iscsi_algorithms[i], text, len))
			return i;
	return -EINVAL;
}

/* Words between commas, each once. */
static int iscsi_algorithms_check(const char *text)
{
	unsigned long seen = 0;
	const char *end;
	int word;

	for (;; text = end + 1) {
		end = strchrnul(text, ',');
		word = iscsi_algorithm_find(text, end - text);
		if (word < 0 || (seen & BIT(word)))
			return -EINVAL;
		seen |= BIT(word);
		if (!*end)
			return 0;
	}
}

static ssize_t iscsi_target_chap_algorithms_show(struct config_item *item, char *page)
{
	return iscsi_show_text(page, iscsi_config_of(item)->chap_algorithms);
}

/* Who wants none wants no CHAP. */
static ssize_t iscsi_target_chap_algorithms_store(struct config_item *item, const char *page, size_t count)
{
	struct iscsi_target_config *config = iscsi_config_of(item);

	if (!count || page[0] == '\n')
		return -EINVAL;
	return iscsi_store_text(page, count, iscsi_algorithms_check, config->chap_algorithms, sizeof(config->chap_algorithms));
}

ISCSI_TEXT(iscsi_target_, iscsi_config_of, alias, iscsi_alias_check);
ISCSI_WORD(iscsi_target_, iscsi_config_of, auth, iscsi_auths, ISCSI_AUTHS);
CONFIGFS_ATTR(iscsi_target_, chap_algorithms);
ISCSI_NUMBER(iscsi_target_, iscsi_config_of, max_sessions, 0, U16_MAX);
ISCSI_TEXT(iscsi_target_, iscsi_config_of, redirect, iscsi_host_port_check);
ISCSI_TEXT(iscsi_target_, iscsi_config_of, redirect_permanent, iscsi_host_port_check);

struct configfs_attribute *iscsi_target_attrs[] = {
	&iscsi_target_attr_alias,
	&iscsi_target_attr_auth,
	&iscsi_target_attr_chap_algorithms,
	&iscsi_target_attr_max_sessions,
	&iscsi_target_attr_redirect,
	&iscsi_target_attr_redirect_permanent,
	NULL,
};

/* --- params/ ------------------------------------------------------------------------------------------------ */

#define ISCSI_SEGMENT_MIN	512		/* bytes: the ranges of RFC 7143 13.12 to 13.14 */
#define ISCSI_SEGMENT_MAX	0xffffff
#define ISCSI_QUEUE_DEPTH_MAX	1024
#define ISCSI_SECONDS_MAX	3600

/* In the order in which they are preferred. */
static const char *const iscsi_digests[] = { "none,crc32c", "crc32c,none", "none", "crc32c" };

static struct iscsi_target_config *iscsi_params_of(struct config_item *item)
{
	return container_of(to_config_group(item), struct iscsi_target_config, params);
}

ISCSI_WORD(iscsi_param_, iscsi_params_of, header_digest, iscsi_digests, ARRAY_SIZE(iscsi_digests));
ISCSI_WORD(iscsi_param_, iscsi_params_of, data_digest, iscsi_digests, ARRAY_SIZE(iscsi_digests));
ISCSI_BOOL(iscsi_param_, iscsi_params_of, initial_r2t);
ISCSI_BOOL(iscsi_param_, iscsi_params_of, immediate_data);
ISCSI_NUMBER(iscsi_param_, iscsi_params_of, max_recv_data_segment_length, ISCSI_SEGMENT_MIN, ISCSI_SEGMENT_MAX);
ISCSI_NUMBER(iscsi_param_, iscsi_params_of, max_burst_length, ISCSI_SEGMENT_MIN, ISCSI_SEGMENT_MAX);
ISCSI_NUMBER(iscsi_param_, iscsi_params_of, first_burst_length, ISCSI_SEGMENT_MIN, ISCSI_SEGMENT_MAX);
ISCSI_NUMBER(iscsi_param_, iscsi_params_of, max_outstanding_r2t, 1, U16_MAX);
ISCSI_NUMBER(iscsi_param_, iscsi_params_of, queue_depth, 1, ISCSI_QUEUE_DEPTH_MAX);
ISCSI_NUMBER(iscsi_param_, iscsi_params_of, nop_interval, 0, ISCSI_SECONDS_MAX);
ISCSI_NUMBER(iscsi_param_, iscsi_params_of, nop_timeout, 0, ISCSI_SECONDS_MAX);
ISCSI_NUMBER(iscsi_param_, iscsi_params_of, send_timeout, 0, ISCSI_SECONDS_MAX);

static struct configfs_attribute *iscsi_param_attrs[] = {
	&iscsi_param_attr_header_digest,
	&iscsi_param_attr_data_digest,
	&iscsi_param_attr_initial_r2t,
	&iscsi_param_attr_immediate_data,
	&iscsi_param_attr_max_recv_data_segment_length,
	&iscsi_param_attr_max_burst_length,
	&iscsi_param_attr_first_burst_length,
	&iscsi_param_attr_max_outstanding_r2t,
	&iscsi_param_attr_queue_depth,
	&iscsi_param_attr_nop_interval,
	&iscsi_param_attr_nop_timeout,
	&iscsi_param_attr_send_timeout,
	NULL,
};

static const struct config_item_type iscsi_params_type = {
	.ct_owner	= THIS_MODULE,
	.ct_attrs	= iscsi_param_attrs,
};

/* --- a target comes and goes --------------------------------------------------------------------------------- */

static void iscsi_target_config_default(struct iscsi_target_config *config)
{
	strscpy(config->chap_algorithms, "sha3-256,sha256,sha1,md5", sizeof(config->chap_algorithms));
	config->immediate_data = true;
	config->max_recv_data_segment_length = 262144;
	config->max_burst_length = 1048576;
	config->first_burst_length = 262144;
	config->max_outstanding_r2t = 8;
	config->queue_depth = 128;
	config->nop_interval = 15;
	config->nop_timeout = 30;
	config->send_timeout = 60;
}

/**
 * iscsi_target_config_init() - what is configured of a new target, and its directories
 * @target: zeroed but for the core's part
 *
 * In the driver's init().  Return: 0 or -ENOMEM; iscsi_target_config_free() is to follow in both cases.
 */
int iscsi_target_config_init(struct iscsi_target *target)
{
	struct iscsi_target_config *config = &target->config;
	struct scst_target *tgt = &target->scst;

	INIT_LIST_HEAD(&config->entry);
	config->portals = iscsi_portal_links_alloc();
	if (!config->portals)
		return -ENOMEM;
	config->name = tgt->name;
	iscsi_target_config_default(config);
	config_group_init_type_name(&config->params, "params", &iscsi_params_type);
	iscsi_users_init(&config->users);
	scst_target_add_group(tgt, &config->params);
	scst_target_add_group(tgt, config->portals);
	scst_target_add_group(tgt, &config->users.group);
	iscsi_users_publish(config);
	iscsi_config_changed();
	return 0;
}

/**
 * iscsi_target_config_free() - the end of it
 * @target: the target
 *
 * In the driver's free(): its directories are gone, and who looks at the configuration is told now, also if it was never enabled.
 */
void iscsi_target_config_free(struct iscsi_target *target)
{
	struct iscsi_target_config *config = &target->config;

	iscsi_users_withdraw(config);
	if (config->portals)
		config_group_put(config->portals);
	iscsi_config_changed();
}
