# SPDX-License-Identifier: GPL-2.0-or-later
"""Verbs about who sees what: map, unmap, explain, sessions, and lists of what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli import ranges
from pyscstadmin.cli.alua import device_groups, members, port_groups
from pyscstadmin.cli.faultpoints import fault_points
from pyscstadmin.cli.objects import device_name, target_name
from pyscstadmin.cli.portals import portals, users
from pyscstadmin.cli.portals import session_lines as session_lines_of_iscsi
from pyscstadmin.cli.render import command_lines, decision_lines, session_lines, size_text, who_lines
from pyscstadmin.cli.results import changed, refusal_lines, refusals, table
from pyscstadmin.cli.verbs import Given, Result
from pyscstadmin.cli.words import WrongUsage
from pyscstadmin.config import edits
from pyscstadmin.config.alua import states_of
from pyscstadmin.config.draft import Key, is_called
from pyscstadmin.config.layout import target_dir
from pyscstadmin.config.settings import DRIVERS, HANDLERS
from pyscstadmin.config.spelling import is_exact
from pyscstadmin.errors import Conflict

if TYPE_CHECKING:
    from pyscstadmin.cli.context import Context
    from pyscstadmin.config.acl import Decision
    from pyscstadmin.config.model import Config, Lun, Target

__all__ = ["create_lun", "explain", "list_kind", "map_devices", "sessions", "unmap", "who"]


def _names(ctx: Context, text: str) -> list[str]:
    try:
        return ranges.names(text, ctx.device_names() if "*" in text or "?" in text else ())
    except ValueError as error:
        raise WrongUsage(f"device: {error}") from None


def map_devices(ctx: Context, given: Given) -> Result:
    """map"""
    text = given["device"]
    devices = _names(ctx, text.rpartition("/")[2]) if "/" not in text else [device_name(ctx, given)]
    return _map(ctx, given, devices, given.get("lun"))


def create_lun(ctx: Context, given: Given) -> Result:
    """create lun"""
    return _map(ctx, given, [device_name(ctx, given)], given["lun"])


def _map(ctx: Context, given: Given, devices: Sequence[str], numbers: Sequence[int] | None) -> Result:
    target, group = target_name(given), given.get("group", "")
    if numbers is not None and len(numbers) != len(devices):
        raise WrongUsage(
            f"{_some(len(devices), 'device')} and {_some(len(numbers), 'LUN number')}: "
            "there must be one number for each, or none"
        )
    key = ctx.key(target)
    target = _called(key, target)
    outcome, luns = ctx.map(
        target, group, devices, numbers, given.get("read_only"), bool(given.get("replace"))
    )
    data = {"target": "/".join(key), "group": group, "luns": [lun._asdict() for lun in luns]}
    return changed(ctx, outcome, data, [_mapped(luns, target, group)] if luns else [])


def _mapped(luns: Sequence[Lun], target: str, group: str) -> str:
    whom = f"group {group}" if group else "initiators that no group claims"
    modes = {lun.read_only for lun in luns}
    mode = "read-only and read-write" if len(modes) > 1 else "read-only" if True in modes else "read-write"
    if len(luns) == 1:
        return f"{luns[0].device} is LUN {luns[0].number} for {whom} of {target}, {mode}"
    numbers = ranges.shown(lun.number for lun in luns)
    return f"{len(luns)} devices are LUNs {numbers} for {whom} of {target}, {mode}"


def _some(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def unmap(ctx: Context, given: Given) -> Result:
    """unmap"""
    target, group = target_name(given), given.get("group", "")
    luns = _meant(ctx, target, group, given["lun"])
    key = ctx.key(target)
    outcome = ctx.change(edits.unmap_luns(key, group, luns))
    data = {"target": "/".join(key), "group": group, "numbers": [number for number, _ in luns]}
    return changed(ctx, outcome, data)


def _meant(ctx: Context, target: str, group: str, text: str | Sequence[int]) -> list[tuple[int, str | None]]:
    """The LUNs that numbers, or the names of their devices, mean. By its device: if the number has another
    one by the time, it is not what was meant.
    """
    if not isinstance(text, str):
        return [(number, None) for number in text]
    if ranges.are_numbers(text):
        try:
            return [(number, None) for number in ranges.numbers(text)]
        except ValueError as error:
            raise WrongUsage(f"lun: {error}") from None
    there = ctx.lun_set(target, group)
    shown = [lun.device for lun in there.luns()]
    try:
        devices = ranges.names(text, list(dict.fromkeys(shown)))
    except ValueError as error:
        raise Conflict(f"{text} is no LUN here: {error}") from None
    return [(_number(there.numbers(device), device), device) for device in devices]


def _number(found: Sequence[int], device: str) -> int:
    if len(found) == 1:
        return found[0]
    if found:
        raise Conflict(f"{device} is LUN {', '.join(map(str, found))} here: say which")
    raise Conflict(f"{device} is neither a LUN number nor a device that is a LUN here")


# Looking.


def explain(ctx: Context, given: Given) -> Result:
    """explain"""
    ctx.alone("explain")
    if given.get("file"):
        return _explain_file(given)
    admin = ctx.admin
    target = target_name(given) if given.get("target") else _only_target(ctx)
    decision = admin.explain(target, given["initiator"])
    key, settled = admin.target_key(target), admin.settled()
    state = ctx.admin.tree.read(f"{target_dir(*key)}/state")
    standing = admin.standing(lun.device for lun in decision.luns)
    devices = {name: one._asdict() for name, one in standing.items()}
    refused = refusals(ctx, standing)
    bindings = [proof.as_dict() for proof in refused]
    paths = ctx.admin.port_states("/".join(key), [lun.device for lun in decision.luns])
    data = {**_decision_data(decision), "target": "/".join(key), "target_state": state}
    data |= {"settled": settled, "devices": devices, "bindings": bindings, "port_states": paths}
    called = _called(key, target)
    lines = decision_lines(decision, called, standing, settled=settled, state=state, paths=paths)
    return Result(data, [*lines, *refusal_lines(refused)])


def _decision_data(decision: Decision) -> dict[str, Any]:
    return {**asdict(decision), "luns": [lun._asdict() for lun in decision.luns]}


def _explain_file(given: Given) -> Result:
    from pyscstadmin.config.acl import decide
    from pyscstadmin.config.spelling import parted
    from pyscstadmin.kernel.read import Standing
    from pyscstadmin.store.load import load_file

    name = str(given.get("target", ""))
    config = load_file(given["file"])
    found = [target for target in config.targets if not name or is_called(target.key, name)]
    if len(found) != 1:
        raise Conflict(f"{given['file']} has {'several targets' if found else 'no target'} {name}".rstrip())
    decision = decide(found[0], *parted(found[0].driver, given["initiator"]))
    written = {d.name: Standing("active", 0, d.read_only) for d in config.devices if d.read_only}
    name = "/".join(found[0].key)
    paths = states_of(config.alua, name, [lun.device for lun in decision.luns])
    data = {**_decision_data(decision), "port_states": paths}
    return Result(data, decision_lines(decision, name, written, paths=paths))


def _called(key: Key, text: str) -> str:
    """What to call a target that was asked for by a text: as it was, unless that is another spelling."""
    return text if text in (key[1], "/".join(key)) else "/".join(key)


def _only_target(ctx: Context) -> str:
    found = ctx.admin.target_names()
    if len(found) == 1:
        return found[0]
    raise WrongUsage(f"say target=TARGET; there are {', '.join(found) or 'none'}")


def who(ctx: Context, given: Given) -> Result:
    """who"""
    ctx.alone("who")
    found = ctx.admin.who(device_name(ctx, given))
    data = {
        "device": found.device.name,
        "handler": found.device.handler,
        **found.standing._asdict(),
        "uses": [asdict(use) for use in found.uses],
    }
    refused = refusals(ctx, {found.device.name: found.standing})
    data["bindings"] = [proof.as_dict() for proof in refused]
    return Result(data, [*who_lines(found), *refusal_lines(refused)])


def sessions(ctx: Context, given: Given) -> Result:
    """sessions"""
    if given.get("commands"):
        running = ctx.admin.commands()
        return Result({"commands": [asdict(command) for command in running]}, command_lines(running))
    if given.get("iscsi"):
        of_iscsi = ctx.admin.iscsi_sessions()
        return Result({"iscsi": [asdict(one) for one in of_iscsi]}, session_lines_of_iscsi(of_iscsi))
    found = ctx.logins()
    return Result({"sessions": [asdict(session) for session in found]}, session_lines(found))


# Lists.

_Row = dict[str, Any]


def list_kind(ctx: Context, given: Given) -> Result:
    """list"""
    kind = given.form.kind
    heads, rows = _LISTS[kind]
    found = list(rows(ctx, given))
    cells = [[head.replace("_", " ") for head in heads]]
    cells += [[_cell(head, row[head]) for head in heads] for row in found]
    lines = table(cells) if found else [f"no {given.form.also[0]}"]
    return Result({given.form.also[0]: found}, lines)


def _cell(head: str, value: object) -> str:
    if head == "size":
        return size_text(int(str(value))) if value else "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value not in ("", None) else "-"


def _handlers(ctx: Context, given: Given) -> Iterator[_Row]:
    for name, spec in HANDLERS.items():
        devices = sum(device.handler == name for device in ctx.config.devices)
        yield {"name": name, "module": spec.module, "devices": devices}


def _drivers(ctx: Context, given: Given) -> Iterator[_Row]:
    for name, spec in DRIVERS.items():
        targets = sum(target.driver == name for target in ctx.config.targets)
        yield {"name": name, "module": spec.module, "targets": targets}


def _devices(ctx: Context, given: Given) -> Iterator[_Row]:
    wanted = given.get("handler") or given.place.fixed.get("handler")
    shown = _shown(ctx.config)
    for device in ctx.config.devices:
        if wanted in (None, device.handler):
            yield {
                "name": device.name,
                "handler": device.handler,
                "state": ctx.device_state(device.name),
                "size": ctx.device_size(device),
                "path": device.path,
                "luns": shown.get(device.name, 0),
            }


def _shown(config: Config) -> dict[str, int]:
    """How many LUNs each device is."""
    found: dict[str, int] = {}
    for target in config.targets:
        for _, luns in target.lun_sets():
            for lun in luns:
                found[lun.device] = found.get(lun.device, 0) + 1
    return found


def _targets_of(ctx: Context, given: Given) -> Iterable[Target]:
    if given.get("target"):
        return (ctx.target(target_name(given)),)
    return ctx.config.targets


def _targets(ctx: Context, given: Given) -> Iterator[_Row]:
    wanted = given.get("driver") or given.place.fixed.get("driver")
    for target in ctx.config.targets:
        if wanted in (None, target.driver):
            yield {
                "name": "/".join(target.key),
                "state": ctx.target_state(target.key),
                "rel_tgt_id": target.rel_tgt_id,
                "groups": len(target.groups),
                "luns": sum(len(luns) for _, luns in target.lun_sets()),
            }


def _groups(ctx: Context, given: Given) -> Iterator[_Row]:
    for target in _targets_of(ctx, given):
        for group in target.groups:
            yield {
                "target": "/".join(target.key),
                "name": group.name,
                "priority": group.priority,
                "initiators": len(group.initiators),
                "luns": len(group.luns),
            }


def _luns(ctx: Context, given: Given) -> Iterator[_Row]:
    group, device = given.get("group"), given.get("device")
    for target in _targets_of(ctx, given):
        for name, luns in target.lun_sets():
            for lun in luns if group in (None, name) else ():
                if device in (None, lun.device):
                    yield {
                        "target": "/".join(target.key),
                        "group": name,
                        "lun": lun.number,
                        "device": lun.device,
                        "read_only": lun.read_only,
                    }


def _initiators(ctx: Context, given: Given) -> Iterator[_Row]:
    wanted = given.get("group")
    for target in _targets_of(ctx, given):
        for group in target.groups:
            for name in group.initiators if wanted in (None, group.name) else ():
                kind = "exact" if is_exact(name) else "pattern"
                yield {"target": "/".join(target.key), "group": group.name, "name": name, "kind": kind}


def _hosts(ctx: Context, given: Given) -> Iterator[_Row]:
    for target in _targets_of(ctx, given):
        for name in target.hosts:
            full = "/".join(target.key)
            in_tree = target.spelled.get(name, name)
            yield {"target": full, "name": name, "host": ctx.host_number(full, in_tree)}


def _sessions(ctx: Context, given: Given) -> Iterator[_Row]:
    for login in ctx.logins():
        if not given.get("target") or is_called(_key(login.target), given["target"]):
            yield {
                "name": login.name,
                "target": login.target,
                "initiator": login.initiator,
                "group": login.group,
                "luns": len(login.luns),
            }


def _key(full: str) -> Key:
    driver, _, name = full.partition("/")
    return driver, name


_LISTS: dict[str, tuple[Sequence[str], Callable[[Context, Given], Iterable[_Row]]]] = {
    "alua": (("name", "explicit", "devices", "tpgs", "question"), device_groups),
    "tpg": (("alua", "name", "group_id", "state", "preferred", "ports"), port_groups),
    "member": (("alua", "tpg", "member"), members),
    "fault": (("name", "enabled", "target", "group", "lun", "commands", "action", "hits"), fault_points),
    "portal": (("name", "address", "port", "targets", "state"), portals),
    "user": (("target", "name", "direction", "expires", "uses", "secret"), users),
    "handler": (("name", "module", "devices"), _handlers),
    "driver": (("name", "module", "targets"), _drivers),
    "device": (("name", "handler", "state", "size", "luns", "path"), _devices),
    "target": (("name", "state", "rel_tgt_id", "groups", "luns"), _targets),
    "group": (("target", "name", "priority", "initiators", "luns"), _groups),
    "lun": (("target", "group", "lun", "device", "read_only"), _luns),
    "initiator": (("target", "group", "name", "kind"), _initiators),
    "host": (("target", "name", "host"), _hosts),
    "session": (("name", "target", "initiator", "group", "luns"), _sessions),
}
