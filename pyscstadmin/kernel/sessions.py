# SPDX-License-Identifier: GPL-2.0-or-later
"""The sessions that exist now, read from /sys/class/scst: status, never configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from pyscstadmin.config.layout import CLASS_ROOT

__all__ = ["COUNTERS", "Session", "SessionLun", "read_sessions"]


@dataclass(frozen=True, slots=True)
class SessionLun:
    """One LUN of a session's view in force.

    The limits that are in force for this initiator, how many of its commands wait because of them now, how
    many have waited since it has the LUN, and how long, in microseconds, all together.
    """

    number: int
    device: str
    read_only: bool
    read_iops: int = 0
    write_iops: int = 0
    read_bytes_per_sec: int = 0
    write_bytes_per_sec: int = 0
    burst: int = 100
    waiting: int = 0
    limited: int = 0
    limited_us: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """One initiator logged in to one target.

    `target` is DRIVER/NAME, `group` '' for the target's own LUNs. The rest are totals since login: commands
    answered, bytes moved, commands that task management has aborted, LUN RESETs the initiator has sent, unit
    attentions it was told, and statuses it was answered with.
    """

    name: str
    target: str
    initiator: str
    group: str
    luns: tuple[SessionLun, ...]
    commands: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    aborted: int = 0
    lun_resets: int = 0
    unit_attentions: int = 0
    busy: int = 0
    task_set_full: int = 0
    check_conditions: int = 0


COUNTERS = (
    "commands",
    "read_bytes",
    "write_bytes",
    "aborted",
    "lun_resets",
    "unit_attentions",
    "busy",
    "task_set_full",
    "check_conditions",
)


def read_sessions(root: str = CLASS_ROOT) -> list[Session]:
    """All sessions, by number. One that ends while it is read is left out; no class directory means none."""
    try:
        names = [name for name in os.listdir(root) if name.startswith("session.")]
    except FileNotFoundError:
        return []
    found = []
    for name in sorted(names, key=_number):
        with suppress(OSError):  # gone meanwhile: ENOENT or ENODEV
            found.append(_session(f"{root}/{name}", name))
    return found


def _number(name: str) -> tuple[int, str]:
    tail = name.rpartition(".")[2]
    return (int(tail), name) if tail.isdigit() else (1 << 62, name)


def _session(path: str, name: str) -> Session:
    limits = {line.split()[0]: line for line in _limits(path).splitlines() if line}
    luns = tuple(_lun(line, limits) for line in _value(path, "luns").splitlines() if line)
    counters = {attribute: int(_value(path, attribute)) for attribute in COUNTERS}
    return Session(
        name, _value(path, "target"), _value(path, "initiator"), _value(path, "group"), luns, **counters
    )


def _limits(path: str) -> str:
    """A line for each LUN that is, or was, limited; modules of before there were limits have none."""
    with suppress(FileNotFoundError):
        return _value(path, "limits")
    return ""


def _lun(line: str, limits: Mapping[str, str]) -> SessionLun:
    number, device, mode = line.split()
    numbers = [int(word) for word in limits.get(number, "").split()[1:]]
    return SessionLun(int(number), device, mode == "ro", *numbers)


def _value(path: str, attribute: str) -> str:
    with open(f"{path}/{attribute}", "rb", buffering=0) as file:
        return file.read().decode(errors="surrogateescape").rstrip("\n")
