/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of scst.ko share.
 *
 * Lock order, outermost first:
 *   target->lock, device->settings_lock	states and settings
 *   scst_fault_mutex	faults that are injected
 *   scst_config_mutex	wanted and published access, lists of targets, sessions and devices
 *   device->nexus_lock	(spinlock, softirq-safe) the device's list of nexuses, and what reservations make of their gates
 *   the lock of tmf.c	(spinlock, interrupts off) who waits for the end of which commands
 *   a session's slots	(one bit each, interrupts off) commands that task management may have to find; who reads debugfs takes it alone
 * configfs calls mkdir and rmdir under its subsystem mutex, outside all of these.  None is held across a wait for a back
 * end, an initiator, or a driver's callback that may wait for either.
 *
 * The command path takes none of them.  It reads the session's view under RCU, holds a percpu reference on the
 * nexus, and puts itself into a slot.
 */
#ifndef SCST_CORE_H
#define SCST_CORE_H

#define pr_fmt(fmt) "scst: " fmt

#include <linux/configfs.h>
#include <linux/jiffies.h>
#include <linux/jump_label.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <scsi/scsi_proto.h>
#include "scst_handler.h"
#include "scst_target.h"
#include "compat.h"
#include "acl.h"
#include "alua-state.h"
#include "bucket.h"
#include "chance.h"
#include "gate.h"
#include "pr-state.h"
#include "recorder.h"
#include "spelling.h"
#include "transport-id.h"

extern struct mutex scst_config_mutex;
extern struct list_head scst_targets;
extern struct list_head scst_devices;
extern struct workqueue_struct *scst_cmd_wq;	/* goes on with commands that no interrupt has brought; never blocks */
extern struct workqueue_struct *scst_retire_wq;
extern struct workqueue_struct *scst_release_wq;

u8 scst_aca_control(const struct scst_cmd *cmd);

/* --- cdb.c: the tables of commands --------------------------------------------------- */

/* How the CDB names blocks. */
enum scst_cdb_format {
	SCST_CDB_PLAIN,		/* no blocks; xfer_len is the allocation or parameter list length */
	SCST_CDB_RW6,
	SCST_CDB_RW10,
	SCST_CDB_RW12,
	SCST_CDB_RW16,
	SCST_CDB_RW32,
};

enum scst_op_flag {
	SCST_OP_MEDIUM		= 1 << 0,	/* needs the backing: pinned while it runs */
	SCST_OP_WRITE		= 1 << 1,	/* may change the medium: always visible to task management */
	SCST_OP_PROBE		= 1 << 2,	/* asks whether the unit is ready */
	SCST_OP_THIN		= 1 << 3,	/* there is no such command unless the device is thin */
	SCST_OP_REMOVABLE	= 1 << 4,	/* ... unless its medium is removable */
	SCST_OP_TURNS		= 1 << 5,	/* of those that may change the medium: takes turns for what it writes: turn.c */
	SCST_OP_KEPT		= 1 << 6,	/* there is no such command where what is written is not kept */
	SCST_OP_ALUA		= 1 << 7,	/* ... unless it has target port groups */
	SCST_OP_ALUA_SET	= 1 << 8,	/* ... whose states initiators may change */
	SCST_OP_TYPE2		= 1 << 9,	/* ... unless its blocks have protection information of type 2 */
	SCST_OP_DURABLE		= 1 << 10,	/* ... unless there is a file that remembers what has begun: pr_file */
};

/**
 * struct scst_opcode - a row of a table of commands
 * @name: for people
 * @prepare: pure: checks the rest of the CDB against the device, sets what execute() needs; false: refused, status and
 *	sense data are set.  Optional for SCST_CDB_PLAIN.
 * @execute: answers, or hands to the device handler.  All data-out is there.
 * @stops: gates that stop it (gate.c), unit attentions included, and that of its class
 * @cdb_len: length of the CDB in bytes
 * @format: where LBA and length are
 * @flags: enum scst_op_flag
 * @dir: direction of the data
 * @len_at: SCST_CDB_PLAIN: byte offset of the length field
 * @len_size: bytes in that field; 0: there is none, and @fixed_len bytes of data
 * @sa: rows by service action (byte 1, bits 0-4; in 32-byte CDBs bytes 8 and 9); @nr_sa of them
 * @cdb_mask: CDB usage: bits a command may set, per byte (SPC-4 6.35.3)
 * @byte1: of byte 1 what is heeded of the bits that may be set; 0: all but those of a LUN of SCSI-2
 * @access: enum scst_op_access: what reservations see in it; looked at only when the command is stopped
 */
struct scst_opcode {
	const char *name;
	bool (*prepare)(struct scst_cmd *cmd);
	void (*execute)(struct scst_cmd *cmd);
	u64 stops;
	u8 cdb_len;
	u8 format;
	u16 flags;
	u8 dir;
	u8 len_at;
	u8 len_size;
	u8 fixed_len;
	u8 nr_sa;
	const struct scst_opcode *const *sa;
	u8 cdb_mask[SCST_MAX_CDB];
	u8 byte1;
	u8 access;
};

/* The commands of a device type. */
struct scst_op_table {
	const struct scst_opcode *row[256];
};

extern const struct scst_op_table scst_ops_no_lun;
const struct scst_op_table *scst_ops_of_type(u8 device_type);
const struct scst_opcode *scst_op_service_action(const struct scst_opcode *op, const u8 *cdb, u8 cdb_len);
bool scst_op_offered(const struct scst_opcode *op, const struct scst_device *dev);
bool scst_cdb_prepare(struct scst_cmd *cmd);
int scst_cdb_find_reserved(const struct scst_opcode *op, const u8 *cdb, u8 control);

/**
 * scst_cdb_reserved_bit() - does a CDB set a bit that no command may set?
 * @op: the command's row
 * @cmd: the command; its CDB has at least op->cdb_len bytes, and its nexus decides about NACA
 *
 * Runs for every command: two overlapping words cover a CDB of up to 16 bytes; what is between
 * those of a longer one is left to its prepare().  No row has NACA, so that no other command pays for it.
 *
 * Return: -1 if all is well, else 8 * byte + bit of the first such bit.
 */
