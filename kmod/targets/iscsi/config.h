/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is configured of iSCSI: drivers/iscsi/ and what is under targets/iscsi/NAME/ beside the core's.
 *
 * Most of it is for who logs initiators in: the kernel checks and stores it, and says when it changes.  Texts, secrets and lists are
 * under iscsi_config_lock, which nobody holds for longer than it takes to copy them; numbers are read at any time.
 */
#ifndef ISCSI_CONFIG_H
#define ISCSI_CONFIG_H

#include <linux/configfs.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sysfs.h>
#include "scst_target.h"
#include "uapi/scst_iscsi.h"

#define ISCSI_HOST_LEN		255		/* of a name in the DNS, and of a network namespace */
#define ISCSI_HOST_PORT_LEN	(ISCSI_HOST_LEN + sizeof("[]:65535") - 1)
#define ISCSI_ALIAS_LEN		255
#define ISCSI_ALGORITHMS_LEN	63
#define ISCSI_SOURCE_LEN	255
#define ISCSI_NOBODY		"waiting: for scst-iscsid"	/* a state that nobody has told */
#define ISCSI_SECRET_MIN	12		/* bytes: the 96 bits of RFC 7143 9.2.1 */

/* users/: of a target, or of discovery */
struct iscsi_users {
	struct config_group group;
	struct list_head list;			/* struct iscsi_user */
};

/**
 * struct iscsi_target_config - what is configured of a target
 * @entry: in the list of all
 * @name: of the target
 * @portals: its directory portals/, with a life of its own: see portal.c
 * @params: its directory params/
 * @users: its directory users/
 * @max_sessions: that it has at a time, 0: no limit
 *
 * The rest is for who logs initiators in.  Made by iscsi_target_config_init().
 */
struct iscsi_target_config {
	struct list_head entry;
	const char *name;
	struct config_group *portals;
	struct config_group params;
	struct iscsi_users users;
	u32 max_sessions;

	char alias[ISCSI_ALIAS_LEN + 1];
	u8 auth;
	char chap_algorithms[ISCSI_ALGORITHMS_LEN + 1];
	char redirect[ISCSI_HOST_PORT_LEN + 1];
	char redirect_permanent[ISCSI_HOST_PORT_LEN + 1];

	u8 header_digest;
	u8 data_digest;
	bool initial_r2t;
	bool immediate_data;
	u32 max_recv_data_segment_length;
	u32 max_burst_length;
	u32 first_burst_length;
	u32 max_outstanding_r2t;
	u32 queue_depth;
	u32 nop_interval;
	u32 nop_timeout;
	u32 send_timeout;
};

/**
 * struct iscsi_target - a target
 * @scst: the core's
 * @config: what is configured
 * @entry: of those that are enabled: see session.c
 * @reset_work: its sessions are to end
 */
struct iscsi_target {
	struct scst_target scst;
	struct iscsi_target_config config;
	struct list_head entry;
	struct work_struct reset_work;
};

static inline struct iscsi_target *iscsi_target_of(struct scst_target *tgt)
{
	return container_of(tgt, struct iscsi_target, scst);
}

/* --- for the rest of the driver -------------------------------------------------------------------- */

extern struct config_group iscsi_driver_group;
extern struct configfs_attribute *iscsi_target_attrs[];

void iscsi_driver_group_init(void);
int iscsi_target_config_init(struct iscsi_target *target);
void iscsi_target_config_free(struct iscsi_target *target);
int iscsi_secret_get(const char *target, const char *user, u8 secret[SCST_ISCSI_SECRET_MAX], u32 *len);
bool iscsi_target_exists(const char *name);
u32 iscsi_memory_limit(void);
int iscsi_portal_set_state(const char *name, const char *state, const void *by);
void iscsi_portal_forget(const void *by);
int iscsi_isns_set_state(const char *state, const void *by);
void iscsi_isns_forget(const void *by);

/* Something is different: called after it has changed, by process context that may hold locks of configfs; must not wait. */
void iscsi_config_changed(void);

/* --- between the files of configfs ------------------------------------------------------------------ */

extern struct mutex iscsi_config_lock;
extern struct iscsi_users iscsi_discovery_users;

void iscsi_portals_init(struct config_group *parent);
struct config_group *iscsi_portal_links_alloc(void);
void iscsi_users_init(struct iscsi_users *users);
void iscsi_users_publish(struct iscsi_target_config *config);
void iscsi_users_withdraw(struct iscsi_target_config *config);

extern const char *const iscsi_auths[];		/* of a target, and of discovery: ISCSI_AUTHS words */
#define ISCSI_AUTHS	2

ssize_t iscsi_store_bool(const char *page, size_t count, bool *where);
ssize_t iscsi_store_number(const char *page, size_t count, u32 min, u32 max, u32 *where);
ssize_t iscsi_store_word(const char *page, size_t count, const char *const *words, size_t nr, u8 *where);
ssize_t iscsi_show_text(char *page, const char *where);
ssize_t iscsi_store_text(const char *page, size_t count, int (*check)(const char *text), char *where, size_t size);
bool iscsi_is_ipv4(const char *text, size_t len);
bool iscsi_is_ipv6(const char *text, size_t len);
int iscsi_host_port_check(const char *text);

/* Attributes of what @of_ makes of a config_item: their values are in members of their names. */
#define ISCSI_NUMBER(prefix_, of_, name_, min_, max_)							\
static ssize_t prefix_##name_##_show(struct config_item *item, char *page)				\
{													\
	return sysfs_emit(page, "%u\n", READ_ONCE(of_(item)->name_));					\
}													\
													\
static ssize_t prefix_##name_##_store(struct config_item *item, const char *page, size_t count)	\
{													\
	return iscsi_store_number(page, count, min_, max_, &of_(item)->name_);				\
}													\
CONFIGFS_ATTR(prefix_, name_)

#define ISCSI_BOOL(prefix_, of_, name_)									\
static ssize_t prefix_##name_##_show(struct config_item *item, char *page)				\
{													\
	return sysfs_emit(page, "%d\n", READ_ONCE(of_(item)->name_));					\
}													\
													\
static ssize_t prefix_##name_##_store(struct config_item *item, const char *page, size_t count)	\
{													\
	return iscsi_store_bool(page, count, &of_(item)->name_);					\
}													\
CONFIGFS_ATTR(prefix_, name_)

#define ISCSI_WORD(prefix_, of_, name_, words_, nr_)							\
static ssize_t prefix_##name_##_show(struct config_item *item, char *page)				\
{													\
	return sysfs_emit(page, "%s\n", (words_)[READ_ONCE(of_(item)->name_)]);				\
}													\
													\
static ssize_t prefix_##name_##_store(struct config_item *item, const char *page, size_t count)	\
{													\
	return iscsi_store_word(page, count, words_, nr_, &of_(item)->name_);				\
}													\
CONFIGFS_ATTR(prefix_, name_)

#define ISCSI_TEXT(prefix_, of_, name_, check_)								\
static ssize_t prefix_##name_##_show(struct config_item *item, char *page)				\
{													\
	return iscsi_show_text(page, of_(item)->name_);							\
}													\
													\
static ssize_t prefix_##name_##_store(struct config_item *item, const char *page, size_t count)	\
{													\
	return iscsi_store_text(page, count, check_, of_(item)->name_, sizeof(of_(item)->name_));	\
}													\
CONFIGFS_ATTR(prefix_, name_)

#endif /* ISCSI_CONFIG_H */
