# SPDX-License-Identifier: GPL-2.0-or-later
"""Request and response queues in host memory, with pointers that both sides respect."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ..loop import Timer
from ..vfio.dma import DmaFault

if TYPE_CHECKING:
    from .chip import Chip

ENTRY = 64
SIGNATURE_PLACE = 60
ASYNC_REQUEST_ERROR, ASYNC_RESPONSE_ERROR = 0x8003, 0x8004


class Ring:
    """A circular queue of 64-byte entries in host memory."""

    __slots__ = ("base", "index", "length")

    def __init__(self, base: int = 0, length: int = 0) -> None:
        self.base, self.length, self.index = base, length, 0

    def advance(self) -> int:
        """Address of the current entry; the index moves on."""
        address = self.base + self.index * ENTRY
        self.index = (self.index + 1) % self.length
        return address

    def free(self, out: int) -> int:
        """Entries that can be written before the one at ``out``, which has not been read.

        One always stays empty: equal pointers mean an empty queue.
        """
        return (out - self.index - 1) % self.length

    @property
    def shadow(self) -> int:
        """Where a chip that does so writes its pointer to: behind the last entry."""
        return self.base + self.length * ENTRY


class ResponseQueue:
    """A queue to the host.  While it is full, entries wait."""

    def __init__(
        self, chip: Chip, ring: Ring, number: int = 0, *, vector: int | None = None, shadow: bool = False
    ) -> None:
        """``vector``: of MSI-X, if the queue has one of its own.

        ``shadow``: the in-pointer is written to host memory as well.
        """
        self.chip, self.ring, self.number, self.vector, self.shadow = chip, ring, number, vector, shadow
        self.out = 0
        self.unsent: deque[bytes] = deque()
        self._announcement: Timer | None = None

    def close(self) -> None:
        """Nothing comes any more."""
        self.ring = Ring()
        self.unsent.clear()
        if self._announcement is not None:
            self._announcement.cancel()
            self._announcement = None

    def drained(self) -> bool:
        """The host has taken everything."""
        return self.out == self.ring.index

    def respond(self, entry: bytes, *, hurry: bool = True) -> None:
        """Put an entry on the queue and tell the host; without ``hurry`` after `Chip.coalesce` s."""
        chip = self.chip
        if not self.ring.length:
            return
        if chip.tracer is not None:
            chip.tracer.entry(chip, "<", entry)
        if self.unsent or (chip.habits.back_pressure and not self.ring.free(self.out)):
            if not self.unsent:
                chip.note(f"response queue {self.number} full")
            self.unsent.append(entry)
            return
        if not self._put(entry):
            return
        if hurry:
            self._announce()
        elif self._announcement is None:
            self._announcement = chip.loop.call_later(chip.coalesce, self._announce)

    def _put(self, entry: bytes) -> bool:
        chip = self.chip
        try:
            chip.publish(self.ring.advance(), entry)
            if self.shadow:
                chip.bus.dma.write(self.ring.shadow, self.ring.index.to_bytes(2, "little"))
        except DmaFault as err:
            chip.transfer_error(ASYNC_RESPONSE_ERROR, err)
            return False
        return True

    def _announce(self) -> None:
        if self._announcement is not None:
            self._announcement.cancel()
            self._announcement = None
        self.chip.announce_responses(self)

    def taken(self, out: int) -> None:
        """The host moved the out-pointer."""
        self.out = out
        if not self.unsent:
            return
        while self.unsent and self.ring.free(out):
            self._put(self.unsent.popleft())
        self._announce()
        self.chip.take_requests()


class RequestQueue:
    """A queue from the host.  Entries are taken as far as the firmware has room for them."""

    def __init__(self, chip: Chip, ring: Ring, answers: ResponseQueue, *, shadow: bool = False) -> None:
        """``answers``: where answers go.  ``shadow``: the out-pointer is written to host memory as well."""
        self.chip, self.ring, self.answers, self.shadow = chip, ring, answers, shadow
        self._in = 0
        self._taking = False

    def close(self) -> None:
        """Nothing is taken any more."""
        self.ring = Ring()
        self._in = 0

    def moved(self, index: int) -> None:
        """The host moved the in-pointer."""
        if index < self.ring.length:
            self._in = index
            self.take()

    @property
    def given(self) -> int:
        """The host's in-pointer."""
        return self._in

    def take(self) -> None:
        """Carry out what is there, as far as there is room."""
        if self._taking or self.ring.index == self._in:
            return
        self._taking = True
        try:
            while self._may_take() and self._take_one():
                pass
            if self.shadow and self.ring.length:
                self.chip.bus.dma.write(self.ring.shadow, self.ring.index.to_bytes(2, "little"))
        except DmaFault as err:
            self.chip.transfer_error(ASYNC_REQUEST_ERROR, err)
        finally:
            self._taking = False

    def _may_take(self) -> bool:
        if self.ring.index == self._in or self.answers.unsent:
            return False
        return self.chip.firmware.room() and self.chip.paced()

    def _take_one(self) -> bool:
        chip = self.chip
        entry = self._read()
        if entry is None:
            return False
        if chip.tracer is not None:
            chip.tracer.entry(chip, ">", entry)
        chip.answers = self.answers
        try:
            chip.firmware.request(entry)
        finally:
            chip.answers = chip.responses
        return True

    def _read(self) -> bytes | None:
        """The next entry with its continuations; None (and an event) if it cannot be read."""
        ring, read = self.ring, self.chip.bus.dma.read
        try:
            entry = read(ring.advance(), ENTRY)
            for _ in range(entry[1] - 1):
                if ring.index == self._in:
                    break
                entry += read(ring.advance(), ENTRY)
        except DmaFault as err:
            self.chip.transfer_error(ASYNC_REQUEST_ERROR, err)
            return None
        return entry
