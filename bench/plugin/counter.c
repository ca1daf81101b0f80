/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counts, inside QEMU's emulator, what a virtual machine does: a plugin, see qemu.h.
 *
 *	what=instructions	instructions executed, by the address of the block that they are in: it ends at every jump, so it
 *				is of one function
 *	what=lines		cache lines that had to come from another CPU, by the address of the instruction
 *
 * out=FILE is the result, mib=N the size of physical memory.  Byte 0 of FILE is the phase: the machine itself writes it
 * there.  Nothing is counted while it is 0; otherwise every count belongs to that phase, and each phase begins with empty caches.
 *
 * Caches are infinite and have lines of 64 bytes.  A read brings a copy, a write takes the line from all others.  A line
 * that nobody had is fetched from memory, which is not counted; nor is what devices read and write.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "qemu.h"

#ifndef SLOT_BITS
#define SLOT_BITS	20
#endif
#define SLOTS		(1u << SLOT_BITS)
/* The more of them are in use, the longer is every search, and the machine with it stands still: the last ones stay free. */
#define MAX_USED	(SLOTS / 8 * 7)
#define LINE_SHIFT	6
#define PHASE_SHIFT	56	/* of a slot's address, and of a line's holders */
#define LOW_MASK	((1ull << PHASE_SHIFT) - 1)
#define MAX_CPUS	PHASE_SHIFT
#define USER		1	/* the address that stands for all of user space */

/* What a block or an instruction did in a phase: instructions executed, or lines that it read or took away. */
struct slot {
	_Atomic uint64_t address;	/* the lower 56 bits, and the phase; 0: free */
	_Atomic uint64_t reads;
	_Atomic uint64_t writes;
	_Atomic uint64_t where;		/* the line that moved last */
};

struct result {
	_Atomic uint8_t phase;
	uint8_t reserved[7];
	_Atomic uint64_t lost;		/* counts for which there was no slot */
	uint8_t more[112];
	struct slot slots[SLOTS];
};

static struct result *result;
static _Atomic uint32_t nr_used;	/* slots */
static _Atomic uint64_t *holders;	/* by line: a bit per CPU, and the phase they belong to */
static uint64_t nr_lines;

/* The slot of an address, or NULL: the table is full. */
static struct slot *find(uint64_t address)
{
	uint32_t at = (address * 0x9e3779b97f4a7c15ull) >> (64 - SLOT_BITS);

	for (;; at = (at + 1) % SLOTS) {
		uint64_t found = atomic_load(&result->slots[at].address);

		if (!found) {
			if (atomic_load(&nr_used) >= MAX_USED)
				break;
			if (atomic_compare_exchange_strong(&result->slots[at].address, &found, address)) {
				atomic_fetch_add(&nr_used, 1);
				return &result->slots[at];
			}
		}
		if (found == address)
			return &result->slots[at];
	}
	atomic_fetch_add(&result->lost, 1);
	return NULL;
}

static uint64_t key(uint64_t pc, uint64_t phase)
{
	return ((pc >> 63 ? pc : USER) & LOW_MASK) | phase << PHASE_SHIFT;
}

/* --- instructions --------------------------------------------------------------------------------------- */

struct block {
	uint64_t pc;
	size_t nr;	/* instructions */
};

static void block_runs(unsigned int cpu, void *data)
{
	const struct block *block = data;
	uint64_t phase = atomic_load_explicit(&result->phase, memory_order_relaxed);
	struct slot *slot = phase ? find(key(block->pc, phase)) : NULL;

	if (slot)
		atomic_fetch_add(&slot->reads, block->nr);
}

/* Kept until the machine ends: QEMU does not tell when it drops a translation. */
static void count_block(struct qemu_plugin_tb *tb)
{
	struct block *block = malloc(sizeof(*block));

	if (!block)
		abort();
	block->pc = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0));
	block->nr = qemu_plugin_tb_n_insns(tb);
	qemu_plugin_register_vcpu_tb_exec_cb(tb, block_runs, QEMU_PLUGIN_CB_NO_REGS, block);
}

