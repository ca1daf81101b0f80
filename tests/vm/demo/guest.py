# SPDX-License-Identifier: GPL-2.0-or-later
"""The steps over driver `local`, and how steps are run: in the virtual machine.

Initiator A sees target T's devices Da and Db read-write; initiator B sees, on the same target, Db read-only
and Dc read-write. Every step is bounded in time and says what it found; the first that is wrong ends the
demo.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.vm import guest_plugin
from tests.vm.demo.initiator import (
    CONFIGFS,
    Disk,
    Initiator,
    Wrong,
    read,
    refused_open,
    tool,
    write,
    write_command,
)

EXAMPLE = "examples/two-initiators.json"
CONTENT = ("/usr/share/common-licenses", "docs", "examples", "/usr/share/doc")
CONTENT_BYTES = 3 << 20
SRV = Path("/srv/scst")
SAVED = "/etc/scst/scst.json"
MIB = 1 << 20

DEVICES = {"Da": "fileio", "Db": "blockio", "Dc": "fileio"}
# Initiator -> (device, read-only) by LUN.
EXPECTED = {"A": [("Da", False), ("Db", False)], "B": [("Db", True), ("Dc", False)]}


def scstadmin(*argv: str, status: int = 0) -> str:
    """Run the command as a person would."""
    return tool("scstadmin", *argv, status=status)


def state(device: str) -> str:
    """State of a device."""
    return (CONFIGFS / "devices" / DEVICES[device] / device / "state").read_text().strip()


@dataclass(slots=True)
class Demo:
    """What the steps hand on to each other."""

    a: Initiator = field(default_factory=lambda: Initiator("iqn.2026-11.com.example:a"))
    b: Initiator = field(default_factory=lambda: Initiator("iqn.2026-11.com.example:b"))
    sums: dict[str, str] = field(default_factory=dict)
    written: bytes = b""
    views: list[str] = field(default_factory=list)
    saved: str = ""
    watcher: subprocess.Popen[bytes] | None = None

    # Steps: each says in one line what it found, and may print more lines before.

    def contents(self) -> str:
        """Real content: an ext4 image made from files, a block device, a file"""
        # What the machine's start does: make known the disks that were there before the device manager.
        tool("udevadm", "trigger", "--action=add", "--subsystem-match=block")
        tool("udevadm", "settle")
        SRV.mkdir(parents=True)
        folder = Path("/tmp/content")
        self.sums = gather(folder)
        tool("mke2fs", "-q", "-t", "ext4", "-d", str(folder), str(SRV / "da.img"), "32M")
        (SRV / "dc.img").write_bytes(os.urandom(MIB) * 16)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return f"{len(self.sums)} files, {size / MIB:.1f} MiB, into an image of 32 MiB"

    def service(self) -> str:
        """`scstadmin watch` runs, as its systemd unit would run it"""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0scst-demo")
            environment = os.environ | {"NOTIFY_SOCKET": "@scst-demo"}
            with open("/tmp/watch.log", "wb") as log:
                self.watcher = subprocess.Popen(
                    ["scstadmin", "watch"], env=environment, stdout=log, stderr=log
                )
            if not manager.recv(500).startswith(b"READY=1"):
                raise Wrong(f"the watcher did not get ready: {Path('/tmp/watch.log').read_text()}")
        return "ready, before there is anything to watch"

    def apply(self) -> str:
        """`scstadmin apply` of the example: modules, devices, target, groups, hosts"""
        start = time.monotonic()
        said = scstadmin("apply", EXAMPLE)
        took = time.monotonic() - start
        again = scstadmin("apply", EXAMPLE)
        if again.strip() != "nothing to do":
            raise Wrong(f"applying it again says: {again}")
        return f"{said.splitlines()[0]} in {took:.1f} s; again: {again.strip()}"

    def look(self) -> str:
        """What each initiator sees: REPORT LUNS, INQUIRY, MODE SENSE, the kernel's disks"""
        self.views = self.both_views()
        for line in self.views:
            print(f"      {line}")
        return "A: Da and Db read-write; B: Db read-only and Dc read-write; nothing else"

    def both_views(self) -> list[str]:
        """The views of both, compared with what they should be; as text without names that may change."""
        lines = []
        for initiator in (self.a, self.b):
            expected = EXPECTED[initiator.short]
            disks = initiator.disks(len(expected))
            luns = initiator.report_luns()
            if luns != list(range(len(expected))) or [disk.lun for disk in disks] != luns:
                raise Wrong(f"{initiator.short}: REPORT LUNS says {luns}, disks are {disks}")
            for disk, (device, read_only) in zip(disks, expected, strict=True):
                if (disk.serial, disk.read_only) != (serial(device), read_only):
                    raise Wrong(f"{initiator.short}: LUN {disk.lun} is not {device}, {read_only=}: {disk}")
                lines.append(view_line(initiator, disk, device))
        return lines

    def mount(self) -> str:
        """A mounts Da; every file's checksum is compared with its source"""
        mount = Path("/tmp/mnt")
        mount.mkdir(exist_ok=True)
        tool("mount", "-t", "ext4", self.a.disk(0).node, str(mount))
        try:
            found = checksums(mount)
        finally:
            tool("umount", str(mount))
        found = {name: value for name, value in found.items() if not name.startswith("lost+found")}
        if found != self.sums:
            wrong = sorted({name for name, _ in found.items() ^ self.sums.items()})
            raise Wrong(f"{len(wrong)} files differ, the first is {wrong[0]}")
        return f"{len(found)} of {len(self.sums)} files the same"

    def share(self) -> str:
        """A writes to Db, B reads it"""
        self.written = os.urandom(2 * MIB)
        write(self.a.disk(1).node, self.written)
        if read(self.b.disk(0).node, len(self.written)) != self.written:
            raise Wrong("B reads something else than A wrote")
        backing = Path("/dev/disk/by-id/virtio-db").resolve()
        nodes = f"{self.a.disk(1).node}, read back through {self.b.disk(0).node}"
        return f"2 MiB through {nodes}; the backing is {backing}"

    def protect(self) -> str:
        """B's write to Db is refused; A's data stay"""
        disk = self.b.disk(0)
        why = refused_open(disk.node)
        answer = write_command(disk.generic, bytes(4096))
        if "Data Protect" not in answer:
            raise Wrong(f"WRITE(10) of B was answered: {answer.strip()}")
        if read(self.a.disk(1).node, len(self.written)) != self.written:
            raise Wrong("the data of A changed")
        write(self.b.disk(1).node, self.written)  # while Dc is B's to write
        return f"opening says {why!r}, WRITE(10) DATA PROTECT; Dc takes B's write"

    def pull(self) -> str:
        """Db's disk is pulled: the LUN parks, the mapping stays, Da works on"""
        before, luns = scstadmin("save", "-"), self.a.report_luns()
        db = guest_plugin.find_disks()["db"]
        start = time.monotonic()
        db.unplug()
        parked = wait_state("Db", "parked") - start
        answer = tool("sg_turs", "--verbose", self.a.disk(1).generic, status=None)
        if "not accessible" not in answer.lower():
            raise Wrong(f"TEST UNIT READY of A was answered: {answer.strip()}")
        if scstadmin("save", "-") != before or self.a.report_luns() != luns:
            raise Wrong("the configuration or the LUNs changed")
        read(self.a.disk(0).node, MIB)
        return f"parked after {parked:.2f} s: NOT READY, not accessible; configuration and LUNs as before"

    def put_back(self) -> str:
        """The disk comes back: the LUN goes live, and no command was typed"""
        start = time.monotonic()
        Path("/sys/bus/pci/rescan").write_text("1")
        active = wait_state("Db", "active") - start
        if read(self.b.disk(0).node, len(self.written)) != self.written:
            raise Wrong("B does not find A's data again")
        watched = Path("/tmp/watch.log").read_text().splitlines()
        lines = [line for line in watched if line.startswith("Db: ")]
        print("".join(f"      watch: {line}\n" for line in lines[-2:]), end="")
        return f"active after {active:.2f} s; B reads what A wrote"

    def keep(self) -> str:
        """save, clear"""
        said = scstadmin("save").strip()
        self.saved = Path(SAVED).read_text()
        scstadmin("clear", "--yes")
        for initiator in (self.a, self.b):
            try:
                host = initiator.host
            except Wrong:
                continue
            raise Wrong(f"after clear, {initiator.short} still has host {host}")
        if sessions := json.loads(scstadmin("--json", "sessions"))["sessions"]:
            raise Wrong(f"after clear, there are sessions: {sessions}")
        return f"{said}; then no device, no target, no host, no session"

    def restore(self) -> str:
        """restore: the same views, the same data"""
        scstadmin("restore")
        views = self.both_views()
        if views != self.views:
            raise Wrong(f"the views differ: {views}")
        if scstadmin("save", "-") != self.saved:
            raise Wrong("the configuration is not the one that was saved")
        if read(self.b.disk(0).node, len(self.written)) != self.written:
            raise Wrong("B does not find A's data again")
        return "both views as before, the configuration byte for byte, B reads what A wrote"

    def end(self) -> str:
        """The end: everything removed, the watcher stopped, modules unloaded, no object left"""
        scstadmin("clear", "--yes")
        assert self.watcher is not None
        self.watcher.send_signal(signal.SIGTERM)
        if status := self.watcher.wait():
            raise Wrong(f"the watcher ended with status {status}")
        if problems := guest_plugin.left_behind():
            raise Wrong("; ".join(problems))
        return "clean"


