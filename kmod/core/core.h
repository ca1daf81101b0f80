/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of scst.ko share.
 *
 * Lock order, outermost first:
 *   target->enable_lock
 *   device->lock
 *   scst_config_mutex	wanted and published access, lists of targets, sessions and devices
 *   device->nexus_lock	(spinlock, softirq-safe) the device's list of nexuses
 *   session's tracking locks (spinlock, interrupts off), per CPU: commands that may take long
 * configfs calls mkdir and rmdir under its subsystem mutex, outside all of these.
 *
 * The command path takes none of them except the tracking lock of its own CPU.  It reads the
 * session's view under RCU and holds a percpu reference on the nexus.
 */
#ifndef SCST_CORE_H
#define SCST_CORE_H

#define pr_fmt(fmt) "scst: " fmt

#include <linux/configfs.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <scsi/scsi_proto.h>
#include "scst.h"
#include "compat.h"
#include "acl.h"

extern struct mutex scst_config_mutex;
extern struct list_head scst_targets;
extern struct list_head scst_devices;
extern struct workqueue_struct *scst_cmd_wq;
extern struct workqueue_struct *scst_retire_wq;
extern struct workqueue_struct *scst_release_wq;

/* --- cdb.c: the opcode table ---------------------------------------------------------- */

/* How the CDB names blocks. */
enum scst_cdb_format {
	SCST_CDB_PLAIN,		/* no blocks; xfer_len is the allocation or parameter list length */
	SCST_CDB_RW6,
	SCST_CDB_RW10,
	SCST_CDB_RW12,
	SCST_CDB_RW16,
};

enum scst_op_flag {
	SCST_OP_NO_UA		= 1 << 0,	/* neither reports nor clears unit attentions */
	SCST_OP_NO_LUN		= 1 << 1,	/* answered for absent logical units too */
	SCST_OP_MEDIUM		= 1 << 2,	/* needs the device active */
	SCST_OP_WRITE		= 1 << 3,	/* changes the medium: refused on read-only mappings */
	SCST_OP_STOPPED		= 1 << 4,	/* allowed while START STOP UNIT has stopped the unit */
};

/**
 * struct scst_opcode - a row of the opcode table
 * @name: for people
 * @execute: checks the rest of the CDB and answers, or hands to the device handler
 * @cdb_len: length of the CDB in bytes
 * @format: where LBA and length are
 * @flags: enum scst_op_flag
 * @dir: direction of the data
 * @len_at: SCST_CDB_PLAIN: byte offset of the length field
 * @len_size: bytes in that field; 0: no data
 * @cdb_mask: CDB usage: bits a command may set, per byte (SPC-4 6.35.3)
 */
struct scst_opcode {
	const char *name;
	void (*execute)(struct scst_cmd *cmd);
	u8 cdb_len;
	u8 format;
	u8 flags;
	u8 dir;
	u8 len_at;
	u8 len_size;
	u8 cdb_mask[16];
};

extern const struct scst_opcode *const scst_opcodes[256];
int scst_cdb_decode(const struct scst_opcode *op, const u8 *cdb, u64 *lba, u32 *nblocks, u32 *len);
int scst_cdb_reserved_bit(const struct scst_opcode *op, const u8 *cdb);

/* --- sense.c: sense data, and the one place where errno becomes status ----------------- */

#define SCST_SENSE(key, asc, ascq)	((key) << 16 | (asc) << 8 | (ascq))

