// SPDX-License-Identifier: GPL-2.0-only
/*
 * configfs: what is reserved on a device, and for whom (devices/HANDLER/NAME/pr).
 *
 * In `state`, lines of words.  First what there is one of, then a line for each registrant, in the order in which they came.
 */
#include "core.h"

#define SCST_PR_SLACK	1024	/* for registrants that come between the two reads of configfs */

static const char *const scst_pr_type_names[] = {
	[SCST_PR_NONE]			= "none",
	[SCST_PR_WRITE_EXCLUSIVE]	= "write_exclusive",
	[SCST_PR_EXCLUSIVE_ACCESS]	= "exclusive_access",
	[SCST_PR_WRITE_EXCLUSIVE_RO]	= "write_exclusive_registrants_only",
	[SCST_PR_EXCLUSIVE_ACCESS_RO]	= "exclusive_access_registrants_only",
	[SCST_PR_WRITE_EXCLUSIVE_AR]	= "write_exclusive_all_registrants",
	[SCST_PR_EXCLUSIVE_ACCESS_AR]	= "exclusive_access_all_registrants",
};

static struct scst_device *scst_pr_dir_device(struct config_item *item)
{
	return container_of(to_config_group(item), struct scst_device, pr_group);
}

static void scst_pr_print_registrant(struct scst_text *text, const struct scst_pr *pr, u32 registrant)
{
	const struct scst_pr_registrant *reg = &pr->reg[registrant];
	char hex[2 * SCST_TRANSPORT_ID_MAX + 1], line[sizeof(hex) + 64];
	int len;

	*bin2hex(hex, reg->nexus.id.bytes, reg->nexus.id.len) = '\0';
	len = scnprintf(line, sizeof(line), "registrant 0x%016llx %u %s%s\n", reg->key, reg->nexus.port, hex,
			scst_pr_is_holder(pr, registrant) ? " holder" : "");
	scst_text_add(text, line, len);
}

static void scst_pr_print(struct scst_text *text, const struct scst_pr *pr)
{
	char line[128];
	u32 i;

	scst_text_add(text, line, scnprintf(line, sizeof(line), "generation %u\ntype %s\naptpl %d\nlost %d\n",
					    pr->generation, scst_pr_type_names[pr->type], pr->aptpl, pr->lost));
	for (i = 0; i < pr->nr; i++)
		scst_pr_print_registrant(text, pr, i);
}

/* Who has it by RESERVE. */
static void scst_reserve_print(struct scst_text *text, struct scst_device *dev)
{
	char line[SCST_TARGET_NAME_LEN + SCST_INITIATOR_NAME_LEN + 64];
	int len = 0;

	spin_lock_bh(&dev->nexus_lock);
	if (dev->reserved) {
		const struct scst_session *sess = dev->reserved->sess;

		len = scnprintf(line, sizeof(line), "reserve %s/%s %s\n", sess->driver->name, sess->tgt->name,
				sess->initiator);
	}
	spin_unlock_bh(&dev->nexus_lock);
	scst_text_add(text, line, len);
}

/* The rest of the room is empty lines; -EAGAIN: there came more between the two calls. */
static ssize_t scst_pr_dir_state_read(struct config_item *item, void *buf, size_t size)
{
	struct scst_device *dev = scst_pr_dir_device(item);
	struct scst_text text = { .buf = buf, .size = buf ? size : 0 };

	rcu_read_lock();
	scst_pr_print(&text, scst_reserve_persistent(dev));
	rcu_read_unlock();
	scst_reserve_print(&text, dev);
	if (!buf)
		return text.at + SCST_PR_SLACK;
	if (text.at > size)
		return -EAGAIN;
	memset(buf + text.at, '\n', size - text.at);
	return size;
}
CONFIGFS_BIN_ATTR_RO(scst_pr_dir_, state, NULL, 0);

static struct configfs_bin_attribute *scst_pr_dir_bin_attrs[] = {
	&scst_pr_dir_attr_state,
	NULL,
};

/* Like `commit`: the generation of what is to be cleared. */
static ssize_t scst_pr_dir_clear_store(struct config_item *item, const char *page, size_t count)
{
	char text[SCST_WORD_LEN];
	const char *word;
	u64 generation, until;
	int ret = scst_parse_within(page, text, &word, &until) ?: scst_parse_u64(word, U32_MAX, &generation);

	return ret ?: scst_pr_clear(scst_pr_dir_device(item), generation, until) ?: count;
}
CONFIGFS_ATTR_WO(scst_pr_dir_, clear);

static struct configfs_attribute *scst_pr_dir_attrs[] = {
	&scst_pr_dir_attr_clear,
	NULL,
};

static const struct config_item_type scst_pr_dir_type = {
	.ct_attrs	= scst_pr_dir_attrs,
	.ct_bin_attrs	= scst_pr_dir_bin_attrs,
	.ct_owner	= THIS_MODULE,
};

/* devices/HANDLER/NAME/pr of a new device. */
void scst_pr_dir_init(struct scst_device *dev)
{
	config_group_init_type_name(&dev->pr_group, "pr", &scst_pr_dir_type);
	configfs_add_default_group(&dev->pr_group, &dev->group);
}
