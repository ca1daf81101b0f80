# SPDX-License-Identifier: GPL-2.0-or-later
"""SANITIZE, and FORMAT UNIT that is answered before: neither is told to be done before it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.vm.guest import scsi, tree
from tests.vm.guest.script import Nexus, Response, Script, Target, Tmf, serve
from tests.vm.guest.test_format import FMTDATA, IMMED, SIZE, make, mapper, told_so
from tests.vm.guest.test_recovery import Mapper

__all__ = ("mapper",)

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_script", "dm_mod")

pytestmark = pytest.mark.usefixtures("clean_tree")

TARGET = Target("t1")
EXIT = 0x1F
IMMED_LIST = bytes((0, IMMED, 0, 0))


def word(device: tree.Device) -> str:
    """What the administrator is told."""
    return tree.read(Path(f"/sys/class/scst/device.{device.path.name}/overhaul"))


def over(nexus: Nexus, lun: int = 0) -> scsi.Sense | None:
    """As an initiator waits for the end: what TEST UNIT READY says when nothing is being done any more."""
    busy = (scsi.FORMATTING, scsi.SANITIZING)
    tree.wait_for("the end", lambda: nexus.test_unit_ready(lun).sense not in busy)
    return nexus.test_unit_ready(lun).sense


@pytest.fixture
def record(ext4: Path) -> Iterator[Path]:
    """Where it is remembered."""
    path = ext4 / "overhaul.pr"
    yield path
    path.unlink(missing_ok=True)


# --- what is written ---


@pytest.mark.parametrize("thin", [0, 1])
def test_overwrite(script: Script, ext4: Path, record: Path, thin: int) -> None:
    """Each block begins with the pattern, in the last pass as it was given; waited for, or not."""
    path = make(ext4 / "old")
    first, second = serve(script, tree.fileio("old", path, thin=thin, pr_file=record))
    for pattern, count, flags, cdb_flags in (
        (b"\xa5", 1, 0, 0),
        (b"abc", 2, 0x80, scsi.SANITIZE_IMMED),
        (bytes(range(256)) * 2, 3, 0x80, scsi.SANITIZE_AUSE),
        (bytes(2), 1, 0, scsi.SANITIZE_IMMED | scsi.SANITIZE_AUSE),
    ):
        data = scsi.overwrite(pattern, count, flags)
        first.good(scsi.sanitize(len(data), cdb_flags), write=data)
        assert over(second) is None
        assert path.read_bytes() == (pattern * 512)[:512] * (SIZE // 512)
        first.good(scsi.write10(9, 8), write=b"x" * 4096)
    assert first.attentions() == second.attentions() == []
    assert path.stat().st_blocks >= SIZE // 512, "what is written is there"
    path.unlink()


def test_what_can_not_be_asked(script: Script, ext4: Path, record: Path) -> None:
    """The field is named; where nothing is remembered, or kept, there is no such command, nor IMMED."""
    path = make(ext4 / "kept")
    before = path.read_bytes()
    first, _ = serve(
        script,
        tree.fileio("kept", path, pr_file=record),
        tree.fileio("plain", make(ext4 / "plain")),
        tree.nullio("n", SIZE, pr_file=ext4 / "n.pr"),
    )
    data = scsi.overwrite(b"x")
    for lun in (1, 2):
        assert first.command(scsi.sanitize(len(data)), lun, write=data).sense == scsi.INVALID_OPCODE
        assert first.good(scsi.report_opcodes(2, 0x48, 1), lun, read=64)[1] & 7 == 1
    assert first.good(scsi.report_opcodes(2, 0x48, 1), read=64)[1] & 7 == 3
    event = first.command(scsi.format_unit(FMTDATA), 1, write=IMMED_LIST)
    assert event.sense == scsi.INVALID_FIELD_LIST
    for action in (0, 2, 3):
        event = first.command(scsi.sanitize(len(data), action=action), write=data)
        assert (event.sense, scsi.parse_field(event.raw_sense)) == (scsi.INVALID_FIELD_CDB, (True, 1))
    for cdb, byte in (
        (scsi.sanitize(len(data), 0x40), 1),
        (scsi.sanitize(4), 7),
        (scsi.sanitize(517), 7),
        (scsi.sanitize(1, action=EXIT), 7),
    ):
        event = first.command(cdb, write=bytes(int.from_bytes(cdb[7:9], "big")))
        assert (event.sense, scsi.parse_field(event.raw_sense)) == (scsi.INVALID_FIELD_CDB, (True, byte))
    for wrong, byte in (
        (scsi.overwrite(b"x", 0), 0),
        (scsi.overwrite(b"x", 1, 0x20), 0),
        (b"\1\1\0\1x", 1),
        (b"\1\0\0\0x", 2),
        (b"\1\0\2\1x", 2),
    ):
        event = first.command(scsi.sanitize(len(wrong)), write=wrong)
        assert event.sense == scsi.INVALID_FIELD_LIST, wrong.hex(" ")
        assert scsi.parse_field(event.raw_sense) == (False, byte), wrong.hex(" ")
    assert first.command(scsi.sanitize(5), write=b"\1\0\0\2x").sense == scsi.LIST_LENGTH
    assert first.command(scsi.sanitize(8), write=b"\1\0\0\1").sense == scsi.LIST_LENGTH
    first.good(scsi.sanitize(0, action=EXIT))
    assert path.read_bytes() == before
    for name in ("kept", "plain", "n.pr"):
        (ext4 / name).unlink()


# --- while it is being done, and what becomes of it ---


class Stage:
    """A disk that can hang, with a place where it is remembered what has begun."""

    def __init__(self, script: Script, mapper: Mapper, record: Path) -> None:
        self.mapper = mapper
        self.device = tree.blockio("slow", mapper.node, pr_file=record)
        self.first, self.second = serve(script, self.device)

    def hang(self, cdb: bytes, data: bytes, state: str, *, immed: bool) -> int:
        """Begin; returns the command's number. What is not waited for is answered."""
        self.mapper.suspend()
        number = self.first.submit(cdb, write=data)
        if immed:
            assert self.first.answer(number).good
        tree.wait_for("it has begun", lambda: word(self.device) == state)
        return number

    def sanitize(self, flags: int = 0) -> int:
        """SANITIZE."""
        data = scsi.overwrite(b"s" * 512)
        return self.hang(
            scsi.sanitize(len(data), flags), data, "sanitize", immed=bool(flags & scsi.SANITIZE_IMMED)
        )

    def format(self) -> int:
        """FORMAT UNIT with IMMED."""
        return self.hang(scsi.format_unit(FMTDATA), IMMED_LIST, "format", immed=True)

    def park(self) -> None:
        """The backing is closed in the middle, and comes back: as after a loss of it."""
        with ThreadPoolExecutor(1) as pool:
            parked = pool.submit(self.device.activate, False)
            tree.wait_for("the gate", lambda: tree.read(self.device.path / "state") == "closing")
            self.mapper.resume()
            parked.result()
        tree.wait_for("it is given up", lambda: word(self.device) not in ("format", "sanitize"))
        self.device.activate()
        self.told()

    def power_loss(self) -> None:
        """A disabled device forgets all that a loss of power takes."""
        TARGET.luns.unmap(0)
        self.device.enable(False)
        self.device.enable()
        TARGET.luns.map(0, self.device)
        self.told()

    def told(self) -> None:
        """Attentions are taken."""
        self.first.attentions()
        self.second.attentions()

    def block(self) -> bytes:
        """The first."""
        return self.second.good(scsi.read10(0, 1), read=512)

    def failed(self, sense: scsi.Sense) -> None:
        """Everybody is told, and nobody gets at the medium."""
        for nexus in (self.first, self.second):
            assert nexus.test_unit_ready().sense == sense
            assert nexus.command(scsi.read10(0, 1), read=512).sense == sense
            assert scsi.parse_sense(nexus.good(scsi.request_sense(), read=252)) == sense
            nexus.good(scsi.inquiry(), read=64)


