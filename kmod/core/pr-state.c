// SPDX-License-Identifier: GPL-2.0-only
/*
 * PERSISTENT RESERVE OUT (SPC-4 6.16): the state that follows.
 *
 * Pure: no state, no locks, no allocation.  Also built in user space by the tests, which compare it with a model that
 * was written from the standard (tests/model/pr.py).
 *
 * A change begins as a copy of the old state, in which registrants keep their places.  Who is to go is marked in
 * answer->told and taken out at the end.  A command that is refused leaves a copy.
 */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include "pr-state.h"

#define KEY_AT		0	/* in the parameter list */
#define SA_KEY_AT	8
#define MOVE_FLAGS_AT	17
#define MOVE_PORT_AT	18
#define FLAGS_AT	20
#define MOVE_ID_AT	24
#define IDS_AT		28
#define APTPL_BIT	0
#define SPEC_I_PT_BIT	3
#define ACTION_AT	1	/* in the CDB */
#define TYPE_AT		2

struct scst_pr_change {
	const struct scst_pr *old;
	const struct scst_pr_place *place;
	const struct scst_pr_request *req;
	struct scst_pr *new;
	struct scst_pr_answer *answer;
	u32 me;			/* who asks, among the registrants of the old state */
	bool short_of_room;
};

/* --- values --------------------------------------------------------------------------------- */

/* Bytes of a state with room for so many registrants. */
size_t scst_pr_size(u32 room)
{
	return sizeof(struct scst_pr) + room * sizeof(struct scst_pr_registrant);
}

/* Nothing registered, nothing reserved; scst_pr_size(@room) bytes. */
void scst_pr_init(struct scst_pr *pr, u32 room)
{
	*pr = (struct scst_pr){ .room = room, .holder = SCST_PR_NOBODY };
}

/* -ENOMEM: there is no room for all registrants. */
int scst_pr_copy(struct scst_pr *to, const struct scst_pr *from)
{
	u32 room = to->room;

	if (room < from->nr)
		return -ENOMEM;
	memcpy(to, from, scst_pr_size(from->nr));
	to->room = room;
	return 0;
}

static void scst_pr_release_all(struct scst_pr *pr)
{
	pr->type = SCST_PR_NONE;
	pr->holder = SCST_PR_NOBODY;
}

/**
 * scst_pr_power_loss() - what is left after a loss of power
 * @pr: changed in place: nobody sees it yet
 *
 * PRGENERATION begins anew in any case.
 */
void scst_pr_power_loss(struct scst_pr *pr)
{
	pr->generation = 0;
	if (pr->aptpl)
		return;
	pr->nr = 0;
	scst_pr_release_all(pr);
}

/**
 * scst_pr_wipe() - everything is over, by no initiator's command
 * @old: the state before
 * @new: initialised; set
 * @told: who is told what, as of struct scst_pr_answer; set
 */
void scst_pr_wipe(const struct scst_pr *old, struct scst_pr *new, u8 *told)
{
	scst_pr_init(new, new->room);
	new->generation = old->generation + 1;
	new->undone = old->undone;
	new->ident = old->ident;
	memset(told, SCST_PR_TOLD_PREEMPTED | SCST_PR_TOLD_GONE, old->nr);
}

bool scst_pr_type_valid(u8 type)
{
	return type == SCST_PR_WRITE_EXCLUSIVE || type == SCST_PR_EXCLUSIVE_ACCESS ||
	       (type >= SCST_PR_WRITE_EXCLUSIVE_RO && type <= SCST_PR_EXCLUSIVE_ACCESS_AR);
}

bool scst_pr_nexus_same(const struct scst_pr_nexus *a, const struct scst_pr_nexus *b)
{
	return a->port == b->port && scst_transport_id_same(&a->id, &b->id);
}

/* Which registrant an I_T nexus is, or SCST_PR_NOBODY. */
u32 scst_pr_find(const struct scst_pr *pr, const struct scst_pr_nexus *nexus)
{
	u32 i;

	for (i = 0; i < pr->nr; i++)
		if (scst_pr_nexus_same(&pr->reg[i].nexus, nexus))
			return i;
	return SCST_PR_NOBODY;
}

