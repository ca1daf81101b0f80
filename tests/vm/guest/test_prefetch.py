# SPDX-License-Identifier: GPL-2.0-or-later
"""PRE-FETCH and READ DEFECT DATA: what they do, what they say, and what they refuse."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_refused import loop_device
from tests.vm.guest.tree import Target

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

MIB = 1 << 20
SIZE = 64 * MIB
BLOCKS = SIZE // 512
LUNS = {"file": 0, "direct": 1, "disk": 2, "null": 3}
CONDITION_MET = 0x04
IMMED = 0x02
PAGE = mmap.PAGESIZE
# Memory that nobody has touched yet comes from a file of the host's, page by page, and may take its time.
PATIENT = 300

Prefetch = Callable[[int, int, int], bytes]


def prefetch10(lba: int, count: int, flags: int = 0) -> bytes:
    """PRE-FETCH(10)."""
    return scsi.cdb10(0x34, lba, count, flags)


def prefetch16(lba: int, count: int, flags: int = 0) -> bytes:
    """PRE-FETCH(16)."""
    return scsi.cdb16(0x90, lba, count, flags)


def defects10(flags: int, room: int = 64) -> bytes:
    """READ DEFECT DATA(10); *flags*: byte 2."""
    return bytes((0x37, 0, flags, 0, 0, 0, 0)) + room.to_bytes(2, "big") + b"\0"


def defects12(flags: int, room: int = 64) -> bytes:
    """READ DEFECT DATA(12); *flags*: byte 1."""
    return bytes((0xB7, flags, 0, 0, 0, 0)) + room.to_bytes(4, "big") + bytes(2)


@dataclass(frozen=True, slots=True)
class Rig:
    """Units of one initiator, and the file behind the first."""

    units: dict[str, Unit]
    path: Path

    def forget(self) -> None:
        """Have nothing of the file in the page cache."""
        self.units["file"].good(scsi.cdb10(0x35, 0, 0))
        guest_plugin.command("sync")
        Path("/proc/sys/vm/drop_caches").write_text("1\n")

    def cached(self, lba: int, count: int) -> list[bool]:
        """Which pages of a range are in the page cache."""
        with self.path.open("r+b") as file, mmap.mmap(file.fileno(), SIZE) as memory:
            return resident(memory, lba * 512, count * 512)


def resident(memory: mmap.mmap, at: int, size: int) -> list[bool]:
    """mincore(2)."""
    first, last = at // PAGE, (at + size - 1) // PAGE
    found = (ctypes.c_ubyte * (last - first + 1))()
    anchor = ctypes.c_char.from_buffer(memory)
    address = ctypes.addressof(anchor) + first * PAGE
    done = ctypes.CDLL(None, use_errno=True).mincore(
        ctypes.c_void_p(address), ctypes.c_size_t((last - first + 1) * PAGE), found
    )
    del anchor
    assert done == 0, f"mincore: {ctypes.get_errno()}"
    return [bool(one & 1) for one in found]


@pytest.fixture(scope="module")
def rig(ext4: Path, file_tree: None) -> Iterator[Rig]:
    """One LUN of 64 MiB per kind of backing; the file is written, not a hole."""
    path = ext4 / "medium"
    with path.open("wb") as file:
        for _ in range(SIZE // MIB):
            file.write(b"\x5a" * MIB)
    for name in ("medium-direct", "medium-disk"):
        with (ext4 / name).open("wb") as file:
            file.truncate(SIZE)
    with loop_device(ext4 / "medium-disk") as node:
        devices = {
            "file": tree.fileio("medium", path),
            "direct": tree.fileio("direct", ext4 / "medium-direct", o_direct=1),
            "disk": tree.blockio("disk", node),
            "null": tree.nullio("null", SIZE),
        }
        target = Target("medium").make(auto_rescan=False)
        for name, lun in LUNS.items():
            target.luns.map(lun, devices[name])
        host = target.login("first")
        target.enable()
        units = {name: Unit(host.sg(lun)) for name, lun in LUNS.items()}
        for unit in units.values():
            unit.attentions()
        yield Rig(units, path)
        for unit in units.values():
            unit.close()
        guest_plugin.wipe()


@pytest.mark.parametrize("make", [prefetch10, prefetch16], ids=["10", "16"])
def test_prefetch_reads_into_the_cache(rig: Rig, make: Prefetch) -> None:
    """CONDITION MET: all of it is there."""
    rig.forget()
    lba, count = 32768, 4096
    assert not any(rig.cached(lba, count))
    answer = rig.units["file"].command(make(lba, count, 0), seconds=PATIENT)
    assert (answer.status, answer.host_status, answer.sense) == (CONDITION_MET, 0, None)
    assert all(rig.cached(lba, count))
    assert not all(rig.cached(0, 4096))


@pytest.mark.parametrize("make", [prefetch10, prefetch16], ids=["10", "16"])
def test_prefetch_at_once(rig: Rig, make: Prefetch) -> None:
    """IMMED: it is on its way when the answer comes."""
    rig.forget()
    lba, count = 65536, 4096
    assert rig.units["file"].command(make(lba, count, IMMED), seconds=PATIENT).status == CONDITION_MET
    tree.wait_for("the blocks to be there", lambda: all(rig.cached(lba, count)), PATIENT)


def test_prefetch_of_more_than_a_command_may_take(rig: Rig) -> None:
    """GOOD: not all of it is there. Length 0 is all up to the end."""
    rig.forget()
    assert rig.units["file"].command(prefetch16(0, 0), seconds=PATIENT).status == scsi.GOOD
    assert rig.units["file"].command(prefetch16(BLOCKS - 64, 0)).status == CONDITION_MET
    assert all(rig.cached(BLOCKS - 64, 64))
    assert rig.units["file"].command(prefetch16(BLOCKS, 0)).status == CONDITION_MET


def test_prefetch_without_a_cache(rig: Rig) -> None:
    """GOOD, and nothing else, where there is no cache of ours."""
    for name in ("direct", "disk", "null"):
        for flags in (0, IMMED):
            assert rig.units[name].command(prefetch10(0, 8, flags)).status == scsi.GOOD


def test_prefetch_refused(rig: Rig) -> None:
    for name, unit in rig.units.items():
        for cdb in (prefetch10(BLOCKS, 1), prefetch16(BLOCKS - 1, 2), prefetch16(BLOCKS + 1, 0)):
            assert unit.sense(cdb) == scsi.LBA_OUT_OF_RANGE, name
        answer = unit.command(prefetch16(0, 1, 0x01))
        assert (answer.sense, scsi.parse_field(answer.raw_sense)) == (scsi.INVALID_FIELD_CDB, (True, 1))


@pytest.mark.parametrize("lists", [0x00, 0x08, 0x10, 0x18], ids=["none", "grown", "primary", "both"])
def test_no_defects(rig: Rig, lists: int) -> None:
    """Empty lists, in the format that was asked for."""
    for unit in rig.units.values():
        for form in range(7):
            assert unit.good(defects10(lists | form), 64) == bytes((0, lists | form, 0, 0))
            assert unit.good(defects12(lists | form), 64) == bytes((0, lists | form)) + bytes(6)


def test_defects_refused_and_cut(rig: Rig) -> None:
    """The format that is none; a list that nobody has; any allocation length."""
    unit = rig.units["file"]
    for cdb, field in (
        (defects10(0x1F), 2),
        (defects12(0x1F), 1),
        (defects10(0x20), 2),
        (defects12(0x20), 1),
    ):
        answer = unit.command(cdb, read=64)
        assert (answer.sense, scsi.parse_field(answer.raw_sense)) == (scsi.INVALID_FIELD_CDB, (True, field))
    for room in range(5):
        assert unit.good(defects10(0x18, room), 64) == bytes((0, 0x18, 0, 0))[:room]
        assert unit.good(defects12(0x18, room), 64) == bytes((0, 0x18, 0, 0))[:room]
