# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that are injected on purpose: faults/NAME."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.vm.guest import tree

FAULTS = tree.ROOT / "faults"


@dataclass(frozen=True, slots=True)
class Fault:
    """faults/NAME."""

    name: str

    @property
    def path(self) -> Path:
        """Its directory."""
        return FAULTS / self.name

    def make(self, **settings: object) -> Fault:
        """mkdir, and the settings."""
        self.path.mkdir()
        for name, value in settings.items():
            tree.write(self.path / name, value)
        return self

    def enable(self, on: bool = True) -> Fault:
        """Bring it into force, or end it."""
        tree.write(self.path / "enabled", on)
        return self

    def get(self, name: str) -> str:
        """An attribute."""
        return tree.read(self.path / name)

    @property
    def hits(self) -> int:
        """How many it has struck."""
        return int(self.get("hits"))
