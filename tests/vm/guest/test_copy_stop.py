# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies while a unit hangs, is taken away, reserved, parked or reset: who stops what, who waits for whom.

A copy that has been stopped is over for the medium when who stopped it is answered.
"""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vm.guest import copying, scsi, tree
from tests.vm.guest.copying import Told, segment
from tests.vm.guest.long import more
from tests.vm.guest.script import Event, Kind, Nexus, Response, Script, Target, Tmf, serve
from tests.vm.guest.test_kept import LOST, Ground, ground, mounted, written_when_told
from tests.vm.guest.test_recovery import Mapper, mapper
from tests.vm.guest.test_settled import is_settled
from tests.vm.guest_plugin import PluggedDisk

__all__ = ("ground", "mapper", "mounted", "written_when_told")

SCST_MODULES = ("scst", "scst_fileio", "scst_blockio", "scst_script", "dm_mod")

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
HANGING, FILE, OTHER = 0, 1, 2
MIB, CHUNK = 1 << 20, 2048
BLOCKS = 4 * CHUNK
MOMENT = 0.3
RESERVE10 = bytes([0x56]) + bytes(9)
CONFLICT, TASK_ABORTED, BUSY = 0x18, 0x40, 0x08
MOST = 32
RUNNING = re.compile("EXTENDED COPY, (source|destination)")


class Rig:
    """Two initiators, a disk that can be made to hang, and two files."""

    def __init__(self, script: Script, mapper: Mapper, make_file: MakeFile) -> None:
        self.script, self.mapper = script, mapper
        self.paths = {FILE: make_file("copy", 8), OTHER: make_file("other", 8)}
        self.data = random.Random("hanging").randbytes(4 * MIB)
        with mapper.node.open("r+b") as disk:  # what is closed last is on the disk
            disk.write(self.data)
        self.devices = [
            tree.blockio("hanging", mapper.node),
            tree.fileio("copy", self.paths[FILE]),
            tree.fileio("other", self.paths[OTHER]),
        ]
        self.first, self.second = serve(script, *self.devices)
        self.names = [name_of(self.first, lun) for lun in range(3)]

    def begin(
        self,
        source: int,
        destination: int,
        by: int = OTHER,
        nexus: Nexus | None = None,
        count: int = BLOCKS,
        number: int = 0,
        usage: int = copying.NO_ID,
    ) -> int:
        """Send a copy from block 0 to block 0."""
        pair = [self.names[source], self.names[destination]]
        data = copying.parameters(pair, [segment(count, 0, 0)], number, usage)
        return (nexus or self.first).submit(copying.extended_copy(len(data)), by, write=data)

    def hung(self, source: int, destination: int, by: int = OTHER) -> int:
        """The same, while the disk hangs: it is in the disk's hands."""
        self.mapper.suspend()
        command = self.begin(source, destination, by)
        wanted = "source" if source == HANGING else "destination"
        tree.wait_for("the copy to hang", lambda: wanted in running())
        return command

    def content(self, lun: int) -> bytes:
        """What the unit has, as its initiators see it."""
        return b"".join(
            self.second.good(scsi.read10(at, 256), lun, read=131072) for at in range(0, BLOCKS, 256)
        )


def name_of(nexus: Nexus, lun: int) -> bytes:
    """The CSCD descriptor of a unit."""
    page = nexus.good(scsi.inquiry(page=0x83), lun, read=255)
    assert page[5] & 0xF == copying.NAA
    return copying.cscd(page[8 : 8 + page[7]])


def running() -> list[str]:
    """Which parts of copies are in flight."""
    return RUNNING.findall((tree.DEBUG / "commands").read_text())


@pytest.fixture
def rig(script: Script, mapper: Mapper, make_file: MakeFile) -> Iterator[Rig]:
    made = Rig(script, mapper, make_file)
    yield made
    mapper.resume()


def failed(event: Event) -> Told:
    """A copy that has ended because of one of its units."""
    assert event.sense == copying.DEVICE_FAILURE, str(event)
    return copying.told(event.raw_sense)


# --- the source hangs, and somebody stops the destination ---


def reset(rig: Rig) -> None:
    assert rig.second.manage(Tmf.LUN_RESET, FILE) == Response.COMPLETE


def unmap(rig: Rig) -> None:
    Target("t1").luns.unmap(FILE)
    tree.wait_for("nothing of the LUN to be alive", is_settled)


def protect(rig: Rig) -> None:
    tree.write(Target("t1").luns.path / f"{FILE}/read_only", True)
    tree.wait_for("no write to be alive", is_settled)


def park(rig: Rig) -> None:
    rig.devices[FILE].activate(False)


