# SPDX-License-Identifier: GPL-2.0-or-later
"""How often users that are good for some logins only have been used: kept over restarts and power cuts.

A use is in the file, and the file on the disk, before the login is answered. It is of a secret: with another
one (another file, or another state of it) the user begins anew. Nothing is forgotten by itself: who was used
up and is removed stays used up when he is back.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from pyscstadmin.config.iscsi_names import CREDENTIAL
from pyscstadmin.durable import make_folders, sync_folder
from pyscstadmin.iscsi.policy import User
from pyscstadmin.iscsi.rules import Obstacle

__all__ = ["FILE", "Uses", "read_uses"]

FILE = "/var/lib/scst/iscsi-uses.json"


def _key(target: str, user: User) -> str:
    """The user with his secret. The state of a credential is another one after each boot."""
    source = user.source.rpartition(" ")[0] if user.source.startswith(CREDENTIAL) else user.source
    return "\n".join((target, user.name, source))


def read_uses(path: str = FILE) -> Mapping[str, int]:
    """What the file says. Raises OSError, and ValueError for what cannot be understood."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict) or any(type(count) is not int for count in found.values()):
        raise ValueError(f"{path}: not as it was written")
    return found


class Uses:
    """The file. Methods may be called in any thread, and by two daemons while one takes the other's place."""

    def __init__(self, path: str = FILE) -> None:
        self._path = path
        self._lock = threading.Lock()

    def used(self, target: str, user: User) -> int:
        """How often he was used; as often as he can be, if that is not known."""
        if not user.uses:
            return 0
        try:
            return read_uses(self._path).get(_key(target, user), 0)
        except (OSError, ValueError):
            return user.uses

    def take(self, target: str, user: User) -> Obstacle | None:
        """Use him once more; returns why that cannot be. When this is over it is on the disk."""
        if not user.uses:
            return None
        try:
            with self._held():
                counts = dict(read_uses(self._path))
                count = counts.get(_key(target, user), 0)
                why_not = user.used_up(count)
                if why_not is not None:
                    return why_not
                self._write({**counts, _key(target, user): count + 1})
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is damaged"
            return Obstacle("no-record", f"the use of {user.name!a} cannot be noted in {self._path}: {why}")
        return None

    def give_back(self, target: str, user: User) -> None:
        """Nothing came of the login."""
        if not user.uses:
            return
        with suppress(OSError, ValueError), self._held():
            counts = dict(read_uses(self._path))
            key = _key(target, user)
            if counts.get(key, 0) > 0:
                self._write({**counts, key: counts[key] - 1})

    @contextmanager
    def _held(self) -> Iterator[None]:
        make_folders(os.path.dirname(self._path), 0o700)
        with self._lock:
            lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)

    def _write(self, counts: Mapping[str, int]) -> None:
        temporary = f"{self._path}.new"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(counts, file)
            file.flush()
            os.fsync(fd)
        os.rename(temporary, self._path)
        sync_folder(os.path.dirname(self._path))
