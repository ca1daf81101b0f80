# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk with a volatile cache whose power can be cut at any moment afterwards: dm-log-writes.

The target passes everything on to a disk and logs each write when a flush, or FUA, has made it stable. What
is in the log before a mark is what a disk that lost its cache at the time of that mark would still have.

One thing no disk does: a write that waits for its flush is logged behind a FUA write of the same blocks that
came later, and so would undo it. Who writes must not use FUA where something is not flushed yet.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tests.vm import guest_plugin

SECTOR = 512
MAGIC, VERSION = 0x6A736677736872, 1
LOG_FLUSH, LOG_FUA, LOG_DISCARD, LOG_MARK = 1, 2, 4, 8
END = "dm-log-writes-end"
CONTROL = Path("/dev/mapper/control")
DM_TARGET_MSG = 3 << 30 | 312 << 16 | 0xFD << 8 | 14

_SUPER = struct.Struct("<QQQI")
_ENTRY = struct.Struct("<QQQQ")
_IOCTL = struct.Struct("=3IIIIiIIIQ128s129s7x")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a log; *data*: what was written, or the text of a mark."""

    sector: int
    flags: int
    data: bytes

    @property
    def mark(self) -> str | None:
        """The text of a mark, None for anything else."""
        return self.data.decode() if self.flags & LOG_MARK else None


def entries(log: BinaryIO) -> Iterator[Entry]:
    """The entries of a log in order. Raises AssertionError for what is not a log."""
    magic, version, number, size = _SUPER.unpack(log.read(SECTOR)[: _SUPER.size])
    assert (magic, version, size) == (MAGIC, VERSION, SECTOR), "not a log of sectors of 512 bytes"
    for _ in range(number):
        head = log.read(SECTOR)
        sector, sectors, flags, length = _ENTRY.unpack(head[: _ENTRY.size])
        if flags & LOG_MARK:
            yield Entry(sector, flags, head[_ENTRY.size : _ENTRY.size + length])
        elif flags & LOG_DISCARD:
            raise AssertionError(f"a discard of {sectors} sectors at {sector}: nobody has asked for any")
        else:
            yield Entry(sector, flags, log.read(sectors * SECTOR))


class Image:
    """What a disk has after a power cut: its first content, and what of the log is put back."""

    def __init__(self, disk: Path, size: int) -> None:
        self.content = mmap.mmap(-1, size)
        with disk.open("rb") as file:
            self.content.write(file.read(size))

    def apply(self, entry: Entry) -> range:
        """Put a write back; returns its sectors."""
        at = entry.sector * SECTOR
        self.content[at : at + len(entry.data)] = entry.data
        return range(entry.sector, entry.sector + len(entry.data) // SECTOR)

    def block(self, sector: int) -> bytes:
        """One sector."""
        return self.content[sector * SECTOR : (sector + 1) * SECTOR]

    def copy_to(self, disk: Path) -> None:
        """Make *disk* such a disk."""
        file = os.open(disk, os.O_WRONLY | os.O_DIRECT)
        try:
            with memoryview(self.content) as left:
                # A write may be a short one; the next says why it was.
                at = 0
                while at < len(left):
                    at += os.write(file, left[at:])
        finally:
            os.close(file)


class LoggedDisk:
    """The mapping *name* over the first *size* bytes of *disk*, logged on *log*."""

    def __init__(self, name: str, disk: Path, log: Path, size: int) -> None:
        self.name, self._log = name, log
        table = f"0 {size // SECTOR} log-writes {disk} {log}"
        guest_plugin.command("dmsetup", "--noudevsync", "create", name, "--table", table)
        self._control = os.open(CONTROL, os.O_RDWR)
        names = Path("/sys/block").glob("dm-*/dm/name")
        self.node = next(
            Path("/dev", file.parent.parent.name) for file in names if file.read_text() == f"{name}\n"
        )
        self._queue = Path("/sys/block", self.node.name, "queue/write_cache")
        assert self.cache() == "write back"

    def mark(self, text: str) -> None:
        """``dmsetup message NAME 0 mark TEXT``, without starting a program."""
        message = bytes(8) + f"mark {text}".encode() + b"\0"
        size = _IOCTL.size + len(message)
        head = _IOCTL.pack(4, 0, 0, size, _IOCTL.size, 0, 0, 0, 0, 0, 0, self.name.encode(), b"")
        fcntl.ioctl(self._control, DM_TARGET_MSG, bytearray(head + message))

    def cache(self) -> str:
        """What the block layer believes: ``write back`` or ``write through``."""
        return self._queue.read_text().strip()

    def set_cache(self, mode: str) -> None:
        """What the block layer believes from now on."""
        self._queue.write_text(mode)
        assert self.cache() == mode

    def flush(self) -> None:
        """A flush that is not the target's."""
        file = os.open(self.node, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def remove(self) -> None:
        """Remove the mapping; the log is complete then."""
        if self._control >= 0:
            os.close(self._control)
            self._control = -1
            guest_plugin.command("dmsetup", "--noudevsync", "remove", "--retry", self.name)

    def read(self) -> list[Entry]:
        """Everything that was logged. Raises AssertionError if something is missing."""
        self.remove()
        with self._log.open("rb") as file:
            found = list(entries(file))
        assert found, "an empty log"
        assert found[-1].mark == END, "the log is not whole: its disk is too small, or failed"
        return found
