# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of initiators in the spellings that are in use, and in some that only look like them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random

Write = Callable[[str], str]


def grouped(digits: str, step: int, sign: str) -> str:
    """`5000c5` in groups of so many digits."""
    return sign.join(digits[at : at + step] for at in range(0, len(digits), step))


def pairs(digits: str) -> str:
    """`50:00:c5`"""
    return grouped(digits, 2, ":")


# Ways to write the 16 digits of a WWN.
WWN_WAYS: tuple[Write, ...] = (
    lambda digits: digits,
    lambda digits: digits.upper(),
    pairs,
    lambda digits: pairs(digits).upper(),
    lambda digits: grouped(digits, 2, "-"),
    lambda digits: grouped(digits, 4, ":"),
    lambda digits: f"0x{digits}",
    lambda digits: f"0X{digits.upper()}",
    lambda digits: f"0x{pairs(digits)}",
    lambda digits: f"naa.{digits}",
    lambda digits: f"NAA.{digits.upper()}",
    lambda digits: f"naa.{pairs(digits)}",
    lambda digits: f"wwn.{digits.upper()}",
    lambda digits: f"wwn-0x{digits}",
    lambda digits: f"wwn-{digits}",
    lambda digits: f"sas:0x{digits}",
    lambda digits: f"fc:0x{digits}",
    lambda digits: f"fc:0x{digits},0x010400",
    lambda digits: f"nn-0x20{digits[2:]}:pn-0x{digits}",
)
# And the 32 of a GID.
GID_WAYS: tuple[Write, ...] = (
    lambda digits: digits,
    lambda digits: f"0x{digits.upper()}",
    lambda digits: f"ib.{digits}",
    lambda digits: grouped(digits, 4, ":"),
    lambda digits: grouped(digits, 4, ":").upper(),
    lambda digits: grouped(digits, 2, ":"),
)
# These are none.
WRONG_WAYS: tuple[Write, ...] = (
    lambda digits: digits[1:],
    lambda digits: digits + digits[0],
    lambda digits: f"naa.{digits[:-1]}",
    lambda digits: f"0x{digits}0",
    lambda digits: f"x{digits}",
    lambda digits: f"{pairs(digits)}:",
    lambda digits: f":{pairs(digits)}",
    lambda digits: f"{digits[:2]}-{pairs(digits[2:])}",
    lambda digits: grouped(digits, 4, "-"),
    lambda digits: grouped(digits, 3, ":"),
    lambda digits: grouped(digits, 8, ":"),
    lambda digits: f"0x0x{digits}",
    lambda digits: f"naa.0x{digits}",
    lambda digits: f"ib.{digits[:16]}",
    lambda digits: f"0x{digits},0x010400",
    lambda digits: f"fc:0x{digits},0x1234567",
    lambda digits: f"fc:0x{digits},0x",
    lambda digits: f"nn-0x{digits}",
    lambda digits: f"nn-0x{digits[1:]}:pn-0x{digits}",
    lambda digits: f"{digits[:-1]}g",
    lambda digits: f"eui.{digits}",
    lambda digits: f"EUI.{digits[:16].upper()}",
    lambda digits: f"naa.{digits}{digits}",
    lambda digits: f"iqn.2026-11.com.example:{digits.upper()}",
    lambda digits: f"iqn.{digits}",
)
NUMBERS = ("5000c500a1b2c3d4", "5000c500a1b2c3d5", "10000000c9aabbcc", "0" * 16)
GIDS = ("fe800000000000000002c90300a15de1", "5000c500a1b2c3d45000c500a1b2c3d4", "0" * 32)
PLAIN = ("a", "b", "ini-A", "host:a", "10-00-x", "node1:disk", "-", "0x", "naa.", "wwn-a", "a:b", "5000")


def any_name(random: Random) -> str:
    """A name: mostly the spelling of a number, or nearly one."""
    kind = random.random()
    digits = random.choice(NUMBERS)
    if kind < 0.5:
        name = random.choice(WWN_WAYS)(digits)
    elif kind < 0.6:
        name = random.choice(GID_WAYS)(random.choice(GIDS))
    elif kind < 0.75:
        name = random.choice(WRONG_WAYS)(random.choice((digits, random.choice(GIDS))))
    elif kind < 0.85:
        name = random.choice(PLAIN)
    else:
        name = changed(random, random.choice(WWN_WAYS)(digits))
    return recased(random, name) if random.random() < 0.2 else name


def changed(random: Random, name: str) -> str:
    """The name with one character gone, another, or one more."""
    at = random.randrange(len(name))
    keep, sign = random.randrange(2), random.choice(("", "0", "a", "F", ":", "-", ".", "x", "g"))
    return name[:at] + sign + name[at + keep :] or "a"


def recased(random: Random, name: str) -> str:
    """The name with the case of some letters changed."""
    return "".join(c.swapcase() if random.randrange(2) else c for c in name)


def any_pattern(random: Random, name: str) -> str:
    """A pattern: mostly made of a spelling of the name, or of something near to it."""
    text = near(random, name) if random.random() < 0.8 else any_name(random)
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        text = widened(random, text)
    if random.random() < 0.1:
        text = recased(random, text)
    return ("!" if random.random() < 0.1 else "") + text


def near(random: Random, name: str) -> str:
    """Another spelling of a name that is one of the numbers above, or a part of it; else the name."""
    folded = "".join(c for c in name.lower() if c in "0123456789abcdef")
    for digits in NUMBERS:
        if folded.endswith(digits) or random.random() < 0.1:
            return random.choice(WWN_WAYS + WRONG_WAYS)(digits)
    for digits in GIDS:
        if folded.endswith(digits):
            return random.choice(GID_WAYS + WRONG_WAYS)(digits)
    return name


def widened(random: Random, text: str) -> str:
    """The text with ? for a character, or * for none, some, or the rest of it."""
    if not text:
        return "*"
    at = random.randrange(len(text) + 1)
    to = random.choice((at, min(at + 1, len(text)), random.randint(at, len(text)), len(text)))
    return text[:at] + random.choice(("*", "*", "?" * (to - at))) + text[to:]


def spellings_of(digits: str) -> Sequence[str]:
    """All spellings of a number."""
    ways = WWN_WAYS if len(digits) == 16 else GID_WAYS
    return [way(digits) for way in ways]


def pairs_of(seed: int, count: int) -> Iterator[tuple[str, str]]:
    """So many random (pattern, name); the same ones for the same seed."""
    random = Random(seed)
    for _ in range(count):
        name = any_name(random)
        yield any_pattern(random, name), name
