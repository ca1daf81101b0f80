// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sessions: initiator ports that are logged in.  The in-box driver counts references to a login (sess_kref); the last one
 * ends it, in a work item that waits for our session's end.
 */
#include "qla.h"

#define QLA_LOOK_AGAIN		(HZ / 10)
/* 2 * R_A_TOV: so long who has sent a PLOGI waits for the answer. */
#define QLA_PLOGI_TIME		(20 * HZ)

/* --- who is it? --------------------------------------------------------------------------------------------- */

static void qla_session_show(struct qla_session *qs)
{
	struct qla_port *port = qs->port;
	unsigned long irq;

	spin_lock_irqsave(&port->lock, irq);
	hash_del_rcu(&qs->by_id);
	WRITE_ONCE(qs->id, qs->fcport->d_id.b24);
	hash_add_rcu(port->by_id, &qs->by_id, qs->id);
	spin_unlock_irqrestore(&port->lock, irq);
}

/* Any context, perhaps with the in-box driver's lock of its sessions held. */
void qla_session_hide(struct fc_port *fcport)
{
	struct qla_session *qs = (void *)fcport->se_sess;
	unsigned long irq;

	if (!qs)
		return;
	spin_lock_irqsave(&qs->port->lock, irq);
	hash_del_rcu(&qs->by_id);
	spin_unlock_irqrestore(&qs->port->lock, irq);
}

/* As above: an initiator port has another address. */
void qla_session_moved(struct fc_port *fcport, port_id_t id, uint16_t loop_id, bool conf_compl)
{
	struct qla_session *qs = (void *)fcport->se_sess;

	fcport->d_id = id;
	fcport->loop_id = loop_id;
	fcport->conf_compl_supported = conf_compl;
	if (qs)
		qla_session_show(qs);
}

/* Hard interrupt, for each command.  The caller takes a reference to the login, if there still is one. */
struct fc_port *qla_session_by_id(struct scsi_qla_host *vha, const be_id_t be)
{
	u32 id = be.domain << 16 | be.area << 8 | be.al_pa;
	struct qla_port *port = qla_port_of(vha);
	struct qla_session *qs;
	struct fc_port *found = NULL;

	if (!port)
		return NULL;
	rcu_read_lock();
	hash_for_each_possible_rcu(port->by_id, qs, by_id, id)
		if (READ_ONCE(qs->id) == id)
			found = qs->fcport;
	rcu_read_unlock();
	return found;
}

/* Likewise; for notifications only. */
struct fc_port *qla_session_by_loop_id(struct scsi_qla_host *vha, const uint16_t id)
{
	struct qla_port *port = qla_port_of(vha);
	struct qla_session *qs;
	struct fc_port *found = NULL;
	int bucket;

	if (!port)
		return NULL;
	rcu_read_lock();
	hash_for_each_rcu(port->by_id, bucket, qs, by_id)
		if (READ_ONCE(qs->fcport->loop_id) == id)
			found = qs->fcport;
	rcu_read_unlock();
	return found;
}

/* Under @sessions_lock it does not begin to end; NULL: it has. */
struct qla_session *qla_session_of(struct qla_port *port, const struct fc_port *fcport)
{
	struct qla_session *qs;
	int bucket;

	lockdep_assert_held(&port->sessions_lock);
	hash_for_each(port->by_id, bucket, qs, by_id)
		if (qs->fcport == fcport)
			return qs;
	return NULL;
}

/* --- login ---------------------------------------------------------------------------------------------------- */

static int qla_session_register(struct qla_session *qs, const u8 *wwpn)
{
	/* SPC-4 7.6.4.2 */
	struct scst_transport_id id = { .len = 24, .bytes = { SCST_PROTOCOL_FCP } };
	char name[QLA_NAME_LEN];

	memcpy(&id.bytes[8], wwpn, 8);
	snprintf(name, sizeof(name), "%8phC", wwpn);
	qs->scst = scst_session_register(qs->port->tgt, name, NULL, &id, qs);
	return PTR_ERR_OR_ZERO(qs->scst);
}

