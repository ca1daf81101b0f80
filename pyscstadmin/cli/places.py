# SPDX-License-Identifier: GPL-2.0-or-later
"""Places: what a path in the tree of the shell stands for. Pure.

    /devices/HANDLER/NAME
    /targets/DRIVER/NAME/{luns/NUMBER, hosts/NAME, groups/GROUP/{initiators/NAME, luns/NUMBER}}
    /targets/iscsi/NAME/{portals/NAME, users/NAME}
    /alua/GROUP/tpgs/NAME
    /portals/NAME
    /users/NAME
    /faults/NAME
    /sessions/NAME

A place says what it is, or what it has, and fixes parameters of the commands that are given there: at
/targets/local/t1/groups/a, `target` is local/t1 and `group` is a.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from pyscstadmin.cli.words import WrongUsage
from pyscstadmin.config.settings import DRIVERS, HANDLERS

__all__ = ["KINDS", "PLURALS", "TOP", "Place", "parts", "place"]

# Kinds of objects, and what a folder of them is called.
KINDS: Mapping[str, str] = {
    "handler": "handlers",
    "device": "devices",
    "driver": "drivers",
    "target": "targets",
    "group": "groups",
    "lun": "luns",
    "initiator": "initiators",
    "host": "hosts",
    "session": "sessions",
    "alua": "alua",
    "tpg": "tpgs",
    "member": "members",
    "portal": "portals",
    "user": "users",
    "fault": "faults",
}
PLURALS: Mapping[str, str] = {plural: kind for kind, plural in KINDS.items()}


@dataclass(frozen=True, slots=True)
class Place:
    """A place. `kind`: what it is, or with an empty `name`: what is in this folder; '' for the top. `fixed`:
    the parameters that it fixes.
    """

    path: str = "/"
    kind: str = ""
    name: str = ""
    fixed: Mapping[str, str] = field(default_factory=dict)

    def child(self, name: str) -> Place:
        """The place of that name below this one, if there can be one. Raises `WrongUsage`."""
        found = _child(self, name)
        if found is None:
            fixed = list(self.folders())
            from difflib import get_close_matches  # for what is wrong only

            close = get_close_matches(name, fixed, 1)
            raise WrongUsage(f"{self.path} has no {name}{f'; did you mean {close[0]}?' if close else ''}")
        return replace(found, path=f"{self.path.rstrip('/')}/{found.name or name}")

    def folders(self) -> Iterator[str]:
        """The names that are always there below this place."""
        if not self.kind:
            yield from ("devices", "targets", "alua", "portals", "users", "faults", "sessions")
        elif not self.name:
            known: Mapping[str, Iterable[str]] = {"/devices": HANDLERS, "/targets": DRIVERS}
            yield from known.get(self.path, ())
        elif self.kind == "target":
            yield from ("luns", "groups")
            spec = DRIVERS[self.fixed["target"].partition("/")[0]]
            if spec.hosts:
                yield "hosts"
            if spec.portals:
                yield from ("portals", "users")
        elif self.kind == "group":
            yield from ("initiators", "luns")
        elif self.kind == "alua":
            yield "tpgs"


TOP = Place()


def _child(place: Place, name: str) -> Place | None:
    """What a name below a place means; its path is set by the caller."""
    fixed = dict(place.fixed)
    if place.name or not place.kind:
        return _folder(place, name, fixed) if name in place.folders() else None
    match place.kind:
        case "device" if "handler" not in fixed:
            return Place("", "device", "", {"handler": name}) if name in HANDLERS else None
        case "target" if "driver" not in fixed:
            return Place("", "target", "", {"driver": name}) if name in DRIVERS else None
        case "device":
            return Place("", "device", name, {**fixed, "device": name})
        case "target":
            known = DRIVERS[fixed["driver"]].name.canonical(name)
            return Place("", "target", known, {"target": f"{fixed['driver']}/{known}"})
        case "group":
            return Place("", "group", name, {**fixed, "group": name})
    return Place("", place.kind, name, {**fixed, place.kind: name})


def _folder(place: Place, name: str, fixed: dict[str, str]) -> Place:
    if place.kind == "target" and name == "luns":
        fixed["group"] = ""  # not those of a group
    return Place("", PLURALS[name], "", fixed)


def parts(path: str, here: str = "/") -> list[str]:
    """The names on the way from the top to a path, absolute or from a place."""
    found: list[str] = [] if path.startswith("/") else [part for part in here.split("/") if part]
    for part in path.split("/"):
        if part == "..":
            del found[-1:]
        elif part not in ("", "."):
            found.append(part)
    return found


def place(path: str, here: str = "/") -> Place:
    """The place at a path, absolute or from another; whether something is there is another question. Raises
    `WrongUsage`.
    """
    found = TOP
    for part in parts(path, here):
        found = found.child(part)
    return found
