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

from tests.iscsi import pdu
from tests.iscsi.initiator import Session
from tests.iscsi.login import FULL, OFFER, OPERATIONAL, SECURITY, Login, login
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
# Who is further away waits for answers, and not for the target: then more may log in at a time.
FROM_AFAR, AWAY = 40, 0.02
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


class Prepared:
    """A login whose requests are made before the clock runs, and its answers looked at after that."""

    def __init__(self, name: str, target: str) -> None:
        self.session = Session(socket.socket())
        self.login = Login(self.session, initiator=name, target=target)
        first = self.login.names() | {"AuthMethod": "CHAP,None"}
        stages = ((SECURITY, OPERATIONAL, first), (OPERATIONAL, FULL, OFFER))
        self.requests = [
            self.session.encode(self.login.request(now, then, pdu.join(keys))) for now, then, keys in stages
        ]
        self.answers: list[tuple[bytes, bytes]] = []

    def run(self, away: float) -> None:
        """*away*: seconds to the target and back."""
        self.session.sock.connect(ADDRESS)
        for request in self.requests:
            time.sleep(away)
            self.session.sock.sendall(request)
            header = self.session.read_bytes(pdu.BHS)
            length = pdu.head_lengths(header)[1]
            self.answers.append((header, self.session.read_bytes(length + pdu.padding(length))))

    def end(self) -> Session:
        """The session."""
        for header, data in self.answers:
            answer = pdu.decode_header(header)
            self.session.check(answer)
            assert not answer.get(36) >> 16, "refused"
            self.login.said |= pdu.split(data)
        return self.login.full(answer, OFFER)


def in_parallel(
    names: list[str], target: str, at_a_time: int, away: float = 0.0
) -> tuple[float, list[Session]]:
    """Log all of them in, a few at a time; how long it takes."""
    logins = [Prepared(name, target) for name in names]
    left, lock = iter(logins), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                one = next(left, None)
            if one is None:
                return
            one.run(away)

    threads = [threading.Thread(target=work) for _ in range(at_a_time)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    return took, [one.end() for one in logins]


def told(what: str, took: dict[str, float]) -> None:
    """For who reads the log."""
    print(f"{NAMES} logins{what}: {', '.join(f'{who} {seconds:.2f} s' for who, seconds in took.items())}")


def test_many_names(target: iscsi.Target, tmp_path: Path) -> None:
    """All are in, and each is served; how long it takes beside Linux's own target, here and from afar."""
    names = [f"iqn.2026-11.test:many{number}" for number in range(NAMES)]
    near, far = dict[str, float](), dict[str, float]()
    with by_daemon():
        near["scst"], made = in_parallel(names, target.name, AT_A_TIME)
        iscsi.wait_sessions(NAMES)
        assert {tree.read(folder / "initiator") for folder in iscsi.sessions()} == set(names)
        for session in made:
            assert session.ping(b"x").data == b"x"
            session.close()
        iscsi.wait_sessions(0)
        far["scst"], made = in_parallel(names, target.name, FROM_AFAR, AWAY)
        for session in made:
            session.close()
        iscsi.wait_sessions(0)
    file = tmp_path / "lio"
    file.write_bytes(bytes(iscsi.SIZE))
    with lio.served(file) as other:
        for took, ways in ((near, (AT_A_TIME,)), (far, (FROM_AFAR, AWAY))):
            took["lio"], made = in_parallel(names, other.name, *ways)
            for session in made:
                session.logout()
                session.close()
    told("", near)
    told(f" from {AWAY * 1000:.0f} ms away", far)


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
