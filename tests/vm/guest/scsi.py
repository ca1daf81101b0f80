# SPDX-License-Identifier: GPL-2.0-or-later
"""SCSI commands through /dev/sg* (SG_IO, interface version 3), and the CDBs the tests send.

Nothing here retries or interprets: an :class:`Answer` is what the initiator's SCSI layer handed over.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SG_IO = 0x2285
SENSE_ROOM = 96
DIRECTION_NONE, DIRECTION_OUT, DIRECTION_IN = -1, -2, -3
FLAG_DIRECT_IO, INFO_DIRECT_IO, INFO_IO_MASK = 1, 2, 6
ALLOW_DIRECT_IO = Path("/sys/module/sg/parameters/allow_dio")
DIRECT_MULTIPLE = 512

GOOD, CHECK_CONDITION, BUSY, TASK_SET_FULL = 0x00, 0x02, 0x08, 0x28

Sense = tuple[int, int, int]
NO_SENSE: Sense = (0x0, 0x00, 0x00)
BECOMING_READY: Sense = (0x2, 0x04, 0x01)
NOT_ACCESSIBLE: Sense = (0x2, 0x04, 0x0C)
SHORT_TRANSFER: Sense = (0x5, 0x0E, 0x03)
START_REQUIRED: Sense = (0x2, 0x04, 0x02)
NO_MEDIUM: Sense = (0x2, 0x3A, 0x00)
REMOVAL_PREVENTED: Sense = (0x5, 0x53, 0x02)
LIST_LENGTH: Sense = (0x5, 0x1A, 0x00)
INVALID_OPCODE: Sense = (0x5, 0x20, 0x00)
LBA_OUT_OF_RANGE: Sense = (0x5, 0x21, 0x00)
INVALID_FIELD_CDB: Sense = (0x5, 0x24, 0x00)
LUN_NOT_SUPPORTED: Sense = (0x5, 0x25, 0x00)
FORMATTING: Sense = (0x2, 0x04, 0x04)
SANITIZING: Sense = (0x2, 0x04, 0x1B)
FORMAT_FAILED: Sense = (0x3, 0x31, 0x01)
SANITIZE_FAILED: Sense = (0x3, 0x31, 0x03)
INVALID_FIELD_LIST: Sense = (0x5, 0x26, 0x00)
POWER_ON: Sense = (0x6, 0x29, 0x01)
RESET: Sense = (0x6, 0x29, 0x03)
MEDIUM_MAY_HAVE_CHANGED: Sense = (0x6, 0x28, 0x00)
MODE_CHANGED: Sense = (0x6, 0x2A, 0x01)
IDENTIFIER_CHANGED: Sense = (0x6, 0x3F, 0x05)
TIMESTAMP_CHANGED: Sense = (0x6, 0x2A, 0x10)
CAPACITY_CHANGED: Sense = (0x6, 0x2A, 0x09)
INQUIRY_CHANGED: Sense = (0x6, 0x3F, 0x03)
LUNS_CHANGED: Sense = (0x6, 0x3F, 0x0E)
WRITE_PROTECTED: Sense = (0x7, 0x27, 0x00)
SPACE_ALLOCATION: Sense = (0x7, 0x27, 0x07)
MISCOMPARE: Sense = (0xE, 0x1D, 0x00)
UNIT_ATTENTION = 0x6


class _Header(ctypes.Structure):
    """struct sg_io_hdr."""

    _fields_ = (
        ("interface_id", ctypes.c_int),
        ("dxfer_direction", ctypes.c_int),
        ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte),
        ("iovec_count", ctypes.c_ushort),
        ("dxfer_len", ctypes.c_uint),
        ("dxferp", ctypes.c_void_p),
        ("cmdp", ctypes.c_void_p),
        ("sbp", ctypes.c_void_p),
        ("timeout", ctypes.c_uint),
        ("flags", ctypes.c_uint),
        ("pack_id", ctypes.c_int),
        ("usr_ptr", ctypes.c_void_p),
        ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte),
        ("msg_status", ctypes.c_ubyte),
        ("sb_len_wr", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort),
        ("driver_status", ctypes.c_ushort),
        ("resid", ctypes.c_int),
        ("duration", ctypes.c_uint),
        ("info", ctypes.c_uint),
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended. *data*: the whole data-in buffer; *resid*: bytes not moved, in or out."""

    status: int
    raw_sense: bytes
    resid: int
    data: bytes
    host_status: int

    @property
    def sense(self) -> Sense | None:
        """Sense key, ASC, ASCQ; None without sense data."""
        return parse_sense(self.raw_sense)

    @property
    def good(self) -> bool:
        """GOOD status and no complaint of the SCSI host."""
        return self.status == GOOD and self.host_status == 0

    @property
    def moved(self) -> bytes:
        """The part of the data-in buffer that was transferred."""
        return self.data[: len(self.data) - self.resid]

    def __str__(self) -> str:
        code = "/".join(f"{part:02x}" for part in self.sense) if self.sense else "-"
        return f"status {self.status:#04x} sense {code} resid {self.resid} host status {self.host_status:#x}"


