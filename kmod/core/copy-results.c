// SPDX-License-Identifier: GPL-2.0-only
/*
 * What becomes of copies: RECEIVE COPY RESULTS (SPC-4 6.24 to 6.27), and the third-party copy page of vital product data.
 *
 * A copy with a list identifier has a record with its session, for as long as it runs and, if that was asked for, until it is told.  There are no more than
 * SCST_COPY_RECORDS that are over: the oldest goes.  A reset of the unit ends them, too.
 */
#include "copy.h"

#define SCST_COPY_RECORDS	32

#define STATUS_RUNNING		0x00
#define STATUS_DONE		0x01
#define STATUS_FAILED		0x02

#define STATUS_LEN		12
#define PARAMETERS_LEN		46
#define FAILED_HEADER		60
#define UNIT_LARGEST		8	/* of TRANSFER COUNT UNITS: bytes, KiB, MiB ... */

static const u8 scst_copy_descriptors[] = { SCST_COPY_SEGMENT_02, SCST_COPY_CSCD_E4 };

/* --- records ------------------------------------------------------------------------------------------ */

static void scst_record_free(struct scst_copy_record *record)
{
	list_del(&record->entry);
	kfree(record);
}

/* That of a copy by this nexus, or NULL. */
static struct scst_copy_record *scst_record_find(const struct scst_nexus *nexus, u8 id)
{
	struct scst_copy_record *record;

	lockdep_assert_held(&nexus->sess->copy_lock);
	list_for_each_entry(record, &nexus->sess->copy_records, entry)
		if (record->cookie == nexus->cookie && record->id == id &&
		    (record->running || record->resets == atomic_read(&nexus->dev->resets)))
			return record;
	return NULL;
}

/* Of those that are over only so many stay, the youngest. */
static void scst_records_trim(struct scst_session *sess)
{
	struct scst_copy_record *record, *before;
	unsigned int over = 0;

	lockdep_assert_held(&sess->copy_lock);
	list_for_each_entry_safe_reverse(record, before, &sess->copy_records, entry)
		if (!record->running && ++over > SCST_COPY_RECORDS)
			scst_record_free(record);
}

/* False: it is in use. */
static bool scst_record_add(struct scst_nexus *nexus, struct scst_copy_record *new)
{
	struct scst_session *sess = nexus->sess;
	struct scst_copy_record *old;
	bool free;

	spin_lock_bh(&sess->copy_lock);
	old = scst_record_find(nexus, new->id);
	free = !old || !old->running;
	if (old && free)
		scst_record_free(old);
	if (free)
		list_add_tail(&new->entry, &sess->copy_records);
	spin_unlock_bh(&sess->copy_lock);
	return free;
}

/**
 * scst_copy_record_begin() - what is told of a copy
 * @copy: its list is checked
 *
 * Process context.  Return: false: it can't be kept apart, and copy->failure says why.
 */
bool scst_copy_record_begin(struct scst_copy *copy)
{
	struct scst_nexus *nexus = copy->cmd->nexus;
	struct scst_copy_record *record;

	if (copy->list.id_usage == SCST_COPY_ID_NONE)
		return true;
	copy->failure = (struct scst_copy_failure){ .sense = SCST_COPY_ABORTED, .segment = -1, .byte = -1 };
	record = kzalloc(sizeof(*record), GFP_NOIO);
	if (!record) {
		copy->failure.status = SAM_STAT_BUSY;
		return false;
	}
	record->cookie = nexus->cookie;
	record->id = copy->list.id;
	record->hold = copy->list.id_usage == SCST_COPY_ID_HOLD;
	record->running = true;
	record->resets = atomic_read(&nexus->dev->resets);
	if (!scst_record_add(nexus, record)) {
		kfree(record);
		copy->failure.sense = SCST_COPY_IN_PROGRESS;
		return false;
	}
	copy->record = record;
	copy->failure.sense = 0;
	return true;
}

