# SPDX-License-Identifier: GPL-2.0-or-later
"""No wrong disk: a device with facts opens what was proven, and nothing else, whatever its path leads to."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import tree
from tests.vm.guest.test_recovery import Mapper, dmsetup, serve
from tests.vm.guest.tree import Device
from tests.vm.guest_plugin import PluggedDisk, command

SCST_MODULES = (
    "scst",
    "scst_nullio",
    "scst_fileio",
    "scst_blockio",
    "scst_local",
    "sd_mod",
    "dm_mod",
    "loop",
)

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
MIB = 1 << 20
FACTS = '{"serial":"S1"}'


def file_words(path: Path) -> str:
    """What `backing` says of a file."""
    buffer = ctypes.create_string_buffer(256)
    assert ctypes.CDLL(None).statx(-100, os.fsencode(path), 0, 0xFFF, buffer) == 0
    (inode,) = struct.unpack_from("=Q", buffer.raw, 32)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer.raw, 80)
    device = path.stat().st_dev
    return f"f {os.major(device)}:{os.minor(device)} {inode} {seconds}.{nanoseconds:09d}"


def disk_words(node: Path) -> str:
    """What `backing` says of a disk, or of a partition."""
    number = node.stat().st_rdev
    folder = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    sequence = next(path for path in (folder / "diskseq", folder / "../diskseq") if path.exists())
    return f"b {os.major(number)}:{os.minor(number)} {sequence.read_text().strip()}"


class Log:
    """What the kernel log says from here on."""

    def __init__(self) -> None:
        self._log = guest_plugin.KernelLog()

    def has(self, *words: str) -> bool:
        """Does a line have all of these?"""
        return any(all(word in line for word in words) for line in self._log.read())


def known(handler: str, name: str, path: Path, expect: str) -> Device:
    """A device with facts."""
    return Device(handler, name).make(path=path, facts=FACTS, expect=expect or "\n")


@pytest.fixture
def loops(tmp_path: Path) -> Iterator[Callable[[Path], Path]]:
    """Attach files to loop devices."""
    made: list[Path] = []

    def attach(path: Path) -> Path:
        made.append(Path(command("losetup", "--find", "--show", str(path)).strip()))
        return made[-1]

    yield attach
    for node in made:
        if Path("/sys/block", node.name, "loop").exists():
            command("losetup", "--detach", str(node))


# --- attributes ---


@pytest.mark.parametrize(("name", "longest"), [("facts", 4094), ("expect", 127)])
def test_texts_are_kept_as_they_are(make_file: MakeFile, name: str, longest: int) -> None:
    """At any time: what is open stays open."""
    device = tree.fileio("f", make_file("f", 1))
    for text in ("x" * longest, "ä {} = \\ ", ""):
        device.set(name, text or "\n")
        assert device.get(name) == text
    assert tree.errno_of(lambda: device.set(name, "x" * (longest + 1))) == errno.ENAMETOOLONG
    for text in ("a\nb", "a\x1bb", "a\x7f"):
        assert tree.errno_of(partial(device.set, name, text)) == errno.EINVAL
    assert device.state == "active"
    assert tree.errno_of(lambda: device.set("backing", "x")) in (errno.EACCES, errno.EPERM, errno.EIO)


def test_backing_says_what_is_open(make_file: MakeFile, disks: dict[str, PluggedDisk]) -> None:
    path, node = make_file("f", 1), disks["vm-disk-b"].node
    for device, words in (
        (tree.fileio("f", path), file_words(path)),
        (tree.blockio("b", node), disk_words(node)),
    ):
        assert device.get("backing") == words
        device.activate(False)
        assert (device.get("backing"), device.get("wanted")) == ("", "0")
        device.activate()
        assert (device.get("backing"), device.get("wanted")) == (words, "1")
        device.enable(False)
        assert (device.get("backing"), device.get("wanted")) == ("", "0")


def test_path_can_be_changed_while_parked(make_file: MakeFile) -> None:
    """The LUN stays: a disk that has got another name is no other disk."""
    one, two = make_file("one", 1), make_file("two", 1)
    device = tree.fileio("f", one)
    serve(device)
    assert tree.errno_of(lambda: device.set("path", two)) == errno.EBUSY
    device.activate(False)
    device.set("path", two)
    device.activate()
    assert device.get("backing") == file_words(two)


def test_reopen(make_file: MakeFile) -> None:
    """One request: whoever is killed in the middle of it leaves nothing parked that was not asked to be."""
    one, two = make_file("one", 1), make_file("two", 1)
    device = tree.fileio("f", one)
    os.replace(two, one)
    assert device.get("backing") != file_words(one)
    device.set("active", "reopen")
    assert (device.state, device.get("backing")) == ("active", file_words(one))
    device.activate(False)
    device.set("active", "reopen")
    assert (device.state, device.get("wanted")) == ("active", "1")
    one.unlink()
    assert tree.errno_of(lambda: device.set("active", "reopen")) == errno.ENOENT
    assert (device.state, device.get("error"), device.get("wanted")) == ("parked", "ENOENT", "1")
    device.enable(False)
    assert tree.errno_of(lambda: device.set("active", "reopen")) == errno.EINVAL


# --- what is expected ---


def test_nothing_proven_is_not_opened(make_file: MakeFile) -> None:
    log = Log()
    path = make_file("f", 1)
    device = known("fileio", "f", path, "").enable()
    assert (device.state, device.get("error"), device.get("backing")) == ("parked", "ESTALE", "")
    assert log.has("device f:", file_words(path), "nothing was proven")
    assert tree.errno_of(device.activate) == errno.ESTALE
    device.set("expect", file_words(path))
    device.activate()
    assert (device.state, device.get("error"), device.get("backing")) == ("active", "", file_words(path))


def test_absent_is_absent(tmp_path: Path) -> None:
    device = known("fileio", "f", tmp_path / "none", "f 1:1 1 -").enable()
    assert (device.state, device.get("error")) == ("parked", "ENOENT")


@pytest.mark.parametrize("cut", [1, 2, 6])
def test_a_part_of_what_is_expected_is_not_it(make_file: MakeFile, cut: int) -> None:
    path = make_file("f", 1)
    words = file_words(path)
    for expect in (words[:-cut], f"{words}{'1' * cut}", f"{words} ", words.rpartition(" ")[0]):
        device = known("fileio", "f", path, expect).enable()
        assert (device.state, device.get("error")) == ("parked", "ESTALE"), expect
        device.enable(False)
        device.remove()


def test_another_file_is_not_opened(make_file: MakeFile) -> None:
    """Of the same size and name; and nothing happens to it. The right one is taken when it is back."""
    log = Log()
    path, other = make_file("f", 1), make_file("g", 1)
    right, wrong = file_words(path), file_words(other)
    device = known("fileio", "f", path, right).enable()
    serve(device)
    device.activate(False)
    aside = path.with_name("aside")
    path.rename(aside)
    other.rename(path)
    before = path.stat()
    content = path.read_bytes()
    assert tree.errno_of(device.activate) == errno.ESTALE
    assert log.has("device f:", wrong, right)
    assert (device.state, device.get("error"), device.get("wanted")) == ("parked", "ESTALE", "1")
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns, after.st_size) == (
        before.st_mtime_ns, before.st_ctime_ns, before.st_size,
    )  # fmt: skip
    assert path.read_bytes() == content
    aside.rename(path)
    device.activate()
    assert device.get("backing") == right


def test_file_that_got_the_number_of_another(make_file: MakeFile) -> None:
    """ext4 gives the number of a file that was removed to the next one that is made: its birth tells."""
    path = make_file("f", 1)
    right = file_words(path)
    device = known("fileio", "f", path, right)
    number = path.stat().st_ino
    path.unlink()
    path.write_bytes(bytes(MIB))
    assert path.stat().st_ino == number
    device.enable()
    assert (device.state, device.get("error")) == ("parked", "ESTALE")


def test_other_file_on_a_link(make_file: MakeFile, tmp_path: Path) -> None:
    one, two, link = make_file("one", 1), make_file("two", 1), tmp_path / "link"
    link.symlink_to(one)
    device = known("fileio", "f", link, file_words(one)).enable()
    assert device.state == "active"
    link.unlink()
    link.symlink_to(two)
    assert tree.errno_of(lambda: device.set("active", "reopen")) == errno.ESTALE
    assert device.state == "parked"


def test_disk_that_has_another_name(make_file: MakeFile, loops: Callable[[Path], Path]) -> None:
    """`path` is what the administrator has said, and stays so; at it may be anything."""
    one, two = loops(make_file("one", 1)), loops(make_file("two", 1))
    device = known("blockio", "b", one, disk_words(two)).enable()
    assert (device.state, device.get("error")) == ("parked", "ESTALE")
    device.set("elsewhere", two)
    device.activate()
    assert (device.state, device.get("backing"), device.get("path")) == ("active", disk_words(two), str(one))
    device.set("elsewhere", "\n")
    assert (device.state, device.get("elsewhere")) == ("active", "")
    assert tree.errno_of(lambda: device.set("active", "reopen")) == errno.ESTALE
    assert tree.errno_of(lambda: device.set("elsewhere", "dev/loop0")) == errno.EINVAL


def test_loop_device_with_another_file(make_file: MakeFile, loops: Callable[[Path], Path]) -> None:
    """Same node, same number, another disk."""
    one, two = make_file("one", 1), make_file("two", 1)
    node = loops(one)
    right = disk_words(node)
    device = known("blockio", "b", node, right).enable()
    assert (device.state, device.get("backing")) == ("active", right)
    device.activate(False)
    command("losetup", "--detach", str(node))
    command("losetup", str(node), str(two))
    assert disk_words(node).split()[:2] == right.split()[:2]
    assert disk_words(node) != right
    log = Log()
    assert tree.errno_of(device.activate) == errno.ESTALE
    assert log.has("device b:", disk_words(node), right)
    assert two.read_bytes() == make_content("two", 1)
    device.set("expect", disk_words(node))
    device.activate()
    assert device.get("backing") == disk_words(node)


def make_content(name: str, mebibytes: int) -> bytes:
    """What `make_file` wrote."""
    import random

    return random.Random(name).randbytes(mebibytes << 20)


def test_disk_of_another_number_is_not_even_opened(
    make_file: MakeFile, loops: Callable[[Path], Path]
) -> None:
    """Somebody holds it exclusively: the answer is not EBUSY, for nobody tried."""
    one, two = loops(make_file("one", 1)), loops(make_file("two", 1))
    holder = os.open(two, os.O_RDWR | os.O_EXCL)
    try:
        device = known("blockio", "b", two, disk_words(one)).enable()
        assert (device.state, device.get("error")) == ("parked", "ESTALE")
    finally:
        os.close(holder)


def test_partition(disks: dict[str, PluggedDisk]) -> None:
    """Two halves of one disk by the device mapper, which has numbers of its own."""
    half = int(Path("/sys/block", disks["vm-disk-b"].node.name, "size").read_text()) // 2
    for number in (0, 1):
        dmsetup(
            "create", f"half{number}", "--table", f"0 {half} linear {disks['vm-disk-b'].node} {number * half}"
        )
    try:
        nodes = [Mapper(f"half{number}").node for number in (0, 1)]
        device = known("blockio", "b", nodes[0], disk_words(nodes[0])).enable()
        assert device.state == "active"
        device.activate(False)
        device.set("path", nodes[1])
        assert tree.errno_of(device.activate) == errno.ESTALE
        device.enable(False)
    finally:
        for number in (0, 1):
            dmsetup("remove", "--retry", f"half{number}")
