# SPDX-License-Identifier: GPL-2.0-or-later
"""scst-iscsid in the machine of the tests: where it listens, and its life and death."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.vm.guest import iscsi, tree

DAEMON = "pyscstadmin.iscsi.daemon"
ADDRESS = ("127.0.0.1", 3260)
PATIENCE = 60 * tree.SLOW


class Daemon:
    """scst-iscsid."""

    def __init__(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", DAEMON])

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """It is asked to end."""
        self.process.terminate()
        self.process.wait(PATIENCE)

    def kill(self) -> None:
        """It has no chance to do anything about it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)


def portal(target: iscsi.Target, name: str = "p", **settings: object) -> None:
    """The target is reachable there; by default at 127.0.0.1."""
    folder = tree.ROOT / "drivers/iscsi/portals" / name
    if not folder.exists():
        folder.mkdir()
        for key, value in {"address": "127.0.0.1", **settings}.items():
            tree.write(folder / key, value)
    (target.path / "portals" / name).symlink_to(folder)


def listening(name: str = "p") -> bool:
    """Does it say so?"""
    return tree.read(tree.ROOT / "drivers/iscsi/portals" / name / "state") == "listening"


def reachable() -> bool:
    """Does somebody listen? What a portal shows may be of before its daemon's death."""
    try:
        socket.create_connection(ADDRESS, 1).close()
    except OSError:
        return False
    return True


@contextmanager
def by_daemon(*portals: str) -> Iterator[Daemon]:
    """The daemon lets in, at all these portals."""
    with Daemon() as daemon:
        for name in portals or ("p",):
            tree.wait_for("a portal", lambda name=name: listening(name), PATIENCE)  # type: ignore[misc]
        yield daemon
