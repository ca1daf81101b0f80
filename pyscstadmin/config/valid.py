# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program wants, checked by the rules that files are checked by. Pure.

Values that a program makes need not have come from a file: names, numbers and references are whatever it put
there. Nothing of them may reach a tree before it is known to be what it says it is. All functions raise
`InvalidInput`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pyscstadmin.config import iscsi, names
from pyscstadmin.config.alua import faults
from pyscstadmin.config.check import Checker
from pyscstadmin.config.model import Config, Device, Group, Identity, Lun, Target
from pyscstadmin.config.names import Fault
from pyscstadmin.config.schema import VERSION, to_data
from pyscstadmin.config.settings import DRIVERS, IDENTITY, LUN, Number, Setting, hint
from pyscstadmin.config.where import dotted
from pyscstadmin.errors import InvalidInput, Problem

__all__ = [
    "changed_device",
    "changed_group",
    "changed_target",
    "check_call",
    "check_config",
    "check_device",
    "check_each",
    "check_fault",
    "check_group",
    "check_initiators",
    "check_is",
    "check_lun",
    "check_parts",
    "check_path",
    "check_patterns",
    "check_seconds",
    "check_settings",
    "check_size",
    "check_target",
    "check_target_name",
    "is_target",
]

_SHOWN = 100
SECONDS_MAX = 86400
_Thing = TypeVar("_Thing", Device, Target)
_Value = TypeVar("_Value")


def check_config(wanted: Config, present: Config | None = None) -> None:
    """Check a configuration, once; with `present`, only what is not the very same object there."""
    check_is(Config, wanted, "what is wanted")
    if wanted.right:
        return
    old = present or Config()
    kept = {id(thing) for thing in (*old.devices, *old.targets)}
    part = Config(
        tuple(device for device in wanted.devices if id(device) not in kept),
        tuple(target for target in wanted.targets if id(target) not in kept),
        () if wanted.alua is old.alua else wanted.alua,
        iscsi=None if wanted.iscsi is old.iscsi else wanted.iscsi,
        settings=wanted.settings,
    )
    wrong = [*_wrong_types(part)]
    if wrong:
        raise InvalidInput("what is wanted", wrong[:_SHOWN], max(0, len(wrong) - _SHOWN))
    checker = Checker(VERSION, [device for device in wanted.devices if id(device) in kept], of_whole=False)
    checker.config(_data(part))
    problems = [Problem(finding.message, dotted(finding.shown)) for finding in checker.findings]
    problems += _repeated("device", (device.name for device in wanted.devices))
    problems += _repeated("target", (f"{target.driver}/{target.name}" for target in wanted.targets))
    problems += [problem for target in part.targets for problem in _repeated_in(target)]
    problems += _repeated("device group", (group.name for group in wanted.alua))
    for group in wanted.alua:
        where = f"alua.{group.name}"
        problems += _repeated("target port group", (one.name for one in group.port_groups), where)
    problems += _repeated("portal", (portal.name for portal in wanted.iscsi.portals))
    problems += _repeated("user", (user.name for user in wanted.iscsi.users))
    # Of a part nobody knows which portals there are.
    found = [*faults(wanted), *(iscsi.faults(wanted) if present is None else ())]
    problems += [Problem(message, dotted(path)) for path, message in found]
    if problems:
        raise InvalidInput("what is wanted", problems[:_SHOWN], max(0, len(problems) - _SHOWN))
    if present is None:
        wanted.found_right()


def _data(part: Config) -> dict[str, Any]:
    """The part as a file would have it. What no file can hold is of a type that none has."""
    try:
        return to_data(part)
    except (AttributeError, TypeError) as error:
        raise InvalidInput("what is wanted", [Problem(f"not a configuration: {error}")]) from error


