# SPDX-License-Identifier: GPL-2.0-or-later
"""Plans: that they lead where they should, in which order, and that each can be undone at every point."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pyscstadmin.apply import execute
from pyscstadmin.errors import ApplyFailed, PartlyApplied
from pyscstadmin.model import Config, Device, Group, Identity, Lun, Target
from pyscstadmin.plan import Begin, Commit, Impact, Plan, inverse, plan, settle
from pyscstadmin.read import snapshot
from pyscstadmin.sim import SimTree
from tests.unit.strategies import MIB, configs

CHANGING = ("mkdir", "rmdir", "symlink", "unlink", "write")


def made(config: Config) -> SimTree:
    """A tree with a configuration."""
    tree = SimTree()
    execute(tree, plan(Config(), config), 1)
    return tree


def go(tree: SimTree, wanted: Config) -> Plan:
    shot = snapshot(tree)
    steps = plan(shot.config, wanted, settled=shot.root.settled)
    execute(tree, steps, shot.root.generation)
    return steps


def dump(tree: SimTree) -> dict[str, Any]:
    """Everything but the generation, which never goes back, and what cannot come back: runtime state."""
    data = tree.dump()
    del data["generation"]
    for devices in data["devices"].values():
        for device in devices.values():
            device["id"] = dict(sorted(device["id"].items()))
            device["error"] = ""
    for target in data["targets"].values():
        target["hosts"] = sorted(target["hosts"])
        target["groups"] = dict(sorted(target["groups"].items()))
    data["devices"] = {handler: dict(sorted(found.items())) for handler, found in data["devices"].items()}
    data["targets"] = dict(sorted(data["targets"].items()))
    return data


@settings(max_examples=40, deadline=None)
@given(configs(), configs())
def test_apply_leads_there(old: Config, new: Config) -> None:
    tree = made(old)
    assert snapshot(tree).config == old
    before = snapshot(tree).root.generation
    steps = go(tree, new)
    shot = snapshot(tree)
    assert shot.config == new
    assert shot.root.settled
    assert not plan(shot.config, new)
    commits = sum(isinstance(act, Commit) for operation in steps.operations for act in operation.acts)
    assert commits <= 2
    assert before <= shot.root.generation <= before + commits


@settings(max_examples=20, deadline=None)
@given(configs())
def test_nothing_to_do(config: Config) -> None:
    assert not plan(config, config)
    tree = made(config)
    assert not plan(snapshot(tree).config, config)


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(configs(), configs(), st.data())
def test_undo_restores_the_exact_tree(old: Config, new: Config, data: st.DataObject) -> None:
    tree = made(old)
    shot = snapshot(tree)
    steps = plan(shot.config, new)
    if not steps.acts:
        return
    before = dump(tree)
    fail_at = data.draw(st.integers(0, steps.acts))
    count = 0

    def inject(operation: str, path: str, value: str | None) -> int | None:
        nonlocal count
        if operation not in CHANGING:
            return None
        count += 1
        return errno.ENOMEM if count == fail_at + 1 else None

    tree.inject = inject
    try:
        execute(tree, steps, shot.root.generation)
    except ApplyFailed:
        tree.inject = None
        assert dump(tree) == before
    else:
        assert count <= fail_at
    tree.inject = None
    go(tree, new)
    assert snapshot(tree).config == new


def everything() -> tuple[Config, Config]:
    """Two configurations whose difference has operations of all kinds."""
    naa = Identity("V", "P", "R", "S", "3" * 16)
    old = Config(
        (
            Device("away", "nullio", size=MIB, id=naa),
            Device("changed", "nullio", size=MIB, id=naa),
            Device("moved", "nullio", size=MIB, read_only=True, id=naa),
            Device("off", "fileio", path="/nonexistent/x", id=naa),
        ),
        (
            Target("local", "gone", True, 1, False, ("h",), (Lun(0, "away", True),)),
            Target(
                "local",
                "kept",
                True,
                2,
                True,
                ("a", "b"),
                (Lun(0, "changed"), Lun(1, "away")),
                (
                    Group("g1", 5, ("a", "b"), (Lun(0, "moved", True),)),
                    Group("g2", 100, ("c",), (Lun(3, "off"),)),
                ),
            ),
        ),
    )
    new = Config(
        (
            Device("changed", "nullio", size=2 * MIB, id=replace(naa, serial="T")),
            Device("moved", "fileio", path="/nonexistent/y", id=naa),
            Device("fresh", "nullio", size=MIB, id=naa),
            Device("off", "fileio", False, path="/nonexistent/x", id=naa),
        ),
        (
            Target("local", "new", True, 2, False, ("n",), (Lun(0, "fresh"),)),
            Target(
                "local",
                "kept",
                True,
                1,
                False,
                ("b", "c"),
                (Lun(0, "changed", True), Lun(1, "fresh")),
                (Group("g1", 6, ("b", "C"), (Lun(0, "moved"), Lun(1, "fresh"))), Group("g3", 1, ("x*",), ())),
            ),
        ),
    )
    return old, new


def test_undo_at_every_act() -> None:
    old, new = everything()
    tree = made(old)
    steps = plan(snapshot(tree).config, new)
    assert snapshot(tree).config == old
    before = dump(tree)
    for fail_at in range(steps.acts + 5):
        seen = [0]

        def inject(
            operation: str, path: str, value: str | None, seen: list[int] = seen, fail_at: int = fail_at
        ) -> int | None:
            seen[0] += operation in CHANGING
            return errno.EIO if operation in CHANGING and seen[0] == fail_at + 1 else None

        tree.inject = inject
        base = int(tree.read("generation"))
        try:
            execute(tree, steps, base)
        except ApplyFailed:
            tree.inject = None
            assert dump(tree) == before
            continue
        break
    tree.inject = None
    assert fail_at > 50
    assert snapshot(tree).config == new


def test_a_failing_undo_names_what_is_left() -> None:
    old, new = everything()
    tree = made(old)
    steps = plan(snapshot(tree).config, new)
    broken: list[str] = []

    def inject(operation: str, path: str, value: str | None) -> int | None:
        if path == "commit" and not broken:
            broken.append(path)
            return errno.ENOMEM
        return errno.EIO if broken and (operation, path) == ("rmdir", "devices/nullio/fresh") else None

    tree.inject = inject
    with pytest.raises(PartlyApplied) as caught:
        execute(tree, steps, snapshot(tree).root.generation)
    assert caught.value.exit_code == 4
    assert len(caught.value.left) == 1
    assert "devices/nullio/fresh" in caught.value.left[0]
    tree.inject = None
    go(tree, old)
    assert snapshot(tree).config == old


def test_killed_at_every_act_the_next_apply_converges() -> None:
    """A killed program undoes nothing; what it staged stays staged."""

    class Killed(BaseException):
        pass

    old, new = everything()
    for at in range(1000):
        tree = made(old)
        count = [0]

        def inject(
            operation: str, path: str, value: str | None, count: list[int] = count, at: int = at
        ) -> int | None:
            count[0] += operation in CHANGING
            if count[0] > at:
                raise Killed
            return None

        shot = snapshot(tree)
        tree.inject = inject
        try:
            execute(tree, plan(shot.config, new), shot.root.generation)
        except Killed:
            tree.inject = None
            reloaded = SimTree()
            reloaded.load(tree.dump())
            go(reloaded, new)
            assert snapshot(reloaded).config == new
            assert snapshot(reloaded).root.settled
            continue
        break
    assert at > 50


def test_keep_going_leaves_out_and_goes_on() -> None:
    old, new = everything()
    tree = made(old)
    refuse = ("symlink", "targets/local/kept/luns/1/device", "devices/nullio/fresh")
    tree.inject = lambda *call: errno.ENOSPC if call == refuse else None
    shot = snapshot(tree)
    outcome = execute(tree, plan(shot.config, new), shot.root.generation, keep_going=True)
    assert outcome.exit_code == 4
    texts = [failure.operation.text for failure in outcome.failed]
    assert any("LUN 1 of local/kept" in text for text in texts)
    tree.inject = None
    found = snapshot(tree).config
    assert found.target("local", "new") is not None
    go(tree, new)
    assert snapshot(tree).config == new


def test_order() -> None:
    """Devices first, one commit for all access, then what goes, targets enabled last."""
    old, new = everything()
    texts = [operation.text for operation in plan(old, new).operations]

    def at(part: str) -> int:
        return next(index for index, text in enumerate(texts) if part in text)

    commit = max(index for index, text in enumerate(texts) if text.startswith("commit"))
    assert at("create device nullio/fresh") < at("stage")
    assert at("create target local/new") < at("stage")
    assert commit < at("remove host h of local/gone") < at("remove target local/gone")
    assert commit < at("remove device nullio/away")
    assert commit < at("disable target local/kept") < at("set rel_tgt_id of local/kept")
    assert texts[-1].startswith("enable target")
    assert texts[-2].startswith("enable target")


@pytest.mark.parametrize("enabled", [False, True])
def test_impact(enabled: bool) -> None:
    base = Config((Device("d", "nullio", size=MIB),), (Target("local", "t", enabled, 1, hosts=("h",)),))
    mapped = replace(base, targets=(replace(base.targets[0], luns=(Lun(0, "d"),)),))
    noticed = Impact.UNIT_ATTENTION if enabled else Impact.NONE
    assert plan(base, mapped).impact == noticed
    dropped = Impact.SESSION_DROP if enabled else Impact.NONE
    assert plan(base, replace(base, targets=())).impact == dropped
    assert plan(base, replace(base, targets=(replace(base.targets[0], hosts=()),))).impact == dropped
    assert (
        plan(base, replace(base, targets=(replace(base.targets[0], auto_rescan=False),))).impact
        == Impact.NONE
    )
    assert plan(Config(), mapped).impact == Impact.NONE
    assert str(Impact.UNIT_ATTENTION) == "unit attention"


def test_one_commit_unless_a_device_restarts() -> None:
    old, new = everything()

    def commits(first: Config, second: Config) -> int:
        return sum(isinstance(a, Commit) for o in plan(first, second).operations for a in o.acts)

    assert commits(old, new) == 2
    assert commits(Config(), new) == 1
    assert commits(old, Config()) == 1
    assert commits(old, replace(old, devices=(*old.devices, Device("x", "nullio", size=MIB)))) == 0


def test_unsettled_trees_are_committed() -> None:
    steps = plan(Config(), Config(), settled=False)
    assert [type(act).__name__ for operation in steps.operations for act in operation.acts] == [
        "Begin",
        "Commit",
        "End",
    ]
    assert steps.operations[0].acts == (Begin(clean=False),)
    assert inverse(Begin(clean=False)) == ()


def test_operations_invert_twice() -> None:
    for operation in plan(*everything()).operations:
        undone = operation.inverse()
        assert undone.text == f"undo: {operation.text}"
        assert undone.path == operation.path


def test_settle_keeps_what_is_not_said() -> None:
    current = Config(
        (Device("d", "nullio", size=MIB, id=Identity("V", "P", "R", "S", "3" * 16, "0" * 16)),),
        (Target("local", "t", rel_tgt_id=4),),
    )
    wanted = Config((Device("d", "nullio", size=MIB),), (Target("local", "t"), Target("local", "u")))
    settled = settle(current, wanted)
    assert settled.device("d").id == Identity("V", "P", "R", "S", "3" * 16, "")  # type: ignore[union-attr]
    assert settled.target("local", "t").rel_tgt_id == 4  # type: ignore[union-attr]
    assert settled.target("local", "u").rel_tgt_id is None  # type: ignore[union-attr]
