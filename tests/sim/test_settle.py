# SPDX-License-Identifier: GPL-2.0-or-later
"""Access that is taken away while commands run that were admitted under it. Simulated only: on the kernel it
takes a back end that hangs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config import schema
from pyscstadmin.config.model import Config
from pyscstadmin.kernel.running import Running
from pyscstadmin.sim.tree import SimTree
from tests.sim.conftest import REAL
from tests.sim.support import INITIATOR, OTHER, Names, generation, null_device

pytestmark = pytest.mark.skipif(REAL, reason="no command hangs on the kernel")

Run = Callable[..., int]
Capture = pytest.CaptureFixture[str]
SHORT = ("--settle", "0.1")
UNMAP = ("unmap", "--target", "t0", "--group", "g0", "--lun", "0")


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[SimTree]:
    """A logged-in initiator whose write to LUN 0 hangs."""
    tree = SimTree(str(tmp_path / "sim"))
    names = Names.make(tree)
    null_device(tree, "n1")
    tree.write(f"{names.target}/enabled", "1")
    for initiator in (INITIATOR, OTHER):
        tree.mkdir(f"{names.target}/hosts/{initiator}")
    tree.begin_command("local/t0", INITIATOR, 0)
    tree.flush()
    yield tree
    tree.close()


def result(scstadmin: Run, capsys: Capture, *words: str) -> tuple[int, Any]:
    code = scstadmin("--json", *words)
    said = capsys.readouterr()
    assert said.err == ""
    return code, json.loads(said.out)


def write(path: Path, config: Config) -> str:
    path.write_text(schema.dumps(config))
    return str(path)


def ended_when_revoked(directory: str) -> Thread:
    """Ends all commands as soon as their access is revoked."""

    def end() -> None:
        other, limit = SimTree(directory), time.monotonic() + 10
        while not other.running() and time.monotonic() < limit:
            time.sleep(0.02)
            other.refresh()
        other.end_commands()
        other.close()

    thread = Thread(target=end)
    thread.start()
    return thread


def test_a_hung_write_is_named(hung: SimTree, scstadmin: Run, capsys: Capture) -> None:
    code, data = result(scstadmin, capsys, *SHORT, *UNMAP)
    hung.refresh()
    assert code == data["exit_code"] == 4
    assert (data["changed"], data["settled"], data["generation"]) == (True, False, generation(hung))
    line = {"generation": generation(hung), "target": "local/t0", "initiator": INITIATOR}
    assert data["running"] == [{**line, "lun": 0, "device": "n0"}]
    assert hung.read("settled") == str(generation(hung) - 1)
    assert not [one for one in hung.sessions() if one.initiator == INITIATOR and one.luns]


def test_a_hung_write_is_named_to_people(hung: SimTree, scstadmin: Run, capsys: Capture) -> None:
    assert scstadmin(*SHORT, *UNMAP) == 4
    said = capsys.readouterr().out
    assert said.startswith("done\n")
    for part in (INITIATOR, "local/t0", "LUN 0", "n0", "--fence", "may still change the medium"):
        assert part in said
    assert scstadmin("show") == 0
    assert (
        f"revoked by generation {hung.refresh() and generation(hung)}: {INITIATOR}" in capsys.readouterr().out
    )
    _, data = result(scstadmin, capsys, "show")
    assert [one["device"] for one in data["running"]] == ["n0"]


def test_one_can_go_without_waiting(hung: SimTree, scstadmin: Run, capsys: Capture) -> None:
    code, data = result(scstadmin, capsys, "--settle", "0", *UNMAP)
    assert (code, data["settled"], data["running"]) == (0, None, [])


def test_the_end_of_the_command_ends_the_waiting(hung: SimTree, scstadmin: Run, capsys: Capture) -> None:
    thread = ended_when_revoked(hung.name)
    code, data = result(scstadmin, capsys, "--settle", "3600", *UNMAP)
    thread.join()
    assert (code, data["settled"], data["running"]) == (0, True, [])


def test_others_may_write_while_one_waits(hung: SimTree, tmp_path: Path) -> None:
    """The lock is not held for it."""
    waiting = Admin(sim=hung.name, settle=20)
    outcomes: list[object] = []
    thread = Thread(target=lambda: outcomes.append(waiting.unmap("t0", 0, group="g0").settled))
    thread.start()
    with Admin(sim=hung.name, lock_timeout=5, settle=0) as other:
        limit = time.monotonic() + 10
        while not other.running() and time.monotonic() < limit:
            time.sleep(0.02)
        assert other.map("t0", 5, "n1")
    hung.refresh()
    hung.end_commands()
    hung.flush()
    thread.join()
    assert outcomes == [True]


def test_fence_aborts(hung: SimTree, scstadmin: Run, capsys: Capture) -> None:
    code, data = result(scstadmin, capsys, "--fence", *UNMAP)
    hung.refresh()
    assert (code, data["settled"], hung.read("settled")) == (0, True, str(generation(hung)))


def test_what_takes_nothing_away_waits_for_nobody(hung: SimTree, scstadmin: Run, capsys: Capture) -> None:
    """Also if somebody else's revoked command hangs."""
    scstadmin("--settle", "0", *UNMAP)
    capsys.readouterr()
    for words in (
        ("map", "n1", "--target", "t0", "--group", "g0", "--lun", "7"),
        ("map", "n1", "--target", "t0", "--group", "g0", "--lun", "7"),
    ):
        code, data = result(scstadmin, capsys, *words)
        assert (code, data["settled"]) == (0, True)


