// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls into the core from a place of choice.
 */
#include "script.h"

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

void script_step_init(struct script_step *step, struct script_cmd *sc, void (*fn)(struct script_cmd *sc, enum scst_context ctx))
{
	step->sc = sc;
	step->fn = fn;
	timer_setup(&step->timer, script_step_timer, 0);
	init_irq_work(&step->irq, script_step_irq);
	INIT_WORK(&step->work, script_step_work);
}

void script_step_start(struct script_step *step, u8 from, unsigned int ms, enum scst_context here)
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
