# SPDX-License-Identifier: GPL-2.0-or-later
"""Thin provisioning, command by command: UNMAP, WRITE SAME, GET LBA STATUS, and what is told of them."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.long import more
from tests.vm.guest.scsi import ANCHOR, NDOB, UNMAP_BIT, Unit
from tests.vm.guest.test_refused import loop_device
from tests.vm.guest.tree import Device, Target

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

MIB = 1 << 20
SIZE = 16 * MIB
BLOCKS = SIZE // 512
MAX_RANGES, MAX_SAME, MAX_UNMAP = 255, (1 << 30) // 512, (512 << 20) // 512
GROUP = 8
"""At least so many blocks are given back together: a page, or a block of the file system."""
LUNS = {"file": 0, "direct": 1, "write-through": 2, "memory": 3, "disk": 4, "thick": 5, "null": 6}
THIN_FILES = ("file", "direct", "write-through", "memory")
KEEPING = (*THIN_FILES, "disk", "thick")
INVALID = scsi.INVALID_FIELD_CDB

MakeFile = Callable[[str, int], Path]


@dataclass(frozen=True, slots=True)
class Rig:
    """Open units of one initiator, the files behind them, and the target."""

    units: dict[str, Unit]
    paths: dict[str, Path]
    devices: dict[str, Device]


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tmpfs: files with holes, and no way to zero a range but to make one."""
    mount = tmp_path_factory.mktemp("memory")
    guest_plugin.command("mount", "-t", "tmpfs", "tmpfs", str(mount))
    yield mount
    tree_wipe()
    guest_plugin.command("umount", str(mount))


def tree_wipe() -> None:
    """Nothing configured any more, and nothing alive."""
    guest_plugin.wipe()
    guest_plugin.leaked_counters()


@pytest.fixture(scope="module")
def rig(ext4: Path, memory: Path, file_tree: None) -> Iterator[Rig]:
    """One LUN of 16 MiB per kind of backing."""
    paths = {name: (memory if name == "memory" else ext4) / name for name in KEEPING}
    for path in paths.values():
        with path.open("wb") as file:
            file.truncate(SIZE)
    with loop_device(paths["disk"]) as node:
        thin = {"file": {}, "direct": {"o_direct": 1}, "write-through": {"write_through": 1}, "memory": {}}
        devices = {name: tree.fileio(name, paths[name], thin=1, **more) for name, more in thin.items()}
        devices["disk"] = tree.blockio("disk", node, thin=1)
        devices["thick"] = tree.fileio("thick", paths["thick"])
        devices["null"] = tree.nullio("null", SIZE)
        target = Target("thin").make(auto_rescan=False)
        for name, lun in LUNS.items():
            target.luns.map(lun, devices[name])
        host = target.login("first")
        target.enable()
        units = {name: Unit(host.sg(lun)) for name, lun in LUNS.items()}
        yield Rig(units, paths, devices)
        for unit in units.values():
            unit.close()


@pytest.fixture(params=KEEPING)
def kind(request: pytest.FixtureRequest, rig: Rig) -> str:
    """Each kind of backing that keeps what is written, full of random data."""
    name: str = request.param
    fill(rig, name)
    return name


@pytest.fixture(params=[name for name in KEEPING if name != "thick"])
def thin(request: pytest.FixtureRequest, rig: Rig) -> str:
    """Those that are thin."""
    name: str = request.param
    fill(rig, name)
    return name


def content(name: str) -> bytes:
    """What fill() writes."""
    return random.Random(name).randbytes(SIZE)


def fill(rig: Rig, name: str) -> None:
    """Write every block."""
    unit, data = rig.units[name], content(name)
    unit.attentions()
    for at in range(0, BLOCKS, 256):
        unit.good(scsi.write10(at, 256), write=data[at * 512 : (at + 256) * 512])
    unit.good(scsi.cdb10(0x35, 0, 0))


def whole(unit: Unit) -> bytes:
    """Every block."""
    return b"".join(unit.good(scsi.read10(at, 256), 256 * 512) for at in range(0, BLOCKS, 256))


def replaced(data: bytes, lba: int, block: bytes, count: int) -> bytes:
    """The data with *count* blocks from *lba* on all alike."""
    return data[: lba * 512] + block * count + data[(lba + count) * 512 :]


