# SPDX-License-Identifier: GPL-2.0-or-later
"""REPORT and SET IDENTIFYING INFORMATION: what is acknowledged is kept, where reservations are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.model.pr import Action, Type
from tests.vm.guest import scsi, tree
from tests.vm.guest.script import HOLD_DATA, LOSE_DATA, Kind, Nexus, Response, Script, Target, Tmf
from tests.vm.guest.script import serve as serve_pair
from tests.vm.guest.scsi import IDENT, IDENT_SUPPORTED, IDENT_TEXT
from tests.vm.guest.test_reserve import (
    CONFLICT,
    RELEASE6,
    RESERVE6,
    aptpl,
    durable,
    good,
    keys,
    register,
    state_of,
)

SCST_MODULES = ("scst", "scst_nullio", "scst_script")

pytestmark = pytest.mark.usefixtures("clean_tree")

MakeFile = Callable[[str, int], Path]
MOST = {IDENT: 64, IDENT_TEXT: 256}
LOST: scsi.Sense = (0x7, 0x44, 0x01)
NAME, TEXT = b"\0\xffblue", "Größe".encode() + b"\0"
# What serve() makes.
TARGET = Target("t1")


def told(nexus: Nexus, kind: int = IDENT) -> bytes:
    """The information, without the header, which must be right."""
    data = nexus.good(scsi.report_ident(kind), read=512)
    assert data[:2] == b"\0\0"
    assert int.from_bytes(data[2:4], "big") == len(data) - 4
    return data[4:]


def name(nexus: Nexus, data: bytes, kind: int = IDENT) -> None:
    """Set it."""
    nexus.good(scsi.set_ident(len(data), kind), write=data)


def refused(nexus: Nexus, cdb: bytes, byte: int, write: bytes | None = None) -> None:
    """INVALID FIELD IN CDB, and that is the field."""
    event = nexus.command(cdb, read=0 if write is not None else 64, write=write)
    assert event.sense == scsi.INVALID_FIELD_CDB, f"{cdb.hex(' ')}: {event}"
    assert scsi.parse_field(event.raw_sense) == (True, byte), cdb.hex(" ")


def again(device: tree.Device, *nexuses: Nexus) -> None:
    """The device is disabled, as at a loss of power, and enabled."""
    TARGET.luns.unmap(0)
    device.enable(False)
    device.enable()
    TARGET.luns.map(0, device)
    for nexus in nexuses:
        nexus.attentions()


def test_set_and_report(script: Script, make_file: MakeFile) -> None:
    """Two kinds, for everybody, up to the most that is told; others are told once, if it has changed."""
    first, second = serve_pair(script, durable(make_file)[0])
    supported = first.good(scsi.report_ident(IDENT_SUPPORTED), read=64)
    assert supported == bytes((0, 0, 0, 8, 0, 0, 0, 64, 4, 0, 1, 0))
    assert told(first) == told(first, IDENT_TEXT) == b""
    for kind, most in MOST.items():
        other = told(first, IDENT + IDENT_TEXT - kind)
        for data in (NAME, b"x" * most, b"short", b""):
            name(first, data, kind)
            assert first.attentions() == []
            assert second.attentions() == [scsi.IDENTIFIER_CHANGED]
            name(first, data, kind)
            assert second.attentions() == [], "nothing has changed"
            assert told(first, kind) == told(second, kind) == data
            assert told(first, IDENT + IDENT_TEXT - kind) == other
        name(first, TEXT, kind)
        second.attentions()
    whole = first.good(scsi.report_ident(IDENT_TEXT), read=512)
    for room in range(len(whole) + 2):
        assert first.good(scsi.report_ident(IDENT_TEXT, room), read=512) == whole[:room]


def test_what_can_not_be_asked(script: Script, make_file: MakeFile) -> None:
    """Other types, more than there is room for, lists that are cut: nothing changes."""
    first, second = serve_pair(script, durable(make_file)[0])
    name(first, NAME)
    second.attentions()
    for kind in set(range(128)) - {IDENT, IDENT_TEXT}:
        refused(first, scsi.set_ident(4, kind), 10, b"evil")
        if kind != IDENT_SUPPORTED:
            refused(first, scsi.report_ident(kind), 10)
    for kind, most in MOST.items():
        refused(first, scsi.set_ident(most + 1, kind), 6, bytes(most + 1))
        for moved in (0, 1, 3):
            event = first.command(scsi.set_ident(4, kind), write=b"evil"[:moved])
            assert event.sense == scsi.LIST_LENGTH, f"{moved} of 4 bytes: {event}"
    assert (told(first), told(first, IDENT_TEXT)) == (NAME, b"")
    assert second.attentions() == []


def test_without_a_place_for_it(script: Script) -> None:
    """There is room for none, which is told; to take away what is not there is no error."""
    first, second = serve_pair(script, tree.nullio("n"))
    supported = first.good(scsi.report_ident(IDENT_SUPPORTED), read=64)
    assert supported == bytes((0, 0, 0, 8, 0, 0, 0, 0, 4, 0, 0, 0))
    for kind in MOST:
        assert told(first, kind) == b""
        refused(first, scsi.set_ident(1, kind), 6, b"x")
        name(first, b"", kind)
    assert second.attentions() == []


def test_what_outlives_what(script: Script, make_file: MakeFile) -> None:
    """Resets, the end of all reservations, a loss of power; with reservations that outlive it and others."""
    device, _ = durable(make_file)
    first, second = serve_pair(script, device)
    aptpl(first, 1)
    name(first, NAME)
    name(first, TEXT, IDENT_TEXT)
    for fn in (Tmf.LUN_RESET, Tmf.TARGET_RESET, Tmf.I_T_NEXUS_RESET):
        assert first.manage(fn) == Response.COMPLETE
        first.attentions()
    again(device, first, second)
    assert (told(first), told(first, IDENT_TEXT), keys(first)) == (NAME, TEXT, [1])
    good(first, Action.CLEAR, 1)
    again(device, first, second)
    assert (told(first), told(first, IDENT_TEXT), keys(first)) == (NAME, TEXT, [])
    register((first, 2))
    name(second, b"")
    first.attentions()
    assert keys(first) == [2]
    again(device, first, second)
    assert (told(first), told(first, IDENT_TEXT), keys(first)) == (b"", TEXT, [])
    aptpl(first, 3)
    tree.write(device.path / "pr/clear", state_of(device)[0].removeprefix("generation "))
    first.attentions()
    assert (told(first, IDENT_TEXT), keys(first)) == (TEXT, [])
    again(device, first, second)
    assert (told(first, IDENT_TEXT), keys(first)) == (TEXT, [])
    device.activate(False)
    first.attentions()
    name(first, b"while it is parked")
    assert told(first) == b"while it is parked"


def test_what_is_lost(script: Script, make_file: MakeFile) -> None:
    """A file that can't be relied on: that is told, and it is not written over."""
    device, path = durable(make_file)
    first, second = serve_pair(script, device)
    name(first, NAME)
    TARGET.luns.unmap(0)
    device.enable(False)
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    device.enable()
    TARGET.luns.map(0, device)
    for nexus in (first, second):
        nexus.attentions()
        assert nexus.command(scsi.report_ident(), read=64).sense == LOST
        assert nexus.command(scsi.set_ident(4), write=b"evil").sense == LOST
    assert path.read_bytes() == data


