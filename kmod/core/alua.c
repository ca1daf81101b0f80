// SPDX-License-Identifier: GPL-2.0-only
/*
 * Asymmetric logical unit access (SPC-4 5.15.2): what a device group says, in force.
 *
 * What is in force is a value (struct scst_alua), made from the tree and switched to by one pointer of each device of the group, under
 * the device's nexus_lock.  In the same hold of it all nexuses of the device get their gates and unit attentions; a new
 * one gets its gates when it joins them.  So `admit` stays one load, and no nexus is told twice or not at all.
 *
 * A port is known by its relative target port identifier, whether it is one of this host or of another.
 *
 * Everything that changes is under scst_config_mutex.
 */
#include "core.h"
#include "alua.h"

LIST_HEAD(scst_alua_dirs);

static const struct scst_alua scst_alua_none;

/* --- gates of a nexus ------------------------------------------------------------------------------ */

static unsigned long scst_alua_gate(const struct scst_alua_group *group)
{
	switch (group ? group->state : SCST_ALUA_OPTIMIZED) {
	case SCST_ALUA_STANDBY:
		return BIT(SCST_GATE_STANDBY);
	case SCST_ALUA_UNAVAILABLE:
		return BIT(SCST_GATE_UNAVAILABLE);
	case SCST_ALUA_OFFLINE:
		return BIT(SCST_GATE_OFFLINE);
	case SCST_ALUA_TRANSITIONING:
		return BIT(SCST_GATE_TRANSITIONING);
	default:
		return 0;
	}
}

/* Does not change while the target has sessions. */
static u16 scst_alua_port_of(const struct scst_nexus *nexus)
{
	return READ_ONCE(nexus->sess->tgt->rel_tgt_id);
}

/**
 * scst_alua_update() - make the gates of a nexus what the state of its port's group says
 * @nexus: one of its device's, or to become one in the same hold of the lock
 *
 * Under the device's nexus_lock.  A full barrier: writes that are in their session's table afterwards have found a gate that
 * is closed by now open, or will find it closed.
 *
 * Return: the gates that were closed before.
 */
unsigned long scst_alua_update(struct scst_nexus *nexus)
{
	const struct scst_device *dev = nexus->dev;
	const struct scst_alua *alua = rcu_dereference_protected(dev->alua, lockdep_is_held(&dev->nexus_lock));
	unsigned long gate = scst_alua_gate(scst_alua_of_port(alua, scst_alua_port_of(nexus)));
	unsigned long was = set_mask_bits(&nexus->gates, (unsigned long)SCST_STOPS_ALUA, gate);

	scst_gate_look(nexus);
	return was & SCST_STOPS_ALUA;
}

/**
 * scst_alua_group_id() - what a target port is to a logical unit
 * @nexus: of the logical unit, through the port
 * @by_command: set to whether initiators may change states
 *
 * Any context.  Return: the identifier of its target port group, 0: it is in none.
 */
u16 scst_alua_group_id(const struct scst_nexus *nexus, bool *by_command)
{
	const struct scst_alua_group *group;
	const struct scst_alua *alua;
	u16 id;

	rcu_read_lock();
	alua = rcu_dereference(nexus->dev->alua);
	group = scst_alua_of_port(alua, scst_alua_port_of(nexus));
	id = group ? group->id : 0;
	*by_command = group && alua->by_command;
	rcu_read_unlock();
	return id;
}

/* Any context: is there anything to report, and may anybody change it? */
bool scst_alua_offered(const struct scst_device *dev, bool by_command)
{
	const struct scst_alua *alua;
	bool offered;

	rcu_read_lock();
	alua = rcu_dereference(dev->alua);
	offered = alua && alua->nr_groups && (!by_command || alua->by_command);
	rcu_read_unlock();
	return offered;
}

/* --- publication ----------------------------------------------------------------------------------- */

/* Of a switch from one value to another. */
struct scst_alua_switch {
	const struct scst_alua *old;
	const struct scst_alua *new;
	enum scst_ua ua;		/* if they differ */
	const struct scst_nexus *except;
	bool differ;
	bool mode;			/* IALUAE of mode page 0Ah/01h */
};