/* Does a registrant, or SCST_PR_NOBODY, hold the reservation? */
bool scst_pr_is_holder(const struct scst_pr *pr, u32 registrant)
{
	if (registrant == SCST_PR_NOBODY || pr->type == SCST_PR_NONE)
		return false;
	return scst_pr_of_all(pr->type) || pr->holder == registrant;
}

static bool scst_pr_registrants_valid(const struct scst_pr *pr)
{
	u32 i;

	for (i = 0; i < pr->nr; i++)
		if (!pr->reg[i].key || scst_pr_find(pr, &pr->reg[i].nexus) != i)
			return false;
	return pr->nr <= pr->room;
}

/* Is it a state that scst_pr_out() could have made? */
bool scst_pr_valid(const struct scst_pr *pr)
{
	bool single = pr->type != SCST_PR_NONE && !scst_pr_of_all(pr->type);

	if (pr->type != SCST_PR_NONE && (!scst_pr_type_valid(pr->type) || !pr->nr))
		return false;
	if (single ? pr->holder >= pr->nr : pr->holder != SCST_PR_NOBODY)
		return false;
	if (pr->lost && pr->nr)
		return false;
	return scst_pr_registrants_valid(pr);
}

/* --- parts of all changes ------------------------------------------------------------------- */

static bool scst_pr_check(struct scst_pr_change *c, u32 sense, s32 byte, s8 bit)
{
	return scst_pr_refuse(&c->answer->verdict, sense, byte, bit);
}

static bool scst_pr_conflict(struct scst_pr_change *c)
{
	c->answer->verdict.status = SCST_PR_CONFLICT;
	return false;
}

static bool scst_pr_gone(const struct scst_pr_change *c, u32 registrant)
{
	return c->answer->told[registrant] & SCST_PR_TOLD_GONE;
}

/* The first reservation key of a command is that of the I_T nexus that it came by. */
static bool scst_pr_key_matches(struct scst_pr_change *c)
{
	if (c->me == SCST_PR_NOBODY || c->old->reg[c->me].key != c->req->key)
		return scst_pr_conflict(c);
	return true;
}

static bool scst_pr_kind_valid(struct scst_pr_change *c)
{
	if (c->req->scope)
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_CDB, TYPE_AT, 7);
	if (!scst_pr_type_valid(c->req->type))
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_CDB, TYPE_AT, 3);
	return true;
}

static void scst_pr_establish(struct scst_pr *new, u8 type, u32 holder)
{
	new->type = type;
	new->holder = scst_pr_of_all(type) ? SCST_PR_NOBODY : holder;
}

static bool scst_pr_set_aptpl(struct scst_pr_change *c, s32 byte)
{
	if (c->req->aptpl && !c->place->durable)
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_LIST, byte, APTPL_BIT);
	c->new->aptpl = c->req->aptpl;
	return true;
}

static void scst_pr_count(struct scst_pr_change *c)
{
	c->answer->changed = true;
	c->new->generation++;
}

static u32 scst_pr_limit(const struct scst_pr_place *place)
{
	return place->max < SCST_PR_MAX ? place->max : SCST_PR_MAX;
}

static bool scst_pr_add(struct scst_pr_change *c, const struct scst_pr_nexus *nexus, u64 key)
{
	struct scst_pr *new = c->new;

	if (new->nr >= scst_pr_limit(c->place))
		return scst_pr_check(c, SCST_PR_SENSE_RESOURCES, -1, -1);
	if (new->nr >= new->room) {
		c->short_of_room = true;
		return false;
	}
	new->reg[new->nr++] = (struct scst_pr_registrant){ .key = key, .nexus = *nexus };
	return true;
}

/* Tell all who were registered, and stay so, but for who asks. */
static void scst_pr_tell_rest(struct scst_pr_change *c, u8 told)
{
	u32 i;

	for (i = 0; i < c->old->nr; i++)
		if (i != c->me && !scst_pr_gone(c, i))
			c->answer->told[i] |= told;
}

/* Where a registrant is when those that go are out. */
static u32 scst_pr_place_after(const struct scst_pr_change *c, u32 registrant)
{
	u32 i, at = registrant;

	for (i = 0; i < c->old->nr && i < registrant; i++)
		at -= scst_pr_gone(c, i);
	return at;
}

