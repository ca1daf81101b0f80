// SPDX-License-Identifier: GPL-2.0-only
/*
 * What becomes of copies: RECEIVE COPY RESULTS of LID1 (SPC-4 6.24 to 6.27), RECEIVE COPY STATUS(LID4), RECEIVE ROD TOKEN INFORMATION (6.28),
 * COPY OPERATION ABORT (6.3), and the third-party copy page of vital product data.
 *
 * A copy with a list identifier has a record with its session, for as long as it runs and, if that was asked for, until it is told.  There are no more than
 * SCST_COPY_RECORDS that are over: the oldest goes.  A reset of the unit ends them, too.
 */
#include "commands.h"
#include "copy.h"

#define SCST_COPY_RECORDS	32

#define STATUS_RUNNING		0x00
#define STATUS_DONE		0x01
#define STATUS_FAILED		0x02

#define STATUS_LEN		12
#define PARAMETERS_LEN		46
#define FAILED_HEADER		60

/* COPY OPERATION STATUS */
#define OPERATION_DONE		0x01
#define OPERATION_FAILED	0x02
#define OPERATION_RUNNING	0x11	/* in foreground */
#define OPERATION_TERMINATED	0x60

#define OPERATION_HEADER	32
#define UNIT_BYTES		0x00
#define UNIT_BLOCKS		0xf1
#define POLL_AGAIN		200		/* milliseconds */
#define POLL_NO_MORE		0xfffffffe
#define UNIT_LARGEST		8	/* of TRANSFER COUNT UNITS: bytes, KiB, MiB ... */

/* What a ROD type can be: in a token that comes, in one that is told. */
#define ROD_IN			0x02
#define ROD_OUT			0x01

static const u8 scst_copy_descriptors[] = { SCST_COPY_SEGMENT_02, SCST_COPY_CSCD_E4 };

/* --- records ------------------------------------------------------------------------------------------ */

static void scst_record_free(struct scst_copy_record *record)
{
	list_del(&record->entry);
	if (record->token)
		scst_token_put(record->token);
	kfree(record);
}

/* That of a copy by this nexus, or NULL. */
static struct scst_copy_record *scst_record_find(const struct scst_nexus *nexus, u32 id)
{
	struct scst_copy_record *record;

	lockdep_assert_held(&nexus->sess->copy_lock);
	list_for_each_entry(record, &nexus->sess->copy_records, entry)
		if (record->cookie == nexus->cookie && record->id == id &&
		    (record->copy || record->resets == atomic_read(&nexus->dev->resets)))
			return record;
	return NULL;
}

/* ... whose LIST IDENTIFIER has four bytes, or one. */
static struct scst_copy_record *scst_record_find_kind(const struct scst_nexus *nexus, u32 id, bool lid4)
{
	struct scst_copy_record *record = scst_record_find(nexus, id);

	return record && (record->action != SCST_COPY_EXTENDED) == lid4 ? record : NULL;
}

/* Of those that are over only so many stay, the youngest. */
static void scst_records_trim(struct scst_session *sess)
{
	struct scst_copy_record *record, *before;
	unsigned int over = 0;

	lockdep_assert_held(&sess->copy_lock);
	list_for_each_entry_safe_reverse(record, before, &sess->copy_records, entry)
		if (!record->copy && ++over > SCST_COPY_RECORDS)
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
	free = !old || !old->copy;
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

	if (copy->id_usage == SCST_COPY_ID_NONE)
		return true;
	copy->failure = (struct scst_copy_failure){ .sense = SCST_COPY_ABORTED, .segment = -1, .byte = -1 };
	record = kzalloc(sizeof(*record), GFP_NOIO);
	if (!record) {
		copy->failure.status = SAM_STAT_BUSY;
		return false;
	}
	record->cookie = nexus->cookie;
	record->action = copy->kind->action;
	record->id = copy->id;
	record->copy = copy;
	record->hold = copy->id_usage == SCST_COPY_ID_HOLD;
	record->block_shift = nexus->dev->geo.block_shift;
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
	if (!copy->record)
		return;
	WRITE_ONCE(copy->record->segments, copy->segment);
	WRITE_ONCE(copy->record->moved, copy->moved);
}

/* One that it has made, held, or NULL. */
static struct scst_token *scst_copy_new_token(const struct scst_copy *copy)
{
	if (copy->kind->action != SCST_COPY_POPULATE || !copy->token || copy->failure.sense)
		return NULL;
	kref_get(&copy->token->kref);
	return copy->token;
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
	record->copy = NULL;
	record->cancelled = copy->cancelled && cmd->status;
	record->moved = copy->moved;
	record->token = scst_copy_new_token(copy);
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
		if (!record->copy)
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
	buf[4] = record->copy ? STATUS_RUNNING : record->status ? STATUS_FAILED : STATUS_DONE;
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
	record = scst_record_find_kind(cmd->nexus, cmd->cdb[2], false);
	found = record;
	if (found)
		scst_status_put(record, buf);
	if (found && !record->copy && !record->status)
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
	record = scst_record_find_kind(cmd->nexus, cmd->cdb[2], false);
	if (record && !record->copy && record->status) {
		len = scst_failed_put(record, buf);
		scst_record_free(record);
	}
	spin_unlock_bh(&sess->copy_lock);
	scst_cmd_reply(cmd, buf, len);
}

