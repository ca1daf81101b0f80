# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd: it is told how the daemon is, and keeps the sockets that listen while there is no daemon.

Its store (`FileDescriptorStoreMax=` of the unit) has a name for each descriptor, and hands all of them to the
next process of the unit (sd_notify(3), sd_listen_fds(3)). What comes in meanwhile waits in the socket.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256

from pyscstadmin.iscsi.portals import Bind

__all__ = ["NAME_MAX", "Manager", "given", "name_of"]

# The first descriptor that is handed over.
_FIRST = 3
# Anything else in the store is not the daemon's, and left alone.
_PREFIX = "portal/"
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
# All names together are one string of the environment, which has 128 KiB at most.
NAME_MAX = 120
# A manager that does not listen for so long is asked again some time.
_PATIENCE = 0.5


# What is said. Pure.


def _plain(text: str) -> str:
    """Without what has a meaning here, or is none of the characters of a name in the store."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in os.fsencode(text))


def name_of(bind: Bind) -> str:
    """What the socket that listens there is called in the store: `portal/<netns>/<address>/<port>/<zone>/
    <device>/<index>`, other characters than letters, digits, `.`, `-` and `_` as `%xx`; a digest where that
    is long.
    """
    fields = (bind.netns, str(bind.ip), str(bind.port), str(bind.zone), bind.device, str(bind.index))
    name = _PREFIX + "/".join(map(_plain, fields))
    return name if len(name) <= NAME_MAX else f"{_PREFIX}{sha256(name.encode()).hexdigest()}"


def given(environment: Mapping[str, str], pid: int) -> list[tuple[int, str]]:
    """Descriptors that were handed over to this process, and their names."""
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(pid) or not count.isdecimal():
        return []
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    return [(_FIRST + number, name) for number, name in zip(range(int(count)), names, strict=False)]


# Descriptors.


def _listening(fd: int) -> socket.socket | None:
    """What was handed over, if it is a socket that listens. It is not handed on, and nobody waits in it."""
    try:
        made = socket.socket(fileno=fd)
    except OSError:
        with suppress(OSError):
            os.close(fd)
        return None
    if made.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 1:
        made.close()
        return None
    made.set_inheritable(False)
    made.setblocking(False)
    return made


class Manager:
    """The manager that has started this process, or nobody: then nothing is said and nothing kept."""

    def __init__(self, environment: Mapping[str, str] = os.environ, pid: int = 0) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._given = given(environment, pid or os.getpid())

    def handed_over(self) -> dict[str, socket.socket]:
        """The sockets of the daemon before, by name; once. What is not one, or not the only one of its name,
        is not kept any more.
        """
        found: dict[str, list[socket.socket | None]] = {}
        for fd, name in self._given:
            if name.startswith(_PREFIX):
                found.setdefault(name, []).append(_listening(fd))
            else:
                with suppress(OSError):
                    os.close(fd)
        self._given = []
        good = {name: made[0] for name, made in found.items() if len(made) == 1 and made[0]}
        for name in found.keys() - good.keys():
            self.forget(name)
            for made in filter(None, found[name]):
                made.close()
        return good

    def tell(self, text: str) -> None:
        """Something of no consequence, if it is listened to."""
        self._send(text, (), 0)

    def keep(self, made: socket.socket, name: str) -> bool:
        """Have it kept; returns whether that need not be asked for again."""
        return self._send(f"FDSTORE=1\nFDNAME={name}", (made.fileno(),), _PATIENCE)

    def forget(self, name: str) -> None:
        """Have it kept no more. A socket that does not listen any more is dropped there in any case."""
        self._send(f"FDSTOREREMOVE=1\nFDNAME={name}", (), _PATIENCE)

    def _send(self, text: str, fds: tuple[int, ...], patience: float) -> bool:
        if not self._address:
            return True
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        try:
            with socket.socket(socket.AF_UNIX, kind) as sender:
                sender.settimeout(patience)
                sender.connect(self._address)
                socket.send_fds(sender, [text.encode()], list(fds))
        except OSError:
            return False
        return True
