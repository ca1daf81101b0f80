// SPDX-License-Identifier: GPL-2.0-or-later
/* Any parameter list of SET TARGET PORT GROUPS, of a unit with any number of groups: states are wanted that there are, of each group, or nothing. */
#include <stdlib.h>
#include <string.h>
#include "compat.h"
#include "alua-state.h"

#define HEAD	2

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static u32 reported;

static void count(void *to, const u8 *bytes, u32 len)
{
	u32 i;

	for (i = 0; i < len; i++)
		*(u8 *)to ^= bytes[i];
	reported += len;
}

/* A report is as long as it says. */
static void check_report(const struct scst_alua *alua)
{
	u8 sum = 0;

	reported = 0;
	scst_alua_report(alua, true, count, &sum);
	if (reported != 8u + alua->nr_groups * 8 + alua->nr_ports * 4)
		abort();
}

static void check_states(const struct scst_alua *alua, const u8 *states)
{
	unsigned int i;

	for (i = 0; i < alua->nr_groups; i++)
		if (states[i] > SCST_ALUA_UNAVAILABLE && states[i] != alua->group[i].state)
			abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct scst_alua_group group[SCST_ALUA_GROUPS_MAX];
	u16 port[SCST_ALUA_GROUPS_MAX], byte = 0;
	u8 states[SCST_ALUA_GROUPS_MAX], *list;
	struct scst_alua alua = { .group = group, .port = port };
	unsigned int i;
	int ret;

	if (size < HEAD)
		return 0;
	alua.nr_groups = alua.nr_ports = data[0] % (SCST_ALUA_GROUPS_MAX + 1);
	for (i = 0; i < alua.nr_groups; i++) {
		port[i] = i + 1;
		group[i] = (struct scst_alua_group){ .id = i + 1, .first = i, .nr_ports = 1, .state = data[1] % SCST_ALUA_STATES };
	}
	check_report(&alua);
	size = size - HEAD < SCST_ALUA_LIST_MAX ? size - HEAD : SCST_ALUA_LIST_MAX;
	list = malloc(size ? size : 1);
	memcpy(list, data + HEAD, size);
	ret = scst_alua_parse(&alua, list, size, states, &byte);
	if (ret == 0)
		check_states(&alua, states);
	else if (ret != SCST_ALUA_CUT && (ret != SCST_ALUA_FIELD || byte >= size))
		abort();
	free(list);
	return 0;
}
