# SPDX-License-Identifier: GPL-2.0-or-later
"""Device groups by plain writes to configfs, and REPORT and SET TARGET PORT GROUPS."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from tests.vm.guest import tree
from tests.vm.guest.scsi import Sense
from tests.vm.guest.tree import Device, Target

OPTIMIZED, NONOPTIMIZED, STANDBY = "active/optimized", "active/non-optimized", "standby"
UNAVAILABLE, OFFLINE, TRANSITIONING = "unavailable", "offline", "transitioning"
STATES = {OPTIMIZED: 0, NONOPTIMIZED: 1, STANDBY: 2, UNAVAILABLE: 3, OFFLINE: 14, TRANSITIONING: 15}
NOT_READY: dict[str, Sense] = {
    STANDBY: (0x2, 0x04, 0x0B),
    UNAVAILABLE: (0x2, 0x04, 0x0C),
    OFFLINE: (0x2, 0x04, 0x12),
    TRANSITIONING: (0x2, 0x04, 0x0A),
}
STATE_CHANGED: Sense = (0x6, 0x2A, 0x06)
CHANGE_FAILED: Sense = (0x6, 0x2A, 0x07)
SUPPORTED = 0xCF
BY_COMMAND, IMPLICIT = 1, 2


@dataclass(frozen=True, slots=True)
class Tpg:
    """target_port_groups/NAME of a device group."""

    path: Path

    @property
    def state(self) -> str:
        """``state``."""
        return tree.read(self.path / "state")

    def set(self, name: str, value: object) -> Tpg:
        """Write an attribute."""
        tree.write(self.path / name, value)
        return self

    def switch(self, state: str) -> None:
        """Write ``state``."""
        self.set("state", state)

    def add(self, target: Target) -> Tpg:
        """Make a target one of its ports."""
        port = self.path / "ports" / f"{target.path.parent.name}:{target.name}"
        port.mkdir()
        (port / "target").symlink_to(target.path)
        return self

    def add_remote(self, name: str, number: int) -> Tpg:
        """A port of another host, known by its number."""
        port = self.path / "ports" / name
        port.mkdir()
        tree.write(port / "rel_tgt_id", number)
        return self

    def drop(self, target: Target) -> None:
        """Take a target away."""
        port = self.path / "ports" / f"{target.path.parent.name}:{target.name}"
        (port / "target").unlink()
        port.rmdir()


@dataclass(frozen=True, slots=True)
class DeviceGroup:
    """alua/NAME."""

    name: str

    @property
    def path(self) -> Path:
        """Its directory."""
        return tree.ROOT / "alua" / self.name

    def make(self, *devices: Device, explicit: bool = False) -> DeviceGroup:
        """mkdir, and its devices."""
        self.path.mkdir()
        tree.write(self.path / "explicit", explicit)
        for device in devices:
            self.add(device)
        return self

    def add(self, device: Device) -> None:
        """Make a device one of its own."""
        folder = self.path / "devices" / device.name
        folder.mkdir()
        (folder / "device").symlink_to(device.path)

    def drop(self, device: Device) -> None:
        """Take a device away."""
        folder = self.path / "devices" / device.name
        (folder / "device").unlink()
        folder.rmdir()

    def tpg(self, name: str, group_id: int | None = None, *targets: Target) -> Tpg:
        """Make a target port group."""
        made = Tpg(self.path / "target_port_groups" / name)
        made.path.mkdir()
        if group_id is not None:
            made.set("group_id", group_id)
        for target in targets:
            made.add(target)
        return made


@dataclass(frozen=True, slots=True)
class Told:
    """A target port group as REPORT TARGET PORT GROUPS tells of it."""

    group_id: int
    state: int
    preferred: bool
    status: int
    ports: tuple[int, ...]


def report_groups(room: int = 1024, form: int = 0) -> bytes:
    """REPORT TARGET PORT GROUPS; *form*: PARAMETER DATA FORMAT, 1: with the extended header."""
    return struct.pack(">BB4xIBB", 0xA3, form << 5 | 0x0A, room, 0, 0)


def set_groups(length: int) -> bytes:
    """SET TARGET PORT GROUPS with a parameter list of that length."""
    return struct.pack(">BB4xIBB", 0xA4, 0x0A, length, 0, 0)


def set_list(*wanted: tuple[int, int]) -> bytes:
    """Its parameter list: group and state."""
    return bytes(4) + b"".join(struct.pack(">BxH", state, group) for group, state in wanted)


def parse(data: bytes, extended: bool = False) -> list[Told]:
    """The groups of a whole report; all say that they can be in each state."""
    assert struct.unpack(">I", data[:4])[0] == len(data) - 4
    at, found = 8 if extended else 4, []
    assert not extended or data[4] == 0x10
    while at < len(data):
        first, supported, group, status, count = struct.unpack(">BBHxBxB", data[at : at + 8])
        assert supported == SUPPORTED
        ports = struct.unpack(f">{2 * count}H", data[at + 8 : at + 8 + 4 * count])
        assert not any(ports[::2])
        found.append(Told(group, first & 0x0F, bool(first & 0x80), status, ports[1::2]))
        at += 8 + 4 * count
    return found
