# SPDX-License-Identifier: GPL-2.0-or-later
"""Portals in network namespaces: who is told of which, and what comes late, goes, or moves.

The target has portals in `red` and `blue`, each a network of its own, and one here. open-iscsi is here, and
has a cable to both; its way to a part of `blue` is through `gate`, which translates addresses. `guest` has a
cable to `red` only: who is there is the tests' initiator, as Linux's is in the first namespace only.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.iscsi.portals import inside
from tests.iscsi.cable import Cable
from tests.iscsi.initiator import Session
from tests.iscsi.login import connect, login
from tests.vm.guest import iscsi, openiscsi, tree
from tests.vm.guest.fio import Fio
from tests.vm.guest.iscsid import PATIENCE, by_daemon, listening, portal
from tests.vm.guest.openiscsi import Initiator
from tests.vm.guest_plugin import command

SCST_MODULES = iscsi.MODULES

pytestmark = pytest.mark.usefixtures("clean_tree")

SPACES = ("red", "blue", "gate", "guest")
# Cables: namespace ('' for here), interface and addresses of each end.
CABLES = (
    ("", "near-red", ("10.98.1.2/24", "fd98:1::2/64", "fe80::1:2/64")),
    ("red", "red0", ("10.98.1.1/24", "fd98:1::1/64", "fe80::1:1/64")),
    ("", "near-blue", ("10.98.2.2/24",)),
    ("blue", "blue0", ("10.98.2.1/24",)),
    ("", "near-gate", ("192.0.2.2/24",)),
    ("gate", "gate0", ("192.0.2.1/24",)),
    ("gate", "gate1", ("10.98.3.2/24",)),
    ("blue", "blue1", ("10.98.3.1/24",)),
    ("guest", "guest0", ("10.98.4.2/24", "fe80::4:2/64")),
    ("red", "red1", ("10.98.4.1/24", "fe80::4:1/64")),
)
ROUTES = (
    ("", "10.98.4.0/24", "10.98.1.1"),
    ("guest", "10.98.1.0/24", "10.98.4.1"),
    ("red", "10.98.2.0/24", "10.98.1.2"),
    ("blue", "10.98.1.0/24", "10.98.2.2"),
)
PORTALS: dict[str, dict[str, object]] = {
    "here": {"address": "127.0.0.1"},
    "red": {"address": "*", "netns": "red"},
    "blue": {"address": "10.98.2.1", "netns": "blue"},
    "nat": {"address": "10.98.3.1", "netns": "blue", "advertise": "192.0.2.1"},
}
VIP = "10.98.9.9"
LOAD: dict[str, Any] = {"rw": "randwrite", "verify": "crc32c", "size": "4m", "runtime": 600, "rate_iops": 200}

# --- the networks ---


def ip(space: str, *words: str) -> None:
    """ip(8) in a namespace."""
    command("ip", *(("-n", space) if space else ()), *words)


def add(space: str, interface: str, address: str, sure: bool = True) -> None:
    """An address; *sure*: nobody else has it, so that it counts at once."""
    words = ("nodad",) if ":" in address and sure else ()
    ip(space, "addr", "add", address, "dev", interface, *words)


def interface(space: str, name: str, addresses: tuple[str, ...]) -> None:
    """It is up, and has no addresses but these."""
    ip(space, "link", "set", "dev", name, "addrgenmode", "none")
    ip(space, "link", "set", name, "up")
    for address in addresses:
        add(space, name, address)


def make_networks() -> None:
    """See the description of this file."""
    for space in SPACES:
        ip("", "netns", "add", space)
        ip(space, "link", "set", "lo", "up")
    for one, other in zip(CABLES[::2], CABLES[1::2], strict=True):
        command("ip", "link", "add", "cable0", "type", "veth", "peer", "name", "cable1")
        for (space, name, addresses), end in ((one, "cable0"), (other, "cable1")):
            command("ip", "link", "set", end, *(("netns", space) if space else ()), "name", name)
            interface(space, name, addresses)
    for space, to, via in ROUTES:
        ip(space, "route", "add", to, "via", via)


def remove_networks() -> None:
    """As if nothing had been. What is in a namespace goes with it, and so does the other end of a cable."""
    for space in SPACES:
        with suppress(AssertionError):
            ip("", "netns", "del", space)
    for space, name, _ in CABLES:
        if not space:
            with suppress(AssertionError):
                ip("", "link", "del", name)


@pytest.fixture(scope="module")
def networks() -> Iterator[None]:
    """All of them."""
    command("modprobe", "veth")
    make_networks()
    # In a thread that is in there, and so are the threads that it starts.
    with inside("gate", lambda: Cable(("192.0.2.1", 3260), ("10.98.3.1", 3260))):
        yield
    remove_networks()


@pytest.fixture(scope="module")
def initiator() -> Iterator[Initiator]:
    """open-iscsi's."""
    with openiscsi.running():
        yield Initiator("a", "iqn.2026-11.test:a").make()


