# SPDX-License-Identifier: GPL-2.0-or-later
"""What clusters run on units that their nodes share: Debian's fence_scsi and sanlock.

Two nodes are in this machine: each an initiator of its own by two ports, with what its programs keep in
folders of its own. What the kernel has once per machine, they share: a logical volume is one device.
"""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
# Seconds after which sanlock takes an input or output for lost: all its other times follow from it.
SANLOCK_TIMEOUT = min(10, int(3 * tree.SLOW))
# A number in a block, as text, that nodes count up.
COUNTER = 8 * MIB
ROUNDS = 4


@pytest.fixture(scope="module")
def installed(device_manager: None) -> Iterator[None]:
    """The packages are in the machine."""
    with packages.installed(
        *("multipath-tools", "kpartx", "sg3-utils-udev", "fence-agents"),
        *("sanlock", "libsanlock1", "libsanlock-client1"),
    ):
        command("udevadm", "control", "--reload")
        yield


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster; *number*: of it; *folder*: for what it keeps."""

    name: str
    number: int
    folder: Path
    disks: tuple[Path, Path]
    hosts: list[int | None]
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def does(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program on it, to its end."""
        return subprocess.run(words, capture_output=True, text=True, check=False, env=self.environment)

    def good(self, *words: str) -> str:
        """... which ends well."""
        done = self.does(*words)
        assert done.returncode == 0, f"{self.name}: {done}"
        return done.stdout

    def ok(self, *words: str) -> bool:
        """... and whether it has ended well."""
        return self.does(*words).returncode == 0

    def starts(self, *words: str) -> subprocess.Popen[bytes]:
        """Run a program on it."""
        return subprocess.Popen(words, env=self.environment)


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
        made.append(Node(name, number, folder, disks, [host.number for host in hosts]))
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


# --- sanlock ---


@pytest.fixture
def sanlocks(nodes: tuple[Node, Node]) -> Iterator[None]:
    """The daemon of each node, as its unit starts it, but that no watchdog resets this machine."""
    running = []
    for node in nodes:
        node.environment["SANLOCK_RUN_DIR"] = str(node.folder / "sanlock")
        words = ("sanlock", "daemon", "-D", "-w", "0", "-U", "root", "-G", "root", "-e", node.name)
        running.append(node.starts(*words))
    for node in nodes:
        tree.wait_for("sanlock's daemon", partial(node.ok, "sanlock", "client", "status"), PATIENCE)
    yield
    for node, process in zip(nodes, running, strict=True):
        node.good("sanlock", "client", "shutdown", "-f", "1")
        process.wait(PATIENCE)


@dataclass(frozen=True, slots=True)
class Lease:
    """A lockspace and a resource on the unit, as a node sees them by one of its ports."""

    node: Node
    disk: Path

    def words(self, *what: str, mode: str = "") -> tuple[str, ...]:
        """Those that run a program while it has the lease."""
        return ("sanlock", "client", "command", "-r", f"LS:R:{self.disk}:{MIB}{mode}", "-c", *what)

    def free(self, mode: str = "") -> bool:
        """Whether it is to be had."""
        return self.node.ok(*self.words("/bin/true", mode=mode))

    def _taken(self, mode: str) -> subprocess.Popen[bytes] | None:
        """By a program that says nothing; or it was not to be had: one that has ended may have it still."""
        holder = self.node.starts(*self.words("/bin/sleep", "1000", mode=mode))
        while holder.poll() is None:
            status = self.node.good("sanlock", "client", "status")
            if any(
                line.startswith("r ") and line.endswith(f" p {holder.pid}") for line in status.splitlines()
            ):
                return holder
        return None

    @contextmanager
    def held(self, mode: str = "") -> Iterator[None]:
        """The node has it meanwhile."""
        found: list[subprocess.Popen[bytes]] = []

        def take() -> bool:
            holder = self._taken(mode)
            found.extend([holder] if holder else [])
            return holder is not None

        tree.wait_for("the lease", take, PATIENCE)
        try:
            yield
        finally:
            found[0].terminate()
            found[0].wait(PATIENCE)


@pytest.fixture
def leases(nodes: tuple[Node, Node], sanlocks: None) -> tuple[Lease, Lease]:
    """Both nodes are in the lockspace, each by another port."""
    made = Lease(nodes[0], nodes[0].disks[0]), Lease(nodes[1], nodes[1].disks[1])
    timeout = ("-o", str(SANLOCK_TIMEOUT))
    for what in (("-s", f"LS:0:{made[0].disk}:0"), ("-r", f"LS:R:{made[0].disk}:{MIB}")):
        nodes[0].good("sanlock", "client", "init", *what, *timeout)
    joining = [
        lease.node.starts(
            *("sanlock", "client", "add_lockspace", *timeout),
            *("-s", f"LS:{lease.node.number}:{lease.disk}:0"),
        )
        for lease in made
    ]
    assert [one.wait(PATIENCE + 10 * SANLOCK_TIMEOUT) for one in joining] == [0, 0]
    return made


COUNT = f"""set -e
count=$(dd if=$1 bs=512 skip={COUNTER // 512} count=1 iflag=direct status=none | head -c 8)
sleep 0.02
printf '%08d%504s' $((1$count - 99999999)) '' |
	dd of=$1 bs=512 seek={COUNTER // 512} count=1 oflag=direct conv=notrunc status=none
"""


def count_up(lease: Lease, script: Path) -> None:
    """Again and again, whenever the node has the lease."""
    words = lease.words("/bin/sh", str(script), str(lease.disk))
    for _ in range(ROUNDS):
        tree.wait_for("a lease and a count", partial(lease.node.ok, *words), PATIENCE)


def test_sanlock(leases: tuple[Lease, Lease], tmp_path: Path) -> None:
    """Its leases on the unit exclude each other, by different ports; shared ones do not."""
    first, second = leases
    for mine, other in ((first, second), (second, first)):
        with mine.held():
            assert not other.free()
            assert not other.free(":SH")
        tree.wait_for("the lease to be free", other.free, PATIENCE)
    with first.held(":SH"):
        tree.wait_for("a shared lease", partial(second.free, ":SH"), PATIENCE)
        assert not second.free()
    script = tmp_path / "count"
    script.write_text(COUNT)
    with first.disk.open("r+b", buffering=0) as stream:
        stream.seek(COUNTER)
        stream.write(b"00000000".ljust(512))
        os.fsync(stream.fileno())
    with ThreadPoolExecutor() as pool:
        list(pool.map(count_up, leases, [script] * 2))
    assert Path(tree.read(tree.ROOT / "devices/fileio/shared/path")).read_bytes()[COUNTER:][:8] == (
        b"%08d" % (2 * ROUNDS)
    )
