# SPDX-License-Identifier: GPL-2.0-or-later
"""The small parts: saving, locking, errors, names, rendering, sessions, the simulator's own file."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.cli import render
from pyscstadmin.config import schema
from pyscstadmin.config.model import Config, Device, Group, Iscsi, Lun, Portal, Target
from pyscstadmin.config.plan import Operation
from pyscstadmin.errors import (
    ADVICE,
    ADVICE_AT,
    ApplyFailed,
    Conflict,
    LockTimeout,
    NotPresent,
    OperationError,
    PartlyApplied,
    SaveRefused,
    Unstable,
)
from pyscstadmin.kernel import modules, read
from pyscstadmin.kernel.cfs import RealTree
from pyscstadmin.kernel.lock import locked
from pyscstadmin.kernel.sessions import Session, SessionLun, read_sessions
from pyscstadmin.sim.tree import SimTree
from pyscstadmin.store.load import load_file
from pyscstadmin.store.save import HISTORY, save

MIB = 1 << 20


def numbered(number: int) -> Config:
    return Config((Device(f"d{number}", "nullio", size=MIB),))


def test_save_keeps_history(tmp_path: Path) -> None:
    path = tmp_path / "scst.json"
    for number in range(HISTORY + 4):
        assert save(numbered(number), str(path))
        assert not save(numbered(number), str(path))
    last = HISTORY + 3
    assert load_file(str(path)) == numbered(last)
    for back in range(1, HISTORY + 1):
        assert load_file(f"{path}.{back}") == numbered(last - back)
    assert len(list(tmp_path.iterdir())) == HISTORY + 1
    assert {p.stat().st_mode & 0o777 for p in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("call", ["fsync", "rename", "link", "write", "fchmod"])
def test_save_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "scst.json"
    save(numbered(1), str(path))

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OperationError, match="ENOSPC"):
        save(numbered(2), str(path))
    monkeypatch.undo()
    assert load_file(str(path)) == numbered(1)
    assert save(numbered(2), str(path))
    assert load_file(str(path)) == numbered(2)


def test_save_through_a_link(tmp_path: Path) -> None:
    """The link stays, and the history is beside the file."""
    link = tmp_path / "etc" / "scst.json"
    link.parent.mkdir()
    link.symlink_to("../real.json")
    assert save(numbered(1), str(link))
    assert save(numbered(2), str(link))
    assert link.is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"etc", "real.json", "real.json.1"}
    assert load_file(str(tmp_path / "real.json")) == numbered(2)


def test_save_replaces_files_only(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "fifo")
    for path in ("null", "fifo"):
        with pytest.raises(Conflict, match="is not a file"):
            save(numbered(1), str(tmp_path / path), force=True)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OperationError, match="EISDIR"):
        save(numbered(1), str(tmp_path / "folder"))
    (tmp_path / "ring").symlink_to("ring")
    with pytest.raises(OperationError, match="ELOOP"):
        save(numbered(1), str(tmp_path / "ring"))
    assert {path.name for path in tmp_path.iterdir()} == {"null", "fifo", "folder", "ring"}
    assert os.readlink(tmp_path / "null") == "/dev/null"


def test_what_could_not_be_restored_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scst.json"
    assert save(numbered(1), str(path))
    odd = Config((Device("d", "nullio", enabled=False, size=513),))
    with pytest.raises(Conflict, match="multiple of the block size"):
        save(odd, str(path), force=True)
    dumps = schema.dumps
    monkeypatch.setattr("pyscstadmin.store.save.dumps", lambda config: dumps(config).replace("d2", "d3"))
    with pytest.raises(Conflict, match="another configuration"):
        save(numbered(2), str(path))
    assert load_file(str(path)) == numbered(1)
    assert [p.name for p in tmp_path.iterdir()] == ["scst.json"]


def test_save_waits_for_a_change_under_way(tmp_path: Path) -> None:
    """What a file says is never the middle of another's change."""
    directory = str(tmp_path)
    with Admin(sim=directory, lock_timeout=0.05) as admin, Admin(sim=directory) as other:
        other.apply(numbered(1))

        def save_meanwhile(done: int, total: int, operation: Operation) -> None:
            with pytest.raises(LockTimeout):
                admin.save()

        other.apply(Config((), (Target("local", "t"),)), progress=save_meanwhile)
        assert admin.save()
        assert load_file(admin.default_file) == other.config()