AnyDemo = TypeVar("AnyDemo", bound=Demo)

# The steps and the seconds each may take: an emulated machine is some twenty times slower than a real one.
STEPS: tuple[tuple[Callable[[Demo], str], float], ...] = (
    (Demo.contents, 120),
    (Demo.service, 120),
    (Demo.apply, 120),
    (Demo.look, 60),
    (Demo.mount, 120),
    (Demo.share, 120),
    (Demo.protect, 120),
    (Demo.pull, 120),
    (Demo.put_back, 120),
    (Demo.keep, 120),
    (Demo.restore, 120),
    (Demo.end, 120),
)


def gather(folder: Path, enough: int = CONTENT_BYTES) -> dict[str, str]:
    """Copy real files into a folder until there are enough; their checksums by name."""
    total = 0
    for path in real_files():
        target = folder / path.relative_to(path.anchor)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        total += target.stat().st_size
        if total > enough:
            break
    return checksums(folder)


def real_files() -> Iterator[Path]:
    """The files to copy, in order; folders are read only as far as the files are taken."""
    for top in CONTENT:
        for place, folders, names in os.walk(top):
            folders.sort()
            yield from (path for name in sorted(names) if (path := Path(place, name)).is_file())


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path there."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def serial(device: str) -> str:
    """Serial number of a device, as configured."""
    return (CONFIGFS / "devices" / DEVICES[device] / device / "id/serial").read_text().strip()


