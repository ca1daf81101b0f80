# SPDX-License-Identifier: GPL-2.0-or-later
"""What a device's backing is known by, whatever it is called at the moment; and whether something that was
found is that backing. Pure.

A fact is a name and a text. Facts are of three kinds:

* *proofs* are of that one thing in the world: a WWN, a serial number, the UUID of a logical volume. One of
  them has to be found again, and none may be another one.
* *conditions* must be as they were, and prove nothing alone: the number of a partition, of an inode.
* *hints* say something to people only: the size, which grows, or the path of a file below.

What initiators can write to is never a fact: a file system on a disk that is served, its label, or its
partition table, belongs to them.

What is known of something through another thing (the disk below a partition, the file below a loop device)
stands under the same names with that thing before them: `disk.wwid`, `file.inode`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

__all__ = ["NOTHING", "SAME", "TEXT_MAX", "Difference", "Fact", "Facts", "Kind", "Verdict", "compare", "fact"]

# Bytes that the kernel keeps of them (attribute `facts`).
TEXT_MAX = 4094


class Kind(Enum):
    """What a fact is good for."""

    PROOF = "proof"
    CONDITION = "condition"
    HINT = "hint"


@dataclass(frozen=True, slots=True)
class Fact:
    """A name that facts may have. `listed`: it comes from a database that may know nothing today, so its
    absence says nothing; the absence of any other one is a difference.
    """

    name: str
    kind: Kind
    text: str
    listed: bool = False


_PROOF, _CONDITION, _HINT = Kind.PROOF, Kind.CONDITION, Kind.HINT

_FACTS = (
    Fact("wwid", _PROOF, "world wide identifier"),
    Fact("serial", _PROOF, "serial number"),
    Fact("wwn", _PROOF, "world wide name in the udev database", listed=True),
    Fact("id_serial", _PROOF, "serial number in the udev database", listed=True),
    Fact("dm_uuid", _PROOF, "UUID of the device mapper"),
    Fact("md_uuid", _PROOF, "UUID of the array", listed=True),
    Fact("part_uuid", _PROOF, "UUID of the partition", listed=True),
    Fact("zvol_guid", _PROOF, "GUID of the ZFS volume", listed=True),
    Fact("backend", _PROOF, "identifier that its server was given"),
    Fact("image", _PROOF, "cluster, pool and image"),
    Fact("place", _PROOF, "slot in the machine"),
    Fact("sequence", _PROOF, "start of the machine, and number since", listed=True),
    Fact("fs_uuid", _PROOF, "UUID of the file system", listed=True),
    Fact("birth", _PROOF, "time of birth"),
    Fact("handle", _PROOF, "handle of the file"),
    Fact("below", _PROOF, "all disks below"),
    Fact("model", _CONDITION, "model"),
    Fact("dm_name", _CONDITION, "name of the device mapper"),
    Fact("partition", _CONDITION, "number of the partition"),
    Fact("window", _CONDITION, "offset in the file, and length"),
    Fact("inode", _CONDITION, "number of the inode"),
    Fact("fs_source", _CONDITION, "source of the mount"),
    Fact("size", _HINT, "size in bytes"),
    Fact("fs", _HINT, "type of the file system"),
    Fact("zvol", _HINT, "name of the ZFS volume"),
    Fact("path", _HINT, "path of the file"),
)
FACTS: Mapping[str, Fact] = {one.name: one for one in _FACTS}


def fact(name: str) -> Fact:
    """What is known of a fact of this name. One that this version does not know is a hint."""
    last = _last(name)
    return FACTS.get(last, Fact(last, Kind.HINT, last))


@dataclass(frozen=True, slots=True, order=True)
class Facts(Mapping[str, str]):
    """Facts by name. None at all (`NOTHING`) is on purpose: whatever is at the path will do."""

    pairs: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairs", tuple(sorted(dict(self.pairs).items())))

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Facts:
        """Facts of a mapping; empty texts are left out."""
        return cls(tuple((name, text) for name, text in values.items() if text))

    @classmethod
    def parse(cls, text: str) -> Facts | None:
        """What `text()` made; None for an empty text, which says nothing of facts.

        Raises ValueError, with a message, for a text that nothing of ours has written.
        """
        if not text:
            return None
        values = json.loads(text)
        if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
            raise ValueError("facts are a JSON object of texts")
        return cls.of(values)

    @classmethod
    def read(cls, text: str) -> Facts | None:
        """As `parse`; a text that nothing of ours has written is something that nothing proves."""
        try:
            return cls.parse(text)
        except ValueError:
            return cls.of({"text": text})

    def text(self) -> str:
        """One line of printable characters. Without hints, if it would be longer than the kernel keeps."""
        whole = _json(dict(self.pairs))
        if len(whole) <= TEXT_MAX:
            return whole
        return _json({name: text for name, text in self.pairs if fact(name).kind is not Kind.HINT})

    @property
    def provable(self) -> bool:
        """Whether there is something among them that can be found again."""
        return any(fact(name).kind is Kind.PROOF for name, _ in self.pairs)

    def kept(self) -> Facts:
        """What is worth keeping: where a disk is says nothing if there is something of its own."""
        rest = Facts(tuple(pair for pair in self.pairs if _last(pair[0]) not in _OF_PLACE))
        return rest if rest.provable else self

    @property
    def summary(self) -> str:
        """What people would know it by: `serial S1`."""
        if not self.pairs:
            return "whatever is at its path"
        proofs = [name for name in _BY_RANK if name in self] or list(self)
        return f"{proofs[0]} {self[proofs[0]]}"

    def below(self, prefix: str) -> Facts:
        """The same, as known of something above: under names with `prefix` and a dot before them."""
        return Facts(tuple((f"{prefix}.{name}", text) for name, text in self.pairs))

    def __getitem__(self, name: str) -> str:
        for known, text in self.pairs:
            if known == name:
                return text
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


NOTHING = Facts()

_OF_PLACE = ("place", "sequence")
_BY_RANK = [one.name for one in _FACTS if one.kind is Kind.PROOF]
_BY_RANK += [f"{prefix}.{name}" for prefix in ("disk", "below", "file") for name in _BY_RANK]


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _json(values: Mapping[str, str]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact that is another one than it was; `found` empty: it is not there any more."""

    name: str
    known: str
    found: str

    def __str__(self) -> str:
        return f"{self.name} {self.found or 'none'}, expected {self.known}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a comparison.

    `differences`: proofs and conditions that are not as they were. `hints`: hints that are not.
    `proofs`: names of proofs that were found again. `unproven`: no proof could be had at all, to be the same
    or another one, and there should be some.
    """

    differences: tuple[Difference, ...] = ()
    hints: tuple[Difference, ...] = ()
    proofs: tuple[str, ...] = ()
    unproven: bool = False

    @property
    def same(self) -> bool:
        """Whether what was found is what was meant."""
        return not self.differences and not self.unproven

    def __str__(self) -> str:
        if self.differences:
            return "; ".join(str(one) for one in self.differences)
        return "nothing proves that it is the same" if self.unproven else "the same"


SAME = Verdict()


def compare(known: Facts, found: Facts) -> Verdict:
    """Whether `found`, gathered now, is what `known`, gathered before, was gathered from."""
    differences: list[Difference] = []
    hints: list[Difference] = []
    proofs: list[str] = []
    for name, text in known.items():
        now = found.get(name, "")
        what = fact(name)
        if not _comparable(name, text, now):
            continue
        if text != now:
            (hints if what.kind is Kind.HINT else differences).append(Difference(name, text, now))
        elif what.kind is Kind.PROOF:
            proofs.append(name)
    return Verdict(tuple(differences), tuple(hints), tuple(proofs), bool(known) and not proofs)


def _comparable(name: str, known: str, found: str) -> bool:
    """Whether the two say anything about each other."""
    what = fact(name)
    if not found and what.listed:
        return False
    # "BOOT NUMBER": numbers of another run of the machine are about other things.
    return what.name != "sequence" or known.split(" ")[0] == found.split(" ")[0]
