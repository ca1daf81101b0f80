# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux's own ALUA device handler and dm-multipath over two ports of one device."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import alua, scsi, tree
from tests.vm.guest.alua import DeviceGroup, Tpg
from tests.vm.guest.fio import Fio
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_recovery import Mapper, dmsetup
from tests.vm.guest.tree import Device, Target

SCST_MODULES = ("scst", "scst_fileio", "scst_local", "sd_mod", "sg", "dm_mod")

pytestmark = pytest.mark.usefixtures("clean_tree", "handler")

MakeFile = Callable[[str, int], Path]
SIZE = 16
LOAD: dict[str, Any] = {"rw": "randwrite", "verify": "crc32c", "size": f"{SIZE}m", "runtime": 600}


@pytest.fixture(scope="module")
def handler() -> Iterator[None]:
    """The device handler: who is there before disks are is attached to them by the kernel itself. It holds a
    disk until it has asked for its groups.
    """
    for module in ("scsi_dh_alua", "dm_multipath", "dm_round_robin"):
        guest_plugin.command("modprobe", module)
    yield
    held = Path("/sys/module/scst_local/refcnt")
    tree.wait_for("nobody to have a disk", lambda: held.read_text() == "0\n", 60 * tree.SLOW)


@dataclass(frozen=True, slots=True)
class Paths:
    """Two disks that are one device, and the groups of the ports they are seen by."""

    device: Device
    targets: tuple[Target, Target]
    group: DeviceGroup
    tpgs: tuple[Tpg, Tpg]
    disks: tuple[Path, Path]

    def state(self, path: int) -> str:
        """What the initiator's handler takes a path for."""
        return Path("/sys/block", self.disks[path].name, "device/access_state").read_text().strip()

    def size(self, path: int) -> int:
        """Of its disk, in bytes."""
        return 512 * int(Path("/sys/block", self.disks[path].name, "size").read_text())

    def has_size(self, path: int) -> bool:
        """The disk is as large as the device."""
        return self.size(path) == SIZE << 20

    def wait_state(self, path: int, state: str) -> None:
        """It looks by itself, when a command is told that something has changed: that of a path checker, for
        others are not sent by a path that is known to be of no use.
        """

        def seen() -> bool:
            with Unit(self.disks[path]) as unit:
                unit.command(scsi.test_unit_ready())
            return self.state(path) == state

        tree.wait_for(f"path {path} is {state}", seen, 30 * tree.SLOW)


