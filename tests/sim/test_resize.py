# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes that change, and what is said about devices: size, state, double use."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.admin import Admin, Resized
from pyscstadmin.config import schema
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.errors import Conflict, OperationError
from pyscstadmin.kernel.cfs import Tree
from pyscstadmin.kernel.read import Standing
from tests.sim.conftest import REAL
from tests.sim.support import INITIATOR

Run = Callable[..., int]
Capture = pytest.CaptureFixture[str]
MIB = 1 << 20


@pytest.fixture
def grown(admin: Admin, backing: Path) -> Path:
    """A device d whose backing grew from 1 to 2 MiB after it was opened."""
    admin.create_device(Device("d", "fileio", path=str(backing)))
    os.truncate(backing, 2 * MIB)
    return backing


def test_growth(admin: Admin, grown: Path) -> None:
    assert admin.snapshot().device_sizes == {"d": MIB}
    assert admin.resize("d") == Resized(MIB, 2 * MIB, "active")
    assert admin.resize("d") == Resized(2 * MIB, 2 * MIB, "active")
    assert admin.standing(["d", "none"]) == {"d": Standing("active", 2 * MIB)}


def test_a_part_of_it(admin: Admin, grown: Path) -> None:
    assert admin.resize("d", MIB + 512).size == MIB + 512
    with pytest.raises(Conflict, match="--shrink"):
        admin.resize("d", MIB)
    assert admin.resize("d", MIB, shrink=True).size == MIB
    assert admin.resize("d", 0).size == 2 * MIB
    for size, number in ((MIB + 1, "EINVAL"), (4 * MIB, "ERANGE")):
        with pytest.raises(OperationError, match=number):
            admin.resize("d", size, shrink=True)


def test_what_cannot_be_resized(admin: Admin, grown: Path) -> None:
    admin.create_device(Device("n", "nullio", size=MIB))
    with pytest.raises(Conflict, match="setting"):
        admin.resize("n", 2 * MIB)
    admin.deactivate("d")
    with pytest.raises(Conflict, match="parked"):
        admin.resize("d")
    with pytest.raises(Conflict, match="no device"):
        admin.resize("x")


def test_sizes_are_no_settings(admin: Admin, grown: Path) -> None:
    before = admin.config()
    admin.resize("d")
    assert admin.config() == before
    assert "size" not in schema.to_data(before)["devices"]["fileio"]["d"]


def test_command(admin: Admin, grown: Path, tree: Tree, scstadmin: Run, capsys: Capture) -> None:
    tree.flush()
    assert scstadmin("resize", "d") == 0
    assert capsys.readouterr().out == "d: 2 MiB, was 1 MiB\n"
    assert scstadmin("--json", "resize", "d", "1M", "--shrink") == 0
    data = json.loads(capsys.readouterr().out)
    assert data == {
        "schema": "scstadmin/resize/1",
        "device": "d",
        "before": 2 * MIB,
        "size": MIB,
        "state": "active",
    }
    assert scstadmin("resize", "d", "512K") == 1
    assert "lose" in capsys.readouterr().err
    for text in ("x", "1.5", "-1", "9999999P"):
        with pytest.raises(SystemExit) as caught:
            scstadmin("resize", "d", f"{text}")
        assert caught.value.code == 2
    capsys.readouterr()
    assert scstadmin("show") == 0
    assert "1 MiB, active" in capsys.readouterr().out
    assert scstadmin("--json", "show") == 0
    assert json.loads(capsys.readouterr().out)["device_sizes"] == {"d": MIB}


def test_explain_tells_how_the_devices_are(
    admin: Admin, grown: Path, tree: Tree, scstadmin: Run, capsys: Capture
) -> None:
    luns = (Lun(0, "d"), Lun(1, "late"))
    admin.create_device(Device("late", "fileio", path="/nonexistent/x"))
    admin.create_target(Target("local", "t", groups=(Group("g", initiators=(INITIATOR,), luns=luns),)))
    tree.flush()
    words = ("explain", "--initiator", INITIATOR, "--target", "t")
    assert scstadmin(*words) == 0
    said = capsys.readouterr().out
    assert "LUN 0  d, read-write, 1 MiB\n" in said
    assert "LUN 1  late, read-write, parked (ENOENT)\n" in said
    assert scstadmin("--json", *words) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["devices"] == {
        "d": {"state": "active", "size": MIB, "read_only": False, "error": ""},
        "late": {"state": "parked", "size": 0, "read_only": False, "error": "ENOENT"},
    }


