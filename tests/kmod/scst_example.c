// SPDX-License-Identifier: GPL-2.0-only
/*
 * The smallest target driver, for reading beside docs/target-drivers.md: one initiator, "example", is logged in while the
 * target is enabled.  Writing "CDB [BYTE]" to the parameter `command` sends a command to LUN 0, with data-out full of BYTE.
 */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include "scst_target.h"
#include "compat.h"

#define EXAMPLE_LEN	4096	/* what the initiator offers or expects */
/* A command of the transport holds the core's. */
struct example_cmd {
	struct scst_cmd cmd;
	u8 cdb[SCST_MAX_CDB];
	u8 sense[SCST_SENSE_SIZE];
	u8 data[EXAMPLE_LEN];
	u8 fill, status;
	struct completion released;
};
#define example_of(c)	container_of(c, struct example_cmd, cmd)

static DEFINE_MUTEX(example_one);	/* one command at a time */
static DEFINE_MUTEX(example_mutex);	/* the session: nothing is submitted to one that is closed */
static struct scst_session *example_session;
static struct example_cmd example_cmd;
/* So much data, into this memory.  A real driver would start a transfer and return. */
static int example_receive_data(struct scst_cmd *cmd)
{
	struct example_cmd *ec = example_of(cmd);

	memset(ec->data, ec->fill, EXAMPLE_LEN);
	sg_copy_from_buffer(cmd->data.sgl, cmd->data.nents, ec->data, cmd->len);
	scst_data_received(cmd, 0, cmd->ctx);
	return 0;
}

/* The answer.  A real driver would send it, and call scst_cmd_sent() when it is out. */
static int example_send_response(struct scst_cmd *cmd)
{
	struct example_cmd *ec = example_of(cmd);

	ec->status = cmd->status;
	if (cmd->dir == DMA_FROM_DEVICE && cmd->len)
		sg_copy_to_buffer(cmd->data.sgl, cmd->data.nents, ec->data, cmd->len);
	scst_cmd_sent(cmd);
	return 0;
}

/* The command's memory is ours again. */
static void example_release(struct scst_cmd *cmd)
{
	complete(&example_of(cmd)->released);
}

/* This initiator never asks for task management, and nothing is kept for its session. */
static void example_tmf_done(struct scst_tmf *tmf) { }
static void example_session_gone(struct scst_session *sess) { }
static int example_enable(struct scst_target *tgt)
{
	struct scst_session *sess;

	if (example_session)
		return -EBUSY;
	sess = scst_session_register(tgt, "example", NULL, NULL, NULL);
	example_session = IS_ERR(sess) ? NULL : sess;
	return PTR_ERR_OR_ZERO(sess);
}

static void example_disable(struct scst_target *tgt)
{
	mutex_lock(&example_mutex);
	scst_session_close(example_session);
	example_session = NULL;
	mutex_unlock(&example_mutex);
}

static const struct scst_target_driver example_driver = {
	.owner		= THIS_MODULE,
	.name		= "example",
	.protocol	= SCST_PROTOCOL_NONE,
	.target_size	= sizeof(struct scst_target),
	.enable		= example_enable,
	.disable	= example_disable,
	.receive_data	= example_receive_data,
	.send_response	= example_send_response,
	.release	= example_release,
	.tmf_done	= example_tmf_done,
	.session_gone	= example_session_gone,
};

/* A command has arrived; under example_mutex. */
static void example_submit(struct example_cmd *ec, u8 cdb_len, enum dma_data_direction dir)
{
	struct scst_cmd *cmd = &ec->cmd;

	init_completion(&ec->released);
	scst_cmd_init(cmd, example_session);
	cmd->cdb = ec->cdb;
	cmd->cdb_len = cdb_len;
	cmd->sense = ec->sense;
	cmd->tag = cmd->lun = 0;
	cmd->dir = dir;
	cmd->expected_len = EXAMPLE_LEN;
	cmd->ctx = SCST_CTX_TASK;
	scst_cmd_submit(cmd);
}

static int example_set(const char *text, const struct kernel_param *param)
{
	struct example_cmd *ec = &example_cmd;
	char hex[2 * SCST_MAX_CDB + 1];
	unsigned int fill = 0;
	int words = sscanf(text, "%64s %x", hex, &fill), ret = -ENOTCONN;

	if (words < 1 || strlen(hex) < 12)
		return -EINVAL;
	mutex_lock(&example_one);
	ec->fill = fill;
	mutex_lock(&example_mutex);
	if (example_session)
		ret = hex2bin(ec->cdb, hex, strlen(hex) / 2);
	if (!ret)
		example_submit(ec, strlen(hex) / 2, words > 1 ? DMA_TO_DEVICE : DMA_FROM_DEVICE);
	mutex_unlock(&example_mutex);
	if (!ret)
		wait_for_completion(&ec->released);
	mutex_unlock(&example_one);
	return ret;
}

static int example_get(char *page, const struct kernel_param *param)
{
	return sprintf(page, "status %02x sense %18phN data %32phN\n", example_cmd.status, example_cmd.sense,
		       example_cmd.data);
}
static const struct kernel_param_ops example_ops = { .set = example_set, .get = example_get };
module_param_cb(command, &example_ops, NULL, 0600);
static int __init example_init(void)
{
	return scst_target_driver_register(&example_driver);
}
static void __exit example_exit(void)
{
	scst_target_driver_unregister(&example_driver);
}
module_init(example_init);
module_exit(example_exit);
MODULE_DESCRIPTION("SCST target driver to read");
MODULE_LICENSE("GPL");
