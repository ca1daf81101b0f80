# SPDX-License-Identifier: GPL-2.0-or-later
"""Which patterns leave nothing to others: a pattern is dead if others before it match all that it matches.
Pure.

What is said here is sure; of what would be hard to tell nothing is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

from pyscstadmin.config.spelling import (
    fold,
    is_exact,
    matches,
    pattern_begins_dashed,
    pattern_begins_fours,
    same,
    without_prefix,
)

__all__ = ["Before", "claims_everybody"]

# Forms of a name that patterns are compared with, and how long each is: the canonical one of any name, and
# those of a WWN and a GID.
NAME, PAIRS, FOURS, DIGITS, GID, GID_DIGITS = "name", "pairs", "fours", "digits", "gid", "gid digits"
_LENGTHS = {PAIRS: 23, FOURS: 19, DIGITS: 16, GID: 39, GID_DIGITS: 32}
_DIGITS_ONLY = re.compile(r"[0-9a-f?*]+")
_GROUPED = re.compile(r"[0-9a-f:?*]+")
_LITERAL = re.compile(r"[^*?]*")


class Way(NamedTuple):
    """A form of the name, and what it is compared with."""

    form: str
    text: str

    @property
    def possible(self) -> bool:
        """Whether any name has such a form."""
        if self.form == NAME:
            return True
        signs = _DIGITS_ONLY if self.form in (DIGITS, GID_DIGITS) else _GROUPED
        length = _LENGTHS[self.form]
        least = len(self.text) - self.text.count("*")
        fits = least <= length if "*" in self.text else least == length
        return fits and bool(signs.fullmatch(self.text))


def _ways(pattern: str) -> list[Way]:
    """How a pattern with * or ? in it, in lower case and without !, can match: each is one way."""
    found = [Way(NAME, pattern)]
    rest = without_prefix(pattern, 16)
    found.append(Way(DIGITS, rest))
    if rest != pattern:
        found.append(Way(PAIRS, rest))
    if pattern_begins_dashed(rest) and ":" not in rest:
        found.append(Way(PAIRS, rest.replace("-", ":")))
    if pattern_begins_fours(rest):
        found.append(Way(FOURS, rest))
    rest = without_prefix(pattern, 32)
    found.append(Way(GID_DIGITS, rest))
    if rest != pattern:
        found.append(Way(GID, rest))
    return [way for way in found if way.possible]


def _covers(wide: str, text: str) -> bool:
    """Whether one pattern matches all texts that another does, as far as their signs tell: a * takes any of
    them, a ? one that is no *.
    """
    at = here = 0
    star = mark = -1
    while here < len(text):
        if at < len(wide) and wide[at] == "*":
            star, mark = at, here
            at += 1
        elif at < len(wide) and (wide[at] == text[here] or (wide[at] == "?" and text[here] != "*")):
            at += 1
            here += 1
        elif star >= 0:
            mark += 1
            at, here = star + 1, mark
        else:
            return False
    return all(c == "*" for c in wide[at:])


def _all(pattern: str) -> bool:
    return pattern != "" and not pattern.strip("*")


def _also(way: Way) -> Iterator[Way]:
    """The way, and others that match whatever it matches."""
    yield way
    if way.form in (PAIRS, GID):
        yield Way(NAME, way.text)
        if "?" not in way.text:
            yield Way(DIGITS if way.form == PAIRS else GID_DIGITS, way.text.replace(":", ""))


@dataclass(slots=True)
class Before:
    """Patterns in order of precedence, and what they leave to those after them.

    A way is looked up by how it begins, so that thousands of patterns take no longer than they have to.
    """

    everybody: str = ""
    _ways: dict[Way, list[tuple[str, str]]] = field(default_factory=dict)
    _inverted: list[str] = field(default_factory=list)

    def add(self, pattern: str) -> None:
        """One more pattern, that is no exact name."""
        folded = fold(pattern)
        if folded.startswith("!"):
            self._inverted.append(pattern)
        elif _all(folded):
            self.everybody = self.everybody or pattern
        else:
            for way in _ways(folded):
                begin = Way(way.form, _literal(way.text))
                self._ways.setdefault(begin, []).append((way.text, pattern))

    def killers(self, pattern: str) -> list[str]:
        """Patterns before it that match all that this one does; none if that is not sure."""
        if self.everybody:
            return [self.everybody]
        folded = fold(pattern)
        if folded.startswith("!"):
            return next(([other] for other in self._inverted if _within(other[1:], pattern[1:])), [])
        found = [self._killer(way) for way in _ways(folded)]
        return list(dict.fromkeys(found)) if all(found) else []

    def _killer(self, way: Way) -> str:
        for other in _also(way):
            literal = _literal(other.text)
            for end in range(len(literal) + 1):
                for text, pattern in self._ways.get(Way(other.form, literal[:end]), ()):
                    if _covers(text, other.text):
                        return pattern
        return ""


def _literal(text: str) -> str:
    found = _LITERAL.match(text)
    return found[0] if found else ""


def _within(narrow: str, wide: str) -> bool:
    """Whether all names that one pattern without ! matches, another matches too."""
    if is_exact(narrow):
        return same(narrow, wide) if is_exact(wide) else matches(wide, narrow)
    if is_exact(wide):
        return False
    before = Before()
    before.add(wide)
    return bool(before.killers(narrow))


def _apart(one: str, two: str) -> bool:
    """Whether no name matches both patterns without !."""
    if is_exact(one):
        return not matches(two, one)
    if is_exact(two):
        return not matches(one, two)
    ways = [_ways(fold(one)), _ways(fold(two))]
    if any(way.form != NAME for some in ways for way in some):
        return False
    texts = [_literal(some[0].text) for some in ways]
    length = min(map(len, texts))
    return texts[0][:length] != texts[1][:length]


def claims_everybody(patterns: Sequence[str]) -> tuple[str, str] | None:
    """Two patterns of these, one of them with a leading !, that no name escapes; None if there are none."""
    inverted = [pattern for pattern in patterns if pattern.startswith("!")]
    for one, two in combinations(inverted, 2):
        if _apart(one[1:], two[1:]):
            return one, two
    return next(_completed(inverted, patterns), None)


def _completed(inverted: Iterable[str], patterns: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Patterns with a ! and those that match all that they leave out."""
    for one in inverted:
        for other in patterns:
            if not other.startswith("!") and not _all(other) and _within(one[1:], other):
                yield one, other