def reserve(rig: Rig) -> None:
    rig.second.good(RESERVE10, FILE)


STOPS: dict[Callable[[Rig], None], tuple[int, scsi.Sense | None]] = {
    reset: (TASK_ABORTED, None),
    unmap: (scsi.CHECK_CONDITION, scsi.LUN_NOT_SUPPORTED),
    protect: (scsi.CHECK_CONDITION, scsi.WRITE_PROTECTED),
    park: (scsi.CHECK_CONDITION, scsi.BECOMING_READY),
    reserve: (CONFLICT, None),
}


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop.__name__)
def test_who_stops_the_destination_does_not_wait_for_the_source(
    rig: Rig, stop: Callable[[Rig], None]
) -> None:
    """He is answered at once, and nothing is written when the source comes back."""
    before = rig.paths[FILE].read_bytes()
    command = rig.hung(HANGING, FILE)
    stop(rig)
    assert rig.script.find(Kind.RESPONDED, command) is None
    rig.mapper.resume()
    assert failed(rig.first.answer(command)) == Told(0, None, STOPS[stop])
    assert rig.paths[FILE].read_bytes() == before


def test_bystanders_go_on(rig: Rig) -> None:
    """Both units of a copy, and others, whoever sends what."""
    command = rig.hung(HANGING, FILE)
    for nexus in (rig.first, rig.second):
        for lun in (FILE, OTHER):
            nexus.good(scsi.write10(BLOCKS + 8, 8), lun, write=bytes(4096))
            nexus.good(scsi.read10(BLOCKS + 8, 8), lun, read=4096)
    quick = rig.begin(OTHER, FILE, nexus=rig.second)
    assert rig.second.answer(quick).good
    assert rig.script.find(Kind.RESPONDED, command) is None
    rig.mapper.resume()
    assert rig.first.answer(command).good
    assert rig.content(FILE) == rig.data


# --- what is on its way to the medium is waited for ---


@pytest.mark.parametrize(
    "stop", [Tmf.LUN_RESET, Tmf.TARGET_RESET, Tmf.ABORT_TASK_SET], ids=lambda fn: fn.name
)
def test_a_write_on_its_way_is_waited_for(rig: Rig, stop: Tmf) -> None:
    """Who resets the destination is answered when it can't change any more."""
    command = rig.hung(FILE, HANGING)
    nexus = rig.first if stop == Tmf.ABORT_TASK_SET else rig.second
    tmf = nexus.tmf(stop, HANGING)
    time.sleep(MOMENT)
    assert rig.script.find(Kind.TMF_DONE, tmf) is None, "answered while the copy may still write"
    rig.mapper.resume()
    assert nexus.tmf_response(tmf) == Response.COMPLETE
    with rig.mapper.node.open("rb") as medium:
        after = medium.read(4 * MIB)
    event = rig.first.answer(command)
    assert event.aborted or failed(event).destination == (TASK_ABORTED, None)
    rig.second.attentions(HANGING)
    assert rig.content(HANGING) == after
    assert after[-MIB:] == rig.data[-MIB:], "it has gone on"


@pytest.mark.parametrize("by", [OTHER, *more(HANGING, FILE)])
@pytest.mark.parametrize("destination", [HANGING, FILE])
@pytest.mark.parametrize("stop", ["abort", "reset", "nexus", "close"])
def test_the_command_is_aborted(rig: Rig, stop: str, destination: int, by: int) -> None:
    """It is over when what it has on its way is, and then the medium stays as it is."""
    command = rig.hung(FILE if destination == HANGING else HANGING, destination, by)
    functions = {
        "abort": lambda: rig.first.tmf(Tmf.ABORT_TASK, by, command),
        "reset": lambda: rig.first.tmf(Tmf.LUN_RESET, by),
        "nexus": lambda: rig.first.tmf(Tmf.I_T_NEXUS_RESET),
    }
    tmf = functions[stop]() if stop != "close" else None
    if tmf is None:
        rig.first.close()
    time.sleep(MOMENT)
    assert rig.script.find(Kind.RELEASED, command) is None
    rig.mapper.resume()
    assert rig.first.answer(command).aborted
    if tmf is None:
        rig.first.gone()
    else:
        assert rig.first.tmf_response(tmf) == Response.COMPLETE
    for lun in range(3):
        rig.second.attentions(lun)
    after = rig.content(destination)
    assert (
        after[-MIB:] != (rig.data if destination == FILE else rig.paths[FILE].read_bytes())[3 * MIB : 4 * MIB]
    )
    time.sleep(MOMENT)
    assert rig.content(destination) == after
    assert not running()


