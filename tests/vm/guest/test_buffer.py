# SPDX-License-Identifier: GPL-2.0-or-later
"""READ BUFFER and WRITE BUFFER: a buffer of everybody's, and one that echoes to each what he has written."""

from __future__ import annotations

import random
from functools import partial

import pytest

from tests.model.pr import Action, Type
from tests.vm.guest import scsi, tree
from tests.vm.guest.script import HOLD_DATA, LOSE_DATA, Kind, Nexus, Response, Script, Target, Tmf, serve
from tests.vm.guest.scsi import BUFFER_DATA, BUFFER_DESCRIPTOR, BUFFER_ECHO, BUFFER_ECHO_DESCRIPTOR
from tests.vm.guest.test_reserve import CONFLICT, RELEASE6, RESERVE6, good, register

SCST_MODULES = ("scst", "scst_nullio", "scst_script")

pytestmark = pytest.mark.usefixtures("clean_tree")

CAPACITY, ECHO_CAPACITY = 64 << 10, 4096
READERS = (scsi.read_buffer10, scsi.read_buffer16)
SEQUENCE: scsi.Sense = (0x5, 0x2C, 0x00)
OVERWRITTEN: scsi.Sense = (0xB, 0x3F, 0x0F)
HELLO = b"hello, unit "
# What serve() makes.
TARGET = Target("t1")


def content(nexus: Nexus, lun: int = 0) -> bytes:
    """The whole data buffer."""
    return nexus.good(scsi.read_buffer10(BUFFER_DATA, CAPACITY), lun, read=CAPACITY)


def put(nexus: Nexus, data: bytes, offset: int = 0, lun: int = 0) -> None:
    """Write into the data buffer."""
    nexus.good(scsi.write_buffer(BUFFER_DATA, len(data), offset), lun, write=data)


def say(nexus: Nexus, data: bytes) -> None:
    """Write into the echo buffer."""
    nexus.good(scsi.write_buffer(BUFFER_ECHO, len(data)), write=data)


def echo(nexus: Nexus) -> bytes | scsi.Sense | None:
    """What comes back, or why not."""
    event = nexus.command(scsi.read_buffer10(BUFFER_ECHO, ECHO_CAPACITY), read=ECHO_CAPACITY)
    return event.data if event.good else event.sense


def refused(nexus: Nexus, cdb: bytes, byte: int, write: bytes | None = None) -> None:
    """INVALID FIELD IN CDB, and that is the field."""
    event = nexus.command(cdb, read=0 if write is not None else 64, write=write)
    assert event.sense == scsi.INVALID_FIELD_CDB, f"{cdb.hex(' ')}: {event}"
    assert scsi.parse_field(event.raw_sense) == (True, byte), cdb.hex(" ")


def test_descriptors(script: Script) -> None:
    """Of the data buffer; of those there are none of: zeroes; of the echo buffer, whose owner is known."""
    first, _ = serve(script, tree.nullio("n"))
    for read in READERS:
        for number in (0, 1, 255):
            told = first.good(read(BUFFER_DESCRIPTOR, 64, number=number), read=64)
            assert told == bytes((0, *(0 if number else CAPACITY).to_bytes(3, "big")))
        assert first.good(read(BUFFER_ECHO_DESCRIPTOR, 64), read=64) == bytes((1, 0, 0x10, 0))
        for room in range(6):
            for mode in (BUFFER_DESCRIPTOR, BUFFER_ECHO_DESCRIPTOR):
                assert len(first.good(read(mode, room), read=64)) == min(room, 4)


def test_data(script: Script) -> None:
    """At any offset, any length, by both commands, for everybody; and another unit has another."""
    first, second = serve(script, tree.nullio("n"), tree.nullio("m"))
    assert content(first) == bytes(CAPACITY), "what nobody has written"
    dice, wanted = random.Random(3), bytearray(CAPACITY)
    for step in range(40):
        offset = dice.choice((0, 1, 4095, 4096, CAPACITY - 1, dice.randrange(CAPACITY)))
        data = dice.randbytes(min(dice.choice((0, 1, 4096, 4097, CAPACITY)), CAPACITY - offset))
        put(dice.choice((first, second)), data, offset)
        wanted[offset : offset + len(data)] = data
        start, room = dice.randrange(CAPACITY), dice.choice((0, 1, 5000, CAPACITY))
        got = second.good(READERS[step % 2](BUFFER_DATA, room, start), read=CAPACITY)
        assert got == wanted[start : start + room]
    assert content(first) == content(second) == wanted
    assert content(first, lun=1) == bytes(CAPACITY)
    put(second, HELLO, lun=1)
    assert content(first) == wanted
    assert first.attentions() == second.attentions() == []


