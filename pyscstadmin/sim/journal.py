# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a simulated tree is kept: a file with the whole state, and one with what was changed since, so that
saving costs what was changed. The second is taken into the first when it has grown as large.

Writers hold the lock of all writers; readers hold nothing, and see the state as some writer has saved it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

__all__ = ["Change", "Journal"]

# What was done, to be done again: an operation with path and value, or a device as it was afterwards.
Change = Sequence[Any]

_STATE = "state.json"
_LEAST = 64 << 10
# Ends what was saved at once.
_END = b'["."]\n'
_ATTEMPTS = 100
# A device, or all groups of a target, is a piece of the text of a state.
_DEPTH = 3
_PIECE = 1 << 20


class Journal:
    """The two files in a directory. `size` and `offset`: how much of them is known."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._stamp: tuple[int, int] | None = None
        self._number = 0
        self._offset = 0
        self._size = 0

    # Reading.

    def news(self) -> tuple[dict[str, Any] | None, list[Change]]:
        """What was saved by others since it was read last: a whole state or None, and changes after that.

        Raises OSError, ValueError.
        """
        for _ in range(_ATTEMPTS):
            stamp = self._look()
            if stamp is None or (stamp == self._stamp and not self._grown()):
                return None, []
            known = self._stamp, self._number, self._offset, self._size
            state = self._read() if stamp != self._stamp else None
            changes, end = self._changes()
            if self._look() == stamp:
                self._stamp, self._offset = stamp, end
                return state, changes
            self._stamp, self._number, self._offset, self._size = known
        raise OSError(f"{self._directory}: saved anew whenever it is read")

    def _look(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._path(_STATE))
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    def _grown(self) -> bool:
        try:
            return os.stat(self._path(self._log)).st_size > self._offset
        except FileNotFoundError:
            return False

    def _read(self) -> dict[str, Any]:
        with open(self._path(_STATE), encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        state: dict[str, Any] = json.loads(text)
        self._number, self._offset, self._size = int(state.pop("journal", 0)), 0, len(text)
        return state

    def _changes(self) -> tuple[list[Change], int]:
        """What stands in the second file behind the offset, as far as it was saved to its end."""
        try:
            with open(self._path(self._log), "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return [], self._offset
        whole = data[: data.rfind(_END) + len(_END)] if _END in data else b""
        changes = [json.loads(line) for line in whole.splitlines()]
        return [change for change in changes if change[0] != "."], self._offset + len(whole)

    # Writing.

    @property
    def room(self) -> int:
        """Bytes of changes that can be saved before it is time to save the whole state."""
        return 0 if self._stamp is None else max(_LEAST, self._size) - self._offset

    def add(self, changes: Sequence[Change]) -> bool:
        """Save changes; False, and nothing is done, when it is time to save the whole state."""
        data = b"".join(json.dumps(change).encode() + b"\n" for change in changes) + _END
        if len(data) > self.room:
            return False
        fd = os.open(self._path(self._log), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            os.ftruncate(fd, self._offset)  # what a writer left that was killed
            _write(fd, data, self._offset)
        finally:
            os.close(fd)
        self._offset += len(data)
        return True

    def save(self, state: dict[str, Any]) -> None:
        """Save the whole state, in one step. Raises OSError; then what was saved before is still there."""
        old = self._log
        number = self._number + 1
        temporary = f"{self._path(_STATE)}.{os.getpid()}"
        with suppress(FileNotFoundError):
            os.unlink(temporary)  # of a writer that was killed; nobody else writes now
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            try:
                size = _write_all(fd, _texts({**state, "journal": number}, _DEPTH))
            finally:
                os.close(fd)
            with suppress(FileNotFoundError):
                os.unlink(self._path(f"state.{number}.log"))  # of a directory that was put together by hand
            os.rename(temporary, self._path(_STATE))
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        self._number, self._offset, self._size = number, 0, size
        self._stamp = self._look()
        with suppress(FileNotFoundError):
            os.unlink(self._path(old))

    @property
    def _log(self) -> str:
        return f"state.{self._number}.log"

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)


def _texts(value: Any, depth: int) -> Iterator[str]:
    """The JSON text of a value in pieces: there is never all of a large one."""
    if not depth or type(value) is not dict or not value:
        yield json.dumps(value)
        return
    before = "{"
    for key, member in value.items():
        yield f"{before}{json.dumps(key)}: "
        yield from _texts(member, depth - 1)
        before = ", "
    yield "}"


def _write_all(fd: int, texts: Iterator[str]) -> int:
    """Write texts one behind the other; returns how many bytes they are."""
    offset, data = 0, bytearray()
    for text in texts:
        data += text.encode()
        if len(data) >= _PIECE:
            _write(fd, data, offset)
            offset += len(data)
            data.clear()
    _write(fd, data, offset)
    return offset + len(data)


def _write(fd: int, data: bytes | bytearray, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done
