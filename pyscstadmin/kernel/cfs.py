# SPDX-License-Identifier: GPL-2.0-or-later
"""Access to the tree: the few operations there are, on the real configfs (the simulated one is
`sim.tree.SimTree`).

Paths are relative to the root of the tree (`devices/fileio/da/size`). An errno becomes an `OperationError`
here and nowhere else. One write is one store in the kernel: there is no buffering and no retry.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from pyscstadmin.config.layout import ROOT
from pyscstadmin.errors import NotPresent, OperationError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["RealTree", "Tree", "View", "optional"]

_PAGE = 4096
_TABLE = 64 << 10
_ATTEMPTS = 100


class View(Protocol):
    """One directory of a tree, and what is below it. Every method raises `OperationError`."""

    @property
    def root(self) -> str:
        """Where the whole tree is, an absolute path."""

    def mkdir(self, path: str) -> None:
        """Make a directory (an object)."""

    def rmdir(self, path: str) -> None:
        """Remove a directory (an object)."""

    def symlink(self, target: str, path: str) -> None:
        """Make a link at `path` to `target`, a path from the root of the tree, or absolute."""

    def unlink(self, path: str) -> None:
        """Remove a link."""

    def read(self, path: str) -> str:
        """The value of an attribute, without the final newline."""

    def read_all(self, path: str) -> str:
        """The text of an attribute that may be of any length."""

    def read_many(self, paths: Sequence[str]) -> Sequence[str]:
        """The values of several attributes, in order."""

    def write(self, path: str, value: str) -> None:
        """Store a value; an empty one is written as a lone newline."""

    def ask(self, path: str, value: str, milliseconds: int) -> None:
        """Store what is a request, and wait for it as long as this; EINPROGRESS if it goes on after that."""

    def write_raw(self, path: str, data: bytes) -> int:
        """Write these bytes at once, also none at all; returns how many were taken."""

    def list(self, path: str) -> list[str]:
        """Names in a directory, in no order."""

    def readlink(self, path: str) -> str:
        """What a link points at, as a path from the root of the tree."""

    def at(self, path: str) -> View:
        """The view of a directory, cheaper for many operations below it. Close it."""

    def close(self) -> None:
        """Give up what is held open."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Tree(View, Protocol):
    """A whole tree."""

    def refresh(self) -> bool:
        """Look whether the whole tree was replaced (module reloaded); True if so. Raises `NotPresent`."""

    def flush(self) -> None:
        """Make all changes durable (a no-op on the kernel)."""