static inline int scst_cdb_reserved_bit(const struct scst_opcode *op, const struct scst_cmd *cmd)
{
	const u8 *mask = op->cdb_mask, *cdb = cmd->cdb;
	u64 bad;

	if (op->cdb_len >= 8) {
		unsigned int tail = op->cdb_len - 8;

		bad = get_unaligned((const u64 *)cdb) & ~get_unaligned((const u64 *)mask);
		bad |= get_unaligned((const u64 *)(cdb + tail)) &
		       ~get_unaligned((const u64 *)(mask + tail));
	} else {
		bad = get_unaligned((const u32 *)cdb) & ~get_unaligned((const u32 *)mask);
		bad |= get_unaligned((const u32 *)(cdb + 2)) &
		       ~get_unaligned((const u32 *)(mask + 2));
	}
	return likely(!bad) ? -1 : scst_cdb_find_reserved(op, cdb, scst_aca_control(cmd));
}

/* --- sense.c: sense data, and the one place where errno becomes status ----------------- */

#define SCST_SENSE(key, asc, ascq)	((key) << 16 | (asc) << 8 | (ascq))

#define SCST_SENSE_LUN_NOT_SUPPORTED	SCST_SENSE(ILLEGAL_REQUEST, 0x25, 0x00)
#define SCST_SENSE_INVALID_OPCODE	SCST_SENSE(ILLEGAL_REQUEST, 0x20, 0x00)
#define SCST_SENSE_LBA_OUT_OF_RANGE	SCST_SENSE(ILLEGAL_REQUEST, 0x21, 0x00)
#define SCST_SENSE_INVALID_FIELD_CDB	SCST_SENSE(ILLEGAL_REQUEST, 0x24, 0x00)
#define SCST_SENSE_INVALID_FIELD_LIST	SCST_SENSE(ILLEGAL_REQUEST, 0x26, 0x00)
#define SCST_SENSE_COMMAND_SEQUENCE	SCST_SENSE(ILLEGAL_REQUEST, 0x2c, 0x00)
#define SCST_SENSE_LIST_LENGTH		SCST_SENSE(ILLEGAL_REQUEST, 0x1a, 0x00)
#define SCST_SENSE_SAVING_NOT_SUPPORTED	SCST_SENSE(ILLEGAL_REQUEST, 0x39, 0x00)
#define SCST_SENSE_INVALID_MESSAGE	SCST_SENSE(ABORTED_COMMAND, 0x49, 0x00)
#define SCST_SENSE_WRITE_PROTECTED	SCST_SENSE(DATA_PROTECT, 0x27, 0x00)
#define SCST_SENSE_SPACE_ALLOCATION	SCST_SENSE(DATA_PROTECT, 0x27, 0x07)
#define SCST_SENSE_BECOMING_READY	SCST_SENSE(NOT_READY, 0x04, 0x01)
#define SCST_SENSE_UNAVAILABLE		SCST_SENSE(NOT_READY, 0x04, 0x0c)
#define SCST_SENSE_SET_PORT_GROUPS_FAILED SCST_SENSE(HARDWARE_ERROR, 0x67, 0x0a)
#define SCST_SENSE_SHORT_TRANSFER	SCST_SENSE(ILLEGAL_REQUEST, 0x0e, 0x03)
#define SCST_SENSE_START_REQUIRED	SCST_SENSE(NOT_READY, 0x04, 0x02)
#define SCST_SENSE_NO_MEDIUM		SCST_SENSE(NOT_READY, 0x3a, 0x00)
#define SCST_SENSE_REMOVAL_PREVENTED	SCST_SENSE(ILLEGAL_REQUEST, 0x53, 0x02)
#define SCST_SENSE_FORMATTING		SCST_SENSE(NOT_READY, 0x04, 0x04)
#define SCST_SENSE_SANITIZING		SCST_SENSE(NOT_READY, 0x04, 0x1b)
#define SCST_SENSE_FORMAT_FAILED	SCST_SENSE(MEDIUM_ERROR, 0x31, 0x01)
#define SCST_SENSE_SANITIZE_FAILED	SCST_SENSE(MEDIUM_ERROR, 0x31, 0x03)
#define SCST_SENSE_READ_ERROR		SCST_SENSE(MEDIUM_ERROR, 0x11, 0x00)
#define SCST_SENSE_WRITE_ERROR		SCST_SENSE(MEDIUM_ERROR, 0x0c, 0x00)
#define SCST_SENSE_WRITE_LOST		SCST_SENSE(HARDWARE_ERROR, 0x0c, 0x00)
#define SCST_SENSE_TARGET_FAILURE	SCST_SENSE(HARDWARE_ERROR, 0x44, 0x00)
#define SCST_SENSE_MISCOMPARE		SCST_SENSE(MISCOMPARE, 0x1d, 0x00)
#define SCST_SENSE_TIMEOUT		SCST_SENSE(ABORTED_COMMAND, 0x08, 0x01)
#define SCST_SENSE_DATA_PHASE		SCST_SENSE(ABORTED_COMMAND, 0x4b, 0x00)
#define SCST_SENSE_SERVICE_CRC		SCST_SENSE(ABORTED_COMMAND, 0x47, 0x05)
#define SCST_SENSE_DATA_AMOUNT		SCST_SENSE(ABORTED_COMMAND, 0x0c, 0x0d)
#define SCST_SENSE_ECHO_OVERWRITTEN	SCST_SENSE(ABORTED_COMMAND, 0x3f, 0x0f)
#define SCST_SENSE_GUARD_CHECK		SCST_SENSE(ABORTED_COMMAND, 0x10, 0x01)
#define SCST_SENSE_APP_TAG_CHECK	SCST_SENSE(ABORTED_COMMAND, 0x10, 0x02)
#define SCST_SENSE_REF_TAG_CHECK	SCST_SENSE(ABORTED_COMMAND, 0x10, 0x03)

unsigned int scst_sense_build(u8 *buf, bool descriptor, u32 sense);
void scst_cmd_sense(struct scst_cmd *cmd, u32 sense);
void scst_cmd_sense_info(struct scst_cmd *cmd, u32 sense, u64 information);
unsigned int scst_sense_progress(u8 *buf, u16 progress);
void scst_cmd_conflict(struct scst_cmd *cmd);
void scst_cmd_invalid_cdb(struct scst_cmd *cmd, unsigned int byte, int bit);
void scst_cmd_invalid_list(struct scst_cmd *cmd, unsigned int byte, int bit);
void scst_cmd_sense_list(struct scst_cmd *cmd, u32 sense, unsigned int byte, int bit);
void scst_cmd_sense_segment(struct scst_cmd *cmd, u32 sense, u16 segment, bool of_source, u8 status, const u8 *told,
			    unsigned int told_len);