static bool scst_alua_reports(const struct scst_alua_tpg *tpg)
{
	const struct scst_alua_port *port;

	list_for_each_entry(port, &tpg->port_list, entry)
		if (scst_alua_port_id(port))
			return true;
	return false;
}

static void scst_alua_fill_group(struct scst_alua *alua, struct scst_alua_group *group, u16 *ports,
				 const struct scst_alua_tpg *tpg)
{
	const struct scst_alua_port *port;

	*group = (struct scst_alua_group){
		.id = tpg->id, .first = alua->nr_ports, .state = tpg->state, .status = tpg->status,
		.preferred = tpg->preferred,
	};
	list_for_each_entry(port, &tpg->port_list, entry) {
		if (!scst_alua_port_id(port))
			continue;
		ports[alua->nr_ports++] = scst_alua_port_id(port);
		group->nr_ports++;
	}
}

static void scst_alua_fill(struct scst_alua *alua, struct scst_alua_group *groups, u16 *ports,
			   const struct scst_alua_dir *dir)
{
	const struct scst_alua_tpg *tpg;

	alua->by_command = dir->by_command;
	alua->transition_time = dir->transition_time;
	alua->group = groups;
	alua->port = ports;
	/* A group without ports is nobody's. */
	list_for_each_entry(tpg, &dir->tpgs, entry)
		if (scst_alua_reports(tpg))
			scst_alua_fill_group(alua, &groups[alua->nr_groups++], ports, tpg);
}

static struct scst_alua_now *scst_alua_build(const struct scst_alua_dir *dir, gfp_t gfp)
{
	const struct scst_alua_port *port;
	const struct scst_alua_tpg *tpg;
	struct scst_alua_group *groups;
	struct scst_alua_now *now;
	u32 nr_groups = 0, nr_ports = 0;

	list_for_each_entry(tpg, &dir->tpgs, entry) {
		nr_groups++;
		list_for_each_entry(port, &tpg->port_list, entry)
			nr_ports++;
	}
	now = kvzalloc(sizeof(*now) + nr_groups * sizeof(*groups) + nr_ports * sizeof(u16), gfp);
	if (!now)
		return NULL;
	groups = (struct scst_alua_group *)(now + 1);
	scst_alua_fill(&now->alua, groups, (u16 *)(groups + nr_groups), dir);
	return now;
}

/* Is it not a port of the unit any more, or of another group, or may somebody else change states? */
static bool scst_alua_moved(const struct scst_alua_switch *sw, u16 port)
{
	const struct scst_alua_group *was = scst_alua_of_port(sw->old, port), *is = scst_alua_of_port(sw->new, port);

	if (!was || !is)
		return was != is;
	return was->id != is->id || sw->old->by_command != sw->new->by_command;
}

#define SCST_GATES_NOT_CONNECTED	(BIT(SCST_GATE_UNAVAILABLE) | BIT(SCST_GATE_OFFLINE))
#define SCST_GATES_NOT_READY		(SCST_GATES_NOT_CONNECTED | BIT(SCST_GATE_TRANSITIONING))

/* Is INQUIRY to say that the unit can't be reached by this port now?  Any context. */
bool scst_alua_not_connected(const struct scst_nexus *nexus)
{
	return READ_ONCE(nexus->gates) & SCST_GATES_NOT_CONNECTED;
}

/* Whoever looks for a unit by this port finds nothing of use, not even its size.  Any context. */
bool scst_alua_not_ready(const struct scst_nexus *nexus)
{
	return READ_ONCE(nexus->gates) & SCST_GATES_NOT_READY;
}

/*
 * Unit attentions first: no command may slip through before them.  Writes that were admitted before the gate was closed are
 * waited for by whoever reads `settled`, as if the generation in force had revoked them: it is about access, and does not
 * grow by this.  A nexus that is revoked is waited for as a whole.
 */
