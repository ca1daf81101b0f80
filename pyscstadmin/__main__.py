# SPDX-License-Identifier: GPL-2.0-or-later
"""The `scstadmin` command, also `python -m pyscstadmin`: the one place that knows all its faces."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyscstadmin.cli import main as cli

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context
    from pyscstadmin.cli.places import Place

__all__ = ["FACES", "main"]


# Each is imported only when it is wanted: they bring what the other commands do not need.


def _watch(args: Namespace) -> int:
    from pyscstadmin.watch import loop

    return loop.run(args)


def _shell(args: Namespace) -> int:
    from pyscstadmin.shell import main as shell

    return shell.run(args)


def _importing(args: Namespace) -> int:
    from pyscstadmin.cli import importing

    return importing.run(args)


def _draw(context: Context, place: Place, depth: int | None) -> list[str]:
    from pyscstadmin.shell import tree

    return tree.draw(context, place, depth)


FACES = cli.Faces(_watch, _shell, _importing, _draw)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: that of this process); returns the exit code."""
    return cli.main(argv, FACES)


if __name__ == "__main__":
    sys.exit(main())
