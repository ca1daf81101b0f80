# SPDX-License-Identifier: GPL-2.0-or-later
"""The logins that were refused, and why: for the administrator, who is the only one to know.

The last ones are in a file under /run/scst, a JSON list with the newest at its end, for
`scstadmin logins`. The journal has a line of each, but not more than some in a minute.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields

from pyscstadmin.iscsi.login import Refused

__all__ = ["FILE", "Patience", "Record", "Refusals", "read_logins"]

FILE = "/run/scst/iscsi-logins.json"
KEPT = 256
_LINES, _MINUTE = 60, 60.0

_log = logging.getLogger("scst-iscsid")


@dataclass(frozen=True, slots=True)
class Record:
    """A refusal. `time`: seconds since 1970; `status`: four hex digits, '' if nothing was answered; `rule`:
    one of `RULES`.
    """

    time: float
    portal: str
    peer: str
    initiator: str
    target: str
    user: str
    status: str
    reason: str
    rule: str = "protocol"


_FIELDS = tuple(field.name for field in fields(Record))


def read_logins(path: str = FILE) -> list[Record]:
    """The logins that were refused, the oldest first; none while there is no file, and none of what no daemon
    has written. Raises OSError.
    """
    try:
        with open(path, encoding="utf-8") as file:
            kept = json.load(file)
    except FileNotFoundError:
        return []
    except (ValueError, RecursionError):
        return []
    return [*filter(None, map(_record, kept))] if isinstance(kept, list) else []


def _record(data: object) -> Record | None:
    """What another daemon, older or newer, has written."""
    if not isinstance(data, dict):
        return None
    known = {name: data[name] for name in _FIELDS if name in data}
    texts = [value for name, value in known.items() if name != "time"]
    if type(known.get("time")) not in (int, float) or not all(type(text) is str for text in texts):
        return None
    try:
        return Record(**known)
    except TypeError:  # something is missing
        return None


class Refusals:
    """The last refusals. `save` writes the file, if there is something new."""

    def __init__(self, path: str = FILE, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._kept: deque[Record] = deque(maxlen=KEPT)
        self._minute = 0.0
        self._lines = 0
        self.unsaved = False
        # Called when there is something to save.
        self.noted: Callable[[], None] = lambda: None
        with suppress(OSError):
            self._kept.extend(read_logins(path))

    def note(self, portal: str, peer: str, refused: Refused) -> None:
        """One more."""
        status = "" if refused.status is None else f"{refused.status:04X}"
        now = self._clock()
        texts = (refused.initiator, refused.target, refused.user)
        self._kept.append(Record(now, portal, peer, *texts, status, refused.reason, refused.rule))
        self.unsaved = True
        self.noted()
        self._say(now, self._kept[-1])

    def _say(self, now: float, record: Record) -> None:
        if now - self._minute >= _MINUTE or now < self._minute:
            if self._lines > _LINES:
                _log.warning("%d more logins were refused", self._lines - _LINES)
            self._minute, self._lines = now, 0
        self._lines += 1
        if self._lines <= _LINES:
            who = record.initiator or "an initiator"
            what = f" to {record.target}" if record.target else ""
            how = f"{record.status}h" if record.status else "closed"
            _log.warning(
                "login of %s at %s%s by portal %s refused (%s): %s",
                *(text.encode("unicode_escape").decode() for text in (who, record.peer, what)),
                record.portal,
                how,
                record.reason,
            )

    @property
    def records(self) -> list[Record]:
        """The oldest first."""
        return list(self._kept)

    def save(self) -> None:
        """Write the file: whole, or it stays as it is."""
        if not self.unsaved:
            return
        self.unsaved = False
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
            temporary = f"{self._path}.new"
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "w", encoding="utf-8") as file:
                json.dump([asdict(record) for record in self._kept], file)
            os.rename(temporary, self._path)
        except OSError as error:
            _log.warning("%s: %s", self._path, error.strerror)


class Patience:
    """Who guesses secrets waits longer each time; nobody else does."""

    FIRST, LONGEST, FORGOTTEN = 0.25, 4.0, 60.0
    _KNOWN = 4096

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def delay(self, source: str) -> float:
        """Seconds that an answer to one more failure from this address waits."""
        now = self._clock()
        count, since = self._failed.pop(source, (0, now))
        count = 0 if now - since > self.FORGOTTEN else count
        self._failed[source] = (count + 1, now)
        while len(self._failed) > self._KNOWN:
            self._failed.popitem(last=False)
        return float(min(self.LONGEST, self.FIRST * 2 ** min(count, 16)))

    def success(self, source: str) -> None:
        """Somebody there knew a secret."""
        self._failed.pop(source, None)
