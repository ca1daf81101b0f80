// SPDX-License-Identifier: GPL-2.0-only
/*
 * POPULATE TOKEN and WRITE USING TOKEN (SBC-3 5.7, 5.50): the initiator is given a token for data of a unit, and has a unit written from
 * it.
 *
 * Both are copies, with what that means for aborts, results and limits: copy.c.  POPULATE TOKEN moves nothing.  What WRITE USING TOKEN does
 * is what EXTENDED COPY does, by the same commands of the core's own: copy-run.c, copy-part.c.
 *
 * A token says which data, not who may have it.  Any initiator that has come to know it may use it by any target port, but the data is
 * read from the unit that its own view shows, with what it may do there; who does not see the unit is told that the token is another
 * copy manager's.
 *
 * Zeroes have a token that everybody knows.  They are not copied: the handler makes them, if it can.
 */
#include "commands.h"
#include "copy.h"
#include <linux/random.h>

static_assert((u32)SCST_TOKEN_OUT_OF_RANGE == SCST_SENSE_LBA_OUT_OF_RANGE);

enum { SOURCE, DESTINATION };

static bool scst_tokens_failed(struct scst_copy *copy, u32 sense)
{
	copy->failure = (struct scst_copy_failure){ .sense = sense, .segment = -1, .byte = -1 };
	return false;
}

/* LIST IDENTIFIER, and whether the list is right. */
static bool scst_tokens_parse(struct scst_copy *copy, bool (*parse)(struct scst_token_list *list, struct scst_copy_fault *fault,
			      const u8 *bytes, u32 len, const struct scst_copy_medium *medium))
{
	const struct scst_geometry *geo = &copy->cmd->dev->geo;
	const struct scst_copy_medium medium = { .nblocks = READ_ONCE(geo->nblocks), .block_shift = geo->block_shift };
	struct scst_copy_fault fault;

	copy->id = get_unaligned_be32(copy->cmd->cdb + 6);
	copy->id_usage = SCST_COPY_ID_HOLD;
	if (parse(&copy->tokens, &fault, copy->bytes, copy->len, &medium))
		return true;
	copy->failure = (struct scst_copy_failure){ .sense = fault.sense, .segment = -1, .byte = fault.byte, .bit = fault.bit };
	return false;
}

/* --- POPULATE TOKEN --------------------------------------------------------------------------------- */

static bool scst_populate_parse(struct scst_copy *copy)
{
	return scst_tokens_parse(copy, scst_token_parse_populate);
}

static void scst_token_write_text(struct scst_token *token, const struct scst_identity *id)
{
	struct scst_token_text text = { .block_shift = token->block_shift, .bytes = token->bytes };

	get_random_bytes(&text.id, sizeof(text.id));
	get_random_bytes(text.secret, sizeof(text.secret));
	text.type = id->naa_len ? SCST_DESIGNATOR_NAA : SCST_DESIGNATOR_EUI64;
	text.designator = id->naa_len ? id->naa : id->eui64;
	text.len = id->naa_len ?: id->eui64_len;
	scst_token_encode(&text, token->text);
}

static struct scst_token *scst_token_make(const struct scst_copy *copy)
{
	const struct scst_token_list *list = &copy->tokens;
	const struct scst_device *dev = copy->cmd->dev;
	struct scst_token *token = kzalloc(struct_size(token, range, list->nr), GFP_NOIO);
	unsigned int i;

	if (!token)
		return NULL;
	kref_init(&token->kref);
	atomic_set(&token->users, 1);
	token->session = copy->cmd->sess->id;
	token->made = jiffies;
	token->used = token->made;
	token->timeout = list->timeout;
	token->block_shift = dev->geo.block_shift;
	token->bytes = list->nblocks << token->block_shift;
	token->nr = list->nr;
	for (i = 0; i < list->nr; i++)
		scst_token_range(list, i, &token->range[i]);
	scst_token_write_text(token, &dev->id);
	return token;
}

