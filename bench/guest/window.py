# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures a running fio from outside: counters of the kernel at the ends of windows inside its run.

fio's own figures would include its start and its end. What fio asks for, an I/O, reaches a disk as one
request or as several, as the block layer finds that disk's limits: so I/Os are counted by the bytes that
were moved.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from bench.pattern import Pattern

# Of the guest's clock. Where it counts instructions, it runs far ahead while the guest waits for the host.
START_SECONDS = 10_000.0
FIRST_IOS = 50
POLL_SECONDS = 0.02
PAGE, SECTOR = 4096, 512


class Section(NamedTuple):
    """Something for fio to do: a disk (kernel name) and a pattern."""

    disk: str
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class Shape:
    """*count* windows of *seconds*, the first *settle* seconds after a section's begin; MiB accessed.

    *slack*: seconds that a section lasts longer, for readings that come late.
    """

    count: int
    settle: float
    seconds: float
    slack: float
    size_mib: int

    @property
    def duration(self) -> float:
        """Length of a section."""
        return self.settle + self.count * self.seconds + self.slack


@dataclass(frozen=True, slots=True)
class Reading:
    """The kernel's counters at a moment, as text: reading them must cost little, it is inside the window."""

    nanoseconds: int
    system: bytes
    disk: bytes


@dataclass(frozen=True, slots=True)
class Counters:
    """Cumulative: time (s), requests and sectors of a disk, CPU and idle time (us), switches, interrupts."""

    time: float
    requests: int
    sectors: int
    cpu: float
    idle: float
    switches: int
    interrupts: int


def take(disk: str) -> Reading:
    """The counters now; *disk* is a kernel name."""
    system = Path("/proc/stat").read_bytes()
    return Reading(time.monotonic_ns(), system, Path("/sys/block", disk, "stat").read_bytes())


def counters(reading: Reading, tick: float) -> Counters:
    """Parse a reading; *tick* is the length of a clock tick in microseconds."""
    rows = {row[0]: row for row in map(bytes.split, reading.system.splitlines()) if row}
    user, nice, system, idle, iowait, irq, softirq = (int(word) * tick for word in rows[b"cpu"][1:8])
    io = [int(word) for word in reading.disk.split()]
    return Counters(
        time=reading.nanoseconds / 1e9,
        requests=io[0] + io[4],
        sectors=io[2] + io[6],
        cpu=user + nice + system + irq + softirq,
        idle=idle + iowait,
        switches=int(rows[b"ctxt"][1]),
        interrupts=int(rows[b"intr"][1]),
    )


def rates(first: Reading, last: Reading, tick: float, block: int) -> dict[str, float]:
    """Metrics of the window between two readings by name; RuntimeError if nothing was moved in it.

    *block*: bytes of an I/O. CPU and idle time, switches, interrupts and requests are per I/O.
    """
    before, after = counters(first, tick), counters(last, tick)
    seconds, moved = after.time - before.time, (after.sectors - before.sectors) * SECTOR
    if moved <= 0:
        raise RuntimeError("no I/O ended in the window")
    ios = moved / block
    return {
        "iops": ios / seconds,
        "mb_s": moved / seconds / 1e6,
        "cpu_us": (after.cpu - before.cpu) / ios,
        "idle_us": (after.idle - before.idle) / ios,
        "switches": (after.switches - before.switches) / ios,
        "interrupts": (after.interrupts - before.interrupts) / ios,
        "requests": (after.requests - before.requests) / ios,
    }


def fio_command(
    sections: Sequence[Section], seconds: float, size_mib: int, cpus: Sequence[int] = ()
) -> list[str]:
    """The command line of fio: one section after the other, each *seconds* long, on the first *size_mib*.

    *cpus*: one for each job, which stays there.

    Large blocks are read into huge pages: with others the number of segments per command, and with it the
    cost, would depend on how contiguous the pages of that run happen to be.
    """
    fixed = "fio --thread --direct=1 --ioengine=libaio --gtod_reduce=1 --norandommap --randrepeat=1 --minimal"
    words = [*fixed.split(), "--group_reporting", f"--size={size_mib}m"]
    words += ["--time_based", f"--runtime={round(seconds * 1000)}ms"]
    if cpus:
        words += ["--cpus_allowed_policy=split", f"--cpus_allowed={','.join(map(str, cpus))}"]
    for number, (disk, pattern) in enumerate(sections):
        words += [
            f"--name=section{number}",
            "--stonewall",
            f"--filename=/dev/{disk}",
            f"--rw={pattern.access}",
        ]
        words += [f"--bs={pattern.block}", f"--iodepth={pattern.depth}", f"--numjobs={pattern.jobs}"]
        words += ["--iomem=shmhuge" if pattern.block > PAGE else "--iomem=malloc"]
    return words


@contextmanager
def running(
    sections: Sequence[Section], seconds: float, size_mib: int, cpus: Sequence[int] = ()
) -> Iterator[subprocess.Popen[str]]:
    """fio at work on all sections, *seconds* each; it is ended when the block is left."""
    command = fio_command(sections, seconds, size_mib, cpus)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as fio:
        try:
            yield fio
        finally:
            fio.terminate()
            fio.communicate()


def moved_bytes(disk: str) -> int:
    """Bytes that the disk has read and written."""
    words = Path("/sys/block", disk, "stat").read_bytes().split()
    return (int(words[2]) + int(words[6])) * SECTOR


def wait_started(fio: subprocess.Popen[str], disk: str, moved: int) -> None:
    """Wait until the disk has moved that many bytes. RuntimeError with fio's words if it ends before."""
    end = time.monotonic() + START_SECONDS
    while moved_bytes(disk) < moved:
        if fio.poll() is not None or time.monotonic() > end:
            fio.kill()
            raise RuntimeError(f"fio did not start on {disk}: {fio.communicate()[0][-500:]}")
        time.sleep(POLL_SECONDS)


def measured(
    sections: Sequence[Section], shape: Shape
) -> Generator[tuple[Section, list[Reading]], None, None]:
    """Run fio once over all sections; yields the readings of each, none if it ended inside a window.

    Neighbours must use different disks: a section has begun when its disk moves data.
    """
    if any(one.disk == other.disk for one, other in pairwise(sections)):
        raise ValueError("two sections in a row use the same disk")
    before = moved_bytes(sections[0].disk)
    with running(sections, shape.duration, shape.size_mib) as fio:
        for number, section in enumerate(sections):
            wait_started(fio, section.disk, before + FIRST_IOS * section.pattern.block)
            readings = take_windows(section.disk, shape)
            if number + 1 < len(sections):
                before = moved_bytes(sections[number + 1].disk)
            yield section, readings


def take_windows(disk: str, shape: Shape) -> list[Reading]:
    """Readings of a disk at work, none if it was not at work to the end."""
    time.sleep(shape.settle)
    readings = [take(disk)]
    for _ in range(shape.count):
        time.sleep(shape.seconds)
        readings.append(take(disk))
    moved = moved_bytes(disk)
    time.sleep(POLL_SECONDS)
    return readings if moved_bytes(disk) > moved else []


def tick_us() -> float:
    """Length of the clock tick of /proc/stat in microseconds."""
    return 1e6 / os.sysconf("SC_CLK_TCK")
