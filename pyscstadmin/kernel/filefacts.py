# SPDX-License-Identifier: GPL-2.0-or-later
"""What a file is known by: what the kernel tells of it and of its file system.

By the C library, for what Python has no name for (statx, file handles).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from pyscstadmin.config.facts import Facts

__all__ = ["File", "look"]

_AT_EMPTY_PATH = 0x1000
_STATX_INO, _STATX_SIZE, _STATX_BTIME, _STATX_MNT_ID = 0x100, 0x200, 0x800, 0x1000
_STATX = struct.Struct("=I28x QQ 32x qI4x 40x II Q 104x")
_HANDLE_MAX = 128
_GET_FS_UUID = 0x80111500  # Linux 6.9
_MOUNTS = "/proc/self/mountinfo"

# Of a file system's source, and whose UUID is wanted: from the udev database, '' if it does not say.
UuidOf = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class File:
    """A file. `words`: as the kernel's attribute `backing` has them; `device`, `inode`: as of stat(2)."""

    words: str
    device: int
    inode: int
    facts: Facts


def look(fd: int, uuid_of: UuidOf) -> File:
    """What an open file is, one opened by O_PATH as well. Raises `OSError`."""
    mask, inode, size, seconds, nanoseconds, major, minor, mount = _STATX.unpack(_statx(fd))
    birth = f"{seconds}.{nanoseconds:09d}" if mask & _STATX_BTIME else ""
    system, source = _mounted(mount) if mask & _STATX_MNT_ID else ("", "")
    facts = {
        "inode": str(inode),
        "birth": birth,
        "handle": _handle(fd),
        "fs": system,
        "fs_uuid": _system_uuid(fd, source, uuid_of),
        "fs_source": _telling(system, source),
        "size": str(size),
    }
    words = f"f {major}:{minor} {inode} {birth or '-'}"
    return File(words, os.makedev(major, minor), inode, Facts.of(facts))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _statx(fd: int) -> bytes:
    buffer = ctypes.create_string_buffer(_STATX.size)
    wanted = _STATX_INO | _STATX_SIZE | _STATX_BTIME | _STATX_MNT_ID
    if _libc().statx(fd, b"", _AT_EMPTY_PATH, wanted, buffer):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return buffer.raw


def _handle(fd: int) -> str:
    """What NFS servers know a file by: another one for each file there ever was in the file system; '' where
    these have none.
    """
    buffer = ctypes.create_string_buffer(struct.pack("=Ii", _HANDLE_MAX, 0), 8 + _HANDLE_MAX)
    mount = ctypes.c_int()
    if _libc().name_to_handle_at(fd, b"", buffer, ctypes.byref(mount), _AT_EMPTY_PATH):
        return ""
    size, kind = struct.unpack_from("=Ii", buffer.raw)
    return f"{kind}:{buffer.raw[8 : 8 + size].hex()}"


def _mounted(mount: int) -> tuple[str, str]:
    """(type, source) of a mount."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                if line.startswith(f"{mount} "):
                    system, source = line.rstrip("\n").partition(" - ")[2].split(" ")[:2]
                    return system, source
    except (OSError, ValueError):
        pass
    return "", ""


def _system_uuid(fd: int, source: str, uuid_of: UuidOf) -> str:
    """The UUID of the file system: the kernel's word first, which is about what is mounted now."""
    return _kernel_uuid(fd) or _source_uuid(source, uuid_of)


def _kernel_uuid(fd: int) -> str:
    answer = bytearray(17)
    try:
        # An O_PATH descriptor takes no requests.
        real = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.ioctl(real, _GET_FS_UUID, answer)
    except OSError:
        return ""
    finally:
        os.close(real)
    digits = answer[1:].hex()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "-".join(parts) if answer[0] == 16 else ""


def _source_uuid(source: str, uuid_of: UuidOf) -> str:
    try:
        return uuid_of(os.stat(source).st_rdev) if source.startswith("/") else ""
    except OSError:
        return ""


def _telling(system: str, source: str) -> str:
    """The source of a mount where it says something: a server's export, a data set; not a disk's name."""
    remote = ":" in source or source.startswith("//")
    return source if remote or system == "zfs" else ""
