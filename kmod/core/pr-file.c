// SPDX-License-Identifier: GPL-2.0-only
/*
 * Persistent reservations that survive a loss of power (APTPL): two records in a file, written in turn.
 *
 * A record is written over the older one, and made stable before the command is answered.  If power is lost meanwhile
 * the other one is whole, and what was being written was not acknowledged.  Whatever else is found than that is told, and
 * not written over: then the information is lost, until an initiator says REPLACE LOST RESERVATION, or the administrator
 * clears it.
 *
 * A disk that loses power has written some sectors of a record and not others, in no order.  For such a record to be torn,
 * and never damaged, it is written in three steps, each stable before the next: its header, which lies in one sector and says
 * that what was there before does not count any more; the rest; and the sequence number at the end.
 *
 * The file has its full length before anything is registered, so that space is found then or never, and its name is stable.
 *
 * All of it runs in the line of the device's PERSISTENT RESERVE OUT commands, where it may hang.
 */
#include "core.h"
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/namei.h>
#include <linux/random.h>

#define SLOTS		2
#define SLOT_SIZE	SZ_512K
#define FILE_SIZE	(SLOTS * SLOT_SIZE)

static_assert(SLOT_SIZE >= 68 + SCST_PR_OWNER_MAX + sizeof(struct scst_ident) + SCST_PR_MAX * (12 + SCST_TRANSPORT_ID_MAX));
static_assert(sizeof_field(struct scst_identity, naa) <= SCST_PR_OWNER_MAX);

static LIST_HEAD(scst_pr_stores);
static DEFINE_MUTEX(scst_pr_stores_lock);	/* the list: two devices would write over each other's records */

/**
 * struct scst_pr_store - the file of a device
 * @entry: in scst_pr_stores
 * @file: open
 * @sequence: of the record that was written last
 * @next: slot that is written next
 * @unknown: neither slot can be relied on: the next record is written into both
 * @buf: a record
 */
struct scst_pr_store {
	struct list_head entry;
	struct file *file;
	u64 sequence;
	u32 next;
	bool unknown;
	u8 buf[SLOT_SIZE];
};

/* What is in a slot. */
struct scst_pr_slot {
	enum scst_pr_record what;
	struct scst_pr_record_info info;
};

/* --- reading ---------------------------------------------------------------------------------- */

/* Bytes that there are, or a negative errno. */
static ssize_t scst_pr_read_slot(struct scst_pr_store *store, u32 slot)
{
	loff_t pos = (loff_t)slot * SLOT_SIZE;
	size_t have = 0;
	ssize_t len;

	do {
		len = kernel_read(store->file, store->buf + have, SLOT_SIZE - have, &pos);
		if (len < 0)
			return len;
		have += len;
	} while (len && have < SLOT_SIZE);
	return have;
}

static bool scst_pr_owns(const struct scst_device *dev, const struct scst_pr_record_info *info)
{
	return info->owner_len == dev->id.naa_len && !memcmp(info->owner, dev->id.naa, info->owner_len);
}

static int scst_pr_look(struct scst_device *dev, struct scst_pr_store *store, struct scst_pr_slot *slots)
{
	u32 i;

	for (i = 0; i < SLOTS; i++) {
		ssize_t len = scst_pr_read_slot(store, i);

		if (len < 0)
			return len;
		slots[i].what = scst_pr_record_check(store->buf, len, &slots[i].info);
		store->sequence = max(store->sequence, slots[i].info.sequence);
	}
	return 0;
}

/* Why what was found can't be relied on; NULL: it can. */
static const char *scst_pr_fault(const struct scst_device *dev, const struct scst_pr_slot *slots)
{
	u32 i;

	for (i = 0; i < SLOTS; i++) {
		if (slots[i].what == SCST_PR_RECORD_NEWER)
			return "has a record of a newer version";
		if (slots[i].what == SCST_PR_RECORD_DAMAGED)
			return "is damaged";
		if (slots[i].what == SCST_PR_RECORD_WHOLE && !scst_pr_owns(dev, &slots[i].info))
			return "is that of another device";
	}
	/* One record is written at a time, and the first slot is written first. */
	if (slots[1].what == SCST_PR_RECORD_TORN && slots[0].what != SCST_PR_RECORD_WHOLE)
		return "is damaged";
	return slots[0].what == SCST_PR_RECORD_NONE && slots[1].what == SCST_PR_RECORD_WHOLE ? "is damaged" : NULL;
}

/* The slot that counts, or SLOTS: there was never a record. */
static u32 scst_pr_newest(const struct scst_pr_slot *slots)
{
	u32 i, newest = SLOTS;

	for (i = 0; i < SLOTS; i++)
		if (slots[i].what == SCST_PR_RECORD_WHOLE &&
		    (newest == SLOTS || slots[i].info.sequence > slots[newest].info.sequence))
			newest = i;
	return newest;
}

