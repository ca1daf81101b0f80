/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The mid-level's interface for target drivers: ports, targets, sessions, commands, task management.
 * docs/target-drivers.md tells the same as a story, with an example driver.
 */
#ifndef SCST_TARGET_H
#define SCST_TARGET_H

#include <linux/configfs.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/percpu_counter.h>
#include <linux/percpu-refcount.h>
#include <linux/wait.h>
#include <linux/spinlock.h>
#include "scst.h"
#include "scst_transport_id.h"

struct scst_access;
struct scst_lun_dir;
struct scst_lunset;
struct scst_port;
struct scst_view;

/* --- the driver's table ------------------------------------------------------------------ */

/**
 * struct scst_target_driver - what a target driver offers the core
 * @owner: THIS_MODULE
 * @name: directory under targets/ in configfs
 * @protocol: enum scst_protocol
 * @tells_overrun: initiators are told of a residual overrun (scst_cmd_residual() < 0) with status GOOD, too: a WRITE whose data-out
 *	is shorter than its CDB says is carried out as far as it has whole blocks; without, it is refused
 * @needs_port: a target needs a port of its name (scst_port_register()); without one it is parked
 * @target_size: size of the driver's own target structure, which begins with struct scst_target
 * @target_attrs: NULL-terminated attributes of its targets, or NULL
 * @session_groups: further attributes of its sessions' class devices, whose dev_get_drvdata() is the session; gone before
 *	session_gone() is called.  NULL: none
 * @driver_group: what the driver has besides targets: initialised, of its @name, with the default groups it shall have; it is drivers/NAME
 *	in configfs as long as the driver is registered.  NULL: nothing
 *
 * @init: a target was made by mkdir; sets tgt->limits, may add default groups.  Process context under the
 *	subsystem mutex of configfs: must not wait.  Returns 0 or a negative errno for mkdir.  Optional.
 * @free: last reference gone, also after a failed @init; releases what @init made, not the target
 *	itself.  Process context, may sleep.  Optional.
 * @enable: open the target to initiators; sessions may come from here on.  Process context, may sleep.  Returns 0 or a
 *	negative errno; -ENODEV: hardware absent, the target is parked.
 * @disable: close the target: no session comes any more, all are told to go by scst_session_close().  The core waits for
 *	session_gone() of each.  Process context, may sleep but not for commands; must not fail.
 *	After @disable for a port that goes the hardware is never touched again.
 * @receive_data: fetch cmd->len bytes of data-out into cmd->data, then call scst_data_received() once.
 *	Mandatory for drivers that do not set cmd->data themselves.  The context of the call that led here, or
 *	process context.  Returns 0, or -EAGAIN: no room now, nothing was done; called again after
 *	scst_target_resume().
 * @send_response: return cmd->status, sense data and, for reads, cmd->len bytes of cmd->data to the initiator, then call
 *	scst_cmd_sent(), perhaps before returning.  If scst_cmd_aborted(), return nothing (or TASK ABORTED where the
 *	transport wants it), but call scst_cmd_sent() all the same.  Any context, hard interrupt included, but never before a
 *	call with SCST_CTX_DEFER returns.  Must not sleep.
 *	Returns 0, or -EAGAIN as above.
 * @release: the command is the driver's again; nothing of the core refers to it.  The context of scst_cmd_sent(), or
 *	process context after @abort.  Must not sleep.
 * @abort: the command is wanted back: if the driver has it since receive_data() or send_response(), it ends it soon by
 *	scst_data_received(cmd, -ECANCELED, ...) or scst_cmd_sent(); else there is nothing to do.  Called at most once per
 *	command, never after release(), without any lock.  It may overtake the callback that it follows: a driver that
 *	writes down that it has the command, then looks at scst_cmd_aborted(), both under a lock of its own that
 *	@abort takes as well, misses none.  Process context, must not wait.  Optional.
 * @tmf_done: tmf->response is valid; the request is the driver's again.  Process context, must not wait.
 * @session_gone: the last command of a session is released after scst_session_close(); the session's memory is freed when
 *	this returns.  Process context, must not wait for other sessions.
 * @luns_changed: the LUNs the session sees have changed, or one has become ready or has another size (a unit
 *	attention is pending as well).
 *	Under a spinlock: must not sleep.  Optional.
 */
struct scst_target_driver {
	struct module *owner;
	const char *name;
	enum scst_protocol protocol;
	bool tells_overrun;
	bool needs_port;
	size_t target_size;
	struct configfs_attribute **target_attrs;
	const struct attribute_group **session_groups;
	struct config_group *driver_group;

