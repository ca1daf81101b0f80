# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes of single objects, as values. Pure.

An `Edit` says what it has to know of the configuration and what it makes of that. The same edit works on a
part that was read for it, which costs what it changes, and on a whole configuration, together with others
that come into force with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from pyscstadmin.config.draft import Draft, DraftGroup, DraftTarget, Key, LunSet
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.config.settings import LUN
from pyscstadmin.config.valid import (
    changed_device,
    changed_group,
    changed_target,
    check_config,
    check_device,
    check_each,
    check_group,
    check_initiators,
    check_is,
    check_lun,
    check_parts,
    check_patterns,
    check_settings,
    check_target_name,
)
from pyscstadmin.errors import Conflict, InvalidInput, Problem

__all__ = [
    "Edit",
    "Needs",
    "add_hosts",
    "add_initiators",
    "change_device",
    "change_group",
    "change_lun",
    "change_target",
    "clear_group",
    "clear_target",
    "configure",
    "create_device",
    "create_group",
    "create_target",
    "joined",
    "map_luns",
    "move_initiators",
    "numbered",
    "remove_device",
    "remove_group",
    "remove_hosts",
    "remove_initiators",
    "remove_target",
    "rename_device",
    "rename_group",
    "unmap_luns",
]


@dataclass(frozen=True, slots=True)
class Needs:
    """What an edit has to know. Nothing else of the configuration has to be read for it.

    `devices`: these, whole; `shown`: of these, which LUNs are to show, no more than that they are there.
    Of `target`: its settings and hosts (`itself`), all of it (`whole`), these `groups` without their LUNs, or
    LUNs by group ('': its own), where no numbers stand for all. `everything`: the whole configuration.
    """

    devices: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    target: Key | None = None
    itself: bool = False
    whole: bool = False
    groups: tuple[str, ...] = ()
    luns: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Edit:
    """One change: `make` does it to a draft, or raises `Conflict` and has done nothing."""

    needs: Needs
    make: Callable[[Draft], None]

    def of(self, config: Config) -> Config:
        """A whole configuration with the change made."""
        draft = Draft(config)
        self.make(draft)
        return draft.config()


def joined(wanted: Sequence[Edit]) -> Edit:
    """Several edits as one."""
    if len(wanted) == 1:
        return wanted[0]

    def make(draft: Draft) -> None:
        for edit in wanted:
            edit.make(draft)

    return Edit(Needs(everything=True), make)


# Devices.


def create_device(device: Device) -> Edit:
    """Make a device."""
    check_is(Device, device, "device")
    check_config(Config((device,)))

    def make(draft: Draft) -> None:
        if device.name in draft.devices:
            handler = draft.devices[device.name].handler
            raise Conflict(f"there is a device {device.name} already, of {handler}")
        draft.devices[device.name] = device

    return Edit(Needs(devices=(device.name,)), make)


def remove_device(name: str) -> Edit:
    """Remove a device that is no LUN."""
    check_device(name)

    def make(draft: Draft) -> None:
        draft.device(name)
        _not_shown(draft, name)
        del draft.devices[name]

    return Edit(Needs(devices=(name,)), make)


def change_device(name: str, settings: Mapping[str, Any], *, alone: bool = True) -> Edit:
    """Change settings of a device. `alone`: it need not be known which LUNs show it, for it is no LUN."""
    check_device(name)

    def make(draft: Draft) -> None:
        old = draft.device(name)
        new = changed_device(old, dict(settings))
        if old.enabled and not new.enabled:
            _not_shown(draft, name)
        draft.devices[name] = new

    return Edit(Needs(devices=(name,), everything=not alone), make)


def rename_device(old: str, new: str) -> Edit:
    """Give a device another name. It stays what it is to initiators; its LUNs are away for a moment."""
    check_device(old)
    check_device(new)

    def make(draft: Draft) -> None:
        device = draft.device(old)
        if new in draft.devices:
            raise Conflict(f"there is a device {new} already, of {draft.devices[new].handler}")
        for luns in draft.sets_of(old):
            for number in luns.numbers(old):
                lun = luns.get(number)
                assert lun is not None
                luns.put(lun._replace(device=new))
        del draft.devices[old]
        draft.devices[new] = device.but(name=new)
        for group in draft.device_groups.values():
            if old in group.devices:
                renamed = tuple(new if name == old else name for name in group.devices)
                draft.device_groups[group.name] = group.but(devices=renamed)

    return Edit(Needs(everything=True), make)