/* While something of it is being written there is no such time: it is to be asked for again. */
static bool scst_populate_find(struct scst_copy *copy)
{
	u32 sense;

	copy->token = scst_token_make(copy);
	sense = copy->token ? scst_token_add(copy->cmd->dev, copy->token) : SCST_TOKEN_NO_ROOM;
	if (!sense) {
		copy->moved = copy->token->bytes;
		return true;
	}
	scst_tokens_failed(copy, sense);
	if (sense == SCST_TOKEN_REVOKED)
		copy->failure.status = SAM_STAT_BUSY;
	return false;
}

static bool scst_populate_next(struct scst_copy *copy)
{
	return false;
}

/* Of an aborted one nobody is told. */
static void scst_populate_end(struct scst_copy *copy)
{
	if (!copy->failure.sense && scst_cmd_aborted(copy->cmd))
		scst_token_end(copy->cmd->dev, copy->token, SCST_TOKEN_DELETED);
}

static const struct scst_copy_kind scst_copy_populates = {
	.action	= SCST_COPY_POPULATE,
	.parse	= scst_populate_parse,
	.find	= scst_populate_find,
	.next	= scst_populate_next,
	.end	= scst_populate_end,
};

static void scst_populate_job(struct scst_job *job)
{
	scst_copy_begin(scst_cmd_of_job(job), &scst_copy_populates);
}

/* --- WRITE USING TOKEN -------------------------------------------------------------------------------- */

static bool scst_write_parse(struct scst_copy *copy)
{
	return scst_tokens_parse(copy, scst_token_parse_write);
}

static u64 scst_write_bytes(const struct scst_copy *copy)
{
	return copy->tokens.nblocks << copy->cmd->dev->geo.block_shift;
}

/* What comes behind the first @moved bytes, of both sides together. */
static struct scst_copy_extent scst_write_extent(const struct scst_copy *copy, u64 moved)
{
	struct scst_copy_extent extent = { .len = scst_write_bytes(copy) - moved };
	const struct scst_token *token = copy->token;

	extent.to = scst_token_place(copy->to_range, copy->tokens.nr, copy->cmd->dev->geo.block_shift, moved, &extent.len);
	if (token)
		extent.from = scst_token_place(token->range, token->nr, token->block_shift, copy->token_pos + moved, &extent.len);
	return extent;
}

/* There must be so much in the token, and each piece must be whole blocks of both sides. */
static bool scst_write_check_fit(struct scst_copy *copy)
{
	u64 bytes = scst_write_bytes(copy), moved, odd = 0;
	u8 shift = copy->cmd->dev->geo.block_shift;
	struct scst_copy_extent extent;

	if (copy->tokens.offset >= DIV_ROUND_UP_ULL(copy->token->bytes, 1ULL << shift)) {
		scst_tokens_failed(copy, SCST_COPY_INVALID_FIELD);
		copy->failure.byte = 8;
		copy->failure.bit = 7;
		return false;
	}
	copy->token_pos = copy->tokens.offset << shift;
	if (bytes > copy->token->bytes - copy->token_pos)
		return scst_tokens_failed(copy, SCST_TOKEN_UNDERRUN);
	for (moved = 0; moved < bytes; moved += extent.len) {
		extent = scst_write_extent(copy, moved);
		odd |= (extent.from | extent.len) & ((1ULL << copy->token->block_shift) - 1);
		odd |= (extent.to | extent.len) & ((1ULL << shift) - 1);
	}
	return odd ? scst_tokens_failed(copy, SCST_COPY_INEXACT) : true;
}

/* What would write over the token's own data would end the token, and is not begun. */
static bool scst_write_check_overlap(struct scst_copy *copy)
{
	unsigned int i;

	for (i = 0; i < copy->tokens.nr; i++) {
		const struct scst_token_range *range = &copy->to_range[i];

		if (!scst_token_touches(copy->token->range, copy->token->nr, range->lba, range->nblocks))
			continue;
		scst_tokens_failed(copy, SCST_COPY_INVALID_FIELD);
		copy->failure.byte = SCST_WRITE_HEADER + i * SCST_TOKEN_RANGE;
		copy->failure.bit = 7;
		return false;
	}
	return true;
}

