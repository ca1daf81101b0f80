# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures all cells of all systems in this VM: ``python -m bench.guest.cells instructions``,
or ``throughput``, or ``multiqueue`` (throughput of null, tcm_loop with a hardware queue per CPU).

Writes samples to ``/out/samples.jsonl`` and a line per cell to standard output.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench.guest import systems
from bench.guest.record import Recorder, other_load
from bench.guest.systems import Disk
from bench.guest.window import Reading, rates, tick_us, windows
from bench.hostload import QUIET
from bench.pattern import INSTRUCTIONS, THROUGHPUT, Pattern
from bench.samples import Sample

TRIES = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """How a cell is measured: windows per run of fio, times in seconds, size of what is accessed."""

    bench: str
    windows: int
    settle: float
    seconds: float
    size_mib: int


PLANS = {
    "instructions": Plan("instructions", windows=3, settle=0.05, seconds=0.08, size_mib=64),
    "throughput": Plan("throughput", windows=1, settle=0.2, seconds=0.8, size_mib=256),
    "multiqueue": Plan("multiqueue", windows=1, settle=0.2, seconds=0.8, size_mib=256),
}


class Budget:
    """Seconds left for repeating disturbed runs."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def spend(self, since: float) -> None:
        """Take off what has passed."""
        self.seconds -= time.monotonic() - since


def busy_run(disk: Disk, pattern: Pattern, plan: Plan) -> list[Reading]:
    """Readings of a run without idle time, which would count as instructions. RuntimeError: none was."""
    for _ in range(TRIES):
        readings = windows(disk.name, pattern, plan.windows, plan.settle, plan.seconds, plan.size_mib)
        if rates(readings[0], readings[-1], tick_us())["idle_us"] == 0:
            return readings
    raise RuntimeError(
        f"{disk.name}, {pattern}: the CPU was idle in {TRIES} runs, so instructions cannot be counted"
    )


def quiet_run(disk: Disk, pattern: Pattern, plan: Plan, budget: Budget) -> tuple[list[Reading], float]:
    """Readings of one run and the host's other load in it; a disturbed run is repeated within the budget."""
    found: list[tuple[float, list[Reading]]] = []
    while True:
        start = time.monotonic()
        readings = windows(disk.name, pattern, plan.windows, plan.settle, plan.seconds, plan.size_mib)
        found.append((other_load(plan.windows * plan.seconds), readings))
        if len(found) > 1:
            budget.spend(start)
        if found[-1][0] <= QUIET or len(found) == TRIES or budget.seconds <= 0:
            load, best = min(found, key=lambda run: run[0])
            return best, load


def measure(recorder: Recorder, disk: Disk, pattern: Pattern, plan: Plan, turn: int, budget: Budget) -> None:
    """Measure one system in one cell; *turn* counts the rounds."""
    counting = plan.bench == "instructions"
    readings, load = (
        (busy_run(disk, pattern, plan), 0.0) if counting else quiet_run(disk, pattern, plan, budget)
    )
    for number, (before, after) in enumerate(pairwise(readings), turn * plan.windows):
        values = rates(before, after, tick_us())
        if counting:
            # In this machine the clock counts instructions, a nanosecond each.
            values = {"instructions": 1e9 / values["iops"], "switches": values["switches"]}
        else:
            values |= {"host_other_cpus": load}
        for metric, value in values.items():
            recorder.add(Sample(plan.bench, disk.backend, str(pattern), metric, disk.system, number, value))


def sweep(recorder: Recorder, disks: Sequence[Disk], plan: Plan, turn: int, budget: Budget) -> None:
    """Measure every cell once; every other turn with the systems in reverse, so that drift cancels."""
    patterns = INSTRUCTIONS if plan.bench == "instructions" else THROUGHPUT
    for backend in dict.fromkeys(disk.backend for disk in disks):
        cell = [disk for disk in disks if disk.backend == backend]
        for pattern in patterns:
            for disk in cell if turn % 2 == 0 else reversed(cell):
                measure(recorder, disk, pattern, plan, turn, budget)
            recorder.say(f"{plan.bench}, round {turn + 1}: {backend}, {pattern}")


def note_setup(recorder: Recorder, disks: Sequence[Disk]) -> None:
    """Record what the figures depend on: CPUs and the number of hardware queues of each system."""
    release = os.uname().release
    recorder.add(Sample("setup", "", release, "cpus", "vm", 0, float(os.cpu_count() or 1)))
    for disk in disks:
        queues = len(list(Path("/sys/block", disk.name, "mq").iterdir()))
        recorder.add(Sample("setup", disk.backend, release, "hardware_queues", disk.system, 0, float(queues)))


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.guest.cells")
    parser.add_argument("bench", choices=PLANS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--retries", type=float, default=30.0, metavar="SECONDS", help="for disturbed runs")
    options = parser.parse_args(arguments)
    plan = PLANS[options.bench]
    recorder = Recorder()
    if plan.bench == "multiqueue":
        disks = [disk for disk in systems.setup(plan.size_mib, os.cpu_count()) if disk.backend == "null"]
    else:
        disks = systems.setup(plan.size_mib)
    if plan.bench == "throughput":
        note_setup(recorder, disks)
    budget = Budget(0.0 if plan.bench == "instructions" else options.retries)
    for turn in range(options.rounds):
        sweep(recorder, disks, plan, turn, budget)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
