# SPDX-License-Identifier: GPL-2.0-or-later
"""What says whether bystanders wait: it sees that they do, and does not take a busy machine for it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.iscsi.waits import Sample, Verdict, judge, percentile, within

COMMAND, BESIDE = 0.0006, 0.0005
SEEDS = range(60)
Machine = Callable[[random.Random, float], float]
Wait = Callable[[random.Random], float]


def idle(chance: random.Random, length: float) -> float:
    """A little more or less."""
    return length * (1 + chance.expovariate(10))


def slow(chance: random.Random, length: float) -> float:
    return 5 * idle(chance, length)


def busy(chance: random.Random, length: float) -> float:
    """It does other things: the longer something takes, the more often; for some milliseconds then."""
    away = chance.expovariate(1 / 0.006) if chance.random() < 100 * length else 0
    return idle(chance, length) + away


def standing(chance: random.Random, length: float) -> float:
    """Now and then, for a second."""
    return idle(chance, length) + (1 if chance.random() < 10 * length else 0)


def patient(_: random.Random) -> float:
    return 0


def run(chance: random.Random, count: int, machine: Machine, wait: Wait = patient) -> list[Sample]:
    """So many commands, one a second."""
    return [
        Sample(at, machine(chance, COMMAND) + wait(chance), machine(chance, BESIDE)) for at in range(count)
    ]


def verdict(seed: int, during: Machine, else_: Machine, wait: Wait = patient) -> Verdict:
    """Of 500 commands, and 500 at other times."""
    chance = random.Random(seed)
    return judge(run(chance, 500, during, wait), run(chance, 500, else_))


@pytest.mark.parametrize("during", [idle, slow, busy, standing])
@pytest.mark.parametrize("else_", [idle, slow, busy, standing])
def test_a_machine_makes_no_difference(during: Machine, else_: Machine) -> None:
    for seed in SEEDS:
        found = verdict(seed, during, else_)
        assert found.late <= found.allowed, (seed, found)


@pytest.mark.parametrize(
    ("machine", "one_of", "seconds"), [(idle, 12, 0.002), (slow, 12, 0.01), (busy, 8, 0.1)]
)
def test_who_waits_is_seen(machine: Machine, one_of: int, seconds: float) -> None:
    """Some for a while; all of them."""
    for seed in SEEDS:
        found = verdict(seed, machine, machine, lambda chance: seconds if chance.random() < 1 / one_of else 0)
        assert found.late > found.allowed, (seed, found)
        found = verdict(seed, machine, machine, lambda _: seconds)
        assert found.late == 500 > found.allowed


def test_percentile() -> None:
    assert percentile(range(1, 101)) == 99
    assert percentile([5.0]) == 5


def test_what_was_over_in_a_time() -> None:
    samples = [Sample(float(at), 0.5, 0.1) for at in range(1000)]
    found = within(samples, [(0, 99.2), (100, 110.5)])
    assert [one.at for one in found] == [*range(99), *range(100, 111)]
