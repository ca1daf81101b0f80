# SPDX-License-Identifier: GPL-2.0-or-later
"""The arithmetic of limits (kmod/core/bucket.c, built in user space), against exact fractions."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

REPO = Path(__file__).resolve().parents[2]
SECOND = 10**9
RATE_MAX, TAKE_MAX, BURST_MAX = 10**12, 2**32 - 1, 60 * SECOND


class Bucket(ctypes.Structure):
    """struct scst_bucket"""

    _fields_ = [(name, ctypes.c_uint64) for name in ("rate", "burst", "full_at", "part")]


class Kernel:
    """A bucket of the kernel's."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.bucket, self.lib = Bucket(), library

    def set(self, rate: int, burst: int, now: int) -> None:
        u64 = ctypes.c_uint64
        self.lib.scst_bucket_set(ctypes.byref(self.bucket), u64(rate), u64(burst), u64(now))

    def wait(self, units: int, now: int) -> int:
        found = self.lib.scst_bucket_wait(
            ctypes.byref(self.bucket), ctypes.c_uint32(units), ctypes.c_uint64(now)
        )
        return int(found)

    def take(self, units: int, now: int) -> None:
        self.lib.scst_bucket_take(ctypes.byref(self.bucket), ctypes.c_uint32(units), ctypes.c_uint64(now))


@dataclass
class Model:
    """A bucket with a level, in fractions: it has *level* units at the time *at*, and *holds* as many."""

    rate: int = 0
    burst: int = 0
    level: Fraction = field(default_factory=Fraction)
    at: int = 0

    @property
    def holds(self) -> Fraction:
        return Fraction(self.rate * self.burst, SECOND)

    def fill(self, now: int) -> None:
        self.level = min(self.holds, self.level + Fraction(self.rate * (now - self.at), SECOND))
        self.at = now

    def missing(self, units: int, now: int) -> Fraction:
        """Nanoseconds until so much is there, or it is full."""
        self.fill(now)
        return max(Fraction(), (min(Fraction(units), self.holds) - self.level) * SECOND / self.rate)

    def take(self, units: int, now: int) -> None:
        self.fill(now)
        self.level -= units


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("bucket") / "bucket.so"
    include = f"-I{Path(__file__).parent / 'kernel'}"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", include]
    subprocess.run(["gcc", *flags, str(REPO / "kmod/core/bucket.c"), "-o", str(path)], check=True)
    found = ctypes.CDLL(str(path))
    found.scst_bucket_wait.restype = ctypes.c_uint64
    return found


rates = st.one_of(st.integers(1, RATE_MAX), st.integers(1, 1000), st.sampled_from([3, 7, 999_999, RATE_MAX]))
bursts = st.one_of(st.integers(1, BURST_MAX), st.sampled_from([1, 10**6, 10**8, BURST_MAX]))
units = st.one_of(st.integers(0, TAKE_MAX), st.integers(0, 10), st.sampled_from([1, 4096, TAKE_MAX]))
times = st.integers(0, 2**60)
# What comes next: how much, and how long after the one before; None: as soon as it may.
steps = st.lists(
    st.tuples(units, st.one_of(st.none(), st.integers(0, 10**10), st.integers(0, 1000))), max_size=30
)


@settings(max_examples=400, deadline=None)
@given(rates, bursts, times, steps)
def test_as_the_model(
    library: ctypes.CDLL, rate: int, burst: int, now: int, steps: list[tuple[int, int | None]]
) -> None:
    """It says when to the nanosecond, rounded up; and then it lets go."""
    kernel = Kernel(library)
    kernel.set(rate, burst, now)
    model = Model(rate, burst, Fraction(rate * burst, SECOND), now)
    for wanted, later in steps:
        now += later or 0
        wait, missing = kernel.wait(wanted, now), model.missing(wanted, now)
        assert wait == -(-missing // 1)
        if later is not None and wait:
            continue
        now += wait
        if now >= 2**62:
            return
        assert kernel.wait(wanted, now) == 0
        kernel.take(wanted, now)
        model.take(wanted, now)


@settings(max_examples=300, deadline=None)
@given(rates, bursts, times, st.lists(units, min_size=1, max_size=40))
def test_never_more_than_burst_and_rate(
    library: ctypes.CDLL, rate: int, burst: int, now: int, wanted: list[int]
) -> None:
    """In no interval, of those who take all they can; the burst is one taking if that is more."""
    kernel = Kernel(library)
    kernel.set(rate, burst, now)
    taken: list[tuple[int, int]] = []
    for one in wanted:
        now += kernel.wait(one, now)
        if now >= 2**62:
            break
        kernel.take(one, now)
        taken.append((now, one))
    for first in range(len(taken)):
        total, most = 0, Fraction(rate * burst, SECOND)
        for at, one in taken[first:]:
            total += one
            most = max(most, Fraction(one))
            assert total <= most + Fraction(rate * (at - taken[first][0]), SECOND)


@settings(max_examples=200, deadline=None)
@given(rates, bursts, st.integers(1, 10**6), st.integers(1, 300))
def test_never_less_than_the_rate(library: ctypes.CDLL, rate: int, burst: int, size: int, count: int) -> None:
    """Who takes as soon as he may does not fall behind, whatever is rounded."""
    kernel = Kernel(library)
    now = SECOND
    kernel.set(rate, burst, now)
    for _ in range(count):
        now += kernel.wait(size, now)
        kernel.take(size, now)
    # The time of the last is when all before it, or it as well, are paid for.
    assert now - SECOND <= Fraction(count * size * SECOND, rate) + count


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.just(0), rates), bursts, units), min_size=1, max_size=10), times)
def test_never_stuck_by_a_change(library: ctypes.CDLL, changes: list[tuple[int, int, int]], now: int) -> None:
    """What was taken at another rate keeps nobody waiting for longer than it takes to fill."""
    kernel = Kernel(library)
    for rate, burst, wanted in changes:
        before = (kernel.bucket.rate, kernel.bucket.burst, kernel.bucket.full_at, kernel.bucket.part)
        kernel.set(rate, burst, now)
        if before[:2] != (rate, burst):
            assert kernel.wait(wanted, now) <= burst
            assert kernel.bucket.full_at >= min(before[2], now + burst), "no new filling"
        kernel.set(rate, burst, now + 5)
        kernel.take(wanted, now)
        if not rate:
            assert kernel.wait(TAKE_MAX, now) == 0


@pytest.mark.parametrize("now", [0, 1, 2**63])
def test_at_the_ends(library: ctypes.CDLL, now: int) -> None:
    """The most of everything overflows nothing, and a machine that has just started has a full bucket."""
    kernel = Kernel(library)
    kernel.set(1, 1, now)
    assert kernel.wait(TAKE_MAX, now) == 0
    kernel.take(TAKE_MAX, now)
    assert kernel.wait(1, now) == TAKE_MAX * SECOND
    assert kernel.wait(TAKE_MAX, now) == TAKE_MAX * SECOND
    fast = Kernel(library)
    fast.set(RATE_MAX, BURST_MAX, now)
    for _ in range(RATE_MAX * 60 // TAKE_MAX):
        assert fast.wait(TAKE_MAX, now) == 0
        fast.take(TAKE_MAX, now)
    assert fast.wait(TAKE_MAX, now) > 0
