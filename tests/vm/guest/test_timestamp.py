# SPDX-License-Identifier: GPL-2.0-or-later
"""REPORT TIMESTAMP and SET TIMESTAMP: the host's clock, until an initiator sets another that counts alone."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.model.pr import Action, Type
from tests.vm.guest import scsi, tree
from tests.vm.guest.script import HOLD_DATA, LOSE_DATA, Kind, Nexus, Response, Script, Target, Tmf, serve
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_recovery import serve as serve_local
from tests.vm.guest.test_reserve import CONFLICT, RELEASE6, RESERVE6, good, register
from tests.vm.guest_plugin import command

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_local", "scst_script", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

OF_COMMAND, OF_HOST = 2, 3
LENGTH = 12
# Long ago, so that it can't be taken for the host's.
THEN = 1_000_000_000_123
HOUR = 3600
# What serve() makes.
TARGET = Target("t1")


def list_of(stamp: int) -> bytes:
    """The parameter list of SET TIMESTAMP."""
    return bytes(4) + stamp.to_bytes(6, "big") + bytes(2)


def report(nexus: Nexus, lun: int = 0) -> tuple[int, int]:
    """TIMESTAMP ORIGIN and TIMESTAMP."""
    data = nexus.good(scsi.report_timestamp(), lun, read=LENGTH)
    length, origin, zero, stamp, other = struct.unpack(">HBB6sH", data)
    assert (length, zero, other) == (LENGTH - 2, 0, 0)
    return origin, int.from_bytes(stamp, "big")


def now(clock: int) -> int:
    """A clock of this machine, in whole milliseconds as the kernel counts them."""
    return time.clock_gettime_ns(clock) // 1_000_000


def is_of_host(nexus: Nexus) -> bool:
    """The clock is the host's wall clock."""
    before = now(time.CLOCK_REALTIME)
    origin, stamp = report(nexus)
    assert origin in (OF_COMMAND, OF_HOST)
    assert origin == OF_COMMAND or before <= stamp <= now(time.CLOCK_REALTIME)
    return origin == OF_HOST


class Clock:
    """What a clock must show that was set just now."""

    def __init__(self, nexus: Nexus, stamp: int, lun: int = 0) -> None:
        self.stamp, self.before = stamp, now(time.CLOCK_BOOTTIME)
        nexus.good(scsi.set_timestamp(), lun, write=list_of(stamp))
        self.after = now(time.CLOCK_BOOTTIME)

    def check(self, nexus: Nexus, lun: int = 0) -> None:
        """It has gone on from there, not faster and not slower than time."""
        earliest = self.stamp + now(time.CLOCK_BOOTTIME) - self.after
        origin, stamp = report(nexus, lun)
        assert origin == OF_COMMAND
        assert earliest <= stamp <= self.stamp + now(time.CLOCK_BOOTTIME) - self.before


@contextmanager
def host_ahead(seconds: float) -> Iterator[None]:
    """Somebody sets this machine's clock, and then puts it right again."""
    begun = time.monotonic()
    was = time.clock_gettime(time.CLOCK_REALTIME)
    time.clock_settime(time.CLOCK_REALTIME, was + seconds)
    try:
        yield
    finally:
        time.clock_settime(time.CLOCK_REALTIME, was + time.monotonic() - begun)


def test_clock_of_the_host(script: Script) -> None:
    """Nobody has set it: it is this machine's, also when that is set."""
    first, second = serve(script, tree.nullio("n"))
    assert is_of_host(first)
    with host_ahead(HOUR):
        assert is_of_host(first)
    with host_ahead(-HOUR):
        assert is_of_host(second)
    assert first.attentions() == second.attentions() == []


def test_set(script: Script) -> None:
    """It counts from what was set, for everybody, whatever becomes of the host's; set again, from there."""
    first, second = serve(script, tree.nullio("n"), tree.nullio("m"))
    for stamp in (THEN, 0, 0xF0FFFFFF0000, now(time.CLOCK_REALTIME)):
        clock = Clock(first, stamp)
        second.attentions()
        clock.check(first)
        with host_ahead(HOUR):
            clock.check(second)
        with host_ahead(-HOUR):
            clock.check(first)
        time.sleep(0.05)
        clock.check(second)
    origin, _ = report(first, lun=1)
    assert origin == OF_HOST, "that of another device"


