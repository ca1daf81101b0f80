# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs about single objects: create, delete, set, get, rename, move, enable and disable."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli.results import changed, settings_lines
from pyscstadmin.cli.verbs import Given, Result, near
from pyscstadmin.cli.words import WrongUsage
from pyscstadmin.config import edits, names
from pyscstadmin.config.settings import (
    BACKED_STATES,
    DEVICE,
    DEVICE_STATES,
    DRIVERS,
    GROUP,
    HANDLERS,
    IDENTITY,
    LUN,
    LUN_STATES,
    REL_TGT_ID,
    ROOT,
    ROOT_STATES,
    TARGET,
    TARGET_STATES,
    Number,
    Rows,
    Setting,
    State,
    Value,
)
from pyscstadmin.config.spelling import name_key
from pyscstadmin.errors import ApplyFailed, Conflict, OperationError

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context
    from pyscstadmin.config.model import Device

__all__ = [
    "add_hosts",
    "add_initiators",
    "all_device_rows",
    "all_target_rows",
    "checked",
    "clear_group",
    "clear_hosts",
    "clear_initiators",
    "clear_luns",
    "clear_target",
    "converted",
    "create_device",
    "create_group",
    "create_target",
    "delete_device",
    "delete_group",
    "delete_target",
    "device_name",
    "device_rows",
    "disable_device",
    "disable_target",
    "enable_device",
    "enable_target",
    "get_device",
    "get_group",
    "get_lun",
    "get_root",
    "get_target",
    "got",
    "move_initiators",
    "remove_hosts",
    "remove_initiators",
    "rename_device",
    "rename_group",
    "set_device",
    "set_group",
    "set_lun",
    "set_root",
    "set_target",
    "something",
    "target_name",
]

_SIZE = Number(unit="bytes")


def device_rows(handler: str) -> Rows:
    """The settings of a device, identity included."""
    return {**HANDLERS[handler].settings, **IDENTITY, **DEVICE}


def target_rows(driver: str) -> Rows:
    """The settings of a target."""
    return {**TARGET, REL_TGT_ID.name: REL_TGT_ID, **DRIVERS[driver].settings}


def all_device_rows() -> Rows:
    """The settings of devices of all handlers."""
    return {name: row for handler in HANDLERS for name, row in device_rows(handler).items()}


def all_target_rows() -> Rows:
    """The settings of targets of all drivers."""
    return {name: row for driver in DRIVERS for name, row in target_rows(driver).items()}


def converted(texts: Mapping[str, str], rows: Rows, whose: str) -> dict[str, Any]:
    """Values of settings from texts. Raises `WrongUsage`."""
    return {name: _value(text, rows.get(name), name, whose, rows) for name, text in texts.items()}


def _value(text: str, row: Setting | None, name: str, whose: str, rows: Rows) -> Value:
    if row is None:
        raise WrongUsage(f"{whose} has no setting {name}{near(name, rows) or f'; it has {_list(rows)}'}")
    try:
        return row.type.parse(text)
    except ValueError as error:
        raise WrongUsage(f"{name}: {error}") from None


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)


def checked(fault: names.Fault | None, text: str) -> str:
    if fault is not None:
        raise WrongUsage(f"{text!r} {fault.reason}")
    return text


# Which object is meant.


def _split(given: Given, kind: str, above: str, known: Iterable[str]) -> tuple[str, str]:
    """(handler or driver, name) of what may be written ABOVE/NAME; '' for what is not said."""
    text = str(given[kind])
    if given.place.fixed.get(kind) == text and above == "driver":
        return tuple(text.split("/", 1))  # type: ignore[return-value]
    first, slash, name = text.rpartition("/")
    said = str(given.get(above) or given.place.fixed.get(above, ""))
    if slash and first not in known:
        raise WrongUsage(f"{text}: there is no {above} {first}{near(first, known)}")
    if said and slash and first != said:
        raise WrongUsage(f"{text} is not of {above} {said}")
    return said or first, name


def device_name(ctx: Context, given: Given, kind: str = "device") -> str:
    """The name of the device that is meant; a handler that is said has to be its own."""
    handler, name = _split(given, kind, "handler", HANDLERS)
    if handler:
        found = ctx.handler(name)
        if found != handler:
            raise WrongUsage(f"device {name} is of {found}, not of {handler}: /devices/{found}/{name}")
    return name


