# SPDX-License-Identifier: GPL-2.0-or-later
"""Parked devices: the backing comes late, goes, and comes back; and removal of everything in every order."""

from __future__ import annotations

import errno
import itertools
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.fio import Fio
from tests.vm.guest.scsi import Unit
from tests.vm.guest.tree import Device, Initiator, Target
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

MIB = 1 << 20
MakeFile = Callable[[str, int], Path]


def serve(*devices: Device, auto_rescan: bool = True) -> Initiator:
    """A target t1 with these devices as LUNs from 0 on, and an initiator logged in."""
    target = Target("t1").make(auto_rescan)
    for lun, device in enumerate(devices):
        target.luns.map(lun, device)
    host = target.login("ini")
    target.enable()
    return host


# --- late backing ---


def test_late_backing_says_how_large_its_blocks_are(make_file: MakeFile) -> None:
    """A loop device without a file is no backing, and its present block size says nothing."""
    guest_plugin.command("modprobe", "loop")
    node = Path(guest_plugin.command("losetup", "--find").strip())
    device = tree.blockio("late", node)
    assert (device.state, device.get("error")) == ("parked", "ENOMEDIUM")
    guest_plugin.command("losetup", "--sector-size", "4096", str(node), str(make_file("late", 1)))
    try:
        device.activate()
        assert (device.state, tree.read(tree.CLASS / "device.late/block_size")) == ("active", "4096")
    finally:
        device.enable(False)
        guest_plugin.command("losetup", "--detach", str(node))


def test_enable_without_file_parks(tmp_path: Path) -> None:
    path = tmp_path / "late"
    device = tree.fileio("late", path)
    assert (device.state, device.get("error"), device.get("size"), device.get("active")) == (
        "parked",
        "ENOENT",
        "0",
        "0",
    )
    host = serve(device)
    assert host.view() == "0 late rw\n"
    assert host.target.luns.state(0) == "parked"
    with Unit(host.sg(0)) as unit:
        unit.attentions()
        assert unit.sense(scsi.test_unit_ready()) == scsi.NOT_ACCESSIBLE
        assert unit.sense(scsi.read10(0, 1), 512) == scsi.BECOMING_READY
        assert unit.sense(scsi.write10(0, 1), write=bytes(512)) == scsi.BECOMING_READY
        assert unit.sense(scsi.read_capacity16(), 32) == scsi.BECOMING_READY
        # Peripheral qualifier 001b: the device is not connected now.
        assert unit.good(scsi.inquiry(), 255)[0] == 0x20
        assert unit.good(scsi.inquiry(page=0x80), 255)[4:].decode() == tree.read(device.path / "id/serial")
        assert unit.good(scsi.inquiry(page=0xB0), 255)[:2] == b"\x20\xb0"
        assert scsi.parse_sense(unit.good(scsi.request_sense(), 252)) == scsi.NOT_ACCESSIBLE
        assert scsi.lun_list(unit.good(scsi.report_luns(64), 64)) == [0]
        assert len(unit.good(scsi.mode_sense6(0x3F), 255)) > 4
        assert tree.errno_of(device.activate) == errno.ENOENT
        data = random.Random(1).randbytes(MIB)
        path.write_bytes(data)
        device.activate()
        assert (device.state, device.get("error"), device.get("size")) == ("active", "", str(MIB))
        assert host.target.luns.state(0) == "active"
        # sd finds the disk now, and may be the one that is told about it.
        assert host.disk(0).exists()
        unit.attentions()
        assert unit.good(scsi.read10(0, 8), 4096) == data[:4096]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.mkdir(), errno.EINVAL),
        (lambda path: os.mkfifo(path), errno.EINVAL),
        (lambda path: path.write_bytes(bytes(511)), errno.EINVAL),
        (lambda path: path.symlink_to(path), errno.ELOOP),
        (lambda path: path.symlink_to("/dev/null"), errno.EINVAL),
    ],
    ids=["directory", "fifo", "too small", "loop of links", "character device"],
)
def test_wrong_file(tmp_path: Path, make: Callable[[Path], object], expected: int) -> None:
    """A backing of the wrong kind is no reason to wait: the device stays disabled and says why."""
    path = tmp_path / "f"
    make(path)
    device = Device("fileio", "f0").make(path=path)
    assert tree.errno_of(device.enable) == expected
    assert (device.state, device.get("error")) == ("disabled", errno.errorcode[expected])


