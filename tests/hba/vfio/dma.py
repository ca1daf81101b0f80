# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest memory as the device sees it: windows of passed memory files, addressed by bus address."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from bisect import bisect_right
from collections.abc import Sequence

from .protocol import DMA_WRITABLE, RequestError

MAX_WINDOWS = 65536
PAGE = mmap.PAGESIZE
F_GET_SEALS = 1034
F_SEAL_SHRINK = 0x0002

Segment = tuple[int, int]
"""Bus address and length of one piece of a scatter list."""


class DmaFault(Exception):
    """The device touched an address that is not mapped, or wrote to a read-only one."""


class Window:
    """One mapped range; ``memory`` is None where the guest passed no file (ROM)."""

    __slots__ = ("base", "end", "memory", "start", "writable")

    def __init__(self, start: int, size: int, memory: mmap.mmap | None, base: int, writable: bool) -> None:
        self.start = start
        self.end = start + size
        self.memory = memory
        self.base = base
        self.writable = writable


def _open_window(fd: int, offset: int, size: int, writable: bool) -> tuple[mmap.mmap, int]:
    """Map a passed file; the mapping and where ``offset`` is in it."""
    try:
        seals = fcntl.fcntl(fd, F_GET_SEALS)
    except OSError as err:
        raise RequestError(
            errno.EINVAL, "the memory passed is no memfd; use memory-backend-memfd,share=on"
        ) from err
    if not seals & F_SEAL_SHRINK:
        # A file that shrinks under the mapping would kill this process with SIGBUS.
        raise RequestError(errno.EPERM, "the memory file can shrink; use memory-backend-memfd with seal=on")
    if offset + size > os.fstat(fd).st_size:
        raise RequestError(
            errno.EINVAL, f"the window {offset:#x}+{size:#x} goes beyond the end of its memory file"
        )
    aligned = offset & ~(mmap.ALLOCATIONGRANULARITY - 1)
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    try:
        return mmap.mmap(
            fd, size + offset - aligned, mmap.MAP_SHARED, protection, offset=aligned
        ), offset - aligned
    except (OSError, ValueError, OverflowError) as err:
        raise RequestError(errno.ENOMEM, f"mapping {size:#x} bytes failed: {err}") from err


class DmaMap:
    """Bus addresses of one device; look-ups are per access because firmware and the guest remap at will."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._windows: list[Window] = []
        self._last: Window | None = None

    def __len__(self) -> int:
        return len(self._windows)

    def map(self, address: int, size: int, flags: int, offset: int, fd: int | None) -> None:
        """Add a window; RequestError if it is empty, overlaps another or its file does not fit."""
        if not size or address + size > 1 << 64:
            raise RequestError(errno.EINVAL, f"DMA window {address:#x}+{size:#x} is empty or wraps around")
        if len(self._windows) >= MAX_WINDOWS:
            raise RequestError(errno.ENOSPC, f"more than {MAX_WINDOWS} DMA windows")
        place = bisect_right(self._starts, address)
        before = self._windows[place - 1] if place else None
        after = self._windows[place] if place < len(self._windows) else None
        if (before and before.end > address) or (after and address + size > after.start):
            raise RequestError(errno.EEXIST, f"DMA window {address:#x}+{size:#x} overlaps a mapped one")
        writable = bool(flags & DMA_WRITABLE)
        memory, base = _open_window(fd, offset, size, writable) if fd is not None else (None, 0)
        self._starts.insert(place, address)
        self._windows.insert(place, Window(address, size, memory, base, writable))

    def unmap(self, address: int, size: int) -> None:
        """Remove every window inside a range; RequestError if the range cuts one or holds none."""
        end = address + size
        inside = [window for window in self._windows if window.start < end and window.end > address]
        if not inside:
            raise RequestError(errno.ENOENT, f"no DMA window at {address:#x}+{size:#x}")
        if any(window.start < address or window.end > end for window in inside):
            raise RequestError(errno.EINVAL, f"unmapping {address:#x}+{size:#x} would cut a DMA window")
        for window in inside:
            self._remove(window)

    def clear(self) -> None:
        """Remove all windows."""
        for window in list(self._windows):
            self._remove(window)

    def _remove(self, window: Window) -> None:
        place = self._windows.index(window)
        del self._windows[place], self._starts[place]
        self._last = None
        if window.memory is not None:
            window.memory.close()

    def _find(self, address: int) -> Window:
        last = self._last
        if last is not None and last.start <= address < last.end:
            return last
        place = bisect_right(self._starts, address)
        window = self._windows[place - 1] if place else None
        if window is None or address >= window.end or window.memory is None:
            raise DmaFault(f"address {address:#x} is not mapped for DMA")
        self._last = window
        return window

    def read(self, address: int, length: int) -> bytes:
        """Read guest memory; DmaFault if any byte is not mapped."""
        window = self._find(address)
        start = address - window.start + window.base
        if address + length <= window.end:
            return window.memory[start : start + length]  # type: ignore[index]
        first = window.end - address
        return self.read(address, first) + self.read(window.end, length - first)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Write guest memory; DmaFault if any byte is not mapped or is read-only."""
        window = self._find(address)
        if not window.writable:
            raise DmaFault(f"address {address:#x} is read-only")
        length = len(data)
        start = address - window.start + window.base
        if address + length <= window.end:
            window.memory[start : start + length] = bytes(data)  # type: ignore[index]
            return
        first = window.end - address
        self.write(address, data[:first])
        self.write(window.end, data[first:])

    def gather(self, segments: Sequence[Segment], offset: int, length: int) -> bytes:
        """Read ``length`` bytes from ``offset`` of a scatter list; shorter if the list ends before."""
        return b"".join(self.read(address, size) for address, size in cut(segments, offset, length))

    def scatter(self, segments: Sequence[Segment], offset: int, data: bytes) -> int:
        """Write at ``offset`` of a scatter list what fits in it; the number of bytes written."""
        done = 0
        for address, size in cut(segments, offset, len(data)):
            self.write(address, data[done : done + size])
            done += size
        return done


def cut(segments: Sequence[Segment], offset: int, length: int) -> list[Segment]:
    """The part of a scatter list that starts at ``offset`` and is at most ``length`` bytes long."""
    pieces: list[Segment] = []
    for address, size in segments:
        if offset >= size:
            offset -= size
            continue
        take = min(size - offset, length)
        if take <= 0:
            break
        pieces.append((address + offset, take))
        length -= take
        offset = 0
    return pieces
