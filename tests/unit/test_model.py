# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of a SCSI target device (tests/model) says what the standards say; walk and shrinking work."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from tests.model import pr, sense, steps, transport_id
from tests.model.attention import Attention
from tests.model.rules import RULES, State
from tests.model.sense import Said
from tests.model.shrink import shrink
from tests.model.steps import Attr, Function
from tests.model.target import (
    CHECK_CONDITION,
    GOOD,
    RESERVATION_CONFLICT,
    TASK_ABORTED,
    Answer,
    Outcome,
    Target,
    make,
)
from tests.model.unit import Identity, blocks
from tests.model.walk import Walk, Wishes

READY = steps.TestUnitReady()
LOOK = steps.Read(0, 1)
WRITE = steps.Write(0, (7,))
ROOM = 64
EVERY = (GOOD, CHECK_CONDITION, RESERVATION_CONFLICT, TASK_ABORTED)


class Play:
    """Initiators a, b and c at ports 1 and 2 of a device with a fixed and a removable unit."""

    def __init__(self, told: bool = True) -> None:
        who = Identity("SCST", "fileio", "1")
        self.model = make([1, 2], [who, who], transport_id.iscsi, ROOM)
        self.numbers = itertools.count(1)
        for port, lun in itertools.product((1, 2), (0, 1)):
            self.model.apply(steps.Map(port, lun, lun))
        for name, port in itertools.product("abc", (1, 2)):
            self.model.apply(steps.Login(name, port))
        if told:
            self.told()

    def send(self, who: str, command: steps.Command, lun: int = 0, **more: object) -> Outcome:
        """A command of an initiator through the port that follows its name."""
        step = steps.Send(who[0], int(who[1]), lun, command, next(self.numbers), **more)  # type: ignore[arg-type]
        assert self.model.possible(step)
        return self.model.apply(step)

    def answer(self, who: str, command: steps.Command, lun: int = 0) -> Answer:
        """Of a command that ends at once."""
        (answer,) = self.send(who, command, lun).answers.values()
        return answer

    def code(self, who: str, command: steps.Command, lun: int = 0) -> int:
        """Its sense key and additional sense codes; 0: GOOD."""
        answer = self.answer(who, command, lun)
        if answer.status == GOOD:
            return 0
        assert answer.status == CHECK_CONDITION
        raw = answer.sense
        return int.from_bytes(raw[1:4] if raw[0] == 0x72 else raw[2:3] + raw[12:14], "big")

    def hold(self, who: str, command: steps.Command = WRITE, attr: Attr = Attr.SIMPLE) -> int:
        """A command that waits for its data."""
        outcome = self.send(who, command, attr=attr, hold=True)
        (number,) = outcome.wants_data
        return number

    def finish(self, number: int) -> dict[int, Answer]:
        """Its data comes."""
        return self.model.apply(steps.Finish(number)).answers

    def told(self) -> dict[str, list[Attention]]:
        """What is pending, by the paths that have anything; taken."""
        found: dict[str, list[Attention]] = {}
        for nexus in self.model.nexuses.values():
            for lun, path in nexus.paths.items():
                while (attention := path.take()) is not None:
                    found.setdefault(f"{nexus.initiator}{nexus.port}.{lun}", []).append(attention)
        return found

    def reserve(self, who: str, action: pr.Action, **fields: object) -> Answer:
        """PERSISTENT RESERVE OUT."""
        return self.answer(who, steps.ReserveOut(pr.Command(action, **fields)))  # type: ignore[arg-type]


ALL_PATHS = [f"{who}{port}.{lun}" for who in "abc" for port in (1, 2) for lun in (0, 1)]
TO_FIRST = [path for path in ALL_PATHS if path.endswith(".0")]


@pytest.fixture
def play() -> Play:
    return Play()


# --- sense data ---


def test_sense_data() -> None:
    """SPC-5 4.4.2, 4.4.3: bytes of both formats."""
    said = sense.invalid_in_cdb(2, 5)
    assert sense.fixed(said).hex() == "70000500000000" + "0a" + "00000000" + "2400" + "00" + "cd0002"
    assert sense.descriptor(said).hex() == "72052400" + "00000008" + "02060000cd000200"
    found = Said(sense.MISCOMPARE, information=0x102)
    assert sense.fixed(found)[:8].hex() == "f0000e000001020a"
    assert sense.descriptor(found)[7:].hex() == "0c" + "000a8000" + "0000000000000102"


