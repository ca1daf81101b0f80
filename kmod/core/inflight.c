// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is in flight, and how long it takes: the files commands and latency of debugfs, a line each.
 *
 * Nobody is stopped, and no lock is held from one line to the next.  A session is kept from going while a line of it is copied,
 * a command from leaving its slot; neither waits for a back end or a reader.  So the lines are true one by one, at slightly
 * different moments.  Commands that are answered in the context they come in are not in the table (track.c) and not here.
 */
#include "core.h"
#include <linux/debugfs.h>
#include <linux/sched.h>
#include <linux/seq_file.h>

/* What is copied of a command. */
struct scst_glimpse {
	u32 age;		/* milliseconds */
	const char *place;
	const char *op;		/* NULL: not known */
	u64 tag;
	u32 lun;
	u32 len;
	bool aborted;
	u8 cdb_len;
	u8 cdb[SCST_MAX_CDB];
	char device[SCST_DEVICE_NAME_LEN + 1];
};

/* ... and of a nexus's histograms. */
struct scst_latencies {
	u32 lun;
	char device[SCST_DEVICE_NAME_LEN + 1];
	u64 sums[SCST_LATENCY_KINDS][SCST_LATENCY_BUCKETS];
};

/**
 * struct scst_lines - a reader of one of the files
 * @find: copy what is at @index of a session or, if nothing is there, the next; sets @index, returns false if there is no more
 * @session: of the line, by number
 * @target: where it is logged in
 * @initiator: who is
 * @glimpse: of the file commands
 * @latencies: of the file latency
 */
struct scst_lines {
	bool (*find)(struct scst_session *sess, u32 *index, struct scst_lines *lines);
	u32 session;
	char target[64 + SCST_TARGET_NAME_LEN + 2];
	char initiator[SCST_INITIATOR_NAME_LEN + 1];
	union {
		struct scst_glimpse glimpse;
		struct scst_latencies latencies;
	};
};

/* --- positions: a session's number, and what is next of it; 0 is the heading ---------------------- */

#define INDEX_BITS	20

static void scst_lines_take(struct scst_lines *lines, const struct scst_session *sess)
{
	lines->session = sess->id;
	snprintf(lines->target, sizeof(lines->target), "%s/%s", sess->driver->name, sess->tgt->name);
	strscpy(lines->initiator, sess->initiator, sizeof(lines->initiator));
}

static void *scst_lines_find(struct scst_lines *lines, loff_t *pos)
{
	u32 id = *pos >> INDEX_BITS, from = *pos & GENMASK(INDEX_BITS - 1, 0);
	struct scst_session *sess;

	while ((sess = scst_session_next(id))) {
		u32 index = sess->id == id ? from : 0;
		bool found = lines->find(sess, &index, lines);

		id = sess->id + 1;
		if (found) {
			scst_lines_take(lines, sess);
			*pos = (loff_t)sess->id << INDEX_BITS | index;
		}
		scst_session_put(sess);
		if (found)
			return lines;
		from = 0;
		cond_resched();
	}
	return NULL;
}

static void *scst_lines_start(struct seq_file *m, loff_t *pos)
{
	return *pos ? scst_lines_find(m->private, pos) : SEQ_START_TOKEN;
}

static void *scst_lines_next(struct seq_file *m, void *line, loff_t *pos)
{
	++*pos;
	return scst_lines_find(m->private, pos);
}

static void scst_lines_stop(struct seq_file *m, void *line)
{
}

/* A name as one word, after a blank. */
void scst_seq_word(struct seq_file *m, const char *name)
{
	seq_putc(m, ' ');
	seq_escape(m, name, " \t\n\\");
}

void scst_seq_lun(struct seq_file *m, u32 lun)
{
	if (lun == SCST_LUN_INVALID)
		seq_puts(m, " -");
	else
		seq_printf(m, " %u", lun);
}

