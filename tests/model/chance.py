# SPDX-License-Identifier: GPL-2.0-or-later
"""Whom an injected fault strikes: the numbers of SplitMix64, of which so many of a thousand do."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["choices", "numbers"]

_MASK = 2**64 - 1


def numbers(seed: int) -> Iterator[int]:
    """The numbers of a seed."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        mixed = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & _MASK
        yield mixed ^ (mixed >> 31)


def choices(seed: int, permille: int, count: int = 0) -> Iterator[bool]:
    """Whether each command in turn is struck; after *count* of them none is, if it is not 0."""
    hits = 0
    for number in numbers(seed):
        struck = (number >> 32) * 1000 >> 32 < permille and not (count and hits >= count)
        hits += struck
        yield struck
