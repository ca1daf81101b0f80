# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that can go wrong, as exceptions with fields.

ScstError                  root; `exit_code` is the exit code of the command
├── InvalidInput           2  a configuration file or argument is wrong; nothing was touched
├── NotPresent             5  no control plane: module not loaded, configfs not mounted
├── OperationError         1  one operation on the tree was refused
├── Conflict               1  the request contradicts what is there
├── PendingChanges         1  staged changes of somebody else are in the way
├── Unstable               1  the tree keeps changing while it is read
├── LockTimeout            1  another scstadmin is at work
├── ApplyFailed            1  a change failed and everything was put back
├── PartlyApplied          4  a change failed and could not be put back completely
└── SaveRefused            1  saving would replace a good file by a degraded state

Interrupted                1  a signal asked to stop; nothing changed (a KeyboardInterrupt, no ScstError)
"""

from __future__ import annotations

import errno as _errno
import os
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "ADVICE",
    "ApplyFailed",
    "Conflict",
    "Interrupted",
    "InvalidInput",
    "LockTimeout",
    "NotPresent",
    "OperationError",
    "PartlyApplied",
    "PendingChanges",
    "Problem",
    "SaveRefused",
    "ScstError",
    "Unstable",
    "advice_for",
    "errno_name",
]

# What to do about an errno; `ADVICE_AT` knows better for some files and operations.
ADVICE: dict[int, str] = {
    _errno.EINVAL: "the value is not one this setting takes; `scstadmin get` says what it is",
    _errno.ERANGE: "the number is outside the allowed range; `scstadmin get` says what it is",
    _errno.ENAMETOOLONG: "shorten the name or value",
    _errno.EEXIST: "it exists already, or the name or number is taken by another object; choose another one",
    _errno.ENODATA: "set the missing setting first (path for fileio and blockio, size for nullio)",
    _errno.ENODEV: "enable the device first; for a hardware port, check that the adapter is there",
    _errno.EBUSY: "it is in use: disable the object, or remove what points at it, first",
    _errno.EPERM: "nothing of this kind can be made or removed here",
    _errno.ENOTEMPTY: "remove what is inside first",
    _errno.ESTALE: "somebody else changed the configuration meanwhile; look at it and run the command again",
    _errno.ENOMEM: "the kernel is out of memory; free some and repeat, nothing was changed",
    _errno.ENOENT: "there is no such object or setting; check the name, and that the module is loaded",
    _errno.EACCES: "run as root; if you are: the file is read-only or write-only, or the backing refuses "
    "(one that is write-protected needs read_only)",
    _errno.EROFS: "the backing is read-only: set read_only, or make it writable",
    _errno.ENOTBLK: "the path is not a block device; use the fileio handler for files",
    _errno.EISDIR: "the path is a directory; give a file",
    _errno.ENOSPC: "no space left; free some and repeat",
    _errno.EIO: "the kernel log says more: journalctl -k -g scst",
    _errno.EOPNOTSUPP: "the driver or its hardware cannot do this; the kernel log says why: "
    "journalctl -k -g scst",
    _errno.EINPROGRESS: "it goes on without being waited for; `state` shows when it is done",
}

_FILE_ADVICE: dict[int, str] = {
    _errno.ENOENT: "its directory is not there: make it first, or give another",
    _errno.ENOTDIR: "what should be its directory is a file: give another path",
    _errno.EACCES: "run as root, or as somebody who may write there",
    _errno.EPERM: "run as root; if you are: it may be immutable (lsattr tells)",
    _errno.EROFS: "the file system is read-only: mount it read-write, or give a path elsewhere",
    _errno.EISDIR: "it is a directory: give a file",
    _errno.EINVAL: "the file system does not take this: give a path elsewhere",
    _errno.ENAMETOOLONG: "the file name is too long: give a shorter one",
    _errno.EEXIST: "something else is there: remove it, or give another path",
    _errno.EBUSY: "something else uses it: give another path",
}

ADVICE_AT: dict[tuple[int, str], str] = {
    (
        _errno.EBUSY,
        "enabled",
    ): "LUNs point at the device, or its backing is held by another program "
    "(mounted, in a RAID, under multipath): unmap the LUNs or free the backing",
    (_errno.EBUSY, "active"): "the backing is held exclusively by another program; free it",
    (_errno.EBUSY, "rmdir"): "LUNs or a device group point at it: take it out there",
    (
        _errno.EINVAL,
        "active",
    ): "the device is not enabled, or a setting does not fit the backing; the kernel log names it: "
    "journalctl -k -g scst",
    (
        _errno.EINVAL,
        "enabled",
    ): "a setting does not fit the others or the backing; the kernel log names it: journalctl -k -g scst",
    (
        _errno.EEXIST,
        "enabled",
    ): "another enabled device has the same naa, serial or eui64; give one of them another",
    (_errno.ESTALE, "clear"): "what is reserved has changed since it was shown; look at it, and run the "
    "command again if it is still meant",
    **dict.fromkeys(
        ((_errno.ESTALE, "accept"), (_errno.ESTALE, "refuse")),
        "that question is not open: it was answered, its time is up, it was withdrawn, or there never was "
        "one of this number; `scstadmin list alua` shows those that are",
    ),
    (_errno.ESHUTDOWN, "clear"): "nothing is known of it: the device is disabled, or its pr_file was not "
    "read yet",
    (_errno.EINVAL, "size"): "bytes: a multiple of the block size, while the device is active",
    (_errno.ERANGE, "size"): "the backing is not that large; grow it first",
    (_errno.EINVAL, "symlink"): "a LUN can only point at a device of this tree",
    (_errno.EEXIST, "rel_tgt_id"): "another target has this identifier; choose a free one",
    (_errno.EEXIST, "symlink"): "the LUN points at a device already; unmap it first",
    (_errno.ENOENT, "active"): "the backing is not there (yet); the device stays parked",
    (_errno.ENOENT, "symlink"): "the device does not exist; create it first",
    (_errno.ENOENT, "recorder"): "mount debugfs (mount -t debugfs none /sys/kernel/debug), and check that "
    "the module is loaded, and new enough",
    (_errno.ENOENT, "commands"): "mount debugfs (mount -t debugfs none /sys/kernel/debug), and check that "
    "the module is loaded",
    # Files of this machine, which are not of the tree.
    **{
        (number, operation): text
        for operation in ("save", "lock", "note")
        for number, text in _FILE_ADVICE.items()
    },
    (_errno.EPERM, "symlink"): "a LUN holds one link, named device, to a device of this tree",
}


def errno_name(number: int) -> str:
    """The symbolic name of an errno, for example `EBUSY`."""
    if number == _errno.EOPNOTSUPP:
        return "EOPNOTSUPP"  # as the kernel calls it
    return _errno.errorcode.get(number, str(number))


def advice_for(number: int, operation: str, path: str) -> str:
    """What a user can do about errno `number` that `operation` on `path` met; may be empty."""
    leaf = path.rsplit("/", 1)[-1]
    for key in ((number, leaf), (number, operation)):
        if key in ADVICE_AT:
            return ADVICE_AT[key]
    return ADVICE.get(number, "")


class ScstError(Exception):
    """Root of all errors of this package."""

    exit_code = 1

    def as_dict(self) -> dict[str, object]:
        """The error as plain data for `--json`."""
        return {"error": type(self).__name__, "message": str(self), "exit_code": self.exit_code}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an input file.

    `where` is the place inside the document (`targets.local.t1`); line and column start at 1, 0 means
    unknown. `rule`: the rule of `lint` that says so, '' if it is simply wrong.
    """

    message: str
    where: str = ""
    line: int = 0
    column: int = 0
    rule: str = ""

    def text(self, source: str) -> str:
        """`file:line:column: where: message [rule]`."""
        place = f"{source}:{self.line}:{self.column}" if self.line else source
        rule = f" [{self.rule}]" if self.rule else ""
        return f"{place}: {f'{self.where}: ' if self.where else ''}{self.message}{rule}"


