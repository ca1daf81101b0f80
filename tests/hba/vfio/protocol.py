# SPDX-License-Identifier: GPL-2.0-or-later
"""vfio-user messages: layouts, parsing and building, without I/O."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import IntEnum

HEADER = struct.Struct("<HHIII")
HEADER_SIZE = HEADER.size
MAX_TRANSFER = 1 << 20
MAX_MESSAGE = HEADER_SIZE + 16 + MAX_TRANSFER
"""Longest message accepted: a region write of `MAX_TRANSFER` bytes."""
MAX_FDS = 16

FLAG_REPLY = 0x1
FLAG_TYPE_MASK = 0xF
FLAG_NO_REPLY = 0x10
FLAG_ERROR = 0x20

REGION_HEAD = struct.Struct("<QII")
DMA_MAP_BODY = struct.Struct("<IIQQQ")
DMA_UNMAP_BODY = struct.Struct("<IIQQ")
REGION_INFO_BODY = struct.Struct("<IIIIQQ")
IRQ_INFO_BODY = struct.Struct("<IIII")
SET_IRQS_BODY = struct.Struct("<IIIII")
DEVICE_INFO_BODY = struct.Struct("<IIII")

REGION_COUNT = 9
IRQ_COUNT = 5
REGION_CONFIG = 7
IRQ_INTX, IRQ_MSI, IRQ_MSIX = 0, 1, 2

REGION_READABLE, REGION_WRITABLE = 1, 2
IRQ_EVENTFD, IRQ_MASKABLE, IRQ_AUTOMASKED, IRQ_NORESIZE = 1, 2, 4, 8
DMA_READABLE, DMA_WRITABLE = 1, 2
UNMAP_ALL = 2
SET_DATA_NONE, SET_DATA_BOOL, SET_DATA_EVENTFD = 1, 2, 4
SET_MASK, SET_UNMASK, SET_TRIGGER = 8, 16, 32
DEVICE_FLAGS_RESET_PCI = 3


class Command(IntEnum):
    """Message types."""

    VERSION = 1
    DMA_MAP = 2
    DMA_UNMAP = 3
    GET_INFO = 4
    GET_REGION_INFO = 5
    GET_REGION_IO_FDS = 6
    GET_IRQ_INFO = 7
    SET_IRQS = 8
    REGION_READ = 9
    REGION_WRITE = 10
    DMA_READ = 11
    DMA_WRITE = 12
    RESET = 13
    REGION_WRITE_MULTI = 15


class ProtocolError(Exception):
    """The peer broke the protocol in a way that makes the rest of the stream meaningless."""


class RequestError(Exception):
    """A well-formed request that cannot be served; answered with an errno."""

    def __init__(self, errno: int, text: str) -> None:
        super().__init__(text)
        self.errno = errno


@dataclass(frozen=True, slots=True)
class IrqRequest:
    """SET_IRQS: what to do with ``count`` vectors from ``start`` of one interrupt type."""

    flags: int
    index: int
    start: int
    count: int
    data: bytes


def command_name(command: int) -> str:
    """Name of a message type, or its number if it is unknown."""
    try:
        return Command(command).name
    except ValueError:
        return f"command {command}"


def unpack(layout: struct.Struct, body: bytes, what: str) -> tuple[int, ...]:
    """Unpack the fixed part of a body; ProtocolError if the body is shorter."""
    if len(body) < layout.size:
        raise ProtocolError(f"{what} has {len(body)} bytes of body, at least {layout.size} are needed")
    return layout.unpack_from(body)


def reply(message_id: int, command: int, body: bytes = b"") -> bytes:
    """A successful reply."""
    return HEADER.pack(message_id, command, HEADER_SIZE + len(body), FLAG_REPLY, 0) + body


def error_reply(message_id: int, command: int, errno: int) -> bytes:
    """A reply that carries an error number."""
    return HEADER.pack(message_id, command, HEADER_SIZE, FLAG_REPLY | FLAG_ERROR, errno)


def version_reply(body: bytes) -> bytes:
    """Check the peer's VERSION proposal and answer it; ProtocolError if it cannot be read."""
    if len(body) < 4:
        raise ProtocolError("VERSION is too short for its numbers")
    major, minor = struct.unpack_from("<HH", body)
    if major != 0:
        raise ProtocolError(f"vfio-user version {major}.{minor} is not supported, only 0.x is")
    text = body[4:].rstrip(b"\0")
    try:
        capabilities = json.loads(text) if text else {}
    except (ValueError, RecursionError) as err:
        raise ProtocolError(f"VERSION carries malformed JSON: {err}") from err
    if not isinstance(capabilities, dict):
        raise ProtocolError("VERSION carries JSON that is not an object")
    own = {"capabilities": {"max_msg_fds": MAX_FDS, "max_data_xfer_size": MAX_TRANSFER, "pgsizes": 4096}}
    return struct.pack("<HH", 0, minor) + json.dumps(own).encode() + b"\0"


def irq_request(body: bytes) -> IrqRequest:
    """Parse SET_IRQS; ProtocolError if it is too short."""
    _, flags, index, start, number = unpack(SET_IRQS_BODY, body, "SET_IRQS")
    return IrqRequest(flags, index, start, number, body[SET_IRQS_BODY.size :])
