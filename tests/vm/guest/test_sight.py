# SPDX-License-Identifier: GPL-2.0-or-later
"""To see inside: trace points, commands in flight, counters, latencies. Switched off they record nothing.

Commands come from initiators on this host (driver local), whose data is in their own memory, and from
scripted ones, whose data comes later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from pyscstadmin.kernel.inflight import Command, read_commands
from tests.vm.guest import script as scripted
from tests.vm.guest import scsi, tool, tree
from tests.vm.guest.patience import LIMIT, timely
from tests.vm.guest.script import HOLD_DATA, HOLD_RESPONSE, Kind, Nexus, Plan, Response, Script, Tmf
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_recovery import Mapper, mapper
from tests.vm.guest.tracefs import Event, Trace, tracing
from tests.vm.guest.tree import Initiator, Target
from tests.vm.guest_plugin import PluggedDisk

__all__ = ("mapper",)

SCST_MODULES = (
    "scst", "scst_nullio", "scst_fileio", "scst_blockio", "scst_local", "scst_script",
    "sd_mod", "sg", "dm_mod",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
LATENCY = tree.CLASS / "core/latency"
EAGAIN, ENOMEM = 11, 12
BLOCK = bytes(512)
LIFE = ["cmd_submit", "cmd_admit", "cmd_execute", "cmd_done", "cmd_respond", "cmd_release"]
COUNTERS = ("aborted", "lun_resets", "unit_attentions", "busy", "task_set_full", "check_conditions")


@pytest.fixture
def trace() -> Iterator[Trace]:
    """All trace points on."""
    with tracing() as made:
        made.enable()
        yield made


@pytest.fixture
def measured() -> Iterator[None]:
    """Latencies are measured."""
    tree.write(LATENCY, True)
    yield
    tree.write(LATENCY, False)


def local_unit(device: tree.Device, target: str = "t0") -> tuple[Initiator, Unit]:
    """An initiator on this host that sees a device as LUN 0, with no attention pending."""
    made = Target(target).make()
    made.luns.map(0, device)
    made.enable()
    host = made.login("iqn.2026:here")
    host.disk(0)
    unit = Unit(host.sg(0))
    unit.attentions()
    return host, unit


def number_of(folder: Path) -> str:
    """The session's number, as traces and lists have it."""
    return folder.name.removeprefix("session.")


def session_of(nexus: Nexus) -> Path:
    """The class device of a scripted session."""
    for folder in tree.CLASS.glob("session.*"):
        if tree.read(folder / "initiator") == nexus.name:
            return folder
    raise LookupError(nexus.name)


def life(events: list[Event], word: str, **fields: str) -> list[Event]:
    """The events of the one command whose submission has this opcode and these fields, up to its release."""
    (first,) = (
        event
        for event in events
        if event.name == "cmd_submit" and event.has(word) and fields.items() <= event.fields.items()
    )
    found = []
    for event in events[events.index(first) :]:
        same = all(event.fields.get(name) == first.fields[name] for name in ("session", "tag"))
        if event.name.startswith("cmd_") and same:
            found.append(event)
            # A host uses its tags again.
            if event.name == "cmd_release":
                break
    return found


def counts(folder: Path) -> dict[str, int]:
    """The session's counters."""
    return {name: int(tree.read(folder / name)) for name in (*COUNTERS, "commands")}


def grown(before: dict[str, int], folder: Path) -> dict[str, int]:
    """What has been counted since, without what has not changed."""
    now = counts(folder)
    return {name: now[name] - before[name] for name in now if now[name] != before[name]}


# --- a command's life ---


