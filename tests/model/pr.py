# SPDX-License-Identifier: GPL-2.0-or-later
"""Persistent reservations as the standard tells them (SPC-4 and SPC-5: Reservations), for one logical unit.

Written from the standard and not from our code: who reads a paragraph there should find it here. What the
standard leaves open, and what we have chosen, is marked "Choice:".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple


class Action(IntEnum):
    """PERSISTENT RESERVE OUT service actions."""

    REGISTER = 0
    RESERVE = 1
    RELEASE = 2
    CLEAR = 3
    PREEMPT = 4
    PREEMPT_AND_ABORT = 5
    REGISTER_AND_IGNORE_EXISTING_KEY = 6
    REGISTER_AND_MOVE = 7
    REPLACE_LOST_RESERVATION = 8


class Type(IntEnum):
    """Types of persistent reservations."""

    WRITE_EXCLUSIVE = 1
    EXCLUSIVE_ACCESS = 3
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 5
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 6
    WRITE_EXCLUSIVE_ALL_REGISTRANTS = 7
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 8


ALL_REGISTRANTS = {Type.WRITE_EXCLUSIVE_ALL_REGISTRANTS, Type.EXCLUSIVE_ACCESS_ALL_REGISTRANTS}
REGISTRANTS_ONLY = {Type.WRITE_EXCLUSIVE_REGISTRANTS_ONLY, Type.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY}
WRITE_EXCLUSIVE = {
    Type.WRITE_EXCLUSIVE,
    Type.WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
    Type.WRITE_EXCLUSIVE_ALL_REGISTRANTS,
}

RESERVATIONS_PREEMPTED = "2A/03"
RESERVATIONS_RELEASED = "2A/04"
REGISTRATIONS_PREEMPTED = "2A/05"

ANY_PROTOCOL = 0xF


class Nexus(NamedTuple):
    """An I_T nexus: TransportID of the initiator port, relative identifier of the target port."""

    initiator: bytes
    port: int


class Sense(NamedTuple):
    """Sense key, additional sense code and qualifier in one number; the field that is to blame."""

    code: int
    in_cdb: bool = False
    byte: int = -1
    bit: int = -1


PARAMETER_LIST_LENGTH = Sense(0x051A00)
INVALID_RELEASE = Sense(0x052604)
INSUFFICIENT_RESOURCES = Sense(0x055504)
INFORMATION_LOST = Sense(0x074401)


def invalid_in_cdb(byte: int, bit: int) -> Sense:
    """INVALID FIELD IN CDB."""
    return Sense(0x052400, True, byte, bit)


def invalid_in_list(byte: int, bit: int = -1) -> Sense:
    """INVALID FIELD IN PARAMETER LIST."""
    return Sense(0x052600, False, byte, bit)


SCOPE = invalid_in_cdb(2, 7)
TYPE = invalid_in_cdb(2, 3)
SERVICE_ACTION = invalid_in_cdb(1, 4)


@dataclass(frozen=True)
class Command:
    """A PERSISTENT RESERVE OUT command."""

    action: Action
    scope: int = 0
    type: int = 0
    key: int = 0
    sa_key: int = 0
    aptpl: bool = False
    all_tg_pt: bool = False
    spec_i_pt: bool = False
    transport_ids: tuple[bytes, ...] = ()
    unreg: bool = False
    port: int = 0


@dataclass
class Outcome:
    """What became of a command: GOOD, CONFLICT or a sense; who is told what, whose commands are aborted."""

    conflict: bool = False
    sense: Sense | None = None
    attentions: dict[Nexus, set[str]] = field(default_factory=dict)
    aborted: set[Nexus] = field(default_factory=set)

    @property
    def good(self) -> bool:
        return not self.conflict and self.sense is None

    @property
    def name(self) -> str:
        if self.sense is not None:
            return f"{self.sense.code:06x}"
        return "conflict" if self.conflict else "good"


class Refused(Exception):
    """The command ends here, and nothing has changed."""

    def __init__(self, sense: Sense | None = None) -> None:
        super().__init__()
        self.outcome = Outcome(conflict=sense is None, sense=sense)


def conflict_unless(condition: bool) -> None:
    """RESERVATION CONFLICT."""
    if not condition:
        raise Refused


def check(condition: bool, sense: Sense) -> None:
    """CHECK CONDITION unless *condition*."""
    if not condition:
        raise Refused(sense)


class Unit:
    """One logical unit. *ports* are its target ports: identifier -> protocol."""

    def __init__(self, ports: dict[int, int], limit: int, durable: bool = True) -> None:
        self.ports = ports
        self.limit = limit
        self.durable = durable
        self.keys: dict[Nexus, int] = {}
        self.type: Type | None = None
        self.holder: Nexus | None = None
        self.generation = 0
        self.aptpl = False
        self.lost = False

    # --- who is what ---

    def holds(self, nexus: Nexus) -> bool:
        """Persistent reservation holder: all registrants hold a reservation of an all registrants type."""
        if self.type in ALL_REGISTRANTS:
            return nexus in self.keys
        return self.type is not None and self.holder == nexus

    def others(self, who: Nexus) -> Iterator[Nexus]:
        """Every registered I_T nexus but one."""
        return (nexus for nexus in self.keys if nexus != who)

    def through(self, initiator: bytes, port: int, all_ports: bool) -> list[Nexus]:
        """ALL_TG_PT: as if the request had come through each target port that this initiator port can use."""
        protocol = initiator[0] & 0xF
        more = [n for n, has in self.ports.items() if n != port and has in (protocol, ANY_PROTOCOL)]
        return [Nexus(initiator, n) for n in [port, *(more if all_ports else [])]]

    # --- PERSISTENT RESERVE OUT ---

    def execute(self, who: Nexus, command: Command) -> Outcome:
        """Carry out a command whole or not at all."""
        before = (dict(self.keys), self.type, self.holder, self.generation, self.aptpl, self.lost)
        try:
            return self.service(who, command)
        except Refused as refused:
            self.keys, self.type, self.holder, self.generation, self.aptpl, self.lost = before
            return refused.outcome

    def service(self, who: Nexus, command: Command) -> Outcome:
        """Once the information is lost, nothing but REPLACE LOST RESERVATION is processed."""
        check(not self.lost or command.action == Action.REPLACE_LOST_RESERVATION, INFORMATION_LOST)
        if command.action in (Action.REGISTER, Action.REGISTER_AND_IGNORE_EXISTING_KEY):
            return self.register(who, command)
        if command.action == Action.REPLACE_LOST_RESERVATION:
            return self.replace_lost(who, command)
        # RESERVATION KEY field: the key is verified whatever the service action and the scope are.
        conflict_unless(self.keys.get(who) == command.key)
        if command.action in (Action.PREEMPT, Action.PREEMPT_AND_ABORT):
            return self.preempt(who, command)
        if command.action == Action.REGISTER_AND_MOVE:
            return self.move(who, command)
        simple = {Action.RESERVE: self.reserve, Action.RELEASE: self.release, Action.CLEAR: self.clear}
        return simple[command.action](who, command)

    def register(self, who: Nexus, command: Command) -> Outcome:
        """Registering: the tables of REGISTER and of REGISTER AND IGNORE EXISTING KEY."""
        mine = self.through(who.initiator, who.port, command.all_tg_pt)
        if command.action == Action.REGISTER:
            conflict_unless(command.key == self.keys.get(who, 0))
            if who in self.keys:
                check(not command.spec_i_pt, invalid_in_list(20, 3))
            # Choice: through another port, only another key is in the way.
            conflict_unless(all(self.keys.get(nexus, command.key) == command.key for nexus in mine))
        if command.sa_key == 0:
            return self.unregister(who, [nexus for nexus in mine if nexus in self.keys], command)
        added = [nexus for nexus in mine if nexus not in self.keys]
        self.add(added, command.sa_key)
        self.keys.update(dict.fromkeys(mine, command.sa_key))
        self.set_aptpl(command, 20)
        self.register_others(who, command)
        self.generation += 1
        return Outcome()

    def register_others(self, who: Nexus, command: Command) -> None:
        """SPEC_I_PT: each I_T nexus that is not registered yet."""
        at = 28
        for initiator in command.transport_ids if command.spec_i_pt else ():
            protocol = self.ports[who.port]
            check(protocol in (ANY_PROTOCOL, initiator[0] & 0xF), invalid_in_list(at))
            found = self.through(initiator, who.port, command.all_tg_pt)
            self.add([nexus for nexus in found if nexus not in self.keys], command.sa_key)
            at += len(initiator)

    def add(self, nexuses: Iterable[Nexus], key: int) -> None:
        """If a registration fails for any port, no registration is made."""
        for nexus in nexuses:
            check(len(self.keys) < self.limit, INSUFFICIENT_RESOURCES)
            self.keys[nexus] = key

    def set_aptpl(self, command: Command, byte: int) -> None:
        """The last valid APTPL bit counts."""
        check(self.durable or not command.aptpl, invalid_in_list(byte, 0))
        self.aptpl = command.aptpl

    def unregister(self, who: Nexus, gone: list[Nexus], command: Command) -> Outcome:
        """Unregistering: what the last holder had reserved is released; registrants are told of it."""
        outcome = Outcome()
        if not gone:
            return outcome
        self.set_aptpl(command, 20)
        released = self.type is not None and self.type not in ALL_REGISTRANTS and self.holder in gone
        for nexus in gone:
            del self.keys[nexus]
        if released and self.type in REGISTRANTS_ONLY:
            self.tell(outcome, self.others(who), RESERVATIONS_RELEASED)
        if released or not self.keys:
            self.type = self.holder = None
        self.generation += 1
        return outcome

    @staticmethod
    def tell(outcome: Outcome, nexuses: Iterable[Nexus], attention: str) -> None:
        """Establish a unit attention condition."""
        for nexus in nexuses:
            outcome.attentions.setdefault(nexus, set()).add(attention)

    def establish(self, who: Nexus, command: Command) -> None:
        """Reserve for *who*."""
        self.type = Type(command.type)
        self.holder = None if self.type in ALL_REGISTRANTS else who

    def check_kind(self, command: Command) -> None:
        """SCOPE is LU_SCOPE, TYPE one of the six."""
        check(command.scope == 0, SCOPE)
        check(command.type in list(Type), TYPE)

    def reserve(self, who: Nexus, command: Command) -> Outcome:
        """Reserving: to reserve again what one holds is GOOD, if it is the same."""
        self.check_kind(command)
        if self.type is None:
            self.establish(who, command)
        else:
            conflict_unless(self.holds(who) and self.type == command.type)
        return Outcome()

    def release(self, who: Nexus, command: Command) -> Outcome:
        """Releasing: who holds nothing releases nothing, and that is GOOD."""
        outcome = Outcome()
        if not self.holds(who):
            return outcome
        check(command.scope == 0 and command.type == self.type, INVALID_RELEASE)
        if self.type in ALL_REGISTRANTS | REGISTRANTS_ONLY:
            self.tell(outcome, self.others(who), RESERVATIONS_RELEASED)
        self.type = self.holder = None
        return outcome

    def clear(self, who: Nexus, command: Command) -> Outcome:
        """Clearing: everybody but who asks is told."""
        outcome = Outcome()
        self.tell(outcome, self.others(who), RESERVATIONS_PREEMPTED)
        self.keys = {}
        self.type = self.holder = None
        self.generation += 1
        return outcome

    def preempt(self, who: Nexus, command: Command) -> Outcome:
        """Preempting: the table of preempting behaviors."""
        key = command.sa_key
        if self.type in ALL_REGISTRANTS:
            if key == 0:
                return self.preempt_reservation(who, command, set(self.others(who)))
            return self.remove_registrations(who, command)
        check(key != 0, invalid_in_list(8))
        if self.holder is not None and self.keys[self.holder] == key:
            named = {nexus for nexus in self.others(who) if self.keys[nexus] == key}
            return self.preempt_reservation(who, command, named)
        return self.remove_registrations(who, command)

    def preempt_reservation(self, who: Nexus, command: Command, victims: set[Nexus]) -> Outcome:
        """The preempting I_T nexus keeps its registration, whatever its key is, and gets the reservation."""
        self.check_kind(command)
        outcome = Outcome()
        self.abort(outcome, who, command, victims)
        self.tell(outcome, victims, REGISTRATIONS_PREEMPTED)
        self.keys = {nexus: key for nexus, key in self.keys.items() if nexus not in victims}
        if self.type != command.type:
            self.tell(outcome, self.others(who), RESERVATIONS_RELEASED)
        self.establish(who, command)
        self.generation += 1
        return outcome

    def remove_registrations(self, who: Nexus, command: Command) -> Outcome:
        """Removing registrations: SCOPE and TYPE are ignored, and who asks may lose its own."""
        victims = {nexus for nexus, key in self.keys.items() if key == command.sa_key}
        conflict_unless(bool(victims))
        outcome = Outcome()
        self.abort(outcome, who, command, victims)
        self.tell(outcome, victims - {who}, REGISTRATIONS_PREEMPTED)
        self.keys = {nexus: key for nexus, key in self.keys.items() if nexus not in victims}
        if not self.keys:
            self.type = self.holder = None
        self.generation += 1
        return outcome

    def abort(self, outcome: Outcome, who: Nexus, command: Command, victims: set[Nexus]) -> None:
        """All commands of who is named, but for this one. Choice: who names itself is named."""
        if command.action == Action.PREEMPT_AND_ABORT:
            itself = {who} if self.keys[who] == command.sa_key else set()
            outcome.aborted = victims | itself

    def move(self, who: Nexus, command: Command) -> Outcome:
        """Registering and moving the reservation: the table of REGISTER AND MOVE."""
        check(self.type is not None, SERVICE_ACTION)
        conflict_unless(self.type not in ALL_REGISTRANTS and self.holder == who)
        check(command.sa_key != 0, invalid_in_list(8))
        (initiator,) = command.transport_ids
        check(command.port in self.ports, invalid_in_list(18))
        check(self.ports[command.port] in (ANY_PROTOCOL, initiator[0] & 0xF), invalid_in_list(24))
        check(initiator != who.initiator, invalid_in_list(24))
        self.set_aptpl(command, 17)
        target = Nexus(initiator, command.port)
        if target not in self.keys:
            self.add([target], command.sa_key)
        self.keys[target] = command.sa_key
        self.holder = target
        if command.unreg:
            del self.keys[who]
        self.generation += 1
        return Outcome()

    def replace_lost(self, who: Nexus, command: Command) -> Outcome:
        """Replacing lost reservations: nothing is left of what was there."""
        check(self.lost, SERVICE_ACTION)
        self.check_kind(command)
        check(command.key == 0, invalid_in_list(0))
        check(command.sa_key != 0, invalid_in_list(8))
        self.add([who], command.sa_key)
        self.establish(who, command)
        self.lost = False
        self.generation += 1
        return Outcome()

    # --- power ---

    def power_loss(self) -> None:
        """PRGENERATION is zero after power on, whatever APTPL is."""
        self.generation = 0
        if not self.aptpl:
            self.keys = {}
            self.type = self.holder = None

    # --- PERSISTENT RESERVE IN ---

    def header(self, rest: bytes) -> bytes:
        """PRGENERATION, ADDITIONAL LENGTH."""
        return (self.generation & 0xFFFFFFFF).to_bytes(4, "big") + len(rest).to_bytes(4, "big") + rest

    def read_keys(self) -> bytes:
        """READ KEYS."""
        return self.header(b"".join(key.to_bytes(8, "big") for key in self.keys.values()))

    def read_reservation(self) -> bytes:
        """READ RESERVATION."""
        if self.type is None:
            return self.header(b"")
        key = 0 if self.holder is None else self.keys[self.holder]
        return self.header(key.to_bytes(8, "big") + bytes([0, 0, 0, 0, 0, self.type, 0, 0]))

    def report_capabilities(self) -> bytes:
        """REPORT CAPABILITIES: everything can be done; ALLOW COMMANDS 3."""
        return bytes([0, 8, 0x9C | self.durable, 0x80 | 3 << 4 | self.aptpl, 0xEA, 0x01, 0, 0])

    def read_full_status(self) -> bytes:
        """READ FULL STATUS."""
        return self.header(b"".join(self.full_status(nexus, key) for nexus, key in self.keys.items()))

    def full_status(self, nexus: Nexus, key: int) -> bytes:
        """Full status descriptor."""
        holder = bytes([1, self.type or 0]) if self.holds(nexus) else bytes(2)
        port = nexus.port.to_bytes(2, "big")
        length = len(nexus.initiator).to_bytes(4, "big")
        return key.to_bytes(8, "big") + bytes(4) + holder + bytes(4) + port + length + nexus.initiator

    # --- what may pass ---

    def relation(self, nexus: Nexus) -> int:
        """0: nothing, 1: registered, 2: holder."""
        return 2 if self.holds(nexus) else int(nexus in self.keys)


# Commands that are allowed in the presence of reservations (SPC-4, SBC-3). A row is a command, its class in
# our words, and whether it is allowed (A) or conflicts (C) with a reservation: of type write exclusive and
# exclusive access for all but the holder, of the types with registrants for who is not registered. The others
# may do everything.
COMMANDS = {
    "INQUIRY": ("ALWAYS", "AAAA"),
    "LOG SELECT": ("WRITE", "CCCC"),
    "LOG SENSE": ("ALWAYS", "AAAA"),
    "MODE SELECT": ("WRITE", "CCCC"),
    "MODE SENSE": ("READ", "ACAC"),
    "PERSISTENT RESERVE IN": ("PR_IN", "AAAA"),
    "READ BUFFER": ("READ", "ACAC"),
    "READ MEDIA SERIAL NUMBER": ("ALWAYS", "AAAA"),
    "RECEIVE COPY RESULTS": ("READ", "ACAC"),
    "RECEIVE DIAGNOSTIC RESULTS": ("READ", "ACAC"),
    "REPORT ALIASES": ("ALWAYS", "AAAA"),
    "REPORT IDENTIFYING INFORMATION": ("ALWAYS", "AAAA"),
    "REPORT LUNS": ("ALWAYS", "AAAA"),
    "REPORT PRIORITY": ("ALWAYS", "AAAA"),
    "REPORT SUPPORTED OPERATION CODES": ("READ", "ACAC"),
    "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS": ("READ", "ACAC"),
    "REPORT TARGET PORT GROUPS": ("ALWAYS", "AAAA"),
    "REPORT TIMESTAMP": ("ALWAYS", "AAAA"),
    "REQUEST SENSE": ("ALWAYS", "AAAA"),
    "SEND DIAGNOSTIC": ("WRITE", "CCCC"),
    "SET IDENTIFYING INFORMATION": ("WRITE", "CCCC"),
    "SET TARGET PORT GROUPS": ("WRITE", "CCCC"),
    "SET TIMESTAMP": ("WRITE", "CCCC"),
    "TEST UNIT READY": ("PROBE", "AAAA"),
    "WRITE BUFFER": ("WRITE", "CCCC"),
    "EXTENDED COPY": ("WRITE", "CCCC"),
    "COMPARE AND WRITE": ("WRITE", "CCCC"),
    "FORMAT UNIT": ("WRITE", "CCCC"),
    "GET LBA STATUS": ("READ", "ACAC"),
    "ORWRITE": ("WRITE", "CCCC"),
    "PRE-FETCH": ("READ", "ACAC"),
    "READ": ("READ", "ACAC"),
    "READ CAPACITY": ("ALWAYS", "AAAA"),
    "READ DEFECT DATA": ("READ", "ACAC"),
    "REASSIGN BLOCKS": ("WRITE", "CCCC"),
    "SANITIZE": ("WRITE", "CCCC"),
    "SYNCHRONIZE CACHE": ("WRITE", "CCCC"),
    "UNMAP": ("WRITE", "CCCC"),
    "VERIFY": ("READ", "ACAC"),
    "WRITE": ("WRITE", "CCCC"),
    "WRITE SAME": ("WRITE", "CCCC"),
}

# SPC-2 and SBC: what passes a RESERVE of another initiator's; everything else conflicts.
PASSES_RESERVE = {
    "INQUIRY",
    "LOG SENSE",
    "READ CAPACITY",
    "READ MEDIA SERIAL NUMBER",
    "REPORT ALIASES",
    "REPORT IDENTIFYING INFORMATION",
    "REPORT LUNS",
    "REPORT PRIORITY",
    "REPORT TARGET PORT GROUPS",
    "REPORT TIMESTAMP",
    "REQUEST SENSE",
}


def passes(type_: Type | None, relation: int, command: str) -> bool:
    """Whether a command passes a persistent reservation; *relation* as `Unit.relation` says."""
    if type_ is None or relation == 2:
        return True
    with_registrants = type_ in ALL_REGISTRANTS | REGISTRANTS_ONLY
    if with_registrants and relation == 1:
        return True
    column = (2 if with_registrants else 0) + (type_ not in WRITE_EXCLUSIVE)
    return COMMANDS[command][1][column] == "A"