def _not_shown(draft: Draft, name: str) -> None:
    shown = draft.shown_by(name)
    if shown:
        more = f" and {len(shown) - 8} more" if len(shown) > 8 else ""
        raise Conflict(f"device {name} is {', '.join(shown[:8])}{more}: unmap it there first")


# Targets.


def create_target(target: Target) -> Edit:
    """Make a target with everything in it."""
    check_is(Target, target, "target")
    check_target_name(target.driver, target.name)
    shown = _shown([lun for _, luns in target.lun_sets() for lun in luns])

    def make(draft: Draft) -> None:
        if draft.has_target(target.key):
            raise Conflict(f"target {'/'.join(target.key)} exists already")
        for name in shown:
            draft.device(name)
        draft.put_target(target)

    return Edit(Needs(shown=shown, target=target.key), make)


def remove_target(key: Key) -> Edit:
    """Remove a target with everything in it."""
    return Edit(Needs(target=key, whole=True), lambda draft: draft.drop_target(key))


def change_target(key: Key, settings: Mapping[str, Any]) -> Edit:
    """Change settings of a target, or what is in it."""
    groups = check_each("groups", settings.get("groups", ()), _is_group)
    own = check_each("LUNs", settings.get("luns", ()), _is_lun)
    shown = _shown([*own, *(lun for group in groups for lun in group.luns)])
    whole = not settings.keys().isdisjoint(("luns", "groups"))

    def make(draft: Draft) -> None:
        for name in shown:
            draft.device(name)
        draft.put_target(changed_target(draft.target(key).target(), dict(settings)))

    return Edit(Needs(shown=shown, target=key, itself=not whole, whole=whole), make)


def clear_target(key: Key, what: Sequence[str] = ("luns", "groups", "hosts")) -> Edit:
    """Remove what is in a target, the target itself stays."""
    parts = check_parts(what, ("luns", "groups", "hosts"))

    def make(draft: Draft) -> None:
        draft.put_target(draft.target(key).target().but(**dict.fromkeys(parts, ())))

    return Edit(Needs(target=key, whole=True), make)


def add_hosts(key: Key, initiators: Sequence[str]) -> Edit:
    """Make SCSI hosts of driver local."""
    check_initiators(*initiators)
    return Edit(Needs(target=key, itself=True), lambda draft: draft.target(key).hosts.add(initiators))


def remove_hosts(key: Key, initiators: Sequence[str]) -> Edit:
    """Remove such hosts."""
    check_initiators(*initiators)

    def make(draft: Draft) -> None:
        draft.target(key).hosts.remove(initiators)

    return Edit(Needs(target=key, itself=True), make)


# Groups.


def create_group(key: Key, group: Group) -> Edit:
    """Make a group with everything in it."""
    check_is(Group, group, "group")
    check_group(group.name)
    if not group.name:
        raise InvalidInput("group", [Problem("a group needs a name")])
    shown = _shown(group.luns)

    def make(draft: Draft) -> None:
        target = draft.target(key)
        if group.name in target.groups:
            raise Conflict(f"group {group.name} of {target.full_name} exists already")
        for name in shown:
            draft.device(name)
        target.groups[group.name] = DraftGroup(group)

    return Edit(Needs(shown=shown, target=key, groups=(group.name,)), make)


def remove_group(key: Key, group: str) -> Edit:
    """Remove a group with everything in it."""
    check_group(group)

    def make(draft: Draft) -> None:
        target = draft.target(key)
        target.group(group)
        del target.groups[group]

    return Edit(_group_whole(key, group), make)


def _group_whole(key: Key, *groups: str) -> Needs:
    return Needs(target=key, groups=groups, luns=dict.fromkeys(groups, ()))


