// SPDX-License-Identifier: GPL-2.0-only
/*
 * Vital product data (SPC-4 7.8, SBC-3 6.5): pages from a device's identity and properties.
 *
 * Each builder writes the body of its page, behind the four bytes of header.
 */
#include "commands.h"

#define VPD_HEADER		4
#define VPD_SBC_LEN		60	/* pages B0h and B1h */
#define VPD_PORT_LEN		12	/* of page 88h, without designators and TransportID */

#define CODE_SET_BINARY		1
#define CODE_SET_ASCII		2
#define CODE_SET_UTF8		3

#define ASSOCIATION_LUN		(0 << 4)
#define ASSOCIATION_PORT	(1 << 4)
#define ASSOCIATION_TARGET	(2 << 4)

#define DESIGNATOR_T10		1
#define DESIGNATOR_EUI64	SCST_DESIGNATOR_EUI64
#define DESIGNATOR_NAA		SCST_DESIGNATOR_NAA
#define DESIGNATOR_REL_PORT	4
#define DESIGNATOR_PORT_GROUP	5
#define DESIGNATOR_SCSI_NAME	8

struct scst_vpd {
	const struct scst_nexus *nexus;	/* NULL: there is no such logical unit */
	const struct scst_device *dev;	/* that of @nexus */
	const struct scst_target *tgt;
	u8 *body;
	unsigned int size;	/* of the body's buffer */
	unsigned int len;	/* of the body so far */
};

struct scst_vpd_row {
	u8 page;
	void (*fill)(struct scst_vpd *vpd);
};

static void scst_vpd_add(struct scst_vpd *vpd, const void *data, unsigned int len)
{
	if (WARN_ON_ONCE(len > vpd->size - vpd->len))
		return;
	memcpy(vpd->body + vpd->len, data, len);
	vpd->len += len;
}

static void scst_vpd_zero(struct scst_vpd *vpd, unsigned int len)
{
	if (WARN_ON_ONCE(len > vpd->size - vpd->len))
		return;
	memset(vpd->body + vpd->len, 0, len);
	vpd->len += len;
}

static void scst_vpd_add_padded(struct scst_vpd *vpd, const char *text, unsigned int size)
{
	unsigned int len = strnlen(text, size);

	scst_vpd_add(vpd, text, len);
	for (; len < size; len++)
		scst_vpd_add(vpd, " ", 1);
}

/* --- 80h: unit serial number --------------------------------------------------------------- */

static void scst_vpd_serial(struct scst_vpd *vpd)
{
	const char *serial = vpd->dev->id.serial;

	scst_vpd_add(vpd, serial, strnlen(serial, sizeof(vpd->dev->id.serial)));
}

/* --- 83h: device identification ------------------------------------------------------------ */

static void scst_vpd_designator(struct scst_vpd *vpd, u8 code_set, u8 association, u8 type,
				u8 len)
{
	u8 head[4] = { code_set, association | type, 0, len };

	/* PIV: names of ports and target devices are those of a transport (SPC-4 7.8.6.1). */
	if (association != ASSOCIATION_LUN && vpd->tgt->driver->protocol != SCST_PROTOCOL_NONE) {
		head[0] |= vpd->tgt->driver->protocol << 4;
		head[1] |= 0x80;
	}
	scst_vpd_add(vpd, head, sizeof(head));
}

/* Vendor, then what is unique among its products: product and serial number. */
static void scst_vpd_t10(struct scst_vpd *vpd)
{
	const struct scst_identity *id = &vpd->dev->id;
	unsigned int serial = strnlen(id->serial, sizeof(id->serial));

	scst_vpd_designator(vpd, CODE_SET_ASCII, ASSOCIATION_LUN, DESIGNATOR_T10, 8 + 16 + serial);
	scst_vpd_add_padded(vpd, id->vendor, 8);
	scst_vpd_add_padded(vpd, id->product, 16);
	scst_vpd_add(vpd, id->serial, serial);
}

