# SPDX-License-Identifier: GPL-2.0-or-later
"""Data of commands (RFC 7143 4.2.5, 11.7, 11.8): in every way it can come and go, and in none it must not."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.iscsi.initiator import CHECK_CONDITION, GOOD, Session, Task, sequences
from tests.iscsi.pdu import FINAL, NONE, Answered, Op, Pdu, Reason, Tmf
from tests.vm.guest import iscsi, scsi
from tests.vm.guest.full_phase import (
    ABORTED,
    AMOUNT,
    BAD_LUN,
    CRC,
    DIGESTS,
    NO_UNASKED,
    SMALL,
    Make,
    alive,
    alive_after,
    asked_write,
    blocks,
    read,
    write,
)
from tests.vm.guest.iscsi import BLOCK
from tests.vm.guest.long import more

SCST_MODULES = iscsi.MODULES

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
    tasks = [session.start(scsi.read10(0, 2048), read=len(data)) for _ in range(8)]
    for task in tasks:
        assert session.finish(task).data == data


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


def test_tags_of_two_commands(login: Make) -> None:
    """Whose data it is cannot be told: it is rejected, and neither command has it."""
    session = login(**SMALL, **NO_UNASKED)
    first, one = asked_write(session, 2)
    second = session.start(scsi.write10(8, 2), write=blocks(2, 11))
    while not second.asked:
        session.pump()
    (wrong,) = session.data_out(first, one.offset, one.desired, second.asked[0].ttt)
    session.send(wrong)
    assert session.wait_reject(Reason.INVALID_FIELD).data == wrong.header()
    for task, asked in ((second, second.asked.pop()), (first, one)):
        session.send(*session.data_out(task, asked.offset, asked.desired, asked.ttt))
        assert session.finish(task).status == GOOD
    assert read(session, 2).data == blocks(2, 10)
    assert read(session, 2, 8).data == blocks(2, 11)
    alive(session)


def early(session: Session, data: bytes, lun: int = 0) -> Task:
    """A write that comes, with its data, before its turn; to its end."""
    first, one = session.command_pdu(scsi.test_unit_ready())
    late = session.start(scsi.write10(0, len(data) // BLOCK), write=data, lun=lun)
    session.begin(first, one)
    session.finish(first)
    return session.finish(late)


def test_early_data_that_nobody_asks_for(login: Make) -> None:
    """Of a write that is refused when its turn comes: it is no later command's."""
    session = login(**SMALL)
    for number in range(8):
        assert early(session, blocks(2, 2 * number), lun=77).key == BAD_LUN
        data = blocks(2, 2 * number + 1)
        assert early(session, data).status == GOOD
        assert read(session, 2).data == data
    alive(session)


def refused(session: Session) -> tuple[Task, list[Pdu]]:
    """A write that nobody carries out, without the data that follows it unasked."""
    task, one = session.command_pdu(scsi.write10(0, 4), write=blocks(4, 17), lun=77)
    session.begin(task, one)
    return task, session.unsolicited(task, one)


@pytest.mark.parametrize("immediate_data", [0, 1])
def test_answer_waits_for_the_data(login: Make, immediate_data: int) -> None:
    """A write that has failed is answered when the last of what may come unasked has come (11.4.2)."""
    session = login(**SMALL, immediate_data=immediate_data)
    task, outs = refused(session)
    for one in outs:
        session.ping_immediate()
        assert not task.done, session.trace()
        session.send(one)
    assert session.finish(task).key == BAD_LUN
    alive(session)
    (folder,) = iscsi.sessions()
    assert iscsi.value(folder, "stale_data") == "0"


def test_answer_that_waits_is_aborted(login: Make) -> None:
    """It is not given, and what comes then is passed over; nor does it keep a session that ends."""
    session = login(**SMALL)
    task, outs = refused(session)
    assert session.manage(Tmf.ABORT_TASK, task=task) == Answered.COMPLETE
    session.send(*outs)
    del session.tasks[task.itt]
    alive_after(session)
    refused(session)
    session.ping_immediate()
    session.close()
    iscsi.wait_sessions(0)


@pytest.mark.parametrize("asked", [False, True])
def test_damaged_data_is_waited_out(login: Make, asked: bool) -> None:
    """A command whose data is damaged fails when the last of it has come (7.8, 11.17.1)."""
    session = login(**SMALL, **DIGESTS, **(NO_UNASKED if asked else {"immediate_data": 0}))
    write(session, bytes(4 * BLOCK))
    if asked:
        task, one = asked_write(session, 4)
        first, last = session.data_out(task, one.offset, one.desired, one.ttt)
    else:
        task, one = session.command_pdu(scsi.write10(0, 4), write=blocks(4, 18))
        session.begin(task, one)
        first, last = session.unsolicited(task, one)
    first.data_digest = bytes(4)
    session.send(first)
    session.wait_reject(Reason.DATA_DIGEST)
    session.ping_immediate()
    assert not task.done, session.trace()
    session.send(last)
    assert session.finish(task).key == CRC
    alive(session)
    assert read(session, 4).data == bytes(4 * BLOCK)


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
