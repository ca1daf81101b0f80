# SPDX-License-Identifier: GPL-2.0-or-later
"""T10 protection information: what is told, moved, kept, checked and refused."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.copying import copy, cscd_of, segment
from tests.vm.guest.scsi import Sense, Unit
from tests.vm.guest.tree import Target

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_local", "sd_mod", "sg")

MIB = 1 << 20
SIZE = 4 * MIB
TUPLES_AT = 8192
NONE = b"\xff" * 8
GUARD, APP, REF = (0xB, 0x10, 1), (0xB, 0x10, 2), (0xB, 0x10, 3)
FORMAT_LIST = bytes(4)
# Name: LUN, type, block, settings.
KINDS: dict[str, tuple[int, int, int, dict[str, object]]] = {
    "one": (0, 1, 512, {"thin": 1}),
    "three": (1, 3, 512, {"o_direct": 1}),
    "large": (2, 1, 4096, {"write_through": 1}),
    "two": (3, 2, 512, {}),
}
PLAIN, NULL = 4, 5


def crc_table() -> list[int]:
    table = []
    for value in range(256):
        crc = value << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8BB7 if crc & 0x8000 else crc << 1) & 0xFFFF
        table.append(crc)
    return table


TABLE = crc_table()


@lru_cache(1 << 13)
def guard(data: bytes) -> int:
    """CRC-16 of T10."""
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFF00) ^ TABLE[crc >> 8 ^ byte]
    return crc


def information(lba: int, block: bytes, kind: int = 1, app: int = 0) -> bytes:
    """What a block at its place has."""
    return struct.pack(">HHI", guard(block), app, 0 if kind == 3 else lba)


@dataclass(frozen=True, slots=True)
class Kind:
    """A unit with protection information, and its files."""

    unit: Unit
    type: int
    block: int
    data: Path
    file: Path

    def noise(self, seed: object, count: int = 1) -> bytes:
        """Reproducible blocks."""
        return random.Random(str(seed)).randbytes(count * self.block)

    def right(self, lba: int, data: bytes, app: int = 0) -> list[bytes]:
        """The information of blocks."""
        blocks = [data[at : at + self.block] for at in range(0, len(data), self.block)]
        return [information(lba + number, one, self.type, app) for number, one in enumerate(blocks)]

    def between(self, data: bytes, tuples: list[bytes]) -> bytes:
        """Each block with its information behind it."""
        return b"".join(
            data[number * self.block : (number + 1) * self.block] + one for number, one in enumerate(tuples)
        )

    def kept(self, lba: int, count: int) -> list[bytes]:
        """The information in the file, which has holes where there is none."""
        with self.file.open("rb") as file:
            file.seek(TUPLES_AT + lba * 8)
            raw = bytes(byte ^ 0xFF for byte in file.read(count * 8).ljust(count * 8, b"\0"))
        return [raw[at : at + 8] for at in range(0, len(raw), 8)]

    def spoil(self, path: Path, at: int) -> None:
        """Change a byte behind the target's back."""
        with path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)
            file.seek(at)
            file.write(bytes((byte[0] ^ 0x40,)))
            file.flush()
            os.fsync(file.fileno())

    def write(
        self, lba: int, data: bytes, protect: int = 0, tuples: list[bytes] | None = None
    ) -> scsi.Answer:
        """WRITE(10), or (32) for what only that can do."""
        if protect:
            data = self.between(data, tuples if tuples is not None else self.right(lba, data))
        count = len(data) // (self.block + (8 if protect else 0))
        return self.unit.command(self.cdb(0x2A, 0x0B, lba, count, protect), write=data)

    def read(self, lba: int, count: int, protect: int = 0) -> scsi.Answer:
        """READ(10), or (32)."""
        room = count * (self.block + (8 if protect else 0))
        return self.unit.command(self.cdb(0x28, 0x09, lba, count, protect), read=room)

    def cdb(self, opcode: int, action: int, lba: int, count: int, protect: int, flags: int = 0) -> bytes:
        """A command that reads or writes."""
        if self.type == 2 and protect:
            return cdb32(action, lba, count, protect << 5 | flags, lba)
        return scsi.cdb10(opcode, lba, count, protect << 5 | flags)


