# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers, windows, and what needs no number (RFC 7143 4.2.2)."""

from __future__ import annotations

import random

import pytest

from tests.iscsi import adopter as handover
from tests.iscsi import pdu
from tests.iscsi.initiator import GOOD, Task
from tests.iscsi.pdu import Answered, Op, Reason, Tmf
from tests.vm.guest import iscsi, scsi
from tests.vm.guest.full_phase import SMALL, Make, alive, blocks, ended, hold, read, wait_hits, write
from tests.vm.guest.iscsi import BLOCK
from tests.vm.guest.long import more, often

SCST_MODULES = iscsi.MODULES

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


def test_number_that_came_already(login: Make) -> None:
    """One that waits for its turn comes again: that is passed over, without a word."""
    session = login(**SMALL)
    first, one = session.command_pdu(scsi.test_unit_ready())
    late, two = session.command_pdu(scsi.write10(0, 1), write=blocks(1, 7))
    session.begin(late, two, two)
    session.begin(first, one)
    for task in (first, late):
        assert session.finish(task).status == GOOD
    assert read(session, 1).data == blocks(1, 7)
    alive(session)


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


@pytest.mark.parametrize("number", [0, 1, 0x7FFFFFFF, 0xFFFFFFFF], ids=hex)
def test_exp_stat_sn_is_no_matter(login: Make, number: int) -> None:
    """Nothing is kept for who has not heard it (error recovery level 0), so what he says of it is ignored."""
    session = login()
    for made in (session.ping_pdu(b"x"), session.command_pdu(scsi.test_unit_ready())[1]):
        made.fields[28] = number
        if made.op == Op.COMMAND:
            session.tasks[made.itt] = Task(made.itt, 0, b"", made.lun)
        session.send(made)
    alive(session)


@pytest.mark.parametrize("depth", [1, 4, *more(1024)])
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


# --- immediate ones ---


def test_immediate_command(login: Make) -> None:
    """It takes no number."""
    session = login()
    before = session.cmd_sn
    assert session.command(scsi.read10(0, 1), read=512, immediate=True).status == GOOD
    assert session.cmd_sn == before
    alive(session)


def test_too_many_immediate_commands(login: Make) -> None:
    """Some are taken, the next is rejected; there is always room for task management, and for a ping."""
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
    session.ping_immediate()
    assert session.manage(Tmf.ABORT_TASK, task=tasks[0], ref_cmd_sn=session.cmd_sn) == Answered.COMPLETE
    del session.tasks[tasks.pop(0).itt]
    fault.enable(False)
    for task in tasks:
        assert session.finish(task).status == GOOD
    session.others.clear()
    alive(session)
