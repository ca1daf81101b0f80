// SPDX-License-Identifier: GPL-2.0-only
/*
 * What may stop a command: one word of bits per I_T_L nexus.  The lower half are pending unit attentions (SAM-5 5.14), each told once;
 * setting a bit twice before it is told coalesces.  The upper half are gates, which stay closed until somebody opens them.
 * The lowest bit wins.  Commands read the word and mask it with what stops their opcode.
 *
 * Reservations have a gate for each class of commands.  What a command ends in that finds it closed, and whether it is of
 * the class at all, is asked for only then: scst_access_decide().
 *
 * Gates that hold for a whole device are kept in dev->gates as well, where new nexuses find them.
 */
#include "core.h"
#include "trace.h"

static_assert(BITS_PER_LONG == 64, "gates need 64 bits");
static_assert((int)SCST_UA_NR <= (int)SCST_GATE_REVOKED);
static_assert(SCST_GATE_NR <= BITS_PER_LONG);

static const u32 scst_gate_sense[SCST_GATE_NR] = {
	[SCST_UA_POWER_ON]		= SCST_SENSE(UNIT_ATTENTION, 0x29, 0x01),
	[SCST_UA_RESET]			= SCST_SENSE(UNIT_ATTENTION, 0x29, 0x03),
	[SCST_UA_NEXUS_LOSS]		= SCST_SENSE(UNIT_ATTENTION, 0x29, 0x07),
	[SCST_UA_READY]			= SCST_SENSE(UNIT_ATTENTION, 0x28, 0x00),
	[SCST_UA_INQUIRY_CHANGED]	= SCST_SENSE(UNIT_ATTENTION, 0x3f, 0x03),
	[SCST_UA_LUNS_CHANGED]		= SCST_SENSE(UNIT_ATTENTION, 0x3f, 0x0e),
	[SCST_UA_CAPACITY_CHANGED]	= SCST_SENSE(UNIT_ATTENTION, 0x2a, 0x09),
	[SCST_UA_MODE_CHANGED]		= SCST_SENSE(UNIT_ATTENTION, 0x2a, 0x01),
	[SCST_UA_RESERVATIONS_PREEMPTED] = SCST_SENSE(UNIT_ATTENTION, 0x2a, 0x03),
	[SCST_UA_RESERVATIONS_RELEASED]	= SCST_SENSE(UNIT_ATTENTION, 0x2a, 0x04),
	[SCST_UA_REGISTRATIONS_PREEMPTED] = SCST_SENSE(UNIT_ATTENTION, 0x2a, 0x05),
	[SCST_UA_ALUA_CHANGED]		= SCST_SENSE(UNIT_ATTENTION, 0x2a, 0x06),
	[SCST_UA_ALUA_FAILED]		= SCST_SENSE(UNIT_ATTENTION, 0x2a, 0x07),
	[SCST_UA_SPACE_SCARCE]		= SCST_SENSE(UNIT_ATTENTION, 0x38, 0x07),
	[SCST_UA_TIMESTAMP_CHANGED]	= SCST_SENSE(UNIT_ATTENTION, 0x2a, 0x10),
	[SCST_UA_IDENTIFIER_CHANGED]	= SCST_SENSE(UNIT_ATTENTION, 0x3f, 0x05),
	[SCST_GATE_REVOKED]		= SCST_SENSE_LUN_NOT_SUPPORTED,
	[SCST_GATE_STANDBY]		= SCST_SENSE(NOT_READY, 0x04, 0x0b),
	[SCST_GATE_UNAVAILABLE]		= SCST_SENSE_UNAVAILABLE,
	[SCST_GATE_OFFLINE]		= SCST_SENSE(NOT_READY, 0x04, 0x12),
	[SCST_GATE_TRANSITIONING]	= SCST_SENSE(NOT_READY, 0x04, 0x0a),
	[SCST_GATE_READ_ONLY]		= SCST_SENSE_WRITE_PROTECTED,
	[SCST_GATE_WRITE_PROTECT]	= SCST_SENSE_WRITE_PROTECTED,
	[SCST_GATE_WRITE_LOST]		= SCST_SENSE_WRITE_ERROR,
	[SCST_GATE_PARKED]		= SCST_SENSE_BECOMING_READY,
	[SCST_GATE_EJECTED]		= SCST_SENSE_NO_MEDIUM,
	[SCST_GATE_STOPPED]		= SCST_SENSE_START_REQUIRED,
	[SCST_GATE_FORMATTING]		= SCST_SENSE_FORMATTING,
	[SCST_GATE_SANITIZING]		= SCST_SENSE_SANITIZING,
	[SCST_GATE_SANITIZE_FAILED]	= SCST_SENSE_SANITIZE_FAILED,
	[SCST_GATE_FORMAT_FAILED]	= SCST_SENSE_FORMAT_FAILED,
};

