# SPDX-License-Identifier: GPL-2.0-or-later
"""Asymmetric logical unit access: two targets are two ports of one device; what each state lets through."""

from __future__ import annotations

import errno
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.vm.guest import alua, scsi, tool, tree
from tests.vm.guest.alua import DeviceGroup, Told, Tpg
from tests.vm.guest.patience import MOMENT, timely
from tests.vm.guest.script import HOLD_DATA, Kind, Script
from tests.vm.guest.script import serve as serve_scripted
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_recovery import Mapper, mapper
from tests.vm.guest.test_recovery import serve as serve_local
from tests.vm.guest.test_settled import (
    DATA,
    PARTLY,
    Poll,
    Writer,
    is_settled,
    medium,
    unsettled,
    wait_unsettled,
)
from tests.vm.guest.tree import Device, Target

__all__ = ("mapper",)

SCST_MODULES = (
    "scst",
    "scst_nullio",
    "scst_fileio",
    "scst_blockio",
    "scst_local",
    "scst_script",
    "sg",
    "dm_mod",
)

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]


@dataclass(frozen=True, slots=True)
class Pair:
    """A device, the targets that are its ports, their groups, an initiator at each; nothing is pending."""

    device: Device
    targets: tuple[Target, Target]
    group: DeviceGroup
    tpgs: tuple[Tpg, Tpg]
    units: tuple[Unit, Unit]

    def told(self) -> list[list[scsi.Sense]]:
        """What is pending for the two initiators."""
        return [unit.attentions() for unit in self.units]

    def report(self, port: int = 0) -> list[Told]:
        """REPORT TARGET PORT GROUPS."""
        return alua.parse(self.units[port].good(alua.report_groups(), 1024))

    def numbers(self) -> list[int]:
        """Relative target port identifiers."""
        return [int(tree.read(target.path / "rel_tgt_id")) for target in self.targets]


def serve(device: Device, name: str) -> tuple[Target, Unit]:
    """A target with the device as its LUN 0, and an initiator."""
    target = Target(name).make(auto_rescan=False)
    target.luns.map(0, device)
    host = target.login("ini")
    target.enable()
    return target, Unit(host.sg(0))


@pytest.fixture
def pair(make_file: MakeFile) -> Iterator[Pair]:
    """Group 10 and 20, explicit. No initiator has sd: nobody else takes attentions."""
    with tree.without_sd():
        yield from make_pair(make_file)


def make_pair(make_file: MakeFile) -> Iterator[Pair]:
    """The same with any initiators."""
    device = tree.fileio("d0", make_file("d0", 1))
    (first, one), (second, two) = serve(device, "t1"), serve(device, "t2")
    group = DeviceGroup("dg").make(device, explicit=True)
    tpgs = group.tpg("a", 10, first), group.tpg("b", 20, second)
    made = Pair(device, (first, second), group, tpgs, (one, two))
    made.told()
    yield made
    one.close()
    two.close()


# --- what is told ---


def test_report_says_what_the_tree_says(pair: Pair) -> None:
    """Through both ports the same; SPC names of states, PREF, relative port identifiers, status codes."""
    one, two = pair.numbers()
    assert pair.report(0) == pair.report(1) == [Told(10, 0, False, 0, (one,)), Told(20, 0, False, 0, (two,))]
    pair.tpgs[1].set("preferred", True)
    for state, number in alua.STATES.items():
        pair.tpgs[0].switch(state)
        assert pair.tpgs[0].state == state
        pair.told()
        wanted = [
            Told(10, number, False, alua.IMPLICIT if number else 0, (one,)),
            Told(20, 0, True, 0, (two,)),
        ]
        assert pair.report(0) == pair.report(1) == wanted


