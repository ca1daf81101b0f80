# SPDX-License-Identifier: GPL-2.0-or-later
"""Signs of life, logout, news, and the names of a session (RFC 7143 4.2.7, 11.9, 11.14 to 11.19)."""

from __future__ import annotations

import re
import socket
import struct

import pytest

from tests.iscsi import adopter as handover
from tests.iscsi.adopter import EVENT_GONE, Adopter
from tests.iscsi.initiator import GOOD, Session, Task
from tests.iscsi.pdu import NONE
from tests.vm.guest import iscsi, scsi, tree
from tests.vm.guest.full_phase import OTHER, Make, alive, ended, hold, wait_hits
from tests.vm.guest.iscsi import BLOCK
from tests.vm.guest.tracefs import tracing

SCST_MODULES = iscsi.MODULES

RESERVATION_CONFLICT = 0x18

# --- NOP, logout ---


@pytest.mark.parametrize("immediate", [False, True])
def test_ping(login: Make, immediate: bool) -> None:
    """The data comes back, as much of it as the initiator takes; a number for each answer."""
    session = login(max_xmit=512, max_recv=4096)
    for data in (b"", b"1", b"12345678", b"x" * 512, bytes(range(256)) * 16):
        answer = session.ping(data, immediate)
        assert (answer.data, answer.ttt) == (data[:512], NONE)


def test_ping_with_a_lun(login: Make) -> None:
    session = login()
    one = session.ping_pdu(lun=1)
    session.send(one)
    assert session.wait(one).lun == one.lun


def test_sign_of_life(login: Make) -> None:
    """A NOP-Out that asks for nothing has no answer; its number counts."""
    session = login()
    for immediate in (True, False):
        one = session.ping_pdu(immediate=immediate)
        one.itt = NONE
        session.send(one)
    answer = session.ping()
    assert answer.exp_cmd_sn == session.cmd_sn
    assert not session.nops


def test_target_asks(login: Make) -> None:
    """After a while of silence, with a tag; who answers stays."""
    session = login(nop_interval=1, nop_timeout=5)
    for _ in range(2):
        while not session.nops:
            session.pump()
        one = session.nops.pop()
        assert (one.itt, one.data) == (NONE, b"")
        assert one.ttt != NONE
    alive(session)


def test_silent_initiator(login: Make) -> None:
    """Who does not answer is gone."""
    with handover.events() as told:
        session = login(nop_interval=1, nop_timeout=1)
        session.answers_nops = False
        ended(session, "silent", told)
        assert len(session.nops) == 1


TIMERS = ("timer/timer_start", "timer/timer_expire_entry", "workqueue/workqueue_queue_work")
_TIMER = re.compile(r"\[(\d+)\].*: (\w+): .*?(timer|function)=(\w+).*?(?:flags=(\S*))?$", re.M)


def flags_of_timers(trace: str, function: str) -> list[str]:
    """Of those that have queued this work item: what expired last on the CPU was started with them."""
    started: dict[str, str] = {}
    expired: dict[str, str] = {}
    found = []
    for cpu, name, _, what, flags in _TIMER.findall(trace.replace("work struct=", "work=")):
        if name == "timer_start":
            started[what] = flags
        elif name == "timer_expire_entry":
            expired[cpu] = what
        elif what == function and expired.get(cpu) in started:
            found.append(started[expired[cpu]])
    return found


def test_silence_on_an_idle_cpu(login: Make) -> None:
    """It is noticed there, too: the timer is none of those (D) that wait until the CPU is awake anyway."""
    session = login(nop_interval=1, nop_timeout=600)
    with tracing() as trace:
        for event in TIMERS:
            (trace.folder / "events" / event / "enable").write_text("1")
        while len(session.nops) < 2:
            session.pump()
        for event in TIMERS:
            (trace.folder / "events" / event / "enable").write_text("0")
        flags = flags_of_timers((trace.folder / "trace").read_text(), "iscsi_tick")
    assert flags, "nothing was seen of it"
    assert not any("D" in one.split("|") for one in flags), flags


def test_initiator_that_takes_nothing(login: Make) -> None:
    """The socket is full for too long."""
    with handover.events() as told:
        session = login(send_timeout=1)
        session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # At once: a slow machine may need as long for them one by one as the target waits.
        session.send(*(session.command_pdu(scsi.read10(0, 2048), read=2048 * BLOCK)[1] for _ in range(30)))
        iscsi.wait_sessions(0)
        assert [why for kind, _, why in told.read() if kind == EVENT_GONE] == ["stuck"]


