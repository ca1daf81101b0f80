// SPDX-License-Identifier: GPL-2.0-only
/*
 * Target driver for tests: does at each stage of a command what a program tells it to, and watches the core meanwhile.
 *
 * The program owns the initiators: it makes sessions, submits commands and task management functions, and reads back as
 * events what the core did.  A command carries its script: when its data comes, from which context, how often
 * there is no room, whether its response is held or lost.  Requests and events: scst_script.h.
 *
 * Each callback checks what its description in scst_target.h promises.  A broken promise is counted in debugfs and
 * warned about, which fails the test run.  A command's memory is poisoned when it is released, and looked at later.
 *
 * Drivers: "script", and "scriptport", whose targets need a port.
 */
#define pr_fmt(fmt) "scst_script: " fmt

#include <linux/completion.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/irq_work.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include "scst_target.h"
#include "scst_script.h"

#define SCRIPT_POISON		0xa7
#define SCRIPT_KEEP_MS		20		/* a released command's memory is watched so long */
#define SCRIPT_DATA_MAX		(16U << 20)	/* in one request, and in memory of a command's own */
#define SCRIPT_EVENTS_MAX	200000

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

static const char *const script_counter_names[SCRIPT_COUNTERS] = {
	[SCRIPT_SUBMITTED]	= "submitted",
	[SCRIPT_RELEASES]	= "released",
	[SCRIPT_TMFS]		= "tmfs",
	[SCRIPT_TMFS_DONE]	= "tmfs_done",
	[SCRIPT_SESSIONS]	= "sessions",
	[SCRIPT_SESSIONS_GONE]	= "sessions_gone",
	[SCRIPT_BAD_CONTEXT]	= "bad_context",
	[SCRIPT_BAD_STATE]	= "bad_state",
	[SCRIPT_BAD_DATA]	= "bad_data",
	[SCRIPT_DOUBLE_RELEASE]	= "double_release",
	[SCRIPT_DOUBLE_TMF]	= "double_tmf",
	[SCRIPT_DOUBLE_ABORT]	= "double_abort",
	[SCRIPT_LATE_TOUCH]	= "late_touch",
	[SCRIPT_EVENTS_LOST]	= "events_lost",
};

static atomic_t script_counters[SCRIPT_COUNTERS];

static void script_count(enum script_counter counter)
{
	atomic_inc(&script_counters[counter]);
}

/* A promise of the core. */
#define script_promise(ok, counter) do {		\
	if (WARN_ON_ONCE(!(ok)))			\
		script_count(counter);			\
} while (0)

/* Process context, of a caller that could be holding a spinlock or not. */
static bool script_in_process(void)
{
	return in_task() && !irqs_disabled();
}

static bool script_may_sleep(void)
{
	return script_in_process() && !in_atomic();
}

static u8 script_where(void)
{
	if (in_hardirq())
		return 2;
	return in_serving_softirq() ? 1 : 0;
}

/* --- settings ---------- */

static struct scst_target_limits script_limits = { .node = NUMA_NO_NODE };
module_param_named(max_xfer, script_limits.max_xfer, uint, 0644);
module_param_named(max_segs, script_limits.max_segs, uint, 0644);
module_param_named(max_seg_len, script_limits.max_seg_len, uint, 0644);
module_param_named(cmds, script_limits.cmds, uint, 0644);
module_param_named(dma_mask, script_limits.dma_mask, ullong, 0644);
module_param_named(node, script_limits.node, int, 0644);
module_param_named(stable, script_limits.stable, bool, 0644);
MODULE_PARM_DESC(max_xfer, "Limits of targets made from now on: see struct scst_target_limits");

static unsigned int script_again_every;
module_param_named(again_every, script_again_every, uint, 0644);
MODULE_PARM_DESC(again_every, "Every so many calls of receive_data() and send_response() say -EAGAIN; 0: none");

static int script_enable_error;
module_param_named(enable_error, script_enable_error, int, 0644);
MODULE_PARM_DESC(enable_error, "What enable() returns");

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

struct script_port {
	struct list_head entry;
	struct scst_port *port;
	char name[SCST_TARGET_NAME_LEN + 1];
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

static DEFINE_MUTEX(script_mutex);	/* targets, sessions of a target, ports */
static LIST_HEAD(script_targets);
static LIST_HEAD(script_ports);
static DEFINE_XARRAY_FLAGS(script_sessions, XA_FLAGS_LOCK_IRQ);
static DEFINE_XARRAY_FLAGS(script_cmds, XA_FLAGS_LOCK_IRQ);
static struct workqueue_struct *script_wq;
static struct dentry *script_debugfs;
static bool script_letting_go;
static atomic_t script_calls;

static struct script_target *script_target_of(struct scst_target *tgt)
{
	return container_of(tgt, struct script_target, tgt);
}

static struct script_cmd *script_cmd_of(struct scst_cmd *cmd)
{
	return container_of(cmd, struct script_cmd, cmd);
}

/* --- memory ---------- */

/* What sleeps may be large.  Two attempts: a fault that somebody injects is meant for the core. */
static void *script_zalloc(size_t size, gfp_t gfp)
{
	unsigned int attempt;
	void *memory = NULL;

	for (attempt = 0; !memory && attempt < 2; attempt++)
		memory = gfp == GFP_ATOMIC ? kzalloc(size, gfp) : kvzalloc(size, gfp);
	return memory;
}

/* --- events ---------- */

static DEFINE_SPINLOCK(script_events_lock);
static LIST_HEAD(script_events);
static DECLARE_WAIT_QUEUE_HEAD(script_events_wait);
static unsigned int script_nr_events;
static u64 script_seq;
static bool script_open;	/* somebody has the device open, under script_events_lock */

static struct script_report *script_report_alloc(u32 data_len, gfp_t gfp)
{
	struct script_report *report = script_zalloc(struct_size(report, data, data_len), gfp);

