/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Trace points: a command's life, task management, states.  /sys/kernel/tracing/events/scst; docs/troubleshooting.md reads one.
 *
 * A command is known by its session (session.N in /sys/class/scst) and its tag.  Off they are one nop each.  What every command
 * passes is called out of line, by trace.c; the rest is not on its way.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM scst

#if !defined(SCST_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define SCST_TRACE_H

#include <linux/tracepoint.h>
#include "core.h"

/* --- names --------------------------------------------------------------------------------- */

#define SCST_TRACE_OPCODES							\
	{ TEST_UNIT_READY,	"TEST_UNIT_READY" },				\
	{ REQUEST_SENSE,	"REQUEST_SENSE" },				\
	{ READ_6,		"READ(6)" },					\
	{ WRITE_6,		"WRITE(6)" },					\
	{ INQUIRY,		"INQUIRY" },					\
	{ MODE_SELECT,		"MODE_SELECT(6)" },				\
	{ MODE_SENSE,		"MODE_SENSE(6)" },				\
	{ START_STOP,		"START_STOP_UNIT" },				\
	{ ALLOW_MEDIUM_REMOVAL,	"PREVENT_ALLOW_MEDIUM_REMOVAL" },		\
	{ READ_CAPACITY,	"READ_CAPACITY(10)" },				\
	{ READ_10,		"READ(10)" },					\
	{ WRITE_10,		"WRITE(10)" },					\
	{ WRITE_VERIFY,		"WRITE_AND_VERIFY(10)" },			\
	{ VERIFY,		"VERIFY(10)" },					\
	{ SYNCHRONIZE_CACHE,	"SYNCHRONIZE_CACHE(10)" },			\
	{ WRITE_SAME,		"WRITE_SAME(10)" },				\
	{ UNMAP,		"UNMAP" },					\
	{ LOG_SENSE,		"LOG_SENSE" },					\
	{ MODE_SELECT_10,	"MODE_SELECT(10)" },				\
	{ MODE_SENSE_10,	"MODE_SENSE(10)" },				\
	{ PERSISTENT_RESERVE_IN, "PERSISTENT_RESERVE_IN" },			\
	{ PERSISTENT_RESERVE_OUT, "PERSISTENT_RESERVE_OUT" },			\
	{ VARIABLE_LENGTH_CMD,	"VARIABLE_LENGTH" },				\
	{ ATA_16,		"ATA_PASS_THROUGH(16)" },			\
	{ 0x83,			"THIRD_PARTY_COPY_OUT" },			\
	{ 0x84,			"THIRD_PARTY_COPY_IN" },			\
	{ READ_16,		"READ(16)" },					\
	{ COMPARE_AND_WRITE,	"COMPARE_AND_WRITE" },				\
	{ WRITE_16,		"WRITE(16)" },					\
	{ VERIFY_16,		"VERIFY(16)" },					\
	{ SYNCHRONIZE_CACHE_16,	"SYNCHRONIZE_CACHE(16)" },			\
	{ WRITE_SAME_16,	"WRITE_SAME(16)" },				\
	{ SERVICE_ACTION_IN_16,	"SERVICE_ACTION_IN(16)" },			\
	{ REPORT_LUNS,		"REPORT_LUNS" },				\
	{ ATA_12,		"ATA_PASS_THROUGH(12)" },			\
	{ MAINTENANCE_IN,	"MAINTENANCE_IN" },				\
	{ MAINTENANCE_OUT,	"MAINTENANCE_OUT" },				\
	{ READ_12,		"READ(12)" },					\
	{ WRITE_12,		"WRITE(12)" },					\
	{ VERIFY_12,		"VERIFY(12)" }

#define SCST_TRACE_KEYS								\
	{ NO_SENSE,		"NO_SENSE" },					\
	{ RECOVERED_ERROR,	"RECOVERED_ERROR" },				\
	{ NOT_READY,		"NOT_READY" },					\
	{ MEDIUM_ERROR,		"MEDIUM_ERROR" },				\
	{ HARDWARE_ERROR,	"HARDWARE_ERROR" },				\
	{ ILLEGAL_REQUEST,	"ILLEGAL_REQUEST" },				\
	{ UNIT_ATTENTION,	"UNIT_ATTENTION" },				\
	{ DATA_PROTECT,		"DATA_PROTECT" },				\
	{ ABORTED_COMMAND,	"ABORTED_COMMAND" },				\
	{ MISCOMPARE,		"MISCOMPARE" }