def test_request_sense_formats(play: Play) -> None:
    """DESC chooses, not D_SENSE."""
    assert play.answer("a1", steps.RequestSense()).data == sense.fixed(sense.NO_SENSE)
    assert play.answer("a1", steps.RequestSense(True)).data == bytes([0x72, *bytes(7)])


def test_d_sense(play: Play) -> None:
    """SPC-5 7.5.10: of every command of the unit from then on."""
    play.answer("a1", steps.SelectControl(True, False))
    play.told()
    assert play.answer("b1", steps.Read(ROOM, 1)).sense[0] == 0x72
    assert play.answer("b1", steps.Read(ROOM, 1), lun=1).sense[0] == 0x70


# --- unit attentions ---


def test_power_on() -> None:
    play = Play(told=False)
    assert play.told() == {path: [Attention.POWER_ON] for path in ALL_PATHS}


def test_who_neither_tells_nor_clears(play: Play) -> None:
    """SAM-6 5.14: INQUIRY and REPORT LUNS pass; REQUEST SENSE tells in its data, if there is room."""
    play.model.apply(steps.Resize(0, 50))
    assert play.code("a1", steps.Inquiry()) == play.code("a1", steps.ReportLuns()) == 0
    assert play.answer("a1", steps.RequestSense(room=0)).data == b""
    assert play.answer("a1", steps.RequestSense()).data == sense.fixed(Attention.CAPACITY_CHANGED.said)
    assert play.answer("a1", steps.RequestSense()).data == sense.fixed(sense.NO_SENSE)
    assert play.code("b1", WRITE) == Attention.CAPACITY_CHANGED.said.code
    assert play.answer("b1", LOOK).data == blocks([0])


def test_once_and_in_order(play: Play) -> None:
    for size in (50, 51):
        play.model.apply(steps.Resize(0, size))
    play.model.apply(steps.Manage("b", 2, Function.LUN_RESET))
    told = [Attention.RESET, Attention.CAPACITY_CHANGED]
    assert play.told() == dict.fromkeys(TO_FIRST, told)


def test_luns_changed_is_told_once(play: Play) -> None:
    """By one unit for all of an I_T nexus, or by REPORT LUNS."""
    play.model.apply(steps.Map(1, 2, 0))
    assert play.code("a1", steps.ReportLuns()) == 0
    told = play.told()
    assert told == {
        **{f"{who}1.2": [Attention.POWER_ON] for who in "abc"},
        "b1.0": [Attention.LUNS_CHANGED],
        "c1.0": [Attention.LUNS_CHANGED],
    }


def test_mode_select_tells_others(play: Play) -> None:
    play.answer("a1", steps.SelectControl(False, True))
    told = {path: [Attention.MODE_CHANGED] for path in TO_FIRST if path != "a1.0"}
    assert play.told() == told
    play.answer("a1", steps.SelectControl(False, True))
    assert play.told() == {}
    assert play.code("b2", WRITE) == 0x072700
    assert play.code("b2", LOOK) == 0


def test_attention_of_who_is_gone(play: Play) -> None:
    """Logged in again it is another I_T nexus, to which only power on is new."""
    play.model.apply(steps.Resize(0, 50))
    play.model.apply(steps.Logout("a", 1))
    play.model.apply(steps.Login("a", 1))
    assert play.told()["a1.0"] == [Attention.POWER_ON]


# --- task management ---


def test_what_a_reset_ends(play: Play) -> None:
    """SAM-6 6.3.3."""
    play.answer("a1", steps.SelectControl(True, True))
    play.answer("a1", steps.Reserve())
    play.reserve("b1", pr.Action.REGISTER, sa_key=1)
    held = play.model.nexuses["a", 1].paths[0]
    assert play.model.reserved == {held.unit: held}
    play.model.apply(steps.Manage("c", 2, Function.LUN_RESET))
    assert play.model.reserved == {}
    assert not play.model.units[0].values.swp
    assert Attention.RESET in play.told()["c2.0"]


