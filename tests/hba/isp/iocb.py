# SPDX-License-Identifier: GPL-2.0-or-later
"""Entry types and the parts of entries that several IOCBs share."""

from __future__ import annotations

import struct

from ..fc.frames import Response
from ..vfio.dma import Segment

STATUS, MARKER, STATUS_CONTINUATION = 0x03, 0x04, 0x10
COMMAND_32, COMMAND_64, COMMAND_7 = 0x11, 0x19, 0x18
CONTINUATION_32, CONTINUATION_64 = 0x02, 0x0A
PUREX = 0x51
TASK_MANAGEMENT, CT, ABORT, MAILBOX_ENTRY, LOGIN, ELS = 0x14, 0x29, 0x33, 0x39, 0x52, 0x53
VP_CONTROL, VP_CONFIG, REPORT_ID = 0x30, 0x31, 0x32
ATIO_7, CTIO_7, NOTIFY, NOTIFY_ACK, ABTS_RECEIVED, ABTS_RESPONSE = 0x06, 0x12, 0x0D, 0x0E, 0x54, 0x55
ENABLE_LUN, MODIFY_LUN, ATIO_2, CTIO_2, CTIO_3 = 0x0B, 0x0C, 0x16, 0x17, 0x1F

CS_COMPLETE, CS_DMA, CS_RESET, CS_ABORTED, CS_TIMEOUT = 0x00, 0x02, 0x04, 0x05, 0x06
CS_UNDERRUN, CS_PORT_UNAVAILABLE, CS_LOGGED_OUT, CS_QUEUE_FULL, CS_IOCB_ERROR = 0x15, 0x28, 0x29, 0x1C, 0x31

UNKNOWN_EXCHANGE = 0xFFFFFFFF
"""Exchange address of a command or an abort for which there is no exchange."""

ENTRY_BAD_TYPE, ENTRY_BAD_PARAMETER = 0x04, 0x08

_WORDS = {size: (struct.Struct(f"<{size}I"), struct.Struct(f">{size}I")) for size in (2, 4, 5, 6, 7, 15)}


def scsi_status(response: Response) -> int:
    """SCSI status of a status entry, with the bits that say what is valid beside it."""
    status = response.status
    if response.residual:
        status |= 0x800 if response.residual > 0 else 0x400
    if response.info:
        status |= 0x100
    if response.sense:
        status |= 0x200
    return status


def swap(data: bytes) -> bytes:
    """Reverse the bytes in each 32-bit word; the length must be one that occurs in an entry."""
    little, big = _WORDS[len(data) // 4]
    return big.pack(*little.unpack(data))


def swap_padded(data: bytes, size: int) -> bytes:
    """`swap` after cutting or padding to ``size``."""
    return swap(data[:size].ljust(size, b"\0"))


_ONE_64 = struct.Struct("<QI")


def segments_64(entry: bytes, number: int, place: int, inside: int) -> list[Segment]:
    """64-bit data segments: ``inside`` of them from ``place``, five in each continuation."""
    if number == 1:
        return [_ONE_64.unpack_from(entry, place)]
    return _collect(entry, number, place, inside, _ONE_64, 4, 5)


_ONE_32 = struct.Struct("<II")


def segments_32(entry: bytes, number: int, place: int, inside: int) -> list[Segment]:
    """32-bit data segments: ``inside`` of them from ``place``, seven in each continuation."""
    return _collect(entry, number, place, inside, _ONE_32, 8, 7)


def _collect(
    entry: bytes,
    number: int,
    place: int,
    inside: int,
    layout: struct.Struct,
    skip: int,
    per_continuation: int,
) -> list[Segment]:
    found: list[Segment] = []
    start, left = place, inside
    for base in range(0, len(entry), 64):
        if base:
            start, left = base + skip, per_continuation
        for index in range(min(left, number - len(found))):
            address, length = layout.unpack_from(entry, start + index * layout.size)
            found.append((address, length))
    return found