/* Constants that user space does not know by name; each list is read twice. */
#define SCST_TRACE_GATES							\
	EM(SCST_UA_POWER_ON,		"UA_POWER_ON")				\
	EM(SCST_UA_RESET,		"UA_RESET")				\
	EM(SCST_UA_NEXUS_LOSS,		"UA_NEXUS_LOSS")			\
	EM(SCST_UA_READY,		"UA_READY")				\
	EM(SCST_UA_LUNS_CHANGED,	"UA_LUNS_CHANGED")			\
	EM(SCST_UA_CAPACITY_CHANGED,	"UA_CAPACITY_CHANGED")			\
	EM(SCST_UA_MODE_CHANGED,	"UA_MODE_CHANGED")			\
	EM(SCST_UA_RESERVATIONS_PREEMPTED, "UA_RESERVATIONS_PREEMPTED")		\
	EM(SCST_UA_RESERVATIONS_RELEASED, "UA_RESERVATIONS_RELEASED")		\
	EM(SCST_UA_REGISTRATIONS_PREEMPTED, "UA_REGISTRATIONS_PREEMPTED")	\
	EM(SCST_UA_ALUA_CHANGED,	"UA_ALUA_CHANGED")			\
	EM(SCST_UA_ALUA_FAILED,		"UA_ALUA_FAILED")			\
	EM(SCST_UA_TIMESTAMP_CHANGED,	"UA_TIMESTAMP_CHANGED")			\
	EM(SCST_UA_IDENTIFIER_CHANGED,	"UA_IDENTIFIER_CHANGED")			\
	EM(SCST_UA_INQUIRY_CHANGED,	"UA_INQUIRY_CHANGED")			\
	EM(SCST_GATE_REVOKED,		"REVOKED")				\
	EM(SCST_GATE_PROBE,		"RESERVED_PROBE")			\
	EM(SCST_GATE_READ,		"RESERVED_READ")			\
	EM(SCST_GATE_WRITE,		"RESERVED_WRITE")			\
	EM(SCST_GATE_PR_IN,		"RESERVED_PR_IN")			\
	EM(SCST_GATE_PR_OUT,		"RESERVED_PR_OUT")			\
	EM(SCST_GATE_RESERVE,		"RESERVED_RESERVE")			\
	EM(SCST_GATE_RELEASE,		"RESERVED_RELEASE")			\
	EM(SCST_GATE_STANDBY,		"STANDBY")				\
	EM(SCST_GATE_UNAVAILABLE,	"UNAVAILABLE")				\
	EM(SCST_GATE_OFFLINE,		"OFFLINE")				\
	EM(SCST_GATE_TRANSITIONING,	"TRANSITIONING")			\
	EM(SCST_GATE_READ_ONLY,		"READ_ONLY")				\
	EM(SCST_GATE_WRITE_PROTECT,	"WRITE_PROTECT")			\
	EM(SCST_GATE_WRITE_LOST,	"WRITE_LOST")				\
	EM(SCST_GATE_PARKED,		"PARKED")				\
	EM(SCST_GATE_FORMATTING,	"FORMATTING")				\
	EM(SCST_GATE_SANITIZING,	"SANITIZING")				\
	EM(SCST_GATE_SANITIZE_FAILED,	"SANITIZE_FAILED")			\
	EM(SCST_GATE_FORMAT_FAILED,	"FORMAT_FAILED")			\
	EM(SCST_GATE_EJECTED,		"EJECTED")				\
	EM(SCST_GATE_STOPPED,		"STOPPED")				\
	EM(SCST_GATE_LIMIT_READ,	"LIMIT_READ")				\
	EM(SCST_GATE_LIMIT_WRITE,	"LIMIT_WRITE")				\
	EM(SCST_GATE_TOKENS,		"TOKENS")				\
	EMe(SCST_GATE_FAULT,		"FAULT")

