# SPDX-License-Identifier: GPL-2.0-or-later
"""Executing plans: what is left out and what must not be, interruptions, trees that are not settled."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType

import pytest

from pyscstadmin.config.model import Config, Device, Group, Identity, Lun, Target
from pyscstadmin.config.plan import Impact, plan
from pyscstadmin.errors import ApplyFailed, PartlyApplied
from pyscstadmin.kernel.apply import execute
from pyscstadmin.kernel.read import snapshot
from pyscstadmin.sim.tree import SimTree
from tests.unit.strategies import MIB
from tests.unit.trees import CHANGING, dump, everything, go, made, mapped

# Leaving out.


def seen(tree: SimTree) -> dict[str, set[tuple[int, str, bool]]]:
    """What each initiator sees on each target now."""
    return {
        f"{s.target} {s.initiator}": {(lun.number, lun.device, lun.read_only) for lun in s.luns}
        for s in tree.sessions()
    }


def groups_of(tree: SimTree) -> dict[str, str]:
    return {f"{s.target} {s.initiator}": s.group for s in tree.sessions()}


def views() -> tuple[Config, Config]:
    """Two configurations in which initiators change groups, LUNs change devices, and there are own LUNs."""
    devices = tuple(
        Device(name, "nullio", size=MIB, id=Identity(serial=name, naa=f"300000000000000{name[1]}"))
        for name in ("da", "db", "dc", "dd")
    )

    def target(name: str, number: int, *groups: Group, enabled: bool = True) -> Target:
        own = (Lun(0, "dd"), Lun(9, "dd"))
        return Target("local", name, enabled, number, hosts=("a", "b", "c"), luns=own, groups=groups)

    old = (
        target("t", 1, Group("g", 5, ("a", "b"), (Lun(0, "da"), Lun(1, "db"))), Group("h", 6, ("c",))),
        target("u", 2, enabled=False),
        target("w", 3),
    )
    new = (
        target(
            "t",
            1,
            Group("g", 7, ("a",), (Lun(0, "dc"), Lun(1, "db", True), Lun(2, "da"))),
            Group("h", 4, ("b", "x*"), (Lun(0, "da"),)),
            Group("i", 6, ("c",), (Lun(0, "db"), Lun(3, "dc"))),
        ),
        target("u", 2, Group("g", 1, ("a", "b", "c"), (Lun(5, "da"),))),
        replace(target("w", 3, Group("g", 1, ("b",))), enabled=False, luns=(Lun(0, "da"),)),
        target("v", 4, Group("g", 1, ("a", "b", "c"), (Lun(5, "da"), Lun(6, "dc")))),
    )
    return Config(devices, old), Config((*devices[:3], devices[3].but(size=2 * MIB)), new)


@pytest.mark.parametrize("fresh", [True, False])
def test_leaving_out_shows_nobody_more(fresh: bool) -> None:
    """Whatever is refused: nobody sees what neither the old nor the new configuration showed, and on a fresh
    tree, nobody sees own LUNs of a target instead of those of a group.
    """
    old, new = views()
    old = Config() if fresh else old
    goal = made(new)
    wanted, wanted_groups = seen(goal), groups_of(goal)
    total = plan(old, new).acts
    left_out = 0
    for fail_at in range(total + 10):
        tree = made(old)
        before = seen(tree)
        shot = snapshot(tree)
        seen_acts = [0]
        refused: list[tuple[str, str]] = []

        def inject(
            operation: str,
            path: str,
            value: str | None,
            count: list[int] = seen_acts,
            refused: list[tuple[str, str]] = refused,
            fail_at: int = fail_at,
        ) -> int | None:
            if operation not in CHANGING:
                return None
            count[0] += 1
            if count[0] == fail_at + 1:
                refused.append((operation, path))
                return errno.ENOMEM
            return None

        tree.inject = inject
        try:
            outcome = execute(tree, plan(shot.config, new), shot.root.generation, keep_going=True)
        except ApplyFailed:
            tree.inject = None
            assert seen(tree) == before
            continue
        tree.inject = None
        assert bool(outcome.failed) == bool(refused)
        left_out += bool(refused)
        for who, luns in seen(tree).items():
            assert luns <= wanted.get(who, set()) | before.get(who, set()), (refused, who)
            if fresh:
                assert groups_of(tree)[who] == wanted_groups[who], (refused, who)
        go(tree, new)
        assert snapshot(tree).config == replace(new, devices=snapshot(goal).config.devices)
    assert left_out > total // 2


def test_a_group_is_kept_without_a_lun_that_is_refused() -> None:
    devices = (Device("good", "nullio", size=MIB), Device("bad", "fileio", path="/nonexistent/x"))
    group = Group("g", 100, ("a",), (Lun(0, "good"), Lun(1, "bad")))
    wanted = Config(
        devices, (Target("local", "t", hosts=("a", "b"), luns=(Lun(0, "good"),), groups=(group,)),)
    )
    tree = SimTree()
    tree.inject = lambda *call: errno.EINVAL if call[:2] == ("mkdir", "devices/fileio/bad") else None
    for _ in range(2):
        shot = snapshot(tree)
        outcome = execute(tree, plan(shot.config, wanted), shot.root.generation, keep_going=True)
        assert [failure.operation.text for failure in outcome.failed] == [
            "create device fileio/bad (/nonexistent/x)",
            "map bad as LUN 1 of local/t group g",
        ]
        assert groups_of(tree) == {"local/t a": "g", "local/t b": ""}
        assert seen(tree)["local/t a"] == {(0, "good", False)}


def test_without_a_claim_the_target_stays_as_it_was() -> None:
    old, new = views()
    tree = made(old)
    before, groups = seen(tree), groups_of(tree)
    refused = ("mkdir", "targets/local/t/groups/i/initiators/c")
    tree.inject = lambda *call: errno.ENOMEM if call[:2] == refused else None
    shot = snapshot(tree)
    outcome = execute(tree, plan(shot.config, new), shot.root.generation, keep_going=True)
    tree.inject = None
    for who in ("local/t a", "local/t b", "local/t c"):
        assert (seen(tree)[who], groups_of(tree)[who]) == (before[who], groups[who])
    texts = [failure.operation.text for failure in outcome.failed]
    assert "remove b from local/t group g" in texts
    assert "map db as LUN 0 of local/t group i" in texts
    assert not any("local/v" in text for text in texts)
    assert not {operation.text for operation in outcome.done} & set(texts)


def test_a_target_without_its_groups_is_not_opened() -> None:
    wanted = views()[1]
    tree = SimTree()
    refused = ("mkdir", "targets/local/v/groups/g/initiators/a")
    tree.inject = lambda *call: errno.ENOMEM if call[:2] == refused else None
    outcome = execute(tree, plan(Config(), wanted), 1, keep_going=True)
    tree.inject = None
    assert not any(who.startswith("local/v ") for who in seen(tree))
    assert outcome.failed[-1].operation.text == "enable target local/v"
    assert seen(tree)["local/u a"] == {(5, "da", False)}


def test_a_device_whose_new_handler_is_refused_stays() -> None:
    old = Config((Device("f", "nullio", size=MIB, id=Identity("V", "P", "R", "S", "3" * 16)),), mapped("f"))
    new = Config((Device("f", "fileio", path="/nonexistent/x"),), mapped("f"))
    for keep_going in (True, False):
        tree = made(old)
        before = dump(tree)
        refuse = ("write", "devices/fileio/f/enabled")
        tree.inject = lambda *call, refuse=refuse: errno.EINVAL if call[:2] == refuse else None
        shot = snapshot(tree)
        steps = plan(shot.config, new)
        if keep_going:
            outcome = execute(tree, steps, shot.root.generation, keep_going=True)
            moved = "move device nullio/f to fileio/f (/nonexistent/x)"
            assert [failure.operation.text for failure in outcome.failed] == [moved]
        else:
            with pytest.raises(ApplyFailed, match="move device"):
                execute(tree, steps, shot.root.generation)
        assert dump(tree) == before
        assert seen(tree)["local/t x"] == {(0, "f", False)}


def test_a_target_that_is_disabled_shows_nothing_new() -> None:
    old = Config((Device("d", "nullio", size=MIB),), (Target("local", "t", True, 1, hosts=("x",)),))
    secret = replace(old.targets[0], enabled=False, luns=(Lun(0, "d"),))
    tree = made(old)
    steps = plan(snapshot(tree).config, replace(old, targets=(secret,)))
    views: list[set[tuple[int, str, bool]]] = []
    execute(tree, steps, 1, progress=lambda *_: views.extend(seen(tree).values()))
    assert views
    assert not any(views)
    assert seen(tree) == {}
    impacts = {operation.text: operation.impact for operation in steps.operations}
    assert impacts["disable target local/t"] is Impact.SESSION_DROP
    assert impacts["map d as LUN 0 of local/t"] is Impact.NONE


# Interruptions.


@pytest.fixture
def interruptible() -> Iterator[None]:
    """control-C raises, also where the tests run as a job in the background, in which it is ignored."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


