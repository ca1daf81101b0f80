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

    def same(
        self, lba: int, count: int, data: bytes, protect: int = 0, one: bytes | None = None, flags: int = 0
    ) -> scsi.Answer:
        """WRITE SAME(16), or (32), of a block, or (NDOB) of none."""
        if protect and data:
            data += one if one is not None else self.right(lba, data)[0]
        if self.type == 2 and protect:
            cdb = cdb32(0x0D, lba, count, protect << 5 | flags, lba)
        else:
            cdb = scsi.write_same16(lba, count, protect << 5 | flags)
        return self.unit.command(cdb, write=data)

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
    for action in (0x09, 0x0A, 0x0B, 0x0C, 0x0D):
        known = one.unit.good(scsi.report_opcodes(3, 0x7F, action), 64)[1] & 7
        assert known == (3 if one.type == 2 else 1)
    usage = {0x41: 0xE8, 0x93: 0xE9, 0x89: 0xF8, 0x8B: 0xF8}
    for opcode, flags in usage.items():
        assert one.unit.good(scsi.report_opcodes(1, opcode), 64)[4 + 1] == flags


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
    assert null.same(9, 300, null.noise(1), 1).good
    failed(null.same(9, 300, null.noise(1), 1, bytes(8)), GUARD, 9)


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


def following(kind: Kind, one: bytes, count: int) -> list[bytes]:
    """What blocks have that are written from one: its reference tag, and one more each."""
    check, app, ref = struct.unpack(">HHI", one)
    return [
        struct.pack(">HHI", check, app, ref + (number if kind.type != 3 else 0)) for number in range(count)
    ]


@pytest.mark.parametrize("protect", [1, 2, 3, 4, 5])
def test_write_same_with_it(kind: Kind, protect: int) -> None:
    """Each block gets what came with the one, and its own reference tag; what is wrong is not written."""
    lba, count = 1000 if kind.block == 512 else 500, 300
    before, data = kind.noise("before", count), kind.noise(("same", protect))
    right = struct.pack(">HHI", guard(data), 0x1234, lba)
    assert kind.same(lba, count, data, protect, right).good
    assert kind.kept(lba, count) == following(kind, right, count)
    assert kind.read(lba, count, 3).data == kind.between(data * count, following(kind, right, count))
    assert kind.write(lba, before).good
    for what, at, sense, fields in WRONG:
        wrong = bytes(byte ^ (number == at) for number, byte in enumerate(right))
        answer = kind.same(lba, count, data, protect, wrong)
        if protect in fields and not (what == "ref" and kind.type == 3):
            failed(answer, sense, lba)
            assert kind.read(lba, count).data == before
        else:
            assert answer.good
            assert kind.kept(lba, count) == following(kind, wrong, count)
            assert kind.write(lba, before).good


def test_write_same_of_blocks_without_it(kind: Kind) -> None:
    """All ones are not checked, and each block has them; so it is with NDOB, whatever WRPROTECT says."""
    lba, count = 600, 200
    data = kind.noise("none")
    for wanted, one, flags in ((data, NONE, 0), (bytes(kind.block), NONE, 0), (b"", None, scsi.NDOB)):
        for protect in (1, 5):
            assert kind.write(lba, kind.noise("over", count), 1).good
            answer = kind.same(lba, count, wanted, protect, one, flags)
            assert answer.good, str(answer)
            assert kind.kept(lba, count) == [NONE] * count
            assert kind.read(lba, count).data == (wanted or bytes(kind.block)) * count


def test_write_same_gives_back_what_has_none(kinds: dict[str, Kind]) -> None:
    """UNMAP: zeroes are given back if they come without information; with their own, they are written."""
    one = kinds["one"]
    lba, count = 1024, 512
    for tuple_, mapped in ((NONE, False), (None, True)):
        assert one.write(lba, one.noise("thin", count), 1).good
        assert one.same(lba, count, bytes(512), 1, tuple_, scsi.UNMAP_BIT).good
        assert one.read(lba, count).data == bytes(512 * count)
        assert one.kept(lba, count) == (one.right(lba, bytes(512 * count)) if mapped else [NONE] * count)
        status = scsi.lba_status(one.unit.good(scsi.get_lba_status16(lba), read=264))
        assert (status[0][2] == 0) == mapped
    assert one.same(lba, count, b"", 1, None, scsi.NDOB | scsi.UNMAP_BIT).good
    assert one.kept(lba, count) == [NONE] * count