def test_life_of_a_local_command(trace: Trace) -> None:
    """READ and WRITE of a null device, which is done in the submitter's context."""
    host, unit = local_unit(tree.nullio("d0"))
    with unit:
        trace.clear()
        unit.good(scsi.read10(0x1234, 8), 4096)
        unit.good(scsi.write10(0x77, 2), write=bytes(1024))
        events = trace.events()
    session = number_of(host.session)
    read = life(events, "READ(10)", session=session, cdb="28000000123400000800")
    assert [event.name for event in read] == LIFE
    submit, admit, execute, done, respond, release = (event.fields for event in read)
    assert all(event.fields["lun"] == "0" and event.has("READ(10)") for event in read)
    assert submit["target"] == "local/t0"
    assert (submit["initiator"], submit["device"]) == ("iqn.2026:here", "d0")
    assert (submit["dir"], submit["expected"]) == ("IN", "4096")
    assert submit["context"] in ("TASK", "ATOMIC"), "by the sender or a worker of the block layer"
    assert (admit["lba"], admit["blocks"], admit["bytes"]) == (str(0x1234), "8", "4096")
    assert (execute["action"], execute["position"], execute["device"]) == ("READ", str(0x1234 * 512), "d0")
    assert done["error"] == "0"
    assert (respond["status"], respond["bytes"], respond["aborted"]) == ("GOOD", "4096", "0")
    assert int(release["age_ms"]) < 60_000
    write = life(events, "WRITE(10)", session=session, cdb="2a000000007700000200")
    assert [event.name for event in write] == LIFE
    assert (write[0].fields["dir"], write[2].fields["action"]) == ("OUT", "WRITE")


def test_life_with_a_data_phase(trace: Trace, script: Script) -> None:
    """A WRITE whose data is asked for, and a READ that is lent the handler's memory."""
    nexus, _ = scripted.serve(script, tree.nullio("d0"))
    trace.clear()
    nexus.answer(nexus.write10(5, BLOCK))
    nexus.answer(nexus.read10(9, 2))
    events = trace.events()
    write = life(events, "WRITE(10)", initiator="first")
    assert [event.name for event in write] == [
        "cmd_submit", "cmd_admit", "cmd_buffer", "cmd_receive", "cmd_received",
        "cmd_execute", "cmd_done", "cmd_respond", "cmd_release",
    ]  # fmt: skip
    assert (write[0].fields["target"], write[0].fields["context"]) == ("script/t1", "ATOMIC")
    assert (write[2].fields["owner"], write[2].fields["bytes"]) == ("POOL", "512")
    assert write[4].fields["error"] == "0"
    read = life(events, "READ(10)", initiator="first")
    assert [event.name for event in read] == [
        "cmd_submit", "cmd_admit", "cmd_buffer", "cmd_respond", "cmd_release",
    ]  # fmt: skip
    assert (read[2].fields["owner"], read[2].fields["bytes"]) == ("HANDLER", "1024")


def test_life_of_what_interrupts_bring(trace: Trace, script: Script) -> None:
    """A command, and its data, that hard interrupts have brought go on in soft ones: no thread is woken."""
    nexus, _ = scripted.serve(script, tree.nullio("d0"))
    trace.clear()
    plan = Plan(submit_from=scripted.From.IRQ, data_from=scripted.From.IRQ)
    nexus.answer(nexus.write10(5, BLOCK, plan=plan))
    write = life(trace.events(), "WRITE(10)", initiator="first")
    assert [(event.name.removeprefix("cmd_"), event.place) for event in write[:-1]] == [
        ("submit", "h"), ("admit", "s"), ("buffer", "s"), ("receive", "s"), ("received", "h"),
        ("execute", "s"), ("done", "s"), ("respond", "s"),
    ]  # fmt: skip


def test_life_on_a_thread(trace: Trace, script: Script, make_file: MakeFile) -> None:
    """What may block waits for a thread of its device first; a failed transfer never gets there."""
    nexus, _ = scripted.serve(script, tree.fileio("d0", make_file("d0", 1)))
    trace.clear()
    nexus.answer(nexus.write10(5, BLOCK))
    assert nexus.answer(nexus.write10(6, BLOCK, plan=Plan(error=-5))).sense == (0xB, 0x4B, 0)
    events = trace.events()
    names = [event.name for event in life(events, "WRITE(10)", cdb="2a000000000500000100")]
    assert names[names.index("cmd_received") + 1 :] == [
        "cmd_execute", "cmd_queue", "cmd_done", "cmd_respond", "cmd_release",
    ]  # fmt: skip
    failed = life(events, "WRITE(10)", cdb="2a000000000600000100")
    assert [event.name for event in failed][-3:] == ["cmd_received", "cmd_respond", "cmd_release"]
    assert failed[-3].fields["error"] == "-5"
    respond = failed[-2].fields
    assert (respond["status"], respond["sense"]) == ("CHECK_CONDITION", "ABORTED_COMMAND/4b/00")


