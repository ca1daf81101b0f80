// SPDX-License-Identifier: GPL-2.0-only
/*
 * Threads that come when there is work and go when there is none: one set for each device, and one for each
 * target, so that what hangs takes nothing from its neighbours.
 *
 * A job goes to the thread that went idle last. If none is idle, a further one is asked for, and that asks for the
 * next as long as there are jobs. They are made by work on a queue of the module's own, which runs no jobs. Memory
 * for a thread may have to be waited for; jobs wait on their list meanwhile and are never lost.
 *
 * Where the set is near(), a CPU that submits gets one thread that is bound to it, and a job goes to that one if it is
 * idle.  Who submits a single job most likely waits for it: to be woken on another CPU costs more than the job.  All other
 * threads may run anywhere.  How many are bound in all sets together is limited, or many devices that many CPUs submit to
 * would have as many threads as both multiplied.
 *
 * An idle thread sleeps without a time limit, for a timer would cost every job that it is woken for: one piece of work per
 * set looks for those that have been idle for long. A thread that ends is collected by kthread_stop(), which returns when
 * it has left the text of this module.
 */
#include "core.h"
#include <linux/kthread.h>
#include <linux/sched/mm.h>
#include <linux/sched/task.h>

#define SCST_THREAD_IDLE	(10 * HZ)	/* without work for so long a thread goes */
#define SCST_THREAD_RETRY	(HZ / 10)	/* until the next attempt to make one */
#define SCST_THREADS_BOUND	16		/* for each CPU of the machine */

struct scst_thread {
	struct list_head entry;		/* threads->idle or ->ended, under its lock */
	struct scst_threads *threads;
	struct task_struct *task;
	int cpu;			/* that it is bound to; -1: none */
	unsigned long since;		/* jiffies, when it went idle */
	bool unwanted;			/* it is to go, if there is no job; under the lock */
};

static struct workqueue_struct *scst_spawn_wq;
static atomic_t scst_threads_bound;

static int scst_threads_bound_max(void)
{
	return SCST_THREADS_BOUND * num_possible_cpus();
}

static bool scst_threads_may_bind(void)
{
	return atomic_read(&scst_threads_bound) < scst_threads_bound_max();
}

static void scst_threads_ask(struct scst_threads *threads, int cpu)
{
	if (threads->spawning || threads->nr >= threads->max)
		return;
	threads->spawning = true;
	threads->spawn_cpu = cpu;
	queue_delayed_work(scst_spawn_wq, &threads->spawn_work, 0);
}

/* The thread of this CPU's if it is idle, else the one that went idle last, or NULL.  A CPU that has none is to have one. */
static struct scst_thread *scst_threads_idle(struct scst_threads *threads, bool near)
{
	if (near) {
		struct scst_thread *own = *this_cpu_ptr(threads->near);

		if (own && !list_empty(&own->entry))
			return own;
		if (!own && scst_threads_may_bind())
			scst_threads_ask(threads, smp_processor_id());
	}
	return list_first_entry_or_null(&threads->idle, struct scst_thread, entry);
}

/* There are jobs that nobody has taken yet. */
static void scst_threads_more(struct scst_threads *threads, bool near)
{
	struct scst_thread *thread;

	lockdep_assert_held(&threads->lock);
	thread = scst_threads_idle(threads, near);
	if (thread) {
		list_del_init(&thread->entry);
		wake_up_process(thread->task);
	} else {
		scst_threads_ask(threads, -1);
	}
}

/**
 * scst_threads_add() - have a job done
 * @threads: whose
 * @job: with its fn set; its memory is not touched any more when fn is called
 *
 * Any context.
 */
void scst_threads_add(struct scst_threads *threads, struct scst_job *job)
{
	unsigned long flags;

	spin_lock_irqsave(&threads->lock, flags);
	list_add_tail(&job->entry, &threads->jobs);
	scst_threads_more(threads, threads->near);
	spin_unlock_irqrestore(&threads->lock, flags);
}

static void scst_thread_sleep(struct scst_threads *threads, struct scst_thread *self)
{
	self->since = jiffies;
	list_add(&self->entry, &threads->idle);
	if (unlikely(!threads->reaping)) {
		threads->reaping = true;
		queue_delayed_work(scst_spawn_wq, &threads->reap_work, SCST_THREAD_IDLE);
	}
	/* Whoever wakes holds the lock. */
	__set_current_state(TASK_IDLE);
	spin_unlock_irq(&threads->lock);
	schedule();
	spin_lock_irq(&threads->lock);
	list_del_init(&self->entry);
}

/* The next job, after waiting for it; NULL: the thread is to go, and no longer counts. */
static struct scst_job *scst_thread_next(struct scst_threads *threads, struct scst_thread *self)
{
	struct scst_job *job;

