# SPDX-License-Identifier: GPL-2.0-or-later
"""What the places of the shell's tree are made of.

The library draws the tree, keeps its places, and dispatches commands to them; which commands there are, and
what they do, is the table of verbs. A place is made when somebody goes there or looks at it, from what is
there at that moment, and thrown away after the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pyscstadmin.cli.context import Context
from pyscstadmin.cli.engine import run, understand, unknown
from pyscstadmin.cli.places import Place
from pyscstadmin.cli.table import at
from pyscstadmin.cli.verbs import Result
from pyscstadmin.cli.words import Word
from pyscstadmin.shell.library import ConfigNode

__all__ = ["Node", "count"]


def count(number: int, what: str) -> str:
    """`1 device`, `2 devices`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


class Node(ConfigNode):  # type: ignore[misc]
    """A place in the tree."""

    def __init__(self, place: Place, parent: Node | None = None, shell: Any = None) -> None:
        self.place = place
        self._kids: dict[str, Node] | None = None
        super().__init__(place.path.rpartition("/")[2] or "/", parent, shell)
        if parent is not None:
            # The library keeps a set and searches it at each addition; a name finds its child at once here.
            parent._children.clear()

    @property
    def context(self) -> Context:
        """What all places share."""
        found: Context = self.shell.context
        return found

    def places(self) -> Iterator[Node]:
        """The places below, made anew."""
        return iter(())

    @property
    def children(self) -> list[Node]:
        """The places below, in order."""
        return list(self.kids.values())

    @property
    def kids(self) -> dict[str, Node]:
        """The places below, by name."""
        if self._kids is None:
            self._kids = {node.name: node for node in self.places()}
        return self._kids

    # Commands.

    def list_commands(self) -> tuple[str, ...]:
        """The commands that can be given here."""
        return tuple(at(self.place))

    def get_command_method(self, command: str) -> Callable[..., Result]:
        """What carries out a command, given its words. Raises `WrongUsage`."""
        if command not in self.list_commands():
            raise unknown(command, self.list_commands(), self.place.path)

        def carry_out(*words: Word) -> Result:
            return run(self.context, understand(command, words, self.place))

        return carry_out
