# SPDX-License-Identifier: GPL-2.0-or-later
"""Apply and restore when something is refused, made by hand, or changed by others in between."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config import schema
from pyscstadmin.config.model import Config, Device, Group, Identity, Lun, Target
from pyscstadmin.config.plan import Operation
from pyscstadmin.errors import ApplyFailed
from pyscstadmin.kernel.cfs import Tree
from pyscstadmin.kernel.read import snapshot
from tests.sim.support import INITIATOR, OTHER

MIB = 1 << 20
DEVICES = (Device("n0", "nullio", size=MIB), Device("n1", "nullio", size=MIB))


def target(*luns: Lun, own: tuple[Lun, ...] = ()) -> Target:
    """A target with a group for one of two initiators."""
    group = Group("g", 100, (INITIATOR,), luns)
    return Target("local", "t1", rel_tgt_id=1, hosts=(INITIATOR, OTHER), luns=own, groups=(group,))


@pytest.fixture
def refused(tmp_path: Path) -> str:
    """A path that no device can be enabled with."""
    path = tmp_path / "folder"
    path.mkdir()
    return str(path)


def visible(admin: Admin, initiator: str) -> tuple[str, set[tuple[int, str]]]:
    decision = admin.explain("t1", initiator)
    return decision.group, {(lun.number, lun.device) for lun in decision.luns}


def test_restore_keeps_a_group_without_the_lun_that_is_refused(admin: Admin, refused: str) -> None:
    """Its initiators must not fall back to the target's own LUNs."""
    devices = (*DEVICES, Device("bad", "fileio", path=refused))
    wanted = Config(devices, (target(Lun(0, "n0"), Lun(1, "bad"), own=(Lun(0, "n1"),)),))
    for _ in range(2):
        outcome = admin.restore(wanted)
        assert outcome.exit_code == 4
        assert [failure.operation.text for failure in outcome.failed] == [
            f"create device fileio/bad ({refused})",
            "map bad as LUN 1 of local/t1 group g",
        ]
        assert visible(admin, INITIATOR) == ("g", {(0, "n0")})
        assert visible(admin, OTHER) == ("", {(0, "n1")})
    with pytest.raises(ApplyFailed):
        admin.apply(wanted)
    assert visible(admin, INITIATOR) == ("g", {(0, "n0")})


def test_restore_does_not_go_on_showing_another_device(admin: Admin, refused: str) -> None:
    admin.apply(Config(DEVICES, (target(Lun(0, "n0"), Lun(1, "n1")),)))
    bad = Device("bad", "fileio", path=refused)
    outcome = admin.restore(Config((*DEVICES, bad), (target(Lun(0, "bad"), Lun(1, "n0")),)))
    assert outcome.exit_code == 4
    found = admin.config().targets[0].groups[0].luns
    assert {lun.number: lun.device for lun in found if lun.device} == {1: "n0"}


def test_restore_keeps_a_device_whose_new_handler_is_refused(admin: Admin, refused: str) -> None:
    admin.apply(Config(DEVICES, (target(Lun(0, "n0")),)))
    before = admin.config()
    moved = (Device("n0", "fileio", path=refused), DEVICES[1])
    outcome = admin.restore(Config(moved, before.targets))
    assert [failure.operation.text for failure in outcome.failed] == [
        f"move device nullio/n0 to fileio/n0 ({refused})"
    ]
    assert admin.config() == before
    assert admin.snapshot().root.settled


def test_the_identity_outlives_the_handler(admin: Admin, backing: Path) -> None:
    identity = Identity(vendor="ACME", product="disk", revision="7.1", serial="S7", naa="3" * 16)
    admin.apply(Config((Device("d", "nullio", size=MIB, id=identity),)))
    admin.apply(Config((Device("d", "fileio", path=str(backing)),)))
    assert admin.config().devices[0].id == replace(identity, eui64="")


def test_a_disk_gets_another_name(admin: Admin, block_device: str) -> None:
    """The kernel opens it for one device at a time."""
    admin.apply(Config((Device("da", "blockio", path=block_device),), (target(Lun(0, "da")),)))
    wanted = Config((Device("disk", "blockio", path=block_device),), (target(Lun(0, "disk")),))
    assert admin.apply(wanted).exit_code == 0
    assert not admin.plan(wanted)
    assert admin.snapshot().device_states == {"disk": "active"}


def test_links_that_were_made_by_hand(admin: Admin, tree: Tree, refused: str) -> None:
    """Whatever a LUN's link is called, it can be changed and removed, and comes back when that is undone."""
    admin.apply(Config(DEVICES, (target(),)))
    place = "targets/local/t1/luns/0"

    def by_hand() -> None:
        tree.mkdir(place)
        tree.symlink("devices/nullio/n0", f"{place}/mine")
        assert admin.config().targets[0].luns == (Lun(0, "n0"),)

    by_hand()
    assert admin.map("t1", 0, "n1", replace=True)
    assert admin.config().targets[0].luns == (Lun(0, "n1"),)
    admin.unmap("t1", 0)
    by_hand()
    assert admin.unmap("t1", 0)
    by_hand()
    before = admin.config()
    bad = Device("n0", "fileio", path=refused)
    with pytest.raises(ApplyFailed, match="move device"):
        admin.apply(Config((bad, DEVICES[1]), before.targets))
    assert admin.config() == before
    assert tree.readlink(f"{place}/mine") == "devices/nullio/n0"
    assert admin.clear().exit_code == 0
    assert admin.config() == Config()


