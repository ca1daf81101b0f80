# SPDX-License-Identifier: GPL-2.0-or-later
"""The iSCSI sessions that exist now, and their end: /sys/class/scst/session.N/iscsi, and /dev/scst-iscsi."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from pyscstadmin.config.layout import CLASS_ROOT
from pyscstadmin.errors import OperationError
from pyscstadmin.kernel.sessions import read_sessions

__all__ = [
    "DEVICE",
    "SECONDS_MAX",
    "Drained",
    "IscsiSession",
    "ask",
    "drain",
    "drop",
    "read_iscsi_sessions",
]

DEVICE = "/dev/scst-iscsi"
SECONDS_MAX = 3600
# struct scst_iscsi_drop of the kernel's uapi/scst_iscsi.h: size, how, tsih, seconds.
_DROP = struct.Struct("=IIHH")
_IOW, _SIZE_SHIFT, _KIND, _NUMBER = 1 << 30, 16, ord("I") << 8, 0x43
SCST_ISCSI_DROP = _IOW | _DROP.size << _SIZE_SHIFT | _KIND | _NUMBER
_NOW, _ASK = 0, 1
# The kernel drops by itself who does not log out, so much later than this program would: should it be killed.
_LATER = 5
_PACE = 0.1

End = Callable[[int, "int | None"], bool]


@dataclass(frozen=True, slots=True)
class IscsiSession:
    """An iSCSI session: `name` and `target` (DRIVER/NAME) as in `Session`; `values`: what its folder says, by
    the names of the files there, such as `tsih`, `portal`, `peer`, `header_digest`.
    """

    name: str
    target: str
    initiator: str
    values: Mapping[str, str]

    @property
    def tsih(self) -> int:
        """Its target session identifying handle."""
        return int(self.values["tsih"], 0)


def read_iscsi_sessions(root: str = CLASS_ROOT) -> list[IscsiSession]:
    """All of them. One that ends while it is read is left out."""
    found = []
    for session in read_sessions(root):
        folder = f"{root}/{session.name}/iscsi"
        with suppress(OSError):  # no session of iSCSI, or gone meanwhile
            values = {name: _text(f"{folder}/{name}") for name in sorted(os.listdir(folder))}
            if "tsih" in values:
                found.append(IscsiSession(session.name, session.target, session.initiator, values))
    return found


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read().removesuffix("\n")


def drop(tsih: int, seconds: int | None = None, device: str = DEVICE) -> bool:
    """End a session: at once, or (*seconds*) ask the initiator to log out, and drop it after that time.
    False: it is not there any more. Raises `OperationError`.
    """
    how, left = (_NOW, 0) if seconds is None else (_ASK, min(seconds, 0xFFFF))
    try:
        file = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(file, SCST_ISCSI_DROP, _DROP.pack(_DROP.size, how, tsih, left))
        finally:
            os.close(file)
    except OSError as error:
        if error.errno == errno.ENOENT and os.path.exists(device):
            return False
        raise OperationError("open", device, None, error.errno or errno.EIO) from error
    return True


class Drained(NamedTuple):
    """What became of sessions that were asked to end. `asked`: they are still there, and the kernel drops
    them in a while.
    """

    left: list[IscsiSession]
    dropped: list[IscsiSession]
    asked: list[IscsiSession]


def ask(sessions: Sequence[IscsiSession], seconds: int, end: End = drop) -> None:
    """Ask initiators to log out. Raises `OperationError`."""
    for one in sessions:
        end(one.tsih, seconds + _LATER)


def drain(
    sessions: Sequence[IscsiSession],
    seconds: int,
    there: Callable[[], Sequence[IscsiSession]],
    stopped: Callable[[], bool],
    end: End = drop,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Drained:
    """Wait for those that were asked, and drop who is still there then. *stopped*: wait no longer, and drop
    nobody.

    *there*: reads the sessions that there are; one of the same name and handle is the same.
    """
    until = clock() + seconds
    waiting = {(one.name, one.tsih): one for one in sessions}
    while waiting and clock() < until and not stopped():
        sleep(min(_PACE, max(0.0, until - clock())))
        present = {(one.name, one.tsih) for one in there()}
        waiting = {key: one for key, one in waiting.items() if key in present}
    still = list(waiting.values())
    asked = still if stopped() else []
    dropped = [] if asked else [one for one in still if end(one.tsih, None)]
    gone = {one.name for one in (*asked, *dropped)}
    return Drained([one for one in sessions if one.name not in gone], dropped, asked)