/* Process context: an initiator port has logged in.  Not 0: it is refused. */
int qla_login(struct scsi_qla_host *vha, unsigned char *wwpn, struct fc_port *fcport)
{
	struct qla_port *port = qla_port_of(vha);
	struct qla_session *qs;
	int ret = -ENOMEM;

	if (!port || !refcount_inc_not_zero(&port->users))
		return -ENODEV;
	qs = kzalloc(sizeof(*qs), GFP_KERNEL);
	if (qs) {
		init_completion(&qs->gone);
		qs->fcport = fcport;
		qs->port = port;
		qs->chip_reset = vha->hw->chip_reset;
		ret = qla_session_register(qs, wwpn);
	}
	if (ret) {
		pr_warn("%s: %8phC can't log in: %d\n", port->name, wwpn, ret);
		kfree(qs);
		qla_port_unuse(port);
		return ret;
	}
	fcport->se_sess = (void *)qs;
	qla_session_show(qs);
	return 0;
}

/* --- logout ----------------------------------------------------------------------------------------------------- */

/*
 * The work item in which a login ends sleeps until its logout is done, which another item of the same queue sends.  If many logins end at
 * once that queue's rescuer takes all items and runs them in turn, and each end waits 23 s for a logout that is behind it.  Moved to a
 * queue of their own they may wait for each other, but keep nobody from sending.  An item that runs at once waits for us before it
 * forgets the login: qla_session_free().
 */
static void qla_last_put(struct kref *kref)
{
	struct fc_port *fcport = container_of(kref, struct fc_port, sess_kref);

	rcu_read_lock();
	qlt_unreg_sess(fcport);
	if (cancel_work(&fcport->free_work))
		queue_work(qla_ends, &fcport->free_work);
	rcu_read_unlock();
}

/* Any context. */
void qla_session_put(struct fc_port *fcport)
{
	if (fcport)
		kref_put(&fcport->sess_kref, qla_last_put);
}

/*
 * The login is going, but commands of it may still arrive: qla_session_free() follows when they have.  A chip that was reset knows
 * nothing of it: the in-box driver would lose the logout while that goes on, and wait 23 s for its end.
 */
void qla_session_shutdown(struct fc_port *fcport)
{
	struct qla_session *qs = (void *)fcport->se_sess;

	if (qs->chip_reset != qs->port->vha->hw->chip_reset)
		fcport->logout_on_delete = 0;
}

/* The core's session is over. */
void qla_session_gone(struct scst_session *sess)
{
	complete(&((struct qla_session *)sess->driver_data)->gone);
}

/*
 * Where the firmware owes us a command, only a reset of the chip ends it.  Of commands that are dropped then nobody tells, nor of the
 * reset's end: the in-box driver looks now and then, too.  An initiator port that logs in anew before that is answered when this login
 * has ended, but the answer is lost as long as the chip is reset: it would wait until its PLOGI times out.
 */
static void qla_session_wait(struct qla_session *qs)
{
	unsigned long end = jiffies + QLA_PLOGI_TIME;

	do
		qla_cmds_reclaim(qs->port, qs->fcport);
	while (!wait_for_completion_timeout(&qs->gone, QLA_LOOK_AGAIN));
	while (!qla_reset_is_over(qs->port) && time_before(jiffies, end))
		schedule_timeout_uninterruptible(QLA_LOOK_AGAIN);
}

/*
 * A work item of this login's: nothing arrives for it any more.  The in-box driver does not forget the login before this returns,
 * and lets no other of the same initiator port in.
 */
void qla_session_free(struct fc_port *fcport)
{
	struct qla_session *qs = (void *)fcport->se_sess;
	struct qla_port *port = qs->port;

	mutex_lock(&port->sessions_lock);
	qla_session_hide(fcport);
	mutex_unlock(&port->sessions_lock);
	scst_session_close(qs->scst);
	qla_session_wait(qs);
	qla_cmds_unkeep(port, fcport);
	synchronize_rcu();
	kfree(qs);
	qla_port_unuse(port);
}