	int (*init)(struct scst_target *tgt);
	void (*free)(struct scst_target *tgt);
	int (*enable)(struct scst_target *tgt);
	void (*disable)(struct scst_target *tgt);
	int (*receive_data)(struct scst_cmd *cmd);
	int (*send_response)(struct scst_cmd *cmd);
	void (*release)(struct scst_cmd *cmd);
	void (*abort)(struct scst_cmd *cmd);
	void (*tmf_done)(struct scst_tmf *tmf);
	void (*session_gone)(struct scst_session *sess);
	void (*luns_changed)(struct scst_session *sess);
};

int scst_target_driver_register(const struct scst_target_driver *drv);
void scst_target_driver_unregister(const struct scst_target_driver *drv);

/* --- targets --------------------------------------------------------------------------------- */

/**
 * struct scst_target_limits - what a target port and its transport can take
 * @max_xfer: bytes a command may move; longer ones are refused, VPD page B0h says so
 * @max_segs: entries in cmd->data.sgl
 * @max_seg_len: bytes in one of them
 * @cmds: commands of one session that the core keeps track of; more get TASK SET FULL
 * @dma_mask: addresses the hardware reaches; 0: all
 * @node: NUMA node that memory should be on, or NUMA_NO_NODE
 * @prot: types of protection information: bit n is type n
 * @stable: pages must not change while they are sent (a digest is computed over them): nothing is lent by handlers
 *
 * Set by init() or enable(), 0 in a field leaves the core's choice.
 */
struct scst_target_limits {
	u32 max_xfer;
	u32 max_segs;
	u32 max_seg_len;
	u32 cmds;
	u64 dma_mask;
	int node;
	u8 prot;
	bool stable;
};

/* Memory for data on somebody's account, in bytes; see data.c */
struct scst_account {
	struct percpu_counter used;
	long limit;		/* 0: none */
};

enum scst_target_state {
	SCST_TARGET_DISABLED,
	SCST_TARGET_PARKED,	/* enabled, its port is not there */
	SCST_TARGET_ENABLED,
	SCST_TARGET_CLOSING,	/* its sessions are going */
};

/**
 * struct scst_target - a target port, made by mkdir targets/DRIVER/NAME
 * @group: its directory
 * @driver: the driver's table
 * @limits: see there
 * @name: of the directory
 *
 * Embedded first in the driver's own structure.  Everything below @name is the core's.
 */
struct scst_target {
	struct config_group group;
	const struct scst_target_driver *driver;
	struct scst_target_limits limits;
	char name[SCST_TARGET_NAME_LEN + 1];

	struct kref kref;		/* its directory, each session */
	u16 rel_tgt_id;
	struct scst_account memory;
	long session_memory;		/* limit of each session, bytes */
	u32 queue_depth;		/* commands per I_T_L nexus, 0: as many as there are slots */

	/* States: see target.c.  Under lock, which is never held across a wait. */
	struct mutex lock;
	enum scst_target_state state;
	bool wanted;			/* enabled by the administrator */
	bool attempt;			/* it is time to try enable() */
	bool starting;			/* enable() is running */
	bool retired;			/* its directory is gone */
	struct scst_request *request;	/* who waits for `wanted` to come true */
	struct scst_port *port;		/* in use, under the config mutex */
	unsigned long change_queued;	/* bit 0: change_job is */
	struct scst_job change_job;
	struct scst_threads threads;
	struct work_struct free_work;
	struct scst_retiree retiree;
	struct device *classdev;

	/* The wanted and the published access; under scst_config_mutex, see commit.c. */
	struct list_head entry;		/* scst_targets */
	struct list_head sessions;
	unsigned int nr_sessions;	/* until they are freed: scst_target_session_gone() */
	struct scst_lun_dir *luns;
	struct list_head acl_groups;
	struct scst_access *access;	/* in force */
	struct scst_access *next_access;
	bool access_dirty;

	/* Commands whose receive_data() or send_response() said -EAGAIN; see cmd.c. */
	spinlock_t stalled_lock;
	struct list_head stalled;
	u32 resumes;			/* calls of scst_target_resume(): none may come between a "no" and the list */
	struct work_struct resume_work;
};