#define SCST_TRACE_STATUS							\
	EM(SAM_STAT_GOOD,		"GOOD")					\
	EM(SAM_STAT_CHECK_CONDITION,	"CHECK_CONDITION")			\
	EM(SAM_STAT_BUSY,		"BUSY")					\
	EM(SAM_STAT_RESERVATION_CONFLICT, "RESERVATION_CONFLICT")		\
	EM(SAM_STAT_TASK_SET_FULL,	"TASK_SET_FULL")			\
	EM(SAM_STAT_ACA_ACTIVE,		"ACA_ACTIVE")				\
	EMe(SAM_STAT_TASK_ABORTED,	"TASK_ABORTED")

#define SCST_TRACE_FULL								\
	EM(SCST_FULL_QUEUE_DEPTH,	"QUEUE_DEPTH")				\
	EM(SCST_FULL_SLOTS,		"SLOTS")				\
	EMe(SCST_FULL_MEMORY,		"MEMORY")

#define SCST_TRACE_OWNERS							\
	EM(SCST_DATA_NONE,		"NONE")					\
	EM(SCST_DATA_DRIVER,		"DRIVER")				\
	EM(SCST_DATA_POOL,		"POOL")					\
	EMe(SCST_DATA_HANDLER,		"HANDLER")

#define SCST_TRACE_ACTIONS							\
	EM(SCST_ACTION_NONE,		"NONE")					\
	EM(SCST_ACTION_READ,		"READ")					\
	EM(SCST_ACTION_WRITE,		"WRITE")				\
	EM(SCST_ACTION_SYNC,		"SYNC")					\
	EM(SCST_ACTION_UNMAP,		"UNMAP")				\
	EM(SCST_ACTION_ZERO,		"ZERO")					\
	EMe(SCST_ACTION_CDB,		"CDB")

#define SCST_TRACE_DIRS								\
	EM(DMA_BIDIRECTIONAL,		"BOTH")					\
	EM(DMA_TO_DEVICE,		"OUT")					\
	EM(DMA_FROM_DEVICE,		"IN")					\
	EMe(DMA_NONE,			"NONE")

#define SCST_TRACE_CONTEXTS							\
	EM(SCST_CTX_TASK,		"TASK")					\
	EM(SCST_CTX_ATOMIC,		"ATOMIC")				\
	EMe(SCST_CTX_DEFER,		"DEFER")

#define SCST_TRACE_FUNCTIONS							\
	EM(SCST_TMF_ABORT_TASK,		"ABORT_TASK")				\
	EM(SCST_TMF_ABORT_TASK_SET,	"ABORT_TASK_SET")			\
	EM(SCST_TMF_LUN_RESET,		"LUN_RESET")				\
	EM(SCST_TMF_TARGET_RESET,	"TARGET_RESET")				\
	EM(SCST_TMF_CLEAR_TASK_SET,	"CLEAR_TASK_SET")			\
	EM(SCST_TMF_CLEAR_ACA,		"CLEAR_ACA")				\
	EM(SCST_TMF_I_T_NEXUS_RESET,	"I_T_NEXUS_RESET")			\
	EM(SCST_TMF_QUERY_TASK,		"QUERY_TASK")				\
	EMe(SCST_TMF_QUERY_TASK_SET,	"QUERY_TASK_SET")

#define SCST_TRACE_RESPONSES							\
	EM(SCST_TMF_COMPLETE,		"COMPLETE")				\
	EM(SCST_TMF_SUCCEEDED,		"SUCCEEDED")				\
	EM(SCST_TMF_NO_TASK,		"NO_TASK")				\
	EM(SCST_TMF_BAD_LUN,		"BAD_LUN")				\
	EMe(SCST_TMF_NOT_SUPPORTED,	"NOT_SUPPORTED")

#define SCST_TRACE_DEVICE_STATES						\
	EM(SCST_DEVICE_DISABLED,	"disabled")				\
	EM(SCST_DEVICE_PARKED,		"parked")				\
	EM(SCST_DEVICE_ACTIVE,		"active")				\
	EM(SCST_DEVICE_OPENING,		"opening")				\
	EMe(SCST_DEVICE_CLOSING,	"closing")

#define SCST_TRACE_TARGET_STATES						\
	EM(SCST_TARGET_DISABLED,	"disabled")				\
	EM(SCST_TARGET_PARKED,		"parked")				\
	EM(SCST_TARGET_ENABLED,		"enabled")				\
	EMe(SCST_TARGET_CLOSING,	"closing")

#define SCST_TRACE_SESSION_EVENTS						\
	EM(SCST_SESSION_LOGIN,		"login")				\
	EM(SCST_SESSION_CLOSING,	"closing")				\
	EMe(SCST_SESSION_GONE,		"gone")

