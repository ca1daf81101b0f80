# SPDX-License-Identifier: GPL-2.0-or-later
"""Entries that a driver of an ISP24xx makes, and a chip with such a driver; used by the unit tests."""

from __future__ import annotations

import struct

from .boards import make_chip
from .fc import frames as fc
from .fc.media import ArbitratedLoop, Switch
from .hostside import Driver2400
from .isp import iocb
from .isp.models import Settings
from .isp.regs24 import Isp2400
from .loop import Loop

WWPN = 0x210000E08B000001
TARGET = 0x5006016000000001
INITIATOR = 0x10000000C9000001
DATA = bytes(range(256)) * 16
INQUIRY = bytes((0x12, 0, 0, 0, 36, 0))
READ = bytes((0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0))
WRITE = bytes((0x2A, 0, 0, 0, 0, 8, 0, 0, 8, 0))
SENSE = bytes((0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0, 0, 0))


def build(
    model: str = "2432", medium_type: type[Switch] | type[ArbitratedLoop] = Switch, interrupt: str = "msix"
) -> tuple[Loop, Isp2400, Driver2400]:
    """A loop on virtual time, a chip on a medium, and its driver (not started)."""
    loop = Loop(virtual=True)
    chip = make_chip(
        loop, medium_type(loop), model, Settings(WWPN, WWPN ^ 1 << 56), "hba0", interrupt=interrupt
    )
    assert isinstance(chip, Isp2400)
    return loop, chip, Driver2400(loop, chip)


def login_entry(handle: int, port_id: int, flags: int = 0, vp: int = 0) -> bytes:
    """A login or logout entry."""
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.LOGIN, 1))
    struct.pack_into("<HHB", entry, 10, handle, flags, vp)
    entry[16:19] = port_id.to_bytes(3, "little")
    return bytes(entry)


def command_entry(
    nport: int,
    cdb: bytes,
    segments: list[tuple[int, int]],
    *,
    read: bool = True,
    lun: int = 0,
    handle: int = 7,
    timeout: int = 0,
) -> bytes:
    """A command type 7 entry with its continuations."""
    entry = bytearray(64)
    entry[0:2] = bytes((iocb.COMMAND_7, 1))
    struct.pack_into("<IHHH", entry, 4, handle, nport, timeout, len(segments))
    entry[16:24] = iocb.swap(fc.lun_bytes(lun))
    entry[24] = 2 if read else 1
    entry[28:44] = iocb.swap(cdb.ljust(16, b"\0"))
    struct.pack_into("<I", entry, 44, sum(length for _, length in segments))
    if segments:
        struct.pack_into("<QI", entry, 52, *segments[0])
    for base in range(1, len(segments), 5):
        more = bytearray(64)
        more[0:2] = bytes((iocb.CONTINUATION_64, 1))
        for index, segment in enumerate(segments[base : base + 5]):
            struct.pack_into("<QI", more, 4 + 12 * index, *segment)
        entry += more
        entry[1] += 1
    return bytes(entry)


class Status:
    """A status entry, read as the driver does."""

    def __init__(self, entry: bytes) -> None:
        self.handle, self.completion, self.ox_id, self.left = struct.unpack_from("<IHHI", entry, 4)
        self.scsi, self.residual, self.sense_length, self.info_length = struct.unpack_from("<HIII", entry, 22)
        data = iocb.swap(entry[36:64])
        self.info = data[: self.info_length]
        self.sense = data[self.info_length :][: self.sense_length]