@pytest.fixture
def target(clean_tree: None, networks: None, tmp_path: Path) -> Iterator[iscsi.Target]:
    """With a disk, and no portals as yet."""
    with iscsi.served(tmp_path) as made:
        yield made


# --- initiators ---


def connect_in(space: str, address: tuple[str, int], patience: float) -> Session:
    """From a namespace."""
    return inside(space, lambda: connect(address, patience))


def told(space: str, address: str) -> list[str]:
    """Where the target is for who asks there."""
    with login((address, 3260), None, patience=iscsi.PATIENCE, by=partial(connect_in, space)) as session:
        ((name, found),) = session.targets()
        assert session.logout() == 0
    assert name == iscsi.NAME
    return found


def host(place: str) -> str:
    """Of a TargetAddress, without brackets, port and portal group."""
    return place.rpartition(":")[0].strip("[]")


def enter(space: str, address: str) -> str:
    """A session by one of the addresses that it was told; the portal that it has come by."""
    with login(
        (address, 3260), iscsi.NAME, patience=iscsi.PATIENCE, by=partial(connect_in, space)
    ) as session:
        assert session.ping(b"x").data == b"x"
        (folder,) = iscsi.wait_sessions(1)
        by = iscsi.value(folder, "portal")
        assert session.logout() == 0
    iscsi.wait_sessions(0)
    return by


def session_by(name: str) -> bool:
    """Is there one, and by this portal?"""
    with suppress(OSError, ValueError):
        (folder,) = iscsi.sessions()
        return iscsi.value(folder, "portal") == name
    return False


def state(name: str) -> str:
    """Of a portal."""
    return tree.read(tree.ROOT / "drivers/iscsi/portals" / name / "state")


def wait_listening(*names: str) -> None:
    """They do."""
    for name in names:
        tree.wait_for(f"portal {name} listens", partial(listening, name), PATIENCE)


def wait_waiting(name: str, why: str) -> None:
    """It says for what."""
    tree.wait_for(f"portal {name} waits", lambda: state(name) == f"waiting: {why}", PATIENCE)


def refused(space: str, address: str) -> bool:
    """Does nobody listen there, or is there no way to it?"""
    try:
        inside(space, lambda: socket.create_connection((address, 3260), 2).close())
    except OSError:
        return True
    return False


# --- who is told what ---

# From where, the address that is asked, what is told, and by which portal it is.
VIEWS = (
    ("", "127.0.0.1", ["127.0.0.1:3260,1"], "here"),
    ("", "10.98.1.1", ["10.98.1.1:3260,1", "10.98.4.1:3260,1"], "red"),
    ("", "fd98:1::1", ["[fd98:1::1]:3260,1"], "red"),
    ("", "fe80::1:1%near-red", ["[fe80::1:1]:3260,1"], "red"),
    ("guest", "10.98.4.1", ["10.98.4.1:3260,1", "10.98.1.1:3260,1"], "red"),
    ("guest", "fe80::4:1%guest0", ["[fe80::4:1]:3260,1"], "red"),
    ("red", "127.0.0.1", ["127.0.0.1:3260,1"], "red"),
    ("", "10.98.2.1", ["10.98.2.1:3260,1"], "blue"),
    ("", "192.0.2.1", ["192.0.2.1:3260,1"], "nat"),
)
# What the guest is not told, and rightly so.
ELSEWHERE = ("10.98.2.1", "10.98.3.1", "192.0.2.1", "127.0.0.1", "fd98:1::1", "fe80::1:1%guest0")


