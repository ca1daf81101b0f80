# SPDX-License-Identifier: GPL-2.0-or-later
"""What to do about devices whose backing came or went. Pure: states in, actions out.

* A parked device that is wanted is opened when its backing may be there: something is at its path, or, of a
  device on a disk that is known by something, anywhere. Whether that is the right one, and what is to be done
  then, is not decided here. One that was parked on request is not wanted.
* An active device is reopened when the disk it holds is gone, which the kernel notices by itself only at the
  next command. That parks it, unless the disk is back. That its path leads to another disk or file now is no
  reason to do anything.
* An active device whose backing has grown since it was last seen is asked to serve that. Whether it serves
  all of it is not what counts: somebody may have said that it should not.
* An attempt that failed is repeated at once when there is another backing than before (another disk, a file
  that grew), else with growing delays: whoever holds a disk exclusively gives no sign when he lets go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

__all__ = ["ABSENT", "Action", "Attempt", "Backing", "Decision", "Do", "Seen", "decide", "in_turn", "noted"]

FIRST_DELAY = 1.0
LONGEST_DELAY = 30.0

WANTED_KIND = {"blockio": "block", "fileio": "file"}


@dataclass(frozen=True, slots=True)
class Backing:
    """What is at a path now.

    `kind`: absent, file, block, or other. `identity` differs whenever another disk or file is there, or a
    file changed its size. `settled_in`: seconds until a file that is being written counts as complete.
    `size`: bytes.
    """

    kind: str
    identity: str = ""
    settled_in: float = 0.0
    size: int = 0


ABSENT = Backing("absent")


@dataclass(frozen=True, slots=True)
class Seen:
    """A device as it is now. `error`: the errno's name of the last opening, '' after a success or a request.

    `wanted`: it is to be active. `at`: where its backing is, or is looked for first. `open`: what it has
    open, in the kernel's words. `anywhere`: its disk may be anywhere; `backing` is then about all of them.
    `lost`: the disk that this active device holds does not exist any more. `replaced`: another disk or file
    is at its path. `grown`: its backing is larger than it was when it was last looked at. `shrunk`: its
    backing is smaller than what is served. `size`: the bytes that it serves.
    """

    name: str
    handler: str
    state: str
    path: str
    error: str = ""
    backing: Backing = ABSENT
    wanted: bool = True
    at: str = ""
    open: str = ""
    anywhere: bool = False
    lost: bool = False
    replaced: bool = False
    grown: bool = False
    shrunk: bool = False
    size: int = 0

    @property
    def awaited(self) -> bool:
        """It is not what it is configured to be: enabled, and without its backing."""
        return self.state == "parked" and self.wanted


@dataclass(frozen=True, slots=True)
class Attempt:
    """A failed attempt to open a backing: which, how often so far, and when to try again (seconds)."""

    identity: str
    count: int
    due: float


class Do(Enum):
    """Kinds of actions."""

    ACTIVATE = "activate"
    REOPEN = "reopen"
    GROW = "grow"


@dataclass(frozen=True, slots=True)
class Action:
    """What to do with one device."""

    do: Do
    name: str
    identity: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Actions to take now, and when to look again even if nothing happens (None: no need)."""

    actions: tuple[Action, ...] = ()
    due: float | None = None


def decide(devices: Iterable[Seen], attempts: Mapping[str, Attempt], now: float) -> Decision:
    """What to do now. `attempts`: the failures so far, by device; `now`: seconds on any steady clock."""
    actions = []
    dues = []
    for seen in devices:
        due = _due(seen, attempts.get(seen.name), now)
        if due is None:
            continue
        if due <= now:
            actions.append(Action(_do(seen), seen.name, seen.backing.identity))
        else:
            dues.append(due)
    return Decision(tuple(actions), min(dues, default=None))


def _do(seen: Seen) -> Do:
    if seen.state != "active":
        return Do.ACTIVATE
    return Do.REOPEN if seen.lost else Do.GROW


def _due(seen: Seen, failed: Attempt | None, now: float) -> float | None:
    """When to act on a device; None for not at all."""
    if seen.state == "active":
        wanted = seen.lost or seen.grown
    else:
        there = seen.anywhere or seen.backing.kind == WANTED_KIND.get(seen.handler)
        wanted = seen.awaited and there
    if not wanted:
        return None
    if failed is not None and failed.identity == seen.backing.identity:
        return failed.due
    return now if seen.state == "active" else now + seen.backing.settled_in


def in_turn(actions: Sequence[Action], last: str) -> tuple[Action, ...]:
    """The actions by name, beginning after the device `last`, so that a round cut short begins elsewhere."""
    return tuple(sorted(actions, key=lambda action: (action.name <= last, action.name)))


def noted(before: Attempt | None, identity: str, now: float) -> Attempt:
    """The record of one more failure with the backing of this identity."""
    count = before.count + 1 if before is not None and before.identity == identity else 1
    # The exponent is bounded so that the delay stays a number however long this goes on.
    return Attempt(identity, count, now + min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(count - 1, 16)))
