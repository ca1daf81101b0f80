# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands as words: `[PLACE] COMMAND [VALUE ...] [NAME=VALUE ...]`. Pure.

The words are the same in a line of the shell and on the command line of the system. `--name=VALUE`,
`--name VALUE` and, for what is yes or no, `--name` are other ways to write NAME=VALUE; `--` says that all
that follows are values.

In a line, words are separated by blanks; quotes (' and ") and the backslash keep blanks and signs in a word;
# at the start of a word begins a comment. Every character of a line is understood or the line is refused:
nothing is cut off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pyscstadmin.errors import ScstError

__all__ = [
    "Declined",
    "Line",
    "LineError",
    "NotAgreed",
    "Word",
    "WrongUsage",
    "flat",
    "named",
    "of_argv",
    "of_words",
    "parse",
    "quote",
    "split",
    "unfinished",
]

_KEY = re.compile(r"([a-z][a-z0-9_]*)=", re.ASCII)
_OPTION = re.compile(r"--([a-z][a-z0-9_-]*)(=?)", re.ASCII)
_PLAIN = re.compile(r"[^\s'\"\\#\x00-\x1f\x7f][^\s'\"\\\x00-\x1f\x7f]*\Z")


class WrongUsage(ScstError):
    """What was typed is not understood; nothing was touched. `usage`: how it is to be."""

    exit_code = 2

    def __init__(self, message: str, usage: str = "") -> None:
        self.usage = usage
        super().__init__(message)


class Declined(ScstError):
    """A person was asked, and did not say yes; nothing was touched."""


class NotAgreed(ScstError):
    """Something would be lost, nobody is there to be asked, and nobody said that it is meant; nothing was
    touched. `losses`: what that is, as plain data.
    """

    exit_code = 2

    def __init__(self, question: str, losses: Mapping[str, object]) -> None:
        self.losses = losses
        super().__init__(f"{question} If that is meant, say yes=yes (--yes)")

    def as_dict(self) -> dict[str, object]:
        return {**ScstError.as_dict(self), **self.losses}


class LineError(WrongUsage):
    """A line that is not understood; `column` counts from 1."""

    def __init__(self, message: str, column: int) -> None:
        self.column = column
        super().__init__(f"column {column}: {message}")


@dataclass(frozen=True, slots=True)
class Word:
    """A word: its value, where it starts in the line (from 0), and its name if it is NAME=VALUE.

    `open`: it is --NAME, and the next word may be its value. `plain`: it is a value, whatever it looks like.
    `text`: what has a name, as it was typed.
    """

    value: str
    start: int
    name: str = ""
    open: bool = False
    plain: bool = False
    text: str = ""

    @property
    def typed(self) -> str:
        """The word as it was typed, without quotes."""
        return self.text or self.value


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
        return _word(self.text, self.plain, self.start)


def _word(text: str, plain: str, start: int) -> Word:
    """A word, of which `plain` was not quoted."""
    option = _OPTION.match(plain)
    if option is not None and (option[2] or option.end() == len(text)):
        name = option[1].replace("-", "_")
        return Word(text[option.end() :], start, name, open=not option[2], text=text)
    key = _KEY.match(plain)
    if key is None:
        return Word(text, start, plain=plain != text)
    return Word(text[key.end() :], start, key[1], text=text)


def of_argv(words: Iterable[str]) -> list[Word]:
    """The words of a command line that a shell of the system has split."""
    return [_word(text, text, at) for at, text in enumerate(words)]


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says. `path` '' is the present place; `command` '' just goes there. `arguments`: the words
    after the command.
    """

    path: str = ""
    command: str = ""
    arguments: tuple[Word, ...] = ()


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
    return of_words(split(line), is_place)


def of_words(given: Iterable[Word], is_place: Callable[[str], bool]) -> Line:
    """Understand words. Raises `LineError`."""
    words = list(given)
    path = command = ""
    if words and not words[0].name and _is_path(words[0].value, is_place):
        path = words.pop(0).value
    if words:
        first = words.pop(0)
        if first.name or not first.value:
            raise LineError("a command is expected here", first.start + 1)
        command = first.value
    return Line(path, command, tuple(words))


def _is_path(word: str, is_place: Callable[[str], bool]) -> bool:
    return "/" in word or word in (".", "..") or is_place(word)


def flat(words: Iterable[Word]) -> list[Word]:
    """The words without the `--` after which all are values."""
    found: list[Word] = []
    ended = False
    for word in words:
        if not ended and word.value == "--" and not word.name and not word.plain:
            ended = True
        elif ended:
            found.append(Word(word.typed, word.start, plain=True))
        else:
            found.append(word)
    return found


def _never(name: str) -> bool:
    return False


def named(
    words: Iterable[Word], is_flag: Callable[[str], bool], several: Callable[[str], bool] = _never
) -> tuple[list[str], dict[str, str]]:
    """Values by position, and those with names. `is_flag`: whether --NAME alone means yes. `several`: whether
    a name can be given more than once; its values are joined by commas then.

    Raises `LineError`.
    """
    values: list[str] = []
    found: dict[str, str] = {}
    rest = flat(words)
    while rest:
        word = rest.pop(0)
        if not word.name:
            values.append(word.value)
            continue
        value = _value(word, rest, is_flag)
        if word.name not in found:
            found[word.name] = value
        elif several(word.name):
            found[word.name] += f",{value}"
        else:
            raise LineError(f"{word.name} is given twice", word.start + 1)
    return values, found


def _value(word: Word, rest: list[Word], is_flag: Callable[[str], bool]) -> str:
    """The value of a word with a name, which may be the next word."""
    if not word.open:
        return word.value
    if is_flag(word.name):
        return "yes"
    if rest and not rest[0].name:
        return rest.pop(0).value
    raise LineError(f"--{word.name.replace('_', '-')} needs a value", word.start + 1)


def quote(value: str) -> str:
    """The value as one word of a line."""
    if _PLAIN.match(value) and not _KEY.match(value) and not value.startswith("--"):
        return value
    return "'" + value.replace("'", "'\\''") + "'"
