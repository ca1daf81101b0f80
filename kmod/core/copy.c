// SPDX-License-Identifier: GPL-2.0-only
/*
 * EXTENDED COPY (SPC-4 6.4, 6.5): the initiator names logical units and stretches of them, and this host copies.
 *
 * Units are looked for in the initiator's own view and nowhere else: what it can't see by this target port can't be reached by a copy.
 * What it may do there is asked for with each chunk: see copy-part.c.  Segments are done one after the other.
 *
 * A copy is an object of its own, and its command is answered when nothing of it is on its way any more.
 */
#include "commands.h"
#include "copy.h"

static_assert((u32)SCST_COPY_LIST_LENGTH == SCST_SENSE_LIST_LENGTH);
static_assert((u32)SCST_COPY_INVALID_FIELD == SCST_SENSE_INVALID_FIELD_LIST);
static_assert((u32)SCST_COPY_ABORTED == SCST_SENSE(COPY_ABORTED, 0x00, 0x00));
static_assert((u32)SCST_COPY_NOT_REACHABLE == SCST_SENSE(COPY_ABORTED, 0x0d, 0x02));

/* --- the units ------------------------------------------------------------------------------------- */

/* Under RCU.  Whatever is looked at of a device is so while its nexus is held. */
static bool scst_copy_is(struct scst_nexus *nexus, const struct scst_copy_cscd *cscd, struct scst_copy_unit *unit)
{
	bool is;

	if (!percpu_ref_tryget_live_rcu(&nexus->ref))
		return false;
	is = scst_vpd_names(nexus->dev, cscd->code_set, cscd->association << 4 | cscd->type, cscd->designator, cscd->len);
	if (is)
		*unit = (struct scst_copy_unit){
			.cookie = nexus->cookie, .lun = nexus->lun, .resets = atomic_read(&nexus->dev->resets),
		};
	percpu_ref_put(&nexus->ref);
	return is;
}

/* A unit that the initiator sees twice is taken where it may write to it. */
bool scst_copy_find(struct scst_session *sess, const struct scst_copy_cscd *cscd, struct scst_copy_unit *unit)
{
	const struct scst_view *view;
	bool found = false;
	u32 i;

	rcu_read_lock();
	view = rcu_dereference(sess->view);
	for (i = 0; view && i < view->nr; i++) {
		if ((found && view->entry[i].read_only) || !scst_copy_is(view->entry[i].nexus, cscd, unit))
			continue;
		found = true;
		if (!view->entry[i].read_only)
			break;
	}
	rcu_read_unlock();
	return found;
}

/* Numbers of the list are checked. */
static bool scst_copy_find_units(struct scst_copy *copy)
{
	const struct scst_copy_list *list = &copy->list;
	struct scst_copy_segment segment;
	struct scst_copy_cscd cscd;
	unsigned int i, side;

	for (i = 0; i < 2 * list->nr_segments; i++) {
		scst_copy_segment(list, i / 2, &segment);
		side = i % 2 ? segment.to : segment.from;
		scst_copy_cscd(list, side, &cscd);
		if (copy->unit[side].cookie || scst_copy_find(copy->cmd->sess, &cscd, &copy->unit[side]))
			continue;
		copy->failure = (struct scst_copy_failure){
			.sense = SCST_COPY_NOT_REACHABLE, .segment = i / 2, .byte = -1,
		};
		return false;
	}
	return true;
}

/* What a unit is now; 0, or SCST_SENSE(): it is not accessible. */
static u32 scst_copy_medium(struct scst_copy *copy, const struct scst_copy_unit *unit, struct scst_copy_medium *medium,
			    const struct scst_device **dev)
{
	struct scst_nexus *nexus = scst_copy_nexus(copy->cmd->sess, unit);

	if (!nexus)
		return SCST_SENSE_LUN_NOT_SUPPORTED;
	*dev = nexus->dev;
	medium->block_shift = nexus->dev->geo.block_shift;
	medium->nblocks = READ_ONCE(nexus->dev->geo.nblocks);
	percpu_ref_put(&nexus->ref);
	return medium->block_shift ? 0 : SCST_SENSE_BECOMING_READY;
}

