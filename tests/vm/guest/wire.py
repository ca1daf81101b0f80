# SPDX-License-Identifier: GPL-2.0-or-later
"""The model's commands as they go over the wire."""

from __future__ import annotations

import struct
from typing import NamedTuple

from tests.model import mode, steps
from tests.model.unit import BLOCK, blocks
from tests.unit.pr_kernel import wire as reserve_out
from tests.vm.guest import alua, scsi
from tests.vm.guest.test_format import FMTDATA
from tests.vm.guest.test_sanitize import IMMED_LIST
from tests.vm.guest.test_timestamp import list_of

ROOM = 8192
RW = {6: (0x08, 0x0A), 10: (0x28, 0x2A), 12: (0xA8, 0xAA), 16: (0x88, 0x8A)}


class Wire(NamedTuple):
    """CDB, room for data-in, data-out."""

    cdb: bytes
    read: int = 0
    write: bytes | None = None


def of_blocks(form: int, write: bool, lba: int, count: int, fua: bool) -> bytes:
    """CDB of a READ or WRITE."""
    opcode, flags = RW[form][write], scsi.FUA if fua else 0
    if form == 6:
        return (scsi.write6 if write else scsi.read6)(lba, count)
    return {10: scsi.cdb10, 12: scsi.cdb12, 16: scsi.cdb16}[form](opcode, lba, count, flags)


def mode_select(page: bytes, ten: bool) -> Wire:
    """MODE SELECT of a page."""
    data = bytes(8 if ten else 4) + page
    return Wire((scsi.mode_select10 if ten else scsi.mode_select6)(len(data)), write=data)


def select_control(command: steps.SelectControl) -> Wire:
    """Of the control mode page."""
    page = bytearray(mode.control(mode.Values(d_sense=command.d_sense, swp=command.swp)))
    page[5] |= command.tas << 6
    return mode_select(bytes(page), command.ten)


def of_medium(command: steps.Command) -> Wire | None:
    """Commands for the medium."""
    match command:
        case steps.Read(lba, count, form, fua):
            return Wire(of_blocks(form, False, lba, count, fua), read=count * BLOCK)
        case steps.Write(lba, values, form, fua):
            return Wire(of_blocks(form, True, lba, len(values), fua), write=blocks(values))
        case steps.WriteSame(lba, count, value):
            return Wire(scsi.write_same16(lba, count), write=blocks((value,)))
        case steps.CompareAndWrite(lba, expected, values):
            return Wire(scsi.compare_and_write(lba, len(values)), write=blocks(expected + values))
        case steps.Verify(lba, values):
            return Wire(scsi.verify10(lba, len(values), 1), write=blocks(values))
        case steps.SynchronizeCache():
            return Wire(scsi.cdb10(0x35, 0, 0))
        case steps.FormatUnit(immed):
            return Wire(scsi.format_unit(FMTDATA), write=IMMED_LIST) if immed else Wire(scsi.format_unit())
        case steps.Sanitize(value, immed):
            data = scsi.overwrite(blocks((value,)))
            return Wire(scsi.sanitize(len(data), scsi.SANITIZE_IMMED if immed else 0), write=data)
    return None


def of_reservations(command: steps.Command) -> Wire | None:
    """RESERVE, RELEASE and PERSISTENT RESERVE."""
    match command:
        case steps.Reserve(ten):
            return Wire(bytes([0x56, *bytes(9)]) if ten else bytes([0x16, *bytes(5)]))
        case steps.Release(ten):
            return Wire(bytes([0x57, *bytes(9)]) if ten else bytes([0x17, *bytes(5)]))
        case steps.ReserveIn(action):
            return Wire(struct.pack(">BB5xHB", 0x5E, action, ROOM, 0), read=ROOM)
        case steps.ReserveOut(asked):
            cdb, data = reserve_out(asked)
            return Wire(cdb, write=data)
    return None


def of_state(command: steps.Command) -> Wire | None:
    """What changes the unit but for its medium."""
    match command:
        case steps.SelectControl():
            return select_control(command)
        case steps.SelectCaching(wce):
            return mode_select(mode.caching(mode.Values(wce=wce)), ten=False)
        case steps.StartStop(start, load):
            return Wire(scsi.start_stop(start, 0x02 if load else 0))
        case steps.Prevent(on):
            return Wire(scsi.prevent(on))
        case steps.SetGroups(wanted):
            data = alua.set_list(*wanted)
            return Wire(alua.set_groups(len(data)), write=data)
        case steps.SetTimestamp():
            return Wire(scsi.set_timestamp(), write=list_of(1))
        case steps.SendDiagnostic():
            return Wire(scsi.send_diagnostic())
        case steps.WriteBuffer(offset, data):
            return Wire(scsi.write_buffer(scsi.BUFFER_DATA, len(data), offset), write=data)
        case steps.WriteEcho(data):
            return Wire(scsi.write_buffer(scsi.BUFFER_ECHO, len(data)), write=data)
    return None


def of_looks(command: steps.Command) -> Wire:
    """What changes nothing."""
    match command:
        case steps.TestUnitReady():
            return Wire(scsi.test_unit_ready())
        case steps.Inquiry():
            return Wire(scsi.inquiry(), read=255)
        case steps.RequestSense(descriptors, room):
            return Wire(scsi.request_sense(room, descriptors), read=room)
        case steps.ReportLuns():
            return Wire(scsi.report_luns(ROOM), read=ROOM)
        case steps.ReadCapacity(long):
            return Wire(scsi.read_capacity16(), read=32) if long else Wire(scsi.read_capacity10(), read=8)
        case steps.ModeSense(page, control, ten):
            cdb = (scsi.mode_sense10 if ten else scsi.mode_sense6)(page, control)
            return Wire(cdb, read=cdb[4] if not ten else 512)
        case steps.ReportGroups():
            return Wire(alua.report_groups(), read=1024)
        case steps.ReadBuffer(offset, room):
            return Wire(scsi.read_buffer10(scsi.BUFFER_DATA, room, offset), read=room)
        case steps.ReadEcho():
            return Wire(scsi.read_buffer16(scsi.BUFFER_ECHO, ROOM), read=ROOM)
    raise AssertionError(command)


def encode(command: steps.Command) -> Wire:
    """CDB and data of a command."""
    return of_medium(command) or of_reservations(command) or of_state(command) or of_looks(command)
