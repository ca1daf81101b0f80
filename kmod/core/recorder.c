// SPDX-License-Identifier: GPL-2.0-only
/*
 * What was slow, and what failed: the last of it, for each device, shown by recorder of debugfs.
 *
 * It is always on.  A command that is neither pays for a few comparisons: it is slow when it has taken slow_ms of /sys/class/scst/core from
 * scst_cmd_submit() to scst_cmd_sent(), and it failed when it was answered with anything but GOOD.  BUSY and TASK SET FULL are no failures:
 * they keep the number of commands down, and are counted (sysfs.c).  Task management functions are remembered, too.  What an injected fault
 * has done is remembered whatever it is, and has its place there, so that nobody takes it for another's.
 *
 * A device has so many records of each kind.  The same failure again, of the same nexus, is one more of the same record, so that a storm of
 * them pushes out nothing else; of the others the one that was not seen for the longest time makes room.  Records are made when there is
 * something to remember, with memory that can be had at once; without it nothing is remembered.
 *
 * Where a slow command was for the longest time is found out by whoever moves it on, from an eighth of slow_ms on: what comes before counts as
 * a part of the next stage, and those that end before touch no more of their memory for it than they do anyway.  Not more than the longest:
 * eight bytes of a command are free before those of driver local take another line of the cache.
 *
 * The locks are inside all others.
 */
#include "core.h"
#include <linux/ktime.h>
#include <linux/seq_file.h>

#define RECORDS_MAX	32	/* of a device and kind */
#define RECORD_SENSE	32	/* bytes: with INFORMATION and the field in question */
#define RECORD_TARGET	(64 + SCST_TARGET_NAME_LEN + 2)

/**
 * struct scst_event - something that was slow, or failed, or a task management function
 * @when: nanoseconds since 1970
 * @ms: from its beginning to its end; failed: to its answer
 * @longest_ms: of that, the longest in one place
 * @longest_in: enum scst_stage: which
 * @tag: the transport's
 * @what: name of the command or function, for people; NULL: not known
 * @session: number
 * @lun: or SCST_LUN_INVALID
 * @len: bytes moved
 * @code: of sense data, SCST_SENSE(); 0: none
 * @kind: enum scst_record_kind
 * @status: SAM status, or enum scst_tmf_response
 * @cdb_len: bytes of @cdb; 0: a function
 * @cdb: the CDB
 * @sense_len: bytes of @sense
 * @sense: its beginning
 */
struct scst_event {
	u64 when;
	u32 ms;
	u32 longest_ms;
	u64 tag;
	const char *what;
	u32 session;
	u32 lun;
	u32 len;
	u32 code;
	u8 longest_in;
	u8 kind;
	u8 status;
	u8 cdb_len;
	u8 cdb[SCST_MAX_CDB];
	u8 sense_len;
	u8 sense[RECORD_SENSE];
};

/**
 * struct scst_record - what is remembered of it
 * @entry: in its recorder, under the lock
 * @seq: in which order records were made
 * @seen: in which order they were seen last
 * @times: it was seen
 * @event: the last time
 * @initiator_len: with the byte behind it
 * @names_len: of both names
 * @names: of the initiator and, behind it, DRIVER/TARGET
 */
struct scst_record {
	struct list_head entry;
	u64 seq;
	u64 seen;
	u64 times;
	struct scst_event event;
	u16 initiator_len;
	u16 names_len;
	char names[];
};

#define RECORD_SIZE	(sizeof(struct scst_record) + SCST_INITIATOR_NAME_LEN + 1 + RECORD_TARGET)

u32 scst_slow_after __read_mostly = U32_MAX;
u32 scst_stage_after __read_mostly = U32_MAX;
static struct scst_recorder scst_recorder_nobody;	/* where no device is behind the LUN, or more than one */

/* --- how long, and where --------------------------------------------------------------------------- */

/* Any context.  Seldom: see scst_stage_after. */
void scst_stage_add(struct scst_cmd *cmd, enum scst_stage stage)
{
	u32 now = jiffies, ticks = now - cmd->at;

	cmd->at = now;
	if (cmd->longest_in == stage)
		ticks += cmd->longest;
	else if (ticks <= cmd->longest)
		return;
	cmd->longest = ticks;
	cmd->longest_in = stage;
}

