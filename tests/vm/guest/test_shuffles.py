# SPDX-License-Identifier: GPL-2.0-or-later
"""No wrong disk, on real ones: loop devices, mappings, SCSI and virtio disks and files are pulled, put back
and given other names; every device finds its own again, or waits and says why.

What a disk is, is read from the disk: each has its name written in its first block.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Config, Device, Group, Lun, Target
from pyscstadmin.watch.loop import Event, Watcher
from tests.vm.guest import tree
from tests.vm.guest.patience import SLOW
from tests.vm.guest.pulse import pulse
from tests.vm.guest.test_identity import disk_words, file_words
from tests.vm.guest.test_recovery import Mapper, dmsetup
from tests.vm.guest.test_watch import INITIATOR, Watch, device_manager, sd_node, watch
from tests.vm.guest_plugin import PluggedDisk, command, find_disks

__all__ = ("device_manager", "watch")

SCST_MODULES = (
    "scst",
    "scst_nullio",
    "scst_fileio",
    "scst_blockio",
    "scst_local",
    "sd_mod",
    "dm_mod",
    "loop",
)

ROUNDS = int(os.environ.get("SCST_SHUFFLES", "2"))
MIB = 1 << 20
SIZE = 8 * MIB  # of all: nobody tells them apart by that
SCSI = ("scsi0", "scsi1", "scsi2")
LOOPS = ("loop0", "loop1", "loop2")
MAPS = ("map0", "map1", "map2")
FILES = ("file0", "file1", "file2")
VIRTIO = {"virtio-a": "vm-disk-a", "virtio-b": "vm-disk-b"}
HOT = (*SCSI, *VIRTIO)


def label(name: str) -> bytes:
    """What is written to the first block of a disk."""
    return f"this is {name}".encode().ljust(4096, b".")


def read_label(node: Path) -> str:
    """Whose first block this is; '' for anything else."""
    try:
        file = os.open(node, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        os.posix_fadvise(file, 0, 4096, os.POSIX_FADV_DONTNEED)
        text = os.pread(file, 4096, 0)
    except OSError:
        return ""
    finally:
        os.close(file)
    return text[8:].rstrip(b".").decode() if text.startswith(b"this is ") else ""


def write_label(path: Path, name: str) -> None:
    with path.open("r+b") as file:
        file.write(label(name))
        file.flush()
        os.fsync(file.fileno())


@dataclass
class Ground:
    """All the disks, and where they are."""

    source: random.Random
    folder: Path
    disks: dict[str, PluggedDisk]
    loops: dict[str, Path] = field(default_factory=dict)
    maps: set[str] = field(default_factory=set)
    hosts: dict[str, str] = field(default_factory=dict)

    def build(self) -> None:
        """Each with its name on it."""
        for name in LOOPS:
            with (self.folder / name).open("wb") as file:
                file.truncate(SIZE)
            write_label(self.folder / name, name)
        for name in FILES:
            (self.folder / name).write_bytes(label(name) + bytes(SIZE - 4096))
            os.utime(self.folder / name, (1, 1))
        command("modprobe", "scsi_debug", "add_host=3", "dev_size_mb=8", "per_host_store=1", "delay=0")
        command("modprobe", "null_blk", "nr_devices=1", "gb=1", "memory_backed=1")
        for name, disk in VIRTIO.items():
            write_label(self.disks[disk].node, name)
        for name, node in zip(SCSI, self._debug_nodes(), strict=True):
            write_label(node, name)
            self.hosts[name] = node_host(node)
        write_label(Path("/dev/nullb0"), "null")
        self.attach()
        for name in MAPS:
            write_label(Mapper(name).node, name)
        command("udevadm", "settle")

    def remove(self) -> None:
        """Leave nothing."""
        self.detach()
        for module in ("scsi_debug", "null_blk"):
            for _ in range(50):
                with suppress(AssertionError):
                    command("modprobe", "-r", module)
                    break
                time.sleep(0.1)
        if set(find_disks()) != {*self.disks}:
            next(iter(self.disks.values())).plug()

    def _debug_nodes(self) -> list[Path]:
        found = [
            path
            for path in Path("/sys/block").glob("sd*")
            if (path / "device/model").read_text().strip() == "scsi_debug"
        ]
        assert len(found) == 3
        return [Path("/dev", path.name) for path in sorted(found)]

    # Those that can only be changed while nobody has them open.

    def attach(self) -> None:
        """Loop devices and mappings, in any order: each gets the first name that is free."""
        for name in self.source.sample(LOOPS, len(LOOPS)):
            self.loops[name] = Path(command("losetup", "--find", "--show", str(self.folder / name)).strip())
        ground = self.disks["vm-disk-c"].node
        for name in self.source.sample(MAPS, len(MAPS)):
            start = MAPS.index(name) * SIZE // 512
            table = f"0 {SIZE // 512} linear {ground} {start}"
            dmsetup("create", name, "--uuid", f"SCST-{name}", "--table", table)
            self.maps.add(name)

    def detach(self) -> None:
        """The same backwards."""
        for node in self.loops.values():
            command("losetup", "--detach", str(node))
        for name in self.maps:
            dmsetup("remove", "--retry", name)
        self.loops.clear()
        self.maps.clear()
        command("udevadm", "settle")

    def swap_files(self) -> None:
        """Two images change names."""
        one, two = (self.folder / name for name in self.source.sample(FILES, 2))
        aside = self.folder / "aside"
        one.rename(aside)
        two.rename(one)
        aside.rename(two)

    # Those that can be pulled at any time.

    def pull(self, name: str) -> None:
        """A disk goes, whoever has it open."""
        if name in SCSI:
            for node in Path("/sys/class/scsi_host", self.hosts[name], "device").glob("target*/*/delete"):
                node.write_text("1")
        else:
            self.disks[VIRTIO[name]].unplug()

    def put(self, name: str) -> None:
        """It comes back under the first name that is free."""
        if name in SCSI:
            Path("/sys/class/scsi_host", self.hosts[name], "scan").write_text("- - -")
        else:
            self.disks[VIRTIO[name]].plug()

    def known(self, names: Iterable[str]) -> None:
        """Wait until SCSI disks that were put back are there, and the device manager is through with them: a
        disk appears some time after the bus was scanned, and no queue is of any length before.
        """
        for name in names:
            tree.wait_for(f"{name} to be known", partial(self._is_known, name), 30 * SLOW)

    def in_order(self) -> None:
        """The SCSI disks have their names in their own order, whatever was before."""
        for name in SCSI:
            self.pull(name)
        for name in SCSI:
            self.put_back(name)

    def put_back(self, name: str) -> Path:
        """Put a SCSI disk back; returns where it is now."""
        self.put(name)
        self.known([name])
        return self.nodes()[name]

    def _is_known(self, name: str) -> bool:
        place = Path("/sys/class/scsi_host", self.hosts[name], "device")
        numbers = (file.read_text().strip() for file in place.glob("target*/*/block/*/diskseq"))
        return any(Path("/dev/disk/by-diskseq", number).exists() for number in numbers)

    def new_null(self) -> None:
        """A disk that nothing tells from the one before."""
        command("modprobe", "-r", "null_blk")
        command("modprobe", "null_blk", "nr_devices=1", "gb=1", "memory_backed=1")
        write_label(Path("/dev/nullb0"), "null")

    def nodes(self) -> dict[str, Path]:
        """Where each disk is now, by what is written on it; not as initiators of this machine see it."""
        found = {}
        for path in Path("/sys/block").glob("*"):
            vendor = path / "device/vendor"
            served = vendor.exists() and vendor.read_text().strip() == "SCST"
            name = "" if served else read_label(Path("/dev", path.name))
            if name and not (name in MAPS and not path.name.startswith("dm-")):
                found[name] = Path("/dev", path.name)
        return found

    def files(self) -> dict[str, Path]:
        """Where each image is now."""
        paths = [self.folder / name for name in FILES]
        return {read_label(path): path for path in paths if path.exists()}


def node_host(node: Path) -> str:
    """The SCSI host of a disk."""
    return next(p for p in Path("/sys/block", node.name).resolve().parts if p.startswith("host"))


@pytest.fixture(scope="module")
def ground(ext4: Path, disks: dict[str, PluggedDisk]) -> Iterator[Ground]:
    made = Ground(random.Random(int(os.environ.get("SCST_SEED", "3"))), ext4, disks)
    made.build()
    yield made
    made.remove()


@pytest.fixture
def admin() -> Iterator[Admin]:
    """One with patience: a machine that is busy is no backing that does not answer, which would be parked."""
    with Admin(patience=60.0) as made:
        made.clear()
        yield made
        made.clear()


def config(ground: Ground) -> Config:
    """Every disk and image by the name that it has at the moment."""
    nodes = ground.nodes()
    assert set(nodes) == {*LOOPS, *MAPS, *HOT, "null"}
    devices = [Device(name, "blockio", path=str(node)) for name, node in nodes.items()]
    devices += [Device(name, "fileio", path=str(path)) for name, path in ground.files().items()]
    return Config(tuple(devices))


def check(admin: Admin, ground: Ground, unknown: set[str]) -> dict[str, str]:
    """Nobody is on another's disk, and all are on their own but `unknown`; returns the paths of those that
    are not where they were.
    """
    right = {name: disk_words(node) for name, node in ground.nodes().items()}
    right |= {name: file_words(path) for name, path in ground.files().items()}
    elsewhere = {}
    for device in admin.config().devices:
        directory = f"devices/{device.handler}/{device.name}"
        names = ("state", "backing", "elsewhere", "error")
        state, backing, at, error = admin.tree.read_many([f"{directory}/{name}" for name in names])
        if state == "active":
            assert backing == right[device.name], f"{device.name} is on {backing}, its own is {right}"
        else:
            assert device.name in unknown, f"{device.name} is {state} ({error}), and is {right[device.name]}"
            assert error == "ESTALE"
        if at:
            elsewhere[device.name] = at
    return elsewhere


def test_names_given_anew_while_nothing_is_served(admin: Admin, ground: Ground) -> None:
    """As at each start of the machine: the saved configuration finds its disks, whatever they are called."""
    admin.apply(config(ground))
    saved = admin.config()
    assert all(device.facts for device in saved.devices)
    moved: set[str] = set()
    for number in range(ROUNDS):
        admin.clear()
        ground.detach()
        hot = ground.source.sample(SCSI, len(SCSI))
        for name in hot:
            ground.pull(name)
        for name in hot:
            ground.put(name)
        ground.known(hot)
        if number % 10 == 2:
            ground.new_null()
        ground.attach()
        if ground.source.random() < 0.5:
            ground.swap_files()
        command("udevadm", "settle")
        outcome = admin.restore(saved)
        assert not outcome.failed
        away = {name for name, path in ground.files().items() if path.name != name}
        unknown = away | ({"null"} if number >= 2 else set())
        proofs = {proof.device: proof for proof in outcome.proofs}
        assert set(outcome.parked) == unknown, {
            name: proofs.get(name) for name in unknown ^ {*outcome.parked}
        }
        for name in unknown:
            told = {one.name for one in proofs[name].differences}
            assert told & ({"sequence"} if name == "null" else {"inode", "birth", "handle"}), proofs[name]
        moved |= set(check(admin, ground, unknown))
        assert admin.config() == saved
        assert not admin.apply(saved), "the same again changes nothing"
    if ROUNDS >= 20:
        assert moved >= {*SCSI, *LOOPS, *MAPS}, "nothing was shuffled"
    while any(path.name != name for name, path in ground.files().items()):
        ground.swap_files()


def all_back(watcher: Watcher) -> bool:
    """Whether all devices are active after one more look."""
    watcher._attempts.clear()
    watcher.look()
    return all(seen.state == "active" for seen in watcher.seen.values())


def test_hot_disks_change_names_under_initiators(admin: Admin, ground: Ground) -> None:
    """Pulled and put back in another order; what an initiator reads is always its own disk."""
    everything = config(ground)
    devices = tuple(device for device in everything.devices if device.name in HOT)
    luns = tuple(Lun(number, device.name) for number, device in enumerate(devices))
    group = Group("a", initiators=(INITIATOR,), luns=luns)
    admin.apply(Config(devices, (Target("local", "t1", hosts=(INITIATOR,), groups=(group,)),)))
    events: list[Event] = []
    watcher = Watcher(admin, events.append)
    watcher.look()
    moved: set[str] = set()
    for _ in range(ROUNDS):
        names = ground.source.sample(HOT, ground.source.randint(1, len(HOT)))
        for name in names:
            ground.pull(name)
        watcher.look()
        assert {name for name, seen in watcher.seen.items() if seen.state != "active"} == set(names)
        for name in ground.source.sample(names, len(names)):
            ground.put(name)
        # Not when the device manager's queue is empty: who looks at an initiator's disk stays in it until the
        # LUN is back.
        tree.wait_for("all to be back", partial(all_back, watcher), 30 * SLOW)
        moved |= set(check(admin, ground, set()))
        for lun in luns:
            assert read_label(sd_node(admin, lun.number)) == lun.device
    kinds = {event.event for event in events}
    assert {"lost", "bound"} <= kinds
    if ROUNDS >= 20:
        assert moved >= set(SCSI)
        assert "rebound" in kinds
    assert "refused" in kinds or ROUNDS < 20


def test_right_disk_binds_within_a_second(admin: Admin, ground: Ground, watch: Callable[[], Watch]) -> None:
    """Under another name, which the running watcher finds by itself."""
    everything = config(ground)
    one, two = (next(d for d in everything.devices if d.name == name) for name in SCSI[:2])
    admin.apply(Config((one, two)))
    running = watch()
    running.wait_each(SCSI[:2], state="active")
    for order in itertools.islice(itertools.cycle((SCSI[1::-1], SCSI[:2])), 4):
        for name in SCSI[:2]:
            ground.pull(name)
        running.wait_each(SCSI[:2], state="parked")
        for name in order:
            ground.put(name)
        ground.known(SCSI[:2])
        command("udevadm", "settle")
        there = pulse.time()
        assert running.wait_each(SCSI[:2], state="active") - there < 1.0 * SLOW
        check(admin, ground, set())


def test_other_disk_is_refused_by_name(admin: Admin, ground: Ground, watch: Callable[[], Watch]) -> None:
    ground.in_order()
    everything = config(ground)
    one = next(device for device in everything.devices if device.name == "scsi0")
    admin.apply(Config((one,)))
    was = ground.nodes()["scsi0"]
    running = watch()
    running.wait(device="scsi0", state="active")
    for name in SCSI:
        ground.pull(name)
    running.wait(device="scsi0", state="parked")
    # The kernel gives a name away again when the last one has closed the disk, which may be later.
    others = ["scsi1", "scsi2"]
    while ground.put_back(others.pop(0)) != was:
        assert others, f"no other disk is {was}"
    running.wait(event="refused", device="scsi0")
    (refused,) = (line for line in running.past if line["event"] == "refused")
    facts = {one["fact"] for one in refused["differences"]}
    assert facts & {"wwid", "serial"}
    assert admin.tree.read("devices/blockio/scsi0/error") == "ESTALE"
    for name in ("scsi0", *others):
        ground.put(name)
    running.wait(event="rebound", device="scsi0")
    running.wait(device="scsi0", state="active")
    check(admin, ground, set())
