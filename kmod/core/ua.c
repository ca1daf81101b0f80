// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unit attentions (SAM-5 5.14): a word of bits per I_T_L nexus, lowest bit first.  Setting a bit
 * twice before it is reported coalesces.  No locks: atomic bit operations.
 */
#include "core.h"

static const u32 scst_ua_sense[SCST_UA_NR] = {
	[SCST_UA_POWER_ON]		= SCST_SENSE(UNIT_ATTENTION, 0x29, 0x01),
	[SCST_UA_RESET]			= SCST_SENSE(UNIT_ATTENTION, 0x29, 0x03),
	[SCST_UA_READY]			= SCST_SENSE(UNIT_ATTENTION, 0x28, 0x00),
	[SCST_UA_INQUIRY_CHANGED]	= SCST_SENSE(UNIT_ATTENTION, 0x3f, 0x03),
	[SCST_UA_LUNS_CHANGED]		= SCST_SENSE(UNIT_ATTENTION, 0x3f, 0x0e),
	[SCST_UA_CAPACITY_CHANGED]	= SCST_SENSE(UNIT_ATTENTION, 0x2a, 0x09),
	[SCST_UA_MODE_CHANGED]		= SCST_SENSE(UNIT_ATTENTION, 0x2a, 0x01),
};

/**
 * scst_ua_take() - take the most important pending unit attention
 * @nexus: the I_T_L nexus
 *
 * Any context.  REPORTED LUNS DATA HAS CHANGED is pending on every LUN but told once per session.
 *
 * Return: the sense, or 0 if none is pending (any more).
 */
u32 scst_ua_take(struct scst_nexus *nexus)
{
	unsigned long pending;

	while ((pending = READ_ONCE(nexus->attention))) {
		unsigned int ua = __ffs(pending);

		if (!test_and_clear_bit(ua, &nexus->attention))
			continue;
		if (ua == SCST_UA_LUNS_CHANGED &&
		    !test_and_clear_bit(ua, &nexus->sess->ua_once))
			continue;
		return scst_ua_sense[ua];
	}
	return 0;
}

/* The session's inventory has changed; @view is already in force. */
void scst_ua_luns_changed(struct scst_session *sess, const struct scst_view *view)
{
	u32 i;

	set_bit(SCST_UA_LUNS_CHANGED, &sess->ua_once);
	for (i = 0; i < view->nr; i++)
		set_bit(SCST_UA_LUNS_CHANGED, &view->entry[i].nexus->attention);
}

/* REPORT LUNS is about to read the view: it tells what the unit attention would (SPC-4 6.33). */
void scst_ua_luns_reported(struct scst_session *sess)
{
	clear_bit(SCST_UA_LUNS_CHANGED, &sess->ua_once);
	/* A commit that switches the view from here on sets the bit again. */
	smp_mb__after_atomic();
}

struct scst_ua_arg {
	enum scst_ua ua;
	const struct scst_nexus *except;
};

static void scst_ua_set(struct scst_nexus *nexus, void *arg)
{
	const struct scst_ua_arg *a = arg;

	if (nexus != a->except)
		set_bit(a->ua, &nexus->attention);
}

/**
 * scst_ua_device() - a unit attention for everybody who sees a device
 * @dev: the device
 * @ua: what happened
 * @except: the nexus that caused it and need not be told, or NULL
 *
 * Any context.
 */
void scst_ua_device(struct scst_device *dev, enum scst_ua ua, const struct scst_nexus *except)
{
	struct scst_ua_arg arg = { .ua = ua, .except = except };

	scst_device_for_each_nexus(dev, scst_ua_set, &arg);
}