u32 scst_slow_ms(void)
{
	u32 after = READ_ONCE(scst_slow_after);

	return after == U32_MAX ? 0 : jiffies_to_msecs(after);
}

/* 0: nothing is.  Any context. */
void scst_slow_set_ms(u32 ms)
{
	u32 after = ms ? msecs_to_jiffies(ms) : U32_MAX;

	WRITE_ONCE(scst_slow_after, after);
	WRITE_ONCE(scst_stage_after, ms ? after / 8 : after);
}

/* --- records ---------------------------------------------------------------------------------------- */

static struct scst_recorder *scst_recorder_of(struct scst_device *dev)
{
	return dev ? &dev->recorder : &scst_recorder_nobody;
}

static struct scst_record *scst_record_alloc(const struct scst_event *event, const struct scst_session *sess)
{
	size_t initiator = strlen(sess->initiator) + 1;
	size_t target = strlen(sess->driver->name) + 1 + strlen(sess->tgt->name) + 1;
	struct scst_record *record;

	record = kmalloc(sizeof(*record) + initiator + target, GFP_NOWAIT | __GFP_NOWARN);
	if (!record)
		return NULL;
	record->event = *event;
	record->times = 1;
	record->initiator_len = initiator;
	record->names_len = initiator + target;
	strscpy(record->names, sess->initiator, initiator);
	snprintf(record->names + initiator, target, "%s/%s", sess->driver->name, sess->tgt->name);
	return record;
}

static bool scst_event_same(const struct scst_event *one, const struct scst_event *other)
{
	return one->session == other->session && one->lun == other->lun && one->status == other->status &&
	       one->code == other->code && one->what == other->what && one->cdb[0] == other->cdb[0] &&
	       (one->longest_in == SCST_STAGE_FAULT) == (other->longest_in == SCST_STAGE_FAULT);
}

/* Once more.  Return: false: there is none like it. */
static bool scst_recorder_repeat(struct scst_recorder *recorder, const struct scst_event *event)
{
	struct scst_record *record;

	lockdep_assert_held(&recorder->lock);
	list_for_each_entry_reverse(record, &recorder->records[event->kind], entry) {
		if (!scst_event_same(&record->event, event))
			continue;
		record->event = *event;
		record->times++;
		record->seen = ++recorder->clock;
		return true;
	}
	return false;
}

/* The one that was not seen for the longest time, taken out. */
static struct scst_record *scst_recorder_oldest(struct scst_recorder *recorder, enum scst_record_kind kind)
{
	struct scst_record *record, *oldest = NULL;

	list_for_each_entry(record, &recorder->records[kind], entry)
		if (!oldest || record->seen < oldest->seen)
			oldest = record;
	list_del(&oldest->entry);
	recorder->nr[kind]--;
	return oldest;
}

/* Return: who made room, to be freed; or NULL. */
static struct scst_record *scst_recorder_add(struct scst_recorder *recorder, struct scst_record *record)
{
	enum scst_record_kind kind = record->event.kind;
	struct scst_record *oldest = NULL;

	lockdep_assert_held(&recorder->lock);
	if (recorder->nr[kind] == RECORDS_MAX)
		oldest = scst_recorder_oldest(recorder, kind);
	record->seq = ++recorder->clock;
	record->seen = record->seq;
	list_add_tail(&record->entry, &recorder->records[kind]);
	recorder->nr[kind]++;
	return oldest;
}

static bool scst_recorder_repeated(struct scst_recorder *recorder, const struct scst_event *event)
{
	unsigned long irq;
	bool repeated;

	if (event->kind == SCST_RECORD_SLOW)
		return false;
	spin_lock_irqsave(&recorder->lock, irq);
	repeated = scst_recorder_repeat(recorder, event);
	spin_unlock_irqrestore(&recorder->lock, irq);
	return repeated;
}

