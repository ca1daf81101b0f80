// SPDX-License-Identifier: GPL-2.0-only
/*
 * faults/ in configfs: what is injected on purpose, see fault.c.
 *
 * A fault is set while it is not in force, and in force from `enabled` on.  Nothing of it is staged: it does not belong to what initiators
 * are given, and nobody saves it.
 */
#include "core.h"
#include <linux/ctype.h>

#define SCST_FAULT_DELAY	1000	/* default, milliseconds */
#define SCST_FAULT_COUNT_MAX	U32_MAX

static struct scst_fault *scst_fault_of(struct config_item *item)
{
	return container_of(item, struct scst_fault, item);
}

/* --- settings: how each is shown, and understood ------------------------------------------------------- */

/* A text of at most @max characters; on success with its end where the newline was. */
static int scst_fault_copy(char *to, size_t max, const char *page, size_t count)
{
	size_t len = count && page[count - 1] == '\n' ? count - 1 : count;

	if (len > max)
		return -ENAMETOOLONG;
	memcpy(to, page, len);
	to[len] = '\0';
	return strlen(to) == len ? 0 : -EINVAL;
}

static int scst_fault_print_target(const struct scst_fault *fault, char *page)
{
	return sysfs_emit(page, "%s\n", fault->target);
}

/* DRIVER/TARGET, which need not be there. */
static int scst_fault_check_target(const char *text)
{
	const char *slash = strchr(text, '/');
	char driver[64 + 1];
	int ret;

	if (!strcmp(text, SCST_FAULT_ANY))
		return 0;
	if (!slash)
		return -EINVAL;
	if (slash - text >= sizeof(driver))
		return -ENAMETOOLONG;
	memcpy(driver, text, slash - text);
	driver[slash - text] = '\0';
	ret = scst_name_check(driver, sizeof(driver) - 1, "");
	return ret ?: scst_name_check(slash + 1, SCST_TARGET_NAME_LEN, "+@,");
}

static int scst_fault_parse_target(struct scst_fault *fault, const char *page, size_t count)
{
	char text[sizeof(fault->target)];
	int ret = scst_fault_copy(text, sizeof(text) - 1, page, count) ?: scst_fault_check_target(text);

	if (!ret)
		strscpy(fault->target, text, sizeof(fault->target));
	return ret;
}

static int scst_fault_print_group(const struct scst_fault *fault, char *page)
{
	return sysfs_emit(page, "%s\n", fault->group);
}

/* No group can be called as what stands for all, or for none. */
static int scst_fault_check_group(const char *text)
{
	if (!strcmp(text, SCST_FAULT_ANY) || !strcmp(text, SCST_FAULT_NO_GROUP))
		return 0;
	return scst_name_check(text, SCST_DEVICE_NAME_LEN, "");
}

static int scst_fault_parse_group(struct scst_fault *fault, const char *page, size_t count)
{
	char text[sizeof(fault->group)];
	int ret = scst_fault_copy(text, sizeof(text) - 1, page, count) ?: scst_fault_check_group(text);

	if (!ret)
		strscpy(fault->group, text, sizeof(fault->group));
	return ret;
}

/* The LUN as it is written. */
void scst_fault_lun_text(const struct scst_fault *fault, char text[SCST_FAULT_LUN_LEN])
{
	if (fault->lun == SCST_LUN_INVALID)
		strscpy(text, SCST_FAULT_ANY, SCST_FAULT_LUN_LEN);
	else
		scnprintf(text, SCST_FAULT_LUN_LEN, "%u", fault->lun);
}

static int scst_fault_print_lun(const struct scst_fault *fault, char *page)
{
	char text[SCST_FAULT_LUN_LEN];

	scst_fault_lun_text(fault, text);
	return sysfs_emit(page, "%s\n", text);
}

static int scst_fault_parse_lun(struct scst_fault *fault, const char *page, size_t count)
{
	u64 lun = SCST_LUN_INVALID;
	int ret = sysfs_streq(page, SCST_FAULT_ANY) ? 0 : scst_parse_u64(page, SCST_MAX_LUN, &lun);

	if (!ret)
		fault->lun = lun;
	return ret;
}

static int scst_fault_print_action(const struct scst_fault *fault, char *page)
{
	return sysfs_emit(page, "%s\n", scst_fault_actions[fault->action]);
}

static int scst_fault_parse_action(struct scst_fault *fault, const char *page, size_t count)
{
	int action = __sysfs_match_string(scst_fault_actions, SCST_FAULT_ACTIONS, page);

	if (action < 0)
		return action;
	fault->action = action;
	return 0;
}

