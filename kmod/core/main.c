// SPDX-License-Identifier: GPL-2.0-only
/*
 * scst.ko: module init and exit.
 */
#include "commands.h"

static void scst_workqueues_destroy(void)
{
	if (scst_retire_wq)
		destroy_workqueue(scst_retire_wq);
	if (scst_release_wq)
		destroy_workqueue(scst_release_wq);
	if (scst_cmd_wq)
		destroy_workqueue(scst_cmd_wq);
}

/* What is on its way out waits on a queue of its own, so that it keeps nothing from running. */
static int scst_workqueues_create(void)
{
	scst_cmd_wq = alloc_workqueue("scst", SCST_WQ_PERCPU | WQ_MEM_RECLAIM | WQ_HIGHPRI, 0);
	scst_retire_wq = alloc_workqueue("scst_retire", WQ_UNBOUND, 0);
	scst_release_wq = alloc_workqueue("scst_release", WQ_UNBOUND, 0);
	if (scst_cmd_wq && scst_retire_wq && scst_release_wq)
		return 0;
	scst_workqueues_destroy();
	return -ENOMEM;
}

/* In the order in which they are needed; the exit is the reverse. */
static const struct scst_part {
	int (*init)(void);
	void (*exit)(void);
} scst_parts[] = {
	{ scst_workqueues_create, scst_workqueues_destroy },
	{ scst_soft_init, scst_soft_exit },
	{ scst_threads_module_init, scst_threads_module_exit },
	{ scst_device_module_init, scst_device_module_exit },
	{ scst_data_init, scst_data_exit },
	{ scst_recorder_init, scst_recorder_exit },
	{ scst_tmf_init, scst_tmf_exit },
	{ scst_copy_module_init, scst_copy_module_exit },
	{ scst_sysfs_init, scst_sysfs_exit },
	{ scst_debugfs_init, scst_debugfs_exit },
	{ scst_configfs_init, scst_configfs_exit },
};

static void scst_parts_exit(size_t nr)
{
	while (nr--)
		scst_parts[nr].exit();
}

static int __init scst_init(void)
{
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(scst_parts); i++) {
		ret = scst_parts[i].init();
		if (ret) {
			scst_parts_exit(i);
			return ret;
		}
	}
	return 0;
}

static void __exit scst_exit(void)
{
	scst_parts_exit(ARRAY_SIZE(scst_parts));
	/* Views, nexuses and sets of LUNs are freed after a grace period. */
	rcu_barrier();
}

module_init(scst_init);
module_exit(scst_exit);
MODULE_DESCRIPTION("SCSI target mid-level");
MODULE_LICENSE("GPL");
MODULE_VERSION(SCST_VERSION);
