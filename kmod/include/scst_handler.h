/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The mid-level's interface for device handlers: back ends of logical units.
 */
#ifndef SCST_HANDLER_H
#define SCST_HANDLER_H

#include <linux/completion.h>
#include <linux/configfs.h>
#include <linux/errseq.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/path.h>
#include <linux/percpu-refcount.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include "scst.h"

enum scst_handler_flag {
	SCST_HANDLER_SIZE_RW	= 1 << 0,	/* the size is a setting, not a property of a backing */
	SCST_HANDLER_NO_CACHE	= 1 << 1,	/* no write_through setting: nothing to write through */
	SCST_HANDLER_DIRECT	= 1 << 2,	/* execute() may run in the submitter's process context */
	SCST_HANDLER_FACTS	= 1 << 3,	/* open() tells what it opens: scst_device_expects(), scst_device_found() */
	SCST_HANDLER_THIN	= 1 << 4,	/* its devices have the setting `thin`: SCST_ACTION_UNMAP */
	SCST_HANDLER_FORGETS	= 1 << 5,	/* what is written is not what is read: nothing may be decided by it */
	SCST_HANDLER_PROTECTION	= 1 << 6,	/* its devices have the setting `protection`: scst_cmd_has_pi() */
};

/* Longest text of `expect` and `backing` */
#define SCST_BACKING_LEN	127

/**
 * struct scst_opening - what open() is to do, and on whose behalf
 * @cred: credentials of who asked: the backing is opened with the checks that open(2) makes for them
 * @root: root directory of who asked, in which paths are looked up
 * @elsewhere: path of the backing if it is not where the handler's setting says, else NULL
 */
struct scst_opening {
	const struct cred *cred;
	struct path root;
	char *elsewhere;
};

/**
 * struct scst_space - space of a thin device's backing, in bytes
 * @used: by it alone
 * @available: to it and to others
 */
struct scst_space {
	u64 used;
	u64 available;
};

