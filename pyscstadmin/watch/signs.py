# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the watcher's wake-ups come from. A sign only says "look": nothing is concluded from its content.

* uevents of block devices, of class scst, and of modules (the control plane itself comes and goes);
* the mount table, which can be polled;
* inotify on the directory nearest to each awaited file.

Signs that none of these gives (a file on a network file system, a link changed deep inside a path) are made
up for by looking again every few seconds while something is awaited: see `loop.RECHECK`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from pyscstadmin.errors import ScstError

__all__ = ["Folders", "Mounts", "Uevents", "WatchError", "nearest_folder", "wait"]

# Enough for a storm of some ten thousand events; the usual 208 KiB hold about two hundred.
RECEIVE_BUFFER = 16 << 20
_SUBSYSTEMS = ("block", "scst", "module")
_UDEV_CONTROL = "/run/udev/control"


class WatchError(ScstError):
    """The watcher cannot work on this machine."""


class Uevents:
    """Kernel events as udev passes them on after its rules ran; the kernel's own where no udev runs.

    An overflow of the receive buffer makes the library fail for good: then the monitor is made anew, and the
    caller looks at everything, as it does after each event anyway.
    """

    def __init__(self, source: str = "") -> None:
        self.source = source or ("udev" if os.path.exists(_UDEV_CONTROL) else "kernel")
        self.overflows = 0
        self._context, self._monitor = self._open()

    def _open(self) -> tuple[Any, Any]:
        try:
            import pyudev

            context = pyudev.Context()
            monitor = pyudev.Monitor.from_netlink(context, self.source)
            for subsystem in _SUBSYSTEMS:
                monitor.filter_by(subsystem)
            with suppress(OSError):  # needs CAP_NET_ADMIN; the usual size works, with more overflows
                monitor.set_receive_buffer_size(RECEIVE_BUFFER)
            monitor.start()
        except (ImportError, OSError) as error:
            raise WatchError(
                f"uevents cannot be received: {error}; install libudev and the Python package pyudev"
            ) from error
        return context, monitor

    def fileno(self) -> int:
        """The descriptor to poll."""
        return int(self._monitor.fileno())

    def drain(self) -> int:
        """Take all waiting events; returns how many. After an overflow the descriptor is another one."""
        count = 0
        try:
            while self._monitor.poll(0) is not None:
                count += 1
        except OSError:
            self.overflows += 1
            self._context, self._monitor = self._open()
        return count


class Mounts:
    """Changes of the mount table."""

    def __init__(self) -> None:
        self._fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)

    def fileno(self) -> int:
        """The descriptor to poll, for POLLPRI."""
        return self._fd

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


_IN_CLOSE_WRITE, _IN_ATTRIB, _IN_MOVED_TO, _IN_CREATE = 0x8, 0x4, 0x80, 0x100
_IN_MODIFY, _IN_DELETE_SELF, _IN_MOVE_SELF, _IN_ONLYDIR = 0x2, 0x400, 0x800, 0x1000000
_MASK = (
    _IN_CREATE | _IN_MOVED_TO | _IN_CLOSE_WRITE | _IN_MODIFY | _IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF
)


class Folders:
    """inotify on a changing set of directories."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._watched: dict[str, int] = {}

    def _check(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._fd

    def follow(self, folders: Iterable[str]) -> bool:
        """Watch these directories and no others; returns whether any was not watched before.

        One that cannot be watched is left to the re-checks.
        """
        wanted = set(folders)
        numbers: dict[str, int] = {}
        for folder in wanted:
            # Added again each time: a directory made anew under the same name is another one.
            with suppress(OSError):
                numbers[folder] = self._check(
                    self._libc.inotify_add_watch(self._fd, os.fsencode(folder), _MASK | _IN_ONLYDIR)
                )
        for number in set(self._watched.values()) - set(numbers.values()):
            self._libc.inotify_rm_watch(self._fd, number)  # EINVAL: it went with its directory
        added = bool(numbers.items() - self._watched.items())
        self._watched = numbers
        return added

    @property
    def watched(self) -> frozenset[str]:
        """The directories that are being watched."""
        return frozenset(self._watched)

    def drain(self) -> int:
        """Take all waiting events; returns how many reads it took."""
        count = 0
        while True:
            try:
                if not os.read(self._fd, 65536):
                    return count
            except OSError as error:
                if error.errno == errno.EAGAIN:
                    return count
                raise
            count += 1

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)


def nearest_folder(path: str) -> str:
    """The nearest directory above a path that exists."""
    folder = os.path.dirname(path)
    while folder not in ("", "/") and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder or "/"


def wait(poller: select.poll, seconds: float | None) -> list[tuple[int, int]]:
    """Wait for signs; rounds up, so that what is due at the end of the time is due."""
    return poller.poll(None if seconds is None else max(0, int(seconds * 1000) + 1))
