// SPDX-License-Identifier: GPL-2.0-only
/*
 * The SCSI devices of an initiator, kept in step with the LUNs it sees.
 *
 * The host's thread looks, and never waits for a LUN: LUNs that are new are scanned for one by one, which takes no
 * command to any other; what has to be done to a device that is there runs in a thread of its own, one at a
 * time for each device.
 *
 * sdev->hostdata is one word: what stood behind the LUN when it was found, and the bits below.
 */
#include "local.h"
#include <linux/bitmap.h>
#include <linux/blk-mq.h>

enum local_lun_bit {
	LOCAL_LUN_BUSY,			/* looked at, or has a thread */
	LOCAL_LUN_AGAIN,		/* look again when the thread has ended */
	LOCAL_LUN_STALE,		/* a command was told that what the disk driver knows may be wrong */
	LOCAL_LUN_BITS,
};

#define LOCAL_TUR_TIMEOUT	(30 * HZ)
#define LOCAL_DRAIN_LOOK	(HZ / 20)
#define LOCAL_TUR_RETRIES	8	/* more than there are kinds of unit attentions that say something is new */

/*
 * The SCSI layer's number is the LUN structure read as integers: from 256 on it holds the addressing method
 * as well, and looks like 16640 for LUN 256.
 */
u32 local_lun_far(u64 lun)
{
	struct scsi_lun address;

	int_to_scsilun(lun, &address);
	return scst_lun_unpack(address.scsi_lun);
}

static unsigned long *local_lun_word(struct scsi_device *sdev)
{
	return (unsigned long *)&sdev->hostdata;
}

/* A device is found: remember what is behind its LUN. */
void local_lun_begin(struct scsi_device *sdev, u64 cookie)
{
	*local_lun_word(sdev) = cookie << LOCAL_LUN_BITS;
}

static bool local_lun_moved(struct local_login *login, struct scsi_device *sdev)
{
	unsigned long cookie = scst_session_lun_cookie(login->sess, local_lun(sdev));

	return (cookie << LOCAL_LUN_BITS ^ READ_ONCE(*local_lun_word(sdev))) >> LOCAL_LUN_BITS;
}

static bool local_lun_ready(struct local_login *login, struct scsi_device *sdev)
{
	return scst_session_lun_ready(login->sess, local_lun(sdev));
}

/* --- what commands are told -------------------------------------------------------------------------- */

static bool local_sense_not_ready(const struct scsi_sense_hdr *sense)
{
	return sense->sense_key == NOT_READY && sense->asc == 0x04;
}

/* Has a disk driver that looks at the unit taken it for one of size 0?  A parked one, or one that its port can't reach now. */
static bool local_size_missed(const struct scsi_sense_hdr *sense, const struct scst_cmd *cmd)
{
	return local_sense_not_ready(sense) &&
	       (sense->ascq == 0x01 || cmd->cdb[0] == READ_CAPACITY || cmd->cdb[0] == SERVICE_ACTION_IN_16);
}

/*
 * Became ready, capacity changed, INQUIRY data changed; or the list of LUNs, which one LUN tells for all, and which
 * may hide another of these.
 */
static bool local_sense_changed(const struct scsi_sense_hdr *sense)
{
	return sense->sense_key == UNIT_ATTENTION &&
	       (sense->asc == 0x28 || (sense->asc == 0x2a && sense->ascq == 0x09) ||
		(sense->asc == 0x3f && (sense->ascq == 0x03 || sense->ascq == 0x0e)));
}

/*
 * A command ends in CHECK CONDITION; any context.  Who has missed the size has to look once more when the unit is back, and the
 * news of that will come by local_look().
 */
void local_lun_news(struct scsi_device *sdev, const struct scst_cmd *cmd)
{
	struct scsi_sense_hdr sense;

	if (!scsi_normalize_sense(cmd->sense, cmd->sense_len, &sense))
		return;
	if (local_size_missed(&sense, cmd)) {
		set_bit(LOCAL_LUN_STALE, local_lun_word(sdev));
	} else if (local_sense_changed(&sense)) {
		set_bit(LOCAL_LUN_STALE, local_lun_word(sdev));
		local_ask(local_login_of(sdev->host)->host, LOCAL_LOOK);
	}
}

/*
 * Have a LUN tell its unit attentions, without waiting for anything.  One that has no room for a command has
 * commands of its own to tell them to.
 */
