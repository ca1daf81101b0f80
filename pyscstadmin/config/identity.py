# SPDX-License-Identifier: GPL-2.0-or-later
"""Which devices are one and the same: to initiators, by their identity; to the disk below, by their
backing. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

from pyscstadmin.config.model import Config, Device, Identity, Target
from pyscstadmin.config.settings import DRIVERS, IDENTITY

__all__ = ["RECOGNISED", "asked", "designators", "same_backing", "same_identities", "unrecognisable"]

# What initiators recognise a disk by; no two enabled devices may have the same.
RECOGNISED = ("serial", "naa", "eui64")


def designators(device: Device) -> Iterator[tuple[str, str]]:
    """(part of the identity, text) of what is known and not empty. The kernel compares hex digits without
    regard to case; `Identity` has them in lower case only.
    """
    for part in RECOGNISED:
        text: str | None = getattr(device.id, part)
        if text:
            yield part, text


def asked(wanted: Config) -> Mapping[tuple[str, str], Sequence[str]]:
    """The parts of the identity that matter of a device that is to stay, by (handler, name), where that is
    not all of them: those that are asked for. What it has beside that stays as it is, whatever it is, as long
    as nobody asks for an identity by which devices are told apart, which it could have.
    """
    # Each identity once: most devices are wanted with the same, which is none.
    identities = {device.id for device in wanted.devices}
    if any(identity.serial or identity.naa or identity.eui64 for identity in identities):
        return {}
    parts = {identity: _named(identity) for identity in identities}
    return {(device.handler, device.name): parts[device.id] for device in wanted.devices}


def _named(identity: Identity) -> Sequence[str]:
    return [part for part in IDENTITY if getattr(identity, part) is not None]


def same_identities(devices: Iterable[Device]) -> Iterator[tuple[str, str, Device, Device]]:
    """(part, text, a device, a later one) for enabled devices that the kernel would refuse to enable
    together.
    """
    first: dict[tuple[str, str], Device] = {}
    for device in devices:
        for part, text in designators(device) if device.enabled else ():
            other = first.setdefault((part, text), device)
            if other is not device:
                yield part, text, other, device


def unrecognisable(config: Config) -> Iterator[tuple[Device, Target, list[str]]]:
    """Devices on targets whose initiators are on other machines, and what they cannot be known again by:
    made anew, they would have another identity, and be other disks.
    """
    devices = {device.name: device for device in config.devices}
    told: set[str] = set()
    for target in config.targets:
        if not DRIVERS[target.driver].remote:
            continue
        for device in (devices.get(lun.device) for _, luns in target.lun_sets() for lun in luns):
            if device is None or device.name in told:
                continue
            missing = [f'"{part}"' for part in ("naa", "serial") if not getattr(device.id, part)]
            if missing:
                told.add(device.name)
                yield device, target, missing


def same_backing(
    devices: Iterable[Device], identify: Callable[[str], Hashable]
) -> Iterator[tuple[Device, Device]]:
    """(a device, a later one) that both write to one backing; `identify` says which one is at a path."""
    first: dict[Hashable, Device] = {}
    for device in devices:
        if device.enabled and device.path and not device.read_only:
            other = first.setdefault(identify(device.path), device)
            if other is not device:
                yield other, device
