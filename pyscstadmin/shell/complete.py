# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion: what could stand at the end of an unfinished line."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from pyscstadmin.cli.context import Context
from pyscstadmin.cli.help import TOPICS
from pyscstadmin.cli.places import KINDS, PLURALS, Place, place
from pyscstadmin.cli.table import VERBS, at, form_at, forms, kinds_at
from pyscstadmin.cli.verbs import Form, Param, of_row
from pyscstadmin.cli.words import Word, WrongUsage, quote, unfinished
from pyscstadmin.config.draft import is_called
from pyscstadmin.config.lint import RULES
from pyscstadmin.config.settings import DRIVERS, HANDLERS
from pyscstadmin.config.spelling import is_exact, name_key
from pyscstadmin.errors import Conflict

__all__ = ["complete"]

_DISK_FOLDERS = ("/dev/disk/by-id/", "/dev/disk/by-path/", "/dev/mapper/")


class Asked(NamedTuple):
    """The value that is being typed: where, of which form, what was said before, and the text so far."""

    context: Context
    place: Place
    form: Form
    values: list[str]
    named: dict[str, str]
    text: str

    def said(self, name: str) -> str:
        """A parameter that is known already, by the place, by its name or by position; '' if it is not."""
        if name in self.place.fixed:
            return self.place.fixed[name]
        free = [param.name for param in self.form.free(self.place) if param.name not in self.named]
        by_position = dict(zip(free, self.values, strict=False))
        return self.named.get(name) or by_position.get(name, "")


def complete(context: Context, here: Place, line: str) -> list[str]:
    """The words that could replace the last word of the line, quoted as needed. A word that is complete ends
    in a blank.
    """
    try:
        words, current, open_quote = unfinished(line)
    except WrongUsage:
        return []
    if open_quote or (current.start < len(line) and line[current.start :] != current.typed):
        return []  # a word with quotes inside: readline would replace only a part of it
    try:
        return sorted(set(_candidates(context, here, words, current)))
    except (Conflict, WrongUsage):
        return []


def _candidates(context: Context, here: Place, words: list[Word], current: Word) -> Iterable[str]:
    where, rest = _start(context, here, words)
    if not rest:
        found = [f"{verb} " for verb in at(where) if verb.startswith(current.typed)]
        return found + (_places(context, here, current.typed) if not words else [])
    verb = rest.pop(0).value
    kinds = kinds_at(verb, where)
    own = form_at(verb, where) or next((form for form in forms(verb) if form.silent and not where.kind), None)
    if not rest and kinds:
        offered = _kinds(verb, kinds, current.typed)
        return [*offered, *(_argument(context, where, own, [], current) if own is not None else ())]
    kind = PLURALS.get(rest[0].value, rest[0].value) if rest else ""
    form = kinds.get(kind)
    if form is not None:
        del rest[0]
    form = form or own
    return _argument(context, where, form, rest, current) if form is not None else ()


def _kinds(verb: str, kinds: Iterable[str], text: str) -> list[str]:
    """Words for kinds; what is listed, or cleared in a folder, is more than one."""
    several = verb == "list" or verb == "clear"
    single = ("target", "group") if verb == "clear" else ()
    words = [KINDS[kind] if several and kind not in single else kind for kind in kinds]
    return [f"{word} " for word in words if word.startswith(text)]


def _start(context: Context, here: Place, words: list[Word]) -> tuple[Place, list[Word]]:
    """Where the command runs, and the words without the path that says so."""
    if words and not words[0].name:
        first = words[0].value
        is_path = "/" in first or first in (".", "..")
        if is_path or (first not in set(at(here)) and first in _below(context, here)):
            with suppress(WrongUsage):
                return place(first, here.path), words[1:]
    return here, list(words)


def _argument(context: Context, where: Place, form: Form, words: list[Word], current: Word) -> Iterator[str]:
    """Candidates for a value, or for the name of one."""
    named = {word.name: word.value for word in words if word.name}
    values = [word.value for word in words if not word.name]
    asked = Asked(context, where, form, values, named, current.value)
    params = _params(form)
    if current.name and not current.open:
        param = params.get(current.name)
        if param is not None:
            start = current.typed[: len(current.typed) - len(current.value)]
            yield from (f"{start}{one}" for one in _values(asked, param))
        return
    free = [param for param in form.free(where) if param.name not in named]
    rest = form.rest if form.rest is not None and form.rest.name not in where.fixed else None
    position = len(values)
    now = free[position] if position < len(free) else rest
    asked = asked._replace(text=current.typed)
    if now is not None:
        yield from _values(asked, now)
    yield from _names(asked, free[position:], params, now)


def _params(form: Form) -> Mapping[str, Param]:
    """All parameters by name, settings among them."""
    return {**{row.name: of_row(row) for row in form.settings.values()}, **{p.name: p for p in form.params()}}


