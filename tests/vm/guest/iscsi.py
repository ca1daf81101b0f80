# SPDX-License-Identifier: GPL-2.0-or-later
"""Our iSCSI target in the tests of the machine: its objects, and who hands connections over to it."""

from __future__ import annotations

import ctypes
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.iscsi import adopter as handover
from tests.iscsi.adopter import Adopter
from tests.iscsi.initiator import Session
from tests.vm.guest import scsi, tree

MODULES = ("scst", "scst_fileio", "scst_nullio", "scst_iscsi")
NAME = "iqn.2026-11.test:t"
BLOCK = 512
SIZE = 8 << 20
PATIENCE = 20 * tree.SLOW


class Target(tree.Target):
    """targets/iscsi/NAME."""

    @property
    def path(self) -> Path:
        """Its directory."""
        return tree.ROOT / "targets/iscsi" / self.name


def sessions(name: str = NAME) -> list[Path]:
    """The class devices of a target's sessions."""
    found = []
    for folder in tree.CLASS.glob("session.*"):
        try:
            if tree.read(folder / "target") == f"iscsi/{name}":
                found.append(folder)
        except OSError:
            continue  # it ended while we looked
    return found


def incarnation(folder: Path) -> int:
    """Tells a session from a later one that has its number, and so its name."""
    return folder.stat().st_ino


def wait_sessions(count: int, name: str = NAME) -> list[Path]:
    """Until there are so many."""
    tree.wait_for(f"{count} sessions", lambda: len(sessions(name)) == count, PATIENCE)
    return sessions(name)


def value(folder: Path, name: str) -> str:
    """What a session shows of iSCSI."""
    return tree.read(folder / "iscsi" / name)


def drop(tsih: int, how: int = handover.DROP_NOW, seconds: int = 0) -> None:
    """End a session, at once, or have it ended. Raises OSError."""
    file = os.open(handover.NODE, os.O_RDWR)
    try:
        fcntl.ioctl(file, handover.DROP, handover.Drop(ctypes.sizeof(handover.Drop), how, tsih, seconds))
    finally:
        os.close(file)


def hear(session: Session, lun: int = 0) -> list[tuple[int, int, int]]:
    """Unit attentions that wait, so that what comes next is about the command."""
    heard = []
    while (task := session.command(scsi.test_unit_ready(), lun=lun)).status:
        assert task.key[0] == scsi.UNIT_ATTENTION, session.trace()
        heard.append(task.key)
    return heard


@contextmanager
def served(folder: Path, name: str = NAME) -> Iterator[Target]:
    """A target with a file as LUN 0, and as LUN 1 what swallows everything."""
    path = folder / "disk"
    path.write_bytes(bytes(SIZE))
    target = Target(name)
    target.make()
    target.luns.map(0, tree.fileio("disk", path))
    target.luns.map(1, tree.nullio("null"))
    target.enable()
    yield target
    target.enable(False)
    wait_sessions(0, name)
    path.unlink()


@contextmanager
def adopter(name: str = NAME) -> Iterator[Adopter]:
    """Who hands connections over; when it goes so do its sessions."""
    with Adopter(name, PATIENCE) as made:
        yield made
    wait_sessions(0, name)