	if (report)
		report->event.size = sizeof(report->event) + data_len;
	return report;
}

/* Any context. */
static void script_queue(struct script_report *report)
{
	unsigned long flags;
	bool queued;

	report->event.where = script_where();
	report->event.ns = ktime_get_ns();
	spin_lock_irqsave(&script_events_lock, flags);
	report->event.seq = script_seq++;
	queued = script_open && script_nr_events < SCRIPT_EVENTS_MAX;
	if (queued) {
		list_add_tail(&report->entry, &script_events);
		script_nr_events++;
	} else if (script_open) {
		script_count(SCRIPT_EVENTS_LOST);
	}
	spin_unlock_irqrestore(&script_events_lock, flags);
	if (queued)
		wake_up(&script_events_wait);
	else
		kvfree(report);
}

static void script_tell(enum script_kind kind, u64 id, u32 session, u32 value, u32 len)
{
	struct script_report *report = script_report_alloc(0, GFP_ATOMIC);

	if (!report) {
		script_count(SCRIPT_EVENTS_LOST);
		return;
	}
	report->event.kind = kind;
	report->event.id = id;
	report->event.session = session;
	report->event.value = value;
	report->event.len = len;
	script_queue(report);
}

static void script_tell_cmd(struct script_cmd *sc, enum script_kind kind)
{
	if (!(sc->req.flags & SCRIPT_QUIET))
		script_tell(kind, sc->req.id, sc->req.session, 0, kind == SCRIPT_WANTS_DATA ? sc->cmd.len : 0);
}

static struct script_report *script_next_event(size_t room)
{
	struct script_report *report;

	spin_lock_irq(&script_events_lock);
	report = list_first_entry_or_null(&script_events, struct script_report, entry);
	if (report && report->event.size > room)
		report = ERR_PTR(-EMSGSIZE);
	if (!IS_ERR_OR_NULL(report)) {
		list_del(&report->entry);
		script_nr_events--;
	}
	spin_unlock_irq(&script_events_lock);
	return report;
}

static void script_drop_events(void)
{
	struct script_report *report;

	while ((report = script_next_event(SIZE_MAX)))
		kvfree(report);
}

/* --- memory ---------- */

static LLIST_HEAD(script_dead_cmds);
static LLIST_HEAD(script_dead_tmfs);

static void script_own_free(struct scst_data *own)
{
	u32 i;

	for (i = 0; i < own->nents; i++)
		__free_page(sg_page(&own->sgl[i]));
	kvfree(own->sgl);
}

static int script_own_alloc(struct scst_data *own, u32 len)
{
	u32 nents = DIV_ROUND_UP(len, PAGE_SIZE);

	if (len > SCRIPT_DATA_MAX)
		return -EINVAL;
	own->owner = SCST_DATA_DRIVER;
	if (!len)
		return 0;
	own->sgl = script_zalloc(array_size(nents, sizeof(*own->sgl)), GFP_KERNEL);
	if (!own->sgl)
		return -ENOMEM;
	sg_init_table(own->sgl, nents);
	for (own->nents = 0; own->nents < nents; own->nents++) {
		struct page *page = alloc_page(GFP_KERNEL);

		if (!page)
			return -ENOMEM;
		memset(page_address(page), SCRIPT_POISON, PAGE_SIZE);
		sg_set_page(&own->sgl[own->nents], page, min_t(u32, len - own->len, PAGE_SIZE), 0);
		own->len += own->sgl[own->nents].length;
	}
	return 0;
}

static void script_cmd_free(struct script_cmd *sc)
{
	script_promise(!sc->released || !memchr_inv(&sc->cmd, SCRIPT_POISON, sizeof(sc->cmd)), SCRIPT_LATE_TOUCH);
	script_own_free(&sc->own);
	kvfree(sc->answer);
	kvfree(sc->out);
	kvfree(sc);
}

static void script_reap(struct work_struct *work);
static DECLARE_DELAYED_WORK(script_reaper, script_reap);

static void script_cmd_last(struct kref *kref)
{
	struct script_cmd *sc = container_of(kref, struct script_cmd, kref);

	llist_add(&sc->dead, &script_dead_cmds);
	queue_delayed_work(script_wq, &script_reaper, msecs_to_jiffies(SCRIPT_KEEP_MS));
}

static void script_cmd_put(struct script_cmd *sc)
{
	kref_put(&sc->kref, script_cmd_last);
}

static struct script_cmd *script_cmd_find(u64 id)
{
	struct script_cmd *sc;
	unsigned long flags;