/* Two that come at the same moment may be two records.  Any context. */
static void scst_recorder_remember(struct scst_recorder *recorder, const struct scst_event *event, const struct scst_session *sess)
{
	struct scst_record *record, *oldest;
	unsigned long irq;

	if (scst_recorder_repeated(recorder, event))
		return;
	record = scst_record_alloc(event, sess);
	if (!record)
		return;
	spin_lock_irqsave(&recorder->lock, irq);
	oldest = scst_recorder_add(recorder, record);
	spin_unlock_irqrestore(&recorder->lock, irq);
	kfree(oldest);
}

/* It was in @last since somebody told. */
static void scst_record_cmd(struct scst_cmd *cmd, enum scst_record_kind kind, enum scst_stage last)
{
	struct scst_event event = {
		.when = ktime_get_real_ns(), .session = cmd->sess->id, .kind = kind, .what = cmd->op ? cmd->op->name : NULL,
		.lun = cmd->lun, .tag = cmd->tag, .len = cmd->len, .status = cmd->status, .code = scst_cmd_sense_code(cmd),
		.cdb_len = min_t(u8, cmd->cdb_len, SCST_MAX_CDB), .sense_len = min_t(u8, cmd->sense_len, RECORD_SENSE),
	};

	memcpy(event.cdb, cmd->cdb, event.cdb_len);
	if (event.sense_len)
		memcpy(event.sense, cmd->sense, event.sense_len);
	scst_stage(cmd, last);
	event.ms = jiffies_to_msecs(scst_cmd_ticks(cmd));
	event.longest_ms = jiffies_to_msecs(cmd->longest);
	event.longest_in = test_bit(SCST_CMD_STRUCK, &cmd->flags) ? SCST_STAGE_FAULT : cmd->longest_in;
	scst_recorder_remember(scst_recorder_of(cmd->dev), &event, cmd->sess);
}

/* It was slow: scst_cmd_sent() has been called.  Any context. */
void __cold scst_record_slow(struct scst_cmd *cmd)
{
	scst_record_cmd(cmd, SCST_RECORD_SLOW, SCST_STAGE_RESPONSE);
}

/* It is about to be answered, and not with GOOD.  Any context. */
void __cold scst_record_failed(struct scst_cmd *cmd)
{
	if ((cmd->status != SAM_STAT_BUSY && cmd->status != SAM_STAT_TASK_SET_FULL) || test_bit(SCST_CMD_STRUCK, &cmd->flags))
		scst_record_cmd(cmd, SCST_RECORD_FAILED, SCST_STAGE_CORE);
}

static const char *const scst_tmf_names[] = {
	[SCST_TMF_ABORT_TASK]		= "ABORT TASK",
	[SCST_TMF_ABORT_TASK_SET]	= "ABORT TASK SET",
	[SCST_TMF_CLEAR_ACA]		= "CLEAR ACA",
	[SCST_TMF_CLEAR_TASK_SET]	= "CLEAR TASK SET",
	[SCST_TMF_LUN_RESET]		= "LOGICAL UNIT RESET",
	[SCST_TMF_TARGET_RESET]		= "TARGET RESET",
	[SCST_TMF_I_T_NEXUS_RESET]	= "I_T NEXUS RESET",
	[SCST_TMF_QUERY_TASK]		= "QUERY TASK",
	[SCST_TMF_QUERY_TASK_SET]	= "QUERY TASK SET",
};

/* Those of a task name it by its tag alone. */
static bool scst_tmf_has_lun(const struct scst_tmf *tmf)
{
	switch (tmf->fn) {
	case SCST_TMF_ABORT_TASK:
	case SCST_TMF_QUERY_TASK:
	case SCST_TMF_TARGET_RESET:
	case SCST_TMF_I_T_NEXUS_RESET:
		return false;
	default:
		return true;
	}
}