/* --- a segment --------------------------------------------------------------------------------------- */

/* As if the unit had said so itself. */
static bool scst_copy_unit_failed(struct scst_copy *copy, bool of_source, u32 sense)
{
	struct scst_copy_failure *failure = &copy->failure;

	*failure = (struct scst_copy_failure){
		.sense = SCST_COPY_ABORTED, .segment = copy->segment, .byte = -1,
		.of_source = of_source, .status = SAM_STAT_CHECK_CONDITION,
	};
	failure->told_len = scst_sense_build(failure->told, false, sense);
	return false;
}

static bool scst_copy_check_fit(struct scst_copy *copy, enum scst_copy_fit fit)
{
	switch (fit) {
	case SCST_COPY_FITS:
		return true;
	case SCST_COPY_BEHIND_SOURCE:
		return scst_copy_unit_failed(copy, true, SCST_SENSE_LBA_OUT_OF_RANGE);
	case SCST_COPY_BEHIND_DESTINATION:
		return scst_copy_unit_failed(copy, false, SCST_SENSE_LBA_OUT_OF_RANGE);
	default:
		copy->failure = (struct scst_copy_failure){
			.sense = SCST_COPY_INEXACT, .segment = copy->segment, .byte = -1,
		};
		return false;
	}
}

/* A descriptor that says how long blocks are has to be right, or what it means is not known. */
static bool scst_copy_check_block(struct scst_copy *copy, unsigned int nr, const struct scst_copy_medium *medium)
{
	struct scst_copy_cscd cscd;

	scst_copy_cscd(&copy->list, nr, &cscd);
	if (!cscd.block || cscd.block == 1U << medium->block_shift)
		return true;
	copy->failure = (struct scst_copy_failure){
		.sense = SCST_COPY_INVALID_FIELD, .segment = -1, .byte = copy->list.form->len + nr * SCST_COPY_CSCD + 29, .bit = 7,
	};
	return false;
}

/* What overlaps is copied as if all of it was read first. */
void scst_copy_choose_way(struct scst_copy *copy, const struct scst_device *from, const struct scst_device *to)
{
	const struct scst_copy_extent *extent = &copy->extent;
	bool overlaps = from == to && extent->from < extent->to + extent->len && extent->to < extent->from + extent->len;

	copy->one_lane = overlaps;
	copy->backwards = overlaps && extent->to > extent->from;
	copy->by_handler = !overlaps && from->handler == to->handler && to->handler->copy;
	copy->whole = *extent;
}

/* False: it can't be, and copy->failure says why. */
static bool scst_copy_begin_segment(struct scst_copy *copy)
{
	struct scst_copy_medium from_medium, to_medium;
	const struct scst_device *from, *to;
	struct scst_copy_segment segment;
	u32 sense;

	scst_copy_segment(&copy->list, copy->segment, &segment);
	copy->from = &copy->unit[segment.from];
	copy->to = &copy->unit[segment.to];
	sense = scst_copy_medium(copy, copy->from, &from_medium, &from);
	if (sense)
		return scst_copy_unit_failed(copy, true, sense);
	sense = scst_copy_medium(copy, copy->to, &to_medium, &to);
	if (sense)
		return scst_copy_unit_failed(copy, false, sense);
	if (!scst_copy_check_block(copy, segment.from, &from_medium) || !scst_copy_check_block(copy, segment.to, &to_medium) ||
	    !scst_copy_check_fit(copy, scst_copy_extent(&segment, &from_medium, &to_medium, &copy->extent)))
		return false;
	scst_copy_choose_way(copy, from, to);
	return true;
}

static bool scst_copy_next_segment(struct scst_copy *copy)
{
	return copy->segment < copy->list.nr_segments && scst_copy_begin_segment(copy);
}

/* --- the end ------------------------------------------------------------------------------------------- */

