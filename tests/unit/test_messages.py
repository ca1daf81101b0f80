# SPDX-License-Identifier: GPL-2.0-or-later
"""What people are told: in plain words, what, where, and what to do about it; nothing of how it is made."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Config, Device, Lun, Target
from pyscstadmin.errors import ADVICE, ADVICE_AT, InvalidInput, OperationError
from tests.unit.strategies import MIB

Capture = pytest.CaptureFixture[str]
INNARDS = (
    "mkdir",
    "rmdir",
    "symlink",
    "positional",
    "positionnal",
    "KeyboardInterrupt",
    "docs/",
    "Errno",
    "None",
)


@pytest.fixture
def sim(tmp_path: Path) -> str:
    path = str(tmp_path / "sim")
    with Admin(sim=path) as admin:
        luns = (Lun(0, "q"), Lun(7, "q"))
        admin.apply(Config((Device("q", "nullio", size=MIB),), (Target("local", "t1", luns=luns),)))
    return path


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("create device q 1M handler=nullio", "there is a device q already, of nullio"),
        ("create device q /tmp/x handler=fileio", "there is a device q already, of nullio"),
        ("create target local/t1", "target local/t1 exists already"),
        ("create device f FOLDER handler=fileio", "is a directory: give a file"),
        ("show a b c", "'a' is one parameter too many"),
        ("delete device q", "device q is LUN 0 of local/t1, LUN 7 of local/t1: unmap it there first"),
        ("disable device q", "device q is LUN 0 of local/t1, LUN 7 of local/t1: unmap it there first"),
        ("save /dev/stdout", "or - for the standard output"),
        ("save FOLDER/no/x", "its directory is not there"),
        ("save FOLDER", "it is a directory: give a file"),
        ("--lock-timeout nan show", "'nan' is not a number of seconds, 0-86400"),
        ("--lock-timeout=-1 show", "'-1' is not a number of seconds, 0-86400"),
        ("--lock-timeout inf show", "'inf' is not a number of seconds, 0-86400"),
        ("--lock-timeout x show", "'x' is not a number of seconds, 0-86400"),
    ],
)
def test_messages(line: str, told: str, sim: str, tmp_path: Path, capsys: Capture) -> None:
    words = line.replace("FOLDER", str(tmp_path)).split()
    try:
        code = main(["--sim", sim, *words])
    except SystemExit as error:
        code = int(str(error.code))
    said = capsys.readouterr().err
    assert code in (1, 2)
    assert told in said
    assert not [word for word in INNARDS if word in said.replace(str(tmp_path), "")]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOENT, errno.EPERM])
def test_a_lock_that_cannot_be_had(
    number: int, sim: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Has nothing to do with any backing, nor with the module."""
    real = os.open

    def refuse(path: str, *args: int, **more: int) -> int:
        if str(path).endswith("/lock.queue"):
            raise OSError(number, os.strerror(number))
        return real(path, *args, **more)

    monkeypatch.setattr(os, "open", refuse)
    assert main(["--sim", sim, "map", "q", "t1"]) == 1
    said = capsys.readouterr().err
    assert "lock" in said
    assert not [word for word in ("backing", "read_only", "module", "setting") if word in said]


@pytest.mark.parametrize("operation", ["mkdir", "rmdir", "symlink", "unlink", "readlink", "write", "save"])
@pytest.mark.parametrize("number", sorted(ADVICE))
def test_no_error_of_the_tree_shows_how_it_is_made(operation: str, number: int) -> None:
    said = str(OperationError(operation, "/tree/devices/nullio/q", None, number))
    assert not [word for word in INNARDS if word in said]
    assert ";" in said, "something can be done about it"


def test_no_advice_speaks_of_what_is_not_installed() -> None:
    assert not [text for text in (*ADVICE.values(), *ADVICE_AT.values()) if "docs/" in text]


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1, -0.5, 1e9, "1", None, True])
@pytest.mark.parametrize("name", ["lock_timeout", "settle"])
def test_how_long_to_wait_is_a_number(name: str, seconds: float, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a number of seconds"):
        Admin(sim=str(tmp_path), **{name: seconds})  # type: ignore[arg-type]
