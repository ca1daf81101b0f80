# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults that are injected on purpose: whom they strike and whom not, and that what they hold can be ended.

A command that is dropped, or delayed by ten minutes, is more than a test waits for: who is answered was let
go.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pyscstadmin.kernel.recorder import read_records
from pyscstadmin.kernel.sessions import read_sessions
from tests.model.chance import choices
from tests.model.pr import Action, Type
from tests.vm import guest_plugin
from tests.vm.guest import copying, scsi, tree
from tests.vm.guest.fault import Fault
from tests.vm.guest.long import more
from tests.vm.guest.script import Event, Kind, Nexus, Response, Script, Target, Tmf
from tests.vm.guest.test_copy_stop import name_of
from tests.vm.guest.test_limits import ended, settled
from tests.vm.guest.test_order import BLOCK, Attr, place, ready
from tests.vm.guest.test_reserve import good, register
from tests.vm.guest.tracefs import tracing

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_local", "scst_script")

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
BUSY, TASK_SET_FULL, CONFLICT = 0x08, 0x28, 0x18
TEN_MINUTES = 600_000
READ_ERROR = (0x3, 0x11, 0x00)
# A group of the name that others would take for all groups.
GROUP = "any"


def inject(**settings: object) -> Fault:
    """A fault in force."""
    return Fault("f").make(**settings).enable()


@dataclass(frozen=True, slots=True)
class Rig:
    """Two initiators at the same two disks: *first* in a group, *second* in none."""

    first: Nexus
    second: Nexus
    target: tree.Target
    group: tree.Group

    @property
    def all(self) -> Iterator[tuple[Nexus, int]]:
        """Both at both."""
        return itertools.product((self.first, self.second), (0, 1))


@pytest.fixture
def rig(script: Script, make_file: MakeFile) -> Rig:
    disks = tree.fileio("d0", make_file("d0", 1)), tree.nullio("d1", 64 << 20)
    target = Target("t1").make()
    group = target.group(GROUP, "first")
    for luns, (lun, disk) in itertools.product((target.luns, group.luns), enumerate(disks)):
        luns.map(lun, disk)
    target.enable()
    made = Rig(script.login(target, "first"), script.login(target, "second"), target, group)
    for nexus, lun in made.all:
        nexus.attentions(lun)
    return made


def read(nexus: Nexus, lun: int = 0) -> int:
    return nexus.read10(0, 1, lun)


def write(nexus: Nexus, lun: int = 0) -> int:
    return nexus.write10(0, BLOCK, lun)


def struck(rig: Rig, submit: Callable[[Nexus, int], int] = read) -> set[tuple[str, int]]:
    """Who is answered BUSY, by whom and where; the others are well."""
    found = set()
    for nexus, lun in rig.all:
        event = nexus.answer(submit(nexus, lun))
        assert event.good or event.status == BUSY, f"{event}"
        if not event.good:
            found.add((nexus.name, lun))
    return found


def held(*commands: int) -> None:
    """They are held by a fault."""
    tree.wait_for("all to be held", lambda: all(place(number) == "fault" for number in commands))


# --- what ---


@pytest.mark.parametrize(
    ("settings", "status", "sense"),
    [
        ({"action": "busy"}, BUSY, None),
        ({"action": "task_set_full"}, TASK_SET_FULL, None),
        ({"action": "sense"}, scsi.CHECK_CONDITION, READ_ERROR),
        ({"action": "sense", "sense": "b/4B/0"}, scsi.CHECK_CONDITION, (0xB, 0x4B, 0x00)),
    ],
)
def test_answers(
    script: Script, rig: Rig, settings: dict[str, str], status: int, sense: tuple[int, int, int] | None
) -> None:
    """It is told as what it is; nothing is written, and nobody else sees it."""
    was = rig.second.good(scsi.read10(0, 1), read=512)
    assert was != BLOCK
    fault = Fault("f").make(target="script/t1", group=GROUP, lun=0, **settings)
    assert rig.first.answer(read(rig.first)).good
    with tracing() as trace:
        trace.enable()
        fault.enable()
        events = [rig.first.answer(submit(rig.first)) for submit in (read, write, read)]
        fault.enable(False)
        told = [event.fields for event in trace.events() if event.name == "cmd_fault"]
    assert [(event.status, event.sense, event.len) for event in events] == [(status, sense, 0)] * 3
    assert [(one["fault"], one["action"]) for one in told] == [("f", settings["action"])] * 3
    assert fault.hits == 3
    assert rig.first.good(scsi.read10(0, 1), read=512) == was
    records = [one for one in read_records() if one.device == "d0" and one.place == "fault"]
    assert {(one.kind, one.what, one.times) for one in records} == {
        ("failed", "READ(10)", 2),
        ("failed", "WRITE(10)", 1),
    }


