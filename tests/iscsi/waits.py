# SPDX-License-Identifier: GPL-2.0-or-later
"""Is the 99th percentile of a command's time more than twice as long at some times as at others?

On a machine that has other things to do, too. Beside each command something is timed that takes the same way
through the machine but has nothing to do with the target. Late is what takes more than twice the percentile
of the undisturbed time. So of the commands of the disturbed time one of a hundred may be late, and besides as
many as are late of what is beside them, which is the machine's doing; and, as these are counts of what comes
by chance, four standard deviations more. On an idle machine this is as strict as it sounds; one that is busy
makes it see less, but not fail.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["Sample", "Span", "Verdict", "judge"]

LATE = 2.0
DEVIATIONS = 4.0
# Begin and end of a time.
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """When a command began, how long it took, and what was timed beside it."""

    at: float
    took: float
    beside: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of so many disturbed commands so many were *late*; *allowed*; and the percentiles, in seconds."""

    commands: int
    late: int
    allowed: float
    undisturbed: float
    disturbed: float
    beside: float  # disturbed, of what is beside the commands

    def __str__(self) -> str:
        """A line for people."""
        usual, now, beside = (f"{1000 * one:.2f}" for one in (self.undisturbed, self.disturbed, self.beside))
        counts = f"{self.late} of {self.commands} late, {self.allowed:.0f} may be"
        return f"p99 {now} ms, undisturbed {usual} ms, beside it {beside} ms; {counts}"


def percentile(values: Iterable[float]) -> float:
    """The 99th: of a hundred, all but one are no more."""
    found = sorted(values)
    return found[(len(found) * 99 + 99) // 100 - 1]


def within(samples: Sequence[Sample], spans: Iterable[Span]) -> list[Sample]:
    """Those that were over in one of these times."""
    return [one for begin, end in spans for one in samples if begin <= one.at and one.at + one.took <= end]


def judge(disturbed: Sequence[Sample], undisturbed: Sequence[Sample]) -> Verdict:
    """See the file's description. Neither may be empty."""
    usual = percentile(one.took for one in undisturbed)
    # How much longer a command is than what is beside it; and so, how much more often the machine strikes it.
    longer = median(one.took for one in undisturbed) / median(one.beside for one in undisturbed)
    limit = LATE * max(usual, longer * percentile(one.beside for one in undisturbed))
    late = sum(one.took > limit for one in disturbed)
    machine = max(longer, 1) * sum(one.beside * longer > limit for one in disturbed)
    expected = len(disturbed) / 100 + machine
    return Verdict(
        len(disturbed),
        late,
        expected + DEVIATIONS * math.sqrt(expected) + 1,
        usual,
        percentile(one.took for one in disturbed),
        percentile(one.beside for one in disturbed),
    )