#define SCST_SENSE_LUN_NOT_SUPPORTED	SCST_SENSE(ILLEGAL_REQUEST, 0x25, 0x00)
#define SCST_SENSE_INVALID_OPCODE	SCST_SENSE(ILLEGAL_REQUEST, 0x20, 0x00)
#define SCST_SENSE_LBA_OUT_OF_RANGE	SCST_SENSE(ILLEGAL_REQUEST, 0x21, 0x00)
#define SCST_SENSE_INVALID_FIELD_CDB	SCST_SENSE(ILLEGAL_REQUEST, 0x24, 0x00)
#define SCST_SENSE_INVALID_FIELD_LIST	SCST_SENSE(ILLEGAL_REQUEST, 0x26, 0x00)
#define SCST_SENSE_LIST_LENGTH		SCST_SENSE(ILLEGAL_REQUEST, 0x1a, 0x00)
#define SCST_SENSE_SAVING_NOT_SUPPORTED	SCST_SENSE(ILLEGAL_REQUEST, 0x39, 0x00)
#define SCST_SENSE_INVALID_MESSAGE	SCST_SENSE(ABORTED_COMMAND, 0x49, 0x00)
#define SCST_SENSE_WRITE_PROTECTED	SCST_SENSE(DATA_PROTECT, 0x27, 0x00)
#define SCST_SENSE_SPACE_ALLOCATION	SCST_SENSE(DATA_PROTECT, 0x27, 0x07)
#define SCST_SENSE_BECOMING_READY	SCST_SENSE(NOT_READY, 0x04, 0x01)
#define SCST_SENSE_START_REQUIRED	SCST_SENSE(NOT_READY, 0x04, 0x02)
#define SCST_SENSE_READ_ERROR		SCST_SENSE(MEDIUM_ERROR, 0x11, 0x00)
#define SCST_SENSE_WRITE_ERROR		SCST_SENSE(MEDIUM_ERROR, 0x0c, 0x00)
#define SCST_SENSE_TARGET_FAILURE	SCST_SENSE(HARDWARE_ERROR, 0x44, 0x00)
#define SCST_SENSE_MISCOMPARE		SCST_SENSE(MISCOMPARE, 0x1d, 0x00)
#define SCST_SENSE_TIMEOUT		SCST_SENSE(ABORTED_COMMAND, 0x08, 0x01)
#define SCST_SENSE_GUARD_CHECK		SCST_SENSE(ABORTED_COMMAND, 0x10, 0x01)

unsigned int scst_sense_build(u8 *buf, bool descriptor, u32 sense);
void scst_cmd_sense(struct scst_cmd *cmd, u32 sense);
void scst_cmd_sense_info(struct scst_cmd *cmd, u32 sense, u64 information);
void scst_cmd_invalid_cdb(struct scst_cmd *cmd, unsigned int byte, int bit);
void scst_cmd_invalid_list(struct scst_cmd *cmd, unsigned int byte, int bit);
void scst_cmd_errno(struct scst_cmd *cmd, int error);
const char *scst_errno_name(int error);

/* --- cmd.c: the life of a command ----------------------------------------------------- */

struct scst_track {
	spinlock_t lock;
	struct list_head cmds;
};

struct scst_session_pcpu {
	struct scst_track track;
	u64 commands;
	u64 read_bytes;
	u64 write_bytes;
};

void scst_cmd_respond(struct scst_cmd *cmd);
void scst_cmd_good(struct scst_cmd *cmd);
void scst_cmd_reply(struct scst_cmd *cmd, const void *data, unsigned int len);
void scst_cmd_fetch(struct scst_cmd *cmd, void *buf, unsigned int len);
void scst_cmd_to_handler(struct scst_cmd *cmd, enum scst_action action);
void scst_cmd_to_thread(struct scst_cmd *cmd, work_func_t fn);

/* --- lun.c: views and nexuses ---------------------------------------------------------- */

/**
 * struct scst_nexus - an I_T_L nexus
 * @attention: pending unit attentions (enum scst_ua, lowest bit first); 0 in the common case
 * @ref: one for the view(s) that show it, one for each command
 * @dev_entry: dev->nexuses, under dev->nexus_lock
 *
 * Made by a commit, shared by consecutive views as long as LUN and device stay the same.
 * Dropped from the published view it is killed; its last command frees it.
 */
struct scst_nexus {
	unsigned long attention;
	struct percpu_ref ref;
	struct scst_device *dev;
	struct scst_session *sess;
	u64 cookie;			/* never used twice */
	u32 lun;
	bool carried;			/* also in the view being prepared; config mutex */
	bool mode_changed;		/* read_only differs in the view being prepared */
	struct list_head dev_entry;
	struct work_struct free_work;
};

