# SPDX-License-Identifier: GPL-2.0-or-later
"""A target whose firmware is short of room or ends commands by itself, while fio verifies."""

from __future__ import annotations

from collections.abc import Callable

from ..isp.chip import Chip
from . import both, ours
from .faultruns import during_verify
from .lab import Lab, check
from .machine import Machine
from .scenarios import attach, log_is_clean, scenario

Cause = Callable[[], None]
STATUSES = {
    "aborted": 0x02,
    "invalid exchange": 0x08,
    "time-out": 0x0B,
    "LIP reset": 0x0E,
    "target reset": 0x17,
    "port unavailable": 0x28,
    "logged out": 0x29,
    "port configuration changed": 0x2A,
    "SRR": 0x45,
}
NOTIFIES = (
    "link reinit",
    "resource",
    "lip reset",
    "port config",
    "port logout",
    "global tprlo",
    "global logout",
)


def shortages(lab: Lab, target: Chip) -> dict[str, Cause]:
    """What the firmware has too little of, for two seconds each."""

    def short(name: str, value: float) -> Cause:
        def cause() -> None:
            before = getattr(target.faults, name)
            setattr(target.faults, name, value)
            lab.loop.run_for(2)
            setattr(target.faults, name, before)

        return cause

    return {
        "request queue stalled": short("stall", True),
        "request queue slow": short("request_rate", 50),
        "three exchanges": short("exchanges", 3),
        "no exchange": short("queue_full", 1 << 30),
    }


def endings(lab: Lab, target: Chip, initiator: Chip) -> dict[str, Cause]:
    """Commands that the firmware ends."""

    def fail(status: int) -> Cause:
        def cause() -> None:
            target.faults.ctio_status, target.faults.ctio_failures = status, 4
            lab.loop.run_until(lambda: not target.faults.ctio_failures, 10)
            target.faults.ctio_failures = 0

        return cause

    def notify(kind: str) -> Cause:
        def cause() -> None:
            target.notify(kind, initiator.settings.wwpn if kind == "port logout" else 0)

        return cause

    causes = {f"CTIO {name}": fail(status) for name, status in STATUSES.items()}
    return causes | {f"notify {kind}": notify(kind) for kind in NOTIFIES}


def suffer(lab: Lab, machine: Machine, disk: str, causes: dict[str, Cause]) -> None:
    """Each cause while fio writes and verifies."""
    machine.run("for port in /sys/class/fc_remote_ports/*; do echo 120 >$port/dev_loss_tmo; done")
    machine.run(f"echo 10 >/sys/block/{disk.removeprefix('/dev/')}/device/timeout")
    bad = []
    for what, cause in causes.items():
        started = lab.loop.now()
        during_verify(lab, machine, disk, cause, size="2m")
        print(f"    {what}: data intact after {lab.loop.now() - started:.1f} s", flush=True)
        fresh = [line for line in machine.bad_lines() if line not in bad]
        bad += fresh
        if fresh:
            print(f"    {what}: {fresh[0]}", flush=True)
    check(not bad, f"kernel log: {'; '.join(bad[:5])}")


@scenario("lio-honest")
def lio_honest(lab: Lab) -> None:
    """LIO's target with too little of everything."""
    initiator, target = lab.board("2432"), lab.board("2432")
    machine = lab.boot(memory=768, cpus=2)
    both.serve(machine, target, "qlini_mode=dual")
    disk = attach(machine, initiator, target.settings.wwpn)
    suffer(lab, machine, disk, shortages(lab, target))
    log_is_clean(machine)


@scenario("scst-honest")
def scst_honest(lab: Lab) -> None:
    """Our target with too little of everything, and commands ended by the firmware."""
    initiator, target = lab.board("2432"), lab.board("2432")
    machine = lab.boot(memory=768, cpus=2)
    ours.serve(machine, target, "qlini_mode=dual", ours.access(target, "a", initiator, "0 fileio/f 0"))
    disk = attach(machine, initiator, target.settings.wwpn)
    suffer(lab, machine, disk, shortages(lab, target) | endings(lab, target, initiator))
    ours.clear(machine)
    log_is_clean(machine)
