# SPDX-License-Identifier: GPL-2.0-or-later
"""FORMAT UNIT: zeroes for the whole medium, whose space a thin unit gives back; others are told meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.model.pr import Action, Type
from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.script import Nexus, Response, Script, Target, Tmf, serve
from tests.vm.guest.test_recovery import Mapper, dmsetup
from tests.vm.guest.test_reserve import CONFLICT, good, persistent_in, register
from tests.vm.guest.test_sight import lines
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_script", "dm_mod")

pytestmark = pytest.mark.usefixtures("clean_tree")

MIB = 1 << 20
SIZE = 4 * MIB
LONGLIST, FMTDATA, CMPLIST = 0x20, 0x10, 0x08
FOV, DPRY, DCRT, STPF, IP, IMMED = 0x80, 0x40, 0x20, 0x10, 0x08, 0x02
FULL = bytes(range(1, 256)) * 33
PIECE = 256
# What serve() makes.
TARGET = Target("t1")


def make(path: Path) -> Path:
    """A file that is full."""
    path.write_bytes((FULL * (SIZE // len(FULL) + 1))[:SIZE])
    return path


def whole(nexus: Nexus, lun: int = 0) -> bytes:
    """Every block."""
    step = 1024
    return b"".join(
        nexus.good(scsi.read10(lba, step), lun, read=512 * step) for lba in range(0, SIZE // 512, step)
    )


def test_zeroes(script: Script, ext4: Path) -> None:
    """Of a thin unit, of one that is not, of one that keeps nothing; with a list or without."""
    paths = {name: make(ext4 / name) for name in ("thin", "thick")}
    first, second = serve(
        script,
        tree.fileio("thin", paths["thin"], thin=1),
        tree.fileio("thick", paths["thick"]),
        tree.nullio("n", SIZE),
    )
    for lun, (name, path) in enumerate(paths.items()):
        assert whole(first, lun) == path.read_bytes()
        full = path.stat().st_blocks
        for flags, data in ((0, None), (FMTDATA | CMPLIST, bytes(4)), (FMTDATA | LONGLIST, bytes(8))):
            first.good(scsi.write10(9, 8), lun, write=b"x" * 4096)
            first.good(scsi.format_unit(flags), lun, write=data)
            assert whole(second, lun) == bytes(SIZE)
        first.good(scsi.cdb10(0x35, 0, 0), lun)
        assert path.read_bytes() == bytes(SIZE)
        assert path.stat().st_blocks == (0 if name == "thin" else full)
    status = scsi.lba_status(first.good(scsi.get_lba_status16(0), read=264))
    assert status == [(0, SIZE // 512, 1)], "deallocated"
    first.good(scsi.format_unit(), 2)
    assert first.attentions() == second.attentions() == []
    for path in paths.values():
        path.unlink()


def test_what_can_not_be_asked(script: Script, ext4: Path) -> None:
    """The field is named, and nothing has changed; what is to be done about defects may be said."""
    path = make(ext4 / "kept")
    first, _ = serve(script, tree.fileio("kept", path))
    before = path.read_bytes()
    for flags in (CMPLIST, LONGLIST, 0x04, 0x40, 0x80 | FMTDATA):
        event = first.command(scsi.format_unit(flags), write=bytes(8))
        assert event.sense == scsi.INVALID_FIELD_CDB, f"{flags:#x}: {event}"
        assert scsi.parse_field(event.raw_sense) == (True, 1)
    for byte in (2, 3, 4):
        cdb = bytearray(scsi.format_unit())
        cdb[byte] = 1
        event = first.command(bytes(cdb))
        assert (event.sense, scsi.parse_field(event.raw_sense)) == (scsi.INVALID_FIELD_CDB, (True, byte))
    short: dict[bytes, int] = {
        bytes((1, 0, 0, 0)): 0,
        bytes((0, IMMED, 0, 0)): 1,
        bytes((0, FOV | IMMED, 0, 0)): 1,
        bytes((0, FOV | IP, 0, 0)): 1,
        bytes((0, DPRY, 0, 0)): 1,
        bytes((0, DCRT, 0, 0)): 1,
        bytes((0, STPF, 0, 0)): 1,
        bytes((0, 0, 0, 8)): 2,
        bytes((0, 0, 1, 0)): 2,
    }
    long = {
        bytes((0, 0, 1, 0, *bytes(4))): 2,
        bytes((0, 0, 0, 0x10, *bytes(4))): 3,
        bytes((0, 0, 0, 1, *bytes(4))): 3,
        bytes((*bytes(7), 8)): 4,
        bytes((*bytes(4), 1, 0, 0, 0)): 4,
    }
    for flags, wrong in ((FMTDATA, short), (FMTDATA | LONGLIST, long)):
        for data, byte in wrong.items():
            event = first.command(scsi.format_unit(flags), write=data)
            assert event.sense == scsi.INVALID_FIELD_LIST, f"{data.hex(' ')}: {event}"
            assert scsi.parse_field(event.raw_sense) == (False, byte), data.hex(" ")
        for size in range(4 if flags == FMTDATA else 8):
            event = first.command(scsi.format_unit(flags), write=bytes(size))
            assert event.sense == scsi.LIST_LENGTH, f"{size} bytes: {event}"
    assert path.read_bytes() == before
    first.good(scsi.format_unit(FMTDATA), write=bytes((0, FOV | DPRY | DCRT | STPF, 0, 0)))
    assert whole(first) == bytes(SIZE)
    path.unlink()


def test_it_is_a_write(script: Script, ext4: Path) -> None:
    """Not through reservations of others, by a read-only LUN, or of a medium that is protected or away."""
    path = make(ext4 / "kept")
    device = tree.fileio("kept", path)
    first, second = serve(script, device)
    before = path.read_bytes()
    register((first, 1))
    for kind in (Type.WRITE_EXCLUSIVE, Type.EXCLUSIVE_ACCESS):
        good(first, Action.RESERVE, 1, kind)
        assert second.command(scsi.format_unit()).status == CONFLICT
        good(first, Action.RELEASE, 1, kind)
    good(first, Action.CLEAR, 1)
    tree.write(TARGET.luns.path / "0/read_only", True)
    first.attentions()
    assert first.command(scsi.format_unit()).sense == scsi.WRITE_PROTECTED
    tree.write(TARGET.luns.path / "0/read_only", False)
    device.activate(False)
    first.attentions()
    assert first.command(scsi.format_unit()).sense == scsi.BECOMING_READY
    device.activate()
    assert path.read_bytes() == before
    path.unlink()


# --- while it is being done ---


@pytest.fixture
def mapper(disks: dict[str, PluggedDisk], tmp_path: Path) -> Iterator[Mapper]:
    """Two disks as one, which can hang: more than is done at once."""
    table, at = [], 0
    for name in ("vm-disk-b", "vm-disk-c"):
        node = disks[name].node
        sectors = int(Path("/sys/block", node.name, "size").read_text())
        table.append(f"{at} {sectors} linear {node} 0\n")
        at += sectors
    (tmp_path / "table").write_text("".join(table))
    dmsetup("create", "hang", str(tmp_path / "table"))
    yield Mapper("hang")
    dmsetup("resume", "hang")
    guest_plugin.wipe()
    dmsetup("remove", "--retry", "hang")


class Stage:
    """A medium that is full at both ends, and a FORMAT UNIT of it that hangs in its first piece."""

    def __init__(self, script: Script, mapper: Mapper) -> None:
        self.mapper, self.device = mapper, tree.blockio("slow", mapper.node)
        self.first, self.second = serve(script, self.device)
        self.last = int.from_bytes(self.first.good(scsi.read_capacity10(), read=8)[:4], "big") + 1 - PIECE
        for lba in (0, self.last):
            self.first.good(scsi.write10(lba, PIECE), write=b"x" * 512 * PIECE)

    def hang(self) -> int:
        """Begin; returns the command's number."""
        self.mapper.suspend()
        number = self.first.submit(scsi.format_unit())
        tree.wait_for(
            "it is at the disk",
            lambda: any(one.tag == hex(number) and one.place == "handler" for one in lines("slow")),
        )
        return number

    def ends(self) -> tuple[bytes, bytes]:
        """A byte of the beginning, and of the end."""
        found = [self.second.good(scsi.read10(lba, PIECE), read=512 * PIECE) for lba in (0, self.last)]
        assert all(len(set(data)) == 1 for data in found)
        return found[0][:1], found[1][:1]


