# SPDX-License-Identifier: GPL-2.0-or-later
"""A login for which memory is short is refused as a whole, however far it got."""

from __future__ import annotations

import errno
from functools import partial

from tests.vm.guest import tree
from tests.vm.guest.patience import GIVE_UP
from tests.vm.guest.script import Script, Target
from tests.vm.guest.tree import Device

SCST_MODULES = ("scst", "scst_nullio", "scst_script")
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
        tree.wait_for("what was made for it to go", lambda: tree.objects() == before, GIVE_UP)
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
