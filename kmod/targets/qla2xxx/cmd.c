// SPDX-License-Identifier: GPL-2.0-only
/*
 * Commands: from ATIO to the last CTIO.
 *
 * A command is terminated at the firmware only while its exchange is open for certain, that is before its response was handed
 * over: the number of an exchange that is over may be another command's already.
 */
#include "qla.h"

#define QLA_CDB_LEN	16

static struct qla_cmd *qla_cmd_of(struct scst_cmd *cmd)
{
	return container_of(cmd, struct qla_cmd, cmd);
}

/* Of a login, or (NULL) of all. */
static bool qla_cmd_is_of(struct qla_port *port, const struct qla_cmd *qc, const struct fc_port *fcport)
{
	const struct fc_port *sess = sbitmap_test_bit(&port->busy, qc - port->cmds) ? READ_ONCE(qc->q.sess) : NULL;

	return sess && (!fcport || sess == fcport);
}

/* They may end any time, their memory stays. */
#define qla_for_each_cmd(qc, port, fcport)					\
	for ((qc) = (port)->cmds; (qc) < (port)->cmds + QLA_CMDS; (qc)++)	\
		if (qla_cmd_is_of(port, qc, fcport))

/* --- memory for all commands of a port --------------------------------------------------------------- */

/* Process context, may sleep. */
int qla_cmds_alloc(struct qla_port *port)
{
	int node = dev_to_node(&port->vha->hw->pdev->dev), i;

	port->cmds = kvcalloc(QLA_CMDS, sizeof(*port->cmds), GFP_KERNEL);
	if (!port->cmds || sbitmap_init_node(&port->busy, QLA_CMDS, -1, GFP_KERNEL, node, false, true)) {
		kvfree(port->cmds);
		return -ENOMEM;
	}
	for (i = 0; i < QLA_CMDS; i++) {
		port->cmds[i].port = port;
		spin_lock_init(&port->cmds[i].lock);
	}
	return 0;
}

void qla_cmds_free(struct qla_port *port)
{
	qla_cmds_unkeep(port, NULL);
	WARN_ON(sbitmap_any_bit_set(&port->busy));
	sbitmap_free(&port->busy);
	kvfree(port->cmds);
}

/* Hard interrupt. */
struct qla_tgt_cmd *qla_get_cmd(struct fc_port *fcport)
{
	struct qla_session *qs = (void *)fcport->se_sess;
	struct qla_cmd *qc;
	int nr = sbitmap_get(&qs->port->busy);

	if (nr < 0)
		return NULL;
	qc = &qs->port->cmds[nr];
	memset(&qc->q, 0, sizeof(qc->q));
	/* Of commands that the in-box driver only answers BUSY it forgets to say whose they are, and then can't free them. */
	qc->q.sess = fcport;
	qc->taken = 0;
	qc->terminated = false;
	atomic_set(&qc->refs, 0);
	refcount_set(&qc->holds, 1);
	return &qc->q;
}

/* Any context: the in-box driver is done with a command. */
void qla_rel_cmd(struct qla_tgt_cmd *q)
{
	struct qla_cmd *qc = container_of(q, struct qla_cmd, q);

	WRITE_ONCE(q->sess, NULL);
	sbitmap_deferred_clear_bit(&qc->port->busy, qc - qc->port->cmds);
}

/* --- arrival -------------------------------------------------------------------------------------------- */

static u8 qla_task_attr(int attr)
{
	static const u8 attrs[8] = {
		[TCM_SIMPLE_TAG & 7]	= SCST_TASK_SIMPLE,
		[TCM_HEAD_TAG & 7]	= SCST_TASK_HEAD_OF_QUEUE,
		[TCM_ORDERED_TAG & 7]	= SCST_TASK_ORDERED,
		[TCM_ACA_TAG & 7]	= SCST_TASK_ACA,
	};

	return attrs[attr & 7];
}

static u8 qla_cdb_len(const struct qla_tgt_cmd *q)
{
#ifdef QLA_HAS_qla_tgt_cmd_cdb_len
	return clamp(q->cdb_len, QLA_CDB_LEN, SCST_MAX_CDB);
#else
	return QLA_CDB_LEN;
#endif
}

