# SPDX-License-Identifier: GPL-2.0-or-later
"""Every opcode and the commands of a disk, sent by hand: answers, residuals, sense data, and rubbish."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm.guest import scsi, tree
from tests.vm.guest.scsi import Unit
from tests.vm.guest.tree import Initiator, Target
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

MIB = 1 << 20
SIZE = 64 * MIB
BLOCKS = SIZE // 512
PATTERN = 0xA5
LUNS = {"nullio": 0, "fileio": 1, "blockio": 2, "fileio-direct": 3, "fileio-4k": 4, "write-through": 5}
ABSENT = 9
STOPPABLE = 40

# What the module offers: everything else must end in INVALID COMMAND OPERATION CODE.
SUPPORTED = frozenset(
    (
        0x00,
        0x03,
        0x04,
        0x08,
        0x0A,
        0x12,
        0x15,
        0x16,
        0x17,
        0x1A,
        0x1B,
        0x1C,
        0x1D,
        0x25,
        0x28,
        0x2A,
        0x2E,
        0x2F,
        0x34,
        0x35,
        0x37,
        0x3B,
        0x3C,
        0x41,
        0x4D,
        0x55,
        0x56,
        0x57,
        0x5A,
        0x5E,
        0x5F,
        0x83,
        0x84,
        0x88,
        0x89,
        0x8A,
        0x8B,
        0x8E,
        0x8F,
        0x90,
        0x91,
        0x93,
        0x9B,
        0x9E,
        0xA0,
        0xA3,
        0xA4,
        0xA8,
        0xAA,
        0xAE,
        0xAF,
        0xB7,
    )
)
WITHOUT_LUN = frozenset((0x03, 0x12, 0xA0))
PREFETCHING, CONDITION_MET = (0x34, 0x90), 0x04
# Their effects would decide how later commands end.
STATEFUL = frozenset((0x15, 0x16, 0x1B, 0x55, 0x56, 0x5F))
RELEASE6 = bytes((0x17, 0, 0, 0, 0, 0))
RESERVING = frozenset((0x16, 0x17, 0x56, 0x57, 0x5F))
RESERVATION_CONFLICT = 0x18


@dataclass(frozen=True, slots=True)
class Rig:
    """Open units of one initiator, and one of another."""

    units: dict[str, Unit]
    other: dict[str, Unit]
    paths: dict[str, Path]
    host: Initiator


@pytest.fixture(scope="module")
def rig(ext4: Path, file_tree: None, disks: dict[str, PluggedDisk]) -> Iterator[Rig]:
    """One LUN per kind of back end, all of 64 MiB, seen by two initiators; and an absent LUN."""
    paths = {name: ext4 / name for name in LUNS if name not in ("nullio", "blockio")}
    for path in paths.values():
        with path.open("wb") as file:
            file.truncate(SIZE)
    paths["blockio"] = disks["vm-disk-a"].node
    devices = {
        "nullio": tree.nullio("nullio", SIZE),
        "fileio": tree.fileio("fileio", paths["fileio"]),
        "blockio": tree.blockio("blockio", paths["blockio"]),
        "fileio-direct": tree.fileio("fileio-direct", paths["fileio-direct"], o_direct=True),
        "fileio-4k": tree.fileio("fileio-4k", paths["fileio-4k"], block_size=4096),
        "write-through": tree.fileio("write-through", paths["write-through"], write_through=True),
    }
    target = Target("commands").make(auto_rescan=False)
    for name, lun in LUNS.items():
        target.luns.map(lun, devices[name])
    target.luns.map(ABSENT, devices["nullio"])
    target.luns.map(STOPPABLE, tree.nullio("stoppable", SIZE, stop_unit=True))
    hosts = target.login("first"), target.login("second")
    target.enable()
    views = []
    for host in hosts:
        units = {name: Unit(host.sg(lun)) for name, lun in LUNS.items()}
        units["absent"] = Unit(host.sg(ABSENT))
        units["stoppable"] = Unit(host.sg(STOPPABLE))
        views.append(units)
    target.luns.unmap(ABSENT)
    for unit in (*views[0].values(), *views[1].values()):
        unit.attentions()
    yield Rig(views[0], views[1], paths, hosts[0])
    for unit in (*views[0].values(), *views[1].values()):
        unit.close()


@pytest.fixture(params=sorted(LUNS))
def unit(request: pytest.FixtureRequest, rig: Rig) -> Unit:
    """Each kind of back end."""
    found = rig.units[request.param]
    found.attentions()
    return found


@pytest.fixture(params=["fileio", "blockio", "fileio-direct", "fileio-4k", "write-through"])
def disk(request: pytest.FixtureRequest, rig: Rig) -> Unit:
    """Each kind of back end that keeps what is written."""
    found = rig.units[request.param]
    found.attentions()
    return found


# --- every opcode ---


def cdb_length(opcode: int) -> int:
    """Length by the opcode's group code (SPC-4 4.3.4.2); 16 where it says nothing."""
    return {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}.get(opcode >> 5, 16)


def random_cdbs(opcode: int, seed: str) -> list[bytes]:
    """All zeroes, and random bytes: anywhere, only in the fields that are lengths and addresses."""
    length = cdb_length(opcode)
    source = random.Random(f"{seed} {opcode}")
    loose = [source.randbytes(length - 1) for _ in range(2)]
    tame = [
        bytes(source.choice((0, 0, 0, 1, 8, 0x10, 0xFF)) for _ in range(length - 2)) + b"\0" for _ in range(4)
    ]
    return [bytes((opcode, *rest)) for rest in (bytes(length - 1), *loose, *tame)]


