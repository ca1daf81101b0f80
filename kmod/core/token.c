// SPDX-License-Identifier: GPL-2.0-only
/*
 * ROD tokens of a device's data (SPC-4 5.16.6): of the type "point in time copy - change vulnerable".
 *
 * A token stands for data as it was when the token was made, and for nothing else: the first write that may change some of it ends the
 * token.  Writes are looked at only while there are tokens.  Then a gate says so (SCST_GATE_TOKENS), in the word that every command reads
 * anyhow, and whoever finds it says where he writes, before he does; what writes piece by piece says so with its turn (turn.c).
 * Without a token nobody pays for that.
 *
 * Nothing slips through.  The gate is closed and the token is there before the tables of the sessions are looked at: a write that
 * was in its table before and is at the medium, or on the way there without looking at the gate again, is found, and then there is no
 * token: BUSY.  Who makes a token waits for nobody.
 *
 *	write					token
 *	slot = cmd	(cmpxchg: barrier)	the gate, the list
 *						smp_mb()
 *	read the gate				read slot
 *
 * Who reads for a copy looks at the token when he has read: nothing that was read before the token ended was changed before.
 *
 * A token ends as well when nobody has used it for as long as was asked for, an hour after it was made, and when the unit gets
 * another size or its medium goes.  It is remembered for a while why.
 */
#include "commands.h"
#include "copy.h"

#define TOKENS		128	/* of a device */
#define TOKENS_NEXUS	32	/* ... that one I_T nexus has made: then the oldest goes */
#define TOKENS_DEAD	64	/* that are remembered */

static void scst_token_release(struct kref *kref)
{
	kfree(container_of(kref, struct scst_token, kref));
}

/* Any context. */
void scst_token_put(struct scst_token *token)
{
	kref_put(&token->kref, scst_token_release);
}

/* --- the end of a token --------------------------------------------------------------------------- */

static void scst_tokens_bury(struct scst_tokens *tokens)
{
	struct scst_token *token = list_first_entry(&tokens->dead, struct scst_token, entry);

	list_del(&token->entry);
	tokens->nr_dead--;
	scst_token_put(token);
}

/* @sense: what those are told who want to use it. */
static void scst_token_kill(struct scst_tokens *tokens, struct scst_token *token, u32 sense)
{
	lockdep_assert_held(&tokens->lock);
	WRITE_ONCE(token->over, sense);
	/* Pairs with scst_token_over(): what has ended it changes data later only. */
	smp_mb();
	list_move_tail(&token->entry, &tokens->dead);
	tokens->nr_live--;
	if (++tokens->nr_dead > TOKENS_DEAD)
		scst_tokens_bury(tokens);
}

/* When there is none any more the gate is opened, from a work item, which may take nexus_lock. */
static void scst_tokens_look_later(struct scst_device *dev)
{
	if (list_empty(&dev->tokens.live) && test_bit(SCST_GATE_TOKENS, &dev->gates))
		mod_delayed_work(scst_release_wq, &dev->tokens.work, 0);
}

/* When its time is up (jiffies). */
static unsigned long scst_token_until(const struct scst_token *token)
{
	unsigned long last = token->made + SCST_TOKEN_LIFETIME * HZ, rest = READ_ONCE(token->used) + token->timeout * HZ;

	return !atomic_read(&token->users) && time_before(rest, last) ? rest : last;
}

static void scst_tokens_expire(struct scst_tokens *tokens)
{
	struct scst_token *token, *next;

	lockdep_assert_held(&tokens->lock);
	list_for_each_entry_safe(token, next, &tokens->live, entry)
		if (time_after_eq(jiffies, scst_token_until(token)))
			scst_token_kill(tokens, token, SCST_TOKEN_EXPIRED);
}

/* Jiffies until the next may expire; there are some. */
static unsigned long scst_tokens_next(const struct scst_tokens *tokens)
{
	unsigned long next = SCST_TOKEN_LIFETIME * HZ, now = jiffies;
	const struct scst_token *token;

	list_for_each_entry(token, &tokens->live, entry) {
		unsigned long until = scst_token_until(token);

		next = min(next, time_after(until, now) ? until - now : 1);
	}
	return next;
}

static void scst_tokens_work(struct work_struct *work)
{
	struct scst_device *dev = container_of(to_delayed_work(work), struct scst_device, tokens.work);
	struct scst_tokens *tokens = &dev->tokens;
	unsigned long next = 0;

	spin_lock_bh(&dev->nexus_lock);
	spin_lock_irq(&tokens->lock);
	scst_tokens_expire(tokens);
	if (!list_empty(&tokens->live))
		next = scst_tokens_next(tokens);
	spin_unlock_irq(&tokens->lock);
	if (!next)
		scst_gate_assign(dev, SCST_GATE_TOKENS, false);
	spin_unlock_bh(&dev->nexus_lock);
	if (next)
		queue_delayed_work(scst_release_wq, &tokens->work, next);
}

