// SPDX-License-Identifier: GPL-2.0-only
/*
 * The target port groups of a logical unit: what is said of them (SPC-4 6.37), and what is asked for (SPC-4 6.45).
 *
 * Pure: see alua-state.h.
 */
#include <linux/kernel.h>
#include <linux/string.h>
#include "compat.h"
#include "alua-state.h"

#define HEADER		4
#define EXTENDED_HEADER	8
#define EXTENDED	0x10	/* RETURN DATA FORMAT 001b */
#define GROUP_DESC	8
#define PORT_DESC	4
#define PREF		0x80

/* A group can be in any of the states, but for "LBA dependent": T_SUP, O_SUP, U_SUP, S_SUP, AN_SUP, AO_SUP. */
#define SUPPORTED	0xcf

#define SET_HEADER	4
#define SET_DESC	4

/* As the standard calls them, and Linux. */
static const char *const scst_alua_state_names[SCST_ALUA_STATES] = {
	[SCST_ALUA_OPTIMIZED]		= "active/optimized",
	[SCST_ALUA_NONOPTIMIZED]	= "active/non-optimized",
	[SCST_ALUA_STANDBY]		= "standby",
	[SCST_ALUA_UNAVAILABLE]		= "unavailable",
	[SCST_ALUA_OFFLINE]		= "offline",
	[SCST_ALUA_TRANSITIONING]	= "transitioning",
};

/* The name of a state, or NULL: there is no such one here.  @state: below SCST_ALUA_STATES. */
const char *scst_alua_state_name(u8 state)
{
	return scst_alua_state_names[state];
}

static bool scst_alua_group_has(const struct scst_alua *alua, const struct scst_alua_group *group, u16 port)
{
	unsigned int i;

	for (i = 0; i < group->nr_ports; i++)
		if (alua->port[group->first + i] == port)
			return true;
	return false;
}

/* The group of a port by its relative target port identifier, or NULL.  @alua: may be NULL. */
const struct scst_alua_group *scst_alua_of_port(const struct scst_alua *alua, u16 port)
{
	unsigned int i;

	for (i = 0; alua && i < alua->nr_groups; i++)
		if (scst_alua_group_has(alua, &alua->group[i], port))
			return &alua->group[i];
	return NULL;
}

static bool scst_alua_group_same(const struct scst_alua_group *a, const struct scst_alua_group *b)
{
	return a->id == b->id && a->state == b->state && a->preferred == b->preferred && a->nr_ports == b->nr_ports;
}

/* Is the same said of both, but for status codes and times? */
bool scst_alua_same(const struct scst_alua *a, const struct scst_alua *b)
{
	unsigned int i;

	if (a->nr_groups != b->nr_groups || a->nr_ports != b->nr_ports)
		return false;
	for (i = 0; i < a->nr_groups; i++)
		if (!scst_alua_group_same(&a->group[i], &b->group[i]))
			return false;
	return !memcmp(a->port, b->port, a->nr_ports * sizeof(*a->port));
}

static void scst_alua_report_group(const struct scst_alua *alua, const struct scst_alua_group *group,
				   scst_alua_put_fn put, void *to)
{
	u8 desc[GROUP_DESC] = { group->state | (group->preferred ? PREF : 0), SUPPORTED };
	unsigned int i;

	put_unaligned_be16(group->id, desc + 2);
	desc[5] = group->status;
	desc[7] = group->nr_ports;
	put(to, desc, sizeof(desc));
	for (i = 0; i < group->nr_ports; i++) {
		u8 port[PORT_DESC] = { 0 };

		put_unaligned_be16(alua->port[group->first + i], port + 2);
		put(to, port, sizeof(port));
	}
}

/**
 * scst_alua_report() - parameter data of REPORT TARGET PORT GROUPS (SPC-4 6.37)
 * @alua: the groups
 * @extended: with the extended header
 * @put: is given the whole of it, piece by piece
 * @to: passed on
 */
void scst_alua_report(const struct scst_alua *alua, bool extended, scst_alua_put_fn put, void *to)
{
	u32 size = extended ? EXTENDED_HEADER : HEADER;
	u8 header[EXTENDED_HEADER] = { 0 };
	unsigned int i;

	put_unaligned_be32(size - 4 + alua->nr_groups * GROUP_DESC + alua->nr_ports * PORT_DESC, header);
	header[4] = EXTENDED;
	header[5] = alua->transition_time;
	put(to, header, size);
	for (i = 0; i < alua->nr_groups; i++)
		scst_alua_report_group(alua, &alua->group[i], put, to);
}

/* Which group, by its identifier; or nr_groups. */
static unsigned int scst_alua_find(const struct scst_alua *alua, u16 id)
{
	unsigned int i;

	for (i = 0; i < alua->nr_groups; i++)
		if (alua->group[i].id == id)
			break;
	return i;
}

static bool scst_alua_named_before(const u8 *list, u32 at)
{
	u32 i;

	for (i = SET_HEADER; i < at; i += SET_DESC)
		if (get_unaligned_be16(list + i + 2) == get_unaligned_be16(list + at + 2))
			return true;
	return false;
}

/* One descriptor; -1: all is well, else the byte in it that is wrong. */
static int scst_alua_parse_desc(const struct scst_alua *alua, const u8 *list, u32 at, u8 *states)
{
	unsigned int group = scst_alua_find(alua, get_unaligned_be16(list + at + 2));
	u8 state = list[at] & 0x0f;

	/* Offline is for the administrator to say, and transitioning nobody asks for. */
	if (state > SCST_ALUA_UNAVAILABLE)
		return 0;
	if (group == alua->nr_groups || scst_alua_named_before(list, at))
		return 2;
	states[group] = state;
	return -1;
}

/**
 * scst_alua_parse() - parameter list of SET TARGET PORT GROUPS (SPC-4 6.45)
 * @alua: the groups
 * @list: the list, or the first SCST_ALUA_LIST_MAX bytes of it
 * @len: bytes in @list
 * @states: set to the states that are wanted, of each group; those that the list does not name keep theirs
 * @byte: set to the first byte of the field that is wrong
 *
 * A list of no bytes asks for nothing.  Reserved bytes are not looked at.
 *
 * Return: 0, or why it is refused: enum scst_alua_fault.
 */
int scst_alua_parse(const struct scst_alua *alua, const u8 *list, u32 len, u8 *states, u16 *byte)
{
	unsigned int i;
	u32 at;
	int bad;

	for (i = 0; i < alua->nr_groups; i++)
		states[i] = alua->group[i].state;
	if (!len)
		return 0;
	if (len < SET_HEADER || (len - SET_HEADER) % SET_DESC)
		return SCST_ALUA_CUT;
	for (at = SET_HEADER; at < len; at += SET_DESC) {
		bad = scst_alua_parse_desc(alua, list, at, states);
		if (bad < 0)
			continue;
		*byte = at + bad;
		return SCST_ALUA_FIELD;
	}
	return 0;
}