@pytest.fixture
def stage(script: Script, mapper: Mapper, record: Path) -> Stage:
    """The same."""
    return Stage(script, mapper, record)


@pytest.mark.parametrize(
    "begin", [Stage.sanitize, lambda stage: stage.sanitize(scsi.SANITIZE_IMMED), Stage.format]
)
def test_others_are_told(stage: Stage, begin: Callable[[Stage], int]) -> None:
    """That it is being done, and how far it is."""
    number = begin(stage)
    busy = scsi.FORMATTING if word(stage.device) == "format" else scsi.SANITIZING
    told_so(stage.first, busy)
    told_so(stage.second, busy)
    stage.mapper.resume()
    assert over(stage.second) is None
    if begin is Stage.sanitize:
        assert stage.first.answer(number).good
    assert word(stage.device) == "none"
    assert stage.block() == (bytes(512) if busy == scsi.FORMATTING else b"s" * 512)
    assert stage.first.attentions() == stage.second.attentions() == []


def test_neither_abort_nor_reset_ends_it(stage: Stage) -> None:
    """Its command is answered, and it goes on to its end."""
    number = stage.sanitize()
    function = stage.second.tmf(Tmf.LUN_RESET)
    stage.mapper.resume()
    assert stage.first.answer(number).aborted
    assert stage.second.tmf_response(function) == Response.COMPLETE
    stage.told()
    assert over(stage.second) is None
    assert stage.block() == b"s" * 512


