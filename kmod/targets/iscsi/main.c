// SPDX-License-Identifier: GPL-2.0-only
/*
 * Target driver iscsi: its configuration.  Nobody can log in yet.
 */
#include "config.h"
#include <linux/module.h>

static atomic_t iscsi_changes = ATOMIC_INIT(0);

void iscsi_config_changed(void)
{
	atomic_inc(&iscsi_changes);
}

static int iscsi_init_target(struct scst_target *tgt)
{
	return iscsi_target_config_init(iscsi_target_of(tgt));
}

static void iscsi_free_target(struct scst_target *tgt)
{
	iscsi_target_config_free(iscsi_target_of(tgt));
}

static int iscsi_enable(struct scst_target *tgt)
{
	iscsi_config_changed();
	return 0;
}

static void iscsi_disable(struct scst_target *tgt)
{
	iscsi_config_changed();
}

/* There is no session, and so no command. */
static int iscsi_receive_data(struct scst_cmd *cmd)
{
	scst_data_received(cmd, -ECANCELED, SCST_CTX_TASK);
	return 0;
}

static int iscsi_send_response(struct scst_cmd *cmd)
{
	scst_cmd_sent(cmd);
	return 0;
}

static void iscsi_release(struct scst_cmd *cmd)
{
}

static void iscsi_tmf_done(struct scst_tmf *tmf)
{
}

static void iscsi_session_gone(struct scst_session *sess)
{
}

static const struct scst_target_driver iscsi_driver = {
	.owner		= THIS_MODULE,
	.name		= "iscsi",
	.protocol	= SCST_PROTOCOL_ISCSI,
	.target_size	= sizeof(struct iscsi_target),
	.target_attrs	= iscsi_target_attrs,
	.driver_group	= &iscsi_driver_group,
	.init		= iscsi_init_target,
	.free		= iscsi_free_target,
	.enable		= iscsi_enable,
	.disable	= iscsi_disable,
	.receive_data	= iscsi_receive_data,
	.send_response	= iscsi_send_response,
	.release	= iscsi_release,
	.tmf_done	= iscsi_tmf_done,
	.session_gone	= iscsi_session_gone,
};

static int __init iscsi_init(void)
{
	iscsi_driver_group_init();
	return scst_target_driver_register(&iscsi_driver);
}

static void __exit iscsi_exit(void)
{
	scst_target_driver_unregister(&iscsi_driver);
}

module_init(iscsi_init);
module_exit(iscsi_exit);
MODULE_DESCRIPTION("SCSI target driver: iSCSI");
MODULE_LICENSE("GPL");
MODULE_ALIAS("scst-target-iscsi");