void scst_target_get(struct scst_target *tgt);
void scst_target_put(struct scst_target *tgt);
void scst_target_add_group(struct scst_target *tgt, struct config_group *group);
void scst_target_resume(struct scst_target *tgt);
int scst_target_lock_disabled(struct scst_target *tgt);
int scst_name_check(const char *name, size_t max, const char *more);
void scst_item_drop(struct config_item *item);
int scst_parse_bool(const char *page, bool *value);
int scst_parse_u64(const char *page, u64 max, u64 *value);

/* --- hardware ports ------------------------------------------------------------------ */

/**
 * struct scst_port_info - a port that can be a target
 * @driver: the driver that found it
 * @name: name of the target it would be
 * @parent: the device it is on (its PCI function), or NULL
 * @groups: further attributes of its class device (model, firmware, speed, link, mode), or NULL
 * @data: the driver's own, dev_get_drvdata() of scst_port_device() in attributes gives the port, scst_port_data() this
 */
struct scst_port_info {
	const struct scst_target_driver *driver;
	const char *name;
	struct device *parent;
	const struct attribute_group **groups;
	void *data;
};

struct scst_port *scst_port_register(const struct scst_port_info *info);
void scst_port_unregister(struct scst_port *port);
void scst_port_changed(struct scst_port *port, const char *event, const char *state);
void *scst_port_data(struct device *classdev);
void *scst_target_port(const struct scst_target *tgt);

/* --- sessions ------------------------------------------------------------------------ */

/**
 * struct scst_session - an I_T nexus: one initiator port logged in to one target port
 * @driver_data: the target driver's own
 * @tgt: the target
 * @initiator: name of the initiator port as access groups know it, in canonical spelling
 * @stable: as limits.stable of the target, for this session; the driver may set it before its first command
 *
 * Made by scst_session_register(), freed after the driver's session_gone().  The rest is the core's.
 */
struct scst_session {
	void *driver_data;
	struct scst_target *tgt;
	const struct scst_target_driver *driver;	/* that of @tgt */
	struct scst_view __rcu *view;
	struct scst_session_pcpu __percpu *pcpu;
	struct scst_slot *slots;	/* commands that task management may have to find */
	u32 slot_mask;
	u32 max_xfer;			/* bytes a command may move */
	bool track_all;			/* the driver may hold a command for as long as it likes */
	bool stable;
	struct percpu_ref ref;
	unsigned long ua_once;		/* unit attentions reported once per session, not per LUN */
	atomic_long_t buffered;		/* bytes of pool memory in use */
	atomic_t copies;		/* that are being done */
	spinlock_t copy_lock;
	struct list_head copy_records;	/* what is told of them, under copy_lock */

	struct list_head entry;		/* tgt->sessions, under the config mutex */
	struct scst_view *next_view;	/* prepared by a commit, under the config mutex */
	bool luns_differ;
	const char *group_name;		/* in force; points into tgt->access, NULL: no group */
	const char *next_group_name;
	char initiator[SCST_INITIATOR_NAME_LEN + 1];
	char at[SCST_INITIATOR_NAME_LEN + 1 + SCST_PORTAL_NAME_LEN + 1];	/* initiator#portal; "": it came by none */
	struct scst_transport_id transport_id;
	u32 id;
	bool silent;			/* the driver never got it */
	bool leaving;			/* is to be closed; written under the config mutex */
	struct work_struct close_work;
	struct work_struct gone_work;
	struct device *classdev;
};

struct scst_session *scst_session_register(struct scst_target *tgt, const char *initiator, const char *portal,
					   const struct scst_transport_id *id, void *driver_data);
void scst_session_close(struct scst_session *sess);
void scst_initiator_leave(struct scst_target *tgt, const char *initiator);
bool scst_initiator_same(const char *a, const char *b);
u64 scst_session_lun_cookie(struct scst_session *sess, u32 lun);
bool scst_session_lun_ready(struct scst_session *sess, u32 lun);
u32 scst_lun_unpack(const u8 lun[8]);
void scst_lun_pack(u32 lun, u8 out[8]);

/* --- commands ------------------------------------------------------------------------ */

/**
 * scst_cmd_init() - begin a command in memory that may hold an earlier one
 * @cmd: the command
 * @sess: the session it arrived on
 *
 * Any context.  The driver fills in its half of the structure afterwards; attribute and priority are SIMPLE and
 * none until then.
 */
