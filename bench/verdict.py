# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures this project requires of itself, and whether a list of results meets them.

All figures are per I/O of fio, never per request that an initiator's block layer has made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from bench import sharing
from bench.baseline import bound, comparable, is_ratio, worse
from bench.pattern import (
    BACKENDS,
    DIGEST,
    FAR,
    INSTRUCTIONS,
    ISCSI,
    LARGE,
    SESSIONS,
    SESSIONS_PATTERN,
    THROUGHPUT,
    Pattern,
    floor,
    speed,
)
from bench.samples import OURS, Result

# Instructions per 4k I/O at queue depth 1, by backend and access: at most this.
INSTRUCTION_LIMITS = {
    ("null", "randread"): 10_450.0,
    ("null", "randwrite"): 10_330.0,
    ("file", "randread"): 11_050.0,
    ("blk", "randread"): 12_300.0,
}
# Instructions per 256k read of a block device: a part of LIO's, and of what the device takes without SCSI.
LARGE_LIMITS = {"lio": 0.37, "null_blk": 1.20}
# Cache lines that our own modules have come from other CPUs, per I/O, at `sharing.JUDGED_CPUS` CPUs.
LINE_LIMITS = {"null": 0.05, "blk": 0.05, FAR: 2.0}
# Context switches per I/O beyond the floor's, null reads.
SWITCH_LIMIT = 0.1
# Speed as a multiple of LIO's: in every cell, and of null reads at queue depth 1.
SPEED_LIMIT, SPEED_LIMIT_SINGLE = 1.0, 2.0
# Fibre Channel, the target's side: instructions as a part of LIO's, by pattern; threads woken per I/O.
FC_LIMITS = {"randread 4k qd1 j1": 0.7, "read 256k qd1 j1": 0.8}
FC_WAKEUP_LIMITS = {"randread 4k qd1 j1": 1.0, "randwrite 4k qd1 j1": 2.0}
FC_BACKENDS = ("null", "file")
# iSCSI with both ends on one machine, null device: instructions, and as a part of LIO's, by pattern.
ISCSI_LIMITS = {"randread 4k qd1 j1": 45_000.0, "read 256k qd1 j1": 250_000.0}
ISCSI_RATIOS = {
    "randread 4k qd1 j1": 0.60,
    "randread 4k qd32 j1": 0.60,
    "randwrite 4k qd1 j1": 0.62,
    "randwrite 4k qd32 j1": 0.62,
    "read 256k qd1 j1": 0.30,
}
# ... of a read from the page cache beyond null's; context switches of a read, all of them the initiator's.
ISCSI_READ, ISCSI_FILE_LIMIT, ISCSI_SWITCH_LIMIT = "randread 4k qd1 j1", 3_000.0, 3.05
# ... with both digests, as a multiple of what it is without.
ISCSI_DIGEST_LIMIT, ISCSI_DIGEST_PATTERNS = 1.15, ("randread 4k qd1 j1", "randwrite 4k qd1 j1")
# ... two sessions on two CPUs, as a multiple of one's speed.
ISCSI_SPEEDUP = 1.7
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
    costs = (*instructions(medians), *large(medians), *lines(medians))
    rates = (*switches(medians), *speeds(medians), *control(medians))
    return [*costs, *rates, *fibre_channel(medians), *iscsi(medians)]


def instructions(medians: Medians) -> Iterator[Requirement]:
    """Cost of a 4k I/O."""
    for (backend, access), limit in INSTRUCTION_LIMITS.items():
        pattern = Pattern(access, 4096, 1)
        value = medians.get("instructions", backend, pattern, "instructions")
        yield Requirement("instructions", f"instructions per I/O, {backend}, {pattern}", limit, value)


def large(medians: Medians) -> Iterator[Requirement]:
    """Cost of a large read beside others'."""
    (pattern,) = (pattern for pattern in INSTRUCTIONS if pattern.block >= LARGE)
    for system, limit in LARGE_LIMITS.items():
        value = medians.get("instructions", "blk", pattern, "instructions", f"{OURS}/{system}")
        yield Requirement("instructions", f"instructions per I/O / {system}'s, blk, {pattern}", limit, value)


def lines(medians: Medians) -> Iterator[Requirement]:
    """Cache lines that move inside our modules."""
    for backend, limit in LINE_LIMITS.items():
        for access in sharing.PATTERNS:
            pattern = sharing.pattern(access.access, sharing.JUDGED_CPUS)
            value = medians.get("sharing", backend, pattern, "own_lines")
            yield Requirement("sharing", f"own cache lines moved per I/O, {backend}, {pattern}", limit, value)
    for access in sharing.PATTERNS:
        pattern = sharing.pattern(access.access, sharing.JUDGED_CPUS, ISCSI)
        value = medians.get("sharing", "null", pattern, "own_lines")
        what = f"own cache lines moved per I/O, null, {pattern}"
        yield Requirement("sharing", what, LINE_LIMITS["null"], value)


def switches(medians: Medians) -> Iterator[Requirement]:
    """Context switches of null reads beyond the floor's."""
    system, backend = floor("null")
    for pattern in THROUGHPUT:
        if "read" in pattern.access:
            ours = medians.get("throughput", "null", pattern, "switches")
            base = medians.get("throughput", backend, pattern, "switches", system)
            value = None if ours is None or base is None else max(0.0, ours - base)
            what = f"switches per I/O beyond {system}'s, null, {pattern}"
            yield Requirement("throughput", what, SWITCH_LIMIT, value)


