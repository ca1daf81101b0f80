# SPDX-License-Identifier: GPL-2.0-or-later
"""What this machine itself uses a backing for: file systems that are mounted, and swap, now."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Iterator
from functools import cached_property
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING

from pyscstadmin.config.lint import Backing
from pyscstadmin.kernel.asking import Patience
from pyscstadmin.kernel.backing import BLOCK, identify

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Backings", "Looking"]

_OCTAL = re.compile(r"\\([0-7]{3})")


class Backings:
    """Looks at backings. What is mounted is read once, so use a new one for each round."""

    def __init__(self, proc: str = "/proc", block: str = BLOCK) -> None:
        self.proc = proc
        self.block = block

    def look(self, path: str) -> Backing:
        """What is behind a path."""
        real = os.path.realpath(path)
        try:
            status = os.stat(real)
        except OSError:
            return Backing(real, real)
        return Backing(identify(real, self.block), real, self.use(status))

    def use(self, status: os.stat_result) -> str:
        """What this machine itself uses a file or block device for, '' for nothing."""
        if not stat.S_ISBLK(status.st_mode):
            swapped = (status.st_dev, status.st_ino) in self._swap
            return "is swap space of this machine" if swapped else ""
        for number in self._related(status.st_rdev, set()):
            if number in self._mounted:
                return f"holds the file system that is mounted at {self._mounted[number]}"
            if number in self._swap:
                return "is swap space of this machine"
        return ""

    def _related(self, number: int, seen: set[int]) -> Iterator[int]:
        """A block device, its partitions, and what is made of them (LVM, multipath, RAID)."""
        if number in seen:
            return
        seen.add(number)
        yield number
        folder = f"{self.block}/{os.major(number)}:{os.minor(number)}"
        for place in (folder, f"{folder}/holders"):
            for name in _names(place):
                # Of what is in the folder itself, partitions are devices of their own.
                if place != folder or os.path.exists(f"{place}/{name}/partition"):
                    found = _number(_text(f"{place}/{name}/dev").strip())
                    yield from self._related(found, seen) if found else ()

    @cached_property
    def _mounted(self) -> dict[int, str]:
        """Block device -> where it is mounted."""
        found: dict[int, str] = {}
        for line in _text(f"{self.proc}/self/mountinfo").splitlines():
            before, _, after = line.partition(" - ")
            fields, source = before.split(" "), _plain(after.split(" ")[1]) if after else ""
            numbers = (_number(fields[2]), _block(source) if source.startswith("/") else 0)
            for number in filter(None, numbers):
                found.setdefault(number, _plain(fields[4]))
        return found

    @cached_property
    def _swap(self) -> set[int | tuple[int, int]]:
        """Block devices, and files as (device, inode)."""
        found: set[int | tuple[int, int]] = set()
        for line in _text(f"{self.proc}/swaps").splitlines()[1:]:
            try:
                status = os.stat(_plain(line.split(" ")[0].split("\t")[0]))
            except OSError:
                continue
            found.add(status.st_rdev if stat.S_ISBLK(status.st_mode) else (status.st_dev, status.st_ino))
        return found


class Looking:
    """Looks at backings, at those that answer: all together have so many seconds. The looks are made in a
    thread; one that hangs is left behind, and nothing else in its directory is looked at.
    """

    def __init__(self, seconds: float) -> None:
        self._patience = Patience(seconds)
        self._backings = Backings()
        self._paths: SimpleQueue[str | None] | None = None
        self._found: SimpleQueue[Backing] = SimpleQueue()
        self._silent: set[str] = set()

    def look(self, path: str) -> Backing:
        """What is behind a path; of one that does not answer, what would be said if nothing were there."""
        if os.path.dirname(path) not in self._silent:
            try:
                with self._patience.spending() as seconds:
                    return self._asked(path, seconds)
            except Empty:
                self._silent.add(os.path.dirname(path))
                self._paths, self._found = None, SimpleQueue()
        return Backing(path, path)

    def _asked(self, path: str, seconds: float) -> Backing:
        if self._paths is None:
            self._paths = SimpleQueue()
            threading.Thread(target=self._serve, args=(self._paths, self._found), daemon=True).start()
        self._paths.put(path)
        return self._found.get(timeout=seconds)

    def _serve(self, paths: SimpleQueue[str | None], found: SimpleQueue[Backing]) -> None:
        while (path := paths.get()) is not None:
            found.put(self._backings.look(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._paths is not None:
            self._paths.put(None)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _plain(text: str) -> str:
    """A path as /proc writes it, with blanks as \\040, as it is."""
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def _number(text: str) -> int:
    """`8:1` as a device number, 0 for none."""
    major, _, minor = text.partition(":")
    return os.makedev(int(major), int(minor)) if major.isdigit() and minor.isdigit() else 0


def _block(path: str) -> int:
    try:
        status = os.stat(path)
    except OSError:
        return 0
    return status.st_rdev if stat.S_ISBLK(status.st_mode) else 0
