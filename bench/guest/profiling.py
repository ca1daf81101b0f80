# SPDX-License-Identifier: GPL-2.0-or-later
"""Samples where the instructions of a command go, in the instruction-counting VM, for `bench.profile`.

``python -m bench.guest.profiling PATTERN CELL...``. Leaves in /out, per cell, perf's list of symbols and, in
``instructions.json``, the number of instructions per command without perf.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from bench.guest import systems
from bench.guest.cells import SHAPES
from bench.guest.record import OUT
from bench.guest.window import (
    FIRST_COMMANDS,
    Section,
    ended_commands,
    measured,
    rates,
    running,
    tick_us,
    wait_started,
)
from bench.pattern import Pattern

DATA = "/tmp/bench-perf.data"
# Nanoseconds of the guest, that is instructions, between samples; prime, to meet all parts of the cycle.
PERIOD = 40_009
SECONDS = 1.5
# The rate first: with the time limit at zero the kernel refuses to change it.
SETTINGS = (
    ("perf_event_max_sample_rate", "40000"),
    ("perf_cpu_time_max_percent", "0"),
    ("perf_event_paranoid", "-1"),
    ("kptr_restrict", "0"),
)


def perf(*words: str) -> str:
    """Run perf; returns its output. CalledProcessError when it fails."""
    return subprocess.run(["perf", *words], stdout=subprocess.PIPE, text=True, check=True).stdout


def profile(disk: systems.Disk, pattern: Pattern) -> float:
    """Sample one cell; returns its instructions per command, measured without perf."""
    shape, section = SHAPES["instructions"], Section(disk.name, pattern)
    ((_, readings),) = measured([section], shape)
    costs = [1e9 / rates(before, after, tick_us())["iops"] for before, after in pairwise(readings)]
    before_start = ended_commands(disk.name)
    with running([section], 20 * SECONDS, shape.size_mib) as fio:
        wait_started(fio, disk.name, before_start + FIRST_COMMANDS)
        sleep = ("--", "sleep", str(SECONDS))
        perf("record", "-q", "-a", "-e", "cpu-clock", "-c", str(PERIOD), "-o", DATA, *sleep)
    report = perf("report", "-i", DATA, "--sort", "symbol", "--stdio", "-q")
    (OUT / f"{disk.system}-{disk.backend}.symbols").write_text(report)
    return statistics.median(costs)


def main(arguments: Sequence[str]) -> int:
    """Entry point."""
    pattern, wanted = Pattern.parse(arguments[0]), arguments[1:]
    disks = {f"{disk.system}-{disk.backend}": disk for disk in systems.setup(SHAPES["instructions"].size_mib)}
    for name, value in SETTINGS:
        systems.write(Path("/proc/sys/kernel", name), value)
    costs: dict[str, float] = {}
    for cell in wanted:
        costs[cell] = profile(disks[cell], pattern)
        print(f"{cell}: {costs[cell]:,.0f} instructions per command", flush=True)
    (OUT / "instructions.json").write_text(json.dumps(costs))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
