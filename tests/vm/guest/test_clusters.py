# SPDX-License-Identifier: GPL-2.0-or-later
"""What clusters run on units that their nodes share: Debian's fence_scsi.

Two nodes are in this machine: each an initiator of its own by two ports, with what its programs keep in
folders of its own.
"""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.vm.guest import packages, tree
from tests.vm.guest.test_watch import device_manager
from tests.vm.guest.tree import Target
from tests.vm.guest_plugin import command

__all__ = ("device_manager",)

SCST_MODULES = ("scst", "scst_fileio", "scst_local", "sd_mod", "sg", "dm_mod")

pytestmark = pytest.mark.usefixtures("clean_tree", "installed")

MIB = 1 << 20
SIZE = 64 * MIB
PATIENCE = 60 * tree.SLOW


@pytest.fixture(scope="module")
def installed(device_manager: None) -> Iterator[None]:
    """The packages are in the machine."""
    with packages.installed("fence-agents"):
        yield


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster; *number*: of it; *folder*: for what it keeps."""

    name: str
    number: int
    folder: Path
    disks: tuple[Path, Path]
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def does(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program on it, to its end."""
        return subprocess.run(words, capture_output=True, text=True, check=False, env=self.environment)

    def good(self, *words: str) -> str:
        """... which ends well."""
        done = self.does(*words)
        assert done.returncode == 0, f"{self.name}: {done}"
        return done.stdout


@pytest.fixture
def nodes(ext4: Path, tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Both, with a unit that they share by two ports."""
    file = ext4 / "shared"
    with file.open("wb") as stream:
        stream.truncate(SIZE)
    device = tree.fileio("shared", file)
    targets = Target("t1").make(), Target("t2").make()
    for target in targets:
        target.luns.map(0, device)
        target.enable()
    made = []
    for number, name in enumerate("ab", start=1):
        hosts = [target.login(name) for target in targets]
        disks = hosts[0].disk(0), hosts[1].disk(0)
        folder = tmp_path / name
        folder.mkdir()
        made.append(Node(name, number, folder, disks))
    command("udevadm", "settle")
    yield made[0], made[1]
    command("udevadm", "settle")
    for target in targets:
        target.enable(False)
    command("udevadm", "settle")
    file.unlink()


def write_block(disk: Path) -> None:
    """To the medium, past any cache of this machine."""
    file = os.open(disk, os.O_WRONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 4096) as data:
            os.pwrite(file, data, 8 * MIB)
    finally:
        os.close(file)


def write_error(disk: Path) -> int:
    """What becomes of a write: 0, or its errno."""
    return tree.errno_of(partial(write_block, disk))


class Writer(threading.Thread):
    """Writes until it may not."""

    def __init__(self, disk: Path) -> None:
        super().__init__(daemon=True)
        self._disk = disk
        self.written = 0
        self.error = 0

    def run(self) -> None:
        while not self.error:
            self.error = write_error(self._disk)
            self.written += not self.error


def fenced_while_it_writes(fence: Node, agent: list[str], disk: Path) -> None:
    """*agent*: run on a node, it fences the other, whose writes to *disk* end in conflicts then."""
    writer = Writer(disk)
    writer.start()
    tree.wait_for("the node to write", lambda: writer.written > 5)
    fence.good(*agent)
    writer.join(PATIENCE)
    assert (writer.is_alive(), writer.error) == (False, errno.EBADE)
    assert write_error(disk) == errno.EBADE


# --- fence_scsi ---


def scsi(node: Node, action: str, key: str) -> list[str]:
    """The words that run fence_scsi on a node, with a /run of its own: it keeps its own key there."""
    agent = (
        f"fence_scsi -v --action={action} --key={key} --devices={node.disks[0]} --power-timeout={PATIENCE:g}"
    )
    return ["unshare", "--mount", "sh", "-c", f"mount --bind {node.folder} /run && exec {agent}"]


def test_fence_scsi(nodes: tuple[Node, Node]) -> None:
    """A node that is fenced can write no more, not even what it is writing; unfenced it can."""
    first, second = nodes
    for node in nodes:
        node.good(*scsi(node, "on", f"abc{node.number}"))
    assert [write_error(node.disks[0]) for node in nodes] == [0, 0]
    fenced_while_it_writes(first, scsi(first, "off", "abc2"), second.disks[0])
    assert write_error(second.disks[1]) == errno.EBADE, "by the port that was never registered"
    assert first.does(*scsi(first, "status", "abc2")).returncode == 2
    assert write_error(first.disks[0]) == 0
    second.good(*scsi(second, "on", "abc2"))
    assert [write_error(node.disks[0]) for node in nodes] == [0, 0]
    # It fences the holder of the reservation, which is its own then.
    fenced_while_it_writes(second, scsi(second, "off", "abc1"), first.disks[0])
    assert write_error(second.disks[0]) == 0