	xa_lock_irqsave(&script_cmds, flags);
	sc = xa_load(&script_cmds, id);
	if (sc && !kref_get_unless_zero(&sc->kref))
		sc = NULL;
	xa_unlock_irqrestore(&script_cmds, flags);
	return sc;
}

/* --- steps: calls into the core from a place of choice ---------- */

static void script_step_run(struct script_step *step, enum scst_context ctx)
{
	struct script_cmd *sc = step->sc;

	step->fn(sc, ctx);
	script_cmd_put(sc);
}

static void script_step_work(struct work_struct *work)
{
	script_step_run(container_of(work, struct script_step, work), SCST_CTX_TASK);
}

static void script_step_irq(struct irq_work *irq)
{
	script_step_run(container_of(irq, struct script_step, irq), SCST_CTX_DEFER);
}

static void script_step_bh(struct script_step *step)
{
	local_bh_disable();
	script_step_run(step, SCST_CTX_ATOMIC);
	local_bh_enable();
}

static void script_step_locked(struct script_step *step)
{
	struct script_cmd *sc = step->sc;
	unsigned long flags;

	spin_lock_irqsave(&sc->lock, flags);
	step->fn(sc, SCST_CTX_DEFER);
	spin_unlock_irqrestore(&sc->lock, flags);
	script_cmd_put(sc);
}

/* Already on its way: that is enough. */
static void script_step_twice(struct script_step *step)
{
	script_cmd_put(step->sc);
}

/* @here: the context of a call that is made at once. */
static void script_step_dispatch(struct script_step *step, enum scst_context here)
{
	switch (step->from) {
	case SCRIPT_TASK:
		if (!queue_work(script_wq, &step->work))
			script_step_twice(step);
		break;
	case SCRIPT_IRQ:
		if (!irq_work_queue(&step->irq))
			script_step_twice(step);
		break;
	case SCRIPT_BH:
		script_step_bh(step);
		break;
	case SCRIPT_LOCKED:
		script_step_locked(step);
		break;
	default:
		script_step_run(step, here);
	}
}

static void script_step_timer(struct timer_list *timer)
{
	script_step_dispatch(container_of(timer, struct script_step, timer), SCST_CTX_ATOMIC);
}

static void script_step_init(struct script_step *step, struct script_cmd *sc,
			     void (*fn)(struct script_cmd *sc, enum scst_context ctx))
{
	step->sc = sc;
	step->fn = fn;
	timer_setup(&step->timer, script_step_timer, 0);
	init_irq_work(&step->irq, script_step_irq);
	INIT_WORK(&step->work, script_step_work);
}

static void script_step_start(struct script_step *step, u8 from, unsigned int ms, enum scst_context here)
{
	kref_get(&step->sc->kref);
	step->from = from;
	if (from == SCRIPT_BH && in_hardirq())
		step->from = from = SCRIPT_SOFTIRQ;
	if (!ms && from != SCRIPT_SOFTIRQ)
		script_step_dispatch(step, here);
	else if (mod_timer(&step->timer, jiffies + msecs_to_jiffies(ms)))
		script_step_twice(step);
}

/* --- the driver's half: commands ---------- */

static bool script_take(struct script_cmd *sc, enum script_state from, enum script_state to)
{
	return cmpxchg(&sc->state, from, to) == from;
}

/* Around a call into the core, which may be answered by callbacks before it returns, or must not. */
static void script_call_begin(struct script_cmd *sc, enum scst_context ctx)
{
	sc->task = ctx == SCST_CTX_TASK;
	if (ctx == SCST_CTX_DEFER && irqs_disabled())
		WRITE_ONCE(sc->deferring, 1 + smp_processor_id());
}

static void script_call_end(struct script_cmd *sc)
{
	WRITE_ONCE(sc->deferring, 0);
}

/* The context of a call that is made before a callback of this command returns. */
static enum scst_context script_here(const struct script_cmd *sc)
{
	return sc->task && script_may_sleep() ? SCST_CTX_TASK : SCST_CTX_ATOMIC;
}

static void script_check_data(const struct script_cmd *sc)
{
	const struct scst_cmd *cmd = &sc->cmd;
	const struct scst_target_limits *limits = &cmd->sess->tgt->limits;
	struct scatterlist *sg;
	u32 sum = 0, i;

	script_promise(cmd->len <= cmd->expected_len, SCRIPT_BAD_DATA);
	if (!cmd->len)
		return;
	for_each_sg(cmd->data.sgl, sg, cmd->data.nents, i) {
		sum += sg->length;
		script_promise(cmd->data.owner == SCST_DATA_DRIVER || !limits->max_seg_len ||
			       sg->length <= limits->max_seg_len, SCRIPT_BAD_DATA);
	}
	script_promise(sum >= cmd->len && cmd->data.len >= cmd->len, SCRIPT_BAD_DATA);
	script_promise(cmd->data.owner != SCST_DATA_NONE, SCRIPT_BAD_DATA);
	script_promise(cmd->data.owner == SCST_DATA_DRIVER || !limits->max_segs ||
		       cmd->data.nents <= limits->max_segs, SCRIPT_BAD_DATA);
}

/* The CDB and the script's half of the command must be as they were. */
static void script_check_cmd(const struct script_cmd *sc)
{
	const struct scst_cmd *cmd = &sc->cmd;

	script_promise(cmd->cdb == sc->req.cdb && cmd->tag == sc->req.tag && cmd->lun == sc->req.lun &&
		       cmd->expected_len == sc->req.expected_len && cmd->sense == sc->sense, SCRIPT_BAD_STATE);
	script_promise(!sc->released, SCRIPT_BAD_STATE);
	script_promise(READ_ONCE(sc->deferring) != 1 + raw_smp_processor_id(), SCRIPT_BAD_CONTEXT);
}

/* The command may be over by now, so the step brings what it needs. */
struct script_room {
	struct timer_list timer;
	struct irq_work irq;
	struct script_session *ss;
	struct llist_node dead;
};

static LLIST_HEAD(script_dead_rooms);

static void script_resume(struct script_room *room)
{
	struct script_session *ss = room->ss;

	scst_target_resume(ss->sess->tgt);
	atomic_dec(&ss->users);
	llist_add(&room->dead, &script_dead_rooms);
	queue_delayed_work(script_wq, &script_reaper, msecs_to_jiffies(SCRIPT_KEEP_MS));
}

static void script_resume_timer(struct timer_list *timer)
{
	script_resume(container_of(timer, struct script_room, timer));
}

static void script_resume_irq(struct irq_work *irq)
{
	script_resume(container_of(irq, struct script_room, irq));
}

/* Is there no room this time? */
static bool script_again(struct script_cmd *sc, atomic_t *times)
{
	unsigned int every = READ_ONCE(script_again_every);
	bool again = atomic_dec_if_positive(times) >= 0;

	if (!again && every)
		again = atomic_inc_return(&script_calls) % every == 0;
	if (!again || READ_ONCE(script_letting_go))
		return false;
	script_tell_cmd(sc, SCRIPT_AGAIN);
	return true;
}

/* Room comes back: at once in a hard interrupt, or some time later.  The command keeps its session until then. */
static void script_resume_later(struct script_cmd *sc, u8 from, unsigned int ms)
{
	struct script_room *room;

	if (sc->req.flags & SCRIPT_NO_RESUME)
		return;
	room = script_zalloc(sizeof(*room), GFP_ATOMIC);
	if (!room) {
		script_count(SCRIPT_EVENTS_LOST);
		return;
	}
	atomic_inc(&sc->session->users);
	room->ss = sc->session;
	timer_setup(&room->timer, script_resume_timer, 0);
	init_irq_work(&room->irq, script_resume_irq);
	if (from == SCRIPT_IRQ)
		irq_work_queue(&room->irq);
	else
		mod_timer(&room->timer, jiffies + msecs_to_jiffies(ms));
}

/* The data comes, as much as there is. */
static void script_deliver(struct script_cmd *sc, enum scst_context ctx)
{
	struct scst_cmd *cmd = &sc->cmd;

	if (!script_take(sc, SCRIPT_AT_DATA, SCRIPT_IN_CORE))
		return;
	if (sc->out && cmd->data.sgl)
		sg_copy_from_buffer(cmd->data.sgl, cmd->data.nents, sc->out, min(sc->out_len, cmd->len));
	script_call_begin(sc, ctx);
	scst_data_received(cmd, sc->out_error, ctx);
	script_call_end(sc);
}

/* There will be none. */
static void script_cancel(struct script_cmd *sc)
{
	if (!script_take(sc, SCRIPT_AT_DATA, SCRIPT_IN_CORE))
		return;
	script_call_begin(sc, SCST_CTX_DEFER);
	scst_data_received(&sc->cmd, -ECANCELED, SCST_CTX_DEFER);
	script_call_end(sc);
}

static int script_receive_data(struct scst_cmd *cmd)
{
	struct script_cmd *sc = script_cmd_of(cmd);
	u8 mode = READ_ONCE(script_letting_go) ? SCRIPT_GO : sc->req.data_mode;

	script_check_cmd(sc);
	script_check_data(sc);
	script_promise(!in_hardirq(), SCRIPT_BAD_CONTEXT);
	script_promise(READ_ONCE(sc->state) == SCRIPT_IN_CORE, SCRIPT_BAD_STATE);
	kref_get(&sc->kref);
	if (script_again(sc, &sc->data_again)) {
		script_resume_later(sc, sc->req.data_from, sc->req.data_ms);
		script_cmd_put(sc);
		return -EAGAIN;
	}
	script_tell_cmd(sc, SCRIPT_WANTS_DATA);
	xchg(&sc->state, SCRIPT_AT_DATA);
	/* abort() may have come before it was here, and does not come again. */
	if (mode == SCRIPT_NEVER && READ_ONCE(sc->recalled))
		script_cancel(sc);
	else if (mode == SCRIPT_GO || READ_ONCE(script_letting_go))
		script_step_start(&sc->data_step, sc->req.data_from, sc->req.data_ms, script_here(sc));
	script_cmd_put(sc);
	return 0;
}

/* The response is out.  release() may be called before this returns. */
static void script_sent(struct script_cmd *sc, enum scst_context ctx)
{
	if (!script_take(sc, SCRIPT_AT_RESPONSE, SCRIPT_SENT))
		return;
	sc->sent_where = script_where();
	scst_cmd_sent(&sc->cmd);
}

static void script_tell_answer(struct script_cmd *sc)
{
	const struct scst_cmd *cmd = &sc->cmd;
	struct script_report *report = sc->answer;
	struct script_event *event = &report->event;
	u32 room = event->size - sizeof(*event), len = 0;

	sc->answer = NULL;
	event->kind = SCRIPT_RESPONDED;
	event->id = sc->req.id;
	event->session = sc->req.session;
	event->residual = scst_cmd_residual(cmd);
	event->len = cmd->len;
	event->xfer_len = cmd->xfer_len;
	event->data_len = cmd->data.len;
	event->status = cmd->status;
	event->sense_len = cmd->sense_len;
	event->owner = cmd->data.owner;
	event->flags = scst_cmd_aborted(cmd) * SCRIPT_ABORTED | scst_cmd_aborted_by_other(cmd) * SCRIPT_FOREIGN;
	memcpy(event->sense, sc->sense, min_t(u8, cmd->sense_len, sizeof(event->sense)));
	if (cmd->data.sgl && cmd->len)
		len = sg_copy_to_buffer(cmd->data.sgl, cmd->data.nents, report->data, min(room, cmd->len));
	event->size = sizeof(*event) + len;
	script_queue(report);
}

static int script_send_response(struct scst_cmd *cmd)
{
	struct script_cmd *sc = script_cmd_of(cmd);
	u8 mode = READ_ONCE(script_letting_go) ? SCRIPT_GO : sc->req.response_mode;

	script_check_cmd(sc);
	if (sc->req.dir == DMA_FROM_DEVICE && !scst_cmd_aborted(cmd))
		script_check_data(sc);
	/* One that was aborted before is not asked for again. */
	if (mode == SCRIPT_NEVER && scst_cmd_aborted(cmd))
		mode = SCRIPT_GO;
	script_promise(READ_ONCE(sc->state) == SCRIPT_IN_CORE, SCRIPT_BAD_STATE);
	script_promise(cmd->sense_len <= SCST_SENSE_SIZE, SCRIPT_BAD_DATA);
	kref_get(&sc->kref);
	if (script_again(sc, &sc->response_again)) {
		script_resume_later(sc, sc->req.response_from, sc->req.response_ms);
		script_cmd_put(sc);
		return -EAGAIN;
	}
	script_promise(sc->answer, SCRIPT_BAD_STATE);
	if (sc->answer)
		script_tell_answer(sc);
	xchg(&sc->state, SCRIPT_AT_RESPONSE);
	if (mode == SCRIPT_GO || READ_ONCE(script_letting_go))
		script_step_start(&sc->response_step, sc->req.response_from, sc->req.response_ms, script_here(sc));
	script_cmd_put(sc);
	return 0;
}

static void script_release(struct scst_cmd *cmd)
{
	struct script_cmd *sc = script_cmd_of(cmd);
	unsigned long flags;

	if (xchg(&sc->released, 1)) {
		script_promise(false, SCRIPT_DOUBLE_RELEASE);
		return;
	}
	script_promise(script_take(sc, SCRIPT_SENT, SCRIPT_OVER), SCRIPT_BAD_STATE);
	script_promise(!READ_ONCE(sc->recalling), SCRIPT_BAD_STATE);
	script_promise(script_where() == sc->sent_where || (sc->recalled && script_in_process()), SCRIPT_BAD_CONTEXT);
	xa_lock_irqsave(&script_cmds, flags);
	__xa_erase(&script_cmds, sc->req.id);
	xa_unlock_irqrestore(&script_cmds, flags);
	script_count(SCRIPT_RELEASES);
	script_tell_cmd(sc, SCRIPT_RELEASED);
	memset(cmd, SCRIPT_POISON, sizeof(*cmd));
	script_cmd_put(sc);
}

static void script_abort(struct scst_cmd *cmd)
{
	struct script_cmd *sc = script_cmd_of(cmd);
	bool last;

	script_promise(script_may_sleep(), SCRIPT_BAD_CONTEXT);
	script_promise(!sc->released, SCRIPT_BAD_STATE);
	if (xchg(&sc->recalled, 1))
		script_promise(false, SCRIPT_DOUBLE_ABORT);
	script_promise(scst_cmd_aborted(cmd), SCRIPT_BAD_STATE);
	kref_get(&sc->kref);
	WRITE_ONCE(sc->recalling, true);
	script_tell_cmd(sc, SCRIPT_ABORT);
	if (sc->req.data_mode == SCRIPT_NEVER)
		script_cancel(sc);
	if (sc->req.response_mode == SCRIPT_NEVER)
		script_sent(sc, SCST_CTX_TASK);
	WRITE_ONCE(sc->recalling, false);
	last = kref_put(&sc->kref, script_cmd_last);
	script_promise(!last, SCRIPT_BAD_STATE);
}

static void script_reap(struct work_struct *work)
{
	struct llist_node *cmds = llist_del_all(&script_dead_cmds), *tmfs = llist_del_all(&script_dead_tmfs);
	struct llist_node *rooms = llist_del_all(&script_dead_rooms);
	struct script_cmd *sc, *next_cmd;
	struct script_room *room, *next_room;
	struct script_tmf *st, *next_tmf;

	/* irq_work looks at its structure once more after the function. */
	synchronize_rcu();
	llist_for_each_entry_safe(sc, next_cmd, cmds, dead)
		script_cmd_free(sc);
	llist_for_each_entry_safe(room, next_room, rooms, dead)
		kvfree(room);
	llist_for_each_entry_safe(st, next_tmf, tmfs, dead)
		kvfree(st);
}

/* --- the driver's half: task management, sessions, targets ---------- */

static void script_tmf_done(struct scst_tmf *tmf)
{
	struct script_tmf *st = container_of(tmf, struct script_tmf, tmf);

	script_promise(script_in_process(), SCRIPT_BAD_CONTEXT);
	if (xchg(&st->done, 1)) {
		script_promise(false, SCRIPT_DOUBLE_TMF);
		return;
	}
	script_count(SCRIPT_TMFS_DONE);
	if (!st->quiet)
		script_tell(SCRIPT_TMF_DONE, st->id, st->session, tmf->response, 0);
	llist_add(&st->dead, &script_dead_tmfs);
	queue_delayed_work(script_wq, &script_reaper, msecs_to_jiffies(SCRIPT_KEEP_MS));
}

static void script_session_gone(struct scst_session *sess)
{
	struct script_session *ss = sess->driver_data;

	script_promise(script_may_sleep(), SCRIPT_BAD_CONTEXT);
	xa_erase_irq(&script_sessions, ss->number);
	/* Calls that have returned a moment ago. */
	while (atomic_read(&ss->users))
		msleep(1);
	mutex_lock(&script_mutex);
	list_del(&ss->entry);
	mutex_unlock(&script_mutex);
	script_count(SCRIPT_SESSIONS_GONE);
	script_tell(SCRIPT_GONE, 0, ss->number, 0, 0);
	kvfree(ss);
}

static void script_luns_changed(struct scst_session *sess)
{
	struct script_session *ss = sess->driver_data;

	script_tell(SCRIPT_LUNS_CHANGED, 0, ss->number, 0, 0);
}

/* Once per session.  Under script_mutex. */
static void script_session_close(struct script_session *ss)
{
	bool first;

	lockdep_assert_held(&script_mutex);
	xa_lock_irq(&script_sessions);
	first = !ss->closing;
	ss->closing = true;
	xa_unlock_irq(&script_sessions);
	if (first)
		scst_session_close(ss->sess);
}

static int script_init_target(struct scst_target *tgt)
{
	struct script_target *st = script_target_of(tgt);

	script_promise(script_may_sleep(), SCRIPT_BAD_CONTEXT);
	tgt->limits = script_limits;
	INIT_LIST_HEAD(&st->sessions);
	mutex_lock(&script_mutex);
	list_add(&st->entry, &script_targets);
	mutex_unlock(&script_mutex);
	return 0;
}

static void script_free_target(struct scst_target *tgt)
{
	script_promise(script_may_sleep(), SCRIPT_BAD_CONTEXT);
	mutex_lock(&script_mutex);
	list_del(&script_target_of(tgt)->entry);
	mutex_unlock(&script_mutex);
}

static int script_enable(struct scst_target *tgt)
{
	script_promise(script_may_sleep(), SCRIPT_BAD_CONTEXT);
	if (script_enable_error)
		return script_enable_error;
	mutex_lock(&script_mutex);
	script_promise(!script_target_of(tgt)->open, SCRIPT_BAD_STATE);
	script_target_of(tgt)->open = true;
	mutex_unlock(&script_mutex);
	return 0;
}

static void script_disable(struct scst_target *tgt)
{
	struct script_target *st = script_target_of(tgt);
	struct script_session *ss;

	script_promise(script_may_sleep(), SCRIPT_BAD_CONTEXT);
	mutex_lock(&script_mutex);
	script_promise(st->open, SCRIPT_BAD_STATE);
	st->open = false;
	list_for_each_entry(ss, &st->sessions, entry)
		script_session_close(ss);
	mutex_unlock(&script_mutex);
}

static const struct scst_target_driver script_driver = {
	.owner		= THIS_MODULE,
	.name		= "script",
	.protocol	= SCST_PROTOCOL_NONE,
	.target_size	= sizeof(struct script_target),
	.init		= script_init_target,
	.free		= script_free_target,
	.enable		= script_enable,
	.disable	= script_disable,
	.receive_data	= script_receive_data,
	.send_response	= script_send_response,
	.release	= script_release,
	.abort		= script_abort,
	.tmf_done	= script_tmf_done,
	.session_gone	= script_session_gone,
	.luns_changed	= script_luns_changed,
};

static struct scst_target_driver script_port_driver;

/* --- requests ---------- */

/* The session, if it takes commands; it stays until script_session_put(). */
static struct script_session *script_session_get(u32 number)
{
	struct script_session *ss;

