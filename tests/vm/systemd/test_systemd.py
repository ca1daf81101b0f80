# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd has booted the machine, with this repository's units: what was saved is there, and is reached as
soon as its addresses are; scst-iscsid is confined as its unit says.

Run by `python -m tests.vm test --systemd -- tests/vm/systemd`; tests/vm/booted.py says what is there then.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyscstadmin.iscsi.portals import inside, look
from tests.iscsi.initiator import Session
from tests.iscsi.login import login
from tests.vm import booted
from tests.vm.guest import iscsid, tree
from tests.vm.guest.pulse import pulse
from tests.vm.guest_plugin import command

SCST_MODULES = ()  # systemd's service has loaded them

PORTALS = tree.ROOT / "drivers/iscsi/portals"
HERE, SAN, FAR = ("127.0.0.1", 3260), (booted.ADDRESS, 860), ("127.0.0.1", 3260)
# Of two addresses, of an interface for IPv4 and IPv6, of a namespace for both. From this machine nobody can
# come by those of the interface.
SOCKETS = 1 + 1 + 2 + 2
BOOT = 120 * tree.SLOW
PATIENCE = iscsid.PATIENCE
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
