# SPDX-License-Identifier: GPL-2.0-or-later
"""Mode pages (SPC-5 7.5, SBC-4 6.5): what MODE SENSE returns, and what MODE SELECT may change."""

from __future__ import annotations

from dataclasses import dataclass, fields

ALL_PAGES = 0x3F
CACHING, CONTROL = 0x08, 0x0A
CURRENT, CHANGEABLE, DEFAULT, SAVED = range(4)


@dataclass
class Values:
    """What can be set. Choice: the defaults of a unit whose backing has a volatile cache."""

    wce: bool = True
    d_sense: bool = False
    swp: bool = False

    def take(self, other: Values) -> bool:
        """Become the other. False: they were the same."""
        same = self == other
        for field in fields(self):
            setattr(self, field.name, getattr(other, field.name))
        return not same


ALL_OF_THEM = Values(True, True, True)


def page(code: int, length: int, **at: int) -> bytes:
    """A page in page_0 format; *at*: bytes by their place, as ``b2``."""
    data = bytearray(length)
    data[0], data[1] = code, length - 2
    for place, value in at.items():
        data[int(place[1:])] = value
    return bytes(data)


def caching(values: Values) -> bytes:
    """WCE."""
    return page(CACHING, 20, b2=values.wce << 2)


def control(values: Values, fixed: bool = True) -> bytes:
    """D_SENSE, SWP. *fixed*: TST 001b (a task set for each I_T nexus), GLTSD, unrestricted reordering; QERR
    is 00b and TAS 0.
    """
    return page(
        CONTROL,
        12,
        b2=values.d_sense << 2 | (1 << 5 | 1 << 1 if fixed else 0),
        b3=1 << 4 if fixed else 0,
        b4=values.swp << 3,
    )


def pages(code: int, values: Values, fixed: bool) -> bytes:
    """Those that are asked for, in ascending order; b"" if there is none. Subpages are left to others."""
    there = {
        0x01: page(0x01, 12),  # read-write error recovery: nothing can be chosen
        0x02: page(0x02, 16),  # disconnect-reconnect
        CACHING: caching(values),
        CONTROL: control(values, fixed),
        0x1C: page(0x1C, 12, b2=0x08 if fixed else 0),  # informational exceptions: DEXCPT
    }
    return b"".join(there.values()) if code == ALL_PAGES else there.get(code, b"")


def parameter_list(body: bytes, ten: bool, protected: bool) -> bytes:
    """With its header: WP, DPOFUA, no block descriptor."""
    specific = protected << 7 | 1 << 4
    if ten:
        return (len(body) + 6).to_bytes(2, "big") + bytes([0, specific, 0, 0, 0, 0]) + body
    return bytes([len(body) + 3, 0, specific, 0]) + body
