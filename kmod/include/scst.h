/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The SCSI target mid-level: what target drivers and device handlers share, which is the command.
 *
 * A command's way, one direction only:
 *
 *   driver   scst_cmd_init(), fill in its half, scst_cmd_submit()
 *   core     address -> track -> check -> admit -> prepare -> buffer
 *   driver     receive_data(), scst_data_received()		(only if the data comes later)
 *   core     gates again -> pin
 *   handler    try_execute() or execute(), scst_cmd_done()
 *   core     respond
 *   driver     send_response(), scst_cmd_sent()
 *   core     buffer back -> unpin, untrack -> release, exactly once: the driver's last touch
 *
 * Target drivers include scst_target.h, device handlers scst_handler.h; each includes this.
 */
#ifndef SCST_H
#define SCST_H

#include <linux/bits.h>
#include <linux/bitops.h>
#include <linux/dma-direction.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/lockdep.h>
#include <linux/preempt.h>
#include <linux/scatterlist.h>
#include <linux/stddef.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#define SCST_VERSION		"0.1.0"

#define SCST_DEVICE_NAME_LEN	64
#define SCST_TARGET_NAME_LEN	223
#define SCST_INITIATOR_NAME_LEN	223
#define SCST_PORTAL_NAME_LEN	63
#define SCST_MAX_LUN		16383
#define SCST_LUN_INVALID	U32_MAX
#define SCST_MAX_CDB		32
#define SCST_SENSE_SIZE		96
#define SCST_CMD_PRIVATE	256	/* bytes of a command that belong to the device handler */
#define SCST_CMD_PRIVATE_SHARED	16	/* ... the first of them are on the cache line that goes where the command ends */
#define SCST_CMD_LINE		64	/* of that line: drivers let a command begin at a multiple of it */

struct scst_alua;
struct scst_alua_dir;
struct scst_cmd;
struct scst_device;
struct scst_nexus;
struct scst_opcode;
struct scst_pr;
struct scst_pr_store;
struct scst_session;
struct scst_slot;
struct scst_target;
struct scst_thread;
struct scst_tmf;

/* Work that may block, on threads of its device's own: see scst_device_defer() */
struct scst_job {
	struct list_head entry;
	void (*fn)(struct scst_job *job);
};

/**
 * struct scst_threads - threads that come when there is work and go when there is none
 * One device's jobs hang on its own threads and take nothing from another's.  See threads.c.
 */
struct scst_threads {
	spinlock_t lock;
	struct list_head jobs;
	struct list_head idle;		/* threads, the one that went idle last first */
	struct scst_thread *__percpu *near;	/* the thread that is bound to a CPU, or NULL; NULL: none is bound */
	unsigned int nr;		/* threads alive or being made */
	unsigned int max;
	int spawn_cpu;			/* the one that is asked for is bound to it; -1: to none */
	bool spawning;			/* one is asked for */
	bool starting;			/* ... and made */
	bool stopping;
	bool reaping;			/* somebody will look for threads that are idle for long */
	const char *name;
	struct list_head ended;		/* threads to be collected */
	struct delayed_work spawn_work;
	struct delayed_work reap_work;
	wait_queue_head_t gone;
};

/* Jobs that are done one after the other, on a thread of some threads' */
struct scst_line {
	spinlock_t lock;
	struct list_head jobs;
	struct scst_job job;
	bool running;			/* its job is, or is about to */
};

enum scst_turn_kind {
	SCST_TURN_HELD,		/* a WRITE that has found its range taken: it waits, and has none any more when it goes on */
	SCST_TURN_WRITE,	/* other writes beside it are no harm */
	SCST_TURN_ALONE,	/* nobody else writes to the range meanwhile */
};

/**
 * struct scst_turn - a range of the medium that is written to, or is going to be, in the line of its device
 * @entry: dev->turns, in the order in which they came; empty: it is in none
 * @lba: first block
 * @nblocks: of the range
 * @before: turns that came before, are not over, and can't be at the medium together with this one
 * @kind: enum scst_turn_kind
 *
 * Under dev->turn_lock; see turn.c.  No larger than a work item: a command has one in the place of its own.
 */
