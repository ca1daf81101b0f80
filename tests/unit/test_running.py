# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting until no command of revoked access runs, and which changes revoke anything."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from pyscstadmin.config.model import Config
from pyscstadmin.config.plan import Impact, plan
from pyscstadmin.kernel.apply import Outcome, execute
from pyscstadmin.kernel.read import snapshot
from pyscstadmin.kernel.running import Running, parse_running, read_running, settled_generation, wait_settled
from pyscstadmin.sim.tree import SimTree
from tests.unit.strategies import configs
from tests.unit.trees import made

LINES = "7 local/t iqn.2026-11.com.example:a 0 da\n9 fc/50:01 x 16383 d.b\n"


def test_lines() -> None:
    assert parse_running(LINES) == [
        Running(7, "local/t", "iqn.2026-11.com.example:a", 0, "da"),
        Running(9, "fc/50:01", "x", 16383, "d.b"),
    ]
    assert parse_running("") == []


def test_the_kernel_may_not_tell(tmp_path: Path) -> None:
    tree = SimTree()
    assert settled_generation(tree) == 1
    tree.inject = lambda operation, path, value: 2 if path == "settled" else None
    assert settled_generation(tree) is None
    assert read_running(str(tmp_path)) == []
    assert wait_settled(lambda: None, 1, 10) is None
    (tmp_path / "core").mkdir()
    (tmp_path / "core/unsettled").write_text(LINES)
    assert len(read_running(str(tmp_path))) == 2


@pytest.mark.parametrize("pollable", ["", "/nonexistent/core/settled", "/"])
def test_waiting_without_a_file_looks_again_and_again(pollable: str) -> None:
    looks = iter([3, 3, 4, 5])
    assert wait_settled(lambda: next(looks), 5, 86400, pollable) is True
    start = time.monotonic()
    assert wait_settled(lambda: 4, 5, 0.2, pollable) is False
    assert time.monotonic() - start >= 0.2


def test_waiting_is_woken_by_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read before each look, so that a change after the look wakes."""
    file = tmp_path / "core/settled"
    file.parent.mkdir()
    file.write_text("4\n")
    story: list[str] = []
    pread = os.pread

    class Poller:
        def register(self, fd: int, mask: int) -> None:
            assert mask == select.POLLPRI | select.POLLERR

        def poll(self, milliseconds: float) -> list[tuple[int, int]]:
            assert 0 < milliseconds <= 1000
            story.append("poll")
            return []

    def reading(fd: int, size: int, at: int) -> bytes:
        story.append("read")
        return pread(fd, size, at)

    looks = iter([4, 5])

    def look() -> int:
        story.append("look")
        return next(looks)

    monkeypatch.setattr(select, "poll", Poller)
    monkeypatch.setattr(os, "pread", reading)
    assert wait_settled(look, 5, 10, str(file)) is True
    assert story == ["read", "look", "poll", "read", "look"]


def test_a_plain_file_does_not_make_it_spin(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core/settled").write_text("4\n")
    count = [0]

    def look() -> int:
        count[0] += 1
        return 4

    assert wait_settled(look, 5, 0.3, f"{tmp_path}/core/settled") is False
    assert count[0] <= 3


def test_an_interrupt_ends_the_waiting_only() -> None:
    def look() -> int:
        raise KeyboardInterrupt

    assert wait_settled(look, 5, 10) is False


def test_outcomes() -> None:
    assert not Outcome(1)
    assert Outcome(1).exit_code == 0
    assert Outcome(1, parked=("d",)).exit_code == 3
    assert Outcome(1, parked=("d",), settled=False).exit_code == 4
    assert Outcome(1, settled=None).exit_code == 0


def admitted(tree: SimTree) -> Iterator[None]:
    """Start a write to each LUN that anybody sees."""
    for session in tree.sessions():
        for lun in session.luns:
            tree.begin_command(session.target, session.initiator, lun.number, writes=not lun.read_only)
            yield


@settings(max_examples=150, deadline=None)
@given(configs(), configs())
def test_a_plan_that_revokes_nothing_leaves_nobody_behind(old: Config, new: Config) -> None:
    tree = made(old)
    assert list(admitted(tree)) is not None
    shot = snapshot(tree)
    steps = plan(shot.config, new)
    outcome = execute(tree, steps, shot.root.generation)
    if not any(operation.revokes for operation in outcome.done):
        assert tree.running() == []
    for one in tree.running():
        assert one.generation <= outcome.generation
    quiet = min([tree.top.generation, *(one.generation - 1 for one in tree.running())])
    assert tree.read("settled") == str(quiet)


@settings(max_examples=100, deadline=None)
@given(configs(), configs())
def test_fencing_leaves_nobody_behind_but_sessions_that_end(old: Config, new: Config) -> None:
    tree = made(old)
    list(admitted(tree))
    shot = snapshot(tree)
    steps = plan(shot.config, new)
    execute(tree, steps, shot.root.generation, fence=True)
    drops = any(operation.impact is Impact.SESSION_DROP for operation in steps.operations)
    assert drops or tree.running() == []
