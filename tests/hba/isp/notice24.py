# SPDX-License-Identifier: GPL-2.0-or-later
"""What the target side of the ISP24xx tells its driver beside commands: link services, events, aborts."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ..fc import frames as fc
from ..fc.nport import AbortRequest, ElsRequest, TargetExchange
from ..vfio.dma import DmaFault
from . import iocb, notices
from .chip import EntryDone
from .notices import NOTIFY_ELS, NOTIFY_SRR
from .queues import ENTRY

if TYPE_CHECKING:
    from .fw24 import Firmware24, Port24

EVERYBODY = 0xFFFF
ACK_TERMINATE = 0x8
ACK_OK, ACK_INVALID = 0x1, 0x6
ABTS_NOT_TERMINATED = 0x1E
ABTS_TERMINATE = 0x1
TO_DRIVER = (fc.ELS_PLOGI, fc.ELS_PRLI, fc.ELS_LOGO, fc.ELS_PRLO, fc.ELS_TPRLO, fc.ELS_PDISC, fc.ELS_ADISC)


class Notices24:
    """See module text."""

    def __init__(self, firmware: Firmware24) -> None:
        self._firmware = firmware
        self._chip = firmware.chip
        self._targets = firmware.targets
        self._els: dict[int, tuple[Port24, ElsRequest]] = {}
        self._aborts: dict[int, AbortRequest] = {}
        self.unacknowledged: dict[int, int] = {}
        """Status of notifies without a link service by their exchange address."""

    def reset(self) -> None:
        """Forget everything."""
        self._els.clear()
        self._aborts.clear()
        self.unacknowledged.clear()

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
        struct.pack_into("<H", entry, 8, self._firmware.handle_for(port, port_id) if port_id else EVERYBODY)
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
        address = self._targets.address()
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
        exchange = self._targets.find(request.s_id, ox_id)
        if exchange is None:
            request.refuse(fc.REASON_LOGICAL, fc.EXPLAIN_BAD_EXCHANGE)
            return
        self._targets.end_ctio(exchange, notices.CTIO_SRR)
        entry = self._notify(port, request.s_id, NOTIFY_SRR)
        address = self._targets.address_of(exchange)
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

    # Events.

    def happened(self, port: Port24, kind: str, s_id: int, ox_id: int = fc.NO_ID) -> None:
        """An event of `notices`, at one remote port or (0) at all of them.

        ``ox_id``: the command that is meant by an abort.
        """
        notice = notices.known(kind)
        if notice.logout:
            self._log_out(port, s_id)
        elif notice.ends:
            self._targets.cut(notice.ends, lambda exchange: s_id in (0, exchange.s_id))
        if not notice.code:
            return
        entry = self._notify(port, s_id, notice.code)
        address = self._targets.address()
        meant = self._targets.find(s_id, ox_id)
        if meant is not None:
            # Of an abort the driver reads 16 bits of the address, and the LUN where a command has it.
            address = self._targets.address_of(meant)
            entry[32:40] = meant.command.lun
        struct.pack_into("<I", entry, 20, address)
        self.unacknowledged[address] = notice.code
        self._give(entry)

    @staticmethod
    def _log_out(port: Port24, s_id: int) -> None:
        for remote in list(port.nport.remotes.values()):
            if s_id in (0, remote.port_id) and remote.port_id < 0xFFFFF0:
                port.nport.drop_login(remote)

    def acknowledged(self, entry: bytes, done: EntryDone) -> None:
        """The driver's answer to a notify: a link service request is answered now."""
        (flags,) = struct.unpack_from("<H", entry, 12)
        status, _, _, address = struct.unpack_from("<HBBI", entry, 16)
        good = True
        if status in (NOTIFY_ELS, NOTIFY_SRR):
            self._answer_els(entry, status, address, flags)
        else:
            good = self.unacknowledged.pop(address, None) == status
        result = bytearray(entry[:ENTRY])
        result[1] = 1
        struct.pack_into("<H", result, 16, ACK_OK if good else ACK_INVALID)
        done(bytes(result))

    def _answer_els(self, entry: bytes, status: int, address: int, flags: int) -> None:
        pending = self._els.pop(address, None)
        if pending is None:
            return
        port, request = pending
        if flags & ACK_TERMINATE:
            request.refuse(fc.REASON_UNABLE)
        elif status == NOTIFY_ELS:
            port.nport.answer_els(request)
        elif entry[30] & 1:
            request.refuse(entry[54], entry[53])
        else:
            request.answer(fc.LS_ACC)

    # Aborts.

    def abort_received(self, port: Port24, abort: AbortRequest) -> None:
        """ABTS: an entry on the response queue; the driver terminates the exchange and answers.

        A CTIO that waits for data goes on waiting, for the driver to end it: data does not come any more.
        """
        address = self._targets.address()
        self._aborts[address] = abort
        frame, exchange = abort.frame, abort.exchange
        entry = bytearray(ENTRY)
        entry[0:2] = bytes((iocb.ABTS_RECEIVED, 1))
        struct.pack_into("<H", entry, 10, self._firmware.handle_for(port, frame.s_id))
        entry[14] = port.index
        struct.pack_into("<I", entry, 16, address)
        entry[20:24] = frame.d_id.to_bytes(3, "little") + bytes((frame.r_ctl,))
        entry[24:28] = frame.s_id.to_bytes(3, "little") + b"\0"
        entry[28:32] = frame.f_ctl.to_bytes(3, "little") + bytes((frame.type,))
        struct.pack_into("<HH", entry, 36, frame.rx_id, frame.ox_id)
        struct.pack_into("<I", entry, 60, self._targets.address_of(exchange))
        self._chip.respond(bytes(entry))
        if exchange is not None:
            self._given_up(exchange)

    def _given_up(self, exchange: TargetExchange) -> None:
        exchange.refuse_data()
        if self._targets.address_of(exchange) == iocb.UNKNOWN_EXCHANGE:
            self._targets.drop(exchange)
        elif self._chip.habits.abts_ends_ctio:
            exchange.stop_waiting()

    def abts_response(self, entry: bytes, done: EntryDone) -> None:
        """The driver's answer to ABTS; the exchange has to be terminated before (or by the flag)."""
        (flags,) = struct.unpack_from("<H", entry, 12)
        (address,) = struct.unpack_from("<I", entry, 16)
        abort = self._aborts.get(address)
        result = bytearray(entry[:ENTRY])
        result[1] = 1
        struct.pack_into("<HH", result, 8, 0, int.from_bytes(entry[10:12], "little"))
        accept = entry[23] == fc.R_BA_ACC
        if abort is None:
            struct.pack_into("<H", result, 8, iocb.CS_IOCB_ERROR)
        elif accept and self._is_open(abort) and not flags & ABTS_TERMINATE:
            struct.pack_into("<H", result, 8, iocb.CS_IOCB_ERROR)
            struct.pack_into("<I", result, 52, ABTS_NOT_TERMINATED)
        else:
            self._finish_abort(address, abort, accept, (entry[46], entry[45]))
        done(bytes(result))

    def _is_open(self, abort: AbortRequest) -> bool:
        return self._targets.address_of(abort.exchange) != iocb.UNKNOWN_EXCHANGE

    def _finish_abort(self, address: int, abort: AbortRequest, accept: bool, reason: tuple[int, int]) -> None:
        del self._aborts[address]
        if not accept:
            abort.refuse(reason[0] or fc.REASON_UNABLE, reason[1])
            return
        if abort.exchange is not None:
            self._targets.drop(abort.exchange)
        abort.accept()