	xa_lock_irq(&script_sessions);
	ss = xa_load(&script_sessions, number);
	if (ss && !ss->closing)
		atomic_inc(&ss->users);
	else
		ss = ERR_PTR(ss ? -ESHUTDOWN : -ENOENT);
	xa_unlock_irq(&script_sessions);
	return ss;
}

static void script_session_put(struct script_session *ss)
{
	atomic_dec(&ss->users);
}

static struct script_target *script_find_target(const char *name)
{
	struct script_target *st;

	lockdep_assert_held(&script_mutex);
	list_for_each_entry(st, &script_targets, entry)
		if (st->open && !strcmp(st->tgt.name, name))
			return st;
	return NULL;
}

/* Under script_mutex. */
static int script_login_locked(struct script_session *ss, const char *target, const char *initiator)
{
	struct script_target *st = script_find_target(target);
	struct scst_session *sess;
	int ret;

	if (!st)
		return -ENOTCONN;
	ret = xa_insert_irq(&script_sessions, ss->number, ss, GFP_KERNEL);
	if (ret)
		return ret;
	sess = scst_session_register(&st->tgt, initiator, NULL, NULL, ss);
	if (IS_ERR(sess)) {
		xa_erase_irq(&script_sessions, ss->number);
		return PTR_ERR(sess);
	}
	ss->sess = sess;
	list_add(&ss->entry, &st->sessions);
	script_count(SCRIPT_SESSIONS);
	xa_lock_irq(&script_sessions);
	ss->closing = false;
	xa_unlock_irq(&script_sessions);
	return 0;
}

static int script_op_login(const struct script_request *req, char *data)
{
	size_t len = strnlen(data, req->data_len);
	struct script_session *ss;
	int ret;

	if (len == req->data_len)
		return -EINVAL;
	ss = script_zalloc(sizeof(*ss), GFP_KERNEL);
	if (!ss)
		return -ENOMEM;
	ss->number = req->session;
	/* Until it is there. */
	ss->closing = true;
	mutex_lock(&script_mutex);
	ret = script_login_locked(ss, data, data + len + 1);
	mutex_unlock(&script_mutex);
	if (ret)
		kvfree(ss);
	return ret;
}

static int script_op_close(const struct script_request *req)
{
	struct script_session *ss;
	int ret;

	/* The mutex keeps session_gone() from freeing it. */
	mutex_lock(&script_mutex);
	ss = xa_load(&script_sessions, req->session);
	ret = ss && ss->sess ? 0 : -ENOENT;
	if (!ret)
		script_session_close(ss);
	mutex_unlock(&script_mutex);
	return ret;
}

static void script_submit(struct script_cmd *sc, enum scst_context ctx)
{
	struct script_session *ss = sc->session;

	sc->cmd.ctx = ctx;
	script_call_begin(sc, ctx);
	scst_cmd_submit(&sc->cmd);
	script_call_end(sc);
	script_session_put(ss);
	complete(&sc->submitted);
}

static void script_cmd_fill(struct script_cmd *sc)
{
	struct script_request *req = &sc->req;
	struct scst_cmd *cmd = &sc->cmd;

	scst_cmd_init(cmd, sc->session->sess);
	cmd->cdb = req->cdb;
	cmd->cdb_len = req->cdb_len;
	cmd->sense = sc->sense;
	cmd->tag = req->tag;
	cmd->lun = req->lun;
	cmd->expected_len = req->expected_len;
	cmd->dir = req->dir;
	cmd->attr = req->attr;
	cmd->priority = req->priority;
	if (req->flags & SCRIPT_OWN_MEMORY)
		cmd->data = sc->own;
	sc->out_error = req->error;
	atomic_set(&sc->data_again, req->data_again);
	atomic_set(&sc->response_again, req->response_again);
	spin_lock_init(&sc->lock);
	init_completion(&sc->submitted);
	kref_init(&sc->kref);
	script_step_init(&sc->submit_step, sc, script_submit);
	script_step_init(&sc->data_step, sc, script_deliver);
	script_step_init(&sc->response_step, sc, script_sent);
}

static void *script_dup(const void *data, u32 len)
{
	void *copy = script_zalloc(len, GFP_KERNEL);

	return copy ? memcpy(copy, data, len) : NULL;
}

static int script_cmd_memory(struct script_cmd *sc, const void *data)
{
	struct script_request *req = &sc->req;
	bool keep = req->flags & SCRIPT_KEEP_DATA && req->dir == DMA_FROM_DEVICE;

	sc->answer = script_report_alloc(keep ? min(req->expected_len, SCRIPT_DATA_MAX) : 0, GFP_KERNEL);
	if (!sc->answer)
		return -ENOMEM;
	if (req->data_len) {
		sc->out = script_dup(data, req->data_len);
		sc->out_len = req->data_len;
		if (!sc->out)
			return -ENOMEM;
	}
	return req->flags & SCRIPT_OWN_MEMORY ? script_own_alloc(&sc->own, req->expected_len) : 0;
}

static struct script_cmd *script_cmd_make(const struct script_request *req, const void *data)
{
	struct script_cmd *sc = script_zalloc(sizeof(*sc), GFP_KERNEL);
	int ret;

