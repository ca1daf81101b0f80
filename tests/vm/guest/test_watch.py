# SPDX-License-Identifier: GPL-2.0-or-later
"""The watcher on the real kernel: disks are pulled and put back, file systems mounted, and nobody types a
command.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

import pytest
import pyudev

from pyscstadmin.admin import Admin
from pyscstadmin.config.model import Device, Group, Lun, Target
from tests.vm import guest_plugin
from tests.vm.guest.long import often
from tests.vm.guest.patience import SLOW, busy_time
from tests.vm.guest.pulse import pulse
from tests.vm.guest_plugin import PluggedDisk, command

INITIATOR = "iqn.2026-11.com.example:a"
LIMIT = 10.0 * SLOW
# Starting an interpreter with its libraries over 9p, nothing of it cached yet.
START_LIMIT = 90.0 * SLOW


@pytest.fixture(scope="module", autouse=True)
def device_manager() -> Iterator[None]:
    """The distribution's device manager, started here unless the machine has it (`--udev`)."""
    started = (
        subprocess.run(["udevadm", "control", "--ping"], capture_output=True, check=False).returncode != 0
    )
    if started:
        command("/lib/systemd/systemd-udevd", "--daemon")
    yield
    if started:
        command("udevadm", "control", "--exit")


def confinement() -> list[str]:
    """Run a program with the capabilities its unit leaves it, and no way to get others."""
    unit = Path("udev/scst-watch.service").read_text().splitlines()
    (words,) = (line.partition("=")[2].split() for line in unit if line.startswith("CapabilityBoundingSet="))
    kept = ",".join(f"+{word.removeprefix('CAP_').lower()}" for word in words)
    return ["setpriv", "--no-new-privs", f"--bounding-set=-all,{kept}", "--inh-caps=-all", "--"]


class Watch:
    """A running `scstadmin watch --json`, with its lines and the times of their arrival."""

    def __init__(self) -> None:
        self.lines: Queue[tuple[float, dict[str, Any]]] = Queue()
        self.past: list[dict[str, Any]] = []
        argv = [*confinement(), sys.executable, "-m", "pyscstadmin", "--json", "watch"]
        # A manager as systemd would be one: it is told when the watcher is ready.
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(f"\0scst-test-{os.getpid()}")
        self.manager.settimeout(START_LIMIT)
        environment = os.environ | {"NOTIFY_SOCKET": f"@scst-test-{os.getpid()}"}
        self.child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment)
        self.reader = Thread(target=self._read, daemon=True)
        self.reader.start()
        assert self.manager.recv(200).startswith(b"READY=1\n")

    def _read(self) -> None:
        assert self.child.stdout is not None
        with self.child.stdout as lines:
            for line in lines:
                self.lines.put((pulse.time(), json.loads(line)))

    def busy(self) -> float:
        """Seconds that it has run, or had no CPU to run on: it waited for nobody then."""
        return busy_time(self.child.pid, self.child.pid)

    def wait(self, **wanted: str) -> float:
        """The time at which the line with these fields came. Fails after `LIMIT` seconds."""
        return self._wait([wanted])

    def wait_each(self, devices: Iterable[str], **wanted: str) -> float:
        """The time at which the last of these devices had such a line; in whatever order they come."""
        return self._wait([{"device": device, **wanted} for device in devices])

    def _wait(self, missing: list[dict[str, str]]) -> float:
        end = pulse.time() + LIMIT
        when = 0.0
        while missing:
            try:
                when, line = self.lines.get(timeout=max(0.0, end - pulse.time()))
            except Empty:
                stack = Path(f"/proc/{self.child.pid}/stack").read_text()
                said = "\n".join(str(line["text"]) for line in self.past)
                pytest.fail(f"no line {missing} in {LIMIT:g} s; the watcher is at\n{stack}and said\n{said}")
            self.past.append(line)
            missing = [wanted for wanted in missing if not wanted.items() <= line.items()]
        return when

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.child.send_signal(signal.SIGTERM)
        try:
            return self.child.wait(LIMIT)
        finally:
            self.child.kill()
            self.reader.join(LIMIT)
            self.manager.close()