@pytest.fixture
def stage(script: Script, mapper: Mapper) -> Stage:
    """The same."""
    return Stage(script, mapper)


def told_so(nexus: Nexus, busy: scsi.Sense = scsi.FORMATTING) -> None:
    """Everything is, with how far it is, but for what tells of the unit."""
    for cdb, room in (
        (scsi.test_unit_ready(), 0),
        (scsi.read10(0, 1), 512),
        (scsi.read_capacity10(), 8),
        (scsi.mode_sense6(8), 64),
        (persistent_in(0), 64),
        (scsi.report_opcodes(), 64),
    ):
        event = nexus.command(cdb, read=room)
        assert event.sense == busy, f"{cdb.hex(' ')}: {event}"
        assert scsi.parse_progress(event.raw_sense) is not None
    for cdb in (scsi.format_unit(), scsi.cdb10(0x35, 0, 0)):
        assert nexus.command(cdb).sense == busy
    nexus.good(scsi.inquiry(), read=64)
    nexus.good(scsi.report_luns(), read=64)
    sense = nexus.good(scsi.request_sense(), read=252)
    assert scsi.parse_sense(sense) == busy
    assert scsi.parse_progress(sense) is not None


def test_others_are_told(stage: Stage) -> None:
    """FORMAT IN PROGRESS, until it is done to the end."""
    number = stage.hang()
    told_so(stage.first)
    told_so(stage.second)
    stage.mapper.resume()
    assert stage.first.answer(number).good
    assert stage.first.attentions() == stage.second.attentions() == []
    assert scsi.parse_sense(stage.second.good(scsi.request_sense(), read=252)) == (0, 0, 0)
    assert stage.ends() == (b"\0", b"\0")


