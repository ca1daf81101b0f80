/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Copies that an initiator has this host do: what copy*.c and token.c share.
 */
#ifndef SCST_COPY_H
#define SCST_COPY_H

#include "commands.h"
#include "copy-parse.h"
#include "copy-token-parse.h"

#define SCST_COPY_LANES		2		/* chunks of one copy that are on their way at once */
#define SCST_COPY_SEGMENT_MAX	SZ_256M		/* bytes of a segment: no number of blocks is more */

static_assert(SCST_COPY_MAX * SCST_COPY_LANES <= SCST_COPY_SLOTS);

/**
 * struct scst_copy_unit - a logical unit that is a source or a destination, as the initiator sees it
 * @cookie: of the nexus; if another one stands behind the LUN, the initiator does not see the unit any more
 * @lun: where it is
 * @resets: of the device when the copy began: what is reset meanwhile is not copied any further
 */
struct scst_copy_unit {
	u64 cookie;
	u32 lun;
	int resets;
};

/**
 * struct scst_copy_failure - why a copy has ended before its end
 * @sense: enum scst_copy_sense, 0: it has not failed
 * @segment: number of the segment that was being copied, -1: none
 * @byte: of the parameter list, -1: none
 * @bit: the field's most significant bit
 * @of_source: @status and @told are the source's, else the destination's
 * @status: that a unit's command has ended in
 * @told_len: bytes of @told
 * @told: its sense data
 */
struct scst_copy_failure {
	u32 sense;
	s32 segment;
	s32 byte;
	s8 bit;
	bool of_source;
	u8 status;
	u8 told_len;
	u8 told[SCST_SENSE_SIZE];
};

/* SERVICE ACTION of THIRD-PARTY COPY OUT. */
enum scst_copy_action {
	SCST_COPY_EXTENDED	= 0x00,
	SCST_COPY_EXTENDED_LID4	= 0x01,
	SCST_COPY_POPULATE	= 0x10,
	SCST_COPY_WRITE		= 0x11,
};

/**
 * struct scst_token - a ROD token
 * @entry: of its device's, under its lock
 * @kref: one of the list, one of each user and record
 * @session: number of the session of who has made it
 * @over: 0, or what those are told who want to use it
 * @users: copies that are using it
 * @made: when (jiffies)
 * @used: when last, if it is not now
 * @timeout: seconds that it may rest
 * @bytes: of data
 * @block_shift: of the unit
 * @text: as initiators have it
 * @nr: ranges
 * @range: where its data is
 */
struct scst_token {
	struct list_head entry;
	struct kref kref;
	u32 session;
	u32 over;
	atomic_t users;
	unsigned long made;
	unsigned long used;
	u32 timeout;
	u64 bytes;
	u8 block_shift;
	u8 text[SCST_TOKEN];
	u16 nr;
	struct scst_token_range range[] __counted_by(nr);
};

/**
 * struct scst_copy_record - what RECEIVE COPY RESULTS, RECEIVE COPY STATUS and RECEIVE ROD TOKEN INFORMATION tell of a copy
 * @entry: of its session's, under the session's copy_lock
 * @cookie: of the nexus it came by
 * @action: enum scst_copy_action
 * @id: LIST IDENTIFIER
 * @copy: while it runs, else NULL
 * @hold: to be kept when it is over
 * @resets: of the device; records from before a reset are not told any more
 * @status: SAM status it has ended in
 * @sense_len: bytes of @sense
 * @cancelled: it was ended by COPY OPERATION ABORT
 * @block_shift: of the unit
 * @segments: that are done
 * @bytes: that are copied
 * @moved: ... from the beginning on, without a gap
 * @token: that was made, or NULL
 * @sense: sense data it has ended in
 */
struct scst_copy_record {
	struct list_head entry;
	u64 cookie;
	u8 action;
	u32 id;
	struct scst_copy *copy;
	bool hold;
	int resets;
	u8 status;
	u8 sense_len;
	bool cancelled;
	u8 block_shift;
	u16 segments;
	u64 bytes;
	u64 moved;
	struct scst_token *token;
	u8 sense[SCST_SENSE_SIZE];
};

struct scst_copy;

/* A command of the core's own, on behalf of the initiator, that reads or writes a chunk. */
struct scst_copy_part {
	struct scst_cmd cmd;
	u8 cdb[16];
	u8 sense[SCST_SENSE_SIZE];
};

/**
 * struct scst_copy_lane - one chunk after the other, each of which is read and then written
 * @copy: whose
 * @job: what it does next
 * @from: of the chunk at hand, bytes
 * @to: of the chunk at hand
 * @len: of the chunk at hand
 * @error: of the action that has ended
 * @memory: bytes there is memory for
 * @direct: the chunk goes the handler's own way
 * @writer: takes a turn for each piece that is written
 * @read: reads it; the memory is on its account
 * @write: writes it
 */
