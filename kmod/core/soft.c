// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a command goes on that a hard interrupt has brought further, or somebody who holds a lock that it needs: in a soft interrupt of
 * that CPU.  To wake a thread costs more than most commands do.
 *
 * A run is bounded and asks for the next, so that the limits of soft interrupts hold, and ksoftirqd takes over where commands come faster
 * than they go.
 */
#include "commands.h"
#include <linux/interrupt.h>

#define SCST_SOFT_MOST	32	/* jobs in one run */

struct scst_soft {
	spinlock_t lock;	/* a CPU that goes offline leaves its tasklet to another */
	struct list_head jobs;
	struct tasklet_struct tasklet;
};

static DEFINE_PER_CPU(struct scst_soft, scst_soft);

static struct scst_job *scst_soft_next(struct scst_soft *soft)
{
	struct scst_job *job;
	unsigned long irq;

	spin_lock_irqsave(&soft->lock, irq);
	job = list_first_entry_or_null(&soft->jobs, struct scst_job, entry);
	if (job)
		list_del(&job->entry);
	spin_unlock_irqrestore(&soft->lock, irq);
	return job;
}

static void scst_soft_run(struct tasklet_struct *tasklet)
{
	struct scst_soft *soft = container_of(tasklet, struct scst_soft, tasklet);
	unsigned int left = SCST_SOFT_MOST;
	struct scst_job *job;

	while (left-- && (job = scst_soft_next(soft)))
		job->fn(job);
	if (!list_empty_careful(&soft->jobs))
		tasklet_schedule(tasklet);
}

/**
 * scst_soft_add() - have a job done in a soft interrupt, after those that wait for it already
 * @job: its memory is not touched any more when @fn is called
 * @fn: runs in softirq context, soon; never before this returns, where that is called with bottom halves or interrupts off
 *
 * Any context.
 */
void scst_soft_add(struct scst_job *job, void (*fn)(struct scst_job *job))
{
	/* Any CPU's will do: this one's, unless the caller is moved meanwhile. */
	struct scst_soft *soft = raw_cpu_ptr(&scst_soft);
	unsigned long irq;

	job->fn = fn;
	spin_lock_irqsave(&soft->lock, irq);
	list_add_tail(&job->entry, &soft->jobs);
	/* Under the lock: who is interrupted here by the run would have "never before this returns" broken. */
	tasklet_schedule(&soft->tasklet);
	spin_unlock_irqrestore(&soft->lock, irq);
}

int scst_soft_init(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct scst_soft *soft = per_cpu_ptr(&scst_soft, cpu);

		spin_lock_init(&soft->lock);
		INIT_LIST_HEAD(&soft->jobs);
		tasklet_setup(&soft->tasklet, scst_soft_run);
	}
	return 0;
}

/* No command is left; what has ended the last may still be on its way out. */
void scst_soft_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		tasklet_kill(&per_cpu_ptr(&scst_soft, cpu)->tasklet);
}
