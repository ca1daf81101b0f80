# SPDX-License-Identifier: GPL-2.0-or-later
"""Speed of the emulation.

4 KiB reads of an initiator in a VM from a scripted target, and where the time goes.
"""

from __future__ import annotations

import cProfile
import io
import json
import pstats
import time
from dataclasses import dataclass

from .lab import Lab, make_archive
from .machine import Machine
from .packages import Cache
from .scenarios import attach

FIO = (
    "fio --name=speed --filename={disk} --rw=randread --bs=4k --size=60m --direct=1 --ioengine=libaio "
    "--iodepth={depth} --runtime={seconds} --time_based --thread --output-format=json"
)
WANTED_RATE = 2000
WANTED_MEDIAN = 1.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One measurement."""

    depth: int
    rate: float
    """Reads per second."""
    median: float
    """Median completion latency in ms."""
    server: float
    """Share of one CPU core that the server used."""


def measure(machine: Machine, disk: str, depth: int, seconds: int) -> Figures:
    """Read at random for a time."""
    script = FIO.format(disk=disk, depth=depth, seconds=seconds)
    wall, cpu = time.monotonic(), time.process_time()
    output = machine.run(script, timeout=seconds + 60)
    share = (time.process_time() - cpu) / (time.monotonic() - wall)
    read = json.loads(output[output.index("{") :])["jobs"][0]["read"]
    return Figures(depth, read["iops"], read["clat_ns"]["percentile"]["50.000000"] / 1e6, share)


def profile(machine: Machine, disk: str, seconds: int) -> str:
    """The server's profile while the guest reads at depth 32.

    The functions that take the most time themselves.
    """
    profiler = cProfile.Profile()
    profiler.enable()
    measure(machine, disk, 32, seconds)
    profiler.disable()
    out = io.StringIO()
    pstats.Stats(profiler, stream=out).sort_stats("tottime").print_stats(25)
    return out.getvalue()


def run(cache: Cache, series: str, seconds: int) -> int:
    """Measure and print; 0 if the wanted speed is reached."""
    tools, kernel = cache.tools(), cache.kernel(series)
    lab = Lab(tools, kernel, make_archive(tools, kernel))
    try:
        lab.target()
        chip = lab.board("2432")
        machine = lab.boot()
        disk = attach(machine, chip)
        machine.run(f"echo none >/sys/block/{disk.removeprefix('/dev/')}/queue/scheduler")
        deep, single = measure(machine, disk, 32, seconds), measure(machine, disk, 1, seconds)
        for figures in (deep, single):
            print(
                f"queue depth {figures.depth:2}: {figures.rate:6.0f} reads/s, "
                f"median {figures.median:.3f} ms, "
                f"server {figures.server * 100:.0f} % of a core",
                flush=True,
            )
        print(profile(machine, disk, seconds))
    finally:
        lab.close(keep=False)
    good = deep.rate >= WANTED_RATE and single.median <= WANTED_MEDIAN
    print(
        f"wanted: {WANTED_RATE} reads/s at depth 32 and a median of {WANTED_MEDIAN:g} ms at depth 1: "
        f"{'reached' if good else 'MISSED'}"
    )
    return 0 if good else 1
