# SPDX-License-Identifier: GPL-2.0-or-later
"""Names, numbers and identifiers: what is allowed, as the kernel decides it. Pure.

Each `check_*` returns None when the text is allowed, else a `Fault`: the errno the kernel answers and a
sentence.
"""

from __future__ import annotations

import errno
import re
from sys import getfilesystemencodeerrors, getfilesystemencoding
from typing import NamedTuple

from pyscstadmin.config.spelling import canonical

LUN_MAX = 16383
PRIORITY_MAX = 65535
PRIORITY_DEFAULT = 100
REL_TGT_ID_MAX = 65535
GROUP_ID_MAX = 65535
TRANSITION_TIME_MAX = 255
ASK_MS_MAX = 60000
# Target port groups of a device group, and ports of one of them.
PORT_GROUPS_MAX = 32
PORTS_MAX = 255
# What a port can be to a unit, the state that everything begins in first.
PORT_STATES = (
    "active/optimized",
    "active/non-optimized",
    "standby",
    "unavailable",
    "offline",
    "transitioning",
)
# What the kernel's flight recorder remembers of a device.
RECORD_KINDS = ("slow", "failed", "tmf")
PATH_MAX = 4094
BLOCK_SIZES = (0, 512, 1024, 2048, 4096)
# Of T10 protection information; 0: none.
PROTECTION_TYPES = (0, 1, 2, 3)
SIZE_MAX = 2**63 - 1
QUEUE_DEPTH_MAX = 65535
IOPS_MAX = 100_000_000
BYTES_PER_SEC_MAX = 10**12
BURST_MAX = 10_000
# Bytes of the longest command, and of memory for data that a session has unless it is told otherwise.
XFER_MAX = 4 << 20
SESSION_BUFFER_DEFAULT = 64 << 20

_DEVICE = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:-]*\Z")
_TARGET = re.compile(r"[A-Za-z0-9_:+@,][A-Za-z0-9_.:+@,-]*\Z")
_PRINTABLE = re.compile(r"[ -~]*\Z")
_INITIATOR = re.compile(r"[!-.0-~]+\Z")
_HEX = re.compile(r"[0-9a-fA-F]+\Z")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+\Z|[0-9]+\Z")
_TRUE = frozenset(("1", "y", "on"))
_FALSE = frozenset(("0", "n", "off"))
_SIZE = re.compile(r"([0-9]{1,30})(?:\.([0-9]{1,30}))?(?:([KMGTP])(?:iB)?|B)?\Z", re.A | re.I)
_DECIMAL = re.compile(r"[0-9.]+[KMGTP]B\Z", re.A | re.I)
_PAIRS = re.compile(r"[0-9a-f]{2}(?:[:-]?[0-9a-f]{2})*\Z")
_WWPN = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){7}\Z")
_H = "[0-9a-fA-F]"
_DIGITS = (
    f"(?:{_H}{{16}}|{_H}{{2}}(?::{_H}{{2}}){{7}}|{_H}{{2}}(?:-{_H}{{2}}){{7}}|{_H}{{4}}(?::{_H}{{4}}){{3}})"
)
_BEFORE = "(?:0[xX]|[nN][aA][aA]\\.|[wW][wW][nN](?:\\.|-0[xX]|-)|[sS][aA][sS]:0[xX])?"
# The spellings of a WWPN that `canonical_wwpn` knows, as an expression for JSON Schema.
WWPN_PATTERN = (
    f"^(?:{_BEFORE}{_DIGITS}|[fF][cC]:0[xX]{_DIGITS}(?:,0[xX]{_H}{{1,6}})?"
    f"|[nN][nN]-0[xX]{_H}{{16}}:[pP][nN]-0[xX]{_DIGITS})$"
)


class Fault(NamedTuple):
    """Why a text is refused: the kernel's errno and a sentence for people."""

    errno: int
    reason: str


def _named(text: str, pattern: re.Pattern[str], limit: int, allowed: str) -> Fault | None:
    if len(text) > limit:
        return Fault(errno.ENAMETOOLONG, f"longer than {limit} characters")
    if not pattern.match(text):
        return Fault(errno.EINVAL, f"must be 1-{limit} characters of {allowed}, not starting with . or -")
    return None


def check_device_name(text: str) -> Fault | None:
    """Device and group names: 1-64 of `A-Z a-z 0-9 _ . : -`."""
    return _named(text, _DEVICE, 64, "A-Z a-z 0-9 _ . : -")


check_group_name = check_device_name


def check_target_name(text: str) -> Fault | None:
    """Target names: 1-223 of `A-Z a-z 0-9 _ . : - + @ ,`."""
    return _named(text, _TARGET, 223, "A-Z a-z 0-9 _ . : - + @ ,")


def check_port_name(text: str) -> Fault | None:
    """Directories of ports in a target port group: a driver, and the name of a target."""
    return _named(text, _TARGET, 240, "A-Z a-z 0-9 _ . : - + @ ,")


def check_wwpn(text: str) -> Fault | None:
    """Names of Fibre Channel ports as the kernel has them: `21:00:00:1b:32:0a:0b:0c`."""
    if _WWPN.match(text):
        return None
    how = "21:00:00:1b:32:0a:0b:0c, 0x2100001b320a0b0c or naa.2100001b320a0b0c"
    return Fault(errno.EINVAL, f"must be a WWPN, which has 16 hex digits: {how}")


def canonical_wwpn(text: str) -> str:
    """The kernel's spelling of a WWPN. What is none stays as it is."""
    found = canonical(text)
    return found if _WWPN.match(found) else text


