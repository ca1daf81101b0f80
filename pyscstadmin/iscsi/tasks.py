# SPDX-License-Identifier: GPL-2.0-or-later
"""The end of asyncio's tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

__all__ = ["ended"]

# Seconds until a task that has not ended is cancelled once more.
_AGAIN = 0.1


async def ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they are over. Once is not enough: before Python 3.12 wait_for() forgets it where
    what it waits for is over just then.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN)
