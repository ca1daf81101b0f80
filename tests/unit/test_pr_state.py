# SPDX-License-Identifier: GPL-2.0-or-later
"""Persistent reservations: the kernel's code (kmod/core/pr-state.c, pr-report.c, pr-access.c), built in user
space, beside a model that was written from the standard (tests/model/pr.py).
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.model.pr import (
    COMMANDS,
    PASSES_RESERVE,
    REGISTRATIONS_PREEMPTED,
    RESERVATIONS_PREEMPTED,
    RESERVATIONS_RELEASED,
    Action,
    Command,
    Nexus,
    Type,
    Unit,
    passes,
)
from tests.model.transport_id import FIBRE_CHANNEL, ISCSI, fixed, iscsi
from tests.unit import pr_kernel
from tests.unit.pr_kernel import Kernel, Request, State, wire

SEED = int(os.environ.get("SCST_SEED", "20261126"))
STEPS = int(os.environ.get("SCST_PR_STEPS", "20000"))

ANY = 0xF
A = iscsi("iqn.2026-11.test:a", "23d000000001")
B = iscsi("iqn.2026-11.test:b", "23d000000002")
C = fixed(FIBRE_CHANNEL, bytes.fromhex("2100001b32000003"))
STRANGER = fixed(FIBRE_CHANNEL, bytes.fromhex("2100001b32000004"))
INITIATORS = (A, B, C)
EVERYBODY = (*INITIATORS, STRANGER)
SAME_PORTS = {1: ANY, 2: ANY}
MIXED_PORTS = {1: ANY, 7: ISCSI, 65535: FIBRE_CHANNEL}
KEYS = (1, 2, 3, 0x123456789ABCDEF0)
ATTENTIONS = {
    pr_kernel.PREEMPTED: RESERVATIONS_PREEMPTED,
    pr_kernel.RELEASED: RESERVATIONS_RELEASED,
    pr_kernel.UNREGISTERED: REGISTRATIONS_PREEMPTED,
}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    return Kernel(tmp_path_factory.mktemp("pr"))


class Pair:
    """A unit of the model and a state of the kernel's, which are given the same commands."""

    def __init__(self, kernel: Kernel, ports: dict[int, int], limit: int = 64, durable: bool = True) -> None:
        self.kernel = kernel
        self.unit = Unit(ports, limit, durable)
        self.state = State(0)
        self.seen: Counter[tuple[str, str]] = Counter()
        self.told: Counter[str] = Counter()

    def do(self, who: Nexus, command: Command) -> str:
        """One command, by its bytes; every trace of it is compared. Returns how it ended."""
        before = dict(self.unit.keys)
        cdb, data = wire(command)
        request = self.kernel.parse(cdb, data)
        assert isinstance(request, Request)
        unit = self.unit
        found = self.kernel.out(self.state, who, unit.ports, request, limit=unit.limit, durable=unit.durable)
        old = self.facts()
        wanted = self.unit.execute(who, command)
        assert (found.conflict, found.sense) == (wanted.conflict, wanted.sense), command
        told = {nexus: self.attentions(marks) for nexus, marks in found.told.items()}
        assert {nexus: names for nexus, names in told.items() if names} == wanted.attentions
        assert self.marked(found.told, pr_kernel.ABORT) == wanted.aborted
        assert self.marked(found.told, pr_kernel.GONE) == before.keys() - self.unit.keys.keys()
        self.state = found.state
        self.compare()
        assert found.changed == (self.facts() != old)
        self.seen[command.action.name, wanted.name] += 1
        self.told.update(name for names in wanted.attentions.values() for name in names)
        self.told["aborted"] += len(wanted.aborted)
        return wanted.name

    @staticmethod
    def attentions(marks: int) -> set[str]:
        """Unit attentions in the model's words."""
        return {name for bit, name in ATTENTIONS.items() if marks & bit}

    @staticmethod
    def marked(told: dict[Nexus, int], bit: int) -> set[Nexus]:
        """Who has a bit."""
        return {nexus for nexus, marks in told.items() if marks & bit}

    def facts(self) -> tuple[object, ...]:
        """All there is to know of the model's state."""
        unit = self.unit
        keys = list(unit.keys.items())
        return keys, unit.type, unit.holder, unit.generation & 0xFFFFFFFF, unit.aptpl, unit.lost

    def compare(self) -> None:
        """The kernel's state is the model's, to its order, and so is what is reported of it."""
        head, nexuses = self.state.head, self.state.nexuses()
        holder = None if head.holder == pr_kernel.NOBODY else nexuses[head.holder]
        found = (list(self.state.keys().items()), head.type or None, holder, head.generation)
        assert (*found, head.aptpl, head.lost) == self.facts()
        assert self.report("scst_pr_read_keys") == self.unit.read_keys()
        assert self.report("scst_pr_read_reservation") == self.unit.read_reservation()
        assert self.report("scst_pr_read_full_status") == self.unit.read_full_status()
        durable = ctypes.c_bool(self.unit.durable)
        capabilities = self.report("scst_pr_report_capabilities", durable)
        assert capabilities == self.unit.report_capabilities()

    def report(self, name: str, *more: ctypes.c_bool) -> bytes:
        """The whole of a reply."""
        length, data = self.kernel.report(name, self.state, 8192, *more)
        assert length == len(data)
        return data

    def lose_power(self) -> None:
        """Both lose it."""
        self.unit.power_loss()
        self.kernel.lib.scst_pr_power_loss(self.state.memory)
        self.compare()

    def lose_information(self) -> None:
        """Both are told that what was there is not known any more."""
        durable, generation = self.unit.aptpl, self.unit.generation
        self.unit.keys, self.unit.type, self.unit.holder, self.unit.lost = {}, None, None, True
        self.state = State(0)
        head = self.state.head
        head.lost, head.aptpl, head.generation = True, durable, generation & 0xFFFFFFFF
        self.compare()


