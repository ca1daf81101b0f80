# SPDX-License-Identifier: GPL-2.0-or-later
"""The provisioning interface on the tree: apply, edit, map, and what happens when something is in the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config import schema
from pyscstadmin.config.model import Config, Device, Group, Identity, Lun, Target
from pyscstadmin.errors import ApplyFailed, Conflict, InvalidInput, OperationError, PendingChanges
from pyscstadmin.kernel.cfs import Tree
from pyscstadmin.kernel.read import snapshot
from pyscstadmin.store.load import load_file
from tests.sim.support import INITIATOR, OTHER, null_device

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.json"))
MIB = 1 << 20


def settings() -> Config:
    """A configuration with something of everything."""
    devices = (
        Device("n0", "nullio", size=MIB),
        Device(
            "n1", "nullio", size=MIB, block_size=4096, rotational=True, id=Identity(serial="S1", naa="3" * 16)
        ),
        Device("late", "fileio", path="/nonexistent/late.img", read_only=True, o_direct=True),
    )
    groups = (
        Group("g0", 10, (INITIATOR,), (Lun(0, "n0"), Lun(1, "late", True))),
        Group("g1", initiators=("*:b", "!iqn*"), luns=(Lun(5, "n1"), Lun(16383, "n0", True))),
    )
    t1 = Target("local", "t1", rel_tgt_id=5, hosts=(INITIATOR, OTHER), luns=(Lun(3, "n1"),), groups=groups)
    t2 = Target("local", "t2", enabled=False, rel_tgt_id=1, auto_rescan=False)
    return Config(devices, (t1, t2))


def test_apply_reads_back(admin: Admin) -> None:
    outcome = admin.apply(settings())
    assert (outcome.exit_code, outcome.parked) == (3, ("late",))
    found = admin.config()
    assert not admin.plan(settings())
    assert schema.loads(schema.dumps(found)) == found
    assert found.target("local", "t1") == settings().target("local", "t1")
    assert found.device("n1") is not None
    assert found.device("n1").id.serial == "S1"  # type: ignore[union-attr]


def test_a_cached_read_equals_a_fresh_one(admin: Admin) -> None:
    admin.apply(settings())
    cached = admin.snapshot()
    assert cached == snapshot(admin.tree)
    assert admin.snapshot() == cached


def test_apply_twice_does_nothing(admin: Admin) -> None:
    admin.apply(settings())
    before = admin.tree.read("generation")
    outcome = admin.apply(settings())
    assert outcome.done == ()
    assert (outcome.exit_code, outcome.parked) == (3, ("late",))
    assert admin.tree.read("generation") == before


def test_apply_is_one_generation(admin: Admin) -> None:
    admin.apply(settings())
    before = int(admin.tree.read("generation"))
    other = Group("g2", initiators=("x",), luns=(Lun(0, "n0"),))
    wanted = settings()
    target = replace(wanted.targets[0], luns=(), groups=(wanted.targets[0].groups[0], other))
    admin.apply(replace(wanted, targets=(target, wanted.targets[1])))
    assert int(admin.tree.read("generation")) == before + 1


def test_clear(admin: Admin) -> None:
    admin.apply(settings())
    assert admin.clear().exit_code == 0
    assert admin.config() == Config()
    assert admin.clear().done == ()


def test_a_device_changes_under_its_luns(admin: Admin) -> None:
    admin.apply(settings())
    admin.change_device("n1", block_size=512, id=Identity(serial="S2"))
    wanted = settings()
    found = admin.config()
    assert found.targets == wanted.targets
    assert found.device("n1").block_size == 512  # type: ignore[union-attr]
    assert found.device("n1").id == replace(found.device("n1").id, serial="S2", naa="3" * 16)  # type: ignore[union-attr]


def test_a_device_changes_its_handler(admin: Admin, backing: Path) -> None:
    admin.apply(settings())
    serial = admin.config().device("n0").id.serial  # type: ignore[union-attr]
    wanted = settings()
    devices = tuple(
        Device("n0", "fileio", path=str(backing)) if d.name == "n0" else d for d in wanted.devices
    )
    admin.apply(replace(wanted, devices=devices))
    found = admin.config()
    assert found.targets == wanted.targets
    assert found.device("n0").handler == "fileio"  # type: ignore[union-attr]
    assert found.device("n0").id.serial == serial  # type: ignore[union-attr]


def test_identifiers_change_places(admin: Admin) -> None:
    def ids(*numbers: int) -> Config:
        return Config((), tuple(Target("local", f"t{i}", rel_tgt_id=n) for i, n in enumerate(numbers)))

    for numbers in ((1, 2, 3), (2, 3, 1), (2, 1, 3), (3, 2), (1, 2, 3), (4, 3, 2, 1)):
        admin.apply(ids(*numbers))
        assert [target.rel_tgt_id for target in admin.config().targets] == list(numbers)


def test_targets_without_identifier_get_free_ones(admin: Admin) -> None:
    admin.apply(Config((), (Target("local", "a"), Target("local", "b", rel_tgt_id=1), Target("local", "c"))))
    assert len({target.rel_tgt_id for target in admin.config().targets}) == 3
    assert admin.config().target("local", "b").rel_tgt_id == 1  # type: ignore[union-attr]


def test_map_and_unmap(admin: Admin) -> None:
    admin.apply(settings())
    assert admin.map("local/t1", 9, "n0", group="g0", read_only=True)
    assert not admin.map("t1", 9, "n0", group="g0", read_only=True)
    group = admin.config().target("local", "t1").group("g0")  # type: ignore[union-attr]
    assert group is not None
    assert Lun(9, "n0", True) in group.luns
    assert not admin.map("t1", 9, "n0", group="g0")  # who does not say how leaves it as it is
    assert admin.map("t1", 9, "n0", group="g0", read_only=False)
    with pytest.raises(Conflict):
        admin.map("t1", 9, "n1", group="g0")
    assert admin.map("t1", 9, "n1", group="g0", replace=True)
    assert admin.map("t1", 9, "n1")
    assert admin.unmap("t1", 9, group="g0")
    assert admin.unmap("t1", 9)
    with pytest.raises(Conflict):
        admin.unmap("t1", 9)
    assert not admin.unmap("t1", 9, missing_ok=True)
    assert not admin.plan(settings())


@pytest.mark.parametrize(
    ("target", "device", "group", "said"),
    [
        ("local/t9", "n0", "", "t9"),
        ("t9", "n0", "", "t9"),
        ("t1", "n7", "", "did you mean"),
        ("t1", "n0", "g9", "did you mean"),
        ("other/t1", "n0", "", "other/t1"),
    ],
)
def test_map_names_what_is_missing(admin: Admin, target: str, device: str, group: str, said: str) -> None:
    admin.apply(settings())
    with pytest.raises(Conflict, match=said):
        admin.map(target, 0 if group else 99, device, group=group)
    assert not admin.plan(settings())


def test_small_edits(admin: Admin, backing: Path) -> None:
    admin.create_device(Device("d", "fileio", path=str(backing)))
    with pytest.raises(Conflict, match="device d already, of fileio"):
        admin.create_device(Device("d", "nullio", size=MIB))
    admin.create_target(Target("local", "t"))
    with pytest.raises(Conflict):
        admin.create_target(Target("local", "t"))
    admin.add_host("t", INITIATOR)
    admin.create_group("t", Group("g"))
    admin.add_initiator("t", "g", INITIATOR)
    with pytest.raises(Conflict):
        admin.add_initiator("t", "g", INITIATOR.upper())
    admin.map("t", 0, "d", group="g")
    admin.change_group("t", "g", priority=7)
    admin.change_target("t", enabled=False)
    wanted = Target(
        "local",
        "t",
        enabled=False,
        rel_tgt_id=1,
        hosts=(INITIATOR,),
        groups=(Group("g", 7, (INITIATOR,), (Lun(0, "d"),)),),
    )
    assert admin.config().targets == (wanted,)
    with pytest.raises(ApplyFailed, match="EBUSY"):
        admin.remove_device("d")
    admin.remove_initiator("t", "g", INITIATOR)
    admin.remove_group("t", "g")
    admin.remove_host("t", INITIATOR)
    admin.remove_target("t")
    admin.remove_device("d")
    assert admin.config() == Config()


def test_what_is_not_there(admin: Admin) -> None:
    for call in (
        lambda: admin.remove_device("x"),
        lambda: admin.change_device("x", size=1),
        lambda: admin.remove_target("x"),
        lambda: admin.add_host("x", "y"),
        lambda: admin.activate("x"),
        lambda: admin.explain("x", "y"),
    ):
        with pytest.raises(Conflict):
            call()


def test_parking_by_hand(admin: Admin, backing: Path) -> None:
    admin.create_device(Device("d", "fileio", path=str(backing)))
    assert admin.deactivate("d") == "parked"
    assert admin.activate("d") == "active"
    backing.unlink()
    assert admin.deactivate("d") == "parked"
    with pytest.raises(OperationError, match="stays parked"):
        admin.activate("d")


def test_sessions_and_explain_agree(admin: Admin, tree: Tree) -> None:
    admin.apply(settings())
    seen = {session.initiator: session for session in admin.sessions() if session.target == "local/t1"}
    assert set(seen) == {INITIATOR, OTHER}
    for initiator, session in seen.items():
        decision = admin.explain("t1", initiator)
        assert decision.group == session.group
        assert [(lun.number, lun.device, lun.read_only) for lun in decision.luns] == [
            (lun.number, lun.device, lun.read_only) for lun in session.luns
        ]


def test_a_failure_changes_nothing(admin: Admin, tmp_path: Path) -> None:
    admin.apply(settings())
    before = admin.config()
    (tmp_path / "folder").mkdir()
    bad = Device("zz", "fileio", path=str(tmp_path / "folder"))
    wanted = settings()
    with pytest.raises(ApplyFailed, match="EINVAL"):
        admin.apply(replace(wanted, devices=(*wanted.devices, bad), targets=()))
    assert admin.config() == before
    assert admin.snapshot().root.settled


def test_restore_leaves_out_what_fails(admin: Admin, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    wanted = settings()
    bad = Device("bad", "fileio", path=str(tmp_path / "folder"))
    target = replace(wanted.targets[1], luns=(Lun(0, "bad"), Lun(1, "n0")))
    outcome = admin.restore(
        replace(wanted, devices=(*wanted.devices, bad), targets=(wanted.targets[0], target))
    )
    assert outcome.exit_code == 4
    assert len(outcome.failed) == 2
    found = admin.config()
    assert found.device("bad") is None
    assert found.target("local", "t2").luns == (Lun(1, "n0"),)  # type: ignore[union-attr]
    assert found.target("local", "t1") == wanted.target("local", "t1")
    path = tmp_path / "good.json"
    path.write_text('{"version": 1}')
    with pytest.raises(Exception, match="left out by the last restore"):
        admin.save(str(path))
    assert path.read_text() == '{"version": 1}'
    admin.apply(wanted)
    admin.save(str(path))
    assert load_file(str(path)) == admin.config()


def test_apply_converges_after_a_crash(admin: Admin, tree: Tree) -> None:
    """What is staged when a program dies is part of what the next apply brings to the wanted state."""
    admin.apply(settings())
    tree.write("autocommit", "0")
    null_device(tree, "half")
    tree.mkdir("targets/local/t1/groups/half")
    tree.mkdir("targets/local/t1/groups/half/luns/0")
    tree.symlink("devices/nullio/half", "targets/local/t1/groups/half/luns/0/device")
    tree.unlink("targets/local/t1/luns/3/device")
    with pytest.raises(PendingChanges):
        admin.map("t1", 8, "n0")
    assert admin.apply(settings()).exit_code == 3
    assert admin.snapshot().root.settled
    assert not admin.plan(settings())


def test_another_writer_makes_the_commit_stale(
    admin: Admin, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who ignores the lock publishes while an apply is on its way."""
    admin.apply(settings())
    write = type(tree).write

    def racing(self: Tree, path: str, value: str) -> None:
        if (path, value) == ("autocommit", "0"):
            monkeypatch.undo()
            write(self, "targets/local/t1/groups/g0/priority", "77")
        write(self, path, value)

    monkeypatch.setattr(type(tree), "write", racing)
    with pytest.raises(ApplyFailed, match="ESTALE"):
        admin.apply(replace(settings(), targets=()))
    found = admin.config()
    assert found.target("local", "t1").group("g0").priority == 77  # type: ignore[union-attr]
    assert found.target("local", "t1").luns == settings().targets[0].luns  # type: ignore[union-attr]
    assert admin.snapshot().root.settled


