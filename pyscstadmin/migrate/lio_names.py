# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of ours for things that LIO calls otherwise. Pure."""

from __future__ import annotations

import re

__all__ = ["TARGET_LIMIT", "TARGET_MARKS", "free_name"]

TARGET_LIMIT = 223
TARGET_MARKS = "_.:+@,-"


def free_name(wanted: str, taken: set[str], limit: int = 64, marks: str = "_.:-") -> str:
    """A name of letters, digits and marks, as near as possible to the wanted one; it is taken then."""
    base = re.sub(f"[^A-Za-z0-9{re.escape(marks)}]", "_", wanted).lstrip(".-") or "_"
    name, number = base[:limit], 2
    while name in taken:
        ending = f"-{number}"
        name, number = base[: limit - len(ending)] + ending, number + 1
    taken.add(name)
    return name
