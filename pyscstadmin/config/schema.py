# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON <-> model, strictly. Pure: `store` reads and writes the files.

A file carries `"version": 1`. Unknown keys, duplicates, wrong types and references to nothing are errors; all
of them are reported at once, with line and column. What is written is canonical: sorted, defaults left out
(but identity and relative target identifiers always there), so two saves of one state are byte-identical.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pyscstadmin.config.check import Checker
from pyscstadmin.config.document import parse
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.config.settings import GROUP, IDENTITY

__all__ = ["VERSION", "dumps", "loads", "to_data"]

VERSION = 1
_STRING = r'"(?:[^"\\]|\\.)*"'
# A list or object without others in it. Strings come first, so that none is taken apart.
_SHORT = re.compile(rf'{_STRING}|([\[{{])\s+((?:{_STRING}|[^\[\]{{}}"])*?)\s+([\]}}])')


def loads(text: str, source: str = "<text>") -> Config:
    """The configuration a JSON text describes. Raises `InvalidInput` with all problems, naming `source`."""
    document = parse(text, source)
    checker = Checker(VERSION)
    config = checker.config(document.data)
    if document.repeats or checker.findings or config is None:
        raise document.explained(checker.findings)
    return config


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
