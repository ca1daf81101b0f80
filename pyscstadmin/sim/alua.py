# SPDX-License-Identifier: GPL-2.0-or-later
"""Simulated device groups and target port groups, and their rules."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyscstadmin.config import names
from pyscstadmin.config.settings import DEVICE_GROUP, GROUP_ID, PORT_GROUP, PORT_STATE, Value
from pyscstadmin.sim.access import Target
from pyscstadmin.sim.device import Device
from pyscstadmin.sim.node import (
    RO,
    RW,
    WO,
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

__all__ = ["AluaDir", "DeviceGroup", "Question"]


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


@dataclass(frozen=True, slots=True)
class Question:
    """What an initiator asks for. Its time stands still."""

    number: int
    target: str
    initiator: str
    device: str
    wanted: dict[str, str]

    def text(self, left_ms: Value) -> str:
        """As the kernel shows it."""
        states = [f"{name}={state}" for name, state in self.wanted.items()]
        return " ".join([str(self.number), str(left_ms), self.target, self.initiator, self.device, *states])


class DeviceGroup(Item):
    """alua/GROUP."""

    def __init__(self, parent: Node, name: str) -> None:
        super().__init__(parent, name)
        self.values: dict[str, Value] = {row.name: row.default for row in DEVICE_GROUP.values()}
        self.devices = Devices(self, "devices")
        self.groups = PortGroups(self, "target_port_groups")
        self.children = {"devices": self.devices, "target_port_groups": self.groups}
        self.question: Question | None = None

    def attributes(self) -> Mapping[str, Attribute]:
        return {**dict.fromkeys(DEVICE_GROUP, RW), "question": RO, "accept": WO, "refuse": WO}

    def show(self, name: str) -> str:
        if name == "question":
            return self.question.text(self.values["ask_ms"]) if self.question is not None else ""
        return DEVICE_GROUP[name].type.to_kernel(self.values[name])

    def store(self, name: str, text: str) -> None:
        if name in ("accept", "refuse"):
            self._answer(to_number(text, 0, 2**64 - 1), name == "accept")
            return
        value = stored(DEVICE_GROUP[name], text)
        if name == "explicit" and value != self.values[name]:
            self.void()
        self.values[name] = value

    def void(self, device: str | None = None) -> None:
        """What a question is about has changed; or only a question about this device is void."""
        if self.question is not None and device in (None, self.question.device):
            self.question = None

    def _answer(self, number: int, accept: bool) -> None:
        question = self.question
        if question is None or question.number != number:
            raise Refused(errno.ESTALE)
        self.question = None
        for group in _all(self.groups, PortGroup) if accept else ():
            group.state = question.wanted.get(group.name, group.state)

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
            "question": asdict(self.question) if self.question is not None else None,
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
        if data.get("question") is not None:
            self.question = Question(**data["question"])


def _device_group(node: Node) -> DeviceGroup:
    """The device group that something is in."""
    above: Node | None = node
    while not isinstance(above, DeviceGroup):
        assert above is not None
        above = above.parent
    return above


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
        if isinstance(self.member, Target):
            _device_group(self).void()
        else:
            _device_group(self).void(self.member.name)
        self.member = None

    def hold(self, name: str, member: Device | Target) -> None:
        """Point there."""
        member.grouped.add(self)
        self.member, self.link_name = member, name
        if isinstance(member, Target):
            _device_group(self).void()

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
        before = self.dump()
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
        if self.dump() != before and any(port.number for port in _all(self.ports, Port)):
            _device_group(self).void()

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
        return any(port.number == number for port in _device_group(self).ports() if port is not self)

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
        if number != self.remote_id:
            _device_group(self).void()
        self.remote_id = number

    def remove(self) -> None:
        super().remove()
        if self.remote_id:
            _device_group(self).void()

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