class Signalling(SimTree):
    """A tree in which a signal comes right after calls, as it does when the kernel took its time."""

    when: tuple[int, ...] = ()
    count = 0

    def done(self, operation: str, path: str, value: str | None) -> None:
        self.count += 1
        if self.count in self.when:
            os.kill(os.getpid(), signal.SIGINT)
        super().done(operation, path, value)


@pytest.mark.usefixtures("interruptible")
def test_a_signal_after_any_act_undoes_all() -> None:
    old, new = everything()
    tree = Signalling()
    execute(tree, plan(Config(), old), 1)
    steps = plan(snapshot(tree).config, new)
    before = dump(tree)
    for at in range(1, steps.acts + 1):
        # Again while undoing: the undoing goes on.
        tree.count, tree.when = 0, (at, at + 1, at + 3)
        with pytest.raises(ApplyFailed, match="interrupted"):
            execute(tree, steps, snapshot(tree).root.generation)
        assert dump(tree) == before, at
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("interruptible")
def test_a_second_signal_does_not_hide_what_is_left() -> None:
    tree = Signalling()
    # Each device takes three calls: in the middle of the second, then after it is removed again.
    tree.when = (5, 6)
    tree.inject = lambda *call: errno.EIO if call[:2] == ("rmdir", "devices/nullio/d0") else None
    devices = tuple(Device(f"d{number}", "nullio", size=MIB) for number in range(3))
    with pytest.raises(PartlyApplied, match="interrupted") as caught:
        execute(tree, plan(Config(), Config(devices)), 1)
    assert tree.count == 7
    assert "devices/nullio/d0" in caught.value.left[-1]
    assert tree.list("devices/nullio") == ["d0"]


