#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The one entry point: set up the cache, run unit tests, run tests in VMs, fuzz, measure, or serve boards."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hba.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
