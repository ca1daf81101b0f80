# SPDX-License-Identifier: GPL-2.0-or-later
"""The note of what was left out or left behind, which `save` heeds until all is as it should be again.

It is of this run of the machine only, as the kernel's state is; links at its place are not followed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from pyscstadmin.errors import OperationError

__all__ = ["read_note", "write_note"]


def write_note(path: str, lines: Sequence[str]) -> None:
    """Write the note, whole or not at all, or remove it. Raises `OperationError`."""
    new = f"{path}.new"
    try:
        if not lines:
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"{line}\n" for line in lines)
        os.rename(new, path)
    except OSError as error:
        raise OperationError("note", path, None, error.errno or 0) from error


def read_note(path: str) -> list[str]:
    """The lines of the note; one that cannot be read may say anything."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, encoding="utf-8", errors="surrogateescape") as file:
            return [line.rstrip("\n") for line in file]
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{path}, the note of what was left out, cannot be read: {os.strerror(error.errno or 0)}"]
