# SPDX-License-Identifier: GPL-2.0-or-later
"""Secrets: read from where they are kept, given to the kernel, and shown to nobody.

A secret is in a file that only its owner can read, or is a systemd credential. What the tree keeps of it, for
everybody to see, is where it was taken from and which state of the file that was: so that a file that has
changed since is read again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from dataclasses import replace

from pyscstadmin.config.acts import Secret
from pyscstadmin.config.iscsi_names import BY_HAND, CREDENTIAL
from pyscstadmin.config.model import Config, User
from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.cfs import View

__all__ = ["give", "give_back", "stamped"]

SHORTEST, LONGEST = 12, 64
# The state of a file that nobody has looked at.
_UNKNOWN = "0"


def stamped(config: Config) -> Config:
    """The configuration with the state of each file with a secret that nobody has looked at."""
    iscsi = config.iscsi
    if iscsi.users:
        config = config.but(iscsi=iscsi.but(users=_stamped(iscsi.users)))
    if any(target.users for target in config.targets):
        targets = [one.but(users=_stamped(one.users)) if one.users else one for one in config.targets]
        if tuple(targets) != config.targets:
            config = config.but(targets=tuple(targets))
    return config


def _stamped(users: Iterable[User]) -> tuple[User, ...]:
    return tuple(
        user if user.stamp or user.secret_file in ("", BY_HAND) else user.but(stamp=_stamp(user.secret_file))
        for user in users
    )


def _stamp(source: str) -> str:
    """Changes whenever the file does; '' if it cannot be looked at, which is said when it is to be read."""
    try:
        status = os.stat(_path(source))
    except (OSError, ValueError):
        return ""
    return f"{status.st_mtime_ns:x}.{status.st_ino:x}.{status.st_size:x}"


def _path(source: str) -> str:
    name = source.removeprefix(CREDENTIAL)
    return (
        os.path.join(os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials"), name)
        if name != source
        else name
    )


def give(tree: View, act: Secret) -> None:
    """Write a secret to the tree. No error of this has it."""
    data = bytearray(_read(act.file))
    try:
        tree.write_raw(f"{act.path}/secret", bytes(data))
    except OperationError as error:
        # What is raised knows the value; what is raised instead does not, nor does it lead there.
        refused = OperationError("write", f"{tree.root}/{act.path}/secret", None, error.errno)
        if error.errno == errno.EEXIST:
            refused.advice = "a user of the other direction has the same secret; take another"
        raise refused from None
    finally:
        data[:] = bytes(len(data))
    tree.write(f"{act.path}/secret_from", f"{act.file} {act.stamp or _UNKNOWN}")


def give_back(tree: View, act: Secret) -> None:
    """The same, for undoing. A file that is another one by now has not the secret of before, which nobody
    has: then ESTALE, and what the tree keeps says which it is.
    """
    now = _stamp(act.file)
    give(tree, replace(act, stamp=now))
    if act.stamp not in ("", _UNKNOWN, now):
        raise _unfit(
            _path(act.file), errno.ESTALE, f"{act.path} has the secret that is in it now, not the older one"
        )


def _read(source: str) -> bytes:
    path = _path(source)
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) and error.errno else errno.EINVAL
        raise OperationError("read", path, None, number) from None
    try:
        _check(os.fstat(file), path, private=path == source)
        found = os.read(file, LONGEST + 2)
    except OSError as error:
        raise OperationError("read", path, None, error.errno or errno.EIO) from None
    finally:
        os.close(file)
    secret = found.removesuffix(b"\n")
    if not SHORTEST <= len(secret) <= LONGEST:
        raise _unfit(path, errno.ERANGE, f"a secret has {SHORTEST} to {LONGEST} bytes, and this is none")
    return secret


def _check(status: os.stat_result, path: str, *, private: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _unfit(path, errno.EINVAL, "a secret is in a regular file")
    if private and (status.st_mode & 0o077 or status.st_uid not in (0, os.geteuid())):
        raise _unfit(
            path, errno.EPERM, f"others could read it, or change it: chown root {path}; chmod 600 {path}"
        )


def _unfit(path: str, number: int, advice: str) -> OperationError:
    error = OperationError("read", path, None, number)
    error.advice = advice
    return error
