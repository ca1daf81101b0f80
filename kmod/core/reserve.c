// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reservations in force: what pr-access.c says of an I_T nexus is in the gates of its nexuses, so that a command asks for
 * it with the one load that it does anyway.  RESERVE and RELEASE (SPC-2); PERSISTENT RESERVE is in pr.c.
 *
 * Whatever changes who holds a device, under its nexus_lock, tells all its nexuses in the same hold of the lock; a new
 * one is told when it joins them, in that lock as well.
 *
 * A device is reserved by RESERVE until RELEASE, a reset of the logical unit, or the end of the I_T nexus.
 */
#include "commands.h"

const struct scst_pr scst_pr_nothing = { .holder = SCST_PR_NOBODY };

/* Which I_T nexus a session is. */
void scst_reserve_who(struct scst_pr_nexus *who, const struct scst_session *sess)
{
	who->id = sess->transport_id;
	/* Does not change while the target has sessions. */
	who->port = READ_ONCE(sess->tgt->rel_tgt_id);
}

/* The persistent reservation in force, under RCU or nexus_lock. */
const struct scst_pr *scst_reserve_persistent(const struct scst_device *dev)
{
	return rcu_dereference_check(dev->pr, lockdep_is_held(&dev->nexus_lock)) ?: &scst_pr_nothing;
}

static void scst_reserve_state(const struct scst_nexus *nexus, enum scst_hold *hold, enum scst_relation *relation)
{
	const struct scst_device *dev = nexus->dev;
	const struct scst_pr *pr = scst_reserve_persistent(dev);
	struct scst_pr_nexus who;

	lockdep_assert_held(&dev->nexus_lock);
	*relation = SCST_RELATION_NONE;
	if (dev->reserved) {
		*hold = SCST_HOLD_RESERVE;
		if (dev->reserved->sess == nexus->sess)
			*relation = SCST_RELATION_HOLDER;
		return;
	}
	*hold = scst_pr_hold(pr);
	if (!pr->nr)
		return;
	scst_reserve_who(&who, nexus->sess);
	*relation = scst_pr_relation(pr, &who);
}

/**
 * scst_access_now() - may a command pass?
 * @nexus: its nexus
 * @access: its class
 *
 * Under the device's nexus_lock, where its gates only say what was so when they were looked at.
 */
enum scst_access_answer scst_access_now(const struct scst_nexus *nexus, enum scst_op_access access)
{
	enum scst_relation relation;
	enum scst_hold hold;

	scst_reserve_state(nexus, &hold, &relation);
	return scst_access_decide(hold, relation, access);
}

/**
 * scst_access_update() - make the gates of a nexus what the reservations in force say
 * @nexus: one of its device's, or to become one in the same hold of the lock
 *
 * Under the device's nexus_lock.  A full barrier: writes that are in their session's table afterwards have found a gate that is
 * closed by now open, or will find it closed.
 *
 * Return: bits of the classes (enum scst_op_access) that are stopped.
 */
u32 scst_access_update(struct scst_nexus *nexus)
{
	enum scst_relation relation;
	enum scst_hold hold;
	unsigned long stops;

	scst_reserve_state(nexus, &hold, &relation);
	stops = scst_access_stops(hold, relation);
	WARN_ON_ONCE(stops & BIT(SCST_ACCESS_ALWAYS));
	WRITE_ONCE(nexus->access, hold << 8 | relation);
	/* Why, before that: pairs with scst_gate_access(). */
	smp_wmb();
	set_mask_bits(&nexus->gates, (unsigned long)SCST_STOPS_RESERVED, stops << SCST_GATE_ACCESS);
	scst_gate_look(nexus);
	return stops;
}

static void scst_access_update_all(struct scst_device *dev)
{
	struct scst_nexus *nexus;

	lockdep_assert_held(&dev->nexus_lock);
	list_for_each_entry(nexus, &dev->nexuses, dev_entry)
		scst_access_update(nexus);
}