@pytest.mark.parametrize(
    ("path", "expected", "state"),
    [
        ("/dev/null", errno.ENOTBLK, "disabled"),
        ("/etc/passwd", errno.ENOTBLK, "disabled"),
        ("/etc", errno.ENOTBLK, "disabled"),
        ("/dev/no-such-disk", 0, "parked"),
        ("/etc/passwd/x", 0, "parked"),
    ],
)
def test_wrong_block_device(path: str, expected: int, state: str) -> None:
    device = Device("blockio", "b0").make(path=path)
    assert tree.errno_of(device.enable) == expected
    assert device.state == state


def test_block_device_in_use(disks: dict[str, PluggedDisk]) -> None:
    """Held exclusively by another device: EBUSY, until that one is parked."""
    node = disks["vm-disk-b"].node
    first = tree.blockio("b0", node)
    second = Device("blockio", "b1").make(path=node)
    assert tree.errno_of(second.enable) == errno.EBUSY
    assert (second.state, second.get("error")) == ("disabled", "EBUSY")
    first.activate(False)
    second.enable()
    assert tree.errno_of(first.activate) == errno.EBUSY
    assert (first.state, first.get("error")) == ("parked", "EBUSY")


def test_required_settings() -> None:
    for handler in ("fileio", "blockio", "nullio"):
        device = Device(handler, handler).make()
        assert tree.errno_of(device.enable) == errno.ENODATA
        assert tree.errno_of(device.activate) == errno.EINVAL
        assert device.state == "disabled"
    device = Device("nullio", "odd").make(size=1000)
    assert tree.errno_of(device.enable) == errno.EINVAL


def test_settings_of_an_enabled_device(make_file: MakeFile) -> None:
    device = tree.fileio("f0", make_file("f0", 1))
    for state in ("active", "parked"):
        assert device.state == state
        for name in (
            "path",
            "block_size",
            "read_only",
            "write_through",
            "thin",
            "rotational",
            "o_direct",
            "id/vendor",
            "id/naa",
        ):
            value = tree.read(device.path / name)
            # A disk may have got another name while it was away.
            expected = 0 if (state, name) == ("parked", "path") else errno.EBUSY
            assert tree.errno_of(partial(device.set, name, value)) == expected, name
        if state == "active":
            device.activate(False)


def test_disable_while_mapped(make_file: MakeFile) -> None:
    device = tree.fileio("f0", make_file("f0", 1))
    host = serve(device)
    for _ in ("active", "parked"):
        assert tree.errno_of(lambda: device.enable(False)) == errno.EBUSY
        device.activate(False)
    host.target.luns.clear()
    device.enable(False)
    assert (device.state, device.get("enabled")) == ("disabled", "0")
    assert tree.errno_of(lambda: host.target.luns.map(0, device)) == errno.ENODEV


def test_other_block_size_is_not_activated(tmp_path: Path, disks: dict[str, PluggedDisk]) -> None:
    """A backing that comes back too small stays away; one as before comes back."""
    path = tmp_path / "f"
    path.write_bytes(bytes(MIB))
    device = tree.fileio("f0", path)
    device.activate(False)
    os.truncate(path, 100)
    assert tree.errno_of(device.activate) == errno.EINVAL
    assert (device.state, device.get("error"), device.get("size")) == ("parked", "EINVAL", str(MIB))
    os.truncate(path, MIB)
    device.activate()
    assert device.state == "active"


# --- parked under load ---


