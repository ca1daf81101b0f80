// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device handler nullio: reads return zeroes, writes vanish.
 *
 * Nothing here can block, so every command completes in its submitter's context.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/gfp.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include "scst_handler.h"
#include "compat.h"

#define NULLIO_BLOCK_SIZE	512
#define NULLIO_SOFTIRQ_MAX	SZ_64K

/* What is lent: the same piece of zeroes as often as a command needs it. */
#define NULLIO_ZEROES		SZ_64K
#define NULLIO_LENT		(SCST_CMD_PRIVATE / sizeof(struct scatterlist))

/* Each CPU has its own: who sends them by reference counts his references in them. */
static DEFINE_PER_CPU(struct page *, nullio_zeroes);

static u32 nullio_block_size(const struct scst_device *dev)
{
	return dev->block_size ?: NULLIO_BLOCK_SIZE;
}

/* SCST runs on 64-bit kernels, where all memory is mapped and a segment is one piece. */
static void nullio_read(struct scst_cmd *cmd)
{
	struct scatterlist *sg = cmd->data.sgl;
	u32 left = cmd->len;

	while (left) {
		u32 n = min(left, sg->length);

		memset(sg_virt(sg), 0, n);
		left -= n;
		if (left)
			sg = sg_next(sg);
	}
}

/* None is kept: there is what zeroes have. */
static void nullio_pi(struct scst_cmd *cmd)
{
	u8 shift = cmd->dev->geo.block_shift;

	scst_pi_make(cmd->dev, cmd->pos >> shift, sg_virt(cmd->data.sgl), sg_virt(cmd->prot.sgl), cmd->len >> shift);
}

static void nullio_execute(struct scst_cmd *cmd)
{
	int error = 0;

	if (cmd->action == SCST_ACTION_READ) {
		nullio_read(cmd);
		if (unlikely(scst_cmd_has_pi(cmd)))
			nullio_pi(cmd);
	} else if (unlikely(cmd->action == SCST_ACTION_CDB)) {
		error = -EOPNOTSUPP;
	}
	scst_cmd_done(cmd, error);
}

static bool nullio_try_execute(struct scst_cmd *cmd)
{
	if (unlikely(cmd->len > NULLIO_SOFTIRQ_MAX) && cmd->action == SCST_ACTION_READ && !in_task())
		return false;
	nullio_execute(cmd);
	return true;
}

/* There is nothing to take back: the zeroes live as long as this module, or as a driver's references to them. */
static bool nullio_lend(struct scst_cmd *cmd)
{
	struct scatterlist *sgl = scst_cmd_private(cmd);
	unsigned int nents = DIV_ROUND_UP(cmd->len, NULLIO_ZEROES), i;
	struct page *zeroes = raw_cpu_read(nullio_zeroes);

	if (!nents || nents > NULLIO_LENT)
		return false;
	sg_init_table(sgl, nents);
	for (i = 0; i < nents; i++)
		sg_set_page(&sgl[i], zeroes, min_t(u32, cmd->len - i * NULLIO_ZEROES, NULLIO_ZEROES), 0);
	cmd->data = (struct scst_data) {
		.sgl		= sgl,
		.nents		= nents,
		.len		= cmd->len,
		.owner		= SCST_DATA_HANDLER,
		.read_only	= true,
	};
	return true;
}

static void nullio_unlend(struct scst_cmd *cmd)
{
}

static bool nullio_write_cache(const struct scst_device *dev)
{
	return false;
}

static int nullio_check(struct scst_device *dev)
{
	u32 block_size = nullio_block_size(dev);

	if (!dev->size)
		return -ENODATA;
	if (IS_ALIGNED(dev->size, block_size))
		return 0;
	pr_warn("%s: size %llu is not a multiple of block_size %u\n", dev->name, dev->size, block_size);
	return -EINVAL;
}

static int nullio_open(struct scst_device *dev, const struct scst_opening *opening)
{
	u8 shift = ilog2(nullio_block_size(dev));

	dev->geo = (struct scst_geometry) {
		.nblocks	= dev->size >> shift,
		.block_shift	= shift,
	};
	dev->fua = true;
	return 0;
}

static int nullio_close(struct scst_device *dev)
{
	return 0;
}

static const struct scst_handler nullio_handler = {
	.owner		= THIS_MODULE,
	.name		= "nullio",
	.device_size	= sizeof(struct scst_device),
	.flags		= SCST_HANDLER_SIZE_RW | SCST_HANDLER_NO_CACHE | SCST_HANDLER_DIRECT | SCST_HANDLER_FORGETS |
			  SCST_HANDLER_PROTECTION,
	.check		= nullio_check,
	.open		= nullio_open,
	.close		= nullio_close,
	.try_execute	= nullio_try_execute,
	.execute	= nullio_execute,
	.lend		= nullio_lend,
	.unlend		= nullio_unlend,
	.write_cache	= nullio_write_cache,
};

/* Who has sent them by reference may still have them. */
static void nullio_zeroes_free(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		if (per_cpu(nullio_zeroes, cpu))
			put_page(per_cpu(nullio_zeroes, cpu));
}

static int nullio_zeroes_alloc(void)
{
	gfp_t gfp = GFP_KERNEL | __GFP_COMP | __GFP_ZERO;
	struct page *page;
	int cpu;

	for_each_possible_cpu(cpu) {
		page = alloc_pages_node(cpu_to_node(cpu), gfp, get_order(NULLIO_ZEROES));
		if (!page)
			return -ENOMEM;
		per_cpu(nullio_zeroes, cpu) = page;
	}
	return 0;
}

static int __init nullio_init(void)
{
	int ret = nullio_zeroes_alloc();

	if (!ret)
		ret = scst_handler_register(&nullio_handler);
	if (ret)
		nullio_zeroes_free();
	return ret;
}

static void __exit nullio_exit(void)
{
	scst_handler_unregister(&nullio_handler);
	nullio_zeroes_free();
}

module_init(nullio_init);
module_exit(nullio_exit);

MODULE_DESCRIPTION("SCSI target device handler: null device");
MODULE_LICENSE("GPL");
MODULE_ALIAS("scst-handler-nullio");
