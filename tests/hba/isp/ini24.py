# SPDX-License-Identifier: GPL-2.0-or-later
"""Initiator side of the ISP24xx: commands, task management, aborts."""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING

from ..fc import frames as fc
from ..fc.frames import Command, Response
from ..fc.nport import InitiatorExchange, Outcome, Result
from ..vfio.dma import DmaFault, Segment
from . import iocb
from .chip import EntryDone
from .queues import ResponseQueue

if TYPE_CHECKING:
    from .fw24 import Firmware24

HEAD_7 = struct.Struct("<IHHH")
STATUS_HEAD = struct.Struct("<BBBBIHHIHHHHIII")
TICK = 1.0
NO_ABTS = 0x1
NO_ANSWER_HANDLE = 0x0FFFFFFF
TASKS = {
    0x10: fc.TASK_LUN_RESET,
    0x08: fc.TASK_ABORT_SET,
    0x04: fc.TASK_CLEAR_SET,
    0x02: fc.TASK_TARGET_RESET,
    0x01: fc.TASK_CLEAR_ACA,
}
OUTCOME_STATUS = {
    Outcome.LINK_DOWN: iocb.CS_PORT_UNAVAILABLE,
    Outcome.LOGGED_OUT: iocb.CS_LOGGED_OUT,
    Outcome.ABORTED: iocb.CS_ABORTED,
    Outcome.TIMEOUT: iocb.CS_TIMEOUT,
}


class Active:
    """A command the driver waits for."""

    __slots__ = (
        "_dma",
        "deadline",
        "exchange",
        "fault",
        "handle",
        "length",
        "nport_handle",
        "override",
        "queue",
        "segments",
    )

    def __init__(
        self,
        firmware: Firmware24,
        handle: int,
        nport_handle: int,
        length: int,
        segments: list[Segment],
        deadline: float,
    ) -> None:
        self.handle, self.nport_handle, self.length, self.segments = handle, nport_handle, length, segments
        self.deadline = deadline
        self.exchange: InitiatorExchange | None = None
        self.queue = firmware.chip.answers
        self.fault = False
        self.override: int | None = None
        self._dma = firmware.chip.bus.dma

    def take(self, offset: int, data: bytes) -> None:
        """Data in: to host memory."""
        segments = self.segments
        try:
            if len(segments) == 1 and offset + len(data) <= segments[0][1]:
                self._dma.write(segments[0][0] + offset, data)
            else:
                self._dma.scatter(segments, offset, data)
        except DmaFault:
            self.fault = True

    def give(self, offset: int, length: int) -> bytes:
        """Data out: from host memory."""
        try:
            return self._dma.gather(self.segments, offset, length)
        except DmaFault:
            self.fault = True
            return bytes(length)


def status_entries(
    handle: int, completion: int, response: Response, length: int, moved: int, ox_id: int
) -> list[bytes]:
    """The status entry of a command, with continuations for long sense data."""
    residual = abs(response.residual)
    left = max(0, length - moved)
    if completion == iocb.CS_COMPLETE and left:
        completion = iocb.CS_UNDERRUN
    payload = response.info + response.sense
    state = 0x0F00 if moved else 0x0700
    head = STATUS_HEAD.pack(
        iocb.STATUS,
        1,
        0,
        0,
        handle,
        completion,
        ox_id,
        left,
        0,
        state,
        0,
        iocb.scsi_status(response),
        residual,
        len(response.sense),
        len(response.info),
    )
    entries = [head + iocb.swap_padded(payload, 28)]
    head = bytes((iocb.STATUS_CONTINUATION, 1, 0, 0))
    entries += [head + iocb.swap_padded(payload[at:], 60) for at in range(28, len(payload), 60)]
    return entries


