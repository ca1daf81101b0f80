# SPDX-License-Identifier: GPL-2.0-or-later
"""Task management (RFC 7143 11.5, 11.6, RFC 7144)."""

from __future__ import annotations

import pytest

from tests.iscsi.initiator import GOOD, Session, Task
from tests.iscsi.pdu import Answered, Op, Tmf
from tests.vm.guest import iscsi, scsi
from tests.vm.guest.full_phase import (
    NO_UNASKED,
    OTHER,
    SMALL,
    Make,
    alive,
    alive_after,
    asked_write,
    blocks,
    hold,
    read,
    wait_hits,
    write,
)
from tests.vm.guest.iscsi import BLOCK
from tests.vm.guest.long import often
from tests.vm.guest.script import TASK_ABORTED

SCST_MODULES = iscsi.MODULES

# --- task management ---


@pytest.mark.parametrize("function", [*range(7), *range(8, 14), 0x7F])
def test_functions(login: Make, function: int) -> None:
    """Those there are, those there are from iSCSIProtocolLevel 2 on, and others."""
    session = login(protocol_level=1)
    done = {Tmf.ABORT_TASK: {Answered.NO_TASK}, Tmf.TASK_REASSIGN: {Answered.NO_REASSIGNMENT}}
    if function in (
        Tmf.ABORT_TASK_SET, Tmf.CLEAR_TASK_SET, Tmf.LUN_RESET, Tmf.WARM_RESET, Tmf.CLEAR_ACA,
    ):  # fmt: skip
        wanted = {Answered.COMPLETE}
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


@pytest.mark.parametrize("op", [Op.TMF, Op.LOGOUT], ids=str)
def test_data_with_what_has_none(login: Make, op: Op) -> None:
    """It is passed over, and does not come back: the initiator may not take as much."""
    session = login(max_xmit=512)
    one = session.tmf_pdu(Tmf.LUN_RESET, lun=1) if op == Op.TMF else session.request(op, True)
    one.data = b"x" * 2000
    session.send(one)
    answer = session.wait(one)
    assert (answer.byte2, answer.data) == (0, b"")


def test_answers_come_before_a_function_s(login: Make) -> None:
    """Of commands that had ended before; behind it none comes (RFC 7143 4.2.2.3)."""
    session = login(queue_depth=64)
    tasks = [session.start(scsi.read10(0, 8), read=8 * BLOCK) for _ in range(40)]
    assert session.manage(Tmf.LUN_RESET) == Answered.COMPLETE
    for task in tasks:
        session.tasks.pop(task.itt, None)
    assert iscsi.hear(session)
    alive(session)


def test_abort_of_what_is_being_sent(login: Make) -> None:
    """The socket holds no more of it. Behind the answer to the abort comes none of it."""
    session = login()
    tasks = [session.start(scsi.read10(0, 2048), read=2048 * BLOCK) for _ in range(16)]
    one = session.tmf_pdu(Tmf.ABORT_TASK, task=tasks[-1], ref_cmd_sn=session.cmd_sn - 1)
    session.send(one)
    assert session.wait(one).byte2 in (Answered.COMPLETE, Answered.NO_TASK)
    session.tasks.pop(tasks[-1].itt, None)
    for task in tasks[:-1]:
        assert session.finish(task).status == GOOD
    alive(session)


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


def test_abort_of_what_was_not_sent(login: Make) -> None:
    """A number that was no command's when the abort was sent is not taken from the next one (11.6.1)."""
    session = login()
    for ahead in range(3):
        refused = session.manage(Tmf.ABORT_TASK, itt=0x77, ref_cmd_sn=session.cmd_sn + ahead)
        assert refused == Answered.NO_TASK
    for _ in range(4):
        assert session.command(scsi.test_unit_ready()).status == GOOD
    alive(session)


@pytest.mark.parametrize("function", [Tmf.ABORT_TASK_SET, Tmf.CLEAR_TASK_SET, Tmf.LUN_RESET, Tmf.WARM_RESET])
def test_function_reaches_what_waits_for_its_turn(login: Make, function: Tmf) -> None:
    """It was sent before the function: it is not carried out behind the answer (4.2.3.3)."""
    session = login(**SMALL)
    write(session, bytes(BLOCK))
    first, one = session.command_pdu(scsi.test_unit_ready())
    late = session.start(scsi.write10(0, 1), write=blocks(1, 21))
    other = session.start(scsi.test_unit_ready(), lun=1)
    assert session.manage(function) == Answered.COMPLETE
    session.begin(first, one)
    session.finish(first)
    assert late.itt in session.tasks
    del session.tasks[late.itt]
    if function == Tmf.WARM_RESET:
        del session.tasks[other.itt]
    else:
        assert session.finish(other).status == GOOD
    iscsi.hear(session)
    alive(session)
    assert read(session, 1).data == bytes(BLOCK)
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
    count = often(150, 10_000)
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
