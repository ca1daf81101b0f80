# SPDX-License-Identifier: GPL-2.0-or-later
"""Cache lines by system: what is its own, what is told, what is run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from bench import counts, sharing
from bench.counts import HEADER, SLOT, Symbol
from bench.pattern import FAR, floor
from bench.samples import Sample
from bench.sharing import Window
from bench.vm import Part, PartFailed

WINDOW = Window(1, "null", "randread", "scst", "6.1", 4, 0, 100)
MOVED = Counter({Symbol("scst_x", "scst"): 3, Symbol("y", "scst_local"): 2, Symbol("schedule"): 95})


@pytest.mark.parametrize(
    ("system", "module", "own"),
    [
        ("scst", "scst", True),
        ("scst", "scst_blockio", True),
        ("scst", "target_core_mod", False),
        ("scst", "", False),
        ("lio", "target_core_iblock", True),
        ("lio", "tcm_loop", True),
        ("lio", "iscsi_target_mod", True),
        ("scst", "scst_iscsi", True),
        ("lio", "scsi_mod", False),
        ("virtio", "virtio_ring", True),
        ("null_blk", "scst", False),
    ],
)
def test_own_modules(system: str, module: str, own: bool) -> None:
    assert sharing.own(system, Symbol("f", module)) is own


def test_every_measured_system_has_modules_of_its_own() -> None:
    measured = {"scst", "lio", *(floor(backend)[0] for backend in sharing.BACKENDS)}
    assert measured == set(sharing.OWN)


def test_lines_per_io() -> None:
    found = {sample.metric: sample.value for sample in sharing.lines(WINDOW, MOVED)}
    assert found == {"lines": 1.0, "own_lines": 0.05}


def test_a_system_that_moves_nothing_has_a_figure() -> None:
    assert [sample.value for sample in sharing.lines(WINDOW, {})] == [0, 0]


def test_functions_own_ones_first_and_none_that_do_not_matter() -> None:
    few = Counter({**MOVED, Symbol("rare"): 0, Symbol("scst_rare", "scst"): 0})
    text = [line.split() for line in sharing.functions(WINDOW, few)]
    assert text[0][:4] == ["scst,", "null,", "randread", "4k"]
    assert text[1:] == [["0.030", "scst_x", "[scst]"], ["0.020", "y", "[scst_local]"], ["0.950", "schedule"]]


def test_windows_round_trip() -> None:
    windows = [WINDOW, replace(WINDOW, phase=2, backend=FAR)]
    assert sharing.loads(sharing.dumps(windows)) == windows
    assert json.loads(sharing.dumps(windows))[1]["backend"] == FAR


def test_samples_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = (1 << counts.PHASE_SHIFT) - 1
    (tmp_path / counts.SYMBOLS).write_text("ffffffffc0000000 t f\t[scst]\nffffffff81000000 t g\n")
    slots = (
        SLOT.pack(1 << 56 | 0xFFFF_FFFF_C000_0004 & mask, 20, 5, 0),
        SLOT.pack(1 << 56 | 0xFFFF_FFFF_8100_0004 & mask, 75, 0, 0),
    )
    (tmp_path / counts.COUNTS).write_bytes(HEADER.pack(0) + b"".join(slots))
    (tmp_path / sharing.WINDOWS).write_text(sharing.dumps([WINDOW]))
    place = ("sharing", "null", "randread 4k qd8, 4 CPUs")
    assert sharing.samples(tmp_path) == [
        Sample("sharing", "", "6.1", "cpus", "vm", 4, 4.0),
        Sample(*place, "lines", "scst", 0, 1.0),
        Sample(*place, "own_lines", "scst", 0, 0.25),
    ]
    assert "f [scst]" in (tmp_path / sharing.FUNCTIONS).read_text()
    assert str(tmp_path / sharing.FUNCTIONS) in capsys.readouterr().out


def test_a_machine_for_each_number_of_cpus() -> None:
    parts = sharing.parts()
    assert [part.cpus for part in parts] == [*sharing.CPUS, sharing.JUDGED_CPUS]
    assert sharing.JUDGED_CPUS in sharing.CPUS
    assert {part.counted for part in parts} == {"lines"}
    serials = [word for word in parts[0].qemu if "serial=" in word]
    assert len(serials) == len(sharing.FAR_SYSTEMS)
    assert all("num-queues=1" in word for word in serials)


def test_some_cells_only(capsys: pytest.CaptureFixture[str]) -> None:
    part = sharing.machine(4, ("scst-far", "lio-far"))
    assert (part.arguments, part.cpus, part.counted) == (("scst-far", "lio-far"), 4, "lines")
    assert [part.arguments for part in sharing.parts() if part.arguments] == [("iscsi",)]
    with pytest.raises(SystemExit):
        sharing.main(["scst-nothing"])
    assert "null_blk-blk" in capsys.readouterr().err


def test_over_iscsi(monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[Part] = []

    def fail(part: Part) -> Path:
        run.append(part)
        raise PartFailed("enough")

    monkeypatch.setattr(sharing, "run", fail)
    assert sharing.main(["--iscsi", "--cpus", "2"]) == 3
    assert sharing.main(["scst-null"]) == 3
    for nothing in ([], ["scst-null", "--iscsi"]):
        with pytest.raises(SystemExit):
            sharing.main(nothing)
    assert [(part.arguments, part.cpus) for part in run] == [(("iscsi",), 2), (("scst-null",), 4)]
    assert replace(WINDOW, transport="iscsi").pattern == "randread 4k qd8, 4 CPUs over iscsi"


def test_cells_are_what_is_measured() -> None:
    systems = {cell.partition("-")[0] for cell in sharing.CELLS}
    assert systems == set(sharing.OWN)
    assert {cell.partition("-")[2] for cell in sharing.CELLS} == set(sharing.BACKENDS)