def test_report_extended_and_cut(pair: Pair) -> None:
    tree.write(pair.group.path / "transition_time", 60)
    whole = pair.units[0].good(alua.report_groups(form=1), 1024)
    assert alua.parse(whole, extended=True) == pair.report()
    assert whole[5] == 60
    for room in (0, 1, 4, 8, 13, len(whole) - 1, len(whole)):
        assert pair.units[0].good(alua.report_groups(room, form=1), 512)[:room] == whole[:room]
    answer = pair.units[0].command(alua.report_groups(form=2), read=64)
    assert answer.sense == scsi.INVALID_FIELD_CDB
    assert scsi.parse_field(answer.raw_sense) == (True, 1)


def test_ports_of_another_host(pair: Pair) -> None:
    """They are told as ports of this one; a group without any is not told."""
    pair.group.tpg("empty", 5)
    pair.tpgs[1].add_remote("other", 777)
    pair.group.tpg("far", 30).add_remote("x", 1001).add_remote("y", 1000).switch(alua.STANDBY)
    assert pair.told() == [[alua.STATE_CHANGED], [alua.STATE_CHANGED]]
    one, two = pair.numbers()
    assert pair.report() == [
        Told(10, 0, False, 0, (one,)),
        Told(20, 0, False, 0, (two, 777)),
        Told(30, 2, False, alua.IMPLICIT, (1001, 1000)),
    ]


def designators(unit: Unit) -> dict[int, bytes]:
    """Those of VPD page 83h that are the port's, by type."""
    page, at, found = unit.good(scsi.inquiry(page=0x83), 255), 4, {}
    while at < len(page):
        if page[at + 1] & 0x30 == 0x10:
            found[page[at + 1] & 0x0F] = page[at + 4 : at + 4 + page[at + 3]]
        at += 4 + page[at + 3]
    return found


def test_inquiry(pair: Pair) -> None:
    """TPGS, and the designators of the port and its group; of a device in no device group, as ever."""
    for unit, number, group in zip(pair.units, pair.numbers(), (10, 20), strict=True):
        assert unit.good(scsi.inquiry(), 255)[5] >> 4 & 3 == 3
        assert designators(unit) == {4: struct.pack(">xxH", number), 5: struct.pack(">xxH", group)}
    tree.write(pair.group.path / "explicit", False)
    assert pair.told() == [[scsi.INQUIRY_CHANGED], [scsi.INQUIRY_CHANGED]]
    # Told that, driver local looks at its device by itself, and may take what is told next.
    assert pair.units[0].good(scsi.inquiry(), 255)[5] >> 4 & 3 == 1
    pair.tpgs[0].drop(pair.targets[0])
    assert pair.units[0].good(scsi.inquiry(), 255)[5] >> 4 & 3 == 0
    assert list(designators(pair.units[0])) == [4]
    pair.group.drop(pair.device)
    pair.told()
    for unit in pair.units:
        assert unit.good(scsi.inquiry(), 255)[5] >> 4 & 3 == 0
        assert list(designators(unit)) == [4]
        assert unit.sense(alua.report_groups(), 64) == scsi.INVALID_FIELD_CDB
        assert unit.sense(alua.set_groups(8), write=alua.set_list((10, 2))) == scsi.INVALID_FIELD_CDB


def supported(unit: Unit) -> set[tuple[int, int]]:
    """Which of the two commands are told of: in the list of all, and asked for them."""
    data, rows = unit.good(scsi.report_opcodes(), 8192), ((0xA3, 0x0A), (0xA4, 0x0A))
    listed = {(data[at], data[at + 3]) for at in range(4, len(data), 8)}
    asked = {row for row in rows if unit.good(scsi.report_opcodes(3, *row), 64)[1] == 3}
    assert asked == listed & set(rows)
    return asked


def test_opcodes_are_told_where_they_are(pair: Pair) -> None:
    assert supported(pair.units[0]) == {(0xA3, 0x0A), (0xA4, 0x0A)}
    tree.write(pair.group.path / "explicit", False)
    pair.told()
    assert supported(pair.units[0]) == {(0xA3, 0x0A)}
    assert pair.units[0].sense(alua.set_groups(8), write=alua.set_list((10, 2))) == scsi.INVALID_FIELD_CDB
    pair.group.drop(pair.device)
    pair.told()
    assert supported(pair.units[0]) == set()