def parse_sense(raw: bytes) -> Sense | None:
    """Sense key, ASC, ASCQ of fixed (70h) or descriptor (72h) sense data. ValueError for other data."""
    if not raw:
        return None
    match raw[0] & 0x7F:
        case 0x70:
            return raw[2] & 0xF, raw[12], raw[13]
        case 0x72:
            return raw[1] & 0xF, raw[2], raw[3]
    raise ValueError(f"not current sense data: {raw.hex()}")


def parse_field(raw: bytes) -> tuple[bool, int] | None:
    """Which field fixed sense data points at: is it in the CDB, and its first byte. None: at none."""
    assert raw[0] & 0x7F == 0x70
    return (bool(raw[15] & 0x40), int.from_bytes(raw[16:18], "big")) if raw[15] & 0x80 else None


def parse_information(raw: bytes) -> int | None:
    """The INFORMATION field of fixed sense data. None: it is not valid."""
    assert raw[0] & 0x7F == 0x70
    return int.from_bytes(raw[3:7], "big") if raw[0] & 0x80 else None


_open: set[Unit] = set()


def close_units() -> None:
    """Close what is still open: a test that failed has not come to it, and modules could not be unloaded."""
    for unit in list(_open):
        unit.close()


class Unit:
    """An open /dev/sg* or /dev/sd* node, for any number of threads; a context manager that closes it."""

    def __init__(self, node: Path) -> None:
        self.node = node
        self._file = os.open(node, os.O_RDWR | os.O_NONBLOCK)
        _open.add(self)
        # Memory the sg driver writes to when a started command is taken.
        self._started: list[tuple[object, ...]] = []
        self._ended = 0

    def __enter__(self) -> Unit:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the node; further commands raise OSError."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1
        _open.discard(self)

    def command(self, cdb: bytes, read: int = 0, write: bytes | None = None, seconds: float = 20) -> Answer:
        """Send one command.

        *read*: bytes of data-in to offer; *write*: data-out; *seconds*: the initiator's timeout.
        """
        size = read or len(write or b"")
        buffer = ctypes.create_string_buffer(write or bytes(size), max(size, 1))
        header = self._header(ctypes.addressof(buffer), size, seconds)
        if read or write is not None:
            header.dxfer_direction = DIRECTION_IN if read else DIRECTION_OUT
        sense = self._submit(header, cdb)
        return Answer(
            header.status, sense, header.resid, buffer.raw[:size] if read else b"", header.host_status
        )

    def read_into(self, cdb: bytes, size: int, fill: int) -> Answer:
        """Send a data-in command whose buffer holds *fill* beforehand.

        The target gets the very pages of the buffer. *size* must be a multiple of 512.
        """
        assert size % DIRECT_MULTIPLE == 0
        ALLOW_DIRECT_IO.write_text("1")
        with mmap.mmap(-1, size) as buffer:
            buffer.write(bytes((fill,)) * size)
            view = (ctypes.c_char * size).from_buffer(buffer)
            header = self._header(ctypes.addressof(view), size, 20)
            header.dxfer_direction = DIRECTION_IN
            header.flags = FLAG_DIRECT_IO
            sense = self._submit(header, cdb)
            data = bytes(view.raw)
            del view
        assert header.info & INFO_IO_MASK == INFO_DIRECT_IO, "the sg driver has copied"
        return Answer(header.status, sense, header.resid, data, header.host_status)

    def start(self, cdb: bytes, read: int) -> None:
        """Send a data-in command without waiting for its end; an open node takes 16 of them."""
        words, room = ctypes.create_string_buffer(cdb, len(cdb)), ctypes.create_string_buffer(read)
        sense = ctypes.create_string_buffer(SENSE_ROOM)
        header = self._header(ctypes.addressof(room), read, 60)
        header.dxfer_direction = DIRECTION_IN
        header.cmd_len, header.cmdp, header.sbp = len(cdb), ctypes.addressof(words), ctypes.addressof(sense)
        os.write(self._file, bytes(header))
        self._started.append((words, room, sense))

    def idle(self) -> bool:
        """Have all commands that were only started ended? Does not wait."""
        while self._started:
            try:
                os.read(self._file, ctypes.sizeof(_Header))
            except BlockingIOError:
                return False
            # Answers come in any order; memory must stay until the last one.
            self._ended += 1
            if self._ended == len(self._started):
                self._started.clear()
                self._ended = 0
        return True

    @staticmethod
    def _header(address: int, size: int, seconds: float) -> _Header:
        return _Header(
            interface_id=ord("S"),
            dxfer_direction=DIRECTION_NONE,
            mx_sb_len=SENSE_ROOM,
            dxfer_len=size,
            dxferp=address,
            timeout=int(seconds * 1000),
        )

    def _submit(self, header: _Header, cdb: bytes) -> bytes:
        words, sense = ctypes.create_string_buffer(cdb, len(cdb)), ctypes.create_string_buffer(SENSE_ROOM)
        header.cmd_len, header.cmdp, header.sbp = len(cdb), ctypes.addressof(words), ctypes.addressof(sense)
        fcntl.ioctl(self._file, SG_IO, header)
        return sense.raw[: header.sb_len_wr]

    def good(self, cdb: bytes, read: int = 0, write: bytes | None = None) -> bytes:
        """Send a command that must succeed; returns the data moved. Raises AssertionError otherwise."""
        answer = self.command(cdb, read, write)
        assert answer.good, f"{self.node}: {cdb.hex(' ')}: {answer}"
        return answer.moved

    def sense(self, cdb: bytes, read: int = 0, write: bytes | None = None) -> Sense | None:
        """Send a command and return its sense triple, None if it succeeded."""
        answer = self.command(cdb, read, write)
        assert answer.host_status == 0, f"{self.node}: {cdb.hex(' ')}: {answer}"
        assert (answer.status == CHECK_CONDITION) == (answer.sense is not None), str(answer)
        return answer.sense

    def attentions(self) -> list[Sense]:
        """Take all pending unit attentions of this nexus, by TEST UNIT READY."""
        taken: list[Sense] = []
        while len(taken) < 20:
            sense = self.sense(test_unit_ready())
            if sense is None or sense[0] != UNIT_ATTENTION:
                return taken
            taken.append(sense)
        raise AssertionError(f"{self.node}: no end of unit attentions: {taken}")

    def blocks(self) -> tuple[int, int]:
        """Capacity in blocks, block length in bytes: READ CAPACITY(16)."""
        last, size = struct.unpack(">QI", self.good(read_capacity16(), 32)[:12])
        return last + 1, size


