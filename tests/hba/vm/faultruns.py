# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults caused while fio writes and verifies in the guest; data must be intact after each."""

from __future__ import annotations

from collections.abc import Callable

from ..fc import frames as fc
from ..fc.media import FrameFault, Switch
from ..fc.scripted import ScriptedTarget
from ..isp.chip import Chip
from .lab import Lab, check
from .machine import Machine
from .scenarios import FIO


def during_verify(
    lab: Lab, machine: Machine, disk: str, cause: Callable[[], None], size: str = "8m", timeout: float = 300
) -> None:
    """Start fio, cause the fault once I/O flows, and wait for fio's verdict."""
    job = machine.start(FIO.format(disk=disk, size=size, more=""))
    wire = lab.medium.wire
    before = wire.carried
    check(
        lab.loop.run_until(lambda: wire.carried > before + 500 or job.done, 60) and not job.done,
        "fio ended before the fault could be caused",
    )
    cause()
    machine.finish(job, timeout)


def cable_pull(lab: Lab, chip: Chip, seconds: float) -> None:
    """Pull the cable and put it back."""
    chip.plug(False)
    lab.loop.run_for(seconds)
    chip.plug(True)


def _storm(lab: Lab, affected: int) -> None:
    medium = lab.medium
    assert isinstance(medium, Switch)
    for _ in range(20):
        medium.rscn(affected)
        lab.loop.run_for(0.05)


def run_faults(lab: Lab, machine: Machine, chip: Chip, target: ScriptedTarget, disk: str) -> None:
    """Every fault once."""
    wire = lab.medium.wire

    def drop(matches: Callable[[fc.Frame], bool], count: int, clip: int = 0) -> None:
        wire.faults.append(FrameFault(matches, count, clip=clip))

    def late() -> None:
        chip.faults.delay = 0.05
        lab.loop.call_later(2, lambda: setattr(chip.faults, "delay", 0.0))

    def slow() -> None:
        chip.faults.dma_rate = 100e3
        lab.loop.call_later(2, lambda: setattr(chip.faults, "dma_rate", 0.0))

    def full() -> None:
        target.queue_full = 50

    def retarget() -> None:
        target.unplug()
        lab.loop.run_for(1)
        target.plug()

    def swap() -> None:
        medium = lab.medium
        assert isinstance(medium, Switch)
        medium.swap(chip.port, target.nport)

    steps: list[tuple[str, Callable[[], None]]] = [
        ("cable", lambda: cable_pull(lab, chip, 2)),
        ("RSCN storm", lambda: _storm(lab, target.port_id)),
        ("late completions", late),
        ("slow DMA", slow),
        ("queue full", full),
        (
            "data frame dropped",
            lambda: drop(lambda frame: frame.r_ctl == fc.R_DATA and frame.d_id != target.port_id, 3, 2048),
        ),
        ("target port gone and back", retarget),
        ("ports swapped", swap),
        ("link reset", lambda: lab.medium.disturb(chip.port)),
        ("status frame dropped", lambda: drop(lambda frame: frame.r_ctl == fc.R_STATUS, 1)),
    ]
    # A lost answer is noticed after the SCSI command's time-out only.
    machine.run(f"echo 8 >/sys/block/{disk.removeprefix('/dev/')}/device/timeout")
    for name, cause in steps:
        started = lab.loop.now()
        during_verify(lab, machine, disk, cause)
        print(f"    {name}: data intact after {lab.loop.now() - started:.1f} s", flush=True)
    lost_completion(lab, machine, chip, disk)


def lost_completion(lab: Lab, machine: Machine, chip: Chip, disk: str) -> None:
    """A completion that never comes: nothing short of a chip reset helps the driver, and then it is back.

    The command itself may fail, and the driver may take the disk offline for it; the port has to recover.
    """
    before = chip.epoch
    chip.faults.lose = 1
    job = machine.start(f"dd if={disk} of=/dev/null bs=4k count=1 iflag=direct")
    check(lab.loop.run_until(lambda: chip.epoch > before, 120), "the driver did not reset the chip")
    lab.loop.run_until(lambda: job.done, 120)
    machine.run(f"wait_for 60 online {chip.settings.wwpn:016x}")
    print("    lost completion: the driver reset the chip and is back", flush=True)