def test_registrations_survive_resets(play: Play) -> None:
    play.reserve("a1", pr.Action.REGISTER, sa_key=1)
    play.model.apply(steps.Manage("c", 2, Function.TARGET_RESET))
    assert list(play.model.units[0].reservations.keys.values()) == [1]


def test_echo_buffer(play: Play) -> None:
    """SPC-5 6.18.7: to each what it has written, unless somebody else has written since."""
    play.answer("a1", steps.WriteEcho(b"one"))
    assert play.answer("a1", steps.ReadEcho()).data == b"one"
    assert play.code("b1", steps.ReadEcho()) == play.code("a2", steps.ReadEcho()) == 0x052C00
    assert play.code("a1", steps.ReadEcho(), lun=1) == 0x052C00
    play.answer("a2", steps.WriteEcho(b"two"))
    assert play.code("a1", steps.ReadEcho()) == 0x0B3F0F
    assert play.answer("a2", steps.ReadEcho()).data == b"two"
    assert play.answer("b1", steps.ReadBuffer(0, 4)).data == bytes(4)


@pytest.mark.parametrize("how", [Function.LUN_RESET, Function.NEXUS_RESET, None])
def test_what_ends_prevention(play: Play, how: Function | None) -> None:
    """SPC-5 6.17: resets, the loss of the I_T nexus, and PREEMPT AND ABORT."""
    eject = steps.StartStop(False, True)
    play.answer("a1", steps.Prevent(True), lun=1)
    assert play.code("b1", eject, lun=1) == 0x055302
    if how:
        play.model.apply(steps.Manage("a", 1, how, 1))
    else:
        for who, key in (("a1", 1), ("b1", 2)):
            play.send(who, steps.ReserveOut(pr.Command(pr.Action.REGISTER, sa_key=key)), lun=1)
        asked = pr.Command(pr.Action.PREEMPT_AND_ABORT, key=2, sa_key=1)
        play.send("b1", steps.ReserveOut(asked), lun=1)
    play.told()
    assert play.code("b1", eject, lun=1) == 0
    assert play.code("b1", LOOK, lun=1) == 0x023A00


def test_aborted_writes_nothing(play: Play) -> None:
    number = play.hold("a1")
    outcome = play.model.apply(steps.AbortTask(number))
    assert outcome.answers[number] == Answer(TASK_ABORTED)
    assert play.answer("b1", LOOK).data == blocks([0])


def test_reset_aborts_everybodys(play: Play) -> None:
    mine, other = play.hold("a1"), play.hold("b2")
    outcome = play.model.apply(steps.Manage("a", 1, Function.LUN_RESET))
    assert outcome.answers == {mine: Answer(TASK_ABORTED), other: Answer(TASK_ABORTED, foreign=True)}


def test_clear_task_set_is_of_one_nexus(play: Play) -> None:
    """TST 001b."""
    mine, other = play.hold("a1"), play.hold("b2")
    outcome = play.model.apply(steps.Manage("a", 1, Function.CLEAR_TASK_SET))
    assert list(outcome.answers) == [mine]
    assert play.finish(other)[other].status == GOOD


# --- task attributes ---


def test_order(play: Play) -> None:
    """SAM-6 8.6: ORDERED waits for what is older, and what is younger for it; HEAD OF QUEUE for nobody."""
    older = play.hold("a1")
    ordered = play.send("a1", READY, attr=Attr.ORDERED)
    assert ordered == Outcome()
    assert play.send("a1", READY, attr=Attr.HEAD_OF_QUEUE).answers
    assert not play.model.possible(steps.Send("a", 1, 0, READY, 99))
    assert play.send("b1", READY).answers
    assert [answer.status for answer in play.finish(older).values()] == [GOOD, GOOD]


# --- reservations ---


