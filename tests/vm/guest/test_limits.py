# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits of an initiator at a LUN: how much goes in a second, who waits and who does not, and that what waits
can be taken away.

A byte in a second, and commands of a block that wait, is more than a test waits for: who is answered was let
go. Where a rate is measured the burst is longer than this machine may stand still: what is missed is made
good.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pyscstadmin.kernel.sessions import SessionLun, read_sessions
from tests.model.pr import Action, Type
from tests.vm.guest import scsi, tree
from tests.vm.guest.fio import Fio, Result
from tests.vm.guest.long import more
from tests.vm.guest.pulse import pulse
from tests.vm.guest.script import Kind, Nexus, Response, Script, Target, Tmf, serve
from tests.vm.guest.test_aca import blocked, clear, fault
from tests.vm.guest.test_order import BLOCK, Attr, place, ready
from tests.vm.guest.test_reserve import good, register

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_local", "scst_script")

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
Pair = tuple[Nexus, Nexus]
MANY = 30
LONG = {"burst": 1000}
NAMES = ("read_iops", "write_iops", "read_bytes_per_sec", "write_bytes_per_sec")
OWN = tree.ROOT / "targets/script/t1/luns"
RESERVATION_CONFLICT = 0x18


def limit(luns: Path, lun: int = 0, **values: int) -> None:
    """Write limits of a mapping, in the order given."""
    for name, value in values.items():
        tree.write(luns / str(lun) / name, value)


@pytest.fixture
def pair(script: Script, make_file: MakeFile) -> Pair:
    """Two initiators at two disks, of which the first is limited to next to nothing."""
    nexuses = serve(script, tree.fileio("d0", make_file("d0", 1)), tree.nullio("d1", 64 << 20))
    limit(OWN, burst=1, read_bytes_per_sec=1, write_bytes_per_sec=1)
    return nexuses


def read(nexus: Nexus, lun: int = 0) -> int:
    return nexus.read10(0, 1, lun)


def write(nexus: Nexus, lba: int = 0) -> int:
    return nexus.write10(lba, BLOCK)


def waiting(nexus: Nexus, submit: Callable[[Nexus], int], count: int = MANY) -> list[int]:
    """So many commands wait; one before them did not."""
    assert nexus.answer(submit(nexus)).good
    commands = [submit(nexus) for _ in range(count)]
    assert place(commands[-1]) == "limited"
    return commands


def seen(initiator: str, lun: int = 0) -> SessionLun:
    """What the kernel says of a LUN of an initiator."""
    return next(s.luns[lun] for s in read_sessions() if s.initiator == initiator)


# --- how much ---


def local(device: tree.Device, **groups: dict[str, int]) -> dict[str, tree.Initiator]:
    """Initiators of driver local, each in a group of its own with these limits."""
    target = tree.Target("t0").make()
    for name, limits in groups.items():
        luns = target.group(name, name).luns
        luns.map(0, device)
        limit(luns.path, **limits)
    target.enable()
    return {name: target.login(name) for name in groups}


def measured(
    tmp_path: Path,
    disks: dict[str, Path],
    seconds: int,
    rates: dict[str, int] | None = None,
    **options: object,
) -> dict[str, Result]:
    """fio on all of them at the same time, when their bursts are over; *rates*: who does no more than that of
    his own accord.
    """
    settings = {"runtime": seconds, "ramp_time": 3, **options}
    runs = {
        name: Fio(tmp_path, disk, name, wait=False, rate_iops=(rates or {}).get(name), **settings)
        for name, disk in disks.items()
    }
    return {name: run.finish() for name, run in runs.items()}


class Window:
    """What an initiator does from now on, and how much of the time is given to this machine: one that stands
    still for long can not use a rate.
    """

    def __init__(self, initiator: tree.Initiator) -> None:
        self._initiator = initiator
        self._limited = self._waited()
        self._wall, self._commands = self._count()
        self._own = pulse.time()

    def _count(self) -> tuple[float, int]:
        """When there were how many commands; asked again if the asking took a while, as it may here."""
        while True:
            before = time.monotonic()
            commands = int(tree.read(self._initiator.session / "commands"))
            now = time.monotonic()
            if now - before < 0.1:
                return now, commands

    def _waited(self) -> int:
        return seen(self._initiator.name).limited

    @property
    def rate(self) -> float:
        """Commands per second."""
        now, commands = self._count()
        return (commands - self._commands) / (now - self._wall)

    def is_near(self, found: float, wanted: float) -> bool:
        """Within 5 %: never more, and not less but for what the machine was not given. Where commands did not
        have to wait it was the machine that had no more to give.
        """
        own = pulse.time() - self._own
        now, commands = self._count()
        share = min(1.0, own / (now - self._wall))
        commands -= self._commands
        limited = self._waited() - self._limited
        print(f"{found:g} of {wanted:g}; {limited} of {commands} have waited; there for {share:.0%}")
        return (limited < 0.9 * commands or 0.95 * share**2 * wanted <= found) and found <= 1.05 * wanted