def speeds(medians: Medians) -> Iterator[Requirement]:
    """I/Os or bytes per second beside LIO's."""
    for backend in BACKENDS:
        for pattern in THROUGHPUT:
            metric, unit = speed(pattern)
            value = medians.get("throughput", backend, pattern, metric, f"{OURS}/lio")
            single = backend == "null" and "read" in pattern.access and pattern.depth == 1
            limit = SPEED_LIMIT_SINGLE if single else SPEED_LIMIT
            yield Requirement(
                "throughput", f"{unit} / LIO's, {backend}, {pattern}", limit, value, at_least=True
            )


def fibre_channel(medians: Medians) -> Iterator[Requirement]:
    """Cost of commands on the target's side of Fibre Channel, beside LIO's; and context switches."""
    for backend in FC_BACKENDS:
        for pattern, limit in FC_LIMITS.items():
            value = medians.get("fc", backend, pattern, "instructions", f"{OURS}/lio")
            yield Requirement("fc", f"instructions per I/O / lio's, {backend}, {pattern}", limit, value)
        for pattern, limit in FC_WAKEUP_LIMITS.items():
            value = medians.get("fc", backend, pattern, "wakeups")
            yield Requirement("fc", f"threads woken per I/O, {backend}, {pattern}", limit, value)


def beyond(value: float | None, base: float | None) -> float | None:
    """The difference of two values, where both were measured."""
    return None if value is None or base is None else value - base


def multiple(value: float | None, base: float | None) -> float | None:
    """The quotient of two values, where both were measured."""
    return None if value is None or not base else value / base


def iscsi(medians: Medians) -> Iterator[Requirement]:
    """Cost of commands over iSCSI, initiator included, beside LIO; of files, of digests; context switches."""

    def found(backend: str, pattern: str, metric: str = "instructions", system: str = OURS) -> float | None:
        return medians.get(ISCSI, backend, pattern, metric, system)

    for pattern, limit in ISCSI_LIMITS.items():
        yield Requirement(
            ISCSI, f"iscsi: instructions per I/O, null, {pattern}", limit, found("null", pattern)
        )
    for pattern, limit in ISCSI_RATIOS.items():
        value = found("null", pattern, system=f"{OURS}/lio")
        yield Requirement(ISCSI, f"iscsi: instructions per I/O / lio's, null, {pattern}", limit, value)
    value = beyond(found("file", ISCSI_READ), found("null", ISCSI_READ))
    what = f"iscsi: instructions per I/O beyond null's, file, {ISCSI_READ}"
    yield Requirement(ISCSI, what, ISCSI_FILE_LIMIT, value)
    value = found("null", ISCSI_READ, "switches")
    yield Requirement(ISCSI, f"iscsi: switches per I/O, null, {ISCSI_READ}", ISCSI_SWITCH_LIMIT, value)
    for pattern in ISCSI_DIGEST_PATTERNS:
        value = multiple(found(DIGEST, pattern), found("null", pattern))
        what = f"iscsi: instructions per I/O / those without digests, {pattern}"
        yield Requirement(ISCSI, what, ISCSI_DIGEST_LIMIT, value)
    value = medians.get(SESSIONS, "null", SESSIONS_PATTERN, "speedup")
    what = f"iscsi: two sessions on two CPUs / one, null, {SESSIONS_PATTERN}"
    yield Requirement(SESSIONS, what, ISCSI_SPEEDUP, value, at_least=True)


def control(medians: Medians) -> Iterator[Requirement]:
    """Times of the control plane."""
    for scale, factor in ((CONTROL_SCALE, 1.0), (CONTROL_SCALE_LARGE, GROWTH)):
        for metric, limit in CONTROL_LIMITS.items():
            value = medians.get("control", "api", scale, metric)
            step = metric.removesuffix("_s").replace("_", " ")
            yield Requirement("control", f"seconds, {scale} mappings, {step}", limit * factor, value)


def progress(results: Sequence[Result], old: Sequence[Result], bench: str) -> Iterator[Requirement]:
    """Our figures of a bench beside those of the last commit: how many are no worse, and each that is."""
    pairs = list(comparable(results, old, bench))
    bad = [(now, was) for now, was in pairs if worse(now, was)]
    if pairs:
        good = float(len(pairs) - len(bad))
        yield Requirement(bench, f"{bench}: figures no worse than committed ones", len(pairs), good, True)
    for now, was in bad:
        what = f"{now.metric}, {now.system}, {now.backend}, {now.pattern}, beside the committed figure"
        value = now.max if is_ratio(now) else now.median
        yield Requirement(bench, what, bound(was) or 0.0, value, is_ratio(now))


def judged(
    results: Sequence[Result], benches: Iterable[str], old: Sequence[Result] = ()
) -> list[Requirement]:
    """The requirements of these benches; *old*: results that ours must not be worse than."""
    wanted = tuple(benches)
    required = [requirement for requirement in requirements(results) if requirement.bench in wanted]
    return required + [found for bench in wanted for found in progress(results, old, bench)]