static void scst_vpd_binary(struct scst_vpd *vpd, u8 type, const u8 *value, u8 len)
{
	if (!len)
		return;
	scst_vpd_designator(vpd, CODE_SET_BINARY, ASSOCIATION_LUN, type, len);
	scst_vpd_add(vpd, value, len);
}

/* Two reserved bytes, and a number. */
static void scst_vpd_port_number(struct scst_vpd *vpd, u8 type, u16 number)
{
	u8 id[4] = { };

	put_unaligned_be16(number, id + 2);
	scst_vpd_designator(vpd, CODE_SET_BINARY, ASSOCIATION_PORT, type, sizeof(id));
	scst_vpd_add(vpd, id, sizeof(id));
}

static void scst_vpd_port_numbers(struct scst_vpd *vpd)
{
	bool by_command;
	u16 group = scst_alua_group_id(vpd->nexus, &by_command);

	scst_vpd_port_number(vpd, DESIGNATOR_REL_PORT, vpd->tgt->rel_tgt_id);
	if (group)
		scst_vpd_port_number(vpd, DESIGNATOR_PORT_GROUP, group);
}

/* A null-terminated string, padded with nulls to a multiple of four (SPC-4 7.8.6.11). */
static void scst_vpd_scsi_name(struct scst_vpd *vpd, u8 association, const char *name,
			       const char *suffix)
{
	unsigned int len = strlen(name) + strlen(suffix);
	unsigned int padded = (len + 4) & ~3U;

	if (padded > U8_MAX)
		return;
	scst_vpd_designator(vpd, CODE_SET_UTF8, association, DESIGNATOR_SCSI_NAME, padded);
	scst_vpd_add(vpd, name, strlen(name));
	scst_vpd_add(vpd, suffix, strlen(suffix));
	scst_vpd_zero(vpd, padded - len);
}

/* PREFIX and then a number of hexadecimal digits, and nothing else */
static bool scst_name_is_hex(const char *name, const char *prefix)
{
	unsigned int digits;

	if (strncmp(name, prefix, 4))
		return false;
	digits = strspn(name + 4, "0123456789abcdefABCDEF");
	return !name[4 + digits] && (digits == 16 || digits == 24 || digits == 32);
}

/*
 * Only a name of a world wide unique form is worth reporting.  An iqn. names the
 * target device, whose one portal group makes the port; naa. and eui. name the port.
 */
static void scst_vpd_port_name(struct scst_vpd *vpd)
{
	const char *name = vpd->tgt->name;

	if (!strncmp(name, "iqn.", 4))
		scst_vpd_scsi_name(vpd, ASSOCIATION_PORT, name, ",t,0x0001");
	else if (scst_name_is_hex(name, "naa.") || scst_name_is_hex(name, "eui."))
		scst_vpd_scsi_name(vpd, ASSOCIATION_PORT, name, "");
}

static void scst_vpd_target_name(struct scst_vpd *vpd)
{
	if (!strncmp(vpd->tgt->name, "iqn.", 4))
		scst_vpd_scsi_name(vpd, ASSOCIATION_TARGET, vpd->tgt->name, "");
}

static void scst_vpd_identification(struct scst_vpd *vpd)
{
	const struct scst_identity *id = &vpd->dev->id;

	scst_vpd_binary(vpd, DESIGNATOR_NAA, id->naa, id->naa_len);
	scst_vpd_t10(vpd);
	scst_vpd_binary(vpd, DESIGNATOR_EUI64, id->eui64, id->eui64_len);
	scst_vpd_port_numbers(vpd);
	scst_vpd_port_name(vpd);
	scst_vpd_target_name(vpd);
}

/* --- 86h: extended INQUIRY data; 87h: mode page policy ----------------------------------------- */

/*
 * LUICLR: REPORTED LUNS DATA HAS CHANGED is told once for all
 * logical units (scst_gate_tell_once()).
 */