def change_group(key: Key, group: str, settings: Mapping[str, Any]) -> Edit:
    """Change `priority`, `initiators` or `luns` of a group."""
    check_group(group)
    shown = _shown(settings.get("luns", ()))

    def make(draft: Draft) -> None:
        for name in shown:
            draft.device(name)
        target = draft.target(key)
        target.groups[group] = DraftGroup(changed_group(target.group(group).group(), dict(settings)))

    needs = _group_whole(key, group) if "luns" in settings else Needs(target=key, groups=(group,))
    return Edit(replace(needs, shown=shown), make)


def rename_group(key: Key, old: str, new: str) -> Edit:
    """Give a group another name; to its initiators nothing changes."""
    check_group(old)
    check_group(new)

    def make(draft: Draft) -> None:
        target = draft.target(key)
        found = target.group(old).group()
        if new in target.groups:
            raise Conflict(f"group {new} of {target.full_name} exists already")
        del target.groups[old]
        target.groups[new] = DraftGroup(replace(found, name=new))

    needs = _group_whole(key, old)
    return Edit(replace(needs, groups=(old, new)), make)


def clear_group(key: Key, group: str, what: Sequence[str] = ("luns", "initiators")) -> Edit:
    """Remove what is in a group, or the target's own LUNs ('')."""
    check_group(group)
    parts = check_parts(what, ("luns", "initiators"))

    def make(draft: Draft) -> None:
        target = draft.target(key)
        if group:
            emptied = changed_group(target.group(group).group(), dict.fromkeys(parts, ()))
            target.groups[group] = DraftGroup(emptied)
        elif "luns" in parts:
            target.luns = LunSet()

    return Edit(Needs(target=key, groups=(group,) if group else (), luns={group: ()}), make)


def add_initiators(key: Key, group: str, patterns: Sequence[str]) -> Edit:
    """Add names or patterns to a group: all of them, or none."""
    check_patterns(*patterns)
    return _members(key, group, lambda target: target.group(group).initiators.add(patterns))


def remove_initiators(key: Key, group: str, patterns: Sequence[str]) -> Edit:
    """Remove names or patterns from a group: all of them, or none."""
    check_patterns(*patterns)

    def change(target: DraftTarget) -> None:
        target.group(group).initiators.remove(patterns)

    return _members(key, group, change)


def _members(key: Key, group: str, change: Callable[[DraftTarget], None]) -> Edit:
    check_group(group)
    return Edit(Needs(target=key, groups=(group,)), lambda draft: change(draft.target(key)))


def move_initiators(key: Key, source: str, to: str, patterns: Sequence[str]) -> Edit:
    """Move names or patterns from one group to another, in one step."""
    check_patterns(*patterns)
    check_group(source)
    check_group(to)

    def make(draft: Draft) -> None:
        target = draft.target(key)
        old, new = target.group(source).initiators, target.group(to).initiators
        if source == to:
            raise Conflict(f"{', '.join(patterns)}: to group {to}, which is where they are")
        gone = old.remove(patterns)
        try:
            new.add(gone)
        except Conflict:
            old.add(gone)
            raise

    return Edit(Needs(target=key, groups=(source, to)), make)


# LUNs.


def map_luns(
    key: Key, group: str, luns: Sequence[Lun], *, modes: bool = True, replacing: bool = False
) -> Edit:
    """Make devices LUNs of a group ('': of the target itself). `modes`: LUNs that are there get the mode that
    is given, else they keep theirs. `replacing`: take numbers even if other devices have them.
    """
    check_group(group)
    for lun in luns:
        check_lun(lun.number)
        check_device(lun.device)

    def make(draft: Draft) -> None:
        there = draft.target(key).lun_set(group)
        for lun in luns:
            draft.device(lun.device)
            old = there.get(lun.number)
            if old is not None and old.device not in ("", lun.device) and not replacing:
                raise Conflict(
                    f"LUN {lun.number} is {old.device} already: unmap it first, or ask to replace it"
                )
        for lun in luns:
            old = there.get(lun.number)
            if old is not None:
                mode = lun.read_only if modes else old.read_only
                lun = old._replace(device=lun.device, read_only=mode)
            there.put(lun)

    shown = tuple(dict.fromkeys(lun.device for lun in luns))
    numbers = tuple(lun.number for lun in luns)
    return Edit(Needs(shown=shown, target=key, luns={group: numbers} if numbers else {}), make)


