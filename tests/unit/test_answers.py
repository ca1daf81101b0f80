# SPDX-License-Identifier: GPL-2.0-or-later
"""What `--json` prints: one document, with a published schema, and nothing beside it. That of each verb is
validated where each is run (`test_faces`).
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.cli import answers, describe
from pyscstadmin.cli.table import FORMS
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.sim.tree import SimTree
from tests.unit.strategies import MIB

Capture = pytest.CaptureFixture[str]
Said = Callable[..., Any]
PUBLISHED = Path(answers.__file__).with_name("answers.json")
ANSWERS = jsonschema.Draft202012Validator(answers.json_schema())
HOST = "iqn.2026-11.com.example:a"
CONFIG = Config(
    (Device("da", "nullio", size=MIB), Device("gone", "fileio", path="/nonexistent/x")),
    (
        Target(
            "local",
            "t1",
            hosts=(HOST,),
            luns=(Lun(0, "da"),),
            groups=(Group("g", 5, (HOST,), (Lun(0, "da"), Lun(1, "gone", True))),),
        ),
    ),
)


def test_published_schema() -> None:
    assert PUBLISHED.read_text() == answers.text(), (
        "run python -m pyscstadmin.cli.answers > pyscstadmin/cli/answers.json"
    )
    jsonschema.Draft202012Validator.check_schema(json.loads(PUBLISHED.read_text()))


def test_each_verb_has_a_document_of_its_own() -> None:
    known = {one["properties"]["schema"]["const"] for one in answers.json_schema()["oneOf"]}
    assert len(known) == len(answers.json_schema()["oneOf"])
    wanted = {answers.name_of(form) for form in FORMS if form.verb != "schema"}
    assert known == {*wanted, answers.ERROR, answers.SCRIPT, answers.IMPORT}


@pytest.fixture
def sim(tmp_path: Path) -> str:
    path = str(tmp_path / "sim")
    with Admin(sim=path) as admin:
        admin.apply(CONFIG)
    return path


@pytest.fixture
def said(sim: str, capsys: Capture) -> Said:
    """What a command prints, which is one document of the schema, and nothing else."""

    def run(*words: str, code: int = 0) -> Any:
        assert main(["--sim", sim, "--json", *words]) == code
        found = capsys.readouterr()
        assert found.err == ""
        data = json.loads(found.out)
        ANSWERS.validate(data)
        for line in data.get("results", ()) if data["schema"] == answers.SCRIPT else ():
            ANSWERS.validate(line["result"])
        return data

    return run


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("nonsense", 2),
        ("map da --lun x", 2),
        ("apply /nonexistent", 2),
        ("watch --bogus", 2),
        ("shell --bogus", 2),
        ("import lio /nonexistent", 2),
        ("delete device da", 1),
        ("activate gone", 1),
        ("delete target t1", 2),
        ("clear", 2),
        ("create device da 1M --handler nullio", 1),
        ("shell -c nonsense", 2),
        ("shell -c", 2),
        ("--lock-timeout x show", 2),
    ],
)
def test_errors(line: str, code: int, said: Said) -> None:
    data = said(*line.split(), code=code)
    assert data["schema"] in (answers.ERROR, answers.SCRIPT)
    assert data["error"]
    assert data["message"]
    assert data["exit_code"] == code


@pytest.mark.parametrize(
    "line",
    [
        "show",
        "status",
        "who gone",
        "who da",
        "sessions",
        "get device gone",
        "get target t1 state",
        "list hosts",
        "list sessions",
        f"explain {HOST}",
        "explain other",
        "help",
        "help map",
        "help places",
        "shell --help",
        "watch --help",
        "import --help",
        "map --help",
        "--version",
        "-v map da t1 --lun 7",
        "map da t1 --lun 0",
    ],
)
def test_answers(line: str, said: Said) -> None:
    assert said(*line.split())["schema"].startswith("scstadmin/")


def test_what_is_left_out(said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says what was left out, and the error in full."""
    file = tmp_path / "bad.json"
    file.write_text(
        json.dumps({"version": 1, "devices": {"fileio": {"bad": {"path": str(tmp_path)}}}, "targets": {}})
    )
    data = said("restore", str(file), "--yes", code=4)
    assert data["failed"][0]["step"].startswith("create device fileio/bad")
    assert data["failed"][0]["errno"].startswith("E")
    assert data["losses"]["ended"] == [f"{HOST} on local/t1"]


def test_commands_in_flight(said: Said, sim: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyscstadmin.kernel.inflight import Command

    one = Command(
        5, "handler", False, "session.1", "local/t1", HOST, None, "", "0x1", 512, "2800", "READ(10)"
    )
    monkeypatch.setattr(SimTree, "in_flight", lambda self: [one])
    assert said("sessions", "--commands")["commands"][0]["age_ms"] == 5


def test_a_script(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verbs that make sense in scripts only, and one that fails."""
    lines = "begin\nmap da target=t1 lun=5\ndiscard\nbegin\nmap da target=t1 lun=6\ncommit\n"
    lines += "cd /targets\npwd\nrefresh\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{lines}map da target=t1 lun=6\nexit\n"))
    data = said("shell", "-")
    names = [one["result"]["schema"] for one in data["results"]]
    assert names[0] == "scstadmin/begin/1"
    assert data["results"][1]["result"]["pending"] is True
    assert names[-1] == "scstadmin/exit/1"
    data = said("shell", "-c", "pwd", "-c", "delete device da", code=1)
    assert (data["line"], data["error"], data["cause"]["error"]) == (2, "ShellFailure", "Conflict")
    assert len(data["results"]) == 1


def test_an_import(said: Said, tmp_path: Path) -> None:
    file = tmp_path / "saveconfig.json"
    file.write_text('{"storage_objects": [], "targets": [], "fabric_modules": []}')
    assert said("import", "lio", str(file))["schema"] == answers.IMPORT


def test_what_is_a_document_of_another_kind(sim: str, capsys: Capture) -> None:
    """A configuration is one that `apply` takes; a schema is a schema."""

    def printed(*words: str) -> Any:
        assert main(["--sim", sim, "--json", *words]) == 0
        return json.loads(capsys.readouterr().out)

    jsonschema.validate(printed("save", "-"), describe.json_schema())
    assert printed("schema") == describe.json_schema()
    assert printed("schema", "--answers") == answers.json_schema()


def test_the_schema_refuses_what_it_does_not_know() -> None:
    good = {"schema": "scstadmin/pwd/1", "place": "/"}
    assert ANSWERS.is_valid(good)
    assert not ANSWERS.is_valid({"place": "/"})
    assert not ANSWERS.is_valid({**good, "more": 1})
    assert not ANSWERS.is_valid({**good, "place": 1})
    assert not ANSWERS.is_valid({"schema": "scstadmin/set/1", "changed": True})
