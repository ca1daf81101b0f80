# SPDX-License-Identifier: GPL-2.0-or-later
"""Unit attention conditions (SAM-6 5.14), in the order in which they are told.

The standard has resets first, and leaves the rest open. Choice: the rest is told in the order of this list,
each once however often it was established, and a reset does not clear what was pending before.
"""

from __future__ import annotations

from enum import IntEnum

from tests.model import pr
from tests.model.sense import Said


class Attention(IntEnum):
    """A condition by its sense data; the members' order is that of telling."""

    def __new__(cls, place: int, code: int) -> Attention:
        member = int.__new__(cls, place)
        member._value_ = place
        member.said = Said(code)
        return member

    said: Said

    POWER_ON = 0, 0x062901
    RESET = 1, 0x062903
    NEXUS_LOSS = 2, 0x062907
    MEDIUM_MAY_HAVE_CHANGED = 3, 0x062800
    LUNS_CHANGED = 4, 0x063F0E
    CAPACITY_CHANGED = 5, 0x062A09
    MODE_CHANGED = 6, 0x062A01
    RESERVATIONS_PREEMPTED = 7, 0x062A03
    RESERVATIONS_RELEASED = 8, 0x062A04
    REGISTRATIONS_PREEMPTED = 9, 0x062A05
    STATE_CHANGED = 10, 0x062A06
    STATE_CHANGE_FAILED = 11, 0x062A07
    TIMESTAMP_CHANGED = 12, 0x062A10
    INQUIRY_CHANGED = 13, 0x063F03


OF_RESERVATIONS = {
    pr.RESERVATIONS_PREEMPTED: Attention.RESERVATIONS_PREEMPTED,
    pr.RESERVATIONS_RELEASED: Attention.RESERVATIONS_RELEASED,
    pr.REGISTRATIONS_PREEMPTED: Attention.REGISTRATIONS_PREEMPTED,
}
