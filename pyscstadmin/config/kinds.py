# SPDX-License-Identifier: GPL-2.0-or-later
"""The types that settings have: which values there are, and how each is typed, shown and written. Pure."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pyscstadmin.config import moments, names
from pyscstadmin.config.facts import NOTHING, TEXT_MAX, Facts
from pyscstadmin.config.names import Fault

__all__ = [
    "AUTO",
    "NEVER",
    "Auto",
    "Choice",
    "Flag",
    "Known",
    "Moment",
    "Number",
    "Text",
    "Type",
    "Value",
    "Word",
    "hint",
    "kind_of",
]

Value = bool | int | str

AUTO: Literal["auto"] = "auto"
NEVER = "never"

_WORDS = {True: "yes", False: "no"}
_TRUE = frozenset(("yes", "y", "true", "on", "1"))
_FALSE = frozenset(("no", "n", "false", "off", "0"))


# What values there are. Each type knows a value in four dresses: as a person types it, as JSON and Python
# have it, as the kernel shows it, and as the kernel takes it.


@dataclass(frozen=True, slots=True)
class Type:
    """What all types of settings can do."""

    @property
    def words(self) -> str:
        """What to type, for a person: `yes or no`."""
        raise NotImplementedError

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that completion can offer; none where there are too many."""
        return ()

    def parse(self, text: str) -> Value:
        """The value of what a person typed. Raises ValueError with a sentence."""
        raise NotImplementedError

    def refuse(self, value: object) -> str:
        """Why a value of JSON or of a program is none of these; '' if it is."""
        raise NotImplementedError

    def meant(self, value: Any) -> Value:
        """The one form of a value that `refuse` lets pass."""
        found: Value = value
        return found

    def to_json(self, value: Value) -> Any:
        """The value as files have it."""
        return value

    def from_kernel(self, text: str) -> Value:
        """The value of what the kernel shows."""
        raise NotImplementedError

    def to_kernel(self, value: Value) -> str:
        """The value as it is written to the kernel."""
        return str(value)

    def store(self, text: str) -> Value | Fault:
        """The value of what is written to the kernel, or how that refuses it. For the simulation."""
        raise NotImplementedError

    def to_text(self, value: Value) -> str:
        """The value as a person would type it."""
        return str(value)

    def schema(self) -> dict[str, Any]:
        """The type as JSON Schema."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Flag(Type):
    """Yes or no."""

    @property
    def words(self) -> str:
        return "yes or no"

    @property
    def choices(self) -> tuple[str, ...]:
        return "yes", "no"

    def parse(self, text: str) -> Value:
        word = text.lower()
        if word not in _TRUE | _FALSE:
            raise ValueError(f"{text!r} is not {self.words}")
        return word in _TRUE

    def refuse(self, value: object) -> str:
        return "" if type(value) is bool else f"must be true or false, not {kind_of(value)}"

    def from_kernel(self, text: str) -> Value:
        return text == "1"

    def to_kernel(self, value: Value) -> str:
        return "1" if value else "0"

    def store(self, text: str) -> Value | Fault:
        value = names.parse_bool(text)
        return Fault(errno.EINVAL, "must be one of 0 1 n y off on") if value is None else value

    def to_text(self, value: Value) -> str:
        return _WORDS[bool(value)]

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Auto(Flag):
    """Yes, no, or what the backing says."""

    @property
    def words(self) -> str:
        return f"yes, no or {AUTO}"

    @property
    def choices(self) -> tuple[str, ...]:
        return AUTO, "yes", "no"

    def parse(self, text: str) -> Value:
        return AUTO if text.lower() == AUTO else Flag.parse(self, text)

    def refuse(self, value: object) -> str:
        good = value == AUTO or type(value) is bool
        return "" if good else f'must be "{AUTO}", true or false, not {kind_of(value)}'

    def from_kernel(self, text: str) -> Value:
        return AUTO if text == AUTO else text == "1"

    def to_kernel(self, value: Value) -> str:
        return AUTO if value == AUTO else Flag.to_kernel(self, value)

    def store(self, text: str) -> Value | Fault:
        return AUTO if text == AUTO else Flag.store(self, text)

    def to_text(self, value: Value) -> str:
        return AUTO if value == AUTO else Flag.to_text(self, value)

    def schema(self) -> dict[str, Any]:
        return {"enum": [AUTO, False, True]}


@dataclass(frozen=True, slots=True)
class Number(Type):
    """A whole number from `low` to `high`; with the unit `bytes`, letters for powers of 1024 may follow.
    `zero`: 0 as well, whatever the lowest is.
    """

    low: int = 0
    high: int = names.SIZE_MAX
    unit: str = ""
    zero: bool = False

    @property
    def words(self) -> str:
        if self.unit == "bytes":
            least = f", {self.low} or more{', or 0' if self.zero else ''}" if self.low else ""
            return f"a number of bytes such as 1048576, 512M or 2TiB{least}"
        return f"a number, {self.low}-{self.high}"

    def parse(self, text: str) -> Value:
        if self.unit == "bytes":
            number = names.parse_size(text)
        else:
            found = names.parse_number(text)
            if found is None:
                raise ValueError(f"{text!r} is not {self.words}")
            number = found
        reason = self.refuse(number)
        if reason:
            raise ValueError(f"{text!r} {reason}")
        return number

    def refuse(self, value: object) -> str:
        if type(value) is not int:
            return f"must be a whole number, not {kind_of(value)}{self._as_number(value)}"
        if self.low <= value <= self.high or (self.zero and value == 0):
            return ""
        return f"must be {'0 or ' if self.zero else ''}{self.low}-{self.high}"

    def _as_number(self, value: object) -> str:
        """What a text with a unit would be."""
        try:
            return f"; {value} is {names.parse_size(value)}" if type(value) is str else ""
        except ValueError:
            return ""

    def from_kernel(self, text: str) -> Value:
        return int(text)

    def store(self, text: str) -> Value | Fault:
        number = names.parse_number(text)
        if number is None:
            return Fault(errno.EINVAL, "must be a number")
        reason = self.refuse(number)
        return Fault(errno.ERANGE, reason) if reason else number

    def schema(self) -> dict[str, Any]:
        known: dict[str, Any] = {"type": "integer", "minimum": self.low, "maximum": self.high}
        return {"anyOf": [known, {"const": 0}]} if self.zero else known


@dataclass(frozen=True, slots=True)
class Choice(Number):
    """One of some numbers; `meaning` says what each is that does not stand for itself."""

    only: tuple[int, ...] = ()
    meaning: Mapping[int, str] = field(default_factory=dict, hash=False)

    @property
    def words(self) -> str:
        plain = [str(number) for number in self.only if number not in self.meaning]
        odd = [f"{number} for {text}" for number, text in self.meaning.items()]
        return f"{', '.join(plain)}{', or ' if odd else ''}{', '.join(odd)}"

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(map(str, self.only))

    def refuse(self, value: object) -> str:
        reason = Number.refuse(self, value) if type(value) is not int else ""
        return reason or ("" if value in self.only else f"must be {self.words}")

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.only)}


@dataclass(frozen=True, slots=True)
class Word(Type):
    """One of some words."""

    only: tuple[str, ...]

    @property
    def words(self) -> str:
        return f"{', '.join(self.only[:-1])} or {self.only[-1]}"

    @property
    def choices(self) -> tuple[str, ...]:
        return self.only

    def parse(self, text: str) -> Value:
        if text not in self.only:
            raise ValueError(f"{text!r} is not {self.words}{hint(text, self.only)}")
        return text

    def refuse(self, value: object) -> str:
        return "" if value in self.only else f"must be {self.words}"

    def from_kernel(self, text: str) -> Value:
        return text

    def store(self, text: str) -> Value | Fault:
        return text if text in self.only else Fault(errno.EINVAL, f"must be {self.words}")

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.only)}


@dataclass(frozen=True, slots=True)
class Text(Type):
    """A text that `check` allows, as the kernel does; `pattern` says so to JSON Schema as well as it can.

    `canonical`: the one form of what can be written in several ways, before it is checked.
    """

    check: Callable[[str], Fault | None]
    what: str
    pattern: str
    longest: int = 0
    canonical: Callable[[str], str] = str

    @property
    def words(self) -> str:
        return self.what

    def parse(self, text: str) -> Value:
        meant = self.canonical(text)
        fault = self.check(meant)
        if fault is not None:
            raise ValueError(f"{text!r} {fault.reason}")
        return meant

    def refuse(self, value: object) -> str:
        if type(value) is not str:
            return f"must be a text, not {kind_of(value)}"
        fault = self.fault(value)
        return fault.reason if fault is not None else ""

    def fault(self, text: str) -> Fault | None:
        """Why a text is none of these, in whichever way it is written."""
        return self.check(self.canonical(text))

    def meant(self, value: Any) -> Value:
        return self.canonical(value)

    def from_kernel(self, text: str) -> Value:
        return text

    def store(self, text: str) -> Value | Fault:
        return self.check(text) or self.canonical(text)

    def schema(self) -> dict[str, Any]:
        longest = {"maxLength": self.longest} if self.longest else {}
        return {"type": "string", "pattern": self.pattern, **longest}


@dataclass(frozen=True, slots=True)
class Moment(Type):
    """A moment, as a text in UTC; '' for never. The kernel has seconds since 1970."""

    @property
    def words(self) -> str:
        return f"a moment in UTC such as 2026-12-31T23:59:59Z, or {NEVER}"

    @property
    def choices(self) -> tuple[str, ...]:
        return ()

    def parse(self, text: str) -> Value:
        reason = "" if text.lower() == NEVER else self.refuse(text)
        if reason or not text:
            raise ValueError(f"{text!r} is not {self.words}")
        return "" if text.lower() == NEVER else self.meant(text)

    def refuse(self, value: object) -> str:
        good = value == "" or (type(value) is str and 0 < moments.seconds_of(value) <= moments.LAST)
        return "" if good else f"must be {self.words}"

    def meant(self, value: Any) -> Value:
        return moments.text_of(moments.seconds_of(value)) if value else ""

    def from_kernel(self, text: str) -> Value:
        return moments.text_of(int(text)) if int(text) else ""

    def to_kernel(self, value: Value) -> str:
        return str(moments.seconds_of(str(value)) if value else 0)

    def store(self, text: str) -> Value | Fault:
        stored = Number(0, moments.LAST).store(text)
        return stored if isinstance(stored, Fault) else self.from_kernel(str(stored))

    def to_text(self, value: Value) -> str:
        return str(value) or NEVER

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": moments.PATTERN}


@dataclass(frozen=True, slots=True)
class Known(Type):
    """What a backing is known by: the text of `config.facts.Facts`, in files an object; '' for not said."""

    @property
    def words(self) -> str:
        return f"{_ANY!r} for whatever is at the path, or a JSON object of texts"

    @property
    def choices(self) -> tuple[str, ...]:
        return (_ANY,)

    def parse(self, text: str) -> Value:
        meant = NOTHING.text() if text.lower() == _ANY else text
        reason = self.refuse(meant)
        if reason:
            raise ValueError(f"{text!r} {reason}")
        return self.meant(meant)

    def refuse(self, value: object) -> str:
        try:
            facts = _facts(value)
        except ValueError:
            return f"must be {self.words}"
        if facts is not None and len(facts.text()) > TEXT_MAX:
            return f"must have no more than {TEXT_MAX} bytes as a text"
        return ""

    def meant(self, value: Any) -> Value:
        facts = _facts(value)
        return facts.text() if facts is not None else ""

    def to_json(self, value: Value) -> Any:
        facts = Facts.read(str(value))
        return dict(facts) if facts is not None else ""

    def from_kernel(self, text: str) -> Value:
        return text

    def store(self, text: str) -> Value | Fault:
        return names.check_text(text, TEXT_MAX) or text

    def to_text(self, value: Value) -> str:
        return _ANY if value == NOTHING.text() else str(value)

    def schema(self) -> dict[str, Any]:
        return {"type": ["object", "string"], "additionalProperties": {"type": "string"}}


_ANY = "any"


def _facts(value: object) -> Facts | None:
    """Facts of what JSON or a program has. Raises ValueError."""
    if isinstance(value, str):
        return Facts.parse(value)
    if not isinstance(value, Mapping):
        raise ValueError
    if not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise ValueError
    return Facts.of(value)


def hint(word: str, known: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    """What may have been meant instead of a word, or what there is."""
    from difflib import get_close_matches  # for what is wrong only

    choices = list(known)
    close = get_close_matches(word, choices, 1, 0.5) if len(word) < 100 and len(choices) < 2000 else []
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(choices)}" if 0 < len(choices) <= 16 else ""


def kind_of(value: object) -> str:
    """What a value of JSON or Python is, for a person."""
    if value is None:
        return "null"
    kinds: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a fraction",
    }
    return kinds.get(type(value), type(value).__name__)
