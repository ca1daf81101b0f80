# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the watcher's wake-ups come from. A sign only says "look": nothing is concluded from its content.

* uevents of block devices, of class scst, and of modules (the control plane itself comes and goes), from the
  kernel and from udev;
* the mount table, which can be polled;
* inotify on the directory nearest to each awaited file, and on each file that is served.

Signs that none of these gives (a file on a network file system, a link changed deep inside a path) are made
up for by looking again every few seconds while something is awaited: see `loop.RECHECK`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from pyscstadmin.errors import ScstError

__all__ = ["Folders", "Mounts", "Uevents", "WatchError", "nearest_folder", "wait"]

# Enough for a storm of some ten thousand events; the usual 208 KiB hold about two hundred.
RECEIVE_BUFFER = 16 << 20
# Seconds, and events: as much as is taken at once before the next look.
DRAIN_TIME = 0.05
DRAIN_MOST = 50_000
_READS_MOST = 64
_SUBSYSTEMS = ("block", "scst", "module")
_WORDS = tuple(f"SUBSYSTEM={name}".encode() + b"\0" for name in _SUBSYSTEMS)
_EVENT_MAX = 1 << 16
_UDEV_CONTROL = "/run/udev/control"


class WatchError(ScstError):
    """The watcher cannot work on this machine."""


class Uevents:
    """Kernel events: the kernel's own, and, where udev runs, once more when its rules are through.

    That a disk is gone or has grown is to be known at once, however long udev's queue is; by which links and
    identifiers one is known that has come, when udev has found out. The library opens the sockets and has the
    kernel filter udev's by subsystem. Events are taken from there here, for what they say is hardly of
    interest: making an object of each takes longer than the next one takes to come. What somebody else sends
    there wakes the watcher, and that is all.
    """

    def __init__(self, *sources: str) -> None:
        self.sources = sources or (("kernel", "udev") if _listens(_UDEV_CONTROL) else ("kernel",))
        self.overflows = 0
        self._context, self._monitors = self._open()
        self._poll = select.epoll()
        for monitor in self._monitors:
            self._poll.register(monitor.fileno(), select.EPOLLIN)

    def _open(self) -> tuple[Any, list[Any]]:
        try:
            import pyudev

            context = pyudev.Context()
            monitors = [self._monitor(pyudev.Monitor.from_netlink(context, name)) for name in self.sources]
        except (ImportError, OSError) as error:
            raise WatchError(
                f"uevents cannot be received: {error}; install libudev and the Python package pyudev"
            ) from error
        return context, monitors

    def _monitor(self, monitor: Any) -> Any:
        for subsystem in _SUBSYSTEMS:
            monitor.filter_by(subsystem)
        with suppress(OSError):  # needs CAP_NET_ADMIN; the usual size works, with more overflows
            monitor.set_receive_buffer_size(RECEIVE_BUFFER)
        monitor.start()
        return monitor

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._poll.fileno()

    def drain(self) -> int:
        """Take waiting events, but no more than for a moment; returns how many were of our subsystems. Some
        may be left, and after an overflow some are lost (`overflows`): the next look finds what they were
        about.
        """
        return sum(self._take(int(monitor.fileno())) for monitor in self._monitors)

    def _take(self, fd: int) -> int:
        count, end = 0, time.monotonic() + DRAIN_TIME
        for number in range(DRAIN_MOST):
            try:
                event = os.read(fd, _EVENT_MAX)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overflows += 1
                continue
            count += any(word in event for word in _WORDS)
            if number % 64 == 0 and time.monotonic() > end:
                break
        return count


def _listens(path: str) -> bool:
    """Whether somebody is there to be talked to. A socket that was left behind passes nothing on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as asking:
        asking.setblocking(False)
        try:
            asking.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


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
_FILE_MASK = _IN_MODIFY | _IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF
_MASK = (
    _IN_CREATE | _IN_MOVED_TO | _IN_CLOSE_WRITE | _IN_MODIFY | _IN_ATTRIB | _IN_DELETE_SELF | _IN_MOVE_SELF
)


class Folders:
    """inotify on a changing set of directories and files."""

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

    def follow(self, folders: Iterable[str], files: Iterable[str] = ()) -> bool:
        """Watch these and no others; returns whether any was not watched before.

        What initiators write to files is no sign: it is written past inotify. One that cannot be watched is
        left to the re-checks.
        """
        wanted = {**dict.fromkeys(files, _FILE_MASK), **dict.fromkeys(folders, _MASK | _IN_ONLYDIR)}
        numbers: dict[str, int] = {}
        for path, mask in wanted.items():
            # Added again each time: a directory made anew under the same name is another one.
            with suppress(OSError):
                numbers[path] = self._check(self._libc.inotify_add_watch(self._fd, os.fsencode(path), mask))
        for number in set(self._watched.values()) - set(numbers.values()):
            self._libc.inotify_rm_watch(self._fd, number)  # EINVAL: it went with its directory
        added = bool(numbers.items() - self._watched.items())
        self._watched = numbers
        return added

    @property
    def watched(self) -> frozenset[str]:
        """What is being watched."""
        return frozenset(self._watched)

    def drain(self) -> int:
        """Take waiting events, but no more than for a moment; returns how many reads it took."""
        for count in range(_READS_MOST):
            try:
                if not os.read(self._fd, 65536):
                    return count
            except BlockingIOError:
                return count
        return _READS_MOST

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
