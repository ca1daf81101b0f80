// SPDX-License-Identifier: GPL-2.0-only
/*
 * Task management functions and ABTS.
 */
#include "qla.h"

struct qla_tmf {
	struct scst_tmf tmf;
	struct qla_tgt_mgmt_cmd *mcmd;
};

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
	case QLA_TGT_NEXUS_LOSS:
	case QLA_TGT_NEXUS_LOSS_SESS:
	case QLA_TGT_ABORT_ALL:
	case QLA_TGT_ABORT_ALL_SESS:
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
	struct qla_tmf *qm = container_of(tmf, struct qla_tmf, tmf);
	struct qla_tgt_mgmt_cmd *mcmd = qm->mcmd;

	mcmd->fc_tm_rsp = qla_tmf_response(tmf);
	kfree(qm);
	qlt_xmit_tm_rsp(mcmd);
}

/* False: the login has ended. */
static bool qla_tmf_submit(struct qla_port *port, struct qla_tmf *qm)
{
	struct qla_session *qs;
	bool found = false;

	mutex_lock(&port->sessions_lock);
	list_for_each_entry(qs, &port->sessions, entry) {
		if (qs->fcport != qm->mcmd->sess)
			continue;
		qm->tmf.sess = qs->scst;
		scst_tmf_submit(&qm->tmf);
		found = true;
		break;
	}
	mutex_unlock(&port->sessions_lock);
	return found;
}

/* A work item of the in-box driver's.  Not 0: it refuses the function. */
int qla_handle_tmr(struct qla_tgt_mgmt_cmd *mcmd, u64 lun, uint16_t code, uint32_t tag)
{
	struct qla_port *port = qla_port_of(mcmd->vha);
	int fn = qla_function(code);
	struct scsi_lun packed;
	struct qla_tmf *qm;

	if (!port || fn < 0)
		return -ENOSYS;
	if (fn == SCST_TMF_ABORT_TASK && qla_cmd_drop(port, mcmd->sess, tag)) {
		mcmd->fc_tm_rsp = FC_TM_SUCCESS;
		qlt_xmit_tm_rsp(mcmd);
		return 0;
	}
	qm = kzalloc(sizeof(*qm), GFP_NOIO);
	if (!qm)
		return -ENOMEM;
	qm->mcmd = mcmd;
	int_to_scsilun(lun, &packed);
	qm->tmf.fn = fn;
	qm->tmf.lun = scst_lun_unpack(packed.scsi_lun);
	qm->tmf.tag = tag;
	if (qla_tmf_submit(port, qm))
		return 0;
	kfree(qm);
	return -ENODEV;
}
