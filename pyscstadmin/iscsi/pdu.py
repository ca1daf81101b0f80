# SPDX-License-Identifier: GPL-2.0-or-later
"""Formats of the PDUs that log in, discover and log out (RFC 7143 clause 11). Pure.

`HEADER` bytes come first and say how many follow. A class reads its PDU from a header and the data segment
without padding, and makes the bytes of one. Reserved fields are 0 when sent and not looked at when received.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import IntEnum

__all__ = [
    "DATA_MAX",
    "HEADER",
    "NO_TAG",
    "AsyncMessage",
    "LoginRequest",
    "LoginResponse",
    "LogoutRequest",
    "LogoutResponse",
    "Malformed",
    "NopIn",
    "NopOut",
    "Opcode",
    "Reject",
    "Sizes",
    "TextRequest",
    "TextResponse",
    "immediate",
    "opcode",
    "padded",
    "sizes",
]

HEADER = 48
DATA_MAX = (1 << 24) - 1
NO_TAG = 0xFFFFFFFF

_IMMEDIATE = 0x40
_FINAL = 0x80
_CONTINUE = 0x40


class Malformed(ValueError):
    """These bytes are no such PDU."""


class Opcode(IntEnum):
    """Operation codes; those of targets have bit 5."""

    NOP_OUT = 0x00
    LOGIN = 0x03
    TEXT = 0x04
    LOGOUT = 0x06
    NOP_IN = 0x20
    LOGIN_RESPONSE = 0x23
    TEXT_RESPONSE = 0x24
    LOGOUT_RESPONSE = 0x26
    ASYNC = 0x32
    REJECT = 0x3F


@dataclass(frozen=True, slots=True)
class Sizes:
    """What follows a header, in bytes: additional headers, data, and zeroes that pad it to 4."""

    additional: int
    data: int
    padding: int

    @property
    def rest(self) -> int:
        """All of it."""
        return self.additional + self.data + self.padding


def opcode(header: bytes) -> int:
    """The operation code of a PDU."""
    return header[0] & 0x3F


def immediate(header: bytes) -> bool:
    """Whether a request does not wait for its turn (I bit)."""
    return bool(header[0] & _IMMEDIATE)


def sizes(header: bytes) -> Sizes:
    """How much follows a header."""
    data = int.from_bytes(header[5:8], "big")
    return Sizes(4 * header[4], data, -data % 4)


def padded(data: bytes) -> bytes:
    """A data segment as it is sent."""
    return data + bytes(-len(data) % 4)


def _whole(header: bytes, data: bytes, code: Opcode) -> None:
    if len(header) != HEADER or opcode(header) != code:
        raise Malformed(f"no {code.name}")
    if sizes(header).data != len(data):
        raise Malformed(f"{len(data)} bytes of data, {sizes(header).data} announced")


def _packed(layout: struct.Struct, code: int, flags: int, data: bytes, *fields: int | bytes) -> bytes:
    if len(data) > DATA_MAX:
        raise Malformed(f"{len(data)} bytes do not go into one PDU")
    return layout.pack(code, flags, *fields[:2], len(data), *fields[2:]) + padded(data)


# Each layout: opcode, flags, bytes 2 and 3, lengths (no additional headers: one number), and the rest.
_LOGIN = struct.Struct(">BBBBI6sHIHHII16x")
_LOGIN_RESPONSE = struct.Struct(">BBBBI6sHI4xIIIBB10x")
_TEXT = struct.Struct(">BBBBI8sIIII16x")
_TEXT_RESPONSE = struct.Struct(">BBBBI8sIIIII12x")
_LOGOUT = struct.Struct(">BBBBI8xIH2xII16x")
_LOGOUT_RESPONSE = struct.Struct(">BBBBI8xI4xIII4xHH4x")
_REJECT = struct.Struct(">BBBBI8xI4xIIII8x")
_ASYNC = struct.Struct(">BBBBI8sI4xIIIBBHHH4x")


def _flags(first: bool, second: bool) -> int:
    return first * _FINAL | second * _CONTINUE


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """11.12. `transit`, `more`: the bits T and C; `stage`, `next`: CSG and NSG."""

    transit: bool
    more: bool
    stage: int
    next: int
    isid: bytes
    tsih: int
    tag: int
    cid: int
    cmd_sn: int
    exp_stat_sn: int
    version_max: int = 0
    version_min: int = 0
    data: bytes = b""
    immediate: bool = True

    @classmethod
    def parse(cls, header: bytes, data: bytes) -> LoginRequest:
        """Raises `Malformed`."""
        _whole(header, data, Opcode.LOGIN)
        first, flags, high, low, _, isid, tsih, tag, cid, _, cmd_sn, exp_stat_sn = _LOGIN.unpack(header)
        return cls(
            bool(flags & _FINAL),
            bool(flags & _CONTINUE),
            flags >> 2 & 3,
            flags & 3,
            isid,
            tsih,
            tag,
            cid,
            cmd_sn,
            exp_stat_sn,
            high,
            low,
            data,
            bool(first & _IMMEDIATE),
        )

    def build(self) -> bytes:
        """The bytes."""
        first = Opcode.LOGIN | self.immediate * _IMMEDIATE
        flags = _flags(self.transit, self.more) | self.stage << 2 | self.next
        return _packed(
            _LOGIN,
            first,
            flags,
            self.data,
            self.version_max,
            self.version_min,
            self.isid,
            self.tsih,
            self.tag,
            self.cid,
            0,
            self.cmd_sn,
            self.exp_stat_sn,
        )


@dataclass(frozen=True, slots=True)
class LoginResponse:
    """11.13. `status`: class and detail as one number, 0203h."""

    transit: bool
    more: bool
    stage: int
    next: int
    isid: bytes
    tsih: int
    tag: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    status: int = 0
    version_max: int = 0
    version_active: int = 0
    data: bytes = b""

    @classmethod
    def parse(cls, header: bytes, data: bytes) -> LoginResponse:
        """Raises `Malformed`."""
        _whole(header, data, Opcode.LOGIN_RESPONSE)
        _, flags, high, active, _, isid, tsih, tag, stat_sn, exp, most, kind, detail = _LOGIN_RESPONSE.unpack(
            header
        )
        return cls(
            bool(flags & _FINAL),
            bool(flags & _CONTINUE),
            flags >> 2 & 3,
            flags & 3,
            isid,
            tsih,
            tag,
            stat_sn,
            exp,
            most,
            kind << 8 | detail,
            high,
            active,
            data,
        )

    def build(self) -> bytes:
        """The bytes."""
        flags = _flags(self.transit, self.more) | self.stage << 2 | self.next
        return _packed(
            _LOGIN_RESPONSE,
            Opcode.LOGIN_RESPONSE,
            flags,
            self.data,
            self.version_max,
            self.version_active,
            self.isid,
            self.tsih,
            self.tag,
            self.stat_sn,
            self.exp_cmd_sn,
            self.max_cmd_sn,
            self.status >> 8,
            self.status & 0xFF,
        )


@dataclass(frozen=True, slots=True)
class TextRequest:
    """11.10; NOP-Out has the same fields. `final`, `more`: the bits F and C; `transfer_tag`: the target's."""

    final: bool
    more: bool
    tag: int
    transfer_tag: int
    cmd_sn: int
    exp_stat_sn: int
    lun: bytes = bytes(8)
    data: bytes = b""
    immediate: bool = False

    @classmethod
    def parse(cls, header: bytes, data: bytes) -> TextRequest:
        """Raises `Malformed`."""
        _whole(header, data, Opcode.TEXT)
        first, flags, _, _, _, lun, tag, transfer_tag, cmd_sn, exp_stat_sn = _TEXT.unpack(header)
        final, more = bool(flags & _FINAL), bool(flags & _CONTINUE)
        at_once = bool(first & _IMMEDIATE)
        return cls(final, more, tag, transfer_tag, cmd_sn, exp_stat_sn, lun, data, at_once)

    def build(self) -> bytes:
        """The bytes."""
        first = Opcode.TEXT | self.immediate * _IMMEDIATE
        fields = (self.lun, self.tag, self.transfer_tag, self.cmd_sn, self.exp_stat_sn)
        return _packed(_TEXT, first, _flags(self.final, self.more), self.data, 0, 0, *fields)


