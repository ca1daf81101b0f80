# SPDX-License-Identifier: GPL-2.0-or-later
"""iSCSI's full-feature phase PDU by PDU: numbers, data in every way it can come, and what is not allowed.

Connections are handed over by the test itself. What may be relied on is checked in each PDU that comes
(tests/iscsi/initiator.py); here is what it takes to see it.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.iscsi import adopter as handover
from tests.iscsi import pdu
from tests.iscsi.adopter import EVENT_GONE, Adopter
from tests.iscsi.initiator import CHECK_CONDITION, GOOD, Session, Task, sequences
from tests.iscsi.pdu import FINAL, NONE, Answered, Op, Pdu, Reason, Tmf
from tests.vm.guest import iscsi, scsi, tree
from tests.vm.guest.fault import Fault
from tests.vm.guest.iscsi import BLOCK
from tests.vm.guest.long import more, often
from tests.vm.guest.script import TASK_ABORTED

SCST_MODULES = iscsi.MODULES

OTHER = bytes.fromhex("400000000002")
BAD_LUN, BAD_OPCODE, BAD_FIELD = (0x5, 0x25, 0), (0x5, 0x20, 0), (0x5, 0x24, 0)
# RFC 7143 11.4.7.2: of an unexpected amount of data, and of a data digest.
AMOUNT, UNEXPECTED, CRC = (0xB, 0x0C, 0x0D), (0xB, 0x0C, 0x0C), (0xB, 0x47, 0x05)
ABORTED = 0xB
BUSY, TASK_SET_FULL = 0x08, 0x28
SMALL = {"max_xmit": 1024, "max_recv": 1024, "max_burst": 4096, "first_burst": 2048}
DIGESTS = {"header_digest": 1, "data_digest": 1}
NO_UNASKED = {"initial_r2t": 1, "immediate_data": 0}

Make = Callable[..., Session]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, file_tree: None) -> Iterator[iscsi.Target]:
    """One for all."""
    with iscsi.served(tmp_path_factory.mktemp("iscsi")) as made:
        yield made


@pytest.fixture
def adopter(target: iscsi.Target) -> Iterator[Adopter]:
    """Its sessions go with the test, and no fault stays."""
    with iscsi.adopter(target.name) as made:
        try:
            yield made
        finally:
            for folder in sorted((tree.ROOT / "faults").iterdir()):
                folder.rmdir()


@pytest.fixture
def login(adopter: Adopter) -> Make:
    """A session that has heard of all it has to hear of; arguments: the terms."""

    def make(**terms: Any) -> Session:
        session = adopter.login(**terms)
        for lun in (0, 1):
            iscsi.hear(session, lun)
        return session

    return make


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


# --- data, in every way it can come ---

SIZES = (1, 3, 4, 9, 40)


@pytest.mark.parametrize("digests", [{}, DIGESTS], ids=["plain", "digests"])
@pytest.mark.parametrize("initial_r2t", [0, 1], ids=["unasked", "asked"])
@pytest.mark.parametrize("immediate_data", [0, 1], ids=["apart", "immediate"])
def test_data_out(login: Make, digests: dict[str, int], initial_r2t: int, immediate_data: int) -> None:
    """Less than, exactly and more than a PDU, the first burst, a burst; the target asks for just the rest."""
    session = login(**SMALL, **digests, initial_r2t=initial_r2t, immediate_data=immediate_data)
    for count in SIZES:
        data = blocks(count, count)
        task = write(session, data)
        assert (task.status, task.flags) == (GOOD, 0), session.trace()
        unasked = min(len(data), 2048 if not initial_r2t else 1024 if immediate_data else 0)
        asked = [one for one in task.came if one.op == Op.R2T]
        assert sum(one.desired for one in asked) == len(data) - unasked
        assert [one.desired for one in asked] == [
            min(4096, len(data) - at) for at in range(unasked, len(data), 4096)
        ]
        assert read(session, count).data == data
    alive(session)


@pytest.mark.parametrize("outstanding", [1, 3, 8])
def test_outstanding_r2ts(login: Make, outstanding: int) -> None:
    """As many at once as may be; the next when one is fulfilled."""
    session = login(**SMALL, **NO_UNASKED, max_outstanding_r2t=outstanding)
    session.answers_r2ts = False
    data = blocks(80, 1)
    task = session.start(scsi.write10(0, 80), write=data)
    asked = len(data) // 4096
    for number in range(asked):
        want = min(outstanding, asked - number)
        while len(task.asked) < want:
            session.pump()
        assert session.ping().op == Op.NOP_IN
        assert len(task.asked) == want, "more than that, or an R2T too early"
        one = task.asked.pop(0)
        session.send(*session.data_out(task, one.offset, one.desired, one.ttt))
    session.finish(task)
    assert task.status == GOOD
    assert read(session, 80).data == data


def test_data_of_several_commands(login: Make) -> None:
    """Mixed: each PDU finds its command."""
    session = login(**SMALL, **NO_UNASKED)
    session.answers_r2ts = False
    tasks = [session.start(scsi.write10(16 * n, 16), write=blocks(16, n)) for n in range(6)]
    while any(len(task.asked) < 2 for task in tasks):
        session.pump()
    runs = [
        [out for one in task.asked for out in session.data_out(task, one.offset, one.desired, one.ttt)]
        for task in tasks
    ]
    chance = random.Random(7)
    while any(runs):
        session.send(chance.choice([run for run in runs if run]).pop(0))
    for number, task in enumerate(tasks):
        task.asked.clear()
        assert session.finish(task).status == GOOD
        assert read(session, 16, 16 * number).data == blocks(16, number)


@pytest.mark.parametrize("digests", [{}, DIGESTS], ids=["plain", "digests"])
@pytest.mark.parametrize("length", [512, 8192, *more(516, 1000, 65536, 0xFFFFFF)])
def test_data_in_is_cut(login: Make, length: int, digests: dict[str, int]) -> None:
    """By what the initiator takes in a PDU, and into bursts; iPXE takes 8192."""
    session = login(max_xmit=length, max_burst=16384, first_burst=16384, **digests)
    data = blocks(80, 2)
    write(session, data)
    for count in (1, 16, 17, 33, 80):
        task = read(session, count)
        assert task.data == data[: count * BLOCK], session.trace()
        runs = [sum(len(one.data) for one in run) for run in sequences(task.came)]
        assert runs == [min(16384, count * BLOCK - at) for at in range(0, count * BLOCK, 16384)]
        assert max(len(one.data) for one in task.came if one.op == Op.DATA_IN) <= length


def test_status_goes_with_the_data(login: Make) -> None:
    """One PDU, if it is GOOD; a response of its own otherwise, with sense."""
    session = login()
    assert read(session, 1).kinds == [Op.DATA_IN]
    task = read(session, 1, lba=iscsi.SIZE // BLOCK)
    assert (task.kinds, task.status, task.key) == ([Op.RESPONSE], CHECK_CONDITION, (0x5, 0x21, 0))


@pytest.mark.parametrize("long", [False, True])
def test_large(login: Make, long: bool) -> None:
    """A megabyte each way, sent by reference, with and without digests."""
    session = login(data_digest=int(long))
    data = blocks(256 if long else 2048, 3)
    assert write(session, data).status == GOOD
    assert read(session, len(data) // BLOCK).data == data


def test_slow_reader(login: Make) -> None:
    """More than a socket holds, of several commands at once, before anything is read."""
    session = login()
    data = blocks(2048, 4)
    write(session, data)
    tasks = [session.start(scsi.read10(0, 2048), read=len(data)) for _ in range(16)]
    for task in tasks:
        assert session.finish(task).data == data


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
    step = often(7, 1)
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
    for cut in range(0, len(wire), often(61, 1)):
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


# --- numbers ---


def test_numbers_wrap(login: Make) -> None:
    """CmdSN and StatSN go from the last one to 0."""
    session = login(stat_sn=0xFFFFFFFA, exp_cmd_sn=0xFFFFFFFA)
    for number in range(20):
        assert write(session, blocks(1, number)).status == GOOD
        alive(session)
    assert session.cmd_sn < 100
    assert session.exp_stat_sn is not None
    assert session.exp_stat_sn < 100


def test_order_is_by_number(login: Make) -> None:
    """What comes early waits; then all is done in order."""
    session = login(**SMALL)
    made = []
    for number in range(8):
        task, one = session.command_pdu(scsi.write10(0, 1), write=blocks(1, number), attr=pdu.ORDERED)
        session.tasks[task.itt] = task
        made.append((task, one))
    for _, one in made[:0:-1]:
        session.send(one)
    assert session.ping_immediate().exp_cmd_sn == made[0][1].cmd_sn
    assert not any(task.done for task, _ in made)
    session.send(made[0][1])
    for task, _ in made:
        assert session.finish(task).status == GOOD
    assert read(session, 1).data == blocks(1, 7)


@pytest.mark.parametrize("away", [-1, -1000, 32, 33, 1 << 30, -(1 << 31) + 32], ids=str)
def test_outside_of_the_window(login: Make, away: int) -> None:
    """It does not exist: no answer, nothing done, its data is passed over."""
    session = login()
    before = read(session, 1).data
    task, one = session.command_pdu(scsi.write10(0, 1), write=blocks(1, 99))
    session.cmd_sn = one.cmd_sn
    one.fields[24] = (one.cmd_sn + away) % (1 << 32)
    session.send(one)
    alive(session)
    assert read(session, 1).data == before
    assert not task.done


@pytest.mark.parametrize("depth", [1, 4])
def test_window_closes(login: Make, depth: int) -> None:
    """It is as wide as commands may be in flight, and opens again."""
    session = login(queue_depth=depth)
    fault = hold()
    tasks = [session.start(scsi.test_unit_ready()) for _ in range(depth)]
    wait_hits(fault, depth)
    answer = session.ping_immediate()
    assert (answer.max_cmd_sn - answer.exp_cmd_sn) % (1 << 32) == 0xFFFFFFFF, session.trace()
    beyond, one = session.command_pdu(scsi.test_unit_ready())
    session.send(one)
    session.cmd_sn = one.cmd_sn
    session.ping_immediate()
    fault.enable(False)
    for task in tasks:
        assert session.finish(task).status == GOOD
    answer = session.ping_immediate()
    assert (answer.max_cmd_sn - answer.exp_cmd_sn) % (1 << 32) == depth - 1
    assert not beyond.done
    alive(session)


def test_gap_that_nobody_fills(login: Make) -> None:
    """At error recovery level 0 it is the end, after a while."""
    with handover.events() as told:
        session = login(nop_interval=600, nop_timeout=1)
        session.cmd_sn += 1
        session.start(scsi.test_unit_ready())
        ended(session, "protocol", told)


def test_window_is_never_less(login: Make) -> None:
    """Whatever is in flight: the session looks at each PDU. Commands of several kinds, all the window."""
    session = login(queue_depth=16, **SMALL)
    chance = random.Random(8)
    tasks: list[Task] = []
    for number in range(often(200, 5000)):
        while (session.cmd_sn - session.max_cmd_sn - 1) % (1 << 32) < 1 << 31:
            session.pump()
        lba = chance.randrange(64)
        if chance.random() < 0.5:
            tasks.append(session.start(scsi.write10(lba, 4), write=blocks(4, number)))
        else:
            tasks.append(session.start(scsi.read10(lba, 4), read=4 * BLOCK))
    for task in tasks:
        assert session.finish(task).status == GOOD
    alive(session)


# --- data that breaks the rules ---


def asked_write(session: Session, count: int = 8) -> tuple[Task, Pdu]:
    """A write whose first R2T has come and is not answered."""
    session.answers_r2ts = False
    task = session.start(scsi.write10(0, count), write=blocks(count, 10))
    while not task.asked:
        session.pump()
    return task, task.asked.pop(0)


def other_field(place: int, add: int) -> Callable[[list[Pdu]], None]:
    def change(outs: list[Pdu]) -> None:
        outs[1].fields[place] += add

    return change


def not_final(outs: list[Pdu]) -> None:
    outs[-1].flags = 0


def final_early(outs: list[Pdu]) -> None:
    outs[1].flags = FINAL
    del outs[2:]


def more_data(outs: list[Pdu]) -> None:
    outs[-1].data += bytes(4)


def swapped(outs: list[Pdu]) -> None:
    outs[1], outs[2] = outs[2], outs[1]


def twice(outs: list[Pdu]) -> None:
    outs.insert(1, outs[0])


BROKEN: dict[str, tuple[Callable[[list[Pdu]], None], set[tuple[int, int, int]] | None]] = {
    "data_sn": (other_field(36, 1), None),
    "data_sn_back": (other_field(36, -1), None),
    "offset": (other_field(40, 4), None),
    "offset_far": (other_field(40, 0x7FFFFFFF), None),
    "not_final": (not_final, {AMOUNT}),
    "final_early": (final_early, {AMOUNT}),
    "more": (more_data, {AMOUNT}),
    "swapped": (swapped, None),
    "twice": (twice, None),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_data(login: Make, what: str) -> None:
    """The command ends with an error and nothing of it on the medium, or the connection ends."""
    change, keys = BROKEN[what]
    session = login(**SMALL, **NO_UNASKED)
    write(session, bytes(8 * BLOCK))
    task, one = asked_write(session)
    outs = session.data_out(task, one.offset, one.desired, one.ttt, step=768)
    change(outs)
    session.send(*outs)
    session.send(session.ping_pdu())
    while not task.done:
        session.pump()
    assert task.status == CHECK_CONDITION, session.trace()
    assert task.key[0] == ABORTED, session.trace()
    alive_after(session)
    session.answers_r2ts = True
    assert read(session, 8).data == bytes(8 * BLOCK)
    assert keys is None or task.key in keys, f"{task.key}: RFC 7143 11.4.7.2 wants {keys}"


def alive_after(session: Session) -> None:
    """It goes on; data that was too late may have been rejected."""
    while session.ping(b"x").data != b"x":
        pass
    session.rejects.clear()


UNASKED: dict[str, dict[str, Any]] = {
    "immediate though not agreed to": {"immediate_data": 0},
    "unsolicited though not agreed to": {"initial_r2t": 1},
    "immediate more than the first burst": {"first_burst": 512, "initial_r2t": 1},
}


@pytest.mark.parametrize("what", UNASKED)
def test_data_that_was_not_agreed_to(login: Make, what: str) -> None:
    """Rejected, or the command fails; nothing is written, and it goes on."""
    session = login(**{**SMALL, **UNASKED[what]})
    write(session, bytes(4 * BLOCK))
    unsolicited = what.startswith("unsolicited")
    task, one = session.command_pdu(
        scsi.write10(0, 4),
        write=blocks(4, 11),
        immediate_data=0 if unsolicited else 1024,
        unsolicited=unsolicited,
    )
    session.answers_r2ts = False
    session.begin(task, one, *session.unsolicited(task, one))
    while not task.done and not session.rejects:
        session.pump()
    if session.rejects:
        session.wait_reject(Reason.PROTOCOL)
        session.cmd_sn = one.cmd_sn
        del session.tasks[task.itt]
    else:
        assert task.key[0] == ABORTED
    alive_after(session)
    session.answers_r2ts = True
    assert read(session, 4).data == bytes(4 * BLOCK)


def test_more_unasked_than_the_first_burst(login: Make) -> None:
    session = login(**SMALL)
    write(session, bytes(8 * BLOCK))
    task, one = session.command_pdu(scsi.write10(0, 8), write=blocks(8, 12))
    outs = session.data_out(task, 1024, 3072)
    session.answers_r2ts = False
    session.begin(task, one, *outs)
    session.finish(task)
    assert task.key[0] == ABORTED, session.trace()
    alive_after(session)
    session.answers_r2ts = True
    assert read(session, 8).data == bytes(8 * BLOCK)
    assert task.key == AMOUNT, f"{task.key}: RFC 7143 11.4.7.2"


@pytest.mark.parametrize("ttt", [0, 1, 0x12345678, 0xFFFFFFFE], ids=hex)
def test_unknown_transfer_tag(login: Make, ttt: int) -> None:
    """Rejected, its data passed over; one that could be of an R2T that is over may be passed over, too."""
    session = login()
    session.send(Pdu(op=Op.DATA_OUT, itt=0x99, fields={20: ttt}, data=b"x" * 1000))
    session.ping(immediate=True)
    rejects = [one.byte2 for one in session.rejects]
    assert rejects == [Reason.INVALID_FIELD] or (ttt < 2 and not rejects), session.trace()
    session.rejects.clear()
    alive(session)


def test_data_for_nobody(login: Make) -> None:
    """What nobody has asked for, and what nobody asks for any more."""
    session = login(**SMALL, **NO_UNASKED)
    task, one = asked_write(session, 4)
    stale = session.data_out(task, one.offset, one.desired, one.ttt)
    session.send(*stale)
    assert session.finish(task).status == GOOD
    session.send(*stale, *stale)
    session.send(Pdu(op=Op.DATA_OUT, itt=task.itt, fields={20: NONE}, data=bytes(512)))
    alive_after(session)
    session.answers_r2ts = True
    assert read(session, 4).data == blocks(4, 10)


# --- PDUs that are none ---


@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("op", [0x07, 0x0F, 0x11, 0x1B, 0x1F], ids=hex)
def test_unknown_opcode(login: Make, op: int, immediate: bool) -> None:
    """Rejected with its header; its number has not come."""
    session = login()
    one = session.request(op, immediate, data=b"what is it")
    session.send(one)
    session.cmd_sn = one.cmd_sn
    reject = session.wait_reject(Reason.NOT_SUPPORTED)
    assert reject.data == one.header()
    alive(session)


@pytest.mark.parametrize("op", [0x20, 0x21, 0x25, 0x31, 0x3F, Op.LOGIN], ids=hex)
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
    "op", [Op.NOP_OUT, Op.COMMAND, Op.DATA_OUT, Op.TMF, Op.LOGOUT, 0x0F], ids=lambda op: hex(op)
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


# --- immediate ones ---


def test_immediate_command(login: Make) -> None:
    """It takes no number."""
    session = login()
    before = session.cmd_sn
    assert session.command(scsi.read10(0, 1), read=512, immediate=True).status == GOOD
    assert session.cmd_sn == before
    alive(session)


def test_too_many_immediate_commands(login: Make) -> None:
    """Some are taken, the next is rejected; there is always room for task management."""
    session = login()
    fault = hold()
    tasks = []
    while not session.rejects:
        task, one = session.command_pdu(scsi.test_unit_ready(), immediate=True)
        tasks.append(session.begin(task, one))
        assert len(tasks) < 1000
        session.send(session.ping_pdu())
        session.pump()
    assert len(tasks) > 1
    session.wait_reject(Reason.TOO_MANY_IMMEDIATE)
    del session.tasks[tasks.pop().itt]
    assert session.manage(Tmf.ABORT_TASK, task=tasks[0], ref_cmd_sn=session.cmd_sn) == Answered.COMPLETE
    del session.tasks[tasks.pop(0).itt]
    fault.enable(False)
    for task in tasks:
        assert session.finish(task).status == GOOD
    session.others.clear()
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


@pytest.mark.parametrize("kind", ["ping", "text"])
def test_request_that_is_damaged(login: Make, kind: str) -> None:
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


# --- residuals ---


@pytest.mark.parametrize(("wanted", "there"), [(2, 1), (8, 3), (1, 2), (3, 8), (0, 2)])
def test_residual_of_reads(login: Make, wanted: int, there: int) -> None:
    """The initiator expects more, or less, than the command moves."""
    session = login(**SMALL)
    data = blocks(there, 16)
    write(session, data)
    task = session.command(scsi.read10(0, there), read=wanted * BLOCK)
    moved = min(wanted, there)
    assert task.status == GOOD
    assert task.data == data[: moved * BLOCK]
    flag = pdu.UNDERFLOW if wanted > there else pdu.OVERFLOW
    assert (task.flags, task.residual) == (flag, abs(wanted - there) * BLOCK), session.trace()


@pytest.mark.parametrize("terms", [{}, NO_UNASKED], ids=["unasked", "asked"])
@pytest.mark.parametrize(("wanted", "there"), [(2, 1), (16, 3), (1, 2), (3, 16), (0, 2)])
def test_residual_of_writes(login: Make, wanted: int, there: int, terms: dict[str, int]) -> None:
    """Likewise; nothing is asked for that is not used, and the medium has as many blocks as came."""
    session = login(**SMALL, **terms)
    write(session, bytes(16 * BLOCK))
    data = blocks(wanted, 17)
    task, one = session.command_pdu(scsi.write10(0, there), write=data)
    one.flags |= pdu.WRITE
    session.finish(session.begin(task, one, *session.unsolicited(task, one)))
    flag = pdu.UNDERFLOW if wanted > there else pdu.OVERFLOW
    assert (task.flags, task.residual) == (flag, abs(wanted - there) * BLOCK), session.trace()
    asked = sum(one.desired for one in task.came if one.op == Op.R2T)
    unasked = 0 if terms else min(wanted * BLOCK, 2048)
    assert task.status == GOOD, session.trace()
    moved = min(wanted, there)
    assert asked == max(moved * BLOCK - unasked, 0)
    assert read(session, 16).data == data[: moved * BLOCK] + bytes((16 - moved) * BLOCK)


SHORT: dict[str, tuple[bytes, int]] = {
    "part of a block": (scsi.write10(0, 1), 200),
    "a block and a part": (scsi.write10(0, 4), 700),
    "verified in part": (scsi.write_verify10(0, 2), 700),
    "compared": (scsi.verify10(0, 2, 1), 512),
    "compare and write": (scsi.compare_and_write(0, 1), 512),
    "or": (scsi.orwrite16(0, 2), 512),
}


@pytest.mark.parametrize("what", SHORT)
def test_short_data_that_is_refused(login: Make, what: str) -> None:
    """Part of a block, or of what is all or nothing: nothing is asked for, or written; what lacks is told."""
    session = login(**SMALL, **NO_UNASKED)
    cdb, length = SHORT[what]
    write(session, bytes(4 * BLOCK))
    task = session.command(cdb, write=b"\xee" * length)
    assert (task.status, task.key[0]) == (CHECK_CONDITION, 0x5), session.trace()
    assert task.kinds == [Op.RESPONSE]
    assert task.flags == pdu.OVERFLOW
    assert read(session, 4).data == bytes(4 * BLOCK)


def test_residual_of_inquiry(login: Make) -> None:
    """Less than the allocation length says, which the initiator has room for."""
    session = login()
    task = session.command(scsi.inquiry(255), read=255)
    assert task.flags == pdu.UNDERFLOW
    assert task.residual == 255 - len(task.data)
    assert len(task.data) == 5 + task.data[4]


def test_no_direction(login: Make) -> None:
    """A command that moves data, whose initiator does not expect any: not sent, and told."""
    session = login()
    task = session.command(scsi.read10(0, 2))
    assert (task.status, task.flags, task.residual) == (GOOD, pdu.OVERFLOW, 1024), session.trace()


@pytest.mark.parametrize("write_too", [False, True])
def test_expected_length_of_gigabytes(login: Make, write_too: bool) -> None:
    """No memory is taken for it."""
    session = login(**SMALL, **NO_UNASKED)
    edtl = 0xFFFFFE00
    before = int(Path("/proc/meminfo").read_text().split()[4])
    if write_too:
        session.answers_r2ts = False
        task, one = session.command_pdu(scsi.write10(0, 1), edtl=edtl)
        task.write = blocks(1, 18)
        session.begin(task, one)
        while not task.asked:
            session.pump()
        asked = task.asked.pop(0)
        assert asked.desired == 512
        session.send(*session.data_out(task, 0, 512, asked.ttt))
        session.finish(task)
    else:
        task = session.command(scsi.read10(0, 1), read=edtl)
    assert (task.flags, task.residual) == (pdu.UNDERFLOW, edtl - 512)
    assert before - int(Path("/proc/meminfo").read_text().split()[4]) < 100 << 10


# --- task management ---


@pytest.mark.parametrize("function", [*range(14), 0x7F])
def test_functions(login: Make, function: int) -> None:
    """Those there are, those there are from iSCSIProtocolLevel 2 on, and others."""
    session = login(protocol_level=1)
    done = {Tmf.ABORT_TASK: {Answered.NO_TASK}, Tmf.TASK_REASSIGN: {Answered.NO_REASSIGNMENT}}
    if function in (
        Tmf.ABORT_TASK_SET, Tmf.CLEAR_TASK_SET, Tmf.LUN_RESET, Tmf.WARM_RESET, Tmf.CLEAR_ACA,
    ):  # fmt: skip
        wanted = {Answered.COMPLETE}
    elif function == Tmf.COLD_RESET:
        return
    else:
        wanted = (
            done.get(Tmf(function), {Answered.NOT_SUPPORTED})
            if function in set(Tmf)
            else {Answered.NOT_SUPPORTED}
        )
    one = session.tmf_pdu(function, ref_cmd_sn=session.cmd_sn - 1)
    session.send(one)
    assert session.wait(one).byte2 in wanted
    iscsi.hear(session)


def test_functions_of_level_two(login: Make) -> None:
    session = login(protocol_level=2)
    fault = hold()
    task = session.start(scsi.test_unit_ready())
    wait_hits(fault, 1)
    assert session.manage(Tmf.QUERY_TASK, task=task) == Answered.SUCCEEDED
    assert session.manage(Tmf.QUERY_TASK, itt=0x77) == Answered.COMPLETE
    assert session.manage(Tmf.QUERY_TASK_SET) == Answered.SUCCEEDED
    assert session.manage(Tmf.QUERY_TASK_SET, lun=1) == Answered.COMPLETE
    assert session.manage(Tmf.NEXUS_RESET) == Answered.COMPLETE
    assert not task.done
    del session.tasks[task.itt]
    fault.enable(False)
    iscsi.hear(session)


def test_function_for_no_lun(login: Make) -> None:
    session = login()
    assert session.manage(Tmf.LUN_RESET, lun=77) == Answered.NO_LUN


@pytest.mark.parametrize("immediate", [True, False])
def test_abort_of_what_is_held(login: Make, immediate: bool) -> None:
    """It has no answer; others go on."""
    session = login()
    fault = hold("reads")
    tasks = [session.start(scsi.read10(0, 1), read=512) for _ in range(3)]
    wait_hits(fault, 3)
    assert session.manage(Tmf.ABORT_TASK, task=tasks[1], immediate=immediate) == Answered.COMPLETE
    fault.enable(False)
    assert session.finish(tasks[0]).status == session.finish(tasks[2]).status == GOOD
    assert not session.tasks.pop(tasks[1].itt).came
    alive(session)


def test_abort_of_what_waits_for_data(login: Make) -> None:
    """Half of what was asked for is there; the rest comes, and is passed over; the tag is no other's."""
    session = login(**SMALL, **NO_UNASKED)
    write(session, bytes(8 * BLOCK))
    task, one = asked_write(session)
    outs = session.data_out(task, one.offset, one.desired, one.ttt)
    session.send(*outs[:2])
    assert session.manage(Tmf.ABORT_TASK, task=task) == Answered.COMPLETE
    session.send(*outs[2:])
    del session.tasks[task.itt]
    other, again = asked_write(session)
    assert again.ttt != one.ttt
    session.send(*outs)
    session.send(*session.data_out(other, again.offset, again.desired, again.ttt))
    assert session.finish(other).status == GOOD
    alive_after(session)
    assert not task.done


