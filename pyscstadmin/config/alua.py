# SPDX-License-Identifier: GPL-2.0-or-later
"""Device groups and their target port groups (ALUA): what contradicts itself, and what a port is to a device.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pyscstadmin.config.model import Config, DeviceGroup, PortGroup
from pyscstadmin.config.names import PORT_GROUPS_MAX, PORT_STATES, PORTS_MAX
from pyscstadmin.config.where import Path

__all__ = ["faults", "is_active", "state_of", "states_of"]

_ACTIVE = PORT_STATES[:2]


def state_of(groups: Iterable[DeviceGroup], target: str, device: str) -> str:
    """The state of a device for those who reach it by a target (`DRIVER/NAME`); '' where nobody says one."""
    group = next((group for group in groups if device in group.devices), None)
    ports = group.of_target(target) if group is not None else None
    return "" if ports is None else ports.state or PORT_STATES[0]


def states_of(groups: Sequence[DeviceGroup], target: str, devices: Iterable[str]) -> dict[str, str]:
    """Those of several devices; without those of which nobody says one."""
    found = {device: state_of(groups, target, device) for device in devices}
    return {device: state for device, state in found.items() if state}


def faults(config: Config) -> Iterator[tuple[Path, str]]:
    """What the kernel would refuse, beside single values: (where, a sentence)."""
    if not config.alua:
        return
    devices = {device.name for device in config.devices}
    targets = {"/".join(target.key): target.rel_tgt_id for target in config.targets}
    taken: dict[str, str] = {}
    for group in config.alua:
        where: Path = ("alua", group.name)
        for device in group.devices:
            first = taken.setdefault(device, group.name)
            if device not in devices:
                yield (*where, "devices"), f"there is no device {device!r}"
            elif first != group.name:
                yield (*where, "devices"), f"device {device!r} is in device group {first!r} already"
        if len(group.port_groups) > PORT_GROUPS_MAX:
            yield where, f"has more than {PORT_GROUPS_MAX} target port groups"
        yield from _port_group_faults(group, targets, where)


def _port_group_faults(
    group: DeviceGroup, targets: dict[str, int | None], where: Path
) -> Iterator[tuple[Path, str]]:
    ids: dict[int, str] = {}
    ports: dict[str | int, str] = {}
    for one in group.port_groups:
        here: Path = (*where, "target_port_groups", one.name)
        if one.group_id is not None and ids.setdefault(one.group_id, one.name) != one.name:
            yield (*here, "group_id"), f"target port group {ids[one.group_id]!r} has the same"
        if len(one.ports) > PORTS_MAX:
            yield here, f"has more than {PORTS_MAX} ports"
        for target in one.targets:
            if target not in targets:
                yield (*here, "targets"), f"there is no target {target!r}"
        yield from _repeated_ports(one, targets, ports, here)


def _repeated_ports(
    group: PortGroup, targets: dict[str, int | None], ports: dict[str | int, str], here: Path
) -> Iterator[tuple[Path, str]]:
    """A target, and a number, is a port of one group, once."""
    for target in group.targets:
        number = targets.get(target)
        for port in (target, number) if number is not None else (target,):
            if port in ports:
                yield (*here, "targets"), f"{port!r} is a port of target port group {ports[port]!r} already"
            ports[port] = group.name
    for number in group.remote_ports:
        if number in ports:
            yield (
                (*here, "remote_ports"),
                f"{number} is a port of target port group {ports[number]!r} already",
            )
        ports[number] = group.name


def is_active(state: str) -> bool:
    """Whether a device can be read and written in a state."""
    return state in _ACTIVE