static void scst_reserve_set(struct scst_device *dev, const struct scst_nexus *nexus)
{
	lockdep_assert_held(&dev->nexus_lock);
	if (dev->reserved == nexus)
		return;
	dev->reserved = nexus;
	scst_access_update_all(dev);
}

/**
 * scst_reserve_end() - a reservation by RESERVE ends
 * @dev: the device
 * @nexus: if it is the holder; NULL: whoever is
 *
 * Process or softirq context.
 */
void scst_reserve_end(struct scst_device *dev, const struct scst_nexus *nexus)
{
	spin_lock_bh(&dev->nexus_lock);
	if (!nexus || dev->reserved == nexus)
		scst_reserve_set(dev, NULL);
	spin_unlock_bh(&dev->nexus_lock);
}

static void scst_reserve_lost(struct scst_nexus *nexus)
{
	scst_reserve_end(nexus->dev, nexus);
	scst_medium_allow(nexus);
}

static void scst_reserve_lost_view(const struct scst_view *view)
{
	u32 i;

	for (i = 0; view && i < view->nr; i++) {
		struct scst_nexus *nexus = view->entry[i].nexus;

		/* One that is dying has ended it, or will. */
		if (!percpu_ref_tryget_live_rcu(&nexus->ref))
			continue;
		scst_reserve_lost(nexus);
		percpu_ref_put(&nexus->ref);
	}
}

/*
 * The I_T nexus is lost (SAM-5 6.3.4), though its session is not: what it has reserved and what removal it has prevented is free.
 * Process or softirq context.
 */
void scst_reserve_lost_session(struct scst_session *sess)
{
	rcu_read_lock();
	scst_reserve_lost_view(rcu_dereference(sess->view));
	rcu_read_unlock();
}

static void scst_reserve_answer(struct scst_cmd *cmd, enum scst_access_answer answer)
{
	if (answer == SCST_ACCESS_CONFLICT)
		scst_cmd_conflict(cmd);
	else if (answer == SCST_ACCESS_LOST)
		scst_cmd_sense(cmd, SCST_PR_SENSE_LOST);
	scst_cmd_respond(cmd);
}

/**
 * scst_reserve() - RESERVE(6) and (10)
 * @cmd: the command
 *
 * Who has reserved it already, by whichever LUN, keeps it.
 */
void scst_reserve(struct scst_cmd *cmd)
{
	struct scst_device *dev = cmd->dev;
	enum scst_access_answer answer;
	bool unread;

	spin_lock_bh(&dev->nexus_lock);
	unread = READ_ONCE(dev->pr_unread);
	/* Somebody else may have been faster since its gate was looked at. */
	answer = scst_access_now(cmd->nexus, SCST_ACCESS_RESERVE);
	/* What is taken away ends what it has reserved, then and now: scst_nexus_revoke() closes the gate first. */
	if (answer == SCST_ACCESS_PASS && !unread && !dev->reserved && !test_bit(SCST_GATE_REVOKED, &cmd->nexus->gates))
		scst_reserve_set(dev, cmd->nexus);
	spin_unlock_bh(&dev->nexus_lock);
	if (unread)
		scst_cmd_sense(cmd, SCST_SENSE_BECOMING_READY);
	scst_reserve_answer(cmd, unread ? SCST_ACCESS_PASS : answer);
}

/**
 * scst_release() - RELEASE(6) and (10)
 * @cmd: the command
 */
void scst_release(struct scst_cmd *cmd)
{
	struct scst_device *dev = cmd->dev;
	enum scst_access_answer answer;

	spin_lock_bh(&dev->nexus_lock);
	answer = scst_access_now(cmd->nexus, SCST_ACCESS_RELEASE);
	if (answer == SCST_ACCESS_PASS)
		scst_reserve_set(dev, NULL);
	spin_unlock_bh(&dev->nexus_lock);
	scst_reserve_answer(cmd, answer);
}