def test_each_initiator_has_its_own_rate(tmp_path: Path) -> None:
    """At one LUN; and who has no limit has none."""
    device = tree.nullio("da")
    who = local(device, slow={"read_iops": 25, **LONG}, fast={"read_iops": 100, **LONG}, free={})
    disks = {name: initiator.disk(0) for name, initiator in who.items()}
    time.sleep(1)  # what looks at a disk that has come is not what is measured
    # He does not take all of this machine's time, or the others would be limited by that.
    windows = {name: Window(initiator) for name, initiator in who.items()}
    found = measured(tmp_path, disks, 10, {"free": 250}, rw="randread", iodepth=8)
    assert windows["slow"].is_near(found["slow"].reads, 250)
    assert windows["fast"].is_near(found["fast"].reads, 1000)
    assert found["free"].reads > 2 * found["slow"].reads
    assert found["free"].worst < found["slow"].worst
    assert seen("slow").limited > 0.9 * found["slow"].reads
    assert seen("slow").limited_us > 200_000 * 0.9 * found["slow"].reads
    assert seen("free").limited == 0


@pytest.mark.parametrize("way", ["write", *more("read")])
def test_bytes(tmp_path: Path, way: str) -> None:
    """Of the one way; the other is not limited."""
    device = tree.nullio("da")
    one = local(device, one={f"{way}_bytes_per_sec": 512 << 10, **LONG})["one"]
    disks = {"one": one.disk(0)}
    time.sleep(1)
    window = Window(one)
    found = measured(tmp_path, disks, 10, rw=f"rand{way}", bs="16k", iodepth=4)["one"]
    assert window.is_near(found.reads + found.writes, 10 * 32)
    was = seen("one").limited
    other = "write" if way == "read" else "read"
    free = measured(tmp_path, disks, 3, rw=f"rand{other}", bs="16k", iodepth=4)["one"]
    assert free.errors == 0
    assert free.reads + free.writes > 3 * 32
    assert seen("one").limited <= was + 8  # what looks at the disk reads, too


def test_changed_under_load(tmp_path: Path) -> None:
    """In force at once, for what waits as well; no command fails."""
    device = tree.nullio("da")
    one = local(device, one={"read_iops": 25, **LONG})["one"]
    luns = tree.ROOT / "targets/local/t0/groups/one/luns"

    def is_near(wanted: float, seconds: float = 5) -> bool:
        time.sleep(1.5)
        window = Window(one)
        time.sleep(seconds)
        return window.is_near(window.rate, wanted)

    with Fio(tmp_path, one.disk(0), rw="randread", iodepth=16) as fio:
        assert is_near(25)
        limit(luns, read_iops=100)
        assert is_near(100)
        limit(luns, read_iops=0, read_bytes_per_sec=50 * 4096)
        assert is_near(50)
        limit(luns, read_bytes_per_sec=0)
        was = int(tree.read(one.session / "commands"))
        tree.wait_for(
            "more than any of the limits",
            lambda: int(tree.read(one.session / "commands")) > was + 1000,
            10 * tree.SLOW,
        )
        limit(luns, read_iops=25)
        assert is_near(25)
        fio.stop()


def test_bursts_are_bounded(script: Script, pair: Pair) -> None:
    """At no time more than the burst and what the rate has given, and not less for long."""
    first, _ = pair
    limit(OWN, read_bytes_per_sec=0, read_iops=20, burst=500)
    time.sleep(1)
    begin, own = time.monotonic(), pulse.time()
    commands = [read(first) for _ in range(40)]
    answered: list[float] = []
    for number in commands:
        assert first.answer(number).good
        answered.append(time.monotonic() - begin)
        assert len(answered) <= 10 + 20 * answered[-1] + 1
    assert seen("first").limited >= 30 - 20 * 0.5
    assert pulse.time() - own < 1.5 + 1.0 * tree.SLOW


# --- who waits, and who does not ---


def test_nobody_else_waits(script: Script, pair: Pair) -> None:
    """Commands that move no data, the other way, another LUN, another initiator."""
    first, second = pair
    waiting(first, read)
    assert (seen("first").waiting, seen("second").waiting) == (MANY, 0)
    first.good(scsi.inquiry(), read=255)
    first.good(scsi.report_luns(256), read=256)
    assert first.test_unit_ready().good
    register((first, 1))
    assert first.answer(write(first)).good
    first.good(scsi.cdb10(0x35, 0, 0))  # SYNCHRONIZE CACHE
    assert first.answer(read(first, lun=1)).good
    assert second.answer(read(second)).good
    limit(OWN, read_bytes_per_sec=0)


