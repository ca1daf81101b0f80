# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON texts of any format, strictly, and where in the text something is wrong. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from pyscstadmin.config.check import Finding
from pyscstadmin.config.where import dotted
from pyscstadmin.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from pyscstadmin.config.locate import Places

__all__ = ["Document", "parse"]

_SHOWN = 100
# No number of a configuration is nearly as long, and converting one of millions of digits takes minutes.
_DIGITS = 1000
_ATOM = r'"(?:[^"\\]|\\.)*"|([^\s\[\]{},:"]+)'


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON text and what it says. `repeats`: an object has a key twice, of which `data` knows one.

    Equal LUNs are one object in `data`: do not change it. Without a text (data that came another way),
    findings have no line and column.
    """

    source: str
    data: Any
    text: str = ""
    repeats: bool = False

    def explained(self, findings: Sequence[Finding]) -> InvalidInput:
        """The findings and the repeated keys with their places, in the order of the text."""
        from pyscstadmin.config.locate import locate  # for what is wrong only

        places = locate(self.text, (finding.path for finding in findings))
        found = [
            (offset, Problem(f"{_what(path)} {json.dumps(path[-1])}", dotted(path[:-1])))
            for path, offset in places.duplicates
        ]
        for finding in findings:
            first, second = (places.keys, places.values) if finding.at_key else (places.values, places.keys)
            offset = first.get(finding.path, second.get(finding.path, 0))
            found.append((offset, Problem(finding.message, dotted(finding.shown))))
        found.sort(key=lambda item: item[0])
        problems = [self._placed(problem, places, offset) for offset, problem in found[:_SHOWN]]
        return InvalidInput(self.source, problems, max(0, len(found) - _SHOWN))

    def _placed(self, problem: Problem, places: Places, offset: int) -> Problem:
        line, column = places.line_column(offset) if self.text else (0, 0)
        return Problem(problem.message, problem.where, line, column)


def _what(path: tuple[str | int, ...]) -> str:
    parent = path[-2] if len(path) > 1 else ""
    return {"luns": "duplicate LUN", "groups": "duplicate group"}.get(str(parent), "duplicate key")


def parse(text: str, source: str) -> Document:
    """Read a JSON text; keys that repeat are noted only. Raises `InvalidInput` for what is not JSON."""
    text = text.removeprefix("\ufeff")  # what some editors begin UTF-8 with
    objects = _Objects()
    data = _parsed(text, source, objects)
    return Document(source, data, text, objects.repeats)


class _Objects:
    """Makes the objects of a text from their members, equal small ones once, and notes repeated keys."""

    def __init__(self) -> None:
        self.repeats = False
        self._small: dict[tuple[Any, ...], dict[str, Any]] = {}

    def __call__(self, members: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(members)
        if len(found) != len(members):
            self.repeats = True
        elif members and members[0][0] == "device" and len(members) <= 2:
            # A LUN. There may be a million, of which hundreds are the same but for their number.
            kinds = tuple([type(value) for _, value in members])
            if kinds in _LUN_KINDS:
                return self._small.setdefault((*members, kinds), found)
        return found


_LUN_KINDS = frozenset(((str,), (str, bool)))


def _parsed(text: str, source: str, pairs: Any) -> Any:
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
    from pyscstadmin.config.locate import Places

    for match in re.finditer(_ATOM, text, re.DOTALL):
        atom = match[1] or ""
        if atom in ("NaN", "Infinity", "-Infinity") or (len(atom) > _DIGITS and atom.lstrip("-").isdigit()):
            return Places(text).line_column(match.start())
    return 0, 0