def test_abort_in_the_middle_of_a_pdu(login: Make) -> None:
    """By another session, by a reset of the LUN: what is on its way is passed over."""
    session = login(**SMALL, **NO_UNASKED)
    other = login(isid=OTHER)
    task, one = asked_write(session)
    outs = session.data_out(task, one.offset, one.desired, one.ttt)
    wire = session.encode(*outs)
    session.sock.sendall(wire[:1500])
    assert other.manage(Tmf.LUN_RESET) == Answered.COMPLETE
    session.sock.sendall(wire[1500:])
    alive_after_reset(session, task)


def alive_after_reset(session: Session, task: Task) -> None:
    """Who is reset by another is told."""
    assert session.finish(task).status == TASK_ABORTED
    session.answers_r2ts = True
    iscsi.hear(session)
    assert write(session, blocks(8, 19)).status == GOOD


def test_abort_of_what_has_ended(login: Make) -> None:
    session = login()
    before = session.cmd_sn
    task = read(session, 1)
    assert session.manage(Tmf.ABORT_TASK, task=task, ref_cmd_sn=before) == Answered.NO_TASK


def test_abort_of_what_has_not_come(login: Make) -> None:
    """Its number is taken for come: it is passed over when it comes (11.5.1)."""
    session = login()
    late, one = session.command_pdu(scsi.write10(0, 1), write=blocks(1, 20))
    assert session.manage(Tmf.ABORT_TASK, task=late, ref_cmd_sn=one.cmd_sn) == Answered.COMPLETE
    assert session.command(scsi.test_unit_ready()).status == GOOD
    session.send(one)
    alive(session)
    assert not late.done