def test_what_is_not_there(script: Script) -> None:
    """Other buffers, offsets behind the end, lists that don't fit, other modes: the field is named."""
    first, _ = serve(script, tree.nullio("n"))
    put(first, HELLO)
    long = bytes(CAPACITY)
    for offset in (CAPACITY, CAPACITY + 1, 0xFFFFFF):
        refused(first, scsi.read_buffer10(BUFFER_DATA, 8, offset), 3)
        refused(first, scsi.read_buffer16(BUFFER_DATA, 8, offset), 2)
        refused(first, scsi.write_buffer(BUFFER_DATA, 8, offset), 3, long[:8])
    for offset in (1 << 32, 1 << 63):
        refused(first, scsi.read_buffer16(BUFFER_DATA, 8, offset), 2)
    for number in (1, 255):
        refused(first, scsi.read_buffer10(BUFFER_DATA, 8, number=number), 2)
        refused(first, scsi.read_buffer16(BUFFER_DATA, 8, number=number), 14)
        refused(first, scsi.write_buffer(BUFFER_DATA, 8, number=number), 2, long[:8])
    for offset, size in ((1, CAPACITY), (CAPACITY - 1, 2), (0, CAPACITY + 1)):
        refused(first, scsi.write_buffer(BUFFER_DATA, size, offset), 6, bytes(size))
    refused(first, scsi.write_buffer(BUFFER_ECHO, ECHO_CAPACITY + 1), 6, bytes(ECHO_CAPACITY + 1))
    for read in READERS:
        refused(first, read(BUFFER_DESCRIPTOR, 8, offset=1), 9 if read is READERS[1] else 5)
        refused(first, read(BUFFER_ECHO_DESCRIPTOR, 8, offset=1), 9 if read is READERS[1] else 5)
        refused(first, read(BUFFER_ECHO_DESCRIPTOR, 8, number=1), 14 if read is READERS[1] else 2)
    for mode in set(range(32)) - {BUFFER_DATA, BUFFER_DESCRIPTOR, BUFFER_ECHO, BUFFER_ECHO_DESCRIPTOR}:
        for read in READERS:
            refused(first, read(mode, 8), 1)
    for mode in set(range(32)) - {BUFFER_DATA, BUFFER_ECHO}:
        refused(first, scsi.write_buffer(mode, 8), 1, long[:8])
    assert content(first) == HELLO.ljust(CAPACITY, b"\0")
    assert echo(first) == SEQUENCE


def test_lists_that_are_short(script: Script) -> None:
    """Nothing is written unless all of it has come."""
    first, _ = serve(script, tree.nullio("n"))
    for mode in (BUFFER_DATA, BUFFER_ECHO):
        for moved in (0, 1, 11):
            event = first.command(scsi.write_buffer(mode, 12), write=HELLO[:moved])
            assert event.sense == scsi.LIST_LENGTH, f"{moved} of 12 bytes: {event}"
    assert content(first) == bytes(CAPACITY)
    assert echo(first) == SEQUENCE


