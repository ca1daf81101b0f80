# SPDX-License-Identifier: GPL-2.0-or-later
"""Simulated targets, groups, initiators, LUNs and hosts, and their rules: who may be made where, what each
attribute takes, what refuses.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from pyscstadmin.config import names
from pyscstadmin.config.ports import UNKNOWN, Port, refusal
from pyscstadmin.config.settings import DRIVERS, LUN, Value
from pyscstadmin.config.spelling import name_key
from pyscstadmin.sim.iscsi import Params, PortalLinks, Users
from pyscstadmin.sim.node import (
    RO,
    RW,
    Attribute,
    Fixed,
    Item,
    Link,
    Linked,
    Node,
    Refused,
    Served,
    Top,
    refuse,
    stored,
    to_bool,
    to_number,
    within,
)

__all__ = ["DriverDir", "Group", "Host", "Lun", "Target", "all_hosts", "all_targets"]


def all_targets(root: Top) -> Iterator[Target]:
    """Every target."""
    for driver in root.targets.children.values():
        for target in driver.children.values():
            assert isinstance(target, Target)
            yield target


def all_hosts(root: Top) -> list[Host]:
    """All hosts of driver local."""
    return [h for t in all_targets(root) for h in t.hosts.children.values() if isinstance(h, Host)]


class DriverDir(Node):
    """targets/DRIVER."""

    def make(self, name: str) -> None:
        refuse(names.check_target_name(name))
        # What a driver of hardware allows of these has one spelling to the kernel.
        if DRIVERS[self.name].ports is not None:
            refuse(DRIVERS[self.name].name.check(name))
        self.children[name] = Target(self, name)

    def restore(self, name: str, data: dict[str, Any]) -> None:
        """Make a target from dumped data."""
        target = Target(self, name)
        self.children[name] = target
        target.restore(data)


class Target(Item):
    """targets/DRIVER/NAME."""

    def __init__(self, parent: DriverDir, name: str) -> None:
        super().__init__(parent, name)
        self.driver = parent.name
        self.spec = DRIVERS[self.driver]
        self.enabled = False
        taken = {target.rel_tgt_id for target in all_targets(self.root)}
        self.rel_tgt_id: int = next(
            number for number in range(1, names.REL_TGT_ID_MAX + 2) if number not in taken
        )
        self.values: dict[str, Value] = {name: row.default for name, row in self.spec.settings.items()}
        self.grouped: set[Linked] = set()
        self.hosts = Hosts(self, "hosts")
        self.luns = Luns(self, "luns")
        self.groups = Groups(self, "groups")
        self.children = {"luns": self.luns, "groups": self.groups}
        if self.spec.hosts:
            self.children["hosts"] = self.hosts
        self.portals, self.users = PortalLinks(self), Users(self, "users")
        inside = {row.attribute: row for row in self.spec.settings.values() if row.at}
        if self.spec.portals:
            rows = {attribute.rpartition("/")[2]: row for attribute, row in inside.items()}
            self.children["params"] = Params(self, rows, self.values)
            self.children.update({"portals": self.portals, "users": self.users})
        self._attributes = {**_TARGET_ATTRIBUTES, **dict.fromkeys(self.values, RW)}
        for row in inside.values():
            del self._attributes[row.name]

    def attributes(self) -> Mapping[str, Attribute]:
        return self._attributes

    def show(self, name: str) -> str:
        if name == "lun_table":
            return self.luns.table()
        if name == "state":
            return self.state
        if name in self.values:
            return self.spec.settings[name].type.to_kernel(self.values[name])
        return str(int(getattr(self, name)))

    def store(self, name: str, text: str) -> None:
        if name == "enabled":
            on = to_bool(within(text)[0])
            number = self._refusal() if on else 0
            if number:
                raise Refused(number)
            self.switch(on)
        elif name in self.values:
            row = self.spec.settings[name]
            value = stored(row, text)
            if self.enabled and not row.live:
                raise Refused(errno.EBUSY)
            self.values[name] = value
        else:
            self._store_id(text)

    @property
    def state(self) -> str:
        """One whose port is not there, or cannot be a target, is parked until it can."""
        if not self.enabled:
            return "disabled"
        if self.spec.ports is None:
            return "enabled"
        return "enabled" if self._port() is not None and not self._refusal() else "parked"

    def _port(self) -> Port | None:
        """The hardware that the target is, if it is there and its driver knows it."""
        found = self.root.ports.find(self.driver, self.name)
        return found if found is not None and found.state != UNKNOWN else None

    def _refusal(self) -> int:
        """Why it cannot be enabled: an errno, or 0."""
        port = self._port() if self.spec.ports is not None else None
        return refusal(port) if port is not None else 0

    def switch(self, on: bool) -> None:
        """Open it to initiators, or close it. One that is hardware serves when that is there."""
        self.enabled = on
        for host in self.hosts.children.values():
            assert isinstance(host, Host)
            host.login(on)

    def _store_id(self, text: str) -> None:
        number = to_number(text, 1, names.REL_TGT_ID_MAX)
        if self.enabled:
            raise Refused(errno.EBUSY)
        if any(other.rel_tgt_id == number for other in all_targets(self.root) if other is not self):
            raise Refused(errno.EEXIST)
        for port in self.grouped:
            port.renumber(number)
        self.rel_tgt_id = number

    def pointed_at(self) -> bool:
        return bool(self.grouped)

    def leaving(self) -> None:
        if self.root.in_force is not None:
            self.root.in_force.forget(self.path)

    def access(self) -> dict[str, Any]:
        """Who sees what, as plain data."""
        groups = {
            name: group.access() for name, group in self.groups.children.items() if isinstance(group, Group)
        }
        return {"luns": self.luns.access(), "groups": groups}

    def dump(self) -> dict[str, Any]:
        """Plain data of everything."""
        fields = {name: getattr(self, name) for name in _STATE}
        more = {"portals": self.portals.dump(), "users": self.users.dump()} if self.spec.portals else {}
        hosts = list(self.hosts.children)
        return {**fields, "values": dict(self.values), "hosts": hosts, **more, **self.access()}

    def restore(self, data: dict[str, Any]) -> None:
        """The reverse of `dump`. Nothing is published: the generation is loaded afterwards."""
        for name in _STATE:
            setattr(self, name, data[name])
        self.values.update(data["values"])
        for host in data["hosts"]:
            self.hosts.make(host)
        self.portals.restore(self.root.portals, data.get("portals", {}))
        self.users.restore(data.get("users", {}))
        self.luns.restore(data["luns"])
        for name, group in data["groups"].items():
            made = Group(self.groups, name)
            self.groups.children[name] = made
            made.restore(group)


_STATE = ("enabled", "rel_tgt_id")
_TARGET_ATTRIBUTES = {**dict.fromkeys(_STATE, RW), "state": RO, "lun_table": RO}


def _refuse_known(name: str, others: Iterable[str]) -> None:
    """Refuse a name or pattern that is there in some spelling; EEXIST."""
    if name_key(name) in map(name_key, others):
        raise Refused(errno.EEXIST)


class Hosts(Fixed):
    """targets/local/NAME/hosts."""

    def make(self, name: str) -> None:
        refuse(names.check_initiator(name))
        _refuse_known(name, self.children)
        host = Host(self, name)
        self.children[name] = host
        assert isinstance(self.parent, Target)
        host.login(self.parent.enabled)


class Host(Item):
    """targets/local/NAME/hosts/INITIATOR."""

    number: int | None = None

    def login(self, on: bool) -> None:
        """Log in or out; each login gets a number that nobody has."""
        if on and self.number is None:
            taken = {host.number for host in all_hosts(self.root) if host is not self}
            self.number = next(number for number in range(len(taken) + 1) if number not in taken)
        elif not on:
            self.number = None

    def attributes(self) -> Mapping[str, Attribute]:
        return {"host": RO}

    def show(self, name: str) -> str:
        return "" if self.number is None else str(self.number)


class Groups(Fixed):
    """targets/DRIVER/NAME/groups."""

    def make(self, name: str) -> None:
        refuse(names.check_group_name(name))
        force = self.root.before_change()
        if force is not None:
            force.group(_target_path(self), name, None)
        self.children[name] = Group(self, name)


class _AccessItem(Item):
    """An item of the access directories. It is empty when it goes, so nobody notices."""

    __slots__ = ()

    def leaving(self) -> None:
        self.note()

    def note(self) -> None:
        """Before a change: note what is in force."""
        raise NotImplementedError


def _target_path(node: Node) -> str:
    """The path of the target that a node is in."""
    while not isinstance(node, Target):
        assert node.parent is not None
        node = node.parent
    return node.path


def _group_name(node: Node) -> str:
    """The group that LUNs or initiators are of; '' for a target's own."""
    assert node.parent is not None
    return node.parent.name if isinstance(node.parent, Group) else ""


