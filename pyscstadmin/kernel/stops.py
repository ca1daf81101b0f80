# SPDX-License-Identifier: GPL-2.0-or-later
"""Signals that ask to stop, in the middle of changes that are done whole or not at all.

A handler that raises would do so between an act and the note of it, and undoing would miss that act; or while
acts are undone, and the rest would stay. So handlers wait, and run where it is safe. Masking would not do:
with threads, the signal goes to another one, and the handler runs here all the same.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType

from pyscstadmin.errors import Interrupted

__all__ = ["STOPS", "Stops", "deferred", "handlers_kept", "uninterrupted"]

Handler = Callable[[int, FrameType | None], object]

# Those that end a program unless it does something about them. What kills at once, or says that the program
# is wrong, is not among them.
STOPS = frozenset(
    (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGALRM,
        signal.SIGXCPU,
    )
)


class Stops:
    """For a program that must say what was done by the time a signal asked it to stop.

    Until `done` is called, signals raise `Interrupted` where that is safe, and nothing is changed. Then it is
    known what there is to say, and they are noted only (`came`, the number of the first), for the program is
    about to say so, and to end.
    """

    def __init__(self) -> None:
        self.came = 0
        self._done = False

    @property
    def finished(self) -> bool:
        """Whether what was asked for is done, or has failed."""
        return self._done

    def done(self) -> None:
        """What was asked for is done, or has failed."""
        self._done = True

    def begin(self) -> None:
        """Something else is asked for. Raises `Interrupted` if a signal came since the last."""
        self._done = False
        if self.came:
            self(self.taken(), None)

    def say(self) -> None:
        """What there is to say is being said, perhaps to nobody who listens: signals raise again."""
        self._done = False

    def taken(self) -> int:
        """The signal that came, 0 for none; it is forgotten."""
        came, self.came = self.came, 0
        return came

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = self.came or number
        if not self._done:
            raise Interrupted(number, signal.Signals(number).name)

    @contextmanager
    def installed(self, *, for_good: bool = False) -> Iterator[None]:
        """Handle the signals here that would kill. Those that the caller ignores, as nohup(1) does, stay
        ignored. `for_good`: when the block is through the program ends, and signals must not change its exit
        code any more.
        """
        old: dict[int, Handler | int | None] = {}
        try:
            for number in sorted(STOPS):
                found = signal.getsignal(number)
                if found in (signal.SIG_DFL, signal.default_int_handler):
                    with suppress(ValueError):  # not in the main thread, where no handler runs anyway
                        old[number] = signal.signal(number, self)
            yield
        finally:
            self.done()
            _restore(dict.fromkeys(old, signal.SIG_IGN) if for_good else old)


@contextmanager
def deferred(stops: Stops | None = None) -> Iterator[Callable[[], None]]:
    """Keep handlers of signals that ask to stop from running, but in the function that this gives.

    When the block is through, `stops` is told so, before anything else can be raised. Then the handlers run.
    Signals that kill, or are ignored, are left alone.
    """
    came: list[int] = []
    handlers: dict[int, Handler] = {}

    def deliver() -> None:
        while came:
            number = came.pop(0)
            handlers[number](number, None)

    try:
        for number in sorted(STOPS):
            handler = signal.getsignal(number)
            if callable(handler):
                # Outside the main thread this is refused; no handler runs there anyway.
                with suppress(ValueError):
                    handlers[number] = handler
                    signal.signal(number, lambda got, frame: came.append(got))
        yield deliver
    except BaseException:
        if stops is not None:
            stops.done()
        _restore(handlers)
        # Everything was undone; asking for it once more must not hide what there is to say about that.
        with suppress(BaseException):
            deliver()
        raise
    if stops is not None:
        stops.done()
    _restore(handlers)
    deliver()


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Whatever handlers the block puts in place, those of before are there again after it."""
    old = {number: signal.getsignal(number) for number in STOPS}
    try:
        yield
    finally:
        _restore({number: handler for number, handler in old.items() if handler is not None})


def _restore(handlers: Mapping[int, Handler | int | None]) -> None:
    with uninterrupted():
        for number, handler in handlers.items():
            with suppress(ValueError):
                signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep signals that ask to stop waiting until the block is done."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
