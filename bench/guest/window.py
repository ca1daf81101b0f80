# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures a running fio from outside: counters of the kernel at the ends of windows inside its run.

fio's own figures would include its start and its end.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.pattern import Pattern

# Of the guest's clock. Where it counts instructions, it runs far ahead while the guest waits for the host.
START_SECONDS = 10_000.0
FIRST_COMMANDS = 50
POLL_SECONDS = 0.02
PAGE = 4096


@dataclass(frozen=True, slots=True)
class Reading:
    """The kernel's counters at a moment, as text: reading them must cost little, it is inside the window."""

    nanoseconds: int
    system: bytes
    disk: bytes


@dataclass(frozen=True, slots=True)
class Counters:
    """Cumulative: time (s), commands and sectors of a disk, CPU and idle time (us), switches, interrupts."""

    time: float
    commands: int
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
        commands=io[0] + io[4],
        sectors=io[2] + io[6],
        cpu=user + nice + system + irq + softirq,
        idle=idle + iowait,
        switches=int(rows[b"ctxt"][1]),
        interrupts=int(rows[b"intr"][1]),
    )


def rates(first: Reading, last: Reading, tick: float) -> dict[str, float]:
    """Metrics of the window between two readings by name; RuntimeError if no command ended in it."""
    before, after = counters(first, tick), counters(last, tick)
    seconds, commands = after.time - before.time, after.commands - before.commands
    if commands <= 0:
        raise RuntimeError("no command ended in the window")
    return {
        "iops": commands / seconds,
        "mb_s": (after.sectors - before.sectors) * 512 / seconds / 1e6,
        "cpu_us": (after.cpu - before.cpu) / commands,
        "idle_us": (after.idle - before.idle) / commands,
        "switches": (after.switches - before.switches) / commands,
        "interrupts": (after.interrupts - before.interrupts) / commands,
    }


def fio_command(disk: str, pattern: Pattern, seconds: float, size_mib: int) -> list[str]:
    """The command line of fio; all offsets stay below *size_mib*.

    Large blocks are read into huge pages: with others the number of segments per command, and with it the
    cost, would depend on how contiguous the pages of that run happen to be.
    """
    # fmt: off
    return [
        "fio", "--name=bench", f"--filename=/dev/{disk}", "--direct=1", "--ioengine=libaio", "--thread",
        f"--rw={pattern.access}", f"--bs={pattern.block}", f"--iodepth={pattern.depth}",
        f"--numjobs={pattern.jobs}", "--time_based", f"--runtime={round(seconds * 1000)}ms",
        f"--size={size_mib}m", "--gtod_reduce=1", "--norandommap", "--randrepeat=1", "--group_reporting",
        "--minimal", *(["--iomem=shmhuge"] if pattern.block > PAGE else []),
    ]
    # fmt: on


@contextmanager
def running(disk: str, pattern: Pattern, seconds: float, size_mib: int) -> Iterator[None]:
    """fio at work for at most *seconds*: entered when the first commands have ended; ends fio when left.

    Raises RuntimeError with fio's words when it does not start, or ends before this block does.
    """
    first = ended_commands(disk) + FIRST_COMMANDS
    command = fio_command(disk, pattern, seconds, size_mib)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as fio:
        try:
            wait_started(fio, disk, first)
            yield
            still = fio.poll() is None
        finally:
            fio.terminate()
            output = fio.communicate()[0]
    if not still:
        raise RuntimeError(f"fio on {disk} ended inside the window: {output[-500:]}")


def ended_commands(disk: str) -> int:
    """Number of reads and writes the disk has done."""
    words = Path("/sys/block", disk, "stat").read_bytes().split()
    return int(words[0]) + int(words[4])


def wait_started(fio: subprocess.Popen[str], disk: str, commands: int) -> None:
    """Wait until the disk has done that many commands. RuntimeError with fio's words if it ends before."""
    end = time.monotonic() + START_SECONDS
    while ended_commands(disk) < commands:
        if fio.poll() is not None or time.monotonic() > end:
            fio.kill()
            raise RuntimeError(f"fio did not start on {disk}: {fio.communicate()[0][-500:]}")
        time.sleep(POLL_SECONDS)


def windows(
    disk: str, pattern: Pattern, count: int, settle: float, seconds: float, size_mib: int
) -> list[Reading]:
    """Run fio; *count* + 1 readings *seconds* apart, the first *settle* after the first commands."""
    # fio is ended early, so the slack costs nothing; it covers a slow reading.
    with running(disk, pattern, settle + count * seconds + 5, size_mib):
        time.sleep(settle)
        readings = [take(disk)]
        for _ in range(count):
            time.sleep(seconds)
            readings.append(take(disk))
    return readings


def tick_us() -> float:
    """Length of the clock tick of /proc/stat in microseconds."""
    return 1e6 / os.sysconf("SC_CLK_TCK")
