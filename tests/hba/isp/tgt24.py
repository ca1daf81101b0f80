# SPDX-License-Identifier: GPL-2.0-or-later
"""Target side of the ISP24xx: ATIO queue, CTIO type 7, immediate notifies, aborts."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..fc import frames as fc
from ..fc.frames import Response
from ..fc.nport import AbortRequest, ElsRequest, TargetExchange
from ..vfio.dma import DmaFault
from . import iocb
from .chip import ENTRY, EntryDone

if TYPE_CHECKING:
    from .fw24 import Firmware24, Port24

NOTIFY_ELS, NOTIFY_SRR, NOTIFY_LIP_RESET = 0x46, 0x45, 0x0E
ACK_TERMINATE = 0x8
UNKNOWN_EXCHANGE = 0xFFFFFFFF
DATA_OUT, DATA_IN, MODE_1, NO_REPLY, CONFIRM, TERMINATE, SEND_STATUS = (
    0x1,
    0x2,
    0x40,
    0x100,
    0x2000,
    0x4000,
    0x8000,
)
CTIO_OK, CTIO_ABORTED, CTIO_BAD_EXCHANGE, CTIO_TIMEOUT, CTIO_DMA, CTIO_PORT_GONE = (
    0x01,
    0x02,
    0x08,
    0x0B,
    0x10,
    0x28,
)
NO_TIMEOUT = 0xFFFF
ABTS_NOT_TERMINATED = 0x1E
ABTS_TERMINATE = 0x1
TO_DRIVER = (fc.ELS_PLOGI, fc.ELS_PRLI, fc.ELS_LOGO, fc.ELS_PRLO, fc.ELS_TPRLO, fc.ELS_PDISC, fc.ELS_ADISC)
CTIO_FIELDS = struct.Struct("<HHIHHI")
FULL = Response(fc.STATUS_FULL)


class Target24:
    """See module text."""

    def __init__(self, firmware: Firmware24) -> None:
        self._firmware = firmware
        self._chip = firmware.chip
        self._next = 0x10
        self.exchanges: dict[int, TargetExchange] = {}
        self._addresses: dict[TargetExchange, int] = {}
        self._els: dict[int, tuple[Port24, ElsRequest]] = {}
        self._aborts: dict[int, AbortRequest] = {}

    def reset(self) -> None:
        """Forget everything."""
        self.exchanges.clear()
        self._addresses.clear()
        self._els.clear()
        self._aborts.clear()

    def _address(self) -> int:
        self._next = self._next % 0x7FFFFFFF + 1
        return self._next

    # Link services to the driver.

    def els_received(self, port: Port24, request: ElsRequest) -> bool:
        """Pass a link service request on as an immediate notify; False if the firmware answers it itself."""
        if request.code == fc.ELS_SRR and request.frame.r_ctl == fc.R_FC4_REQUEST:
            self._srr(port, request)
            return True
        if request.code not in TO_DRIVER or not self._chip.atio.length:
            return False
        if request.code != fc.ELS_PLOGI and request.s_id not in port.nport.remotes:
            return False
        self._notify_els(port, request)
        return True

    def _notify(self, port: Port24, port_id: int, status: int) -> bytearray:
        entry = bytearray(ENTRY)
        entry[0:2] = bytes((iocb.NOTIFY, 1))
        struct.pack_into("<H", entry, 8, self._firmware.handle_for(port, port_id) if port_id else 0xFFFF)
        struct.pack_into("<H", entry, 16, status)
        entry[51] = port.index
        entry[56:59] = port_id.to_bytes(3, "little")
        return entry

    def _notify_els(self, port: Port24, request: ElsRequest) -> None:
        entry = self._notify(port, request.s_id, NOTIFY_ELS)
        payload = request.frame.payload
        remote = port.nport.remotes.get(request.s_id)
        wwpn, wwnn = (remote.wwpn, remote.wwnn) if remote else (0, 0)
        if request.code in (fc.ELS_PLOGI, fc.ELS_PDISC):
            wwpn, wwnn = fc.login_names(payload)
        address = self._address()
        entry[18] = request.code
        struct.pack_into("<I", entry, 20, address)
        if request.code == fc.ELS_PRLI:
            struct.pack_into("<H", entry, 32, fc.prli_service(payload) & 0xFFFF)
        else:
            struct.pack_into(">Q", entry, 32, wwnn)
        struct.pack_into(">Q", entry, 40, wwpn)
        struct.pack_into("<H", entry, 62, request.frame.ox_id)
        self._els[address] = (port, request)
        self._give(entry)

    def _srr(self, port: Port24, request: ElsRequest) -> None:
        payload = request.frame.payload.ljust(16, b"\0")
        ox_id, rx_id, offset, unit = struct.unpack_from(">HHIB", payload, 4)
        exchange = next((x for x in self._addresses if x.s_id == request.s_id and x.ox_id == ox_id), None)
        if exchange is None:
            request.refuse(fc.REASON_LOGICAL, fc.EXPLAIN_BAD_EXCHANGE)
            return
        entry = self._notify(port, request.s_id, NOTIFY_SRR)
        address = self._addresses[exchange]
        struct.pack_into("<H", entry, 14, rx_id)
        struct.pack_into("<IIHH", entry, 20, address, offset, unit, ox_id)
        struct.pack_into("<H", entry, 62, ox_id)
        self._els[address] = (port, request)
        self._give(entry)

    def _give(self, entry: bytearray) -> None:
        try:
            self._chip.give_atio(bytes(entry))
        except DmaFault as err:
            self._chip.note(f"ATIO queue: {err}")

    def notify_ack(self, entry: bytes, done: EntryDone) -> None:
        """The driver's answer to a notify: the link service request is answered now."""
        (flags,) = struct.unpack_from("<H", entry, 12)
        status, _, _, address = struct.unpack_from("<HBBI", entry, 16)
        pending = self._els.pop(address, None) if status in (NOTIFY_ELS, NOTIFY_SRR) else None
        if pending is not None:
            port, request = pending
            if flags & ACK_TERMINATE:
                request.refuse(fc.REASON_UNABLE)
            elif status == NOTIFY_SRR:
                self._answer_srr(entry, request)
            else:
                port.nport.answer_els(request)
        result = bytearray(entry[:ENTRY])
        result[1] = 1
        struct.pack_into("<H", result, 16, 1)
        done(bytes(result))

    @staticmethod
    def _answer_srr(entry: bytes, request: ElsRequest) -> None:
        if entry[30] & 1:
            request.refuse(entry[54], entry[53])
        else:
            request.answer(fc.LS_ACC)

    # Commands.

    def command_received(self, port: Port24, exchange: TargetExchange) -> None:
        """An FCP command: ATIO type 7, or TASK SET FULL when there are no resources."""
        faults = self._chip.faults
        if faults.queue_full > 0 or not self._chip.atio.length:
            faults.queue_full = max(0, faults.queue_full - 1)
            exchange.respond(Response(fc.STATUS_FULL, residual=exchange.command.length))
            return
        address = self._address()
        self.exchanges[address] = exchange
        self._addresses[exchange] = address
        try:
            self._chip.give_atio(self._atio(port, exchange, address))
        except DmaFault as err:
            self._chip.note(f"ATIO queue: {err}")
            self._drop(exchange)

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

    def _drop(self, exchange: TargetExchange) -> None:
        address = self._addresses.pop(exchange, None)
        if address is not None:
            self.exchanges.pop(address, None)
        exchange.port.forget(exchange)
        # A CTIO that still waits for data comes back now.
        exchange.gone()

    def terminate(self, address: int) -> None:
        """End an exchange without a response."""
        exchange = self.exchanges.get(address)
        if exchange is not None:
            self._drop(exchange)

    def ctio(self, entry: bytes, done: EntryDone) -> None:
        """CTIO type 7: move data, send status, or both."""
        (address,) = struct.unpack_from("<I", entry, 20)
        (flags,) = struct.unpack_from("<H", entry, 26)
        exchange = self.exchanges.get(address)

        def completed(status: int, moved: int = 0) -> None:
            if not (flags & NO_REPLY and status == CTIO_OK):
                self._chip.complete(_ctio_reply(entry, status), moved)

        if exchange is None or not exchange.open:
            completed(CTIO_BAD_EXCHANGE)
        elif flags & TERMINATE:
            self._drop(exchange)
            completed(CTIO_OK)
        elif flags & MODE_1:
            self._status(entry, exchange, flags, completed)
        elif flags & DATA_OUT:
            self._fetch(entry, exchange, completed)
        else:
            self._data_in(entry, exchange, flags, completed)

    def _data_in(
        self, entry: bytes, exchange: TargetExchange, flags: int, completed: Callable[..., None]
    ) -> None:
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
            self._respond(exchange, flags, _residual(scsi, residual), scsi & 0xFF, b"", b"", completed, moved)
        else:
            completed(CTIO_OK, moved)

    def _status(
        self, entry: bytes, exchange: TargetExchange, flags: int, completed: Callable[..., None]
    ) -> None:
        sense_length, _, residual, _, scsi, info_length = CTIO_FIELDS.unpack_from(entry, 24)[:6]
        info_length &= 0xFFFF
        payload = iocb.swap(entry[40:64])
        info = payload[: min(info_length, 24)] if scsi & 0x100 else b""
        sense = payload[len(info) :][:sense_length] if scsi & 0x200 else b""
        self._respond(exchange, flags, _residual(scsi, residual), scsi & 0xFF, sense, info, completed, 0)

    def _respond(
        self,
        exchange: TargetExchange,
        flags: int,
        residual: int,
        status: int,
        sense: bytes,
        info: bytes,
        completed: Callable[..., None],
        moved: int,
    ) -> None:
        confirm = bool(flags & CONFIRM)
        response = Response(status, sense, residual, info, confirm)
        if confirm:
            exchange.on_gone = lambda: completed(CTIO_ABORTED)
            exchange.respond(response, lambda: self._confirmed(exchange, completed))
            return
        exchange.respond(response)
        self._drop(exchange)
        completed(CTIO_OK, moved)

    def _confirmed(self, exchange: TargetExchange, completed: Callable[..., None]) -> None:
        exchange.on_gone = None
        self._drop(exchange)
        completed(CTIO_OK)

    def _fetch(self, entry: bytes, exchange: TargetExchange, completed: Callable[..., None]) -> None:
        timeout, number = struct.unpack_from("<HH", entry, 10)
        offset, _, length = struct.unpack_from("<III", entry, 36)
        segments = iocb.segments_64(entry, number, 52, 1) if number else []
        waiting = True

        def lost(status: int) -> None:
            nonlocal waiting
            if waiting:
                waiting = False
                exchange.on_gone = None
                completed(status)

        exchange.on_gone = lambda: lost(CTIO_ABORTED if self._firmware.ready else CTIO_PORT_GONE)
        if timeout not in (0, NO_TIMEOUT):
            self._chip.after(timeout, lambda: lost(CTIO_TIMEOUT))

        def arrived(data: bytes) -> None:
            nonlocal waiting
            if not waiting:
                return
            waiting = False
            exchange.on_gone = None
            try:
                self._chip.bus.dma.scatter(segments, 0, data)
            except DmaFault:
                completed(CTIO_DMA)
                return
            completed(CTIO_OK, len(data))

        exchange.request_data(offset, length, arrived)

    # Aborts.

    def abort_received(self, port: Port24, abort: AbortRequest) -> None:
        """ABTS: an entry on the response queue; the driver terminates the exchange and answers."""
        address = self._address()
        self._aborts[address] = abort
        frame = abort.frame
        entry = bytearray(ENTRY)
        entry[0:2] = bytes((iocb.ABTS_RECEIVED, 1))
        struct.pack_into("<H", entry, 10, self._firmware.handle_for(port, frame.s_id))
        entry[14] = port.index
        struct.pack_into("<I", entry, 16, address)
        entry[20:24] = frame.d_id.to_bytes(3, "little") + bytes((frame.r_ctl,))
        entry[24:28] = frame.s_id.to_bytes(3, "little") + b"\0"
        entry[28:32] = frame.f_ctl.to_bytes(3, "little") + bytes((frame.type,))
        struct.pack_into("<HH", entry, 36, frame.rx_id, frame.ox_id)
        known = self._addresses.get(abort.exchange, UNKNOWN_EXCHANGE) if abort.exchange else UNKNOWN_EXCHANGE
        struct.pack_into("<I", entry, 60, known)
        self._chip.respond(bytes(entry))
        if abort.exchange is not None:
            # Data of an aborted exchange never comes: a CTIO that waits for it ends now, behind the ABTS.
            abort.exchange.stop_waiting()

    def abts_response(self, entry: bytes, done: EntryDone) -> None:
        """The driver's answer to ABTS; the exchange has to be terminated before (or by the flag)."""
        (flags,) = struct.unpack_from("<H", entry, 12)
        (address,) = struct.unpack_from("<I", entry, 16)
        abort = self._aborts.get(address)
        result = bytearray(entry[:ENTRY])
        result[1] = 1
        struct.pack_into("<HH", result, 8, 0, int.from_bytes(entry[10:12], "little"))
        exchange = abort.exchange if abort else None
        if abort is None:
            struct.pack_into("<H", result, 8, iocb.CS_IOCB_ERROR)
        elif entry[23] == fc.R_BA_ACC and exchange in self._addresses and not flags & ABTS_TERMINATE:
            struct.pack_into("<H", result, 8, iocb.CS_IOCB_ERROR)
            struct.pack_into("<I", result, 52, ABTS_NOT_TERMINATED)
        else:
            self._finish_abort(address, abort, entry[23] == fc.R_BA_ACC, (entry[46], entry[45]))
        done(bytes(result))

    def _finish_abort(self, address: int, abort: AbortRequest, accept: bool, reason: tuple[int, int]) -> None:
        del self._aborts[address]
        if not accept:
            abort.refuse(reason[0] or fc.REASON_UNABLE, reason[1])
            return
        if abort.exchange is not None:
            self._drop(abort.exchange)
        abort.accept()


def _residual(scsi: int, count: int) -> int:
    return count if scsi & 0x800 else -count if scsi & 0x400 else 0


def _ctio_reply(entry: bytes, status: int) -> bytes:
    """The returned form of a CTIO."""
    result = bytearray(entry[:ENTRY])
    result[1] = 1
    struct.pack_into("<H", result, 8, status)
    result[24:26] = b"\0\0"
    return bytes(result)