def test_compare_and_write_and_orwrite_generate(kind: Kind) -> None:
    """Where they come without it. They read what is checked."""
    before, after = kind.noise("caw"), kind.noise("after")
    assert kind.write(270, before, 1).good
    kind.unit.good(scsi.compare_and_write(270, 1), write=before + after)
    assert kind.kept(270, 1) == kind.right(270, after)
    kind.unit.good(scsi.orwrite16(270, 1), write=before)
    both = bytes(one | two for one, two in zip(before, after, strict=True))
    assert kind.read(270, 1).data == both
    assert kind.kept(270, 1) == kind.right(270, both)


@pytest.fixture(params=["one", "three", "large"])
def old(request: pytest.FixtureRequest, kinds: dict[str, Kind]) -> Kind:
    """Types that have commands of 16 bytes with it."""
    return kinds[request.param]


@pytest.mark.parametrize(("count", "flags"), [(1, 0), (150, 0), (150, 0x08)])
def test_compare_and_write_with_it(old: Kind, count: int, flags: int) -> None:
    """Blocks are compared, without their information; what is written has its own, as it came."""
    lba = 400
    before, after = old.noise("before", count), old.noise(("after", count, flags), count)
    tuples = old.right(lba, after, app=0x4321)
    caw = scsi.compare_and_write(lba, count, 0x20 | flags)
    assert old.write(lba, before).good
    expected, written = old.between(before, [b"whatever"] * count), old.between(after, tuples)
    answer = old.unit.command(caw, write=expected + written)
    assert answer.good, str(answer)
    assert old.kept(lba, count) == tuples
    assert old.read(lba, count, 1).data == written
    answer = old.unit.command(caw, write=expected + written)
    assert answer.sense == scsi.MISCOMPARE
    assert scsi.parse_information(answer.raw_sense) == 0
    if count > 1:
        other = bytearray(after)
        other[120 * old.block + 7] ^= 1
        answer = old.unit.command(caw, write=old.between(bytes(other), tuples) + expected)
        assert answer.sense == scsi.MISCOMPARE
        assert scsi.parse_information(answer.raw_sense) == 120 * (old.block + 8) + 7
    assert old.read(lba, count, 1).data == written
    short = old.between(after, tuples) + old.between(after, tuples)[:-8]
    assert old.unit.sense(caw, write=short) == scsi.SHORT_TRANSFER


@pytest.mark.parametrize("protect", [1, 2, 3, 4, 5])
def test_compare_and_write_of_wrong_tags(old: Kind, protect: int) -> None:
    """None of it is written if the last of many blocks is wrong."""
    lba, count = 400, 150
    before, after = old.noise("before", count), old.noise("wrong", count)
    for what, at, sense, fields in WRONG:
        assert old.write(lba, before).good
        tuples = old.right(lba, after)
        tuples[-1] = bytes(byte ^ (number == at) for number, byte in enumerate(tuples[-1]))
        data = old.between(before, [NONE] * count) + old.between(after, tuples)
        answer = old.unit.command(scsi.compare_and_write(lba, count, protect << 5), write=data)
        if protect in fields and not (what == "ref" and old.type == 3):
            failed(answer, sense, lba + count - 1)
            assert old.read(lba, count).data == before
        else:
            assert answer.good, str(answer)
            assert old.kept(lba, count) == tuples


