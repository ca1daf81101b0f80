# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk that fails, hangs or is slow under I/O, while units are reset, parked, mapped and logged in to.

Every block holds in the end what was acknowledged last. ``SCST_FAULT_SECONDS``: how long each case takes.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.debug.guest import faults
from tests.debug.guest.ledger import Ledger
from tests.vm import guest_plugin
from tests.vm.guest import tree
from tests.vm.guest.patience import SLOW
from tests.vm.guest.test_recovery import Mapper, dmsetup, set_timeout, sg_reset
from tests.vm.guest.tree import Device, Initiator, Target
from tests.vm.guest_plugin import PluggedDisk

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "sd_mod", "sg", "dm_mod")

pytestmark = [
    pytest.mark.skipif(bool(faults.missing()), reason=faults.missing()),
    pytest.mark.usefixtures("clean_tree"),
]

SECONDS = float(os.environ.get("SCST_FAULT_SECONDS", "6"))
TIMEOUT = 3  # s, the initiator's patience
NAME = "faulty"


@dataclass(frozen=True, slots=True)
class Stage:
    """A disk whose mapping can be replaced; a device on it; an initiator that uses it, one that disturbs."""

    below: Path
    sectors: int
    device: Device
    target: Target
    user: Initiator
    other: Initiator

    def table(self, text: str) -> None:
        """Replace the mapping; {disk} and {sectors} are filled in. I/O waits meanwhile."""
        table = f"0 {self.sectors} " + text.format(disk=self.below, sectors=self.sectors)
        dmsetup("suspend", "--noflush", "--nolockfs", NAME)
        dmsetup("load", NAME, "--table", table)
        dmsetup("resume", NAME)

    def healthy(self) -> None:
        """The disk works, and is served."""
        self.table("linear {disk} 0")
        if self.device.state != "active":
            self.device.activate()

    def reset(self, option: str) -> None:
        """The other initiator resets."""
        sg_reset(self.other.sg(0), option)


@pytest.fixture
def stage(disks: dict[str, PluggedDisk]) -> Iterator[Stage]:
    """All is well."""
    below = disks["vm-disk-b"].node
    sectors = int(Path("/sys/block", below.name, "size").read_text())
    dmsetup("create", NAME, "--table", f"0 {sectors} linear {below} 0")
    device = tree.blockio("d0", Mapper(NAME).node)
    target = Target("t1").make()
    target.luns.map(0, device)
    hosts = target.login("user"), target.login("other")
    target.enable()
    made = Stage(below, sectors, device, target, *hosts)
    yield made
    made.table("linear {disk} 0")
    guest_plugin.wipe()
    guest_plugin.leaked_counters()
    dmsetup("remove", "--retry", NAME)


def again_and_again(*steps: Callable[[], object], pause: float = 0.1) -> None:
    """One step after the other for the time of a case."""
    end = time.monotonic() + SECONDS
    for step in itertools.cycle(steps):
        if time.monotonic() > end:
            return
        step()
        time.sleep(pause)


@contextmanager
def used(stage: Stage, blocks: int, patience: int = TIMEOUT) -> Iterator[Ledger]:
    """The user's I/O, up to so many blocks at once; in the end the disk is well, and its content checked."""
    disk = stage.user.disk(0)
    set_timeout(disk, int(patience * SLOW))
    with Ledger(disk, blocks=blocks) as ledger:
        tree.wait_for("I/O", lambda: ledger.done > 10, 30 * SLOW)
        yield ledger
        stage.healthy()
        done = ledger.done
        tree.wait_for("I/O afterwards", lambda: ledger.done > done + 10, 60 * SLOW)
    ledger.judge()
    print(f"{ledger.done} requests done, {ledger.failed} failed")


SIZES = pytest.mark.parametrize("blocks", [1, 60], ids=["small", "large"])


@SIZES
def test_resets_of_a_slow_disk(stage: Stage, blocks: int) -> None:
    with used(stage, blocks) as ledger:
        stage.table("delay {disk} 0 200")
        again_and_again(partial(stage.reset, "--device"), partial(stage.reset, "--target"))
    assert ledger.failed == 0


def test_commands_time_out(stage: Stage) -> None:
    """The disk takes longer than the initiator waits: aborts, and commands that are sent again."""
    with used(stage, 4, patience=1):
        stage.table(f"delay {{disk}} 0 {int(1500 * SLOW)}")
        again_and_again(lambda: None, pause=1)