def cdb32(action: int, lba: int, count: int, flags: int, ref: int, app: int = 0, mask: int = 0) -> bytes:
    """A command of 32 bytes."""
    return struct.pack(
        ">BB4xBBHBxQIHHI", 0x7F, 0, 0, 24, action, flags, lba, ref & 0xFFFFFFFF, app, mask, count
    )


@pytest.fixture(scope="module")
def kinds(ext4: Path, file_tree: None) -> Iterator[dict[str, Kind]]:
    """One LUN of 4 MiB for each kind; one without protection information, one that keeps none."""
    target = Target("protected").make(auto_rescan=False)
    for name, (lun, kind, block, more) in KINDS.items():
        (ext4 / name).touch()
        os.truncate(ext4 / name, SIZE)
        pi = ext4 / f"{name}.pi"
        made = tree.fileio(name, ext4 / name, block_size=block, protection=kind, protection_file=pi, **more)
        target.luns.map(lun, made)
    (ext4 / "plain").touch()
    os.truncate(ext4 / "plain", SIZE)
    target.luns.map(PLAIN, tree.fileio("plain", ext4 / "plain"))
    target.luns.map(NULL, tree.nullio("null", SIZE, protection=1))
    host = target.login("first")
    target.enable()
    units = {name: Unit(host.sg(lun)) for name, (lun, *_) in KINDS.items()}
    found = {
        name: Kind(units[name], kind, block, ext4 / name, ext4 / f"{name}.pi")
        for name, (_, kind, block, _) in KINDS.items()
    }
    found["plain"] = Kind(Unit(host.sg(PLAIN)), 0, 512, ext4 / "plain", ext4 / "none")
    found["null"] = Kind(Unit(host.sg(NULL)), 1, 512, ext4 / "none", ext4 / "none")
    for one in found.values():
        one.unit.attentions()
    yield found
    for one in found.values():
        one.unit.close()
    guest_plugin.wipe()


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest, kinds: dict[str, Kind]) -> Kind:
    """Each type."""
    return kinds[request.param]


def failed(answer: scsi.Answer, sense: Sense, lba: int) -> None:
    """A check has failed at this block."""
    assert answer.sense == sense, str(answer)
    assert scsi.parse_information(answer.raw_sense) == lba


# --- what is told ---


@pytest.mark.parametrize(("name", "extended"), [("one", 0x05), ("two", 0x17), ("three", 0x24), ("plain", 0)])
def test_what_is_told(kinds: dict[str, Kind], name: str, extended: int) -> None:
    """INQUIRY, READ CAPACITY(16), VPD pages 86h and B0h, mode page 0Ah."""
    one = kinds[name]
    assert one.unit.good(scsi.inquiry(), 96)[5] & 1 == bool(one.type)
    assert one.unit.good(scsi.read_capacity16(), 32)[12] == (2 * one.type - 1 if one.type else 0)
    assert one.unit.good(scsi.inquiry(page=0x86), 64)[4] == extended
    assert one.unit.good(scsi.mode_sense6(0x0A), 64)[4 + 5] >> 7 == (one.type == 2)
    known = one.unit.good(scsi.report_opcodes(3, 0x7F, 0x09), 64)[1] & 7
    assert known == (3 if one.type == 2 else 1)


# --- what is moved and kept ---


@pytest.mark.parametrize("count", [1, 7, 300])
def test_what_is_written_with_it_is_read_with_it(kind: Kind, count: int) -> None:
    """And is in the file, also the application tag, whoever's it is."""
    lba = 5
    data = kind.noise(count, count)
    tuples = kind.right(lba, data, app=0x1234)
    assert kind.write(lba, data, 1, tuples).good
    answer = kind.read(lba, count, 1)
    assert answer.good, str(answer)
    assert answer.data == kind.between(data, tuples)
    assert kind.read(lba, count).data == data
    assert kind.kept(lba, count) == tuples


@pytest.mark.parametrize("count", [1, 300])
def test_what_is_written_without_it_gets_its_own(kind: Kind, count: int) -> None:
    lba = 11
    data = kind.noise(("own", count), count)
    assert kind.write(lba, data).good
    assert kind.read(lba, count).data == data
    assert kind.kept(lba, count) == kind.right(lba, data)
    assert kind.read(lba, count, 1).data == kind.between(data, kind.right(lba, data))


