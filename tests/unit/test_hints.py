# SPDX-License-Identifier: GPL-2.0-or-later
"""Why a device was refused, in words."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config import names, schema
from pyscstadmin.config.model import Device, Identity
from pyscstadmin.errors import ApplyFailed, InvalidInput, OperationError
from pyscstadmin.kernel.hints import why
from pyscstadmin.sim.tree import SimTree
from pyscstadmin.store.load import load_file

DISK = os.makedev(7, 7)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A block device /dev/disk, and the folder of its facts."""
    real = os.stat

    def faked(path: Any, **more: Any) -> os.stat_result:
        if str(path) == "/dev/disk":
            return os.stat_result((stat.S_IFBLK, 0, 0, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": DISK})
        return real(path, **more)

    monkeypatch.setattr(os, "stat", faked)
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((0,) * 11))
    facts = tmp_path / "block/7:7"
    (facts / "queue").mkdir(parents=True)
    (facts / "queue/logical_block_size").write_text("4096\n")
    (facts / "ro").write_text("0\n")
    return facts


def asked(disk: Path, number: int, **settings: Any) -> str:
    return why(Device("d", "blockio", path="/dev/disk", **settings), number, str(disk.parent))


def test_block_size_below_that_of_the_disk(disk: Path) -> None:
    said = asked(disk, errno.EINVAL, block_size=512)
    assert "block_size 512 is less than the 4096 of /dev/disk" in said
    assert asked(disk, errno.EINVAL) == ""
    assert asked(disk, errno.EINVAL, block_size=4096) == ""


def test_write_protected_disk(disk: Path) -> None:
    for number in (errno.EACCES, errno.EROFS, errno.EPERM):
        (disk / "ro").write_text("1\n")
        assert "write-protected: set read_only to 1" in asked(disk, number)
        assert asked(disk, number, read_only=True) == ""
        (disk / "ro").write_text("0\n")
        assert "write-protected" not in asked(disk, number)


def test_immutable_file(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(bytes(512))
    assert "immutable" in why(Device("d", "fileio", path=str(file)), errno.EPERM)
    assert why(Device("d", "fileio", path=str(file)), errno.EACCES) == ""
    assert why(Device("d", "fileio", path=f"{tmp_path}/gone"), errno.EPERM) == ""


def test_direct_io(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "f"
    file.write_bytes(bytes(512))
    device = Device("d", "fileio", path=str(file), o_direct=True)
    real = os.open

    def refusing(path: str, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no")
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", refusing)
    assert "no direct I/O: set o_direct to 0" in why(device, errno.EINVAL)
    assert why(Device("d", "fileio", path=str(file)), errno.EINVAL) == ""


def test_protection_information_of_the_disk(disk: Path) -> None:
    assert "no protection information that Linux knows of" in asked(disk, errno.EOPNOTSUPP, protection=1)
    assert "set protection to 1 for that" in asked(disk, errno.EOPNOTSUPP, protection=2)
    integrity = disk / "integrity"
    integrity.mkdir()
    for name, text in (
        ("format", "T10-DIF-TYPE1-CRC"),
        ("device_is_integrity_capable", "1"),
        ("protection_interval_bytes", "4096"),
    ):
        (integrity / name).write_text(f"{text}\n")
    assert asked(disk, errno.EOPNOTSUPP, protection=1) == ""
    assert "knows no discard" in asked(disk, errno.EOPNOTSUPP, protection=1, thin=True)
    assert "of type 1: set protection to that" in asked(disk, errno.EOPNOTSUPP, protection=3)
    assert "blocks of 4096 bytes: set block_size to that" in asked(
        disk, errno.EOPNOTSUPP, protection=1, block_size=512
    )
    (integrity / "format").write_text("T10-DIF-TYPE1-IP\n")
    assert "has T10-DIF-TYPE1-IP" in asked(disk, errno.EOPNOTSUPP, protection=1)
    (integrity / "format").write_text("T10-DIF-TYPE3-CRC\n")
    (integrity / "device_is_integrity_capable").write_text("0\n")
    assert "no protection information that Linux knows of" in asked(disk, errno.EOPNOTSUPP, protection=3)
    assert asked(disk, errno.EINVAL, protection=1, block_size=4096) == ""


def test_nothing_to_give_back() -> None:
    file, disk = (Device("d", handler, path="/x", thin=True) for handler in ("fileio", "blockio"))
    assert "/x is on a file system whose files have no holes" in why(file, errno.EOPNOTSUPP)
    assert "/x knows no discard" in why(disk, errno.EOPNOTSUPP)
    assert why(Device("d", "fileio", path="/x"), errno.EOPNOTSUPP) == ""


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (Device("d", "nullio", size=1000), "size 1000 is no multiple of the block size 512"),
        (Device("d", "nullio", size=512), ""),
        (Device("d", "fileio", path="/"), "/ is a directory"),
        (Device("d", "fileio", path="/dev/null"), "/dev/null is a character device"),
        (Device("d", "fileio", path="/dev/disk"), "the handler for these is blockio"),
        (Device("d", "fileio", path="/nonexistent"), ""),
    ],
)
@pytest.mark.usefixtures("disk")
def test_what_contradicts(device: Device, said: str) -> None:
    found = why(device, errno.EINVAL)
    assert said in found if said else found == ""


def test_small_file(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(bytes(600))
    assert why(Device("d", "fileio", path=str(file)), errno.EINVAL) == ""
    said = why(Device("d", "fileio", path=str(file), block_size=4096), errno.EINVAL)
    assert said == f"{file} has 600 bytes, which is less than a block of 4096"


@pytest.fixture
def admin(tmp_path: Path) -> Admin:
    return Admin(tree=SimTree(), state_dir=str(tmp_path))


def test_an_apply_says_it(admin: Admin, tmp_path: Path) -> None:
    with pytest.raises(ApplyFailed, match="is a directory"):
        admin.create_device(Device("d", "fileio", path=str(tmp_path)))
    assert admin.config().devices == ()


def test_the_other_device_is_named(admin: Admin) -> None:
    known = Identity(serial="S", naa="3" * 16)
    admin.create_device(Device("da", "nullio", size=512, id=known))
    with pytest.raises(ApplyFailed, match="device da has the same serial S"):
        admin.create_device(Device("db", "nullio", size=512, id=known))
    assert [device.name for device in admin.config().devices] == ["da"]


def test_activating_says_it(admin: Admin, tmp_path: Path) -> None:
    file = tmp_path / "f"
    admin.create_device(Device("d", "fileio", path=str(file)))
    file.mkdir()
    with pytest.raises(OperationError, match="is a directory"):
        admin.activate("d")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_the_kernel_log_has_the_rest(admin: Admin, number: int) -> None:
    tree: Any = admin.tree
    tree.inject = lambda operation, path, value: number if path.endswith("/enabled") else None
    with pytest.raises(ApplyFailed, match="journalctl -k -g scst"):
        admin.create_device(Device("d", "nullio", size=512))


@pytest.mark.parametrize(
    "text",
    [
        "naa.5000c500a1b2c3d4",
        "NAA.5000C500A1B2C3D4",
        "0x5000c500a1b2c3d4",
        "50:00:c5:00:a1:b2:c3:d4",
        "50-00-C5-00-A1-B2-C3-D4",
    ],
)
def test_every_way_of_writing_an_naa(text: str) -> None:
    """Other programs show it so, and this one takes it so; the kernel has the digits alone."""
    assert Identity(naa=text).naa == "5000c500a1b2c3d4"
    assert names.check_naa(text) is not None
    document = {"version": 1, "devices": {"nullio": {"d": {"size": 512, "id": {"naa": text}}}}}
    assert schema.loads(json.dumps(document)).devices[0].id.naa == "5000c500a1b2c3d4"


@pytest.mark.parametrize(
    "text", ["naa.", "naa.5000c5", "1000c500a1b2c3d4", "50:00:c5", "5" * 17, "", "6" * 33]
)
def test_what_is_no_naa(text: str) -> None:
    (said,) = problems(
        json.dumps({"version": 1, "devices": {"nullio": {"d": {"size": 512, "id": {"naa": text}}}}})
    )
    assert "hex digits" in said


def test_every_way_of_writing_an_eui64() -> None:
    for text in ("eui.00a0b00000000001", "00:a0:b0:00:00:00:00:01", "0x00A0B00000000001"):
        assert Identity(eui64=text).eui64 == "00a0b00000000001"
    assert names.check_eui64("") is None


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        schema.loads(text)
    return [problem.message for problem in caught.value.problems]


def test_size_as_a_text_is_one_mistake() -> None:
    (said,) = problems('{"version": 1, "devices": {"nullio": {"d": {"size": "10G"}}}}')
    assert said == "must be a whole number, not a text; 10G is 10737418240"
    (said,) = problems('{"version": 1, "devices": {"nullio": {"d": {"size": "ten"}}}}')
    assert said == "must be a whole number, not a text"
    (said,) = problems('{"version": 1, "devices": {"fileio": {"d": {"path": "x"}}}}')
    assert "absolute" in said


def test_what_some_editors_write_first(tmp_path: Path) -> None:
    file = tmp_path / "bom.json"
    file.write_bytes(b'\xef\xbb\xbf{"version": 1}')
    assert load_file(str(file)).devices == ()
    file.write_bytes(b'\xef\xbb\xbf{"version": 1,\n "x": 1}')
    with pytest.raises(InvalidInput) as caught:
        load_file(str(file))
    assert [(one.line, one.column) for one in caught.value.problems] == [(2, 2)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("yes", 'must be "auto", true or false, not a text'),
        (1, 'must be "auto", true or false, not a number'),
        (None, 'must be "auto", true or false, not null'),
    ],
)
def test_rotational(value: object, message: str) -> None:
    import json

    def text(given: object) -> str:
        document = {"version": 1, "devices": {"nullio": {"d": {"size": 512, "rotational": given}}}}
        return json.dumps(document)

    assert problems(text(value)) == [message]
    for good in ("auto", True, False):
        assert schema.loads(text(good)).devices[0].settings["rotational"] == good
