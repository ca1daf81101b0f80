# SPDX-License-Identifier: GPL-2.0-or-later
"""Allocations of loading a module fail in turn: it is not loaded, and nothing is left, or it is."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path

import pytest

from tests.debug.guest import faults
from tests.debug.guest.faults import MEMORY, nth_fails
from tests.vm import guest_plugin
from tests.vm.guest import tree
from tests.vm.guest.test_unload_race import delete_module, load_module

SCST_MODULES = ()

pytestmark = pytest.mark.skipif(bool(faults.missing()), reason=faults.missing())

ORDER = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "scst_iscsi")
MOST = 400


def test_all_are_here() -> None:
    assert set(ORDER) == set(guest_plugin.product_modules())


@pytest.mark.parametrize("name", ORDER)
def test_load(name: str, out_dir: Path) -> None:
    # What it needs is there then.
    guest_plugin.command("modprobe", name)
    tree.wait_for(f"{name} to unload", partial(unloaded, name))
    counted = {}
    for memory in MEMORY:
        for number in faults.numbers():
            assert number < MOST, "no end of allocations"
            with nth_fails(memory, number) as shot:
                code = load_module(name)
            assert code == 0 or (shot.fired and code == errno.ENOMEM), (
                f"{memory.name} {number}: {os.strerror(code)}"
            )
            assert (name in guest_plugin.loaded_modules()) == (code == 0)
            if code == 0:
                tree.wait_for(f"{name} to unload", partial(unloaded, name))
            if not shot.fired:
                break
        counted[memory.name] = number - 1
    with (out_dir / "fail-modules.txt").open("a") as file:
        file.write(f"{name}: {counted}\n")


def unloaded(name: str) -> bool:
    """Try it; what is on its way out may still use the module for a moment."""
    code = delete_module(name)
    assert code in (0, errno.EWOULDBLOCK, errno.EBUSY), os.strerror(code)
    return code == 0
