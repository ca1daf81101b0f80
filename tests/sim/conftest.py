# SPDX-License-Identifier: GPL-2.0-or-later
"""The conformance suite runs against the simulated tree, or with SCST_REAL=1 against the kernel."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.config.layout import ROOT
from pyscstadmin.config.settings import DRIVERS
from pyscstadmin.kernel.cfs import RealTree, Tree
from pyscstadmin.sim.tree import SimTree
from tests.nothing_left import nothing_left
from tests.sim.support import Names, wipe

__all__ = ("nothing_left",)

REAL = os.environ.get("SCST_REAL") == "1"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """An empty tree; on the kernel everything is removed before and after."""
    made: Tree = RealTree(ROOT) if REAL else SimTree(str(tmp_path / "sim"))
    if REAL:
        wipe(made)
    yield made
    if REAL:
        wipe(made)
    made.close()


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    """A file of 1 MiB for fileio."""
    path = tmp_path / "backing.img"
    path.write_bytes(bytes(1 << 20))
    return path


@pytest.fixture
def block_device() -> str:
    """A block device that may be opened for writing; the test is skipped without one."""
    path = os.environ.get("SCST_BLOCKDEV", "")
    if not path or not stat.S_ISBLK(os.stat(path).st_mode):
        pytest.skip("SCST_BLOCKDEV names no block device")
    return path


@pytest.fixture
def names(tree: Tree) -> Names:
    """A device, a target and a group to try things on."""
    there, hardware = set(tree.list("targets")), {name for name, spec in DRIVERS.items() if spec.ports}
    # The module of a driver of boards is there if one of its targets was asked for.
    assert there | hardware == set(DRIVERS) if REAL else there == set(DRIVERS)
    return Names.make(tree)


@pytest.fixture
def admin(tree: Tree, tmp_path: Path) -> Admin:
    """The provisioning interface on the same tree."""
    return Admin(tree=tree, state_dir=str(tmp_path / "run"))


@pytest.fixture
def scstadmin(tree: Tree, tmp_path: Path) -> Callable[..., int]:
    """Run the command on the same tree; returns its exit code."""
    tree.flush()
    where = [] if REAL else ["--sim", str(tmp_path / "sim")]
    return lambda *args: main([*where, *args])