/**
 * struct scst_handler - what a device handler offers the core
 * @owner: THIS_MODULE
 * @name: directory under devices/ in configfs; default product identification
 * @device_type: peripheral device type (SPC-4 6.6.2); chooses the table of commands
 * @device_size: size of the handler's own device structure, which begins with struct scst_device
 * @flags: enum scst_handler_flag
 * @attrs: NULL-terminated attributes of its devices beyond the common ones, or NULL
 *
 * @free: last reference gone; releases what attribute stores made.  Process context, may sleep.  Optional.
 * @check: all required settings there?  0, -ENODATA or -EINVAL.  Under dev->settings_lock: must not wait.
 * @open: open the backing and set dev->geo and dev->fua.  -ENOENT, -ENXIO, -ENODEV, -ENOTDIR and -ENOMEDIUM mean "absent"
 *	and park the device, as does -ESTALE, what scst_device_found() says of another backing than the expected one; any
 *	other reason is told to the kernel log in words, naming the setting that is to blame: -EOPNOTSUPP where dev->thin
 *	is set and the backing gives nothing back.  On a thread of its own
 *	with the credentials of @opening in force, may sleep and hang.
 * @close: close the backing; no command is running and none can start.  On a thread of its own, may sleep and
 *	hang.  Returns 0, or a negative errno if something acknowledged could not be kept.
 * @try_execute: do cmd->action at once, without sleeping and without changing the medium, set the result with
 *	scst_cmd_done() and return true; or touch nothing the initiator could see and return false.  Process or softirq
 *	context; no more than 64 KiB in the latter.  Optional.
 * @execute: do cmd->action and call scst_cmd_done() now or later.  Process context, may sleep and hang, with memory allocation
 *	limited to GFP_NOIO: on the device's own threads, or with SCST_HANDLER_DIRECT in that of the submitter.
 *	SCST_ACTION_UNMAP is for devices with dev->thin, and comes on the device's own threads, as does SCST_ACTION_ZERO, in
 *	pieces of no more than SCST_CLEAR_MAX bytes, between which the core looks for aborts.  -EOPNOTSUPP for SCST_ACTION_ZERO
 *	means that the backing has no way of its own to do it, and the core writes zeroes instead.  Both are made stable, where
 *	that is asked for, by a SCST_ACTION_SYNC that follows.
 *	With dev->protection see scst_cmd_has_pi(); SCST_ACTION_UNMAP and SCST_ACTION_ZERO leave information of all ones, which says that
 *	there is none.
 * @lend: for SCST_ACTION_READ: put memory that holds the data into cmd->data as SCST_DATA_HANDLER (entries in sgl are
 *	the handler's too), or return false.  Process or softirq context.  Optional.
 * @unlend: take it back.  The context of scst_cmd_sent(); the backing may be closed by then, so that what is lent stands on
 *	references of its own, and handler_private is untouched until here.  With @lend.
 * @write_cache: does the backing have a volatile write cache now?  Any context, must not sleep.
 * @wb_error: has writing back failed since @since?  Moves @since on.  0 or a negative errno.  Process context, must not
 *	sleep, the backing is open.  Optional: for handlers that acknowledge what is only in memory of this host.
 * @capacity: size of the open backing in bytes, now.  On the device's own threads, may sleep.
 *	Optional: without it the size never changes while open.
 * @backing: something that two devices on the same backing have in common, while open, or NULL.  Optional.
 * @mapped: does the backing hold what is at byte @pos, the first of a block?  1: yes, or nobody knows; 0: no, it was given back or
 *	never written; or a negative errno.  *@end: up to where that is so, a multiple of the block size.  On the device's own
 *	threads, may sleep and hang.  Optional: without it nobody knows.
 * @space: what the open backing takes, and what there is for it to take.  On the device's own threads, may sleep and hang.  0 or a
 *	negative errno.  Optional, with SCST_HANDLER_THIN: without it nobody knows.
 * @prefetch: begin to read @len bytes at @pos into a cache of this host, from which SCST_ACTION_READ takes them then.  On the
 *	device's own threads, may sleep and hang.  Return: false: there is none, or nothing was begun.  Optional.
 * @copy: write cmd->len bytes from byte @pos on of another device of the handler's, or the same one, to cmd->pos of cmd->dev, without their passing
 *	through the core; both are open.  The two ranges don't overlap.  It need not be stable.  Does not end the command.  On a thread of
 *	the copy's own, with memory allocation limited to GFP_NOIO, may sleep and hang.  Return: how many bytes were written, a multiple of the
 *	block size of both and not 0; -EOPNOTSUPP: there is no such way for these two; or a negative errno.  Optional.
 */
struct scst_handler {
	struct module *owner;
	const char *name;
	u8 device_type;
	size_t device_size;
	unsigned int flags;
	struct configfs_attribute **attrs;

	void (*free)(struct scst_device *dev);
	int (*check)(struct scst_device *dev);
	int (*open)(struct scst_device *dev, const struct scst_opening *opening);
	int (*close)(struct scst_device *dev);
	bool (*try_execute)(struct scst_cmd *cmd);
	void (*execute)(struct scst_cmd *cmd);
	bool (*lend)(struct scst_cmd *cmd);
	void (*unlend)(struct scst_cmd *cmd);
	bool (*write_cache)(const struct scst_device *dev);
	int (*wb_error)(struct scst_device *dev, errseq_t *since);
	s64 (*capacity)(struct scst_device *dev);
	const void *(*backing)(const struct scst_device *dev);
	int (*mapped)(struct scst_device *dev, u64 pos, u64 *end);
	int (*space)(struct scst_device *dev, struct scst_space *space);
	bool (*prefetch)(struct scst_device *dev, u64 pos, u64 len);
	ssize_t (*copy)(struct scst_cmd *cmd, struct scst_device *from, u64 pos);
};

/* No piece of a SCST_ACTION_UNMAP or SCST_ACTION_ZERO is longer, in bytes. */
#define SCST_CLEAR_MAX	SZ_64M

