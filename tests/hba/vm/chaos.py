# SPDX-License-Identifier: GPL-2.0-or-later
"""Many scripted initiators that come and go at random while the board's chip is reset.

Each logs in once before: 6.1 has a BUG() for two PLOGIs of a port that was never there, if the second comes
before the first has been looked at, and asks no target driver before.

And the chip crashes only when it owes the driver no answer to a mailbox command: that one would be waited
for, 22 s or more, before the reset begins. The timers of what the driver had asked for just before the crash
are as long; those that run out while the reset gives all back are completed twice (6.1:
qla2x00_async_iocb_timeout() calls done() also when the reset has taken it), by code that no target driver has
a part in.
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
from .ours import READY, clear, name, read10, serve, write10
from .scenarios import log_is_clean, scenario

GUESTS = 64
BLOCK = 4096
SECTORS = BLOCK // 512
RESET_EVERY = 10.0
"""Seconds on average."""
COMMAND_TIMEOUT = 10.0
"""Seconds after which an initiator aborts a command, and logs in again if the abort does not help."""
PATIENCE = 120.0
"""Seconds until everybody must be in again."""
QUIET = 5.0
"""Seconds to wait for a moment in which the driver waits for no answer."""
OPEN = """set -e
mkdir -p $SCST/targets/qla2xxx/{target}/groups/all/initiators/10:00:00:00:c9:00:*
scst_map $SCST/targets/qla2xxx/{target}/groups/all 0 fileio/f 0"""


class Guest:
    """An initiator, what it does next, and what its blocks may hold."""

    def __init__(self, lab: Lab, target: Chip, number: int, done: Counter[str]) -> None:
        self.lab, self.target, self.number, self.done = lab, target, number, done
        self.random = random.Random(lab.effort.seed << 16 | number)
        self.port = ScriptedInitiator(lab.loop, lab.medium, 0x10000000C9000000 + number)
        self.lba = number * SECTORS
        self.may_hold = [bytes(BLOCK)]
        self.busy = False
        """A login is under way."""
        self.inside = False
        self.writing: Task | None = None
        self.checking: Task | None = None
        self.running: list[tuple[float, Task]] = []
        self.leaving = False
        """Nothing more at random: it comes back for the last time."""
        self.back = False

    @property
    def address(self) -> int:
        """The target's; ScriptError while it has none."""
        return self.port.find(self.target.settings.wwpn)

    def enter(self) -> None:
        """Log in for the first time, and take what is pending."""
        self.port.plug()
        self.port.login(self.address)
        self.inside = True
        check(any(self.port.scsi(self.address, READY).status == 0 for _ in range(4)), "the disk is not ready")

    def later(self) -> None:
        """What it does next."""
        self.lab.loop.call_later(self.random.uniform(0.02, 0.6), self._step)

    def _step(self) -> None:
        self._reap()
        if self.back:
            return
        if not self.busy:
            try:
                self._act()
            except ScriptError:
                # Not logged in any more, or the target has no address: the link or the chip went meanwhile.
                self.inside = False
        self.later()

    def _act(self) -> None:
        if not self.inside:
            self._log_in()
        elif self.leaving:
            self._look()
        else:
            self._deed(self.random.random())

    def _deed(self, chance: float) -> None:
        if chance < 0.45:
            self._write()
        elif chance < 0.80:
            self._start("reads", read10(self.lba), read=BLOCK)
        elif chance < 0.90:
            self._leave()
        elif chance < 0.94:
            self._abort()
        elif chance < 0.97:
            code = self.random.choice((fc.TASK_ABORT_SET, fc.TASK_LUN_RESET, fc.TASK_TARGET_RESET))
            self._start("functions", bytes(16), task=code)
        else:
            self._unplug()

    # Logins.

    def _log_in(self) -> None:
        """PLOGI and PRLI; busy until both are answered."""
        address = self.address
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

    def _leave(self) -> None:
        self.port.nport.logout(self.address, lambda *_: None)
        self.inside = False
        self.done["logouts"] += 1

    def _unplug(self) -> None:
        self.port.unplug()
        self.inside = False
        self.lab.loop.call_later(self.random.uniform(0.1, 3), lambda: self.lab.medium.plug(self.port.nport))
        self.done["cables"] += 1

    # Commands.

    def _start(self, what: str, cdb: bytes, data: bytes = b"", *, read: int = 0, task: int = 0) -> Task:
        started = self.port.start(self.address, cdb, data, read=read, task=task)
        self.running.append((self.lab.loop.now(), started))
        self.done[what] += 1
        return started

    def _write(self) -> None:
        """If the last one has ended."""
        if self.writing is None:
            data = self.random.randbytes(8) * (BLOCK // 8)
            self.writing = self._start("writes", write10(self.lba), data)
            self.may_hold.append(data)

    def _abort(self) -> None:
        if self.writing is not None and not self.writing.done:
            self._give_up(self.writing)
            self.done["aborts"] += 1

    def _give_up(self, task: Task) -> None:
        def answered(accepted: bool) -> None:
            self.inside = self.inside and accepted

        if task.exchange.aborting is None:
            task.exchange.abort(answered)

    def _reap(self) -> None:
        """What has ended, or should have."""
        if self.writing is not None and self.writing.done:
            end = self.writing.end
            if end.outcome is Outcome.DONE and end.response.status == 0:
                # Acknowledged: the only thing that the block may hold.
                self.may_hold = self.may_hold[-1:]
            self.writing = None
        self.running = [(since, task) for since, task in self.running if not task.done]
        for since, task in self.running:
            if self.lab.loop.now() - since > COMMAND_TIMEOUT and task.exchange.aborting is None:
                self.done["timeouts"] += 1
                self._give_up(task)

    # At the end.

    def _look(self) -> None:
        """It is back when it finds what it wrote."""
        if self.checking is not None and self.checking.done:
            result = self.port.finish(self.checking)
            if result.outcome is Outcome.DONE and result.status == 0:
                check(result.data in self.may_hold, f"{name(self.port)}: what it wrote is not there")
                self.back = True
            self.checking = None
        elif self.checking is None:
            self.checking = self._start("looks", read10(self.lba), read=BLOCK)


def resets(lab: Lab, target: Chip, done: Counter[str]) -> None:
    """The chip crashes, or loses its link, for the whole time."""
    choose = random.Random(lab.effort.seed)
    end = lab.loop.now() + lab.effort.seconds
    while lab.loop.now() < end:
        lab.loop.run_for(min(choose.uniform(0.5, 1.5) * RESET_EVERY, max(end - lab.loop.now(), 0)))
        if not target.port.online:
            # It is not back yet: a firmware that does not run can't crash.
            continue
        if not done["resets"] or choose.random() < 0.7:
            quiet = lab.loop.run_until(lambda: not target.asked and target.current is None, QUIET)
            if quiet:
                target.system_error()
            done["resets" if quiet else "resets left out"] += 1
        else:
            target.plug(False)
            lab.loop.run_for(choose.uniform(0.05, 1.5))
            target.plug(True)
            done["target's cable"] += 1


def everybody_returns(lab: Lab, guests: list[Guest]) -> None:
    """Each can log in, within a time, and finds what it wrote."""
    started = lab.loop.now()
    for guest in guests:
        guest.leaving = True
    lab.loop.run_until(lambda: all(guest.back for guest in guests), PATIENCE)
    waiting = [name(guest.port) for guest in guests if not guest.back]
    check(not waiting, f"{len(waiting)} of {len(guests)} are not back: {', '.join(waiting)}")
    print(f"    {len(guests)} back after {lab.loop.now() - started:.1f} s", flush=True)


def tell(done: Counter[str]) -> None:
    """What was done, in a line."""
    print("    " + ", ".join(f"{count} {what}" for what, count in sorted(done.items())), flush=True)


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
    tell(done)
    check(done["resets"] > done["resets left out"], "the chip nearly always owed the driver an answer")
    check(done["resets"] > 0 and done["writes"] > GUESTS, "too little was done")
    check(done["PLOGI done"] > done["PLOGI timeout"], "more PLOGIs timed out than were answered")
    done.clear()
    try:
        everybody_returns(lab, guests)
    finally:
        tell(done)
    clear(machine)
    log_is_clean(machine)
