# SPDX-License-Identifier: GPL-2.0-or-later
"""Device groups and their target port groups, as the tree has them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from pyscstadmin.config.layout import port_group_dir
from pyscstadmin.config.model import DeviceGroup, PortGroup
from pyscstadmin.config.settings import DEVICE_GROUP, PORT_GROUP
from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.cfs import View

__all__ = ["device_groups", "questions"]

_T = TypeVar("_T")

# Finds the name of a link that was made by hand in a directory, '' for none.
_OtherLink = Callable[[View, str], str]


def device_groups(tree: View, other_link: _OtherLink) -> Iterator[DeviceGroup]:
    """All of them; none where the module knows no such thing."""
    for name in _there(partial(tree.list, "alua")) or ():
        yield _device_group(tree, name, other_link)


def questions(tree: View) -> dict[str, str]:
    """The open questions, by device group. None of a group that goes meanwhile."""
    names = _there(partial(tree.list, "alua")) or ()
    found = ((name, _there(partial(tree.read, f"alua/{name}/question"))) for name in names)
    return {name: text for name, text in found if text}


def _there(action: Callable[[], _T]) -> _T | None:
    """What is read; None if it is not there."""
    try:
        return action()
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
        return None


def _device_group(tree: View, name: str, other_link: _OtherLink) -> DeviceGroup:
    path = f"alua/{name}"
    devices: dict[str, str] = {}
    for folder in tree.list(f"{path}/devices"):
        device = _linked(tree, f"{path}/devices/{folder}", "device", other_link).rpartition("/")[2]
        devices[device or f"?{folder}"] = folder
    groups = [_port_group(tree, name, one, other_link) for one in tree.list(f"{path}/target_port_groups")]
    settings = DEVICE_GROUP.shown(tuple(tree.read(f"{path}/{setting}") for setting in DEVICE_GROUP))
    there = [device for device in devices if not device.startswith("?")]
    placed = {device: folder for device, folder in devices.items() if device != folder}
    return DeviceGroup(name, there, groups, settings=settings, placed=placed)


def _port_group(tree: View, group: str, name: str, other_link: _OtherLink) -> PortGroup:
    path = port_group_dir(group, name)
    targets: dict[str, str] = {}
    remote: dict[int, str] = {}
    strays: dict[str, str] = {}
    for folder in tree.list(f"{path}/ports"):
        linked = _linked(tree, f"{path}/ports/{folder}", "target", other_link)
        number = int(tree.read(f"{path}/ports/{folder}/rel_tgt_id"))
        if linked:
            targets["/".join(linked.split("/")[-2:])] = folder
        elif number:
            remote[number] = folder
        else:
            strays[f"?{folder}"] = folder
    return PortGroup(
        name,
        int(tree.read(f"{path}/group_id")),
        tree.read(f"{path}/state"),
        targets,
        remote,
        settings=PORT_GROUP.shown(tuple(tree.read(f"{path}/{setting}") for setting in PORT_GROUP)),
        placed={**targets, **{str(number): folder for number, folder in remote.items()}, **strays},
    )


def _linked(tree: View, path: str, name: str, other_link: _OtherLink) -> str:
    """What the link in a directory points at, whatever its name is; '' if there is none."""
    try:
        return tree.readlink(f"{path}/{name}")
    except OperationError as error:
        if error.errno != errno.ENOENT:
            raise
    other = other_link(tree, path)
    return tree.readlink(f"{path}/{other}") if other else ""