	spin_lock_irq(&threads->lock);
	while (!(job = list_first_entry_or_null(&threads->jobs, struct scst_job, entry)) && !self->unwanted &&
	       !threads->stopping)
		scst_thread_sleep(threads, self);
	if (job) {
		list_del(&job->entry);
		if (!list_empty(&threads->jobs))
			scst_threads_more(threads, false);
	} else {
		if (self->cpu >= 0) {
			*per_cpu_ptr(threads->near, self->cpu) = NULL;
			atomic_dec(&scst_threads_bound);
		}
		list_add(&self->entry, &threads->ended);
		queue_delayed_work(scst_spawn_wq, &threads->spawn_work, 0);
		/* Under the lock: who waits for the last one may free it afterwards. */
		if (!--threads->nr)
			wake_up_all(&threads->gone);
	}
	spin_unlock_irq(&threads->lock);
	return job;
}

/* A local initiator's dirty pages may wait for what is done here. */
static int scst_thread_main(void *data)
{
	struct scst_thread *self = data;
	struct scst_threads *threads = self->threads;
	unsigned int noio = memalloc_noio_save();
	struct scst_job *job;

	spin_lock_irq(&threads->lock);
	threads->spawning = false;
	threads->starting = false;
	spin_unlock_irq(&threads->lock);
	while ((job = scst_thread_next(threads, self)))
		job->fn(job);
	memalloc_noio_restore(noio);
	return 0;
}

/* A CPU that goes offline meanwhile, or later, leaves its thread to the others. */
static void scst_thread_bind(struct scst_thread *thread)
{
	struct scst_threads *threads = thread->threads;

	kthread_bind(thread->task, thread->cpu);
	spin_lock_irq(&threads->lock);
	*per_cpu_ptr(threads->near, thread->cpu) = thread;
	spin_unlock_irq(&threads->lock);
}

static int scst_thread_spawn(struct scst_threads *threads, int cpu)
{
	struct scst_thread *thread = kzalloc(sizeof(*thread), GFP_KERNEL);

	if (!thread)
		return -ENOMEM;
	/* Another set may have got the last one since this one was asked for: it may run anywhere then. */
	if (cpu >= 0 && !atomic_add_unless(&scst_threads_bound, 1, scst_threads_bound_max()))
		cpu = -1;
	INIT_LIST_HEAD(&thread->entry);
	thread->threads = threads;
	thread->cpu = cpu;
	thread->task = kthread_create_on_node(scst_thread_main, thread, cpu < 0 ? NUMA_NO_NODE : cpu_to_node(cpu),
					      "scst/%s", threads->name);
	if (IS_ERR(thread->task)) {
		int ret = PTR_ERR(thread->task);

		if (cpu >= 0)
			atomic_dec(&scst_threads_bound);
		kfree(thread);
		return ret;
	}
	get_task_struct(thread->task);
	if (cpu >= 0)
		scst_thread_bind(thread);
	wake_up_process(thread->task);
	return 0;
}

static void scst_threads_collect(struct scst_threads *threads)
{
	struct scst_thread *thread, *next;
	LIST_HEAD(ended);

	spin_lock_irq(&threads->lock);
	list_splice_init(&threads->ended, &ended);
	spin_unlock_irq(&threads->lock);
	list_for_each_entry_safe(thread, next, &ended, entry) {
		kthread_stop(thread->task);
		put_task_struct(thread->task);
		kfree(thread);
	}
}

/*
 * Is one to be made, and for which CPU?  Those who were busy may have taken the jobs by now; a CPU's own thread is made
 * for the jobs to come.
 */
static bool scst_threads_spawn_begin(struct scst_threads *threads, int *cpu)
{
	bool wanted;

	spin_lock_irq(&threads->lock);
	wanted = threads->spawning && !threads->starting;
	*cpu = threads->spawn_cpu;
	if (wanted && (*cpu < 0 || threads->stopping) &&
	    (list_empty(&threads->jobs) || !list_empty(&threads->idle))) {
		threads->spawning = false;
		wanted = false;
	}
	if (wanted) {
		threads->starting = true;
		threads->nr++;
	}
	spin_unlock_irq(&threads->lock);
	return wanted;
}

/* No memory: those there are go on, and there is another attempt as long as jobs wait. */
static void scst_threads_spawn_failed(struct scst_threads *threads)
{
	spin_lock_irq(&threads->lock);
	threads->starting = false;
	queue_delayed_work(scst_spawn_wq, &threads->spawn_work, SCST_THREAD_RETRY);
	if (!--threads->nr)
		wake_up_all(&threads->gone);
	spin_unlock_irq(&threads->lock);
}

static void scst_threads_spawn_work(struct work_struct *work)
{
	struct scst_threads *threads = container_of(to_delayed_work(work), struct scst_threads, spawn_work);
	int cpu;

	scst_threads_collect(threads);
	if (scst_threads_spawn_begin(threads, &cpu) && scst_thread_spawn(threads, cpu))
		scst_threads_spawn_failed(threads);
}

