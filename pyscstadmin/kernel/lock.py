# SPDX-License-Identifier: GPL-2.0-or-later
"""The lock of all writers: a file that one of them has locked (flock(2)), so it is free when its holder is
gone, however it went.

Before it there is a queue, a second such file. Its holder is the next one to get the lock, so that who takes
the lock again and again does not keep the others from it: he finds somebody in the queue.

Whoever has the lock says in its file who he is and what he waits for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pyscstadmin.errors import Conflict, LockTimeout, OperationError

__all__ = ["locked"]

_POLL = 0.005
_LONGEST = 500


@contextmanager
def locked(path: str, timeout: float = 10.0) -> Iterator[Callable[[str], None]]:
    """Hold the lock of all writers, waiting up to `timeout` seconds. Gives what to call with what is waited
    for meanwhile, '' for nothing: those who wait for the lock are told if they wait in vain.

    Raises `LockTimeout`, `OperationError`, `Conflict` for a link where the lock should be.
    """
    deadline = time.monotonic() + timeout
    with _held(f"{path}.queue", deadline) as have_queue, _held(path, deadline) as have:
        if not have_queue or not have:
            raise LockTimeout(path, timeout, have.text())
        have_queue.release()
        have.say("")
        yield have.say


class _File:
    """A file that is locked, or (false) could not be in time."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.has = False

    def __bool__(self) -> bool:
        return self.has

    def take(self, deadline: float) -> None:
        """Lock it, if that is possible until then; once it is tried in any case."""
        while not self._try():
            if time.monotonic() >= deadline:
                return
            time.sleep(_POLL)

    def _try(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self.has = True
        return True

    def say(self, waits_for: str) -> None:
        """Write down whose it is, and what he waits for. That it cannot be is no reason not to go on."""
        text = f"process {os.getpid()}{f', which waits for {waits_for}' if waits_for else ''}\n"
        with suppress(OSError):
            os.pwrite(self.fd, text.encode(), 0)

    def text(self) -> str:
        """What its holder has written down."""
        try:
            return os.pread(self.fd, _LONGEST, 0).decode(errors="replace").partition("\n")[0]
        except OSError:
            return ""

    def release(self) -> None:
        """Let go of it."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)


@contextmanager
def _held(path: str, deadline: float) -> Iterator[_File]:
    file = _File(_open(path))
    try:
        file.take(deadline)
        yield file
    finally:
        os.close(file.fd)


def _open(path: str) -> int:
    """Open it, and make it if it is not there. What a link points at is nobody's lock."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Conflict(f"{path} is a link, where the lock of all writers should be: remove it") from None
        raise OperationError("lock", path, None, error.errno or 0) from error