static void scst_lines_who(struct seq_file *m, const struct scst_lines *lines, u32 lun, const char *device)
{
	seq_printf(m, " %u", lines->session);
	scst_seq_word(m, lines->target);
	scst_seq_word(m, lines->initiator);
	scst_seq_lun(m, lun);
	seq_printf(m, " %s", *device ? device : "-");
}

static int scst_lines_open(struct file *file, const struct seq_operations *ops,
			   bool (*find)(struct scst_session *sess, u32 *index, struct scst_lines *lines))
{
	struct scst_lines *lines = __seq_open_private(file, ops, sizeof(*lines));

	if (!lines)
		return -ENOMEM;
	lines->find = find;
	return 0;
}

/* --- commands -------------------------------------------------------------------------------------- */

/*
 * Where a command is that is in the table.  Any context; it may go on meanwhile, and who moves it writes plainly: no command
 * pays for being looked at, and a word that is wrong for a moment is no harm.
 */
static const char *scst_cmd_place(const struct scst_cmd *cmd)
{
	unsigned long flags = READ_ONCE(cmd->flags);

	if (flags & BIT(SCST_CMD_STALLED))
		return "stalled";
	if (flags & BIT(SCST_CMD_RECEIVING))
		return "data";
	if (flags & BIT(SCST_CMD_AT_DRIVER))
		return "response";
	if (flags & BIT(SCST_CMD_BLOCKED))
		return "aca";
	if (flags & BIT(SCST_CMD_HELD))
		return "order";
	if (flags & BIT(SCST_CMD_WAITING))
		return "turn";
	if (flags & BIT(SCST_CMD_LIMITED))
		return data_race(READ_ONCE(cmd->waiter.lane)) == SCST_LANE_FAULT ? "fault" : "limited";
	if (flags & BIT(SCST_CMD_ASKING))
		return "question";
	if (data_race(READ_ONCE(cmd->now)) == SCST_NOW_QUEUED)
		return "thread";
	return data_race(scst_cmd_at_handler(cmd)) ? "handler" : "core";
}

static void scst_glimpse_take(struct scst_cmd *cmd, void *arg)
{
	struct scst_glimpse *glimpse = arg;
	const struct scst_opcode *op = data_race(READ_ONCE(cmd->op));

	glimpse->age = jiffies_to_msecs(scst_cmd_ticks(cmd));
	glimpse->place = scst_cmd_place(cmd);
	glimpse->op = op ? op->name : NULL;
	glimpse->tag = cmd->tag;
	glimpse->lun = cmd->lun;
	glimpse->len = data_race(READ_ONCE(cmd->len));
	glimpse->aborted = scst_cmd_aborted(cmd);
	glimpse->cdb_len = min_t(u8, cmd->cdb_len, SCST_MAX_CDB);
	memcpy(glimpse->cdb, cmd->cdb, glimpse->cdb_len);
	strscpy(glimpse->device, cmd->dev ? cmd->dev->name : "", sizeof(glimpse->device));
}

static bool scst_glimpse_at(struct scst_slot *slot, struct scst_glimpse *glimpse)
{
	unsigned long irq;
	bool there;

	if (!READ_ONCE(slot->cmd))
		return false;
	local_irq_save(irq);
	there = scst_slot_look(slot, scst_glimpse_take, glimpse);
	local_irq_restore(irq);
	return there;
}

static bool scst_glimpse_find(struct scst_session *sess, u32 *index, struct scst_lines *lines)
{
	for (; *index <= sess->slot_mask; ++*index)
		if (scst_glimpse_at(&sess->slots[*index], &lines->glimpse))
			return true;
	return false;
}

static int scst_glimpse_show(struct seq_file *m, void *line)
{
	const struct scst_lines *lines = m->private;
	const struct scst_glimpse *glimpse = &lines->glimpse;

	if (line == SEQ_START_TOKEN) {
		seq_puts(m, "#age_ms place aborted session target initiator lun device tag bytes cdb opcode\n");
		return 0;
	}
	seq_printf(m, "%u %s %d", glimpse->age, glimpse->place, glimpse->aborted);
	scst_lines_who(m, lines, glimpse->lun, glimpse->device);
	seq_printf(m, " 0x%llx %u %*phN %s\n", glimpse->tag, glimpse->len, glimpse->cdb_len, glimpse->cdb,
		   glimpse->op ?: "-");
	return 0;
}

