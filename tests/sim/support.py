# SPDX-License-Identifier: GPL-2.0-or-later
"""Helpers of the conformance suite."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pytest

from pyscstadmin.config.settings import ISCSI, LUN
from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.cfs import Tree

INITIATOR = "iqn.2026-11.com.example:a"
OTHER = "iqn.2026-11.com.example:b"
TRUE = ("1", "y", "on")
FALSE = ("0", "n", "off")
NOT_BOOLEAN = ("", "2", "yess", "true", "1 1", " 1", "-1", "0x1", "10", "\x00", "\xff\xfe", "o")
NOT_NUMBER = ("", "abc", "-1", "1x", "0x", "1 2", " 1", "1.5", "1e3", "\x00", "\xff")
TOO_LARGE = "123456789012345678901234567890"


@contextmanager
def refused(*numbers: int) -> Iterator[None]:
    """The block is one operation that the tree refuses with one of these errnos."""
    with pytest.raises(OperationError) as caught:
        yield
    names = [errno.errorcode[number] for number in numbers]
    assert caught.value.errno in numbers, f"{caught.value} is none of {names}"


@dataclass(frozen=True)
class Names:
    """Paths of the usual objects."""

    device: str = "devices/nullio/n0"
    target: str = "targets/local/t0"
    group: str = "targets/local/t0/groups/g0"
    lun: str = "targets/local/t0/groups/g0/luns/0"

    @classmethod
    def make(cls, tree: Tree) -> Names:
        """Make them: the device enabled, mapped as LUN 0 to `INITIATOR`; the target disabled."""
        made = cls()
        null_device(tree, "n0")
        tree.mkdir(made.target)
        tree.mkdir(made.group)
        tree.mkdir(f"{made.group}/initiators/{INITIATOR}")
        tree.mkdir(made.lun)
        tree.symlink(made.device, f"{made.lun}/device")
        return made


def null_device(tree: Tree, name: str) -> str:
    """Make and enable a nullio device of 1 MiB; returns its path."""
    path = f"devices/nullio/{name}"
    tree.mkdir(path)
    tree.write(f"{path}/size", str(1 << 20))
    tree.write(f"{path}/enabled", "1")
    return path


def until_set(tree: Tree, path: str, seconds: float = 10) -> str:
    """The value of an attribute that the kernel fills in by itself, shortly; '' if it does not."""
    end = time.monotonic() + seconds
    while not (value := tree.read(path)) and time.monotonic() < end:
        time.sleep(0.02)
    return value


def generation(tree: Tree) -> int:
    """The generation in force."""
    return int(tree.read("generation"))


def until_settled(tree: Tree, seconds: float = 10) -> int:
    """`settled`, when it has reached the generation, or after this time."""
    end = time.monotonic() + seconds
    while int(tree.read("settled")) < generation(tree) and time.monotonic() < end:
        time.sleep(0.02)
    return int(tree.read("settled"))


def wipe(tree: Tree) -> None:
    """Remove everything from a tree, whatever state it is in."""
    tree.write("autocommit", "1")
    tree.write("buffer_limit", "0")
    for fault in tree.list("faults"):
        tree.rmdir(f"faults/{fault}")
    for group in tree.list("alua"):
        _wipe_device_group(tree, f"alua/{group}")
    for driver in tree.list("targets"):
        for name in tree.list(f"targets/{driver}"):
            _wipe_target(tree, f"targets/{driver}/{name}")
    if "iscsi" in tree.list("drivers"):
        _wipe_iscsi(tree)
    for handler in tree.list("devices"):
        for name in tree.list(f"devices/{handler}"):
            tree.write(f"devices/{handler}/{name}/enabled", "0")
            tree.rmdir(f"devices/{handler}/{name}")


def _wipe_iscsi(tree: Tree) -> None:
    for name, row in ISCSI.items():
        tree.write(f"drivers/iscsi/{name}", row.type.to_kernel(row.default))
    for folder in ("portals", "users"):
        for name in tree.list(f"drivers/iscsi/{folder}"):
            tree.rmdir(f"drivers/iscsi/{folder}/{name}")


def _wipe_device_group(tree: Tree, path: str) -> None:
    for group in tree.list(f"{path}/target_port_groups"):
        _wipe_members(tree, f"{path}/target_port_groups/{group}/ports")
        tree.rmdir(f"{path}/target_port_groups/{group}")
    _wipe_members(tree, f"{path}/devices")
    tree.rmdir(path)


def _wipe_members(tree: Tree, path: str) -> None:
    for member in tree.list(path):
        for entry in tree.list(f"{path}/{member}"):
            if entry != "rel_tgt_id":
                tree.unlink(f"{path}/{member}/{entry}")
        tree.rmdir(f"{path}/{member}")


def _wipe_target(tree: Tree, path: str) -> None:
    tree.write(f"{path}/enabled", "0")
    _wipe_luns(tree, f"{path}/luns")
    for group in tree.list(f"{path}/groups"):
        _wipe_luns(tree, f"{path}/groups/{group}/luns")
        for pattern in tree.list(f"{path}/groups/{group}/initiators"):
            tree.rmdir(f"{path}/groups/{group}/initiators/{pattern}")
        tree.rmdir(f"{path}/groups/{group}")
    with suppress(OperationError):
        for host in tree.list(f"{path}/hosts"):
            tree.rmdir(f"{path}/hosts/{host}")
    if path.startswith("targets/iscsi/"):
        for link in tree.list(f"{path}/portals"):
            tree.unlink(f"{path}/portals/{link}")
        for user in tree.list(f"{path}/users"):
            tree.rmdir(f"{path}/users/{user}")
    tree.rmdir(path)


def _wipe_luns(tree: Tree, path: str) -> None:
    for number in tree.list(path):
        for entry in tree.list(f"{path}/{number}"):
            if entry not in (*LUN, "state"):
                tree.unlink(f"{path}/{number}/{entry}")
        tree.rmdir(f"{path}/{number}")