void scst_cmd_sense_info_add(struct scst_cmd *cmd, u64 information);
u32 scst_cmd_sense_code(const struct scst_cmd *cmd);
bool scst_error_is_medium(int error);
bool scst_error_has_block(int error);
void scst_cmd_sense_deferred(struct scst_cmd *cmd);
void scst_cmd_refuse_opcode(struct scst_cmd *cmd);
void scst_cmd_transfer_error(struct scst_cmd *cmd, int error);
void scst_cmd_errno(struct scst_cmd *cmd, int error);
const char *scst_errno_name(int error);

/* --- cmd.c: the life of a command ----------------------------------------------------- */

#define SCST_NOW_QUEUED		0xff	/* cmd->now: waits for a thread of its device's */

/* Goes on with a job of its own: a thread has taken it. */
static inline struct scst_cmd *scst_cmd_of_job(struct scst_job *job)
{
	struct scst_cmd *cmd = container_of(job, struct scst_cmd, job);

	scst_stage(cmd, SCST_STAGE_THREAD);
	cmd->now = SCST_CTX_TASK;
	return cmd;
}

/* Whom a command was one too many for. */
enum scst_full {
	SCST_FULL_QUEUE_DEPTH,	/* the target's queue_depth */
	SCST_FULL_SLOTS,	/* the session's table */
	SCST_FULL_MEMORY,	/* an account of memory for data, or the machine */
};

DECLARE_STATIC_KEY_FALSE(scst_queue_limits);	/* some target has, or had, a queue_depth */
void scst_cmd_respond(struct scst_cmd *cmd);
void scst_cmd_good(struct scst_cmd *cmd);
void scst_cmd_reply(struct scst_cmd *cmd, const void *data, unsigned int len);
void scst_cmd_fetch(struct scst_cmd *cmd, void *buf, unsigned int len);
void scst_cmd_to_handler(struct scst_cmd *cmd, enum scst_action action);
void scst_cmd_to_thread(struct scst_cmd *cmd, void (*fn)(struct scst_job *job));
void scst_cmd_to_threads_of(struct scst_cmd *cmd, struct scst_threads *threads, void (*fn)(struct scst_job *job));
void scst_cmd_to_line(struct scst_cmd *cmd, struct scst_line *line, struct scst_threads *threads,
		      void (*fn)(struct scst_job *job));
void scst_cmd_finish(struct scst_cmd *cmd);
void scst_cmd_start_later(struct scst_cmd *cmd);
void scst_cmd_unblock_later(struct scst_cmd *cmd);
bool scst_cmd_track_late(struct scst_cmd *cmd);
void scst_target_setup_commands(struct scst_target *tgt);

/* --- steps.c: commands that are made of several actions ---------------------------------------- */

enum scst_bytchk {
	BYTCHK_NONE	= 0,	/* can the medium be read? */
	BYTCHK_ALL	= 1,	/* compare with as many blocks */
	BYTCHK_ONE	= 3,	/* compare each with the same block */
};

/* Where a CDB has RDPROTECT and the like, DPO, FUA, BYTCHK. */
static inline unsigned int scst_cdb_flags_at(const struct scst_cmd *cmd)
{
	return cmd->op->format == SCST_CDB_RW32 ? 10 : 1;
}

static inline u8 scst_cdb_flags(const struct scst_cmd *cmd)
{
	return cmd->op->format == SCST_CDB_RW6 ? 0 : cmd->cdb[scst_cdb_flags_at(cmd)];
}

static inline u8 scst_verify_bytchk(const struct scst_cmd *cmd)
{
	return scst_cdb_flags(cmd) >> 1 & 3;
}

int scst_lost(struct scst_cmd *cmd);
bool scst_search_wanted(const struct scst_cmd *cmd, int error);
void scst_search_begin(struct scst_cmd *cmd, int error);
void scst_verify_begin(struct scst_cmd *cmd);
void scst_compare(struct scst_cmd *cmd, u32 len, void (*then)(struct scst_cmd *cmd));
void scst_read_through(struct scst_cmd *cmd, u32 len, void (*then)(struct scst_cmd *cmd));
void scst_steps_begin(struct scst_cmd *cmd, void (*step)(struct scst_cmd *cmd, int error));
void scst_steps_end(struct scst_cmd *cmd);
void scst_stable_step(struct scst_cmd *cmd, int error);
void scst_read_fua(struct scst_cmd *cmd);
void scst_write_stable(struct scst_cmd *cmd);
void scst_write_verify(struct scst_cmd *cmd);
void scst_sync(struct scst_cmd *cmd, u64 pos, u64 len);

/* Bytes that the transport can move in the direction of the CDB. */
static inline u32 scst_cmd_room(const struct scst_cmd *cmd)
{
	return likely(cmd->op->dir == cmd->dir) ? cmd->expected_len : 0;
}

/* --- data.c: memory for data ------------------------------------------------------------ */

extern struct scst_account scst_host_memory;
long scst_host_memory_default(void);
int scst_data_init(void);
void scst_data_exit(void);
bool scst_data_fits(const struct scst_data *data, const struct scst_target_limits *limits);
u64 scst_data_max(const struct scst_target_limits *limits);
int scst_data_get(struct scst_cmd *cmd);
void scst_data_put(struct scst_cmd *cmd);
int scst_account_init(struct scst_account *account, long limit);
void scst_account_exit(struct scst_account *account);

/* --- track.c: commands that task management may have to find ------------------------------- */

/* A pointer to a command and, in its lowest bits, what others have to do with it: see track.c. */
struct scst_slot {
	unsigned long cmd;
};

/**
 * struct scst_session_pcpu - what each CPU has of a session, on cache lines of its own
 * @slots: where it begins to look for a free one, @slot_last + 1 of them
 * @slot_hint: used last
 * @commands: answered
 * @read_bytes: sent to the initiator
 * @write_bytes: taken from it
 * @aborted: commands that a task management function, the end of the session or a fence has taken
 * @lun_resets: LUN RESET functions that the initiator has sent
 * @unit_attentions: told
 * @busy: commands answered BUSY
 * @task_set_full: ... TASK SET FULL
 * @check_conditions: ... CHECK CONDITION, unit attentions among them
 */
