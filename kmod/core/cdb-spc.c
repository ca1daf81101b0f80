// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rows of the tables of commands: those of every device type (SPC-4).
 */
#include "cdb.h"

const struct scst_opcode scst_row_test_unit_ready = {
	.name		= "TEST UNIT READY",
	.execute	= scst_spc_test_unit_ready,
	.cdb_len	= 6,
	GATES(PROBE, SCST_STOPS_UA | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_PROBE,
	.dir		= DMA_NONE,
	.cdb_mask	= { TEST_UNIT_READY, LUN2, 0, 0, 0, CONTROL },
};

const struct scst_opcode scst_row_request_sense = {
	.name		= "REQUEST SENSE",
	.execute	= scst_spc_request_sense,
	.cdb_len	= 6,
	GATES(ALWAYS, SCST_STOPS_ALWAYS),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 4,
	.len_size	= 1,
	.cdb_mask	= { REQUEST_SENSE, LUN2 | 0x01, 0, 0, 0xff, CONTROL },
};

const struct scst_opcode scst_row_inquiry = {
	.name		= "INQUIRY",
	.execute	= scst_spc_inquiry,
	.cdb_len	= 6,
	GATES(ALWAYS, SCST_STOPS_ALWAYS),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 3,
	.len_size	= 2,
	.cdb_mask	= { INQUIRY, LUN2 | 0x01, 0xff, ALL2, CONTROL },
};

const struct scst_opcode scst_row_mode_select6 = {
	.name		= "MODE SELECT(6)",
	.prepare	= scst_mode_prepare_select,
	.execute	= scst_mode_select,
	.cdb_len	= 6,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_READER | SCST_STOPS_PARKED),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_TO_DEVICE,
	.len_at		= 4,
	.len_size	= 1,
	.cdb_mask	= { MODE_SELECT, LUN2 | 0x11, 0, 0, 0xff, CONTROL },
};

const struct scst_opcode scst_row_mode_sense6 = {
	.name		= "MODE SENSE(6)",
	.execute	= scst_mode_sense,
	.cdb_len	= 6,
	GATES(READ, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 4,
	.len_size	= 1,
	.cdb_mask	= { MODE_SENSE, LUN2 | 0x08, ALL2, 0xff, CONTROL },
};

/* Of self-tests there is the default one. */
const struct scst_opcode scst_row_send_diagnostic = {
	.name		= "SEND DIAGNOSTIC",
	.prepare	= scst_diagnostic_prepare_send,
	.execute	= scst_diagnostic_send,
	.cdb_len	= 6,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_READY),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_TO_DEVICE,
	.len_at		= 3,
	.len_size	= 2,
	.cdb_mask	= { SEND_DIAGNOSTIC, 0xf7, 0, ALL2, CONTROL },
	.byte1		= 0xf4,
};

const struct scst_opcode scst_row_receive_diagnostic = {
	.name		= "RECEIVE DIAGNOSTIC RESULTS",
	.prepare	= scst_diagnostic_prepare_receive,
	.execute	= scst_diagnostic_receive,
	.cdb_len	= 6,
	GATES(READ, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 3,
	.len_size	= 2,
	.cdb_mask	= { RECEIVE_DIAGNOSTIC, LUN2 | 0x01, 0xff, ALL2, CONTROL },
};

/* Of READ BUFFER and WRITE BUFFER each mode is what a service action is elsewhere (SPC-4 6.35). */
#define BUFFER_DESCRIPTOR	0x03
#define BUFFER_DATA		0x02
#define BUFFER_ECHO		0x0a
#define BUFFER_ECHO_DESCRIPTOR	0x0b

#define READ_BUFFER10_ROW(mode)				\
	.name		= "READ BUFFER(10), " mode,	\
	.cdb_len	= 10,				\
	.dir		= DMA_FROM_DEVICE,		\
	.len_at		= 6,				\
	.len_size	= 3,

#define READ_BUFFER16_ROW(mode)				\
	.name		= "READ BUFFER(16), " mode,	\
	.cdb_len	= 16,				\
	.dir		= DMA_FROM_DEVICE,		\
	.len_at		= 10,				\
	.len_size	= 4,

#define WRITE_BUFFER_ROW(mode)				\
	.name		= "WRITE BUFFER, " mode,	\
	.cdb_len	= 10,				\
	.dir		= DMA_TO_DEVICE,		\
	.len_at		= 6,				\
	.len_size	= 3,				\
	.cdb_mask	= { WRITE_BUFFER, 0x1f, 0xff, 0xff, ALL2, 0xff, ALL2, CONTROL },

/* The way to a unit can be tested while it is unavailable by it, but not its data buffer (SPC-4 5.15.2.4.4, 5.15.2.4.5). */
#define STOPS_ECHO	(SCST_STOPS_ATTENTION | BIT_ULL(SCST_GATE_OFFLINE) | BIT_ULL(SCST_GATE_TRANSITIONING))

static const struct scst_opcode scst_row_read_buffer10_data = {
	READ_BUFFER10_ROW("DATA")
	.prepare	= scst_buffer_prepare_read,
	.execute	= scst_buffer_read,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_STANDBY),
	.cdb_mask	= { READ_BUFFER, 0x1f, 0xff, 0xff, ALL2, 0xff, ALL2, CONTROL },
};

