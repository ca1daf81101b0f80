# SPDX-License-Identifier: GPL-2.0-or-later
"""What is behind a path, now: which disk or file that is, and what it is known by.

Disks are known by what the kernel tells (sysfs) and what udev's rules have found out. Neither of it is what
initiators could have written: file systems, labels and partition tables on a disk that is served are theirs.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from pyscstadmin.config.facts import Facts, compare
from pyscstadmin.kernel.udev import Database, Entry, UdevDatabase

__all__ = ["BLOCK", "Found", "Machine", "block_fact", "identify"]

BLOCK = "/sys/dev/block"
_BOOT = "/proc/sys/kernel/random/boot_id"
_SECTOR = 512

# Loop devices on files on loop devices ...: more than anybody builds.
_DEPTH = 8


def identify(path: str, block: str = BLOCK, depth: int = _DEPTH) -> Hashable:
    """What differs for different backings, and is the same for all paths of one: links are followed, and
    loop devices to their files. A path where nothing is stands for itself.
    """
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
    except OSError:
        return real
    if not stat.S_ISBLK(status.st_mode):
        return status.st_dev, status.st_ino
    below = block_fact(status.st_rdev, "loop/backing_file", block)
    return identify(below, block, depth - 1) if below and depth else status.st_rdev


def block_fact(number: int, name: str, block: str = BLOCK) -> str:
    """An attribute of a block device, '' if it has none of this name."""
    return _read(f"{block}/{os.major(number)}:{os.minor(number)}/{name}")


def _read(path: str) -> str:
    return os.fsdecode(_bytes(path)).strip(" \n\0")


def _bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


@dataclass(frozen=True, slots=True)
class Found:
    """Something that a device can be on. `words`: as the kernel's attributes `backing` and `expect` have
    them, and true until the machine is restarted. `paths`: a disk's, the most lasting one first.
    """

    words: str
    facts: Facts
    paths: tuple[str, ...] = ()


_SILENT = object()


class _Look(threading.Thread):
    """A look that may be given up: then it goes on, and lets go by itself of what it has found."""

    def __init__(self, holding: AbstractContextManager[Found | None]) -> None:
        super().__init__(daemon=True)
        self._holding = holding
        self._found: object = _SILENT
        self._turn = threading.Lock()
        self._given_up = False

    def run(self) -> None:
        """Look."""
        found = self._holding.__enter__()
        with self._turn:
            self._found = found
            given_up = self._given_up
        if given_up:
            self.end()

    def within(self, seconds: float) -> object:
        """What was found, or `_SILENT`."""
        self.start()
        self.join(seconds)
        with self._turn:
            self._given_up = self._found is _SILENT
            return self._found

    def end(self) -> None:
        """Let go of it."""
        self._holding.__exit__(None, None, None)


class Machine:
    """Looks at paths and disks. `block`: where sysfs has disks by number; `dev`: where their nodes are."""

    def __init__(self, block: str = BLOCK, database: Database | None = None, dev: str = "/dev") -> None:
        self._block = block
        self._dev = dev
        self._database = database if database is not None else UdevDatabase()
        self._seen: dict[int, tuple[str, Found | None]] = {}
        self._silent: dict[str, _Look] = {}

    def prepare(self) -> None:
        """Load what most commands do not need, so that it does not take its time when it counts."""
        from pyscstadmin.kernel import filefacts, loops  # noqa: F401

        self._database.entry(0)

    def node(self, status: os.stat_result) -> int | None:
        """The number of the block device of which this is a node; None if it is something else."""
        return status.st_rdev if stat.S_ISBLK(status.st_mode) else None

    @contextmanager
    def held(self, path: str) -> Iterator[Found | None]:
        """What is at a path, links followed; None: nothing that a device can be on. While this lasts, no
        other file can get the number of the one that was found.
        """
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (OSError, ValueError):
            yield None
            return
        try:
            yield self._open(fd)
        finally:
            os.close(fd)

    @contextmanager
    def answering(self, path: str, seconds: float) -> Iterator[Found | None]:
        """`held`, of a path that answers within this time. Raises `TimeoutError`: a server that is away keeps
        everybody who looks, for as long as it is away. Who has not answered yet is not asked again, nor is
        anything else in that directory.
        """
        kept = self._silent.get(os.path.dirname(path))
        if kept is not None and kept.is_alive():
            raise TimeoutError(path)
        look = _Look(self.held(path))
        found = look.within(seconds)
        if found is _SILENT:
            self._silent[os.path.dirname(path)] = look
            raise TimeoutError(path)
        try:
            yield found  # type: ignore[misc]
        finally:
            look.end()

    def at(self, path: str) -> Found | None:
        """What is at a path at this moment."""
        with self.held(path) as found:
            return found

    def words(self, path: str) -> str:
        """The words for what is at a path, '' for nothing: as `at` has them, and cheaper."""
        try:
            number = self.node(os.stat(path))
            if number is not None:
                return self.disk_words(number)
            with self.held(path) as found:
                return found.words if found is not None else ""
        except (OSError, ValueError):
            return ""

    def telling(self, found: Found) -> Facts | None:
        """What to know it by from now on; None: there is nothing that could be found again.

        A serial number that several disks have now does not tell them apart: then the place is added.
        """
        kept = found.facts.kept()
        if not kept.provable:
            return None
        unique = not kept.keys() & {"serial", "id_serial"} or kept.keys() & {"wwid", "wwn"}
        return kept if unique or len(self.search(kept)) < 2 else found.facts

    def alive(self, words: str) -> bool:
        """Whether there still is the disk that the kernel has open; files are there for as long as they
        are open.
        """
        if not words.startswith("b "):
            return True
        return self.disk_words(_number(words.split(" ")[1])) == words

    def search(self, facts: Facts) -> list[Found]:
        """All disks that these facts prove to be the one. One that has just come counts when the paths that
        will lead to it are there.
        """
        found = self._disks() if facts.provable else ()
        return [one for one in found if compare(facts, one.facts).same and self._settled(one)]

    def _settled(self, found: Found) -> bool:
        return self._database.settled(_number(found.words.split(" ")[1]))

    def _disks(self) -> list[Found]:
        """All disks. Looked at again are those that others have come in the place of, or udev has looked at
        again, which it does whenever they change.
        """
        seen: dict[int, tuple[str, Found | None]] = {}
        for number in self._numbers():
            mark = self._mark(number)
            known = self._seen.get(number, ("", None))
            seen[number] = known if mark and known[0] == mark else (mark, self.disk(number))
        self._seen = seen
        return [found for _, found in seen.values() if found is not None]

    def _mark(self, number: int) -> str:
        """Another one whenever the facts of a disk may be others; '' if there is no such thing."""
        stamp = self._database.stamp(number)
        return f"{self.disk_words(number)} {stamp}" if stamp else ""

    def fingerprint(self) -> str:
        """Another one whenever there may be other disks, or more be known of them."""
        marks = (f"{number} {self._mark(number) or self.disk_words(number)}" for number in self._numbers())
        return "\n".join(marks)

    def _numbers(self) -> Iterator[int]:
        try:
            names = os.listdir(self._block)
        except OSError:
            return
        for name in sorted(names):
            major, colon, minor = name.partition(":")
            if colon and major.isdigit() and minor.isdigit():
                yield os.makedev(int(major), int(minor))

    def _open(self, fd: int) -> Found | None:
        try:
            status = os.fstat(fd)
            number = self.node(status)
            if number is not None:
                return self.disk(number)
            if not stat.S_ISREG(status.st_mode):
                return None
            from pyscstadmin.kernel.filefacts import look  # brings ctypes

            file = look(fd, self._system_uuid)
        except OSError:
            return None
        return Found(file.words, file.facts)

    def _system_uuid(self, number: int) -> str:
        entry = self._entry(number, self._attribute(number, "diskseq"))
        return entry.properties.get("ID_FS_UUID", "")

    def _entry(self, number: int, sequence: str) -> Entry:
        entry = self._database.entry(number)
        return entry if entry is not None and entry.is_of(sequence) else Entry()

    # Disks and partitions.

    def disk(self, number: int) -> Found | None:
        """A disk or partition by its number; None if there is none, or none of any size: a loop device
        without a file, a drive without a medium.
        """
        words = self.disk_words(number)
        if not words:
            return None
        entry = self._entry(number, words.rpartition(" ")[2])
        facts = Facts.of({**self._facts(number, entry, _DEPTH), "size": str(self.disk_size(number))})
        return Found(words, facts, tuple(self._paths(number, entry)))

    def disk_size(self, number: int) -> int:
        """Bytes of a disk or partition."""
        sectors = self._attribute(number, "size")
        return int(sectors) * _SECTOR if sectors.isdigit() else 0

    def disk_words(self, number: int) -> str:
        """The words for a disk or partition, '' if there is none."""
        if not self.disk_size(number):
            return ""
        sequence = self._attribute(number, "diskseq") or self._attribute(number, "../diskseq")
        return f"b {os.major(number)}:{os.minor(number)} {sequence}".rstrip()

    def _attribute(self, number: int, *names: str) -> str:
        """The first of these attributes that says something."""
        return next((text for name in names if (text := block_fact(number, name, self._block))), "")

    def _folder(self, number: int) -> str:
        return os.path.realpath(f"{self._block}/{os.major(number)}:{os.minor(number)}")

    def _facts(self, number: int, entry: Entry, depth: int) -> dict[str, str]:
        """Without the size, which may change."""
        partition = self._attribute(number, "partition")
        if partition:
            return self._of_partition(number, partition, entry, depth)
        facts = self._own(number, entry)
        if depth and not Facts.of(facts).provable:
            facts |= self._of_below(number, depth)
        return facts | self._of_place(number)

    def _of_partition(self, number: int, partition: str, entry: Entry, depth: int) -> dict[str, str]:
        """Its number and UUID, which are outside of it, and its disk's facts."""
        told = re.search(r"^PARTUUID=(.+)$", self._attribute(number, "uevent"), re.M)
        uuid = told[1] if told else entry.properties.get("ID_PART_ENTRY_UUID", "")
        parent = _number(_read(f"{self._folder(number)}/../dev"))
        above = self._facts(parent, self._entry(parent, self._attribute(parent, "diskseq")), depth)
        return {"partition": partition, "part_uuid": uuid.lower(), **Facts.of(above).below("disk")}

    def _own(self, number: int, entry: Entry) -> dict[str, str]:
        """What a disk has been given to be known by."""
        told = entry.properties
        wwid = _spaced(self._attribute(number, "wwid", "device/wwid"))
        serial = _serial(self._attribute(number, "serial", "device/cid") or self._page80(number))
        wwn = "" if wwid else told.get("ID_WWN_WITH_EXTENSION") or told.get("ID_WWN", "")
        dm_uuid = self._attribute(number, "dm/uuid")
        unique = not dm_uuid.startswith("CRYPT-") or re.search("-[0-9a-f]{32}(-|$)", dm_uuid)
        array = told.get("MD_UUID", "").lower()
        return {
            "wwid": wwid,
            "serial": serial,
            "wwn": wwn,
            "id_serial": "" if wwid or serial or dm_uuid or array else _serial(told.get("ID_SERIAL", "")),
            "model": _spaced(self._attribute(number, "device/model")),
            "dm_uuid": dm_uuid if unique else "",
            "dm_name": "" if dm_uuid and unique else self._attribute(number, "dm/name"),
            "md_uuid": array,
            "backend": self._attribute(number, "backend"),
            "image": self._image(number),
            **_zvol(entry),
        }

    def _page80(self, number: int) -> str:
        """The serial number of a SCSI disk (SPC-4 7.8.15)."""
        names = f"{self._block}/{os.major(number)}:{os.minor(number)}/device/vpd_pg80"
        page = _bytes(names)
        return page[4 : 4 + int.from_bytes(page[2:4], "big")].decode("ascii", "replace").strip(" \0")

    def _image(self, number: int) -> str:
        """Of Ceph."""
        parts = [
            self._attribute(number, f"device/{name}") for name in ("cluster_fsid", "pool_id", "image_id")
        ]
        return "/".join(parts) if all(parts) else ""

    def _of_below(self, number: int, depth: int) -> dict[str, str]:
        """What is known through what a disk is made of: the file of a loop device, the disks of a mapping."""
        path = self._attribute(number, "loop/backing_file")
        if path:
            return self._of_loop(number, path, depth)
        try:
            names = os.listdir(f"{self._folder(number)}/slaves")
        except OSError:
            return {}
        numbers = [_number(_read(f"{self._folder(number)}/slaves/{name}/dev")) for name in names]
        # By what they are, for their names may be others tomorrow.
        parts = sorted(self._part(one, depth) for one in numbers)
        return _together(parts)

    def _part(self, number: int, depth: int) -> Facts:
        entry = self._entry(number, self._attribute(number, "diskseq"))
        return Facts.of(self._facts(number, entry, depth - 1)).kept()

    def _of_loop(self, number: int, path: str, depth: int) -> dict[str, str]:
        """The file is known by its path only, where another one may be by now; the inode tells."""
        from pyscstadmin.kernel.loops import is_behind

        offset, limit = self._attribute(number, "loop/offset"), self._attribute(number, "loop/sizelimit")
        window = f"{offset or 0}+{limit or 0}"
        with self.held(path) as found:
            node = f"{self._dev}/{os.path.basename(self._folder(number))}"
            known = found is not None and is_behind(node, path)
            if found is None or not known:
                return {"window": window}
        kept = Facts.of({name: text for name, text in found.facts.kept().items() if name != "size"})
        return {"window": window, "file.path": path, **kept.below("file")}

    def _of_place(self, number: int) -> dict[str, str]:
        """Where a disk is that has nothing of its own, and which one it is until the machine is restarted."""
        boot, sequence = _read(_BOOT), self._attribute(number, "diskseq")
        return {
            "place": _place(self._folder(number)),
            "sequence": f"{boot} {sequence}" if boot and sequence else "",
        }

    def _paths(self, number: int, entry: Entry) -> Iterator[str]:
        """Links that last, as far as they lead here, and the name of the moment."""
        named = re.search(r"^DEVNAME=(.+)$", self._attribute(number, "uevent"), re.M)
        mapped = self._attribute(number, "dm/name").replace("/", "!")
        links = [link.removeprefix(f"{self._dev}/") for link in entry.links]
        ranked = sorted((link for link in links if _rank(link) < len(_LINKS)), key=_order)
        ranked += [f"mapper/{mapped}"] if mapped else []
        ranked += [named[1] if named else os.path.basename(self._folder(number))]
        yield from (path for link in ranked if self._leads((path := f"{self._dev}/{link}"), number))

    def _leads(self, path: str, number: int) -> bool:
        try:
            return self.node(os.stat(path)) == number
        except OSError:
            return False


