# SPDX-License-Identifier: GPL-2.0-or-later
"""The judge of kernel logs: every kind of complaint is caught, a healthy log passes."""

import pytest

from tests.vm import klog

BAD = [
    "<4>[   12.000000] WARNING: CPU: 0 PID: 77 at kmod/core/cmd.c:10 scst_cmd_done+0x10/0x20 [scst]",
    "<1>[   12.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008",
    "<2>[   12.000000] kernel BUG at mm/slub.c:440!",
    "<3>[   12.000000] BUG: sleeping function called from invalid context at mm/slab.h:1",
    "<3>[   12.000000] BUG scst_nexus (Tainted: G           OE     ): Objects remaining in scst_nexus",
    "<4>[   12.000000] WARNING: possible circular locking dependency detected",
    "<4>[   12.000000] WARNING: suspicious RCU usage",
    "<3>[   12.000000] BUG: KASAN: use-after-free in scst_lun_lookup+0x1/0x2 [scst]",
    "<4>[   12.000000] refcount_t: underflow; use-after-free.",
    "<3>[   62.000000] INFO: task rmmod:123 blocked for more than 30 seconds.",
    "<3>[   62.000000] rcu: INFO: rcu_preempt self-detected stall on CPU",
    "<0>[   62.000000] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [fio:99]",
    "<4>[   62.000000] Oops: 0000 [#1] PREEMPT SMP NOPTI",
    "<4>[   62.000000] general protection fault, probably for non-canonical address",
    "<0>[   62.000000] Kernel panic - not syncing: Fatal exception",
    "<4>[   62.000000] list_del corruption. prev->next should be x, but was y",
    "<4>[   62.000000] sysfs: cannot create duplicate filename '/class/scst/target0'",
    "<6>[   62.000000] Call Trace:",
    "<2>[   62.000000] anything at a critical level",
    "[   62.000000] WARNING: CPU: 0 PID: 77 at x.c:1 f+0x1/0x2",
    "[   62.000000][  T123] ------------[ cut here ]------------ BUG: bad",
    "<6>[   62.000000] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
    "<3>[   62.000000] kmemleak: Cannot allocate a kmemleak_object structure",
    "<4>[    lost    ] kernel log records lost",
    "<3>[   62.000000] BUG: KCSAN: data-race in _find_next_bit / scst_lun_lookup [scst]",
    "<3>[   62.000000] BUG: KCSAN: data-race in local_queue+0x1/0x2 [scst_local]",
]
GOOD = [
    "<6>[    1.000000] scst: loading out-of-tree module taints kernel.",
    "<4>[    1.000000] mtrr: your CPUs had inconsistent fixed MTRR settings",
    "<6>[    1.000000] AMD-Vi: AMD IOMMUv2 functionality not available on this system - This is not a bug.",
    "<6>[    1.000000] kmemleak: Kernel memory leak detector initialized (mem pool available: 38767)",
    "<5>[    1.000000] sd 0:0:0:0: [sda] 131072 512-byte logical blocks: (67.1 MB/64.0 MiB)",
    "<3>[    1.000000] Buffer I/O error on dev sda, logical block 0, async page read",
    "<6>[    1.000000] sd 0:0:0:0: [sda] tag#1 Add. Sense: Write protected",
    "<3>[    1.000000] BUG: KCSAN: data-race in mutex_spin_on_owner+0x1/0x2",
    "<3>[    1.000000] BUG: KCSAN: assert: race in osq_lock / osq_unlock",
    "",
]


@pytest.mark.parametrize("line", BAD)
def test_bad_line_is_a_fault(line: str) -> None:
    assert klog.is_fault(line)


@pytest.mark.parametrize("line", GOOD)
def test_good_line_is_none(line: str) -> None:
    assert not klog.is_fault(line)


def test_faults_are_numbered_and_shown_with_what_follows() -> None:
    lines = [GOOD[0], BAD[0], GOOD[1], BAD[1]]
    faults = klog.find_faults(lines)
    assert [fault.number for fault in faults] == [2, 4]
    text = klog.describe(lines, faults)
    assert "2 line(s)" in text
    assert "at line 2" in text
    assert GOOD[1] in text