static const struct scst_opcode scst_row_read_buffer10_descriptor = {
	READ_BUFFER10_ROW("DESCRIPTOR")
	.execute	= scst_buffer_descriptor,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_STANDBY),
	.cdb_mask	= { READ_BUFFER, 0x1f, 0xff, 0, 0, 0, 0xff, ALL2, CONTROL },
};

static const struct scst_opcode scst_row_read_buffer10_echo = {
	READ_BUFFER10_ROW("ECHO BUFFER")
	.execute	= scst_buffer_read_echo,
	GATES(READ, STOPS_ECHO),
	.cdb_mask	= { READ_BUFFER, 0x1f, 0xff, 0xff, ALL2, 0xff, ALL2, CONTROL },
};

static const struct scst_opcode scst_row_read_buffer10_echo_descriptor = {
	READ_BUFFER10_ROW("ECHO BUFFER DESCRIPTOR")
	.execute	= scst_buffer_echo_descriptor,
	GATES(READ, STOPS_ECHO),
	.cdb_mask	= { READ_BUFFER, 0x1f, 0, 0, 0, 0, 0xff, ALL2, CONTROL },
};

static const struct scst_opcode *const scst_read_buffer10[] = {
	[BUFFER_DATA]			= &scst_row_read_buffer10_data,
	[BUFFER_DESCRIPTOR]		= &scst_row_read_buffer10_descriptor,
	[BUFFER_ECHO]			= &scst_row_read_buffer10_echo,
	[BUFFER_ECHO_DESCRIPTOR]	= &scst_row_read_buffer10_echo_descriptor,
};

const struct scst_opcode scst_row_read_buffer10 = {
	.name		= "READ BUFFER(10)",
	.cdb_len	= 10,
	.sa		= scst_read_buffer10,
	.nr_sa		= ARRAY_SIZE(scst_read_buffer10),
};

static const struct scst_opcode scst_row_read_buffer16_data = {
	READ_BUFFER16_ROW("DATA")
	.prepare	= scst_buffer_prepare_read,
	.execute	= scst_buffer_read,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_STANDBY),
	.cdb_mask	= { OP_READ_BUFFER16, 0x1f, ALL8, ALL4, 0xff, CONTROL },
};

static const struct scst_opcode scst_row_read_buffer16_descriptor = {
	READ_BUFFER16_ROW("DESCRIPTOR")
	.execute	= scst_buffer_descriptor,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_STANDBY),
	.cdb_mask	= { OP_READ_BUFFER16, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, ALL4, 0xff, CONTROL },
};

static const struct scst_opcode scst_row_read_buffer16_echo = {
	READ_BUFFER16_ROW("ECHO BUFFER")
	.execute	= scst_buffer_read_echo,
	GATES(READ, STOPS_ECHO),
	.cdb_mask	= { OP_READ_BUFFER16, 0x1f, ALL8, ALL4, 0xff, CONTROL },
};

static const struct scst_opcode scst_row_read_buffer16_echo_descriptor = {
	READ_BUFFER16_ROW("ECHO BUFFER DESCRIPTOR")
	.execute	= scst_buffer_echo_descriptor,
	GATES(READ, STOPS_ECHO),
	.cdb_mask	= { OP_READ_BUFFER16, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, ALL4, 0, CONTROL },
};