def test_reserve(play: Play) -> None:
    """SPC-2."""
    assert play.code("a1", steps.Reserve()) == 0
    assert play.answer("b1", READY).status == RESERVATION_CONFLICT
    assert play.answer("a2", READY).status == RESERVATION_CONFLICT
    assert play.code("b1", steps.Release(True)) == play.code("b1", steps.Inquiry()) == 0
    assert play.answer("a1", steps.ReserveIn(0)).status == RESERVATION_CONFLICT
    play.code("a1", steps.Release())
    assert play.code("b1", READY) == 0


def test_conflict_goes_before_an_attention(play: Play) -> None:
    play.code("a1", steps.Reserve())
    play.model.apply(steps.Resize(0, 50))
    assert play.answer("b1", READY).status == RESERVATION_CONFLICT
    assert play.told()["b1.0"] == [Attention.CAPACITY_CHANGED]


def test_preempted_write_is_waited_for(play: Play) -> None:
    """And it writes nothing any more."""
    play.reserve("a1", pr.Action.REGISTER, sa_key=1)
    number = play.hold("b1")
    asked = pr.Command(pr.Action.RESERVE, key=1, type=pr.Type.WRITE_EXCLUSIVE)
    assert play.send("a1", steps.ReserveOut(asked)).answers == {}
    answers = play.finish(number)
    assert [answer.status for answer in answers.values()] == [RESERVATION_CONFLICT, GOOD]
    assert play.answer("c1", LOOK).data == blocks([0])


def test_every_command_has_a_row() -> None:
    """And one in the tables of reservations, unless it is said otherwise where they are looked at."""
    assert set(RULES) == set(steps.Command.__args__)
    special = {"RESERVE", "RELEASE", "PERSISTENT RESERVE OUT"}
    special |= {"START STOP UNIT", "PREVENT ALLOW MEDIUM REMOVAL"}
    assert {rule.name for rule in RULES.values()} - special <= set(pr.COMMANDS)


# --- what is done to the whole medium ---


@pytest.mark.parametrize("immed", [False, True])
def test_whole_medium(play: Play, immed: bool) -> None:
    """FORMAT UNIT and SANITIZE; who forgets has no SANITIZE, and no IMMED."""
    assert play.code("a1", steps.Sanitize(5, immed)) == 0
    assert play.answer("b1", steps.Read(ROOM - 1, 1)).data == blocks([5])
    assert play.code("b1", steps.FormatUnit(immed)) == 0
    assert play.answer("b1", steps.Read(ROOM - 1, 1)).data == blocks([0])
    assert play.told() == {}
    assert play.code("a1", steps.Sanitize(5, immed), lun=1) == 0x052000
    assert play.code("a1", steps.FormatUnit(immed), lun=1) == (0x052600 if immed else 0)


# --- asymmetric access ---


@pytest.mark.parametrize(("state", "code"), [(2, 0x02040B), (3, 0x02040C), (14, 0x020412), (15, 0x02040A)])
def test_states(play: Play, state: int, code: int) -> None:
    play.model.apply(steps.SetState(1, state))
    assert play.told() == {path: [Attention.STATE_CHANGED] for path in ALL_PATHS}
    assert play.code("a1", READY) == play.code("a1", WRITE) == code
    assert play.code("a2", WRITE) == 0
    assert play.code("a1", steps.ModeSense(0x0A)) == (0 if state == State.STANDBY else code)
    assert play.code("a1", steps.ReportGroups()) == 0
    qualifier = play.answer("a1", steps.Inquiry()).data[0]
    assert qualifier == (0x20 if state in (State.UNAVAILABLE, State.OFFLINE) else 0)


def test_change_that_failed(play: Play) -> None:
    """SPC-5 5.18.2.6: back to where it was."""
    play.model.apply(steps.SetState(1, State.TRANSITIONING))
    play.told()
    play.model.apply(steps.SetState(1, State.OPTIMIZED))
    assert play.told()["a2.1"] == [Attention.STATE_CHANGE_FAILED]


def test_who_sets_a_state_is_not_told(play: Play) -> None:
    assert play.code("a1", steps.SetGroups(((2, State.STANDBY),))) == 0
    assert "a1.0" not in play.told()
    assert play.answer("a1", steps.ReportGroups()).data[16:22].hex() == "02cf00020001"


# --- who sees what ---


