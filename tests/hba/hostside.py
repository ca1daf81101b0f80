# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's side in Python: memory, interrupts and a small driver per chip family.

For tests without QEMU: the drivers here do what a kernel driver does (registers, rings, control blocks), so a
chip model can be exercised entry by entry.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .isp import regs2x, regs24, regs27
from .isp.chip import Chip
from .isp.queues import ENTRY
from .loop import Loop
from .vfio.dma import F_SEAL_SHRINK
from .vfio.protocol import DMA_READABLE, DMA_WRITABLE, IRQ_MSIX, REGION_CONFIG
from .vfio.server import Bus

MEMORY_BASE = 0x100000
MEMORY_SIZE = 8 << 20
F_ADD_SEALS = 1033
SIGNATURE = 0xDEADDEAD
WAIT = 60.0


class HostError(Exception):
    """The chip did not do what a driver waits for; the message says what."""


class Memory:
    """A piece of host memory, mapped for the device the way QEMU does it, with an allocator."""

    def __init__(self, bus: Bus, size: int = MEMORY_SIZE) -> None:
        self._fd = os.memfd_create("hba-test", os.MFD_ALLOW_SEALING)
        os.ftruncate(self._fd, size)
        fcntl.fcntl(self._fd, F_ADD_SEALS, F_SEAL_SHRINK)
        self.dma = bus.dma
        bus.dma.map(MEMORY_BASE, size, DMA_READABLE | DMA_WRITABLE, 0, self._fd)
        self._next = MEMORY_BASE
        self._end = MEMORY_BASE + size

    def allocate(self, size: int, contents: bytes = b"") -> int:
        """Address of new zeroed memory, 64-byte aligned, with contents at its start."""
        address = self._next
        self._next += -(-size // 64) * 64
        if self._next > self._end:
            raise HostError("test memory is used up")
        self.dma.write(address, contents.ljust(size, b"\0"))
        return address

    def close(self) -> None:
        """Release the memory file; harmless the second time."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


@dataclass(slots=True)
class Taken:
    """What a driver has taken from a chip.

    Async events as (code, mailboxes 1 to 3), entries, fast CTIO handles.
    """

    events: list[tuple[int, int, int, int]] = field(default_factory=list)
    entries: deque[bytes] = field(default_factory=deque)
    atios: deque[bytes] = field(default_factory=deque)
    fast: list[int] = field(default_factory=list)
    mailbox: list[int] | None = None


class HostDriver:
    """What the drivers of all families share: rings, mailbox commands, waiting."""

    ring = 128

    def __init__(self, loop: Loop, chip: Chip) -> None:
        """Attach to a chip as QEMU would and allocate rings."""
        self.loop, self.chip = loop, chip
        self.bus = Bus()
        chip.attached(self.bus)
        self.memory = Memory(self.bus)
        self.requests = self.memory.allocate(self.ring * ENTRY)
        self.responses = self.memory.allocate(self.ring * ENTRY)
        self.taken = Taken()
        self._in = 0
        self._out = 0
        self._mark(self.responses)

    def _mark(self, base: int, length: int = 0) -> None:
        for index in range(length or self.ring):
            self.bus.dma.write(base + index * ENTRY + 60, struct.pack("<I", SIGNATURE))

    def close(self) -> None:
        """Detach."""
        self.chip.detached()
        self.bus.close()
        self.memory.close()

    # Registers.

    def get(self, offset: int, size: int = 2) -> int:
        """Read a register."""
        return int.from_bytes(self.chip.read(1, offset, size), "little")

    def put(self, offset: int, value: int, size: int = 2) -> None:
        """Write a register."""
        self.chip.write(1, offset, value.to_bytes(size, "little"))

    def config(self, offset: int, size: int = 2) -> int:
        """Read configuration space."""
        return int.from_bytes(self.chip.read(REGION_CONFIG, offset, size), "little")

    # Working.

    def service(self) -> None:
        """The interrupt handler: take everything the chip presents."""
        raise NotImplementedError

    def wait(self, done: Callable[[], bool], what: str, seconds: float = WAIT) -> None:
        """Serve the chip until something has happened; HostError if it does not."""

        def poll() -> bool:
            self.service()
            return done()

        if not self.loop.run_until(poll, seconds):
            raise HostError(f"waited {seconds:g} s for {what}")

    def settle(self, seconds: float = 0.2) -> None:
        """Serve the chip for a time."""
        end = self.loop.now() + seconds
        self.loop.run_until(lambda: self.service() or self.loop.now() >= end, seconds)  # type: ignore[func-returns-value]

    def ring_doorbell(self, index: int) -> None:
        """Tell the chip the request queue's new in-pointer."""
        raise NotImplementedError

    def submit(self, *entries: bytes) -> None:
        """Put entries on the request queue and ring once."""
        for entry in entries:
            for place in range(0, len(entry), ENTRY):
                self.bus.dma.write(
                    self.requests + self._in * ENTRY, entry[place : place + ENTRY].ljust(ENTRY, b"\0")
                )
                self._in = (self._in + 1) % self.ring
        self.ring_doorbell(self._in)

    def take_responses(self) -> int:
        """Move new response entries to `taken`; the new out-pointer."""
        while True:
            address = self.responses + self._out * ENTRY
            entry = self.bus.dma.read(address, ENTRY)
            if entry[60:64] == struct.pack("<I", SIGNATURE):
                return self._out
            self.bus.dma.write(address + 60, struct.pack("<I", SIGNATURE))
            self._out = (self._out + 1) % self.ring
            self.taken.entries.append(entry)

    def response(self, kind: int, seconds: float = WAIT) -> bytes:
        """The next entry of a type from the response queue; HostError if none comes."""

        def found() -> bool:
            return any(entry[0] == kind for entry in self.taken.entries)

        self.wait(found, f"a response entry of type {kind:02x}", seconds)
        entry = next(entry for entry in self.taken.entries if entry[0] == kind)
        self.taken.entries.remove(entry)
        return entry

    def event(self, code: int, seconds: float = WAIT) -> tuple[int, int, int, int]:
        """The next async event with a code; HostError if none comes."""
        self.wait(lambda: any(event[0] == code for event in self.taken.events), f"event {code:04x}", seconds)
        event = next(event for event in self.taken.events if event[0] == code)
        self.taken.events.remove(event)
        return event

    # Mailbox commands.

    def set_mailbox(self, number: int, value: int) -> None:
        """Write an in mailbox."""
        raise NotImplementedError

    def get_mailbox(self, number: int) -> int:
        """Read an out mailbox."""
        raise NotImplementedError

    def start_command(self) -> None:
        """Set the interrupt to the RISC."""
        raise NotImplementedError

    def command(self, code: int, inputs: dict[int, int] | None = None, outputs: int = 8) -> list[int]:
        """Execute a mailbox command; its out mailboxes, status first."""
        self.taken.mailbox = None
        for number, value in {0: code, **(inputs or {})}.items():
            self.set_mailbox(number, value)
        self._wanted = outputs
        self.start_command()
        self.wait(lambda: self.taken.mailbox is not None, f"mailbox command {code:04x}")
        result = self.taken.mailbox
        assert result is not None
        return result

    def with_address(self, address: int, more: dict[int, int] | None = None) -> dict[int, int]:
        """Mailboxes for a 64-bit address."""
        words = {2: address >> 16 & 0xFFFF, 3: address & 0xFFFF, 6: address >> 48, 7: address >> 32 & 0xFFFF}
        return words | (more or {})

    def _collect_mailbox(self) -> None:
        self.taken.mailbox = [self.get_mailbox(number) for number in range(getattr(self, "_wanted", 8))]

    def _collect_event(self) -> None:
        values = [self.get_mailbox(number) for number in range(4)]
        self.taken.events.append((values[0], values[1], values[2], values[3]))


class Driver2400(HostDriver):
    """Drives an ISP24xx or 25xx."""

    def __init__(self, loop: Loop, chip: Chip) -> None:
        super().__init__(loop, chip)
        self.atios = self.memory.allocate(self.ring * ENTRY)
        self._atio_out = 0
        self.ignored: set[int] = set()
        """Event codes whose queue is not read, as by a driver that is busy with something else."""
        self._mark(self.atios)

    def get(self, offset: int, size: int = 4) -> int:
        """See HostDriver."""
        return super().get(offset, size)

    def put(self, offset: int, value: int, size: int = 4) -> None:
        """See HostDriver."""
        super().put(offset, value, size)

    def set_mailbox(self, number: int, value: int) -> None:
        """See HostDriver."""
        self.put(regs24.MAILBOX + 2 * number, value, 2)

    def get_mailbox(self, number: int) -> int:
        """See HostDriver."""
        return self.get(regs24.MAILBOX + 2 * number, 2)

    def start_command(self) -> None:
        """See HostDriver."""
        self.put(regs24.HCCR, 0x50000000)

    def ring_doorbell(self, index: int) -> None:
        """See HostDriver."""
        self.put(regs24.REQUEST_IN, index)

    def service(self) -> None:
        """See HostDriver."""
        for _ in range(50):
            status = self.get(regs24.HOST_STATUS)
            if not status & 0x8000:
                return
            code = status & 0xFF
            if code in (1, 2, 0x10, 0x11):
                self._collect_mailbox()
            elif code == 0x12:
                self._collect_event()
            elif code not in self.ignored:
                self._take(code)
            self.put(regs24.HCCR, 0xA0000000)

    def _take(self, code: int) -> None:
        if code == 0x13:
            self.put(regs24.RESPONSE_OUT, self.take_responses())
        elif code == 0x1C:
            self.put(regs24.ATIO_OUT, self.take_atios())

    def catch_up(self) -> None:
        """Read what was ignored."""
        for code in self.ignored:
            self._take(code)
        self.ignored.clear()

    def free_requests(self) -> int:
        """Entries that fit on the request queue by the chip's out-pointer."""
        return (self.get(regs24.REQUEST_OUT) - self._in - 1) % self.ring

    def take_atios(self) -> int:
        """Move new ATIO entries to `taken`; the new out-pointer."""
        while True:
            address = self.atios + self._atio_out * ENTRY
            entry = self.bus.dma.read(address, ENTRY)
            if entry[60:64] == struct.pack("<I", SIGNATURE):
                return self._atio_out
            self.bus.dma.write(address + 60, struct.pack("<I", SIGNATURE))
            self._atio_out = (self._atio_out + 1) % self.ring
            self.taken.atios.append(entry)

    def atio(self, kind: int, seconds: float = WAIT) -> bytes:
        """The next entry of a type from the ATIO queue; HostError if none comes."""
        self.wait(
            lambda: any(entry[0] == kind for entry in self.taken.atios),
            f"an ATIO entry of type {kind:02x}",
            seconds,
        )
        entry = next(entry for entry in self.taken.atios if entry[0] == kind)
        self.taken.atios.remove(entry)
        return entry

    def control_block(self, options: int, exchanges: int) -> bytes:
        """The initialisation control block; ``options``: firmware options 1."""
        block = bytearray(128)
        struct.pack_into("<H2xHHHH", block, 0, 1, 2048, 0xFFFF, exchanges, 0)
        struct.pack_into(">QQ", block, 12, self.chip.settings.wwpn, self.chip.settings.wwnn)
        struct.pack_into("<HHxxxxQQ", block, 36, self.ring, self.ring, self.requests, self.responses)
        struct.pack_into("<HQ", block, 78, self.ring if options & 0x10 else 0, self.atios)
        struct.pack_into("<III", block, 92, options, 0x1020, 0x4000)
        return bytes(block)

    def start(self, options: int = 0x6006, *, mid: bytes = b"", exchanges: int = 0) -> None:
        """Reset, load, initialise and wait for the link.

        ``mid``: what follows the control block (virtual ports).  ``exchanges``: how many to ask for; 0: the
        firmware decides.
        """
        for base in (self.responses, self.atios):
            self._mark(base)
        self._in = self._out = self._atio_out = 0
        self.put(regs24.CONTROL, 1)
        self.put(regs24.INTERRUPT_CONTROL, 8)
        code = self.memory.allocate(64)
        self.command(0x0B, self.with_address(code, {1: 0, 8: 0x10, 4: 0, 5: 16}))
        self.command(0x02, {1: 0x10, 2: 0})
        block = self.control_block(options, exchanges)
        address = self.memory.allocate(2048, block + mid)
        result = self.command(0x48 if mid else 0x60, self.with_address(address))
        if result[0] != 0x4000:
            raise HostError(f"initialise firmware failed with {result[0]:04x}")
        if self.chip.cable:
            self.event(0x8014)


class Pair:
    """A pair of queues of an ISP27xx, as its driver sees it."""

    length = 32

    def __init__(self, driver: Driver2700, number: int, vector: int) -> None:
        self.driver, self.number, self.vector = driver, number, vector
        allocate = driver.memory.allocate
        self.requests = allocate((self.length + 1) * ENTRY)
        self.responses = allocate((self.length + 1) * ENTRY)
        driver._mark(self.responses, self.length)
        self._in = self._out = 0

    def shadow(self, ring: int) -> int:
        """The chip's pointer behind a ring."""
        return int.from_bytes(self.driver.bus.dma.read(ring + self.length * ENTRY, 2), "little")

    def submit(self, entry: bytes) -> None:
        """Put an entry on the request queue."""
        self.driver.bus.dma.write(self.requests + self._in * ENTRY, entry)
        self._in = (self._in + 1) % self.length
        self.driver.put_queue(self.number, regs27.REQUEST_IN, self._in)

    def take(self) -> list[bytes]:
        """Entries up to the chip's shadow pointer."""
        entries = []
        while self._out != self.shadow(self.responses):
            entries.append(self.driver.bus.dma.read(self.responses + self._out * ENTRY, ENTRY))
            self._out = (self._out + 1) % self.length
        self.driver.put_queue(self.number, regs27.RESPONSE_OUT, self._out)
        return entries


class Driver2700(Driver2400):
    """Drives an ISP27xx: vectors 1 for the base response queue, 2 for the ATIO queue, 3 and up for pairs."""

    def __init__(self, loop: Loop, chip: Chip) -> None:
        super().__init__(loop, chip)
        # The pointers behind the rings.
        self.requests = self.memory.allocate((self.ring + 1) * ENTRY)
        self.responses = self.memory.allocate((self.ring + 1) * ENTRY)
        self.vectors = {number: os.eventfd(0, os.EFD_NONBLOCK) for number in range(6)}
        for number, fd in self.vectors.items():
            self.bus.install(IRQ_MSIX, number, os.dup(fd))

    def close(self) -> None:
        """See HostDriver."""
        super().close()
        for fd in self.vectors.values():
            os.close(fd)
        self.vectors.clear()

    def raised(self, vector: int) -> bool:
        """An interrupt came since the last look."""
        try:
            return bool(os.eventfd_read(self.vectors[vector]))
        except BlockingIOError:
            return False

    def put_queue(self, number: int, register: int, value: int) -> None:
        """Write a register of a pair of queues."""
        place = number * regs27.QUEUE_PAGE + register
        self.chip.write(regs27.QUEUES_BAR, place, value.to_bytes(4, "little"))

    def get_queue(self, number: int, register: int) -> int:
        """Read a register of a pair of queues."""
        place = number * regs27.QUEUE_PAGE + register
        return int.from_bytes(self.chip.read(regs27.QUEUES_BAR, place, 4), "little")

    def ring_doorbell(self, index: int) -> None:
        """See HostDriver."""
        self.put_queue(0, regs27.REQUEST_IN, index)

    def control_block(self, options: int, exchanges: int) -> bytes:
        """See Driver2400."""
        block = bytearray(super().control_block(options, exchanges))
        struct.pack_into("<HH", block, 68, 1, 2)
        struct.pack_into("<I", block, 96, 0x1020 | regs27.SHADOWS)
        return bytes(block)

    def service(self) -> None:
        """See HostDriver: queues that have a vector are read when it is raised."""
        super().service()
        if self.raised(1) and regs27.EVENT_RESPONSE not in self.ignored:
            self._take(regs27.EVENT_RESPONSE)
        if self.raised(2) and regs27.EVENT_ATIO not in self.ignored:
            self._take(regs27.EVENT_ATIO)

    def _take(self, code: int) -> None:
        if code == regs27.EVENT_RESPONSE:
            self.put_queue(0, regs27.RESPONSE_OUT, self.take_responses())
        elif code == regs27.EVENT_ATIO:
            self.put_queue(0, regs27.ATIO_OUT, self.take_atios())

    def pair(self, number: int, vector: int) -> Pair:
        """Make a pair of queues; HostError if the chip does not."""
        pair = Pair(self, number, vector)
        shadow = regs27.HAS_SHADOW
        more = {4: number, 5: pair.length, 14: vector}
        for address, inputs in (
            (pair.responses, {1: shadow | regs27.IS_RESPONSE, **more}),
            (pair.requests, {1: shadow, 10: number, **more}),
        ):
            if self.command(0x1F, self.with_address(address, inputs))[0] != 0x4000:
                raise HostError(f"queue {number} cannot be made")
        return pair


class Driver2300(HostDriver):
    """Drives an ISP2300 or 2312."""

    def set_mailbox(self, number: int, value: int) -> None:
        """See HostDriver."""
        self.put(regs2x.MAILBOX + 2 * number, value)

    def get_mailbox(self, number: int) -> int:
        """See HostDriver."""
        return self.get(regs2x.MAILBOX + 2 * number)

    def start_command(self) -> None:
        """See HostDriver."""
        self.put(regs2x.HCCR, 0x5000)

    def ring_doorbell(self, index: int) -> None:
        """See HostDriver."""
        self.put(regs2x.REQUEST_IN, index)

    def service(self) -> None:
        """See HostDriver."""
        for _ in range(50):
            status = self.get(regs2x.HOST_STATUS, 4)
            if not status & 0x8000:
                return
            code = status & 0xFF
            if code in (1, 2, 0x10, 0x11):
                self._collect_mailbox()
            elif code == 0x12:
                self._collect_event()
            elif code == 0x13:
                self.put(regs2x.RESPONSE_OUT, self.take_responses())
            elif code == 0x17:
                self.taken.fast.append(self.get_mailbox(2) << 16 | status >> 16)
            self.put(regs2x.HCCR, 0x7000)

    def start(self, options: int = 0x06, more: int = 0xE0, commands: int = 0, notifies: int = 0) -> None:
        """Reset, load, initialise and wait for the link.

        Option byte 0 bit 4 is target, bit 5 no initiator.
        """
        self.put(regs2x.CONTROL, 1)
        for command in (0x1000, 0x3000):
            self.put(regs2x.HCCR, command)
        identity = [self.get_mailbox(number) for number in range(1, 4)]
        if identity != list(regs2x.PRODUCT_ID[1:4]):
            raise HostError(f"wrong product id {identity}")
        self.put(regs2x.INTERRUPT_CONTROL, 0x8008)
        code = self.memory.allocate(64)
        self.command(0x09, self.with_address(code, {1: 0x800, 4: 32}))
        self.command(0x02, {1: 0x800})
        block = bytearray(96)
        block[0], block[2], block[3] = 1, options, more
        struct.pack_into(">Q", block, 12, self.chip.settings.wwpn)
        struct.pack_into(">Q", block, 24, self.chip.settings.wwnn)
        struct.pack_into("<HHQQ", block, 36, self.ring, self.ring, self.requests, self.responses)
        block[58], block[59] = commands, notifies
        result = self.command(0x60, self.with_address(self.memory.allocate(96, bytes(block))))
        if result[0] != 0x4000:
            raise HostError(f"initialise firmware failed with {result[0]:04x}")
        if self.chip.cable:
            self.event(0x8014)


class Driver2200(Driver2300):
    """Drives an ISP2200."""

    def _place(self, number: int) -> int:
        return regs2x.MAILBOX_2200 + 2 * number if number < 8 else regs2x.MAILBOX_2200_HIGH + 2 * (number - 8)

    def set_mailbox(self, number: int, value: int) -> None:
        """See HostDriver."""
        self.put(self._place(number), value)

    def get_mailbox(self, number: int) -> int:
        """See HostDriver."""
        return self.get(self._place(number))

    def ring_doorbell(self, index: int) -> None:
        """See HostDriver."""
        self.put(regs2x.MAILBOX_2200 + 8, index)

    def service(self) -> None:
        """See HostDriver."""
        for _ in range(50):
            if not self.get(regs2x.INTERRUPT_STATUS) & 8:
                return
            if not self.get(regs2x.SEMAPHORE) & 1:
                self.put(regs2x.MAILBOX_2200 + 10, self.take_responses())
                self.put(regs2x.HCCR, 0x7000)
                continue
            self.put(regs2x.HCCR, 0x7000)
            first = self.get_mailbox(0)
            if first < 0x8000:
                self._collect_mailbox()
            elif first == 0x8021:
                self.taken.fast.append(self.get_mailbox(2) << 16 | self.get_mailbox(1))
            else:
                self._collect_event()
            self.put(regs2x.SEMAPHORE, 0)