struct scst_identity {
	char vendor[8 + 1];
	char product[16 + 1];
	char revision[4 + 1];
	char serial[64 + 1];
	u8 naa[16];
	u8 naa_len;		/* 8 or 16 */
	u8 eui64[16];
	u8 eui64_len;		/* 0, 8, 12 or 16 */
};

/**
 * struct scst_geometry - what open() has found; known and told while parked, too
 * @nblocks: capacity in logical blocks
 * @block_shift: log2 of the logical block size in bytes; 0: never open yet
 * @physical_exp: log2 of logical blocks per physical block (SBC-3 5.16)
 * @lowest_aligned: first logical block that begins a physical one
 * @opt_granularity: optimal transfer length granularity in blocks, 0: not known
 * @max_xfer: most bytes a command may move, 0: no limit of the backing's own
 * @opt_xfer: optimal transfer length in bytes, 0: not known
 * @rotational: the medium rotates
 * @unmap_zeroes: what was given back reads as zeroes
 * @sparse: the backing takes space for what is written, and no sooner
 * @unmap_granularity: so many blocks are given back together
 * @unmap_alignment: first block that begins such a group
 *
 * The last four have a meaning with dev->thin only.
 */
struct scst_geometry {
	u64 nblocks;
	u8 block_shift;
	u8 physical_exp;
	u16 lowest_aligned;
	u16 opt_granularity;
	u32 max_xfer;
	u32 opt_xfer;
	bool rotational;
	bool unmap_zeroes;
	bool sparse;
	u32 unmap_granularity;
	u32 unmap_alignment;
};

enum scst_device_state {
	SCST_DEVICE_DISABLED,
	SCST_DEVICE_PARKED,	/* enabled, the backing is not open */
	SCST_DEVICE_ACTIVE,
	SCST_DEVICE_OPENING,	/* was disabled or parked, the backing is being opened */
	SCST_DEVICE_CLOSING,	/* waits for its commands, then closes the backing; parked or disabled next */
};

enum scst_record_kind {
	SCST_RECORD_SLOW,
	SCST_RECORD_FAILED,
	SCST_RECORD_TMF,
	SCST_RECORD_KINDS,
};

/**
 * struct scst_recorder - what is remembered of a device's commands, or of those that no device had
 * @lock: any context
 * @clock: in which order records were made, and seen
 * @records: struct scst_record, in the order in which they were made
 * @nr: of them
 */
struct scst_recorder {
	spinlock_t lock;
	u64 clock;
	struct list_head records[SCST_RECORD_KINDS];
	u32 nr[SCST_RECORD_KINDS];
};

/* Of the data buffer and the echo buffer. */
#define SCST_BUFFER_PIECES	17

/**
 * struct scst_buffers - what initiators have written with WRITE BUFFER
 * @lock: for all of it; softirq-safe
 * @echo_len: bytes that the echo buffer holds
 * @echo_owner: cookie of the nexus that has written them, 0: nobody has
 * @piece: the data buffer and behind it the echo buffer; NULL: zeroes
 */
struct scst_buffers {
	spinlock_t lock;
	u32 echo_len;
	u64 echo_owner;
	u8 *piece[SCST_BUFFER_PIECES];
};

/**
 * struct scst_tokens - ROD tokens of a device's data: see token.c
 * @lock: any context; inside nexus_lock
 * @live: struct scst_token, those that were made first come first
 * @dead: those that can't be used any more, likewise
 * @nr_live: of them
 * @nr_dead: of them
 * @work: ends those whose time is up
 */
struct scst_tokens {
	spinlock_t lock;
	struct list_head live;
	struct list_head dead;
	u32 nr_live;
	u32 nr_dead;
	struct delayed_work work;
};

