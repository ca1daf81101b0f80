# SPDX-License-Identifier: GPL-2.0-or-later
"""The watcher at work on a simulated tree, and its sources of signs on the running system."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread, Timer
from typing import Any

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Device
from pyscstadmin.errors import LockTimeout, NotPresent, OperationError
from pyscstadmin.kernel.cfs import View
from pyscstadmin.kernel.lock import locked
from pyscstadmin.kernel.prove import Proof
from pyscstadmin.watch import loop, signs
from pyscstadmin.watch.look import SETTLE, Eyes
from pyscstadmin.watch.loop import IDLE_RECHECK, PAUSE, RECHECK, Event, Loop, Service, Watcher
from pyscstadmin.watch.plan import ABSENT, Seen
from pyscstadmin.watch.signs import Folders, Mounts, Uevents, nearest_folder
from tests.unit.machine import FakeDisk, FakeMachine


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


# Looks.


def resize(path: Path, size: int) -> None:
    """Another size, some time ago."""
    os.truncate(path, size)
    os.utime(path, (1, 1))


def test_file_that_grows_is_served_whole(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path
) -> None:
    path = old_file(tmp_path / "da.img")
    admin.create_device(Device("da", "fileio", path=str(path)))
    watcher.look()
    assert not watcher.stirred()
    for size in (2 << 20, 3 << 20):
        resize(path, size)
        assert watcher.stirred()
        watcher.look()
        assert admin.snapshot().device_sizes == {"da": size}
        assert not watcher.stirred()
    sizes = [(event.size, event.text) for event in events if event.event == "grown"]
    assert sizes == [(2 << 20, "da: 2 MiB, was 1 MiB"), (3 << 20, "da: 3 MiB, was 2 MiB")]


def test_device_that_was_made_smaller_stays_so(admin: Admin, watcher: Watcher, tmp_path: Path) -> None:
    """What is not served was there before: only growth says that somebody wants more of it."""
    path = old_file(tmp_path / "da.img")
    admin.create_device(Device("da", "fileio", path=str(path)))
    admin.resize("da", 1 << 19, shrink=True)
    watcher.look()
    os.utime(path)
    watcher.look()
    assert admin.snapshot().device_sizes == {"da": 1 << 19}
    with Admin(sim=admin.sim) as other:
        fresh = Watcher(other, lambda event: None)
        fresh.look()
        fresh.look()
        assert other.snapshot().device_sizes == {"da": 1 << 19}


def test_file_that_shrinks_is_left_alone(admin: Admin, watcher: Watcher, tmp_path: Path) -> None:
    path = old_file(tmp_path / "da.img", 1 << 20)
    admin.create_device(Device("da", "fileio", path=str(path)))
    watcher.look()
    resize(path, 1 << 19)
    watcher.look()
    assert admin.snapshot().device_sizes == {"da": 1 << 20}
    assert not watcher.stirred()


def test_growth_that_is_refused_is_told_once_and_tried_again(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path
) -> None:
    path = old_file(tmp_path / "da.img")
    admin.create_device(Device("da", "fileio", path=str(path)))
    watcher.look()
    resize(path, 2 << 20)
    tree: Any = admin.tree
    tree.inject = lambda operation, path, value: 5 if (operation, value) == ("write", "1") else None
    due = watcher.look()
    assert due is not None
    watcher.look()
    failed = [(event.text[:14], event.error) for event in events if event.event == "failed"]
    assert failed == [("da: not grown:", "EIO")]
    tree.inject = None
    time.sleep(max(0.0, due - time.monotonic()))
    watcher.look()
    assert admin.snapshot().device_sizes == {"da": 2 << 20}


def test_growth_of_a_device_that_changed_meanwhile_is_nobodys(admin: Admin, tmp_path: Path) -> None:
    path = old_file(tmp_path / "da.img")
    admin.create_device(Device("da", "fileio", path=str(path)))
    assert not admin.grow("fileio", "da", path="/elsewhere")
    assert not admin.grow("fileio", "gone", path=str(path))
    admin.deactivate("da")
    assert not admin.grow("fileio", "da", path=str(path))
    assert admin.snapshot().device_states == {"da": "parked"}


def test_late_file_is_activated(admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "da.img"
    admin.create_device(Device("da", "fileio", path=str(path)))
    assert watcher.look() is None
    assert states(watcher) == {"da": "parked"}
    assert watcher.folders() == {str(tmp_path)}
    old_file(path)
    watcher.look()
    assert states(watcher) == {"da": "active"}
    assert [(event.event, event.state) for event in events] == [
        ("state", "parked"),
        ("bound", ""),
        ("state", "active"),
    ]
    assert watcher.folders() == set()


def test_file_that_is_being_written_is_left_until_it_rests(
    admin: Admin, watcher: Watcher, tmp_path: Path
) -> None:
    path = tmp_path / "da.img"
    admin.create_device(Device("da", "fileio", path=str(path)))
    path.write_bytes(bytes(4096))
    due = watcher.look()
    assert states(watcher) == {"da": "parked"}
    assert due is not None
    assert 0 < due - time.monotonic() <= SETTLE
    os.utime(path, (1, 1))
    watcher.look()
    assert states(watcher) == {"da": "active"}


def test_device_parked_on_request_stays_parked(admin: Admin, watcher: Watcher, tmp_path: Path) -> None:
    admin.create_device(Device("da", "fileio", path=str(old_file(tmp_path / "da.img"))))
    admin.deactivate("da")
    assert watcher.look() is None
    assert states(watcher) == {"da": "parked"}
    assert watcher.awaited == []


def test_failure_is_reported_once_and_repeated_with_delays(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path
) -> None:
    path = tmp_path / "da.img"
    admin.create_device(Device("da", "fileio", path=str(path)))
    old_file(path, 100)  # smaller than a block
    first = watcher.look()
    second = watcher.look()
    assert first is not None
    assert first == second
    assert 0 < first - time.monotonic() <= 1.0
    failed = [event for event in events if event.event == "failed"]
    assert [event.error for event in failed] == ["EINVAL"]
    old_file(path)  # another size: no need to wait
    watcher.look()
    assert states(watcher) == {"da": "active"}


def test_removed_device_is_reported_and_forgotten(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path
) -> None:
    admin.create_device(Device("da", "fileio", path=str(tmp_path / "da.img")))
    watcher.look()
    admin.remove_device("da")
    watcher.look()
    assert events[-1] == Event("removed", "da: removed", "da")
    assert watcher.seen == {}


def test_control_plane_may_come_and_go(events: list[Event], tmp_path: Path) -> None:
    with Admin(str(tmp_path / "nowhere"), state_dir=str(tmp_path)) as admin:
        watcher = Watcher(admin, events.append)
        due = watcher.look()
        watcher.look()
    assert due is not None
    assert [event.event for event in events] == ["absent"]


# The lock. Looks are without it, so others come between them and the actions.


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


def lose(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the next reading of the devices, every active one is found to have lost its disk."""
    look = watcher._eyes.look

    def lost(tree: View) -> list[Seen]:
        monkeypatch.setattr(watcher._eyes, "look", look)
        return [replace(seen, lost=seen.state == "active") for seen in look(tree)]

    monkeypatch.setattr(watcher._eyes, "look", lost)