static const struct scst_opcode *const scst_read_buffer16[] = {
	[BUFFER_DATA]			= &scst_row_read_buffer16_data,
	[BUFFER_DESCRIPTOR]		= &scst_row_read_buffer16_descriptor,
	[BUFFER_ECHO]			= &scst_row_read_buffer16_echo,
	[BUFFER_ECHO_DESCRIPTOR]	= &scst_row_read_buffer16_echo_descriptor,
};

const struct scst_opcode scst_row_read_buffer16 = {
	.name		= "READ BUFFER(16)",
	.cdb_len	= 16,
	.sa		= scst_read_buffer16,
	.nr_sa		= ARRAY_SIZE(scst_read_buffer16),
};

static const struct scst_opcode scst_row_write_buffer_data = {
	WRITE_BUFFER_ROW("DATA")
	.prepare	= scst_buffer_prepare_write,
	.execute	= scst_buffer_write,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_READER | SCST_STOPS_STANDBY),
};

static const struct scst_opcode scst_row_write_buffer_echo = {
	WRITE_BUFFER_ROW("ECHO BUFFER")
	.prepare	= scst_buffer_prepare_echo,
	.execute	= scst_buffer_write_echo,
	GATES(WRITE, STOPS_ECHO | SCST_STOPS_READER),
};

static const struct scst_opcode *const scst_write_buffer[] = {
	[BUFFER_DATA]	= &scst_row_write_buffer_data,
	[BUFFER_ECHO]	= &scst_row_write_buffer_echo,
};

const struct scst_opcode scst_row_write_buffer = {
	.name		= "WRITE BUFFER",
	.cdb_len	= 10,
	.sa		= scst_write_buffer,
	.nr_sa		= ARRAY_SIZE(scst_write_buffer),
};

const struct scst_opcode scst_row_log_sense = {
	.name		= "LOG SENSE",
	.prepare	= scst_log_prepare_sense,
	.execute	= scst_log_sense,
	.cdb_len	= 10,
	GATES(ALWAYS, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 7,
	.len_size	= 2,
	.cdb_mask	= { LOG_SENSE, LUN2, 0xff, 0xff, 0, ALL2, ALL2, CONTROL },
};

const struct scst_opcode scst_row_mode_select10 = {
	.name		= "MODE SELECT(10)",
	.prepare	= scst_mode_prepare_select,
	.execute	= scst_mode_select,
	.cdb_len	= 10,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_READER | SCST_STOPS_PARKED),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_TO_DEVICE,
	.len_at		= 7,
	.len_size	= 2,
	.cdb_mask	= { MODE_SELECT_10, LUN2 | 0x11, 0, 0, 0, 0, 0, ALL2, CONTROL },
};