/* Those that went idle last are first. */
static void scst_threads_reap_work(struct work_struct *work)
{
	struct scst_threads *threads = container_of(to_delayed_work(work), struct scst_threads, reap_work);
	struct scst_thread *thread, *next;

	spin_lock_irq(&threads->lock);
	threads->reaping = false;
	list_for_each_entry_safe_reverse(thread, next, &threads->idle, entry) {
		long left = thread->since + SCST_THREAD_IDLE - jiffies;

		if (left > 0) {
			threads->reaping = true;
			queue_delayed_work(scst_spawn_wq, &threads->reap_work, left);
			break;
		}
		thread->unwanted = true;
		list_del_init(&thread->entry);
		wake_up_process(thread->task);
	}
	spin_unlock_irq(&threads->lock);
}

/**
 * scst_threads_init() - begin with no thread
 * @threads: zeroed
 * @name: what they are called, valid until scst_threads_stop(); ps(1) shows the beginning
 * @max: how many there may be at once
 */
void scst_threads_init(struct scst_threads *threads, const char *name, unsigned int max)
{
	spin_lock_init(&threads->lock);
	INIT_LIST_HEAD(&threads->jobs);
	INIT_LIST_HEAD(&threads->idle);
	INIT_LIST_HEAD(&threads->ended);
	INIT_DELAYED_WORK(&threads->spawn_work, scst_threads_spawn_work);
	INIT_DELAYED_WORK(&threads->reap_work, scst_threads_reap_work);
	init_waitqueue_head(&threads->gone);
	threads->name = name;
	threads->max = max;
}

/**
 * scst_threads_near() - who submits alone has its jobs done on its own CPU
 * @threads: new
 *
 * Process context, may sleep.  Without memory for it the threads run anywhere.
 */
void scst_threads_near(struct scst_threads *threads)
{
	threads->near = alloc_percpu(struct scst_thread *);
}

static bool scst_threads_gone(struct scst_threads *threads)
{
	bool gone;

	spin_lock_irq(&threads->lock);
	gone = !threads->nr && list_empty(&threads->jobs);
	spin_unlock_irq(&threads->lock);
	return gone;
}

/**
 * scst_threads_stop() - wait until all jobs are done and the threads gone
 * @threads: whose; its memory may be freed on return
 *
 * Process context, not from one of the jobs.  Nobody adds jobs any more.  On return the threads have left the
 * text of this module and of those that the jobs came from.
 */
void scst_threads_stop(struct scst_threads *threads)
{
	struct scst_thread *thread, *next;

	might_sleep();
	spin_lock_irq(&threads->lock);
	threads->stopping = true;
	list_for_each_entry_safe(thread, next, &threads->idle, entry) {
		list_del_init(&thread->entry);
		wake_up_process(thread->task);
	}
	spin_unlock_irq(&threads->lock);
	wait_event_idle(threads->gone, scst_threads_gone(threads));
	cancel_delayed_work_sync(&threads->reap_work);
	cancel_delayed_work_sync(&threads->spawn_work);
	scst_threads_collect(threads);
	WARN_ON_ONCE(!list_empty(&threads->jobs));
	free_percpu(threads->near);
}

/* --- one after the other ----------------------------------------------------------------------- */

static struct scst_job *scst_line_next(struct scst_line *line)
{
	struct scst_job *job;

	spin_lock_irq(&line->lock);
	job = list_first_entry_or_null(&line->jobs, struct scst_job, entry);
	if (job)
		list_del(&job->entry);
	else
		line->running = false;
	spin_unlock_irq(&line->lock);
	return job;
}

static void scst_line_job(struct scst_job *self)
{
	struct scst_line *line = container_of(self, struct scst_line, job);
	struct scst_job *job;

	while ((job = scst_line_next(line)))
		job->fn(job);
}

/* Have a job done by a thread after those that are in the line already.  As scst_threads_add(). */
void scst_line_add(struct scst_line *line, struct scst_threads *threads, struct scst_job *job)
{
	unsigned long flags;
	bool running;

	spin_lock_irqsave(&line->lock, flags);
	list_add_tail(&job->entry, &line->jobs);
	running = line->running;
	line->running = true;
	spin_unlock_irqrestore(&line->lock, flags);
	if (!running)
		scst_threads_add(threads, &line->job);
}

/* @line: zeroed.  It lives as long as the threads that it is for. */
void scst_line_init(struct scst_line *line)
{
	spin_lock_init(&line->lock);
	INIT_LIST_HEAD(&line->jobs);
	line->job.fn = scst_line_job;
}

/**
 * scst_device_defer() - go on where it may block without harm to other devices
 * @dev: the device; the caller holds a reference to it, or a command that does, until @fn is called
 * @job: not touched any more when @fn is called
 * @fn: runs on a thread of the device's own, with memory allocation limited to GFP_NOIO
 *
 * Any context.
 */
void scst_device_defer(struct scst_device *dev, struct scst_job *job, void (*fn)(struct scst_job *job))
{
	job->fn = fn;
	scst_threads_add(&dev->threads, job);
}
EXPORT_SYMBOL_GPL(scst_device_defer);

int scst_threads_module_init(void)
{
	scst_spawn_wq = alloc_workqueue("scst_spawn", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	return scst_spawn_wq ? 0 : -ENOMEM;
}

/* After scst_threads_stop() of all. */
void scst_threads_module_exit(void)
{
	destroy_workqueue(scst_spawn_wq);
}
