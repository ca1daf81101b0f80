# SPDX-License-Identifier: GPL-2.0-or-later
"""One initiator, one name: the spellings that programs, switches and people have for it. Pure.

Names that are numbers (WWNs of Fibre Channel and SAS, GIDs of InfiniBand) are written in many ways, and iSCSI
names in any case. `canonical` is the one that is shown and kept; `same` and `matches` are right for all of
them. The kernel decides by the same rules (kmod/core/spelling.c); docs/configfs.md has them for people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

__all__ = [
    "Spellings",
    "asks_portal",
    "canonical",
    "fold",
    "is_exact",
    "matches",
    "name_key",
    "parted",
    "pattern_begins_dashed",
    "pattern_begins_fours",
    "same",
    "spelled",
    "unique",
    "without_prefix",
]

# What may stand before the digits, and how many of these have to follow (0: either number).
_PREFIXES = (
    ("0x", 0),
    ("naa.", 16),
    ("wwn.", 16),
    ("wwn-0x", 16),
    ("wwn-", 16),
    ("fc:0x", 16),
    ("sas:0x", 16),
    ("ib.", 32),
)
_WIDTHS = (16, 32)

_HEX = "[0-9a-f]"
# Groups of two digits with : or - between, groups of four with :, or no groups.
_DIGITS = re.compile(
    rf"{_HEX}{{2}}(?::{_HEX}{{2}})+|{_HEX}{{2}}(?:-{_HEX}{{2}})+|{_HEX}{{4}}(?::{_HEX}{{4}})+|{_HEX}+"
)
# The name of the node before that of the port.
_NODE = re.compile(rf"nn-0x{_HEX}{{16}}:pn-0x")
# The address that a port has in its fabric for the time being.
_ADDRESS = re.compile(rf",0x{_HEX}{{1,6}}\Z")
_ISCSI = re.compile(rf"iqn\..*|eui\.{_HEX}{{16}}|naa\.{_HEX}{{32}}", re.DOTALL)

# The driver whose initiators come by portals; there is no # in their names.
_PORTALS = "iscsi"

# How a pattern begins that spells a WWN in pairs with - between, or in fours.
_DASHED = re.compile(r"[0-9a-f?]{2}-[0-9a-f?]{2}")
_FOURS = re.compile(r"[0-9a-f?]{4}:")


def fold(text: str) -> str:
    """The text without regard to case. Only the ASCII letters have case here."""
    return text.lower() if text.isascii() else "".join(c.lower() if c.isascii() else c for c in text)


def is_exact(pattern: str) -> bool:
    """Whether a pattern names exactly one initiator."""
    return not pattern.startswith("!") and "*" not in pattern and "?" not in pattern


@lru_cache(maxsize=1 << 16)
def canonical(name: str) -> str:
    """The one spelling of an initiator's name, or of a pattern.

    WWNs are `50:00:c5:00:a1:b2:c3:d4`, GIDs `fe80:0000:0000:0000:0002:c903:00a1:5de1`, iSCSI names in lower
    case. All else stays as it is, patterns with `*` or `?` too; of one with a leading `!` what follows is
    spelled.
    """
    if name.startswith("!"):
        rest = name[1:]
        return name if rest.startswith("!") else "!" + canonical(rest)
    folded = fold(name)
    # None of these is a number of 16 or 32 digits.
    if _ISCSI.fullmatch(folded):
        return folded
    digits = _number(folded)
    return _grouped(digits) if digits else name


@lru_cache(maxsize=1 << 16)
def name_key(name: str) -> str:
    """What two names or patterns have in common that are the same one to the kernel."""
    return fold(canonical(name))


def same(one: str, two: str) -> bool:
    """Whether two names or patterns are spellings of one."""
    return name_key(one) == name_key(two)


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """The names in canonical spelling, sorted, each once."""
    found = {name_key(name): canonical(name) for name in sorted(names, reverse=True)}
    return tuple(sorted(found.values()))


def spelled(names: Iterable[str]) -> dict[str, str]:
    """Canonical spelling -> the one it has, where that is another."""
    return {known: name for name in names if (known := canonical(name)) != name}


def parted(driver: str, who: str) -> tuple[str, str]:
    """The name and the portal of `name#portal`, or of a pattern; '' for a driver that knows of no portals."""
    name, _, portal = who.partition("#") if driver == _PORTALS else (who, "", "")
    return name, portal


def asks_portal(driver: str, entry: str) -> bool:
    """Whether an entry of a group is about initiators by a portal."""
    return driver == _PORTALS and "#" in entry


def _number(folded: str) -> str:
    """The 16 or 32 digits of a name that is a number, '' for others."""
    node = _NODE.match(folded)
    if node:
        return _digits(folded[node.end() :], 16)
    if folded.startswith("fc:0x"):
        folded = _ADDRESS.sub("", folded)
    for prefix, width in (*_PREFIXES, ("", 0)):
        digits = _digits(folded[len(prefix) :], width) if folded.startswith(prefix) else ""
        if digits:
            return digits
    return ""


def _digits(text: str, width: int) -> str:
    if not _DIGITS.fullmatch(text):
        return ""
    digits = text.replace(":", "").replace("-", "")
    return digits if len(digits) in ((width,) if width else _WIDTHS) else ""


def _grouped(digits: str) -> str:
    return _joined(digits, 2 if len(digits) == 16 else 4, ":")


def _joined(digits: str, step: int, sign: str) -> str:
    return sign.join(digits[at : at + step] for at in range(0, len(digits), step))


@dataclass(frozen=True, slots=True)
class Spellings:
    """A name in the ways that patterns are compared with; those of a number are '' for others."""

    key: str
    digits: str = ""
    dashed: str = ""
    fours: str = ""

    @classmethod
    def of(cls, name: str) -> Spellings:
        """The spellings of an initiator's name."""
        folded = fold(name)
        digits = _number(folded)
        if not digits:
            return cls(folded)
        if len(digits) == 32:
            return cls(_grouped(digits), digits)
        return cls(_grouped(digits), digits, _joined(digits, 2, "-"), _joined(digits, 4, ":"))

    def match(self, pattern: str) -> bool:
        """As `matches`."""
        if pattern.startswith("!"):
            return not self._match(pattern[1:])
        return self._match(pattern)

    def _match(self, pattern: str) -> bool:
        if "*" not in pattern and "?" not in pattern:
            return name_key(pattern) == self.key
        folded = fold(pattern)
        if _glob(folded, self.key):
            return True
        return bool(self.digits) and self._match_number(folded)

    def _match_number(self, pattern: str) -> bool:
        rest = without_prefix(pattern, len(self.digits))
        if _glob(rest, self.digits) or (rest != pattern and _glob(rest, self.key)):
            return True
        if len(self.digits) != 16:
            return False
        return (pattern_begins_dashed(rest) and _glob(rest, self.dashed)) or (
            pattern_begins_fours(rest) and _glob(rest, self.fours)
        )


