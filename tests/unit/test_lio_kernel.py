# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading the running LIO through rtslib: nothing is changed, nothing that initiators see is missed.

The tree is a copy, in plain files, of what LIO shows; the real one is read in
tests/vm/guest/test_lio_import.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.config.document import Document
from pyscstadmin.config.model import Target
from pyscstadmin.errors import ScstError
from pyscstadmin.migrate import lio_kernel
from pyscstadmin.migrate.lio import convert

MIB = 1 << 20
IQN = "iqn.2003-01.org.linux-iscsi.store.x8664:sn.0123456789ab"
NODE = "iqn.1994-05.com.redhat:node1"
GROUP = {
    "tg_pt_gp_id": "0",
    "alua_access_state": "0",
    "alua_access_status": "None",
    "alua_access_type": "Implicit and Explicit",
    "alua_support_lba_dependent": "0",
    "members": "",
    **dict.fromkeys(
        ("alua_write_metadata", "preferred", "nonop_delay_msecs", "trans_delay_msecs", "implicit_trans_secs"),
        "0",
    ),
    **{
        f"alua_support_{state}": "1"
        for state in (
            "offline",
            "standby",
            "transitioning",
            "active_nonoptimized",
            "unavailable",
            "active_optimized",
        )
    },
}
ATTRIBUTES = {"block_size": "512", "emulate_model_alias": "1", "emulate_write_cache": "1", "is_nonrot": "0"}


@pytest.fixture
def rtslib() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("rtslib")


@pytest.fixture
def root(tmp_path: Path, rtslib: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LIO's tree is here; whoever loads a module fails."""
    from rtslib.fabric import FabricModule
    from rtslib.node import CFSNode

    def refuse(name: str) -> None:
        raise AssertionError(f"module {name} was to be loaded")

    path = tmp_path / "target"
    monkeypatch.setattr(CFSNode, "configfs_dir", str(path))
    monkeypatch.setattr(sys.modules[FabricModule.__module__], "modprobe", refuse)
    return path


def files(folder: Path, values: dict[str, str], read_only: tuple[str, ...] = ()) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n")
        (folder / name).chmod(0o444 if name in read_only else 0o644)
    return folder


def store(root: Path, kind: str, name: str, serial: str, info: str, path: str = "") -> Path:
    made = files(root / "core" / kind / name, {"enable": "1", "udev_path": path, "info": info})
    files(made / "attrib", {**ATTRIBUTES, "hw_block_size": "512"}, ("hw_block_size",))
    files(
        made / "wwn",
        {
            "vpd_unit_serial": f"T10 VPD Unit Serial Number: {serial}",
            "vendor_id": "ACME",
            "product_id": name,
            "revision": "4.0",
            "company_id": "0x001405",
        },
    )
    files(made / "pr", {"res_holder": "No SPC-3 Reservation holder"})
    files(made / "alua/default_tg_pt_gp", GROUP)
    return made


def lun(portal_group: Path, number: int, target: Path) -> Path:
    made = files(
        portal_group / f"lun/lun_{number}",
        {"alua_tg_pt_gp": "TG Port Alias: default_tg_pt_gp\nTG Port Group ID: 0"},
    )
    (made / f"alias{number}").symlink_to(target)
    return made


@pytest.fixture
def lio(root: Path, tmp_path: Path) -> Path:
    """A file, a disk, and an object that was never configured; iSCSI, loopback, and an unknown fabric."""
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(MIB))
    info = f"SectorSize: 512 TCM FILEIO ID: 0 File: {image} Size: {MIB} Mode: Buffered-WCE Async: 0"
    first = store(root, "fileio_0", "disk1", "11111111-2222-4333-8444-555555555555", info, str(image))
    disk = "iBlock device: vdb UDEV PATH: /dev/vdb readonly: 0"
    second = store(root, "iblock_1", "data", "66666666-2222-4333-8444-555555555555", disk, "/dev/vdb")
    files(root / "core/fileio_2/half", {"enable": "0"})
    files(root / "core/alua/lu_gps", {})
    _loopback(root, first)
    _iscsi(root, [first, second])
    files(root / "carrier/pigeon1/tpgt_1", {})
    files(root / "carrier/discovery_auth", {})
    return root