/**
 * struct scst_device - a logical unit's back end, made by mkdir devices/HANDLER/NAME
 * @geo: set by open()
 * @fua: the handler honours cmd->fua, set by open()
 * @one_writer: what the backing is written with waits for its like anyhow (a file system's lock), set by open(): one write
 *	that need not be stable is handed over after the other
 * @read_only: setting: never written to
 * @write_through: setting: each write is stable before its status
 * @thin: setting: initiators may give back what they don't need any more
 * @protection: setting: type of protection information (SBC-3 4.22) that blocks have, 1 to 3, or 0: none
 * @block_size: setting: logical block in bytes, 0: the backing's
 * @size: setting of SCST_HANDLER_SIZE_RW, bytes
 *
 * Embedded first in the handler's own structure.  Referenced by its configfs item, by every published LUN map that names
 * it, by every nexus and by queued work.  active_ref counts commands from pin to scst_cmd_sent(): live
 * only while the device is active.  All but the above is the core's.
 */
struct scst_device {
	/* Read by every command: the first cache line, up to what geo tells of alignment. */
	struct percpu_ref active_ref;
	const struct scst_handler *handler;
	const struct scst_op_table *ops;
	bool fua;
	bool one_writer;
	bool d_sense;		/* mode page 0Ah */
	bool read_only;
	union {
		struct {
			bool write_through;
			bool wce_off;	/* mode page 08h: every write is to be stable */
			bool alone;	/* somebody wants a range for himself: see turn.c; written under turn_lock */
		};
		u32 write_apart;	/* all of them at once: 0 if a WRITE may just be handed over */
	};
	struct scst_geometry geo;

	/* The rest is not. */
	bool swp ____cacheline_aligned;	/* mode page 0Ah */
	bool cache_told;	/* the write cache that initiators were told of last */
	s8 rotational;		/* setting; -1: the backing's */
	bool removable;		/* setting: the medium can be ejected */
	bool stop_unit;		/* setting: START STOP UNIT of one initiator stops the unit for all */
	bool thin;
	u8 protection;
	u16 block_size;
	s64 clock;		/* what it is ahead of the time since boot, in ms: see timestamp.c */
	u64 size;
	struct mutex settings_lock;	/* settings and states; short, never held across a wait */
	struct scst_identity id;
	char name[SCST_DEVICE_NAME_LEN + 1];
	char *facts;		/* what the tool knows the backing by; NULL: nothing, any may be opened */
	char *elsewhere;	/* where the backing is, if not where the handler's setting says, or NULL */
	char *expect;		/* what the next opening has to find then; NULL: nothing was proven */
	char backing[SCST_BACKING_LEN + 1];	/* what is open */

	/* States: see device.c.  Under settings_lock, or of the job that owns OPENING and CLOSING. */
	enum scst_device_state state;
	enum scst_device_state goal;	/* asked for: DISABLED, PARKED or ACTIVE */
	struct scst_request *request;	/* who waits for that */
	struct scst_opening opening;	/* on whose behalf, with goal ACTIVE until it begins */
	int open_error;
	bool claimed;			/* its identity is taken; under the config mutex, too */
	bool wanted;			/* active; not parked on request */
	bool enabled;			/* LUNs may lead here; under the config mutex, too */
	bool retired;			/* its directory is gone */
	bool backing_open;
	bool lost;			/* the backing that was opened last is gone */
	bool shrink_ok;			/* the next backing may be smaller: `size` was written */
	u64 size_asked;			/* bytes to serve while enabled, 0: all */
	unsigned long close_queued;	/* bit 0: close_job is, since active_ref was killed */
	struct completion drained;	/* active_ref is dead */
	struct scst_job open_job;
	struct scst_job close_job;
	struct work_struct lost_work;
	struct work_struct retire_work;
	struct work_struct free_work;
	struct scst_retiree retiree;
	u64 space_threshold;		/* setting: initiators are told when fewer bytes are available; 0: never */
	bool space_scarce;		/* they have been */
	unsigned long space_looking;	/* bit 0: space_job is somebody's */
	struct scst_job space_job;
	struct delayed_work space_work;
	struct scst_buffers buffers;	/* see buffer.c */
	struct scst_recorder recorder;
	struct scst_tokens tokens;
	struct scst_overhaul *overhaul;	/* what is being done to the whole medium; under nexus_lock */
	u16 progress;			/* of it, of 65,536 */
	struct scst_threads threads;	/* where its commands may block, and looking for its size */
	struct scst_line writes;	/* of one_writer */
	atomic_t resets;		/* of the logical unit, so far */
	wait_queue_head_t changed;	/* state */