def test_a_buffer_that_is_too_small(kinds: dict[str, Kind]) -> None:
    """It gets what it has room for; what is too little to be written is not."""
    one = kinds["one"]
    data = one.noise("small", 3)
    assert one.write(0, data, 1).good
    answer = one.unit.command(scsi.read10(0, 3, 1 << 5), read=520 + 514)
    assert answer.good
    assert answer.data == one.between(data, one.right(0, data))[: 520 + 514]
    answer = one.unit.command(scsi.write10(0, 3, 1 << 5), write=bytes(3 * 512))
    assert answer.sense == scsi.SHORT_TRANSFER


def test_nothing_kept(kinds: dict[str, Kind]) -> None:
    """nullio: zeroes, with what they have; what is written is checked all the same."""
    null = kinds["null"]
    zeroes = bytes(3 * 512)
    assert null.read(9, 3, 1).data == null.between(zeroes, null.right(9, zeroes))
    assert null.read(9, 3).data == zeroes
    assert null.write(9, null.noise(1), 1).good
    failed(null.write(9, null.noise(1), 1, [bytes(8)]), GUARD, 9)


# --- what is wrong ---

WRONG = [("guard", 1, GUARD, (1, 4, 5)), ("ref", 7, REF, (1, 2, 5))]


@pytest.mark.parametrize(
    ("what", "at", "sense", "fields"), WRONG, ids=lambda one: one if isinstance(one, str) else ""
)
@pytest.mark.parametrize("protect", [1, 2, 3, 4, 5])
def test_wrong_tags_are_not_written(
    kind: Kind, what: str, at: int, sense: Sense, fields: tuple[int, ...], protect: int
) -> None:
    """WRPROTECT says which are checked. What is before the block that is wrong may be written, it is not."""
    lba, count, bad = 20, 9, 4
    before, data = kind.noise("before", count), kind.noise((what, protect), count)
    assert kind.write(lba, before).good
    tuples = kind.right(lba, data)
    tuples[bad] = bytes(byte ^ 1 if number == at else byte for number, byte in enumerate(tuples[bad]))
    answer = kind.write(lba, data, protect, tuples)
    if protect in fields and not (what == "ref" and kind.type == 3):
        failed(answer, sense, lba + bad)
        assert kind.read(lba, count).data == before
    else:
        assert answer.good
        assert kind.kept(lba, count) == tuples
        assert kind.read(lba, count, 3).data == kind.between(data, tuples)
        assert kind.write(lba, before).good


@pytest.mark.parametrize("where", ["data", "file"])
def test_damage_is_found(kind: Kind, where: str) -> None:
    """By every command that reads, with the block; what is before it is moved. Without checks, all is."""
    lba, count, bad = 40, 20, 13
    data = kind.noise("damage", count)
    assert kind.write(lba, data, 1).good
    assert kind.unit.good(scsi.cdb10(0x35, 0, 0)) == b""
    if where == "data":
        kind.spoil(kind.data, (lba + bad) * kind.block + 100)
    else:
        kind.spoil(kind.file, TUPLES_AT + (lba + bad) * 8)
    answer = kind.read(lba, count)
    failed(answer, GUARD, lba + bad)
    assert answer.moved == data[: bad * kind.block]
    answer = kind.read(lba, count, 1)
    failed(answer, GUARD, lba + bad)
    assert answer.moved == kind.between(data[: bad * kind.block], kind.right(lba, data)[:bad])
    failed(kind.unit.command(scsi.verify10(lba, count)), GUARD, lba + bad)
    verify = kind.cdb(0x2F, 0x0A, lba, count, 1)
    failed(kind.unit.command(verify), GUARD, lba + bad)
    assert kind.read(lba, count, 3).good
    assert kind.read(lba, count, 2).good
    assert kind.read(lba, bad, 1).good
    expected = data[bad * kind.block : (bad + 1) * kind.block]
    answer = kind.unit.command(scsi.compare_and_write(lba + bad, 1), write=expected * 2)
    failed(answer, GUARD, lba + bad)
    assert kind.write(lba + bad, expected).good
    assert kind.read(lba, count).data == data


