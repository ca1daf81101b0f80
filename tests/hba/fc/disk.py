# SPDX-License-Identifier: GPL-2.0-or-later
"""A SCSI disk in memory for scripted target ports: enough of SPC and SBC for a Linux or Windows initiator."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from .frames import STATUS_CHECK, STATUS_GOOD

BLOCK = 512

NO_SENSE, NOT_READY, MEDIUM_ERROR, ILLEGAL_REQUEST, UNIT_ATTENTION, ABORTED = 0, 2, 3, 5, 6, 0xB
INVALID_OPCODE, INVALID_FIELD, OUT_OF_RANGE, LUN_NOT_SUPPORTED = (0x20, 0), (0x24, 0), (0x21, 0), (0x25, 0)
RESET_OCCURRED, WRITE_PROTECTED = (0x29, 0), (0x27, 0)


def fixed_sense(key: int, code: tuple[int, int]) -> bytes:
    """Fixed-format sense data."""
    return bytes((0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, *code, 0, 0, 0, 0))


@dataclass(frozen=True, slots=True)
class Reply:
    """Result of a command: status, sense, data in."""

    status: int = STATUS_GOOD
    sense: bytes = b""
    data: bytes = b""


def check(key: int, code: tuple[int, int]) -> Reply:
    """CHECK CONDITION."""
    return Reply(STATUS_CHECK, fixed_sense(key, code))


GOOD = Reply()


def _lba_and_count(cdb: bytes) -> tuple[int, int]:
    """Start and number of blocks of READ, WRITE and VERIFY of any length."""
    group = cdb[0] >> 5
    if group == 0:
        return int.from_bytes(cdb[1:4], "big") & 0x1FFFFF, cdb[4] or 256
    if group == 4:
        return int.from_bytes(cdb[2:10], "big"), int.from_bytes(cdb[10:14], "big")
    if group == 5:
        return int.from_bytes(cdb[2:6], "big"), int.from_bytes(cdb[6:10], "big")
    return int.from_bytes(cdb[2:6], "big"), int.from_bytes(cdb[7:9], "big")


class RamDisk:
    """One logical unit; the data is in `data`."""

    def __init__(self, size: int, serial: str = "HBA0001", *, read_only: bool = False) -> None:
        """``size`` in bytes, a multiple of 512; ValueError otherwise."""
        if size <= 0 or size % BLOCK:
            raise ValueError(f"disk size {size} is not a positive multiple of {BLOCK}")
        self.data = bytearray(size)
        self.blocks = size // BLOCK
        self.serial = serial.encode()
        self.read_only = read_only
        self._attention: dict[int, tuple[int, int]] = {}
        self.commands: dict[int, Callable[[bytes, bytes], Reply]] = {
            0x00: lambda cdb, data: GOOD,
            0x03: self._request_sense,
            0x12: self._inquiry,
            0x1A: self._mode_sense,
            0x5A: self._mode_sense,
            0x1B: lambda cdb, data: GOOD,
            0x25: self._capacity10,
            0x9E: self._service_in,
            0x35: lambda cdb, data: GOOD,
            0x91: lambda cdb, data: GOOD,
            0xA0: self._report_luns,
            0x2F: self._verify,
            0x8F: self._verify,
        }
        for opcode in (0x08, 0x28, 0x88, 0xA8):
            self.commands[opcode] = self._read
        for opcode in (0x0A, 0x2A, 0x8A, 0xAA):
            self.commands[opcode] = self._write

    def attention(self, initiators: list[int], code: tuple[int, int] = RESET_OCCURRED) -> None:
        """Report a unit attention condition to each of these initiators (port names) once."""
        for name in initiators:
            self._attention[name] = code

    def execute(self, initiator: int, cdb: bytes, data: bytes) -> Reply:
        """Execute a command of an initiator (port name) with its data out."""
        opcode = cdb[0]
        if self._attention and opcode not in (0x03, 0x12, 0xA0):
            code = self._attention.pop(initiator, None)
            if code is not None:
                return check(UNIT_ATTENTION, code)
        handler = self.commands.get(opcode)
        if handler is None:
            return check(ILLEGAL_REQUEST, INVALID_OPCODE)
        return handler(cdb, data)

    def out_length(self, cdb: bytes) -> int:
        """Bytes of data out a command takes."""
        if cdb[0] in (0x0A, 0x2A, 0x8A, 0xAA):
            return _lba_and_count(cdb)[1] * BLOCK
        if cdb[0] in (0x2F, 0x8F) and cdb[1] & 2:
            return _lba_and_count(cdb)[1] * BLOCK
        return 0

    def _range(self, cdb: bytes) -> tuple[int, int] | None:
        lba, number = _lba_and_count(cdb)
        return (lba * BLOCK, (lba + number) * BLOCK) if lba + number <= self.blocks else None

    def _read(self, cdb: bytes, _data: bytes) -> Reply:
        place = self._range(cdb)
        if place is None:
            return check(ILLEGAL_REQUEST, OUT_OF_RANGE)
        return Reply(data=bytes(memoryview(self.data)[place[0] : place[1]]))

    def _write(self, cdb: bytes, data: bytes) -> Reply:
        place = self._range(cdb)
        if place is None:
            return check(ILLEGAL_REQUEST, OUT_OF_RANGE)
        if self.read_only:
            return check(7, WRITE_PROTECTED)
        if len(data) < place[1] - place[0]:
            return check(ABORTED, (0x4B, 0))
        self.data[place[0] : place[1]] = data[: place[1] - place[0]]
        return GOOD

    def _verify(self, cdb: bytes, data: bytes) -> Reply:
        place = self._range(cdb)
        if place is None:
            return check(ILLEGAL_REQUEST, OUT_OF_RANGE)
        if cdb[1] & 2 and self.data[place[0] : place[1]] != data:
            return check(0xE, (0x1D, 0))
        return GOOD

    def _request_sense(self, cdb: bytes, _data: bytes) -> Reply:
        return Reply(data=fixed_sense(NO_SENSE, (0, 0))[: cdb[4]])

    def _inquiry(self, cdb: bytes, _data: bytes) -> Reply:
        limit = int.from_bytes(cdb[3:5], "big")
        if not cdb[1] & 1:
            data = bytes((0, 0, 6, 2, 31, 0, 0, 2)) + b"EMULATED" + b"FC RAM DISK     " + b"1.0 "
            return Reply(data=data[:limit]) if not cdb[2] else check(ILLEGAL_REQUEST, INVALID_FIELD)
        pages = {
            0x00: bytes((0x00, 0x80, 0x83, 0xB0)),
            0x80: self.serial,
            0x83: self._identification(),
            0xB0: struct.pack(">xxHIIxxxx", 0, 2048, 2048).ljust(60, b"\0"),
        }
        if cdb[2] not in pages:
            return check(ILLEGAL_REQUEST, INVALID_FIELD)
        body = pages[cdb[2]]
        return Reply(data=(bytes((0, cdb[2])) + len(body).to_bytes(2, "big") + body)[:limit])

    def _identification(self) -> bytes:
        name = b"EMULATED" + self.serial
        return bytes((2, 1, 0, len(name))) + name

    def _report_luns(self, _cdb: bytes, _data: bytes) -> Reply:
        # Answered by the target, which knows the LUNs; a disk alone is LUN 0.
        return Reply(data=struct.pack(">II8x", 8, 0))

    def _capacity10(self, _cdb: bytes, _data: bytes) -> Reply:
        return Reply(data=struct.pack(">II", min(self.blocks - 1, 0xFFFFFFFF), BLOCK))

    def _service_in(self, cdb: bytes, _data: bytes) -> Reply:
        if cdb[1] & 0x1F != 0x10:
            return check(ILLEGAL_REQUEST, INVALID_FIELD)
        data = struct.pack(">QI", self.blocks - 1, BLOCK).ljust(32, b"\0")
        return Reply(data=data[: int.from_bytes(cdb[10:14], "big")])

    def _mode_sense(self, cdb: bytes, _data: bytes) -> Reply:
        page = cdb[2] & 0x3F
        pages = {0x08: bytes((0x08, 0x12)) + bytes(18), 0x0A: bytes((0x0A, 0x0A)) + bytes(10)}
        if page != 0x3F and page not in pages:
            return check(ILLEGAL_REQUEST, INVALID_FIELD)
        body = b"".join(pages.values()) if page == 0x3F else pages[page]
        protect = 0x80 if self.read_only else 0
        if cdb[0] == 0x1A:
            return Reply(data=(bytes((3 + len(body), 0, protect, 0)) + body)[: cdb[4]])
        head = (6 + len(body)).to_bytes(2, "big") + bytes((0, protect, 0, 0, 0, 0))
        return Reply(data=(head + body)[: int.from_bytes(cdb[7:9], "big")])
