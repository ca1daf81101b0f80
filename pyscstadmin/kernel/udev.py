# SPDX-License-Identifier: GPL-2.0-or-later
"""The udev database: what its rules have found out about block devices, and the links they have made."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Database", "Entry", "UdevDatabase"]

_DATA = "/run/udev/data"
_BY_SEQUENCE = "/dev/disk/by-diskseq/"
_WANTED = (
    "DEVNAME",
    "ID_FS_UUID",
    "ID_PART_ENTRY_UUID",
    "ID_SERIAL",
    "ID_WWN",
    "ID_WWN_WITH_EXTENSION",
    "MD_UUID",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a block device: properties, and the paths of its links."""

    properties: Mapping[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()

    def is_of(self, sequence: str) -> bool:
        """Whether it is about the disk of this sequence number, as far as it tells: just after another disk
        has got the number of one that has gone, it is about that one.
        """
        told = [link.removeprefix(_BY_SEQUENCE) for link in self.links if link.startswith(_BY_SEQUENCE)]
        return not told or not sequence or any(one.partition("-")[0] == sequence for one in told)


class Database(Protocol):
    """Anything that knows block devices by number."""

    def entry(self, number: int) -> Entry | None:
        """What is known of a block device; None: nothing, or not yet."""

    def stamp(self, number: int) -> str:
        """When that was found out last; '' if it does not say."""

    def settled(self, number: int) -> bool:
        """Whether there is no more to come of a block device for now."""


class UdevDatabase:
    """That of the running machine. Where there is no udev, or no library for it, it knows nothing."""

    def __init__(self, data: str = _DATA) -> None:
        self._context: Any = None
        self._data = data
        # The library is for one thread; a look that somebody has given up may go on beside the next one.
        self._one = threading.Lock()

    def stamp(self, number: int) -> str:
        """When that was found out last; '' if it does not say."""
        try:
            return str(os.stat(f"{self._data}/b{os.major(number)}:{os.minor(number)}").st_mtime_ns)
        except OSError:
            return ""

    def settled(self, number: int) -> bool:
        """Whether its rules are through with a block device, if there is anybody to run them."""
        return bool(self.stamp(number)) or not os.path.isdir(self._data)

    def entry(self, number: int) -> Entry | None:
        """What is known of a block device; None: nothing, or not yet."""
        try:
            import pyudev  # costs more to import than most commands take to run
        except ImportError:
            return None
        try:
            with self._one:
                if self._context is None:
                    self._context = pyudev.Context()
                device = pyudev.Devices.from_device_number(self._context, "block", number)
                return _entry(device) if device.is_initialized else None
        except (ImportError, OSError, ValueError, pyudev.DeviceNotFoundError):
            return None  # no library, no such device, or one that goes just now


def _entry(device: Any) -> Entry:
    found = {name: device.properties.get(name) for name in _WANTED}
    return Entry({name: text for name, text in found.items() if text}, tuple(device.device_links))
