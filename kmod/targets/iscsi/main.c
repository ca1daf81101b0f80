// SPDX-License-Identifier: GPL-2.0-only
/*
 * The driver's table, and the module.
 */
#include "iscsi.h"
#include <linux/module.h>

struct workqueue_struct *iscsi_wq;

static const struct scst_target_driver iscsi_driver = {
	.owner		= THIS_MODULE,
	.name		= "iscsi",
	.protocol	= SCST_PROTOCOL_ISCSI,
	.tells_overrun	= true,
	.target_size	= sizeof(struct iscsi_target),
	.target_attrs	= iscsi_target_attrs,
	.session_groups	= iscsi_session_groups,
	.driver_group	= &iscsi_driver_group,
	.init		= iscsi_target_init,
	.free		= iscsi_target_free,
	.enable		= iscsi_enable,
	.disable	= iscsi_disable,
	.receive_data	= iscsi_receive_data,
	.send_response	= iscsi_send_response,
	.release	= iscsi_release,
	.abort		= iscsi_abort,
	.tmf_done	= iscsi_tmf_done,
	.session_gone	= iscsi_session_gone,
	.luns_changed	= iscsi_luns_changed,
};

static int __init iscsi_module_init(void)
{
	int ret = iscsi_room_init();

	if (ret)
		return ret;
	ret = iscsi_reqs_init();
	if (ret)
		goto out_room;
	ret = -ENOMEM;
	iscsi_wq = alloc_workqueue("scst_iscsi", WQ_MEM_RECLAIM | WQ_HIGHPRI | SCST_WQ_PERCPU, 0);
	if (!iscsi_wq)
		goto out_reqs;
	iscsi_driver_group_init();
	ret = scst_target_driver_register(&iscsi_driver);
	if (ret)
		goto out_wq;
	ret = iscsi_device_init();
	if (!ret)
		return 0;
	scst_target_driver_unregister(&iscsi_driver);
out_wq:
	destroy_workqueue(iscsi_wq);
out_reqs:
	iscsi_reqs_exit();
out_room:
	iscsi_room_exit();
	return ret;
}

static void __exit iscsi_module_exit(void)
{
	iscsi_device_exit();
	scst_target_driver_unregister(&iscsi_driver);
	/* The last connections' memory. */
	rcu_barrier();
	destroy_workqueue(iscsi_wq);
	iscsi_reqs_exit();
	iscsi_room_exit();
}

module_init(iscsi_module_init);
module_exit(iscsi_module_exit);
MODULE_DESCRIPTION("SCSI target over iSCSI: the full-feature phase");
MODULE_LICENSE("GPL");
MODULE_ALIAS("scst-target-iscsi");