def test_what_stops_a_command(trace: Trace, script: Script) -> None:
    """The gate by name, then the answer; a LUN that is not there; no room."""
    device = tree.nullio("d0")
    nexus, other = scripted.serve(script, device, queue_depth=1)
    trace.clear()
    assert nexus.manage(Tmf.LUN_RESET) == Response.COMPLETE
    other.test_unit_ready()
    device.activate(False)
    other.attentions()
    assert other.command(scsi.read10(0, 1), read=512).sense == scsi.BECOMING_READY
    other.command(scsi.test_unit_ready(), lun=7)
    device.activate()
    nexus.attentions()
    held = nexus.write10(0, BLOCK, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, held)
    assert nexus.answer(nexus.write10(1, BLOCK)).status == scsi.TASK_SET_FULL
    script.data(held)
    nexus.answer(held)
    events = trace.events()
    told = life(events, "TEST_UNIT_READY", initiator="second", device="-")
    assert [event.name for event in told] == ["cmd_submit", "cmd_respond", "cmd_release"]
    assert told[1].fields["sense"] == "ILLEGAL_REQUEST/25/00"
    parked = life(events, "READ(10)", initiator="second")
    assert [event.name for event in parked] == ["cmd_submit", "cmd_stop", "cmd_respond", "cmd_release"]
    assert (parked[1].fields["gate"], parked[2].fields["sense"]) == ("PARKED", "NOT_READY/04/01")
    gates = {event.fields["gate"] for event in events if event.name == "cmd_stop"}
    assert {"UA_RESET", "PARKED"} <= gates
    full = life(events, "WRITE(10)", cdb="2a000000000100000100")
    assert [event.name for event in full] == ["cmd_submit", "cmd_full", "cmd_respond", "cmd_release"]
    assert (full[1].fields["full"], full[2].fields["status"]) == ("QUEUE_DEPTH", "TASK_SET_FULL")


def test_task_management(trace: Trace, script: Script) -> None:
    """A reset by another: whom it takes, how many it waits for, its answer."""
    nexus, other = scripted.serve(script, tree.nullio("d0"))
    mine, theirs = (number_of(session_of(one)) for one in (nexus, other))
    held = nexus.write10(0, BLOCK, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, held)
    trace.clear()
    reset = other.tmf(Tmf.LUN_RESET)
    script.wait(Kind.ABORT, held)
    script.data(held, error=-5)
    nexus.answer(held)
    assert other.tmf_response(reset) == Response.COMPLETE
    assert other.manage(Tmf.ABORT_TASK, tag=99999) == Response.NO_TASK
    events = [
        event for event in trace.events() if event.name in ("cmd_abort", "cmd_release") or "tmf" in event.name
    ]
    assert [event.name for event in events] == [
        "tmf_submit", "cmd_abort", "tmf_wait", "tmf_done", "cmd_release", "tmf_submit", "tmf_done",
    ]  # fmt: skip
    submit, abort, wait, done = (event.fields for event in events[:4])
    assert events[0].has("LUN_RESET")
    assert (submit["session"], submit["initiator"]) == (theirs, "second")
    assert (abort["session"], abort["by_session"], abort["at_driver"]) == (mine, theirs, "1")
    assert abort["tag"] == hex(held)
    assert (wait["commands"], done["response"]) == ("1", "COMPLETE")
    assert events[5].has("ABORT_TASK")
    assert (events[5].fields["tag"], events[6].fields["response"]) == (hex(99999), "NO_TASK")


