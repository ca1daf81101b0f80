# SPDX-License-Identifier: GPL-2.0-or-later
"""The hardware ports of this machine, read from /sys: status, never configuration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from pyscstadmin.config.ports import UNKNOWN, Port
from pyscstadmin.config.settings import DRIVERS

__all__ = ["Places", "read_ports"]

_VIRTUAL = "NPIV VPORT"


class Places(NamedTuple):
    """Where ports are told of: the classes of devices, the modules, and LIO's tree."""

    classes: str = "/sys/class"
    modules: str = "/sys/module"
    lio: str = "/sys/kernel/config/target"


def read_ports(places: Places) -> list[Port]:
    """The ports that target drivers have found, and those of their boards that they do not know, because
    their modules are not loaded. One that goes while it is read is left out.
    """
    known = {(port.driver, port.name): port for port in _registered(places)}
    for port in _of_boards(places):
        known.setdefault((port.driver, port.name), port)
    return [known[key] for key in sorted(known)]


def _registered(places: Places) -> Iterator[Port]:
    root = f"{places.classes}/scst"
    for entry in _names(root):
        with suppress(OSError):  # gone meanwhile: ENOENT or ENODEV
            if entry.startswith("port."):
                yield from _port(places, f"{root}/{entry}")


def _port(places: Places, path: str) -> Iterator[Port]:
    driver, name = _value(f"{path}/driver"), _value(f"{path}/name")
    if driver not in DRIVERS:
        return
    host = _optional(f"{path}/fc_host")
    yield Port(
        driver,
        name,
        _value(f"{path}/state"),
        _optional(f"{path}/model"),
        _optional(f"{path}/firmware"),
        _optional(f"{path}/qlini_mode"),
        host,
        *_link(places, host),
        _holder(places, driver, name),
    )


def _of_boards(places: Places) -> Iterator[Port]:
    """Fibre Channel hosts whose boards a target driver can use."""
    for host in _names(f"{places.classes}/fc_host"):
        with suppress(OSError):
            yield from _of_host(places, host)


def _of_host(places: Places, host: str) -> Iterator[Port]:
    # What the host hangs on is the board's function.
    inbox = os.path.basename(os.readlink(f"{places.classes}/fc_host/{host}/device/../driver"))
    driver = next((name for name, spec in DRIVERS.items() if spec.ports and spec.ports.inbox == inbox), None)
    if driver is None or _optional(f"{places.classes}/fc_host/{host}/port_type") == _VIRTUAL:
        return
    name = DRIVERS[driver].name.canonical(_value(f"{places.classes}/fc_host/{host}/port_name"))
    own = f"{places.classes}/scsi_host/{host}"
    mode = _optional(f"{own}/qlini_mode") or _optional(f"{places.modules}/{inbox}/parameters/qlini_mode")
    firmware = _optional(f"{own}/fw_version").partition(" ")[0]
    holder = _holder(places, driver, name)
    model = _optional(f"{own}/model_name")
    yield Port(driver, name, UNKNOWN, model, firmware, mode, host, *_link(places, host), holder)


def _link(places: Places, host: str) -> tuple[str, str]:
    """Speed and state of the link, as the transport class says them."""
    if not host:
        return "", ""
    path = f"{places.classes}/fc_host/{host}"
    return _optional(f"{path}/speed"), _optional(f"{path}/port_state")


def _holder(places: Places, driver: str, name: str) -> str:
    """Who else has a port: LIO takes it when its configuration names it."""
    spec = DRIVERS[driver]
    fabric = f"{places.lio}/{spec.ports.inbox}" if spec.ports is not None else ""
    taken = any(spec.name.canonical(one) == name for one in _names(fabric))
    return "LIO" if taken else ""


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _optional(path: str) -> str:
    """An attribute, '' if it is not there, or cannot be read now."""
    try:
        return _value(path)
    except OSError:
        return ""


def _value(path: str) -> str:
    with open(path, "rb", buffering=0) as file:
        return file.read().decode(errors="surrogateescape").rstrip("\n")