def test_in_the_order_of_arrival(script: Script, pair: Pair) -> None:
    """HEAD OF QUEUE before all others; who comes when it could pass does not overtake."""
    first, _ = pair
    commands = waiting(first, read, 6)
    head = first.submit(scsi.read10(0, 1), read=512, attr=Attr.HEAD)
    limit(OWN, read_iops=10, read_bytes_per_sec=0)
    after = [read(first) for _ in range(4)]
    wanted = [head, *commands, *after]
    events = {number: script.wait(Kind.RESPONDED, number) for number in wanted}
    assert all(event.good for event in events.values())
    assert sorted(wanted, key=lambda number: events[number].seq) == wanted


def test_data_is_not_asked_for(script: Script, pair: Pair) -> None:
    """While a write waits nothing of it is here; and no limit makes it wait when its data has come."""
    first, _ = pair
    script.take(Kind.WANTS_DATA)
    commands = waiting(first, write)
    assert len(script.take(Kind.WANTS_DATA)) == 1
    limit(OWN, write_bytes_per_sec=0)
    for number in commands:
        assert first.answer(number).good


def test_ordered_waits_for_what_waits(script: Script, pair: Pair) -> None:
    first, _ = pair
    commands = waiting(first, read, 3)
    ordered = ready(first, Attr.ORDERED)
    assert place(ordered) == "order"
    limit(OWN, read_bytes_per_sec=0)
    events = {number: script.wait(Kind.RESPONDED, number) for number in (*commands, ordered)}
    assert max(events, key=lambda number: events[number].seq) == ordered
    assert all(event.good for event in events.values())


def test_who_is_alone_does_not_wait(script: Script, pair: Pair) -> None:
    """For a WRITE to its block that has not reached the medium; and the WRITE still does its work."""
    first, second = pair
    limit(OWN, read_bytes_per_sec=0)
    was = second.good(scsi.read10(0, 1), read=512)
    late = bytes([7]) * 512
    assert first.answer(write(first)).good
    commands = [first.write10(0, late) for _ in range(MANY)]
    assert place(commands[-1]) == "limited"
    first_block = second.good(scsi.read10(0, 1), read=512)
    assert first_block == BLOCK != was
    assert first.answer(read(first)).good
    second.good(scsi.compare_and_write(0, 1), write=first_block + bytes([9]) * 512)
    assert place(commands[-1]) == "limited"
    limit(OWN, write_bytes_per_sec=0)
    for number in commands:
        assert first.answer(number).good
    assert second.good(scsi.read10(0, 1), read=512) == late


def test_let_go_during_an_aca_condition(script: Script, pair: Pair) -> None:
    """They get their data, and are blocked then: nothing is written before the condition is over, and by what
    is aborted not at all.
    """
    first, second = pair
    limit(OWN, read_bytes_per_sec=0)
    assert first.answer(write(first)).good
    late = [first.write10(lba, bytes([7]) * 512) for lba in (0, 0, 1)]
    assert place(late[-1]) == "limited"
    was = second.good(scsi.read10(1, 1), read=512)
    fault(first)
    limit(OWN, write_bytes_per_sec=0)
    blocked(*late)
    assert first.manage(Tmf.ABORT_TASK, tag=late[-1]) is Response.COMPLETE
    assert second.good(scsi.read10(0, 1), read=512) == BLOCK
    clear(first)
    for number in late[:-1]:
        assert first.answer(number).good
    assert second.good(scsi.read10(0, 2), read=1024) == bytes([7]) * 512 + was


# --- taken away ---


def ended(nexus: Nexus, commands: list[int], status: int | None = None, aborted: bool = False) -> None:
    """All are answered, with this status; None, or if *aborted* some of them: aborted."""
    for number in commands:
        event = nexus.answer(number)
        aborts = event.aborted and (aborted or status is None)
        assert aborts or (event.status == status and not event.aborted), f"{event}"