	if (!sc)
		return ERR_PTR(-ENOMEM);
	sc->req = *req;
	ret = script_cmd_memory(sc, data);
	if (ret) {
		script_cmd_free(sc);
		return ERR_PTR(ret);
	}
	return sc;
}

static int script_op_submit(const struct script_request *req, const void *data)
{
	struct script_session *ss = script_session_get(req->session);
	struct script_cmd *sc;
	int ret;

	if (IS_ERR(ss))
		return PTR_ERR(ss);
	sc = script_cmd_make(req, data);
	if (IS_ERR(sc)) {
		script_session_put(ss);
		return PTR_ERR(sc);
	}
	sc->session = ss;
	script_cmd_fill(sc);
	ret = xa_insert_irq(&script_cmds, req->id, sc, GFP_KERNEL);
	if (ret) {
		script_cmd_free(sc);
		script_session_put(ss);
		return ret;
	}
	script_count(SCRIPT_SUBMITTED);
	/* One reference is the core's, which may have given it back before the other is. */
	kref_get(&sc->kref);
	script_step_start(&sc->submit_step, req->submit_from, 0, SCST_CTX_TASK);
	if (!(req->flags & SCRIPT_NO_WAIT))
		wait_for_completion_killable(&sc->submitted);
	script_cmd_put(sc);
	return 0;
}

/* New bytes, if any are given, replace those that came with the command. */
static int script_op_data(const struct script_request *req, const void *data)
{
	struct script_cmd *sc = script_cmd_find(req->id);
	int ret = 0;

	if (!sc)
		return -ENOENT;
	if (READ_ONCE(sc->state) != SCRIPT_AT_DATA) {
		ret = -EAGAIN;
	} else {
		if (req->data_len) {
			void *old = sc->out, *out = script_dup(data, req->data_len);

			sc->out_len = out ? req->data_len : 0;
			sc->out = out;
			kvfree(old);
		}
		sc->out_error = req->error;
		script_step_start(&sc->data_step, req->data_from, req->data_ms, SCST_CTX_TASK);
	}
	script_cmd_put(sc);
	return ret;
}

static int script_op_respond(const struct script_request *req)
{
	struct script_cmd *sc = script_cmd_find(req->id);
	int ret = 0;

	if (!sc)
		return -ENOENT;
	if (READ_ONCE(sc->state) == SCRIPT_AT_RESPONSE)
		script_step_start(&sc->response_step, req->response_from, req->response_ms, SCST_CTX_TASK);
	else
		ret = -EAGAIN;
	script_cmd_put(sc);
	return ret;
}

static int script_one_tmf(const struct script_request *req, struct script_session *ss, u64 id)
{
	struct script_tmf *st = script_zalloc(sizeof(*st), GFP_KERNEL);

	if (!st)
		return -ENOMEM;
	st->id = id;
	st->session = ss->number;
	st->quiet = req->flags & SCRIPT_QUIET;
	st->tmf.sess = ss->sess;
	st->tmf.fn = req->fn;
	st->tmf.lun = req->lun;
	st->tmf.tag = req->tag;
	script_count(SCRIPT_TMFS);
	if (req->submit_from == SCRIPT_BH)
		local_bh_disable();
	scst_tmf_submit(&st->tmf);
	if (req->submit_from == SCRIPT_BH)
		local_bh_enable();
	return 0;
}

static int script_op_tmf(const struct script_request *req)
{
	struct script_session *ss = script_session_get(req->session);
	int ret = 0;
	u32 i;

	if (IS_ERR(ss))
		return PTR_ERR(ss);
	for (i = 0; i < max(req->count, 1U) && !ret; i++) {
		ret = script_one_tmf(req, ss, req->id + i);
		cond_resched();
	}
	script_session_put(ss);
	return ret;
}

static void script_resume_all(void)
{
	struct script_target *st;

	mutex_lock(&script_mutex);
	list_for_each_entry(st, &script_targets, entry)
		scst_target_resume(&st->tgt);
	mutex_unlock(&script_mutex);
}

static int script_op_port_up(const char *name, size_t len)
{
	struct scst_port_info info = { .driver = &script_port_driver };
	struct script_port *port;
	int ret = 0;

	if (len > SCST_TARGET_NAME_LEN)
		return -EINVAL;
	port = script_zalloc(sizeof(*port), GFP_KERNEL);
	if (!port)
		return -ENOMEM;
	memcpy(port->name, name, len);
	info.name = port->name;
	info.data = port;
	/* enable() may come from within, so not under script_mutex; requests come one at a time. */
	port->port = scst_port_register(&info);
	if (IS_ERR(port->port)) {
		ret = PTR_ERR(port->port);
		kvfree(port);
		return ret;
	}
	list_add(&port->entry, &script_ports);
	return 0;
}

static int script_op_port_down(const char *name, size_t len)
{
	struct script_port *port, *next;

	list_for_each_entry_safe(port, next, &script_ports, entry) {
		if (strlen(port->name) != len || memcmp(port->name, name, len))
			continue;
		list_del(&port->entry);
		scst_port_unregister(port->port);
		kvfree(port);
		return 0;
	}
	return -ENOENT;
}

/* Everything that is held goes on by itself. */
static void script_let_go(void)
{
	struct script_cmd *sc;
	unsigned long id;

	WRITE_ONCE(script_letting_go, true);
	xa_for_each(&script_cmds, id, sc) {
		sc = script_cmd_find(id);
		if (!sc)
			continue;
		script_deliver(sc, SCST_CTX_DEFER);
		script_sent(sc, SCST_CTX_TASK);
		script_cmd_put(sc);
	}
	script_resume_all();
}

static int script_do(const struct script_request *req, void *data)
{
	switch (req->op) {
	case SCRIPT_LOGIN:
		return script_op_login(req, data);
	case SCRIPT_CLOSE:
		return script_op_close(req);
	case SCRIPT_SUBMIT:
		return script_op_submit(req, data);
	case SCRIPT_DATA:
		return script_op_data(req, data);
	case SCRIPT_RESPOND:
		return script_op_respond(req);
	case SCRIPT_TMF:
		return script_op_tmf(req);
	case SCRIPT_RESUME:
		script_resume_all();
		return 0;
	case SCRIPT_PORT_UP:
		return script_op_port_up(data, req->data_len);
	case SCRIPT_PORT_DOWN:
		return script_op_port_down(data, req->data_len);
	case SCRIPT_LET_GO:
		script_let_go();
		return 0;
	case SCRIPT_HOLD_AGAIN:
		WRITE_ONCE(script_letting_go, false);
		return 0;
	}
	return -EINVAL;
}

/* --- the device ---------- */

static DEFINE_MUTEX(script_request_mutex);

static ssize_t script_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	struct script_request req;
	void *data = NULL;
	int ret;

