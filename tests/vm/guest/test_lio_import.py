# SPDX-License-Identifier: GPL-2.0-or-later
"""A running LIO is imported and taken down, and scst serves its disks: the same ones, to the initiator."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.config.model import Target
from tests.vm.guest import scsi, tool, tree
from tests.vm.guest_plugin import PluggedDisk, command

MIB = 1 << 20
LIO = Path("/sys/kernel/config/target")
MODULES = ("target_core_mod", "target_core_file", "target_core_iblock", "tcm_loop")
# In the order in which they go; two of them come with the first.
ALL_MODULES = ("tcm_loop", *(f"target_core_{name}" for name in ("file", "iblock", "pscsi", "user", "mod")))
TARGET, NEXUS, EMPTY = "naa.5001405d2f9f3a01", "naa.5001405d2f9f3aff", "naa.5001405d2f9f3a02"
FILE, DISK, NULL = "a-file-of-lio-with-a-long-name", "disk", "nothing"
SERIALS = {
    FILE: "6e4c2a8b-3f0d-4d5e-9a57-0c1f2b3a4d5e",
    DISK: "B0D1C2E3-f405-4617-8293-a4b5c6d7e8f9",
    NULL: "no-hex",
}
NR = {FILE: 0, DISK: 1, NULL: 300}
# Of a designator: the code set, and association and type.
NAA, T10 = (1, 0x03), (2, 0x01)


@dataclass(frozen=True, slots=True)
class Seen:
    """What an initiator sees of a disk."""

    inquiry: bytes
    serial: bytes
    designators: dict[tuple[int, int], bytes]
    rotation: bytes
    blocks: tuple[int, int]
    cache: bool
    start: bytes


def look(node: Path) -> Seen:
    """Ask a disk who it is."""
    with scsi.Unit(node) as unit:
        unit.attentions()
        count, size = unit.blocks()
        caching = unit.good(scsi.mode_sense6(0x08), 255)
        return Seen(
            inquiry=unit.good(scsi.inquiry(96), 96)[8:36],
            serial=unit.good(scsi.inquiry(page=0x80), 255)[4:],
            designators=designators(unit.good(scsi.inquiry(page=0x83), 255)),
            rotation=unit.good(scsi.inquiry(64, 0xB1), 64)[4:6],
            blocks=(count, size),
            cache=bool(caching[4 + caching[3] + 2] & 0x04),
            start=unit.good(scsi.read10(0, 1), size),
        )


def designators(page: bytes) -> dict[tuple[int, int], bytes]:
    """The designators of VPD page 83, by code set and by association and type."""
    found, at = {}, 4
    while at < len(page):
        code_set, kind, _, length = page[at : at + 4]
        found[code_set & 0xF, kind & 0x3F] = page[at + 4 : at + 4 + length]
        at += 4 + length
    return found


# LIO, by plain writes.


def store(plugin: str, name: str, control: str, **attributes: str) -> Path:
    """An enabled storage object."""
    folder = LIO / "core" / f"{plugin}_0" / name
    folder.mkdir(parents=True)
    tree.write(folder / "wwn/vpd_unit_serial", SERIALS[name])
    tree.write(folder / "control", control)
    for path, value in attributes.items():
        if path == "udev_path":
            tree.write(folder / path, value)
    tree.write(folder / "enable", "1")
    for path, value in attributes.items():
        if path != "udev_path":
            tree.write(folder / path.replace("__", "/"), value)
    return folder


def portal_group(name: str) -> Path:
    """The portal group of a loopback target."""
    folder = LIO / "loopback" / name / "tpgt_1"
    folder.mkdir(parents=True)
    return folder


def set_up(file: Path, disk: Path) -> str:
    """A file, a disk and a null device on a loopback target, and a target that nobody has logged in to.

    Returns where its SCSI devices are: `HOST:CHANNEL:ID`.
    """
    for module in MODULES:
        command("modprobe", module)
    size = file.stat().st_size
    stores = {
        FILE: store(
            "fileio",
            FILE,
            f"fd_dev_name={file},fd_dev_size={size},fd_buffered_io=1",
            udev_path=str(file),
            attrib__emulate_model_alias="1",
        ),
        DISK: store(
            "iblock",
            DISK,
            f"udev_path={disk}",
            udev_path=str(disk),
            attrib__is_nonrot="1",
            wwn__vendor_id="ACME",
            wwn__product_id="Old Array 7",
            wwn__revision="0042",
            wwn__company_id="0x00a098",
        ),
        NULL: store("rd_mcp", NULL, "rd_pages=2560,rd_nullio=1", attrib__block_size="4096"),
    }
    group = portal_group(TARGET)
    tree.write(group / "nexus", NEXUS)
    for name, folder in stores.items():
        lun = group / f"lun/lun_{NR[name]}"
        lun.mkdir()
        (lun / "alias").symlink_to(folder)
    portal_group(EMPTY)
    return tree.read(group / "address")


def take_down() -> None:
    """Remove all of LIO, children first, and its modules."""
    for _ in range(2):
        for folder, names, files in os.walk(LIO, topdown=False):
            for path in (Path(folder, name) for name in (*names, *files)):
                with suppress(OSError):
                    if path.is_symlink():
                        path.unlink()
                    elif path.is_dir():
                        path.rmdir()
    for module in ALL_MODULES:
        if Path("/sys/module", module).exists():
            command("rmmod", module)


def picture() -> dict[str, str]:
    """All of LIO's tree."""
    found = {}
    for path in sorted(LIO.rglob("*")):
        found[str(path)] = os.readlink(path) if path.is_symlink() else ""
        if path.is_file() and "statistics" not in path.parts:
            with suppress(OSError):
                found[str(path)] = path.read_text()
    return found