/* Take out who goes; a reservation that nobody holds any more is released. */
static void scst_pr_take_out(struct scst_pr_change *c)
{
	struct scst_pr *new = c->new;
	u32 i, nr = 0;

	if (new->holder != SCST_PR_NOBODY)
		new->holder = scst_pr_place_after(c, new->holder);
	for (i = 0; i < new->nr; i++)
		if (i >= c->old->nr || !scst_pr_gone(c, i))
			new->reg[nr++] = new->reg[i];
	new->nr = nr;
	if (!nr)
		scst_pr_release_all(new);
}

/* --- REGISTER, REGISTER AND IGNORE EXISTING KEY --------------------------------------------- */

/* For one I_T nexus of those that a command is for.  Return: false: refused. */
typedef bool (*scst_pr_each_fn)(struct scst_pr_change *c, const struct scst_pr_nexus *nexus);

static bool scst_pr_port_takes(const struct scst_pr_port *port, const struct scst_transport_id *id)
{
	return port->protocol == SCST_PROTOCOL_NONE || port->protocol == scst_transport_id_protocol(id);
}

/* ALL_TG_PT: the same initiator port through every other target port that it can come by. */
static bool scst_pr_other_ports(struct scst_pr_change *c, const struct scst_transport_id *id, scst_pr_each_fn fn)
{
	struct scst_pr_nexus nexus = { .id = *id };
	u32 i;

	for (i = 0; c->req->all_tg_pt && i < c->place->nr_ports; i++) {
		const struct scst_pr_port *port = &c->place->ports[i];

		nexus.port = port->id;
		if (port->id == c->place->who->port || !scst_pr_port_takes(port, id))
			continue;
		if (!fn(c, &nexus))
			return false;
	}
	return true;
}

/* A nexus of who asks: does RESERVATION KEY fit it?  One that is not registered is no obstacle. */
static bool scst_pr_register_fits(struct scst_pr_change *c, const struct scst_pr_nexus *nexus)
{
	u32 at = scst_pr_find(c->old, nexus);

	if (at != SCST_PR_NOBODY && c->old->reg[at].key != c->req->key)
		return scst_pr_conflict(c);
	return true;
}

/* REGISTER: who asks has to know its key; who has none says 0. */
static bool scst_pr_register_may(struct scst_pr_change *c)
{
	bool known = c->me != SCST_PR_NOBODY;

	if (c->req->action == SCST_PR_REGISTER_AND_IGNORE)
		return true;
	if (c->req->key != (known ? c->old->reg[c->me].key : 0))
		return scst_pr_conflict(c);
	if (known && c->req->spec_i_pt)
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_LIST, FLAGS_AT, SPEC_I_PT_BIT);
	return scst_pr_other_ports(c, &c->place->who->id, scst_pr_register_fits);
}

/* A nexus of who asks: it gets the key, whatever it has; 0 ends its registration. */
static bool scst_pr_register_one(struct scst_pr_change *c, const struct scst_pr_nexus *nexus)
{
	u32 at = scst_pr_find(c->new, nexus);
	u64 key = c->req->sa_key;

	if (at == SCST_PR_NOBODY && !key)
		return true;
	c->answer->changed = true;
	if (at == SCST_PR_NOBODY)
		return scst_pr_add(c, nexus, key);
	if (key)
		c->new->reg[at].key = key;
	else
		c->answer->told[at] |= SCST_PR_TOLD_GONE;
	return true;
}

/* SPEC_I_PT: a nexus of another's, if it is not registered yet. */
static bool scst_pr_register_other(struct scst_pr_change *c, const struct scst_pr_nexus *nexus)
{
	if (scst_pr_find(c->new, nexus) != SCST_PR_NOBODY)
		return true;
	return scst_pr_add(c, nexus, c->req->sa_key);
}

static const struct scst_pr_port *scst_pr_port_of(const struct scst_pr_place *place, u16 id)
{
	u32 i;

	for (i = 0; i < place->nr_ports; i++)
		if (place->ports[i].id == id)
			return &place->ports[i];
	return NULL;
}

