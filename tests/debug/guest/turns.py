# SPDX-License-Identifier: GPL-2.0-or-later
"""An operation, with its allocations failing in turn, until there is none left to fail.

An operation either says that it could not be done, and the configuration is what it was, or it is done. What
can not be refused, because something was removed, may remain staged; a commit brings it into force.
"""

from __future__ import annotations

import collections
import errno
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.debug.guest import faults, image
from tests.debug.guest.faults import MEMORY, Kind, Own, nth_fails
from tests.vm.guest import tree

# More allocations than any operation makes; one that retries for ever must not go on for ever.
MOST = 2000
CLEAR = {errno.ENOMEM}


@dataclass(slots=True)
class Tally:
    """What came of it: how many allocations of each kind there are at most, and how the operation ended."""

    allocations: dict[str, int] = field(default_factory=dict)
    ends: collections.Counter[str] = field(default_factory=collections.Counter)

    def __str__(self) -> str:
        return f"allocations {self.allocations}, ends {dict(self.ends)}"


def name_of(code: int) -> str:
    """The errno's name, ``done`` for 0."""
    return errno.errorcode.get(code, str(code)) if code else "done"


@dataclass(frozen=True, slots=True)
class Operation:
    """What is done, how it is undone, and what it may say when memory fails.

    *settle*: what it starts and does not wait for is over then; *removal*: it can not be refused; *sparse*:
    it takes long, so many times fewer of its allocations are tried.
    """

    do: Callable[[], object]
    undo: Callable[[], object]
    clear: frozenset[int] = frozenset(CLEAR)
    settle: Callable[[], object] | None = None
    removal: bool = False
    sparse: int = 1

    def done(self) -> dict[str, str]:
        """Do it without faults; the image after it."""
        self.do()
        self.quiet()
        return image.settled()

    def undone(self) -> dict[str, str]:
        """Undo it; the image after it."""
        self.undo()
        return image.settled()

    def quiet(self) -> None:
        """Wait for what it has started."""
        if self.settle is not None:
            self.settle()


def attempt(operation: Operation, memory: Kind, number: int) -> tuple[int, bool]:
    """Do it while the given allocation fails; the errno, and whether there was such an allocation."""
    with nth_fails(memory, number) as shot:
        code = tree.errno_of(operation.do)
        operation.quiet()
    return code, shot.fired


def in_turn(operation: Operation, tally: Tally | None = None, own: bool = False) -> Tally:
    """Let the allocations fail in turn, of each kind. Afterwards the operation is undone.

    *own*: also those that the system call itself asks for.
    """
    tally = tally or Tally()
    before = image.settled()
    after = operation.done()
    operation.undo()
    image.wait_for(before, "undone, without faults")
    for memory in (*MEMORY, Own()) if own else MEMORY:
        for number in faults.numbers(operation.sparse):
            if number >= MOST and operation.sparse > 1:
                break  # those are the initiator's, which scans and probes
            assert number < MOST, f"{memory.name}: no end of allocations"
            code, fired = attempt(operation, memory, number)
            tally.ends[name_of(code)] += 1
            what = f"{memory.name} {number}: {name_of(code)}"
            judge(operation, code, fired, what, before, after)
            if not fired:
                break
        tally.allocations[memory.name] = number - 1
    return tally


def judge(
    operation: Operation,
    code: int,
    fired: bool,
    what: str,
    before: dict[str, str],
    after: dict[str, str],
) -> None:
    """All or nothing, and a clear word; then undo what was done."""
    assert code == 0 or (fired and code in operation.clear), what
    if code:
        image.wait_for(before, what)
        return
    if operation.removal and tree.staged():
        tree.commit()
    image.wait_for(after, what)
    operation.undo()
    image.wait_for(before, f"{what}, undone")