def test_the_log_says_so_once(script: Script, rig: Rig) -> None:
    """When it comes into force, when it has struck as often as it was to, and when it ends."""
    fault = Fault("loud").make(target="script/t1", count=2).enable()
    for _ in range(5):
        rig.first.answer(read(rig.first))
    fault.enable(False)
    lines = [line for line in guest_plugin.command("dmesg").splitlines() if "fault loud: " in line]
    assert [line.partition("fault loud: ")[2] for line in lines] == [
        "in force: busy, target script/t1, group *, LUN *, 1000 per mille",
        "has struck as often as it was to",
        "ended, has struck 2 commands",
    ]


def test_a_real_failure_is_another_record(script: Script, rig: Rig) -> None:
    """Though it is the same sense data of the same command."""
    fault = inject(action="sense", sense="5/21/00")
    beyond = scsi.read10(1 << 20, 1)
    assert rig.first.command(scsi.read10(0, 1), read=512).sense == (0x5, 0x21, 0x00)
    fault.enable(False)
    assert rig.first.command(beyond, read=512).sense == (0x5, 0x21, 0x00)
    records = [one for one in read_records() if one.device == "d0" and one.kind == "failed"]
    assert sorted((one.place == "fault", one.times) for one in records[-2:]) == [(False, 1), (True, 1)]


def test_what_would_be_refused_is_refused(script: Script, rig: Rig) -> None:
    """Attentions and errors of the CDB are told first, and are no hits."""
    fault = inject(group=GROUP, lun=0)
    assert rig.second.manage(Tmf.LUN_RESET) == Response.COMPLETE
    assert rig.first.command(scsi.read10(0, 1), read=512).sense == (0x6, 0x29, 0x03)
    assert rig.first.command(scsi.read10(1 << 20, 1), read=512).sense == (0x5, 0x21, 0x00)
    assert fault.hits == 0
    assert rig.first.answer(read(rig.first)).status == BUSY
    assert fault.hits == 1


def test_delayed(script: Script, rig: Rig) -> None:
    """At least so long; then it is done. Who is delayed for less overtakes."""
    slow = Fault("slow").make(action="delay", delay_ms=TEN_MINUTES, commands="reads").enable()
    Fault("quick").make(action="delay", delay_ms=300, commands="writes").enable()
    reads = [read(rig.first)]
    began = time.monotonic()
    number = write(rig.first)
    reads.append(read(rig.first))
    assert rig.first.answer(number).good
    assert time.monotonic() - began >= 0.3
    held(*reads)
    slow.enable(False)
    for number in reads:
        assert rig.first.answer(number).good
    assert slow.hits == 2
    assert rig.second.good(scsi.read10(0, 1), read=512) == BLOCK


def test_dropped(script: Script, rig: Rig) -> None:
    """Its data is not asked for; other commands go by; the end of the fault lets it go on."""
    was = rig.second.good(scsi.read10(0, 1), read=512)
    fault = inject(action="drop", commands="writes", group=GROUP)
    script.take(Kind.WANTS_DATA)
    number = write(rig.first)
    held(number)
    assert rig.first.good(scsi.read10(0, 1), read=512) == was
    assert rig.first.manage(Tmf.QUERY_TASK, tag=number) == Response.SUCCEEDED
    assert not script.take(Kind.WANTS_DATA)
    fault.enable(False)
    assert rig.first.answer(number).good
    assert rig.second.good(scsi.read10(0, 1), read=512) == BLOCK
    assert fault.hits == 1


# --- whom ---


