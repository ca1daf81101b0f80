/* SPDX-License-Identifier: GPL-2.0-or-later */
/* As much of the mid-level as a connection of iSCSI sees; the driver of the fuzzer plays its part. */
#ifndef SCST_FUZZ_TARGET_H
#define SCST_FUZZ_TARGET_H

#include "kernel.h"

#define SCST_CMD_LINE		64
#define SCST_SENSE_SIZE		96
#define DMA_TO_DEVICE		1
#define DMA_FROM_DEVICE		2
#define DMA_NONE		3

enum { SCST_TASK_SIMPLE, SCST_TASK_ORDERED, SCST_TASK_HEAD_OF_QUEUE, SCST_TASK_ACA };
enum scst_context { SCST_CTX_ATOMIC };

struct scst_session {
	void *driver_data;
};

struct scst_target {
	const char *name;
};

enum scst_data_owner { SCST_DATA_CORE, SCST_DATA_HANDLER };

struct scst_data {
	struct scatterlist *sgl;
	unsigned int nents;
	enum scst_data_owner owner;
};

enum fuzz_place { FUZZ_NOWHERE, FUZZ_CORE, FUZZ_RECEIVING, FUZZ_RECEIVED, FUZZ_SENDING };

struct scst_cmd {
	struct scst_session *sess;
	u32 len;
	u32 expected_len;
	u8 attr;
	u8 priority;
	u8 dir;
	u8 status;
	u8 sense_len;
	u8 cdb_len;
	u8 ctx;
	const u8 *cdb;
	u8 *sense;
	u64 tag;
	u32 lun;
	u32 xfer_len;
	struct scst_data data;

	/* The fuzzer's. */
	struct list_head entry;
	enum fuzz_place place;
	bool aborted;
	bool by_other;
	bool recalled;
};

static inline void scst_cmd_init(struct scst_cmd *cmd, struct scst_session *sess)
{
	*cmd = (struct scst_cmd){ .sess = sess };
}

static inline bool scst_cmd_aborted(const struct scst_cmd *cmd)
{
	return cmd->aborted;
}

static inline bool scst_cmd_aborted_by_other(const struct scst_cmd *cmd)
{
	return cmd->by_other;
}

static inline s64 scst_cmd_residual(const struct scst_cmd *cmd)
{
	if (cmd->xfer_len > cmd->expected_len)
		return (s64)cmd->expected_len - cmd->xfer_len;
	return cmd->expected_len - cmd->len;
}

enum scst_tmf_function {
	SCST_TMF_ABORT_TASK, SCST_TMF_ABORT_TASK_SET, SCST_TMF_LUN_RESET, SCST_TMF_TARGET_RESET, SCST_TMF_CLEAR_TASK_SET,
	SCST_TMF_CLEAR_ACA, SCST_TMF_I_T_NEXUS_RESET, SCST_TMF_QUERY_TASK, SCST_TMF_QUERY_TASK_SET,
};

enum scst_tmf_response {
	SCST_TMF_COMPLETE, SCST_TMF_SUCCEEDED, SCST_TMF_NO_TASK, SCST_TMF_BAD_LUN, SCST_TMF_NOT_SUPPORTED,
};

struct scst_tmf {
	struct scst_session *sess;
	enum scst_tmf_function fn;
	u32 lun;
	u64 tag;
	enum scst_tmf_response response;
	struct list_head entry;
};

u32 scst_lun_unpack(const u8 lun[8]);
void scst_cmd_submit(struct scst_cmd *cmd);
void scst_data_received(struct scst_cmd *cmd, int error, enum scst_context ctx);
void scst_cmd_sent(struct scst_cmd *cmd);
void scst_tmf_submit(struct scst_tmf *tmf);

#endif /* SCST_FUZZ_TARGET_H */
