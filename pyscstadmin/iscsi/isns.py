# SPDX-License-Identifier: GPL-2.0-or-later
"""Formats of iSNSP (RFC 4171 clause 5): messages of attributes, in one PDU or several. Pure.

A message is read from PDUs by `Assembly`, and made into them by `Message.pdus`. All lengths are compared with
what there is before anything is looked at.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address, IPv6Address

__all__ = [
    "DELIMITER",
    "HEADER",
    "MESSAGE_MAX",
    "PAYLOAD_MAX",
    "PORT",
    "Assembly",
    "Attribute",
    "Flag",
    "Function",
    "Header",
    "Malformed",
    "Message",
    "NodeType",
    "Status",
    "Tag",
    "meaning",
]

PORT = 3205
VERSION = 1
HEADER = 12
# Of one PDU; and of a whole message, so that nobody can make us keep what he likes.
PAYLOAD_MAX, MESSAGE_MAX = 0xFFFC, 1 << 22

_HEADER = struct.Struct(">HHHHHH")
_TAG = struct.Struct(">II")
_ANSWER = 0x8000


class Malformed(ValueError):
    """These bytes are no such message."""


class Function(IntEnum):
    """What is asked for; answers have bit 15."""

    DEV_ATTR_REG = 0x0001
    DEV_ATTR_QRY = 0x0002
    DEV_GET_NEXT = 0x0003
    DEV_DEREG = 0x0004
    SCN_REG = 0x0005
    SCN_DEREG = 0x0006
    SCN_EVENT = 0x0007
    SCN = 0x0008
    ESI = 0x000D
    HEARTBEAT = 0x000E


class Flag(IntFlag):
    """Of a PDU."""

    CLIENT = 0x8000
    SERVER = 0x4000
    AUTHENTICATION = 0x2000
    REPLACE = 0x1000
    LAST = 0x0800
    FIRST = 0x0400


class Status(IntEnum):
    """Of an answer (5.4)."""

    SUCCESSFUL = 0
    UNKNOWN_ERROR = 1
    MESSAGE_FORMAT_ERROR = 2
    INVALID_REGISTRATION = 3
    INVALID_QUERY = 5
    SOURCE_UNKNOWN = 6
    SOURCE_ABSENT = 7
    SOURCE_UNAUTHORIZED = 8
    NO_SUCH_ENTRY = 9
    VERSION_NOT_SUPPORTED = 10
    INTERNAL_ERROR = 11
    BUSY = 12
    OPTION_NOT_UNDERSTOOD = 13
    INVALID_UPDATE = 14
    MESSAGE_NOT_SUPPORTED = 15
    SCN_EVENT_REJECTED = 16
    SCN_REGISTRATION_REJECTED = 17
    ATTRIBUTE_NOT_IMPLEMENTED = 18
    FC_DOMAIN_ID_NOT_AVAILABLE = 19
    FC_DOMAIN_ID_NOT_ALLOCATED = 20
    ESI_NOT_AVAILABLE = 21
    INVALID_DEREGISTRATION = 22
    REGISTRATION_FEATURE_NOT_SUPPORTED = 23


def meaning(status: int) -> str:
    """A status in words, with its number."""
    known = status in set(Status)
    return f"{Status(status).name.replace('_', ' ').lower() if known else 'status'} ({status})"


class Tag(IntEnum):
    """Attributes (6.1): those that iSCSI has to do with."""

    DELIMITER = 0
    ENTITY = 1
    PROTOCOL = 2
    MANAGEMENT_ADDRESS = 3
    TIMESTAMP = 4
    VERSIONS = 5
    PERIOD = 6
    ENTITY_INDEX = 7
    PORTAL_ADDRESS = 16
    PORTAL_PORT = 17
    PORTAL_NAME = 18
    ESI_INTERVAL = 19
    ESI_PORT = 20
    PORTAL_INDEX = 22
    SCN_PORT = 23
    PORTAL_SECURITY = 27
    NODE = 32
    NODE_TYPE = 33
    NODE_ALIAS = 34
    NODE_SCN_BITMAP = 35
    NODE_INDEX = 36
    NODE_AUTH = 42
    GROUP_NODE = 48
    GROUP_ADDRESS = 49
    GROUP_PORT = 50
    GROUP_TAG = 51
    GROUP_INDEX = 52


class NodeType(IntFlag):
    """Of a storage node (6.4.2)."""

    TARGET = 1
    INITIATOR = 2
    CONTROL = 4


# What PROTOCOL says of an entity.
ISCSI = 2

# How long the values of tags may be, in bytes; the smallest is beside 0, which is no value.
_NUMBERS = (2, 5, 6, 7, 17, 19, 20, 22, 23, 27, 33, 35, 36, 50, 51, 52)
_ADDRESSES = (3, 16, 49)
_TEXTS = (1, 18, 34, 42)
_NAMES = (32, 48)
_SIZES: dict[int, tuple[int, int]] = {
    0: (0, 0),
    4: (8, 8),
    **dict.fromkeys(_NUMBERS, (4, 4)),
    **dict.fromkeys(_ADDRESSES, (16, 16)),
    **dict.fromkeys(_TEXTS, (4, 256)),
    **dict.fromkeys(_NAMES, (4, 224)),
}


@dataclass(frozen=True, slots=True)
class Attribute:
    """A tag and its value as it is sent. One without a value asks for it, or says that there is none."""

    tag: int
    value: bytes = b""

    @classmethod
    def number(cls, tag: int, value: int) -> Attribute:
        """Of 32 bits."""
        return cls(tag, value.to_bytes(4, "big"))

    @classmethod
    def text(cls, tag: int, value: str) -> Attribute:
        """With a NUL at its end, and more up to a multiple of 4."""
        data = value.encode() + b"\0"
        return cls(tag, data + bytes(-len(data) % 4))

    @classmethod
    def address(cls, tag: int, ip: IPv4Address | IPv6Address) -> Attribute:
        """Those of IPv4 as IPv6 has them."""
        mapped = b"" if ip.version == 6 else bytes(10) + b"\xff\xff"
        return cls(tag, mapped + ip.packed)

    def build(self) -> bytes:
        """As it is sent."""
        self.check()
        return _TAG.pack(self.tag, len(self.value)) + self.value

    def check(self) -> None:
        """Raises `Malformed` if the value cannot be one of this tag."""
        low, high = _SIZES.get(self.tag, (0, MESSAGE_MAX))
        length = len(self.value)
        if length % 4 or (length and not low <= length <= high):
            raise Malformed(f"attribute {self.tag} has {length} bytes")

    def as_number(self) -> int:
        """Raises `Malformed`."""
        if len(self.value) != 4:
            raise Malformed(f"attribute {self.tag} is no number")
        return int.from_bytes(self.value, "big")

    def as_text(self) -> str:
        """Raises `Malformed`."""
        text, nul, rest = self.value.partition(b"\0")
        if not nul or rest.strip(b"\0"):
            raise Malformed(f"attribute {self.tag} is no text")
        try:
            return text.decode()
        except UnicodeDecodeError:
            raise Malformed(f"attribute {self.tag} is no UTF-8") from None

    def as_address(self) -> IPv4Address | IPv6Address:
        """Raises `Malformed`."""
        if len(self.value) != 16:
            raise Malformed(f"attribute {self.tag} is no address")
        ip = IPv6Address(self.value)
        return ip.ipv4_mapped or ip


DELIMITER = Attribute(Tag.DELIMITER)


def _attributes(data: bytes) -> tuple[Attribute, ...]:
    found, at = [], 0
    while at < len(data):
        if len(data) - at < _TAG.size:
            raise Malformed(f"{len(data) - at} bytes behind the last attribute")
        tag, length = _TAG.unpack_from(data, at)
        at += _TAG.size
        if length > len(data) - at:
            raise Malformed(f"attribute {tag} says {length} bytes, there are {len(data) - at}")
        found.append(Attribute(tag, data[at : at + length]))
        found[-1].check()
        at += length
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Header:
    """Of a PDU: what comes first, and says how much follows."""

    function: int
    length: int
    flags: Flag
    transaction: int
    sequence: int

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Raises `Malformed`."""
        if len(data) != HEADER:
            raise Malformed(f"{len(data)} bytes of a header")
        version, function, length, flags, transaction, sequence = _HEADER.unpack(data)
        if version != VERSION:
            raise Malformed(f"version {version}")
        if length % 4:
            raise Malformed(f"{length} bytes of payload")
        # One that is there is behind the payload, and nobody has said how long it is.
        if flags & Flag.AUTHENTICATION:
            raise Malformed("an authentication block")
        return cls(function, length, Flag(flags & 0xFC00), transaction, sequence)

    def build(self) -> bytes:
        """As it is sent."""
        fields = (self.function, self.length, self.flags, self.transaction, self.sequence)
        return _HEADER.pack(VERSION, *fields)


