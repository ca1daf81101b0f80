# SPDX-License-Identifier: GPL-2.0-or-later
"""Who waits for a COMPARE AND WRITE, and for whom it waits: while the back end hangs, and when it goes on.

A disk that hangs holds what overlaps, and nothing else; what waits leaves the line when it is aborted.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.model.pr import Action, Command, Type
from tests.unit.pr_kernel import wire
from tests.vm.guest import scsi, tree
from tests.vm.guest.long import more
from tests.vm.guest.patience import children, timely
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
from tests.vm.guest.test_recovery import Mapper, mapper
from tests.vm.guest.test_reserve import good, register
from tests.vm.guest.test_sight import lines
from tests.vm.guest_plugin import PluggedDisk

__all__ = ("mapper",)

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_script", "dm_mod")

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
MOMENT = 0.3
OLD, NEW, OTHER = b"\x0f" * 512, b"\xf0" * 512, b"\x33" * 512
LBA, COUNT = 64, 8


def pattern(block: bytes, count: int = COUNT) -> bytes:
    """So many blocks alike."""
    return block * count


@dataclass(frozen=True, slots=True)
class Stage:
    """Two initiators at a disk that can hang, with another disk beside it as LUN 1."""

    script: Script
    mapper: Mapper
    device: tree.Device
    first: Nexus
    second: Nexus

    def place(self, command: int, nexus: Nexus) -> str | None:
        """Where a command is; None: it is not in flight."""
        for one in lines("slow"):
            if one.tag == hex(command) and one.initiator == nexus.name:
                return one.place
        return None

    def wait_place(self, command: int, nexus: Nexus, place: str) -> None:
        """Wait until it is there."""
        tree.wait_for(
            f"{place}, not {self.place(command, nexus)}", lambda: self.place(command, nexus) == place
        )

    def caw(
        self, nexus: Nexus, old: bytes = OLD, new: bytes = NEW, lba: int = LBA, count: int = COUNT
    ) -> int:
        """Submit a COMPARE AND WRITE."""
        data = pattern(old, count) + pattern(new, count)
        return nexus.submit(scsi.compare_and_write(lba, count), write=data)

    def hung_caw(self, nexus: Nexus) -> int:
        """One that hangs in the back end."""
        number = self.caw(nexus)
        self.wait_place(number, nexus, "handler")
        return number

    def write(
        self, nexus: Nexus, lba: int = LBA, block: bytes = OTHER, count: int = COUNT, plan: Plan = USUAL
    ) -> int:
        """Submit a WRITE."""
        return nexus.submit(scsi.write10(lba, count), write=pattern(block, count), plan=plan)

    def content(self) -> bytes:
        """What the disk has there."""
        return self.first.good(scsi.read10(LBA, COUNT), read=COUNT * 512)

    def aside(self) -> None:
        """Everybody else goes on: the LUN beside it, in every way that writes."""
        for nexus in (self.first, self.second):
            for cdb, data in ((scsi.write10(LBA, 1), OLD), (scsi.compare_and_write(LBA, 1), OLD + OLD)):
                answer = timely(cdb.hex(), partial(nexus.command, cdb, 1, 0, data))
                assert answer.good, str(answer)


@pytest.fixture
def stage(script: Script, mapper: Mapper, disks: dict[str, PluggedDisk]) -> Iterator[Stage]:
    """The disk has OLD at its beginning."""
    slow = tree.blockio("slow", mapper.node)
    first, second = serve(script, slow, tree.blockio("beside", disks["vm-disk-a"].node))
    first.good(scsi.write10(0, 256), write=pattern(OLD, 256))
    yield Stage(script, mapper, slow, first, second)
    mapper.resume()


# --- writes wait for it ---

WRITES: dict[str, tuple[bytes, bytes]] = {
    "write6": (scsi.write6(LBA + 7, 2), pattern(OTHER, 2)),
    "write10": (scsi.write10(LBA, COUNT), pattern(OTHER)),
    "write12": (scsi.cdb12(0xAA, LBA - 1, 2), pattern(OTHER, 2)),
    "write16": (scsi.write16(LBA + 2, 1), OTHER),
    "write10_fua": (scsi.write10(LBA, COUNT, scsi.FUA), pattern(OTHER)),
    "write_verify10": (scsi.write_verify10(LBA, COUNT, 1), pattern(OTHER)),
    "write_verify16": (scsi.write_verify16(LBA, COUNT), pattern(OTHER)),
    "write_same10": (scsi.write_same10(LBA, COUNT), OTHER),
    "write_same16_zeroes": (scsi.write_same16(LBA - 8, 64), bytes(512)),
    "orwrite16": (scsi.orwrite16(LBA + 1, 1), OTHER),
    "caw": (scsi.compare_and_write(LBA, COUNT), pattern(NEW) + pattern(OTHER)),
}


USUAL_WRITES = ("write10", "write_verify10", "write_same10", "orwrite16", "caw")
OTHER_WRITES = [name for name in WRITES if name not in USUAL_WRITES]


@pytest.mark.parametrize("name", [*USUAL_WRITES, *more(*OTHER_WRITES)])
def test_writes_wait_for_it(stage: Stage, name: str) -> None:
    """Every way to write to what it has for itself; what does not overlap only hangs where the disk does."""
    cdb, data = WRITES[name]
    stage.mapper.suspend()
    caw = stage.hung_caw(stage.first)
    behind = stage.second.submit(cdb, write=data)
    stage.wait_place(behind, stage.second, "turn")
    beside = [stage.write(stage.second, LBA + COUNT + 8), stage.write(stage.first, 0)]
    for number, nexus in zip(beside, (stage.second, stage.first), strict=True):
        stage.wait_place(number, nexus, "handler")
    stage.aside()
    assert stage.script.find(Kind.RESPONDED) is None
    stage.mapper.resume()
    won, later = stage.first.answer(caw), stage.second.answer(behind)
    assert won.good, str(won)
    assert later.good, str(later)
    assert later.seq > won.seq
    for number, nexus in zip(beside, (stage.second, stage.first), strict=True):
        assert nexus.answer(number).good
    if name in ("write10", "write10_fua", "write_verify10", "write_same10", "caw"):
        assert stage.content() == pattern(OTHER)
    elif name == "orwrite16":
        assert stage.content()[512:1024] == bytes(a | b for a, b in zip(NEW, OTHER, strict=True))


def test_unmap_waits_for_it(script: Script, ext4: Path) -> None:
    """UNMAP of a thin disk, part of whose list overlaps."""
    path = ext4 / "thin"
    path.write_bytes(pattern(OLD, 4096))
    device = tree.fileio("slow", path, thin=1)
    first, second = serve(script, device)
    for _ in range(20):
        first.good(scsi.write10(LBA, COUNT), write=pattern(OLD))
        body = scsi.unmap_list((0, 8), (LBA, 8))
        caw = first.submit(scsi.compare_and_write(LBA, COUNT), write=pattern(OLD) + pattern(NEW))
        unmap = second.submit(scsi.unmap(len(body)), write=body)
        won, given = first.answer(caw), second.answer(unmap)
        assert given.good
        assert won.good or won.sense == scsi.MISCOMPARE
        assert first.good(scsi.read10(LBA, COUNT), read=COUNT * 512) == bytes(COUNT * 512)
    path.unlink()


@pytest.mark.parametrize("name", USUAL_WRITES)
def test_it_waits_for_writes(stage: Stage, name: str) -> None:
    """What was at the medium before it is over before it compares."""
    cdb, data = WRITES[name]
    stage.mapper.suspend()
    ahead = stage.second.submit(cdb, write=data)
    stage.wait_place(ahead, stage.second, "handler")
    caw = stage.caw(stage.first)
    stage.wait_place(caw, stage.first, "turn")
    stage.aside()
    stage.mapper.resume()
    ended, answer = stage.second.answer(ahead), stage.first.answer(caw)
    assert answer.seq > ended.seq
    if name == "caw":
        assert ended.sense == scsi.MISCOMPARE
        assert answer.good
    else:
        assert ended.good
        assert answer.sense == scsi.MISCOMPARE, str(answer)


def test_the_line_is_kept(stage: Stage) -> None:
    """Each after the one before it, as they came; those that do not overlap beside each other."""
    stage.mapper.suspend()
    numbers = [(stage.hung_caw(stage.first), stage.first)]
    blocks = [NEW]
    for step in range(6):
        nexus = (stage.first, stage.second)[step % 2]
        block = bytes((step + 1,)) * 512
        compares = step in (1, 2, 4)
        number = stage.caw(nexus, blocks[-1], block) if compares else stage.write(nexus, block=block)
        stage.wait_place(number, nexus, "turn")
        numbers.append((number, nexus))
        blocks.append(block)
    apart = stage.caw(stage.second, lba=LBA + 32)
    stage.wait_place(apart, stage.second, "handler")
    stage.mapper.resume()
    answers = [nexus.answer(number) for number, nexus in numbers]
    assert all(answer.good for answer in answers), [str(answer) for answer in answers]
    assert [answer.seq for answer in answers] == sorted(answer.seq for answer in answers)
    assert stage.second.answer(apart).good
    assert stage.content() == pattern(blocks[-1])


OTHER_CONTEXTS = [sender for sender in From if sender not in (From.HERE, From.LOCKED)]


@pytest.mark.parametrize(
    "sender", [From.HERE, From.LOCKED, *more(*OTHER_CONTEXTS)], ids=lambda sender: sender.name.lower()
)
def test_from_every_context(stage: Stage, sender: From) -> None:
    """Wherever the driver calls from."""
    stage.mapper.suspend()
    caw = stage.first.submit(
        scsi.compare_and_write(LBA, COUNT), write=pattern(OLD) + pattern(NEW), plan=Plan(submit_from=sender)
    )
    stage.wait_place(caw, stage.first, "handler")
    held = stage.write(stage.second, plan=Plan(submit_from=sender, data_from=sender))
    stage.wait_place(held, stage.second, "turn")
    stage.mapper.resume()
    assert stage.first.answer(caw).good
    assert stage.second.answer(held).good
    assert stage.content() == pattern(OTHER)


# --- it does not wait for initiators ---


def test_data_that_does_not_come(stage: Stage) -> None:
    """A WRITE whose initiator sends no data keeps nobody; when it comes the write is the later one."""
    write = stage.write(stage.second, plan=HOLD_DATA)
    stage.script.wait(Kind.WANTS_DATA, write)
    assert stage.first.answer(stage.caw(stage.first)).good
    assert stage.content() == pattern(NEW)
    stage.script.data(write)
    assert stage.second.answer(write).good
    assert stage.content() == pattern(OTHER)


def test_data_that_comes_meanwhile(stage: Stage) -> None:
    """It waits then."""
    write = stage.write(stage.second, plan=HOLD_DATA)
    stage.script.wait(Kind.WANTS_DATA, write)
    stage.mapper.suspend()
    caw = stage.hung_caw(stage.first)
    stage.script.data(write)
    stage.wait_place(write, stage.second, "turn")
    stage.mapper.resume()
    assert stage.first.answer(caw).good
    assert stage.second.answer(write).good
    assert stage.content() == pattern(OTHER)


def test_response_that_is_not_confirmed(stage: Stage) -> None:
    """What is written is written, whatever becomes of the answer."""
    write = stage.write(stage.second, block=OLD, plan=HOLD_RESPONSE)
    stage.script.wait(Kind.RESPONDED, write)
    assert stage.first.answer(stage.caw(stage.first)).good
    stage.script.respond(write)
    stage.script.wait(Kind.RELEASED, write)


# --- aborts ---

ENDS = ("abort", "abort_set", "close")


def end(stage: Stage, nexus: Nexus, command: int, how: str) -> None:
    """Abort a command that waits for a turn: answered while the disk still hangs."""
    if how == "close":
        nexus.close()
        assert nexus.answer(command).aborted
        nexus.gone()
        return
    fn = Tmf.ABORT_TASK if how == "abort" else Tmf.ABORT_TASK_SET
    assert nexus.manage(fn, tag=command) == Response.COMPLETE
    assert nexus.answer(command).aborted


# Each way to write, and each way to end it.
USUAL_PAIRS = list(zip(USUAL_WRITES, itertools.cycle(ENDS), strict=False))
OTHER_PAIRS = [pair for pair in itertools.product(USUAL_WRITES, ENDS) if pair not in USUAL_PAIRS]


@pytest.mark.parametrize(("what", "how"), [*USUAL_PAIRS, *more(*OTHER_PAIRS)])
def test_aborted_while_it_waits(stage: Stage, what: str, how: str) -> None:
    """It waits for no stranger's disk, writes nothing, and who waits behind it goes on without it."""
    cdb, data = WRITES[what]
    stage.mapper.suspend()
    caw = stage.hung_caw(stage.first)
    behind = stage.second.submit(cdb, write=data)
    stage.wait_place(behind, stage.second, "turn")
    last = stage.write(stage.first, block=bytes(512))
    stage.wait_place(last, stage.first, "turn")
    timely("the end of what waits", partial(end, stage, stage.second, behind, how))
    assert stage.script.find(Kind.RESPONDED) is None
    stage.mapper.resume()
    assert stage.first.answer(caw).good
    assert stage.first.answer(last).good
    assert stage.content() == bytes(COUNT * 512)


