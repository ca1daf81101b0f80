# SPDX-License-Identifier: GPL-2.0-or-later
"""The file with T10 protection information, what a crash makes of it, and Linux's sd that exchanges it."""

from __future__ import annotations

import errno
import mmap
import os
import random
import struct
from pathlib import Path

import pytest

from tests.vm.guest import script as scripted
from tests.vm.guest import scsi, tree
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_protection import GUARD, MIB, NONE, REF, SIZE, Kind, failed, information
from tests.vm.guest.tree import Target

SCST_MODULES = ("scst", "scst_fileio", "scst_local", "scst_script", "sd_mod", "sg")

MAP_AT = 4096


# --- the file ---


def test_file(clean_tree: None, ext4: Path) -> None:
    """Of its own, for one type and block size; an empty one is made, somebody else's is left alone."""
    data, other = ext4 / "data", ext4 / "other"
    for path in (data, other):
        path.write_bytes(bytes(MIB))
    device = tree.Device("fileio", "d").make(path=data, protection=1)
    assert tree.errno_of(device.enable) == errno.EINVAL
    device.set("protection_file", data)
    assert tree.errno_of(device.enable) == errno.EINVAL
    device.set("protection_file", other)
    assert tree.errno_of(device.enable) == errno.EINVAL, "it holds something else"
    assert other.read_bytes() == bytes(MIB)
    short = ext4 / "short"
    short.write_text("somebody's")
    device.set("protection_file", short)
    assert tree.errno_of(device.enable) == errno.EINVAL
    assert short.read_text() == "somebody's"
    device.set("protection_file", ext4 / "pi")
    device.enable()
    assert (ext4 / "pi").stat().st_mode & 0o777 == 0o600
    with pytest.raises(OSError, match="busy"):
        device.set("protection", 3)
    twin = tree.Device("fileio", "twin").make(path=other, protection=1, protection_file=ext4 / "pi")
    assert tree.errno_of(twin.enable) == errno.EBUSY
    device.enable(False)
    device.set("protection", 3)
    assert tree.errno_of(device.enable) == errno.EINVAL
    device.set("protection", 1)
    device.set("block_size", 4096)
    assert tree.errno_of(device.enable) == errno.EINVAL
    device.set("block_size", 512)
    device.enable()
    assert tree.errno_of(lambda: device.set("protection", 4)) in (errno.EBUSY, errno.ERANGE)


def test_after_a_crash(clean_tree: None, ext4: Path) -> None:
    """What does not fit has no information any more where something was written; elsewhere it is damage."""
    size = 32 * MIB
    data, pi = ext4 / "crash", ext4 / "crash.pi"
    data.touch()
    os.truncate(data, size)
    device = tree.fileio("d", data, protection=1, protection_file=pi)
    target = Target("crash").make(auto_rescan=False)
    target.luns.map(0, device)
    host = target.login("first")
    target.enable()
    with Unit(host.sg(0)) as unit:
        unit.attentions()
        kind = Kind(unit, 1, 512, data, pi)
        for lba in (100, 40000):
            assert kind.write(lba, kind.noise(lba, 4)).good
        unit.good(scsi.cdb10(0x35, 0, 0))
        with pi.open("rb") as file:
            file.seek(MAP_AT)
            assert file.read(1) == b"\x03", "a bit for each 16 MiB"
    device.activate(False)
    with pi.open("rb") as file:
        file.seek(MAP_AT)
        assert not any(file.read(4096)), "closed in order"
    for lba in (101, 40001):
        kind.spoil(data, lba * 512)
    with pi.open("r+b") as file:
        file.seek(MAP_AT)
        file.write(b"\x01")
    device.activate()
    with Unit(host.sg(0)) as unit:
        unit.attentions()
        kind = Kind(unit, 1, 512, data, pi)
        tuples = kind.right(100, kind.noise(100, 4))
        assert kind.kept(100, 4) == [tuples[0], NONE, *tuples[2:]]
        assert kind.read(100, 4).good
        failed(kind.read(40000, 4), GUARD, 40001)