@pytest.mark.parametrize(("count", "flags"), [(1, 0), (200, 0), (200, 0x08)])
def test_orwrite_with_it(old: Kind, count: int, flags: int) -> None:
    """Both sides are checked; the result has its own guard, and the tags that were sent."""
    lba, bad = 400, count * 3 // 4
    before, mask = old.noise("before", count), old.noise(("mask", count, flags), count)
    both = bytes(one | two for one, two in zip(before, mask, strict=True))
    orwrite = scsi.orwrite16(lba, count, 0x20 | flags)
    assert old.write(lba, before, 1).good
    answer = old.unit.command(orwrite, write=old.between(mask, old.right(lba, mask, app=0x77)))
    assert answer.good, str(answer)
    assert old.kept(lba, count) == old.right(lba, both, app=0x77)
    assert old.read(lba, count, 1).data == old.between(both, old.right(lba, both, app=0x77))
    tuples = old.right(lba, mask)
    tuples[bad] = bytes(8)
    failed(old.unit.command(orwrite, write=old.between(mask, tuples)), GUARD, lba + bad)
    old.unit.good(scsi.cdb10(0x35, 0, 0))
    old.spoil(old.data, (lba + bad) * old.block + 100)
    failed(old.unit.command(orwrite, write=old.between(mask, old.right(lba, mask))), GUARD, lba + bad)
    assert old.write(lba, before).good


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
        for cdb, blocks in (
            (scsi.write_same10(0, 1, field << 5), 1),
            (scsi.write_same16(0, 1, field << 5), 1),
            (scsi.compare_and_write(0, 1, field << 5), 2),
            (scsi.orwrite16(0, 1, field << 5), 1),
        ):
            assert kinds["plain"].unit.sense(cdb, write=bytes(512 * blocks)) == scsi.INVALID_FIELD_CDB
    for name in ("one", "three", "two"):
        for field in (6, 7):
            assert kinds[name].read(0, 1, field).sense == scsi.INVALID_FIELD_CDB
            assert kinds[name].same(0, 1, bytes(512), field).sense == scsi.INVALID_FIELD_CDB
    two = kinds["two"]
    for opcode in (0x28, 0x2F):
        answer = two.unit.command(scsi.cdb10(opcode, 0, 1, 0x20), read=520 if opcode == 0x28 else 0)
        assert answer.sense == scsi.INVALID_OPCODE
    for cdb in (
        scsi.write16(0, 1, 0x20),
        scsi.write_same10(0, 1, 0x20),
        scsi.write_same16(0, 1, 0x20),
        scsi.compare_and_write(0, 1, 0x20),
        scsi.orwrite16(0, 1, 0x20),
    ):
        size = 520 * (2 if cdb[0] == 0x89 else 1)
        assert two.unit.sense(cdb, write=bytes(size)) == scsi.INVALID_OPCODE
    assert kinds["one"].unit.sense(cdb32(0x0D, 0, 1, 0, 0), write=bytes(512)) == scsi.INVALID_OPCODE
    assert two.unit.sense(cdb32(0x0D, 0, 1, 0x10, 0), write=bytes(512)) == scsi.INVALID_FIELD_CDB
    assert two.unit.sense(cdb32(0x0D, 0, 1, 0x08, 0), write=bytes(512)) == scsi.INVALID_FIELD_CDB
    assert two.unit.sense(cdb32(0x0D, 0, 0, 0, 0), write=bytes(512)) == scsi.INVALID_FIELD_CDB
    assert two.unit.sense(cdb32(0x0D, 0, 1, 0x20, 0), write=bytes(512)) == scsi.SHORT_TRANSFER
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
    one = struct.pack(">HHI", guard(data[:512]), 0xAB12, 900)
    assert two.unit.command(cdb32(0x0D, 40, 9, 0x20, 900, 0xAB00, 0xFF00), write=data[:512] + one).good
    assert two.kept(40, 9) == following(two, one, 9)
    failed(two.unit.command(cdb32(0x0D, 40, 9, 0x20, 901), write=data[:512] + one), REF, 40)
    failed(two.unit.command(cdb32(0x0D, 40, 9, 0x20, 900, 0xAB13, 0xFFFF), write=data[:512] + one), APP, 40)
    assert two.unit.command(cdb32(0x0D, 40, 9, 0, 7), write=data[:512]).good
    assert two.kept(40, 9) == two.right(40, data[:512] * 9)
