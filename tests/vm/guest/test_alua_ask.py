# SPDX-License-Identifier: GPL-2.0-or-later
"""SET TARGET PORT GROUPS with consent: what is asked for is a question to user space, which decides."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import pyudev

from tests.vm.guest import alua, scsi, tool, tree
from tests.vm.guest.alua import DeviceGroup, Tpg
from tests.vm.guest.long import more
from tests.vm.guest.patience import timely
from tests.vm.guest.script import TASK_ABORTED, Event, Kind, Nexus, Response, Script, Tmf, serve
from tests.vm.guest.test_alua import Pair, pair, refused, states
from tests.vm.guest.test_order import place
from tests.vm.guest.tree import Device

__all__ = ("pair",)

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_local", "scst_script", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

FAILED: scsi.Sense = (0x4, 0x67, 0x0A)
BUSY = 0x08
LONG = 60000
OWN = tree.ROOT / "targets/script/t1"


@dataclass(frozen=True, slots=True)
class Question:
    """`question` of a device group, or None if it is empty."""

    number: int
    left_ms: int
    target: str
    initiator: str
    device: str
    wanted: dict[str, str]


def question(group: DeviceGroup) -> Question | None:
    """The one that is open."""
    words = tree.read(group.path / "question").split(" ")
    if words == [""]:
        return None
    wanted = dict(word.split("=") for word in words[5:])
    return Question(int(words[0]), int(words[1]), words[2], words[3], words[4], wanted)


def listen() -> pyudev.Monitor:
    """Events of the kernel from here on."""
    monitor = pyudev.Monitor.from_netlink(pyudev.Context(), "kernel")
    monitor.filter_by("scst")
    monitor.start()
    return monitor


def event_of(events: pyudev.Monitor, question: Question) -> dict[str, str]:
    """The event of a question."""
    while (event := events.poll(tree.GIVE_UP)) is not None:
        found = dict(event.properties)
        if found.get("SCST_QUESTION") == str(question.number):
            return found
    raise AssertionError(f"no event of {question}")


@dataclass(frozen=True, slots=True)
class Asking:
    """A device of two initiators at one port, in target port group a (10); b (20) is another host's."""

    script: Script
    device: Device
    group: DeviceGroup
    tpgs: tuple[Tpg, Tpg]
    nexuses: tuple[Nexus, Nexus]

    def set_ms(self, value: int) -> None:
        """`ask_ms`."""
        tree.write(self.group.path / "ask_ms", value)

    def question(self) -> Question | None:
        """The one that is open."""
        return question(self.group)

    def send(self, *wanted: tuple[int, int], nexus: int = 0) -> int:
        """SET TARGET PORT GROUPS; its number."""
        data = alua.set_list(*wanted)
        return self.nexuses[nexus].submit(alua.set_groups(len(data)), write=data)

    def put(self, *wanted: tuple[int, int]) -> tuple[int, Question]:
        """The same, and the question that comes of it."""
        command = self.send(*(wanted or ((10, 2), (20, 1))))
        tree.wait_for("a question", lambda: self.question() is not None)
        question = self.question()
        assert question is not None
        return command, question

    def say(self, answer: str, number: object) -> None:
        """Write `accept` or `refuse`."""
        tree.write(self.group.path / answer, number)

    def answered(self, command: int, nexus: int = 0) -> Event:
        """The end of a command."""
        return self.nexuses[nexus].answer(command)

    def states(self) -> tuple[str, str]:
        """Of the two groups."""
        return self.tpgs[0].state, self.tpgs[1].state

    def untouched(self) -> None:
        """No question is open, no state has changed, nobody was told anything."""
        assert self.question() is None
        assert self.states() == (alua.OPTIMIZED, alua.OPTIMIZED)
        assert [nexus.attentions() for nexus in self.nexuses] == [[], []]


@pytest.fixture
def asking(script: Script) -> Asking:
    """Nothing is pending."""
    device = tree.nullio("d0", 1 << 20)
    nexuses = serve(script, device, tree.nullio("d1", 1 << 20))
    group = DeviceGroup("dg").make(device, explicit=True)
    tpgs = group.tpg("a", 10), group.tpg("b", 20).add_remote("far", 777)
    (tpgs[0].path / "ports/script").mkdir()
    (tpgs[0].path / "ports/script/target").symlink_to(OWN)
    for nexus in nexuses:
        nexus.attentions()
    made = Asking(script, device, group, tpgs, nexuses)
    assert tree.read(group.path / "ask_ms") == "0"
    made.set_ms(LONG)
    return made


