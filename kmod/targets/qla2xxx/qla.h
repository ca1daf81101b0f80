/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Target driver qla2xxx: QLogic Fibre Channel ports, through the target-mode hooks of the in-box initiator driver.
 *
 * What calls what: the in-box driver knows us by a table of callbacks (qla_ops), and calls them in the contexts that are
 * written at each; "queue lock" is its lock of a request queue, with interrupts off.  It is taken inside our locks, so
 * that what is called under it takes none of ours.
 */
#ifndef SCST_QLA_H
#define SCST_QLA_H

#define pr_fmt(fmt) "scst_qla2xxx: " fmt

#include <linux/atomic.h>
#include <linux/hashtable.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/sbitmap.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <scsi/scsi_host.h>
#include <target/target_core_base.h>
#include "compat.h"
#include "scst_target.h"
#include "qla2xxx-layout.h"
#include "qla2xxx-values.h"

#define QLA_NAME_LEN		24	/* 21:00:..., of 8 bytes */
#define QLA_HASH_BITS		6
/* Exchanges that a board has; a command beyond them is answered BUSY by the in-box driver. */
#define QLA_CMDS		2048
/* More than there is of LIO's structure before the pointer that it looks for. */
#define QLA_LIO_LEN		1024

/**
 * struct qla_port - a port of a board, or a virtual one: what can be a target
 * @lio: zero: LIO takes what a board's port belongs to for its own when it shall make a virtual port, and finds it not set up
 * @entry: in qla_ports, under qla_ports_lock
 * @vha: the in-box driver's host
 * @base: of a virtual port: its board's own, which stays longer
 * @serving: virtual ports may be claimed; under qla_ports_lock, as is
 * @handled: it is being shown or removed
 * @port: the core's
 * @name: its WWPN
 * @tgt: the target, from enable() until the port is idle again
 * @users: one for being enabled, one for each session; who takes the last one away queues @idle_work
 * @idle_work: lets go of the port; enable() and who removes it wait for it
 * @lock: protects @by_id against writers; readers come under RCU.  Taken in hard interrupts
 * @sessions_lock: a session that a task management function is submitted for does not begin to end
 * @cmds: all commands there can be, and
 * @busy: which of them are in use
 * @resume_work: pending: somebody waits for room in the ring
 */
struct qla_port {
	u8 lio[QLA_LIO_LEN];
	struct list_head entry;
	struct scsi_qla_host *vha;
	struct qla_port *base;
	bool serving;
	bool handled;
	struct scst_port *port;
	char name[QLA_NAME_LEN];
	struct scst_target *tgt;
	refcount_t users;
	struct work_struct idle_work;
	spinlock_t lock;
	DECLARE_HASHTABLE(by_id, QLA_HASH_BITS);
	struct mutex sessions_lock;
	struct qla_cmd *cmds;
	struct sbitmap busy;
	struct delayed_work resume_work;
};

/**
 * struct qla_session - an initiator port that is logged in
 * @by_id: in port->by_id, by @id
 * @chip_reset: how often the chip had been reset when it logged in
 * @gone: the core's session has ended
 */
struct qla_session {
	struct hlist_node by_id;
	struct fc_port *fcport;
	struct qla_port *port;
	struct scst_session *scst;
	u32 id;
	u32 chip_reset;
	struct completion gone;
};

/**
 * struct qla_cmd - a command; its memory stays as long as its port is in use
 * @q: the in-box driver's part
 * @port: always the same
 * @lock: what is done to the exchange; the queue lock is taken inside
 * @taken: bit 0: by handle_cmd(), for the core, or by an ABTS that came earlier
 * @terminated: the exchange has been; under @lock
 * @refs: of a response: the firmware's, until its CTIO comes back, and that of who sends it
 * @holds: of the memory: one until release, and those of the in-box driver (get_cmd_ref())
 */
struct qla_cmd {
	struct scst_cmd cmd;
	struct qla_tgt_cmd q;
	struct qla_port *port;
	spinlock_t lock;
	unsigned long taken;
	bool terminated;
	atomic_t refs;
	refcount_t holds;
};

/* port.c */
extern struct workqueue_struct *qla_ends;
int qla_ports_init(void);
void qla_ports_exit(void);
int qla_enable(struct scst_target *tgt);
void qla_disable(struct scst_target *tgt);
void qla_port_unuse(struct qla_port *port);
void qla_virtual_made(struct scsi_qla_host *vha);
void qla_virtual_gone(struct scsi_qla_host *vha);

/* session.c */
int qla_login(struct scsi_qla_host *vha, unsigned char *wwpn, struct fc_port *fcport);
void qla_session_free(struct fc_port *fcport);
void qla_session_gone(struct scst_session *sess);
void qla_session_moved(struct fc_port *fcport, port_id_t id, uint16_t loop_id, bool conf_compl);
void qla_session_hide(struct fc_port *fcport);
void qla_session_put(struct fc_port *fcport);
void qla_session_shutdown(struct fc_port *fcport);
struct qla_session *qla_session_of(struct qla_port *port, const struct fc_port *fcport);
struct fc_port *qla_session_by_id(struct scsi_qla_host *vha, const be_id_t id);
struct fc_port *qla_session_by_loop_id(struct scsi_qla_host *vha, const uint16_t id);

static inline struct qla_port *qla_port_of(const struct scsi_qla_host *vha)
{
	return READ_ONCE(vha->vha_tgt.target_lport_ptr);
}

/* None is asked for and none is under way: what the in-box driver gives back because of it has come. */
static inline bool qla_reset_is_over(const struct qla_port *port)
{
	const struct scsi_qla_host *base = pci_get_drvdata(port->vha->hw->pdev);

	return !(READ_ONCE(base->dpc_flags) & (BIT(ISP_ABORT_NEEDED) | BIT(ABORT_ISP_ACTIVE)));
}

/* cmd.c */
int qla_cmds_alloc(struct qla_port *port);
void qla_cmds_free(struct qla_port *port);
void qla_cmds_reclaim(struct qla_port *port, const struct fc_port *fcport);
void qla_cmds_unkeep(struct qla_port *port, const struct fc_port *fcport);
bool qla_cmd_drop(struct qla_port *port, const struct fc_port *fcport, u32 tag);
struct qla_tgt_cmd *qla_find_cmd_by_tag(struct fc_port *fcport, uint64_t tag);
struct qla_tgt_cmd *qla_get_cmd(struct fc_port *fcport);
void qla_rel_cmd(struct qla_tgt_cmd *q);
int qla_handle_cmd(struct scsi_qla_host *vha, struct qla_tgt_cmd *q, unsigned char *cdb, uint32_t len, int attr, int dir,
		   int bidi);
void qla_handle_data(struct qla_tgt_cmd *q);
void qla_free_cmd(struct qla_tgt_cmd *q);
int qla_get_cmd_ref(struct qla_tgt_cmd *q);
void qla_put_cmd_ref(struct qla_tgt_cmd *q);
int qla_receive_data(struct scst_cmd *cmd);
int qla_send_response(struct scst_cmd *cmd);
void qla_release(struct scst_cmd *cmd);
void qla_abort(struct scst_cmd *cmd);
void qla_resume_work(struct work_struct *work);

/* tmf.c */
int qla_handle_tmr(struct qla_tgt_mgmt_cmd *mcmd, u64 lun, uint16_t fn, uint32_t tag);
void qla_tmf_done(struct scst_tmf *tmf);

/* main.c */
extern const struct scst_target_driver qla_driver;
extern const struct qla_tgt_func_tmpl qla_ops;

#endif /* SCST_QLA_H */