@contextmanager
def opened(*nodes: Path) -> Iterator[list[Unit]]:
    """Open several nodes and close them together."""
    units = [Unit(node) for node in nodes]
    try:
        yield units
    finally:
        for unit in units:
            unit.close()


# --- CDBs ---

DPO, FUA = 0x10, 0x08


def test_unit_ready() -> bytes:
    """TEST UNIT READY."""
    return bytes(6)


test_unit_ready.__test__ = False  # type: ignore[attr-defined]


def request_sense(room: int = 252, descriptor: bool = False) -> bytes:
    """REQUEST SENSE."""
    return bytes((0x03, descriptor, 0, 0, room, 0))


def inquiry(room: int = 255, page: int | None = None) -> bytes:
    """INQUIRY, standard or a VPD page."""
    return struct.pack(">BBBHB", 0x12, page is not None, page or 0, room, 0)


def report_luns(room: int = 16 + 8 * 16384, select: int = 0) -> bytes:
    """REPORT LUNS."""
    return struct.pack(">BBB3xIBB", 0xA0, 0, select, room, 0, 0)


def read6(lba: int, count: int) -> bytes:
    """READ(6)."""
    return struct.pack(">IBB", 0x08 << 24 | lba, count & 0xFF, 0)


def write6(lba: int, count: int) -> bytes:
    """WRITE(6)."""
    return struct.pack(">IBB", 0x0A << 24 | lba, count & 0xFF, 0)


