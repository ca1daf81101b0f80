# SPDX-License-Identifier: GPL-2.0-or-later
"""`scstadmin watch`: devices follow their backing, without a command typed.

One loop: wait for signs, look at everything, decide, act, report what changed. Looking at everything each
time costs a few reads per device and makes lost signs harmless. Looking and deciding take no lock;
`Admin.reopen`, which acts, does, and leaves a device alone that is not as it was seen any more. It proves
that a backing is the right one before it is opened; nothing of what came of that is silent.

Whatever goes wrong is said and tried again: only a signal ends it.
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
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pyscstadmin.cli.render import resized_text, size_text
from pyscstadmin.errors import LockTimeout, NotPresent, OperationError, ScstError, errno_name
from pyscstadmin.kernel.asking import ON_THE_WAY
from pyscstadmin.kernel.prove import Proof, Was
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

# Seconds between looks at the sizes of files that are served: on some file systems (of the network) their
# growth gives no sign.
SIZE_CHECK = 1.5

# Seconds between the end of a look and the next one, however many signs there are: a file that is written
# to all the time gives thousands of them. The first sign after a quiet time is not held back.
PAUSE = 0.2

# Seconds from one unexpected error to the next attempt: doubled each time, up to the limit.
RETRY = 1.0
RETRY_LIMIT = 30.0

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
    at: str = ""
    differences: tuple[Mapping[str, str], ...] = ()

    def as_dict(self) -> dict[str, Any]:
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
        self._eyes = Eyes(admin.backings)
        self._attempts: dict[str, Attempt] = {}
        # What was said last of what goes on: per device, and not again while it stays so.
        self._told: dict[str, tuple[str, str]] = {}
        self._odd: dict[str, set[str]] = {}
        # Devices whose backing had not answered when nobody waited for it any longer: what became of them is
        # said when it is known.
        self._opening: dict[str, tuple[Action, Seen, Proof]] = {}
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
        return [seen for seen in self.seen.values() if seen.awaited]

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

    def files(self) -> set[str]:
        """Files that are served, and may grow."""
        return self._eyes.files()

    def _look_and_act(self) -> list[Seen]:
        """The devices as they are after the actions."""
        devices = self._devices()
        self._came_of(devices)
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
            for known in (self.seen, self._attempts, self._told, self._odd, self._opening):
                known.clear()
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
        try:
            tried = self._reopen(action, seen, deadline)
        except LockTimeout:
            raise
        except ScstError as error:
            self._failed(action, error)
            tried = True
        self._locked_out = False
        return tried

    def _reopen(self, action: Action, seen: Seen, deadline: float) -> bool:
        """`_open` or `_grow`, waiting for the lock in slices: a request to stop is heard meanwhile."""
        while True:
            left = max(0.0, deadline - time.monotonic())
            self.admin.lock_timeout = min(LOCK_SLICE, left)
            try:
                return self._grow(seen) if action.do is Do.GROW else self._open(action, seen)
            except LockTimeout:
                if not self.proceed():
                    return False
                if left <= LOCK_SLICE:
                    raise

    def _grow(self, seen: Seen) -> bool:
        tried = self.admin.grow(seen.handler, seen.name, path=seen.path)
        if tried:
            self._done(seen.name)
            self._eyes.grew(seen)
        else:  # changed by somebody: what it holds is to be found out
            self._eyes.forget(seen.name)
        return tried

    def _open(self, action: Action, seen: Seen) -> bool:
        proof = self.admin.reopen(seen.handler, seen.name, state=seen.state, error=seen.error, path=seen.path)
        self._eyes.forget(seen.name)
        if proof is None:
            return False
        if self.admin.opening(seen.handler, seen.name):
            self._opening[seen.name] = (action, seen, proof)
        elif proof.bound:
            self._bound(seen, proof)
        else:
            self._refused(action, seen, proof)
        return True

    def _bound(self, seen: Seen, proof: Proof) -> None:
        self._done(seen.name)
        self.report(_bound_event(seen, proof))

    def _came_of(self, devices: Sequence[Seen]) -> None:
        """Say what has become of devices whose backing took long to open."""
        now = {seen.name: seen for seen in devices}
        for name, (action, before, proof) in list(self._opening.items()):
            seen = now.get(name)
            if seen is not None and seen.state in ON_THE_WAY:
                continue
            del self._opening[name]
            self.admin.release()
            if seen is not None and seen.state == "active":
                self._bound(before, proof)
            elif seen is not None and seen.awaited:
                self._not_done(action, f"opening its backing took long, and failed: {seen.error}", seen.error)

    def _done(self, name: str) -> None:
        self._attempts.pop(name, None)
        self._told.pop(name, None)

    def _refused(self, action: Action, seen: Seen, proof: Proof) -> None:
        """The right backing is nowhere. Where nothing at all is, that is no news: the state says it."""
        self._attempts[seen.name] = noted(self._attempts.get(seen.name), action.identity, time.monotonic())
        if proof.was is not Was.ABSENT and self._news(seen.name, proof.was.value, proof.text):
            self.report(_refused_event(seen, proof))

    def _news(self, name: str, kind: str, text: str) -> bool:
        """Whether this is not what was said of the device last."""
        before = self._told.get(name)
        self._told[name] = (kind, text)
        return before != (kind, text)

    def _failed(self, action: Action, error: ScstError) -> None:
        number = errno_name(error.errno) if isinstance(error, OperationError) else ""
        self._not_done(action, str(error), number)

    def _not_done(self, action: Action, why: str, number: str) -> None:
        name = action.name
        self._attempts[name] = noted(self._attempts.get(name), action.identity, time.monotonic())
        if self._news(name, action.identity, why):
            what = {Do.ACTIVATE: "activated", Do.REOPEN: "opened again", Do.GROW: "grown"}[action.do]
            self.report(Event("failed", f"{name}: not {what}: {why}", name, error=number))

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
            if old is not None and old.state == "active" and seen.awaited:
                self.report(_event("lost", seen, f"its backing is gone: {seen.at}"))
            if old is None or (old.state, old.error, old.wanted) != (seen.state, seen.error, seen.wanted):
                self.report(_state_event(seen))
            elif old.size != seen.size:
                self.report(_size_event(seen, old.size))
            self._oddities(seen)
            if seen.backing.kind == "absent" and self._told.get(seen.name, ("", ""))[0] == Was.OTHER.value:
                del self._told[seen.name]  # if it comes again, that is news
        for name in sorted(set(before) - set(self.seen)):
            self._told.pop(name, None)
            self._odd.pop(name, None)
            self.report(Event("removed", f"{name}: removed", name))

    def _oddities(self, seen: Seen) -> None:
        """What is not as people may think, and nothing is done about; said when it begins."""
        served, there = size_text(seen.size), size_text(seen.backing.size)
        kept = f"its backing has {there} now, of {served} that are served: nothing shrinks unasked"
        odd = {
            "replaced": (seen.replaced, f"{seen.at} is another one now; what is open is served on"),
            "shrunk": (seen.shrunk, f"{kept} (resize --shrink)"),
        }
        before = self._odd.get(seen.name, set())
        self._odd[seen.name] = {kind for kind, (holds, _) in odd.items() if holds}
        for kind in sorted(self._odd[seen.name] - before):
            self.report(_event(kind, seen, odd[kind][1]))


def _event(kind: str, seen: Seen, text: str, **more: Any) -> Event:
    return Event(
        kind, f"{seen.name}: {text}", seen.name, seen.handler, seen.path, seen.state, seen.error, **more
    )


def _state_event(seen: Seen) -> Event:
    if seen.state != "parked":
        return _event("state", seen, f"{seen.state}, {seen.at or 'no path'}")
    if seen.wanted:
        return _event("state", seen, f"parked ({seen.error}), waits for {seen.path}")
    return _event("state", seen, "parked on request; stays so until it is activated")


def _bound_event(seen: Seen, proof: Proof) -> Event:
    """Of one that has been opened: for the first time, again, or elsewhere."""
    seen = replace(seen, state="", error="")  # the state follows
    if proof.was is Was.MOVED:
        return _event("rebound", seen, proof.text, at=proof.at)
    unproven = "" if proof.facts else "; nothing proves that it is the right one"
    again = bool(seen.open) and seen.open != proof.words
    kind = "rebound" if again else "bound"
    return _event(kind, seen, f"{'is again' if again else 'is'} on {proof.at}{unproven}", at=proof.at)


def _refused_event(seen: Seen, proof: Proof) -> Event:
    differences = proof.as_dict().get("differences", ())
    return _event("refused", seen, f"not opened: {proof.text}", differences=tuple(differences))


def _size_event(seen: Seen, before: int) -> Event:
    text = resized_text(seen.name, before, seen.size).removeprefix(f"{seen.name}: ")
    return _event("grown" if seen.size > before else "size", seen, text, size=seen.size)


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
        self._retry = 0.0
        self._error = ""
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
        self.watcher.admin.backings.prepare()
        with self._signals():
            due = self._look()
            self.service.ready(self._status())
            self._ready = True
            while not self.stopping:
                due = self._turn(due)
                self.service.alive(self._status())
        self.service.stopping()

    def _turn(self, due: float | None) -> float | None:
        """Wait, and look; returns when to look again."""
        try:
            self._wait(due)
        except Exception as error:
            self._erred("waiting", error)
            self._rest(min(self._retry, self.service.interval))
        return due if self.stopping else self._look()

    def close(self) -> None:
        """Let go of everything."""
        for end in (self._mounts, self._folders, self._wake, self._waker):
            end.close()

    def _look(self) -> float | None:
        """Look; after an error, again in a while."""
        try:
            due = self.watcher.look()
            if self._folders.follow(self.watcher.folders(), self.watcher.files()):
                due = time.monotonic()  # for what appeared before the directory was watched
        except Exception as error:
            self._erred("looking", error)
            due = time.monotonic() + self._retry
        else:
            self._retry, self._error = 0.0, ""
        self._looked = time.monotonic()
        return due

    def _erred(self, doing: str, error: Exception) -> None:
        """Say what went wrong, once for as long as it is the same."""
        self._retry = min(self._retry * 2 or RETRY, RETRY_LIMIT)
        text = f"{doing}: {str(error) or type(error).__name__}"
        if text != self._error:
            self._error = text
            self.watcher.report(Event("error", f"{text}; tried again", error=type(error).__name__))

    def _proceed(self) -> bool:
        """Between two actions: a round of many takes long, and is alive."""
        if self._ready:
            self.service.alive(self._status())
        return not self.stopping

    def _wait(self, due: float | None) -> None:
        """Wait for a sign, for the time of the next look, or until a file has grown."""
        poller = self._poller()
        now = time.monotonic()
        end = now + self._patience(due)
        check = now + SIZE_CHECK if self.watcher.serves_files else end
        while now < end and not self.stopping:
            ready = wait(poller, min(end, check) - now)
            if ready:
                self._pause()
                if self._take({fd for fd, _ in ready}):
                    return
                self._rest(PAUSE)  # others' events come in great numbers, too
            now = time.monotonic()
            if check <= now < end:
                if self.watcher.stirred():
                    break
                check = now + SIZE_CHECK
        self._pause()
        self._take(set())

    def _poller(self) -> select.poll:
        poller = select.poll()
        for source in (self._uevents, self._folders, self._wake):
            poller.register(source.fileno(), select.POLLIN)
        poller.register(self._mounts.fileno(), select.POLLPRI)
        return poller

    def _take(self, ready: set[int]) -> bool:
        """Take the signs that have come; False if none of them is about anything here.

        Only after the pause: a sign that comes after this wakes the next wait, so the last of many is never
        lost.
        """
        overflows = self._uevents.overflows
        count = self._uevents.drain()
        self._folders.drain()
        self._drain_wake()
        if self._uevents.overflows != overflows:
            self.watcher.report(Event("overflow", "events were lost; looking at everything"))
            return True
        return count > 0 or bool(ready - {self._uevents.fileno()})

    def _pause(self) -> None:
        """Let signs gather, unless the last look is long ago."""
        self._rest(self._looked + PAUSE - time.monotonic())

    def _rest(self, seconds: float) -> None:
        """Only a request to stop ends it early."""
        if seconds > 0:
            poller = select.poll()
            poller.register(self._wake.fileno(), select.POLLIN)
            wait(poller, seconds)

    def _drain_wake(self) -> None:
        with suppress(BlockingIOError):
            while self._wake.recv(4096):
                pass

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
        self._ready = False
        self._mute = False

    def ready(self, status: str) -> None:
        """The first look is done. Waits until this is heard, or says it later if nobody is there."""
        self._ready = self._send(f"READY=1\nSTATUS={status}")

    def alive(self, status: str) -> None:
        """The loop goes round. Said when the status is another, or was not said for `interval`.

        A manager that does not listen at the moment is not waited for: devices come first.
        """
        now = time.monotonic()
        if status == self._last and now - self._said < self.interval / 2:
            return
        ready = "" if self._ready else "READY=1\n"
        text = f"{ready}WATCHDOG=1" if status == self._last else f"{ready}WATCHDOG=1\nSTATUS={status}"
        if self._send(text, socket.MSG_DONTWAIT):
            self._last, self._said, self._ready = status, now, True

    def stopping(self) -> None:
        """The end was asked for."""
        self._send("STOPPING=1", socket.MSG_DONTWAIT)

    def _send(self, text: str, flags: int = 0) -> bool:
        """Whether it could be sent, or need not be. A manager that is not there now may be there again."""
        if not self._address:
            return True
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(text.encode(), flags, name)
        except BlockingIOError:
            return False
        except OSError as error:
            if not self._mute:
                print(f"scstadmin: {self._address}: {error.strerror}", file=sys.stderr)
            self._mute = True
            return False
        self._mute = False
        return True


# The command.


def run(args: argparse.Namespace) -> int:
    """`scstadmin watch [--once]`; `args` as parsed by the command line."""
    from pyscstadmin.cli.main import admin_of

    report = _json_line if args.json else _text_line
    with admin_of(args) as admin:
        if args.once:
            return _once(Watcher(admin, report))
        loop = Loop(Watcher(admin, _at_any_rate(report)), Service())
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


def _at_any_rate(report: Report) -> Report:
    """What cannot be said, for the disk of the log is full, is no reason to leave devices alone. A reader who
    has gone is one to end.
    """

    def said(event: Event) -> None:
        try:
            report(event)
        except BrokenPipeError:
            raise
        except OSError:
            pass  # it is kept, and said with the next one

    return said


def _text_line(event: Event) -> None:
    print(event.text, flush=True)


def _json_line(event: Event) -> None:
    print(json.dumps(event.as_dict()), flush=True)
