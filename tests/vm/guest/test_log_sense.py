# SPDX-License-Identifier: GPL-2.0-or-later
"""LOG SENSE: the pages that are listed are those there are, and what they say is so."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import pytest

from tests.model.pr import Action, Type
from tests.vm.guest import scsi, tree
from tests.vm.guest.script import Nexus, Script, serve
from tests.vm.guest.scsi import Unit
from tests.vm.guest.test_recovery import serve as serve_local
from tests.vm.guest.test_reserve import RESERVE6, good, register
from tests.vm.guest_plugin import command

SCST_MODULES = ("scst", "scst_nullio", "scst_fileio", "scst_local", "scst_script", "sd_mod", "sg")

pytestmark = pytest.mark.usefixtures("clean_tree")

THRESHOLDS, CUMULATIVE, DEFAULT_THRESHOLDS, DEFAULTS = range(4)
PAGES, EXCEPTIONS, ALL = 0x00, 0x2F, 0xFF
ROOM = 512
SAVE, PPC = 1, 2


def log_sense(
    page: int, subpage: int = 0, control: int = CUMULATIVE, pointer: int = 0, room: int = ROOM, flags: int = 0
) -> bytes:
    """LOG SENSE; *flags*: byte 1."""
    return struct.pack(">BBBBBHHB", 0x4D, flags, control << 6 | page, subpage, 0, pointer, room, 0)


def body(nexus: Nexus, page: int, subpage: int = 0) -> bytes:
    """A page without its header, which must be right."""
    data = nexus.good(log_sense(page, subpage), read=ROOM)
    kind, second, length = struct.unpack(">BBH", data[:4])
    assert (kind & 0x7F, second, length) == (page | (0x40 if subpage else 0), subpage, len(data) - 4)
    assert bool(kind & 0x80) == (page != PAGES), "nothing is saved"
    return data[4:]


def test_listed_are_those_there_are(script: Script) -> None:
    """Each page and subpage that is listed is answered, and no other; both lists say the same, ascending."""
    first, _ = serve(script, tree.nullio("n"))
    codes, both = body(first, PAGES), body(first, PAGES, ALL)
    listed = list(zip(both[::2], both[1::2], strict=True))
    assert all(one < other for one, other in pairwise(listed))
    assert listed == [(PAGES, 0), (PAGES, ALL), (EXCEPTIONS, 0)]
    assert list(codes) == [page for page, subpage in listed if not subpage]
    for page in range(0x40):
        for subpage in (0, 1, 0x7F, 0xFE, ALL):
            event = first.command(log_sense(page, subpage), read=ROOM)
            assert event.good == ((page, subpage) in listed), f"{page:02x}/{subpage:02x}: {event}"
            if event.good:
                continue
            assert event.sense == scsi.INVALID_FIELD_CDB
            assert scsi.parse_field(event.raw_sense) == (True, 3 if page in codes else 2)


def test_no_exception_is_pending(script: Script) -> None:
    """None is looked for, which mode page 1C says too (DEXCPT); and there is no temperature."""
    first, _ = serve(script, tree.nullio("n"))
    code, control, length, asc, ascq, temperature, zero = struct.unpack(">HBBBBBB", body(first, EXCEPTIONS))
    assert (code, control, length) == (0, 0x23, 4)
    assert (asc, ascq, temperature, zero) == (0, 0, 0xFF, 0)
    mode = first.good(scsi.mode_sense6(0x1C), read=255)[4:]
    assert mode[2] & 0x08


@pytest.mark.parametrize("page", [PAGES, EXCEPTIONS])
def test_what_can_not_be_asked(script: Script, page: int) -> None:
    """Thresholds, defaults, to save, what has changed, parameters there are none of: the field is named."""
    first, _ = serve(script, tree.nullio("n"))
    wrong = {
        log_sense(page, control=THRESHOLDS): 2,
        log_sense(page, control=DEFAULT_THRESHOLDS): 2,
        log_sense(page, control=DEFAULTS): 2,
        log_sense(page, flags=SAVE): 1,
        log_sense(page, flags=PPC): 1,
        log_sense(page, pointer=1): 5,
        log_sense(page, pointer=0x100): 5,
        log_sense(page, pointer=0xFFFF): 5,
    }
    for cdb, byte in wrong.items():
        event = first.command(cdb, read=ROOM)
        assert event.sense == scsi.INVALID_FIELD_CDB, f"{cdb.hex(' ')}: {event}"
        assert scsi.parse_field(event.raw_sense) == (True, byte)
    assert first.command(bytes((0x4C, 0, 0x40, *bytes(7)))).sense == scsi.INVALID_OPCODE, "LOG SELECT"


@pytest.mark.parametrize(("page", "subpage"), [(PAGES, 0), (PAGES, ALL), (EXCEPTIONS, 0)])
def test_room(script: Script, page: int, subpage: int) -> None:
    """As much as there is room for; the length in it is that of the whole."""
    first, _ = serve(script, tree.nullio("n"))
    whole = first.good(log_sense(page, subpage), read=ROOM)
    for room in range(len(whole) + 2):
        assert first.good(log_sense(page, subpage, room=room), read=ROOM) == whole[:room]


def test_it_is_answered_to_everybody(script: Script) -> None:
    """Through reservations of others, and of a parked unit; a unit attention goes before."""
    device = tree.nullio("n")
    first, second = serve(script, device)
    whole = body(second, EXCEPTIONS)
    register((first, 1))
    good(first, Action.RESERVE, 1, Type.EXCLUSIVE_ACCESS)
    assert body(second, EXCEPTIONS) == whole
    good(first, Action.CLEAR, 1)
    first.good(RESERVE6)
    assert body(second, EXCEPTIONS) == whole
    device.activate(False)
    assert body(second, EXCEPTIONS) == whole
    device.activate()
    assert second.command(log_sense(PAGES), read=ROOM).sense == scsi.MEDIUM_MAY_HAVE_CHANGED


def test_tool() -> None:
    """sg_logs, as people use it."""
    node = str(serve_local(tree.nullio("n"))[0].sg(0))
    with Unit(Path(node)) as unit:
        unit.attentions()
    listed = command("sg_logs", "--list", "--list", "--list", node)
    assert "Supported log pages and subpages" in listed, listed
    assert "Informational exceptions" in listed, listed
    told = command("sg_logs", "--page=0x2f", node)
    assert "IE asc = 0x0, ascq = 0x0" in told, told