struct scst_session_pcpu {
	struct scst_slot *slots;
	u32 slot_last;
	u32 slot_hint;
	u64 commands;
	u64 read_bytes;
	u64 write_bytes;
	u64 aborted;
	u64 lun_resets;
	u64 unit_attentions;
	u64 busy;
	u64 task_set_full;
	u64 check_conditions;
} ____cacheline_aligned;

#define scst_session_count(sess, field)	this_cpu_inc((sess)->pcpu->field)

int scst_track_alloc(struct scst_session *sess);
void scst_track_free(struct scst_session *sess);
bool scst_slot_search(struct scst_cmd *cmd, struct scst_slot *from);
bool scst_slot_look(struct scst_slot *slot, void (*fn)(struct scst_cmd *cmd, void *arg), void *arg);

/* It does not look first: the line may be on another CPU, and would come twice, to be read and to be written. */
static inline bool scst_slot_enter(struct scst_cmd *cmd, struct scst_slot *slot)
{
	if (cmpxchg(&slot->cmd, 0, (unsigned long)cmd))
		return false;
	/* Not before: see scst_cmd_left(). */
	WRITE_ONCE(cmd->slot, slot);
	return true;
}

/**
 * scst_track() - make a command visible to task management
 * @cmd: its session, nexus and opcode are set; nobody else knows it yet
 *
 * Any context.  Which CPU this is decides only where to look first.  Return: false if the session has too many commands.
 */
static inline bool scst_track(struct scst_cmd *cmd)
{
	struct scst_session_pcpu *pcpu = raw_cpu_ptr(cmd->sess->pcpu);
	u32 hint = READ_ONCE(pcpu->slot_hint) + 1;
	struct scst_slot *slot = &pcpu->slots[hint & pcpu->slot_last];

	WRITE_ONCE(pcpu->slot_hint, hint);
	return likely(scst_slot_enter(cmd, slot)) || scst_slot_search(cmd, slot);
}

/* Milliseconds in the table; of one that is not there, because it is answered at once, 0.  Any context. */
static inline u32 scst_cmd_age(const struct scst_cmd *cmd)
{
	return scst_cmd_tracked(cmd) ? jiffies_to_msecs(scst_cmd_ticks(cmd)) : 0;
}

#define SCST_SLOT_LOOK	1UL	/* somebody is looking at it, so that it can't leave */
#define SCST_SLOT_ASKED	2UL	/* somebody wants to know of its end: SCST_CMD_AWAITED, SCST_CMD_MARKED, SCST_CMD_PLACED */

/**
 * scst_untrack_unawaited() - the end of a command that nobody waits for
 * @cmd: tracked
 *
 * Any context.  What it leaves is a slot that nobody has found it in: to look at its flags first would not do, for somebody
 * could come and go between that and its leaving.  Return: false if somebody waits for it; then it is still in the table.
 */
static inline bool scst_untrack_unawaited(struct scst_cmd *cmd)
{
	unsigned long me = (unsigned long)cmd, was;

	while (unlikely((was = cmpxchg(&cmd->slot->cmd, me, 0)) != me)) {
		if (was & SCST_SLOT_ASKED)
			return false;
		cpu_relax();
	}
	return true;
}

void scst_untrack(struct scst_cmd *cmd);
void scst_track_ask(struct scst_cmd *cmd);
void scst_track_for_each(struct scst_session *sess, void (*fn)(struct scst_cmd *cmd, void *arg), void *arg);
void scst_track_look_through(struct scst_session *sess, void (*fn)(struct scst_cmd *cmd, void *arg), void *arg);

/* --- trace.c: trace points that every command passes ------------------------------------------ */

void scst_trace_submit(const struct scst_cmd *cmd);
void scst_trace_admit(const struct scst_cmd *cmd);
void scst_trace_execute(const struct scst_cmd *cmd);
void scst_trace_respond(const struct scst_cmd *cmd);
void scst_trace_release(const struct scst_cmd *cmd);

/* --- session.c --------------------------------------------------------------------------- */

/* What happens to a session, for those who trace it. */
enum scst_session_event {
	SCST_SESSION_LOGIN,
	SCST_SESSION_CLOSING,
	SCST_SESSION_GONE,
};

struct scst_session *scst_session_next(u32 id);
void scst_session_put(struct scst_session *sess);

/* --- latency.c: how long commands take -------------------------------------------------------- */

struct scst_latency;

enum scst_latency_kind {
	SCST_LATENCY_READ,
	SCST_LATENCY_WRITE,
	SCST_LATENCY_OTHER,
	SCST_LATENCY_KINDS,
};

#define SCST_LATENCY_BUCKETS	32	/* bucket n: less than 1 << n microseconds, and not in the one before; the last: the rest */

DECLARE_STATIC_KEY_FALSE(scst_latency_measured);
int scst_latency_set(bool on);
bool scst_latency_prepare(struct scst_nexus *nexus);
void scst_latency_begin(struct scst_cmd *cmd);
void scst_latency_end(struct scst_cmd *cmd);
void scst_latency_sum(const struct scst_latency *latency, u64 (*sums)[SCST_LATENCY_BUCKETS]);

/* --- tmf.c ------------------------------------------------------------------------------- */

int scst_tmf_init(void);
void scst_tmf_exit(void);
void scst_tmf_flush(void);
bool scst_tmf_ended(struct scst_cmd *cmd);
void scst_abort_session(struct scst_session *sess);
void scst_abort_nexus(struct scst_nexus *nexus);
void scst_await_writes(struct scst_wait *wait, struct scst_nexus *nexus, bool abort);

struct scst_fence;

struct scst_fence_wait {
	struct scst_wait wait;
	struct scst_fence *fence;
};

/**
 * struct scst_fence - answers a command when those that it excludes are over
 * @cmd: the command
 * @over: the last is; under scst_wait_lock
 * @left: waits that are not over, and one until scst_fence_end()
 * @nr: waits
 * @room: there can be
 * @wait: for a nexus each
 *
 * @left and @nr are under scst_wait_lock.
 */