/* --- RECEIVE COPY STATUS(LID4), RECEIVE ROD TOKEN INFORMATION ------------------------------------------------ */

/* COPY OPERATION STATUS */
static u8 scst_operation_status(const struct scst_copy_record *record)
{
	if (record->copy)
		return OPERATION_RUNNING;
	if (record->cancelled)
		return OPERATION_TERMINATED;
	return record->status ? OPERATION_FAILED : OPERATION_DONE;
}

/* How much is copied: of tokens in blocks of the unit, else in bytes, for there it is of more than one. */
static void scst_operation_count(const struct scst_copy_record *record, u8 *buf)
{
	bool by_token = record->action != SCST_COPY_EXTENDED_LID4;

	buf[15] = by_token ? UNIT_BLOCKS : UNIT_BYTES;
	put_unaligned_be64(by_token ? READ_ONCE(record->moved) >> record->block_shift : record->bytes, buf + 16);
	if (!by_token)
		put_unaligned_be16(READ_ONCE(record->segments), buf + 24);
}

/* What both commands tell, but for its length.  Return: bytes. */
static unsigned int scst_operation_put(const struct scst_copy_record *record, u8 *buf)
{
	memset(buf, 0, OPERATION_HEADER);
	buf[4] = record->action;
	buf[5] = scst_operation_status(record);
	put_unaligned_be32(record->copy ? POLL_AGAIN : POLL_NO_MORE, buf + 8);
	buf[12] = record->status;
	buf[13] = record->sense_len;
	buf[14] = record->sense_len;
	scst_operation_count(record, buf);
	memcpy(buf + OPERATION_HEADER, record->sense, record->sense_len);
	return OPERATION_HEADER + record->sense_len;
}

static unsigned int scst_token_put_information(const struct scst_copy_record *record, u8 *buf)
{
	unsigned int len = scst_operation_put(record, buf);
	u8 *token = buf + len;

	put_unaligned_be32(record->token ? 2 + SCST_TOKEN : 0, token);
	len += 4;
	if (record->token) {
		put_unaligned_be16(0, token + 4);
		memcpy(token + 6, record->token->text, SCST_TOKEN);
		len += 2 + SCST_TOKEN;
	}
	return len;
}

/* What @put writes of the copy that the command asks about, into @buf.  Of what is over it is told once, to who has room for all of it. */
static void scst_operation_tell(struct scst_cmd *cmd, unsigned int (*put)(const struct scst_copy_record *record, u8 *buf), u8 *buf,
				bool tokens)
{
	struct scst_session *sess = cmd->sess;
	struct scst_copy_record *record;
	unsigned int len = 0;

	spin_lock_bh(&sess->copy_lock);
	record = scst_record_find_kind(cmd->nexus, get_unaligned_be32(cmd->cdb + 2), true);
	if (record) {
		len = put(record, buf);
		if (!record->copy && cmd->len >= len && (tokens || !record->token))
			scst_record_free(record);
	}
	spin_unlock_bh(&sess->copy_lock);
	if (len) {
		put_unaligned_be32(len - 4, buf);
		scst_cmd_reply(cmd, buf, len);
		return;
	}
	scst_cmd_invalid_cdb(cmd, 2, 7);
	scst_cmd_respond(cmd);
}

/**
 * scst_copy_status_lid4() - RECEIVE COPY STATUS(LID4)
 * @cmd: the command
 *
 * Of any copy whose LIST IDENTIFIER has four bytes.  A token that was made is not told by it, and stays to be told.
 */
void scst_copy_status_lid4(struct scst_cmd *cmd)
{
	u8 buf[OPERATION_HEADER + SCST_SENSE_SIZE];

	scst_operation_tell(cmd, scst_operation_put, buf, false);
}

/**
 * scst_copy_token_information() - RECEIVE ROD TOKEN INFORMATION
 * @cmd: the command
 *
 * The same, with the token if there is one.
 */
void scst_copy_token_information(struct scst_cmd *cmd)
{
	u8 buf[OPERATION_HEADER + SCST_SENSE_SIZE + 6 + SCST_TOKEN];

	scst_operation_tell(cmd, scst_token_put_information, buf, true);
}

/* --- COPY OPERATION ABORT ------------------------------------------------------------------------------------ */