#undef EM
#undef EMe
#define EM(value, name)		TRACE_DEFINE_ENUM(value);
#define EMe(value, name)	TRACE_DEFINE_ENUM(value);
SCST_TRACE_GATES
SCST_TRACE_STATUS
SCST_TRACE_FULL
SCST_TRACE_OWNERS
SCST_TRACE_ACTIONS
SCST_TRACE_DIRS
SCST_TRACE_CONTEXTS
SCST_TRACE_FUNCTIONS
SCST_TRACE_RESPONSES
SCST_TRACE_DEVICE_STATES
SCST_TRACE_TARGET_STATES
SCST_TRACE_SESSION_EVENTS
#undef EM
#undef EMe
#define EM(value, name)		{ value, name },
#define EMe(value, name)	{ value, name }

/* --- a command's life ------------------------------------------------------------------------ */

#define SCST_TRACE_CMD								\
		__field(u32, session)						\
		__field(u32, lun)						\
		__field(u64, tag)						\
		__field(u8, opcode)

#define scst_trace_cmd(cmd)							\
		do {								\
			__entry->session = (cmd)->sess->id;			\
			__entry->lun = (cmd)->lun;				\
			__entry->tag = (cmd)->tag;				\
			__entry->opcode = (cmd)->cdb[0];			\
		} while (0)

#define SCST_TRACE_CMD_FMT	"session=%u lun=%u tag=0x%llx %s"
#define SCST_TRACE_CMD_ARGS	__entry->session, __entry->lun, __entry->tag, \
				__print_symbolic(__entry->opcode, SCST_TRACE_OPCODES)

/* It has arrived; its logical unit is looked up. */
TRACE_EVENT(scst_cmd_submit,
	TP_PROTO(const struct scst_cmd *cmd),
	TP_ARGS(cmd),
	TP_STRUCT__entry(
		SCST_TRACE_CMD
		__field(u8, dir)
		__field(u8, ctx)
		__field(u8, cdb_len)
		__field(u32, expected)
		__array(u8, cdb, SCST_MAX_CDB)
		__string(driver, cmd->sess->driver->name)
		__string(target, cmd->sess->tgt->name)
		__string(initiator, cmd->sess->initiator)
		__string(device, cmd->dev ? cmd->dev->name : "-")
	),
	TP_fast_assign(
		scst_trace_cmd(cmd);
		__entry->dir = cmd->dir;
		__entry->ctx = cmd->ctx;
		__entry->cdb_len = min_t(u8, cmd->cdb_len, SCST_MAX_CDB);
		__entry->expected = cmd->expected_len;
		memset(__entry->cdb, 0, SCST_MAX_CDB);
		memcpy(__entry->cdb, cmd->cdb, __entry->cdb_len);
		scst_assign_str(driver, cmd->sess->driver->name);
		scst_assign_str(target, cmd->sess->tgt->name);
		scst_assign_str(initiator, cmd->sess->initiator);
		scst_assign_str(device, cmd->dev ? cmd->dev->name : "-");
	),
	TP_printk(SCST_TRACE_CMD_FMT " target=%s/%s initiator=%s device=%s dir=%s expected=%u context=%s cdb=%s",
		SCST_TRACE_CMD_ARGS, __get_str(driver), __get_str(target), __get_str(initiator), __get_str(device),
		__print_symbolic(__entry->dir, SCST_TRACE_DIRS), __entry->expected,
		__print_symbolic(__entry->ctx, SCST_TRACE_CONTEXTS), __print_hex(__entry->cdb, __entry->cdb_len))
);

/* No gate stops it, and its CDB is in order. */
TRACE_EVENT(scst_cmd_admit,
	TP_PROTO(const struct scst_cmd *cmd),
	TP_ARGS(cmd),
	TP_STRUCT__entry(
		SCST_TRACE_CMD
		__field(u64, lba)
		__field(u32, blocks)
		__field(u32, len)
	),
	TP_fast_assign(
		scst_trace_cmd(cmd);
		__entry->lba = cmd->lba;
		__entry->blocks = cmd->nblocks;
		__entry->len = cmd->len;
	),
	TP_printk(SCST_TRACE_CMD_FMT " lba=%llu blocks=%u bytes=%u", SCST_TRACE_CMD_ARGS, __entry->lba,
		__entry->blocks, __entry->len)
);

