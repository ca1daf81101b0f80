# SPDX-License-Identifier: GPL-2.0-or-later
"""`scstadmin watch`: devices follow their backing, without a command typed.

One loop: wait for signs, look at everything, decide, act, report what changed. Looking at everything each
time costs a few reads per device and makes lost signs harmless.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from pyscstadmin.errors import NotPresent, OperationError, ScstError, errno_name
from pyscstadmin.watch_look import Eyes
from pyscstadmin.watch_plan import Action, Attempt, Do, Seen, decide, noted
from pyscstadmin.watch_signs import Folders, Mounts, Uevents, nearest_folder, wait

if TYPE_CHECKING:
    from pyscstadmin.admin import Admin

__all__ = ["Event", "Watcher", "run"]

# Seconds between looks without any sign: while something is awaited, for what gives none (network file
# systems, links changed deep inside a path); and in quiet times, for an event the kernel could not deliver.
RECHECK = 5.0
IDLE_RECHECK = 60.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth a line: what happened, to which device, and the fields of the JSON line."""

    event: str
    text: str
    device: str = ""
    handler: str = ""
    path: str = ""
    state: str = ""
    error: str = ""

    def as_dict(self) -> dict[str, str]:
        """The fields that have a value."""
        return {name: value for name, value in asdict(self).items() if value}


Report = Callable[[Event], None]


class Watcher:
    """Does the work of one look; `report` gets the events. Times are those of `time.monotonic`."""

    def __init__(self, admin: Admin, report: Report) -> None:
        self.admin = admin
        self.report = report
        self.seen: dict[str, Seen] = {}
        self.present = True
        self._eyes = Eyes()
        self._attempts: dict[str, Attempt] = {}
        self._told: dict[str, tuple[str, str]] = {}
        self._reopening: set[str] = set()

    def look(self) -> float | None:
        """Look, act, report; returns when to look again at the latest. Raises `OperationError`."""
        try:
            devices = self._devices()
        except NotPresent:
            self._absent()
            return time.monotonic() + RECHECK
        decision = decide(devices, self._attempts, time.monotonic())
        for action in decision.actions:
            self._act(action)
        if decision.actions:
            devices = self._devices()
            self._note_relapses(decision.actions, devices)
        self._changes(devices)
        now = time.monotonic()
        # The actions took time and may have uncovered more: what is due by now must not wait for a sign.
        rest = decide(devices, self._attempts, now)
        return now if rest.actions else rest.due

    @property
    def awaited(self) -> list[Seen]:
        """Devices that are not what they are configured to be: enabled, and without their backing."""
        return [seen for seen in self.seen.values() if seen.state == "parked" and seen.error]

    def folders(self) -> set[str]:
        """Directories in which an awaited file, or a directory on its path, will appear."""
        return {nearest_folder(seen.path) for seen in self.awaited if seen.handler == "fileio"}

    def _devices(self) -> list[Seen]:
        found = self._eyes.look(self.admin.tree)
        if not self.present:
            self.present = True
            self.report(Event("present", "the control plane is there"))
        names = {seen.name for seen in found if seen.state == "parked"}
        self._reopening &= names
        # Parked by us on the way to reopening it: no error is recorded, but nobody asked for it.
        return [
            replace(seen, error="ENODEV") if seen.name in self._reopening and not seen.error else seen
            for seen in found
        ]

    def _absent(self) -> None:
        if self.present:
            self.present = False
            self.seen.clear()
            self._attempts.clear()
            self.report(Event("absent", "no control plane; waiting for it"))

    def _act(self, action: Action) -> None:
        name = action.name
        try:
            if action.do is Do.REOPEN:
                self.admin.deactivate(name)
                self._reopening.add(name)
            self.admin.activate(name)
            self._reopening.discard(name)
        except ScstError as error:
            self._failed(action, error)
        else:
            self._attempts.pop(name, None)
            self._told.pop(name, None)
        self._eyes.forget(name)

    def _failed(self, action: Action, error: ScstError) -> None:
        name = action.name
        self._attempts[name] = noted(self._attempts.get(name), action.identity, time.monotonic())
        told = (action.identity, str(error))
        # That a lost disk cannot be opened again is what is expected, and the state says so.
        if self._told.get(name) != told and action.do is Do.ACTIVATE:
            self._told[name] = told
            number = errno_name(error.errno) if isinstance(error, OperationError) else ""
            self.report(Event("failed", f"{name}: not activated: {error}", name, error=number))

    def _note_relapses(self, actions: Sequence[Action], devices: Sequence[Seen]) -> None:
        """One that was opened and lost its backing at once has failed as well: no second try without
        delay.
        """
        parked = {seen.name for seen in devices if seen.state == "parked"}
        for action in actions:
            if action.name in parked and action.name not in self._attempts:
                self._attempts[action.name] = noted(None, action.identity, time.monotonic())

    def _changes(self, devices: Sequence[Seen]) -> None:
        """Report the states that are not as at the last look."""
        before, self.seen = self.seen, {seen.name: seen for seen in devices}
        for name in list(self._attempts):
            if name not in self.seen or self.seen[name].state == "disabled":
                del self._attempts[name]
        for seen in devices:
            old = before.get(seen.name)
            if old is None or (old.state, old.error) != (seen.state, seen.error):
                self.report(_state_event(seen))
        for name in sorted(set(before) - set(self.seen)):
            self.report(Event("removed", f"{name}: removed", name))


