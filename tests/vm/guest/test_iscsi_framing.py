# SPDX-License-Identifier: GPL-2.0-or-later
"""How a stream of bytes is cut into PDUs, and what is none (RFC 7143 11.1, 11.2, 11.3, 13.1)."""

from __future__ import annotations

import socket
import struct

import pytest

from tests.iscsi import adopter as handover
from tests.iscsi import pdu
from tests.iscsi.adopter import Adopter
from tests.iscsi.initiator import CHECK_CONDITION, GOOD, Session, Task
from tests.iscsi.pdu import FINAL, NONE, Answered, Op, Pdu, Reason, Tmf
from tests.vm.guest import iscsi, scsi
from tests.vm.guest.full_phase import (
    BAD_LUN,
    BAD_OPCODE,
    CRC,
    DIGESTS,
    NO_UNASKED,
    OTHER,
    SMALL,
    Make,
    alive,
    alive_after,
    blocks,
    ended,
    hold,
    read,
    wait_hits,
    write,
)
from tests.vm.guest.iscsi import BLOCK
from tests.vm.guest.long import more, often

SCST_MODULES = iscsi.MODULES

# --- bytes in any portions ---


def portions(session: Session, digests: bool) -> tuple[bytes, list[Task], Pdu]:
    """Of each kind: a long CDB, immediate data, data unasked for, a ping whose data is padded."""
    data = blocks(3, 5)
    first, one = session.command_pdu(scsi.write10(0, 3), write=data, immediate_data=512, unsolicited=True)
    outs = session.unsolicited(first, one)
    second, two = session.command_pdu(bytes([0x7F]) + bytes(31))
    ping = session.ping_pdu(b"12345")
    for task in (first, second):
        session.tasks[task.itt] = task
    return session.encode(one, *outs, two, ping), [first, second], ping


@pytest.mark.parametrize("digests", [{}, DIGESTS], ids=["plain", "digests"])
def test_cut_anywhere(login: Make, digests: dict[str, int]) -> None:
    """In two at each byte; and byte by byte."""
    session = login(**SMALL, **digests)
    length = len(portions(login(isid=OTHER, **SMALL, **digests), bool(digests))[0])
    step = often(23, 1)
    for cut in [*range(1, length, step), None]:
        wire, tasks, ping = portions(session, bool(digests))
        pieces = [wire[:cut], wire[cut:]] if cut else [bytes([byte]) for byte in wire]
        for piece in pieces:
            session.sock.sendall(piece)
        assert session.wait(ping).data == b"12345", session.trace()
        for task in tasks:
            session.finish(task)
        assert tasks[0].status == GOOD
        assert tasks[1].key[0] == 0x5
    assert read(session, 3).data == blocks(3, 5)


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_connection_ends_anywhere(adopter: Adopter, login: Make, how: str) -> None:
    """At each byte: all that was begun is given back."""
    wire = portions(login(isid=OTHER, **SMALL), False)[0]
    for cut in range(0, len(wire), often(149, 1)):
        session = login(**SMALL)
        wire = portions(session, False)[0]
        session.sock.sendall(wire[:cut])
        if how == "reset":
            session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        session.close()
        iscsi.wait_sessions(1)


def test_end_with_data_owed(login: Make) -> None:
    """R2Ts that are not answered, answers that are not read, commands that are held."""
    session = login(**SMALL, **NO_UNASKED)
    session.answers_r2ts = False
    fault = hold("reads")
    tasks = [session.start(scsi.write10(0, 16), write=blocks(16)) for _ in range(4)]
    session.start(scsi.read10(0, 1), read=512)
    wait_hits(fault, 1)
    while not all(task.asked for task in tasks):
        session.pump()
    session.close()
    iscsi.wait_sessions(0)


# --- PDUs that are none ---


@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("op", [0x07, 0x1F, *more(0x0F, 0x11, 0x1B)], ids=hex)
def test_unknown_opcode(login: Make, op: int, immediate: bool) -> None:
    """Rejected with its header; its number has not come."""
    session = login()
    one = session.request(op, immediate, data=b"what is it")
    session.send(one)
    session.cmd_sn = one.cmd_sn
    reject = session.wait_reject(Reason.NOT_SUPPORTED)
    assert reject.data == one.header()
    alive(session)


