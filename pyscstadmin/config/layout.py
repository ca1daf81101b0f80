# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are in the tree of docs/configfs.md: paths, and which settings each handler and driver has.
Pure.

A new handler or driver is a row in `HANDLERS` or `DRIVERS` (and a field of the model per new setting).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyscstadmin.config.names import QUEUE_DEPTH_MAX, SIZE_MAX

ROOT = "/sys/kernel/config/scst"
CLASS_ROOT = "/sys/class/scst"

# `auto`: true, false, or the word auto for what the backing says.
Kind = Literal["bool", "auto", "number", "text"]
Value = bool | int | str

AUTO: Literal["auto"] = "auto"


@dataclass(frozen=True, slots=True)
class Setting:
    """A rw attribute: its name in the tree and in the model, its kind, default, and largest number."""

    name: str
    kind: Kind
    default: Value
    high: int = SIZE_MAX

    def to_text(self, value: Value) -> str:
        """The value as it is written to the kernel."""
        return ("1" if value else "0") if isinstance(value, bool) else str(value)

    def from_text(self, text: str) -> Value:
        """The value the kernel shows. Raises ValueError for a number that is none."""
        if self.kind == "bool" or (self.kind == "auto" and text != AUTO):
            return text == "1"
        return int(text) if self.kind == "number" else text


@dataclass(frozen=True, slots=True)
class Handler:
    """A device handler: its kernel module, settings, and which of them must be set before enabling."""

    module: str
    settings: tuple[Setting, ...]
    required: str


@dataclass(frozen=True, slots=True)
class Driver:
    """A target driver: its kernel module, the settings of its targets, whether these have a hosts
    directory, and whether initiators are on other machines: these must know a device again, wherever and
    whenever it is made.
    """

    module: str
    settings: tuple[Setting, ...]
    hosts: bool
    remote: bool = True


_PATH = Setting("path", "text", "")
_SIZE = Setting("size", "number", 0)
_COMMON = (
    Setting("block_size", "number", 0),
    Setting("read_only", "bool", False),
    Setting("rotational", "auto", AUTO),
    Setting("stop_unit", "bool", False),
)
_WRITE_THROUGH = Setting("write_through", "bool", False)
_O_DIRECT = Setting("o_direct", "bool", False)

HANDLERS: dict[str, Handler] = {
    "blockio": Handler("scst_blockio", (_PATH, *_COMMON, _WRITE_THROUGH), "path"),
    "fileio": Handler("scst_fileio", (_PATH, *_COMMON, _WRITE_THROUGH, _O_DIRECT), "path"),
    "nullio": Handler("scst_nullio", (_SIZE, *_COMMON), "size"),
}
_QUEUE_DEPTH = Setting("queue_depth", "number", 0, QUEUE_DEPTH_MAX)

DRIVERS: dict[str, Driver] = {
    "local": Driver("scst_local", (_QUEUE_DEPTH, Setting("auto_rescan", "bool", True)), True, remote=False),
}
# Settings at the root of the tree.
ROOT_SETTINGS = (Setting("buffer_limit", "number", 0),)
IDENTITY = ("vendor", "product", "revision", "serial", "naa", "eui64")


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