struct scst_fence {
	struct scst_cmd *cmd;
	void (*over)(struct scst_fence *fence);
	u32 left;
	u32 nr;
	u32 room;
	struct scst_fence_wait wait[] __counted_by(room);
};

void scst_fence_begin(struct scst_fence *fence);
void scst_fence_add(struct scst_fence *fence, struct scst_nexus *nexus, bool abort);
bool scst_fence_end(struct scst_fence *fence);

/* --- limit.c: how much an I_T_L nexus may do in a second ------------------------------------ */

#define SCST_LIMIT_IOPS_MAX	100000000U
#define SCST_LIMIT_BYTES_MAX	SCST_BUCKET_RATE_MAX
#define SCST_LIMIT_BURST_MAX	10000U
#define SCST_LIMIT_BURST	100U		/* default */

/**
 * struct scst_limits - of a mapping: for each initiator that uses it, by itself
 * @iops: commands per second that read, that write; 0: no limit
 * @bytes: bytes per second, the same
 * @burst: what may be used at once after a rest, in milliseconds of a rate
 */
struct scst_limits {
	u32 iops[2];
	u64 bytes[2];
	u32 burst;
};

enum scst_lane_kind {
	SCST_LANE_READ,
	SCST_LANE_WRITE,
	SCST_LIMITED_LANES,
	SCST_LANE_FAULT = SCST_LIMITED_LANES,
	SCST_LANES,
};

/* What a limiter has done, for people. */
struct scst_limited {
	struct scst_limits limits;
	u32 waiting;		/* commands that wait now */
	u64 commands;		/* that have waited */
	u64 microseconds;	/* all together */
};

bool scst_limiter_prepare(struct scst_nexus *nexus, const struct scst_limits *limits, unsigned long faults);
void scst_limiter_set(struct scst_nexus *nexus, const struct scst_limits *limits);
void scst_limiter_stop(struct scst_nexus *nexus);
void scst_limiter_look(struct scst_nexus *nexus);
bool scst_limiter_read(const struct scst_nexus *nexus, struct scst_limited *limited);
bool scst_limit_pass(struct scst_cmd *cmd);
void scst_limit_aborted(struct scst_cmd *cmd);
bool scst_limiter_hold(struct scst_cmd *cmd, unsigned int fault, u64 ms);
void scst_limiter_set_faults(struct scst_nexus *nexus, unsigned long faults);

/* --- fault.c, configfs-fault.c: faults that are injected on purpose ----------------------------- */

#define SCST_FAULTS_MAX		BITS_PER_LONG	/* in force at the same time */
#define SCST_FAULT_TARGET_LEN	(64 + 1 + SCST_TARGET_NAME_LEN)
#define SCST_FAULT_DELAY_MAX	600000U		/* milliseconds */
#define SCST_FAULT_HELD		U64_MAX		/* ... until somebody ends it */
#define SCST_FAULT_LUN_LEN	sizeof("16383")
#define SCST_FAULT_ANY		"*"
#define SCST_FAULT_NO_GROUP	"-"

enum scst_fault_action {
	SCST_FAULT_DROP,
	SCST_FAULT_DELAY,
	SCST_FAULT_BUSY,
	SCST_FAULT_TASK_SET_FULL,
	SCST_FAULT_SENSE,
	SCST_FAULT_ACTIONS,
};

enum scst_fault_commands {
	SCST_FAULT_ALL,
	SCST_FAULT_READS,
	SCST_FAULT_WRITES,
	SCST_FAULT_OPCODE,
};

/**
 * struct scst_fault - a directory of faults/ in configfs
 * @item: the directory
 * @target: DRIVER/TARGET, or SCST_FAULT_ANY
 * @group: name, SCST_FAULT_NO_GROUP: those that no group claims, or SCST_FAULT_ANY
 * @lun: number, SCST_LUN_INVALID: any
 * @action: enum scst_fault_action
 * @commands: enum scst_fault_commands
 * @opcode: SCST_FAULT_OPCODE: byte 0 of the CDB
 * @delay_ms: SCST_FAULT_DELAY: milliseconds
 * @sense: SCST_FAULT_SENSE: SCST_SENSE()
 * @place: its bit in the faults of a nexus; -1: it is not in force
 * @over: it has struck so often as it was to; read without the lock
 * @lock: for @chance
 * @chance: whom it strikes
 *
 * What is set is under scst_fault_mutex, and does not change while it is in force.
 */
struct scst_fault {
	struct config_item item;
	char target[SCST_FAULT_TARGET_LEN + 1];
	char group[SCST_DEVICE_NAME_LEN + 1];
	u32 lun;
	u8 action;
	u8 commands;
	u8 opcode;
	u32 delay_ms;
	u32 sense;
	int place;
	bool over;
	spinlock_t lock;
	struct scst_chance chance;
};

extern struct mutex scst_fault_mutex;
extern const char *const scst_fault_actions[SCST_FAULT_ACTIONS];
int scst_fault_begin(struct scst_fault *fault);
void scst_fault_end(struct scst_fault *fault);
u64 scst_fault_hits(struct scst_fault *fault);
unsigned long scst_faults_of(const struct scst_target *tgt, const char *group, u32 lun);
bool scst_fault_pass(struct scst_cmd *cmd);
void scst_fault_lun_text(const struct scst_fault *fault, char text[SCST_FAULT_LUN_LEN]);
void scst_fault_root_init(struct config_group *parent);

/* --- lun.c: views and nexuses ---------------------------------------------------------- */

/**
 * struct scst_nexus - an I_T_L nexus
 * @gates: what may stop a command: bits 0-31 pending unit attentions (enum scst_ua), above them enum scst_gate; atomic bit
 *	operations, 0 in the common case
 * @ref: one for the view(s) that show it, one for each command
 * @dev_entry: dev->nexuses, written under dev->nexus_lock, read under RCU as well
 *
 * Made by a commit, shared by consecutive views as long as LUN and device stay the same.
 * Dropped from the published view it is killed; its last command frees it.
 */
/**
 * struct scst_order - who begins before whom among the commands of an I_T_L nexus: see order.c
 * @lock: for all of it
 * @closed: whoever arrives has to ask; read without the lock
 * @blocking: ORDERED and HEAD OF QUEUE commands that have begun
 * @older: further commands that have begun and that an ORDERED has to wait for
 * @arriving: ORDERED commands that are looking for those
 * @held: commands that have not begun, by arrival
 * @aca: an ACA condition is in effect: aca.c; read without the lock
 * @aca_cmd: the command with the ACA attribute that is carried out meanwhile, or was
 * @blocked: commands that have begun and must not end while it is, in that order
 */