def test_accept(asking: Asking) -> None:
    """Done when it is accepted, told to all but who has asked, and then the command is answered."""
    command, question = asking.put()
    assert 0 < question.left_ms <= LONG
    told = (question.target, question.initiator, question.device, question.wanted)
    assert told == ("script/t1", "first", "d0", {"a": alua.STANDBY, "b": alua.NONOPTIMIZED})
    assert place(command) == "question"
    assert asking.states() == (alua.OPTIMIZED, alua.OPTIMIZED)
    assert asking.script.find(Kind.RESPONDED, command) is None
    asking.say("accept", question.number)
    assert asking.states() == (alua.STANDBY, alua.NONOPTIMIZED)
    assert asking.answered(command).good
    assert asking.question() is None
    assert asking.nexuses[0].attentions() == []
    assert asking.nexuses[1].attentions() == [alua.STATE_CHANGED]
    groups = alua.parse(asking.nexuses[0].good(alua.report_groups(), read=1024))
    assert [(one.state, one.status) for one in groups] == [(2, alua.BY_COMMAND), (1, alua.BY_COMMAND)]


def test_refuse(asking: Asking) -> None:
    command, question = asking.put((10, 2))
    assert question.wanted == {"a": alua.STANDBY}
    asking.say("refuse", question.number)
    assert asking.answered(command).sense == FAILED
    asking.untouched()


def test_nobody_answers(asking: Asking) -> None:
    """After `ask_ms` it has failed, and an answer is too late. An open question keeps its time."""
    asking.set_ms(100)
    assert asking.answered(asking.send((10, 2))).sense == FAILED
    asking.untouched()
    asking.set_ms(LONG)
    command, question = asking.put()
    assert refused(partial(asking.say, "accept", question.number - 1)) == "ESTALE", "that of the first"
    asking.set_ms(1)
    now = asking.question()
    assert now is not None
    assert now.left_ms > LONG // 2
    asking.say("accept", question.number)
    assert asking.answered(command).good


def test_not_asked(asking: Asking) -> None:
    """What changes nothing, or is wrong, needs no consent; nor does anything without `ask_ms`."""
    for wanted in ((), ((10, 0),), ((10, 0), (20, 0))):
        assert asking.answered(asking.send(*wanted)).good
    for wrong in ((11, 2), (10, 14)):
        assert asking.answered(asking.send(wrong)).sense == scsi.INVALID_FIELD_LIST
    asking.untouched()
    asking.set_ms(0)
    assert asking.answered(asking.send((10, 2))).good
    assert asking.states() == (alua.STANDBY, alua.OPTIMIZED)


def test_second_question(asking: Asking) -> None:
    """One at a time: BUSY, whoever asks. The next has a number of its own."""
    command, question = asking.put()
    for nexus in (0, 1):
        assert asking.answered(asking.send((20, 2), nexus=nexus), nexus).status == BUSY
    assert asking.answered(asking.send((10, 0), nexus=1), 1).good, "nothing to ask"
    now = asking.question()
    assert now is not None
    assert now.number == question.number
    asking.say("refuse", question.number)
    assert asking.answered(command).sense == FAILED
    command, after = asking.put((20, 2))
    assert after.number > question.number
    assert refused(partial(asking.say, "accept", question.number)) == "ESTALE"
    asking.say("accept", after.number)
    assert asking.answered(command).good
    assert asking.states() == (alua.OPTIMIZED, alua.STANDBY)


