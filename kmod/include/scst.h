/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The API of the SCSI target mid-level for target drivers and device handlers.
 *
 * A command's way, one direction only:
 *
 *   driver: scst_cmd_init(), fill in, scst_cmd_submit()
 *   core:   decode -> address -> admit -> [receive data] -> execute
 *   handler:                                        try_execute() / execute(), scst_cmd_done()
 *   core:   respond -> driver's send_response()
 *   driver: scst_cmd_sent()
 *   core:   release, exactly once -> driver's release(), its last touch of the command
 */
#ifndef SCST_H
#define SCST_H

#include <linux/completion.h>
#include <linux/configfs.h>
#include <linux/device.h>
#include <linux/dma-direction.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/percpu-refcount.h>
#include <linux/scatterlist.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>

#define SCST_VERSION		"0.1.0"

#define SCST_DEVICE_NAME_LEN	64
#define SCST_TARGET_NAME_LEN	223
#define SCST_INITIATOR_NAME_LEN	223
#define SCST_MAX_LUN		16383
#define SCST_LUN_INVALID	U32_MAX
#define SCST_MAX_CDB		32
#define SCST_SENSE_SIZE		96
#define SCST_CMD_PRIVATE	448	/* bytes of a command that belong to the device handler */

struct scst_cmd;
struct scst_device;
struct scst_nexus;
struct scst_opcode;
struct scst_session;
struct scst_target;
struct scst_tmf;
struct scst_view;

/* What a command asks of the device handler. */
enum scst_action {
	SCST_ACTION_NONE,	/* answered by the core */
	SCST_ACTION_READ,	/* cmd->len bytes at scst_cmd_pos() into cmd->sg */
	SCST_ACTION_WRITE,	/* cmd->len bytes from cmd->sg to scst_cmd_pos(); honour cmd->fua */
	SCST_ACTION_SYNC,	/* make scst_cmd_pos(), cmd->sync_len bytes (0: to the end) stable */
	SCST_ACTION_VERIFY,	/* never reaches a handler: the core reads and compares */
};

enum scst_cmd_flag {
	SCST_CMD_ABORTED,	/* a task management function has taken the command */
	SCST_CMD_TRACKED,	/* on its session's list of commands that may take long */
};

/**
 * struct scst_cmd - one SCSI command
 * @sess: the I_T nexus it came by
 * @tag: the transport's tag, unique among the commands of @sess in flight
 * @cdb: the CDB, in the driver's memory, at least @cdb_len bytes, valid until release
 * @lun: logical unit number, or SCST_LUN_INVALID; see scst_lun_unpack()
 * @dir: direction of the transport's buffer
 * @sg: the data buffer; owned by the driver
 * @sg_cnt: entries in @sg
 * @data_len: bytes the initiator offers or expects; at most the length of @sg
 * @sense: driver's buffer of SCST_SENSE_SIZE bytes for sense data
 * @can_sleep: scst_cmd_submit() is called from process context and may sleep
 *
 * Everything above is set by the driver before scst_cmd_submit(), everything below by the core.
 *
 * @status: SAM status, valid in send_response()
 * @sense_len: bytes of sense data in @sense, 0 if none
 * @len: bytes moved, or to be moved, between @sg and the device; at most @data_len
 * @xfer_len: bytes the CDB asks for; above @data_len it is a residual overrun
 * @handler_private: the device handler's own, from execute() to scst_cmd_done()
 *
 * The driver embeds it in its own request, so that a command costs no allocation.  It belongs
 * to the core from scst_cmd_submit() until the driver's release() is called.
 */
struct scst_cmd {
	struct scst_session *sess;
	const u8 *cdb;
	struct scatterlist *sg;
	u8 *sense;
	u64 tag;
	u32 lun;
	u32 data_len;
	u32 sg_cnt;
	u8 cdb_len;
	u8 dir;
	bool can_sleep;

	u8 status;
	u8 sense_len;
	u8 action;
	bool fua;
	bool read_only;
	bool pinned;		/* holds dev->active_ref */
	u16 track_cpu;
	u32 len;
	u32 xfer_len;
	u32 nblocks;
	u64 lba;
	u64 sync_len;
	unsigned long flags;	/* enum scst_cmd_flag, atomic bit operations */
	struct scst_nexus *nexus;
	struct scst_device *dev;
	const struct scst_opcode *op;
	struct list_head track;
	struct work_struct work;

	unsigned long handler_private[SCST_CMD_PRIVATE / sizeof(long)];
};

/* --- target drivers ------------------------------------------------------------------ */