def view_line(initiator: Initiator, disk: Disk, device: str) -> str:
    """A LUN in a view; device nodes are left out, for they may change."""
    mode = "read-only " if disk.read_only else "read-write"
    size = f"{disk.size >> 20:3} MiB"
    return f"{initiator.short}  LUN {disk.lun}  {device}  {mode}  {size}  serial {disk.serial}"


def wait_state(device: str, wanted: str) -> float:
    """Wait until a device is in a state (the step's bound ends it otherwise); the time."""
    while state(device) != wanted:
        time.sleep(0.005)
    return time.monotonic()


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raise `Wrong` in the block after so many seconds."""

    def expired(number: int, frame: object) -> None:
        raise Wrong(f"not done after {seconds:g} s")

    signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run(demo: AnyDemo, steps: Sequence[tuple[Callable[[AnyDemo], str], float]]) -> int:
    """Run the steps; 0 if all were as they should be."""
    for number, (step, seconds) in enumerate(steps, 1):
        print(f"{number:2}. {step.__doc__}", flush=True)
        start = time.monotonic()
        try:
            with bounded(seconds):
                found = step(demo)
        except (Wrong, AssertionError, OSError, StopIteration, subprocess.SubprocessError) as error:
            print(f"      WRONG after {time.monotonic() - start:.1f} s: {error}", flush=True)
            print(f"demo: FAILED in step {number} of {len(steps)}", flush=True)
            return 1
        print(f"      ok ({time.monotonic() - start:.1f} s): {found}", flush=True)
    print(f"demo: all {len(steps)} steps as they should be", flush=True)
    return 0
