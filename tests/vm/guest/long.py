# SPDX-License-Identifier: GPL-2.0-or-later
"""What takes long and finds little more: run by `make test-long`, and left out of `make test`.

One case of each kind is in `make test`; further combinations are marked, and tried with ``SCST_LONG=1``,
which also has each go on for longer, or with ``SCST_LONG=each``, which has not.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

__all__ = ["EACH", "LONG", "more", "often"]

LONG = os.environ.get("SCST_LONG") == "1"
EACH = LONG or os.environ.get("SCST_LONG") == "each"


def more(*values: Any) -> list[Any]:
    """Further values of a parameter of a test or a fixture; tuples where there are several parameters."""
    return [
        pytest.param(*value if isinstance(value, tuple) else (value,), marks=pytest.mark.long)
        for value in values
    ]


def often(usual: int, times: int) -> int:
    """How often: *usual*, or in the long run *times*."""
    return times if LONG else usual