class InvalidInput(ScstError):
    """The input is wrong; `problems` lists everything found, `source` names the file."""

    exit_code = 2

    def __init__(self, source: str, problems: Sequence[Problem], more: int = 0) -> None:
        self.source = source
        self.problems = tuple(problems)
        self.more = more
        super().__init__(source, self.problems)

    def __str__(self) -> str:
        lines = [problem.text(self.source) for problem in self.problems]
        if self.more:
            lines.append(f"{self.source}: and {self.more} more problems")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        problems = [
            {"message": p.message, "where": p.where, "line": p.line, "column": p.column, "rule": p.rule}
            for p in self.problems
        ]
        return {**ScstError.as_dict(self), "source": self.source, "problems": problems, "more": self.more}


class NotAccepted(InvalidInput):
    """What is wanted could be had, but is surely a mistake by the rules named, and nobody accepted that."""

    def __str__(self) -> str:
        rules = list(dict.fromkeys(problem.rule for problem in self.problems if problem.rule))
        how = " ".join(f"--accept {rule}" for rule in rules)
        return f"{super().__str__()}\nif that is meant, say so: {how} (in the shell accept={','.join(rules)})"


class NotPresent(ScstError):
    """The control plane, or a part of it, is not there at `root`, and the `reason`, if it is known."""

    exit_code = 5

    def __init__(self, root: str, reason: str = "") -> None:
        self.root = root
        self.reason = reason
        why = f" ({reason})" if reason else ""
        super().__init__(
            f"no scst control plane at {root}{why}: load the module (modprobe scst) and mount configfs, "
            "or use --sim DIR for a simulated one"
        )


