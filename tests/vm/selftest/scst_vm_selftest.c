// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does on request what a test run must notice: a warning, an oops, or a task
 * that waits for ever. Proves that the test loop fails when the kernel does.
 */
#include <linux/bug.h>
#include <linux/completion.h>
#include <linux/module.h>
#include <linux/string.h>

static char *action = "none";
module_param(action, charp, 0444);
MODULE_PARM_DESC(action, "none, warn, oops or hang");

static int __init selftest_init(void)
{
	DECLARE_COMPLETION_ONSTACK(never);

	if (!strcmp(action, "warn"))
		WARN(1, "requested warning\n");
	else if (!strcmp(action, "oops"))
		BUG();
	else if (!strcmp(action, "hang"))
		wait_for_completion(&never);
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
