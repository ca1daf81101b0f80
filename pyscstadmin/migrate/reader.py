# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading objects of another program's JSON, key by key. Pure.

Whatever is there, a reader answers with a value of the right kind, and notes in the account what is wrong.
"""

from __future__ import annotations

import re
from typing import Any

from pyscstadmin.config.settings import kind_of
from pyscstadmin.config.where import Path
from pyscstadmin.migrate.account import Account, Verdict

__all__ = ["Reader"]

_WORDS = {"0": False, "n": False, "no": False, "off": False, "false": False}
_WORDS |= {"1": True, "y": True, "yes": True, "on": True, "true": True}
_NUMBER = re.compile(r"-?[0-9]{1,30}|0[xX][0-9a-fA-F]{1,25}", re.ASCII)
# No number of a configuration needs more bits.
_LIMIT = 1 << 64


class Reader:
    """An object of the input; `path` says where it is."""

    def __init__(self, account: Account, value: Any, path: Path = ()) -> None:
        self.account = account
        self.path = path
        self.members: dict[str, Any] = value if type(value) is dict else {}
        if type(value) is not dict:
            account.wrong(path, f"must be an object, not {kind_of(value)}")

    def at(self, *keys: str) -> Path:
        """The path of something below."""
        return (*self.path, *keys)

    def __contains__(self, key: str) -> bool:
        """Whether there is a value; null is none."""
        return self.members.get(key) is not None

    def mapped(self, key: str, *to: Path, text: str = "") -> None:
        """Note that the value is in our configuration at these places, if it is there."""
        if key in self.members:
            self.account.mapped(self.at(key), *to, text=text)

    def note(self, key: str, verdict: Verdict, text: str, *, whole: bool = False) -> None:
        """Note what else has become of the value, if it is there."""
        if key in self.members:
            self.account.note(self.at(key), verdict, text, whole=whole)

    def same(self, text: str, *keys: str) -> None:
        """Note that these need nothing."""
        for key in keys:
            self.note(key, Verdict.SAME, text)

    def text(self, key: str, default: str = "") -> str:
        """A text; null counts as left out."""
        value = self.members.get(key)
        if value is None:
            return default
        if type(value) is not str:
            self.account.wrong(self.at(key), f"must be a text, not {kind_of(value)}")
            return default
        return value

    def required(self, key: str) -> str:
        """A text that must be there and not be empty; "" if it is not."""
        if key not in self:
            self.account.wrong(self.path, f'"{key}" is missing')
            return ""
        value = self.text(key)
        if value == "" and type(self.members[key]) is str:
            self.account.wrong(self.at(key), "must not be empty")
        return value

    def number(self, key: str, default: int) -> int:
        """A whole number, also as a text or a truth value, as LIO reads them."""
        value = self.members.get(key)
        if value is None:
            return default
        number = _number(value)
        if number is None:
            self.account.wrong(self.at(key), f"must be a whole number, not {kind_of(value)}")
            return default
        return number

    def required_number(self, key: str, low: int, high: int) -> int:
        """A whole number that must be there; `low` if it is not."""
        if key not in self:
            self.account.wrong(self.path, f'"{key}" is missing')
            return low
        number = self.number(key, low)
        if not low <= number <= high:
            self.account.wrong(self.at(key), f"must be {low}-{high}")
            return low
        return number

    def flag(self, key: str, default: bool) -> bool:
        """A truth value, also as a number or a word, as LIO reads them."""
        value = self.members.get(key)
        if value is None:
            return default
        if type(value) in (bool, int):
            return bool(value)
        if type(value) is str and value.strip().lower() in _WORDS:
            return _WORDS[value.strip().lower()]
        self.account.wrong(self.at(key), f"must be true or false, not {kind_of(value)}")
        return default

    def object(self, key: str) -> Reader:
        """An object; an empty one if it is left out."""
        return Reader(self.account, {} if not self.members.get(key) else self.members[key], self.at(key))

    def objects(self, key: str) -> list[Reader]:
        """A list of objects; empty if it is left out."""
        value = self.members.get(key)
        if not value:  # older rtslib writes an empty object for no list
            return []
        if type(value) is not list:
            self.account.wrong(self.at(key), f"must be a list, not {kind_of(value)}")
            return []
        return [Reader(self.account, item, (*self.at(key), index)) for index, item in enumerate(value)]


def _number(value: Any) -> int | None:
    if type(value) is str and _NUMBER.fullmatch(value.strip()):
        value = int(value, 16 if value.strip()[:2] in ("0x", "0X") else 10)
    if type(value) in (bool, int) and abs(value) < _LIMIT:
        return int(value)
    return None
