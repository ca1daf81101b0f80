# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares, in this VM of two CPUs, two sessions of iSCSI that stay on a CPU each with one of them alone.

Wall-clock time: so each round takes one session, both, and the other, right after each other, and its value
is a ratio. Writes samples to ``/out/samples.jsonl``: I/Os per second, the speedup, and how busy the host was.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench.guest import iscsi
from bench.guest.record import Recorder, other_load
from bench.guest.systems import Disk
from bench.guest.window import FIRST_IOS, Section, moved_bytes, running, wait_started
from bench.pattern import SESSIONS, SESSIONS_PATTERN
from bench.samples import Sample, machine_sample

CPUS = (0, 1)
ROUNDS = 5
SETTLE, SECONDS, MOST_SECONDS = 0.3, 1.5, 600.0
SIZE_MIB = 64


@contextmanager
def loaded(disk: Disk, cpu: int) -> Iterator[None]:
    """I/O on the session of that CPU."""
    before, enough = moved_bytes(disk.name), FIRST_IOS * SESSIONS_PATTERN.block
    with running([Section(disk.name, SESSIONS_PATTERN)], MOST_SECONDS, SIZE_MIB, (cpu,)) as fio:
        wait_started(fio, disk.name, before + enough)
        yield


def rate(disks: Sequence[Disk]) -> float:
    """I/Os per second that the disks do together."""
    time.sleep(SETTLE)
    start, before = time.monotonic(), sum(moved_bytes(disk.name) for disk in disks)
    time.sleep(SECONDS)
    moved = sum(moved_bytes(disk.name) for disk in disks) - before
    return moved / SESSIONS_PATTERN.block / (time.monotonic() - start)


def compare(disks: Sequence[Disk]) -> tuple[float, float]:
    """I/Os per second of one session, on the average, and of both."""
    first, second = disks
    with ExitStack() as stack:
        with loaded(first, CPUS[0]):
            one = rate([first])
            stack.enter_context(loaded(second, CPUS[1]))
            both = rate(disks)
        return (one + rate([second])) / 2, both


def samples(system: str, number: int, one: float, both: float) -> Iterator[Sample]:
    """The values of a round."""
    values = {
        "iops_one": one,
        "iops_both": both,
        "speedup": both / one,
        "host_other_cpus": other_load(3 * (SETTLE + SECONDS)),
    }
    for metric, value in values.items():
        yield Sample(SESSIONS, "null", str(SESSIONS_PATTERN), metric, system, number, value)


def main() -> int:
    """Entry point."""
    recorder = Recorder()
    recorder.add(machine_sample(SESSIONS, os.uname().release, os.cpu_count() or 1))
    with iscsi.served_by_cpu(CPUS) as found:
        for number in range(ROUNDS):
            for system, disks in found.items():
                one, both = compare(disks)
                for sample in samples(system, number, one, both):
                    recorder.add(sample)
                recorder.say(f"{system}, round {number + 1}: {one:.0f} and {both:.0f} I/Os per second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
