# SPDX-License-Identifier: GPL-2.0-or-later
"""What disks and files are known by, and that it is found again under other names."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.config.facts import NOTHING, Facts, Kind, compare, fact
from pyscstadmin.kernel import filefacts, loops, zfs
from pyscstadmin.kernel.backing import Found, Machine
from pyscstadmin.kernel.udev import Entry, UdevDatabase
from tests.unit.machine import FakeDisk, FakeMachine

MIB = 1 << 20
SCSI = FakeDisk(
    "scsi",
    attributes={
        "device/wwid": "naa.5000c500a1b2c3d4",
        "device/model": "QEMU HARDDISK  ",
        "device/vpd_pg80": b"\x00\x80\x00\x06S1    ",
    },
    links=("disk/by-id/wwn-0x5000c500a1b2c3d4", "disk/by-path/pci-1", "disk/by-uuid/u"),
    place="pci0000:00/0000:00:05.0/virtio1/host2/target2:0:1/2:0:1:0/block",
)
VIRTIO = FakeDisk("virtio", attributes={"serial": "vm-disk-b"}, links=("disk/by-id/virtio-vm-disk-b",))
USB = FakeDisk("usb", properties={"ID_SERIAL": "Stick_123", "ID_FS_UUID": "of-the-initiator"})
LV = FakeDisk(
    "lv", attributes={"dm/uuid": "LVM-abc", "dm/name": "vg-lv"}, links=("disk/by-id/dm-uuid-LVM-abc",)
)


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path / "machine")


def found(machine: Machine, path: str) -> Found:
    one = machine.at(path)
    assert one is not None
    return one


def known(machine: FakeMachine, name: str) -> dict[str, str]:
    """What a disk would be known by, without its size."""
    facts = machine.telling(found(machine, machine.path(name)))
    assert facts is not None
    return {fact: text for fact, text in facts.items() if fact != "size"}


# Disks.


def test_scsi_disk(machine: FakeMachine) -> None:
    machine.plug("sda", SCSI)
    assert known(machine, "sda") == {
        "wwid": "naa.5000c500a1b2c3d4",
        "serial": "S1",
        "model": "QEMU HARDDISK",
    }
    one = found(machine, machine.path("sda"))
    assert one.words == f"b 240:0 {machine._attribute(machine.number('sda'), 'diskseq')}"
    assert one.facts["size"] == str(MIB)
    # Links by place and by content do not stay with the disk; the name of the moment is the last resort.
    assert one.paths == (machine.path("disk/by-id/wwn-0x5000c500a1b2c3d4"), machine.path("sda"))


def test_link_that_leads_to_another_disk_is_not_one_of_its_own(machine: FakeMachine) -> None:
    machine.plug("vda", VIRTIO)
    machine.plug("vdb", VIRTIO)  # a copy with the same serial number has taken the link
    assert found(machine, machine.path("vda")).paths == (machine.path("vda"),)


def test_usb_disk_is_known_from_the_database_only(machine: FakeMachine) -> None:
    """And never by a file system that is on it."""
    machine.plug("sda", USB)
    assert known(machine, "sda") == {"id_serial": "Stick_123"}


def test_database_may_be_late_or_about_the_disk_before(machine: FakeMachine) -> None:
    machine.plug("sda", USB)
    facts = machine.telling(found(machine, machine.path("sda")))
    assert facts is not None
    number = machine.number("sda")
    machine.udev.late.add(number)
    assert compare(facts, found(machine, machine.path("sda")).facts).unproven
    machine.udev.late.clear()
    assert compare(facts, found(machine, machine.path("sda")).facts).same
    # Another stick has come under its number, and udev has not heard of that yet.
    stale = machine.udev.entries[number]
    sequence = machine._attribute(number, "diskseq")
    machine.unplug("sda")
    machine.plug("sda", FakeDisk("other"), minor=os.minor(number))
    machine.udev.put(number, Entry(stale.properties, (f"/dev/disk/by-diskseq/{sequence}",)))
    assert not compare(facts, found(machine, machine.path("sda")).facts).same
    now = machine._attribute(number, "diskseq")
    machine.udev.put(number, Entry(stale.properties, (f"/dev/disk/by-diskseq/{now}",)))
    assert compare(facts, found(machine, machine.path("sda")).facts).same


@pytest.mark.parametrize("serial", ["", "0", "0000000000", "  ", "0 0"])
def test_serial_number_that_is_none(machine: FakeMachine, serial: str) -> None:
    machine.plug("vda", FakeDisk("d", attributes={"serial": serial}))
    assert "serial" not in found(machine, machine.path("vda")).facts


def test_disk_with_nothing_of_its_own_is_known_by_its_place(machine: FakeMachine) -> None:
    place = "pci0000:00/0000:00:0{}.0/virtio{}/block"
    machine.plug("vda", FakeDisk("a", place=place.format(5, 1)))
    machine.plug("vdb", FakeDisk("b", place=place.format(6, 2)))
    facts = machine.telling(found(machine, machine.path("vda")))
    assert facts is not None
    assert facts["place"] == "0000:00:05.0"
    for name in ("vda", "vdb"):
        machine.unplug(name)
    # Pulled and put back: nobody can tell that it is the same one.
    machine.plug("vdb", FakeDisk("a", place=place.format(5, 3)))
    machine.plug("vda", FakeDisk("b", place=place.format(6, 4)))
    assert [d.name for d in compare(facts, found(machine, machine.path("vda")).facts).differences] == [
        "place", "sequence",
    ]  # fmt: skip
    assert [d.name for d in compare(facts, found(machine, machine.path("vdb")).facts).differences] == [
        "sequence"
    ]
    # At the next start of the machine the slot is what there is.
    later = Facts.of({**facts, "sequence": f"another-boot {facts['sequence'].split()[1]}"})
    assert compare(later, found(machine, machine.path("vdb")).facts).same
    assert not compare(later, found(machine, machine.path("vda")).facts).same


def test_disk_of_no_place_cannot_be_told_after_a_restart(machine: FakeMachine) -> None:
    machine.plug("nullb0", FakeDisk("null"))
    facts = machine.telling(found(machine, machine.path("nullb0")))
    assert facts is not None
    assert set(facts) == {"sequence", "size"}
    assert compare(facts, found(machine, machine.path("nullb0")).facts).same
    assert compare(Facts.of({"sequence": "before 1"}), found(machine, machine.path("nullb0")).facts).unproven


@pytest.mark.parametrize(
    "place",
    [
        "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block",
        "pci0000:00/0000:00:1a.0/usb1/1-2/1-2:1.0/host6/target6:0:0/6:0:0:0/block",
        "pci0000:00/0000:00:09.0/host3/rport-3:0-1/target3:0:0/3:0:0:0/block",
        "virtual/block",
    ],
)
def test_place_that_is_counted_is_none(machine: FakeMachine, place: str) -> None:
    machine.plug("sda", FakeDisk("d", place=place))
    assert "place" not in found(machine, machine.path("sda")).facts


def test_serial_number_that_two_disks_have_is_not_enough(machine: FakeMachine) -> None:
    place = "pci0000:00/0000:00:0{}.0/virtio{}/block"
    one = FakeDisk("a", attributes={"serial": "1"}, place=place.format(5, 1))
    two = FakeDisk("b", attributes={"serial": "1"}, place=place.format(6, 2))
    machine.plug("vda", one)
    assert set(known(machine, "vda")) == {"serial"}
    machine.plug("vdb", two)
    facts = machine.telling(found(machine, machine.path("vda")))
    assert facts is not None
    assert facts["place"] == "0000:00:05.0"
    assert not compare(facts, found(machine, machine.path("vdb")).facts).same


def test_paths_of_one_disk_are_one_disk(machine: FakeMachine) -> None:
    """A world wide identifier is one, however often it is seen."""
    machine.plug("sda", SCSI)
    machine.plug("sdb", SCSI)
    assert "place" not in known(machine, "sda")


def test_mapping(machine: FakeMachine) -> None:
    machine.plug("dm-0", LV)
    assert known(machine, "dm-0") == {"dm_uuid": "LVM-abc"}
    assert found(machine, machine.path("dm-0")).paths[0] == machine.path("disk/by-id/dm-uuid-LVM-abc")


@pytest.mark.parametrize("uuid", ["", "CRYPT-PLAIN-x", "CRYPT-TEMP-x"])
def test_mapping_without_an_identity_is_known_by_what_is_below(machine: FakeMachine, uuid: str) -> None:
    machine.plug("sda", SCSI)
    machine.plug("dm-0", FakeDisk("m", attributes={"dm/uuid": uuid, "dm/name": "x"}, slaves=("sda",)))
    assert known(machine, "dm-0") == {
        "dm_name": "x",
        "below.wwid": "naa.5000c500a1b2c3d4",
        "below.serial": "S1",
        "below.model": "QEMU HARDDISK",
    }


def test_luks_is_known_by_its_header(machine: FakeMachine) -> None:
    uuid = "CRYPT-LUKS2-0123456789abcdef0123456789abcdef-home"
    machine.plug("dm-0", FakeDisk("m", attributes={"dm/uuid": uuid, "dm/name": "home"}))
    assert known(machine, "dm-0") == {"dm_uuid": uuid}


def test_what_is_made_of_many_disks(machine: FakeMachine) -> None:
    """Whatever they are called."""

    def made(*names: str) -> str:
        for name, disk in zip(names, (SCSI, VIRTIO), strict=True):
            machine.plug(name, disk)
        machine.plug("dm-0", FakeDisk("m", attributes={"dm/name": "x"}, slaves=names))
        facts = known(machine, "dm-0")
        assert set(facts) == {"dm_name", "below"}
        for name in ("dm-0", *names):
            machine.unplug(name)
        return facts["below"]

    assert made("sda", "vda") == made("xda", "ada")


def test_mapping_over_something_unknown_is_unknown(machine: FakeMachine) -> None:
    machine.plug("sda", SCSI)
    machine.plug("dm-0", FakeDisk("m", attributes={"dm/name": "x"}, slaves=("sda",)))
    machine.plug("dm-1", FakeDisk("m", attributes={"dm/name": "y"}))
    assert set(known(machine, "dm-1")) == {"dm_name", "sequence"}


def test_partition(machine: FakeMachine) -> None:
    """By its own UUID or number, and by its disk; what is in it is its initiators'."""
    machine.plug("sda", SCSI)
    part = FakeDisk(
        "p", size=MIB // 2, properties={"ID_PART_ENTRY_UUID": "ABCD-1", "ID_FS_UUID": "written-by-others"}
    )
    machine.partition("sda", 1, part, minor=1)
    assert known(machine, "sda1") == {
        "partition": "1",
        "part_uuid": "abcd-1",
        "disk.wwid": "naa.5000c500a1b2c3d4",
        "disk.serial": "S1",
        "disk.model": "QEMU HARDDISK",
    }
    one = found(machine, machine.path("sda1"))
    assert one.words.split()[2] == found(machine, machine.path("sda")).words.split()[2]
    assert one.facts["size"] == str(MIB // 2)
    machine.partition("sda", 2, FakeDisk("q", attributes={"uevent": "DEVNAME=sda2\nPARTUUID=ab-2"}), minor=2)
    assert known(machine, "sda2")["part_uuid"] == "ab-2"
    assert not compare(one.facts.kept(), found(machine, machine.path("sda2")).facts).same


def test_arrays_network_disks_and_volumes(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zfs, "guid", {"tank/vol": "123"}.get)
    rbd = {"device/cluster_fsid": "f", "device/pool_id": "3", "device/image_id": "ab"}
    for name, disk, facts in (
        ("md0", FakeDisk("md", properties={"MD_UUID": "AA:BB"}), {"md_uuid": "aa:bb"}),
        ("nbd0", FakeDisk("nbd", attributes={"backend": "vol-1"}), {"backend": "vol-1"}),
        ("rbd0", FakeDisk("rbd", attributes=rbd), {"image": "f/3/ab"}),
        ("zd0", FakeDisk("zvol", links=("zvol/tank/vol",)), {"zvol": "tank/vol", "zvol_guid": "123"}),
    ):
        machine.plug(name, disk)
        assert known(machine, name) == facts


def test_loop_device_is_known_by_its_file(machine: FakeMachine, tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    image.write_bytes(bytes(MIB))
    attributes = {"loop/backing_file": str(image), "loop/offset": "512", "loop/sizelimit": "0"}
    machine.plug("loop0", FakeDisk("l", attributes=attributes))
    facts = known(machine, "loop0")
    assert facts["window"] == "512+0"
    assert facts["file.path"] == str(image)
    assert facts["file.inode"] == str(image.stat().st_ino)
    image.write_bytes(bytes(MIB // 2))  # another size, the same file
    assert known(machine, "loop0") == facts
    image.rename(tmp_path / "b.img")
    image.write_bytes(bytes(MIB))
    assert not compare(Facts.of(facts), found(machine, machine.path("loop0")).facts).same


def test_loop_device_whose_path_leads_to_another_file_now(
    machine: FakeMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "a.img"
    image.write_bytes(bytes(MIB))
    monkeypatch.setattr(loops, "_ask", lambda node: (image.stat().st_dev, image.stat().st_ino + 1))
    machine.plug("loop0", FakeDisk("l", attributes={"loop/backing_file": str(image)}))
    assert set(known(machine, "loop0")) == {"window", "sequence"}


def test_what_is_no_disk(machine: FakeMachine, tmp_path: Path) -> None:
    machine.plug("loop0", FakeDisk("empty", size=0))
    for path in (machine.path("loop0"), machine.path("none"), str(tmp_path), "/dev/null", "/a\0b", ""):
        assert machine.at(path) is None
        assert machine.words(path) == ""


def test_search_finds_a_disk_wherever_it_is(machine: FakeMachine) -> None:
    machine.plug("sda", SCSI)
    machine.plug("vda", VIRTIO)
    machine.plug("dm-0", LV)
    facts = {name: machine.telling(found(machine, machine.path(name))) for name in ("sda", "vda", "dm-0")}
    for name in facts:
        machine.unplug(name)
    for name, disk in (("vda", LV), ("sda", VIRTIO), ("sdb", SCSI)):
        machine.plug(name, disk)
    for old, new in (("sda", "sdb"), ("vda", "sda"), ("dm-0", "vda")):
        known = facts[old]
        assert known is not None
        assert [one.words for one in machine.search(known)] == [machine.words(machine.path(new))]
    assert machine.search(NOTHING) == []
    assert machine.search(Facts.of({"size": str(MIB)})) == []


def test_disk_that_udev_looks_at_again_is_looked_at_again(machine: FakeMachine) -> None:
    machine.plug("sda", USB)
    facts = Facts.of({"id_serial": "Stick_123"})
    number = machine.number("sda")
    machine.udev.late.add(number)
    before = machine.fingerprint()
    assert machine.search(facts) == []
    machine.udev.late.clear()
    assert machine.fingerprint() != before
    assert len(machine.search(facts)) == 1
    asked: list[int] = []
    real = machine.disk
    machine.disk = lambda number: asked.append(number) or real(number)  # type: ignore[method-assign,func-returns-value]
    assert len(machine.search(facts)) == 1
    assert asked == []


def test_disk_that_is_alive(machine: FakeMachine) -> None:
    machine.plug("sda", SCSI)
    words = machine.words(machine.path("sda"))
    assert machine.alive(words)
    assert machine.alive("f 1:2 3 -")
    machine.unplug("sda")
    assert not machine.alive(words)
    machine.plug("sda", SCSI, minor=0)
    assert not machine.alive(words)


# Files.


def test_file_on_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "a.img"
    path.write_bytes(bytes(4096))
    machine = Machine()
    one = found(machine, str(path))
    status = path.stat()
    number = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    birth = one.facts.get("birth", "-")
    assert one.words == f"f {number} {status.st_ino} {birth}" == machine.words(str(path))
    assert one.facts["inode"] == str(status.st_ino)
    assert one.facts["size"] == "4096"
    assert one.facts.provable
    with path.open("ab") as file:
        file.write(b"more")
    path.chmod(0o600)
    os.utime(path, (1, 1))
    assert compare(one.facts, found(machine, str(path)).facts).same
    moved = tmp_path / "moved"
    path.rename(moved)
    assert found(machine, str(moved)).words == one.words
    assert compare(one.facts, found(machine, str(moved)).facts).same


def test_file_in_the_place_of_another_is_another(tmp_path: Path) -> None:
    """Also if it gets the number of the other one, as file systems like to do."""
    path = tmp_path / "a.img"
    machine = Machine()
    path.write_bytes(b"1")
    facts = found(machine, str(path)).facts
    for _ in range(20):
        path.unlink()
        path.write_bytes(b"1")
        again = found(machine, str(path)).facts
        assert not compare(facts, again).same
        facts = again


def test_while_it_is_held_no_other_file_gets_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.img"
    path.write_bytes(b"1")
    with Machine().held(str(path)) as one:
        assert one is not None
        for _ in range(20):
            path.unlink()
            path.write_bytes(b"1")
            assert Machine().words(str(path)).split()[:3] != one.words.split()[:3]


def test_file_without_all_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old kernel and a poor file system: its number is all there is, which proves nothing."""
    path = tmp_path / "a.img"
    path.write_bytes(b"1")
    real = filefacts._statx

    def poor(fd: int) -> bytes:
        raw = bytearray(real(fd))
        raw[0:4] = (0x300).to_bytes(4, "little")
        return bytes(raw)

    monkeypatch.setattr(filefacts, "_statx", poor)
    monkeypatch.setattr(filefacts, "_handle", lambda fd: "")
    monkeypatch.setattr(filefacts, "_kernel_uuid", lambda fd: "")
    one = found(Machine(), str(path))
    assert one.words.endswith(f" {path.stat().st_ino} -")
    assert set(one.facts) == {"inode", "size"}
    assert Machine().telling(one) is None


@pytest.mark.parametrize(
    ("system", "source", "telling"),
    [
        ("nfs4", "server:/export", "server:/export"),
        ("cifs", "//server/share", "//server/share"),
        ("zfs", "tank", "tank"),
        ("ext4", "/dev/sda1", ""),
        ("tmpfs", "tmpfs", ""),
        ("overlay", "overlay", ""),
    ],
)
def test_source_of_a_mount_that_says_something(system: str, source: str, telling: str) -> None:
    assert filefacts._telling(system, source) == telling


def test_uuid_of_the_file_system_comes_from_udev_where_the_kernel_does_not_tell(
    machine: FakeMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.plug("sda", FakeDisk("d", properties={"ID_FS_UUID": "uuid-of-it"}))
    number = machine.number("sda")
    monkeypatch.setattr(filefacts, "_kernel_uuid", lambda fd: "")
    monkeypatch.setattr(filefacts, "_mounted", lambda mount: ("ext4", "/dev/whatever"))
    real = os.stat

    def stat_(path: Any, **more: Any) -> Any:
        if path != "/dev/whatever":
            return real(path, **more)
        return os.stat_result((stat.S_IFBLK, 1, 1, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": number})

    monkeypatch.setattr("pyscstadmin.kernel.filefacts.os.stat", stat_)
    path = tmp_path / "f"
    path.write_bytes(b"1")
    assert found(machine, str(path)).facts["fs_uuid"] == "uuid-of-it"


# What is asked elsewhere.


def test_database_of_this_machine_knows_nothing_of_what_is_not_there(tmp_path: Path) -> None:
    database = UdevDatabase(str(tmp_path))
    assert database.entry(os.makedev(4094, 77)) is None
    assert database.stamp(os.makedev(8, 0)) == ""
    (tmp_path / "b8:0").write_text("")
    assert database.stamp(os.makedev(8, 0)) != ""


def test_entry_is_about_one_disk() -> None:
    assert Entry().is_of("5")
    assert Entry(links=("/dev/disk/by-diskseq/5",)).is_of("5")
    assert Entry(links=("/dev/disk/by-diskseq/5-part1",)).is_of("5")
    assert not Entry(links=("/dev/disk/by-diskseq/51", "/dev/disk/by-id/x")).is_of("5")


@pytest.mark.parametrize(
    ("script", "expected"),
    [("echo 12345678901234567890", "12345678901234567890"), ("echo -", ""), ("exit 1", ""), ("sleep 9", "")],
)
def test_guid_of_a_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, expected: str
) -> None:
    tool = tmp_path / "zfs"
    tool.write_text(f'#!/bin/sh\ntest "$*" = "get -Hp -o value guid tank/v" || exit 2\n{script}\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(zfs, "_PATIENCE", 0.3)
    assert zfs.guid("tank/v") == expected
    monkeypatch.setenv("PATH", "/nonexistent")
    assert zfs.guid("tank/v") == ""


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which("losetup"), reason="needs loop devices")
def test_loop_device_of_this_machine(tmp_path: Path) -> None:
    image = tmp_path / "a.img"
    image.write_bytes(bytes(MIB))
    argv = ["losetup", "--find", "--show", str(image)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop devices here: {done.stderr.strip()}")
    node = done.stdout.strip()
    try:
        machine = Machine()
        one = found(machine, node)
        assert one.facts["file.inode"] == str(image.stat().st_ino)
        assert any(fact(name).kind is Kind.PROOF and name.startswith("file.") for name in one.facts)
        image.rename(tmp_path / "b.img")
        image.write_bytes(bytes(MIB))
        assert loops.is_behind(node, str(tmp_path / "b.img"))
        assert not loops.is_behind(node, str(image))
        assert compare(one.facts.kept(), found(machine, node).facts).same
    finally:
        subprocess.run(["losetup", "--detach", node], check=True)