	if (count < sizeof(req) || copy_from_user(&req, from, sizeof(req)))
		return -EINVAL;
	if (req.data_len != count - sizeof(req) || req.data_len > SCRIPT_DATA_MAX)
		return -EINVAL;
	/* One more byte ends a name. */
	data = script_zalloc(req.data_len + 1, GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	ret = -EFAULT;
	if (!copy_from_user(data, from + sizeof(req), req.data_len)) {
		mutex_lock(&script_request_mutex);
		ret = script_do(&req, data);
		mutex_unlock(&script_request_mutex);
	}
	kvfree(data);
	return ret ?: count;
}

static ssize_t script_read(struct file *file, char __user *to, size_t room, loff_t *pos)
{
	struct script_report *report;
	size_t done = 0;
	int ret;

	if (!(file->f_flags & O_NONBLOCK)) {
		ret = wait_event_interruptible(script_events_wait, READ_ONCE(script_nr_events));
		if (ret)
			return ret;
	}
	for (;;) {
		report = script_next_event(room - done);
		if (IS_ERR_OR_NULL(report))
			break;
		ret = copy_to_user(to + done, &report->event, report->event.size);
		done += report->event.size;
		kvfree(report);
		if (ret)
			return -EFAULT;
	}
	if (done)
		return done;
	return report ? PTR_ERR(report) : -EAGAIN;
}

static __poll_t script_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &script_events_wait, table);
	return (READ_ONCE(script_nr_events) ? EPOLLIN | EPOLLRDNORM : 0) | EPOLLOUT | EPOLLWRNORM;
}