static const char *const scst_fault_kinds[] = {
	[SCST_FAULT_ALL]	= "all",
	[SCST_FAULT_READS]	= "reads",
	[SCST_FAULT_WRITES]	= "writes",
};

static int scst_fault_print_commands(const struct scst_fault *fault, char *page)
{
	if (fault->commands == SCST_FAULT_OPCODE)
		return sysfs_emit(page, "0x%02x\n", fault->opcode);
	return sysfs_emit(page, "%s\n", scst_fault_kinds[fault->commands]);
}

static int scst_fault_parse_commands(struct scst_fault *fault, const char *page, size_t count)
{
	int kind = __sysfs_match_string(scst_fault_kinds, ARRAY_SIZE(scst_fault_kinds), page), ret;
	u64 opcode;

	if (kind >= 0) {
		fault->commands = kind;
		return 0;
	}
	if (page[0] != '0' || tolower(page[1]) != 'x')
		return -EINVAL;
	ret = scst_parse_u64(page, U8_MAX, &opcode);
	if (ret)
		return ret;
	fault->commands = SCST_FAULT_OPCODE;
	fault->opcode = opcode;
	return 0;
}

static int scst_fault_print_sense(const struct scst_fault *fault, char *page)
{
	return sysfs_emit(page, "%x/%02x/%02x\n", fault->sense >> 16, fault->sense >> 8 & 0xff, fault->sense & 0xff);
}

/* Up to @max hexadecimal digits and what is behind them.  NULL: there are none. */
static const char *scst_fault_parse_hex(const char *text, unsigned int max, char behind, u8 *value)
{
	unsigned int digits = 0;

	*value = 0;
	while (digits < max && isxdigit(text[digits]))
		*value = *value << 4 | hex_to_bin(text[digits++]);
	return digits && text[digits] == behind ? text + digits + !!behind : NULL;
}

/* What a command has not done must not be taken for done: initiators take the data of one that ends with these keys. */
static bool scst_fault_is_success(u8 key)
{
	return key == NO_SENSE || key == RECOVERED_ERROR || key == 0xf;
}

static int scst_fault_parse_sense(struct scst_fault *fault, const char *page, size_t count)
{
	char text[sizeof("b/11/00")];
	u8 key, asc, ascq;
	const char *c;

	if (scst_fault_copy(text, sizeof(text) - 1, page, count))
		return -EINVAL;
	c = scst_fault_parse_hex(text, 1, '/', &key);
	c = c ? scst_fault_parse_hex(c, 2, '/', &asc) : NULL;
	c = c ? scst_fault_parse_hex(c, 2, '\0', &ascq) : NULL;
	if (!c)
		return -EINVAL;
	if (scst_fault_is_success(key))
		return -ERANGE;
	fault->sense = SCST_SENSE((u32)key, asc, ascq);
	return 0;
}

/* A number, @min_ to @max_. */
#define SCST_FAULT_NUMBER(name_, field_, min_, max_)						\
static int scst_fault_print_##name_(const struct scst_fault *fault, char *page)		\
{												\
	return sysfs_emit(page, "%llu\n", (u64)fault->field_);					\
}												\
												\
static int scst_fault_parse_##name_(struct scst_fault *fault, const char *page, size_t count)	\
{												\
	u64 value;										\
	int ret = scst_parse_u64(page, max_, &value);						\
												\
	if (ret || value < (min_))								\
		return ret ?: -ERANGE;								\
	fault->field_ = value;									\
	return 0;										\
}

SCST_FAULT_NUMBER(delay_ms, delay_ms, 1, SCST_FAULT_DELAY_MAX)
SCST_FAULT_NUMBER(probability, chance.permille, 1, SCST_CHANCE_SURE)
SCST_FAULT_NUMBER(seed, chance.seed, 0, U64_MAX)
SCST_FAULT_NUMBER(count, chance.count, 0, SCST_FAULT_COUNT_MAX)

/* --- attributes ------------------------------------------------------------------------------------------ */

#define SCST_FAULT_ATTR(name_)									\
static ssize_t scst_fault_##name_##_show(struct config_item *item, char *page)			\
{												\
	ssize_t len;										\
												\
	mutex_lock(&scst_fault_mutex);								\
	len = scst_fault_print_##name_(scst_fault_of(item), page);				\
	mutex_unlock(&scst_fault_mutex);							\
	return len;										\
}												\
												\
static ssize_t scst_fault_##name_##_store(struct config_item *item, const char *page, size_t count)	\
{												\
	struct scst_fault *fault = scst_fault_of(item);						\
	int ret;										\
												\
	mutex_lock(&scst_fault_mutex);								\
	ret = fault->place >= 0 ? -EBUSY : scst_fault_parse_##name_(fault, page, count);	\
	mutex_unlock(&scst_fault_mutex);							\
	return ret ?: count;									\
}												\
CONFIGFS_ATTR(scst_fault_, name_)

