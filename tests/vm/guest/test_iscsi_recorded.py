# SPDX-License-Identifier: GPL-2.0-or-later
"""What initiators send to log in is what fuzzing begins with (tests/fuzz/corpus).

A cable between an initiator and scst-iscsid keeps what was said; beside the logs it is left in ``recorded``,
as the files of the corpus are, to be put there when an initiator of a later version says something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyscstadmin.iscsi.login import Discovery, LoggedIn
from tests.fuzz import logins
from tests.fuzz.logins import SECRETS, TARGET, Asked
from tests.iscsi.cable import Cable
from tests.vm.guest import iscsi, openiscsi, tree
from tests.vm.guest.iscsid import ADDRESS, PATIENCE, by_daemon, portal
from tests.vm.guest.openiscsi import Initiator
from tests.vm.guest_plugin import command

SCST_MODULES = iscsi.MODULES

pytestmark = pytest.mark.usefixtures("clean_tree")

NEAR = ("127.0.0.1", 3261)
PORTAL = "{}:{}".format(*NEAR)
NAME = "iqn.2026-11.test:recorded"
CHAP = {
    "authmethod": "CHAP",
    "username": "it",
    "password": SECRETS["it"],
    "username_in": "me",
    "password_in": SECRETS["me"],
}


@pytest.fixture(scope="module")
def initiator() -> Iterator[Initiator]:
    """open-iscsi's."""
    with openiscsi.running():
        yield Initiator("recorded", NAME).make()


def libiscsi(program: str, target: str = "", user: str = "") -> None:
    """One of its programs."""
    command(program, "-i", NAME, f"iscsi://{user}{PORTAL}{target}")


def discover(initiator: Initiator, **settings: str) -> None:
    """open-iscsi. What it has found it forgets, as it would go by that."""
    initiator.discover(PORTAL, **{f"auth.{name}": value for name, value in settings.items()})
    openiscsi.iscsiadm("-m", "node", "-o", "delete")


def enter(initiator: Initiator, **settings: str) -> None:
    """open-iscsi: a session, in which it looks at what there is."""
    words = {f"node.session.auth.{name}": value for name, value in settings.items()}
    session = initiator.login(TARGET, PORTAL, words)
    session.disk(0)
    session.logout()
    openiscsi.iscsiadm("-m", "node", "-o", "delete")


USER = f"it%{SECRETS['it']}@"
WAYS: dict[str, Callable[[Initiator], None]] = {
    "open-iscsi-discovery": discover,
    "open-iscsi-login": enter,
    "open-iscsi-chap-discovery": lambda one: discover(one, **CHAP),
    "open-iscsi-chap-login": lambda one: enter(one, **CHAP),
    "libiscsi-discovery": lambda _: libiscsi("iscsi-ls"),
    "libiscsi-login": lambda _: libiscsi("iscsi-inq", f"/{TARGET}/0"),
    "libiscsi-chap-discovery": lambda _: libiscsi("iscsi-ls", user=USER),
    "libiscsi-chap-login": lambda _: libiscsi("iscsi-inq", f"/{TARGET}/0", USER),
}


def prove(target: iscsi.Target) -> None:
    """The target, and discovery, want CHAP."""
    tree.write(target.path / "auth", "chap")
    driver = tree.ROOT / "drivers/iscsi"
    tree.write(driver / "portals/p/discovery_auth", "chap")
    for folder in (target.path / "users", driver / "users"):
        for name, direction in (("it", "in"), ("me", "out")):
            (folder / name).mkdir()
            tree.write(folder / name / "direction", direction)
            tree.write(folder / name / "secret", SECRETS[name])


@pytest.fixture
def target(clean_tree: None, tmp_path: Path) -> Iterator[iscsi.Target]:
    """That of the recordings."""
    with iscsi.served(tmp_path, TARGET) as made:
        portal(made)
        yield made


def question(said: bytes) -> Asked | None:
    """What the target has asked by CHAP."""
    if b"CHAP_C=" not in said:
        return None
    (values,) = [
        dict(item.split(b"=", 1) for item in data.split(b"\0") if b"=" in item)
        for _, data in logins.pdus_of(said)
        if b"CHAP_C=" in data
    ]
    return Asked(int(values[b"CHAP_I"]), bytes.fromhex(values[b"CHAP_C"][2:].decode()))


def keep(folder: Path, name: str, text: bytes, asked: Asked | None) -> None:
    """As it is in the corpora. Of what comes behind a login, when it is plain."""
    folder.mkdir(exist_ok=True)
    login = [
        one for one in logins.pdus_of(text) if name.endswith("-discovery") or one not in logins.behind(text)
    ]
    (folder / f"{name}.hex").write_text(logins.kept_as(logins.joined(login), asked))
    program = name.removesuffix("-login")
    if program in ("open-iscsi", "libiscsi"):
        (folder / f"recorded-{program}.iscsi_pdu").write_bytes(logins.for_pdu(text))
        (folder / f"recorded-{program}.iscsi_conn").write_bytes(logins.for_conn(text))


@pytest.mark.parametrize("name", WAYS)
def test_recorded(target: iscsi.Target, initiator: Initiator, out_dir: Path, name: str) -> None:
    """It says what it said when it was recorded, and the daemon's part that is pure lets it in for that."""
    chap = "-chap-" in name
    if chap:
        prove(target)
    with by_daemon(), Cable(NEAR, ADDRESS, keep=True) as cable:
        WAYS[name](initiator)
        link = cable.last  # open-iscsi tries again by itself
        tree.wait_for("the end of the connection", lambda: link.over, PATIENCE)
    text, asked = bytes(link.kept["in"]), question(bytes(link.kept["out"]))
    keep(out_dir / "recorded", name, text, asked)
    good = Discovery if name.endswith("-discovery") else LoggedIn
    assert isinstance(logins.feed(text, chap, asked), good)
    assert logins.steps(text) == logins.steps(logins.recorded()[name])