const struct scst_opcode scst_row_mode_sense10 = {
	.name		= "MODE SENSE(10)",
	.execute	= scst_mode_sense,
	.cdb_len	= 10,
	GATES(READ, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 7,
	.len_size	= 2,
	.cdb_mask	= { MODE_SENSE_10, LUN2 | 0x18, ALL2, 0, 0, 0, ALL2, CONTROL },
};

const struct scst_opcode scst_row_report_luns = {
	.name		= "REPORT LUNS",
	.prepare	= scst_spc_prepare_report_luns,
	.execute	= scst_spc_report_luns,
	.cdb_len	= 12,
	GATES(ALWAYS, SCST_STOPS_ALWAYS),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 6,
	.len_size	= 4,
	.cdb_mask	= { REPORT_LUNS, LUN2, 0xff, 0, 0, 0, ALL4, 0, CONTROL },
};

/* Extents and third parties are refused; what identified a reservation of extents is not looked at (SPC-2 7.21). */
const struct scst_opcode scst_row_reserve6 = {
	.name		= "RESERVE(6)",
	.execute	= scst_reserve,
	.cdb_len	= 6,
	GATES(RESERVE, SCST_STOPS_UA | SCST_STOPS_READER | SCST_STOPS_STANDBY),
	.dir		= DMA_NONE,
	.cdb_mask	= { OP_RESERVE6, LUN2, 0xff, 0, 0, CONTROL },
};

const struct scst_opcode scst_row_release6 = {
	.name		= "RELEASE(6)",
	.execute	= scst_release,
	.cdb_len	= 6,
	GATES(RELEASE, SCST_STOPS_UA | SCST_STOPS_STANDBY),
	.dir		= DMA_NONE,
	.cdb_mask	= { OP_RELEASE6, LUN2, 0xff, 0, 0, CONTROL },
};

const struct scst_opcode scst_row_reserve10 = {
	.name		= "RESERVE(10)",
	.execute	= scst_reserve,
	.cdb_len	= 10,
	GATES(RESERVE, SCST_STOPS_UA | SCST_STOPS_READER | SCST_STOPS_STANDBY),
	.dir		= DMA_NONE,
	.cdb_mask	= { OP_RESERVE10, LUN2, 0xff, 0, 0, 0, 0, 0, 0, CONTROL },
};

const struct scst_opcode scst_row_release10 = {
	.name		= "RELEASE(10)",
	.execute	= scst_release,
	.cdb_len	= 10,
	GATES(RELEASE, SCST_STOPS_UA | SCST_STOPS_STANDBY),
	.dir		= DMA_NONE,
	.cdb_mask	= { OP_RELEASE10, LUN2, 0xff, 0, 0, 0, 0, 0, 0, CONTROL },
};

/* What is reserved, or obsolete, is not looked at, as in the parameter list: see scst_pr_parse(). */
#define PR_IN_ROW(action)								\
	.name		= action,							\
	.execute	= scst_pr_execute_in,						\
	.cdb_len	= 10,								\
	GATES(PR_IN, SCST_STOPS_UA),							\
	.dir		= DMA_FROM_DEVICE,						\
	.len_at		= 7,								\
	.len_size	= 2,								\
	.cdb_mask	= { PERSISTENT_RESERVE_IN, 0xff, 0, 0, 0, 0, 0, ALL2, CONTROL },

#define PR_OUT_ROW(action)								\
	.name		= action,							\
	.prepare	= scst_pr_prepare_out,						\
	.execute	= scst_pr_execute_out,						\
	.cdb_len	= 10,								\
	GATES(PR_OUT, SCST_STOPS_UA | SCST_STOPS_READER),				\
	.dir		= DMA_TO_DEVICE,						\
	.len_at		= 5,								\
	.len_size	= 4,								\
	.cdb_mask	= { PERSISTENT_RESERVE_OUT, 0xff, 0xff, 0, 0, ALL4, CONTROL },

static const struct scst_opcode scst_row_read_keys = {
	PR_IN_ROW("READ KEYS")
};

static const struct scst_opcode scst_row_read_reservation = {
	PR_IN_ROW("READ RESERVATION")
};

static const struct scst_opcode scst_row_report_capabilities = {
	PR_IN_ROW("REPORT CAPABILITIES")
};

static const struct scst_opcode scst_row_read_full_status = {
	PR_IN_ROW("READ FULL STATUS")
};

static const struct scst_opcode *const scst_ops_pr_in[] = {
	&scst_row_read_keys,
	&scst_row_read_reservation,
	&scst_row_report_capabilities,
	&scst_row_read_full_status,
};

const struct scst_opcode scst_row_persistent_reserve_in = {
	.name		= "PERSISTENT RESERVE IN",
	.cdb_len	= 10,
	.sa		= scst_ops_pr_in,
	.nr_sa		= ARRAY_SIZE(scst_ops_pr_in),
};

static const struct scst_opcode scst_row_pr_register = {
	PR_OUT_ROW("REGISTER")
};

static const struct scst_opcode scst_row_pr_reserve = {
	PR_OUT_ROW("RESERVE")
};

static const struct scst_opcode scst_row_pr_release = {
	PR_OUT_ROW("RELEASE")
};

static const struct scst_opcode scst_row_pr_clear = {
	PR_OUT_ROW("CLEAR")
};

static const struct scst_opcode scst_row_pr_preempt = {
	PR_OUT_ROW("PREEMPT")
};

static const struct scst_opcode scst_row_pr_preempt_abort = {
	PR_OUT_ROW("PREEMPT AND ABORT")
};

static const struct scst_opcode scst_row_pr_register_ignore = {
	PR_OUT_ROW("REGISTER AND IGNORE EXISTING KEY")
};

static const struct scst_opcode scst_row_pr_register_move = {
	PR_OUT_ROW("REGISTER AND MOVE")
};

static const struct scst_opcode scst_row_pr_replace_lost = {
	PR_OUT_ROW("REPLACE LOST RESERVATION")
};

static const struct scst_opcode *const scst_ops_pr_out[SCST_PR_ACTIONS] = {
	[SCST_PR_REGISTER] = &scst_row_pr_register,
	[SCST_PR_RESERVE] = &scst_row_pr_reserve,
	[SCST_PR_RELEASE] = &scst_row_pr_release,
	[SCST_PR_CLEAR] = &scst_row_pr_clear,
	[SCST_PR_PREEMPT] = &scst_row_pr_preempt,
	[SCST_PR_PREEMPT_AND_ABORT] = &scst_row_pr_preempt_abort,
	[SCST_PR_REGISTER_AND_IGNORE] = &scst_row_pr_register_ignore,
	[SCST_PR_REGISTER_AND_MOVE] = &scst_row_pr_register_move,
	[SCST_PR_REPLACE_LOST] = &scst_row_pr_replace_lost,
};

const struct scst_opcode scst_row_persistent_reserve_out = {
	.name		= "PERSISTENT RESERVE OUT",
	.cdb_len	= 10,
	.sa		= scst_ops_pr_out,
	.nr_sa		= ARRAY_SIZE(scst_ops_pr_out),
};

/* Its source may be read-only; what it may do where is asked for with each chunk: see copy-part.c. */
#define EXTENDED_COPY_ROW(name_, execute_)						\
	.name		= name_,							\
	.prepare	= scst_copy_prepare,						\
	.execute	= execute_,							\
	.cdb_len	= 16,								\
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_MEDIUM),				\
	.flags		= SCST_OP_WRITE | SCST_OP_TURNS,				\
	.dir		= DMA_TO_DEVICE,						\
	.len_at		= 10,								\
	.len_size	= 4,								\
	.cdb_mask	= { OP_THIRD_PARTY_OUT, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, ALL4, 0, CONTROL },