static void scst_vpd_extended_inquiry(struct scst_vpd *vpd)
{
	u8 *page = vpd->body - VPD_HEADER;

	scst_vpd_zero(vpd, VPD_SBC_LEN);
	page[4] = scst_pi_extended(vpd->dev);
	page[5] = 0x07;		/* HEADSUP, ORDSUP, SIMPSUP */
	page[6] = READ_ONCE(vpd->dev->cache_told) ? 0x01 : 0;	/* V_SUP */
	page[7] = 0x01;		/* LUICLR */
	page[13] = SCST_SENSE_SIZE;
}

/* All pages with all subpages: one copy, shared by all I_T nexuses, of this logical unit alone. */
static void scst_vpd_mode_policy(struct scst_vpd *vpd)
{
	static const u8 policy[4] = { 0x3f, 0xff };

	scst_vpd_add(vpd, policy, sizeof(policy));
}

/**
 * scst_vpd_names() - is it a designator of a device?
 * @dev: held
 * @code_set: CODE SET
 * @kind: ASSOCIATION and DESIGNATOR TYPE, as byte 1 of the designator has them
 * @designator: what is behind its header
 * @len: bytes of it
 *
 * One of the binary ones that page 83h has of the logical unit, to the byte.  (That with vendor, product and serial number is longer than
 * whoever asks has room for: SCST_COPY_DESIGNATOR.)  Any context.
 */
bool scst_vpd_names(const struct scst_device *dev, u8 code_set, u8 kind, const u8 *designator, unsigned int len)
{
	const struct scst_identity *id = &dev->id;

	if (!len || code_set != CODE_SET_BINARY)
		return false;
	switch (kind) {
	case ASSOCIATION_LUN | DESIGNATOR_NAA:
		return len == id->naa_len && !memcmp(designator, id->naa, len);
	case ASSOCIATION_LUN | DESIGNATOR_EUI64:
		return len == id->eui64_len && !memcmp(designator, id->eui64, len);
	default:
		return false;
	}
}

/* --- 88h: SCSI ports ------------------------------------------------------------------------- */

/* A target is a target device of one port, which has no initiator's side. */
static void scst_vpd_ports(struct scst_vpd *vpd)
{
	u8 *port = vpd->body + vpd->len;

	scst_vpd_zero(vpd, VPD_PORT_LEN);
	put_unaligned_be16(vpd->tgt->rel_tgt_id, port + 2);
	scst_vpd_port_name(vpd);
	put_unaligned_be16(vpd->body + vpd->len - port - VPD_PORT_LEN, port + 10);	/* TARGET PORT DESCRIPTORS LENGTH */
}

/* --- 8Fh: third-party copy ------------------------------------------------------------------ */

static void scst_vpd_copy(struct scst_vpd *vpd)
{
	scst_vpd_zero(vpd, SCST_COPY_PAGE);
	scst_copy_page_put(vpd->dev->geo.block_shift ?: SECTOR_SHIFT, vpd->body);
}

/* --- B0h to B2h: block devices ------------------------------------------------------------- */

/* What one UNMAP may hold, and what is given back together. */
static void scst_vpd_unmap_limits(const struct scst_geometry *geo, u32 block, u8 *page)
{
	put_unaligned_be32(SCST_UNMAP_BYTES / block, page + 20);
	put_unaligned_be32(SCST_UNMAP_DESCS, page + 24);
	put_unaligned_be32(geo->unmap_granularity, page + 28);
	if (geo->unmap_granularity)
		put_unaligned_be32(0x80000000 | geo->unmap_alignment, page + 32);	/* UGAVALID */
}

/* Granularity: the backing's; where it says nothing, what does not fill pages costs extra copies. */
static void scst_vpd_block_limits(struct scst_vpd *vpd)
{
	const struct scst_geometry *geo = &vpd->dev->geo;
	u32 block = scst_device_block_size(vpd->dev) ?: 512;
	u32 max_xfer = scst_target_max_xfer(vpd->tgt);
	u8 *page = vpd->body - VPD_HEADER;

	scst_vpd_zero(vpd, VPD_SBC_LEN);
	page[4] = 0x01;		/* WSNZ: no WRITE SAME of an unsaid number of blocks */
	page[5] = scst_caw_max(vpd->dev, max_xfer);
	put_unaligned_be16(geo->opt_granularity ?: max_t(u32, PAGE_SIZE / block, 1), page + 6);
	/* Protection information may be between the blocks. */
	put_unaligned_be32(max_xfer / (block + (vpd->dev->protection ? SCST_PI_BYTES : 0)), page + 8);
	put_unaligned_be32(min(geo->opt_xfer, max_xfer) / block, page + 12);
	put_unaligned_be64(SCST_SAME_BYTES / block, page + 36);
	if (vpd->dev->thin)
		scst_vpd_unmap_limits(geo, block, page);
}