static bool scst_write_use(struct scst_copy *copy, struct scst_device *dev)
{
	u32 sense = scst_token_use(dev, copy->tokens.token, &copy->token);

	if (sense)
		return scst_tokens_failed(copy, sense);
	if (!scst_write_check_fit(copy) || (dev == copy->cmd->dev && !scst_write_check_overlap(copy)))
		return false;
	scst_copy_choose_way(copy, dev, copy->cmd->dev);
	return true;
}

static bool scst_write_find_source(struct scst_copy *copy, const struct scst_copy_cscd *cscd)
{
	struct scst_session *sess = copy->cmd->sess;
	struct scst_nexus *nexus = NULL;
	bool found;

	if (scst_copy_find(sess, cscd, &copy->unit[SOURCE]))
		nexus = scst_copy_nexus(sess, &copy->unit[SOURCE]);
	if (!nexus)
		return scst_tokens_failed(copy, SCST_TOKEN_REMOTE);
	found = scst_write_use(copy, nexus->dev);
	percpu_ref_put(&nexus->ref);
	return found;
}

static bool scst_write_find_zeroes(struct scst_copy *copy)
{
	copy->from = copy->to;
	copy->zero = true;
	copy->by_handler = true;
	return true;
}

static bool scst_write_find(struct scst_copy *copy)
{
	const struct scst_nexus *nexus = copy->cmd->nexus;
	struct scst_copy_cscd cscd;
	unsigned int i;
	u32 type, sense;

	copy->from = &copy->unit[SOURCE];
	copy->to = &copy->unit[DESTINATION];
	copy->unit[DESTINATION] = (struct scst_copy_unit){
		.cookie = nexus->cookie, .lun = nexus->lun, .resets = atomic_read(&nexus->dev->resets),
	};
	for (i = 0; i < copy->tokens.nr; i++)
		scst_token_range(&copy->tokens, i, &copy->to_range[i]);
	sense = scst_token_decode(copy->tokens.token, &type, &cscd);
	if (sense)
		return scst_tokens_failed(copy, sense);
	return type == SCST_ROD_ZERO ? scst_write_find_zeroes(copy) : scst_write_find_source(copy, &cscd);
}

static bool scst_write_next(struct scst_copy *copy)
{
	if (copy->moved == scst_write_bytes(copy))
		return false;
	copy->extent = scst_write_extent(copy, copy->moved);
	copy->whole = copy->extent;
	return true;
}

/* DEL_TKN */
static void scst_write_end(struct scst_copy *copy)
{
	struct scst_nexus *nexus;

	if (copy->failure.sense || !copy->token || !copy->tokens.delete)
		return;
	nexus = scst_copy_nexus(copy->cmd->sess, &copy->unit[SOURCE]);
	if (!nexus)
		return;
	scst_token_end(nexus->dev, copy->token, SCST_TOKEN_DELETED);
	percpu_ref_put(&nexus->ref);
}

static const struct scst_copy_kind scst_copy_writes = {
	.action	= SCST_COPY_WRITE,
	.parse	= scst_write_parse,
	.find	= scst_write_find,
	.next	= scst_write_next,
	.end	= scst_write_end,
};

static void scst_write_job(struct scst_job *job)
{
	scst_copy_begin(scst_cmd_of_job(job), &scst_copy_writes);
}

/* --- the commands -------------------------------------------------------------------------------------- */

static void scst_tokens_execute(struct scst_cmd *cmd, void (*job)(struct scst_job *job))
{
	if (cmd->len)
		scst_cmd_to_threads_of(cmd, &scst_copy_threads, job);
	else
		scst_cmd_good(cmd);
}

/* POPULATE TOKEN */
void scst_copy_populate(struct scst_cmd *cmd)
{
	scst_tokens_execute(cmd, scst_populate_job);
}

/* WRITE USING TOKEN */
void scst_copy_write(struct scst_cmd *cmd)
{
	scst_tokens_execute(cmd, scst_write_job);
}
