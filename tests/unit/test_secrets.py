# SPDX-License-Identifier: GPL-2.0-or-later
"""Secrets in changes that fail: what is said to be undone is."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Config, Target, User
from pyscstadmin.errors import ApplyFailed, PartlyApplied
from pyscstadmin.sim.tree import SimTree

NAME = "iqn.2026-11.com.example:t"
FROM = f"targets/iscsi/{NAME}/users/joe/secret_from"


def config(file: Path, *more: Target, uses: int = 0) -> Config:
    """A target with a user, and others."""
    joe = User("joe", secret_file=str(file), uses=uses)
    return Config((), (Target("iscsi", NAME, rel_tgt_id=1, users=(joe,)), *more))


@pytest.mark.parametrize("wanted", ["another secret", "no user", "other settings"])
def test_undone(wanted: str, tmp_path: Path) -> None:
    """A file that has changed has not the secret of before, and the kernel tells it nobody."""
    file, tree = tmp_path / "joe.secret", SimTree()
    file.write_text("the first secret\n")
    file.chmod(0o600)
    fails = Target("local", "fails", rel_tgt_id=2)
    with Admin(tree=tree, state_dir=str(tmp_path)) as admin:
        admin.apply(config(file))
        before = tree.read(FROM)
        if wanted != "other settings":
            file.write_text("the other secret, which is longer\n")
        tree.inject = lambda *call: (
            errno.EIO if call[:2] == ("write", "targets/local/fails/enabled") else None
        )
        if wanted == "other settings":
            with pytest.raises(ApplyFailed, match="nothing changed"):
                admin.apply(config(file, fails, uses=3))
            assert tree.read(FROM) == before
            return
        new = config(file, fails)
        if wanted == "no user":
            new = Config((), (new.targets[0].but(users=()), fails))
        with pytest.raises(PartlyApplied, match="has the secret that is in it now, not the older one"):
            admin.apply(new)
        tree.inject = None
        assert tree.read(FROM) not in ("", before)
        assert not admin.apply(config(file))
