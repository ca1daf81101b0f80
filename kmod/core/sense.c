// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sense data (SPC-4 4.5), and the one place where an errno becomes status.
 *
 * Functions on a command only set its status and sense data; the caller responds.
 */
#include "core.h"

#define SENSE_FIXED_LEN		18
#define SENSE_DESC_LEN		8
#define SENSE_DESC_INFORMATION	0x00
#define SENSE_DESC_COMMAND	0x01
#define SENSE_DESC_KEY_SPECIFIC	0x02
#define SENSE_DESC_FORWARDED	0x0c

#define SENSE_VALID		0x80	/* INFORMATION is valid */
#define SENSE_SKSV		0x80	/* sense key specific bytes are valid */
#define SENSE_CD		0x40	/* the field is in the CDB, not in the parameter list */
#define SENSE_BPV		0x08	/* the bit pointer is valid */

/* Pure code knows no SCSI headers, and has the numbers for itself. */
static_assert(SCST_PR_SENSE_LIST_LENGTH == SCST_SENSE_LIST_LENGTH);
static_assert(SCST_PR_SENSE_INVALID_CDB == SCST_SENSE_INVALID_FIELD_CDB);
static_assert(SCST_PR_SENSE_INVALID_LIST == SCST_SENSE_INVALID_FIELD_LIST);
static_assert(SCST_PR_SENSE_INVALID_RELEASE == SCST_SENSE(ILLEGAL_REQUEST, 0x26, 0x04));
static_assert(SCST_PR_SENSE_RESOURCES == SCST_SENSE(ILLEGAL_REQUEST, 0x55, 0x04));
static_assert(SCST_PR_SENSE_LOST == SCST_SENSE(DATA_PROTECT, 0x44, 0x01));

/**
 * scst_sense_build() - sense data without further information
 * @buf: at least 18 bytes
 * @descriptor: descriptor format, else fixed
 * @sense: SCST_SENSE()
 *
 * Pure.  Return: length in bytes.
 */
unsigned int scst_sense_build(u8 *buf, bool descriptor, u32 sense)
{
	u8 key = sense >> 16 & 0x0f, asc = sense >> 8, ascq = sense;

	memset(buf, 0, SENSE_FIXED_LEN);
	if (descriptor) {
		buf[0] = 0x72;
		buf[1] = key;
		buf[2] = asc;
		buf[3] = ascq;
		return SENSE_DESC_LEN;
	}
	buf[0] = 0x70;
	buf[2] = key;
	buf[7] = SENSE_FIXED_LEN - 8;
	buf[12] = asc;
	buf[13] = ascq;
	return SENSE_FIXED_LEN;
}

static bool scst_sense_is_descriptor(const u8 *buf)
{
	return buf[0] == 0x72;
}

/* Append a descriptor whose additional length is @len; returns where it begins. */
static u8 *scst_sense_append(u8 *buf, u8 type, u8 len)
{
	u8 *desc = buf + SENSE_DESC_LEN + buf[7];

	memset(desc, 0, len + 2);
	desc[0] = type;
	desc[1] = len;
	buf[7] += len + 2;
	return desc;
}

/* The fixed format has four bytes for it: a larger value is left out (SPC-4 4.5.3). */
static unsigned int scst_sense_information(u8 *buf, u64 information)
{
	u8 *desc;

	if (!scst_sense_is_descriptor(buf)) {
		if (information <= U32_MAX) {
			buf[0] |= SENSE_VALID;
			put_unaligned_be32(information, buf + 3);
		}
		return SENSE_FIXED_LEN;
	}
	desc = scst_sense_append(buf, SENSE_DESC_INFORMATION, 0x0a);
	desc[2] = SENSE_VALID;
	put_unaligned_be64(information, desc + 4);
	return SENSE_DESC_LEN + buf[7];
}

/* Point at a field: @bit is that of its most significant bit, or negative. */
static unsigned int scst_sense_field(u8 *buf, bool in_cdb, u16 byte, int bit)
{
	bool descriptor = scst_sense_is_descriptor(buf);
	u8 *sks;

	sks = descriptor ? scst_sense_append(buf, SENSE_DESC_KEY_SPECIFIC, 6) + 4 : buf + 15;
	sks[0] = SENSE_SKSV;
	if (in_cdb)
		sks[0] |= SENSE_CD;
	if (bit >= 0)
		sks[0] |= SENSE_BPV | (bit & 7);
	put_unaligned_be16(byte, sks + 1);
	return descriptor ? SENSE_DESC_LEN + buf[7] : SENSE_FIXED_LEN;
}

