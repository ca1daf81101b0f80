# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies that the target does for an initiator: EXTENDED COPY, RECEIVE COPY RESULTS."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import copying, scsi, tree
from tests.vm.guest.copying import copy, cscd, cscd_of, segment
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_refused import loop_device
from tests.vm.guest.tracefs import tracing
from tests.vm.guest.tree import Device, Target

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg", "dm_mod")

MIB = 1 << 20
SIZE = 8 * MIB
BLOCKS = SIZE // 512
LUNS = {"file": 0, "second": 1, "direct": 2, "through": 3, "memory": 4, "disk": 5, "large": 6, "locked": 7}
CHUNK = 2048
"""Blocks that go through memory at once."""


@dataclass(frozen=True, slots=True)
class Rig:
    """Open units of one initiator, their descriptors, and the files behind them."""

    units: dict[str, Unit]
    paths: dict[str, Path]
    devices: dict[str, Device]
    names: dict[str, bytes]


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Another file system."""
    mount = tmp_path_factory.mktemp("memory")
    guest_plugin.command("mount", "-t", "tmpfs", "tmpfs", str(mount))
    yield mount
    guest_plugin.wipe()
    guest_plugin.leaked_counters()
    guest_plugin.command("umount", str(mount))


@pytest.fixture(scope="module")
def rig(ext4: Path, memory: Path, file_tree: None) -> Iterator[Rig]:
    """One LUN of 8 MiB per kind of backing, and one that this initiator may only read."""
    paths = {name: (memory if name == "memory" else ext4) / name for name in LUNS}
    for path in paths.values():
        with path.open("wb") as file:
            file.truncate(SIZE)
    more: dict[str, dict[str, object]] = {
        "file": {},
        "second": {},
        "direct": {"o_direct": 1},
        "through": {"write_through": 1},
        "memory": {},
        "large": {"block_size": 4096},
        "locked": {},
    }
    with loop_device(paths["disk"]) as node:
        devices = {name: tree.fileio(name, paths[name], **settings) for name, settings in more.items()}
        devices["disk"] = tree.blockio("disk", node)
        target = Target("copy").make(auto_rescan=False)
        for name, lun in LUNS.items():
            target.luns.map(lun, devices[name], read_only=name == "locked")
        host = target.login("first")
        target.enable()
        units = {name: Unit(host.sg(lun)) for name, lun in LUNS.items()}
        for unit in units.values():
            unit.attentions()
        names = {name: cscd_of(unit, 4096 if name == "large" else 512) for name, unit in units.items()}
        yield Rig(units, paths, devices, names)
        for unit in units.values():
            unit.close()


def noise(label: str, size: int = SIZE) -> bytes:
    return random.Random(label).randbytes(size)


def put(unit: Unit, data: bytes, block: int = 512) -> None:
    """Write all of it."""
    count = 131072 // block
    for at in range(0, len(data), 131072):
        unit.good(scsi.write10(at // block, count), write=data[at : at + 131072])


def whole(unit: Unit, block: int = 512) -> bytes:
    """Every block."""
    count = 131072 // block
    return b"".join(unit.good(scsi.read10(at, count), 131072) for at in range(0, SIZE // block, count))


def replaced(data: bytes, at: int, part: bytes) -> bytes:
    return data[:at] + part + data[at + len(part) :]


PAIRS = [
    ("file", "second"),
    ("file", "direct"),
    ("direct", "through"),
    ("second", "memory"),
    ("memory", "file"),
    ("file", "disk"),
    ("disk", "file"),
    ("disk", "memory"),
    ("locked", "second"),
]


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_copy(rig: Rig, source: str, destination: str) -> None:
    """What was asked for is there, at any offset and of any length, and nothing else has changed."""
    label = f"{source} {destination}"
    data, before = noise(source + label), noise(label)
    if source == "locked":
        rig.paths[source].write_bytes(data)
    else:
        put(rig.units[source], data)
    put(rig.units[destination], before)
    pair = [rig.names[source], rig.names[destination]]
    stretches = [(0, 8, 1), (1, 3, 2), (7, 100, 3 * CHUNK + 5), (4096, 9000, 1024), (BLOCKS - 9, 0, 0)]
    sender = rig.units[source if len(label) % 2 else destination]
    assert copy(sender, pair, [segment(n, a, b) for a, b, n in stretches]).good
    for a, b, n in stretches:
        before = replaced(before, b * 512, data[a * 512 : (a + n) * 512])
    assert whole(rig.units[destination]) == before
    if source != "locked":
        assert whole(rig.units[source]) == data


def test_blocks_of_different_lengths(rig: Rig) -> None:
    """Copied where it comes out even, and refused where it does not."""
    data, before = noise("even"), noise("uneven")
    put(rig.units["file"], data)
    put(rig.units["large"], before, 4096)
    pair = [rig.names["file"], rig.names["large"]]
    assert copy(rig.units["file"], pair, [segment(800, 3, 7)]).good
    before = replaced(before, 7 * 4096, data[3 * 512 : 803 * 512])
    assert copy(rig.units["file"], pair, [segment(2, 5, 1000, flags=2)]).good
    before = replaced(before, 1000 * 4096, data[5 * 512 : 5 * 512 + 8192])
    assert whole(rig.units["large"], 4096) == before
    answer = copy(rig.units["file"], pair, [segment(8, 0, 0), segment(9, 0, 0)])
    assert answer.sense == copying.INEXACT
    assert copying.told(answer.raw_sense) == copying.Told(1, None, None)
    before = replaced(before, 0, data[:4096])
    assert whole(rig.units["large"], 4096) == before


@pytest.mark.parametrize("kind", ["file", "direct", "disk", "memory"])
@pytest.mark.parametrize("shift", [-1, 1, 2 * CHUNK + 7, -CHUNK], ids=str)
def test_overlap(rig: Rig, kind: str, shift: int) -> None:
    """As if all of it was read before anything is written."""
    data, count, start = noise(f"{kind}{shift}"), 4 * CHUNK - 3, CHUNK + 11
    put(rig.units[kind], data)
    assert copy(rig.units[kind], [rig.names[kind]], [segment(count, start, start + shift, 0, 0)]).good
    part = data[start * 512 : (start + count) * 512]
    assert whole(rig.units[kind]) == replaced(data, (start + shift) * 512, part)


def test_segments_come_one_after_the_other(rig: Rig) -> None:
    """What the first has written is what the second reads."""
    data = noise("chain")
    put(rig.units["file"], data)
    put(rig.units["disk"], noise("other"))
    three = [rig.names[name] for name in ("file", "disk", "memory")]
    segments = [segment(5000, 0, 77), segment(5000, 77, 1234, 1, 2), segment(5000, 1234, 6000, 2, 0)]
    assert copy(rig.units["memory"], three, segments).good
    assert whole(rig.units["file"]) == replaced(data, 6000 * 512, data[: 5000 * 512])


# --- who may not ---


def test_read_only_destination(rig: Rig) -> None:
    pair = [rig.names["file"], rig.names["locked"]]
    before = rig.paths["locked"].read_bytes()
    for sender in ("file", "locked"):
        answer = copy(rig.units[sender], pair, [segment(8, 0, 0)])
        assert answer.sense == copying.DEVICE_FAILURE
        found = copying.told(answer.raw_sense)
        assert found == copying.Told(0, None, (scsi.CHECK_CONDITION, scsi.WRITE_PROTECTED))
    assert rig.paths["locked"].read_bytes() == before


def test_units_that_the_initiator_does_not_see(rig: Rig, ext4: Path) -> None:
    """They are there, and others see them; for this initiator there are no such units."""
    path = ext4 / "hidden"
    path.write_bytes(noise("hidden"))
    device = tree.fileio("hidden", path)
    target = Target("elsewhere").make(auto_rescan=False)
    target.luns.map(0, device)
    host = target.login("other")
    target.enable()
    try:
        with Unit(host.sg(0)) as unit:
            unit.attentions()
            hidden = cscd_of(unit)
            for cscds in ([hidden, rig.names["file"]], [rig.names["file"], hidden]):
                answer = copy(rig.units["file"], cscds, [segment(8, 0, 0)])
                assert answer.sense == copying.NOT_REACHABLE
                assert copying.told(answer.raw_sense) == copying.Told(0, None, None)
            assert copy(unit, [hidden, rig.names["file"]], [segment(8, 0, 0)]).sense == copying.NOT_REACHABLE
            assert copy(unit, [hidden, hidden], [segment(8, 0, 100)]).good
        wanted = noise("hidden")
        rig.units["file"].good(scsi.cdb10(0x35, 0, 0))
        assert path.read_bytes() == replaced(wanted, 51200, wanted[:4096])
    finally:
        target.logout("other")
        target.luns.clear()
        target.path.rmdir()
        device.remove()
        path.unlink()


@pytest.mark.parametrize("cut", [0, 4, 7])
def test_names_are_compared_to_the_byte(rig: Rig, cut: int) -> None:
    name = copying.designators(rig.units["second"])[copying.NAA]
    for wrong in (name[:cut], name[:cut].ljust(len(name), b"\0"), name + b"\0"):
        answer = copy(rig.units["file"], [rig.names["file"], cscd(wrong)], [segment(8, 0, 0)])
        assert answer.sense == copying.NOT_REACHABLE
    for more in ({"kind": copying.EUI}, {"kind": 0x13}, {"code_set": 2}):
        answer = copy(rig.units["file"], [rig.names["file"], cscd(name, **more)], [segment(8, 0, 0)])
        assert answer.sense == copying.NOT_REACHABLE


# --- what is wrong with a list ---


def test_wrong_lists(rig: Rig) -> None:
    """The first thing that is wrong is named, and nothing is copied."""
    unit, data = rig.units["second"], noise("kept")
    put(unit, data)
    pair = [rig.names["file"], rig.names["second"]]
    good = copying.parameters(pair, [segment(8, 0, 0)])

    def changed(at: int, value: int) -> bytes:
        return good[:at] + bytes((value,)) + good[at + 1 :]

    one = segment(8, 0, 0)
    cases: list[tuple[bytes, int | None, scsi.Sense, int | None]] = [
        (good, len(good) - 1, scsi.LIST_LENGTH, None),
        (good[:15], None, scsi.LIST_LENGTH, None),
        (good[:48], None, scsi.LIST_LENGTH, None),
        (good, len(good) + 1, scsi.LIST_LENGTH, None),
        (changed(1, 0x08), None, scsi.INVALID_FIELD_LIST, 1),
        (changed(0, 1), None, scsi.INVALID_FIELD_LIST, 0),
        (changed(3, 63), None, scsi.INVALID_FIELD_LIST, 2),
        (changed(15, 4), None, copying.INLINE_DATA, 12),
        (changed(11, 27), None, scsi.INVALID_FIELD_LIST, 8),
        (changed(16, 0xE5), None, copying.CSCD_TYPE, 16),
        (changed(48, 0xE0), None, copying.CSCD_TYPE, 48),
        (changed(49, 0x40), None, scsi.INVALID_FIELD_LIST, 49),
        (changed(49, 0x20), None, copying.UNREACHABLE, None),
        (changed(49, 0x01), None, copying.DEVICE_TYPE, None),
        (changed(55, 21), None, scsi.INVALID_FIELD_LIST, 55),
        (changed(78, 8), None, scsi.INVALID_FIELD_LIST, 77),
        (changed(80, 0x03), None, copying.SEGMENT_TYPE, 80),
        (changed(83, 23), None, scsi.INVALID_FIELD_LIST, 82),
        (changed(85, 2), None, copying.NOT_REACHABLE, None),
        (changed(87, 2), None, copying.NOT_REACHABLE, None),
        (copying.parameters(pair * 9, [one]), None, copying.TOO_MANY_CSCDS, 2),
        (copying.parameters(pair, [one] * 65), None, copying.TOO_MANY_SEGMENTS, 8),
        (copying.parameters(pair * 8, [one] * 65), None, scsi.LIST_LENGTH, None),
    ]
    for number, (text, length, sense, field) in enumerate(cases):
        answer = unit.command(copying.extended_copy(len(text) if length is None else length), write=text)
        found = scsi.parse_field(answer.raw_sense)
        assert (answer.sense, found) == (sense, None if field is None else (False, field)), number
    assert whole(unit) == data
    unit.good(copying.extended_copy(0))
    unit.good(copying.extended_copy(len(good)), write=good)
    assert copy(unit, pair * 8, [segment(0, 0, 0)] * 64).good


def test_segments_behind_the_end(rig: Rig) -> None:
    """Those before are done, and the unit that has not so many blocks is named."""
    unit, data = rig.units["second"], noise("ends")
    put(unit, noise("before"))
    put(rig.units["file"], data)
    pair = [rig.names["file"], rig.names["second"]]
    put(unit, bytes(SIZE))
    refusal = scsi.CHECK_CONDITION, scsi.LBA_OUT_OF_RANGE
    first = segment(8, 8, 8)
    for wrong, who in [
        (segment(8, BLOCKS - 7, 0), "source"),
        (segment(8, 0, BLOCKS - 7), "destination"),
        (segment(1, 2**64 - 1, 0), "source"),
        (segment(65535, 0, 0), "source"),
    ]:
        answer = copy(unit, pair, [first, wrong, first])
        assert answer.sense == copying.ABORTED
        found = copying.told(answer.raw_sense)
        assert (found.segment, getattr(found, who)) == (1, refusal)
    assert whole(unit) == replaced(bytes(SIZE), 4096, data[4096:8192])


# --- what is told ---


def test_results(rig: Rig) -> None:
    unit = rig.units["second"]
    pair = [rig.names["file"], rig.names["second"]]
    invalid = scsi.INVALID_FIELD_CDB
    assert unit.sense(copying.results(0, 7), 512) == invalid
    assert copy(unit, pair, [segment(3000, 0, 0), segment(10, 0, 0)], 7, copying.HOLD).good
    assert rig.units["file"].sense(copying.results(0, 7), 512) == invalid, "of another logical unit"
    assert copying.status(unit, 7) == copying.Status(1, 2, 3010 * 512)
    assert unit.sense(copying.results(0, 7), 512) == invalid, "told once"
    for usage in (copying.DISCARD, copying.NO_ID):
        number = 7 if usage == copying.DISCARD else 0
        assert copy(unit, pair, [segment(1, 0, 0)], number, usage).good
        assert unit.sense(copying.results(0, number), 512) == invalid
    answer = copy(unit, pair, [segment(5, 0, 0), segment(1, 0, BLOCKS)], 9, copying.HOLD)
    assert answer.sense == copying.ABORTED
    assert copying.status(unit, 9) == copying.Status(2, 1, 5 * 512)
    details = unit.good(copying.results(4, 9), 512)
    length, state, sense = struct.unpack(">I", details[:4])[0], details[56], details[60:]
    assert (length, state) == (len(details) - 4, scsi.CHECK_CONDITION)
    assert sense == answer.raw_sense
    assert struct.unpack(">H", details[58:60]) == (len(sense),)
    assert unit.good(copying.results(4, 9), 512) == bytes(4), "told once"
    assert unit.sense(copying.results(0, 9), 512) == invalid


def test_limits_are_told(rig: Rig) -> None:
    """The same by OPERATING PARAMETERS and VPD page 8Fh; INQUIRY says that there are third-party copies."""
    unit = rig.units["file"]
    data = unit.good(copying.results(3), 512)
    assert struct.unpack(">I", data[:4]) == (len(data) - 4,)
    assert data[4] & 1 == 1
    assert struct.unpack(">HHIIIII", data[8:32]) == (16, 64, 16 * 32 + 64 * 28, 256 * MIB, 0, 0, 0)
    assert struct.unpack(">HB", data[34:37]) == (32, 32)
    assert data[43:] == bytes((2, 0x02, 0xE4))
    assert unit.good(scsi.inquiry(), 255)[5] & 0x08
    page = unit.good(scsi.inquiry(1024, 0x8F), 1024)
    found, at = {}, 4
    while at < len(page):
        kind, length = struct.unpack(">HH", page[at : at + 4])
        found[kind] = page[at + 4 : at + 4 + length]
        at += 4 + length
    assert at == len(page)
    assert set(found[1][1 : 1 + found[1][0]]) >= {0x83, 0x84, 0, 3, 4}
    assert struct.unpack(">4xHHII", found[4][:16]) == (16, 64, 16 * 32 + 64 * 28, 0)
    assert found[8][: 1 + found[8][0]] == bytes((2, 0x02, 0xE4))
    assert struct.unpack(">III", found[0x8001][:12]) == (32, 32, 256 * MIB)
    there = {(0x83, 0), (0x83, 1), (0x84, 0), (0x84, 3), (0x84, 4), (0x84, 5)}
    for opcode, action in (*there, (0x83, 2), (0x84, 1), (0x84, 6)):
        known = 3 if (opcode, action) in there else 1
        assert unit.good(scsi.report_opcodes(2, opcode, action), 64)[1] & 7 == known


# --- list identifiers of four bytes ---


def test_lid4(rig: Rig) -> None:
    """The same copies; what became of one is told once, to who has room for all of it, and as one of LID4."""
    unit, number, data = rig.units["second"], 0x01020304, noise("lid4")
    put(rig.units["file"], data)
    put(unit, bytes(SIZE))
    pair = [rig.names["file"], rig.names["second"]]
    invalid = scsi.INVALID_FIELD_CDB
    assert unit.sense(copying.status_lid4(number), 512) == invalid
    segments = [segment(3000, 7, 9), segment(10, 5000, 1)]
    assert copying.copy_lid4(unit, pair, segments, number, copying.HOLD).good
    expected = replaced(bytes(SIZE), 9 * 512, data[7 * 512 : 3007 * 512])
    assert whole(unit) == replaced(expected, 512, data[5000 * 512 : 5010 * 512])
    assert rig.units["file"].sense(copying.status_lid4(number), 512) == invalid, "of another logical unit"
    assert unit.sense(copying.results(0, number & 0xFF), 512) == invalid
    assert unit.good(copying.status_lid4(number, 31), 31)[:6] == struct.pack(">IBB", 28, 1, 1)
    told = copying.operation(unit.good(copying.status_lid4(number), 512))
    assert told == copying.Operation(1, 1, 0, b"", 0, 3010 * 512, 2)
    assert unit.sense(copying.status_lid4(number), 512) == invalid, "told once"
    assert copy(unit, pair, [segment(1, 0, 0)], 9, copying.HOLD).good
    assert unit.sense(copying.status_lid4(9), 512) == invalid, "one of LID1"
    assert copying.status(unit, 9).state == 1
    for usage in (copying.DISCARD, copying.NO_ID):
        number = 7 if usage == copying.DISCARD else 0
        assert copying.copy_lid4(unit, pair, [segment(1, 0, 0)], number, usage).good
        assert unit.sense(copying.status_lid4(number), 512) == invalid
    failing = [segment(5, 0, 0), segment(1, 0, BLOCKS)]
    answer = copying.copy_lid4(unit, pair, failing, 9, copying.HOLD)
    assert answer.sense == copying.ABORTED
    assert copying.told(answer.raw_sense).segment == 1
    told = copying.operation(unit.good(copying.status_lid4(9), 512))
    assert told == copying.Operation(1, 2, scsi.CHECK_CONDITION, answer.raw_sense, 0, 5 * 512, 1)


def test_wrong_lists_of_lid4(rig: Rig) -> None:
    """Also what its header alone has."""
    unit, data = rig.units["second"], noise("kept")
    put(unit, data)
    pair = [rig.names["file"], rig.names["second"]]
    one = segment(8, 0, 0)
    good = copying.parameters_lid4(pair, [one])

    def changed(at: int, value: int) -> bytes:
        return good[:at] + bytes((value,)) + good[at + 1 :]

    cases: list[tuple[bytes, scsi.Sense, int | None]] = [
        (good[:47], scsi.LIST_LENGTH, None),
        (good[:-1], scsi.LIST_LENGTH, None),
        (changed(0, 0), scsi.INVALID_FIELD_LIST, 0),
        (changed(1, 0x08), scsi.INVALID_FIELD_LIST, 1),
        (changed(3, 0x1F), scsi.INVALID_FIELD_LIST, 2),
        (changed(15, 0x01), scsi.INVALID_FIELD_LIST, 15),
        (changed(15, 0x02), scsi.INVALID_FIELD_LIST, 15),
        (changed(16, 0xE4), scsi.INVALID_FIELD_LIST, 16),
        (changed(20, 1), scsi.INVALID_FIELD_LIST, 20),
        (changed(43, 63), scsi.INVALID_FIELD_LIST, 42),
        (changed(45, 27), scsi.INVALID_FIELD_LIST, 44),
        (changed(47, 4), copying.INLINE_DATA, 46),
        (changed(80, 0xE0), copying.CSCD_TYPE, 80),
        (changed(110, 8), scsi.INVALID_FIELD_LIST, 109),
        (changed(112, 0x03), copying.SEGMENT_TYPE, 112),
        (changed(117, 2), copying.NOT_REACHABLE, None),
        (copying.parameters_lid4(pair * 9, [one]), copying.TOO_MANY_CSCDS, 42),
        (copying.parameters_lid4(pair, [one] * 65), copying.TOO_MANY_SEGMENTS, 44),
    ]
    for number, (text, sense, field) in enumerate(cases):
        answer = unit.command(copying.extended_copy_lid4(len(text)), write=text)
        found = scsi.parse_field(answer.raw_sense)
        assert (answer.sense, found) == (sense, None if field is None else (False, field)), number
    assert whole(unit) == data
    unit.good(copying.extended_copy_lid4(0))
    unit.good(copying.extended_copy_lid4(len(good)), write=good)
    assert copying.copy_lid4(unit, pair * 8, [segment(0, 0, 0)] * 64).good


def test_tools(rig: Rig, tmp_path: Path) -> None:
    """ddpt as it is."""
    data = noise("tools")
    put(rig.units["file"], data)
    put(rig.units["second"], bytes(SIZE))
    source, destination = rig.units["file"].node, rig.units["second"].node
    words = [
        "ddpt",
        "--xcopy",
        f"if={source}",
        f"of={destination}",
        "bs=512",
        "count=5000",
        "skip=7",
        "seek=9",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    assert whole(rig.units["second"]) == replaced(bytes(SIZE), 9 * 512, data[7 * 512 : 5007 * 512])


def test_sg_xcopy(rig: Rig) -> None:
    """sg_xcopy as it is."""
    data = noise("sg_xcopy")
    put(rig.units["file"], data)
    put(rig.units["second"], bytes(SIZE))
    source, destination = rig.units["file"].node, rig.units["second"].node
    words = [
        "sg_xcopy",
        f"if={source}",
        f"of={destination}",
        "bs=512",
        "count=5000",
        "skip=7",
        "seek=9",
        "-vv",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    assert whole(rig.units["second"]) == replaced(bytes(SIZE), 9 * 512, data[7 * 512 : 5007 * 512])


# --- the handler's own way ---


def ways(source: Unit, destination: Unit, segments: list[bytes]) -> dict[str, int]:
    """Copy, and how many bytes went which way."""
    with tracing() as trace:
        trace.enable(point="scst_copy_chunk")
        assert copy(destination, [cscd_of(source), cscd_of(destination)], segments).good
        found: dict[str, int] = {}
        for event in trace.events():
            assert event.name == "copy_chunk"
            way = event.fields["way"]
            found[way] = found.get(way, 0) + int(event.fields["bytes"])
        return found


def test_within_a_file_system(rig: Rig) -> None:
    """Nothing passes through the core's memory; between two file systems, and to disks, all of it does."""
    for source, destination, way in [
        ("file", "second", "handler"),
        ("second", "through", "handler"),
        ("file", "memory", "memory"),
        ("file", "direct", "memory"),
        ("file", "disk", "memory"),
    ]:
        units = rig.units[source], rig.units[destination]
        put(units[0], noise(destination))
        assert ways(*units, [segment(BLOCKS, 0, 0)]) == {way: SIZE}
        assert whole(units[1]) == noise(destination)


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    """A file system whose files can share blocks. The debug kernels have none: it compiles for minutes."""
    if subprocess.run(["modprobe", "-q", "xfs"], check=False).returncode:
        pytest.skip("this kernel has no XFS")
    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(700 << 20)
    guest_plugin.command("mkfs.xfs", "-q", "-m", "reflink=1", str(image))
    guest_plugin.command("mount", "-t", "xfs", "-o", "loop", str(image), str(mount))
    yield mount
    guest_plugin.command("umount", str(mount))
    image.unlink()


