// SPDX-License-Identifier: GPL-2.0-only
/*
 * drivers/iscsi/ in configfs: what is not a target's, and the syntax that all values of iSCSI share.
 */
#include "config.h"
#include <linux/ctype.h>
#include <linux/inet.h>
#include <linux/string.h>

/* Texts, secrets, and the lists of portals, users and targets. */
DEFINE_MUTEX(iscsi_config_lock);

const char *const iscsi_auths[] = { "none", "chap" };
static_assert(ARRAY_SIZE(iscsi_auths) == ISCSI_AUTHS);

/* --- values ------------------------------------------------------------------------------------------ */

ssize_t iscsi_store_bool(const char *page, size_t count, bool *where)
{
	bool value;
	int ret = scst_parse_bool(page, &value);

	if (ret)
		return ret;
	WRITE_ONCE(*where, value);
	iscsi_config_changed();
	return count;
}

ssize_t iscsi_store_number(const char *page, size_t count, u32 min, u32 max, u32 *where)
{
	u64 value;
	int ret = scst_parse_u64(page, max, &value);

	if (!ret && value < min)
		ret = -ERANGE;
	if (ret)
		return ret;
	WRITE_ONCE(*where, value);
	iscsi_config_changed();
	return count;
}

ssize_t iscsi_store_word(const char *page, size_t count, const char *const *words, size_t nr, u8 *where)
{
	int word = __sysfs_match_string(words, nr, page);

	if (word < 0)
		return word;
	WRITE_ONCE(*where, word);
	iscsi_config_changed();
	return count;
}

ssize_t iscsi_show_text(char *page, const char *where)
{
	ssize_t len;

	mutex_lock(&iscsi_config_lock);
	len = sysfs_emit(page, "%s\n", where);
	mutex_unlock(&iscsi_config_lock);
	return len;
}

/**
 * iscsi_store_text() - store a text, without the newline at its end
 * @page: what is written, with a NUL behind it
 * @count: bytes of it
 * @check: is such a text, which is not empty, one of ours?  0 or a negative errno; NULL: each is
 * @where: memory for it, read under iscsi_config_lock
 * @size: of @where
 *
 * Process context.  Return: @count, -ENAMETOOLONG, -EINVAL for one with a NUL, what @check returns.
 */
ssize_t iscsi_store_text(const char *page, size_t count, int (*check)(const char *text), char *where, size_t size)
{
	size_t len = count && page[count - 1] == '\n' ? count - 1 : count;
	char text[ISCSI_HOST_PORT_LEN + 1];
	int ret = 0;

	if (len >= min(size, sizeof(text)))
		return -ENAMETOOLONG;
	memcpy(text, page, len);
	text[len] = '\0';
	if (strlen(text) != len)
		return -EINVAL;
	if (len && check)
		ret = check(text);
	if (ret)
		return ret;
	mutex_lock(&iscsi_config_lock);
	strscpy(where, text, size);
	mutex_unlock(&iscsi_config_lock);
	iscsi_config_changed();
	return count;
}

/* These @len bytes, all of them?  (The kernel's parsers are content with a beginning.) */
bool iscsi_is_ipv4(const char *text, size_t len)
{
	const char *end;
	u8 addr[4];

	return in4_pton(text, len, addr, -1, &end) && end == text + len;
}

bool iscsi_is_ipv6(const char *text, size_t len)
{
	const char *end;
	u8 addr[16];

	return in6_pton(text, len, addr, -1, &end) && end == text + len;
}

static int iscsi_port_check(const char *text)
{
	u64 port;
	int ret = scst_parse_u64(text, U16_MAX, &port);

	return ret ?: port ? 0 : -ERANGE;
}

/* What only looks like an address is none: no host's name ends with a number. */
static int iscsi_host_check(const char *host, size_t len)
{
	size_t i;

	if (!len || len > ISCSI_HOST_LEN || host[0] == '-' || host[0] == '.')
		return -EINVAL;
	for (i = 0; i < len; i++)
		if (!isascii(host[i]) || (!isalnum(host[i]) && !strchr("-._", host[i])))
			return -EINVAL;
	for (i = len; i && isdigit(host[i - 1]); i--)
		;
	if (i == len || (i && host[i - 1] != '.'))
		return 0;
	return iscsi_is_ipv4(host, len) ? 0 : -EINVAL;
}

/**
 * iscsi_host_port_check() - is this where an initiator may be sent to: HOST, HOST:PORT?
 * @text: where HOST is a name, an IPv4 address, or an IPv6 address in brackets
 *
 * Any context.  Return: 0, -EINVAL, -ERANGE for a port that is none.
 */
