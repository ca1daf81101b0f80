# SPDX-License-Identifier: GPL-2.0-or-later
"""PCI configuration space with write masks, and the capabilities the HBAs carry."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MSI_OFFSET = 0x54
MSIX_OFFSET = 0x7C
CONFIG_SIZE = 256


@dataclass(frozen=True, slots=True)
class PciIdentity:
    """What lspci shows."""

    device: int
    revision: int
    subsystem: int
    vendor: int = 0x1077
    class_code: int = 0x0C0400


class ConfigSpace:
    """256 bytes of configuration space; bits outside the write mask keep their value."""

    def __init__(self, identity: PciIdentity, interrupt_pin: int = 1) -> None:
        self._bytes = bytearray(CONFIG_SIZE)
        self._mask = bytearray(CONFIG_SIZE)
        self._tail = 0x34
        self._set(0, "<HH", identity.vendor, identity.device)
        self._set(0x08, "<I", identity.class_code << 8 | identity.revision)
        self._set(0x2C, "<HH", identity.vendor, identity.subsystem)
        self._set(0x3D, "<B", interrupt_pin)
        self._allow(0x04, "<H", 0x0547)
        self._allow(0x0C, "<H", 0xFFFF)
        self._allow(0x3C, "<B", 0xFF)
        self._initial = bytes(self._bytes)

    def _set(self, offset: int, layout: str, *values: int) -> None:
        struct.pack_into(layout, self._bytes, offset, *values)
        self._initial = bytes(self._bytes)

    def _allow(self, offset: int, layout: str, *bits: int) -> None:
        struct.pack_into(layout, self._mask, offset, *bits)

    def add_io_bar(self, index: int, size: int) -> None:
        """An I/O BAR."""
        self._set(0x10 + 4 * index, "<I", 1)
        self._allow(0x10 + 4 * index, "<I", 0xFFFFFFFF & ~(size - 1))

    def add_memory_bar(self, index: int, size: int, *, wide: bool) -> None:
        """A memory BAR; ``wide``: 64-bit, takes the next index too."""
        self._set(0x10 + 4 * index, "<I", 4 if wide else 0)
        self._allow(0x10 + 4 * index, "<I", 0xFFFFFFFF & ~(size - 1))
        if wide:
            self._allow(0x14 + 4 * index, "<I", 0xFFFFFFFF)

    def _link(self, offset: int) -> None:
        self._set(self._tail, "<B", offset)
        self._set(0x06, "<H", 0x0010)
        self._tail = offset + 1

    def add_msi(self) -> None:
        """One 64-bit MSI vector."""
        self._set(MSI_OFFSET, "<BBHIIH", 5, 0, 0x80, 0, 0, 0)
        self._allow(MSI_OFFSET + 2, "<HIIH", 0x71, 0xFFFFFFFC, 0xFFFFFFFF, 0xFFFF)
        self._link(MSI_OFFSET)

    def add_msix(self, vectors: int, bar: int, table: int, pending: int, offset: int = MSIX_OFFSET) -> None:
        """MSI-X with its table and pending bits in a memory BAR; ``offset``: of the capability."""
        self._set(offset, "<BBHII", 0x11, 0, vectors - 1, table | bar, pending | bar)
        self._allow(offset + 2, "<H", 0xC000)
        self._link(offset)

    def read(self, offset: int, count: int) -> bytes:
        """Read within the 256 bytes."""
        return bytes(self._bytes[offset : offset + count])

    def write(self, offset: int, data: bytes) -> None:
        """Write; masked bits change, the others stay."""
        for place, value in enumerate(data, offset):
            mask = self._mask[place]
            self._bytes[place] = self._bytes[place] & ~mask | value & mask

    def reset(self) -> None:
        """Back to the state after power-on."""
        self._bytes[:] = self._initial
