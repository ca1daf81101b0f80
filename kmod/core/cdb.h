/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rows of the tables of commands: what those files share that have them.
 *
 * A row's mask allows every bit that any generation of the standards has given a meaning, because initiators still set
 * obsolete bits (the LUN in byte 1, LINK) and hints that may be ignored (group number, duration limits).
 * Bits that never had a meaning are refused: to ignore them would be to promise
 * something unknown; and so is NACA, where ACA is not offered (aca.c).  What a defined field may hold is the executing function's matter.
 */
#ifndef SCST_CDB_H
#define SCST_CDB_H

#include "commands.h"

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
#define OP_SANITIZE	0x48
#define OP_READ_BUFFER16	0x9b
#define OP_THIRD_PARTY_OUT	0x83
#define OP_THIRD_PARTY_IN	0x84

/* Each row says what it is to reservations, and what else stops it; the gate of its class is among that, and faults strike anything. */
#define GATES(class, gates)			\
	.access	= SCST_ACCESS_##class,		\
	.stops	= (gates) | SCST_STOPS_FAULT | SCST_STOPS_ACCESS(SCST_ACCESS_##class)

/* cdb-spc.c */
extern const struct scst_opcode scst_row_test_unit_ready;
extern const struct scst_opcode scst_row_request_sense;
extern const struct scst_opcode scst_row_inquiry;
extern const struct scst_opcode scst_row_mode_select6;
extern const struct scst_opcode scst_row_mode_sense6;
extern const struct scst_opcode scst_row_send_diagnostic;
extern const struct scst_opcode scst_row_receive_diagnostic;
extern const struct scst_opcode scst_row_read_buffer10;
extern const struct scst_opcode scst_row_read_buffer16;
extern const struct scst_opcode scst_row_write_buffer;
extern const struct scst_opcode scst_row_log_sense;
extern const struct scst_opcode scst_row_mode_select10;
extern const struct scst_opcode scst_row_mode_sense10;
extern const struct scst_opcode scst_row_report_luns;
extern const struct scst_opcode scst_row_reserve6;
extern const struct scst_opcode scst_row_release6;
extern const struct scst_opcode scst_row_reserve10;
extern const struct scst_opcode scst_row_release10;
extern const struct scst_opcode scst_row_persistent_reserve_in;
extern const struct scst_opcode scst_row_persistent_reserve_out;
extern const struct scst_opcode scst_row_third_party_out;
extern const struct scst_opcode scst_row_third_party_in;
extern const struct scst_opcode scst_row_maintenance_in;
extern const struct scst_opcode scst_row_maintenance_out;

/* cdb-sbc.c */
extern const struct scst_opcode scst_row_format_unit;
extern const struct scst_opcode scst_row_sanitize;
extern const struct scst_opcode scst_row_read6;
extern const struct scst_opcode scst_row_write6;
extern const struct scst_opcode scst_row_start_stop;
extern const struct scst_opcode scst_row_prevent;
extern const struct scst_opcode scst_row_read_capacity10;
extern const struct scst_opcode scst_row_read10;
extern const struct scst_opcode scst_row_write10;
extern const struct scst_opcode scst_row_write_verify10;
extern const struct scst_opcode scst_row_verify10;
extern const struct scst_opcode scst_row_sync10;
extern const struct scst_opcode scst_row_read16;
extern const struct scst_opcode scst_row_write16;
extern const struct scst_opcode scst_row_write_verify16;
extern const struct scst_opcode scst_row_verify16;
extern const struct scst_opcode scst_row_sync16;
extern const struct scst_opcode scst_row_service_action_in;
extern const struct scst_opcode scst_row_write_same10;
extern const struct scst_opcode scst_row_unmap;
extern const struct scst_opcode scst_row_write_same16;
extern const struct scst_opcode scst_row_prefetch10;
extern const struct scst_opcode scst_row_prefetch16;
extern const struct scst_opcode scst_row_read_defects10;
extern const struct scst_opcode scst_row_read_defects12;
extern const struct scst_opcode scst_row_compare_and_write;
extern const struct scst_opcode scst_row_orwrite16;
extern const struct scst_opcode scst_row_read12;
extern const struct scst_opcode scst_row_write12;
extern const struct scst_opcode scst_row_write_verify12;
extern const struct scst_opcode scst_row_verify12;
extern const struct scst_opcode scst_row_variable;

#endif /* SCST_CDB_H */