def test_wrong_answers(asking: Asking) -> None:
    """Another number is no answer, nor is what is no number; the question stays open."""
    assert refused(partial(asking.say, "accept", 0)) == "ESTALE", "none is open"
    command, question = asking.put()
    for answer in ("accept", "refuse"):
        for number in (0, question.number - 1, question.number + 1, 2**64 - 1):
            assert refused(partial(asking.say, answer, number)) == "ESTALE", number
        for word in ("x", "-1", f"{question.number} please", 2**64):
            assert refused(partial(asking.say, answer, word)) in ("EINVAL", "ERANGE"), word
    for value in (-1, LONG + 1, "soon"):
        assert refused(partial(tree.write, asking.group.path / "ask_ms", value)) in ("EINVAL", "ERANGE")
    assert asking.script.find(Kind.RESPONDED, command) is None
    asking.say("accept", question.number)
    assert asking.answered(command).good
    assert refused(partial(asking.say, "accept", question.number)) == "ESTALE", "once"


def test_nobody_else_waits(asking: Asking) -> None:
    """Not the commands of the unit, by whomever, nor who reads, makes or removes something."""
    command, question = asking.put()
    for nexus in asking.nexuses:
        for cdb, read in (
            (scsi.test_unit_ready(), 0),
            (scsi.read10(0, 1), 512),
            (scsi.write10(0, 1), 0),
            (alua.report_groups(), 1024),
        ):
            data = bytes(512) if cdb[0] == 0x2A else None
            assert nexus.command(cdb, read=read, write=data, seconds=5 * tree.SLOW).good
    timely("show", partial(tree.read, asking.group.path / "question"))
    for path in ("alua/dg2", "alua/dg/target_port_groups/c", "alua/dg/devices/x", "devices/nullio/d2"):
        timely("mkdir", (tree.ROOT / path).mkdir)
        timely("rmdir", (tree.ROOT / path).rmdir)
    other = Device("nullio", "d1")
    timely("park another", partial(other.activate, False))
    timely("and back", partial(other.activate, True))
    (OWN / "luns/5").mkdir()
    timely("map", partial((OWN / "luns/5/device").symlink_to, other.path))
    assert asking.script.find(Kind.RESPONDED, command) is None
    asking.say("accept", question.number)
    assert asking.answered(command).good


# --- withdrawn ---

Act = Callable[[Asking, int], object]


def manage(fn: Tmf, nexus: int = 0) -> Act:
    """A task management function."""

    def act(asking: Asking, command: int) -> None:
        assert asking.nexuses[nexus].manage(fn, tag=command) == Response.COMPLETE

    return act


def reserve(asking: Asking, _: int) -> None:
    asking.nexuses[1].good(bytes((0x16, 0, 0, 0, 0, 0)))


def leave(asking: Asking, _: int) -> None:
    timely("leave", partial(asking.group.drop, asking.device))


def logout(asking: Asking, _: int) -> None:
    asking.nexuses[0].close()
    asking.nexuses[0].gone()


# What takes the command away: it is aborted.
TAKES: dict[str, Act] = {
    "abort": manage(Tmf.ABORT_TASK),
    "abort-set": manage(Tmf.ABORT_TASK_SET),
    "reset": manage(Tmf.LUN_RESET, 1),
    "nexus-reset": manage(Tmf.I_T_NEXUS_RESET),
    "logout": logout,
    "disable": lambda _asking, _: timely("disable", partial(tree.write, OWN / "enabled", False)),
}
# What makes it void: it fails.
VOIDS: dict[str, Act] = {
    "unmap": lambda *_: timely("unmap", partial((OWN / "luns/0/device").unlink)),
    "read-only": lambda *_: timely("read-only", partial(tree.write, OWN / "luns/0/read_only", True)),
    "park": lambda asking, _: timely("park", partial(asking.device.activate, False)),
    "reserve": reserve,
    "state": lambda asking, _: asking.tpgs[1].switch(alua.OFFLINE),
    "implicit": lambda asking, _: tree.write(asking.group.path / "explicit", False),
    "number": lambda asking, _: asking.tpgs[0].set("group_id", 11),
    "port": lambda asking, _: (asking.tpgs[1].path / "ports/far").rmdir(),
    "leave": leave,
}


