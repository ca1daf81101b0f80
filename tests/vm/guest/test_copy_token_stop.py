# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies by tokens while a unit hangs: who stops what, who waits for whom, what is written meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.vm.guest import copying, scsi, tokens, tree
from tests.vm.guest.copying import Told
from tests.vm.guest.long import more
from tests.vm.guest.script import HOLD_DATA, Kind, Nexus, Response, Script, Tmf, serve
from tests.vm.guest.test_copy_stop import (
    BLOCKS,
    BUSY,
    CHUNK,
    CONFLICT,
    FILE,
    HANGING,
    MIB,
    MOMENT,
    OTHER,
    RESERVE10,
    MakeFile,
    Rig,
    failed,
    load,
    rig,
    running,
)
from tests.vm.guest.test_recovery import mapper
from tests.vm.guest_plugin import PluggedDisk

__all__ = ("mapper", "rig")

SCST_MODULES = ("scst", "scst_fileio", "scst_blockio", "scst_script", "dm_mod")

pytestmark = pytest.mark.usefixtures("clean_tree")

RELEASE10 = bytes([0x57]) + bytes(9)


def information(nexus: Nexus, number: int, lun: int) -> tokens.Information:
    return tokens.parse(nexus.good(tokens.cdb_information(number), lun, read=1024))


def submit_populate(nexus: Nexus, lun: int, count: int = BLOCKS, number: int = 1, lba: int = 0) -> int:
    data = tokens.populate_list([(lba, count)])
    return nexus.submit(tokens.cdb_out(tokens.POPULATE, number, len(data)), lun, write=data)


def populate(nexus: Nexus, lun: int, count: int = BLOCKS, number: int = 1) -> bytes:
    """A token for what a unit begins with."""
    assert nexus.answer(submit_populate(nexus, lun, count, number)).good
    token = information(nexus, number, lun).token
    assert token is not None
    return token


def submit_write(nexus: Nexus, lun: int, token: bytes, count: int = BLOCKS, number: int = 2) -> int:
    data = tokens.write_list(token, [(0, count)])
    return nexus.submit(tokens.cdb_out(tokens.WRITE, number, len(data)), lun, write=data)


def hung(rig: Rig, source: int, destination: int) -> int:
    """A copy that is in the hands of the disk, which hangs."""
    token = populate(rig.first, source)
    rig.mapper.suspend()
    command = submit_write(rig.first, destination, token)
    wanted = "source" if source == HANGING else "destination"
    tree.wait_for("the copy to hang", lambda: wanted in running())
    return command


