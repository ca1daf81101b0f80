# SPDX-License-Identifier: GPL-2.0-or-later
"""What cannot be served faithfully is refused, with the errno of open(2) where that is one, and a line in the
kernel log that names device and setting; and no two devices look like one to initiators.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.patience import children
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_recovery import serve
from tests.vm.guest.tree import Device
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
MIB = 1 << 20
PR_CAPBSET_DROP, CAPABILITY_VERSION_3 = 24, 0x20080522
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
NOBODY = 65534


@contextmanager
def said(*words: str) -> Iterator[None]:
    """The body must leave one line in the kernel log that has all these words."""
    log = guest_plugin.KernelLog()
    try:
        yield
        lines = [line for line in log.read() if "scst" in line]
    finally:
        log.close()
    assert any(all(word in line for word in words) for line in lines), f"no word of {words} in {lines}"


def check_refused(device: Device, code: int, *words: str, action: Callable[[], object] | None = None) -> None:
    """Enabling fails with this errno, `error` has it, and the log a line of the device with these words."""
    with said(device.name, *words):
        assert errno_name(tree.errno_of(action or device.enable)) == errno_name(code)
    assert (device.state, device.get("error")) == ("disabled", errno_name(code))
    assert device.get("enabled") == "0"


def errno_name(code: int) -> str:
    """As the kernel calls it."""
    return "EOPNOTSUPP" if code == errno.EOPNOTSUPP else errno.errorcode.get(code, str(code))


# --- files that open(2) would refuse (public case 2.1) ---


@contextmanager
def attribute(path: Path, letter: str) -> Iterator[None]:
    """chattr +letter for a while."""
    guest_plugin.command("chattr", f"+{letter}", str(path))
    try:
        yield
    finally:
        guest_plugin.command("chattr", f"-{letter}", str(path))


@pytest.mark.parametrize("direct", [False, True], ids=["buffered", "direct"])
@pytest.mark.parametrize("letter", ["i", "a"], ids=["immutable", "append_only"])
def test_protected_file(make_file: MakeFile, letter: str, direct: bool) -> None:
    """chattr +i and +a: EPERM for writing. Read-only it is served, and not written to."""
    path = make_file("gold", 1)
    before = path.read_bytes()
    with attribute(path, letter):
        device = Device("fileio", "gold").make(path=path, o_direct=direct)
        check_refused(device, errno.EPERM, "path", "read_only 0", "immutable")
        device.set("read_only", 1)
        device.enable()
        with Unit(serve(device)[0].sg(0)) as unit:
            unit.attentions()
            assert unit.sense(scsi.write10(0, 1), write=bytes(512)) == scsi.WRITE_PROTECTED
            assert unit.good(scsi.read10(0, 1), 512) == before[:512]
        tree.Target("t1").luns.clear()
        device.enable(False)
        # Parked before the protection came, active after it.
    device.set("read_only", 0)
    device.enable()
    device.activate(False)
    with attribute(path, letter), said("gold", "path"):
        assert tree.errno_of(device.activate) == errno.EPERM
        assert (device.state, device.get("error")) == ("parked", "EPERM")
    device.activate()
    assert path.read_bytes() == before


def drop_capabilities(*numbers: int) -> None:
    """From the effective, permitted and inheritable sets of this thread, and its bounding set."""
    libc = ctypes.CDLL(None, use_errno=True)
    for number in numbers:
        assert libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    for number in numbers:
        for at in range(3):
            sets[at] &= ~(1 << number)
    assert libc.capset(header, sets) == 0


def enable_without_privilege(device: Device, name: str = "enabled") -> None:
    """As root without the capabilities that override modes: by an attribute that root may write."""
    file = os.open(device.path / name, os.O_WRONLY)
    drop_capabilities(CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH)
    os.write(file, b"1")


@pytest.mark.parametrize(
    ("mode", "read_only", "code"),
    [
        (0o600, False, errno.EACCES),
        (0o644, False, errno.EACCES),
        (0o644, True, 0),
        (0o640, True, errno.EACCES),
        (0o666, False, 0),
    ],
    ids=["private", "readable", "readable_ro", "unreadable_ro", "writable"],
)
def test_modes_count_for_who_asks(make_file: MakeFile, mode: int, read_only: bool, code: int) -> None:
    """Who asks without CAP_DAC_OVERRIDE gets what open(2) would give him; root with it gets everything."""
    path = make_file("other", 1)
    os.chown(path, NOBODY, NOBODY)
    path.chmod(mode)
    device = Device("fileio", "other").make(path=path, read_only=read_only)
    with children() as start:
        asked = start("enabled 1", partial(enable_without_privilege, device))
        assert asked.wait(5) == (errno_name(code) if code else "done")
    assert device.state == ("disabled" if code else "active")
    if code:
        check_refused(
            device, code, "path", f"read_only {int(read_only)}",
            action=partial(in_child, partial(enable_without_privilege, device)),
        )  # fmt: skip
        device.enable()
    device.activate(False)
    with children() as start:
        asked = start("active 1", partial(enable_without_privilege, device, "active"))
        assert asked.wait(5) == (errno_name(code) if code else "done")


def in_child(action: Callable[[], object]) -> None:
    """Do something in a process of its own. Raises the OSError it got."""
    with children() as start:
        child = start("as another", action)
        how = child.wait(5)
    if how != "done":
        raise OSError(next(code for code, name in errno.errorcode.items() if name == how), how)


def test_modes_of_a_disk_count_for_who_asks(disks: dict[str, PluggedDisk]) -> None:
    """The same with a block device's node."""
    node = disks["vm-disk-b"].node
    before = node.stat()
    device = Device("blockio", "disk").make(path=node)
    os.chown(node, NOBODY, NOBODY)
    node.chmod(0o640)
    try:
        action = partial(in_child, partial(enable_without_privilege, device))
        check_refused(device, errno.EACCES, "path", "read_only 0", action=action)
        device.enable()
    finally:
        os.chown(node, before.st_uid, before.st_gid)
        node.chmod(stat.S_IMODE(before.st_mode))