@contextmanager
def served_at(target: iscsi.Target, **portals: dict[str, object]) -> Iterator[None]:
    """There are these portals."""
    for name, settings in portals.items():
        portal(target, name, **settings)
    with by_daemon(*portals):
        yield


def test_each_is_told_what_it_can_reach(target: iscsi.Target, initiator: Initiator) -> None:
    """Exactly that, its own way first; and by each of these it is let in."""
    with served_at(target, **PORTALS):
        for space, address, wanted, by in VIEWS:
            assert told(space, address) == wanted, f"{address}, from {space or 'here'}"
            zone = address.partition("%")[1:]
            for place in wanted:
                assert enter(space, "".join((host(place), *zone))) == by, place
        assert [address for address in ELSEWHERE if not refused("guest", address)] == []
        for space, address, wanted, _ in VIEWS:
            if space or "%" in address:
                continue
            at = f"[{address}]:3260" if ":" in address else f"{address}:3260"
            assert initiator.discover(at) == [(place, iscsi.NAME) for place in wanted]
            openiscsi.iscsiadm("-m", "node", "-o", "delete")
            for place in wanted:
                session = initiator.login(iscsi.NAME, place.partition(",")[0])
                session.disk(0)
                session.logout()


# --- what moves ---


@pytest.fixture
def vip() -> Iterator[None]:
    """An address that is in `blue` at first; here is a way to it."""
    add("blue", "blue0", f"{VIP}/32")
    ip("", "route", "replace", VIP, "dev", "near-blue")
    yield
    ip("", "route", "del", VIP)
    for space, name in (("blue", "blue0"), ("red", "red0")):
        with suppress(AssertionError):
            ip(space, "addr", "del", f"{VIP}/32", "dev", name)


def move_vip(old: str, new: str) -> None:
    """Between namespaces."""
    ip(old, "addr", "del", f"{VIP}/32", "dev", f"{old}0")
    add(new, f"{new}0", f"{VIP}/32")
    ip("", "route", "replace", VIP, "dev", f"near-{new}")


def test_an_address_moves(target: iscsi.Target, initiator: Initiator, vip: None, tmp_path: Path) -> None:
    """Its session is cut at once, and is back, where the address now is; no I/O fails, nothing is lost."""
    for space in ("red", "blue"):
        portal(target, f"vip-{space}", address=VIP, netns=space)
        portal(target, space, **PORTALS[space])
    with by_daemon("red", "blue", "vip-blue"):
        wait_waiting("vip-red", f"no interface has address {VIP}")
        assert set(told("", VIP)) == {f"{VIP}:3260,1", "10.98.2.1:3260,1"}
        session = initiator.login(iscsi.NAME, f"{VIP}:3260")
        assert session_by("vip-blue")
        with Fio(tmp_path, session.disk(0), **LOAD) as load:
            for old, new in (("blue", "red"), ("red", "blue")):
                move_vip(old, new)
                wait_waiting(f"vip-{old}", f"no interface has address {VIP}")
                wait_listening(f"vip-{new}")
                tree.wait_for("the session", partial(session_by, f"vip-{new}"), PATIENCE)
                tree.wait_for("the initiator", lambda: session.up, PATIENCE)
                beside = {"red": {"10.98.1.1:3260,1", "10.98.4.1:3260,1"}, "blue": {"10.98.2.1:3260,1"}}
                assert set(told("", VIP)) == {f"{VIP}:3260,1"} | beside[new]
            load.stop()
        session.logout()


# --- what comes late, and goes ---