EVERYBODY = {("first", 0), ("first", 1), ("second", 0), ("second", 1)}


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, EVERYBODY),
        ({"target": "script/t1"}, EVERYBODY),
        ({"target": "script/t"}, set()),
        ({"target": "local/t1"}, set()),
        ({"target": "scriptport/t1"}, set()),
        ({"group": GROUP}, {("first", 0), ("first", 1)}),
        ({"group": "-"}, {("second", 0), ("second", 1)}),
        ({"group": "other"}, set()),
        ({"lun": 1}, {("first", 1), ("second", 1)}),
        ({"target": "script/t1", "group": GROUP, "lun": 1}, {("first", 1)}),
    ],
)
def test_whom(script: Script, rig: Rig, settings: dict[str, object], wanted: set[tuple[str, int]]) -> None:
    """One target, one group, the initiators of none, one LUN; and nobody any more when it is over."""
    fault = inject(**settings)
    assert struck(rig) == wanted
    assert fault.hits == len(wanted)
    fault.enable(False)
    assert not struck(rig)
    fault.path.rmdir()


@pytest.mark.parametrize(
    ("commands", "wanted"),
    [
        ("all", {"read", "write", "ready", "luns", "inquiry", "sense"}),
        ("reads", {"read"}),
        ("writes", {"write"}),
        ("0x2a", {"write"}),
        ("0x00", {"ready"}),
        ("0x12", {"inquiry"}),
    ],
)
def test_which_commands(script: Script, rig: Rig, commands: str, wanted: set[str]) -> None:
    first = rig.first
    inject(commands=commands, lun=0, group=GROUP)
    events = {
        "read": first.answer(read(first)),
        "write": first.answer(write(first)),
        "ready": first.test_unit_ready(),
        "luns": first.command(scsi.report_luns(256), read=256),
        "inquiry": first.command(scsi.inquiry(), read=255),
        "sense": first.command(scsi.request_sense(), read=252),
    }
    assert {name for name, event in events.items() if event.status == BUSY} == wanted
    assert {name for name, event in events.items() if event.good} == events.keys() - wanted


def test_before_anything_is_there(script: Script, make_file: MakeFile) -> None:
    """Target, group and LUN come later: it strikes from the first command on."""
    fault = inject(target="script/t1", group="late", lun=3)
    disk = tree.nullio("d1", 64 << 20)
    target = Target("t1").make()
    group = target.group("late", "first", "third")
    target.enable()
    nexus = script.login(target, "first")
    group.luns.map(3, disk)
    group.luns.map(4, disk)
    nexus.attentions(4)
    assert nexus.command(scsi.inquiry(), 3, read=255).status == BUSY
    assert nexus.command(scsi.inquiry(), 4, read=255).good
    other = script.login(target, "third")
    assert other.command(scsi.inquiry(), 3, read=255).status == BUSY
    assert fault.hits == 2
    fault.enable(False)
    assert nexus.command(scsi.inquiry(), 3, read=255).good


def test_who_changes_his_group(script: Script, rig: Rig) -> None:
    """With the LUNs staying as they are: the fault does not concern him any more, and lets him go."""
    fault = inject(action="drop", group=GROUP, commands="reads")
    commands = [read(rig.first, lun) for lun in (0, 1)]
    held(*commands)
    rig.group.disclaim("first")
    for number in commands:
        assert rig.first.answer(number).good
    assert rig.first.answer(read(rig.first)).good
    rig.group.claim("first")
    last = read(rig.first)
    held(last)
    fault.path.rmdir()
    assert rig.first.answer(last).good


# --- chance ---


def pattern(nexus: Nexus, count: int) -> list[bool]:
    """Which of so many reads are struck."""
    return [nexus.answer(read(nexus)).status == BUSY for _ in range(count)]


def test_the_same_seed_the_same_choices(script: Script, rig: Rig) -> None:
    """Also when others, whom it does not concern, have commands in between."""
    fault = Fault("f").make(probability=300, seed=7, group=GROUP, commands="reads")
    wanted = list(itertools.islice(choices(7, 300), 40))
    assert {True, False} == set(wanted)
    for between in (False, True):
        fault.enable()
        found = []
        for _ in range(40):
            if between:
                assert rig.second.answer(read(rig.second)).good
                assert rig.first.answer(write(rig.first)).good
            found += pattern(rig.first, 1)
        assert found == wanted
        assert fault.hits == sum(wanted)
        fault.enable(False)
    tree.write(fault.path / "seed", 8)
    fault.enable()
    assert pattern(rig.first, 40) == list(itertools.islice(choices(8, 300), 40)) != wanted


