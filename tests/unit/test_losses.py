# SPDX-License-Identifier: GPL-2.0-or-later
"""What takes something away says so: a person is asked, a script has to say that it is meant where somebody
who is logged in loses something, and goes on as ever where nobody does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.cli.context import Context
from pyscstadmin.cli.engine import run, understand_line
from pyscstadmin.cli.words import Declined
from pyscstadmin.config.losses import Login, Losses, Taken, losses
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.config.schema import dumps
from tests.unit.strategies import MIB

Capture = pytest.CaptureFixture[str]
HOST, OTHER = "iqn.2026-11.com.example:a", "iqn.2026-11.com.example:b"
DEVICES = tuple(Device(name, "nullio", size=MIB) for name in ("da", "db", "dc"))
TARGET = Target(
    "local",
    "t1",
    hosts=(HOST,),
    luns=(Lun(0, "dc"),),
    groups=(Group("g", 5, (HOST,), (Lun(0, "da"), Lun(1, "db"))), Group("h", 6, (OTHER,), (Lun(0, "da"),))),
)
CONFIG = Config(DEVICES, (TARGET,))
LOGIN = Login(HOST, "local/t1", ((0, "da"), (1, "db")))


def but(**changes: object) -> Config:
    return Config(DEVICES, (TARGET.but(**changes),))


def group(name: str, **changes: Any) -> tuple[Group, ...]:
    return tuple(replace(one, **changes) if one.name == name else one for one in TARGET.groups)


@pytest.mark.parametrize(
    ("new", "removed", "ended", "taken"),
    [
        (CONFIG, [], [], []),
        (but(queue_depth=7), [], [], []),
        (Config(DEVICES), ["target local/t1"], [f"{HOST} on local/t1"], []),
        (but(enabled=False), [], [f"{HOST} on local/t1"], []),
        (but(hosts=()), [f"host {HOST} of local/t1"], [f"{HOST} on local/t1"], []),
        (but(luns=()), ["LUN 0 (dc) of local/t1"], [], []),
        (but(groups=group("h", luns=())), ["LUN 0 (da) of local/t1/h"], [], []),
        (but(groups=group("g", luns=(Lun(0, "da"),))), ["LUN 1 (db) of local/t1/g"], [], [1]),
        (but(groups=group("g", luns=(Lun(0, "da"), Lun(1, "dc")))), [], [], [1]),
        (but(groups=group("g", luns=(Lun(0, "da"), Lun(1, "db"), Lun(2, "dc")))), [], [], []),
        (but(groups=TARGET.groups[1:]), ["group local/t1/g"], [], [0, 1]),
        (but(groups=group("g", initiators=("x",))), [f"initiator {HOST} of local/t1/g"], [], [0, 1]),
        # Another group claims it, with the same LUNs: nothing is lost.
        (but(groups=(replace(TARGET.groups[0], name="new"), TARGET.groups[1])), ["group local/t1/g"], [], []),
    ],
)
def test_losses(new: Config, removed: list[str], ended: list[str], taken: list[int]) -> None:
    lost = losses(CONFIG, new, [LOGIN])
    gone = tuple(Taken(HOST, "local/t1", number, dict(LOGIN.luns)[number]) for number in taken)
    assert lost == Losses(tuple(removed), tuple(ended), gone)
    assert lost.live == bool(ended or taken)
    assert bool(lost) == bool(removed or ended or taken)
    assert losses(CONFIG, new, []).live is False


def test_losses_by_a_portal() -> None:
    """A group that asks for a portal takes from those only who have come by another."""
    name, target = "iqn.2026-11.com.example:a", "iqn.2026-11.com.example:t"

    def config(entry: str) -> Config:
        shown = Group("g", initiators=(entry,), luns=(Lun(0, "da"),))
        return Config(DEVICES, (Target("iscsi", target, groups=(shown,)),))

    logins = [Login(name, f"iscsi/{target}", ((0, "da"),), portal) for portal in ("p", "q")]
    for login, taken in zip(logins, (0, 1), strict=True):
        assert len(losses(config(name), config(f"{name}#p"), [login]).taken) == taken


def test_what_is_lost_is_said_in_a_line() -> None:
    many = tuple(f"device d{number}" for number in range(9))
    said = Losses(many, (f"{HOST} on local/t1",), (Taken(OTHER, "local/t1", 3, "da"),)).text()
    assert said == (
        "removes device d0, device d1, device d2, device d3, device d4, device d5 and 3 more; "
        f"ends the session of {HOST} on local/t1; takes LUN 3 (da) from {OTHER} on local/t1"
    )


@pytest.fixture
def sim(tmp_path: Path) -> str:
    path = str(tmp_path / "sim")
    with Admin(sim=path) as admin:
        admin.apply(CONFIG)
        assert [one.initiator for one in admin.sessions()] == [HOST]
    return path


def written(folder: Path, config: Config) -> str:
    file = folder / "new.json"
    file.write_text(dumps(config))
    return str(file)


def present(sim: str) -> Config:
    with Admin(sim=sim) as admin:
        return admin.config()


@pytest.mark.parametrize("verb", ["apply", "restore"])
@pytest.mark.parametrize(
    ("new", "named"),
    [
        (Config(DEVICES), f"removes target local/t1; ends the session of {HOST}"),
        (but(enabled=False), f"ends the session of {HOST}"),
        (but(groups=group("g", luns=(Lun(0, "da"),))), f"takes LUN 1 (db) from {HOST}"),
    ],
)
def test_a_script_says_that_it_is_meant(
    verb: str, new: Config, named: str, sim: str, tmp_path: Path, capsys: Capture
) -> None:
    before, file = present(sim), written(tmp_path, new)
    assert main(["--sim", sim, verb, file, "--accept", "no-lun-0"]) == 2
    said = capsys.readouterr()
    assert named in said.err
    assert "--yes" in said.err
    assert main(["--sim", sim, "--json", verb, file]) == 2
    data = json.loads(capsys.readouterr().out)
    assert data["error"] == "NotAgreed"
    assert data["losses"]["ended"] or data["losses"]["taken"]
    assert present(sim) == before
    assert main(["--sim", sim, verb, file, "--yes"]) == 0
    assert named in capsys.readouterr().out
    assert present(sim) != before


@pytest.mark.parametrize("verb", ["apply", "restore"])
def test_a_script_goes_on_where_nobody_loses_anything(
    verb: str, sim: str, tmp_path: Path, capsys: Capture
) -> None:
    """It says what went, as it may not have been known."""
    file = written(tmp_path, Config(DEVICES[:2], (TARGET.but(luns=()),)))
    assert main(["--sim", sim, verb, file]) == 0
    assert "this removes device dc, LUN 0 (dc) of local/t1" in capsys.readouterr().out
    assert present(sim).device("dc") is None
    assert main(["--sim", sim, "--json", verb, written(tmp_path, Config(DEVICES[:2], (TARGET,)))]) in (0, 2)


def answering(answer: Callable[[str], bool], sim: str, *words: str) -> int:
    with Admin(sim=sim) as admin:
        return run(Context(admin, answer), understand_line(words)).exit_code


@pytest.mark.parametrize("verb", ["apply", "restore"])
def test_a_person_is_asked(verb: str, sim: str, tmp_path: Path) -> None:
    """About everything that goes, and again when it is more by the time of the answer."""
    before, asked = present(sim), list[str]()
    file = written(tmp_path, Config(DEVICES[:2], (TARGET.but(luns=()),)))

    def no(question: str) -> bool:
        asked.append(question)
        return False

    with pytest.raises(Declined):
        answering(no, sim, verb, file)
    assert asked == ["This removes device dc, LUN 0 (dc) of local/t1. Go on? [y/N] "]
    assert present(sim) == before

    def late(question: str) -> bool:
        asked.append(question)
        if len(asked) == 2:
            with Admin(sim=sim) as other:
                other.create_device(Device("late", "nullio", size=MIB))
        return True

    assert answering(late, sim, verb, file) == 0
    assert len(asked) == 3
    assert "device late" in asked[2]
    assert present(sim).device("late") is None
    assert answering(no, sim, verb, file) == 0, "nothing to do, nothing to ask"
    assert len(asked) == 3


@pytest.mark.parametrize("words", ["delete target t1", "disable target t1", "set target t1 enabled=no"])
def test_what_ends_sessions(words: str, sim: str, capsys: Capture) -> None:
    before = present(sim)
    assert main(["--sim", sim, "--json", *words.split()]) == 2
    assert json.loads(capsys.readouterr().out)["losses"]["ended"] == [f"{HOST} on local/t1"]
    assert present(sim) == before
    assert main(["--sim", sim, *words.split(), "--yes"]) == 0
    with Admin(sim=sim) as admin:
        assert not admin.sessions()
        admin.apply(CONFIG.but(targets=(TARGET.but(hosts=()),)))
    capsys.readouterr()
    assert main(["--sim", sim, *words.split()]) == 0, "nobody is logged in, nobody has to be asked"


def test_what_was_left_staged_is_committed(sim: str, capsys: Capture) -> None:
    with Admin(sim=sim) as admin:
        admin.tree.write("autocommit", "0")
        admin.tree.unlink("targets/local/t1/luns/0/device")
        admin.tree.flush()
    assert main(["--sim", sim, "map", "da", "t1", "--lun", "5"]) == 1
    assert "scstadmin commit" in capsys.readouterr().err
    assert main(["--sim", sim, "shell", "-c", "discard"]) == 2
    assert "`commit` brings it into force" in capsys.readouterr().err
    assert main(["--sim", sim, "commit"]) == 0
    assert main(["--sim", sim, "map", "da", "t1", "--lun", "5"]) == 0