static void local_poke(struct scsi_device *sdev)
{
	struct request *rq = scsi_alloc_request(sdev->request_queue, REQ_OP_DRV_IN, BLK_MQ_REQ_NOWAIT);
	struct scsi_cmnd *scmd;

	if (IS_ERR(rq))
		return;
	scmd = blk_mq_rq_to_pdu(rq);
	scmd->cmnd[0] = TEST_UNIT_READY;
	scmd->cmd_len = COMMAND_SIZE(TEST_UNIT_READY);
	scmd->allowed = 0;
	blk_execute_rq_nowait(rq, false);
}

/* --- threads of LUNs: they may hang with theirs -------------------------------------------------------- */

struct local_older {
	const struct scsi_device *sdev;
	unsigned long since;
	bool found;
};

static bool local_is_older(struct scsi_cmnd *scmd, void *arg)
{
	struct local_older *older = arg;

	if (!older->sdev || scmd->device == older->sdev)
		older->found |= time_before_eq(scmd->jiffies_at_alloc, older->since);
	return !older->found;
}

/**
 * local_drain() - wait until the commands that there are have come back
 * @shost: the host
 * @sdev: of which device, NULL: of all
 *
 * May be for ever.  The SCSI layer waits for them when it removes a device, too, but uninterruptibly, which hung-task
 * detection takes for a fault of the kernel's.  Commands that come meanwhile are not waited for: there may always be some.
 */
void local_drain(struct Scsi_Host *shost, const struct scsi_device *sdev)
{
	struct local_older older = { .sdev = sdev, .since = jiffies };

	for (;;) {
		older.found = false;
		scsi_host_busy_iter(shost, local_is_older, &older);
		if (!older.found)
			break;
		schedule_timeout_idle(LOCAL_DRAIN_LOOK);
	}
}

/*
 * From here on commands are refused where they begin, and none that was on its way before is still to begin.  They
 * must not wait instead, as in a quiesced device: who rescans it waits with the lock that its removal takes.
 */
static void local_lun_refuse(struct scsi_device *sdev)
{
	mutex_lock(&sdev->state_mutex);
	scsi_device_set_state(sdev, SDEV_OFFLINE);
	mutex_unlock(&sdev->state_mutex);
	blk_mq_quiesce_queue(sdev->request_queue);
	blk_mq_unquiesce_queue(sdev->request_queue);
}

/*
 * scsi_remove_device() waits for commands with the lock held that scanning the host takes, and no other function
 * removes a device.  So nothing is left to wait for when it is called: the driver has gone, which ends the disk's
 * commands, no others can come, and those of others than the driver are over.  If the host is being removed, so is
 * the device.
 */
static void local_lun_remove(struct local_login *login, struct scsi_device *sdev)
{
	local_drain(sdev->host, sdev);
	if (!local_unbind_begin(login))
		return;
	device_release_driver(&sdev->sdev_gendev);
	local_unbind_end(login);
	local_lun_refuse(sdev);
	local_drain(sdev->host, sdev);
	scsi_remove_device(sdev);
}

/*
 * Found while it was parked, a device has no disk driver: the bus matches none to a peripheral qualifier of 001b,
 * and reads that once.  There is no function to have it read again; to remove the device and find it anew would
 * take it away from whoever has it open.
 */
static void local_lun_connect(struct scsi_device *sdev)
{
	sdev->inq_periph_qual = SCSI_INQ_PQ_CON;
	if (device_attach(&sdev->sdev_gendev) < 0)
		sdev_printk(KERN_WARNING, sdev, "no disk driver\n");
}

/*
 * The disk driver waits 100 seconds for a parked unit, and then takes it for empty.  So first a command that takes
 * the unit attentions, too: what is told from then on is newer than what the driver is going to find.
 */
static void local_lun_revalidate(struct scsi_device *sdev)
{
	struct scsi_sense_hdr sense;

	clear_bit(LOCAL_LUN_STALE, local_lun_word(sdev));
	if (scsi_test_unit_ready(sdev, LOCAL_TUR_TIMEOUT, LOCAL_TUR_RETRIES, &sense)) {
		if (scsi_sense_valid(&sense) && local_sense_not_ready(&sense))
			set_bit(LOCAL_LUN_STALE, local_lun_word(sdev));
		return;
	}
	clear_bit(LOCAL_LUN_STALE, local_lun_word(sdev));
	scsi_rescan_device(sdev);
}

static void local_lun_again(struct local_login *login)
{
	local_ask(login->host, LOCAL_POKE);
	local_ask(login->host, LOCAL_LOOK);
}

/* Is there anything to do to a device that is there? */
static bool local_lun_todo(struct local_login *login, struct scsi_device *sdev)
{
	if (local_lun_moved(login, sdev))
		return true;
	return (sdev->inq_periph_qual == SCSI_INQ_PQ_NOT_CON ||
		test_bit(LOCAL_LUN_STALE, local_lun_word(sdev))) && local_lun_ready(login, sdev);
}