class Initiator24:
    """See module text."""

    def __init__(self, firmware: Firmware24) -> None:
        self._firmware = firmware
        self._chip = firmware.chip
        self._active: dict[int, Active] = {}
        self._tasks: dict[int, InitiatorExchange] = {}
        self._waiting: deque[tuple[bytes, ResponseQueue]] = deque()
        self._ticking = False

    def reset(self) -> None:
        """Forget everything; the exchanges are ended by the port."""
        self._active.clear()
        self._tasks.clear()
        self._waiting.clear()

    def __len__(self) -> int:
        """Commands that have not ended."""
        return len(self._active) + len(self._waiting)

    @property
    def exchanges(self) -> int:
        """Exchanges in use."""
        return len(self._active)

    def busy(self) -> bool:
        """Commands are active."""
        return bool(self._active)

    def command(self, entry: bytes, done: EntryDone) -> None:
        """Command type 7; without a free exchange it waits for one."""
        if len(self._active) >= self._firmware.exchanges and self._chip.habits.exchange_limit:
            self._waiting.append((entry, self._chip.answers))
            return
        handle, nport_handle, timeout, number = HEAD_7.unpack_from(entry, 4)
        flags, attribute = entry[24], entry[26] & 7
        length = int.from_bytes(entry[44:48], "little")
        segments = iocb.segments_64(entry, number, 52, 1) if number else []
        command = Command(
            iocb.swap(entry[16:24]),
            iocb.swap(entry[28:44]),
            length,
            bool(flags & 2),
            bool(flags & 1),
            attribute,
        )
        self._start(handle, nport_handle, timeout, command, segments)

    def _start(
        self, handle: int, nport_handle: int, timeout: int, command: Command, segments: list[Segment]
    ) -> None:
        firmware = self._firmware
        active = Active(firmware, handle, nport_handle, command.length, segments, self._deadline(timeout))
        known = firmware.handles.get(nport_handle)
        epoch = self._chip.epoch

        def ended(result: Result) -> None:
            if epoch == self._chip.epoch:
                self._ended(active, result)

        exchange = None
        if known is not None:
            exchange = known[0].nport.start(known[1], command, ended, active.take, active.give)
        if exchange is None:
            status = iocb.CS_LOGGED_OUT if firmware.ready else iocb.CS_PORT_UNAVAILABLE
            for reply in status_entries(handle, status, Response(), 0, 0, fc.NO_ID):
                self._chip.complete(reply, 0, active.queue)
            return
        active.exchange = exchange
        self._active[handle] = active

    def _deadline(self, timeout: int) -> float:
        if timeout in (0, 0xFFFF):
            return float("inf")
        if not self._ticking:
            self._ticking = True
            self._chip.loop.call_later(TICK, self._tick)
        return self._chip.loop.now() + timeout

    def _tick(self) -> None:
        self._ticking = False
        now = self._chip.loop.now()
        for active in list(self._active.values()):
            if active.deadline <= now and active.exchange is not None:
                active.deadline = float("inf")
                active.override = iocb.CS_TIMEOUT
                active.exchange.abort(lambda accepted: None)
        if self._active:
            self._ticking = True
            self._chip.loop.call_later(TICK, self._tick)

    def _ended(self, active: Active, result: Result) -> None:
        if self._active.get(active.handle) is active:
            del self._active[active.handle]
        completion = OUTCOME_STATUS.get(result.outcome, iocb.CS_COMPLETE)
        if result.outcome is Outcome.MALFORMED or active.fault:
            completion = iocb.CS_DMA
        if active.override is not None:
            completion = active.override
        moved = result.received + result.sent
        length = active.length if result.outcome is Outcome.DONE else 0
        ox_id = active.exchange.ox_id if active.exchange else fc.NO_ID
        for reply in status_entries(active.handle, completion, result.response, length, moved, ox_id):
            self._chip.complete(reply, moved, active.queue)
        while self._waiting and len(self._active) < self._firmware.exchanges:
            entry, self._chip.answers = self._waiting.popleft()
            self.command(entry, self._chip.answers.respond)
            self._chip.answers = self._chip.responses

    # Task management and aborts.

    def task_management(self, entry: bytes, done: EntryDone) -> None:
        """Task management entry: answered with a status entry when the target has answered."""
        handle, nport_handle = struct.unpack_from("<IH", entry, 4)
        control = int.from_bytes(entry[24:28], "little")
        lun = iocb.swap(entry[16:24])
        function = next((code for bit, code in TASKS.items() if control & bit), 0)
        known = self._firmware.handles.get(nport_handle)
        epoch = self._chip.epoch

        def ended(result: Result) -> None:
            if epoch != self._chip.epoch:
                return
            self._tasks.pop(handle, None)
            if result.outcome is Outcome.DONE and function != fc.TASK_CLEAR_ACA:
                self._clear(nport_handle, None if function == fc.TASK_TARGET_RESET else lun)
            status = OUTCOME_STATUS.get(result.outcome, iocb.CS_COMPLETE)
            done(status_entries(handle, status, result.response, 0, 0, fc.NO_ID)[0])

        command = Command(lun, bytes(16), task=function)
        started = known[0].nport.start(known[1], command, ended) if known and function else None
        if started is None:
            done(status_entries(handle, iocb.CS_PORT_UNAVAILABLE, Response(), 0, 0, fc.NO_ID)[0])
        elif not started.finished:
            self._tasks[handle] = started

    def _clear(self, nport_handle: int, lun: bytes | None) -> None:
        """The target dropped these commands without an answer; give them back."""
        for active in list(self._active.values()):
            exchange = active.exchange
            if exchange is None or active.nport_handle != nport_handle:
                continue
            if lun is None or exchange.command.lun == lun:
                active.override = iocb.CS_RESET
                exchange.finish(Outcome.ABORTED, Response())

    def marker(self, entry: bytes, done: EntryDone) -> None:
        """Marker: the queues are in order anyway, so it is answered at once, if an answer is wanted."""
        if int.from_bytes(entry[4:8], "little") != NO_ANSWER_HANDLE:
            done(entry[:64])

    def abort(self, entry: bytes, done: EntryDone) -> None:
        """Abort entry: ABTS for a command or task management; it comes back as aborted.

        A driver waits for task management that is never answered until it has aborted it: without end, if it
        does not come back.
        """
        options, target = struct.unpack_from("<HI", entry, 10)
        active = self._active.get(target)
        exchange = active.exchange if active else self._tasks.get(target)

        def completed(status: int) -> None:
            done(entry[:1] + b"\1" + entry[2:8] + status.to_bytes(2, "little") + entry[10:64])

        if exchange is None:
            completed(iocb.CS_COMPLETE if self._abort_waiting(target) else iocb.CS_IOCB_ERROR)
        elif options & NO_ABTS:
            exchange.finish(Outcome.ABORTED, Response())
            completed(iocb.CS_COMPLETE)
        else:
            exchange.abort(lambda accepted: completed(iocb.CS_COMPLETE))

    def _abort_waiting(self, handle: int) -> bool:
        """A command that has no exchange yet comes back as aborted."""
        found = next((one for one in self._waiting if one[0][4:8] == handle.to_bytes(4, "little")), None)
        if found is None:
            return False
        self._waiting.remove(found)
        for reply in status_entries(handle, iocb.CS_ABORTED, Response(), 0, 0, fc.NO_ID):
            self._chip.complete(reply, 0, found[1])
        return True
