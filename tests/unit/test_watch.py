# SPDX-License-Identifier: GPL-2.0-or-later
"""The watcher at work on a simulated tree, and its sources of signs on the running system."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyscstadmin import watch_look
from pyscstadmin.admin import Admin
from pyscstadmin.cli import main
from pyscstadmin.model import Device
from pyscstadmin.watch import IDLE_RECHECK, Event, Service, Watcher
from pyscstadmin.watch_look import SETTLE, Eyes, probe
from pyscstadmin.watch_plan import ABSENT
from pyscstadmin.watch_signs import Folders, Mounts, nearest_folder


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


def test_late_file_is_activated(admin: Admin, watcher: Watcher, events: list[Event], tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "da.img"
    admin.create_device(Device("da", "fileio", path=str(path)))
    assert watcher.look() is None
    assert states(watcher) == {"da": "parked"}
    assert watcher.folders() == {str(tmp_path)}
    old_file(path)
    watcher.look()
    assert states(watcher) == {"da": "active"}
    assert [(event.event, event.state) for event in events] == [("state", "parked"), ("state", "active")]
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


# Facts.


class FakeBlock:
    """A /sys/dev/block in which disks come and go."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, number: str, sequence: int, size: int = 2048) -> None:
        """A disk; the same number with another sequence is another disk."""
        folder = self.root / number
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "size").write_text(f"{size}\n")
        (folder / "diskseq").write_text(f"{sequence}\n")

    def take(self, number: str) -> None:
        """Pull it."""
        for file in (self.root / number).iterdir():
            file.unlink()
        (self.root / number).rmdir()


class FakeDevices:
    """The part of a tree that `Eyes` reads: one blockio device."""

    def __init__(self, path: str) -> None:
        self.values = {"state": "active", "error": "", "path": path}

    def list(self, path: str) -> list[str]:
        return ["db"] if path == "devices/blockio" else []

    def read(self, path: str) -> str:
        return self.values[path.rpartition("/")[2]]


def test_active_device_is_lost_when_its_disk_is_gone_or_another(tmp_path: Path) -> None:
    node = block_node()
    status = os.stat(node)
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    block = FakeBlock(tmp_path / "block")
    block.put(number, 5)
    eyes, tree = Eyes(str(block.root)), FakeDevices(node)

    def lost() -> bool:
        (seen,) = eyes.look(tree)  # type: ignore[arg-type]
        return seen.lost

    assert not lost()
    block.take(number)
    assert lost()
    block.put(number, 6)  # the number is used again
    assert lost()
    eyes.forget("db")
    assert not lost()
    tree.values["state"] = "parked"
    assert not lost()


def block_node() -> str:
    """Any block device node; the device itself need not exist."""
    for name in ("/dev/loop0", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/ram0"):
        if os.path.exists(name):
            return name
    found = next((f"/dev/{name}" for name in os.listdir("/sys/block") if os.path.exists(f"/dev/{name}")), "")
    if not found:
        pytest.skip("this machine has no block device node")
    return found


def test_disk_without_size_is_absent(tmp_path: Path) -> None:
    node = block_node()
    status = os.stat(node)
    block = FakeBlock(tmp_path)
    block.put(f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}", 5, size=0)
    assert probe(node, str(tmp_path)) == ABSENT


def test_partition_has_the_sequence_of_its_disk(tmp_path: Path) -> None:
    part = tmp_path / "disk" / "part"
    part.mkdir(parents=True)
    (tmp_path / "disk" / "diskseq").write_text("9\n")
    (part / "size").write_text("8\n")
    (tmp_path / "8:1").symlink_to(part)
    assert watch_look._disk("8:1", str(tmp_path)) == "8:1/9"


def test_probe_tells_kinds_apart(tmp_path: Path) -> None:
    path = old_file(tmp_path / "f", 512)
    assert probe(str(path)).kind == "file"
    assert probe(str(path)).settled_in == 0.0
    assert probe(str(tmp_path)).kind == "other"
    assert probe(str(tmp_path / "nothing")) == ABSENT
    assert probe("/a\0b") == ABSENT
    before = probe(str(path)).identity
    path.write_bytes(bytes(1024))
    assert probe(str(path)).identity != before


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
        assert "WATCHDOG=1\nSTATUS=0 devices" in heard
        service.alive("the last word")
        while select.select([manager], [], [], 0)[0]:
            heard.add(manager.recv(100).decode())
    assert "WATCHDOG=1\nSTATUS=the last word" in heard


def test_service_without_manager_is_silent() -> None:
    service = Service({})
    assert service.interval == IDLE_RECHECK
    service.ready("x")


# The command.


def test_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sim = str(tmp_path / "sim")
    path = tmp_path / "da.img"
    with Admin(sim=sim) as admin:
        admin.create_device(Device("da", "fileio", path=str(path)))
    assert main(["--sim", sim, "--json", "watch", "--once"]) == 3
    assert json.loads(capsys.readouterr().out)["state"] == "parked"
    old_file(path)
    assert main(["--sim", sim, "watch", "--once"]) == 0
    assert capsys.readouterr().out == f"da: active, {path}\n"


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
            assert json.loads(child.stdout.readline())["state"] == "active"
            assert time.monotonic() - start < 1.0
            child.send_signal(signal.SIGTERM)
            assert child.wait(5) == 0
        finally:
            child.kill()
