# SPDX-License-Identifier: GPL-2.0-or-later
"""The tree of the shell: its places, each with its commands. The docstring of a command is its help.

All changes go through `Admin`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyscstadmin.cli.bindings import rebound_lines
from pyscstadmin.cli.render import config_counts, resized_text, size_text
from pyscstadmin.config import names
from pyscstadmin.config.model import Device, Group, Identity, Lun, Target
from pyscstadmin.config.settings import (
    DEVICE,
    DRIVERS,
    GROUP,
    HANDLERS,
    IDENTITY,
    LUN,
    REL_TGT_ID,
    ROOT,
    TARGET,
    Number,
    Rows,
    Setting,
    Text,
)
from pyscstadmin.config.spelling import is_exact, name_key
from pyscstadmin.kernel.apply import Outcome
from pyscstadmin.kernel.sessions import Session as LoginSession
from pyscstadmin.shell.globals import UsageError, boolean
from pyscstadmin.shell.node import (
    Anywhere,
    GroupMap,
    Mappable,
    Named,
    Node,
    Place,
    checked,
    converted,
    count,
    shown,
)

__all__ = ["Root"]

_SERVED = Setting("size", Number(unit="bytes"), 0, "bytes to serve; 0: all of the backing")
_DEVICE_OF_LUN = Setting(
    "device", Text(names.check_device_name, "the name of a device", ""), "", "what it is"
)


class Root(Anywhere):
    """/"""

    has_settings = True

    def __init__(self, shell: Any) -> None:
        super().__init__("/", shell=shell)

    def places(self) -> Iterator[Node]:
        yield Devices("devices", self)
        yield Targets("targets", self)
        yield Sessions("sessions", self)

    def summary(self) -> tuple[str, bool | None]:
        if self.session.snapshot is None:
            return "no control plane", False
        return config_counts(self.session.config), None

    def rows(self) -> Rows:
        return ROOT

    def settings(self) -> dict[str, str]:
        return shown(self.session.config.settings, ROOT)

    def change(self, values: dict[str, Any]) -> None:
        self.report(self.admin.configure(**values))


# Devices.


class Devices(Anywhere):
    """/devices"""

    def places(self) -> Iterator[Node]:
        for handler in HANDLERS:
            made = BackedHandler if HANDLERS[handler].backed else NullHandler
            yield made(handler, self)

    def summary(self) -> tuple[str, bool | None]:
        return count(len(self.session.config.devices), "device"), None


class Handler(Anywhere):
    """/devices/HANDLER"""

    def places(self) -> Iterator[Node]:
        for device in self.session.config.devices:
            if device.handler == self.name:
                yield DeviceNode(self, device)

    def summary(self) -> tuple[str, bool | None]:
        return count(len(self.kids), "device"), None

    def keywords(self, command: str) -> Rows:
        if command != "create":
            return super().keywords(command)
        required = HANDLERS[self.name].required
        return {name: row for name, row in creation_rows(self.name).items() if name != required}

    def create(self, name: str, given: Named) -> None:
        """Make a device from texts."""
        checked(names.check_device_name(name), name)
        values = self.converted(given, creation_rows(self.name))
        parts = {part: values.pop(part) for part in IDENTITY if part in values}
        self.report(self.admin.create_device(Device(name, self.name, id=Identity(**parts), **values)))

    def ui_command_delete(self, device: str) -> None:
        """Remove a device. It must not be a LUN of anything."""
        self.get_child(device).ui_command_delete()


class BackedHandler(Handler):
    """/devices/fileio, /devices/blockio"""

    def ui_command_create(self, name: str, path: str, **setting: str) -> None:
        """Make a device of a file (fileio) or a block device (blockio).

        create NAME PATH [SETTING=VALUE ...]

        NAME is yours to choose; initiators do not see it. PATH is absolute; for a disk, prefer a link of
        /dev/disk/by-id, which stays the same. If the backing is not there yet, the device is parked and comes
        live by itself. The settings are those of `get` on a device.
        Example: /devices/blockio create disk1 /dev/disk/by-id/wwn-0x5000c500a1b2c3d4
        """
        self.create(name, {"path": path, **setting})


class NullHandler(Handler):
    """/devices/nullio"""

    def ui_command_create(self, name: str, size: str, **setting: str) -> None:
        """Make a device that reads as zeroes and forgets what is written.

        create NAME SIZE [SETTING=VALUE ...]

        SIZE in bytes, or with K, M, G, T. Example: /devices/nullio create fast 1T
        """
        self.create(name, {"size": size, **setting})


def device_rows(handler: str) -> Rows:
    """The settings of a device, identity included."""
    return {**HANDLERS[handler].settings, **IDENTITY}


def creation_rows(handler: str) -> Rows:
    """What can be said of a device when it is made."""
    return {**device_rows(handler), **DEVICE}


class DeviceNode(Node):
    """/devices/HANDLER/NAME"""

    has_settings = True

    def __init__(self, parent: Node, device: Device) -> None:
        super().__init__(device.name, parent)
        self.device = device

    @property
    def state(self) -> str:
        """disabled, opening, active, closing or parked."""
        return self.session.device_state(self.device.name)

    def summary(self) -> tuple[str, bool | None]:
        size = self.session.device_size(self.device)
        parts = [self.device.path, size_text(size) if size else "", self.state]
        health = {"active": True, "parked": False}.get(self.state)
        return ", ".join(part for part in parts if part), health

    def rows(self) -> Rows:
        return device_rows(self.device.handler)

    def settings(self) -> dict[str, str]:
        device = self.device
        identity = {name: getattr(device.id, name) or "" for name in IDENTITY}
        own = shown(device.settings, device.settings.table)
        size = {} if "size" in own else {"size": str(self.session.device_size(device))}
        return {"state": self.state, **size, **own, **identity}

    def change(self, values: dict[str, Any]) -> None:
        self.report(self.admin.change_device(self.name, **values))

    def ui_command_enable(self) -> None:
        """Register the device, so that it can be a LUN. Without its backing it is parked."""
        self.report(self.admin.change_device(self.name, enabled=True))

    def ui_command_disable(self) -> None:
        """Take the device out of service. It must not be a LUN of anything."""
        self.report(self.admin.change_device(self.name, enabled=False))

    def ui_command_activate(self) -> None:
        """Open the backing of a parked device now, and say why if that fails."""
        self.say(f"{self.name}: {self.admin.activate(self.name)}")

    def ui_command_deactivate(self) -> None:
        """Close the backing and park the device; its LUNs stay. It stays parked until it is activated."""
        self.say(f"{self.name}: {self.admin.deactivate(self.name)}")

    def ui_command_rebind(self, path: str = "") -> None:
        """Let the device be on the disk or file that is at its path now, whatever it was on before.

        rebind [PATH]

        PATH is its path from now on. Its LUNs stay, and initiators go on with what they find there. It says
        by what the device was known, and is from now on.
        """
        for line in rebound_lines(self.admin.rebind(self.name, path)):
            self.say(line)

    def ui_command_resize(self, size: str = "", shrink: str = "no") -> None:
        """Serve what the backing has grown to, or so many bytes of it. Nobody is disturbed.

        resize [SIZE] [shrink=yes]

        SIZE in bytes, or with K, M, G, T; 0 for all of the backing. Initiators lose what is beyond a
        smaller size, so that has to be said. It is not saved: when the backing is opened anew, all of it is
        served.
        """
        wanted = int(converted(_SERVED, size)) if size else None
        found = self.admin.resize(self.name, wanted, shrink=boolean("shrink", shrink))
        self.say(resized_text(self.name, found.before, found.size))

    def ui_command_delete(self) -> None:
        """Remove the device. It must not be a LUN of anything; what is in its backing stays."""
        self.admin.remove_device(self.name)


# Targets.


class Targets(Anywhere):
    """/targets"""

    def places(self) -> Iterator[Node]:
        for driver in DRIVERS:
            yield Driver(driver, self)

    def summary(self) -> tuple[str, bool | None]:
        return count(len(self.session.config.targets), "target"), None


def target_rows(driver: str) -> Rows:
    """The settings of a target."""
    return {REL_TGT_ID.name: REL_TGT_ID, **DRIVERS[driver].settings}


class Driver(Anywhere):
    """/targets/DRIVER"""

    def places(self) -> Iterator[Node]:
        for target in self.session.config.targets:
            if target.driver == self.name:
                yield TargetNode(self, target)

    def summary(self) -> tuple[str, bool | None]:
        return count(len(self.kids), "target"), None

    def keywords(self, command: str) -> Rows:
        if command != "create":
            return super().keywords(command)
        return {**TARGET, **target_rows(self.name)}

    def ui_command_create(self, name: str, **setting: str) -> None:
        """Make a target and open it to initiators. They see nothing before you `map` something to them.

        create NAME [enabled=no] [SETTING=VALUE ...]

        For driver local the name is yours to choose. Example: /targets/local create t1
        """
        checked(names.check_target_name(name), name)
        values = self.converted(setting, self.keywords("create"))
        self.report(self.admin.create_target(Target(self.name, name, **values)))

    def ui_command_delete(self, target: str) -> None:
        """Remove a target with its groups and LUNs; its sessions end. Devices stay."""
        self.get_child(target).ui_command_delete()


class TargetNode(Mappable):
    """/targets/DRIVER/NAME"""

    has_settings = True

    def __init__(self, parent: Node, target: Target) -> None:
        super().__init__(target.name, parent)
        self.target = target
        self.full_name = f"{target.driver}/{target.name}"

    def places(self) -> Iterator[Node]:
        yield Luns(self, Place(self.full_name, ""), self.target.luns)
        yield Groups(self)
        if DRIVERS[self.target.driver].hosts:
            yield Hosts(self)

    def summary(self) -> tuple[str, bool | None]:
        state = self.session.target_state(self.target.key)
        health = {"enabled": True, "parked": False}.get(state)
        return f"{state}, relative id {self.target.rel_tgt_id}", health

    def rows(self) -> Rows:
        return target_rows(self.target.driver)

    def settings(self) -> dict[str, str]:
        state = self.session.target_state(self.target.key)
        own = shown(self.target.settings, self.target.settings.table)
        return {"state": state, REL_TGT_ID.name: str(self.target.rel_tgt_id), **own}

    def change(self, values: dict[str, Any]) -> None:
        self.report(self.admin.change_target(self.full_name, **values))

    def place(self) -> Place:
        return Place(self.full_name, "")

    def ui_command_map(
        self, device: str, group: str = "", lun: str = "", read_only: str = "no", replace: str = "no"
    ) -> None:
        """Make a device a LUN for the initiators of a group.

        map DEVICE group=GROUP [lun=NUMBER] [read_only=yes] [replace=yes]

        Without a group: for initiators that no group claims. Without a number it gets the first free one.
        replace=yes takes a number that another device has, in one step for the initiators.
        Example: map disk1 group=backup read_only=yes
        """
        self.map(Place(self.full_name, group), device, lun, read_only, replace)

    def ui_command_unmap(self, lun: str, group: str = "") -> None:
        """Take a LUN away from the initiators of a group.

        unmap NUMBER [group=GROUP]      or the name of the device, if it is one LUN only
        """
        self.unmap(Place(self.full_name, group), lun)

    def ui_command_enable(self) -> None:
        """Open the target to initiators."""
        self.report(self.admin.change_target(self.full_name, enabled=True))

    def ui_command_disable(self) -> None:
        """Close the target; its sessions end."""
        self.report(self.admin.change_target(self.full_name, enabled=False))

    def ui_command_delete(self) -> None:
        """Remove the target with its groups and LUNs; its sessions end. Devices stay."""
        self.report(self.admin.remove_target(self.full_name))


class Luns(GroupMap):
    """.../luns"""

    def __init__(self, parent: Node, place: Place, luns: tuple[Lun, ...]) -> None:
        super().__init__("luns", parent)
        self._place = place
        self.luns = luns

    def places(self) -> Iterator[Node]:
        for lun in self.luns:
            yield LunNode(self, lun)

    def place(self) -> Place:
        return self._place

    def summary(self) -> tuple[str, bool | None]:
        whom = "" if self._place.group else ", for initiators that no group claims"
        return count(len(self.luns), "LUN") + whom, None

    def ui_command_delete(self, lun: str) -> None:
        """Take a LUN away (as `unmap`)."""
        self.ui_command_unmap(lun)


class LunNode(Node):
    """.../luns/NUMBER"""

    has_settings = True

    def __init__(self, parent: Luns, lun: Lun) -> None:
        super().__init__(str(lun.number), parent)
        self.lun = lun
        self.owner = parent.place()

    def summary(self) -> tuple[str, bool | None]:
        state = self.session.device_state(self.lun.device) if self.lun.device else "unmapped"
        mode = "read-only" if self.lun.read_only else "read-write"
        return f"{self.lun.device or '-'}, {mode}, {state}", state == "active"

    def rows(self) -> Rows:
        return {"device": _DEVICE_OF_LUN, **LUN}

    def settings(self) -> dict[str, str]:
        return {"device": self.lun.device, **shown({"read_only": self.lun.read_only}, LUN)}

    def change(self, values: dict[str, Any]) -> None:
        outcome = self.admin.change_lun(self.owner.target, self.lun.number, group=self.owner.group, **values)
        self.report(outcome)

    def ui_command_delete(self) -> None:
        """Take this LUN away (as `unmap`)."""
        self.report(self.admin.unmap(self.owner.target, self.lun.number, group=self.owner.group))


class Groups(Node):
    """/targets/DRIVER/NAME/groups"""

    def __init__(self, parent: TargetNode) -> None:
        super().__init__("groups", parent)
        self.owner = parent

    def places(self) -> Iterator[Node]:
        for group in self.owner.target.groups:
            yield GroupNode(self, group)

    def summary(self) -> tuple[str, bool | None]:
        return count(len(self.owner.target.groups), "group"), None

    def keywords(self, command: str) -> Rows:
        return GROUP if command == "create" else super().keywords(command)

    def ui_command_create(self, name: str, *initiator: str, **setting: str) -> None:
        """Make a group of initiators: all of them see the LUNs that are mapped to the group.

        create NAME [INITIATOR ...] [priority=NUMBER]

        An initiator is an exact name, or a pattern with * and ?; a leading ! inverts. An exact name anywhere
        wins over all patterns; among groups whose patterns match, the lowest priority wins.
        Example: create backup iqn.2026-11.com.example:backup1
        """
        checked(names.check_group_name(name), name)
        for pattern in initiator:
            checked(names.check_pattern(pattern), pattern)
        values = self.converted(setting, self.keywords("create"))
        self.report(
            self.admin.create_group(self.owner.full_name, Group(name, initiators=initiator, **values))
        )

    def ui_command_delete(self, group: str) -> None:
        """Remove a group; its initiators see what is left for them (`explain` says what)."""
        self.get_child(group).ui_command_delete()


class GroupNode(GroupMap):
    """/targets/DRIVER/NAME/groups/GROUP"""

    has_settings = True

    def __init__(self, parent: Groups, group: Group) -> None:
        super().__init__(group.name, parent)
        self.group = group
        self.target_name = parent.owner.full_name

    def places(self) -> Iterator[Node]:
        yield Initiators(self)
        yield Luns(self, self.place(), self.group.luns)

    def place(self) -> Place:
        return Place(self.target_name, self.group.name)

    def summary(self) -> tuple[str, bool | None]:
        return f"priority {self.group.priority}", None

    def rows(self) -> Rows:
        return GROUP

    def settings(self) -> dict[str, str]:
        return shown({"priority": self.group.priority}, GROUP)

    def change(self, values: dict[str, Any]) -> None:
        self.report(self.admin.change_group(self.target_name, self.name, **values))

    def ui_command_delete(self) -> None:
        """Remove the group; its initiators see what is left for them (`explain` says what)."""
        self.report(self.admin.remove_group(self.target_name, self.name))


class NameList(Node):
    """A place that is a list of names: initiators of a group, hosts of a target."""

    def places(self) -> Iterator[Node]:
        for name in self.members():
            yield Name(self, name)

    def members(self) -> tuple[str, ...]:
        """The names."""
        raise NotImplementedError

    def change_names(self, added: tuple[str, ...] = (), removed: tuple[str, ...] = ()) -> Outcome:
        """Add or remove names. What is there is looked up anew: others may have changed it meanwhile."""
        raise NotImplementedError

    def summary(self) -> tuple[str, bool | None]:
        return str(len(self.members())), None

    def note(self, name: str) -> tuple[str, bool | None]:
        """What is to be said of one name."""
        return "exact" if is_exact(name) else "pattern", None

    def get_child(self, name: str) -> Node:
        """The place of that name, in any spelling. Raises `UsageError`."""
        known = {name_key(member): member for member in self.members()}
        return super().get_child(known.get(name_key(name), name))

    def add(self, given: tuple[str, ...]) -> None:
        """Add names, all or none."""
        known = {name_key(name): name for name in self.members()}
        for name in given:
            if name_key(name) in known:
                raise UsageError(f"{name} is there already, as {known[name_key(name)]}")
            known[name_key(name)] = name
        if not given:
            raise UsageError("say which: create INITIATOR ...")
        self.report(self.change_names(added=given))

    def ui_command_delete(self, *initiator: str) -> None:
        """Remove names, all that are given or none.

        delete INITIATOR ...
        """
        if not initiator:
            raise UsageError("say which: delete INITIATOR ...")
        for name in initiator:
            self.get_child(name)
        self.report(self.change_names(removed=initiator))


class Initiators(NameList):
    """.../groups/GROUP/initiators"""

    def __init__(self, parent: GroupNode) -> None:
        super().__init__("initiators", parent)
        self.owner = parent

    def members(self) -> tuple[str, ...]:
        return self.owner.group.initiators

    def change_names(self, added: tuple[str, ...] = (), removed: tuple[str, ...] = ()) -> Outcome:
        place = (self.owner.target_name, self.owner.name)
        if added:
            return self.admin.add_initiator(*place, *added)
        return self.admin.remove_initiator(*place, *removed)

    def ui_command_create(self, *initiator: str) -> None:
        """Add initiators to the group.

        create INITIATOR ...        exact names, or patterns with * and ?; a leading ! inverts

        Any usual spelling of a name will do, and is kept as the one that is shown: 0x5000c500a1b2c3d4,
        naa.5000C500A1B2C3D4 and 50-00-c5-00-a1-b2-c3-d4 are all 50:00:c5:00:a1:b2:c3:d4.
        """
        for name in initiator:
            checked(names.check_pattern(name), name)
        self.add(initiator)


class Hosts(NameList):
    """/targets/local/NAME/hosts"""

    def __init__(self, parent: TargetNode) -> None:
        super().__init__("hosts", parent)
        self.owner = parent

    def members(self) -> tuple[str, ...]:
        return self.owner.target.hosts

    def change_names(self, added: tuple[str, ...] = (), removed: tuple[str, ...] = ()) -> Outcome:
        if added:
            return self.admin.add_host(self.owner.full_name, *added)
        return self.admin.remove_host(self.owner.full_name, *removed)

    def note(self, name: str) -> tuple[str, bool | None]:
        in_tree = self.owner.target.spelled.get(name, name)
        number = self.session.host_number(self.owner.full_name, in_tree)
        return (f"host{number}", True) if number else ("logged out", None)

    def ui_command_create(self, *initiator: str) -> None:
        """Make SCSI hosts on this machine that log in to the target under these names.

        create INITIATOR ...

        Each appears as a SCSI host with the disks that its name may see. Useful to try rights out, and to use
        the target from the same machine.
        """
        for name in initiator:
            checked(names.check_initiator(name), name)
        self.add(initiator)


class Name(Node):
    """One initiator of a group, or one host."""

    def __init__(self, parent: NameList, name: str) -> None:
        super().__init__(name, parent)
        self.owner = parent

    def summary(self) -> tuple[str, bool | None]:
        return self.owner.note(self.name)

    def ui_command_delete(self) -> None:
        """Remove this name."""
        self.owner.ui_command_delete(self.name)


# Sessions.


class Sessions(Anywhere):
    """/sessions"""

    def places(self) -> Iterator[Node]:
        for session in self.session.logins():
            yield SessionNode(self, session)

    def summary(self) -> tuple[str, bool | None]:
        return count(len(self.session.logins()), "session"), None


class SessionNode(Node):
    """/sessions/session.N"""

    def __init__(self, parent: Sessions, login: LoginSession) -> None:
        super().__init__(login.name, parent)
        self.login = login

    def summary(self) -> tuple[str, bool | None]:
        seen = self.login
        group = f"group {seen.group}" if seen.group else "own LUNs"
        luns = ", ".join(f"{lun.number}={lun.device}{'(ro)' if lun.read_only else ''}" for lun in seen.luns)
        return f"{seen.initiator} on {seen.target}, {group}: {luns or 'no LUNs'}", True