def test_states(trace: Trace) -> None:
    """Devices, targets and sessions, from which to which."""
    device = tree.nullio("d0")
    target = Target("t0").make()
    target.luns.map(0, device)
    target.enable()
    host = target.login("here")
    session = number_of(host.session)
    device.activate(False)
    target.logout("here")
    target.enable(False)
    target.luns.unmap(0)
    device.enable(False)
    tree.wait_for("the session to go", lambda: not any(tree.CLASS.glob("session.*")))
    events = trace.events()

    def steps(name: str, **fields: str) -> list[str]:
        found = (event for event in events if event.name == name and fields.items() <= event.fields.items())
        return [" ".join(word for word in event.text.split() if "=" not in word) for event in found]

    assert steps("device_state", device="d0") == [
        "disabled -> opening",
        "opening -> active",
        "active -> closing",
        "closing -> parked",
        "parked -> closing",
        "closing -> disabled",
    ]
    assert steps("target_state", target="local/t0") == [
        "disabled -> enabled",
        "enabled -> closing",
        "closing -> parked",
        "parked -> disabled",
    ]
    assert steps("session_state", session=session, initiator="here") == ["login", "closing", "gone"]
    parked = [
        event.fields["closed"] for event in events if event.name == "device_gate" and event.has("PARKED")
    ]
    assert parked == ["0", "1"]


def test_every_point_has_a_format(trace: Trace) -> None:
    """What tools read of each: names and numbers of constants, no name that only the kernel knows."""
    assert len(trace.points) >= 20
    for name in trace.points:
        text = (trace.folder / "events/scst" / name / "format").read_text()
        assert "SCST_" not in text.partition("print fmt:")[2].replace("SCST_TRACE", ""), name
        assert "SAM_STAT" not in text, name


def test_filters(trace: Trace, script: Script) -> None:
    """Fields can be filtered by: only what was not answered GOOD."""
    nexus, _ = scripted.serve(script, tree.nullio("d0"))
    trace.enable(False)
    (trace.folder / "events/scst/scst_cmd_respond/filter").write_text("status != 0")
    trace.enable(point="scst_cmd_respond")
    trace.clear()
    nexus.answer(nexus.read10(0, 1))
    nexus.command(scsi.read10(1 << 31, 1), read=512)
    (event,) = trace.events()
    assert event.fields["sense"] == "ILLEGAL_REQUEST/21/00"


# --- commands in flight ---


def lines(device: str) -> list[Command]:
    """The commands in flight at one device; reading them waits for nobody."""
    return [one for one in timely("reading commands", read_commands, LIMIT) if one.device == device]


def test_hanging_local_commands(mapper: Mapper, disks: dict[str, PluggedDisk], tmp_path: Path) -> None:
    """A suspended mapping: which, where, since when; nothing of the LUN beside it; gone when it is over."""
    target = Target("t0").make()
    devices = tree.blockio("slow", mapper.node), tree.blockio("fine", disks["vm-disk-a"].node)
    for lun, device in enumerate(devices):
        target.luns.map(lun, device)
    target.enable()
    host = target.login("iqn.2026:here")
    for lun in (0, 1):
        host.disk(lun)
    with Unit(host.sg(0)) as slow, Unit(host.sg(1)) as fine:
        slow.attentions()
        fine.attentions()
        assert lines("slow") == []
        mapper.suspend()
        slow.start(scsi.read10(0x40, 8), 4096)
        slow.start(scsi.read16(0x80, 16), 8192)
        tree.wait_for("both to hang", lambda: len(lines("slow")) == 2)
        time.sleep(0.5)
        before = {one.cdb: one for one in lines("slow")}
        read = before["28000000004000000800"]
        assert (read.place, read.aborted, read.opcode, read.bytes) == ("handler", False, "READ(10)", 4096)
        assert (read.target, read.initiator, read.lun) == ("local/t0", "iqn.2026:here", 0)
        assert read.session == host.session.name
        assert 400 <= read.age_ms < 60_000
        assert before["88000000000000000080000000100000"].bytes == 8192
        time.sleep(0.5)
        after = {one.cdb: one for one in lines("slow")}
        assert after.keys() == before.keys()
        assert all(after[cdb].age_ms - before[cdb].age_ms >= 400 for cdb in before)
        assert after[read.cdb].tag == read.tag
        timely("a read of the LUN beside it", partial(fine.good, scsi.read10(0, 8), 4096), LIMIT)
        assert lines("fine") == []
        status, said = tool.run(tmp_path, "sessions", "--commands")
        assert status == 0
        found = said["commands"]
        assert [(one["device"], one["place"]) for one in found] == [("slow", "handler")] * 2
        assert found[0]["age_ms"] >= found[1]["age_ms"] >= 900
        mapper.resume()
        tree.wait_for("both to end", slow.idle)
    assert lines("slow") == []


