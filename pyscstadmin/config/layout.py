# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are in the tree of docs/configfs.md. Pure."""

from __future__ import annotations

__all__ = [
    "CLASS_ROOT",
    "DEBUG_ROOT",
    "ISCSI_DIR",
    "ROOT",
    "device_dir",
    "device_group_dir",
    "group_dir",
    "port_group_dir",
    "portal_dir",
    "set_dir",
    "target_dir",
    "users_dir",
]

ROOT = "/sys/kernel/config/scst"
ISCSI_DIR = "drivers/iscsi"
CLASS_ROOT = "/sys/class/scst"
DEBUG_ROOT = "/sys/kernel/debug/scst"


def device_dir(handler: str, name: str) -> str:
    """The directory of a device."""
    return f"devices/{handler}/{name}"


def target_dir(driver: str, name: str) -> str:
    """The directory of a target."""
    return f"targets/{driver}/{name}"


def group_dir(driver: str, target: str, group: str) -> str:
    """The directory of a group."""
    return f"targets/{driver}/{target}/groups/{group}"


def set_dir(driver: str, target: str, group: str) -> str:
    """The directory that holds `luns`: that of the group, or of the target for an empty group name."""
    return group_dir(driver, target, group) if group else target_dir(driver, target)


def device_group_dir(group: str) -> str:
    """The directory of a device group (ALUA)."""
    return f"alua/{group}"


def port_group_dir(group: str, port_group: str) -> str:
    """The directory of a target port group of a device group."""
    return f"alua/{group}/target_port_groups/{port_group}"


def portal_dir(name: str) -> str:
    """The directory of an iSCSI portal."""
    return f"{ISCSI_DIR}/portals/{name}"


def users_dir(target: str = "") -> str:
    """The directory of the users of an iSCSI target, or ('') of discovery."""
    return f"{target_dir('iscsi', target) if target else ISCSI_DIR}/users"
