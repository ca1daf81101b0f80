# SPDX-License-Identifier: GPL-2.0-or-later
"""Space of thin devices: initiators can ask how much there is, and are told once when it becomes scarce."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vm.guest import scsi, tree
from tests.vm.guest.pulse import pulse
from tests.vm.guest.script import Nexus, Script, serve
from tests.vm.guest.test_log_sense import body
from tests.vm.guest.test_recovery import serve as serve_local
from tests.vm.guest.test_thin_space import gone, mounted
from tests.vm.guest_plugin import command

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_local", "scst_script", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
MIB = 1 << 20
PROVISIONING = 0x0C
AVAILABLE, USED = 1, 2
SCARCE: scsi.Sense = (0x6, 0x38, 0x07)
SHARED, DEDICATED = 2, 1
PLENTY = 30


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB with a sparse file of 1 GiB on it."""
    with mounted(Path("tmpfs"), tmp_path / "small", "-t", "tmpfs", "-o", "size=64M") as mount:
        with (mount / "sold").open("wb") as file:
            file.truncate(1 << 30)
        yield mount
        gone()


def thin(mount: Path, **settings: object) -> tree.Device:
    """The device on that file."""
    return tree.fileio("sold", mount / "sold", thin=1, **settings)


def fill(mount: Path, megabytes: int) -> Path:
    """What others put there."""
    path = mount / "other"
    path.write_bytes(os.urandom(megabytes * MIB))
    return path


def available(mount: Path) -> int:
    """Bytes, as everybody is told."""
    stat = os.statvfs(mount)
    return stat.f_bavail * stat.f_frsize


def set_size(nexus: Nexus) -> int:
    """Bytes of a threshold set."""
    page = nexus.good(scsi.inquiry(255, 0xB2), read=255)
    exponent = page[4]
    return 512 << exponent if exponent else 0


def counts(nexus: Nexus) -> dict[int, tuple[int, int]]:
    """The log page: threshold sets and scope by parameter."""
    found = {}
    text = body(nexus, PROVISIONING)
    while text:
        code, control, length, sets, scope = struct.unpack(">HBBIB3x", text[:12])
        assert (control, length) == (0x23, 8)
        found[code] = (sets, scope)
        text = text[12:]
    return found


def threshold(nexus: Nexus) -> tuple[int, int, bool]:
    """Of mode pages 1Ch/02h and 01h: enabled or not with the resource, threshold sets, LBPERE."""
    page = nexus.good(scsi.mode_sense10(0x1C, subpage=2), read=255)[8:]
    assert page[:4] == bytes((0x5C, 2, 0, 20))
    assert not any(page[4:16])
    recovery = nexus.good(scsi.mode_sense10(0x01), read=255)[8:]
    return page[16] << 8 | page[17], struct.unpack(">I", page[20:24])[0], bool(recovery[7] & 0x80)


