# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON <-> model, strictly. Pure: `store` reads and writes the files.

A file carries `"version": 1`. Unknown keys, duplicates, wrong types and references to nothing are errors; all
of them are reported at once, with line and column. What is written is canonical: sorted, defaults left out
(but identity and relative target identifiers always there), so two saves of one state are byte-identical.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

from pyscstadmin.config.check import Checker
from pyscstadmin.config.document import parse
from pyscstadmin.config.iscsi_names import BY_HAND
from pyscstadmin.config.model import Config, Device, DeviceGroup, Group, Iscsi, Lun, PortGroup, Target, User
from pyscstadmin.config.settings import GROUP, IDENTITY, LUN, Values
from pyscstadmin.errors import InvalidInput

__all__ = ["VERSION", "dumps", "examine", "loads", "to_data"]

VERSION = 1
# A list or object without others in it that is no longer is written on one line.
_LINE = 72


def loads(text: str, source: str = "<text>") -> Config:
    """The configuration a JSON text describes. Raises `InvalidInput` with all problems, naming `source`."""
    config, fault = examine(text, source)
    if fault is not None:
        raise fault
    assert config is not None
    return config


def examine(text: str, source: str = "<text>") -> tuple[Config | None, InvalidInput | None]:
    """What a JSON text describes, and what is wrong with it. A configuration that is whole and cannot be had
    (two devices have one identity) comes with its fault, so that whatever else is to be said of it can be.
    Raises `InvalidInput` if it is no JSON.
    """
    document = parse(text, source)
    checker = Checker(VERSION)
    config = checker.config(document.data)
    if config is not None and not document.repeats and not checker.findings:
        config.found_right()
        return config, None
    whole = checker.whole and not document.repeats
    return config if whole else None, document.explained(checker.findings)


def dumps(config: Config) -> str:
    """The canonical text of a configuration, ending in a newline. The result is text that UTF-8 can carry."""
    data = to_data(config)
    text = _text(data, encode_basestring) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError:  # a path with bytes that are not UTF-8: keep them, escaped
        text = _text(data, encode_basestring_ascii) + "\n"
    return text


def _text(value: Any, quoted: Callable[[str], str], margin: str = "\n") -> str:
    """The text of a value; `margin` is how the line of its last bracket begins."""
    line = _on_one_line(value, quoted)
    if line:
        return line
    deeper = f"{margin}  "
    if type(value) is dict:
        members = [f"{quoted(key)}: {_text(member, quoted, deeper)}" for key, member in value.items()]
    else:
        members = [_text(member, quoted, deeper) for member in value]
    inside = f",{deeper}".join(members)
    return f"{{{deeper}{inside}{margin}}}" if type(value) is dict else f"[{deeper}{inside}{margin}]"


def _on_one_line(value: Any, quoted: Callable[[str], str]) -> str:
    """The text of a value that reads better on one line, '' if it does not."""
    if type(value) not in (dict, list):
        return _atom(value, quoted)
    is_object = type(value) is dict
    if any(type(member) in (dict, list) for member in (value.values() if is_object else value)):
        return ""
    if is_object:
        text = ", ".join([f"{quoted(key)}: {_atom(member, quoted)}" for key, member in value.items()])
        return "" if len(text) > _LINE else f"{{ {text} }}" if text else "{}"
    text = ", ".join([_atom(member, quoted) for member in value])
    return f"[{text}]" if len(text) <= _LINE else ""


def _atom(value: Any, quoted: Callable[[str], str]) -> str:
    return quoted(value) if type(value) is str else json.dumps(value)


