# SPDX-License-Identifier: GPL-2.0-or-later
"""The watcher as a service: when it looks, its sources of signs on the running system, and the command."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Thread, Timer

import pytest

from pyscstadmin.__main__ import main
from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Device
from pyscstadmin.errors import NotPresent, OperationError
from pyscstadmin.kernel.cfs import View
from pyscstadmin.watch import loop, signs
from pyscstadmin.watch.loop import IDLE_RECHECK, PAUSE, RECHECK, Event, Loop, Service, Watcher
from pyscstadmin.watch.plan import Seen
from pyscstadmin.watch.signs import Folders, Mounts, Uevents, nearest_folder
from tests.unit.watching import (
    admin,
    awaiting,
    before_reopen,
    events,
    held,
    old_file,
    resize,
    states,
    watcher,
)

__all__ = ("admin", "events", "watcher")


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
