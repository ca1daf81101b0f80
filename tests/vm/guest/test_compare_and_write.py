# SPDX-License-Identifier: GPL-2.0-or-later
"""COMPARE AND WRITE and ORWRITE, command by command: what they do, and what they refuse."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.scsi import Sense, Unit
from tests.vm.guest.test_refused import loop_device
from tests.vm.guest.tree import Target

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

MIB = 1 << 20
SIZE = 16 * MIB
LUNS = {"file": 0, "direct": 1, "write-through": 2, "disk": 3, "large blocks": 4, "read-only": 5, "null": 6}
KEEPING = ("file", "direct", "write-through", "disk", "large blocks")
MOST = 255
NUMBER_AT = 13
INVALID = scsi.INVALID_FIELD_CDB

MakeFile = Callable[[str, int], Path]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of backing: its unit, and bytes in a block."""

    unit: Unit
    block: int

    @property
    def blocks(self) -> int:
        """Capacity."""
        return SIZE // self.block

    def noise(self, seed: object, count: int = 1) -> bytes:
        """Reproducible blocks."""
        return random.Random(str(seed)).randbytes(count * self.block)

    def write(self, lba: int, data: bytes) -> None:
        """Plain writes."""
        for at in range(0, len(data), 256 * self.block):
            part = data[at : at + 256 * self.block]
            self.unit.good(scsi.write16(lba + at // self.block, len(part) // self.block), write=part)

    def read(self, lba: int, count: int) -> bytes:
        """Plain reads."""
        return self.unit.good(scsi.read16(lba, count), count * self.block)

    def caw(self, lba: int, expected: bytes, new: bytes, flags: int = 0) -> scsi.Answer:
        """COMPARE AND WRITE."""
        cdb = scsi.compare_and_write(lba, len(new) // self.block, flags)
        return self.unit.command(cdb, write=expected + new)


@pytest.fixture(scope="module")
def units(ext4: Path, file_tree: None) -> Iterator[dict[str, Unit]]:
    """One LUN of 16 MiB per kind of backing."""
    paths = {name: ext4 / name for name in (*KEEPING, "read-only")}
    for path in paths.values():
        with path.open("wb") as file:
            file.truncate(SIZE)
    more = {
        "file": {},
        "direct": {"o_direct": 1},
        "write-through": {"write_through": 1},
        "large blocks": {"block_size": 4096},
        "read-only": {"read_only": 1},
    }
    with loop_device(paths["disk"]) as node:
        names = {name: name.replace(" ", "-") for name in LUNS}
        devices = {name: tree.fileio(names[name], paths[name], **one) for name, one in more.items()}
        devices["disk"] = tree.blockio("disk", node)
        devices["null"] = tree.nullio("null", SIZE)
        target = Target("caw").make(auto_rescan=False)
        for name, lun in LUNS.items():
            target.luns.map(lun, devices[name])
        target.luns.map(7, devices["file"], read_only=True)
        host = target.login("first")
        target.enable()
        opened = {name: Unit(host.sg(lun)) for name, lun in (*LUNS.items(), ("read-only mapping", 7))}
        for unit in opened.values():
            unit.attentions()
        yield opened
        for unit in opened.values():
            unit.close()
        guest_plugin.wipe()


@pytest.fixture(params=KEEPING)
def kind(request: pytest.FixtureRequest, units: dict[str, Unit]) -> Kind:
    """Each kind of backing that keeps what is written, with noise at its beginning."""
    unit = units[request.param]
    found = Kind(unit, 4096 if request.param == "large blocks" else 512)
    found.write(0, found.noise("before", 2 * MOST))
    return found


# --- what it does ---


@pytest.mark.parametrize("flags", [0, scsi.FUA, scsi.DPO | scsi.FUA], ids=["", "fua", "dpo_fua"])
@pytest.mark.parametrize("count", [1, 3, 64, MOST])
def test_equal_blocks_are_written(kind: Kind, count: int, flags: int) -> None:
    """And no others."""
    before = kind.noise("before", 2 * MOST)
    lba = 7
    at, end = lba * kind.block, (lba + count) * kind.block
    new = kind.noise(f"new {count}", count)
    answer = kind.caw(lba, before[at:end], new, flags)
    assert answer.good, str(answer)
    assert answer.resid == 0
    after = kind.read(0, MOST) + kind.read(MOST, MOST)
    assert after == before[:at] + new + before[end:]


def test_last_blocks(kind: Kind) -> None:
    lba = kind.blocks - 2
    kind.write(lba, kind.noise("end", 2))
    assert kind.caw(lba, kind.noise("end", 2), kind.noise("new", 2)).good
    assert kind.read(lba, 2) == kind.noise("new", 2)


@pytest.mark.parametrize("flags", [0, scsi.FUA], ids=["", "fua"])
@pytest.mark.parametrize("where", ["first", "second", "block", "last"])
def test_different_blocks_are_not(kind: Kind, where: str, flags: int) -> None:
    """INFORMATION is the offset of the first byte that differs; nothing is written."""
    count = 40
    at = {"first": 0, "second": 1, "block": 9 * kind.block + 5, "last": count * kind.block - 1}[where]
    expected = bytearray(kind.noise("before", count))
    expected[at] ^= 0x40
    if where != "last":
        expected[-1] ^= 0xFF
    answer = kind.caw(0, bytes(expected), kind.noise("new", count), flags)
    assert answer.sense == scsi.MISCOMPARE, str(answer)
    assert scsi.parse_information(answer.raw_sense) == at
    assert kind.read(0, MOST) == kind.noise("before", MOST)


def test_no_blocks(kind: Kind) -> None:
    for lba in (0, kind.blocks):
        assert kind.unit.command(scsi.compare_and_write(lba, 0)).good
    assert kind.unit.sense(scsi.compare_and_write(kind.blocks + 1, 0)) == scsi.LBA_OUT_OF_RANGE


def test_tool(kind: Kind, tmp_path: Path, units: dict[str, Unit]) -> None:
    """sg_compare_and_write of sg3_utils."""
    expected, new = kind.noise("before", 4), kind.noise("tool", 4)
    (tmp_path / "data").write_bytes(expected + new)
    words = ["sg_compare_and_write", "-i", str(tmp_path / "data"), "-l", "0", "-n", "4"]
    words += ["--xferlen", str(8 * kind.block), str(kind.unit.node)]
    assert subprocess.run(words, check=False).returncode == 0
    assert kind.read(0, 4) == new
    assert subprocess.run(words, check=False, capture_output=True).returncode == 14, "miscompare"


# --- what it refuses ---


def refusals(kind: Kind) -> Iterator[tuple[bytes, bytes, Sense, int | None]]:
    """CDB, data, sense, and the byte that it points at."""
    two = kind.noise("before", 1) + kind.noise("new", 1)
    for protect in range(1, 8):
        yield scsi.compare_and_write(0, 1, protect << 5), two, INVALID, 1
    for bit in (0x01, 0x04):
        yield scsi.compare_and_write(0, 1, bit), two, INVALID, 1
    yield scsi.compare_and_write(0, 0), two, INVALID, NUMBER_AT
    yield scsi.compare_and_write(kind.blocks, 1), two, scsi.LBA_OUT_OF_RANGE, None
    yield scsi.compare_and_write(kind.blocks - 1, 2), two * 2, scsi.LBA_OUT_OF_RANGE, None
    yield scsi.compare_and_write((1 << 64) - 1, 1), two, scsi.LBA_OUT_OF_RANGE, None
    for data in (two[: kind.block], two[:-1], two * 2, two + bytes(kind.block)):
        yield scsi.compare_and_write(0, 1), data, scsi.SHORT_TRANSFER, None


def test_refused(kind: Kind) -> None:
    """Nothing of that is written."""
    for cdb, data, sense, field in refusals(kind):
        answer = kind.unit.command(cdb, write=data)
        assert answer.sense == sense, f"{cdb.hex(' ')}, {len(data)} bytes: {answer}"
        if field is not None:
            assert scsi.parse_field(answer.raw_sense) == (True, field), cdb.hex(" ")
    assert kind.read(0, 1) == kind.noise("before", 1)


def test_limit_follows_the_target(units: dict[str, Unit], ext4: Path) -> None:
    """What the transport moves at once bounds it: told, and heeded."""
    limits = units["file"].good(scsi.inquiry(page=0xB0), 255)
    most = struct.unpack(">I", limits[8:12])[0]
    assert limits[5] == min(MOST, most // 2)


@pytest.mark.parametrize("name", ["read-only", "read-only mapping"])
@pytest.mark.parametrize("make", [scsi.compare_and_write, scsi.orwrite16], ids=["caw", "or"])
def test_read_only(units: dict[str, Unit], name: str, make: Callable[[int, int], bytes]) -> None:
    data = bytes(1024 if make is scsi.compare_and_write else 512)
    assert units[name].sense(make(0, 1), write=data) == scsi.WRITE_PROTECTED


def test_null_has_none(units: dict[str, Unit]) -> None:
    """What is written there is not kept: a lock on it would be everybody's."""
    unit = units["null"]
    assert unit.sense(scsi.compare_and_write(0, 1), write=bytes(1024)) == scsi.INVALID_OPCODE
    assert unit.sense(scsi.compare_and_write(0, 1, 0x01), write=bytes(1024)) == scsi.INVALID_OPCODE
    assert unit.sense(scsi.orwrite16(0, 1), write=bytes(512)) == scsi.INVALID_OPCODE
    assert unit.good(scsi.inquiry(page=0xB0), 255)[5] == 0


@pytest.mark.parametrize(("opcode", "cdb"), [(0x89, scsi.compare_and_write(0, 0)), (0x8B, bytes(16))])
def test_reported(units: dict[str, Unit], opcode: int, cdb: bytes) -> None:
    """REPORT SUPPORTED OPERATION CODES: there or not, and the bits that are heeded."""
    data = units["file"].good(scsi.report_opcodes(1, opcode), 64)
    assert data[1] & 7 == 3
    usage = data[4:20]
    assert usage[:2] == bytes((opcode, 0xF8))
    assert usage[2:10] == b"\xff" * 8
    assert usage[10:14] == (b"\0\0\0\xff" if opcode == 0x89 else b"\xff" * 4)
    assert units["null"].good(scsi.report_opcodes(1, opcode), 64)[1] & 7 == 1


# --- ORWRITE ---


@pytest.mark.parametrize("flags", [0, scsi.DPO | scsi.FUA], ids=["", "dpo_fua"])
@pytest.mark.parametrize("count", [1, 3, MOST])
def test_orwrite(kind: Kind, count: int, flags: int) -> None:
    """What is there, or what is sent; nothing else changes."""
    before, new = kind.noise("before", MOST), kind.noise("or", count)
    lba = 0 if count == MOST else 5
    answer = kind.unit.command(scsi.orwrite16(lba, count, flags), write=new)
    assert answer.good, str(answer)
    assert answer.resid == 0
    at, end = lba * kind.block, (lba + count) * kind.block
    wanted = int.from_bytes(before[at:end], "big") | int.from_bytes(new, "big")
    assert kind.read(0, MOST) == before[:at] + wanted.to_bytes(len(new), "big") + before[end:]


def test_orwrite_refused(kind: Kind) -> None:
    one = kind.noise("or", 1)
    for protect in range(1, 8):
        answer = kind.unit.command(scsi.orwrite16(0, 1, protect << 5), write=one)
        assert (answer.sense, scsi.parse_field(answer.raw_sense)) == (INVALID, (True, 1))
    assert kind.unit.sense(scsi.orwrite16(kind.blocks, 1), write=one) == scsi.LBA_OUT_OF_RANGE
    assert kind.unit.sense(scsi.orwrite16(0, 2), write=one) == scsi.SHORT_TRANSFER
    assert kind.unit.command(scsi.orwrite16(0, 0)).good
    assert kind.read(0, 2) == kind.noise("before", 2)
