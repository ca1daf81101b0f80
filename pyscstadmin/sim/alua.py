# SPDX-License-Identifier: GPL-2.0-or-later
"""Simulated device groups and target port groups, and their rules."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from typing import Any

from pyscstadmin.config import names
from pyscstadmin.config.settings import DEVICE_GROUP, GROUP_ID, PORT_GROUP, PORT_STATE, Value
from pyscstadmin.sim.access import Target
from pyscstadmin.sim.device import Device
from pyscstadmin.sim.node import (
    RW,
    Attribute,
    Fixed,
    Item,
    Link,
    Linked,
    Node,
    Refused,
    refuse,
    stored,
    to_number,
)

__all__ = ["AluaDir"]


class AluaDir(Fixed):
    """alua."""

    def make(self, name: str) -> None:
        refuse(names.check_group_name(name))
        self.children[name] = DeviceGroup(self, name)

    def dump(self) -> dict[str, Any]:
        """Plain data of everything."""
        return {group.name: group.dump() for group in _all(self, DeviceGroup)}

    def restore(self, data: dict[str, Any]) -> None:
        """The reverse of `dump`, when devices and targets are there."""
        for name, fields in data.items():
            made = self.children[name] = DeviceGroup(self, name)
            made.restore(fields)


def _all(node: Node, kind: type[Any]) -> Iterator[Any]:
    for child in node.children.values():
        assert isinstance(child, kind)
        yield child


class DeviceGroup(Item):
    """alua/GROUP."""

    def __init__(self, parent: Node, name: str) -> None:
        super().__init__(parent, name)
        self.values: dict[str, Value] = {row.name: row.default for row in DEVICE_GROUP.values()}
        self.devices = Devices(self, "devices")
        self.groups = PortGroups(self, "target_port_groups")
        self.children = {"devices": self.devices, "target_port_groups": self.groups}

    def attributes(self) -> Mapping[str, Attribute]:
        return dict.fromkeys(DEVICE_GROUP, RW)

    def show(self, name: str) -> str:
        return DEVICE_GROUP[name].type.to_kernel(self.values[name])

    def store(self, name: str, text: str) -> None:
        self.values[name] = stored(DEVICE_GROUP[name], text)

    def ports(self) -> Iterator[Port]:
        """The ports of all groups."""
        for group in _all(self.groups, PortGroup):
            yield from _all(group.ports, Port)

    def dump(self) -> dict[str, Any]:
        """Plain data of everything."""
        return {
            "values": dict(self.values),
            "devices": {entry.name: entry.dump() for entry in _all(self.devices, Entry)},
            "groups": {group.name: group.dump() for group in _all(self.groups, PortGroup)},
        }

    def restore(self, data: dict[str, Any]) -> None:
        """The reverse of `dump`."""
        self.values.update(data["values"])
        for name, link in data["devices"].items():
            self.devices.make(name)
            _relink(self.devices.children[name], link)
        for name, fields in data["groups"].items():
            self.groups.make(name)
            made = self.groups.children[name]
            assert isinstance(made, PortGroup)
            made.restore(fields)


def _relink(entry: Node, link: list[str] | None) -> None:
    """Make the link again that was dumped: its name, and the path of what it points at."""
    assert isinstance(entry, Linked)
    if link is None:
        return
    found: Node = entry.root
    for part in link[1].split("/"):
        found = found.children[part]
    entry.link(link[0], found)


class Devices(Fixed):
    """alua/GROUP/devices."""

    def make(self, name: str) -> None:
        refuse(names.check_device_name(name))
        self.children[name] = Entry(self, name)


class _Member(Linked):
    """A directory with one link."""

    link_name = ""
    member: Device | Target | None = None

    @property
    def links(self) -> Mapping[str, Link]:
        return {self.link_name: Link(self, self.member)} if self.member is not None else {}

    def unlink(self) -> None:
        assert self.member is not None
        self.member.grouped.discard(self)
        self.member = None

    def hold(self, name: str, member: Device | Target) -> None:
        """Point there."""
        member.grouped.add(self)
        self.member, self.link_name = member, name

    def dump(self) -> list[str] | None:
        """The link as plain data."""
        return [self.link_name, self.member.path] if self.member is not None else None


class Entry(_Member):
    """alua/GROUP/devices/NAME."""

    def link(self, name: str, target: Node) -> None:
        """symlink in this directory."""
        if not isinstance(target, Device):
            raise Refused(errno.EINVAL)
        if self.member is not None or target.grouped:
            raise Refused(errno.EEXIST)
        self.hold(name, target)


class PortGroups(Fixed):
    """alua/GROUP/target_port_groups."""

    def make(self, name: str) -> None:
        refuse(names.check_group_name(name))
        if len(self.children) >= names.PORT_GROUPS_MAX:
            raise Refused(errno.ENOSPC)
        self.children[name] = PortGroup(self, name)

    def ids(self) -> list[int]:
        """Those that are taken."""
        return [group.group_id for group in _all(self, PortGroup)]


class PortGroup(Item):
    """alua/GROUP/target_port_groups/NAME."""

    def __init__(self, parent: PortGroups, name: str) -> None:
        super().__init__(parent, name)
        taken = parent.ids()
        self.group_id = next(number for number in range(1, names.GROUP_ID_MAX + 1) if number not in taken)
        self.state = str(PORT_STATE.default)
        self.values: dict[str, Value] = {row.name: row.default for row in PORT_GROUP.values()}
        self.ports = Ports(self, "ports")
        self.children = {"ports": self.ports}

    def attributes(self) -> Mapping[str, Attribute]:
        return dict.fromkeys((GROUP_ID.name, PORT_STATE.name, *PORT_GROUP), RW)

    def show(self, name: str) -> str:
        if name in self.values:
            return PORT_GROUP[name].type.to_kernel(self.values[name])
        return str(getattr(self, name))

    def store(self, name: str, text: str) -> None:
        if name == GROUP_ID.name:
            number = to_number(text, 1, names.GROUP_ID_MAX)
            assert isinstance(self.parent, PortGroups)
            if number != self.group_id and number in self.parent.ids():
                raise Refused(errno.EEXIST)
            self.group_id = number
        elif name == PORT_STATE.name:
            self.state = str(stored(PORT_STATE, text))
        else:
            self.values[name] = stored(PORT_GROUP[name], text)

    def dump(self) -> dict[str, Any]:
        """Plain data of everything."""
        ports = {port.name: [port.remote_id, port.dump()] for port in _all(self.ports, Port)}
        return {"id": self.group_id, "state": self.state, "values": dict(self.values), "ports": ports}

    def restore(self, data: dict[str, Any]) -> None:
        """The reverse of `dump`."""
        self.group_id, self.state = data["id"], data["state"]
        self.values.update(data["values"])
        for name, (number, link) in data["ports"].items():
            self.ports.make(name)
            port = self.ports.children[name]
            assert isinstance(port, Port)
            port.remote_id = number
            _relink(port, link)


class Ports(Fixed):
    """.../target_port_groups/NAME/ports."""

    def make(self, name: str) -> None:
        refuse(names.check_port_name(name))
        if len(self.children) >= names.PORTS_MAX:
            raise Refused(errno.ENOSPC)
        self.children[name] = Port(self, name)


class Port(_Member):
    """.../ports/NAME: a target, or a port of another host that is known by its number."""

    def __init__(self, parent: Node, name: str) -> None:
        super().__init__(parent, name)
        self.remote_id = 0

    @property
    def number(self) -> int:
        """The relative target port identifier, 0 for none."""
        return self.member.rel_tgt_id if isinstance(self.member, Target) else self.remote_id

    def _taken(self, number: int) -> bool:
        """Whether it is that of another port of the device group."""
        group = self.parent
        while not isinstance(group, DeviceGroup):
            assert group is not None
            group = group.parent
        return any(port.number == number for port in group.ports() if port is not self)

    def attributes(self) -> Mapping[str, Attribute]:
        return {"rel_tgt_id": RW}

    def show(self, name: str) -> str:
        return str(self.number)

    def store(self, name: str, text: str) -> None:
        number = to_number(text, 0, names.REL_TGT_ID_MAX)
        if self.member is not None:
            raise Refused(errno.EBUSY)
        if number not in (0, self.remote_id) and self._taken(number):
            raise Refused(errno.EEXIST)
        self.remote_id = number

    def link(self, name: str, target: Node) -> None:
        """symlink in this directory."""
        if not isinstance(target, Target):
            raise Refused(errno.EINVAL)
        if self.member is not None:
            raise Refused(errno.EEXIST)
        if self.remote_id:
            raise Refused(errno.EBUSY)
        if self._taken(target.rel_tgt_id):
            raise Refused(errno.EEXIST)
        self.hold(name, target)

    def renumber(self, number: int) -> None:
        """The target gets another number."""
        if self._taken(number):
            raise Refused(errno.EEXIST)