/**
 * scst_copy_abort() - COPY OPERATION ABORT
 * @cmd: the command
 *
 * The copy begins nothing more, and its own command is answered when nothing of it is on its way; this one does not wait for that.
 */
void scst_copy_abort(struct scst_cmd *cmd)
{
	struct scst_session *sess = cmd->sess;
	struct scst_copy_record *record;
	bool runs;

	spin_lock_bh(&sess->copy_lock);
	record = scst_record_find(cmd->nexus, get_unaligned_be32(cmd->cdb + 2));
	runs = record && record->copy;
	if (runs)
		WRITE_ONCE(record->copy->cancelled, true);
	spin_unlock_bh(&sess->copy_lock);
	if (runs) {
		scst_cmd_good(cmd);
		return;
	}
	scst_cmd_invalid_cdb(cmd, 2, 7);
	scst_cmd_respond(cmd);
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
 * Third-party copy descriptors (SPC-4 7.8.17), each a multiple of four long: limits of tokens, commands, limits, types of descriptors, CSCD
 * descriptor IDs beyond those of descriptors (there are none), features of tokens, their types, and operations.  What is in blocks is
 * put there by scst_copy_page_put().
 */
#define BE16(value)	((value) >> 8) & 0xff, (value) & 0xff
#define BE32(value)	BE16((value) >> 16), BE16(value)
#define BE64(value)	BE32(0), BE32(value)
#define ZERO4		0, 0, 0, 0
#define ZERO8		ZERO4, ZERO4
#define ZERO16		ZERO8, ZERO8
#define ZERO56		ZERO16, ZERO16, ZERO16, ZERO8

#define PAGE_TOKEN_MAX		20	/* in blocks */
#define PAGE_TOKEN_OPTIMAL	28

static const u8 scst_copy_page[] = {
	BE16(0x0000), BE16(32),  0, 0, 0, 0, 0, 0,  BE16(SCST_TOKEN_RANGES), BE32(SCST_TOKEN_TIMEOUT_MAX), BE32(SCST_TOKEN_TIMEOUT),
	ZERO8, ZERO8,
	BE16(0x0001), BE16(16),  14,  0x83, 5, SCST_COPY_EXTENDED, SCST_COPY_EXTENDED_LID4, SCST_COPY_POPULATE, SCST_COPY_WRITE, 0x1c,
	0x84, 5, 0x00, 0x03, 0x04, 0x05, 0x07,  0,
	BE16(0x0004), BE16(28),  ZERO4,  BE16(SCST_COPY_CSCDS), BE16(SCST_COPY_SEGMENTS), BE32(SCST_COPY_DESCRIPTORS), BE32(0), ZERO8, ZERO4,
	BE16(0x0008), BE16(4),  2, SCST_COPY_SEGMENT_02, SCST_COPY_CSCD_E4,  0,
	BE16(0x000c), BE16(4),  BE16(0),  0, 0,
	BE16(0x0106), BE16(92),  ZERO8, ZERO4,  BE32(0), BE32(SCST_TOKEN_LIFETIME), BE32(SCST_TOKEN_TIMEOUT_MAX),  ZERO16, 0, 0,  BE16(48),
	/* of block devices */
	0, 0, BE16(44),  0, 0,  BE16(0), BE64(SCST_TOKEN_BYTES), BE64(SCST_TOKEN_OPTIMAL), BE64(SCST_TOKEN_OPTIMAL), BE64(SCST_TOKEN_OPTIMAL),
	ZERO8,
	BE16(0x0108), BE16(132),  0, 0, BE16(128),
	BE32(SCST_ROD_VULNERABLE), ROD_IN | ROD_OUT, 0, BE16(0), ZERO56,
	BE32(SCST_ROD_ZERO), ROD_IN, 0, BE16(0), ZERO56,
	BE16(0x8001), BE16(32),  BE32(SCST_COPY_MAX), BE32(SCST_COPY_MAX), BE32(SCST_COPY_SEGMENT_MAX), 0, 0,  0, 0, ZERO16,
};

static_assert(sizeof(scst_copy_page) == SCST_COPY_PAGE);
static_assert(SCST_COPY_DESCRIPTORS <= U16_MAX && SCST_COPY_MAX <= U8_MAX);
static_assert(SCST_WRITE_HEADER + SCST_TOKEN_RANGES * SCST_TOKEN_RANGE <= SCST_COPY_LIST);

/* The body of VPD page 8Fh, of SCST_COPY_PAGE bytes; @block_shift: of the unit. */
void scst_copy_page_put(u8 block_shift, u8 *body)
{
	memcpy(body, scst_copy_page, sizeof(scst_copy_page));
	put_unaligned_be64(SCST_TOKEN_BYTES >> block_shift, body + PAGE_TOKEN_MAX);
	put_unaligned_be64(SCST_TOKEN_OPTIMAL >> block_shift, body + PAGE_TOKEN_OPTIMAL);
}
