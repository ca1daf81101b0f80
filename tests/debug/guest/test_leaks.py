# SPDX-License-Identifier: GPL-2.0-or-later
"""Last of all: memory that nobody has a pointer to any more (kmemleak), of all tests before this one.

All modules are unloaded by now, so that nothing of theirs may be left.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.debug.guest import faults

SCST_MODULES = ()

KMEMLEAK = Path("/sys/kernel/debug/kmemleak")
MINIMUM_AGE = 6  # s; what is younger is not reported

pytestmark = pytest.mark.skipif(not KMEMLEAK.exists(), reason="this kernel has no kmemleak: make test-debug")


def test_nothing_leaked(out_dir: Path) -> None:
    time.sleep(MINIMUM_AGE)
    # A pointer may be on its way from one place to another while one scan runs.
    for _ in range(2):
        KMEMLEAK.write_text("scan")
    report = KMEMLEAK.read_text()
    (out_dir / "kmemleak.txt").write_text(report)
    found = faults.leaks(report)
    assert not found, f"{len(found)} leaked objects, the first:\n{found[0]}"