static inline void scst_cmd_init(struct scst_cmd *cmd, struct scst_session *sess)
{
	cmd->sess = sess;
	memset(&cmd->zeroed, 0, sizeof(cmd->zeroed));
	cmd->flags = 0;
	WRITE_ONCE(cmd->slot, NULL);
	cmd->len = 0;
	cmd->xfer_len = 0;
	cmd->data.owner = SCST_DATA_NONE;
	cmd->data.sgl = NULL;
	cmd->data.nents = 0;
	cmd->data.len = 0;
}

void scst_cmd_submit(struct scst_cmd *cmd);
bool scst_cmd_left(const struct scst_cmd *cmd);
void scst_data_received(struct scst_cmd *cmd, int error, enum scst_context ctx);
void scst_cmd_sent(struct scst_cmd *cmd);

/**
 * scst_cmd_tracked() - was the command put where task management finds it?
 * @cmd: a command in send_response() or release()
 *
 * Any context.  Return: false only if it is being answered inside scst_cmd_submit().
 */
static inline bool scst_cmd_tracked(const struct scst_cmd *cmd)
{
	return cmd->slot;
}

/**
 * scst_cmd_residual() - what the transport has to report as residual
 * @cmd: a command in send_response()
 *
 * Any context.  Return: > 0: so many of the expected bytes were not moved (underrun); < 0: the CDB asked for so
 * many more than were expected (overrun); 0: neither.
 */
static inline s64 scst_cmd_residual(const struct scst_cmd *cmd)
{
	if (cmd->xfer_len > cmd->expected_len)
		return (s64)cmd->expected_len - cmd->xfer_len;
	return cmd->expected_len - cmd->len;
}

/* --- task management (SAM-5 clause 7) ------------------------------------------------ */

enum scst_tmf_function {
	SCST_TMF_ABORT_TASK,
	SCST_TMF_ABORT_TASK_SET,
	SCST_TMF_LUN_RESET,
	SCST_TMF_TARGET_RESET,		/* all logical units that the nexus sees */
	SCST_TMF_CLEAR_TASK_SET,	/* each nexus has a task set of its own (TST 001b): as ABORT TASK SET */
	SCST_TMF_CLEAR_ACA,		/* not supported where @attr of commands is not heeded */
	SCST_TMF_I_T_NEXUS_RESET,
	SCST_TMF_QUERY_TASK,
	SCST_TMF_QUERY_TASK_SET,
};

enum scst_tmf_response {
	SCST_TMF_COMPLETE,	/* FUNCTION COMPLETE; of a query: no such command */
	SCST_TMF_SUCCEEDED,	/* FUNCTION SUCCEEDED: a query found a command */
	SCST_TMF_NO_TASK,	/* ABORT TASK: no such command, it has already been answered */
	SCST_TMF_BAD_LUN,	/* INCORRECT LOGICAL UNIT NUMBER */
	SCST_TMF_NOT_SUPPORTED,	/* the function does not exist here */
};

/* Waits for the end of commands: in a request, and in a nexus that turned read-only.  See tmf.c */
struct scst_wait {
	struct list_head entry;
	void (*over)(struct scst_wait *wait);
	const struct scst_session *sess;	/* which commands: all conditions that are set */
	const struct scst_nexus *nexus;
	const struct scst_device *dev;
	const struct scst_lunset *set;	/* on one of its devices */
	bool writes;
	bool no_pr_out;		/* those may wait for each other */
	bool aca;		/* of that attribute */
	u64 seq;
	u32 left;
};

/**
 * struct scst_tmf - a task management request
 * @sess: the I_T nexus it came by
 * @fn: the function
 * @lun: logical unit number; not used by ABORT TASK, QUERY TASK, TARGET RESET and I_T NEXUS RESET
 * @tag: ABORT TASK, QUERY TASK: the tag of the command
 * @response: valid when the driver's tmf_done() is called
 *
 * Embedded in the driver's own request, which the core owns until tmf_done().  The commands it affects are those whose
 * scst_cmd_submit() was called before scst_tmf_submit(), and no others.  It is answered when none of them can
 * change the medium any more, by the last of them: nobody waits in a thread.
 */
struct scst_tmf {
	struct scst_session *sess;
	enum scst_tmf_function fn;
	u32 lun;
	u64 tag;
	enum scst_tmf_response response;

	struct scst_wait wait;		/* the rest is the core's */
	u32 since;			/* jiffies, when it came */
	struct scst_lunset *set;	/* TARGET RESET: held */
	struct scst_tmf *next_waiter;	/* ABORT TASK: of the same command */
	struct llist_node done;
};

void scst_tmf_submit(struct scst_tmf *tmf);

#endif /* SCST_TARGET_H */