struct scst_order {
	spinlock_t lock;
	bool closed;
	bool aca;
	u32 blocking;
	u32 older;
	u32 arriving;
	struct list_head held;
	const struct scst_cmd *aca_cmd;
	struct list_head blocked;
};

struct scst_nexus {
	unsigned long gates;
	struct percpu_ref ref;
	struct scst_device *dev;
	struct scst_session *sess;
	atomic_t queued;		/* tracked commands, if the target limits them */
	bool wrote;			/* has been told that something was written */
	bool prevents;			/* PREVENT ALLOW MEDIUM REMOVAL; under dev->nexus_lock */
	bool echoed;			/* has written to the echo buffer: buffer.c; under the lock of the device's buffers */
	bool lost;			/* some of it was lost: its next SYNCHRONIZE CACHE says so */
	errseq_t wb_since;		/* errors of writing back up to here are known to the initiator */
	u64 cookie;			/* never used twice */
	u32 lun;
	u16 access;			/* what reservations make of it: scst_access_update(); written under dev->nexus_lock */
	bool carried;			/* also in the view being prepared; config mutex */
	bool mode_changed;		/* read_only differs in the view being prepared */
	struct list_head dev_entry;
	struct rcu_head rcu;
	u64 revoked;			/* generation that dropped it, or turned it read-only; 0: neither */
	struct list_head unsettled;	/* see settle.c */
	struct scst_wait wait;		/* read-only now: for the writes from before */
	struct work_struct free_work;
	struct scst_order order;
	struct scst_latency __rcu *latency;	/* NULL: not measured; written under scst_config_mutex */
	struct scst_limiter *limiter;	/* NULL: never limited yet, nor faulty; else it stays */
	unsigned long faults;		/* in force for it: fault.c; written under the limiter's lock */
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

struct scst_nexus *scst_nexus_find(struct scst_session *sess, u32 lun);
const struct scst_view_entry *scst_view_find(const struct scst_view *view, u32 lun);
void scst_for_each_nexus(void (*fn)(struct scst_nexus *nexus, void *arg), void *arg);

/* What stands behind a LUN, or NULL.  Numbers are usually dense: then the number is the index. */
static inline struct scst_nexus *scst_view_nexus(const struct scst_view *view, u32 lun)
{
	const struct scst_view_entry *entry;

	if (likely(view && lun < view->nr && view->entry[lun].lun == lun))
		return view->entry[lun].nexus;
	entry = scst_view_find(view, lun);
	return entry ? entry->nexus : NULL;
}

int scst_view_prepare(struct scst_session *sess, struct scst_lunset *set);
void scst_view_switch(struct scst_session *sess, bool fence);
void scst_view_discard(struct scst_session *sess);
void scst_view_drop(struct scst_session *sess);
void scst_session_leave(struct scst_session *sess);
void scst_session_tell_luns(struct scst_session *sess);
void scst_nexus_begin_writing(struct scst_nexus *nexus, void *unused);

/* --- lunset.c, commit.c: wanted access, its publication ------------------------------------------ */

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
	struct scst_limits limits;
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
	struct scst_name_number number;	/* that the name is, behind a ! */
	struct scst_acl_group *acl_group;
};

struct scst_lunset_entry {
	struct scst_device *dev;
	u32 lun;
	bool read_only;
	struct scst_limits limits;
};

/* A set of LUNs in force; shared by the target's access and the views made from it. */
struct scst_lunset {
	struct kref kref;		/* dropped under the config mutex */
	struct rcu_head rcu;
	u32 nr;
	struct scst_lunset_entry entry[] __counted_by(nr);
};

bool scst_lunset_has(const struct scst_lunset *set, const struct scst_device *dev);
void scst_lunset_put(struct scst_lunset *set);
struct scst_lunset *scst_lunset_get(struct scst_lunset *set);
int scst_access_changed(struct scst_target *tgt);
void scst_access_removed(struct scst_target *tgt);
int scst_commit(u64 base, bool fence);
int scst_set_autocommit(bool on);
bool scst_autocommit(void);
bool scst_staged(void);
u64 scst_generation(void);
int scst_session_attach(struct scst_session *sess);
int scst_device_ports(const struct scst_device *dev, struct scst_pr_port **ports);
void scst_access_free(struct scst_target *tgt);

/* --- settle.c: from when on nothing of an older generation is alive ------------------------- */

void scst_unsettled_add(struct scst_nexus *nexus, u64 generation);
void scst_unsettled_del(struct scst_nexus *nexus);
void scst_unsettled_writes_over(struct scst_nexus *nexus);
u64 scst_settled(void);
size_t scst_unsettled_print(char *buf, loff_t from, size_t size);
void scst_settle_exit(void);

/* --- alua.c, alua-ask.c: asymmetric logical unit access ---------------------------------------------------- */

unsigned long scst_alua_update(struct scst_nexus *nexus);
u16 scst_alua_group_id(const struct scst_nexus *nexus, bool *by_command);
bool scst_alua_offered(const struct scst_device *dev, bool by_command);
bool scst_alua_not_connected(const struct scst_nexus *nexus);
bool scst_alua_not_ready(const struct scst_nexus *nexus);
bool scst_alua_prepare_set(struct scst_cmd *cmd);
void scst_alua_set(struct scst_cmd *cmd);
bool scst_alua_prepare_report(struct scst_cmd *cmd);
void scst_alua_execute_report(struct scst_cmd *cmd);
void scst_alua_ask_look(const struct scst_nexus *nexus);
void scst_alua_ask_device(const struct scst_device *dev);
void scst_alua_ask_aborted(struct scst_cmd *cmd);

/* --- reserve.c: reservations, and what they make of nexuses ------------------------------------ */

extern const struct scst_pr scst_pr_nothing;
void scst_reserve_who(struct scst_pr_nexus *who, const struct scst_session *sess);
const struct scst_pr *scst_reserve_persistent(const struct scst_device *dev);
enum scst_access_answer scst_access_now(const struct scst_nexus *nexus, enum scst_op_access access);
u32 scst_access_update(struct scst_nexus *nexus);
void scst_reserve_end(struct scst_device *dev, const struct scst_nexus *nexus);
void scst_reserve_lost_session(struct scst_session *sess);
void scst_reserve(struct scst_cmd *cmd);
void scst_release(struct scst_cmd *cmd);

