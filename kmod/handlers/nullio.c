// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device handler nullio: reads return zeroes, writes vanish.
 *
 * Nothing here can block, so every command completes in its submitter's context.
 */
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/ktime.h>
#include <linux/log2.h>
#include <linux/module.h>
#include <linux/string.h>
#include "scst.h"

#define NULLIO_BLOCK_SIZE	512

static u32 nullio_block_size(const struct scst_device *dev)
{
	return dev->block_size ?: NULLIO_BLOCK_SIZE;
}

/* Words in a step of the loop that has no string instruction. */
#define NULLIO_STEP		16
#define NULLIO_TRIALS		16

static bool nullio_plain_stores __ro_after_init;

static void nullio_zero_plain(u64 *p, size_t words)
{
	size_t i, j;

	for (i = 0; i < words; i += NULLIO_STEP) {
#pragma GCC unroll 16
		for (j = 0; j < NULLIO_STEP; j++)
			WRITE_ONCE(p[i + j], 0);
	}
}

static void nullio_zero(void *p, size_t len)
{
	if (nullio_plain_stores &&
	    IS_ALIGNED((unsigned long)p | len, NULLIO_STEP * sizeof(u64)))
		nullio_zero_plain(p, len / sizeof(u64));
	else if (IS_ALIGNED((unsigned long)p | len, sizeof(u64)))
		memset64(p, 0, len / sizeof(u64));
	else
		memset(p, 0, len);
}

static u64 __init nullio_time(void *page, bool plain)
{
	u64 best = U64_MAX, start;
	int i;

	nullio_plain_stores = plain;
	for (i = 0; i < NULLIO_TRIALS; i++) {
		preempt_disable();
		start = ktime_get_ns();
		nullio_zero(page, PAGE_SIZE);
		best = min(best, ktime_get_ns() - start);
		preempt_enable();
	}
	return best;
}

/* String instructions are fastest on most processors and slowest on emulated ones: try. */
static int __init nullio_choose_fill(void)
{
	void *page = (void *)__get_free_page(GFP_KERNEL);

	if (!page)
		return -ENOMEM;
	nullio_plain_stores = nullio_time(page, true) < nullio_time(page, false);
	free_page((unsigned long)page);
	return 0;
}

static void nullio_zero_segment(struct page *page, unsigned int offset, unsigned int len)
{
	while (len) {
		unsigned int n = min_t(unsigned int, len, PAGE_SIZE - offset);
		void *p = kmap_local_page(page);

		nullio_zero(p + offset, n);
		kunmap_local(p);
		len -= n;
		offset = 0;
		page++;
	}
}

static void nullio_read_cmd(struct scst_cmd *cmd)
{
	struct scatterlist *sg = cmd->sg;
	u32 left = cmd->len;

	while (left) {
		u32 n = min(left, sg->length);

		nullio_zero_segment(sg_page(sg) + (sg->offset >> PAGE_SHIFT),
				    offset_in_page(sg->offset), n);
		left -= n;
		sg = sg_next(sg);
	}
}

static bool nullio_try_execute(struct scst_cmd *cmd)
{
	if (cmd->action == SCST_ACTION_READ)
		nullio_read_cmd(cmd);
	scst_cmd_done(cmd, 0);
	return true;
}

static void nullio_execute(struct scst_cmd *cmd)
{
	nullio_try_execute(cmd);
}

static int nullio_read(struct scst_device *dev, void *buf, unsigned int len, loff_t pos)
{
	memset(buf, 0, len);
	return 0;
}

static int nullio_check(struct scst_device *dev)
{
	if (!dev->size)
		return -ENODATA;
	return IS_ALIGNED(dev->size, nullio_block_size(dev)) ? 0 : -EINVAL;
}

static int nullio_open(struct scst_device *dev)
{
	dev->block_shift = ilog2(nullio_block_size(dev));
	dev->nblocks = dev->size >> dev->block_shift;
	dev->volatile_cache = false;
	dev->fua = true;
	return 0;
}

static void nullio_close(struct scst_device *dev)
{
}

static const struct scst_handler nullio_handler = {
	.owner		= THIS_MODULE,
	.name		= "nullio",
	.device_size	= sizeof(struct scst_device),
	.flags		= SCST_HANDLER_SIZE_RW | SCST_HANDLER_NO_CACHE | SCST_HANDLER_DIRECT,
	.check		= nullio_check,
	.open		= nullio_open,
	.close		= nullio_close,
	.try_execute	= nullio_try_execute,
	.execute	= nullio_execute,
	.read		= nullio_read,
};

static int __init nullio_init(void)
{
	return nullio_choose_fill() ?: scst_handler_register(&nullio_handler);
}

static void __exit nullio_exit(void)
{
	scst_handler_unregister(&nullio_handler);
}

module_init(nullio_init);
module_exit(nullio_exit);

MODULE_DESCRIPTION("SCSI target device handler: null device");
MODULE_LICENSE("GPL");
MODULE_ALIAS("scst-handler-nullio");