@pytest.fixture
def admin() -> Iterator[Admin]:
    with Admin() as made:
        made.clear()
        yield made
        made.clear()


@pytest.fixture
def watch() -> Iterator[Callable[[], Watch]]:
    """Starts the watcher; it must end with status 0."""
    started: list[Watch] = []

    def start() -> Watch:
        started.append(Watch())
        return started[-1]

    yield start
    for one in started:
        if one.child.poll() is None:
            assert one.stop() == 0


def by_id(disk: PluggedDisk) -> Path:
    return Path("/dev/disk/by-id", f"virtio-{disk.serial}")


def serve(admin: Admin, *devices: Device, hosts: tuple[str, ...] = (INITIATOR,)) -> None:
    """A target with one host that sees these devices as LUNs 0, 1, ..."""
    for device in devices:
        admin.create_device(device)
    luns = tuple(Lun(number, device.name) for number, device in enumerate(devices))
    group = Group("a", initiators=(INITIATOR,), luns=luns)
    admin.create_target(Target("local", "t1", hosts=hosts, groups=(group,)))


def sd_node(admin: Admin, lun: int) -> Path:
    """The disk that the initiator has for a LUN, when it is there."""
    end = pulse.time() + LIMIT
    while pulse.time() < end:
        # It logs in shortly after it was made.
        host = admin.tree.read(f"targets/local/t1/hosts/{INITIATOR}/host") or "none"
        for found in Path("/sys/class/scsi_device").glob(f"{host}:0:*:{lun}/device/block/*"):
            if Path("/dev", found.name).exists():
                return Path("/dev", found.name)
        time.sleep(0.02)
    pytest.fail(f"no disk for LUN {lun} in {LIMIT:g} s")


def read_block(node: Path) -> bytes:
    """The first block, from the device and not from the cache."""
    return subprocess.run(
        ["dd", f"if={node}", "iflag=direct", "bs=4096", "count=1"], capture_output=True, check=True
    ).stdout


@pytest.fixture
def disk(disks: dict[str, PluggedDisk]) -> PluggedDisk:
    """A disk with its link, which udev may still be making."""
    found = disks["vm-disk-b"]
    if "vm-disk-b" not in guest_plugin.find_disks():  # an earlier test ended in the middle
        found.plug()
    command("udevadm", "trigger", "--action=add", "--subsystem-match=block")
    command("udevadm", "settle")
    assert by_id(found).exists()
    return found


def test_idle_disk_is_pulled_and_put_back(
    admin: Admin, watch: Callable[[], Watch], disk: PluggedDisk
) -> None:
    """Without a command from the initiator the kernel would not notice; the watcher does, within a second."""
    pattern = os.urandom(4096)
    with disk.node.open("r+b") as raw:
        raw.write(pattern)
    serve(admin, Device("db", "blockio", path=str(by_id(disk))))
    running = watch()
    running.wait(device="db", state="active")
    sd = sd_node(admin, 0)
    assert read_block(sd) == pattern
    before = admin.config()
    pulled, busy = pulse.time(), running.busy()
    disk.unplug()
    parked = running.wait(device="db", state="parked")
    slept_parking = parked - pulled - (running.busy() - busy)
    assert admin.config() == before
    assert admin.tree.read("devices/blockio/db/error") in ("ENOENT", "ENXIO", "ENODEV")
    # From the moment at which the device manager has made the link that the device is configured with.
    with Link() as link:
        disk.plug()
        linked, busy = link.wait(disk), running.busy()
    active = running.wait(device="db", state="active")
    slept_binding = active - linked - (running.busy() - busy)
    assert read_block(sd) == pattern
    assert admin.config() == before
    assert slept_parking < 1.0 * SLOW
    assert slept_binding < 1.0 * SLOW