static void scst_alua_switch_nexus(struct scst_nexus *nexus, const struct scst_alua_switch *sw)
{
	unsigned long was, is;

	if (sw->mode)
		set_bit(SCST_UA_MODE_CHANGED, &nexus->gates);
	if (scst_alua_moved(sw, scst_alua_port_of(nexus)))
		set_bit(SCST_UA_INQUIRY_CHANGED, &nexus->gates);
	else if (sw->differ && nexus != sw->except && scst_alua_of_port(sw->new, scst_alua_port_of(nexus)))
		set_bit(sw->ua, &nexus->gates);
	was = scst_alua_update(nexus);
	is = READ_ONCE(nexus->gates) & SCST_STOPS_ALUA;
	if (is && !was && !test_bit(SCST_GATE_REVOKED, &nexus->gates)) {
		scst_unsettled_add(nexus, scst_generation());
		scst_await_writes(&nexus->wait, nexus, false);
	}
	if (!(was & SCST_GATES_NOT_READY) != !(is & SCST_GATES_NOT_READY))
		scst_device_tell_driver(nexus, NULL);
}

static void scst_alua_switch_device(struct scst_device *dev, struct scst_alua_switch *sw)
{
	struct scst_nexus *nexus;

	sw->mode = !sw->old->nr_groups != !sw->new->nr_groups;
	spin_lock_bh(&dev->nexus_lock);
	rcu_assign_pointer(dev->alua, sw->new);
	list_for_each_entry(nexus, &dev->nexuses, dev_entry)
		scst_alua_switch_nexus(nexus, sw);
	spin_unlock_bh(&dev->nexus_lock);
}

/**
 * scst_alua_publish() - bring into force what the tree says of a device group
 * @dir: the device group
 * @ua: the unit attention for those who see one of its devices, if what is reported changes
 * @except: the nexus that has changed it and need not be told, or NULL
 * @gfp: GFP_KERNEL, with __GFP_NOFAIL for what can't be refused
 *
 * Under scst_config_mutex.  Waits for no command.
 *
 * Return: 0, or -ENOMEM: nothing has changed.
 */
int scst_alua_publish(struct scst_alua_dir *dir, enum scst_ua ua, const struct scst_nexus *except, gfp_t gfp)
{
	struct scst_alua_now *old = dir->now, *new = scst_alua_build(dir, gfp);
	struct scst_alua_switch sw = { .ua = ua, .except = except };
	const struct scst_alua_device *entry;

	lockdep_assert_held(&scst_config_mutex);
	if (!new)
		return -ENOMEM;
	sw.old = old ? &old->alua : &scst_alua_none;
	sw.new = &new->alua;
	sw.differ = !scst_alua_same(sw.old, sw.new);
	dir->now = new;
	list_for_each_entry(entry, &dir->device_list, entry)
		if (entry->dev)
			scst_alua_switch_device(entry->dev, &sw);
	if (sw.differ || sw.old->by_command != sw.new->by_command)
		scst_alua_ask_void(&dir->ask);
	if (old)
		kvfree_rcu(old, rcu);
	if (sw.differ)
		scst_sysfs_core_event("alua", config_item_name(&dir->group.cg_item), NULL);
	return 0;
}

/* A device joins what is in force, or (NULL) leaves it.  Under scst_config_mutex. */
void scst_alua_join(struct scst_device *dev, struct scst_alua_dir *dir)
{
	const struct scst_alua *old = rcu_dereference_protected(dev->alua, lockdep_is_held(&scst_config_mutex));
	struct scst_alua_switch sw = { .old = old ?: &scst_alua_none, .ua = SCST_UA_ALUA_CHANGED };

	sw.new = dir && dir->now ? &dir->now->alua : &scst_alua_none;
	scst_alua_ask_device(dev);
	dev->alua_dir = dir;
	scst_alua_switch_device(dev, &sw);
}

/* The directory is gone; it had no devices any more. */
void scst_alua_forget(struct scst_alua_dir *dir)
{
	if (dir->now)
		kvfree_rcu(dir->now, rcu);
}

/* --- changes of states ----------------------------------------------------------------------------- */

/**
 * scst_alua_set_state() - the administrator, or who acts for him, has changed the state of a group
 * @tpg: the group
 * @state: enum scst_alua_state
 *
 * Process context, takes scst_config_mutex.  A group that comes back from "transitioning" to where it was before has failed
 * to change, and initiators are told so (SPC-4 5.15.2.5).
 *
 * Return: 0, or -ENOMEM.
 */
