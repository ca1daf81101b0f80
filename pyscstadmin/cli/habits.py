# SPDX-License-Identifier: GPL-2.0-or-later
"""What people type who come from targetcli, from SCST's scstadmin, or from nvmetcli, and how it is said here.

Pure. Nothing is carried out by these: what looks alike may mean something else, so the command is named, with
what was typed in its places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pyscstadmin.cli.words import quote
from pyscstadmin.config.settings import DRIVERS

__all__ = ["habit"]

_HANDLERS = {
    "fileio": "fileio",
    "block": "blockio",
    "iblock": "blockio",
    "ramdisk": "nullio",
    "rd_mcp": "nullio",
}
_FABRICS = frozenset("iscsi loopback qla2xxx srpt tcm_fc vhost xen-pvscsi ib_srpt sbp usb_gadget".split())
_SCST_HANDLERS = {
    "vdisk_fileio": "fileio",
    "vdisk_blockio": "blockio",
    "vdisk_nullio": "nullio",
    "vcdrom": "fileio",
}


def habit(words: Sequence[str]) -> str:
    """How something is said here that is typed elsewhere; '' for what nobody types."""
    if not words:
        return ""
    if words[0].startswith("-") and not words[0].startswith("--"):
        return _scstadmin(words)
    return _targetcli(words) or _nvmetcli(words) or _plain(words)


def _as(what: str, *instead: str) -> str:
    commands = " then ".join(f"`scstadmin {command}`" for command in instead)
    return f"{what}: here it is {commands}"


def _word(words: Sequence[str], at: int, otherwise: str) -> str:
    """A word that was typed, or what stands for it; NAME=VALUE counts by its value."""
    return quote(words[at].partition("=")[2] or words[at]) if at < len(words) else otherwise


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


# targetcli.


def _targetcli(words: Sequence[str]) -> str:
    path = _parts(words[0])
    if path[:1] == ["backstores"]:
        return _backstores(path[1:], words[1:])
    if path and path[0] in _FABRICS:
        return _fabric(path[0], path[1:], words[1:])
    return ""


def _backstores(path: Sequence[str], words: Sequence[str]) -> str:
    what = "targetcli's backstores are devices"
    kind = path[0] if path else "fileio"
    if kind == "pscsi":
        return (
            "a SCSI device of this machine cannot be handed through; its disk can be: "
            "`scstadmin create device NAME /dev/disk/by-id/... handler=blockio`"
        )
    handler = _HANDLERS.get(kind, "fileio")
    verb = words[0] if words else "ls"
    if len(path) > 1:
        name = quote(path[1])
        return _as(what, f"set device {name} SETTING=VALUE" if verb == "set" else f"get device {name}")
    match verb:
        case "create":
            return _as(what, _created(handler, words))
        case "delete":
            return _as(what, f"delete device {_word(words, 1, 'NAME')}")
    return _as(what, "list devices")


def _created(handler: str, words: Sequence[str]) -> str:
    name = _word(words, 1, "NAME")
    if handler == "nullio":  # which keeps no data: nothing here does without a file or a disk
        return f"create device {name} {_word(words, 2, 'SIZE')} handler=nullio"
    size = f" size={_word(words, 3, '')}" if len(words) > 3 and handler == "fileio" else ""
    return f"create device {name} {_word(words, 2, 'PATH')} handler={handler}{size}"


def _fabric(fabric: str, path: Sequence[str], words: Sequence[str]) -> str:
    what = f"targetcli's /{fabric}"
    verb = words[0] if words else "ls"
    target = quote(path[0]) if path else _word(words, 1, "NAME")
    below = path[2] if len(path) > 2 else ""
    match below or verb:
        case "luns":
            device = _word(words, 1, "DEVICE").rpartition("/")[2]
            return _as(what, f"map {device} target={target}")
        case "acls":
            return _as(what, f"create group GROUP {_word(words, 1, 'INITIATOR')} target={target}")
        case "portals" if fabric == "iscsi":
            address = _word(words, 1, "ADDRESS")
            return _as(what, f"create portal NAME address={address}", f"add portal NAME target={target}")
        case "portals":
            return f"{what}: a driver says itself where it listens; `scstadmin list drivers` has them"
        case "create" if fabric in DRIVERS:
            return _as(what, f"create target {fabric}/{target}")
        case "create":
            return _as(what, f"create target {target} driver=DRIVER", "list drivers")
        case "delete":
            return _as(what, f"delete target {_word(words, 1, 'NAME')}")
        case "set" | "get":
            return _as(what, f"{verb} target {target}")
    return _as(what, "list targets")


# nvmetcli.


def _nvmetcli(words: Sequence[str]) -> str:
    path = _parts(words[0])
    what = "nvmetcli's"
    name = _word(words, 2, "NAME")
    match path:
        case ["subsystems", subsystem, "namespaces", *_]:
            return _as(
                f"{what} namespaces are LUNs",
                f"create device {name} PATH handler=blockio",
                f"map {name} target={quote(subsystem)}",
            )
        case ["subsystems", subsystem, "allowed_hosts", *_]:
            return _as(
                f"{what} allowed hosts are groups", f"create group GROUP {name} target={quote(subsystem)}"
            )
        case ["subsystems", *_]:
            return _as(f"{what} subsystems are targets", f"create target {name} driver=DRIVER")
        case ["hosts", *_]:
            return _as(
                f"{what} hosts are initiators of a group", f"add initiator {name} target=TARGET group=GROUP"
            )
        case ["ports", *_] if words[0] != "ports":  # which is a verb here
            return f"{what} ports: a driver says itself where it listens; `scstadmin list drivers`"
    return ""


# Words without a place.


_WORDS: Mapping[str, str] = {
    "saveconfig": "save",
    "restoreconfig": "restore",
    "clearconfig": "clear",
    "info": "get KIND NAME",
    "sessions detail": "sessions",
    "set global": "set",
    "get global": "get",
    "set attribute": "set device NAME SETTING=VALUE",
    "get attribute": "get device NAME",
    "set attr": "set target NAME SETTING=VALUE",
    "bookmarks": "cd PLACE",
    "dump": "save -",
    "diff": "plan FILE",
    "check": "plan FILE",
    "load": "apply FILE",
}


def _plain(words: Sequence[str]) -> str:
    rest = words[1:] if words[0].startswith("/") else words
    for count in (2, 1):
        said = " ".join(rest[:count])
        if said in _WORDS and len(rest) >= count:
            return _as(f"`{said}`", _WORDS[said])
    return ""


# SCST's scstadmin.


def _scstadmin(words: Sequence[str]) -> str:
    given = _options(words)
    operation = next(iter(given), "")
    make = _SCST.get(operation)
    return _as(f"SCST's -{operation}", *make(given)) if make is not None else ""


def _options(words: Sequence[str]) -> dict[str, str]:
    """-name value pairs, in order; the value of one without is ''."""
    found: dict[str, str] = {}
    name = ""
    for word in words:
        if word.startswith("-") and not word.startswith("--"):
            name = word[1:]
            found[name] = ""
        elif name:
            found[name] = f"{found[name]} {word}".strip()
    return found


_Given = Mapping[str, str]


def _value(given: _Given, name: str, otherwise: str) -> str:
    return quote(given[name]) if given.get(name) else otherwise


def _target(given: _Given) -> str:
    driver, target = given.get("driver", ""), given.get("target", "")
    return f"target={quote(f'{driver}/{target}' if driver and target else target or 'TARGET')}"


def _full(given: _Given, operation: str) -> str:
    driver = given.get("driver")
    name = _value(given, operation, "NAME")
    return f"{driver}/{name}" if driver else name


def _group(given: _Given) -> str:
    return f" group={quote(given['group'])}" if given.get("group") else ""


def _attributes(given: _Given) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in given.get("attributes", "").split(",") if pair)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _open(given: _Given) -> tuple[str, ...]:
    handler = _SCST_HANDLERS.get(given.get("handler", ""), "HANDLER")
    attributes = _attributes(given)
    path = quote(attributes.pop("filename", "PATH" if handler != "nullio" else "SIZE"))
    return (f"create device {_value(given, 'open_dev', 'NAME')} {path} handler={handler}",)


def _set(given: _Given) -> str:
    known = {"filename": "path", "blocksize": "block_size", "usn": "serial"}
    pairs = [f"{known.get(name, name)}={quote(value)}" for name, value in _attributes(given).items()]
    return " ".join(pairs) or "SETTING=VALUE"


def _lun(given: _Given, operation: str, more: str = "") -> str:
    number, device = _value(given, operation, "NUMBER"), _value(given, "device", "DEVICE")
    mode = " read_only=yes" if _attributes(given).get("read_only") == "1" else ""
    return f"map {device} lun={number} {_target(given)}{_group(given)}{mode}{more}"


_SCST: Mapping[str, Callable[[_Given], tuple[str, ...]]] = {
    "config": lambda g: (f"apply {_value(g, 'config', 'FILE')}", "help"),
    "check_config": lambda g: (f"plan {_value(g, 'check_config', 'FILE')}",),
    "write_config": lambda g: (f"save {_value(g, 'write_config', 'FILE')}",),
    "clear_config": lambda g: ("clear",),
    "list_handler": lambda g: ("list handlers",),
    "list_device": lambda g: (
        f"get device {quote(g['list_device'])}" if g["list_device"] else "list devices",
    ),
    "list_dev_attr": lambda g: (f"get device {_value(g, 'list_dev_attr', 'NAME')}",),
    "list_driver": lambda g: ("list drivers",),
    "list_target": lambda g: ("list targets",),
    "list_tgt_attr": lambda g: (f"get target {_value(g, 'list_tgt_attr', 'NAME')}",),
    "list_group": lambda g: (f"list groups {_target(g)}" if g.get("target") else "list groups",),
    "list_sessions": lambda g: ("sessions",),
    "list_scst_attr": lambda g: ("get",),
    "set_scst_attr": lambda g: (f"set {_set(g)}",),
    "open_dev": _open,
    "close_dev": lambda g: (f"delete device {_value(g, 'close_dev', 'NAME')}",),
    "resync_dev": lambda g: (f"resize {_value(g, 'resync_dev', 'NAME')}",),
    "set_dev_attr": lambda g: (f"set device {_value(g, 'set_dev_attr', 'NAME')} {_set(g)}",),
    "add_target": lambda g: (f"create target {_full(g, 'add_target')}",),
    "rem_target": lambda g: (f"delete target {_full(g, 'rem_target')}",),
    "enable_target": lambda g: (f"enable target {_full(g, 'enable_target')}",),
    "disable_target": lambda g: (f"disable target {_full(g, 'disable_target')}",),
    "set_tgt_attr": lambda g: (f"set target {_full(g, 'set_tgt_attr')} {_set(g)}",),
    "add_group": lambda g: (f"create group {_value(g, 'add_group', 'NAME')} {_target(g)}",),
    "rem_group": lambda g: (f"delete group {_value(g, 'rem_group', 'NAME')} {_target(g)}",),
    "add_init": lambda g: (f"add initiator {_value(g, 'add_init', 'NAME')} {_target(g)}{_group(g)}",),
    "rem_init": lambda g: (f"remove initiator {_value(g, 'rem_init', 'NAME')} {_target(g)}{_group(g)}",),
    "move_init": lambda g: (
        f"move initiator {_value(g, 'move_init', 'NAME')} {_target(g)} to={_value(g, 'to', 'GROUP')}",
    ),
    "clear_inits": lambda g: (f"clear initiators {_target(g)}{_group(g)}",),
    "add_lun": lambda g: (_lun(g, "add_lun"),),
    "rem_lun": lambda g: (f"unmap {_value(g, 'rem_lun', 'NUMBER')} {_target(g)}{_group(g)}",),
    "replace_lun": lambda g: (_lun(g, "replace_lun", " replace=yes"),),
    "clear_luns": lambda g: (f"clear luns {_target(g)}{_group(g)}",),
    "version": lambda g: ("version",),
}