def _saver(directory: str, number: int, count: int) -> None:
    with Admin(sim=directory, lock_timeout=60) as admin:
        for index in range(count):
            admin.create_device(Device(f"s{number}.{index}", "nullio", size=MIB))
            admin.save()


def test_concurrent_saves_lose_nothing(tmp_path: Path) -> None:
    directory = str(tmp_path)
    context = multiprocessing.get_context("spawn")
    savers = [context.Process(target=_saver, args=(directory, number, 8)) for number in range(4)]
    for saver in savers:
        saver.start()
    for saver in savers:
        saver.join(60)
        assert saver.exitcode == 0
    assert not [path.name for path in tmp_path.iterdir() if "new" in path.name]
    files = [tmp_path / "scst.json", *(tmp_path / f"scst.json.{back}" for back in range(1, HISTORY + 1))]
    counts = [len(load_file(str(path)).devices) for path in files]
    assert counts[0] == 32
    assert counts == sorted(set(counts), reverse=True)


def spoilt(tmp_path: Path) -> tuple[Admin, SimTree]:
    """Two targets, saved, of which one is lost in a change that fails and cannot be undone."""
    tree = SimTree()
    admin = Admin(tree=tree, state_dir=str(tmp_path / "run"))
    targets = (Target("local", "t"), Target("local", "u"))
    admin.apply(Config(numbered(1).devices, targets))
    admin.save(str(tmp_path / "scst.json"))
    failed = [False]

    def inject(operation: str, path: str, value: str | None) -> int | None:
        if (operation, path, value) == ("write", "targets/local/t/rel_tgt_id", "9"):
            failed[0] = True
            return errno.ENOMEM
        return errno.ENOMEM if failed[0] and (operation, path) == ("mkdir", "targets/local/u") else None

    tree.inject = inject
    return admin, tree


@pytest.mark.parametrize("how", ["apply", "edit"])
def test_what_could_not_be_undone_is_not_saved(tmp_path: Path, how: str) -> None:
    admin, tree = spoilt(tmp_path)
    path = tmp_path / "scst.json"
    before = path.read_bytes()
    wanted = Config(numbered(1).devices, (Target("local", "t", rel_tgt_id=9),))
    with pytest.raises(PartlyApplied):
        admin.apply(wanted) if how == "apply" else admin.edit(lambda config: wanted)
    tree.inject = None
    assert len(admin.config().targets) == 1
    with pytest.raises(SaveRefused, match=r"left behind by a change that failed .*targets/local/u"):
        admin.save(str(path))
    assert path.read_bytes() == before
    assert admin.apply(load_file(str(path))).exit_code == 0
    assert not admin.save(str(path))


def test_a_note_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    admin, tree = spoilt(tmp_path)
    note = tmp_path / "run" / "degraded"
    note.mkdir()
    with pytest.raises(PartlyApplied, match=r"no note for `save`: note .*EISDIR"):
        admin.apply(Config(numbered(1).devices, (Target("local", "t", rel_tgt_id=9),)))
    tree.inject = None
    (tmp_path / "folder").mkdir()
    bad = Device("bad", "fileio", path=str(tmp_path / "folder"))
    outcome = admin.restore(Config((*numbered(1).devices, bad)))
    assert outcome.exit_code == 4
    assert "note for `save`" in outcome.failed[-1].operation.text
    assert outcome.failed[-1].error.path == str(note)


def test_creating_loads_the_core_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = str(tmp_path / "scst")
    loaded: list[str] = []

    def modprobe(names: Iterator[str], where: str) -> None:
        loaded.extend(names)

    monkeypatch.setattr("pyscstadmin.admin.provision.ROOT", root)
    monkeypatch.setattr(modules, "modprobe", modprobe)
    with Admin(root, state_dir=str(tmp_path)) as admin:
        with pytest.raises(NotPresent):
            admin.create_device(Device("d", "nullio", size=MIB))
        assert loaded == ["scst"]
        with pytest.raises(NotPresent):
            admin.create_target(Target("local", "t"))
        assert loaded == ["scst"] * 2


