# SPDX-License-Identifier: GPL-2.0-or-later
"""What the places of the shell's tree are made of.

A tree is made from one snapshot, a level at a time as it is looked at, and thrown away after each command: no
place ever shows what was, except to the command that is running.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from configshell import ConfigNode

from pyscstadmin.config import names
from pyscstadmin.config.settings import Rows, Setting, Value
from pyscstadmin.shell.globals import Globals, UsageError
from pyscstadmin.shell.line import quote

__all__ = [
    "Anywhere",
    "GroupMap",
    "Mappable",
    "Named",
    "Node",
    "Place",
    "checked",
    "converted",
    "count",
    "shown",
    "signature",
]

# Commands of the library that have no use here.
_HIDDEN = frozenset(("bookmarks", "get", "set"))

Named = Mapping[str, str]


class Place(NamedTuple):
    """Where LUNs are: a target, and a group of it ('' for the target's own)."""

    target: str
    group: str


def checked(fault: names.Fault | None, text: str) -> str:
    """The text, if there is no fault. Raises `UsageError`."""
    if fault is not None:
        raise UsageError(f"{text!r} {fault.reason}")
    return text


def converted(row: Setting, text: str) -> Value:
    """The value of a setting from its text. Raises `UsageError`."""
    try:
        return row.type.parse(text)
    except ValueError as error:
        raise UsageError(f"{row.name}: {error}") from None


def shown(values: Mapping[str, Value], table: Rows) -> dict[str, str]:
    """Settings as they would be typed."""
    return {name: row.type.to_text(values[name]) for name, row in table.items()}


def count(number: int, what: str) -> str:
    """`1 device`, `2 devices`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


class Node(Globals, ConfigNode):  # type: ignore[misc]
    """A place in the tree. What every place can do is in `Globals`."""

    has_settings = False

    def __init__(self, name: str, parent: Node | None = None, shell: Any = None) -> None:
        self._kids: dict[str, Node] | None = None
        super().__init__(name, parent, shell)
        if parent is not None:
            # The library keeps a set and searches it at each addition; a name finds its child at once here.
            parent._children.clear()

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

    def get_child(self, name: str) -> Node:
        """The place of that name below this one. Raises `UsageError`."""
        try:
            return self.kids[name]
        except KeyError:
            close = get_close_matches(name, self.kids, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UsageError(f"{self.path} has no {name}{hint}") from None

    def get_node(self, path: str | None) -> Node:
        """The place at a path, absolute or from here. Raises `UsageError`."""
        node: Node = self.get_root() if path and path.startswith("/") else self
        for part in (path or "").split("/"):
            if part == "..":
                node = node.parent or node
            elif part not in ("", "."):
                node = node.get_child(part)
        return node

    def list_commands(self) -> tuple[str, ...]:
        """The commands that can be given here."""
        found = super().list_commands()
        return tuple(
            name for name in found if name not in _HIDDEN or (self.has_settings and name != "bookmarks")
        )

    def keywords(self, command: str) -> Rows:
        """Names that a command takes as NAME=VALUE beside its own parameters."""
        return self.rows() if command == "set" else {}

    # Settings.

    def rows(self) -> Rows:
        """The settings that can be set here."""
        return {}

    def settings(self) -> dict[str, str]:
        """What `get` shows, as it would be typed."""
        return {}

    def change(self, values: dict[str, Any]) -> None:
        """Set these, all or none."""
        raise NotImplementedError

    def ui_command_get(self, *setting: str) -> None:
        """Show settings.

        get                 all settings of this place
        get SETTING ...     these
        """
        found = self.settings()
        for name in setting or found:
            if name not in found:
                raise UsageError(f"{self.path} has no setting {name}; it has {', '.join(found)}")
            self.say(f"{name}={quote(found[name]) if found[name] else ''}")

    def ui_command_set(self, **setting: str) -> None:
        """Change settings: all that are given, or none.

        set SETTING=VALUE ...

        `get` lists them. Settings of a device can only be changed by taking its LUNs away for a moment.
        """
        if not setting:
            raise UsageError(f"say what to set: {', '.join(f'{name}=' for name in self.rows())}")
        self.change(self.converted(setting, self.rows()))

    def converted(self, given: Named, table: Rows) -> dict[str, Any]:
        """Values from texts. Raises `UsageError` for a name that is none of the settings."""
        for name in given:
            if name not in table:
                close = get_close_matches(name, table, 1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise UsageError(f"no setting {name} here, there are {', '.join(table)}{hint}")
        return {name: converted(table[name], text) for name, text in given.items()}


class Anywhere(Node):
    """A place that is not inside of a target: `map` needs to be told which."""

    def ui_command_map(
        self,
        device: str,
        target: str,
        group: str = "",
        lun: str = "",
        read_only: str = "no",
        replace: str = "no",
    ) -> None:
        """Make a device a LUN for the initiators of a group.

        map DEVICE target=TARGET [group=GROUP] [lun=NUMBER] [read_only=yes] [replace=yes]

        Without a group: for initiators that no group claims. Without a number it gets the first free one.
        replace=yes takes a number that another device has, in one step for the initiators.
        Example: map disk1 target=t1 group=backup read_only=yes
        """
        self.map(Place(target, group), device, lun, read_only, replace)

    def ui_command_unmap(self, lun: str, target: str, group: str = "") -> None:
        """Take a LUN away from the initiators of a group.

        unmap NUMBER target=TARGET [group=GROUP]      or the name of the device, if it is one LUN only
        """
        self.unmap(Place(target, group), lun)


class Mappable(Node):
    """A place that has LUNs, or is inside of one that has."""

    def place(self) -> Place:
        """Where a LUN goes that is mapped here."""
        raise NotImplementedError

    def ui_command_unmap(self, lun: str) -> None:
        """Take a LUN away from the initiators of this place.

        unmap NUMBER        or the name of the device, if it is one LUN only
        """
        self.unmap(self.place(), lun)


class GroupMap(Mappable):
    """A place that stands for one group, or for the target's own LUNs."""

    def ui_command_map(self, device: str, lun: str = "", read_only: str = "no", replace: str = "no") -> None:
        """Make a device a LUN for the initiators of this place.

        map DEVICE [lun=NUMBER] [read_only=yes] [replace=yes]

        Without a number it gets the first free one. replace=yes takes a number that another device has, in
        one step for the initiators.
        """
        self.map(self.place(), device, lun, read_only, replace)


def signature(node: Node, command: str) -> tuple[list[str], str, bool]:
    """Parameters of a command: those in order, the one that may repeat ('' for none), and whether there are
    named ones beside them.
    """
    spec = inspect.getfullargspec(node.get_command_method(command))
    return spec.args[1:], spec.varargs or "", spec.varkw is not None
