# SPDX-License-Identifier: GPL-2.0-or-later
"""Who sees what, and why: the kernel's choice of a group, as a pure function.

An exact name anywhere wins over every pattern; among several, and among patterns, the lowest priority, then
the group name in byte order. No match: the target's own LUNs. Which spelling of a name somebody used does not
matter (`config.spelling`).
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
    """The LUNs an initiator sees, through which group ('' for the target's own), and why."""

    initiator: str
    group: str
    luns: tuple[Lun, ...]
    reason: str
    verdicts: tuple[Verdict, ...]


def decide(target: Target, initiator: str) -> Decision:
    """Which LUNs of `target` the initiator sees, whose name may be in any spelling."""
    initiator = canonical(initiator)
    spellings = Spellings.of(initiator)
    entries = [(group, *_entry(group, spellings)) for group in target.groups]
    hits = [
        (not exact, group.priority, group.name.encode(), group)
        for group, pattern, exact in entries
        if pattern
    ]
    winner = min(hits, key=lambda hit: hit[:3])[3] if hits else None
    winner_exact = any(exact for group, _, exact in entries if group is winner)
    verdicts = tuple(
        _verdict(group, pattern, exact, winner, winner_exact) for group, pattern, exact in entries
    )
    if winner is None:
        why = "no group claims this initiator: it sees the target's own LUNs"
        return Decision(initiator, "", target.luns, why, verdicts)
    why = next(verdict.reason for verdict in verdicts if verdict.chosen)
    return Decision(initiator, winner.name, winner.luns, why, verdicts)


def _entry(group: Group, initiator: Spellings) -> tuple[str, bool]:
    """(the entry of the group that matches, is it an exact name)."""
    hits = [pattern for pattern in group.initiators if initiator.match(pattern)]
    exact = [pattern for pattern in hits if is_exact(pattern)]
    return (exact or hits or [""])[0], bool(exact)


def _verdict(group: Group, pattern: str, exact: bool, winner: Group | None, winner_exact: bool) -> Verdict:
    chosen = group is winner
    reason = _reason(group, pattern, exact, winner, winner_exact)
    return Verdict(group.name, group.priority, pattern, exact, chosen, reason)


def _reason(group: Group, pattern: str, exact: bool, winner: Group | None, winner_exact: bool) -> str:
    if not pattern or winner is None:
        return "none of its patterns match" if group.initiators else "it has no initiators"
    entry = f"exact name {pattern!r}" if exact else f"pattern {pattern!r}"
    if group is winner:
        return f"chosen: {entry} matches, priority {group.priority}"
    if winner_exact and not exact:
        return f"{entry} matches, but group {winner.name!r} has the exact name"
    if winner.priority != group.priority:
        return f"{entry} matches, but group {winner.name!r} has the lower priority {winner.priority}"
    return f"{entry} matches, but group {winner.name!r} of the same priority comes first by name"