def test_mode_page_says_whether_states_change(script: Script) -> None:
    """IALUAE: as long as the unit has ports whose states may change; who sees it is told."""
    device = tree.nullio("n")
    nexuses = serve_scripted(script, device)

    def told() -> tuple[int, list[list[scsi.Sense]]]:
        told = [nexus.attentions() for nexus in nexuses]
        pages = {
            nexuses[0].good(scsi.mode_sense6(0x0A, control, subpage=1), read=255)[4 + 4] & 1
            for control in (0, 2)
        }
        assert not nexuses[0].good(scsi.mode_sense6(0x0A, 1, subpage=1), read=255)[4 + 4]
        return pages.pop() if len(pages) == 1 else -1, told

    group = DeviceGroup("dg").make(device)
    assert told() == (0, [[], []]), "a group without ports"
    group.tpg("far", 30).add_remote("x", 1001)
    assert told() == (1, [[scsi.MODE_CHANGED]] * 2)
    group.drop(device)
    assert told() == (0, [[scsi.MODE_CHANGED]] * 2)
    group.add(device)
    assert told() == (1, [[scsi.MODE_CHANGED]] * 2)


def test_sg3_utils(pair: Pair) -> None:
    """sg_rtpg and sg_stpg, as people use them."""

    def tool(*argv: str) -> str:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    node = str(pair.units[0].node)
    before = tool("sg_rtpg", "-d", node)
    assert before.count("active/optimized") >= 2
    tool("sg_stpg", "--tp=10", "--state=s", node)
    assert (pair.tpgs[0].state, pair.tpgs[1].state) == (alua.STANDBY, alua.OPTIMIZED)
    after = tool("sg_rtpg", "-d", "-e", node)
    assert "standby" in after
    tool("sg_stpg", "--tp=10,20", "--state=ao,an", node)
    assert (pair.tpgs[0].state, pair.tpgs[1].state) == (alua.OPTIMIZED, alua.NONOPTIMIZED)


# --- gates ---

Sent = tuple[bytes, int, bytes | None]