struct scst_view_entry {
	u32 lun;
	bool read_only;
	struct scst_nexus *nexus;
};

/**
 * struct scst_view - the LUNs one session sees: immutable, replaced as a whole by RCU
 */
struct scst_view {
	struct rcu_head rcu;
	struct scst_lunset *set;
	u32 nr;
	struct scst_view_entry entry[] __counted_by(nr);
};

const struct scst_view_entry *scst_view_find(const struct scst_view *view, u32 lun);
int scst_view_prepare(struct scst_session *sess, struct scst_lunset *set);
void scst_view_switch(struct scst_session *sess);
void scst_view_discard(struct scst_session *sess);
void scst_view_drop(struct scst_session *sess);
void scst_device_for_each_nexus(struct scst_device *dev, void (*fn)(struct scst_nexus *, void *),
				void *arg);

/* --- commit.c: wanted access, its publication ------------------------------------------ */

/* luns/ of a target or a group: the wanted set, and its published copy */
struct scst_lun_dir {
	struct config_group group;
	struct scst_target *tgt;
	struct list_head luns;		/* ascending */
	struct scst_lunset *set;	/* in force, NULL: empty */
	struct scst_lunset *next_set;	/* prepared by a commit */
	bool dirty;
};

struct scst_lun_item {
	struct config_item item;
	struct list_head entry;
	struct scst_lun_dir *dir;
	struct scst_device *dev;	/* NULL: no link */
	u32 lun;
	bool read_only;
};

struct scst_acl_group {
	struct config_group group;
	struct config_group initiators;
	struct scst_lun_dir *luns;
	struct scst_target *tgt;
	struct list_head entry;		/* tgt->acl_groups, while wanted */
	struct list_head patterns;
	u16 priority;
};

struct scst_acl_pattern {
	struct config_item item;
	struct list_head entry;
	struct scst_acl_group *acl_group;
};

struct scst_lunset_entry {
	struct scst_device *dev;
	u32 lun;
	bool read_only;
};

/* A set of LUNs in force; shared by the target's access and the views made from it. */
struct scst_lunset {
	struct kref kref;		/* under the config mutex */
	u32 nr;
	struct scst_lunset_entry entry[] __counted_by(nr);
};

void scst_lunset_put(struct scst_lunset *set);
int scst_access_changed(struct scst_target *tgt);
void scst_access_removed(struct scst_target *tgt);
int scst_commit(u64 base);
int scst_set_autocommit(bool on);
bool scst_autocommit(void);
bool scst_staged(void);
u64 scst_generation(void);
int scst_session_attach(struct scst_session *sess);
void scst_access_free(struct scst_target *tgt);

/* --- ua.c --------------------------------------------------------------------------------- */

/* In order of precedence. */
enum scst_ua {
	SCST_UA_POWER_ON,
	SCST_UA_RESET,
	SCST_UA_READY,
	SCST_UA_INQUIRY_CHANGED,
	SCST_UA_LUNS_CHANGED,
	SCST_UA_CAPACITY_CHANGED,
	SCST_UA_MODE_CHANGED,
	SCST_UA_NR,
};

u32 scst_ua_take(struct scst_nexus *nexus);
void scst_ua_luns_changed(struct scst_session *sess, const struct scst_view *view);
void scst_ua_luns_reported(struct scst_session *sess);
void scst_ua_device(struct scst_device *dev, enum scst_ua ua, const struct scst_nexus *except);

/* --- device.c, target.c, session.c ------------------------------------------------------- */

