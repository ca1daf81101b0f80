# SPDX-License-Identifier: GPL-2.0-or-later
"""Parsing of the kernel's counters and of the host's load; what is run, and how often."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import hostload
from bench.guest import cells
from bench.guest.cells import SHAPES, Cell, Meter
from bench.guest.record import other_load
from bench.guest.systems import Disk
from bench.guest.window import Reading, Section, Shape, counters, fio_command, measured, rates
from bench.pattern import Pattern
from bench.vm import Part
from bench.vm import command as vm_command

STAT = b"cpu  10 1 20 300 5 2 3 0 0 0\ncpu0 5 0 10 150 2 1 1 0 0 0\nintr 1000 1 2 3\nctxt 500\nbtime 1\n"
DISK = b"  100 0 800 7 50 0 400 9 0 1 2\n"


def test_counters() -> None:
    found = counters(Reading(2_000_000_000, STAT, DISK), tick=10_000.0)
    assert (found.time, found.requests, found.sectors) == (2.0, 150, 1200)
    assert (found.cpu, found.idle) == (360_000.0, 3_050_000.0)
    assert (found.switches, found.interrupts) == (500, 1000)


def test_rates() -> None:
    later = Reading(
        3_000_000_000,
        STAT.replace(b"cpu  10 ", b"cpu  30 ").replace(b"ctxt 500", b"ctxt 700"),
        b"  200 0 1600 7 50 0 400 9 0 1 2\n",
    )
    found = rates(Reading(2_000_000_000, STAT, DISK), later, tick=10_000.0, block=4096)
    assert (found["iops"], found["requests"], found["switches"], found["interrupts"]) == (100, 1, 2, 0)
    assert found["mb_s"] == pytest.approx(800 * 512 / 1e6)
    assert found["cpu_us"] == pytest.approx(2000)


def test_figures_are_per_io_however_it_was_cut() -> None:
    """300 requests of 85 1/3 KiB are 100 I/Os of 256 KiB, and cost what 100 whole ones cost."""
    stat = STAT.replace(b"cpu  10 ", b"cpu  30 ").replace(b"ctxt 500", b"ctxt 700")
    moved = b"%d 7 50 0 400 9 0 1 2" % (800 + 100 * 512)
    cut, whole = (
        rates(Reading(2_000_000_000, STAT, DISK), Reading(3_000_000_000, stat, disk), 10_000.0, 256 << 10)
        for disk in (b"  400 0 " + moved, b"  200 0 " + moved)
    )
    assert (cut.pop("requests"), whole.pop("requests")) == (3, 1)
    assert cut == whole
    assert (cut["iops"], cut["switches"]) == (100, 2)
    assert cut["mb_s"] == pytest.approx(100 * (256 << 10) / 1e6)


def test_idle_disk_is_an_error() -> None:
    reading = Reading(1, STAT, DISK)
    with pytest.raises(RuntimeError, match="no I/O ended"):
        rates(reading, reading, 1.0, 4096)


def test_fio_command() -> None:
    sections = [
        Section("sdb", Pattern("randread", 4096, 32, 2)),
        Section("sdc", Pattern("read", 256 << 10, 4)),
    ]
    words = fio_command(sections, 1.5, 64)
    first, second = words.index("--name=section0"), words.index("--name=section1")
    assert {"--runtime=1500ms", "--size=64m"} <= set(words[:first])
    wanted = {"--filename=/dev/sdb", "--iodepth=32", "--numjobs=2", "--iomem=malloc", "--stonewall"}
    assert wanted <= set(words[first:second])
    assert {"--filename=/dev/sdc", "--bs=262144", "--iomem=shmhuge", "--stonewall"} <= set(words[second:])
    assert not [word for word in words if "cpus" in word]


def test_fio_command_with_a_cpu_for_each_job() -> None:
    words = fio_command([Section("sdb", Pattern("randread", 4096, 8, 3))], 1.0, 64, cpus=[0, 2, 3])
    assert {"--cpus_allowed=0,2,3", "--cpus_allowed_policy=split", "--numjobs=3"} <= set(words)


def test_neighbours_use_different_disks() -> None:
    section = Section("sdb", Pattern("randread", 4096, 1))
    with pytest.raises(ValueError, match="same disk"):
        next(measured([section, section], SHAPES["throughput"]))


class Host:
    """Stands for fio and the kernel: each run takes the next of the given host loads, one per disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, loads: list[float]) -> None:
        self.runs: list[list[Section]] = []
        self._loads = iter(loads)
        monkeypatch.setattr(cells, "measured", self.measured)
        monkeypatch.setattr(cells, "other_load", lambda seconds: next(self._loads))

    def measured(self, sections: list[Section], shape: Shape) -> Iterator[tuple[Section, list[Reading]]]:
        self.runs.append(sections)
        for section in sections:
            marker = len(self.runs) * 1_000_000_000
            yield section, [Reading(marker, STAT, DISK), Reading(marker + 1, STAT, DISK)]