@pytest.mark.parametrize("how", [*TAKES, *VOIDS])
def test_withdrawn(asking: Asking, how: str) -> None:
    """Nothing is done, an answer is too late, and the command is over soon."""
    command, question = asking.put()
    before = asking.states()
    (TAKES | VOIDS)[how](asking, command)
    tree.wait_for("the question to be withdrawn", lambda: asking.question() is None)
    event = asking.script.wait(Kind.RESPONDED, command)
    # Whose session goes has his LUN taken away, too: nobody reads which of the two was first.
    both = how in ("logout", "disable")
    assert event.sense == FAILED if how in VOIDS else event.status == TASK_ABORTED or both
    assert not event.good
    assert refused(partial(asking.say, "accept", question.number)) == "ESTALE"
    assert asking.states() == (before if how != "state" else (before[0], alua.OFFLINE))


def test_asked_while_parked(asking: Asking) -> None:
    """Whose disk is lost here goes elsewhere: a parked unit can be asked about."""
    asking.device.activate(False)
    command, question = asking.put()
    asking.say("accept", question.number)
    assert asking.answered(command).good
    assert asking.states() == (alua.STANDBY, alua.NONOPTIMIZED)


def test_group_goes(asking: Asking) -> None:
    """All of it, with the question open; a new group of the name knows nothing of it."""
    command, question = asking.put()
    asking.group.drop(asking.device)
    (asking.tpgs[0].path / "ports/script/target").unlink()
    for path in ("a/ports/script", "a", "b/ports/far", "b"):
        (asking.group.path / "target_port_groups" / path).rmdir()
    asking.group.path.rmdir()
    assert asking.answered(command).sense == FAILED
    again = DeviceGroup("dg").make(asking.device, explicit=True)
    assert tree.read(again.path / "question") == ""
    assert tree.errno_of(partial(tree.write, again.path / "accept", question.number)) != 0


def test_long_names_fit(asking: Asking) -> None:
    """32 groups of the longest names: `question` has them all, the event none but all else."""
    names = [f"{number:02}".ljust(64, "x") for number in range(30)]
    for number, name in enumerate(names):
        asking.group.tpg(name, 100 + number).add_remote("far", 2000 + number)
    for nexus in asking.nexuses:
        nexus.attentions()
    events = listen()
    command, question = asking.put(*((100 + number, 1) for number in range(30)))
    assert question.wanted == dict.fromkeys(names, alua.NONOPTIMIZED)
    seen = event_of(events, question)
    assert (seen["SCST_INITIATOR"], seen.get("SCST_WANTED", "")) == ("first", "")
    asking.say("accept", question.number)
    assert asking.answered(command).good


@pytest.mark.parametrize("seed", [1, *more(2, 3, 4)])
def test_everything_at_once(asking: Asking, seed: int) -> None:
    """Answers, aborts and the end of the time race for a command: it ends once, and as it is said."""
    source = random.Random(seed)
    ends: set[str] = set()
    for turn in range(60):
        asking.set_ms(source.choice((1, 5, 20, 1000)))
        before = asking.states()
        command = asking.send((10, 2 if before[0] == alua.OPTIMIZED else 0))
        question = asking.question()
        for _ in range(source.randrange(3)):
            question = question or asking.question()
        tmf = asking.nexuses[0].tmf(Tmf.ABORT_TASK, tag=command) if source.random() < 0.4 else 0
        accepted = False
        if question is not None:
            answer = source.choice(("accept", "refuse"))
            code = tree.errno_of(partial(asking.say, answer, question.number))
            accepted = answer == "accept" and code == 0
        if tmf:
            asking.nexuses[0].tmf_response(tmf)
        event = asking.answered(command)
        assert accepted == (asking.states() != before), turn
        assert event.good == accepted or event.status == TASK_ABORTED, turn
        ends.add("aborted" if event.status == TASK_ABORTED else "good" if event.good else "failed")
        asking.nexuses[1].attentions()
    assert len(ends) >= 2
    assert asking.question() is None


# --- programs ---


