# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of iSCSI's full-feature phase (test_iscsi_*.py) have in common.

Connections are handed over by the tests themselves (fixture `login`). What may be relied on is checked in
each PDU that comes (tests/iscsi/initiator.py); in the tests is what it takes to see it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.iscsi import adopter as handover
from tests.iscsi.adopter import EVENT_GONE
from tests.iscsi.initiator import Session, Task
from tests.iscsi.pdu import Pdu
from tests.vm.guest import iscsi, scsi, tree
from tests.vm.guest.fault import Fault
from tests.vm.guest.iscsi import BLOCK

OTHER = bytes.fromhex("400000000002")
BAD_LUN, BAD_OPCODE, BAD_FIELD = (0x5, 0x25, 0), (0x5, 0x20, 0), (0x5, 0x24, 0)
# RFC 7143 11.4.7.2: of an unexpected amount of data, and of a data digest.
AMOUNT, UNEXPECTED, CRC = (0xB, 0x0C, 0x0D), (0xB, 0x0C, 0x0C), (0xB, 0x47, 0x05)
ABORTED = 0xB
SMALL = {"max_xmit": 1024, "max_recv": 1024, "max_burst": 4096, "first_burst": 2048}
DIGESTS = {"header_digest": 1, "data_digest": 1}
NO_UNASKED = {"initial_r2t": 1, "immediate_data": 0}

Make = Callable[..., Session]


def blocks(count: int, seed: int = 0) -> bytes:
    """Random data."""
    return random.Random(seed).randbytes(count * BLOCK)


def write(session: Session, data: bytes, lba: int = 0, **more: Any) -> Task:
    """WRITE(10), to its end."""
    return session.command(scsi.write10(lba, len(data) // BLOCK), write=data, **more)


def read(session: Session, count: int, lba: int = 0, **more: Any) -> Task:
    """READ(10), to its end."""
    return session.command(scsi.read10(lba, count), read=count * BLOCK, **more)


def alive(session: Session) -> None:
    """It goes on, in step."""
    assert session.ping(b"alive").data == b"alive"
    assert not session.rejects, session.trace()
    assert not session.tasks, session.trace()


def hold(commands: str = "all", **more: Any) -> Fault:
    """Commands do not begin until it is ended."""
    return Fault("f").make(action="drop", commands=commands, **more).enable()


def wait_hits(fault: Fault, count: int) -> None:
    tree.wait_for(f"{count} commands held", lambda: fault.hits == count)


def ended(session: Session, reason: str, told: handover.Events) -> None:
    """The target has ended it, for this reason."""
    session.wait_closed()
    iscsi.wait_sessions(0)
    assert [why for kind, _, why in told.read() if kind == EVENT_GONE] == [reason], session.trace()


def asked_write(session: Session, count: int = 8) -> tuple[Task, Pdu]:
    """A write whose first R2T has come and is not answered."""
    session.answers_r2ts = False
    task = session.start(scsi.write10(0, count), write=blocks(count, 10))
    while not task.asked:
        session.pump()
    return task, task.asked.pop(0)


def alive_after(session: Session) -> None:
    """It goes on; data that was too late may have been rejected."""
    while session.ping(b"x").data != b"x":
        pass
    session.rejects.clear()