def test_echo(script: Script) -> None:
    """What the nexus has written, as often as it asks; or why not."""
    first, second = serve(script, tree.nullio("n"))
    for read in READERS:
        assert first.command(read(BUFFER_ECHO, 64), read=64).sense == SEQUENCE
    for data in (HELLO, b"", b"x" * ECHO_CAPACITY, b"y"):
        say(first, data)
        assert echo(first) == echo(first) == data
        for read in READERS:
            # Number and offset mean nothing here.
            got = first.good(read(BUFFER_ECHO, 5, offset=77, number=9), read=ECHO_CAPACITY)
            assert got == data[:5]
        assert echo(second) == SEQUENCE
    say(second, HELLO)
    assert echo(second) == HELLO
    assert echo(first) == OVERWRITTEN
    assert first.command(scsi.write_buffer(BUFFER_ECHO, 2), write=b"z").sense == scsi.LIST_LENGTH
    assert (echo(first), echo(second)) == (OVERWRITTEN, HELLO)
    say(first, b"mine")
    assert (echo(first), echo(second)) == (b"mine", OVERWRITTEN)
    assert content(first) == bytes(CAPACITY), "it is another buffer"
    first.close()
    first.gone()
    again = script.login(TARGET, "first")
    again.attentions()
    assert (echo(again), echo(second)) == (SEQUENCE, OVERWRITTEN)


def test_what_outlives_what(script: Script) -> None:
    """Resets and parking leave both; who was disabled has forgotten."""
    device = tree.nullio("n")
    first, _ = serve(script, device)
    put(first, HELLO)
    say(first, HELLO)
    for fn in (Tmf.LUN_RESET, Tmf.TARGET_RESET):
        assert first.manage(fn) == Response.COMPLETE
        first.attentions()
        assert (content(first)[: len(HELLO)], echo(first)) == (HELLO, HELLO)
    device.activate(False)
    put(first, HELLO, CAPACITY - len(HELLO))
    assert (content(first)[-len(HELLO) :], echo(first)) == (HELLO, HELLO)
    device.activate()
    first.attentions()
    with tree.staging():
        TARGET.luns.unmap(0)
    device.enable(False)
    device.enable()
    with tree.staging():
        TARGET.luns.map(0, device)
    first.attentions()
    assert (content(first), echo(first)) == (bytes(CAPACITY), SEQUENCE)


@pytest.mark.parametrize("mode", [BUFFER_DATA, BUFFER_ECHO])
def test_aborted_while_its_data_is_on_the_way(script: Script, mode: int) -> None:
    """After the answer nothing is written; what was not aborted is when its data comes."""
    first, _ = serve(script, tree.nullio("n"))
    send = partial(first.submit, scsi.write_buffer(mode, len(HELLO)), write=HELLO)
    lost, held = send(plan=LOSE_DATA), send(plan=HOLD_DATA)
    for number in (lost, held):
        script.wait(Kind.WANTS_DATA, number)
    assert first.manage(Tmf.ABORT_TASK, tag=lost) == Response.COMPLETE
    assert first.answer(lost).aborted
    assert (content(first), echo(first)) == (bytes(CAPACITY), SEQUENCE)
    script.data(held)
    assert first.answer(held).good
    assert (content(first)[: len(HELLO)] if mode == BUFFER_DATA else echo(first)) == HELLO


def test_who_may_not_write(script: Script) -> None:
    """By a read-only LUN, or through the reservation of another; to read is a read."""
    first, second = serve(script, tree.nullio("n"))
    put(first, HELLO)
    cdbs = [(scsi.write_buffer(mode, 4), b"evil") for mode in (BUFFER_DATA, BUFFER_ECHO)]
    register((first, 1))
    for kind, reads in ((Type.WRITE_EXCLUSIVE, True), (Type.EXCLUSIVE_ACCESS, False)):
        good(first, Action.RESERVE, 1, kind)
        assert [second.command(cdb, write=data).status for cdb, data in cdbs] == [CONFLICT] * 2
        for cdb in (read(BUFFER_DATA, 64) for read in READERS):
            assert second.command(cdb, read=64).status == (scsi.GOOD if reads else CONFLICT)
        good(first, Action.RELEASE, 1, kind)
    good(first, Action.CLEAR, 1)
    first.good(RESERVE6)
    assert [second.command(cdb, write=data).status for cdb, data in cdbs] == [CONFLICT] * 2
    first.good(RELEASE6)
    tree.write(TARGET.luns.path / "0/read_only", True)
    first.attentions()
    assert {first.command(cdb, write=data).sense for cdb, data in cdbs} == {scsi.WRITE_PROTECTED}
    assert content(first) == HELLO.ljust(CAPACITY, b"\0")
    assert echo(first) == SEQUENCE
