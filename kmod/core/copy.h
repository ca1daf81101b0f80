/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Copies that an initiator has this host do: what copy.c, copy-run.c and copy-results.c share.
 */
#ifndef SCST_COPY_H
#define SCST_COPY_H

#include "core.h"
#include "copy-parse.h"

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

/**
 * struct scst_copy_record - what RECEIVE COPY RESULTS tells of a copy
 * @entry: of its session's, under the session's copy_lock
 * @cookie: of the nexus it came by
 * @id: LIST IDENTIFIER
 * @hold: to be kept when it is over
 * @running: it is not over
 * @resets: of the device; records from before a reset are not told any more
 * @status: SAM status it has ended in
 * @sense_len: bytes of @sense
 * @segments: that are done
 * @bytes: that are copied
 * @sense: sense data it has ended in
 */
struct scst_copy_record {
	struct list_head entry;
	u64 cookie;
	u8 id;
	bool hold;
	bool running;
	int resets;
	u8 status;
	u8 sense_len;
	u16 segments;
	u64 bytes;
	u8 sense[SCST_SENSE_SIZE];
};

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
 * struct scst_copy - a copy that is being done
 * @cmd: the initiator's command
 * @bytes: its parameter list
 * @list: the same, checked
 * @unit: of each CSCD descriptor that a segment names
 * @record: what is told of it, NULL: nothing
 * @from: source of the segment at hand
 * @to: its destination
 * @whole: where that is
 * @extent: what is not begun of it
 * @segment: its number
 * @lock: protects @extent, @lanes, @by_handler and @failure
 * @lanes: that are not over
 * @by_handler: the handler may know a shorter way
 * @backwards: it overlaps with itself, and is copied from its end
 * @one_lane: chunks are copied in order
 * @failure: why it is not done any further
 * @lane: those who do it
 */
struct scst_copy {
	struct scst_cmd *cmd;
	u8 *bytes;
	struct scst_copy_list list;
	struct scst_copy_unit unit[SCST_COPY_CSCDS];
	struct scst_copy_record *record;
	const struct scst_copy_unit *from;
	const struct scst_copy_unit *to;
	struct scst_copy_extent whole;
	struct scst_copy_extent extent;
	unsigned int segment;
	spinlock_t lock;
	unsigned int lanes;
	bool by_handler;
	bool backwards;
	bool one_lane;
	struct scst_copy_failure failure;
	struct scst_copy_lane lane[SCST_COPY_LANES];
};

extern struct scst_threads scst_copy_threads;

void scst_copy_run(struct scst_copy *copy);
void scst_copy_over(struct scst_copy *copy);
struct scst_nexus *scst_copy_nexus(struct scst_session *sess, const struct scst_copy_unit *unit);

bool scst_copy_record_begin(struct scst_copy *copy);
void scst_copy_record_add(struct scst_copy *copy, u32 bytes);
void scst_copy_record_segment(struct scst_copy *copy);
void scst_copy_record_end(struct scst_copy *copy);

#endif /* SCST_COPY_H */
