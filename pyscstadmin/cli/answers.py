# SPDX-License-Identifier: GPL-2.0-or-later
"""What `--json` prints: one document per command, each with `schema`, its name and version, and a JSON Schema
for every one of them. Pure.

`python -m pyscstadmin.cli.answers > pyscstadmin/cli/answers.json` renews the published copy; a test
compares the two, and validates what every command prints. A member that is added makes no new version; one
that goes, or means something else, does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from pyscstadmin.cli.alua import ANSWERS
from pyscstadmin.cli.places import KINDS
from pyscstadmin.cli.table import FORMS
from pyscstadmin.cli.verbs import Form
from pyscstadmin.config.faultpoints import ACTIONS
from pyscstadmin.config.names import PORT_STATES, RECORD_KINDS
from pyscstadmin.config.reservations import TYPES
from pyscstadmin.config.touched import ENDS, KEEPS
from pyscstadmin.kernel.prove import Was
from pyscstadmin.kernel.recorder import STAGES

__all__ = ["ERROR", "IMPORT", "SCRIPT", "json_schema", "name_of", "named", "text"]

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_INT: Schema = {"type": "integer"}
_BOOL: Schema = {"type": "boolean"}
_TRUE: Schema = {"const": True}
_CODE: Schema = {"enum": [0, 1, 2, 3, 4, 5], "description": "the exit code"}
_NO_TEXT: Schema = {"type": ["string", "null"]}
_NO_INT: Schema = {"type": ["integer", "null"]}
_ANY: Schema = {}
_CONFIG: Schema = {"type": "object", "description": "as in a file: `scstadmin schema`"}


def _name(what: str) -> str:
    return f"scstadmin/{what}/1"


ERROR, SCRIPT, IMPORT = _name("error"), _name("script"), _name("import")


def name_of(form: Form) -> str:
    """The name of what a form of a verb prints: `scstadmin/create-device/1`."""
    return _name(form.title.replace(" ", "-"))


def named(name: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """A document with its name."""
    return {"schema": name, **data}


def _object(properties: Mapping[str, Schema]) -> Schema:
    """An object; a name with ? need not be there."""
    return {
        "type": "object",
        "properties": {name.rstrip("?"): value for name, value in properties.items()},
        "required": [name for name in properties if not name.endswith("?")],
    }


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _map(value: Schema) -> Schema:
    return {"type": "object", "additionalProperties": value}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


# What several have.

_LUN = {
    "number": _INT,
    "device": _TEXT,
    "read_only": _BOOL,
    "read_iops": _INT,
    "write_iops": _INT,
    "read_bytes_per_sec": _INT,
    "write_bytes_per_sec": _INT,
    "burst": _INT,
}
_SESSION_LUN = {**_LUN, "waiting": _INT, "limited": _INT, "limited_us": _INT}
_RUNNING = {"generation": _INT, "target": _TEXT, "initiator": _TEXT, "lun": _INT, "device": _TEXT}
_REMARK = {
    "rule": _TEXT,
    "severity": {"enum": ["error", "warning"]},
    "where": _TEXT,
    "message": _TEXT,
    "advice": _TEXT,
}
_OPERATION = {
    "operation": _TEXT,
    "path": _TEXT,
    "impact": {"enum": ["none", "unit attention", "session drop"]},
}
_TAKEN = {"initiator": _TEXT, "target": _TEXT, "lun": _INT, "device": _TEXT}
_LOSSES = {"removed": _list(_TEXT), "ended": _list(_TEXT), "taken": _list(_object(_TAKEN))}
_PROBLEM = {"message": _TEXT, "where": _TEXT, "line": _INT, "column": _INT, "rule": _TEXT}
_FAULT: dict[str, Schema] = {
    "error": {"type": "string", "description": "the class, as in `pyscstadmin.errors`"},
    "message": _TEXT,
    "exit_code": _CODE,
    "step?": {"type": "string", "description": "what was left out"},
    "usage?": _TEXT,
    "source?": _TEXT,
    "problems?": _list(_object(_PROBLEM)),
    "more?": _INT,
    "operation?": _TEXT,
    "path?": _TEXT,
    "value?": _NO_TEXT,
    "errno?": _TEXT,
    "advice?": _TEXT,
    "doing?": _TEXT,
    "cause?": _ref("fault"),
    "left?": _list(_TEXT),
    "reasons?": _list(_TEXT),
    "losses?": _ref("losses"),
}
_DIFFERENCE = {"fact": _TEXT, "expected": _TEXT, "found": _TEXT}
_BINDING = {
    "device": _TEXT,
    "path": _TEXT,
    "was": {"enum": [was.value for was in Was], "description": "what was found for the device"},
    "at?": {"type": "string", "description": "where the right one is"},
    "differences?": _list(_object(_DIFFERENCE)),
    "claims?": _list(_TEXT),
}
_BINDINGS = {"bindings": _list(_ref("binding"))}
_REMARKS = {"warnings": _list(_TEXT), "lint": _list(_ref("remark"))}
_OUTCOME: dict[str, Schema] = {
    "exit_code": _CODE,
    "operations": _list(_ref("operation")),
    "failed": _list(_ref("fault")),
    "parked": _list(_TEXT),
    "waiting": {**_list(_TEXT), "description": "targets that wait for their hardware port"},
    "generation": _INT,
    "settled": {"type": ["boolean", "null"], "description": "null: it was not waited for"},
    "running": _list(_ref("running")),
    **_REMARKS,
    **_BINDINGS,
}
_SETTING = {
    "name": _TEXT,
    "value": _ANY,
    "text?": _TEXT,
    "default?": _ANY,
    "unit?": _TEXT,
    "words?": _TEXT,
    "required?": _BOOL,
    "live?": _BOOL,
    "access": {"enum": ["rw", "ro"]},
    "help": _TEXT,
}
_SETTINGS = {"settings": _list(_ref("setting"))}
_STANDING = {"state": _TEXT, "size": _INT, "read_only": _BOOL, "error": _TEXT}
_VERDICT = {
    "group": _TEXT,
    "priority": _INT,
    "pattern": _TEXT,
    "exact": _BOOL,
    "chosen": _BOOL,
    "reason": _TEXT,
}
_COUNTERS = (
    "commands read_bytes write_bytes aborted lun_resets unit_attentions busy task_set_full check_conditions"
)
_SESSION = {
    "name": _TEXT,
    "target": _TEXT,
    "initiator": _TEXT,
    "group": _TEXT,
    "luns": _list(_object(_SESSION_LUN)),
    **dict.fromkeys(_COUNTERS.split(), _INT),
}
_COMMAND = {
    "age_ms": _INT,
    "place": _TEXT,
    "aborted": _BOOL,
    "session": _TEXT,
    "target": _TEXT,
    "initiator": _TEXT,
    "lun": _NO_INT,
    "device": _TEXT,
    "tag": _TEXT,
    "bytes": _INT,
    "cdb": _TEXT,
    "opcode": _TEXT,
}
_RECORD: dict[str, Schema] = {
    "kind": {"enum": list(RECORD_KINDS)},
    "when": {"type": "string", "format": "date-time"},
    "times": _INT,
    "session": _TEXT,
    "target": _TEXT,
    "initiator": _TEXT,
    "lun": _NO_INT,
    "device": _TEXT,
    "tag": _TEXT,
    "ms": _INT,
    "place": {"enum": list(STAGES)},
    "place_ms": _INT,
    "bytes": _INT,
    "answer": _TEXT,
    "cdb": _TEXT,
    "sense": _TEXT,
    "what": _TEXT,
}
_HELP = {
    "verb": _TEXT,
    "object": _TEXT,
    "usage": _TEXT,
    "help": _TEXT,
    "parameters": _list(_object({"name": _TEXT, "help": _TEXT, "needed": _BOOL, "values": _list(_TEXT)})),
    "settings": _list(_TEXT),
    "example": _TEXT,
}
_STATE: dict[str, Schema] = {
    "generation": _INT,
    "settled": _BOOL,
    "target_states": _map(_TEXT),
    "running": _list(_ref("running")),
}

_SHARED = {
    "fault": _FAULT,
    "outcome": _OUTCOME,
    "losses": _LOSSES,
    "lun": _LUN,
    "running": _RUNNING,
    "remark": _REMARK,
    "binding": _BINDING,
    "operation": _OPERATION,
    "setting": _SETTING,
    "help": _HELP,
}

# What each says, by what `Form.title` says. Those that change something have `_changed`.

_GROUP = {"target": _TEXT, "group": _TEXT}
_MEMBERS = {**_GROUP, "initiators": _list(_TEXT)}
_HOSTS = {"target": _TEXT, "hosts": _list(_TEXT)}
_MAPPED = {**_GROUP, "luns": _list(_ref("lun"))}
_IN_ALUA = {"alua": _TEXT}
_IN_TPG = {**_IN_ALUA, "tpg": _TEXT}
_CHANGES: dict[str, dict[str, Schema]] = {
    "create device": {"device": _TEXT, "handler": _TEXT, "file_made": _BOOL},
    "create target": {"target": _TEXT},
    "create group": _GROUP,
    "create lun": _MAPPED,
    "map": _MAPPED,
    "unmap": {**_GROUP, "numbers": _list(_INT)},
    "delete lun": {**_GROUP, "numbers": _list(_INT)},
    "set": {},
    "set lun": {**_GROUP, "luns": _list(_INT)},
    "move initiator": {**_MEMBERS, "before": _TEXT},
    "rename device": {"device": _TEXT, "before": _TEXT},
    "rename group": {**_GROUP, "before": _TEXT},
    "commit": {"changes?": _INT},
    **{f"{verb} device": {"device": _TEXT} for verb in ("delete", "set", "enable", "disable")},
    **{f"{verb} target": {"target": _TEXT} for verb in ("delete", "set", "enable", "disable", "clear")},
    **{f"{verb} group": _GROUP for verb in ("delete", "set", "clear")},
    **{f"clear {kind}": _GROUP for kind in ("lun", "initiator")},
    "clear host": {"target": _TEXT},
    **{f"{verb} initiator": _MEMBERS for verb in ("create", "add", "delete", "remove")},
    **{f"{verb} host": _HOSTS for verb in ("create", "add", "delete", "remove")},
    **{f"{verb} alua": _IN_ALUA for verb in ("create", "delete", "set")},
    **{f"{verb} tpg": _IN_TPG for verb in ("create", "delete", "set")},
    **{f"{verb} member": {**_IN_ALUA, "tpg?": _TEXT, "members": _list(_TEXT)} for verb in ("add", "remove")},
}
_CHANGES |= {
    **{f"{verb} portal": {"portal": _TEXT} for verb in ("create", "delete", "set")},
    **{f"{verb} portal": {"target": _TEXT, "portals": _list(_TEXT)} for verb in ("add", "remove")},
    **{f"{verb} user": {"target": _TEXT, "user": _TEXT} for verb in ("create", "delete", "set")},
    "set driver": {"driver": _TEXT},
}
_ROWS: dict[str, dict[str, Schema]] = {
    "handler": {"name": _TEXT, "module": _TEXT, "devices": _INT},
    "driver": {"name": _TEXT, "module": _TEXT, "targets": _INT},
    "device": {
        "name": _TEXT,
        "handler": _TEXT,
        "state": _TEXT,
        "size": _INT,
        "path": _TEXT,
        "luns": _INT,
    },
    "target": {"name": _TEXT, "state": _TEXT, "rel_tgt_id": _NO_INT, "groups": _INT, "luns": _INT},
    "group": {"target": _TEXT, "name": _TEXT, "priority": _INT, "initiators": _INT, "luns": _INT},
    "lun": {"target": _TEXT, "group": _TEXT, "lun": _INT, "device": _TEXT, "read_only": _BOOL},
    "initiator": {"target": _TEXT, "group": _TEXT, "name": _TEXT, "kind": _TEXT},
    "host": {"target": _TEXT, "name": _TEXT, "host": _TEXT},
    "session": {"name": _TEXT, "target": _TEXT, "initiator": _TEXT, "group": _TEXT, "luns": _INT},
    "alua": {
        "name": _TEXT,
        "explicit": _BOOL,
        "devices": _TEXT,
        "tpgs": _INT,
        "question": {"type": "string", "description": "number and wanted states; empty: none is open"},
    },
    "member": {"alua": _TEXT, "tpg": _TEXT, "member": _TEXT},
    "portal": {"name": _TEXT, "address": _TEXT, "port": _INT, "state": _TEXT, "targets": _INT},
    "user": {
        "target": {"type": "string", "description": "empty: a user of discovery"},
        "name": _TEXT,
        "direction": {"enum": ["in", "out"]},
        "expires": {"type": "string", "description": "empty: never"},
        "uses": {"type": "integer", "description": "0: any number"},
        "secret": {"type": "string", "description": "`none`, `by hand`, or the file it was taken from"},
    },
    "fault": {
        "name": _TEXT,
        "enabled": _BOOL,
        "target": _TEXT,
        "group": _TEXT,
        "lun": _TEXT,
        "commands": _TEXT,
        "action": {"enum": list(ACTIONS)},
        "hits": _INT,
    },
    "tpg": {
        "alua": _TEXT,
        "name": _TEXT,
        "group_id": _NO_INT,
        "state": {"enum": list(PORT_STATES)},
        "preferred": _BOOL,
        "ports": _TEXT,
    },
}
_PORT = {
    "driver": _TEXT,
    "name": _TEXT,
    "present": _BOOL,
    "state": _TEXT,
    "model": _TEXT,
    "firmware": _TEXT,
    "speed": _TEXT,
    "link": _TEXT,
    "qlini_mode": _TEXT,
    "fc_host": _TEXT,
    "holder": {"type": "string", "description": "the other target stack that has the port"},
    "target": _NO_TEXT,
    "target_state": _TEXT,
    "remark": _TEXT,
    "advice": _TEXT,
}
_REGISTRANT = {
    "key": {"type": "string", "pattern": "^0x[0-9a-f]{16}$"},
    "port": {"type": "integer", "description": "relative target port identifier"},
    "initiator": _TEXT,
    "transport_id": {"type": "string", "description": "of the initiator port, hexadecimal"},
    "holder": _BOOL,
}
_RULE = {"type": "string", "description": "one of the rules in docs/iscsi.md"}
_LOGIN = {
    "time": {"type": "number", "description": "seconds since 1970"},
    "portal": _TEXT,
    "peer": _TEXT,
    "initiator": _TEXT,
    "target": _TEXT,
    "user": _TEXT,
    "status": {"type": "string", "description": "class and detail, four hex digits; empty: no answer"},
    "reason": _TEXT,
    "rule": _RULE,
    "advice": _TEXT,
}
_VERDICT_OF_LOGIN = {
    "portal": _TEXT,
    "allowed": _BOOL,
    "reason": _TEXT,
    "rule": {**_RULE, "description": f"empty, or {_RULE['description']}"},
    "advice": _TEXT,
}
_TOLD = {
    "portal": _TEXT,
    "address": _TEXT,
    "targets": _map(_list(_TEXT)),
    "needs_chap": {"type": "boolean", "description": "it has to prove itself before"},
}
_TOUCHED = {
    "session": _TEXT,
    "initiator": _TEXT,
    "target": _TEXT,
    "how": {"enum": [ENDS, KEEPS]},
    "why": _TEXT,
}
_SWITCHED = {"device": _TEXT, "state": _TEXT}
_GOT = ("device", "target", "group", "lun", "alua", "tpg", "fault", "driver", "portal", "user")
_SAYS: dict[str, dict[str, Schema]] = {
    **{f"get {kind}": _SETTINGS for kind in _GOT},
    "get": _SETTINGS,
    **{f"{verb} fault": {"changed": _BOOL, "fault": _TEXT} for verb in ("create", "delete", "set")},
    **{f"list {kind}": {KINDS[kind]: _list(_object(row))} for kind, row in _ROWS.items()},
    "show": {
        **_STATE,
        "config": _CONFIG,
        "device_states": _map(_TEXT),
        "device_sizes": _map(_INT),
        "device_errors": _map(_TEXT),
        **_BINDINGS,
    },
    "status": {
        **_STATE,
        "devices": _INT,
        "targets": _INT,
        "sessions": _INT,
        "parked": _list(_TEXT),
        "faults": {**_list(_TEXT), "description": "injected faults that are in force"},
        "saved": _TEXT,
        "begun": _NO_INT,
    },
    "explain": {
        "initiator": _TEXT,
        "group": _TEXT,
        "luns": _list(_ref("lun")),
        "reason": _TEXT,
        "verdicts": _list(_object(_VERDICT)),
        "target?": _TEXT,
        "target_state?": _TEXT,
        "settled?": _BOOL,
        "devices?": _map(_object(_STANDING)),
        "bindings?": _list(_ref("binding")),
        "port_states": {
            **_map({"enum": list(PORT_STATES)}),
            "description": "of devices in device groups: the state by this target",
        },
    },
    "sessions": {
        "sessions?": _list(_object(_SESSION)),
        "commands?": _list(_object(_COMMAND)),
        "iscsi?": _list(_object({"name": _TEXT, "target": _TEXT, "initiator": _TEXT, "values": _map(_TEXT)})),
    },
    "logins": {"logins": _list(_object(_LOGIN))},
    "explain-login": {
        "initiator": _TEXT,
        "target": _TEXT,
        "allowed": _BOOL,
        "portals": _list(_object(_VERDICT_OF_LOGIN)),
    },
    "discover": {"initiator": _TEXT, "asked": _list(_object(_TOLD))},
    "drop": {"session": _TEXT},
    "drain": {"left": _list(_TEXT), "dropped": _list(_TEXT), "asked": _list(_TEXT)},
    "recorder": {"records": _list(_object(_RECORD))},
    "ports": {"ports": _list(_object(_PORT))},
    "pr": {
        "device": _TEXT,
        "generation": _INT,
        "type": {"enum": list(TYPES)},
        "aptpl": _BOOL,
        "lost": _BOOL,
        "reserve": {"type": "string", "description": "DRIVER/TARGET and initiator that RESERVE has it for"},
        "registrants": _list(_object(_REGISTRANT)),
        "cleared?": {"type": "integer", "description": "registrations that have ended"},
        "file?": _TEXT,
    },
    "plan": {
        "impact": _OPERATION["impact"],
        "operations": _list(_ref("operation")),
        "sessions": {
            **_list(_object(_TOUCHED)),
            "description": "sessions of iSCSI that notice, now or later",
        },
        **_REMARKS,
    },
    "lint": {"exit_code": _CODE, "lint": _list(_ref("remark"))},
    "who": {
        "device": _TEXT,
        "handler": _TEXT,
        **_STANDING,
        **_BINDINGS,
        "uses": _list(
            _object(
                {
                    "target": _TEXT,
                    "group": _TEXT,
                    "lun": _INT,
                    "read_only": _BOOL,
                    "sessions": _list(_TEXT),
                }
            )
        ),
    },
    "answer": {**_IN_ALUA, "question": _INT, "answer": {"enum": list(ANSWERS)}},
    "save": {"file": _TEXT, "written": _BOOL},
    "activate": {**_SWITCHED, **_BINDINGS},
    "deactivate": _SWITCHED,
    "rebind": {
        "device": _TEXT,
        "path": _TEXT,
        "state": _TEXT,
        "differences": _list(_object({"fact": _TEXT, "before": _TEXT, "after": _TEXT})),
    },
    "resize": {"device": _TEXT, "before": _INT, "size": _INT, "state": _TEXT},
    "begin": {"begun": _TRUE},
    "discard": {"dropped": _INT},
    "ls": {"place": _TEXT, "tree": _list(_TEXT)},
    "help": {"topic?": _TEXT, "text?": _TEXT, "commands?": _list(_ref("help"))},
    "version": {"scstadmin": _TEXT, "module": _TEXT},
    "cd": {"place": _TEXT},
    "pwd": {"place": _TEXT},
    "refresh": {},
    "exit": {},
    "quit": {},
}
_APPLIED = ("apply", "restore", "clear")
# These print what has a schema of its own: `save -` a configuration, `schema` a schema.
_OWN = ("schema",)


def _changed(said: Mapping[str, Schema]) -> Schema:
    """A change that is made, or (pending) is collected until `commit`."""
    return {**_object({"changed": _BOOL, **said}), "anyOf": [_ref("outcome"), _object({"pending": _TRUE})]}


def _document(name: str, schema: Schema) -> Schema:
    if "properties" not in schema:
        return {**_object({"schema": {"const": name}}), **schema, "unevaluatedProperties": False}
    required = ["schema", *schema["required"]]
    properties = {"schema": {"const": name}, **schema["properties"]}
    return {**schema, "properties": properties, "required": required, "unevaluatedProperties": False}


def json_schema() -> Schema:
    """The schema of all that `--json` prints, as plain data."""
    documents = {ERROR: _ref("fault"), SCRIPT: _script(), IMPORT: _import()}
    for form in FORMS:
        if form.title in _CHANGES:
            documents[name_of(form)] = _changed(_CHANGES[form.title])
        elif form.title in _APPLIED:
            documents[name_of(form)] = {**_object({"losses?": _ref("losses")}), "allOf": [_ref("outcome")]}
        elif form.title not in _OWN:
            documents[name_of(form)] = _object(_SAYS[form.title])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "what scstadmin --json prints",
        "oneOf": [_document(name, schema) for name, schema in documents.items()],
        "$defs": {name: _object(properties) for name, properties in _SHARED.items()},
    }


def _script() -> Schema:
    """A script: what each line said, and, if one failed, which and why."""
    result = {"line": _INT, "command": _TEXT, "result": {"type": "object"}}
    failed = {"error?": _TEXT, "line?": _INT, "message?": _TEXT, "cause?": _ref("fault")}
    return _object({"exit_code": _CODE, "results": _list(_object(result)), **failed})


def _import() -> Schema:
    item = {"item": _TEXT, "verdict": _TEXT, "to": _list(_TEXT), "text": _TEXT}
    return _object(
        {
            "exit_code": _CODE,
            "source": _TEXT,
            "file": _NO_TEXT,
            "config": _CONFIG,
            "count": _map(_INT),
            "items": _list(_object(item)),
            "notes": _list(_TEXT),
        }
    )


def text() -> str:
    """The schema as it is published."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