@dataclass(frozen=True, slots=True)
class Message:
    """A request, or an answer: then `status` is there. `flags`: who sends it, and REPLACE."""

    function: int
    attributes: tuple[Attribute, ...] = ()
    flags: Flag = Flag.CLIENT
    status: int | None = None
    transaction: int = 0

    @property
    def answers(self) -> int:
        """What was asked, of an answer."""
        return self.function & ~_ANSWER

    def parts(self) -> tuple[tuple[Attribute, ...], tuple[Attribute, ...]]:
        """What is before the delimiter (source and key) and behind it. Raises `Malformed`."""
        if DELIMITER not in self.attributes:
            raise Malformed("no delimiter")
        at = self.attributes.index(DELIMITER)
        return self.attributes[:at], self.attributes[at + 1 :]

    def first(self, tag: int) -> Attribute | None:
        """The first attribute that has that tag and a value."""
        return next((one for one in self.attributes if one.tag == tag and one.value), None)

    def payload(self) -> bytes:
        """All of it."""
        status = b"" if self.status is None else self.status.to_bytes(4, "big")
        return status + b"".join(attribute.build() for attribute in self.attributes)

    def pdus(self, room: int = PAYLOAD_MAX) -> bytes:
        """As it is sent: in PDUs with `room` for so many bytes each, a multiple of 4."""
        data = self.payload()
        if len(data) > MESSAGE_MAX:
            raise Malformed(f"a message of {len(data)} bytes")
        cuts = range(0, max(len(data), 1), room)
        return b"".join(self._pdu(data[at : at + room], number, len(cuts)) for number, at in enumerate(cuts))

    def _pdu(self, piece: bytes, number: int, count: int) -> bytes:
        flags = self.flags
        flags |= Flag.FIRST if number == 0 else Flag(0)
        flags |= Flag.LAST if number == count - 1 else Flag(0)
        return Header(self.function, len(piece), flags, self.transaction, number).build() + piece