def check_answer(opcode: int, answer: scsi.Answer, size: int) -> None:
    """Any answer is right that the standard knows; unsupported commands have only one."""
    assert answer.host_status == 0, str(answer)
    statuses = {scsi.GOOD, scsi.CHECK_CONDITION}
    if opcode in RESERVING:
        statuses.add(RESERVATION_CONFLICT)
    if opcode in PREFETCHING:
        statuses.add(CONDITION_MET)
    assert answer.status in statuses, str(answer)
    assert 0 <= answer.resid <= size
    if opcode not in SUPPORTED:
        assert answer.sense == scsi.INVALID_OPCODE, str(answer)
    if answer.status == scsi.CHECK_CONDITION:
        assert answer.sense is not None
        assert answer.sense != scsi.NO_SENSE
        assert answer.resid == size, "no data without GOOD"


@pytest.mark.parametrize("name", ["nullio", "fileio", "blockio"])
@pytest.mark.parametrize("direction", ["none", "in", "out"])
def test_all_opcodes(rig: Rig, name: str, direction: str) -> None:
    unit, seen = rig.units[name], set()
    size = 0 if direction == "none" else 4096
    rubbish = random.Random(name).randbytes(size)
    for opcode in range(256):
        for cdb in random_cdbs(opcode, f"{name} {direction}"):
            answer = unit.command(cdb, size) if direction != "out" else unit.command(cdb, write=rubbish)
            if opcode in STATEFUL:
                put_right(unit)
            check_answer(opcode, answer, size)
            if answer.good:
                seen.add(opcode)
    assert len(seen) >= 10, f"too few got through: {sorted(seen)}"


def put_right(unit: Unit) -> None:
    """Undo what rubbish may have done: no reservation, start the unit, default mode pages, no attentions."""
    unit.attentions()
    unit.command(RELEASE6)
    key = (1).to_bytes(8, "big")
    unit.good(bytes((0x5F, 6, 0, 0, 0, 0, 0, 0, 24, 0)), write=bytes(8) + key + bytes(8))  # register anyhow
    unit.good(bytes((0x5F, 3, 0, 0, 0, 0, 0, 0, 24, 0)), write=key + bytes(16))  # clear
    unit.good(scsi.start_stop(True))
    for page in (0x08, 0x0A):
        default = unit.good(scsi.mode_sense6(page, control=2), 255)
        current = unit.good(scsi.mode_sense6(page), 255)
        if default[4:] != current[4:]:
            unit.good(scsi.mode_select6(len(default)), write=bytes(4) + default[4:])
    assert unit.attentions() == []


@pytest.mark.parametrize("size", [0, 4096])
def test_all_opcodes_absent_lun(rig: Rig, size: int) -> None:
    unit = rig.units["absent"]
    for opcode in range(256):
        for cdb in random_cdbs(opcode, "absent"):
            answer = unit.command(cdb, read=size)
            assert answer.host_status == 0
            if opcode in WITHOUT_LUN:
                assert answer.status == scsi.GOOD or answer.sense == scsi.INVALID_FIELD_CDB, str(answer)
            else:
                assert answer.sense == scsi.LUN_NOT_SUPPORTED, f"{cdb.hex()}: {answer}"


def test_vendor_and_variable_length_cdbs(rig: Rig) -> None:
    """CDB lengths that do not fit the opcode."""
    unit = rig.units["fileio"]
    for opcode in (0x28, 0x88, 0xA8, 0x9E, 0x35):
        answer = unit.command(bytes((opcode,)) + bytes(5), read=512)
        assert answer.sense == scsi.INVALID_OPCODE, f"{opcode:#x} in 6 bytes: {answer}"
    answer = unit.command(bytes((0x7F, 0, 0, 0, 0, 0, 0, 0x18)) + bytes(24), read=512)
    assert answer.sense == scsi.INVALID_OPCODE


# --- lengths ---


def test_read_buffer_too_long(unit: Unit) -> None:
    """Nothing is written behind what was asked for."""
    block = unit.blocks()[1]
    for room in (block, 2 * block, 64 << 10):
        answer = unit.read_into(scsi.read10(3, 1), room, fill=PATTERN)
        assert answer.good
        assert answer.resid == room - block
        assert answer.data[block:] == bytes((PATTERN,)) * (room - block)


def test_read_buffer_too_short(unit: Unit) -> None:
    """What fits is moved, to the byte; the rest is an overrun, which the initiator sees as no residual."""
    block = unit.blocks()[1]
    answer = unit.read_into(scsi.read10(0, 16), 2 * block, fill=PATTERN)
    assert answer.good
    assert answer.resid == 0
    assert answer.data == unit.good(scsi.read10(0, 2), 2 * block)
    for room in (100, block + 188, 3 * block - 4):
        answer = unit.command(scsi.read10(0, 16), read=room)
        assert (answer.good, answer.resid) == (True, 0)
        assert answer.data == unit.good(scsi.read10(0, 3), 3 * block)[:room]