/* So many bytes more are copied. */
void scst_copy_record_add(struct scst_copy *copy, u32 bytes)
{
	struct scst_session *sess = copy->cmd->sess;

	if (!copy->record)
		return;
	spin_lock_bh(&sess->copy_lock);
	copy->record->bytes += bytes;
	spin_unlock_bh(&sess->copy_lock);
}

/* A segment more is done. */
void scst_copy_record_segment(struct scst_copy *copy)
{
	if (copy->record)
		WRITE_ONCE(copy->record->segments, copy->record->segments + 1);
}

/* It is over: the status of its command is set. */
void scst_copy_record_end(struct scst_copy *copy)
{
	struct scst_copy_record *record = copy->record;
	const struct scst_cmd *cmd = copy->cmd;
	struct scst_session *sess = cmd->sess;

	if (!record)
		return;
	spin_lock_bh(&sess->copy_lock);
	record->running = false;
	record->status = cmd->status;
	record->sense_len = cmd->sense_len;
	memcpy(record->sense, cmd->sense, cmd->sense_len);
	list_move_tail(&record->entry, &sess->copy_records);
	if (!record->hold || scst_cmd_aborted(cmd))
		scst_record_free(record);
	scst_records_trim(sess);
	spin_unlock_bh(&sess->copy_lock);
}

/* Nothing of what is over is told any more: the I_T nexus is lost, or the session is freed.  Process or softirq context. */
void scst_copy_forget(struct scst_session *sess)
{
	struct scst_copy_record *record, *next;

	spin_lock_bh(&sess->copy_lock);
	list_for_each_entry_safe(record, next, &sess->copy_records, entry)
		if (!record->running)
			scst_record_free(record);
	spin_unlock_bh(&sess->copy_lock);
}

/* Fields of a new session that are this file's. */
void scst_copy_setup_session(struct scst_session *sess)
{
	spin_lock_init(&sess->copy_lock);
	INIT_LIST_HEAD(&sess->copy_records);
}

/* --- COPY STATUS ----------------------------------------------------------------------------------------- */

/* In the smallest unit in which it can be said. */
static void scst_status_count(u64 bytes, u8 *buf)
{
	u8 unit = 0;

	for (; bytes > U32_MAX && unit < UNIT_LARGEST; unit++)
		bytes >>= 10;
	buf[7] = unit;
	put_unaligned_be32(bytes, buf + 8);
}

static void scst_status_put(const struct scst_copy_record *record, u8 *buf)
{
	memset(buf, 0, STATUS_LEN);
	put_unaligned_be32(STATUS_LEN - 4, buf);
	buf[4] = record->running ? STATUS_RUNNING : record->status ? STATUS_FAILED : STATUS_DONE;
	put_unaligned_be16(READ_ONCE(record->segments), buf + 5);
	scst_status_count(record->bytes, buf);
}

/**
 * scst_copy_status() - RECEIVE COPY RESULTS, COPY STATUS
 * @cmd: the command
 *
 * What is told of a copy that is over is not told again, but for the details of a failure (SPC-4: RECEIVE COPY STATUS).
 */
void scst_copy_status(struct scst_cmd *cmd)
{
	struct scst_session *sess = cmd->sess;
	struct scst_copy_record *record;
	u8 buf[STATUS_LEN];
	bool found;

	spin_lock_bh(&sess->copy_lock);
	record = scst_record_find(cmd->nexus, cmd->cdb[2]);
	found = record;
	if (found)
		scst_status_put(record, buf);
	if (found && !record->running && !record->status)
		scst_record_free(record);
	spin_unlock_bh(&sess->copy_lock);
	if (found) {
		scst_cmd_reply(cmd, buf, sizeof(buf));
		return;
	}
	scst_cmd_invalid_cdb(cmd, 2, 7);
	scst_cmd_respond(cmd);
}

/* --- FAILED SEGMENT DETAILS --------------------------------------------------------------------------------- */

static unsigned int scst_failed_put(const struct scst_copy_record *record, u8 *buf)
{
	unsigned int len = FAILED_HEADER + record->sense_len;

	memset(buf, 0, FAILED_HEADER);
	put_unaligned_be32(len - 4, buf);
	buf[56] = record->status;
	put_unaligned_be16(record->sense_len, buf + 58);
	memcpy(buf + FAILED_HEADER, record->sense, record->sense_len);
	return len;
}