def test_abort_of_what_waits_for_its_turn(login: Make) -> None:
    """It has come too early; it is not carried out when its turn comes."""
    session = login(**SMALL)
    write(session, bytes(BLOCK))
    first, one = session.command_pdu(scsi.test_unit_ready())
    late = session.start(scsi.write10(0, 1), write=blocks(1, 21))
    assert session.manage(Tmf.ABORT_TASK, task=late, ref_cmd_sn=one.cmd_sn + 1) == Answered.COMPLETE
    session.begin(first, one)
    assert session.finish(first).status == GOOD
    del session.tasks[late.itt]
    alive(session)
    assert read(session, 1).data == bytes(BLOCK)


def test_reset_of_the_lun(login: Make) -> None:
    """Its tasks end, the own ones without an answer; the other LUN's go on; all hear of it."""
    first, second = login(), login(isid=OTHER)
    fault = hold()
    mine = first.start(scsi.test_unit_ready())
    others = second.start(scsi.test_unit_ready())
    elsewhere = first.start(scsi.test_unit_ready(), lun=1)
    wait_hits(fault, 3)
    assert first.manage(Tmf.LUN_RESET) == Answered.COMPLETE
    fault.enable(False)
    assert first.finish(elsewhere).status == GOOD
    assert second.finish(others).status == TASK_ABORTED
    del first.tasks[mine.itt]
    for session in (first, second):
        assert (0x6, 0x29, 0x03) in iscsi.hear(session)
    alive(first)
    alive(second)