static void local_lun_do(struct local_login *login, struct scsi_device *sdev)
{
	if (local_lun_moved(login, sdev)) {
		local_lun_remove(login, sdev);
		/* Another device may stand behind the LUN. */
		local_lun_again(login);
	} else if (sdev->inq_periph_qual == SCSI_INQ_PQ_NOT_CON) {
		local_lun_connect(sdev);
	} else {
		local_lun_revalidate(sdev);
	}
}

/* Only the host's thread takes, so only it sets AGAIN; who has the device looks at that after letting go of it. */
static bool local_lun_take(struct scsi_device *sdev)
{
	unsigned long *word = local_lun_word(sdev);

	set_bit(LOCAL_LUN_AGAIN, word);
	if (test_and_set_bit(LOCAL_LUN_BUSY, word))
		return false;
	clear_bit(LOCAL_LUN_AGAIN, word);
	return true;
}

static int local_lun_thread(void *data)
{
	struct scsi_device *sdev = data;
	struct local_login *login = local_login_of(sdev->host);

	local_lun_do(login, sdev);
	clear_bit(LOCAL_LUN_BUSY, local_lun_word(sdev));
	smp_mb__after_atomic();
	if (test_and_clear_bit(LOCAL_LUN_AGAIN, local_lun_word(sdev)))
		local_lun_again(login);
	local_unuse(login);
	scsi_device_put(sdev);
	return local_thread_end();
}

/* With the device taken.  False: out of memory. */
static bool local_lun_start(struct local_login *login, struct scsi_device *sdev)
{
	char name[TASK_COMM_LEN];

	if (scsi_device_get(sdev))
		goto out_let_go;
	if (!local_use(login))
		goto out_put;
	snprintf(name, sizeof(name), "scst_lun_%u:%u", sdev->host->host_no, local_lun(sdev));
	if (!IS_ERR(local_thread_run(local_lun_thread, sdev, name)))
		return true;
	local_unuse(login);
out_put:
	scsi_device_put(sdev);
out_let_go:
	clear_bit(LOCAL_LUN_BUSY, local_lun_word(sdev));
	return false;
}

/* --- the host's thread ----------------------------------------------------------------------------------- */

static void local_scan(struct Scsi_Host *shost, u32 lun, enum scsi_scan_mode mode)
{
	struct scsi_lun address;

	scst_lun_pack(lun, address.scsi_lun);
	scsi_scan_target(&shost->shost_gendev, 0, 0, scsilun_to_int(&address), mode);
}

/**
 * local_find() - find the LUNs that have no SCSI device
 * @login: whose
 * @mode: whether scsi_mod.scan=manual is honoured
 *
 * A scan for all LUNs would ask LUN 0 for a list, which may hang.  Return: false: out of memory.
 */
bool local_find(struct local_login *login, enum scsi_scan_mode mode)
{
	unsigned long *known = bitmap_zalloc(SCST_MAX_LUN + 1, GFP_KERNEL);
	struct scsi_device *sdev;
	u32 lun;

	if (!known)
		return false;
	shost_for_each_device(sdev, login->shost) {
		lun = local_lun(sdev);
		if (lun <= SCST_MAX_LUN)
			__set_bit(lun, known);
	}
	for (lun = 0; lun <= SCST_MAX_LUN; lun++)
		if (!test_bit(lun, known) && scst_session_lun_cookie(login->sess, lun))
			local_scan(login->shost, lun, mode);
	bitmap_free(known);
	return true;
}

static bool local_lun_look(struct local_login *login, struct scsi_device *sdev, bool poke)
{
	if (!local_lun_take(sdev))
		return true;
	if (local_lun_todo(login, sdev))
		return local_lun_start(login, sdev);
	if (poke && local_lun_ready(login, sdev))
		local_poke(sdev);
	clear_bit(LOCAL_LUN_BUSY, local_lun_word(sdev));
	return true;
}

/**
 * local_look() - compare the SCSI devices with the LUNs
 * @login: whose
 * @poke: something has changed, and it may be a LUN that no command has told of yet
 *
 * New ones first.  Return: false: out of memory, and something is left to be done.
 */
bool local_look(struct local_login *login, bool poke)
{
	bool done = local_find(login, SCSI_SCAN_MANUAL);
	struct scsi_device *sdev;

	shost_for_each_device(sdev, login->shost)
		done &= local_lun_look(login, sdev, poke);
	return done;
}
