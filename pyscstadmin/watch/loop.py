# SPDX-License-Identifier: GPL-2.0-or-later
"""`scstadmin watch`: devices follow their backing, without a command typed.

One loop: wait for signs, look at everything, decide, act, report what changed. Looking at everything each
time costs a few reads per device and makes lost signs harmless. Looking and deciding take no lock;
`Admin.reopen`, which acts, does, and leaves a device alone that is not as it was seen any more.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pyscstadmin.cli.render import resized_text
from pyscstadmin.errors import LockTimeout, NotPresent, OperationError, ScstError, errno_name
from pyscstadmin.watch.look import Eyes
from pyscstadmin.watch.plan import Action, Attempt, Do, Seen, decide, in_turn, noted
from pyscstadmin.watch.signs import Folders, Mounts, Uevents, nearest_folder, wait

if TYPE_CHECKING:
    from pyscstadmin.admin import Admin

__all__ = ["Event", "Watcher", "run"]

# Seconds between looks without any sign: while something is awaited, for what gives none (network file
# systems, links changed deep inside a path); and in quiet times, for an event the kernel could not deliver.
RECHECK = 5.0
IDLE_RECHECK = 60.0

# Seconds between looks at the sizes of files that are served: their growth gives no sign of its own.
SIZE_CHECK = 3.0

# Seconds between the end of a look and the next one, however many signs there are: a file that is written
# to all the time gives thousands of them. The first sign after a quiet time is not held back.
PAUSE = 0.2

# Seconds to wait for the lock before asking whether to go on.
LOCK_SLICE = 0.25


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
    size: int = 0

    def as_dict(self) -> dict[str, str | int]:
        """The fields that have a value."""
        return {name: value for name, value in asdict(self).items() if value}


Report = Callable[[Event], None]


class Watcher:
    """Does the work of one look; `report` gets the events. Times are those of `time.monotonic`.

    `proceed` is asked before each action, and while the lock is waited for: False ends the round.
    """

    def __init__(self, admin: Admin, report: Report) -> None:
        self.admin = admin
        self.report = report
        self.proceed: Callable[[], bool] = lambda: True
        self.seen: dict[str, Seen] = {}
        self.present = True
        self._eyes = Eyes()
        self._attempts: dict[str, Attempt] = {}
        self._told: dict[str, tuple[str, str]] = {}
        self._last = ""  # who had the last turn
        self._locked_out = False

    def look(self) -> float | None:
        """Look, act, report; returns when to look again at the latest. Raises `OperationError`."""
        try:
            devices = self._look_and_act()
        except NotPresent:
            self._absent()
            return time.monotonic() + RECHECK
        self._changes(devices)
        now = time.monotonic()
        # The actions took time and may have uncovered more: what is due by now must not wait for a sign.
        rest = decide(devices, self._attempts, now)
        return now if rest.actions else rest.due

    @property
    def awaited(self) -> list[Seen]:
        """Devices that are not what they are configured to be: enabled, and without their backing."""
        return [seen for seen in self.seen.values() if seen.state == "parked" and seen.error]

    @property
    def serves_files(self) -> bool:
        """Whether there is an active device on a file, which may grow."""
        return any(seen.state == "active" and seen.handler == "fileio" for seen in self.seen.values())

    def stirred(self) -> bool:
        """Whether such a file is another size than at the last look."""
        return self._eyes.stirred()

    def folders(self) -> set[str]:
        """Directories in which an awaited file, or a directory on its path, will appear."""
        return {nearest_folder(seen.path) for seen in self.awaited if seen.handler == "fileio"}

    def _look_and_act(self) -> list[Seen]:
        """The devices as they are after the actions."""
        devices = self._devices()
        actions = decide(devices, self._attempts, time.monotonic()).actions
        if actions:
            done = self._round(in_turn(actions, self._last), {seen.name: seen for seen in devices})
            devices = self._devices()
            self._note_relapses(done, devices)
        return devices

    def _devices(self) -> list[Seen]:
        found = self._eyes.look(self.admin.tree)
        if not self.present:
            self.present = True
            self.report(Event("present", "the control plane is there"))
        return found

    def _absent(self) -> None:
        if self.present:
            self.present = False
            self.seen.clear()
            self._attempts.clear()
            self.report(Event("absent", "no control plane; waiting for it"))

    def _round(self, actions: Sequence[Action], seen: Mapping[str, Seen]) -> list[Action]:
        """One action after the other; returns those that were tried.

        All of them together wait for the lock no longer than one writer may. Who has no turn because of that
        is among the first at the next look.
        """
        limit = self.admin.lock_timeout
        deadline = time.monotonic() + limit
        done: list[Action] = []
        try:
            for action in actions:
                if not self.proceed():
                    break
                self._last = action.name
                if self._act(action, seen[action.name], deadline):
                    done.append(action)
        except LockTimeout as held:
            self._report_lock(held.path)
        finally:
            self.admin.lock_timeout = limit
        return done

    def _report_lock(self, path: str) -> None:
        """Once per time that it is held."""
        if not self._locked_out:
            self._locked_out = True
            self.report(
                Event("locked", f"{path}: others hold the lock; devices wait until it is free", path=path)
            )

    def _act(self, action: Action, seen: Seen, deadline: float) -> bool:
        """Whether anything was tried. Raises `LockTimeout`."""
        name = action.name
        try:
            tried = self._reopen(action, seen, deadline)
        except LockTimeout:
            raise
        except ScstError as error:
            self._failed(action, error)
            tried = True
        else:
            if tried:
                self._attempts.pop(name, None)
                self._told.pop(name, None)
            if tried and action.do is Do.GROW:
                self._eyes.grew(seen)
            else:
                # Either opened just now or changed by somebody: what it holds is to be found out.
                self._eyes.forget(name)
        self._locked_out = False
        return tried

    def _reopen(self, action: Action, seen: Seen, deadline: float) -> bool:
        """`Admin.reopen`, or `grow`, waiting for the lock in slices, so that a request to stop is heard
        meanwhile.
        """
        while True:
            left = max(0.0, deadline - time.monotonic())
            self.admin.lock_timeout = min(LOCK_SLICE, left)
            try:
                if action.do is Do.GROW:
                    return self.admin.grow(seen.handler, seen.name, path=seen.path)
                return self.admin.reopen(
                    seen.handler, seen.name, state=seen.state, error=seen.error, path=seen.path
                )
            except LockTimeout:
                if not self.proceed():
                    return False
                if left <= LOCK_SLICE:
                    raise

    def _failed(self, action: Action, error: ScstError) -> None:
        name = action.name
        self._attempts[name] = noted(self._attempts.get(name), action.identity, time.monotonic())
        told = (action.identity, str(error))
        # That a lost disk cannot be opened again is what is expected, and the state says so.
        if self._told.get(name) != told and action.do is not Do.REOPEN:
            self._told[name] = told
            number = errno_name(error.errno) if isinstance(error, OperationError) else ""
            what = "activated" if action.do is Do.ACTIVATE else "grown"
            self.report(Event("failed", f"{name}: not {what}: {error}", name, error=number))

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
            elif old.size != seen.size:
                self.report(_size_event(seen, old.size))
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


def _size_event(seen: Seen, before: int) -> Event:
    text = resized_text(seen.name, before, seen.size)
    return Event("size", text, seen.name, seen.handler, seen.path, seen.state, size=seen.size)


# The loop.


class Loop:
    """Waits for signs and lets the watcher look, until told to stop."""

    def __init__(self, watcher: Watcher, service: Service) -> None:
        self.watcher = watcher
        self.watcher.proceed = self._proceed
        self.service = service
        self.stopping = False
        self._ready = False
        self._looked = time.monotonic()
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
            self._ready = True
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
        if self._folders.follow(self.watcher.folders()):
            due = time.monotonic()  # for what appeared before the directory was watched
        self._looked = time.monotonic()
        return due

    def _proceed(self) -> bool:
        """Between two actions: a round of many takes long, and is alive."""
        if self._ready:
            self.service.alive(self._status())
        return not self.stopping

    def _wait(self, due: float | None) -> None:
        poller = select.poll()
        for source in (self._uevents, self._folders, self._wake):
            poller.register(source.fileno(), select.POLLIN)
        poller.register(self._mounts.fileno(), select.POLLPRI)
        self._until_sign(poller, due)
        self._pause()
        # Only now: a sign that comes after this wakes the next wait, so the last of many is never lost.
        overflows = self._uevents.overflows
        self._uevents.drain()
        self._folders.drain()
        if self._uevents.overflows != overflows:
            self.watcher.report(Event("overflow", "events were lost; looking at everything"))

    def _until_sign(self, poller: select.poll, due: float | None) -> None:
        """Wait for a sign, for the time of the next look, or until a file has grown."""
        end = time.monotonic() + self._patience(due)
        while True:
            left = end - time.monotonic()
            if not self.watcher.serves_files or left <= SIZE_CHECK:
                wait(poller, left)
                return
            if wait(poller, SIZE_CHECK) or self.watcher.stirred():
                return

    def _pause(self) -> None:
        """Let signs gather, unless the last look is long ago. Only a request to stop ends it early."""
        left = self._looked + PAUSE - time.monotonic()
        if left > 0:
            poller = select.poll()
            poller.register(self._wake.fileno(), select.POLLIN)
            wait(poller, left)

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
        """Stop at SIGTERM and SIGINT: between two actions, or while waiting, never within an action."""
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
    """`scstadmin watch [--once]`; `args` as parsed by the command line."""
    from pyscstadmin.cli.main import admin_of

    report = _json_line if args.json else _text_line
    with admin_of(args) as admin:
        watcher = Watcher(admin, report)
        if args.once:
            return _once(watcher)
        loop = Loop(watcher, Service())
        try:
            loop.run()
        finally:
            loop.close()
    return 0


def _once(watcher: Watcher) -> int:
    watcher.look()
    if not watcher.present:
        raise NotPresent(watcher.admin.root)
    return 3 if watcher.awaited else 0


def _text_line(event: Event) -> None:
    print(event.text, flush=True)


def _json_line(event: Event) -> None:
    print(json.dumps(event.as_dict()), flush=True)