def test_an_interface_comes_and_is_renamed(target: iscsi.Target) -> None:
    """A portal that is an interface is where that is; its sessions do not mind what it is called."""
    for name in ("nic7", "nic8"):
        portal(target, name, address=name, netns="red", port=3270)
    with served_at(target, red=PORTALS["red"]), ExitStack() as stack:
        for name in ("nic7", "nic8"):
            wait_waiting(name, f"there is no interface {name}")
        command("ip", "link", "add", "near7", "type", "veth", "peer", "name", "nic7", "netns", "red")
        stack.callback(suppressed, "link", "del", "near7")
        interface("", "near7", ("10.98.7.2/24",))
        ip("red", "link", "set", "nic7", "up", "addrgenmode", "none")
        wait_waiting("nic7", "interface nic7 has no address")
        add("red", "nic7", "10.98.7.1/24")
        wait_listening("nic7")
        stays = stack.enter_context(login(("10.98.7.1", 3270), iscsi.NAME))
        ip("red", "link", "set", "nic7", "down")
        ip("red", "link", "set", "nic7", "name", "nic8")
        ip("red", "link", "set", "nic8", "up")
        wait_listening("nic8")
        wait_waiting("nic7", "there is no interface nic7")
        assert "10.98.7.1:3270,1" in told("", "10.98.1.1")
        assert stays.ping(b"x").data == b"x"
        assert session_by("nic7")
        ip("red", "link", "del", "nic8")
        iscsi.wait_sessions(0)
        wait_waiting("nic8", "there is no interface nic8")
        assert not [place for place in told("", "10.98.1.1") if "10.98.7.1" in place]


def suppressed(*words: str) -> None:
    """ip(8), where what is to be removed may be gone."""
    with suppress(AssertionError):
        ip("", *words)


def make_green() -> None:
    """A namespace, and a cable to it."""
    ip("", "netns", "add", "green")
    command("ip", "link", "add", "near5", "type", "veth", "peer", "name", "green0", "netns", "green")
    interface("", "near5", ("10.98.5.2/24",))
    interface("green", "green0", ("10.98.5.1/24",))


def test_addresses_come_late(target: iscsi.Target) -> None:
    """They are live then, with no command typed; one of IPv6 when it is sure that nobody else has it."""
    late = {"four": "10.98.1.50", "six": "fd98:1::50"}
    for name, address in late.items():
        portal(target, name, address=address, netns="red")
    with served_at(target, red=PORTALS["red"]):
        for name, address in late.items():
            wait_waiting(name, f"no interface has address {address}")
        add("red", "red0", "10.98.1.50/24")
        add("red", "red0", "fd98:1::50/64", sure=False)
        for name, address in late.items():
            wait_listening(name)
            assert enter("", address) == name
            assert told("", address)[0] == (f"[{address}]" if ":" in address else address) + ":3260,1"
        for address in ("10.98.1.50/24", "fd98:1::50/64"):
            ip("red", "addr", "del", address, "dev", "red0")
        for name, address in late.items():
            wait_waiting(name, f"no interface has address {address}")


def test_a_namespace_comes_and_is_made_anew(target: iscsi.Target) -> None:
    """What its name means is looked at: sessions of the older one end, and the next is listened in."""
    portal(target, "green", address="*", netns="green")
    with served_at(target, red=PORTALS["red"]), ExitStack() as stack:
        stack.callback(suppressed, "netns", "del", "green")
        wait_waiting("green", "network namespace green is not there")
        make_green()
        wait_listening("green")
        stays = stack.enter_context(login(("10.98.5.1", 3260), iscsi.NAME))
        assert session_by("green")
        ip("", "netns", "del", "green")
        ip("", "link", "del", "near5")
        make_green()
        iscsi.wait_sessions(0)
        stays.close()
        tree.wait_for("the next is listened in", lambda: not refused("", "10.98.5.1"), PATIENCE)
        assert enter("", "10.98.5.1") == "green"
        ip("", "netns", "del", "green")
        wait_waiting("green", "network namespace green is not there")
        tree.wait_for("its end", lambda: not Path("/sys/class/net/near5").exists(), PATIENCE)
