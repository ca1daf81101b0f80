/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who an initiator port is, in the words of the standard; also built in user space.
 */
#ifndef SCST_TRANSPORT_ID_H
#define SCST_TRANSPORT_ID_H

#include <linux/types.h>

#define SCST_TRANSPORT_ID_MAX	256

/* SPC-4 7.6.1: PROTOCOL IDENTIFIER */
enum scst_protocol {
	SCST_PROTOCOL_FCP	= 0x0,
	SCST_PROTOCOL_SRP	= 0x4,
	SCST_PROTOCOL_ISCSI	= 0x5,
	SCST_PROTOCOL_SAS	= 0x6,
	SCST_PROTOCOL_NONE	= 0xf,
};

/**
 * struct scst_transport_id - who an initiator port is: its TransportID (SPC-4 7.6.4)
 * @len: bytes
 * @bytes: the TransportID
 *
 * Beside the name that access is decided by: an iSCSI initiator's port has an ISID, too.
 */
struct scst_transport_id {
	u16 len;
	u8 bytes[SCST_TRANSPORT_ID_MAX];
};

#endif /* SCST_TRANSPORT_ID_H */