class Group(_AccessItem):
    """targets/DRIVER/NAME/groups/GROUP."""

    def note(self) -> None:
        force = self.root.before_change()
        if force is not None:
            force.group(_target_path(self), self.name, self.priority)

    def __init__(self, parent: Node, name: str) -> None:
        super().__init__(parent, name)
        self.priority = names.PRIORITY_DEFAULT
        self.initiators = Initiators(self, "initiators")
        self.luns = Luns(self, "luns")
        self.children = {"initiators": self.initiators, "luns": self.luns}

    def attributes(self) -> Mapping[str, Attribute]:
        return {"priority": RW, "lun_table": RO}

    def show(self, name: str) -> str:
        return self.luns.table() if name == "lun_table" else str(self.priority)

    def store(self, name: str, text: str) -> None:
        number = to_number(text, 0, names.PRIORITY_MAX)
        if number != self.priority:
            self.note()
            self.priority = number
            self.root.after_change()

    def access(self) -> dict[str, Any]:
        """Who sees what, as plain data."""
        return {
            "priority": self.priority,
            "initiators": sorted(self.initiators.children),
            "luns": self.luns.access(),
        }

    def restore(self, data: dict[str, Any]) -> None:
        """The reverse of `access`."""
        self.priority = data["priority"]
        for pattern in data["initiators"]:
            self.initiators.children[pattern] = Initiator(self.initiators, pattern)
        self.luns.restore(data["luns"])