def test_reservation_waits_for_a_write_on_its_way(rig: Rig) -> None:
    """PERSISTENT RESERVE OUT: after GOOD the excluded initiator's copy writes no more."""
    command = rig.hung(FILE, HANGING)
    key = (1).to_bytes(8, "big")
    rig.second.good(bytes((0x5F, 6, 0, 0, 0, 0, 0, 0, 24, 0)), HANGING, write=bytes(8) + key + bytes(8))
    cdb = bytes((0x5F, 1, 1, 0, 0, 0, 0, 0, 24, 0))
    out = rig.second.submit(cdb, HANGING, write=key + bytes(16))
    time.sleep(MOMENT)
    assert rig.script.find(Kind.RESPONDED, out) is None, "answered while the copy may still write"
    rig.mapper.resume()
    assert rig.second.answer(out).good
    after = rig.content(HANGING)
    assert failed(rig.first.answer(command)) == Told(0, None, (CONFLICT, None))
    assert rig.content(HANGING) == after
    assert after[-MIB:] == rig.data[-MIB:], "it has gone on"
    rig.second.good(bytes((0x5F, 3, 0, 0, 0, 0, 0, 0, 24, 0)), HANGING, write=key + bytes(16))


# --- reservations ---


def test_reservations_of_others(rig: Rig) -> None:
    """Of the source, of the destination, and of the unit that the command is sent to."""
    before = rig.paths[FILE].read_bytes()
    for lun, wanted in [(HANGING, Told(0, (CONFLICT, None), None)), (FILE, Told(0, None, (CONFLICT, None)))]:
        rig.second.good(RESERVE10, lun)
        assert failed(rig.first.answer(rig.begin(HANGING, FILE))) == wanted
        assert rig.first.answer(rig.begin(HANGING, FILE, by=lun)).status == CONFLICT
        assert rig.second.answer(rig.begin(lun, lun, nexus=rig.second)).good
        rig.second.good(bytes([0x57]) + bytes(9), lun)
    assert rig.paths[FILE].read_bytes() == before
    assert rig.first.answer(rig.begin(HANGING, FILE)).good
    assert rig.content(FILE) == rig.data


# --- what can't be read, or written ---


def load(mapper: Mapper, *rows: str) -> None:
    """Another table for the mapping."""
    mapper.suspend()
    words = ["dmsetup", "--noudevsync", "load", mapper.name]
    subprocess.run(words, input="\n".join(rows), text=True, check=True)
    mapper.resume()


def test_errors_of_the_medium(rig: Rig, disks: dict[str, PluggedDisk]) -> None:
    """Which of the two units it was, and what it has said; the other lane ends as well."""
    size = int(Path("/sys/block", rig.mapper.node.name, "size").read_text())
    read, write = (0x3, 0x11, 0x00), (0x3, 0x0C, 0x00)
    node = disks["vm-disk-b"].node
    load(rig.mapper, f"0 {CHUNK} error", f"{CHUNK} {size - CHUNK} linear {node} {CHUNK}")
    for _ in range(10):
        found = failed(rig.first.answer(rig.begin(HANGING, FILE)))
        assert found == Told(0, (scsi.CHECK_CONDITION, read), None)
    load(rig.mapper, f"0 {size} error")
    found = failed(rig.first.answer(rig.begin(FILE, HANGING)))
    assert found == Told(0, None, (scsi.CHECK_CONDITION, write))


# --- how many ---


def test_many_at_once(rig: Rig) -> None:
    """A session has so many; each is known by its number, and all of them are told."""
    rig.mapper.suspend()
    copies = [rig.begin(HANGING, FILE, number=number, usage=copying.HOLD, by=OTHER) for number in range(MOST)]
    tree.wait_for("all of them to hang", lambda: running().count("source") == 2 * MOST)
    again = rig.first.answer(rig.begin(OTHER, FILE, number=5, usage=copying.DISCARD))
    assert again.status == BUSY
    assert rig.second.answer(rig.begin(OTHER, FILE, nexus=rig.second, number=5, usage=copying.HOLD)).good
    told = rig.first.good(copying.results(0, 5), OTHER, read=12)
    assert (told[4], told[8:12]) == (0, bytes(4)), "it is running"
    assert rig.first.good(copying.results(4, 5), OTHER, read=12) == bytes(4)
    rig.mapper.resume()
    for command in copies:
        assert rig.first.answer(command, seconds=60 * tree.SLOW).good
    assert rig.content(FILE) == rig.data
    for number in range(MOST):
        told = rig.first.good(copying.results(0, number), OTHER, read=12)
        assert (told[4], told[8:12]) == (1, (4 * MIB).to_bytes(4, "big"))