def check_pattern(text: str) -> Fault | None:
    """Initiator patterns: exact, or with `*` and `?`, a leading `!` inverts; 1-223 printable ASCII, no blank
    or `/`.
    """
    if len(text) > 223:
        return Fault(errno.ENAMETOOLONG, "longer than 223 characters")
    if not _INITIATOR.match(text):
        return Fault(errno.EINVAL, "must be printable ASCII characters without blank and /")
    if text == "!" or "!" in text[1:]:
        return Fault(errno.EINVAL, "must have a ! at the start only, with something after it")
    if text in (".", ".."):
        return Fault(errno.EEXIST, "names a directory that is always there; . and .. cannot be initiators")
    return None


def check_initiator(text: str) -> Fault | None:
    """Exact initiator names: as patterns, without `*`, `?` and `!`."""
    if any(c in text for c in "*?!"):
        return Fault(errno.EINVAL, "must be an exact name, without * ? !")
    return check_pattern(text)


def check_lun(text: str) -> Fault | None:
    """LUN numbers as directory names: 0-16383 without leading zeroes."""
    if not text.isascii() or not text.isdigit() or (len(text) > 1 and text[0] == "0"):
        return Fault(errno.EINVAL, "must be a decimal number without leading zeroes")
    if len(text) > 6 or int(text) > LUN_MAX:
        return Fault(errno.ERANGE, f"must be 0-{LUN_MAX}")
    return None


def check_path(text: str) -> Fault | None:
    """Backing paths: absolute, at most 4094 bytes, no control characters; empty means not set.

    A character that no file name can have is refused: which that are, is a matter of the locale.
    """
    try:
        data = text.encode(getfilesystemencoding(), getfilesystemencodeerrors())
    except UnicodeEncodeError as error:
        what = f"{text[error.start]!a}, which file names cannot have in this locale ({error.encoding})"
        return Fault(errno.EINVAL, f"must not contain {what}")
    if len(data) > PATH_MAX:
        return Fault(errno.ENAMETOOLONG, f"longer than {PATH_MAX} bytes")
    if text and not text.startswith("/"):
        return Fault(errno.EINVAL, "must be an absolute path")
    return check_text(text, PATH_MAX)


def check_text(text: str, longest: int) -> Fault | None:
    """Text that the kernel keeps as it is: up to so many bytes, no control characters."""
    if len(text.encode("utf-8", "surrogateescape")) > longest:
        return Fault(errno.ENAMETOOLONG, f"longer than {longest} bytes")
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        return Fault(errno.EINVAL, "must not contain control characters")
    return None


def check_printable(text: str, limit: int) -> Fault | None:
    """Identification texts: 1 to `limit` printable ASCII characters."""
    if not text:
        return Fault(errno.EINVAL, "must not be empty")
    if len(text) > limit:
        return Fault(errno.ENAMETOOLONG, f"longer than {limit} characters")
    if not _PRINTABLE.match(text):
        return Fault(errno.EINVAL, "must be printable ASCII characters")
    return None


def check_naa(text: str) -> Fault | None:
    """NAA identifiers: 16 hex digits starting 2, 3 or 5, or 32 starting 6."""
    if len(text) > 32:
        return Fault(errno.ENAMETOOLONG, "longer than 32 hex digits")
    good = (len(text) == 16 and text[0] in "235") or (len(text) == 32 and text[0] == "6")
    if not (good and _HEX.match(text)):
        return Fault(errno.EINVAL, "must be 16 hex digits starting 2, 3 or 5, or 32 starting 6")
    return None


def check_eui64(text: str) -> Fault | None:
    """EUI-64 based identifiers: 16, 24 or 32 hex digits; empty means none."""
    if len(text) > 32:
        return Fault(errno.ENAMETOOLONG, "longer than 32 hex digits")
    if text and not (len(text) in (16, 24, 32) and _HEX.match(text)):
        return Fault(errno.EINVAL, "must be 16, 24 or 32 hex digits")
    return None


def canonical_naa(text: str) -> str:
    """The digits of an NAA identifier as other programs write it: `naa.` or `0x` before them, colons or
    hyphens between pairs, capitals. What is none stays as it is.
    """
    return _digits(text, "naa.")


def canonical_eui64(text: str) -> str:
    """The same for an EUI-64 based identifier, with `eui.`."""
    return _digits(text, "eui.")


def _digits(text: str, prefix: str) -> str:
    lower = text.lower()
    for start in (prefix, "0x"):
        lower = lower.removeprefix(start)
    return lower.replace(":", "").replace("-", "") if _PAIRS.match(lower) else text


def parse_size(text: str) -> int:
    """Bytes: `1048576`, `1M`, `1m`, `1MiB` (all the same; K M G T P are powers of 1024), `1.5G`. Raises
    ValueError.
    """
    found = _SIZE.match(text)
    if found is None:
        decimal = _DECIMAL.match(text)
        why = "; GB and the like mean two things: say G or GiB for powers of 1024" if decimal else ""
        raise ValueError(f"{text!r} is not a number of bytes such as 1048576, 512M or 2TiB{why}")
    shift = 10 * " KMGTP".index((found[3] or " ").upper())
    fraction = found[2] or ""
    scale: int = 10 ** len(fraction)
    value, rest = divmod(int(found[1] + fraction) << shift, scale)
    if rest:
        raise ValueError(f"{text!r} is no whole number of bytes")
    return value


def parse_bool(text: str) -> bool | None:
    """The kernel's boolean words `0 1 n y off on`; None for anything else."""
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


def parse_number(text: str) -> int | None:
    """A decimal number, or hexadecimal with `0x`; None for anything else."""
    if not _NUMBER.match(text):
        return None
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)
