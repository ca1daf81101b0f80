/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mode pages as bytes (SPC-4 7.5, SBC-3 6.4); pure.
 */
#ifndef SCST_MODE_PAGES_H
#define SCST_MODE_PAGES_H

#include <linux/types.h>

#define SCST_MODE_PAGE_MAX	32	/* bytes of the longest page */
#define SCST_MODE_SENSE_MAX	160	/* of the longest list: header, descriptor, all pages */

#define SCST_MODE_ANY		0xff	/* SUBPAGE CODE of all of them */

/* What may differ from device to device, or be changed. */
struct scst_mode_values {
	bool wce;
	bool d_sense;
	bool swp;
};

/* What a mode parameter list is built from or held against. */
struct scst_mode_state {
	struct scst_mode_values current_values;
	struct scst_mode_values defaults;
	struct scst_mode_values changeable;
	u64 nblocks;
	u32 block_size;
	u8 sense_max;		/* MAXIMUM SENSE DATA LENGTH */
	bool implicit_alua;	/* IALUAE */
	bool dpofua;
	bool wp;
	bool ato;		/* application tags are the application client's */
	bool space;		/* there are thresholds of space: page 1Ch/02h, LBPERE */
	u32 space_threshold;	/* in threshold sets; 0: there is none */
};

/* PC */
enum scst_mode_control {
	SCST_MODE_CURRENT,
	SCST_MODE_CHANGEABLE,
	SCST_MODE_DEFAULT,
	SCST_MODE_SAVED,
};

/**
 * struct scst_mode_request - what MODE SENSE asks for
 * @ten: the header is that of the 10-byte commands
 * @dbd: no block descriptor
 * @llbaa: it may be the long one
 * @pc: enum scst_mode_control, but for saved values, of which there are none
 * @page: PAGE CODE
 * @subpage: SUBPAGE CODE
 */
struct scst_mode_request {
	bool ten;
	bool dbd;
	bool llbaa;
	u8 pc;
	u8 page;
	u8 subpage;
};

/* Why a parameter list is refused. */
enum scst_mode_fault {
	SCST_MODE_CUT	= -1,	/* it ends too early */
	SCST_MODE_FIELD	= -2,	/* a field is wrong */
};

/* Where: the field's first byte, and its most significant bit. */
struct scst_mode_error {
	u16 byte;
	s8 bit;
};

bool scst_mode_known(const struct scst_mode_state *state, u8 page, u8 subpage);
unsigned int scst_mode_build(const struct scst_mode_request *req, const struct scst_mode_state *state, u8 *buf);
int scst_mode_parse(const struct scst_mode_state *state, const u8 *list, unsigned int len, bool ten,
		    struct scst_mode_values *values, struct scst_mode_error *err);

#endif /* SCST_MODE_PAGES_H */