SCST_FAULT_ATTR(target);
SCST_FAULT_ATTR(group);
SCST_FAULT_ATTR(lun);
SCST_FAULT_ATTR(commands);
SCST_FAULT_ATTR(action);
SCST_FAULT_ATTR(delay_ms);
SCST_FAULT_ATTR(sense);
SCST_FAULT_ATTR(probability);
SCST_FAULT_ATTR(seed);
SCST_FAULT_ATTR(count);

static ssize_t scst_fault_hits_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%llu\n", scst_fault_hits(scst_fault_of(item)));
}

static ssize_t scst_fault_enabled_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "%d\n", READ_ONCE(scst_fault_of(item)->place) >= 0);
}

static int scst_fault_set_enabled(struct scst_fault *fault, bool on)
{
	int ret = 0;

	mutex_lock(&scst_fault_mutex);
	if (on && fault->place < 0)
		ret = scst_fault_begin(fault);
	else if (!on && fault->place >= 0)
		scst_fault_end(fault);
	mutex_unlock(&scst_fault_mutex);
	return ret;
}

static ssize_t scst_fault_enabled_store(struct config_item *item, const char *page, size_t count)
{
	bool on;
	int ret = scst_parse_bool(page, &on) ?: scst_fault_set_enabled(scst_fault_of(item), on);

	return ret ?: count;
}

CONFIGFS_ATTR_RO(scst_fault_, hits);
CONFIGFS_ATTR(scst_fault_, enabled);

static struct configfs_attribute *scst_fault_attrs[] = {
	&scst_fault_attr_target,
	&scst_fault_attr_group,
	&scst_fault_attr_lun,
	&scst_fault_attr_commands,
	&scst_fault_attr_action,
	&scst_fault_attr_delay_ms,
	&scst_fault_attr_sense,
	&scst_fault_attr_probability,
	&scst_fault_attr_seed,
	&scst_fault_attr_count,
	&scst_fault_attr_hits,
	&scst_fault_attr_enabled,
	NULL,
};

/* --- faults/NAME ------------------------------------------------------------------------------------------- */

static void scst_fault_release(struct config_item *item)
{
	kfree(scst_fault_of(item));
}

static struct configfs_item_operations scst_fault_item_ops = {
	.release	= scst_fault_release,
};

static struct config_item_type scst_fault_type = {
	.ct_owner	= THIS_MODULE,
	.ct_item_ops	= &scst_fault_item_ops,
	.ct_attrs	= scst_fault_attrs,
};

static struct config_item *scst_fault_make(struct config_group *parent, const char *name)
{
	int ret = scst_name_check(name, SCST_DEVICE_NAME_LEN, "");
	struct scst_fault *fault;

	if (ret)
		return ERR_PTR(ret);
	fault = kzalloc(sizeof(*fault), GFP_KERNEL);
	if (!fault)
		return ERR_PTR(-ENOMEM);
	strscpy(fault->target, SCST_FAULT_ANY, sizeof(fault->target));
	strscpy(fault->group, SCST_FAULT_ANY, sizeof(fault->group));
	fault->lun = SCST_LUN_INVALID;
	fault->action = SCST_FAULT_BUSY;
	fault->delay_ms = SCST_FAULT_DELAY;
	fault->sense = SCST_SENSE_READ_ERROR;
	fault->chance.permille = SCST_CHANCE_SURE;
	fault->place = -1;
	spin_lock_init(&fault->lock);
	config_item_init_type_name(&fault->item, name, &scst_fault_type);
	if (!config_item_name(&fault->item)) {
		config_item_put(&fault->item);
		return ERR_PTR(-ENOMEM);
	}
	return &fault->item;
}

static void scst_fault_drop(struct config_group *parent, struct config_item *item)
{
	scst_fault_set_enabled(scst_fault_of(item), false);
	scst_item_drop(item);
}

static struct configfs_group_operations scst_fault_root_group_ops = {
	.make_item	= scst_fault_make,
	.drop_item	= scst_fault_drop,
};

static struct config_item_type scst_fault_root_type = {
	.ct_owner	= THIS_MODULE,
	.ct_group_ops	= &scst_fault_root_group_ops,
};

static struct config_group scst_fault_root;

/* faults/ of the tree. */
void scst_fault_root_init(struct config_group *parent)
{
	config_group_init_type_name(&scst_fault_root, "faults", &scst_fault_root_type);
	configfs_add_default_group(&scst_fault_root, parent);
}
