# SPDX-License-Identifier: GPL-2.0-or-later
"""Register files of the ISP2300, ISP2312 and ISP2200, with their serial parameter memory."""

from __future__ import annotations

import struct

from ..fc.media import AnyMedium
from ..loop import Loop
from .chip import EVENT_ASYNC, EVENT_FAST_CTIO, Chip, Event, Tracer
from .models import Model, Settings, nvram_2300

CONTROL, INTERRUPT_CONTROL, INTERRUPT_STATUS, SEMAPHORE, NVRAM = 0x06, 0x08, 0x0A, 0x0C, 0x0E
REQUEST_IN, REQUEST_OUT, RESPONSE_IN, RESPONSE_OUT = 0x10, 0x12, 0x14, 0x16
HOST_STATUS, HOST_SEMAPHORE, MAILBOX = 0x18, 0x1C, 0x40
FRAME_BUFFER, HCCR = 0x80, 0xC0
MAILBOX_2200, MAILBOX_2200_HIGH = 0x10, 0xE0

SOFT_RESET, SELECT_FPM, ENABLE_ALL, ENABLE_RISC, PAUSED = 0x1, 0x20, 0x8000, 0x8, 0x20
RESET_RISC, PAUSE_RISC, RELEASE_RISC, HOST_INTERRUPT, ACKNOWLEDGE = 0x1, 0x2, 0x3, 0x5, 0x7
PRODUCT_ID = (0, 0x4953, 0x5020, 0x2020, 0)
EE_CLOCK, EE_SELECT, EE_TO_CHIP, EE_FROM_CHIP, EE_BUSY = 0x1, 0x2, 0x4, 0x8, 0x8000
EE_COMMAND_BITS = 11
EE_READ, EE_WRITE = 6, 5


class SerialMemory:
    """The bit-banged EEPROM behind the NVRAM port.

    11 command bits, then 16 data bits, one per rising clock.
    """

    def __init__(self, image: bytes) -> None:
        self.image = bytearray(image)
        self._port = 0
        self._count = self._command = self._shift = self._out = 0
        self._clock = False

    def read(self) -> int:
        """The port."""
        return self._port & ~(EE_FROM_CHIP | EE_BUSY) | (EE_FROM_CHIP if self._out else 0)

    def write(self, value: int) -> None:
        """Drive the lines."""
        self._port = value
        if not value & EE_SELECT:
            self._finish()
            self._count = self._command = self._out = 0
            self._clock = False
            return
        rising = bool(value & EE_CLOCK) and not self._clock
        self._clock = bool(value & EE_CLOCK)
        if rising:
            self._step(bool(value & EE_TO_CHIP))

    def _step(self, bit: bool) -> None:
        if self._count < EE_COMMAND_BITS:
            self._command = self._command << 1 | bit
        else:
            if self._count == EE_COMMAND_BITS:
                self._shift = self._word() if self._command >> 8 == EE_READ else 0
            self._out = self._shift >> 15 & 1
            self._shift = (self._shift << 1 | bit) & 0xFFFF
        self._count += 1

    def _word(self) -> int:
        word: int = struct.unpack_from("<H", self.image, self._command * 2 & 0xFF)[0]
        return word

    def _finish(self) -> None:
        if self._command >> 8 == EE_WRITE and self._count == EE_COMMAND_BITS + 16:
            struct.pack_into("<H", self.image, self._command * 2 & 0xFF, self._shift)