def test_so_many_and_no_more(script: Script, rig: Rig) -> None:
    """Of all that it concerns, together; the last one that is dropped stays so; then from the beginning."""
    fault = inject(count=3)
    found = [nexus.answer(read(nexus)).status == BUSY for nexus in (rig.first, rig.second) * 3]
    assert found == [True] * 3 + [False] * 3
    assert (fault.hits, fault.get("enabled")) == (3, "1")
    fault.enable(False)
    tree.write(fault.path / "action", "drop")
    tree.write(fault.path / "count", 1)
    fault.enable()
    assert fault.hits == 0
    number = read(rig.first)
    assert rig.second.answer(read(rig.second)).good
    held(number)
    fault.enable(False)
    assert rig.first.answer(number).good


def test_several_faults(script: Script, rig: Rig) -> None:
    """One at most strikes a command."""
    one = Fault("a").make(count=2).enable()
    two = Fault("b").make(action="task_set_full", count=2).enable()
    found = [rig.first.answer(read(rig.first)).status for _ in range(5)]
    assert found == [BUSY] * 2 + [TASK_SET_FULL] * 2 + [scsi.GOOD]
    assert (one.hits, two.hits) == (2, 2)


# --- what is held ends as everything does ---


HOLDING = [{"action": "drop"}, *more({"action": "delay", "delay_ms": TEN_MINUTES})]


@pytest.fixture(params=HOLDING, ids=lambda settings: settings["action"])
def holding(rig: Rig, request: pytest.FixtureRequest) -> Fault:
    """Commands of the first initiator are held."""
    return inject(group=GROUP, lun=0, **request.param)


def some(nexus: Nexus, *submits: Callable[[Nexus], int], count: int = 5) -> list[int]:
    """So many of each are held."""
    commands = [submit(nexus) for submit in submits for _ in range(count)]
    held(*commands)
    return commands


@pytest.mark.parametrize("submit", [read, write])
def test_aborted(script: Script, rig: Rig, holding: Fault, submit: Callable[[Nexus], int]) -> None:
    """One, in the middle; then all. The recorder says what held them."""
    commands = some(rig.first, submit)
    one = commands.pop(2)
    assert rig.first.manage(Tmf.ABORT_TASK, tag=one) == Response.COMPLETE
    ended(rig.first, [one])
    held(*commands)
    assert rig.first.manage(Tmf.ABORT_TASK_SET) == Response.COMPLETE
    ended(rig.first, commands)
    (record,) = (one for one in read_records() if one.device == "d0" and one.place == "fault")
    assert (record.answer, record.times) == ("TASK ABORTED", 5)


def test_reset_by_another(script: Script, rig: Rig, holding: Fault) -> None:
    commands = some(rig.first, read, write)
    assert rig.second.manage(Tmf.LUN_RESET) == Response.COMPLETE
    ended(rig.first, commands)
    holding.enable(False)
    rig.first.attentions()
    assert rig.first.answer(read(rig.first)).good


def test_logout(script: Script, rig: Rig, holding: Fault) -> None:
    some(rig.first, read, write)
    rig.first.close()
    rig.first.gone()
    assert rig.second.answer(read(rig.second)).good


def test_disabled_target(script: Script, rig: Rig, holding: Fault) -> None:
    some(rig.first, read, write)
    rig.target.enable(False)


def test_revoked(script: Script, rig: Rig, holding: Fault) -> None:
    """It has not begun, so it never does; and the fault can end when nobody has the LUN any more."""
    commands = some(rig.first, read, write)
    rig.group.luns.unmap(0)
    ended(rig.first, commands, scsi.CHECK_CONDITION)
    settled()
    holding.enable(False)


def test_read_only(script: Script, rig: Rig, holding: Fault) -> None:
    reads, writes = some(rig.first, read), some(rig.first, write)
    tree.write(rig.group.path / "luns/0/read_only", True)
    ended(rig.first, writes, scsi.CHECK_CONDITION)
    settled()
    held(*reads)
    holding.enable(False)
    for number in reads:
        assert rig.first.answer(number).good


