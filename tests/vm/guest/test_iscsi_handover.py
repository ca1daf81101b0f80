# SPDX-License-Identifier: GPL-2.0-or-later
"""Who lets initiators in comes and goes, and so does the kernel's module: sessions, and data, do not notice.

SCST_KILLS: how often the daemon is killed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.iscsi import adopter as handover
from tests.iscsi.adopter import DROP_ASK
from tests.vm.guest import iscsi, iscsid, openiscsi, tree
from tests.vm.guest.fio import Fio
from tests.vm.guest.iscsid import Daemon, by_daemon, listening, portal
from tests.vm.guest.long import often
from tests.vm.guest.openiscsi import Initiator, Login
from tests.vm.guest.pulse import pulse
from tests.vm.guest_plugin import command

SCST_MODULES = iscsi.MODULES

pytestmark = pytest.mark.usefixtures("clean_tree")

KILLS = int(os.environ.get("SCST_KILLS") or often(2, 150))
EVERY = 2.0
INITIATORS = often(2, 8)
MIB = 2
LOAD: dict[str, Any] = {
    "rw": "randwrite",
    "verify": "crc32c",
    "size": f"{MIB}m",
    "runtime": 3600,
    "iodepth": 2,
    "rate_iops": 100,  # who starts meanwhile needs a CPU, too
}
# From a daemon's death until somebody who comes is in: the next has to start, on a machine that is busy.
SOON = 60 * tree.SLOW
ASKED = 60


@dataclass(frozen=True, slots=True)
class Served:
    """A target, and initiators with a disk each, and one of which nothing is expected."""

    folder: Path
    initiators: list[Initiator]
    guest: Initiator

    def configure(self) -> None:
        """All of it, as it was before."""
        target = iscsi.Target(iscsi.NAME)
        target.make()
        for one in self.initiators:
            target.group(one.iface, one.iqn).luns.map(0, tree.Device("fileio", one.iface))
        target.luns.map(0, tree.Device("nullio", "null"))
        portal(target)
        target.enable()

    def remove(self) -> None:
        """What belongs to the driver."""
        target = iscsi.Target(iscsi.NAME)
        (target.path / "portals/p").unlink()
        target.luns.clear()
        for one in self.initiators:
            tree.Group(target.path / "groups" / one.iface).remove()
        target.path.rmdir()
        (tree.ROOT / "drivers/iscsi/portals/p").rmdir()

    @contextmanager
    def loaded(self, logins: list[Login]) -> Iterator[None]:
        """Meanwhile each writes, and nothing it wrote is lost, or fails."""
        with ExitStack() as stack:
            loads = [
                stack.enter_context(Fio(self.folder, one.disk(0, iscsid.PATIENCE), one.name, **LOAD))
                for one in logins
            ]
            yield
            for load in loads:
                load.stop()


@pytest.fixture(scope="module")
def initiators() -> Iterator[list[Initiator]]:
    """All of them, and the guest."""
    with openiscsi.running():
        yield [
            Initiator(f"i{number}", f"iqn.2026-11.test:i{number}").make() for number in range(INITIATORS + 1)
        ]


@pytest.fixture
def served(clean_tree: None, initiators: list[Initiator], tmp_path: Path) -> Iterator[Served]:
    """Enabled."""
    made = Served(tmp_path, initiators[:-1], initiators[-1])
    for one in made.initiators:
        path = tmp_path / one.iface
        path.write_bytes(bytes(MIB << 20))
        tree.fileio(one.iface, path)
    tree.nullio("null")
    made.configure()
    yield made
    with suppress(openiscsi.Failed):  # there are none, unless a test has failed
        openiscsi.iscsiadm("-m", "node", "-u")
    iscsi.Target(iscsi.NAME).enable(False)
    iscsi.wait_sessions(0)


def incarnations() -> set[int]:
    """The sessions there are, each by what no other one is."""
    return {iscsi.incarnation(folder) for folder in iscsi.sessions()}


def enter(who: Initiator) -> Login:
    """Log in as soon as somebody listens: iscsiadm does not try for ever."""
    tree.wait_for("a daemon", iscsid.reachable, SOON)
    return who.login(iscsi.NAME)


def test_daemon_is_killed_again_and_again(served: Served) -> None:
    """No session ends, no I/O fails; who comes is in soon after the next daemon has begun."""
    starts, logs_in = [], []
    daemon = Daemon()
    try:
        tree.wait_for("a portal", listening, iscsid.PATIENCE)
        logins = [one.login(iscsi.NAME) for one in served.initiators]
        with served.loaded(logins):
            iscsi.wait_sessions(len(logins))
            before = incarnations()
            for _ in range(KILLS):
                began = pulse.time()
                daemon.kill()
                daemon = Daemon()
                tree.wait_for("the next daemon", iscsid.reachable, SOON)
                starts.append(pulse.time() - began)
                came = served.guest.login(iscsi.NAME)
                logs_in.append(pulse.time() - began - starts[-1])
                assert incarnations() > before
                came.logout()
                time.sleep(max(0.0, EVERY - starts[-1] - logs_in[-1]))
            iscsi.wait_sessions(len(logins))
            assert incarnations() == before
        for one in logins:
            one.logout()
    finally:
        daemon.stop()
    for what, took in (
        ("until the next daemon listens", sorted(starts)),
        ("until somebody is in then", sorted(logs_in)),
    ):
        print(f"{KILLS} kills, {what}: {took[KILLS // 2]:.1f} s, at most {took[-1]:.1f} s")


@pytest.mark.long
def test_daemon_is_replaced(served: Served) -> None:
    """The next is there before the older ends: it takes over, and nobody notices."""
    with by_daemon() as older:
        logins = [one.login(iscsi.NAME) for one in served.initiators]
        with served.loaded(logins):
            iscsi.wait_sessions(len(logins))
            before = incarnations()
            with Daemon():
                older.stop()
                enter(served.guest).logout()
                iscsi.wait_sessions(len(logins))
                assert incarnations() == before
        for one in logins:
            one.logout()


def test_drain(served: Served) -> None:
    """Initiators that are asked to log out do so, and are back by themselves; nothing was dropped."""
    with by_daemon():
        logins = [one.login(iscsi.NAME) for one in served.initiators]
        with served.loaded(logins), handover.events() as told:
            before = iscsi.wait_sessions(len(logins))
            told.read()
            for folder in before:
                iscsi.drop(int(iscsi.value(folder, "tsih")), DROP_ASK, ASKED)
            for folder in before:
                tree.wait_for("the session's end", lambda folder=folder: not folder.exists(), iscsid.PATIENCE)  # type: ignore[misc]
            iscsi.wait_sessions(len(logins))
            assert {why for kind, _, why in told.read() if kind == handover.EVENT_GONE} == {"logout"}
        for one in logins:
            one.logout()


def test_module_is_replaced(served: Served) -> None:
    """Under load: all that is the driver's goes, and comes again; so do the initiators."""
    with by_daemon() as daemon:
        logins = [one.login(iscsi.NAME) for one in served.initiators]
        with served.loaded(logins):
            iscsi.wait_sessions(len(logins))
            # First, so that nobody hears that there is no such target: who is told so does not come again.
            daemon.stop()
            iscsi.Target(iscsi.NAME).enable(False)
            iscsi.wait_sessions(0)
            served.remove()
            command("rmmod", "scst_iscsi")
            command("modprobe", "scst_iscsi")
            served.configure()
            with by_daemon():
                tree.wait_for("all initiators", lambda: all(one.up for one in logins), openiscsi.PATIENCE)
                iscsi.wait_sessions(len(logins))
        for one in logins:
            one.logout()