def target_name(given: Given) -> str:
    """The target that is meant, with its driver if that is known."""
    driver, name = _split(given, "target", "driver", DRIVERS)
    return f"{driver}/{DRIVERS[driver].name.canonical(name)}" if driver else name


# Devices.


def create_device(ctx: Context, given: Given) -> Result:
    """create device"""
    from pyscstadmin.config.model import Device, Identity
    from pyscstadmin.kernel.newfile import NewFile

    handler, name = _split(given, "device", "handler", HANDLERS)
    if not handler:
        raise WrongUsage(f"say handler=HANDLER; there are {_list(HANDLERS)}")
    checked(names.check_device_name(name), name)
    spec = HANDLERS[handler]
    texts = dict(given.settings)
    if given.get("backing"):
        if spec.required in texts:
            raise WrongUsage(f"{spec.required} is given twice")
        texts[spec.required] = given["backing"]
    if spec.required not in texts and texts.get("enabled", "yes") not in ("no", "n", "off", "0", "false"):
        raise WrongUsage(f"say {spec.required}=: {spec.settings[spec.required].help}")
    size = _file_size(handler, texts)
    values = converted(texts, device_rows(handler), handler)
    parts = {part: values.pop(part) for part in IDENTITY if part in values}
    device = Device(name, handler, id=Identity(**parts), **values)
    file = NewFile(device.path, size, bool(given.get("preallocate"))) if size is not None else None
    if file is None and given.get("preallocate"):
        raise WrongUsage("preallocate is about a file that is made: say size= as well")
    outcome = ctx.create_device(device, file)
    return changed(ctx, outcome, {"device": name, "handler": handler, "file_made": file is not None})


def _file_size(handler: str, texts: dict[str, str]) -> int | None:
    """The size of the file to be made, where it is no setting."""
    if "size" not in texts or "size" in HANDLERS[handler].settings:
        return None
    if HANDLERS[handler].exclusive:
        raise WrongUsage(f"size: a device of {handler} has the size of its block device")
    try:
        return int(_SIZE.parse(texts.pop("size")))
    except ValueError as error:
        raise WrongUsage(f"size: {error}") from None


def delete_device(ctx: Context, given: Given) -> Result:
    """delete device"""
    name = device_name(ctx, given)
    try:
        outcome = ctx.change(edits.remove_device(name))
    except ApplyFailed as error:
        shown = _shown_by(ctx, name)
        if shown and isinstance(error.cause, OperationError) and error.cause.errno == errno.EBUSY:
            raise Conflict(f"device {name} is {shown}: unmap it there first") from error
        raise
    return changed(ctx, outcome, {"device": name})