def test_wrong_reference_tag_on_the_medium(kinds: dict[str, Kind]) -> None:
    """A block that has gone astray fits its guard, and is not the one that was asked for."""
    one = kinds["one"]
    data = one.noise("astray")
    astray = one.right(61, data)
    assert one.write(60, data, 3, astray).good
    failed(one.read(58, 4), REF, 60)
    failed(one.read(58, 4, 1), REF, 60)
    assert one.read(60, 1, 4).good
    assert one.write(60, data).good


# --- other commands ---


def test_verify_and_write_and_verify(kind: Kind) -> None:
    """BYTCHK compares the information, too; and what of it, VRPROTECT says."""
    lba, count = 70, 6
    data = kind.noise("verify", count)
    tuples = kind.right(lba, data)
    both = kind.between(data, tuples)
    answer = kind.unit.command(kind.cdb(0x2E, 0x0C, lba, count, 1, 0x02), write=both)
    assert answer.good, str(answer)
    assert kind.kept(lba, count) == tuples
    assert kind.unit.command(kind.cdb(0x2F, 0x0A, lba, count, 1, 0x02), write=both).good
    other = bytearray(data)
    other[2 * kind.block + 5] ^= 1
    wrong = kind.between(bytes(other), kind.right(lba, bytes(other)))
    answer = kind.unit.command(kind.cdb(0x2F, 0x0A, lba, count, 1, 0x02), write=wrong)
    assert answer.sense == scsi.MISCOMPARE
    assert scsi.parse_information(answer.raw_sense) == 2 * (kind.block + 8) + 5
    answer = kind.unit.command(
        kind.cdb(0x2F, 0x0A, lba, count, 1, 0x02), write=kind.between(bytes(other), tuples)
    )
    failed(answer, GUARD, lba + 2)


def test_thin(kinds: dict[str, Kind]) -> None:
    """What was given back has no information, and reads without complaint."""
    one = kinds["one"]
    data = one.noise("thin", 64)
    for clear in ("unmap", "same", "ndob"):
        assert one.write(128, data, 1).good
        if clear == "unmap":
            one.unit.good(scsi.unmap(24), write=scsi.unmap_list((136, 16)))
        elif clear == "same":
            one.unit.good(scsi.write_same16(136, 16, scsi.UNMAP_BIT), write=bytes(512))
        else:
            one.unit.good(scsi.write_same16(136, 16, scsi.NDOB))
        wanted = data[: 8 * 512] + bytes(16 * 512) + data[24 * 512 :]
        assert one.read(128, 64).data == wanted
        tuples = one.right(128, data)
        tuples[8:24] = [NONE] * 16
        assert one.read(128, 64, 1).data == one.between(wanted, tuples)


def test_write_same_generates(kind: Kind) -> None:
    """Of zeroes, too: each block has its own."""
    for data in (kind.noise("same"), bytes(kind.block)):
        kind.unit.good(scsi.write_same10(200, 50), write=data)
        assert kind.read(200, 50, 1).data == kind.between(data * 50, kind.right(200, data * 50))


def test_compare_and_write_and_orwrite(kind: Kind) -> None:
    """They read what is checked, and generate; with WRPROTECT they are refused."""
    before, after = kind.noise("caw"), kind.noise("after")
    assert kind.write(270, before, 1).good
    kind.unit.good(scsi.compare_and_write(270, 1), write=before + after)
    assert kind.kept(270, 1) == kind.right(270, after)
    kind.unit.good(scsi.orwrite16(270, 1), write=before)
    both = bytes(one | two for one, two in zip(before, after, strict=True))
    assert kind.read(270, 1).data == both
    assert kind.kept(270, 1) == kind.right(270, both)
    for cdb in (scsi.compare_and_write(270, 1, 0x20), scsi.orwrite16(270, 1, 0x20)):
        assert kind.unit.sense(cdb, write=bytes(2 * kind.block if cdb[0] == 0x89 else kind.block)) == (
            scsi.INVALID_FIELD_CDB
        )