# --- a driver whose data comes later, into the core's memory ---


def test_data_that_comes_later(script: scripted.Script, ext4: Path) -> None:
    """Each block with its information behind it, from the wire and back; what is wrong is not written."""
    path = ext4 / "later"
    path.write_bytes(bytes(SIZE))
    device = tree.fileio("later", path, protection=1, protection_file=ext4 / "later.pi")
    first, second = scripted.serve(script, device)
    data = random.Random("later").randbytes(200 * 512)
    parts = [data[at : at + 512] for at in range(0, len(data), 512)]
    both = b"".join(part + information(3 + number, part) for number, part in enumerate(parts))
    first.good(scsi.write10(3, 200, 0x20), write=both)
    assert second.good(scsi.read10(3, 200, 0x20), read=len(both)) == both
    assert second.good(scsi.read10(3, 200), read=len(data)) == data
    for kept in (both[:-1] + bytes((both[-1] ^ 1,)), both[:70] + bytes((both[70] ^ 1,)) + both[71:]):
        assert first.command(scsi.write10(3, 200, 0x20), write=kept).sense in (GUARD, REF)
    assert second.good(scsi.read10(3, 200), read=len(data)) == data


# --- Linux as an initiator that has it ---


def direct(node: Path, write: bool, at: int, data: bytes = b"", size: int = 0) -> bytes:
    """Around the page cache."""
    file = os.open(node, (os.O_RDWR if write else os.O_RDONLY) | os.O_DIRECT)
    try:
        with mmap.mmap(-1, len(data) or size) as memory:
            if write:
                memory.write(data)
                assert os.pwritev(file, [memory], at) == len(data)
                return b""
            assert os.preadv(file, [memory], at) == size
            return memory[:]
    finally:
        os.close(file)


@pytest.mark.parametrize("kind_of", [1, 2, 3])
def test_sd_with_protection(clean_tree: None, ext4: Path, kind_of: int) -> None:
    """Its blocks come with their information, beside the data, and go with it; damage is told to it."""
    data, pi = ext4 / f"sd{kind_of}", ext4 / f"sd{kind_of}.pi"
    data.touch()
    os.truncate(data, SIZE)
    device = tree.fileio("d", data, protection=kind_of, protection_file=pi)
    target = Target("dix").make()
    tree.write(target.path / "protection", True)
    target.luns.map(0, device)
    host = target.login("first")
    target.enable()
    disk = host.disk(0)
    integrity = Path("/sys/block", disk.name, "integrity")
    assert (integrity / "format").read_text().strip() == f"T10-DIF-TYPE{1 if kind_of == 2 else kind_of}-CRC"
    assert tree.read(integrity / "device_is_integrity_capable") == "1"
    kind = Kind(Unit(host.sg(0)), kind_of, 512, data, pi)
    content = kind.noise(kind_of, 256)
    direct(disk, True, 64 * 512, content)
    assert direct(disk, False, 64 * 512, size=len(content)) == content
    assert [one[:2] for one in kind.kept(64, 256)] == [one[:2] for one in kind.right(64, content)]
    if kind_of != 3:
        assert [one[4:] for one in kind.kept(64, 256)] == [struct.pack(">I", 64 + at) for at in range(256)]
    (integrity / "write_generate").write_text("0")
    (integrity / "read_verify").write_text("0")
    direct(disk, True, 512 * 512, content)
    assert direct(disk, False, 512 * 512, size=len(content)) == content
    assert [one[:2] for one in kind.kept(512, 256)] == [one[:2] for one in kind.right(512, content)]
    kind.spoil(data, 100 * 512)
    with pytest.raises(OSError, match=r"Invalid or incomplete|Input/output") as caught:
        direct(disk, False, 96 * 512, size=8 * 512)
    assert caught.value.errno in (errno.EILSEQ, errno.EIO)
    assert direct(disk, False, 104 * 512, size=8 * 512) == content[40 * 512 : 48 * 512]
    kind.unit.close()
