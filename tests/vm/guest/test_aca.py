# SPDX-License-Identifier: GPL-2.0-or-later
"""Auto contingent allegiance (SAM-5 5.9): what a CHECK CONDITION with NACA stops, for whom, and what ends it.

Each I_T_L nexus has a task set of its own (TST 001b), and nothing is aborted (QERR 00b): that is the row of
SAM's tables that applies here, so a condition is the faulted nexus's matter.

A command that is blocked with its data is one that had asked for it before; one that is blocked with its
answer has ended, here mostly because its data did not come whole.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.model.pr import Action, Command, Type
from tests.unit.pr_kernel import wire
from tests.vm.guest import scsi, tree
from tests.vm.guest.script import (
    HOLD_DATA,
    Event,
    Flag,
    From,
    Kind,
    Nexus,
    Plan,
    Response,
    Script,
    Target,
    Tmf,
    serve,
)
from tests.vm.guest.test_order import Attr, in_the_way, place, ready
from tests.vm.guest.test_recovery import Mapper, mapper
from tests.vm.guest.test_reserve import good, register
from tests.vm.guest.test_settled import is_settled
from tests.vm.guest.test_sight import lines, local_unit, trace
from tests.vm.guest.tracefs import Trace

__all__ = ("mapper", "trace")

SCST_MODULES = (
    "scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_script", "scst_local",
    "sd_mod", "sg", "dm_mod",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
BLOCK, OTHER = bytes(512), b"\xff" * 512
ACA_ACTIVE = 0x30
NACA = 0x04
ACA = 3
EIO = 5
INVALID_MESSAGE = (0xB, 0x49, 0x00)
DATA_PHASE = (0xB, 0x4B, 0x00)
BEYOND = 1 << 30


@pytest.fixture
def pair(script: Script, make_file: MakeFile) -> tuple[Nexus, Nexus]:
    """Two initiators at two disks."""
    both = serve(script, tree.fileio("d0", make_file("d0", 1)), tree.nullio("d1", 64 << 20))
    both[0].good(scsi.write10(0, 1), write=BLOCK)
    return both


def with_naca(cdb: bytes) -> bytes:
    """The same with NACA in CONTROL."""
    return cdb[:-1] + bytes((cdb[-1] | NACA,))


TUR = scsi.test_unit_ready()
WRONG = with_naca(scsi.read10(BEYOND, 1))


def own(nexus: Nexus) -> int:
    """Submit a TEST UNIT READY with the ACA attribute."""
    return nexus.submit(TUR, attr=ACA)


def fault(nexus: Nexus, lun: int = 0) -> None:
    """A command that ends in CHECK CONDITION, and establishes an ACA condition."""
    assert nexus.command(WRONG, lun, read=512).sense == scsi.LBA_OUT_OF_RANGE


def active(nexus: Nexus, lun: int = 0) -> bool:
    """Is there a condition?  As a new command is told."""
    event = nexus.test_unit_ready(lun)
    assert event.good or (event.status, event.sense) == (ACA_ACTIVE, None), event
    return not event.good


def clear(nexus: Nexus, lun: int = 0) -> None:
    """CLEAR ACA."""
    assert nexus.manage(Tmf.CLEAR_ACA, lun=lun) is Response.COMPLETE


def blocked(*commands: int) -> None:
    """They are blocked; waits until they are."""
    tree.wait_for(f"{commands} to be blocked", lambda: all(place(number) == "aca" for number in commands))


def with_data(script: Script, nexus: Nexus, cdb: bytes | None = None, attr: int = Attr.SIMPLE) -> int:
    """A WRITE of OTHER to block 0 that is to get its data yet."""
    number = nexus.submit(cdb or scsi.write10(0, 1), write=OTHER, plan=HOLD_DATA, attr=attr)
    script.wait(Kind.WANTS_DATA, number)
    return number


def medium(nexus: Nexus) -> bytes:
    """Block 0."""
    return nexus.good(scsi.read10(0, 1), read=512)


# --- what is told ---


def test_what_is_told(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """NORMACA, and NACA in CDB USAGE DATA, where the driver carries it."""
    nexus, _ = pair
    assert nexus.good(scsi.inquiry(96), read=96)[3] & 0x20
    for opcode, length in ((0x00, 6), (0x28, 10), (0xA8, 12), (0x88, 16)):
        assert nexus.good(scsi.report_opcodes(1, opcode), read=64)[4 + length - 1] == NACA
    assert nexus.good(scsi.mode_sense6(0x0A), read=255)[4:][2] >> 5 == 1, "TST"
    assert nexus.good(scsi.mode_sense6(0x0A), read=255)[4:][3] & 0x06 == 0, "QERR"


def test_where_it_is_not_offered() -> None:
    """Driver local has neither the attribute nor CLEAR ACA: NACA is refused, and INQUIRY says so."""
    _, unit = local_unit(tree.nullio("d0"))
    with unit:
        assert not unit.good(scsi.inquiry(96), 96)[3] & 0x20
        for cdb in (TUR, scsi.read10(0, 1), scsi.read10(BEYOND, 1)):
            for _ in range(2):
                assert unit.sense(with_naca(cdb), read=512) == scsi.INVALID_FIELD_CDB
        assert unit.good(scsi.report_opcodes(1, 0x28), 64)[4 + 9] == 0
        assert not unit.good(scsi.report_tmfs(), 16)[0] & 0x20


# --- established ---


@pytest.mark.parametrize(
    ("cdb", "sense"),
    [
        (scsi.read10(BEYOND, 1), scsi.LBA_OUT_OF_RANGE),
        (scsi.mode_sense6(0x3E), scsi.INVALID_FIELD_CDB),
        (scsi.read10(0, 1, flags=0x02), None),
        (bytes((0x02, 0, 0, 0, 0, 0)), scsi.INVALID_OPCODE),
        (bytes((0x99, *bytes(15))), scsi.INVALID_OPCODE),
        (bytes((0xBE, *bytes(11))), scsi.INVALID_OPCODE),
    ],
)
def test_established_by(pair: tuple[Nexus, Nexus], cdb: bytes, sense: scsi.Sense | None) -> None:
    """Whatever ends in CHECK CONDITION, if NACA is set and not otherwise."""
    nexus, other = pair
    assert nexus.command(cdb, read=512).sense == sense
    assert not active(nexus)
    assert nexus.command(with_naca(cdb), read=512).sense == sense
    assert active(nexus) == (sense is not None)
    assert not active(other)
    clear(nexus)
    assert not active(nexus)


def test_established_by_a_unit_attention(pair: tuple[Nexus, Nexus]) -> None:
    """It is told with the CHECK CONDITION, and by that only once."""
    nexus, other = pair
    assert other.manage(Tmf.LUN_RESET) is Response.COMPLETE
    assert nexus.command(with_naca(TUR)).sense == scsi.RESET
    assert active(nexus)
    clear(nexus)
    assert not active(nexus)


def test_an_attention_stays_pending(pair: tuple[Nexus, Nexus]) -> None:
    """ACA ACTIVE goes before it, and does not lose it."""
    nexus, other = pair
    fault(nexus)
    page = bytearray(other.good(scsi.mode_sense6(0x0A), read=255))
    page[0] = 0
    page[2] = 0
    page[4 + 2] ^= 0x04
    other.good(scsi.mode_select6(len(page)), write=bytes(page))
    assert active(nexus)
    clear(nexus)
    assert nexus.attentions() == [scsi.MODE_CHANGED]


def test_new_commands(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """Of the faulted nexus: ACA ACTIVE whatever they are.  Of its other units, and of others: as ever."""
    first, second = pair
    fault(first)
    for attr in (Attr.SIMPLE, Attr.ORDERED, Attr.HEAD):
        for cdb in (TUR, with_naca(TUR), scsi.inquiry(96), scsi.request_sense(), WRONG, b"\x02" + bytes(5)):
            event = first.answer(first.submit(cdb, read=96, attr=attr))
            assert (event.status, event.sense, event.len) == (ACA_ACTIVE, None, 0)
    refused = first.submit(scsi.write10(0, 1), write=OTHER)
    assert first.answer(refused).status == ACA_ACTIVE
    assert script.find(Kind.WANTS_DATA, refused) is None
    assert not active(first, lun=1)
    for attr in (Attr.SIMPLE, Attr.ORDERED, Attr.HEAD):
        assert second.answer(ready(second, attr)).good
    assert medium(second) == BLOCK
    clear(first)
    assert not active(first)


def test_each_has_its_own(pair: tuple[Nexus, Nexus]) -> None:
    first, second = pair
    fault(first)
    fault(second)
    clear(first)
    assert (active(first), active(second)) == (False, True)
    clear(second)
    assert not active(second)


@pytest.mark.parametrize("sender", [From.TASK, From.BH, From.SOFTIRQ, From.IRQ, From.LOCKED])
def test_every_context(script: Script, pair: tuple[Nexus, Nexus], sender: From) -> None:
    """Whatever context a command comes and ends in."""
    nexus, _ = pair
    plan = Plan(submit_from=sender, data_from=sender, response_from=sender)
    older = [with_data(script, nexus), with_data(script, nexus)]
    assert nexus.answer(nexus.submit(WRONG, read=512, plan=plan)).sense == scsi.LBA_OUT_OF_RANGE
    assert nexus.answer(nexus.submit(TUR, plan=plan)).status == ACA_ACTIVE
    script.data(older[0], OTHER, sender=sender)
    script.data(older[1], error=-EIO, sender=sender)
    blocked(*older)
    assert nexus.answer(nexus.submit(TUR, plan=plan, attr=ACA)).good
    clear(nexus)
    assert nexus.answer(older[0]).good
    assert nexus.answer(older[1]).sense == DATA_PHASE


# --- the command with the ACA attribute ---


def test_attribute_without_a_condition(pair: tuple[Nexus, Nexus]) -> None:
    nexus, _ = pair
    assert nexus.answer(own(nexus)).sense == INVALID_MESSAGE
    assert not active(nexus)
    assert nexus.answer(nexus.submit(with_naca(TUR), attr=ACA)).sense == INVALID_MESSAGE
    assert active(nexus), "a CHECK CONDITION as any other"
    clear(nexus)


def test_one_command_with_the_attribute(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """It is carried out; a second one meanwhile is not, and a good end ends nothing."""
    nexus, other = pair
    fault(nexus)
    task = with_data(script, nexus, attr=ACA)
    for cdb in (TUR, with_naca(TUR)):
        assert nexus.answer(nexus.submit(cdb, attr=ACA)).status == ACA_ACTIVE
    script.data(task, OTHER)
    assert nexus.answer(task).good
    assert medium(other) == OTHER
    assert nexus.answer(own(nexus)).good
    assert nexus.answer(nexus.submit(with_naca(TUR), attr=ACA)).good
    assert active(nexus)
    clear(nexus)
    assert not active(nexus)


@pytest.mark.parametrize("naca", [False, True])
def test_attribute_and_check_condition(script: Script, pair: tuple[Nexus, Nexus], naca: bool) -> None:
    """The condition is over; with NACA it is followed by the next, and who was blocked stays so."""
    nexus, _ = pair
    older = with_data(script, nexus)
    fault(nexus)
    script.data(older, OTHER)
    blocked(older)
    cdb = WRONG if naca else scsi.read10(BEYOND, 1)
    assert nexus.answer(nexus.submit(cdb, read=512, attr=ACA)).sense == scsi.LBA_OUT_OF_RANGE
    if naca:
        assert active(nexus)
        blocked(older)
        clear(nexus)
    assert nexus.answer(older).good
    assert not active(nexus)


def test_clear_aca_aborts_it(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """As ABORT TASK would; what is younger than the condition does not wait for it."""
    nexus, other = pair
    older = with_data(script, nexus)
    fault(nexus)
    task = with_data(script, nexus, attr=ACA)
    number = nexus.tmf(Tmf.CLEAR_ACA)
    script.wait(Kind.ABORT, task)
    assert script.find(Kind.TMF_DONE, number) is None
    script.data(task, error=-EIO)
    assert nexus.answer(task).aborted
    assert nexus.tmf_response(number) is Response.COMPLETE
    assert medium(other) == BLOCK
    script.data(older, OTHER)
    assert nexus.answer(older).good
    assert not active(nexus)


# --- what is blocked ---


def test_data_is_not_taken(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """Its data came, and the medium is as it was until the condition is over."""
    first, second = pair
    older = with_data(script, first)
    fault(first)
    script.data(older, OTHER)
    blocked(older)
    assert medium(second) == BLOCK
    assert script.find(Kind.RESPONDED, older) is None
    clear(first)
    assert first.answer(older).good
    assert medium(second) == OTHER


def test_answer_from_the_back_end(script: Script, mapper: Mapper) -> None:
    """What is there ends there, and is not told; nothing of the backing is held meanwhile."""
    device = tree.blockio("d0", mapper.node)
    first, second = serve(script, device)
    mapper.suspend()
    reads = [first.read10(lba, 1) for lba in range(3)]
    tree.wait_for("them to be there", lambda: all(place(number) == "handler" for number in reads))
    fault(first)
    mapper.resume()
    blocked(*reads)
    assert second.test_unit_ready().good
    device.activate(False)
    assert device.state == "parked"
    device.activate()
    assert not script.take(Kind.RESPONDED)
    clear(first)
    assert all(first.answer(number).good for number in reads)
    first.attentions()
    second.attentions()


def test_what_is_held_does_not_begin(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """An ORDERED whose older ones have gone (dormant, in SAM's words) begins when the condition is over."""
    nexus, _ = pair
    older = in_the_way(script, nexus)
    ordered, younger = ready(nexus, Attr.ORDERED), ready(nexus)
    assert nexus.answer(nexus.submit(WRONG, read=512, attr=Attr.HEAD)).sense == scsi.LBA_OUT_OF_RANGE
    abort = nexus.tmf(Tmf.ABORT_TASK, tag=older)
    script.wait(Kind.ABORT, older)
    script.data(older, error=-EIO)
    assert nexus.answer(older).aborted
    assert nexus.tmf_response(abort) is Response.COMPLETE
    assert (place(ordered), place(younger)) == ("order", "order")
    assert nexus.answer(own(nexus)).good
    assert (place(ordered), place(younger)) == ("order", "order")
    clear(nexus)
    assert nexus.answer(ordered).good
    assert nexus.answer(younger).good


def test_one_condition_after_the_other(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """Blocked ones go on in their order, up to one whose CHECK CONDITION has NACA."""
    nexus, _ = pair
    naca = with_naca(scsi.write10(0, 1))
    cdbs = (scsi.write10(0, 1), naca, scsi.write10(0, 1), naca, scsi.write10(0, 1))
    numbers = [with_data(script, nexus, cdb) for cdb in cdbs]
    fault(nexus)
    for number in numbers:
        script.data(number, error=-EIO)
        blocked(number)
    assert active(nexus)
    for round_, ends in enumerate((numbers[:2], numbers[2:4], numbers[4:])):
        clear(nexus)
        assert all(nexus.answer(number).sense == DATA_PHASE for number in ends)
        assert active(nexus) == (round_ < 2)
        assert [place(number) for number in numbers[2 * round_ + 2 :]] == ["aca"] * (
            3 - 2 * round_ if round_ < 2 else 0
        )


def test_a_range_for_itself_does_not_wait(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """COMPARE AND WRITE of another: a blocked WRITE is not at the medium."""
    first, second = pair
    older = with_data(script, first)
    fault(first)
    script.data(older, OTHER)
    blocked(older)
    assert second.command(scsi.compare_and_write(0, 1), write=BLOCK + BLOCK).good
    clear(first)
    assert first.answer(older).good
    assert medium(second) == OTHER


def test_no_room_goes_before(script: Script, make_file: MakeFile) -> None:
    """TASK SET FULL of a command that is not in the task set; it is not blocked either."""
    nexus, _ = serve(script, tree.fileio("d0", make_file("d0", 1)), queue_depth=2)
    older = [with_data(script, nexus)]
    fault(nexus)
    older.append(with_data(script, nexus, attr=ACA))
    assert nexus.test_unit_ready().status == scsi.TASK_SET_FULL
    script.data(older[1], OTHER)
    assert nexus.answer(older[1]).good
    assert active(nexus)
    clear(nexus)
    script.data(older[0], OTHER)
    assert nexus.answer(older[0]).good


# --- what is taken away ---


@pytest.mark.parametrize("ended", [False, True])
def test_abort_of_one_that_is_blocked(script: Script, pair: tuple[Nexus, Nexus], ended: bool) -> None:
    """It is answered at once, writes nothing, and the condition stands."""
    first, second = pair
    taken, left = with_data(script, first), with_data(script, first)
    fault(first)
    for number in (taken, left):
        script.data(number, OTHER, error=-EIO if ended else 0)
        blocked(number)
    assert first.manage(Tmf.ABORT_TASK, tag=taken) is Response.COMPLETE
    assert first.answer(taken).aborted
    assert medium(second) == BLOCK
    assert active(first)
    assert place(left) == "aca"
    clear(first)
    event = first.answer(left)
    assert event.sense == DATA_PHASE if ended else event.good


def preempt(nexus: Nexus, key: int, other: int, attr: int = Attr.SIMPLE) -> Event:
    """PREEMPT AND ABORT."""
    command = Command(Action.PREEMPT_AND_ABORT, type=Type.WRITE_EXCLUSIVE, key=key, sa_key=other)
    cdb, data = wire(command)
    return nexus.answer(nexus.submit(cdb, write=data, attr=attr))


def manage(fn: Tmf, by: int) -> Callable[[tuple[Nexus, Nexus]], None]:
    """A function of one of the two."""

    def act(pair: tuple[Nexus, Nexus]) -> None:
        assert pair[by].manage(fn) is Response.COMPLETE

    return act


def preempted(pair: tuple[Nexus, Nexus]) -> None:
    """By the other."""
    assert preempt(pair[1], 2, 1).good


ENDS: dict[str, tuple[Callable[[tuple[Nexus, Nexus]], None], bool]] = {
    "own LUN RESET": (manage(Tmf.LUN_RESET, 0), True),
    "LUN RESET": (manage(Tmf.LUN_RESET, 1), True),
    "own TARGET RESET": (manage(Tmf.TARGET_RESET, 0), True),
    "TARGET RESET": (manage(Tmf.TARGET_RESET, 1), True),
    "I_T NEXUS RESET": (manage(Tmf.I_T_NEXUS_RESET, 0), True),
    "PREEMPT AND ABORT": (preempted, True),
    "CLEAR ACA": (manage(Tmf.CLEAR_ACA, 0), False),
}


@pytest.mark.parametrize("how", ENDS)
def test_what_ends_it(script: Script, pair: tuple[Nexus, Nexus], how: str) -> None:
    """... and what becomes of who is blocked."""
    first, second = pair
    act, aborts = ENDS[how]
    register((first, 1), (second, 2))
    numbers = [with_data(script, first), with_data(script, first)]
    held = ready(first, Attr.ORDERED)
    assert first.answer(first.submit(WRONG, read=512, attr=Attr.HEAD)).sense == scsi.LBA_OUT_OF_RANGE
    script.data(numbers[0], OTHER)
    script.data(numbers[1], error=-EIO)
    blocked(*numbers)
    act(pair)
    events = [first.answer(number) for number in (*numbers, held)]
    assert [event.aborted for event in events] == [aborts] * 3
    if not aborts:
        assert [event.sense for event in events] == [None, DATA_PHASE, None]
    for nexus in pair:
        nexus.attentions()
    assert medium(second) == (BLOCK if aborts else OTHER)
    assert not active(first)


@pytest.mark.parametrize(
    ("fn", "by"),
    [
        (Tmf.ABORT_TASK_SET, 0), (Tmf.ABORT_TASK_SET, 1), (Tmf.CLEAR_TASK_SET, 0), (Tmf.CLEAR_TASK_SET, 1),
        (Tmf.QUERY_TASK_SET, 0), (Tmf.I_T_NEXUS_RESET, 1), (Tmf.CLEAR_ACA, 1),
    ],
)  # fmt: skip
def test_what_does_not_end_it(script: Script, pair: tuple[Nexus, Nexus], fn: Tmf, by: int) -> None:
    """Functions of another task set, and those that only abort; CLEAR ACA where there is none is no error."""
    first, _ = pair
    older = with_data(script, first)
    fault(first)
    script.data(older, OTHER)
    blocked(older)
    aborted = by == 0 and fn is not Tmf.QUERY_TASK_SET
    assert pair[by].manage(fn) is (Response.SUCCEEDED if fn is Tmf.QUERY_TASK_SET else Response.COMPLETE)
    if aborted:
        assert first.answer(older).aborted
    assert active(first)
    assert aborted or place(older) == "aca"
    clear(first)
    assert aborted or first.answer(older).good
    assert not active(first)


def test_clear_aca_of_one_unit(pair: tuple[Nexus, Nexus]) -> None:
    nexus, _ = pair
    clear(nexus)
    assert nexus.manage(Tmf.CLEAR_ACA, lun=9) is Response.BAD_LUN
    fault(nexus)
    fault(nexus, lun=1)
    clear(nexus, lun=1)
    assert (active(nexus), active(nexus, lun=1)) == (True, False)
    clear(nexus)
    assert not active(nexus)


def test_preempt_and_abort_by_the_faulted_nexus(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """With the attribute it is carried out and ends the condition; without, ACA ACTIVE."""
    first, second = pair
    register((first, 1), (second, 2))
    older = with_data(script, first)
    fault(first)
    script.data(older, OTHER)
    blocked(older)
    assert preempt(first, 1, 2).status == ACA_ACTIVE
    assert preempt(first, 9, 2, attr=ACA).status == 0x18, "of a key that is not its own"
    assert active(first)
    assert preempt(first, 1, 2, attr=ACA).good
    assert first.answer(older).good
    assert not active(first)
    assert second.attentions() == [(6, 0x2A, 5)]


def test_what_is_reserved_goes_before(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """One that was blocked looks at the gates when it goes on: it was preempted meanwhile."""
    first, second = pair
    register((first, 1), (second, 2))
    older = with_data(script, first)
    fault(first)
    script.data(older, OTHER)
    blocked(older)
    cdb, data = wire(Command(Action.RESERVE, type=Type.EXCLUSIVE_ACCESS, key=2))
    reserve = second.submit(cdb, write=data)
    tree.wait_for("the reservation", lambda: second.good(bytes((0x5E, 1, *bytes(6), 64, 0)), read=64)[7] != 0)
    assert second.answer(ready(second)).good
    assert script.find(Kind.RESPONDED, reserve) is None, (
        "it waits for what was admitted, as for data on its way"
    )
    clear(first)
    assert first.answer(older).status == 0x18
    assert second.answer(reserve).good
    assert medium(second) == BLOCK
    good(second, Action.RELEASE, 2, Type.EXCLUSIVE_ACCESS)


def test_an_answer_that_waits_for_others(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """PERSISTENT RESERVE OUT that is done is blocked as well; what it did stands."""
    first, second = pair
    register((first, 1), (second, 2))
    theirs = in_the_way(script, second)
    cdb, data = wire(Command(Action.RESERVE, type=Type.WRITE_EXCLUSIVE, key=1))
    reserve = first.submit(cdb, write=data)
    tree.wait_for("the reservation", lambda: second.good(bytes((0x5E, 1, *bytes(6), 64, 0)), read=64)[7] != 0)
    fault(first)
    script.data(theirs)
    assert second.answer(theirs).status == 0x18
    blocked(reserve)
    clear(first)
    assert first.answer(reserve).good
    good(first, Action.RELEASE, 1, Type.WRITE_EXCLUSIVE)


def test_end_of_a_session(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """With commands that are blocked: it goes, and the other does not notice."""
    first, second = pair
    numbers = [with_data(script, first), with_data(script, first)]
    fault(first)
    script.data(numbers[0], OTHER)
    script.data(numbers[1], error=-EIO)
    blocked(*numbers)
    first.close()
    first.gone()
    assert second.test_unit_ready().good


def test_lun_is_taken_away(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    """Nobody could clear it any more: who is blocked goes on, and the LUN is settled."""
    first, second = pair
    numbers = [with_data(script, first, with_naca(scsi.write10(0, 1))) for _ in range(3)]
    fault(first)
    script.data(numbers[0], OTHER)
    for number in numbers[1:]:
        script.data(number, error=-EIO)
    blocked(*numbers)
    Target("t1").luns.unmap(0)
    events = [first.answer(number) for number in numbers]
    assert [event.sense for event in events] == [scsi.LUN_NOT_SUPPORTED, DATA_PHASE, DATA_PHASE]
    tree.wait_for("the LUN to be settled", is_settled)
    assert second.attentions(lun=1) == [scsi.LUNS_CHANGED]


def test_target_is_disabled(script: Script, pair: tuple[Nexus, Nexus]) -> None:
    first, _ = pair
    older = with_data(script, first)
    fault(first)
    script.data(older, OTHER)
    blocked(older)
    Target("t1").enable(False)
    assert Target("t1").state == "disabled"
    for nexus in pair:
        nexus.gone()


# --- to see it ---


def test_trace(trace: Trace, script: Script) -> None:
    """The condition's beginning and end, and what it blocks."""
    nexus, _ = serve(script, tree.nullio("d0"))
    trace.clear()
    older = with_data(script, nexus)
    fault(nexus)
    script.data(older, OTHER)
    blocked(older)
    assert nexus.test_unit_ready().status == ACA_ACTIVE
    clear(nexus)
    assert nexus.answer(older).good
    events = [event for event in trace.events() if event.name in ("aca", "cmd_block")]
    assert [event.name for event in events] == ["aca", "cmd_block", "aca"]
    assert [event.fields["on"] for event in (events[0], events[2])] == ["1", "0"]
    assert events[1].fields["tag"] == hex(older)
    answers = [event.fields["status"] for event in trace.events() if event.name == "cmd_respond"]
    assert answers.count("ACA_ACTIVE") == 1


# --- many at a time ---

CONTEXTS = (From.HERE, From.TASK, From.BH, From.SOFTIRQ, From.IRQ)


class Load:
    """Commands of four initiators, some of which fail, with and without NACA."""

    def __init__(self, script: Script, nexuses: list[Nexus], rng: random.Random) -> None:
        self.script, self.nexuses, self.rng = script, nexuses, rng
        self.out: dict[int, tuple[Nexus, int]] = {}
        self.functions: list[tuple[Nexus, int]] = []
        self.seen = {"good": 0, "check": 0, "aca": 0, "aborted": 0, "blocked": 0}

    def submit(self) -> None:
        """One command, of any nexus."""
        rng, nexus = self.rng, self.rng.choice(self.nexuses)
        wrong = rng.random() < 0.2
        lba = BEYOND if wrong else rng.randrange(64)
        attr = rng.choices((Attr.SIMPLE, Attr.ORDERED, Attr.HEAD, ACA), (12, 2, 2, 4))[0]
        plan = Plan(
            submit_from=rng.choice((From.TASK, From.BH, From.SOFTIRQ, From.IRQ)),
            data_from=rng.choice(CONTEXTS), data_ms=rng.choice((0, 1, 10, 50)),
            response_from=rng.choice(CONTEXTS), response_ms=rng.choice((0, 0, 1)),
            error=rng.choice((0, 0, 0, 0, 0, -EIO)), flags=Flag.QUIET,
        )  # fmt: skip
        cdb = scsi.write10(lba, 1)
        if rng.random() < 0.6:
            cdb = with_naca(cdb)
        self.out[nexus.submit(cdb, write=BLOCK, plan=plan, attr=attr)] = nexus, attr

    def manage(self) -> None:
        """A function; mostly CLEAR ACA."""
        nexus = self.rng.choice(self.nexuses)
        fns = (Tmf.CLEAR_ACA, Tmf.ABORT_TASK, Tmf.ABORT_TASK_SET, Tmf.LUN_RESET, Tmf.I_T_NEXUS_RESET)
        fn = self.rng.choices(fns, (20, 12, 2, 1, 1))[0]
        tag = self.rng.choice(list(self.out)) if self.out else 0
        self.functions.append((nexus, nexus.tmf(fn, tag=tag)))

    def look(self) -> None:
        """Count those that are blocked now."""
        self.seen["blocked"] += sum(line.place == "aca" for line in lines("d0"))

    def gather(self) -> None:
        """What has been answered."""
        for event in self.script.take(Kind.RESPONDED):
            del self.out[event.id]
            if event.aborted:
                self.seen["aborted"] += 1
            elif event.status == ACA_ACTIVE:
                self.seen["aca"] += 1
            else:
                assert event.status in (scsi.GOOD, scsi.CHECK_CONDITION), event
                self.seen["check" if event.status else "good"] += 1

    def rest(self) -> Iterator[int]:
        """Clear until all is answered: each condition is a command's that is over by then."""
        while self.out:
            yield len(self.out)
            for nexus in self.nexuses:
                clear(nexus)
            self.script.pump(0.01)
            self.gather()


def test_load(script: Script) -> None:
    """Conditions of four nexuses come and go: at the end nothing is stuck, and none is left."""
    seed = int(os.environ.get("SCST_SEED") or random.randrange(1 << 32))
    print(f"SCST_SEED={seed}")
    rng = random.Random(seed)
    target = Target("t1").make()
    target.luns.map(0, tree.nullio("d0", 1 << 20))
    target.enable()
    nexuses = [script.login(target, name) for name in ("a", "b", "c", "d")]
    for nexus in nexuses:
        nexus.attentions()
    load = Load(script, nexuses, rng)
    for step in range(int(os.environ.get("SCST_ACA_STEPS", "1500"))):
        if len(load.out) < 100 and rng.random() < 0.8:
            load.submit()
        else:
            load.manage()
        if step % 10 == 0:
            load.gather()
        if step % 100 == 99:
            load.look()
    rounds = sum(1 for _ in zip(load.rest(), range(1000), strict=False))
    assert not load.out, f"{rounds} rounds; {sorted(load.out)}: {[place(number) for number in load.out]}"
    for nexus, number in load.functions:
        nexus.tmf_response(number)
    print(load.seen, rounds)
    assert all(count > 5 for count in load.seen.values()), load.seen
    for nexus in nexuses:
        clear(nexus)
        nexus.attentions()
        assert not active(nexus)
        assert nexus.answer(ready(nexus, Attr.ORDERED)).good