def test_aborted_while_its_data_is_on_the_way(script: Script, make_file: MakeFile) -> None:
    """After the answer nothing changes any more."""
    first, second = serve_pair(script, durable(make_file)[0])
    lost = first.submit(scsi.set_ident(4), write=b"lost", plan=LOSE_DATA)
    held = first.submit(scsi.set_ident(4), write=b"held", plan=HOLD_DATA)
    for number in (lost, held):
        script.wait(Kind.WANTS_DATA, number)
    assert first.manage(Tmf.ABORT_TASK, tag=lost) == Response.COMPLETE
    assert first.answer(lost).aborted
    assert told(second) == b""
    script.data(held)
    assert first.answer(held).good
    second.attentions()
    assert told(second) == b"held"


def test_who_may_not_write(script: Script, make_file: MakeFile) -> None:
    """By a read-only LUN, or through the reservation of another; to look is everybody's right."""
    first, second = serve_pair(script, durable(make_file)[0])
    name(first, NAME)
    second.attentions()
    evil = scsi.set_ident(4)
    register((first, 1))
    for kind in (Type.WRITE_EXCLUSIVE, Type.EXCLUSIVE_ACCESS):
        good(first, Action.RESERVE, 1, kind)
        assert second.command(evil, write=b"evil").status == CONFLICT
        assert told(second) == NAME
        good(first, Action.RELEASE, 1, kind)
    good(first, Action.CLEAR, 1)
    first.good(RESERVE6)
    assert second.command(evil, write=b"evil").status == CONFLICT
    assert told(second) == NAME
    first.good(RELEASE6)
    tree.write(TARGET.luns.path / "0/read_only", True)
    first.attentions()
    assert first.command(evil, write=b"evil").sense == scsi.WRITE_PROTECTED
    assert told(first) == NAME