def test_parked(script: Script, rig: Rig, holding: Fault) -> None:
    commands = some(rig.first, read, write)
    device = tree.Device("fileio", "d0")
    device.activate(False)
    ended(rig.first, commands, scsi.CHECK_CONDITION)
    assert device.state == "parked"
    device.activate(True)


@pytest.mark.parametrize("action", [Action.PREEMPT, *more(Action.PREEMPT_AND_ABORT)])
def test_preempted(script: Script, rig: Rig, action: Action) -> None:
    """The fence does not wait for them."""
    register((rig.first, 1), (rig.second, 2))
    good(rig.first, Action.RESERVE, 1, Type.WRITE_EXCLUSIVE)
    inject(action="drop", group=GROUP, commands="writes")
    commands = some(rig.first, write)
    good(rig.second, action, 2, Type.WRITE_EXCLUSIVE, 1)
    ended(rig.first, commands, CONFLICT, action == Action.PREEMPT_AND_ABORT)


def test_who_is_alone_does_not_wait(script: Script, rig: Rig, holding: Fault) -> None:
    """For a WRITE to its block that has not reached the medium."""
    was = rig.second.good(scsi.read10(0, 1), read=512)
    (number,) = some(rig.first, write, count=1)
    rig.second.good(scsi.compare_and_write(0, 1), write=was + bytes([9]) * 512)
    held(number)
    holding.path.rmdir()
    assert rig.first.answer(number).good
    assert rig.second.good(scsi.read10(0, 1), read=512) == BLOCK


def test_ordered_waits_for_what_is_held(script: Script, rig: Rig, holding: Fault) -> None:
    commands = some(rig.first, read, count=2)
    ordered = ready(rig.first, Attr.ORDERED)
    assert place(ordered) == "order"
    holding.enable(False)
    events = {number: script.wait(Kind.RESPONDED, number) for number in (*commands, ordered)}
    assert max(events, key=lambda number: events[number].seq) == ordered


def test_limits_come_after(script: Script, rig: Rig, holding: Fault) -> None:
    """What a fault lets go waits for what its nexus may do; its waiting is not that of a limit."""
    luns = rig.group.path / "luns/0"
    for name, value in (("burst", 1), ("read_bytes_per_sec", 1)):
        tree.write(luns / name, value)
    commands = some(rig.first, read, count=2)
    (seen,) = (one.luns[0] for one in read_sessions() if one.initiator == "first")
    assert (seen.waiting, seen.limited) == (0, 0)
    holding.enable(False)
    tree.wait_for("one of them to wait", lambda: {place(number) for number in commands} == {None, "limited"})
    tree.write(luns / "read_bytes_per_sec", 0)
    for number in commands:
        assert rig.first.answer(number).good


def test_a_copy_goes_on(script: Script, rig: Rig) -> None:
    """A fault that comes into force does not stop what has begun; and strikes no part of a copy."""
    names = [name_of(rig.first, lun) for lun in (1, 0)]
    inject(commands="0x83", action="delay", delay_ms=300)
    data = copying.parameters(names, [copying.segment(64, 0, 0)])
    copy = rig.first.submit(copying.extended_copy(len(data)), 0, write=data)
    held(copy)
    Fault("later").make().enable()
    assert rig.first.answer(copy).good


# --- the tree ---


def limited() -> list[bool]:
    """What the kernel says of the limits of all that is seen: is there one?"""
    return [bool((path / "limits").read_text()) for path in tree.CLASS.glob("session.*")]


def test_for_want_of_memory_nothing_happens(script: Script, rig: Rig) -> None:
    """Whichever step fails: it is not in force, and nobody is struck."""
    fault = Fault("f").make()
    failed = 0
    for step in range(1, 20):
        tree.fail_commit(step)
        if not tree.errno_of(fault.enable):
            break
        failed += 1
        assert fault.get("enabled") == "0"
        assert not struck(rig)
    # One for each initiator at each disk; what was made is kept.
    assert 1 <= failed <= 4
    assert struck(rig) == EVERYBODY
    assert not any(limited())


