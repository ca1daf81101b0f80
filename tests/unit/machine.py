# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine with disks that come and go, under names that are given anew each time.

Disks are folders that look like sysfs's, their nodes are plain files, and the udev database is a mapping;
what looks at all that is the code that looks at real ones.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pyscstadmin.kernel.backing import Machine
from pyscstadmin.kernel.udev import Entry

__all__ = ["FakeDisk", "FakeMachine", "FakeUdev"]


@dataclass(frozen=True, slots=True)
class FakeDisk:
    """A disk. `attributes`: files in sysfs; `properties` and `links` (below /dev) as udev's rules make them;
    `place`: where in /sys/devices it is; `slaves`: names of the disks that it is made of.
    """

    label: str
    size: int = 1 << 20
    attributes: Mapping[str, str | bytes] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    place: str = "virtual/block"
    slaves: tuple[str, ...] = ()


class FakeUdev:
    """What udev knows, by number. `late`: numbers that its rules have not come to yet."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.late: set[int] = set()
        self.stamps = itertools.count(1)
        self.stamped: dict[int, int] = {}

    def entry(self, number: int) -> Entry | None:
        return None if number in self.late else self.entries.get(number)

    def stamp(self, number: int) -> str:
        return "" if number in self.late else str(self.stamped.get(number, ""))

    def settled(self, number: int) -> bool:
        return number not in self.late

    def put(self, number: int, entry: Entry) -> None:
        """Its rules have run."""
        self.entries[number] = entry
        self.stamped[number] = next(self.stamps)


class FakeMachine(Machine):
    """The machine, as the tool looks at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.udev = FakeUdev()
        self.plugged: dict[str, FakeDisk] = {}
        self._nodes: dict[tuple[int, int], int] = {}
        self._sequence = itertools.count(1)
        (folder / "block").mkdir(parents=True)
        (folder / "dev").mkdir()
        super().__init__(str(folder / "block"), self.udev, str(folder / "dev"))

    def node(self, status: os.stat_result) -> int | None:
        return self._nodes.get((status.st_dev, status.st_ino), super().node(status))

    def path(self, name: str) -> str:
        """The path of a node or link below /dev."""
        return str(self.folder / "dev" / name)

    def number(self, name: str) -> int:
        """The number of the disk of this name."""
        status = os.stat(self.path(name))
        return self._nodes[status.st_dev, status.st_ino]

    def plug(self, name: str, disk: FakeDisk, minor: int | None = None) -> None:
        """The kernel finds a disk and calls it this."""
        minor = len(self._nodes) if minor is None else minor
        number = os.makedev(240, minor)
        here = self.folder / "devices" / disk.place / name
        self._describe(here, name, number, disk.size)
        (here / "diskseq").write_text(f"{next(self._sequence)}\n")
        for attribute, text in disk.attributes.items():
            _put(here / attribute, text)
        for slave in disk.slaves:
            (here / "slaves").mkdir(exist_ok=True)
            (here / "slaves" / slave).symlink_to(os.path.realpath(self._block_link(self.number(slave))))
        self.plugged[name] = disk
        self._announce(number, name, disk)

    def partition(self, name: str, number: int, disk: FakeDisk, minor: int) -> None:
        """A partition NAMEnumber of a plugged disk."""
        whole = Path(os.path.realpath(self._block_link(self.number(name))))
        part = f"{name}{number}"
        self._describe(whole / part, part, os.makedev(240, minor), disk.size)
        _put(whole / part / "partition", str(number))
        for attribute, text in disk.attributes.items():
            _put(whole / part / attribute, text)
        self._announce(os.makedev(240, minor), part, disk)

    def unplug(self, name: str) -> None:
        """It is pulled: the node, its links and all that sysfs says go."""
        number = self.number(name)
        for link in self.plugged.pop(name).links:
            if os.path.realpath(self.path(link)) == self.path(name):
                os.unlink(self.path(link))
        status = os.stat(self.path(name))
        del self._nodes[status.st_dev, status.st_ino]
        os.unlink(self.path(name))
        here = Path(os.path.realpath(self._block_link(number)))
        self._block_link(number).unlink()
        _remove(here)
        self.udev.entries.pop(number, None)

    def resize(self, name: str, size: int) -> None:
        """It is another size now."""
        here = Path(os.path.realpath(self._block_link(self.number(name))))
        (here / "size").write_text(f"{size // 512}\n")
        os.truncate(self.path(name), size)

    def _block_link(self, number: int) -> Path:
        return self.folder / "block" / f"{os.major(number)}:{os.minor(number)}"

    def _describe(self, here: Path, name: str, number: int, size: int) -> None:
        here.mkdir(parents=True)
        (here / "dev").write_text(f"{os.major(number)}:{os.minor(number)}\n")
        (here / "size").write_text(f"{size // 512}\n")
        (here / "uevent").write_text(f"DEVNAME={name}\n")
        self._block_link(number).symlink_to(here)
        node = self.folder / "dev" / name
        with node.open("wb") as file:
            file.truncate(size)
        self._nodes[node.stat().st_dev, node.stat().st_ino] = number

    def _announce(self, number: int, name: str, disk: FakeDisk) -> None:
        for link in disk.links:
            path = self.folder / "dev" / link
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                path.unlink()  # the last one has it
            path.symlink_to(self.folder / "dev" / name)
        links = tuple(self.path(link) for link in disk.links)
        self.udev.put(number, Entry(dict(disk.properties), links))


def _put(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())


def _remove(folder: Path) -> None:
    for entry in sorted(folder.rglob("*"), key=lambda path: -len(path.parts)):
        entry.rmdir() if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    folder.rmdir()
