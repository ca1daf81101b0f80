// SPDX-License-Identifier: GPL-2.0-only
/*
 * Task management functions and ABTS.
 */
#include "qla.h"

/* The request is in the memory that the in-box driver's has for LIO's: nobody else uses that until it is answered. */
static_assert(sizeof(struct scst_tmf) <= sizeof(struct se_cmd) && __alignof__(struct scst_tmf) <= __alignof__(struct se_cmd));

/* The in-box driver's number of a function, or -ENOSYS. */
static int qla_function(u16 fn)
{
	switch (fn) {
	case QLA_TGT_ABTS:
	case QLA_TGT_2G_ABORT_TASK:
		return SCST_TMF_ABORT_TASK;
	case QLA_TGT_ABORT_TS:
		return SCST_TMF_ABORT_TASK_SET;
	case QLA_TGT_CLEAR_TS:
		return SCST_TMF_CLEAR_TASK_SET;
	case QLA_TGT_LUN_RESET:
		return SCST_TMF_LUN_RESET;
	case QLA_TGT_TARGET_RESET:
		return SCST_TMF_TARGET_RESET;
	case QLA_TGT_CLEAR_ACA:
		return SCST_TMF_CLEAR_ACA;
	case QLA_TGT_NEXUS_LOSS ... QLA_TGT_ABORT_ALL_SESS:
		return SCST_TMF_I_T_NEXUS_RESET;
	default:
		return -ENOSYS;
	}
}

/* FCP-4 9.4.11; an ABTS of a command that is over is accepted: it is not there any more (FCP-4 12.3.2). */
static u8 qla_tmf_response(const struct scst_tmf *tmf)
{
	switch (tmf->response) {
	case SCST_TMF_COMPLETE:
	case SCST_TMF_SUCCEEDED:
	case SCST_TMF_NO_TASK:
		return FC_TM_SUCCESS;
	case SCST_TMF_NOT_SUPPORTED:
		return FC_TM_REJECT;
	default:
		return FC_TM_FAILED;
	}
}

void qla_tmf_done(struct scst_tmf *tmf)
{
	struct qla_tgt_mgmt_cmd *mcmd = container_of((struct se_cmd *)tmf, struct qla_tgt_mgmt_cmd, se_cmd);

	mcmd->fc_tm_rsp = qla_tmf_response(tmf);
	qlt_xmit_tm_rsp(mcmd);
}

static int qla_tmf_submit(struct qla_port *port, const struct fc_port *fcport, struct scst_tmf *tmf)
{
	struct qla_session *qs;

	mutex_lock(&port->sessions_lock);
	qs = qla_session_of(port, fcport);
	if (qs) {
		tmf->sess = qs->scst;
		scst_tmf_submit(tmf);
	}
	mutex_unlock(&port->sessions_lock);
	return qs ? 0 : -ENODEV;
}

/* A work item of the in-box driver's.  Not 0: it refuses the function. */
int qla_handle_tmr(struct qla_tgt_mgmt_cmd *mcmd, u64 lun, uint16_t code, uint32_t tag)
{
	struct scst_tmf *tmf = (struct scst_tmf *)&mcmd->se_cmd;
	struct qla_port *port = qla_port_of(mcmd->vha);
	int fn = qla_function(code);
	struct scsi_lun packed;

	if (!port || fn < 0)
		return -ENOSYS;
	if (fn == SCST_TMF_ABORT_TASK && qla_cmd_drop(port, mcmd->sess, tag)) {
		mcmd->fc_tm_rsp = FC_TM_SUCCESS;
		qlt_xmit_tm_rsp(mcmd);
		return 0;
	}
	int_to_scsilun(lun, &packed);
	*tmf = (struct scst_tmf) { .fn = fn, .lun = scst_lun_unpack(packed.scsi_lun), .tag = tag };
	return qla_tmf_submit(port, mcmd->sess, tmf);
}
