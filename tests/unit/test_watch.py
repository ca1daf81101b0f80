# SPDX-License-Identifier: GPL-2.0-or-later
"""The watcher at work on a simulated tree: what it sees, and what it does about that."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Device
from pyscstadmin.errors import LockTimeout, OperationError
from pyscstadmin.kernel.cfs import View
from pyscstadmin.kernel.lock import locked
from pyscstadmin.watch.look import SETTLE, Eyes
from pyscstadmin.watch.loop import Event, Watcher
from pyscstadmin.watch.plan import ABSENT, Seen
from tests.unit.machine import FakeDisk, FakeMachine
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


# Looks.


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
    monkeypatch.setattr("pyscstadmin.admin.provision.locked", slow)
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
    monkeypatch.setattr("pyscstadmin.admin.provision.locked", once)
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
