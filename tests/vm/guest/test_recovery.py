# SPDX-License-Identifier: GPL-2.0-or-later
"""Error handling of a real initiator: resets under load, timeouts of a back end that hangs, aborts."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.fio import Fio
from tests.vm.guest.pulse import pulse
from tests.vm.guest.scsi import Unit
from tests.vm.guest.tree import Device, Initiator, Target
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg", "dm_mod")

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
TIMEOUT = 2
SG_QUEUE = 16
HUNG_PER_UNIT = 8  # a host has 64 tags per CPU, and each of its LUNs a share: with more, sending would wait
BYSTANDER_WRITES = 40
HEALTHY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Mapper:
    """A device-mapper device over a disk, whose I/O can be held back."""

    name: str

    @property
    def node(self) -> Path:
        """Its node, made by the kernel itself: nothing depends on udev."""
        for file in Path("/sys/block").glob("dm-*/dm/name"):
            if file.read_text().strip() == self.name:
                return Path("/dev", file.parent.parent.name)
        raise LookupError(f"no mapping {self.name}")

    def suspend(self) -> None:
        """From here on I/O waits."""
        dmsetup("suspend", "--noflush", "--nolockfs", self.name)

    def resume(self) -> None:
        """Let waiting I/O go."""
        dmsetup("resume", self.name)


def dmsetup(*argv: str) -> None:
    """Run dmsetup without waiting for udev."""
    guest_plugin.command("dmsetup", "--noudevsync", *argv)


@pytest.fixture
def mapper(disks: dict[str, PluggedDisk]) -> Iterator[Mapper]:
    """A linear mapping of a whole disk."""
    node = disks["vm-disk-b"].node
    sectors = Path("/sys/block", node.name, "size").read_text().strip()
    dmsetup("create", "hang", "--table", f"0 {sectors} linear {node} 0")
    found = Mapper("hang")
    yield found
    dmsetup("resume", "hang")
    # What a failed test left would keep the mapping in use.
    guest_plugin.wipe()
    dmsetup("remove", "--retry", "hang")


def serve(*devices: Device) -> tuple[Initiator, Initiator]:
    """Two initiators that see these devices as LUNs from 0 on."""
    target = Target("t1").make()
    for lun, device in enumerate(devices):
        target.luns.map(lun, device)
    hosts = target.login("first"), target.login("second")
    target.enable()
    return hosts


def set_timeout(disk: Path, seconds: int) -> None:
    """The initiator's patience with a disk."""
    Path("/sys/block", disk.name, "device/timeout").write_text(str(seconds))


