# SPDX-License-Identifier: GPL-2.0-or-later
"""What was slow, and what failed: remembered without being asked to, with who, what, where and how often."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pyscstadmin.config.layout import DEBUG_ROOT
from pyscstadmin.kernel.inflight import read_commands
from pyscstadmin.kernel.recorder import Record, read_records
from tests.vm.guest import scsi, tool, tree
from tests.vm.guest.script import (
    HOLD_DATA,
    HOLD_RESPONSE,
    Kind,
    Nexus,
    Response,
    Script,
    Target,
    Tmf,
    serve,
)
from tests.vm.guest.test_order import Attr
from tests.vm.guest.test_recovery import Mapper, mapper

__all__ = ("mapper",)

SCST_MODULES = ("scst", "scst_nullio", "scst_blockio", "scst_script", "dm_mod")

pytestmark = pytest.mark.usefixtures("clean_tree")

SLOW_MS = tree.CLASS / "core/slow_ms"
USUAL_MS, MOST_MS = 1000, 3_600_000
KEPT = 32
BLOCK = bytes(512)


@pytest.fixture
def half_a_second() -> Iterator[None]:
    """Slow is what takes half a second."""
    tree.write(SLOW_MS, 500)
    yield
    tree.write(SLOW_MS, USUAL_MS)


def records(device: str, kind: str) -> list[Record]:
    """What is remembered of a device, the oldest first, but for the attentions of who looks at a disk."""
    return [
        one
        for one in read_records()
        if (one.device, one.kind) == (device, kind) and "UNIT ATTENTION" not in one.answer
    ]


def the_slow_one(device: str, stage: str, command: int) -> Record:
    """A slow command of a device; it was so long at *stage*. Others are slow only when the host is."""
    (record,) = (one for one in records(device, "slow") if one.tag == hex(command))
    assert record.place == stage, record
    assert record.ms >= 500
    assert record.ms - record.place_ms <= record.ms / 4, record
    return record


@pytest.mark.usefixtures("half_a_second")
def test_one_of_many(script: Script, mapper: Mapper, tmp_path: Path) -> None:
    """One command of thousands hangs for 0.8 s in the back end: it is there, and hardly anything else."""
    first, second = serve(script, tree.blockio("slow", mapper.node))
    began = time.time_ns()
    for lba in range(1000):
        first.good(scsi.read10(lba, 1), read=512)
    mapper.suspend()
    hung = second.submit(scsi.read10(7, 8), read=4096)
    time.sleep(0.8)
    mapper.resume()
    assert second.answer(hung).good
    for lba in range(1000):
        first.good(scsi.read10(lba, 1), read=512)
    record = the_slow_one("slow", "handler", hung)
    assert len(records("slow", "slow")) < 10
    assert (record.initiator, record.target, record.lun) == ("second", "script/t1", 0)
    assert (record.what, record.cdb, record.bytes) == ("READ(10)", "28000000000700000800", 4096)
    assert (record.answer, record.times, record.tag) == ("GOOD", 1, hex(hung))
    assert began < record.when_ns < time.time_ns()
    status, said = tool.run(tmp_path, "recorder", "device=slow", "kind=slow")
    assert status == 0
    (shown,) = (one for one in said["records"] if one["tag"] == record.tag)
    assert (shown["what"], shown["ms"], shown["place"]) == ("READ(10)", record.ms, "handler")


@pytest.mark.usefixtures("half_a_second")
def test_slow_initiator(script: Script) -> None:
    """Its data comes late; it confirms the response late."""
    nexus, other = serve(script, tree.nullio("late"), tree.nullio("mute"))
    late = nexus.write10(0, BLOCK, plan=HOLD_DATA)
    mute = other.submit(scsi.inquiry(), lun=1, read=36, plan=HOLD_RESPONSE)
    script.wait(Kind.WANTS_DATA, late)
    script.wait(Kind.RESPONDED, mute)
    time.sleep(0.7)
    script.data(late)
    script.respond(mute)
    for command in (late, mute):
        script.wait(Kind.RELEASED, command)
    assert the_slow_one("late", "data", late).what == "WRITE(10)"
    assert the_slow_one("mute", "response", mute).what == "INQUIRY"


@pytest.mark.usefixtures("half_a_second")
def test_waits_for_others(script: Script, mapper: Mapper) -> None:
    """One waits because it is ORDERED, one because its blocks are taken."""
    nexus, other = serve(script, tree.blockio("slow", mapper.node))
    nexus.good(scsi.write10(0, 1), write=BLOCK)
    mapper.suspend()
    hung = nexus.submit(scsi.compare_and_write(0, 1), write=BLOCK * 2)
    tree.wait_for("it to have its turn", lambda: [one.place for one in read_commands()] == ["handler"])
    ordered = nexus.submit(scsi.test_unit_ready(), attr=Attr.ORDERED)
    turn = other.write10(0, BLOCK)
    time.sleep(0.8)
    mapper.resume()
    for command, whose in ((hung, nexus), (ordered, nexus), (turn, other)):
        assert whose.answer(command).good
    for command, stage in ((hung, "handler"), (ordered, "order"), (turn, "turn")):
        the_slow_one("slow", stage, command)


@pytest.mark.usefixtures("half_a_second")
def test_waits_for_its_rate(script: Script) -> None:
    """Four reads where a second has one."""
    device = tree.nullio("d0")
    nexus, _ = serve(script, device)
    for name, value in (("burst", 1000), ("read_iops", 1)):
        tree.write(Target("t1").luns.path / "0" / name, value)
    commands = [nexus.read10(0, 1) for _ in range(3)]
    for command in commands:
        assert nexus.answer(command).good
    assert {record.place for record in records("d0", "slow")} == {"limited"}


# --- failures ---


def test_the_same_again_is_one_record(script: Script) -> None:
    """Once for each nexus and kind of failure, however often, with the last of them in it."""
    nexus, other = serve(script, tree.nullio("d0"))
    for lba in range(100):
        nexus.command(scsi.read10((1 << 31) + lba, 1), read=512)
    other.command(scsi.read10(1 << 31, 1), read=512)
    nexus.command(bytes((0xFF,)) + bytes(5))
    found = {(one.initiator, one.cdb[:2]): one for one in records("d0", "failed")}
    assert len(found) == len(records("d0", "failed")) == 3
    often = found["first", "28"]
    assert (often.times, often.cdb) == (100, "28008000006300000100")
    assert often.answer == "CHECK CONDITION, ILLEGAL REQUEST 21/00"
    assert often.bytes == 0
    assert often.sense.startswith("7")
    assert found["second", "28"].times == 1
    assert found["first", "ff"].answer == "CHECK CONDITION, ILLEGAL REQUEST 20/00"
    assert found["first", "ff"].what == "-"


def test_the_latest_are_kept(script: Script) -> None:
    """More kinds of failure than there is room for: those that were seen last; what repeats stays."""
    nexus, _ = serve(script, tree.nullio("d0"))
    unknown = [opcode for opcode in range(0xC0, 0x100) if opcode not in (0xC0,)]
    for opcode in unknown:
        nexus.command(bytes((opcode,)) + bytes(15))
        nexus.command(scsi.read10(1 << 31, 1), read=512)
    found = records("d0", "failed")
    assert len(found) == KEPT
    assert {int(one.cdb[:2], 16) for one in found} == {0x28, *unknown[-KEPT + 1 :]}
    assert next(one for one in found if one.cdb.startswith("28")).times == len(unknown)


def test_what_is_no_failure(script: Script) -> None:
    """TASK SET FULL keeps the number of commands down; it is counted, and pushes nothing out."""
    nexus, _ = serve(script, tree.nullio("d0"), queue_depth=1)
    held = nexus.write10(0, BLOCK, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, held)
    assert nexus.answer(nexus.read10(0, 1)).status == scsi.TASK_SET_FULL
    script.data(held)
    assert nexus.answer(held).good
    assert records("d0", "failed") == []


def test_aborts_and_functions(script: Script) -> None:
    """What was aborted, and by what; a function at a LUN that is not there, and one that names none."""
    nexus, other = serve(script, tree.nullio("d0"))
    held = nexus.write10(0, BLOCK, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, held)
    time.sleep(0.3)
    function = other.tmf(Tmf.LUN_RESET)
    script.wait(Kind.ABORT, held)
    script.data(held)
    assert other.tmf_response(function) == Response.COMPLETE
    assert nexus.answer(held).aborted
    for _ in range(5):
        assert nexus.manage(Tmf.ABORT_TASK, tag=0xDEAD) == Response.NO_TASK
    assert nexus.manage(Tmf.LUN_RESET, lun=9) == Response.BAD_LUN
    (aborted,) = records("d0", "failed")
    assert (aborted.answer, aborted.what, aborted.initiator) == ("TASK ABORTED", "WRITE(10)", "first")
    assert (aborted.place, aborted.ms >= 300) == ("data", True)
    (reset,) = records("d0", "tmf")
    assert (reset.what, reset.initiator, reset.lun) == ("LOGICAL UNIT RESET", "second", 0)
    assert reset.answer == "FUNCTION COMPLETE"
    mine = [one for one in records("", "tmf") if one.session == reset_session(nexus)]
    assert [(one.what, one.times, one.lun) for one in mine] == [
        ("ABORT TASK", 5, None),
        ("LOGICAL UNIT RESET", 1, 9),
    ]
    assert mine[0].answer == "FUNCTION COMPLETE, there was no such command"


def reset_session(nexus: Nexus) -> str:
    """The name of a session in /sys/class/scst."""
    (found,) = (
        folder.name
        for folder in tree.CLASS.glob("session.*")
        if tree.read(folder / "initiator") == nexus.name
    )
    return found


def test_no_device_behind_it(script: Script) -> None:
    """A LUN that is not there."""
    nexus, _ = serve(script, tree.nullio("d0"))
    nexus.command(scsi.read10(0, 1), lun=9, read=512)
    mine = [one for one in records("", "failed") if one.session == reset_session(nexus)]
    assert [(one.lun, one.answer) for one in mine] == [(9, "CHECK CONDITION, ILLEGAL REQUEST 25/00")]


# --- the setting, and what goes meanwhile ---


def test_slow_ms(script: Script) -> None:
    """The default; off; what it can not be."""
    assert tree.read(SLOW_MS) == str(USUAL_MS)
    nexus, _ = serve(script, tree.nullio("d0"))
    for value, expected in ((0, 0), (100, 1)):
        tree.write(SLOW_MS, value)
        late = nexus.write10(0, BLOCK, plan=HOLD_DATA)
        script.wait(Kind.WANTS_DATA, late)
        time.sleep(0.3)
        script.data(late)
        script.wait(Kind.RELEASED, late)
        assert len(records("d0", "slow")) == expected
    for bad in ("-1", "x"):
        assert tree.errno_of(partial(tree.write, SLOW_MS, bad)) == errno.EINVAL
    assert tree.errno_of(partial(tree.write, SLOW_MS, MOST_MS + 1)) == errno.ERANGE
    tree.write(SLOW_MS, MOST_MS)
    assert tree.read(SLOW_MS) == str(MOST_MS)
    tree.write(SLOW_MS, USUAL_MS)


def test_a_reader_who_stops_keeps_nothing(script: Script) -> None:
    """Somebody has read half a line, and has the file open: a device goes all the same."""
    device = tree.nullio("d0")
    nexus, _ = serve(script, device)
    nexus.command(scsi.read10(1 << 31, 1), read=512)
    with Path(f"{DEBUG_ROOT}/recorder").open("rb", buffering=0) as file:
        assert file.read(150)
        nexus.close()
        nexus.gone()
        target = Target("t1")
        target.enable(False)
        target.luns.clear()
        device.enable(False)
        device.remove()
        tree.wait_for("it to be gone", lambda: "devices 0\n" in Path(f"{DEBUG_ROOT}/objects").read_text())
        file.read()


def test_of_devices_that_come_and_go(script: Script) -> None:
    """Who reads on and on meanwhile sees whole lines; what went is not remembered."""
    stop, seen = threading.Event(), 0
    faults: list[BaseException] = []

    def read_on() -> None:
        nonlocal seen
        try:
            while not stop.is_set():
                seen += len(read_records())
        except BaseException as error:  # told to the test
            faults.append(error)

    reader = threading.Thread(target=read_on)
    reader.start()
    for number in range(20):
        device = tree.nullio("passing")
        target = Target(f"p{number}").make()
        target.luns.map(0, device)
        target.enable()
        nexus = script.login(target, f"who{number}")
        for opcode in range(0xD0, 0xE0):
            nexus.command(bytes((opcode,)) + bytes(15))
        assert len([one for one in records("passing", "failed") if one.cdb]) >= 16
        nexus.close()
        nexus.gone()
        target.luns.clear()
        target.path.rmdir()
        device.enable(False)
        device.remove()
        assert records("passing", "failed") == []
    stop.set()
    reader.join()
    assert not faults, faults
    assert seen