struct scst_copy_lane {
	struct scst_copy *copy;
	struct scst_job job;
	u64 from;
	u64 to;
	u32 len;
	int error;
	u32 memory;
	bool direct;
	struct scst_writer writer;
	struct scst_copy_part read;
	struct scst_copy_part write;
};

/**
 * struct scst_copy_kind - a command that copies
 * @action: its service action
 * @parse: check the list, and set @id and @id_usage of the copy; false: copy->failure says why not
 * @find: look for its units; the same
 * @next: what is copied next; false: nothing is left, or copy->failure is set
 * @end: it has ended; optional
 *
 * In process context, where allocation must not wait for I/O.
 */
struct scst_copy_kind {
	u8 action;
	bool (*parse)(struct scst_copy *copy);
	bool (*find)(struct scst_copy *copy);
	bool (*next)(struct scst_copy *copy);
	void (*end)(struct scst_copy *copy);
};

/**
 * struct scst_copy - a copy that is being done
 * @cmd: the initiator's command
 * @kind: of it
 * @bytes: its parameter list
 * @len: bytes of that
 * @id: LIST IDENTIFIER
 * @id_usage: enum scst_copy_id_usage
 * @list: of EXTENDED COPY: the same, checked
 * @tokens: of the commands with tokens: likewise
 * @to_range: of WRITE USING TOKEN: the ranges of the list
 * @token: that is made, or used, or NULL
 * @token_pos: first byte of the token's data that is copied
 * @unit: of each CSCD descriptor that a segment names; of WRITE USING TOKEN source and destination
 * @record: what is told of it, NULL: nothing
 * @from: source of the segment at hand
 * @to: its destination
 * @whole: where that is
 * @extent: what is not begun of it
 * @segment: its number
 * @moved: bytes of the segments before it; in the end, all that were copied without a gap
 * @cancelled: by COPY OPERATION ABORT
 * @zero: there is no source: zeroes are written
 * @lock: protects @extent, @lanes, @by_handler and @failure
 * @lanes: that are not over
 * @by_handler: the handler may know a shorter way: to copy, or to make zeroes
 * @backwards: it overlaps with itself, and is copied from its end
 * @one_lane: chunks are copied in order
 * @failure: why it is not done any further
 * @lane: those who do it
 */
struct scst_copy {
	struct scst_cmd *cmd;
	const struct scst_copy_kind *kind;
	u8 *bytes;
	u32 len;
	u32 id;
	u8 id_usage;
	struct scst_copy_list list;
	struct scst_token_list tokens;
	struct scst_token_range to_range[SCST_TOKEN_RANGES];
	struct scst_token *token;
	u64 token_pos;
	struct scst_copy_unit unit[SCST_COPY_CSCDS];
	struct scst_copy_record *record;
	const struct scst_copy_unit *from;
	const struct scst_copy_unit *to;
	struct scst_copy_extent whole;
	struct scst_copy_extent extent;
	unsigned int segment;
	u64 moved;
	bool cancelled;
	bool zero;
	spinlock_t lock;
	unsigned int lanes;
	bool by_handler;
	bool backwards;
	bool one_lane;
	struct scst_copy_failure failure;
	struct scst_copy_lane lane[SCST_COPY_LANES];
};

extern struct scst_threads scst_copy_threads;

extern const struct scst_opcode scst_copy_op_read;
extern const struct scst_opcode scst_copy_op_write;
struct scst_nexus *scst_copy_nexus(struct scst_session *sess, const struct scst_copy_unit *unit);
void scst_part_init(struct scst_copy *copy, struct scst_copy_part *part, const struct scst_opcode *op, u64 pos, u32 len);
bool scst_part_begin(struct scst_copy_part *part, const struct scst_copy_unit *unit);
void scst_part_end(struct scst_cmd *cmd);

void scst_copy_run(struct scst_copy *copy);
void scst_copy_over(struct scst_copy *copy);
u64 scst_copy_reached(struct scst_copy *copy);
void scst_copy_begin(struct scst_cmd *cmd, const struct scst_copy_kind *kind);
bool scst_copy_find(struct scst_session *sess, const struct scst_copy_cscd *cscd, struct scst_copy_unit *unit);
void scst_copy_choose_way(struct scst_copy *copy, const struct scst_device *from, const struct scst_device *to);

bool scst_copy_record_begin(struct scst_copy *copy);
void scst_copy_record_add(struct scst_copy *copy, u32 bytes);
void scst_copy_record_segment(struct scst_copy *copy);
void scst_copy_record_end(struct scst_copy *copy);

u32 scst_token_add(struct scst_device *dev, struct scst_token *token);
void scst_token_put(struct scst_token *token);
u32 scst_token_use(struct scst_device *dev, const u8 *text, struct scst_token **used);
void scst_token_unuse(struct scst_token *token);
void scst_token_end(struct scst_device *dev, struct scst_token *token, u32 sense);
u32 scst_token_over(const struct scst_token *token);

#endif /* SCST_COPY_H */