def test_places_of_a_scripted_command(script: Script, mapper: Mapper) -> None:
    """Where a command is: waiting for data, in the back end, aborted there, with the driver."""
    nexus, other = scripted.serve(script, tree.blockio("slow", mapper.node))

    def place(command: int) -> tuple[str, bool] | None:
        found = [one for one in lines("slow") if one.tag == hex(command) and one.initiator == "first"]
        return (found[0].place, found[0].aborted) if found else None

    held = nexus.write10(0, BLOCK, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, held)
    assert place(held) == ("data", False)
    mapper.suspend()
    script.data(held)
    tree.wait_for("the back end to have it", lambda: place(held) == ("handler", False))
    reset = other.tmf(Tmf.LUN_RESET)
    tree.wait_for("the reset to take it", lambda: place(held) == ("handler", True))
    mapper.resume()
    assert nexus.answer(held).aborted
    assert other.tmf_response(reset) == Response.COMPLETE
    nexus.attentions()
    responding = nexus.submit(scsi.inquiry(), read=255, plan=HOLD_RESPONSE)
    script.wait(Kind.RESPONDED, responding)
    assert place(responding) == ("response", False)
    script.respond(responding)
    script.wait(Kind.RELEASED, responding)
    assert lines("slow") == []


def test_stalled_and_absent(script: Script) -> None:
    """No room in the driver's ring; and a session that is going still shows what hangs in it."""
    device = tree.nullio("d0")
    nexus, _ = scripted.serve(script, device)
    stuck = nexus.write10(0, BLOCK, plan=Plan(data_again=1, flags=scripted.Flag.NO_RESUME))
    script.wait(Kind.AGAIN, stuck)
    (one,) = lines("d0")
    assert (one.place, one.opcode, one.cdb) == ("stalled", "WRITE(10)", "2a000000000000000100")
    script.resume()
    nexus.answer(stuck)
    lost = nexus.submit(scsi.inquiry(), lun=9, read=36, plan=HOLD_RESPONSE)
    script.wait(Kind.RESPONDED, lost)
    (absent,) = (one for one in read_commands() if one.tag == hex(lost))
    assert (absent.device, absent.lun, absent.opcode) == ("", 9, "INQUIRY")
    nexus.close()
    tree.wait_for("the session to be closed", lambda: any(one.aborted for one in read_commands()))
    assert [one.tag for one in read_commands()] == [hex(lost)]
    assert not [
        folder for folder in tree.CLASS.glob("session.*") if tree.read(folder / "initiator") == "first"
    ]
    script.respond(lost)
    nexus.gone()
    assert read_commands() == []


