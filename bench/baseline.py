# SPDX-License-Identifier: GPL-2.0-or-later
"""Is a figure of ours worse than the last committed one? Only of those that are stable enough to say so."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bench.pattern import ISCSI
from bench.samples import MACHINE, OURS, Cell, Result, loads

REPO = Path(__file__).resolve().parents[1]
FILE = "bench/results.json"
# More than this part worse is worse.
TOLERANCE = 0.03
# Metrics of ours of which less is better, by bench, and how much more is nothing: they are near 0.
STABLE = {
    ("instructions", "instructions"): 0.0,
    ("instructions", "switches"): 0.05,
    ("throughput", "switches"): 0.05,
    ("multiqueue", "switches"): 0.05,
    ("sharing", "own_lines"): 0.1,
    (ISCSI, "instructions"): 0.0,
    (ISCSI, "switches"): 0.05,
}
# Speeds depend on the host; their ratios to LIO's, measured within seconds, less so: of these whole ranges
# are compared.
RATIOS = frozenset((bench, metric) for bench in ("throughput", "multiqueue") for metric in ("iops", "mb_s"))
Place = tuple[Cell, str]


def committed(repo: Path = REPO) -> list[Result]:
    """The results of the last commit; none if there are none to be had."""
    command = ("git", "-C", str(repo), "show", f"HEAD:{FILE}")
    try:
        shown = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
        )
        return loads(shown.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return []


def place(result: Result) -> Place:
    """What a result is of."""
    return (result.bench, result.backend, result.pattern, result.metric), result.system


def machine(results: Iterable[Result], bench: str) -> set[tuple[str, float]]:
    """Kernels and numbers of CPUs that a bench ran on."""
    return {(r.pattern, r.median) for r in results if (r.bench, r.metric) == (bench, MACHINE)}


def comparable(
    results: Sequence[Result], old: Sequence[Result], bench: str
) -> Iterator[tuple[Result, Result]]:
    """Figures of ours in a bench with those of before; none if the two did not run on the same."""
    if machine(results, bench) != machine(old, bench):
        return
    before = {place(result): result for result in old}
    for result in results:
        was = before.get(place(result))
        if result.bench == bench and was is not None and bound(was) is not None:
            yield result, was


def bound(was: Result) -> float | None:
    """How far a figure may go from what it was; None: it is none that can be compared."""
    key = (was.bench, was.metric)
    if was.system == OURS and key in STABLE:
        return was.median * (1 + TOLERANCE) + STABLE[key]
    if was.system == f"{OURS}/lio" and key in RATIOS:
        return was.min * (1 - TOLERANCE)
    return None


def is_ratio(result: Result) -> bool:
    """Is it one of which more is better, and the whole range counts?"""
    return "/" in result.system


def worse(result: Result, was: Result) -> bool:
    """Is the figure worse than it was?"""
    far = bound(was)
    if far is None:
        return False
    return result.max < far if is_ratio(result) else result.median > far
