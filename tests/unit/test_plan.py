# SPDX-License-Identifier: GPL-2.0-or-later
"""Plans: that they lead where they should, in which order, and that each can be undone at every point."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pyscstadmin.config.model import Config, Device, Identity, Lun, Target
from pyscstadmin.config.plan import Begin, Commit, Impact, inverse, plan, settle
from pyscstadmin.errors import ApplyFailed, PartlyApplied
from pyscstadmin.kernel.apply import execute
from pyscstadmin.kernel.read import snapshot
from pyscstadmin.sim.tree import SimTree
from tests.unit.strategies import MIB, configs
from tests.unit.trees import CHANGING, dump, everything, exclusive, go, made, mapped


@settings(max_examples=40, deadline=None)
@given(configs(), configs())
def test_apply_leads_there(old: Config, new: Config) -> None:
    tree = made(old)
    assert snapshot(tree).config == old
    before = snapshot(tree).root.generation
    tree.inject = exclusive(tree)
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
    busy = exclusive(tree)

    def inject(operation: str, path: str, value: str | None) -> int | None:
        nonlocal count
        if operation not in CHANGING:
            return None
        count += 1
        return errno.ENOMEM if count == fail_at + 1 else busy(operation, path, value)

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
        return next(index for index, text in enumerate(texts) if text.startswith(part))

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
    assert plan(base, replace(base, targets=(base.targets[0].but(auto_rescan=False),))).impact == Impact.NONE
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


def test_settle_over_a_change_of_the_handler() -> None:
    """All of the identity stays but what the kernel derived from the handler."""
    for product, kept in (("nullio", None), ("chosen", "chosen")):
        old = Device("d", "nullio", size=MIB, id=Identity("V", product, "R", "S", "3" * 16, "0" * 16))
        settled = settle(Config((old,)), Config((Device("d", "fileio", path="/x"),)))
        assert settled.devices[0].id == Identity("V", kept, "R", "S", "3" * 16, "")


def test_settle_keeps_no_identifier_that_another_asks_for() -> None:
    tree = made(Config((), (Target("local", "a", rel_tgt_id=1), Target("local", "c", rel_tgt_id=2))))
    wanted = Config((), (Target("local", "a"), Target("local", "b", rel_tgt_id=1), Target("local", "c")))
    go(tree, wanted)
    found = {target.name: target.rel_tgt_id for target in snapshot(tree).config.targets}
    assert (found["b"], found["c"]) == (1, 2)
    assert found["a"] not in (1, 2)
    assert not plan(snapshot(tree).config, wanted)


# Disks that go from one device to another.


def known(name: str) -> Identity:
    return Identity("V", "P", "R", f"S-{name}", "3" + name.encode().hex().zfill(15)[-15:])


def disks(**paths: str) -> tuple[Device, ...]:
    return tuple(Device(name, "blockio", path=f"/dev/{path}", id=known(name)) for name, path in paths.items())


HANDED = {
    "rename": (disks(da="a", db="b"), disks(new="a", db="b"), ("da", "db"), ("new", "db")),
    "swap": (disks(da="a", db="b"), disks(da="b", db="a"), ("da", "db"), ("da", "db")),
    "ring": (disks(da="a", db="b", dc="c"), disks(da="b", db="c", dc="a"), ("da", "", "dc"), ("db", "da")),
    "chain": (disks(da="a", db="b", dc="c"), disks(da="b", db="c"), ("da", "db", "dc"), ("da", "db")),
    "given up": (disks(da="a"), disks(da="z", db="a"), ("da",), ("da", "db")),
    "disabled": (
        disks(da="a"),
        (*disks(db="a"), Device("da", "blockio", False, path="/dev/a", id=known("da"))),
        ("da",),
        ("db",),
    ),
    "other handler": (
        disks(da="a"),
        (*disks(db="a"), Device("da", "nullio", size=MIB, id=known("da"))),
        ("da",),
        ("db", "da"),
    ),
    "from another handler": (
        (*disks(da="a"), Device("db", "nullio", size=MIB, id=known("db"))),
        disks(db="a"),
        ("da", "db"),
        ("db",),
    ),
    "enabled": (
        (*disks(da="a"), Device("db", "blockio", False, path="/dev/a", id=known("db"))),
        disks(db="a"),
        ("da",),
        ("db",),
    ),
}


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("case", HANDED)
def test_disks_change_hands(case: str, used: bool) -> None:
    first, second, before, after = HANDED[case]
    old = Config(first, mapped(*before) if used else mapped())
    new = Config(second, mapped(*after))
    tree = made(old)
    tree.inject = exclusive(tree)
    start = snapshot(tree)
    steps = go(tree, new)
    found = snapshot(tree).config
    assert [(d.name, d.handler, d.path) for d in found.devices] == [
        (d.name, d.handler, d.path) for d in new.devices
    ]
    assert found.targets == new.targets
    assert not plan(found, new)
    # The LUNs are away between two commits only if there were any, and the plan says that they are noticed.
    commits = [operation for operation in steps.operations if operation.path == "commit"]
    assert len(commits) == (2 if used else 1)
    assert {operation.impact for operation in commits} == {Impact.UNIT_ATTENTION}
    go(tree, start.config)
    assert snapshot(tree).config == start.config


@pytest.mark.parametrize("case", HANDED)
def test_undo_of_disks_that_change_hands(case: str) -> None:
    first, second, before, after = HANDED[case]
    old, new = Config(first, mapped(*before)), Config(second, mapped(*after))
    tree = made(old)
    state = dump(tree)
    shot = snapshot(tree)
    steps = plan(shot.config, new)
    busy = exclusive(tree)
    for fail_at in range(steps.acts):
        count = [0]

        def inject(
            operation: str, path: str, value: str | None, count: list[int] = count, fail_at: int = fail_at
        ) -> int | None:
            count[0] += operation in CHANGING
            if operation in CHANGING and count[0] == fail_at + 1:
                return errno.ENOMEM
            return busy(operation, path, value)

        tree.inject = inject
        with pytest.raises(ApplyFailed):
            execute(tree, steps, snapshot(tree).root.generation)
        assert dump(tree) == state


def test_a_disk_that_stays_is_not_restarted() -> None:
    old = Config(disks(da="a", db="b"), mapped("da", "db"))
    new = Config((*disks(da="a", db="b", dc="c"),), mapped("da", "db", "dc"))
    texts = [operation.text for operation in plan(old, new).operations]
    assert not [text for text in texts if "device blockio/da" in text or "nothing" in text]
