/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of scst_script.ko share.
 *
 * Files: main (the device, and the module), request (what the program asks for), target (targets, sessions, task management), cmd (commands at
 * the driver), step (from where a call into the core is made), memory, event (what the program is told).
 */
#ifndef SCST_SCRIPT_H
#define SCST_SCRIPT_H

#define pr_fmt(fmt) "scst_script: " fmt

#include <linux/completion.h>
#include <linux/irq_work.h>
#include <linux/kref.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/timer.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include "scst_target.h"
#include "wire.h"

#define SCRIPT_POISON		0xa7
#define SCRIPT_KEEP_MS		20		/* a released command's memory is watched so long */
#define SCRIPT_DATA_MAX		(16U << 20)	/* in one request, and in memory of a command's own */

/* --- what counts and what is wrong ---------- */

enum script_counter {
	SCRIPT_SUBMITTED,
	SCRIPT_RELEASES,
	SCRIPT_TMFS,
	SCRIPT_TMFS_DONE,
	SCRIPT_SESSIONS,
	SCRIPT_SESSIONS_GONE,
	SCRIPT_BAD_CONTEXT,
	SCRIPT_BAD_STATE,
	SCRIPT_BAD_DATA,
	SCRIPT_DOUBLE_RELEASE,
	SCRIPT_DOUBLE_TMF,
	SCRIPT_DOUBLE_ABORT,
	SCRIPT_LATE_TOUCH,
	SCRIPT_EVENTS_LOST,
	SCRIPT_COUNTERS,
};

extern atomic_t script_counters[SCRIPT_COUNTERS];

static inline void script_count(enum script_counter counter)
{
	atomic_inc(&script_counters[counter]);
}

/* A promise of the core. */
#define script_promise(ok, counter) do {		\
	if (WARN_ON_ONCE(!(ok)))			\
		script_count(counter);			\
} while (0)

/* Process context, of a caller that could be holding a spinlock or not. */
static inline bool script_in_process(void)
{
	return in_task() && !irqs_disabled();
}

static inline bool script_may_sleep(void)
{
	return script_in_process() && !in_atomic();
}

static inline u8 script_where(void)
{
	if (in_hardirq())
		return 2;
	return in_serving_softirq() ? 1 : 0;
}

/* --- objects ---------- */

struct script_target {
	struct scst_target tgt;
	struct list_head entry;		/* script_targets */
	struct list_head sessions;
	bool open;			/* under script_mutex, as the lists */
};

struct script_session {
	u32 number;
	struct scst_session *sess;
	struct list_head entry;
	bool closing;			/* under the lock of script_sessions */
	atomic_t users;			/* calls that may be on their way into the core */
};

/* Who holds the command.  Whoever moves it on from AT_DATA or AT_RESPONSE makes the call that belongs to it. */
enum script_state {
	SCRIPT_IN_CORE,
	SCRIPT_AT_DATA,
	SCRIPT_AT_RESPONSE,
	SCRIPT_SENT,
	SCRIPT_OVER,
};

struct script_cmd;

/* A call into the core from a place of choice. */
struct script_step {
	struct script_cmd *sc;
	void (*fn)(struct script_cmd *sc, enum scst_context ctx);
	u8 from;
	struct timer_list timer;
	struct irq_work irq;
	struct work_struct work;
};

struct script_report {
	struct list_head entry;
	struct script_event event;
	u8 data[];
};

struct script_cmd {
	struct scst_cmd cmd;
	struct kref kref;		/* the core, each step under way, who has looked it up */
	struct script_session *session;
	struct script_request req;
	u8 sense[SCST_SENSE_SIZE];
	int state;
	bool task;			/* the last call into the core was SCST_CTX_TASK */
	int deferring;			/* a call with SCST_CTX_DEFER has not returned: 1 + its CPU, interrupts are off */
	u8 sent_where;
	atomic_t data_again;
	atomic_t response_again;
	int recalled;
	bool recalling;
	int released;
	spinlock_t lock;		/* for SCRIPT_LOCKED */
	void *out;			/* data-out, as it will come */
	u32 out_len;
	s32 out_error;
	struct scst_data own;
	struct script_report *answer;
	struct completion submitted;
	struct script_step submit_step, data_step, response_step;
	struct llist_node dead;
};

struct script_tmf {
	struct scst_tmf tmf;
	u64 id;
	u32 session;
	bool quiet;
	int done;
	struct llist_node dead;
};

/* The command may be over by now, so the step brings what it needs. */
struct script_room {
	struct timer_list timer;
	struct irq_work irq;
	struct script_session *ss;
	struct llist_node dead;
};

static inline struct script_target *script_target_of(struct scst_target *tgt)
{
	return container_of(tgt, struct script_target, tgt);
}

static inline struct script_cmd *script_cmd_of(struct scst_cmd *cmd)
{
	return container_of(cmd, struct script_cmd, cmd);
}

/* main.c */
extern struct workqueue_struct *script_wq;

/* request.c */
int script_do(const struct script_request *req, void *data);
void script_let_go(void);
void script_ports_down(void);

/* target.c */
extern struct mutex script_mutex;	/* targets, sessions of a target */
extern struct list_head script_targets;
extern struct xarray script_sessions;
extern const struct scst_target_driver script_driver;
extern struct scst_target_driver script_port_driver;
void script_session_close(struct script_session *ss);

/* cmd.c */
extern bool script_letting_go;
void script_deliver(struct script_cmd *sc, enum scst_context ctx);
void script_sent(struct script_cmd *sc, enum scst_context ctx);
void script_call_begin(struct script_cmd *sc, enum scst_context ctx);
void script_call_end(struct script_cmd *sc);
int script_receive_data(struct scst_cmd *cmd);
int script_send_response(struct scst_cmd *cmd);
void script_release(struct scst_cmd *cmd);
void script_abort(struct scst_cmd *cmd);

/* step.c */
void script_step_init(struct script_step *step, struct script_cmd *sc, void (*fn)(struct script_cmd *sc, enum scst_context ctx));
void script_step_start(struct script_step *step, u8 from, unsigned int ms, enum scst_context here);

/* memory.c */
extern struct xarray script_cmds;
extern struct llist_head script_dead_tmfs, script_dead_rooms;
extern struct delayed_work script_reaper;
void *script_zalloc(size_t size, gfp_t gfp);
int script_own_alloc(struct scst_data *own, u32 len);
void script_cmd_free(struct script_cmd *sc);
void script_cmd_last(struct kref *kref);
void script_cmd_put(struct script_cmd *sc);
struct script_cmd *script_cmd_find(u64 id);
void script_reap_later(void);

/* event.c */
extern bool script_open;
extern spinlock_t script_events_lock;
extern unsigned int script_nr_events;
extern wait_queue_head_t script_events_wait;
struct script_report *script_report_alloc(u32 data_len, gfp_t gfp);
void script_queue(struct script_report *report);
void script_tell(enum script_kind kind, u64 id, u32 session, u32 value, u32 len);
void script_tell_cmd(struct script_cmd *sc, enum script_kind kind);
struct script_report *script_next_event(size_t room);
void script_drop_events(void);

#endif /* SCST_SCRIPT_H */
