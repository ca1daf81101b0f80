# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON <-> model, strictly. Pure: `store` reads and writes the files.

A file carries `"version": 1`. Unknown keys, duplicates, wrong types and references to nothing are errors; all
of them are reported at once, with line and column. What is written is canonical: sorted, defaults left out
(but identity and relative target identifiers always there), so two saves of one state are byte-identical.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from pyscstadmin.config.check import Checker, Finding
from pyscstadmin.config.locate import Places, dotted, locate
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.config.settings import GROUP, IDENTITY
from pyscstadmin.errors import InvalidInput, Problem

__all__ = ["VERSION", "dumps", "loads", "to_data"]

VERSION = 1
_SHOWN = 100
# No number of a configuration is nearly as long, and converting one of millions of digits takes minutes.
_DIGITS = 1000
_STRING = r'"(?:[^"\\]|\\.)*"'
# A list or object without others in it. Strings come first, so that none is taken apart.
_SHORT = re.compile(rf'{_STRING}|([\[{{])\s+((?:{_STRING}|[^\[\]{{}}"])*?)\s+([\]}}])')
_ATOM = re.compile(rf'{_STRING}|([^\s\[\]{{}},:"]+)', re.DOTALL)


def loads(text: str, source: str = "<text>") -> Config:
    """The configuration a JSON text describes. Raises `InvalidInput` with all problems, naming `source`."""
    text = text.removeprefix("\ufeff")  # what some editors begin UTF-8 with
    duplicates = False

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal duplicates
        found = dict(members)
        duplicates = duplicates or len(found) != len(members)
        return found

    data = _parse(text, source, pairs)
    checker = Checker(VERSION)
    config = checker.config(data)
    if duplicates or checker.findings or config is None:
        raise _explained(text, source, checker.findings)
    return config


def _parse(text: str, source: str, pairs: Any) -> Any:
    try:
        return json.loads(text, object_pairs_hook=pairs, parse_constant=_no_constant, parse_int=_number)
    except json.JSONDecodeError as error:
        problem = Problem(f"not JSON: {error.msg}", "", error.lineno, error.colno)
        raise InvalidInput(source, [problem]) from error
    except RecursionError:
        raise InvalidInput(source, [Problem("nested too deeply for a configuration")]) from None
    except ValueError as error:
        raise InvalidInput(source, [Problem(f"not JSON: {error}", "", *_odd_place(text))]) from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _number(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _odd_place(text: str) -> tuple[int, int]:
    """Line and column of the first constant or number that is refused above; everything before it is JSON."""
    for match in _ATOM.finditer(text):
        atom = match[1] or ""
        if atom in ("NaN", "Infinity", "-Infinity") or (len(atom) > _DIGITS and atom.lstrip("-").isdigit()):
            return Places(text).line_column(match.start())
    return 0, 0


def _explained(text: str, source: str, findings: list[Finding]) -> InvalidInput:
    """The findings with their places, in the order of the text."""
    places = locate(text, (finding.path for finding in findings))
    found = [
        (offset, Problem(f"{_what(path)} {json.dumps(path[-1])}", dotted(path[:-1])))
        for path, offset in places.duplicates
    ]
    for finding in findings:
        first, second = (places.keys, places.values) if finding.at_key else (places.values, places.keys)
        offset = first.get(finding.path, second.get(finding.path, 0))
        found.append((offset, Problem(finding.message, dotted(finding.shown))))
    found.sort(key=lambda item: item[0])
    problems = []
    for offset, problem in found[:_SHOWN]:
        line, column = places.line_column(offset)
        problems.append(Problem(problem.message, problem.where, line, column))
    return InvalidInput(source, problems, max(0, len(found) - _SHOWN))


def _what(path: tuple[str | int, ...]) -> str:
    parent = path[-2] if len(path) > 1 else ""
    return {"luns": "duplicate LUN", "groups": "duplicate group"}.get(str(parent), "duplicate key")


def dumps(config: Config) -> str:
    """The canonical text of a configuration, ending in a newline. The result is text that UTF-8 can carry."""
    data = to_data(config)
    text = json.dumps(data, indent=2, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a path with bytes that are not UTF-8: keep them, escaped
        text = json.dumps(data, indent=2)
    # A LUN or a short list on one line reads better, and halves the file.
    return _SHORT.sub(_inline, text) + "\n"


def _inline(match: re.Match[str]) -> str:
    opening, inner, closing = match.groups()
    if opening is None:
        return match.group()
    flat = re.sub(r"\n\s*", " ", inner)
    if len(flat) > 72:
        return match.group()
    return f"{opening}{flat}{closing}" if opening == "[" else f"{opening} {flat} {closing}"


def to_data(config: Config) -> dict[str, Any]:
    """The configuration as plain data, in canonical order."""
    devices: dict[str, Any] = {}
    for device in sorted(config.devices, key=lambda d: (d.handler, d.name)):
        devices.setdefault(device.handler, {})[device.name] = _device(device)
    targets: dict[str, Any] = {}
    for target in config.targets:
        targets.setdefault(target.driver, {})[target.name] = _target(target)
    data: dict[str, Any] = {"version": VERSION}
    return {**data, **dict(config.settings.chosen()), "devices": devices, "targets": targets}


def _device(device: Device) -> dict[str, Any]:
    data: dict[str, Any] = {} if device.enabled else {"enabled": False}
    data.update(device.settings.chosen())
    identity = {name: getattr(device.id, name) for name in IDENTITY if getattr(device.id, name)}
    if identity:
        data["id"] = identity
    return data


def _target(target: Target) -> dict[str, Any]:
    data: dict[str, Any] = {} if target.enabled else {"enabled": False}
    if target.rel_tgt_id is not None:
        data["rel_tgt_id"] = target.rel_tgt_id
    data.update(target.settings.chosen())
    if target.hosts:
        data["hosts"] = list(target.hosts)
    luns = _luns(target.luns)
    if luns:
        data["luns"] = luns
    if target.groups:
        data["groups"] = {group.name: _group(group) for group in target.groups}
    return data


def _group(group: Group) -> dict[str, Any]:
    data: dict[str, Any] = {} if group.priority == GROUP["priority"].default else {"priority": group.priority}
    if group.initiators:
        data["initiators"] = list(group.initiators)
    luns = _luns(group.luns)
    if luns:
        data["luns"] = luns
    return data


def _luns(luns: tuple[Lun, ...]) -> dict[str, Any]:
    # A number without device serves nothing and could not be read back.
    return {str(lun.number): _lun(lun) for lun in luns if lun.device}


def _lun(lun: Lun) -> dict[str, Any]:
    return {"device": lun.device, **({"read_only": lun.read_only} if lun.read_only else {})}