def twice(path: str, **more: Any) -> Config:
    devices = (Device("da", "fileio", path=path), Device("db", "fileio", path=f"{path}.link", **more))
    return Config(devices)


def test_one_backing_twice(
    tree: Tree, scstadmin: Run, backing: Path, tmp_path: Path, capsys: Capture
) -> None:
    """Refused by apply before anything is touched, unless it is accepted; restore serves it, and says it."""
    Path(f"{backing}.link").symlink_to(backing)
    file = tmp_path / "twice.json"
    file.write_text(schema.dumps(twice(str(backing))))
    what = f"da and db both write to {backing}, which is {backing}.link"
    assert scstadmin("plan", str(file)) == 0
    assert f"error: devices.fileio.db.path: {what}" in capsys.readouterr().out
    assert scstadmin("apply", str(file)) == 2
    captured = capsys.readouterr()
    assert what in captured.err
    assert "--accept one-backing-twice" in captured.err
    assert scstadmin("--json", "show") == 0
    assert json.loads(capsys.readouterr().out)["config"]["devices"] == {}
    assert scstadmin("--json", "apply", str(file)) == 2
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert [(one["rule"], one["where"]) for one in problems] == [
        ("one-backing-twice", "devices.fileio.db.path")
    ]
    assert scstadmin("apply", str(file), "--accept", "one-backing-twice", "--accept", "unused-device") == 0
    assert "both write" not in capsys.readouterr().out
    assert scstadmin("restore", str(file)) == 0
    assert f"warning: devices.fileio.db.path: {what}" in capsys.readouterr().out
    assert scstadmin("lint") == 2
    assert what in capsys.readouterr().out
    file.write_text(schema.dumps(twice(str(backing), read_only=True)))
    assert scstadmin("plan", str(file)) == 0
    assert "both write" not in capsys.readouterr().out


def test_random_identities_are_saved(
    tree: Tree, admin: Admin, scstadmin: Run, tmp_path: Path, capsys: Capture
) -> None:
    """Made without, saved with, and the same after everything was made anew."""
    file = str(tmp_path / "saved.json")
    admin.create_device(Device("d", "nullio", size=MIB))
    (device,) = admin.config().devices
    tree.flush()
    assert scstadmin("save", file) == 0
    saved = json.loads(Path(file).read_text())["devices"]["nullio"]["d"]["id"]
    assert saved["naa"] == saved["serial"] == device.id.naa
    assert scstadmin("clear", "--yes") == 0
    assert scstadmin("apply", file) == 0
    tree.refresh()
    assert admin.config().devices == (device,)


def test_a_rename_keeps_the_identity(tree: Tree, admin: Admin) -> None:
    """The new device cannot be enabled before the old one is gone."""
    admin.create_device(Device("old", "nullio", size=MIB))
    (device,) = admin.config().devices
    group = Group("g", initiators=(INITIATOR,), luns=(Lun(0, "old"),))
    admin.create_target(Target("local", "t", hosts=(INITIATOR,), groups=(group,)))

    def rename(config: Config) -> Config:
        new = Device("new", "nullio", size=MIB, id=device.id)
        (target,) = config.targets
        groups = (Group("g", initiators=(INITIATOR,), luns=(Lun(0, "new"),)),)
        return Config(
            (new,), (Target("local", "t", True, target.rel_tgt_id, hosts=(INITIATOR,), groups=groups),)
        )

    admin.edit(rename)
    assert [(one.name, one.id) for one in admin.config().devices] == [("new", device.id)]


@pytest.mark.skipif(REAL, reason="a closing device has to hang for that")
def test_states_on_the_way(tree: Any, admin: Admin, scstadmin: Run, backing: Path, capsys: Capture) -> None:
    """What is opening or closing is enabled or not by what was asked for."""
    admin.create_device(Device("d", "fileio", path=str(backing)))
    device = tree.find("devices/fileio/d")
    real = device.show
    for state, enabled in (("opening", "1"), ("closing", "1"), ("closing", "0")):
        shown = {"state": state, "enabled": enabled}
        device.show = lambda name, shown=shown: shown.get(name) or real(name)
        shot = admin.snapshot()
        assert (shot.device_states["d"], shot.config.devices[0].enabled) == (state, enabled == "1")
        assert shot.parked == ()
