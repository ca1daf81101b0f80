# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's multipathd over two ports of one device, with its rules for udev: what a cluster's hosts run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.vm.guest import alua, packages, tree
from tests.vm.guest.alua import DeviceGroup, Tpg
from tests.vm.guest.fio import Fio
from tests.vm.guest.test_watch import device_manager
from tests.vm.guest.tree import Target
from tests.vm.guest_plugin import command

__all__ = ("device_manager",)

SCST_MODULES = ("scst", "scst_fileio", "scst_local", "sd_mod", "sg", "dm_mod")

pytestmark = pytest.mark.usefixtures("clean_tree", "daemon")

MakeFile = Callable[[str, int], Path]
SIZE = 16
LOAD: dict[str, Any] = {"rw": "randwrite", "verify": "crc32c", "size": f"{SIZE}m", "runtime": 600}
PATIENCE = 60 * tree.SLOW
CONFIG = """
defaults {
    find_multipaths no
    user_friendly_names no
    polling_interval 1
    max_polling_interval 1
}
devices {
    device {
        vendor "SCST"
        product ".*"
        path_checker tur
        prio alua
        path_grouping_policy group_by_prio
        hardware_handler "1 alua"
        failback immediate
        no_path_retry 60
    }
}
blacklist {
    devnode "^(vd|loop|sr|ram)"
}
"""


@pytest.fixture(scope="module")
def installed() -> Iterator[None]:
    """Its packages are in the machine."""
    with packages.installed("multipath-tools", "kpartx", "sg3-utils-udev"):
        yield


@pytest.fixture(scope="module")
def daemon(installed: None, device_manager: None) -> Iterator[None]:
    """multipathd, as its unit starts it; what it says is with the output of the tests."""
    command("udevadm", "control", "--reload")
    for module in ("scsi_dh_alua", "dm_multipath"):
        command("modprobe", module)
    Path("/etc/multipath.conf").write_text(CONFIG)
    with subprocess.Popen(["multipathd", "-d", "-s"]) as process:
        tree.wait_for("multipathd", lambda: daemon_says("show daemon").startswith("pid"), PATIENCE)
        yield
        # Asked to shut down by its own tool it may be gone before it has answered.
        process.terminate()
        process.wait(PATIENCE)
    Path("/etc/multipath.conf").unlink()


def daemon_says(words: str) -> str:
    """Its answer; empty if it has none (yet)."""
    done = subprocess.run(["multipathd", *words.split()], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


@dataclass(frozen=True, slots=True)
class Map:
    """What multipathd makes of the two disks."""

    targets: tuple[Target, Target]
    tpgs: tuple[Tpg, Tpg]
    group: DeviceGroup
    disks: tuple[Path, Path]

    def told(self) -> dict[str, Any]:
        """What it says of its map; empty: there is none, or more than one."""
        text = daemon_says("show maps json")
        maps = json.loads(text)["maps"] if text else []
        return maps[0] if len(maps) == 1 else {}

    def groups(self) -> list[tuple[int, list[str]]]:
        """Priority groups: each with its priority and its disks, the best first."""
        found = [
            (group["pri"], sorted(path["dev"] for path in group["paths"]))
            for group in self.told().get("path_groups", ())
        ]
        return sorted(found, reverse=True)

    def wait_groups(self, *wanted: tuple[int, int]) -> None:
        """Groups of one path each: priority, and which disk."""
        expected = [(priority, [self.disks[disk].name]) for priority, disk in wanted]
        tree.wait_for(f"priority groups {expected}", lambda: self.groups() == expected, PATIENCE)

    @property
    def node(self) -> Path:
        """The map's node."""
        return Path("/dev", self.told()["sysfs"])

    def used(self) -> set[int]:
        """By which disks I/O goes now."""
        before = [writes(path) for path in self.disks]
        tree.wait_for("I/O", lambda: sum(map(writes, self.disks)) > sum(before) + 20, PATIENCE)
        return {disk for disk in (0, 1) if writes(self.disks[disk]) > before[disk]}

    def wait_used(self, disk: int) -> None:
        """I/O goes by this disk, and no more by the other."""
        tree.wait_for(f"I/O by {self.disks[disk].name} only", lambda: self.used() == {disk}, PATIENCE)


def writes(disk: Path) -> int:
    """Writes that a disk has done."""
    return int(Path("/sys/block", disk.name, "stat").read_text().split()[4])


@pytest.fixture
def made(make_file: MakeFile) -> Iterator[Map]:
    """Two ports, the second not optimized, and the map."""
    device = tree.fileio("d0", make_file("d0", SIZE))
    targets = Target("t1").make(), Target("t2").make()
    group = DeviceGroup("dg").make(device)
    tpgs = group.tpg("a", 10, targets[0]), group.tpg("b", 20, targets[1])
    hosts = []
    for target in targets:
        target.luns.map(0, device)
        hosts.append(target.login("ini"))
        target.enable()
    found = Map(targets, tpgs, group, (hosts[0].disk(0), hosts[1].disk(0)))
    tree.wait_for("the map", lambda: found.told().get("paths") == 2, PATIENCE)
    tpgs[1].switch(alua.NONOPTIMIZED)
    found.wait_groups((50, 0), (10, 1))
    yield found
    # udev may still look at it.
    name = found.told()["name"]
    tree.wait_for("the map's end", lambda: daemon_says(f"remove map {name}") == "ok\n", PATIENCE)
    for target in targets:
        target.enable(False)
    command("udevadm", "settle")


def test_one_map(made: Map) -> None:
    """By page 83h, both paths, in the groups that their states say, with the device handler; to others
    they are no disks of their own any more.
    """
    told = made.told()
    naa = tree.read(tree.ROOT / "devices/fileio/d0/id/naa").removeprefix("naa.").removeprefix("0x")
    assert told["uuid"].endswith(naa)
    assert (told["paths"], told["hwhandler"]) == (2, "1 alua")
    assert {path["chk_st"] for group in told["path_groups"] for path in group["paths"]} == {"ready"}
    for disk in made.disks:
        assert "ID_FS_TYPE=mpath_member" in command("udevadm", "info", str(disk))
    made.tpgs[1].switch(alua.STANDBY)
    tree.wait_for("a path in standby", lambda: "ghost" in str(made.told()), PATIENCE)
    made.tpgs[0].switch(alua.NONOPTIMIZED)
    made.tpgs[1].switch(alua.OPTIMIZED)
    made.wait_groups((50, 1), (10, 0))


def test_failover_and_failback(made: Map, tmp_path: Path) -> None:
    """A port goes out of service under verified load, and comes back: so does the I/O."""
    with Fio(tmp_path, made.node, **LOAD) as load:
        made.wait_used(0)
        made.tpgs[0].switch(alua.UNAVAILABLE)
        made.tpgs[1].switch(alua.OPTIMIZED)
        made.wait_used(1)
        made.tpgs[0].switch(alua.OPTIMIZED)
        made.tpgs[1].switch(alua.NONOPTIMIZED)
        made.wait_groups((50, 0), (10, 1))
        made.wait_used(0)
        load.stop()