/* --- cache lines ------------------------------------------------------------------------------------------ */

/* Does the access make a line come from another CPU?  Notes who has it then. */
static bool moves(uint64_t line, unsigned int cpu, bool store, uint64_t phase)
{
	uint64_t me = 1ull << cpu, old = atomic_load(&holders[line]), have, want;

	do {
		have = old >> PHASE_SHIFT == phase ? old & LOW_MASK : 0;
		if (store ? have == me : (have & me) != 0)
			return false;
		want = (store ? me : have | me) | phase << PHASE_SHIFT;
	} while (!atomic_compare_exchange_weak(&holders[line], &old, want));
	return have & ~me;
}

static void access_done(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *pc)
{
	uint64_t phase = atomic_load_explicit(&result->phase, memory_order_relaxed), line;
	struct qemu_plugin_hwaddr *hwaddr;
	struct slot *slot;
	bool store;

	if (!phase || cpu >= MAX_CPUS)
		return;
	hwaddr = qemu_plugin_get_hwaddr(info, address);
	if (!hwaddr || qemu_plugin_hwaddr_is_io(hwaddr))
		return;
	line = qemu_plugin_hwaddr_phys_addr(hwaddr) >> LINE_SHIFT;
	store = qemu_plugin_mem_is_store(info);
	if (line >= nr_lines || !moves(line, cpu, store, phase))
		return;
	slot = find(key((uint64_t)pc, phase));
	if (!slot)
		return;
	atomic_fetch_add(store ? &slot->writes : &slot->reads, 1);
	atomic_store(&slot->where, address >> LINE_SHIFT << LINE_SHIFT);
}

static void watch_accesses(struct qemu_plugin_tb *tb)
{
	size_t nr = qemu_plugin_tb_n_insns(tb), i;

	for (i = 0; i < nr; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		qemu_plugin_register_vcpu_mem_cb(insn, access_done, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW,
						 (void *)qemu_plugin_insn_vaddr(insn));
	}
}

/* --- the beginning ---------------------------------------------------------------------------------------- */

static void (*look_at)(struct qemu_plugin_tb *tb);

static void told(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	look_at(tb);
}

static void told_data(struct qemu_plugin_tb *tb, void *data)
{
	look_at(tb);
}

/* The value of "name=" among the arguments, or NULL. */
static const char *argument(int argc, char **argv, const char *name)
{
	size_t len = strlen(name);
	int i;

	for (i = 0; i < argc; i++)
		if (!strncmp(argv[i], name, len) && argv[i][len] == '=')
			return argv[i] + len + 1;
	return NULL;
}

static int failed(const char *what)
{
	fprintf(stderr, "counter: ");
	perror(what);
	return -1;
}

static int make_result(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || ftruncate(fd, sizeof(*result)))
		return failed(path);
	result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return result == MAP_FAILED ? failed(path) : 0;
}

static int make_lines(unsigned long mib)
{
	nr_lines = (uint64_t)mib << (20 - LINE_SHIFT);
	holders = mmap(NULL, nr_lines * sizeof(*holders), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return holders == MAP_FAILED ? failed("memory") : 0;
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	const char *out = argument(argc, argv, "out"), *what = argument(argc, argv, "what");
	const char *mib = argument(argc, argv, "mib");
	bool lines = what && !strcmp(what, "lines");

	if (!out || !what || (lines && !mib) || (!lines && strcmp(what, "instructions"))) {
		fprintf(stderr, "counter: out=FILE,what=instructions or out=FILE,what=lines,mib=N\n");
		return -1;
	}
	if (make_result(out) || (lines && make_lines(strtoul(mib, NULL, 10))))
		return -1;
	look_at = lines ? watch_accesses : count_block;
	qemu_plugin_on_translation(id, told, told_data);
	return 0;
}