# --- random commands -----------------------------------------------------------------------------


# CLEAR makes an end of everything, and the last two mostly find that they are not wanted.
WEIGHTS = {Action.CLEAR: 1, Action.REPLACE_LOST_RESERVATION: 1, Action.REGISTER: 8}


def any_action(source: random.Random) -> Action:
    """Often enough one that leaves something to work on."""
    actions = tuple(Action)
    return source.choices(actions, [WEIGHTS.get(action, 4) for action in actions])[0]


def any_command(source: random.Random, pair: Pair, who: Nexus, action: Action) -> Command:
    """Mostly with the right key, and with keys, types and ports that mean something now."""
    unit = pair.unit
    key = unit.keys.get(who, 0) if source.random() < 0.9 else source.choice((0, *KEYS))
    if action == Action.REPLACE_LOST_RESERVATION and source.random() < 0.9:
        key = 0
    held = unit.type if unit.type is not None and source.random() < 0.7 else source.choice(tuple(Type))
    command = Command(
        action,
        scope=source.choice((0,) * 20 + (1, 2)),
        type=held if source.random() < 0.95 else source.choice((0, 2, 4, 9, 15)),
        key=key,
        sa_key=source.choice((0, *KEYS, *KEYS, *unit.keys.values())),
        aptpl=source.random() < 0.3,
        all_tg_pt=source.random() < 0.3,
        unreg=source.random() < 0.5,
        port=source.choice((*unit.ports, *unit.ports, 9)),
    )
    return with_any_ids(source, command)


def with_any_ids(source: random.Random, command: Command) -> Command:
    """The same, with TransportIDs if it can have some."""
    if command.action == Action.REGISTER_AND_MOVE:
        return replace(command, transport_ids=(source.choice(EVERYBODY),))
    if command.action == Action.REGISTER and source.random() < 0.3:
        ids = tuple(source.choices(EVERYBODY, k=source.randrange(4)))
        return replace(command, spec_i_pt=True, transport_ids=ids)
    return command


def any_nexus(source: random.Random, pair: Pair, action: Action) -> Nexus:
    """Of an initiator that can come by that port; mostly one that may do such a thing."""
    unit = pair.unit
    if action == Action.REGISTER_AND_MOVE and unit.holder is not None and source.random() < 0.7:
        return unit.holder
    here = [nexus for nexus in unit.keys if nexus.initiator in INITIATORS]
    if here and action != Action.REGISTER and source.random() < 0.7:
        return source.choice(here)
    fits = [(i, p) for i in INITIATORS for p, has in pair.unit.ports.items() if has in (ANY, i[0] & 0xF)]
    return Nexus(*source.choice(fits))