void scst_device_setup(struct scst_device *dev, const struct scst_handler *handler, const char *name);
void scst_retire_begin(void);
void scst_retire_flush(void);
void scst_retire_end(void);
int scst_retire_wait(void);
int scst_device_init_ref(struct scst_device *dev);
int scst_device_set_enabled(struct scst_device *dev, bool on);
int scst_device_set_active(struct scst_device *dev, bool on);
void scst_device_get(struct scst_device *dev);
void scst_device_put(struct scst_device *dev);
void scst_device_unlink(struct scst_device *dev);
void scst_device_retire(struct scst_device *dev);
bool scst_device_name_taken(const char *name);
const char *scst_device_state_name(const struct scst_device *dev);
u32 scst_device_block_size(const struct scst_device *dev);

int scst_target_setup(struct scst_target *tgt, const struct scst_target_driver *drv, const char *name);
int scst_target_set_enabled(struct scst_target *tgt, bool on);
int scst_target_set_rel_id(struct scst_target *tgt, u16 id);
void scst_target_retire(struct scst_target *tgt);
const char *scst_target_state_name(const struct scst_target *tgt);

/* --- tmf.c ------------------------------------------------------------------------------- */

extern struct workqueue_struct *scst_tmf_wq;
extern wait_queue_head_t scst_quiet;	/* woken when an aborted command leaves its list */
void scst_abort_session(struct scst_session *sess);

/* --- spc.c vpd.c mode.c sbc.c: command sets ----------------------------------------------- */

u8 scst_spc_peripheral(const struct scst_device *dev);
void scst_spc_test_unit_ready(struct scst_cmd *cmd);
void scst_spc_request_sense(struct scst_cmd *cmd);
void scst_spc_inquiry(struct scst_cmd *cmd);
void scst_spc_report_luns(struct scst_cmd *cmd);
unsigned int scst_vpd_page(const struct scst_device *dev, const struct scst_target *tgt, u8 page,
			   u8 *buf, unsigned int size);
void scst_mode_sense(struct scst_cmd *cmd);
void scst_mode_select(struct scst_cmd *cmd);
void scst_sbc_read(struct scst_cmd *cmd);
void scst_sbc_write(struct scst_cmd *cmd);
void scst_sbc_verify(struct scst_cmd *cmd);
void scst_sbc_sync(struct scst_cmd *cmd);
void scst_sbc_read_capacity10(struct scst_cmd *cmd);
void scst_sbc_service_action_in(struct scst_cmd *cmd);
void scst_sbc_start_stop(struct scst_cmd *cmd);

/* --- configfs*.c, sysfs.c, debugfs.c ------------------------------------------------------ */

int scst_configfs_init(void);
void scst_configfs_exit(void);
int scst_parse_u64(const char *page, u64 max, u64 *value);
extern struct config_group scst_devices_group;
extern struct config_group scst_targets_group;
extern struct configfs_item_operations scst_device_item_ops;
void scst_lun_dir_init(struct scst_lun_dir *dir, struct scst_target *tgt, struct config_group *parent);
int scst_target_dirs_alloc(struct scst_target *tgt);
void scst_target_dirs_free(struct scst_target *tgt);

int scst_sysfs_init(void);
void scst_sysfs_exit(void);
int scst_sysfs_add_device(struct scst_device *dev);
int scst_sysfs_add_target(struct scst_target *tgt);
int scst_sysfs_add_session(struct scst_session *sess);
void scst_sysfs_remove(struct device **classdev);
void scst_sysfs_event(struct device *classdev, const char *event, const char *state);

/* Objects alive, shown in debugfs; all zero before the module may be called idle. */
enum scst_object {
	SCST_OBJ_DEVICES,
	SCST_OBJ_TARGETS,
	SCST_OBJ_SESSIONS,
	SCST_OBJ_NEXUSES,
	SCST_OBJ_VIEWS,
	SCST_OBJ_LUNSETS,
	SCST_OBJ_ACCESSES,
	SCST_OBJ_NR,
};

extern atomic_t scst_objects[SCST_OBJ_NR];
void scst_debugfs_init(void);
void scst_debugfs_exit(void);
bool scst_fault_commit(void);
void scst_fault_commit_begin(void);
void scst_fault_commit_end(void);

#endif /* SCST_CORE_H */
