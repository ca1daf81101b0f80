// SPDX-License-Identifier: GPL-2.0-only
/*
 * The smallest target driver, for reading beside docs/target-drivers.md: one initiator, "example", is logged in while the
 * target is enabled.  Writing "CDB [BYTE]" (hexadecimal) to the module's parameter `command` makes it send a command to
 * LUN 0, with data-out full of BYTE if there is one; reading gives the answer.
 */
#include <linux/completion.h>
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
	u8 fill;
	u8 status;
	struct completion released;
};

static DEFINE_MUTEX(example_mutex);	/* one command at a time; the session */
static struct scst_session *example_session;
static struct example_cmd example_cmd;

/* The core says: this much data, into this memory.  A real driver would start a transfer and return. */
static int example_receive_data(struct scst_cmd *cmd)
{
	struct example_cmd *ec = container_of(cmd, struct example_cmd, cmd);

	memset(ec->data, ec->fill, EXAMPLE_LEN);
	sg_copy_from_buffer(cmd->data.sgl, cmd->data.nents, ec->data, cmd->len);
	scst_data_received(cmd, 0, cmd->ctx);
	return 0;
}

/* The core says: this is the answer.  A real driver would send it, and call scst_cmd_sent() when it is out. */
static int example_send_response(struct scst_cmd *cmd)
{
	struct example_cmd *ec = container_of(cmd, struct example_cmd, cmd);

	ec->status = cmd->status;
	if (cmd->dir == DMA_FROM_DEVICE && cmd->len)
		sg_copy_to_buffer(cmd->data.sgl, cmd->data.nents, ec->data, cmd->len);
	scst_cmd_sent(cmd);
	return 0;
}

/* The core says: the command's memory is yours again. */
static void example_release(struct scst_cmd *cmd)
{
	complete(&container_of(cmd, struct example_cmd, cmd)->released);
}

/* This initiator never asks. */
static void example_tmf_done(struct scst_tmf *tmf)
{
}

/* Nothing was kept for it. */
static void example_session_gone(struct scst_session *sess)
{
}

static int example_enable(struct scst_target *tgt)
{
	struct scst_session *sess = scst_session_register(tgt, "example", NULL, NULL);

	if (IS_ERR(sess))
		return PTR_ERR(sess);
	WRITE_ONCE(example_session, sess);
	return 0;
}

static void example_disable(struct scst_target *tgt)
{
	mutex_lock(&example_mutex);
	scst_session_close(example_session);
	example_session = NULL;
	mutex_unlock(&example_mutex);
}

/* A second target would need an initiator of its own. */
static int example_init_target(struct scst_target *tgt)
{
	return strcmp(tgt->name, "only") ? -EINVAL : 0;
}

static const struct scst_target_driver example_driver = {
	.owner		= THIS_MODULE,
	.name		= "example",
	.protocol	= SCST_PROTOCOL_NONE,
	.target_size	= sizeof(struct scst_target),
	.init		= example_init_target,
	.enable		= example_enable,
	.disable	= example_disable,
	.receive_data	= example_receive_data,
	.send_response	= example_send_response,
	.release	= example_release,
	.tmf_done	= example_tmf_done,
	.session_gone	= example_session_gone,
};

/* A command has arrived.  Under example_mutex, so that the session stays open until it is submitted. */
static void example_run(struct example_cmd *ec, u8 cdb_len, enum dma_data_direction dir)
{
	struct scst_cmd *cmd = &ec->cmd;

	init_completion(&ec->released);
	scst_cmd_init(cmd, example_session);
	cmd->cdb = ec->cdb;
	cmd->cdb_len = cdb_len;
	cmd->sense = ec->sense;
	cmd->tag = 1;
	cmd->lun = 0;
	cmd->dir = dir;
	cmd->expected_len = EXAMPLE_LEN;
	cmd->ctx = SCST_CTX_TASK;
	scst_cmd_submit(cmd);
	wait_for_completion(&ec->released);
}

static int example_set(const char *text, const struct kernel_param *param)
{
	struct example_cmd *ec = &example_cmd;
	char hex[2 * SCST_MAX_CDB + 1];
	unsigned int fill = 0;
	int words = sscanf(text, "%64s %x", hex, &fill), ret = 0;

	if (words < 1 || strlen(hex) < 12)
		return -EINVAL;
	mutex_lock(&example_mutex);
	ec->fill = fill;
	if (!example_session)
		ret = -ENOTCONN;
	else if (hex2bin(ec->cdb, hex, strlen(hex) / 2))
		ret = -EINVAL;
	else
		example_run(ec, strlen(hex) / 2, words > 1 ? DMA_TO_DEVICE : DMA_FROM_DEVICE);
	mutex_unlock(&example_mutex);
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
