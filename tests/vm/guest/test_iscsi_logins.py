# SPDX-License-Identifier: GPL-2.0-or-later
"""Logins: many, beside many that go nowhere, and with each kind of CHAP that Linux's initiator knows.

SCST_LOGINS: how many names log in beside Linux's own target.
"""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.iscsi.initiator import Session
from tests.iscsi.login import login
from tests.vm.guest import iscsi, lio, openiscsi, scsi, tree
from tests.vm.guest.fault import Fault
from tests.vm.guest.iscsid import by_daemon, portal
from tests.vm.guest.long import LONG, often
from tests.vm.guest.openiscsi import Initiator

SCST_MODULES = iscsi.MODULES

pytestmark = pytest.mark.usefixtures("clean_tree")

ADDRESS = ("127.0.0.1", 3260)
NAMES = int(os.environ.get("SCST_LOGINS") or often(40, 500))
AT_A_TIME = 8
HALF_OPEN = often(300, 2000)
PER_SOURCE = 50
SAMPLES = often(15, 100)
IN, OUT = "secret of the initiator", "secret of the target"
ALGORITHMS = {"sha3-256": "SHA3-256", "sha256": "SHA256", "sha1": "SHA1", "md5": "MD5"}


@pytest.fixture
def target(clean_tree: None, tmp_path: Path) -> Iterator[iscsi.Target]:
    """Reachable, with two LUNs."""
    with iscsi.served(tmp_path) as made:
        portal(made)
        yield made


# --- many ---


