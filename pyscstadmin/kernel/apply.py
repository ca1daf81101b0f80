# SPDX-License-Identifier: GPL-2.0-or-later
"""Executing a plan: all of it, or none of it.

Whatever fails or interrupts, everything done before is undone in reverse order, staged changes included. A
program that is killed in the middle leaves the kernel with exactly the calls it made; the next apply reads
that and does the rest.

What takes long because a backing does not answer, or commands do not end, is waited for with patience
(`asking.Patience`) and then goes on by itself: a device whose backing is not open by then is one that waits
for its backing, and what is being closed serves nobody any more.
"""

from __future__ import annotations

import errno
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from pyscstadmin.config.plan import (
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
    Secret,
    Settle,
    Unlink,
    Write,
    inverse,
)
from pyscstadmin.config.settings import DRIVERS, HANDLERS
from pyscstadmin.errors import ApplyFailed, OperationError, PartlyApplied
from pyscstadmin.kernel.asking import Patience
from pyscstadmin.kernel.cfs import View
from pyscstadmin.kernel.hints import hinted
from pyscstadmin.kernel.prove import Proof, Was
from pyscstadmin.kernel.read import link_to
from pyscstadmin.kernel.running import Running
from pyscstadmin.kernel.secrets import give, give_back
from pyscstadmin.kernel.stops import deferred, uninterrupted

if TYPE_CHECKING:
    from pyscstadmin.config.lint import Remark

__all__ = ["Failure", "Outcome", "Progress", "execute", "failures"]

# Called before each operation: how many are done, of how many, and the one that comes.
Progress = Callable[[int, int, Operation], None]

# Proves the backing of the device in a directory, which is opened within.
Prover = Callable[[View, str], AbstractContextManager[Proof]]

# Seconds for requests, where nobody says it.
_PATIENCE = 3.0

# Seconds that the opening of a target is waited for which is hardware: its chip is reset for that.
_CHIP_RESET = 60.0

_CLOSING = "it is still being closed: its backing, or commands of initiators, keep it waiting"