/* --- pr.c: PERSISTENT RESERVE IN and OUT --------------------------------------------------------- */

void scst_pr_setup(struct scst_device *dev);
void scst_pr_free(struct scst_device *dev);
int scst_pr_load(struct scst_device *dev, const struct scst_opening *opening, char *path);
void scst_pr_unload(struct scst_device *dev);
int scst_pr_clear(struct scst_device *dev, u32 generation, u64 until);
struct scst_pr *scst_pr_new(u32 room);
void scst_pr_discard(struct scst_pr *pr);
int scst_pr_keep_ident(struct scst_cmd *cmd, const struct scst_ident *ident);
int scst_pr_keep_undone(struct scst_device *dev, u8 undone);
u8 scst_pr_undone(const struct scst_device *dev);
bool scst_pr_prepare_out(struct scst_cmd *cmd);
void scst_pr_execute_out(struct scst_cmd *cmd);
void scst_pr_execute_in(struct scst_cmd *cmd);

/* --- pr-file.c: ... that survive a loss of power --------------------------------------------------- */

struct scst_pr *scst_pr_file_load(struct scst_device *dev, const struct scst_opening *opening, const char *path);
int scst_pr_file_write(struct scst_device *dev, const struct scst_pr *pr);
void scst_pr_file_close(struct scst_device *dev);
bool scst_pr_file_is(const struct scst_device *dev, const void *inode);

/* --- soft.c: soft interrupts ------------------------------------------------------------------- */

int scst_soft_init(void);
void scst_soft_exit(void);
void scst_soft_add(struct scst_job *job, void (*fn)(struct scst_job *job));

/* --- threads.c: threads that come when there is work ----------------------------------------- */

int scst_threads_module_init(void);
void scst_threads_module_exit(void);
void scst_threads_init(struct scst_threads *threads, const char *name, unsigned int max);
void scst_threads_near(struct scst_threads *threads);
void scst_threads_add(struct scst_threads *threads, struct scst_job *job);
void scst_threads_stop(struct scst_threads *threads);
void scst_line_init(struct scst_line *line);
void scst_line_add(struct scst_line *line, struct scst_threads *threads, struct scst_job *job);

/* --- retire.c: what is on its way out, and waiting in a store ---------------------------------- */

extern wait_queue_head_t scst_retired;

void scst_retire_begin(struct scst_retiree *retiree);
void scst_retire_end(struct scst_retiree *retiree);
bool scst_retiring_name(const struct scst_retiree *own);
bool scst_retiring_backing(const struct scst_retiree *own, const void *backing);
unsigned int scst_retire_ends(void);
bool scst_retiring_kind(const void *kind, unsigned int ends);
void scst_retire_flush(void);

#define SCST_STORE_LOOK		(HZ / 10)

#define SCST_STORE_ENDLESS	U64_MAX

/* A store that waits, until (jiffies) it was told to; see scst_store_in_the_way() */
struct scst_store_wait {
	const struct config_item *item;
	u64 until;
	unsigned int looks;
};

long scst_store_left(const struct scst_store_wait *wait);
bool scst_store_in_the_way(struct scst_store_wait *wait);

/*
 * Wait in a store of @config_item's for something that may take any time.  0, -ERESTARTSYS if killed, -ETIMEDOUT if it
 * was to wait no longer, -EINPROGRESS if somebody wants to remove the directory meanwhile.  Under no lock of ours.
 */
#define scst_wait_in_store(config_item, wq, condition, until_)				\
({											\
	struct scst_store_wait wait_ = { .item = (config_item), .until = (until_) };	\
	long left_;									\
											\
	do {										\
		left_ = wait_event_killable_timeout(wq, condition, scst_store_left(&wait_));	\
	} while (!left_ && scst_store_left(&wait_) && !scst_store_in_the_way(&wait_));	\
	left_ > 0 ? 0 : (int)left_ ?: scst_store_left(&wait_) ? -EINPROGRESS : -ETIMEDOUT;	\
})

/* What a store has asked for and waits for, held by both sides. */
struct scst_request {
	struct kref kref;
	wait_queue_head_t wait;
	bool answered;
	int result;
};

struct scst_request *scst_request_alloc(void);
struct scst_request *scst_request_get(struct scst_request *req);
void scst_request_put(struct scst_request *req);
void scst_request_answer(struct scst_request **slot, int result);
int scst_request_wait(struct scst_request *req, const struct config_item *item, u64 until);

/* --- device.c, backing.c, target.c, port.c ------------------------------------------------- */

int scst_device_module_init(void);
void scst_device_module_exit(void);
void scst_device_setup(struct scst_device *dev, const struct scst_handler *handler, const char *name);
int scst_device_init_ref(struct scst_device *dev);
int scst_device_set_enabled(struct scst_device *dev, bool on, u64 until);
int scst_device_set_active(struct scst_device *dev, bool on, u64 until);
int scst_device_reopen(struct scst_device *dev, u64 until);
void scst_device_for_each_nexus(struct scst_device *dev, void (*fn)(struct scst_nexus *, void *),
				void *arg);
void scst_device_get(struct scst_device *dev);
void scst_device_put(struct scst_device *dev);
void scst_device_unlink(struct scst_device *dev);
void scst_device_retire(struct scst_device *dev);
int scst_devices_hold(struct scst_device ***devs);
void scst_devices_put(struct scst_device **devs, size_t nr);
bool scst_device_name_taken(const char *name);
const char *scst_device_state_name(const struct scst_device *dev);
u32 scst_device_block_size(const struct scst_device *dev);
u64 scst_device_size(const struct scst_device *dev);
int scst_device_resize(struct scst_device *dev, u64 size, u64 until);
int scst_device_follow(struct scst_device *dev, u64 until);
void scst_device_event(struct scst_device *dev, const char *event);
void scst_device_tell_driver(struct scst_nexus *nexus, void *unused);
bool scst_device_rotational(const struct scst_device *dev);

/* configfs cuts longer values at a page. */
#define SCST_TEXT_MAX	(PATH_MAX - 2)

