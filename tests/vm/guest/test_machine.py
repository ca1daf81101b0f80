# SPDX-License-Identifier: GPL-2.0-or-later
"""The test VM itself: what every other test in it relies on."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.vm.guest_plugin import KernelLog, PluggedDisk

SCST_MODULES = ()


@pytest.mark.parametrize(
    "path",
    ["/proc/self", "/sys/class", "/dev/null", "/sys/kernel/config", "/sys/kernel/debug/sched", "/dev/shm"],
)
def test_file_systems(path: str) -> None:
    assert Path(path).exists()


@pytest.mark.parametrize("folder", ["/tmp", "/run", "/etc", "/var/lib"])
def test_writable(folder: str) -> None:
    probe = Path(folder, "scst-vm-probe")
    probe.write_text("x")
    assert probe.read_text() == "x"
    probe.unlink()


def test_repository_is_read_only_on_the_host(out_dir: Path) -> None:
    """What a test writes beside the sources stays in the VM; /out is the way to the host."""
    assert Path("pyproject.toml").exists()
    (out_dir / "probe").write_text("x")
    assert os.stat(out_dir).st_dev != os.stat("/").st_dev


@pytest.mark.parametrize("program", ["sg_inq", "fio", "udevadm", "mke2fs", "modprobe"])
def test_programs(program: str) -> None:
    assert subprocess.run(["which", program], capture_output=True, check=False).returncode == 0


def test_disk_leaves_and_returns(disks: dict[str, PluggedDisk]) -> None:
    disk = disks["vm-disk-c"]
    size = Path("/sys/block", disk.node.name, "size").read_text()
    disk.unplug()
    with pytest.raises(LookupError):
        _ = disk.node
    disk.plug()
    assert Path("/sys/block", disk.node.name, "size").read_text() == size


def test_kernel_log_is_followed(kernel_log: KernelLog) -> None:
    Path("/dev/kmsg").write_text("<6>scst-vm: a line of the test\n")
    assert any("scst-vm: a line of the test" in line for line in kernel_log.read())


def test_hung_task_detector_is_armed() -> None:
    assert Path("/proc/sys/kernel/hung_task_timeout_secs").read_text().strip() == "30"
