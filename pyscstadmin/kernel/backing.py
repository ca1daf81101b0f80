# SPDX-License-Identifier: GPL-2.0-or-later
"""What is behind a path: a look at the file system, now."""

from __future__ import annotations

import os
import stat
from collections.abc import Hashable

__all__ = ["BLOCK", "block_fact", "identify"]

BLOCK = "/sys/dev/block"

# Loop devices on files on loop devices ...: more than anybody builds.
_DEPTH = 8


def identify(path: str, block: str = BLOCK, depth: int = _DEPTH) -> Hashable:
    """What differs for different backings, and is the same for all paths of one: links are followed, and
    loop devices to their files. A path where nothing is stands for itself.
    """
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
    except OSError:
        return real
    if not stat.S_ISBLK(status.st_mode):
        return status.st_dev, status.st_ino
    below = block_fact(status.st_rdev, "loop/backing_file", block)
    return identify(below, block, depth - 1) if below and depth else status.st_rdev


def block_fact(number: int, name: str, block: str = BLOCK) -> str:
    """An attribute of a block device, '' if it has none of this name."""
    try:
        with open(f"{block}/{os.major(number)}:{os.minor(number)}/{name}", "rb") as file:
            return os.fsdecode(file.read()).rstrip("\n")
    except OSError:
        return ""