#define SCST_TURN_TO_END	U32_MAX	/* nblocks: whatever there is from lba on */

struct scst_turn {
	struct list_head entry;
	u64 lba;
	u32 nblocks;
	u32 before : 30;
	u32 kind : 2;
};

static_assert(sizeof(struct scst_turn) <= sizeof(struct work_struct));

/**
 * struct scst_waiter - a command that waits for what its nexus may do in a second, or that an injected fault holds
 * @entry: in its lane
 * @since: nanoseconds, when it came
 * @due: held by a fault: nanoseconds, when it goes on
 * @bytes: that it reads or writes
 * @lane: which: enum scst_lane_kind
 * @fault: held by a fault: its place in nexus->faults
 *
 * Under the lock of the nexus's limiter; see limit.c.  A command has one in the place of its work item.
 */
struct scst_waiter {
	struct list_head entry;
	union {
		u64 since;
		u64 due;
	};
	u32 bytes;
	u8 lane;
	u8 fault;
};

static_assert(sizeof(struct scst_waiter) <= sizeof(struct work_struct));

/* What stands in the way of another object while it goes; see retire.c */
struct scst_retiree {
	struct list_head entry;		/* empty unless it is on its way out */
	const void *kind;		/* handler or driver */
	const char *name;
	const void *backing;		/* of a device: what its handler has open */
};

struct scst_request;

/**
 * enum scst_context - where a call comes from, and so what may be done before it returns
 * @SCST_CTX_TASK: process context without spinlocks: may sleep, may call back
 * @SCST_CTX_ATOMIC: process or softirq context: must not sleep, may call back
 * @SCST_CTX_DEFER: anything, hard interrupt and the driver's own locks included: must not sleep and
 *	never calls back before it returns; the core goes on in a soft interrupt, soon.  Where bottom halves are on
 *	that may come before the call has returned, so that the driver's locks are taken with them, or interrupts, off
 */
enum scst_context {
	SCST_CTX_TASK,
	SCST_CTX_ATOMIC,
	SCST_CTX_DEFER,
};

/* Is the caller where it says it is?  Kernels that can tell do; on others it costs a command nothing. */
static inline void scst_assert_context(enum scst_context ctx)
{
#ifdef CONFIG_DEBUG_ATOMIC_SLEEP
	if (ctx == SCST_CTX_TASK)
		might_sleep();
	WARN_ON_ONCE(ctx == SCST_CTX_ATOMIC && in_hardirq());
#endif
}

/**
 * enum scst_data_owner - whose memory the data is in
 * @SCST_DATA_NONE: there is none (yet)
 * @SCST_DATA_DRIVER: the target driver's, set before scst_cmd_submit()
 * @SCST_DATA_POOL: the core's, taken after the CDB was checked, given back after scst_cmd_sent()
 * @SCST_DATA_HANDLER: lent by the device handler (lend()), given back after scst_cmd_sent()
 */
enum scst_data_owner {
	SCST_DATA_NONE,
	SCST_DATA_DRIVER,
	SCST_DATA_POOL,
	SCST_DATA_HANDLER,
};

/**
 * struct scst_data - memory that data is moved to or from
 * @sgl: one array or chain, fit for dma_map_sg(); NULL if there is none
 * @nents: entries in @sgl
 * @len: bytes in @sgl
 * @owner: enum scst_data_owner
 * @read_only: must not be written to, not even for a moment (pages of a page cache)
 *
 * Until scst_cmd_sent() everybody may read or write it in his turn.  Afterwards a driver may keep
 * references to its pages (as a socket does), but must not write to them.
 */
struct scst_data {
	struct scatterlist *sgl;
	u32 nents;
	u32 len;
	u8 owner;
	bool read_only;
};

/**
 * struct scst_pi - protection information (SBC-3 4.22) that goes with a command
 * @interval_shift: log2 of the protection interval in bytes
 * @app_tag: expected logical block application tag
 * @ref_tag: expected reference tag of the first interval
 *
 * The information itself is in cmd->prot, eight bytes for each interval, which is a logical block.  Where @ref_tag and @app_tag are in the
 * CDB, or are the LBA, they are taken from there.
 */
struct scst_pi {
	u8 interval_shift;
	u16 app_tag;
	u32 ref_tag;
};