class Assembly:
    """Makes a message of PDUs that come one after the other."""

    def __init__(self) -> None:
        self._headers: list[Header] = []
        self._payload = bytearray()

    def add(self, header: Header, payload: bytes) -> Message | None:
        """The message, with its last PDU. Raises `Malformed`."""
        self._follows(header, payload)
        self._headers.append(header)
        self._payload += payload
        if not header.flags & Flag.LAST:
            return None
        message = _message(self._headers[0], bytes(self._payload))
        self._headers.clear()
        self._payload.clear()
        return message

    def _follows(self, header: Header, payload: bytes) -> None:
        if header.length != len(payload):
            raise Malformed(f"{len(payload)} bytes of payload, {header.length} announced")
        if len(self._payload) + len(payload) > MESSAGE_MAX:
            raise Malformed(f"more than {MESSAGE_MAX} bytes")
        if bool(header.flags & Flag.FIRST) == bool(self._headers):
            raise Malformed("a message begins within another" if self._headers else "no message has begun")
        if header.sequence != len(self._headers):
            raise Malformed(f"PDU {header.sequence} where {len(self._headers)} was due")
        first = self._headers[0] if self._headers else header
        if (header.function, header.transaction) != (first.function, first.transaction):
            raise Malformed("a PDU of another message")


def _message(first: Header, payload: bytes) -> Message:
    status = None
    if first.function & _ANSWER:
        if len(payload) < 4:
            raise Malformed("an answer without a status")
        status, payload = int.from_bytes(payload[:4], "big"), payload[4:]
    flags = first.flags & (Flag.CLIENT | Flag.SERVER | Flag.REPLACE)
    return Message(first.function, _attributes(payload), flags, status, first.transaction)
