# SPDX-License-Identifier: GPL-2.0-or-later
"""Thin provisioning as it is used: initiators' tools give space back, a full backing says so, long commands
are aborted, and backings that take nothing back are refused.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.long import more
from tests.vm.guest.pulse import pulse
from tests.vm.guest.script import LOSE_DATA, Kind, Response, Script, Tmf
from tests.vm.guest.script import serve as serve_scripted
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_recovery import dmsetup, serve
from tests.vm.guest.test_refused import check_refused, loop_device
from tests.vm.guest.tree import Device
from tests.vm.guest_plugin import PluggedDisk, command

SCST_MODULES = (
    "scst",
    "scst_nullio",
    "scst_fileio",
    "scst_blockio",
    "scst_local",
    "scst_script",
    "sd_mod",
    "sg",
    "dm_mod",
)

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
MIB = 1 << 20
POOL_BLOCK = 64 << 10


def gone() -> None:
    """Nothing configured any more, and nothing alive."""
    guest_plugin.wipe()
    guest_plugin.leaked_counters()


def taken(path: Path) -> int:
    """Bytes that a file takes."""
    command("sync", "-f", str(path))
    return path.stat().st_blocks * 512


@contextmanager
def mounted(disk: Path, folder: Path, *options: str) -> Iterator[Path]:
    """A file system, for a while."""
    folder.mkdir(exist_ok=True)
    command("mount", *options, str(disk), str(folder))
    try:
        yield folder
    finally:
        command("umount", str(folder))


# --- space comes back ---


@pytest.fixture(params=["file", "disk", *more("direct")])
def backing(request: pytest.FixtureRequest, ext4: Path, clean_tree: None) -> Iterator[tuple[Device, Path]]:
    """A thin device of 128 MiB that is full of random data, and the file that holds it."""
    path = ext4 / "space"
    command("dd", "if=/dev/urandom", f"of={path}", "bs=1M", "count=128", "status=none")
    if request.param == "disk":
        with loop_device(path) as node:
            yield tree.blockio("space", node, thin=1), path
    else:
        yield tree.fileio("space", path, thin=1, o_direct=request.param == "direct"), path
        gone()
    path.unlink()


def test_blkdiscard(backing: tuple[Device, Path]) -> None:
    """blkdiscard of the middle; then of all, and -z: what the disk driver makes of them."""
    device, path = backing
    disk = serve(device)[0].disk(0)
    before, data = taken(path), path.read_bytes()
    command("blkdiscard", "--offset", str(16 * MIB), "--length", str(64 * MIB), str(disk))
    assert before - taken(path) >= 64 * MIB
    found = path.read_bytes()
    assert found[: 16 * MIB] == data[: 16 * MIB]
    assert found[80 * MIB :] == data[80 * MIB :]
    command("blkdiscard", "-z", "--offset", str(96 * MIB), "--length", str(8 * MIB), str(disk))
    found = path.read_bytes()
    assert found[96 * MIB : 104 * MIB] == bytes(8 * MIB)
    assert (found[80 * MIB : 96 * MIB], found[104 * MIB :]) == (data[80 * MIB : 96 * MIB], data[104 * MIB :])
    command("blkdiscard", str(disk))
    assert taken(path) <= MIB


def test_file_system(backing: tuple[Device, Path], tmp_path: Path) -> None:
    """mkfs discards, fstrim gives back what files had, and what is still in files is intact."""
    device, path = backing
    disk = serve(device)[0].disk(0)
    command("mke2fs", "-q", "-F", "-t", "ext4", "-E", "discard", str(disk))
    assert taken(path) < 16 * MIB
    with mounted(disk, tmp_path / "mount") as mount:
        command("dd", "if=/dev/urandom", f"of={mount}/gone", "bs=1M", "count=64", "status=none")
        command("dd", "if=/dev/urandom", f"of={mount}/kept", "bs=1M", "count=8", "status=none")
        command("sync", "-f", str(mount))
        kept, full = (mount / "kept").read_bytes(), taken(path)
        assert full > 72 * MIB
        (mount / "gone").unlink()
        command("sync", "-f", str(mount))
        command("fstrim", str(mount))
        assert full - taken(path) >= 60 * MIB
    with mounted(disk, tmp_path / "mount") as mount:
        assert (mount / "kept").read_bytes() == kept
    command("e2fsck", "-f", "-n", str(disk))


class Pool:
    """A thin pool of device-mapper with one volume, which is larger than it."""

    def __init__(self, disk: Path, megabytes: int) -> None:
        self._disk, self._meta, self._data = disk, 8 * 2048, megabytes * 2048
        sectors = int(Path("/sys/block", disk.name, "size").read_text())
        assert sectors >= self._meta + 2 * self._data
        command("modprobe", "dm-thin-pool")
        command("dd", "if=/dev/zero", f"of={disk}", "bs=1M", "count=8", "status=none", "conv=fsync")
        dmsetup("create", "meta", "--table", f"0 {self._meta} linear {disk} 0")
        dmsetup("create", "data", "--table", self._linear(self._data))
        dmsetup("create", "pool", "--table", self._table(self._data))
        dmsetup("message", "pool", "0", "create_thin 0")
        dmsetup("create", "vol", "--table", f"0 {8 * self._data} thin {self._node('pool')} 0")
        self.node = self._node("vol")

    def _linear(self, sectors: int) -> str:
        return f"0 {sectors} linear {self._disk} {self._meta}"

    def _table(self, sectors: int) -> str:
        meta, data = self._node("meta"), self._node("data")
        return f"0 {sectors} thin-pool {meta} {data} {POOL_BLOCK // 512} 0 1 error_if_no_space"

    @staticmethod
    def _node(name: str) -> Path:
        for file in Path("/sys/block").glob("dm-*/dm/name"):
            if file.read_text().strip() == name:
                return Path("/dev", file.parent.parent.name)
        raise LookupError(name)

    def used(self) -> int:
        """Bytes of the data device that are in use."""
        words = command("dmsetup", "status", "pool").split()
        return int(words[5].partition("/")[0]) * POOL_BLOCK

    def grow(self) -> None:
        """Twice the space."""
        for name, table in (("data", self._linear(2 * self._data)), ("pool", self._table(2 * self._data))):
            dmsetup("load", name, "--table", table)
            dmsetup("suspend", "--noflush", name)
            dmsetup("resume", name)

    def remove(self) -> None:
        """Take all of it away."""
        for name in ("vol", "pool", "data", "meta"):
            dmsetup("remove", "--retry", name)


@pytest.fixture
def pool(disks: dict[str, PluggedDisk], clean_tree: None) -> Iterator[Pool]:
    """24 MiB, of which 192 are sold."""
    made = Pool(disks["vm-disk-b"].node, 24)
    yield made
    gone()
    made.remove()


def whole_blocks(file: Path, size: int) -> int:
    """How many blocks of *size* bytes, on the disk below its file system, hold nothing but this file."""
    extents = re.findall(
        r"^ *\d+: *\d+\.\. *\d+: *(\d+)\.\. *(\d+):", command("filefrag", "-v", "-b512", str(file)), re.M
    )
    assert extents
    count = size // 512
    return sum(max(0, (int(last) + 1) // count - -(-int(first) // count)) for first, last in extents)


def test_thin_pool(pool: Pool, tmp_path: Path) -> None:
    """UNMAP gives the pool its blocks back: each that had nothing else in it than the file that is gone."""
    disk = serve(tree.blockio("vol", pool.node, thin=1))[0].disk(0)
    # The file system is small itself, and writes nothing later on.
    options = ("-b", "4096", "-O", "^has_journal", "-N", "64", "-E", "lazy_itable_init=0")
    command("mke2fs", "-q", "-F", "-t", "ext4", *options, str(disk))
    with mounted(disk, tmp_path / "mount") as mount:
        command("dd", "if=/dev/urandom", f"of={mount}/gone", "bs=1M", "count=12", "status=none")
        command("sync", "-f", str(mount))
        whole, full = whole_blocks(mount / "gone", POOL_BLOCK) * POOL_BLOCK, pool.used()
        assert 8 * MIB < whole <= full
        (mount / "gone").unlink()
        command("sync", "-f", str(mount))
        command("fstrim", str(mount))
        assert full - pool.used() >= whole


def test_full_pool(pool: Pool) -> None:
    """Writes end in SPACE ALLOCATION FAILED WRITE PROTECT, reads go on; after growth, or UNMAP, writes do."""
    with Unit(serve(tree.blockio("vol", pool.node, thin=1))[0].sg(0)) as unit:
        unit.attentions()
        senses = [
            unit.sense(scsi.write10(lba, 128), write=b"\xa5" * 65536) for lba in range(0, 600 * 128, 128)
        ]
        assert set(senses) == {None, scsi.SPACE_ALLOCATION}
        first = senses.index(scsi.SPACE_ALLOCATION)
        assert first >= 300
        assert unit.good(scsi.read10(0, 128), 65536) == b"\xa5" * 65536
        assert unit.sense(scsi.write_same10(100_000, 8), write=b"\xa5" * 512) == scsi.SPACE_ALLOCATION
        pool.grow()
        assert unit.sense(scsi.write10(first * 128, 128), write=b"\xa5" * 65536) is None
        before = pool.used()
        unit.good(scsi.unmap(24), write=scsi.unmap_list((0, 128 * 128)))
        assert before - pool.used() >= 127 * 65536


def test_full_file_system(tmp_path: Path) -> None:
    """A sparse file on a small tmpfs."""
    with mounted(Path("tmpfs"), tmp_path / "small", "-t", "tmpfs", "-o", "size=4M") as mount:
        path = mount / "file"
        with path.open("wb") as file:
            file.truncate(64 * MIB)
        try:
            with Unit(serve(tree.fileio("sold", path, thin=1))[0].sg(0)) as unit:
                unit.attentions()
                answer = unit.sense(scsi.write_same10(0, 16384), write=b"\xa5" * 512)
                assert answer == scsi.SPACE_ALLOCATION
                unit.good(scsi.unmap(24), write=scsi.unmap_list((0, 16384)))
                assert unit.sense(scsi.write10(0, 128), write=bytes(65536)) is None
                assert taken(path) == 65536
        finally:
            gone()


# --- sg3_utils ---


def sg(*argv: object) -> str:
    """One of its programs, which must succeed."""
    return command(*map(str, argv))


def test_sg3_utils(make_file: MakeFile) -> None:
    path = make_file("tools", 4)
    node = serve(tree.fileio("tools", path, thin=1))[0].sg(0)
    with Unit(node) as unit:
        unit.attentions()
    data = path.read_bytes()
    limits = sg("sg_vpd", "-p", "bl", node)
    for line in (
        "Write same non-zero (WSNZ): 1",
        "Maximum unmap LBA count: 1048576",
        "Maximum unmap block descriptor count: 255",
        f"Optimal unmap granularity: {os.statvfs(path).f_bsize // 512} blocks",
        "Unmap granularity alignment valid: true",
        "Maximum write same length: 0x200000 blocks",
    ):
        assert line in limits, limits
    provisioning = sg("sg_vpd", "-p", "lbpv", node)
    for line in (
        "Unmap command supported (LBPU): 1",
        "Write same (16) with unmap bit supported (LBPWS): 1",
        "Write same (10) with unmap bit supported (LBPWS10): 1",
        "Logical block provisioning read zeros (LBPRZ): 1",
        "Anchored LBAs supported (ANC_SUP): 0",
        "Provisioning type: 2 (thin provisioned)",
        "Threshold exponent: 11",
    ):
        assert line in provisioning, provisioning
    assert "lbpme=1, lbprz=1" in sg("sg_readcap", "--16", node)
    sg("sg_unmap", "--lba=8", "--num=16", "--force", node)
    sg("sg_write_same", "--10", "--lba=64", "--num=8", "--in=/dev/zero", "--xferlen=512", node)
    sg("sg_write_same", "--16", "--unmap", "--lba=128", "--num=64", "--in=/dev/zero", "--xferlen=512", node)
    sg("sg_write_same", "--16", "--ndob", "--lba=1000", "--num=3", node)
    for lba, count in ((8, 16), (64, 8), (128, 64), (1000, 3)):
        data = data[: lba * 512] + bytes(count * 512) + data[(lba + count) * 512 :]
    assert path.read_bytes() == data
    status = sg("sg_get_lba_status", "--brief", "--lba=128", node)
    assert re.search(r"0x0*80\s+0x0*40\s+1\b", status), status


# --- long ones ---


@pytest.fixture
def slow(disks: dict[str, PluggedDisk]) -> Iterator[Path]:
    """A disk whose every I/O takes 200 ms."""
    disk = disks["vm-disk-b"].node
    sectors = Path("/sys/block", disk.name, "size").read_text().strip()
    guest_plugin.command("modprobe", "dm-delay")
    dmsetup("create", "slow", "--table", f"0 {sectors} delay {disk} 0 200")
    name = next(file for file in Path("/sys/block").glob("dm-*/dm/name") if file.read_text() == "slow\n")
    yield Path("/dev", name.parent.parent.name)
    gone()
    dmsetup("remove", "--retry", "slow")


@pytest.mark.parametrize("fn", [Tmf.ABORT_TASK, Tmf.LUN_RESET], ids=["abort", "reset"])
def test_abort_of_a_long_write_same(script: Script, slow: Path, fn: Tmf) -> None:
    """It ends with the piece that is being done; nothing is written after the answer, and others go on."""
    first, second = serve_scripted(script, tree.blockio("slow", slow))
    blocks = int(Path("/sys/class/block", slow.name, "size").read_text())
    count = min(blocks - 8, (1 << 30) // 512)
    assert count > 60 * 2048, "long enough"
    block = bytes((0xA0 + fn,)) * 512
    number = first.submit(scsi.write_same16(8, count), write=block)
    tree.wait_for(
        "its first piece is written, and others are served meanwhile",
        lambda: second.good(scsi.read10(8, 1), read=512) == block,
    )
    begin = pulse.time()
    assert first.manage(fn, tag=number) == Response.COMPLETE
    assert pulse.time() - begin < 2
    event = first.answer(number)
    assert event.aborted, str(event)
    second.attentions()
    assert second.good(scsi.read10(7 + count, 1), read=512) != block, "it did not come to its end"


def test_abort_of_an_unmap_that_waits_for_its_list(script: Script, ext4: Path) -> None:
    """What was aborted while it waited for its list gives nothing back."""
    path = ext4 / "waits"
    path.write_bytes(b"\x5a" * MIB)
    first, _ = serve_scripted(script, tree.fileio("waits", path, thin=1))
    held = first.submit(scsi.unmap(24), write=scsi.unmap_list((0, 2048)), plan=LOSE_DATA)
    script.wait(Kind.WANTS_DATA, held)
    assert first.manage(Tmf.ABORT_TASK, tag=held) == Response.COMPLETE
    assert first.answer(held).aborted
    assert path.read_bytes() == b"\x5a" * MIB
    path.unlink()


# --- backings that take nothing back ---


def test_file_system_without_holes(tmp_path: Path) -> None:
    """The setting is named, and without it the same backing is served."""
    mount = tmp_path / "mount"
    mount.mkdir()
    guest_plugin.command("mount", "-t", "ramfs", "ramfs", str(mount))
    try:
        (mount / "file").write_bytes(bytes(MIB))
        device = Device("fileio", "holeless").make(path=mount / "file", thin=1)
        check_refused(device, errno.EOPNOTSUPP, "thin is 1", "ramfs")
        device.set("thin", 0)
        device.enable()
        assert device.state == "active"
    finally:
        gone()
        guest_plugin.command("umount", str(mount))


def test_disk_without_discard() -> None:
    guest_plugin.command("modprobe", "null_blk", "nr_devices=1", "gb=1")
    try:
        device = Device("blockio", "firm").make(path="/dev/nullb0", thin=1)
        check_refused(device, errno.EOPNOTSUPP, "thin is 1", "discard")
        device.set("thin", 0)
        device.enable()
        assert device.state == "active"
    finally:
        gone()
        guest_plugin.command("rmmod", "null_blk")