def numbered(there: LunSet, devices: Sequence[str], read_only: bool = False) -> list[Lun]:
    """LUNs for devices that are to get the first free numbers. Raises `Conflict`."""
    found: list[Lun] = []
    for device in devices:
        taken = there.numbers(device)
        if taken:
            raise Conflict(f"{device} is LUN {taken[0]} there already; to map it twice, say lun=NUMBER")
    try:
        for device in devices:
            found.append(Lun(there.free(), device, read_only))
            there.put(found[-1])
    finally:
        for lun in found:
            there.drop(lun.number)
    return found


def change_lun(
    key: Key,
    group: str,
    numbers: Sequence[int],
    device: str | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Edit:
    """Change what is given of LUNs that are there."""
    check_group(group)
    if device == "":
        raise Conflict("a LUN needs a device; unmap it to take it away")
    if device is not None:
        check_device(device)
    check_settings(f"LUN {', '.join(map(str, numbers))}", settings, LUN)
    for number in numbers:
        check_lun(number)

    def make(draft: Draft) -> None:
        if device is not None:
            draft.device(device)
        there = draft.target(key).lun_set(group)
        for lun in _present(there, key, group, numbers):
            there.put(lun._replace(device=lun.device if device is None else device, **settings))

    shown = () if device is None else (device,)
    return Edit(Needs(shown=shown, target=key, luns={group: tuple(numbers)}), make)


def unmap_luns(
    key: Key, group: str, luns: Sequence[tuple[int, str | None]], *, missing_ok: bool = False
) -> Edit:
    """Take LUNs away. With a device beside the number: only if the LUN is this one."""
    check_group(group)
    luns = check_each("LUNs", luns, _is_pair)

    def make(draft: Draft) -> None:
        there = draft.target(key).lun_set(group)
        numbers = [number for number, _ in luns if there.get(number) is not None or not missing_ok]
        found = {lun.number: lun for lun in _present(there, key, group, numbers)}
        for number, device in luns:
            if number in found and device not in (None, found[number].device):
                raise Conflict(f"LUN {number} is {found[number].device or 'no device'} now, not {device}")
        for number in found:
            there.drop(number)

    return Edit(Needs(target=key, luns={group: tuple(number for number, _ in luns)}), make)


def _is_pair(pair: tuple[int, str | None]) -> None:
    if type(pair) is not tuple or len(pair) != 2:
        raise InvalidInput(f"LUN {pair!r:.70}", [Problem("must be a number and a device or None")])
    check_lun(pair[0])
    if pair[1] is not None:
        check_device(pair[1])


def _is_group(group: Group) -> None:
    check_is(Group, group, "groups")


def _is_lun(lun: Lun) -> None:
    check_is(Lun, lun, "LUNs")


def _shown(luns: Iterable[Lun]) -> tuple[str, ...]:
    """The devices that LUNs show."""
    found = check_each("LUNs", luns, _is_lun)
    names = {str(lun.device): lun.device for lun in found if lun.device}
    for name in names.values():
        check_device(name)
    return tuple(names)


def _present(there: LunSet, key: Key, group: str, numbers: Iterable[int]) -> list[Lun]:
    found = []
    for number in numbers:
        lun = there.get(number)
        if lun is None:
            raise Conflict(f"there is no LUN {number} in {'/'.join(key)}{' group ' + group if group else ''}")
        found.append(lun)
    return found


# The whole.


def configure(settings: Mapping[str, Any]) -> Edit:
    """Change settings of the whole."""

    def make(draft: Draft) -> None:
        draft.settings = draft.settings.but("settings", **settings)

    return Edit(Needs(everything=True), make)