def test_io_during_a_park_resumes(make_file: MakeFile, tmp_path: Path) -> None:
    """sd waits for a parked unit and repeats what was refused: fio sees no error, only time."""
    device = tree.fileio("f0", make_file("f0", 16))
    host = serve(device)
    with Fio(tmp_path, host.disk(0), verify="crc32c", verify_backlog=64, runtime=60) as load:
        for _ in range(3):
            device.activate(False)
            assert device.state == "parked"
            before = commands(host)
            tree.wait_for("commands meet the parked device", partial(moved, host, before))
            device.activate()
        result = load.stop()
    assert result.reads > 0
    assert result.writes > 0


def moved(host: Initiator, before: int) -> bool:
    """Has the session sent more commands?"""
    return commands(host) > before + 10


def commands(host: Initiator) -> int:
    """Commands the initiator's session has sent so far."""
    return int(tree.read(host.session / "commands"))


@pytest.mark.parametrize("kind", ["buffered", "direct", "block"])
def test_park_and_activate_under_load(
    kind: str, make_file: MakeFile, tmp_path: Path, disks: dict[str, PluggedDisk]
) -> None:
    """Many times, as fast as it goes: no error, no wrong data."""
    if kind == "block":
        device = tree.blockio("d0", disks["vm-disk-a"].node)
    else:
        device = tree.fileio("d0", make_file("d0", 16), o_direct=kind == "direct")
    host = serve(device)
    with Fio(tmp_path, host.disk(0), verify="crc32c", verify_backlog=64, runtime=60) as load:
        for _ in range(20):
            device.activate(False)
            device.activate()
        load.stop()


@pytest.fixture
def moving_disk(disks: dict[str, PluggedDisk], tmp_path: Path) -> Iterator[tuple[PluggedDisk, Path]]:
    """A disk that can be unplugged, and a path that leads to it wherever it comes back."""
    disk, link = disks["vm-disk-c"], tmp_path / "disk"
    link.symlink_to(disk.node)
    yield disk, link
    tree.wait_for("the disk to be there", lambda: plugged(disk))


def plugged(disk: PluggedDisk) -> bool:
    """Is the disk there?"""
    try:
        return disk.node.exists()
    except LookupError:
        return False


def test_unplugged_disk_parks_and_returns(moving_disk: tuple[PluggedDisk, Path]) -> None:
    """A block device pulled under I/O: the LUN stays, its data comes back, no reader sees an error."""
    disk, link = moving_disk
    device = tree.blockio("b0", link)
    host = serve(device)
    data = random.Random(3).randbytes(MIB)
    node = host.disk(0)
    file = os.open(node, os.O_RDWR | os.O_SYNC)
    os.pwrite(file, data, 0)
    pid = os.fork()
    if pid == 0:
        os._exit(reread(node, data))
    disk.unplug()
    tree.wait_for("the device parks by itself", lambda: device.state == "parked")
    assert host.view() == "0 b0 rw\n"
    assert device.get("error") in ("ENODEV", "ENXIO", "ENOENT")
    assert tree.errno_of(device.activate) in (errno.ENXIO, errno.ENOENT, errno.ENODEV)
    with Unit(host.sg(0)) as unit:
        assert unit.sense(scsi.test_unit_ready()) == scsi.NOT_ACCESSIBLE
        disk.plug()
        link.unlink()
        link.symlink_to(disk.node)
        device.activate()
        unit.attentions()
        assert unit.good(scsi.read10(0, 128), 64 << 10) == data[: 64 << 10]
    _, status = os.waitpid(pid, 0)
    os.close(file)
    assert status == 0, "the reader saw an error or wrong data"


def reread(node: Path, data: bytes) -> int:
    """Read the data again and again for some seconds, around the page cache; 0 if all was right."""
    file = os.open(node, os.O_RDONLY)
    try:
        for _ in range(300):
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            for at in range(0, len(data), 64 << 10):
                if os.pread(file, 64 << 10, at) != data[at : at + (64 << 10)]:
                    return 1
    except OSError:
        return 2
    return 0