/* A gate stops it, or a unit attention is told instead. */
TRACE_EVENT(scst_cmd_stop,
	TP_PROTO(const struct scst_cmd *cmd, unsigned int gate),
	TP_ARGS(cmd, gate),
	TP_STRUCT__entry(
		SCST_TRACE_CMD
		__field(u8, gate)
	),
	TP_fast_assign(
		scst_trace_cmd(cmd);
		__entry->gate = gate;
	),
	TP_printk(SCST_TRACE_CMD_FMT " gate=%s", SCST_TRACE_CMD_ARGS,
		__print_symbolic(__entry->gate, SCST_TRACE_GATES))
);

/* An injected fault strikes it. */
TRACE_EVENT(scst_cmd_fault,
	TP_PROTO(const struct scst_cmd *cmd, const char *fault, const char *action),
	TP_ARGS(cmd, fault, action),
	TP_STRUCT__entry(
		SCST_TRACE_CMD
		__string(fault, fault)
		__string(action, action)
	),
	TP_fast_assign(
		scst_trace_cmd(cmd);
		scst_assign_str(fault, fault);
		scst_assign_str(action, action);
	),
	TP_printk(SCST_TRACE_CMD_FMT " fault=%s action=%s", SCST_TRACE_CMD_ARGS, __get_str(fault), __get_str(action))
);

/* There is no room for it: TASK SET FULL. */
TRACE_EVENT(scst_cmd_full,
	TP_PROTO(const struct scst_cmd *cmd, enum scst_full what),
	TP_ARGS(cmd, what),
	TP_STRUCT__entry(
		SCST_TRACE_CMD
		__field(u8, what)
	),
	TP_fast_assign(
		scst_trace_cmd(cmd);
		__entry->what = what;
	),
	TP_printk(SCST_TRACE_CMD_FMT " full=%s", SCST_TRACE_CMD_ARGS,
		__print_symbolic(__entry->what, SCST_TRACE_FULL))
);

/* It has memory for its data; of a driver that brings its own there is no such event. */
TRACE_EVENT(scst_cmd_buffer,
	TP_PROTO(const struct scst_cmd *cmd),
	TP_ARGS(cmd),
	TP_STRUCT__entry(
		SCST_TRACE_CMD
		__field(u8, owner)
		__field(u32, len)
		__field(u32, segments)
	),
	TP_fast_assign(
		scst_trace_cmd(cmd);
		__entry->owner = cmd->data.owner;
		__entry->len = cmd->data.len;
		__entry->segments = cmd->data.nents;
	),
	TP_printk(SCST_TRACE_CMD_FMT " owner=%s bytes=%u segments=%u", SCST_TRACE_CMD_ARGS,
		__print_symbolic(__entry->owner, SCST_TRACE_OWNERS), __entry->len, __entry->segments)
);

DECLARE_EVENT_CLASS(scst_cmd_bytes,
	TP_PROTO(const struct scst_cmd *cmd),
	TP_ARGS(cmd),
	TP_STRUCT__entry(
		SCST_TRACE_CMD
		__field(u32, len)
	),
	TP_fast_assign(
		scst_trace_cmd(cmd);
		__entry->len = cmd->len;
	),
	TP_printk(SCST_TRACE_CMD_FMT " bytes=%u", SCST_TRACE_CMD_ARGS, __entry->len)
);

/* The driver is asked to fetch its data-out. */
DEFINE_EVENT(scst_cmd_bytes, scst_cmd_receive,
	TP_PROTO(const struct scst_cmd *cmd),
	TP_ARGS(cmd)
);

/* The driver has no room for it, and says later that it has (scst_target_resume()). */
DEFINE_EVENT(scst_cmd_bytes, scst_cmd_stall,
	TP_PROTO(const struct scst_cmd *cmd),
	TP_ARGS(cmd)
);

/* It has begun, and an ACA condition of its nexus keeps it from ending. */
DEFINE_EVENT(scst_cmd_bytes, scst_cmd_block,
	TP_PROTO(const struct scst_cmd *cmd),
	TP_ARGS(cmd)
);

/* It waits for a thread of its device's. */
DEFINE_EVENT(scst_cmd_bytes, scst_cmd_queue,
	TP_PROTO(const struct scst_cmd *cmd),
	TP_ARGS(cmd)
);

