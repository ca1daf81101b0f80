# SPDX-License-Identifier: GPL-2.0-or-later
"""The tree of the shell: its places, and what is to be said of each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli.places import TOP, Place, parts
from pyscstadmin.cli.render import config_counts, limits_text, size_text
from pyscstadmin.config.alua import is_active
from pyscstadmin.config.model import Device, DeviceGroup, Group, Lun, Portal, PortGroup, Target, User
from pyscstadmin.config.settings import DRIVERS, HANDLERS, PORT_STATE
from pyscstadmin.config.spelling import is_exact
from pyscstadmin.shell.library import ConfigShell, undisturbed
from pyscstadmin.shell.node import Node, count

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context
    from pyscstadmin.config.faultpoints import FaultPoint
    from pyscstadmin.kernel.sessions import Session

__all__ = ["Root", "draw", "framework", "node_at"]

_Summary = tuple[str, bool | None]


def framework(context: Context) -> Any:
    """The library's shell, without its preferences file, its log and its colours where nobody sees them."""
    with undisturbed():
        made = ConfigShell(preferences_dir=None)
    made.prefs["color_mode"] = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    made.prefs["loglevel_console"] = "error"
    made.log.debug = lambda message: None  # it would look up who calls, at each of its messages
    made.context = context
    return made


def node_at(shell: Any, place: Place) -> Node:
    """A place of the tree, made without looking at what is beside it."""
    node: Node = Root(shell)
    here = TOP
    for part in parts(place.path):
        here = here.child(part)
        node = Passing(here, node)
    return node


def draw(context: Context, place: Place, depth: int | None) -> list[str]:
    """The tree below a place, a line for each; so many levels of it."""
    shell = framework(context)
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isascii() and columns.isdigit() else 0
    shell.con.get_width = lambda: width or _width()
    node: Node = Root(shell)
    for part in parts(place.path):
        node = node.kids[part]
    lines = node._render_tree(node, depth=depth).splitlines()
    return [line.rstrip()[:width] if width else line.rstrip() for line in lines]


