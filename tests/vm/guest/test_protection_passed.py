# SPDX-License-Identifier: GPL-2.0-or-later
"""T10 protection information that a disk keeps itself, passed through by blockio.

The disk is a simulated one, whose information only Linux' block layer can reach: it and the disk check what
is read around the target, and what is written by the disk's sg node leaves the information as it is.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm.guest import scsi, tree
from tests.vm.guest import test_protection as kept
from tests.vm.guest.long import more
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_protection import GUARD, NONE, WRONG, Kind, failed
from tests.vm.guest.test_protection_kept import direct
from tests.vm.guest.test_refused import check_refused, scsi_debug
from tests.vm.guest.tree import Device, Initiator, Target

SCST_MODULES = ("scst", "scst_blockio", "scst_local", "sd_mod", "sg")

# Name: type that is served, block, and how the disk is formatted.
DISKS: dict[str, tuple[int, int, dict[str, int]]] = {
    "part": (1, 512, {"dif": 1, "num_parts": 1}),
    "three": (3, 512, {"dif": 3}),
    "large": (1, 4096, {"dif": 1}),
    "one": (1, 512, {"dif": 1}),
}


@dataclass(frozen=True, slots=True)
class Passed(Kind):
    """A unit on such a disk (`data`), or on the part of it that begins at block `start`."""

    host: Initiator
    below: Unit
    start: int

    def kept(self, lba: int, count: int) -> list[bytes]:
        """As the disk has it: with RDPROTECT 011b nobody checks it."""
        both, step = self.read(lba, count, 3).data, self.block + 8
        return [both[at + self.block : at + step] for at in range(0, len(both), step)]

    def spoil(self, path: Path, at: int) -> None:
        """Change a byte of the disk's."""
        lba, offset = divmod(at, self.block)
        block = bytearray(self.below.good(scsi.read10(self.start + lba, 1), self.block))
        block[offset] ^= 0x40
        self.below.good(scsi.write10(self.start + lba, 1), write=bytes(block))

    def told(self, tuples: list[bytes]) -> list[bytes]:
        """What is defined of information that Linux makes: newer kernels give type 3 a reference tag, too."""
        return [one[:4] if self.type == 3 else one for one in tuples]

    def around(self, lba: int, count: int) -> bytes:
        """What this machine reads of the disk without the target."""
        return direct(self.data, False, (self.start + lba) * self.block, size=count * self.block)


def sg_of(disk: Path) -> Path:
    """The other node of a disk."""
    return Path("/dev", next(Path("/sys/block", disk.name, "device/scsi_generic").iterdir()).name)


def part_of(disk: Path) -> tuple[Path, int]:
    """The partition of a disk, and where it begins."""
    part = tree.wait_node("a partition", lambda: Path("/sys/block", disk.name).glob(f"{disk.name}1"))
    return part, int(Path("/sys/block", disk.name, part.name, "start").read_text())


@contextmanager
def serving(served: int, block: int, format_: dict[str, int]) -> Iterator[Passed]:
    """A unit on such a disk; Linux as an initiator exchanges the information as well."""
    with scsi_debug(dix=1, sector_size=block, dev_size_mb=8, delay=0, lbpu=1, **format_) as disk:
        backing, start = part_of(disk) if "num_parts" in format_ else (disk, 0)
        device = tree.blockio("passed", backing, protection=served, thin=1)
        target = Target("passed").make()
        tree.write(target.path / "protection", True)
        target.luns.map(0, device)
        host = target.login("first")
        target.enable()
        with Unit(host.sg(0)) as unit, Unit(sg_of(disk)) as below:
            unit.attentions()
            yield Passed(unit, served, block, disk, disk, host, below, start)


# --- what is not passed through; first, for there is one simulated disk at a time ---

LACKING = [
    ({"dif": 1, "dix": 0}, "does not exchange it"),
    ({"dif": 0, "dix": 1}, "only the host adapter"),
    ({"dif": 1, "dix": 1, "guard": 1}, "not CRCs"),
]


