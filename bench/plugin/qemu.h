/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What counter.c uses of QEMU's interface for plugins: distributions do not package its header.  QEMU 4.2 to 10.2, and 11.1;
 * versions 1 to 5 of the interface differ in other functions, and 7 in how translations are told.
 */
#ifndef BENCH_QEMU_H
#define BENCH_QEMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
typedef struct qemu_info qemu_info_t;

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_hwaddr;

enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_RW = 3 };
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

typedef void (*qemu_plugin_tb_cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*qemu_plugin_tb_data_cb)(struct qemu_plugin_tb *tb, void *data);
typedef void (*qemu_plugin_exec_cb)(unsigned int cpu, void *data);
typedef void (*qemu_plugin_mem_cb)(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_tb_cb fn);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, qemu_plugin_exec_cb fn,
					  enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, qemu_plugin_mem_cb fn,
				      enum qemu_plugin_cb_flags flags, enum qemu_plugin_mem_rw which, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info);
struct qemu_plugin_hwaddr *qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t info, uint64_t address);
bool qemu_plugin_hwaddr_is_io(const struct qemu_plugin_hwaddr *hwaddr);
uint64_t qemu_plugin_hwaddr_phys_addr(const struct qemu_plugin_hwaddr *hwaddr);

/*
 * QEMU refuses a plugin whose version of the interface it does not speak: up to 8.2 it speaks 1, from 9.0 on 2 and later, from 11.1
 * on only 7.  It looks after the plugin was linked, and what came with version 2, and after 5, tells which it is.
 */
extern void qemu_plugin_scoreboard_new(void) __attribute__((weak));
extern void qemu_plugin_set_pc(void) __attribute__((weak));
__attribute__((visibility("default"))) int qemu_plugin_version = 1;

__attribute__((constructor)) static void qemu_plugin_choose_version(void)
{
	if (qemu_plugin_set_pc)
		qemu_plugin_version = 7;
	else if (qemu_plugin_scoreboard_new)
		qemu_plugin_version = 2;
}

/* Have translations told to one of the two, as this QEMU does it. */
static inline void qemu_plugin_on_translation(qemu_plugin_id_t id, qemu_plugin_tb_cb fn, qemu_plugin_tb_data_cb data_fn)
{
	void (*told)(qemu_plugin_id_t id, qemu_plugin_tb_data_cb fn, void *data);

	if (qemu_plugin_version < 7) {
		qemu_plugin_register_vcpu_tb_trans_cb(id, fn);
		return;
	}
	told = (void *)qemu_plugin_register_vcpu_tb_trans_cb;
	told(id, data_fn, NULL);
}

#endif /* BENCH_QEMU_H */