def in_parallel(names: list[str], target: str) -> tuple[float, list[Session]]:
    """Log all of them in, a few at a time; how long it takes."""
    left, made, lock = iter(names), list[Session](), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                name = next(left, None)
            if name is None:
                return
            session = login(ADDRESS, target, initiator=name)
            with lock:
                made.append(session)

    threads = [threading.Thread(target=work) for _ in range(AT_A_TIME)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began, made


def test_many_names(target: iscsi.Target, tmp_path: Path) -> None:
    """All are in, and each is served; how long it takes beside Linux's own target."""
    names = [f"iqn.2026-11.test:many{number}" for number in range(NAMES)]
    took = {}
    with by_daemon():
        took["scst"], made = in_parallel(names, target.name)
        iscsi.wait_sessions(NAMES)
        assert {tree.read(folder / "initiator") for folder in iscsi.sessions()} == set(names)
        for session in made:
            assert session.ping(b"x").data == b"x"
            session.close()
        assert len(made) == NAMES
        iscsi.wait_sessions(0)
    file = tmp_path / "lio"
    file.write_bytes(bytes(iscsi.SIZE))
    with lio.served(file) as other:
        took["lio"], made = in_parallel(names, other.name)
        assert len(made) == NAMES
        for session in made:
            session.logout()
            session.close()
    print(f"{NAMES} logins: {', '.join(f'{who} {seconds:.1f} s' for who, seconds in took.items())}")


# --- beside those that go nowhere ---


def times(target: str) -> list[float]:
    """How long logins take, one after the other, in milliseconds."""
    found = []
    for number in range(SAMPLES):
        began = time.monotonic()
        with login(ADDRESS, target, initiator=f"iqn.2026-11.test:sample{number}") as session:
            found.append((time.monotonic() - began) * 1000)
            session.logout()
    return sorted(found)


def test_beside_half_open_logins(target: iscsi.Target) -> None:
    """Connections that say nothing, and an initiator whose older session cannot end: others do not wait."""
    tree.write(tree.ROOT / "drivers/iscsi/max_half_open", 4096)
    with ExitStack() as stack, by_daemon():
        before = times(target.name)
        older = stack.enter_context(login(ADDRESS, target.name))
        iscsi.hear(older)
        held = Fault("f").make(action="drop", commands="writes").enable()
        older.start(scsi.write10(0, 1), write=bytes(512))
        tree.wait_for("the write", lambda: held.hits == 1)
        for number in range(HALF_OPEN):
            source = f"127.0.1.{1 + number // PER_SOURCE}"
            stack.enter_context(socket.create_connection(ADDRESS, source_address=(source, 0)))
        # Its older session ends when its command does: it is told to come again, and this takes its time.
        again = threading.Thread(target=lambda: tree.errno_of(lambda: try_login(target.name)))
        again.start()
        meanwhile = times(target.name)
        again.join()
        held.enable(False)
    middle, worst = SAMPLES // 2, -1
    for when, found in (("undisturbed", before), (f"beside {HALF_OPEN} half-open", meanwhile)):
        print(f"a login {when}: {found[middle]:.0f} ms, at most {found[worst]:.0f} ms")
    assert meanwhile[middle] < 3 * before[middle] + 20 * tree.SLOW
    tree.write(tree.ROOT / "drivers/iscsi/max_half_open", 1024)


def try_login(target: str) -> None:
    """Refused or not."""
    try:
        login(ADDRESS, target).close()
    except Exception as error:
        print(f"the one whose disk hangs: {error!r}")


# --- CHAP ---


def user(folder: Path, name: str, direction: str, secret: str) -> None:
    """One who proves who he is."""
    (folder / name).mkdir()
    tree.write(folder / name / "direction", direction)
    tree.write(folder / name / "secret", secret)


def words(kind: str, mutual: bool, right: bool) -> dict[str, str]:
    """open-iscsi's settings: for *mutual*, the wrong secret is the target's."""
    found = {
        f"{kind}.auth.authmethod": "CHAP",
        f"{kind}.auth.username": "one",
        f"{kind}.auth.password": IN if right or mutual else IN + "x",
    }
    if mutual:
        found |= {
            f"{kind}.auth.username_in": "other",
            f"{kind}.auth.password_in": OUT if right else OUT + "x",
        }
    return found


MANY = list(itertools.product(ALGORITHMS, (False, True), (True, False)))
FEW = [("sha3-256", True, True), ("md5", False, False)]
WAYS = list(itertools.product((False, True), (True, False)))


def refused(action: Callable[[], object]) -> bool:
    """Does open-iscsi say that it is not let in?"""
    try:
        action()
    except openiscsi.Failed:
        return True
    return False


def test_chap(target: iscsi.Target) -> None:
    """Each algorithm, one way and mutual, right and wrong, for sessions and for discovery."""
    tree.write(target.path / "auth", "chap")
    portals = tree.ROOT / "drivers/iscsi"
    for folder in (target.path / "users", portals / "users"):
        user(folder, "one", "in", IN)
        user(folder, "other", "out", OUT)
    wrong = []
    with openiscsi.running(), by_daemon():
        one = Initiator("a", "iqn.2026-11.test:a").make()
        assert refused(lambda: one.login(target.name)), "without CHAP"
        for algorithm, mutual, right in MANY if LONG else FEW:
            tree.write(target.path / "chap_algorithms", algorithm)
            settings = words("node.session", mutual, right)
            settings["node.session.auth.chap_algs"] = ALGORITHMS[algorithm]
            out = refused(lambda settings=settings: one.login(target.name, settings=settings).logout())  # type: ignore[misc]
            if out == right:
                wrong.append(f"{algorithm}, mutual {mutual}, right {right}")
            openiscsi.iscsiadm("-m", "node", "-o", "delete")
        tree.write(portals / "portals/p/discovery_auth", "chap")
        assert refused(one.discover), "discovery without CHAP"
        for mutual, right in WAYS if LONG else WAYS[1:3]:
            settings = words("", mutual, right)
            settings = {key.removeprefix("."): value for key, value in settings.items()}
            if refused(lambda settings=settings: one.discover(**settings)) == right:  # type: ignore[misc]
                wrong.append(f"discovery, mutual {mutual}, right {right}")
    assert not wrong