def test_nothing_is_not_saved_over_something(tmp_path: Path) -> None:
    path = tmp_path / "scst.json"
    assert save(Config(), str(path))
    assert save(numbered(1), str(path))
    with pytest.raises(SaveRefused, match="--force"):
        save(Config(), str(path))
    assert load_file(str(path)) == numbered(1)
    assert save(Config(), str(path), force=True)
    path.write_text("something else")
    with pytest.raises(SaveRefused):
        save(Config(), str(path))


def test_a_degraded_state_is_not_saved(tmp_path: Path) -> None:
    tree = SimTree()
    admin = Admin(tree=tree, state_dir=str(tmp_path))
    admin.apply(numbered(1))
    path = tmp_path / "scst.json"

    def unmapped() -> None:
        tree.mkdir("targets/local/t")
        tree.mkdir("targets/local/t/luns/4")

    def staged() -> None:
        tree.write("autocommit", "0")
        tree.mkdir("targets/local/t/groups/g")
        tree.mkdir("targets/local/t/groups/g/initiators/x")

    def disabled() -> None:
        tree.write("devices/nullio/d1/enabled", "0")

    spoilers = ((disabled, "not enabled"), (unmapped, "LUN 4 of local/t has no"), (staged, "staged"))
    for spoil, reason in spoilers:
        spoil()
        with pytest.raises(SaveRefused, match=reason):
            admin.save(str(path))
    assert not path.exists()
    assert admin.save(str(path), force=True)
    load_file(str(path))


def test_lock_times_out(tmp_path: Path) -> None:
    path = str(tmp_path / "run" / "lock")
    with locked(path), pytest.raises(LockTimeout, match=r"more than 0\.1 s"), locked(path, 0.1):
        pytest.fail("the lock was given twice")
    with locked(path, 0):
        pass


def _writer(directory: str, number: int, count: int) -> None:
    admin = Admin(sim=directory, lock_timeout=60)
    for index in range(count):
        admin.create_device(Device(f"w{number}.{index}", "nullio", size=MIB))
        admin.add_initiator("t", "g", f"w{number}.{index}")
    admin.close()


def test_concurrent_writers_lose_nothing(tmp_path: Path) -> None:
    directory = str(tmp_path)
    with Admin(sim=directory) as admin:
        admin.apply(Config((), (Target("local", "t", groups=(Group("g"),)),)))
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_writer, args=(directory, number, 8)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    with Admin(sim=directory) as admin:
        config = admin.config()
    expected = {f"w{number}.{index}" for number in range(3) for index in range(8)}
    assert {device.name for device in config.devices} == expected
    assert set(config.targets[0].groups[0].initiators) == expected


def test_sim_state_is_kept(tmp_path: Path) -> None:
    with Admin(sim=str(tmp_path)) as admin:
        admin.apply(numbered(1))
        assert admin.default_file == str(tmp_path / "scst.json")
        assert not admin.plan(numbered(1))
    assert {p.name for p in tmp_path.iterdir()} == {"state.json", "lock", "lock.queue"}
    with Admin(sim=str(tmp_path)) as admin:
        admin.create_device(Device("other", "nullio", size=MIB))
        assert {p.name for p in tmp_path.iterdir()} == {"state.json", "state.1.log", "lock", "lock.queue"}
        admin.remove_device("other")
    with Admin(sim=str(tmp_path)) as admin:
        assert not admin.plan(numbered(1))
        other = Admin(sim=str(tmp_path))
        other.apply(numbered(2))
        assert not admin.plan(numbered(2))


def test_sim_durable_keeps_each_call(tmp_path: Path) -> None:
    tree = SimTree(str(tmp_path), durable=True)
    tree.mkdir("targets/local/t")
    assert SimTree(str(tmp_path)).list("targets/local") == ["t"]