/**
 * scst_sense_progress() - add a progress indication (SPC-4 4.5.2.4.6)
 * @buf: sense data, of NOT READY or NO SENSE, with nothing specific to that yet
 * @progress: of 65,536
 *
 * Pure.  Return: length in bytes.
 */
unsigned int scst_sense_progress(u8 *buf, u16 progress)
{
	return scst_sense_field(buf, false, progress, -1);
}

/**
 * scst_cmd_sense() - end in CHECK CONDITION
 * @cmd: the command; without a device the format is fixed
 * @sense: SCST_SENSE()
 */
void scst_cmd_sense(struct scst_cmd *cmd, u32 sense)
{
	bool descriptor = cmd->dev && READ_ONCE(cmd->dev->d_sense);

	cmd->status = SAM_STAT_CHECK_CONDITION;
	cmd->len = 0;
	cmd->sense_len = scst_sense_build(cmd->sense, descriptor, sense);
}

/**
 * scst_cmd_sense_info() - end in CHECK CONDITION, with the INFORMATION field
 * @cmd: the command
 * @sense: SCST_SENSE()
 * @information: what the field means for this sense key
 */
void scst_cmd_sense_info(struct scst_cmd *cmd, u32 sense, u64 information)
{
	scst_cmd_sense(cmd, sense);
	cmd->sense_len = scst_sense_information(cmd->sense, information);
}

/* End in RESERVATION CONFLICT. */
void scst_cmd_conflict(struct scst_cmd *cmd)
{
	cmd->status = SAM_STAT_RESERVATION_CONFLICT;
	cmd->len = 0;
	cmd->sense_len = 0;
}

/* What another unit's command has ended in, at the end of sense data; where that begins (SPC-3 6.3.3). */
static u8 scst_sense_forward(u8 *buf, u8 status, const u8 *told, unsigned int len)
{
	len = min_t(unsigned int, len, SCST_SENSE_SIZE - SENSE_FIXED_LEN - 1);
	buf[SENSE_FIXED_LEN] = status;
	memcpy(buf + SENSE_FIXED_LEN + 1, told, len);
	buf[7] += len + 1;
	return SENSE_FIXED_LEN;
}

/* The same as a descriptor (SPC-4 4.5.2.7). */
static void scst_sense_forward_desc(u8 *buf, u8 source, u8 status, const u8 *told, unsigned int len)
{
	u8 *desc;

	len = min_t(unsigned int, len, SCST_SENSE_SIZE - SENSE_DESC_LEN - buf[7] - 4);
	desc = scst_sense_append(buf, SENSE_DESC_FORWARDED, len + 2);
	desc[2] = source;
	desc[3] = status;
	memcpy(desc + 4, told, len);
}

/**
 * scst_cmd_sense_segment() - a copy has ended within one of its segments
 * @cmd: the command
 * @sense: SCST_SENSE(), of COPY ABORTED
 * @segment: its number
 * @of_source: what follows is the source's, else the destination's
 * @status: that a unit's command has ended in, 0: it was none's
 * @told: its sense data
 * @told_len: bytes of it
 *
 * COMMAND-SPECIFIC INFORMATION has the number of the segment, and in the fixed format before it where what the source or the destination
 * has said is.
 */
void scst_cmd_sense_segment(struct scst_cmd *cmd, u32 sense, u16 segment, bool of_source, u8 status, const u8 *told,
			    unsigned int told_len)
{
	u8 *buf = cmd->sense, *desc;

	scst_cmd_sense(cmd, sense);
	if (!scst_sense_is_descriptor(buf)) {
		if (status)
			buf[of_source ? 8 : 9] = scst_sense_forward(buf, status, told, told_len);
		put_unaligned_be16(segment, buf + 10);
		cmd->sense_len = 8 + buf[7];
		return;
	}
	desc = scst_sense_append(buf, SENSE_DESC_COMMAND, 0x0a);
	put_unaligned_be64(segment, desc + 4);
	if (status)
		scst_sense_forward_desc(buf, of_source ? 1 : 2, status, told, told_len);
	cmd->sense_len = SENSE_DESC_LEN + buf[7];
}