class Isp2300(Chip):
    """ISP2300, ISP2312: 16-bit registers in BAR 0 (I/O) and BAR 1 (memory), INTx only."""

    def __init__(
        self,
        loop: Loop,
        medium: AnyMedium,
        model: Model,
        settings: Settings,
        name: str,
        tracer: Tracer | None = None,
    ) -> None:
        super().__init__(loop, medium, model, settings, name, tracer)
        self.config.add_io_bar(0, 256)
        self.config.add_memory_bar(1, 0x1000, wide=False)
        self._regions |= {0: 256, 1: 0x1000}
        self.memory = SerialMemory(nvram_2300(settings))
        self._registers: dict[int, int] = {}
        self._paused = False
        self._host_semaphore = 0

    def reset_registers(self) -> None:
        """See Chip."""
        self._registers = {}
        self._paused = False
        self._host_semaphore = 0
        self.mailbox_out[: len(PRODUCT_ID)] = PRODUCT_ID

    def read_register(self, offset: int, count: int) -> bytes:
        """See Chip."""
        offset &= 0xFF
        if count == 2 and not offset & 1:
            return self._value(offset).to_bytes(2, "little")
        first = offset & ~1
        places = range(first, offset + count, 2)
        data = b"".join(self._value(place & 0xFF).to_bytes(2, "little") for place in places)
        return data[offset - first :][:count]

    def _value(self, offset: int) -> int:
        special = self.special_value(offset)
        if special is not None:
            return special & 0xFFFF
        if offset == CONTROL:
            return self._registers.get(CONTROL, 0) & 0x3FFE
        if offset == INTERRUPT_CONTROL:
            return ENABLE_ALL | ENABLE_RISC if self.interrupts else 0
        if offset == INTERRUPT_STATUS:
            return ENABLE_RISC if self.current is not None else 0
        if offset == NVRAM:
            return self.memory.read()
        if offset == HCCR:
            return PAUSED if self._paused else 0
        return self._registers.get(offset, 0)

    def special_value(self, offset: int) -> int | None:
        """Registers that the families place differently; None: not one of them."""
        if offset in (HOST_STATUS, HOST_STATUS + 2):
            return self._host_status() >> (8 * (offset - HOST_STATUS))
        if MAILBOX <= offset < MAILBOX + 64:
            return self.mailbox_out[(offset - MAILBOX) >> 1]
        if offset == REQUEST_OUT:
            return self.request.index
        if offset == RESPONSE_IN:
            return self.response.index
        if offset == HOST_SEMAPHORE:
            return self._host_semaphore
        if offset == FRAME_BUFFER:
            return self.model.fpm_revision if self._registers.get(CONTROL, 0) & SELECT_FPM else 0
        return None

    def _host_status(self) -> int:
        event = self.current
        if event is None:
            return 0
        return event.code | 0x8000 | event.mailbox0 << 16

    def write_register(self, offset: int, data: bytes) -> None:
        """See Chip."""
        offset &= 0xFE
        for place in range(0, len(data), 2):
            value = int.from_bytes(data[place : place + 2], "little")
            register = (offset + place) & 0xFE
            if not self.special_write(register, value):
                self._write(register, value)

    def special_write(self, offset: int, value: int) -> bool:
        """Registers that the families place differently; False: not one of them."""
        if MAILBOX <= offset < MAILBOX + 64:
            self.mailbox_in[(offset - MAILBOX) >> 1] = value
        elif offset == REQUEST_IN:
            self.requests.moved(value)
        elif offset == RESPONSE_OUT:
            self._registers[RESPONSE_OUT] = value
            self.responses.taken(value)
        elif offset == HOST_SEMAPHORE:
            self._host_semaphore = value & 1
        else:
            return False
        return True

    def _write(self, offset: int, value: int) -> None:
        if offset == HCCR:
            self._command(value >> 12)
        elif offset == INTERRUPT_CONTROL:
            self.enable_interrupts(value & (ENABLE_ALL | ENABLE_RISC) == ENABLE_ALL | ENABLE_RISC)
        elif offset == NVRAM:
            self.memory.write(value)
        elif offset == CONTROL and value & SOFT_RESET:
            self.power_on()
        else:
            self._registers[offset] = value

    def _command(self, command: int) -> None:
        if command == ACKNOWLEDGE:
            self.acknowledge()
        elif command == HOST_INTERRUPT:
            self.doorbell()
        elif command == PAUSE_RISC:
            self._paused = True
        elif command == RELEASE_RISC:
            self._paused = False
        elif command == RESET_RISC:
            self._reset_risc()

    def _reset_risc(self) -> None:
        self.epoch += 1
        self.running = False
        self.firmware.reset()
        self.mailbox_out[: len(PRODUCT_ID)] = PRODUCT_ID

    def fast_ctio(self, handle: int) -> None:
        """Complete a CTIO without a queue entry: handle low in the host status, high in mailbox 2."""
        self.post(Event(EVENT_FAST_CTIO, handle & 0xFFFF, {2: handle >> 16}))


class Isp2200(Isp2300):
    """ISP2200: eight mailboxes that double as queue pointers, a semaphore instead of a host status."""

    def __init__(
        self,
        loop: Loop,
        medium: AnyMedium,
        model: Model,
        settings: Settings,
        name: str,
        tracer: Tracer | None = None,
    ) -> None:
        super().__init__(loop, medium, model, settings, name, tracer)
        self._semaphore = False
        self._waiting = False
        self._loading = False

    def reset_registers(self) -> None:
        """See Chip."""
        super().reset_registers()
        self._semaphore = self._waiting = self._loading = False

    def special_value(self, offset: int) -> int | None:
        """See Isp2300."""
        if MAILBOX_2200 <= offset < MAILBOX_2200 + 16:
            number = (offset - MAILBOX_2200) >> 1
            if self.request.length and number in (4, 5):
                return (self.request if number == 4 else self.response).index
            return self.mailbox_out[number]
        if offset >= MAILBOX_2200_HIGH:
            return self.mailbox_out[8 + ((offset - MAILBOX_2200_HIGH) >> 1)]
        if offset == SEMAPHORE:
            return int(self._semaphore)
        return None

    def special_write(self, offset: int, value: int) -> bool:
        """See Isp2300."""
        if MAILBOX_2200 <= offset < MAILBOX_2200 + 16:
            self._low_mailbox((offset - MAILBOX_2200) >> 1, value)
        elif offset >= MAILBOX_2200_HIGH:
            self.mailbox_in[8 + ((offset - MAILBOX_2200_HIGH) >> 1)] = value
        elif offset == SEMAPHORE:
            self._release(bool(value & 1))
        else:
            return False
        return True

    def _low_mailbox(self, number: int, value: int) -> None:
        """Mailboxes 0 to 7; 4 and 5 are queue pointers except in a command, which starts with mailbox 0.

        The in-tree driver loads mailbox 4 for a few commands even on this chip.
        """
        self.mailbox_in[number] = value
        if number == 0:
            self._loading = True
        elif self.request.length and not self._loading:
            if number == 4:
                self.requests.moved(value)
            elif number == 5:
                self.responses.taken(value)

    def doorbell(self) -> None:
        """See Chip."""
        self._loading = False
        super().doorbell()

    def event_presented(self, event: Event) -> None:
        """See Chip: the semaphore says that the mailboxes belong to the host."""
        self._semaphore = event.code <= EVENT_ASYNC

    def acknowledge(self) -> None:
        """See Chip: mailboxes stay untouched until the host gives the semaphore back."""
        if self.current is not None and self._semaphore:
            self._waiting = True
            self.hold()
            return
        super().acknowledge()

    def _release(self, locked: bool) -> None:
        self._semaphore = locked
        if not locked and self._waiting:
            self._waiting = False
            self.unhold()

    def fast_ctio(self, handle: int) -> None:
        """Complete a CTIO without a queue entry: an asynchronous event with the handle."""
        self.async_event(0x8021, handle & 0xFFFF, handle >> 16)
