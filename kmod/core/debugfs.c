// SPDX-License-Identifier: GPL-2.0-only
/*
 * /sys/kernel/debug/scst: for people who look for a fault, and for tests.
 *
 * commands     what is in flight (inflight.c), which `scstadmin sessions --commands` reads as well
 * latency      how long commands take, while that is measured
 * recorder     what was slow, and what failed (recorder.c), which `scstadmin recorder` reads as well
 * objects      how many of each kind are alive
 * fail_commit  N: the Nth step of the next publication that can fail does fail; 0: none
 */
#include "core.h"
#include <linux/debugfs.h>
#include <linux/seq_file.h>

atomic_t scst_objects[SCST_OBJ_NR];

static const char *const scst_object_names[SCST_OBJ_NR] = {
	[SCST_OBJ_DEVICES]	= "devices",
	[SCST_OBJ_TARGETS]	= "targets",
	[SCST_OBJ_SESSIONS]	= "sessions",
	[SCST_OBJ_NEXUSES]	= "nexuses",
	[SCST_OBJ_VIEWS]	= "views",
	[SCST_OBJ_LUNSETS]	= "lunsets",
	[SCST_OBJ_ACCESSES]	= "accesses",
};

static struct dentry *scst_debugfs;
static u32 scst_fail_commit;	/* armed */
static u32 scst_fail_countdown;	/* in what is going on, under scst_config_mutex */

static int scst_objects_show(struct seq_file *m, void *unused)
{
	int i;

	for (i = 0; i < SCST_OBJ_NR; i++)
		seq_printf(m, "%s %d\n", scst_object_names[i], atomic_read(&scst_objects[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(scst_objects);

/* A publication or a login begins: the armed fault, if any, is for this one alone. */
void scst_fault_commit_begin(void)
{
	scst_fail_countdown = xchg(&scst_fail_commit, 0);
}

void scst_fault_commit_end(void)
{
	scst_fail_countdown = 0;
}

/* One step that can fail.  Under scst_config_mutex. */
bool scst_fault_commit(void)
{
	return scst_fail_countdown && !--scst_fail_countdown;
}

int scst_debugfs_init(void)
{
	scst_debugfs = debugfs_create_dir("scst", NULL);
	debugfs_create_file("commands", 0400, scst_debugfs, NULL, &scst_inflight_fops);
	debugfs_create_file("latency", 0400, scst_debugfs, NULL, &scst_latency_fops);
	debugfs_create_file("recorder", 0400, scst_debugfs, NULL, &scst_recorder_fops);
	debugfs_create_file("objects", 0444, scst_debugfs, NULL, &scst_objects_fops);
	debugfs_create_u32("fail_commit", 0600, scst_debugfs, &scst_fail_commit);
	return 0;
}

void scst_debugfs_exit(void)
{
	debugfs_remove_recursive(scst_debugfs);
}