@pytest.mark.parametrize("op", [0x20, Op.LOGIN, *more(0x21, 0x25, 0x31, 0x3F)], ids=hex)
def test_opcode_of_the_other_side(login: Make, op: int) -> None:
    """It is the end; so is a login after the login."""
    with handover.events() as told:
        session = login()
        session.send(session.request(op, op == Op.LOGIN))
        ended(session, "protocol", told)


@pytest.mark.parametrize("kind", range(3))
def test_snack(login: Make, kind: int) -> None:
    session = login()
    one = Pdu(op=Op.SNACK, flags=FINAL | kind, itt=1, fields={20: 1, 28: session.exp_stat_sn or 0})
    session.send(one)
    assert session.wait_reject(Reason.SNACK).data == one.header()
    alive(session)


@pytest.mark.parametrize(
    "op", [Op.NOP_OUT, Op.COMMAND, Op.DATA_OUT, *more(Op.TMF, Op.LOGOUT, 0x0F)], ids=lambda op: hex(op)
)
@pytest.mark.parametrize("length", [1025, 0xFFFFFF])
def test_too_much_data(login: Make, op: int, length: int) -> None:
    """More than was agreed to: the end, before any of it is there."""
    with handover.events() as told:
        session = login(**SMALL)
        session.send(session.request(op, data_length=length))
        ended(session, "protocol", told)


def test_as_much_data_as_may_be(login: Make) -> None:
    session = login(**SMALL)
    assert session.ping(b"x" * 1024).data == b"x" * 1024


@pytest.mark.parametrize(
    "ahs", [b"\0\0\1\0", b"\0\6\1\0\0\0\0\0", b"\xff\xff\1\0", b"\0\1\1\0\0\0\0\0"], ids=bytes.hex
)
def test_additional_headers_that_do_not_fit(login: Make, ahs: bytes) -> None:
    """They end before or behind what there is: the end."""
    with handover.events() as told:
        session = login()
        _, one = session.command_pdu(scsi.test_unit_ready())
        one.ahs = ahs
        session.send(one)
        ended(session, "protocol", told)


def test_additional_header_of_unknown_kind(login: Make) -> None:
    session = login()
    task, one = session.command_pdu(scsi.test_unit_ready())
    one.ahs = struct.pack(">HBx", 5, 0x3F) + bytes(4)
    session.send(one)
    session.cmd_sn = one.cmd_sn
    reject = session.wait_reject(Reason.INVALID_FIELD)
    assert reject.data == one.header() + one.ahs, "the whole header (11.17)"
    assert not task.done
    alive(session)


@pytest.mark.parametrize("length", [17, 32, 33, 260])
def test_long_cdb(login: Make, length: int) -> None:
    """No command of ours is so long: an answer of SCSI's, not of iSCSI's."""
    session = login()
    task = session.command(bytes([0x7F, *bytes(6), 24, 0xFF, 0xFF]).ljust(length, b"\0"))
    assert (task.status, task.key[0]) == (CHECK_CONDITION, 0x5)
    assert session.command(bytes([0xFE]).ljust(length, b"\0")).key == BAD_OPCODE
    alive(session)


def test_padding_is_anything(login: Make) -> None:
    """And what is reserved is ignored."""
    session = login()
    one = session.ping_pdu(b"12345")
    one.pad = b"\xff\xff\xff"
    one.byte2, one.byte3 = 0xFF, 0xFF
    one.fields |= {32: 0xFFFFFFFF, 44: 0xFFFFFFFF}
    session.send(one)
    assert session.wait(one).data == b"12345"


@pytest.mark.parametrize("attr", range(8))
def test_task_attributes(login: Make, attr: int) -> None:
    """0 to 4 are some; ACA without an ACA condition is an error of SCSI's."""
    session = login()
    task, one = session.command_pdu(scsi.test_unit_ready(), attr=attr)
    session.begin(task, one)
    if attr > pdu.ACA:
        session.cmd_sn = one.cmd_sn
        assert session.wait_reject(Reason.INVALID_FIELD).data == one.header()
        del session.tasks[task.itt]
    else:
        assert session.finish(task).status == (CHECK_CONDITION if attr == pdu.ACA else GOOD)
    alive(session)


def test_tag_that_is_in_use(login: Make) -> None:
    """A second command of that tag is rejected, and the first goes on."""
    session = login()
    fault = hold("reads")
    task = session.start(scsi.read10(0, 1), read=512)
    wait_hits(fault, 1)
    _, one = session.command_pdu(scsi.test_unit_ready())
    one.itt = task.itt
    session.send(one)
    session.cmd_sn = one.cmd_sn
    session.wait_reject(Reason.TASK_IN_PROGRESS)
    fault.enable(False)
    assert session.finish(task).status == GOOD
    alive(session)