@pytest.mark.parametrize(
    ("ports", "limit", "durable"),
    [(SAME_PORTS, 64, True), (MIXED_PORTS, 64, True), (SAME_PORTS, 3, False)],
    ids=["two ports", "three protocols", "room for three, nothing lasts"],
)
def test_long_walk(kernel: Kernel, ports: dict[int, int], limit: int, durable: bool) -> None:
    """Three initiators, thousands of commands: nothing is ever different, and everything happens."""
    source = random.Random(SEED)
    pair = Pair(kernel, ports, limit, durable)
    for _ in range(STEPS):
        action = any_action(source)
        who = any_nexus(source, pair, action)
        pair.do(who, any_command(source, pair, who, action))
        chance = source.random()
        if chance < 0.002:
            pair.lose_power()
        elif chance < 0.004:
            pair.lose_information()
    print(f"\nseed {SEED}: {sum(pair.seen.values())} commands, told: {dict(pair.told)}")
    for (name, outcome), number in sorted(pair.seen.items()):
        print(f"  {name:34} {outcome:10} {number}")
    missing = [action.name for action in Action if not pair.seen[action.name, "good"]]
    assert not missing
    outcomes = {outcome for _, outcome in pair.seen}
    assert outcomes >= {"good", "conflict", "052400", "052600", "052604", "074401"}
    assert len(pair.told) == 4
    assert min(pair.told.values()) > STEPS / 400
    assert ("055504" in outcomes) == (limit == 3)


COMMAND = st.builds(
    Command,
    st.sampled_from(Action),
    scope=st.sampled_from((0, 0, 0, 0, 1)),
    type=st.sampled_from((*Type, *Type, 2)),
    key=st.sampled_from((0, 1, 2)),
    sa_key=st.sampled_from((0, 1, 2)),
    aptpl=st.booleans(),
    all_tg_pt=st.booleans(),
    unreg=st.booleans(),
    port=st.sampled_from((1, 2, 3)),
)
IDS = st.lists(st.sampled_from(EVERYBODY), max_size=3).map(tuple)


def with_ids(command: Command, ids: tuple[bytes, ...], right_key: int | None) -> Command:
    """A command as far as its service action has TransportIDs; with the right key, if one is given."""
    if right_key is not None:
        command = replace(command, key=right_key)
    if command.action == Action.REGISTER_AND_MOVE:
        return replace(command, transport_ids=(*ids, A)[:1])
    if command.action == Action.REGISTER and ids:
        return replace(command, spec_i_pt=True, transport_ids=ids)
    return command


def test_any_sequence(kernel: Kernel) -> None:
    """What hypothesis finds, it makes short."""

    class Machine(RuleBasedStateMachine):
        """Commands of three initiators through two ports."""

        pair: Pair

        @initialize(limit=st.sampled_from((2, 64)), durable=st.booleans())
        def begin(self, limit: int, durable: bool) -> None:
            self.pair = Pair(kernel, SAME_PORTS, limit, durable)

        @rule(
            initiator=st.sampled_from(INITIATORS),
            port=st.sampled_from((1, 2)),
            command=COMMAND,
            ids=IDS,
            right=st.integers(0, 3),
        )
        def command(
            self, initiator: bytes, port: int, command: Command, ids: tuple[bytes, ...], right: int
        ) -> None:
            who = Nexus(initiator, port)
            self.pair.do(who, with_ids(command, ids, self.pair.unit.keys.get(who, 0) if right else None))

        @rule()
        def power(self) -> None:
            self.pair.lose_power()

        @rule()
        def lost(self) -> None:
            self.pair.lose_information()

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=100, stateful_step_count=40, deadline=None)
    )


# --- what people rely on, said once without the model ----------------------------------------------


def registered(kernel: Kernel, **keys: int) -> Pair:
    """a1=5: initiator A through port 1 is registered with key 5."""
    pair = Pair(kernel, SAME_PORTS)
    for name, key in keys.items():
        assert pair.do(nexus(name), Command(Action.REGISTER, sa_key=key)) == "good"
    return pair


def nexus(name: str) -> Nexus:
    """a1: initiator A through port 1."""
    return Nexus({"a": A, "b": B, "c": C}[name[0]], int(name[1:]))