def _names(asked: Asked, free: list[Param], params: Mapping[str, Param], now: Param | None) -> Iterator[str]:
    """Names of parameters that can still be given."""
    by_position = {param.name for param in asked.form.takes}
    ahead = {param.name for param in free if param is not now or not param.needed}
    rest = asked.form.rest.name if asked.form.rest is not None else ""
    for name in params:
        given = name in asked.named or name in asked.place.fixed or name == rest
        possible = name in ahead if name in by_position else True
        if possible and not given and name.startswith(asked.text):
            yield f"{name}="


def _values(asked: Asked, param: Param) -> list[str]:
    """Candidates for the value of a parameter."""
    if param.name in asked.form.settings and asked.form.kind == "device" and param.name == "path":
        return _paths(asked)
    if param.source in ("file", "path"):
        return _paths(asked)
    if param.source == "place":
        return _places(asked.context, asked.place, asked.text)
    source = _SOURCES.get(param.source)
    found: Iterable[str] = param.choices or (source(asked) if source is not None else ())
    return [f"{quote(one)} " for one in found if one.startswith(asked.text)]


# What there is.


def _devices(asked: Asked) -> Iterable[str]:
    handler = asked.place.fixed.get("handler") if asked.form.kind == "device" else None
    if asked.form.verb == "create" and asked.form.kind == "device":
        return ()
    devices = asked.context.config.devices
    return [device.name for device in devices if handler in (None, device.handler)]


def _targets(asked: Asked) -> Iterable[str]:
    if asked.form.verb == "create" and asked.form.kind == "target":
        return _unused_ports(asked)
    keys = [target.key for target in asked.context.config.targets]
    driver = asked.place.fixed.get("driver")
    return [name for of, name in keys if of == driver] if driver else ["/".join(key) for key in keys]


def _unused_ports(asked: Asked) -> Iterable[str]:
    """What a new target can be called where that is not a matter of taste."""
    free = [use for use in asked.context.admin.ports() if use.target is None]
    driver = asked.place.fixed.get("driver") or asked.named.get("driver")
    return [use.name for use in free if use.driver == driver] if driver else [use.full_name for use in free]


def _groups(asked: Asked) -> Iterable[str]:
    if asked.form.verb == "create" and asked.form.kind == "group":
        return ()
    wanted = asked.said("target")
    return [
        group.name
        for target in asked.context.config.targets
        if not wanted or is_called(target.key, wanted)
        for group in target.groups
    ]


def _luns(asked: Asked) -> Iterable[str]:
    target, group = asked.said("target"), asked.said("group")
    if not target:
        return ()
    there = asked.context.lun_set(target, group)
    if asked.form.verb in ("map", "create"):
        return (str(there.free()),)
    luns = there.luns()
    devices = [lun.device for lun in luns if lun.device] if asked.form.verb == "unmap" else []
    return [str(lun.number) for lun in luns] + devices


def _initiators(asked: Asked) -> Iterable[str]:
    target, group = asked.said("target"), asked.said("group") or asked.said("from")
    there: Iterable[str] = ()
    if asked.form.verb == "create" and asked.form.kind == "group":
        group = ""  # which is not there yet
    if target and (group or asked.form.kind == "host"):
        there = asked.context.members(asked.context.key(target), group if asked.form.kind != "host" else "")
    if asked.form.verb in ("delete", "remove", "move"):
        return [name for name in there if name not in asked.values]
    taken = {name_key(name) for name in (*there, *asked.values)}
    return [name for name in _known(asked.context) if name_key(name) not in taken]


def _known(context: Context) -> list[str]:
    """Names of initiators that are logged in or appear in the configuration."""
    found = {login.initiator for login in context.logins()}
    for target in context.config.targets:
        found.update(target.hosts)
        for group in target.groups:
            found.update(name for name in group.initiators if is_exact(name))
    return sorted(found)


def _settings(asked: Asked) -> Iterable[str]:
    """The settings that can be asked for."""
    change = next((form for form in forms("set") if form.kind == asked.form.kind), None)
    known = dict(change.settings) if change is not None else {}
    states: dict[str, tuple[str, ...]] = {"alua": ("question",), "tpg": (), "fault": ("hits",)}
    states |= {"portal": ("state",), "user": (), "driver": ()}
    states |= {"device": ("state", "error", "active", "size"), "target": ("state",), "lun": ("state",)}
    return [*states.get(asked.form.kind, ("generation", "staged", "settled", "version")), *known]


def _device_groups(asked: Asked) -> Iterable[str]:
    if asked.form.verb == "create" and asked.form.kind == "alua":
        return ()
    return [group.name for group in asked.context.config.alua]


def _port_groups(asked: Asked) -> Iterable[str]:
    if asked.form.verb == "create" and asked.form.kind == "tpg":
        return ()
    wanted = asked.said("alua")
    groups = asked.context.config.alua
    return [one.name for group in groups if wanted in ("", group.name) for one in group.port_groups]


