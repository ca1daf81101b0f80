# SPDX-License-Identifier: GPL-2.0-or-later
"""Lives of commands at random: whatever meets whatever in whichever stage, each ends exactly once.

The medium is watched: a function is answered after what it has aborted, nothing is changed that nobody
has written to, and what was GOOD stays.
``SCST_ROUNDS`` says how many rounds, ``SCST_SEED`` which ones; a failure names the seed and the round.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.vm.guest import scsi, tree
from tests.vm.guest.script import Event, Flag, From, Kind, Mode, Nexus, Plan, Response, Script, Tmf, serve
from tests.vm.guest.scsi import Sense

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_script")

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
ROUNDS = int(os.environ.get("SCST_ROUNDS", "300"))
SEED = int(os.environ.get("SCST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
BLOCKS = 64
SETTLE_SECONDS = 20
STATUSES = (scsi.GOOD, scsi.CHECK_CONDITION, 0x40, scsi.TASK_SET_FULL)
OWN = [
    Tmf.ABORT_TASK,
    Tmf.ABORT_TASK_SET,
    Tmf.CLEAR_TASK_SET,
    Tmf.LUN_RESET,
    Tmf.TARGET_RESET,
    Tmf.I_T_NEXUS_RESET,
]
EXPECTED_SENSE: set[Sense] = {
    scsi.RESET, (0x6, 0x29, 0x07), (0x5, 0x0E, 0x03), scsi.MODE_CHANGED, scsi.LUNS_CHANGED, scsi.POWER_ON,
    scsi.BECOMING_READY, scsi.WRITE_PROTECTED,
}  # fmt: skip


@dataclass(slots=True)
class Sent:
    """A command of a round."""

    number: int
    nexus: Nexus
    lba: int
    blocks: int
    content: bytes | None
    plan: Plan
    at: int = 0


@dataclass(frozen=True, slots=True)
class Function:
    """A task management function of a round; *victim* is in its scope."""

    number: int
    nexus: Nexus
    fn: Tmf
    victim: int


class Life:
    """Rounds against one device. *chosen* decides everything."""

    def __init__(self, script: Script, chosen: random.Random, nexuses: list[Nexus], medium: Path) -> None:
        self.script, self.chosen, self.nexuses, self.medium = script, chosen, nexuses, medium
        self.before: list[bytes] = []

    def plan(self) -> Plan:
        """What the driver does with a command."""
        pick = self.chosen
        mode = [Mode.GO, Mode.GO, Mode.HOLD, Mode.NEVER]
        return Plan(
            submit_from=pick.choice(list(From)),
            data_mode=pick.choice(mode),
            data_from=pick.choice(list(From)),
            data_ms=pick.choice((0, 0, 1, 10)),
            data_again=pick.choice((0, 0, 1, 3)),
            error=pick.choice((0, 0, 0, -5)),
            response_mode=pick.choice(mode),
            response_from=pick.choice([place for place in From if place != From.LOCKED]),
            response_ms=pick.choice((0, 0, 1, 10)),
            response_again=pick.choice((0, 0, 1, 3)),
            flags=Flag.KEEP_DATA | pick.choice((Flag(0), Flag(0), Flag.OWN_MEMORY)),
        )

    def send(self) -> Sent:
        """A command at random: mostly writes."""
        pick = self.chosen
        nexus, plan = pick.choice(self.nexuses), self.plan()
        lba, blocks = pick.randrange(BLOCKS - 8), pick.randrange(1, 9)
        if pick.random() < 0.7:
            content = bytes((pick.randrange(1, 256),)) * (blocks * 512)
            number = nexus.submit(scsi.write10(lba, blocks), write=content, plan=plan)
            return Sent(number, nexus, lba, blocks, content, plan)
        number = nexus.submit(scsi.read10(lba, blocks), read=blocks * 512, plan=plan)
        return Sent(number, nexus, lba, blocks, None, plan)

    def disturb(self, commands: list[Sent]) -> list[Function]:
        """Task management at random."""
        functions = []
        for _ in range(self.chosen.choice((0, 1, 1, 2))):
            victim = self.chosen.choice(commands)
            fn = self.chosen.choice(OWN)
            number = victim.nexus.tmf(fn, tag=victim.number)
            functions.append(Function(number, victim.nexus, fn, victim.number))
        return functions

    def move_on(self, commands: list[Sent]) -> None:
        """Data and responses for those that are held, in any order; those that are not held refuse it."""
        self.chosen.shuffle(commands)
        for sent in commands:
            for move in (partial(self.script.data, sender=From.IRQ), self.script.respond):
                assert tree.errno_of(partial(move, sent.number)) in (0, errno.ENOENT, errno.EAGAIN)

    def finish(self, commands: list[Sent]) -> None:
        """Let the round end: hold nothing any more, and abort what the driver has lost."""
        for sent in commands:
            if Mode.NEVER in (sent.plan.data_mode, sent.plan.response_mode):
                sent.nexus.tmf(Tmf.ABORT_TASK, tag=sent.number)
        for _ in range(SETTLE_SECONDS * 20):
            self.move_on(commands)
            self.script.pump(0.05)
            if all(self.script.find(Kind.RELEASED, sent.number) for sent in commands):
                return
        left = [sent for sent in commands if not self.script.find(Kind.RELEASED, sent.number)]
        raise AssertionError(f"not over: {left}")

    def check(self, commands: list[Sent], functions: list[Function]) -> None:
        """Answers, each once, and what they say about the medium."""
        done = {number: self.script.wait(Kind.TMF_DONE, number) for number in (f.number for f in functions)}
        released = [event.id for event in self.script.take(Kind.RELEASED)]
        assert sorted(released) == sorted(sent.number for sent in commands), "each is released once"
        answers = {event.id: event for event in self.script.take(Kind.RESPONDED)}
        for function in functions:
            event = done[function.number]
            assert event.value in (Response.COMPLETE, Response.NO_TASK), f"{function}: {event.value}"
            assert event.seq > answers[function.victim].seq, (
                f"{function}: answered before its command was over"
            )
        after = self.medium_now()
        possible = [{self.before[lba]} for lba in range(BLOCKS)]
        for sent in commands:
            answer = answers[sent.number]
            assert answer.status in STATUSES, str(answer)
            assert answer.aborted or answer.good or answer.sense is None or self.expected(answer.sense), str(
                answer
            )
            if sent.content is not None and not (answer.sense is not None and not answer.aborted):
                for lba in range(sent.lba, sent.lba + sent.blocks):
                    possible[lba].add(sent.content[:512])
        for lba in range(BLOCKS):
            assert after[lba] in possible[lba], f"block {lba} holds what nobody wrote in this round"
        self.check_good(commands, answers, after)
        self.script.unread.clear()

    def check_good(self, commands: list[Sent], answers: dict[int, Event], after: list[bytes]) -> None:
        """A write that was GOOD, alone on its blocks in its round, is there."""
        for sent in commands:
            answer = answers[sent.number]
            if sent.content is None or not answer.good:
                continue
            for lba in range(sent.lba, sent.lba + sent.blocks):
                rivals = [
                    other for other in commands
                    if other is not sent and other.content and other.lba <= lba < other.lba + other.blocks
                ]  # fmt: skip
                assert rivals or after[lba] == sent.content[:512], (
                    f"block {lba}: an acknowledged write is lost"
                )

    @staticmethod
    def expected(sense: Sense) -> bool:
        """Is it one of those that the disturbances explain?"""
        return sense in EXPECTED_SENSE or sense[0] in (0x4, 0xB, scsi.UNIT_ATTENTION)

    def medium_now(self) -> list[bytes]:
        """The blocks in use, from the backing file."""
        raw = self.medium.read_bytes()[: BLOCKS * 512]
        return [raw[lba * 512 : (lba + 1) * 512] for lba in range(BLOCKS)]

    def round(self) -> None:
        """Some commands, something that happens to them, their ends."""
        for nexus in self.nexuses:
            nexus.attentions()
        self.script.unread.clear()
        self.before = self.medium_now()
        commands = [self.send() for _ in range(self.chosen.randrange(1, 6))]
        functions = self.disturb(commands)
        if self.chosen.random() < 0.5:
            self.move_on(list(commands))
        functions += self.disturb(commands)
        self.finish(list(commands))
        self.check(commands, functions)


@pytest.mark.parametrize("direct", [False, True], ids=["buffered", "direct"])
def test_lives_at_random(script: Script, make_file: MakeFile, direct: bool) -> None:
    """Every stage meets abort, reset, error and late data."""
    print(f"SCST_SEED={SEED} SCST_ROUNDS={ROUNDS}")
    path = make_file("f", 1)
    nexuses = list(serve(script, tree.fileio("f", path, o_direct=direct)))
    for number in range(ROUNDS // 2):
        life = Life(script, random.Random(f"{SEED} {direct} {number}"), nexuses, path)
        try:
            life.round()
        except AssertionError as error:
            raise AssertionError(f"seed {SEED} round {number}: {error}") from error


def test_sessions_at_random(script: Script, make_file: MakeFile) -> None:
    """Sessions that close with commands in every stage, while others work."""
    path = make_file("f", 1)
    first, _ = serve(script, tree.fileio("f", path))
    target = tree.Target("t1")
    for number in range(max(ROUNDS // 10, 5)):
        chosen = random.Random(f"{SEED} session {number}")
        victim = script.login(target, f"victim{number % 3}")
        victim.attentions()
        life = Life(script, chosen, [victim], path)
        commands = [life.send() for _ in range(chosen.randrange(1, 6))]
        if chosen.random() < 0.5:
            life.move_on(list(commands))
        victim.close()
        assert tree.errno_of(victim.test_unit_ready) in (2, 108), "it takes no more commands"
        first.good(scsi.read10(0, 8), read=4096)
        for _ in range(SETTLE_SECONDS * 20):
            life.move_on(commands)
            script.pump(0.05)
            if script.find(Kind.GONE, session=victim.number):
                break
        victim.gone()
        released = [event.id for event in script.take(Kind.RELEASED)]
        assert {sent.number for sent in commands} <= set(released), f"seed {SEED} round {number}"
        assert len(released) == len(set(released))
        script.unread.clear()
