// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rows of the tables of commands: those of block devices (SBC-3).
 */
#include "cdb.h"

/* RELADR (bit 0 of byte 1) would move the LBA: refused, it was removed with SCSI-3 */
#define MASK_RW10(opcode) { opcode, 0xfe, ALL4, GROUP10, ALL2, CONTROL }
#define MASK_RW12(opcode) { opcode, 0xff, ALL4, ALL4, GROUP, CONTROL }
#define MASK_RW16(opcode) { opcode, 0xff, ALL8, ALL4, GROUP, CONTROL }

const struct scst_opcode scst_row_format_unit = {
	.name		= "FORMAT UNIT",
	.prepare	= scst_format_prepare,
	.execute	= scst_format_unit,
	.cdb_len	= 6,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | (SCST_STOPS_MEDIUM & ~BIT_ULL(SCST_GATE_FORMAT_FAILED))),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TURNS,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= { FORMAT_UNIT, 0xff, 0, 0, 0, CONTROL },
	.byte1		= 0xff,
};

/* What helps where one before it has failed.  No command may end before it is written down that one has begun. */
#define SANITIZE_ROW(action)							\
	.name		= "SANITIZE, " action,					\
	.prepare	= scst_sanitize_prepare,				\
	.cdb_len	= 10,							\
	GATES(WRITE, (SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM) & ~SCST_STOPS_FAILED),	\
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TURNS | SCST_OP_KEPT | SCST_OP_DURABLE,	\
	.dir		= DMA_TO_DEVICE,					\
	.len_at		= 7,							\
	.len_size	= 2,

static const struct scst_opcode scst_row_sanitize_overwrite = {
	SANITIZE_ROW("OVERWRITE")
	.execute	= scst_sanitize_overwrite,
	.cdb_mask	= { OP_SANITIZE, 0xbf, 0, 0, 0, 0, 0, ALL2, CONTROL },
	.byte1		= 0xbf,
};

static const struct scst_opcode scst_row_sanitize_exit = {
	SANITIZE_ROW("EXIT FAILURE MODE")
	.execute	= scst_sanitize_exit,
	.cdb_mask	= { OP_SANITIZE, 0xbf, 0, 0, 0, 0, 0, ALL2, CONTROL },
	.byte1		= 0x1f,
};

static const struct scst_opcode *const scst_sanitize[] = {
	[0x01]	= &scst_row_sanitize_overwrite,
	[0x1f]	= &scst_row_sanitize_exit,
};

const struct scst_opcode scst_row_sanitize = {
	.name		= "SANITIZE",
	.cdb_len	= 10,
	.flags		= SCST_OP_KEPT | SCST_OP_DURABLE,
	.sa		= scst_sanitize,
	.nr_sa		= ARRAY_SIZE(scst_sanitize),
};