class _Directory:
    """Operations relative to one open directory."""

    def __init__(self, fd: int, root: str, prefix: str) -> None:
        self._fd = fd
        self._root = root
        self._prefix = prefix

    @property
    def root(self) -> str:
        """Where the whole tree is."""
        return self._root

    def _error(self, operation: str, path: str, value: str | None, error: OSError) -> OperationError:
        return OperationError(operation, f"{self.root}/{self._prefix}{path}", value, error.errno or errno.EIO)

    def mkdir(self, path: str) -> None:
        """Make a directory."""
        try:
            os.mkdir(_inside(path), dir_fd=self._fd)
        except OSError as error:
            raise self._error("mkdir", path, None, error) from error

    def rmdir(self, path: str) -> None:
        """Remove a directory."""
        try:
            os.rmdir(_inside(path), dir_fd=self._fd)
        except OSError as error:
            raise self._error("rmdir", path, None, error) from error

    def symlink(self, target: str, path: str) -> None:
        """Make a link. configfs resolves texts against the working directory, hence the absolute path."""
        text = target if target.startswith("/") else f"{self._root}/{target}"
        try:
            os.symlink(text, _inside(path), dir_fd=self._fd)
        except OSError as error:
            raise self._error("symlink", path, target, error) from error

    def unlink(self, path: str) -> None:
        """Remove a link."""
        try:
            os.unlink(_inside(path), dir_fd=self._fd)
        except OSError as error:
            raise self._error("unlink", path, None, error) from error

    def read(self, path: str) -> str:
        """The value of an attribute."""
        try:
            fd = os.open(_inside(path), os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd)
            try:
                data = os.read(fd, _PAGE)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._error("read", path, None, error) from error
        return os.fsdecode(data[:-1] if data.endswith(b"\n") else data)

    def read_many(self, paths: Sequence[str]) -> Sequence[str]:
        """The values of several attributes. A whole tree is thousands of them, so this loop is kept tight."""
        values, at, path = [], self._fd, ""
        opened, read, close, flags = os.open, os.read, os.close, os.O_RDONLY | os.O_CLOEXEC
        try:
            for path in paths:
                plain = path[:1] != "/" and ".." not in path and "\0" not in path
                fd = opened(path if plain else _inside(path), flags, dir_fd=at)
                try:
                    values.append(read(fd, _PAGE))
                finally:
                    close(fd)
        except OSError as error:
            raise self._error("read", path, None, error) from error
        # Every attribute ends in one newline.
        return os.fsdecode(b"".join(values)).split("\n")[:-1]

    def read_all(self, path: str) -> str:
        """The text of an attribute that may be of any length."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                return os.fsdecode(self._whole(path))
            except BlockingIOError as error:  # it grew while the kernel made it
                if not left:
                    raise self._error("read", path, None, error) from error
            except OSError as error:
                raise self._error("read", path, None, error) from error
        raise AssertionError

    def _whole(self, path: str) -> bytes:
        chunks = []
        fd = os.open(_inside(path), os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            while chunk := os.read(fd, _TABLE):
                chunks.append(chunk)
        finally:
            os.close(fd)
        return b"".join(chunks)

    def write(self, path: str, value: str) -> None:
        """Store a value. A write the kernel took only in part is an error: ENAMETOOLONG."""
        data = os.fsencode(value) or b"\n"
        try:
            if self._store(path, data) != len(data):
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        except OSError as error:
            raise self._error("write", path, value, error) from error

    def ask(self, path: str, value: str, milliseconds: int) -> None:
        """Store a request, waiting as long as this. The error is about the value."""
        try:
            self._store(path, os.fsencode(f"{value} within {milliseconds}"))
        except OSError as error:
            raise self._error("write", path, value, error) from error

    def write_raw(self, path: str, data: bytes) -> int:
        """Write exactly these bytes."""
        try:
            return self._store(path, data)
        except OSError as error:
            raise self._error("write", path, os.fsdecode(data), error) from error

    def _store(self, path: str, data: bytes) -> int:
        # No O_CREAT: with it, a misspelt name says EACCES instead of ENOENT.
        fd = os.open(_inside(path), os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._fd)
        try:
            return os.write(fd, data)
        finally:
            os.close(fd)

    def list(self, path: str) -> list[str]:
        """Names in a directory."""
        try:
            fd = os.open(_inside(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._fd)
            try:
                return os.listdir(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._error("list", path, None, error) from error

    def readlink(self, path: str) -> str:
        """What a link points at. The kernel's text climbs to the mount, then names the root's directory."""
        try:
            text = os.readlink(_inside(path), dir_fd=self._fd)
        except OSError as error:
            raise self._error("readlink", path, None, error) from error
        if text.startswith("../"):
            return text[text.rfind("../") + 3 :].partition("/")[2]
        return text.removeprefix(self.root + "/")

    def at(self, path: str) -> View:
        """The view of a directory."""
        try:
            fd = os.open(_inside(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._fd)
        except OSError as error:
            raise self._error("open", path, None, error) from error
        return _Directory(fd, self.root, f"{self._prefix}{path}/")

    def close(self) -> None:
        """Close the directory; further calls do nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _inside(path: str) -> str:
    """The path, which has to stay below where it starts; names come from programs, too.

    One that ends in `..` names a directory that is always there, which the kernel says by itself.
    """
    if path.startswith("/") or "\0" in path or (".." in path and ".." in path.split("/")[:-1]):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return path


class RealTree(_Directory):
    """The tree the kernel shows at `root`. Raises `NotPresent` when it is not there."""

    def __init__(self, root: str = ROOT) -> None:
        super().__init__(_open_root(root), root.rstrip("/"), "")
        self._identity = _identity(self._fd)

    def refresh(self) -> bool:
        """Re-open the root if it is another directory than before."""
        fd = _open_root(self.root)
        identity = _identity(fd)
        if identity == self._identity:
            os.close(fd)
            return False
        self.close()
        self._fd, self._identity = fd, identity
        return True

    def flush(self) -> None:
        """Nothing to do: the kernel is the state."""


def _open_root(root: str) -> int:
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotPresent(root, os.strerror(error.errno or errno.EIO)) from error
    try:
        os.stat("generation", dir_fd=fd)
    except OSError:
        os.close(fd)
        raise NotPresent(root, "another directory") from None
    return fd


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def optional(tree: View, path: str) -> str | None:
    """An attribute, None if its object is not there."""
    try:
        return tree.read(path)
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
    return None
