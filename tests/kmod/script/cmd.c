// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver's half of commands: their data, their responses, their ends.
 */
#include "script.h"
#include <linux/module.h>
#include <linux/slab.h>

static unsigned int script_again_every;
module_param_named(again_every, script_again_every, uint, 0644);
MODULE_PARM_DESC(again_every, "Every so many calls of receive_data() and send_response() say -EAGAIN; 0: none");

bool script_letting_go;
static atomic_t script_calls;

static bool script_take(struct script_cmd *sc, enum script_state from, enum script_state to)
{
	return cmpxchg(&sc->state, from, to) == from;
}

/* Around a call into the core, which may be answered by callbacks before it returns, or must not. */
void script_call_begin(struct script_cmd *sc, enum scst_context ctx)
{
	sc->task = ctx == SCST_CTX_TASK;
	if (ctx == SCST_CTX_DEFER && irqs_disabled())
		WRITE_ONCE(sc->deferring, 1 + smp_processor_id());
}

void script_call_end(struct script_cmd *sc)
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

static void script_resume(struct script_room *room)
{
	struct script_session *ss = room->ss;

	scst_target_resume(ss->sess->tgt);
	atomic_dec(&ss->users);
	llist_add(&room->dead, &script_dead_rooms);
	script_reap_later();
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
void script_deliver(struct script_cmd *sc, enum scst_context ctx)
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

int script_receive_data(struct scst_cmd *cmd)
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
void script_sent(struct script_cmd *sc, enum scst_context ctx)
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

int script_send_response(struct scst_cmd *cmd)
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

void script_release(struct scst_cmd *cmd)
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

void script_abort(struct scst_cmd *cmd)
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