static bool scst_pr_register_id(struct scst_pr_change *c, const struct scst_transport_id *id, u32 at)
{
	struct scst_pr_nexus nexus = { .id = *id, .port = c->place->who->port };
	const struct scst_pr_port *port = scst_pr_port_of(c->place, nexus.port);

	if (port && !scst_pr_port_takes(port, id))
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_LIST, IDS_AT + at, -1);
	return scst_pr_register_other(c, &nexus) && scst_pr_other_ports(c, id, scst_pr_register_other);
}

static bool scst_pr_register_ids(struct scst_pr_change *c)
{
	const struct scst_pr_request *req = c->req;
	struct scst_transport_id id;
	u32 at = 0, len;

	while (req->spec_i_pt && at < req->ids_len) {
		len = scst_transport_id_parse(&id, req->ids + at, req->ids_len - at);
		if (!len)
			return scst_pr_check(c, SCST_PR_SENSE_INVALID_LIST, IDS_AT + at, -1);
		if (!scst_pr_register_id(c, &id, at))
			return false;
		at += len;
	}
	return true;
}

/* The holder has ended its registration: the reservation ends with it, unless there are other holders. */
static void scst_pr_unregistered(struct scst_pr_change *c)
{
	const struct scst_pr *old = c->old;

	if (old->holder == SCST_PR_NOBODY || !scst_pr_gone(c, old->holder))
		return;
	scst_pr_release_all(c->new);
	if (scst_pr_of_registrants(old->type))
		scst_pr_tell_rest(c, SCST_PR_TOLD_RELEASED);
}

static bool scst_pr_register(struct scst_pr_change *c)
{
	const struct scst_pr_nexus *who = c->place->who;

	if (!scst_pr_register_may(c))
		return false;
	if (!scst_pr_register_one(c, who) || !scst_pr_other_ports(c, &who->id, scst_pr_register_one))
		return false;
	if (!c->answer->changed)
		return true;
	if (!scst_pr_set_aptpl(c, FLAGS_AT) || !scst_pr_register_ids(c))
		return false;
	scst_pr_unregistered(c);
	scst_pr_count(c);
	return true;
}

/* --- RESERVE, RELEASE, CLEAR ---------------------------------------------------------------- */

static bool scst_pr_reserve(struct scst_pr_change *c)
{
	const struct scst_pr *old = c->old;

	if (!scst_pr_key_matches(c) || !scst_pr_kind_valid(c))
		return false;
	if (old->type == SCST_PR_NONE) {
		scst_pr_establish(c->new, c->req->type, c->me);
		c->answer->changed = true;
		return true;
	}
	if (!scst_pr_is_holder(old, c->me) || old->type != c->req->type)
		return scst_pr_conflict(c);
	return true;
}

static bool scst_pr_release(struct scst_pr_change *c)
{
	const struct scst_pr *old = c->old;

	if (!scst_pr_key_matches(c))
		return false;
	if (!scst_pr_is_holder(old, c->me))
		return true;
	if (c->req->scope || c->req->type != old->type)
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_RELEASE, -1, -1);
	scst_pr_release_all(c->new);
	c->answer->changed = true;
	if (scst_pr_of_registrants(old->type))
		scst_pr_tell_rest(c, SCST_PR_TOLD_RELEASED);
	return true;
}

static bool scst_pr_clear(struct scst_pr_change *c)
{
	u32 i;

	if (!scst_pr_key_matches(c))
		return false;
	scst_pr_tell_rest(c, SCST_PR_TOLD_PREEMPTED);
	for (i = 0; i < c->old->nr; i++)
		c->answer->told[i] |= SCST_PR_TOLD_GONE;
	scst_pr_release_all(c->new);
	scst_pr_count(c);
	return true;
}

/* --- PREEMPT, PREEMPT AND ABORT ------------------------------------------------------------- */

/* The key stands for whoever holds the reservation: 0 for all registrants, if all of them do. */
static bool scst_pr_preempts_holder(const struct scst_pr_change *c)
{
	const struct scst_pr *old = c->old;

	if (scst_pr_of_all(old->type))
		return !c->req->sa_key;
	return old->type != SCST_PR_NONE && old->reg[old->holder].key == c->req->sa_key;
}