/* What a command asks of the device handler. */
enum scst_action {
	SCST_ACTION_NONE,	/* answered by the core */
	SCST_ACTION_READ,	/* cmd->len bytes at cmd->pos into cmd->data; any number of bytes */
	SCST_ACTION_WRITE,	/* cmd->len bytes from cmd->data to cmd->pos, whole blocks; honour cmd->fua */
	SCST_ACTION_SYNC,	/* make cmd->range_len bytes at cmd->pos (0: to the end) stable */
	SCST_ACTION_UNMAP,	/* cmd->range_len bytes at cmd->pos, whole blocks, are not needed any more: give back what holds them */
	SCST_ACTION_ZERO,	/* cmd->range_len bytes at cmd->pos, whole blocks, are to read as zeroes; honour cmd->unmap */
	SCST_ACTION_CDB,	/* do what cmd->cdb says; end with scst_cmd_done_sense() */
};

/* Task attributes (SAM-5 8.9). */
enum scst_task_attr {
	SCST_TASK_SIMPLE,
	SCST_TASK_ORDERED,
	SCST_TASK_HEAD_OF_QUEUE,
	SCST_TASK_ACA,
};

/* Bits of cmd->flags; changed by atomic operations only.  Drivers and handlers read them by functions. */
enum scst_cmd_flag {
	SCST_CMD_ABORTED,	/* a task management function has taken the command */
	SCST_CMD_FOREIGN,	/* ... one of another I_T nexus (TASK ABORTED status by TAS, SAM-5 5.3.4) */
	SCST_CMD_AWAITED,	/* somebody counts on its end: see tmf.c */
	SCST_CMD_COUNTED,	/* in its nexus's count of queued commands */
	SCST_CMD_RECEIVING,	/* waits for its data-out */
	SCST_CMD_AT_DRIVER,	/* from receive_data() or send_response() on the driver has it */
	SCST_CMD_RECALLED,	/* the driver's abort() is being called, or will be */
	SCST_CMD_SENT,		/* scst_cmd_sent() was called meanwhile */
	SCST_CMD_STEPS,		/* made of several actions: cmd->step goes on after each */
	SCST_CMD_KEEP_LEN,	/* data goes with a status other than GOOD */
	SCST_CMD_STALLED,	/* waits for scst_target_resume() */
	SCST_CMD_TIMED,		/* cmd->began is valid */
	SCST_CMD_FENCING,	/* it is answered when what it excludes is over: cmd->step_data is its fence, see tmf.c */
	SCST_CMD_PART,		/* a copy's own: the initiator does not know its tag, nor the driver the command */
	SCST_CMD_MEMORY,	/* its data is in memory that is given back after scst_cmd_sent() */
	SCST_CMD_MARKED,	/* a WRITE: somebody waits until it is not at the medium any more: see turn.c */
	SCST_CMD_WAITING,	/* for its turn */
	SCST_CMD_PASSED,	/* has waited for it */
	SCST_CMD_PLACED,	/* has a place in the order of its task set: see order.c */
	SCST_CMD_BLOCKS,	/* ... and younger ones wait for it */
	SCST_CMD_HELD,		/* ... or older ones are waited for, and it is in nexus->order.held */
	SCST_CMD_ACA,		/* has the ACA attribute, and came while there was such a condition: see aca.c */
	SCST_CMD_BLOCKED,	/* by such a condition, and in nexus->order.blocked */
	SCST_CMD_ANSWERED,	/* ... with its answer */
	SCST_CMD_LIMITED,	/* waits in a lane of its nexus's limiter: see limit.c */
	SCST_CMD_PAID,		/* does not wait there for what its nexus may do (any more) */
	SCST_CMD_TRIED,		/* whether an injected fault strikes it has been asked: see fault.c */
	SCST_CMD_STRUCK,	/* ... and its answer, or that it was aborted, is the fault's doing */
	SCST_CMD_PI,		/* what is being done moves protection information, too: cmd->prot */
	SCST_CMD_PI_AS_IS,	/* ... which need not be right */
	SCST_CMD_ASKING,	/* SET TARGET PORT GROUPS: waits for user space's consent: see alua-ask.c */
	SCST_CMD_SINCE = 32,	/* not a flag: from here on jiffies, 32 bits of it, when the command came */
};

