# SPDX-License-Identifier: GPL-2.0-or-later
"""Task attributes: which command of an initiator begins before which, and that nobody else waits for that.

A command has begun when it asks for its data; one that is to be in the way does not get it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import pytest

from tests.model.pr import Action, Type
from tests.vm.guest import scsi, tree
from tests.vm.guest.script import (
    HOLD_DATA,
    HOLD_RESPONSE,
    USUAL,
    From,
    Kind,
    Nexus,
    Plan,
    Response,
    Script,
    Tmf,
    serve,
)
from tests.vm.guest.test_reserve import good, register
from tests.vm.guest.test_sight import lines

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_script")

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
BLOCK = bytes(512)


class Attr(IntEnum):
    """enum scst_task_attr."""

    SIMPLE = 0
    ORDERED = 1
    HEAD = 2


@pytest.fixture
def pair(script: Script, make_file: MakeFile) -> tuple[Nexus, Nexus]:
    """Two initiators at two disks."""
    return serve(script, tree.fileio("d0", make_file("d0", 1)), tree.nullio("d1", 64 << 20))


def place(command: int) -> str | None:
    """Where a command is; None: not in flight."""
    for device in ("d0", "d1"):
        for line in lines(device):
            if line.tag == hex(command):
                return line.place
    return None


def ready(nexus: Nexus, attr: Attr = Attr.SIMPLE, lun: int = 0) -> int:
    """Submit a TEST UNIT READY."""
    return nexus.submit(scsi.test_unit_ready(), lun, attr=attr)


def write(nexus: Nexus, attr: Attr = Attr.SIMPLE, plan: Plan = HOLD_DATA, lba: int = 0) -> int:
    """Submit a WRITE that does not get its data by itself."""
    return nexus.submit(scsi.write10(lba, 1), write=BLOCK, plan=plan, attr=attr)


def in_the_way(script: Script, nexus: Nexus, attr: Attr = Attr.SIMPLE) -> int:
    """A WRITE that has begun, and does not end."""
    number = write(nexus, attr)
    script.wait(Kind.WANTS_DATA, number)
    return number


def answers(nexus: Nexus, *commands: int) -> list[int]:
    """The commands, all of which must be answered well, in the order of their answers."""
    events = {number: nexus.script.wait(Kind.RESPONDED, number) for number in commands}
    assert all(event.good for event in events.values()), events
    return sorted(commands, key=lambda number: events[number].seq)


def held(*commands: int) -> bool:
    """None of them has begun."""
    return all(place(number) == "order" for number in commands)


def test_ordered_waits_for_what_is_older(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    first, second = pair
    older = in_the_way(script, first)
    ordered = ready(first, Attr.ORDERED)
    younger = [ready(first) for _ in range(3)]
    assert held(ordered, *younger)
    assert second.test_unit_ready().good
    assert second.answer(ready(second, Attr.ORDERED)).good
    assert first.test_unit_ready(lun=1).good
    assert first.answer(ready(first, Attr.HEAD)).good
    assert held(ordered, *younger)
    script.data(older)
    assert answers(first, older, ordered, *younger)[:2] == [older, ordered]
    assert first.test_unit_ready().good


@pytest.mark.parametrize("attr", [Attr.ORDERED, Attr.HEAD])
def test_what_is_younger_waits(script: Script, pair: tuple[Nexus, Nexus], attr: Attr) -> None:
    """For an ORDERED and a HEAD OF QUEUE that have begun; another HEAD OF QUEUE does not."""
    first, second = pair
    blocking = in_the_way(script, first, attr)
    simple, ordered, after = ready(first), ready(first, Attr.ORDERED), ready(first)
    assert held(simple, ordered, after)
    assert first.answer(ready(first, Attr.HEAD)).good
    assert second.test_unit_ready().good
    assert held(simple, ordered, after)
    script.data(blocking)
    assert answers(first, blocking, simple, ordered, after) == [blocking, simple, ordered, after]


def test_simple_ones_do_not_wait(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    first, _ = pair
    older = in_the_way(script, first)
    assert first.test_unit_ready().good
    assert script.find(Kind.RESPONDED, older) is None
    script.data(older)
    assert first.answer(older).good


def test_an_answer_that_is_not_out_is_waited_for(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """A command is over when the driver says so, not before."""
    first, _ = pair
    older = write(first, plan=HOLD_RESPONSE)
    script.wait(Kind.RESPONDED, older)
    ordered = ready(first, Attr.ORDERED)
    assert held(ordered)
    script.respond(older)
    assert first.answer(ordered).good


@pytest.mark.parametrize("sender", [From.TASK, From.BH, From.SOFTIRQ, From.IRQ, From.LOCKED])
def test_every_context(script: Script, pair: tuple[Nexus, Nexus], sender: From) -> None:
    """Whatever context commands come in, and end in."""
    first, _ = pair
    plan = Plan(submit_from=sender, data_from=sender, response_from=sender)
    older = in_the_way(script, first)
    numbers = [
        write(first, attr, plan, lba) for lba, attr in enumerate((*Attr, *Attr)) if attr is not Attr.HEAD
    ]
    assert held(*numbers[1:])
    script.data(older, sender=sender)
    done = answers(first, older, *numbers)
    assert done[-2:] == numbers[-2:]


# --- what is taken away ---


def test_abort_of_one_that_is_held(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """It is answered at once, though what it waits for hangs, and no other waits for it."""
    first, _ = pair
    older = in_the_way(script, first)
    ordered, younger = ready(first, Attr.ORDERED), ready(first)
    assert held(ordered, younger)
    assert first.manage(Tmf.ABORT_TASK, tag=ordered) is Response.COMPLETE
    assert script.wait(Kind.RESPONDED, ordered).aborted
    assert first.answer(younger).good
    assert script.find(Kind.RESPONDED, older) is None
    script.data(older)
    assert first.answer(older).good


def test_an_aborted_write_that_was_held_writes_nothing(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """Not when it is answered, and not when what it waited for is over."""
    first, second = pair
    first.good(scsi.write10(0, 8), write=BLOCK * 8)
    older = in_the_way(script, first)
    written = first.submit(scsi.write10(4, 1), write=b"\xff" * 512, attr=Attr.ORDERED)
    assert held(written)
    assert first.manage(Tmf.ABORT_TASK, tag=written) is Response.COMPLETE
    assert first.answer(written).aborted
    assert second.good(scsi.read10(0, 8), read=8 * 512) == BLOCK * 8
    script.data(older)
    assert first.answer(older).good
    assert second.good(scsi.read10(0, 8), read=8 * 512) == BLOCK * 8


@pytest.mark.parametrize("fn", [Tmf.ABORT_TASK_SET, Tmf.LUN_RESET])
def test_abort_of_all(script: Script, pair: tuple[Nexus, Nexus], fn: Tmf) -> None:
    first, second = pair
    hung = write(first, plan=HOLD_RESPONSE)
    script.wait(Kind.RESPONDED, hung)
    waiting = [ready(first, attr) for attr in (Attr.ORDERED, Attr.SIMPLE, Attr.ORDERED, Attr.SIMPLE)]
    assert held(*waiting)
    number = first.tmf(fn)
    assert all(script.wait(Kind.RESPONDED, each).aborted for each in waiting)
    script.respond(hung)
    assert first.tmf_response(number) is Response.COMPLETE
    for nexus in (first, second):
        nexus.attentions()
        assert nexus.answer(ready(nexus, Attr.ORDERED)).good


def test_end_of_a_session(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """With commands that are held: it goes, and the other does not notice."""
    first, second = pair
    hung = write(first, plan=HOLD_RESPONSE)
    script.wait(Kind.RESPONDED, hung)
    waiting = [ready(first, attr) for attr in (Attr.ORDERED, Attr.SIMPLE, Attr.ORDERED)]
    assert held(*waiting)
    first.close()
    assert second.answer(ready(second, Attr.ORDERED)).good
    script.respond(hung)
    first.gone()


# --- others who wait ---


def test_a_range_for_itself_does_not_wait_for_one_that_is_held(
    script: Script, pair: tuple[Nexus, Nexus]
) -> None:
    """COMPARE AND WRITE of another: a WRITE that has not begun is not at the medium."""
    first, second = pair
    first.good(scsi.write10(0, 1), write=BLOCK)
    older = in_the_way(script, first)
    ordered, younger = write(first, Attr.ORDERED, USUAL), write(first, Attr.SIMPLE, USUAL)
    assert held(ordered, younger)
    caw = scsi.compare_and_write(0, 1)
    assert second.command(caw, write=BLOCK + BLOCK).good
    script.data(older)
    assert answers(first, older, ordered, younger) == [older, ordered, younger]


def test_a_reservation_that_waits_keeps_none_of_its_own(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """What PERSISTENT RESERVE OUT does is done when it waits for writes of others.

    Theirs may be held by an ORDERED that waits for such a command as well: two would wait for ever.
    """
    first, second = pair
    register((first, 1), (second, 2))
    theirs = in_the_way(script, second)
    cdb = bytes((0x5F, Action.RESERVE, Type.WRITE_EXCLUSIVE, 0, 0, 0, 0, 0, 24, 0))
    reserve = first.submit(cdb, write=(1).to_bytes(8, "big") + bytes(16), attr=Attr.ORDERED)
    assert first.answer(ready(first)).good
    assert first.answer(ready(first, Attr.ORDERED)).good
    assert script.find(Kind.RESPONDED, reserve) is None
    script.data(theirs)
    second.answer(theirs)
    assert first.answer(reserve).good
    good(first, Action.RELEASE, 1, Type.WRITE_EXCLUSIVE)


# --- at random ---


@dataclass(slots=True)
class Task:
    """A command that has arrived and not ended."""

    number: int
    attr: Attr
    begun: bool = False


@dataclass(slots=True)
class TaskSet:
    """What begins when, in the words of SAM-5 8.6; *tasks* in the order of arrival."""

    tasks: list[Task] = field(default_factory=list)

    def may_begin(self, task: Task) -> bool:
        """HEAD OF QUEUE; ORDERED when nothing older is left; SIMPLE when only SIMPLE is."""
        if task.attr is Attr.HEAD:
            return True
        if any(other.begun and other.attr is Attr.HEAD for other in self.tasks):
            return False
        older = self.tasks[: self.tasks.index(task)]
        return not any(task.attr is Attr.ORDERED or other.attr is not Attr.SIMPLE for other in older)

    def step(self) -> list[int]:
        """Those that begin now."""
        new: list[int] = []
        while ready := [task for task in self.tasks if not task.begun and self.may_begin(task)]:
            ready[0].begun = True
            new.append(ready[0].number)
        return new

    def end(self, task: Task) -> None:
        """It is over."""
        self.tasks.remove(task)


def test_at_random(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """Commands with all attributes come, end and are aborted: exactly those have begun that may."""
    seed = int(os.environ.get("SCST_SEED") or random.randrange(1 << 32))
    print(f"SCST_SEED={seed}")
    rng = random.Random(seed)
    nexus, tasks = pair[0], TaskSet()
    weights = (6, 2, 1)

    def settle() -> None:
        for number in tasks.step():
            script.wait(Kind.WANTS_DATA, number)
        assert not script.take(Kind.WANTS_DATA)

    for _ in range(int(os.environ.get("SCST_ORDER_STEPS", "600"))):
        if len(tasks.tasks) < rng.randrange(1, 24):
            attr = rng.choices(list(Attr), weights)[0]
            tasks.tasks.append(Task(write(nexus, attr), attr))
        else:
            task = rng.choice(tasks.tasks)
            if task.begun:
                script.data(task.number)
                assert nexus.answer(task.number).good
            else:
                assert nexus.manage(Tmf.ABORT_TASK, tag=task.number) is Response.COMPLETE
                assert nexus.answer(task.number).aborted
            tasks.end(task)
        settle()
    while tasks.tasks:
        task = next(task for task in tasks.tasks if task.begun)
        script.data(task.number)
        assert nexus.answer(task.number).good
        tasks.end(task)
        settle()


def test_many_at_a_time(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """Commands of both initiators, with data from other contexts: each ends well, and the order holds."""
    numbers: list[tuple[Nexus, int, Attr]] = []
    contexts = (From.HERE, From.TASK, From.BH, From.SOFTIRQ, From.IRQ)
    for index in range(400):
        nexus = pair[index % 2]
        attr = (Attr.SIMPLE, Attr.SIMPLE, Attr.ORDERED, Attr.SIMPLE, Attr.HEAD)[index // 2 % 5]
        plan = Plan(data_from=contexts[index % 5], response_from=contexts[index // 5 % 5])
        numbers.append((nexus, write(nexus, attr, plan, lba=index), attr))
    for nexus in pair:
        mine = [(number, attr) for who, number, attr in numbers if who is nexus]
        seq = {number: script.wait(Kind.RESPONDED, number).seq for number, _ in mine}
        order = [(seq[number], attr) for number, attr in mine if attr is not Attr.HEAD]
        for at, (when, attr) in enumerate(order):
            if attr is Attr.ORDERED:
                assert all(before < when for before, _ in order[:at])
                assert all(when < after for after, _ in order[at + 1 :])