/**
 * scst_tokens_changed() - blocks of a device are about to be written
 * @dev: the device
 * @lba: first of them
 * @nblocks: number
 *
 * Any context; the command that writes them is in its table.  Tokens of theirs end.
 */
void scst_tokens_changed(struct scst_device *dev, u64 lba, u64 nblocks)
{
	struct scst_tokens *tokens = &dev->tokens;
	struct scst_token *token, *next;
	unsigned long irq;

	spin_lock_irqsave(&tokens->lock, irq);
	list_for_each_entry_safe(token, next, &tokens->live, entry)
		if (scst_token_touches(token->range, token->nr, lba, nblocks))
			scst_token_kill(tokens, token, SCST_TOKEN_REVOKED);
	scst_tokens_look_later(dev);
	spin_unlock_irqrestore(&tokens->lock, irq);
}

/* All of them end: the medium goes, or is another one.  Process or softirq context. */
void scst_tokens_end(struct scst_device *dev)
{
	struct scst_tokens *tokens = &dev->tokens;
	struct scst_token *token, *next;
	unsigned long irq;

	spin_lock_irqsave(&tokens->lock, irq);
	list_for_each_entry_safe(token, next, &tokens->live, entry)
		scst_token_kill(tokens, token, SCST_TOKEN_REVOKED);
	scst_tokens_look_later(dev);
	spin_unlock_irqrestore(&tokens->lock, irq);
}

/* One of them ends, and @sense says why.  Any context; @token is held. */
void scst_token_end(struct scst_device *dev, struct scst_token *token, u32 sense)
{
	struct scst_tokens *tokens = &dev->tokens;
	unsigned long irq;

	spin_lock_irqsave(&tokens->lock, irq);
	if (!token->over)
		scst_token_kill(tokens, token, sense);
	scst_tokens_look_later(dev);
	spin_unlock_irqrestore(&tokens->lock, irq);
}

/* --- a new one ---------------------------------------------------------------------------------------- */

struct scst_token_scan {
	const struct scst_nexus *nexus;
	const struct scst_token *token;
	bool found;
};

static bool scst_token_may_change(const struct scst_token *token, const struct scst_cmd *cmd)
{
	/* Pairs with scst_cmd_pin_rcu(). */
	if (!smp_load_acquire(&cmd->pinned))
		return true;
	/* UNMAP: anywhere. */
	if (!cmd->nblocks)
		return cmd->op->flags & SCST_OP_TURNS;
	return scst_token_touches(token->range, token->nr, cmd->lba, cmd->nblocks);
}

/* A command in a table, which can't leave it meanwhile.  What waits for its data, or has not begun, looks at its gates again. */
static void scst_token_scan_cmd(struct scst_cmd *cmd, void *arg)
{
	struct scst_token_scan *scan = arg;
	const u16 kind = SCST_OP_WRITE | SCST_OP_MEDIUM;

	if (cmd->nexus != scan->nexus || !cmd->op || (cmd->op->flags & kind) != kind)
		return;
	if (test_bit(SCST_CMD_AT_DRIVER, &cmd->flags) || test_bit(SCST_CMD_HELD, &cmd->flags) ||
	    test_bit(SCST_CMD_BLOCKED, &cmd->flags) || test_bit(SCST_CMD_LIMITED, &cmd->flags))
		return;
	if (scst_token_may_change(scan->token, cmd))
		scan->found = true;
}

/* Is something being written there that has not seen the gate? */
static bool scst_token_contested(struct scst_device *dev, const struct scst_token *token)
{
	struct scst_token_scan scan = { .token = token };
	struct scst_nexus *nexus;

	smp_mb();
	rcu_read_lock();
	list_for_each_entry_rcu(nexus, &dev->nexuses, dev_entry) {
		scan.nexus = nexus;
		scst_track_look_through(nexus->sess, scst_token_scan_cmd, &scan);
	}
	rcu_read_unlock();
	return scan.found;
}

/* The medium has gone, or its end, before whoever ends tokens could see this one. */
static bool scst_token_late(const struct scst_device *dev, const struct scst_token *token)
{
	u64 nblocks = READ_ONCE(dev->geo.nblocks);

	return scst_medium_ejected(dev) || scst_token_touches(token->range, token->nr, nblocks, U64_MAX - nblocks);
}

/* The oldest of an I_T nexus that has too many and that nobody is using.  False: it uses all of them. */
static bool scst_tokens_make_room(struct scst_tokens *tokens, u32 session)
{
	struct scst_token *token, *oldest = NULL;
	unsigned int nr = 0;

	list_for_each_entry(token, &tokens->live, entry) {
		if (token->session != session)
			continue;
		nr++;
		if (!oldest && !atomic_read(&token->users))
			oldest = token;
	}
	if (nr < TOKENS_NEXUS)
		return tokens->nr_live < TOKENS;
	if (oldest)
		scst_token_kill(tokens, oldest, SCST_TOKEN_REVOKED);
	return oldest;
}

