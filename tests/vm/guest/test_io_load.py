# SPDX-License-Identifier: GPL-2.0-or-later
"""A bystander's I/O while others are reconfigured and reset: no error, no wrong data, no stall.

``SCST_LOAD_SECONDS`` is the duration of the part with changes for each back end (default 7; the acceptance
run takes 100, five minutes in all). The part without changes, for comparison, takes a fifth of it.
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import subprocess
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm.guest import tree
from tests.vm.guest.fio import Fio
from tests.vm.guest.long import more
from tests.vm.guest.tree import Device, Group, Initiator, Target
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

SECONDS = float(os.environ.get("SCST_LOAD_SECONDS", "7"))
STALL = 100.0 * tree.SLOW  # ms
PROBE_PAUSE = 0.001


class Prober:
    """Reads 4 KiB of a disk every millisecond, in a process of its own that no other process delays."""

    def __init__(self, node: Path, folder: Path) -> None:
        self._node = node
        self._file = folder / "latencies"
        self._pid = 0

    def __enter__(self) -> Prober:
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                self._probe()
                code = 0
            finally:
                os._exit(code)
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, signal.SIGTERM)
        status = os.waitpid(self._pid, 0)[1]
        assert status == 0, f"the prober saw an error, status {status:#x}"

    def _probe(self) -> None:
        stop, samples = threading.Event(), array("d")
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        gc.disable()
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
        disk = os.open(self._node, os.O_RDONLY | os.O_DIRECT)
        with mmap.mmap(-1, 4096) as page:
            while not stop.is_set():
                start, busy = time.monotonic(), time.thread_time()
                assert os.preadv(disk, [page], 0) == len(page)
                wall, busy = time.monotonic() - start, time.thread_time() - busy
                samples.extend((start, wall, wall - busy))
                time.sleep(PROBE_PAUSE)
        self._file.write_bytes(samples.tobytes())

    def worst(self, begin: float, end: float) -> tuple[float, float]:
        """The longest latency of probes sent in this span of monotonic time, and the longest time one was not
        running, in milliseconds; after the end.
        """
        samples = array("d", self._file.read_bytes())
        rows = [row for row in zip(*[iter(samples)] * 3, strict=True) if begin <= row[0] < end]
        return max(row[1] for row in rows) * 1e3, max(row[2] for row in rows) * 1e3


@dataclass(frozen=True, slots=True)
class Stage:
    """A bystander with a disk and a null device to probe; another initiator whose access changes."""

    bystander: Initiator
    other: Initiator
    group: Group
    spare: Device


def build(device: Device) -> Stage:
    """Configure the stage."""
    probe, spare = tree.nullio("probe"), tree.nullio("spare")
    target = Target("t1").make()
    mine, theirs = target.group("mine", "bystander"), target.group("theirs", "other")
    mine.luns.map(0, device)
    mine.luns.map(1, probe)
    theirs.luns.map(0, spare)
    hosts = target.login("bystander"), target.login("other")
    target.enable()
    return Stage(hosts[0], hosts[1], theirs, spare)


def change(stage: Stage, seconds: float) -> int:
    """Map, unmap and reset at the other initiator for a while; returns how often."""
    end, rounds, node = time.monotonic() + seconds, 0, stage.other.sg(0)
    while time.monotonic() < end:
        for lun in (1, 2, 300):
            stage.group.luns.map(lun, stage.spare, read_only=rounds % 2 == 1)
        extra = stage.bystander.target.group(f"extra{rounds}", "nobody*")
        extra.luns.map(0, stage.spare)
        subprocess.run(["sg_reset", "-N", "--device" if rounds % 2 else "--target", str(node)], check=True)
        extra.remove()
        for lun in (1, 2, 300):
            stage.group.luns.unmap(lun)
        rounds += 1
    return rounds


@pytest.mark.parametrize("kind", ["fileio", "blockio", *more("fileio-direct")])
def test_bystander(
    kind: str,
    tmp_path: Path,
    make_file: Callable[[str, int], Path],
    disks: dict[str, PluggedDisk],
    out_dir: Path,
) -> None:
    if kind == "blockio":
        device = tree.blockio("d0", disks["vm-disk-a"].node)
    else:
        device = tree.fileio("d0", make_file("d0", 48), o_direct=kind == "fileio-direct")
    stage = build(device)
    disk, quiet = stage.bystander.disk(0), max(3.0, SECONDS / 5)
    prober = Prober(stage.bystander.disk(1), tmp_path)
    load = Fio(
        tmp_path,
        disk,
        verify="crc32c",
        verify_backlog=256,
        numjobs=2,
        size="24m",
        offset_increment="24m",
        runtime=int(SECONDS + quiet + 600),
        group_reporting=1,
    )
    with prober, load:
        begin = time.monotonic()
        time.sleep(quiet)
        middle = time.monotonic()
        rounds = change(stage, SECONDS)
        end = time.monotonic()
        result = load.stop()
    without, during = prober.worst(begin, middle), prober.worst(middle, end)
    assert rounds > 0
    assert result.writes > 0
    figures = (
        f"{kind}: {rounds} rounds of changes; worst probe {without[0]:.1f} ms (waiting {without[1]:.1f} ms) "
        f"without them, {during[0]:.1f} ms (waiting {during[1]:.1f} ms) with them"
    )
    (out_dir / f"load-{kind}.txt").write_text(f"{figures}; {result}\n")
    # A machine that has no time for this VM lengthens what runs; only waiting can be due to the changes.
    assert during[1] < STALL, figures
