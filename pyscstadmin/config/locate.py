# SPDX-License-Identifier: GPL-2.0-or-later
"""Line and column of things in a JSON text, for error messages. Pure.

Reading a file uses the standard parser, which is fast and forgets positions. Only when something is wrong is
the text walked a second time, here, to find the places of the members in question.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pyscstadmin.config.where import Path

__all__ = ["Places", "locate"]

_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")|([\[\]{},:])|([^\s\[\]{},:"]+)', re.DOTALL)


@dataclass(slots=True)
class Places:
    """Offsets of the wanted members' keys and values, and each key that repeats an earlier one."""

    text: str
    keys: dict[Path, int] = field(default_factory=dict)
    values: dict[Path, int] = field(default_factory=dict)
    duplicates: list[tuple[Path, int]] = field(default_factory=list)

    def line_column(self, offset: int) -> tuple[int, int]:
        """Line and column, from 1."""
        return self.text.count("\n", 0, offset) + 1, offset - self.text.rfind("\n", 0, offset)


@dataclass(slots=True)
class _Frame:
    path: Path
    is_object: bool
    seen: set[str] = field(default_factory=set)
    key: str | None = None
    index: int = 0

    def here(self) -> Path:
        return (*self.path, self.key or "") if self.is_object else (*self.path, self.index)


def locate(text: str, wanted: Iterable[Path]) -> Places:
    """Find the places of the `wanted` members in a JSON text that the standard parser accepts."""
    walk = _Walk(Places(text), frozenset(wanted))
    for match in _TOKEN.finditer(text):
        walk.token(match.group(), match.start())
    return walk.places


class _Walk:
    def __init__(self, places: Places, wanted: frozenset[Path]) -> None:
        self.places = places
        self.wanted = wanted
        self.stack: list[_Frame] = []

    def token(self, token: str, offset: int) -> None:
        frame = self.stack[-1] if self.stack else None
        if token in ("}", "]"):
            self.stack.pop()
        elif token == ",":
            assert frame is not None
            frame.key = None
            frame.index += 1
        elif token == ":":
            pass
        elif frame is not None and frame.is_object and frame.key is None:
            self.key(frame, json.loads(token, strict=False), offset)
        else:
            self.value(frame.here() if frame is not None else (), token, offset)

    def key(self, frame: _Frame, name: str, offset: int) -> None:
        frame.key = name
        path = frame.here()
        if name in frame.seen:
            self.places.duplicates.append((path, offset))
        frame.seen.add(name)
        if path in self.wanted:
            self.places.keys[path] = offset

    def value(self, path: Path, token: str, offset: int) -> None:
        if path in self.wanted:
            self.places.values[path] = offset
        if token in ("{", "["):
            self.stack.append(_Frame(path, token == "{"))