@pytest.mark.parametrize("how", ENDS)
def test_aborted_while_it_waits_for_writes(stage: Stage, how: str) -> None:
    """A COMPARE AND WRITE that has not begun, because a write before it hangs."""
    stage.mapper.suspend()
    ahead = stage.write(stage.first)
    stage.wait_place(ahead, stage.first, "handler")
    caw = stage.caw(stage.second)
    stage.wait_place(caw, stage.second, "turn")
    behind = stage.write(stage.first, block=bytes(512))
    stage.wait_place(behind, stage.first, "turn")
    timely("the end of what waits", partial(end, stage, stage.second, caw, how))
    # It went on to the disk, which hangs.
    stage.wait_place(behind, stage.first, "handler")
    stage.mapper.resume()
    assert stage.first.answer(ahead).good
    assert stage.first.answer(behind).good


@pytest.mark.parametrize(
    "fn", [Tmf.ABORT_TASK, Tmf.LUN_RESET, Tmf.I_T_NEXUS_RESET], ids=lambda fn: fn.name.lower()
)
def test_aborted_at_the_medium(stage: Stage, fn: Tmf) -> None:
    """While it compares: answered when the disk has; it writes nothing, and who waits goes on."""
    stage.mapper.suspend()
    caw = stage.hung_caw(stage.first)
    behind = stage.write(stage.second)
    stage.wait_place(behind, stage.second, "turn")
    tmf = stage.first.tmf(fn, tag=caw)
    time.sleep(MOMENT)
    assert stage.script.find(Kind.TMF_DONE, tmf) is None, "it may still be at the medium"
    stage.mapper.resume()
    ended = stage.first.answer(caw)
    assert ended.aborted
    assert stage.script.wait(Kind.TMF_DONE, tmf).seq > ended.seq
    answer = stage.second.answer(behind)
    assert answer.aborted == (fn == Tmf.LUN_RESET)
    stage.first.attentions()
    assert stage.content() == pattern(OLD if answer.aborted else OTHER)


