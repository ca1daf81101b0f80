// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device handler blockio: protection information that the device keeps itself, as far as Linux' block layer tells of it.
 *
 * Each bio that reads or writes blocks has theirs with it.  Reference tags are those of the LUN's blocks: where the disk has other numbers
 * for them, as below a partition, the block layer puts one in the place of the other.  What is written is checked by the host adapter and by
 * the disk.  Of what is read neither checks anything, so that it comes here whatever it is, and the core does: it can tell what is wrong
 * with which block.
 */
#include "blockio.h"
#include <linux/blk-integrity.h>
#include <linux/string.h>
#include "compat.h"

/* The type by the name that the block layer has for it: type 2 has that of type 1, and reference tags like it. */
static u8 blockio_pi_type(const char *name)
{
	if (!strcmp(name, "T10-DIF-TYPE1-CRC"))
		return 1;
	return strcmp(name, "T10-DIF-TYPE3-CRC") ? 0 : 3;
}

/* NULL: the disk has what is wanted. */
static const char *blockio_pi_fault(u8 type, struct blk_integrity *bi, unsigned int size)
{
	if (type == 2)
		return "the block layer knows types 1 and 3 only; a disk of type 2 is one of type 1 to it";
	if (!bi)
		return "the disk has no such information, or its host adapter does not exchange it (DIX)";
	if (blockio_pi_type(blk_integrity_profile_name(bi)) != type)
		return "the disk has another type, or not CRCs for guards";
	if (!(bi->flags & BLK_INTEGRITY_DEVICE_CAPABLE))
		return "only the host adapter has such information, the disk keeps none";
	if (size != 1U << bi->interval_exp)
		return "block_size is not that for which the disk has such information";
	if (bio_integrity_bytes(bi, size >> SECTOR_SHIFT) != SCST_PI_BYTES)
		return "the disk has more than such information with each block";
	return NULL;
}

/**
 * blockio_pi_fits() - does a disk have the protection information that its blocks are to have?
 * @dev: the device
 * @bdev: the disk, open
 * @size: logical block in bytes
 *
 * Process context.  Return: 0, or -EOPNOTSUPP: the kernel log says why.
 */
int blockio_pi_fits(const struct scst_device *dev, struct block_device *bdev, unsigned int size)
{
	struct blk_integrity *bi = bdev_get_integrity(bdev);
	const char *fault;

	if (!dev->protection)
		return 0;
	fault = blockio_pi_fault(dev->protection, bi, size);
	if (!fault)
		return 0;
	pr_warn("%s: protection is %u, but %s (the disk's: %s)\n", dev->name, dev->protection, fault,
		bi ? blk_integrity_profile_name(bi) : "none");
	return -EOPNOTSUPP;
}

/**
 * blockio_pi_submit() - send blocks on their way with their protection information
 * @cmd: the command
 * @bio: all else of it is set; of the device's bio_set
 * @pi: read or written: SCST_PI_BYTES of each block, within a page of kernel memory.  It may be changed by who writes
 *
 * As execute() of struct scst_handler.
 */
void blockio_pi_submit(const struct scst_cmd *cmd, struct bio *bio, void *pi)
{
	u8 shift = cmd->dev->geo.block_shift;
	u64 lba = bio->bi_iter.bi_sector >> (shift - SECTOR_SHIFT);
	u32 len = (bio->bi_iter.bi_size >> shift) * SCST_PI_BYTES;
	bool check = cmd->action == SCST_ACTION_WRITE && !scst_cmd_pi_as_is(cmd);

	int error = scst_bio_integrity(bio, lba, pi, len, check);

	if (error) {
		bio->bi_status = errno_to_blk_status(error);
		bio_endio(bio);
	} else {
		blockio_submit(bio);
	}
}

static void blockio_pi_end_io(struct bio *bio)
{
	struct scst_cmd *cmd = bio->bi_private;
	int error = blk_status_to_errno(bio->bi_status);

	bio_put(bio);
	blockio_done(cmd, error);
}

/* The core has both at hand, in memory of its own. */
static void blockio_pi_move(struct scst_cmd *cmd)
{
	struct blockio_device *bd = to_blockio(cmd->dev);
	struct bio *bio = bio_alloc_bioset(bd->bdev, 1, blockio_opf(cmd), GFP_NOIO, &bd->bios);

	__bio_add_page(bio, sg_page(cmd->data.sgl), cmd->len, cmd->data.sgl->offset);
	bio->bi_iter.bi_sector = cmd->pos >> SECTOR_SHIFT;
	bio->bi_private = cmd;
	bio->bi_end_io = blockio_pi_end_io;
	blockio_pi_submit(cmd, bio, sg_virt(cmd->prot.sgl));
}

/**
 * blockio_pi_rw() - SCST_ACTION_READ and SCST_ACTION_WRITE of a device with protection information
 * @cmd: the command
 *
 * As execute() of struct scst_handler.
 */
void blockio_pi_rw(struct scst_cmd *cmd)
{
	if (scst_cmd_has_pi(cmd))
		blockio_pi_move(cmd);
	else
		blockio_bounce(cmd);
}
