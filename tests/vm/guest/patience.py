# SPDX-License-Identifier: GPL-2.0-or-later
"""Who waits for whom: operations against the clock, operations that may wait and can be killed, sleepers.

``SCST_SLOW`` is the factor by which this machine is slower than the limits of the tests allow for. That
it does not run at all for seconds is not counted, see pulse.py.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.vm.guest import tree
from tests.vm.guest.pulse import pulse

T = TypeVar("T")

SLOW = tree.SLOW
LIMIT = 1.0 * SLOW
MOMENT = 0.3 * SLOW
GIVE_UP = tree.GIVE_UP
SYSCTL = Path("/proc/sys/kernel")


def timely(what: str, action: Callable[[], T], limit: float = LIMIT) -> T:
    """Do something that must be over within *limit* seconds, and return what it returns.

    It runs in a thread, so that what never ends fails the test, with the kernel's stack, and no more. Time in
    which that thread has run, or was ready to and had no CPU, does not count: it waited for nobody then.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    ids: list[int] = []
    slept: list[float] = []

    def run() -> None:
        ids.append(threading.get_native_id())
        began = pulse.time()
        try:
            results.append(action())
        except BaseException as error:
            errors.append(error)
        slept.append(pulse.time() - began - busy_time(os.getpid(), ids[0]))

    start = time.monotonic()
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(limit)
    where = "" if not thread.is_alive() else describe_task(os.getpid(), ids[0])
    thread.join(GIVE_UP)
    took = time.monotonic() - start
    assert not thread.is_alive(), f"{what}: not over after {took:.1f} s: {where}"
    assert slept[0] <= limit, f"{what}: slept {slept[0]:.2f} s, {limit:g} s are allowed; it was at {where}"
    if errors:
        raise errors[0]
    return results[0]


def describe_task(process: int, task: int) -> str:
    """State, name and kernel stack of a task; empty if it has gone."""
    folder = Path(f"/proc/{process}/task/{task}")
    try:
        state = task_state(folder)
        stack = " < ".join(
            line.split()[-1].partition("+")[0] for line in (folder / "stack").read_text().splitlines()
        )
        return f"{(folder / 'comm').read_text().strip()} ({state}): {stack}"
    except OSError:
        return ""


def busy_time(process: int, task: int) -> float:
    """Seconds that a task has run, or was ready to run; 0 if it has gone."""
    try:
        ran, waited, _ = Path(f"/proc/{process}/task/{task}/schedstat").read_text().split()
    except OSError:
        return 0
    return (int(ran) + int(waited)) / 1e9


def task_state(folder: Path) -> str:
    """The letter of /proc/PID/stat."""
    return (folder / "stat").read_text().rpartition(")")[2].split()[0]


def uninterruptible() -> dict[int, str]:
    """Tasks in state D, as hung-task detection understands it, by number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*/task/[0-9]*"):
        try:
            if task_state(folder) == "D":
                found[int(folder.name)] = describe_task(int(folder.parent.parent.name), int(folder.name))
        except OSError:
            continue  # it ended meanwhile
    return found


@contextmanager
def impatient_kernel(seconds: int = round(4 * SLOW)) -> Iterator[None]:
    """Tasks that sleep uninterruptibly for so long are reported in the kernel log, which fails the run."""
    names = ("hung_task_timeout_secs", "hung_task_check_interval_secs")
    old = {name: (SYSCTL / name).read_text() for name in names}
    for name, value in zip(names, (seconds, 1), strict=True):
        (SYSCTL / name).write_text(str(value))
    try:
        yield
    finally:
        for name, text in old.items():
            (SYSCTL / name).write_text(text)


class Child:
    """A process that does one operation, which may wait: it can be killed. Its exit status is the errno."""

    def __init__(self, what: str, action: Callable[[], object]) -> None:
        self.what = what
        self._status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 255
            try:
                code = tree.errno_of(action)
            finally:
                os._exit(code)

    def over(self) -> bool:
        """Has it ended?"""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None
        return self._status is not None

    def check_waits(self, seconds: float = MOMENT) -> None:
        """It must not end by itself now. Raises AssertionError if it does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert not self.over(), f"{self.what}: did not wait, {self.name()}"
            time.sleep(0.02)

    def name(self) -> str:
        """How it ended: the errno's name, ``done``, or the signal's name."""
        assert self._status is not None
        if os.WIFSIGNALED(self._status):
            return signal.Signals(os.WTERMSIG(self._status)).name
        code = os.WEXITSTATUS(self._status)
        return errno.errorcode.get(code, str(code)) if code else "done"

    def wait(self, limit: float = LIMIT) -> str:
        """Wait for its end, see :meth:`name`. Raises AssertionError when it takes longer."""
        start = pulse.time()
        while not self.over():
            where = describe_task(self.pid, self.pid)
            slept = pulse.time() - start - busy_time(self.pid, self.pid)
            assert slept < limit, f"{self.what}: not over, slept {slept:.2f} s: {where}"
            time.sleep(0.005)
        return self.name()

    def kill(self, limit: float = LIMIT) -> None:
        """It must be waiting, and end when it is killed."""
        assert not self.over(), f"{self.what}: did not wait, {self.name()}"
        os.kill(self.pid, signal.SIGKILL)
        assert self.wait(limit) in ("SIGKILL",)


def stuck(*killable: Child) -> list[str]:
    """Tasks that are in state D now and a moment later, at the same place.

    *killable*: those that wait killably, which looks the same and is no matter of hung-task detection. Nor is
    who has sent a command and waits for it (blk_execute_rq), as sd does with its last flush.
    """
    before = uninterruptible()
    time.sleep(MOMENT)
    after = uninterruptible()
    known = {child.pid for child in killable}
    return [
        where
        for task, where in after.items()
        if where and before.get(task) == where and task not in known and ": blk_execute_rq <" not in where
    ]


@contextmanager
def children() -> Iterator[Callable[[str, Callable[[], object]], Child]]:
    """Starts :class:`Child` processes; what is left of them at the end is killed."""
    made: list[Child] = []

    def start(what: str, action: Callable[[], object]) -> Child:
        made.append(Child(what, action))
        return made[-1]

    try:
        yield start
    finally:
        for child in made:
            if not child.over():
                os.kill(child.pid, signal.SIGKILL)
        for child in made:
            child.wait(GIVE_UP)
