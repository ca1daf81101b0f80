# SPDX-License-Identifier: GPL-2.0-or-later
"""open-iscsi, Linux's initiator: iscsid started by hand, initiators with names of their own by its "ifaces".

Its connections are this machine's to itself: NETLINK_ISCSI is in the first network namespace only.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.vm.guest import packages, tree
from tests.vm.guest_plugin import command

PACKAGES = ("open-iscsi", "libopeniscsiusr", "libisns0")
MODULES = ("sd_mod", "sg", "iscsi_tcp")
ETC, RUN = Path("/etc/iscsi"), Path("/run/lock/iscsi")
SESSIONS, CONNECTIONS = Path("/sys/class/iscsi_session"), Path("/sys/class/iscsi_connection")
HERE = "127.0.0.1:3260"
PATIENCE = 60 * tree.SLOW
# Exit statuses of iscsiadm.
NO_OBJECTS, LOGIN_FAILED, SESSION_EXISTS, LOGIN_REFUSED = 21, 8, 15, 24
# What makes tests long: how often, and how long, it tries a portal that is not there.
QUICK: Mapping[str, object] = {
    "node.startup": "manual",
    "node.leading_login": "No",
    "node.session.initial_login_retry_max": 1,
    "node.conn[0].timeo.login_timeout": 30,
}


class Failed(AssertionError):
    """iscsiadm has failed; *status*: its exit status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"status {status}: {text}")
        self.status = status
        self.text = text


def iscsiadm(*words: str) -> str:
    """What it prints. Raises Failed."""
    done = subprocess.run(
        ["iscsiadm", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise Failed(done.returncode, f"iscsiadm {' '.join(words)}: {done.stdout.strip()}")
    return done.stdout


@contextmanager
def running(node_name: str = "iqn.2026-11.test:machine") -> Iterator[None]:
    """Its programs are there, and iscsid is running. Sessions that are left over are ended first."""
    with packages.installed(*PACKAGES):
        for module in MODULES:
            command("modprobe", module)
        RUN.mkdir(parents=True, exist_ok=True)
        (ETC / "initiatorname.iscsi").write_text(f"InitiatorName={node_name}\n")
        # It ends its whole process group when it is ended.
        argv = ["iscsid", "-f"]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, start_new_session=True) as daemon:
            try:
                tree.wait_for("iscsid", answers, PATIENCE)
                yield
            finally:
                subprocess.run(["iscsiadm", "-m", "node", "-u"], capture_output=True, check=False)
                daemon.send_signal(signal.SIGTERM)
                daemon.wait(PATIENCE)
        for folder in ("nodes", "send_targets", "isns", "ifaces"):
            shutil.rmtree(ETC / folder, ignore_errors=True)
        (ETC / "initiatorname.iscsi").unlink()
        command("modprobe", "-r", "iscsi_tcp")


def answers() -> bool:
    """Can iscsid be asked?"""
    done = subprocess.run(["iscsiadm", "-m", "session"], capture_output=True, text=True, check=False)
    return done.returncode in (0, NO_OBJECTS)


@dataclass(frozen=True, slots=True)
class Initiator:
    """An initiator: a name, and open-iscsi's word for who has it."""

    iface: str
    iqn: str

    def make(self) -> Initiator:
        """Let open-iscsi know it."""
        iscsiadm("-m", "iface", "-I", self.iface, "-o", "new")
        iscsiadm("-m", "iface", "-I", self.iface, "-o", "update", "-n", "iface.initiatorname", "-v", self.iqn)
        return self

    def discover(self, portal: str = HERE, **settings: object) -> list[tuple[str, str]]:
        """By SendTargets: address with port and portal group, and name, in the order of the answer."""
        words = ["-m", "discoverydb", "-t", "st", "-p", portal, "-I", self.iface]
        iscsiadm(*words, "-o", "new")
        for name, value in settings.items():
            iscsiadm(*words, "-o", "update", "-n", f"discovery.sendtargets.{name}", "-v", str(value))
        text = iscsiadm(*words, "--discover")
        return re.findall(r"^(\S+:\d+,\d+) (\S+)$", text, re.M)

    def login(self, target: str, portal: str = HERE, settings: Mapping[str, object] | None = None) -> Login:
        """A session with a target, discovered or not; *settings* of its node. Raises Failed."""
        words = ["-m", "node", "-T", target, "-p", portal, "-I", self.iface]
        iscsiadm(*words, "-o", "new")
        for name, value in {**QUICK, **(settings or {})}.items():
            iscsiadm(*words, "-o", "update", "-n", name, "-v", str(value))
        iscsiadm(*words, "--login")
        found = Login(self.iface, target, portal)
        tree.wait_for(f"session of {self.iface}", lambda: found.sid is not None, PATIENCE)
        return found


@dataclass(frozen=True, slots=True)
class Login(tree.Host):
    """A session, seen from the initiator's end."""

    name: str
    target: str
    portal: str = HERE

    @property
    def sid(self) -> int | None:
        """Number of the session; None while there is none."""
        address = self.portal.rpartition(":")[0].strip("[]")
        for folder in SESSIONS.glob("session*"):
            number = folder.name.removeprefix("session")
            connection = CONNECTIONS / f"connection{number}:0"
            try:
                found = (
                    tree.read(folder / "ifacename"),
                    tree.read(folder / "targetname"),
                    tree.read(connection / "persistent_address"),
                )
            except OSError:
                continue  # it ended while we looked
            if found == (self.name, self.target, address):
                return int(number)
        return None

    @property
    def folder(self) -> Path:
        """The session's. Raises LookupError."""
        if self.sid is None:
            raise LookupError(f"{self.name} has no session with {self.target}")
        return SESSIONS / f"session{self.sid}"

    @property
    def number(self) -> int | None:
        """Number of the SCSI host."""
        if self.sid is None:
            return None
        (host,) = (part for part in self.folder.resolve().parts if re.fullmatch(r"host\d+", part))
        return int(host.removeprefix("host"))

    def get(self, name: str) -> str:
        """A value of the session or of its connection, as sysfs has it."""
        for folder in (self.folder, CONNECTIONS / f"connection{self.sid}:0"):
            if (folder / name).exists():
                return tree.read(folder / name)
        raise LookupError(name)

    @property
    def state(self) -> str:
        """LOGGED_IN, FAILED, FREE."""
        return self.get("state")

    @property
    def up(self) -> bool:
        """Is it logged in?"""
        try:
            return self.state == "LOGGED_IN"
        except (OSError, LookupError):
            return False  # it is not there at the moment

    def by_path(self, lun: int) -> Path:
        """The name that udev gives the disk."""
        return Path("/dev/disk/by-path", f"ip-{self.portal}-iscsi-{self.target}-lun-{lun}")

    def rescan(self) -> None:
        """Look for LUNs."""
        iscsiadm("-m", "session", "-r", str(self.sid), "--rescan")

    def logout(self) -> None:
        """In peace; its disks are gone afterwards."""
        iscsiadm("-m", "session", "-r", str(self.sid), "-u")
        tree.wait_for(f"logout of {self.name}", lambda: self.sid is None, PATIENCE)
