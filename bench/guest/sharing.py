# SPDX-License-Identifier: GPL-2.0-or-later
"""Has the cache lines counted that move between this VM's CPUs, for `bench.sharing`.

``python -m bench.guest.sharing [CELL...]``, or ``iscsi`` for all cells over iSCSI.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench.guest import iscsi, systems
from bench.guest.counted import Plugin
from bench.guest.record import OUT
from bench.guest.systems import Disk
from bench.guest.window import Section, moved_bytes, running, wait_started
from bench.pattern import FAR, ISCSI, Pattern
from bench.sharing import BACKENDS, PATTERNS, WINDOWS, Window, dumps

SIZE_MIB = 64
MOST_SECONDS = 3000.0
POLL_SECONDS = 0.05
ROUNDS = 2
# I/Os of each CPU before the first window, and in each.
WARM_UP, COUNTED = 500, 1000


def interrupt_cpu(disk: str) -> int:
    """The CPU that a virtio disk's interrupts go to."""
    device = Path("/sys/block", disk, "device").resolve()
    for irq in (device.parent / "msi_irqs").iterdir():
        if Path(f"/proc/irq/{irq.name}/{device.name}-req.0").exists():
            return int(Path(f"/proc/irq/{irq.name}/effective_affinity_list").read_text())
    raise FileNotFoundError(f"{disk}: no interrupt of a request queue")


def submitters(disk: Disk) -> list[int]:
    """The CPUs on which I/O is submitted: all, but not the one that a ``far`` disk's interrupts go to."""
    every = set(range(os.cpu_count() or 1))
    if disk.backend == FAR:
        every.remove(interrupt_cpu(systems.find_far(disk.system).name))
    return sorted(every)


def keep_where_it_ended(disk: Disk) -> None:
    """Have the block layer complete requests on the CPU that the interrupt came to."""
    systems.write(Path("/sys/block", disk.name, "queue/rq_affinity"), "0")


@dataclass(frozen=True, slots=True)
class Load:
    """A disk, and the CPUs that submit to it."""

    disk: Disk
    cpus: tuple[int, ...]


def moved(loads: Sequence[Load]) -> int:
    """Bytes that the disks have moved."""
    return sum(moved_bytes(load.disk.name) for load in loads)


class Counter:
    """Counts cells, and notes what was counted in which phase; *transport*: what windows say of theirs."""

    def __init__(self, transport: str = "") -> None:
        self.windows: list[Window] = []
        self._transport = transport
        self._plugin = Plugin()
        self._plugin.note_symbols()

    def count(self, loads: Sequence[Load], pattern: Pattern) -> None:
        """All windows of a cell: of disks of one system and backend."""
        with ExitStack() as stack:
            for load in loads:
                before, jobs = moved_bytes(load.disk.name), len(load.cpus)
                section = Section(load.disk.name, replace(pattern, jobs=jobs))
                fio = stack.enter_context(running([section], MOST_SECONDS, SIZE_MIB, load.cpus))
                wait_started(fio, load.disk.name, before + WARM_UP * jobs * pattern.block)
            for number in range(ROUNDS):
                self._window(loads, pattern, number)

    def _window(self, loads: Sequence[Load], pattern: Pattern, number: int) -> None:
        phase, jobs = len(self.windows) + 1, sum(len(load.cpus) for load in loads)
        disk, end = loads[0].disk, time.monotonic() + MOST_SECONDS
        with self._plugin.counting(phase):
            begin = moved(loads)
            while (done := moved(loads) - begin) < COUNTED * jobs * pattern.block:
                if time.monotonic() > end:
                    raise RuntimeError(f"nothing moves on {disk.name}")
                time.sleep(POLL_SECONDS)
        where = (disk.backend, pattern.access, disk.system, os.uname().release, os.cpu_count() or 1)
        self.windows.append(Window(phase, *where, number, done // pattern.block, self._transport))

    def say(self, disk: Disk) -> None:
        """That a disk's cells are counted."""
        print(f"{disk.system}, {disk.backend}: {self.windows[-1].ios} I/Os in the last window", flush=True)


def local(cells: Sequence[str]) -> Counter:
    """What is submitted and served in one place."""
    disks = [disk for disk in systems.setup(SIZE_MIB, far=True) if disk.backend in BACKENDS]
    if cells:
        disks = [disk for disk in disks if f"{disk.system}-{disk.backend}" in cells]
    for disk in disks:
        if disk.backend == FAR:
            keep_where_it_ended(disk)
    counter = Counter()
    for disk in disks:
        for pattern in PATTERNS:
            counter.count([Load(disk, tuple(submitters(disk)))], pattern)
        counter.say(disk)
    return counter


def over_iscsi() -> Counter:
    """A session for each CPU, which stays there."""
    every = tuple(range(os.cpu_count() or 1))
    with iscsi.served_by_cpu(every) as found:
        counter = Counter(ISCSI)
        for disks in found.values():
            for pattern in PATTERNS:
                counter.count([Load(disk, (cpu,)) for disk, cpu in zip(disks, every, strict=True)], pattern)
            counter.say(disks[0])
    return counter


def main(cells: Sequence[str]) -> int:
    """Entry point. *cells*: ``scst-far`` and the like; none: all."""
    counter = over_iscsi() if ISCSI in cells else local(cells)
    (OUT / WINDOWS).write_text(dumps(counter.windows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