static bool scst_pr_is_victim(const struct scst_pr_change *c, u32 registrant, bool holder)
{
	if (holder && registrant == c->me)
		return false;
	return !c->req->sa_key || c->old->reg[registrant].key == c->req->sa_key;
}

/* Whose commands are aborted: all that the key names, who asks among them; 0 does not name who asks. */
static bool scst_pr_is_aborted(const struct scst_pr_change *c, u32 registrant)
{
	if (c->req->action != SCST_PR_PREEMPT_AND_ABORT)
		return false;
	if (!c->req->sa_key)
		return registrant != c->me;
	return c->old->reg[registrant].key == c->req->sa_key;
}

/* Return: how many lose their registration. */
static u32 scst_pr_take_registrations(struct scst_pr_change *c, bool holder)
{
	u8 *told = c->answer->told;
	u32 i, victims = 0;

	for (i = 0; i < c->old->nr; i++) {
		if (scst_pr_is_aborted(c, i))
			told[i] |= SCST_PR_TOLD_ABORT;
		if (!scst_pr_is_victim(c, i, holder))
			continue;
		victims++;
		told[i] |= SCST_PR_TOLD_GONE;
		if (i != c->me)
			told[i] |= SCST_PR_TOLD_UNREGISTERED;
	}
	return victims;
}

static bool scst_pr_preempt_holder(struct scst_pr_change *c)
{
	if (!scst_pr_kind_valid(c))
		return false;
	scst_pr_take_registrations(c, true);
	scst_pr_establish(c->new, c->req->type, c->me);
	if (c->req->type != c->old->type)
		scst_pr_tell_rest(c, SCST_PR_TOLD_RELEASED);
	scst_pr_count(c);
	return true;
}

static bool scst_pr_preempt(struct scst_pr_change *c)
{
	if (!scst_pr_key_matches(c))
		return false;
	if (!c->req->sa_key && !scst_pr_of_all(c->old->type))
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_LIST, SA_KEY_AT, -1);
	if (scst_pr_preempts_holder(c))
		return scst_pr_preempt_holder(c);
	if (!scst_pr_take_registrations(c, false))
		return scst_pr_conflict(c);
	scst_pr_count(c);
	return true;
}

/* --- REGISTER AND MOVE ---------------------------------------------------------------------- */

static bool scst_pr_move_may(struct scst_pr_change *c)
{
	if (!scst_pr_key_matches(c))
		return false;
	if (c->old->type == SCST_PR_NONE)
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_CDB, ACTION_AT, 4);
	if (scst_pr_of_all(c->old->type) || c->old->holder != c->me)
		return scst_pr_conflict(c);
	if (!c->req->sa_key)
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_LIST, SA_KEY_AT, -1);
	return true;
}

static bool scst_pr_move_where(struct scst_pr_change *c, struct scst_pr_nexus *to)
{
	const struct scst_pr_port *port = scst_pr_port_of(c->place, c->req->port);

	to->port = c->req->port;
	if (!port)
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_LIST, MOVE_PORT_AT, -1);
	if (!scst_transport_id_parse(&to->id, c->req->ids, c->req->ids_len) ||
	    !scst_pr_port_takes(port, &to->id) || scst_transport_id_same(&to->id, &c->place->who->id))
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_LIST, MOVE_ID_AT, -1);
	return true;
}

static bool scst_pr_move(struct scst_pr_change *c)
{
	struct scst_pr_nexus to;
	u32 at;

	if (!scst_pr_move_may(c) || !scst_pr_move_where(c, &to) || !scst_pr_set_aptpl(c, MOVE_FLAGS_AT))
		return false;
	at = scst_pr_find(c->old, &to);
	if (at == SCST_PR_NOBODY) {
		at = c->new->nr;
		if (!scst_pr_add(c, &to, c->req->sa_key))
			return false;
	}
	c->new->reg[at].key = c->req->sa_key;
	c->new->holder = at;
	if (c->req->unreg)
		c->answer->told[c->me] |= SCST_PR_TOLD_GONE;
	scst_pr_count(c);
	return true;
}

