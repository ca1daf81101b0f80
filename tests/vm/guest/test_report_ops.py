# SPDX-License-Identifier: GPL-2.0-or-later
"""REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS: what is told is what there is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm.guest import scsi, tree
from tests.vm.guest.script import Response, Script, Tmf
from tests.vm.guest.script import serve as serve_scripted
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_recovery import serve
from tests.vm.guest_plugin import command

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_local", "scst_script", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

SUPPORTED, NOT_SUPPORTED = 3, 1
SECOND_HALF = b"\x00\x0a" + bytes(10)
# Bits that may be set and change nothing: vendor specific and obsolete ones of CONTROL, GROUP NUMBER, a LUN.
IGNORED_CONTROL, IGNORED_LUN = 0xC3, 0xE0
# Hints in byte 1: FUA_NV, RARC and RELADR of reads and writes, RELADR of VERIFY; what a self-test may do.
HINTS = {
    **dict.fromkeys((0x28, 0x2A, 0x88, 0x8A, 0xA8, 0xAA), 0x07),
    **dict.fromkeys((0x2E, 0x2F, 0x8E, 0x8F, 0xAE, 0xAF), 0x09),
    **dict.fromkeys((0x89, 0x8B), 0x02),
    0x1D: 0x03,
}
GROUP_AT = {10: 6, 12: 10, 16: 14}
# Commands with fields in them that are not looked at, by the standard: PERSISTENT RESERVE, RESERVE, RELEASE.
LOOSE = frozenset((0x16, 0x17, 0x56, 0x57, 0x5E, 0x5F))


@dataclass(frozen=True, slots=True)
class Told:
    """A command that is told of; *action*: None where there are none."""

    opcode: int
    action: int | None
    length: int


def listed(unit: Unit, rctd: bool = False) -> list[Told]:
    """All commands, as the device tells."""
    data = unit.good(scsi.report_opcodes(rctd=rctd), 8192)
    size, step = struct.unpack(">I", data[:4])[0], 20 if rctd else 8
    assert size % step == 0
    found = []
    for at in range(4, 4 + size, step):
        opcode, zero, action, other, flags, length = struct.unpack(">BBHBBH", data[at : at + 8])
        assert (zero, other) == (0, 0)
        assert flags & 2 == (2 if rctd else 0)
        assert not rctd or data[at + 8 : at + 20] == SECOND_HALF
        found.append(Told(opcode, action if flags & 1 else None, length))
    return found


def usage(unit: Unit, opcode: int, action: int | None, option: int) -> bytes | None:
    """CDB USAGE DATA of a command, or None: not supported."""
    data = unit.good(scsi.report_opcodes(option, opcode, action or 0), 64)
    assert data[0] == 0
    if data[1] == NOT_SUPPORTED:
        return None
    assert data[1] == SUPPORTED
    size = struct.unpack(">H", data[2:4])[0]
    timed = unit.good(scsi.report_opcodes(option, opcode, action or 0, rctd=True), 64)
    assert timed[1] == 0x80 | SUPPORTED
    assert timed[2 : 4 + size + 12] == data[2 : 4 + size] + SECOND_HALF
    return data[4 : 4 + size]


@pytest.fixture(params=[False, True], ids=["thick", "thin"])
def unit(request: pytest.FixtureRequest, ext4: Path) -> Iterator[Unit]:
    """A file, of which space is given back or not."""
    path = ext4 / "ops"
    with path.open("wb") as file:
        file.truncate(1 << 20)
    with Unit(serve(tree.fileio("ops", path, thin=request.param))[0].sg(0)) as opened:
        opened.attentions()
        yield opened
    path.unlink()


def test_listed_is_supported_and_nothing_else(unit: Unit) -> None:
    """The list, the answers about one command by each option, and the commands themselves say the same."""
    commands = listed(unit)
    assert commands == listed(unit, rctd=True)
    assert len(set(commands)) == len(commands) > 40
    there = {told.opcode: told for told in commands}
    for opcode in range(256):
        actions = {told.action for told in commands if told.opcode == opcode}
        if not actions:
            for option in (1, 2, 3):
                assert usage(unit, opcode, None, option) is None
            length = {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}.get(opcode >> 5, 16)
            assert unit.sense(bytes((opcode, *bytes(length - 1)))) == scsi.INVALID_OPCODE
        elif None in actions:
            found = usage(unit, opcode, None, 1)
            assert found is not None
            assert (found[0], len(found)) == (opcode, there[opcode].length)
            assert usage(unit, opcode, 0, 3) == found
            assert usage(unit, opcode, 1, 3) is None
            assert unit.sense(scsi.report_opcodes(2, opcode), 64) == scsi.INVALID_FIELD_CDB
        else:
            assert unit.sense(scsi.report_opcodes(1, opcode), 64) == scsi.INVALID_FIELD_CDB
            for action in range(32):
                found = usage(unit, opcode, action, 2)
                assert usage(unit, opcode, action, 3) == found
                assert (found is not None) == (action in actions)
                assert found is None or (found[0], found[1] & 0x1F) == (opcode, action)


def test_bits_that_are_not_told_of_are_refused(unit: Unit) -> None:
    """Each single bit beyond CDB USAGE DATA, but for those that mean nothing: INVALID FIELD IN CDB."""
    tried = 0
    for told in listed(unit):
        found = usage(unit, told.opcode, told.action, 3)
        assert found is not None
        if told.opcode in LOOSE:
            continue
        ignored = bytearray(told.length)
        ignored[-1] = IGNORED_CONTROL
        ignored[1] |= 0x1F if told.action is not None else 0
        ignored[1] |= HINTS.get(told.opcode, IGNORED_LUN if told.length < 16 else 0)
        ignored[GROUP_AT.get(told.length, 0)] |= 0xFF if told.length in GROUP_AT else 0
        for bit in range(8, 8 * told.length):
            byte, mask = bit // 8, 1 << bit % 8
            if (found[byte] | ignored[byte]) & mask:
                continue
            cdb = bytearray((told.opcode, told.action or 0, *bytes(told.length - 2)))
            cdb[byte] |= mask
            assert unit.sense(bytes(cdb)) == scsi.INVALID_FIELD_CDB, f"{cdb.hex(' ')}, {found.hex(' ')}"
            tried += 1
    assert tried > 300


def test_what_only_a_thin_device_has(unit: Unit) -> None:
    thin = bool(unit.good(scsi.read_capacity16(), 32)[14] & 0x80)
    names = {(told.opcode, told.action) for told in listed(unit)}
    assert ((0x42, None) in names) == thin
    assert ((0x9E, 0x12) in names) == thin
    assert (0x9E, 0x10) in names


def test_room(unit: Unit) -> None:
    """As much as there is room for; the length is that of the whole."""
    whole = unit.good(scsi.report_opcodes(rctd=True), 8192)
    size = 4 + struct.unpack(">I", whole[:4])[0]
    for room in (0, 1, 3, 4, 5, 11, 12, 100, size - 1, size, size + 1):
        answer = unit.command(scsi.report_opcodes(rctd=True, room=room), 8192)
        assert answer.good
        assert 8192 - answer.resid == min(room, size)
        assert answer.moved == whole[: min(room, size)]
    one = unit.good(scsi.report_opcodes(1, 0x28), 64)[:14]
    for room in range(15):
        assert unit.command(scsi.report_opcodes(1, 0x28, room=room), 64).moved == one[:room]


def test_options_there_are_not(unit: Unit) -> None:
    for option in range(4, 8):
        assert unit.sense(scsi.report_opcodes(option, 0x28), 64) == scsi.INVALID_FIELD_CDB


def test_task_management_functions_are_those_there_are(script: Script) -> None:
    """Each bit against the function itself."""
    first, _ = serve_scripted(script, tree.nullio("n", 1 << 20))
    told = first.good(scsi.report_tmfs(), read=16)
    long = first.good(scsi.report_tmfs(extended=True), read=16)
    assert (told[2:4], long[:3], long[3:]) == (b"\0\0", told[:3], b"\x0c" + bytes(12))
    bits = {
        Tmf.ABORT_TASK: told[0] & 0x80,
        Tmf.ABORT_TASK_SET: told[0] & 0x40,
        Tmf.CLEAR_ACA: told[0] & 0x20,
        Tmf.CLEAR_TASK_SET: told[0] & 0x10,
        Tmf.LUN_RESET: told[0] & 0x08,
        Tmf.QUERY_TASK: told[0] & 0x04,
        Tmf.TARGET_RESET: told[0] & 0x02,
        Tmf.QUERY_TASK_SET: told[1] & 0x02,
        Tmf.I_T_NEXUS_RESET: told[1] & 0x01,
    }
    assert set(bits) == set(Tmf)
    for fn, bit in bits.items():
        answered = first.manage(fn, tag=12345)
        assert (answered == Response.NOT_SUPPORTED) == (not bit), fn
    assert not told[0] & 0x01
    assert not told[1] & 0xFC
    first.attentions()
    for room in range(4):
        assert first.command(scsi.report_tmfs(room=room), read=16).sense == scsi.INVALID_FIELD_CDB


def test_sg_opcodes(ext4: Path) -> None:
    """Its names for what is there, from the list and one by one."""
    path = ext4 / "ops"
    path.write_bytes(bytes(1 << 20))
    node = serve(tree.fileio("ops", path))[0].sg(0)
    with Unit(node) as opened:
        opened.attentions()
    printed = command("sg_opcodes", "--no-inquiry", str(node))
    for name in ("Write and verify(16)", "Register and move", "Report supported operation codes"):
        assert name.lower() in printed.lower(), printed
    assert "Unmap" not in printed
    one = command("sg_opcodes", "--no-inquiry", "--opcode=0x8a", str(node))
    assert "8a f8 ff ff ff ff ff ff ff ff ff ff ff ff 00 00" in one.lower(), one
    functions = command("sg_opcodes", "--no-inquiry", "--tmf", str(node))
    for name in ("Abort task", "Clear task set", "Logical unit reset", "I_T nexus reset"):
        assert name in functions, functions
    path.unlink()
