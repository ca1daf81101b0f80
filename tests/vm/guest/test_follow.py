# SPDX-License-Identifier: GPL-2.0-or-later
"""The watcher follows growth under load within 2 s, never a shrinking, and is not kept from it by a storm."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Device
from pyscstadmin.errors import Conflict, OperationError
from pyscstadmin.watch.signs import Folders
from tests.vm.guest import tree
from tests.vm.guest.fio import Fio
from tests.vm.guest.long import more
from tests.vm.guest.patience import SLOW
from tests.vm.guest.pulse import pulse
from tests.vm.guest.test_recovery import Mapper, dmsetup
from tests.vm.guest.test_watch import Watch, admin, device_manager, sd_node, serve, watch
from tests.vm.guest_plugin import PluggedDisk, command

__all__ = ("admin", "device_manager", "watch")

SCST_MODULES = ("scst", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "dm_mod", "loop")

MIB = 1 << 20
SECTOR = 512
LIMIT = 2.0 * SLOW
STORM = 3_000.0 / SLOW  # a second, as a small machine makes them that has the rest to do as well


def sectors(disk: Path) -> int:
    return int(Path("/sys/block", disk.name, "size").read_text())


def grown(disk: Path, size: int, since: float) -> None:
    """The initiator's disk has this size, soon."""
    tree.wait_for(f"{size} bytes", lambda: sectors(disk) * SECTOR == size, 30)
    assert pulse.time() - since < LIMIT


class Backing:
    """Something that grows: *grow* makes it that large, *device* is what is made of it."""

    device: Device

    def grow(self, size: int) -> None:
        """Make it that large."""
        raise NotImplementedError

    def remove(self) -> None:
        """Leave nothing."""


class File(Backing):
    def __init__(self, path: Path) -> None:
        self.path = path
        self.grow(32 * MIB)
        os.utime(path, (1, 1))
        self.device = Device("d", "fileio", path=str(path))

    def grow(self, size: int) -> None:
        os.truncate(self.path, size)


class Mapping(Backing):
    def __init__(self, disk: PluggedDisk) -> None:
        self.disk = disk
        dmsetup("create", "grow", "--uuid", "SCST-grow", "--table", self._table(32 * MIB))
        command("udevadm", "settle")
        self.device = Device("d", "blockio", path=str(Mapper("grow").node))

    def _table(self, size: int) -> str:
        return f"0 {size // SECTOR} linear {self.disk.node} 0"

    def grow(self, size: int) -> None:
        dmsetup("load", "grow", "--table", self._table(size))
        dmsetup("suspend", "grow")
        dmsetup("resume", "grow")

    def remove(self) -> None:
        dmsetup("remove", "--retry", "grow")


class LogicalVolume(Backing):
    """What lvextend makes longer."""

    SETTINGS = "global{event_activation=0} activation{monitoring=0} backup{backup=0 archive=0}"

    def __init__(self, disk: PluggedDisk) -> None:
        self.disk, self.size = disk, 32 * MIB
        self._lvm("vgcreate", "--physicalextentsize", "4m", "growing", str(disk.node))
        self._lvm("lvcreate", "--size", f"{self.size}b", "--name", "grow", "growing")
        command("udevadm", "settle")
        self.device = Device("d", "blockio", path="/dev/growing/grow")

    def _lvm(self, tool: str, *words: str) -> None:
        command(tool, "--yes", "--quiet", "--config", self.SETTINGS, "--devices", str(self.disk.node), *words)

    def grow(self, size: int) -> None:
        tool = ("lvextend",) if size > self.size else ("lvreduce", "--force")
        self._lvm(*tool, "--size", f"{size}b", "growing/grow")
        self.size = size

    def remove(self) -> None:
        self._lvm("vgremove", "--force", "growing")
        self._lvm("pvremove", str(self.disk.node))