def test_it_outlives_who_has_asked(stage: Stage) -> None:
    """The session that has sent it goes."""
    stage.sanitize(scsi.SANITIZE_IMMED)
    stage.first.close()
    stage.mapper.resume()
    assert over(stage.second) is None
    assert stage.block() == b"s" * 512


def test_format_that_is_lost(stage: Stage) -> None:
    """With the backing, and by a loss of power: only another FORMAT UNIT helps."""
    stage.format()
    stage.park()
    for _ in range(2):
        stage.failed(scsi.FORMAT_FAILED)
        assert word(stage.device) == "format-failed"
        stage.power_loss()
    stage.first.good(scsi.format_unit())
    assert over(stage.second) is None
    stage.power_loss()
    assert stage.block() == bytes(512)


def test_sanitize_that_is_lost(stage: Stage) -> None:
    """In the restricted completion mode nothing but another one, which can't be left either."""
    stage.sanitize(scsi.SANITIZE_IMMED)
    stage.park()
    for _ in range(2):
        stage.failed(scsi.SANITIZE_FAILED)
        assert word(stage.device) == "sanitize-failed"
        assert stage.second.command(scsi.format_unit()).sense == scsi.SANITIZE_FAILED
        event = stage.second.command(scsi.sanitize(0, action=EXIT))
        assert (event.sense, scsi.parse_field(event.raw_sense)) == (scsi.INVALID_FIELD_CDB, (True, 1))
        data = scsi.overwrite(b"t")
        event = stage.second.command(scsi.sanitize(len(data), scsi.SANITIZE_AUSE), write=data)
        assert (event.sense, scsi.parse_field(event.raw_sense)) == (scsi.INVALID_FIELD_CDB, (True, 1))
        stage.power_loss()
    stage.second.good(scsi.sanitize(len(data)), write=data)
    stage.power_loss()
    assert stage.block() == b"t" * 512


def test_failure_mode_that_can_be_left(stage: Stage) -> None:
    """With AUSE; and it stays left."""
    stage.sanitize(scsi.SANITIZE_IMMED | scsi.SANITIZE_AUSE)
    stage.park()
    stage.failed(scsi.SANITIZE_FAILED)
    stage.power_loss()
    stage.failed(scsi.SANITIZE_FAILED)
    stage.second.good(scsi.sanitize(0, action=EXIT))
    assert stage.first.test_unit_ready().good
    stage.power_loss()
    assert stage.first.test_unit_ready().good


def test_who_waits_is_told(stage: Stage) -> None:
    """The backing goes while its command waits for it."""
    number = stage.sanitize()
    stage.park()
    assert stage.first.answer(number).sense == scsi.BECOMING_READY
    stage.failed(scsi.SANITIZE_FAILED)


def test_writes_from_before_do_not_come_later(stage: Stage) -> None:
    """A write that is at the medium when it begins is waited for, and is overwritten."""
    stage.mapper.suspend()
    write = stage.second.write10(0, b"w" * 512)
    data = scsi.overwrite(b"s")
    number = stage.first.submit(scsi.sanitize(len(data)), write=data)
    tree.wait_for("it has begun", lambda: word(stage.device) == "sanitize")
    stage.mapper.resume()
    assert stage.second.answer(write).good
    assert stage.first.answer(number).good
    assert stage.block() == b"s" * 512
