# SPDX-License-Identifier: GPL-2.0-or-later
"""What tests of the watcher share: it, on a simulated tree, and files that it waits for."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Device
from pyscstadmin.kernel.prove import Proof
from pyscstadmin.watch.loop import Event, Watcher


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[Admin]:
    with Admin(sim=str(tmp_path / "sim")) as made:
        yield made


@pytest.fixture
def watcher(admin: Admin, events: list[Event]) -> Watcher:
    return Watcher(admin, events.append)


def old_file(path: Path, size: int = 1 << 20) -> Path:
    """A file that nobody has written to for a while."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (1, 1))
    return path


def states(watcher: Watcher) -> dict[str, str]:
    return {name: seen.state for name, seen in watcher.seen.items()}


def resize(path: Path, size: int) -> None:
    """Another size, some time ago."""
    os.truncate(path, size)
    os.utime(path, (1, 1))


def awaiting(admin: Admin, folder: Path, count: int) -> None:
    """Devices f0, f1, ... that are parked, with files that appeared since."""
    for number in range(count):
        admin.create_device(Device(f"f{number}", "fileio", path=str(folder / f"{number}.img")))
    for number in range(count):
        old_file(folder / f"{number}.img")


@contextmanager
def held(admin: Admin) -> Iterator[None]:
    """Another writer is at work."""
    fd = os.open(f"{admin.state_dir}/lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def before_reopen(admin: Admin, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[str], object]) -> None:
    """Something happens between each decision and its action; it is given the name of the device."""
    reopen = admin.reopen

    def later(handler: str, name: str, **seen: Any) -> Proof | None:
        meanwhile(name)
        return reopen(handler, name, **seen)

    monkeypatch.setattr(admin, "reopen", later)