/* Told once, like a unit attention.  REPORTED LUNS DATA HAS CHANGED is pending on every LUN but told once per session. */
static bool scst_gate_tell_once(struct scst_nexus *nexus, unsigned int bit)
{
	if (!test_and_clear_bit(bit, &nexus->gates))
		return false;
	if (bit == SCST_UA_LUNS_CHANGED && !test_and_clear_bit(bit, &nexus->sess->ua_once))
		return false;
	if (bit < SCST_UA_NR)
		scst_session_count(nexus->sess, unit_attentions);
	return true;
}

static u32 scst_gate_take_from(struct scst_nexus *nexus, u64 stops, unsigned int *bit)
{
	unsigned long pending;

	while ((pending = READ_ONCE(nexus->gates) & stops)) {
		*bit = __ffs(pending);
		if ((*bit >= SCST_GATE_REVOKED && *bit != SCST_GATE_WRITE_LOST) || scst_gate_tell_once(nexus, *bit))
			return scst_gate_sense[*bit];
	}
	return 0;
}

/* What the reservations say, and the gate of the command's class. */
static enum scst_access_answer scst_gate_access(const struct scst_cmd *cmd, unsigned int *gate)
{
	enum scst_op_access class = scst_access_of(cmd->op->access, cmd->cdb);
	u16 access;

	*gate = SCST_GATE_ACCESS + class;
	if (!test_bit(*gate, &cmd->nexus->gates))
		return SCST_ACCESS_PASS;
	/* Pairs with scst_access_update(): who finds the gate closed finds why, or that it is open by now. */
	smp_rmb();
	access = READ_ONCE(cmd->nexus->access);
	return scst_access_decide(access >> 8, access & 0xff, class);
}

static struct scst_stop scst_gate_reserved(enum scst_access_answer answer, unsigned int gate)
{
	switch (answer) {
	case SCST_ACCESS_CONFLICT:
		return (struct scst_stop){ .gate = gate, .status = SAM_STAT_RESERVATION_CONFLICT };
	case SCST_ACCESS_LOST:
		return (struct scst_stop){ .gate = gate, .status = SAM_STAT_CHECK_CONDITION, .sense = SCST_PR_SENSE_LOST };
	default:
		return (struct scst_stop){ .gate = gate, .status = SAM_STAT_GOOD };
	}
}

/* Unit attentions and gates among @stops. */
static bool scst_gate_sense_of(const struct scst_cmd *cmd, u64 stops, struct scst_stop *stop)
{
	stop->sense = scst_gate_take_from(cmd->nexus, cmd->op->stops & stops, &stop->gate);
	stop->status = SAM_STAT_CHECK_CONDITION;
	if (stop->sense && stop->gate == SCST_GATE_PARKED && cmd->op->flags & SCST_OP_PROBE)
		stop->sense = SCST_SENSE_UNAVAILABLE;
	return stop->sense;
}

/**
 * scst_gate_take() - why a command may not run now
 * @cmd: the command; it has a nexus
 * @stop: set if something stops it: what is to be said
 *
 * Any context.  Asked whether it is ready, a parked unit says that it is not accessible now: Linux would answer "becoming
 * ready" with 100 s of waiting under the disk's lock.  RESERVATION CONFLICT has precedence over the status of a unit
 * attention, which stays pending (SAM-5: status precedence).
 *
 * Return: false: nothing stops it (any more).
 */
bool scst_gate_take(const struct scst_cmd *cmd, struct scst_stop *stop)
{
	bool revoked = test_bit(SCST_GATE_REVOKED, &cmd->nexus->gates);
	enum scst_access_answer answer;
	unsigned int gate;

	answer = scst_gate_access(cmd, &gate);
	if (answer == SCST_ACCESS_CONFLICT && !revoked) {
		*stop = scst_gate_reserved(answer, gate);
		return true;
	}
	if (scst_gate_sense_of(cmd, GENMASK_ULL(SCST_GATE_REVOKED, 0), stop))
		return true;
	if (answer == SCST_ACCESS_NOTHING || answer == SCST_ACCESS_LOST) {
		*stop = scst_gate_reserved(answer, gate);
		return true;
	}
	return scst_gate_sense_of(cmd, GENMASK_ULL(SCST_GATE_LAST, SCST_GATE_STANDBY), stop);
}

/* Why the unit can't be reached by this port now, or 0.  Any context. */
u32 scst_gate_port(struct scst_nexus *nexus)
{
	unsigned int bit;

	return scst_gate_take_from(nexus, SCST_STOPS_ALUA, &bit);
}

/* The most important pending unit attention, or 0.  Any context. */
u32 scst_ua_take(struct scst_nexus *nexus)
{
	unsigned int bit;

	return scst_gate_take_from(nexus, GENMASK_ULL(31, 0), &bit);
}

