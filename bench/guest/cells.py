# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures all cells of all systems in this VM: ``python -m bench.guest.cells instructions``,
or ``iscsi`` (instructions over iSCSI), or ``throughput``, or ``multiqueue`` (throughput of null, tcm_loop
with a hardware queue per CPU).

Writes samples to ``/out/samples.jsonl`` and a line per cell to standard output.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from bench.guest import iscsi, systems
from bench.guest.record import Recorder, other_load
from bench.guest.systems import Disk
from bench.guest.window import Reading, Section, Shape, measured, rates, tick_us
from bench.hostload import QUIET
from bench.pattern import INSTRUCTIONS, ISCSI, OVER_ISCSI, THROUGHPUT, Pattern
from bench.samples import Sample, machine_sample

TRIES = 3
# What is kept where instructions are counted: in these.
COUNTING = ("instructions", ISCSI)
COUNTED = ("instructions", "switches", "requests")
# Undisturbed is 0 idle time where instructions are counted, and a quiet host elsewhere.
SHAPES = {
    "instructions": Shape(count=3, settle=0.05, seconds=0.08, slack=0.1, size_mib=64),
    ISCSI: Shape(count=3, settle=0.05, seconds=0.15, slack=0.1, size_mib=64),
    "throughput": Shape(count=1, settle=0.2, seconds=0.8, slack=0.3, size_mib=256),
    "multiqueue": Shape(count=1, settle=0.2, seconds=0.8, slack=0.3, size_mib=256),
}


@dataclass(slots=True)
class Cell:
    """A pattern on the disks of one backend, and the least disturbed readings of all of them so far."""

    pattern: Pattern
    disks: list[Disk]
    readings: dict[str, list[Reading]]
    disturbance: float = math.inf

    def offer(self, readings: dict[str, list[Reading]], disturbance: float) -> None:
        """Keep what was measured together, if it is better and complete."""
        if all(readings.values()) and disturbance < self.disturbance:
            self.readings, self.disturbance = readings, disturbance


class Meter:
    """Measures cells, repeating disturbed ones while the *budget* (seconds) lasts."""

    def __init__(self, bench: str, budget: float) -> None:
        self.bench = bench
        self.counting = bench in COUNTING
        self.shape = SHAPES[bench]
        self._budget = budget

    def measure(self, cells: Sequence[Cell]) -> None:
        """Fill the cells. RuntimeError if one cannot be measured."""
        start = time.monotonic()
        self._pass(cells)
        each = (time.monotonic() - start) / len(cells)
        for _ in range(TRIES - 1):
            disturbed = [cell for cell in cells if cell.disturbance > (0 if self.counting else QUIET)]
            again = disturbed[: len(disturbed) if self.counting else max(0, int(self._budget / each))]
            if again:
                self._pass(again)
                self._budget -= each * len(again)
        for cell in cells:
            if not cell.readings or (self.counting and cell.disturbance):
                raise RuntimeError(
                    f"{cell.pattern} on {cell.disks[0].backend}: disturbed in all of {TRIES} runs"
                )

    def _pass(self, cells: Sequence[Cell]) -> None:
        """Measure all disks of the cells once, each cell's one after the other."""
        sections = [Section(disk.name, cell.pattern) for cell in cells for disk in cell.disks]
        with closing(measured(sections, self.shape)) as found:
            for cell in cells:
                readings: dict[str, list[Reading]] = {}
                worst = 0.0
                for disk in cell.disks:
                    _, readings[disk.name] = next(found)
                    worst = max(worst, self._disturbance(readings[disk.name], cell.pattern))
                cell.offer(readings, worst)

    def _disturbance(self, readings: Sequence[Reading], pattern: Pattern) -> float:
        """How disturbed a run was that has just ended."""
        if not self.counting:
            return other_load(self.shape.count * self.shape.seconds)
        if not readings:
            return math.inf
        return rates(readings[0], readings[-1], tick_us(), pattern.block)["idle_us"]


def samples(cell: Cell, meter: Meter, turn: int) -> Iterator[Sample]:
    """The values of a measured cell; *turn* counts the rounds."""
    for disk in cell.disks:
        for number, (before, after) in enumerate(
            pairwise(cell.readings[disk.name]), turn * meter.shape.count
        ):
            values = rates(before, after, tick_us(), cell.pattern.block)
            if meter.counting:
                # In this machine the clock counts instructions, a nanosecond each.
                values["instructions"] = 1e9 / values["iops"]
                values = {metric: values[metric] for metric in COUNTED}
            else:
                values |= {"host_other_cpus": cell.disturbance}
            for metric, value in values.items():
                yield Sample(meter.bench, disk.backend, str(cell.pattern), metric, disk.system, number, value)


def patterns(bench: str, backend: str) -> tuple[Pattern, ...]:
    """What is done to a backend."""
    if bench == ISCSI:
        return OVER_ISCSI[backend]
    return INSTRUCTIONS if bench in COUNTING else THROUGHPUT


def disks_of(bench: str, size_mib: int) -> AbstractContextManager[list[Disk]]:
    """What is measured, set up."""
    if bench == ISCSI:
        return iscsi.served(size_mib)
    if bench == "multiqueue":
        disks = systems.setup(size_mib, os.cpu_count())
        return nullcontext([disk for disk in disks if disk.backend == "null"])
    return nullcontext(systems.setup(size_mib))


def sweep(recorder: Recorder, disks: Sequence[Disk], meter: Meter, turn: int) -> None:
    """Measure every cell; every other turn with the systems in reverse, so that drift cancels."""
    for backend in dict.fromkeys(disk.backend for disk in disks):
        order = [disk for disk in disks if disk.backend == backend][:: 1 if turn % 2 == 0 else -1]
        cells = [Cell(pattern, order, {}) for pattern in patterns(meter.bench, backend)]
        meter.measure(cells)
        for cell in cells:
            for sample in samples(cell, meter, turn):
                recorder.add(sample)
        recorder.say(f"{meter.bench}, round {turn + 1}: {backend}")


def note_setup(recorder: Recorder, disks: Sequence[Disk]) -> None:
    """Record what the figures depend on: CPUs and the number of hardware queues of each system."""
    release = os.uname().release
    recorder.add(machine_sample("setup", release, os.cpu_count() or 1))
    for disk in disks:
        queues = len(list(Path("/sys/block", disk.name, "mq").iterdir()))
        recorder.add(Sample("setup", disk.backend, release, "hardware_queues", disk.system, 0, float(queues)))


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m bench.guest.cells")
    parser.add_argument("bench", choices=SHAPES)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--retries", type=float, default=40.0, metavar="SECONDS", help="for disturbed runs")
    options = parser.parse_args(arguments)
    meter = Meter(options.bench, options.retries)
    recorder = Recorder()
    with disks_of(options.bench, meter.shape.size_mib) as disks:
        recorder.add(machine_sample(options.bench, os.uname().release, os.cpu_count() or 1))
        if options.bench == "throughput":
            note_setup(recorder, disks)
        for turn in range(options.rounds):
            sweep(recorder, disks, meter, turn)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
