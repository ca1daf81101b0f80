# SPDX-License-Identifier: GPL-2.0-or-later
"""Backings that are opened and closed on request: each is proven before, and nobody is made to wait for long.

An opening that nobody waits for any longer goes on by itself (`asking`). What was proven for it stays held
until it is over.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pyscstadmin.config.facts import NOTHING, Difference, Facts, compare
from pyscstadmin.config.settings import HANDLERS
from pyscstadmin.errors import Conflict, OperationError
from pyscstadmin.kernel.asking import ON_THE_WAY, Patience, arrived
from pyscstadmin.kernel.backing import Found, Machine
from pyscstadmin.kernel.cfs import Tree, View, optional
from pyscstadmin.kernel.hints import hinted
from pyscstadmin.kernel.prove import Proof, proven

__all__ = ["MOMENT", "Asked", "Openings", "Rebound", "Resized", "write_all"]

# Seconds for which a request that nothing else depends on is waited for with the lock: most need less.
MOMENT = 0.1


@dataclass(frozen=True, slots=True)
class Resized:
    """Bytes that a device served before and serves now, and its state."""

    before: int
    size: int
    state: str


@dataclass(frozen=True, slots=True)
class Rebound:
    """A device that is on something else: what it was known by before and is from now on (None: nothing),
    and its state.
    """

    device: str
    path: str
    before: Facts | None
    after: Facts | None
    state: str = ""

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The facts that are other ones now, those that decide first."""
        verdict = compare(self.before or NOTHING, self.after or NOTHING)
        return (*verdict.differences, *verdict.hints)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked of a device (`active`), whether that is over, and what was proven before."""

    directory: str
    value: str
    answered: bool
    proof: Proof | None = None


class Openings:
    """The requests of one writer. He says what they are made with, as it is at the moment: the `tree`, where
    backings are looked for, what is left of his `patience`, and whether he was asked to stop.
    """

    def __init__(
        self,
        tree: Callable[[], Tree],
        machine: Callable[[], Machine],
        patience: Callable[[], Patience],
        stopped: Callable[[], bool],
    ) -> None:
        self._tree = tree
        self._machine = machine
        self._patience = patience
        self._stopped = stopped
        # What was proven of devices that are being opened without anybody who waits: nothing else can get
        # the number of their files until they are open.
        self._held: dict[str, ExitStack] = {}

    @contextmanager
    def proven(self, tree: View, directory: str) -> Iterator[Proof]:
        """Prove the backing of a device that is opened within. Of one that is still being opened after that,
        it stays proven.
        """
        with ExitStack() as held:
            yield held.enter_context(proven(tree, directory, self._machine(), self._patience()))
            if optional(tree, f"{directory}/state") in ON_THE_WAY:
                self._held[directory] = held.pop_all()

    def holds(self, directory: str) -> bool:
        """Whether a device was being opened when nobody waited for it any longer (see `release`)."""
        return directory in self._held

    def release(self, *, every: bool = False) -> None:
        """Let go of what was proven of devices that are not being opened any more, or of everything."""
        for directory in list(self._held):
            state = "" if every else optional(self._tree(), f"{directory}/state")
            if state not in ON_THE_WAY:
                self._held.pop(directory).close()

    def open(self, directory: str, how: str = "1") -> Asked:
        """Prove a backing and ask for it to be opened. Raises `OperationError`."""
        if not HANDLERS[directory.split("/")[1]].backed:
            return self.switch(directory, how)
        with self.proven(self._tree(), directory) as proof:
            return self.switch(directory, how, proof)

    def switch(self, directory: str, value: str, proof: Proof | None = None) -> Asked:
        """Ask, and wait for no longer than is no burden for anybody else. Raises `OperationError`."""
        try:
            answered = Patience(MOMENT).ask(self._tree(), f"{directory}/active", value)
        except OperationError as error:
            raise self._explained(error, proof) from error
        return Asked(directory, value, answered, proof)

    def _explained(self, error: OperationError, proof: Proof | None) -> OperationError:
        if proof is not None and not proof.bound and error.errno == errno.ESTALE:
            error.advice = proof.text
            return error
        return hinted(self._tree(), error)

    def came_of(self, asked: Asked) -> str:
        """Wait for what comes of a request, without the lock; the state. Raises `OperationError`: ECANCELED
        if somebody else has asked for something else meanwhile.
        """
        came = arrived(self._tree, asked.directory, self._stopped)
        self.release()
        wanted = "parked" if asked.value == "0" else "active"
        if came is not None and came.state == wanted:
            return came.state
        if came is None:
            number = errno.EINPROGRESS
        elif came.state != "parked" or came.wanted != (asked.value != "0"):
            number = errno.ECANCELED
        else:
            number = getattr(errno, came.error, errno.EIO)
        path = f"{self._tree().root}/{asked.directory}/active"
        raise self._explained(OperationError("write", path, asked.value, number), asked.proof)

    def at(self, path: str) -> Found | None:
        """What is at a path. Raises `Conflict` if it does not answer."""
        try:
            with self._patience().spending() as left, self._machine().answering(path, left) as found:
                return found
        except TimeoutError:
            raise Conflict(f"{path} does not answer") from None

    def put_on(self, directory: str, state: str, changes: Mapping[str, str]) -> Asked:
        """Put a device on another backing, which `changes` say: all of it, or everything is as before. Raises
        `OperationError`.
        """
        tree = self._tree()
        old = {name: tree.read(f"{directory}/{name}") for name in changes}
        if state == "active":
            self._close(directory)
        try:
            write_all(tree, directory, changes)
            return self.open(directory)
        except BaseException:
            write_all(tree, directory, old)
            if state == "active":
                self.open(directory)
            raise

    def _close(self, directory: str) -> None:
        """Close it, and wait for that with the lock, for more is to be done. One that is not closed in time
        is opened again. Raises `OperationError`.
        """
        path = f"{directory}/active"
        if not self._patience().ask(self._tree(), path, "0"):
            self.open(directory)
            raise OperationError("write", f"{self._tree().root}/{path}", "0", errno.EINPROGRESS)


def write_all(tree: View, directory: str, values: Mapping[str, str]) -> None:
    """Write several attributes of a device."""
    for name, text in values.items():
        tree.write(f"{directory}/{name}", text)