# What is executed in any state, in standby as well as in the active ones, and in these only.
ALWAYS: dict[str, Sent] = {
    "INQUIRY": (scsi.inquiry(), 255, None),
    "VPD": (scsi.inquiry(page=0x83), 255, None),
    "REPORT LUNS": (scsi.report_luns(64), 64, None),
    "REQUEST SENSE": (scsi.request_sense(), 252, None),
    "REPORT TARGET PORT GROUPS": (alua.report_groups(), 1024, None),
}
# The way can be tested before it is usable: in all states but offline and transitioning.
ECHO: dict[str, Sent] = {
    "WRITE BUFFER, ECHO BUFFER": (scsi.write_buffer(scsi.BUFFER_ECHO, 4), 0, b"echo"),
    "READ BUFFER(10), ECHO BUFFER": (scsi.read_buffer10(scsi.BUFFER_ECHO_DESCRIPTOR, 4), 4, None),
    "READ BUFFER(16), ECHO BUFFER": (scsi.read_buffer16(scsi.BUFFER_ECHO_DESCRIPTOR, 4), 4, None),
}
IN_STANDBY: dict[str, Sent] = {
    "LOG SENSE": (bytes((0x4D, 0, 0x40, 0, 0, 0, 0, 0, 64, 0)), 64, None),
    "MODE SENSE": (bytes((0x1A, 0, 0x3F, 0, 252, 0)), 252, None),
    "READ CAPACITY(10)": (scsi.read_capacity10(), 8, None),
    "READ CAPACITY(16)": (scsi.read_capacity16(), 32, None),
    "PERSISTENT RESERVE IN": (struct.pack(">BB5xHB", 0x5E, 0, 64, 0), 64, None),
    "SEND DIAGNOSTIC": (scsi.send_diagnostic(), 0, None),
    "RECEIVE DIAGNOSTIC RESULTS": (scsi.receive_diagnostic(0), 64, None),
    "REPORT SUPPORTED OPERATION CODES": (scsi.report_opcodes(), 8192, None),
    "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS": (scsi.report_tmfs(), 16, None),
    "REPORT TIMESTAMP": (scsi.report_timestamp(), 12, None),
    "SET TIMESTAMP": (scsi.set_timestamp(0), 0, None),
    "REPORT IDENTIFYING INFORMATION": (scsi.report_ident(), 512, None),
    "SET IDENTIFYING INFORMATION": (scsi.set_ident(0), 0, None),
}
ACTIVE: dict[str, Sent] = {
    "TEST UNIT READY": (scsi.test_unit_ready(), 0, None),
    "READ(10)": (scsi.read10(0, 1), 512, None),
    "READ(16)": (scsi.read16(0, 1), 512, None),
    "WRITE(10)": (scsi.write10(8, 1), 0, bytes(512)),
    "WRITE(16)": (scsi.write16(8, 1), 0, bytes(512)),
    "VERIFY(10)": (scsi.verify10(0, 1), 0, None),
    "WRITE SAME(16)": (scsi.write_same16(8, 1), 0, bytes(512)),
    "SYNCHRONIZE CACHE(10)": (scsi.cdb10(0x35, 0, 0), 0, None),
    "START STOP UNIT": (bytes((0x1B, 0, 0, 0, 1, 0)), 0, None),
    "WRITE BUFFER": (scsi.write_buffer(scsi.BUFFER_DATA, 4), 0, b"data"),
    "READ BUFFER(10)": (scsi.read_buffer10(scsi.BUFFER_DATA, 4), 4, None),
    "READ BUFFER(16)": (scsi.read_buffer16(scsi.BUFFER_DESCRIPTOR, 4), 4, None),
    "RELEASE(6)": (bytes((0x17, 0, 0, 0, 0, 0)), 0, None),
    "RESERVE(6)": (bytes((0x16, 0, 0, 0, 0, 0)), 0, None),
}


@pytest.mark.parametrize("state", list(alua.STATES))
def test_what_a_state_lets_through(pair: Pair, state: str) -> None:
    """Each class of commands through the port whose group is in the state, and all through the other."""
    pair.tpgs[0].switch(state)
    pair.told()
    runs = {**ALWAYS}
    if state not in (alua.OFFLINE, alua.TRANSITIONING):
        runs |= ECHO
    if state in (alua.OPTIMIZED, alua.NONOPTIMIZED, alua.STANDBY):
        runs |= IN_STANDBY
    if state in (alua.OPTIMIZED, alua.NONOPTIMIZED):
        runs |= ACTIVE
    for name, (cdb, read, write) in {**ALWAYS, **ECHO, **IN_STANDBY, **ACTIVE}.items():
        sense = pair.units[0].sense(cdb, read, write)
        assert sense == (None if name in runs else alua.NOT_READY[state]), name
        assert pair.units[1].sense(cdb, read, write) is None, f"{name}, by the other port"
    pending = scsi.parse_sense(pair.units[0].good(scsi.request_sense(), 252))
    assert pending == alua.NOT_READY.get(state, scsi.NO_SENSE)
    qualifier = pair.units[0].good(scsi.inquiry(), 255)[0] >> 5
    assert qualifier == (1 if state in (alua.UNAVAILABLE, alua.OFFLINE) else 0)
    assert pair.units[1].good(scsi.inquiry(), 255)[0] == 0


def test_state_of_a_new_session(pair: Pair) -> None:
    """Who comes later finds the gate that is closed, and a device that joins finds it as well."""
    pair.tpgs[0].switch(alua.STANDBY)
    host = pair.targets[0].login("late")
    with Unit(host.sg(0)) as unit:
        unit.attentions()
        assert unit.sense(scsi.read10(0, 1), 512) == alua.NOT_READY[alua.STANDBY]
    other = tree.nullio("n1")
    pair.targets[0].luns.map(1, other)
    Path(f"/sys/class/scsi_host/host{host.number}/scan").write_text("- - 1")
    with Unit(host.sg(1)) as unit:
        unit.attentions()
        assert unit.sense(scsi.read10(0, 1), 512) is None
        pair.group.add(other)
        unit.attentions()
        assert unit.sense(scsi.read10(0, 1), 512) == alua.NOT_READY[alua.STANDBY]


