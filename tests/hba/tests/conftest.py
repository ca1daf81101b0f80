# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the package importable as ``hba`` wherever pytest is started, and keeps tests from meeting in it."""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pytest
from hba.entries24 import TargetSide, log_in_target
from nothing_left import nothing_left

__all__ = ("nothing_left",)


@pytest.fixture
def target_side() -> Iterator[TargetSide]:
    """A chip in target mode with a scripted initiator logged in."""
    side = log_in_target()
    yield side
    side[2].close()
