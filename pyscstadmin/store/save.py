# SPDX-License-Identifier: GPL-2.0-or-later
"""Keeping the configuration in a file: atomically, with history, and never a worse one over a better one
unasked.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from pyscstadmin.config.iscsi_plan import with_secrets
from pyscstadmin.config.model import Config, Iscsi, Lun, Target
from pyscstadmin.config.schema import dumps
from pyscstadmin.durable import make_folders, sync_folder
from pyscstadmin.errors import Conflict, InvalidInput, OperationError, SaveRefused
from pyscstadmin.store.load import FILE_MAX, load_file, parse

__all__ = ["HISTORY", "degraded", "save"]

HISTORY = 9
# How every file begins that was written here, so that it need not be read to be known.
_BEGINNING = b'{\n  "version": '
# What file systems say that have no hard links.
_NO_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))


def save(
    config: Config,
    path: str,
    *,
    degraded: Sequence[str] = (),
    force: bool = False,
    ready: Callable[[], None] = lambda: None,
    parents: bool = False,
) -> bool:
    """Write the configuration to `path`; the file replaced stays as `path.1`, older ones up to `path.9`. A
    new file has mode 0600, one that is replaced keeps mode and owner, and no older one is more open.
    `parents`: make the directory it is in, if that is not there.

    At every moment `path` is the old file or the new one, whole. `ready` is called before anything is
    written. A link stays one: the file it points at is replaced. False: it holds this configuration already.
    Raises `SaveRefused` when there are reasons to call the state degraded, or what would be replaced is
    something else than a configuration, and not `force`; `Conflict` when the file would not say what is
    configured or `path` is no file; `OperationError`.
    """
    data = dumps(config).encode()
    try:
        real = _file(path)
        present = _present(real)
        if present == data:
            return False
        reasons = [*_foreign(real, present), *degraded, *_emptied(config, real, present)]
        if reasons and not force:
            raise SaveRefused(path, reasons)
        _check_readable(config, data, path)
        ready()
        if parents:
            make_folders(os.path.dirname(real))
        _replace(real, data)
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


def _foreign(path: str, present: bytes | None) -> list[str]:
    """What is no configuration, and would be replaced by one, or be lost in its history."""
    if present is None:
        return []
    names = [path, *(f"{path}.{number}" for number in range(1, HISTORY + 1))]
    return [f"{name} is something else than a configuration" for name in names if not _ours(name)]


def _ours(path: str) -> bool:
    """Whether it is meant as a configuration; nothing at all may become one."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            data = file.read(len(_BEGINNING))
            if not data or data == _BEGINNING:
                return True
            found = json.loads(data + file.read(FILE_MAX))
    except FileNotFoundError:
        return True
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "version" in found


def _emptied(config: Config, path: str, present: bytes | None) -> list[str]:
    """An empty configuration over one that is not."""
    if present is None or config.devices or config.targets or config.iscsi != Iscsi():
        return []
    try:
        old = load_file(path)
    except InvalidInput:
        return [f"nothing is configured, and {path} holds something else than a configuration"]
    return [f"nothing is configured, and {path} holds a configuration"] if old != config else []


def _check_readable(config: Config, data: bytes, path: str) -> None:
    """Read it back as `restore` will: a file that says something else is worse than none. Raises
    `Conflict`.
    """
    try:
        read = with_secrets(config, parse(data, path))
        same = read == replace(config, targets=tuple(map(_with_devices, config.targets)))
    except InvalidInput as error:
        raise Conflict(f"{path} not written, it could not be restored: {error}") from error
    if not same:
        raise Conflict(
            f"{path} not written: read back, it would be another configuration; please report this"
        )


def _with_devices(target: Target) -> Target:
    """The target without the LUNs that have no device, which are not saved."""

    def kept(luns: tuple[Lun, ...]) -> tuple[Lun, ...]:
        return tuple(lun for lun in luns if lun.device)

    groups = tuple(replace(group, luns=kept(group.luns)) for group in target.groups)
    return replace(target, luns=kept(target.luns), groups=groups)


def _file(path: str) -> str:
    """The file that a path means, following links. Raises `Conflict` if something else is there."""
    real = os.path.realpath(path)
    if os.path.abspath(path).startswith(("/dev/", "/proc/")):
        raise Conflict(f"{path} is not a file: give one, or - for the standard output")
    with suppress(FileNotFoundError):
        mode = os.stat(real).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise Conflict(f"{path} is not a file: give one, or - for the standard output")
    return real


def _present(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(FILE_MAX + 1)
    except FileNotFoundError:
        return None


def _replace(path: str, data: bytes) -> None:
    directory = os.path.dirname(path)
    old = _status(path)
    temporary = _written(path, data, old)
    try:
        if old is not None:
            _shift(path, stat.S_IMODE(old.st_mode))
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_folder(directory)


def replace_file(path: str, data: bytes) -> None:
    """Put a file there in one step, which is stable then, for root only if it is new. Nothing is kept of the
    one before. Raises `OperationError`.
    """
    file = _file(path)
    try:
        temporary = _written(file, data, _status(file))
        try:
            os.rename(temporary, file)
        except BaseException:
            os.unlink(temporary)
            raise
        sync_folder(os.path.dirname(file))
    except OSError as error:
        raise OperationError("save", path, None, error.errno or errno.EIO) from error


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _written(path: str, data: bytes, like: os.stat_result | None) -> str:
    """Write a file beside `path` under a name that nobody else uses, with mode and owner of another; returns
    the name.
    """
    from tempfile import mkstemp

    fd, temporary = mkstemp(".new", f"{os.path.basename(path)}.", os.path.dirname(path))
    try:
        _own(fd, like)
        _write_all(fd, data)
        os.fsync(fd)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    return temporary


def _own(fd: int, like: os.stat_result | None) -> None:
    """Mode and owner of the file that is replaced. Who may not give it to its owner opens it to nobody."""
    mode = 0o600
    if like is not None:
        try:
            os.fchown(fd, like.st_uid, like.st_gid)
            mode = stat.S_IMODE(like.st_mode) & 0o777
        except PermissionError:
            mode = stat.S_IMODE(like.st_mode) & 0o700
    os.fchmod(fd, mode)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _shift(path: str, mode: int) -> None:
    """Make room for the present file at `path.1`, and put a second name of it there. No older one may be
    read by more than it.
    """
    for number in range(HISTORY - 1, 0, -1):
        with suppress(FileNotFoundError):
            os.rename(f"{path}.{number}", f"{path}.{number + 1}")
            older = stat.S_IMODE(os.stat(f"{path}.{number + 1}").st_mode)
            if older & ~mode:
                os.chmod(f"{path}.{number + 1}", older & mode)
    try:
        os.link(path, f"{path}.1")
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _copy(path, f"{path}.1")


def _copy(path: str, to: str) -> None:
    """The same where a file cannot have two names."""
    with open(path, "rb") as file:
        temporary = _written(to, file.read(), os.stat(path))
    os.rename(temporary, to)