def allocated(rig: Rig, name: str) -> int:
    """Bytes that the file takes. What is only in memory is written first."""
    rig.units[name].good(scsi.cdb10(0x35, 0, 0))
    return rig.paths[name].stat().st_blocks * 512


# --- what is told ---


def test_pages_of_thin_devices(rig: Rig) -> None:
    for name in LUNS:
        unit = rig.units[name]
        unit.attentions()
        limits = unit.good(scsi.inquiry(page=0xB0), 255)
        assert limits[4] & 1 == 1, "WSNZ"
        assert struct.unpack(">Q", limits[36:44]) == (MAX_SAME,)
        told = struct.unpack(">IIII", limits[20:36])
        capacity = unit.good(scsi.read_capacity16(), 32)
        provisioning = unit.good(scsi.inquiry(page=0xB2), 255)
        assert provisioning[:4] == bytes((0, 0xB2, 0, 4))
        known = name not in ("thick", "null", "disk")
        assert provisioning[4] == (11 if known else 0), "thresholds, in sets of 1 MiB"
        if name in ("thick", "null"):
            assert (told, capacity[14] & 0xC0, provisioning[5:]) == ((0,) * 4, 0, bytes(3))
            continue
        zeroes = name != "disk"
        assert told[:2] == (MAX_UNMAP, MAX_RANGES)
        block = os.statvfs(rig.paths[name]).f_bsize
        assert told[2] == (block // 512 if zeroes else told[2]), "a block of the file system"
        assert told[3] == 0x80000000
        assert capacity[14] & 0xC0 == (0xC0 if zeroes else 0x80), "LBPME, LBPRZ"
        assert provisioning[5:] == bytes((0xE4, 2, 0) if zeroes else (0xE0, 0, 0))


def test_thick_devices_have_no_such_commands(rig: Rig) -> None:
    for name in ("thick", "null"):
        unit = rig.units[name]
        unit.attentions()
        assert unit.sense(scsi.unmap(24), write=scsi.unmap_list((0, 1))) == scsi.INVALID_OPCODE
        assert unit.sense(scsi.unmap(24, flags=0xFF), write=bytes(24)) == scsi.INVALID_OPCODE
        assert unit.sense(scsi.get_lba_status16(0), 264) == INVALID
        for cdb in (scsi.write_same10(0, 1, UNMAP_BIT), scsi.write_same16(0, 1, UNMAP_BIT)):
            answer = unit.command(cdb, write=bytes(512))
            assert (answer.sense, scsi.parse_field(answer.raw_sense)) == (INVALID, (True, 1))
        assert unit.sense(scsi.write_same10(0, 1), write=bytes(512)) is None


# --- UNMAP ---


def test_unmap(rig: Rig, thin: str) -> None:
    """What was given back is gone, and its space with it; all else is as it was."""
    unit, data, before = rig.units[thin], content(thin), allocated(rig, thin)
    assert before >= SIZE
    unit.good(scsi.unmap(56), write=scsi.unmap_list((0, 8 * GROUP), (100, 0), (4096, 8192)))
    for lba, count in ((0, 8 * GROUP), (4096, 8192)):
        data = replaced(data, lba, bytes(512), count)
    assert whole(unit) == data
    assert before - allocated(rig, thin) >= 8192 * 512


def test_unmap_inside_a_block_of_the_file_system(rig: Rig, thin: str) -> None:
    """What is given back of a part of a group is zero in files; the rest of the group stays."""
    unit, data = rig.units[thin], content(thin)
    unit.good(scsi.unmap(40), write=scsi.unmap_list((3, 2), (GROUP * 5 + 1, GROUP * 2)))
    if thin != "disk":
        data = replaced(replaced(data, 3, bytes(512), 2), GROUP * 5 + 1, bytes(512), GROUP * 2)
        assert whole(unit) == data
        return
    found = whole(unit)
    for lba in range(BLOCKS):
        if not 3 <= lba < 5 and not GROUP * 5 + 1 <= lba < GROUP * 7 + 1:
            assert found[lba * 512 : lba * 512 + 512] == data[lba * 512 : lba * 512 + 512]


def test_ranges_in_a_row_are_one(rig: Rig, thin: str) -> None:
    """Single blocks, which no backing gives back; together they are more. (A hole may cost a block.)"""
    unit, data, before, count = rig.units[thin], content(thin), allocated(rig, thin), 240
    ranges = [(lba, 1) for lba in range(count)]
    ranges.insert(7, (7, 0))
    unit.good(scsi.unmap(8 + 16 * len(ranges)), write=scsi.unmap_list(*ranges))
    assert before - allocated(rig, thin) >= count * 512 - 8192
    assert whole(unit) == replaced(data, 0, bytes(512), count)


def test_unmap_of_nothing(rig: Rig, thin: str) -> None:
    unit, before = rig.units[thin], content(thin)
    unit.good(scsi.unmap(0))
    incomplete = struct.pack(">HH4x", 21, 15) + bytes(15)
    for data in (bytes(8), scsi.unmap_list(), scsi.unmap_list((5, 0), (BLOCKS, 0)), incomplete):
        unit.good(scsi.unmap(len(data)), write=data)
    assert whole(unit) == before


def many(count: int) -> bytes:
    return scsi.unmap_list(*((lba * GROUP, 1) for lba in range(count)))


@pytest.mark.parametrize(
    ("data", "length", "sense", "field"),
    [
        (bytes(7), None, scsi.LIST_LENGTH, None),
        (scsi.unmap_list((0, 1)), 23, scsi.LIST_LENGTH, None),
        (scsi.unmap_list((0, 1)), 25, scsi.LIST_LENGTH, None),
        (struct.pack(">HH4xQI4x", 23, 16, 0, 1), None, scsi.LIST_LENGTH, None),
        (struct.pack(">HH4xQI4x", 22, 32, 0, 1), None, scsi.INVALID_FIELD_LIST, 2),
        (struct.pack(">HH4xQI4x", 6, 16, 0, 1), None, scsi.INVALID_FIELD_LIST, 2),
        (many(MAX_RANGES + 1), None, scsi.INVALID_FIELD_LIST, 2),
        (many(4095), None, scsi.INVALID_FIELD_LIST, 2),
        (scsi.unmap_list((0, 8), (BLOCKS, 1)), None, scsi.LBA_OUT_OF_RANGE, 24),
        (scsi.unmap_list((0, 8), (BLOCKS - 1, 2)), None, scsi.LBA_OUT_OF_RANGE, 24),
        (scsi.unmap_list((0, 8), (2**64 - 1, 2)), None, scsi.LBA_OUT_OF_RANGE, 24),
        (scsi.unmap_list((0, 2**32 - 1)), None, scsi.LBA_OUT_OF_RANGE, 8),
    ],
    ids=[
        "short header",
        "cut by the length",
        "less data than length",
        "data length above the list",
        "descriptors above the list",
        "descriptors above the data",
        "one descriptor too many",
        "as many descriptors as can be said",
        "behind the end",
        "over the end",
        "overflow",
        "longer than the unit",
    ],
)  # fmt: skip
def test_wrong_lists(rig: Rig, data: bytes, length: int | None, sense: scsi.Sense, field: int | None) -> None:
    """The first thing that is wrong is named, and nothing is given back."""
    fill(rig, "file")
    unit = rig.units["file"]
    answer = unit.command(scsi.unmap(len(data) if length is None else length), write=data)
    assert answer.sense == sense
    assert scsi.parse_field(answer.raw_sense) == (None if field is None else (False, field))
    assert whole(unit) == content("file")


def test_total_of_an_unmap_is_limited(ext4: Path, clean_small: None) -> None:
    """255 ranges of one sparse terabyte: no more than 512 MiB together."""
    path = ext4 / "large"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    device = tree.fileio("large", path, thin=1)
    with served(device) as unit:
        half = MAX_UNMAP // 2
        unit.good(scsi.unmap(40), write=scsi.unmap_list((0, half), (1 << 30, half)))
        answer = unit.command(scsi.unmap(56), write=scsi.unmap_list((0, half), (1 << 30, half), (0, 1)))
        assert (answer.sense, scsi.parse_field(answer.raw_sense)) == (scsi.INVALID_FIELD_LIST, (False, 48))
        unit.good(scsi.unmap(8 + 255 * 16), write=many(MAX_RANGES))
    path.unlink()


def test_wrong_cdbs(rig: Rig) -> None:
    unit = rig.units["file"]
    unit.attentions()
    answer = unit.command(scsi.unmap(24, flags=1), write=scsi.unmap_list((0, 1)))
    assert (answer.sense, scsi.parse_field(answer.raw_sense)) == (INVALID, (True, 1)), "ANCHOR"


# --- WRITE SAME ---


@pytest.mark.parametrize("flags", [0, UNMAP_BIT], ids=["", "unmap"])
@pytest.mark.parametrize("data", ["ndob", "pattern", *more("zeroes")])
def test_write_same(rig: Rig, kind: str, data: str, flags: int) -> None:
    """All the blocks are alike afterwards, and no other has changed; holes only where they were asked for."""
    if kind == "thick" and flags:
        return
    unit, wanted = rig.units[kind], content(kind)
    block = bytes(range(256)) * 2 if data == "pattern" else bytes(512)
    before = allocated(rig, kind)
    for lba, count in ((1, 1), (4, 3), (1000, 8000), (BLOCKS - 5, 5)):
        if data == "ndob":
            unit.good(scsi.write_same16(lba, count, flags | NDOB))
        else:
            unit.good(scsi.write_same16(lba, count, flags), write=block)
            unit.good(scsi.write_same10(lba, count, flags), write=block)
        wanted = replaced(wanted, lba, block, count)
    assert whole(unit) == wanted
    gone = before - allocated(rig, kind)
    if data == "pattern" or not flags:
        assert gone <= 0
    else:
        assert gone >= (8000 - 2 * GROUP) * 512


def test_write_same_refusals(rig: Rig, kind: str) -> None:
    """Nothing is written by what is refused, and the field is named."""
    unit = rig.units[kind]
    block = b"\xa5" * 512
    for same, length in ((scsi.write_same10, 7), (scsi.write_same16, 10)):
        for cdb, data, sense, field in (
            (same(0, 0), block, INVALID, length),
            (same(0, 1, ANCHOR), block, INVALID, 1),
            (same(0, 1, ANCHOR | UNMAP_BIT), block, INVALID, 1),
            (same(0, 1, 0x04), block, INVALID, 1),
            (same(0, 1, 0x02), block, INVALID, 1),
            (same(0, 1, 0x20), block, INVALID, 1),
            (same(BLOCKS, 1), block, scsi.LBA_OUT_OF_RANGE, None),
            (same(BLOCKS - 1, 2), block, scsi.LBA_OUT_OF_RANGE, None),
            (same(0, 1), block[:511], scsi.SHORT_TRANSFER, None),
            (same(0, 1), block * 2, scsi.SHORT_TRANSFER, None),
            (same(0, 1), b"", scsi.SHORT_TRANSFER, None),
        ):
            answer = unit.command(cdb, write=data)
            assert answer.sense == sense, f"{cdb.hex(' ')}: {answer}"
            found = scsi.parse_field(answer.raw_sense)
            assert found == (None if field is None else (True, field)), cdb.hex(" ")
    assert unit.sense(scsi.write_same10(0, 1, NDOB), write=block) == INVALID, "(10) has no NDOB"
    assert whole(unit) == content(kind)


def test_length_of_a_write_same_is_limited(clean_small: None) -> None:
    with served(tree.nullio("long", 4 << 30)) as unit:
        unit.good(scsi.write_same16(1, MAX_SAME), write=b"\xa5" * 512)
        answer = unit.command(scsi.write_same16(0, MAX_SAME + 1), write=b"\xa5" * 512)
        assert (answer.sense, scsi.parse_field(answer.raw_sense)) == (INVALID, (True, 10))


def test_blocks_of_4096(ext4: Path, clean_small: None) -> None:
    """Limits are in blocks; what is compared with zero is a block."""
    path = ext4 / "4k"
    path.write_bytes(b"\xff" * MIB)
    with served(tree.fileio("4k", path, thin=1, block_size=4096)) as unit:
        limits = unit.good(scsi.inquiry(page=0xB0), 255)
        assert struct.unpack(">IIII", limits[20:36]) == (MAX_UNMAP // 8, MAX_RANGES, 1, 0x80000000)
        odd = bytes(4095) + b"\x01"
        unit.good(scsi.write_same10(3, 40), write=odd)
        unit.good(scsi.unmap(24), write=scsi.unmap_list((5, 2)))
        unit.good(scsi.cdb10(0x35, 0, 0))
    ones, found = b"\xff" * 4096, path.read_bytes()
    assert found == ones * 3 + odd * 2 + bytes(8192) + odd * 36 + ones * 213


# --- GET LBA STATUS ---


def test_status(rig: Rig, thin: str) -> None:
    """Files know their holes; of disks nobody knows."""
    unit = rig.units[thin]
    unit.good(scsi.unmap(40), write=scsi.unmap_list((0, 8 * GROUP), (4096, 8192)))
    found = scsi.lba_status(unit.good(scsi.get_lba_status16(0), 264))
    if thin == "disk":
        assert found == [(0, BLOCKS, 0)]
    else:
        assert found == [(0, 64, 1), (64, 4032, 0), (4096, 8192, 1), (12288, BLOCKS - 12288, 0)]
        assert scsi.lba_status(unit.good(scsi.get_lba_status16(5000), 264))[0] == (5000, 7288, 1)
        assert len(scsi.lba_status(unit.good(scsi.get_lba_status16(0, 40), 40))) == 2
    assert len(unit.good(scsi.get_lba_status16(0, 20), 264)) == 20
    assert unit.good(scsi.get_lba_status16(0, 0)) == b""
    assert unit.sense(scsi.get_lba_status16(BLOCKS), 264) == scsi.LBA_OUT_OF_RANGE
    assert unit.sense(scsi.get_lba_status16(2**64 - 1), 264) == scsi.LBA_OUT_OF_RANGE


# --- who may not ---


@pytest.fixture
def clean_small(rig: Rig) -> Iterator[None]:
    """A target of the test's own beside the file's."""
    yield
    target = Target("small")
    if target.path.exists():
        target.luns.clear()
        target.logout("small")
        target.path.rmdir()
    for folder in (tree.ROOT / "devices").glob("*/*"):
        if folder.is_dir() and folder.name not in rig.devices:
            folder.rmdir()


class Served:
    """A device's only unit, opened."""

    def __init__(self, device: Device, read_only: bool) -> None:
        target = Target("small").make(auto_rescan=False)
        target.luns.map(0, device, read_only)
        host = target.login("small")
        target.enable()
        self.unit = Unit(host.sg(0))
        self.unit.attentions()

    def __enter__(self) -> Unit:
        return self.unit

    def __exit__(self, *_: object) -> None:
        self.unit.close()


def served(device: Device, read_only: bool = False) -> Served:
    """Serve a device; clean_small takes it away."""
    return Served(device, read_only)


WRITES = {
    "unmap": (scsi.unmap(24), scsi.unmap_list((0, 8))),
    "same10": (scsi.write_same10(0, 8), bytes(512)),
    "same16": (scsi.write_same16(0, 8, UNMAP_BIT), bytes(512)),
    "ndob": (scsi.write_same16(0, 8, NDOB), None),
}


@pytest.mark.parametrize("how", ["mapping", "device", "swp", "parked"])
def test_they_are_writes(make_file: MakeFile, clean_small: None, how: str) -> None:
    path = make_file("kept", 1)
    before = path.read_bytes()
    device = Device("fileio", "kept").make(path=path, thin=1, read_only=how == "device").enable()
    with served(device, how == "mapping") as unit:
        expected = scsi.WRITE_PROTECTED
        if how == "swp":
            page = bytearray(bytes(4) + unit.good(scsi.mode_sense6(0x0A), 255)[4:])
            page[8] |= 0x08
            unit.good(scsi.mode_select6(len(page)), write=bytes(page))
        elif how == "parked":
            device.activate(False)
            unit.attentions()
            expected = scsi.BECOMING_READY
        for name, (cdb, data) in WRITES.items():
            assert unit.sense(cdb, write=data) == expected, name
    assert path.read_bytes() == before
