/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How many commands an initiator can have outstanding.
 *
 * The block layer makes memory for all of them when the initiator logs in, for each hardware queue, and there is
 * one of those per possible CPU.  On 6.1 a command is about 1,200 bytes (request 272, SCSI command 296, two entries of
 * a scatterlist, the rest ours), cut out of chunks of a power of two of at most 64 KiB, and 128 bytes of sense data.
 * What belongs to a host besides is some 120 KiB, a third of it the stacks of three threads.  Includes nothing: a unit
 * test computes with it, too.
 */
#ifndef SCST_LOCAL_QUEUE_H
#define SCST_LOCAL_QUEUE_H

#define LOCAL_CMDS		3072	/* of an initiator, on any machine that is large enough */
#define LOCAL_QUEUE_MAX		64	/* of a hardware queue: 2 of them in 300 KiB with all that belongs to a host */
#define LOCAL_QUEUE_MIN		26	/* ... 128 of them in 8 MB: one more, and a queue takes 64 KiB instead of 32 */
#define LOCAL_CMD_PER_LUN	128	/* by whichever queues */

/* Commands per hardware queue, where there is one for each of @cpus CPUs. */
static inline unsigned int local_can_queue(unsigned int cpus)
{
	unsigned int depth = LOCAL_CMDS / cpus;

	if (depth > LOCAL_QUEUE_MAX)
		return LOCAL_QUEUE_MAX;
	return depth < LOCAL_QUEUE_MIN ? LOCAL_QUEUE_MIN : depth;
}

#endif /* SCST_LOCAL_QUEUE_H */
