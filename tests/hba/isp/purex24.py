# SPDX-License-Identifier: GPL-2.0-or-later
"""Link services that the firmware of a 24xx passes to its driver, in both roles, if it asks for them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ..fc import frames as fc
from ..fc.nport import ElsRequest
from ..vfio.dma import Segment
from . import iocb
from .chip import COMPLETE, EntryDone, MailboxDone, long_address
from .queues import ENTRY

if TYPE_CHECKING:
    from .fw24 import Firmware24, Port24

ENABLE = 0x400
"""Firmware option 1 of mailbox command 0x38."""
PARAMETERS_ELS, MAP_SIZE = 0x5, 32
INSIDE, PER_CONTINUATION = 20, 60
HEADER = 24
ANY_HANDLE = 0xFFFF
ACCEPT, REJECT = 1, 2
WITHOUT_ANSWER = (fc.ELS_FPIN,)


class Purex24:
    """See module text."""

    def __init__(self, firmware: Firmware24) -> None:
        self._firmware = firmware
        self._chip = firmware.chip
        self._enabled = False
        self._wanted = bytes(MAP_SIZE)
        self._pending: dict[int, ElsRequest] = {}

    def reset(self) -> None:
        """Chip reset."""
        self._enabled, self._wanted = False, bytes(MAP_SIZE)
        self._pending.clear()

    def options(self, m: list[int], done: MailboxDone) -> None:
        """Set firmware options."""
        self._enabled = bool(m[1] & ENABLE)
        done(COMPLETE, {1: 0, 2: 0, 3: 0})

    def parameters(self, m: list[int], done: MailboxDone) -> None:
        """Set parameters; of their types only the map of link services has an effect."""
        if m[1] >> 8 == PARAMETERS_ELS:
            self._wanted = self._chip.bus.dma.read(long_address(m), MAP_SIZE)
        done(COMPLETE, {1: 0, 2: 0})

    def received(self, port: Port24, request: ElsRequest) -> bool:
        """Pass a request on; False: the driver does not want it."""
        code = request.code
        if not self._enabled or not self._wanted[code // 8] >> code % 8 & 1:
            return False
        address = self._firmware.targets.address()
        if code not in WITHOUT_ANSWER:
            self._pending[address] = request
        for entry in self._entries(port, request, address):
            self._chip.respond(entry)
        return True

    def _entries(self, port: Port24, request: ElsRequest, address: int) -> list[bytes]:
        frame, handle = request.frame, self._firmware.find_handle(port, request.s_id)
        payload = frame.payload
        rest = range(INSIDE, len(payload), PER_CONTINUATION)
        entry = bytearray(ENTRY)
        entry[0:2] = bytes((iocb.PUREX, 1 + len(rest)))
        entry[6] = port.index
        known = ANY_HANDLE if handle is None else handle
        struct.pack_into("<HHxxI", entry, 10, known, len(payload) + HEADER, address)
        entry[20:24] = frame.d_id.to_bytes(3, "little") + bytes((frame.r_ctl,))
        entry[24:28] = frame.s_id.to_bytes(3, "little") + b"\0"
        entry[28:32] = frame.f_ctl.to_bytes(3, "little") + bytes((frame.type,))
        struct.pack_into("<HH", entry, 36, frame.rx_id, frame.ox_id)
        entry[44:64] = iocb.swap_padded(payload, INSIDE)
        head = bytes((iocb.STATUS_CONTINUATION, 1, 0, 0))
        more = [head + iocb.swap_padded(payload[place:], PER_CONTINUATION) for place in rest]
        return [bytes(entry), *more]

    def answer(self, entry: bytes, done: EntryDone) -> None:
        """The driver's answer in a pass-through entry."""
        (address,) = struct.unpack_from("<I", entry, 16)
        (size,) = struct.unpack_from("<I", entry, 36)
        data: list[Segment] = [struct.unpack_from("<QI", entry, 40)]
        request = self._pending.pop(address, None)
        if request is not None:
            request.answer(self._chip.bus.dma.gather(data, 0, size))
        result = bytearray(entry[:ENTRY])
        result[1] = 1
        struct.pack_into("<H", result, 8, iocb.CS_IOCB_ERROR if request is None else iocb.CS_COMPLETE)
        result[32:48] = bytes(16)
        done(bytes(result))
