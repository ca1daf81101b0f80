# SPDX-License-Identifier: GPL-2.0-or-later
"""The ISP27xx in VMs: vectors for every queue, pairs of queues for every CPU."""

from __future__ import annotations

import re

from ..fc import frames as fc
from ..fc.nport import Outcome
from . import both, ours
from .lab import Lab, check
from .machine import Machine
from .scenarios import attach, log_is_clean, reset_scenario, scenario, verify, write_and_compare

QUEUE = re.compile(r"^ *\d+:((?: +\d+)+).*qla2xxx\d+_(\w+)$", re.MULTILINE)


def interrupts(machine: Machine) -> dict[str, int]:
    """Interrupts of the boards' vectors so far, all boards and CPUs together."""
    counts: dict[str, int] = {}
    for numbers, name in QUEUE.findall(machine.run("cat /proc/interrupts")):
        counts[name] = counts.get(name, 0) + sum(int(number) for number in numbers.split())
    return counts


@scenario("2261", smoke=True)
def isp2261(lab: Lab) -> None:
    """ISP2261: Online, disk, ext4, fio, recovery from a chip reset and from a firmware crash."""
    reset_scenario(lab, "2261")
    counts = interrupts(lab.machines[0])
    pairs = [number for name, number in counts.items() if name.startswith("qpair")]
    check(any(number > 100 for number in pairs), f"no pair of queues was used: {counts}")


@scenario("2261-lio")
def isp2261_lio(lab: Lab) -> None:
    """LIO's target on an ISP2261 with two CPUs, a 2432 as initiator."""
    initiator, target = lab.board("2432"), lab.board("2261")
    machine = lab.boot(memory=768, cpus=2)
    both.serve(machine, target, "qlini_mode=dual")
    disk = attach(machine, initiator, target.settings.wwpn)
    write_and_compare(machine, disk)
    verify(machine, disk)
    machine.run(f"sg_reset -d {disk}")
    both.abort(lab, machine, target, disk)
    atios = interrupts(machine).get("atio_q", 0)
    check(atios > 100, f"{atios} interrupts for the ATIO queue")
    log_is_clean(machine)


@scenario("scst-2261")
def scst_2261(lab: Lab) -> None:
    """Our target on an ISP2261 with two CPUs, a 2432 as initiator; two LUNs."""
    initiator, target = lab.board("2432"), lab.board("2261")
    machine = lab.boot(memory=768, cpus=2)
    luns = ours.access(target, "a", initiator, "0 fileio/f 0", "1 fileio/g 0")
    ours.serve(machine, target, "qlini_mode=dual", luns)
    first = attach(machine, initiator, target.settings.wwpn)
    wwpn = f"{target.settings.wwpn:016x}"
    second = machine.run(f"wait_for 60 disk_of {wwpn} 1 && disk_of {wwpn} 1").strip()
    write_and_compare(machine, first)
    for disk in (first, second):
        verify(machine, disk, "4m")
    machine.run(f"sg_reset -d {first}")
    counts = interrupts(machine)
    check(counts.get("atio_q", 0) > 100, f"interrupts {counts}")
    ours.clear(machine)
    log_is_clean(machine)


@scenario("2532-rdp")
def isp2532_rdp(lab: Lab) -> None:
    """The driver asks for the link service RDP, gets one by PUREX and answers it."""
    target, chip = lab.target(), lab.board("2532")
    machine = lab.boot()
    attach(machine, chip, parameters="ql2xrdpenable=1")
    answers: list[tuple[Outcome, bytes]] = []

    def answered(outcome: Outcome, payload: bytes) -> None:
        answers.append((outcome, payload))

    target.nport.els(chip.port.port_id, bytes((fc.ELS_RDP, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1)), answered)
    check(lab.loop.run_until(lambda: bool(answers), 30), "RDP got no answer")
    outcome, payload = answers[0]
    check(outcome is Outcome.DONE and len(payload) > 100, f"RDP: {outcome}, {payload[:16].hex()}")
    log_is_clean(machine)
