# SPDX-License-Identifier: GPL-2.0-or-later
"""POPULATE TOKEN, WRITE USING TOKEN and what goes with them, as an initiator sends them (SBC-3, SPC-4)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.vm.guest import scsi
from tests.vm.guest.scsi import Sense, Unit

POPULATE, WRITE, ABORT, INFORMATION = 0x10, 0x11, 0x1C, 0x07
TOKEN = 512
VULNERABLE, ZERO = 0x00800001, 0xFFFF0001
ZEROES = struct.pack(">I2xH", ZERO, 0x1F8).ljust(TOKEN, b"\0")
DONE, FAILED, RUNNING, TERMINATED = 0x01, 0x02, 0x11, 0x60
UNSUPPORTED: Sense = (0x5, 0x23, 0x01)
REMOTE: Sense = (0x5, 0x23, 0x02)
UNKNOWN: Sense = (0x5, 0x23, 0x04)
CORRUPT: Sense = (0x5, 0x23, 0x05)
REVOKED: Sense = (0x5, 0x23, 0x06)
EXPIRED: Sense = (0x5, 0x23, 0x07)
DELETED: Sense = (0x5, 0x23, 0x09)
LENGTH: Sense = (0x5, 0x23, 0x0A)
REVOKED_MEANWHILE: Sense = (0xA, 0x23, 0x06)
UNDERRUN: Sense = (0x5, 0x0D, 0x04)
Range = tuple[int, int]
"""LBA, blocks."""


def _ranges(ranges: list[Range]) -> bytes:
    return b"".join(struct.pack(">QI4x", lba, count) for lba, count in ranges)


def populate_list(
    ranges: list[Range], flags: int = 0, timeout: int = 0, kind: int = 0, tail: bytes = b""
) -> bytes:
    """The parameter list of POPULATE TOKEN; *flags*: 1 IMMED, 2 RTV (*kind* is there)."""
    body = _ranges(ranges)
    return struct.pack(">HBxII2xH", 14 + len(body), flags, timeout, kind, len(body)) + body + tail


def write_list(token: bytes, ranges: list[Range], offset: int = 0, flags: int = 0) -> bytes:
    """The parameter list of WRITE USING TOKEN; *flags*: 1 IMMED, 2 DEL_TKN."""
    body = _ranges(ranges)
    head = struct.pack(">HB5xQ", 534 + len(body), flags, offset)
    return head + token + struct.pack(">6xH", len(body)) + body


def cdb_out(action: int, number: int, length: int) -> bytes:
    """POPULATE TOKEN or WRITE USING TOKEN."""
    return struct.pack(">BB4xIIxx", 0x83, action, number, length)


def cdb_abort(number: int) -> bytes:
    """COPY OPERATION ABORT."""
    return struct.pack(">BBI10x", 0x83, ABORT, number)


def cdb_information(number: int, room: int = 1024) -> bytes:
    """RECEIVE ROD TOKEN INFORMATION."""
    return struct.pack(">BBI4xIxx", 0x84, INFORMATION, number, room)


@dataclass(frozen=True, slots=True)
class Information:
    """What RECEIVE ROD TOKEN INFORMATION tells."""

    action: int
    state: int
    status: int
    sense: bytes
    blocks: int
    token: bytes | None


def parse(data: bytes) -> Information:
    """... as it was told, whole."""
    length, action, state, _counter, delay, status, room, used, unit, blocks = struct.unpack(
        ">IBBHIBBBBQ", data[:24]
    )
    assert length + 4 == len(data)
    assert (unit, room) == (0xF1, used)
    assert (delay == 0xFFFFFFFE) == (state != RUNNING)
    size = struct.unpack(">I", data[32 + room : 36 + room])[0]
    assert size in (0, 2 + TOKEN)
    token = data[38 + room :] if size else None
    assert token is None or (len(token), data[36 + room : 38 + room]) == (TOKEN, b"\0\0")
    return Information(action, state, status, data[32 : 32 + used], blocks, token)


def information(unit: Unit, number: int) -> Information:
    """RECEIVE ROD TOKEN INFORMATION of a list identifier that is known."""
    return parse(unit.good(cdb_information(number), 1024))


def information_known(unit: Unit, number: int) -> bool:
    """Whether there is anything to tell; then it is told."""
    answer = unit.command(cdb_information(number), 1024)
    assert answer.good or answer.sense == scsi.INVALID_FIELD_CDB, answer
    return answer.good


def send_populate(unit: Unit, ranges: list[Range], number: int = 1, timeout: int = 0) -> scsi.Answer:
    data = populate_list(ranges, timeout=timeout)
    return unit.command(cdb_out(POPULATE, number, len(data)), write=data)


def populate(unit: Unit, ranges: list[Range], number: int = 1, timeout: int = 0) -> bytes:
    """A token for some ranges of a unit."""
    answer = send_populate(unit, ranges, number, timeout)
    assert answer.good, answer
    told = information(unit, number)
    assert (told.action, told.state, told.status) == (POPULATE, DONE, 0)
    assert told.blocks == sum(count for _, count in ranges)
    assert told.token is not None
    return told.token


def send_write(
    unit: Unit, token: bytes, ranges: list[Range], offset: int = 0, flags: int = 0, number: int = 2
) -> scsi.Answer:
    data = write_list(token, ranges, offset, flags)
    return unit.command(cdb_out(WRITE, number, len(data)), write=data, seconds=120)


def write(
    unit: Unit, token: bytes, ranges: list[Range], offset: int = 0, flags: int = 0, number: int = 2
) -> None:
    """Have ranges of a unit written from a token, all of them."""
    answer = send_write(unit, token, ranges, offset, flags, number)
    assert answer.good, answer
    told = information(unit, number)
    wanted = Information(WRITE, DONE, 0, b"", sum(count for _, count in ranges), None)
    assert told == wanted