_UNKNOWN = (
    "in force: the new access, without the LUNs of devices that were to change; staged, as before: what the "
    "tree shows. `scstadmin apply FILE` brings both to a known state"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """An operation that was left out because the kernel refused it."""

    operation: Operation
    error: OperationError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an execution did: the operations done, those left out, and the devices that wait for their
    backing (`parked`), or whose backing did not answer yet (`opening`). It is false if there was nothing to
    do.

    `generation` is the one that this execution brought into force (or found there). `settled`: it took
    nothing from anybody, or no command runs any more that was admitted before; None: nobody waited for
    that, or the kernel does not tell. `running` says whose commands do, if it is not settled. `remarks`:
    what is allowed and hardly meant, by the rules of `config.lint`. `proofs`: what was found for the devices
    that were enabled. `waiting`: targets (DRIVER/NAME) that go into service when their port is there; that
    is no failure, and nothing is left to be done.
    """

    generation: int
    done: tuple[Operation, ...] = ()
    failed: tuple[Failure, ...] = ()
    parked: tuple[str, ...] = ()
    settled: bool | None = True
    running: tuple[Running, ...] = ()
    remarks: tuple[Remark, ...] = ()
    proofs: tuple[Proof, ...] = ()
    opening: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.done or self.failed)

    @property
    def exit_code(self) -> int:
        """0 done, 3 done but devices are parked or being opened, 4 operations were left out or revoked access
        is still in use.
        """
        if self.failed or self.settled is False:
            return 4
        return 3 if self.parked or self.opening else 0


def execute(
    tree: View,
    plan: Plan,
    generation: int,
    *,
    progress: Progress | None = None,
    keep_going: bool = False,
    fence: bool = False,
    deliver: Callable[[], None] | None = None,
    prove: Prover | None = None,
    patience: Patience | None = None,
) -> Outcome:
    """Execute a plan that was made from the configuration of this generation.

    `keep_going`: an operation that is refused is undone and left out, and the rest goes on; what brings
    access into force is never left out. `fence`: commands of access that is revoked are aborted. Raises
    `ApplyFailed` (all undone) or `PartlyApplied` (undoing failed). Signals whose handlers raise, as
    control-C does, and exceptions of `progress` undo everything too; the latter are raised again. `deliver`
    runs the handlers of signals that came, for a caller who has `deferred` them. `prove`: called around the
    enabling of each device with a backing. `patience`: how long requests are waited for.
    """
    if not plan:
        return Outcome(generation)
    asking = patience if patience is not None else Patience(_PATIENCE)
    run = _Run(tree, generation, keep_going, "commit_fence" if fence else "commit", prove, asking)
    operations = run.leaves(plan.operations)
    if deliver is not None:
        deliver()
        return run.all(operations, progress, deliver)
    with deferred() as own:
        return run.all(operations, progress, own)


class _Run:
    """The operations done so far, and their acts in order."""

    def __init__(
        self,
        tree: View,
        generation: int,
        keep_going: bool,
        committing: str,
        prove: Prover | None,
        patience: Patience,
    ) -> None:
        self.tree = tree
        self.prove = prove
        self.patience = patience
        # Directories of what is being closed, as it was asked for here.
        self.closing: set[str] = set()
        self.committing = committing
        self.base = generation
        self.keep_going = keep_going
        self.acts: list[Act] = []
        self.undoing = False
        self.proofs: list[Proof] = []
        # The operations done, and for each how many acts were done before it. There may be a million.
        self.done: list[Operation] = []
        self.starts = array("q")
        self.failed: list[Failure] = []
        # Directories of targets whose access stays as it was, and why.
        self.closed: dict[str, OperationError] = {}
        # Directories that links are to be made to -> those that kept their place.
        self.instead: dict[str, str] = {}
        self.found_staged = False
        self.committed = False

    def leaves(self, operations: Sequence[Operation]) -> Sequence[Operation]:
        """The operations to do: the smallest that can be left out, if that is asked for."""
        if not self.keep_going:
            return operations
        return [leaf for operation in operations for leaf in operation.parts or (operation,)]

    def all(
        self, operations: Sequence[Operation], progress: Progress | None, deliver: Callable[[], None]
    ) -> Outcome:
        for operation in operations:
            if operation.target in self.closed:
                self.failed.append(Failure(operation, self.closed[operation.target]))
                continue
            start = len(self.acts)
            try:
                if progress is not None:
                    progress(len(self.done), len(operations), operation)
                self.operation(operation, deliver)
            except OperationError as refused:
                # Before anything is undone: the settings it is about are still there.
                error = hinted(self.tree, refused)
                if not self.keep_going or isinstance(operation.acts[0], Begin | Commit):
                    self.give_up(operation, error)
                self.leave_out(operation, error, start)
                continue
            except KeyboardInterrupt as error:
                self.give_up(operation, error)
            except BaseException as error:
                self.back_out(operation, error)
                raise
            self.done.append(operation)
            self.starts.append(start)
        return Outcome(self.base, tuple(self.done), tuple(self.failed), proofs=tuple(self.proofs))

    def operation(self, operation: Operation, deliver: Callable[[], None]) -> None:
        for act in operation.acts:
            if isinstance(act, Begin):
                self.begin(act)
            else:
                self.acts.append(self.act(act))
            deliver()

    def act(self, act: Act) -> Act:
        """Do an act; returns what was done, if that is not the act to the letter."""
        tree = self.tree
        match act:
            case Mkdir(path):
                tree.mkdir(path)
            case Link(path, target):
                found = self.instead.get(target, target)
                tree.symlink(found, path)
                return act if found == target else Link(path, found)
            case Write(path, value):
                self.write(path, value)
            case Secret():
                (give_back if self.undoing else give)(tree, act)
            case Unlink():
                return self.unlink(act)
            case Rmdir(path):
                tree.rmdir(path)
            case Commit():
                self.commit()
            case End():
                tree.write("autocommit", "1")
            case Reopen():
                tree.write("autocommit", "0")
            case Settle():
                self.settle()
        return act

    def write(self, path: str, value: str) -> None:
        """Write an attribute. Before a device is enabled, its backing is proven."""
        directory, _, name = path.rpartition("/")
        if name != "enabled":
            self.set(path, value, directory)
            return
        if self.prove is None or value != "1" or not _backed(directory):
            self.switch(path, value, directory)
            return
        with self.prove(self.tree, directory) as proof:
            self.switch(path, value, directory)
        if self.undoing:
            return
        self.proofs.append(proof)
        if proof.was is Was.NEW and proof.facts is not None:
            # What it is known by now goes with the rest, if that is undone.
            self.acts.append(Write(f"{directory}/facts", proof.facts.text(), ""))

    def set(self, path: str, value: str, directory: str) -> None:
        """Write a setting."""
        try:
            self.tree.write(path, value)
        except OperationError as error:
            if error.errno == errno.EBUSY and directory.removesuffix("/id") in self.closing:
                error.advice = _CLOSING
            raise

    def switch(self, path: str, value: str, directory: str) -> None:
        """Enable or disable, and wait as long as the patience lasts. What is being closed then serves nobody,
        a target that has to be closed first is enabled after that, and undoing goes on as well.

        A target that is enabled waits for no backing, and what its driver says is wanted: so however much of
        the patience is used up, it is waited for.
        """
        opened = value == "1" and path.startswith("targets/")
        least = _CHIP_RESET if opened and DRIVERS[path.split("/")[1]].ports is not None else 0.0
        if self.patience.ask(self.tree, path, value, whole=opened, least=least):
            self.closing.discard(directory)
        elif value == "0":
            self.closing.add(directory)
        elif not self.undoing and self.tree.read(f"{directory}/state") != "closing":
            raise OperationError("write", f"{self.tree.root}/{path}", value, errno.EINPROGRESS)

    def unlink(self, act: Unlink) -> Act:
        """Remove a link to a device or a portal, under whatever name somebody made it by hand."""
        try:
            self.tree.unlink(act.path)
        except OperationError as error:
            place = act.path.rpartition("/")[0]
            name = link_to(self.tree, place, act.target) if error.errno == errno.ENOENT else ""
            if not name:
                raise
            self.tree.unlink(f"{place}/{name}")
            return Unlink(f"{place}/{name}", act.target)
        return act

    def begin(self, act: Begin) -> None:
        """With staging on, nobody publishes by the way, so now is the time to see whether somebody did, or
        has begun to stage.

        Later would be too late to keep what that was: undoing only knows the configuration that was read.
        """
        stale = OperationError("write", "commit", str(self.base), errno.ESTALE)
        if act.clean and (self.tree.read("autocommit"), self.tree.read("staged")) != ("1", "0"):
            raise stale
        self.tree.write("autocommit", "0")
        self.acts.append(act)
        staged = self.tree.read("staged") == "1"
        if act.clean and staged:
            # Somebody else's: turning staging off again would publish it.
            self.acts.pop()
            raise stale
        self.found_staged |= staged
        if self.tree.read("generation") != str(self.base):
            raise stale

    def commit(self) -> None:
        self.tree.write(self.committing, str(self.base))
        self.committed = True
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
        with uninterrupted(), self._undoing():
            while len(self.acts) > start:
                act = self.acts.pop()
                if isinstance(act, Begin) and not act.clean and self.committed:
                    left += self.unbegin()
                left += [said for back in inverse(act) if (said := self.attempt(back))]
        return left

    @contextmanager
    def _undoing(self) -> Iterator[None]:
        self.undoing = True
        try:
            yield
        finally:
            self.undoing = False

    def unbegin(self) -> list[str]:
        """Undo a commit on top of a tree that was not settled, when all acts after it are undone.

        If nothing was staged, what the tree shows again is what was in force. If something was, nobody knows
        what was in force; and to publish what somebody had not is not undoing.
        """
        if self.found_staged:
            return [_UNKNOWN]
        said = self.attempt(Settle())
        return [said] if said else []

    def attempt(self, act: Act) -> str:
        """Do an act; returns what was said against it, '' for nothing."""
        try:
            self.act(act)
        except OperationError as error:
            return str(error)
        return ""

    def leave_out(self, operation: Operation, error: OperationError, start: int) -> None:
        """Undo the part of an operation that was done, and what must not be done without it."""
        left = self.undo(start)
        if left:
            self.give_up(operation, error, left)
        self.failed.append(Failure(operation, error))
        if operation.replaces:
            self.instead[operation.path] = operation.replaces
        if not operation.claims:
            return
        # Operations about the access of one target are next to each other.
        self.closed[operation.target] = error
        while self.done and self.done[-1].target == operation.target:
            undone = self.done.pop()
            left = self.undo(self.starts.pop())
            if left:
                self.give_up(undone, error, left)
            self.failed.append(Failure(undone, error))

    def give_up(self, operation: Operation, cause: BaseException, left: Sequence[str] = ()) -> NoReturn:
        self.back_out(operation, cause, left)
        raise ApplyFailed(operation.text, cause) from cause

    def back_out(self, operation: Operation, cause: BaseException, left: Sequence[str] = ()) -> None:
        """Undo everything. Raises `PartlyApplied`."""
        left = [*left, *self.undo()]
        if left:
            raise PartlyApplied(operation.text, cause, left) from cause


def _backed(directory: str) -> bool:
    """Whether it is the directory of a device with a backing."""
    parts = directory.split("/")
    return len(parts) == 3 and parts[0] == "devices" and HANDLERS[parts[1]].backed


def failures(outcome: Outcome) -> Sequence[str]:
    """One line per operation left out."""
    return [f"{failure.operation.text}: {failure.error}" for failure in outcome.failed]
