# SPDX-License-Identifier: GPL-2.0-or-later
"""Several at once: `0-99`, `0,5,7`, `disk[0-99]`, `disk*`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from pyscstadmin.config.names import LUN_MAX, check_lun

__all__ = ["are_numbers", "names", "numbers", "shown"]

_NUMBERS = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*\Z", re.ASCII)
_COUNTED = re.compile(r"(.*)\[([0-9]+)-([0-9]+)\](.*)\Z", re.ASCII)
_DIGITS = re.compile(r"([0-9]+)")
_MOST = LUN_MAX + 1


def are_numbers(text: str) -> bool:
    """Whether it is a range of numbers, and no name."""
    return _NUMBERS.match(text) is not None


def numbers(text: str) -> tuple[int, ...]:
    """LUN numbers: `5`, `0-99`, `0,5,7-9`. Raises ValueError."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        for word in (first, last) if dash else (first,):
            fault = check_lun(word)
            if fault is not None:
                raise ValueError(f"{text!r} {fault.reason}, or several as in 0-99 or 0,5,7")
        found += _span(int(first), int(last or first), text)
    if len(set(found)) != len(found):
        raise ValueError(f"{text!r} has a number twice")
    return tuple(found)


def _span(first: int, last: int, text: str) -> range:
    if last < first:
        raise ValueError(f"{text!r} goes backwards")
    if last - first >= _MOST:
        raise ValueError(f"{text!r} is more than {_MOST} at once")
    return range(first, last + 1)


def names(text: str, known: Sequence[str]) -> list[str]:
    """Names: `da`, `da,db`, `disk[0-99]`, or a pattern with * and ? of what is known. Raises ValueError."""
    found = [name for part in text.split(",") for name in _names(part, known)]
    if len(set(found)) != len(found):
        raise ValueError(f"{text!r} has a name twice")
    return found


def _names(part: str, known: Sequence[str]) -> Iterable[str]:
    if "*" in part or "?" in part:
        matching = sorted((name for name in known if fnmatchcase(name, part)), key=_natural)
        if not matching:
            raise ValueError(f"{part!r} fits none of what there is")
        return matching
    counted = _COUNTED.match(part)
    if counted is None:
        return (part,)
    before, first, last, after = counted.groups()
    width = len(first) if first.startswith("0") else 0
    return [f"{before}{number:0{width}d}{after}" for number in _span(int(first), int(last), part)]


def _natural(name: str) -> list[tuple[int, str]]:
    """Numbers in a name sort as numbers: disk2 before disk10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(name)]


def shown(values: Iterable[int]) -> str:
    """Numbers as short as can be: `0-3, 7`."""
    spans: list[list[int]] = []
    for value in sorted(values):
        if spans and value == spans[-1][1] + 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
