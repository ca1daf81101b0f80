# SPDX-License-Identifier: GPL-2.0-or-later
"""LIO's configuration, as `saveconfig.json` has it, as one of ours. Pure, but for what is drawn."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from pyscstadmin.config.document import Document
from pyscstadmin.config.identity import unrecognisable
from pyscstadmin.config.model import Config, Device
from pyscstadmin.errors import InvalidInput, Problem
from pyscstadmin.migrate.account import Account, Verdict
from pyscstadmin.migrate.lio_devices import Devices, FileSize
from pyscstadmin.migrate.lio_targets import LOOPBACK_HOST, Targets
from pyscstadmin.migrate.reader import Reader

__all__ = ["Imported", "convert"]

_SECTIONS = ("storage_objects", "targets", "fabric_modules")
_UNKNOWN = "scstadmin does not know this setting of LIO"
_NOTES = (
    "VPD page 80 has the serial number without the null byte that LIO puts behind it",
    (
        "VPD page 83 has the same NAA identifier, by which Linux, Windows and ESXi tell disks; its T10 "
        "designator is put together in scst's way (LIO has a colon between product and serial number)"
    ),
    "relative target port identifiers are given anew",
)


@dataclass(frozen=True, slots=True)
class Imported:
    """A configuration, what became of each item of LIO's, and what is otherwise for all devices."""

    config: Config
    account: Account
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether all could be expressed."""
        return not self.account.lost()


def convert(
    document: Document, *, as_local: bool = False, file_size: FileSize = lambda path: None
) -> Imported:
    """Our configuration for the data of a saveconfig.json.

    `as_local`: targets of fabrics that scst has no driver for become targets of driver local. `file_size`:
    the length of a file on this machine, if it is there. Raises `InvalidInput` with all that is wrong.
    """
    account = Account()
    top = Reader(account, document.data)
    if type(document.data) is dict and not any(section in top.members for section in _SECTIONS):
        raise InvalidInput(
            document.source, [Problem(f"is no saveconfig.json: it has none of {', '.join(_SECTIONS)}")]
        )
    devices = Devices(account, file_size)
    for store in top.objects("storage_objects"):
        devices.add(store)
    targets = Targets(account, devices, as_local)
    for target in top.objects("targets"):
        targets.add(target)
    for fabric in top.objects("fabric_modules"):
        _fabric(fabric)
    if document.repeats or account.findings:
        raise document.explained(account.findings)
    account.sweep(document.data, _UNKNOWN)
    account.in_order(document.data)
    config = _recognisable(Config(tuple(devices.devices), tuple(targets.targets)))
    return Imported(config, account, tuple(_notes(config)))


def _recognisable(config: Config) -> Config:
    """The configuration with an identity for each device that initiators on other machines are to find again.
    What it lacks is random, as the kernel would make it, which does so each time that the device is made.
    """
    drawn: dict[str, Device] = {}
    for device, _, _ in unrecognisable(config):
        digits = f"3{secrets.token_hex(8)[1:]}"
        own = replace(device.id, serial=device.id.serial or digits, naa=device.id.naa or digits)
        drawn[device.name] = device.but(id=own)
    return Config(tuple(drawn.get(device.name, device) for device in config.devices), config.targets)


def _fabric(fabric: Reader) -> None:
    """What holds for a fabric as a whole: authentication for discovery."""
    values = [value for key, value in fabric.members.items() if key != "name"]
    if not any(values):
        fabric.account.note(fabric.path, Verdict.SAME, "nothing is set for the fabric as a whole", whole=True)
        return
    text = "authentication for discovery cannot be expressed"
    fabric.account.note(fabric.path, Verdict.LOST, text, whole=True)


def _notes(config: Config) -> list[str]:
    notes = list(_NOTES) if config.devices else []
    notes.extend(
        f"the initiator of {target.driver}/{target.name} is {LOOPBACK_HOST!r}: LIO gives it a new name at "
        "each start, which files do not have"
        for target in config.targets
        if LOOPBACK_HOST in target.hosts
    )
    return notes