const struct scst_opcode scst_row_read6 = {
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

const struct scst_opcode scst_row_write6 = {
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

const struct scst_opcode scst_row_start_stop = {
	.name		= "START STOP UNIT",
	.prepare	= scst_medium_prepare_start_stop,
	.execute	= scst_medium_start_stop,
	.cdb_len	= 6,
	GATES(START_STOP, SCST_STOPS_UA | SCST_STOPS_READER | SCST_STOPS_STANDBY | SCST_STOPS_PARKED),
	.flags		= SCST_OP_MEDIUM,
	.dir		= DMA_NONE,
	.cdb_mask	= { START_STOP, LUN2 | 0x01, 0, 0x0f, 0xf7, CONTROL },
};

const struct scst_opcode scst_row_prevent = {
	.name		= "PREVENT ALLOW MEDIUM REMOVAL",
	.prepare	= scst_medium_prepare_prevent,
	.execute	= scst_medium_prevent,
	.cdb_len	= 6,
	GATES(PREVENT, SCST_STOPS_UA | SCST_STOPS_STANDBY),
	.flags		= SCST_OP_REMOVABLE,
	.dir		= DMA_NONE,
	.cdb_mask	= { ALLOW_MEDIUM_REMOVAL, LUN2, 0, 0, 0x01, CONTROL },
};

const struct scst_opcode scst_row_read_capacity10 = {
	.name		= "READ CAPACITY(10)",
	.prepare	= scst_sbc_prepare_capacity,
	.execute	= scst_sbc_read_capacity10,
	.cdb_len	= 10,
	GATES(ALWAYS, SCST_STOPS_UA | SCST_STOPS_STOPPED),
	.fixed_len	= 8,
	.dir		= DMA_FROM_DEVICE,
	.cdb_mask	= { READ_CAPACITY, LUN2, ALL4, 0, 0, 0x01, CONTROL },
};

const struct scst_opcode scst_row_read10 = {
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

const struct scst_opcode scst_row_write10 = {
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

const struct scst_opcode scst_row_write_verify10 = {
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

const struct scst_opcode scst_row_verify10 = {
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

const struct scst_opcode scst_row_sync10 = {
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

const struct scst_opcode scst_row_read16 = {
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

const struct scst_opcode scst_row_write16 = {
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

const struct scst_opcode scst_row_write_verify16 = {
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

const struct scst_opcode scst_row_verify16 = {
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

const struct scst_opcode scst_row_sync16 = {
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

static const struct scst_opcode scst_row_read_capacity16 = {
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

static const struct scst_opcode scst_row_get_lba_status16 = {
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
	[SAI_READ_CAPACITY_16]	= &scst_row_read_capacity16,
	[SAI_GET_LBA_STATUS]	= &scst_row_get_lba_status16,
};

const struct scst_opcode scst_row_service_action_in = {
	.name		= "SERVICE ACTION IN(16)",
	.cdb_len	= 16,
	.sa		= scst_service_action_in16,
	.nr_sa		= ARRAY_SIZE(scst_service_action_in16),
};

/* Of byte 1 only what is meant: what PBDATA, LBDATA and ANCHOR would do to the data is not done. */
const struct scst_opcode scst_row_write_same10 = {
	.name		= "WRITE SAME(10)",
	.prepare	= scst_sbc_prepare_write_same,
	.execute	= scst_sbc_write_same,
	.cdb_len	= 10,
	.format		= SCST_CDB_RW10,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TURNS,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= { WRITE_SAME, 0xe8, ALL4, GROUP10, ALL2, CONTROL },
	.byte1		= 0xe8,
};

const struct scst_opcode scst_row_unmap = {
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

const struct scst_opcode scst_row_write_same16 = {
	.name		= "WRITE SAME(16)",
	.prepare	= scst_sbc_prepare_write_same,
	.execute	= scst_sbc_write_same,
	.cdb_len	= 16,
	.format		= SCST_CDB_RW16,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TURNS,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= { WRITE_SAME_16, 0xe9, ALL8, ALL4, GROUP10, CONTROL },
	.byte1		= 0xe9,
};

const struct scst_opcode scst_row_prefetch10 = {
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

const struct scst_opcode scst_row_prefetch16 = {
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

const struct scst_opcode scst_row_read_defects10 = {
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

const struct scst_opcode scst_row_read_defects12 = {
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

const struct scst_opcode scst_row_compare_and_write = {
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

const struct scst_opcode scst_row_orwrite16 = {
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

const struct scst_opcode scst_row_read12 = {
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

const struct scst_opcode scst_row_write12 = {
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

const struct scst_opcode scst_row_write_verify12 = {
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

const struct scst_opcode scst_row_verify12 = {
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

/* Commands of 32 bytes, with the tags that are expected (SBC-3 5.13, 5.41, 5.36, 5.47, and WRITE SAME). */
#define MASK_RW32(flags) { VARIABLE_LENGTH_CMD, CONTROL, 0, 0, 0, 0, GROUP10, 0x18, ALL2, flags, 0, ALL8, ALL8, ALL4 }

static const struct scst_opcode scst_row_read32 = {
	.name		= "READ(32)",
	.prepare	= scst_sbc_prepare_read32,
	.execute	= scst_sbc_read,
	.cdb_len	= 32,
	.format		= SCST_CDB_RW32,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_READ | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_TYPE2,
	.dir		= DMA_FROM_DEVICE,
	.cdb_mask	= MASK_RW32(0xfe),
};

static const struct scst_opcode scst_row_verify32 = {
	.name		= "VERIFY(32)",
	.prepare	= scst_sbc_prepare_verify32,
	.execute	= scst_sbc_verify,
	.cdb_len	= 32,
	.format		= SCST_CDB_RW32,
	GATES(READ, SCST_STOPS_UA | SCST_STOPS_READ | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_TYPE2,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= MASK_RW32(0xf6),
};

static const struct scst_opcode scst_row_write32 = {
	.name		= "WRITE(32)",
	.prepare	= scst_sbc_prepare_write32,
	.execute	= scst_sbc_write,
	.cdb_len	= 32,
	.format		= SCST_CDB_RW32,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TYPE2,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= MASK_RW32(0xfe),
};

static const struct scst_opcode scst_row_write_verify32 = {
	.name		= "WRITE AND VERIFY(32)",
	.prepare	= scst_sbc_prepare_write_verify32,
	.execute	= scst_sbc_write_verify,
	.cdb_len	= 32,
	.format		= SCST_CDB_RW32,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TYPE2,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= MASK_RW32(0xf6),
};

static const struct scst_opcode scst_row_write_same32 = {
	.name		= "WRITE SAME(32)",
	.prepare	= scst_sbc_prepare_write_same32,
	.execute	= scst_sbc_write_same,
	.cdb_len	= 32,
	.format		= SCST_CDB_RW32,
	GATES(WRITE, SCST_STOPS_UA | SCST_STOPS_WRITE | SCST_STOPS_MEDIUM),
	.flags		= SCST_OP_MEDIUM | SCST_OP_WRITE | SCST_OP_TURNS | SCST_OP_TYPE2,
	.dir		= DMA_TO_DEVICE,
	.cdb_mask	= MASK_RW32(0xe9),
};

static const struct scst_opcode *const scst_variable[] = {
	[READ_32]	= &scst_row_read32,
	[VERIFY_32]	= &scst_row_verify32,
	[WRITE_32]	= &scst_row_write32,
	[WRITE_SAME_32]	= &scst_row_write_same32,
	[WRITE_VERIFY_32] = &scst_row_write_verify32,
};

const struct scst_opcode scst_row_variable = {
	.name		= "VARIABLE LENGTH",
	.cdb_len	= 32,
	.flags		= SCST_OP_TYPE2,
	.sa		= scst_variable,
	.nr_sa		= ARRAY_SIZE(scst_variable),
};