def test_state_and_a_parked_device(pair: Pair) -> None:
    """The port's state is said first; REPORT TARGET PORT GROUPS needs no backing."""
    pair.device.activate(False)
    pair.tpgs[0].switch(alua.STANDBY)
    pair.told()
    assert pair.units[0].sense(scsi.test_unit_ready()) == alua.NOT_READY[alua.STANDBY]
    assert pair.units[1].sense(scsi.test_unit_ready()) == scsi.NOT_ACCESSIBLE
    assert [told.state for told in pair.report(1)] == [2, 0]


# --- commands that were admitted before ---


def scripted_group(device: Device) -> Tpg:
    """A device group of a device that the scripted driver's target t1 shows."""
    tpg = DeviceGroup("dg").make(device).tpg("a", 10)
    (tpg.path / "ports/script").mkdir()
    (tpg.path / "ports/script/target").symlink_to(tree.ROOT / "targets/script/t1")
    return tpg


@pytest.mark.parametrize("state", list(alua.NOT_READY))
def test_write_in_the_back_end(script: Script, mapper: Mapper, state: str) -> None:
    """Changing the state waits for nobody; `settled` says when no write of the time before it is alive."""
    device = tree.blockio("slow", mapper.node)
    first, second = serve_scripted(script, device)
    tpg = scripted_group(device)
    for nexus in (first, second):
        nexus.attentions()
    before = tree.generation()
    mapper.suspend()
    write = first.submit(scsi.write10(0, 8), write=DATA)
    time.sleep(MOMENT)
    timely("the change of state", partial(tpg.switch, state))
    with Poll() as poll:
        assert (tree.generation(), poll.value()) == (before, before - 1)
        wait_unsettled("script/t1 first 0 slow")
        assert unsettled() == [f"{before} script/t1 first 0 slow"]
        timely("another change", partial(tpg.switch, alua.OPTIMIZED))
        timely("another change", partial(tpg.switch, state))
        assert unsettled() == [f"{before} script/t1 first 0 slow"]
        while poll.woken(0):
            poll.value()
        mapper.resume()
        assert first.answer(write).good
        while poll.value() != tree.generation():
            assert poll.woken(10), "not woken"
    assert medium(mapper.node) == DATA


def test_write_whose_data_is_on_its_way(script: Script, make_file: MakeFile) -> None:
    """Its data comes when the port is in standby: nothing is written."""
    path = make_file("d0", 1)
    first, _ = serve_scripted(script, device := tree.fileio("d0", path))
    tpg = scripted_group(device)
    first.attentions()
    old = path.read_bytes()
    write = first.submit(scsi.write10(0, 8), write=DATA, plan=HOLD_DATA)
    script.wait(Kind.WANTS_DATA, write)
    tpg.switch(alua.STANDBY)
    first.attentions()
    assert not is_settled()
    script.data(write)
    assert first.answer(write).sense == alua.NOT_READY[alua.STANDBY]
    tree.wait_for("settled", is_settled)
    assert path.read_bytes() == old


def test_tool_names_the_writer(mapper: Mapper, tmp_path: Path) -> None:
    """`set tpg state=standby` is done at once, exits 4 while an older write runs and says whose, then 0."""
    host, _ = serve_local(device := tree.blockio("slow", mapper.node))
    tpg = DeviceGroup("dg").make(device).tpg("a", 10, host.target)
    with Writer(host, mapper).hanging() as child:
        status, said = tool.run(tmp_path, "set", "tpg", "a", "alua=dg", "state=standby", "--settle", "1")
        assert (status, said["settled"]) == (PARTLY, False)
        assert [(one["initiator"], one["device"]) for one in said["running"]] == [("first", "slow")]
        assert tpg.state == alua.STANDBY
        mapper.resume()
        child.wait(20)
    status, said = tool.run(tmp_path, "set", "tpg", "a", "alua=dg", "state=unavailable", "--settle", "5")
    assert (status, said["running"]) == (0, [])
    assert tool.run(tmp_path, "explain", "first", "target=t1")[1]["port_states"] == {"slow": "unavailable"}