/*
 * A work item of the in-box driver's, with a reference to the login.  Not SCST_CTX_TASK: what may block goes to threads of
 * its device's own and takes none of these items.  Not 0: the exchange is terminated and the command given back.
 */
int qla_handle_cmd(struct scsi_qla_host *vha, struct qla_tgt_cmd *q, unsigned char *cdb, uint32_t len, int attr, int dir,
		   int bidi)
{
	struct qla_cmd *qc = container_of(q, struct qla_cmd, q);
	struct qla_session *qs = (void *)q->sess->se_sess;
	struct scst_cmd *cmd = &qc->cmd;

	if (test_and_set_bit(0, &qc->taken))
		return -ECANCELED;
	/* Read when an ABTS comes. */
	q->se_cmd.orig_fe_lun = q->unpacked_lun;
	scst_cmd_init(cmd, qs->scst);
	cmd->cdb = cdb;
	cmd->cdb_len = qla_cdb_len(q);
	cmd->lun = scst_lun_unpack((const u8 *)&q->atio.u.isp24.fcp_cmnd.lun);
	cmd->dir = dir;
	cmd->expected_len = dir == DMA_NONE ? 0 : len;
	cmd->sense = q->sense_buffer;
	cmd->tag = q->se_cmd.tag;
	cmd->attr = qla_task_attr(attr);
	cmd->ctx = SCST_CTX_ATOMIC;
	scst_cmd_submit(cmd);
	return 0;
}

/* --- no room in the ring --------------------------------------------------------------------------------- */

/* Any context.  Each completion makes room; where nothing of ours is under way, nobody tells when there is some. */
static void qla_look_for_room(struct qla_port *port)
{
	if (unlikely(delayed_work_pending(&port->resume_work)))
		mod_delayed_work(system_wq, &port->resume_work, 0);
}

void qla_resume_work(struct work_struct *work)
{
	scst_target_resume(container_of(to_delayed_work(work), struct qla_port, resume_work)->tgt);
}

static int qla_no_room(struct qla_port *port)
{
	queue_delayed_work(system_wq, &port->resume_work, msecs_to_jiffies(10));
	return -EAGAIN;
}

/* --- data-out ------------------------------------------------------------------------------------------- */

/* Under qc->lock. */
static void qla_data(struct qla_cmd *qc, bool out, u32 len)
{
	struct qla_tgt_cmd *q = &qc->q;

	/* The board's view. */
	q->dma_data_direction = !len ? DMA_NONE : out ? DMA_FROM_DEVICE : DMA_TO_DEVICE;
	q->sg = len ? qc->cmd.data.sgl : NULL;
	q->sg_cnt = len ? qc->cmd.data.nents : 0;
	q->bufflen = len;
	q->offset = 0;
}

int qla_receive_data(struct scst_cmd *cmd)
{
	struct qla_cmd *qc = qla_cmd_of(cmd);
	unsigned long irq;
	int ret = -ECANCELED;

	spin_lock_irqsave(&qc->lock, irq);
	/* Pairs with qla_abort(): what it has not seen under way does not get under way. */
	if (!scst_cmd_aborted(cmd)) {
		qla_data(qc, true, cmd->len);
		ret = qlt_rdy_to_xfer(&qc->q);
	}
	spin_unlock_irqrestore(&qc->lock, irq);
	if (ret == -EAGAIN)
		return qla_no_room(qc->port);
	if (ret)
		scst_data_received(cmd, ret, SCST_CTX_DEFER);
	return 0;
}

/*
 * Hard interrupt with the queue lock held; or, where the chip has been reset, inside qlt_rdy_to_xfer().
 */
void qla_handle_data(struct qla_tgt_cmd *q)
{
	struct qla_cmd *qc = container_of(q, struct qla_cmd, q);

	q->cmd_sent_to_fw = 0;
	qla_look_for_room(qc->port);
	scst_data_received(&qc->cmd, q->write_data_transferred ? 0 : -EIO, SCST_CTX_DEFER);
}

/* --- response --------------------------------------------------------------------------------------------- */

static void qla_residual(struct qla_cmd *qc)
{
	struct se_cmd *se = &qc->q.se_cmd;
	s64 residual = scst_cmd_residual(&qc->cmd);

	se->se_cmd_flags = residual > 0 ? SCF_UNDERFLOW_BIT : residual < 0 ? SCF_OVERFLOW_BIT : 0;
	se->residual_count = abs(residual);
}

