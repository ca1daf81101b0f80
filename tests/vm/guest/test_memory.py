# SPDX-License-Identifier: GPL-2.0-or-later
"""How much memory initiators can take: by what they announce, by what they move, and by being there.

Also for a small machine: ``make vm VMFLAGS="--memory 512" TEST=tests/vm/guest/test_memory.py``. ``SCST_SEED``
says in which order commands are sent; a failure names it.
"""

from __future__ import annotations

import gc
import itertools
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.vm.guest import scsi, tree
from tests.vm.guest.script import Event, Flag, Kind, Mode, Nexus, Plan, Script, Target, parameters, serve
from tests.vm.guest_plugin import KernelLog

SCST_MODULES = ("scst", "scst_nullio", "scst_local", "scst_script", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

SEED = int(os.environ.get("SCST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
KIB, MIB = 1 << 10, 1 << 20
SESSIONS = 64
ANNOUNCED = 0xFFFFFFFF
LARGEST = 4 * MIB  # the longest command, unless the driver says otherwise
LARGEST_BLOCKS = LARGEST // 512
# The kernel's account may be off by this, for each CPU.
BATCH = MIB * (os.cpu_count() or 1)
# Beside the data: commands in the scripted driver, events, whole pages for single blocks.
COMMANDS_ROOM = 24 * MIB
# What the allocators, and this program, may keep.
KEPT = 8 * MIB
HOSTS = 20
HOST_LIMIT = 300 * KIB
HOST_OTHERS = 140 * KIB  # structures, sense data and stacks: all but the chunks that commands are cut out of
# MemFree is known to some hundred KiB: pages kept for each CPU, slabs that are not full.
HOST_SLACK = 20 * KIB
EXHAUSTED = re.compile(r"oom-killer|Out of memory|page allocation failure")


def all_memory() -> dict[str, int]:
    """/proc/meminfo: what there is of each sort, in bytes."""
    rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return {row[0].rstrip(":"): int(row[1]) * KIB for row in rows}


def meminfo(*names: str) -> int:
    """The sum of some lines of /proc/meminfo in bytes."""
    values = all_memory()
    return sum(values[name] for name in names)


def more_than(before: dict[str, int]) -> str:
    """Which sorts of memory are more or less than they were, by a MiB at least."""
    changed = {name: (size - before[name]) // MIB for name, size in all_memory().items()}
    return ", ".join(f"{name} {mib:+d} MiB" for name, mib in changed.items() if mib)


def settle() -> None:
    """Give back what is only cached, or only not collected yet."""
    gc.collect()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")
    time.sleep(0.2)


def available() -> int:
    """What there is for others, but for programs: their memory comes and goes by huge pages."""
    return meminfo("MemAvailable", "AnonPages")


def settled() -> int:
    """The same without what is only cached."""
    settle()
    return available()


@contextmanager
def buffer_limit(size: int) -> Iterator[None]:
    """All targets together may use so much."""
    tree.write(tree.ROOT / "buffer_limit", size)
    try:
        yield
    finally:
        tree.write(tree.ROOT / "buffer_limit", 0)


def crowd(script: Script) -> list[Nexus]:
    """Many initiators of a device that lends nothing, with no attention pending."""
    with parameters(stable=1):
        serve(script, tree.nullio("n"))
    found = [script.login(Target("t1"), f"initiator{number}") for number in range(SESSIONS)]
    for nexus in found:
        nexus.attentions()
    return found


# --- what is announced ---


@dataclass(frozen=True, slots=True)
class Sort:
    """A sort of command, which moves so many bytes; *memory*: it needs some; *write*: it waits for data."""

    name: str
    cdb: bytes
    moved: int
    memory: bool = True
    write: bool = False


SORTS = (
    Sort("TEST UNIT READY", scsi.test_unit_ready(), 0, memory=False),
    Sort("INQUIRY", scsi.inquiry(36), 36),
    Sort("READ(10)", scsi.read10(0, 1), 512),
    Sort("WRITE(10)", scsi.write10(0, 1), 512, write=True),
    Sort("READ(16)", scsi.read16(0, LARGEST_BLOCKS), LARGEST),
    Sort("READ(16)", scsi.read16(0, LARGEST_BLOCKS), LARGEST),
    Sort("WRITE(16)", scsi.write16(0, LARGEST_BLOCKS), LARGEST, write=True),
    Sort("WRITE(16)", scsi.write16(0, LARGEST_BLOCKS), LARGEST, write=True),
)
HELD_READ = Plan(response_mode=Mode.HOLD, flags=Flag(0))
HELD_WRITE = Plan(data_mode=Mode.HOLD, flags=Flag(0))
UNHELD = Plan(flags=Flag(0))


class Flood:
    """Commands that announce 4 GiB and stay."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.sorts: dict[int, Sort] = {}
        self.answers: dict[int, Event] = {}
        self.waiting: set[int] = set()  # writes, for their data

    def send(self, nexus: Nexus, sort: Sort) -> None:
        """One of them."""
        plan, data = (HELD_WRITE, b"") if sort.write else (HELD_READ, None)
        number = nexus.submit(sort.cdb, write=data, plan=plan, expected=ANNOUNCED)
        self.sorts[number] = sort

    def take(self) -> None:
        """What has happened so far."""
        self.answers.update((event.id, event) for event in self.script.take(Kind.RESPONDED))
        self.waiting.update(event.id for event in self.script.take(Kind.WANTS_DATA))

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something to happen."""

        def happened() -> bool:
            self.take()
            return condition()

        tree.wait_for(what, happened, 30)

    def held(self) -> int:
        """Bytes that are in use, when each is answered or waits for its data."""
        good = {number for number, event in self.answers.items() if event.status == scsi.GOOD}
        return sum(self.sorts[number].moved for number in good | self.waiting)

    def let_go(self) -> None:
        """Every command to its end."""
        for number in self.waiting:
            self.script.data(number)
        self.wait(lambda: len(self.answers) == len(self.sorts), "all answers")
        for number, sort in self.sorts.items():
            if not sort.write:
                self.script.respond(number)

    def check(self) -> int:
        """Each was answered rightly; returns how many were refused."""
        refused = 0
        for number, sort in self.sorts.items():
            answer = self.answers[number]
            if answer.status == scsi.TASK_SET_FULL and sort.memory:
                refused += 1
                continue
            assert answer.good, f"SCST_SEED={SEED}: {sort.name}: {answer}"
            moved = (answer.len, answer.residual)
            assert moved == (sort.moved, ANNOUNCED - sort.moved), f"SCST_SEED={SEED}: {sort.name}: {moved}"
        return refused


def test_flood(script: Script, kernel_log: KernelLog) -> None:
    """64 initiators announce 4 GiB with each of 8 commands that stay: memory is taken up to the limit only.

    The limit is an eighth of the machine's memory, 96 MiB at most. What is available does not fall by more
    than that, the error of the account, and room for the commands themselves.
    """
    limit = min(meminfo("MemTotal") // 8, 96 * MIB)
    nexuses = crowd(script)
    order = [(nexus, sort) for nexus in nexuses for sort in SORTS]
    random.Random(SEED).shuffle(order)
    before, sorts = settled(), all_memory()
    floor = before - limit - BATCH - COMMANDS_ROOM
    flood, lowest = Flood(script), before
    with buffer_limit(limit):
        for at, (nexus, sort) in enumerate(order):
            flood.send(nexus, sort)
            if at % 8 == 0:
                lowest = min(lowest, available())
        flood.wait(
            lambda: len(flood.answers.keys() | flood.waiting) == len(order), "each command to be answered"
        )
        lowest, held = min(lowest, available()), flood.held()
        flood.let_go()
        refused = flood.check()
    print(
        f"SCST_SEED={SEED}: MemTotal {meminfo('MemTotal') // MIB} MiB, limit {limit // MIB} MiB, "
        f"held {held // MIB} MiB, available {before // MIB} MiB, at the lowest {lowest // MIB} MiB "
        f"(floor {floor // MIB} MiB), {refused} of {len(order)} refused"
    )
    assert lowest >= floor
    assert limit - LARGEST - BATCH <= held <= limit + BATCH
    assert refused > 0
    try:
        tree.wait_for("memory to return", lambda: settled() >= before - KEPT)
    except AssertionError as error:
        raise AssertionError(f"{error}: {more_than(sorts)}") from None
    exhausted = [line for line in kernel_log.read() if EXHAUSTED.search(line)]
    assert exhausted == []


# --- the largest command ---


def test_the_largest_fits_where_nothing_is_in_use(script: Script) -> None:
    """With a limit below it: one in each session, one after the other."""
    nexuses = crowd(script)
    with buffer_limit(1):
        for nexus in nexuses:
            answer = nexus.command(scsi.read16(0, LARGEST_BLOCKS), read=LARGEST, plan=UNHELD)
            assert answer.good, f"{nexus.name}: {answer}"
            answer = nexus.command(scsi.write16(0, LARGEST_BLOCKS), write=b"", plan=UNHELD, expected=LARGEST)
            assert answer.good, f"{nexus.name}: {answer}"


def test_the_largest_fits_in_each_session(script: Script) -> None:
    """One in each session at the same time, and no second one, when a session may have no more than that."""
    nexuses = crowd(script)[:8]
    tree.write(Target("t1").path / "session_buffer_limit", LARGEST)
    cdb = scsi.read16(0, LARGEST_BLOCKS)
    numbers = [(nexus, nexus.submit(cdb, read=LARGEST, plan=HELD_READ)) for nexus in nexuses * 2]
    statuses = [script.wait(Kind.RESPONDED, number).status for _, number in numbers]
    assert statuses == [scsi.GOOD] * len(nexuses) + [scsi.TASK_SET_FULL] * len(nexuses)
    script.let_go()


def on_cpu(cpu: int, action: Callable[[], object]) -> None:
    """Do something on a CPU."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        action()
    finally:
        os.sched_setaffinity(0, usual)


@pytest.mark.skipif(os.cpu_count() == 1, reason="one CPU has nothing to disagree with")
def test_accounts_that_are_settled_on_other_cpus(script: Script) -> None:
    """What was taken on one CPU and returned on another is returned: an idle target refuses nothing."""
    size = 640 * KIB
    with parameters(stable=1, max_xfer=MIB):
        first, second = serve(script, tree.nullio("n"))
    tree.write(Target("t1").path / "session_buffer_limit", 0)
    tree.write(Target("t1").path / "buffer_limit", MIB)
    numbers: list[int] = []

    def read() -> None:
        numbers.append(first.submit(scsi.read10(0, size // 512), read=size, plan=HELD_READ))

    on_cpu(0, read)
    on_cpu(0, read)
    for cpu, number in enumerate(numbers):
        assert script.wait(Kind.RESPONDED, number).status in (scsi.GOOD, scsi.TASK_SET_FULL)
        on_cpu(cpu, lambda number=number: script.respond(number))  # type: ignore[misc]
        script.wait(Kind.RELEASED, number)
    for nexus in (first, second):
        answer = nexus.command(scsi.read10(0, MIB // 512), read=MIB, plan=UNHELD)
        assert answer.good, str(answer)


# --- initiators of this machine ---


def memory_in_use() -> tuple[int, int]:
    """Of the kernel's: all of it, and that part which is slabs and stacks."""
    settle()
    others = meminfo("MemFree", "AnonPages", "Cached", "Buffers")
    return meminfo("MemTotal") - others, meminfo("Slab", "KernelStack")


def test_what_a_host_costs() -> None:
    """Three times 20 initiators without LUNs, on 2 CPUs: 300 KiB each, in the median.

    None logs out meanwhile, because not all that is freed is free at once.
    """
    target = tree.Target("t1").make()
    target.enable()
    target.login("warm")  # what only the first one needs
    samples = [memory_in_use()]
    for batch in range(3):
        for number in range(HOSTS):
            target.login(f"host{batch}-{number}")
        samples.append(memory_in_use())
    costs = [
        ((after[0] - before[0]) // HOSTS, (after[1] - before[1]) // HOSTS)
        for before, after in itertools.pairwise(samples)
    ]
    print(f"a host: {', '.join(f'{cost / KIB:.0f} KiB ({others / KIB:.0f})' for cost, others in costs)}")
    cost, others = (sorted(values)[1] for values in zip(*costs, strict=True))
    assert others <= HOST_OTHERS + HOST_SLACK
    assert cost <= HOST_LIMIT + HOST_SLACK
