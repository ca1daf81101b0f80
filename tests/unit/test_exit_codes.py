# SPDX-License-Identifier: GPL-2.0-or-later
"""The exit code speaks of what this command was asked for: not of strangers, and not of who reads what it
says.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.cli.main import agreed
from pyscstadmin.config import schema
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from tests.unit.strategies import MIB

GOOD = Config(
    (Device("n", "nullio", size=MIB),),
    (Target("local", "t", rel_tgt_id=1, groups=(Group("g", initiators=("x",), luns=(Lun(0, "n"),)),)),),
)
LATE = Config((*GOOD.devices, Device("late", "fileio", path="/nonexistent/late")), GOOD.targets)
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def sim(tmp_path: Path) -> str:
    """A tree with a device that waits for its backing, which is none of anybody's business."""
    place = str(tmp_path / "sim")
    with Admin(sim=place) as admin:
        admin.apply(LATE)
    return place


@pytest.mark.parametrize(
    "line",
    [
        "/targets/local create t9",
        "/targets/local/t set queue_depth=5",
        "/targets/local/t/groups create h y",
        "/targets/local/t/groups/g/initiators create z",
        "/targets/local/t map n lun=5",
        "/devices/nullio create m 1M",
        "/devices/nullio/n set read_only=yes",
        "/targets/local/t/hosts create x",
        "/targets/local delete t",
    ],
)
def test_a_stranger_that_is_parked_is_not_reported(line: str, sim: str, capsys: Capture) -> None:
    assert main(["--sim", sim, "shell", "-c", line]) == 0
    assert "late" not in capsys.readouterr().out


def test_what_is_changed_and_parked_is_reported(sim: str, capsys: Capture) -> None:
    assert main(["--sim", sim, "shell", "-c", "/devices/fileio/late set path=/nonexistent/other"]) == 3
    assert "late: parked, waits for /nonexistent/other (ENOENT)" in capsys.readouterr().out
    with Admin(sim=sim) as admin:
        assert admin.add_host("t", "x").parked == ()
        assert admin.change_device("late", read_only=True).parked == ("late",)


# What is done, however it can be said. The shell opens these.
NOWHERE = [">/dev/full", ">&-", "| true", ">&- 2>&-", ">/dev/full 2>/dev/full"]


def run(sim: str, words: str, redirect: str) -> subprocess.CompletedProcess[bytes]:
    command = f"set -o pipefail; {sys.executable} -m pyscstadmin --sim {sim} {words} {redirect}"
    return subprocess.run(["bash", "-c", command], capture_output=True, check=False)


@pytest.mark.parametrize("redirect", NOWHERE)
@pytest.mark.parametrize("words", ["apply", "--json apply"])
@pytest.mark.parametrize(("config", "code"), [(GOOD, 0), (LATE, 3)], ids=["good", "late"])
def test_what_is_done_stays_done(
    tmp_path: Path, redirect: str, words: str, config: Config, code: int
) -> None:
    file = tmp_path / "file.json"
    file.write_text(schema.dumps(config))
    done = run(f"{tmp_path}/s", f"{words} {file}", redirect)
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False)
    with Admin(sim=f"{tmp_path}/s") as admin:
        assert [device.name for device in admin.config().devices] == [d.name for d in config.devices]
    if redirect == ">/dev/full":
        assert b"No space left on device; what was asked for was done all the same" in done.stderr


@pytest.mark.parametrize("redirect", NOWHERE)
def test_every_line_of_a_script_is_done(tmp_path: Path, redirect: str) -> None:
    lines = " ".join(f"-c 'ls' -c '/devices/nullio create n{number} 1M'" for number in range(4))
    done = run(f"{tmp_path}/s", f"shell {lines}", redirect)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    with Admin(sim=f"{tmp_path}/s") as admin:
        assert len(admin.config().devices) == 4


@pytest.mark.parametrize(
    "words",
    ["clear --yes", "map n --target t --lun 7", "unmap --target t --group g --lun 0", "save", "commit"],
)
def test_other_commands_that_change_something(sim: str, words: str) -> None:
    assert run(sim, words, ">/dev/full").returncode == 0


@pytest.mark.parametrize("words", ["show", "plan /dev/null", "sessions", "schema", "save -", "--json show"])
def test_what_was_only_to_be_shown_has_failed(sim: str, words: str) -> None:
    done = run(sim, words, ">/dev/full")
    assert done.returncode in (1, 2)
    assert b"all the same" not in done.stderr


@pytest.mark.parametrize(
    ("words", "redirect"),
    [
        ("bogus", "2>/dev/full"),
        ("watch --bogus", "2>&1 | true"),
        ("--json bogus", ">/dev/full"),
        ("--json bogus", "| true"),
        ("--json shell -c bogus", ">/dev/full"),
    ],
)
def test_what_was_said_wrongly_is_wrong_usage(tmp_path: Path, words: str, redirect: str) -> None:
    done = run(str(tmp_path), words, redirect)
    assert (done.returncode, b"Traceback" in done.stderr) == (2, False)
    assert b"all the same" not in done.stderr


def test_help_that_cannot_be_shown(tmp_path: Path) -> None:
    done = run(str(tmp_path), "watch --help", ">/dev/full")
    assert (done.returncode, done.stderr) == (1, b"scstadmin: output: No space left on device\n")


def test_what_cannot_be_read_is_no_fault_of_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """And is a document, where one is asked for."""
    monkeypatch.setattr(Admin, "sessions", lambda admin: os.listdir(tmp_path / "sessions"))
    assert main(["--sim", str(tmp_path), "--json", "sessions"]) == 1
    error = json.loads(capsys.readouterr().out)
    assert (error["errno"], error["path"]) == ("ENOENT", str(tmp_path / "sessions"))


def test_a_question_is_not_put_into_a_file(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Where nobody sees it who is waited for."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert agreed("Go on? ")
    assert not agreed("Go on? ")
    assert capsys.readouterr() == ("", "Go on? Go on? \n")


@pytest.mark.parametrize(("words", "code"), [("watch --once", 5), ("watch --bogus", 2)])
def test_all_lines_of_watch_are_json(tmp_path: Path, words: str, code: int, capsys: Capture) -> None:
    assert main(["--json", "--root", str(tmp_path), *words.split()]) == code
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[-1])["schema"] == "scstadmin/error/1"
    assert all(json.loads(line) for line in lines)


@pytest.mark.parametrize("words", [["show"], ["sessions"], ["map", "n", "--target", "t", "--lun", "1"]])
def test_a_directory_that_is_no_control_plane(words: list[str], tmp_path: Path, capsys: Capture) -> None:
    assert main(["--root", str(tmp_path), *words]) == 5
    assert "no scst control plane" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