/* Under qc->lock: the initiator does not get an answer. */
static void qla_terminate(struct qla_cmd *qc)
{
	if (qc->terminated)
		return;
	qc->terminated = true;
	qlt_abort_cmd(&qc->q);
}

static void qla_put(struct qla_cmd *qc)
{
	if (atomic_dec_and_test(&qc->refs))
		scst_cmd_sent(&qc->cmd);
}

/*
 * Under qc->lock.  Return: 0: on its way, or over already; -EAGAIN; -EIO: nothing was sent, and nothing comes back.
 *
 * Where the chip has been reset meanwhile 6.1 and 6.12 do nothing and return 0, and 7.3 gives the command back.  ctio_flags
 * and our own reference tell the three apart.
 */
static int qla_transmit(struct qla_cmd *qc)
{
	struct scst_cmd *cmd = &qc->cmd;
	bool in = cmd->dir == DMA_FROM_DEVICE && cmd->len;
	int ret;

	if (!cmd->sense_len)
		qc->q.sense_buffer[0] = 0;
	qla_residual(qc);
	qla_data(qc, false, in ? cmd->len : 0);
	qc->q.ctio_flags = 0;
	atomic_set(&qc->refs, 2);
	ret = qlt_xmit_response(&qc->q, QLA_TGT_XMIT_STATUS | (in ? QLA_TGT_XMIT_DATA : 0), cmd->status);
	if (ret == -EAGAIN)
		return ret;
	return ret || (!qc->q.ctio_flags && atomic_read(&qc->refs) == 2) ? -EIO : 0;
}

int qla_send_response(struct scst_cmd *cmd)
{
	struct qla_cmd *qc = qla_cmd_of(cmd);
	unsigned long irq;
	int ret = -EIO;

	spin_lock_irqsave(&qc->lock, irq);
	if (scst_cmd_aborted(cmd) || qc->q.aborted)
		qla_terminate(qc);
	else
		ret = qla_transmit(qc);
	spin_unlock_irqrestore(&qc->lock, irq);
	if (ret == -EAGAIN)
		return qla_no_room(qc->port);
	if (ret)
		scst_cmd_sent(cmd);
	else
		qla_put(qc);
	return 0;
}

/* Usually hard interrupt with the queue lock held: the response's CTIO has come back, or never will. */
void qla_free_cmd(struct qla_tgt_cmd *q)
{
	struct qla_cmd *qc = container_of(q, struct qla_cmd, q);

	q->cmd_sent_to_fw = 0;
	qla_look_for_room(qc->port);
	qla_put(qc);
}

/* --- the end ------------------------------------------------------------------------------------------------ */

/* Any context; kernels that know it keep commands by it while an initiator recovers a sequence. */
int qla_get_cmd_ref(struct qla_tgt_cmd *q)
{
	return refcount_inc_not_zero(&container_of(q, struct qla_cmd, q)->holds) ? 0 : -ENOENT;
}

void qla_put_cmd_ref(struct qla_tgt_cmd *q)
{
	if (refcount_dec_and_test(&container_of(q, struct qla_cmd, q)->holds))
		qlt_free_cmd(q);
}

void qla_release(struct scst_cmd *cmd)
{
	qla_put_cmd_ref(&qla_cmd_of(cmd)->q);
}

/* --- wanted back --------------------------------------------------------------------------------------------- */

/*
 * A write that waits for its data gets its CTIO back when the exchange is terminated.  Responses come back by themselves.
 */
void qla_abort(struct scst_cmd *cmd)
{
	struct qla_cmd *qc = qla_cmd_of(cmd);
	unsigned long irq;

	spin_lock_irqsave(&qc->lock, irq);
	if (READ_ONCE(qc->q.state) == QLA_TGT_STATE_NEED_DATA)
		qla_terminate(qc);
	spin_unlock_irqrestore(&qc->lock, irq);
}

/* Any context. */
static struct qla_cmd *qla_cmd_find(struct qla_port *port, const struct fc_port *fcport, u32 tag)
{
	struct qla_cmd *qc;

	qla_for_each_cmd(qc, port, fcport)
		if (le32_to_cpu(qc->q.atio.u.isp24.exchange_addr) == tag)
			return qc;
	return NULL;
}