/* It is about to be answered.  Process context. */
void scst_record_tmf(const struct scst_tmf *tmf)
{
	struct scst_nexus *nexus = scst_tmf_has_lun(tmf) ? scst_nexus_find(tmf->sess, tmf->lun) : NULL;
	struct scst_event event = {
		.when = ktime_get_real_ns(), .session = tmf->sess->id, .kind = SCST_RECORD_TMF,
		.lun = scst_tmf_has_lun(tmf) ? tmf->lun : SCST_LUN_INVALID,
		.tag = tmf->tag, .status = tmf->response, .ms = jiffies_to_msecs((u32)jiffies - tmf->since),
		.what = tmf->fn < ARRAY_SIZE(scst_tmf_names) ? scst_tmf_names[tmf->fn] : NULL,
	};

	scst_recorder_remember(scst_recorder_of(nexus ? nexus->dev : NULL), &event, tmf->sess);
	if (nexus)
		percpu_ref_put(&nexus->ref);
}

/* --- recorders ---------------------------------------------------------------------------------------- */

void scst_recorder_setup(struct scst_recorder *recorder)
{
	enum scst_record_kind kind;

	spin_lock_init(&recorder->lock);
	for (kind = 0; kind < SCST_RECORD_KINDS; kind++)
		INIT_LIST_HEAD(&recorder->records[kind]);
}

/* Nobody has it any more. */
void scst_recorder_free(struct scst_recorder *recorder)
{
	struct scst_record *record, *next;
	enum scst_record_kind kind;

	for (kind = 0; kind < SCST_RECORD_KINDS; kind++)
		list_for_each_entry_safe(record, next, &recorder->records[kind], entry)
			kfree(record);
}

int scst_recorder_init(void)
{
	scst_recorder_setup(&scst_recorder_nobody);
	scst_slow_set_ms(SCST_SLOW_MS);
	return 0;
}

void scst_recorder_exit(void)
{
	scst_recorder_free(&scst_recorder_nobody);
}

/* --- debugfs: recorder ---------------------------------------------------------------------------------- */

/**
 * struct scst_reading - a reader of the file
 * @devs: all devices, held while lines are copied; NULL: not now.  Between two reads they may be others: the lines are true one by one.
 * @nr: of them; one more recorder is nobody's
 * @device: of the record
 * @record: a copy, with room for names
 */
struct scst_reading {
	struct scst_device **devs;
	u32 nr;
	const char *device;
	struct scst_record *record;
};

/* Positions: recorder, kind, and what is next of it; 0 is the heading, so recorders count from 1. */
#define SEQ_BITS	40
#define KIND_BITS	2
#define POS(recorder, kind, seq)	((loff_t)((recorder) + 1) << (KIND_BITS + SEQ_BITS) | (loff_t)(kind) << SEQ_BITS | (seq))

static_assert(SCST_RECORD_KINDS < BIT(KIND_BITS));

/* Copy the first record from @seq on.  Return: is there one? */
static bool scst_reading_take(struct scst_reading *reading, struct scst_recorder *recorder, u32 kind, u64 seq)
{
	struct scst_record *record;
	bool found = false;

	spin_lock_irq(&recorder->lock);
	list_for_each_entry(record, &recorder->records[kind], entry) {
		found = record->seq >= seq;
		if (!found)
			continue;
		memcpy(reading->record, record, sizeof(*record) + record->names_len);
		break;
	}
	spin_unlock_irq(&recorder->lock);
	return found;
}

static void *scst_reading_find(struct scst_reading *reading, loff_t *pos)
{
	u64 seq = *pos & GENMASK_ULL(SEQ_BITS - 1, 0);
	u32 kind = *pos >> SEQ_BITS & GENMASK(KIND_BITS - 1, 0);
	u32 i = (*pos >> (SEQ_BITS + KIND_BITS)) - 1;

	for (; i <= reading->nr; i++, kind = 0) {
		struct scst_device *dev = i < reading->nr ? reading->devs[i] : NULL;

		for (; kind < SCST_RECORD_KINDS; kind++, seq = 0) {
			if (!scst_reading_take(reading, scst_recorder_of(dev), kind, seq))
				continue;
			reading->device = dev ? dev->name : "-";
			*pos = POS(i, kind, reading->record->seq);
			return reading;
		}
		cond_resched();
	}
	return NULL;
}

