# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading a configuration file, whatever may be in it or at its place."""

from __future__ import annotations

import os
import sys

from pyscstadmin.config.model import Config
from pyscstadmin.config.schema import loads
from pyscstadmin.errors import InvalidInput, Problem

__all__ = ["SIZE_CAP", "load_file", "read_text"]

SIZE_CAP = 8 * 1024 * 1024


def load_file(path: str) -> Config:
    """Read a configuration file; `-` is the standard input. Raises `InvalidInput` for whatever is wrong with
    it.
    """
    return loads(read_text(path), path)


def read_text(path: str, cap: int = SIZE_CAP) -> str:
    """The text of any file; `-` is the standard input. Raises `InvalidInput` if it has none, or more than
    `cap` bytes.
    """
    try:
        data = _read(path, cap)
    except OSError as error:
        raise InvalidInput(path, [Problem(f"cannot be read: {os.strerror(error.errno or 0)}")]) from error
    if len(data) > cap:
        raise InvalidInput(path, [Problem(f"larger than {cap} bytes; no configuration is that large")])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise InvalidInput(path, [Problem("not UTF-8 text", "", line, column)]) from error


def _read(path: str, cap: int) -> bytes:
    """The bytes of a file, but one more than the cap at most."""
    if path == "-":
        return sys.stdin.buffer.read(cap + 1)
    with open(path, "rb") as file:
        return file.read(cap + 1)