def _loopback(root: Path, device: Path) -> None:
    group = files(root / "loopback/naa.5001405d2f9f3a01/tpgt_1", {"nexus": "naa.5001405d2f9f3aff"})
    files(group / "attrib", {"fabric_prot_type": "0"})
    lun(group, 0, device)
    alone = files(root / "loopback/naa.5001405d2f9f3a02/tpgt_1", {"nexus": ""})
    (alone / "lun").mkdir()


def _iscsi(root: Path, devices: list[Path]) -> None:
    auth = {"userid": "NULL", "password": "NULL", "userid_mutual": "NULL", "password_mutual": "NULL"}
    files(root / "iscsi/discovery_auth", {**auth, "enforce_discovery_auth": "0"})
    group = files(root / "iscsi" / IQN / "tpgt_1", {"enable": "1"})
    files(group / "attrib", {"authentication": "0", "generate_node_acls": "0"})
    files(group / "param", {"AuthMethod": "CHAP,None"})
    files(group / "auth", auth)
    files(group / "np/0.0.0.0:3260", {"iser": "0", "cxgbit": "0"})
    luns = [lun(group, number, device) for number, device in enumerate(devices)]
    acl = files(group / "acls" / NODE, {"tag": "", "info": "No active iSCSI Session", "cmdsn_depth": "64"})
    files(acl / "attrib", {"authentication": "-1"})
    files(acl / "auth", {**auth, "userid": "node1", "password": "s3cret"})
    mapped = files(acl / "lun_7", {"write_protect": "1"})
    (mapped / "alias").symlink_to(luns[1])


