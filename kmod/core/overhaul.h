/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Something is done to the whole medium, during which nobody gets at it: see overhaul.c.
 */
#ifndef SCST_OVERHAUL_H
#define SCST_OVERHAUL_H

#include "commands.h"

/**
 * struct scst_overhaul - FORMAT UNIT or SANITIZE while it is being done
 * @cmd: who is told of its end; NULL: nobody, it was answered
 * @gate: what others are told meanwhile: SCST_GATE_FORMATTING or SCST_GATE_SANITIZING
 * @undone: enum scst_undone, which is kept before anything is done, and until it has come to its end; SCST_UNDONE_NOTHING: its command
 *	is the only one to be told, and it ends where that does
 * @immed: @cmd is answered when it has begun
 * @action: SCST_ACTION_ZERO: with zeroes, as the handler does it; SCST_ACTION_WRITE: with the block that the chunk begins with
 * @passes: how often, at least once
 * @invert: the complement in each pass but the last, the last but two, and so on
 * @chunk: memory, @chunk_size bytes
 *
 * So far who takes what is to be done sets what is not to be 0; the rest is overhaul.c's.
 *
 * @alone: has the whole medium for itself
 * @job: how it goes on
 * @dev: the device, by a reference
 * @stopped: the backing is to be closed; written under nexus_lock
 * @error: of the piece, or why it has ended
 * @pass: from 0
 * @pos: first byte that is not done in this pass
 * @piece: bytes of the piece that is being done
 * @syncing: what is in a cache goes to the medium
 * @io: what the handler is handed; of no session
 * @sg: the chunk, again and again
 */
struct scst_overhaul {
	struct scst_cmd *cmd;
	enum scst_gate gate;
	u8 undone;
	bool immed;
	bool invert;
	u8 action;
	u8 passes;
	unsigned int chunk_size;
	struct page *chunk;

	struct scst_alone alone;
	struct scst_job job;
	struct scst_device *dev;
	bool stopped;
	int error;
	u8 pass;
	u64 pos;
	u32 piece;
	bool syncing;
	struct scst_cmd io;
	struct scatterlist sg[SCST_FILL_SEGMENTS];
};

void scst_overhaul_begin(struct scst_job *job, bool (*take)(struct scst_cmd *cmd, struct scst_overhaul *overhaul));
void scst_overhaul_stop(struct scst_device *dev);
void scst_overhaul_event(struct scst_device *dev);
void scst_overhaul_settle(struct scst_device *dev);
u32 scst_overhaul_sense(const struct scst_device *dev);
const char *scst_overhaul_name(const struct scst_device *dev);

#endif /* SCST_OVERHAUL_H */
