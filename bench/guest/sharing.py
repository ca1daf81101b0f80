# SPDX-License-Identifier: GPL-2.0-or-later
"""Has the cache lines counted that move between this VM's CPUs, for `bench.sharing`.

``python -m bench.guest.sharing [CELL...]``
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.guest import systems
from bench.guest.counted import Plugin
from bench.guest.record import OUT
from bench.guest.systems import Disk
from bench.guest.window import Section, moved_bytes, running, wait_started
from bench.pattern import FAR, Pattern
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


class Counter:
    """Counts cells, and notes what was counted in which phase."""

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self._plugin = Plugin()
        self._plugin.note_symbols()

    def count(self, disk: Disk, pattern: Pattern) -> None:
        """All windows of a cell."""
        cpus = submitters(disk)
        section, before = Section(disk.name, replace(pattern, jobs=len(cpus))), moved_bytes(disk.name)
        with running([section], MOST_SECONDS, SIZE_MIB, cpus) as fio:
            wait_started(fio, disk.name, before + WARM_UP * len(cpus) * pattern.block)
            for number in range(ROUNDS):
                self._window(disk, section.pattern, number, fio)

    def _window(self, disk: Disk, pattern: Pattern, number: int, fio: subprocess.Popen[str]) -> None:
        phase = len(self.windows) + 1
        with self._plugin.counting(phase):
            begin = moved_bytes(disk.name)
            while (moved := moved_bytes(disk.name) - begin) < COUNTED * pattern.jobs * pattern.block:
                if fio.poll() is not None:
                    raise RuntimeError(f"fio ended on {disk.name}: {fio.communicate()[0][-500:]}")
                time.sleep(POLL_SECONDS)
        where = (disk.backend, pattern.access, disk.system, os.uname().release, os.cpu_count() or 1)
        self.windows.append(Window(phase, *where, number, moved // pattern.block))


def main(cells: Sequence[str]) -> int:
    """Entry point. *cells*: ``scst-far`` and the like; none: all."""
    disks = [disk for disk in systems.setup(SIZE_MIB, far=True) if disk.backend in BACKENDS]
    if cells:
        disks = [disk for disk in disks if f"{disk.system}-{disk.backend}" in cells]
    for disk in disks:
        if disk.backend == FAR:
            keep_where_it_ended(disk)
    counter = Counter()
    for disk in disks:
        for pattern in PATTERNS:
            counter.count(disk, pattern)
        print(f"{disk.system}, {disk.backend}: {counter.windows[-1].ios} I/Os in the last window", flush=True)
    (OUT / WINDOWS).write_text(dumps(counter.windows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