static int script_fop_open(struct inode *inode, struct file *file)
{
	int ret = 0;

	spin_lock_irq(&script_events_lock);
	if (script_open)
		ret = -EBUSY;
	else
		script_open = true;
	spin_unlock_irq(&script_events_lock);
	if (!ret)
		WRITE_ONCE(script_letting_go, false);
	return ret;
}

/* A program that ends, however it ends, leaves nothing behind that a target would wait for. */
static int script_fop_release(struct inode *inode, struct file *file)
{
	struct script_target *st;
	struct script_session *ss;

	mutex_lock(&script_request_mutex);
	script_let_go();
	mutex_lock(&script_mutex);
	list_for_each_entry(st, &script_targets, entry)
		list_for_each_entry(ss, &st->sessions, entry)
			script_session_close(ss);
	mutex_unlock(&script_mutex);
	while (!list_empty(&script_ports)) {
		struct script_port *port = list_first_entry(&script_ports, struct script_port, entry);

		script_op_port_down(port->name, strlen(port->name));
	}
	mutex_unlock(&script_request_mutex);
	spin_lock_irq(&script_events_lock);
	script_open = false;
	spin_unlock_irq(&script_events_lock);
	script_drop_events();
	return 0;
}

static const struct file_operations script_fops = {
	.owner		= THIS_MODULE,
	.open		= script_fop_open,
	.release	= script_fop_release,
	.read		= script_read,
	.write		= script_write,
	.poll		= script_poll,
};