@dataclass(frozen=True, slots=True)
class TextResponse:
    """11.11."""

    final: bool
    more: bool
    tag: int
    transfer_tag: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    lun: bytes = bytes(8)
    data: bytes = b""

    @classmethod
    def parse(cls, header: bytes, data: bytes) -> TextResponse:
        """Raises `Malformed`."""
        _whole(header, data, Opcode.TEXT_RESPONSE)
        _, flags, _, _, _, lun, *fields = _TEXT_RESPONSE.unpack(header)
        return replace(cls(bool(flags & _FINAL), bool(flags & _CONTINUE), *fields), lun=lun, data=data)

    def build(self) -> bytes:
        """The bytes."""
        fields = (self.lun, self.tag, self.transfer_tag, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn)
        flags = _flags(self.final, self.more)
        return _packed(_TEXT_RESPONSE, Opcode.TEXT_RESPONSE, flags, self.data, 0, 0, *fields)


@dataclass(frozen=True, slots=True)
class NopOut:
    """11.18: a sign of life of the initiator, or the answer to one of the target."""

    tag: int
    transfer_tag: int
    cmd_sn: int
    exp_stat_sn: int
    lun: bytes = bytes(8)
    data: bytes = b""
    immediate: bool = False

    @classmethod
    def parse(cls, header: bytes, data: bytes) -> NopOut:
        """Raises `Malformed`."""
        _whole(header, data, Opcode.NOP_OUT)
        first, _, _, _, _, lun, *fields = _TEXT.unpack(header)
        return replace(cls(*fields), lun=lun, data=data, immediate=bool(first & _IMMEDIATE))

    def build(self) -> bytes:
        """The bytes."""
        first = Opcode.NOP_OUT | self.immediate * _IMMEDIATE
        fields = (self.lun, self.tag, self.transfer_tag, self.cmd_sn, self.exp_stat_sn)
        return _packed(_TEXT, first, _FINAL, self.data, 0, 0, *fields)