def test_sim_refuses_foreign_state(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(NotPresent, match=r"state\.json"):
        SimTree(str(tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(NotPresent):
        SimTree(str(tmp_path / "file"))


def test_sim_parks_when_the_disk_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backing = tmp_path / "b"
    # No disk, but opened as if it were one.
    monkeypatch.setattr(
        "pyscstadmin.sim.device.Device._probe", lambda self: setattr(self, "opened", str(backing))
    )
    backing.write_bytes(bytes(MIB))
    tree = SimTree()
    admin = Admin(tree=tree, state_dir=str(tmp_path))
    admin.apply(
        Config((Device("d", "blockio", path=str(backing)),), (Target("local", "t", luns=(Lun(0, "d"),)),))
    )
    backing.rename(tmp_path / "aside")
    assert tree.read("targets/local/t/luns/0/state") == "parked"
    assert admin.snapshot().parked == ("d",)
    (tmp_path / "aside").rename(backing)
    assert admin.activate("d") == "active"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """control-C raises, also where the tests run as a job in the background, in which it is ignored."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


@pytest.mark.usefixtures("interruptible")
def test_interrupted_apply_is_undone(tmp_path: Path) -> None:
    tree = SimTree()
    admin = Admin(tree=tree, state_dir=str(tmp_path))

    def stop(done: int, total: int, operation: Operation) -> None:
        if operation.text.startswith("commit"):
            raise KeyboardInterrupt

    target = Target("local", "t", luns=(Lun(0, "d1"),))
    with pytest.raises(ApplyFailed, match="interrupted"):
        admin.apply(Config(numbered(1).devices, (target,)), progress=stop)
    assert admin.config() == Config()
    interrupts = [0]

    def inject(operation: str, path: str, value: str | None) -> int | None:
        if path == "commit" and not interrupts[0]:
            interrupts[0] = 1
            os.kill(os.getpid(), signal.SIGINT)
        return None

    tree.inject = inject
    with pytest.raises(ApplyFailed, match="interrupted"):
        admin.apply(Config(numbered(1).devices, (target,)))
    assert admin.config() == Config()


def test_unstable_trees_are_said_to_be() -> None:
    tree = SimTree()
    tree.mkdir("targets/local/t")
    tree.mkdir("targets/local/t/groups/g")
    count = [0]

    def inject(operation: str, path: str, value: str | None) -> int | None:
        if path == "targets/local/t/state":
            count[0] += 1
            tree.inject = None
            tree.mkdir(f"targets/local/t/groups/g/initiators/i{count[0]}")
            tree.inject = inject
        return errno.ENOENT if path == "device_table" else None

    tree.inject = inject
    with pytest.raises(Unstable):
        read.snapshot(tree)


def test_a_device_that_goes_while_it_is_read(tmp_path: Path) -> None:
    """From a kernel that has no table of them."""
    tree = SimTree()
    Admin(tree=tree, state_dir=str(tmp_path)).apply(Config((*numbered(1).devices, *numbered(2).devices)))

    def inject(operation: str, path: str, value: str | None) -> int | None:
        if path == "devices/nullio/d2/size":
            tree.inject = None
            tree.rmdir("devices/nullio/d2")
        return errno.ENOENT if path == "device_table" else None

    tree.inject = inject
    assert [device.name for device in read.snapshot(tree).config.devices] == ["d1"]
    absent = ("device_table", "devices/nullio/d1/size")
    tree.inject = lambda *call: errno.ENOENT if call[1] in absent else None
    with pytest.raises(OperationError, match="ENOENT"):
        read.snapshot(tree)


def test_a_table_without_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from a kernel module that does not have it, or of a handler that is not known here."""
    tree = SimTree()
    Admin(tree=tree, state_dir=str(tmp_path)).apply(numbered(1))
    whole = tree.read("device_table")

    def shows(text: str) -> None:
        monkeypatch.setattr(tree, "read_all", lambda path: text)

    shows("\n".join(line for line in whole.split("\n") if not line.startswith("stop_unit ")))
    with pytest.raises(OperationError, match=r"devices/nullio/d1/stop_unit: ENOENT"):
        read.snapshot(tree)
    shows(whole.replace("/nullio/", "/tape/"))
    with pytest.raises(Conflict, match="tape"):
        read.snapshot(tree)
    shows(f"{whole}\n\n\n")
    assert [device.name for device in read.devices(tree)] == ["d1"]


def test_devices_that_come_and_go_all_the_time() -> None:
    tree = SimTree()
    tree.mkdir("devices/nullio/d0")

    def inject(operation: str, path: str, value: str | None) -> int | None:
        name = path.split("/")[2] if path.endswith("/size") else ""
        if name:
            tree.inject = None
            tree.rmdir(f"devices/nullio/{name}")
            tree.mkdir(f"devices/nullio/d{int(name[1:]) + 1}")
            tree.inject = inject
        return errno.ENOENT if path == "device_table" else None

    tree.inject = inject
    with pytest.raises(Unstable):
        read.snapshot(tree)


def test_an_emptied_group_is_made_again(tmp_path: Path) -> None:
    tree = SimTree()
    admin = Admin(tree=tree, state_dir=str(tmp_path))
    admin.apply(Config((), (Target("local", "t", groups=(Group("g", 5),)),)))
    assert admin.config().targets[0].groups == (Group("g", 5),)
    tree.rmdir("targets/local/t/groups/g")
    tree.mkdir("targets/local/t/groups/g")
    assert admin.config().targets[0].groups == (Group("g"),)


def test_objects_that_are_not_known(tmp_path: Path) -> None:
    root = tmp_path / "scst"
    (root / "devices" / "tape" / "x").mkdir(parents=True)
    (root / "targets").mkdir()
    for name, value in (("generation", "1"), ("staged", "0"), ("autocommit", "1")):
        (root / name).write_text(value + "\n")
    with pytest.raises(Conflict, match="handler tape"):
        read.snapshot(RealTree(str(root)))


def test_real_tree_notices_a_new_root(tmp_path: Path) -> None:
    root = tmp_path / "scst"
    root.mkdir()
    (root / "generation").write_text("1\n")
    (root / "version").write_text("1\n")
    tree = RealTree(str(root))
    assert not tree.refresh()
    root.rename(tmp_path / "old")
    with pytest.raises(NotPresent):
        tree.refresh()
    root.mkdir()
    with pytest.raises(NotPresent, match="another directory"):
        tree.refresh()
    (root / "generation").write_text("1\n")
    (root / "version").write_text("2\n")
    assert tree.read("version") == "1"
    assert tree.refresh()
    assert tree.read("version") == "2"
    tree.close()


def test_real_tree_reads_kernel_link_texts(tmp_path: Path) -> None:
    root = tmp_path / "scst"
    lun = root / "targets/local/t/luns/0"
    lun.mkdir(parents=True)
    (root / "devices/nullio/d").mkdir(parents=True)
    (root / "generation").write_text("1\n")
    (lun / "device").symlink_to("../../../../../../scst/devices/nullio/d")
    tree = RealTree(str(root))
    assert tree.readlink("targets/local/t/luns/0/device") == "devices/nullio/d"
    tree.symlink("devices/nullio/d", "targets/local/t/luns/0/other")
    assert tree.readlink("targets/local/t/luns/0/other") == "devices/nullio/d"
    tree.close()


def test_missing_modules() -> None:
    config = Config(numbered(1).devices, (Target("local", "t"),))
    tree = SimTree()
    assert modules.missing(tree, config) == {}
    del tree.top.devices.children["nullio"]
    del tree.top.targets.children["local"]
    assert modules.missing(tree, config) == {"devices/nullio": "scst_nullio", "targets/local": "scst_local"}
    del tree.top.targets.children["iscsi"]
    # A portal comes before the targets that are reached there.
    assert modules.missing(tree, Config(iscsi=Iscsi([Portal("p")]))) == {"targets/iscsi": "scst_iscsi"}


@pytest.mark.parametrize(
    ("script", "said"), [("exit 0", ""), ("echo no such module >&2; exit 1", "no such module")]
)
def test_modprobe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str) -> None:
    program = tmp_path / "modprobe"
    program.write_text(f'#!/bin/sh\n[ "$1" = -- ] || exit 9\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if not said:
        modules.modprobe(["scst"], "here")
        return
    with pytest.raises(NotPresent, match=said):
        modules.modprobe(["scst"], "here")
    program.unlink()
    with pytest.raises(NotPresent, match="there is no modprobe"):
        modules.modprobe(["scst"], "here")


def test_every_documented_errno_has_advice() -> None:
    documented = "EINVAL ERANGE ENAMETOOLONG EEXIST ENODATA ENODEV EBUSY EPERM ENOTEMPTY ESTALE ENOMEM"
    for name in documented.split():
        assert ADVICE[getattr(errno, name)]
    assert all(ADVICE_AT.values())


def test_operation_errors_say_everything() -> None:
    error = OperationError("write", "/x/devices/fileio/d/enabled", "1", errno.EBUSY)
    assert str(error).startswith("write '1' to /x/devices/fileio/d/enabled: EBUSY (")
    assert "unmap the LUNs" in error.advice
    assert error.as_dict()["errno"] == "EBUSY"
    assert "..." in str(OperationError("write", "/x", "y" * 500, errno.EINVAL))


def test_sizes() -> None:
    assert [render.size_text(n) for n in (0, 512, 1024, 1536, MIB, 1 << 40, 3 << 50)] == [
        "0 B",
        "512 B",
        "1 KiB",
        "1.5 KiB",
        "1 MiB",
        "1.0 TiB",
        "3.0 PiB",
    ]


def test_show_is_a_tree() -> None:
    luns = (Lun(0, "d1"), Lun(1, "d2", True))
    config = Config(
        (Device("d1", "nullio", size=MIB), Device("d2", "fileio", path="/x", o_direct=True)),
        (Target("local", "t", rel_tgt_id=1, hosts=("h",), groups=(Group("g", 5, ("a",), luns), Group("e"))),),
    )
    root = read.RootState(7, False, True)
    states = {"d1": "active", "d2": "parked"}
    on = {("local", "t"): "enabled"}
    shot = read.Snapshot(config, root, states, on, device_errors={"d2": "ENOENT"})
    lines = list(render.show_lines(shot))
    assert lines == [
        "devices",
        "├─ d1  nullio, 1 MiB, active",
        "└─ d2  fileio, /x, parked (ENOENT), o-direct",
        "targets",
        "└─ local/t  enabled, relative id 1",
        "   ├─ hosts h",
        "   ├─ group e: nobody",
        "   │  └─ no LUNs",
        "   └─ group g (priority 5): a",
        "      ├─ LUN 0  d1, read-write",
        "      └─ LUN 1  d2, read-only, parked (ENOENT)",
        "generation 7",
    ]


def test_sessions_are_read_from_sysfs(tmp_path: Path) -> None:
    assert read_sessions(str(tmp_path / "none")) == []
    values = {
        "target": "local/t1",
        "initiator": "iqn:a",
        "group": "",
        "luns": "0 d1 rw\n5 d2 ro\n6 d3 rw",
        "limits": "5 100 0 0 4096 50 3 70 2500000\n6 0 0 0 0 100 0 0 0",
        "commands": "7",
        "read_bytes": "4096",
        "write_bytes": "0",
        "aborted": "1",
        "lun_resets": "0",
        "unit_attentions": "2",
        "busy": "0",
        "task_set_full": "4",
        "check_conditions": "3",
    }
    for number in (10, 9):
        (tmp_path / f"session.{number}").mkdir()
        for name, value in values.items():
            (tmp_path / f"session.{number}" / name).write_text(value + "\n")
    (tmp_path / "session.11").mkdir()
    (tmp_path / "device.d1").mkdir()
    limited = SessionLun(5, "d2", True, 100, 0, 0, 4096, 50, 3, 70, 2500000)
    luns = (SessionLun(0, "d1", False), limited, SessionLun(6, "d3", False))
    counts = (7, 4096, 0, 1, 0, 2, 0, 4, 3)
    expected = [Session(f"session.{n}", "local/t1", "iqn:a", "", luns, *counts) for n in (9, 10)]
    assert read_sessions(str(tmp_path)) == expected
    shown = list(render.session_lines(expected))
    assert "read 4 KiB" in shown[0]
    assert shown[1] == "  1 aborted, 2 UNIT ATTENTION, 3 CHECK CONDITION, 4 TASK SET FULL"
    assert shown[2:5] == [
        "  LUN 0  d1, read-write",
        (
            "  LUN 5  d2, read-only, read_iops=100, write_bytes_per_sec=4096, burst=50; "
            "70 commands waited 2.5 s together, 3 wait now"
        ),
        "  LUN 6  d3, read-write",
    ]
    quiet = list(render.session_lines([Session("session.1", "local/t1", "iqn:a", "", (), 7, 4096, 0)]))
    assert len(quiet) == 1


def test_importing_does_nothing_heavy() -> None:
    """Start-up time is part of the interface; what only some commands need is imported by them."""
    code = "import sys, pyscstadmin.__main__ as m; m.cli.parsed(['show'], m.FACES); print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    rooms = ("pyscstadmin.sim", "pyscstadmin.shell", "pyscstadmin.watch")
    for heavy in ("jsonschema", "pyudev", "configshell", "rich", "subprocess", *rooms):
        assert heavy not in found