/**
 * struct scst_target_driver - what a target driver offers the core
 * @owner: THIS_MODULE
 * @name: directory under targets/ in configfs
 * @target_size: size of the driver's own target structure, which begins with struct scst_target
 * @target_attrs: NULL-terminated attributes of its targets, or NULL
 * @init: a target was made by mkdir; may add default groups.  Process context under the
 *	subsystem mutex of configfs: must not wait.  Returns 0 or a negative errno for mkdir.
 * @free: last reference gone, also after a failed @init; releases what @init made, not the target
 *	itself.  May sleep.
 * @enable: open the target to initiators; sessions may come from here on.  May sleep.
 *	Returns 0 or a negative errno; -ENODEV: hardware absent.
 * @disable: close the target, unregister its sessions.  May sleep, must not fail.
 * @receive_data: fetch cmd->len bytes of data-out into cmd->sg, then call
 *	scst_data_received().  Only for drivers that submit a write before its data is there.
 *	Any context.
 * @send_response: return cmd->status, sense data and, for reads, cmd->len bytes of cmd->sg to the
 *	initiator, then call scst_cmd_sent().  If scst_cmd_aborted(), return nothing
 *	(or TASK ABORTED where the transport wants it), but call scst_cmd_sent() all the same.
 *	Any context including softirq, must not sleep.
 * @release: the command is the driver's again; nothing of the core refers to it.  Any context.
 * @tmf_done: tmf->response is valid; the request is the driver's again.  Process context.
 * @luns_changed: the LUNs the session sees have changed, or one has become ready (a unit attention
 *	is pending as well).  Optional.  Under a spinlock: must not sleep.
 */
struct scst_target_driver {
	struct module *owner;
	const char *name;
	size_t target_size;
	struct configfs_attribute **target_attrs;
	int (*init)(struct scst_target *tgt);
	void (*free)(struct scst_target *tgt);
	int (*enable)(struct scst_target *tgt);
	void (*disable)(struct scst_target *tgt);
	void (*receive_data)(struct scst_cmd *cmd);
	void (*send_response)(struct scst_cmd *cmd);
	void (*release)(struct scst_cmd *cmd);
	void (*tmf_done)(struct scst_tmf *tmf);
	void (*luns_changed)(struct scst_session *sess);
};

/**
 * struct scst_target - a target port, made by mkdir targets/DRIVER/NAME
 *
 * Embedded first in the driver's own structure.  Referenced by its configfs item and by each of its
 * sessions; the last reference calls the driver's free().
 */
struct scst_target {
	struct config_group group;
	const struct scst_target_driver *driver;
	char name[SCST_TARGET_NAME_LEN + 1];
	struct kref kref;
	struct mutex enable_lock;	/* serialises enable and disable; outside the config mutex */
	bool enabled;
	bool retired;			/* its directory is gone */
	u16 rel_tgt_id;

	/* The wanted and the published access; under the config mutex, see commit.c. */
	struct list_head entry;		/* scst_targets */
	struct list_head sessions;
	unsigned int nr_sessions;
	struct scst_lun_dir *luns;
	struct list_head acl_groups;
	struct scst_access *access;	/* in force */
	struct scst_access *next_access;
	bool access_dirty;
	struct work_struct retire_work;

	struct device *classdev;
};

int scst_target_driver_register(const struct scst_target_driver *drv);
void scst_target_driver_unregister(const struct scst_target_driver *drv);
void scst_target_get(struct scst_target *tgt);
void scst_target_put(struct scst_target *tgt);
void scst_target_add_group(struct scst_target *tgt, struct config_group *group);

/* --- hardware ports ------------------------------------------------------------------ */

struct device *scst_port_register(const struct scst_target_driver *drv, const char *name);
void scst_port_unregister(struct device *port);

/* --- sessions ------------------------------------------------------------------------ */

/**
 * struct scst_session - an I_T nexus: one initiator port logged in to one target port
 * @driver_data: the target driver's own
 */
struct scst_session {
	void *driver_data;
	struct scst_target *tgt;
	struct scst_view __rcu *view;
	struct scst_session_pcpu __percpu *pcpu;
	struct percpu_ref ref;
	unsigned long ua_once;		/* unit attentions reported once per session, not per LUN */

	struct list_head entry;		/* tgt->sessions, under the config mutex */
	struct scst_view *next_view;	/* prepared by a commit, under the config mutex */
	bool luns_differ;
	const char *group_name;		/* in force; points into tgt->access, NULL: no group */
	const char *next_group_name;
	char initiator[SCST_INITIATOR_NAME_LEN + 1];
	u32 id;
	struct completion gone;
	struct device *classdev;
};