/* 0001h: non-rotating; 0000h: rotates at a speed that is not reported. */
static void scst_vpd_block_characteristics(struct scst_vpd *vpd)
{
	scst_vpd_zero(vpd, VPD_SBC_LEN);
	put_unaligned_be16(scst_device_rotational(vpd->dev) ? 0 : 1, vpd->body);
}

/*
 * All zero: fully provisioned.  Of thin ones: LBPU, LBPWS and LBPWS10, whether what was given back reads as zeroes (LBPRZ), and whether
 * space is taken when something is written (type 010b) or that is not known (000b).  The threshold exponent is 0 where nobody
 * knows how much space there is.
 */
static void scst_vpd_provisioning(struct scst_vpd *vpd)
{
	const struct scst_geometry *geo = &vpd->dev->geo;
	u8 page[4] = { };

	if (vpd->dev->thin) {
		page[0] = scst_space_exponent(vpd->dev);
		page[1] = 0xe0 | (geo->unmap_zeroes ? 0x04 : 0);
		page[2] = geo->sparse ? 0x02 : 0;
	}
	scst_vpd_add(vpd, page, sizeof(page));
}

/* --- 00h and the table --------------------------------------------------------------------- */

static void scst_vpd_supported(struct scst_vpd *vpd);

static const struct scst_vpd_row scst_vpd_rows[] = {
	{ 0x00, scst_vpd_supported },
	{ 0x80, scst_vpd_serial },
	{ 0x83, scst_vpd_identification },
	{ 0x86, scst_vpd_extended_inquiry },
	{ 0x87, scst_vpd_mode_policy },
	{ 0x88, scst_vpd_ports },
	{ 0x8f, scst_vpd_copy },
	{ 0xb0, scst_vpd_block_limits },
	{ 0xb1, scst_vpd_block_characteristics },
	{ 0xb2, scst_vpd_provisioning },
};

/* An absent logical unit has page 00h only. */
static unsigned int scst_vpd_nr_rows(const struct scst_device *dev)
{
	return dev ? ARRAY_SIZE(scst_vpd_rows) : 1;
}

static void scst_vpd_supported(struct scst_vpd *vpd)
{
	unsigned int i;

	for (i = 0; i < scst_vpd_nr_rows(vpd->dev); i++)
		scst_vpd_add(vpd, &scst_vpd_rows[i].page, 1);
}

/**
 * scst_vpd_page() - build a VPD page
 * @nexus: of the logical unit, or NULL if there is none
 * @tgt: the target port asked
 * @page: page code
 * @buf: buffer
 * @size: of @buf, at least 768 bytes
 *
 * Return: length in bytes, or 0 if the page is not supported.
 */
unsigned int scst_vpd_page(const struct scst_nexus *nexus, const struct scst_target *tgt, u8 page,
			   u8 *buf, unsigned int size)
{
	struct scst_vpd vpd = {
		.nexus	= nexus,
		.dev	= nexus ? nexus->dev : NULL,
		.tgt	= tgt,
		.body	= buf + VPD_HEADER,
		.size	= size - VPD_HEADER,
	};
	unsigned int i;

	for (i = 0; i < scst_vpd_nr_rows(vpd.dev); i++) {
		if (scst_vpd_rows[i].page != page)
			continue;
		scst_vpd_rows[i].fill(&vpd);
		buf[0] = scst_spc_peripheral(nexus);
		buf[1] = page;
		put_unaligned_be16(vpd.len, buf + 2);
		return VPD_HEADER + vpd.len;
	}
	return 0;
}