@contextmanager
def stpg(pair: Pair, groups: str, wanted: str) -> Iterator[subprocess.Popen[str]]:
    """sg_stpg of the first initiator, and the question that comes of it."""
    argv = ["sg_stpg", "-v", f"--tp={groups}", f"--state={wanted}", str(pair.units[0].node)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as command:
        yield command


def failed(command: subprocess.Popen[str]) -> bool:
    """Has it ended with what the standard says of it?"""
    said = command.communicate(timeout=60 * tree.SLOW)[0]
    return "Set target port groups command failed" in said


def succeeded(command: subprocess.Popen[str]) -> bool:
    """Has it ended without a word of sense data?"""
    said = command.communicate(timeout=60 * tree.SLOW)[0]
    return command.returncode == 0 and "Sense key" not in said


def asked(pair: Pair) -> Question:
    """The question, when it is there."""
    tree.wait_for("a question", lambda: question(pair.group) is not None)
    found = question(pair.group)
    assert found is not None
    return found


def test_person_answers(pair: Pair, tmp_path: Path) -> None:
    """`scstadmin list`, `get` and `answer`, with Linux's own initiator and sg3_utils."""
    assert tool.run(tmp_path, "set", "alua", "dg", "ask_ms=60000")[0] == 0
    with stpg(pair, "10,20", "s,an") as command:
        number = asked(pair).number
        rows = tool.run(tmp_path, "list", "alua")[1]["alua"]
        assert rows[0]["question"] == f"{number} a=standby b=active/non-optimized"
        told = tool.run(tmp_path, "get", "alua", "dg", "question")[1]["settings"][0]["value"].split()
        assert (told[0], *told[2:5]) == (str(number), "local/t1", "ini", "d0")
        status, said = tool.run(tmp_path, "answer", "dg", str(number + 1), "accept")
        assert (status, said["errno"]) == (1, "ESTALE")
        assert command.poll() is None
        assert tool.run(tmp_path, "answer", "dg", str(number), "accept")[0] == 0
        assert states(pair) == (alua.STANDBY, alua.NONOPTIMIZED)
        assert succeeded(command)
    with stpg(pair, "10", "ao") as command:
        assert tool.run(tmp_path, "answer", "dg", str(asked(pair).number), "refuse")[0] == 0
        assert failed(command)
    assert states(pair) == (alua.STANDBY, alua.NONOPTIMIZED)


@pytest.fixture
def consent(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Starts examples/alua-consent.sh, for which `a` may be in standby; the file that it returns has the
    arguments of each question.
    """
    asked, decides, started = tmp_path / "asked", tmp_path / "decides", list[subprocess.Popen[bytes]]()
    decides.write_text(
        f'#!/bin/sh\necho "$*" >>{asked}\nfor word; do [ "$word" = a=standby ] && exit 0; done\nexit 1\n'
    )
    decides.chmod(0o755)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def start() -> Path:
        argv = ["examples/alua-consent.sh", str(decides)]
        started.append(subprocess.Popen(argv, env=environment, start_new_session=True))
        return asked

    yield start
    for one in started:
        os.killpg(one.pid, signal.SIGTERM)
        one.wait()


def test_program_answers(pair: Pair, consent: Callable[[], Path]) -> None:
    """The example: it hears of questions by uevents, and of one that was there before by looking."""
    tree.write(pair.group.path / "ask_ms", LONG)
    with stpg(pair, "10", "s") as command:
        first = asked(pair)
        seen = consent()
        assert succeeded(command)
    assert states(pair) == (alua.STANDBY, alua.OPTIMIZED)
    with stpg(pair, "20", "an") as command:
        assert failed(command)
    assert states(pair) == (alua.STANDBY, alua.OPTIMIZED)
    assert seen.read_text().splitlines() == [
        f"dg {first.number} local/t1 ini d0 a=standby",
        f"dg {first.number + 1} local/t1 ini d0 b=active/non-optimized",
    ]


def test_uevent(pair: Pair) -> None:
    """It has all that `question` says."""
    tree.write(pair.group.path / "ask_ms", LONG)
    events = listen()
    with stpg(pair, "10,20", "s,u") as command:
        seen = event_of(events, asked(pair))
        tree.write(pair.group.path / "refuse", seen["SCST_QUESTION"])
        assert failed(command)
    assert (seen["SCST_TYPE"], seen["SCST_EVENT"], seen["SCST_STATE"]) == ("core", "alua-question", "dg")
    assert (seen["SCST_TARGET"], seen["SCST_INITIATOR"]) == ("local/t1", "ini")
    assert seen["SCST_WANTED"] == "a=standby b=unavailable"
    assert 0 < int(seen["SCST_LEFT_MS"]) <= LONG