def test_the_others_are_told(script: Script) -> None:
    """Once each, and not of other devices; who comes later has nothing to be told."""
    first, second = serve(script, tree.nullio("n"), tree.nullio("m"))
    third = script.login(TARGET, "third")
    third.attentions()
    Clock(first, THEN)
    Clock(first, THEN + 1)
    fourth = script.login(TARGET, "fourth")
    assert first.attentions() == []
    assert second.attentions() == third.attentions() == [scsi.TIMESTAMP_CHANGED]
    assert scsi.TIMESTAMP_CHANGED not in fourth.attentions()
    Clock(second, THEN)
    told = [nexus.attentions() for nexus in (first, second, third, fourth)]
    assert told == [[scsi.TIMESTAMP_CHANGED], [], [scsi.TIMESTAMP_CHANGED], [scsi.TIMESTAMP_CHANGED]]
    assert [nexus.attentions(lun=1) for nexus in (first, second)] == [[], []]


def test_lists_that_are_wrong(script: Script) -> None:
    """Each names what is wrong, changes nothing, and tells nobody."""
    first, second = serve(script, tree.nullio("n"))
    whole = list_of(THEN)
    for length in (*range(1, LENGTH), LENGTH + 1, 2 * LENGTH):
        event = first.command(scsi.set_timestamp(length), write=whole.ljust(length, b"\0")[:length])
        assert event.sense == scsi.LIST_LENGTH, f"{length} bytes: {event}"
    for moved in (0, 1, LENGTH - 1):
        event = first.command(scsi.set_timestamp(), write=whole[:moved])
        assert event.sense == scsi.LIST_LENGTH, f"{moved} of {LENGTH} bytes: {event}"
    for byte in (0, 1, 2, 3, 10, 11):
        for bit in (0, 7):
            wrong = bytearray(whole)
            wrong[byte] |= 1 << bit
            event = first.command(scsi.set_timestamp(), write=bytes(wrong))
            assert event.sense == scsi.INVALID_FIELD_LIST
            assert scsi.parse_field(event.raw_sense) == (False, byte)
    for beyond in (0xF10000000000, 0xFFFFFFFFFFFF):
        event = first.command(scsi.set_timestamp(), write=list_of(beyond))
        assert event.sense == scsi.INVALID_FIELD_LIST
        assert scsi.parse_field(event.raw_sense) == (False, 4)
    assert first.command(scsi.set_timestamp(0)).good, "no list is no error"
    assert is_of_host(first)
    assert first.attentions() == second.attentions() == []


def test_room(script: Script) -> None:
    """As much of the report as there is room for."""
    first, _ = serve(script, tree.nullio("n"))
    Clock(first, THEN)
    whole = first.good(scsi.report_timestamp(), read=LENGTH)
    for room in range(LENGTH + 3):
        data = first.good(scsi.report_timestamp(room), read=2 * LENGTH)
        # The last two bytes of the clock may have changed.
        assert len(data) == min(room, LENGTH)
        assert data[:8] == whole[: min(room, 8)]


def test_resets_leave_it(script: Script) -> None:
    """Of a logical unit, all units, a nexus; and a new session finds it."""
    first, second = serve(script, tree.nullio("n"))
    clock = Clock(first, THEN)
    for fn in (Tmf.LUN_RESET, Tmf.TARGET_RESET, Tmf.I_T_NEXUS_RESET):
        assert first.manage(fn) == Response.COMPLETE
        first.attentions()
        clock.check(first)
    first.close()
    first.gone()
    second.attentions()
    clock.check(second)
    again = script.login(TARGET, "first")
    again.attentions()
    clock.check(again)


def test_parked_and_disabled(script: Script) -> None:
    """It goes on while the device is parked, and can be set; one that was disabled has forgotten."""
    device = tree.nullio("n")
    first, _ = serve(script, device)
    clock = Clock(first, THEN)
    device.activate(False)
    clock.check(first)
    clock = Clock(first, THEN + 1)
    device.activate()
    first.attentions()
    clock.check(first)
    with tree.staging():
        TARGET.luns.unmap(0)
    device.enable(False)
    device.enable()
    with tree.staging():
        TARGET.luns.map(0, device)
    first.attentions()
    assert is_of_host(first)