class Link:
    """Hears when the device manager is done with a disk."""

    def __enter__(self) -> Link:
        self._monitor = pyudev.Monitor.from_netlink(pyudev.Context(), "udev")
        self._monitor.filter_by("block")
        self._monitor.start()
        return self

    def __exit__(self, *exception: object) -> None:
        del self._monitor

    def wait(self, disk: PluggedDisk) -> float:
        """The time at which that is said. Fails after `LIMIT` seconds."""
        end = pulse.time() + LIMIT
        while pulse.time() < end:
            event = self._monitor.poll(0.5)
            if event is not None and str(by_id(disk)) in event.device_links:
                return pulse.time()
        pytest.fail(f"nothing was heard of {by_id(disk)} in {LIMIT:g} s")


def test_disk_under_load_is_pulled_and_put_back(
    admin: Admin, watch: Callable[[], Watch], disk: PluggedDisk
) -> None:
    """The kernel parks it at the next command; the LUN lives on and works again afterwards."""
    serve(admin, Device("db", "blockio", path=str(by_id(disk))))
    running = watch()
    running.wait(device="db", state="active")
    sd = sd_node(admin, 0)
    reader = subprocess.Popen(
        ["sh", "-c", f"while dd if={sd} iflag=direct bs=4096 count=64 of=/dev/null; do :; done"],
        stderr=subprocess.DEVNULL,
    )
    try:
        disk.unplug()
        running.wait(device="db", state="parked")
        disk.plug()
        running.wait(device="db", state="active")
    finally:
        reader.kill()
        reader.wait()
    assert len(read_block(sd)) == 4096


def test_again_and_again(admin: Admin, watch: Callable[[], Watch], disk: PluggedDisk) -> None:
    serve(admin, Device("db", "blockio", path=str(by_id(disk))))
    running = watch()
    running.wait(device="db", state="active")
    for _ in range(often(3, 30)):
        disk.unplug()
        running.wait(device="db", state="parked")
        disk.plug()
        running.wait(device="db", state="active")
    assert len(read_block(sd_node(admin, 0))) == 4096


def test_disk_that_is_late_at_configuration_time(
    admin: Admin, watch: Callable[[], Watch], disk: PluggedDisk
) -> None:
    link = by_id(disk)
    running = watch()
    disk.unplug()
    serve(admin, Device("db", "blockio", path=str(link)))
    running.wait(device="db", state="parked", error="ENOENT")
    disk.plug()
    running.wait(device="db", state="active")
    assert len(read_block(sd_node(admin, 0))) == 4096


