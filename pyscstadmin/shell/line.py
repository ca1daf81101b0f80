# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines of the shell: `[PATH] COMMAND [VALUE ...] [NAME=VALUE ...]`. Pure.

Words are separated by blanks; quotes (' and ") and the backslash keep blanks and signs in a word; # at the
start of a word begins a comment. Every character of a line is understood or the line is refused: nothing is
cut off.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Line", "LineError", "Word", "parse", "quote", "split", "to_bool", "unfinished"]

_KEY = re.compile(r"([a-z][a-z0-9_]*)=", re.ASCII)
_PLAIN = re.compile(r"[^\s'\"\\#\x00-\x1f\x7f][^\s'\"\\\x00-\x1f\x7f]*\Z")
_TRUE = frozenset(("yes", "y", "true", "on", "1"))
_FALSE = frozenset(("no", "n", "false", "off", "0"))


class LineError(ValueError):
    """A line that is not understood; `column` counts from 1."""

    def __init__(self, message: str, column: int) -> None:
        self.column = column
        super().__init__(f"column {column}: {message}")


@dataclass(frozen=True, slots=True)
class Word:
    """A word: its value, where it starts in the line (from 0), and its name if it is NAME=VALUE."""

    value: str
    start: int
    name: str = ""


@dataclass(slots=True)
class _Open:
    """A word being read."""

    start: int
    text: str = ""
    plain: str = ""  # what of it came before any quote or backslash
    quoted: bool = False
    quote: str = ""

    def add(self, text: str, *, quoted: bool) -> None:
        self.text += text
        self.quoted = self.quoted or quoted
        if not self.quoted:
            self.plain += text

    def word(self) -> Word:
        key = _KEY.match(self.plain)
        if key is None:
            return Word(self.text, self.start)
        return Word(self.text[key.end() :], self.start, key[1])


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says. `path` '' is the present place; `command` '' just goes there."""

    path: str = ""
    command: str = ""
    values: tuple[str, ...] = ()
    named: dict[str, str] = field(default_factory=dict)


def split(line: str) -> list[Word]:
    """The words of a line. Raises `LineError`."""
    words, last = _words(line)
    if last is not None and last.quote:
        raise LineError(f"the quote {last.quote} is not closed", last.start + 1)
    return words + ([last.word()] if last is not None else [])


def unfinished(line: str) -> tuple[list[Word], Word, str]:
    """For completion: the words before the one that is being typed, that one, and the quote open in it."""
    words, last = _words(line, lenient=True)
    if last is None:
        return words, Word("", len(line)), ""
    return words, last.word(), last.quote


def _words(line: str, lenient: bool = False) -> tuple[list[Word], _Open | None]:
    """The complete words, and the one that ends with the line."""
    words: list[Word] = []
    word: _Open | None = None
    at = 0
    while at < len(line):
        sign = line[at]
        if (ord(sign) < 32 and sign != "\t") or ord(sign) == 127:
            raise LineError(f"control character {sign!r}", at + 1)
        if (word is None or not word.quote) and sign in " \t":
            if word is not None:
                words.append(word.word())
            word = None
        elif word is None and sign == "#":
            return words, None
        else:
            word = word or _Open(at)
            at = _sign(line, at, word, lenient)
        at += 1
    return words, word


def _sign(line: str, at: int, word: _Open, lenient: bool) -> int:
    """Take one sign into a word; returns where it ended."""
    sign = line[at]
    if sign == "\\" and word.quote != "'":
        if at + 1 == len(line):
            if not lenient:
                raise LineError("nothing follows the backslash", at + 1)
            return at
        if ord(line[at + 1]) < 32 or ord(line[at + 1]) == 127:
            raise LineError(f"control character {line[at + 1]!r}", at + 2)
        word.add(line[at + 1], quoted=True)
        return at + 1
    if word.quote:
        if sign == word.quote:
            word.quote = ""
        else:
            word.add(sign, quoted=True)
    elif sign in "'\"":
        word.quote = sign
        word.add("", quoted=True)
    else:
        word.add(sign, quoted=False)
    return at


def parse(line: str, is_place: Callable[[str], bool]) -> Line:
    """Understand a line. `is_place` says whether a first word without a slash is the name of a place below
    the present one, and no command. Raises `LineError`.
    """
    words = split(line)
    path = command = ""
    if words and not words[0].name and _is_path(words[0].value, is_place):
        path = words.pop(0).value
    if words:
        first = words.pop(0)
        if first.name or not first.value:
            raise LineError("a command is expected here", first.start + 1)
        command = first.value
    return Line(path, command, *_arguments(words))


def _is_path(word: str, is_place: Callable[[str], bool]) -> bool:
    return "/" in word or word in (".", "..") or is_place(word)


def _arguments(words: list[Word]) -> tuple[tuple[str, ...], dict[str, str]]:
    named: dict[str, str] = {}
    for word in words:
        if word.name in named:
            raise LineError(f"{word.name} is given twice", word.start + 1)
        if word.name:
            named[word.name] = word.value
    return tuple(word.value for word in words if not word.name), named


def quote(value: str) -> str:
    """The value as one word of a line."""
    if _PLAIN.match(value) and not _KEY.match(value):
        return value
    return "'" + value.replace("'", "'\\''") + "'"


def to_bool(text: str) -> bool:
    """`yes` or `no` (also true/false, on/off, 1/0). Raises ValueError."""
    word = text.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is not yes or no")
    return word in _TRUE
