# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeping the configuration in a file: atomically, with history, and never a worse one over a better one
unasked.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from pyscstadmin.errors import InvalidInput, OperationError, SaveRefused
from pyscstadmin.model import Config
from pyscstadmin.schema import dumps, load_file

__all__ = ["HISTORY", "degraded", "save"]

HISTORY = 9


def save(config: Config, path: str, *, degraded: Sequence[str] = (), force: bool = False) -> bool:
    """Write the configuration to `path`, mode 0600; the file replaced stays as `path.1`, older ones up to
    `path.9`.

    At every moment `path` is the old file or the new one, whole. False: it holds this configuration already.
    Raises `SaveRefused` when there are reasons to call the state degraded and not `force`, `OperationError`.
    """
    data = dumps(config).encode()
    try:
        present = _present(path)
        if present == data:
            return False
        reasons = [*degraded, *_emptied(config, path, present)]
        if reasons and not force:
            raise SaveRefused(path, reasons)
        _replace(path, data, keep=present is not None)
    except OSError as error:
        raise OperationError("save", path, None, error.errno or 0) from error
    return True


def degraded(config: Config) -> list[str]:
    """What in a configuration read from the kernel looks like the rest of something that went wrong."""
    reasons = [
        f"device {device.handler}/{device.name} is not enabled"
        for device in config.devices
        if not device.enabled
    ]
    for target in config.targets:
        for group, luns in target.lun_sets():
            where = f"{target.driver}/{target.name}" + (f" group {group}" if group else "")
            reasons.extend(f"LUN {lun.number} of {where} has no device" for lun in luns if not lun.device)
    return reasons


def _emptied(config: Config, path: str, present: bytes | None) -> list[str]:
    """An empty configuration over one that is not."""
    if present is None or config.devices or config.targets:
        return []
    try:
        old = load_file(path)
    except InvalidInput:
        return [f"nothing is configured, and {path} holds something else than a configuration"]
    return [f"nothing is configured, and {path} holds a configuration"] if old != config else []


def _present(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _replace(path: str, data: bytes, keep: bool) -> None:
    directory = os.path.dirname(os.path.abspath(path))
    os.makedirs(directory, exist_ok=True)
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        _write_all(fd, data)
        os.fsync(fd)
    except OSError:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    if keep:
        _shift(path)
    os.rename(temporary, path)
    _sync_directory(directory)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _shift(path: str) -> None:
    """Make room for the present file at `path.1`, and put a second name of it there."""
    for number in range(HISTORY - 1, 0, -1):
        with suppress(FileNotFoundError):
            os.rename(f"{path}.{number}", f"{path}.{number + 1}")
    os.link(path, f"{path}.1")


def _sync_directory(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
