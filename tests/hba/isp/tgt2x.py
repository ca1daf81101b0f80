# SPDX-License-Identifier: GPL-2.0-or-later
"""Target side of the ISP2x00.

Enable LUN, ATIO type 2, CTIO types 2 and 3, notifies, resource counts, fast post.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..fc import frames as fc
from ..fc.frames import Response
from ..fc.nport import AbortRequest, ElsRequest, TargetExchange
from ..vfio.dma import DmaFault, Segment
from . import iocb, notices
from .chip import EntryDone
from .models import Family
from .queues import ENTRY

if TYPE_CHECKING:
    from .fw2x import Firmware2x

LUN_OK, LUN_ERROR, LUN_INVALID, LUN_NO_CAPABILITY, LUN_ALREADY = 0x01, 0x04, 0x06, 0x16, 0x3E
ADD_COMMANDS, SUBTRACT_COMMANDS, ADD_NOTIFIES, SUBTRACT_NOTIFIES = 0x01, 0x02, 0x44, 0x88
"""Notify operators: the two known drivers use different bits, both are taken."""

CDB_VALID = 0x3D
MODE_MASK, EXPLICIT_CONFIRM, DATA_MASK = 0x3, 0x20, 0xC0
DATA_IN, DATA_OUT, NO_DATA = 0x40, 0x80, 0xC0
GIVE_BACK, FAST_POST, CONFIRM, TERMINATE, SEND_STATUS = 0x100, 0x200, 0x2000, 0x4000, 0x8000

CTIO_OK, CTIO_ABORTED, CTIO_ERROR, CTIO_LUN_DISABLED, CTIO_BAD_EXCHANGE = 0x01, 0x02, 0x04, 0x06, 0x08
CTIO_TIMEOUT, CTIO_LIP_RESET, CTIO_DMA, CTIO_TARGET_RESET = 0x0B, 0x0E, 0x10, 0x17
CTIO_PORT_GONE, CTIO_LOGGED_OUT, CTIO_NOTIFY_OUTSTANDING, CTIO_LUN_RESET = 0x28, 0x29, 0x35, 0x48
DEFAULT_TIMEOUT, NO_TIMEOUT = 30, 0xFFFF

NOTIFY_LIP_RESET, NOTIFY_ABORT, NOTIFY_LOGOUT, NOTIFY_TASK, NOTIFY_SRR = 0x0E, 0x20, 0x29, 0x36, 0x45
ACK_RESPONSE_VALID, ACK_CLEAR_LIP = 0x10, 0x20
ACK_OK, ACK_INVALID = 0x01, 0x06
TASK_CODES = {0: 0, 1: 1, 2: 2, 4: 4}
"""ATIO task codes by FCP task attribute; anything else is untagged."""
UNTAGGED = 5

Finish = Callable[[int], None]


@dataclass(slots=True)
class Waiting:
    """A notify that the driver has not acknowledged; ``answer(code)`` ends what caused it."""

    initiator: int
    status: int
    answer: Callable[[bytes, bool], None] | None = None


class Target2x:
    """See module text."""

    def __init__(self, firmware: Firmware2x) -> None:
        self._firmware = firmware
        self._chip = firmware.chip
        self._scc = bool(firmware.chip.model.attributes & 0x02)
        self.enabled: set[int] = set()
        self.commands = 0
        """Command resources left."""
        self.notifies = 0
        self._limits = (0, 0)
        self._next = 0
        self._exchanges: dict[int, TargetExchange] = {}
        self._waiting: list[Waiting] = []
        self._ended: dict[int, int] = {}

    def reset(self) -> None:
        """Forget everything."""
        self.enabled.clear()
        self.commands = self.notifies = 0
        self._exchanges.clear()
        self._waiting.clear()
        self._ended.clear()

    def initialise(self, commands: int, notifies: int) -> None:
        """Resource counts of the control block; usually 0, the enable LUN entry brings them."""
        self.commands, self.notifies = commands, notifies

    # Enable and modify LUN.

    def _lun(self, entry: bytes) -> int:
        return 0 if self._scc else entry[8]

    def enable_lun(self, entry: bytes, done: EntryDone) -> None:
        """Enable with counts, disable with both counts 0."""
        lun, commands, notifies = self._lun(entry), entry[18], entry[19]
        if not self._firmware.target:
            status = LUN_NO_CAPABILITY
        elif commands or notifies:
            status = LUN_ALREADY if lun in self.enabled else LUN_OK
            if status == LUN_OK:
                self.enabled.add(lun)
                self.commands, self.notifies = commands, notifies
        elif lun in self.enabled:
            self.enabled.discard(lun)
            status = LUN_ERROR if self._exchanges else LUN_OK
        else:
            status = LUN_INVALID
        done(_with_byte(entry, 16, status))

    def modify_lun(self, entry: bytes, done: EntryDone) -> None:
        """Change the resource counts."""
        operators, commands, notifies = entry[10], entry[18], entry[19]
        if self._lun(entry) not in self.enabled:
            done(_with_byte(entry, 16, LUN_INVALID))
            return
        if operators & ADD_COMMANDS:
            self.commands += commands
        elif operators & SUBTRACT_COMMANDS:
            self.commands = max(0, self.commands - commands)
        if operators & ADD_NOTIFIES:
            self.notifies += notifies
        elif operators & SUBTRACT_NOTIFIES:
            self.notifies = max(0, self.notifies - notifies)
        done(_with_byte(entry, 16, LUN_OK))

    # Commands in.

    def command_received(self, exchange: TargetExchange) -> None:
        """ATIO or immediate notify; the firmware answers itself when nothing is enabled or left."""
        command = exchange.command
        if command.task:
            self._task(exchange)
        elif not self.enabled or (not self._scc and fc.lun_number(command.lun) not in self.enabled):
            exchange.respond(Response(fc.STATUS_BUSY, residual=command.length))
        elif self.commands <= 0 or self._chip.faults.queue_full > 0:
            self._chip.faults.queue_full = max(0, self._chip.faults.queue_full - 1)
            exchange.respond(Response(fc.STATUS_FULL, residual=command.length))
        else:
            self.commands -= 1
            self._chip.respond(self._atio(exchange, self._remember(exchange)))

    def _remember(self, exchange: TargetExchange) -> int:
        for _ in range(0xFFFF):
            self._next = self._next % 0xFFFE + 1
            if self._next not in self._exchanges:
                break
        self._exchanges[self._next] = exchange
        self._ended.pop(self._next, None)
        return self._next

    def _atio(self, exchange: TargetExchange, rx_id: int) -> bytes:
        command, firmware = exchange.command, self._firmware
        entry = bytearray(ENTRY)
        entry[0:2] = bytes((iocb.ATIO_2, 1))
        firmware.put_id(entry, firmware.id_for(exchange.s_id))
        struct.pack_into("<HHH", entry, 10, rx_id, 0, CDB_VALID)
        entry[16:20] = bytes(
            (
                command.reference,
                TASK_CODES.get(command.attribute, UNTAGGED),
                0,
                command.write | command.read << 1,
            )
        )
        entry[20:36] = command.cdb[:16]
        struct.pack_into("<I", entry, 36, command.length)
        lun = fc.lun_number(command.lun)
        if self._scc:
            struct.pack_into("<H", entry, 40, lun)
        else:
            entry[8] = lun
        remote = firmware.nport.remotes.get(exchange.s_id)
        if self._chip.model.family is Family.ISP2300 and remote is not None:
            struct.pack_into(">Q", entry, 42, remote.wwpn)
        struct.pack_into("<H", entry, 62, exchange.ox_id)
        return bytes(entry)

    # CTIO.

    def ctio(self, entry: bytes, done: EntryDone) -> None:
        """CTIO type 2 or 3."""
        rx_id, flags = struct.unpack_from("<HH", entry, 10)
        (handle,) = struct.unpack_from("<I", entry, 4)
        loop_id = self._firmware.read_id(entry)

        def finish(status: int) -> None:
            if status == CTIO_OK and flags & GIVE_BACK:
                self.commands += 1
            if status == CTIO_OK and flags & FAST_POST:
                self._chip.fast_ctio(handle)
                return
            result = bytearray(_with_byte(entry, 14, status))
            result[15] = 0
            self._chip.complete(bytes(result))

        exchange = self._exchanges.get(rx_id)
        if exchange is None or not exchange.open:
            finish(self._ended.pop(rx_id, CTIO_BAD_EXCHANGE))
        elif not self.enabled:
            finish(CTIO_LUN_DISABLED)
        elif any(waiting.initiator in (loop_id, -1) for waiting in self._waiting):
            finish(CTIO_NOTIFY_OUTSTANDING)
        elif flags & TERMINATE:
            self._drop(rx_id)
            finish(CTIO_OK)
        elif self._chip.faults.ctio_fails():
            finish(self._chip.faults.ctio_status)
        else:
            self._carry_out(entry, rx_id, exchange, flags, finish)

    def _carry_out(
        self, entry: bytes, rx_id: int, exchange: TargetExchange, flags: int, finish: Finish
    ) -> None:
        mode = flags & MODE_MASK
        try:
            if mode == 0 and flags & DATA_MASK == DATA_OUT:
                self._fetch(entry, exchange, rx_id, flags, finish)
            elif mode == 0:
                self._data_in(entry, exchange, rx_id, flags, finish)
            elif mode == 1:
                self._status(entry, exchange, rx_id, flags, finish)
            elif mode == 2:
                self._response_from_memory(entry, exchange, rx_id, finish)
            else:
                finish(CTIO_ERROR)
        except DmaFault as err:
            self._chip.note(f"CTIO: {err}")
            finish(CTIO_DMA)

    def _segments(self, entry: bytes) -> list[Segment]:
        (number,) = struct.unpack_from("<H", entry, 18)
        if not number:
            return []
        if entry[0] == iocb.CTIO_3:
            return iocb.segments_64(entry, number, 40, 2)
        return iocb.segments_32(entry, number, 40, 3)

    def _data_in(
        self, entry: bytes, exchange: TargetExchange, rx_id: int, flags: int, finish: Finish
    ) -> None:
        offset, residual = struct.unpack_from("<II", entry, 20)
        scsi, length = struct.unpack_from("<HI", entry, 34)
        if flags & DATA_MASK == DATA_IN:
            exchange.send_data(offset, self._chip.bus.dma.gather(self._segments(entry), 0, length))
        if flags & SEND_STATUS:
            response = Response(scsi & 0xFF, residual=_residual(scsi, residual))
            self._respond(exchange, rx_id, response, flags, finish)
        else:
            finish(CTIO_OK)

    def _status(self, entry: bytes, exchange: TargetExchange, rx_id: int, flags: int, finish: Finish) -> None:
        (residual,) = struct.unpack_from("<I", entry, 24)
        sense_length, scsi, info_length = struct.unpack_from("<HHH", entry, 32)
        payload = entry[38:64]
        info = payload[: min(info_length, 8)] if scsi & 0x100 else b""
        sense = payload[len(info) :][:sense_length] if scsi & 0x200 else b""
        response = Response(scsi & 0xFF, sense, _residual(scsi, residual), info)
        self._respond(exchange, rx_id, response, flags, finish)

    def _response_from_memory(
        self, entry: bytes, exchange: TargetExchange, rx_id: int, finish: Finish
    ) -> None:
        (length,) = struct.unpack_from("<I", entry, 36)
        raw = self._chip.bus.dma.gather(self._segments(entry), 0, length)
        try:
            response = Response.decode(raw)
        except ValueError:
            finish(CTIO_ERROR)
            return
        self._respond(exchange, rx_id, response, CONFIRM if response.confirm else 0, finish)

    def _respond(
        self, exchange: TargetExchange, rx_id: int, response: Response, flags: int, finish: Finish
    ) -> None:
        if not flags & (CONFIRM | EXPLICIT_CONFIRM):
            exchange.respond(response)
            self._drop(rx_id)
            finish(CTIO_OK)
            return
        wanted = Response(response.status, response.sense, response.residual, response.info, confirm=True)
        end = self._once(exchange, rx_id, flags, finish, int(DEFAULT_TIMEOUT))

        def confirmed() -> None:
            self._drop(rx_id)
            end(CTIO_OK)

        exchange.respond(wanted, confirmed)

    def _fetch(self, entry: bytes, exchange: TargetExchange, rx_id: int, flags: int, finish: Finish) -> None:
        (offset,) = struct.unpack_from("<I", entry, 20)
        (timeout,) = struct.unpack_from("<H", entry, 16)
        scsi, length = struct.unpack_from("<HI", entry, 34)
        (residual,) = struct.unpack_from("<I", entry, 24)
        segments = self._segments(entry)
        end = self._once(exchange, rx_id, flags, finish, timeout)

        def arrived(data: bytes) -> None:
            try:
                self._chip.bus.dma.scatter(segments, 0, data)
            except DmaFault:
                end(CTIO_DMA)
                return
            if flags & SEND_STATUS:
                exchange.on_gone = None
                self._respond(
                    exchange, rx_id, Response(scsi & 0xFF, residual=_residual(scsi, residual)), flags, end
                )
            else:
                end(CTIO_OK)

        exchange.request_data(offset, length, arrived)

    def _once(self, exchange: TargetExchange, rx_id: int, flags: int, finish: Finish, timeout: int) -> Finish:
        """A finish that also fires after ``timeout`` seconds and when the exchange is cut off, once."""
        ended = False

        def end(status: int) -> None:
            nonlocal ended
            if ended:
                return
            ended = True
            exchange.on_gone = None
            finish(status)

        def timed_out() -> None:
            if not ended:
                self._drop(rx_id)
                end(CTIO_TIMEOUT)

        exchange.on_gone = lambda: end(self._ended.pop(rx_id, CTIO_ABORTED))
        if timeout != NO_TIMEOUT:
            self._chip.after(timeout or DEFAULT_TIMEOUT, timed_out)
        return end

    def _drop(self, rx_id: int) -> None:
        exchange = self._exchanges.pop(rx_id, None)
        if exchange is not None:
            exchange.port.forget(exchange)

    def _cut(self, status: int, matches: Callable[[TargetExchange], bool]) -> None:
        """End exchanges; CTIOs for them, now and later, come back with a status."""
        for rx_id, exchange in list(self._exchanges.items()):
            if matches(exchange):
                del self._exchanges[rx_id]
                self._ended[rx_id] = status
                exchange.port.forget(exchange)
                exchange.gone()

    # Notifies.

    def _notify(
        self,
        s_id: int,
        status: int,
        answer: Callable[[bytes, bool], None] | None,
        fill: Callable[[bytearray], None] | None = None,
    ) -> None:
        firmware = self._firmware
        entry = bytearray(ENTRY)
        entry[0:2] = bytes((iocb.NOTIFY, 1))
        loop_id = firmware.id_for(s_id) if s_id else -1
        firmware.put_id(entry, loop_id & 0xFFFF if firmware.extended else loop_id & 0xFF)
        struct.pack_into("<H", entry, 16, status)
        if fill is not None:
            fill(entry)
        self._waiting.append(Waiting(loop_id, status, answer))
        self._chip.respond(bytes(entry))

    def _task(self, exchange: TargetExchange) -> None:
        command = exchange.command
        lun = fc.lun_number(command.lun)

        def fill(entry: bytearray) -> None:
            struct.pack_into("<H", entry, 10, lun)
            if not self._scc:
                entry[8] = lun
            struct.pack_into("<H", entry, 18, command.task << 8)
            struct.pack_into("<H", entry, 62, exchange.ox_id)

        def answer(ack: bytes, valid: bool) -> None:
            (code,) = struct.unpack_from("<H", ack, 14)
            exchange.respond(fc.task_response(code & 0xFF if valid else fc.TMF_COMPLETE))

        self._cut_for_task(exchange)
        self._notify(exchange.s_id, NOTIFY_TASK, answer, fill)

    def _cut_for_task(self, request: TargetExchange) -> None:
        function, lun = request.command.task, request.command.lun
        if function == fc.TASK_TARGET_RESET:
            self._cut(CTIO_TARGET_RESET, lambda x: True)
        elif function == fc.TASK_LUN_RESET:
            self._cut(CTIO_LUN_RESET, lambda x: x.command.lun == lun)
        elif function == fc.TASK_ABORT_SET:
            self._cut(CTIO_ABORTED, lambda x: x.command.lun == lun and x.s_id == request.s_id)
        elif function == fc.TASK_CLEAR_SET:
            self._cut(CTIO_ABORTED, lambda x: x.command.lun == lun)

    def abort_received(self, abort: AbortRequest) -> None:
        """ABTS: immediate notify with the task's RX_ID; BA_ACC when the driver has acknowledged."""
        rx_id = next((key for key, known in self._exchanges.items() if known is abort.exchange), None)
        if abort.exchange is None or rx_id is None:
            abort.refuse(fc.REASON_LOGICAL, 3)
            return
        lun = fc.lun_number(abort.exchange.command.lun)

        def fill(entry: bytearray) -> None:
            struct.pack_into("<H", entry, 10, lun)
            struct.pack_into("<H", entry, 20, rx_id)
            struct.pack_into("<H", entry, 62, abort.frame.ox_id)

        exchange = abort.exchange
        self._cut(CTIO_ABORTED, lambda x: x is exchange)
        self._notify(abort.frame.s_id, NOTIFY_ABORT, lambda ack, valid: abort.accept(), fill)

    def els_received(self, request: ElsRequest) -> bool:
        """LOGO and SRR are told to the driver; the rest is the firmware's business."""
        if request.code == fc.ELS_SRR and request.frame.r_ctl == fc.R_FC4_REQUEST:
            self._srr(request)
            return True
        if request.code in (fc.ELS_LOGO, fc.ELS_PRLO) and request.s_id in self._firmware.nport.remotes:
            self._cut(CTIO_LOGGED_OUT, lambda x: x.s_id == request.s_id)
            self._notify(request.s_id, NOTIFY_LOGOUT, None)
        return False

    def _srr(self, request: ElsRequest) -> None:
        ox_id, rx_id, offset, unit = struct.unpack_from(">HHIB", request.frame.payload.ljust(16, b"\0"), 4)
        known = next(
            (key for key, x in self._exchanges.items() if x.s_id == request.s_id and x.ox_id == ox_id), None
        )
        if known is None:
            request.refuse(fc.REASON_LOGICAL, fc.EXPLAIN_BAD_EXCHANGE)
            return

        def fill(entry: bytearray) -> None:
            struct.pack_into("<HHIHH", entry, 20, known, rx_id, offset, unit, ox_id)
            struct.pack_into("<H", entry, 62, ox_id)

        def answer(ack: bytes, valid: bool) -> None:
            if ack[30] & 1:
                request.refuse(ack[32] or fc.REASON_UNABLE, ack[35])
            else:
                request.answer(fc.LS_ACC)

        self._notify(request.s_id, NOTIFY_SRR, answer, fill)

    def lip_reset(self) -> None:
        """LIP: commands are lost, every nexus waits for the acknowledgement."""
        self._cut(CTIO_LIP_RESET, lambda x: True)
        if self.enabled:
            self._notify(0, NOTIFY_LIP_RESET, None)

    def happened(self, kind: str, s_id: int) -> None:
        """An event of `notices`, at one remote port or (0) at all of them."""
        notice = notices.known(kind)
        if notice.ends:
            self._cut(notice.ends, lambda x: s_id in (0, x.s_id))
        if notice.logout:
            nport = self._firmware.nport
            for remote in [one for one in nport.remotes.values() if s_id in (0, one.port_id)]:
                nport.drop_login(remote)
        if notice.code and self.enabled:
            self._notify(s_id, notice.code, None)

    def link_lost(self) -> None:
        """The cable is out."""
        self._cut(CTIO_PORT_GONE, lambda x: True)
        self._waiting.clear()

    def notify_ack(self, entry: bytes, done: EntryDone) -> None:
        """The driver's acknowledgement; a task management function or an abort is answered now."""
        (flags,) = struct.unpack_from("<H", entry, 12)
        (status,) = struct.unpack_from("<H", entry, 16)
        loop_id = self._firmware.read_id(entry)
        waiting = next(
            (one for one in self._waiting if one.status == status and one.initiator in (loop_id, -1)), None
        )
        if waiting is None:
            done(_with_word(entry, 16, ACK_INVALID))
            return
        self._waiting.remove(waiting)
        if waiting.answer is not None:
            waiting.answer(entry, bool(flags & ACK_RESPONSE_VALID))
        done(_with_word(entry, 16, ACK_OK))


def _residual(scsi: int, count: int) -> int:
    return count if scsi & 0x800 else -count if scsi & 0x400 else 0


def _with_byte(entry: bytes, place: int, value: int) -> bytes:
    """A copy of an entry's first 64 bytes with one byte changed and entry count 1."""
    return entry[:1] + b"\1" + entry[2:place] + bytes((value,)) + entry[place + 1 : ENTRY]


def _with_word(entry: bytes, place: int, value: int) -> bytes:
    return entry[:1] + b"\1" + entry[2:place] + value.to_bytes(2, "little") + entry[place + 2 : ENTRY]