def test_aborted_while_its_data_is_on_the_way(script: Script) -> None:
    """After the answer the clock does not change any more."""
    first, second = serve(script, tree.nullio("n"))
    lost = first.submit(scsi.set_timestamp(), write=list_of(THEN), plan=LOSE_DATA)
    held = first.submit(scsi.set_timestamp(), write=list_of(THEN), plan=HOLD_DATA)
    for number in (lost, held):
        script.wait(Kind.WANTS_DATA, number)
    assert first.manage(Tmf.ABORT_TASK, tag=lost) == Response.COMPLETE
    assert first.answer(lost).aborted
    assert is_of_host(first)
    assert second.attentions() == []
    clock = now(time.CLOCK_BOOTTIME)
    script.data(held)
    assert first.answer(held).good
    origin, stamp = report(first)
    assert origin == OF_COMMAND
    assert THEN <= stamp <= THEN + now(time.CLOCK_BOOTTIME) - clock, "it counts from when the data came"


def test_who_may_not_write_may_not_set_it(script: Script) -> None:
    """By a read-only LUN; nor through the reservation of another.  To look is everybody's right."""
    first, second = serve(script, tree.nullio("n"))
    register((first, 1))
    for kind in (Type.WRITE_EXCLUSIVE, Type.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY):
        good(first, Action.RESERVE, 1, kind)
        assert second.command(scsi.set_timestamp(), write=list_of(THEN)).status == CONFLICT
        assert is_of_host(second)
        good(first, Action.RELEASE, 1, kind)
    good(first, Action.CLEAR, 1)
    first.good(RESERVE6)
    assert second.command(scsi.set_timestamp(), write=list_of(THEN)).status == CONFLICT
    assert is_of_host(second)
    first.good(RELEASE6)
    tree.write(TARGET.luns.path / "0/read_only", True)
    first.attentions()
    event = first.command(scsi.set_timestamp(), write=list_of(THEN))
    assert event.sense == scsi.WRITE_PROTECTED
    assert is_of_host(first)


def test_commands_are_told_of(script: Script) -> None:
    """Without target port groups, too, of which the other service action of MAINTENANCE OUT is."""
    first, _ = serve(script, tree.nullio("n"))
    data = first.good(scsi.report_opcodes(), read=8192)
    rows = {(data[at], data[at + 3]): data[at + 5 : at + 8] for at in range(4, len(data), 8)}
    assert rows[0xA3, 0x0F] == rows[0xA4, 0x0F] == b"\x01\x00\x0c"
    assert (0xA4, 0x0A) not in rows
    for opcode in (0xA3, 0xA4):
        one = first.good(scsi.report_opcodes(2, opcode, 0x0F), read=64)
        assert one == bytes((0, 3, 0, 12, opcode, 0x0F, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0x04))
    assert first.command(bytes((0xA4, 0x0A, *bytes(10)))).sense == scsi.INVALID_FIELD_CDB


def test_mode_page_says_whose_it_is(script: Script) -> None:
    """TCMOS: it may be initialised by other methods; SCSIP: what is set by command goes before."""
    first, _ = serve(script, tree.nullio("n"))
    page = first.good(scsi.mode_sense6(0x0A, subpage=1), read=255)[4:]
    assert page[4] == 0x06
    changeable = first.good(scsi.mode_sense6(0x0A, control=1, subpage=1), read=255)[4:]
    assert changeable[4] == 0


def test_tool() -> None:
    """sg_timestamp, as people use it: the clock and who has set it; milliseconds and seconds to set."""
    node = str(serve_local(tree.nullio("n"))[0].sg(0))
    with Unit(Path(node)) as unit:
        unit.attentions()
    before = now(time.CLOCK_REALTIME)
    origin, stamp = command("sg_timestamp", "-oo", node).split()
    assert int(origin) == OF_HOST
    assert before <= int(stamp) <= now(time.CLOCK_REALTIME)
    for option, factor in (("--milliseconds", 1), ("--seconds", 1000)):
        begun = now(time.CLOCK_BOOTTIME)
        command("sg_timestamp", f"{option}={THEN // factor}", node)
        origin, stamp = command("sg_timestamp", "-oo", node).split()
        assert int(origin) == OF_COMMAND
        assert 0 <= int(stamp) - THEN // factor * factor <= now(time.CLOCK_BOOTTIME) - begun
