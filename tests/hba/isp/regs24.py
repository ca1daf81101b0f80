# SPDX-License-Identifier: GPL-2.0-or-later
"""Register file of the ISP24xx and ISP25xx."""

from __future__ import annotations

import struct
from collections import deque

from ..fc.media import AnyMedium
from ..loop import Loop
from ..vfio.dma import DmaFault
from ..vfio.protocol import IRQ_EVENTFD, IRQ_MSI, IRQ_MSIX, IRQ_NORESIZE
from .chip import EVENT_ATIO, Chip, Event, Tracer
from .models import Model, Settings, nvram_2400
from .queues import ENTRY, RequestQueue, ResponseQueue, Ring

FLASH_ADDRESS, FLASH_DATA, CONTROL, INTERRUPT_CONTROL, INTERRUPT_STATUS = 0x00, 0x04, 0x08, 0x0C, 0x10
REQUEST_IN, REQUEST_OUT, RESPONSE_IN, RESPONSE_OUT = 0x1C, 0x20, 0x24, 0x28
ATIO_IN, ATIO_OUT, HOST_STATUS, HCCR, MAILBOX = 0x3C, 0x40, 0x44, 0x48, 0x80
MAILBOX_END = MAILBOX + 64

ENABLE_RISC, SOFT_RESET, DMA_ACTIVE = 0x8, 0x1, 0x20000
RISC_RESET, HOST_STATUS_INTERRUPT = 0x20, 0x8000
FLASH_DONE = 0x80000000

HCCR_SET_RESET, HCCR_CLEAR_RESET, HCCR_HOST_INTERRUPT, HCCR_ACKNOWLEDGE = 0x1, 0x2, 0x5, 0xA

WORD, DWORD = struct.Struct("<H"), struct.Struct("<I")
MSIX_VECTORS = 16


