# SPDX-License-Identifier: GPL-2.0-or-later
"""Tests with unmodified in-tree drivers in a VM against scripted target ports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..fc.scripted import ScriptedTarget
from ..isp.chip import Chip
from .lab import TARGET_WWPN, Lab, check
from .machine import Machine

FIO = (
    "fio --name=verify --filename={disk} --rw=randwrite --bs=4k --size={size} --direct=1 --ioengine=libaio "
    "--iodepth=16 --verify=crc32c --do_verify=1 --thread --minimal {more}"
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named test."""

    name: str
    run: Callable[[Lab], None]
    smoke: bool
    """Also run on every kernel series, not only on the first."""


SCENARIOS: dict[str, Scenario] = {}


def scenario(name: str, *, smoke: bool = False) -> Callable[[Callable[[Lab], None]], Callable[[Lab], None]]:
    """Register a test under a name."""

    def register(function: Callable[[Lab], None]) -> Callable[[Lab], None]:
        SCENARIOS[name] = Scenario(name, function, smoke)
        return function

    return register


def attach(machine: Machine, chip: Chip, wwpn: int = TARGET_WWPN, parameters: str = "") -> str:
    """Load the driver, wait for Online and for LUN 0 of a target; the disk's device file."""
    own = f"{chip.settings.wwpn:016x}"
    machine.run(
        f"load sd_mod; load sg; load crc32c_generic; load ext4\n"
        f"load qla2xxx {parameters}; wait_for 60 online {own}"
    )
    return machine.run(f"wait_for 60 disk_of {wwpn:016x} 0 && disk_of {wwpn:016x} 0").strip()


def write_and_compare(machine: Machine, disk: str, megabytes: int = 16) -> None:
    """ext4 on the disk, a file written, read back past the cache and compared."""
    machine.run(f"""set -e
        /bin/mke2fs -q -F -t ext4 {disk}
        mount -t ext4 {disk} /mnt
        dd if=/dev/urandom of=/tmp/data bs=1M count={megabytes} 2>/dev/null
        cp /tmp/data /mnt/data
        umount /mnt
        echo 3 >/proc/sys/vm/drop_caches
        mount -t ext4 {disk} /mnt
        cmp /tmp/data /mnt/data
        umount /mnt
        e2fsck -fn {disk}
        rm /tmp/data""")


def verify(machine: Machine, disk: str, size: str = "16m", more: str = "") -> None:
    """fio writes and verifies."""
    machine.run(FIO.format(disk=disk, size=size, more=more), timeout=300)


def log_is_clean(machine: Machine) -> None:
    """No kernel warning may have been caused."""
    bad = machine.bad_lines()
    check(not bad, "kernel log: " + "; ".join(bad[:5]))
    # A kernel that has it.
    machine.run("[ ! -e /proc/lockdep_stats ] || grep 'debug_locks: *1' /proc/lockdep_stats")


def attach_and_verify(lab: Lab, model: str, **settings: str) -> tuple[Machine, Chip, ScriptedTarget, str]:
    """A machine with one board and a scripted target; ext4 and fio on its disk."""
    target = lab.target()
    chip = lab.board(model, **settings)
    machine = lab.boot()
    disk = attach(machine, chip)
    write_and_compare(machine, disk)
    verify(machine, disk)
    log_is_clean(machine)
    return machine, chip, target, disk


def recovers(machine: Machine, chip: Chip, disk: str, cause: Callable[[], None]) -> None:
    """Cause a chip reset, wait until the port is back and verify data."""
    before = chip.epoch
    cause()
    own = f"{chip.settings.wwpn:016x}"
    check(machine.loop.run_until(lambda: chip.epoch > before, 60), "the chip was not reset")
    machine.run(f"wait_for 90 online {own}; wait_for 90 dd if={disk} of=/dev/null bs=4k count=1 iflag=direct")
    verify(machine, disk, "2m")


def reset_scenario(lab: Lab, model: str) -> None:
    """The same, and two chip resets."""
    machine, chip, _, disk = attach_and_verify(lab, model)
    host = machine.run(f"host_by_wwn {chip.settings.wwpn:016x}").strip()
    # 0x2025c, which the driver reads in decimal, is its code for a chip reset.
    reset = f"echo {0x2025C} >/sys/class/scsi_host/{host}/device/reset"
    recovers(machine, chip, disk, lambda: void(machine.run(reset)))
    recovers(machine, chip, disk, chip.system_error)
    log_is_clean(machine)


def void(_: object) -> None:
    """Throw a result away."""


@scenario("2432", smoke=True)
def isp2432(lab: Lab) -> None:
    """ISP2432: Online, disk, ext4, fio, recovery from a chip reset and from a firmware crash."""
    reset_scenario(lab, "2432")


@scenario("2532", smoke=True)
def isp2532(lab: Lab) -> None:
    """ISP2532: the same."""
    reset_scenario(lab, "2532")


@scenario("2312", smoke=True)
def isp2312(lab: Lab) -> None:
    """ISP2312: Online, disk, ext4, fio (the driver cannot recover this generation from a chip reset)."""
    attach_and_verify(lab, "2312")


@scenario("2300", smoke=True)
def isp2300(lab: Lab) -> None:
    """ISP2300: the same."""
    attach_and_verify(lab, "2300")


@scenario("2200")
def isp2200(lab: Lab) -> None:
    """ISP2200: the same, with eight mailboxes and a semaphore instead of a host status register."""
    attach_and_verify(lab, "2200")


@scenario("2312-loop")
def isp2312_loop(lab: Lab) -> None:
    """ISP2312 on an arbitrated loop; a LIP in the middle."""
    _on_loop(lab, "2312")


@scenario("2200-loop")
def isp2200_loop(lab: Lab) -> None:
    """ISP2200: the same."""
    _on_loop(lab, "2200")


def _on_loop(lab: Lab, model: str) -> None:
    from .faultruns import during_verify

    lab.use_loop()
    machine, chip, _, disk = attach_and_verify(lab, model)
    port_type = machine.run(f"cat /sys/class/fc_host/$(host_by_wwn {chip.settings.wwpn:016x})/port_type")
    check("NLPort" in port_type or "LPort" in port_type, f"the driver sees {port_type.strip()}, not a loop")
    during_verify(lab, machine, disk, lambda: lab.medium.disturb(chip.port))
    log_is_clean(machine)


@scenario("2432-intx")
def isp2432_intx(lab: Lab) -> None:
    """ISP2432 with a level interrupt only."""
    attach_and_verify(lab, "2432", interrupt="intx")


@scenario("2432-msi")
def isp2432_msi(lab: Lab) -> None:
    """ISP2432 with one MSI vector."""
    attach_and_verify(lab, "2432", interrupt="msi")


@scenario("faults")
def faults(lab: Lab) -> None:
    """Faults while fio verifies.

    Cable, RSCN storm, lost and late completions, queue full, dropped frames, slow DMA.
    """
    from .faultruns import run_faults

    target = lab.target()
    chip = lab.board("2432")
    machine = lab.boot()
    disk = attach(machine, chip)
    run_faults(lab, machine, chip, target, disk)
    log_is_clean(machine)