/* ... to sense data that is there already. */
void scst_cmd_sense_info_add(struct scst_cmd *cmd, u64 information)
{
	if (cmd->sense_len)
		cmd->sense_len = scst_sense_information(cmd->sense, information);
}

/* SCST_SENSE() of the sense data, 0 if there is none. */
u32 scst_cmd_sense_code(const struct scst_cmd *cmd)
{
	const u8 *buf = cmd->sense;

	if (!cmd->sense_len)
		return 0;
	if ((buf[0] & 0x7f) >= 0x72)
		return SCST_SENSE(buf[1] & 0x0f, buf[2], buf[3]);
	return SCST_SENSE(buf[2] & 0x0f, buf[12], buf[13]);
}

/* The sense data is that of an earlier command, which ended GOOD (SPC-4 4.5.5). */
void scst_cmd_sense_deferred(struct scst_cmd *cmd)
{
	cmd->sense[0] += 1;	/* 70h to 71h, 72h to 73h */
}

/* An opcode, or one of its service actions, that the unit does not have. */
void scst_cmd_refuse_opcode(struct scst_cmd *cmd)
{
	const struct scst_opcode *row = cmd->dev->ops->row[cmd->cdb[0]];

	if (row && row->sa && cmd->cdb_len >= row->cdb_len && scst_op_offered(row, cmd->dev))
		scst_cmd_invalid_cdb(cmd, row->cdb_len > 16 ? 8 : 1, row->cdb_len > 16 ? 7 : 4);
	else
		scst_cmd_sense(cmd, SCST_SENSE_INVALID_OPCODE);
}

/* Data-out did not arrive whole. */
void scst_cmd_transfer_error(struct scst_cmd *cmd, int error)
{
	if (error == -ENOMEM || error == -EAGAIN)
		scst_cmd_errno(cmd, error);
	else if (error == -EBADMSG)
		scst_cmd_sense(cmd, SCST_SENSE_SERVICE_CRC);
	else if (error == -EMSGSIZE)
		scst_cmd_sense(cmd, SCST_SENSE_DATA_AMOUNT);
	else
		scst_cmd_sense(cmd, SCST_SENSE_DATA_PHASE);
}

/**
 * scst_cmd_invalid_cdb() - INVALID FIELD IN CDB
 * @cmd: the command
 * @byte: first byte of the field
 * @bit: most significant bit of the field, or -1
 */
void scst_cmd_invalid_cdb(struct scst_cmd *cmd, unsigned int byte, int bit)
{
	scst_cmd_sense(cmd, SCST_SENSE_INVALID_FIELD_CDB);
	cmd->sense_len = scst_sense_field(cmd->sense, true, byte, bit);
}

/**
 * scst_cmd_sense_list() - end in CHECK CONDITION, because of a field of the parameter list
 * @cmd: the command
 * @sense: SCST_SENSE(), of an ILLEGAL REQUEST
 * @byte: first byte of the field
 * @bit: most significant bit of the field, or -1
 */
void scst_cmd_sense_list(struct scst_cmd *cmd, u32 sense, unsigned int byte, int bit)
{
	scst_cmd_sense(cmd, sense);
	cmd->sense_len = scst_sense_field(cmd->sense, false, byte, bit);
}

/* INVALID FIELD IN PARAMETER LIST. */
void scst_cmd_invalid_list(struct scst_cmd *cmd, unsigned int byte, int bit)
{
	scst_cmd_sense_list(cmd, SCST_SENSE_INVALID_FIELD_LIST, byte, bit);
}

/* Of the medium itself, not of the way there; -ENODATA is the block layer's word for it. */
bool scst_error_is_medium(int error)
{
	return error == -EIO || error == -ENODATA;
}

/* ... and which block it is of can be found out: also what protection information says. */
bool scst_error_has_block(int error)
{
	return scst_error_is_medium(error) || error == -SCST_EGUARD || error == -SCST_EREFTAG || error == -SCST_EAPPTAG;
}

static u32 scst_sense_medium_error(const struct scst_cmd *cmd)
{
	switch (cmd->action) {
	case SCST_ACTION_READ:
		return SCST_SENSE_READ_ERROR;
	case SCST_ACTION_WRITE:
	case SCST_ACTION_SYNC:
	case SCST_ACTION_UNMAP:
	case SCST_ACTION_ZERO:
		return SCST_SENSE_WRITE_ERROR;
	default:
		return SCST_SENSE_TARGET_FAILURE;
	}
}