class Loop(Backing):
    """What losetup calls a new capacity."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.truncate(path, 32 * MIB)
        self.node = command("losetup", "--find", "--show", str(path)).strip()
        command("udevadm", "settle")
        self.device = Device("d", "blockio", path=self.node)

    def grow(self, size: int) -> None:
        os.truncate(self.path, size)
        command("losetup", "--set-capacity", self.node)

    def remove(self) -> None:
        command("losetup", "--detach", self.node)


ON_FILES: dict[str, Callable[[Path], Backing]] = {"file": File, "loop": Loop}
ON_DISKS: dict[str, Callable[[PluggedDisk], Backing]] = {"mapping": Mapping, "lvm": LogicalVolume}


@pytest.fixture(params=["file", "mapping", *more("loop", "lvm")])
def backing(request: pytest.FixtureRequest, ext4: Path, disks: dict[str, PluggedDisk]) -> Iterator[Backing]:
    if request.param in ON_DISKS:
        made: Backing = ON_DISKS[request.param](disks["vm-disk-b"])
        yield made
        made.remove()
        return
    path = ext4 / f"grow-{request.param}"
    path.touch()
    made = ON_FILES[request.param](path)
    yield made
    made.remove()
    path.unlink()


@pytest.fixture
def served(backing: Backing, admin: Admin) -> Iterator[Backing]:
    """A disk of an initiator."""
    serve(admin, backing.device)
    yield backing
    admin.clear()


def test_growth_under_load(served: Backing, admin: Admin, watch: Callable[[], Watch], tmp_path: Path) -> None:
    """Nobody types anything: the disk of the initiator grows, and its commands see nothing of it."""
    running = watch()
    running.wait(device="d", state="active")
    disk = sd_node(admin, 0)
    with Fio(tmp_path, disk, verify="crc32c", verify_backlog=64, runtime=120, size="24m") as load:
        for size in (40 * MIB, 48 * MIB, 56 * MIB):
            served.grow(size)
            since = pulse.time()
            grown(disk, size, since)
            running.wait(event="grown", device="d")
        load.stop()
    states = [line["state"] for line in running.past if line["event"] == "state"]
    assert states == ["active"], "it was never parked for it"


def test_shrinking_is_not_followed(served: Backing, admin: Admin, watch: Callable[[], Watch]) -> None:
    running = watch()
    running.wait(device="d", state="active")
    disk = sd_node(admin, 0)
    served.grow(16 * MIB)
    running.wait(event="shrunk", device="d")
    (line,) = (line for line in running.past if line["event"] == "shrunk")
    assert "16 MiB now, of 32 MiB that are served" in line["text"]
    with pytest.raises(Conflict, match="initiators lose"):
        admin.resize("d", 8 * MIB)
    time.sleep(1)
    assert sectors(disk) * SECTOR == 32 * MIB
    assert admin.tree.read("devices/" + served.device.handler + "/d/state") == "active"
    served.grow(32 * MIB)


def test_own_writes_are_no_signs(
    ext4: Path, admin: Admin, watch: Callable[[], Watch], tmp_path: Path
) -> None:
    """An initiator that writes all the time does not keep the watcher busy."""
    path = ext4 / "busy"
    path.write_bytes(bytes(32 * MIB))
    os.utime(path, (1, 1))
    serve(admin, Device("d", "fileio", path=str(path)))
    running = watch()
    running.wait(device="d", state="active")
    signs = Folders()
    with Fio(tmp_path, sd_node(admin, 0), rw="randwrite", runtime=60) as load:
        time.sleep(1)
        signs.follow([], [str(path)])
        before = times_waited(running.child.pid)
        time.sleep(5)
        waited = times_waited(running.child.pid) - before
        load.stop()
    assert signs.watched == {str(path)}
    assert signs.drain() == 0
    # Sizes are looked at meanwhile; with signs, there would be ten times as many looks.
    assert waited < 25
    signs.close()
    assert running.stop() == 0
    admin.clear()
    path.unlink()


def times_waited(pid: int) -> int:
    """How often a process has waited for something, which does not depend on how fast the machine is."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


class Storm:
    """Events of block devices that mean nothing, as many as the machine makes."""

    def __init__(self, node: str) -> None:
        self.path = f"/sys/block/{node}/uevent"
        self.stopped = threading.Event()
        self.count = 0
        self.thread = threading.Thread(target=self._blow)

    def _blow(self) -> None:
        file = os.open(self.path, os.O_WRONLY)
        try:
            while not self.stopped.is_set():
                os.write(file, b"change")
                self.count += 1
        finally:
            os.close(file)

    def __enter__(self) -> Storm:
        self.begun = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stopped.set()
        self.thread.join()

    @property
    def rate(self) -> float:
        """Events per second so far."""
        return self.count / (time.monotonic() - self.begun)


def running(program: str) -> bool:
    """Is there a process of this name?"""
    names = (path.read_text().strip() for path in Path("/proc").glob("[0-9]*/comm"))
    return program[:15] in names


@pytest.fixture
def no_device_manager() -> Iterator[None]:
    """Events come from the kernel itself, as fast as they are made; udev's would come as it is through."""
    command("udevadm", "control", "--exit")
    control = Path("/run/udev/control")
    tree.wait_for("the end of udev", lambda: not running("systemd-udevd"))
    control.unlink(missing_ok=True)
    yield
    command("/lib/systemd/systemd-udevd", "--daemon")


@pytest.mark.usefixtures("no_device_manager")
def test_file_binds_in_a_storm(ext4: Path, admin: Admin, watch: Callable[[], Watch]) -> None:
    """And after it the watcher is no busier than before."""
    path = ext4 / "late"
    serve(admin, Device("d", "fileio", path=str(path)), hosts=())
    running = watch()
    running.wait(device="d", state="parked")
    made = ext4 / "made"
    made.write_bytes(bytes(MIB))
    os.utime(made, (1, 1))
    with Storm("loop7") as storm:
        time.sleep(3)
        for _ in range(5):
            since = pulse.time()
            made.rename(path)
            assert running.wait(device="d", state="active") - since < 1.0 * SLOW
            path.rename(made)
            admin.tree.write("devices/fileio/d/expect", "")
            with pytest.raises(OperationError):
                admin.tree.write("devices/fileio/d/active", "reopen")
            running.wait(device="d", state="parked")
        rate = storm.rate
    since = pulse.time()
    made.rename(path)
    assert running.wait(device="d", state="active") - since < 1.0 * SLOW
    print(f"{rate:.0f} events per second")
    assert rate > STORM
    assert running.stop() == 0
    admin.clear()
    path.unlink()