def test_signals_whose_handlers_do_not_raise_stop_nothing() -> None:
    came: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        came.append(number)

    old = signal.signal(signal.SIGINT, handler)
    try:
        tree = Signalling()
        tree.when = (1, 5)
        execute(tree, plan(Config(), everything()[1]), 1)
        assert came == [signal.SIGINT, signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, old)


@pytest.mark.parametrize("keep_going", [True, False])
@pytest.mark.parametrize("kind", [BrokenPipeError, ZeroDivisionError, SystemExit])
def test_progress_that_raises_undoes_all(kind: type[BaseException], keep_going: bool) -> None:
    old, new = everything()
    tree = made(old)
    steps = plan(snapshot(tree).config, new)
    before = dump(tree)
    for at in range(0, len(steps.operations), 5):

        def progress(done: int, total: int, operation: object, at: int = at) -> None:
            if done == at:
                raise kind

        with pytest.raises(kind):
            execute(tree, steps, snapshot(tree).root.generation, progress=progress, keep_going=keep_going)
        assert dump(tree) == before


def test_progress_that_raises_does_not_hide_what_is_left() -> None:
    tree = SimTree()
    tree.inject = lambda *call: errno.EIO if call[0] == "rmdir" else None

    def progress(done: int, total: int, operation: object) -> None:
        if done:
            raise BrokenPipeError

    devices = tuple(Device(f"d{number}", "nullio", size=MIB) for number in range(2))
    with pytest.raises(PartlyApplied) as caught:
        execute(tree, plan(Config(), Config(devices)), 1, progress=progress)
    assert "devices/nullio/d0" in caught.value.left[0]


# Trees that are not settled.


@pytest.mark.parametrize("staged", [True, False])
@pytest.mark.parametrize("late", [True, False])
def test_a_failure_on_an_unsettled_tree(staged: bool, late: bool) -> None:
    """With nothing staged, all comes back; what was staged is not published, and nobody claims that nothing
    changed.
    """
    tree = made(Config((Device("f", "nullio", size=MIB),), mapped("f")))
    tree.write("autocommit", "0")
    if staged:
        tree.mkdir("targets/local/t/groups/half")
        tree.mkdir("targets/local/t/groups/half/initiators/y")
    before, sessions = dump(tree), seen(tree)
    shot = snapshot(tree)
    assert not shot.root.settled
    steps = plan(shot.config, Config((Device("f", "nullio", size=2 * MIB),), mapped("f")), settled=False)
    refuse = ("write", "devices/nullio/f/size") if late else ("write", "commit")
    times = [0]

    def inject(operation: str, path: str, value: str | None) -> int | None:
        times[0] += (operation, path) == refuse
        return errno.EINVAL if (operation, path) == refuse and times[0] == 1 else None

    tree.inject = inject
    with pytest.raises(PartlyApplied if staged and late else ApplyFailed) as caught:
        execute(tree, steps, shot.root.generation)
    tree.inject = None
    assert snapshot(tree).config == shot.config
    if not late:
        assert seen(tree) == sessions
        assert tree.read("autocommit") == "0"
    elif not staged:
        assert seen(tree) == sessions
        assert snapshot(tree).root.settled
        assert before["targets"] == dump(tree)["targets"]
    else:
        assert isinstance(caught.value, PartlyApplied)
        assert "staged, as before" in caught.value.left[0]
        assert seen(tree) == {"local/t x": set()}
        assert tree.read("staged") == "1"


@pytest.mark.parametrize("staged", [True, False])
def test_what_others_began_to_stage_is_left_alone(staged: bool) -> None:
    """The plan was made before that; to go on would publish theirs, or have ours published by them."""
    tree = made(Config((Device("f", "nullio", size=MIB),), mapped("f")))
    shot = snapshot(tree)
    steps = plan(shot.config, Config(shot.config.devices, mapped("f", "f")))
    tree.write("autocommit", "0")
    if staged:
        tree.mkdir("targets/local/t/groups/g/initiators/y")
    before = tree.dump()
    with pytest.raises(ApplyFailed, match="ESTALE"):
        execute(tree, steps, shot.root.generation)
    assert tree.dump() == before