struct scst_session *scst_session_register(struct scst_target *tgt, const char *initiator,
					   void *driver_data);
void scst_session_unregister(struct scst_session *sess);
u64 scst_session_lun_cookie(struct scst_session *sess, u32 lun);
bool scst_session_lun_ready(struct scst_session *sess, u32 lun);

/* --- commands ------------------------------------------------------------------------ */

u32 scst_lun_unpack(const u8 lun[8]);
void scst_lun_pack(u32 lun, u8 out[8]);

/**
 * scst_cmd_init() - begin a command in memory that may hold an earlier one
 * @cmd: the command
 * @sess: the session it arrived on
 *
 * Any context.  The driver fills in its half of the structure afterwards.
 */
static inline void scst_cmd_init(struct scst_cmd *cmd, struct scst_session *sess)
{
	cmd->sess = sess;
	cmd->flags = 0;
	cmd->nexus = NULL;
	cmd->dev = NULL;
	cmd->pinned = false;
	cmd->action = SCST_ACTION_NONE;
	cmd->status = 0;
	cmd->sense_len = 0;
	cmd->len = 0;
	cmd->xfer_len = 0;
}

void scst_cmd_submit(struct scst_cmd *cmd);
void scst_data_received(struct scst_cmd *cmd, int error);
void scst_cmd_sent(struct scst_cmd *cmd);

static inline bool scst_cmd_aborted(const struct scst_cmd *cmd)
{
	return test_bit(SCST_CMD_ABORTED, &cmd->flags);
}

/* --- task management (SAM-5 clause 7) ------------------------------------------------ */

enum scst_tmf_function {
	SCST_TMF_ABORT_TASK,
	SCST_TMF_ABORT_TASK_SET,
	SCST_TMF_LUN_RESET,
	SCST_TMF_TARGET_RESET,
};

enum scst_tmf_response {
	SCST_TMF_COMPLETE,
	SCST_TMF_NO_TASK,	/* ABORT TASK: no such command, it has already been answered */
	SCST_TMF_BAD_LUN,
};

/**
 * struct scst_tmf - a task management request
 * @sess: the I_T nexus it came by
 * @fn: the function
 * @lun: logical unit number; not used by ABORT TASK and TARGET RESET
 * @tag: ABORT TASK: the tag of the command to abort
 * @response: valid when the driver's tmf_done() is called
 *
 * Embedded in the driver's own request, which the core owns until tmf_done().  It is answered
 * only when the commands it aborted can no longer change the medium.
 */
struct scst_tmf {
	struct scst_session *sess;
	enum scst_tmf_function fn;
	u32 lun;
	u64 tag;
	enum scst_tmf_response response;
	struct work_struct work;
};

void scst_tmf_submit(struct scst_tmf *tmf);

/* --- device handlers ----------------------------------------------------------------- */

enum scst_handler_flag {
	SCST_HANDLER_SIZE_RW	= 1 << 0,	/* the size is a setting, not a property of a backing */
	SCST_HANDLER_NO_CACHE	= 1 << 1,	/* no write_through setting: nothing to write through */
	SCST_HANDLER_DIRECT	= 1 << 2,	/* execute() may run in the submitter's process context */
};

/**
 * struct scst_handler - what a device handler offers the core
 * @owner: THIS_MODULE
 * @name: directory under devices/ in configfs; default product identification
 * @device_size: size of the handler's own device structure, which begins with struct scst_device
 * @flags: enum scst_handler_flag
 * @attrs: NULL-terminated attributes of its devices beyond the common ones, or NULL
 * @init: a device was made by mkdir.  Must not wait.  Optional.  0 or a negative errno.
 * @free: last reference gone; releases what @init and attribute stores made.  May sleep.
 * @check: all required settings there?  0, -ENODATA or -EINVAL.  Under dev->lock.
 * @open: open the backing and set dev->nblocks, dev->block_shift, dev->volatile_cache,
 *	dev->fua.  May sleep; under dev->lock.  -ENOENT, -ENXIO, -ENODEV, -ENOTDIR and -ENOMEDIUM mean
 *	"absent" and park the device.
 * @close: close the backing; no command is running and none can start.  May sleep.
 * @try_execute: do cmd->action at once, without sleeping and without changing the medium, set the
 *	result with scst_cmd_done() and return true; or touch nothing and return false.
 *	Any context.  Optional.
 * @execute: do cmd->action and call scst_cmd_done() now or later.  Process context, may sleep,
 *	with memory allocation limited to GFP_NOIO.
 * @read: read @len bytes at @pos into kernel memory, for VERIFY.  Process context,
 *	may sleep.  0 or a negative errno.
 */
