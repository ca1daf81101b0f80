// SPDX-License-Identifier: GPL-2.0-only
/*
 * scst.ko: module init and exit.
 */
#include "core.h"

static void scst_workqueues_destroy(void)
{
	if (scst_tmf_wq)
		destroy_workqueue(scst_tmf_wq);
	if (scst_retire_wq)
		destroy_workqueue(scst_retire_wq);
	if (scst_release_wq)
		destroy_workqueue(scst_release_wq);
	if (scst_cmd_wq)
		destroy_workqueue(scst_cmd_wq);
}

/* Commands of devices without a queue of their own; task management and what is on its way out wait elsewhere. */
static int scst_workqueues_create(void)
{
	scst_cmd_wq = alloc_workqueue("scst", SCST_WQ_PERCPU | WQ_MEM_RECLAIM, 0);
	scst_retire_wq = alloc_workqueue("scst_retire", WQ_UNBOUND, 0);
	scst_tmf_wq = alloc_workqueue("scst_tmf", WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	scst_release_wq = alloc_workqueue("scst_release", WQ_UNBOUND, 0);
	if (scst_cmd_wq && scst_retire_wq && scst_tmf_wq && scst_release_wq)
		return 0;
	scst_workqueues_destroy();
	return -ENOMEM;
}

static int __init scst_init(void)
{
	int ret = scst_workqueues_create();

	if (ret)
		return ret;
	ret = scst_sysfs_init();
	if (ret)
		goto out_workqueues;
	scst_debugfs_init();
	ret = scst_configfs_init();
	if (ret)
		goto out_debugfs;
	return 0;

out_debugfs:
	scst_debugfs_exit();
	scst_sysfs_exit();
out_workqueues:
	scst_workqueues_destroy();
	return ret;
}

static void __exit scst_exit(void)
{
	scst_configfs_exit();
	/* Targets and groups are freed by work that their directories left behind. */
	scst_retire_flush();
	scst_debugfs_exit();
	scst_sysfs_exit();
	scst_workqueues_destroy();
	/* Views are freed after a grace period. */
	rcu_barrier();
}

module_init(scst_init);
module_exit(scst_exit);
MODULE_DESCRIPTION("SCSI target mid-level");
MODULE_LICENSE("GPL");
MODULE_VERSION(SCST_VERSION);
