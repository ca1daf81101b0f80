# SPDX-License-Identifier: GPL-2.0-or-later
"""Judges a kernel log: which lines say that the kernel found something wrong.

Takes the lines of ``kernel.log`` (``<level>[seconds] text``) or of ``dmesg``; does no I/O. Also
says where the CPUs were by the traces in a log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

# Text that no healthy run prints, whatever its level.
FAULT_PATTERNS = (
    r"\bWARNING: ",
    r"\bBUG: ",
    r"\bBUG at ",
    r"^BUG ",  # slab: "BUG name (Tainted: ...): Objects remaining ..."
    r"^INFO: ",  # lockdep, tasks blocked, stalls, slab details
    r"\brcu: INFO: ",
    r"\bOops\b",
    r"\bKernel panic\b",
    r"general protection fault",
    r"unable to handle ",
    r"\bKASAN: |\bKFENCE: |\bKCSAN: |\bUBSAN: |\bkmemleak: ",
    r"refcount_t: ",
    r"percpu_ref_\w+: .*(underflow|imbalance)|percpu ref .*<= 0",
    r"blocked for more than",
    r"\bhung[ _]task\b",
    r"soft lockup|hard LOCKUP|Hard LOCKUP|workqueue lockup",
    r"possible (circular|recursive) locking|inconsistent lock state|possible irq lock inversion",
    r"suspicious RCU usage|Illegal context switch|Voluntary context switch within",
    r"held lock freed|lock held when returning to user space|bad unlock balance",
    r"scheduling while atomic|sleeping function called from invalid context",
    r"list_(add|del) corruption|corrupted list",
    r"Bad page (state|map)|page allocation failure|double free|Freechain corrupt|Redzone|Poison overwritten",
    r"Objects remaining in|kmem_cache_destroy",
    r"kernel stack overflow|stack-protector",
    r"kobject_add_internal failed|tried to init an initialized object|ODEBUG: ",
    r"Unpaired|unbalanced (enable|disable)",
    r"unregister_\w+: waiting for",
    r"^Call Trace:",
    r"trying to register non-static key",
    r"Device '.*' does not have a release\(\) function",
    r"sysfs: cannot create duplicate filename",
    r"kernel log records lost",
)

# Boot messages that match above and say nothing about our modules.
HARMLESS_PATTERNS = (
    r"AMD IOMMUv2 functionality not available on this system - This is not a bug",
    r"kmemleak: Kernel memory leak detector initialized",
    # Races of the kernel's own functions; those of ours have the module beside their name.
    r"BUG: KCSAN: (?!.* \[scst)",
)

# Between these two lines memory fails on purpose, and the kernel says so in passing.
INJECTION = ("scst-vm: faults are injected from here on", "scst-vm: no more faults are injected")
INJECTED_PATTERNS = (
    r"page allocation failure",
    r"vmalloc error",
    r"^Call Trace:",  # whatever is wrong has a headline of its own
    r"kobject_add_internal failed .*error: -12\b",
)

# A report of the kernel about itself, from here to the end of its trace: Linux's initiator ends a session
# in a queue for when memory is short, and waits there for one that is not.
FOREIGN = re.compile(r"workqueue: WQ_MEM_RECLAIM iscsi_ctrl_\S+:__iscsi_unbind_session .* is flushing ")
END_OF_REPORT = "---[ end trace "

_FAULT = re.compile("|".join(f"(?:{pattern})" for pattern in FAULT_PATTERNS))
_HARMLESS = re.compile("|".join(f"(?:{pattern})" for pattern in HARMLESS_PATTERNS))
_INJECTED = re.compile("|".join(f"(?:{pattern})" for pattern in INJECTED_PATTERNS))
_PREFIX = re.compile(r"^(?:<(?P<level>\d+)>)?(?:\[\s*[\d.]+\](?:\[\s*[TC]\d+\])? ?)?")
CRITICAL_LEVEL = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that fails a run; *number* counts from 1."""

    number: int
    text: str


def is_fault(line: str, injecting: bool = False) -> bool:
    """Does this line say that the kernel found something wrong? Levels 0 to 2 always do.

    *injecting*: memory is made to fail, what is said of that is no fault.
    """
    prefix = _PREFIX.match(line)
    text = line[prefix.end() :] if prefix else line
    if _HARMLESS.search(text) or (injecting and _INJECTED.search(text)):
        return False
    level = prefix["level"] if prefix else None
    return (level is not None and int(level) <= CRITICAL_LEVEL) or _FAULT.search(text) is not None


def find_faults(lines: Iterable[str]) -> list[Fault]:
    """All faults in a log, in order."""
    faults, injecting, foreign = [], False, False
    for number, line in enumerate(lines, 1):
        foreign = (foreign and END_OF_REPORT not in line) or FOREIGN.search(line) is not None
        if any(mark in line for mark in INJECTION):
            injecting = INJECTION[0] in line
        elif not foreign and is_fault(line, injecting):
            faults.append(Fault(number, line.rstrip("\n")))
    return faults


def describe(lines: list[str], faults: list[Fault], context: int = 40) -> str:
    """The first fault with *context* lines after it, and how many faults there are."""
    if not faults:
        return "kernel log: clean"
    start = max(0, faults[0].number - 3)
    excerpt = [line.rstrip("\n") for line in lines[start : faults[0].number + context]]
    where = f"the first at line {faults[0].number}"
    headline = f"kernel log: {len(faults)} line(s) that must not be there, {where}:"
    return "\n".join([headline, faults[0].text, *stacks(excerpt), *excerpt])


_PLACE = re.compile(r"^(?:(?P<interrupted>RIP: )\d+:| ?)(?P<function>[\w.]+)\+0x\w+/0x\w+")
_CPU = re.compile(r"\bCPU: (?P<cpu>\d+) ")
STACK_FUNCTIONS = 12


def stacks(lines: Iterable[str]) -> list[str]:
    """What each trace of a log says of its CPU, a line each: ``CPU 0: innermost < its caller < ...``.

    Where an interrupt made the trace, the innermost is what was interrupted.
    """
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        text = line[prefix.end() :] if (prefix := _PREFIX.match(line)) else line
        if cpu := _CPU.search(text):
            found.append((cpu["cpu"], []))
        elif found and (place := _PLACE.match(text)):
            if place["interrupted"]:
                found[-1][1].clear()
            found[-1][1].append(place["function"])
    said = (f"CPU {cpu}: {' < '.join(names[:STACK_FUNCTIONS])}" for cpu, names in found if names)
    return list(dict.fromkeys(said))
