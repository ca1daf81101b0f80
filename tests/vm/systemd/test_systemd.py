# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd has booted the machine, with this repository's units: what was saved is there, and is reached as
soon as its addresses are; scst-iscsid, confined as its unit says, comes and goes, and nobody notices.

Run by `python -m tests.vm test --systemd -- tests/vm/systemd`; tests/vm/booted.py says what is there then.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pyscstadmin.iscsi.portals import inside, look
from tests.iscsi.initiator import Session
from tests.iscsi.login import login
from tests.vm import booted
from tests.vm.guest import iscsi, iscsid, openiscsi, tree
from tests.vm.guest.fio import Fio
from tests.vm.guest.long import often
from tests.vm.guest.openiscsi import Initiator, Login
from tests.vm.guest.pulse import pulse
from tests.vm.guest_plugin import command

SCST_MODULES = ()  # systemd's service has loaded them

PORTALS = tree.ROOT / "drivers/iscsi/portals"
DOCS = Path(__file__).resolve().parents[3] / "docs/iscsi.md"
HERE, SAN, FAR = ("127.0.0.1", 3260), (booted.ADDRESS, 860), ("127.0.0.1", 3260)
# Of two addresses, of an interface for IPv4 and IPv6, of a namespace for both. From this machine nobody can
# come by those of the interface.
SOCKETS = 1 + 1 + 2 + 2
BOOT = 120 * tree.SLOW
PATIENCE = iscsid.PATIENCE
ROUNDS = often(2, 40)
INITIATORS = 2
MIB = 2
LOAD: dict[str, Any] = {
    "rw": "randwrite",
    "verify": "crc32c",
    "size": f"{MIB}m",
    "runtime": 3600,
    "iodepth": 2,
    "rate_iops": 50,  # who starts meanwhile needs a CPU, too
}
# CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_SYS_ADMIN.
CAPABILITIES = 1 << 10 | 1 << 13 | 1 << 21


def systemctl(*words: str) -> str:
    """What it prints."""
    return command("systemctl", *words).strip()


class Unit:
    """A service."""

    def __init__(self, name: str) -> None:
        self.name = f"{name}.service"

    def do(self, *words: str) -> None:
        """systemd does something with it, and has done it. Raises AssertionError with its log."""
        done = subprocess.run(["systemctl", *words, self.name], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}\n{self.said()}"

    def get(self, name: str) -> str:
        """A property."""
        return systemctl("show", "-P", name, self.name)

    def said(self) -> str:
        """What it has written lately."""
        return command("journalctl", "--no-pager", "-o", "cat", "-n", "30", "-u", self.name)

    @property
    def active(self) -> bool:
        """Is it?"""
        return self.get("ActiveState") == "active"

    @property
    def kept(self) -> int:
        """How many sockets systemd keeps for it."""
        return int(self.get("NFileDescriptorStore"))


DAEMON, SAVED, WATCH, NETWORK = (
    Unit(name) for name in ("scst-iscsid", "scst", "scst-watch", "systemd-networkd")
)


def state(name: str) -> str:
    """A portal's; '' while it is not there."""
    try:
        return tree.read(PORTALS / name / "state")
    except FileNotFoundError:
        return ""


def enter(address: tuple[str, int] = HERE, who: str = "somebody", netns: str = "") -> Session:
    """Log in, however long the answer takes."""
    name = f"iqn.2026-11.test:{who}"
    return inside(netns, lambda: login(address, booted.NAME, initiator=name, patience=PATIENCE))


def come_and_go(address: tuple[str, int] = HERE, netns: str = "") -> None:
    """Log in, and out."""
    with enter(address, "comes", netns) as came:
        assert came.ping(b"x").data == b"x"
        came.logout()