DECLARE_EVENT_CLASS(scst_cmd_result,
	TP_PROTO(const struct scst_cmd *cmd, int error),
	TP_ARGS(cmd, error),
	TP_STRUCT__entry(
		SCST_TRACE_CMD
		__field(u32, len)
		__field(int, error)
	),
	TP_fast_assign(
		scst_trace_cmd(cmd);
		__entry->len = cmd->len;
		__entry->error = error;
	),
	TP_printk(SCST_TRACE_CMD_FMT " bytes=%u error=%d", SCST_TRACE_CMD_ARGS, __entry->len, __entry->error)
);

/* Its data-out is there, or will not come. */
DEFINE_EVENT(scst_cmd_result, scst_cmd_received,
	TP_PROTO(const struct scst_cmd *cmd, int error),
	TP_ARGS(cmd, error)
);

/* The device handler has done what it was asked for. */
DEFINE_EVENT(scst_cmd_result, scst_cmd_done,
	TP_PROTO(const struct scst_cmd *cmd, int error),
	TP_ARGS(cmd, error)
);

/* The device handler is asked to do something. */
TRACE_EVENT(scst_cmd_execute,
	TP_PROTO(const struct scst_cmd *cmd),
	TP_ARGS(cmd),
	TP_STRUCT__entry(
		SCST_TRACE_CMD
		__field(u8, action)
		__field(bool, fua)
		__field(u32, len)
		__field(u64, pos)
		__string(device, cmd->dev->name)
	),
	TP_fast_assign(
		scst_trace_cmd(cmd);
		__entry->action = cmd->action;
		__entry->fua = cmd->fua;
		__entry->len = cmd->len;
		__entry->pos = cmd->pos;
		scst_assign_str(device, cmd->dev->name);
	),
	TP_printk(SCST_TRACE_CMD_FMT " device=%s action=%s position=%llu bytes=%u fua=%d", SCST_TRACE_CMD_ARGS,
		__get_str(device), __print_symbolic(__entry->action, SCST_TRACE_ACTIONS), __entry->pos,
		__entry->len, __entry->fua)
);

/* A chunk of a copy is written: what was read into memory, or by the handler's own way. */
TRACE_EVENT(scst_copy_chunk,
	TP_PROTO(const struct scst_cmd *cmd, u32 source, u64 from, bool by_handler),
	TP_ARGS(cmd, source, from, by_handler),
	TP_STRUCT__entry(
		SCST_TRACE_CMD
		__field(u32, source)
		__field(u64, from)
		__field(u64, pos)
		__field(u32, len)
		__field(bool, by_handler)
		__string(device, cmd->dev->name)
	),
	TP_fast_assign(
		scst_trace_cmd(cmd);
		__entry->source = source;
		__entry->from = from;
		__entry->pos = cmd->pos;
		__entry->len = cmd->len;
		__entry->by_handler = by_handler;
		scst_assign_str(device, cmd->dev->name);
	),
	TP_printk(SCST_TRACE_CMD_FMT " device=%s position=%llu source_lun=%u source_position=%llu bytes=%u way=%s",
		SCST_TRACE_CMD_ARGS, __get_str(device), __entry->pos, __entry->source, __entry->from, __entry->len,
		__entry->by_handler ? "handler" : "memory")
);

/* It is over, and the driver gets status, sense data and data-in. */
TRACE_EVENT(scst_cmd_respond,
	TP_PROTO(const struct scst_cmd *cmd),
	TP_ARGS(cmd),
	TP_STRUCT__entry(
		SCST_TRACE_CMD
		__field(u8, status)
		__field(u8, key)
		__field(u8, asc)
		__field(u8, ascq)
		__field(bool, aborted)
		__field(u32, len)
		__field(u32, age)
	),
	TP_fast_assign(
		u32 sense = scst_cmd_sense_code(cmd);

		scst_trace_cmd(cmd);
		__entry->status = cmd->status;
		__entry->key = sense >> 16;
		__entry->asc = sense >> 8;
		__entry->ascq = sense;
		__entry->aborted = scst_cmd_aborted(cmd);
		__entry->len = cmd->len;
		__entry->age = scst_cmd_age(cmd);
	),
	TP_printk(SCST_TRACE_CMD_FMT " status=%s sense=%s/%02x/%02x bytes=%u aborted=%d age_ms=%u", SCST_TRACE_CMD_ARGS,
		__print_symbolic(__entry->status, SCST_TRACE_STATUS), __print_symbolic(__entry->key, SCST_TRACE_KEYS),
		__entry->asc, __entry->ascq, __entry->len, __entry->aborted, __entry->age)
);