def cdb10(opcode: int, lba: int, count: int, flags: int = 0) -> bytes:
    """A command of the READ(10) format."""
    return struct.pack(">BBIBHB", opcode, flags, lba, 0, count, 0)


def cdb12(opcode: int, lba: int, count: int, flags: int = 0) -> bytes:
    """A command of the READ(12) format."""
    return struct.pack(">BBIIBB", opcode, flags, lba, count, 0, 0)


def cdb16(opcode: int, lba: int, count: int, flags: int = 0) -> bytes:
    """A command of the READ(16) format."""
    return struct.pack(">BBQIBB", opcode, flags, lba, count, 0, 0)


def read10(lba: int, count: int, flags: int = 0) -> bytes:
    """READ(10)."""
    return cdb10(0x28, lba, count, flags)


def write10(lba: int, count: int, flags: int = 0) -> bytes:
    """WRITE(10)."""
    return cdb10(0x2A, lba, count, flags)


def read16(lba: int, count: int, flags: int = 0) -> bytes:
    """READ(16)."""
    return cdb16(0x88, lba, count, flags)


def write16(lba: int, count: int, flags: int = 0) -> bytes:
    """WRITE(16)."""
    return cdb16(0x8A, lba, count, flags)


def verify10(lba: int, count: int, bytchk: int = 0) -> bytes:
    """VERIFY(10)."""
    return cdb10(0x2F, lba, count, bytchk << 1)


def verify16(lba: int, count: int, bytchk: int = 0) -> bytes:
    """VERIFY(16)."""
    return cdb16(0x8F, lba, count, bytchk << 1)


def verify12(lba: int, count: int, bytchk: int = 0) -> bytes:
    """VERIFY(12)."""
    return cdb12(0xAF, lba, count, bytchk << 1)


def write_verify10(lba: int, count: int, bytchk: int = 0) -> bytes:
    """WRITE AND VERIFY(10)."""
    return cdb10(0x2E, lba, count, bytchk << 1)


def write_verify12(lba: int, count: int, bytchk: int = 0) -> bytes:
    """WRITE AND VERIFY(12)."""
    return cdb12(0xAE, lba, count, bytchk << 1)


def write_verify16(lba: int, count: int, bytchk: int = 0) -> bytes:
    """WRITE AND VERIFY(16)."""
    return cdb16(0x8E, lba, count, bytchk << 1)


def report_opcodes(
    option: int = 0, opcode: int = 0, action: int = 0, rctd: bool = False, room: int = 8192
) -> bytes:
    """REPORT SUPPORTED OPERATION CODES."""
    return struct.pack(">BBBBHIBB", 0xA3, 0x0C, option | (0x80 if rctd else 0), opcode, action, room, 0, 0)


def report_tmfs(extended: bool = False, room: int = 16) -> bytes:
    """REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS."""
    return struct.pack(">BBBBHIBB", 0xA3, 0x0D, 0x80 if extended else 0, 0, 0, room, 0, 0)