def test_lun_that_goes(play: Play) -> None:
    """What was sent before ends as at a LUN that is not there, and writes nothing."""
    number = play.hold("a1")
    play.model.apply(steps.Unmap(1, 0))
    assert play.finish(number)[number].sense == sense.fixed(sense.LUN_NOT_SUPPORTED)
    assert play.code("a1", READY) == 0x052500
    assert play.answer("a1", steps.Inquiry()).data[0] == 0x7F
    assert play.answer("a2", LOOK).data == blocks([0])


def test_read_only(play: Play) -> None:
    play.model.apply(steps.SetReadOnly(1, 0, True))
    told = {f"{who}1.0": [Attention.MODE_CHANGED] for who in "abc"}
    assert play.told() == told
    assert play.code("a1", WRITE) == play.code("a1", steps.Reserve()) == 0x072700
    assert play.code("a2", WRITE) == 0


def test_backing_that_is_away(play: Play) -> None:
    """What does not need it goes on; when it is back everybody is told."""
    play.model.apply(steps.Park(1))
    assert play.code("a1", READY, lun=1) == 0x02040C
    assert play.code("a1", LOOK, lun=1) == play.code("a1", steps.SelectCaching(False), lun=1) == 0x020401
    assert play.code("a1", steps.ReadCapacity(), lun=1) == play.code("a1", steps.Reserve(), lun=1) == 0
    assert play.answer("a1", steps.Inquiry(), lun=1).data[0] == 0x20
    assert play.told() == {}
    play.model.apply(steps.Park(1, True))
    told = [Attention.MEDIUM_MAY_HAVE_CHANGED, Attention.LUNS_CHANGED, Attention.INQUIRY_CHANGED]
    assert play.told() == {path: told for path in ALL_PATHS if path.endswith(".1")}


# --- the walk, and shrinking ---


def walk(seed: str, number: int) -> list[steps.Step]:
    """So many steps."""
    play = Play(told=False)
    maker = Walk(random.Random(seed), play.model, Wishes())
    path = []
    for _ in range(number):
        path.append(maker.step())
        play.model.apply(path[-1])
    return path


def test_walk_is_the_same_for_a_seed() -> None:
    assert walk("one", 200) == walk("one", 200) != walk("two", 200)


def test_walk_meets_what_it_is_for() -> None:
    """Conflicts, unit attentions, aborts and commands that wait are common, and each attention is told."""
    statuses: Counter[int] = Counter()
    attentions: set[bytes] = set()
    waits = fenced = 0
    for number in range(16):
        play = Play(told=False)
        maker = Walk(random.Random(f"meets {number}"), play.model, Wishes())
        for _ in range(500):
            for answer in play.model.apply(maker.step()).answers.values():
                statuses[answer.status] += 1
                attentions |= {answer.sense[2:4], answer.sense[12:14]}
            places = {task.place.name for task in play.model.tasks.values()}
            waits += "WAITS" in places
            fenced += "FENCED" in places
    assert all(statuses[status] > 20 for status in EVERY)
    missed = {one.name for one in Attention if one.said.code.to_bytes(3, "big")[1:] not in attentions}
    assert not missed
    assert waits > 20
    assert fenced > 3


def test_shrink() -> None:
    """Two of a thousand."""
    asked = []

    def wrong(tried: list[int]) -> bool:
        asked.append(tried)
        return 17 in tried and 801 in tried

    assert shrink(list(range(1000)), wrong) == [17, 801]
    assert len(asked) < 200


def test_possible_in_any_part(play: Play) -> None:
    """What is left of a walk can be walked: steps that have become impossible are left out."""
    source = random.Random(5)
    path = [step for step in walk("parts", 400) if source.random() < 0.5]
    taken = 0
    for step in path:
        if play.model.possible(step):
            play.model.apply(step)
            taken += 1
    assert taken > len(path) // 2


def test_target_has_no_leftovers() -> None:
    """When everybody has gone there is nothing left."""
    play = Play()
    play.hold("a1")
    for who, port in list(play.model.nexuses):
        play.model.apply(steps.Logout(who, port))
    model: Target = play.model
    assert (model.tasks, model.paths, model.nexuses, model.reserved) == ({}, [], {}, {})
