# SPDX-License-Identifier: GPL-2.0-or-later
"""Measured values and what is kept of them: median, minimum, maximum per cell, and ratios between systems."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.pattern import ISCSI, floor

OURS = "scst"
SAMPLES = "samples.jsonl"
# The metric of the machine itself: its CPUs; the pattern is its kernel.
MACHINE = "cpus"
# Metrics of which a ratio to another system says something.
SPEEDS = ("iops", "mb_s", "cpu_us")
COMPARED = {
    "instructions": ("instructions",),
    "throughput": SPEEDS,
    "multiqueue": SPEEDS,
    "sharing": ("lines",),
    "fc": ("instructions", "own_instructions"),
    ISCSI: ("instructions",),
}

Cell = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured value. Samples of the same *round* were taken within seconds of each other."""

    bench: str
    backend: str
    pattern: str
    metric: str
    system: str
    round: int
    value: float

    @property
    def cell(self) -> Cell:
        """What was measured, apart from the system."""
        return (self.bench, self.backend, self.pattern, self.metric)


@dataclass(frozen=True, slots=True)
class Result:
    """Summary of *n* values. *system* is a name, or ``a/b`` for the ratios of a to b round by round."""

    bench: str
    backend: str
    pattern: str
    metric: str
    system: str
    median: float
    min: float
    max: float
    n: int


def machine_sample(bench: str, release: str, cpus: int) -> Sample:
    """What a bench ran on: a kernel, and so many CPUs."""
    return Sample(bench, "", release, MACHINE, "vm", cpus, float(cpus))


def summarize(cell: Cell, system: str, values: Iterable[float]) -> Result:
    """Median, minimum and maximum of at least one value."""
    ordered = sorted(values)
    return Result(*cell, system, statistics.median(ordered), ordered[0], ordered[-1], len(ordered))


def aggregate(samples: Iterable[Sample]) -> list[Result]:
    """Results per cell and system, in the order of the first samples, with the ratios of ours to others."""
    cells: dict[Cell, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for sample in samples:
        cells[sample.cell][sample.system][sample.round] = sample.value
    found: list[Result] = []
    for cell, systems in cells.items():
        found += [summarize(cell, system, rounds.values()) for system, rounds in systems.items()]
        found += ratios(cell, cells)
    return found


def ratios(cell: Cell, cells: Mapping[Cell, Mapping[str, Mapping[int, float]]]) -> Iterator[Result]:
    """Ratios of ours to LIO and to the floor in one cell, where both were measured."""
    bench, backend, pattern, metric = cell
    ours = cells[cell].get(OURS)
    if ours is None or metric not in COMPARED.get(bench, ()):
        return
    system, other = floor(backend, bench)
    bases = {
        "lio": cells[cell].get("lio", {}),
        system: cells.get((bench, other, pattern, metric), {}).get(system, {}),
    }
    for name, base in bases.items():
        values = paired(ours, base)
        if values:
            yield summarize(cell, f"{OURS}/{name}", values)


def paired(ours: Mapping[int, float], base: Mapping[int, float]) -> list[float]:
    """Ratios round by round; of the medians if no round has both; nothing if a base is missing or zero."""
    both = [ours[number] / base[number] for number in ours if base.get(number)]
    if both or not base or not ours:
        return both
    middle = statistics.median(base.values())
    return [statistics.median(ours.values()) / middle] if middle else []


def read_samples(folder: Path) -> list[Sample]:
    """Samples that a run has left in its folder: a JSON object per line."""
    return [Sample(**json.loads(line)) for line in (folder / SAMPLES).read_text().splitlines()]


def dumps(results: Iterable[Result]) -> str:
    """JSON text: a list with one object per line."""
    rows = ",\n".join(json.dumps(rounded(result)) for result in results)
    return f"[\n{rows}\n]\n"


def rounded(result: Result) -> dict[str, Any]:
    """A result's members; values to six significant digits."""
    return {name: float(f"{v:.6g}") if isinstance(v, float) else v for name, v in asdict(result).items()}


def loads(text: str) -> list[Result]:
    """Inverse of `dumps`; ValueError if the text is anything else."""
    try:
        return [Result(**row) for row in json.loads(text)]
    except TypeError as error:
        raise ValueError(f"not a list of results: {error}") from None


def merge(old: Iterable[Result], new: Iterable[Result]) -> list[Result]:
    """*new*, and of *old* the benches that *new* does not hold."""
    fresh = list(new)
    benches = {result.bench for result in fresh}
    return [result for result in old if result.bench not in benches] + fresh