def test_warm_reset(login: Make) -> None:
    """Tasks of all LUNs; sessions stay."""
    first, second = login(), login(isid=OTHER)
    assert first.manage(Tmf.WARM_RESET) == Answered.COMPLETE
    for session in (first, second):
        assert iscsi.hear(session)
        assert iscsi.hear(session, 1)


def test_cold_reset(login: Make) -> None:
    """All sessions end, after the answer."""
    first, second = login(), login(isid=OTHER)
    assert first.manage(Tmf.COLD_RESET) == Answered.COMPLETE
    first.wait_closed()
    second.wait_closed()
    iscsi.wait_sessions(0)


def test_many_aborts(login: Make) -> None:
    """Of commands that a back end does not end, one after the other: all are answered, others go on."""
    session, other = login(queue_depth=64), login(isid=OTHER)
    fault = hold("reads", lun=0)
    count = often(300, 10_000)
    for _ in range(count // 50):
        tasks = [session.start(scsi.read10(0, 1), read=512) for _ in range(50)]
        asked = [session.tmf_pdu(Tmf.ABORT_TASK, task=task, immediate=False) for task in tasks]
        for one in asked:
            while (one.cmd_sn - session.max_cmd_sn - 1) % (1 << 32) < 1 << 31:
                session.pump()
            session.send(one)
        assert other.command(scsi.test_unit_ready(), lun=1).status == GOOD
        for one in asked:
            assert session.wait(one).byte2 == Answered.COMPLETE
        for task in tasks:
            del session.tasks[task.itt]
    assert fault.hits == count // 50 * 50
    alive(session)


# --- NOP, text, logout ---


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


def test_initiator_that_takes_nothing(login: Make) -> None:
    """The socket is full for too long."""
    with handover.events() as told:
        session = login(send_timeout=1)
        session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(30):
            session.start(scsi.read10(0, 2048), read=2048 * BLOCK)
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


# --- text: answered by whoever has the device open ---


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


# --- memory for data that nobody wants yet ---

LIMIT = tree.ROOT / "drivers/iscsi/memory_limit"
EAGER = {"max_recv": 65536, "max_burst": 65536, "first_burst": 65536, "queue_depth": 64}
# The account is added up where it is nearly used up; each session may be about to take a page.
SLACK = 1 << 16


@pytest.fixture
def memory_limit() -> Iterator[int]:
    """As little as may be."""
    before = tree.read(LIMIT)
    tree.write(LIMIT, str(1 << 20))
    yield 1 << 20
    tree.write(LIMIT, before)


def early_data() -> list[int]:
    """Of each session, in bytes."""
    found = []
    for folder in iscsi.sessions():
        with suppress(OSError):  # it has gone
            found.append(int(iscsi.value(folder, "early_data")))
    return found


def test_early_data_is_given_back(login: Make) -> None:
    """With a command, with its session; far from the limit all of it is taken."""
    session, other = login(**EAGER), login(isid=OTHER, **EAGER)
    fault = hold("writes")
    tasks = [one.start(scsi.write10(0, 128), write=blocks(128)) for one in (session, other) for _ in range(4)]
    wait_hits(fault, len(tasks))
    for one in (session, other):
        one.ping()
    assert early_data() == [4 << 16, 4 << 16]
    other.close()
    iscsi.wait_sessions(1)
    fault.enable(False)
    for task in tasks[:4]:
        assert session.finish(task).status == GOOD
    assert early_data() == [0]
    assert [iscsi.value(folder, "memory_full") for folder in iscsi.sessions()] == ["0"]


def test_memory_limit(login: Make, memory_limit: int) -> None:
    """Several sessions, a back end that does not go on: no more is taken, others go on, nobody is dropped."""
    sessions = [login(isid=bytes([0x40, 0, 0, 0, 1, number]), **EAGER) for number in range(4)]
    bystander = login(isid=OTHER)
    fault = hold("writes", lun=0)
    tasks: dict[int, list[Task]] = {number: [] for number in range(4)}

    def push(number: int) -> None:
        for lba in range(0, 16 * 128, 128):
            one = sessions[number].start(scsi.write10(lba, 128), write=blocks(128, number))
            tasks[number].append(one)

    threads = [threading.Thread(target=push, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads) or fault.hits < 64:
        most = max(most, sum(early_data()))
        assert bystander.command(scsi.read10(0, 1), lun=1, read=512).status == GOOD
        assert len(iscsi.sessions()) == 5
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert memory_limit // 2 < most <= memory_limit + SLACK, most
    full = [int(iscsi.value(folder, "memory_full")) for folder in iscsi.sessions()]
    assert sum(count > 0 for count in full) > 1, full
    fault.enable(False)
    ended = [session.finish(task).status for number, session in enumerate(sessions) for task in tasks[number]]
    assert set(ended) <= {GOOD, BUSY, TASK_SET_FULL}
    assert {GOOD} < set(ended), "some had room, and some had none"
    assert early_data() == [0] * 5
    for session in sessions:
        alive(session)
        assert write(session, blocks(128, 9)).status == GOOD


def test_order_behind_the_memory_limit(login: Make, memory_limit: int) -> None:
    """What would make room is behind what is not read: it goes on all the same."""
    session = login(**EAGER, initial_r2t=1)
    first, one = session.command_pdu(scsi.write10(0, 128), write=blocks(128, 1), immediate_data=0)
    session.answers_r2ts = False
    session.begin(first, one)
    while not first.asked:
        session.pump()
    asked = first.asked.pop(0)
    later = [
        session.start(scsi.write10(128, 128), write=blocks(128, 2), attr=pdu.ORDERED)
        for _ in range(memory_limit // 65536 + 4)
    ]
    session.send(*session.data_out(first, asked.offset, asked.desired, asked.ttt))
    assert session.finish(first).status == GOOD
    ended = [session.finish(task).status for task in later]
    assert GOOD in ended
    assert set(ended) & {BUSY, TASK_SET_FULL}
    assert read(session, 128).data == blocks(128, 1)
    alive(session)


# --- news ---


def test_luns_change(login: Make, target: iscsi.Target) -> None:
    """An asynchronous message tells of it, and a unit attention."""
    session = login()
    device = tree.nullio("more")
    target.luns.map(5, device)
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
        target.luns.unmap(5)
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
