# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration as values.

Everything here is immutable, compares by value, and sorts its members, so that two configurations are equal
exactly when they mean the same. Texts are as the kernel shows them, without the newline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pyscstadmin.config.names import PRIORITY_DEFAULT

__all__ = ["Config", "Device", "Group", "Identity", "Lun", "Target"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What initiators recognise a device by.

    None: in a wanted configuration, keep what the device has, or what the kernel gives a new device
    (`serial` and `naa` are random then). A configuration read from the kernel has no None. An empty `eui64`
    is none. Hex digits are kept in lower case, as the kernel shows them.
    """

    vendor: str | None = None
    product: str | None = None
    revision: str | None = None
    serial: str | None = None
    naa: str | None = None
    eui64: str = ""

    def __post_init__(self) -> None:
        for name in ("naa", "eui64"):
            text = getattr(self, name)
            if text:
                object.__setattr__(self, name, text.lower())


@dataclass(frozen=True, slots=True)
class Device:
    """A local or virtual device. `size` (bytes) is a setting of nullio only; `block_size` 0 and `rotational`
    "auto" are those of the backing.
    """

    name: str
    handler: str
    enabled: bool = True
    path: str = ""
    size: int = 0
    block_size: int = 0
    read_only: bool = False
    write_through: bool = False
    rotational: bool | Literal["auto"] = "auto"
    o_direct: bool = False
    id: Identity = Identity()
    stop_unit: bool = False


@dataclass(frozen=True, slots=True)
class Lun:
    """A LUN of a target or a group; `device` is a device name, empty for a number without device."""

    number: int
    device: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Initiators that see the same LUNs. Among groups whose patterns match, the lowest `priority` wins."""

    name: str
    priority: int = PRIORITY_DEFAULT
    initiators: tuple[str, ...] = ()
    luns: tuple[Lun, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "initiators", tuple(sorted(self.initiators)))
        object.__setattr__(self, "luns", _by_number(self.luns))


@dataclass(frozen=True, slots=True)
class Target:
    """A target of a driver. `luns` serve initiators that no group claims; `hosts` exist on driver local only.

    `rel_tgt_id` None: keep the present one, or take the first free one. `queue_depth` 0: no limit of its own.
    """

    driver: str
    name: str
    enabled: bool = True
    rel_tgt_id: int | None = None
    auto_rescan: bool = True
    hosts: tuple[str, ...] = ()
    luns: tuple[Lun, ...] = ()
    groups: tuple[Group, ...] = ()
    queue_depth: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "hosts", tuple(sorted(self.hosts)))
        object.__setattr__(self, "luns", _by_number(self.luns))
        object.__setattr__(self, "groups", tuple(sorted(self.groups, key=lambda group: group.name)))

    @property
    def key(self) -> tuple[str, str]:
        """(driver, name): unique in a configuration."""
        return self.driver, self.name

    def group(self, name: str) -> Group | None:
        """The group of that name, None if there is none."""
        return next((group for group in self.groups if group.name == name), None)

    def lun_sets(self) -> Iterator[tuple[str, tuple[Lun, ...]]]:
        """(group name, LUNs), first the target's own under the name ''."""
        yield "", self.luns
        for group in self.groups:
            yield group.name, group.luns


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration. `buffer_limit`: bytes for data of remote commands, 0 for the kernel's choice."""

    devices: tuple[Device, ...] = ()
    targets: tuple[Target, ...] = ()
    buffer_limit: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "devices", tuple(sorted(self.devices, key=lambda device: device.name)))
        object.__setattr__(self, "targets", tuple(sorted(self.targets, key=lambda target: target.key)))

    def device(self, name: str) -> Device | None:
        """The device of that name, None if there is none."""
        return next((device for device in self.devices if device.name == name), None)

    def target(self, driver: str, name: str) -> Target | None:
        """The target, None if there is none."""
        return next((target for target in self.targets if target.key == (driver, name)), None)


def _by_number(luns: tuple[Lun, ...]) -> tuple[Lun, ...]:
    return tuple(sorted(luns, key=lambda lun: lun.number))
