// SPDX-License-Identifier: GPL-2.0-only
/*
 * TransportIDs (SPC-4 7.6.4) from names, for drivers that do not make their own.  Pure.
 */
#include "core.h"

#define ID_LEN		24	/* of the fixed forms */
#define WWN_LEN		8
#define NAME_HEADER	4

/* A number: a WWN, a GID, or eui. and 16 hexadecimal digits. */
static bool scst_id_from_name(const char *name, struct scst_name_number *number)
{
	if (strncasecmp(name, "eui.", 4))
		return scst_name_parse(name, number);
	number->len = WWN_LEN;
	return strlen(name) == 4 + 2 * WWN_LEN && !hex2bin(number->bytes, name + 4, WWN_LEN);
}

/* SAS keeps the address at byte 4, Fibre Channel the port name and SRP the port identifier at byte 8. */
static bool scst_transport_id_number(struct scst_transport_id *id, u8 protocol, const struct scst_name_number *number)
{
	bool wwn = number->len == WWN_LEN;
	unsigned int at;

	if (protocol == SCST_PROTOCOL_NONE)
		protocol = wwn ? SCST_PROTOCOL_SAS : SCST_PROTOCOL_SRP;
	if (wwn == (protocol == SCST_PROTOCOL_SRP))
		return false;
	at = protocol == SCST_PROTOCOL_FCP || protocol == SCST_PROTOCOL_SRP ? 8 : 4;
	id->bytes[0] = protocol;
	memcpy(id->bytes + at, number->bytes, number->len);
	id->len = ID_LEN;
	return true;
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
	struct scst_name_number number;

	memset(id, 0, sizeof(*id));
	if (scst_id_from_name(name, &number) && scst_transport_id_number(id, protocol, &number))
		return;
	scst_transport_id_name(id, protocol == SCST_PROTOCOL_NONE ? SCST_PROTOCOL_ISCSI : protocol, name);
}
