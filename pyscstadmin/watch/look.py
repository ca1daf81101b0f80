# SPDX-License-Identifier: GPL-2.0-or-later
"""The facts the watcher decides on: devices in the tree, what is at their paths, which disks still exist.

The kernel tells what a device has open. A disk is known by its number and, since numbers are used again, by
the kernel's `diskseq` (Linux 5.15), which never is.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from dataclasses import replace

from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.backing import Machine
from pyscstadmin.kernel.cfs import View
from pyscstadmin.watch.plan import ABSENT, WANTED_KIND, Backing, Seen

__all__ = ["Eyes"]

# A file modified less than this long ago (seconds) may still be being written: opening it now would fix its
# size too early. Half of the second within which a device should come back.
SETTLE = 0.5

_READ = ("state", "error", "path", "size", "wanted", "facts", "elsewhere", "backing")


class Eyes:
    """Reads the devices, and remembers how large the backing of each active one was."""

    def __init__(self, backings: Machine) -> None:
        self.backings = backings
        # Where the backing of each active device is, what it is, and its bytes.
        self._sizes: dict[str, tuple[str, str, int]] = {}
        self._fingerprint: str | None = None

    def look(self, tree: View) -> list[Seen]:
        """All devices that have a backing, by name. Raises `OperationError`."""
        self._fingerprint = None
        found = [seen for handler in WANTED_KIND for seen in self._handler(tree, handler)]
        present = {seen.name for seen in found}
        self._sizes = {name: size for name, size in self._sizes.items() if name in present}
        return sorted(found, key=lambda seen: seen.name)

    def forget(self, name: str) -> None:
        """The device was opened anew: how large its backing is, is to be found out."""
        self._sizes.pop(name, None)

    def grew(self, seen: Seen) -> None:
        """The device serves what its backing was when it was seen; by now there may be more."""
        self._sizes[seen.name] = (seen.at, seen.open, seen.backing.size)

    def stirred(self) -> bool:
        """Whether a file of an active device is another size than at the last look: where the file system
        gives no sign of that.
        """
        return any(_file_size(at) not in (None, size) for at, _, size in self._sizes.values())

    def files(self) -> set[str]:
        """The files of active devices."""
        return {at for at, words, _ in self._sizes.values() if words.startswith("f ")}

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
        try:
            texts = tree.read_many([f"devices/{handler}/{name}/{part}" for part in _READ])
        except OperationError as problem:
            if problem.errno == errno.ENOENT:  # removed meanwhile
                return None
            raise
        state, error, path, size, wanted, facts, elsewhere, words = texts
        seen = Seen(
            name, handler, state, path, error, wanted=wanted == "1", at=elsewhere or path, size=int(size)
        )
        if state == "active":
            return self._active(seen, words)
        self._sizes.pop(name, None)
        return self._parked(seen, bool(facts)) if seen.awaited else seen

    def _active(self, seen: Seen, words: str) -> Seen:
        there = self.probe(seen.at)
        lost = not self.backings.alive(words)
        same = words == there.identity or (there.kind == "file" and _names(words, there.identity))
        grown = same and not lost and self._grown(seen, words, there)
        return replace(
            seen,
            backing=there,
            open=words,
            lost=lost,
            replaced=not same and not lost and there is not ABSENT,
            grown=grown,
            shrunk=same and not lost and there.size < seen.size,
        )

    def _grown(self, seen: Seen, words: str, there: Backing) -> bool:
        """Whether the backing of an active device is larger than it was. Nothing is said at the first sight
        of it.
        """
        at, known, size = self._sizes.get(seen.name, ("", "", 0))
        if (at, known) == (seen.at, words) and there.size > size:
            return True  # stays so until `grew` or `forget`
        self._sizes[seen.name] = (seen.at, words, there.size)
        return False

    def _parked(self, seen: Seen, known: bool) -> Seen:
        there = self.probe(seen.path)
        if not known or WANTED_KIND[seen.handler] != "block":
            return replace(seen, backing=there)
        if self._fingerprint is None:
            self._fingerprint = self.backings.fingerprint()
        anywhere = Backing(there.kind, f"{there.identity}\n{self._fingerprint}", size=there.size)
        return replace(seen, backing=anywhere, anywhere=True)

    def probe(self, path: str) -> Backing:
        """What is at a path now, links followed."""
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return ABSENT
        disk = self.backings.node(status)
        if disk is not None:
            words = self.backings.disk_words(disk)
            # A loop device without a file, a drive without a medium: nothing.
            return Backing("block", words, size=self.backings.disk_size(disk)) if words else ABSENT
        if not stat.S_ISREG(status.st_mode):
            return Backing("other")
        age = time.time() - status.st_mtime
        settled_in = SETTLE - age if 0 <= age < SETTLE else 0.0
        number = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
        identity = f"f {number} {status.st_ino} {status.st_size}"
        return Backing("file", identity, settled_in, status.st_size)


def _names(words: str, identity: str) -> bool:
    """Whether the kernel's words and those of a look are about one file: up to its inode they are the same.

    It is open, so nothing else has that number now.
    """
    return words.split(" ")[:3] == identity.split(" ")[:3]


def _file_size(path: str) -> int | None:
    """Bytes of a file, None if there is no file: disks give signs."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
