# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a value is in a configuration. Pure. (Where that is in a text is found by `locate`, if need be.)"""

from __future__ import annotations

__all__ = ["Path", "dotted"]

# Object keys and array indices from the top.
Path = tuple[str | int, ...]


def dotted(path: Path) -> str:
    """`targets.local.t1.hosts[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
