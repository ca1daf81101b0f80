# SPDX-License-Identifier: GPL-2.0-or-later
"""The target's machine, and one that boots from it; a word with the shell there, then a look at the disk.

Exit status 0: it has booted, what its root wrote is on the disk, and test_netboot.py was content.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.vm import bootimage, machine
from tests.vm.machine import PYTHON, REPO
from tests.vm.netboot import image

SLOW = float(os.environ.get("SCST_SLOW", "1"))
PATIENCE = 300 * SLOW
OUT = REPO / "build/vm/netboot"
# So long nobody asks for a block, and the target asks (see test_netboot.py) whether anybody is there.
PAUSE = 4
SERIAL = "netboot"
UUID = "5c575c57-0000-0000-0000-000000000001"
PROMPT = re.compile(rb"netboot: shell")


class Failed(RuntimeError):
    """It has not come as far as it should."""


def wait_for(what: str, condition: Callable[[], bool], alive: Callable[[], bool]) -> None:
    """Poll, as long as the one it depends on is there."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if not alive() or time.monotonic() > end:
            raise Failed(f"no {what}")
        time.sleep(0.1)


@contextmanager
def target(disk: Path, wire: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Its machine: one disk, which is the image, and a cable to the other machine."""
    words = (
        f"-drive file={disk},format=raw,if=none,id=boot,cache=unsafe "
        f"-device virtio-blk-pci,drive=boot,serial={SERIAL} "
        f"-netdev stream,id=san,server=on,addr.type=unix,addr.path={wire} "
        "-device virtio-net-pci,netdev=san,romfile="
    )
    argv = [str(PYTHON), "-m", "tests.vm", "test", "--fresh", f"--qemu={words}", f"--out={OUT}"]
    argv += [
        f"--timeout={4 * PATIENCE:.0f}",
        f"--env=SCST_SLOW={SLOW:g}",
        "--",
        "tests/vm/netboot/test_netboot.py",
    ]
    with subprocess.Popen(argv, cwd=REPO) as child:
        try:
            yield child
        finally:
            (OUT / "over").touch()
            child.wait()


class Console:
    """A machine's first serial line; what came is in *text*, and in a file."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self.text = b""

    def wait(self, wanted: re.Pattern[bytes], since: int = 0) -> re.Match[bytes]:
        """Until that is there. Raises Failed with what came last."""
        end = time.monotonic() + PATIENCE
        while not (found := wanted.search(self.text, since)):
            ready = select.select([self._socket], [], [], 1)[0]
            data = self._socket.recv(65536) if ready else b""
            if (ready and not data) or time.monotonic() > end:
                raise Failed(f"no {wanted.pattern!r}; last: {self.text[-3000:].decode(errors='replace')}")
            self.text += data
        return found

    def run(self, words: str) -> str:
        """Have the shell run something; what it printed. Raises Failed if it fails."""
        since = len(self.text)
        self._socket.sendall(f"{words}; echo end $(($?+4000))\n".encode())
        found = self.wait(re.compile(rb"\n(.*?)end 4(\d\d\d)\r", re.S), since)
        if found[2] != b"000":
            raise Failed(f"{words}: {found[0].decode(errors='replace')}")
        return found[1].decode().replace("\r", "").strip()


@contextmanager
def booting(wire: Path, folder: Path) -> Iterator[Console]:
    """A machine that has memory, a serial line, and a network card with iPXE's ROM for the BIOS."""
    argv = ["qemu-system-x86_64", "-M", "pc,graphics=off", "-m", "512", "-display", "none", "-nodefaults"]
    argv += ["-no-user-config", "-no-reboot", "-cpu", machine.CPU_MODEL, "-accel", "tcg", "-uuid", UUID]
    argv += ["-netdev", f"stream,id=san,server=off,addr.type=unix,addr.path={wire}"]
    argv += ["-device", "e1000,netdev=san,romfile=pxe-e1000.rom,bootindex=1"]
    argv += [
        "-chardev",
        f"socket,id=line,path={folder / 'line'},server=on,wait=on,logfile={OUT / 'boot.log'}",
    ]
    argv += ["-serial", "chardev:line"]
    with (OUT / "boot-qemu.log").open("wb") as log:
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for("serial line", (folder / "line").exists, lambda: child.poll() is None)
        yield Console(folder / "line")
    finally:
        child.kill()
        child.wait()


def use(console: Console) -> str:
    """What is proved in the machine that has booted; returns a checksum of what was written."""
    console.wait(PROMPT)
    for words, wanted in (
        ("busybox cat /proc/mounts", r"^/dev/sda1 / ext4 rw"),
        ("busybox cat /sys/class/iscsi_session/session*/state", r"^LOGGED_IN$"),
        ("busybox cat /proc/partitions", r" sda1$"),
    ):
        said = console.run(words)
        if not re.search(wanted, said, re.M):
            raise Failed(f"{words}: {said}")
    console.run("busybox dd if=/dev/urandom of=/written bs=64k count=32 && busybox sync")
    before = checksum(console, "/written")
    console.run("echo 3 >/proc/sys/vm/drop_caches")
    after = checksum(console, "/written")
    if before != after:
        raise Failed(f"read back: {after}, written: {before}")
    console.run("busybox mount -o remount,ro /")
    return before


def checksum(console: Console, name: str) -> str:
    """Of a file there. What was typed may be among what was printed."""
    found = re.findall(rf"^([0-9a-f]{{32}})  {name}$", console.run(f"busybox md5sum {name}"), re.M)
    if len(found) != 1:
        raise Failed(f"no checksum of {name}: {console.text[-300:].decode(errors='replace')}")
    return str(found[0])


def on_disk(disk: Path, at: int, name: str, folder: Path) -> str:
    """The checksum of a file in the image."""
    copy = folder / "copy"
    argv = ["debugfs", "-R", f"dump {name} {copy}", f"{disk}?offset={at}"]
    subprocess.run(argv, check=True, capture_output=True)
    return subprocess.run(["md5sum", str(copy)], capture_output=True, text=True, check=True).stdout.split()[0]


def boot(folder: Path) -> None:
    """All of it. Raises Failed."""
    disk, wire = folder / "disk.img", folder / "wire"
    at = image.make(disk, bootimage.newest_kernel(), PAUSE)
    began = time.monotonic()
    with target(disk, wire) as served:
        wait_for("target", (OUT / "ready").exists, lambda: served.poll() is None)
        ready = time.monotonic()
        with booting(wire, folder) as console:
            written = use(console)
            print(f"netboot: {time.monotonic() - ready:.0f} s from power on to here", flush=True)
    if served.returncode:
        raise Failed(f"the target's machine: status {served.returncode}")
    if (found := on_disk(disk, at, "/written", folder)) != written:
        raise Failed(f"on the disk is {found}, written was {written}")
    print(f"netboot: good, {time.monotonic() - began:.0f} s")


def main() -> int:
    """Entry point."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="scst-netboot-") as folder:
        try:
            boot(Path(folder))
        except Failed as error:
            print(f"netboot: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