def read_block(disk: Path) -> bytes:
    """The first block, past the page cache."""
    file = os.open(disk, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        return os.pread(file, 512, 0)
    finally:
        os.close(file)


@pytest.fixture
def paths(make_file: MakeFile) -> Paths:
    """The group is there before the disks are."""
    device = tree.fileio("d0", make_file("d0", SIZE))
    targets = Target("t1").make(), Target("t2").make()
    group = DeviceGroup("dg").make(device, explicit=True)
    tpgs = group.tpg("a", 10, targets[0]), group.tpg("b", 20, targets[1])
    hosts = []
    for target in targets:
        target.luns.map(0, device)
        hosts.append(target.login("ini"))
        target.enable()
    disks = hosts[0].disk(0), hosts[1].disk(0)
    return Paths(device, targets, group, tpgs, disks)


def test_handler_follows(paths: Paths) -> None:
    """Attached by itself, because INQUIRY says so; it knows each state that is told, soon after it is."""
    for disk in paths.disks:
        assert Path("/sys/block", disk.name, "device/dh_state").read_text().strip() == "alua"
        assert Path("/sys/block", disk.name, "device/preferred_path").read_text().strip() == "0"
    for path in (0, 1):
        paths.wait_state(path, alua.OPTIMIZED)
    for state in (alua.NONOPTIMIZED, alua.STANDBY, alua.OPTIMIZED, alua.UNAVAILABLE, alua.OPTIMIZED):
        paths.tpgs[0].switch(state)
        paths.wait_state(0, state)
        paths.wait_state(1, alua.OPTIMIZED)
    paths.tpgs[1].set("preferred", True)
    paths.tpgs[1].switch(alua.NONOPTIMIZED)
    paths.wait_state(1, alua.NONOPTIMIZED)
    assert Path("/sys/block", paths.disks[1].name, "device/preferred_path").read_text().strip() == "1"


def test_changes_under_load_disturb_no_other_port(paths: Paths, tmp_path: Path) -> None:
    """fio with verification by one port sees no error, whatever becomes of the other."""
    with Fio(tmp_path, paths.disks[1], **LOAD) as load:
        for _ in range(5):
            for state in (alua.STANDBY, alua.UNAVAILABLE, alua.OFFLINE, alua.TRANSITIONING, alua.OPTIMIZED):
                paths.tpgs[0].switch(state)
                # The initiator repeats what it is told to be for a while only.
                if state != alua.TRANSITIONING:
                    tree.errno_of(lambda: read_block(paths.disks[0]))
        load.stop()
    paths.wait_state(0, alua.OPTIMIZED)
    assert read_block(paths.disks[0]) == read_block(paths.disks[1])


def states(paths: Paths) -> tuple[str, str]:
    """Of the two groups."""
    return paths.tpgs[0].state, paths.tpgs[1].state


@pytest.fixture
def multipath(paths: Paths) -> Iterator[Mapper]:
    """Both paths, a priority group each, with the device handler: a group is made optimized to be used."""
    sectors = Path("/sys/block", paths.disks[0].name, "size").read_text().strip()
    groups = " ".join(f"round-robin 0 1 1 {disk} 1" for disk in paths.disks)
    table = f"0 {sectors} multipath 1 queue_if_no_path 1 alua 2 1 {groups}"
    dmsetup("create", "pair", "--table", table)
    yield Mapper("pair")
    dmsetup("message", "pair", "0", "fail_if_no_path")
    dmsetup("remove", "--retry", "pair")


def test_multipath_switches_explicitly(paths: Paths, multipath: Mapper, tmp_path: Path) -> None:
    """dm-multipath makes the group that it uses optimized, by SET TARGET PORT GROUPS, and I/O goes on."""
    paths.tpgs[0].switch(alua.STANDBY)
    paths.tpgs[1].switch(alua.STANDBY)
    with Fio(tmp_path, multipath.node, **LOAD) as load:
        used = (alua.OPTIMIZED, alua.STANDBY)
        tree.wait_for("the first group", lambda: states(paths) == used, 60 * tree.SLOW)
        dmsetup("message", "pair", "0", "switch_group", "2")
        tree.wait_for("the other group", lambda: states(paths)[1] == alua.OPTIMIZED, 60 * tree.SLOW)
        load.stop()


def test_multipath_implicit_failover(paths: Paths, multipath: Mapper, tmp_path: Path) -> None:
    """One port goes out of service under load: the I/O goes by the other, without an error."""
    tree.write(paths.group.path / "explicit", False)
    with Fio(tmp_path, multipath.node, **LOAD) as load:
        for number in range(4):
            gone, there = number % 2, 1 - number % 2
            paths.tpgs[there].switch(alua.OPTIMIZED)
            paths.tpgs[gone].switch(alua.UNAVAILABLE)
            # What multipathd does: it asks each path, and takes it back into service.
            paths.wait_state(there, alua.OPTIMIZED)
            paths.wait_state(gone, alua.UNAVAILABLE)
            # It may have been looked at while it was of no use.
            tree.wait_for("its size", partial(paths.has_size, there), 30 * tree.SLOW)
            numbers = Path("/sys/block", paths.disks[there].name, "dev").read_text().strip()
            dmsetup("message", "pair", "0", "reinstate_path", numbers)
        load.stop()


def test_size_comes_back_with_the_port(paths: Paths) -> None:
    """A disk that was looked at while its port could not be used is taken for empty, and looked at again.

    With a unit that is offline or in transition Linux's disk driver goes on for 100 seconds before that.
    """
    folder = Path("/sys/block", paths.disks[0].name)
    for _ in range(3):
        paths.tpgs[0].switch(alua.UNAVAILABLE)
        (folder / "device/rescan").write_text("1")
        assert paths.size(0) == 0
        paths.tpgs[0].switch(alua.OPTIMIZED)
        tree.wait_for("its size", partial(paths.has_size, 0), 30 * tree.SLOW)
    assert read_block(paths.disks[0]) == read_block(paths.disks[1])


def test_disk_comes_when_its_port_is_available(make_file: MakeFile) -> None:
    """Found while unavailable there is no disk; driver `local` looks again when the port can be used."""
    device, target = tree.fileio("d0", make_file("d0", SIZE)), Target("t1").make()
    tpg = DeviceGroup("dg").make(device).tpg("a", 10, target)
    tpg.switch(alua.UNAVAILABLE)
    target.luns.map(0, device)
    host = target.login("ini")
    target.enable()
    host.sg(0)
    assert not list((host.devices()[0] / "block").glob("sd*"))
    tpg.switch(alua.OPTIMIZED)
    assert len(read_block(host.disk(0))) == 512
