# SPDX-License-Identifier: GPL-2.0-or-later
"""Commands that were admitted under access which has been revoked since, and waiting for their end.

The kernel's `settled` is the newest generation such that nothing older is alive. /sys/class/scst/core has
it, too, and wakes those who poll it; a tree that has no such file (a simulated one) is looked at every now
and then.
"""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pyscstadmin.config.layout import CLASS_ROOT
from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.cfs import View

__all__ = ["Running", "parse_running", "read_running", "settled_generation", "wait_settled"]

# Seconds between looks where nothing wakes.
_POLL = 0.05
# The longest sleep even where something does.
_SLEEP = 1.0


@dataclass(frozen=True, slots=True)
class Running:
    """Revoked access that still has commands: revoked by which generation, and whose it was.

    `target` is DRIVER/NAME.
    """

    generation: int
    target: str
    initiator: str
    lun: int
    device: str

    def describe(self) -> str:
        """One line for people."""
        return f"{self.initiator} on {self.target}, LUN {self.lun} ({self.device})"


def parse_running(text: str) -> list[Running]:
    """The lines of `unsettled`: `GENERATION DRIVER/TARGET INITIATOR LUN DEVICE`."""
    found = []
    for line in text.splitlines():
        generation, target, initiator, lun, device = line.split()
        found.append(Running(int(generation), target, initiator, int(lun), device))
    return found


def read_running(root: str = CLASS_ROOT) -> list[Running]:
    """Whose commands under revoked access still run; nobody's where the kernel does not tell."""
    try:
        with open(f"{root}/core/unsettled", encoding="ascii", errors="surrogateescape") as file:
            return parse_running(file.read())
    except OSError:
        return []


def settled_generation(tree: View) -> int | None:
    """The newest generation such that nothing older is alive; None if the kernel does not tell."""
    try:
        return int(tree.read("settled"))
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
    return None


def wait_settled(
    look: Callable[[], int | None],
    generation: int,
    seconds: float,
    pollable: str = "",
    stopped: Callable[[], bool] = lambda: False,
) -> bool | None:
    """Wait until nothing older than a generation is alive, for so many seconds; None if the kernel does not
    tell.

    `look` says what is `settled` now; whatever changes that changes the file `pollable` as well. Being
    interrupted ends the waiting as the time does: what is waited for has been done. So does `stopped`, which
    is asked every second.
    """
    deadline = time.monotonic() + seconds
    with suppress(KeyboardInterrupt), _sleeper(pollable) as sleep:
        while True:
            now = look()
            if now is None or now >= generation:
                return None if now is None else True
            left = deadline - time.monotonic()
            if left <= 0 or stopped():
                return False
            sleep(left)
    return False


@contextmanager
def _sleeper(pollable: str) -> Iterator[Callable[[float], None]]:
    """What sleeps until there may be news, and no longer than it is told.

    What happens between a look and the sleep after it is not lost: the file is read before each look, and
    from then on any change of it wakes.
    """
    try:
        fd = os.open(pollable, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield lambda seconds: time.sleep(min(seconds, _POLL))
        return
    poller = select.poll()
    poller.register(fd, select.POLLPRI | select.POLLERR)

    def rearm(left: float) -> None:
        try:
            os.pread(fd, 64, 0)
        except OSError:  # it is gone, and would wake for ever
            time.sleep(min(left, _POLL))

    def sleep(seconds: float) -> None:
        poller.poll(min(seconds, _SLEEP) * 1000)
        rearm(seconds)

    try:
        rearm(0)
        yield sleep
    finally:
        os.close(fd)