/* --- REPLACE LOST RESERVATION --------------------------------------------------------------- */

static bool scst_pr_replace_may(struct scst_pr_change *c)
{
	if (!c->old->lost)
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_CDB, ACTION_AT, 4);
	if (!scst_pr_kind_valid(c))
		return false;
	if (c->req->key)
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_LIST, KEY_AT, -1);
	if (!c->req->sa_key)
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_LIST, SA_KEY_AT, -1);
	return true;
}

static bool scst_pr_replace(struct scst_pr_change *c)
{
	if (!scst_pr_replace_may(c) || !scst_pr_add(c, c->place->who, c->req->sa_key))
		return false;
	scst_pr_establish(c->new, c->req->type, 0);
	c->new->lost = false;
	scst_pr_count(c);
	return true;
}

/* -------------------------------------------------------------------------------------------- */

static bool (*const scst_pr_actions[SCST_PR_ACTIONS])(struct scst_pr_change *c) = {
	[SCST_PR_REGISTER]		= scst_pr_register,
	[SCST_PR_RESERVE]		= scst_pr_reserve,
	[SCST_PR_RELEASE]		= scst_pr_release,
	[SCST_PR_CLEAR]			= scst_pr_clear,
	[SCST_PR_PREEMPT]		= scst_pr_preempt,
	[SCST_PR_PREEMPT_AND_ABORT]	= scst_pr_preempt,
	[SCST_PR_REGISTER_AND_IGNORE]	= scst_pr_register,
	[SCST_PR_REGISTER_AND_MOVE]	= scst_pr_move,
	[SCST_PR_REPLACE_LOST]		= scst_pr_replace,
};

static bool scst_pr_apply(struct scst_pr_change *c)
{
	if (c->req->action >= SCST_PR_ACTIONS)
		return scst_pr_check(c, SCST_PR_SENSE_INVALID_CDB, ACTION_AT, 4);
	if (c->old->lost && c->req->action != SCST_PR_REPLACE_LOST)
		return scst_pr_check(c, SCST_PR_SENSE_LOST, -1, -1);
	return scst_pr_actions[c->req->action](c);
}

/**
 * scst_pr_room() - how many registrants the state after a command may have
 * @old: the state before
 * @place: where the command came from
 * @req: the command
 *
 * Never less than the old state has.
 */
u32 scst_pr_room(const struct scst_pr *old, const struct scst_pr_place *place, const struct scst_pr_request *req)
{
	u64 all = old->nr + (1ull + req->nr_ids) * (req->all_tg_pt ? 1ull + place->nr_ports : 1);
	u32 limit = scst_pr_limit(place), most = old->nr > limit ? old->nr : limit;

	return all < most ? all : most;
}

/**
 * scst_pr_out() - what a PERSISTENT RESERVE OUT command makes of a state
 * @old: the state in force; not changed
 * @place: where the command came from
 * @req: the command
 * @new: initialised, with scst_pr_room() registrants' room: the state that follows, or a copy of @old if none does
 * @answer: status, and who is told what; its @told is the caller's
 *
 * Any context.  The same arguments give the same state: nodes that share a device stand on that.
 *
 * Return: 0, or -ENOMEM: @new has not the room it should have; then nothing is said.
 */
int scst_pr_out(const struct scst_pr *old, const struct scst_pr_place *place, const struct scst_pr_request *req,
		struct scst_pr *new, struct scst_pr_answer *answer)
{
	struct scst_pr_change c = {
		.old = old, .place = place, .req = req, .new = new, .answer = answer,
		.me = scst_pr_find(old, place->who),
	};
	bool done;

	answer->verdict = (struct scst_pr_verdict){ .bit = -1, .byte = -1 };
	answer->changed = false;
	memset(answer->told, 0, old->nr);
	if (scst_pr_copy(new, old))
		return -ENOMEM;
	done = scst_pr_apply(&c);
	if (done && answer->changed)
		scst_pr_take_out(&c);
	if (done)
		return 0;
	answer->changed = false;
	memset(answer->told, 0, old->nr);
	scst_pr_copy(new, old);
	return c.short_of_room ? -ENOMEM : 0;
}
