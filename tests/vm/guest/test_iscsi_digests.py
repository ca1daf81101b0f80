# SPDX-License-Identifier: GPL-2.0-or-later
"""Digests that are wrong, of each kind of PDU that an initiator sends (RFC 7143 7.8, 7.3, 11.17.1).

At error recovery level 0. A header that is damaged ends the session: nothing in it can be believed, not even
where the next one is. A PDU whose data is damaged is rejected, and then it is as if it had not come: a
request may be sent anew under its number. A command whose data is damaged ends with a status that says so.
In no case anything of what is damaged is done. What is damaged on its way to an initiator is the initiator's
to notice: test_iscsi_faults.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.iscsi import adopter as handover
from tests.iscsi import pdu
from tests.iscsi.adopter import EVENT_GONE, Adopter
from tests.iscsi.initiator import GOOD, Session
from tests.iscsi.pdu import BHS, DIGEST, FINAL, NONE, Op, Pdu, Reason, Tmf
from tests.vm.guest import iscsi, scsi, tree
from tests.vm.guest.full_phase import (
    CRC,
    DIGESTS,
    NO_UNASKED,
    OTHER,
    SMALL,
    Make,
    alive,
    asked_write,
    blocks,
    read,
    write,
)

SCST_MODULES = iscsi.MODULES

BLOCKS = 8
TEXT = pdu.join({"SendTargets": ""})


@dataclass(frozen=True, slots=True)
class Kind:
    """Of PDU; *make* builds one that is right, and sends what has to come before it."""

    make: Callable[[Session], Pdu]
    asked: bool = False  # it follows an R2T


def command(session: Session, immediate: bool = False) -> Pdu:
    """A write with all its data."""
    task, one = session.command_pdu(scsi.write10(0, 2), write=blocks(2, 21), immediate=immediate)
    session.tasks[task.itt] = task
    return one


def urgent(session: Session) -> Pdu:
    """The same, without a turn."""
    return command(session, immediate=True)


def unasked(session: Session) -> Pdu:
    """Data that follows a write."""
    task, one = session.command_pdu(scsi.write10(0, 4), write=blocks(4, 22))
    session.begin(task, one)
    return session.unsolicited(task, one)[0]


def asked(session: Session) -> Pdu:
    """Data that the target has asked for."""
    task, one = asked_write(session, 2)
    return session.data_out(task, one.offset, one.desired, one.ttt)[0]


def text(session: Session) -> Pdu:
    """A question to the daemon."""
    one = session.request(Op.TEXT, data=TEXT)
    one.fields[20] = NONE
    return one


def answer(session: Session) -> Pdu:
    """To a NOP-In that has not come."""
    return session.pong(Pdu(op=Op.NOP_IN, fields={20: 0x1234}))


KINDS = {
    "NOP-Out": Kind(lambda session: session.ping_pdu(b"12345")),
    "immediate NOP-Out": Kind(lambda session: session.ping_pdu(b"12345", immediate=True)),
    "answer": Kind(answer),
    "command": Kind(command),
    "immediate command": Kind(urgent),
    "task management": Kind(lambda session: session.tmf_pdu(Tmf.LUN_RESET)),
    "text": Kind(text),
    "unsolicited data": Kind(unasked),
    "solicited data": Kind(asked, asked=True),
    "logout": Kind(lambda session: session.request(Op.LOGOUT)),
    "SNACK": Kind(lambda session: Pdu(op=Op.SNACK, flags=FINAL, itt=1, fields={20: NONE})),
}
REQUESTS = ("NOP-Out", "immediate NOP-Out", "text")


def terms(kind: Kind) -> dict[str, int]:
    """Both digests, and small PDUs."""
    return {**SMALL, **DIGESTS, **(NO_UNASKED if kind.asked else {})}


def untouched(adopter: Adopter, other: Session, before: bytes) -> None:
    """Nothing has been done, as somebody else sees it: no data, no reset, no text is with the daemon."""
    assert other.command(scsi.test_unit_ready()).status == GOOD
    assert read(other, BLOCKS).data == before
    assert adopter.text() is None
    alive(other)


@pytest.mark.parametrize("name", KINDS)
def test_header(adopter: Adopter, login: Make, name: str) -> None:
    """The session is over, and nothing has been done."""
    other = login(isid=OTHER)
    before = bytes(read(other, BLOCKS).data)
    with handover.events() as told:
        session = login(**terms(KINDS[name]))
        one = KINDS[name].make(session)
        wire = bytearray(session.encode(one))
        # A bit that makes another header of it; where the PDU ends stays as it is.
        wire[BHS - 12] ^= 0x01
        session.sock.sendall(bytes(wire))
        session.wait_closed()
        iscsi.wait_sessions(1)
        assert [why for kind, _, why in told.read() if kind == EVENT_GONE] == ["digest"], session.trace()
    untouched(adopter, other, before)


@pytest.mark.parametrize("bit", [0, 7, 8, 8 * DIGEST - 1])
def test_header_digest_itself(login: Make, bit: int) -> None:
    """Of its bits each counts."""
    with handover.events() as told:
        session = login(**DIGESTS)
        wire = bytearray(session.encode(session.ping_pdu()))
        wire[BHS + bit // 8] ^= 1 << bit % 8
        session.sock.sendall(bytes(wire))
        session.wait_closed()
        iscsi.wait_sessions(0)
        assert [why for kind, _, why in told.read() if kind == EVENT_GONE] == ["digest"]


def damaged(session: Session, one: Pdu, at: int = 0) -> bytes:
    """As it goes over the wire, with a bit of its data, padding or data digest the other way round."""
    wire = bytearray(session.encode(one))
    wire[BHS + DIGEST + at] ^= 0x80
    return bytes(wire)


@pytest.mark.parametrize("name", REQUESTS)
def test_data_of_a_request(adopter: Adopter, login: Make, name: str) -> None:
    """Rejected, wherever the damage is; then it is sent as it should have been, and is what is expected."""
    session = login(**DIGESTS)
    one = KINDS[name].make(session)
    length = len(session.encode(one)) - BHS - DIGEST
    for at in (0, len(one.data) - 1, len(one.data), length - 1):
        session.sock.sendall(damaged(session, one, at))
        assert session.wait_reject(Reason.DATA_DIGEST).data == one.header()
        assert adopter.text() is None
    (folder,) = iscsi.sessions()
    assert iscsi.value(folder, "data_digest_errors") == "4"
    session.send(one)
    if one.op == Op.TEXT:
        tree.wait_for("the text", lambda: adopter.text() is not None)
        found = adopter.text()
        assert found is not None
        assert found[1] == TEXT
        adopter.answer(found[0], b"TargetName=x\0")
        assert session.wait(one).data == b"TargetName=x\0"
    else:
        assert session.wait(one).data == one.data
    alive(session)


def test_data_of_a_request_before_its_turn(login: Make) -> None:
    """It waits for no one: what had to come before it does not bring it back, and then it comes itself."""
    session = login(**DIGESTS)
    first, second = session.ping_pdu(b"first"), session.ping_pdu(b"second")
    session.sock.sendall(damaged(session, second))
    assert session.wait_reject(Reason.DATA_DIGEST).data == second.header()
    session.send(first)
    assert session.wait(first).data == b"first"
    assert session.exp_cmd_sn == second.cmd_sn
    session.send(second)
    assert session.wait(second).data == b"second"
    alive(session)


def test_command_that_is_sent_again(login: Make) -> None:
    """By who takes a rejected command for one that has not come (7.3). The target does not: it has ended,
    with a status that says so, and what comes with its number is passed over.
    """
    session = login(**DIGESTS)
    before = bytes(read(session, 2).data)
    one = command(session)
    (task,) = session.tasks.values()
    session.sock.sendall(damaged(session, one))
    assert session.wait_reject(Reason.DATA_DIGEST).exp_cmd_sn == session.cmd_sn
    session.send(one)
    assert session.finish(task).key == CRC
    alive(session)
    assert read(session, 2).data == before
    assert write(session, blocks(2, 21)).status == GOOD


@pytest.mark.parametrize("name", ["command", "immediate command", "unsolicited data", "solicited data"])
def test_data_of_a_command(adopter: Adopter, login: Make, name: str) -> None:
    """Rejected; the command ends with the status that says so, and can be repeated."""
    other = login(isid=OTHER)
    before = bytes(read(other, BLOCKS).data)
    session = login(**terms(KINDS[name]))
    first = KINDS[name].make(session)
    (task,) = session.tasks.values()
    session.sock.sendall(damaged(session, first))
    assert session.wait_reject(Reason.DATA_DIGEST).data == first.header()
    assert session.finish(task).key == CRC
    untouched(adopter, other, before)
    session.answers_r2ts = True
    assert write(session, blocks(2, 21)).status == GOOD
    assert read(session, 2).data == blocks(2, 21)
    assert write(session, before).status == GOOD
    alive(session)
