# SPDX-License-Identifier: GPL-2.0-or-later
"""Reservations: RESERVE and RELEASE, PERSISTENT RESERVE IN and OUT, as initiators see them.

What each command makes of a state is held against the model of the standard (tests/model/pr.py), through the
kernel's whole way of a command. What is here besides: what may pass, who hears of it and when, and that what
was preempted does not change the medium after the answer.
"""

from __future__ import annotations

import errno
import os
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.model import transport_id
from tests.model.pr import ANY_PROTOCOL, Action, Command, Outcome, Type, Unit
from tests.model.pr import Nexus as Port
from tests.unit.pr_kernel import crc, wire
from tests.vm import guest_plugin
from tests.vm.guest import scsi, tree
from tests.vm.guest.script import (
    HOLD_DATA,
    Event,
    Kind,
    Nexus,
    Response,
    Script,
    Target,
    Tmf,
)
from tests.vm.guest.test_recovery import Mapper, mapper

__all__ = ("mapper",)

SCST_MODULES = (
    "scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "scst_script",
    "sd_mod", "sg", "dm_mod",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
CONFLICT = 0x18
BLOCK = b"\xaa" * 512
MOMENT = 0.3
SEED = int(os.environ.get("SCST_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
STEPS = int(os.environ.get("SCST_PR_STEPS", "150"))
ATTENTIONS = {"2A/03": (6, 0x2A, 3), "2A/04": (6, 0x2A, 4), "2A/05": (6, 0x2A, 5)}
KEYS_IN, RESERVATION_IN, CAPABILITIES_IN, FULL_STATUS_IN = range(4)

RESERVE6, RELEASE6 = bytes([0x16, 0, 0, 0, 0, 0]), bytes([0x17, 0, 0, 0, 0, 0])
RESERVE10, RELEASE10 = bytes([0x56]) + bytes(9), bytes([0x57]) + bytes(9)


def persistent_in(action: int, room: int = 8192) -> bytes:
    """PERSISTENT RESERVE IN."""
    return bytes([0x5E, action, 0, 0, 0, 0, 0]) + room.to_bytes(2, "big") + b"\0"


def out(nexus: Nexus, command: Command) -> Event:
    """PERSISTENT RESERVE OUT and its answer."""
    cdb, data = wire(command)
    return nexus.command(cdb, write=data)


def register(*pairs: tuple[Nexus, int]) -> None:
    """Each registers a key."""
    for nexus, key in pairs:
        event = out(nexus, Command(Action.REGISTER, sa_key=key))
        assert event.good, f"{nexus.name}: {event}"


def good(nexus: Nexus, action: Action, key: int, kind: int = 0, sa_key: int = 0) -> None:
    """PERSISTENT RESERVE OUT that must succeed."""
    event = out(nexus, Command(action, type=kind, key=key, sa_key=sa_key))
    assert event.good, f"{nexus.name}: {action.name}: {event}"


def serve(script: Script, *devices: tree.Device, names: str = "abc", target: str = "t1") -> list[Nexus]:
    """Initiators that see these devices as LUNs from 0 on, with no attention pending."""
    made = Target(target).make()
    for lun, device in enumerate(devices):
        made.luns.map(lun, device)
    made.enable()
    return [login(script, made, name) for name in names]


def login(script: Script, target: tree.Target, name: str) -> Nexus:
    """An initiator logs in, and has heard of it."""
    nexus = script.login(target, name)
    nexus.attentions()
    return nexus


def what_passes(nexus: Nexus) -> str:
    """Which of probe, read and write pass: p, r, w."""
    cdbs = {
        "p": (scsi.test_unit_ready(), 0, None),
        "r": (scsi.read10(0, 1), 512, None),
        "w": (scsi.write10(0, 1), 0, BLOCK),
    }
    passes = ""
    for letter, (cdb, read, write) in cdbs.items():
        event = nexus.command(cdb, read=read, write=write)
        assert event.good or event.status == CONFLICT, str(event)
        passes += letter if event.good else ""
    return passes


# --- RESERVE and RELEASE ---


@pytest.mark.parametrize(
    ("reserve", "release"), [(RESERVE6, RELEASE6), (RESERVE10, RELEASE10)], ids=["6", "10"]
)
def test_reserve_and_release(script: Script, reserve: bytes, release: bytes) -> None:
    """One has it, the others get conflicts, and what nobody may be refused passes."""
    first, second, _ = serve(script, tree.nullio("n"))
    first.good(reserve)
    assert what_passes(first) == "prw"
    assert what_passes(second) == ""
    assert second.command(reserve).status == CONFLICT
    second.good(release)
    assert second.command(persistent_in(KEYS_IN), read=8192).status == CONFLICT
    assert out(first, Command(Action.REGISTER, sa_key=1)).status == CONFLICT
    second.good(scsi.inquiry(), read=255)
    second.good(scsi.report_luns(4096), read=4096)
    second.good(scsi.read_capacity10(), read=8)
    first.good(reserve)
    first.good(release)
    assert what_passes(second) == "prw"
    second.good(reserve)
    assert what_passes(first) == ""


def ends(script: Script, first: Nexus, second: Nexus, third: Nexus, how: str) -> None:
    """What ends the reservation of *first*."""
    if how == "logout":
        first.close()
        first.gone()
    elif how == "unmapped":
        Target("t1").luns.unmap(0)
        Target("t1").luns.map(0, tree.Device("nullio", "n"))
        for nexus in (second, third):
            nexus.attentions()
    elif how == "nexus lost":
        assert first.manage(Tmf.I_T_NEXUS_RESET) == Response.COMPLETE
    else:
        fn = Tmf.LUN_RESET if how == "reset" else Tmf.TARGET_RESET
        assert third.manage(fn) == Response.COMPLETE


@pytest.mark.parametrize("how", ["logout", "unmapped", "nexus lost", "reset", "target reset"])
def test_what_ends_a_reserve(script: Script, how: str) -> None:
    first, second, third = serve(script, tree.nullio("n"))
    first.good(RESERVE6)
    assert what_passes(second) == ""
    ends(script, first, second, third, how)
    second.attentions()
    assert what_passes(second) == "prw"


def test_two_paths_of_one_initiator_are_one_holder(script: Script) -> None:
    """It may use, and release, what it has reserved by another LUN."""
    device = tree.nullio("n")
    first, second, _ = serve(script, device, device)
    first.attentions(1)
    first.good(RESERVE6, lun=0)
    first.good(scsi.read10(0, 1), lun=1, read=512)
    assert what_passes(second) == ""
    first.good(RELEASE6, lun=1)
    assert what_passes(second) == "prw"


def test_conflict_goes_before_an_attention(script: Script) -> None:
    """And the attention is not lost by it."""
    first, second, _ = serve(script, tree.nullio("n"))
    register((first, 1), (second, 2))
    good(first, Action.PREEMPT_AND_ABORT, 1, sa_key=2)
    good(first, Action.RESERVE, 1, Type.WRITE_EXCLUSIVE)
    assert second.command(scsi.write10(0, 1), write=BLOCK).status == CONFLICT
    assert second.attentions() == [ATTENTIONS["2A/05"]]


# --- what may pass ---


PASSES = {
    Type.WRITE_EXCLUSIVE: ("prw", "pr", "pr"),
    Type.EXCLUSIVE_ACCESS: ("prw", "p", "p"),
    Type.WRITE_EXCLUSIVE_REGISTRANTS_ONLY: ("prw", "prw", "pr"),
    Type.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: ("prw", "prw", "p"),
    Type.WRITE_EXCLUSIVE_ALL_REGISTRANTS: ("prw", "prw", "pr"),
    Type.EXCLUSIVE_ACCESS_ALL_REGISTRANTS: ("prw", "prw", "p"),
}


@pytest.mark.parametrize("kind", Type, ids=lambda kind: kind.name.lower())
def test_what_passes(script: Script, kind: Type) -> None:
    """The holder, a registrant and a stranger; and all again when it is released."""
    nexuses = serve(script, tree.nullio("n"))
    holder, registrant, stranger = nexuses
    register((holder, 1), (registrant, 2))
    assert [what_passes(nexus) for nexus in nexuses] == ["prw"] * 3
    assert stranger.command(RESERVE6).status == CONFLICT
    good(holder, Action.RESERVE, 1, kind)
    assert tuple(what_passes(nexus) for nexus in nexuses) == PASSES[kind]
    holder.good(RESERVE6)  # says GOOD, and does nothing
    holder.good(RELEASE6)
    assert tuple(what_passes(nexus) for nexus in nexuses) == PASSES[kind]
    sense = stranger.command(scsi.start_stop(True))
    assert sense.good, "to start a unit is everybody's right"
    assert stranger.command(scsi.start_stop(False)).status == CONFLICT
    good(holder, Action.RELEASE, 1, kind)
    registrant.attentions()
    assert [what_passes(nexus) for nexus in nexuses] == ["prw"] * 3


def what_changes_passes(nexus: Nexus) -> tuple[bool, ...]:
    """Whether UNMAP, WRITE SAME (10) and (16), and GET LBA STATUS pass."""
    given_back = scsi.unmap_list((8, 8))
    events = (
        nexus.command(scsi.unmap(len(given_back)), write=given_back),
        nexus.command(scsi.write_same10(0, 8), write=BLOCK),
        nexus.command(scsi.write_same16(0, 8), write=BLOCK),
        nexus.command(scsi.get_lba_status16(0), read=264),
    )
    assert all(event.good or event.status == CONFLICT for event in events), [str(event) for event in events]
    return tuple(event.good for event in events)


def test_what_passes_of_a_thin_unit(script: Script, make_file: MakeFile) -> None:
    """What gives blocks back, or writes many at once, is a write; where they are is something to read."""
    nexuses = serve(script, tree.fileio("thin", make_file("thin", 1), thin=1))
    holder, registrant, stranger = nexuses
    register((holder, 1), (registrant, 2))
    everything, nothing, status = (True,) * 4, (False,) * 4, (False, False, False, True)
    good(holder, Action.RESERVE, 1, Type.WRITE_EXCLUSIVE)
    assert [what_changes_passes(nexus) for nexus in nexuses] == [everything, status, status]
    good(holder, Action.RELEASE, 1, Type.WRITE_EXCLUSIVE)
    good(holder, Action.RESERVE, 1, Type.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY)
    assert [what_changes_passes(nexus) for nexus in nexuses] == [everything, everything, nothing]
    good(holder, Action.CLEAR, 1)
    for nexus in (registrant, stranger):
        nexus.attentions()
    stranger.good(RESERVE6)
    assert [what_changes_passes(nexus) for nexus in nexuses] == [nothing, nothing, everything]


def test_registration_outlives_logout(script: Script) -> None:
    """Who comes back by the same port is who he was; another port of the target is another nexus."""
    device = tree.nullio("n")
    first, second, _ = serve(script, device)
    register((first, 1))
    good(first, Action.RESERVE, 1, Type.EXCLUSIVE_ACCESS)
    first.close()
    first.gone()
    assert what_passes(second) == "p"
    again = login(script, Target("t1"), "a")
    assert what_passes(again) == "prw"
    (elsewhere,) = serve(script, device, names="a", target="t2")
    assert what_passes(elsewhere) == "p"
    good(again, Action.RELEASE, 1, Type.EXCLUSIVE_ACCESS)
    assert what_passes(elsewhere) == "prw"


def test_resets_do_not_end_it(script: Script) -> None:
    first, second, _ = serve(script, tree.nullio("n"))
    register((first, 1))
    good(first, Action.RESERVE, 1, Type.EXCLUSIVE_ACCESS)
    for fn in (Tmf.LUN_RESET, Tmf.TARGET_RESET, Tmf.I_T_NEXUS_RESET):
        assert first.manage(fn) == Response.COMPLETE
        first.attentions()
        second.attentions()
        assert what_passes(second) == "p", fn.name
        assert what_passes(first) == "prw", fn.name


def test_disabled_device_forgets(script: Script) -> None:
    """Nothing is kept that was not asked to be kept."""
    device = tree.nullio("n")
    first, second, _ = serve(script, device)
    register((first, 1))
    good(first, Action.RESERVE, 1, Type.EXCLUSIVE_ACCESS)
    device.activate(False)
    assert out(second, Command(Action.REGISTER, sa_key=2)).good, "a parked unit is one"
    device.activate()
    second.attentions()
    assert what_passes(second) == "p"
    Target("t1").luns.unmap(0)
    device.enable(False)
    device.enable()
    Target("t1").luns.map(0, device)
    second.attentions()
    assert what_passes(second) == "prw"
    assert second.good(persistent_in(KEYS_IN), read=8192) == bytes(8)


def test_read_only_mapping_reserves_nothing(script: Script) -> None:
    """Who may not write keeps nobody else from it."""
    target = Target("t1").make()
    target.luns.map(0, tree.nullio("n"))
    tree.write(target.luns.path / "0/read_only", 1)
    target.enable()
    nexus = login(script, target, "a")
    assert nexus.command(RESERVE6).sense == scsi.WRITE_PROTECTED
    assert out(nexus, Command(Action.REGISTER, sa_key=1)).sense == scsi.WRITE_PROTECTED
    nexus.good(persistent_in(KEYS_IN), read=8192)


def test_lists_that_are_too_short(script: Script) -> None:
    first, _, _ = serve(script, tree.nullio("n"))
    cdb, data = wire(Command(Action.REGISTER, sa_key=1))
    assert first.command(cdb, write=data[:20]).sense == scsi.LIST_LENGTH
    short = cdb[:5] + (20).to_bytes(4, "big") + cdb[9:]
    assert first.command(short, write=data[:20]).sense == scsi.LIST_LENGTH
    none = cdb[:5] + bytes(4) + cdb[9:]
    assert first.command(none).sense == scsi.LIST_LENGTH
    assert first.command(bytes([0x5F, 9]) + cdb[2:], write=data).sense == scsi.INVALID_FIELD_CDB
    assert first.good(persistent_in(KEYS_IN, 4), read=4) == bytes(4)
    first.good(persistent_in(KEYS_IN, 0))


# --- preempted commands ---


@pytest.mark.parametrize(
    "action", [Action.PREEMPT, Action.PREEMPT_AND_ABORT], ids=lambda action: action.name.lower()
)
def test_preempted_write_hangs(script: Script, mapper: Mapper, action: Action) -> None:
    """The answer comes after the end of a write that hangs in the back end, and of nothing else."""
    first, second, third = serve(script, tree.blockio("slow", mapper.node))
    register((first, 1), (second, 2))
    good(second, Action.RESERVE, 2, Type.WRITE_EXCLUSIVE_REGISTRANTS_ONLY)
    mapper.suspend()
    own, write = first.write10(16, BLOCK), second.write10(8, BLOCK)
    reads = second.read10(0, 1), third.read10(0, 1)
    time.sleep(MOMENT)
    cdb, data = wire(Command(action, type=Type.WRITE_EXCLUSIVE, key=1, sa_key=2))
    preempt = first.submit(cdb, write=data)
    time.sleep(MOMENT)
    assert script.find(Kind.RESPONDED, preempt) is None, (
        "answered while the write may still change the medium"
    )
    # In force all the same, and others go on.
    status = third.good(persistent_in(RESERVATION_IN), read=8192)
    assert status[21] == Type.WRITE_EXCLUSIVE
    assert second.command(scsi.write10(8, 1), write=BLOCK).status == CONFLICT
    assert out(third, Command(Action.REGISTER, sa_key=3)).good
    mapper.resume()
    ended = second.answer(write)
    answer = first.answer(preempt)
    assert answer.good, str(answer)
    assert answer.seq > ended.seq
    assert ended.aborted == ended.foreign == (action == Action.PREEMPT_AND_ABORT)
    assert first.answer(own).good
    assert second.answer(reads[0]).aborted == (action == Action.PREEMPT_AND_ABORT)
    assert third.answer(reads[1]).good
    assert second.attentions() == [ATTENTIONS["2A/05"]]


@pytest.mark.parametrize(
    "action", [Action.PREEMPT, Action.PREEMPT_AND_ABORT], ids=lambda action: action.name.lower()
)
def test_preempted_write_waits_for_its_data(script: Script, make_file: MakeFile, action: Action) -> None:
    """Its data comes after the preemption, and changes nothing."""
    path = make_file("f", 1)
    first, second, _ = serve(script, tree.fileio("f", path))
    before = path.read_bytes()
    register((first, 1), (second, 2))
    good(second, Action.RESERVE, 2, Type.EXCLUSIVE_ACCESS)
    write = second.write10(0, BLOCK, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, write)
    cdb, data = wire(Command(action, type=Type.EXCLUSIVE_ACCESS, key=1, sa_key=2))
    preempt = first.submit(cdb, write=data)
    if action == Action.PREEMPT_AND_ABORT:
        script.wait(Kind.ABORT, write)
    time.sleep(MOMENT)
    assert script.find(Kind.RESPONDED, preempt) is None
    script.data(write)
    ended = second.answer(write)
    assert ended.aborted if action == Action.PREEMPT_AND_ABORT else ended.status == CONFLICT
    assert first.answer(preempt).good
    assert path.read_bytes() == before


def test_preempting_each_other(script: Script, mapper: Mapper) -> None:
    """Commands that wait for what hangs do not wait for each other, and who is aborted ends."""
    first, second, third = serve(script, tree.blockio("slow", mapper.node))
    register((first, 1), (second, 2), (third, 3))
    mapper.suspend()
    writes = [nexus.write10(8 * n, BLOCK) for n, nexus in enumerate((first, second, third))]
    time.sleep(MOMENT)
    numbers = []
    for nexus, key, victim in ((first, 1, 2), (third, 3, 1)):
        cdb, data = wire(Command(Action.PREEMPT_AND_ABORT, key=key, sa_key=victim))
        numbers.append(nexus.submit(cdb, write=data))
        time.sleep(MOMENT)
    # The first is aborted by the second, and waits for nobody any more.
    assert first.answer(numbers[0]).aborted
    assert script.find(Kind.RESPONDED, numbers[1]) is None
    assert third.good(persistent_in(KEYS_IN), read=8192)[8:] == (3).to_bytes(8, "big")
    mapper.resume()
    assert third.answer(numbers[1]).good
    assert [
        nexus.answer(write).aborted for nexus, write in zip((first, second, third), writes, strict=True)
    ] == [True, True, False]


@pytest.mark.parametrize("how", ["abort", "logout"])
def test_aborted_while_it_waits(script: Script, mapper: Mapper, how: str) -> None:
    """Who gives up a PREEMPT waits for no stranger; it stands, and who asks again is told when it is true."""
    first, second, third = serve(script, tree.blockio("slow", mapper.node))
    register((first, 1), (second, 2))
    good(second, Action.RESERVE, 2, Type.WRITE_EXCLUSIVE)
    mapper.suspend()
    write = second.write10(8, BLOCK)
    time.sleep(MOMENT)
    cdb, data = wire(Command(Action.PREEMPT, type=Type.WRITE_EXCLUSIVE, key=1, sa_key=2))
    preempt = first.submit(cdb, write=data)
    time.sleep(MOMENT)
    if how == "abort":
        assert first.manage(Tmf.ABORT_TASK, tag=preempt) == Response.COMPLETE
        assert first.answer(preempt).aborted
    else:
        first.close()
        assert first.answer(preempt).aborted
        first.gone()
        first = login(script, Target("t1"), "a")
    assert script.find(Kind.RESPONDED, write) is None
    assert third.good(persistent_in(KEYS_IN), read=8192)[8:] == (1).to_bytes(8, "big")
    cdb, data = wire(Command(Action.RESERVE, type=Type.WRITE_EXCLUSIVE, key=1))
    reserve = first.submit(cdb, write=data)
    time.sleep(MOMENT)
    assert script.find(Kind.RESPONDED, reserve) is None, "the write may still change the medium"
    mapper.resume()
    ended = second.answer(write)
    answer = first.answer(reserve)
    assert answer.good
    assert answer.seq > ended.seq
    second.attentions()
    assert what_passes(second) == "pr"


# --- against the model ---


class World:
    """Three initiators on two ports of one device, and the model of it."""

    def __init__(self, script: Script) -> None:
        self.script = script
        device = tree.nullio("n")
        self.ports: dict[int, int] = {}
        self.nexuses: dict[Port, Nexus] = {}
        for target in ("t1", "t2"):
            nexuses = serve(script, device, target=target)
            number = int(tree.read(Target(target).path / "rel_tgt_id"))
            self.ports[number] = ANY_PROTOCOL
            for nexus in nexuses:
                self.nexuses[Port(transport_id.iscsi(nexus.name), number)] = nexus
        self.unit = Unit(self.ports, 1024, durable=False)
        self.seen: dict[tuple[str, str], int] = {}

    def do(self, who: Port, command: Command) -> None:
        """One command: the same answer, the same state, the same attentions."""
        event = out(self.nexuses[who], command)
        wanted = self.unit.execute(who, command)
        where = f"seed {SEED}: {who} {command}: {event}, wanted {wanted}"
        assert outcome_of(event) == wanted.name, where
        self.seen[command.action.name, wanted.name] = self.seen.get((command.action.name, wanted.name), 0) + 1
        self.compare_attentions(wanted, where)
        self.compare(where)

    def compare(self, where: str) -> None:
        """PERSISTENT RESERVE IN says what the model says."""
        nexus = next(iter(self.nexuses.values()))
        wanted = (
            self.unit.read_keys(),
            self.unit.read_reservation(),
            self.unit.report_capabilities(),
            self.unit.read_full_status(),
        )
        for action, text in enumerate(wanted):
            assert nexus.good(persistent_in(action), read=8192) == text, (
                f"{where}: PERSISTENT RESERVE IN {action}"
            )

    def compare_attentions(self, wanted: Outcome, where: str) -> None:
        """Each nexus is told what the model tells it, once."""
        for port, nexus in self.nexuses.items():
            told = [ATTENTIONS[name] for name in sorted(wanted.attentions.get(port, ()))]
            assert nexus.attentions() == told, f"{where}: {nexus.name} of port {port.port}"


def outcome_of(event: Event) -> str:
    """In the model's words."""
    if event.status == CONFLICT:
        return "conflict"
    return "{:02x}{:02x}{:02x}".format(*event.sense) if event.sense else "good"


def any_command(source: random.Random, world: World, who: Port) -> Command:
    """Mostly one that may be done."""
    unit = world.unit
    action = source.choices(list(Action), [8, 4, 3, 1, 4, 4, 4, 4, 1])[0]
    held = unit.type if unit.type is not None and source.random() < 0.7 else source.choice(list(Type))
    command = Command(
        action,
        type=held,
        key=unit.keys.get(who, 0) if source.random() < 0.9 else source.randrange(4),
        sa_key=source.choice((0, 1, 2, 3, *unit.keys.values())),
        aptpl=source.random() < 0.05,
        all_tg_pt=source.random() < 0.3,
        unreg=source.random() < 0.5,
        port=source.choice(list(world.ports)),
        spec_i_pt=action == Action.REGISTER and source.random() < 0.3,
        transport_ids=(source.choice(list(world.nexuses)).initiator,),
    )
    if command.spec_i_pt or action == Action.REGISTER_AND_MOVE:
        return command
    return replace(command, transport_ids=())


def each_action(world: World) -> None:
    """Each service action that can succeed does."""
    a, b = list(world.nexuses)[:2]
    kind = Type.WRITE_EXCLUSIVE
    world.do(a, Command(Action.REGISTER, sa_key=1))
    world.do(b, Command(Action.REGISTER, sa_key=2))
    world.do(a, Command(Action.RESERVE, key=1, type=kind))
    to = (b.initiator,)
    world.do(a, Command(Action.REGISTER_AND_MOVE, key=1, sa_key=3, port=b.port, transport_ids=to))
    world.do(b, Command(Action.RELEASE, key=3, type=kind))
    world.do(a, Command(Action.PREEMPT, key=1, sa_key=3))
    world.do(b, Command(Action.REGISTER_AND_IGNORE_EXISTING_KEY, sa_key=2))
    world.do(a, Command(Action.PREEMPT_AND_ABORT, key=1, sa_key=2))
    world.do(a, Command(Action.CLEAR, key=1))
    done = {action for action, outcome in world.seen if outcome == "good"}
    assert done == {action.name for action in Action} - {"REPLACE_LOST_RESERVATION"}


def test_against_the_model(script: Script) -> None:
    """Random commands by three initiators through two ports."""
    source = random.Random(SEED)
    world = World(script)
    world.compare("at the beginning")
    each_action(world)
    for _ in range(STEPS):
        who = source.choice(list(world.nexuses))
        world.do(who, any_command(source, world, who))
    print(f"\nseed {SEED}: {STEPS} commands")
    for (action, outcome), number in sorted(world.seen.items()):
        print(f"  {action:34} {outcome:10} {number}")


# --- what outlives a loss of power ---


def power_loss(script: Script, device: tree.Device, *names: str) -> list[Nexus]:
    """The device is disabled and enabled; then these initiators log in, too."""
    target = Target("t1")
    target.luns.unmap(0)
    device.enable(False)
    device.enable()
    target.luns.map(0, device)
    return [login(script, target, name) for name in names]


def durable(make_file: MakeFile, name: str = "n") -> tuple[tree.Device, Path]:
    """A device whose reservations outlive a loss of power, and where they do."""
    path = make_file(f"{name}.pr", 1)
    path.unlink()
    device = tree.Device("nullio", name).make(size=1 << 30)
    tree.write(device.path / "pr_file", path)
    return device.enable(), path


def keys(nexus: Nexus) -> list[int]:
    """READ KEYS."""
    data = nexus.good(persistent_in(KEYS_IN), read=8192)[8:]
    return [int.from_bytes(data[at : at + 8], "big") for at in range(0, len(data), 8)]


def aptpl(nexus: Nexus, key: int, old: int = 0) -> None:
    """Register so that it outlives a loss of power."""
    event = out(nexus, Command(Action.REGISTER, key=old, sa_key=key, aptpl=True))
    assert event.good, str(event)


SLOT = 512 << 10


def test_aptpl_outlives(script: Script, make_file: MakeFile) -> None:
    """Registrations and the reservation; not PRGENERATION. Without APTPL nothing, from that command on."""
    device, path = durable(make_file)
    first, second, _ = serve(script, device)
    assert first.good(persistent_in(CAPABILITIES_IN), read=8)[2] & 1, "PTPL_C"
    aptpl(first, 1)
    aptpl(second, 2)
    good(first, Action.RESERVE, 1, Type.EXCLUSIVE_ACCESS)
    assert path.stat().st_mode & 0o777 == 0o600
    again, other = power_loss(script, device, "a2", "b2")
    first.attentions()
    assert keys(other) == [1, 2]
    assert other.good(persistent_in(FULL_STATUS_IN), read=8192)[:4] == bytes(4)
    assert what_passes(other) == "p"
    assert what_passes(again) == "p"
    assert what_passes(first) == "prw"
    event = out(first, Command(Action.REGISTER, key=1, sa_key=3))
    assert event.good, str(event)
    (other,) = power_loss(script, device, "b3")
    assert keys(other) == []
    assert what_passes(other) == "prw"


def test_no_aptpl_without_a_file(script: Script) -> None:
    first, _, _ = serve(script, tree.nullio("n"))
    assert out(first, Command(Action.REGISTER, sa_key=1, aptpl=True)).sense == scsi.INVALID_FIELD_LIST
    assert not first.good(persistent_in(CAPABILITIES_IN), read=8)[2] & 1


def test_torn_record_leaves_the_other(script: Script, make_file: MakeFile) -> None:
    """The newer one was not written to its end: it was not acknowledged either."""
    device, path = durable(make_file)
    first, _, _ = serve(script, device)
    aptpl(first, 1)
    aptpl(first, 2, old=1)
    Target("t1").luns.unmap(0)
    device.enable(False)
    data = bytearray(path.read_bytes())
    data[SLOT + 60 :] = bytes(len(data) - SLOT - 60)
    path.write_bytes(data)
    device.enable()
    Target("t1").luns.map(0, device)
    first.attentions()
    assert keys(first) == [1]


@pytest.mark.parametrize("how", ["damaged", "newer", "another"])
def test_records_that_can_not_be_relied_on(script: Script, make_file: MakeFile, how: str) -> None:
    """Told, not written over, and mended only by who says so."""
    device, path = durable(make_file)
    first, second, _ = serve(script, device)
    aptpl(first, 1)
    Target("t1").luns.unmap(0)
    device.enable(False)
    data = bytearray(path.read_bytes())
    if how == "damaged":
        data[60] ^= 1
    elif how == "newer":
        data[9] = 3
        data[24:28] = crc(bytes(data[:24]))
    else:
        tree.write(device.path / "id/naa", "3" * 16)
    path.write_bytes(data)
    device.enable()
    Target("t1").luns.map(0, device)
    for nexus in (first, second):
        nexus.attentions()
        for cdb in (scsi.test_unit_ready(), scsi.read10(0, 1), RESERVE6, persistent_in(KEYS_IN)):
            assert nexus.command(cdb, read=8192).sense == (0x7, 0x44, 0x01), cdb.hex()
        nexus.good(persistent_in(CAPABILITIES_IN), read=8)
    assert "lost 1" in state_of(device)
    assert out(first, Command(Action.REGISTER, sa_key=1)).sense == (0x7, 0x44, 0x01)
    assert path.read_bytes() == data
    event = out(second, Command(Action.REPLACE_LOST_RESERVATION, sa_key=5, type=Type.WRITE_EXCLUSIVE))
    assert event.good, str(event)
    assert "lost 0" in state_of(device)
    (third,) = power_loss(script, device, "c2")
    assert "lost 0" in state_of(device)
    assert what_passes(third) == "prw"


def lines(text: str) -> list[str]:
    """Lines of the kernel log with this text."""
    return [line for line in guest_plugin.command("dmesg").splitlines() if text in line]


def test_lost_is_told_in_the_log(script: Script, make_file: MakeFile) -> None:
    """Once at each opening; and the administrator may clear what nobody knows."""
    path = make_file("rubbish.pr", 1)
    device = tree.Device("nullio", "rubbish").make(size=1 << 30, pr_file=path).enable()
    assert len(lines("device rubbish: pr_file is damaged: reservations are not known")) == 1
    first, _, _ = serve(script, device)
    assert first.command(scsi.read10(0, 1), read=512).sense == (0x7, 0x44, 0x01)
    clear(device)
    assert what_passes(first) == "prw"
    aptpl(first, 1)
    power_loss(script, device)
    assert len(registrants(device)) == 1
    assert len(lines("device rubbish: pr_file")) == 1


def registrants(device: tree.Device) -> list[str]:
    """Keys of who is registered, as pr/state has them."""
    return [line.split()[1] for line in state_of(device) if line.startswith("registrant ")]


def clear(device: tree.Device) -> None:
    """As the administrator does."""
    tree.write(device.path / "pr/clear", state_of(device)[0].removeprefix("generation "))


def test_administrator_clears(script: Script, make_file: MakeFile) -> None:
    """What he has seen, and nothing else; who is registered is told; and it does not come back."""
    device, _ = durable(make_file)
    first, second, third = serve(script, device)
    aptpl(first, 1)
    aptpl(second, 2)
    good(first, Action.RESERVE, 1, Type.EXCLUSIVE_ACCESS)
    assert tree.errno_of(lambda: tree.write(device.path / "pr/clear", 1)) == errno.ESTALE
    assert tree.errno_of(lambda: tree.write(device.path / "pr/clear", "all")) == errno.EINVAL
    assert tree.errno_of(lambda: tree.write(device.path / "pr/clear", 1 << 32)) == errno.ERANGE
    assert what_passes(third) == "p"
    tree.write(device.path / "pr/clear", "2 within 5000")
    assert state_of(device) == ["generation 3", "type none", "aptpl 0", "lost 0"]
    assert first.attentions() == second.attentions() == [ATTENTIONS["2A/03"]]
    assert third.attentions() == []
    assert what_passes(third) == "prw"
    power_loss(script, device)
    assert registrants(device) == []
    Target("t1").luns.unmap(0)
    device.enable(False)
    assert tree.errno_of(lambda: tree.write(device.path / "pr/clear", 0)) == errno.ESHUTDOWN


def test_device_that_is_made_again(script: Script, make_file: MakeFile) -> None:
    """Its reservations are there with its identity; a parked one has them as well."""
    device, path = durable(make_file)
    first, _, _ = serve(script, device)
    aptpl(first, 0xABC)
    good(first, Action.RESERVE, 0xABC, Type.WRITE_EXCLUSIVE)
    naa, before = device.get("id/naa"), state_of(device)[1:]
    Target("t1").luns.unmap(0)
    device.enable(False)
    device.path.rmdir()
    image = make_file("image", 1)
    image.rename(image.with_suffix(".away"))
    again = tree.Device("fileio", "again").make(path=image, pr_file=path)
    tree.write(again.path / "id/naa", naa)
    again.enable()
    assert again.get("state") == "parked"
    assert state_of(again)[1:] == before
    Target("t1").luns.map(0, again)
    first.attentions()
    assert keys(first) == [0xABC]
    image.with_suffix(".away").rename(image)
    again.activate()
    assert state_of(again)[1:] == before


def test_file_that_is_not_there_yet(script: Script, tmp_path: Path) -> None:
    """Without its folder the device waits, as for its backing, and nothing is known."""
    folder = tmp_path / "later"
    device = tree.Device("nullio", "n").make(size=1 << 30, pr_file=folder / "pr").enable()
    assert (device.get("state"), device.get("error")) == ("parked", "ENOENT")
    first, _, _ = serve(script, device)
    for cdb in (RESERVE6, persistent_in(KEYS_IN)):
        assert first.command(cdb, read=8192).sense == scsi.BECOMING_READY
    assert out(first, Command(Action.REGISTER, sa_key=1)).sense == scsi.BECOMING_READY
    folder.mkdir()
    device.activate()
    first.attentions()
    aptpl(first, 1)
    assert keys(first) == [1]


def test_setting_of_the_file(make_file: MakeFile, tmp_path: Path) -> None:
    """What is refused, and when; one file is for one device, whatever it is called."""
    device, path = durable(make_file)
    assert device.get("pr_file") == str(path)
    assert tree.errno_of(lambda: device.set("pr_file", "\n")) == errno.EBUSY
    device.activate(False)
    assert tree.errno_of(lambda: device.set("pr_file", "\n")) == errno.EBUSY
    alias = tmp_path / "alias"
    alias.symlink_to(path)
    other = tree.Device("nullio", "other").make(size=1 << 30)
    assert tree.errno_of(lambda: other.set("pr_file", "alias")) == errno.EINVAL
    for wrong, said in ((alias, errno.EBUSY), (tmp_path, errno.EISDIR), ("/dev/null", errno.EINVAL)):
        other.set("pr_file", wrong)
        assert tree.errno_of(other.enable) == said, wrong
        assert other.get("state") == "disabled"
    device.enable(False)
    image = make_file("image", 2)
    own = tree.Device("fileio", "own").make(path=image, pr_file=image)
    before = image.read_bytes()
    assert tree.errno_of(own.enable) == errno.EINVAL
    assert image.read_bytes() == before
    other.set("pr_file", alias)
    other.enable()
    other.enable(False)
    other.set("pr_file", "\n")
    other.enable()


# --- as the administrator sees it ---


def state_of(device: tree.Device) -> list[str]:
    """Lines of pr/state."""
    return [line for line in (device.path / "pr/state").read_text().splitlines() if line]


def test_state_in_configfs(script: Script) -> None:
    """What is reserved, and for whom; a page is not the end of it."""
    device = tree.nullio("n")
    first, second, _ = serve(script, device)
    port = tree.read(Target("t1").path / "rel_tgt_id")
    none = ["type none", "aptpl 0", "lost 0"]
    assert state_of(device) == ["generation 0", *none]
    first.good(RESERVE6)
    assert state_of(device) == ["generation 0", *none, "reserve script/t1 a"]
    first.good(RELEASE6)
    register((first, 0xABC), (second, 2))
    good(first, Action.RESERVE, 0xABC, Type.WRITE_EXCLUSIVE)
    assert state_of(device) == [
        "generation 2",
        "type write_exclusive",
        *none[1:],
        f"registrant 0x0000000000000abc {port} {transport_id.iscsi('a').hex()} holder",
        f"registrant 0x0000000000000002 {port} {transport_id.iscsi('b').hex()}",
    ]
    good(first, Action.RELEASE, 0xABC, Type.WRITE_EXCLUSIVE)
    good(first, Action.CLEAR, 0xABC)
    ids = tuple(transport_id.iscsi(f"iqn.2026-01.example:{number:0>150}") for number in range(200))
    assert out(first, Command(Action.REGISTER, sa_key=7, spec_i_pt=True, transport_ids=ids)).good
    lines = state_of(device)
    assert len(lines) == 4 + 201
    assert all(text.hex() in line for text, line in zip(ids, lines[5:], strict=True))


# --- with other people's initiators ---


def test_sg_persist() -> None:
    """What sg_persist says of a disk of driver local, and Linux's own ioctl-free way."""
    target = tree.Target("t1").make()
    target.luns.map(0, tree.nullio("n"))
    hosts = target.login("first"), target.login("second")
    target.enable()
    for host in hosts:
        host.disk(0)
    first, second = (str(host.sg(0)) for host in hosts)

    def persist(unit: str, *argv: str) -> str:
        return guest_plugin.command("sg_persist", "--no-inquiry", *argv, unit)

    persist(first, "--out", "--register", "--param-sark=0xabc")
    persist(second, "--out", "--register-ignore", "--param-sark=0xdef")
    persist(first, "--out", "--reserve", "--param-rk=0xabc", "--prout-type=5")
    assert "Key=0xabc" in persist(second, "--in", "--read-reservation")
    keys = persist(second, "--in", "--read-keys")
    assert "0xabc" in keys
    assert "0xdef" in keys
    persist(second, "--out", "--preempt-abort", "--param-rk=0xdef", "--param-sark=0xabc", "--prout-type=5")
    full = persist(second, "--in", "--read-full-status")
    assert "second" in full
    assert "0xabc" not in full
    persist(second, "--out", "--clear", "--param-rk=0xdef")