def _members_of_groups(asked: Asked) -> Iterable[str]:
    """Devices, or (of a target port group) targets; those that are there already, to be removed."""
    group, ports = asked.context.config.device_group(asked.said("alua")), asked.said("tpg")
    there: Iterable[str] = group.devices if group is not None else ()
    if group is not None and ports:
        found = group.port_group(ports)
        there = found.ports if found is not None else ()
    if asked.form.verb == "remove":
        return [name for name in there if name not in asked.values]
    config = asked.context.config
    names = ["/".join(target.key) for target in config.targets] if ports else [d.name for d in config.devices]
    return [name for name in names if name not in (*there, *asked.values)]


def _portals(asked: Asked) -> Iterable[str]:
    """Portals; to be added to a target, or removed, those that are not there yet, or are."""
    names = [portal.name for portal in asked.context.config.iscsi.portals]
    if asked.form.verb == "create":
        return ()
    if asked.form.verb not in ("add", "remove"):
        return names
    target = asked.said("target")
    there = asked.context.target(target).portals if target else ()
    found = there if asked.form.verb == "remove" else [name for name in names if name not in there]
    return [name for name in found if name not in asked.values]


def _users(asked: Asked) -> Iterable[str]:
    if asked.form.verb == "create":
        return ()
    target, config = asked.said("target"), asked.context.config
    return [user.name for user in (asked.context.target(target).users if target else config.iscsi.users)]


def _faults(asked: Asked) -> Iterable[str]:
    if asked.form.verb == "create":
        return ()
    return [fault.name for fault in asked.context.admin.faults()]


_SOURCES: dict[str, Callable[[Asked], Iterable[str]]] = {
    "device": _devices,
    "target": _targets,
    "group": _groups,
    "lun": _luns,
    "initiator": _initiators,
    "setting": _settings,
    "alua": _device_groups,
    "tpg": _port_groups,
    "member": _members_of_groups,
    "fault": _faults,
    "portal": _portals,
    "user": _users,
    "session": lambda asked: [login.name for login in asked.context.logins()],
    "rule": lambda asked: RULES,
    "handler": lambda asked: HANDLERS,
    "driver": lambda asked: DRIVERS,
    "topic": lambda asked: [*VERBS, *TOPICS],
}


def _below(context: Context, where: Place) -> list[str]:
    """The names of the places below one."""
    found = list(where.folders())
    if where.kind and not where.name:
        found += _members(context, where)
    return found


def _members(context: Context, where: Place) -> Iterable[str]:
    fixed = where.fixed
    match where.kind:
        case "device":
            return [d.name for d in context.config.devices if d.handler == fixed.get("handler")]
        case "target":
            return [t.name for t in context.config.targets if t.driver == fixed.get("driver")]
        case "session":
            return [login.name for login in context.logins()]
        case "fault":
            return [fault.name for fault in context.admin.faults()]
        case "portal" if "target" in fixed:
            return context.target(fixed["target"]).portals
        case "portal":
            return [portal.name for portal in context.config.iscsi.portals]
        case "user":
            target = context.target(fixed["target"]) if "target" in fixed else None
            return [user.name for user in (target.users if target else context.config.iscsi.users)]
        case "alua":
            return [group.name for group in context.config.alua]
        case "tpg":
            found = context.config.device_group(fixed["alua"])
            return [one.name for one in found.port_groups] if found is not None else []
        case "group":
            return [group.name for group in context.target(fixed["target"]).groups]
        case "lun":
            return [str(lun.number) for lun in context.lun_set(fixed["target"], fixed["group"]).luns()]
    return context.members(context.key(fixed["target"]), fixed.get("group", ""))


def _places(context: Context, here: Place, text: str) -> list[str]:
    """Places of the tree: those with something below end in a slash, to be gone into."""
    folder, slash, start = text.rpartition("/")
    try:
        where = place(folder + slash, here.path)
        names = [name for name in _below(context, where) if name.startswith(start)]
        return [
            f"{quote(folder + slash + name)}{'/' if _leads_on(context, where, name) else ' '}"
            for name in names
        ]
    except (WrongUsage, Conflict):
        return []


def _leads_on(context: Context, where: Place, name: str) -> bool:
    return bool(_below(context, where.child(name)))


def _paths(asked: Asked) -> list[str]:
    """Paths of the file system; for blockio block devices only, beginning with the stable links."""
    handler = asked.said("handler")
    block = handler == "blockio"
    if handler == "nullio":
        return []
    if block and not asked.text:
        return [folder for folder in _DISK_FOLDERS if os.path.isdir(folder)] or ["/dev/"]
    folder, slash, start = asked.text.rpartition("/")
    try:
        with os.scandir(folder + slash or ".") as entries:
            found = [_path(folder + slash, entry, block) for entry in entries if entry.name.startswith(start)]
    except OSError:
        return []
    return [path for path in found if path]


def _path(folder: str, entry: os.DirEntry[str], block: bool) -> str:
    try:
        mode = entry.stat().st_mode
    except OSError:
        return ""
    path = quote(folder + entry.name)
    if stat.S_ISDIR(mode):
        return f"{path}/" if path == folder + entry.name else ""
    wanted = stat.S_ISBLK(mode) if block else stat.S_ISREG(mode)
    return f"{path} " if wanted else ""