@pytest.mark.parametrize(("format_", "words"), LACKING, ids=["no DIX", "no DIF", "IP checksum"])
def test_lacking(clean_tree: None, format_: dict[str, int], words: str) -> None:
    """What the disk has not is not told of, and refused if it is asked for."""
    with scsi_debug(dev_size_mb=8, delay=0, **format_) as disk:
        device = Device("blockio", "d").make(path=disk, protection=1)
        check_refused(device, errno.EOPNOTSUPP, "protection is 1", words)
        plain(device)


def test_otherwise(clean_tree: None) -> None:
    """Another type, another block; and a disk whose information is nobody's wish is one without."""
    with scsi_debug(dev_size_mb=8, delay=0, dif=1, dix=1) as disk:
        device = Device("blockio", "d").make(path=disk, protection=3)
        check_refused(device, errno.EOPNOTSUPP, "another type", "T10-DIF-TYPE1-CRC")
        device.set("protection", 2)
        check_refused(device, errno.EOPNOTSUPP, "types 1 and 3 only")
        device.set("protection", 1)
        device.set("block_size", 4096)
        check_refused(device, errno.EOPNOTSUPP, "block_size")
        device.set("block_size", 512)
        device.enable().enable(False)
        plain(device)


def plain(device: Device) -> None:
    """Without the wish it is a disk like any other."""
    device.set("protection", 0)
    target = Target("plain").make()
    target.luns.map(0, device.enable())
    host = target.login("first")
    target.enable()
    data = bytes(range(256)) * 8
    with Unit(host.sg(0)) as unit:
        unit.attentions()
        assert not unit.good(scsi.inquiry(), 96)[5] & 1
        unit.good(scsi.write10(7, 4), write=data)
        assert unit.good(scsi.read10(7, 4), len(data)) == data


def test_type_2_is_type_1_to_linux(clean_tree: None) -> None:
    """Reference tags of such a disk are those that the block layer tells it of, and these are of type 1."""
    with serving(1, 512, {"dif": 2}) as two:
        test_what_is_told(two)
        for count in (1, 130):
            test_what_is_written_with_it(two, count)
        test_damage(two)


# --- what is ---


@pytest.fixture(scope="module", params=["part", "three", "large", *more("one")])
def kind(request: pytest.FixtureRequest, file_tree: None) -> Iterator[Passed]:
    """Each kind of disk."""
    with serving(*DISKS[request.param]) as passed:
        yield passed


def test_what_is_told(kind: Passed) -> None:
    """INQUIRY, READ CAPACITY(16), VPD page 86h."""
    assert kind.unit.good(scsi.inquiry(), 96)[5] & 1
    assert kind.unit.good(scsi.read_capacity16(), 32)[12] == 2 * kind.type - 1
    assert kind.unit.good(scsi.inquiry(page=0x86), 64)[4] == {1: 0x05, 3: 0x24}[kind.type]


@pytest.mark.parametrize("count", [1, 130])
def test_what_is_written_with_it(kind: Passed, count: int) -> None:
    """It is the disk's, with the application tag, and fits there."""
    kept.test_what_is_written_with_it_is_read_with_it(kind, count)
    assert kind.around(5, count) == kind.noise(count, count)


@pytest.mark.parametrize("count", [1, 130])
def test_what_is_written_without_it(kind: Passed, count: int) -> None:
    """It gets its own, whatever this machine's block layer would do by itself."""
    integrity = Path("/sys/block", kind.data.name, "integrity")
    for switch in ("1", "0"):
        for name in ("write_generate", "read_verify"):
            (integrity / name).write_text(switch)
        kept.test_what_is_written_without_it_gets_its_own(kind, count)
    for name in ("write_generate", "read_verify"):
        (integrity / name).write_text("1")
    assert kind.around(11, count) == kind.noise(("own", count), count)


def test_what_others_have_written(kind: Passed) -> None:
    """This machine, around the target: the same information is read."""
    data = kind.noise("around", 16)
    direct(kind.data, True, (kind.start + 80) * kind.block, data)
    assert kind.read(80, 16, 1).data == kind.between(data, kind.kept(80, 16))
    assert kind.told(kind.kept(80, 16)) == kind.told(kind.right(80, data))


@pytest.mark.parametrize("protect", [1, 2, 3, 4, 5])
def test_wrong_tags(kind: Passed, protect: int) -> None:
    """What is checked is not written if it is wrong; what is not goes to the disk, and comes, as it is."""
    for what, at, sense, fields in WRONG:
        kept.test_wrong_tags_are_not_written(kind, what, at, sense, fields, protect)