def test_copies_are_checked(kinds: dict[str, Kind]) -> None:
    """EXTENDED COPY from one unit to another, of another type: what is damaged is not copied."""
    one, three = kinds["one"], kinds["three"]
    data = one.noise("copy", 32)
    assert one.write(300, data, 1).good
    assert copy(three.unit, [cscd_of(one.unit), cscd_of(three.unit)], [segment(32, 300, 310)]).good
    assert three.read(310, 32, 1).data == three.between(data, three.right(310, data))
    one.unit.good(scsi.cdb10(0x35, 0, 0))
    one.spoil(one.data, 317 * 512)
    assert not copy(three.unit, [cscd_of(one.unit), cscd_of(three.unit)], [segment(32, 300, 350)]).good
    assert three.kept(367, 1) == [NONE], "it was not written"
    assert one.write(317, bytes(512)).good


def test_format(kinds: dict[str, Kind]) -> None:
    """All is zero, and no block has information. Another type is not to be had by a command."""
    for name, flags, usage in (("one", 0x80, 0), ("three", 0xC0, 1)):
        unit = kinds[name]
        assert unit.write(500, unit.noise("format", 8), 1).good
        parameters = bytes((usage, 0, 0, 0))
        unit.unit.good(scsi.format_unit(flags | 0x10), write=parameters)
        assert unit.read(500, 8, 1).data == unit.between(bytes(8 * 512), [NONE] * 8)
        for other in {0x00, 0x80, 0xC0} - {flags}:
            assert (
                unit.unit.sense(scsi.format_unit(other | 0x10), write=FORMAT_LIST) == scsi.INVALID_FIELD_CDB
            )
        wrong = bytes((usage ^ 1, 0, 0, 0))
        assert unit.unit.sense(scsi.format_unit(flags | 0x10), write=wrong) == scsi.INVALID_FIELD_LIST


# --- what is refused ---


def test_refused(kinds: dict[str, Kind]) -> None:
    """Fields where there is none, reserved ones; commands of type 2 elsewhere, and others there."""
    for field in range(1, 8):
        assert kinds["plain"].read(0, 1, field).sense == scsi.INVALID_FIELD_CDB
        assert kinds["plain"].write(0, bytes(512), field).sense == scsi.INVALID_FIELD_CDB
    for name in ("one", "three", "two"):
        for field in (6, 7):
            assert kinds[name].read(0, 1, field).sense == scsi.INVALID_FIELD_CDB
    two = kinds["two"]
    for opcode in (0x28, 0x2F):
        answer = two.unit.command(scsi.cdb10(opcode, 0, 1, 0x20), read=520 if opcode == 0x28 else 0)
        assert answer.sense == scsi.INVALID_OPCODE
    assert two.unit.sense(scsi.write16(0, 1, 0x20), write=bytes(520)) == scsi.INVALID_OPCODE
    assert kinds["one"].unit.sense(cdb32(0x09, 0, 1, 0, 0), 512) == scsi.INVALID_OPCODE
    wrong = bytearray(cdb32(0x09, 0, 1, 0, 0))
    wrong[11] = 1
    assert two.unit.sense(bytes(wrong), 512) == scsi.INVALID_FIELD_CDB
    assert two.unit.sense(cdb32(0x09, SIZE // 512, 1, 0, 0), 512) == scsi.LBA_OUT_OF_RANGE


def test_expected_tags(kinds: dict[str, Kind]) -> None:
    """Type 2: the command says which tags its first block has; of the application tag, which bits count."""
    two = kinds["two"]
    data = two.noise("expected", 2)
    tuples = [struct.pack(">HHI", guard(data[at : at + 512]), 0xAB12, 900 + at // 512) for at in (0, 512)]
    both = two.between(data, tuples)
    assert two.unit.command(cdb32(0x0B, 4, 2, 0x20, 900, 0xAB00, 0xFF00), write=both).good
    assert two.unit.good(cdb32(0x09, 4, 2, 0x20, 900, 0xAB12, 0xFFFF), 1040) == both
    failed(two.unit.command(cdb32(0x09, 4, 2, 0x20, 901), read=1040), REF, 4)
    failed(two.unit.command(cdb32(0x09, 4, 2, 0x20, 900, 0xAB13, 0xFFFF), read=1040), APP, 4)
    assert two.unit.command(cdb32(0x09, 4, 2, 0x80, 901, 1, 0xFFFF), read=1040).good
    assert two.unit.good(cdb32(0x09, 4, 2, 0, 7), 1024) == data
    failed(two.unit.command(cdb32(0x0B, 4, 2, 0x20, 800), write=both), REF, 4)
