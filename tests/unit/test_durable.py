# SPDX-License-Identifier: GPL-2.0-or-later
"""What was said to be saved is found after a loss of power: names of files, and of folders made for them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pyscstadmin.config.model import Config
from pyscstadmin.durable import make_folders, sync_folder
from pyscstadmin.iscsi.uses import Uses
from pyscstadmin.store.save import save


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is synced, in order."""
    found: list[str] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        found.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    return found


def test_each_folder_that_is_made_is_named_in_one_that_is_synced(tmp_path: Path, synced: list[str]) -> None:
    make_folders(str(tmp_path / "a/b/c"), 0o700)
    assert synced == [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a/b")]
    assert all((tmp_path / name).stat().st_mode & 0o777 == 0o700 for name in ("a", "a/b", "a/b/c"))
    make_folders(str(tmp_path / "a/b/c"))
    assert len(synced) == 3, "they are there"


def test_relative_folders(tmp_path: Path, synced: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_folders("a/b")
    make_folders("")
    assert synced == [str(tmp_path), str(tmp_path / "a")]


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    make_folders(str(tmp_path / "file"))
    with pytest.raises(NotADirectoryError):
        make_folders(str(tmp_path / "file/a"))


def test_a_saved_configuration(tmp_path: Path, synced: list[str]) -> None:
    save(Config(), str(tmp_path / "etc/scst/scst.json"), parents=True)
    assert [str(tmp_path), str(tmp_path / "etc")] == synced[:2]
    assert synced[-1] == str(tmp_path / "etc/scst")


def test_how_often_a_user_was_used(tmp_path: Path, synced: list[str]) -> None:
    with Uses(str(tmp_path / "lib/scst/uses.json"))._held():
        pass
    assert synced == [str(tmp_path), str(tmp_path / "lib")]


@pytest.mark.parametrize(("code", "fails"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_file_systems_that_cannot_sync_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, fails: bool
) -> None:
    def fsync(fd: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    if fails:
        with pytest.raises(OSError, match=os.strerror(code)):
            sync_folder(str(tmp_path))
    else:
        sync_folder(str(tmp_path))
