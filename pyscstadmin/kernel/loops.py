# SPDX-License-Identifier: GPL-2.0-or-later
"""Loop devices, asked directly."""

from __future__ import annotations

import fcntl
import os
import struct

__all__ = ["is_behind"]

_GET_STATUS64 = 0x4C05
_INFO = struct.Struct("=QQ216x")  # struct loop_info64: device, inode


def is_behind(node: str, path: str) -> bool:
    """Whether what is at a path now is what the loop device was given, which knows it by that path only.

    One that cannot be asked is believed.
    """
    try:
        status = os.stat(path)
    except OSError:
        return False
    return _ask(node) in (None, (status.st_dev, status.st_ino))


def _ask(node: str) -> tuple[int, int] | None:
    try:
        fd = os.open(node, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    answer = bytearray(_INFO.size)
    try:
        fcntl.ioctl(fd, _GET_STATUS64, answer)
    except OSError:
        return None
    finally:
        os.close(fd)
    device, inode = _INFO.unpack(answer)
    return device, inode