def sg_reset(unit: Path, option: str) -> None:
    """Reset through one initiator; only what is asked for."""
    done = subprocess.run(["sg_reset", "-N", option, str(unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"sg_reset {option} {unit}: {done.stderr}"


# --- resets under load ---


@pytest.mark.parametrize("kind", ["buffered", "direct", "block"])
def test_resets_under_load(
    kind: str, make_file: MakeFile, tmp_path: Path, disks: dict[str, PluggedDisk]
) -> None:
    """The other initiator resets unit and target again and again; this one's I/O is repeated and right."""
    if kind == "block":
        device = tree.blockio("d0", disks["vm-disk-a"].node)
    else:
        device = tree.fileio("d0", make_file("d0", 16), o_direct=kind == "direct")
    first, second = serve(device)
    other = second.sg(0)
    with Fio(tmp_path, first.disk(0), verify="crc32c", verify_backlog=64, runtime=60) as load:
        for number in range(9):
            sg_reset(other, "--target" if number % 3 == 0 else "--device")
        result = load.stop()
    assert result.writes > 0


def test_own_reset_under_load(make_file: MakeFile, tmp_path: Path) -> None:
    """The initiator under load resets its own unit."""
    first, _ = serve(tree.fileio("d0", make_file("d0", 16)))
    with Fio(tmp_path, first.disk(0), verify="crc32c", verify_backlog=64, runtime=60) as load:
        for _ in range(5):
            sg_reset(first.sg(0), "--device")
        load.stop()


# --- a back end that hangs ---


@pytest.mark.parametrize("handler", ["blockio", "fileio"])
def test_timeout_abort_and_repeat(handler: str, mapper: Mapper, tmp_path: Path) -> None:
    """I/O hangs beyond the initiator's timeout: it is aborted, the abort is answered when the back end lets
    go, the I/O is repeated, and what is on the medium is what was written.
    """
    mount = None
    if handler == "blockio":
        device = tree.blockio("slow", mapper.node)
    else:
        mount = tmp_path / "mount"
        mount.mkdir()
        guest_plugin.command("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", str(mapper.node))
        guest_plugin.command("mount", "-t", "ext4", str(mapper.node), str(mount))
        with (mount / "file").open("wb") as file:
            file.write(bytes(32 << 20))
            os.fsync(file.fileno())
        device = tree.fileio("slow", mount / "file", o_direct=True)
    try:
        hang_and_resume(mapper, serve(device)[0], tmp_path)
    finally:
        mapper.resume()
        guest_plugin.wipe()
        if mount is not None:
            guest_plugin.command("umount", str(mount))


def test_hang_after_hang(mapper: Mapper, tmp_path: Path) -> None:
    """I/O that was aborted and repeated hangs again: nobody takes it back from the target a second time."""
    hang_and_resume(mapper, serve(tree.blockio("slow", mapper.node))[0], tmp_path, again=True)


def hang_and_resume(mapper: Mapper, host: Initiator, folder: Path, again: bool = False) -> None:
    """fio with verification across a hang of three timeouts, or two of them."""
    disk = host.disk(0)
    set_timeout(disk, TIMEOUT)
    counter = Path("/sys/block", disk.name, "device/iotmo_cnt")
    with Fio(folder, disk, verify="crc32c", verify_backlog=64, runtime=60, size="24m") as load:
        mapper.suspend()
        tree.wait_for("the initiator to lose patience", lambda: counter_has_moved(counter), 5 * TIMEOUT)
        time.sleep(TIMEOUT)
        assert load.running
        mapper.resume()
        if again:
            mapper.suspend()
            time.sleep(4 * TIMEOUT)
            assert load.running
            assert outstanding(host, 0) > 0
            mapper.resume()
        result = load.stop()
    assert result.writes > 0


def counter_has_moved(path: Path) -> bool:
    """Hexadecimal counters of a SCSI device: is it above zero? Kernels without it do not say."""
    return not path.exists() or int(path.read_text(), 16) > 0


def outstanding(host: Initiator, lun: int) -> int:
    """Commands a SCSI device has been sent and not answered."""
    folder = host.devices()[lun]
    return int((folder / "iorequest_cnt").read_text(), 16) - int((folder / "iodone_cnt").read_text(), 16)


def inflight(disk: Path) -> int:
    """Commands in flight at a disk."""
    return sum(int(number) for number in Path("/sys/block", disk.name, "inflight").read_text().split())


def test_sg_timeout_is_aborted(mapper: Mapper) -> None:
    """A command of sg that times out comes back as such, after its abort, and was not executed twice."""
    host, _ = serve(tree.blockio("slow", mapper.node))
    host.disk(0)
    with Unit(host.sg(0)) as unit:
        unit.attentions()
        unit.good(scsi.write10(0, 8), write=bytes(4096))
        mapper.suspend()
        answers: list[scsi.Answer] = []
        data = random.Random(1).randbytes(4096)
        writer = threading.Thread(
            target=lambda: answers.append(unit.command(scsi.write10(0, 8), write=data, seconds=TIMEOUT))
        )
        start = pulse.time()
        writer.start()
        time.sleep(2 * TIMEOUT)
        assert answers == [], "the abort is answered only when the medium can't change any more"
        mapper.resume()
        writer.join(30)
        assert not writer.is_alive()
        assert answers[0].host_status != 0, str(answers[0])
        assert pulse.time() - start < 20
        unit.attentions()
        assert unit.good(scsi.read10(0, 8), 4096) in (data, bytes(4096))


def test_reset_waits_for_the_back_end(mapper: Mapper) -> None:
    """A LUN reset of the other initiator aborts what hangs, and is answered when that is over."""
    first, second = serve(tree.blockio("slow", mapper.node))
    with scsi.opened(first.sg(0), second.sg(0)) as (unit, other):
        unit.attentions()
        other.attentions()
        mapper.suspend()
        answers: list[scsi.Answer] = []
        reader = threading.Thread(target=lambda: answers.append(unit.command(scsi.read10(0, 8), read=4096)))
        reader.start()
        tree.wait_for("the command to hang", lambda: outstanding(first, 0) > 0)
        reset = subprocess.Popen(["sg_reset", "-N", "--device", str(second.sg(0))])
        time.sleep(1)
        assert reset.poll() is None
        assert answers == []
        mapper.resume()
        assert reset.wait(20) == 0
        reader.join(20)
        assert not reader.is_alive()
        assert scsi.RESET in other.attentions()
        assert scsi.RESET in unit.attentions() or answers[0].sense == scsi.RESET
        assert unit.good(scsi.read10(0, 8), 4096) is not None


def test_logout_and_disable_wait_for_the_back_end(mapper: Mapper) -> None:
    """Everything is removed while I/O hangs; it goes when the back end lets go, and nothing else waits."""
    first, second = serve(tree.blockio("slow", mapper.node), tree.nullio("n0"))
    with scsi.opened(first.sg(0), second.sg(1)) as (unit, bystander):
        unit.attentions()
        bystander.attentions()
        mapper.suspend()
        reader = threading.Thread(
            target=lambda: tree.errno_of(lambda: unit.command(scsi.read10(0, 8), read=4096))
        )
        reader.start()
        tree.wait_for("the command to hang", lambda: outstanding(first, 0) > 0)
        first.target.luns.unmap(0)
        (first.target.path / "hosts/first").rmdir()
        Device("blockio", "slow").remove()
        for _ in range(50):
            start = pulse.time()
            assert bystander.command(scsi.read10(0, 8), read=4096).status in (scsi.GOOD, scsi.CHECK_CONDITION)
            assert pulse.time() - start < 1
        mapper.resume()
        reader.join(20)
        assert not reader.is_alive()


def test_unmapped_while_it_hangs_again(mapper: Mapper) -> None:
    """A read, aborted and repeated, hangs again while its LUN goes: it ends when the back end lets go."""
    host, _ = serve(tree.blockio("slow", mapper.node))
    disk = host.disk(0)
    set_timeout(disk, TIMEOUT)
    counter = Path("/sys/block", disk.name, "device/iotmo_cnt")
    mapper.suspend()
    command = ["dd", f"if={disk}", "of=/dev/null", "bs=4k", "count=1", "iflag=direct"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as reader:
        tree.wait_for("the initiator to lose patience", lambda: counter_has_moved(counter), 5 * TIMEOUT)
        mapper.resume()
        mapper.suspend()
        time.sleep(2 * TIMEOUT)
        host.target.luns.unmap(0)
        time.sleep(3 * TIMEOUT)
        mapper.resume()
        reader.wait(30)
    assert host.view() == ""


def write_blocks(unit: Unit, done: list[int]) -> None:
    """Write some blocks one after the other, and list those that are done."""
    for number in range(BYSTANDER_WRITES):
        unit.good(scsi.write10(number, 1), write=bytes(512))
        done.append(number)


def test_hanging_files_do_not_stop_others(mapper: Mapper, tmp_path: Path, make_file: MakeFile) -> None:
    """Commands of several devices hang in one file system; a device of the same initiator goes on."""
    mount = tmp_path / "mount"
    mount.mkdir()
    guest_plugin.command("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", str(mapper.node))
    guest_plugin.command("mount", "-t", "ext4", str(mapper.node), str(mount))
    names = [f"h{number}" for number in range(6)]
    for name in names:
        (mount / name).write_bytes(bytes(4 << 20))
    guest_plugin.command("sync")
    Path("/proc/sys/vm/drop_caches").write_text("3")
    units: list[Unit] = []
    try:
        devices = [tree.fileio(name, mount / name) for name in names]
        healthy = tree.fileio("healthy", make_file("healthy", 1))
        first, second = serve(*devices, healthy)
        nodes = [host.sg(lun) for host in (first, second) for lun in range(len(names))]
        units += [Unit(node) for node in nodes]
        with Unit(second.sg(len(names))) as bystander:
            for unit in (*units, bystander):
                unit.attentions()
            mapper.suspend()
            for unit in units:
                for number in range(HUNG_PER_UNIT):
                    unit.start(scsi.read10((number + 1) * 512, 8), 4096)  # the first blocks are cached
            hosts = ((host, lun) for host in (first, second) for lun in range(len(names)))
            assert sum(outstanding(host, lun) for host, lun in hosts) == HUNG_PER_UNIT * len(units)
            done: list[int] = []
            writer = threading.Thread(target=write_blocks, args=(bystander, done))
            writer.start()
            writer.join(HEALTHY_SECONDS)
            in_time = len(done)
            mapper.resume()
            writer.join(30)
        assert in_time == BYSTANDER_WRITES, f"{in_time} writes to a healthy file in {HEALTHY_SECONDS} s"
    finally:
        mapper.resume()
        for unit in units:
            tree.wait_for("what hung to end", unit.idle, 30)
            unit.close()
        guest_plugin.wipe()
        guest_plugin.command("umount", str(mount))


def test_modules_unload_after_errors(mapper: Mapper) -> None:
    """The last host, LUN and device gone, every module unloads and loads again."""
    first, _ = serve(tree.blockio("slow", mapper.node))
    sg_reset(first.sg(0), "--device")
    guest_plugin.wipe()
    assert guest_plugin.left_behind() == []
    for name in guest_plugin.product_modules():
        guest_plugin.command("modprobe", name)
