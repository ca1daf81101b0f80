# SPDX-License-Identifier: GPL-2.0-or-later
"""The same over iSCSI, with Linux's own initiator: who sees what, real files, and what happens to cables and
daemons meanwhile. Both programs of a target run as their units would run them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.vm.demo import guest
from tests.vm.demo.guest import CONTENT_BYTES, SRV, checksums, gather, scstadmin, serial
from tests.vm.demo.initiator import CONFIGFS, Initiator, Wrong, read, refused_open, tool, write, write_command
from tests.vm.guest import openiscsi
from tests.vm.guest.fio import Fio

EXAMPLE = "examples/iscsi.json"
TARGET = "iqn.2026-11.com.example:disks"
CLASS = Path("/sys/class/scst")
ADDRESS, PORTAL = "192.0.2.1", "192.0.2.1:3260"
LOAD: dict[str, Any] = {"rw": "randwrite", "verify": "crc32c", "size": "4m", "runtime": 600}


class Remote(Initiator):
    """An initiator that has logged in by open-iscsi."""

    def __init__(self, iqn: str) -> None:
        super().__init__(iqn)
        self.there = openiscsi.Initiator(self.short.lower(), iqn)
        self.login = openiscsi.Login(self.there.iface, TARGET, PORTAL)

    @property
    def host(self) -> str:
        """As of who is on this machine."""
        if self.login.number is None:
            raise Wrong(f"initiator {self.name} is not logged in")
        return str(self.login.number)


@dataclass(slots=True)
class Wire(guest.Demo):
    """What the steps hand on to each other."""

    stack: ExitStack = field(default_factory=ExitStack)
    daemon: subprocess.Popen[bytes] | None = None
    remote: list[Remote] = field(default_factory=list)

    def listen(self) -> str:
        """iSCSI: the same devices by another target; its portal listens as soon as its address is there"""
        said = scstadmin("apply", "--yes", EXAMPLE)
        self.start_daemon()
        wait_state("waiting: no interface")
        waiting = portal_state()
        move_address("add")
        self.stack.callback(move_address, "del")
        took = wait_state("listening")
        return f"{said.splitlines()[0]}; {waiting}; with the address listening after {took:.2f} s"

    def start_daemon(self) -> None:
        """scst-iscsid."""
        self.daemon = subprocess.Popen([sys.executable, "-m", "pyscstadmin.iscsi.daemon"])

    def stop_daemon(self, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        """It ends."""
        assert self.daemon is not None
        how(self.daemon)
        self.daemon.wait()

    def log_in(self) -> str:
        """iSCSI: A and B discover the target and log in with open-iscsi; each sees what it should"""
        self.stack.enter_context(openiscsi.running())
        self.remote = [Remote(one.name) for one in (self.a, self.b)]
        for one in self.remote:
            one.there.make()
            found = one.there.discover(PORTAL)
            if found != [(f"{PORTAL},1", TARGET)]:
                raise Wrong(f"{one.short} discovers {found}")
            one.there.login(TARGET, PORTAL)
        self.a, self.b = self.remote
        for line in self.both_views():
            print(f"      {line}")
        scstadmin("explain", "--initiator", self.b.name, "--target", TARGET)
        return "A: Da and Db read-write; B: Db read-only and Dc read-write; nothing else"

    def files(self) -> str:
        """iSCSI: ext4 with real files both ways: the target's read by A, A's found in the target's image"""
        mount, more = Path("/tmp/mnt"), Path("/tmp/more")
        tool("mount", "-t", "ext4", self.a.disk(0).node, str(mount))
        try:
            found = {name: value for name, value in checksums(mount).items() if "lost+found" not in name}
            wanted = gather(mount / "back", CONTENT_BYTES // 3)
        finally:
            tool("umount", str(mount))
        if found != self.sums:
            raise Wrong("A finds other files than there are")
        more.mkdir()
        tool("debugfs", "-R", f"rdump /back {more}", str(SRV / "da.img"))
        if checksums(more / "back") != wanted:
            raise Wrong("the image does not have the files that A has written")
        return f"{len(found)} files read and the same; {len(wanted)} written and the same"

    def protect(self) -> str:
        """iSCSI: B's write to Db is refused, it reads what A wrote there, and has Dc to write"""
        write(self.a.disk(1).node, self.written)
        disk = self.b.disk(0)
        why = refused_open(disk.node)
        answer = write_command(disk.generic, bytes(4096))
        if "Data Protect" not in answer:
            raise Wrong(f"WRITE(10) of B was answered: {answer.strip()}")
        if read(disk.node, len(self.written)) != self.written:
            raise Wrong("B reads something else than A wrote")
        write(self.b.disk(1).node, self.written)
        return f"opening says {why!r}, WRITE(10) DATA PROTECT"

    def more(self) -> str:
        """iSCSI: A is given Dc, too, and finds it: no command was typed there"""
        start = time.monotonic()
        scstadmin("map", "Dc", f"target={TARGET}", "group=a")
        disks = self.a.disks(3)
        if (disks[2].lun, disks[2].serial) != (2, serial("Dc")) or len(self.b.disks(2)) != 2:
            raise Wrong(f"A has {disks}")
        return f"LUN 2 after {time.monotonic() - start:.1f} s; B hears of nothing"

    def cut(self) -> str:
        """iSCSI: the portal's address leaves under verified load and comes back: A goes on by itself"""
        before = self.remote[0].login.sid
        with Fio(Path("/tmp"), Path(self.a.disk(0).node), **LOAD) as load:
            move_address("del")
            gone = wait_sessions(0)
            waiting = portal_state()
            move_address("add")
            back = wait_sessions(2)
            load.stop()
        if self.remote[0].login.sid != before:
            raise Wrong("A has another session")
        return (
            f"{waiting}: sessions ended after {gone:.2f} s, back {back:.1f} s after the address; no I/O error"
        )

    def kill(self) -> str:
        """iSCSI: scst-iscsid is killed under verified load: no session notices; who comes later is let in"""
        assert self.daemon is not None
        with Fio(Path("/tmp"), Path(self.a.disk(0).node), **LOAD) as load:
            before = sessions()[self.a.name]
            self.stop_daemon(subprocess.Popen.kill)
            state = portal_state()
            if state.startswith("listening"):
                raise Wrong(f"the state of the portal is {state!r}")
            self.b.disk(0)
            self.start_daemon()
            wait_state("listening")
            load.stop()
        self.remote[1].login.logout()
        self.remote[1].there.login(TARGET, PORTAL)
        if sessions()[self.a.name] != before:
            raise Wrong("A's session is another one")
        return f"meanwhile: {state}; no I/O error"

    def upgrade(self) -> str:
        """iSCSI: drain, new modules, restore, under verified load: both are back by themselves"""
        with Fio(Path("/tmp"), Path(self.a.disk(0).node), **LOAD) as load:
            scstadmin("save")
            said = tool("scstadmin", "drain", "timeout=20", "yes=yes", status=None).splitlines()[-1]
            self.stop_daemon(subprocess.Popen.terminate)
            scstadmin("clear", "--yes")
            tool("modprobe", "-r", "scst_iscsi")
            scstadmin("restore")
            self.start_daemon()
            wait_sessions(2)
            load.stop()
        return f"{said}; no I/O error"

    def leave(self) -> str:
        """iSCSI: both log out, everybody stops"""
        for one in self.remote:
            one.login.logout()
        wait_sessions(0)
        self.stop_daemon(subprocess.Popen.terminate)
        self.stack.close()
        return f"no session; {portal_state()}"


def portal_state() -> str:
    """What `scstadmin` says of it."""
    return scstadmin("get", "portal", "lan", "state").strip().partition("=")[2]


def sessions() -> dict[str, str]:
    """Names of iSCSI's sessions, by initiator."""
    found = json.loads(scstadmin("--json", "sessions", "--iscsi"))["iscsi"]
    return {one["initiator"]: one["name"] for one in found}


def wait_state(beginning: str) -> float:
    """Wait until the portal is so (the step's bound ends it otherwise); how long that took."""
    state = CONFIGFS / "drivers/iscsi/portals/lan/state"
    return wait(lambda: state.read_text().startswith(beginning))


def wait_sessions(count: int) -> float:
    """Until there are so many."""
    return wait(lambda: len(list(CLASS.glob("session.*/iscsi"))) == count)


def wait(condition: Callable[[], bool]) -> float:
    """Until something is so."""
    start = time.monotonic()
    while not condition():
        time.sleep(0.02)
    return time.monotonic() - start


def move_address(how: str) -> None:
    """The portal's address comes to this machine, or leaves it."""
    tool("ip", "address", how, f"{ADDRESS}/32", "dev", "lo")


STEPS: tuple[tuple[Callable[[Wire], str], float], ...] = (
    *guest.STEPS[:-1],
    (Wire.listen, 120),
    (Wire.log_in, 120),
    (Wire.files, 120),
    (Wire.protect, 120),
    (Wire.more, 120),
    (Wire.cut, 300),
    (Wire.kill, 300),
    (Wire.upgrade, 300),
    (Wire.leave, 120),
    guest.STEPS[-1],
)

if __name__ == "__main__":
    sys.exit(guest.run(Wire(), STEPS))
