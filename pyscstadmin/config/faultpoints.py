# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that are injected on purpose: their settings. Pure.

They are tools of a test and no part of a configuration: no file has them, and nothing that makes the tree
what a file says touches them.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

from pyscstadmin.config import names
from pyscstadmin.config.names import Fault
from pyscstadmin.config.settings import Flag, Number, Setting, State, Text, Values, Word, rows

__all__ = ["ACTIONS", "ANY", "FAULT", "FAULTS_MAX", "FAULT_STATES", "NO_GROUP", "FaultPoint"]

# What no target and no group can be called.
ANY, NO_GROUP = "*", "-"
FAULTS_MAX = 64
ACTIONS = ("drop", "delay", "busy", "task_set_full", "sense")
_KINDS = ("all", "reads", "writes")
_DELAY_MAX = 600_000
_SURE = 1000
_SENSE = re.compile(r"([0-9a-fA-F])/([0-9a-fA-F]{1,2})/([0-9a-fA-F]{1,2})\Z")
# NO SENSE, RECOVERED ERROR and COMPLETED: initiators take the data of a command that ends with these.
_SUCCESS = (0x0, 0x1, 0xF)
_TARGET_MAX = 64 + 1 + 223


def _empty(text: str) -> Fault | None:
    return None if text else Fault(errno.EINVAL, f"must not be empty; {ANY} is any")


def _check_target(text: str) -> Fault | None:
    if text in ("", ANY):
        return _empty(text)
    if len(text) > _TARGET_MAX:
        return Fault(errno.ENAMETOOLONG, f"longer than {_TARGET_MAX} characters")
    driver, slash, name = text.partition("/")
    if not slash:
        return Fault(errno.EINVAL, f"must be DRIVER/NAME, or {ANY} for any")
    return names.check_device_name(driver) or names.check_target_name(name)


def _check_group(text: str) -> Fault | None:
    return None if text in (ANY, NO_GROUP) else _empty(text) or names.check_group_name(text)


def _check_lun(text: str) -> Fault | None:
    if text == ANY:
        return None
    number = names.parse_number(text)
    if number is None:
        return Fault(errno.EINVAL, f"must be a number, or {ANY} for any")
    return None if number <= names.LUN_MAX else Fault(errno.ERANGE, f"must be 0-{names.LUN_MAX}")


def _lun(text: str) -> str:
    return text if _check_lun(text) is not None or text == ANY else str(names.parse_number(text))


def _check_commands(text: str) -> Fault | None:
    if text in _KINDS:
        return None
    number = names.parse_number(text) if text[:2] in ("0x", "0X") else None
    if number is None:
        return Fault(errno.EINVAL, f"must be {', '.join(_KINDS)} or an operation code such as 0x28")
    return None if number <= 0xFF else Fault(errno.ERANGE, "must be 0x00-0xff")


def _commands(text: str) -> str:
    good = _check_commands(text) is None and text not in _KINDS
    return f"0x{names.parse_number(text):02x}" if good else text


def _check_sense(text: str) -> Fault | None:
    found = _SENSE.match(text)
    if found is None:
        return Fault(errno.EINVAL, "must be KEY/ASC/ASCQ in hex digits, such as 3/11/00")
    if int(found[1], 16) in _SUCCESS:
        return Fault(errno.ERANGE, "must have another sense key: what was not done would be taken for done")
    return None


def _sense(text: str) -> str:
    found = _SENSE.match(text)
    return "/".join((found[1], found[2].zfill(2), found[3].zfill(2))).lower() if found is not None else text


FAULT = rows(
    Setting(
        "target",
        Text(_check_target, f"DRIVER/NAME, or {ANY} for any", "^.+$"),
        ANY,
        "whose commands: those that come by this target; it need not be there",
    ),
    Setting(
        "group",
        Text(_check_group, f"a group, {NO_GROUP} for initiators that no group claims, {ANY} for any", "^.+$"),
        ANY,
        "... of the initiators of this group",
    ),
    Setting(
        "lun", Text(_check_lun, f"a number, or {ANY} for any", "^.+$", canonical=_lun), ANY, "... to this LUN"
    ),
    Setting(
        "commands",
        Text(
            _check_commands,
            f"{', '.join(_KINDS)} or an operation code such as 0x28",
            "^.+$",
            canonical=_commands,
        ),
        _KINDS[0],
        "... which: reads and writes are those that limits know as such",
    ),
    Setting(
        "action",
        Word(ACTIONS),
        "busy",
        "what becomes of them. drop: nothing, until the initiator, or the end of the fault, ends it; delay: "
        "they begin later; busy, task_set_full: that is the status; sense: CHECK CONDITION",
    ),
    Setting("delay_ms", Number(1, _DELAY_MAX), 1000, "delay: so many milliseconds"),
    Setting(
        "sense",
        Text(_check_sense, "KEY/ASC/ASCQ in hex digits, such as 3/11/00", "^.+$", canonical=_sense),
        "3/11/00",
        "sense: the sense data",
    ),
    Setting("probability", Number(1, _SURE), _SURE, "how many of a thousand it strikes; 1000: all"),
    Setting(
        "seed",
        Number(high=2**64 - 1),
        0,
        "with the same one, the same of the commands in the order of their arrival are struck",
    ),
    Setting("count", Number(high=2**32 - 1), 0, "it strikes so many, then no more; 0: no end"),
    Setting("enabled", Flag(), False, "it is in force", live=True),
)
FAULT_STATES = (State("hits", "commands that it has struck since it came into force last"),)


@dataclass(frozen=True, slots=True)
class FaultPoint:
    """A fault that is injected, or can be. `hits`: how many commands it has struck."""

    name: str
    settings: Values
    hits: int = 0

    @property
    def enabled(self) -> bool:
        """Whether it is in force."""
        return bool(self.settings["enabled"])

    @property
    def text(self) -> str:
        """What it does to whom, for people."""
        of = self.settings
        whose = "all commands" if of["commands"] == _KINDS[0] else of["commands"]
        where = [f"{name} {of[name]}" for name in ("target", "group", "lun") if of[name] != ANY]
        return f"{of['action']} {whose}{''.join(f', {one}' for one in where)}"
