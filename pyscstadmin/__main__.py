# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m pyscstadmin` is the `scstadmin` command."""

from __future__ import annotations

import sys

from pyscstadmin.cli import main

if __name__ == "__main__":
    sys.exit(main())