def picture(folder: Path) -> dict[str, tuple[int, str]]:
    """All that is in a folder."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_text() if path.is_file() else "")
        for path in sorted(folder.rglob("*"))
    }


def test_everything_is_read(lio: Path) -> None:
    data = lio_kernel.running().data
    stores = {entry["name"]: entry for entry in data["storage_objects"]}
    assert stores["half"] == {"plugin": "fileio", "name": "half", "configured": False}
    disk = stores["disk1"]
    assert (disk["plugin"], disk["size"], disk["write_back"], disk["aio"]) == ("fileio", MIB, True, False)
    assert (disk["vendor_id"], disk["product_id"], disk["company_id"]) == ("ACME", "disk1", "0x001405")
    assert disk["attributes"] == {name: int(value) for name, value in ATTRIBUTES.items()}
    assert "reservation" not in disk
    targets = {entry["wwn"]: entry for entry in data["targets"]}
    assert targets["naa.5001405d2f9f3a01"]["tpgs"][0]["nexus"] == "naa.5001405d2f9f3aff"
    assert "nexus" not in targets["naa.5001405d2f9f3a02"]["tpgs"][0]
    assert targets["pigeon1"] == {"fabric": "carrier", "wwn": "pigeon1"}
    assert len(targets) == 4
    (acl,) = targets[IQN]["tpgs"][0]["node_acls"]
    assert (acl["node_wwn"], acl["chap_userid"]) == (NODE, "node1")
    assert [(m["index"], m["tpg_lun"], m["write_protect"]) for m in acl["mapped_luns"]] == [(7, 1, True)]


def test_what_was_read_is_imported(lio: Path, tmp_path: Path) -> None:
    found = convert(lio_kernel.running(), file_size=lambda path: os.path.getsize(path))
    assert {(device.name, device.handler) for device in found.config.devices} == {
        ("disk1", "fileio"),
        ("data", "blockio"),
    }
    device = found.config.device("disk1")
    assert device is not None
    assert device.path == str(tmp_path / "disk.img")
    assert (device.id.vendor, device.id.naa) == ("ACME", "60014051111111122224333844455555")
    (first, second) = found.config.targets
    hosts = Target("local", "t", hosts=("naa.5001405d2f9f3aff",)).hosts
    assert (first.hosts, [lun.device for lun in first.luns]) == (hosts, ["disk1"])
    assert (second.hosts, second.luns) == (("loopback",), ())
    assert {item.text.partition(";")[0] for item in found.account.lost()} == {
        "portals and logins of targets of iscsi are not taken over",
        "scst has no target driver for the fabric 'carrier'",
    }


def test_it_is_what_rtslib_dumps(lio: Path, rtslib: Any) -> None:
    """With the reading that changes things, rtslib says the same of what it knows."""
    from rtslib.tcm import StorageObject

    for entry in lio_kernel.running().data["storage_objects"]:
        if entry.get("configured", True):
            (whole,) = [one for one in StorageObject.all() if one.name == entry["name"]]
            dump = whole.dump()
            assert dump.items() <= entry.items()
            assert entry.keys() - dump.keys() == {"vendor_id", "product_id", "revision", "company_id"}


def test_nothing_is_changed(lio: Path, rtslib: Any) -> None:
    before, method = picture(lio), rtslib.TPG._set_nexus
    lio_kernel.running()
    assert picture(lio) == before
    assert rtslib.TPG._set_nexus is method


def test_fabrics_that_are_not_there_are_not_made(root: Path) -> None:
    (root / "core").mkdir(parents=True)
    data = lio_kernel.running().data
    assert data == {"storage_objects": [], "targets": [], "fabric_modules": []}
    assert [path.name for path in root.iterdir()] == ["core"]
    convert(Document("x", data))


def test_a_reservation_is_not_lost_without_a_word(lio: Path) -> None:
    holder = lio / "core/fileio_0/disk1/pr/res_holder"
    holder.write_text(f"SPC-3 Reservation: iSCSI Initiator: {NODE}\n")
    assert any("reservation" in item.text for item in convert(lio_kernel.running()).account.lost())
    holder.write_text("SPC_RESERVATIONS_DISABLED\n")
    assert not any("reservation" in item.text for item in convert(lio_kernel.running()).account.lost())


def test_older_kernels(lio: Path) -> None:
    """What they do not show has its default."""
    for name in ("vendor_id", "product_id", "revision", "company_id"):
        (lio / "core/fileio_0/disk1/wwn" / name).unlink()
    found = convert(lio_kernel.running())
    device = found.config.device("disk1")
    assert device is not None
    assert (device.id.vendor, device.id.product, device.id.revision) == ("LIO-ORG", "disk1", "4.0")


def test_no_lio(root: Path) -> None:
    with pytest.raises(lio_kernel.NoLio, match=r"saveconfig\.json") as caught:
        lio_kernel.running()
    assert caught.value.exit_code == 5
    assert not root.exists()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("core/fileio_0/disk1/info", "nothing useful"),
        ("core/fileio_0/disk1/enable", "maybe"),
        ("core/fileio_0/disk1/alua/default_tg_pt_gp/alua_access_type", "Unheard of"),
        (f"iscsi/{IQN}/tpgt_1/enable", ""),
        ("loopback/naa.5001405d2f9f3a01/tpgt_1/lun/lun_0/alias0", ""),
    ],
)
def test_what_rtslib_stumbles_over(lio: Path, file: str, text: str) -> None:
    path = lio / file
    if path.is_symlink():
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(ScstError, match=r"cannot be read by rtslib .*saveconfig\.json") as caught:
        lio_kernel.running()
    assert caught.value.exit_code == 1


def test_without_rtslib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtslib", None)
    with pytest.raises(ScstError, match="install rtslib-fb"):
        lio_kernel.running()


def test_rtslib_is_imported_only_for_the_running_lio(tmp_path: Path) -> None:
    """It opens libudev, which other commands do not need."""
    path = tmp_path / "saveconfig.json"
    path.write_text(json.dumps({"storage_objects": [], "targets": []}))
    program = (
        "import sys\nfrom pyscstadmin.__main__ import main\n"
        f"code = main(['import', 'lio', {str(path)!r}])\n"
        "assert not {'rtslib', 'rtslib_fb', 'pyudev'} & set(sys.modules), 'imported'\nsys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