def test_aborted_while_it_writes(stage: Stage) -> None:
    """In the middle: the range is nobody else's until the disk has ended it."""
    for _ in range(10):
        stage.first.good(scsi.write10(LBA, COUNT), write=pattern(OLD))
        caw = stage.caw(stage.first)
        behind = stage.write(stage.second)
        tmf = stage.first.tmf(Tmf.ABORT_TASK, tag=caw)
        answer = stage.first.answer(caw)
        assert answer.good or answer.aborted or answer.sense == scsi.MISCOMPARE
        assert stage.first.tmf_response(tmf) in (Response.COMPLETE, Response.NO_TASK)
        assert stage.second.answer(behind).good
        if not answer.sense:
            assert stage.content() in (pattern(OTHER), pattern(NEW) if answer.good else pattern(OTHER))


@pytest.mark.parametrize(
    "action", [Action.PREEMPT, Action.PREEMPT_AND_ABORT], ids=lambda action: action.name.lower()
)
def test_preempted_while_it_waits(stage: Stage, action: Action) -> None:
    """A write from before: waited for, or taken out of the line and not written."""
    first, second = stage.first, stage.second
    register((first, 1), (second, 2))
    good(second, Action.RESERVE, 2, Type.WRITE_EXCLUSIVE_REGISTRANTS_ONLY)
    stage.mapper.suspend()
    caw = stage.hung_caw(first)
    held = stage.write(second)
    stage.wait_place(held, second, "turn")
    cdb, data = wire(Command(action, type=Type.WRITE_EXCLUSIVE, key=1, sa_key=2))
    preempt = first.submit(cdb, write=data)
    if action == Action.PREEMPT_AND_ABORT:
        assert second.answer(held).aborted
        assert first.answer(preempt).good, "nothing of it hangs"
    else:
        time.sleep(MOMENT)
        assert stage.script.find(Kind.RESPONDED, preempt) is None, "it may still write"
    stage.mapper.resume()
    assert first.answer(caw).good
    if action == Action.PREEMPT:
        ended = second.answer(held)
        assert ended.good
        assert first.answer(preempt).seq > ended.seq
    assert stage.content() == pattern(OTHER if action == Action.PREEMPT else NEW)