/**
 * scst_copy_failed() - RECEIVE COPY RESULTS, FAILED SEGMENT DETAILS
 * @cmd: the command
 *
 * Told once.  If there is nothing to tell, nothing is.
 */
void scst_copy_failed(struct scst_cmd *cmd)
{
	u8 buf[FAILED_HEADER + SCST_SENSE_SIZE] = { };
	struct scst_session *sess = cmd->sess;
	struct scst_copy_record *record;
	unsigned int len = 4;

	spin_lock_bh(&sess->copy_lock);
	record = scst_record_find(cmd->nexus, cmd->cdb[2]);
	if (record && !record->running && record->status) {
		len = scst_failed_put(record, buf);
		scst_record_free(record);
	}
	spin_unlock_bh(&sess->copy_lock);
	scst_cmd_reply(cmd, buf, len);
}

/* --- OPERATING PARAMETERS, VPD page 8Fh ----------------------------------------------------------------------- */

/**
 * scst_copy_parameters() - RECEIVE COPY RESULTS, OPERATING PARAMETERS
 * @cmd: the command
 *
 * SNLID: a command may be without a list identifier.
 */
void scst_copy_parameters(struct scst_cmd *cmd)
{
	u8 buf[PARAMETERS_LEN] = { };

	put_unaligned_be32(PARAMETERS_LEN - 4, buf);
	buf[4] = 0x01;
	put_unaligned_be16(SCST_COPY_CSCDS, buf + 8);
	put_unaligned_be16(SCST_COPY_SEGMENTS, buf + 10);
	put_unaligned_be32(SCST_COPY_DESCRIPTORS, buf + 12);
	put_unaligned_be32(SCST_COPY_SEGMENT_MAX, buf + 16);
	put_unaligned_be16(SCST_COPY_MAX, buf + 34);
	buf[36] = SCST_COPY_MAX;
	buf[43] = sizeof(scst_copy_descriptors);
	memcpy(buf + 44, scst_copy_descriptors, sizeof(scst_copy_descriptors));
	scst_cmd_reply(cmd, buf, sizeof(buf));
}

static_assert(PARAMETERS_LEN == 44 + sizeof(scst_copy_descriptors));

/*
 * Third-party copy descriptors (SPC-4 7.8.17), each a multiple of four long: commands, limits, types of descriptors, CSCD descriptor IDs
 * beyond those of descriptors (there are none), and operations.
 */
static const u8 scst_copy_page[] = {
	0x00, 0x01, 0x00, 0x0c,  0x08,  0x83, 0x01, 0x00,  0x84, 0x03, 0x00, 0x03, 0x04,  0, 0, 0,
	0x00, 0x04, 0x00, 0x1c,  0, 0, 0, 0,  0, SCST_COPY_CSCDS,  0, SCST_COPY_SEGMENTS,
	0, 0, SCST_COPY_DESCRIPTORS >> 8, SCST_COPY_DESCRIPTORS & 0xff,  0, 0, 0, 0,  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0x00, 0x08, 0x00, 0x04,  0x02, SCST_COPY_SEGMENT_02, SCST_COPY_CSCD_E4,  0,
	0x00, 0x0c, 0x00, 0x04,  0x00, 0x00,  0, 0,
	0x80, 0x01, 0x00, 0x20,  0, 0, 0, SCST_COPY_MAX,  0, 0, 0, SCST_COPY_MAX,
	SCST_COPY_SEGMENT_MAX >> 24, 0, 0, 0,  0, 0,  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
};

static_assert(sizeof(scst_copy_page) == SCST_COPY_PAGE);
static_assert(SCST_COPY_DESCRIPTORS <= U16_MAX && SCST_COPY_MAX <= U8_MAX);

/* The body of VPD page 8Fh, of SCST_COPY_PAGE bytes. */
void scst_copy_page_put(u8 *body)
{
	memcpy(body, scst_copy_page, sizeof(scst_copy_page));
}
