# SPDX-License-Identifier: GPL-2.0-or-later
"""What an initiator's administrator does while a LUN is parked does no harm; and stores that grow in use."""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.fio import Fio
from tests.vm.guest.patience import LIMIT, timely
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_recovery import Mapper, dmsetup, mapper, serve
from tests.vm.guest.tree import Device, Initiator
from tests.vm.guest_plugin import PluggedDisk

__all__ = ("mapper",)

SCST_MODULES = (
    "scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg", "dm_mod",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
MIB = 1 << 20
RESCAN = 5 * LIMIT
HELLO = random.Random("hello").randbytes(MIB)


def sectors(disk: Path) -> int:
    """Size of the initiator's disk."""
    return int(Path("/sys/block", disk.name, "size").read_text())


def rescan(disk: Path) -> None:
    """What every instruction says to do after a change: of one disk."""
    Path("/sys/block", disk.name, "device/rescan").write_text("1")


def scan(host: Initiator) -> None:
    """The same for the whole host."""
    Path(f"/sys/class/scsi_host/host{host.number}/scan").write_text("- - -")


@contextmanager
def mounted(disk: Path, folder: Path) -> Iterator[Path]:
    """A journalling file system on the initiator's disk, in use."""
    folder.mkdir()
    guest_plugin.command("mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0", str(disk))
    guest_plugin.command("mount", "-t", "ext4", str(disk), str(folder))
    try:
        yield folder
    finally:
        guest_plugin.command("umount", str(folder))


def from_disk(path: Path) -> bytes:
    """What the disk has of a file; only this one's pages are dropped, not those of the programs in use."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(file, len(HELLO) + 1, 0)
    finally:
        os.close(file)


# --- parked (public case 2.2) ---


def test_rescan_of_a_parked_lun(make_file: MakeFile, tmp_path: Path) -> None:
    """The disk keeps its size, at once; the mounted file system lives on when the LUN is back."""
    device = tree.fileio("a", make_file("a", 24))
    first, second = serve(device)
    disks = [host.disk(0) for host in (first, second)]
    size = sectors(disks[0])
    with mounted(disks[0], tmp_path / "mount") as folder:
        (folder / "hello").write_bytes(HELLO)
        os.sync()
        device.activate(False)
        for host, disk in zip((first, second), disks, strict=True):
            timely("a rescan of the disk", partial(rescan, disk), RESCAN)
            timely("a scan of the host", partial(scan, host), RESCAN)
            assert sectors(disk) == size == 24 * MIB // 512
        device.activate()
        assert [sectors(disk) for disk in disks] == [size, size]
        assert timely("reading it", partial(from_disk, folder / "hello"), RESCAN) == HELLO
        (folder / "more").write_bytes(HELLO)
        os.sync()
        for disk in disks:
            timely("a rescan of the active disk", partial(rescan, disk), RESCAN)
            assert sectors(disk) == size
        assert from_disk(folder / "more") == HELLO
    guest_plugin.command("e2fsck", "-fn", str(disks[0]))
    with Unit(second.sg(0)) as unit:
        unit.attentions()
        assert unit.blocks() == (size, 512)


def test_io_waits_through_park_and_rescan(make_file: MakeFile, tmp_path: Path) -> None:
    """Under load: parked, rescanned, activated; the load sees no error and right data."""
    device = tree.fileio("a", make_file("a", 16))
    host = serve(device)[0]
    disk = host.disk(0)
    with Fio(tmp_path, disk, verify="crc32c", verify_backlog=64, runtime=60) as load:
        for _ in range(2):
            device.activate(False)
            timely("a rescan", partial(rescan, disk), RESCAN)
            device.activate()
        load.stop()
    assert sectors(disk) == 16 * MIB // 512


def test_new_initiator_of_a_parked_lun(make_file: MakeFile) -> None:
    """Who logs in while the LUN is parked waits for nothing, and has the disk when it is back."""
    path = make_file("a", 4)
    device, other = tree.fileio("a", path), tree.nullio("n", 8 * MIB)
    first, _ = serve(device, other)
    first.disk(0)
    device.activate(False)
    late = timely("login", partial(first.target.login, "late"))
    late.disk(1, RESCAN)
    timely("a scan of the host", partial(scan, late), RESCAN)
    assert not list((late.devices()[0]).glob("block/*")), "a disk without a medium"
    device.activate()
    disk = late.disk(0, RESCAN)
    assert sectors(disk) == 4 * MIB // 512
    file = os.open(disk, os.O_RDONLY)
    assert os.pread(file, 4096, MIB) == path.read_bytes()[MIB : MIB + 4096]
    os.close(file)


def test_rescan_of_a_lun_whose_disk_is_gone(disks: dict[str, PluggedDisk], tmp_path: Path) -> None:
    """Parked from inside, because the disk was pulled: the same."""
    link = tmp_path / "disk"
    link.symlink_to(disks["vm-disk-c"].node)
    device = tree.blockio("b", link)
    host = serve(device)[0]
    disk = host.disk(0)
    size = sectors(disk)
    disks["vm-disk-c"].unplug()
    with Unit(host.sg(0)) as unit:
        assert not unit.command(scsi.read10(0, 8), read=4096).good
    tree.wait_for("the device parks by itself", lambda: device.state == "parked")
    timely("a rescan of the disk", partial(rescan, disk), RESCAN)
    assert sectors(disk) == size
    disks["vm-disk-c"].plug()
    link.unlink()
    link.symlink_to(disks["vm-disk-c"].node)
    device.activate()
    timely("a rescan of the disk", partial(rescan, disk), RESCAN)
    assert sectors(disk) == size


# --- growth (public case 2.4) ---


class Store:
    """A backing that can change its size: a file, or a mapping of a disk."""

    def __init__(self, path: Path, resize: Callable[[int], None], device: Device) -> None:
        self.path, self.resize, self.device = path, resize, device


@pytest.fixture(params=["file", "mapping"])
def store(request: pytest.FixtureRequest, make_file: MakeFile, mapper: Mapper) -> Store:
    """32 MiB."""
    if request.param == "file":
        path = make_file("g", 32)
        return Store(path, partial(os.truncate, path), tree.fileio("g", path))
    table = guest_plugin.command("dmsetup", "table", mapper.name).split()

    def resize(size: int) -> None:
        dmsetup("suspend", mapper.name)
        dmsetup("load", mapper.name, "--table", f"0 {size // 512} linear {table[3]} 0")
        dmsetup("resume", mapper.name)

    resize(32 * MIB)
    return Store(mapper.node, resize, tree.blockio("g", mapper.node))


def wait_size(disk: Path, size: int) -> None:
    """The initiator notices by itself."""
    tree.wait_for(f"{disk} has {size} bytes", lambda: sectors(disk) == size // 512)


def test_growth_under_load(store: Store, tmp_path: Path) -> None:
    """`active` 1 takes what was added: no command is refused, initiators are told and have the new size."""
    first, second = serve(store.device)
    disks = [host.disk(0) for host in (first, second)]
    with Fio(tmp_path, disks[0], verify="crc32c", verify_backlog=64, runtime=60, size="24m") as load:
        store.resize(48 * MIB)
        assert store.device.get("size") == str(32 * MIB), "not before it is looked at"
        store.device.activate()
        assert store.device.get("size") == str(48 * MIB)
        for disk in disks:
            wait_size(disk, 48 * MIB)
        load.stop()
    with Unit(second.sg(0)) as unit:
        unit.attentions()
        unit.good(scsi.write10(48 * 2048 - 8, 8), write=bytes(4096))
        assert unit.sense(scsi.read10(48 * 2048, 1), 512) == scsi.LBA_OUT_OF_RANGE


def test_idle_initiators_see_growth(store: Store) -> None:
    """Who sends no command has the new size as well, and nobody opens the disk for it."""
    disks = [host.disk(0) for host in serve(store.device)]
    store.resize(40 * MIB)
    store.device.activate()
    tree.wait_for("the size of idle disks", lambda: all(sectors(disk) == 40 * 2048 for disk in disks))


def test_capacity_change_is_told(store: Store) -> None:
    """Once to each initiator, and only if something changed."""
    target = tree.Target("t1").make(auto_rescan=False)
    target.luns.map(0, store.device)
    hosts = target.login("first"), target.login("second")
    target.enable()
    units = [Unit(host.sg(0)) for host in hosts]
    for unit in units:
        unit.attentions()
    store.device.activate()
    assert [unit.attentions() for unit in units] == [[], []]
    store.resize(40 * MIB)
    store.device.activate()
    for unit in units:
        assert unit.attentions() == [scsi.CAPACITY_CHANGED]
        assert unit.blocks() == (40 * 2048, 512)
        unit.close()


def test_size_is_chosen(store: Store) -> None:
    """`size` serves less than there is, more again, never more than that; nothing grows by itself then."""
    first, second = serve(store.device)
    disks = [host.disk(0) for host in (first, second)]
    for size in (16 * MIB, 24 * MIB):
        store.device.set("size", size)
        assert store.device.get("size") == str(size)
        for disk in disks:
            wait_size(disk, size)
    for wrong, expected in ((33 * MIB, errno.ERANGE), (MIB + 100, errno.EINVAL)):
        assert tree.errno_of(partial(store.device.set, "size", wrong)) == expected
    store.resize(40 * MIB)
    store.device.activate()
    assert store.device.get("size") == str(24 * MIB)
    with Unit(first.sg(0)) as unit:
        unit.attentions()
        assert unit.sense(scsi.write10(24 * 2048, 1), write=bytes(512)) == scsi.LBA_OUT_OF_RANGE
    store.device.set("size", 0)
    for disk in disks:
        wait_size(disk, 40 * MIB)


def test_nothing_shrinks_by_itself(store: Store) -> None:
    """A store that has become smaller: not noticed while in use, refused at the next activation, aloud."""
    host = serve(store.device)[0]
    disk = host.disk(0)
    log = guest_plugin.KernelLog()
    store.resize(16 * MIB)
    store.device.activate()
    assert store.device.get("size") == str(32 * MIB)
    store.device.activate(False)
    assert tree.errno_of(store.device.activate) == errno.EINVAL
    assert (store.device.state, store.device.get("error")) == ("parked", "EINVAL")
    assert any("device g:" in line and "32768 blocks" in line and "size" in line for line in log.read())
    log.close()
    timely("a rescan", partial(rescan, disk), RESCAN)
    assert sectors(disk) == 32 * 2048
    store.device.set("size", 0)
    store.device.activate()
    assert store.device.get("size") == str(16 * MIB)
    wait_size(disk, 16 * MIB)


def test_size_of_a_parked_device(store: Store) -> None:
    """Chosen while parked, it is served from the next activation on; what there is not is refused then."""
    first, second = serve(store.device)
    disks = [host.disk(0) for host in (first, second)]
    store.device.activate(False)
    store.device.set("size", 8 * MIB)
    time.sleep(0.1)
    assert [sectors(disk) for disk in disks] == [32 * 2048, 32 * 2048]
    store.device.activate()
    for disk in disks:
        wait_size(disk, 8 * MIB)
    store.device.activate(False)
    store.device.set("size", 64 * MIB)
    assert tree.errno_of(store.device.activate) == errno.EINVAL
    store.device.set("size", 32 * MIB)
    store.device.activate()
    for disk in disks:
        wait_size(disk, 32 * MIB)
