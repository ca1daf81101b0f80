# SPDX-License-Identifier: GPL-2.0-or-later
"""What initiators ask for by SET TARGET PORT GROUPS: shown, answered and withdrawn, on the simulated tree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.config import alua_edits
from pyscstadmin.config.model import Config, Device, DeviceGroup, PortGroup, Target
from pyscstadmin.errors import Conflict, OperationError
from pyscstadmin.sim.alua import Question
from pyscstadmin.sim.tree import SimTree

Capture = pytest.CaptureFixture[str]
QUESTION = Question(7, "local/t1", "iqn.x:a", "da", {"here": "standby", "there": "active/optimized"})
LINE = "7 20000 local/t1 iqn.x:a da here=standby there=active/optimized"


@pytest.fixture
def sim(tmp_path: Path) -> Path:
    """Two ports, one of another host; a question is open."""
    groups = PortGroup("here", 1, targets=["local/t1"]), PortGroup("there", 2, "standby", remote_ports=[77])
    config = Config(
        (Device("da", "nullio", size=1 << 20), Device("db", "nullio", size=1 << 20)),
        (Target("local", "t1", True),),
        (DeviceGroup("dg", ["da", "db"], groups, explicit=True, ask_ms=20000), DeviceGroup("other")),
    )
    with Admin(sim=str(tmp_path)) as admin:
        admin.apply(config)
        assert isinstance(admin.tree, SimTree)
        admin.tree.put_question("dg", QUESTION)
        admin.tree.flush()
    return tmp_path


def states(admin: Admin) -> dict[str, str | None]:
    group = admin.config().device_group("dg")
    assert group is not None
    return {one.name: one.state for one in group.port_groups}


def test_shown(sim: Path, capsys: Capture) -> None:
    """By `list`, `get` and in Python; in another process it is there, too."""
    assert main(["--sim", str(sim), "--json", "list", "alua"]) == 0
    rows = json.loads(capsys.readouterr().out)["alua"]
    wanted = "7 here=standby there=active/optimized"
    assert [(row["name"], row["question"]) for row in rows] == [("dg", wanted), ("other", "")]
    assert main(["--sim", str(sim), "get", "alua", "dg", "question", "ask_ms"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"question='{LINE}'", "ask_ms=20000"]
    with Admin(sim=str(sim)) as admin:
        assert admin.questions() == {"dg": LINE}


@pytest.mark.parametrize("accept", [True, False])
def test_answered(sim: Path, accept: bool) -> None:
    """Once, and for good."""
    with Admin(sim=str(sim)) as admin:
        before = states(admin)
        admin.answer("dg", 7, accept)
        assert admin.questions() == {}
        assert states(admin) == (QUESTION.wanted if accept else before)
        with pytest.raises(OperationError, match=r"ESTALE.*that question is not open"):
            admin.answer("dg", 7, accept)


def ended(sim: Path, words: str) -> object:
    """The exit code; wrong usage exits by itself."""
    try:
        return main(["--sim", str(sim), *words.split()])
    except SystemExit as end:
        return end.code


def test_wrong_answers(sim: Path, capsys: Capture) -> None:
    """They do nothing, and say what is wrong."""
    for words, code, said in (
        ("answer dg 8 accept", 1, "that question is not open"),
        ("answer other 7 refuse", 1, "that question is not open"),
        ("answer dh 7 accept", 1, "there is no device group dh"),
        ("answer dg x accept", 2, "is no number of a question"),
        ("answer dg 7 maybe", 2, "there is no answer 'maybe'; there are accept, refuse"),
        ("answer dg 7", 2, "accept|refuse"),
    ):
        assert ended(sim, words) == code, words
        assert said in capsys.readouterr().err, words
    with Admin(sim=str(sim)) as admin:
        assert admin.questions() == {"dg": LINE}
        with pytest.raises(Conflict):
            admin.answer("dh", 7, True)


# What makes it void, and what does not.
VOID: dict[str, Callable[[Admin], object]] = {
    "state": lambda a: a.change(alua_edits.change_port_group("dg", "there", {"state": "offline"})),
    "explicit": lambda a: a.change(alua_edits.change_device_group("dg", {"explicit": False})),
    "device": lambda a: a.change(alua_edits.remove_devices("dg", ["da"])),
    "port": lambda a: a.change(alua_edits.remove_ports("dg", "there", [77])),
    "target": lambda a: a.change(alua_edits.remove_ports("dg", "here", ["local/t1"])),
    "group": lambda a: a.change(alua_edits.remove_port_group("dg", "there")),
}
STAYS: dict[str, Callable[[Admin], object]] = {
    "time": lambda a: a.change(alua_edits.change_device_group("dg", {"transition_time": 9})),
    "ask": lambda a: a.change(alua_edits.change_device_group("dg", {"ask_ms": 0})),
    "other-device": lambda a: a.change(alua_edits.remove_devices("dg", ["db"])),
    "same": lambda a: a.change(alua_edits.change_port_group("dg", "there", {"state": "standby"})),
}


@pytest.mark.parametrize("how", [*VOID, *STAYS])
def test_void(sim: Path, how: str) -> None:
    with Admin(sim=str(sim)) as admin:
        (VOID | STAYS)[how](admin)
        assert bool(admin.questions()) == (how in STAYS)