@pytest.mark.parametrize("writes", [True, False])
def test_read_only_is_over_when_the_last_write_is(hung: SimTree, writes: bool) -> None:
    hung.end_commands()
    hung.begin_command("local/t0", INITIATOR, 0, writes=writes)
    with Admin(tree=hung, state_dir=hung.name, settle=0.1) as admin:
        outcome = admin.map("t0", 0, "n0", group="g0", read_only=True)
    assert outcome.done
    assert outcome.settled is not writes
    assert outcome.exit_code == (4 if writes else 0)


CHANGES: dict[str, Callable[[Admin], object]] = {
    "replace": lambda admin: admin.map("t0", 0, "n1", group="g0", replace=True),
    "change_lun": lambda admin: admin.change_lun("t0", 0, group="g0", device="n1"),
    "remove_group": lambda admin: admin.remove_group("t0", "g0"),
    "remove_initiator": lambda admin: admin.remove_initiator("t0", "g0", INITIATOR),
    "remove_host": lambda admin: admin.remove_host("t0", INITIATOR),
    "disable": lambda admin: admin.change_target("t0", enabled=False),
    "remove_target": lambda admin: admin.remove_target("t0"),
    "clear": lambda admin: admin.clear(),
    "apply": lambda admin: admin.apply(Config(admin.config().devices)),
    "restore": lambda admin: admin.restore(Config(admin.config().devices)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_way_of_taking_away(hung: SimTree, change: str) -> None:
    with Admin(tree=hung, state_dir=hung.name, settle=0.1) as admin:
        outcome: Any = CHANGES[change](admin)
    assert (outcome.settled, outcome.exit_code) == (False, 4)
    assert outcome.running == (Running(outcome.generation, "local/t0", INITIATOR, 0, "n0"),)


def test_apply_and_restore(hung: SimTree, scstadmin: Run, capsys: Capture, tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.json", Config())
    code, data = result(scstadmin, capsys, *SHORT, "restore", empty, "--yes")
    assert (code, data["settled"], data["failed"]) == (4, False, [])
    code, data = result(scstadmin, capsys, *SHORT, "apply", empty)
    assert (code, data["operations"], data["settled"]) == (0, [], True)


def test_the_shell_says_so_too(hung: SimTree, scstadmin: Run, capsys: Capture) -> None:
    assert scstadmin(*SHORT, "shell", "-c", "/targets/local/t0/groups/g0/luns/0 delete") == 4
    assert INITIATOR in capsys.readouterr().out
    assert scstadmin("shell", "-c", "status") == 0
    assert "still running under revoked access" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "x", "1e9", ""])
def test_how_long_is_a_number(scstadmin: Run, text: str) -> None:
    with pytest.raises(SystemExit) as caught:
        scstadmin("show", f"--settle={text}")
    assert caught.value.code == 2


def test_a_state_outlives_the_program(hung: SimTree) -> None:
    with Admin(tree=hung, state_dir=hung.name, settle=0) as admin:
        admin.unmap("t0", 0, group="g0")
    hung.flush()
    again = SimTree(hung.name)
    assert again.dump() == hung.dump()
    assert again.running() == hung.running() != []
