# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a configuration file, whatever may be in it or at its place."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import BinaryIO

from pyscstadmin.config.model import Config
from pyscstadmin.config.schema import examine
from pyscstadmin.errors import InvalidInput, Problem

__all__ = ["FILE_MAX", "examine_file", "load_file", "parse", "read_text"]

# Bytes of a file, for those who read and those who write one. A million LUNs take 50 million; a limit is only
# there to end the reading of what is no configuration and never ends.
FILE_MAX = 256 << 20
_CHUNK = 1 << 20


def load_file(path: str) -> Config:
    """Read a configuration file; `-` is the standard input. Raises `InvalidInput` for whatever is wrong with
    it.
    """
    return _loaded(read_text(path), path)


def examine_file(path: str) -> tuple[Config | None, InvalidInput | None]:
    """As `schema.examine`, of a file. Raises `InvalidInput` if it cannot be read."""
    return _examined(read_text(path), path)


def parse(data: bytes | bytearray, source: str) -> Config:
    """The configuration that the bytes of a file are. Raises `InvalidInput`, naming `source`."""
    return _loaded(_text(data, source), source)


def read_text(path: str) -> str:
    """The text of any file; `-` is the standard input. Raises `InvalidInput` if it has none, or too much."""
    try:
        if path == "-":
            data = _read(sys.stdin.buffer, path)
        else:
            with open(path, "rb") as file:
                data = _read(file, path)
    except OSError as error:
        raise InvalidInput(path, [Problem(f"cannot be read: {os.strerror(error.errno or 0)}")]) from error
    except ValueError as error:
        raise InvalidInput(ascii(path), [Problem(f"cannot be read: {error}")]) from error
    return _text(data, path)


def _text(data: bytes | bytearray, source: str) -> str:
    _fits(len(data), source)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise InvalidInput(source, [Problem("not UTF-8 text", "", line, column)]) from error


def _loaded(text: str, source: str) -> Config:
    config, fault = _examined(text, source)
    if fault is not None:
        raise fault
    assert config is not None
    return config


def _examined(text: str, source: str) -> tuple[Config | None, InvalidInput | None]:
    try:
        return examine(text, source)
    except MemoryError:
        problem = Problem("takes more memory than there is, which no configuration should")
        raise InvalidInput(source, [problem]) from None


def _read(file: BinaryIO, source: str) -> bytearray:
    """Everything; or nothing, of what is known to be too much before it is read."""
    with suppress(OSError):  # standard input need not be a file
        _fits(os.fstat(file.fileno()).st_size, source)
    found = bytearray()
    while len(found) <= FILE_MAX and (more := file.read(_CHUNK)):
        found += more
    return found


def _fits(size: int, source: str) -> None:
    if size > FILE_MAX:
        problem = Problem(f"larger than {FILE_MAX >> 20} MiB, which no configuration file can be")
        raise InvalidInput(source, [problem])
