# SPDX-License-Identifier: GPL-2.0-or-later
"""Completion: what could stand at the end of an unfinished line."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pyscstadmin.config.settings import HANDLERS
from pyscstadmin.config.spelling import name_key
from pyscstadmin.shell.globals import UsageError
from pyscstadmin.shell.line import LineError, Word, quote, unfinished
from pyscstadmin.shell.node import Node, signature

__all__ = ["complete"]

_DISK_FOLDERS = ("/dev/disk/by-id/", "/dev/disk/by-path/", "/dev/mapper/")
_BOOLEANS = frozenset(("read_only", "replace", "force", "confirm", "enabled", "shrink"))


class Asked(NamedTuple):
    """The value that is being typed: where the command runs, what was said before, and the text so far."""

    node: Node
    command: str
    values: list[str]
    named: dict[str, str]
    text: str


def complete(here: Node, line: str) -> list[str]:
    """The words that could replace the last word of the line, quoted as needed. A word that is complete ends
    in a blank.
    """
    try:
        words, current, open_quote = unfinished(line)
    except LineError:
        return []
    if open_quote or (current.start < len(line) and line[current.start :] != quoted(current)):
        return []  # a word with quotes inside: readline would replace only a part of it
    return sorted(set(_candidates(here, words, current)))


def quoted(word: Word) -> str:
    """A word as it stands in a line without quotes."""
    return f"{word.name}={word.value}" if word.name else word.value


def _candidates(here: Node, words: list[Word], current: Word) -> Iterable[str]:
    node, rest = _start(here, words)
    if not rest:
        text = quoted(current)
        found = [f"{name} " for name in node.list_commands() if name.startswith(text)]
        return found + (_tree_paths(here, text) if not words else [])
    command = rest.pop(0).value
    if command not in node.list_commands():
        return ()
    values = [word.value for word in rest if not word.name]
    named = {word.name: word.value for word in rest if word.name}
    return _argument(Asked(node, command, values, named, current.value), current)


def _start(here: Node, words: list[Word]) -> tuple[Node, list[Word]]:
    """Where the command runs, and the words without the path that says so."""
    if words and not words[0].name:
        first = words[0].value
        commands = here.list_commands()
        if "/" in first or first in (".", "..") or (first not in commands and first in here.kids):
            try:
                return here.get_node(first), words[1:]
            except UsageError:
                return here, words  # the path is taken for a command, which does not exist
    return here, list(words)


def _argument(asked: Asked, current: Word) -> Iterable[str]:
    """Candidates for a value, or for the name of one."""
    parameters, repeated, _ = signature(asked.node, asked.command)
    if current.name:
        return [f"{current.name}={one}" for one in _values(asked, current.name)]
    found: list[str] = []
    free = [name for name in parameters if name not in asked.named]
    position = len(asked.values)
    if position < len(free):
        found += _values(asked, free[position])
    elif repeated:
        found += _values(asked, repeated)
    names = [*free[position + 1 :], *asked.node.keywords(asked.command)]
    if position < len(free) and _is_optional(asked, free[position]):
        names.append(free[position])
    found += [f"{name}=" for name in names if name not in asked.named and name.startswith(asked.text)]
    return found


def _is_optional(asked: Asked, name: str) -> bool:
    """Whether a parameter has a default: then its name is offered too."""
    import inspect

    spec = inspect.signature(asked.node.get_command_method(asked.command))
    return spec.parameters[name].default is not inspect.Parameter.empty


def _values(asked: Asked, name: str) -> list[str]:
    """Candidates for the value of a parameter, by its name."""
    rows = asked.node.keywords(asked.command)
    if name in ("file", "path"):
        return _paths(asked)
    if name == "place":
        return _tree_paths(asked.node, asked.text)
    if name in rows and rows[name].type.choices:
        found: Iterable[str] = rows[name].type.choices
    elif name in _BOOLEANS:
        found = ("yes", "no")
    else:
        source = _SOURCES.get(name)
        found = source(asked) if source is not None else ()
    return [f"{quote(one)} " for one in found if one.startswith(asked.text)]


def _devices(asked: Asked) -> Iterable[str]:
    if asked.command == "delete":
        return asked.node.kids
    return [device.name for device in asked.node.session.config.devices]


def _target(asked: Asked) -> str:
    own = getattr(asked.node, "full_name", "")
    return own or asked.named.get("target", "")


def _groups(asked: Asked) -> Iterable[str]:
    if asked.command == "delete":
        return asked.node.kids
    return asked.node.session.group_names(_target(asked))


def _luns(asked: Asked) -> Iterable[str]:
    if asked.command == "delete":
        return asked.node.kids
    place = getattr(asked.node, "place", None)
    target, group = place() if place is not None else (_target(asked), "")
    group = asked.named.get("group", group)
    if not target:
        return ()
    session = asked.node.session
    if asked.command == "map":
        return (str(session.free_lun(target, group)),)
    luns = session.luns(target, group)
    return [str(lun.number) for lun in luns] + [lun.device for lun in luns if lun.device]


def _initiators(asked: Asked) -> Iterable[str]:
    if asked.command == "delete":
        return [name for name in asked.node.kids if name not in asked.values]
    taken = {name_key(name) for name in (*asked.node.kids, *asked.values)}
    return [name for name in asked.node.session.initiator_names() if name_key(name) not in taken]


def _rules() -> Iterable[str]:
    from pyscstadmin.config.lint import RULES

    return RULES


_SOURCES: dict[str, Callable[[Asked], Iterable[str]]] = {
    "device": _devices,
    "group": _groups,
    "initiator": _initiators,
    "lun": _luns,
    "setting": lambda asked: asked.node.settings(),
    "target": lambda asked: (
        asked.node.kids if asked.command == "delete" else asked.node.session.target_names()
    ),
    "topic": lambda asked: asked.node.list_commands(),
    "accept": lambda asked: _rules(),
    "block_size": lambda asked: ("512", "1024", "2048", "4096"),
}


def _tree_paths(here: Node, text: str) -> list[str]:
    """Places of the tree: those with something below end in a slash, to be gone into."""
    folder, slash, start = text.rpartition("/")
    try:
        node = here.get_node(folder + slash)
    except UsageError:
        return []
    return [
        f"{quote(folder + slash + child.name)}{'/' if child.kids else ' '}"
        for child in node.children
        if child.name.startswith(start)
    ]


def _paths(asked: Asked) -> list[str]:
    """Paths of the file system; for blockio block devices only, beginning with the stable links."""
    handler = asked.node.name if asked.node.name in HANDLERS else asked.node.path.split("/")[-2:][0]
    block = handler == "blockio"
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
