# SPDX-License-Identifier: GPL-2.0-or-later
"""What is behind a path, now: which disk or file that is, and what it is known by.

Disks are known by what the kernel tells (sysfs) and what udev's rules have found out. Neither of it is what
initiators could have written: file systems, labels and partition tables on a disk that is served are theirs.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pyscstadmin.config.facts import Facts, compare
from pyscstadmin.kernel.udev import Database, Entry, UdevDatabase

__all__ = ["BLOCK", "Backings", "Found", "block_fact", "identify"]

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


class Backings:
    """Looks at paths and disks. `block`: where sysfs has the disks by number."""

    def __init__(self, block: str = BLOCK, database: Database | None = None) -> None:
        self._block = block
        self._database = database if database is not None else UdevDatabase()

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

    def at(self, path: str) -> Found | None:
        """What is at a path at this moment."""
        with self.held(path) as found:
            return found

    def words(self, path: str) -> str:
        """The words for what is at a path, '' for nothing: as `at` has them, and cheaper."""
        try:
            status = os.stat(path)
            if stat.S_ISBLK(status.st_mode):
                return self._disk_words(status.st_rdev)
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

    def search(self, facts: Facts) -> list[Found]:
        """All disks that these facts prove to be the one."""
        found = (self.disk(number) for number in self._numbers()) if facts.provable else ()
        return [one for one in found if one is not None and compare(facts, one.facts).same]

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
            if stat.S_ISBLK(status.st_mode):
                return self.disk(status.st_rdev)
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
        words = self._disk_words(number)
        if not words:
            return None
        entry = self._entry(number, words.rpartition(" ")[2])
        size = str(int(self._attribute(number, "size")) * _SECTOR)
        facts = Facts.of({**self._facts(number, entry, _DEPTH), "size": size})
        return Found(words, facts, tuple(self._paths(number, entry)))

    def _disk_words(self, number: int) -> str:
        size = self._attribute(number, "size")
        if not size.isdigit() or not int(size):
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
            known = found is not None and is_behind(f"/dev/{os.path.basename(self._folder(number))}", path)
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
        for link in sorted((link for link in entry.links if _rank(link) < len(_LINKS)), key=_order):
            try:
                status = os.stat(link)
            except OSError:
                continue
            if stat.S_ISBLK(status.st_mode) and status.st_rdev == number:
                yield link
        mapped = self._attribute(number, "dm/name")
        if mapped and "/" not in mapped:
            yield f"/dev/mapper/{mapped}"
        named = re.search(r"^DEVNAME=(.+)$", self._attribute(number, "uevent"), re.M)
        yield f"/dev/{named[1] if named else os.path.basename(self._folder(number))}"


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
    name = next((link for link in entry.links if link.startswith("/dev/zvol/")), "")
    if not name:
        return {}
    from pyscstadmin.kernel.zfs import guid

    name = name.removeprefix("/dev/zvol/")
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
    "/dev/disk/by-id/dm-uuid-",
    "/dev/disk/by-id/wwn-",
    "/dev/disk/by-id/nvme-eui.",
    "/dev/disk/by-id/nvme-uuid.",
    "/dev/disk/by-id/scsi-3",
    "/dev/disk/by-id/nvme-",
    "/dev/disk/by-id/ata-",
    "/dev/disk/by-id/virtio-",
    "/dev/disk/by-id/md-uuid-",
    "/dev/disk/by-id/scsi-",
    "/dev/disk/by-id/usb-",
    "/dev/zvol/",
    "/dev/disk/by-partuuid/",
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
