# SPDX-License-Identifier: GPL-2.0-or-later
"""Many scripted initiators that come and go at random while the board's chip is reset.

Each logs in once before: 6.1 has a BUG() for two PLOGIs of a port that was never there, if the second comes
before the first has been looked at, and asks no target driver before.
"""

from __future__ import annotations

import random
from collections import Counter

from ..fc import frames as fc
from ..fc.nport import Outcome
from ..fc.scripted import ScriptedInitiator, ScriptError, Task
from ..isp.chip import Chip
from .lab import Lab, check
from .machine import Machine
from .ours import READY, clear, name, serve
from .scenarios import log_is_clean, scenario

GUESTS = 64
BLOCK = 4096
RESET_EVERY = 12.0
"""Seconds on average."""
PATIENCE = 120.0
"""Seconds until everybody must be in again."""
OPEN = """set -e
mkdir -p $SCST/targets/qla2xxx/{target}/groups/all/initiators/10:00:00:00:c9:00:*
scst_map $SCST/targets/qla2xxx/{target}/groups/all 0 fileio/f 0"""


def cdb(opcode: int, lba: int) -> bytes:
    """READ(10) or WRITE(10) of one of our blocks."""
    return bytes((opcode, 0)) + lba.to_bytes(4, "big") + bytes((0, 0, BLOCK // 512, 0))


class Guest:
    """An initiator, what it does next, and what its blocks may hold."""

    def __init__(self, lab: Lab, target: Chip, number: int, done: Counter[str]) -> None:
        self.lab, self.target, self.number, self.done = lab, target, number, done
        self.random = random.Random(lab.effort.seed << 16 | number)
        self.port = ScriptedInitiator(lab.loop, lab.medium, 0x10000000C9000000 + number)
        self.lba = number * BLOCK // 512
        self.may_hold = [bytes(BLOCK)]
        self.serial = 0
        self.busy = False
        self.inside = False
        self.writing: Task | None = None
        self.tasks: list[Task] = []
        self.stopped = False

    # Doing things.

    def enter(self) -> None:
        """Log in for the first time, and take what is pending."""
        self.port.plug()
        address = self._address()
        self.port.login(address)
        self.inside = True
        for _ in range(4):
            if self.port.scsi(address, READY).status == 0:
                break

    def later(self) -> None:
        """What it does next, at random."""
        if not self.stopped:
            self.lab.loop.call_later(self.random.uniform(0.02, 0.6), self._step)

    def _step(self) -> None:
        self._reap()
        if not self.stopped and not self.busy:
            try:
                self._act()
            except ScriptError:
                # Not logged in any more: the link or the chip went meanwhile.
                self.inside = False
        self.later()

    def _act(self) -> None:
        if not self.inside:
            self.log_in()
            return
        deed = self.random.random()
        if deed < 0.45:
            self.write()
        elif deed < 0.80:
            self._read()
        elif deed < 0.90:
            self.port.nport.logout(self._address(), lambda *_: None)
            self.done["logouts"] += 1
            self.inside = False
        elif deed < 0.94:
            self._abort()
        elif deed < 0.97:
            code = self.random.choice((fc.TASK_ABORT_SET, fc.TASK_LUN_RESET, fc.TASK_TARGET_RESET))
            self.tasks.append(self.port.start(self._address(), bytes(16), task=code))
            self.done["functions"] += 1
        else:
            self._unplug()

    def _address(self) -> int:
        return self.port.find(self.target.settings.wwpn)

    def log_in(self) -> None:
        """PLOGI and PRLI; busy until both are answered."""
        address = self._address()
        self.busy = True

        def out(outcome: Outcome, _payload: bytes) -> None:
            self.busy = False
            self.inside = outcome is Outcome.DONE
            self.done[f"PRLI {outcome.value}"] += 1

        def half(outcome: Outcome, _payload: bytes) -> None:
            self.done[f"PLOGI {outcome.value}"] += 1
            self.busy = outcome is Outcome.DONE
            if self.busy:
                self.port.nport.process_login(address, out)

        self.port.nport.login(address, half)

    def write(self) -> None:
        """If the last one has ended."""
        if self.writing is not None:
            return
        self.serial += 1
        data = (self.number << 32 | self.serial).to_bytes(8, "big") * (BLOCK // 8)
        self.writing = self.port.start(self._address(), cdb(0x2A, self.lba), data)
        self.may_hold.append(data)
        self.done["writes"] += 1

    def _read(self) -> None:
        self.tasks.append(self.port.start(self._address(), cdb(0x28, self.lba), read=BLOCK))
        self.done["reads"] += 1

    def _abort(self) -> None:
        if self.writing is not None and not self.writing.done:
            self.writing.exchange.abort(lambda _accepted: None)
            self.done["aborts"] += 1

    def _unplug(self) -> None:
        self.port.unplug()
        self.inside = False
        self.lab.loop.call_later(self.random.uniform(0.1, 3), lambda: self.lab.medium.plug(self.port.nport))
        self.done["cables"] += 1

    def _reap(self) -> None:
        """What has ended: an acknowledged write is the only thing that the block may hold."""
        if self.writing is not None and self.writing.done:
            end = self.writing.end
            if end.outcome is Outcome.DONE and end.response.status == 0:
                self.may_hold = self.may_hold[-1:]
            elif end.outcome is not Outcome.DONE:
                self.inside = self.inside and end.outcome is Outcome.ABORTED
            self.writing = None
        self.tasks = [task for task in self.tasks if not task.done]

    # At the end.

    def holds(self) -> None:
        """Log in as anybody would, and look at the blocks; ScriptError if that does not work."""
        address = self._address()
        self.port.login(address)
        for _ in range(4):
            if self.port.scsi(address, READY).status == 0:
                break
        result = self.port.scsi(address, cdb(0x28, self.lba), read=BLOCK)
        check(result.status == 0, f"{name(self.port)}: READ: {result.status:02x} {result.key_code}")
        check(result.data in self.may_hold, f"{name(self.port)}: what it wrote is not there")


def resets(lab: Lab, target: Chip, done: Counter[str]) -> None:
    """The chip crashes, or loses its link, for the whole time."""
    choose = random.Random(lab.effort.seed)
    end = lab.loop.now() + lab.effort.seconds
    while lab.loop.now() < end:
        lab.loop.run_for(min(choose.uniform(0.5, 1.5) * RESET_EVERY, max(end - lab.loop.now(), 0)))
        if choose.random() < 0.7:
            target.system_error()
            done["resets"] += 1
        else:
            target.plug(False)
            lab.loop.run_for(choose.uniform(0.05, 1.5))
            target.plug(True)
            done["target's cable"] += 1


def everybody_returns(lab: Lab, guests: list[Guest]) -> None:
    """Each can log in, within a time, and finds what it wrote."""
    started = lab.loop.now()
    waiting = list(guests)
    while waiting and lab.loop.now() - started < PATIENCE:
        guest = waiting.pop(0)
        try:
            if not guest.port.nport.online:
                guest.port.plug()
            guest.holds()
        except ScriptError:
            waiting.append(guest)
            lab.loop.run_for(0.5)
    who = ", ".join(name(guest.port) for guest in waiting)
    check(not waiting, f"{len(waiting)} of {len(guests)} can't log in: {who}")
    print(f"    {len(guests)} logged in again after {lab.loop.now() - started:.1f} s", flush=True)


def open_to_all(machine: Machine, target: Chip) -> None:
    """One disk for all of them."""
    serve(machine, target, "qlini_mode=exclusive", OPEN.format(target=name(target)))


@scenario("scst-chaos")
def scst_chaos(lab: Lab) -> None:
    """64 initiators log in and out at random with I/O, while the chip is reset: everybody can return."""
    target = lab.board("2432")
    machine = lab.boot(memory=512, cpus=2)
    open_to_all(machine, target)
    done: Counter[str] = Counter()
    guests = [Guest(lab, target, number, done) for number in range(1, GUESTS + 1)]
    print(f"    seed {lab.effort.seed}, {lab.effort.seconds:g} s", flush=True)
    for guest in guests:
        guest.enter()
    for guest in guests:
        guest.later()
    resets(lab, target, done)
    for guest in guests:
        guest.stopped = True
    print("    " + ", ".join(f"{count} {what}" for what, count in sorted(done.items())), flush=True)
    check(done["resets"] > 0 and done["writes"] > GUESTS, "too little was done")
    own = f"{target.settings.wwpn:016x}"
    machine.run(f"wait_for 90 online {own}", timeout=120)
    everybody_returns(lab, guests)
    clear(machine)
    log_is_clean(machine)