int iscsi_host_port_check(const char *text)
{
	const char *end;

	if (text[0] == '[') {
		end = strchr(text, ']');
		if (!end || !iscsi_is_ipv6(text + 1, end - text - 1))
			return -EINVAL;
		end++;
	} else {
		end = strchrnul(text, ':');
		if (iscsi_host_check(text, end - text))
			return -EINVAL;
	}
	if (!*end)
		return 0;
	return *end == ':' ? iscsi_port_check(end + 1) : -EINVAL;
}

/* --- drivers/iscsi ------------------------------------------------------------------------------------ */

static struct {
	u32 max_connections;
	u32 max_half_open;
	u32 login_timeout;		/* seconds */
	u32 memory_limit;		/* bytes; in the kernel: see room.c */
} iscsi_limits = {
	.max_connections	= 4096,
	.max_half_open		= 1024,
	.login_timeout		= 15,
	.memory_limit		= SZ_256M,
};

u32 iscsi_memory_limit(void)
{
	return READ_ONCE(iscsi_limits.memory_limit);
}

#define iscsi_limits_of(item)	(&iscsi_limits)

ISCSI_NUMBER(iscsi_driver_, iscsi_limits_of, max_connections, 1, 65535);
ISCSI_NUMBER(iscsi_driver_, iscsi_limits_of, max_half_open, 1, 65535);
ISCSI_NUMBER(iscsi_driver_, iscsi_limits_of, login_timeout, 1, 3600);
ISCSI_NUMBER(iscsi_driver_, iscsi_limits_of, memory_limit, SZ_1M, U32_MAX);

/* The server that targets are registered with, and what who does so says of it: under iscsi_config_lock. */
static struct {
	char isns_server[ISCSI_HOST_PORT_LEN + 1];
	char state[SCST_ISCSI_STATE];
	const void *told_by;		/* who has said so, while he is there */
} iscsi_isns = {
	.state	= ISCSI_NOBODY,
};

#define iscsi_isns_of(item)	(&iscsi_isns)

ISCSI_TEXT(iscsi_driver_, iscsi_isns_of, isns_server, iscsi_host_port_check);

static ssize_t iscsi_driver_isns_state_show(struct config_item *item, char *page)
{
	ssize_t len;

	mutex_lock(&iscsi_config_lock);
	len = sysfs_emit(page, "%s\n", iscsi_isns.isns_server[0] ? iscsi_isns.state : "off");
	mutex_unlock(&iscsi_config_lock);
	return len;
}

CONFIGFS_ATTR_RO(iscsi_driver_, isns_state);

/**
 * iscsi_isns_set_state() - what `isns_state` is to show, if there is a server
 * @state: one line
 * @by: who says so: shown until he says something else, or iscsi_isns_forget()
 *
 * Process context, may sleep.  Return: 0, -EINVAL for more than a line.
 */
int iscsi_isns_set_state(const char *state, const void *by)
{
	if (strlen(state) >= SCST_ISCSI_STATE || strchr(state, '\n'))
		return -EINVAL;
	mutex_lock(&iscsi_config_lock);
	strscpy(iscsi_isns.state, state, sizeof(iscsi_isns.state));
	iscsi_isns.told_by = by;
	mutex_unlock(&iscsi_config_lock);
	return 0;
}

/**
 * iscsi_isns_forget() - what somebody has said of the server is not so any more
 * @by: he is gone
 *
 * What a successor has said meanwhile stays.  Process context, may sleep.
 */
void iscsi_isns_forget(const void *by)
{
	mutex_lock(&iscsi_config_lock);
	if (iscsi_isns.told_by == by) {
		strscpy(iscsi_isns.state, ISCSI_NOBODY, sizeof(iscsi_isns.state));
		iscsi_isns.told_by = NULL;
	}
	mutex_unlock(&iscsi_config_lock);
}

static struct configfs_attribute *iscsi_driver_attrs[] = {
	&iscsi_driver_attr_max_connections,
	&iscsi_driver_attr_max_half_open,
	&iscsi_driver_attr_login_timeout,
	&iscsi_driver_attr_memory_limit,
	&iscsi_driver_attr_isns_server,
	&iscsi_driver_attr_isns_state,
	NULL,
};

static const struct config_item_type iscsi_driver_type = {
	.ct_owner	= THIS_MODULE,
	.ct_attrs	= iscsi_driver_attrs,
};

struct config_group iscsi_driver_group;
struct iscsi_users iscsi_discovery_users;

/** iscsi_driver_group_init() - make drivers/iscsi ready to be registered; from the module's init. */
void iscsi_driver_group_init(void)
{
	config_group_init_type_name(&iscsi_driver_group, "iscsi", &iscsi_driver_type);
	iscsi_portals_init(&iscsi_driver_group);
	iscsi_users_init(&iscsi_discovery_users);
	configfs_add_default_group(&iscsi_discovery_users.group, &iscsi_driver_group);
}
