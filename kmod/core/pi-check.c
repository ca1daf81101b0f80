// SPDX-License-Identifier: GPL-2.0-only
/*
 * Protection information (SBC-3 4.22) as bytes; pure.
 *
 * A block has eight of them:
 *
 *	0	LOGICAL BLOCK GUARD: CRC-16 of the block, polynomial 8BB7h
 *	2	LOGICAL BLOCK APPLICATION TAG: FFFFh: nothing is checked (type 3: if the reference tag is all ones, too)
 *	4	LOGICAL BLOCK REFERENCE TAG: type 1: of the LBA the lower four bytes; type 2: what the command says for its first block,
 *		one more for each that follows; type 3: the application client's
 *
 * Also built in user space by the tests.
 */
#include "compat.h"
#include "pi-check.h"

#define GUARD_AT	0
#define APP_AT		2
#define REF_AT		4

/* Says the block that it is not known: it was never written, was given back, or both at once were lost in a crash. */
bool scst_pi_escaped(u8 type, const u8 *pi)
{
	return get_unaligned_be16(pi + APP_AT) == SCST_PI_APP_ESCAPE &&
	       (type != 3 || get_unaligned_be32(pi + REF_AT) == SCST_PI_REF_ESCAPE);
}

static enum scst_pi_fault scst_pi_check_one(const struct scst_pi_rule *rule, const u8 *block, const u8 *pi, u32 ref_tag)
{
	if (rule->guard && get_unaligned_be16(pi + GUARD_AT) != scst_pi_guard(block, rule->block))
		return SCST_PI_GUARD;
	if (rule->app && (get_unaligned_be16(pi + APP_AT) ^ rule->app_tag) & rule->app_mask)
		return SCST_PI_APP;
	if (rule->ref && rule->type != 3 && get_unaligned_be32(pi + REF_AT) != ref_tag)
		return SCST_PI_REF;
	return SCST_PI_RIGHT;
}

/**
 * scst_pi_check() - hold blocks against their protection information
 * @rule: what is checked
 * @data: the blocks
 * @pi: their protection information
 * @nr: how many
 * @bad: set to the number of the first that is wrong
 *
 * Return: what is wrong with it; SCST_PI_RIGHT: they are all right, or are not checked.
 */
enum scst_pi_fault scst_pi_check(const struct scst_pi_rule *rule, const u8 *data, const u8 *pi, u32 nr, u32 *bad)
{
	enum scst_pi_fault fault = SCST_PI_RIGHT;
	u32 i;

	for (i = 0; i < nr && !fault; i++, data += rule->block, pi += SCST_PI_SIZE) {
		*bad = i;
		if (!rule->escapes || !scst_pi_escaped(rule->type, pi))
			fault = scst_pi_check_one(rule, data, pi, rule->ref_tag + i);
	}
	return fault;
}

/**
 * scst_pi_generate() - make the protection information of blocks that came without
 * @rule: type, block and ref_tag count
 * @data: the blocks
 * @pi: set
 * @nr: how many
 *
 * The application tag is 0: all ones would switch the checks of what is generated off.
 */
void scst_pi_generate(const struct scst_pi_rule *rule, const u8 *data, u8 *pi, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++, data += rule->block, pi += SCST_PI_SIZE) {
		put_unaligned_be16(scst_pi_guard(data, rule->block), pi + GUARD_AT);
		put_unaligned_be16(0, pi + APP_AT);
		put_unaligned_be32(rule->type == 3 ? 0 : rule->ref_tag + i, pi + REF_AT);
	}
}

/* None at all: all ones. */
bool scst_pi_none(const u8 *pi)
{
	return get_unaligned_be64(pi) == U64_MAX;
}

/**
 * scst_pi_repeat() - the protection information of blocks that are all written from one (SBC-4, WRITE SAME)
 * @type: of protection
 * @one: what the one has
 * @first: of how many blocks before it was already
 * @pi: set
 * @nr: how many
 *
 * Each reference tag is that of the block before it and one more, but for type 3.  All ones stay all ones.
 */
void scst_pi_repeat(u8 type, const u8 *one, u32 first, u8 *pi, u32 nr)
{
	u32 step = type == 3 || scst_pi_none(one) ? 0 : 1, i;

	for (i = 0; i < nr; i++, pi += SCST_PI_SIZE) {
		put_unaligned_be32(get_unaligned_be32(one + GUARD_AT), pi + GUARD_AT);
		put_unaligned_be32(get_unaligned_be32(one + REF_AT) + (first + i) * step, pi + REF_AT);
	}
}

/**
 * scst_pi_regenerate() - the guards of blocks whose tags stay
 * @data: the blocks
 * @block: bytes of each
 * @pi: of which only the guard is set
 * @nr: how many
 */
void scst_pi_regenerate(const u8 *data, u32 block, u8 *pi, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++, data += block, pi += SCST_PI_SIZE)
		put_unaligned_be16(scst_pi_guard(data, block), pi + GUARD_AT);
}

/*
 * RDPROTECT, WRPROTECT, VRPROTECT (SBC-3 5.10, 5.38, 5.34), all alike; 000b: what is on the medium is checked, nothing is moved.
 * Where the standard lets the target choose it checks.  False: reserved.
 */
bool scst_pi_protect(u8 field, struct scst_pi_rule *rule)
{
	static const struct {
		bool known, guard, tags;
	} protect[] = {
		[0]	= { true, true, true },
		[1]	= { true, true, true },
		[2]	= { true, false, true },
		[3]	= { true, false, false },
		[4]	= { true, true, false },
		[5]	= { true, true, true },
		[7]	= { },
	};

	rule->guard = protect[field & 7].guard;
	rule->app = protect[field & 7].tags && rule->app_mask;
	rule->ref = protect[field & 7].tags;
	return protect[field & 7].known;
}

/*
 * VERIFY with BYTCHK: what of the protection information has to be the same as well.  The application tag is compared only where
 * it is the application client's (ATO).
 */
void scst_pi_compare_mask(u8 field, bool ato, u8 mask[SCST_PI_SIZE])
{
	bool guard = field && field != 2, tags = field && field != 4;
	unsigned int i;

	for (i = 0; i < SCST_PI_SIZE; i++)
		mask[i] = (i < APP_AT ? guard : i < REF_AT ? tags && ato : tags) ? 0xff : 0;
}

/* Offset of the first difference of @len bytes, of those bits that @mask has for each eighth byte, or @len. */
u32 scst_pi_alike(const u8 *a, const u8 *b, u32 len, const u8 mask[SCST_PI_SIZE])
{
	u32 i = 0;

	while (i < len && !((a[i] ^ b[i]) & mask[i % SCST_PI_SIZE]))
		i++;
	return i;
}
