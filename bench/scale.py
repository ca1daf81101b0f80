# SPDX-License-Identifier: GPL-2.0-or-later
"""Sizes of configurations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """So many devices, mapped in each of so many groups."""

    device_count: int
    group_count: int

    def __str__(self) -> str:
        return f"{self.device_count}x{self.group_count}"

    @property
    def mappings(self) -> int:
        """LUNs in all."""
        return self.device_count * self.group_count

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Inverse of ``str``; ValueError says what is expected."""
        devices, sign, groups = text.partition("x")
        if not (sign and devices.isdigit() and groups.isdigit() and int(devices) and int(groups)):
            raise ValueError(f"{text!r} is not DEVICESxGROUPS, as in 100x10")
        return cls(int(devices), int(groups))

    def devices(self) -> list[str]:
        """Names of the devices."""
        return [f"d{number:03d}" for number in range(self.device_count)]

    def initiators(self) -> list[str]:
        """Names of the initiators, one per group."""
        return [f"iqn.2026-11.com.example:host{number:02d}" for number in range(self.group_count)]
