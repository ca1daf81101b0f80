# SPDX-License-Identifier: GPL-2.0-or-later
"""The objects of the simulated tree and their rules: who may be made where, what each attribute takes, what
refuses.

`tree.SimTree` finds the object an operation is about and calls it; an object refuses by raising `Refused`
before it has changed anything.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyscstadmin import __version__
from pyscstadmin.config import names
from pyscstadmin.config.acl import decide
from pyscstadmin.config.layout import DRIVERS, HANDLERS, ROOT_SETTINGS
from pyscstadmin.config.model import Group as GroupModel
from pyscstadmin.config.model import Lun as LunModel
from pyscstadmin.config.model import Target as TargetModel
from pyscstadmin.config.names import Fault
from pyscstadmin.kernel.running import Running
from pyscstadmin.kernel.sessions import Session, SessionLun

__all__ = ["Attribute", "Group", "Host", "Link", "Lun", "Node", "Refused", "Root", "Target"]


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
    """The device link of a LUN."""

    owner: Lun
    target: Node

    @property
    def path(self) -> str:
        """What it points at, from the root of the tree."""
        return self.target.path


class Node:
    """A directory. This class is a default group: nothing can be made in it, and it cannot be removed."""

    def __init__(self, parent: Node | None, name: str) -> None:
        self.parent = parent
        self.name = name
        self.children: dict[str, Node] = {}

    @property
    def path(self) -> str:
        """The path from the root of the tree."""
        above = self.parent.path if self.parent else ""
        return f"{above}/{self.name}" if above else self.name

    @property
    def root(self) -> Root:
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

    default_groups: tuple[str, ...] = ()

    def pointed_at(self) -> bool:
        """Whether a link points here."""
        return False

    def leaving(self) -> None:
        """Called just before the directory goes."""

    def remove(self) -> None:
        """rmdir, with the refusals of configfs in its order."""
        if self.pointed_at():
            raise Refused(errno.EBUSY)
        if self.links or any(not isinstance(c, _Fixed) or c.children for c in self.children.values()):
            raise Refused(errno.ENOTEMPTY)
        assert self.parent is not None
        self.leaving()
        del self.parent.children[self.name]


class _Fixed(Node):
    """A default group in which items are made."""


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


@dataclass(slots=True)
class Command:
    """A command that does not end by itself, and under which access it was admitted. `revoked`: the
    generation that took this away, 0 for none.
    """

    target: str
    initiator: str
    lun: int
    device: str
    writes: bool
    revoked: int = 0

    def allowed(self, sessions: list[Session]) -> bool:
        """Whether it would still be admitted."""
        return any(
            (session.target, session.initiator) == (self.target, self.initiator)
            and (lun.number, lun.device) == (self.lun, self.device)
            and not (lun.read_only and self.writes)
            for session in sessions
            for lun in session.luns
        )


class Root(Node):
    """The root: generation, staging and commit."""

    def __init__(self) -> None:
        super().__init__(None, "")
        self.generation = 1
        self.autocommit = True
        # What is in force, while the tree may differ from it; None: the tree is in force.
        self.in_force: dict[str, Any] | None = None
        self.staged = False
        self.values: dict[str, int] = {setting.name: int(setting.default) for setting in ROOT_SETTINGS}
        self.commands: list[Command] = []
        from pyscstadmin.sim.device import HandlerDir

        self.devices = Node(self, "devices")
        self.targets = Node(self, "targets")
        self.children = {"devices": self.devices, "targets": self.targets}
        self.devices.children = {handler: HandlerDir(self.devices, handler) for handler in HANDLERS}
        self.targets.children = {driver: DriverDir(self.targets, driver) for driver in DRIVERS}

    @property
    def root(self) -> Root:
        """Itself."""
        return self

    def attributes(self) -> Mapping[str, Attribute]:
        return _ROOT_ATTRIBUTES

    def show(self, name: str) -> str:
        values = {
            "version": f"{__version__}-sim",
            "features": "",
            "generation": str(self.generation),
            "autocommit": str(int(self.autocommit)),
            "staged": str(int(self.staged)),
            "settled": str(min([self.generation, *(running.generation - 1 for running in self.running())])),
        }
        return values[name] if name in values else str(self.values[name])

    def store(self, name: str, text: str) -> None:
        if name in self.values:
            self.values[name] = to_number(text, 0, names.SIZE_MAX)
            return
        if name in ("commit", "commit_fence"):
            if to_number(text, 0, 2**64 - 1) != self.generation:
                raise Refused(errno.ESTALE)
            self.publish()
            self.revoke(abort=name == "commit_fence")
            return
        wanted = to_bool(text)
        if wanted:
            self.publish()
        self.autocommit = wanted

    def publish(self) -> None:
        """Bring staged changes into force."""
        if self.staged:
            self.generation += 1
        self.staged = False
        self.in_force = None

    def revoke(self, *, abort: bool = False) -> None:
        """Note whose commands run under access that is no more, or end them."""
        if not self.commands:
            return
        sessions = self.sessions()
        for command in list(self.commands):
            if not command.revoked and not command.allowed(sessions):
                command.revoked = self.generation
                if abort:
                    self.commands.remove(command)

    def running(self) -> list[Running]:
        """Revoked access that still has commands: a line of `unsettled` each."""
        found = {
            Running(command.revoked, command.target, command.initiator, command.lun, command.device)
            for command in self.commands
            if command.revoked
        }
        return sorted(found, key=lambda one: (one.generation, one.target, one.initiator, one.lun, one.device))

    def before_change(self) -> None:
        """Call before any change of the access directories: keeps what is in force."""
        if not self.autocommit and self.in_force is None:
            self.in_force = self.access()

    def after_change(self) -> None:
        """Call after a change that initiators could notice: with autocommit, it is in force."""
        self.staged = True
        if self.autocommit:
            self.publish()

    def all_targets(self) -> Iterator[Target]:
        """Every target."""
        for driver in self.targets.children.values():
            for target in driver.children.values():
                assert isinstance(target, Target)
                yield target

    def access(self) -> dict[str, Any]:
        """The access the tree shows, as plain data: target path -> luns and groups. Empty is left out."""
        found = {target.path: target.access() for target in self.all_targets()}
        return {path: access for path, access in found.items() if access["luns"] or access["groups"]}

    def force(self) -> dict[str, Any]:
        """The access in force."""
        return self.access() if self.in_force is None else self.in_force

    def uses(self, device: str) -> bool:
        """Whether a LUN in force points at a device, while it may not in the tree."""
        for access in (self.in_force or {}).values():
            sets = [access["luns"], *(group["luns"] for group in access["groups"].values())]
            if any(lun["device"] == device for luns in sets for lun in luns.values()):
                return True
        return False

    def sessions(self) -> list[Session]:
        """What the initiators see now."""
        found: list[Session] = []
        for target in self.all_targets():
            if not target.enabled:
                continue
            model = _model(target, self.force().get(target.path, {"luns": {}, "groups": {}}))
            for host in target.hosts.children:
                choice = decide(model, host)
                luns = tuple(
                    SessionLun(lun.number, lun.device, lun.read_only) for lun in choice.luns if lun.device
                )
                name = f"session.{len(found) + 1}"
                found.append(Session(name, f"{target.driver}/{target.name}", host, choice.group, luns))
        return found

    def hosts(self) -> list[Host]:
        """All hosts of driver local."""
        return [h for t in self.all_targets() for h in t.hosts.children.values() if isinstance(h, Host)]

    def dump(self) -> dict[str, Any]:
        """Plain data of everything."""
        from pyscstadmin.sim.device import Device

        devices = {
            handler: {
                name: device.dump() for name, device in node.children.items() if isinstance(device, Device)
            }
            for handler, node in self.devices.children.items()
        }
        targets = {target.path: target.dump() for target in self.all_targets()}
        return {
            "generation": self.generation,
            "autocommit": self.autocommit,
            "staged": self.staged,
            "in_force": self.in_force,
            "values": dict(self.values),
            "commands": [asdict(command) for command in self.commands],
            "devices": devices,
            "targets": targets,
        }

    def load(self, data: dict[str, Any]) -> None:
        """The reverse of `dump`, into a fresh root."""
        from pyscstadmin.sim.device import HandlerDir

        for handler, devices in data["devices"].items():
            node = self.devices.children[handler]
            assert isinstance(node, HandlerDir)
            for name, device in devices.items():
                node.restore(name, device)
        for path, target in data["targets"].items():
            driver = self.targets.children[path.split("/")[1]]
            assert isinstance(driver, DriverDir)
            driver.restore(path.split("/", 2)[2], target)
        for name in ("generation", "autocommit", "staged", "in_force", "values"):
            setattr(self, name, data[name])
        self.commands = [Command(**command) for command in data["commands"]]


_ROOT_ATTRIBUTES = {
    "version": RO,
    "features": RO,
    "generation": RO,
    "autocommit": RW,
    "staged": RO,
    "settled": RO,
    "commit": WO,
    "commit_fence": WO,
    **{setting.name: RW for setting in ROOT_SETTINGS},
}


def _model(target: Target, access: dict[str, Any]) -> TargetModel:
    groups = tuple(
        GroupModel(name, group["priority"], tuple(group["initiators"]), _luns_model(group["luns"]))
        for name, group in access["groups"].items()
    )
    return TargetModel(target.driver, target.name, luns=_luns_model(access["luns"]), groups=groups)


def _luns_model(luns: dict[str, Any]) -> tuple[LunModel, ...]:
    return tuple(LunModel(int(number), lun["device"], lun["read_only"]) for number, lun in luns.items())


class DriverDir(Node):
    """targets/DRIVER."""

    def make(self, name: str) -> None:
        refuse(names.check_target_name(name))
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
        self.enabled = False
        self.auto_rescan = True
        self.queue_depth = 0
        taken = {target.rel_tgt_id for target in self.root.all_targets()}
        self.rel_tgt_id: int = next(
            number for number in range(1, names.REL_TGT_ID_MAX + 2) if number not in taken
        )
        self.hosts = Hosts(self, "hosts")
        self.luns = Luns(self, "luns")
        self.groups = Groups(self, "groups")
        self.children = {"luns": self.luns, "groups": self.groups}
        if DRIVERS[self.driver].hosts:
            self.children["hosts"] = self.hosts

    def attributes(self) -> Mapping[str, Attribute]:
        return _TARGET_ATTRIBUTES

    def show(self, name: str) -> str:
        if name == "state":
            return "enabled" if self.enabled else "disabled"
        return str(int(getattr(self, name)))

    def store(self, name: str, text: str) -> None:
        if name == "enabled":
            self.enabled = to_bool(text)
            for host in self.hosts.children.values():
                assert isinstance(host, Host)
                host.login(self.enabled)
        elif name == "auto_rescan":
            self.auto_rescan = to_bool(text)
        elif name == "queue_depth":
            self.queue_depth = to_number(text, 0, names.QUEUE_DEPTH_MAX)
        else:
            self._store_id(text)

    def _store_id(self, text: str) -> None:
        number = to_number(text, 1, names.REL_TGT_ID_MAX)
        if self.enabled:
            raise Refused(errno.EBUSY)
        if any(other.rel_tgt_id == number for other in self.root.all_targets() if other is not self):
            raise Refused(errno.EEXIST)
        self.rel_tgt_id = number

    def leaving(self) -> None:
        if self.root.in_force is not None:
            self.root.in_force.pop(self.path, None)

    def access(self) -> dict[str, Any]:
        """Who sees what, as plain data."""
        groups = {
            name: group.access() for name, group in self.groups.children.items() if isinstance(group, Group)
        }
        return {"luns": self.luns.access(), "groups": groups}

    def dump(self) -> dict[str, Any]:
        """Plain data of everything."""
        fields = {name: getattr(self, name) for name in _STATE}
        return {**fields, "hosts": list(self.hosts.children), **self.access()}

    def restore(self, data: dict[str, Any]) -> None:
        """The reverse of `dump`. Nothing is published: the generation is loaded afterwards."""
        for name in _STATE:
            setattr(self, name, data[name])
        for host in data["hosts"]:
            self.hosts.make(host)
        self.luns.restore(data["luns"])
        for name, group in data["groups"].items():
            made = Group(self.groups, name)
            self.groups.children[name] = made
            made.restore(group)


_STATE = ("enabled", "rel_tgt_id", "queue_depth", "auto_rescan")
_TARGET_ATTRIBUTES = {**dict.fromkeys(_STATE, RW), "state": RO}


class Hosts(_Fixed):
    """targets/local/NAME/hosts."""

    def make(self, name: str) -> None:
        refuse(names.check_initiator(name))
        if any(other.lower() == name.lower() for other in self.children):
            raise Refused(errno.EEXIST)
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
            taken = {host.number for host in self.root.hosts() if host is not self}
            self.number = next(number for number in range(len(taken) + 1) if number not in taken)
        elif not on:
            self.number = None

    def attributes(self) -> Mapping[str, Attribute]:
        return {"host": RO}

    def show(self, name: str) -> str:
        return "" if self.number is None else str(self.number)


class Groups(_Fixed):
    """targets/DRIVER/NAME/groups."""

    def make(self, name: str) -> None:
        refuse(names.check_group_name(name))
        self.root.before_change()
        self.children[name] = Group(self, name)


class _AccessItem(Item):
    """An item of the access directories. It is empty when it goes, so nobody notices."""

    def leaving(self) -> None:
        self.root.before_change()


class Group(_AccessItem):
    """targets/DRIVER/NAME/groups/GROUP."""

    def __init__(self, parent: Node, name: str) -> None:
        super().__init__(parent, name)
        self.priority = names.PRIORITY_DEFAULT
        self.initiators = Initiators(self, "initiators")
        self.luns = Luns(self, "luns")
        self.children = {"initiators": self.initiators, "luns": self.luns}

    def attributes(self) -> Mapping[str, Attribute]:
        return {"priority": RW}

    def show(self, name: str) -> str:
        return str(self.priority)

    def store(self, name: str, text: str) -> None:
        number = to_number(text, 0, names.PRIORITY_MAX)
        if number != self.priority:
            self.root.before_change()
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


class Initiators(_Fixed):
    """.../groups/GROUP/initiators."""

    def make(self, name: str) -> None:
        refuse(names.check_pattern(name))
        if any(other.lower() == name.lower() for other in self.children):
            raise Refused(errno.EEXIST)
        self.root.before_change()
        self.children[name] = Initiator(self, name)
        self.root.after_change()


class Initiator(_AccessItem):
    """.../initiators/PATTERN."""

    def remove(self) -> None:
        super().remove()
        self.root.after_change()


class Luns(_Fixed):
    """.../luns."""

    def make(self, name: str) -> None:
        refuse(names.check_lun(name))
        self.root.before_change()
        self.children[name] = Lun(self, name)

    def access(self) -> dict[str, Any]:
        """The LUNs as plain data, by number."""
        luns = sorted(self.children.items(), key=lambda item: int(item[0]))
        return {number: lun.access() for number, lun in luns if isinstance(lun, Lun)}

    def restore(self, data: dict[str, Any]) -> None:
        """The reverse of `access`."""
        for number, fields in data.items():
            lun = Lun(self, number)
            self.children[number] = lun
            lun.read_only = fields["read_only"]
            lun.link_name = fields.get("link", "device")
            if fields["device"]:
                lun.attach(self.root, fields["device"])


class Lun(_AccessItem):
    """.../luns/N."""

    def __init__(self, parent: Node, name: str) -> None:
        super().__init__(parent, name)
        self.read_only = False
        self.device: Node | None = None
        self.link_name = "device"

    @property
    def links(self) -> Mapping[str, Link]:
        return {self.link_name: Link(self, self.device)} if self.device is not None else {}

    def attributes(self) -> Mapping[str, Attribute]:
        return {"read_only": RW, "state": RO}

    def show(self, name: str) -> str:
        if name == "read_only":
            return str(int(self.read_only))
        return "unmapped" if self.device is None else self.device.show("state")

    def store(self, name: str, text: str) -> None:
        value = to_bool(text)
        if value != self.read_only:
            self.root.before_change()
            self.read_only = value
            if self.device is not None:
                self.root.after_change()

    def link(self, name: str, target: Node) -> None:
        """symlink in this directory."""
        from pyscstadmin.sim.device import Device

        if not isinstance(target, Device):
            raise Refused(errno.EINVAL)
        if self.device is not None:
            raise Refused(errno.EEXIST)
        if not target.enabled:
            raise Refused(errno.ENODEV)
        self.root.before_change()
        self.device = target
        self.link_name = name
        target.luns.add(self)
        self.root.after_change()

    def unlink(self) -> None:
        """Remove the link."""
        from pyscstadmin.sim.device import Device

        assert isinstance(self.device, Device)
        self.root.before_change()
        self.device.luns.discard(self)
        self.device = None
        self.root.after_change()

    def attach(self, root: Root, name: str) -> None:
        """Point at a device by name, when a state is loaded."""
        from pyscstadmin.sim.device import Device

        for handler in root.devices.children.values():
            device = handler.children.get(name)
            if isinstance(device, Device):
                self.device = device
                device.luns.add(self)

    def access(self) -> dict[str, Any]:
        """Plain data."""
        data = {"device": self.device.name if self.device else "", "read_only": self.read_only}
        return data if self.link_name == "device" else {**data, "link": self.link_name}