def _wrong_types(part: Config) -> Iterator[Problem]:
    """Values that pass for others where they are compared: 0 for no, None for nothing. No file has them.
    Settings are checked when they are given.
    """
    for device in part.devices:
        where = f"devices.{device.handler}.{device.name}"
        yield from _wrong(where, {"enabled": device.enabled}, {"enabled": bool})
        yield from _wrong(where, _given(device.id), dict.fromkeys(IDENTITY, str))
    for target in part.targets:
        where = f"targets.{target.driver}.{target.name}"
        yield from _wrong(where, {"enabled": target.enabled}, {"enabled": bool})
        if target.rel_tgt_id is not None:
            yield from _wrong(where, {"rel_tgt_id": target.rel_tgt_id}, {"rel_tgt_id": int})
        for group in target.groups:
            yield from _wrong(f"{where}.groups.{group.name}", {"priority": group.priority}, {"priority": int})
        for name, luns in target.lun_sets():
            yield from _wrong_luns(f"{where}{name and f'.groups.{name}'}", luns)
    for devices in part.alua:
        for ports in devices.port_groups:
            given = {"group_id": ports.group_id, "state": ports.state}
            told = {name: value for name, value in given.items() if value is not None}
            where = f"alua.{devices.name}.target_port_groups.{ports.name}"
            yield from _wrong(where, told, {"group_id": int, "state": str})


def _given(identity: Identity) -> dict[str, object]:
    found = {name: getattr(identity, name) for name in IDENTITY}
    return {name: value for name, value in found.items() if value is not None}


def _wrong(where: str, values: Mapping[str, object], types: Mapping[str, type]) -> Iterator[Problem]:
    for name, kind in types.items():
        value = values.get(name)
        if name in values and type(value) is not kind:
            yield Problem(f"{name}: {value!r:.70} is no {kind.__name__}", where)


_LUN_TYPES = (int, str, *[type(row.default) for row in LUN.values()])


def _wrong_luns(where: str, luns: Iterable[Lun]) -> Iterator[Problem]:
    for lun in luns:
        if tuple(map(type, lun)) != _LUN_TYPES:
            yield Problem(f"LUN {lun.number!r:.70}: {lun!r:.200} is no LUN", where)


def _repeated_in(target: Target) -> Iterator[Problem]:
    where = f"targets.{target.driver}.{target.name}"
    yield from _repeated("group", (group.name for group in target.groups), where)
    yield from _repeated("user", (user.name for user in target.users), where)
    for group, luns in target.lun_sets():
        yield from _repeated(
            "LUN", (str(lun.number) for lun in luns), f"{where}{group and f'.groups.{group}'}"
        )


def _repeated(what: str, found: Iterable[str], where: str = "") -> Iterator[Problem]:
    seen: set[str] = set()
    for name in found:
        if name in seen:
            yield Problem(f"{what} {name} is there twice", where)
        seen.add(name)


# Names and numbers that say which object is meant.


def check_device(name: str) -> None:
    """Check the name of a device."""
    _check("device", name, names.check_device_name)


def check_fault(name: str) -> None:
    """Check the name of a fault that is injected."""
    _check("fault", name, names.check_device_name)


def check_group(name: str) -> None:
    """Check the name of a group, or '' for none."""
    if name != "":
        _check("group", name, names.check_group_name)


def check_patterns(*patterns: str) -> None:
    """Check names and patterns of initiators."""
    for pattern in patterns:
        _check("initiator", pattern, names.check_pattern)


def check_initiators(*initiators: str) -> None:
    """Check exact names of initiators."""
    for name in initiators:
        _check("initiator", name, names.check_initiator)


def check_lun(number: int) -> None:
    """Check a LUN number."""
    if type(number) is not int:
        raise InvalidInput(f"LUN {number!r:.70}", [Problem("must be a whole number")])
    if not 0 <= number <= names.LUN_MAX:
        raise InvalidInput(f"LUN {str(number)[:70]}", [Problem(f"must be 0-{names.LUN_MAX}")])


def check_target(target: str) -> None:
    """Check what names a target: `DRIVER/NAME`, or `NAME`."""
    if type(target) is not str:
        raise InvalidInput(f"target {target!r:.70}", [Problem("must be a text")])


def check_target_name(driver: str, name: str) -> None:
    """Check the name of a target of a driver that there is."""
    _check("target", name, DRIVERS[driver].name.fault)


def check_is(kind: type, value: object, what: str) -> None:
    """Check that a value is of a kind."""
    if type(value) is not kind:
        raise InvalidInput(what, [Problem(f"{value!r:.70} is no {kind.__name__}")])


def check_call(what: str, call: object) -> None:
    """Check that something can be called, or is None."""
    if call is not None and not callable(call):
        raise InvalidInput(what, [Problem(f"{call!r:.70} cannot be called")])


def check_size(size: int) -> None:
    """Check a number of bytes."""
    reason = Number(unit="bytes").refuse(size)
    if reason:
        raise InvalidInput(f"size {size!r:.70}", [Problem(reason)])


