# SPDX-License-Identifier: GPL-2.0-or-later
"""A configuration, or a part of one, that is being worked on. Pure.

A `Config` is immutable; to change one thing of it is to make all of it anew. A `Draft` is the same in a form
in which each change costs what it changes. It knows what contradicts itself, and says so with `Conflict`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NoReturn

from pyscstadmin.config.model import Config, Device, DeviceGroup, Group, Lun, Portal, PortGroup, Target
from pyscstadmin.config.names import LUN_MAX
from pyscstadmin.config.settings import DRIVERS, Values
from pyscstadmin.config.spelling import name_key
from pyscstadmin.errors import Conflict

__all__ = [
    "Draft",
    "DraftGroup",
    "DraftTarget",
    "Key",
    "Known",
    "LunSet",
    "Names",
    "is_called",
    "near",
    "no_single",
]

Key = tuple[str, str]


def near(word: str, known: Iterable[str]) -> str:
    """`; did you mean da?`, or nothing."""
    from difflib import get_close_matches  # for what is wrong only

    choices = list(known)
    close = get_close_matches(word, choices, 1, 0.5) if len(word) < 300 and len(choices) < 5000 else []
    return f"; did you mean {close[0]}?" if close else ""


def is_called(key: Key, text: str) -> bool:
    """Whether this is what a target is called: `DRIVER/NAME`, or `NAME`, in any spelling."""
    driver, slash, name = text.partition("/")
    if slash and driver != key[0]:
        return False
    spec = DRIVERS.get(key[0])
    said = name if slash else text
    return key[1] in (said, spec.name.canonical(said) if spec is not None else said)


def no_single(target: str, count: int, known: Iterable[str]) -> NoReturn:
    """Raise the `Conflict` for a target that is not there, or there several times."""
    if count:
        raise Conflict(f"several drivers have a target {target}: say DRIVER/{target}")
    raise Conflict(f"there is no target {target}{near(target, known)}")


class LunSet:
    """LUNs by number. The first free number, and the numbers of a device, are found without a search."""

    __slots__ = ("_by_device", "_low", "_luns")

    def __init__(self, luns: Iterable[Lun] = ()) -> None:
        self._luns: dict[int, Lun] = {}
        self._by_device: dict[str, set[int]] = {}
        self._low = 0
        for lun in luns:
            self.put(lun)

    def get(self, number: int) -> Lun | None:
        """The LUN of that number, None if it is free."""
        return self._luns.get(number)

    def put(self, lun: Lun) -> None:
        """Add a LUN, or replace the one of its number."""
        self.drop(lun.number)
        self._luns[lun.number] = lun
        self._by_device.setdefault(lun.device, set()).add(lun.number)

    def drop(self, number: int) -> Lun | None:
        """Take a LUN away; returns it, None if there was none."""
        lun = self._luns.pop(number, None)
        if lun is not None:
            numbers = self._by_device[lun.device]
            numbers.discard(number)
            if not numbers:
                del self._by_device[lun.device]
            self._low = min(self._low, number)
        return lun

    def take_over(self, now: LunSet, numbers: Iterable[int]) -> None:
        """Make these numbers what they are in another set."""
        for number in numbers:
            lun = now.get(number)
            if lun is None:
                self.drop(number)
            else:
                self.put(lun)

    def free(self) -> int:
        """The lowest number that is not taken. Raises `Conflict`."""
        while self._low in self._luns:
            self._low += 1
        if self._low > LUN_MAX:
            raise Conflict(f"all {LUN_MAX + 1} LUN numbers are taken")
        return self._low

    def numbers(self, device: str) -> list[int]:
        """The numbers under which a device is shown."""
        return sorted(self._by_device.get(device, ()))

    def luns(self) -> tuple[Lun, ...]:
        """All of them."""
        return tuple(self._luns.values())


class Names:
    """Names of initiators, as they were given first, in whichever spelling they are given later."""

    __slots__ = ("_names",)

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {name_key(name): name for name in names}

    def add(self, names: Iterable[str]) -> None:
        """Add all of them, or none. Raises `Conflict`."""
        new: dict[str, str] = {}
        for name in names:
            key = name_key(name)
            found = self._names.get(key) or new.get(key)
            if found is not None:
                raise Conflict(f"{name} is there already" + ("" if found == name else f", spelled {found}"))
            new[key] = name
        self._names.update(new)

    def remove(self, names: Iterable[str]) -> list[str]:
        """Remove all of them, or none; returns them as they were given first. Raises `Conflict`."""
        gone = {name_key(name): name for name in names}
        for key, name in gone.items():
            if key not in self._names:
                raise Conflict(f"{name} is not there{near(name, self._names.values())}")
        return [self._names.pop(key) for key in gone]

    def __contains__(self, name: str) -> bool:
        return name_key(name) in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names.values())

    def __len__(self) -> int:
        return len(self._names)


class DraftGroup:
    """A group that is being worked on. `base` has its settings."""

    __slots__ = ("base", "initiators", "luns")

    def __init__(self, group: Group) -> None:
        self.base = group
        self.initiators = Names(group.initiators)
        self.luns = LunSet(group.luns)

    def group(self) -> Group:
        """As a value."""
        return replace(self.base, initiators=tuple(self.initiators), luns=self.luns.luns())


# What there is beside what a draft has, for hints: the names of devices, or of the groups of a target.
Known = Callable[[Key | None], Iterable[str]]


class DraftTarget:
    """A target that is being worked on. `base` has its settings."""

    __slots__ = ("_known", "base", "groups", "hosts", "luns")

    def __init__(self, target: Target, known: Known | None = None) -> None:
        self.base = target
        self._known = known
        self.hosts = Names(target.hosts)
        self.luns = LunSet(target.luns)
        self.groups = {group.name: DraftGroup(group) for group in target.groups}

    @property
    def full_name(self) -> str:
        """`DRIVER/NAME`."""
        return "/".join(self.base.key)

    def group(self, name: str) -> DraftGroup:
        """The group of that name. Raises `Conflict`."""
        found = self.groups.get(name)
        if found is None:
            known = self._known(self.base.key) if self._known is not None else self.groups
            raise Conflict(f"target {self.full_name} has no group {name}{near(name, known)}")
        return found

    def lun_set(self, group: str) -> LunSet:
        """The LUNs of a group, or the target's own ('')."""
        return self.group(group).luns if group else self.luns

    def lun_sets(self) -> Iterator[LunSet]:
        """All sets of LUNs."""
        yield self.luns
        yield from (group.luns for group in self.groups.values())

    def target(self) -> Target:
        """As a value."""
        groups = tuple(group.group() for group in self.groups.values())
        return self.base.but(hosts=tuple(self.hosts), luns=self.luns.luns(), groups=groups)


