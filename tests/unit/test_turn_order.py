# SPDX-License-Identifier: GPL-2.0-or-later
"""The order of memory that kmod/core/turn.c stands on: every way in which two CPUs can take the steps.

A WRITE and a command that wants to be alone with the same blocks, step by step as the head of turn.c has it,
with store buffers: what a CPU stores the others see later, at a barrier or an atomic operation at the latest.
All states are visited. The two are never at the medium together, and neither waits for ever; without any of
the barriers they are, or do, so that the model shows something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

Memory = dict[str, int]
NAMES = (
    "slot",
    "looked at",
    "asked",
    "alone",
    "in line",
    "marked",
    "waiting",
    "at driver",
    "found",
    "any",
    "counting",
    "told",
    "again",
    "over",
    "writes",
    "owns",
)
"""over: who wanted to be alone is through. writes, owns: at the medium."""


@dataclass(frozen=True)
class Step:
    """One instruction of one CPU.

    *kind*: store (others see it later), barrier, atomic (a locked instruction, or what is done under a lock),
    branch (read, go to *to* if it is so), wait (until it is so), medium (a store that is no memory).
    """

    kind: str
    name: str = ""
    value: int = 0
    act: Callable[[Memory], object] = dict.copy
    test: Callable[[Memory], object] = dict.copy
    to: str = ""


def store(name: str, value: int) -> Step:
    return Step("store", name, value)


def barrier(name: str) -> Step:
    return Step("barrier", name)


def atomic(act: Callable[[Memory], object]) -> Step:
    return Step("atomic", act=act)


def branch(test: Callable[[Memory], object], to: str) -> Step:
    return Step("branch", test=test, to=to)


def wait(test: Callable[[Memory], object]) -> Step:
    return Step("wait", test=test)


def label(name: str) -> Step:
    return Step("label", name)


Program = tuple[Step, ...]


def less(memory: Memory) -> None:
    """scst_turn_less(), under turn_lock, if the command is marked."""
    if not memory["marked"]:
        return
    memory["marked"] = 0
    memory["found"] -= 1
    if memory["counting"] and memory["found"] <= 0:
        memory["counting"], memory["told"] = 0, 1


def pass_or_wait(memory: Memory) -> None:
    """scst_turn_pass(), under turn_lock."""
    memory["waiting"] = memory["in line"]
    less(memory)


def writer(held: str, slips: bool = False) -> Program:
    """A WRITE. *held*: an initiator that sends no data, or confirms no response, before the other is through.

    *slips*: it looks at its flag first, and then leaves its slot whatever the slot says.
    """
    arrives = (atomic(lambda m: m.update(slot=1)),)
    if held:
        arrives += (
            store("at driver", 1),
            barrier("sent"),
            branch(lambda m: not m["marked"], "receive"),
            atomic(less),
            label("receive"),
            *((wait(lambda m: m["over"]),) if held == "data" else ()),
            store("at driver", 0),
            barrier("received"),
        )
    writes = (
        branch(lambda m: not m["alone"], "go"),
        atomic(pass_or_wait),
        wait(lambda m: not m["waiting"]),
        label("go"),
        Step("medium", "writes", 1),
        Step("medium", "writes", 0),
    )
    responds: Program = ()
    if held:
        responds = (
            store("at driver", 1),
            barrier("sent"),
            branch(lambda m: not m["marked"], "responded"),
            atomic(less),
            label("responded"),
            *((wait(lambda m: m["over"]),) if held == "response" else ()),
        )
    asked = "marked" if slips else "asked"
    leaves = (
        branch(lambda m: m[asked], "asked"),
        Step("leave", value=slips, to="asked"),
        branch(lambda m: True, "end"),
        label("asked"),
        wait(lambda m: not m["looked at"]),
        atomic(lambda m: m.update(slot=0)),
        atomic(less),
        label("end"),
    )
    return arrives + writes + responds + leaves


def unlook(memory: Memory) -> None:
    """scst_slot_look(): a mark is in the slot as well."""
    memory["looked at"] = 0
    memory["asked"] |= memory["marked"]


def count(memory: Memory) -> None:
    memory["found"] += 1
    memory["any"] = 1


def again(memory: Memory) -> None:
    """scst_alone_again(), under turn_lock."""
    memory["counting"] = int(memory["found"] > 0)
    memory["again"] = 1 - memory["counting"]


def claimer() -> Program:
    """A COMPARE AND WRITE."""
    return (
        atomic(lambda m: m.update({"in line": 1})),
        store("alone", 1),
        label("scan"),
        store("found", 0),
        store("any", 0),
        barrier("alone"),
        branch(lambda m: not m["slot"], "looked"),
        atomic(lambda m: m.update({"looked at": m["slot"]})),
        branch(lambda m: not m["looked at"], "looked"),
        store("marked", 1),
        barrier("mark"),
        branch(lambda m: m["at driver"] or m["waiting"], "unlook"),
        atomic(count),
        label("unlook"),
        atomic(unlook),
        label("looked"),
        branch(lambda m: not m["any"], "mine"),
        atomic(again),
        branch(lambda m: m["again"], "scan"),
        wait(lambda m: m["told"]),
        atomic(lambda m: m.update(told=0)),
        branch(lambda m: True, "scan"),
        label("mine"),
        Step("medium", "owns", 1),
        Step("medium", "owns", 0),
        atomic(lambda m: m.update({"in line": 0, "alone": 0, "waiting": 0, "over": 1})),
    )


@dataclass(frozen=True)
class State:
    """Where each CPU is, what is in its store buffer, and the memory."""

    at: tuple[int, int]
    buffers: tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]
    memory: tuple[int, ...]


START = State((0, 0), ((), ()), (0,) * len(NAMES))


def put(state: State, cpu: int, **changes: object) -> State:
    """The state with something of one CPU changed: at, buffer; and the memory."""
    at, buffers = list(state.at), list(state.buffers)
    if "at" in changes:
        at[cpu] = changes["at"]  # type: ignore[call-overload]
    if "buffer" in changes:
        buffers[cpu] = changes["buffer"]  # type: ignore[call-overload]
    memory = changes.get("memory")
    new = state.memory if memory is None else tuple(memory[name] for name in NAMES)  # type: ignore[index]
    return State((at[0], at[1]), (buffers[0], buffers[1]), new)


def step(state: State, cpu: int, program: Program) -> Iterator[State]:
    """What one CPU may do next: an instruction, or let go of its oldest store."""
    buffer, memory = state.buffers[cpu], dict(zip(NAMES, state.memory, strict=True))
    if buffer:
        yield put(state, cpu, buffer=buffer[1:], memory={**memory, buffer[0][0]: buffer[0][1]})
    if state.at[cpu] == len(program):
        return
    one, after = program[state.at[cpu]], state.at[cpu] + 1
    if one.kind in ("barrier", "atomic", "leave") and buffer:
        return
    if one.kind == "store":
        yield put(state, cpu, at=after, buffer=(*buffer, (one.name, one.value)))
    elif one.kind == "atomic":
        one.act(memory)
        yield put(state, cpu, at=after, memory=memory)
    elif one.kind == "medium":
        yield put(state, cpu, at=after, memory={**memory, one.name: one.value})
    elif one.kind == "leave":
        if memory["asked"] and not one.value:
            yield put(state, cpu, at=place(program, one.to))
        elif not memory["looked at"]:
            yield put(state, cpu, at=after, memory={**memory, "slot": 0})
    elif one.kind in ("branch", "wait"):
        true = one.test({**memory, **dict(buffer)})
        if true or one.kind == "branch":
            yield put(state, cpu, at=place(program, one.to) if true and one.to else after)
    else:
        yield put(state, cpu, at=after)


def place(program: Program, name: str) -> int:
    """Where a label is."""
    return next(at for at, one in enumerate(program) if (one.kind, one.name) == ("label", name))


def faults(*programs: Program) -> tuple[set[str], int]:
    """What can go wrong, and how many states there are."""
    found, seen, todo = set(), {START}, [START]
    ends = tuple(map(len, programs))
    while todo:
        state = todo.pop()
        memory = dict(zip(NAMES, state.memory, strict=True))
        if memory["writes"] and memory["owns"]:
            found.add("together")
        following = [new for cpu, program in enumerate(programs) for new in step(state, cpu, program)]
        if not following and state.at != ends:
            found.add("for ever")
        todo += set(following) - seen
        seen.update(following)
    return found, len(seen)


def without(program: Program, name: str) -> Program:
    """One kind of barrier left out."""
    return tuple(
        replace(one, kind="nothing") if (one.kind, one.name) == ("barrier", name) else one for one in program
    )


HELD = ["", "data", "response"]


@pytest.mark.parametrize("held", HELD)
def test_neither_together_nor_for_ever(held: str) -> None:
    """In whatever order."""
    found, states = faults(writer(held), claimer())
    assert found == set()
    assert states > 300


@pytest.mark.parametrize(
    ("name", "held", "wanted"),
    [
        ("alone", "", "together"),
        ("received", "response", "together"),
        ("sent", "response", "for ever"),
        ("sent", "data", "for ever"),
        ("mark", "response", "for ever"),
    ],
)
def test_each_barrier_is_needed(name: str, held: str, wanted: str) -> None:
    found, _ = faults(without(writer(held), name), without(claimer(), name))
    assert wanted in found


def test_a_flag_alone_would_not_do() -> None:
    """Who looks at its flag and then leaves can be marked in between."""
    found, _ = faults(writer("", slips=True), claimer())
    assert "for ever" in found
