# SPDX-License-Identifier: GPL-2.0-or-later
"""The host interface all chips share: mailboxes, events, interrupts, rings.

Registers are in the subclasses.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..fc.media import AnyMedium
from ..fc.nport import NPort
from ..loop import Loop, Timer
from ..vfio.dma import DmaFault, Segment
from ..vfio.pci import ConfigSpace
from ..vfio.protocol import IRQ_INTX, IRQ_MSI, IRQ_MSIX, REGION_CONFIG
from ..vfio.server import Bus
from .models import Model, Settings
from .queues import SIGNATURE_PLACE, RequestQueue, ResponseQueue, Ring

log = logging.getLogger("hba.isp")

MAILBOXES = 32

EVENT_ROM_OK, EVENT_ROM_FAILED, EVENT_MAILBOX_OK, EVENT_MAILBOX_FAILED = 0x01, 0x02, 0x10, 0x11
EVENT_ASYNC, EVENT_RESPONSE, EVENT_FAST_CTIO, EVENT_ATIO = 0x12, 0x13, 0x17, 0x1C

ASYNC_RESET, ASYNC_SYSTEM_ERROR = 0x8001, 0x8002
ASYNC_LIP, ASYNC_LOOP_UP, ASYNC_LOOP_DOWN, ASYNC_LIP_RESET = 0x8010, 0x8011, 0x8012, 0x8013
ASYNC_PORT_UPDATE, ASYNC_RSCN, ASYNC_CTIO_DONE, ASYNC_POINT_TO_POINT = 0x8014, 0x8015, 0x8021, 0x8030

COMPLETE, INVALID_COMMAND, COMMAND_ERROR, PARAMETER_ERROR = 0x4000, 0x4001, 0x4005, 0x4006
PORT_ID_USED, LOOP_ID_USED, NOT_LOGGED_IN = 0x4007, 0x4008, 0x400A

MailboxDone = Callable[[int, Mapping[int, int]], None]
"""Completes a mailbox command: status and the other out mailboxes by number."""
EntryDone = Callable[[bytes], None]
"""Takes a completed 64-byte entry."""


def long_address(m: list[int]) -> int:
    """64-bit address in mailboxes 6, 7, 2 and 3."""
    return m[6] << 48 | m[7] << 32 | m[2] << 16 | m[3]


class Event(NamedTuple):
    """Something the host is interrupted for."""

    code: int
    mailbox0: int
    mailboxes: Mapping[int, int]


class Tracer(Protocol):
    """Receives everything that crosses the host interface."""

    def mailbox(self, chip: Chip, inputs: list[int], status: int, outputs: Mapping[int, int]) -> None:
        """A mailbox command and its result."""

    def entry(self, chip: Chip, direction: str, data: bytes) -> None:
        """A queue entry: ``>`` from the driver, ``<`` to it, ``<a`` to its ATIO queue."""

    def event(self, chip: Chip, event: Event) -> None:
        """An event that is presented to the host."""

    def note(self, chip: Chip, text: str) -> None:
        """Anything else worth a line: resets, faults."""


class Firmware(Protocol):
    """What a chip needs from its firmware model."""

    @property
    def port(self) -> NPort:
        """The physical port."""

    def reset(self) -> None:
        """Everything stops."""

    def mailbox(self, inputs: list[int], done: MailboxDone) -> None:
        """Execute a mailbox command."""

    def busy(self) -> bool:
        """Commands of the host are active."""

    def room(self) -> bool:
        """The firmware can take one more entry off the request queue."""

    def request(self, entry: bytes) -> None:
        """Carry out an entry of the request queue; continuations are joined to it."""

    def interrupts_on(self) -> None:
        """The host enabled interrupts."""

    def cable_changed(self) -> None:
        """`Chip.cable` changed."""

    def notify(self, kind: str, s_id: int) -> None:
        """Something happened that the driver is told with an immediate notify; see `notices`."""


@dataclass(slots=True)
class ChipFaults:
    """Misbehaviour of one chip, changed by tests at any time."""

    lose: int = 0
    """So many of the next completions (status entries, CTIOs) never reach the host."""
    delay: float = 0.0
    """Seconds every completion comes late."""
    dma_rate: float = 0.0
    """Bytes per second of data DMA; 0 for no limit."""
    queue_full: int = 0
    """So many of the next commands find no exchange (2x00: no command resource) at this target."""
    ctio_failures: int = 0
    """So many of the next CTIOs come back with `ctio_status` and are not carried out."""
    ctio_status: int = 0x17
    exchanges: int = 0
    """Exchanges that the target side has; 0: as many as the driver asked for."""
    iocbs: int = 0
    """Entries that can be under way at the same time; 0: as many as the firmware has."""
    request_rate: float = 0.0
    """Entries taken off the request queue per second; 0 for no limit."""
    stall: bool = False
    """No entry is taken off the request queue."""
    lost: int = 0

    def any(self) -> bool:
        """Something is to go wrong with completions."""
        return self.lose > 0 or self.delay > 0 or self.dma_rate > 0

    def ctio_fails(self) -> bool:
        """The CTIO at hand comes back with `ctio_status`."""
        if self.ctio_failures <= 0:
            return False
        self.ctio_failures -= 1
        return True


@dataclass(slots=True)
class Habits:
    """How a firmware works, changed by tests at any time.

    The defaults are what real firmware does or is believed to do (the README says which); the other values
    make a model that spares its driver something.
    """

    back_pressure: bool = True
    """Full response and ATIO queues are waited for; False: entries that were not read are overwritten."""
    exchange_limit: bool = True
    """Commands that find no exchange are not taken."""
    answers_full: bool = False
    """The firmware answers those with TASK SET FULL; False: the driver gets an ATIO without exchange."""
    abts_ends_ctio: bool = False
    """A CTIO that waits comes back when ABTS arrives; False: when the driver terminates the exchange."""
    logout_status: bool = True
    """CTIOs for ports that are not logged in come back with 0x29; False: with 0x02 or 0x08."""
    data_timeout: bool = True
    """A CTIO whose data does not come in time comes back without; False: it waits for as long as it takes."""


QUEUE_POLL = 0.005
"""Seconds between looks at whether the request queue is still stalled."""


class Chip:
    """One PCI function.  Subclasses add the register file and call the methods here."""

    def __init__(
        self,
        loop: Loop,
        medium: AnyMedium,
        model: Model,
        settings: Settings,
        name: str,
        tracer: Tracer | None = None,
    ) -> None:
        self.loop, self.medium, self.model, self.settings = loop, medium, model, settings
        self._name = name
        self.tracer = tracer
        self.bus = Bus()
        self.config = ConfigSpace(model.pci)
        self._regions: dict[int, int] = {REGION_CONFIG: 256}
        self._irqs: dict[int, tuple[int, int]] = {IRQ_INTX: (7, 1)}
        self.firmware: Firmware
        self.faults = ChipFaults()
        self.habits = Habits()
        self.cable = True
        self.dead = False
        """Surprise removal: registers read all ones and writes do nothing."""
        self.epoch = 0
        self.mailbox_in = [0] * MAILBOXES
        self.mailbox_out = [0] * MAILBOXES
        self.asked = False
        """A mailbox command has no answer yet, or the host has not seen it."""
        self.current: Event | None = None
        self._queue: deque[Event] = deque()
        self._held = False
        self.coalesce = 0.0
        """Seconds for which completions are collected before an interrupt while commands are active."""
        self.interrupts = False
        self.running = False
        """Firmware runs (as against the boot ROM)."""
        self.responses = ResponseQueue(self, Ring())
        """The base queue of answers, and of all that is not an answer."""
        self.requests = RequestQueue(self, Ring(), self.responses)
        self.answers = self.responses
        """Where the answers to the entry at hand go."""
        self._pace: Timer | None = None
        self._next_take = 0.0

    @property
    def request(self) -> Ring:
        """The base request queue in memory."""
        return self.requests.ring

    @property
    def response(self) -> Ring:
        """The base response queue in memory."""
        return self.responses.ring

    @property
    def port(self) -> NPort:
        """The board's Fibre Channel port."""
        return self.firmware.port

    # Device interface of the vfio-user server.

    @property
    def name(self) -> str:
        """Name in log lines and traces."""
        return self._name

    @property
    def regions(self) -> Mapping[int, int]:
        """See vfio Device."""
        return self._regions

    @property
    def irqs(self) -> Mapping[int, tuple[int, int]]:
        """See vfio Device."""
        return self._irqs

    def attached(self, bus: Bus) -> None:
        """See vfio Device."""
        self.bus = bus
        self.dead = False
        self.config.reset()
        self.power_on()

    def detached(self) -> None:
        """See vfio Device: for the fabric the port goes away."""
        self.bus = Bus()
        self.power_on()

    def reset(self) -> None:
        """See vfio Device."""
        self.power_on()

    def irq_unmasked(self, index: int) -> None:
        """See vfio Device: INTx is a level, so raise it again if it is still asserted."""
        if index == IRQ_INTX and self.current is not None and self.interrupts:
            self.bus.trigger(IRQ_INTX)

    def read(self, region: int, offset: int, count: int) -> bytes:
        """See vfio Device."""
        if self.dead:
            return b"\xff" * count
        if region == REGION_CONFIG:
            return self.config.read(offset, count)
        return self.read_register(offset, count)

    def write(self, region: int, offset: int, data: bytes) -> None:
        """See vfio Device."""
        if self.dead:
            return
        if region == REGION_CONFIG:
            self.config.write(offset, data)
        else:
            self.write_register(offset, data)

    def read_register(self, offset: int, count: int) -> bytes:
        """Read registers."""
        raise NotImplementedError

    def write_register(self, offset: int, data: bytes) -> None:
        """Write registers."""
        raise NotImplementedError

    # Reset.

    def power_on(self) -> None:
        """State after power-on or a chip reset; whatever the firmware was doing is void."""
        self.epoch += 1
        self.mailbox_in = [0] * MAILBOXES
        self.mailbox_out = [0] * MAILBOXES
        self._queue.clear()
        self.asked = False
        self.current = None
        self._held = False
        self.coalesce = 0.0
        self.interrupts = False
        self.running = False
        self.stop_queues()
        self.reset_registers()
        self.firmware.reset()
        self.note("reset")

    def reset_registers(self) -> None:
        """Initial register values."""

    def start_queues(self, requests: RequestQueue, responses: ResponseQueue) -> None:
        """New base queues."""
        self.stop_queues()
        self.requests, self.responses = requests, responses
        self.answers = responses

    def stop_queues(self) -> None:
        """No queue is used any more, by whoever still knows it."""
        self.requests.close()
        self.responses.close()

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call later, unless the chip is reset before."""
        epoch = self.epoch
        return self.loop.call_later(seconds, lambda: call() if epoch == self.epoch else None)

    def note(self, text: str) -> None:
        """A line in the trace."""
        if self.tracer is not None:
            self.tracer.note(self, text)

    # Mailboxes.

    def doorbell(self) -> None:
        """The host set the interrupt to the RISC: a mailbox command is waiting."""
        inputs = list(self.mailbox_in)
        epoch = self.epoch
        self.asked = True

        def done(status: int, outputs: Mapping[int, int]) -> None:
            if epoch != self.epoch:
                return
            if self.tracer is not None:
                self.tracer.mailbox(self, inputs, status, outputs)
            ok = status == COMPLETE
            if self.running:
                code = EVENT_MAILBOX_OK if ok else EVENT_MAILBOX_FAILED
            else:
                code = EVENT_ROM_OK if ok else EVENT_ROM_FAILED
            self.post(Event(code, status, outputs))

        self.firmware.mailbox(inputs, done)

    def execute_mailbox(
        self,
        handlers: Mapping[int, Callable[[list[int], MailboxDone], None]],
        inputs: list[int],
        done: MailboxDone,
    ) -> None:
        """Have a firmware's handler execute a mailbox command; unknown ones are refused, as firmware does."""
        handler = handlers.get(inputs[0])
        if handler is None:
            self.note(f"mailbox command {inputs[0]:04x} is unknown")
            done(INVALID_COMMAND, {})
            return
        try:
            handler(inputs, done)
        except DmaFault as err:
            self.note(f"mailbox command {inputs[0]:04x}: {err}")
            done(PARAMETER_ERROR, {})

    # Events.

    def post(self, event: Event) -> None:
        """Queue an event for the host."""
        if self.current is None and not self._held:
            self._present(event)
        else:
            self._queue.append(event)

    def hold(self) -> None:
        """The event is taken, but the next one has to wait for `unhold`."""
        self._held = True
        self.current = None

    def unhold(self) -> None:
        """The next event may come."""
        self._held = False
        self.acknowledge()

    @property
    def waiting_events(self) -> Iterable[Event]:
        """Events that are not presented yet."""
        return self._queue

    def async_event(self, code: int, *mailboxes: int) -> None:
        """Queue an asynchronous event with mailboxes 1 and up."""
        self.post(Event(EVENT_ASYNC, code, dict(enumerate(mailboxes, 1))))

    def _present(self, event: Event) -> None:
        self.current = event
        out = self.mailbox_out
        for number, value in event.mailboxes.items():
            out[number] = value & 0xFFFF
        if event.code < EVENT_ASYNC:
            self.asked = False
        if event.code <= EVENT_ASYNC:
            out[0] = event.mailbox0
        self.event_presented(event)
        if self.tracer is not None:
            self.tracer.event(self, event)
        if self.interrupts:
            self.raise_interrupt()

    def event_presented(self, event: Event) -> None:
        """Hook of register files without a host status register."""

    def raise_interrupt(self) -> None:
        """Interrupt the host by the best means it has installed.

        MSI-X vector 0 serves every event.  Vector 1 stays silent: its handler in the in-tree driver
        acknowledges whatever is presented, also after a poll has taken the queue entries, and so would lose
        another event.
        """
        bus = self.bus
        if not bus.trigger(IRQ_MSIX) and not bus.trigger(IRQ_MSI):
            bus.trigger(IRQ_INTX)

    def acknowledge(self) -> None:
        """The host is done with the event presented; the next one follows."""
        self.current = None
        queue = self._queue
        while queue and self.current is None:
            event = queue.popleft()
            if not (event.code == EVENT_RESPONSE and self.responses.drained()):
                self._present(event)

    def enable_interrupts(self, on: bool) -> None:
        """The host switched interrupts."""
        turned_on = on and not self.interrupts
        self.interrupts = on
        if turned_on:
            if self.current is not None:
                self.raise_interrupt()
            self.firmware.interrupts_on()

    # Queues.

    def respond(self, entry: bytes, *, hurry: bool = True) -> None:
        """Put an entry on the base response queue and tell the host."""
        self.responses.respond(entry, hurry=hurry)

    def announce_responses(self, queue: ResponseQueue) -> None:
        """Tell the host that there is something on a response queue."""
        if not any(event.code == EVENT_RESPONSE for event in self._queue):
            self.post(Event(EVENT_RESPONSE, 0, {}))

    def publish(self, address: int, entry: bytes) -> None:
        """Write a queue entry, its last word last: by that word a running host recognises a new entry."""
        write = self.bus.dma.write
        write(address, entry[:SIGNATURE_PLACE])
        write(address + SIGNATURE_PLACE, entry[SIGNATURE_PLACE:])

    def complete(self, entry: bytes, moved: int = 0, queue: ResponseQueue | None = None) -> None:
        """`respond` for the end of an I/O that moved so many bytes; subject to `faults`."""
        faults = self.faults
        queue = queue or self.responses
        if not faults.any():
            queue.respond(entry, hurry=not self.coalesce or not self.firmware.busy())
            self.take_requests()
            return
        if faults.lose > 0:
            faults.lose -= 1
            faults.lost += 1
            self.note(f"completion lost, handle {int.from_bytes(entry[4:8], 'little'):#x}")
            return
        late = faults.delay + (moved / faults.dma_rate if faults.dma_rate else 0.0)
        self.after(late, lambda: queue.respond(entry))

    def take_requests(self) -> None:
        """Carry out what is on the request queues; whatever was in the way may be gone."""
        self.requests.take()

    def paced(self) -> bool:
        """Whether it is time for the next entry; if not, the queues are looked at again when it may be."""
        faults = self.faults
        if not faults.stall and not faults.request_rate:
            return True
        now = self.loop.now()
        if not faults.stall and now >= self._next_take:
            self._next_take = now + 1 / faults.request_rate
            return True
        if self._pace is None:
            wait = QUEUE_POLL if faults.stall else self._next_take - now
            self._pace = self.loop.call_later(wait, self._pace_over)
        return False

    def _pace_over(self) -> None:
        self._pace = None
        self.take_requests()

    def store(self, segments: Sequence[Segment], data: bytes) -> int | None:
        """Write to a scatter list.

        The number of bytes, or None (and a line in the trace) after a DMA fault.
        """
        try:
            return self.bus.dma.scatter(segments, 0, data)
        except DmaFault as err:
            self.note(f"data transfer: {err}")
            return None

    def transfer_error(self, code: int, error: DmaFault) -> None:
        """A queue could not be reached in host memory."""
        log.warning("%s: %s", self.name, error)
        self.note(f"queue transfer error: {error}")
        self.async_event(code, 1)

    # What tests do to a board.

    def plug(self, connected: bool) -> None:
        """Connect or pull the cable."""
        if connected != self.cable:
            self.cable = connected
            self.note("cable connected" if connected else "cable pulled")
            self.firmware.cable_changed()

    def notify(self, kind: str, wwpn: int = 0) -> None:
        """An immediate notify (see `notices`) and what leads to it; from a port, or 0: for all.

        ValueError names what is not known.
        """
        remote = next((one for one in self.port.remotes.values() if one.wwpn == wwpn), None)
        if wwpn and remote is None:
            raise ValueError(f"no port {wwpn:016x} is logged in")
        self.note(f"notify {kind}")
        self.firmware.notify(kind, remote.port_id if remote else 0)

    def system_error(self) -> None:
        """Firmware crash: the port leaves the fabric and the host is told with event 8002."""
        self.note("firmware system error")
        self.epoch += 1
        self.stop_queues()
        self.firmware.reset()
        self._queue.clear()
        self.async_event(ASYNC_SYSTEM_ERROR, 0x1234, 0x5678, 0)

    def remove(self) -> None:
        """Surprise removal: no register answers any more."""
        self.dead = True
        self.epoch += 1
        self.stop_queues()
        self.firmware.reset()
        self._queue.clear()
