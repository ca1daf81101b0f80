# SPDX-License-Identifier: GPL-2.0-or-later
"""The sockets that listen for portals, from the daemon before and to the next one."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from pyscstadmin.iscsi.portals import Bind, Plan, fits, listen
from pyscstadmin.iscsi.serve import Server
from pyscstadmin.iscsi.systemd import Manager, name_of

__all__ = ["Listeners"]


@dataclass(slots=True)
class _Open:
    """A socket that listens, for whom, and whether the manager keeps it."""

    made: socket.socket
    portal: str
    kept: bool
    task: asyncio.Task[None] | None = None


class Listeners:
    """The sockets that listen, and what listens to them. The manager keeps them for the next daemon."""

    def __init__(self, server: Server, manager: Manager) -> None:
        self._server = server
        self._manager = manager
        self._before = manager.handed_over()
        self._open: dict[Bind, _Open] = {}

    def follow(self, plans: Mapping[str, Plan]) -> dict[str, str]:
        """Listen where the plans say, and nowhere else; returns the state of each portal."""
        due = {bind: name for name, plan in plans.items() for bind in plan.binds}
        for bind in self._open.keys() - due.keys():
            opened = self._open.pop(bind)
            self._leave(opened)
            self._retire(opened.made, name_of(bind))
        states = {name: self._state(name, plan) for name, plan in plans.items()}
        while self._before:
            name, made = self._before.popitem()
            self._retire(made, name)
        self._have_kept()
        return states

    def _state(self, name: str, plan: Plan) -> str:
        if plan.waiting:
            return f"waiting: {plan.waiting}"
        failed = [why for bind in plan.binds if (why := self._start(bind, name))]
        listening = any(bind in self._open for bind in plan.binds)
        if not failed:
            return "listening"
        return f"{'listening, but not at' if listening else 'failed:'} {'; '.join(failed)}"

    def _start(self, bind: Bind, name: str) -> str:
        """Why it does not listen there; '' if it does, or if this machine has no such addresses at all."""
        known = self._open.get(bind)
        if known is not None:
            known.portal = name
            self._listen_to(known)
            return ""
        before = self._taken_over(bind)
        try:
            opened = _Open(before or listen(bind), name, before is not None)
        except OSError as error:
            if error.errno == errno.EAFNOSUPPORT or (error.errno == errno.EADDRNOTAVAIL and _any(bind)):
                return ""
            return f"{bind}: {error.strerror}"
        self._listen_to(opened)
        self._open[bind] = opened
        return ""

    def _listen_to(self, opened: _Open) -> None:
        """Have connections taken, also if that has ended by an error that nobody thought of."""
        if opened.task is None or opened.task.done():
            accept = self._server.accept(opened.made, lambda: opened.portal)
            opened.task = asyncio.get_running_loop().create_task(accept)

    def _taken_over(self, bind: Bind) -> socket.socket | None:
        """The socket that the daemon before has listened with."""
        made = self._before.pop(name_of(bind), None)
        if made is None or fits(made, bind):
            return made
        self._retire(made, name_of(bind))
        return None

    def _have_kept(self) -> None:
        for bind, opened in self._open.items():
            opened.kept = opened.kept or self._manager.keep(opened.made, name_of(bind))
            if not opened.kept:  # in another round
                return

    def _retire(self, made: socket.socket, name: str) -> None:
        """Nobody listens with it any more, whoever else has a descriptor of it."""
        with suppress(OSError):
            made.shutdown(socket.SHUT_RDWR)
        self._manager.forget(name)
        made.close()

    def _leave(self, opened: _Open) -> None:
        # Before its number is another socket's.
        asyncio.get_running_loop().remove_reader(opened.made.fileno())
        if opened.task is not None:
            opened.task.cancel()

    def close(self) -> None:
        """Listen no more. What the manager keeps is the next daemon's."""
        for opened in self._open.values():
            self._leave(opened)
            opened.made.close()
        for made in self._before.values():
            made.close()
        self._open.clear()
        self._before.clear()


def _any(bind: Bind) -> bool:
    return bind.ip.is_unspecified