/* Together with the gate, which the work item opens only when there is none. */
static bool scst_token_enter(struct scst_device *dev, struct scst_token *token)
{
	struct scst_tokens *tokens = &dev->tokens;
	bool room;

	spin_lock_bh(&dev->nexus_lock);
	if (!test_bit(SCST_GATE_TOKENS, &dev->gates))
		scst_gate_assign(dev, SCST_GATE_TOKENS, true);
	spin_lock_irq(&tokens->lock);
	scst_tokens_expire(tokens);
	room = scst_tokens_make_room(tokens, token->session);
	if (room) {
		kref_get(&token->kref);
		list_add_tail(&token->entry, &tokens->live);
		tokens->nr_live++;
	}
	spin_unlock_irq(&tokens->lock);
	spin_unlock_bh(&dev->nexus_lock);
	/* It looks when the first of them may expire. */
	mod_delayed_work(scst_release_wq, &tokens->work, 0);
	return room;
}

/**
 * scst_token_add() - data of a device can be had by a token from now on
 * @dev: the device, pinned
 * @token: all of it is set, and nobody knows it
 *
 * Process context.  Return: 0; SCST_TOKEN_NO_ROOM; or SCST_TOKEN_REVOKED: something of it is being written just now.
 */
u32 scst_token_add(struct scst_device *dev, struct scst_token *token)
{
	if (!scst_token_enter(dev, token))
		return SCST_TOKEN_NO_ROOM;
	if (scst_token_contested(dev, token) || scst_token_late(dev, token))
		scst_token_end(dev, token, SCST_TOKEN_REVOKED);
	return READ_ONCE(token->over) ? SCST_TOKEN_REVOKED : 0;
}

/* --- use ------------------------------------------------------------------------------------------------ */

static struct scst_token *scst_tokens_find(const struct list_head *list, const u8 *text)
{
	struct scst_token *token;

	list_for_each_entry(token, list, entry)
		if (!memcmp(token->text, text, SCST_TOKEN_CSCD))
			return token;
	return NULL;
}

/**
 * scst_token_use() - begin to use a token
 * @dev: the device that its data is of, by what it says
 * @text: the token
 * @used: set to the token; ends with scst_token_unuse()
 *
 * Any context.  Return: 0, or enum scst_token_sense.
 */
u32 scst_token_use(struct scst_device *dev, const u8 *text, struct scst_token **used)
{
	struct scst_tokens *tokens = &dev->tokens;
	struct scst_token *token;
	unsigned long irq;
	u32 sense;

	spin_lock_irqsave(&tokens->lock, irq);
	scst_tokens_expire(tokens);
	token = scst_tokens_find(&tokens->live, text) ?: scst_tokens_find(&tokens->dead, text);
	if (!token)
		sense = SCST_TOKEN_UNKNOWN;
	else if (memcmp(token->text, text, SCST_TOKEN))
		sense = SCST_TOKEN_CORRUPT;
	else
		sense = token->over;
	if (!sense) {
		atomic_inc(&token->users);
		kref_get(&token->kref);
		*used = token;
	}
	scst_tokens_look_later(dev);
	spin_unlock_irqrestore(&tokens->lock, irq);
	return sense;
}

/* Any context. */
void scst_token_unuse(struct scst_token *token)
{
	WRITE_ONCE(token->used, jiffies);
	/* Before it may expire. */
	smp_mb__before_atomic();
	atomic_dec(&token->users);
	scst_token_put(token);
}

/* Has the token ended, so that what was read just now may be something else?  0, or why.  Any context. */
u32 scst_token_over(const struct scst_token *token)
{
	/* What was read was read before. */
	smp_mb();
	return READ_ONCE(token->over);
}

/* --- devices --------------------------------------------------------------------------------------------- */

void scst_tokens_setup(struct scst_device *dev)
{
	struct scst_tokens *tokens = &dev->tokens;

	spin_lock_init(&tokens->lock);
	INIT_LIST_HEAD(&tokens->live);
	INIT_LIST_HEAD(&tokens->dead);
	INIT_DELAYED_WORK(&tokens->work, scst_tokens_work);
}

/* The last reference to the device is gone.  May sleep. */
void scst_tokens_stop(struct scst_device *dev)
{
	might_sleep();
	cancel_delayed_work_sync(&dev->tokens.work);
	WARN_ON_ONCE(!list_empty(&dev->tokens.live));
	while (!list_empty(&dev->tokens.dead))
		scst_tokens_bury(&dev->tokens);
}
