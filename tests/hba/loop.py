# SPDX-License-Identifier: GPL-2.0-or-later
"""A single-threaded event loop: file descriptors, timers and deferred calls, on real or virtual time."""

from __future__ import annotations

import heapq
import selectors
import time
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

Callback = Callable[[], None]


class Timer:
    """A call planned for later; see `Loop.call_later`."""

    __slots__ = ("callback", "cancelled", "when")

    def __init__(self, when: float, callback: Callback) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        """Forget the call; harmless if it has been made already."""
        self.cancelled = True


class Loop:
    """Event loop.

    With ``virtual=True`` time stands still while there is work and jumps to the next timer when there is
    none, so that unit tests of link delays and timeouts take no time and always run in the same order.
    """

    def __init__(self, *, virtual: bool = False) -> None:
        self._virtual = virtual
        self._virtual_now = 0.0
        self._selector = selectors.DefaultSelector()
        self._soon: deque[Callback] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._serial = count()

    def now(self) -> float:
        """Seconds on the loop's clock (its zero means nothing)."""
        return self._virtual_now if self._virtual else time.monotonic()

    def call_soon(self, callback: Callback) -> None:
        """Call after the work in hand, in the order of the requests."""
        self._soon.append(callback)

    def call_later(self, delay: float, callback: Callback) -> Timer:
        """Call after ``delay`` seconds."""
        timer = Timer(self.now() + delay, callback)
        heapq.heappush(self._timers, (timer.when, next(self._serial), timer))
        return timer

    def watch(self, fd: int, readable: Callback | None, writable: Callback | None = None) -> None:
        """Call when a descriptor can be read or written; replaces an earlier watch of the same descriptor."""
        events = (selectors.EVENT_READ if readable else 0) | (selectors.EVENT_WRITE if writable else 0)
        self.unwatch(fd)
        if events:
            self._selector.register(fd, events, (readable, writable))

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor; harmless if it is not watched."""
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def step(self, timeout: float | None = None) -> bool:
        """Wait for work at most ``timeout`` seconds (None: as long as it takes) and do it.

        False: nothing came.
        """
        worked = self._run_soon()
        wait = 0.0 if worked else self._wait_time(timeout)
        if self._selector.get_map() or not self._virtual:
            worked = self._run_ready(wait) or worked
        return self._run_timers(jump=not worked, limit=timeout) or worked

    def _wait_time(self, timeout: float | None) -> float | None:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        if self._virtual and self._timers:
            return 0.0
        if not self._timers:
            return timeout
        due = max(0.0, self._timers[0][0] - self.now())
        return due if timeout is None else min(due, timeout)

    def _run_soon(self) -> bool:
        # Bounded by what is queued now: a call that queues itself again must not starve the descriptors.
        todo = len(self._soon)
        for _ in range(todo):
            self._soon.popleft()()
        return todo > 0

    def _run_ready(self, wait: float | None) -> bool:
        ready = self._selector.select(wait)
        for key, events in ready:
            data: Any = key.data
            if events & selectors.EVENT_READ and data[0]:
                data[0]()
            # The read callback may have closed or re-registered the descriptor.
            current = self._selector.get_map().get(key.fd) if events & selectors.EVENT_WRITE else None
            if current is not None and current.data is data and data[1]:
                data[1]()
        return bool(ready)

    def _run_timers(self, *, jump: bool, limit: float | None) -> bool:
        if self._virtual and jump and self._timers and not self._soon:
            self._virtual_now = self._next_instant(limit)
        now, ran = self.now(), False
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled:
                timer.callback()
                ran = True
        return ran

    def _next_instant(self, limit: float | None) -> float:
        due = max(self._virtual_now, self._timers[0][0])
        return due if limit is None else min(due, self._virtual_now + limit)

    def run_until(self, done: Callable[[], bool], timeout: float) -> bool:
        """Work until ``done()`` is true or ``timeout`` seconds have passed; the last ``done()``."""
        end = self.now() + timeout
        while not done():
            left = end - self.now()
            if left <= 0:
                return False
            if not self.step(left) and self._virtual and not self._timers:
                return done()
        return True

    def run_for(self, seconds: float) -> None:
        """Work for a time."""
        self.run_until(lambda: False, seconds)

    def close(self) -> None:
        """Release the selector; the watched descriptors stay open."""
        self._selector.close()