struct scst_handler {
	struct module *owner;
	const char *name;
	size_t device_size;
	unsigned int flags;
	struct configfs_attribute **attrs;
	int (*init)(struct scst_device *dev);
	void (*free)(struct scst_device *dev);
	int (*check)(struct scst_device *dev);
	int (*open)(struct scst_device *dev);
	void (*close)(struct scst_device *dev);
	bool (*try_execute)(struct scst_cmd *cmd);
	void (*execute)(struct scst_cmd *cmd);
	int (*read)(struct scst_device *dev, void *buf, unsigned int len, loff_t pos);
};

struct scst_identity {
	char vendor[8 + 1];
	char product[16 + 1];
	char revision[4 + 1];
	char serial[64 + 1];
	u8 naa[16];
	u8 naa_len;		/* 8 or 16 */
	u8 eui64[16];
	u8 eui64_len;		/* 0, 8, 12 or 16 */
};

enum scst_device_state {
	SCST_DEVICE_DISABLED,
	SCST_DEVICE_PARKED,
	SCST_DEVICE_ACTIVE,
};

/**
 * struct scst_device - a logical unit's back end, made by mkdir devices/HANDLER/NAME
 * @nblocks: capacity in logical blocks, set by open()
 * @block_shift: log2 of the logical block size in bytes, set by open()
 * @volatile_cache: a SYNCHRONIZE CACHE is needed to make writes stable, set by open()
 * @fua: the handler honours cmd->fua, set by open()
 *
 * Embedded first in the handler's own structure.  Referenced by its configfs item, by every
 * published LUN map that names it and by every nexus.  active_ref counts commands
 * inside the handler: live only while the device is active.
 */
struct scst_device {
	/* read by every command */
	struct percpu_ref active_ref;
	const struct scst_handler *handler;
	u64 nblocks;
	u8 block_shift;
	bool volatile_cache;
	bool fua;
	bool wce;		/* mode page 08h */
	bool d_sense;		/* mode page 0Ah */
	bool swp;		/* mode page 0Ah */
	bool stopped;		/* START STOP UNIT */
	bool read_only;
	struct workqueue_struct *wq;	/* where execute() may block, NULL for SCST_HANDLER_DIRECT */

	struct mutex lock;	/* settings and state below; taken outside the config mutex */
	enum scst_device_state state;
	bool write_through;
	bool rotational;
	u16 block_size;		/* configured, 0: the backing's */
	u64 size;		/* bytes: configured, or of the backing when last open */
	int open_error;
	struct scst_identity id;
	char name[SCST_DEVICE_NAME_LEN + 1];
	struct config_group group;
	struct config_group id_group;
	struct kref kref;
	struct completion drained;	/* active_ref is dead and the backing closed */
	bool closed;			/* the backing is closed before active_ref is dead */
	bool lost;		/* the backing that was opened last is gone */
	struct work_struct close_work;
	struct work_struct lost_work;
	struct work_struct retire_work;
	unsigned int lun_links;	/* wanted and published LUNs that point here, under the config mutex */
	bool dead;		/* its directory is gone, under the config mutex */
	spinlock_t nexus_lock;	/* the list of nexuses */
	struct list_head nexuses;
	struct list_head entry;	/* scst_devices, under the config mutex */
	struct device *classdev;
};

int scst_handler_register(const struct scst_handler *handler);
void scst_handler_unregister(const struct scst_handler *handler);
void scst_device_lost(struct scst_device *dev);
void scst_device_resized(struct scst_device *dev, u64 nblocks);
void scst_cmd_done(struct scst_cmd *cmd, int error);

/* Attributes of a handler's own, settable while the device is disabled. */
static inline struct scst_device *scst_device_of(struct config_item *item)
{
	return container_of(to_config_group(item), struct scst_device, group);
}

int scst_name_check(const char *name, size_t max, const char *more);
void scst_item_drop(struct config_item *item);
int scst_parse_bool(const char *page, bool *value);
int scst_device_store_path(struct scst_device *dev, char **where, const char *page, size_t count);
int scst_device_store_bool(struct scst_device *dev, bool *where, const char *page);

static inline loff_t scst_cmd_pos(const struct scst_cmd *cmd)
{
	return cmd->lba << cmd->dev->block_shift;
}

static inline void *scst_cmd_private(struct scst_cmd *cmd)
{
	return cmd->handler_private;
}

#endif /* SCST_H */