def test_a_lun_that_another_writer_moves_meanwhile_is_not_overwritten(
    admin: Admin, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who ignores the lock changes a LUN after it was looked at."""
    admin.apply(settings())
    read, path = type(tree).read, "targets/local/t1/luns/3"
    changes: tuple[Callable[[], object], ...] = (
        lambda: admin.map("t1", 3, "n0", replace=True),
        lambda: admin.unmap("t1", 3),
        lambda: admin.change_lun("t1", 3, read_only=True),
    )
    for change in changes:

        def racing(self: Tree, name: str) -> str:
            if name == "devices/nullio/n1/state":
                monkeypatch.undo()
                tree.unlink(f"{path}/device")
                tree.symlink("devices/fileio/late", f"{path}/device")
            return read(self, name)

        monkeypatch.setattr(type(tree), "read", racing)
        with pytest.raises(ApplyFailed, match="ESTALE"):
            change()
        assert admin.config().target("local", "t1").luns == (Lun(3, "late"),)  # type: ignore[union-attr]
        assert admin.snapshot().root.settled
        admin.apply(settings())


def test_change_lun(admin: Admin) -> None:
    admin.apply(settings())
    assert admin.change_lun("t1", 3, read_only=True)
    assert not admin.change_lun("t1", 3, device="n1")
    assert admin.change_lun("t1", 3, device="n0")
    assert admin.change_lun("t1", 1, group="g0", device="n0", read_only=False)
    target = admin.config().target("local", "t1")
    assert target is not None
    assert target.luns == (Lun(3, "n0", True),)
    assert target.groups[0].luns == (Lun(0, "n0"), Lun(1, "n0"))
    for number, device, said in ((4, "n0", "no LUN 4"), (3, "n8", "no device n8"), (3, "", "needs a device")):
        with pytest.raises(Conflict, match=said):
            admin.change_lun("t1", number, device=device)
    assert admin.change_lun("t1", 3, read_iops=100, burst=10)
    assert not admin.change_lun("t1", 3, read_iops=100)
    assert admin.map("t1", 3, "n1", replace=True)
    assert admin.map("t1", 3, "n0", read_only=False, replace=True)
    target = admin.config().target("local", "t1")
    assert target is not None
    assert target.luns == (Lun(3, "n0", False, read_iops=100, burst=10),), "limits stay"
    for name, value, said in (
        ("read_iops", 10**8 + 1, "must be 0-100000000"),
        ("write_bytes_per_sec", -1, "must be 0-1000000000000"),
        ("burst", 0, "must be 1-10000"),
        ("burst", True, "whole number"),
        ("read_iop", 1, "did you mean 'read_iops'"),
    ):
        wrong: dict[str, Any] = {name: value}
        with pytest.raises(InvalidInput, match=said):
            admin.change_lun("t1", 3, **wrong)
    with pytest.raises(Conflict, match="LUN 3 is n0 now, not n1"):
        admin.unmap("t1", 3, device="n1")
    assert admin.unmap("t1", 3, device="n0")


def test_several_names_at_once(admin: Admin) -> None:
    """All of them, or none."""
    admin.apply(settings())
    admin.add_initiator("t1", "g0", "x", "y", "z*")
    admin.add_host("t1", "x", "y")
    before = admin.config()
    calls: tuple[tuple[Callable[[], object], str], ...] = (
        (lambda: admin.add_initiator("t1", "g0", "v", "Y"), "Y is there already"),
        (lambda: admin.add_initiator("t1", "g0", "v", "V"), "V is there already"),
        (lambda: admin.remove_initiator("t1", "g0", "x", "v"), "v is not there"),
        (lambda: admin.add_host("t1", "v", "X"), "X is there already"),
        (lambda: admin.remove_host("t1", "x", "v"), "v is not there"),
    )
    for call, said in calls:
        with pytest.raises(Conflict, match=said):
            call()
    assert admin.config() == before
    admin.remove_initiator("t1", "g0", "x", "y", "z*")
    admin.remove_host("t1", "x", "y")
    assert not admin.plan(settings())


def test_identity_changes_in_part(admin: Admin) -> None:
    admin.apply(settings())
    admin.change_device("n1", product="P", eui64="0" * 16)
    found = admin.config().device("n1")
    assert found is not None
    assert found.id == Identity("SCST", "P", "1", "S1", "3" * 16, "0" * 16)


def test_explain_leaves_out_what_is_not_seen(admin: Admin, tree: Tree) -> None:
    admin.apply(settings())
    tree.mkdir("targets/local/t1/groups/g0/luns/7")
    assert [lun.number for lun in admin.explain("t1", INITIATOR).luns] == [0, 1]
    assert admin.settled()
    tree.write("autocommit", "0")
    tree.unlink("targets/local/t1/groups/g0/luns/0/device")
    assert [lun.number for lun in admin.explain("t1", INITIATOR).luns] == [1]
    assert not admin.settled()


def test_changes_by_others_are_noticed(admin: Admin, tree: Tree) -> None:
    """Nothing of what another program changes hides behind the remembered configuration."""
    admin.apply(settings())
    changes: tuple[Callable[[], None], ...] = (
        lambda: tree.write("targets/local/t1/groups/g0/luns/1/read_only", "0"),
        lambda: tree.write("targets/local/t1/auto_rescan", "0"),
        lambda: tree.write("targets/local/t2/rel_tgt_id", "9"),
        lambda: tree.mkdir("targets/local/t1/luns/100"),
        lambda: tree.mkdir("targets/local/t2/groups/empty"),
        lambda: tree.mkdir("targets/local/t9"),
        lambda: tree.mkdir("devices/fileio/d9"),
        lambda: tree.rmdir(f"targets/local/t1/hosts/{OTHER}"),
    )
    for change in changes:
        change()
        assert admin.plan(settings())
        assert admin.snapshot() == snapshot(tree)
        admin.apply(settings())
        assert not admin.plan(settings())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples(admin: Admin, path: Path) -> None:
    wanted = load_file(str(path))
    assert admin.apply(wanted).exit_code in (0, 3)
    assert not admin.plan(wanted)
    assert schema.loads(schema.dumps(admin.config())) == admin.config()


def test_example_of_the_readme(admin: Admin) -> None:
    """A sees Da and Db read-write; B sees Db read-only and Dc read-write, on the same target."""
    admin.apply(load_file(str(next(path for path in EXAMPLES if path.stem == "two-initiators"))))
    views = {s.initiator: [(x.number, x.device, x.read_only) for x in s.luns] for s in admin.sessions()}
    assert views == {
        INITIATOR: [(0, "Da", False), (1, "Db", False)],
        OTHER: [(0, "Db", True), (1, "Dc", False)],
    }


def test_control_characters_in_errors(admin: Admin) -> None:
    with pytest.raises(InvalidInput, match="bad name"):
        admin.create_device(Device("bad name", "nullio", size=MIB))