static struct scst_pr *scst_pr_lost(struct scst_device *dev, struct scst_pr_store *store, const char *fault)
{
	struct scst_pr *pr = scst_pr_new(0);

	if (!pr)
		return ERR_PTR(-ENOMEM);
	pr_warn("device %s: pr_file %s: reservations are not known, and nobody gets at the medium before REPLACE LOST RESERVATION or pr/clear\n",
		dev->name, fault);
	pr->lost = true;
	store->unknown = true;
	return pr;
}

static struct scst_pr *scst_pr_take(struct scst_device *dev, struct scst_pr_store *store, u32 slot, u32 nr)
{
	ssize_t len = scst_pr_read_slot(store, slot);
	struct scst_pr *pr;
	int ret;

	if (len < 0)
		return ERR_PTR(len);
	pr = scst_pr_new(nr);
	if (!pr)
		return ERR_PTR(-ENOMEM);
	ret = scst_pr_record_decode(store->buf, len, pr);
	if (ret) {
		scst_pr_discard(pr);
		return ret == -EBADMSG ? scst_pr_lost(dev, store, "says what can't be") : ERR_PTR(ret);
	}
	store->next = !slot;
	scst_pr_power_loss(pr);
	return pr;
}

static struct scst_pr *scst_pr_read(struct scst_device *dev, struct scst_pr_store *store)
{
	struct scst_pr_slot slots[SLOTS];
	const char *fault;
	u32 newest;
	int ret = scst_pr_look(dev, store, slots);

	if (ret)
		return ERR_PTR(ret);
	fault = scst_pr_fault(dev, slots);
	if (fault)
		return scst_pr_lost(dev, store, fault);
	newest = scst_pr_newest(slots);
	return newest == SLOTS ? scst_pr_new(0) : scst_pr_take(dev, store, newest, slots[newest].info.nr);
}

/* --- writing ---------------------------------------------------------------------------------- */

static int scst_pr_write(struct scst_pr_store *store, const u8 *buf, u32 size, loff_t pos)
{
	while (size) {
		ssize_t len = kernel_write(store->file, buf, size, &pos);

		if (len <= 0)
			return len ?: -EIO;
		buf += len;
		size -= len;
	}
	return 0;
}

/* A part of the record in store->buf, stable. */
static int scst_pr_write_part(struct scst_pr_store *store, u32 from, u32 to)
{
	loff_t pos = (loff_t)store->next * SLOT_SIZE + from;

	return scst_pr_write(store, store->buf + from, to - from, pos) ?: vfs_fsync(store->file, 1);
}

static int scst_pr_write_slot(struct scst_pr_store *store, u32 size)
{
	return scst_pr_write_part(store, 0, SCST_PR_RECORD_HEADER) ?:
	       scst_pr_write_part(store, SCST_PR_RECORD_HEADER, size - SCST_PR_RECORD_END) ?:
	       scst_pr_write_part(store, size - SCST_PR_RECORD_END, size);
}

static int scst_pr_write_record(struct scst_device *dev, const struct scst_pr *pr)
{
	struct scst_pr_store *store = dev->pr_store;
	u32 size;

	/* Nothing else that a slot may hold looks like it, so that no key is taken for the end of a record. */
	if (!store->sequence)
		store->sequence = get_random_u64() >> 1;
	size = scst_pr_record_encode(pr, ++store->sequence, dev->id.naa, dev->id.naa_len, store->buf, SLOT_SIZE);
	return size ? scst_pr_write_slot(store, size) : -EIO;
}

/**
 * scst_pr_file_write() - make a state survive a loss of power
 * @dev: has a file
 * @pr: the state
 *
 * In the line of the device's PERSISTENT RESERVE OUT commands.  If it fails what is in the file may be either state; write
 * the old one then.
 *
 * Return: 0 or a negative errno.
 */
int scst_pr_file_write(struct scst_device *dev, const struct scst_pr *pr)
{
	struct scst_pr_store *store = dev->pr_store;
	u32 writes = store->unknown ? SLOTS : 1;
	int ret;

	do {
		ret = scst_pr_write_record(dev, pr);
		if (!ret)
			store->next = !store->next;
	} while (!ret && --writes);
	if (ret)
		pr_warn("device %s: pr_file can't be written: %s\n", dev->name, scst_errno_name(ret));
	else
		store->unknown = false;
	return ret;
}

/* --- the file --------------------------------------------------------------------------------- */

/* What is not there yet becomes zeroes, which are no record. */
static int scst_pr_file_extend(struct scst_pr_store *store)
{
	loff_t pos = i_size_read(file_inode(store->file));
	int ret = 0;

	if (pos >= FILE_SIZE)
		return 0;
	memset(store->buf, 0, SLOT_SIZE);
	for (; !ret && pos < FILE_SIZE; pos += min_t(loff_t, SLOT_SIZE, FILE_SIZE - pos))
		ret = scst_pr_write(store, store->buf, min_t(loff_t, SLOT_SIZE, FILE_SIZE - pos), pos);
	return ret ?: vfs_fsync(store->file, 0);
}

