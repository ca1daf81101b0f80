# SPDX-License-Identifier: GPL-2.0-or-later
"""Identifiers of target port groups: any assignment leads to any other, and back at every act."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyscstadmin.config.model import Config, DeviceGroup, PortGroup, Target
from pyscstadmin.config.plan import plan
from pyscstadmin.errors import ApplyFailed
from pyscstadmin.kernel.apply import execute
from pyscstadmin.kernel.read import snapshot
from tests.unit.trees import CHANGING, dump, made

Ids = dict[str, "int | None"]
PORT = Target("local", "t1", rel_tgt_id=1)


def config(ids: Ids, waits: str | None = None) -> Config:
    """A device group with these target port groups. *waits*: one that has a port, which is a target."""
    groups = [
        PortGroup(name, number, "active/optimized", ("local/t1",) if name == waits else (), ())
        for name, number in ids.items()
    ]
    return Config((), (PORT,) if waits else (), (DeviceGroup("dg", (), groups),))


def check(old: Config, new: Config, ids: Ids) -> None:
    """It is led there in few acts; and whichever act fails, all is as before."""
    tree = made(old)
    shot = snapshot(tree)
    steps = plan(shot.config, new)
    assert steps.acts < 60
    execute(tree, steps, shot.root.generation)
    found = {one.name: one.group_id for one in snapshot(tree).config.alua[0].port_groups}
    assert found.keys() == ids.keys()
    assert all(number in (None, found[name]) for name, number in ids.items())
    for fail_at in range(steps.acts):
        undone(old, new, fail_at)


def undone(old: Config, new: Config, fail_at: int) -> None:
    """The act with that number fails, if it changes anything."""
    tree = made(old)
    shot, before, count = snapshot(tree), dump(tree), 0

    def inject(operation: str, path: str, value: str | None) -> int | None:
        nonlocal count
        count += operation in CHANGING
        return errno.ENOMEM if operation in CHANGING and count == fail_at + 1 else None

    tree.inject = inject
    try:
        execute(tree, plan(shot.config, new), shot.root.generation)
    except ApplyFailed:
        tree.inject = None
        assert dump(tree) == before


@st.composite
def identifiers(draw: st.DrawFn, some: bool = True) -> Ids:
    """Of a few groups; none twice. *some*: only some have a certain one."""
    names = draw(st.lists(st.sampled_from("abcd"), unique=True))
    numbers = draw(st.permutations([1, 2, 3, 4, 5]))
    return {
        name: None if some and draw(st.booleans()) else number
        for name, number in zip(names, numbers, strict=False)
    }


@settings(max_examples=100, deadline=None)
@given(identifiers(some=False), identifiers(), st.sampled_from("abcd"))
def test_any_to_any(old: Ids, new: Ids, waits: str) -> None:
    """Where one waits for its target to go before it can go itself, too."""
    check(config(old, waits if waits in old else None), config(new), new)


@pytest.mark.parametrize(
    "new",
    [
        {"a": 2, "b": 3, "c": None},  # a chain, at whose end is one that may have any
        {"a": 2, "b": 3, "c": 1},  # a ring
        {"a": 2, "b": 1, "c": None},
        {"a": None, "d": 1},  # in the way of a new one
    ],
)
def test_chains_and_rings(new: Ids) -> None:
    old: Ids = {"a": 1, "b": 2, "c": 3}
    check(config(old), config(new), new)


def test_one_that_waits_is_put_back_with_its_last_number() -> None:
    """Its first one is another's by then."""
    new: Ids = {"b": 3}
    check(config({"a": 3}, "a"), config(new), new)
