# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands that are in flight now, read from debugfs: whose, where, and since when.

What is answered in the context it comes in is not among them; whatever may take its time is.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

from pyscstadmin.config.layout import DEBUG_ROOT
from pyscstadmin.errors import OperationError

__all__ = ["PLACES", "Command", "debug_text", "parse_commands", "plain_name", "read_commands"]

# The kernel's words for where a command is, for people.
PLACES = {
    "core": "in the core",
    "data": "waits for data of its initiator",
    "stalled": "waits for room in the target driver",
    "response": "waits for the target driver to confirm its response",
    "order": "waits for others of its task set, because of its task attribute or theirs",
    "aca": "blocked by an ACA condition of its initiator",
    "limited": "waits for what its LUN lets its initiator do in a second",
    "fault": "is held by a fault that is injected on purpose",
    "question": "waits until `scstadmin answer`, or a program of yours, accepts or refuses it",
    "turn": "waits for a COMPARE AND WRITE or ORWRITE, or for writes before it",
    "thread": "waits for a thread of its device",
    "handler": "in the back end",
}


@dataclass(frozen=True, slots=True)
class Command:
    """One command in flight.

    `age_ms`: milliseconds since it came. `place`: a key of `PLACES`. `aborted`: task management has taken
    it, and waits for its end. `session` is the name in /sys/class/scst, `target` DRIVER/NAME. `lun` is None
    if the transport's LUN is none that there can be, `device` '' if nothing is behind it. `bytes`: to be
    moved. `tag` (as in the kernel's traces) and `cdb` are hexadecimal.
    """

    age_ms: int
    place: str
    aborted: bool
    session: str
    target: str
    initiator: str
    lun: int | None
    device: str
    tag: str
    bytes: int
    cdb: str
    opcode: str

    @property
    def where(self) -> str:
        """Its place in words."""
        return PLACES.get(self.place, self.place) + (", aborted" if self.aborted else "")


def parse_commands(text: str) -> list[Command]:
    """The lines of `commands`, the oldest command first."""
    found = [_command(line) for line in text.splitlines() if not line.startswith("#")]
    return sorted(found, key=lambda one: -one.age_ms)


def read_commands(path: str = f"{DEBUG_ROOT}/commands") -> list[Command]:
    """What is in flight, the oldest first. Waits for nobody. Raises `OperationError`."""
    return parse_commands(debug_text(path))


def debug_text(path: str) -> str:
    """A file of debugfs. Raises `OperationError`."""
    try:
        with open(path, encoding="ascii", errors="surrogateescape") as file:
            return file.read()
    except OSError as error:
        raise OperationError("read", path, None, error.errno or errno.EIO) from error


def _command(line: str) -> Command:
    age, place, aborted, session, target, initiator, lun, device, tag, size, cdb, opcode = line.split(" ", 11)
    return Command(
        int(age),
        place,
        aborted == "1",
        f"session.{session}",
        plain_name(target),
        plain_name(initiator),
        None if lun == "-" else int(lun),
        "" if device == "-" else device,
        tag,
        int(size),
        cdb,
        opcode,
    )


def plain_name(word: str) -> str:
    """The name for which a word of debugfs stands: blanks and backslashes are written in octal there."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)