/* A command that is aborted has not reached the core yet, and will not.  False: it has, or there is none. */
bool qla_cmd_drop(struct qla_port *port, const struct fc_port *fcport, u32 tag)
{
	struct qla_cmd *qc = qla_cmd_find(port, fcport, tag);

	return qc && !test_and_set_bit(0, &qc->taken);
}

/* Hard interrupt: an ABTS has come. */
struct qla_tgt_cmd *qla_find_cmd_by_tag(struct fc_port *fcport, uint64_t tag)
{
	struct qla_session *qs = (void *)fcport->se_sess;
	struct qla_cmd *qc = qs ? qla_cmd_find(qs->port, fcport, tag) : NULL;

	return qc ? &qc->q : NULL;
}

/* --- kept ----------------------------------------------------------------------------------------------------- */

/*
 * What the in-box driver could not answer BUSY, or terminate, for the ring was full or the chip being reset, it keeps on a list until the
 * board is removed, when our memory is gone.  Process context; of one login, or (NULL) of all, which are over.  One that is only just
 * being put on the list comes with the port's end.
 */
void qla_cmds_unkeep(struct qla_port *port, const struct fc_port *fcport)
{
	struct qla_hw_data *hw = port->vha->hw;
	struct qla_cmd *qc;
	unsigned long irq;

	spin_lock_irqsave(&hw->tgt.q_full_lock, irq);
	qla_for_each_cmd(qc, port, fcport) {
		if (!qc->q.q_full || list_empty(&qc->q.cmd_list))
			continue;
		list_del(&qc->q.cmd_list);
		hw->tgt.num_qfull_cmds_alloc--;
		qla_rel_cmd(&qc->q);
	}
	spin_unlock_irqrestore(&hw->tgt.q_full_lock, irq);
}

/* --- lost ----------------------------------------------------------------------------------------------------- */

/* Of a host that is no target any more the in-box driver leaves commands in its table when the chip is reset. */
static void qla_forget(struct req_que *req, const struct qla_tgt_cmd *q)
{
	int i;

	for (i = 1; i < req->num_outstanding_cmds; i++)
		if ((void *)req->outstanding_cmds[i] == q)
			req->outstanding_cmds[i] = NULL;
}

/* Ours from now on.  Under the queue lock, as all that the in-box driver does with its table. */
static bool qla_take_lost(const struct qla_port *port, struct qla_tgt_cmd *q, const struct fc_port *fcport)
{
	struct qla_qpair *qpair = READ_ONCE(q->qpair);
	unsigned long irq;
	bool lost;

	/* A command that is only just arriving has none. */
	if (!qpair)
		return false;
	spin_lock_irqsave(qpair->qp_lock_ptr, irq);
	lost = q->sess == fcport && q->cmd_sent_to_fw && q->reset_count != qpair->chip_reset && qla_reset_is_over(port);
	if (lost) {
		q->cmd_sent_to_fw = 0;
		q->aborted = 1;
		qla_forget(qpair->req, q);
	}
	spin_unlock_irqrestore(qpair->qp_lock_ptr, irq);
	return lost;
}

static void qla_end_lost(struct qla_cmd *qc)
{
	struct qla_tgt_cmd *q = &qc->q;

	if (q->sg_mapped)
		dma_unmap_sg(&qc->port->vha->hw->pdev->dev, q->sg, q->sg_cnt, q->dma_data_direction);
	q->sg_mapped = 0;
	if (q->state == QLA_TGT_STATE_NEED_DATA) {
		q->state = QLA_TGT_STATE_DATA_IN;
		scst_data_received(&qc->cmd, -EIO, SCST_CTX_DEFER);
	} else {
		qla_put(qc);
	}
}

/*
 * A reset of the chip forgets commands that are with the firmware: 6.1 drops them from its table, all kernels skip them if the host is
 * no target any more, and their session could never end.  Process context; the login is ending, so that nothing new comes.  Any
 * number of times.
 */
void qla_cmds_reclaim(struct qla_port *port, const struct fc_port *fcport)
{
	struct qla_cmd *qc;

	qla_for_each_cmd(qc, port, fcport)
		if (qla_take_lost(port, &qc->q, fcport))
			qla_end_lost(qc);
}
