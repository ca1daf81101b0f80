// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any mode parameter list, of any device: what is taken is in force in the list that MODE SENSE then answers, and that is taken
 * again and changes nothing.
 */
#include <stdlib.h>
#include <string.h>
#include "mode-pages.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static struct scst_mode_values values(u8 bits)
{
	return (struct scst_mode_values){ .wce = bits & 1, .d_sense = bits & 2, .swp = bits & 4 };
}

static bool same(const struct scst_mode_values *a, const struct scst_mode_values *b)
{
	return a->wce == b->wce && a->d_sense == b->d_sense && a->swp == b->swp;
}

/* A list as MODE SELECT wants it: lengths and the device-specific parameter are reserved there. */
static unsigned int current(const struct scst_mode_state *state, bool ten, u8 *list)
{
	struct scst_mode_request req = { .ten = ten, .llbaa = ten, .page = 0x3f, .subpage = SCST_MODE_ANY };
	unsigned int len = scst_mode_build(&req, state, list);

	memset(list, 0, ten ? 4 : 3);
	return len;
}

static void again(struct scst_mode_state *state, const struct scst_mode_values *taken, bool ten)
{
	struct scst_mode_values found;
	struct scst_mode_error err;
	u8 list[SCST_MODE_SENSE_MAX];
	unsigned int len;

	state->current_values = *taken;
	len = current(state, ten, list);
	if (scst_mode_parse(state, list, len, ten, &found, &err) || !same(&found, taken))
		abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct scst_mode_state state = { .nblocks = 204800, .block_size = 512, .sense_max = 96 };
	struct scst_mode_values taken;
	struct scst_mode_error err;
	bool ten;
	u8 *list;

	if (size < 3)
		return 0;
	state.current_values = values(data[0]);
	state.defaults = values(data[1]);
	state.changeable = values(data[1] >> 4);
	ten = data[2] & 1;
	state.implicit_alua = data[2] & 2;
	state.space = data[2] & 4;
	state.space_threshold = state.space ? data[2] >> 3 : 0;
	list = malloc(size - 3);
	memcpy(list, data + 3, size - 3);
	switch (scst_mode_parse(&state, list, size - 3, ten, &taken, &err)) {
	case 0:
		again(&state, &taken, ten);
		break;
	case SCST_MODE_FIELD:
		if (err.byte >= size - 3 || err.bit < 0 || err.bit > 7)
			abort();
		break;
	case SCST_MODE_CUT:
		break;
	default:
		abort();
	}
	free(list);
	return 0;
}
