# SPDX-License-Identifier: GPL-2.0-or-later
"""The facts the watcher decides on: devices in the tree, what is at their paths, which disks still exist.

A disk is known by its number and, since numbers are used again, by the kernel's `diskseq` (Linux 5.15), which
never is.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.cfs import View
from pyscstadmin.watch.plan import ABSENT, WANTED_KIND, Backing, Seen

__all__ = ["Eyes", "probe"]

_BLOCK = "/sys/dev/block"
_SECTOR = 512

# A file modified less than this long ago (seconds) may still be being written: opening it now would fix its
# size too early. Half of the second within which a device should come back.
SETTLE = 0.5


class Eyes:
    """Reads the devices, and remembers which disk each active one holds, and how large its backing was."""

    def __init__(self, block: str = _BLOCK) -> None:
        self.block = block
        self._held: dict[str, str] = {}
        # Path and bytes of the backing of each active device.
        self._sizes: dict[str, tuple[str, int]] = {}

    def look(self, tree: View) -> list[Seen]:
        """All devices that have a backing, by name. Raises `OperationError`."""
        found = [seen for handler in WANTED_KIND for seen in self._handler(tree, handler)]
        present = {seen.name for seen in found}
        self._held = {name: disk for name, disk in self._held.items() if name in present}
        self._sizes = {name: size for name, size in self._sizes.items() if name in present}
        return sorted(found, key=lambda seen: seen.name)

    def forget(self, name: str) -> None:
        """The device was opened anew: what it holds is to be found out."""
        self._held.pop(name, None)
        self._sizes.pop(name, None)

    def grew(self, seen: Seen) -> None:
        """The device serves what its backing was when it was seen; by now there may be more."""
        self._sizes[seen.name] = (seen.path, seen.backing.size)

    def stirred(self) -> bool:
        """Whether a file of an active device is another size than at the last look. Takes no look at the
        tree: files give no sign of growing that would not also come whenever something is written to them.
        """
        return any(_file_size(path) not in (None, size) for path, size in self._sizes.values())

    def _handler(self, tree: View, handler: str) -> list[Seen]:
        try:
            names = tree.list(f"devices/{handler}")
        except OperationError as error:
            if error.errno == errno.ENOENT:  # its module is not loaded
                return []
            raise
        found = (self._device(tree, handler, name) for name in names)
        return [seen for seen in found if seen is not None]

    def _device(self, tree: View, handler: str, name: str) -> Seen | None:
        path = f"devices/{handler}/{name}"
        try:
            state, error, backing_path, size = tree.read_many(
                [f"{path}/{name}" for name in ("state", "error", "path", "size")]
            )
        except OperationError as problem:
            if problem.errno == errno.ENOENT:  # removed meanwhile
                return None
            raise
        backing = probe(backing_path, self.block) if state != "disabled" else ABSENT
        lost = self._lost(name, handler, state, backing)
        grown = not lost and self._grown(name, handler, state, backing_path, backing)
        return Seen(name, handler, state, backing_path, error, backing, lost, grown, int(size))

    def _grown(self, name: str, handler: str, state: str, path: str, backing: Backing) -> bool:
        """Whether the backing of an active device is larger than it was. Nothing is said at the first sight
        of it.
        """
        if state != "active" or backing.kind != WANTED_KIND[handler]:
            self._sizes.pop(name, None)
            return False
        known, size = self._sizes.get(name, ("", 0))
        if known == path and backing.size > size:
            return True  # stays so until `grew` or `forget`
        self._sizes[name] = (path, backing.size)
        return False

    def _lost(self, name: str, handler: str, state: str, backing: Backing) -> bool:
        """Whether an active device's disk is gone. Nothing is said of one that was never seen with its disk:
        the kernel parks it at the next command, and that gives a sign.
        """
        if state != "active" or handler != "blockio":
            self._held.pop(name, None)
            return False
        held = self._held.get(name)
        if held is None:
            if backing.kind == "block":
                self._held[name] = backing.identity
            return False
        return _disk(held.partition("/")[0], self.block) != held


def probe(path: str, block: str = _BLOCK) -> Backing:
    """What is at a path now, links followed."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ABSENT
    if stat.S_ISBLK(status.st_mode):
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        disk = _disk(number, block)
        return Backing("block", disk, size=_sectors(number, block) * _SECTOR) if disk else ABSENT
    if not stat.S_ISREG(status.st_mode):
        return Backing("other")
    age = time.time() - status.st_mtime
    settled_in = SETTLE - age if 0 <= age < SETTLE else 0.0
    return Backing("file", f"{status.st_dev}:{status.st_ino}/{status.st_size}", settled_in, status.st_size)


def _file_size(path: str) -> int | None:
    """Bytes of a file, None if there is no file: disks give signs."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _disk(number: str, block: str) -> str:
    """The identity of the disk or partition that has this number; '' if there is none, or none of any size
    (a loop device without a file, a drive without a medium).
    """
    return f"{number}/{_sequence(f'{block}/{number}')}" if _sectors(number, block) else ""


def _sectors(number: str, block: str) -> int:
    """The size of a disk or partition, 0 if there is none."""
    try:
        with open(f"{block}/{number}/size", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return 0


def _sequence(folder: str) -> str:
    for place in (folder, f"{folder}/.."):  # a partition's is that of its disk
        try:
            with open(f"{place}/diskseq", encoding="ascii") as file:
                return file.read().strip()
        except OSError:
            continue
    return ""
