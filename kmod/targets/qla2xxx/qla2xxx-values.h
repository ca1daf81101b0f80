/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Values of the in-box driver's macros: the one thing that its module does not tell about itself.  They are the same in 6.1, 6.12
 * and 7.3; tests/hba compares them with the kernel's source where it is installed.
 */
#ifndef QLA2XXX_VALUES_H
#define QLA2XXX_VALUES_H

/* qlini_mode of a host */
#define QLA2XXX_INI_MODE_EXCLUSIVE	0
#define QLA2XXX_INI_MODE_DISABLED	1
#define QLA2XXX_INI_MODE_ENABLED	2
#define QLA2XXX_INI_MODE_DUAL		3

/* bits of dpc_flags */
#define ISP_ABORT_NEEDED		2
#define ABORT_ISP_ACTIVE		3

/* state of a command */
#define QLA_TGT_STATE_NEED_DATA		1
#define QLA_TGT_STATE_DATA_IN		2

/* qlt_xmit_response() */
#define QLA_TGT_XMIT_DATA		1
#define QLA_TGT_XMIT_STATUS		2

/* handle_tmr() */
#define QLA_TGT_CLEAR_ACA		0x40
#define QLA_TGT_TARGET_RESET		0x20
#define QLA_TGT_LUN_RESET		0x10
#define QLA_TGT_CLEAR_TS		0x04
#define QLA_TGT_ABORT_TS		0x02
#define QLA_TGT_ABORT_ALL_SESS		0xFFFF
#define QLA_TGT_NEXUS_LOSS		0xFFFC
#define QLA_TGT_ABTS			0xFFFB
#define QLA_TGT_2G_ABORT_TASK		0xFFFA

/* fc_tm_rsp: FCP-4 9.4.11, RSP_CODE */
#define FC_TM_SUCCESS			0
#define FC_TM_REJECT			4
#define FC_TM_FAILED			5

#endif /* QLA2XXX_VALUES_H */