/* 0: not a matter of sense data. */
static u32 scst_sense_of_errno(const struct scst_cmd *cmd, int error)
{
	switch (error) {
	case -EAGAIN:
	case -EBADE:
	case -EBUSY:
	case -ENOMEM:
		return 0;
	case -EDQUOT:
	case -ENOSPC:
		return SCST_SENSE_SPACE_ALLOCATION;
	case -EROFS:
		return SCST_SENSE_WRITE_PROTECTED;
	case -EIO:
	case -ENODATA:
		return scst_sense_medium_error(cmd);
	case -ENODEV:
	case -ENOLINK:
	case -ENOMEDIUM:
	case -ENXIO:
		return SCST_SENSE_BECOMING_READY;
	case -ETIMEDOUT:
		return SCST_SENSE_TIMEOUT;
	case -SCST_EGUARD:	/* also the block layer's "protection information" */
		return SCST_SENSE_GUARD_CHECK;
	case -SCST_EAPPTAG:
		return SCST_SENSE_APP_TAG_CHECK;
	case -SCST_EREFTAG:
		return SCST_SENSE_REF_TAG_CHECK;
	default:		/* among them EREMOTEIO, the block layer's "target error" */
		return SCST_SENSE_TARGET_FAILURE;
	}
}

/**
 * scst_cmd_errno() - end with the status that stands for an errno
 * @cmd: the command; its action decides between read and write error
 * @error: negative errno
 */
void scst_cmd_errno(struct scst_cmd *cmd, int error)
{
	u32 sense = scst_sense_of_errno(cmd, error);

	if (sense) {
		scst_cmd_sense(cmd, sense);
		return;
	}
	/* EBADE: the backing is reserved by another host (BLK_STS_NEXUS, since renamed). */
	scst_cmd_conflict(cmd);
	if (error != -EBADE)
		cmd->status = SAM_STAT_BUSY;
}

#define NAME(number) [number] = #number

/* What opening or using a file or a block device is known to return. */
static const char *const scst_errno_names[] = {
	NAME(EPERM), NAME(ENOENT), NAME(EINTR), NAME(EIO), NAME(ENXIO), NAME(E2BIG), NAME(EBADF),
	NAME(EAGAIN), NAME(ENOMEM), NAME(EACCES), NAME(EFAULT), NAME(ENOTBLK), NAME(EBUSY),
	NAME(EEXIST), NAME(EXDEV), NAME(ENODEV), NAME(ENOTDIR), NAME(EISDIR), NAME(EINVAL),
	NAME(ENFILE), NAME(EMFILE), NAME(ETXTBSY), NAME(EFBIG), NAME(ENOSPC), NAME(EROFS),
	NAME(EMLINK), NAME(EPIPE), NAME(EDOM), NAME(ERANGE), NAME(EDEADLK), NAME(ENAMETOOLONG),
	NAME(ENOLCK), NAME(ENOSYS), NAME(ENOTEMPTY), NAME(ELOOP), NAME(ENODATA), NAME(ETIME),
	NAME(ENOLINK), NAME(EPROTO), NAME(EBADMSG), NAME(EOVERFLOW), NAME(EILSEQ), NAME(EUSERS),
	NAME(EOPNOTSUPP), NAME(ENOBUFS), NAME(ESHUTDOWN), NAME(ETIMEDOUT), NAME(EALREADY),
	NAME(EINPROGRESS), NAME(ESTALE), NAME(EUCLEAN), NAME(EREMOTEIO), NAME(EDQUOT),
	NAME(ENOMEDIUM), NAME(EMEDIUMTYPE), NAME(ECANCELED), NAME(ENOKEY), NAME(EKEYREJECTED),
	NAME(EHWPOISON),
};

/**
 * scst_errno_name() - an errno as a word
 * @error: errno of either sign
 *
 * Return: "ENOENT" and the like, "" for 0, "UNKNOWN" for what no file or block device returns.
 */
const char *scst_errno_name(int error)
{
	unsigned int number = error < 0 ? -(unsigned int)error : error;

	if (!number)
		return "";
	if (number < ARRAY_SIZE(scst_errno_names) && scst_errno_names[number])
		return scst_errno_names[number];
	return "UNKNOWN";
}