# --- unit attentions ---


def test_change_is_told_once_to_everybody(pair: Pair) -> None:
    """Each nexus of the unit; nothing for a state that it is in already."""
    pair.tpgs[0].switch(alua.NONOPTIMIZED)
    assert pair.told() == [[alua.STATE_CHANGED], [alua.STATE_CHANGED]]
    assert pair.told() == [[], []]
    pair.tpgs[0].switch(alua.NONOPTIMIZED)
    assert pair.told() == [[], []]
    for state in (alua.STANDBY, alua.OPTIMIZED, alua.NONOPTIMIZED):
        pair.tpgs[0].switch(state)
    assert pair.told() == [[alua.STATE_CHANGED], [alua.STATE_CHANGED]]


def test_other_devices_are_not_told(pair: Pair) -> None:
    other = tree.nullio("n1")
    for target in pair.targets:
        target.luns.map(1, other)
    pair.told()
    host = pair.targets[0].login("second")
    with Unit(host.sg(1)) as unit:
        unit.attentions()
        pair.tpgs[0].switch(alua.STANDBY)
        assert unit.attentions() == []
        unit.good(scsi.read10(0, 1), 512)


def test_failed_transition(pair: Pair) -> None:
    """Back from "transitioning" to where it was: the change has failed, and that is what is told."""
    pair.tpgs[0].switch(alua.TRANSITIONING)
    assert pair.units[0].attentions() == [alua.STATE_CHANGED]
    assert pair.units[1].attentions() == [alua.STATE_CHANGED]
    pair.tpgs[0].switch(alua.OPTIMIZED)
    assert pair.told() == [[alua.CHANGE_FAILED], [alua.CHANGE_FAILED]]
    pair.tpgs[0].switch(alua.TRANSITIONING)
    pair.told()
    pair.tpgs[0].switch(alua.STANDBY)
    assert pair.told() == [[alua.STATE_CHANGED], [alua.STATE_CHANGED]]


