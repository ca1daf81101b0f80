// SPDX-License-Identifier: GPL-2.0-only
/*
 * TransportIDs (SPC-4 7.6.4): from names, for drivers that do not make their own, and from parameter lists.
 *
 * Pure: no state, no locks, no allocation.  Also built in user space by the tests.
 */
#include <linux/kernel.h>
#include <linux/string.h>
#include "compat.h"
#include "spelling.h"
#include "transport-id.h"

#define ID_LEN		24	/* of the fixed forms, and of the shortest of the others */
#define WWN_LEN		8
#define GID_LEN		16
#define NAME_HEADER	4
#define NAME_LEN	223
#define ISID_DIGITS	12
#define FORMAT_PORT	0x40	/* iSCSI: the name of a port, which ends in ISID_MARK and digits */
#define ISID_MARK	",i,0x"
#define MARK_LEN	(sizeof(ISID_MARK) - 1)

/* Where the fixed forms have their number, and its length. */
struct scst_id_form {
	u8 at;
	u8 len;
};

static struct scst_id_form scst_id_form(u8 protocol)
{
	switch (protocol) {
	case SCST_PROTOCOL_FCP:
		return (struct scst_id_form){ .at = 8, .len = WWN_LEN };
	case SCST_PROTOCOL_SRP:
		return (struct scst_id_form){ .at = 8, .len = GID_LEN };
	case SCST_PROTOCOL_SAS:
		return (struct scst_id_form){ .at = 4, .len = WWN_LEN };
	default:
		return (struct scst_id_form){ };
	}
}

/* --- from names ----------------------------------------------------------------------------- */

/* A number: a WWN, a GID, or eui. and 16 hexadecimal digits. */
static bool scst_id_from_name(const char *name, struct scst_name_number *number)
{
	if (strncasecmp(name, "eui.", 4))
		return scst_name_parse(name, number);
	return strlen(name) == 4 + 2 * WWN_LEN && scst_name_parse(name + 4, number);
}

static bool scst_transport_id_number(struct scst_transport_id *id, u8 protocol, const struct scst_name_number *number)
{
	struct scst_id_form form;

	if (protocol == SCST_PROTOCOL_NONE)
		protocol = number->len == WWN_LEN ? SCST_PROTOCOL_SAS : SCST_PROTOCOL_SRP;
	form = scst_id_form(protocol);
	if (form.len != number->len)
		return false;
	id->bytes[0] = protocol;
	memcpy(id->bytes + form.at, number->bytes, number->len);
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

/* --- from parameter lists ------------------------------------------------------------------- */

static u8 scst_lower(u8 c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static bool scst_is_digit(u8 c)
{
	c = scst_lower(c);
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/* An iSCSI name: not empty, not too long, without what would end it. */
static bool scst_id_name_ok(const u8 *name, u32 len)
{
	u32 i;

	for (i = 0; i < len; i++)
		if (name[i] < ' ' || name[i] == ',')
			return false;
	return len && len <= NAME_LEN;
}

static bool scst_id_isid_ok(const u8 *digits, u32 len)
{
	u32 i;

	for (i = 0; i < len; i++)
		if (!scst_is_digit(digits[i]))
			return false;
	return len && len <= ISID_DIGITS;
}

/* Bytes of the name in front of the mark, or @len if there is none. */
static u32 scst_id_mark(const u8 *text, u32 len)
{
	u32 at;

	for (at = 0; at + MARK_LEN <= len; at++)
		if (!strncasecmp((const char *)text + at, ISID_MARK, MARK_LEN))
			return at;
	return len;
}

static u8 *scst_id_add(u8 *at, const void *text, u32 len)
{
	const u8 *from = text;

	while (len--)
		*at++ = scst_lower(*from++);
	return at;
}

/* In the one form there is of each: small letters, all digits of the ISID, no more padding than has to be. */
static void scst_id_iscsi(struct scst_transport_id *id, const u8 *name, u32 name_len, const u8 *isid, u32 isid_len)
{
	u8 *at = scst_id_add(id->bytes + NAME_HEADER, name, name_len);
	u32 len;

	if (isid_len) {
		at = scst_id_add(at, ISID_MARK, MARK_LEN);
		at = scst_id_add(at, "000000000000", ISID_DIGITS - isid_len);
		at = scst_id_add(at, isid, isid_len);
	}
	len = ALIGN(at + 1 - id->bytes, 4);
	id->len = len < ID_LEN ? ID_LEN : len;
	id->bytes[0] = SCST_PROTOCOL_ISCSI | (isid_len ? FORMAT_PORT : 0);
	put_unaligned_be16(id->len - NAME_HEADER, id->bytes + 2);
}

static bool scst_id_iscsi_text(struct scst_transport_id *id, u8 format, const u8 *text, u32 len)
{
	u32 name = scst_id_mark(text, len), isid = 0;
	bool marked = name < len;

	if (!scst_id_name_ok(text, name) || marked != (format == FORMAT_PORT))
		return false;
	if (marked)
		isid = len - name - MARK_LEN;
	if (marked && !scst_id_isid_ok(text + len - isid, isid))
		return false;
	scst_id_iscsi(id, text, name, text + len - isid, isid);
	return true;
}

static u32 scst_id_parse_iscsi(struct scst_transport_id *id, const u8 *buf, u32 len)
{
	u8 format = buf[0] & 0xc0;
	u32 total, text;

	if (len < ID_LEN || (format && format != FORMAT_PORT))
		return 0;
	total = NAME_HEADER + get_unaligned_be16(buf + 2);
	if (total < ID_LEN || total % 4 || total > len)
		return 0;
	text = strnlen((const char *)buf + NAME_HEADER, total - NAME_HEADER);
	if (text == total - NAME_HEADER || !scst_id_iscsi_text(id, format, buf + NAME_HEADER, text))
		return 0;
	return total;
}

static u32 scst_id_parse_number(struct scst_transport_id *id, const u8 *buf, u32 len)
{
	struct scst_id_form form = scst_id_form(buf[0] & 0x0f);

	if (len < ID_LEN || buf[0] & 0xc0 || !form.len)
		return 0;
	id->bytes[0] = buf[0] & 0x0f;
	memcpy(id->bytes + form.at, buf + form.at, form.len);
	id->len = ID_LEN;
	return ID_LEN;
}

/**
 * scst_transport_id_parse() - read one TransportID
 * @id: set, in the one form that there is for this port: all its bytes are, and two of the same port are equal
 * @buf: where it begins
 * @len: bytes in @buf
 *
 * Fibre Channel, SRP, SAS and both forms of iSCSI.
 *
 * Return: bytes that it took, 0 if there is none, or of a form that is not known.
 */
u32 scst_transport_id_parse(struct scst_transport_id *id, const u8 *buf, u32 len)
{
	memset(id, 0, sizeof(*id));
	if (!len)
		return 0;
	if ((buf[0] & 0x0f) == SCST_PROTOCOL_ISCSI)
		return scst_id_parse_iscsi(id, buf, len);
	return scst_id_parse_number(id, buf, len);
}

/* The same port?  Both are in the form that scst_transport_id_parse() gives them. */
bool scst_transport_id_same(const struct scst_transport_id *a, const struct scst_transport_id *b)
{
	return a->len == b->len && !memcmp(a->bytes, b->bytes, a->len);
}