def test_a_commit_that_fails_under_a_fault(script: Script, rig: Rig) -> None:
    """A LUN that the fault concerns is there, with the fault, or it is not."""
    inject(lun=7)
    disk = tree.nullio("d2", 64 << 20)
    failed = 0
    (rig.group.path / "luns/7").mkdir()
    for step in range(1, 20):
        tree.fail_commit(step)
        if not tree.errno_of(lambda: (rig.group.path / "luns/7/device").symlink_to(disk.path)):
            break
        failed += 1
        assert rig.first.command(scsi.test_unit_ready(), 7).sense == (0x5, 0x25, 0x00)
    assert failed >= 4
    rig.first.attentions(0)
    assert rig.first.command(scsi.inquiry(), 7, read=255).status == BUSY
    assert rig.first.answer(read(rig.first)).good


def test_only_so_many(script: Script, rig: Rig) -> None:
    faults = [Fault(f"f{number}").make(count=1) for number in range(65)]
    for fault in faults[:64]:
        fault.enable()
    assert tree.errno_of(faults[64].enable) == errno.ENOSPC
    assert faults[64].get("enabled") == "0"
    assert pattern(rig.first, 65) == [True] * 64 + [False]
    faults[10].path.rmdir()
    faults[64].enable()
    assert pattern(rig.first, 2) == [True, False]


def test_races(script: Script, rig: Rig) -> None:
    """Faults come and go while commands run: each is answered, well or as a fault says, and none is lost."""
    fault = Fault("f").make(action="drop", probability=500)
    for round_ in range(30):
        fault.enable()
        numbers = [
            (nexus, submit(nexus)) for nexus in (rig.first, rig.second) for submit in (read, write) * 4
        ]
        if round_ % 3 == 0:
            rig.group.disclaim("first")
        fault.enable(False)
        numbers += [(nexus, read(nexus)) for nexus in (rig.first, rig.second)]
        assert all(_well(nexus.answer(number)) for nexus, number in numbers)
        if round_ % 3 == 0:
            rig.group.claim("first")


def _well(event: Event) -> bool:
    return event.good or event.sense == (0x6, 0x3F, 0x0E)


# --- as Linux has it ---


def first_block(disk: Path, flags: int = os.O_DIRECT) -> bytes:
    """As the unit has it. Raises OSError."""
    file = os.open(disk, os.O_RDONLY | flags)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(-1, 4096) as page:
            assert os.preadv(file, [page], 0) == 4096
            return page[:]
    finally:
        os.close(file)


def test_linux(make_file: MakeFile) -> None:
    """A medium error is EIO for who reads, ENODATA past the page cache; BUSY and TASK SET FULL are tried
    again, and nobody sees them.
    """
    path = make_file("d0", 1)
    target = tree.Target("t0").make()
    target.luns.map(0, tree.fileio("d0", path))
    target.enable()
    disk = target.login("here").disk(0)
    data = path.read_bytes()[:4096]
    assert first_block(disk) == data
    fault = Fault("f").make(target="local/t0", group="-", lun=0, commands="reads", action="sense").enable()
    assert tree.errno_of(lambda: first_block(disk)) == errno.ENODATA
    assert tree.errno_of(lambda: first_block(disk, 0)) == errno.EIO
    assert fault.hits >= 2
    for action in ("busy", "task_set_full"):
        fault.enable(False)
        tree.write(fault.path / "action", action)
        tree.write(fault.path / "count", 2)
        fault.enable()
        assert first_block(disk) == data
        assert fault.hits == 2
    fault.enable(False)
    assert first_block(disk) == data


def test_linux_gives_up(make_file: MakeFile) -> None:
    """Who waits in vain aborts what was dropped, and can go on; the recorder says what it was."""
    target = tree.Target("t0").make()
    target.luns.map(0, tree.fileio("d0", make_file("d0", 1)))
    target.enable()
    with tree.without_sd():
        node = target.login("here").sg(0)
    with scsi.opened(node) as (unit,):
        unit.attentions()
        fault = inject(action="drop", count=1, commands="0x28")
        answer = unit.command(scsi.read10(0, 1), read=512, seconds=1)
        assert answer.host_status != 0
        assert unit.good(scsi.read10(0, 1), read=512)
        assert fault.hits == 1
    records = [one for one in read_records() if one.device == "d0" and one.place == "fault"]
    assert {(one.what, one.answer) for one in records} == {("READ(10)", "TASK ABORTED")}
    assert "failed" in {one.kind for one in records}