def test_many_commands_while_others_run(script: Script) -> None:
    """Hundreds are listed whole, once each, while commands of others come and go under the reader."""
    nexus, other = scripted.serve(script, tree.nullio("d0"))
    held = {nexus.write10(lba, BLOCK, plan=HOLD_DATA) for lba in range(300)}
    for command in held:
        script.wait(Kind.WANTS_DATA, command)
    stop = threading.Event()
    rounds: list[list[Command]] = []

    def read_on() -> None:
        while not stop.is_set():
            rounds.append(read_commands())

    reader = threading.Thread(target=read_on)
    reader.start()
    for lba in range(300):
        assert other.answer(other.write10(lba, BLOCK)).good
    stop.set()
    reader.join()
    assert len(rounds) >= 3
    for found in rounds:
        mine = [one.tag for one in found if one.initiator == "first"]
        assert sorted(mine) == sorted(map(hex, held))
        assert all(one.place == "data" for one in found if one.initiator == "first")
        assert all(one.opcode == "WRITE(10)" and len(one.cdb) == 20 for one in found)
    for command in held:
        script.data(command)
    for command in held:
        nexus.answer(command)
    assert read_commands() == []


# --- counters ---


def test_counters(script: Script) -> None:
    """Each counts what it is named for, on the session that it happened to."""
    nexus, other = scripted.serve(script, tree.nullio("d0"), queue_depth=1)
    mine, theirs = session_of(nexus), session_of(other)
    before, before_theirs = counts(mine), counts(theirs)
    assert other.manage(Tmf.LUN_RESET) == Response.COMPLETE
    assert nexus.test_unit_ready().sense == scsi.RESET
    assert nexus.command(scsi.read10(1 << 31, 1), read=512).sense == scsi.LBA_OUT_OF_RANGE
    assert nexus.answer(nexus.write10(0, BLOCK, plan=Plan(error=-EAGAIN))).status == scsi.BUSY
    assert nexus.answer(nexus.write10(0, BLOCK, plan=Plan(error=-ENOMEM))).status == scsi.BUSY
    held = nexus.write10(0, BLOCK, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, held)
    assert nexus.answer(nexus.write10(1, BLOCK)).status == scsi.TASK_SET_FULL
    abort = nexus.tmf(Tmf.ABORT_TASK, tag=held)
    script.wait(Kind.ABORT, held)
    script.data(held, error=-5)
    nexus.answer(held)
    assert nexus.tmf_response(abort) == Response.COMPLETE
    assert grown(before, mine) == {
        "unit_attentions": 1,
        "check_conditions": 2,
        "busy": 2,
        "task_set_full": 1,
        "aborted": 1,
        "commands": 6,
    }
    assert grown(before_theirs, theirs) == {"lun_resets": 1}


def test_counters_of_a_local_initiator() -> None:
    """The same for a SCSI host of this machine, and `scstadmin sessions` says it."""
    host, unit = local_unit(tree.nullio("d0"))
    with unit:
        before = counts(host.session)
        assert unit.sense(scsi.read10(1 << 31, 1), 512) == scsi.LBA_OUT_OF_RANGE
        unit.good(scsi.read10(0, 1), 512)
    now = grown(before, host.session)
    assert (now["check_conditions"], now["commands"]) == (1, 2)


# --- latencies ---

Histograms = dict[tuple[str, str], list[int]]


def histograms(initiator: str) -> Histograms:
    """Counts by device and kind, of one initiator."""
    found: Histograms = {}
    for line in (tree.DEBUG / "latency").read_text().splitlines():
        if not line.startswith("#"):
            kind, _, _, name, _, device, *numbers = line.split()
            assert len(numbers) == 32
            if name == initiator:
                found[device, kind] = [int(number) for number in numbers]
    return found


def sums(initiator: str) -> dict[tuple[str, str], int]:
    """Commands by device and kind, where there are any."""
    return {key: sum(row) for key, row in histograms(initiator).items() if any(row)}