def test_clean_log() -> None:
    assert klog.find_faults(GOOD) == []
    assert klog.describe(GOOD, []) == "kernel log: clean"


def test_what_is_said_of_injected_faults_is_none() -> None:
    """Between the marks failing memory is no fault, but all else is; outside it is one."""
    begin, end = (f"<6>[    2.000000] {mark}" for mark in klog.INJECTION)
    said = [
        "<4>[    3.000000] sh: page allocation failure: order:0",
        "<4>[    3.000000] Call Trace:",
        "<3>[    3.000000] kobject_add_internal failed for session.1 (error: -12 parent: scst)",
    ]
    bad = "<3>[    4.000000] BUG: KASAN: use-after-free in scst_lun_lookup+0x1/0x2 [scst]"
    assert klog.find_faults([begin, *said, end]) == []
    assert [fault.number for fault in klog.find_faults([begin, *said, bad, end, *said])] == [5, 7, 8, 9]


def test_stacks_say_where_the_cpus_were() -> None:
    """Of an NMI's trace what the NMI itself did is left out, and so is what the kernel is not sure of (?)."""
    log = """\
[   54.952977] CPU: 0 PID: 16 Comm: migration/0 Tainted: G           OE      6.1.0-50-amd64 #1  Debian
[   54.955018] Call Trace:
[   54.960184]  <NMI>
[   54.960753]  dump_stack_lvl+0x44/0x5c
[   54.960894]  ? _printk+0x68/0x83
[   54.960971]  exc_nmi+0x11e/0x150
[   54.961139] RIP: 0010:silence+0x7/0x9 [scst_vm_selftest]
[   54.968783]  ? silence+0x7/0x9 [scst_vm_selftest]
[   54.968813]  </NMI>
[   54.968894]  multi_cpu_stop+0x6b/0x120
[   54.969114]  ret_from_fork+0x1f/0x30
[   54.987768] NMI backtrace for cpu 1
<4>[   54.987870] CPU: 1 PID: 20 Comm: cat Tainted: G           OE      6.1.0-50-amd64 #1  Debian
<4>[   54.988464] Call Trace:
<4>[   54.988543]  filemap_read+0x6b/0x120
<4>[   54.988560]  do_syscall_64+0x6b/0x120
<4>[   54.988600] RIP: 0033:0x7f01aa
"""
    assert klog.stacks(log.splitlines()) == [
        "CPU 0: silence < multi_cpu_stop < ret_from_fork",
        "CPU 1: filemap_read < do_syscall_64",
    ]
    fault = "<0>[   54.9] BUG: soft lockup - CPU#0 stuck"
    lines = [fault, *log.splitlines()]
    assert klog.describe(lines, klog.find_faults(lines)).splitlines()[1:3] == [
        fault,
        "CPU 0: silence < multi_cpu_stop < ret_from_fork",
    ]


def test_initiators_own_report_is_none_of_ours() -> None:
    """To its end and no further, and no other queue's."""
    queue = "iscsi_ctrl_1:10:__iscsi_unbind_session [scsi_transport_iscsi]"
    report = [
        "<4>[94.443148] ------------[ cut here ]------------",
        f"<4>[94.443432] workqueue: WQ_MEM_RECLAIM {queue} is flushing !WQ_MEM_RECLAIM pm:pm_runtime_work",
        "<4>[94.444481] WARNING: CPU: 0 PID: 170 at kernel/workqueue.c:2631 check_flush_dependency+0x11c",
        "<4>[94.453537] Call Trace:",
        "<4>[94.457647] ---[ end trace 0000000000000000 ]---",
    ]
    assert not klog.find_faults(report)
    assert len(klog.find_faults([line.replace(queue, "scst_iscsi") for line in report])) == 2
    assert [fault.number for fault in klog.find_faults([*report, report[2]])] == [6]
