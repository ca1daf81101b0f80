# SPDX-License-Identifier: GPL-2.0-or-later
"""Before a device's backing is opened: is what is there what the device is meant to be on?

What came of it is written to the device's directory, where the kernel heeds it: what it opens then is what
was proven here, or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pyscstadmin.config.facts import SAME, Difference, Facts, Verdict, compare
from pyscstadmin.config.settings import HANDLERS
from pyscstadmin.kernel.asking import Patience
from pyscstadmin.kernel.backing import Found, Machine
from pyscstadmin.kernel.cfs import View

__all__ = ["Proof", "Was", "look", "proven"]


class Was(Enum):
    """What was found for a device."""

    THERE = "there"  # the right one, at its path
    MOVED = "moved"  # the right one, elsewhere
    NEW = "new"  # nothing was known of it; from now on it is known by what is there
    ANY = "any"  # nothing is known of it, nor is there anything to know it by
    OTHER = "other"  # another one is at its path, and the right one nowhere
    SEVERAL = "several"  # not at its path, and elsewhere more than one claims to be it
    ABSENT = "absent"  # nothing is at its path, and the right one nowhere
    SILENT = "silent"  # its path does not answer


_BOUND = (Was.THERE, Was.MOVED, Was.NEW, Was.ANY)


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found for a device, where it was looked for (`path`), and where it is (`at`, '' if nowhere).

    `verdict`: about what is at the path. `facts`: what the device is known by from now on.
    """

    device: str
    path: str
    was: Was
    at: str = ""
    words: str = ""
    verdict: Verdict = SAME
    facts: Facts | None = None
    claims: tuple[str, ...] = ()

    @property
    def bound(self) -> bool:
        """Whether there is something to open."""
        return self.was in _BOUND

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The facts that are other ones than they were, of what is at the path."""
        return self.verdict.differences

    @property
    def text(self) -> str:
        """For people, without the name of the device."""
        match self.was:
            case Was.MOVED:
                return f"found at {self.at}, no longer at {self.path}"
            case Was.OTHER:
                return f"{self.path} is not what it was: {self.verdict}"
            case Was.SEVERAL:
                return f"{', '.join(self.claims)} all claim to be what {self.path} was"
            case Was.ABSENT:
                return f"nothing is at {self.path}"
            case Was.SILENT:
                return f"{self.path} does not answer"
            case Was.ANY:
                return f"{self.path} has nothing to be known by: whatever is there will be served"
        return f"is at {self.path}"

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON documents."""
        differences = [
            {"fact": one.name, "expected": one.known, "found": one.found} for one in self.differences
        ]
        found: Mapping[str, Any] = {"at": self.at, "differences": differences, "claims": list(self.claims)}
        return {"device": self.device, "path": self.path, "was": self.was.value} | {
            name: value for name, value in found.items() if value
        }


@contextmanager
def proven(tree: View, directory: str, backings: Machine, patience: Patience) -> Iterator[Proof]:
    """Prove a device's backing, and write down what may be opened; open it within. What it would be known by
    from now on is forgotten again if that fails. A path that does not answer in time (`patience`) proves
    nothing. Raises `OperationError`.
    """
    names = ("path", "facts", "elsewhere", "expect")
    old = dict(zip(names, tree.read_many([f"{directory}/{name}" for name in names]), strict=True))
    with _judged(directory, old["path"], Facts.read(old["facts"]), backings, patience) as proof:
        _write(tree, directory, old, proof)
        try:
            yield proof
        except BaseException:
            if proof.was is Was.NEW:
                tree.write(f"{directory}/facts", old["facts"])
            raise


def look(
    device: str, handler: str, path: str, facts: Facts | None, backings: Machine, patience: Patience
) -> Proof:
    """As `proven`, and nothing is written down."""
    with _judged(f"devices/{handler}/{device}", path, facts, backings, patience) as proof:
        return proof


@contextmanager
def _judged(
    directory: str, path: str, known: Facts | None, backings: Machine, patience: Patience
) -> Iterator[Proof]:
    with ExitStack() as held:
        try:
            with patience.spending() as seconds:
                found = held.enter_context(backings.answering(path, seconds))
            proof = _judge(directory, path, known, found, backings)
        except TimeoutError:
            proof = Proof(directory.rpartition("/")[2], path, Was.SILENT, facts=known)
        yield proof


def _judge(directory: str, path: str, known: Facts | None, found: Found | None, backings: Machine) -> Proof:
    _, handler, device = directory.split("/")
    exclusive = HANDLERS[handler].exclusive
    if known is None:
        fits = found is not None and found.words.startswith("b" if exclusive else "f")
        return _first(device, path, found, backings.telling(found) if found is not None and fits else None)
    verdict = compare(known, found.facts) if found is not None else Verdict(unproven=bool(known))
    if found is not None and verdict.same:
        return Proof(device, path, Was.THERE, path, found.words, verdict, known)
    claims = backings.search(known) if exclusive else []
    if len(claims) == 1 and claims[0].paths:
        there = claims[0]
        return Proof(device, path, Was.MOVED, there.paths[0], there.words, verdict, known)
    if claims:
        names = tuple(one.paths[0] for one in claims if one.paths)
        return Proof(device, path, Was.SEVERAL, verdict=verdict, facts=known, claims=names)
    was = Was.OTHER if found is not None else Was.ABSENT
    return Proof(device, path, was, verdict=verdict, facts=known)


def _first(device: str, path: str, found: Found | None, facts: Facts | None) -> Proof:
    """Of a device that nothing is known of."""
    if found is None:
        return Proof(device, path, Was.ABSENT)
    was = Was.ANY if facts is None else Was.NEW
    return Proof(device, path, was, path, found.words, facts=facts)


def _write(tree: View, directory: str, old: Mapping[str, str], proof: Proof) -> None:
    new = {
        "facts": proof.facts.text() if proof.was is Was.NEW and proof.facts is not None else old["facts"],
        "elsewhere": proof.at if proof.was is Was.MOVED else "",
        "expect": proof.words,
    }
    for name, text in new.items():
        if text != old[name]:
            tree.write(f"{directory}/{name}", text)