class OperationError(ScstError):
    """One operation on the tree failed.

    Fields: `operation` (mkdir, rmdir, symlink, unlink, read, write, list, readlink, open; of files of this
    machine, save, lock, note; and load, of a module of the kernel, which is the path then), `path`, `value`
    (what was to be written, or the link target), `errno`, `advice`.
    """

    def __init__(self, operation: str, path: str, value: str | None, number: int) -> None:
        self.operation = operation
        self.path = path
        self.value = value
        self.errno = number
        self.advice = advice_for(number, operation, path)
        super().__init__(operation, path, value, number)

    def __str__(self) -> str:
        shown = "" if self.value is None else f" {_shorten(self.value)!r}"
        link = {"write": " to", "symlink": " at"}.get(self.operation, "")
        text = f"{_SAID.get(self.operation, self.operation)}{shown}{link if shown else ''} {self.path}: "
        text += f"{errno_name(self.errno)} ({os.strerror(self.errno)})"
        return f"{text}; {self.advice}" if self.advice else text

    def as_dict(self) -> dict[str, object]:
        fields = {
            "operation": self.operation,
            "path": self.path,
            "value": self.value,
            "errno": errno_name(self.errno),
            "advice": self.advice,
        }
        return {**ScstError.as_dict(self), **fields}


# Operations in plain words.
_SAID = {
    "mkdir": "make",
    "rmdir": "remove",
    "symlink": "link to",
    "unlink": "remove",
    "readlink": "read",
}


def _shorten(value: str) -> str:
    return value if len(value) <= 80 else value[:77] + "..."


class Conflict(ScstError):
    """The request contradicts what is there; the message says what to do."""


class PendingChanges(ScstError):
    """Changes that this program did not make are staged and not committed."""

    def __init__(self) -> None:
        super().__init__(
            "changes are staged that are not in force, left by a command that was killed or made by hand: "
            "`scstadmin show` has them; `scstadmin commit` brings them into force, `scstadmin apply FILE` "
            "everything to what a file says"
        )


class Unstable(ScstError):
    """The tree changed during each of several attempts to read it."""

    def __init__(self, attempts: int) -> None:
        super().__init__(
            f"the configuration changed during each of {attempts} attempts to read it; repeat later"
        )


class LockTimeout(ScstError):
    """The lock was not free within the time allowed (seconds). `holder`: who has it, and waits for what."""

    def __init__(self, path: str, seconds: float, holder: str = "") -> None:
        self.path = path
        self.holder = holder
        who = f"another scstadmin ({holder})" if holder else "another scstadmin"
        super().__init__(f"{path}: {who} held the lock for more than {seconds:g} s; repeat when it is done")


class Interrupted(KeyboardInterrupt):
    """A signal asked to stop, before anything was changed."""

    exit_code = 1

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name
        super().__init__(number, name)

    def __str__(self) -> str:
        return f"interrupted by {self.name}"

    def as_dict(self) -> dict[str, object]:
        """The error as plain data for `--json`."""
        return {"error": type(self).__name__, "message": str(self), "exit_code": self.exit_code}


def _said(cause: BaseException) -> str:
    """What an exception says for itself."""
    return str(cause) or ("interrupted" if isinstance(cause, KeyboardInterrupt) else type(cause).__name__)


def _as_dict(cause: BaseException) -> dict[str, object]:
    """A cause as plain data for `--json`."""
    if isinstance(cause, ScstError | Interrupted):
        return cause.as_dict()
    return {"error": type(cause).__name__, "message": _said(cause), "exit_code": 1}


class ApplyFailed(ScstError):
    """An operation failed and everything done before was undone: nothing changed."""

    def __init__(self, doing: str, cause: BaseException) -> None:
        self.doing = doing
        self.cause = cause
        super().__init__(f"{doing}: {_said(cause)}; nothing changed")

    def as_dict(self) -> dict[str, object]:
        return {**ScstError.as_dict(self), "doing": self.doing, "cause": _as_dict(self.cause)}


class PartlyApplied(ScstError):
    """An operation failed and undoing failed too, or parts were left out; `left` names each of them."""

    exit_code = 4

    def __init__(self, doing: str, cause: BaseException, left: Sequence[str]) -> None:
        self.doing = doing
        self.cause = cause
        self.left = tuple(left)
        lines = "".join(f"\n  {item}" for item in self.left)
        super().__init__(f"{doing}: {_said(cause)}; and undoing it failed, which leaves:{lines}")

    def as_dict(self) -> dict[str, object]:
        own = {"doing": self.doing, "cause": _as_dict(self.cause), "left": list(self.left)}
        return {**ScstError.as_dict(self), **own}


class SaveRefused(ScstError):
    """The state is degraded, or the file is somebody else's, so it is not replaced; `reasons` says why."""

    def __init__(self, path: str, reasons: Sequence[str]) -> None:
        self.path = path
        self.reasons = tuple(reasons)
        why = "".join(f"\n  {reason}" for reason in self.reasons)
        super().__init__(f"{path} not written:{why}\nuse --force to save it all the same")

    def as_dict(self) -> dict[str, object]:
        return {**ScstError.as_dict(self), "reasons": list(self.reasons)}
