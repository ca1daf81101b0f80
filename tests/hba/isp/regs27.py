# SPDX-License-Identifier: GPL-2.0-or-later
"""Register file of the ISP27xx: the registers of the 24xx, and a page for each pair of queues.

A queue has an MSI-X vector of its own and is not acknowledged; pointers are written to host memory as well.
"""

from __future__ import annotations

import struct

from ..vfio.protocol import IRQ_EVENTFD, IRQ_MSI, IRQ_MSIX, IRQ_NORESIZE
from .chip import Event
from .models import nvram_2700
from .queues import RequestQueue, ResponseQueue, Ring
from .regs24 import DWORD, MSIX_VECTORS, Isp2400

QUEUES_BAR, VECTORS_BAR = 4, 2
QUEUE_PAGE, QUEUES = 0x1000, 16
MSIX_PLACE = 0x90
REQUEST_IN, REQUEST_OUT, RESPONSE_IN, RESPONSE_OUT, ATIO_IN, ATIO_OUT = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14
EVENT_RESPONSE, EVENT_ATIO = 0x14, 0x1E
HANDSHAKE, ATIO_WITHOUT_VECTOR, SHADOWS = 1 << 22, 1 << 26, 3 << 29
"""Firmware options 2: what the driver acknowledges, and where pointers go."""
DELETE, IS_RESPONSE, HAS_HANDSHAKE, HAS_SHADOW = 1 << 0, 1 << 1, 1 << 6, 1 << 13
"""Options of a queue."""
FLASH_BASE, FLASH_END = 0x7F800000, 0x7FFD0000
LAYOUT_PLACE, NVRAM_PLACE, VPD_PLACE = 0x3F1000 // 4, 0x3F2000 // 4, 0x3F2400 // 4
REGION_VPD, REGION_NVRAM = 0x14, 0x15
VPD_SIZE = 512


def flash_layout() -> bytes:
    """The flash layout table: where VPD and NVRAM of the first function are."""
    regions = b"".join(
        struct.pack("<HBBIII", code, 0, 0, size, place * 4, place * 4 + size - 1)
        for code, place, size in ((REGION_VPD, VPD_PLACE, VPD_SIZE), (REGION_NVRAM, NVRAM_PLACE, 512))
    )
    head = struct.pack("<HH", 1, len(regions))
    total = sum(struct.unpack(f"<{(len(head) + len(regions)) // 2}H", head + regions))
    return head + struct.pack("<HH", -total & 0xFFFF, 0) + regions


