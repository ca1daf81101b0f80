# SPDX-License-Identifier: GPL-2.0-or-later
"""Making the file that a device is to be served from. What is there already is never touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pyscstadmin.durable import sync_folder
from pyscstadmin.errors import Conflict, OperationError

__all__ = ["NewFile", "made"]

_MODE = 0o600


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to be made: its size in bytes, and whether the space is taken from the file system at once."""

    path: str
    size: int
    preallocate: bool = False


@contextmanager
def made(file: NewFile) -> Iterator[None]:
    """Make a file; if the block fails, it is removed again.

    Raises `Conflict` if something is at its path, `OperationError` if it cannot be made.
    """
    fd = _make(file)
    try:
        _fill(fd, file)
        yield
    except BaseException:
        _remove(file.path, fd)
        raise
    finally:
        # Kept open until here: no other file can have its number, and be taken for it.
        os.close(fd)


def _make(file: NewFile) -> int:
    try:
        return os.open(file.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    except FileExistsError:
        raise Conflict(
            f"{file.path} is there already and is not touched; leave the size out to serve it as it is"
        ) from None
    except OSError as error:
        raise _failed("create", file, error) from error


def _fill(fd: int, file: NewFile) -> None:
    try:
        if file.preallocate and file.size:
            os.posix_fallocate(fd, 0, file.size)
        else:
            os.ftruncate(fd, file.size)
        os.fsync(fd)
        sync_folder(os.path.dirname(file.path))
    except OSError as error:
        raise _failed("write", file, error) from error


def _remove(path: str, fd: int) -> None:
    """Remove what was made, not what somebody put in its place."""
    with suppress(OSError):
        if os.path.samestat(os.lstat(path), os.fstat(fd)):
            os.unlink(path)


def _failed(operation: str, file: NewFile, error: OSError) -> OperationError:
    return OperationError(operation, file.path, str(file.size), error.errno or 0)