int scst_alua_set_state(struct scst_alua_tpg *tpg, u8 state)
{
	enum scst_ua ua = SCST_UA_ALUA_CHANGED;
	u8 old, status;
	int ret = 0;

	mutex_lock(&scst_config_mutex);
	old = tpg->state;
	status = tpg->status;
	if (old == state)
		goto out_unlock;
	if (old == SCST_ALUA_TRANSITIONING && state == tpg->before)
		ua = SCST_UA_ALUA_FAILED;
	tpg->state = state;
	tpg->status = SCST_ALUA_IMPLICIT;
	ret = scst_alua_publish(tpg->dir, ua, NULL, GFP_KERNEL);
	if (ret) {
		tpg->state = old;
		tpg->status = status;
	} else if (state == SCST_ALUA_TRANSITIONING) {
		tpg->before = old;
	}
out_unlock:
	mutex_unlock(&scst_config_mutex);
	return ret;
}

/* The group with an identifier, or NULL.  Under scst_config_mutex. */
struct scst_alua_tpg *scst_alua_find_tpg(const struct scst_alua_dir *dir, u16 id)
{
	struct scst_alua_tpg *tpg;

	list_for_each_entry(tpg, &dir->tpgs, entry)
		if (tpg->id == id)
			return tpg;
	return NULL;
}

/* States of groups, and what has brought them there. */
struct scst_alua_states {
	u8 state[SCST_ALUA_GROUPS_MAX];
	u8 status[SCST_ALUA_GROUPS_MAX];
};

/* Exchanges those of the groups that are in force with others; done twice, nothing has changed. */
static void scst_alua_swap(const struct scst_alua *alua, const struct scst_alua_dir *dir, struct scst_alua_states *with)
{
	unsigned int i;

	for (i = 0; i < alua->nr_groups; i++) {
		struct scst_alua_tpg *tpg = scst_alua_find_tpg(dir, alua->group[i].id);

		if (tpg->state == with->state[i])
			continue;
		swap(tpg->state, with->state[i]);
		swap(tpg->status, with->status[i]);
	}
}

static bool scst_alua_as_wanted(const struct scst_alua *alua, const u8 *states)
{
	unsigned int i;

	for (i = 0; i < alua->nr_groups; i++)
		if (alua->group[i].state != states[i])
			return false;
	return true;
}

/**
 * scst_alua_change() - bring groups into states that an initiator has asked for: all of them, or none
 * @dir: the device group; dir->now is what the tree says
 * @states: wanted, of each group in force
 * @by: the initiator's nexus, which need not be told
 *
 * Under scst_config_mutex.  Return: 0, or -ENOMEM: nothing has changed.
 */
int scst_alua_change(struct scst_alua_dir *dir, const u8 *states, const struct scst_nexus *by)
{
	const struct scst_alua *alua = &dir->now->alua;
	struct scst_alua_states wanted;
	int ret;

	memcpy(wanted.state, states, sizeof(wanted.state));
	memset(wanted.status, SCST_ALUA_BY_COMMAND, sizeof(wanted.status));
	scst_alua_swap(alua, dir, &wanted);
	ret = scst_alua_publish(dir, SCST_UA_ALUA_CHANGED, by, GFP_KERNEL);
	if (ret)
		scst_alua_swap(alua, dir, &wanted);
	return ret;
}

/* Under scst_config_mutex.  -EINPROGRESS: the command goes on by itself. */
static int scst_alua_command(struct scst_cmd *cmd, struct scst_alua_dir *dir, const u8 *list, u32 len, u16 *byte)
{
	const struct scst_alua *alua = &dir->now->alua;
	u8 states[SCST_ALUA_GROUPS_MAX] = { 0 };
	int ret = scst_alua_parse(alua, list, len, states, byte);

	if (ret || scst_alua_as_wanted(alua, states))
		return ret;
	return dir->ask.ms ? scst_alua_ask(dir, cmd, states) : scst_alua_change(dir, states, cmd->nexus);
}