def test_completions_get_lost(stage: Stage) -> None:
    """The initiator's block layer forgets every tenth answer, and aborts what has long ended."""
    with used(stage, 4, patience=1) as ledger, lost_answers(stage.user.disk(0)):
        again_and_again(lambda: None, pause=1)
    assert ledger.failed == 0


@contextmanager
def lost_answers(disk: Path) -> Iterator[None]:
    """fail_io_timeout: requests whose end the block layer pretends not to see."""
    folder, flag = faults.DEBUG / "fail_io_timeout", Path("/sys/block", disk.name, "io-timeout-fail")
    settings = {"verbose": 0, "interval": 10, "times": -1, "stacktrace-depth": 0, "task-filter": "N"}
    for name, value in settings.items():
        (folder / name).write_text(str(value))
    flag.write_text("1")
    (folder / "probability").write_text("100")
    try:
        yield
    finally:
        (folder / "probability").write_text("0")
        flag.write_text("0")


@pytest.mark.parametrize("delay", [0, 300])
def test_parking(stage: Stage, delay: int) -> None:
    with used(stage, 4):
        stage.table(f"delay {{disk}} 0 {delay}")
        again_and_again(partial(stage.device.activate, False), partial(stage.device.activate, True))


def test_disk_that_fails_now_and_then(stage: Stage) -> None:
    with used(stage, 4):
        stage.table("flakey {disk} 0 1 1")
        again_and_again(partial(stage.reset, "--device"), pause=0.5)


def test_disk_that_loses_writes_says_so(stage: Stage) -> None:
    """A second in which every write fails, and reads do not."""
    with used(stage, 4):
        stage.table("flakey {disk} 0 1 1 1 error_writes")
        again_and_again(lambda: None, pause=0.5)


def test_disk_that_fails(stage: Stage) -> None:
    with used(stage, 4):
        again_and_again(partial(stage.table, "error"), partial(stage.table, "linear {disk} 0"), pause=0.3)


@SIZES
def test_requests_that_fail(stage: Stage, blocks: int) -> None:
    with used(stage, blocks), faults.failing_requests(stage.below, 20) as failed:
        again_and_again(lambda: None, pause=0.5)
    assert failed["requests"] > 0


def test_requests_that_fail_while_parking(stage: Stage) -> None:
    park, activate = partial(stage.device.activate, False), partial(stage.device.activate, True)
    with used(stage, 60), faults.failing_requests(stage.below, 20):
        again_and_again(partial(stage.reset, "--device"), park, activate)


def test_mapping(stage: Stage) -> None:
    """The user's LUN goes and comes back; its disk is another one then."""
    with Ledger(stage.user.disk(0), blocks=8) as ledger:
        tree.wait_for("I/O", lambda: ledger.done > 10, 30 * SLOW)
        unmap, wait = partial(stage.target.luns.unmap, 0), partial(time.sleep, 0.2)
        again_and_again(unmap, wait, partial(stage.target.luns.map, 0, stage.device), wait)
    ledger.close()


def test_logins(stage: Stage) -> None:
    with used(stage, 8) as ledger:
        again_and_again(partial(stage.target.logout, "other"), partial(stage.target.login, "other"))
    assert ledger.failed == 0


def test_disk_is_pulled(disks: dict[str, PluggedDisk]) -> None:
    """Again and again under I/O, which waits until the disk is back, maybe with another name."""
    disk = disks["vm-disk-c"]
    device = tree.blockio("d0", disk.node)
    target = Target("t1").make()
    target.luns.map(0, device)
    user = target.login("user")
    target.enable()

    def out_and_back() -> None:
        disk.unplug()
        tree.wait_for("parked", lambda: device.state == "parked", 20 * SLOW)
        disk.plug()
        device.set("path", disk.node)
        device.activate()

    with Ledger(user.disk(0), blocks=8) as ledger:
        tree.wait_for("I/O", lambda: ledger.done > 10, 30 * SLOW)
        again_and_again(out_and_back)
        done = ledger.done
        tree.wait_for("I/O afterwards", lambda: ledger.done > done + 10, 60 * SLOW)
    ledger.judge()