def test_fencing(kernel: Kernel) -> None:
    """A cluster's node throws another out: its key goes with its paths, its commands are aborted."""
    pair = registered(kernel, a1=1, a2=1, b1=2, b2=2)
    kind = Type.WRITE_EXCLUSIVE_REGISTRANTS_ONLY
    assert pair.do(nexus("b1"), Command(Action.RESERVE, type=kind, key=2)) == "good"
    command = Command(Action.PREEMPT_AND_ABORT, type=kind, key=1, sa_key=2)
    cdb, data = wire(command)
    request = kernel.parse(cdb, data)
    assert isinstance(request, Request)
    found = kernel.out(pair.state, nexus("a1"), SAME_PORTS, request, limit=64)
    thrown_out = pr_kernel.UNREGISTERED | pr_kernel.ABORT | pr_kernel.GONE
    assert found.told == {nexus("a1"): 0, nexus("a2"): 0, nexus("b1"): thrown_out, nexus("b2"): thrown_out}
    assert found.state.keys() == {nexus("a1"): 1, nexus("a2"): 1}
    assert (found.state.head.type, found.state.head.holder) == (kind, 0)
    assert found.state.head.generation == 5


def test_generation(kernel: Kernel) -> None:
    """It counts what changes who is registered, once per command, and wraps."""
    pair = registered(kernel, a1=1)
    pair.unit.generation = pair.state.head.generation = 0xFFFFFFFE
    kind = Type.WRITE_EXCLUSIVE
    steps = [
        (Command(Action.RESERVE, type=kind, key=1), 0xFFFFFFFE),
        (Command(Action.REGISTER, key=1, sa_key=2, all_tg_pt=True), 0xFFFFFFFF),
        (Command(Action.RELEASE, type=kind, key=2), 0xFFFFFFFF),
        (Command(Action.REGISTER, key=9, sa_key=2), 0xFFFFFFFF),
        (Command(Action.CLEAR, key=2), 0),
        (Command(Action.REGISTER), 0),
    ]
    for command, generation in steps:
        pair.do(nexus("a1"), command)
        assert pair.state.head.generation == generation, command


def test_last_of_all_registrants(kernel: Kernel) -> None:
    """The reservation of all registrants ends with the last of them, and is never another's alone."""
    pair = registered(kernel, a1=1, b1=2)
    kind = Type.EXCLUSIVE_ACCESS_ALL_REGISTRANTS
    assert pair.do(nexus("a1"), Command(Action.RESERVE, type=kind, key=1)) == "good"
    assert pair.do(nexus("a1"), Command(Action.REGISTER, key=1)) == "good"
    assert pair.state.head.type == kind
    assert pair.do(nexus("b1"), Command(Action.REGISTER, key=2)) == "good"
    assert pair.state.head.type == 0


def test_memory_is_said_beforehand(kernel: Kernel) -> None:
    """With less room than was asked for nothing happens."""
    pair = registered(kernel, a1=1, a2=1, b1=2)
    cdb, data = wire(Command(Action.REGISTER, sa_key=3, spec_i_pt=True, transport_ids=(C, STRANGER)))
    request = kernel.parse(cdb, data)
    assert isinstance(request, Request)
    for room in range(6):
        with pytest.raises(OSError, match="ENOMEM") as caught:
            kernel.out(pair.state, nexus("b2"), SAME_PORTS, request, limit=64, room=room)
        assert caught.value.errno == errno.ENOMEM
    assert kernel.out(pair.state, nexus("b2"), SAME_PORTS, request, limit=64, room=6).changed


def test_allocation_lengths(kernel: Kernel) -> None:
    """Whatever the allocation length, what is written is the beginning of the whole."""
    pair = registered(kernel, a1=1, b2=2, c1=3)
    pair.do(nexus("a1"), Command(Action.RESERVE, type=Type.EXCLUSIVE_ACCESS, key=1))
    wholes = {
        "scst_pr_read_keys": pair.unit.read_keys(),
        "scst_pr_read_reservation": pair.unit.read_reservation(),
        "scst_pr_read_full_status": pair.unit.read_full_status(),
    }
    for name, whole in wholes.items():
        for size in range(len(whole) + 3):
            assert kernel.report(name, pair.state, size) == (len(whole), whole[:size])


# --- what may pass ---------------------------------------------------------------------------------

CLASSES = "ALWAYS PROBE READ WRITE PR_IN PR_OUT RESERVE RELEASE START_STOP PREVENT".split()
PASS, CONFLICT, NOTHING, LOST = range(4)
HOLDS = "FREE KEYS RESERVE WRITE ACCESS WRITE_REG ACCESS_REG LOST".split()


