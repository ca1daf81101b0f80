# SPDX-License-Identifier: GPL-2.0-or-later
"""A file system with one file, whose opening, or whatever else, can be made to hang: a server that is away,
as everybody who uses the file sees it. It speaks the protocol of FUSE with the kernel, in a thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import threading
from pathlib import Path

__all__ = ["OPEN", "STATFS", "Silent"]

_IN = struct.Struct("=IIQQIIIHH")
_OUT = struct.Struct("=IiQ")
_ATTR = struct.Struct("=QQQQQQIIIIIIIIII")
OPEN, STATFS = 14, 17
_DONE = frozenset((18, 20, 25, 29, 43))  # release, fsync, flush, releasedir, fallocate
_NO_ANSWER = frozenset((2, 36, 42))  # forget, interrupt, forget several
_ROOT, _FILE = 1, 2
_SIZE = 1 << 20
_LARGEST = 1 << 17


class Silent:
    """Mounted at a directory; the file in it is `path`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "file"
        self.data = bytearray(_SIZE)
        self._hung = 0
        self._kept: list[tuple[int, int, int, bytes]] = []
        self._turn = threading.Lock()
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"silent", os.fsencode(folder), b"fuse.silent", 0, options):
            raise OSError(ctypes.get_errno(), "mount", str(folder))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def hang(self, opcode: int = OPEN) -> None:
        """From here on, nobody who opens the file, or does what *opcode* says, hears anything."""
        self._hung = opcode

    def answer(self) -> None:
        """Whoever asked meanwhile has it now."""
        with self._turn:
            self._hung = 0
            for request in self._kept:
                self._handle(*request)
            self._kept.clear()

    @property
    def kept(self) -> int:
        """How many are waiting."""
        return len(self._kept)

    def close(self) -> None:
        """It goes, whatever is open."""
        self.answer()
        ctypes.CDLL(None).umount2(os.fsencode(self.folder), 2)
        self._thread.join(10)
        os.close(self._fd)

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, _LARGEST + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                raise
            _, opcode, unique, node, *_ = _IN.unpack_from(request)
            self._take(opcode, unique, node, request[_IN.size :])

    def _take(self, opcode: int, unique: int, node: int, body: bytes) -> None:
        if opcode in _NO_ANSWER:
            return
        with self._turn:
            if opcode == self._hung:
                self._kept.append((opcode, unique, node, body))
                return
        self._handle(opcode, unique, node, body)

    def _handle(self, opcode: int, unique: int, node: int, body: bytes) -> None:
        answer = self._answer(opcode, node, body)
        self._reply(
            unique, answer if isinstance(answer, bytes) else b"", answer if isinstance(answer, int) else 0
        )

    def _answer(self, opcode: int, node: int, body: bytes) -> bytes | int:
        match opcode:
            case 26:  # init
                return struct.pack("=IIIIHHIIHHI28x", 7, 31, _LARGEST, 0, 16, 12, _LARGEST, 1, 32, 0, 0)
            case 1:  # lookup
                if body.rstrip(b"\0") != b"file":
                    return -errno.ENOENT
                return struct.pack("=QQQQII", _FILE, 1, 1000, 1000, 0, 0) + self._attributes(_FILE)
            case 3:  # getattr
                return struct.pack("=QII", 1000, 0, 0) + self._attributes(node)
            case 14 | 27:  # open, opendir
                return self._opened()
            case 15:  # read
                _, offset, size = struct.unpack_from("=QQI", body)
                return bytes(self.data[offset : offset + size])
            case 16:  # write
                _, offset, size = struct.unpack_from("=QQI", body)
                self.data[offset : offset + size] = body[40 : 40 + size]
                return struct.pack("=II", size, 0)
            case 17:
                return struct.pack("=QQQQQIIII24x", 1, 1, 1, 1, 1, 4096, 255, 4096, 0)
        return b"" if opcode in _DONE else -errno.ENOSYS

    def _opened(self) -> bytes:
        return struct.pack("=QII", 1, 0, 0)

    def _attributes(self, node: int) -> bytes:
        folder = node == _ROOT
        size, mode = (0, stat.S_IFDIR | 0o755) if folder else (_SIZE, stat.S_IFREG | 0o644)
        return _ATTR.pack(node, size, size // 512, 1, 1, 1, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def _reply(self, unique: int, data: bytes, error: int = 0) -> None:
        try:
            os.write(self._fd, _OUT.pack(_OUT.size + len(data), error, unique) + data)
        except OSError as problem:
            if problem.errno != errno.ENOENT:  # who asked was killed
                raise