def test_tag_that_is_none(login: Make) -> None:
    session = login()
    _, one = session.command_pdu(scsi.test_unit_ready())
    one.itt = NONE
    session.send(one)
    session.cmd_sn = one.cmd_sn
    session.wait_reject(Reason.INVALID_FIELD)
    alive(session)


@pytest.mark.parametrize(
    "lun", ["0002000000000000", "4002000000000000", "ffffffffffffffff", "c101000000000000"]
)
def test_lun_that_is_not_there(login: Make, lun: str) -> None:
    session = login()
    task, one = session.command_pdu(scsi.test_unit_ready())
    one.lun = bytes.fromhex(lun)
    session.begin(task, one)
    assert session.finish(task).key == BAD_LUN


def test_two_directions(login: Make) -> None:
    """None of our commands has them; what comes with it is taken away."""
    session = login(**SMALL)
    task, one = session.command_pdu(scsi.write10(0, 4), write=blocks(4, 13))
    one.flags |= pdu.READ
    one.ahs = pdu.bidi_length(512)
    session.answers_r2ts = False
    session.begin(task, one, *session.unsolicited(task, one))
    assert session.finish(task).key == BAD_OPCODE
    alive(session)


# --- digests ---


def test_each_byte_of_a_header(login: Make) -> None:
    """Any bit that is wrong is the end; it is counted."""
    for byte in range(0, 52, often(13, 1)):
        with handover.events() as told:
            session = login(**DIGESTS)
            wire = bytearray(session.encode(session.ping_pdu()))
            wire[byte] ^= 1 << byte % 8
            session.sock.sendall(bytes(wire))
            ended(session, "digest", told)


@pytest.mark.parametrize("where", ["immediate", "unsolicited", "solicited"])
def test_data_that_is_damaged(login: Make, where: str) -> None:
    """It is rejected, its command fails, nothing of it is on the medium; and it goes on."""
    session = login(**SMALL, **DIGESTS)
    write(session, bytes(16 * BLOCK))
    session.answers_r2ts = False
    task, one = session.command_pdu(scsi.write10(0, 16), write=blocks(16, 14))
    outs = session.unsolicited(task, one)
    damaged = {"immediate": one, "unsolicited": outs[0]}.get(where)
    if damaged:
        damaged.data_digest = b"\0\1\2\3"
    session.begin(task, one, *outs)
    if not damaged:
        while not task.asked:
            session.pump()
        asked = task.asked.pop(0)
        outs = session.data_out(task, asked.offset, asked.desired, asked.ttt)
        outs[1].data_digest = b"\0\1\2\3"
        damaged = outs[1]
        session.send(*outs)
    while not task.done:
        session.pump()
        session.answer_r2ts(task)
    assert session.wait_reject(Reason.DATA_DIGEST).data == damaged.header(), session.trace()
    (folder,) = iscsi.sessions()
    assert iscsi.value(folder, "data_digest_errors") == "1"
    assert task.status == CHECK_CONDITION
    alive_after(session)
    session.answers_r2ts = True
    assert read(session, 16).data == bytes(16 * BLOCK)
    assert task.key == CRC, f"{task.key}: RFC 7143 11.4.7.2"


def test_request_that_is_damaged(login: Make) -> None:
    """Rejected; its number has not come."""
    session = login(**DIGESTS)
    one = session.ping_pdu(b"12345")
    one.data_digest = bytes(4)
    session.send(one)
    assert session.wait_reject(Reason.DATA_DIGEST).data == one.header()
    session.cmd_sn = one.cmd_sn
    alive(session)


@pytest.mark.parametrize("terms", [{"header_digest": 1}, {"data_digest": 1}], ids=str)
def test_one_digest(login: Make, terms: dict[str, int]) -> None:
    """Each by itself, in all PDUs."""
    session = login(**SMALL, **terms)
    assert write(session, blocks(16, 15)).status == GOOD
    assert read(session, 16).data == blocks(16, 15)
    assert session.command(bytes([0xFE, *bytes(5)])).key == BAD_OPCODE
    assert session.ping(b"123").data == b"123"
    assert session.manage(Tmf.LUN_RESET, lun=1) == Answered.COMPLETE
    session.send(Pdu(op=Op.SNACK, itt=1))
    session.wait_reject(Reason.SNACK)
    assert session.logout() == 0
    session.wait_closed()