def check_each(what: str, values: Iterable[_Value], check: Callable[[_Value], None]) -> tuple[_Value, ...]:
    """The values, each checked, whatever was given instead of them."""
    if isinstance(values, str | bytes | Mapping):
        raise InvalidInput(what, [Problem(f"{values!r:.70} is no sequence of these")])
    try:
        found = tuple(values)
    except TypeError:
        raise InvalidInput(what, [Problem(f"{values!r:.70} is no sequence of these")]) from None
    for value in found:
        check(value)
    return found


def check_parts(what: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """The parts of an object that are meant, each of them known."""

    def check(part: str) -> None:
        if part not in tuple(known):
            raise InvalidInput("parts", [Problem(f"{part!r:.70} is none of {', '.join(known)}")])

    return check_each("parts", what, check)


def check_path(what: str, path: str) -> None:
    """Check where a file or directory is: an empty path is no way to say that there is none."""
    if type(path) is not str or not path or "\0" in path:
        raise InvalidInput(what, [Problem(f"{path!r} is no path")])


def check_seconds(what: str, seconds: float) -> None:
    """Check how long something is waited for: 0 to a day."""
    if type(seconds) not in (int, float) or not 0 <= seconds <= SECONDS_MAX:
        reason = f"{seconds!r:.70} is not a number of seconds, 0-{SECONDS_MAX}"
        raise InvalidInput(what, [Problem(reason)])


def is_target(driver: str, name: str) -> bool:
    """Whether there is such a driver, and its targets can have this name."""
    return driver in DRIVERS and type(name) is str and DRIVERS[driver].name.fault(name) is None


def _check(what: str, text: str, check: Callable[[str], Fault | None]) -> None:
    fault = check(text) if type(text) is str else Fault(0, "must be a text")
    if fault is not None:
        shown = repr(text[:70]) if type(text) is str else f"{text!r:.70}"
        raise InvalidInput(f"{what} {shown}", [Problem(fault.reason)])


# Changes of settings by name.


def changed_device(device: Device, changes: dict[str, Any]) -> Device:
    """A device with some settings changed; parts of the identity may stand among them."""
    known = ("enabled", *device.settings, *IDENTITY)
    _known(f"device {device.name}", changes, (*known, "id"))
    parts = {name: value for name, value in changes.items() if name in IDENTITY}
    problems = [
        Problem(f"{name}: {value!r} {reason}")
        for name, value in parts.items()
        if (reason := IDENTITY[name].type.refuse(value))
    ]
    if problems:
        raise InvalidInput(f"device {device.name}", problems)
    rest = {name: value for name, value in changes.items() if name not in IDENTITY}
    if "facts" in device.settings and rest.get("path", device.path) != device.path:
        rest.setdefault("facts", "")  # those of another backing
    made = _made(device, rest)
    return made.but(id=replace(made.id, **parts)) if parts else made


def changed_target(target: Target, changes: dict[str, Any]) -> Target:
    """A target with some settings, or lists of members, changed."""
    known = ("enabled", "rel_tgt_id", *target.settings, "hosts", "portals", "users", "luns", "groups")
    _known(f"target {target.driver}/{target.name}", changes, known)
    return _made(target, changes)


def changed_group(group: Group, changes: dict[str, Any]) -> Group:
    """A group with some settings, or lists of members, changed."""
    _known(f"group {group.name}", changes, ("priority", "initiators", "luns"))
    try:
        return replace(group, **changes)
    except (AttributeError, TypeError) as error:
        raise InvalidInput(f"group {group.name}", [Problem(str(error))]) from error


def check_settings(whose: str, given: Mapping[str, Any], rows: Mapping[str, Setting]) -> None:
    """Raises `InvalidInput` for settings that there are not, and for values that they do not take."""
    _known(whose, given, tuple(rows))
    problems = [
        Problem(f"{name}: {value!r:.70} {reason}")
        for name, value in given.items()
        if (reason := rows[name].type.refuse(value))
    ]
    if problems:
        raise InvalidInput(whose, problems)


def _made(thing: _Thing, changes: dict[str, Any]) -> _Thing:
    try:
        return thing.but(**changes)
    except (AttributeError, TypeError) as error:
        raise InvalidInput(thing.name, [Problem(str(error))]) from error


def _known(whose: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    problems = [Problem(f"no setting {name!r}{hint(name, known)}") for name in given if name not in known]
    if problems:
        raise InvalidInput(whose, problems)
