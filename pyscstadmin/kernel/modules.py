# SPDX-License-Identifier: GPL-2.0-or-later
"""Loading the kernel modules a configuration names, and what is left of it without those that are not
there.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from pyscstadmin.config.layout import device_dir, portal_dir, target_dir
from pyscstadmin.config.model import Config, DeviceGroup, Iscsi, Lun, Target
from pyscstadmin.config.plan import Operation
from pyscstadmin.config.settings import DRIVERS, HANDLERS
from pyscstadmin.errors import NotPresent, OperationError
from pyscstadmin.kernel.apply import Failure
from pyscstadmin.kernel.cfs import View

__all__ = ["load", "missing", "modprobe", "without"]

# Why each module is not there that a directory needs.
Absent = Mapping[str, OperationError]


def missing(tree: View, config: Config) -> dict[str, str]:
    """What the configuration needs and the tree has no directory for: directory -> module."""
    handlers = {device.handler for device in config.devices}.difference(tree.list("devices"))
    wanted = {target.driver for target in config.targets} | ({"iscsi"} if config.iscsi != Iscsi() else set())
    drivers = wanted.difference(tree.list("targets"))
    found = {f"devices/{handler}": HANDLERS[handler].module for handler in sorted(handlers)}
    found.update({f"targets/{driver}": DRIVERS[driver].module for driver in sorted(drivers)})
    return found


def load(tree: View, config: Config, *, keep_going: bool = False) -> Absent:
    """Load what the configuration needs; returns what cannot be loaded, if that is to be left out. Raises
    `NotPresent` if it is not.
    """
    absent = {}
    for directory, module in missing(tree, config).items():
        try:
            modprobe([module], f"{tree.root}/{directory}")
        except NotPresent as error:
            if not keep_going:
                raise
            absent[directory] = OperationError("load", f"module {module}", None, errno.ENOPKG)
            absent[directory].advice = error.reason
    return absent


def without(config: Config, absent: Absent) -> tuple[Config, tuple[Failure, ...]]:
    """The configuration without what needs these modules, and all that is left out by that. Who is claimed by
    a group still is, and sees less.
    """
    if not absent:
        return config, ()
    gone = {
        device.name: error
        for device in config.devices
        if (error := absent.get(f"devices/{device.handler}")) is not None
    }
    kept = [target for target in config.targets if f"targets/{target.driver}" not in absent]
    left = Config(
        tuple(device for device in config.devices if device.name not in gone),
        tuple(_showing_less(target, gone) for target in kept),
        tuple(
            _group_of_less(group, gone, {"/".join(target.key) for target in kept}) for group in config.alua
        ),
        iscsi=None if "targets/iscsi" in absent else config.iscsi,
        settings=config.settings,
    )
    return left, tuple(_left_out(config, absent, gone))


def _showing_less(target: Target, gone: Mapping[str, OperationError]) -> Target:
    def rest(luns: Iterable[Lun]) -> tuple[Lun, ...]:
        return tuple(lun for lun in luns if lun.device not in gone)

    groups = tuple(replace(group, luns=rest(group.luns)) for group in target.groups)
    return target.but(luns=rest(target.luns), groups=groups)


def _group_of_less(
    group: DeviceGroup, gone: Mapping[str, OperationError], targets: Collection[str]
) -> DeviceGroup:
    """A device group without the devices and ports that are not there."""
    ports = tuple(
        one.but(targets=tuple(target for target in one.targets if target in targets))
        for one in group.port_groups
    )
    devices = tuple(device for device in group.devices if device not in gone)
    return group.but(devices=devices, port_groups=ports)


def _left_out(config: Config, absent: Absent, gone: Mapping[str, OperationError]) -> Iterator[Failure]:
    for device in config.devices:
        if device.name in gone:
            path = device_dir(device.handler, device.name)
            yield Failure(
                Operation(f"create device {device.handler}/{device.name}", path, ()), gone[device.name]
            )
    for portal in config.iscsi.portals if "targets/iscsi" in absent else ():
        path = portal_dir(portal.name)
        yield Failure(Operation(f"create portal {portal.name}", path, ()), absent["targets/iscsi"])
    for target in config.targets:
        full, path = "/".join(target.key), target_dir(*target.key)
        error = absent.get(f"targets/{target.driver}")
        if error is not None:
            yield Failure(Operation(f"create target {full}", path, ()), error)
            continue
        for group, luns in target.lun_sets():
            where = f"{full} group {group}" if group else full
            for lun in luns:
                if lun.device in gone:
                    text = f"map {lun.device} as LUN {lun.number} of {where}"
                    yield Failure(Operation(text, path, ()), gone[lun.device])


def modprobe(names: Iterable[str], where: str) -> None:
    """Load modules. Raises `NotPresent` for `where`, with what modprobe said, when one cannot be loaded."""
    for name in names:
        _load(name, where)


def _load(name: str, where: str) -> None:
    import subprocess  # costs more to import than most commands take to run

    try:
        subprocess.run(["modprobe", "--", name], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NotPresent(where, f"module {name} is not loaded, and there is no modprobe") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip() or f"exit {error.returncode}"
        raise NotPresent(where, f"modprobe {name}: {said}") from error
