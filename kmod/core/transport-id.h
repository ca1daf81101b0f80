/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TransportIDs as they are made, read and compared; pure.
 */
#ifndef SCST_CORE_TRANSPORT_ID_H
#define SCST_CORE_TRANSPORT_ID_H

#include "scst_transport_id.h"

static inline u8 scst_transport_id_protocol(const struct scst_transport_id *id)
{
	return id->bytes[0] & 0x0f;
}

void scst_transport_id_default(struct scst_transport_id *id, enum scst_protocol protocol, const char *name);
u32 scst_transport_id_parse(struct scst_transport_id *id, const u8 *buf, u32 len);
bool scst_transport_id_same(const struct scst_transport_id *a, const struct scst_transport_id *b);

#endif /* SCST_CORE_TRANSPORT_ID_H */