def to_data(config: Config) -> dict[str, Any]:
    """The configuration as plain data, in canonical order. Equal LUNs are one object: do not change it."""
    devices: dict[str, Any] = {}
    for device in sorted(config.devices, key=lambda d: (d.handler, d.name)):
        devices.setdefault(device.handler, {})[device.name] = _device(device)
    targets: dict[str, Any] = {}
    # Hundreds of groups have the same LUNs, and shared they cost next to nothing.
    lun = lru_cache(None, typed=True)(_lun)
    for target in config.targets:
        targets.setdefault(target.driver, {})[target.name] = _target(target, lun)
    data: dict[str, Any] = {"version": VERSION}
    data = {**data, **_chosen(config.settings), "devices": devices, "targets": targets}
    if config.alua:
        data["alua"] = {group.name: _device_group(group) for group in config.alua}
    iscsi = _iscsi(config.iscsi)
    if iscsi:
        data["iscsi"] = iscsi
    return data


def _chosen(settings: Values) -> dict[str, Any]:
    """The settings that are not as they are by default."""
    return {name: settings.table[name].type.to_json(value) for name, value in settings.chosen()}


def _device(device: Device) -> dict[str, Any]:
    data: dict[str, Any] = {} if device.enabled else {"enabled": False}
    data.update(_chosen(device.settings))
    identity = {name: getattr(device.id, name) for name in IDENTITY if getattr(device.id, name)}
    if identity:
        data["id"] = identity
    return data


# What makes the data of a LUN from all but its number.
_LunData = Callable[[tuple[Any, ...]], dict[str, Any]]


def _target(target: Target, lun: _LunData) -> dict[str, Any]:
    data: dict[str, Any] = {} if target.enabled else {"enabled": False}
    if target.rel_tgt_id is not None:
        data["rel_tgt_id"] = target.rel_tgt_id
    data.update(_chosen(target.settings))
    if target.hosts:
        data["hosts"] = list(target.hosts)
    if target.portals:
        data["portals"] = list(target.portals)
    if target.users:
        data["users"] = {user.name: _user(user) for user in target.users}
    luns = _luns(target.luns, lun)
    if luns:
        data["luns"] = luns
    if target.groups:
        data["groups"] = {group.name: _group(group, lun) for group in target.groups}
    return data


def _group(group: Group, lun: _LunData) -> dict[str, Any]:
    data: dict[str, Any] = {} if group.priority == GROUP["priority"].default else {"priority": group.priority}
    if group.initiators:
        data["initiators"] = list(group.initiators)
    luns = _luns(group.luns, lun)
    if luns:
        data["luns"] = luns
    return data


def _device_group(group: DeviceGroup) -> dict[str, Any]:
    data = _chosen(group.settings)
    if group.devices:
        data["devices"] = list(group.devices)
    if group.port_groups:
        data["target_port_groups"] = {one.name: _port_group(one) for one in group.port_groups}
    return data


def _port_group(group: PortGroup) -> dict[str, Any]:
    given = {"group_id": group.group_id, "state": group.state}
    data: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    data.update(_chosen(group.settings))
    if group.targets:
        data["targets"] = list(group.targets)
    if group.remote_ports:
        data["remote_ports"] = list(group.remote_ports)
    return data


def _iscsi(iscsi: Iscsi) -> dict[str, Any]:
    data = _chosen(iscsi.settings)
    if iscsi.portals:
        data["portals"] = {portal.name: _chosen(portal.settings) for portal in iscsi.portals}
    if iscsi.users:
        data["users"] = {user.name: _user(user) for user in iscsi.users}
    return data


def _user(user: User) -> dict[str, Any]:
    """Where its secret is; of one that somebody wrote by hand, nobody can say it."""
    data = _chosen(user.settings)
    return {name: value for name, value in data.items() if value != BY_HAND}


def _luns(luns: tuple[Lun, ...], data: _LunData) -> dict[str, Any]:
    # A number without device serves nothing and could not be read back.
    return {str(lun.number): data(lun[1:]) for lun in luns if lun.device}


def _lun(numberless: tuple[Any, ...]) -> dict[str, Any]:
    lun = Lun(0, *numberless)
    return {"device": lun.device, **{name: LUN[name].type.to_json(v) for name, v in lun.chosen().items()}}