static_assert(BITS_PER_LONG == 64);

/* Where a command spends its time: see recorder.c. */
enum scst_stage {
	SCST_STAGE_CORE,	/* all else */
	SCST_STAGE_LIMITED,	/* what its LUN lets its initiator do in a second */
	SCST_STAGE_FAULT,	/* an injected fault */
	SCST_STAGE_QUESTION,	/* user space's consent */
	SCST_STAGE_ORDER,	/* others of its task set, an ACA condition */
	SCST_STAGE_TURN,	/* others that write where it wants to */
	SCST_STAGE_DATA,	/* its data-out */
	SCST_STAGE_THREAD,	/* a thread of its device's */
	SCST_STAGE_HANDLER,	/* the back end */
	SCST_STAGE_RESPONSE,	/* the target driver's confirmation */
	SCST_STAGES,
};

/**
 * struct scst_cmd - one SCSI command
 * @sess: the I_T nexus it came by
 * @cdb: the CDB, in the driver's memory, at least @cdb_len bytes, valid until release
 * @sense: driver's buffer of SCST_SENSE_SIZE bytes for sense data
 * @tag: the transport's tag, unique among the commands of @sess in flight
 * @lun: logical unit number, or SCST_LUN_INVALID; see scst_lun_unpack()
 * @expected_len: bytes the initiator offers or expects (FCP_DL, Expected Data Transfer Length)
 * @cdb_len: bytes in @cdb, 6 to SCST_MAX_CDB
 * @dir: direction of the transport's data
 * @ctx: context of scst_cmd_submit(), enum scst_context
 * @attr: enum scst_task_attr; heeded where all commands are visible to task management: drivers with receive_data() or abort()
 * @priority: 0: none, 1 (highest) to 15
 * @data: a driver with memory of its own sets it to SCST_DATA_DRIVER, with at least @expected_len bytes; others
 *	leave it as scst_cmd_init() made it and find the core's choice here in receive_data() and
 *	send_response().  For a device handler it is where data goes to or comes from.
 * @prot: protection information, the same way, of drivers that move it apart from the data and bring memory for both; for a device handler
 *	see scst_cmd_has_pi().  Length 0: the initiator has none, and the driver nothing that makes or checks it: the core does
 * @pi_type: type of protection, 0: none, 1 to 3; without one @prot and @pi have no meaning
 * @pi: what @prot is
 *
 * Everything above is set by the driver before scst_cmd_submit() and, but for @data, never changed
 * by the core; everything below is the core's.
 *
 * @status: SAM status, valid in send_response()
 * @sense_len: bytes of sense data in @sense, 0 if none
 * @action: for the device handler: enum scst_action
 * @fua: data must be on the medium before the command ends
 * @len: bytes moved, or to be moved; at most @expected_len
 * @xfer_len: bytes the CDB asks for; above @expected_len it is a residual overrun, see scst_cmd_residual()
 * @pos: for the device handler: position in bytes
 * @range_len: SCST_ACTION_SYNC: bytes, 0: to the end; SCST_ACTION_UNMAP, SCST_ACTION_ZERO: bytes
 * @unmap: SCST_ACTION_ZERO: what holds the range may be given back
 * @lba: first logical block
 * @nblocks: number of logical blocks
 * @dev: the device behind @lun
 * @handler_private: the device handler's own, from execute() to scst_cmd_done(); see SCST_CMD_PRIVATE_SHARED
 *
 * The driver embeds it in its own request, so that a command costs no allocation.  It belongs to the core from
 * scst_cmd_submit() until the driver's release() is called.
 */
