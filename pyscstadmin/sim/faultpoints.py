# SPDX-License-Identifier: GPL-2.0-or-later
"""faults/ of the simulated tree. Nothing is struck: there are no commands."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from typing import Any

from pyscstadmin.config import names
from pyscstadmin.config.faultpoints import FAULT, FAULT_STATES, FAULTS_MAX
from pyscstadmin.config.settings import Value
from pyscstadmin.sim.node import RO, RW, Attribute, Fixed, Item, Refused, refuse, stored

__all__ = ["FaultDir"]

_ATTRIBUTES = {**dict.fromkeys(FAULT, RW), **{state.name: RO for state in FAULT_STATES}}


class FaultDir(Fixed):
    """faults"""

    def make(self, name: str) -> None:
        refuse(names.check_device_name(name))
        self.children[name] = FaultPoint(self, name)

    def all(self) -> Iterator[FaultPoint]:
        """The faults."""
        return (child for child in self.children.values() if isinstance(child, FaultPoint))

    def dump(self) -> dict[str, Any]:
        """Plain data of everything."""
        return {fault.name: dict(fault.values) for fault in self.all()}

    def restore(self, data: dict[str, Any]) -> None:
        """The reverse of `dump`."""
        for name in data:
            self.make(name)
        for fault in self.all():
            fault.values.update(data[fault.name])


class FaultPoint(Item):
    """faults/NAME"""

    def __init__(self, parent: FaultDir, name: str) -> None:
        super().__init__(parent, name)
        self.values: dict[str, Value] = {row.name: row.default for row in FAULT.values()}

    def attributes(self) -> Mapping[str, Attribute]:
        return _ATTRIBUTES

    def show(self, name: str) -> str:
        return FAULT[name].type.to_kernel(self.values[name]) if name in FAULT else "0"

    def store(self, name: str, text: str) -> None:
        if name != "enabled" and self.values["enabled"]:
            raise Refused(errno.EBUSY)
        value = stored(FAULT[name], text)
        if name == "enabled" and value and not self.values["enabled"]:
            self._room()
        self.values[name] = value

    def _room(self) -> None:
        assert isinstance(self.parent, FaultDir)
        if sum(bool(fault.values["enabled"]) for fault in self.parent.all()) >= FAULTS_MAX:
            raise Refused(errno.ENOSPC)