@pytest.mark.parametrize("direct", [False, True], ids=["", "direct"])
def test_blocks_are_shared(rig: Rig, xfs: Path, direct: bool) -> None:
    """A copy of 256 MiB takes no space: the file system shares the blocks, around the page cache as well."""
    size, part = 256 * MIB, 16 * MIB
    paths = [xfs / name for name in ("source", "destination")]
    for path in paths:
        with path.open("wb") as file:
            file.truncate(size)
    with paths[0].open("r+b") as file:
        for at in (0, size - part):
            file.seek(at)
            file.write(noise(str(at), part))
        file.flush()
        os.fsync(file.fileno())
    devices = [tree.fileio(path.name, path, o_direct=direct) for path in paths]
    target = Target("shared").make(auto_rescan=False)
    for lun, device in enumerate(devices):
        target.luns.map(lun, device)
    host = target.login("first")
    target.enable()
    free = os.statvfs(xfs).f_bfree
    step = 65528
    segments = [segment(min(step, size // 512 - at), at, at) for at in range(0, size // 512, step)]
    with scsi.opened(host.sg(0), host.sg(1)) as units:
        for unit in units:
            unit.attentions()
        assert ways(units[0], units[1], segments) == {"handler": size}
        units[1].good(scsi.cdb10(0x35, 0, 0))
    os.sync()
    assert free - os.statvfs(xfs).f_bfree < MIB // 4096
    target.logout("first")
    target.luns.clear()
    target.path.rmdir()
    for device in devices:
        device.remove()
    for at in (0, size - part):
        with paths[1].open("rb") as file:
            file.seek(at)
            assert file.read(part) == noise(str(at), part)
    assert paths[1].stat().st_blocks * 512 >= 2 * part
