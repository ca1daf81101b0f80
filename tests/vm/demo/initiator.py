# SPDX-License-Identifier: GPL-2.0-or-later
"""What an initiator sees and does: a SCSI host of driver local, the kernel's sd and sg, and sg3_utils."""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

CONFIGFS = Path("/sys/kernel/config/scst")
SCSI = Path("/sys/class/scsi_device")


class Wrong(Exception):
    """Something is not as it should be."""


def tool(*argv: str, status: int | None = 0) -> str:
    """Run a program; returns its output. Raises `Wrong` with it when the exit status differs (None: any)."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if status is not None and done.returncode != status:
        raise Wrong(f"{' '.join(argv)}: status {done.returncode}: {done.stdout.strip()[-600:]}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Disk:
    """A LUN as the initiator's kernel knows it: its nodes, and what INQUIRY and MODE SENSE said."""

    lun: int
    node: str
    generic: str
    serial: str
    size: int
    read_only: bool


class Initiator:
    """One host of the target."""

    def __init__(self, name: str, target: str = "local/t1") -> None:
        self.name = name
        self.short = name.rpartition(":")[2].upper()
        self._host = CONFIGFS / "targets" / target / "hosts" / name / "host"

    @property
    def host(self) -> str:
        """Number of the SCSI host. Raises `Wrong` while it is logged out."""
        try:
            found = self._host.read_text().strip()
        except FileNotFoundError:
            found = ""
        if not found:
            raise Wrong(f"initiator {self.name} has no SCSI host")
        return found

    def report_luns(self) -> list[int]:
        """What the command REPORT LUNS answers."""
        generic = next(iter(SCSI.glob(f"{self.host}:0:0:*/device/scsi_generic/*")), None)
        if generic is None:
            raise Wrong(f"host {self.host} has no LUN to ask")
        text = tool("sg_luns", "--decode", f"/dev/{generic.name}")
        return sorted(int(number) for number in re.findall(r"lun=(\d+)", text))

    def disks(self, expected: int) -> list[Disk]:
        """The disks, as soon as there are that many and their nodes exist. The caller bounds the time."""
        while True:
            found = sorted(SCSI.glob(f"{self.host}:0:0:*"), key=_lun)
            blocks = [next(iter(path.glob("device/block/*")), None) for path in found]
            nodes = [block and Path("/dev", block.name).exists() for block in blocks]
            if len(found) >= expected and all(nodes):
                tool("udevadm", "settle")
                return [_disk(path) for path in found]
            time.sleep(0.05)

    def disk(self, lun: int) -> Disk:
        """One of them."""
        path = SCSI / f"{self.host}:0:0:{lun}"
        if not path.exists():
            raise Wrong(f"initiator {self.name} has no LUN {lun}")
        return _disk(path)


def _lun(path: Path) -> int:
    return int(path.name.rpartition(":")[2])


def _disk(path: Path) -> Disk:
    device = path / "device"
    block = next((device / "block").iterdir())
    generic = next((device / "scsi_generic").iterdir())
    serial = (device / "vpd_pg80").read_bytes()[4:].decode().strip()
    return Disk(
        _lun(path),
        f"/dev/{block.name}",
        f"/dev/{generic.name}",
        serial,
        int((block / "size").read_text()) * 512,
        (block / "ro").read_text().strip() == "1",
    )


def read(node: str, count: int) -> bytes:
    """The first bytes of a disk, from the disk and not from a cache; `count` in multiples of 64 KiB."""
    blocks = str(count >> 16)
    argv = ["dd", f"if={node}", "iflag=direct", "bs=65536", f"count={blocks}", "status=none"]
    done = subprocess.run(argv, capture_output=True, check=False)
    if done.returncode != 0 or len(done.stdout) != count:
        raise Wrong(f"reading {node}: {done.stderr.decode().strip() or f'{len(done.stdout)} bytes'}")
    return done.stdout


def write(node: str, data: bytes) -> None:
    """Write the first bytes of a disk, past the caches."""
    argv = ["dd", f"of={node}", "oflag=direct", "bs=65536", "iflag=fullblock", "status=none", "conv=fsync"]
    done = subprocess.run(argv, input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise Wrong(f"writing {node}: {done.stderr.decode().strip()}")


def refused_open(node: str) -> str:
    """Why the disk cannot be opened for writing: the errno's text. Raises `Wrong` if it can."""
    try:
        os.close(os.open(node, os.O_WRONLY))
    except OSError as error:
        return os.strerror(error.errno or 0)
    raise Wrong(f"{node} could be opened for writing")


def write_command(generic: str, data: bytes) -> str:
    """Send WRITE(10) of the first blocks past all checks of the initiator; what the target answered."""
    blocks = len(data) >> 9
    cdb = ["2a", "00", "00", "00", "00", "00", "00", f"{blocks >> 8:02x}", f"{blocks & 255:02x}", "00"]
    file = Path("/tmp/demo-write")
    file.write_bytes(data)
    return tool("sg_raw", "-s", str(len(data)), "-i", str(file), generic, *cdb, status=None)