char *scst_parse_text(const char *page, size_t count, size_t max);
int scst_device_set_text(struct scst_device *dev, char **where, const char *page, size_t count, size_t max);
void scst_device_free_texts(struct scst_device *dev);
void scst_device_forget_backing(struct scst_device *dev);

u32 scst_target_max_xfer(const struct scst_target *tgt);
int scst_target_setup(struct scst_target *tgt, const struct scst_target_driver *drv, const char *name);
void scst_target_limits_default(struct scst_target *tgt);
int scst_target_set_enabled(struct scst_target *tgt, bool on, u64 until);
int scst_target_set_rel_id(struct scst_target *tgt, u16 id);
void scst_target_retire(struct scst_target *tgt);
const char *scst_target_state_name(const struct scst_target *tgt);
void scst_target_try(struct scst_target *tgt);
void scst_target_look(struct scst_target *tgt);
void scst_target_session_gone(struct scst_target *tgt);

int scst_port_claim(struct scst_target *tgt);
void scst_port_release(struct scst_target *tgt);
bool scst_port_there(const struct scst_target *tgt);

/* --- turn.c: who writes where, when a command must have a range for itself ------------------------ */

/**
 * struct scst_writer - what writes to a medium and is not a WRITE
 * @turn: the range
 * @dev: the medium's
 * @cmd: whose abort takes it out of the line, a command of @dev's; or NULL: @go is there, and it has to end the turn itself
 * @fn: how @cmd goes on, on threads of the device's; begins with scst_cmd_of_job()
 * @go: instead of that; any context, under turn_lock, so that it can't do more than queue something
 */
struct scst_writer {
	struct scst_turn turn;
	struct scst_device *dev;
	struct scst_cmd *cmd;
	void (*fn)(struct scst_job *job);
	void (*go)(struct scst_writer *writer);
};

/**
 * struct scst_alone - who wants a range of the medium for himself
 * @writer: as any other
 * @found: writes that were found at the medium and have not ended, or fewer
 * @counting: waits for the last of them
 */
struct scst_alone {
	struct scst_writer writer;
	atomic_t found;
	bool counting;
};

void scst_turn_setup(struct scst_device *dev);
bool scst_turn_pass(struct scst_cmd *cmd);
bool scst_turn_take(struct scst_writer *writer);
void scst_turn_end(struct scst_writer *writer);
void scst_turn_disown(struct scst_writer *writer);
bool scst_alone_take(struct scst_alone *alone);
bool scst_alone_look(struct scst_alone *alone);
void scst_turn_left(struct scst_cmd *cmd);
void scst_turn_aborted(struct scst_cmd *cmd);

/* --- order.c: task attributes ------------------------------------------------------------------------ */

bool scst_order_pass(struct scst_cmd *cmd);
bool scst_order_go(struct scst_order *order, const struct scst_cmd *self);
void scst_order_begin_blocking(struct scst_order *order, struct scst_cmd *cmd);
void scst_order_left(struct scst_cmd *cmd);
void scst_order_aborted(struct scst_cmd *cmd);
void scst_order_setup(struct scst_nexus *nexus);

/* --- aca.c: auto contingent allegiance ----------------------------------------------------------------- */

/* What becomes of a command that arrives. */
enum scst_aca_answer {
	SCST_ACA_NONE,		/* there is no condition */
	SCST_ACA_GOES,		/* there is, and it begins */
	SCST_ACA_ACTIVE,	/* there is: its status is set */
};

unsigned int scst_cdb_control_at(u8 opcode);
bool scst_aca_offered(const struct scst_session *sess);
enum scst_aca_answer scst_aca_arrives(struct scst_cmd *cmd);
bool scst_aca_data(struct scst_cmd *cmd);
bool scst_aca_answer(struct scst_cmd *cmd);
void scst_aca_aborted(struct scst_cmd *cmd);
void scst_aca_clear(struct scst_nexus *nexus);
void scst_aca_clear_session(struct scst_session *sess);

/* --- configfs*.c, sysfs.c, debugfs.c, inflight.c ------------------------------------------ */

extern const struct file_operations scst_inflight_fops;
extern const struct file_operations scst_latency_fops;
extern const struct file_operations scst_recorder_fops;
void scst_seq_word(struct seq_file *m, const char *name);
void scst_seq_lun(struct seq_file *m, u32 lun);

void scst_group_withdraw(struct config_group *group);
int scst_configfs_init(void);
void scst_configfs_exit(void);
#define SCST_WORD_LEN		24		/* of what is asked for: no longer than a number */

int scst_parse_within(const char *page, char text[SCST_WORD_LEN], const char **word, u64 *until);
extern struct config_group scst_devices_group;
extern struct config_group scst_targets_group;
extern struct config_group scst_drivers_group;
extern struct configfs_item_operations scst_device_item_ops;
extern struct configfs_item_operations scst_target_item_ops;
void scst_alua_root_init(struct config_group *parent);
int scst_alua_renumber(struct scst_target *tgt, u16 id);
void scst_pr_dir_init(struct scst_device *dev);
ssize_t scst_device_table_read(void *buf, size_t size);
ssize_t scst_lun_table_read(struct scst_lun_dir *dir, void *buf, size_t size);
void scst_lun_dir_init(struct scst_lun_dir *dir, struct scst_target *tgt, struct config_group *parent);
int scst_target_dirs_alloc(struct scst_target *tgt);
void scst_target_dirs_free(struct scst_target *tgt);

/* A text of which a reader wants to see a window. */
struct scst_text {
	char *buf;
	loff_t from;
	size_t size;
	loff_t at;		/* length of all text so far */
	size_t done;		/* bytes in the window */
};

void scst_text_add(struct scst_text *text, const char *line, size_t len);
extern struct class scst_class;
int scst_sysfs_init(void);
void scst_sysfs_exit(void);
int scst_sysfs_add_device(struct scst_device *dev);
int scst_sysfs_add_target(struct scst_target *tgt);
int scst_sysfs_add_session(struct scst_session *sess);
void scst_sysfs_notify_settled(void);
void scst_sysfs_core_event(const char *event, const char *state, char *const *more);
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
int scst_debugfs_init(void);
void scst_debugfs_exit(void);
bool scst_fault_commit(void);
void scst_fault_commit_begin(void);
void scst_fault_commit_end(void);

#endif /* SCST_CORE_H */