/* Nothing is written to a file that holds what is not understood. */
static int scst_pr_file_prepare(struct scst_device *dev, const struct scst_pr *pr)
{
	struct scst_pr_store *store = dev->pr_store;
	int ret = pr->lost ? 0 : scst_pr_file_extend(store) ?: scst_file_keep_name(store->file);

	if (ret)
		pr_warn("device %s: pr_file can't be written: %s\n", dev->name, scst_errno_name(ret));
	return ret;
}

static bool scst_pr_file_in_use(const struct file *file)
{
	const struct scst_pr_store *other;

	lockdep_assert_held(&scst_pr_stores_lock);
	list_for_each_entry(other, &scst_pr_stores, entry)
		if (file_inode(other->file) == file_inode(file))
			return true;
	return false;
}

static int scst_pr_file_claim(struct scst_device *dev, struct scst_pr_store *store)
{
	bool used;

	mutex_lock(&scst_pr_stores_lock);
	used = scst_pr_file_in_use(store->file);
	if (!used)
		list_add(&store->entry, &scst_pr_stores);
	mutex_unlock(&scst_pr_stores_lock);
	if (!used)
		return 0;
	pr_warn("device %s: pr_file is that of another device as well; not enabled\n", dev->name);
	return -EBUSY;
}

/* In the line, or when nobody has a reference to the device any more. */
void scst_pr_file_close(struct scst_device *dev)
{
	struct scst_pr_store *store = dev->pr_store;

	if (!store)
		return;
	WRITE_ONCE(dev->pr_store, NULL);
	mutex_lock(&scst_pr_stores_lock);
	list_del(&store->entry);
	mutex_unlock(&scst_pr_stores_lock);
	scst_fput(store->file);
	kvfree(store);
}

/* Is what the device serves its own file?  By the job that owns the state, which alone has the file opened and closed. */
bool scst_pr_file_is(const struct scst_device *dev, const void *inode)
{
	const struct scst_pr_store *store = READ_ONCE(dev->pr_store);

	return store && file_inode(store->file) == inode;
}

static struct file *scst_pr_file_open(struct scst_device *dev, const struct scst_opening *opening, const char *path)
{
	const struct cred *own = override_creds(opening->cred);
	struct file *file = file_open_root(&opening->root, path, O_RDWR | O_CREAT | O_LARGEFILE | O_NONBLOCK, 0600);

	revert_creds(own);
	if (IS_ERR(file)) {
		pr_warn("device %s: pr_file %s can't be opened: %s\n", dev->name, path, scst_errno_name(PTR_ERR(file)));
		return file;
	}
	if (S_ISREG(file_inode(file)->i_mode))
		return file;
	pr_warn("device %s: pr_file %s is no regular file\n", dev->name, path);
	scst_fput(file);
	return ERR_PTR(-EINVAL);
}

static struct scst_pr_store *scst_pr_store_make(struct scst_device *dev, const struct scst_opening *opening,
						const char *path)
{
	struct scst_pr_store *store = kvzalloc(sizeof(*store), GFP_KERNEL);
	int ret;

	if (!store)
		return ERR_PTR(-ENOMEM);
	store->file = scst_pr_file_open(dev, opening, path);
	if (IS_ERR(store->file)) {
		ret = PTR_ERR(store->file);
		goto out_free;
	}
	ret = scst_pr_file_claim(dev, store);
	if (!ret)
		return store;
	scst_fput(store->file);
out_free:
	kvfree(store);
	return ERR_PTR(ret);
}

/**
 * scst_pr_file_load() - open the file of a device, and read what is in it
 * @dev: has none open
 * @opening: on whose behalf
 * @path: where it is; made if it is not there
 *
 * In the line of the device's PERSISTENT RESERVE OUT commands.  Return: the state after a loss of power, to be given to
 * scst_pr_discard(), or an ERR_PTR: -EBUSY if another device has the file, or what the file system said.
 */
struct scst_pr *scst_pr_file_load(struct scst_device *dev, const struct scst_opening *opening, const char *path)
{
	struct scst_pr_store *store = scst_pr_store_make(dev, opening, path);
	struct scst_pr *pr;
	int ret;

	if (IS_ERR(store))
		return ERR_CAST(store);
	WRITE_ONCE(dev->pr_store, store);
	pr = scst_pr_read(dev, store);
	ret = IS_ERR(pr) ? PTR_ERR(pr) : scst_pr_file_prepare(dev, pr);
	if (!ret)
		return pr;
	if (!IS_ERR(pr))
		scst_pr_discard(pr);
	scst_pr_file_close(dev);
	return ERR_PTR(ret);
}
