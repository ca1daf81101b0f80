# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of files and folders that are there after a loss of power, too."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

__all__ = ["make_folders", "sync_folder"]


def sync_folder(folder: str) -> None:
    """The names that are in it now stay. Where its file system can do that for no folder, nothing is done.
    Raises OSError.
    """
    opened = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(opened)


def make_folders(folder: str, mode: int = 0o777) -> None:
    """Make a folder, and those that it is in, where they are missing; they stay. Raises OSError."""
    if not folder or os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    make_folders(above, mode)
    with suppress(FileExistsError):  # somebody else was first; or it is a file, as whoever uses it will find
        os.mkdir(folder, mode)
    sync_folder(above)
