# SPDX-License-Identifier: GPL-2.0-or-later
"""What became of each item of another stack's configuration. Pure.

The converters enter what they understand; `Account.sweep` enters everything else, so that nothing can be
dropped without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pyscstadmin.config.check import Finding
from pyscstadmin.config.where import Path, dotted

__all__ = ["Account", "Item", "Verdict", "leaves"]


class Verdict(Enum):
    """What became of an item.

    MAPPED: it stands in the configuration. SAME: it needs nothing; scst does so anyway, or it has no effect.
    DIFFERS: scst does it otherwise, and nobody asked for the other way: a default of the other stack.
    LOST: somebody asked for it, and it cannot be expressed.
    """

    MAPPED = "mapped"
    SAME = "same"
    DIFFERS = "differs"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the input and what became of it; `whole`: with everything below it.

    `to`: where it is in our configuration. `text`: why, and what to do; no secret is in it.
    """

    path: Path
    verdict: Verdict
    text: str = ""
    to: tuple[Path, ...] = ()
    whole: bool = False

    @property
    def place(self) -> str:
        """Where it is in the input: `storage_objects[0].wwn`."""
        return dotted(self.path)

    def as_dict(self) -> dict[str, Any]:
        """The item as plain data."""
        to = [dotted(path) for path in self.to]
        return {"item": self.place, "verdict": self.verdict.value, "to": to, "text": self.text}


@dataclass(slots=True)
class Account:
    """Collects the items, and what is wrong with the input itself."""

    items: list[Item] = field(default_factory=list)
    _findings: dict[Finding, None] = field(default_factory=dict)

    @property
    def findings(self) -> list[Finding]:
        """What is wrong with the input, each thing once."""
        return list(self._findings)

    def mapped(self, path: Path, *to: Path, text: str = "") -> None:
        """The item is in our configuration, at these places."""
        self.items.append(Item(path, Verdict.MAPPED, text, to))

    def note(self, path: Path, verdict: Verdict, text: str, *, whole: bool = False) -> None:
        """The item is not in our configuration. `whole`: neither is anything below it."""
        self.items.append(Item(path, verdict, text, whole=whole))

    def wrong(self, path: Path, message: str) -> None:
        """The input is not what it should be."""
        self._findings[Finding(path, message)] = None

    def count(self) -> dict[str, int]:
        """How many items of each verdict."""
        found = Counter(item.verdict for item in self.items)
        return {verdict.value: found[verdict] for verdict in Verdict}

    def lost(self) -> list[Item]:
        """The items that cannot be expressed."""
        return [item for item in self.items if item.verdict is Verdict.LOST]

    def sweep(self, data: Any, text: str) -> None:
        """Enter every value of the input that no item is about, as lost, with these words."""
        known = {item.path for item in self.items}
        wholes = {item.path for item in self.items if item.whole}
        for path in leaves(data, wholes):
            if path not in known:
                self.note(path, Verdict.LOST, text)

    def in_order(self, data: Any) -> None:
        """Sort the items as they stand in the input; what is missing comes after what lacks it."""
        rank = {path: number for number, (path, _) in enumerate(_walk(data, frozenset()))}

        def place(item: Item) -> int:
            path = item.path
            while path not in rank:
                path = path[:-1]
            return rank[path]

        self.items.sort(key=place)


def leaves(data: Any, stop: frozenset[Path] | set[Path] = frozenset()) -> Iterator[Path]:
    """The paths of all single values, but of none at or below a path of `stop`. Empty lists and objects
    are no values.
    """
    return (path for path, value in _walk(data, stop) if not isinstance(value, dict | list))


def _walk(data: Any, stop: frozenset[Path] | set[Path]) -> Iterator[tuple[Path, Any]]:
    """All paths and values in the order of the input, an object before what is in it."""
    pending: list[tuple[Path, Any]] = [((), data)]
    while pending:
        path, value = pending.pop()
        if path in stop:
            continue
        yield path, value
        if isinstance(value, dict | list):
            members = value.items() if isinstance(value, dict) else enumerate(value)
            pending.extend([((*path, key), inner) for key, inner in members][::-1])