struct scst_cmd {
	/*
	 * What the end of a command reads and, if it is a good one, does not write: it goes to the CPU where the
	 * command ends, and back.  Where a command begins on a cache line, the beginning of the handler's part is on the
	 * same one, and nothing else travels.
	 */
	struct scst_session *sess;
	unsigned long flags;	/* enum scst_cmd_flag, and since when it is there: what its end reads anyway */
	struct scst_slot *slot;	/* where it is, or was, in its session's table; NULL: never yet */
	struct scst_nexus *nexus;
	u32 len;
	u32 expected_len;
	/* One word that scst_cmd_init() clears at once. */
	struct_group_attr(zeroed, __aligned(8),
		u8 attr : 4;
		u8 priority : 4;
		u8 pi_type;
		u8 dir;
		u8 status;
		u8 sense_len;
		u8 action;
		bool fua;
		bool pinned;	/* holds dev->active_ref */
	);
	unsigned long handler_private[SCST_CMD_PRIVATE / sizeof(long)];

	struct scst_device *dev;
	const struct scst_opcode *op;
	const u8 *cdb;
	u8 *sense;
	u64 tag;
	u32 lun;
	u8 cdb_len;
	u8 ctx;
	u8 now;			/* enum scst_context that the core goes on in, or SCST_NOW_QUEUED */
	bool unmap;
	struct scst_data data;
	u32 xfer_len;
	u32 nblocks;
	u32 charged;		/* bytes of pool memory on the session's account */
	u32 at;			/* jiffies, up to which it is known where it was: see recorder.c */
	u32 longest;		/* of them, in one place */
	u8 longest_in;		/* enum scst_stage */
	u64 lba;
	u64 pos;
	u64 range_len;

	void (*step)(struct scst_cmd *cmd, int error);	/* SCST_CMD_STEPS: next, any context */
	void *step_data;
	int walk_error;			/* a read's, of which the block is looked for */
	u32 began;			/* microseconds: see latency.c */
	struct llist_node recall;	/* waits for the driver's abort() */
	struct scst_tmf *waiters;	/* ABORT TASKs that end with the command, under the lock of tmf.c */
	u64 awaited_seq;		/* of the first that counts on its end, and of the last that has counted it */
	u64 counted_seq;
	union {				/* how it goes on: in process context, with scst_target_resume(), or when a range is free */
		struct scst_job job;
		struct work_struct work;
		struct list_head stalled;
		struct list_head held;	/* SCST_CMD_HELD, SCST_CMD_BLOCKED */
		struct scst_turn turn;	/* SCST_TURN_HELD */
		struct scst_waiter waiter;	/* SCST_CMD_LIMITED */
	};

	struct scst_data prot;
	struct scst_pi pi;
	struct scatterlist inline_sg;	/* of pool memory in one chunk */
};

static_assert(offsetof(struct scst_cmd, handler_private) + SCST_CMD_PRIVATE_SHARED == SCST_CMD_LINE);

/** scst_cmd_aborted() - has a task management function taken the command?  Any context. */
static inline bool scst_cmd_aborted(const struct scst_cmd *cmd)
{
	return test_bit(SCST_CMD_ABORTED, &cmd->flags);
}

/**
 * scst_cmd_has_pi() - does SCST_ACTION_READ or SCST_ACTION_WRITE move protection information, too?
 * @cmd: a command in try_execute() or execute()
 *
 * For devices with dev->protection.  Any context.  Return: true: SCST_PI_BYTES of each block are moved to or from cmd->prot, as they are; both
 * cmd->prot and cmd->data are one segment each, which nobody changes meanwhile.  False: what is written has none, and gets its own
 * from the handler (scst_pi_make()), and what is read is held against it there (scst_pi_look()).
 */
static inline bool scst_cmd_has_pi(const struct scst_cmd *cmd)
{
	return test_bit(SCST_CMD_PI, &cmd->flags);
}

/**
 * scst_cmd_pi_as_is() - is protection information to be written as it is, right or not?
 * @cmd: SCST_ACTION_WRITE in execute()
 *
 * Not all of it was checked, as the initiator wants it, or it is all ones.  Without scst_cmd_has_pi() it never is.  Any context.
 */
static inline bool scst_cmd_pi_as_is(const struct scst_cmd *cmd)
{
	return test_bit(SCST_CMD_PI_AS_IS, &cmd->flags);
}

/** scst_cmd_aborted_by_other() - ... one that came by another I_T nexus?  Any context. */
static inline bool scst_cmd_aborted_by_other(const struct scst_cmd *cmd)
{
	return test_bit(SCST_CMD_FOREIGN, &cmd->flags);
}

#endif /* SCST_H */