def test_folder_without_search_permission(tmp_path: Path) -> None:
    """A file in a folder that who asks may not enter."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "file").write_bytes(bytes(MIB))
    (folder / "file").chmod(0o666)
    os.chown(folder, NOBODY, NOBODY)
    folder.chmod(0o700)
    device = Device("fileio", "closed").make(path=folder / "file")
    action = partial(in_child, partial(enable_without_privilege, device))
    check_refused(device, errno.EACCES, "path", action=action)


# --- what is no memory ---


@pytest.mark.parametrize(
    "path",
    [
        "/sys/kernel/profiling",
        "/sys/kernel/config/scst/generation",
        "/proc/cpuinfo",
        "/sys/kernel/debug/scst/objects",
    ],
)
@pytest.mark.parametrize("read_only", [False, True], ids=["", "read_only"])
def test_files_of_the_kernel(path: str, read_only: bool) -> None:
    """Attributes of sysfs, configfs, proc and debugfs are no disks, whatever size they claim."""
    device = Device("fileio", "odd").make(path=path, read_only=read_only)
    check_refused(device, errno.EINVAL, "path", path)


# --- settings that contradict the backing ---


def test_direct_io_where_there_is_none(tmp_path: Path) -> None:
    """tmpfs of this kernel has no direct I/O; buffered it is served."""
    mount = tmp_path / "mount"
    mount.mkdir()
    guest_plugin.command("mount", "-t", "tmpfs", "tmpfs", str(mount))
    try:
        (mount / "file").write_bytes(bytes(MIB))
        device = Device("fileio", "mem").make(path=mount / "file", o_direct=1)
        check_refused(device, errno.EINVAL, "o_direct")
        device.set("o_direct", 0)
        device.enable()
        assert device.state == "active"
    finally:
        guest_plugin.wipe()
        guest_plugin.leaked_counters()
        guest_plugin.command("umount", str(mount))


@contextmanager
def loop_device(path: Path, *options: str) -> Iterator[Path]:
    """A loop device on a file."""
    guest_plugin.command("modprobe", "loop")
    node = Path(guest_plugin.command("losetup", "--find", "--show", *options, str(path)).strip())
    try:
        yield node
    finally:
        guest_plugin.wipe()
        guest_plugin.leaked_counters()
        guest_plugin.command("losetup", "--detach", str(node))


def test_block_size_below_the_disks(make_file: MakeFile) -> None:
    """512-byte blocks on a disk of 4096: what the initiator thinks is one write would be three steps."""
    with loop_device(make_file("4k", 1), "--sector-size", "4096") as node:
        device = Device("blockio", "fourk").make(path=node, block_size=512)
        check_refused(device, errno.EINVAL, "block_size 512", "4096")
        device.set("block_size", 0)
        device.enable()
        assert tree.read(tree.CLASS / "device.fourk/block_size") == "4096"


def test_read_only_disk(make_file: MakeFile) -> None:
    """A disk that cannot be written to."""
    with loop_device(make_file("ro", 1), "--read-only") as node:
        device = Device("blockio", "ro").make(path=node)
        check_refused(device, errno.EACCES, "read_only")
        device.set("read_only", 1)
        device.enable()
        with Unit(serve(device)[0].sg(0)) as unit:
            unit.attentions()
            assert unit.sense(scsi.write10(0, 1), write=bytes(512)) == scsi.WRITE_PROTECTED


def test_other_refusals_have_a_line(
    tmp_path: Path, disks: dict[str, PluggedDisk], make_file: MakeFile
) -> None:
    """Wrong kinds, too small, in use: device and setting are named."""
    small = tmp_path / "small"
    small.write_bytes(bytes(100))
    cases: tuple[tuple[str, dict[str, object], int, tuple[str, ...]], ...] = (
        ("fileio", {"path": tmp_path}, errno.EINVAL, ("path", "not a regular file")),
        ("fileio", {"path": "/dev/null"}, errno.EINVAL, ("path", "not a regular file")),
        ("fileio", {"path": small}, errno.EINVAL, ("block_size",)),
        ("fileio", {"path": make_file("f", 1), "block_size": 4096}, 0, ()),
        ("blockio", {"path": make_file("g", 1)}, errno.ENOTBLK, ("path", "not a block device")),
        ("blockio", {"path": disks["vm-disk-b"].node}, 0, ()),
        ("blockio", {"path": disks["vm-disk-b"].node}, errno.EBUSY, ("path", "in use")),
    )
    for number, (handler, settings, code, words) in enumerate(cases):
        device = Device(handler, f"odd{number}").make(**settings)
        if code:
            check_refused(device, code, *words)
        else:
            device.enable()


# --- identity (public case 2.3) ---


def identity(device: Device) -> tuple[str, str]:
    """What initiators recognise it by."""
    return device.get("id/naa"), device.get("id/serial")


def test_no_two_names_share_an_identity() -> None:
    """Every mkdir makes its own: other names, the same name made anew, the same name of another handler."""
    seen: set[str] = set()
    for number in range(100):
        for name in ("again", f"n{number}"):
            device = Device(("nullio", "fileio", "blockio")[number % 3], name).make()
            naa, serial = identity(device)
            assert naa[0] == "3"
            assert len(naa) == 16
            assert not {naa, serial} & seen, f"{name}: an identity that another device had"
            seen |= {naa, serial}
            device.remove()


def test_made_anew_is_another_disk(make_file: MakeFile) -> None:
    """What an initiator reads in VPD pages 80h and 83h; parked and activated it stays the same."""

    def pages(device: Device) -> tuple[bytes, bytes]:
        with Unit(serve(device)[0].sg(0)) as unit:
            unit.attentions()
            found = unit.good(scsi.inquiry(page=0x80), 255)[4:], unit.good(scsi.inquiry(page=0x83), 255)[4:]
        guest_plugin.wipe()
        tree.wait_for("everything to go", lambda: not any(tree.objects().values()))
        return found

    path = make_file("f", 1)
    first = pages(tree.fileio("f", path))
    device = tree.fileio("f", path)
    device.activate(False)
    device.activate()
    second = pages(device)
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_duplicates_are_refused() -> None:
    """naa, serial, eui64 of another enabled device, in whatever case of letters: EEXIST, and whose it is."""
    settings = {"size": MIB, "id/naa": "6001405aaabbccdd0011223344556677", "id/serial": "S1"}
    Device("nullio", "one").make(**settings).enable()
    other = Device("nullio", "eui").make(**{"size": MIB, "id/eui64": "0123456789abcdef"}).enable()
    for name, value in (
        ("naa", "6001405AAABBCCDD0011223344556677"), ("serial", "S1"), ("eui64", "0123456789ABCDEF"),
    ):  # fmt: skip
        device = Device("nullio", f"two-{name}").make(**{"size": MIB, f"id/{name}": value})
        with said(device.name, f"id/{name}", "eui" if name == "eui64" else "one"):
            assert tree.errno_of(device.enable) == errno.EEXIST
        assert device.state == "disabled"
    other.enable(False)
    Device("nullio", "two-eui64").enable()
    assert tree.errno_of(other.enable) == errno.EEXIST


def test_duplicate_of_a_parked_device(tmp_path: Path) -> None:
    """A parked device keeps its identity; a removed one does not."""
    parked = tree.fileio("parked", tmp_path / "nothing")
    naa = parked.get("id/naa")
    device = Device("nullio", "double").make(**{"size": MIB, "id/naa": naa})
    assert tree.errno_of(device.enable) == errno.EEXIST
    parked.remove()
    tree.wait_for("the identity to be free", lambda: tree.errno_of(device.enable) == 0)


def test_one_file_twice(make_file: MakeFile, tmp_path: Path) -> None:
    """Two devices that write to one file are allowed, and hardly ever meant: the log names both."""
    path = make_file("f", 1)
    link = tmp_path / "link"
    link.symlink_to(path)
    tree.fileio("original", path)
    with said("second", "original", "same backing"):
        second = tree.fileio("second", link)
    assert second.state == "active"
    log = guest_plugin.KernelLog()
    tree.fileio("reader", path, read_only=True)
    assert not [line for line in log.read() if "same backing" in line], "a reader does no harm"
    log.close()


# --- what the disk below is like (public case 2.5) ---


@contextmanager
def scsi_debug(**parameters: object) -> Iterator[Path]:
    """A simulated disk."""
    words = [f"{name}={value}" for name, value in parameters.items()]
    guest_plugin.command("modprobe", "scsi_debug", *words)
    folder = Path("/sys/bus/pseudo/drivers/scsi_debug")

    try:
        yield tree.wait_node("scsi_debug's disk", lambda: folder.glob("adapter*/host*/target*/*/block/sd*"))
    finally:
        guest_plugin.wipe()
        guest_plugin.leaked_counters()
        tree.wait_for("scsi_debug to go", lambda: not tree.errno_of(partial(remove_module, "scsi_debug")))


def remove_module(name: str) -> None:
    """rmmod, with an OSError if it is in use."""
    try:
        guest_plugin.command("modprobe", "-r", name)
    except AssertionError as error:
        raise OSError(errno.EBUSY, str(error)) from error


def queue(disk: Path, name: str) -> int:
    """A limit of a disk, as the block layer has it."""
    return int(Path("/sys/block", disk.name, name).read_text())


TOLD = (
    "queue/logical_block_size", "queue/physical_block_size", "alignment_offset", "queue/minimum_io_size",
    "queue/optimal_io_size", "queue/rotational",
)  # fmt: skip


def test_512e_disk() -> None:
    """512-byte blocks on 4096-byte sectors that begin at block 7: the initiator's disk is as that below."""
    with scsi_debug(dev_size_mb=32, physblk_exp=3, lowest_aligned=7, sector_size=512) as below:
        host = serve(tree.blockio("e", below))[0]
        disk = host.disk(0)
        assert queue(below, "alignment_offset") == 3584, "the test shows nothing"
        assert {name: queue(disk, name) for name in TOLD} == {name: queue(below, name) for name in TOLD}
        with Unit(host.sg(0)) as unit:
            unit.attentions()
            data = unit.good(scsi.read_capacity16(), 32)
            assert (data[13] & 0x0F, struct.unpack(">H", data[14:16])[0] & 0x3FFF) == (3, 7)


def test_512e_disk_with_large_blocks() -> None:
    """Served with 4096-byte blocks there is nothing below them to tell of."""
    with scsi_debug(dev_size_mb=32, physblk_exp=3, sector_size=512) as below:
        host = serve(tree.blockio("e", below, block_size=4096))[0]
        disk = host.disk(0)
        assert [queue(disk, name) for name in TOLD[:3]] == [4096, 4096, 0]
