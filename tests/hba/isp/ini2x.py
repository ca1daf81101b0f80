# SPDX-License-Identifier: GPL-2.0-or-later
"""Initiator side of the ISP2x00: commands, aborts and resets by mailbox."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ..fc import frames as fc
from ..fc.frames import Command, Response
from ..fc.nport import InitiatorExchange, Outcome, Result
from ..vfio.dma import DmaFault, Segment
from . import chip as host
from . import iocb
from .chip import COMPLETE, EntryDone, MailboxDone

if TYPE_CHECKING:
    from .fw2x import Firmware2x

FLAG_READ, FLAG_WRITE = 0x20, 0x40
ATTRIBUTES = {0x0002: 1, 0x0004: 2}
"""Head of queue and ordered, by command flag; everything else is simple."""
OUTCOME_STATUS = {
    Outcome.LINK_DOWN: iocb.CS_PORT_UNAVAILABLE,
    Outcome.LOGGED_OUT: iocb.CS_LOGGED_OUT,
    Outcome.ABORTED: iocb.CS_ABORTED,
    Outcome.TIMEOUT: iocb.CS_TIMEOUT,
    Outcome.MALFORMED: iocb.CS_DMA,
}
SENSE_IN_ENTRY = 32


class Active2x:
    """A command the driver waits for."""

    __slots__ = ("_dma", "exchange", "fault", "handle", "length", "loop_id", "override", "segments")

    def __init__(
        self, firmware: Firmware2x, handle: int, loop_id: int, length: int, segments: list[Segment]
    ) -> None:
        self.handle, self.loop_id, self.length, self.segments = handle, loop_id, length, segments
        self.exchange: InitiatorExchange | None = None
        self.fault = False
        self.override: int | None = None
        self._dma = firmware.chip.bus.dma

    def take(self, offset: int, data: bytes) -> None:
        """Data in: to host memory."""
        try:
            self._dma.scatter(self.segments, offset, data)
        except DmaFault:
            self.fault = True

    def give(self, offset: int, length: int) -> bytes:
        """Data out: from host memory."""
        try:
            return self._dma.gather(self.segments, offset, length)
        except DmaFault:
            self.fault = True
            return bytes(length)


def status_entries(handle: int, completion: int, response: Response, length: int, moved: int) -> list[bytes]:
    """The status entry of a command, with continuations for long sense data."""
    left = max(0, length - moved)
    if completion == iocb.CS_COMPLETE and left:
        completion = iocb.CS_UNDERRUN
    residual = left or abs(response.residual)
    head = struct.pack(
        "<BBBBIHHHHHHI",
        iocb.STATUS,
        1,
        0,
        0,
        handle,
        iocb.scsi_status(response),
        completion,
        0x1F00,
        0,
        len(response.info),
        len(response.sense),
        residual,
    )
    body = response.info[:8].ljust(8, b"\0") + response.sense[:SENSE_IN_ENTRY].ljust(SENSE_IN_ENTRY, b"\0")
    entries = [head + body]
    for place in range(SENSE_IN_ENTRY, len(response.sense), 60):
        part = response.sense[place : place + 60].ljust(60, b"\0")
        entries.append(bytes((iocb.STATUS_CONTINUATION, 1, 0, 0)) + part)
    return entries


class Initiator2x:
    """See module text."""

    def __init__(self, firmware: Firmware2x) -> None:
        self._firmware = firmware
        self._chip = firmware.chip
        self._active: dict[int, Active2x] = {}

    def reset(self) -> None:
        """Forget everything; the exchanges are ended by the port."""
        self._active.clear()

    def command(self, entry: bytes, done: EntryDone) -> None:
        """Command type 2 (32-bit segments) or 3 (64-bit)."""
        firmware = self._firmware
        loop_id = firmware.read_id(entry)
        (handle,) = struct.unpack_from("<I", entry, 4)
        lun, flags = struct.unpack_from("<HH", entry, 10)
        (number,) = struct.unpack_from("<H", entry, 18)
        (length,) = struct.unpack_from("<I", entry, 36)
        if entry[0] == iocb.COMMAND_64:
            segments = iocb.segments_64(entry, number, 40, 2) if number else []
        else:
            segments = iocb.segments_32(entry, number, 40, 3) if number else []
        active = Active2x(firmware, handle, loop_id, length, segments)
        command = Command(
            fc.lun_bytes(lun),
            entry[20:36],
            length,
            bool(flags & FLAG_READ),
            bool(flags & FLAG_WRITE),
            ATTRIBUTES.get(flags & 0x6, 0),
        )
        self._start(active, command)

    def _start(self, active: Active2x, command: Command) -> None:
        epoch = self._chip.epoch

        def ended(result: Result) -> None:
            if epoch == self._chip.epoch:
                self._ended(active, result)

        port_id = self._firmware.ids.get(active.loop_id)
        exchange = None
        if port_id is not None:
            exchange = self._firmware.nport.start(port_id, command, ended, active.take, active.give)
        if exchange is None:
            status = iocb.CS_LOGGED_OUT if self._firmware.ready else iocb.CS_PORT_UNAVAILABLE
            for reply in status_entries(active.handle, status, Response(), 0, 0):
                self._chip.complete(reply)
            return
        active.exchange = exchange
        self._active[active.handle] = active

    def _ended(self, active: Active2x, result: Result) -> None:
        if self._active.get(active.handle) is active:
            del self._active[active.handle]
        completion = OUTCOME_STATUS.get(result.outcome, iocb.CS_COMPLETE)
        if active.fault:
            completion = iocb.CS_DMA
        if active.override is not None:
            completion = active.override
        moved = result.received + result.sent
        length = active.length if result.outcome is Outcome.DONE else 0
        for reply in status_entries(active.handle, completion, result.response, length, moved):
            self._chip.complete(reply, moved)

    def marker(self, entry: bytes, done: EntryDone) -> None:
        """Marker: the queues are in order by construction."""

    # Aborts and resets.

    def abort_command(self, m: list[int], done: MailboxDone) -> None:
        """Mailbox command 15: ABTS for one command."""
        active = self._active.get(m[3] << 16 | m[2])
        if active is None or active.exchange is None:
            done(host.COMMAND_ERROR, {})
            return
        active.exchange.abort(lambda accepted: done(COMPLETE, {}))

    def abort_device(self, m: list[int], done: MailboxDone) -> None:
        """Mailbox command 16: abort task set."""
        self._manage(m, fc.TASK_ABORT_SET, m[2], done)

    def lun_reset(self, m: list[int], done: MailboxDone) -> None:
        """Mailbox command 7e."""
        lun = m[2] if self._firmware.extended else m[3]
        self._manage(m, fc.TASK_LUN_RESET, lun, done)

    def target_reset(self, m: list[int], done: MailboxDone) -> None:
        """Mailbox commands 17 and 66."""
        self._manage(m, fc.TASK_TARGET_RESET, 0, done)

    def _manage(self, m: list[int], function: int, lun: int, done: MailboxDone) -> None:
        loop_id = m[1] if self._firmware.extended else m[1] >> 8
        port_id = self._firmware.ids.get(loop_id)

        def ended(result: Result) -> None:
            good = result.outcome is Outcome.DONE and (
                len(result.response.info) < 4 or not result.response.info[3]
            )
            if good:
                self._clear(loop_id, None if function == fc.TASK_TARGET_RESET else fc.lun_bytes(lun))
            done(COMPLETE if good else host.COMMAND_ERROR, {})

        command = Command(fc.lun_bytes(lun), bytes(16), task=function)
        if port_id is None or self._firmware.nport.start(port_id, command, ended) is None:
            done(host.COMMAND_ERROR, {})

    def _clear(self, loop_id: int, lun: bytes | None) -> None:
        """The target dropped these commands without an answer; give them back."""
        for active in list(self._active.values()):
            exchange = active.exchange
            if exchange is None or active.loop_id != loop_id:
                continue
            if lun is None or exchange.command.lun == lun:
                active.override = iocb.CS_RESET
                exchange.finish(Outcome.ABORTED, Response())