static const struct scst_opcode scst_row_extended_copy = {
	EXTENDED_COPY_ROW("EXTENDED COPY", scst_copy_execute)
};

static const struct scst_opcode scst_row_extended_copy_lid4 = {
	EXTENDED_COPY_ROW("EXTENDED COPY(LID4)", scst_copy_execute_lid4)
};

static const struct scst_opcode scst_row_populate_token = {
	.name		= "POPULATE TOKEN",
	.prepare	= scst_copy_prepare,
	.execute	= scst_copy_populate,
	.cdb_len	= 16,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_TO_DEVICE,
	.len_at		= 10,
	.len_size	= 4,
	.cdb_mask	= { OP_THIRD_PARTY_OUT, 0x1f, 0, 0, 0, 0, ALL4, ALL4, GROUP10, CONTROL },
};

/* Its destination is the unit that it is sent to. */
static const struct scst_opcode scst_row_write_using_token = {
	.name		= "WRITE USING TOKEN",
	.prepare	= scst_copy_prepare,
	.execute	= scst_copy_write,
	.cdb_len	= 16,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_READ_ONLY | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_WRITE | SCST_OP_TURNS,
	.dir		= DMA_TO_DEVICE,
	.len_at		= 10,
	.len_size	= 4,
	.cdb_mask	= { OP_THIRD_PARTY_OUT, 0x1f, 0, 0, 0, 0, ALL4, ALL4, GROUP10, CONTROL },
};

/* It ends what the initiator may do anyhow. */
static const struct scst_opcode scst_row_copy_abort = {
	.name		= "COPY OPERATION ABORT",
	.execute	= scst_copy_abort,
	.cdb_len	= 16,
	GATES(WRITE, SCST_STOPS_UA),
	.dir		= DMA_NONE,
	.cdb_mask	= { OP_THIRD_PARTY_OUT, 0x1f, ALL4, 0, 0, 0, 0, 0, 0, 0, 0, 0, CONTROL },
};

