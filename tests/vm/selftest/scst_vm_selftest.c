// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does on request what a test run must notice: a warning, an oops, a task
 * that waits for ever, a CPU that does nothing else, or a machine that is silent. Proves that the test loop fails
 * when the kernel does.
 */
#include <linux/bug.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/stop_machine.h>
#include <linux/string.h>

static char *action = "none";
module_param(action, charp, 0444);
MODULE_PARM_DESC(action, "none, warn, oops, hang, spin or silence");

/* Much longer than twice the second that the test sets as watchdog_thresh. */
static void __init spin(void)
{
	int i;

	preempt_disable();
	for (i = 0; i < 100; i++)
		mdelay(100);
	preempt_enable();
}

/* On every CPU, with interrupts off. */
static int silence(void *unused)
{
	for (;;)
		cpu_relax();
	return 0;
}

static int __init selftest_init(void)
{
	DECLARE_COMPLETION_ONSTACK(never);

	if (!strcmp(action, "warn"))
		WARN(1, "requested warning\n");
	else if (!strcmp(action, "oops"))
		BUG();
	else if (!strcmp(action, "hang"))
		wait_for_completion(&never);
	else if (!strcmp(action, "spin"))
		spin();
	else if (!strcmp(action, "silence"))
		stop_machine(silence, NULL, cpu_online_mask);
	else if (strcmp(action, "none"))
		return -EINVAL;
	return 0;
}

static void __exit selftest_exit(void)
{
}

module_init(selftest_init);
module_exit(selftest_exit);
MODULE_DESCRIPTION("Self-test of the test loop");
MODULE_LICENSE("GPL");