static const struct seq_operations scst_inflight_ops = {
	.start	= scst_lines_start,
	.next	= scst_lines_next,
	.stop	= scst_lines_stop,
	.show	= scst_glimpse_show,
};

static int scst_inflight_open(struct inode *inode, struct file *file)
{
	return scst_lines_open(file, &scst_inflight_ops, scst_glimpse_find);
}

const struct file_operations scst_inflight_fops = {
	.owner		= THIS_MODULE,
	.open		= scst_inflight_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= seq_release_private,
};

/* --- latencies --------------------------------------------------------------------------------------- */

static const char *const scst_latency_kinds[SCST_LATENCY_KINDS] = {
	[SCST_LATENCY_READ]	= "read",
	[SCST_LATENCY_WRITE]	= "write",
	[SCST_LATENCY_OTHER]	= "other",
};

/* Index of the first LUN from @lun on; entries ascend, and none stands behind the place of its number. */
static u32 scst_view_from(const struct scst_view *view, u32 lun)
{
	u32 i = min(lun, view->nr);

	while (i && view->entry[i - 1].lun >= lun)
		i--;
	return i;
}

static bool scst_latencies_take(const struct scst_view_entry *entry, struct scst_latencies *to)
{
	const struct scst_latency *latency = rcu_dereference(entry->nexus->latency);

	if (!latency)
		return false;
	to->lun = entry->lun;
	strscpy(to->device, entry->nexus->dev->name, sizeof(to->device));
	scst_latency_sum(latency, to->sums);
	return true;
}

static bool scst_latencies_find(struct scst_session *sess, u32 *index, struct scst_lines *lines)
{
	const struct scst_view *view;
	bool found = false;
	u32 i;

	rcu_read_lock();
	view = rcu_dereference(sess->view);
	for (i = view ? scst_view_from(view, *index) : 0; view && i < view->nr && !found; i++)
		found = scst_latencies_take(&view->entry[i], &lines->latencies);
	rcu_read_unlock();
	if (found)
		*index = lines->latencies.lun;
	return found;
}

static void scst_latencies_line(struct seq_file *m, const struct scst_lines *lines, enum scst_latency_kind kind)
{
	const struct scst_latencies *latencies = &lines->latencies;
	unsigned int i;

	seq_puts(m, scst_latency_kinds[kind]);
	scst_lines_who(m, lines, latencies->lun, latencies->device);
	for (i = 0; i < SCST_LATENCY_BUCKETS; i++)
		seq_printf(m, " %llu", latencies->sums[kind][i]);
	seq_putc(m, '\n');
}

static int scst_latencies_show(struct seq_file *m, void *line)
{
	enum scst_latency_kind kind;

	if (line == SEQ_START_TOKEN) {
		seq_puts(m, "#kind session target initiator lun device, then commands that took less than 1, 2, 4 ... microseconds\n");
		return 0;
	}
	for (kind = 0; kind < SCST_LATENCY_KINDS; kind++)
		scst_latencies_line(m, m->private, kind);
	return 0;
}

static const struct seq_operations scst_latency_ops = {
	.start	= scst_lines_start,
	.next	= scst_lines_next,
	.stop	= scst_lines_stop,
	.show	= scst_latencies_show,
};

static int scst_latency_open(struct inode *inode, struct file *file)
{
	return scst_lines_open(file, &scst_latency_ops, scst_latencies_find);
}

const struct file_operations scst_latency_fops = {
	.owner		= THIS_MODULE,
	.open		= scst_latency_open,
	.read		= seq_read,
	.llseek		= seq_lseek,
	.release	= seq_release_private,
};