@pytest.mark.parametrize("destination", [HANGING, FILE])
@pytest.mark.parametrize("stop", ["abort", "reset", "close", *more("nexus", "other reset")])
def test_the_command_is_aborted(rig: Rig, stop: str, destination: int) -> None:
    """It is over when what it has on its way is, and then the medium stays as it is."""
    command = hung(rig, FILE if destination == HANGING else HANGING, destination)
    functions: dict[str, Callable[[], int]] = {
        "abort": lambda: rig.first.tmf(Tmf.ABORT_TASK, destination, command),
        "reset": lambda: rig.first.tmf(Tmf.LUN_RESET, destination),
        "nexus": lambda: rig.first.tmf(Tmf.I_T_NEXUS_RESET),
        "other reset": lambda: rig.second.tmf(Tmf.LUN_RESET, destination),
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
        sender = rig.second if stop == "other reset" else rig.first
        assert sender.tmf_response(tmf) == Response.COMPLETE
    for lun in range(3):
        rig.second.attentions(lun)
    after = rig.content(destination)
    whole = rig.data if destination == FILE else rig.paths[FILE].read_bytes()
    assert after[-MIB:] != whole[3 * MIB : 4 * MIB], "it has gone on"
    time.sleep(MOMENT)
    assert rig.content(destination) == after
    assert not running()


def test_copy_operation_abort(rig: Rig) -> None:
    """Answered at once; the copy ends with what it has on its way, and that is told of it."""
    before = rig.paths[FILE].read_bytes()
    command = hung(rig, HANGING, FILE)
    told = information(rig.first, 2, FILE)
    assert (told.action, told.state, told.blocks) == (tokens.WRITE, tokens.RUNNING, 0)
    assert rig.second.command(tokens.cdb_abort(2), FILE).sense == scsi.INVALID_FIELD_CDB
    assert rig.first.command(tokens.cdb_abort(2), OTHER).sense == scsi.INVALID_FIELD_CDB
    rig.first.good(tokens.cdb_abort(2), FILE)
    assert rig.script.find(Kind.RESPONDED, command) is None
    rig.mapper.resume()
    event = rig.first.answer(command)
    assert event.sense == copying.ABORTED
    told = information(rig.first, 2, FILE)
    assert (told.state, told.blocks, told.sense) == (tokens.TERMINATED, 0, event.raw_sense)
    assert rig.paths[FILE].read_bytes() == before
    assert rig.first.command(tokens.cdb_abort(2), FILE).sense == scsi.INVALID_FIELD_CDB


def test_abort_of_extended_copy(rig: Rig) -> None:
    """By the same number, of any kind."""
    rig.mapper.suspend()
    command = rig.begin(HANGING, FILE, number=5, usage=copying.HOLD)
    tree.wait_for("it to hang", lambda: "source" in running())
    assert (
        rig.first.answer(submit_write(rig.first, OTHER, tokens.ZEROES, 8, number=5)).sense
        == copying.IN_PROGRESS
    )
    rig.first.good(tokens.cdb_abort(5), OTHER)
    rig.mapper.resume()
    assert rig.first.answer(command).sense == copying.ABORTED


def test_abort_of_extended_copy_lid4(rig: Rig) -> None:
    """... and what RECEIVE COPY STATUS tells of it."""
    number = 0x01000005
    rig.mapper.suspend()
    data = copying.parameters_lid4(
        [rig.names[HANGING], rig.names[FILE]], [copying.segment(BLOCKS, 0, 0)], number, copying.HOLD
    )
    command = rig.first.submit(copying.extended_copy_lid4(len(data)), OTHER, write=data)
    tree.wait_for("it to hang", lambda: "source" in running())

    def told() -> copying.Operation:
        return copying.operation(rig.first.good(copying.status_lid4(number), OTHER, read=512))

    assert told() == copying.Operation(1, tokens.RUNNING, 0, b"", 0, 0, 0)
    rig.first.good(tokens.cdb_abort(number), OTHER)
    rig.mapper.resume()
    event = rig.first.answer(command)
    assert event.sense == copying.ABORTED
    found = told()
    assert (found.state, found.sense, found.segments) == (tokens.TERMINATED, event.raw_sense, 0)


def deactivate(rig: Rig) -> None:
    rig.devices[FILE].activate(False)


def reserve(rig: Rig) -> None:
    rig.second.good(RESERVE10, FILE)


@pytest.mark.parametrize(
    ("stop", "wanted"),
    [(deactivate, (scsi.CHECK_CONDITION, scsi.BECOMING_READY)), (reserve, (CONFLICT, None))],
    ids=["deactivate", "reserve"],
)
def test_who_stops_the_destination_does_not_wait_for_the_source(
    rig: Rig, stop: Callable[[Rig], None], wanted: tuple[int, scsi.Sense | None]
) -> None:
    before = rig.paths[FILE].read_bytes()
    command = hung(rig, HANGING, FILE)
    stop(rig)
    assert rig.script.find(Kind.RESPONDED, command) is None
    rig.mapper.resume()
    event = rig.first.answer(command)
    assert event.sense in (copying.DEVICE_FAILURE, copying.NOT_REACHABLE), str(event)
    if event.sense == copying.DEVICE_FAILURE:
        assert failed(event) == Told(0, None, wanted)
    assert rig.paths[FILE].read_bytes() == before


def test_reservations_of_others(rig: Rig) -> None:
    """Of the source and of the destination; making a token reads."""
    before = rig.paths[FILE].read_bytes()
    token = populate(rig.first, HANGING)
    rig.second.good(RESERVE10, HANGING)
    assert rig.first.answer(submit_populate(rig.first, HANGING)).status == CONFLICT
    event = rig.first.answer(submit_write(rig.first, FILE, token))
    assert failed(event) == Told(0, (CONFLICT, None), None)
    assert rig.second.answer(submit_write(rig.second, FILE, token, 8)).good
    rig.second.good(RELEASE10, HANGING)
    rig.second.good(RESERVE10, FILE)
    assert rig.first.answer(submit_write(rig.first, FILE, token)).status == CONFLICT
    rig.second.good(RELEASE10, FILE)
    assert rig.paths[FILE].read_bytes()[4096:] == before[4096:]
    assert rig.first.answer(submit_write(rig.first, FILE, token)).good
    assert rig.content(FILE) == rig.data


# --- what is written while a token is made, or used ---


def test_writes_on_their_way(rig: Rig) -> None:
    """While something of it is being written there is no token, and nobody waits."""
    rig.mapper.suspend()
    write = rig.second.write10(8, bytes(8 * 512), HANGING)
    tree.wait_for("the write to hang", lambda: " 2a0000000008" in (tree.DEBUG / "commands").read_text())
    assert rig.first.answer(submit_populate(rig.first, HANGING)).status == BUSY
    assert rig.first.answer(submit_populate(rig.first, HANGING, 8)).good
    assert rig.script.find(Kind.RESPONDED, write) is None
    rig.mapper.resume()
    assert rig.second.answer(write).good
    token = populate(rig.first, HANGING)
    assert rig.first.answer(submit_write(rig.first, FILE, token)).good


def test_data_that_comes_later(rig: Rig) -> None:
    """A write whose data is not there yet is waited for by nobody; it ends the token when it begins."""
    write = rig.second.submit(scsi.write10(8, 8), HANGING, write=bytes(4096), plan=HOLD_DATA)
    rig.script.wait(Kind.WANTS_DATA, write)
    token, beside = populate(rig.first, HANGING), populate(rig.first, HANGING, 8, number=4)
    assert rig.first.answer(submit_write(rig.first, FILE, token)).good
    rig.script.data(write)
    assert rig.second.answer(write).good
    assert rig.first.answer(submit_write(rig.first, FILE, token)).sense == tokens.REVOKED
    assert rig.first.answer(submit_write(rig.first, FILE, beside, 8)).good


def test_changed_while_it_is_read(rig: Rig) -> None:
    """What may have changed before it was read is not written anywhere."""
    before = rig.paths[FILE].read_bytes()
    command = hung(rig, HANGING, FILE)
    write = rig.second.write10(BLOCKS - 1, bytes(512), HANGING)
    tree.wait_for("the write to hang", lambda: " 2a0000001fff" in (tree.DEBUG / "commands").read_text())
    rig.mapper.resume()
    event = rig.first.answer(command)
    assert event.sense == tokens.REVOKED_MEANWHILE
    assert rig.second.answer(write).good
    told = information(rig.first, 2, FILE)
    assert (told.state, told.blocks) == (tokens.FAILED, 0)
    assert rig.paths[FILE].read_bytes() == before


def test_unmap(script: Script, make_file: MakeFile) -> None:
    """Space that is given back is data that changes."""
    first, second = serve(
        script, tree.fileio("thin", make_file("thin", 4), thin=True), tree.fileio("f", make_file("f", 4))
    )
    token, beside = populate(first, 0, 1000), populate(first, 0, 8, number=4)
    data = scsi.unmap_list((100, 8))
    second.good(scsi.unmap(len(data)), 0, write=data)
    assert first.answer(submit_write(first, 1, token, 1000)).sense == tokens.REVOKED
    assert first.answer(submit_write(first, 1, beside, 8)).good


# --- how far it has come ---


def test_count_of_what_is_there(rig: Rig, disks: dict[str, PluggedDisk]) -> None:
    """What could not be written is not counted, nor is what lies behind it."""
    token = populate(rig.first, FILE)
    size = 2 * BLOCKS
    node = disks["vm-disk-b"].node
    rows = [f"0 {CHUNK} linear {node} 0", f"{CHUNK} {CHUNK} error"]
    load(rig.mapper, *rows, f"{2 * CHUNK} {size - 2 * CHUNK} linear {node} {2 * CHUNK}")
    # One range after the other; of the chunks of a range it is open which one is written first.
    data = tokens.write_list(token, [(0, CHUNK), (CHUNK, BLOCKS - CHUNK)])
    event = rig.first.answer(
        rig.first.submit(tokens.cdb_out(tokens.WRITE, 2, len(data)), HANGING, write=data)
    )
    assert failed(event) == Told(1, None, (scsi.CHECK_CONDITION, (0x3, 0x0C, 0x00)))
    told = information(rig.first, 2, HANGING)
    assert (told.state, told.blocks) == (tokens.FAILED, CHUNK)
    content = rig.second.good(scsi.read10(CHUNK - 256, 256), HANGING, read=131072)
    assert content == rig.paths[FILE].read_bytes()[(CHUNK - 256) * 512 : CHUNK * 512]


def test_number_that_is_in_use(rig: Rig) -> None:
    """One of each number at a time; a token is no use of its unit to anybody who waits."""
    command = hung(rig, HANGING, FILE)
    again = rig.first.answer(submit_write(rig.first, FILE, tokens.ZEROES, 8))
    assert again.sense == copying.IN_PROGRESS
    assert rig.first.answer(submit_write(rig.first, FILE, tokens.ZEROES, 8, number=3)).good
    rig.mapper.resume()
    assert rig.first.answer(command).good