def test_held_lock_is_waited_for_once_per_round(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path
) -> None:
    awaiting(admin, tmp_path, 6)
    admin.lock_timeout = 0.6
    with held(admin):
        for _ in range(2):
            start = time.monotonic()
            due = watcher.look()
            assert 0.5 < time.monotonic() - start < 2.0  # not once per device
            assert due is not None
            assert due <= time.monotonic()  # the lock is not the devices' fault: no delay for them
    assert admin.lock_timeout == 0.6
    # Said once, and as what it is.
    assert [(event.event, event.path) for event in events if event.event != "state"] == [
        ("locked", f"{admin.state_dir}/lock")
    ]
    watcher.look()
    assert set(states(watcher).values()) == {"active"}


def test_waits_of_one_round_add_up(
    admin: Admin, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that comes free in between, but late each time."""
    awaiting(admin, tmp_path, 10)
    admin.lock_timeout = 0.6
    waited: list[str] = []

    @contextmanager
    def slow(path: str, timeout: float) -> Iterator[Callable[[str], None]]:
        time.sleep(min(timeout, 0.2))
        if timeout < 0.2:
            raise LockTimeout(path, timeout)
        with locked(path, timeout) as say:
            yield say

    before_reopen(admin, monkeypatch, waited.append)
    monkeypatch.setattr("pyscstadmin.admin.locked", slow)
    start = time.monotonic()
    watcher.look()
    assert time.monotonic() - start < 1.6
    assert 1 <= list(states(watcher).values()).count("active") <= 3
    assert "f4" not in waited
    for _ in range(10):
        watcher.look()
    assert set(states(watcher).values()) == {"active"}


def test_round_cut_short_begins_elsewhere_next_time(
    admin: Admin, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    awaiting(admin, tmp_path, 3)
    admin.lock_timeout = 0.1
    tried: list[str] = []
    before_reopen(admin, monkeypatch, tried.append)
    with held(admin):
        for _ in range(4):
            watcher.look()
    assert tried == ["f0", "f1", "f2", "f0"]


def test_lock_held_again_is_said_again(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path
) -> None:
    admin.lock_timeout = 0.1
    for _ in range(2):
        awaiting(admin, tmp_path, 1)
        with held(admin):
            watcher.look()
        watcher.look()
        admin.remove_device("f0")
        (tmp_path / "0.img").unlink()
    assert [event.event for event in events].count("locked") == 2


def test_device_parked_on_request_while_the_lock_is_waited_for_stays_parked(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    awaiting(admin, tmp_path, 2)
    other = Admin(sim=admin.sim)

    def park(name: str) -> None:
        if name == "f0":
            other.activate(name)
            other.deactivate(name)

    before_reopen(admin, monkeypatch, park)
    assert watcher.look() is None
    assert states(watcher) == {"f0": "parked", "f1": "active"}
    assert [seen.name for seen in watcher.awaited] == []
    assert "failed" not in {event.event for event in events}
    other.activate("f0")
    other.close()
    watcher.look()
    assert states(watcher) == {"f0": "active", "f1": "active"}


def test_lost_device_parked_on_request_meanwhile_stays_parked(
    admin: Admin, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.create_device(Device("da", "fileio", path=str(old_file(tmp_path / "da.img"))))
    lose(watcher, monkeypatch)
    with Admin(sim=admin.sim) as other:
        before_reopen(admin, monkeypatch, other.deactivate)
        assert watcher.look() is None
    assert states(watcher) == {"da": "parked"}


@pytest.mark.parametrize("change", ["removed", "path"])
def test_device_that_became_another_is_left_to_the_next_look(
    admin: Admin,
    watcher: Watcher,
    events: list[Event],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    awaiting(admin, tmp_path, 1)
    other = Admin(sim=admin.sim)

    def meanwhile(name: str) -> None:
        other.remove_device(name)
        if change == "path":
            other.create_device(Device(name, "fileio", path=str(tmp_path / "later.img")))

    before_reopen(admin, monkeypatch, meanwhile)
    assert watcher.look() is None
    other.close()
    assert states(watcher) == ({} if change == "removed" else {"f0": "parked"})
    assert "failed" not in {event.event for event in events}


def test_what_was_not_tried_is_not_a_failure(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's attempt failed meanwhile: ours is due at once, not after the delay of a failure."""
    awaiting(admin, tmp_path, 1)
    path = tmp_path / "0.img"

    def meanwhile(name: str) -> None:
        if admin.tree.read(f"devices/fileio/{name}/error") == "ENOENT":
            old_file(path, 100)
            with pytest.raises(OperationError, match="EINVAL"):
                admin.activate(name)
            old_file(path)

    before_reopen(admin, monkeypatch, meanwhile)
    due = watcher.look()
    assert states(watcher) == {"f0": "parked"}
    assert due is not None
    assert due <= time.monotonic()
    watcher.look()
    assert states(watcher) == {"f0": "active"}
    assert "failed" not in {event.event for event in events}


def test_lost_device_is_parked_and_opened_in_one_hold_of_the_lock(
    admin: Admin, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise another writer may come between, and the device stays parked as if on request."""
    admin.create_device(Device("da", "fileio", path=str(old_file(tmp_path / "da.img"))))
    lose(watcher, monkeypatch)
    written: list[tuple[str, str]] = []
    holds: list[str] = []
    tree = admin.tree
    ask = tree.ask

    def noting(path: str, value: str, milliseconds: int) -> None:
        written.append((path, value))
        ask(path, value, milliseconds)

    @contextmanager
    def once(path: str, timeout: float) -> Iterator[Callable[[str], None]]:
        if holds:
            raise LockTimeout(path, timeout)
        holds.append(path)
        with locked(path, timeout) as say:
            yield say

    monkeypatch.setattr(tree, "ask", noting)
    monkeypatch.setattr("pyscstadmin.admin.locked", once)
    watcher.look()
    assert written == [("devices/fileio/da/active", "reopen")]
    assert states(watcher) == {"da": "active"}


def test_lost_device_that_cannot_be_opened_again_is_known_to_wait(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a watcher that was started since: the kernel shows why."""
    path = old_file(tmp_path / "da.img")
    admin.create_device(Device("da", "fileio", path=str(path)))
    lose(watcher, monkeypatch)
    old_file(path, 100)  # smaller than a block
    watcher.look()
    assert states(watcher) == {"da": "parked"}
    assert [event.error for event in events if event.event == "state"] == ["EINVAL"]
    old_file(path)
    with Admin(sim=admin.sim) as other:
        later = Watcher(other, events.append)
        later.look()
        assert states(later) == {"da": "active"}


# The loop.


class NoUevents:
    """Uevents on a machine where nothing happens."""

    overflows = 0

    def __init__(self) -> None:
        self.ends = socket.socketpair()

    def fileno(self) -> int:
        return self.ends[0].fileno()

    def drain(self) -> int:
        return 0


@pytest.fixture
def no_uevents(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    source = NoUevents()
    monkeypatch.setattr(loop, "Uevents", lambda: source)
    yield
    for end in source.ends:
        end.close()


class Counting(Watcher):
    """Notes when it looked."""

    def __init__(self, admin: Admin, report: Callable[[Event], None]) -> None:
        super().__init__(admin, report)
        self.looks: list[float] = []

    def look(self) -> float | None:
        self.looks.append(time.monotonic())
        return super().look()


def stop() -> None:
    """As systemd does it."""
    os.kill(os.getpid(), signal.SIGTERM)


def run_loop(watcher: Watcher, others: Sequence[Thread] = (), service: Service | None = None) -> float:
    """Run the loop until a signal stops it, 20 s at most; returns how long that took."""
    loop = Loop(watcher, service or Service({}))
    limit = Timer(20, stop)
    started = [limit, *others]
    start = time.monotonic()
    try:
        for thread in started:
            thread.start()
        loop.run()
        return time.monotonic() - start
    finally:
        limit.cancel()
        for thread in started:
            thread.join()
        loop.close()


@pytest.mark.usefixtures("no_uevents")
def test_growing_file_gives_a_sign(
    admin: Admin, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as it is another size, not when sizes are looked at."""
    monkeypatch.setattr(loop, "SIZE_CHECK", 60.0)
    path = old_file(tmp_path / "da.img")
    admin.create_device(Device("da", "fileio", path=str(path)))

    def report(event: Event) -> None:
        events.append(event)
        if event.event == "grown":
            stop()

    assert run_loop(Watcher(admin, report), [Timer(1.0, resize, (path, 2 << 20))]) < 3
    assert [event.size for event in events if event.event == "grown"] == [2 << 20]


@pytest.mark.usefixtures("no_uevents")
def test_growing_file_needs_no_sign(
    admin: Admin, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SIZE_CHECK", 0.1)
    monkeypatch.setattr(Watcher, "files", lambda self: set())
    path = old_file(tmp_path / "da.img")
    admin.create_device(Device("da", "fileio", path=str(path)))
    looks = [0]

    def report(event: Event) -> None:
        events.append(event)
        if event.event == "grown":
            stop()

    watcher = Watcher(admin, report)
    whole_look = watcher.look

    def counted() -> float | None:
        looks[0] += 1
        return whole_look()

    monkeypatch.setattr(watcher, "look", counted)
    assert run_loop(watcher, [Timer(1.0, resize, (path, 2 << 20))]) < 10
    assert [event.size for event in events if event.event == "grown"] == [2 << 20]
    assert looks[0] <= 3, "sizes are checked without looking at the tree"


@pytest.mark.usefixtures("no_uevents")
def test_many_signs_make_few_looks_and_the_last_one_counts(
    admin: Admin, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that is awaited lies beside one that is written to all the time."""
    folder = tmp_path / "images"
    busy, late = old_file(folder / "busy.img"), folder / "da.img"
    ready = old_file(tmp_path / "ready.img")
    admin.create_device(Device("da", "fileio", path=str(late)))
    times: dict[str, float] = {}

    def report(event: Event) -> None:
        times[f"{event.device} {event.state}"] = time.monotonic()
        if event.state == "active":
            stop()

    def write() -> None:
        end = time.monotonic() + 2.0
        with busy.open("r+b", buffering=0) as file:
            while time.monotonic() < end:
                file.write(b"x")
                file.seek(0)
                time.sleep(0.0005)
        times["last sign"] = time.monotonic()
        ready.rename(late)

    watcher = Counting(admin, report)
    run_loop(watcher, [Thread(target=write)])
    assert states(watcher) == {"da": "active"}
    burst = [when for when in watcher.looks if when <= times["last sign"]]
    assert 3 <= len(burst) <= 2.0 / PAUSE + 2
    assert times["da active"] - times["last sign"] < 1.0  # 0.2 s on an idle machine


@pytest.mark.usefixtures("no_uevents")
def test_first_sign_after_a_quiet_time_is_not_held_back(
    admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "PAUSE", 1.0)
    late, ready = tmp_path / "images" / "da.img", old_file(tmp_path / "ready.img")
    late.parent.mkdir()
    admin.create_device(Device("da", "fileio", path=str(late)))
    times: list[float] = []

    def report(event: Event) -> None:
        if event.state == "active":
            times.append(time.monotonic())
            stop()

    def appear() -> None:
        time.sleep(2.5)  # two looks at the start, and the pause after them
        times.append(time.monotonic())
        ready.rename(late)

    run_loop(Counting(admin, report), [Thread(target=appear)])
    assert times[1] - times[0] < 0.8


class Interrupted(Watcher):
    """Something happens at the end of one look: devices have been read, folders are watched next."""

    def __init__(self, admin: Admin, number: int, happens: Callable[[], object]) -> None:
        super().__init__(admin, lambda event: stop() if event.state == "active" else None)
        self.left = number
        self.happens = happens

    def look(self) -> float | None:
        due = super().look()
        self.left -= 1
        if self.left == 0:
            self.happens()
        return due


@pytest.mark.usefixtures("no_uevents")
@pytest.mark.parametrize("number", [1, 2])
def test_what_comes_during_a_look_makes_another(admin: Admin, tmp_path: Path, number: int) -> None:
    """In the first, the folder is not watched yet. In the second, the sign must last until the next wait."""
    folder, ready = tmp_path / "images", old_file(tmp_path / "ready.img")
    folder.mkdir()
    admin.create_device(Device("da", "fileio", path=str(folder / "da.img")))
    watcher = Interrupted(admin, number, lambda: ready.rename(folder / "da.img"))
    assert run_loop(watcher) < RECHECK - 2
    assert states(watcher) == {"da": "active"}


@pytest.mark.usefixtures("no_uevents")
def test_directory_made_anew_is_watched(
    admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made anew in the pause between two looks: the name is as before, the directory another."""
    monkeypatch.setattr(loop, "PAUSE", 0.8)
    folder, ready = tmp_path / "images", old_file(tmp_path / "ready.img")
    folder.mkdir()
    admin.create_device(Device("da", "fileio", path=str(folder / "da.img")))

    def make_anew() -> None:
        time.sleep(0.4)
        folder.rmdir()
        folder.mkdir()

    watcher = Interrupted(admin, 2, lambda: ready.rename(folder / "da.img"))
    assert run_loop(watcher, [Thread(target=make_anew)]) < RECHECK - 2
    assert states(watcher) == {"da": "active"}


@pytest.mark.usefixtures("no_uevents")
def test_unwatchable_directory_does_not_make_the_loop_spin(
    admin: Admin, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.create_device(Device("da", "fileio", path=str(tmp_path / "da.img")))
    watcher = Counting(admin, events.append)
    monkeypatch.setattr(Folders, "_check", lambda self, result: refuse(result))
    run_loop(watcher, [Timer(1.5, stop)])
    assert len(watcher.looks) == 1


def refuse(result: int) -> int:
    """No more watches allowed (fs.inotify.max_user_watches); the first descriptor is inotify's own."""
    if result > 2:
        return result
    raise OSError(28, os.strerror(28))


@pytest.mark.usefixtures("no_uevents")
def test_sigterm_is_heard_between_two_actions(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    awaiting(admin, tmp_path, 4)
    before_reopen(admin, monkeypatch, lambda name: stop())
    run_loop(watcher)
    assert states(watcher) == {"f0": "active", "f1": "parked", "f2": "parked", "f3": "parked"}
    assert [event.state for event in events].count("active") == 1


@pytest.mark.usefixtures("no_uevents")
def test_sigterm_is_heard_while_the_lock_is_waited_for(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    awaiting(admin, tmp_path, 2)
    with held(admin):
        assert run_loop(watcher, [Timer(0.5, stop)]) < 2.0
    assert states(watcher) == {"f0": "parked", "f1": "parked"}
    assert {event.event for event in events} == {"state"}


@pytest.mark.usefixtures("no_uevents")
def test_long_round_counts_as_alive(
    admin: Admin, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each action may take long; systemd must not take many of them for a hang."""
    said: list[str] = []

    class Noting(Service):
        def ready(self, status: str) -> None:
            said.append("ready")
            awaiting(admin, tmp_path, 3)
            before_reopen(admin, monkeypatch, said.append)

        def alive(self, status: str) -> None:
            said.append("alive")
            if "f2" in said:
                stop()

    admin.create_device(Device("da", "fileio", path=str(tmp_path / "da.img")))
    admin.create_device(Device("early", "fileio", path=str(tmp_path / "early.img")))
    old_file(tmp_path / "early.img")  # an action in the first look, before anything may be said
    run_loop(watcher, service=Noting({}))
    assert said[:8] == ["ready", "alive", "f0", "alive", "f1", "alive", "f2", "alive"]


def test_control_plane_may_go_in_the_middle_of_a_round(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    awaiting(admin, tmp_path, 1)

    def gone(tree: View) -> list[Seen]:
        raise NotPresent(admin.root)

    before_reopen(admin, monkeypatch, lambda name: monkeypatch.setattr(watcher._eyes, "look", gone))
    assert watcher.look() is not None
    assert [event.event for event in events] == ["bound", "absent"]


# What is seen.


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path / "machine")


@pytest.fixture
def on_disks(machine: FakeMachine, tmp_path: Path) -> Iterator[Admin]:
    """An administration of a machine whose disks come and go."""
    with Admin(sim=str(tmp_path / "sim"), backings=machine) as made:
        yield made


def disk(label: str, size: int = 1 << 20) -> FakeDisk:
    """One that has a serial number, and a link by it."""
    return FakeDisk(label, size, attributes={"serial": label}, links=(f"disk/by-id/virtio-{label}",))


def told(events: list[Event]) -> list[tuple[str, str]]:
    """What was said, and its texts without the name of the device."""
    said = [(event.event, event.text.partition(": ")[2]) for event in events]
    events.clear()
    return said


def test_disk_that_comes_back_is_bound(on_disks: Admin, machine: FakeMachine, events: list[Event]) -> None:
    """Whatever its number is then."""
    path = machine.path("vda")
    machine.plug("vda", disk("A"))
    on_disks.create_device(Device("db", "blockio", path=path))
    watcher = Watcher(on_disks, events.append)
    watcher.look()
    assert told(events) == [("state", f"active, {path}")]
    machine.unplug("vda")
    watcher.look()
    assert told(events) == [
        ("lost", f"its backing is gone: {path}"),
        ("state", f"parked (ENOENT), waits for {path}"),
    ]
    watcher.look()
    assert told(events) == []
    machine.plug("vda", disk("A"))
    watcher.look()
    assert told(events) == [("bound", f"is on {path}"), ("state", f"active, {path}")]


def test_other_disk_at_the_path_is_refused_and_the_right_one_found(
    on_disks: Admin, machine: FakeMachine, events: list[Event]
) -> None:
    """The names are given anew; the fact that tells is named."""
    path = machine.path("vda")
    machine.plug("vda", disk("A"))
    on_disks.create_device(Device("db", "blockio", path=path))
    watcher = Watcher(on_disks, events.append)
    watcher.look()
    machine.unplug("vda")
    machine.plug("vda", disk("B"))
    told(events)
    watcher.look()
    assert told(events) == [
        ("refused", f"not opened: {path} is not what it was: serial B, expected A"),
        ("lost", f"its backing is gone: {path}"),
        ("state", f"parked (ESTALE), waits for {path}"),
    ]
    watcher.look()
    assert told(events) == []
    machine.plug("vdb", disk("A"))
    watcher.look()
    link = machine.path("disk/by-id/virtio-A")
    assert told(events) == [
        ("rebound", f"found at {link}, no longer at {path}"),
        ("state", f"active, {link}"),
    ]
    directory = "devices/blockio/db"
    assert on_disks.tree.read(f"{directory}/backing") == machine.words(machine.path("vdb"))
    assert on_disks.config().devices[0].path == path
    # At home again.
    machine.unplug("vdb")
    machine.unplug("vda")
    watcher.look()
    machine.plug("vda", disk("A"))
    watcher.look()
    assert told(events)[-2:] == [("bound", f"is on {path}"), ("state", f"active, {path}")]
    assert on_disks.tree.read(f"{directory}/elsewhere") == ""


def test_refusal_as_json(on_disks: Admin, machine: FakeMachine, events: list[Event]) -> None:
    machine.plug("vda", disk("A"))
    on_disks.create_device(Device("db", "blockio", path=machine.path("vda")))
    machine.unplug("vda")
    machine.plug("vda", disk("B"))
    Watcher(on_disks, events.append).look()
    (refused,) = (event for event in events if event.event == "refused")
    assert refused.as_dict()["differences"] == ({"fact": "serial", "expected": "A", "found": "B"},)


def test_disk_that_several_claim_to_be_is_not_chosen(
    on_disks: Admin, machine: FakeMachine, events: list[Event]
) -> None:
    path = machine.path("vda")
    machine.plug("vda", disk("A"))
    on_disks.create_device(Device("db", "blockio", path=path))
    machine.unplug("vda")
    machine.plug("vdb", disk("A"))
    machine.plug("vdc", disk("A"))
    watcher = Watcher(on_disks, events.append)
    watcher.look()
    assert states(watcher) == {"db": "parked"}
    (refused,) = (event for event in events if event.event == "refused")
    assert "all claim to be" in refused.text


def test_device_without_facts_takes_what_is_there(
    on_disks: Admin, machine: FakeMachine, events: list[Event]
) -> None:
    """If that was asked for. It says so, each time."""
    path = machine.path("vda")
    machine.plug("vda", disk("A"))
    on_disks.create_device(Device("db", "blockio", path=path, facts={}))
    watcher = Watcher(on_disks, events.append)
    watcher.look()
    machine.unplug("vda")
    machine.plug("vda", disk("B"))
    told(events)
    watcher.look()
    unproven = "nothing proves that it is the right one"
    assert told(events) == [
        ("bound", f"is on {path}; {unproven}"),
    ]
    assert states(watcher) == {"db": "active"}


def test_path_that_leads_elsewhere_is_no_reason_to_close(
    on_disks: Admin, machine: FakeMachine, events: list[Event], tmp_path: Path
) -> None:
    machine.plug("vda", disk("A"))
    machine.plug("vdb", disk("B", 2 << 20))
    link = tmp_path / "link"
    link.symlink_to(machine.path("vda"))
    on_disks.create_device(Device("db", "blockio", path=str(link)))
    watcher = Watcher(on_disks, events.append)
    watcher.look()
    link.unlink()
    link.symlink_to(machine.path("vdb"))
    told(events)
    for _ in range(3):
        watcher.look()
    assert told(events) == [("replaced", f"{link} is another one now; what is open is served on")]
    assert on_disks.tree.read("devices/blockio/db/backing") == machine.words(machine.path("vda"))
    assert on_disks.snapshot().device_sizes == {"db": 1 << 20}  # nor is its size of any interest
    link.unlink()
    link.symlink_to(machine.path("vda"))
    watcher.look()
    link.unlink()
    link.symlink_to(machine.path("vdb"))
    watcher.look()
    assert [event for event, _ in told(events)] == ["replaced"]


def test_file_that_was_replaced_while_it_is_open_is_served_on(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path
) -> None:
    path = old_file(tmp_path / "da.img")
    admin.create_device(Device("da", "fileio", path=str(path)))
    before = admin.tree.read("devices/fileio/da/backing")
    watcher.look()
    old_file(tmp_path / "new.img", 4 << 20).rename(path)
    watcher.look()
    assert told(events)[-1] == ("replaced", f"{path} is another one now; what is open is served on")
    assert admin.tree.read("devices/fileio/da/backing") == before
    # Parked by whoever, it does not take the other one.
    admin.deactivate("da")
    with pytest.raises(OperationError) as refused:
        admin.activate("da")
    assert refused.value.errno == errno.ESTALE
    assert "inode" in refused.value.advice
    watcher.look()
    assert states(watcher) == {"da": "parked"}


def test_other_file_at_the_path_is_refused(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path
) -> None:
    path, aside = old_file(tmp_path / "da.img"), tmp_path / "aside"
    admin.create_device(Device("da", "fileio", path=str(path)))
    known = admin.config().devices[0]
    admin.remove_device("da")
    path.rename(aside)
    admin.create_device(known)
    watcher.look()
    old_file(path)
    watcher.look()
    assert "refused" in [event for event, _ in told(events)]
    assert states(watcher) == {"da": "parked"}
    aside.rename(path)
    watcher.look()
    assert told(events) == [("bound", f"is on {path}"), ("state", f"active, {path}")]


def test_refusal_is_said_again_when_it_is_news_again(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path
) -> None:
    """The wrong file went and came, or the device was made anew: silence would mean that all is well."""
    path, aside = tmp_path / "da.img", tmp_path / "aside"
    device = Device("da", "fileio", path=str(old_file(path)))
    admin.create_device(device)
    facts = str(admin.config().devices[0].settings["facts"])
    admin.deactivate("da")
    path.rename(tmp_path / "right")
    old_file(path)
    with pytest.raises(OperationError):
        admin.activate("da")

    def refused() -> int:
        watcher.look()
        return sum(event.event == "refused" for event in events)

    assert refused() == refused() == 1
    path.rename(aside)
    assert refused() == 1
    aside.rename(path)
    watcher._attempts.clear()
    assert refused() == refused() == 2
    admin.remove_device("da")
    assert refused() == 2
    admin.create_device(device.but(facts=facts))
    assert refused() == 3


def test_device_is_known_from_its_first_binding_on(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path
) -> None:
    path = tmp_path / "da.img"
    admin.create_device(Device("da", "fileio", path=str(path)))
    assert admin.config().devices[0].facts is None
    watcher.look()
    old_file(path)
    watcher.look()
    facts = admin.config().devices[0].facts
    assert facts is not None
    assert facts["inode"] == str(path.stat().st_ino)


def test_file_that_could_not_be_opened_is_not_what_it_is_known_by(
    admin: Admin, watcher: Watcher, tmp_path: Path
) -> None:
    """Written under another name and renamed, as programs do: the first one was too small."""
    path = tmp_path / "da.img"
    admin.create_device(Device("da", "fileio", path=str(path)))
    watcher.look()
    old_file(path, 100)
    watcher.look()
    assert states(watcher) == {"da": "parked"}
    assert admin.config().devices[0].facts is None
    old_file(tmp_path / "whole").rename(path)
    watcher.look()
    assert states(watcher) == {"da": "active"}


def test_disk_that_grows_is_served_whole(on_disks: Admin, machine: FakeMachine, events: list[Event]) -> None:
    machine.plug("vda", disk("A"))
    on_disks.create_device(Device("db", "blockio", path=machine.path("vda")))
    watcher = Watcher(on_disks, events.append)
    watcher.look()
    told(events)
    machine.resize("vda", 2 << 20)
    watcher.look()
    assert told(events) == [("grown", "2 MiB, was 1 MiB")]
    assert not watcher.stirred()


def test_disk_that_shrinks_is_said_and_not_followed(
    on_disks: Admin, machine: FakeMachine, events: list[Event]
) -> None:
    machine.plug("vda", disk("A"))
    on_disks.create_device(Device("db", "blockio", path=machine.path("vda")))
    watcher = Watcher(on_disks, events.append)
    watcher.look()
    told(events)
    machine.resize("vda", 1 << 19)
    for _ in range(3):
        watcher.look()
    (said,) = told(events)
    assert said[0] == "shrunk"
    assert "512 KiB" in said[1]
    assert "nothing shrinks unasked" in said[1]
    assert on_disks.snapshot().device_sizes == {"db": 1 << 20}


def test_loss_found_by_a_watcher_that_comes_later(
    on_disks: Admin, machine: FakeMachine, events: list[Event]
) -> None:
    """The kernel says what was open: it need not have been seen."""
    machine.plug("vda", disk("A"))
    on_disks.create_device(Device("db", "blockio", path=machine.path("vda")))
    words = on_disks.tree.read("devices/blockio/db/backing")
    eyes = Eyes(machine)
    (seen,) = eyes.look(on_disks.tree)
    assert (seen.open, seen.lost) == (words, False)
    node: Any = on_disks.tree.find("devices/blockio/db")  # type: ignore[attr-defined]
    machine.unplug("vda")
    machine.plug("vda", disk("A"), minor=0)
    assert not machine.alive(words)
    node._look = lambda: None  # this kernel has not noticed
    (seen,) = Eyes(machine).look(on_disks.tree)
    assert seen.lost
    watcher = Watcher(on_disks, events.append)
    watcher.look()
    assert ("rebound", f"is again on {machine.path('vda')}") in told(events)
    assert on_disks.tree.read("devices/blockio/db/backing") == machine.words(machine.path("vda")) != words


def test_device_parked_on_request_whose_data_were_lost_stays_parked(
    admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path
) -> None:
    """The error of that is not one of opening."""
    path = old_file(tmp_path / "da.img")
    admin.create_device(Device("da", "fileio", path=str(path)))
    admin.deactivate("da")
    node: Any = admin.tree.find("devices/fileio/da")  # type: ignore[attr-defined]
    node.error = "EIO"
    assert watcher.look() is None
    assert states(watcher) == {"da": "parked"}
    assert watcher.awaited == []
    assert "on request" in events[-1].text


def test_probe_tells_kinds_apart(machine: FakeMachine, tmp_path: Path) -> None:
    probe = Eyes(machine).probe
    path = old_file(tmp_path / "f", 512)
    assert probe(str(path)).kind == "file"
    assert probe(str(path)).settled_in == 0.0
    assert probe(str(tmp_path)).kind == "other"
    assert probe(str(tmp_path / "nothing")) == ABSENT
    assert probe("/a\0b") == ABSENT
    before = probe(str(path)).identity
    path.write_bytes(bytes(1024))
    assert probe(str(path)).identity != before
    machine.plug("vda", disk("A"))
    assert probe(machine.path("vda")).kind == "block"
    machine.plug("loop0", FakeDisk("empty", size=0))
    assert probe(machine.path("loop0")) == ABSENT


# Signs.


def readable(source: Folders | Mounts, mask: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(source.fileno(), mask)
    return bool(poller.poll(int(seconds * 1000)))


def test_folders_give_a_sign_when_a_file_appears(tmp_path: Path) -> None:
    folders = Folders()
    try:
        folders.follow([str(tmp_path), str(tmp_path / "nothing")])
        assert folders.watched == {str(tmp_path)}
        assert not readable(folders, select.POLLIN, 0)
        (tmp_path / "f").write_bytes(b"x")
        assert readable(folders, select.POLLIN, 5)
        assert folders.drain() >= 1
        folders.follow([])
        folders.drain()  # the kernel confirms the end of the watch
        (tmp_path / "g").write_bytes(b"x")
        assert not readable(folders, select.POLLIN, 0)
    finally:
        folders.close()


def test_mount_table_can_be_polled() -> None:
    mounts = Mounts()
    try:
        assert not readable(mounts, select.POLLPRI, 0)
    finally:
        mounts.close()


def test_nearest_folder(tmp_path: Path) -> None:
    assert nearest_folder(str(tmp_path / "a/b/c")) == str(tmp_path)
    assert nearest_folder("/f") == "/"


# The service.


def test_service_talks_to_the_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        service = Service({"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"})
        assert service.interval == 2.0
        service.ready("2 devices")
        service.alive("2 devices")
        service.alive("2 devices")  # just said
        monkeypatch.setattr(time, "monotonic", lambda: now + 1.0)
        service.alive("2 devices")
        service.alive("1 device")
        service.stopping()
        heard = [manager.recv(100).decode() for _ in range(5)]
    assert heard == [
        "READY=1\nSTATUS=2 devices",
        "WATCHDOG=1\nSTATUS=2 devices",
        "WATCHDOG=1",
        "WATCHDOG=1\nSTATUS=1 device",
        "STOPPING=1",
    ]


def test_manager_that_does_not_listen_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        service = Service({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for number in range(2000):  # far more than a socket queues
            service.alive(f"{number} devices")
        heard = {manager.recv(100).decode() for _ in range(5)}
        assert "READY=1\nWATCHDOG=1\nSTATUS=0 devices" in heard
        service.alive("the last word")
        while select.select([manager], [], [], 0)[0]:
            heard.add(manager.recv(100).decode())
    assert "WATCHDOG=1\nSTATUS=the last word" in heard


def test_service_without_manager_is_silent() -> None:
    service = Service({})
    assert service.interval == IDLE_RECHECK
    service.ready("x")


def test_manager_that_was_away_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Restarted, for example: a service that is ready has to say so, and that it is alive."""
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    address = tmp_path / "notify"
    service = Service({"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "4000000"})
    service.ready("2 devices")
    for _ in range(3):
        service.alive("2 devices")
    assert capsys.readouterr().err.count(str(address)) == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(5)
        service.alive("2 devices")
        assert manager.recv(100).decode() == "READY=1\nWATCHDOG=1\nSTATUS=2 devices"
    address.unlink()
    monkeypatch.setattr(time, "monotonic", lambda: now + 10.0)
    service.alive("2 devices")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(5)
        service.alive("2 devices")
        assert manager.recv(100).decode() == "WATCHDOG=1"


# Errors.


class Failing(Watcher):
    """Every look goes wrong in a way that nobody has thought of, for as long as there are such."""

    def __init__(self, admin: Admin, report: Callable[[Event], None], errors: list[Exception]) -> None:
        super().__init__(admin, report)
        self.errors = errors

    def look(self) -> float | None:
        if self.errors:
            raise self.errors.pop(0)
        stop()
        return super().look()


@pytest.mark.usefixtures("no_uevents")
def test_no_error_ends_the_loop(
    admin: Admin, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once for as long as it stays the same, and tried again, ever more slowly."""
    monkeypatch.setattr(loop, "RETRY", 0.02)
    monkeypatch.setattr(loop, "RETRY_LIMIT", 0.1)
    monkeypatch.setattr(loop, "PAUSE", 0.0)
    path = old_file(tmp_path / "da.img")
    admin.create_device(Device("da", "fileio", path=str(path)))
    errors: list[Exception] = [OperationError("read", "devices", None, errno.EIO)] * 40
    errors += [ValueError("not a number"), RuntimeError(), MemoryError(), OSError(errno.EMFILE, "files")] * 15
    assert run_loop(Failing(admin, events.append, errors)) < 60
    assert [event.error for event in events[:5]] == [
        "OperationError", "ValueError", "RuntimeError", "MemoryError", "OSError",
    ]  # fmt: skip
    assert [event.event for event in events if event.event != "error"] == ["state"]


@pytest.mark.usefixtures("no_uevents")
def test_signs_that_cannot_be_taken_do_not_end_the_loop(
    admin: Admin, events: list[Event], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "RETRY", 0.02)
    monkeypatch.setattr(loop, "PAUSE", 0.0)
    taken: list[int] = []

    def broken(self: Loop, ready: set[int]) -> bool:
        taken.append(1)
        if len(taken) > 5:
            stop()
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(Loop, "_take", broken)
    monkeypatch.setattr(loop, "RECHECK", 0.01)
    admin.create_device(Device("da", "fileio", path=str(tmp_path / "da.img")))
    run_loop(Watcher(admin, events.append))
    assert len(taken) > 5
    assert "error" in [event.event for event in events]


# Storms.


class Flood:
    """A socket that is filled faster than it is emptied. As with uevents, nobody waits for the reader, and
    what finds no room is lost.
    """

    def __init__(self, event: bytes) -> None:
        self.end, self.source = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.end.bind(("127.0.0.1", 0))
        self.end.setblocking(False)
        self.source.connect(self.end.getsockname())
        self.event = event
        self.count = 0
        self.stopped = False
        self.thread = Thread(target=self._flow)

    def _flow(self) -> None:
        while not self.stopped:
            self.source.send(self.event)
            self.count += 1

    def __enter__(self) -> Flood:
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopped = True
        self.thread.join()
        self.end.close()
        self.source.close()


def flooded(monkeypatch: pytest.MonkeyPatch, flood: Flood) -> Uevents:
    """Uevents that come from there."""

    class Monitor:
        def fileno(self) -> int:
            return flood.end.fileno()

    monkeypatch.setattr(Uevents, "_open", lambda self: (None, [Monitor()]))
    return Uevents("kernel")


def test_storm_is_taken_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs, "DRAIN_TIME", 0.05)
    with Flood(b"change@/x\0ACTION=change\0SUBSYSTEM=block\0") as flood:
        uevents = flooded(monkeypatch, flood)
        for _ in range(3):
            time.sleep(0.05)
            start = time.monotonic()
            assert uevents.drain() > 0
            assert time.monotonic() - start < 1.0


def test_events_of_others_are_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Flood(b"change@/x\0ACTION=change\0SUBSYSTEM=blocked\0") as flood:
        uevents = flooded(monkeypatch, flood)
        time.sleep(0.05)
        assert uevents.drain() == 0


def test_lost_events_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The descriptor stays the same: reading goes on after the error that says so."""
    with Flood(b"SUBSYSTEM=block\0") as flood:
        uevents = flooded(monkeypatch, flood)
        time.sleep(0.05)
        real, lost = os.read, [OSError(errno.ENOBUFS, "lost")]

        def read(fd: int, size: int) -> bytes:
            if lost:
                raise lost.pop()
            return real(fd, size)

        monkeypatch.setattr("pyscstadmin.watch.signs.os.read", read)
        assert uevents.drain() > 0
        assert uevents.overflows == 1
        monkeypatch.undo()


def test_storm_of_others_makes_no_looks(
    admin: Admin, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Flood(b"SUBSYSTEM=mem\0") as flood:
        source = flooded(monkeypatch, flood)
        monkeypatch.setattr(loop, "Uevents", lambda: source)
        watcher = Counting(admin, events.append)
        run_loop(watcher, [Timer(1.5, stop)])
    assert len(watcher.looks) == 1


def test_file_binds_in_a_storm(admin: Admin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of disks, more of them than 15,000 a second."""
    path, made = tmp_path / "da.img", old_file(tmp_path / "made.img")
    admin.create_device(Device("da", "fileio", path=str(path)))
    when: list[float] = []

    def report(event: Event) -> None:
        if event.event == "bound":
            when.append(time.monotonic())
            stop()

    def appear() -> None:
        made.rename(path)
        when.append(time.monotonic())

    real = os.read

    def slow(fd: int, size: int) -> bytes:
        time.sleep(0.0001)  # on no machine is the reader the faster one
        return real(fd, size)

    monkeypatch.setattr("pyscstadmin.watch.signs.os.read", slow)
    with Flood(b"change@/x\0ACTION=change\0SUBSYSTEM=block\0" + bytes(400)) as flood:
        source = flooded(monkeypatch, flood)
        monkeypatch.setattr(loop, "Uevents", lambda: source)
        took = run_loop(Watcher(admin, report), [Timer(1.5, appear)])
    appeared, bound = when
    assert bound - appeared < 1.0
    assert flood.count / took > 15_000


def test_socket_that_nobody_listens_at(tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    assert not signs._listens(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(path)
        server.listen()
        assert signs._listens(path)
    assert not signs._listens(path)


# The command.


def test_options_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["watch", "--help"])
    assert ended.value.code == 0
    assert "--once" in capsys.readouterr().out


def test_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sim = str(tmp_path / "sim")
    path = tmp_path / "da.img"
    with Admin(sim=sim) as admin:
        admin.create_device(Device("da", "fileio", path=str(path)))
    assert main(["--sim", sim, "--json", "watch", "--once"]) == 3
    assert json.loads(capsys.readouterr().out)["state"] == "parked"
    old_file(path)
    assert main(["--sim", sim, "watch", "--once"]) == 0
    assert capsys.readouterr().out == f"da: is on {path}\nda: active, {path}\n"


def test_once_without_control_plane(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path / "nowhere"), "watch", "--once"]) == 5


def test_wrong_option_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--sim", str(tmp_path), "watch", "--twice"])
    assert ended.value.code == 2


def test_the_loop_follows_a_file_and_stops_cleanly(tmp_path: Path) -> None:
    """As the service runs it: a late file comes live within a second, SIGTERM ends it with status 0."""
    pytest.importorskip("pyudev")
    sim = str(tmp_path / "sim")
    path = tmp_path / "later" / "da.img"
    with Admin(sim=sim) as admin:
        admin.create_device(Device("da", "fileio", path=str(path)))
    command = [sys.executable, "-m", "pyscstadmin", "--sim", sim, "--json", "watch"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            line = child.stdout.readline()
            if not line:
                pytest.skip(f"no uevents here: {child.communicate()[1]}")
            assert json.loads(line)["state"] == "parked"
            old_file(path)
            start = time.monotonic()
            assert json.loads(child.stdout.readline())["event"] == "bound"
            assert json.loads(child.stdout.readline())["state"] == "active"
            assert time.monotonic() - start < 1.0
            child.send_signal(signal.SIGTERM)
            assert child.wait(5) == 0
        finally:
            child.kill()


def test_full_disk_of_the_log_does_not_end_it(tmp_path: Path) -> None:
    """Nobody hears of it, and devices follow their files all the same."""
    pytest.importorskip("pyudev")
    sim, paths = str(tmp_path / "sim"), [tmp_path / "da", tmp_path / "db"]
    with Admin(sim=sim) as admin:
        for path in paths:
            admin.create_device(Device(path.name, "fileio", path=str(path)))
    command = [sys.executable, "-m", "pyscstadmin", "--sim", sim, "watch"]
    with Path("/dev/full").open("w") as full, subprocess.Popen(command, stdout=full) as child:
        try:
            for path in paths:  # when the second one comes, there was something to say of the first
                old_file(path)
                limit = time.monotonic() + 30
                while active(sim, path.name) != "1" and time.monotonic() < limit:
                    assert child.poll() is None
                    time.sleep(0.1)
                assert active(sim, path.name) == "1"
            child.send_signal(signal.SIGTERM)
            child.wait(5)
        finally:
            child.kill()


def active(sim: str, name: str) -> str:
    with Admin(sim=sim) as admin:
        return admin.tree.read(f"devices/fileio/{name}/active")