def test_wrong_on_the_disk(kind: Passed) -> None:
    """It is there indeed: the disk and this machine say so, too."""
    data = kind.noise("wrong")
    assert kind.write(60, data, 3, [bytes(8)]).good
    with pytest.raises(OSError, match=r"Invalid or incomplete|Input/output"):
        kind.around(60, 1)
    failed(kind.read(58, 4), GUARD, 60)
    failed(kind.read(58, 4, 1), GUARD, 60)
    assert kind.write(60, data).good
    assert kind.around(60, 1) == data
    if kind.type == 1:
        kept.test_wrong_reference_tag_on_the_medium({"one": kind})


def test_damage(kind: Passed) -> None:
    """Data that has changed on the disk: every command that reads tells it, with the block."""
    kept.test_damage_is_found(kind, "data")


def test_other_commands(kind: Passed) -> None:
    """COMPARE AND WRITE, ORWRITE, VERIFY: as elsewhere."""
    kept.test_compare_and_write_and_orwrite_generate(kind)
    kept.test_compare_and_write_with_it(kind, 121 if kind.block == 512 else 1, 0x08)
    kept.test_orwrite_with_it(kind, 9, 0)
    kept.test_verify_and_write_and_verify(kind)


def test_write_same(kind: Passed) -> None:
    """Each block has its own, also of zeroes, or none: the disk is not asked to make it."""
    kept.test_write_same_generates(kind)
    kept.test_write_same_of_blocks_without_it(kind)
    for protect in (1, 3):
        kept.test_write_same_with_it(kind, protect)
    zeroes = bytes(50 * kind.block)
    for flags in (0, scsi.UNMAP_BIT):
        assert kind.write(200, kind.noise("before", 50)).good
        kind.unit.good(scsi.write_same16(200, 50, flags), write=bytes(kind.block))
        assert kind.read(200, 50, 1).data == kind.between(zeroes, kind.right(200, zeroes))
    assert kind.around(200, 50) == zeroes


def test_given_back(kind: Passed) -> None:
    """UNMAP: the disk has none then."""
    data = kind.noise("thin", 64)
    assert kind.write(128, data, 1).good
    kind.unit.good(scsi.unmap(24), write=scsi.unmap_list((136, 16)))
    wanted = data[: 8 * kind.block] + bytes(16 * kind.block) + data[24 * kind.block :]
    tuples = kind.right(128, data)
    tuples[8:24] = [NONE] * 16
    assert kind.read(128, 64).data == wanted
    assert kind.read(128, 64, 1).data == kind.between(wanted, tuples)
    assert kind.around(128, 64) == wanted


def test_format(kind: Passed) -> None:
    """All is zero, and has its information."""
    pinfo, usage = (0xC0, 1) if kind.type == 3 else (0x80, 0)
    assert kind.write(500, kind.noise("format", 8), 1).good
    kind.unit.good(scsi.format_unit(pinfo | 0x10), write=bytes((usage, 0, 0, 0)))
    zeroes = bytes(8 * kind.block)
    assert kind.read(500, 8, 1).data == kind.between(zeroes, kind.right(500, zeroes))


def test_from_end_to_end(kind: Passed) -> None:
    """Linux' sd makes it, the disk keeps it; damage is told to it."""
    disk = kind.host.disk(0)
    integrity = Path("/sys/block", disk.name, "integrity")
    assert (integrity / "format").read_text().strip() == f"T10-DIF-TYPE{kind.type}-CRC"
    data = kind.noise("end", 64)
    direct(disk, True, 320 * kind.block, data)
    assert direct(disk, False, 320 * kind.block, size=len(data)) == data
    assert kind.told(kind.kept(320, 64)) == kind.told(kind.right(320, data))
    assert kind.around(320, 64) == data
    kind.spoil(kind.data, 330 * kind.block)
    with pytest.raises(OSError, match=r"Invalid or incomplete|Input/output"):
        direct(disk, False, 328 * kind.block, size=8 * kind.block)
    behind = direct(disk, False, 336 * kind.block, size=8 * kind.block)
    assert behind == data[16 * kind.block : 24 * kind.block]
