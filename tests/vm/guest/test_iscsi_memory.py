# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory for data that came before anybody wanted it: how much it is at most, and who waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.iscsi import pdu
from tests.iscsi.initiator import GOOD, Session, Task
from tests.vm.guest import iscsi, scsi, tree
from tests.vm.guest.fault import Fault
from tests.vm.guest.full_phase import OTHER, Make, alive, blocks, hold, read, wait_hits, write

SCST_MODULES = iscsi.MODULES

BUSY, TASK_SET_FULL = 0x08, 0x28
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


def run_short(session: Session, fault: Fault, count: int) -> None:
    """Writes that wait have more data than there is room for; then they go on."""
    full = memory_full()
    fault.enable()
    tasks = [session.start(scsi.write10(0, 128), write=blocks(128)) for _ in range(count)]
    tree.wait_for("memory to be short", lambda: memory_full() > full)
    fault.enable(False)
    assert {session.finish(task).status for task in tasks} <= {GOOD, BUSY, TASK_SET_FULL}


def memory_full() -> int:
    """How often the session was not read."""
    (folder,) = iscsi.sessions()
    return int(iscsi.value(folder, "memory_full"))


def test_shortages_are_apart(login: Make, memory_limit: int) -> None:
    """One that came long after another is one of its own: it is waited for, and told, as the first was."""
    session = login(**EAGER)
    fault = Fault("f").make(action="drop", commands="writes")
    run_short(session, fault, memory_limit // 65536 + 2)
    time.sleep(5)
    run_short(session, fault, memory_limit // 65536 + 2)
    alive(session)


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