@pytest.mark.parametrize(
    ("reason", "cid", "response"), [(0, 0, 0), (0, 9, 0), (1, 3, 0), (1, 4, 1), (2, 3, 2), (2, 4, 2)]
)
def test_logout(login: Make, reason: int, cid: int, response: int) -> None:
    """Of the session, of this connection, of another, for recovery; what is answered before it is."""
    with handover.events() as told:
        session = login(cid=3)
        task = session.start(scsi.read10(0, 8), read=8 * BLOCK)
        assert session.logout(reason, cid) == response
        assert task.done
        if response:
            alive(session)
        else:
            assert session.wait_closed() == []
            iscsi.wait_sessions(0)
            assert [why for kind, _, why in told.read() if kind == EVENT_GONE] == ["logout"]


def test_logout_with_tasks(login: Make) -> None:
    """What is not over then is aborted."""
    session = login()
    fault = hold("reads")
    task = session.start(scsi.read10(0, 1), read=512)
    wait_hits(fault, 1)
    assert session.logout() == 0
    session.wait_closed()
    iscsi.wait_sessions(0)
    assert not task.done


# --- news ---


def test_luns_change(login: Make, iscsi_target: iscsi.Target) -> None:
    """An asynchronous message tells of it, and a unit attention."""
    session = login()
    device = tree.nullio("more")
    iscsi_target.luns.map(5, device)
    try:
        while not session.asyncs:
            session.pump()
        (one,) = session.asyncs
        assert (one.byte(36), one.itt) == (0, NONE)
        assert one.data[2] & 0x7F == 0x70
        assert (one.data[4] & 0xF, one.data[14], one.data[15]) == (0x6, 0x3F, 0x0E)
        assert iscsi.hear(session) == [(0x6, 0x3F, 0x0E)]
        assert session.command(scsi.test_unit_ready(), lun=5).key[0] in (0, 0x6)
    finally:
        iscsi_target.luns.unmap(5)
        device.enable(False)
        device.remove()


@pytest.mark.parametrize("peaceful", [True, False])
def test_next_session_hears_of_the_loss(adopter: Adopter, login: Make, peaceful: bool) -> None:
    """A nexus that was lost is told of; one that logged out has nothing to be told of but its beginning."""
    session = login()
    if peaceful:
        session.logout()
    session.close()
    iscsi.wait_sessions(0)
    heard = iscsi.hear(adopter.login())
    assert all(key[:2] == (0x6, 0x29) for key in heard), heard
    assert peaceful or heard


def reserve(session: Session, action: int, old: int, new: int, kind: int = 0) -> Task:
    """PERSISTENT RESERVE OUT."""
    cdb = struct.pack(">BBBxxIB", 0x5F, action, kind, 24, 0)
    return session.command(cdb, write=struct.pack(">QQ8x", old, new))


def test_reservation_is_the_ports(adopter: Adopter, login: Make) -> None:
    """Of a name and an ISID: it outlives the connection, and is no other's of the same name."""
    holder, other = login(), login(isid=OTHER)
    assert reserve(holder, 0, 0, 0x77).status == GOOD
    assert reserve(holder, 1, 0x77, 0, kind=3).status == GOOD
    holder.close()
    iscsi.wait_sessions(1)
    assert other.command(scsi.write10(0, 1), write=bytes(512)).status == RESERVATION_CONFLICT
    again = login()
    assert again.command(scsi.write10(0, 1), write=bytes(512)).status == GOOD
    assert reserve(again, 0, 0x77, 0).status == GOOD
    iscsi.hear(other)
    assert other.command(scsi.write10(0, 1), write=bytes(512)).status == GOOD


def test_reserve_ends_with_the_connection(login: Make) -> None:
    """RESERVE(6) does."""
    holder, other = login(), login(isid=OTHER)
    assert holder.command(bytes([0x16, 0, 0, 0, 0, 0])).status == GOOD
    assert other.command(scsi.read10(0, 1), read=512).status == RESERVATION_CONFLICT
    holder.close()
    iscsi.wait_sessions(1)
    iscsi.hear(other)
    assert other.command(scsi.read10(0, 1), read=512).status == GOOD


def test_names(login: Make) -> None:
    """Of the two ports, in SCSI's words: name and portal group, name and ISID."""
    session = login()
    page = session.command(scsi.inquiry(1024, 0x83), read=1024).data
    assert f"{iscsi.NAME},t,0x0001".encode() in page
    registered = bytes(8) + (0x77).to_bytes(8, "big") + bytes(8)
    cdb = struct.pack(">BBBxxIB", 0x5F, 0x00, 0, 24, 0)
    assert session.command(cdb, write=registered).status == GOOD, session.trace()
    full = session.command(struct.pack(">BB5xHB", 0x5E, 3, 1024, 0), read=1024).data
    name = b"iqn.2026-11.test:initiator,i,0x400000000001"
    assert name in bytes(full), full.hex()
    clear = (0x77).to_bytes(8, "big") + bytes(16)
    assert session.command(cdb, write=clear).status == GOOD
