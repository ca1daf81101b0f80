# SPDX-License-Identifier: GPL-2.0-or-later
"""A login for which memory is short is refused as a whole, however far it got."""

from __future__ import annotations

import errno
import time
from functools import partial

import pytest

from tests.vm.guest import tree
from tests.vm.guest.script import Script, Target
from tests.vm.guest.tree import Device

SCST_MODULES = ("scst", "scst_nullio", "scst_local", "scst_script", "sd_mod", "sg")
LUNS = 4


def served() -> tree.Target:
    """An enabled target with some LUNs."""
    device = Device("nullio", "n0").make(size=1 << 20).enable()
    target = Target("t1").make()
    for lun in range(LUNS):
        target.luns.map(lun, device)
    target.enable()
    return target


def test_login_that_fails_half_way(script: Script) -> None:
    """Some LUNs' nexuses are there already when the next one fails; they outlive the refusal a little."""
    target = served()
    before = tree.objects()
    step = 1
    tree.fail_commit(step)
    while (code := tree.errno_of(partial(script.login, target, "first"))) == errno.ENOMEM:
        tree.wait_objects(before)
        step += 1
        tree.fail_commit(step)
    tree.fail_commit(0)
    assert code == 0
    assert step > LUNS + 1, "the view and each nexus can fail"


def test_target_is_disabled_after_a_login_that_failed(script: Script) -> None:
    """It waits for what is left of the session, and for nothing else."""
    target = served()
    for _ in range(5):
        tree.fail_commit(LUNS + 1)
        assert tree.errno_of(partial(script.login, target, "first")) == errno.ENOMEM
        target.enable(False)
        target.enable()


# --- the local driver's initiators ---


@pytest.mark.usefixtures("clean_tree")
def test_login_that_nobody_waits_for_is_tried_again() -> None:
    """mkdir of an initiator on an enabled target is done before its login: that must not be all."""
    device = tree.nullio("n0", 1 << 20)
    target = tree.Target("t1").make()
    target.luns.map(0, device)
    target.enable()
    for step in (1, 2):
        tree.fail_commit(step)
        host = target.login("first")
        host.disk(0)
        target.logout("first")


@pytest.mark.usefixtures("clean_tree")
def test_login_that_enable_waits_for_is_an_error() -> None:
    """Who enables is told, and nothing goes on afterwards."""
    device = tree.nullio("n0", 1 << 20)
    target = tree.Target("t1").make()
    target.luns.map(0, device)
    host = target.login("first")
    tree.fail_commit(1)
    assert tree.errno_of(target.enable) == errno.ENOMEM
    time.sleep(2)
    assert host.number is None
    target.enable()
    assert host.number is not None