def test_write_lengths(disk: Unit) -> None:
    """A buffer too long is used as far as needed; one too short is refused, and nothing is written."""
    block = disk.blocks()[1]
    first, second = (random.Random(n).randbytes(4 * block) for n in (1, 2))
    disk.good(scsi.write10(0, 4), write=first)
    answer = disk.command(scsi.write10(0, 1), write=second)
    assert answer.good
    assert answer.resid == 3 * block
    assert disk.good(scsi.read10(0, 4), 4 * block) == second[:block] + first[block:]
    content = second[:block] + first[block:]
    for blocks, data in ((4, first[: 2 * block]), (1, second[: block // 2]), (2, b"")):
        answer = disk.command(scsi.write10(0, blocks), write=data)
        assert answer.sense == scsi.SHORT_TRANSFER
        assert answer.resid == len(data)
        assert disk.good(scsi.read10(0, 4), 4 * block) == content


def test_wrong_direction(disk: Unit) -> None:
    """Data of the other direction is not touched and changes nothing."""
    block = disk.blocks()[1]
    content = disk.good(scsi.read10(0, 8), 8 * block)
    answer = disk.command(scsi.read10(0, 8), write=bytes((PATTERN,)) * 4096)
    assert answer.resid == 4096
    answer = disk.read_into(scsi.write10(0, 4096 // block), 4096, fill=PATTERN)
    assert answer.resid == 4096
    assert answer.data == bytes((PATTERN,)) * 4096
    assert disk.good(scsi.read10(0, 8), 8 * block) == content
    assert disk.command(scsi.inquiry(), write=bytes(512)).resid == 512
    assert disk.command(scsi.mode_select6(24), read=24).status == scsi.CHECK_CONDITION


@pytest.mark.parametrize(
    "cdb",
    [
        scsi.read10(0, 0),
        scsi.write10(0, 0),
        scsi.read16(0, 0),
        scsi.write16(0, 0),
        scsi.cdb12(0xA8, 0, 0),
        scsi.cdb12(0xAA, 0, 0),
        scsi.verify10(0, 0),
        scsi.verify10(0, 0, 1),
        scsi.verify10(0, 0, 3),
    ],
    ids=bytes.hex,
)
def test_zero_blocks(rig: Rig, cdb: bytes) -> None:
    """A transfer length of zero is no error, at any LBA of the medium, and moves nothing."""
    unit = rig.units["fileio"]
    assert unit.command(cdb).good
    answer = unit.command(cdb, write=bytes((PATTERN,)) * 512)
    assert answer.good
    assert answer.resid == 512


@pytest.mark.parametrize("name", ["nullio", "fileio", "blockio"])
def test_out_of_range(rig: Rig, name: str) -> None:
    """At, across and far behind the end, up to sums that overflow; the last blocks work."""
    unit, data = rig.units[name], bytes(4096)
    bad = [
        scsi.read10(BLOCKS, 1),
        scsi.read10(BLOCKS - 1, 2),
        scsi.read10(0xFFFFFFFF, 1),
        scsi.read10(BLOCKS + 1, 0),
        scsi.read10(0xFFFFFFFF, 0xFFFF),
        scsi.read16(BLOCKS, 1),
        scsi.read16(2**64 - 1, 1),
        scsi.read16(2**64 - 8, 8),
        scsi.read16(2**63, 1),
        scsi.read16(2**55, 1),
        scsi.read16(0, 2**32 - 1),
        scsi.read16(1, 2**32 - 1),
        scsi.cdb12(0xA8, BLOCKS - 7, 8),
        scsi.cdb12(0xA8, 0, 0xFFFFFFFF),
        scsi.read6(BLOCKS, 0),
        scsi.verify16(2**64 - 1, 2),
        scsi.verify10(BLOCKS, 1),
        scsi.cdb10(0x35, BLOCKS, 1),
        scsi.cdb16(0x91, 2**64 - 1, 1),
    ]
    for cdb in bad:
        assert unit.sense(cdb, 4096) == scsi.LBA_OUT_OF_RANGE, cdb.hex(" ")
    writes = [
        scsi.write10(BLOCKS - 7, 8),
        scsi.write16(2**64 - 4, 8),
        scsi.write16(BLOCKS, 8),
        scsi.cdb12(0xAA, 0xFFFFFFFF, 8),
        scsi.write6(BLOCKS, 8),
    ]
    for cdb in writes:
        assert unit.sense(cdb, write=data) == scsi.LBA_OUT_OF_RANGE, cdb.hex(" ")
    unit.good(scsi.write10(BLOCKS - 8, 8), write=data)
    assert unit.good(scsi.read16(BLOCKS - 8, 8), 4096) == data
    assert unit.sense(scsi.read10(BLOCKS, 0)) is None, "zero blocks at the end are in range"


# --- reads and writes ---


def test_read_write_forms(disk: Unit) -> None:
    """Each form of WRITE is seen by each form of READ; group numbers and obsolete bits do no harm."""
    block = disk.blocks()[1]
    size = 8 * block
    writes = [
        scsi.write6(64, 8),
        scsi.write10(64, 8),
        scsi.cdb12(0xAA, 64, 8),
        scsi.write16(64, 8),
        scsi.write10(64, 8, scsi.FUA),
        scsi.write16(64, 8, scsi.FUA | scsi.DPO),
        scsi.write10(64, 8, scsi.DPO),
    ]
    reads = [
        scsi.read6(64, 8),
        scsi.read10(64, 8),
        scsi.cdb12(0xA8, 64, 8),
        scsi.read16(64, 8),
        scsi.read10(64, 8, scsi.FUA),
        scsi.read16(64, 8, scsi.FUA | scsi.DPO),
        scsi.cdb12(0xA8, 64, 8, scsi.FUA),
    ]
    for number, cdb in enumerate(writes):
        data = random.Random(number).randbytes(size)
        disk.good(cdb, write=data)
        for read in reads:
            assert disk.good(read, size) == data, f"{cdb.hex()} then {read.hex()}"


def test_read6_length_zero_is_256(rig: Rig) -> None:
    unit = rig.units["fileio"]
    assert unit.command(scsi.read6(0, 0), read=256 * 512).resid == 0


def test_protection_information_is_refused(unit: Unit) -> None:
    """RDPROTECT, WRPROTECT and VRPROTECT need a format the unit doesn't have."""
    for protect in (0x20, 0x60, 0xE0):
        for cdb in (scsi.read10(0, 1, protect), scsi.cdb10(0x2F, 0, 1, protect), scsi.read16(0, 1, protect)):
            assert unit.sense(cdb, 4096) == scsi.INVALID_FIELD_CDB
        assert unit.sense(scsi.write10(0, 1, protect), write=bytes(4096)) == scsi.INVALID_FIELD_CDB


@pytest.mark.parametrize("count", [1, 9, 33, 1000, 1999])
def test_large_and_odd_transfers(disk: Unit, count: int) -> None:
    """Sizes within and beyond the segments a command holds in itself."""
    block = disk.blocks()[1]
    count = min(count, MIB // block - 1)
    data = random.Random(count).randbytes(count * block)
    disk.good(scsi.write10(1001, count), write=data)
    assert disk.good(scsi.read10(1001, count), len(data)) == data
    assert disk.command(scsi.verify10(1001, count, 1), write=data).good


def test_backing_has_what_was_written(rig: Rig) -> None:
    """LBA n is at byte n * block length of the backing."""
    for name in ("fileio", "fileio-direct", "fileio-4k", "write-through", "blockio"):
        unit = rig.units[name]
        block = unit.blocks()[1]
        data = random.Random(name).randbytes(3 * block)
        unit.good(scsi.write10(4321, 3), write=data)
        unit.good(scsi.cdb10(0x35, 0, 0))
        if name == "blockio":
            subprocess.run(["blockdev", "--flushbufs", str(rig.paths[name])], check=True)
        with rig.paths[name].open("rb") as file:
            file.seek(4321 * block)
            assert file.read(len(data)) == data, name


def test_nullio_reads_are_zeroes(rig: Rig) -> None:
    """Whatever was in the buffer and whatever was written."""
    unit = rig.units["nullio"]
    unit.good(scsi.write10(0, 8), write=b"\xff" * 4096)
    for size in (512, 4096, 512 * 129, MIB // 2):
        answer = unit.read_into(scsi.read10(0, size // 512), size, fill=PATTERN)
        assert answer.good
        assert answer.resid == 0
        assert answer.data == bytes(size)


# --- VERIFY, SYNCHRONIZE CACHE ---


def information(raw: bytes) -> int:
    """INFORMATION field of sense data in either format; it must be valid."""
    if raw[0] & 0x7F == 0x70:
        assert raw[0] & 0x80
        return int(struct.unpack(">I", raw[3:7])[0])
    assert raw[8:10] == b"\x00\x0a"
    assert raw[10] & 0x80
    return int(struct.unpack(">Q", raw[12:20])[0])


@pytest.mark.parametrize("form", [scsi.verify10, scsi.verify12, scsi.verify16])
def test_verify(disk: Unit, form: type) -> None:
    block = disk.blocks()[1]
    data = random.Random(5).randbytes(100 * block)
    disk.good(scsi.write10(50, 100), write=data)
    assert disk.command(form(50, 100)).good
    assert disk.command(form(50, 100, 1), write=data).good
    for wrong in (0, 1, block - 1, block, 16383, 16384, 33 * block + 7, 100 * block - 1):
        bent = bytearray(data)
        bent[wrong] ^= 0x01
        answer = disk.command(form(50, 100, 1), write=bytes(bent))
        assert answer.sense == scsi.MISCOMPARE
        assert information(answer.raw_sense) == wrong
    assert disk.sense(form(50, 100, 2), write=data) == scsi.INVALID_FIELD_CDB
    disk.good(scsi.write10(50, 100), write=data[:block] * 100)
    assert disk.command(form(50, 100, 3), write=data[:block]).good
    disk.good(scsi.write10(149, 1), write=data[block : 2 * block])
    answer = disk.command(form(50, 100, 3), write=data[:block])
    same = next(at for at in range(block) if data[at] != data[block + at])
    assert answer.sense == scsi.MISCOMPARE
    assert information(answer.raw_sense) == 99 * block + same


@pytest.mark.parametrize("form", [scsi.write_verify10, scsi.write_verify12, scsi.write_verify16])
def test_write_and_verify(rig: Rig, disk: Unit, form: type) -> None:
    """It is written, and read again; BYTCHK has it compared, which shows on a medium that keeps nothing."""
    block = disk.blocks()[1]
    for bytchk in (0, 1):
        data = random.Random(f"{form} {bytchk}").randbytes(100 * block)
        disk.good(form(50, 100, bytchk), write=data)
        assert disk.good(scsi.read10(50, 100), read=100 * block) == data
    for bytchk in (2, 3):
        assert disk.sense(form(50, 100, bytchk), write=bytes(100 * block)) == scsi.INVALID_FIELD_CDB
    assert disk.good(scsi.read10(50, 100), read=100 * block) == data
    assert disk.command(form(50, 0)).good
    none = rig.units["nullio"]
    none.good(form(50, 3), write=b"\1" * 1536)
    answer = none.command(form(50, 3, 1), write=bytes(1000) + b"\1" * 536)
    assert answer.sense == scsi.MISCOMPARE
    assert information(answer.raw_sense) == 1000


def test_send_diagnostic(rig: Rig, unit: Unit) -> None:
    """The default self-test passes; others there are not."""
    for flags in (0x04, 0x00, 0x10, 0x07):
        assert unit.command(scsi.send_diagnostic(flags)).good
    for flags in (0x20, 0x40, 0xC0, 0x08):
        assert unit.sense(scsi.send_diagnostic(flags)) == scsi.INVALID_FIELD_CDB
    stopped = rig.units["stoppable"]
    stopped.good(scsi.start_stop(False))
    assert stopped.sense(scsi.send_diagnostic()) == scsi.START_REQUIRED
    stopped.good(scsi.start_stop(True))


PF, SELFTEST, DIAGNOSTIC_PAGES = 0x10, 0x04, bytes((0, 0, 0, 1, 0))


def test_diagnostic_pages(unit: Unit) -> None:
    """There is the list of pages, sent or not, and no other; what is wrong is named."""
    assert unit.good(scsi.receive_diagnostic(0), 64) == DIAGNOSTIC_PAGES
    assert unit.good(scsi.receive_diagnostic(), 64) == DIAGNOSTIC_PAGES
    unit.good(scsi.send_diagnostic(PF, 4), write=bytes(4))
    assert unit.good(scsi.receive_diagnostic(), 64) == DIAGNOSTIC_PAGES
    for room in range(7):
        assert unit.good(scsi.receive_diagnostic(0, room), 64) == DIAGNOSTIC_PAGES[:room]
    for page in (1, 2, 0x40, 0x80, 0xFF):
        answer = unit.command(scsi.receive_diagnostic(page), 64)
        assert (answer.sense, scsi.parse_field(answer.raw_sense)) == (scsi.INVALID_FIELD_CDB, (True, 2))
    for flags, length in ((0, 4), (SELFTEST, 4), (PF | SELFTEST, 4), (PF, 3), (PF, 5), (PF, 1), (PF, 512)):
        answer = unit.command(scsi.send_diagnostic(flags, length), write=bytes(length))
        assert (answer.sense, scsi.parse_field(answer.raw_sense)) == (scsi.INVALID_FIELD_CDB, (True, 3))
    for byte in range(4):
        answer = unit.command(
            scsi.send_diagnostic(PF, 4), write=bytes((*bytes(byte), 0x81, *bytes(3 - byte)))
        )
        field = False, min(byte, 2)
        assert (answer.sense, scsi.parse_field(answer.raw_sense)) == (scsi.INVALID_FIELD_LIST, field)
    assert unit.sense(scsi.send_diagnostic(PF, 4), write=bytes(3)) == scsi.LIST_LENGTH
    assert unit.sense(scsi.send_diagnostic(PF, 4)) == scsi.LIST_LENGTH


@pytest.mark.parametrize(
    "cdb",
    [
        scsi.cdb10(0x35, 0, 0),
        scsi.cdb10(0x35, 7, 9),
        scsi.cdb10(0x35, 0, 0, 2),
        scsi.cdb16(0x91, 0, 0),
        scsi.cdb16(0x91, 1000, 0),
        scsi.cdb16(0x91, BLOCKS // 8 - 1, 1),
        scsi.cdb16(0x91, 0, 0, 2),
    ],
    ids=bytes.hex,
)
def test_synchronize_cache(unit: Unit, cdb: bytes) -> None:
    assert unit.command(cdb).good


# --- capacity, inquiry ---


def test_read_capacity(unit: Unit) -> None:
    blocks, size = unit.blocks()
    assert blocks * size == SIZE
    assert struct.unpack(">II", unit.good(scsi.read_capacity10(), 8)) == (blocks - 1, size)
    assert len(unit.good(scsi.read_capacity16(12), 32)) == 12
    assert unit.good(scsi.read_capacity16(0)) == b""
    assert unit.sense(scsi.cdb10(0x25, 5, 0), 8) == scsi.INVALID_FIELD_CDB
    assert unit.sense(bytes((0x9E, 0x11)) + bytes(14), 32) == scsi.INVALID_FIELD_CDB


@pytest.mark.parametrize("size", [512, 2**32 * 512, (2**32 - 1) * 512, 2**63 - 512])
def test_capacities(rig: Rig, size: int) -> None:
    """Smallest, around what READ CAPACITY(10) can say, largest."""
    device = tree.nullio("big", size)
    target = Target("t1").make()
    target.luns.map(0, device)
    host = target.login("x")
    target.enable()
    with Unit(host.sg(0)) as unit:
        unit.attentions()
        assert unit.blocks() == (size // 512, 512)
        last = struct.unpack(">I", unit.good(scsi.read_capacity10(), 8)[:4])[0]
        assert last == min(size // 512 - 1, 2**32 - 1)
        assert unit.command(scsi.read16(size // 512 - 1, 1), read=512).good
        assert unit.sense(scsi.read16(size // 512, 1), 512) == scsi.LBA_OUT_OF_RANGE
    target.luns.clear()
    target.logout("x")
    target.path.rmdir()
    device.remove()


def test_inquiry_standard(rig: Rig) -> None:
    data = rig.units["fileio"].good(scsi.inquiry(), 255)
    assert data[0] == 0
    assert data[2] >= 6
    assert data[3] & 0xF == 2
    assert data[4] == len(data) - 5
    assert data[8:36] == b"SCST    " + b"fileio".ljust(16) + b"1   "
    for room in range(len(data) + 2):
        answer = rig.units["fileio"].read_into(scsi.inquiry(room), 512, fill=PATTERN)
        assert answer.data == data[:room].ljust(512, bytes((PATTERN,)))
        assert answer.resid == 512 - min(room, len(data))
    assert rig.units["fileio"].sense(bytes((0x12, 0, 1, 0, 255, 0)), 255) == scsi.INVALID_FIELD_CDB


@pytest.mark.parametrize("page", [0x00, 0x80, 0x83, 0x86, 0x87, 0x88, 0x8F, 0xB0, 0xB1, 0xB2])
def test_vpd_pages(unit: Unit, page: int) -> None:
    """Each supported page says its own code and length, and sg_vpd has no complaint."""
    data = unit.good(scsi.inquiry(1024, page), 1024)
    assert data[:2] == bytes((0, page))
    assert struct.unpack(">H", data[2:4])[0] == len(data) - 4
    done = subprocess.run(
        ["sg_vpd", f"--page={page:#x}", str(unit.node)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_vpd_inventory(unit: Unit) -> None:
    pages = unit.good(scsi.inquiry(page=0), 255)[4:]
    assert list(pages) == sorted(pages)
    for page in range(256):
        assert (unit.sense(scsi.inquiry(page=page), 255) is None) == (page in pages), f"page {page:02x}"


def test_vpd_identification(rig: Rig) -> None:
    """sg_vpd reads the identifiers configfs shows."""
    folder = tree.ROOT / "devices/fileio/fileio/id"
    node = str(rig.units["fileio"].node)
    shown = subprocess.run(["sg_vpd", "-p", "di", node], capture_output=True, text=True, check=True).stdout
    assert f"0x{tree.read(folder / 'naa')}" in shown
    assert "vendor id: SCST" in shown
    serial = subprocess.run(["sg_vpd", "-p", "sn", node], capture_output=True, text=True, check=True).stdout
    assert tree.read(folder / "serial") in serial
    rel = tree.read(tree.ROOT / "targets/local/commands/rel_tgt_id")
    assert f"Relative target port: 0x{int(rel):x}" in shown


def test_vpd_extended_inquiry(unit: Unit) -> None:
    """All task attributes but ACA; a volatile cache if there is one; REPORTED LUNS is told once for all."""
    page = unit.good(scsi.inquiry(page=0x86), 255)
    cache = unit.good(scsi.mode_sense6(0x08, control=2), 255)[4:][2] >> 2 & 1
    expected = bytearray(64)
    expected[1], expected[3] = 0x86, 60
    expected[5:8] = bytes((7, cache, 1))
    expected[13] = 96
    assert page == bytes(expected)


def test_vpd_mode_page_policy(unit: Unit) -> None:
    assert unit.good(scsi.inquiry(page=0x87), 255) == bytes((0, 0x87, 0, 4, 0x3F, 0xFF, 0, 0))


@pytest.mark.parametrize(
    ("name", "port"),
    [("plain", b""), ("iqn.2026-11.org.example:p", b"iqn.2026-11.org.example:p,t,0x0001"),
     ("naa.5000c500a1b2c3d4", b"naa.5000c500a1b2c3d4")],
)  # fmt: skip
def test_vpd_scsi_ports(rig: Rig, name: str, port: bytes) -> None:
    """The port that is asked, with its name if that is unique in the world, as page 83h has it."""
    device = tree.nullio("ports", 1 << 20)
    target = Target(name).make()
    target.luns.map(0, device)
    host = target.login("x")
    target.enable()
    with Unit(host.sg(0)) as unit:
        unit.attentions()
        page, identification = (unit.good(scsi.inquiry(page=page), 255) for page in (0x88, 0x83))
    relative = int(tree.read(target.path / "rel_tgt_id"))
    assert page[:12] == struct.pack(">BBHHHHH", 0, 0x88, len(page) - 4, 0, relative, 0, 0)
    assert page[12:16] == struct.pack(">HH", 0, len(page) - 16)
    if port:
        assert page[16] & 0xF == 3, "UTF-8"
        assert page[17] & 0x3F == 0x18, "a SCSI name string of a port"
        assert page[20:].rstrip(b"\0") == port
    assert page[16:] in identification
    assert (len(page) > 16) == bool(port)
    target.luns.clear()
    target.logout("x")
    target.path.rmdir()
    device.remove()


def test_sg_inq_sg_modes_sg_readcap(rig: Rig) -> None:
    """Programs that parse everything exit without complaint."""
    node = str(rig.units["blockio"].node)
    for argv in (
        ["sg_inq", node],
        ["sg_modes", "-a", node],
        ["sg_readcap", "-l", node],
        ["sg_luns", node],
        ["sg_turs", node],
        ["sg_requests", node],
        ["sg_verify", "-c", "8", node],
        ["sg_sync", node],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"


# --- sense data ---


def test_request_sense_formats(rig: Rig) -> None:
    unit = rig.units["fileio"]
    fixed, descriptor = (
        unit.good(scsi.request_sense(), 252),
        unit.good(scsi.request_sense(descriptor=True), 252),
    )
    assert (fixed[0], descriptor[0]) == (0x70, 0x72)
    assert scsi.parse_sense(fixed) == scsi.parse_sense(descriptor) == scsi.NO_SENSE
    for room in (0, 1, 8, 17):
        assert unit.good(scsi.request_sense(room), 252) == fixed[:room]


def test_field_pointer(rig: Rig) -> None:
    """INVALID FIELD IN CDB points at the field."""
    answer = rig.units["fileio"].command(scsi.read10(0, 1, 0x20), read=512)
    assert answer.sense == scsi.INVALID_FIELD_CDB
    assert answer.raw_sense[15] & 0xC0 == 0xC0
    assert answer.raw_sense[16:18] == bytes((0, 1))


def control_page(unit: Unit) -> bytearray:
    """Parameter list with the present Control mode page."""
    return bytearray(bytes(4) + unit.good(scsi.mode_sense6(0x0A), 255)[4:])


def test_descriptor_sense(rig: Rig) -> None:
    """D_SENSE changes the format of autosense, with the same content, and back."""
    unit = rig.units["fileio"]
    page = control_page(unit)
    page[6] |= 0x04
    unit.good(scsi.mode_select6(len(page)), write=bytes(page))
    try:
        answer = unit.command(scsi.read10(BLOCKS, 1), read=512)
        assert (answer.raw_sense[0], answer.sense) == (0x72, scsi.LBA_OUT_OF_RANGE)
        answer = unit.command(scsi.read10(0, 1, 0x20), read=512)
        assert (answer.raw_sense[0], answer.sense) == (0x72, scsi.INVALID_FIELD_CDB)
        assert answer.raw_sense[8:10] == b"\x02\x06"
        assert answer.raw_sense[12] & 0xC0 == 0xC0
        unit.good(scsi.write10(0, 1), write=bytes(512))
        answer = unit.command(scsi.verify10(0, 1, 1), write=bytes(511) + b"\x01")
        assert (answer.raw_sense[0], answer.sense, information(answer.raw_sense)) == (
            0x72,
            scsi.MISCOMPARE,
            511,
        )
    finally:
        page[6] &= ~0x04
        unit.good(scsi.mode_select6(len(page)), write=bytes(page))
    assert unit.command(scsi.read10(BLOCKS, 1), read=512).raw_sense[0] == 0x70


# --- mode pages ---

MODE_PAGES = (0x01, 0x02, 0x08, 0x0A, 0x1C)


def test_mode_subpages(unit: Unit) -> None:
    """Control extension, alone and with all others: whose the clock is, and the room for sense data."""
    alone = unit.good(scsi.mode_sense6(0x0A, subpage=1), 255)[4:]
    assert alone == bytes((0x4A, 1, 0, 28, 6, 0, 96)) + bytes(25)
    control = unit.good(scsi.mode_sense6(0x0A), 255)[4:]
    assert unit.good(scsi.mode_sense6(0x0A, subpage=0xFF), 255)[4:] == control + alone
    every = unit.good(scsi.mode_sense6(0x3F, subpage=0xFF), 255)[4:]
    assert every.replace(alone, b"") == unit.good(scsi.mode_sense6(0x3F), 255)[4:]
    assert unit.good(scsi.mode_sense6(0x1C), 255)[4:] == bytes((0x1C, 10, 8)) + bytes(9)


@pytest.mark.parametrize("page", [*MODE_PAGES, 0x3F])
def test_mode_sense_lengths(rig: Rig, page: int) -> None:
    """Every allocation length, both forms, with and without descriptor: a prefix of the whole."""
    unit = rig.units["fileio"]
    for dbd in (False, True):
        whole6 = unit.good(scsi.mode_sense6(page, dbd=dbd), 255)
        whole10 = unit.good(scsi.mode_sense10(page, dbd=dbd), 512)
        assert whole6[0] == len(whole6) - 1
        assert struct.unpack(">H", whole10[:2])[0] == len(whole10) - 2
        assert whole6[4 + whole6[3] :] == whole10[8 + whole10[7] :]
        for room in range(len(whole10)):
            assert unit.good(scsi.mode_sense6(page, dbd=dbd, room=room), 512) == whole6[:room]
            assert unit.good(scsi.mode_sense10(page, dbd=dbd, room=room), 512) == whole10[:room]


def test_mode_sense_refusals(rig: Rig) -> None:
    unit = rig.units["fileio"]
    assert unit.sense(scsi.mode_sense6(0x08, control=3), 255) == (0x5, 0x39, 0x00)
    for page, subpage in ((0x08, 1), (0x0A, 2), (0x3F, 1)):
        assert unit.sense(scsi.mode_sense6(page, subpage=subpage), 255) == scsi.INVALID_FIELD_CDB
    for page in set(range(0x3F)) - set(MODE_PAGES):
        assert unit.sense(scsi.mode_sense6(page), 255) == scsi.INVALID_FIELD_CDB, f"page {page:02x}"


@pytest.mark.parametrize("ten", [False, True], ids=["six", "ten"])
def test_mode_select_truncated_at_every_length(rig: Rig, ten: bool) -> None:
    """A list cut anywhere but between pages changes nothing, even if WCE would change before the cut."""
    unit = rig.units["fileio"]
    header = 8 if ten else 4
    sense = scsi.mode_sense10(0x3F, dbd=False) if ten else scsi.mode_sense6(0x3F, dbd=False)
    whole = bytearray(unit.good(sense, 512))
    descriptor = header + whole[7 if ten else 3]
    caching, control = (bytearray(unit.good(scsi.mode_sense6(page), 255)[4:]) for page in (0x08, 0x0A))
    caching[2] ^= 0x04
    parameters = bytes(header - 1) + bytes((8,)) + whole[header:descriptor] + caching + control
    select = scsi.mode_select10 if ten else scsi.mode_select6
    before = unit.good(scsi.mode_sense6(0x3F), 255)
    whole_pages = {0, header + 8 + 20, len(parameters)}
    for length in set(range(len(parameters))) - whole_pages:
        code = unit.sense(select(length), write=bytes(parameters[:length]) or b"\0")
        expected = {scsi.LIST_LENGTH} if length != header + 8 else {None}
        assert code in expected, f"{length} bytes: {code}"
        assert unit.good(scsi.mode_sense6(0x3F), 255) == before, f"{length} bytes"
    for length in (1, 8, len(parameters)):
        assert unit.sense(select(length), write=bytes(parameters[: length - 1]) or None) == scsi.LIST_LENGTH
    assert unit.sense(select(0)) is None
    assert unit.good(scsi.mode_sense6(0x3F), 255) == before


def test_mode_select_bits_that_cannot_change(unit: Unit) -> None:
    """Each bit of each page: refused unless the changeable mask has it, and nothing changes."""
    for code in MODE_PAGES:
        page = bytearray(bytes(4) + unit.good(scsi.mode_sense6(code), 255)[4:])
        mask = unit.good(scsi.mode_sense6(code, control=1), 255)[4:]
        for bit in range(16, 8 * (len(page) - 4)):
            if mask[bit // 8] >> (bit % 8) & 1:
                continue
            bent = bytearray(page)
            bent[4 + bit // 8] ^= 1 << bit % 8
            assert unit.sense(scsi.mode_select6(len(bent)), write=bytes(bent)) == scsi.INVALID_FIELD_LIST, bit
        assert bytes(4) + unit.good(scsi.mode_sense6(code), 255)[4:] == bytes(page)
    assert unit.attentions() == []


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (bytes(4) + b"\x3f\x02\0\0", scsi.INVALID_FIELD_LIST),
        (bytes(4) + b"\x03\x16" + bytes(22), scsi.INVALID_FIELD_LIST),
        (bytes(4) + b"\x48\x12" + bytes(18), scsi.INVALID_FIELD_LIST),
        (bytes(4) + b"\x08\x13" + bytes(19), scsi.INVALID_FIELD_LIST),
        (bytes(3) + b"\x07" + bytes(7), scsi.INVALID_FIELD_LIST),
        (bytes(3) + b"\x08" + b"\0\0\0\x05\0\0\x02\0", scsi.INVALID_FIELD_LIST),
        (bytes(3) + b"\x08" + b"\0\0\0\0\0\0\x10\x01", scsi.INVALID_FIELD_LIST),
        (b"\0\x05\0\0", scsi.INVALID_FIELD_LIST),
    ],
    ids=[
        "page 3F",
        "unknown page",
        "SPF",
        "wrong page length",
        "descriptor of 7",
        "other capacity",
        "other block length",
        "medium type",
    ],
)
def test_mode_select_wrong_lists(rig: Rig, parameters: bytes, expected: scsi.Sense) -> None:
    unit = rig.units["fileio"]
    assert unit.sense(scsi.mode_select6(len(parameters)), write=parameters) == expected
    assert (
        unit.sense(scsi.mode_select6(len(parameters), flags=0x11), write=parameters) == scsi.INVALID_FIELD_CDB
    )


def test_mode_select_random_lists(rig: Rig) -> None:
    """Rubbish of any length, also longer than any list: an answer, and the same pages afterwards."""
    unit, source = rig.units["fileio"], random.Random(11)
    before = unit.good(scsi.mode_sense10(0x3F), 512)
    for number in range(400):
        length = source.choice((4, 5, 8, 12, 24, 28, 36, 255, 256, 4096, 65535))
        rubbish = bytes(8) + source.randbytes(max(length - 8, 0)) if number % 2 else source.randbytes(length)
        answer = unit.command(scsi.mode_select10(length), write=rubbish[:length])
        assert answer.status == scsi.CHECK_CONDITION or not any(rubbish[8:length]), str(answer)
    assert unit.good(scsi.mode_sense10(0x3F), 512) == before


def test_write_cache_toggle(rig: Rig) -> None:
    """WCE can be switched; only the other initiator is told, once; data survives."""
    mine, other = rig.units["fileio"], rig.other["fileio"]
    page = bytearray(bytes(4) + mine.good(scsi.mode_sense6(0x08), 255)[4:])
    assert page[6] & 0x04, "a buffered file has a write cache"
    mine.attentions()
    other.attentions()
    for value in (0, 0x04):
        page[6] = page[6] & ~0x04 | value
        mine.good(scsi.write10(7, 8), write=bytes((value,)) * 4096)
        mine.good(scsi.mode_select6(len(page)), write=bytes(page))
        assert mine.good(scsi.mode_sense6(0x08), 255)[4:] == bytes(page[4:])
        assert mine.attentions() == []
        assert other.attentions() == [scsi.MODE_CHANGED]
        mine.good(scsi.mode_select6(len(page)), write=bytes(page))
        assert other.attentions() == [], "the same values again are no change"
        assert other.good(scsi.read10(7, 8), 4096) == bytes((value,)) * 4096


def test_software_write_protect(rig: Rig) -> None:
    mine, other = rig.units["fileio"], rig.other["fileio"]
    page = control_page(mine)
    page[8] |= 0x08
    mine.good(scsi.mode_select6(len(page)), write=bytes(page))
    try:
        other.attentions()
        for unit in (mine, other):
            assert unit.sense(scsi.write10(0, 1), write=bytes(512)) == scsi.WRITE_PROTECTED
            assert unit.good(scsi.mode_sense6(0x3F), 255)[2] & 0x80
    finally:
        page[8] &= ~0x08
        mine.good(scsi.mode_select6(len(page)), write=bytes(page))
    other.attentions()
    assert mine.sense(scsi.write10(0, 1), write=bytes(512)) is None


def test_stop_of_a_shared_unit_is_not_for_one_to_decide(rig: Rig) -> None:
    """One of two initiators stops the unit: it is told that this is done, and both go on."""
    mine, other = rig.units["fileio"], rig.other["fileio"]
    other.attentions()
    mine.good(scsi.start_stop(False))
    for unit in (mine, other):
        assert unit.sense(scsi.test_unit_ready()) is None
        assert unit.sense(scsi.read10(0, 1), 512) is None


def test_start_stop(rig: Rig) -> None:
    """Where the administrator allows it, one initiator stops the unit for all."""
    mine, other = rig.units["stoppable"], rig.other["stoppable"]
    other.attentions()
    mine.attentions()
    mine.good(scsi.start_stop(False))
    try:
        for unit in (mine, other):
            assert unit.sense(scsi.test_unit_ready()) == scsi.START_REQUIRED
            assert unit.sense(scsi.read10(0, 1), 512) == scsi.START_REQUIRED
            assert unit.good(scsi.inquiry(), 255)[0] == 0
            assert scsi.parse_sense(unit.good(scsi.request_sense(), 252)) == scsi.START_REQUIRED
    finally:
        mine.good(scsi.start_stop(True))
    assert mine.sense(scsi.read10(0, 1), 512) is None
    for flags in (0x02, 0x10, 0x30):
        assert mine.sense(scsi.start_stop(True, flags)) == scsi.INVALID_FIELD_CDB
