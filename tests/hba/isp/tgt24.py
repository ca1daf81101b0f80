# SPDX-License-Identifier: GPL-2.0-or-later
"""Target side of the ISP24xx: commands on the ATIO queue, CTIO type 7, exchanges."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ..fc import frames as fc
from ..fc.frames import Response
from ..fc.nport import TargetExchange
from ..vfio.dma import DmaFault
from . import iocb
from .chip import EntryDone
from .notices import CTIO_ABORTED, CTIO_LOGGED_OUT
from .queues import ENTRY

if TYPE_CHECKING:
    from .fw24 import Firmware24, Port24

DATA_OUT, DATA_IN, MODE_1, NO_REPLY, CONFIRM, TERMINATE, SEND_STATUS = (
    0x1,
    0x2,
    0x40,
    0x100,
    0x2000,
    0x4000,
    0x8000,
)
CTIO_OK, CTIO_BAD_EXCHANGE, CTIO_TIMEOUT, CTIO_DMA, CTIO_PORT_GONE = 0x01, 0x08, 0x0B, 0x10, 0x28
NO_TIMEOUT = 0xFFFF
ANY_HANDLE = 0xFFFF
"""Handle in a CTIO of a driver that does not know the port."""
ENDED = 4096
"""So many exchanges that have ended are remembered."""
CTIO_FIELDS = struct.Struct("<HHIHHI")


class Completed(Protocol):
    """Type of the function that ends a CTIO (a callback protocol)."""

    def __call__(self, status: int, moved: int = 0) -> None: ...


class Waiting:
    """A CTIO that waits for data or a confirmation; it ends once."""

    __slots__ = ("_completed", "_exchange", "_targets", "_timer")

    def __init__(
        self, targets: Target24, exchange: TargetExchange, completed: Completed, timeout: int = NO_TIMEOUT
    ) -> None:
        self._targets, self._exchange, self._completed = targets, exchange, completed
        targets.waiting.add(self)
        exchange.on_gone = self._gone
        self._timer = targets.after(timeout, self._timed_out) if timeout not in (0, NO_TIMEOUT) else None

    def end(self, status: int, moved: int = 0) -> None:
        """It is over; the second end does nothing."""
        if self not in self._targets.waiting:
            return
        self._targets.waiting.discard(self)
        self._exchange.on_gone = None
        if self._timer is not None:
            self._timer.cancel()
        self._completed(status, moved)

    def _gone(self) -> None:
        self.end(self._targets.why(self._exchange))

    def _timed_out(self) -> None:
        self._exchange.refuse_data()
        self.end(CTIO_TIMEOUT)


class Target24:
    """See module text."""

    def __init__(self, firmware: Firmware24) -> None:
        self._firmware = firmware
        self._chip = firmware.chip
        self.after = firmware.chip.after
        self._next = 0x10
        self.exchanges: dict[int, TargetExchange] = {}
        self._addresses: dict[TargetExchange, int] = {}
        self._homeless: dict[tuple[int, int], TargetExchange] = {}
        """Commands that found no exchange, by S_ID and OX_ID."""
        self._ended: dict[int, int] = {}
        """CTIO status for exchanges that events have ended."""
        self._cutting = 0
        self.waiting: set[Waiting] = set()

    def reset(self) -> None:
        """Forget everything."""
        self.exchanges.clear()
        self._addresses.clear()
        self._homeless.clear()
        self._ended.clear()
        self.waiting.clear()

    def __len__(self) -> int:
        """Exchanges in use."""
        return len(self.exchanges)

    # Exchanges and their addresses.

    def address(self) -> int:
        """A new exchange address."""
        self._next = self._next % 0x7FFFFFFF + 1
        return self._next

    def address_of(self, exchange: TargetExchange | None) -> int:
        """The address of an exchange, or the one that means none."""
        return self._addresses.get(exchange, iocb.UNKNOWN_EXCHANGE) if exchange else iocb.UNKNOWN_EXCHANGE

    def find(self, s_id: int, ox_id: int) -> TargetExchange | None:
        """The exchange with an OX_ID of a remote port."""
        return next((x for x in self._addresses if x.s_id == s_id and x.ox_id == ox_id), None)

    def _forget(self, exchange: TargetExchange) -> None:
        address = self._addresses.pop(exchange, None)
        if address is not None:
            self.exchanges.pop(address, None)
        exchange.port.forget(exchange)

    def forget_closed(self) -> None:
        """Exchanges that ended with a login or a link are free again."""
        for exchange in [x for x in self.exchanges.values() if not x.open]:
            self._forget(exchange)

    def drop(self, exchange: TargetExchange) -> None:
        """An exchange ends; a CTIO that still waits for something comes back."""
        self._forget(exchange)
        exchange.gone()

    def terminate(self, address: int) -> None:
        """End an exchange without a response."""
        exchange = self.exchanges.get(address)
        if exchange is not None:
            self.drop(exchange)

    def end_ctio(self, exchange: TargetExchange, status: int) -> None:
        """The CTIO that waits comes back; the exchange stays."""
        self._cutting = status
        exchange.stop_waiting()
        self._cutting = 0

    def cut(self, status: int, matches: Callable[[TargetExchange], bool]) -> None:
        """End exchanges; CTIOs for them, now and later, come back with a status."""
        self._cutting = status
        for address, exchange in list(self.exchanges.items()):
            if matches(exchange):
                self._ended[address] = status
                self.drop(exchange)
        self._cutting = 0
        while len(self._ended) > ENDED:
            del self._ended[next(iter(self._ended))]

    def why(self, exchange: TargetExchange) -> int:
        """The status of a CTIO whose exchange has just been cut off."""
        if self._cutting:
            return self._cutting
        if not exchange.port.online:
            return CTIO_PORT_GONE
        remote = exchange.port.remotes.get(exchange.s_id)
        logged_out = remote is None or not remote.plogi
        return CTIO_LOGGED_OUT if logged_out and self._chip.habits.logout_status else CTIO_ABORTED

    # Commands.

    def command_received(self, port: Port24, exchange: TargetExchange) -> None:
        """An FCP command: ATIO type 7."""
        if not self._chip.atio.length:
            exchange.respond(Response(fc.STATUS_FULL, residual=exchange.command.length))
        elif self._exhausted():
            self._without_exchange(port, exchange)
        else:
            address = self.address()
            self.exchanges[address] = exchange
            self._addresses[exchange] = address
            self._give(port, exchange, address)

    def _exhausted(self) -> bool:
        faults = self._chip.faults
        if faults.queue_full > 0:
            faults.queue_full -= 1
            return True
        limit = faults.exchanges or self._firmware.exchanges
        if not self._chip.habits.exchange_limit or len(self.exchanges) < limit:
            return False
        self.forget_closed()
        return len(self.exchanges) >= limit

    def _without_exchange(self, port: Port24, exchange: TargetExchange) -> None:
        """The driver has to answer, and knows the command by S_ID and OX_ID only."""
        if self._chip.habits.answers_full:
            exchange.respond(Response(fc.STATUS_FULL, residual=exchange.command.length))
            return
        for key in [key for key, known in self._homeless.items() if not known.open]:
            del self._homeless[key]
        self._homeless[exchange.s_id, exchange.ox_id] = exchange
        self._give(port, exchange, iocb.UNKNOWN_EXCHANGE)

    def _give(self, port: Port24, exchange: TargetExchange, address: int) -> None:
        try:
            self._chip.give_atio(self._atio(port, exchange, address))
        except DmaFault as err:
            self._chip.note(f"ATIO queue: {err}")
            self.drop(exchange)

    @staticmethod
    def _atio(port: Port24, exchange: TargetExchange, address: int) -> bytes:
        command = exchange.command.encode()
        length = len(command) + 24
        entries = -(-(8 + length) // ENTRY)
        head = struct.pack("<BBHI", iocb.ATIO_7, entries, length | exchange.command.attribute << 12, address)
        header = (
            bytes((fc.R_COMMAND,))
            + port.nport.port_id.to_bytes(3, "big")
            + b"\0"
            + exchange.s_id.to_bytes(3, "big")
            + bytes((fc.TYPE_FCP,))
            + fc.F_REQUEST.to_bytes(3, "big")
            + struct.pack(">BBHHHI", 0, 0, 0, exchange.ox_id, fc.NO_ID, 0)
        )
        return head + header + command

    # CTIOs.

    def ctio(self, entry: bytes, done: EntryDone) -> None:
        """CTIO type 7: move data, send status, or both."""
        (flags,) = struct.unpack_from("<H", entry, 26)
        exchange = self._exchange_of(entry, flags)
        queue = self._chip.answers

        def completed(status: int, moved: int = 0) -> None:
            if not (flags & NO_REPLY and status == CTIO_OK):
                self._chip.complete(_ctio_reply(entry, status), moved, queue)
            else:
                self._chip.take_requests()

        if exchange is None or not exchange.open:
            completed(self._status_of_none(entry))
        elif flags & TERMINATE:
            self.drop(exchange)
            completed(CTIO_OK)
        elif self._chip.faults.ctio_fails():
            completed(self._chip.faults.ctio_status)
        elif flags & MODE_1:
            self._status(entry, exchange, flags, completed)
        elif flags & DATA_OUT:
            self._fetch(entry, exchange, completed)
        else:
            self._data_in(entry, exchange, flags, completed)

    def _exchange_of(self, entry: bytes, flags: int) -> TargetExchange | None:
        """The exchange a CTIO is for; without one it can only be ended, not move data."""
        (address,) = struct.unpack_from("<I", entry, 20)
        if address != iocb.UNKNOWN_EXCHANGE:
            return self.exchanges.get(address)
        if not flags & (TERMINATE | SEND_STATUS) or flags & (DATA_IN | DATA_OUT):
            return None
        (ox_id,) = struct.unpack_from("<H", entry, 32)
        return self._homeless.pop((int.from_bytes(entry[16:19], "little"), ox_id), None)

    def _status_of_none(self, entry: bytes) -> int:
        """Status of a CTIO for an exchange that is not there (any more)."""
        (handle,) = struct.unpack_from("<H", entry, 8)
        (address,) = struct.unpack_from("<I", entry, 20)
        ended = self._ended.pop(address, CTIO_BAD_EXCHANGE)
        if handle == ANY_HANDLE or not self._chip.habits.logout_status or self._firmware.remote(handle):
            return ended
        return CTIO_LOGGED_OUT if self._firmware.ready else CTIO_PORT_GONE

    def _data_in(self, entry: bytes, exchange: TargetExchange, flags: int, completed: Completed) -> None:
        (number,) = struct.unpack_from("<H", entry, 12)
        residual, _, scsi, offset, _, length, _ = struct.unpack_from("<IHHIIII", entry, 28)
        moved = 0
        if flags & DATA_IN:
            segments = iocb.segments_64(entry, number, 52, 1) if number else []
            try:
                data = self._chip.bus.dma.gather(segments, 0, length)
            except DmaFault:
                completed(CTIO_DMA)
                return
            moved = len(data)
            exchange.send_data(offset, data)
        if flags & SEND_STATUS:
            response = Response(scsi & 0xFF, b"", _residual(scsi, residual), b"", bool(flags & CONFIRM))
            self._respond(exchange, response, completed, moved)
        else:
            completed(CTIO_OK, moved)

    def _status(self, entry: bytes, exchange: TargetExchange, flags: int, completed: Completed) -> None:
        sense_length, _, residual, _, scsi, info_length = CTIO_FIELDS.unpack_from(entry, 24)[:6]
        info_length &= 0xFFFF
        payload = iocb.swap(entry[40:64])
        info = payload[: min(info_length, 24)] if scsi & 0x100 else b""
        sense = payload[len(info) :][:sense_length] if scsi & 0x200 else b""
        response = Response(scsi & 0xFF, sense, _residual(scsi, residual), info, bool(flags & CONFIRM))
        self._respond(exchange, response, completed, 0)

    def _respond(
        self, exchange: TargetExchange, response: Response, completed: Completed, moved: int
    ) -> None:
        if not response.confirm:
            exchange.respond(response)
            self.drop(exchange)
            completed(CTIO_OK, moved)
            return
        waiting = Waiting(self, exchange, completed)

        def confirmed() -> None:
            self._forget(exchange)
            waiting.end(CTIO_OK)

        exchange.respond(response, confirmed)

    def _fetch(self, entry: bytes, exchange: TargetExchange, completed: Completed) -> None:
        timeout, number = struct.unpack_from("<HH", entry, 10)
        offset, _, length = struct.unpack_from("<III", entry, 36)
        segments = iocb.segments_64(entry, number, 52, 1) if number else []
        waiting = Waiting(
            self, exchange, completed, timeout if self._chip.habits.data_timeout else NO_TIMEOUT
        )

        def arrived(data: bytes) -> None:
            try:
                self._chip.bus.dma.scatter(segments, 0, data)
            except DmaFault:
                waiting.end(CTIO_DMA)
                return
            waiting.end(CTIO_OK, len(data))

        exchange.request_data(offset, length, arrived)


def _residual(scsi: int, count: int) -> int:
    return count if scsi & 0x800 else -count if scsi & 0x400 else 0


def _ctio_reply(entry: bytes, status: int) -> bytes:
    """The returned form of a CTIO."""
    result = bytearray(entry[:ENTRY])
    result[1] = 1
    struct.pack_into("<H", result, 8, status)
    result[24:26] = b"\0\0"
    return bytes(result)