@dataclass(frozen=True, slots=True)
class NopIn:
    """11.19."""

    tag: int
    transfer_tag: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    lun: bytes = bytes(8)
    data: bytes = b""

    @classmethod
    def parse(cls, header: bytes, data: bytes) -> NopIn:
        """Raises `Malformed`."""
        _whole(header, data, Opcode.NOP_IN)
        _, _, _, _, _, lun, *fields = _TEXT_RESPONSE.unpack(header)
        return replace(cls(*fields), lun=lun, data=data)

    def build(self) -> bytes:
        """The bytes."""
        fields = (self.lun, self.tag, self.transfer_tag, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn)
        return _packed(_TEXT_RESPONSE, Opcode.NOP_IN, _FINAL, self.data, 0, 0, *fields)


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """11.14. `reason`: 0 the session ends, 1 the connection, 2 the connection is to be recovered."""

    reason: int
    tag: int
    cid: int
    cmd_sn: int
    exp_stat_sn: int
    immediate: bool = True

    @classmethod
    def parse(cls, header: bytes, data: bytes) -> LogoutRequest:
        """Raises `Malformed`."""
        _whole(header, data, Opcode.LOGOUT)
        first, flags, _, _, _, *fields = _LOGOUT.unpack(header)
        return replace(cls(flags & 0x7F, *fields), immediate=bool(first & _IMMEDIATE))

    def build(self) -> bytes:
        """The bytes."""
        first = Opcode.LOGOUT | self.immediate * _IMMEDIATE
        fields = (self.tag, self.cid, self.cmd_sn, self.exp_stat_sn)
        return _packed(_LOGOUT, first, _FINAL | self.reason, b"", 0, 0, *fields)


@dataclass(frozen=True, slots=True)
class LogoutResponse:
    """11.15. `response`: 0 done, 1 no such connection, 2 no recovery, 3 it failed."""

    response: int
    tag: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    time2wait: int = 0
    time2retain: int = 0

    @classmethod
    def parse(cls, header: bytes, data: bytes) -> LogoutResponse:
        """Raises `Malformed`."""
        _whole(header, data, Opcode.LOGOUT_RESPONSE)
        _, _, response, _, _, *fields = _LOGOUT_RESPONSE.unpack(header)
        return cls(response, *fields)

    def build(self) -> bytes:
        """The bytes."""
        fields = (self.tag, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn, self.time2wait, self.time2retain)
        code = Opcode.LOGOUT_RESPONSE
        return _packed(_LOGOUT_RESPONSE, code, _FINAL, b"", self.response, 0, *fields)


@dataclass(frozen=True, slots=True)
class Reject:
    """11.17. `data`: the header of what was refused."""

    reason: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    data: bytes
    data_sn: int = 0

    @classmethod
    def parse(cls, header: bytes, data: bytes) -> Reject:
        """Raises `Malformed`."""
        _whole(header, data, Opcode.REJECT)
        _, _, reason, _, _, _, stat_sn, exp, most, data_sn = _REJECT.unpack(header)
        return cls(reason, stat_sn, exp, most, data, data_sn)

    def build(self) -> bytes:
        """The bytes."""
        fields = (NO_TAG, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn, self.data_sn)
        return _packed(_REJECT, Opcode.REJECT, _FINAL, self.data, self.reason, 0, *fields)


@dataclass(frozen=True, slots=True)
class AsyncMessage:
    """11.9. `event` 1 asks for a logout within `parameters[2]` seconds."""

    event: int
    stat_sn: int
    exp_cmd_sn: int
    max_cmd_sn: int
    code: int = 0
    parameters: tuple[int, int, int] = (0, 0, 0)
    lun: bytes = bytes(8)
    data: bytes = b""

    @classmethod
    def parse(cls, header: bytes, data: bytes) -> AsyncMessage:
        """Raises `Malformed`."""
        _whole(header, data, Opcode.ASYNC)
        _, _, _, _, _, lun, _, stat_sn, exp, most, event, code, *three = _ASYNC.unpack(header)
        return cls(event, stat_sn, exp, most, code, (three[0], three[1], three[2]), lun, data)

    def build(self) -> bytes:
        """The bytes."""
        numbers = (NO_TAG, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn, self.event, self.code)
        return _packed(_ASYNC, Opcode.ASYNC, _FINAL, self.data, 0, 0, self.lun, *numbers, *self.parameters)
