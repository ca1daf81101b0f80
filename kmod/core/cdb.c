// SPDX-License-Identifier: GPL-2.0-only
/*
 * The tables of commands, one per device type, and what a CDB says about blocks and lengths.
 *
 * Pure but for scst_cdb_prepare(), which writes down what it says.  A row's mask allows every bit that any
 * generation of the standards has given a meaning, because initiators still set obsolete bits
 * (the LUN in byte 1, LINK) and hints that may be ignored (group number, duration limits).
 * Bits that never had a meaning are refused: to ignore them would be to promise
 * something unknown; and so is NACA, where ACA is not offered (aca.c).  What a defined field may hold is the executing function's matter.
 */
#include "core.h"
#include <linux/indirect_call_wrapper.h>

/* CONTROL: vendor specific, and FLAG and LINK, obsolete; NACA is looked at where another bit is set: scst_cdb_find_reserved() */
#define CONTROL		0xc3
/* byte 1 up to SCSI-2: logical unit number */
#define LUN2		0xe0
/* one field of the CDB, all of its bits */
#define ALL2		0xff, 0xff
#define ALL4		ALL2, ALL2
#define ALL8		ALL4, ALL4
/* GROUP NUMBER; READ and WRITE (12) and (16) keep STREAMING or duration limits beside it */
#define GROUP10		0x3f
#define GROUP		0xff

/* The kernel's headers do not agree on their names, or have none. */
#define OP_COMPARE_AND_WRITE	0x89
#define OP_ORWRITE16		0x8b
#define OP_PREFETCH16		0x90
#define OP_READ_DEFECT_DATA12	0xb7
#define OP_RESERVE6	0x16
#define OP_RELEASE6	0x17
#define OP_RESERVE10	0x56
#define OP_RELEASE10	0x57
#define OP_READ_BUFFER16	0x9b
#define OP_THIRD_PARTY_OUT	0x83
#define OP_THIRD_PARTY_IN	0x84