def report_timestamp(room: int = 12) -> bytes:
    """REPORT TIMESTAMP."""
    return struct.pack(">BB4xIBB", 0xA3, 0x0F, room, 0, 0)


def set_timestamp(length: int = 12) -> bytes:
    """SET TIMESTAMP."""
    return struct.pack(">BB4xIBB", 0xA4, 0x0F, length, 0, 0)


IDENT, IDENT_TEXT, IDENT_SUPPORTED = 0, 2, 0x7F


def report_ident(kind: int = IDENT, room: int = 512) -> bytes:
    """REPORT IDENTIFYING INFORMATION of a type."""
    return struct.pack(">BB4xIBB", 0xA3, 0x05, room, kind << 1, 0)


def set_ident(length: int, kind: int = IDENT) -> bytes:
    """SET IDENTIFYING INFORMATION of a type."""
    return struct.pack(">BB4xIBB", 0xA4, 0x06, length, kind << 1, 0)


BUFFER_DATA, BUFFER_DESCRIPTOR, BUFFER_ECHO, BUFFER_ECHO_DESCRIPTOR = 2, 3, 10, 11


def read_buffer10(mode: int, room: int, offset: int = 0, number: int = 0) -> bytes:
    """READ BUFFER(10); *number*: BUFFER ID."""
    return struct.pack(">BBB", 0x3C, mode, number) + struct.pack(">II", offset, room << 8)[1:]


def read_buffer16(mode: int, room: int, offset: int = 0, number: int = 0) -> bytes:
    """READ BUFFER(16)."""
    return struct.pack(">BBQIBB", 0x9B, mode, offset, room, number, 0)


def write_buffer(mode: int, length: int, offset: int = 0, number: int = 0) -> bytes:
    """WRITE BUFFER."""
    return struct.pack(">BBB", 0x3B, mode, number) + struct.pack(">II", offset, length << 8)[1:]


def send_diagnostic(flags: int = 0x04, length: int = 0) -> bytes:
    """SEND DIAGNOSTIC; *flags*: byte 1, by default the default self-test."""
    return struct.pack(">BBBHB", 0x1D, flags, 0, length, 0)


SANITIZE_IMMED, SANITIZE_AUSE = 0x80, 0x20


def sanitize(length: int, flags: int = 0, action: int = 1) -> bytes:
    """SANITIZE, by default OVERWRITE; *length*: of its list, *flags*: of byte 1."""
    return struct.pack(">BBxxxxxHB", 0x48, flags | action, length, 0)


def overwrite(pattern: bytes, count: int = 1, flags: int = 0) -> bytes:
    """The list of SANITIZE, OVERWRITE; *flags*: of byte 0."""
    return struct.pack(">BBH", flags | count, 0, len(pattern)) + pattern


def parse_progress(raw: bytes) -> int | None:
    """The progress indication of fixed sense data. None: there is none."""
    return int.from_bytes(raw[16:18], "big") if raw[15] & 0x80 else None


def format_unit(flags: int = 0) -> bytes:
    """FORMAT UNIT; *flags*: byte 1, what there is of a list."""
    return bytes((0x04, flags, 0, 0, 0, 0))


def receive_diagnostic(page: int | None = None, room: int = 64) -> bytes:
    """RECEIVE DIAGNOSTIC RESULTS; *page*: which, by default what was asked for last."""
    return struct.pack(">BBBHB", 0x1C, page is not None, page or 0, room, 0)


def read_capacity10() -> bytes:
    """READ CAPACITY(10)."""
    return cdb10(0x25, 0, 0)


def read_capacity16(room: int = 32) -> bytes:
    """READ CAPACITY(16)."""
    return struct.pack(">BBQIBB", 0x9E, 0x10, 0, room, 0, 0)


def compare_and_write(lba: int, count: int, flags: int = 0) -> bytes:
    """COMPARE AND WRITE."""
    return struct.pack(">BBQ3xBBB", 0x89, flags, lba, count, 0, 0)


