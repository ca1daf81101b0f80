# SPDX-License-Identifier: GPL-2.0-or-later
"""Executing a plan: all of it, or none of it.

Whatever fails, everything done before is undone in reverse order, staged changes included. A program that is
killed in the middle leaves the kernel with exactly the calls it made; the next apply reads that and does the
rest.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from pyscstadmin.cfs import View
from pyscstadmin.errors import ApplyFailed, LockTimeout, OperationError, PartlyApplied
from pyscstadmin.plan import (
    Act,
    Begin,
    Commit,
    End,
    Link,
    Mkdir,
    Operation,
    Plan,
    Reopen,
    Rmdir,
    Settle,
    Unlink,
    Write,
    inverse,
)

__all__ = ["Failure", "Outcome", "Progress", "execute", "failures", "locked"]

# Called before each operation: how many are done, of how many, and the one that comes.
Progress = Callable[[int, int, Operation], None]

_POLL = 0.02


@dataclass(frozen=True, slots=True)
class Failure:
    """An operation that was left out because the kernel refused it."""

    operation: Operation
    error: OperationError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an execution did: the operations done, those left out, and the devices that wait for their
    backing.

    `generation` is the one that this execution brought into force (or found there).
    """

    generation: int
    done: tuple[Operation, ...] = ()
    failed: tuple[Failure, ...] = ()
    parked: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 done, 3 done but devices are parked, 4 some operations were left out."""
        if self.failed:
            return 4
        return 3 if self.parked else 0


def execute(
    tree: View, plan: Plan, generation: int, *, progress: Progress | None = None, keep_going: bool = False
) -> Outcome:
    """Execute a plan that was made from the configuration of this generation.

    `keep_going`: an operation that is refused is undone and left out, and the rest goes on; what brings
    access into force is never left out. Raises `ApplyFailed` (all undone) or `PartlyApplied` (undoing
    failed).
    """
    run = _Run(tree, generation)
    done: list[Operation] = []
    failed: list[Failure] = []
    for operation in plan.operations:
        if progress is not None:
            progress(len(done), len(plan.operations), operation)
        start = len(run.acts)
        try:
            run.operation(operation)
        except OperationError as error:
            if not keep_going or isinstance(operation.acts[0], Begin | Commit):
                run.give_up(operation, error)
            left = run.undo(start)
            if left:
                run.give_up(operation, error, left)
            failed.append(Failure(operation, error))
            continue
        except KeyboardInterrupt as error:
            run.give_up(operation, error)
        done.append(operation)
    return Outcome(run.base, tuple(done), tuple(failed))


class _Run:
    """The acts done so far, in order."""

    def __init__(self, tree: View, generation: int) -> None:
        self.tree = tree
        self.base = generation
        self.acts: list[Act] = []

    def operation(self, operation: Operation) -> None:
        for act in operation.acts:
            self.act(act)
            self.acts.append(act)

    def act(self, act: Act) -> None:
        tree = self.tree
        match act:
            case Mkdir(path):
                tree.mkdir(path)
            case Write(path, value):
                tree.write(path, value)
            case Link(path, target):
                tree.symlink(target, path)
            case Unlink(path):
                tree.unlink(path)
            case Rmdir(path):
                tree.rmdir(path)
            case Begin(clean):
                self.begin(clean)
            case Commit():
                self.commit()
            case End():
                tree.write("autocommit", "1")
            case Reopen():
                tree.write("autocommit", "0")
            case Settle():
                self.settle()

    def begin(self, clean: bool) -> None:
        """With staging on, nobody publishes by the way, so now is the time to see whether somebody did.

        Later would be too late to keep what that was: undoing only knows the configuration that was read.
        """
        self.tree.write("autocommit", "0")
        if self.tree.read("generation") != str(self.base):
            if clean:
                self.tree.write("autocommit", "1")
            raise OperationError("write", "commit", str(self.base), errno.ESTALE)

    def commit(self) -> None:
        self.tree.write("commit", str(self.base))
        # A second commit of this run builds on this one. Anything further than one step is somebody else's:
        # keep the base, and let the kernel say so.
        self.base += self.tree.read("generation") != str(self.base)

    def settle(self) -> None:
        if self.tree.read("staged") == "1":
            self.tree.write("commit", self.tree.read("generation"))
        self.tree.write("autocommit", "1")

    def undo(self, start: int = 0) -> list[str]:
        """Undo the acts from `start` on, the last first; returns what could not be undone."""
        left = []
        with _uninterrupted():
            while len(self.acts) > start:
                left += [said for act in inverse(self.acts.pop()) if (said := self.attempt(act))]
        return left

    def attempt(self, act: Act) -> str:
        """Do an act; returns what was said against it, '' for nothing."""
        try:
            self.act(act)
        except OperationError as error:
            return str(error)
        return ""

    def give_up(self, operation: Operation, cause: BaseException, left: Sequence[str] = ()) -> NoReturn:
        left = [*left, *self.undo()]
        if left:
            raise PartlyApplied(operation.text, cause, left) from cause
        raise ApplyFailed(operation.text, cause) from cause


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep signals that ask to stop waiting until the block is done."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


@contextmanager
def locked(path: str, timeout: float = 10.0) -> Iterator[None]:
    """Hold the lock of all writers, waiting up to `timeout` seconds.

    Raises `LockTimeout`, `OperationError`.
    """
    fd = _open_lock(path)
    try:
        deadline = time.monotonic() + timeout
        while not _try_lock(fd):
            if time.monotonic() >= deadline:
                raise LockTimeout(path, timeout)
            time.sleep(_POLL)
        yield
    finally:
        os.close(fd)


def _open_lock(path: str) -> int:
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperationError("open", path, None, error.errno or 0) from error


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def failures(outcome: Outcome) -> Sequence[str]:
    """One line per operation left out."""
    return [f"{failure.operation.text}: {failure.error}" for failure in outcome.failed]