/* The response is out, and the driver gets its memory back. */
TRACE_EVENT(scst_cmd_release,
	TP_PROTO(const struct scst_cmd *cmd),
	TP_ARGS(cmd),
	TP_STRUCT__entry(
		SCST_TRACE_CMD
		__field(u32, age)
	),
	TP_fast_assign(
		scst_trace_cmd(cmd);
		__entry->age = scst_cmd_age(cmd);
	),
	TP_printk(SCST_TRACE_CMD_FMT " age_ms=%u", SCST_TRACE_CMD_ARGS, __entry->age)
);

/* A task management function, a fence or the end of a session has taken it; @by is whose. */
TRACE_EVENT(scst_cmd_abort,
	TP_PROTO(const struct scst_cmd *cmd, const struct scst_session *by),
	TP_ARGS(cmd, by),
	TP_STRUCT__entry(
		SCST_TRACE_CMD
		__field(u32, by)
		__field(u32, age)
		__field(bool, at_driver)
	),
	TP_fast_assign(
		scst_trace_cmd(cmd);
		__entry->by = by->id;
		__entry->age = scst_cmd_age(cmd);
		__entry->at_driver = test_bit(SCST_CMD_AT_DRIVER, &cmd->flags);
	),
	TP_printk(SCST_TRACE_CMD_FMT " by_session=%u at_driver=%d age_ms=%u", SCST_TRACE_CMD_ARGS, __entry->by,
		__entry->at_driver, __entry->age)
);

/* --- task management ---------------------------------------------------------------------------- */

TRACE_EVENT(scst_tmf_submit,
	TP_PROTO(const struct scst_tmf *tmf),
	TP_ARGS(tmf),
	TP_STRUCT__entry(
		__field(u32, session)
		__field(u32, lun)
		__field(u64, tag)
		__field(u8, fn)
		__string(initiator, tmf->sess->initiator)
	),
	TP_fast_assign(
		__entry->session = tmf->sess->id;
		__entry->lun = tmf->lun;
		__entry->tag = tmf->tag;
		__entry->fn = tmf->fn;
		scst_assign_str(initiator, tmf->sess->initiator);
	),
	TP_printk("session=%u initiator=%s %s lun=%u tag=0x%llx", __entry->session, __get_str(initiator),
		__print_symbolic(__entry->fn, SCST_TRACE_FUNCTIONS), __entry->lun, __entry->tag)
);

/* All commands that it affects are marked; it is answered when so many have ended. */
TRACE_EVENT(scst_tmf_wait,
	TP_PROTO(const struct scst_tmf *tmf, u32 commands),
	TP_ARGS(tmf, commands),
	TP_STRUCT__entry(
		__field(u32, session)
		__field(u32, commands)
		__field(u64, tag)
		__field(u8, fn)
	),
	TP_fast_assign(
		__entry->session = tmf->sess->id;
		__entry->commands = commands;
		__entry->tag = tmf->tag;
		__entry->fn = tmf->fn;
	),
	TP_printk("session=%u %s tag=0x%llx commands=%u", __entry->session,
		__print_symbolic(__entry->fn, SCST_TRACE_FUNCTIONS), __entry->tag, __entry->commands)
);

TRACE_EVENT(scst_tmf_done,
	TP_PROTO(const struct scst_tmf *tmf),
	TP_ARGS(tmf),
	TP_STRUCT__entry(
		__field(u32, session)
		__field(u32, lun)
		__field(u64, tag)
		__field(u8, fn)
		__field(u8, response)
	),
	TP_fast_assign(
		__entry->session = tmf->sess->id;
		__entry->lun = tmf->lun;
		__entry->tag = tmf->tag;
		__entry->fn = tmf->fn;
		__entry->response = tmf->response;
	),
	TP_printk("session=%u %s lun=%u tag=0x%llx response=%s", __entry->session,
		__print_symbolic(__entry->fn, SCST_TRACE_FUNCTIONS), __entry->lun, __entry->tag,
		__print_symbolic(__entry->response, SCST_TRACE_RESPONSES))
);

