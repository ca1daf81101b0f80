// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Feeds anything to what reads bytes for persistent reservations: parameter lists, TransportIDs, records.  Each input is in memory of
 * just its length, so that AddressSanitizer sees a byte too far.
 *
 * What was made of an input is said in a line on stdout, which tests/unit/test_pr_parse.py holds against a model.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "pr-state.h"

#define ROOM	8

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static const struct scst_pr_port ports[] = {
	{ .id = 1, .protocol = SCST_PROTOCOL_NONE },
	{ .id = 2, .protocol = SCST_PROTOCOL_ISCSI },
	{ .id = 3, .protocol = SCST_PROTOCOL_FCP },
};

static void fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	abort();
}

static struct scst_pr *state(u32 room)
{
	struct scst_pr *pr = malloc(scst_pr_size(room));

	scst_pr_init(pr, room);
	return pr;
}

/* What replies of any length make of a state. */
static void report(const struct scst_pr *pr, u32 size)
{
	u8 *buf = malloc(size);

	scst_pr_read_keys(pr, buf, size);
	scst_pr_read_reservation(pr, buf, size);
	scst_pr_report_capabilities(pr, true, buf, size);
	scst_pr_read_full_status(pr, buf, size);
	free(buf);
}

static bool same(const struct scst_pr *a, const struct scst_pr *b)
{
	u32 i;

	for (i = 0; i < a->nr && i < b->nr; i++)
		if (a->reg[i].key != b->reg[i].key || !scst_pr_nexus_same(&a->reg[i].nexus, &b->reg[i].nexus))
			return false;
	return a->nr == b->nr && a->type == b->type && a->holder == b->holder && a->generation == b->generation;
}

/* A state as a record, and back. */
static void record(const struct scst_pr *pr)
{
	u32 size = scst_pr_record_size(pr, 3);
	struct scst_pr *again = state(pr->nr);
	u8 *buf = malloc(size);

	if (scst_pr_record_encode(pr, 7, (const u8 *)"abc", 3, buf, size) != size)
		fail("not encoded");
	if (scst_pr_record_decode(buf, size, again) || !same(again, pr))
		fail("not decoded");
	free(buf);
	free(again);
}

static void change(const struct scst_pr_request *req, u32 size)
{
	struct scst_pr_nexus who = { .port = 1, .id = { .len = 24, .bytes = { 0, [15] = 1 } } };
	struct scst_pr_place place = { .who = &who, .ports = ports, .nr_ports = 3, .max = ROOM, .durable = true };
	struct scst_pr *old = state(1), *new;
	struct scst_pr_answer answer = { .told = calloc(1, 1) };

	old->nr = 1;
	old->reg[0] = (struct scst_pr_registrant){ .key = req->key ?: 1, .nexus = who };
	old->type = req->sa_key & 1 ? SCST_PR_EXCLUSIVE_ACCESS : SCST_PR_NONE;
	old->holder = old->type ? 0 : SCST_PR_NOBODY;
	old->nr = req->key ? 1 : 0;
	if (!old->nr)
		scst_pr_init(old, 1);
	new = state(scst_pr_room(old, &place, req));
	if (scst_pr_out(old, &place, req, new, &answer))
		fail("room is less than was said");
	if (!scst_pr_valid(new))
		fail("the new state is none");
	report(new, size % 300);
	record(new);
	free(answer.told);
	free(new);
	free(old);
}

static void say_id(const u8 *data, u32 size)
{
	struct scst_transport_id id;
	u32 i, len = scst_transport_id_parse(&id, data, size);

	printf(" id %u ", len);
	for (i = 0; i < id.len && len; i++)
		printf("%02x", id.bytes[i]);
}

static void say_record(const u8 *data, u32 size)
{
	struct scst_pr_record_info info;
	struct scst_pr *pr;

	printf(" record %d", scst_pr_record_check(data, size, &info));
	pr = state(info.nr);
	if (scst_pr_record_decode(data, size, pr) == -ENOMEM)
		fail("more registrants than were said");
	free(pr);
}

static void say_list(const u8 *data, u32 size)
{
	struct scst_pr_verdict verdict;
	struct scst_pr_request req;

	if (size < 10)
		return;
	if (scst_pr_parse(&req, &verdict, data, data + 10, size - 10)) {
		printf(" ids %u", req.nr_ids);
		change(&req, size);
	} else {
		printf(" refused %06x %d %d %d", verdict.sense, verdict.in_cdb, verdict.byte, verdict.bit);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	u8 *copy = malloc(size);

	memcpy(copy, data, size);
	printf("%zu", size);
	say_id(copy, size);
	say_record(copy, size);
	say_list(copy, size);
	printf("\n");
	free(copy);
	return 0;
}
