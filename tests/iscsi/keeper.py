# SPDX-License-Identifier: GPL-2.0-or-later
"""A small part of systemd: starts a service again and again, hears what it says, and keeps its descriptors
(sd_notify(3), sd_listen_fds(3)), for tests where systemd itself is too much.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

PATIENCE = 60.0
_HIGH = 200
_FIRST = 3
_MAX = 16
# The process's own number is in its environment before it is that program.
_BECOME = 'LISTEN_PID=$$ exec "$@"'


class Keeper:
    """One service. `store`: what is kept, by name, in the order in which it came."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._name = f"scst-keeper-{os.getpid()}-{id(self)}"
        self._socket.bind("\0" + self._name)
        self.store: list[tuple[str, int]] = []
        self.ready = False
        self.pid = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> Keeper:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for _, fd in self.store:
            os.close(fd)

    def start(self) -> None:
        """Start it, with all that is kept."""
        self.ready = False
        names = ":".join(name for name, _ in self.store)
        copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for _, fd in self.store]
        environment = os.environ | {"NOTIFY_SOCKET": f"@{self._name}"}
        if copies:
            environment |= {"LISTEN_FDS": str(len(copies)), "LISTEN_FDNAMES": names}
        actions = [(os.POSIX_SPAWN_DUP2, fd, _FIRST + number) for number, fd in enumerate(copies)]
        argv = ["/bin/sh", "-c", _BECOME, "sh", *self._argv]
        self.pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions)
        for fd in copies:
            os.close(fd)

    def end(self, how: int = signal.SIGKILL) -> None:
        """It is killed, or asked to go; what is kept stays."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, how)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def again(self, how: int = signal.SIGKILL) -> None:
        """Another takes its place."""
        self.end(how)
        self.start()

    def wait(self, what: Callable[[], bool] | None = None) -> None:
        """Until it is ready, or something else."""
        end = time.monotonic() + PATIENCE
        while not (what() if what else self.ready):
            assert time.monotonic() < end, "it does not come"
            time.sleep(0.01)

    def names(self) -> list[str]:
        """Of what is kept."""
        return [name for name, _ in self.store]

    def keep(self, name: str, fd: int) -> None:
        """As if it had said so."""
        self.store = [*self.store, (name, os.dup(fd))]

    def forget(self, name: str) -> None:
        """As if it had said so."""
        gone = [fd for kept, fd in self.store if kept == name]
        self.store = [(kept, fd) for kept, fd in self.store if kept != name]
        for fd in gone:
            os.close(fd)

    def _listen(self) -> None:
        while True:
            data, fds, _, _ = socket.recv_fds(self._socket, 8192, _MAX)
            if not data:
                return
            said = dict(line.split("=", 1) for line in data.decode().splitlines())
            if said.get("FDSTORE") == "1":
                assert len(fds) == 1
                self.keep(said["FDNAME"], fds[0])
            for fd in fds:
                os.close(fd)
            if said.get("FDSTOREREMOVE") == "1":
                self.forget(said["FDNAME"])
            if said.get("READY") == "1":
                self.ready = True
