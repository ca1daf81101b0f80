# SPDX-License-Identifier: GPL-2.0-or-later
"""What each command may be stopped by (SPC-5, SBC-4), one row for each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from tests.model import pr, sense, steps
from tests.model.sense import Said


class State(IntEnum):
    """Asymmetric access states (SPC-5 5.18.2.5)."""

    OPTIMIZED = 0
    NONOPTIMIZED = 1
    STANDBY = 2
    UNAVAILABLE = 3
    OFFLINE = 14
    TRANSITIONING = 15


NOT_READY = {
    State.STANDBY: sense.STANDBY,
    State.UNAVAILABLE: sense.UNAVAILABLE,
    State.OFFLINE: sense.OFFLINE,
    State.TRANSITIONING: sense.TRANSITIONING,
}


@dataclass(frozen=True)
class Rule:
    """*name*: in the tables of reservations. *data*: has data-out, *writes*: it is for the medium.

    *quiet*: neither told nor cleared by it are unit attentions. *states*: in which it is processed, besides
    the active ones. *loaded*: there must be a medium, and the unit must run. *backed*: its backing must be
    there. *protected*: by SWP. *reader*: refused to who may not write.
    """

    name: str
    data: bool = False
    writes: bool = False
    quiet: bool = False
    states: frozenset[State] = frozenset()
    loaded: bool = False
    backed: bool = False
    protected: bool = False
    reader: bool = False


ANY = frozenset(State)
IN_STANDBY = frozenset({State.STANDBY})
# SPC-5 5.18.2.5.4, 5.18.2.5.5: the echo buffer.
ECHOING = frozenset({State.STANDBY, State.UNAVAILABLE})


def of_medium(name: str, data: bool = False) -> Rule:
    """Reads, or looks at, the medium."""
    return Rule(name, data=data, loaded=True, backed=True)


def of_writer(name: str) -> Rule:
    """Writes to the medium."""
    return Rule(name, data=True, writes=True, loaded=True, backed=True, protected=True, reader=True)


RULES: dict[type[steps.Command], Rule] = {
    steps.TestUnitReady: of_medium("TEST UNIT READY"),
    steps.Inquiry: Rule("INQUIRY", quiet=True, states=ANY),
    steps.RequestSense: Rule("REQUEST SENSE", quiet=True, states=ANY),
    steps.ReportLuns: Rule("REPORT LUNS", quiet=True, states=ANY),
    # Choice: processed in standby, and what is known of a unit without its backing is told.
    steps.ReadCapacity: Rule("READ CAPACITY", states=IN_STANDBY, loaded=True),
    steps.Read: of_medium("READ"),
    steps.Write: of_writer("WRITE"),
    steps.WriteSame: of_writer("WRITE SAME"),
    steps.CompareAndWrite: of_writer("COMPARE AND WRITE"),
    steps.Verify: of_medium("VERIFY", data=True),
    steps.SynchronizeCache: of_medium("SYNCHRONIZE CACHE"),
    steps.ModeSense: Rule("MODE SENSE", states=IN_STANDBY),
    steps.SelectControl: Rule("MODE SELECT", data=True, states=IN_STANDBY, backed=True, reader=True),
    steps.SelectCaching: Rule("MODE SELECT", data=True, states=IN_STANDBY, backed=True, reader=True),
    steps.Reserve: Rule("RESERVE", reader=True),
    steps.Release: Rule("RELEASE"),
    steps.ReserveIn: Rule("PERSISTENT RESERVE IN", states=IN_STANDBY),
    steps.ReserveOut: Rule("PERSISTENT RESERVE OUT", data=True, states=IN_STANDBY, reader=True),
    steps.StartStop: Rule("START STOP UNIT", backed=True, reader=True),
    steps.Prevent: Rule("PREVENT ALLOW MEDIUM REMOVAL"),
    steps.ReportGroups: Rule("REPORT TARGET PORT GROUPS", states=ANY),
    steps.SetGroups: Rule(
        "SET TARGET PORT GROUPS", data=True, states=ANY - {State.TRANSITIONING}, reader=True
    ),
    # Choice: processed in standby.
    steps.SetTimestamp: Rule("SET TIMESTAMP", data=True, states=IN_STANDBY, reader=True),
    steps.SendDiagnostic: Rule("SEND DIAGNOSTIC", states=IN_STANDBY, loaded=True, backed=True),
    steps.FormatUnit: Rule("FORMAT UNIT", writes=True, loaded=True, backed=True, protected=True, reader=True),
    steps.Sanitize: of_writer("SANITIZE"),
    # Choice: who may not write to the medium writes to neither buffer.
    steps.ReadBuffer: Rule("READ BUFFER"),
    steps.WriteBuffer: Rule("WRITE BUFFER", data=True, reader=True),
    steps.ReadEcho: Rule("READ BUFFER", states=ECHOING),
    steps.WriteEcho: Rule("WRITE BUFFER", data=True, states=ECHOING, reader=True),
}


def has_data(command: steps.Command) -> bool:
    """Is there data-out?"""
    match command:
        case steps.Write(_, values) | steps.Verify(_, values) | steps.CompareAndWrite(_, _, values):
            return bool(values)
        case steps.FormatUnit(immed):
            return immed
    return RULES[type(command)].data


def not_ready(rule: Rule, state: State) -> Said | None:
    """Why it is not processed by this port now."""
    return None if state in rule.states else NOT_READY.get(state)


# --- reservations ---


def exempt(command: steps.Command) -> bool:
    """To start a unit, and to allow removal of its medium, is everybody's right (SPC-5, SBC-4: tables)."""
    return command in (steps.StartStop(True), steps.StartStop(True, True), steps.Prevent(False))


def passes_reserve(command: steps.Command) -> bool:
    """SPC-2: may it pass a RESERVE of another I_T nexus? (RELEASE does, and does nothing.)"""
    return exempt(command) or RULES[type(command)].name in pr.PASSES_RESERVE


def passes_persistent(type_: pr.Type | None, relation: int, command: steps.Command) -> bool:
    """May it pass a persistent reservation?"""
    if isinstance(command, steps.ReserveOut) or exempt(command):
        return True
    name = RULES[type(command)].name
    if name not in pr.COMMANDS:
        name = "WRITE"  # to stop, to eject, to prevent removal
    return pr.passes(type_, relation, name)


def holds_with(type_: pr.Type | None, relation: int) -> bool:
    """SPC-3 5.6.3: who may do everything anyhow gets GOOD for RESERVE and RELEASE, without effect."""
    if type_ is None:
        return False
    return relation == 2 or (relation == 1 and type_ in pr.REGISTRANTS_ONLY | pr.ALL_REGISTRANTS)