def refused(address: tuple[str, int]) -> bool:
    """Does nobody listen there?"""
    try:
        socket.create_connection(address, PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture(scope="module", autouse=True)
def machine(scst_modules: tuple[str, ...]) -> Iterator[None]:
    """As it is stopped, all is gone that was there."""
    yield
    DAEMON.do("stop")
    for unit in (WATCH, SAVED):
        unit.do("stop")


@pytest.fixture(scope="module")
def network() -> None:
    """It is there now, and so is the namespace: all portals are listened at."""
    Path(booted.LATE).touch()
    if not Path("/run/netns", booted.NETNS).exists():
        make_namespace()
    wait_all()


def make_namespace() -> None:
    """With a loopback interface."""
    command("ip", "netns", "add", booted.NETNS)
    command("ip", "-n", booted.NETNS, "link", "set", "lo", "up")


def wait_all() -> None:
    """Until all portals are listened at, by sockets that are kept."""
    names = [path.name for path in PORTALS.iterdir()]
    tree.wait_for("all portals", lambda: all(state(name) == "listening" for name in names), PATIENCE)
    tree.wait_for("the store", lambda: DAEMON.kept == SOCKETS, PATIENCE)


@pytest.fixture(scope="module")
def initiators() -> Iterator[list[Initiator]]:
    """open-iscsi's."""
    with openiscsi.running():
        yield [Initiator(f"i{number}", f"iqn.2026-11.test:i{number}").make() for number in range(INITIATORS)]


@pytest.fixture
def logins(network: None, initiators: list[Initiator], tmp_path: Path) -> Iterator[list[Login]]:
    """Sessions that write and verify all the time, each in a part of the disk of its own; at the end of the
    test nothing has failed.
    """
    made = [one.login(booted.NAME) for one in initiators]
    with ExitStack() as stack:
        loads = [
            stack.enter_context(
                Fio(tmp_path, one.disk(0, PATIENCE), one.name, offset=f"{number * MIB}m", **LOAD)
            )
            for number, one in enumerate(made)
        ]
        yield made
        for load in loads:
            load.stop()
    for one in made:
        one.logout()


@contextmanager
def nobody_notices() -> Iterator[None]:
    """The sessions that are there stay, and are the same afterwards."""
    before = iscsi.sessions(booted.NAME)
    numbers = {iscsi.incarnation(folder) for folder in before}
    yield
    assert numbers <= {iscsi.incarnation(folder) for folder in iscsi.sessions(booted.NAME)}


@contextmanager
def nobody_is_refused() -> Iterator[None]:
    """Somebody knocks all the time; not more often than so many may who are from one address."""
    over, found = threading.Event(), list[OSError]()

    def knock() -> None:
        while not over.wait(1):
            try:
                socket.create_connection(HERE, PATIENCE).close()
            except OSError as error:
                found.append(error)

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not found


def test_late_network() -> None:
    """The saved configuration is there, and no network; when that comes, initiators do, and nobody has typed
    anything. Which is started by whom: the configuration by the boot, the daemon by udev.
    """
    wanted = {
        "here": "listening",
        "san": f"waiting: no interface has address {booted.ADDRESS}",
        "card": f"waiting: there is no interface {booted.CARD}",
        "far": f"waiting: network namespace {booted.NETNS} is not there",
    }
    tree.wait_for("the configuration", lambda: {name: state(name) for name in wanted} == wanted, BOOT)
    tree.wait_for("restore", lambda: SAVED.active and WATCH.active, BOOT)
    assert NETWORK.get("ActiveState") == "activating"
    wanted_by = DAEMON.get("WantedBy").split()
    assert wanted_by, "the daemon"
    assert all(".device" in name for name in wanted_by), wanted_by
    Path(booted.LATE).touch()

    def there() -> bool:
        machine = look()
        return machine is not None and bool(machine.has(booted.ADDRESS))

    tree.wait_for("the address", there, BOOT)
    began = pulse.time()
    tree.wait_for("the portals", lambda: state("san") == state("card") == "listening", PATIENCE)
    print(f"from the address to the last portal that listens at it: {pulse.time() - began:.2f} s")
    come_and_go(SAN)
    assert NETWORK.active
    tree.wait_for("the end of the boot", lambda: not systemctl("list-jobs", "--no-legend"), BOOT)
    assert systemctl("is-system-running") == "running", systemctl("list-units", "--failed")


def test_late_namespace() -> None:
    """It is mounted where the daemon sees mounts of its own."""
    make_namespace()
    tree.wait_for("the portal", lambda: state("far") == "listening", PATIENCE)
    come_and_go(FAR, booted.NETNS)


def test_confined(network: None) -> None:
    """It is what its unit says, in all that the kernel shows of a process."""
    status = Path(f"/proc/{DAEMON.get('MainPID')}/status").read_text()
    values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(values["CapBnd"], 16) == int(values["CapEff"], 16) == CAPABILITIES
    assert (values["NoNewPrivs"], values["Seccomp"]) == ("1", "2")
    mounts = Path(f"/proc/{DAEMON.get('MainPID')}/mountinfo").read_text()
    assert re.search(r" / / ro,", mounts), "ProtectSystem=strict"


def kill() -> None:
    """It has no chance to do anything about it; the next is started by itself."""
    DAEMON.do("kill", "--signal=KILL", "--kill-whom=main")


def restart() -> None:
    """It may end in peace."""
    DAEMON.do("restart")


def test_killed_and_restarted(logins: list[Login]) -> None:
    """Who comes while there is no daemon waits, and is answered by the next one; at each portal."""
    took: dict[Callable[[], None], list[float]] = {kill: [], restart: []}
    with enter(who="stays") as stays:
        with nobody_is_refused(), nobody_notices():
            for number in range(ROUNDS):
                end = (kill, restart)[number % 2]
                before, began = DAEMON.get("MainPID"), pulse.time()
                end()
                tree.wait_for("its end", lambda before=before: not Path("/proc", before).exists(), PATIENCE)  # type: ignore[misc]
                with enter(who="comes") as came:
                    took[end].append(pulse.time() - began)
                    came.logout()
                assert DAEMON.get("MainPID") not in ("0", before)
                for address, netns in ((SAN, ""), (FAR, booted.NETNS)):
                    come_and_go(address, netns)
                assert DAEMON.kept == SOCKETS
                assert stays.ping(b"y").data == b"y"
        stays.logout()
    for end, times in took.items():
        print(f"{end.__name__}, until somebody is in: {' '.join(f'{one:.1f}' for one in times)} s")
    print(f"import of the daemon's modules: {' '.join(f'{imported():.1f}' for _ in range(3))} s")


def imported() -> float:
    """How long the interpreter needs to be the daemon, at the same time as the same load."""
    began = pulse.time()
    command(sys.executable, "-c", f"import {iscsid.DAEMON}")
    return pulse.time() - began


def test_stopped(logins: list[Login]) -> None:
    """Stopped for good nobody listens, nothing is kept, and sessions go on."""
    with enter(who="stays") as stays:
        with nobody_notices():
            DAEMON.do("stop")
            assert DAEMON.kept == 0
            assert refused(HERE)
            assert refused(SAN)
            assert state("here") == "waiting: for scst-iscsid"
            assert stays.ping(b"y").data == b"y"
            assert all(one.up for one in logins)
            DAEMON.do("start")
            wait_all()
            come_and_go()
        stays.logout()


@pytest.mark.long
def test_a_namespace_that_is_another_now(network: None) -> None:
    """It is called as the one was that the sockets are in: they are not taken over."""
    DAEMON.do("kill", "--signal=STOP", "--kill-whom=main")
    command("ip", "netns", "del", booted.NETNS)
    make_namespace()
    kill()

    def listens() -> bool:
        return not inside(booted.NETNS, lambda: refused(FAR))

    tree.wait_for("the portal", listens, PATIENCE)
    come_and_go(FAR, booted.NETNS)
    wait_all()


@pytest.mark.long
def test_all_is_replaced(logins: list[Login]) -> None:
    """The commands of docs/iscsi.md, "Live upgrade", as they stand there: all modules go and come again; the
    initiators are back by themselves, and have lost nothing.
    """
    (commands,) = re.findall(r"^New modules.*?^```sh\n(.*?)^```$", DOCS.read_text(), re.M | re.S)
    command("bash", "-ec", commands)
    tree.wait_for("the portals", lambda: state("here") == "listening", PATIENCE)
    tree.wait_for("all initiators", lambda: all(one.up for one in logins), openiscsi.PATIENCE)
    iscsi.wait_sessions(len(logins), booted.NAME)
    wait_all()