static void *scst_reading_start(struct seq_file *m, loff_t *pos)
{
	struct scst_reading *reading = m->private;
	int nr;

	if (!*pos)
		return SEQ_START_TOKEN;
	do {
		nr = scst_devices_hold(&reading->devs);
	} while (nr == -EAGAIN);
	if (nr < 0)
		return ERR_PTR(nr);
	reading->nr = nr;
	return scst_reading_find(reading, pos);
}

static void *scst_reading_next(struct seq_file *m, void *line, loff_t *pos)
{
	if (line == SEQ_START_TOKEN) {
		*pos = POS(0, 0, 0);
		return scst_reading_start(m, pos);
	}
	++*pos;
	return scst_reading_find(m->private, pos);
}

static void scst_reading_stop(struct seq_file *m, void *line)
{
	struct scst_reading *reading = m->private;

	if (!reading->devs)
		return;
	scst_devices_put(reading->devs, reading->nr);
	reading->devs = NULL;
}

static const char *const scst_record_kinds[SCST_RECORD_KINDS] = {
	[SCST_RECORD_SLOW]	= "slow",
	[SCST_RECORD_FAILED]	= "failed",
	[SCST_RECORD_TMF]	= "tmf",
};

static const char *const scst_stages[SCST_STAGES] = {
	[SCST_STAGE_CORE]	= "core",
	[SCST_STAGE_LIMITED]	= "limited",
	[SCST_STAGE_FAULT]	= "fault",
	[SCST_STAGE_QUESTION]	= "question",
	[SCST_STAGE_ORDER]	= "order",
	[SCST_STAGE_TURN]	= "turn",
	[SCST_STAGE_DATA]	= "data",
	[SCST_STAGE_THREAD]	= "thread",
	[SCST_STAGE_HANDLER]	= "handler",
	[SCST_STAGE_RESPONSE]	= "response",
};

static void scst_reading_bytes(struct seq_file *m, const u8 *bytes, u8 len)
{
	if (len)
		seq_printf(m, " %*phN", len, bytes);
	else
		seq_puts(m, " -");
}

static int scst_reading_show(struct seq_file *m, void *line)
{
	const struct scst_reading *reading = m->private;
	const struct scst_record *record = reading->record;
	const struct scst_event *event = &record->event;

	if (line == SEQ_START_TOKEN) {
		seq_puts(m, "#kind when times session target initiator lun device tag ms place place_ms bytes status code cdb sense what\n");
		return 0;
	}
	seq_printf(m, "%s %llu %llu %u", scst_record_kinds[event->kind], event->when, record->times, event->session);
	scst_seq_word(m, record->names + record->initiator_len);
	scst_seq_word(m, record->names);
	scst_seq_lun(m, event->lun);
	seq_printf(m, " %s 0x%llx %u", reading->device, event->tag, event->ms);
	seq_printf(m, " %s %u", scst_stages[event->longest_in], event->longest_ms);
	seq_printf(m, " %u %u %06x", event->len, event->status, event->code);
	scst_reading_bytes(m, event->cdb, event->cdb_len);
	scst_reading_bytes(m, event->sense, event->sense_len);
	seq_printf(m, " %s\n", event->what ?: "-");
	return 0;
}

static const struct seq_operations scst_reading_ops = {
	.start	= scst_reading_start,
	.next	= scst_reading_next,
	.stop	= scst_reading_stop,
	.show	= scst_reading_show,
};

static int scst_recorder_open(struct inode *inode, struct file *file)
{
	struct scst_reading *reading = __seq_open_private(file, &scst_reading_ops, sizeof(*reading));

	if (!reading)
		return -ENOMEM;
	reading->record = kmalloc(RECORD_SIZE, GFP_KERNEL);
	if (reading->record)
		return 0;
	seq_release_private(inode, file);
	return -ENOMEM;
}

static int scst_recorder_release(struct inode *inode, struct file *file)
{
	struct scst_reading *reading = ((struct seq_file *)file->private_data)->private;

	kfree(reading->record);
	return seq_release_private(inode, file);
}

const struct file_operations scst_recorder_fops = {
	.owner		= THIS_MODULE,
	.open		= scst_recorder_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= scst_recorder_release,
};