def test_parked_while_they_wait(stage: Stage) -> None:
    """The device closes when the last of them is over; all are answered."""
    stage.mapper.suspend()
    caw = stage.hung_caw(stage.first)
    held = stage.write(stage.second)
    stage.wait_place(held, stage.second, "turn")
    with children() as start:
        park = start("active 0", partial(stage.device.activate, False))
        tree.wait_for("the device to close", lambda: stage.device.state == "closing")
        late = stage.second.command(scsi.write10(LBA, COUNT), write=pattern(NEW))
        assert late.sense == scsi.BECOMING_READY, "it does not wait"
        assert stage.script.find(Kind.RESPONDED) is None
        stage.mapper.resume()
        assert stage.first.answer(caw).good
        assert stage.second.answer(held).good
        park.wait()
    assert stage.device.state == "parked"
    assert timely("activation", stage.device.activate) is None
    stage.first.attentions()
    assert stage.content() == pattern(OTHER)


# --- everything at once ---


def test_all_at_once(script: Script, make_file: MakeFile) -> None:
    """Many of each, from both, over one block: all end, and the last word is one of theirs."""
    path = make_file("busy", 1)
    first, second = serve(script, tree.fileio("busy", path))
    first.good(scsi.write10(0, 1), write=bytes(512))
    numbers: list[tuple[Nexus, int]] = []
    for number in range(200):
        nexus = (first, second)[number % 2]
        block = number.to_bytes(2, "big") * 256
        if number % 5 == 0:
            cdb, data = scsi.compare_and_write(0, 1), bytes(512) + block
        elif number % 5 == 1:
            cdb, data = scsi.write_same10(0, 4), block
        elif number % 5 == 2:
            cdb, data = scsi.orwrite16(0, 2), block * 2
        else:
            cdb, data = scsi.write10(0, 1), block if number % 2 else bytes(512)
        numbers.append((nexus, nexus.submit(cdb, write=data, plan=Plan(submit_from=From(number % 6)))))
    for nexus, number in numbers:
        answer = nexus.answer(number)
        assert answer.good or answer.sense == scsi.MISCOMPARE, str(answer)
    assert lines("busy") == []
