/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Protection information (SBC-3 4.22) as bytes; pure.
 */
#ifndef SCST_PI_CHECK_H
#define SCST_PI_CHECK_H

#include <linux/types.h>

#define SCST_PI_SIZE		8	/* bytes, of each logical block: the protection interval is the block */
#define SCST_PI_APP_ESCAPE	0xffff
#define SCST_PI_REF_ESCAPE	0xffffffff

/* What is wrong with a block. */
enum scst_pi_fault {
	SCST_PI_RIGHT,
	SCST_PI_GUARD,
	SCST_PI_APP,
	SCST_PI_REF,
};

/**
 * struct scst_pi_rule - what blocks and their protection information are held against
 * @type: 1 to 3
 * @guard: the guard is checked
 * @app: the application tag is
 * @ref: the reference tag is; that of type 3 never
 * @escapes: nothing of a block that says so: it comes from the medium
 * @app_tag: expected application tag
 * @app_mask: of its bits those that count
 * @ref_tag: expected reference tag of the first block; each further one has one more
 * @block: bytes
 */
struct scst_pi_rule {
	u8 type;
	bool guard;
	bool app;
	bool ref;
	bool escapes;
	u16 app_tag;
	u16 app_mask;
	u32 ref_tag;
	u32 block;
};

u16 scst_pi_guard(const u8 *block, u32 len);
bool scst_pi_escaped(u8 type, const u8 *pi);
enum scst_pi_fault scst_pi_check(const struct scst_pi_rule *rule, const u8 *data, const u8 *pi, u32 nr, u32 *bad);
void scst_pi_generate(const struct scst_pi_rule *rule, const u8 *data, u8 *pi, u32 nr);
bool scst_pi_none(const u8 *pi);
void scst_pi_repeat(u8 type, const u8 *one, u32 first, u8 *pi, u32 nr);
void scst_pi_regenerate(const u8 *data, u32 block, u8 *pi, u32 nr);
bool scst_pi_protect(u8 field, struct scst_pi_rule *rule);
void scst_pi_compare_mask(u8 field, bool ato, u8 mask[SCST_PI_SIZE]);
u32 scst_pi_alike(const u8 *a, const u8 *b, u32 len, const u8 mask[SCST_PI_SIZE]);

#endif /* SCST_PI_CHECK_H */
