# SPDX-License-Identifier: GPL-2.0-or-later
"""A clock that stands when the whole machine does.

The machine of the tests is a program on another one, which at times has something else to do: then nothing
runs here for seconds, and who was waiting did not wait for anybody here. Limits are held by this clock.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

BEAT = 0.02


class Pulse:
    """A thread that comes before all others wakes up every :data:`BEAT` seconds, and counts.

    When it comes much later than it asked for, no CPU ran: of that, five beats are counted.
    """

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def time(self) -> float:
        """Seconds that this machine has run since this process first asked; it grows by beats."""
        if self._unstarted.acquire(blocking=False):
            threading.Thread(target=self._run, name="pulse", daemon=True).start()
        return self._time

    def _reset(self) -> None:
        self._time = 0.0
        self._unstarted = threading.Lock()

    def _run(self) -> None:
        with contextlib.suppress(PermissionError):  # as root always, and in the machine all is root's
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
        last = time.monotonic()
        while True:
            time.sleep(BEAT)
            now = time.monotonic()
            self._time += min(now - last, 5 * BEAT)
            last = now


pulse = Pulse()