@pytest.mark.parametrize("submit", [read, write])
def test_aborted(script: Script, pair: Pair, submit: Callable[[Nexus], int]) -> None:
    """One, in the middle of the line; then all."""
    first, _ = pair
    commands = waiting(first, submit)
    one = commands.pop(MANY // 2)
    assert first.manage(Tmf.ABORT_TASK, tag=one) == Response.COMPLETE
    ended(first, [one])
    assert place(commands[-1]) == "limited"
    assert first.manage(Tmf.ABORT_TASK_SET) == Response.COMPLETE
    ended(first, commands)
    assert seen("first").waiting == 0


def test_reset_by_another(script: Script, pair: Pair) -> None:
    first, second = pair
    commands = [*waiting(first, read), *waiting(first, write)]
    assert second.manage(Tmf.LUN_RESET) == Response.COMPLETE
    ended(first, commands)
    first.attentions()
    limit(OWN, read_bytes_per_sec=0)
    assert first.answer(read(first)).good


def test_logout(script: Script, pair: Pair) -> None:
    first, _ = pair
    waiting(first, read)
    waiting(first, write)
    first.close()
    first.gone()


def test_disabled_target(script: Script, pair: Pair) -> None:
    first, second = pair
    waiting(first, read)
    waiting(second, write)
    Target("t1").enable(False)


def settled() -> None:
    tree.wait_for(
        "nothing older is left",
        lambda: tree.read(tree.ROOT / "settled") == tree.read(tree.ROOT / "generation"),
    )


def test_revoked(script: Script, pair: Pair) -> None:
    """It has not begun, so it never does; and nobody waits for it."""
    first, _ = pair
    commands = [*waiting(first, read), *waiting(first, write)]
    Target("t1").luns.unmap(0)
    ended(first, commands, scsi.CHECK_CONDITION)
    settled()


def test_read_only(script: Script, pair: Pair) -> None:
    first, _ = pair
    reads, writes = waiting(first, read), waiting(first, write)
    tree.write(OWN / "0/read_only", True)
    ended(first, writes, scsi.CHECK_CONDITION)
    settled()
    assert place(reads[-1]) == "limited"
    limit(OWN, read_bytes_per_sec=0)


def test_parked(script: Script, pair: Pair) -> None:
    first, _ = pair
    commands = [*waiting(first, read), *waiting(first, write)]
    device = tree.Device("fileio", "d0")
    device.activate(False)
    ended(first, commands, scsi.CHECK_CONDITION)
    assert device.state == "parked"
    device.activate(True)


@pytest.mark.parametrize("action", [Action.PREEMPT, Action.PREEMPT_AND_ABORT])
def test_preempted(script: Script, pair: Pair, action: Action) -> None:
    """The fence does not wait for them."""
    first, second = pair
    register((first, 1), (second, 2))
    good(first, Action.RESERVE, 1, Type.WRITE_EXCLUSIVE)
    commands = waiting(first, write)
    good(second, action, 2, Type.WRITE_EXCLUSIVE, 1)
    ended(first, commands, RESERVATION_CONFLICT, action == Action.PREEMPT_AND_ABORT)


# --- the tree ---


@pytest.mark.parametrize("name", NAMES)
def test_values(script: Script, pair: Pair, name: str) -> None:
    """Each of them takes its numbers and nothing else, and says what it has."""
    file = OWN / "1" / name
    most = 10**8 if "iops" in name else 10**12
    assert tree.read(file) == "0"
    for value in (1, most, 0):
        tree.write(file, value)
        assert tree.read(file) == str(value)
    assert tree.errno_of(lambda: tree.write(file, most + 1)) == errno.ERANGE
    for wrong in ("", "-1", "1.5", "x", "1K"):
        assert tree.errno_of(lambda wrong=wrong: tree.write(file, wrong + "\n")) == errno.EINVAL  # type: ignore[misc]
    assert tree.read(file) == "0"


def test_burst_values(script: Script, pair: Pair) -> None:
    file = OWN / "1/burst"
    assert tree.read(file) == "100"
    for value in (1, 10000):
        tree.write(file, value)
        assert tree.read(file) == str(value)
    for wrong in (0, 10001):
        assert tree.errno_of(lambda wrong=wrong: tree.write(file, wrong)) == errno.ERANGE  # type: ignore[misc]


def test_table(script: Script, pair: Pair) -> None:
    """What is not as it is by default is in the table of LUNs."""
    table = (tree.ROOT / "targets/script/t1/lun_table").read_text()
    assert table.strip("\n") == "0 0 d0 read_bytes_per_sec=1 write_bytes_per_sec=1 burst=1\n1 0 d1"


def test_a_change_that_fails(script: Script, pair: Pair) -> None:
    """For want of memory: nothing of it is there, or in force."""
    first, _ = pair
    failed = 0
    for step in range(1, 20):
        tree.fail_commit(step)
        if not tree.errno_of(lambda: limit(OWN, 1, read_iops=1)):
            break
        failed += 1
        assert tree.read(OWN / "1/read_iops") == "0"
        for _ in range(3):
            assert first.answer(read(first, lun=1)).good
    tree.fail_commit(0)
    # Of the two sessions both limiters, and at least their views and the set of LUNs.
    assert failed >= 5
    assert seen("first", 1).read_iops == 1