def test_disk_that_left_while_nobody_watched(
    admin: Admin, watch: Callable[[], Watch], disk: PluggedDisk
) -> None:
    """The kernel parks it at a command. The initiator holds the command back, and it succeeds in the end."""
    serve(admin, Device("db", "blockio", path=str(by_id(disk))))
    sd = sd_node(admin, 0)
    read_block(sd)  # waits for those who look at a new disk: they would hold it open for minutes
    command("udevadm", "settle")
    disk.unplug()
    argv = ["dd", f"if={sd}", "iflag=direct", "bs=4096", "count=1", "of=/dev/null"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as reader:
        end = pulse.time() + LIMIT
        while admin.tree.read("devices/blockio/db/state") != "parked":
            assert pulse.time() < end
            time.sleep(0.02)
        assert admin.tree.read("devices/blockio/db/error") == "ENODEV"
        disk.plug()
        command("udevadm", "settle")
        watch().wait(device="db", state="active")
        assert reader.wait(LIMIT) == 0


def test_device_parked_on_request_stays_parked(
    admin: Admin, watch: Callable[[], Watch], disk: PluggedDisk
) -> None:
    serve(admin, Device("db", "blockio", path=str(by_id(disk))))
    running = watch()
    running.wait(device="db", state="active")
    admin.deactivate("db")
    running.wait(device="db", state="parked")
    disk.unplug()
    disk.plug()
    command("udevadm", "settle")
    assert admin.tree.read("devices/blockio/db/state") == "parked"
    assert admin.activate("db") == "active"
    running.wait(device="db", state="active")


def test_disk_held_by_somebody_else_is_taken_when_free(
    admin: Admin, watch: Callable[[], Watch], disk: PluggedDisk
) -> None:
    disk.unplug()
    # No initiator yet: it would wait for the disk to become ready, and the device manager for the initiator.
    serve(admin, Device("db", "blockio", path=str(by_id(disk))), hosts=())
    disk.plug()
    command("udevadm", "settle")
    holder = os.open(disk.node, os.O_RDWR | os.O_EXCL)
    try:
        running = watch()
        running.wait(event="failed", device="db", error="EBUSY")
        assert admin.tree.read("devices/blockio/db/state") == "parked"
    finally:
        os.close(holder)
    running.wait(device="db", state="active")


def test_file_on_a_file_system_that_is_mounted_later(
    admin: Admin, watch: Callable[[], Watch], tmp_path: Path
) -> None:
    image = tmp_path / "fs.img"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    command("mke2fs", "-q", "-F", str(image))
    mount = tmp_path / "mnt"
    mount.mkdir()
    command("mount", "-o", "loop", str(image), str(mount))
    (mount / "da.img").write_bytes(b"late" * 4096)
    os.utime(mount / "da.img", (1, 1))
    command("umount", str(mount))
    serve(admin, Device("da", "fileio", path=str(mount / "da.img")))
    running = watch()
    running.wait(device="da", state="parked", error="ENOENT")
    command("mount", "-o", "loop", str(image), str(mount))
    mounted, busy = pulse.time(), running.busy()
    active = running.wait(device="da", state="active")
    assert active - mounted - (running.busy() - busy) < 1.0 * SLOW
    assert read_block(sd_node(admin, 0)) == b"late" * 1024
    assert running.stop() == 0
    admin.clear()
    command("umount", str(mount))


def test_modules_may_be_reloaded_under_the_watcher(
    admin: Admin, watch: Callable[[], Watch], disk: PluggedDisk
) -> None:
    running = watch()
    assert guest_plugin.unload() == []
    running.wait(event="absent")
    for name in guest_plugin.product_modules():
        command("modprobe", name)
    running.wait(event="present")
    serve(admin, Device("db", "blockio", path=str(by_id(disk))))
    running.wait(device="db", state="active")


def test_rules(admin: Admin, disk: PluggedDisk) -> None:
    """The module wants the watcher, systemd knows class scst, links by content stay with the backing."""
    rules = Path("/run/udev/rules.d/60-scst.rules")
    rules.parent.mkdir(parents=True, exist_ok=True)
    rules.write_bytes(Path("udev/60-scst.rules").read_bytes())
    command("udevadm", "control", "--reload")
    serve(admin, Device("db", "blockio", path=str(by_id(disk))))
    sd = sd_node(admin, 0)
    said = command("udevadm", "test", "--action=add", "/sys/module/scst")
    assert "SYSTEMD_WANTS=scst-watch.service" in said
    assert not [line for line in said.splitlines() if "60-scst.rules:" in line and "nvalid" in line]
    command("udevadm", "trigger", "--settle", "/sys/class/scst/device.db", f"/sys/class/block/{sd.name}")
    assert "E: TAGS=:systemd:" in command("udevadm", "info", "/sys/class/scst/device.db")
    session = next(Path("/sys/class/scst").glob("session.*"))
    command("udevadm", "trigger", "--settle", str(session))
    assert "systemd" not in command("udevadm", "info", str(session))
    assert "L: -100" in command("udevadm", "info", str(sd)).splitlines()
    assert "L: -100" not in command("udevadm", "info", str(disk.node)).splitlines()
    rules.unlink()
    command("udevadm", "control", "--reload")
