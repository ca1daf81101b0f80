# SPDX-License-Identifier: GPL-2.0-or-later
"""Whom injected faults strike (kmod/core/chance.c, built in user space), against the model."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.chance import choices, numbers

REPO = Path(__file__).resolve().parents[2]


class Chance(ctypes.Structure):
    """struct scst_chance"""

    _fields_ = [
        ("seed", ctypes.c_uint64),
        ("permille", ctypes.c_uint32),
        ("count", ctypes.c_uint64),
        ("asked", ctypes.c_uint64),
        ("hits", ctypes.c_uint64),
    ]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("chance") / "chance.so"
    include = f"-I{Path(__file__).parent / 'kernel'}"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", include]
    subprocess.run(["gcc", *flags, str(REPO / "kmod/core/chance.c"), "-o", str(path)], check=True)
    found = ctypes.CDLL(str(path))
    found.scst_chance_strikes.restype = ctypes.c_bool
    found.scst_chance_over.restype = ctypes.c_bool
    return found


def strikes(library: ctypes.CDLL, chance: Chance, count: int) -> list[bool]:
    """The next choices."""
    return [library.scst_chance_strikes(ctypes.byref(chance)) for _ in range(count)]


def first(seed: int, permille: int, count: int, length: int) -> list[bool]:
    """The model's first choices."""
    return list(itertools.islice(choices(seed, permille, count), length))


def test_the_model_is_splitmix64() -> None:
    """As its author's program has them."""
    assert list(itertools.islice(numbers(1234567), 3)) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(1, 1000), st.integers(0, 20))
def test_as_the_model(library: ctypes.CDLL, seed: int, permille: int, count: int) -> None:
    """The same choices, and the same again from the beginning; none after the last."""
    chance = Chance(seed, permille, count)
    for _ in range(2):
        library.scst_chance_begin(ctypes.byref(chance))
        wanted = first(seed, permille, count, 60)
        assert strikes(library, chance, 60) == wanted
        assert chance.hits == sum(wanted)
        assert library.scst_chance_over(ctypes.byref(chance)) == (count > 0 and sum(wanted) == count)


@pytest.mark.parametrize("permille", [1, 10, 500, 999])
def test_as_often_as_it_says(library: ctypes.CDLL, permille: int) -> None:
    """Of 200 000 within a twentieth, or what chance allows of few; sure is sure."""
    chance = Chance(42, permille)
    found = sum(strikes(library, chance, 200_000)) / 200
    assert abs(found - permille) <= max(permille / 20, 0.4)
    assert all(strikes(library, Chance(permille, 1000), 1000))