def matches(pattern: str, name: str) -> bool:
    """Whether an initiator's name matches a pattern: `*` any run, `?` one character, a leading `!` inverts.

    The pattern is compared with the canonical name. Where that is a number, the pattern (without a prefix
    such as `0x` or `naa.`) is also compared with its digits alone, and, if it begins like that, with the
    pairs `50-00-c5-...` and the fours `5000:c500:...` of a WWN. One without `*` and `?` has to be a spelling
    of the name.
    """
    return Spellings.of(name).match(pattern)


def without_prefix(pattern: str, width: int) -> str:
    """A pattern in lower case without what may stand before numbers of so many digits."""
    fitting = (text for text, digits in _PREFIXES if digits in (0, width) and pattern.startswith(text))
    return pattern[len(max(fitting, key=len, default="")) :]


def pattern_begins_dashed(rest: str) -> bool:
    """Whether a pattern without prefix begins as a WWN in pairs with - between."""
    return bool(_DASHED.match(rest))


def pattern_begins_fours(rest: str) -> bool:
    """Whether it begins as a WWN in fours."""
    return bool(_FOURS.match(rest))


def _glob(pattern: str, name: str) -> bool:
    """Linear in practice: on a mismatch only the latest `*` takes one more character."""
    at = here = 0
    star = mark = -1
    while here < len(name):
        if at < len(pattern) and pattern[at] == "*":
            star, mark = at, here
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", name[here]):
            at += 1
            here += 1
        elif star >= 0:
            mark += 1
            at, here = star + 1, mark
        else:
            return False
    return all(c == "*" for c in pattern[at:])
