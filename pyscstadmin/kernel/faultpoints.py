# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that are injected on purpose, as the tree has them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import suppress

from pyscstadmin.config.faultpoints import FAULT, FAULT_STATES, FaultPoint
from pyscstadmin.config.settings import Values
from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.cfs import View

__all__ = ["change_fault", "fault_names", "make_fault", "read_faults", "remove_fault"]


def fault_names(tree: View) -> list[str]:
    """Their names; none where the module knows no such thing."""
    try:
        return sorted(tree.list("faults"))
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
        return []


def read_faults(tree: View) -> list[FaultPoint]:
    """All of them, by name; without those that go meanwhile."""
    found = (_read(tree, name) for name in fault_names(tree))
    return [fault for fault in found if fault is not None]


def _read(tree: View, name: str) -> FaultPoint | None:
    try:
        *texts, hits = tree.read_many([f"faults/{name}/{part}" for part in (*FAULT, FAULT_STATES[0].name)])
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
        return None
    return FaultPoint(name, FAULT.shown(tuple(texts)), int(hits))


def make_fault(tree: View, name: str, settings: Values) -> None:
    """Make one that is not there; all of it, or nothing. Raises `OperationError`."""
    tree.mkdir(f"faults/{name}")
    try:
        _write(tree, name, dict(settings.chosen()))
    except OperationError:
        with suppress(OperationError):
            tree.rmdir(f"faults/{name}")
        raise


def change_fault(tree: View, old: FaultPoint, settings: Values) -> bool:
    """Give one other settings; all of them, or none. One that is in force is off for a moment, and what it
    holds goes on. False: it has them already. Raises `OperationError`.
    """
    changed = [name for name in FAULT if settings[name] != old.settings[name]]
    if not changed:
        return False
    try:
        if old.enabled:
            tree.write(f"faults/{old.name}/enabled", "0")
        wanted = {name: settings[name] for name in changed if name != "enabled"}
        _write(tree, old.name, {**wanted, "enabled": settings["enabled"]})
    except OperationError:
        with suppress(OperationError):
            _write(tree, old.name, {name: old.settings[name] for name in FAULT})
        raise
    return True


def _write(tree: View, name: str, values: dict[str, bool | int | str]) -> None:
    """In the order of the table: what brings it into force comes last."""
    for row in _rows(values):
        tree.write(f"faults/{name}/{row}", FAULT[row].type.to_kernel(values[row]))


def _rows(values: dict[str, bool | int | str]) -> Iterator[str]:
    return (row for row in FAULT if row in values)


def remove_fault(tree: View, name: str) -> None:
    """End one, and remove it. Raises `OperationError`."""
    tree.rmdir(f"faults/{name}")
