# SPDX-License-Identifier: GPL-2.0-or-later
"""iSNS, with Debian's server: Linux's initiator asks it, and finds our targets."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.vm.guest import iscsi, openiscsi, packages, tree
from tests.vm.guest.iscsid import Daemon, by_daemon, portal
from tests.vm.guest.openiscsi import Initiator, Login
from tests.vm.guest_plugin import command

SCST_MODULES = iscsi.MODULES

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
PATIENCE = 60 * tree.SLOW
DRIVER = tree.ROOT / "drivers/iscsi"
SERVER = "127.0.0.1:3205"
# One of this machine's that is not its own alone.
OUTSIDE = "10.78.0.1"
OTHER = "iqn.2026-11.test:other"
PERIOD = int(8 * tree.SLOW)
# All initiators are in one discovery domain with all targets, and nothing is kept from one life to the next.
SETTINGS = f"""SourceName = iqn.2026-11.test:isns
DefaultDiscoveryDomain = 1
RegistrationPeriod = {PERIOD}
SLPRegister = 0
Security = 0
"""


class Isnsd:
    """Debian's server, which knows nothing when it starts."""

    def __init__(self, folder: Path) -> None:
        settings = folder / "isnsd.conf"
        settings.write_text(f"{SETTINGS}PIDFile = {folder / 'isnsd.pid'}\n")
        self.process = subprocess.Popen(["isnsd", "-f", "-c", str(settings)])
        tree.wait_for("isnsd", self.listens, PATIENCE)

    def listens(self) -> bool:
        """Can it be asked?"""
        assert self.process.poll() is None, "it has ended"
        try:
            socket.create_connection(("127.0.0.1", 3205), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """It has no chance to do anything about it."""
        self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def initiator() -> Iterator[Initiator]:
    """One that asks."""
    with openiscsi.running(), packages.installed("open-isns-server"):
        command("ip", "addr", "add", f"{OUTSIDE}/32", "dev", "lo")
        made = Initiator("isns", "iqn.2026-11.test:isns-initiator").make()
        iscsiadm = ["-m", "discoverydb", "-t", "isns", "-p", SERVER, "-I", made.iface]
        openiscsi.iscsiadm(*iscsiadm, "-o", "new")
        yield made
        command("ip", "addr", "del", f"{OUTSIDE}/32", "dev", "lo")


def found(initiator: Initiator) -> set[tuple[str, str]]:
    """What the server tells it: address with port and portal group, and name. Raises Failed."""
    words = ["-m", "discoverydb", "-t", "isns", "-p", SERVER, "-I", initiator.iface, "--discover"]
    try:
        text = openiscsi.iscsiadm(*words)
    except openiscsi.Failed as failed:
        if failed.status != openiscsi.NO_OBJECTS:
            raise
        return set()
    return set(re.findall(r"^(\S+:\d+,\d+) (\S+)$", text, re.M))


def wait_found(initiator: Initiator, *wanted: tuple[str, str]) -> None:
    """Until it is just that."""
    tree.wait_for(f"{wanted} by iSNS", lambda: found(initiator) == set(wanted), PATIENCE)


def login_as_found(initiator: Initiator) -> Login:
    """By the record that was made of what the server told."""
    words = ["-m", "node", "-T", iscsi.NAME, "-p", openiscsi.HERE, "-I", initiator.iface]
    openiscsi.iscsiadm(*words, "--login")
    made = Login(initiator.iface, iscsi.NAME)
    tree.wait_for("its session", lambda: made.sid is not None, PATIENCE)
    return made


def state() -> str:
    """What `isns_state` shows."""
    return tree.read(DRIVER / "isns_state")


def wait_state(wanted: str) -> None:
    """Until it is that."""
    tree.wait_for(wanted, lambda: state() == wanted, PATIENCE)


@contextmanager
def isns(server: str) -> Iterator[None]:
    """Targets are registered there."""
    tree.write(DRIVER / "isns_server", server)
    try:
        yield
    finally:
        tree.write(DRIVER / "isns_server", "\n")
        assert state() == "off"


@pytest.fixture
def disk(make_file: MakeFile) -> Path:
    """What it has."""
    return make_file("da", 16)


@pytest.fixture
def target(disk: Path) -> Iterator[iscsi.Target]:
    """A target with a disk, enabled, reachable at 127.0.0.1."""
    made = iscsi.Target(iscsi.NAME)
    made.make()
    made.luns.map(0, tree.fileio("da", disk))
    portal(made)
    made.enable()
    yield made
    made.enable(False)
    iscsi.wait_sessions(0)


HERE = ("127.0.0.1:3260,1", iscsi.NAME)
THERE = (f"{OUTSIDE}:3261,2", OTHER)


def test_initiator_finds_and_logs_in(
    target: iscsi.Target, disk: Path, initiator: Initiator, tmp_path: Path
) -> None:
    """What is enabled, where it is, and with which tag; what is not linked there is not told."""
    assert state() == "off"
    other = iscsi.Target(f"{OTHER},t,0x0002")
    other.make()
    portal(other, "out", address=OUTSIDE, port=3261)
    server = Isnsd(tmp_path)
    try:
        with by_daemon(), isns(SERVER):
            wait_found(initiator, HERE)
            wait_state("registered: 1 target, 1 portal")
            other.enable()
            wait_found(initiator, HERE, THERE)
            login = login_as_found(initiator)
            login.wait_luns(0)
            assert login.disk(0).read_bytes() == disk.read_bytes()
            login.logout()
            target.enable(False)
            wait_found(initiator, THERE)
            target.enable()
            wait_found(initiator, HERE, THERE)
        wait_found(initiator)
    finally:
        server.kill()
        other.enable(False)


def test_server_and_daemon_come_and_go(target: iscsi.Target, initiator: Initiator, tmp_path: Path) -> None:
    """Nobody types a command, and nobody who is gone is found."""
    with isns(SERVER):
        assert state() == "waiting: for scst-iscsid"
        daemon = Daemon()
        wait_state(f"waiting: {SERVER}: Connection refused")
        server = Isnsd(tmp_path)
        try:
            wait_found(initiator, HERE)
            server.kill()
            server = Isnsd(tmp_path)
            wait_found(initiator, HERE)
            daemon.kill()
            assert state() == "waiting: for scst-iscsid"
            # When its time is over.
            wait_found(initiator)
            daemon = Daemon()
            wait_found(initiator, HERE)
            daemon.stop()
            assert found(initiator) == set()
        finally:
            daemon.kill()
            server.kill()
