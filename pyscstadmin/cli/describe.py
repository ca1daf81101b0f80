# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON Schema of configuration files, made from the same tables that the reader uses. Pure.

`python -m pyscstadmin.cli.describe > pyscstadmin/config/schema.json` renews the published copy; a test
compares the two. What a schema cannot say (references, duplicates by case) only the reader checks.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pyscstadmin.config.schema import VERSION
from pyscstadmin.config.settings import (
    DEVICE,
    DEVICE_GROUP,
    DRIVERS,
    GROUP,
    GROUP_ID,
    HANDLERS,
    IDENTITY,
    ISCSI,
    ISCSI_USER,
    LUN,
    PORT_GROUP,
    PORT_STATE,
    PORTAL,
    REL_TGT_ID,
    ROOT,
    TARGET,
    Handler,
    Rows,
    Setting,
)

__all__ = ["json_schema", "text"]

_DEVICE_NAME = r"^[A-Za-z0-9_:][A-Za-z0-9_.:-]{0,63}$"
_PORTAL_NAME = r"^[A-Za-z0-9_:][A-Za-z0-9_.:-]{0,62}$"
_USER_NAME = r"^(?!\.{1,2}$)[!-.0-~]{1,223}$"
_FULL_NAME = r"^[A-Za-z0-9_]+/[^/]+$"
_LUN_NUMBER = r"^(0|[1-9][0-9]{0,4})$"
_INITIATOR = r'^(?!\.{1,2}$)["-)+-.0->@-~]{1,223}$'
_PATTERN = r'^(?!\.{1,2}$)!?["-.0-~]{1,223}$'

Schema = dict[str, Any]


def json_schema() -> Schema:
    """The schema as plain data."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "scst configuration",
        **_object(
            {
                "$schema": {"type": "string"},
                "version": {"const": VERSION},
                **_settings(ROOT),
                "devices": _object(
                    {name: _members(_DEVICE_NAME, _device(spec)) for name, spec in HANDLERS.items()}
                ),
                "targets": _object(
                    {name: _members(spec.name.pattern, _target(name)) for name, spec in DRIVERS.items()}
                ),
                "alua": _members(_DEVICE_NAME, _device_group()),
                "iscsi": _iscsi(),
            },
            ["version"],
        ),
        "$defs": {"luns": _luns(), "group": _group(), "id": _object(_settings(IDENTITY))},
    }


def text() -> str:
    """The schema as it is published."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _object(properties: Schema, required: list[str] | None = None) -> Schema:
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**made, "required": required} if required else made


def _members(pattern: str, value: Schema) -> Schema:
    return {"type": "object", "patternProperties": {pattern: value}, "additionalProperties": False}


def _settings(table: Rows) -> Schema:
    """Settings as properties of an object."""
    return {name: _setting(row) for name, row in table.items()}


def _setting(row: Setting) -> Schema:
    valid = row.type.refuse(row.default) == "" and not row.kept
    described: Schema = {"default": row.default} if valid else {}
    return {**row.type.schema(), **described, "description": row.help}


def _device(spec: Handler) -> Schema:
    properties: Schema = {**_settings(DEVICE), **_settings(spec.settings), "id": {"$ref": "#/$defs/id"}}
    off = {"properties": {"enabled": {"const": False}}, "required": ["enabled"]}
    return {**_object(properties), "anyOf": [off, {"required": [spec.required]}]}


def _target(driver: str) -> Schema:
    spec = DRIVERS[driver]
    properties: Schema = {
        **_settings(TARGET),
        REL_TGT_ID.name: _setting(REL_TGT_ID),
        **_settings(spec.settings),
        "luns": {"$ref": "#/$defs/luns"},
        "groups": _members(_DEVICE_NAME, {"$ref": "#/$defs/group"}),
    }
    if spec.hosts:
        properties["hosts"] = _names(
            _INITIATOR, "initiator names under which SCSI hosts of this machine log in"
        )
    if spec.portals:
        properties["portals"] = _names(_PORTAL_NAME, "portals at which it is reached; without one, nowhere")
        properties["users"] = _users()
    return _object(properties)


def _iscsi() -> Schema:
    portals = _members(_PORTAL_NAME, _object(_settings(PORTAL)))
    return _object({**_settings(ISCSI), "portals": portals, "users": _users()})


def _users() -> Schema:
    return _members(_USER_NAME, _object(_settings(ISCSI_USER)))


def _names(pattern: str, text: str) -> Schema:
    item = {"type": "string", "pattern": pattern}
    return {"type": "array", "items": item, "uniqueItems": True, "description": text}


def _group() -> Schema:
    return _object(
        {
            **_settings(GROUP),
            "initiators": _names(_PATTERN, "exact names, or patterns with * and ?; a leading ! inverts"),
            "luns": {"$ref": "#/$defs/luns"},
        }
    )


def _device_group() -> Schema:
    return _object(
        {
            **_settings(DEVICE_GROUP),
            "devices": _names(_DEVICE_NAME, "names of devices"),
            "target_port_groups": _members(_DEVICE_NAME, _port_group()),
        }
    )


def _port_group() -> Schema:
    numbers = {"type": "array", "items": REL_TGT_ID.type.schema(), "uniqueItems": True}
    text = "relative target port identifiers of ports of other hosts"
    return _object(
        {
            GROUP_ID.name: _setting(GROUP_ID),
            PORT_STATE.name: _setting(PORT_STATE),
            **_settings(PORT_GROUP),
            "targets": _names(_FULL_NAME, "targets that are its ports, DRIVER/NAME"),
            "remote_ports": {**numbers, "description": text},
        }
    )


def _luns() -> Schema:
    lun = _object(
        {
            "device": {"type": "string", "minLength": 1, "description": "name of a device"},
            **_settings(LUN),
        },
        ["device"],
    )
    return _members(_LUN_NUMBER, lun)


if __name__ == "__main__":
    sys.stdout.write(text())