def test_how_much_there_is(script: Script, small: Path) -> None:
    """What the file system says, and what the file takes; both follow."""
    first, _ = serve(script, thin(small))
    unit = set_size(first)
    assert unit == MIB
    before = counts(first)
    assert before == {AVAILABLE: (available(small) // unit, SHARED), USED: (0, DEDICATED)}
    for number in range(8):
        event = first.answer(first.write10(number * 2048, os.urandom(MIB)))
        assert event.good, str(event)
    fill(small, 16)
    assert counts(first) == {AVAILABLE: (available(small) // unit, SHARED), USED: (8, DEDICATED)}
    assert before[AVAILABLE][0] - counts(first)[AVAILABLE][0] == 24
    first.good(scsi.unmap(24), write=scsi.unmap_list((0, 4 * 2048)))
    assert counts(first)[USED] == (4, DEDICATED)


def test_sets_of_a_large_device(script: Script, small: Path) -> None:
    """So large that its blocks are counted in 32 bits."""
    size = 10 << 50
    os.truncate(small / "sold", size)
    first, _ = serve(script, thin(small))
    unit = set_size(first)
    assert unit > MIB
    assert size // unit < 1 << 32
    assert counts(first)[AVAILABLE] == (available(small) // unit, SHARED)


def test_where_nobody_knows(script: Script, make_file: MakeFile) -> None:
    """Without `thin` there are no such pages, and `space_threshold` says nothing to anybody."""
    device = tree.fileio("thick", make_file("thick", 4), space_threshold=1 << 40)
    first, _ = serve(script, device, tree.nullio("null"))
    for lun in (0, 1):
        page = first.good(scsi.inquiry(255, 0xB2), read=255, lun=lun)
        assert page[4] == 0
        cdb = struct.pack(">BBBBBHHB", 0x4D, 0, 0x40 | PROVISIONING, 0, 0, 0, 255, 0)
        event = first.command(cdb, read=255, lun=lun)
        assert (event.sense, scsi.parse_field(event.raw_sense)) == (scsi.INVALID_FIELD_CDB, (True, 2))
        event = first.command(scsi.mode_sense10(0x1C, subpage=2), read=255, lun=lun)
        assert (event.sense, scsi.parse_field(event.raw_sense)) == (scsi.INVALID_FIELD_CDB, (True, 3))
    device.set("space_threshold", 2 << 40)
    assert first.attentions() == []
    assert not (tree.nullio("other").path / "space_threshold").exists()


def told(nexus: Nexus) -> bool:
    """Whether that is all that it is told."""
    found = nexus.attentions()
    assert found in ([], [SCARCE])
    return bool(found)


def scarce(device: tree.Device) -> bool:
    """What the administrator is shown."""
    return Path("/sys/class/scst", f"device.{device.name}", "space_scarce").read_text() == "1\n"


def test_everybody_is_told_once(script: Script, small: Path) -> None:
    """Others use the space up, too; and again, when there was enough in between."""
    device = thin(small, space_threshold=16 * MIB)
    pair = serve(script, device)
    for _ in range(2):
        assert not scarce(device)
        assert not any(map(told, pair))
        other = fill(small, 56)
        tree.wait_for("it to be scarce", lambda: scarce(device), PLENTY)
        assert all(map(told, pair))
        # A little more is not enough: who is near the threshold would be told each second.
        os.truncate(other, 47 * MIB + MIB // 2)
        looks = look_thrice(device)
        assert scarce(device)
        assert not any(map(told, pair)), looks
        other.unlink()
        tree.wait_for("it not to be scarce", lambda: not scarce(device), PLENTY)
    assert not any(map(told, pair))


def look_thrice(device: tree.Device) -> int:
    """Seconds that pass with it: it looks once in each."""
    end = pulse.time() + 3.5
    tree.wait_for("three looks", lambda: pulse.time() > end, PLENTY)
    return 3


def test_threshold_changes_live(script: Script, small: Path) -> None:
    """The pages say it, that they do is told, and the next look goes by it."""
    device = thin(small)
    first, second = serve(script, device)
    assert threshold(first) == (0x0001, 0, False)
    device.set("space_threshold", 32 * MIB + 1)
    assert second.attentions() == [scsi.MODE_CHANGED]
    first.attentions()
    assert threshold(first) == (0x8001, 32, True)
    fill(small, 40)
    tree.wait_for("it to be scarce", lambda: scarce(device), PLENTY)
    assert told(first)
    assert told(second)
    device.set("space_threshold", 1)
    assert not scarce(device)
    assert threshold_behind(first) == (0x8001, 1, True)
    device.set("space_threshold", 0)
    assert threshold_behind(first) == (0x0001, 0, False)
    device.set("space_threshold", 0)
    assert first.attentions() == []
    assert look_thrice(device)
    assert second.attentions() == [scsi.MODE_CHANGED]
    assert tree.errno_of(lambda: device.set("space_threshold", "-1")) == errno.EINVAL
    assert tree.errno_of(lambda: device.set("space_threshold", 1 << 63)) == errno.ERANGE


def threshold_behind(nexus: Nexus) -> tuple[int, int, bool]:
    """What it is now; that it has changed is told first."""
    assert nexus.attentions() == [scsi.MODE_CHANGED]
    return threshold(nexus)


def test_a_parked_device(script: Script, small: Path) -> None:
    """Nothing is known of it meanwhile; when it is back it is looked at anew."""
    device = thin(small, space_threshold=16 * MIB)
    first, _ = serve(script, device)
    fill(small, 56)
    tree.wait_for("it to be scarce", lambda: scarce(device), PLENTY)
    assert told(first)
    device.activate(False)
    assert counts(first) == {}
    device.activate()
    tree.wait_for("it to be scarce", lambda: scarce(device), PLENTY)
    assert SCARCE in first.attentions()
    assert set(counts(first)) == {AVAILABLE, USED}


def test_linux_is_told(small: Path) -> None:
    """An initiator that does nothing, too: its kernel tells it to udev. `sg_logs` reads the page."""
    device = thin(small, space_threshold=16 * MIB)
    initiator = serve_local(device)[0]
    disk, node = initiator.disk(0), str(initiator.sg(0))
    listed = command("sg_logs", "--page=0xc", node)
    assert "Available LBA map" in listed, listed
    with subprocess.Popen(
        ["udevadm", "monitor", "--kernel", "--property", "--subsystem-match=scsi"],
        stdout=subprocess.PIPE,
        text=True,
    ) as watch:
        assert watch.stdout is not None
        next(line for line in watch.stdout if line.startswith("KERNEL"))
        fill(small, 56)
        assert any("SDEV_UA=THIN_PROVISIONING_SOFT_THRESHOLD_REACHED" in line for line in watch.stdout)
        watch.kill()
    assert disk.exists()


def test_administrator_is_told(script: Script, small: Path) -> None:
    """By uevents of the device, both ways."""
    device = thin(small, space_threshold=16 * MIB)
    serve(script, device)
    with subprocess.Popen(
        ["udevadm", "monitor", "--kernel", "--property", "--subsystem-match=scst"],
        stdout=subprocess.PIPE,
        text=True,
    ) as watch:
        assert watch.stdout is not None
        next(line for line in watch.stdout if line.startswith("KERNEL"))
        other = fill(small, 56)
        assert any(line == "SCST_EVENT=space-scarce\n" for line in watch.stdout)
        other.unlink()
        assert any(line == "SCST_EVENT=space-enough\n" for line in watch.stdout)
        watch.kill()
