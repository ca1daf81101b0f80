# SPDX-License-Identifier: GPL-2.0-or-later
"""What the objects of the simulated tree are made of.

`tree.SimTree` finds the object an operation is about and calls it; an object refuses by raising `Refused`
before it has changed anything.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass

from pyscstadmin.config import names
from pyscstadmin.config.names import Fault
from pyscstadmin.config.settings import Setting, Value
from pyscstadmin.kernel.backing import Machine
from pyscstadmin.sim.force import InForce
from pyscstadmin.sim.ports import SimPorts

__all__ = [
    "RO",
    "RW",
    "WO",
    "Attribute",
    "Fixed",
    "Item",
    "Link",
    "Linked",
    "Node",
    "Refused",
    "Served",
    "Top",
    "refuse",
    "stored",
    "to_bool",
    "to_number",
    "within",
]

_DAY = 24 * 3600 * 1000


class Refused(Exception):
    """An operation is refused with `errno`."""

    def __init__(self, number: int) -> None:
        self.errno = number
        super().__init__(number)


@dataclass(frozen=True, slots=True)
class Attribute:
    """Access to one attribute."""

    readable: bool
    writable: bool


RO = Attribute(True, False)
RW = Attribute(True, True)
WO = Attribute(False, True)


@dataclass(frozen=True, slots=True)
class Link:
    """The link of a LUN, or of a member of a device group."""

    owner: Linked
    target: Node

    @property
    def path(self) -> str:
        """What it points at, from the root of the tree."""
        return self.target.path


class Node:
    """A directory. This class is a default group: nothing can be made in it, and it cannot be removed."""

    # Of some kinds there may be a million.
    __slots__ = ("children", "name", "parent")

    def __init__(self, parent: Node | None, name: str, children: dict[str, Node] | None = None) -> None:
        self.parent = parent
        self.name = name
        self.children = {} if children is None else children

    @property
    def path(self) -> str:
        """The path from the root of the tree."""
        above = self.parent.path if self.parent else ""
        return f"{above}/{self.name}" if above else self.name

    @property
    def root(self) -> Top:
        """The top of the tree."""
        assert self.parent is not None
        return self.parent.root

    @property
    def links(self) -> Mapping[str, Link]:
        """The links in this directory."""
        return {}

    def attributes(self) -> Mapping[str, Attribute]:
        """The attributes in this directory."""
        return {}

    def has(self, name: str) -> bool:
        """Whether anything of that name is in this directory. `.` and `..` are in each."""
        return name in (".", "..") or name in self.children or name in self.links or name in self.attributes()

    def child(self, name: str) -> Node | Link | str:
        """What is in this directory under a name."""
        if name in self.children:
            return self.children[name]
        if name in self.links:
            return self.links[name]
        if name in self.attributes():
            return name
        raise Refused(errno.ENOENT)

    def make(self, name: str) -> None:
        """mkdir in this directory."""
        raise Refused(errno.EPERM)

    def remove(self) -> None:
        """rmdir of this directory."""
        raise Refused(errno.EPERM)

    def show(self, name: str) -> str:
        """Read an attribute."""
        raise Refused(errno.EIO)

    def store(self, name: str, text: str) -> None:
        """Write an attribute."""
        raise Refused(errno.EIO)


class Item(Node):
    """A directory made by mkdir."""

    __slots__ = ()

    def pointed_at(self) -> bool:
        """Whether a link points here."""
        return False

    def leaving(self) -> None:
        """Called just before the directory goes."""

    def remove(self) -> None:
        """rmdir, with the refusals of configfs in its order."""
        if self.pointed_at():
            raise Refused(errno.EBUSY)
        inside = self.children.values()
        if self.links or any(not isinstance(c, Fixed) or c.children or c.links for c in inside):
            raise Refused(errno.ENOTEMPTY)
        assert self.parent is not None
        self.leaving()
        del self.parent.children[self.name]


class Fixed(Node):
    """A default group in which items are made."""

    __slots__ = ()


class Linked(Item):
    """A directory in which a link is made."""

    __slots__ = ()

    def link(self, name: str, target: Node) -> None:
        """symlink in this directory."""
        raise NotImplementedError

    def unlink(self) -> None:
        """Remove the link."""
        raise NotImplementedError

    def renumber(self, number: int) -> None:
        """What it points at gets another number; it may refuse."""


class Served(Item):
    """What a link can point at."""

    enabled: bool
    # Those whose links point here: LUNs, and device groups.
    luns: set[Linked]
    grouped: set[Linked]


class Top(Node):
    """The root of a tree, as far as what is below needs it."""

    devices: Node
    targets: Node
    portals: Node
    backings: Machine
    ports: SimPorts
    # What is in force where the tree differs from it; None: the tree is in force.
    in_force: InForce | None
    # Devices that were parked because their backing is gone, since that was asked last.
    lost: list[Served]
    # Paths whose backing does not answer: opening it takes until they are out of here. Only for tests.
    hung: set[str]
    # Parts of identities that enabled devices have, and nobody else can.
    identities: dict[tuple[str, str], Served]

    @property
    def root(self) -> Top:
        """Itself."""
        return self

    def before_change(self) -> InForce | None:
        """Call before any change of the access directories. Gives where to note what is in force."""
        raise NotImplementedError

    def after_change(self) -> None:
        """Call after a change that initiators could notice: with autocommit, it is in force."""
        raise NotImplementedError

    def uses(self, device: str) -> bool:
        """Whether a LUN in force points at a device, while it may not in the tree."""
        raise NotImplementedError


def refuse(fault: Fault | None) -> None:
    """Refuse if there is a fault."""
    if fault is not None:
        raise Refused(fault.errno)


def to_bool(text: str) -> bool:
    """Parse a boolean; EINVAL."""
    value = names.parse_bool(text)
    if value is None:
        raise Refused(errno.EINVAL)
    return value


def to_number(text: str, low: int, high: int) -> int:
    """Parse a number; EINVAL, ERANGE."""
    value = names.parse_number(text)
    if value is None:
        raise Refused(errno.EINVAL)
    if not low <= value <= high:
        raise Refused(errno.ERANGE)
    return value


def within(text: str) -> tuple[str, float | None]:
    """What is asked for, and how many seconds to wait for it (None: to the end); EINVAL, ERANGE."""
    word, said, milliseconds = text.partition(" within ")
    return word, to_number(milliseconds, 0, _DAY) / 1000 if said else None


def stored(row: Setting, text: str) -> Value:
    """The value of a setting that is written."""
    value = row.type.store(text)
    if isinstance(value, Fault):
        raise Refused(value.errno)
    return value
