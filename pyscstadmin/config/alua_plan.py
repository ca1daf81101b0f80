# SPDX-License-Identifier: GPL-2.0-or-later
"""The part of a plan that is about device groups and their target port groups (ALUA). Pure.

Order, and why:

1. a device that goes, or moves to another handler, leaves its device group when it is no LUN any more: while
   it is one, its ports keep their states;
2. device groups, target port groups and their states are what they are to be before access changes, so that
   nobody gets at a new LUN by a port that is not to let him; ports come before devices, which have all of it
   at once;
3. ports that are new targets, or targets whose number changes, and ports of other hosts come when all numbers
   are final and before the targets are enabled: two ports of a device group never have one number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from pyscstadmin.config.acts import Act, Impact, Link, Mkdir, Operation, Rmdir, Unlink, Write
from pyscstadmin.config.layout import device_dir, device_group_dir, port_group_dir, target_dir
from pyscstadmin.config.model import Config, DeviceGroup, PortGroup
from pyscstadmin.config.names import PORT_STATES
from pyscstadmin.config.settings import Values

__all__ = ["AluaPlan", "settle_alua"]

# (device group, target port group)
_Key = tuple[str, str]


def settle_alua(current: Config, wanted: Config) -> tuple[DeviceGroup, ...]:
    """The wanted device groups, with what is not said as it is now."""
    if not wanted.alua:
        return ()
    known = {group.name: group for group in current.alua}
    return tuple(_settle_group(known.get(group.name), group) for group in wanted.alua)


def _settle_group(current: DeviceGroup | None, wanted: DeviceGroup) -> DeviceGroup:
    if current is None:
        return wanted
    asked = {group.group_id for group in wanted.port_groups}
    groups = tuple(
        _settle_ports(current.port_group(group.name), group, asked) for group in wanted.port_groups
    )
    placed = {name: current.placed[name] for name in wanted.devices if name in current.placed}
    settled = wanted.but(port_groups=groups, placed=placed)
    return current if current == settled else settled


def _settle_ports(current: PortGroup | None, wanted: PortGroup, asked: Collection[int | None]) -> PortGroup:
    if current is None:
        return wanted
    keeps = wanted.group_id is None and current.group_id not in asked
    settled = wanted.but(
        group_id=current.group_id if keeps else wanted.group_id,
        state=wanted.state or current.state,
        placed={port: current.placed[port] for port in wanted.ports if port in current.placed},
    )
    return current if current == settled else settled


class AluaPlan:
    """The operations, by when they are due; `plan` says when that is."""

    def __init__(self, current: Config, wanted: Config) -> None:
        self.old = {group.name: group for group in current.alua}
        self.new = {group.name: group for group in wanted.alua}
        self.old_ports = {(group.name, one.name): one for group in current.alua for one in group.port_groups}
        self.new_ports = {(group.name, one.name): one for group in wanted.alua for one in group.port_groups}
        self.old_paths = {one.name: device_dir(one.handler, one.name) for one in current.devices}
        self.new_paths = {one.name: device_dir(one.handler, one.name) for one in wanted.devices}
        old_numbers = {"/".join(one.key): one.rel_tgt_id for one in current.targets}
        new_numbers = {"/".join(one.key): one.rel_tgt_id for one in wanted.targets}
        self.staying = {name for name, number in new_numbers.items() if old_numbers.get(name, 0) == number}
        self.gone = old_numbers.keys() - new_numbers.keys()
        self.left: set[str] = set()
        self.renumbered: dict[_Key, int] = {}

    def remote_ports(self) -> set[int]:
        """Numbers of ports of other hosts, which no target is to get by the way."""
        found = (*self.old_ports.values(), *self.new_ports.values())
        return {number for group in found for number in group.remote_ports}

    # Devices.

    def _moves(self, device: str) -> bool:
        return self.old_paths.get(device) != self.new_paths.get(device)

    def released(self, devices: Iterable[str]) -> Iterator[Operation]:
        """Devices that go or move leave their group."""
        for name in sorted(devices):
            group = next((group for group in self.old.values() if name in group.devices), None)
            if group is not None and name not in self.left and self._moves(name):
                yield self._leave(group, name)

    def _leave(self, group: DeviceGroup, device: str) -> Operation:
        self.left.add(device)
        path = f"{device_group_dir(group.name)}/devices/{group.placed.get(device, device)}"
        acts = (Unlink(f"{path}/device", self.old_paths[device]), Rmdir(path))
        return Operation(f"take device {device} out of device group {group.name}", path, acts, _NOTICED)

    def _joins(self, device: str, group: DeviceGroup) -> bool:
        """Whether it is to be in the group, and is not."""
        old = self.old.get(group.name)
        return device in group.devices and (old is None or device not in old.devices or device in self.left)

    def joined(self, away: Collection[str]) -> Iterator[Operation]:
        """Devices join their group that were not where they are to be when it was made."""
        for group in self.new.values():
            for device in group.devices:
                late = device in away or (device in self.old_paths and self._moves(device))
                if late and self._joins(device, group):
                    yield self._join(group, device)

    def _join(self, group: DeviceGroup, device: str) -> Operation:
        path = f"{device_group_dir(group.name)}/devices/{device}"
        acts = (Mkdir(path), Link(f"{path}/device", self.new_paths[device]))
        return Operation(f"put device {device} into device group {group.name}", path, acts, _NOTICED)

    # Groups.

    def removed(self) -> Iterator[Operation]:
        """What is not wanted any more, as far as its ports and devices stay what they are."""
        for group in self.old.values():
            new = self.new.get(group.name)
            for device in group.devices:
                stays = new is not None and device in new.devices
                if not stays and device not in self.left and not self._moves(device):
                    yield self._leave(group, device)
        for key, ports in self.old_ports.items():
            wanted = self.new_ports.get(key)
            kept = wanted.ports if wanted is not None else ()
            for port in ports.ports:
                if port not in kept and port not in self.gone:
                    yield _drop_port(key, ports, port)
        yield from self._emptied(late=False)

    def closed_ports(self) -> Iterator[Operation]:
        """Ports that are targets which go, and what is empty then."""
        for key, ports in self.old_ports.items():
            for target in ports.targets:
                if target in self.gone:
                    yield _drop_port(key, ports, target)
        yield from self._emptied(late=True)

    def _is_late(self, key: _Key) -> bool:
        """Whether a target port group has a port until its target goes."""
        return not self.gone.isdisjoint(self.old_ports[key].targets)

    def _emptied(self, *, late: bool) -> Iterator[Operation]:
        for key, ports in self.old_ports.items():
            if key not in self.new_ports and self._is_late(key) == late:
                # Put back, it gets the number that it has had last: its first one may be another's by then.
                yield _remove_port_group(key, ports.but(group_id=self.renumbered.get(key, ports.group_id)))
        for name, group in self.old.items():
            waits = any(self._is_late(key) for key in self.old_ports if key[0] == name)
            waits = waits or any(self._moves(device) for device in group.devices)
            if name not in self.new and waits == late:
                yield _remove_group(group)

    def changed(self, away: Collection[str]) -> Iterator[Operation]:
        """What is new or another, but what has to wait; devices in `away` are not there yet."""
        for name, group in self.new.items():
            old = self.old.get(name)
            if old is None:
                yield _create_group(group)
            elif old.settings != group.settings:
                yield _change(f"device group {name}", device_group_dir(name), old.settings, group.settings)
            yield from self._numbers(name)
            # Those that get the first free number come last.
            for one in sorted(group.port_groups, key=lambda one: one.group_id is None):
                yield from self._port_group((name, one.name), one)
            for device in group.devices:
                early = device not in away and not (device in self.old_paths and self._moves(device))
                if early and self._joins(device, group):
                    yield self._join(group, device)

    def _port_group(self, key: _Key, group: PortGroup) -> Iterator[Operation]:
        old = self.old_ports.get(key)
        path = port_group_dir(*key)
        where = _place(key)
        if old is None:
            acts: tuple[Act, ...] = (Mkdir(path), *_values(path, group))
            yield Operation(f"create {where}", path, acts)
        else:
            if group.state is not None and old.state != group.state:
                write = Write(f"{path}/state", group.state, old.state)
                yield Operation(f"set state of {where} to {group.state}", path, (write,), _NOTICED)
            if old.settings != group.settings:
                yield _change(where, path, old.settings, group.settings)
        for target in group.targets:
            if target in self.staying and (old is None or target not in old.targets):
                yield _add_target(key, target)

    def late_ports(self) -> Iterator[Operation]:
        """Ports whose numbers are final only now, and those of other hosts."""
        for key, group in self.new_ports.items():
            old = self.old_ports.get(key)
            for target in group.targets:
                if target not in self.staying and (old is None or target not in old.targets):
                    yield _add_target(key, target)
            for number in group.remote_ports:
                if old is None or number not in old.remote_ports:
                    yield _add_remote(key, number)

    # Identifiers.

    def _numbers(self, name: str) -> Iterator[Operation]:
        """Move identifiers, never onto one that is taken."""
        held = {
            key: old.group_id
            for key, old in self.old_ports.items()
            if key[0] == name and (key in self.new_ports or self._is_late(key))
        }
        wanted = {key: one.group_id for key, one in self.new_ports.items() if key[0] == name}
        for key, number in _moves(held, wanted):
            write = Write(f"{port_group_dir(*key)}/group_id", str(number), str(held[key]))
            held[key] = self.renumbered[key] = number
            yield Operation(
                f"set group_id of {_place(key)} to {number}", port_group_dir(*key), (write,), _NOTICED
            )


def _moves(held: Mapping[_Key, int | None], wanted: Mapping[_Key, int | None]) -> Iterator[tuple[_Key, int]]:
    """Which of them gets which identifier, one after the other, so that none is taken when it is given.

    Who is in the way of another and is not to have a certain one makes room. What is left then are rings, for
    no two are to have the same: one of each goes through a free number.
    """
    now = dict(held)
    asked = {number for number in wanted.values() if number is not None}
    pending = {key: wanted.get(key) for key in held if wanted.get(key) not in (None, held[key])}
    pending |= {key: None for key, number in held.items() if number in asked and wanted.get(key) is None}
    while pending:
        taken = set(now.values())
        able = next((key for key, number in pending.items() if number is None or number not in taken), None)
        number = None if able is None else pending.pop(able)
        key = next(iter(pending)) if able is None else able
        now[key] = number or next(one for one in range(1, 65537) if one not in taken and one not in asked)
        yield key, now[key]  # type: ignore[misc]


_NOTICED = Impact.UNIT_ATTENTION
# A directory that is no port, or has no device, is placed under its own name behind this.
_STRAY = "?"


def _place(key: _Key) -> str:
    return f"target port group {key[1]} of device group {key[0]}"


def _change(what: str, path: str, old: Values, new: Values) -> Operation:
    acts = tuple(
        Write(f"{path}/{name}", row.type.to_kernel(new[name]), row.type.to_kernel(old[name]))
        for name, row in new.table.items()
        if old[name] != new[name]
    )
    names = ", ".join(act.path.rpartition("/")[2] for act in acts)
    return Operation(f"change {names} of {what}", path, acts, _NOTICED)


def _chosen(path: str, settings: Values) -> Iterator[Write]:
    for name, value in settings.chosen():
        yield Write(f"{path}/{name}", settings.table[name].type.to_kernel(value))


def _values(path: str, group: PortGroup) -> Iterator[Write]:
    """What makes a new target port group this one."""
    if group.group_id is not None:
        yield Write(f"{path}/group_id", str(group.group_id))
    if group.state not in (None, PORT_STATES[0]):
        yield Write(f"{path}/state", str(group.state))
    yield from _chosen(path, group.settings)


def _create_group(group: DeviceGroup) -> Operation:
    path = device_group_dir(group.name)
    return Operation(f"create device group {group.name}", path, (Mkdir(path), *_chosen(path, group.settings)))


def _strays(path: str, placed: Mapping[str, str]) -> Iterator[Act]:
    for name, folder in placed.items():
        if name.startswith(_STRAY):
            yield Rmdir(f"{path}/{folder}")


def _remove_group(group: DeviceGroup) -> Operation:
    path = device_group_dir(group.name)
    gone = Rmdir(path, tuple(_chosen(path, group.settings)))
    acts = (*_strays(f"{path}/devices", group.placed), gone)
    return Operation(f"remove device group {group.name}", path, acts)


def _remove_port_group(key: _Key, group: PortGroup) -> Operation:
    path = port_group_dir(*key)
    acts = (*_strays(f"{path}/ports", group.placed), Rmdir(path, tuple(_values(path, group))))
    return Operation(f"remove {_place(key)}", path, acts)


def _target_dir(target: str) -> str:
    return target_dir(*target.split("/", 1))


def _drop_port(key: _Key, group: PortGroup, port: str) -> Operation:
    path = f"{port_group_dir(*key)}/ports/{group.placed.get(port, _folder(port))}"
    if port in group.targets:
        acts: tuple[Act, ...] = (Unlink(f"{path}/target", _target_dir(port)), Rmdir(path))
    else:
        acts = (Rmdir(path, (Write(f"{path}/rel_tgt_id", port),)),)
    return Operation(f"take port {port} out of {_place(key)}", path, acts, _NOTICED)


def _folder(port: str) -> str:
    """Our name for the directory of a port: a target, or a number of another host's."""
    return port.replace("/", ":", 1) if "/" in port else f"remote:{port}"


def _add_target(key: _Key, target: str) -> Operation:
    path = f"{port_group_dir(*key)}/ports/{_folder(target)}"
    acts = (Mkdir(path), Link(f"{path}/target", _target_dir(target)))
    return Operation(f"make {target} a port of {_place(key)}", path, acts, _NOTICED)


def _add_remote(key: _Key, number: int) -> Operation:
    path = f"{port_group_dir(*key)}/ports/{_folder(str(number))}"
    acts = (Mkdir(path), Write(f"{path}/rel_tgt_id", str(number)))
    return Operation(f"make port {number} of another host one of {_place(key)}", path, acts, _NOTICED)
