# SPDX-License-Identifier: GPL-2.0-or-later
"""What a plan consists of: acts, one kernel call each, and operations, which a person recognises. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from pyscstadmin.config.alua import is_active

__all__ = [
    "Act",
    "Begin",
    "Commit",
    "End",
    "Impact",
    "Link",
    "Mkdir",
    "Operation",
    "Reopen",
    "Rmdir",
    "Secret",
    "Settle",
    "Unlink",
    "Write",
    "inverse",
]


class Impact(IntEnum):
    """What sessions notice of an operation; the higher, the worse."""

    NONE = 0
    UNIT_ATTENTION = 1
    SESSION_DROP = 2

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True)
class Mkdir:
    """Make a directory."""

    path: str


@dataclass(frozen=True, slots=True)
class Rmdir:
    """Remove a directory; `restore` writes what undoing has to bring back beyond the defaults."""

    path: str
    restore: tuple[Write | Secret, ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """Make a link to `target`, a path from the root of the tree."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Unlink:
    """Remove a link that points at `target`."""

    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Write:
    """Write an attribute. `old` None: nothing to undo, the object itself goes."""

    path: str
    value: str
    old: str | None = None


@dataclass(frozen=True, slots=True)
class Secret:
    """Give a user in a directory the secret that is in a file (`stamp`: which state of that), without showing
    it to anybody. `old`: file and stamp of the one before; None: there was none that could be brought back.
    """

    path: str
    file: str
    stamp: str
    old: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Begin:
    """From here on, changes of access are staged. ESTALE if the generation that was read has moved.

    `clean`: nothing is staged before. Undoing then brings what the tree shows into force; else it is left
    staged, as it was found.
    """

    clean: bool = True


@dataclass(frozen=True, slots=True)
class Commit:
    """Bring the staged changes into force, based on the generation that was read."""


@dataclass(frozen=True, slots=True)
class End:
    """Changes of access are in force at once again."""


@dataclass(frozen=True, slots=True)
class Reopen:
    """For undoing: stage again."""


@dataclass(frozen=True, slots=True)
class Settle:
    """For undoing: commit if anything is staged, then as `End`."""


Act = Mkdir | Rmdir | Link | Unlink | Write | Secret | Begin | Commit | End | Reopen | Settle


def inverse(act: Act) -> tuple[Act, ...]:
    """The acts that undo one, in order."""
    match act:
        case Mkdir(path):
            return (Rmdir(path),)
        case Rmdir(path, restore):
            return (Mkdir(path), *restore)
        case Link(path, target):
            return (Unlink(path, target),)
        case Unlink(path, target):
            return (Link(path, target),)
        case Write(path, value, old):
            return () if old is None else (Write(path, old, value),)
        case Secret(path, file, stamp, old):
            return () if old is None else (Secret(path, *old, (file, stamp)),)
        case Begin(clean):
            return (Settle(),) if clean else ()
        case End():
            return (Reopen(),)
    return ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One step a person recognises; `path` is the object it is about.

    The rest is for executions that leave out what is refused. `parts`: the same acts as smaller steps that
    can be left out one by one. `target`: the directory of the target whose access it changes, or would open.
    `claims`: it decides which group an initiator belongs to, so without it all operations of this target are
    left out: its initiators could see what is not meant for them. `replaces`: the directory of the device
    that stays when this one is left out.
    """

    text: str
    path: str
    acts: tuple[Act, ...]
    impact: Impact = Impact.NONE
    parts: tuple[Operation, ...] = ()
    target: str = ""
    claims: bool = False
    replaces: str = ""

    @property
    def revokes(self) -> bool:
        """Whether sessions may do less after it: commands that were admitted before may run on."""
        if self.impact is Impact.NONE:
            return Begin(clean=False) in self.acts  # what somebody else had staged may
        return self.impact is Impact.SESSION_DROP or self.claims or any(map(_revokes, self.acts))

    def describe(self) -> str:
        """One line for people."""
        return self.text if self.impact is Impact.NONE else f"{self.text} ({self.impact})"

    def inverse(self) -> Operation:
        """The operation that undoes this one."""
        acts = tuple(undo for act in reversed(self.acts) for undo in inverse(act))
        return Operation(f"undo: {self.text}", self.path, acts, self.impact)


def _revokes(act: Act) -> bool:
    """Whether an act of access takes something from the sessions that it concerns."""
    match act:
        case Unlink():
            return True
        case Write(path, "1") if path.endswith("/read_only"):
            return True
        case Write(path, value) if path.startswith("alua/"):
            return path.endswith("/state") and not is_active(value)
    return False
