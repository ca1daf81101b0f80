# SPDX-License-Identifier: GPL-2.0-or-later
"""An empty value, which is what a script gives whose variable is not set, means nothing else than it says."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.cli.parser import FACES, parser
from pyscstadmin.config.model import Config, Device, Group, Target
from pyscstadmin.errors import ScstError
from pyscstadmin.shell.main import Shell
from pyscstadmin.shell.session import Session
from tests.unit.strategies import MIB

CONFIG = Config(
    (Device("d", "nullio", size=MIB),),
    (Target("local", "t", rel_tgt_id=1, groups=(Group("g", initiators=("x",)),)),),
)
# What a `set` has beside settings, which may be emptied.
WHERE = ("sim", "root", "lock_timeout", "settle", "target", "group")
ENOUGH = {"lun": "1", "size": "0", "lock_timeout": "1", "settle": "1"}


def commands(of: argparse.ArgumentParser, name: tuple[str, ...] = ()) -> Iterator[Command]:
    """The commands with their parsers, through all levels: `create device`."""
    below = [action for action in of._actions if isinstance(action, argparse._SubParsersAction)]
    if name and (not below or any(not action.option_strings for action in valued(of))):
        yield name, of
    for action in below:
        for word, inner in action.choices.items():
            yield from commands(inner, (*name, word))


Command = tuple[tuple[str, ...], argparse.ArgumentParser]


def valued(of: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments that take a value."""
    subparsers = argparse._SubParsersAction
    return (a for a in of._actions if a.nargs in (None, "?", "+", "*", 1) and not isinstance(a, subparsers))


def words(name: tuple[str, ...], of: argparse.ArgumentParser, empty: argparse.Action) -> Iterator[list[str]]:
    """A command line with all that is required, and an empty value for one argument."""
    found = list(name)
    for action in valued(of):
        if action is empty and not action.option_strings:
            found.append("")
        elif action is not empty and action.required:
            value = ENOUGH.get(action.dest, "x")
            found += [action.option_strings[-1], value] if action.option_strings else [value]
    if not empty.option_strings:
        yield found
        if name[0] not in FACES:  # what has a place can also be said by its name
            yield [word for word in found if word] + [f"--{empty.dest.replace('_', '-')}="]
        return
    option = empty.option_strings[-1]
    yield [*found, option, ""]
    yield [*found, f"{option}="]


def cases() -> Iterator[list[str]]:
    for name, of in commands(parser()):
        for action in valued(of):
            if name[0] != "set" or not action.option_strings or action.dest in WHERE:
                yield from words(name, of, action)


@pytest.fixture
def no_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH in which modprobe leaves a trace, and does nothing."""
    trace = tmp_path / "modprobe-ran"
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "modprobe").write_text(f"#!/bin/sh\ntouch {trace}\nexit 1\n")
    (folder / "modprobe").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return trace


@pytest.mark.parametrize("line", [*cases(), ["shell", ""], ["shell", "-c", ""]], ids=" ".join)
def test_every_empty_argument_is_wrong_usage(
    line: list[str], no_kernel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = os.listdir(".")
    assert main(["--json", *line]) == 2
    assert "must not be empty" in capsys.readouterr().out
    assert not no_kernel.exists()
    assert os.listdir(".") == before


def test_the_cases_are_all_there() -> None:
    found = list(cases())
    for command, option in ("map", "--sim="), ("clear", "--root"), ("map", "--group="), ("explain", "--file"):
        assert any(line[0] == command and option in line for line in found), (command, option)
    assert len(found) > 100


@pytest.mark.parametrize("name", ["root", "sim", "class_root", "state_dir"])
@pytest.mark.parametrize("value", ["", "a\0b", 5, b"/x"])
def test_places_that_are_none(name: str, value: Any) -> None:
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(ScstError, match="is no path"):
        Admin(**wrong)


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    with Admin(sim=str(tmp_path / "sim")) as made:
        made.apply(CONFIG)
        yield made


def test_no_file_is_saved_nowhere(admin: Admin, tmp_path: Path) -> None:
    with pytest.raises(ScstError, match="is no path"):
        admin.save("")
    assert not (tmp_path / "sim/scst.json").exists()


LINES = [
    "map d target=t group=",
    "map d target=",
    "map d '' g",
    "/targets/local/t map d group=",
    "/targets/local/t map d ''",
    "/targets/local/t map d lun=",
    "/targets/local/t unmap ''",
    "/targets/local/t/groups/g map ''",
    "/targets/local/t/groups create h ''",
    "explain ''",
    "explain x target=",
    "save ''",
    "apply ''",
    "restore ''",
    "plan ''",
    "/devices/nullio create n size=",
    "/devices/nullio create ''",
]


@pytest.mark.parametrize("line", LINES)
def test_every_empty_value_of_a_line_is_refused(line: str, admin: Admin) -> None:
    failure = Shell(Session(admin)).execute(line)
    assert failure is not None
    assert failure.exit_code == 2
    assert "must not be empty" in failure.message
    assert admin.config().targets == CONFIG.targets


def test_a_setting_can_be_emptied(admin: Admin) -> None:
    shell = Shell(Session(admin))
    assert shell.execute("/devices/nullio/d set eui64=0123456789abcdef") is None
    assert shell.execute("/devices/nullio/d set eui64=") is None
    failure = shell.execute("/devices/nullio/d set serial=")
    assert failure is not None
    assert failure.exit_code == 2