def test_abort(stage: Stage) -> None:
    """It ends with the piece at hand; the rest is as it was."""
    number = stage.hang()
    function = stage.first.tmf(Tmf.ABORT_TASK, tag=number)
    stage.mapper.resume()
    assert stage.first.answer(number).aborted
    assert stage.first.tmf_response(function) == Response.COMPLETE
    assert stage.ends() == (b"\0", b"x")


def test_mapping_that_turns_read_only(stage: Stage) -> None:
    """The same."""
    number = stage.hang()
    tree.write(TARGET.luns.path / "0/read_only", True)
    stage.mapper.resume()
    event = stage.first.answer(number)
    # Whatever it is told of first: that the mode has changed, or that it may not write.
    assert event.status == scsi.CHECK_CONDITION
    assert stage.first.command(scsi.format_unit()).sense in (scsi.WRITE_PROTECTED, scsi.MODE_CHANGED)
    stage.second.attentions()
    assert stage.ends() == (b"\0", b"x")


def test_parking_does_not_wait_for_its_end(stage: Stage) -> None:
    """The backing is closed after the piece at hand."""
    number = stage.hang()
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(stage.device.activate, False)
        tree.wait_for("the gate", lambda: tree.read(stage.device.path / "state") == "closing")
        stage.mapper.resume()
        parked.result()
    assert stage.first.answer(number).sense == scsi.BECOMING_READY
    stage.device.activate()
    stage.second.attentions()
    assert stage.ends() == (b"\0", b"x")
