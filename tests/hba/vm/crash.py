# SPDX-License-Identifier: GPL-2.0-or-later
"""Many initiators log in again after a crash of the target's firmware."""

from __future__ import annotations

from ..fc.nport import Outcome
from ..fc.scripted import ScriptedInitiator, Task
from .lab import Lab, check
from .ours import READY, clear, name, read10, serve, write10
from .scenarios import log_is_clean, scenario

GUESTS = 16
BLOCK = 4096
OPEN = """set -e
mkdir -p $SCST/targets/qla2xxx/{target}/groups/all/initiators/10:00:00:00:c9:00:*
scst_map $SCST/targets/qla2xxx/{target}/groups/all 0 fileio/f 0"""


@scenario("scst-crash")
def scst_crash(lab: Lab) -> None:
    """The firmware crashes under 16 initiators with I/O: none of them waits for the end of its old login."""
    target = lab.board("2432")
    own = target.settings.wwpn
    machine = lab.boot(memory=512, cpus=2)
    serve(machine, target, "qlini_mode=exclusive", OPEN.format(target=name(target)))
    ports = [ScriptedInitiator(lab.loop, lab.medium, 0x10000000C9000000 + each) for each in range(GUESTS)]
    tasks: list[Task] = []
    for port in ports:
        port.plug()
        address = port.find(own)
        port.login(address)
        check(any(port.scsi(address, READY).status == 0 for _ in range(4)), "the disk is not ready")
        tasks.append(port.start(address, write10(8), b"W" * BLOCK))
    before = target.epoch
    target.system_error()
    back = lab.loop.run_until(lambda: target.epoch > before and target.port.online, 60)
    check(back, "the port is not back after a crash of its firmware")
    # The port is there before the driver is done with the reset; what it would answer until then is lost.
    started = lab.loop.now()
    answers: list[Outcome] = []
    for port in ports:
        port.nport.login(port.find(own), lambda outcome, _payload: answers.append(outcome))
    lab.loop.run_until(lambda: len(answers) == GUESTS, 15)
    took, good = lab.loop.now() - started, answers.count(Outcome.DONE)
    print(f"    {good} PLOGIs of {GUESTS} answered after {took:.1f} s", flush=True)
    check(good == GUESTS, "a PLOGI after a chip reset was not answered in time")
    for port in ports:
        address = port.find(own)
        port.login(address)
        check(any(port.scsi(address, READY).status == 0 for _ in range(4)), "the disk is not ready any more")
        check(port.scsi(address, read10(8), read=BLOCK).status == 0, "READ failed")
    clear(machine)
    log_is_clean(machine)
