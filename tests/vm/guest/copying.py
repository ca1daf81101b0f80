# SPDX-License-Identifier: GPL-2.0-or-later
"""EXTENDED COPY, of LID1 and LID4, and what goes with it, as an initiator sends them (SPC-4 6.4, 6.5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.vm.guest import scsi
from tests.vm.guest.scsi import Sense, Unit

HOLD, DISCARD, NO_ID = 0, 2, 3
STATUS, PARAMETERS, FAILED = 0, 3, 4
NAA, EUI, T10 = 3, 2, 1
NOT_REACHABLE: Sense = (0xA, 0x0D, 0x02)
UNREACHABLE: Sense = (0xA, 0x08, 0x04)
DEVICE_FAILURE: Sense = (0xA, 0x0D, 0x01)
DEVICE_TYPE: Sense = (0xA, 0x0D, 0x03)
ABORTED: Sense = (0xA, 0x00, 0x00)
INEXACT: Sense = (0xA, 0x26, 0x0A)
IN_PROGRESS: Sense = (0x5, 0x00, 0x16)
TOO_MANY_CSCDS: Sense = (0x5, 0x26, 0x06)
CSCD_TYPE: Sense = (0x5, 0x26, 0x07)
TOO_MANY_SEGMENTS: Sense = (0x5, 0x26, 0x08)
SEGMENT_TYPE: Sense = (0x5, 0x26, 0x09)
INLINE_DATA: Sense = (0x5, 0x26, 0x0B)


def designators(unit: Unit) -> dict[int, bytes]:
    """Of the logical unit, by type: VPD page 83h."""
    page = unit.good(scsi.inquiry(page=0x83, room=1020), 1020)
    found, at = {}, 4
    while at < 4 + struct.unpack(">H", page[2:4])[0]:
        length = page[at + 3]
        if not page[at + 1] & 0x30:
            found[page[at + 1] & 0xF] = page[at + 4 : at + 4 + length]
        at += 4 + length
    return found


def cscd(name: bytes, kind: int = NAA, block: int = 512, code_set: int = 1, flags: int = 0) -> bytes:
    """An identification descriptor CSCD descriptor."""
    head = struct.pack(">BBHBBBB", 0xE4, flags, 0, code_set, kind, 0, len(name))
    return head + name.ljust(20, b"\0") + struct.pack(">I", block)


def cscd_of(unit: Unit, block: int = 512) -> bytes:
    """That of an open unit, by its NAA designator."""
    return cscd(designators(unit)[NAA], block=block)


def segment(
    blocks: int, from_lba: int, to_lba: int, source: int = 0, destination: int = 1, flags: int = 0
) -> bytes:
    """Block device to block device."""
    return struct.pack(">BBHHHHHQQ", 2, flags, 24, source, destination, 0, blocks, from_lba, to_lba)


def parameters(cscds: list[bytes], segments: list[bytes], number: int = 0, usage: int = NO_ID) -> bytes:
    """A parameter list."""
    first, second = b"".join(cscds), b"".join(segments)
    return struct.pack(">BBH4xII", number, usage << 3, len(first), len(second), 0) + first + second


def extended_copy(length: int) -> bytes:
    """EXTENDED COPY(LID1)."""
    return struct.pack(">B9xIxB", 0x83, length, 0)


def copy(
    unit: Unit,
    cscds: list[bytes],
    segments: list[bytes],
    number: int = 0,
    usage: int = NO_ID,
    seconds: float = 120,
) -> scsi.Answer:
    """Have it done, by this unit."""
    data = parameters(cscds, segments, number, usage)
    return unit.command(extended_copy(len(data)), write=data, seconds=seconds)


def results(action: int, number: int = 0, room: int = 512) -> bytes:
    """RECEIVE COPY RESULTS: STATUS, PARAMETERS or FAILED (segment details)."""
    return struct.pack(">BBB7xIxB", 0x84, action, number, room, 0)


@dataclass(frozen=True, slots=True)
class Status:
    """What COPY STATUS tells; *state*: 0 running, 1 done, 2 failed."""

    state: int
    segments: int
    bytes: int


def status(unit: Unit, number: int) -> Status:
    """COPY STATUS of a list identifier that is known."""
    data = unit.good(results(0, number), 512)
    assert len(data) == 12
    assert struct.unpack(">I", data[:4]) == (8,)
    state, segments, kind, count = struct.unpack(">BHBI", data[4:])
    return Status(state, segments, count << 10 * kind)


# --- list identifiers of four bytes ---


def parameters_lid4(cscds: list[bytes], segments: list[bytes], number: int = 0, usage: int = NO_ID) -> bytes:
    """A parameter list of LID4."""
    first, second = b"".join(cscds), b"".join(segments)
    head = struct.pack(">BBH12xB3xI18x", 1, usage << 3, 0x20, 0xFF, number)
    return head + struct.pack(">HHH", len(first), len(second), 0) + first + second


def extended_copy_lid4(length: int) -> bytes:
    """EXTENDED COPY(LID4)."""
    return struct.pack(">BB8xIxB", 0x83, 1, length, 0)


def copy_lid4(
    unit: Unit, cscds: list[bytes], segments: list[bytes], number: int = 0, usage: int = NO_ID
) -> scsi.Answer:
    """Have it done, by this unit."""
    data = parameters_lid4(cscds, segments, number, usage)
    return unit.command(extended_copy_lid4(len(data)), write=data, seconds=120)


def status_lid4(number: int, room: int = 512) -> bytes:
    """RECEIVE COPY STATUS(LID4)."""
    return struct.pack(">BBI4xIxB", 0x84, 5, number, room, 0)


@dataclass(frozen=True, slots=True)
class Operation:
    """What RECEIVE COPY STATUS(LID4) tells; *action*: of the copy; *unit*: in which *count* is told."""

    action: int
    state: int
    status: int
    sense: bytes
    unit: int
    count: int
    segments: int


def operation(data: bytes) -> Operation:
    """... as it was told, whole."""
    length, action, state, delay, status, room, used, unit, count, segments = struct.unpack(
        ">IBBxxIBBBBQH", data[:26]
    )
    assert length + 4 == len(data) == 32 + room
    assert room == used
    assert (delay == 0xFFFFFFFE) == (state != 0x11)
    return Operation(action, state, status, data[32:], unit, count, segments)


# --- what sense data tells ---


@dataclass(frozen=True, slots=True)
class Told:
    """What sense data of a copy says of a segment; *source*, *destination*: status and sense of a unit."""

    segment: int
    source: tuple[int, Sense | None] | None
    destination: tuple[int, Sense | None] | None


def told(raw: bytes) -> Told:
    """Of fixed sense data."""
    assert raw[0] & 0x7F == 0x70

    def at(offset: int) -> tuple[int, Sense | None] | None:
        if not offset:
            return None
        return raw[offset], scsi.parse_sense(raw[offset + 1 :])

    return Told(struct.unpack(">H", raw[10:12])[0], at(raw[8]), at(raw[9]))