	struct config_group group;
	struct config_group id_group;
	struct config_group pr_group;
	struct kref kref;
	unsigned int lun_links;	/* wanted and published LUNs that point here, under the config mutex */
	bool dead;		/* its directory is gone, under the config mutex */
	spinlock_t nexus_lock;	/* the list of nexuses, and gates that hold for all of them */
	struct list_head nexuses;
	u32 nr_nexuses;
	unsigned long gates;	/* those a new nexus starts with, under nexus_lock */

	spinlock_t turn_lock;
	struct list_head turns;		/* ranges that are written to: see turn.c */
	u32 nr_alone;			/* turns of SCST_TURN_ALONE */

	/* Reservations: see reserve.c and pr.c. */
	const struct scst_nexus *reserved;	/* by RESERVE, or NULL; under nexus_lock */
	struct scst_pr __rcu *pr;		/* NULL: nothing; written by jobs in pr_line, under nexus_lock */
	bool pr_unread;				/* what outlived a loss of power is not known yet; cleared under nexus_lock */
	char *pr_file;				/* setting: where that is, or NULL: nothing does; changes while disabled */
	struct scst_pr_store *pr_store;		/* open; by jobs in pr_line, NULL or not is for everybody */
	struct scst_line pr_line;
	struct scst_threads pr_threads;		/* nothing on them waits for the back end */

	/* Target port groups: see alua.c. */
	const struct scst_alua __rcu *alua;	/* in force, NULL: none ever was; written under nexus_lock and the config mutex */
	struct scst_alua_dir *alua_dir;		/* device group, under the config mutex */

	struct list_head entry;	/* scst_devices, under the config mutex */
	struct device *classdev;
};

int scst_handler_register(const struct scst_handler *handler);
void scst_handler_unregister(const struct scst_handler *handler);
void scst_device_lost(struct scst_device *dev);
int scst_device_expects(struct scst_device *dev, const char *words);
int scst_device_found(struct scst_device *dev, const char *words);
void scst_device_defer(struct scst_device *dev, struct scst_job *job, void (*fn)(struct scst_job *job));
void scst_cmd_done(struct scst_cmd *cmd, int error);
struct page *scst_chunk_get(unsigned int *size);
void scst_chunk_put(struct page *page);

/* Protection information of a block, and what scst_cmd_done() is told if it is wrong. */
#define SCST_PI_BYTES	8
#define SCST_PI_BLOCKS	(PAGE_SIZE / SCST_PI_BYTES)	/* no read or write with it is of more blocks: it fits into a page */
#define SCST_EGUARD	EILSEQ
#define SCST_EREFTAG	EBADSLT
#define SCST_EAPPTAG	EBADRQC

void scst_pi_make(const struct scst_device *dev, u64 lba, const u8 *data, u8 *pi, u32 nr);
int scst_pi_look(const struct scst_device *dev, u64 lba, const u8 *data, const u8 *pi, u32 nr, u32 *bad);
void scst_cmd_done_sense(struct scst_cmd *cmd, u8 status, const u8 *sense, unsigned int sense_len, u32 len);

/* Attributes of a handler's own, settable while the device is disabled. */
static inline struct scst_device *scst_device_of(struct config_item *item)
{
	return container_of(to_config_group(item), struct scst_device, group);
}

int scst_parse_bool(const char *page, bool *value);
int scst_file_keep_name(const struct file *file);
ssize_t scst_device_show_path(struct scst_device *dev, char *const *where, char *page);
int scst_device_store_path(struct scst_device *dev, char **where, const char *page, size_t count);
int scst_device_store_bool(struct scst_device *dev, bool *where, const char *page);

static inline void *scst_cmd_private(struct scst_cmd *cmd)
{
	return cmd->handler_private;
}

/* The command whose private memory this is. */
static inline struct scst_cmd *scst_cmd_of_private(void *priv)
{
	return container_of(priv, struct scst_cmd, handler_private);
}

#endif /* SCST_HANDLER_H */
