# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes of device groups and their target port groups (ALUA), as values. Pure.

All of them look at the whole configuration: what a device group may have is a matter of all devices and
targets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyscstadmin.config.draft import Draft
from pyscstadmin.config.edits import Edit, Needs
from pyscstadmin.config.model import DeviceGroup, PortGroup
from pyscstadmin.config.names import REL_TGT_ID_MAX
from pyscstadmin.config.settings import DEVICE_GROUP, GROUP_ID, PORT_GROUP, PORT_STATE
from pyscstadmin.config.valid import check_device, check_each, check_group, check_is, check_target
from pyscstadmin.errors import Conflict, InvalidInput, Problem

__all__ = [
    "add_devices",
    "add_ports",
    "change_device_group",
    "change_port_group",
    "create_device_group",
    "create_port_group",
    "remove_device_group",
    "remove_devices",
    "remove_port_group",
    "remove_ports",
]

# A port: a target (DRIVER/NAME, or NAME), or the relative target port identifier of one of another host.
Port = str | int


def _edit(make: Callable[[Draft], None]) -> Edit:
    return Edit(Needs(everything=True), make)


# Device groups.


def create_device_group(group: DeviceGroup) -> Edit:
    """Make a device group with everything in it."""
    check_is(DeviceGroup, group, "device group")
    _check_name(group.name)

    def make(draft: Draft) -> None:
        if group.name in draft.device_groups:
            raise Conflict(f"device group {group.name} exists already")
        for device in group.devices:
            _free(draft, device)
        draft.device_groups[group.name] = group

    return _edit(make)


def remove_device_group(name: str) -> Edit:
    """Remove a device group with everything in it; its devices and targets stay."""
    _check_name(name)

    def make(draft: Draft) -> None:
        draft.device_group(name)
        del draft.device_groups[name]

    return _edit(make)


def change_device_group(name: str, settings: Mapping[str, Any]) -> Edit:
    """Change settings of a device group."""
    _check_name(name)
    _known(f"device group {name}", settings, DEVICE_GROUP)

    def make(draft: Draft) -> None:
        draft.device_groups[name] = draft.device_group(name).but(**settings)

    return _edit(make)


def add_devices(name: str, devices: Sequence[str]) -> Edit:
    """Put devices into a device group: all of them, or none."""
    check_each("devices", devices, check_device)

    def make(draft: Draft) -> None:
        group = draft.device_group(name)
        for device in devices:
            _free(draft, device)
        draft.device_groups[name] = group.but(devices=(*group.devices, *devices))

    return _edit(make)


def remove_devices(name: str, devices: Sequence[str]) -> Edit:
    """Take devices out of a device group: all of them, or none."""
    check_each("devices", devices, check_device)

    def make(draft: Draft) -> None:
        group = draft.device_group(name)
        for device in devices:
            if device not in group.devices:
                raise Conflict(f"device {device} is not in device group {name}")
        left = tuple(device for device in group.devices if device not in devices)
        draft.device_groups[name] = group.but(devices=left)

    return _edit(make)


def _free(draft: Draft, device: str) -> None:
    """A device is in one device group."""
    draft.device(device)
    for group in draft.device_groups.values():
        if device in group.devices:
            raise Conflict(f"device {device} is in device group {group.name} already")


# Target port groups.


def create_port_group(of: str, group: PortGroup) -> Edit:
    """Make a target port group of a device group, with its ports."""
    check_is(PortGroup, group, "target port group")
    _check_name(group.name)

    def make(draft: Draft) -> None:
        if draft.device_group(of).port_group(group.name) is not None:
            raise Conflict(f"device group {of} has a target port group {group.name} already")
        targets = _targets(draft, of, group.targets)
        _numbers(draft, of, group.remote_ports)
        draft.put_port_group(group.but(targets=targets), of)

    return _edit(make)


def remove_port_group(of: str, name: str) -> Edit:
    """Remove a target port group; its targets stay, and nobody says their state any more."""
    _check_name(name)

    def make(draft: Draft) -> None:
        draft.port_group(name, of)
        group = draft.device_group(of)
        left = tuple(one for one in group.port_groups if one.name != name)
        draft.device_groups[of] = group.but(port_groups=left)

    return _edit(make)


def change_port_group(of: str, name: str, settings: Mapping[str, Any]) -> Edit:
    """Change settings of a target port group: `state`, `preferred`, `group_id`."""
    _check_name(name)
    rows = {GROUP_ID.name: GROUP_ID, PORT_STATE.name: PORT_STATE, **PORT_GROUP}
    _known(f"target port group {name}", settings, rows)

    def make(draft: Draft) -> None:
        draft.put_port_group(draft.port_group(name, of).but(**settings), of)

    return _edit(make)


def add_ports(of: str, name: str, ports: Sequence[Port]) -> Edit:
    """Make targets, and ports of other hosts, ports of a target port group: all of them, or none."""
    texts, numbers = _parted(ports)

    def make(draft: Draft) -> None:
        group = draft.port_group(name, of)
        targets = _targets(draft, of, texts)
        _numbers(draft, of, numbers)
        made = group.but(targets=(*group.targets, *targets), remote_ports=(*group.remote_ports, *numbers))
        draft.put_port_group(made, of)

    return _edit(make)


def remove_ports(of: str, name: str, ports: Sequence[Port]) -> Edit:
    """Take ports out of a target port group: all of them, or none."""
    texts, numbers = _parted(ports)

    def make(draft: Draft) -> None:
        group = draft.port_group(name, of)
        targets = ["/".join(draft.target_key(text)) for text in texts]
        for port in (*targets, *numbers):
            if port not in (*group.targets, *group.remote_ports):
                raise Conflict(f"{port} is no port of target port group {name}")
        left = tuple(one for one in group.targets if one not in targets)
        remote = tuple(one for one in group.remote_ports if one not in numbers)
        draft.put_port_group(group.but(targets=left, remote_ports=remote), of)

    return _edit(make)


def _parted(ports: Sequence[Port]) -> tuple[list[str], list[int]]:
    texts = [port for port in ports if not isinstance(port, int)]
    numbers = [port for port in ports if isinstance(port, int)]
    check_each("ports", texts, check_target)
    for number in numbers:
        if not 1 <= number <= REL_TGT_ID_MAX:
            raise InvalidInput(f"port {str(number)[:70]}", [Problem(f"must be 1-{REL_TGT_ID_MAX}")])
    return texts, numbers


def _targets(draft: Draft, of: str, texts: Sequence[str]) -> list[str]:
    """The full names of targets that are in no target port group of the device group yet."""
    found = ["/".join(draft.target_key(text)) for text in texts]
    for target in found:
        there = draft.device_group(of).of_target(target)
        if there is not None:
            raise Conflict(f"target {target} is a port of target port group {there.name} already")
    return found


def _numbers(draft: Draft, of: str, numbers: Sequence[int]) -> None:
    for group in draft.device_group(of).port_groups:
        for number in numbers:
            if number in group.remote_ports:
                raise Conflict(f"{number} is a port of target port group {group.name} already")


def _check_name(name: str) -> None:
    check_group(name)
    if not name:
        raise InvalidInput("group", [Problem("a group needs a name")])


def _known(whose: str, given: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
    wrong = [Problem(f"no setting {name!r}") for name in given if name not in rows]
    wrong += [
        Problem(f"{name}: {value!r} {reason}")
        for name, value in given.items()
        if name in rows and (reason := rows[name].type.refuse(value))
    ]
    if wrong:
        raise InvalidInput(whose, wrong)
