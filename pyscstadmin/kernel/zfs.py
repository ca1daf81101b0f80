# SPDX-License-Identifier: GPL-2.0-or-later
"""ZFS volumes, by its own command: the kernel tells nothing of them."""

from __future__ import annotations

__all__ = ["guid"]

_PATIENCE = 5.0


def guid(volume: str) -> str:
    """The GUID of a volume, '' if it cannot be had."""
    import subprocess  # costs more to import than most commands take to run

    argv = ["zfs", "get", "-Hp", "-o", "value", "guid", volume]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    found = done.stdout.strip()
    return found if found.isdigit() else ""
