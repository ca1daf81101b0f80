# SPDX-License-Identifier: GPL-2.0-or-later
"""`save` to a file that is there: whose it is, who may read it, and what was beside it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Config, Device
from pyscstadmin.errors import Conflict, OperationError, SaveRefused
from pyscstadmin.store import save as saving
from pyscstadmin.store.load import load_file
from pyscstadmin.store.save import save
from tests.unit.strategies import MIB

Capture = pytest.CaptureFixture[str]


def numbered(number: int) -> Config:
    return Config((Device(f"d{number}", "nullio", size=MIB),))


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("text", ["notes\n", "[1]", "{}", '{"a": 1}', "\0", '{"version": 1', "[" * 9999])
def test_something_else_is_not_replaced_unasked(text: str, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text(text)
    with pytest.raises(SaveRefused, match=r"notes\.txt is something else than a configuration"):
        save(numbered(1), str(file))
    assert file.read_text() == text
    assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]
    assert save(numbered(1), str(file), force=True)
    assert (tmp_path / "notes.txt.1").read_text() == text


@pytest.mark.parametrize("text", ["", '{"version":1}', ' {"devices": {}, "version": 2}'])
def test_what_is_meant_as_a_configuration_is(text: str, tmp_path: Path) -> None:
    """Also one that is of another version, or empty, as mktemp(1) makes it."""
    file = tmp_path / "scst.json"
    file.write_text(text)
    assert save(numbered(1), str(file))
    assert load_file(str(file)) == numbered(1)


def test_something_else_is_not_taken_for_history(tmp_path: Path) -> None:
    file = tmp_path / "scst.json"
    save(numbered(1), str(file))
    (tmp_path / "scst.json.3").write_text("a letter")
    with pytest.raises(SaveRefused, match=r"scst\.json\.3 is something else"):
        save(numbered(2), str(file))
    assert load_file(str(file)) == numbered(1)
    assert (tmp_path / "scst.json.3").read_text() == "a letter"


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_what_is_no_file_is_no_history(kind: str, tmp_path: Path) -> None:
    file, other = tmp_path / "scst.json", tmp_path / "scst.json.3"
    save(numbered(1), str(file))
    other.mkdir() if kind == "folder" else os.mkfifo(other)
    with pytest.raises(SaveRefused, match=r"scst\.json\.3 is something else"):
        save(numbered(2), str(file))
    assert load_file(str(file)) == numbered(1)


def test_what_is_far_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the image of a disk, given by mistake."""
    file = tmp_path / "disk.img"
    file.write_bytes(b"x")
    os.truncate(file, 1 << 40)
    monkeypatch.setattr(saving, "FILE_MAX", 1 << 20)
    with pytest.raises(SaveRefused, match="something else"):
        save(numbered(1), str(file))
    assert file.stat().st_size == 1 << 40


def test_mode_and_owner_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "scst.json"
    save(numbered(1), str(file))
    assert mode(file) == 0o600
    file.chmod(0o640)
    owner = (12345, 54321) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    os.chown(file, *owner)
    save(numbered(2), str(file))
    status = file.stat()
    assert (status.st_uid, status.st_gid, mode(file)) == (*owner, 0o640)
    assert mode(tmp_path / "scst.json.1") == 0o640


def test_who_may_not_keep_the_owner_opens_it_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "scst.json"
    save(numbered(1), str(file))
    file.chmod(0o644)

    def refuse(fd: int, user: int, group: int) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(os, "fchown", refuse)
    save(numbered(2), str(file))
    assert mode(file) == 0o600


def test_no_older_one_is_more_open(tmp_path: Path) -> None:
    file = tmp_path / "scst.json"
    for number in range(4):
        save(numbered(number), str(file))
    for number in (1, 2, 3):
        (tmp_path / f"scst.json.{number}").chmod(0o644)
    save(numbered(5), str(file))
    assert {mode(one) for one in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("number", sorted(saving._NO_LINKS))
def test_where_there_are_no_hard_links(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "scst.json"
    save(numbered(1), str(file))
    file.chmod(0o640)

    def refuse(path: str, to: str) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "link", refuse)
    save(numbered(2), str(file))
    assert load_file(f"{file}.1") == numbered(1)
    assert mode(tmp_path / "scst.json.1") == 0o640
    assert len(list(tmp_path.iterdir())) == 2


def test_a_directory_that_is_not_there(tmp_path: Path, capsys: Capture) -> None:
    """Is a mistake in the path, but for the file that is ours."""
    file = tmp_path / "no/such/scst.json"
    with pytest.raises(OperationError, match="its directory is not there: make it first"):
        save(numbered(1), str(file))
    assert not (tmp_path / "no").exists()
    with Admin(sim=str(tmp_path / "sim")) as admin:
        admin.apply(numbered(1))
        with pytest.raises(OperationError, match="its directory is not there"):
            admin.save(str(file))
    assert save(numbered(1), str(file), parents=True)


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_a_stream_is_no_file(path: str, tmp_path: Path, capsys: Capture) -> None:
    """Whatever it leads to at the moment, which would be replaced."""
    with pytest.raises(Conflict, match="or - for the standard output"):
        save(numbered(1), path, force=True)
    assert main(["--sim", str(tmp_path), "create", "device", "n", "1M", "handler=nullio"]) == 0
    assert main(["--sim", str(tmp_path), "save", path]) == 1
    assert "- for the standard output" in capsys.readouterr().err