/* --- states ----------------------------------------------------------------------------------------- */

TRACE_EVENT(scst_device_state,
	TP_PROTO(const struct scst_device *dev, enum scst_device_state before),
	TP_ARGS(dev, before),
	TP_STRUCT__entry(
		__string(device, dev->name)
		__field(u8, before)
		__field(u8, state)
		__field(u8, goal)
		__field(int, error)
	),
	TP_fast_assign(
		scst_assign_str(device, dev->name);
		__entry->before = before;
		__entry->state = dev->state;
		__entry->goal = dev->goal;
		__entry->error = dev->open_error;
	),
	TP_printk("device=%s %s -> %s goal=%s error=%d", __get_str(device),
		__print_symbolic(__entry->before, SCST_TRACE_DEVICE_STATES),
		__print_symbolic(__entry->state, SCST_TRACE_DEVICE_STATES),
		__print_symbolic(__entry->goal, SCST_TRACE_DEVICE_STATES), __entry->error)
);

TRACE_EVENT(scst_target_state,
	TP_PROTO(const struct scst_target *tgt, enum scst_target_state before),
	TP_ARGS(tgt, before),
	TP_STRUCT__entry(
		__string(driver, tgt->driver->name)
		__string(target, tgt->name)
		__field(u8, before)
		__field(u8, state)
		__field(bool, wanted)
		__field(u32, sessions)
	),
	TP_fast_assign(
		scst_assign_str(driver, tgt->driver->name);
		scst_assign_str(target, tgt->name);
		__entry->before = before;
		__entry->state = tgt->state;
		__entry->wanted = tgt->wanted;
		__entry->sessions = READ_ONCE(tgt->nr_sessions);
	),
	TP_printk("target=%s/%s %s -> %s wanted=%d sessions=%u", __get_str(driver), __get_str(target),
		__print_symbolic(__entry->before, SCST_TRACE_TARGET_STATES),
		__print_symbolic(__entry->state, SCST_TRACE_TARGET_STATES), __entry->wanted, __entry->sessions)
);

TRACE_EVENT(scst_session_state,
	TP_PROTO(const struct scst_session *sess, enum scst_session_event event),
	TP_ARGS(sess, event),
	TP_STRUCT__entry(
		__field(u32, session)
		__field(u8, event)
		__string(driver, sess->driver->name)
		__string(target, sess->tgt->name)
		__string(initiator, sess->initiator)
	),
	TP_fast_assign(
		__entry->session = sess->id;
		__entry->event = event;
		scst_assign_str(driver, sess->driver->name);
		scst_assign_str(target, sess->tgt->name);
		scst_assign_str(initiator, sess->initiator);
	),
	TP_printk("session=%u target=%s/%s initiator=%s %s", __entry->session, __get_str(driver), __get_str(target),
		__get_str(initiator), __print_symbolic(__entry->event, SCST_TRACE_SESSION_EVENTS))
);

/* An ACA condition of an I_T_L nexus begins, or is over. */
TRACE_EVENT(scst_aca,
	TP_PROTO(const struct scst_nexus *nexus, bool on),
	TP_ARGS(nexus, on),
	TP_STRUCT__entry(
		__field(u32, session)
		__field(u32, lun)
		__field(bool, on)
	),
	TP_fast_assign(
		__entry->session = nexus->sess->id;
		__entry->lun = nexus->lun;
		__entry->on = on;
	),
	TP_printk("session=%u lun=%u on=%d", __entry->session, __entry->lun, __entry->on)
);

/* A gate was closed or opened, or a unit attention left, for everybody who sees the device. */
TRACE_EVENT(scst_device_gate,
	TP_PROTO(const struct scst_device *dev, unsigned int gate, bool closed),
	TP_ARGS(dev, gate, closed),
	TP_STRUCT__entry(
		__string(device, dev->name)
		__field(u8, gate)
		__field(bool, closed)
	),
	TP_fast_assign(
		scst_assign_str(device, dev->name);
		__entry->gate = gate;
		__entry->closed = closed;
	),
	TP_printk("device=%s %s closed=%d", __get_str(device), __print_symbolic(__entry->gate, SCST_TRACE_GATES),
		__entry->closed)
);

#endif /* SCST_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
