# SPDX-License-Identifier: GPL-2.0-or-later
"""Moments: seconds since 1970, and texts in UTC. Pure."""

from __future__ import annotations

import calendar
import re

__all__ = ["LAST", "PATTERN", "seconds_of", "text_of"]

LAST = 0xFFFFFFFF
# For JSON Schema; '' is never.
PATTERN = "^([0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?Z?)?$"

_TEXT = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?)?Z?")
_DAY = 86400


def seconds_of(text: str) -> int:
    """The seconds of `2026-12-31`, `2026-12-31T23:59`, `2026-12-31T23:59:59Z`; 0 for what is no moment."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return 0
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    there = year >= 1970 and 1 <= month <= 12 and hour < 24 and minute < 60 and second < 60
    if not there or not 1 <= day <= calendar.monthrange(year, month)[1]:
        return 0
    return calendar.timegm((year, month, day, hour, minute, second))


def text_of(seconds: int) -> str:
    """The text of a moment from 1970 on."""
    days, rest = divmod(seconds, _DAY)
    year = 1970 + days // 366
    while calendar.timegm((year + 1, 1, 1, 0, 0, 0)) <= seconds:
        year += 1
    month = 1
    while month < 12 and calendar.timegm((year, month + 1, 1, 0, 0, 0)) <= seconds:
        month += 1
    day = days - calendar.timegm((year, month, 1, 0, 0, 0)) // _DAY + 1
    return f"{year:04}-{month:02}-{day:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"