class Isp2700(Isp2400):
    """ISP2261: registers in BAR 0, MSI-X in BAR 2, queues in BAR 4."""

    def add_regions(self, interrupt: str) -> None:
        """See Isp2400."""
        for bar, size in ((0, 0x4000), (VECTORS_BAR, 0x4000), (QUEUES_BAR, QUEUE_PAGE * QUEUES)):
            self.config.add_memory_bar(bar, size, wide=True)
            self._regions[bar] = size
        if interrupt in ("msi", "msix"):
            self.config.add_msi()
            self._irqs[IRQ_MSI] = (IRQ_EVENTFD | IRQ_NORESIZE, 1)
        if interrupt == "msix":
            self.config.add_msix(MSIX_VECTORS, VECTORS_BAR, 0, 0x2000, MSIX_PLACE)
            self._irqs[IRQ_MSIX] = (IRQ_EVENTFD | IRQ_NORESIZE, MSIX_VECTORS)
        self.answering: dict[int, ResponseQueue] = {}
        self.asking: dict[int, RequestQueue] = {}
        self._atio_vector: int | None = None
        self._image = {LAYOUT_PLACE: flash_layout(), NVRAM_PLACE: nvram_2700(self.settings)}

    # Registers.

    def read(self, region: int, offset: int, count: int) -> bytes:
        """See Chip."""
        if region == VECTORS_BAR:
            return bytes(count)
        if region != QUEUES_BAR or self.dead:
            return super().read(region, offset, count)
        value = self._pointer(offset // QUEUE_PAGE, offset % QUEUE_PAGE & ~3)
        return DWORD.pack(value)[offset & 3 :][:count].ljust(count, b"\0")

    def _pointer(self, number: int, register: int) -> int:
        if register == ATIO_IN:
            return self.atio.index
        if register == ATIO_OUT:
            return self.atio_out
        requests, responses = self.asking.get(number), self.answering.get(number)
        if requests is not None and register in (REQUEST_IN, REQUEST_OUT):
            return requests.ring.index if register == REQUEST_OUT else requests.given
        if responses is not None and register in (RESPONSE_IN, RESPONSE_OUT):
            return responses.ring.index if register == RESPONSE_IN else responses.out
        return 0

    def write(self, region: int, offset: int, data: bytes) -> None:
        """See Chip."""
        if region == VECTORS_BAR:
            return
        if region != QUEUES_BAR or self.dead:
            super().write(region, offset, data)
            return
        number, register = divmod(offset, QUEUE_PAGE)
        value = int.from_bytes(data[:4], "little")
        if register == ATIO_OUT:
            self.atios_taken(value)
        elif register == REQUEST_IN and number in self.asking:
            self.asking[number].moved(value)
        elif register == RESPONSE_OUT and number in self.answering:
            self.answering[number].taken(value)

    def flash_word(self, address: int) -> int:
        """See Isp2400."""
        if address in self._flash or not FLASH_BASE <= address < FLASH_END:
            return super().flash_word(address)
        for place, image in self._image.items():
            start = (address - FLASH_BASE - place) * 4
            if 0 <= start < len(image):
                return int.from_bytes(image[start : start + 4], "little")
        return 0xFFFFFFFF

    # Queues.

    def base_queues(self, block: bytes) -> None:
        """See Isp2400: also vectors, and where pointers go."""
        (options,) = struct.unpack_from("<I", block, 96)
        response_length, request_length = struct.unpack_from("<HH", block, 36)
        request_base, response_base = struct.unpack_from("<QQ", block, 44)
        vector, atio_vector = struct.unpack_from("<HH", block, 68)
        shadow = bool(options & SHADOWS)
        responses = ResponseQueue(
            self,
            Ring(response_base, response_length),
            vector=None if options & HANDSHAKE else vector,
            shadow=shadow,
        )
        requests = RequestQueue(self, Ring(request_base, request_length), responses, shadow=shadow)
        self.start_queues(requests, responses, self.atio_ring(block))
        self._atio_vector = None if options & ATIO_WITHOUT_VECTOR else atio_vector
        self.answering[0], self.asking[0] = responses, requests

    def stop_queues(self) -> None:
        """See Chip."""
        super().stop_queues()
        for requests in self.asking.values():
            requests.close()
        for responses in self.answering.values():
            responses.close()
        self.answering.clear()
        self.asking.clear()
        self._atio_vector = None

    def queue_command(self, m: list[int], address: int) -> bool:
        """Make or delete a queue; False: it cannot be."""
        options, number = m[1], m[4]
        if not 0 < number < QUEUES:
            return False
        if options & DELETE:
            return self._delete(number, bool(options & IS_RESPONSE))
        ring, shadow = Ring(address, m[5]), bool(options & HAS_SHADOW)
        if options & IS_RESPONSE:
            vector = None if options & HAS_HANDSHAKE else m[14]
            self.answering[number] = ResponseQueue(self, ring, number, vector=vector, shadow=shadow)
            return True
        answers = self.answering.get(m[10])
        if answers is None:
            return False
        self.asking[number] = RequestQueue(self, ring, answers, shadow=shadow)
        return True

    def _delete(self, number: int, is_response: bool) -> bool:
        queue = (self.answering if is_response else self.asking).pop(number, None)
        if queue is not None:
            queue.close()
        return queue is not None

    def take_requests(self) -> None:
        """See Chip."""
        for queue in list(self.asking.values()):
            queue.take()

    def announce_responses(self, queue: ResponseQueue) -> None:
        """See Chip."""
        if queue.vector is not None and self.bus.trigger(IRQ_MSIX, queue.vector):
            return
        self.announce(EVENT_RESPONSE)

    def announce_atios(self) -> None:
        """See Isp2400."""
        if self._atio_vector is None or not self.bus.trigger(IRQ_MSIX, self._atio_vector):
            self.announce(EVENT_ATIO)

    def announce(self, code: int) -> None:
        """An event, unless the same waits already."""
        if not any(event.code == code for event in self.waiting_events):
            self.post(Event(code, 0, {}))