def _state_event(seen: Seen) -> Event:
    if seen.state != "parked":
        text = f"{seen.name}: {seen.state}, {seen.path or 'no path'}"
    elif seen.error:
        text = f"{seen.name}: parked ({seen.error}), waits for {seen.path}"
    else:
        text = f"{seen.name}: parked on request; stays so until it is activated"
    return Event("state", text, seen.name, seen.handler, seen.path, seen.state, seen.error)


# The loop.


class Loop:
    """Waits for signs and lets the watcher look, until told to stop."""

    def __init__(self, watcher: Watcher, service: Service) -> None:
        self.watcher = watcher
        self.service = service
        self.stopping = False
        self._uevents = Uevents()
        self._mounts = Mounts()
        self._folders = Folders()
        self._wake, self._waker = socket.socketpair()
        for end in (self._wake, self._waker):
            end.setblocking(False)

    def run(self) -> None:
        """Watch until a signal asks to stop. The monitor is open before the first look, so that nothing falls
        between.
        """
        with self._signals():
            due = self._look()
            self.service.ready(self._status())
            while not self.stopping:
                self._wait(due)
                if not self.stopping:
                    due = self._look()
                self.service.alive(self._status())
        self.service.stopping()

    def close(self) -> None:
        """Let go of everything."""
        for end in (self._mounts, self._folders, self._wake, self._waker):
            end.close()

    def _look(self) -> float | None:
        due = self.watcher.look()
        folders = self.watcher.folders()
        if folders != self._folders.watched:
            self._folders.follow(folders)
            due = self.watcher.look()  # what appeared before the directory was watched
        return due

    def _wait(self, due: float | None) -> None:
        poller = select.poll()
        for source in (self._uevents, self._folders, self._wake):
            poller.register(source.fileno(), select.POLLIN)
        poller.register(self._mounts.fileno(), select.POLLPRI)
        wait(poller, self._patience(due))
        overflows = self._uevents.overflows
        self._uevents.drain()
        self._folders.drain()
        if self._uevents.overflows != overflows:
            self.watcher.report(Event("overflow", "events were lost; looking at everything"))

    def _patience(self, due: float | None) -> float:
        awaiting = self.watcher.awaited or not self.watcher.present
        limit = min(RECHECK if awaiting else IDLE_RECHECK, self.service.interval)
        return limit if due is None else min(limit, due - time.monotonic())

    def _status(self) -> str:
        seen = self.watcher.seen.values()
        parked = [one.name for one in seen if one.state == "parked"]
        waits = f", waiting for {', '.join(parked)}" if parked else ""
        return f"{len(seen)} devices{waits}" if self.watcher.present else "no control plane"

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT, between two looks, never within one."""
        old_fd = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        old = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(old_fd)

    def _stop(self, number: int, frame: object) -> None:
        self.stopping = True


class Service:
    """What systemd wants to hear (sd_notify); nothing where it does not listen."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        values = os.environ if environment is None else environment
        self._address = values.get("NOTIFY_SOCKET", "")
        usec = values.get("WATCHDOG_USEC", "")
        # Twice per period, as systemd recommends; the loop looks that often, whatever else happens.
        self.interval = int(usec) / 2e6 if usec.isdigit() and self._address else IDLE_RECHECK
        self._last = ""
        self._said = 0.0

    def ready(self, status: str) -> None:
        """The first look is done. Waits until this is heard."""
        self._send(f"READY=1\nSTATUS={status}")

    def alive(self, status: str) -> None:
        """The loop goes round. Said when the status is another, or was not said for `interval`.

        A manager that does not listen at the moment is not waited for: devices come first.
        """
        now = time.monotonic()
        if status == self._last and now - self._said < self.interval / 2:
            return
        text = "WATCHDOG=1" if status == self._last else f"WATCHDOG=1\nSTATUS={status}"
        if self._send(text, socket.MSG_DONTWAIT):
            self._last, self._said = status, now

    def stopping(self) -> None:
        """The end was asked for."""
        self._send("STOPPING=1", socket.MSG_DONTWAIT)

    def _send(self, text: str, flags: int = 0) -> bool:
        """Whether it could be sent, or need not be."""
        if not self._address:
            return True
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            try:
                sender.sendto(text.encode(), flags, name)
            except BlockingIOError:
                return False
            except OSError as error:
                print(f"scstadmin: {self._address}: {error.strerror}", file=sys.stderr)
                self._address = ""
        return True


# The command.


def run(args: argparse.Namespace) -> int:
    """`scstadmin watch [--once]`; `args` as parsed by the command line, `args.rest` for what is left."""
    from pyscstadmin.cli import admin_of

    own = _parser().parse_args(args.rest)
    report = _json_line if args.json else _text_line
    with admin_of(args) as admin:
        watcher = Watcher(admin, report)
        if own.once:
            return _once(watcher)
        loop = Loop(watcher, Service())
        try:
            loop.run()
        finally:
            loop.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        "scstadmin watch",
        description="Activate parked devices when their backing appears, park those whose disk is gone.",
    )
    made.add_argument(
        "--once", action="store_true", help="look once and stop: 0, or 3 when devices still wait"
    )
    return made


def _once(watcher: Watcher) -> int:
    watcher.look()
    if not watcher.present:
        raise NotPresent(watcher.admin.root)
    return 3 if watcher.awaited else 0


def _text_line(event: Event) -> None:
    print(event.text, flush=True)


def _json_line(event: Event) -> None:
    print(json.dumps(event.as_dict()), flush=True)
