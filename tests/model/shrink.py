# SPDX-License-Identifier: GPL-2.0-or-later
"""Delta debugging: the fewest steps, found by leaving parts out, with which something still goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def shrink(whole: list[T], wrong: Callable[[list[T]], bool], attempts: int = 200) -> list[T]:
    """What is left of *whole*, with which *wrong* still says so. Asks at most *attempts* times."""
    left, part = whole, max(1, len(whole) // 2)
    while attempts > 0:
        start, smaller = 0, False
        while start < len(left) and attempts > 0:
            tried = left[:start] + left[start + part :]
            attempts -= 1
            if wrong(tried):
                left, smaller = tried, True
            else:
                start += part
        if part == 1 and not smaller:
            break
        part = max(1, part // 2)
    return left
