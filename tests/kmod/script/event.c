// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the program is told: events, in the order in which they came, until it reads them.
 */
#include "script.h"
#include <linux/slab.h>
#include <linux/wait.h>

#define SCRIPT_EVENTS_MAX	200000

atomic_t script_counters[SCRIPT_COUNTERS];

DEFINE_SPINLOCK(script_events_lock);
static LIST_HEAD(script_events);
DECLARE_WAIT_QUEUE_HEAD(script_events_wait);
unsigned int script_nr_events;
static u64 script_seq;
bool script_open;	/* somebody has the device open, under script_events_lock */

struct script_report *script_report_alloc(u32 data_len, gfp_t gfp)
{
	struct script_report *report = script_zalloc(struct_size(report, data, data_len), gfp);

	if (report)
		report->event.size = sizeof(report->event) + data_len;
	return report;
}

/* Any context. */
void script_queue(struct script_report *report)
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

void script_tell(enum script_kind kind, u64 id, u32 session, u32 value, u32 len)
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

void script_tell_cmd(struct script_cmd *sc, enum script_kind kind)
{
	if (!(sc->req.flags & SCRIPT_QUIET))
		script_tell(kind, sc->req.id, sc->req.session, 0, kind == SCRIPT_WANTS_DATA ? sc->cmd.len : 0);
}

struct script_report *script_next_event(size_t room)
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

void script_drop_events(void)
{
	struct script_report *report;

	while ((report = script_next_event(SIZE_MAX)))
		kvfree(report);
}