@pytest.mark.usefixtures("measured")
def test_latencies_of_a_data_phase(script: Script, mapper: Mapper) -> None:
    """Every command is counted once, in its kind; one that hung for half a second is where it belongs."""
    nexus, _ = scripted.serve(script, tree.nullio("d0"), tree.blockio("slow", mapper.node))
    tree.write(LATENCY, False)
    tree.write(LATENCY, True)
    before = counts(session_of(nexus))["commands"]
    for lba in range(40):
        nexus.answer(nexus.write10(lba, BLOCK))
    for lba in range(30):
        nexus.answer(nexus.read10(lba, 1))
    for _ in range(20):
        nexus.test_unit_ready()
    mapper.suspend()
    hung = nexus.read10(0, 1, lun=1)
    time.sleep(0.6)
    mapper.resume()
    nexus.answer(hung)
    assert sums("first") == {
        ("d0", "write"): 40,
        ("d0", "read"): 30,
        ("d0", "other"): 20,
        ("slow", "read"): 1,
    }
    assert sum(sums("first").values()) == counts(session_of(nexus))["commands"] - before
    slow = histograms("first")["slow", "read"]
    assert slow.index(1) >= 20, "2^19 microseconds are more than half a second"
    assert sums("second") == {}


def test_latencies_on_and_off(script: Script, tmp_path: Path) -> None:
    """Off: nothing is shown. On: from zero, also for those who come later. Off again: forgotten."""
    assert tree.read(LATENCY) == "0"
    device = tree.nullio("d0")
    nexus, _ = scripted.serve(script, device)
    nexus.answer(nexus.read10(0, 1))
    assert histograms("first") == {}
    tree.write(LATENCY, True)
    assert tree.read(LATENCY) == "1"
    assert set(histograms("first")) == {("d0", kind) for kind in ("read", "write", "other")}
    assert sums("first") == {}
    held = nexus.write10(0, BLOCK, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, held)
    assert sums("first") == {}
    script.data(held)
    nexus.answer(held)
    assert sums("first") == {("d0", "write"): 1}
    late = script.login(scripted.Target("t1"), "late")
    late.attentions()
    assert sums("late") == {("d0", "other"): 2}
    second = tree.nullio("d1")
    scripted.Target("t1").luns.map(5, second)
    assert ("d1", "read") in histograms("first")
    nexus.attentions()
    tree.write(LATENCY, False)
    assert (tree.DEBUG / "latency").read_text().count("\n") == 1
    across = nexus.write10(0, BLOCK, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, across)
    tree.write(LATENCY, True)
    script.data(across)
    nexus.answer(across)
    assert sums("first") == {}, "a command from before is not counted"
    tree.write(LATENCY, False)
    with pytest.raises(OSError, match="Invalid argument"):
        tree.write(LATENCY, "2")


@pytest.mark.usefixtures("measured")
def test_latencies_of_local_commands() -> None:
    """The sum is what the session has counted, while several submit at once."""
    host, unit = local_unit(tree.nullio("d0"))
    tree.write(LATENCY, False)
    tree.write(LATENCY, True)
    before = counts(host.session)["commands"]

    def work() -> None:
        with Unit(host.sg(0)) as mine:
            for lba in range(100):
                mine.good(scsi.read10(lba, 1), 512)
                mine.good(scsi.write10(lba, 1), write=BLOCK)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    unit.close()
    # Who looks at a new disk may still do so, and reads.
    found = sums("iqn.2026:here")
    assert found["d0", "read"] >= 400
    assert found["d0", "write"] == 400
    tree.wait_for(
        "nobody to be between the two counts",
        lambda: sum(sums("iqn.2026:here").values()) == counts(host.session)["commands"] - before,
    )


# --- off ---


def test_off_records_nothing(script: Script) -> None:
    """No event of ours, with an instance there that is switched off; one that is on records only its own."""
    nexus, _ = scripted.serve(script, tree.nullio("d0"))
    with tracing() as trace:
        nexus.answer(nexus.write10(0, BLOCK))
        nexus.manage(Tmf.LUN_RESET)
        assert trace.events() == []
        trace.enable(point="scst_tmf_done")
        nexus.attentions()
        nexus.answer(nexus.write10(0, BLOCK))
        assert trace.events() == []
        nexus.manage(Tmf.LUN_RESET)
        assert [event.name for event in trace.events()] == ["tmf_done"]
        trace.enable(False)
        trace.clear()
        nexus.attentions()
        nexus.answer(nexus.write10(0, BLOCK))
        assert trace.events() == []