static struct miscdevice script_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "scst_script",
	.fops	= &script_fops,
};

static int script_counters_show(struct seq_file *m, void *unused)
{
	int i;

	for (i = 0; i < SCRIPT_COUNTERS; i++)
		seq_printf(m, "%s %d\n", script_counter_names[i], atomic_read(&script_counters[i]));
	seq_printf(m, "size_of_command %zu\n", sizeof(struct scst_cmd));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(script_counters);

/* --- module ---------- */

static int __init script_register(void)
{
	int ret;

	script_port_driver = script_driver;
	script_port_driver.name = "scriptport";
	script_port_driver.needs_port = true;
	ret = scst_target_driver_register(&script_driver);
	if (ret)
		return ret;
	ret = scst_target_driver_register(&script_port_driver);
	if (ret)
		goto out_driver;
	ret = misc_register(&script_device);
	if (ret)
		goto out_port_driver;
	return 0;

out_port_driver:
	scst_target_driver_unregister(&script_port_driver);
out_driver:
	scst_target_driver_unregister(&script_driver);
	return ret;
}

static int __init script_init(void)
{
	int ret;

	script_wq = alloc_workqueue("scst_script", WQ_UNBOUND, 0);
	if (!script_wq)
		return -ENOMEM;
	ret = script_register();
	if (ret) {
		destroy_workqueue(script_wq);
		return ret;
	}
	script_debugfs = debugfs_create_dir("scst_script", NULL);
	debugfs_create_file("counters", 0444, script_debugfs, NULL, &script_counters_fops);
	return 0;
}

static void __exit script_exit(void)
{
	debugfs_remove_recursive(script_debugfs);
	misc_deregister(&script_device);
	scst_target_driver_unregister(&script_port_driver);
	scst_target_driver_unregister(&script_driver);
	flush_delayed_work(&script_reaper);
	destroy_workqueue(script_wq);
}

module_init(script_init);
module_exit(script_exit);
MODULE_DESCRIPTION("SCST target driver for tests");
MODULE_LICENSE("GPL");
