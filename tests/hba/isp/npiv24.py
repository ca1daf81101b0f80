# SPDX-License-Identifier: GPL-2.0-or-later
"""Virtual ports (NPIV) of the ISP24xx."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ..fc.media import Switch
from .chip import EntryDone

if TYPE_CHECKING:
    from .fw24 import Firmware24, Port24

ENABLE, DISABLE = 0x00, 0x08
MODIFY_AND_ENABLE = 0x01
OPTION_ENABLED, OPTION_INITIATOR, OPTION_TARGET_OFF = 0x08, 0x10, 0x20
STATUS_OK, STATUS_ERROR, STATUS_BAD_INDEX = 0, 1, 2
MID_ENTRIES = 132
MID_ENTRY = 20
MAX_PORTS = 63


class Virtual24:
    """See module text."""

    def __init__(self, firmware: Firmware24) -> None:
        self._firmware = firmware
        self._chip = firmware.chip
        self._enabled: dict[int, Port24] = {}

    def load(self, address: int) -> None:
        """Take virtual ports that the MID control block enables."""
        (count,) = struct.unpack("<H", self._chip.bus.dma.read(address + 128, 2))
        table = self._chip.bus.dma.read(address + MID_ENTRIES, min(count, MAX_PORTS) * MID_ENTRY)
        for index in range(1, len(table) // MID_ENTRY):
            record = table[index * MID_ENTRY : (index + 1) * MID_ENTRY]
            if record[2] & OPTION_ENABLED and any(record[4:12]):
                self._configure(index, record[2], record[4:12], record[12:20])

    def _configure(self, index: int, options: int, wwpn: bytes, wwnn: bytes) -> Port24:
        # fw24 imports this module.
        from .fw24 import OPTION_INITIATOR_OFF, OPTION_TARGET, Port24

        firmware_options = 0 if options & OPTION_TARGET_OFF else OPTION_TARGET
        firmware_options |= 0 if options & OPTION_INITIATOR else OPTION_INITIATOR_OFF
        service = self._firmware.service(firmware_options)
        port = Port24(
            self._firmware, index, int.from_bytes(wwpn, "big"), int.from_bytes(wwnn, "big"), service
        )
        self._enabled[index] = port
        return port

    def configure(self, entry: bytes, done: EntryDone) -> None:
        """VP config entry: names and options, and with command 1 the port comes up."""
        command, index = entry[12], entry[14]
        if not 0 < index <= MAX_PORTS:
            done(_with_status(entry, STATUS_BAD_INDEX))
            return
        self._disable(index)
        self._configure(index, entry[16], entry[20:28], entry[28:36])
        done(_with_status(entry, STATUS_OK))
        if command == MODIFY_AND_ENABLE:
            self._enable(index)

    def control(self, entry: bytes, done: EntryDone) -> None:
        """VP control entry: enable or disable ports by a bit map."""
        (command,) = struct.unpack_from("<H", entry, 12)
        indexes = [index for index in range(1, 129) if entry[16 + (index - 1) // 8] >> (index - 1) % 8 & 1]
        unknown = [index for index in indexes if index not in self._enabled]
        if command == ENABLE and unknown:
            done(_with_status(entry, STATUS_ERROR))
            return
        for index in indexes:
            if command == ENABLE:
                self._enable(index)
            elif command >= DISABLE:
                self._disable(index)
                self._enabled.pop(index, None)
        done(_with_status(entry, STATUS_OK))

    def _enable(self, index: int) -> None:
        medium = self._chip.medium
        port = self._enabled[index]
        self._firmware.ports[index] = port
        if isinstance(medium, Switch) and not port.nport.online:
            medium.add_virtual(self._firmware.physical.nport, port.nport)

    def _disable(self, index: int) -> None:
        port = self._firmware.ports.pop(index, None) if index else None
        medium = self._chip.medium
        if port is None:
            return
        if isinstance(medium, Switch) and port.nport.online:
            medium.remove_virtual(port.nport)
        for handle in [h for h, (owner, _) in self._firmware.handles.items() if owner is port]:
            del self._firmware.handles[handle]

    def link_lost(self) -> None:
        """The cable is pulled: virtual ports lose their addresses but stay configured."""
        for index in list(self._enabled):
            self._disable(index)

    def link_restored(self) -> None:
        """The physical port is back: acquire addresses again."""
        for index in list(self._enabled):
            self._enable(index)

    def remove_all(self) -> None:
        """Chip reset."""
        self.link_lost()
        self._enabled.clear()


def _with_status(entry: bytes, status: int) -> bytes:
    return entry[:1] + b"\1" + entry[2:10] + status.to_bytes(2, "little") + entry[12:64]