class Initiators(Fixed):
    """.../groups/GROUP/initiators."""

    def make(self, name: str) -> None:
        refuse(names.check_pattern(name))
        _refuse_known(name, self.children)
        force = self.root.before_change()
        if force is not None:
            force.name(_target_path(self), _group_name(self), name, False)
        self.children[name] = Initiator(self, name)
        self.root.after_change()


class Initiator(_AccessItem):
    """.../initiators/PATTERN."""

    __slots__ = ()

    def __init__(self, parent: Node, name: str) -> None:
        super().__init__(parent, name, _NONE)

    def note(self) -> None:
        force = self.root.before_change()
        if force is not None:
            assert self.parent is not None
            force.name(_target_path(self), _group_name(self.parent), self.name, True)

    def remove(self) -> None:
        super().remove()
        self.root.after_change()


class Luns(Fixed):
    """.../luns."""

    __slots__ = ()

    def make(self, name: str) -> None:
        refuse(names.check_lun(name))
        name = sys.intern(name)
        force = self.root.before_change()
        if force is not None:
            force.lun(_target_path(self), _group_name(self), name, None)
        self.children[name] = Lun(self, name)

    def access(self) -> dict[str, Any]:
        """The LUNs as plain data, by number. Equal ones are one object: do not change it."""
        luns = sorted(self.children.items(), key=lambda item: int(item[0]))
        return {number: lun.access() for number, lun in luns if isinstance(lun, Lun)}

    def table(self) -> str:
        """The LUNs as text, a line for each."""
        luns = sorted(self.children.items(), key=lambda item: int(item[0]))
        return "".join(lun.line() for _, lun in luns if isinstance(lun, Lun))

    def restore(self, data: dict[str, Any]) -> None:
        """The reverse of `access`."""
        for text, fields in data.items():
            number = sys.intern(text)
            lun = Lun(self, number)
            self.children[number] = lun
            lun.settings = {name: fields.get(name, usual) for name, usual in _USUAL.items()}
            lun.link_name = fields.get("link", "device")
            if fields["device"]:
                lun.attach(self.root, fields["device"])