def two_cells() -> list[Cell]:
    disks = [Disk("lio", "null", "sda"), Disk("scst", "null", "sdb")]
    return [Cell(Pattern("randread", 4096, depth), disks, {}) for depth in (1, 32)]


def test_quiet_cells_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    host, found = Host(monkeypatch, [0.0, 0.1, 0.2, 0.0]), two_cells()
    Meter("throughput", 100.0).measure(found)
    assert [len(run) for run in host.runs] == [4]
    assert [cell.disturbance for cell in found] == [0.1, 0.2]


def test_a_disturbed_cell_is_repeated_with_all_its_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    host, found = Host(monkeypatch, [0, 0, 0, 0.9, 0.5, 0.0, 0.0, 0.7]), two_cells()
    Meter("throughput", 1e9).measure(found)
    assert [[section.pattern.depth for section in run] for run in host.runs] == [
        [1, 1, 32, 32],
        [32, 32],
        [32, 32],
    ]
    assert found[1].disturbance == 0.5
    assert {readings[0].nanoseconds for readings in found[1].readings.values()} == {2_000_000_000}


def test_no_repetition_without_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    host, found = Host(monkeypatch, [0.9] * 4), two_cells()
    Meter("throughput", 0.0).measure(found)
    assert len(host.runs) == 1
    assert found[0].disturbance == 0.9


def test_idle_time_is_no_instruction_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def idle(sections: list[Section], shape: Shape) -> Iterator[tuple[Section, list[Reading]]]:
        later = Reading(2, STAT.replace(b"20 300", b"20 301"), DISK.replace(b"0 800", b"0 900"))
        for section in sections:
            yield section, [Reading(1, STAT, DISK), later]

    monkeypatch.setattr(cells, "measured", idle)
    with pytest.raises(RuntimeError, match="disturbed in all of 3 runs"):
        Meter("instructions", 0.0).measure(two_cells())


def test_cut_off_windows_are_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "measured", lambda sections, shape: ((section, []) for section in sections))
    monkeypatch.setattr(cells, "other_load", lambda seconds: 0.0)
    with pytest.raises(RuntimeError, match="randread 4k qd1 j1 on null"):
        Meter("throughput", 1e9).measure(two_cells())


def test_family() -> None:
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 20}
    assert hostload.family(parents, 10) == {10, 11, 12}
    assert hostload.family(parents, 99) == {99}


def test_time_of_ended_and_new_processes() -> None:
    assert hostload.grown({1: 100, 2: 50}, {1: 130, 3: 5}) == 35


def test_processes(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/stat").write_text("7 (a (b) c) S 3 0 0 0 0 0 0 0 0 0 11 22 0 0\n")
    (tmp_path / "8").mkdir()  # ended since
    (tmp_path / "self").mkdir()
    assert hostload.processes(tmp_path) == {7: (3, 33)}


def test_own_process_is_found() -> None:
    assert os.getpid() in hostload.own_ticks(os.getpid())


def test_watch_writes_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostload, "PERIOD_SECONDS", 0.01)
    file = tmp_path / "load"
    with hostload.watched(file):
        end = time.monotonic() + 10
        while file.read_text().count("\n") < 2:
            assert time.monotonic() < end, "the watcher writes nothing"
    for line in file.read_text().splitlines():
        stamp, load = map(float, line.split())
        assert stamp > 0
        assert load >= 0


def test_load_of_the_last_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "hostload"
    monkeypatch.setattr("bench.guest.record.HOST_LOAD", file)
    assert other_load(1.0) == 0.0
    file.write_text("100.00 2.0\n100.50 0.2\n101.00 0.4\n")
    assert other_load(0.9) == pytest.approx(0.3)


@pytest.mark.parametrize("icount", [True, False])
def test_vm_command(icount: bool) -> None:
    words = vm_command(Part("x", "bench.guest.cells", ("instructions",), icount, 5), Path("/out"))
    assert ("--icount" in words) is icount
    assert words[words.index("--") + 1 :] == ["python", "-m", "bench.guest.cells", "instructions"]


def test_vm_command_of_a_counted_part() -> None:
    part = Part("x", "bench.guest.sharing", cpus=8, counted="lines", qemu=("-blockdev", "a"))
    words = vm_command(part, Path("/out"))
    assert words[words.index("--cpus") + 1] == "8"
    qemu = words[words.index("--qemu") + 1].split()
    assert qemu[:3] == ["-blockdev", "a", "-plugin"]
    assert {"out=/out/counts", "what=lines"} <= set(qemu[3].split(","))