static const struct scst_opcode *const scst_third_party_out[] = {
	[0x00]	= &scst_row_extended_copy,
	[0x01]	= &scst_row_extended_copy_lid4,
	[0x10]	= &scst_row_populate_token,
	[0x11]	= &scst_row_write_using_token,
	[0x1c]	= &scst_row_copy_abort,
};

const struct scst_opcode scst_row_third_party_out = {
	.name		= "THIRD-PARTY COPY OUT",
	.cdb_len	= 16,
	.sa		= scst_third_party_out,
	.nr_sa		= ARRAY_SIZE(scst_third_party_out),
};

#define COPY_IN_ROW(name_, execute_, ...)							\
	.name		= name_,								\
	.execute	= execute_,								\
	.cdb_len	= 16,									\
	GATES(WRITE, SCST_STOPS_UA),								\
	.dir		= DMA_FROM_DEVICE,							\
	.len_at		= 10,									\
	.len_size	= 4,									\
	.cdb_mask	= { OP_THIRD_PARTY_IN, 0x1f, __VA_ARGS__, ALL4, 0, CONTROL },

/* LIST IDENTIFIER, up to the length. */
#define COPY_LID1	0xff, 0, 0, 0, 0, 0, 0, 0
#define COPY_LID4	ALL4, 0, 0, 0, 0

static const struct scst_opcode scst_row_copy_status = {
	COPY_IN_ROW("RECEIVE COPY RESULTS, COPY STATUS", scst_copy_status, COPY_LID1)
};

static const struct scst_opcode scst_row_copy_parameters = {
	COPY_IN_ROW("RECEIVE COPY RESULTS, OPERATING PARAMETERS", scst_copy_parameters, COPY_LID1)
};

static const struct scst_opcode scst_row_copy_failed = {
	COPY_IN_ROW("RECEIVE COPY RESULTS, FAILED SEGMENT DETAILS", scst_copy_failed, COPY_LID1)
};

static const struct scst_opcode scst_row_copy_status_lid4 = {
	COPY_IN_ROW("RECEIVE COPY STATUS(LID4)", scst_copy_status_lid4, COPY_LID4)
};

static const struct scst_opcode scst_row_token_information = {
	COPY_IN_ROW("RECEIVE ROD TOKEN INFORMATION", scst_copy_token_information, COPY_LID4)
};

static const struct scst_opcode *const scst_third_party_in[] = {
	[0x00]	= &scst_row_copy_status,
	[0x03]	= &scst_row_copy_parameters,
	[0x04]	= &scst_row_copy_failed,
	[0x05]	= &scst_row_copy_status_lid4,
	[0x07]	= &scst_row_token_information,
};

const struct scst_opcode scst_row_third_party_in = {
	.name		= "THIRD-PARTY COPY IN",
	.cdb_len	= 16,
	.sa		= scst_third_party_in,
	.nr_sa		= ARRAY_SIZE(scst_third_party_in),
};

