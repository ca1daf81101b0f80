# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the package importable as ``hba`` wherever pytest is started, and keeps tests from meeting in it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from nothing_left import nothing_left

__all__ = ("nothing_left",)