def _shown_by(ctx: Context, name: str) -> str:
    """Where a device is a LUN."""
    shown = [
        f"LUN {lun.number} of {'/'.join(target.key)}{f' group {group}' if group else ''}"
        for target in ctx.config.targets
        for group, luns in target.lun_sets()
        for lun in luns
        if lun.device == name
    ]
    return _list(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")


def set_device(ctx: Context, given: Given) -> Result:
    """set device"""
    name = device_name(ctx, given)
    handler = ctx.handler(name)
    texts = something(given, device_rows(handler))
    if "size" in texts and "size" not in HANDLERS[handler].settings:
        raise WrongUsage(f"size is no setting of {handler}: `resize` changes what is served of the backing")
    outcome = ctx.change_device(name, converted(texts, device_rows(handler), f"a device of {handler}"))
    return changed(ctx, outcome, {"device": name})


def something(given: Given, rows: Rows) -> Mapping[str, str]:
    if not given.settings:
        raise WrongUsage(f"say what to set: {_list(f'{name}=' for name in rows)}")
    return given.settings


def enable_device(ctx: Context, given: Given) -> Result:
    """enable device"""
    return _switch_device(ctx, given, True)


def disable_device(ctx: Context, given: Given) -> Result:
    """disable device"""
    return _switch_device(ctx, given, False)


def _switch_device(ctx: Context, given: Given, on: bool) -> Result:
    name = device_name(ctx, given)
    return changed(ctx, ctx.change_device(name, {"enabled": on}), {"device": name})


def rename_device(ctx: Context, given: Given) -> Result:
    """rename device"""
    name, new = device_name(ctx, given), given["new"]
    checked(names.check_device_name(new), new)
    if new in ctx.device_names():
        raise Conflict(f"there is a device {new} already, of {ctx.handler(new)}")
    shown = _shown_by(ctx, name)
    if shown:
        ctx.confirm(
            f"{name} is {shown}: while it is renamed, its initiators see the LUN go and come back as the "
            "same disk; commands that run then fail.",
            given.get("yes"),
        )
    outcome = ctx.change(edits.rename_device(name, new))
    return changed(ctx, outcome, {"device": new, "before": name})


# Targets.


def create_target(ctx: Context, given: Given) -> Result:
    """create target"""
    from pyscstadmin.config.model import Target

    driver, name = _split(given, "target", "driver", DRIVERS)
    if not driver:
        raise WrongUsage(f"say driver=DRIVER; there are {_list(DRIVERS)}")
    checked(DRIVERS[driver].name.fault(name), name)
    values = converted(given.settings, target_rows(driver), driver)
    target = Target(driver, name, **values)
    return changed(ctx, ctx.create_target(target), {"target": "/".join(target.key)})


def delete_target(ctx: Context, given: Given) -> Result:
    """delete target"""
    key = ctx.key(target_name(given))
    _ask_about_sessions(ctx, key, given, "Deleting")
    return changed(ctx, ctx.change(edits.remove_target(key)), {"target": "/".join(key)})


def _ask_about_sessions(ctx: Context, key: tuple[str, str], given: Given, doing: str) -> None:
    full = "/".join(key)
    who = [f"{login.initiator} on {full}" for login in ctx.logins() if login.target == full]
    if who:
        some = f"{len(who)} session{'' if len(who) == 1 else 's'}"
        losses = {"removed": [], "ended": who, "taken": []}
        ctx.confirm(f"{doing} target {full} ends {some}.", given.get("yes"), {"losses": losses})


def set_target(ctx: Context, given: Given) -> Result:
    """set target"""
    key = ctx.key(target_name(given))
    rows = target_rows(key[0])
    values = converted(something(given, rows), rows, f"a target of {key[0]}")
    if values.get("enabled") is False:
        _ask_about_sessions(ctx, key, given, "Disabling")
    return changed(ctx, ctx.change(edits.change_target(key, values)), {"target": "/".join(key)})


def enable_target(ctx: Context, given: Given) -> Result:
    """enable target"""
    return _switch_target(ctx, given, True)


def disable_target(ctx: Context, given: Given) -> Result:
    """disable target"""
    return _switch_target(ctx, given, False)


def _switch_target(ctx: Context, given: Given, on: bool) -> Result:
    key = ctx.key(target_name(given))
    if not on:
        _ask_about_sessions(ctx, key, given, "Disabling")
    return changed(ctx, ctx.change(edits.change_target(key, {"enabled": on})), {"target": "/".join(key)})


def clear_target(ctx: Context, given: Given) -> Result:
    """clear target"""
    key = ctx.key(target_name(given))
    ctx.confirm(f"All LUNs, groups and hosts of target {'/'.join(key)} go.", given.get("yes"))
    return changed(ctx, ctx.change(edits.clear_target(key)), {"target": "/".join(key)})


def clear_hosts(ctx: Context, given: Given) -> Result:
    """clear hosts"""
    key = ctx.key(target_name(given))
    ctx.confirm(f"All hosts of target {'/'.join(key)} go.", given.get("yes"))
    return changed(ctx, ctx.change(edits.clear_target(key, ("hosts",))), {"target": "/".join(key)})


def add_hosts(ctx: Context, given: Given) -> Result:
    """add host"""
    for name in given.rest:
        checked(names.check_initiator(name), name)
    key = ctx.key(target_name(given))
    if not DRIVERS[key[0]].hosts:
        raise WrongUsage(f"targets of {key[0]} have no hosts")
    outcome = ctx.change(edits.add_hosts(key, given.rest))
    return changed(ctx, outcome, {"target": "/".join(key), "hosts": list(given.rest)})


def remove_hosts(ctx: Context, given: Given) -> Result:
    """remove host"""
    key = ctx.key(target_name(given))
    outcome = ctx.change(edits.remove_hosts(key, given.rest))
    return changed(ctx, outcome, {"target": "/".join(key), "hosts": list(given.rest)})


# Groups and their initiators.


def _group_data(key: tuple[str, str], group: str, **more: Any) -> dict[str, Any]:
    return {"target": "/".join(key), "group": group, **more}


def create_group(ctx: Context, given: Given) -> Result:
    """create group"""
    from pyscstadmin.config.model import Group

    checked(names.check_group_name(given["group"]), given["group"])
    for pattern in given.rest:
        checked(names.check_pattern(pattern), pattern)
    key = ctx.key(target_name(given))
    group = Group(given["group"], initiators=given.rest, **converted(given.settings, GROUP, "a group"))
    return changed(ctx, ctx.change(edits.create_group(key, group)), _group_data(key, group.name))


def delete_group(ctx: Context, given: Given) -> Result:
    """delete group"""
    key = ctx.key(target_name(given))
    return changed(ctx, ctx.change(edits.remove_group(key, given["group"])), _group_data(key, given["group"]))


def set_group(ctx: Context, given: Given) -> Result:
    """set group"""
    key = ctx.key(target_name(given))
    values = converted(something(given, GROUP), GROUP, "a group")
    edit = edits.change_group(key, given["group"], values)
    return changed(ctx, ctx.change(edit), _group_data(key, given["group"]))


def rename_group(ctx: Context, given: Given) -> Result:
    """rename group"""
    checked(names.check_group_name(given["new"]), given["new"])
    key = ctx.key(target_name(given))
    edit = edits.rename_group(key, given["group"], given["new"])
    return changed(ctx, ctx.change(edit), _group_data(key, given["new"], before=given["group"]))


def clear_group(ctx: Context, given: Given) -> Result:
    """clear group"""
    return _clear(ctx, given, ("luns", "initiators"), "LUNs and initiators")


def clear_luns(ctx: Context, given: Given) -> Result:
    """clear luns"""
    return _clear(ctx, given, ("luns",), "LUNs")


def clear_initiators(ctx: Context, given: Given) -> Result:
    """clear initiators"""
    return _clear(ctx, given, ("initiators",), "initiators")


def _clear(ctx: Context, given: Given, what: Sequence[str], words: str) -> Result:
    key, group = ctx.key(target_name(given)), given.get("group", "")
    whose = f"group {group} of target" if group else "target"
    own = "" if group else " that are for initiators that no group claims"
    ctx.confirm(f"All {words} of {whose} {'/'.join(key)}{own} go.", given.get("yes"))
    return changed(ctx, ctx.change(edits.clear_group(key, group, what)), _group_data(key, group))


def add_initiators(ctx: Context, given: Given) -> Result:
    """add initiator"""
    for pattern in given.rest:
        checked(names.check_pattern(pattern), pattern)
    key = ctx.key(target_name(given))
    edit = edits.add_initiators(key, given["group"], given.rest)
    data = _group_data(key, given["group"], initiators=list(given.rest))
    return changed(ctx, ctx.change(edit), data)


def remove_initiators(ctx: Context, given: Given) -> Result:
    """remove initiator"""
    key = ctx.key(target_name(given))
    edit = edits.remove_initiators(key, given["group"], given.rest)
    data = _group_data(key, given["group"], initiators=list(given.rest))
    return changed(ctx, ctx.change(edit), data)


def move_initiators(ctx: Context, given: Given) -> Result:
    """move initiator"""
    key = ctx.key(target_name(given))
    source = given.get("from") or given.place.fixed.get("group") or _group_of(ctx, key, given.rest)
    edit = edits.move_initiators(key, source, given["to"], given.rest)
    data = _group_data(key, given["to"], before=source, initiators=list(given.rest))
    return changed(ctx, ctx.change(edit), data)


def _group_of(ctx: Context, key: tuple[str, str], patterns: Sequence[str]) -> str:
    """The one group that has all of these."""
    wanted = {name_key(pattern) for pattern in patterns}
    groups = ctx.target("/".join(key)).groups
    found = [g.name for g in groups if wanted <= {name_key(pattern) for pattern in g.initiators}]
    if len(found) != 1:
        raise WrongUsage(f"say from=GROUP: {_list(found) or 'no group'} has {_list(patterns)}")
    return found[0]


# LUNs.


def set_lun(ctx: Context, given: Given) -> Result:
    """set lun"""
    values = converted(something(given, given.form.settings), given.form.settings, "a LUN")
    key, group = ctx.key(target_name(given)), given.get("group", "")
    edit = edits.change_lun(key, group, given["lun"], values.pop("device", None), values)
    return changed(ctx, ctx.change(edit), _group_data(key, group, luns=list(given["lun"])))


# The whole.


def set_root(ctx: Context, given: Given) -> Result:
    """set"""
    values = converted(something(given, ROOT), ROOT, "the whole")
    return changed(ctx, ctx.change(edits.configure(values)), {})


# What there is.


def get_root(ctx: Context, given: Given) -> Result:
    """get"""
    rows = _shown(ctx.config.settings, ROOT)
    states = {} if ctx.batch is not None else _states(ctx, "", ROOT_STATES)
    return got(given, rows, states, ROOT, ROOT_STATES)


def get_device(ctx: Context, given: Given) -> Result:
    """get device"""
    name = device_name(ctx, given)
    device = ctx.device(name)
    rows = device_rows(device.handler)
    backed = BACKED_STATES if HANDLERS[device.handler].backed else ()
    own = [state for state in (*DEVICE_STATES, *backed) if state.name not in rows]
    new = ctx.batch is not None
    states = {} if new else _states(ctx, f"devices/{device.handler}/{name}/", own)
    return got(given, _device_values(device), states, rows, own)


def _device_values(device: Device) -> dict[str, Value]:
    identity = {part: getattr(device.id, part) or "" for part in IDENTITY}
    return {**device.settings, **identity, "enabled": device.enabled}


def get_target(ctx: Context, given: Given) -> Result:
    """get target"""
    key = ctx.key(target_name(given))
    target = ctx.bare_target(key)
    states = {} if ctx.batch is not None else _states(ctx, f"targets/{'/'.join(key)}/", TARGET_STATES)
    values = {**target.settings, "enabled": target.enabled, "rel_tgt_id": target.rel_tgt_id or 0}
    return got(given, values, states, target_rows(key[0]), TARGET_STATES)


def get_group(ctx: Context, given: Given) -> Result:
    """get group"""
    key = ctx.key(target_name(given))
    return got(given, {"priority": ctx.priority(key, given["group"])}, {}, GROUP, ())


def get_lun(ctx: Context, given: Given) -> Result:
    """get lun"""
    target, group = target_name(given), given.get("group", "")
    key, number = ctx.key(target), given["lun"]
    lun = ctx.lun(key, group, number)
    rows = {"device": given.form.settings["device"], **LUN} if given.form.settings else LUN
    folder = f"groups/{group}/luns" if group else "luns"
    path = f"targets/{'/'.join(key)}/{folder}/{number}/"
    states = {} if ctx.batch is not None else _states(ctx, path, LUN_STATES)
    return got(given, lun._asdict(), states, rows, LUN_STATES)


def _shown(values: Mapping[str, Value], rows: Rows) -> dict[str, Value]:
    return {name: values[name] for name in rows}


def _states(ctx: Context, path: str, states: Iterable[State]) -> dict[str, str]:
    return {state.name: ctx.admin.tree.read(f"{path}{state.name}") for state in states}


def got(
    given: Given,
    values: Mapping[str, Value],
    states: Mapping[str, str],
    rows: Rows,
    known: Iterable[State],
) -> Result:
    """States and settings: all, or those asked for."""
    shown = list(_described(values, states, rows, known))
    names_ = {one["name"]: one for one in shown}
    for name in given.rest:
        if name not in names_:
            raise WrongUsage(f"no setting {name}{near(name, names_) or f'; there are {_list(names_)}'}")
    wanted = [names_[name] for name in given.rest] if given.rest else shown
    return Result({"settings": wanted}, settings_lines(wanted, described=not given.rest))


def _described(
    values: Mapping[str, Value], states: Mapping[str, str], rows: Rows, known: Iterable[State]
) -> Iterator[dict[str, Any]]:
    for state in known:
        if state.name in states:
            yield {"name": state.name, "value": states[state.name], "access": "ro", "help": state.help}
    for name, row in rows.items():
        yield {
            "name": name,
            "value": "(secret)" if row.secret else values[name],
            "text": "(secret)" if row.secret else row.type.to_text(values[name]),
            "default": row.default,
            "unit": getattr(row.type, "unit", ""),
            "words": row.type.words,
            "access": "rw",
            "live": row.live,
            "required": row.required,
            "help": row.help,
        }
