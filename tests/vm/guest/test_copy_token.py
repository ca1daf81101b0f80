# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies by ROD tokens: POPULATE TOKEN, WRITE USING TOKEN, RECEIVE ROD TOKEN INFORMATION."""

from __future__ import annotations

import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.vm.guest import copying, scsi, tokens, tree
from tests.vm.guest.long import more
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_copy import BLOCKS, CHUNK, MIB, SIZE, Rig, memory, noise, put, replaced, rig, whole
from tests.vm.guest.tokens import populate, send_populate, send_write, write
from tests.vm.guest.tracefs import tracing
from tests.vm.guest.tree import Target

__all__ = ("memory", "rig")

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg", "dm_mod")

SYNC = scsi.cdb10(0x35, 0, 0)


def part(data: bytes, ranges: list[tuple[int, int]], block: int = 512) -> bytes:
    return b"".join(data[lba * block : (lba + count) * block] for lba, count in ranges)


def placed(data: bytes, ranges: list[tuple[int, int]], new: bytes, block: int = 512) -> bytes:
    """*data* with *new* in some ranges, one after the other."""
    for lba, count in ranges:
        data = replaced(data, lba * block, new[: count * block])
        new = new[count * block :]
    return data


# --- what is copied ---


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("file", "second"),
        ("file", "disk"),
        ("disk", "memory"),
        ("locked", "second"),
        *more(("file", "direct"), ("direct", "through"), ("memory", "file"), ("disk", "file")),
    ],
)
def test_copy(rig: Rig, source: str, destination: str) -> None:
    """All of a token, and parts of it: what was asked for is there, and nothing else has changed."""
    label = f"{source} {destination}"
    data, before = noise("token" + label), noise(label)
    if source == "locked":
        rig.paths[source].write_bytes(data)
    else:
        put(rig.units[source], data)
    unit = rig.units[destination]
    put(unit, before)
    ranges = [(5000, 3 * CHUNK + 5), (8, 1), (0, 0), (100, 777), (BLOCKS - 1, 1)]
    token, content = populate(rig.units[source], ranges), part(data, ranges)
    for to, offset in [
        ([(3, len(content) // 512)], 0),
        ([(9000, 100), (1, 1), (12000, 2 * CHUNK)], 17),
        ([(0, 1), (2, 1)], len(content) // 512 - 2),
    ]:
        write(unit, token, to, offset)
        before = placed(before, to, content[offset * 512 :])
        assert whole(unit) == before


def test_blocks_of_different_lengths(rig: Rig) -> None:
    """Copied where it comes out even, and refused where it does not, before anything is written."""
    data, before = noise("even token"), noise("uneven token")
    put(rig.units["file"], data)
    put(rig.units["large"], before, 4096)
    token = populate(rig.units["file"], [(3, 801), (1007, 12)])
    write(rig.units["large"], token, [(7, 50), (100, 50)])
    content = part(data, [(3, 800)])
    before = placed(before, [(7, 50), (100, 50)], content, 4096)
    assert whole(rig.units["large"], 4096) == before
    assert send_write(rig.units["large"], token, [(0, 101)]).sense == copying.INEXACT
    assert whole(rig.units["large"], 4096) == before
    data = noise("second", SIZE)
    put(rig.units["second"], data)
    token = populate(rig.units["large"], [(5, 3), (1, 1)])
    write(rig.units["second"], token, [(9, 24)], 8)
    assert whole(rig.units["second"]) == placed(data, [(9, 24)], part(before, [(6, 2), (1, 1)], 4096))
    assert send_write(rig.units["second"], token, [(9, 8)], 1).sense == copying.INEXACT


@pytest.mark.parametrize("kind", ["file", "memory", "disk", "large", *more("direct", "through")])
def test_zeroes(rig: Rig, kind: str) -> None:
    """By the token that everybody knows; OFFSET INTO ROD means nothing."""
    block = 4096 if kind == "large" else 512
    data = noise("zeroes" + kind)
    put(rig.units[kind], data, block)
    ranges = [(3, 5), (40, 1), (0, 0), (100, 1500)]
    write(rig.units[kind], tokens.ZEROES, ranges, offset=99)
    assert whole(rig.units[kind], block) == placed(data, ranges, bytes(1506 * block), block)
    assert not tokens.information_known(rig.units[kind], 2)


def ways(action: Callable[[], None]) -> dict[str, int]:
    """How many bytes go which way."""
    with tracing() as trace:
        trace.enable(point="scst_copy_chunk")
        action()
        found: dict[str, int] = {}
        for event in trace.events():
            way = event.fields["way"]
            found[way] = found.get(way, 0) + int(event.fields["bytes"])
        return found


def test_within_a_file_system(rig: Rig) -> None:
    """The same ways as those of EXTENDED COPY."""
    put(rig.units["file"], noise("ways"))
    token = populate(rig.units["file"], [(0, BLOCKS)])
    for name, way in [("second", "handler"), ("memory", "memory")]:
        assert ways(partial(write, rig.units[name], token, [(0, BLOCKS)])) == {way: SIZE}
        assert whole(rig.units[name]) == noise("ways")


# --- what ends a token ---

TOKEN_AT, TOKEN_BLOCKS = 1000, 100


def changes(rig: Rig) -> dict[str, Callable[[int], object]]:
    """Each writes 8 blocks, from one on."""
    unit, data = rig.units["file"], noise("change", 4096)
    pair = [rig.names["second"], rig.names["file"]]

    def copy(lba: int) -> None:
        assert copying.copy(unit, pair, [copying.segment(8, 0, lba)]).good

    def or_write(lba: int) -> None:
        unit.good(scsi.orwrite16(lba, 8), write=data)

    def compare_and_write(lba: int) -> None:
        now = unit.good(scsi.read10(lba, 8), 4096)
        unit.good(scsi.compare_and_write(lba, 8), write=now + data)

    return {
        "WRITE(6)": lambda lba: unit.good(scsi.write6(lba, 8), write=data),
        "WRITE(10)": lambda lba: unit.good(scsi.write10(lba, 8), write=data),
        "WRITE(16)": lambda lba: unit.good(scsi.write16(lba, 8), write=data),
        "WRITE AND VERIFY": lambda lba: unit.good(scsi.write_verify10(lba, 8), write=data),
        "WRITE SAME": lambda lba: unit.good(scsi.write_same16(lba, 8), write=data[:512]),
        "COMPARE AND WRITE": compare_and_write,
        "ORWRITE": or_write,
        "EXTENDED COPY": copy,
        "zeroes": lambda lba: write(unit, tokens.ZEROES, [(lba, 8)], number=9),
    }


def test_changed_data_has_no_token(rig: Rig) -> None:
    """The first block that may have changed ends the token; blocks beside it do not, nor do reads."""
    unit = rig.units["second"]
    for name, change in changes(rig).items():
        for lba, ends in [
            (TOKEN_AT - 8, False),
            (TOKEN_AT + TOKEN_BLOCKS, False),
            (TOKEN_AT - 7, True),
            (TOKEN_AT + TOKEN_BLOCKS - 1, True),
        ]:
            token = populate(rig.units["file"], [(5, 1), (TOKEN_AT, TOKEN_BLOCKS)])
            rig.units["file"].good(scsi.read10(TOKEN_AT, TOKEN_BLOCKS), TOKEN_BLOCKS * 512)
            rig.units["file"].good(SYNC)
            change(lba)
            sense = send_write(unit, token, [(5000, 101)]).sense
            assert sense == (tokens.REVOKED if ends else None), f"{name} at {lba}"


def test_resize_and_deactivation(rig: Rig) -> None:
    """Another size, another medium: the token is of neither."""
    unit, device = rig.units["second"], rig.devices["file"]
    token = populate(rig.units["file"], [(0, 8)])
    device.set("size", SIZE - MIB)
    rig.units["file"].attentions()
    assert send_write(unit, token, [(0, 8)]).sense == tokens.REVOKED
    token = populate(rig.units["file"], [(0, 8)])
    device.set("size", 0)
    rig.units["file"].attentions()
    assert send_write(unit, token, [(0, 8)]).sense == tokens.REVOKED
    token = populate(rig.units["file"], [(0, 8)])
    device.activate(False)
    device.activate()
    for other in rig.units.values():
        other.attentions()
    assert send_write(unit, token, [(0, 8)]).sense == tokens.REVOKED
    write(unit, populate(rig.units["file"], [(0, 8)]), [(0, 8)])


def test_expiry(rig: Rig) -> None:
    """What nobody has used for so long ends; what is in use does not."""
    brief, lasting = (populate(rig.units["file"], [(0, 8)], timeout=seconds) for seconds in (1, 600))
    time.sleep(1.1)
    assert send_write(rig.units["second"], brief, [(0, 8)]).sense == tokens.EXPIRED
    write(rig.units["second"], lasting, [(0, 8)])


def test_deleted(rig: Rig) -> None:
    """DEL_TKN: when all is written."""
    token = populate(rig.units["file"], [(0, 8)])
    assert send_write(rig.units["second"], token, [(0, 9)], flags=2).sense == tokens.UNDERRUN
    write(rig.units["second"], token, [(0, 8)], flags=2)
    assert send_write(rig.units["second"], token, [(0, 8)]).sense == tokens.DELETED


def test_bound(rig: Rig) -> None:
    """An I_T nexus has so many of a unit: its own oldest goes, and nobody else's."""
    other = populate(rig.units["second"], [(0, 8)])
    made = [populate(rig.units["file"], [(number, 8)]) for number in range(33)]
    assert len(set(made)) == 33
    assert send_write(rig.units["memory"], made[0], [(0, 8)]).sense == tokens.REVOKED
    for token in (made[1], made[32], other):
        write(rig.units["memory"], token, [(0, 8)])


# --- which token ---


def test_wrong_tokens(rig: Rig) -> None:
    """Any bit that is not as it was made; nothing is written."""
    unit, data = rig.units["second"], noise("wrong tokens")
    put(unit, data)
    token = populate(rig.units["file"], [(0, 8)])

    def changed(at: int, value: int) -> bytes:
        return token[:at] + bytes((token[at] ^ value,)) + token[at + 1 :]

    for wrong, sense in [
        (changed(3, 1), tokens.UNSUPPORTED),
        (changed(1, 0x80), tokens.UNSUPPORTED),
        (changed(7, 1), tokens.LENGTH),
        (changed(8, 1), tokens.UNKNOWN),
        (changed(15, 0x80), tokens.UNKNOWN),
        (changed(16, 1), tokens.CORRUPT),
        (changed(24, 1), tokens.REMOTE),
        (changed(63, 1), tokens.CORRUPT),
        (changed(256, 1), tokens.CORRUPT),
        (changed(287, 0x80), tokens.CORRUPT),
        (changed(511, 1), tokens.CORRUPT),
        (bytes(512), tokens.UNSUPPORTED),
    ]:
        assert send_write(unit, wrong, [(0, 8)]).sense == sense
        assert tokens.information(unit, 2).state == tokens.FAILED
    assert whole(unit) == data
    write(unit, token, [(0, 8)])


def test_token_says_what_it_is_of(rig: Rig) -> None:
    """SPC-4 5.16.6.2."""
    for name, block in (("file", 512), ("large", 4096)):
        token = populate(rig.units[name], [(0, 3), (9, 4)])
        assert struct.unpack(">I2xH", token[:8]) == (tokens.VULNERABLE, 0x1F8)
        assert token[16:48] == copying.cscd_of(rig.units[name], block)
        assert int.from_bytes(token[48:64], "big") == 7 * block
        assert struct.unpack(">I", token[96:100]) == (block,)
        again = populate(rig.units[name], [(0, 3), (9, 4)])
        assert (token[8:16], token[256:288]) != (again[8:16], again[256:288])


@pytest.fixture
def other(rig: Rig) -> Iterator[tuple[Unit, Unit]]:
    """What another initiator sees, by another target: the second file, and the first one for reading."""
    target = Target("elsewhere").make(auto_rescan=False)
    target.luns.map(0, rig.devices["second"])
    target.luns.map(1, rig.devices["file"], read_only=True)
    host = target.login("other")
    target.enable()
    with scsi.opened(host.sg(0), host.sg(1)) as units:
        for unit in units:
            unit.attentions()
        yield units[0], units[1]
    target.logout("other")
    target.luns.clear()
    target.path.rmdir()


def test_a_token_of_another_initiator(rig: Rig, other: tuple[Unit, Unit]) -> None:
    """Who knows it may use it, for data of a unit that he sees; for others there is no such token."""
    data = noise("of another")
    put(rig.units["file"], data)
    write(other[0], populate(rig.units["file"], [(100, 50)]), [(7, 50)])
    assert other[0].good(scsi.read10(7, 50), 50 * 512) == part(data, [(100, 50)])
    write(rig.units["second"], populate(other[1], [(200, 50)]), [(7, 50)])
    assert other[0].good(scsi.read10(7, 50), 50 * 512) == part(data, [(200, 50)])
    hidden = populate(rig.units["disk"], [(0, 8)])
    assert send_write(other[0], hidden, [(0, 8)]).sense == tokens.REMOTE
    own = populate(rig.units["second"], [(0, 8)])
    assert send_write(other[1], own, [(0, 8)]).sense == scsi.WRITE_PROTECTED


def test_read_only_destination(rig: Rig) -> None:
    before = rig.paths["locked"].read_bytes()
    token = populate(rig.units["file"], [(0, 8)])
    for one in (token, tokens.ZEROES):
        assert send_write(rig.units["locked"], one, [(0, 8)]).sense == scsi.WRITE_PROTECTED
    assert rig.paths["locked"].read_bytes() == before


# --- what is wrong with a list ---


def sense_of(unit: Unit, action: int, data: bytes, length: int | None = None) -> tuple[object, object]:
    cdb = tokens.cdb_out(action, 5, len(data) if length is None else length)
    answer = unit.command(cdb, write=data)
    return answer.sense, scsi.parse_field(answer.raw_sense)


def changed(text: bytes, at: int, value: int) -> bytes:
    return text[:at] + bytes((value,)) + text[at + 1 :]


def test_wrong_populate_lists(rig: Rig) -> None:
    """The first thing that is wrong is named."""
    unit = rig.units["file"]
    good = tokens.populate_list([(0, 8), (100, 8)])
    of = tokens.populate_list
    many = [(2 * number, 1) for number in range(65)]
    cases: list[tuple[bytes, int | None, scsi.Sense, int | None]] = [
        (good, len(good) - 1, scsi.LIST_LENGTH, None),
        (good, len(good) + 1, scsi.LIST_LENGTH, None),
        (good[:15], None, scsi.LIST_LENGTH, None),
        (changed(good, 1, 29), None, scsi.INVALID_FIELD_LIST, 0),
        (of([(0, 8)], flags=1), None, scsi.INVALID_FIELD_LIST, 2),
        (of([(0, 8)], timeout=601), None, scsi.INVALID_FIELD_LIST, 4),
        (of([(0, 8)], flags=2, kind=0x00010000), None, scsi.INVALID_FIELD_LIST, 8),
        (of([(0, 8)], flags=2, kind=tokens.ZERO), None, scsi.INVALID_FIELD_LIST, 8),
        (changed(good, 15, 31), None, scsi.INVALID_FIELD_LIST, 14),
        (changed(good, 15, 0), None, scsi.INVALID_FIELD_LIST, 14),
        (changed(good, 15, 48), None, scsi.INVALID_FIELD_LIST, 14),
        (of(many), None, copying.TOO_MANY_SEGMENTS, 14),
        (of([(0, 8), (7, 2)]), None, scsi.INVALID_FIELD_LIST, 32),
        (of([(BLOCKS - 7, 8)]), None, scsi.LBA_OUT_OF_RANGE, None),
        (of([(2**64 - 1, 2)]), None, scsi.LBA_OUT_OF_RANGE, None),
    ]
    for number, (text, length, sense, field) in enumerate(cases):
        found = sense_of(unit, tokens.POPULATE, text, length)
        assert found == (sense, None if field is None else (False, field)), number
    unit.good(tokens.cdb_out(tokens.POPULATE, 5, 0))
    for kind in (0x00800000, 0x00800001, 0x0080FFFF):
        text = of(many[:64], flags=2, kind=kind, tail=b"more")
        unit.good(tokens.cdb_out(tokens.POPULATE, 5, len(text)), write=text)
        told = tokens.information(unit, 5).token
        assert told is not None
        assert int.from_bytes(told[:4], "big") == tokens.VULNERABLE


def test_wrong_write_lists(rig: Rig) -> None:
    """The same; nothing is written."""
    unit, data = rig.units["second"], noise("wrong lists")
    put(unit, data)
    token, own = populate(rig.units["file"], [(0, 100)]), populate(unit, [(200, 100)])
    good = tokens.write_list(token, [(0, 8), (100, 8)])

    def of(*ranges: tuple[int, int], offset: int = 0, flags: int = 0) -> bytes:
        return tokens.write_list(token, list(ranges), offset, flags)

    cases: list[tuple[bytes, int | None, scsi.Sense, int | None]] = [
        (good, len(good) - 1, scsi.LIST_LENGTH, None),
        (good[:535], None, scsi.LIST_LENGTH, None),
        (changed(changed(good, 0, 2), 1, 0x25), None, scsi.INVALID_FIELD_LIST, 0),
        (of((0, 8), flags=1), None, scsi.INVALID_FIELD_LIST, 2),
        (changed(good, 535, 31), None, scsi.INVALID_FIELD_LIST, 534),
        (of(*((2 * number, 1) for number in range(65))), None, copying.TOO_MANY_SEGMENTS, 534),
        (of((0, 8), (16, 8), (23, 2)), None, scsi.INVALID_FIELD_LIST, 568),
        (of((BLOCKS, 1)), None, scsi.LBA_OUT_OF_RANGE, None),
        (of((0, 1), offset=100), None, scsi.INVALID_FIELD_LIST, 8),
        (of((0, 1), offset=2**64 - 1), None, scsi.INVALID_FIELD_LIST, 8),
        (of((0, 50), (60, 51)), None, tokens.UNDERRUN, None),
        (of((0, 2), offset=99), None, tokens.UNDERRUN, None),
        (tokens.write_list(own, [(0, 8), (299, 8)]), None, scsi.INVALID_FIELD_LIST, 552),
    ]
    for number, (text, length, sense, field) in enumerate(cases):
        found = sense_of(unit, tokens.WRITE, text, length)
        assert found == (sense, None if field is None else (False, field)), number
    unit.good(tokens.cdb_out(tokens.WRITE, 5, 0))
    assert whole(unit) == data
    write(unit, own, [(300, 100)])
    assert whole(unit) == placed(data, [(300, 100)], part(data, [(200, 100)]))


# --- what is told ---


def test_results(rig: Rig) -> None:
    """Once, to who has room for all of it; by number and I_T_L nexus; apart from those of EXTENDED COPY."""
    unit, number = rig.units["file"], 0x12345678
    assert unit.sense(tokens.cdb_information(number), 1024) == scsi.INVALID_FIELD_CDB
    assert send_populate(unit, [(0, 8)], number).good
    assert rig.units["second"].sense(tokens.cdb_information(number), 1024) == scsi.INVALID_FIELD_CDB
    assert unit.sense(tokens.cdb_information(number & 0xFF), 1024) == scsi.INVALID_FIELD_CDB
    short = unit.good(tokens.cdb_information(number, 40), 40)
    told = tokens.information(unit, number)
    assert short[:4] == struct.pack(">I", 32 + 4 + 2 + 512 - 4)
    assert told.token is not None
    assert not tokens.information_known(unit, number)
    assert send_populate(unit, [(0, 8)], 7).good
    assert unit.sense(copying.results(0, 7), 512) == scsi.INVALID_FIELD_CDB
    pair = [rig.names["file"], rig.names["second"]]
    assert copying.copy(unit, pair, [copying.segment(1, 0, 0)], 9, copying.HOLD).good
    assert not tokens.information_known(unit, 9)
    assert copying.status(unit, 9).state == 1
    answer = send_write(unit, bytes(512), [(50, 8)], number=7)
    assert answer.sense == tokens.UNSUPPORTED
    failed = tokens.information(unit, 7)
    assert failed == tokens.Information(
        tokens.WRITE, tokens.FAILED, scsi.CHECK_CONDITION, answer.raw_sense, 0, None
    )
    assert unit.sense(tokens.cdb_abort(7)) == scsi.INVALID_FIELD_CDB


def test_status_of_lid4(rig: Rig) -> None:
    """RECEIVE COPY STATUS tells of these copies, too, but for a token, which stays to be told; and the other
    way round RECEIVE ROD TOKEN INFORMATION of an EXTENDED COPY.
    """
    unit = rig.units["file"]
    assert send_populate(unit, [(0, 8)], 5).good
    made = copying.Operation(tokens.POPULATE, tokens.DONE, 0, b"", 0xF1, 8, 0)
    for _ in range(2):
        assert copying.operation(unit.good(copying.status_lid4(5), 512)) == made
    token = tokens.information(unit, 5).token
    assert token is not None
    assert send_write(unit, token, [(50, 8)], number=5).good
    written = copying.Operation(tokens.WRITE, tokens.DONE, 0, b"", 0xF1, 8, 0)
    assert copying.operation(unit.good(copying.status_lid4(5), 512)) == written
    assert not tokens.information_known(unit, 5)
    pair = [rig.names["second"], rig.names["file"]]
    assert copying.copy_lid4(unit, pair, [copying.segment(3, 0, 0)], 5, copying.HOLD).good
    told = unit.good(tokens.cdb_information(5), 1024)
    assert told[32:] == bytes(4), "no token"
    assert copying.operation(struct.pack(">I", 28) + told[4:32]) == copying.Operation(
        1, tokens.DONE, 0, b"", 0, 3 * 512, 1
    )
    assert unit.sense(copying.status_lid4(5), 512) == scsi.INVALID_FIELD_CDB


def test_limits_are_told(rig: Rig) -> None:
    """VPD page 8Fh, the same as is heeded."""
    for name, block in (("file", 512), ("large", 4096)):
        page = rig.units[name].good(scsi.inquiry(1024, 0x8F), 1024)
        found, at = {}, 4
        while at < len(page):
            kind, length = struct.unpack(">HH", page[at : at + 4])
            assert length % 4 == 0
            found[kind] = page[at + 4 : at + 4 + length]
            at += 4 + length
        assert at == len(page) == 4 + struct.unpack(">H", page[2:4])[0]
        assert list(found) == [0, 1, 4, 8, 0xC, 0x106, 0x108, 0x8001]
        limits = struct.unpack(">6xHIIQQ", found[0])
        assert limits == (64, 600, 60, 256 * MIB // block, 64 * MIB // block)
        commands = bytes((14, 0x83, 5, 0, 1, 0x10, 0x11, 0x1C, 0x84, 5, 0, 3, 4, 5, 7))
        assert found[1][:15] == commands
        assert found[0x106][0] & 0xF == 0, "no remote tokens"
        assert struct.unpack(">III", found[0x106][12:24]) == (0, 3600, 600)
        assert struct.unpack(">H", found[0x106][42:44]) == (48,)
        assert struct.unpack(">BBH4xQ", found[0x106][44:60]) == (0, 0, 44, 256 * MIB)
        types = found[0x108]
        assert struct.unpack(">H", types[2:4]) == (128,)
        assert struct.unpack(">IB", types[4:9]) == (tokens.VULNERABLE, 3)
        assert struct.unpack(">IB", types[68:73]) == (tokens.ZERO, 2)
    unit = rig.units["file"]
    for opcode, action, there in [
        (0x83, 0x10, 3), (0x83, 0x11, 3), (0x83, 0x1C, 3), (0x83, 0x12, 1), (0x84, 7, 3), (0x84, 8, 1),
    ]:  # fmt: skip
        assert unit.good(scsi.report_opcodes(2, opcode, action), 64)[1] & 7 == there


# --- tools ---


FACTORS = (256, 1)
"""ddpt 0.97 puts each range a byte too early into its list, so what it asks for is 256 times what it says."""


def placed_by_tool(before: bytes, data: bytes, source: int, destination: int, count: int) -> list[bytes]:
    """What a unit may have afterwards."""
    return [
        placed(before, [(destination * by, count * by)], part(data, [(source * by, count * by)]))
        for by in FACTORS
    ]


def run(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return done.stdout + done.stderr


def test_ddptctl(rig: Rig, tmp_path: Path) -> None:
    """As it is: a token, which goes by way of a file, what it says, and a unit that is written from it."""
    data, before = noise("ddptctl"), noise("before ddptctl")
    put(rig.units["file"], data)
    put(rig.units["second"], before)
    source, destination = rig.units["file"].node, rig.units["second"].node
    token = tmp_path / "token"
    told = run("ddptctl", "--pt=1,2", f"--rtf={token}", source)
    assert "PT completes with a transfer count of" in told
    assert len(token.read_bytes()) == 512
    assert "change vulnerable" in run("ddptctl", f"--rtf={token}", "--info")
    run("ddptctl", "--wut=4,2", f"--rtf={token}", destination)
    assert whole(rig.units["second"]) in placed_by_tool(before, data, 1, 4, 2)


def test_ddpt(rig: Rig) -> None:
    """As it is, but that it is wrong about how much it has asked for, and says so: a copy, and zeroes."""
    data, before = noise("ddpt"), noise("before ddpt")
    put(rig.units["file"], data)
    put(rig.units["second"], before)
    source, destination = rig.units["file"].node, rig.units["second"].node
    words = ["ddpt", "--odx", f"if={source}", f"of={destination}", "bs=512", "skip=1,2", "seek=4,2"]
    subprocess.run(words, capture_output=True, check=False, timeout=60 * tree.SLOW)
    after = whole(rig.units["second"])
    assert after in placed_by_tool(before, data, 1, 4, 2)
    words = ["ddpt", "--odx", "if=/dev/null", f"of={destination}", "bs=512", "rtype=zero", "seek=4,2"]
    subprocess.run(words, capture_output=True, check=False, timeout=60 * tree.SLOW)
    assert whole(rig.units["second"]) in placed_by_tool(after, bytes(SIZE), 1, 4, 2)


def test_writes_are_asked_only_while_there_are_tokens(rig: Rig) -> None:
    """The gate is closed with the first token, and open again when there is none."""
    with tracing() as trace:
        trace.enable(point="scst_device_gate")

        def closed() -> list[str]:
            return [
                event.fields["closed"] for event in trace.events() if event.has("device=through", "TOKENS")
            ]

        made = [populate(rig.units["through"], [(number, 8)]) for number in range(2)]
        assert closed() == ["1"]
        for token in made:
            write(rig.units["memory"], token, [(0, 8)], flags=2)
        tree.wait_for("the gate to be open", lambda: closed() == ["1", "0"])