static void scst_copy_tell(struct scst_copy *copy)
{
	const struct scst_copy_failure *failure = &copy->failure;
	struct scst_cmd *cmd = copy->cmd;

	if (!failure->sense)
		cmd->status = SAM_STAT_GOOD;
	else if (failure->segment < 0 && failure->status)
		cmd->status = failure->status;
	else if (failure->byte >= 0)
		scst_cmd_sense_list(cmd, failure->sense, failure->byte, failure->bit);
	else if (failure->segment < 0)
		scst_cmd_sense(cmd, failure->sense);
	else
		scst_cmd_sense_segment(cmd, failure->sense, failure->segment, failure->of_source, failure->status,
				       failure->told, failure->told_len);
}

static void scst_copy_free(struct scst_copy *copy)
{
	unsigned int i;

	for (i = 0; i < SCST_COPY_LANES; i++)
		if (copy->lane[i].memory)
			scst_data_put(&copy->lane[i].read.cmd);
	if (copy->token)
		scst_token_unuse(copy->token);
	kfree(copy->bytes);
	kfree(copy);
}

static void scst_copy_end(struct scst_copy *copy)
{
	struct scst_cmd *cmd = copy->cmd;

	if (copy->kind->end)
		copy->kind->end(copy);
	scst_copy_tell(copy);
	scst_copy_record_end(copy);
	atomic_dec(&cmd->sess->copies);
	scst_copy_free(copy);
	scst_cmd_respond(cmd);
}

static void scst_copy_segments(struct scst_copy *copy)
{
	while (copy->kind->next(copy)) {
		if (copy->extent.len) {
			scst_copy_run(copy);
			return;
		}
		copy->segment++;
		scst_copy_record_segment(copy);
	}
	scst_copy_end(copy);
}

/* What scst_copy_run() has begun is over.  On a thread of the copies'. */
void scst_copy_over(struct scst_copy *copy)
{
	copy->moved += scst_copy_reached(copy);
	if (copy->failure.sense) {
		scst_copy_end(copy);
		return;
	}
	copy->segment++;
	scst_copy_record_segment(copy);
	scst_copy_segments(copy);
}

/* --- the beginning ----------------------------------------------------------------------------------- */

static struct scst_copy *scst_copy_alloc(struct scst_cmd *cmd, const struct scst_copy_kind *kind)
{
	struct scst_copy *copy = kzalloc(sizeof(*copy), GFP_NOIO);
	unsigned int i;

	if (!copy)
		return NULL;
	copy->cmd = cmd;
	copy->kind = kind;
	copy->len = min_t(u32, cmd->len, SCST_COPY_LIST);
	spin_lock_init(&copy->lock);
	for (i = 0; i < SCST_COPY_LANES; i++)
		copy->lane[i].copy = copy;
	/* The initiator may change it while it is used. */
	copy->bytes = kmalloc(copy->len, GFP_NOIO);
	if (copy->bytes) {
		scst_cmd_fetch(cmd, copy->bytes, copy->len);
		return copy;
	}
	scst_copy_free(copy);
	return NULL;
}

static bool scst_copy_parsed(struct scst_copy *copy, bool right, const struct scst_copy_fault *fault)
{
	if (right) {
		copy->id = copy->list.id;
		copy->id_usage = copy->list.id_usage;
		return true;
	}
	copy->failure = (struct scst_copy_failure){
		.sense = fault->sense, .segment = fault->segment, .byte = fault->byte, .bit = fault->bit,
	};
	return false;
}

static bool scst_copy_parse_lid1_list(struct scst_copy *copy)
{
	struct scst_copy_fault fault;
	bool right = scst_copy_parse(&copy->list, &fault, copy->bytes, copy->len);

	return scst_copy_parsed(copy, right, &fault);
}

static bool scst_copy_parse_lid4_list(struct scst_copy *copy)
{
	struct scst_copy_fault fault;
	bool right = scst_copy_parse_lid4(&copy->list, &fault, copy->bytes, copy->len);

	return scst_copy_parsed(copy, right, &fault);
}