class Isp2400(Chip):
    """ISP2432, ISP2532: 32-bit registers in BAR 1, MSI and MSI-X."""

    def __init__(
        self,
        loop: Loop,
        medium: AnyMedium,
        model: Model,
        settings: Settings,
        name: str,
        tracer: Tracer | None = None,
        interrupt: str = "msix",
    ) -> None:
        """``interrupt``: ``intx``, ``msi`` or ``msix``, the best the board offers."""
        super().__init__(loop, medium, model, settings, name, tracer)
        self.add_regions(interrupt)
        self._nvram = nvram_2400(settings)
        self._flash: dict[int, int] = {}
        self._registers: dict[int, int] = {}
        self._risc_reset = False
        self.atio = Ring()
        self.atio_out = 0
        self._unread: deque[bytes] = deque()

    def add_regions(self, interrupt: str) -> None:
        """BARs and interrupts."""
        self.config.add_io_bar(0, 256)
        self.config.add_memory_bar(1, 0x4000, wide=True)
        self._regions |= {0: 256, 1: 0x4000}
        if interrupt in ("msi", "msix"):
            self.config.add_msi()
            self._irqs[IRQ_MSI] = (IRQ_EVENTFD | IRQ_NORESIZE, 1)
        if interrupt == "msix":
            self.config.add_msix(MSIX_VECTORS, 1, 0x2000, 0x3000)
            self._irqs[IRQ_MSIX] = (IRQ_EVENTFD | IRQ_NORESIZE, MSIX_VECTORS)

    def reset_registers(self) -> None:
        """See Chip."""
        self._registers = {}
        self._risc_reset = False

    def base_queues(self, block: bytes) -> None:
        """The queues that the control block describes."""
        response_length, request_length = struct.unpack_from("<HH", block, 36)
        request_base, response_base = struct.unpack_from("<QQ", block, 44)
        responses = ResponseQueue(self, Ring(response_base, response_length))
        requests = RequestQueue(self, Ring(request_base, request_length), responses)
        self.start_queues(requests, responses, self.atio_ring(block))

    @staticmethod
    def atio_ring(block: bytes) -> Ring:
        """The ATIO queue that the control block describes, if any."""
        length, base = struct.unpack_from("<HQ", block, 78)
        return Ring(base, length if base else 0)

    def start_queues(
        self, requests: RequestQueue, responses: ResponseQueue, atio: Ring | None = None
    ) -> None:
        """See Chip."""
        super().start_queues(requests, responses)
        self.atio = atio or Ring()
        self.atio_out = 0

    def stop_queues(self) -> None:
        """See Chip."""
        super().stop_queues()
        self.atio = Ring()
        self._unread.clear()

    # Reading.

    def read_register(self, offset: int, count: int) -> bytes:
        """See Chip."""
        if offset == HOST_STATUS and count == 4:
            event = self.current
            if event is None:
                return b"\0\0\0\0"
            return DWORD.pack(event.code | HOST_STATUS_INTERRUPT | event.mailbox0 << 16)
        if MAILBOX <= offset < MAILBOX_END:
            raw = struct.pack("<32H", *(value & 0xFFFF for value in self.mailbox_out))
            return raw[offset - MAILBOX : offset - MAILBOX + count].ljust(count, b"\0")
        value = self._value(offset & ~3)
        return value.to_bytes(8, "little")[offset & 3 :][:count].ljust(count, b"\0")

    def _value(self, offset: int) -> int:
        if offset == HOST_STATUS:
            return DWORD.unpack(self.read_register(HOST_STATUS, 4))[0]  # type: ignore[no-any-return]
        if offset == INTERRUPT_STATUS:
            return ENABLE_RISC if self.current is not None else 0
        if offset == INTERRUPT_CONTROL:
            return ENABLE_RISC if self.interrupts else 0
        if offset == HCCR:
            return RISC_RESET if self._risc_reset else 0
        if offset == REQUEST_OUT:
            return self.request.index
        if offset == RESPONSE_IN:
            return self.response.index
        value = self._registers.get(offset, 0)
        if offset == CONTROL:
            return value & ~(SOFT_RESET | DMA_ACTIVE)
        return value

    # Writing.

    def write_register(self, offset: int, data: bytes) -> None:
        """See Chip."""
        value = int.from_bytes(data[:4], "little")
        if offset == HCCR:
            self._command(value >> 28)
        elif offset == REQUEST_IN:
            self._registers[REQUEST_IN] = value
            self.requests.moved(value)
        elif offset == RESPONSE_OUT:
            self._registers[RESPONSE_OUT] = value
            self.responses.taken(value)
        elif offset == ATIO_OUT:
            self._registers[ATIO_OUT] = value
            self.atios_taken(value)
        elif MAILBOX <= offset < MAILBOX_END:
            for place in range(0, len(data) - 1, 2):
                number = (offset + place - MAILBOX) >> 1
                if number < len(self.mailbox_in):
                    self.mailbox_in[number] = WORD.unpack_from(data, place)[0]
        elif offset == INTERRUPT_CONTROL:
            self.enable_interrupts(bool(value & ENABLE_RISC))
        elif offset == FLASH_ADDRESS:
            self._flash_access(value)
        elif offset == CONTROL and value & SOFT_RESET:
            self.power_on()
        else:
            self._registers[offset & ~3] = value

    def _command(self, command: int) -> None:
        if command == HCCR_ACKNOWLEDGE:
            self.acknowledge()
        elif command == HCCR_HOST_INTERRUPT:
            self.doorbell()
        elif command == HCCR_SET_RESET:
            self._risc_reset = True
        elif command == HCCR_CLEAR_RESET:
            self._risc_reset = False
            self.mailbox_out[0] = 0

    def _flash_access(self, value: int) -> None:
        if value & FLASH_DONE:
            self._flash[value & ~FLASH_DONE] = self._registers.get(FLASH_DATA, 0)
            self._registers[FLASH_ADDRESS] = value & ~FLASH_DONE
        else:
            self._registers[FLASH_DATA] = self.flash_word(value)
            self._registers[FLASH_ADDRESS] = value | FLASH_DONE

    def flash_word(self, address: int) -> int:
        """A 32-bit word of the flash and parameter memory space (see the register manual's address map)."""
        if address in self._flash:
            return self._flash[address]
        if 0x7FFE0000 <= address < 0x7FFF0000:
            return self._nvram_word(address - 0x7FFE0000)
        if 0x7FF00000 <= address < 0x80000000 and address < 0x7FFD0000:
            word = address - 0x7FF00000
            if self.model.nvram_in_flash and 0x48000 <= word < 0x48200:
                return self._nvram_word(word - 0x48000)
            return 0xFFFFFFFF
        if address & 0xFFFF in (0x03AB, 0x039F):
            return 0x2015
        return 0

    def _nvram_word(self, word: int) -> int:
        # VPD (empty) in the first half, NVRAM in the second, the same for both functions.
        place = word & 0xFF
        return DWORD.unpack_from(self._nvram, (place - 0x80) * 4)[0] if place >= 0x80 else 0

    # Queues.

    def give_atio(self, entry: bytes) -> None:
        """Put an entry on the ATIO queue and tell the host; DmaFault goes to the caller.

        While the queue is full, entries wait.
        """
        if not self.atio.length:
            return
        if self.tracer is not None:
            self.tracer.entry(self, "<a", entry)
        if self._unread or not self._fits(entry):
            if not self._unread:
                self.note("ATIO queue full")
            self._unread.append(entry)
            return
        self._put_atio(entry)
        self.announce_atios()

    def _fits(self, entry: bytes) -> bool:
        return not self.habits.back_pressure or -(-len(entry) // ENTRY) <= self.atio.free(self.atio_out)

    def _put_atio(self, entry: bytes) -> None:
        place = self.atio.advance()
        for start in range(ENTRY, len(entry), ENTRY):
            self.bus.dma.write(self.atio.advance(), entry[start : start + ENTRY].ljust(ENTRY, b"\0"))
        self.publish(place, entry[:ENTRY].ljust(ENTRY, b"\0"))
        self._registers[ATIO_IN] = self.atio.index

    def announce_atios(self) -> None:
        """Tell the host that there is something on the ATIO queue."""
        if not any(event.code == EVENT_ATIO for event in self._queue):
            self.post(Event(EVENT_ATIO, 0, {}))

    def atios_taken(self, out: int) -> None:
        """The host moved the ATIO queue's out-pointer."""
        self.atio_out = out
        if not self._unread:
            return
        while self._unread and self._fits(self._unread[0]):
            try:
                self._put_atio(self._unread.popleft())
            except DmaFault as err:
                self.note(f"ATIO queue: {err}")
        self.announce_atios()