def _width() -> int:
    """Of the terminal; where there is none, nothing is padded."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 80


class Passing(Node):
    """A place that one goes through, or gives commands at: nobody looks at what is below."""


class Root(Node):
    """/"""

    def __init__(self, shell: Any) -> None:
        super().__init__(TOP, shell=shell)

    def places(self) -> Iterator[Node]:
        yield Devices(TOP.child("devices"), self)
        yield Targets(TOP.child("targets"), self)
        yield DeviceGroups(TOP.child("alua"), self)
        yield Portals(TOP.child("portals"), self)
        yield Users(TOP.child("users"), self, self.context.config.iscsi.users if self.context.there() else ())
        yield Faults(TOP.child("faults"), self)
        yield Sessions(TOP.child("sessions"), self)

    def summary(self) -> _Summary:
        if not self.context.there():
            return "no control plane", False
        return config_counts(self.context.config), None


# Devices.


class Devices(Node):
    """/devices"""

    def places(self) -> Iterator[Node]:
        for handler in HANDLERS:
            yield Handler(self.place.child(handler), self)

    def summary(self) -> _Summary:
        return count(len(self.context.config.devices), "device"), None


class Handler(Node):
    """/devices/HANDLER"""

    def places(self) -> Iterator[Node]:
        for device in self.context.config.devices:
            if device.handler == self.name:
                yield DeviceNode(self, device)

    def summary(self) -> _Summary:
        return count(len(self.kids), "device"), None


class DeviceNode(Node):
    """/devices/HANDLER/NAME"""

    def __init__(self, parent: Node, device: Device) -> None:
        super().__init__(parent.place.child(device.name), parent)
        self.device = device

    def summary(self) -> _Summary:
        size, state = self.context.device_size(self.device), self.context.device_state(self.device.name)
        found = [self.device.path, size_text(size) if size else "", state]
        return ", ".join(part for part in found if part), {"active": True, "parked": False}.get(state)


# Targets.


class Targets(Node):
    """/targets"""

    def places(self) -> Iterator[Node]:
        for driver in DRIVERS:
            yield Driver(self.place.child(driver), self)

    def summary(self) -> _Summary:
        return count(len(self.context.config.targets), "target"), None


class Driver(Node):
    """/targets/DRIVER"""

    def places(self) -> Iterator[Node]:
        for target in self.context.config.targets:
            if target.driver == self.name:
                yield TargetNode(self, target)

    def summary(self) -> _Summary:
        return count(len(self.kids), "target"), None


class TargetNode(Node):
    """/targets/DRIVER/NAME"""

    def __init__(self, parent: Node, target: Target) -> None:
        super().__init__(parent.place.child(target.name), parent)
        self.target = target

    def places(self) -> Iterator[Node]:
        yield Luns(self.place.child("luns"), self, self.target.luns)
        yield Groups(self.place.child("groups"), self, self.target)
        if DRIVERS[self.target.driver].hosts:
            yield Hosts(self.place.child("hosts"), self, self.target)
        if DRIVERS[self.target.driver].portals:
            yield Links(self.place.child("portals"), self, self.target)
            yield Users(self.place.child("users"), self, self.target.users)

    def summary(self) -> _Summary:
        state = self.context.target_state(self.target.key)
        relative = f", relative id {self.target.rel_tgt_id}" if self.target.rel_tgt_id else ""
        # One that waits for its port is as it should be.
        return f"{state}{relative}", True if state == "enabled" else None


class Luns(Node):
    """.../luns"""

    def __init__(self, place: Place, parent: Node, luns: tuple[Lun, ...]) -> None:
        super().__init__(place, parent)
        self.luns = luns

    def places(self) -> Iterator[Node]:
        for lun in self.luns:
            yield LunNode(self, lun)

    def summary(self) -> _Summary:
        whom = "" if self.place.fixed["group"] else ", for initiators that no group claims"
        return count(len(self.luns), "LUN") + whom, None


class LunNode(Node):
    """.../luns/NUMBER"""

    def __init__(self, parent: Node, lun: Lun) -> None:
        super().__init__(parent.place.child(str(lun.number)), parent)
        self.lun = lun

    def summary(self) -> _Summary:
        state = self.context.device_state(self.lun.device) if self.lun.device else "unmapped"
        mode = "read-only" if self.lun.read_only else "read-write"
        return f"{self.lun.device or '-'}, {mode}{limits_text(self.lun)}, {state}", state == "active"


class Groups(Node):
    """/targets/DRIVER/NAME/groups"""

    def __init__(self, place: Place, parent: Node, target: Target) -> None:
        super().__init__(place, parent)
        self.target = target

    def places(self) -> Iterator[Node]:
        for group in self.target.groups:
            yield GroupNode(self, group)

    def summary(self) -> _Summary:
        return count(len(self.target.groups), "group"), None


class GroupNode(Node):
    """/targets/DRIVER/NAME/groups/GROUP"""

    def __init__(self, parent: Node, group: Group) -> None:
        super().__init__(parent.place.child(group.name), parent)
        self.group = group

    def places(self) -> Iterator[Node]:
        yield Initiators(self.place.child("initiators"), self, self.group)
        yield Luns(self.place.child("luns"), self, self.group.luns)

    def summary(self) -> _Summary:
        return f"priority {self.group.priority}", None


class Initiators(Node):
    """.../groups/GROUP/initiators"""

    def __init__(self, place: Place, parent: Node, group: Group) -> None:
        super().__init__(place, parent)
        self.group = group

    def places(self) -> Iterator[Node]:
        for name in self.group.initiators:
            yield Leaf(self.place.child(name), self, "exact" if is_exact(name) else "pattern")

    def summary(self) -> _Summary:
        return str(len(self.group.initiators)), None


class Hosts(Node):
    """/targets/local/NAME/hosts"""

    def __init__(self, place: Place, parent: Node, target: Target) -> None:
        super().__init__(place, parent)
        self.target = target

    def places(self) -> Iterator[Node]:
        for name in self.target.hosts:
            in_tree = self.target.spelled.get(name, name)
            number = self.context.host_number("/".join(self.target.key), in_tree)
            text = f"host{number}" if number else "logged out"
            yield Leaf(self.place.child(name), self, text, True if number else None)

    def summary(self) -> _Summary:
        return str(len(self.target.hosts)), None


class Leaf(Node):
    """One initiator of a group, or one host."""

    def __init__(self, place: Place, parent: Node, text: str, health: bool | None = None) -> None:
        super().__init__(place, parent)
        self.said = text, health

    def summary(self) -> _Summary:
        return self.said


# Device groups (ALUA).


class DeviceGroups(Node):
    """/alua"""

    def places(self) -> Iterator[Node]:
        for group in self.context.config.alua:
            yield DeviceGroupNode(self, group)

    def summary(self) -> _Summary:
        return count(len(self.context.config.alua), "device group"), None


class DeviceGroupNode(Node):
    """/alua/GROUP"""

    def __init__(self, parent: Node, group: DeviceGroup) -> None:
        super().__init__(parent.place.child(group.name), parent)
        self.group = group

    def places(self) -> Iterator[Node]:
        yield PortGroups(self.place.child("tpgs"), self, self.group)

    def summary(self) -> _Summary:
        explicit = ", explicit" if self.group.settings["explicit"] else ""
        return f"{', '.join(self.group.devices) or 'no devices'}{explicit}", None


class PortGroups(Node):
    """/alua/GROUP/tpgs"""

    def __init__(self, place: Place, parent: Node, group: DeviceGroup) -> None:
        super().__init__(place, parent)
        self.group = group

    def places(self) -> Iterator[Node]:
        for one in self.group.port_groups:
            yield PortGroupNode(self, one)

    def summary(self) -> _Summary:
        return count(len(self.group.port_groups), "target port group"), None


class PortGroupNode(Node):
    """/alua/GROUP/tpgs/NAME"""

    def __init__(self, parent: Node, group: PortGroup) -> None:
        super().__init__(parent.place.child(group.name), parent)
        self.group = group

    def summary(self) -> _Summary:
        one = self.group
        preferred = ", preferred" if one.settings["preferred"] else ""
        state = one.state or str(PORT_STATE.default)
        ports = ", ".join(one.ports) or "no ports"
        return f"{state}{preferred}, id {one.group_id or '-'}: {ports}", is_active(state)


# iSCSI: portals and users.


class Portals(Node):
    """/portals"""

    def places(self) -> Iterator[Node]:
        states = self.context.admin.portal_states()
        for portal in self.context.config.iscsi.portals:
            yield Leaf(
                self.place.child(portal.name), self, *_portal_said(portal, states.get(portal.name, ""))
            )

    def summary(self) -> _Summary:
        return count(len(self.context.config.iscsi.portals), "portal"), None


def _portal_said(portal: Portal, state: str) -> tuple[str, bool | None]:
    values = portal.settings
    where = f"{values['address']} port {values['port']}"
    health = {"listening": True, "failed": False}.get(state.partition(":")[0])
    return f"{where}{f', {state}' if state else ''}", health


class Links(Node):
    """/targets/iscsi/NAME/portals"""

    def __init__(self, place: Place, parent: Node, target: Target) -> None:
        super().__init__(place, parent)
        self.target = target

    def places(self) -> Iterator[Node]:
        states = self.context.admin.portal_states()
        for name in self.target.portals:
            portal = self.context.config.iscsi.portal(name)
            said = _portal_said(portal, states.get(name, "")) if portal is not None else ("", None)
            yield Leaf(self.place.child(name), self, *said)

    def summary(self) -> _Summary:
        found = len(self.target.portals)
        return count(found, "portal") if found else "no portals: reached nowhere", None


class Users(Node):
    """/users, those of discovery, and /targets/iscsi/NAME/users"""

    def __init__(self, place: Place, parent: Node, users: tuple[User, ...]) -> None:
        super().__init__(place, parent)
        self.users = users

    def places(self) -> Iterator[Node]:
        for user in self.users:
            secret = "" if user.secret_file else ", no secret"
            yield Leaf(self.place.child(user.name), self, f"{user.settings['direction']}{secret}")

    def summary(self) -> _Summary:
        return count(len(self.users), "user"), None


# Faults that are injected on purpose.


class Faults(Node):
    """/faults"""

    def places(self) -> Iterator[Node]:
        for fault in self.context.admin.faults():
            yield FaultNode(self, fault)

    def summary(self) -> _Summary:
        found = self.context.admin.faults() if self.context.there() else []
        on = sum(fault.enabled for fault in found)
        return count(len(found), "fault") + (f", {on} in force" if on else ""), False if on else None


class FaultNode(Node):
    """/faults/NAME"""

    def __init__(self, parent: Node, fault: FaultPoint) -> None:
        super().__init__(parent.place.child(fault.name), parent)
        self.fault = fault

    def summary(self) -> _Summary:
        state = f"in force, {self.fault.hits} struck" if self.fault.enabled else "off"
        return f"{self.fault.text}, {state}", False if self.fault.enabled else None


# Sessions.


class Sessions(Node):
    """/sessions"""

    def places(self) -> Iterator[Node]:
        for session in self.context.logins():
            yield SessionNode(self, session)

    def summary(self) -> _Summary:
        return count(len(self.context.logins()), "session"), None


class SessionNode(Node):
    """/sessions/session.N"""

    def __init__(self, parent: Node, login: Session) -> None:
        super().__init__(parent.place.child(login.name), parent)
        self.login = login

    def summary(self) -> _Summary:
        seen = self.login
        group = f"group {seen.group}" if seen.group else "own LUNs"
        luns = ", ".join(f"{lun.number}={lun.device}{'(ro)' if lun.read_only else ''}" for lun in seen.luns)
        return f"{seen.initiator} on {seen.target}, {group}: {luns or 'no LUNs'}", True
