# SPDX-License-Identifier: GPL-2.0-or-later
"""A share of the tests, where all of them take too long: ``SCST_SHARE=2/5`` is the second fifth.

Every file, and every test with many parameters, has some in each share; all shares together are all tests.
What looks for leaks of all that ran before it is in every one.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["LEAKS", "WHOLE", "Share", "of_environment"]

LEAKS = "test_leaks.py"


class Share(NamedTuple):
    """The one with a number, from 1, of so many."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """``2/5``. Raises ValueError that says what is wrong."""
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise ValueError(f"a share is NUMBER/OF, from 1/OF to OF/OF, not {text!r}")
        return cls(int(number), int(of))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def taken(self, files: Iterable[str]) -> list[bool]:
        """Which of some tests are in it, by the files that they are in, in order.

        Files begin with different shares, or those with few tests would all be in the first.
        """
        places: Counter[str] = Counter()
        found = []
        for file in files:
            place = zlib.crc32(file.encode()) + places[file]
            places[file] += 1
            found.append(file == LEAKS or place % self.of == self.number - 1)
        return found


WHOLE = Share(1, 1)


def of_environment() -> Share:
    """What this run takes."""
    return Share.parse(os.environ.get("SCST_SHARE", str(WHOLE)))
