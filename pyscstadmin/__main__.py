# SPDX-License-Identifier: GPL-2.0-or-later
"""The `scstadmin` command, also `python -m pyscstadmin`: the one place that knows all its faces."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from pyscstadmin.cli import main as cli

__all__ = ["FACES", "main"]


# Each is imported only when it is wanted: they bring what the other commands do not need.


def _watch(args: Namespace) -> int:
    from pyscstadmin.watch import loop

    return loop.run(args)


def _shell(args: Namespace) -> int:
    from pyscstadmin.shell import main as shell

    return shell.run(args)


FACES: cli.Faces = {"watch": _watch, "shell": _shell}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: that of this process); returns the exit code."""
    return cli.main(argv, FACES)


if __name__ == "__main__":
    sys.exit(main())
