# SPDX-License-Identifier: GPL-2.0-or-later
"""Texts of sessions, which whoever has the device open answers (RFC 7143 11.10, 11.11)."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.iscsi import adopter as handover
from tests.iscsi import pdu
from tests.iscsi.adopter import Adopter
from tests.iscsi.initiator import GOOD, Session
from tests.iscsi.pdu import FINAL, NONE, Op, Pdu, Reason
from tests.vm.guest import iscsi, tree
from tests.vm.guest.full_phase import DIGESTS, OTHER, Make, alive, blocks, read, write
from tests.vm.guest.long import more

SCST_MODULES = iscsi.MODULES


def ask(session: Session, text: bytes, ttt: int = NONE, **more: Any) -> Pdu:
    """Send a text."""
    one = session.request(Op.TEXT, data=text, fields={20: ttt}, **more)
    session.send(one)
    return one


def waiting(adopter: Adopter, after: int = 0) -> tuple[handover.Text, bytes]:
    """The text that the kernel has."""
    tree.wait_for("a text", lambda: adopter.text(after) is not None)
    found = adopter.text(after)
    assert found is not None
    return found


@pytest.mark.parametrize("digests", [{}, DIGESTS], ids=["plain", "digests"])
@pytest.mark.parametrize("size", [0, 1, 13, 4096, 5000, 8192])
def test_text(adopter: Adopter, login: Make, size: int, digests: dict[str, int]) -> None:
    """It is somebody's who is told, to the byte; so is the answer. Commands go on meanwhile."""
    session = login(**digests)
    sent, back = random.Random(size).randbytes(size), random.Random(size + 1).randbytes(size)
    with handover.events() as told:
        one = ask(session, sent)
        text, data = waiting(adopter)
        assert handover.EVENT_TEXT in [kind for kind, *_ in told.read()]
    assert data == sent
    assert (text.flags, text.tag, text.transfer_tag, text.max_xmit) == (FINAL, one.itt, NONE, 262144)
    assert read(session, 1).status == GOOD
    adopter.answer(text, back)
    answer = session.wait(one)
    assert (answer.op, answer.flags, answer.ttt, answer.data) == (Op.TEXT_RESPONSE, FINAL, NONE, back)
    assert adopter.text() is None
    alive(session)


def test_text_in_pieces(adopter: Adopter, login: Make) -> None:
    """The bits and the tag are those of who answers, as far as they are an answer at all."""
    session = login()
    one = ask(session, b"SendTar", flags=pdu.CONTINUES)
    text, _ = waiting(adopter)
    assert (text.flags, text.transfer_tag) == (pdu.CONTINUES, NONE)
    wrong: list[dict[str, Any]] = [
        {},  # final, though the request is not
        {"flags": 0},  # without a tag
        {"flags": FINAL | pdu.CONTINUES, "transfer_tag": 5},
        {"flags": 1, "transfer_tag": 5},
        {"flags": 0, "transfer_tag": 5, "max_xmit": 511},
        {"flags": 0, "transfer_tag": 5, "number": 0},
    ]
    for fields in wrong:
        with pytest.raises(OSError, match="Invalid argument"):
            adopter.answer(text, **fields)
    with pytest.raises(OSError, match="too long"):
        adopter.answer(text, bytes(8193), flags=0, transfer_tag=5)
    adopter.answer(text, flags=0, transfer_tag=5)
    answer = session.wait(one)
    assert (answer.flags, answer.ttt, answer.data) == (0, 5, b"")
    with pytest.raises(OSError, match="Stale"):
        adopter.answer(text)
    two = ask(session, b"gets=\0", 5)
    text, data = waiting(adopter, text.number)
    assert (data, text.flags, text.transfer_tag) == (b"gets=\0", FINAL, 5)
    adopter.answer(text, b"TargetName=x\0")
    assert session.wait(two).data == b"TargetName=x\0"
    alive(session)


def test_text_changes_what_the_initiator_takes(adopter: Adopter, login: Make) -> None:
    """From that answer on."""
    session = login(max_xmit=512)
    write(session, blocks(8))
    one = ask(session, b"MaxRecvDataSegmentLength=2048\0")
    text, _ = waiting(adopter)
    with pytest.raises(OSError, match="Invalid argument"):
        adopter.answer(text, bytes(513))
    adopter.answer(text, bytes(600), max_xmit=2048)
    session.terms = replace(session.terms, max_recv=2048)
    assert len(session.wait(one).data) == 600
    task = read(session, 8)
    assert task.data == blocks(8)
    assert [len(one.data) for one in task.came] == [2048, 2048]


def test_one_text_at_a_time(adopter: Adopter, login: Make) -> None:
    """The second is rejected, whole; each session has one."""
    session, other = login(), login(isid=OTHER)
    one, elsewhere = ask(session, b"first"), ask(other, b"other")
    first, _ = waiting(adopter)
    second, _ = waiting(adopter, first.number)
    assert first.tsih != second.tsih
    two = ask(session, b"second")
    assert session.wait_reject(Reason.PROTOCOL).data == two.header()
    adopter.answer(first, b"1")
    adopter.answer(second, b"2")
    assert session.wait(one).data + other.wait(elsewhere).data in (b"12", b"21")
    alive(session)
    alive(other)


@pytest.mark.parametrize("immediate", [False, *more(True)])
def test_text_that_nobody_answers(login: Make, immediate: bool) -> None:
    """Rejected after a while; a window of one is not closed by it, and the session goes on."""
    session = login(queue_depth=1)
    one = ask(session, b"SendTargets=\0", immediate=immediate)
    while not session.rejects:
        assert read(session, 1).status == GOOD
        time.sleep(0.2)
    assert session.wait_reject(Reason.NO_RESOURCES).data == one.header()
    alive(session)


@pytest.mark.parametrize("length", [8193, 65536])
def test_text_that_is_too_long(adopter: Adopter, login: Make, length: int) -> None:
    session = login()
    one = ask(session, bytes(length))
    session.cmd_sn = one.cmd_sn
    session.wait_reject(Reason.PROTOCOL)
    assert adopter.text() is None
    alive(session)


def test_text_is_rejected_by_who_answers(adopter: Adopter, login: Make) -> None:
    session = login()
    one = ask(session, b"what is it")
    text, _ = waiting(adopter)
    with pytest.raises(OSError, match="too long"):
        adopter.text(0, 9)
    adopter.answer(text, reject=Reason.INVALID_FIELD)
    assert session.wait_reject(Reason.INVALID_FIELD).data == one.header()
    alive(session)


@pytest.mark.parametrize("how", ["logout", "close"])
def test_session_ends_with_a_text(adopter: Adopter, login: Make, how: str) -> None:
    """Nothing of it stays, and an answer has come too late."""
    session = login()
    ask(session, b"SendTargets=\0")
    text, _ = waiting(adopter)
    if how == "logout":
        assert session.logout() == 0
    session.close()
    iscsi.wait_sessions(0)
    assert adopter.text() is None
    with pytest.raises(OSError, match="Stale"):
        adopter.answer(text)