def test_a_number_that_is_in_use(rig: Rig) -> None:
    rig.mapper.suspend()
    command = rig.begin(HANGING, FILE, number=5, usage=copying.DISCARD)
    tree.wait_for("it to hang", lambda: "source" in running())
    for usage in (copying.HOLD, copying.DISCARD):
        event = rig.first.answer(rig.begin(OTHER, FILE, number=5, usage=usage))
        assert event.sense == copying.IN_PROGRESS
    for other in (
        rig.begin(OTHER, FILE, number=6, usage=copying.HOLD),
        rig.begin(OTHER, FILE, by=FILE, number=5, usage=copying.HOLD),
    ):
        assert rig.first.answer(other).good
    rig.mapper.resume()
    assert rig.first.answer(command).good
    assert rig.first.answer(rig.begin(OTHER, FILE, number=5, usage=copying.HOLD)).good
    assert rig.first.manage(Tmf.LUN_RESET, OTHER) == Response.COMPLETE
    rig.first.attentions(OTHER)
    assert rig.first.command(copying.results(0, 5), OTHER, read=12).sense == scsi.INVALID_FIELD_CDB


def test_memory_is_charged(rig: Rig) -> None:
    """With little memory copies take less, and those for which there is none are to be sent again."""
    rig.mapper.suspend()
    tree.write(Target("t1").path / "session_buffer_limit", 4 * MIB)
    copies = [rig.begin(HANGING, FILE) for _ in range(16)]
    tree.wait_for("some to hang", lambda: running().count("source") >= 3)
    rig.mapper.resume()
    ends = [rig.first.answer(command, seconds=60 * tree.SLOW) for command in copies]
    assert {event.status for event in ends} == {scsi.GOOD, scsi.TASK_SET_FULL}
    assert rig.content(FILE) == rig.data


def test_errors_of_writing_back(script: Script, ground: Ground, make_file: MakeFile) -> None:
    """What is copied is in the cache: who had it copied is told when it is lost, as all who have written."""
    source = make_file("source", 1)
    first, second = serve(script, tree.fileio("source", source), tree.fileio("f", ground.path))
    pair = [name_of(first, lun) for lun in range(2)]
    data = copying.parameters(pair, [segment(8, 0, 0)])
    first.good(copying.extended_copy(len(data)), 1, write=data)
    ground.fail()
    sync = scsi.cdb10(0x35, 0, 0)
    assert second.command(sync, 1).sense == LOST
    assert first.command(sync, 1).sense == LOST
    ground.heal()
    assert first.command(sync, 1).good


def test_stable_copies(script: Script, ground: Ground, make_file: MakeFile) -> None:
    """Without a cache a copy is on the medium when it is answered, and says so if it can't be."""
    source = make_file("source", 1)
    noise = ground.noise("stable")
    source.write_bytes(noise + source.read_bytes()[len(noise) :])
    devices = tree.fileio("source", source), tree.fileio("f", ground.path, write_through=True)
    first, _ = serve(script, *devices)
    pair = [name_of(first, lun) for lun in range(2)]
    data = copying.parameters(pair, [segment(8, 0, 0)])
    first.good(copying.extended_copy(len(data)), 0, write=data)
    assert ground.has("stable")
    ground.fail()
    event = first.command(copying.extended_copy(len(data)), 0, write=data)
    assert failed(event).destination is not None
    ground.heal()
    first.command(scsi.cdb10(0x35, 0, 0), 1)


def test_two_initiators(rig: Rig) -> None:
    """Each copies what the other does not write."""
    pair, half = [rig.names[HANGING], rig.names[FILE]], BLOCKS // 2
    lists = [copying.parameters(pair, [segment(half, at, at)]) for at in (0, half)]
    commands = [
        nexus.submit(copying.extended_copy(len(data)), FILE, write=data)
        for nexus, data in zip((rig.first, rig.second), lists, strict=True)
    ]
    for nexus, command in zip((rig.first, rig.second), commands, strict=True):
        assert nexus.answer(command, seconds=60 * tree.SLOW).good
    assert rig.content(FILE) == rig.data


def test_compare_and_write_does_not_wait_for_a_copy(rig: Rig) -> None:
    """Nor for the command of one: only for what is at the medium, and that waits for its own turn."""
    command = rig.hung(HANGING, FILE, by=FILE)
    before = rig.paths[FILE].read_bytes()[: 8 * 512]
    rig.second.good(scsi.compare_and_write(0, 8), FILE, write=before + bytes(8 * 512))
    assert rig.script.find(Kind.RESPONDED, command) is None
    rig.mapper.resume()
    assert rig.first.answer(command).good
    assert rig.content(FILE) == rig.data
