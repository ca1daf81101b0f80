# SPDX-License-Identifier: GPL-2.0-or-later
"""Stores that may take any time, because a backing does not answer or commands of initiators do not end, and
how long they are waited for.

Such a store is a request, which the kernel goes on with by itself (docs/configfs.md, "Requests and waiting").
So whoever holds the lock of all writers asks, and waits as long as his patience lasts; the rest of the time
is waited for without the lock, by looking.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.cfs import View

__all__ = ["ON_THE_WAY", "Came", "Patience", "arrived"]

# States of devices that are on the way to another one.
ON_THE_WAY = ("opening", "closing")

# Everybody is waited for this long (seconds), however many did not answer.
_LEAST = 0.05

# What answers within this time costs no patience: on a busy machine many that do would use it up.
_FREE = 0.25

# Between two looks at what is on the way, seconds: the first, and the longest.
_FIRST_LOOK, _LONGEST_LOOK = 0.001, 0.1


class Patience:
    """How long stores are waited for, all together. `note` is told what is waited for, '' for nothing."""

    def __init__(self, seconds: float, note: Callable[[str], None] | None = None) -> None:
        self._whole = self._left = seconds
        self._note = note

    @contextmanager
    def spending(self) -> Iterator[float]:
        """What is left of it, for something else that may take any time."""
        began, seconds = time.monotonic(), max(_LEAST, self._left)
        try:
            yield seconds
        finally:
            took = time.monotonic() - began
            self._left -= took if took >= seconds else max(0.0, took - _FREE)

    def ask(self, tree: View, path: str, value: str, *, whole: bool = False, least: float = 0.0) -> bool:
        """Store; False if the request goes on without anybody who waits for it. Raises `OperationError`.

        A device that is enabled is so then all the same, and its state is `opening`. `whole`: as if nothing
        had been waited for yet. `least`: seconds that it is waited for in any case.
        """
        with self.spending() as left:
            self._say(path)
            seconds = max(least, self._whole if whole else left)
            try:
                tree.ask(path, value, int(seconds * 1000))
            except OperationError as error:
                if error.errno != errno.EINPROGRESS:
                    raise
                return False
            finally:
                self._say("")
        return True

    def _say(self, path: str) -> None:
        if self._note is not None:
            self._note(path.rpartition("/")[0])


class Came(NamedTuple):
    """What a device has come to: its state, why the last opening failed, and whether it is to be active."""

    state: str
    error: str
    wanted: bool


def arrived(
    tree: Callable[[], View], directory: str, stopped: Callable[[], bool], seconds: float = float("inf")
) -> Came | None:
    """What a device comes to when it is on the way no longer; None if that takes longer, or somebody asked to
    stop. Raises `OperationError`, ENOENT if it is removed meanwhile.
    """
    end, pause = time.monotonic() + seconds, _FIRST_LOOK
    names = [f"{directory}/{name}" for name in ("state", "error", "wanted", "state")]
    while True:
        state, error, wanted, still = tree().read_many(names)
        if state not in ON_THE_WAY and state == still:
            return Came(state, error, wanted == "1")
        left = end - time.monotonic()
        if left <= 0 or stopped():
            return None
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_LOOK)
