# SPDX-License-Identifier: GPL-2.0-or-later
"""The JSON Schema of configuration files, made from the same tables that the reader uses. Pure.

`python -m pyscstadmin.cli.describe > pyscstadmin/config/schema.json` renews the published copy; a test
compares the two. What a schema cannot say (references, duplicates by case) only the reader checks.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pyscstadmin.config import names
from pyscstadmin.config.layout import AUTO, DRIVERS, HANDLERS, ROOT_SETTINGS, Handler, Setting
from pyscstadmin.config.schema import VERSION

__all__ = ["json_schema", "text"]

_DEVICE_NAME = r"^[A-Za-z0-9_:][A-Za-z0-9_.:-]{0,63}$"
_TARGET_NAME = r"^[A-Za-z0-9_:+@,][A-Za-z0-9_.:+@,-]{0,222}$"
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
                **{setting.name: _setting(setting) for setting in ROOT_SETTINGS},
                "devices": _object(
                    {name: _members(_DEVICE_NAME, _device(spec)) for name, spec in HANDLERS.items()}
                ),
                "targets": _object({name: _members(_TARGET_NAME, _target(name)) for name in DRIVERS}),
            },
            ["version"],
        ),
        "$defs": {"luns": _luns(), "group": _group(), "id": _identity()},
    }


def text() -> str:
    """The schema as it is published."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _object(properties: Schema, required: list[str] | None = None) -> Schema:
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**made, "required": required} if required else made


def _members(pattern: str, value: Schema) -> Schema:
    return {"type": "object", "patternProperties": {pattern: value}, "additionalProperties": False}


def _bool(default: bool, text: str) -> Schema:
    return {"type": "boolean", "default": default, "description": text}


_DESCRIPTIONS = {
    "path": "backing file or block device, absolute",
    "size": "bytes, a multiple of the block size",
    "block_size": "logical block in bytes; 0: that of the backing",
    "read_only": "open the backing read-only; nobody can write",
    "write_through": "no volatile cache: each write is stable before its status",
    "rotational": "report a rotating medium; auto: as the backing is",
    "stop_unit": "START STOP UNIT of one initiator stops the unit for all",
    "o_direct": "bypass the page cache",
    "queue_depth": "commands of one initiator to one LUN at a time; 0: no limit of its own",
    "buffer_limit": "bytes of memory for data of remote commands; 0: the kernel's choice",
    "auto_rescan": "SCSI hosts of this target rescan by themselves when their LUNs change",
}


def _setting(setting: Setting) -> Schema:
    described: Schema = {"default": setting.default, "description": _DESCRIPTIONS[setting.name]}
    if setting.name == "block_size":
        return {"enum": list(names.BLOCK_SIZES), **described}
    if setting.name == "path":
        return {
            "type": "string",
            "pattern": "^(/[^\\x00-\\x1f\\x7f]*)?$",
            "maxLength": names.PATH_MAX,
            **described,
        }
    if setting.kind == "number":
        return {"type": "integer", "minimum": 0, "maximum": setting.high, **described}
    if setting.kind == "auto":
        return {"enum": [AUTO, False, True], **described}
    return {"type": "boolean", **described}


def _device(spec: Handler) -> Schema:
    properties: Schema = {"enabled": _bool(True, "a device that is not enabled serves nobody")}
    properties.update({setting.name: _setting(setting) for setting in spec.settings})
    properties["id"] = {"$ref": "#/$defs/id"}
    off = {"properties": {"enabled": {"const": False}}, "required": ["enabled"]}
    return {**_object(properties), "anyOf": [off, {"required": [spec.required]}]}


def _identity() -> Schema:
    def printable(limit: int, text: str) -> Schema:
        return {"type": "string", "pattern": f"^[ -~]{{1,{limit}}}$", "description": text}

    digits = "[0-9a-fA-F]"
    naa = f"^([235]{digits}{{15}}|6{digits}{{31}})$"
    eui = f"^({digits}{{16}}|{digits}{{24}}|{digits}{{32}})?$"
    return _object(
        {
            "vendor": printable(8, "T10 vendor identification"),
            "product": printable(16, "product identification"),
            "revision": printable(4, "product revision level"),
            "serial": printable(64, "unit serial number; left out: as it is, or random"),
            "naa": {
                "type": "string",
                "pattern": naa,
                "description": "NAA identifier; left out: as it is, or random",
            },
            "eui64": {
                "type": "string",
                "pattern": eui,
                "default": "",
                "description": "EUI-64 based identifier",
            },
        }
    )


def _target(driver: str) -> Schema:
    spec = DRIVERS[driver]
    properties: Schema = {
        "enabled": _bool(True, "open the target to initiators"),
        "rel_tgt_id": {"type": "integer", "minimum": 1, "maximum": names.REL_TGT_ID_MAX},
        **{setting.name: _setting(setting) for setting in spec.settings},
        "luns": {"$ref": "#/$defs/luns"},
        "groups": _members(_DEVICE_NAME, {"$ref": "#/$defs/group"}),
    }
    if spec.hosts:
        properties["hosts"] = _names(
            _INITIATOR, "initiator names under which SCSI hosts of this machine log in"
        )
    return _object(properties)


def _names(pattern: str, text: str) -> Schema:
    item = {"type": "string", "pattern": pattern}
    return {"type": "array", "items": item, "uniqueItems": True, "description": text}


def _group() -> Schema:
    priority = {
        "type": "integer",
        "minimum": 0,
        "maximum": names.PRIORITY_MAX,
        "default": names.PRIORITY_DEFAULT,
    }
    return _object(
        {
            "priority": {**priority, "description": "among groups whose patterns match, the lowest wins"},
            "initiators": _names(_PATTERN, "exact names, or patterns with * and ?; a leading ! inverts"),
            "luns": {"$ref": "#/$defs/luns"},
        }
    )


def _luns() -> Schema:
    lun = _object(
        {
            "device": {"type": "string", "minLength": 1, "description": "name of a device"},
            "read_only": _bool(False, "writes through this LUN are refused"),
        },
        ["device"],
    )
    return _members(_LUN_NUMBER, lun)


if __name__ == "__main__":
    sys.stdout.write(text())
