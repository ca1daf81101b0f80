# SPDX-License-Identifier: GPL-2.0-or-later
"""Who sees what, and why: the kernel's choice of a group, as a pure function.

An exact name anywhere wins over every pattern; among several, and among patterns, the lowest priority, then
the group name in byte order. No match: the target's own LUNs. Which spelling of a name somebody used does not
matter (`config.spelling`).

An initiator that has come by a portal is matched as `initiator#portal` by what has a # in it. An exact pair
wins over an exact name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyscstadmin.config.spelling import Spellings, canonical, is_exact

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol

    from pyscstadmin.config.model import Lun

    class Group(Protocol):
        """What is to be known of a group: of a configuration, or of somebody who wants to know no more."""

        @property
        def name(self) -> str:
            """Its name."""

        @property
        def priority(self) -> int:
            """The lower goes first."""

        @property
        def initiators(self) -> Sequence[str]:
            """Names and patterns."""

        @property
        def luns(self) -> tuple[Any, ...]:
            """What it shows."""

    class Target(Protocol):
        """What is to be known of a target, likewise."""

        @property
        def groups(self) -> Sequence[Group]:
            """Its groups."""

        @property
        def luns(self) -> tuple[Any, ...]:
            """Its own LUNs."""


__all__ = ["Decision", "Verdict", "decide"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one group has to say about an initiator.

    `pattern` is the entry that matches ('' for none), preferring an exact name; `reason` is a sentence.
    """

    group: str
    priority: int
    pattern: str
    exact: bool
    chosen: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The LUNs an initiator (`name`, or `name#portal`) sees, through which group ('' for the target's own),
    and why.
    """

    initiator: str
    group: str
    luns: tuple[Lun, ...]
    reason: str
    verdicts: tuple[Verdict, ...]


class _Who:
    """An initiator, as patterns are compared with it."""

    def __init__(self, initiator: str, portal: str) -> None:
        self.name = f"{initiator}#{portal}" if portal else initiator
        self._has_portal = bool(portal)
        self._alone = Spellings.of(initiator)
        self._full = Spellings.of(self.name)

    def match(self, pattern: str) -> bool:
        """Whether a pattern does."""
        return (self._full if "#" in pattern else self._alone).match(pattern)

    def rank(self, pattern: str) -> int:
        """The lower goes first: a name with its portal, a name, a pattern."""
        if not is_exact(pattern):
            return _PATTERN
        return _PAIR if self._has_portal and "#" in pattern else _NAME


_PAIR, _NAME, _PATTERN = range(3)


def decide(target: Target, initiator: str, portal: str = "") -> Decision:
    """Which LUNs of `target` the initiator sees, whose name may be in any spelling; '' for no portal."""
    who = _Who(canonical(initiator), portal)
    entries = [(group, *_entry(group, who)) for group in target.groups]
    hits = [(rank, group.priority, group.name.encode(), group) for group, pattern, rank in entries if pattern]
    winner = min(hits, key=lambda hit: hit[:3])[3] if hits else None
    best = next((rank for group, _, rank in entries if group is winner), _PATTERN)
    verdicts = tuple(_verdict(group, pattern, rank, winner, best) for group, pattern, rank in entries)
    if winner is None:
        why = "no group claims this initiator: it sees the target's own LUNs"
        return Decision(who.name, "", target.luns, why, verdicts)
    why = next(verdict.reason for verdict in verdicts if verdict.chosen)
    return Decision(who.name, winner.name, winner.luns, why, verdicts)


def _entry(group: Group, who: _Who) -> tuple[str, int]:
    """(the entry of the group that matches, '' for none; its rank)."""
    hits = [
        (who.rank(pattern), at, pattern) for at, pattern in enumerate(group.initiators) if who.match(pattern)
    ]
    rank, _, pattern = min(hits, default=(_PATTERN, 0, ""))
    return pattern, rank


def _verdict(group: Group, pattern: str, rank: int, winner: Group | None, best: int) -> Verdict:
    reason = _reason(group, pattern, rank, winner, best)
    return Verdict(group.name, group.priority, pattern, rank != _PATTERN, group is winner, reason)


def _reason(group: Group, pattern: str, rank: int, winner: Group | None, best: int) -> str:
    if not pattern or winner is None:
        return "none of its patterns match" if group.initiators else "it has no initiators"
    entry = f"pattern {pattern!r}" if rank == _PATTERN else f"exact name {pattern!r}"
    if group is winner:
        return f"chosen: {entry} matches, priority {group.priority}"
    if best < rank:
        name = "exact name with the portal" if best == _PAIR else "exact name"
        return f"{entry} matches, but group {winner.name!r} has the {name}"
    if winner.priority != group.priority:
        return f"{entry} matches, but group {winner.name!r} has the lower priority {winner.priority}"
    return f"{entry} matches, but group {winner.name!r} of the same priority comes first by name"