/* Each row says what it is to reservations, and what else stops it; the gate of its class is among that, and faults strike anything. */
#define GATES(class, gates)			\
	.access	= SCST_ACCESS_##class,		\
	.stops	= (gates) | SCST_STOPS_FAULT | SCST_STOPS_ACCESS(SCST_ACCESS_##class)

/* RELADR (bit 0 of byte 1) would move the LBA: refused, it was removed with SCSI-3 */
#define MASK_RW10(opcode) { opcode, 0xfe, ALL4, GROUP10, ALL2, CONTROL }
#define MASK_RW12(opcode) { opcode, 0xff, ALL4, ALL4, GROUP, CONTROL }
#define MASK_RW16(opcode) { opcode, 0xff, ALL8, ALL4, GROUP, CONTROL }

static const struct scst_opcode op_test_unit_ready = {
	.name		= "TEST UNIT READY",
	.execute	= scst_spc_test_unit_ready,
	.cdb_len	= 6,
	GATES(PROBE, SCST_STOPS_UA | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_PROBE,
	.dir		= DMA_NONE,
	.cdb_mask	= { TEST_UNIT_READY, LUN2, 0, 0, 0, CONTROL },
};

static const struct scst_opcode op_request_sense = {
	.name		= "REQUEST SENSE",
	.execute	= scst_spc_request_sense,
	.cdb_len	= 6,
	GATES(ALWAYS, SCST_STOPS_ALWAYS),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 4,
	.len_size	= 1,
	.cdb_mask	= { REQUEST_SENSE, LUN2 | 0x01, 0, 0, 0xff, CONTROL },
};

static const struct scst_opcode op_format_unit = {
	.name		= "FORMAT UNIT",
	.prepare	= scst_format_prepare,
	.execute	= scst_format_unit,
	.cdb_len	= 6,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TURNS,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= { FORMAT_UNIT, 0x3f, 0, 0, 0, CONTROL },
	.byte1		= 0x3f,
};

static const struct scst_opcode op_read6 = {
	.name		= "READ(6)",
	.prepare	= scst_sbc_prepare_read,
	.execute	= scst_sbc_read,
	.cdb_len	= 6,
	.format		= SCST_CDB_RW6,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_READ | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_FROM_DEVICE,
	.cdb_mask	= { READ_6, 0xff, ALL2, 0xff, CONTROL },
};

static const struct scst_opcode op_write6 = {
	.name		= "WRITE(6)",
	.prepare	= scst_sbc_prepare_write,
	.execute	= scst_sbc_write,
	.cdb_len	= 6,
	.format		= SCST_CDB_RW6,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= { WRITE_6, 0xff, ALL2, 0xff, CONTROL },
};

static const struct scst_opcode op_inquiry = {
	.name		= "INQUIRY",
	.execute	= scst_spc_inquiry,
	.cdb_len	= 6,
	GATES(ALWAYS, SCST_STOPS_ALWAYS),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 3,
	.len_size	= 2,
	.cdb_mask	= { INQUIRY, LUN2 | 0x01, 0xff, ALL2, CONTROL },
};

static const struct scst_opcode op_mode_select6 = {
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

static const struct scst_opcode op_mode_sense6 = {
	.name		= "MODE SENSE(6)",
	.execute	= scst_mode_sense,
	.cdb_len	= 6,
	GATES(READ, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 4,
	.len_size	= 1,
	.cdb_mask	= { MODE_SENSE, LUN2 | 0x08, ALL2, 0xff, CONTROL },
};

static const struct scst_opcode op_start_stop = {
	.name		= "START STOP UNIT",
	.prepare	= scst_medium_prepare_start_stop,
	.execute	= scst_medium_start_stop,
	.cdb_len	= 6,
	GATES(START_STOP, SCST_STOPS_UA | SCST_STOPS_READER | SCST_STOPS_STANDBY | SCST_STOPS_PARKED),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_NONE,
	.cdb_mask	= { START_STOP, LUN2 | 0x01, 0, 0x0f, 0xf7, CONTROL },
};

static const struct scst_opcode op_prevent = {
	.name		= "PREVENT ALLOW MEDIUM REMOVAL",
	.prepare	= scst_medium_prepare_prevent,
	.execute	= scst_medium_prevent,
	.cdb_len	= 6,
	GATES(PREVENT, SCST_STOPS_UA | SCST_STOPS_STANDBY),
	.flags		= SCST_OP_REMOVABLE,
	.dir		= DMA_NONE,
	.cdb_mask	= { ALLOW_MEDIUM_REMOVAL, LUN2, 0, 0, 0x01, CONTROL },
};

/* Of self-tests there is the default one. */
static const struct scst_opcode op_send_diagnostic = {
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

static const struct scst_opcode op_receive_diagnostic = {
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

static const struct scst_opcode op_read_capacity10 = {
	.name		= "READ CAPACITY(10)",
	.prepare	= scst_sbc_prepare_capacity,
	.execute	= scst_sbc_read_capacity10,
	.cdb_len	= 10,
	GATES(ALWAYS, SCST_STOPS_UA | SCST_STOPS_STOPPED),
	.fixed_len	= 8,
	.dir		= DMA_FROM_DEVICE,
	.cdb_mask	= { READ_CAPACITY, LUN2, ALL4, 0, 0, 0x01, CONTROL },
};

static const struct scst_opcode op_read10 = {
	.name		= "READ(10)",
	.prepare	= scst_sbc_prepare_read,
	.execute	= scst_sbc_read,
	.cdb_len	= 10,
	.format		= SCST_CDB_RW10,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_READ | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_FROM_DEVICE,
	.cdb_mask	= MASK_RW10(READ_10),
	.byte1		= 0xf8,
};

static const struct scst_opcode op_write10 = {
	.name		= "WRITE(10)",
	.prepare	= scst_sbc_prepare_write,
	.execute	= scst_sbc_write,
	.cdb_len	= 10,
	.format		= SCST_CDB_RW10,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= MASK_RW10(WRITE_10),
	.byte1		= 0xf8,
};

static const struct scst_opcode op_write_verify10 = {
	.name		= "WRITE AND VERIFY(10)",
	.prepare	= scst_sbc_prepare_write_verify,
	.execute	= scst_sbc_write_verify,
	.cdb_len	= 10,
	.format		= SCST_CDB_RW10,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= MASK_RW10(WRITE_VERIFY),
	.byte1		= 0xf6,
};

static const struct scst_opcode op_verify10 = {
	.name		= "VERIFY(10)",
	.prepare	= scst_sbc_prepare_verify,
	.execute	= scst_sbc_verify,
	.cdb_len	= 10,
	.format		= SCST_CDB_RW10,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_READ | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= MASK_RW10(VERIFY),
	.byte1		= 0xf6,
};

static const struct scst_opcode op_sync10 = {
	.name		= "SYNCHRONIZE CACHE(10)",
	.prepare	= scst_sbc_prepare_sync,
	.execute	= scst_sbc_sync,
	.cdb_len	= 10,
	.format		= SCST_CDB_RW10,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_NONE,
	.cdb_mask	= { SYNCHRONIZE_CACHE, LUN2 | 0x06, ALL4, GROUP10, ALL2, CONTROL },
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

static const struct scst_opcode op_read_buffer10_data = {
	READ_BUFFER10_ROW("DATA")
	.prepare	= scst_buffer_prepare_read,
	.execute	= scst_buffer_read,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_STANDBY),
	.cdb_mask	= { READ_BUFFER, 0x1f, 0xff, 0xff, ALL2, 0xff, ALL2, CONTROL },
};

static const struct scst_opcode op_read_buffer10_descriptor = {
	READ_BUFFER10_ROW("DESCRIPTOR")
	.execute	= scst_buffer_descriptor,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_STANDBY),
	.cdb_mask	= { READ_BUFFER, 0x1f, 0xff, 0, 0, 0, 0xff, ALL2, CONTROL },
};

static const struct scst_opcode op_read_buffer10_echo = {
	READ_BUFFER10_ROW("ECHO BUFFER")
	.execute	= scst_buffer_read_echo,
	GATES(READ, STOPS_ECHO),
	.cdb_mask	= { READ_BUFFER, 0x1f, 0xff, 0xff, ALL2, 0xff, ALL2, CONTROL },
};

static const struct scst_opcode op_read_buffer10_echo_descriptor = {
	READ_BUFFER10_ROW("ECHO BUFFER DESCRIPTOR")
	.execute	= scst_buffer_echo_descriptor,
	GATES(READ, STOPS_ECHO),
	.cdb_mask	= { READ_BUFFER, 0x1f, 0, 0, 0, 0, 0xff, ALL2, CONTROL },
};

static const struct scst_opcode *const scst_read_buffer10[] = {
	[BUFFER_DATA]			= &op_read_buffer10_data,
	[BUFFER_DESCRIPTOR]		= &op_read_buffer10_descriptor,
	[BUFFER_ECHO]			= &op_read_buffer10_echo,
	[BUFFER_ECHO_DESCRIPTOR]	= &op_read_buffer10_echo_descriptor,
};

static const struct scst_opcode op_read_buffer10 = {
	.name		= "READ BUFFER(10)",
	.cdb_len	= 10,
	.sa		= scst_read_buffer10,
	.nr_sa		= ARRAY_SIZE(scst_read_buffer10),
};

static const struct scst_opcode op_read_buffer16_data = {
	READ_BUFFER16_ROW("DATA")
	.prepare	= scst_buffer_prepare_read,
	.execute	= scst_buffer_read,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_STANDBY),
	.cdb_mask	= { OP_READ_BUFFER16, 0x1f, ALL8, ALL4, 0xff, CONTROL },
};

static const struct scst_opcode op_read_buffer16_descriptor = {
	READ_BUFFER16_ROW("DESCRIPTOR")
	.execute	= scst_buffer_descriptor,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_STANDBY),
	.cdb_mask	= { OP_READ_BUFFER16, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, ALL4, 0xff, CONTROL },
};

static const struct scst_opcode op_read_buffer16_echo = {
	READ_BUFFER16_ROW("ECHO BUFFER")
	.execute	= scst_buffer_read_echo,
	GATES(READ, STOPS_ECHO),
	.cdb_mask	= { OP_READ_BUFFER16, 0x1f, ALL8, ALL4, 0xff, CONTROL },
};

static const struct scst_opcode op_read_buffer16_echo_descriptor = {
	READ_BUFFER16_ROW("ECHO BUFFER DESCRIPTOR")
	.execute	= scst_buffer_echo_descriptor,
	GATES(READ, STOPS_ECHO),
	.cdb_mask	= { OP_READ_BUFFER16, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, ALL4, 0, CONTROL },
};

static const struct scst_opcode *const scst_read_buffer16[] = {
	[BUFFER_DATA]			= &op_read_buffer16_data,
	[BUFFER_DESCRIPTOR]		= &op_read_buffer16_descriptor,
	[BUFFER_ECHO]			= &op_read_buffer16_echo,
	[BUFFER_ECHO_DESCRIPTOR]	= &op_read_buffer16_echo_descriptor,
};

static const struct scst_opcode op_read_buffer16 = {
	.name		= "READ BUFFER(16)",
	.cdb_len	= 16,
	.sa		= scst_read_buffer16,
	.nr_sa		= ARRAY_SIZE(scst_read_buffer16),
};

static const struct scst_opcode op_write_buffer_data = {
	WRITE_BUFFER_ROW("DATA")
	.prepare	= scst_buffer_prepare_write,
	.execute	= scst_buffer_write,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_READER | SCST_STOPS_STANDBY),
};

static const struct scst_opcode op_write_buffer_echo = {
	WRITE_BUFFER_ROW("ECHO BUFFER")
	.prepare	= scst_buffer_prepare_echo,
	.execute	= scst_buffer_write_echo,
	GATES(WRITE, STOPS_ECHO | SCST_STOPS_READER),
};

static const struct scst_opcode *const scst_write_buffer[] = {
	[BUFFER_DATA]	= &op_write_buffer_data,
	[BUFFER_ECHO]	= &op_write_buffer_echo,
};

static const struct scst_opcode op_write_buffer = {
	.name		= "WRITE BUFFER",
	.cdb_len	= 10,
	.sa		= scst_write_buffer,
	.nr_sa		= ARRAY_SIZE(scst_write_buffer),
};

static const struct scst_opcode op_log_sense = {
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

static const struct scst_opcode op_mode_select10 = {
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

static const struct scst_opcode op_mode_sense10 = {
	.name		= "MODE SENSE(10)",
	.execute	= scst_mode_sense,
	.cdb_len	= 10,
	GATES(READ, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 7,
	.len_size	= 2,
	.cdb_mask	= { MODE_SENSE_10, LUN2 | 0x18, ALL2, 0, 0, 0, ALL2, CONTROL },
};

static const struct scst_opcode op_read16 = {
	.name		= "READ(16)",
	.prepare	= scst_sbc_prepare_read,
	.execute	= scst_sbc_read,
	.cdb_len	= 16,
	.format		= SCST_CDB_RW16,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_READ | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_FROM_DEVICE,
	.cdb_mask	= MASK_RW16(READ_16),
	.byte1		= 0xf8,
};

static const struct scst_opcode op_write16 = {
	.name		= "WRITE(16)",
	.prepare	= scst_sbc_prepare_write,
	.execute	= scst_sbc_write,
	.cdb_len	= 16,
	.format		= SCST_CDB_RW16,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= MASK_RW16(WRITE_16),
	.byte1		= 0xf8,
};

static const struct scst_opcode op_write_verify16 = {
	.name		= "WRITE AND VERIFY(16)",
	.prepare	= scst_sbc_prepare_write_verify,
	.execute	= scst_sbc_write_verify,
	.cdb_len	= 16,
	.format		= SCST_CDB_RW16,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= MASK_RW16(WRITE_VERIFY_16),
	.byte1		= 0xf6,
};

static const struct scst_opcode op_verify16 = {
	.name		= "VERIFY(16)",
	.prepare	= scst_sbc_prepare_verify,
	.execute	= scst_sbc_verify,
	.cdb_len	= 16,
	.format		= SCST_CDB_RW16,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_READ | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= MASK_RW16(VERIFY_16),
	.byte1		= 0xf6,
};

static const struct scst_opcode op_sync16 = {
	.name		= "SYNCHRONIZE CACHE(16)",
	.prepare	= scst_sbc_prepare_sync,
	.execute	= scst_sbc_sync,
	.cdb_len	= 16,
	.format		= SCST_CDB_RW16,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_NONE,
	.cdb_mask	= { SYNCHRONIZE_CACHE_16, 0x06, ALL8, ALL4, GROUP10, CONTROL },
};

static const struct scst_opcode op_read_capacity16 = {
	.name		= "READ CAPACITY(16)",
	.prepare	= scst_sbc_prepare_capacity,
	.execute	= scst_sbc_read_capacity16,
	.cdb_len	= 16,
	GATES(ALWAYS, SCST_STOPS_UA | SCST_STOPS_STOPPED),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 10,
	.len_size	= 4,
	.cdb_mask	= { SERVICE_ACTION_IN_16, 0x1f, ALL8, ALL4, 0x01, CONTROL },
};

static const struct scst_opcode op_get_lba_status16 = {
	.name		= "GET LBA STATUS(16)",
	.prepare	= scst_thin_prepare_status,
	.execute	= scst_thin_status,
	.cdb_len	= 16,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_THIN,
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 10,
	.len_size	= 4,
	.cdb_mask	= { SERVICE_ACTION_IN_16, 0x1f, ALL8, ALL4, 0, CONTROL },
};

static const struct scst_opcode *const scst_service_action_in16[] = {
	[SAI_READ_CAPACITY_16]	= &op_read_capacity16,
	[SAI_GET_LBA_STATUS]	= &op_get_lba_status16,
};

static const struct scst_opcode op_service_action_in = {
	.name		= "SERVICE ACTION IN(16)",
	.cdb_len	= 16,
	.sa		= scst_service_action_in16,
	.nr_sa		= ARRAY_SIZE(scst_service_action_in16),
};

/* Of byte 1 only what is meant: what PBDATA, LBDATA and ANCHOR would do to the data is not done. */
static const struct scst_opcode op_write_same10 = {
	.name		= "WRITE SAME(10)",
	.prepare	= scst_sbc_prepare_write_same,
	.execute	= scst_sbc_write_same,
	.cdb_len	= 10,
	.format		= SCST_CDB_RW10,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TURNS,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= { WRITE_SAME, 0x08, ALL4, GROUP10, ALL2, CONTROL },
};

static const struct scst_opcode op_unmap = {
	.name		= "UNMAP",
	.prepare	= scst_thin_prepare_unmap,
	.execute	= scst_thin_unmap,
	.cdb_len	= 10,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TURNS | SCST_OP_THIN,
	.dir		= DMA_TO_DEVICE,
	.len_at		= 7,
	.len_size	= 2,
	.cdb_mask	= { UNMAP, 0, 0, 0, 0, 0, GROUP10, ALL2, CONTROL },
};

static const struct scst_opcode op_write_same16 = {
	.name		= "WRITE SAME(16)",
	.prepare	= scst_sbc_prepare_write_same,
	.execute	= scst_sbc_write_same,
	.cdb_len	= 16,
	.format		= SCST_CDB_RW16,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TURNS,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= { WRITE_SAME_16, 0x09, ALL8, ALL4, GROUP10, CONTROL },
};

static const struct scst_opcode op_prefetch10 = {
	.name		= "PRE-FETCH(10)",
	.prepare	= scst_prefetch_prepare,
	.execute	= scst_prefetch_begin,
	.cdb_len	= 10,
	.format		= SCST_CDB_RW10,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_READ | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_NONE,
	.cdb_mask	= { PRE_FETCH, LUN2 | 0x02, ALL4, GROUP10, ALL2, CONTROL },
};

static const struct scst_opcode op_prefetch16 = {
	.name		= "PRE-FETCH(16)",
	.prepare	= scst_prefetch_prepare,
	.execute	= scst_prefetch_begin,
	.cdb_len	= 16,
	.format		= SCST_CDB_RW16,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_READ | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_NONE,
	.cdb_mask	= { OP_PREFETCH16, 0x02, ALL8, ALL4, GROUP10, CONTROL },
};

static const struct scst_opcode op_read_defects10 = {
	.name		= "READ DEFECT DATA(10)",
	.prepare	= scst_defects_prepare,
	.execute	= scst_defects_report,
	.cdb_len	= 10,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 7,
	.len_size	= 2,
	.cdb_mask	= { READ_DEFECT_DATA, LUN2, 0x1f, 0, 0, 0, 0, ALL2, CONTROL },
};

static const struct scst_opcode op_read_defects12 = {
	.name		= "READ DEFECT DATA(12)",
	.prepare	= scst_defects_prepare,
	.execute	= scst_defects_report,
	.cdb_len	= 12,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 6,
	.len_size	= 4,
	.cdb_mask	= { OP_READ_DEFECT_DATA12, 0x1f, 0, 0, 0, 0, ALL4, 0, CONTROL },
};

static const struct scst_opcode op_compare_and_write = {
	.name		= "COMPARE AND WRITE",
	.prepare	= scst_sbc_prepare_caw,
	.execute	= scst_sbc_caw,
	.cdb_len	= 16,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TURNS | SCST_OP_KEPT,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= { OP_COMPARE_AND_WRITE, 0xfa, ALL8, 0, 0, 0, 0xff, GROUP10, CONTROL },
	.byte1		= 0xf8,
};

static const struct scst_opcode op_orwrite16 = {
	.name		= "ORWRITE(16)",
	.prepare	= scst_sbc_prepare_or,
	.execute	= scst_sbc_or,
	.cdb_len	= 16,
	.format		= SCST_CDB_RW16,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TURNS | SCST_OP_KEPT,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= { OP_ORWRITE16, 0xfa, ALL8, ALL4, GROUP10, CONTROL },
	.byte1		= 0xf8,
};

static const struct scst_opcode op_report_luns = {
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

static const struct scst_opcode op_read12 = {
	.name		= "READ(12)",
	.prepare	= scst_sbc_prepare_read,
	.execute	= scst_sbc_read,
	.cdb_len	= 12,
	.format		= SCST_CDB_RW12,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_READ | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_FROM_DEVICE,
	.cdb_mask	= MASK_RW12(READ_12),
	.byte1		= 0xf8,
};

static const struct scst_opcode op_write12 = {
	.name		= "WRITE(12)",
	.prepare	= scst_sbc_prepare_write,
	.execute	= scst_sbc_write,
	.cdb_len	= 12,
	.format		= SCST_CDB_RW12,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= MASK_RW12(WRITE_12),
	.byte1		= 0xf8,
};

static const struct scst_opcode op_write_verify12 = {
	.name		= "WRITE AND VERIFY(12)",
	.prepare	= scst_sbc_prepare_write_verify,
	.execute	= scst_sbc_write_verify,
	.cdb_len	= 12,
	.format		= SCST_CDB_RW12,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= MASK_RW12(WRITE_VERIFY_12),
	.byte1		= 0xf6,
};

static const struct scst_opcode op_verify12 = {
	.name		= "VERIFY(12)",
	.prepare	= scst_sbc_prepare_verify,
	.execute	= scst_sbc_verify,
	.cdb_len	= 12,
	.format		= SCST_CDB_RW12,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_READ | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= MASK_RW12(VERIFY_12),
	.byte1		= 0xf6,
};

/* Extents and third parties are refused; what identified a reservation of extents is not looked at (SPC-2 7.21). */
static const struct scst_opcode op_reserve6 = {
	.name		= "RESERVE(6)",
	.execute	= scst_reserve,
	.cdb_len	= 6,
	GATES(RESERVE, SCST_STOPS_UA | SCST_STOPS_READER | SCST_STOPS_STANDBY),
	.dir		= DMA_NONE,
	.cdb_mask	= { OP_RESERVE6, LUN2, 0xff, 0, 0, CONTROL },
};

static const struct scst_opcode op_release6 = {
	.name		= "RELEASE(6)",
	.execute	= scst_release,
	.cdb_len	= 6,
	GATES(RELEASE, SCST_STOPS_UA | SCST_STOPS_STANDBY),
	.dir		= DMA_NONE,
	.cdb_mask	= { OP_RELEASE6, LUN2, 0xff, 0, 0, CONTROL },
};

static const struct scst_opcode op_reserve10 = {
	.name		= "RESERVE(10)",
	.execute	= scst_reserve,
	.cdb_len	= 10,
	GATES(RESERVE, SCST_STOPS_UA | SCST_STOPS_READER | SCST_STOPS_STANDBY),
	.dir		= DMA_NONE,
	.cdb_mask	= { OP_RESERVE10, LUN2, 0xff, 0, 0, 0, 0, 0, 0, CONTROL },
};

static const struct scst_opcode op_release10 = {
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

static const struct scst_opcode op_read_keys = {
	PR_IN_ROW("READ KEYS")
};

static const struct scst_opcode op_read_reservation = {
	PR_IN_ROW("READ RESERVATION")
};

static const struct scst_opcode op_report_capabilities = {
	PR_IN_ROW("REPORT CAPABILITIES")
};

static const struct scst_opcode op_read_full_status = {
	PR_IN_ROW("READ FULL STATUS")
};

static const struct scst_opcode *const scst_ops_pr_in[] = {
	&op_read_keys,
	&op_read_reservation,
	&op_report_capabilities,
	&op_read_full_status,
};

static const struct scst_opcode op_persistent_reserve_in = {
	.name		= "PERSISTENT RESERVE IN",
	.cdb_len	= 10,
	.sa		= scst_ops_pr_in,
	.nr_sa		= ARRAY_SIZE(scst_ops_pr_in),
};

static const struct scst_opcode op_pr_register = {
	PR_OUT_ROW("REGISTER")
};

static const struct scst_opcode op_pr_reserve = {
	PR_OUT_ROW("RESERVE")
};

static const struct scst_opcode op_pr_release = {
	PR_OUT_ROW("RELEASE")
};

static const struct scst_opcode op_pr_clear = {
	PR_OUT_ROW("CLEAR")
};

static const struct scst_opcode op_pr_preempt = {
	PR_OUT_ROW("PREEMPT")
};

static const struct scst_opcode op_pr_preempt_abort = {
	PR_OUT_ROW("PREEMPT AND ABORT")
};

static const struct scst_opcode op_pr_register_ignore = {
	PR_OUT_ROW("REGISTER AND IGNORE EXISTING KEY")
};

static const struct scst_opcode op_pr_register_move = {
	PR_OUT_ROW("REGISTER AND MOVE")
};

static const struct scst_opcode op_pr_replace_lost = {
	PR_OUT_ROW("REPLACE LOST RESERVATION")
};

static const struct scst_opcode *const scst_ops_pr_out[SCST_PR_ACTIONS] = {
	[SCST_PR_REGISTER] = &op_pr_register,
	[SCST_PR_RESERVE] = &op_pr_reserve,
	[SCST_PR_RELEASE] = &op_pr_release,
	[SCST_PR_CLEAR] = &op_pr_clear,
	[SCST_PR_PREEMPT] = &op_pr_preempt,
	[SCST_PR_PREEMPT_AND_ABORT] = &op_pr_preempt_abort,
	[SCST_PR_REGISTER_AND_IGNORE] = &op_pr_register_ignore,
	[SCST_PR_REGISTER_AND_MOVE] = &op_pr_register_move,
	[SCST_PR_REPLACE_LOST] = &op_pr_replace_lost,
};

static const struct scst_opcode op_persistent_reserve_out = {
	.name		= "PERSISTENT RESERVE OUT",
	.cdb_len	= 10,
	.sa		= scst_ops_pr_out,
	.nr_sa		= ARRAY_SIZE(scst_ops_pr_out),
};

/* Its source may be read-only; what it may do where is asked for with each chunk: see copy-part.c. */
static const struct scst_opcode op_extended_copy = {
	.name		= "EXTENDED COPY",
	.prepare	= scst_copy_prepare,
	.execute	= scst_copy_execute,
	.cdb_len	= 16,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_WRITE | SCST_OP_TURNS,
	.dir		= DMA_TO_DEVICE,
	.len_at		= 10,
	.len_size	= 4,
	.cdb_mask	= { OP_THIRD_PARTY_OUT, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0, ALL4, 0, CONTROL },
};

static const struct scst_opcode op_populate_token = {
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
static const struct scst_opcode op_write_using_token = {
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
static const struct scst_opcode op_copy_abort = {
	.name		= "COPY OPERATION ABORT",
	.execute	= scst_copy_abort,
	.cdb_len	= 16,
	GATES(WRITE, SCST_STOPS_UA),
	.dir		= DMA_NONE,
	.cdb_mask	= { OP_THIRD_PARTY_OUT, 0x1f, ALL4, 0, 0, 0, 0, 0, 0, 0, 0, 0, CONTROL },
};

static const struct scst_opcode *const scst_third_party_out[] = {
	[0x00]	= &op_extended_copy,
	[0x10]	= &op_populate_token,
	[0x11]	= &op_write_using_token,
	[0x1c]	= &op_copy_abort,
};

static const struct scst_opcode op_third_party_out = {
	.name		= "THIRD-PARTY COPY OUT",
	.cdb_len	= 16,
	.sa		= scst_third_party_out,
	.nr_sa		= ARRAY_SIZE(scst_third_party_out),
};

#define COPY_RESULTS_MASK { OP_THIRD_PARTY_IN, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, ALL4, 0, CONTROL }

static const struct scst_opcode op_copy_status = {
	.name		= "RECEIVE COPY RESULTS, COPY STATUS",
	.execute	= scst_copy_status,
	.cdb_len	= 16,
	GATES(WRITE, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 10,
	.len_size	= 4,
	.cdb_mask	= COPY_RESULTS_MASK,
};

static const struct scst_opcode op_copy_parameters = {
	.name		= "RECEIVE COPY RESULTS, OPERATING PARAMETERS",
	.execute	= scst_copy_parameters,
	.cdb_len	= 16,
	GATES(WRITE, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 10,
	.len_size	= 4,
	.cdb_mask	= COPY_RESULTS_MASK,
};

static const struct scst_opcode op_copy_failed = {
	.name		= "RECEIVE COPY RESULTS, FAILED SEGMENT DETAILS",
	.execute	= scst_copy_failed,
	.cdb_len	= 16,
	GATES(WRITE, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 10,
	.len_size	= 4,
	.cdb_mask	= COPY_RESULTS_MASK,
};

static const struct scst_opcode op_token_information = {
	.name		= "RECEIVE ROD TOKEN INFORMATION",
	.execute	= scst_copy_token_information,
	.cdb_len	= 16,
	GATES(WRITE, SCST_STOPS_UA),
	.dir		= DMA_FROM_DEVICE,
	.len_at		= 10,
	.len_size	= 4,
	.cdb_mask	= { OP_THIRD_PARTY_IN, 0x1f, ALL4, 0, 0, 0, 0, ALL4, 0, CONTROL },
};

static const struct scst_opcode *const scst_third_party_in[] = {
	[0x00]	= &op_copy_status,
	[0x03]	= &op_copy_parameters,
	[0x04]	= &op_copy_failed,
	[0x07]	= &op_token_information,
};

static const struct scst_opcode op_third_party_in = {
	.name		= "THIRD-PARTY COPY IN",
	.cdb_len	= 16,
	.sa		= scst_third_party_in,
	.nr_sa		= ARRAY_SIZE(scst_third_party_in),
};

static const struct scst_opcode op_report_opcodes = {
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

static const struct scst_opcode op_report_tmfs = {
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
static const struct scst_opcode op_report_tpgs = {
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

static const struct scst_opcode op_set_tpgs = {
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

static const struct scst_opcode op_report_timestamp = {
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
static const struct scst_opcode op_set_timestamp = {
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

static const struct scst_opcode op_report_ident = {
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

static const struct scst_opcode op_set_ident = {
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
	[MI_REPORT_IDENTIFYING_INFORMATION]		= &op_report_ident,
	[MI_REPORT_TARGET_PGS]				= &op_report_tpgs,
	[MI_REPORT_SUPPORTED_OPERATION_CODES]		= &op_report_opcodes,
	[MI_REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS]	= &op_report_tmfs,
	[MI_REPORT_TIMESTAMP]				= &op_report_timestamp,
};

static const struct scst_opcode op_maintenance_in = {
	.name		= "MAINTENANCE IN",
	.cdb_len	= 12,
	.sa		= scst_maintenance_in,
	.nr_sa		= ARRAY_SIZE(scst_maintenance_in),
};

static const struct scst_opcode *const scst_maintenance_out[] = {
	[MO_SET_IDENTIFYING_INFORMATION] = &op_set_ident,
	[MO_SET_TARGET_PGS]	= &op_set_tpgs,
	[MO_SET_TIMESTAMP]	= &op_set_timestamp,
};

static const struct scst_opcode op_maintenance_out = {
	.name		= "MAINTENANCE OUT",
	.cdb_len	= 12,
	.sa		= scst_maintenance_out,
	.nr_sa		= ARRAY_SIZE(scst_maintenance_out),
};

/* Block devices (SBC-3). */
static const struct scst_op_table scst_ops_sbc = { .row = {
	[TEST_UNIT_READY]	= &op_test_unit_ready,
	[REQUEST_SENSE]		= &op_request_sense,
	[FORMAT_UNIT]		= &op_format_unit,
	[READ_6]		= &op_read6,
	[WRITE_6]		= &op_write6,
	[INQUIRY]		= &op_inquiry,
	[MODE_SELECT]		= &op_mode_select6,
	[OP_RESERVE6]		= &op_reserve6,
	[OP_RELEASE6]		= &op_release6,
	[MODE_SENSE]		= &op_mode_sense6,
	[START_STOP]		= &op_start_stop,
	[RECEIVE_DIAGNOSTIC]	= &op_receive_diagnostic,
	[SEND_DIAGNOSTIC]	= &op_send_diagnostic,
	[ALLOW_MEDIUM_REMOVAL]	= &op_prevent,
	[READ_CAPACITY]		= &op_read_capacity10,
	[READ_10]		= &op_read10,
	[WRITE_10]		= &op_write10,
	[WRITE_VERIFY]		= &op_write_verify10,
	[VERIFY]		= &op_verify10,
	[SYNCHRONIZE_CACHE]	= &op_sync10,
	[WRITE_BUFFER]		= &op_write_buffer,
	[READ_BUFFER]		= &op_read_buffer10,
	[OP_READ_BUFFER16]	= &op_read_buffer16,
	[WRITE_SAME]		= &op_write_same10,
	[UNMAP]			= &op_unmap,
	[LOG_SENSE]		= &op_log_sense,
	[MODE_SELECT_10]	= &op_mode_select10,
	[OP_RESERVE10]		= &op_reserve10,
	[OP_RELEASE10]		= &op_release10,
	[MODE_SENSE_10]		= &op_mode_sense10,
	[PERSISTENT_RESERVE_IN]	= &op_persistent_reserve_in,
	[PERSISTENT_RESERVE_OUT] = &op_persistent_reserve_out,
	[OP_THIRD_PARTY_OUT]	= &op_third_party_out,
	[OP_THIRD_PARTY_IN]	= &op_third_party_in,
	[READ_16]		= &op_read16,
	[PRE_FETCH]		= &op_prefetch10,
	[OP_PREFETCH16]		= &op_prefetch16,
	[READ_DEFECT_DATA]	= &op_read_defects10,
	[OP_READ_DEFECT_DATA12]	= &op_read_defects12,
	[OP_COMPARE_AND_WRITE]	= &op_compare_and_write,
	[WRITE_16]		= &op_write16,
	[OP_ORWRITE16]		= &op_orwrite16,
	[WRITE_VERIFY_16]	= &op_write_verify16,
	[VERIFY_16]		= &op_verify16,
	[SYNCHRONIZE_CACHE_16]	= &op_sync16,
	[WRITE_SAME_16]		= &op_write_same16,
	[SERVICE_ACTION_IN_16]	= &op_service_action_in,
	[REPORT_LUNS]		= &op_report_luns,
	[MAINTENANCE_IN]	= &op_maintenance_in,
	[MAINTENANCE_OUT]	= &op_maintenance_out,
	[READ_12]		= &op_read12,
	[WRITE_12]		= &op_write12,
	[WRITE_VERIFY_12]	= &op_write_verify12,
	[VERIFY_12]		= &op_verify12,
} };

/* Absent logical units (SPC-4 6.6.1, 6.33, 6.39). */
const struct scst_op_table scst_ops_no_lun = { .row = {
	[REQUEST_SENSE]		= &op_request_sense,
	[INQUIRY]		= &op_inquiry,
	[REPORT_LUNS]		= &op_report_luns,
} };

/* The commands of a device type, or NULL: of a type that is not known.  Pure. */
const struct scst_op_table *scst_ops_of_type(u8 device_type)
{
	return device_type == TYPE_DISK ? &scst_ops_sbc : NULL;
}

/**
 * scst_op_service_action() - the row of a command that has service actions
 * @op: the row of its opcode
 * @cdb: the CDB
 * @cdb_len: its length
 *
 * Pure.  Return: the row, or NULL if there is no such service action.
 */
const struct scst_opcode *scst_op_service_action(const struct scst_opcode *op, const u8 *cdb, u8 cdb_len)
{
	unsigned int sa;

	if (cdb_len < op->cdb_len)
		return NULL;
	sa = op->cdb_len > 16 ? get_unaligned_be16(cdb + 8) : cdb[1] & 0x1f;
	return sa < op->nr_sa ? op->sa[sa] : NULL;
}

/* Is a command of the table one of this device, too?  @dev: NULL for an absent logical unit.  Pure. */
bool scst_op_offered(const struct scst_opcode *op, const struct scst_device *dev)
{
	if (op->flags & SCST_OP_THIN && !dev->thin)
		return false;
	if (op->flags & SCST_OP_REMOVABLE && !dev->removable)
		return false;
	if (op->flags & SCST_OP_ALUA && !scst_alua_offered(dev, op->flags & SCST_OP_ALUA_SET))
		return false;
	return !(op->flags & SCST_OP_KEPT) || !(dev->handler->flags & SCST_HANDLER_FORGETS);
}

static u32 scst_cdb_length(const struct scst_opcode *op, const u8 *cdb)
{
	switch (op->len_size) {
	case 1:
		return cdb[op->len_at];
	case 2:
		return get_unaligned_be16(cdb + op->len_at);
	case 3:
		return get_unaligned_be24(cdb + op->len_at);
	case 4:
		return get_unaligned_be32(cdb + op->len_at);
	default:
		return op->fixed_len;
	}
}

/* More than any reply or parameter list has. */
#define PLAIN_MAX	SZ_256K

static noinline bool scst_cdb_prepare_plain(struct scst_cmd *cmd)
{
	const struct scst_opcode *op = cmd->op;

	cmd->lba = 0;
	cmd->nblocks = 0;
	cmd->xfer_len = scst_cdb_length(op, cmd->cdb);
	cmd->len = min3(cmd->xfer_len, scst_cmd_room(cmd), (u32)PLAIN_MAX);
	return !op->prepare || op->prepare(cmd);
}

/**
 * scst_cdb_prepare() - write down what a CDB asks for, and check it against the device
 * @cmd: its opcode is known and its reserved bits are clear
 *
 * Any context.  Sets lba, nblocks, xfer_len, len, pos and whatever else execute() needs; may be called again when data has
 * come.  Return: false: refused, status and sense data are set.
 */
bool scst_cdb_prepare(struct scst_cmd *cmd)
{
	const struct scst_opcode *op = cmd->op;
	const u8 *cdb = cmd->cdb;

	switch (op->format) {
	case SCST_CDB_RW10:
		cmd->lba = get_unaligned_be32(cdb + 2);
		cmd->nblocks = get_unaligned_be16(cdb + 7);
		break;
	case SCST_CDB_RW16:
		cmd->lba = get_unaligned_be64(cdb + 2);
		cmd->nblocks = get_unaligned_be32(cdb + 10);
		break;
	case SCST_CDB_RW12:
		cmd->lba = get_unaligned_be32(cdb + 2);
		cmd->nblocks = get_unaligned_be32(cdb + 6);
		break;
	case SCST_CDB_RW6:
		cmd->lba = get_unaligned_be24(cdb + 1) & 0x1fffff;
		cmd->nblocks = cdb[4] ?: 256;
		break;
	default:
		return scst_cdb_prepare_plain(cmd);
	}
	/* Two functions are nearly all there is, and an indirect call costs more than two comparisons. */
	return INDIRECT_CALL_2(op->prepare, scst_sbc_prepare_read, scst_sbc_prepare_write, cmd);
}

/* See scst_cdb_reserved_bit(); @control: what may be set in CONTROL as well. */
int scst_cdb_find_reserved(const struct scst_opcode *op, const u8 *cdb, u8 control)
{
	unsigned int i, control_at = scst_cdb_control_at(cdb[0]);

	for (i = 0; i < op->cdb_len; i++) {
		u8 bad = cdb[i] & ~op->cdb_mask[i] & ~(i == control_at ? control : 0);

		if (bad)
			return i * 8 + fls(bad) - 1;
	}
	return -1;
}