/* Nothing of it has begun. */
static void scst_copy_refuse(struct scst_copy *copy)
{
	struct scst_cmd *cmd = copy->cmd;

	scst_copy_tell(copy);
	scst_copy_free(copy);
	scst_cmd_respond(cmd);
}

/* More than a session may have at once are to be sent again. */
static void scst_copy_busy(struct scst_copy *copy)
{
	copy->failure = (struct scst_copy_failure){ .sense = SCST_COPY_ABORTED, .segment = -1, .status = SAM_STAT_BUSY };
	scst_copy_refuse(copy);
}

static void scst_copy_start(struct scst_copy *copy)
{
	struct scst_session *sess = copy->cmd->sess;

	if (!copy->kind->parse(copy)) {
		scst_copy_refuse(copy);
		return;
	}
	if (atomic_inc_return(&sess->copies) > SCST_COPY_MAX) {
		atomic_dec(&sess->copies);
		scst_copy_busy(copy);
		return;
	}
	if (!scst_copy_record_begin(copy)) {
		atomic_dec(&sess->copies);
		scst_copy_refuse(copy);
	} else if (!copy->kind->find(copy)) {
		scst_copy_end(copy);
	} else {
		scst_copy_segments(copy);
	}
}

/**
 * scst_copy_begin() - begin a copy
 * @cmd: the command, on a thread of the copies'
 * @kind: of it
 *
 * It answers the command in the end.
 */
void scst_copy_begin(struct scst_cmd *cmd, const struct scst_copy_kind *kind)
{
	struct scst_copy *copy;

	if (scst_cmd_aborted(cmd)) {
		scst_cmd_respond(cmd);
		return;
	}
	copy = scst_copy_alloc(cmd, kind);
	if (copy) {
		scst_copy_start(copy);
		return;
	}
	scst_cmd_errno(cmd, -ENOMEM);
	scst_cmd_respond(cmd);
}

static const struct scst_copy_kind scst_copy_extended = {
	.action	= SCST_COPY_EXTENDED,
	.parse	= scst_copy_parse_lid1_list,
	.find	= scst_copy_find_units,
	.next	= scst_copy_next_segment,
};

static const struct scst_copy_kind scst_copy_extended_lid4 = {
	.action	= SCST_COPY_EXTENDED_LID4,
	.parse	= scst_copy_parse_lid4_list,
	.find	= scst_copy_find_units,
	.next	= scst_copy_next_segment,
};

static void scst_copy_job(struct scst_job *job)
{
	scst_copy_begin(scst_cmd_of_job(job), &scst_copy_extended);
}

static void scst_copy_lid4_job(struct scst_job *job)
{
	scst_copy_begin(scst_cmd_of_job(job), &scst_copy_extended_lid4);
}

/* Of all kinds: all of the list has to be there; what is in it is looked at when it is copied. */
bool scst_copy_prepare(struct scst_cmd *cmd)
{
	if (cmd->xfer_len <= cmd->len)
		return true;
	scst_cmd_sense(cmd, SCST_SENSE_LIST_LENGTH);
	return false;
}

/**
 * scst_copy_execute() - EXTENDED COPY(LID1)
 * @cmd: the command
 */
void scst_copy_execute(struct scst_cmd *cmd)
{
	if (cmd->len)
		scst_cmd_to_threads_of(cmd, &scst_copy_threads, scst_copy_job);
	else
		scst_cmd_good(cmd);
}

/**
 * scst_copy_execute_lid4() - EXTENDED COPY(LID4)
 * @cmd: the command
 */
void scst_copy_execute_lid4(struct scst_cmd *cmd)
{
	if (cmd->len)
		scst_cmd_to_threads_of(cmd, &scst_copy_threads, scst_copy_lid4_job);
	else
		scst_cmd_good(cmd);
}

int scst_copy_module_init(void)
{
	scst_threads_init(&scst_copy_threads, "copy", UINT_MAX);
	return 0;
}

/* After the last session. */
void scst_copy_module_exit(void)
{
	scst_threads_stop(&scst_copy_threads);
}
