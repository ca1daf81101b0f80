# SPDX-License-Identifier: GPL-2.0-or-later
"""Sixteen initiators that do what they like, and an administrator who does, too, all at the same time.

What each was told holds: a session ends for a reason only, what was acknowledged is there, and in the end
nothing is left. SCST_CHAOS_STEPS: how many steps; SCST_SEED: of which choices. Each initiator's are a
sequence of their own; how they meet is chance.
"""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.iscsi import login
from tests.iscsi.initiator import CHECK_CONDITION, GOOD, Closed, Session, Task
from tests.iscsi.pdu import Answered, Tmf
from tests.vm.guest import iscsi, scsi, tree
from tests.vm.guest.fault import Fault
from tests.vm.guest.iscsid import Daemon, listening, portal, reachable
from tests.vm.guest.long import often
from tests.vm.guest.pulse import pulse

SCST_MODULES = iscsi.MODULES

pytestmark = pytest.mark.usefixtures("clean_tree")

STEPS = int(os.environ.get("SCST_CHAOS_STEPS") or often(480, 72_000))
SEED = int(os.environ.get("SCST_SEED") or often(11, random.randrange(1 << 32)))
INITIATORS = 16
ADDRESS = ("127.0.0.1", 3260)
# Blocks of LUN 0 that are one initiator's alone.
MINE = 64
TASK_ABORTED, BUSY, TASK_SET_FULL = 0x40, 0x08, 0x28
FUNCTIONS = (
    Tmf.ABORT_TASK,
    Tmf.ABORT_TASK,
    Tmf.ABORT_TASK_SET,
    Tmf.CLEAR_TASK_SET,
    Tmf.LUN_RESET,
    Tmf.WARM_RESET,
)
RESETS = (Tmf.LUN_RESET, Tmf.WARM_RESET)
PATIENCE = 60.0 * tree.SLOW
MOMENT = 0.2 * tree.SLOW
DELAY_MS = 20
OFFERS: tuple[dict[str, str], ...] = (
    {},
    {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"},
    {"InitialR2T": "Yes", "ImmediateData": "No", "MaxBurstLength": "4096", "FirstBurstLength": "4096"},
    {"MaxRecvDataSegmentLength": "1024"},
)
LOST = (Closed, ConnectionError, TimeoutError)


@dataclass
class World:
    """What all of them share."""

    target: iscsi.Target
    null: tree.Device
    daemon: Daemon
    ended: threading.Event = field(default_factory=threading.Event)
    # Ports of the initiators' ends of sessions that were dropped; and how often the target was disabled.
    dropped: set[int] = field(default_factory=set)
    disabled: int = 0
    disabling: bool = False
    # How many daemons have died; and how many had when who waits to be let in began to wait.
    daemons: int = 0
    waiting: dict[int, int] = field(default_factory=dict)
    # Resets that have begun, and that are over: whoever's commands they strike is not told (TAS 0).
    resets: int = 0
    did: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Initiator:
    """One of them. *sure*: the content of its blocks; of a block whose write has no answer, all it may be."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.chance = random.Random(SEED * 1000 + number)
        self.name = f"iqn.2026-11.test:chaos{number}"
        self.isid = bytes([0x40, 0, 0, 0, 0, number])
        self.session: Session | None = None
        self.disabled = 0
        self.sure: dict[int, set[bytes]] = {}
        self.writes: dict[int, tuple[int, bytes, Task]] = {}
        self.reads: list[Task] = []
        self.since: dict[int, int] = {}  # resets when a command was sent

    # --- sessions ---

    def log_in(self) -> None:
        """Anew, with whatever terms; also while there is another session, which ends by that."""
        older, self.session = self.session, None
        self.in_doubt()
        self.world.waiting[self.number] = self.world.daemons
        try:
            self.be_let_in()
        finally:
            del self.world.waiting[self.number]
        assert self.session is not None
        self.session.sock.settimeout(PATIENCE)
        if older is not None:
            with suppress(ConnectionError):
                older.wait_closed()
            older.close()

    def be_let_in(self) -> None:
        """Try until it is."""
        end = pulse.time() + PATIENCE
        while True:
            self.disabled = self.world.disabled
            try:
                offer = self.chance.choice(OFFERS)
                self.session = login.login(
                    ADDRESS, self.world.target.name, offer, initiator=self.name, isid=self.isid
                )
                return
            except login.Refused as refused:
                if refused.status >> 8 != 3:
                    raise
                why = str(refused)
            except (*LOST, OSError) as error:
                why = repr(error)
            assert pulse.time() < end, f"nobody lets it in: {why}"
            time.sleep(0.05)

    @property
    def cut(self) -> bool:
        """Is there somebody who may have ended its session?"""
        assert self.session is not None
        port = self.session.sock.getsockname()[1]
        return self.world.disabling or self.disabled != self.world.disabled or port in self.world.dropped

    def in_doubt(self) -> None:
        """What has no answer may have been done or not."""
        for at, data, _ in self.writes.values():
            self.sure[at].add(data)
        self.writes.clear()
        self.reads.clear()
        self.since.clear()

    def log_out(self) -> None:
        """In peace."""
        assert self.session is not None
        sending = bool(self.writes)
        try:
            assert self.session.logout() == 0
        except (Closed, ConnectionError):
            # The target may have answered, and closed, while what it had asked for was on its way.
            if not sending:
                raise
        self.away()

    def go(self) -> None:
        """Without a word."""
        self.away()

    def reset(self) -> None:
        """By a reset."""
        assert self.session is not None
        self.session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.away()

    def half(self) -> None:
        """In the middle of a PDU."""
        assert self.session is not None
        _, one = self.session.command_pdu(scsi.write10(self.place(), 1), write=bytes(512))
        wire = self.session.encode(one)
        self.session.sock.sendall(wire[: self.chance.randrange(1, len(wire))])
        self.away()

    def away(self) -> None:
        """There is no session any more."""
        assert self.session is not None
        self.session.close()
        self.session = None
        self.in_doubt()

    # --- commands ---

    def place(self) -> int:
        """A block of its own."""
        return self.number * MINE + self.chance.randrange(MINE)

    def write(self) -> None:
        """Begin to write a block that nobody is writing."""
        assert self.session is not None
        at = self.place()
        if any(at == other for other, _, _ in self.writes.values()):
            return
        data = self.chance.randbytes(512)
        self.sure.setdefault(at, {bytes(512)})
        task, one = self.session.command_pdu(scsi.write10(at, 1), write=data)
        self.writes[task.itt] = (at, data, task)
        self.since[task.itt] = self.world.resets
        self.session.begin(task, one, *self.session.unsolicited(task, one))

    def read(self) -> None:
        """Begin to read some that will be thrown away."""
        assert self.session is not None
        blocks = self.chance.choice((1, 8, 64))
        lun = self.chance.randrange(2)
        at = self.chance.randrange(256)
        resets = self.world.resets
        self.reads.append(self.session.start(scsi.read10(at, blocks), lun=lun, read=blocks * 512))
        self.since[self.reads[-1].itt] = resets

    def finish(self, task: Task) -> bool:
        """Until it is over. False: a reset of somebody else has struck it; then it is aborted, to be sure."""
        assert self.session is not None
        end = pulse.time() + PATIENCE
        while not task.done:
            if select.select([self.session.sock], [], [], MOMENT)[0]:
                self.session.pump()
            elif self.since[task.itt] != self.world.resets:
                self.session.manage(Tmf.ABORT_TASK, task=task)
                self.session.tasks.pop(task.itt, None)
                return task.done
            assert pulse.time() < end, "a command without an answer"
        return True

    def look(self) -> None:
        """Is what was acknowledged there?"""
        assert self.session is not None
        self.settle()
        self.check(self.place())

    def check(self, at: int) -> None:
        """Nothing of it is being written. What may be found there afterwards is what was found now."""
        assert self.session is not None
        while True:
            resets = self.world.resets
            task = self.session.start(scsi.read10(at, 1), read=512)
            self.since[task.itt] = resets
            if not self.finish(task):
                continue
            if task.status == GOOD:
                break
            self.unwell(task)
        found = bytes(task.data)
        wanted = self.sure.setdefault(at, {bytes(512)})
        assert found in wanted, (
            f"block {at}: {found[:8].hex()}, not one of {[one[:8].hex() for one in wanted]}"
        )
        self.sure[at] = {found}

    def unwell(self, task: Task) -> None:
        """A command that ends so was stopped by others, or told of them."""
        attention = task.status == CHECK_CONDITION and task.key[0] == scsi.UNIT_ATTENTION
        stopped = task.status in (TASK_ABORTED, BUSY, TASK_SET_FULL)
        assert attention or stopped, f"status {task.status:#x}, {task.key}"

    def settle(self) -> None:
        """All that was begun ends."""
        assert self.session is not None
        for at, data, task in list(self.writes.values()):
            answered = self.finish(task)
            del self.writes[task.itt]
            self.sure[at].add(data)
            if answered and task.status == GOOD:
                self.sure[at] = {data}
            elif answered:
                self.unwell(task)
        while self.reads:
            task = self.reads.pop()
            if self.finish(task) and task.status != GOOD:
                self.unwell(task)

    def ping(self) -> None:
        """A sign of life."""
        assert self.session is not None
        data = self.chance.randbytes(self.chance.randrange(64))
        assert self.session.ping(data, immediate=self.chance.random() < 0.5).data == data

    def manage(self) -> None:
        """Task management; what it aborts has no answer."""
        assert self.session is not None
        function = self.chance.choice(
            (
                Tmf.ABORT_TASK,
                Tmf.ABORT_TASK,
                Tmf.ABORT_TASK_SET,
                Tmf.CLEAR_TASK_SET,
                Tmf.LUN_RESET,
                Tmf.WARM_RESET,
            )
        )
        self.world.resets += function in RESETS
        tasks = list(self.session.tasks.values())
        victim = self.chance.choice(tasks) if tasks and function == Tmf.ABORT_TASK else None
        more = {"task": victim} if victim else {}
        try:
            answer = self.session.manage(function, **more)
        finally:
            self.world.resets += function in RESETS
        assert answer in (Answered.COMPLETE, Answered.NO_TASK), f"{function!r}: {answer}"
        # What it was about has been answered by now, or is not any more.
        gone = [victim] if victim else [task for task in tasks if self.affected(function, task)]
        gone = [task for task in gone if not task.done]
        struck = victim and self.since.get(victim.itt) != self.world.resets
        assert answer == Answered.COMPLETE or not gone or struck, "no such task, and it had no answer"
        for task in gone:
            del self.session.tasks[task.itt]
        for at, data, task in list(self.writes.values()):
            if task in gone:
                self.sure[at].add(data)
                del self.writes[task.itt]
        self.reads = [task for task in self.reads if task not in gone]

    @staticmethod
    def affected(function: Tmf, task: Task) -> bool:
        """A command to which a function without a tag applies."""
        return function == Tmf.WARM_RESET or (function != Tmf.ABORT_TASK and task.lun == bytes(8))

    # --- steps ---

    STEPS: tuple[tuple[int, str], ...] = (
        (30, "write"), (20, "read"), (15, "look"), (10, "settle"), (6, "ping"), (6, "manage"),
        (3, "log_in"), (3, "log_out"), (2, "go"), (2, "reset"), (2, "half"),
    )  # fmt: skip

    def step(self) -> None:
        """One."""
        if self.session is None:
            self.did("login")
            self.log_in()
            return
        weights, names = zip(*self.STEPS, strict=True)
        (name,) = self.chance.choices(names, weights)
        self.did(name)
        try:
            if len(self.writes) + len(self.reads) > 12:
                self.settle()
            getattr(self, name)()
        except LOST:
            if self.session is not None:
                assert self.cut, "a session ended, and nobody ended it"
                self.did("lost")
                self.away()

    def did(self, name: str) -> None:
        """Count it."""
        self.world.did[name] += 1

    def end(self) -> None:
        """All that was acknowledged is there."""
        self.log_in()
        for at in sorted(self.sure):
            self.check(at)
        self.away()


class Administrator:
    """Who changes things under them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = random.Random(SEED)

    def drop(self) -> None:
        """A session, whichever."""
        with suppress(OSError, IndexError):
            folder = self.chance.choice(iscsi.sessions(self.world.target.name))
            tsih = int(iscsi.value(folder, "tsih"))
            self.world.dropped.add(int(iscsi.value(folder, "peer").rpartition(":")[2]))
            iscsi.drop(tsih)

    def disable(self) -> None:
        """The target, for a moment."""
        self.world.disabling = True
        self.world.target.enable(False)
        time.sleep(self.chance.random() * 0.1)
        self.world.target.enable()
        self.world.disabled += 1
        self.world.disabling = False

    def luns(self) -> None:
        """One comes and goes."""
        self.world.target.luns.map(2, self.world.null)
        time.sleep(0.02)
        self.world.target.luns.unmap(2)

    def slow(self) -> None:
        """Some commands take longer from here on; or no more."""
        fault = Fault("slow")
        fault.enable(fault.get("enabled") == "0")

    def kill(self) -> None:
        """The daemon dies, whatever it is about, and another comes.

        Whoever has seen one die is let in by the next: on a machine of any speed nobody waits for ever.
        """
        came = list(self.world.waiting.values())
        if reachable() and min(came, default=self.world.daemons) == self.world.daemons:
            self.world.daemon.kill()
            self.world.daemons += 1
            self.world.daemon = Daemon()
            self.world.did["killed"] += 1

    ACTS: tuple[tuple[int, str], ...] = ((10, "drop"), (3, "disable"), (6, "luns"), (5, "slow"), (1, "kill"))

    def run(self) -> None:
        """Until the initiators have done their steps."""
        weights, names = zip(*self.ACTS, strict=True)
        while not self.world.ended.wait(self.chance.random() * 0.4):
            assert self.world.daemon.process.poll() is None, "the daemon has ended by itself"
            (name,) = self.chance.choices(names, weights)
            self.world.did[name] += 1
            getattr(self, name)()


@pytest.fixture
def world(clean_tree: None, tmp_path: Path) -> Iterator[World]:
    """A target that all may use, and a daemon."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(INITIATORS * MINE * 512))
    target = iscsi.Target(iscsi.NAME)
    target.make()
    null = tree.nullio("null")
    target.luns.map(0, tree.fileio("disk", path))
    target.luns.map(1, null)
    Fault("slow").make(action="delay", delay_ms=DELAY_MS, probability=300)
    portal(target)
    target.enable()
    made = World(target, null, Daemon())
    try:
        tree.wait_for("a portal", listening, PATIENCE)
        yield made
    finally:
        made.daemon.stop()
    iscsi.wait_sessions(0)
    path.unlink()


def guarded(world: World, who: str, act: Callable[[], None]) -> None:
    """What goes wrong in a thread ends everything."""
    try:
        act()
    except BaseException as error:
        world.wrong.append(f"{who}: {error!r}")
        world.ended.set()


def test_many_and_anything(world: World) -> None:
    """See the file's description."""
    print(f"seed {SEED}, {STEPS} steps")
    initiators = [Initiator(world, number) for number in range(INITIATORS)]

    def live(one: Initiator) -> None:
        for _ in range(STEPS // INITIATORS):
            if world.ended.is_set():
                return
            try:
                one.step()
            except BaseException as error:
                said = one.session.log[-30:] if one.session else []
                print(f"initiator {one.number}, {error!r}", *said, sep="\n")
                raise

    threads = [
        threading.Thread(target=guarded, args=(world, f"initiator {one.number}", lambda one=one: live(one)))
        for one in initiators
    ]
    administrator = threading.Thread(target=guarded, args=(world, "administrator", Administrator(world).run))
    for thread in (*threads, administrator):
        thread.start()
    for thread in threads:
        thread.join()
    world.ended.set()
    administrator.join()
    print(dict(world.did))
    try:
        assert not world.wrong, world.wrong
        for one in initiators:
            one.end()
    finally:
        for one in initiators:
            if one.session is not None:
                one.session.close()