def orwrite16(lba: int, count: int, flags: int = 0) -> bytes:
    """ORWRITE(16)."""
    return cdb16(0x8B, lba, count, flags)


UNMAP_BIT, NDOB, ANCHOR = 0x08, 0x01, 0x10


def write_same10(lba: int, count: int, flags: int = 0) -> bytes:
    """WRITE SAME(10)."""
    return cdb10(0x41, lba, count, flags)


def write_same16(lba: int, count: int, flags: int = 0) -> bytes:
    """WRITE SAME(16)."""
    return cdb16(0x93, lba, count, flags)


def unmap(length: int, flags: int = 0) -> bytes:
    """UNMAP with a parameter list of that length."""
    return struct.pack(">BB5xHB", 0x42, flags, length, 0)


def unmap_list(*ranges: tuple[int, int]) -> bytes:
    """Its parameter list: ranges of LBA and number of blocks."""
    body = b"".join(struct.pack(">QI4x", *item) for item in ranges)
    return struct.pack(">HH4x", len(body) + 6, len(body)) + body


def get_lba_status16(lba: int, room: int = 8 + 16 * 16) -> bytes:
    """GET LBA STATUS(16)."""
    return struct.pack(">BBQIBB", 0x9E, 0x12, lba, room, 0, 0)


def lba_status(data: bytes) -> list[tuple[int, int, int]]:
    """LBA, number of blocks and provisioning status of each extent of GET LBA STATUS data."""
    length = struct.unpack(">I", data[:4])[0]
    assert length == len(data) - 4, f"parameter data length {length} in {len(data)} bytes"
    return [struct.unpack(">QIB3x", data[at : at + 16]) for at in range(8, len(data), 16)]


def mode_sense6(page: int, control: int = 0, dbd: bool = True, room: int = 255, subpage: int = 0) -> bytes:
    """MODE SENSE(6); *control*: 0 current, 1 changeable, 2 default, 3 saved values."""
    return bytes((0x1A, dbd << 3, control << 6 | page, subpage, room, 0))


def mode_sense10(
    page: int, control: int = 0, dbd: bool = True, llbaa: bool = False, room: int = 512, subpage: int = 0
) -> bytes:
    """MODE SENSE(10)."""
    return struct.pack(">BBBB3xHB", 0x5A, dbd << 3 | llbaa << 4, control << 6 | page, subpage, room, 0)


def mode_select6(length: int, flags: int = 0x10) -> bytes:
    """MODE SELECT(6); *flags*: byte 1, PF by default."""
    return bytes((0x15, flags, 0, 0, length, 0))


def mode_select10(length: int, flags: int = 0x10) -> bytes:
    """MODE SELECT(10)."""
    return struct.pack(">BB5xHB", 0x55, flags, length, 0)


def start_stop(start: bool, flags: int = 0) -> bytes:
    """START STOP UNIT; *flags*: more bits of byte 4."""
    return bytes((0x1B, 0, 0, 0, flags | start, 0))


def prevent(on: bool) -> bytes:
    """PREVENT ALLOW MEDIUM REMOVAL."""
    return bytes((0x1E, 0, 0, 0, on, 0))


def lun_list(data: bytes) -> list[int]:
    """The LUNs of REPORT LUNS data. Raises AssertionError if length or addressing is not what it must be."""
    length = struct.unpack(">I", data[:4])[0]
    assert length == len(data) - 8, f"list length {length} in {len(data)} bytes of data"
    return [lun_number(data[at : at + 8]) for at in range(8, len(data), 8)]


def lun_number(entry: bytes) -> int:
    """Number of one 8-byte LUN: peripheral device addressing below 256, flat space addressing from there."""
    assert entry[2:] == bytes(6), f"more than one level: {entry.hex()}"
    number: int = struct.unpack(">H", entry[:2])[0] & 0x3FFF
    method = entry[0] >> 6
    assert method == (0 if number < 256 else 1), f"LUN {number} with addressing method {method}"
    return number