def test_uevent(pair: Pair) -> None:
    with subprocess.Popen(
        ["udevadm", "monitor", "--kernel", "--property"], stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        for line in watch.stdout:
            if line.startswith("KERNEL"):
                break
        pair.tpgs[0].switch(alua.STANDBY)
        seen: dict[str, str] = {}
        for line in watch.stdout:
            name, _, value = line.strip().partition("=")
            seen[name] = value
            if not line.strip() and seen.get("SCST_EVENT"):
                break
        watch.kill()
    assert (seen["SCST_TYPE"], seen["SCST_EVENT"], seen["SCST_STATE"]) == ("core", "alua", "dg")


# --- SET TARGET PORT GROUPS ---


def asked(pair: Pair, *wanted: tuple[int, int], port: int = 0) -> scsi.Sense | None:
    """Send it."""
    data = alua.set_list(*wanted)
    return pair.units[port].sense(alua.set_groups(len(data)), write=data)


def states(pair: Pair) -> tuple[str, str]:
    """Of the two groups."""
    return pair.tpgs[0].state, pair.tpgs[1].state


def test_explicit_change(pair: Pair) -> None:
    """Done at once, told to all but who has asked, with the status code that says so."""
    assert asked(pair, (10, 2), (20, 1)) is None
    assert states(pair) == (alua.STANDBY, alua.NONOPTIMIZED)
    assert pair.told() == [[], [alua.STATE_CHANGED]]
    assert [told.status for told in pair.report()] == [alua.BY_COMMAND] * 2
    assert pair.units[0].sense(scsi.read10(0, 1), 512) == alua.NOT_READY[alua.STANDBY]
    assert asked(pair, (10, 0)) is None, "through a port that is in standby"
    assert states(pair) == (alua.OPTIMIZED, alua.NONOPTIMIZED)
    assert pair.told() == [[], [alua.STATE_CHANGED]]
    assert asked(pair, (10, 0), (20, 1)) is None
    assert pair.told() == [[], []], "nothing has changed"


def test_explicit_change_is_all_or_nothing(pair: Pair) -> None:
    """What is refused changes nothing, and the sense data points at what is wrong."""
    wrong: list[tuple[list[tuple[int, int]], int]] = [
        ([(11, 2)], 6),
        ([(10, 2), (11, 2)], 10),
        ([(10, 2), (10, 1)], 10),
        ([(10, 4)], 4),
        ([(10, 14)], 4),
        ([(20, 2), (10, 15)], 8),
        ([(10, 2)] * 60, 10),
    ]
    for wanted, byte in wrong:
        data = alua.set_list(*wanted)
        answer = pair.units[0].command(alua.set_groups(len(data)), write=data)
        assert answer.sense == scsi.INVALID_FIELD_LIST, wanted
        assert scsi.parse_field(answer.raw_sense) == (False, byte), wanted
    for length in (1, 3, 5, 7, 9):
        answer = pair.units[0].command(
            alua.set_groups(length), write=alua.set_list((10, 2), (20, 2))[:length]
        )
        assert answer.sense == scsi.LIST_LENGTH, length
    assert pair.units[0].command(alua.set_groups(12), write=alua.set_list((10, 2))).sense == scsi.LIST_LENGTH
    for empty in (b"", bytes(4)):
        assert pair.units[0].sense(alua.set_groups(len(empty)), write=empty) is None
    assert states(pair) == (alua.OPTIMIZED, alua.OPTIMIZED)
    assert pair.told() == [[], []]


def test_explicit_change_where_it_is_not_for_him(pair: Pair) -> None:
    """Who may only read does not decide, nor who is kept out by a reservation; not while transitioning."""
    tree.write(pair.targets[0].luns.path / "0/read_only", True)
    pair.told()
    assert asked(pair, (10, 2)) == scsi.WRITE_PROTECTED
    tree.write(pair.targets[0].luns.path / "0/read_only", False)
    pair.told()
    pair.units[1].good(ACTIVE["RESERVE(6)"][0])
    data = alua.set_list((10, 2))
    assert pair.units[0].command(alua.set_groups(8), write=data).status == 0x18
    assert [told.state for told in pair.report()] == [0, 0], "but he is told"
    pair.units[1].good(ACTIVE["RELEASE(6)"][0])
    pair.tpgs[0].switch(alua.TRANSITIONING)
    pair.told()
    assert asked(pair, (10, 0)) == alua.NOT_READY[alua.TRANSITIONING]
    assert states(pair) == (alua.TRANSITIONING, alua.OPTIMIZED)


# --- the tree ---


def refused(action: Callable[[], object]) -> str:
    """The name of the errno."""
    return errno.errorcode[tree.errno_of(action)]


def test_what_is_in_use_stays(pair: Pair) -> None:
    group, (one, _) = pair.group.path, pair.targets
    assert refused(group.rmdir) == "ENOTEMPTY"
    assert refused(pair.tpgs[0].path.rmdir) == "ENOTEMPTY"
    assert refused((pair.tpgs[0].path / "ports/local:t1").rmdir) == "ENOTEMPTY"
    assert refused((group / "devices/d0").rmdir) == "ENOTEMPTY"
    assert refused((group / "devices").rmdir) == "EPERM"
    assert refused(lambda: group.rename(group.parent / "other")) in ("EPERM", "EXDEV")
    for unit in pair.units:
        unit.close()
    for target in pair.targets:
        target.enable(False)
        for host in (target.path / "hosts").iterdir():
            host.rmdir()
        target.luns.clear()
    assert refused(one.path.rmdir) == "EBUSY"
    pair.device.enable(False)
    assert refused(pair.device.remove) == "EBUSY"


def test_what_is_there_twice(pair: Pair) -> None:
    """A device has one device group, a target one group in it, an identifier one port and one group."""
    other = DeviceGroup("other").make()
    (other.path / "devices/x").mkdir()
    assert refused(lambda: (other.path / "devices/x/device").symlink_to(pair.device.path)) == "EEXIST"
    port = pair.tpgs[1].path / "ports/again"
    port.mkdir()
    assert refused(lambda: (port / "target").symlink_to(pair.targets[0].path)) == "EEXIST"
    assert refused(lambda: (port / "target").symlink_to(pair.device.path)) == "EINVAL"
    one, two = pair.numbers()
    assert refused(partial(tree.write, port / "rel_tgt_id", one)) == "EEXIST"
    assert refused(partial(tree.write, port / "rel_tgt_id", 65536)) == "ERANGE"
    tree.write(port / "rel_tgt_id", 99)
    assert refused(lambda: (port / "target").symlink_to(pair.targets[0].path)) == "EBUSY"
    assert refused(partial(tree.write, pair.tpgs[0].path / "ports/local:t1/rel_tgt_id", 7)) == "EBUSY"
    assert tree.read(pair.tpgs[0].path / "ports/local:t1/rel_tgt_id") == str(one)
    assert refused(partial(pair.tpgs[0].set, "group_id", 20)) == "EEXIST"
    assert refused(partial(pair.tpgs[0].set, "group_id", 0)) == "ERANGE"
    assert refused(partial(pair.tpgs[0].set, "state", "active")) == "EINVAL"
    assert refused(partial(tree.write, pair.group.path / "transition_time", 256)) == "ERANGE"
    pair.targets[0].enable(False)
    assert refused(partial(tree.write, pair.targets[0].path / "rel_tgt_id", 99)) == "EEXIST"
    tree.write(pair.targets[0].path / "rel_tgt_id", 98)
    pair.units[1].attentions()
    assert [told.ports for told in pair.report(1)] == [(98,), (two, 99)]


def test_first_free_identifier_and_how_many(pair: Pair) -> None:
    group = DeviceGroup("many").make()
    made = [group.tpg(f"g{number}") for number in range(32)]
    assert [tree.read(tpg.path / "group_id") for tpg in made] == [str(number + 1) for number in range(32)]
    assert refused(partial(group.tpg, "one-more")) == "ENOSPC"
    made[3].path.rmdir()
    assert tree.read(group.tpg("again").path / "group_id") == "4"
    for number in range(255):
        (made[0].path / "ports" / f"p{number}").mkdir()
    assert refused((made[0].path / "ports/p255").mkdir) == "ENOSPC"


def test_states_are_not_staged(pair: Pair) -> None:
    """A change of state is in force at once, and none of access: what is staged is committed all the same."""
    tree.set_autocommit(False)
    base = tree.generation()
    pair.targets[0].luns.map(7, tree.nullio("n7"))
    pair.tpgs[0].switch(alua.STANDBY)
    assert tree.generation() == base
    pair.told()
    assert pair.units[0].sense(scsi.read10(0, 1), 512) == alua.NOT_READY[alua.STANDBY]
    tree.commit(base)


def test_commands_on_both_ports_and_states_that_change(pair: Pair) -> None:
    """The only answers are good ones, NOT READY of the state, and attentions of it."""
    changes = 200
    for number in range(changes):
        pair.tpgs[number % 2].switch(list(alua.STATES)[number // 2 % 6])
        for unit in pair.units:
            sense = unit.sense(scsi.write10(8, 1), write=bytes(512))
            while sense is not None and sense[0] == scsi.UNIT_ATTENTION:
                assert sense in (alua.STATE_CHANGED, alua.CHANGE_FAILED)
                sense = unit.sense(scsi.write10(8, 1), write=bytes(512))
            port = pair.units.index(unit)
            assert sense == alua.NOT_READY.get(pair.tpgs[port].state)