static void scst_alua_set_answer(struct scst_cmd *cmd, int result, u16 byte)
{
	switch (result) {
	case 0:
		break;
	case SCST_ALUA_CUT:
		scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
		break;
	case SCST_ALUA_FIELD:
		scst_cmd_invalid_list(cmd, byte, byte % 4 ? 7 : 3);
		break;
	case -EOPNOTSUPP:
		scst_cmd_refuse_opcode(cmd);
		break;
	case -EBUSY:
		cmd->status = SAM_STAT_BUSY;
		break;
	default:
		scst_cmd_sense(cmd, SCST_SENSE_SET_PORT_GROUPS_FAILED);
	}
	scst_cmd_respond(cmd);
}

static void scst_alua_set_job(struct scst_job *job)
{
	struct scst_cmd *cmd = scst_cmd_of_job(job);
	u32 len = min_t(u32, cmd->len, SCST_ALUA_LIST_MAX);
	u8 list[SCST_ALUA_LIST_MAX];
	struct scst_alua_dir *dir;
	u16 byte = 0;
	int ret = -EOPNOTSUPP;

	if (len)
		scst_cmd_fetch(cmd, list, len);
	mutex_lock(&scst_config_mutex);
	dir = cmd->dev->alua_dir;
	/* One that is aborted, or whose LUN was taken away, changes nothing any more. */
	if (scst_cmd_aborted(cmd) || test_bit(SCST_GATE_REVOKED, &cmd->nexus->gates))
		ret = -ECANCELED;
	else if (dir && dir->now && dir->by_command)
		ret = scst_alua_command(cmd, dir, list, len, &byte);
	mutex_unlock(&scst_config_mutex);
	if (ret != -EINPROGRESS)
		scst_alua_set_answer(cmd, ret, byte);
}

/* --- commands -------------------------------------------------------------------------------------- */

bool scst_alua_prepare_set(struct scst_cmd *cmd)
{
	if (!scst_op_offered(cmd->op, cmd->dev))
		scst_cmd_refuse_opcode(cmd);
	else if (cmd->xfer_len > cmd->len)
		scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	else
		return true;
	return false;
}

/**
 * scst_alua_set() - SET TARGET PORT GROUPS (SPC-4 6.45)
 * @cmd: the command
 *
 * On a thread that does not wait for the back end: the change is one of the configuration.  It is answered when it is in
 * force for commands that come from then on; those that were admitted before may still be running.
 */
void scst_alua_set(struct scst_cmd *cmd)
{
	scst_cmd_to_threads_of(cmd, &cmd->dev->pr_threads, scst_alua_set_job);
}

bool scst_alua_prepare_report(struct scst_cmd *cmd)
{
	if (!scst_op_offered(cmd->op, cmd->dev))
		scst_cmd_refuse_opcode(cmd);
	else if (cmd->cdb[1] >> 5 > 1)		/* PARAMETER DATA FORMAT */
		scst_cmd_invalid_cdb(cmd, 1, 7);
	else
		return true;
	return false;
}

/* A report that is being written into the command's buffer: @at counts what does not fit as well. */
struct scst_alua_answer {
	struct scst_cmd *cmd;
	u32 at;
};

static void scst_alua_put(void *to, const u8 *bytes, u32 len)
{
	struct scst_alua_answer *answer = to;
	struct scst_cmd *cmd = answer->cmd;

	if (answer->at < cmd->len)
		sg_pcopy_from_buffer(cmd->data.sgl, cmd->data.nents, bytes, min(len, cmd->len - answer->at), answer->at);
	answer->at += len;
}

/**
 * scst_alua_execute_report() - REPORT TARGET PORT GROUPS (SPC-4 6.37)
 * @cmd: the command
 *
 * Any context; needs no memory.
 */
void scst_alua_execute_report(struct scst_cmd *cmd)
{
	struct scst_alua_answer answer = { .cmd = cmd };
	const struct scst_alua *alua;

	rcu_read_lock();
	alua = rcu_dereference(cmd->dev->alua);
	scst_alua_report(alua ?: &scst_alua_none, cmd->cdb[1] >> 5, scst_alua_put, &answer);
	rcu_read_unlock();
	cmd->xfer_len = min(cmd->xfer_len, answer.at);
	cmd->len = min(cmd->len, answer.at);
	scst_cmd_good(cmd);
}
