# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures this project requires of itself, and whether a list of results meets them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench.pattern import BACKENDS, THROUGHPUT, Pattern, floor
from bench.samples import OURS, Result

# Instructions per 4k command at queue depth 1, by backend and access: at most this.
INSTRUCTION_LIMITS = {
    ("null", "randread"): 10_450.0,
    ("null", "randwrite"): 10_330.0,
    ("file", "randread"): 11_050.0,
    ("blk", "randread"): 12_300.0,
}
# Context switches per command beyond the floor's, null reads.
SWITCH_LIMIT = 0.1
# Commands per second as a multiple of LIO's: in every cell, and of null reads at queue depth 1.
IOPS_LIMIT, IOPS_LIMIT_SINGLE = 1.0, 2.0
# Seconds for 1,000 mappings through `Admin`; five times as many may take GROWTH times as long.
CONTROL_LIMITS = {"create_s": 1.5, "no_change_s": 0.5, "one_lun_s": 0.2, "clear_s": 1.5}
CONTROL_SCALE, CONTROL_SCALE_LARGE, GROWTH = "100x10", "100x50", 6.0


@dataclass(frozen=True, slots=True)
class Requirement:
    """A value that must be at most, or (*at_least*) at least, *limit*. *value* None: it was not measured."""

    bench: str
    what: str
    limit: float
    value: float | None
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Is it? Not when it was not measured."""
        if self.value is None:
            return False
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def word(self) -> str:
        """The verdict."""
        return "not measured" if self.value is None else "ok" if self.met else "MISSED"


class Medians:
    """Medians of results by place."""

    def __init__(self, results: Iterable[Result]) -> None:
        self._found = {(r.bench, r.backend, r.pattern, r.metric, r.system): r.median for r in results}

    def get(self, bench: str, backend: str, pattern: object, metric: str, system: str = OURS) -> float | None:
        """The median, or None."""
        return self._found.get((bench, backend, str(pattern), metric, system))


def requirements(results: Sequence[Result]) -> list[Requirement]:
    """Everything that is required, with the values found."""
    medians = Medians(results)
    return [*instructions(medians), *switches(medians), *iops(medians), *control(medians)]


def instructions(medians: Medians) -> Iterator[Requirement]:
    """Cost of a 4k command."""
    for (backend, access), limit in INSTRUCTION_LIMITS.items():
        pattern = Pattern(access, 4096, 1)
        value = medians.get("instructions", backend, pattern, "instructions")
        yield Requirement("instructions", f"instructions, {backend}, {pattern}", limit, value)


def switches(medians: Medians) -> Iterator[Requirement]:
    """Context switches of null reads beyond the floor's."""
    system, backend = floor("null")
    for pattern in THROUGHPUT:
        if "read" in pattern.access:
            ours = medians.get("throughput", "null", pattern, "switches")
            base = medians.get("throughput", backend, pattern, "switches", system)
            value = None if ours is None or base is None else max(0.0, ours - base)
            what = f"switches per command beyond {system}'s, null, {pattern}"
            yield Requirement("throughput", what, SWITCH_LIMIT, value)


def iops(medians: Medians) -> Iterator[Requirement]:
    """Commands per second beside LIO's."""
    for backend in BACKENDS:
        for pattern in THROUGHPUT:
            value = medians.get("throughput", backend, pattern, "iops", f"{OURS}/lio")
            single = backend == "null" and "read" in pattern.access and pattern.depth == 1
            limit = IOPS_LIMIT_SINGLE if single else IOPS_LIMIT
            yield Requirement(
                "throughput", f"IOPS / LIO's, {backend}, {pattern}", limit, value, at_least=True
            )


def control(medians: Medians) -> Iterator[Requirement]:
    """Times of the control plane."""
    for scale, factor in ((CONTROL_SCALE, 1.0), (CONTROL_SCALE_LARGE, GROWTH)):
        for metric, limit in CONTROL_LIMITS.items():
            value = medians.get("control", "api", scale, metric)
            step = metric.removesuffix("_s").replace("_", " ")
            yield Requirement("control", f"seconds, {scale} mappings, {step}", limit * factor, value)


def judged(results: Sequence[Result], benches: Iterable[str]) -> list[Requirement]:
    """The requirements of these benches."""
    wanted = set(benches)
    return [requirement for requirement in requirements(results) if requirement.bench in wanted]
