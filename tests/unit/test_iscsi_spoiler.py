# SPDX-License-Identifier: GPL-2.0-or-later
"""What flips bits in iSCSI's PDUs flips one bit, of the PDU that was meant, however the bytes arrive."""

from __future__ import annotations

import random

import pytest

from tests.iscsi import pdu
from tests.iscsi.pdu import Op, Pdu
from tests.iscsi.spoiler import Spoiler, Wish

PDUS = (
    Pdu(op=Op.LOGIN, immediate=True, data=b"a=b\0"),
    Pdu(op=Op.NOP_OUT, data=b"12345"),
    Pdu(op=Op.COMMAND, cdb=bytes(32), ahs=pdu.extended_cdb(bytes(16)), data=bytes(512)),
    Pdu(op=Op.DATA_OUT, data=bytes(1000)),
    Pdu(op=Op.COMMAND, cdb=bytes(16)),
    Pdu(op=Op.TMF, immediate=True),
    Pdu(op=Op.COMMAND, cdb=bytes(16), data=b"x"),
)


def wire(one: Pdu) -> bytes:
    """Logins have no digests."""
    return one.encode(one.op != Op.LOGIN, one.op != Op.LOGIN)


def run(spoiler: Spoiler, step: int) -> bytes:
    """All of them, in pieces."""
    data = b"".join(map(wire, PDUS))
    return b"".join(spoiler.passed(data[at : at + step]) for at in range(0, len(data), step))


def flipped(found: bytes) -> list[tuple[int, int]]:
    """Which PDUs, and where in them."""
    places, start = [], 0
    for number, one in enumerate(PDUS):
        right = wire(one)
        there = found[start : start + len(right)]
        places += [(number, at) for at, byte in enumerate(there) if byte != right[at]]
        start += len(right)
    assert start == len(found)
    return places


@pytest.mark.parametrize("step", [1, 7, 47, 48, 49, 100, 10_000])
@pytest.mark.parametrize(
    ("wish", "place"),
    [
        (Wish(Op.NOP_OUT), (1, 40)),
        (Wish(Op.NOP_OUT, data=True), (1, 52)),
        (Wish(Op.COMMAND), (2, 40)),
        (Wish(Op.COMMAND, data=True), (2, 48 + 20 + 4)),
        (Wish(Op.DATA_OUT, data=True), (3, 52)),
        (Wish(Op.TMF), (5, 40)),
    ],
    ids=str,
)
def test_one_bit(wish: Wish, place: tuple[int, int], step: int) -> None:
    spoiler = Spoiler([wish])
    found = run(spoiler, step)
    assert flipped(found) == [place]
    assert not spoiler.wishes
    assert flipped(run(spoiler, step)) == [], "once, and it is in step"


def test_what_does_not_come() -> None:
    """It is waited for; data is waited for where there is none."""
    for wish in (Wish(Op.LOGOUT), Wish(Op.TMF, data=True)):
        spoiler = Spoiler([wish])
        assert flipped(run(spoiler, 33)) == []
        assert spoiler.wishes == [wish]


def test_one_after_the_other() -> None:
    spoiler = Spoiler([Wish(Op.COMMAND), Wish(Op.COMMAND, data=True)])
    step = random.Random(1).randrange(1, 200)
    assert flipped(run(spoiler, step)) == [(2, 40), (6, 52)]