def modules() -> set[str]:
    """The modules that are loaded."""
    return {line.split()[0] for line in Path("/proc/modules").read_text().splitlines()}


def generic(address: str) -> Path:
    """The sg node of a SCSI device."""
    folder = Path("/sys/bus/scsi/devices", address, "scsi_generic")
    return tree.wait_node(f"{address} is found", lambda: folder.glob("*"), 60)


@pytest.fixture
def lio(tmp_path: Path, disks: dict[str, PluggedDisk], clean_tree: None) -> Iterator[dict[str, Seen]]:
    """What LIO's initiator sees of its three disks while it runs."""
    file, disk = tmp_path / "lio.img", disks["vm-disk-a"].node
    file.write_bytes(random.Random(1).randbytes(8 * MIB))
    disk.write_bytes(random.Random(2).randbytes(MIB))
    address = set_up(file, disk)
    try:
        yield {name: look(generic(f"{address}:{number}")) for name, number in NR.items()}
    finally:
        take_down()


def imported(folder: Path) -> tuple[dict[str, Any], Path]:
    """The account and the file of an import of what runs."""
    out = folder / "scst.json"
    status, data = tool.run(folder, "import", "lio", "-o", str(out))
    assert status == 0, [item for item in data["items"] if item["verdict"] == "lost"]
    return data, out


def test_identities_stay(lio: dict[str, Seen], tmp_path: Path) -> None:
    """Serial number, NAA, vendor, product, revision, size, blocks, cache, rotation, data: byte for byte."""
    data, out = imported(tmp_path)
    assert data["source"] == "the running LIO"
    take_down()
    assert tool.run(tmp_path, "apply", str(out))[0] == 0
    target = tree.Target(TARGET)
    host = tree.Initiator(target, *os.listdir(target.path / "hosts"))
    tree.wait_for("login", lambda: host.number is not None)
    for name, before in lio.items():
        now = look(host.sg(NR[name]))
        # LIO puts a null byte behind it.
        assert before.serial == now.serial + b"\0"
        assert now.serial.decode() == SERIALS[name]
        assert now.designators[NAA] == before.designators[NAA]
        assert len(now.designators[NAA]) == 16
        assert now.inquiry == before.inquiry
        assert now.blocks == before.blocks
        assert now.rotation == before.rotation
        assert now.cache == before.cache
        # LIO leaves what was in the buffer there, scst gives zeroes.
        assert now.start == before.start or name == NULL
        # The same vendor, product and serial number, put together otherwise.
        vendor, product = now.inquiry[:8], now.inquiry[8:24]
        assert before.designators[T10] == vendor + product.rstrip() + b":" + now.serial + b"\0"
        assert now.designators[T10] == vendor + product + now.serial
    assert lio[FILE].inquiry == b"LIO-ORG a-file-of-lio-w 4.0 "
    assert lio[DISK].inquiry == b"ACME    Old Array 7     0042"
    assert lio[DISK].designators[NAA].hex() == "600a098b0d1c2e3f40546178293a4b5c"


def test_importing_changes_nothing(lio: dict[str, Seen], tmp_path: Path) -> None:
    """Not in LIO's tree, not among the modules, no initiator for the target that has none."""
    before, loaded = picture(), modules()
    data, _ = imported(tmp_path)
    assert picture() == before
    assert modules() == loaded
    assert any(EMPTY in note for note in data["notes"])
    hosts = {name: target.get("hosts") for name, target in data["config"]["targets"]["local"].items()}
    assert hosts == {TARGET: list(Target("local", "t", hosts=(NEXUS,)).hosts), EMPTY: ["loopback"]}


def test_what_is_held_by_lio_waits(lio: dict[str, Seen], tmp_path: Path) -> None:
    """A disk that LIO still has is refused, not shared, and nothing is left of the attempt."""
    _, out = imported(tmp_path)
    status, data = tool.run(tmp_path, "apply", str(out))
    assert status == 1
    assert "EBUSY" in str(data)
    assert tool.run(tmp_path, "show")[1]["config"]["devices"] == {}