/**
 * scst_gate_look() - a gate of a nexus was closed for longer than one answer: whom it stops need not wait to be told
 * @nexus: the nexus
 *
 * Any context; before anybody waits for what was admitted before.
 */
void scst_gate_look(struct scst_nexus *nexus)
{
	scst_limiter_look(nexus);
	scst_alua_ask_look(nexus);
}

/* --- for everybody who sees a device -------------------------------------------------------------- */

struct scst_gate_arg {
	unsigned int bit;
	bool set;
	const struct scst_nexus *except;
};

static void scst_gate_set(struct scst_nexus *nexus, void *arg)
{
	const struct scst_gate_arg *a = arg;

	if (nexus == a->except)
		return;
	if (!a->set) {
		clear_bit(a->bit, &nexus->gates);
		return;
	}
	set_bit(a->bit, &nexus->gates);
	if (a->bit >= SCST_GATE_REVOKED)
		scst_gate_look(nexus);
}

static void scst_gate_all(struct scst_device *dev, const struct scst_gate_arg *arg)
{
	struct scst_nexus *nexus;

	lockdep_assert_held(&dev->nexus_lock);
	trace_scst_device_gate(dev, arg->bit, arg->set);
	list_for_each_entry(nexus, &dev->nexuses, dev_entry)
		scst_gate_set(nexus, (void *)arg);
}

/* As scst_gate_device(), under nexus_lock. */
void scst_gate_assign(struct scst_device *dev, enum scst_gate gate, bool closed)
{
	const struct scst_gate_arg arg = { .bit = gate, .set = closed };

	__assign_bit(gate, &dev->gates, closed);
	scst_gate_all(dev, &arg);
}

/* As scst_ua_device(), under nexus_lock. */
void scst_ua_assign(struct scst_device *dev, enum scst_ua ua, const struct scst_nexus *except)
{
	const struct scst_gate_arg arg = { .bit = ua, .set = true, .except = except };

	scst_gate_all(dev, &arg);
}

/**
 * scst_gate_device() - close or open a gate for everybody who sees a device, now or later
 * @dev: the device
 * @gate: which
 * @closed: close it
 *
 * Process or softirq context.
 */
void scst_gate_device(struct scst_device *dev, enum scst_gate gate, bool closed)
{
	spin_lock_bh(&dev->nexus_lock);
	scst_gate_assign(dev, gate, closed);
	spin_unlock_bh(&dev->nexus_lock);
}

static void scst_gate_set_lost(struct scst_nexus *nexus, void *unused)
{
	if (!READ_ONCE(nexus->wrote))
		return;
	WRITE_ONCE(nexus->lost, true);
	set_bit(SCST_GATE_WRITE_LOST, &nexus->gates);
}

/*
 * Closing the backing has failed: whoever wrote hears of it at its next command.  Linux repeats a command that ends in a
 * deferred error and tells nobody, so the next that has to be stable fails as well.  Process or softirq context.
 */
void scst_gate_write_lost(struct scst_device *dev)
{
	scst_device_for_each_nexus(dev, scst_gate_set_lost, NULL);
}

/**
 * scst_ua_device() - a unit attention for everybody who sees a device
 * @dev: the device
 * @ua: what happened
 * @except: the nexus that caused it and need not be told, or NULL
 *
 * Process or softirq context.
 */
void scst_ua_device(struct scst_device *dev, enum scst_ua ua, const struct scst_nexus *except)
{
	struct scst_gate_arg arg = { .bit = ua, .set = true, .except = except };

	trace_scst_device_gate(dev, ua, true);
	scst_device_for_each_nexus(dev, scst_gate_set, &arg);
}

/* --- for a session ------------------------------------------------------------------------------------ */

static void scst_ua_view(const struct scst_view *view, enum scst_ua ua)
{
	u32 i;

	for (i = 0; view && i < view->nr; i++)
		set_bit(ua, &view->entry[i].nexus->gates);
}

/* A unit attention on every logical unit that the session sees.  Any context. */
void scst_ua_session(struct scst_session *sess, enum scst_ua ua)
{
	rcu_read_lock();
	scst_ua_view(rcu_dereference(sess->view), ua);
	rcu_read_unlock();
}

/* The session's inventory has changed; @view is already in force. */
void scst_ua_luns_changed(struct scst_session *sess, const struct scst_view *view)
{
	set_bit(SCST_UA_LUNS_CHANGED, &sess->ua_once);
	scst_ua_view(view, SCST_UA_LUNS_CHANGED);
}

/* REPORT LUNS is about to read the view: it tells what the unit attention would (SPC-4 6.33). */
void scst_ua_luns_reported(struct scst_session *sess)
{
	clear_bit(SCST_UA_LUNS_CHANGED, &sess->ua_once);
	/* A commit that switches the view from here on sets the bit again. */
	smp_mb__after_atomic();
}