_USUAL = {name: row.default for name, row in LUN.items()}


class Lun(_AccessItem, Linked):
    """.../luns/N."""

    __slots__ = ("device", "link_name", "settings")

    def __init__(self, parent: Node, name: str) -> None:
        super().__init__(parent, name, _NONE)
        self.settings: Mapping[str, Value] = _USUAL
        self.device: Served | None = None
        self.link_name = "device"

    def note(self) -> None:
        force = self.root.before_change()
        if force is not None:
            assert self.parent is not None
            force.lun(_target_path(self), _group_name(self.parent), self.name, self.access())

    def line(self) -> str:
        """What the table of LUNs says of it."""
        words = [self.name, f"{self.settings['read_only']:d}", self.device.name if self.device else ""]
        limits = [item for item in self.settings.items() if item[0] != "read_only"]
        words += [f"{name}={value}" for name, value in limits if value != _USUAL[name]]
        return f"{' '.join(words)}\n"

    @property
    def links(self) -> Mapping[str, Link]:
        return {self.link_name: Link(self, self.device)} if self.device is not None else {}

    def attributes(self) -> Mapping[str, Attribute]:
        return {**dict.fromkeys(LUN, RW), "state": RO}

    def show(self, name: str) -> str:
        if name in LUN:
            return LUN[name].type.to_kernel(self.settings[name])
        return "unmapped" if self.device is None else self.device.show("state")

    def store(self, name: str, text: str) -> None:
        value = stored(LUN[name], text)
        if value != self.settings[name]:
            self.note()
            self.settings = {**self.settings, name: value}
            if self.device is not None:
                self.root.after_change()

    def link(self, name: str, target: Node) -> None:
        """symlink in this directory."""
        if not isinstance(target, Served):
            raise Refused(errno.EINVAL)
        if self.device is not None:
            raise Refused(errno.EEXIST)
        if not target.enabled:
            raise Refused(errno.ENODEV)
        self.note()
        self.device = target
        self.link_name = name
        target.luns.add(self)
        self.root.after_change()

    def unlink(self) -> None:
        """Remove the link."""
        assert self.device is not None
        self.note()
        self.device.luns.discard(self)
        self.device = None
        self.root.after_change()

    def attach(self, root: Top, name: str) -> None:
        """Point at a device by name, when a state is loaded."""
        for handler in root.devices.children.values():
            device = handler.children.get(name)
            if isinstance(device, Served):
                self.device = device
                device.luns.add(self)

    def access(self) -> dict[str, Any]:
        """Plain data, not to be changed."""
        settings = tuple(self.settings.values())
        return _lun_data(self.device.name if self.device else "", settings, self.link_name)


# What is in directories in which nothing can be.
_NONE: dict[str, Node] = {}


@lru_cache(1 << 16)
def _lun_data(device: str, settings: tuple[Value, ...], link: str) -> dict[str, Any]:
    data = {"device": device, "read_only": settings[0]}
    values = zip(_USUAL.items(), settings, strict=True)
    data.update({name: value for (name, usual), value in values if value != usual})
    return data if link == "device" else {**data, "link": link}
