# SPDX-License-Identifier: GPL-2.0-or-later
"""Why the kernel refused to enable or open a device, where looking at its settings and its backing tells; or
to enable a target that is hardware.

The kernel has only an errno to say it with; its log has the rest.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from dataclasses import replace

from pyscstadmin.config.identity import same_identities
from pyscstadmin.config.model import Device
from pyscstadmin.config.ports import refused_advice
from pyscstadmin.errors import OperationError
from pyscstadmin.kernel import read
from pyscstadmin.kernel.backing import BLOCK, block_fact
from pyscstadmin.kernel.cfs import View

__all__ = ["hinted", "why"]

_SWITCH = re.compile(r"devices/[^/]+/([^/]+)/(?:enabled|active)\Z")
_TARGET = re.compile(r"targets/([^/]+)/([^/]+)/enabled\Z")


def hinted(tree: View, error: OperationError) -> OperationError:
    """The error, with better advice if there is any. Call it before anything is undone."""
    place = error.path.removeprefix(f"{tree.root}/")
    if error.operation != "write" or error.value != "1":
        return error
    target, switch = _TARGET.match(place), _SWITCH.match(place)
    try:
        if target is not None:
            hint = refused_advice(target[1], target[2], error.errno)
        else:
            hint = _hint(tree, switch[1], error.errno) if switch is not None else ""
    except OperationError:
        return error
    if hint:
        error.advice = hint
    return error


def _hint(tree: View, name: str, number: int) -> str:
    if number == errno.EEXIST:
        return _twin(tree, name)
    device = read.device(tree, name)
    if device is None:
        return ""
    return _same_file(tree, device) if number == errno.EBUSY else why(device, number)


def _same_file(tree: View, device: Device) -> str:
    """Whose reservations, or protection information, are in the same file."""
    for setting in ("pr_file", "protection_file"):
        file = _file(device, setting)
        for other in read.devices(tree) if file else ():
            if other.name != device.name and other.enabled and _same(_file(other, setting), file):
                return f"{setting} {file} is that of device {other.name} as well: give each one of its own"
    return ""


def _file(device: Device, setting: str) -> str:
    return str(device.settings.get(setting, ""))


def _same(one: str, two: str) -> bool:
    return bool(one) and os.path.realpath(one) == os.path.realpath(two)


def _twin(tree: View, name: str) -> str:
    """Who has the same identity."""
    devices = read.devices(tree)
    wanted = [replace(device, enabled=True) if device.name == name else device for device in devices]
    for part, text, one, two in same_identities(wanted):
        if name in (one.name, two.name):
            other = two.name if name == one.name else one.name
            return f"device {other} has the same {part} {text}, so initiators would take the two for one disk"
    return ""


def why(device: Device, number: int, block: str = BLOCK) -> str:
    """Why a device was refused with an errno; '' if nothing here tells."""
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return _write_protected(device, number, block)
    if number == errno.EOPNOTSUPP:
        return _protected_otherwise(device, block) or _takes_nothing_back(device)
    if number != errno.EINVAL:
        return ""
    if device.handler == "nullio":
        return _multiple(device)
    needs_file = device.handler == "fileio" and device.settings.get("protection")
    if needs_file and not device.settings.get("protection_file"):
        return "protection information is kept in a file of its own, and none is named: set protection_file"
    try:
        status = os.stat(device.path)
    except (OSError, ValueError):
        return ""
    reasons = (_kind, _block_size, _direct, _small)
    return next((reason for judge in reasons if (reason := judge(device, status, block))), "")


def _multiple(device: Device) -> str:
    if device.size % (device.block_size or 512):
        return f"size {device.size} is no multiple of the block size {device.block_size or 512}"
    return ""


# As the block layer calls them.
_PROTECTION = {"T10-DIF-TYPE1-CRC": 1, "T10-DIF-TYPE3-CRC": 3}


def _protected_otherwise(device: Device, block: str) -> str:
    """What protection information the disk has, where it is not as `protection` says."""
    wanted = device.settings.get("protection")
    if device.handler != "blockio" or not wanted:
        return ""
    if wanted == 2:
        return "Linux knows types 1 and 3 of disks, and one of type 2 as type 1: set protection to 1 for that"
    try:
        number = os.stat(device.path).st_rdev
    except (OSError, ValueError):
        return ""
    has, capable, interval = (
        block_fact(number, f"integrity/{name}", block) or block_fact(number, f"../integrity/{name}", block)
        for name in ("format", "device_is_integrity_capable", "protection_interval_bytes")
    )
    if has in ("", "none", "nop") or capable == "0":
        return (
            f"{device.path} has no protection information that Linux knows of: it is formatted without "
            "(sg_format --fmtpinfo, nvme format), or its host adapter does not exchange it (DIX). "
            "Set protection to 0"
        )
    if has not in _PROTECTION:
        return f"{device.path} has {has}, and only T10 protection information with CRCs is passed through"
    if _PROTECTION[has] != wanted:
        return f"{device.path} has protection information of type {_PROTECTION[has]}: set protection to that"
    if device.block_size and str(device.block_size) != interval:
        return (
            f"{device.path} has protection information for blocks of {interval} bytes: set block_size to that"
        )
    return ""


def _takes_nothing_back(device: Device) -> str:
    if not device.settings.get("thin"):
        return ""
    disk, file = "knows no discard", "is on a file system whose files have no holes"
    what = disk if device.handler == "blockio" else file
    return f"{device.path} {what}, so that nothing can be given back: set thin to 0, or give another backing"


def _write_protected(device: Device, number: int, block: str) -> str:
    if device.read_only or not device.path:
        return ""
    try:
        status, system = os.stat(device.path), os.statvfs(device.path)
    except (OSError, ValueError):
        return ""
    if stat.S_ISBLK(status.st_mode):
        if block_fact(status.st_rdev, "ro", block) == "1":
            return f"{device.path} is write-protected: set read_only to 1, or make it writable"
    elif system.f_flag & os.ST_RDONLY:
        return f"the file system of {device.path} is read-only: set read_only to 1, or mount it read-write"
    if number == errno.EPERM:
        return (
            f"{device.path} may be immutable or append-only (lsattr tells): set read_only to 1, or clear that"
        )
    return ""


_Judge = Callable[[Device, os.stat_result, str], str]

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISBLK, "a block device: the handler for these is blockio"),
    (stat.S_ISDIR, "a directory: give a file"),
    (stat.S_ISCHR, "a character device: give a file"),
    (stat.S_ISFIFO, "a pipe: give a file"),
    (stat.S_ISSOCK, "a socket: give a file"),
)


def _kind(device: Device, status: os.stat_result, block: str) -> str:
    if device.handler != "fileio":
        return ""
    return next((f"{device.path} is {what}" for test, what in _KINDS if test(status.st_mode)), "")


def _block_size(device: Device, status: os.stat_result, block: str) -> str:
    if not stat.S_ISBLK(status.st_mode) or not device.block_size:
        return ""
    least = block_fact(status.st_rdev, "queue/logical_block_size", block)
    least = least or block_fact(
        status.st_rdev, "../queue/logical_block_size", block
    )  # that of a partition's disk
    if not least.isdigit() or device.block_size >= int(least):
        return ""
    return (
        f"block_size {device.block_size} is less than the {least} of {device.path}: set it to {least}, or to "
        "0 for that of the disk"
    )


def _direct(device: Device, status: os.stat_result, block: str) -> str:
    if not device.settings.get("o_direct"):
        return ""
    try:
        os.close(os.open(device.path, os.O_RDONLY | os.O_DIRECT | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        if error.errno == errno.EINVAL:
            return f"the file system of {device.path} has no direct I/O: set o_direct to 0, or move the file"
    return ""


def _small(device: Device, status: os.stat_result, block: str) -> str:
    least = device.block_size or 512
    if stat.S_ISREG(status.st_mode) and status.st_size < least:
        return f"{device.path} has {status.st_size} bytes, which is less than a block of {least}"
    return ""
