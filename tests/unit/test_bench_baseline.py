# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures beside the last committed ones."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bench import baseline
from bench.baseline import committed, comparable, worse
from bench.samples import Result, dumps
from bench.verdict import judged, progress

PATTERN = "randread 4k qd1 j1"
COST = Result("instructions", "null", PATTERN, "instructions", "scst", 10_000.0, 9_990.0, 10_010.0, 3)
LINES = Result("sharing", "null", "randread 4k qd8, 4 CPUs", "own_lines", "scst", 0.004, 0.004, 0.004, 2)
SWITCHES = Result("throughput", "null", PATTERN, "switches", "scst", 0.004, 0.003, 0.005, 2)
RATIO = Result("throughput", "null", PATTERN, "iops", "scst/lio", 4.0, 3.8, 4.2, 2)
SPEED = Result("throughput", "null", PATTERN, "iops", "scst", 30_000.0, 29_000.0, 31_000.0, 2)
OTHERS = replace(COST, system="lio")
MACHINES = [
    Result(bench, "", "6.1", "cpus", "vm", 2.0, 2.0, 2.0, 1)
    for bench in ("instructions", "sharing", "throughput")
]
OLD = [*MACHINES, COST, LINES, SWITCHES, RATIO, SPEED, OTHERS]


def changed(result: Result, factor: float, plus: float = 0.0) -> Result:
    """A figure and its range, so much greater."""
    low, middle, high = (value * factor + plus for value in (result.min, result.median, result.max))
    return replace(result, min=low, median=middle, max=high)


@pytest.mark.parametrize(
    ("was", "factor", "plus", "bad"),
    [
        (COST, 1.029, 0, False),
        (COST, 1.031, 0, True),
        (COST, 0.5, 0, False),
        (LINES, 10, 0, False),  # next to nothing
        (LINES, 1, 0.2, True),
        (SWITCHES, 10, 0, False),
        (SWITCHES, 1, 0.06, True),
        (RATIO, 0.9, 0, False),  # 3.42 to 3.78: what it once was is within the range
        (RATIO, 0.87, 0, True),  # 3.31 to 3.65: even its best is worse than the worst was
        (RATIO, 2, 0, False),
        (SPEED, 0.1, 0, False),  # depends on the host
        (OTHERS, 2, 0, False),
    ],
)
def test_worse(was: Result, factor: float, plus: float, bad: bool) -> None:
    now = changed(was, factor, plus)
    assert worse(now, was) is bad
    found = [required for required in progress([*MACHINES, now], OLD, was.bench) if not required.met]
    assert len(found) == (2 if bad else 0)


def test_good_figures_are_counted() -> None:
    (required,) = progress(OLD, OLD, "throughput")
    assert (required.met, required.value) == (True, 2.0)
    assert {required.bench for required in judged(OLD, ["sharing"], OLD)} == {"sharing"}


def test_another_kernel_is_not_comparable() -> None:
    other = [replace(machine, pattern="6.12") for machine in MACHINES]
    assert list(comparable([*other, changed(COST, 2)], OLD, "instructions")) == []
    assert list(progress([*other, changed(COST, 2)], OLD, "instructions")) == []


def test_results_that_do_not_tell_their_kernel_are_not_comparable() -> None:
    assert list(comparable(OLD, [COST], "instructions")) == []


def test_a_new_figure_is_no_worse() -> None:
    new = replace(COST, pattern="randread 8k qd1 j1", median=1e9)
    assert [now for now, _ in comparable([*OLD, new], OLD, "instructions")] == [COST]


def git(folder: Path, *words: str) -> None:
    """Run git, as somebody."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, stdout=subprocess.DEVNULL)


def test_the_last_commit(tmp_path: Path) -> None:
    file = tmp_path / baseline.FILE
    file.parent.mkdir()
    git(tmp_path, "init", "-q")
    file.write_text(dumps([COST]))
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "x")
    file.write_text(dumps([changed(COST, 2)]))
    assert committed(tmp_path) == [COST]


def test_no_commit(tmp_path: Path) -> None:
    assert committed(tmp_path / "none") == []
    git(tmp_path, "init", "-q")
    assert committed(tmp_path) == []
