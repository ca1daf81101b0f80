# SPDX-License-Identifier: GPL-2.0-or-later
"""Protocol data units of iSCSI (RFC 7143 11): what is built is right unless it is told to be wrong."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from tests.iscsi.crc import digest

BHS = 48
NONE = 0xFFFFFFFF  # a tag that is none
DIGEST = 4


class Op(IntEnum):
    """Opcodes."""

    NOP_OUT = 0x00
    COMMAND = 0x01
    TMF = 0x02
    LOGIN = 0x03
    TEXT = 0x04
    DATA_OUT = 0x05
    LOGOUT = 0x06
    SNACK = 0x10
    NOP_IN = 0x20
    RESPONSE = 0x21
    TMF_RESPONSE = 0x22
    LOGIN_RESPONSE = 0x23
    TEXT_RESPONSE = 0x24
    DATA_IN = 0x25
    LOGOUT_RESPONSE = 0x26
    R2T = 0x31
    ASYNC = 0x32
    REJECT = 0x3F


class Tmf(IntEnum):
    """Task management functions."""

    ABORT_TASK = 1
    ABORT_TASK_SET = 2
    CLEAR_ACA = 3
    CLEAR_TASK_SET = 4
    LUN_RESET = 5
    WARM_RESET = 6
    COLD_RESET = 7
    TASK_REASSIGN = 8
    QUERY_TASK = 9
    QUERY_TASK_SET = 10
    NEXUS_RESET = 11
    QUERY_ASYNC_EVENT = 12


class Answered(IntEnum):
    """What a task management function is answered with."""

    COMPLETE = 0
    NO_TASK = 1
    NO_LUN = 2
    STILL_ALLEGIANT = 3
    NO_REASSIGNMENT = 4
    NOT_SUPPORTED = 5
    NOT_AUTHORIZED = 6
    SUCCEEDED = 7
    REJECTED = 255


class Reason(IntEnum):
    """Why a PDU is rejected."""

    DATA_DIGEST = 0x02
    SNACK = 0x03
    PROTOCOL = 0x04
    NOT_SUPPORTED = 0x05
    TOO_MANY_IMMEDIATE = 0x06
    TASK_IN_PROGRESS = 0x07
    INVALID_ACK = 0x08
    INVALID_FIELD = 0x09
    NO_RESOURCES = 0x0A
    NEGOTIATION_RESET = 0x0B
    WAITING_FOR_LOGOUT = 0x0C


IMMEDIATE = 0x40  # in the opcode
FINAL = 0x80
CONTINUES = 0x40
READ, WRITE = 0x40, 0x20  # of a command
UNTAGGED, SIMPLE, ORDERED, HEAD, ACA = range(5)
STATUS = 0x01  # of Data-In
ACK_WANTED = 0x40
UNDERFLOW, OVERFLOW = 0x02, 0x04
BIDI_UNDERFLOW, BIDI_OVERFLOW = 0x08, 0x10
EXTENDED_CDB, BIDI_LENGTH = 1, 2  # additional header segments
STATUS_CARRIERS = frozenset(
    (
        Op.RESPONSE,
        Op.TMF_RESPONSE,
        Op.LOGIN_RESPONSE,
        Op.TEXT_RESPONSE,
        Op.LOGOUT_RESPONSE,
        Op.ASYNC,
        Op.REJECT,
    )
)
# Bytes of a target's headers in which nothing is said (11.4 to 11.19).
RESERVED: Mapping[int, tuple[int, ...]] = {
    Op.NOP_IN: (2, 3, *range(36, 48)),
    Op.RESPONSE: (*range(8, 16), *range(20, 24)),
    Op.TMF_RESPONSE: (3, *range(8, 16), *range(20, 24), *range(36, 48)),
    Op.TEXT_RESPONSE: (2, 3, *range(36, 48)),
    Op.DATA_IN: (2,),
    Op.LOGOUT_RESPONSE: (3, *range(8, 16), *range(20, 24), *range(36, 40), *range(44, 48)),
    Op.R2T: (2, 3),
    Op.ASYNC: (2, 3, *range(20, 24), *range(44, 48)),
    Op.REJECT: (3, *range(8, 16), *range(20, 24), *range(36, 48)),
}


def padding(length: int) -> int:
    """Bytes that follow so many."""
    return -length % 4


def padded(data: bytes) -> bytes:
    """Data, and zeros up to a multiple of four."""
    return data + bytes(padding(len(data)))


def lun_field(lun: int) -> bytes:
    """A LUN of peripheral or flat addressing."""
    return struct.pack(">H6x", lun if lun < 256 else 0x4000 | lun)


def extended_cdb(more: bytes) -> bytes:
    """What of a CDB is behind its first 16 bytes, as an additional header segment."""
    return padded(struct.pack(">HBx", len(more) + 1, EXTENDED_CDB) + more)


def bidi_length(length: int) -> bytes:
    """The expected length of what a bidirectional command reads, likewise."""
    return struct.pack(">HBxI", 5, BIDI_LENGTH, length)


@dataclass
class Pdu:
    """Any of them. *fields*: 32-bit values by their place in the header; bytes there by :meth:`put`.

    The last ones are what is sent instead of what would be right.
    """

    op: int
    flags: int = FINAL
    immediate: bool = False
    byte2: int = 0
    byte3: int = 0
    lun: bytes = bytes(8)
    itt: int = NONE
    fields: dict[int, int] = field(default_factory=dict)
    cdb: bytes = b""
    ahs: bytes = b""
    data: bytes = b""
    total_ahs: int | None = None  # words
    data_length: int | None = None
    pad: bytes | None = None
    header_digest: bytes | None = None
    data_digest: bytes | None = None

    def get(self, place: int) -> int:
        """A 32-bit value of the header."""
        return self.fields.get(place, 0)

    def short(self, place: int) -> int:
        """A 16-bit value of it, in its second half."""
        return self.get(place & ~3) >> (0 if place & 2 else 16) & 0xFFFF

    def byte(self, place: int) -> int:
        """A byte of it, in its second half."""
        return self.get(place & ~3) >> 8 * (3 - (place & 3)) & 0xFF

    @property
    def final(self) -> bool:
        """F or T."""
        return bool(self.flags & FINAL)

    @property
    def ttt(self) -> int:
        """Target Transfer Tag."""
        return self.get(20)

    @property
    def cmd_sn(self) -> int:
        """Of what an initiator sends."""
        return self.get(24)

    @property
    def stat_sn(self) -> int:
        """Of what a target sends."""
        return self.get(24)

    @property
    def exp_cmd_sn(self) -> int:
        """Likewise."""
        return self.get(28)

    @property
    def max_cmd_sn(self) -> int:
        """Likewise."""
        return self.get(32)

    @property
    def data_sn(self) -> int:
        """DataSN, R2TSN, ExpDataSN."""
        return self.get(36)

    @property
    def offset(self) -> int:
        """Buffer Offset."""
        return self.get(40)

    @property
    def desired(self) -> int:
        """Of an R2T: Desired Data Transfer Length; else the residual count."""
        return self.get(44)

    residual = desired

    @property
    def carries_status(self) -> bool:
        """Does StatSN advance?"""
        if self.op == Op.DATA_IN:
            return bool(self.flags & STATUS)
        return self.op in STATUS_CARRIERS or (self.op == Op.NOP_IN and self.itt != NONE)

    def header(self) -> bytes:
        """The 48 bytes."""
        length = len(self.data) if self.data_length is None else self.data_length
        words = len(self.ahs) // 4 if self.total_ahs is None else self.total_ahs
        op = self.op | (IMMEDIATE if self.immediate else 0)
        start = struct.pack(">BBBBI", op, self.flags, self.byte2, self.byte3, words << 24 | length)
        rest = bytearray(struct.pack(">7I", *(self.get(place) for place in range(20, BHS, 4))))
        if self.cdb:
            rest[12:] = self.cdb[:16].ljust(16, b"\0")
        return start + self.lun + struct.pack(">I", self.itt) + bytes(rest)

    def encode(self, header_digest: bool = False, data_digest: bool = False) -> bytes:
        """What goes over the wire."""
        head = self.header() + self.ahs
        if header_digest or self.header_digest is not None:
            head += digest(head) if self.header_digest is None else self.header_digest
        if not self.data:
            return head
        data = padded(self.data) if self.pad is None else self.data + self.pad
        if data_digest or self.data_digest is not None:
            data += digest(data) if self.data_digest is None else self.data_digest
        return head + data

    def __str__(self) -> str:
        """A line for people."""
        name = Op(self.op).name if self.op in set(Op) else f"{self.op:#x}"
        shown = " ".join(f"[{place}]={value:#x}" for place, value in sorted(self.fields.items()) if value)
        cdb = f" cdb={self.cdb.hex()}" if self.cdb else ""
        tail = f" {len(self.data)} bytes {self.data[:24].hex()}" if self.data else ""
        start = f"{name}{' I' if self.immediate else ''} {self.flags:02x} {self.byte2:02x} {self.byte3:02x}"
        return f"{start} lun={self.lun.hex()} itt={self.itt:#x} {shown}{cdb}{tail}"


class Malformed(AssertionError):
    """What came is not what the standard allows."""


def head_lengths(header: bytes) -> tuple[int, int]:
    """Bytes of additional headers and of data that follow."""
    (word,) = struct.unpack_from(">I", header, 4)
    return (word >> 24) * 4, word & 0xFFFFFF


def decode_header(header: bytes) -> Pdu:
    """A PDU without what follows its header."""
    op, flags, byte2, byte3 = header[:4]
    (itt,) = struct.unpack_from(">I", header, 16)
    words = struct.unpack_from(">7I", header, 20)
    return Pdu(
        op=op & 0x3F,
        immediate=bool(op & IMMEDIATE),
        flags=flags,
        byte2=byte2,
        byte3=byte3,
        lun=header[8:16],
        itt=itt,
        fields={20 + 4 * at: word for at, word in enumerate(words)},
        cdb=header[32:48] if op & 0x3F == Op.COMMAND else b"",
    )


def join(values: Mapping[str, str] | Iterable[tuple[str, str]]) -> bytes:
    """Keys and their values as text; pairs, where a key is to come twice."""
    pairs = values.items() if isinstance(values, Mapping) else values
    return b"".join(f"{key}={value}\0".encode() for key, value in pairs)


def split(text: bytes) -> dict[str, str]:
    """Text as keys and values. Raises Malformed."""
    found: dict[str, str] = {}
    for item in text.split(b"\0"):
        if not item:
            continue
        key, sign, value = item.decode().partition("=")
        if not sign or key in found:
            raise Malformed(f"{item!r} in {text!r}")
        found[key] = value
    return found