def decide(kernel: Kernel, hold: int, relation: int, access: str) -> int:
    """scst_access_decide(); scst_access_stops() has to agree."""
    number = CLASSES.index(access)
    answer = int(kernel.lib.scst_access_decide(hold, relation, number))
    stops = kernel.lib.scst_access_stops(hold, relation)
    assert bool(stops >> number & 1) == (answer != PASS)
    return answer


@pytest.mark.parametrize("kind", [None, *Type])
def test_what_passes_a_persistent_reservation(kernel: Kernel, kind: Type | None) -> None:
    """Each command of the standard's tables, for the holder, another registrant, and a stranger."""
    pair = registered(kernel, a1=1, b1=2)
    if kind is not None:
        pair.do(nexus("a1"), Command(Action.RESERVE, type=kind, key=1))
    hold = kernel.lib.scst_pr_hold(pair.state.memory)
    for name in ("a1", "b1", "c1"):
        relation = pair.unit.relation(nexus(name))
        who = pr_kernel.to_nexus(nexus(name))
        assert kernel.lib.scst_pr_relation(pair.state.memory, ctypes.byref(who)) == relation
        for command, (access, _) in COMMANDS.items():
            wanted = PASS if passes(kind, relation, command) else CONFLICT
            assert decide(kernel, hold, relation, access) == wanted, (command, name)


def test_what_passes_reserve(kernel: Kernel) -> None:
    """RESERVE (6): the holder may do all but PERSISTENT RESERVE, others next to nothing."""
    hold = HOLDS.index("RESERVE")
    for command, (access, _) in COMMANDS.items():
        wanted = PASS if command in PASSES_RESERVE else CONFLICT
        assert decide(kernel, hold, 0, access) == wanted, command
        assert decide(kernel, hold, 2, access) == (CONFLICT if access == "PR_IN" else PASS), command
    others = {name: decide(kernel, hold, 0, name) for name in ("PR_OUT", "RESERVE", "RELEASE")}
    assert others == {"PR_OUT": CONFLICT, "RESERVE": CONFLICT, "RELEASE": NOTHING}
    own = {name: decide(kernel, hold, 2, name) for name in ("PR_OUT", "RESERVE", "RELEASE")}
    assert own == {"PR_OUT": CONFLICT, "RESERVE": PASS, "RELEASE": PASS}


def test_reserve_beside_persistent_reservations(kernel: Kernel) -> None:
    """Conflict where somebody is registered, but GOOD and no change for whom a reservation lets pass."""
    nothing = {("WRITE", 2), ("ACCESS", 2)}
    nothing |= {(hold, relation) for hold in ("WRITE_REG", "ACCESS_REG") for relation in (1, 2)}
    for number, hold in enumerate(HOLDS):
        if hold in ("RESERVE", "LOST"):
            continue
        for relation in range(2 if hold in ("FREE", "KEYS") else 3):
            wanted = PASS if hold == "FREE" else NOTHING if (hold, relation) in nothing else CONFLICT
            assert decide(kernel, number, relation, "RESERVE") == wanted, (hold, relation)
            assert decide(kernel, number, relation, "RELEASE") == wanted, (hold, relation)
            assert decide(kernel, number, relation, "PR_OUT") == PASS


def test_lost_information_stops_everybody(kernel: Kernel) -> None:
    stopped = {name for name in CLASSES[:8] if decide(kernel, HOLDS.index("LOST"), 0, name) == LOST}
    assert stopped == {"PROBE", "READ", "WRITE", "RESERVE", "RELEASE"}


@pytest.mark.parametrize(
    ("access", "byte", "wanted"),
    [
        ("START_STOP", 0x01, "ALWAYS"),
        ("START_STOP", 0x03, "ALWAYS"),
        ("START_STOP", 0x00, "WRITE"),
        ("START_STOP", 0x02, "WRITE"),
        ("START_STOP", 0x31, "WRITE"),
        ("PREVENT", 0x00, "ALWAYS"),
        ("PREVENT", 0x01, "WRITE"),
        ("PREVENT", 0x02, "WRITE"),
        ("READ", 0xFF, "READ"),
    ],
)
def test_classes_that_are_in_the_cdb(kernel: Kernel, access: str, byte: int, wanted: str) -> None:
    cdb = bytes([0, 0, 0, 0, byte, 0])
    assert CLASSES[kernel.lib.scst_access_of(CLASSES.index(access), cdb)] == wanted