class Draft:
    """A configuration that is being worked on. What is not touched comes out as the very same object.

    `known`: where it is a part only, what else there is.
    """

    def __init__(self, config: Config, known: Known | None = None) -> None:
        self._known = known
        self.settings: Values = config.settings
        self.devices: dict[str, Device] = {device.name: device for device in config.devices}
        self._alua = config.alua
        self.device_groups: dict[str, DeviceGroup] = {group.name: group for group in config.alua}
        self.iscsi = config.iscsi
        self._targets: dict[Key, Target | DraftTarget] = {target.key: target for target in config.targets}

    def config(self) -> Config:
        """As a value."""
        targets = tuple(
            found.target() if isinstance(found, DraftTarget) else found for found in self._targets.values()
        )
        alua = tuple(self.device_groups.values())
        if alua == self._alua:
            alua = self._alua
        devices = tuple(self.devices.values())
        return Config(devices, targets, alua, iscsi=self.iscsi, settings=self.settings)

    # Devices.

    def device(self, name: str) -> Device:
        """The device of that name. Raises `Conflict`."""
        found = self.devices.get(name)
        if found is None:
            known = self._known(None) if self._known is not None else self.devices
            raise Conflict(f"there is no device {name}{near(name, known)}")
        return found

    def shown_by(self, device: str) -> list[str]:
        """Where a device is a LUN, for a message."""
        return [
            f"LUN {number} of {'/'.join(key)}{f' group {group}' if group else ''}"
            for key, target in self._targets.items()
            for group, numbers in _numbers(target, device)
            for number in numbers
        ]

    # Device groups.

    def device_group(self, name: str) -> DeviceGroup:
        """The device group of that name. Raises `Conflict`."""
        found = self.device_groups.get(name)
        if found is None:
            raise Conflict(f"there is no device group {name}{near(name, self.device_groups)}")
        return found

    def port_group(self, name: str, of: str) -> PortGroup:
        """The target port group of that name of a device group. Raises `Conflict`."""
        group = self.device_group(of)
        found = group.port_group(name)
        if found is None:
            known = [one.name for one in group.port_groups]
            raise Conflict(f"device group {of} has no target port group {name}{near(name, known)}")
        return found

    def put_port_group(self, port_group: PortGroup, of: str, instead_of: str = "") -> None:
        """Add a target port group to a device group, or put it in the place of the one of its name."""
        group = self.device_group(of)
        kept = (one for one in group.port_groups if one.name not in (port_group.name, instead_of))
        self.device_groups[of] = group.but(port_groups=(*kept, port_group))

    # iSCSI.

    def portal(self, name: str) -> Portal:
        """The portal of that name. Raises `Conflict`."""
        found = self.iscsi.portal(name)
        if found is None:
            known = [portal.name for portal in self.iscsi.portals]
            raise Conflict(f"there is no portal {name}{near(name, known)}")
        return found

    # Targets.

    def target_key(self, name: str) -> Key:
        """(driver, name) of a target given as `DRIVER/NAME` or `NAME`. Raises `Conflict`."""
        found = [key for key in self._targets if is_called(key, name)]
        if len(found) != 1:
            no_single(name, len(found), ("/".join(key) for key in self._targets))
        return found[0]

    def has_target(self, key: Key) -> bool:
        """Whether there is such a target."""
        return key in self._targets

    def target(self, key: Key) -> DraftTarget:
        """The target, to be changed. Raises `Conflict`."""
        found = self._targets.get(key)
        if found is None:
            no_single("/".join(key), 0, ("/".join(known) for known in self._targets))
        if isinstance(found, Target):
            found = self._targets[key] = DraftTarget(found, self._known)
        return found

    def put_target(self, target: Target) -> None:
        """Add a target, or put it in the place of the one of its name."""
        self._targets[target.key] = target

    def drop_target(self, key: Key) -> None:
        """Remove a target. Raises `Conflict`."""
        self.target(key)
        del self._targets[key]

    def lun_sets(self) -> Iterator[LunSet]:
        """All sets of LUNs, to be changed."""
        for key in self._targets:
            yield from self.target(key).lun_sets()

    def sets_of(self, device: str) -> Iterator[LunSet]:
        """The sets of LUNs that show a device, to be changed."""
        found = self._targets.items()
        for key in [key for key, target in found if any(numbers for _, numbers in _numbers(target, device))]:
            yield from (luns for luns in self.target(key).lun_sets() if luns.numbers(device))


def _numbers(target: Target | DraftTarget, device: str) -> Iterator[tuple[str, list[int]]]:
    """(group, numbers) under which a target shows a device."""
    if isinstance(target, Target):
        for name, luns in target.lun_sets():
            yield name, [lun.number for lun in luns if lun.device == device]
        return
    yield "", target.luns.numbers(device)
    yield from ((name, group.luns.numbers(device)) for name, group in target.groups.items())