def _number(text: str) -> int:
    major, _, minor = text.partition(":")
    return os.makedev(int(major), int(minor)) if major.isdigit() and minor.isdigit() else 0


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _serial(text: str) -> str:
    """A serial number; none of those that say that there is none."""
    text = _spaced(text)
    return text if text.strip("0 ") and text.isprintable() else ""


def _zvol(entry: Entry) -> dict[str, str]:
    name = next((link for link in entry.links if "/zvol/" in link), "").partition("/zvol/")[2]
    if not name:
        return {}
    from pyscstadmin.kernel.zfs import guid

    return {"zvol": name, "zvol_guid": guid(name)}


def _together(parts: Sequence[Facts]) -> dict[str, str]:
    """The facts of several things; of many, their sum, for there is a limit to what is kept."""
    if len(parts) == 1:
        return dict(parts[0].below("below"))
    if not parts or not all(part.provable for part in parts):
        return {}
    import hashlib

    return {"below": hashlib.sha256("\n".join(part.text() for part in parts).encode()).hexdigest()}


# Links by what they are made of, the best first. Not those of contents (by-uuid, by-label, lvm-pv-uuid),
# which initiators can write, and not those of the moment.
_LINKS = (
    "disk/by-id/dm-uuid-",
    "disk/by-id/wwn-",
    "disk/by-id/nvme-eui.",
    "disk/by-id/nvme-uuid.",
    "disk/by-id/scsi-3",
    "disk/by-id/nvme-",
    "disk/by-id/ata-",
    "disk/by-id/virtio-",
    "disk/by-id/md-uuid-",
    "disk/by-id/scsi-",
    "disk/by-id/usb-",
    "zvol/",
    "disk/by-partuuid/",
)


def _rank(link: str) -> int:
    return next((rank for rank, start in enumerate(_LINKS) if link.startswith(start)), len(_LINKS))


def _order(link: str) -> tuple[int, str]:
    return _rank(link), link


_LASTING = re.compile(
    r"[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]"  # PCI
    r"|vbd-\d+|[0-9a-f]+\.virtio_mmio|virtio-mmio\.\d+"
)
# Which port of these it is cannot be told from here: their numbers are given as things are found.
_COUNTED = ("ata", "usb", "rport-", "session", "port-", "end_device")
_SCSI = re.compile(r"\d+:(\d+:\d+:\d+)")


def _place(folder: str) -> str:
    """Of a path in sysfs what is the same at every start: not what is counted as it is found."""
    parts = folder.split("/")
    if any(part.startswith(_COUNTED) for part in parts):
        return ""
    slots = [part for part in parts if _LASTING.fullmatch(part)]
    units = [found[1] for part in parts if (found := _SCSI.fullmatch(part))]
    return "-".join([*slots[-1:], *units]) if slots else ""