# --- removal in every order ---


def build(make_file: MakeFile) -> tuple[Initiator, dict[str, Path]]:
    """A served configuration, and the paths that make it up."""
    device = tree.fileio("f0", make_file("f0", 1))
    target = Target("t1").make()
    group = target.group("g", "ini")
    group.luns.map(0, device)
    host = target.login("ini")
    target.enable()
    lun = group.luns.path / "0"
    return host, {
        "link": lun / "device",
        "lun": lun,
        "pattern": group.path / "initiators/ini",
        "group": group.path,
        "host": target.path / "hosts/ini",
        "target": target.path,
        "device": device.path,
    }


def take(path: Path) -> int:
    """Remove a link or a directory; 0 or the errno."""
    return tree.errno_of(path.unlink if path.is_symlink() else path.rmdir)


# What must be gone before: the errno that says so otherwise.
NEEDS: dict[str, dict[str, int]] = {
    "link": {},
    "lun": {"link": errno.ENOTEMPTY},
    "pattern": {},
    "host": {},
    "group": {"lun": errno.ENOTEMPTY, "pattern": errno.ENOTEMPTY},
    "target": {"group": errno.ENOTEMPTY, "host": errno.ENOTEMPTY},
    "device": {"link": errno.EBUSY},
}


@pytest.mark.parametrize("loaded", [False, True], ids=["idle", "under I/O"])
def test_removal_in_every_order(make_file: MakeFile, loaded: bool) -> None:
    """In whatever order removals are tried: each works exactly if what hangs on it is gone."""
    orders = [order for order in itertools.permutations(NEEDS) if random.Random(str(order)).random() < 0.004]
    assert len(orders) > 10
    for order in orders[: 20 if loaded else 40]:
        host, paths = build(make_file)
        unit = Unit(host.sg(0)) if loaded else None
        left = dict(paths)
        while left:
            for name in order:
                if name not in left:
                    continue
                missing = {code for need, code in NEEDS[name].items() if need in left}
                code = take(left[name])
                assert code in (missing or {0}), f"{order}: {name}: {errno.errorcode.get(code, code)}"
                if code == 0:
                    del left[name]
                if unit is not None:
                    pester(unit)
        if unit is not None:
            unit.close()


def pester(unit: Unit) -> None:
    """Send a command whatever becomes of it: the host may be gone."""
    tree.errno_of(lambda: unit.command(scsi.read10(0, 8), read=4096))


def test_name_of_a_removed_target_is_free_at_once(make_file: MakeFile) -> None:
    """rmdir of an enabled target, then mkdir, the same identifier and enable without a pause."""
    for _ in range(10):
        _, paths = build(make_file)
        rel = tree.read(paths["target"] / "rel_tgt_id")
        for name in ("link", "lun", "pattern", "group", "host", "target"):
            assert take(paths[name]) == 0, name
        target = Target("t1").make()
        tree.write(target.path / "rel_tgt_id", rel)
        target.enable()
        target.path.rmdir()
        assert take(paths["device"]) == 0


def test_removal_of_everything_under_load(make_file: MakeFile, tmp_path: Path) -> None:
    """LUN, host, target and device go while fio runs: it ends with errors, everything else goes on."""
    for order in (("link", "lun"), ("host",)):
        host, paths = build(make_file)
        with Fio(tmp_path, host.disk(0), runtime=60) as load:
            for name in (*order, *(name for name in paths if name not in order)):
                assert take(paths[name]) == 0, name
            tree.wait_for("fio notices", lambda: not load.running, 20)


def test_disable_target_under_load(make_file: MakeFile, tmp_path: Path) -> None:
    """Closing a target waits for its commands; opening it again brings initiators and devices back."""
    host, _ = build(make_file)
    for _ in range(3):
        with Fio(tmp_path, host.disk(0), runtime=60) as load:
            host.target.enable(False)
            assert host.number is None
            tree.wait_for("fio notices", lambda: not load.running, 20)
        host.target.enable()
