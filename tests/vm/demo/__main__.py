# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the modules, boots the machine and runs `wire` in it. Exit status: 0 when every step was as it
should be and the kernel had nothing to complain about.
"""

from __future__ import annotations

import sys

from tests.vm import __main__ as vm
from tests.vm import machine

SECONDS = 900


def main() -> int:
    """Entry point."""
    print("demo: building the modules and booting the machine", flush=True)
    program = [str(machine.PYTHON), "-m", "tests.vm.demo.wire"]
    # The disk's serial number is part of the path of device Db in the example.
    options = ["--udev", "--disk", "db:64", "--timeout", str(SECONDS), *sys.argv[1:]]
    sys.argv[1:] = ["run", *options, "--", *program]
    return vm.main()


if __name__ == "__main__":
    sys.exit(main())
