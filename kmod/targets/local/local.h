/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of scst_local.ko share.
 */
#ifndef SCST_LOCAL_H
#define SCST_LOCAL_H

#define pr_fmt(fmt) "scst_local: " fmt

#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <scsi/scsi.h>
#include <scsi/scsi_cmnd.h>
#include <scsi/scsi_device.h>
#include <scsi/scsi_host.h>
#include "scst_target.h"
#include "compat.h"
#include "queue.h"

#define LOCAL_SG_TABLESIZE	1024
#define LOCAL_MAX_SECTORS	8192

struct local_target {
	struct scst_target tgt;
	struct config_group hosts_group;
	bool auto_rescan;
	bool protection;		/* initiators exchange protection information, apart from the data */
	spinlock_t lock;		/* the rest; never held across a wait */
	struct list_head hosts;
	bool open;
	unsigned int in;		/* hosts that are logging in, are in, or are logging out */
	unsigned int registering;	/* hosts that may make a session, although it is not open any more */
	unsigned int pending;		/* hosts that enable() waits for */
	int error;			/* of one of them */
	wait_queue_head_t settled;
};

/* What a host's thread is asked for. */
enum local_request {
	LOCAL_LOGIN,		/* under lt->lock */
	LOCAL_LOGOUT,		/* ... */
	LOCAL_DEAD,		/* ... its directory is gone */
	LOCAL_LOOK,		/* compare the SCSI devices with the LUNs; any context */
	LOCAL_POKE,		/* ... and have each LUN say whether it has news */
};

/* A directory in hosts/ and its thread; held by both, holds the target. */
struct local_host {
	struct config_item item;
	struct list_head entry;		/* lt->hosts, while its directory exists */
	struct local_target *lt;
	unsigned long requests;		/* enum local_request */
	wait_queue_head_t asked;
	bool in;			/* from before its login until after its logout, under lt->lock */
	bool pending;			/* counted in lt->pending */
	struct local_login *login;	/* the thread's own */
	int host_no;			/* -1: logged out */
};

/* A login: begins the private part of its SCSI host, and lives as long as anybody refers to that. */
struct local_login {
	struct scst_session *sess;
	atomic_t awaited;		/* commands that error handling waits for */
	struct local_host *host;	/* until the session is gone */
	struct Scsi_Host *shost;
	spinlock_t lock;		/* the three below */
	unsigned int users;		/* resets and threads of LUNs; the session waits for them */
	unsigned int unbinding;		/* threads of LUNs that take the driver away; removing the host waits for them */
	bool ready;			/* they may begin */
	wait_queue_head_t returned;	/* a command that is awaited, or the last user */
	struct completion gone;
};

static inline struct local_target *local_target_of(struct scst_target *tgt)
{
	return container_of(tgt, struct local_target, tgt);
}

static inline struct local_login *local_login_of(struct Scsi_Host *shost)
{
	return shost_priv(shost);
}

u32 local_lun_far(u64 lun);

/* The number of a device's LUN; see local_lun_far(). */
static inline u32 local_lun(const struct scsi_device *sdev)
{
	return likely(sdev->lun < 256) ? sdev->lun : local_lun_far(sdev->lun);
}

/* local.c */
extern struct device *local_root;
struct task_struct *local_thread_run(int (*fn)(void *data), void *data, const char *name);
int local_thread_end(void);
void local_ask(struct local_host *host, enum local_request request);

/* host.c */
struct local_login *local_login_begin(struct local_host *host);
int local_login_finish(struct local_login *login);
void local_logout(struct local_host *host);
bool local_use(struct local_login *login);
void local_unuse(struct local_login *login);
bool local_unbind_begin(struct local_login *login);
void local_unbind_end(struct local_login *login);
int local_send_response(struct scst_cmd *cmd);
void local_release(struct scst_cmd *cmd);
void local_tmf_done(struct scst_tmf *tmf);
void local_session_gone(struct scst_session *sess);

/* lun.c */
void local_lun_begin(struct scsi_device *sdev, u64 cookie);
void local_drain(struct Scsi_Host *shost, const struct scsi_device *sdev);
void local_lun_news(struct scsi_device *sdev, const struct scst_cmd *cmd);
bool local_find(struct local_login *login, enum scsi_scan_mode mode);
bool local_look(struct local_login *login, bool poke);

#endif /* SCST_LOCAL_H */
