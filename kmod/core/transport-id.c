// SPDX-License-Identifier: GPL-2.0-only
/*
 * TransportIDs (SPC-4 7.6.4) from names, for drivers that do not make their own.  Pure.
 */
#include "core.h"

#define ID_LEN		24	/* of the fixed forms */
#define NAME_HEADER	4

/* naa. or eui. and 16 hexadecimal digits */
static bool scst_name_wwn(const char *name, u8 wwn[8])
{
	return (!strncasecmp(name, "naa.", 4) || !strncasecmp(name, "eui.", 4)) && strlen(name) == 20 &&
	       !hex2bin(wwn, name + 4, 8);
}

/* Format code 00b: the name alone, ended by a null and padded to a multiple of four. */
static void scst_transport_id_name(struct scst_transport_id *id, u8 protocol, const char *name)
{
	unsigned int len = ALIGN(strlen(name) + 1, 4);

	len = clamp_t(unsigned int, len, ID_LEN - NAME_HEADER, SCST_TRANSPORT_ID_MAX - NAME_HEADER);
	id->bytes[0] = protocol;
	put_unaligned_be16(len, id->bytes + 2);
	strscpy((char *)id->bytes + NAME_HEADER, name, len);
	id->len = NAME_HEADER + len;
}

/**
 * scst_transport_id_default() - the TransportID of a port that is known by its name only
 * @id: all bytes are set
 * @protocol: of the transport; SCST_PROTOCOL_NONE: as the form of the name suggests
 * @name: initiator port name
 */
void scst_transport_id_default(struct scst_transport_id *id, enum scst_protocol protocol, const char *name)
{
	u8 wwn[8];

	memset(id, 0, sizeof(*id));
	if (!scst_name_wwn(name, wwn)) {
		scst_transport_id_name(id, protocol == SCST_PROTOCOL_NONE ? SCST_PROTOCOL_ISCSI : protocol, name);
		return;
	}
	id->bytes[0] = protocol == SCST_PROTOCOL_NONE ? SCST_PROTOCOL_SAS : protocol;
	/* SAS keeps the address at byte 4, Fibre Channel the port name at byte 8. */
	memcpy(id->bytes + (protocol == SCST_PROTOCOL_FCP ? 8 : 4), wwn, sizeof(wwn));
	id->len = ID_LEN;
}