def test_what_others_stage_meanwhile_is_not_published(
    admin: Admin, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who ignores the lock begins to stage while a change is on its way."""
    admin.apply(Config(DEVICES, (target(Lun(0, "n0")),)))
    before = int(tree.read("generation"))
    write = type(tree).write

    def racing(self: Tree, path: str, value: str) -> None:
        if (path, value) == ("autocommit", "0"):
            monkeypatch.undo()
            write(self, "autocommit", "0")
            write(self, "targets/local/t1/groups/g/priority", "77")
        write(self, path, value)

    monkeypatch.setattr(type(tree), "write", racing)
    with pytest.raises(ApplyFailed, match="ESTALE"):
        admin.map("t1", 5, "n1")
    assert (tree.read("staged"), tree.read("autocommit")) == ("1", "0")
    assert int(tree.read("generation")) == before
    assert snapshot(tree).config.targets[0].luns == ()


def test_a_failure_on_a_tree_that_was_left_staging(admin: Admin, tree: Tree, refused: str) -> None:
    """After a commit, putting back what the tree showed has to bring it into force, too."""
    admin.apply(Config(DEVICES, (target(Lun(0, "n0")),)))
    before = admin.config()
    sessions = {session.initiator: session.luns for session in admin.sessions()}
    tree.write("autocommit", "0")
    with pytest.raises(ApplyFailed, match="nothing changed"):
        admin.apply(Config((Device("n0", "fileio", path=refused), DEVICES[1]), before.targets))
    assert snapshot(tree).config == before
    assert snapshot(tree).root.settled
    assert {session.initiator: session.luns for session in admin.sessions()} == sessions


def test_a_target_that_is_disabled_shows_nothing_new(admin: Admin) -> None:
    admin.apply(Config(DEVICES, (target(),)))
    shown: list[object] = []

    def look(done: int, total: int, operation: Operation) -> None:
        shown.extend(lun for session in admin.sessions() for lun in session.luns)

    wanted = replace(target(Lun(0, "n0"), own=(Lun(1, "n1"),)), enabled=False)
    admin.apply(Config(DEVICES, (wanted,)), progress=look)
    assert shown == []
    assert admin.config().targets == (wanted,)


def test_an_identifier_that_another_target_asks_for(admin: Admin) -> None:
    admin.apply(Config((), (Target("local", "t1"),)))
    assert admin.config().targets[0].rel_tgt_id == 1
    wanted = Config((), (Target("local", "t1"), Target("local", "t2", rel_tgt_id=1)))
    admin.apply(wanted)
    found = {found.name: found.rel_tgt_id for found in admin.config().targets}
    assert found["t2"] == 1
    assert found["t1"] not in (1, None)
    assert all(found.enabled for found in admin.config().targets)
    assert not admin.plan(wanted)


def test_what_is_done_is_said_whatever_comes_then(
    scstadmin: Callable[..., int],
    admin: Admin,
    tree: Tree,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A signal that comes when all is done changes nothing about it, nor about what is said."""
    admin.apply(Config(DEVICES))
    tree.flush()
    deactivate = Admin.deactivate

    def interrupted(self: Admin, name: str) -> str:
        state = deactivate(self, name)
        os.kill(os.getpid(), signal.SIGTERM)
        return state

    monkeypatch.setattr(Admin, "deactivate", interrupted)
    assert scstadmin("deactivate", "n0") == 0
    assert capsys.readouterr().out == "n0: parked\n"
    assert scstadmin("--json", "deactivate", "n0") == 0
    captured = capsys.readouterr()
    said = {"schema": "scstadmin/deactivate/1", "device": "n0", "state": "parked"}
    assert json.loads(captured.out) == said
    assert captured.err == ""


def test_an_apply_whose_progress_nobody_reads_is_undone(tmp_path: Path) -> None:
    """The reader goes in the middle: the pipe holds less than is said."""
    path = tmp_path / "wanted.json"
    path.write_text(schema.dumps(Config(tuple(Device(f"n{i}", "nullio", size=MIB) for i in range(300)))))
    simulated = ["--sim", str(tmp_path / "pipe")]
    command = [sys.executable, "-m", "pyscstadmin", *simulated, "-v", "apply", str(path)]
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=writer) as process:
        os.close(writer)
        said = b""
        while b"[9/" not in said:
            more = os.read(reader, 80)
            assert more, said
            said += more
        os.close(reader)
        process.communicate()
    assert process.returncode == 1
    with Admin(sim=simulated[1]) as after:
        assert after.config() == Config()
        assert after.snapshot().root.settled