static const struct scst_opcode scst_row_report_opcodes = {
	.name		= "REPORT SUPPORTED OPERATION CODES",
	.prepare	= scst_ops_prepare_report,
	.execute	= scst_ops_report,
	.cdb_len	= 12,
	GATES(PROBE, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 6,
	.len_size	= 4,
	.cdb_mask	= { MAINTENANCE_IN, 0x1f, 0x87, 0xff, ALL2, ALL4, 0, CONTROL },
};

static const struct scst_opcode scst_row_report_tmfs = {
	.name		= "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
	.prepare	= scst_ops_prepare_tmfs,
	.execute	= scst_ops_tmfs_report,
	.cdb_len	= 12,
	GATES(PROBE, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 6,
	.len_size	= 4,
	.cdb_mask	= { MAINTENANCE_IN, 0x1f, 0x80, 0, 0, 0, ALL4, 0, CONTROL },
};

/* In any state of the group: it is how an initiator finds out. */
static const struct scst_opcode scst_row_report_tpgs = {
	.name		= "REPORT TARGET PORT GROUPS",
	.prepare	= scst_alua_prepare_report,
	.execute	= scst_alua_execute_report,
	.cdb_len	= 12,
	GATES(ALWAYS, SCST_STOPS_ATTENTION),
	.flags		= SCST_OP_ALUA,
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 6,
	.len_size	= 4,
	.cdb_mask	= { MAINTENANCE_IN, 0xff, 0, 0, 0, 0, ALL4, 0, CONTROL },
	.byte1		= 0xff,
};

static const struct scst_opcode scst_row_set_tpgs = {
	.name		= "SET TARGET PORT GROUPS",
	.prepare	= scst_alua_prepare_set,
	.execute	= scst_alua_set,
	.cdb_len	= 12,
	GATES(WRITE, SCST_STOPS_ATTENTION | SCST_STOPS_READER | BIT_ULL(SCST_GATE_TRANSITIONING)),
	.flags		= SCST_OP_ALUA | SCST_OP_ALUA_SET,
	.dir		= DMA_TO_DEVICE,
	.len_at		= 6,
	.len_size	= 4,
	.cdb_mask	= { MAINTENANCE_OUT, 0x1f, 0, 0, 0, 0, ALL4, 0, CONTROL },
};

static const struct scst_opcode scst_row_report_timestamp = {
	.name		= "REPORT TIMESTAMP",
	.execute	= scst_clock_report,
	.cdb_len	= 12,
	GATES(ALWAYS, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 6,
	.len_size	= 4,
	.cdb_mask	= { MAINTENANCE_IN, 0x1f, 0, 0, 0, 0, ALL4, 0, CONTROL },
};

/* The clock is not the backing's: it can be set while that is away. */
static const struct scst_opcode scst_row_set_timestamp = {
	.name		= "SET TIMESTAMP",
	.prepare	= scst_clock_prepare_set,
	.execute	= scst_clock_execute_set,
	.cdb_len	= 12,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_READER),
	.dir		= DMA_TO_DEVICE,
	.len_at		= 6,
	.len_size	= 4,
	.cdb_mask	= { MAINTENANCE_OUT, 0x1f, 0, 0, 0, 0, ALL4, 0, CONTROL },
};

static const struct scst_opcode scst_row_report_ident = {
	.name		= "REPORT IDENTIFYING INFORMATION",
	.prepare	= scst_ident_prepare_report,
	.execute	= scst_ident_report,
	.cdb_len	= 12,
	GATES(ALWAYS, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 6,
	.len_size	= 4,
	.cdb_mask	= { MAINTENANCE_IN, 0x1f, 0, 0, 0, 0, ALL4, 0xfe, CONTROL },
};

static const struct scst_opcode scst_row_set_ident = {
	.name		= "SET IDENTIFYING INFORMATION",
	.prepare	= scst_ident_prepare_set,
	.execute	= scst_ident_set,
	.cdb_len	= 12,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_READER),
	.dir		= DMA_TO_DEVICE,
	.len_at		= 6,
	.len_size	= 4,
	.cdb_mask	= { MAINTENANCE_OUT, 0x1f, 0, 0, 0, 0, ALL4, 0xfe, CONTROL },
};

static const struct scst_opcode *const scst_maintenance_in[] = {
	[MI_REPORT_IDENTIFYING_INFORMATION]		= &scst_row_report_ident,
	[MI_REPORT_TARGET_PGS]				= &scst_row_report_tpgs,
	[MI_REPORT_SUPPORTED_OPERATION_CODES]		= &scst_row_report_opcodes,
	[MI_REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS]	= &scst_row_report_tmfs,
	[MI_REPORT_TIMESTAMP]				= &scst_row_report_timestamp,
};

const struct scst_opcode scst_row_maintenance_in = {
	.name		= "MAINTENANCE IN",
	.cdb_len	= 12,
	.sa		= scst_maintenance_in,
	.nr_sa		= ARRAY_SIZE(scst_maintenance_in),
};

static const struct scst_opcode *const scst_maintenance_out[] = {
	[MO_SET_IDENTIFYING_INFORMATION] = &scst_row_set_ident,
	[MO_SET_TARGET_PGS]	= &scst_row_set_tpgs,
	[MO_SET_TIMESTAMP]	= &scst_row_set_timestamp,
};

const struct scst_opcode scst_row_maintenance_out = {
	.name		= "MAINTENANCE OUT",
	.cdb_len	= 12,
	.sa		= scst_maintenance_out,
	.nr_sa		= ARRAY_SIZE(scst_maintenance_out),
};
