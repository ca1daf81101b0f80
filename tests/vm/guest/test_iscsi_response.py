# SPDX-License-Identifier: GPL-2.0-or-later
"""What an initiator is told of what was moved (RFC 7143 11.4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.iscsi import pdu
from tests.iscsi.initiator import CHECK_CONDITION, GOOD
from tests.iscsi.pdu import Op
from tests.vm.guest import iscsi, scsi
from tests.vm.guest.full_phase import NO_UNASKED, SMALL, Make, blocks, read, write
from tests.vm.guest.iscsi import BLOCK

SCST_MODULES = iscsi.MODULES

# --- residuals ---


@pytest.mark.parametrize(("wanted", "there"), [(2, 1), (8, 3), (1, 2), (3, 8), (0, 2)])
def test_residual_of_reads(login: Make, wanted: int, there: int) -> None:
    """The initiator expects more, or less, than the command moves."""
    session = login(**SMALL)
    data = blocks(there, 16)
    write(session, data)
    task = session.command(scsi.read10(0, there), read=wanted * BLOCK)
    moved = min(wanted, there)
    assert task.status == GOOD
    assert task.data == data[: moved * BLOCK]
    flag = pdu.UNDERFLOW if wanted > there else pdu.OVERFLOW
    assert (task.flags, task.residual) == (flag, abs(wanted - there) * BLOCK), session.trace()


@pytest.mark.parametrize("terms", [{}, NO_UNASKED], ids=["unasked", "asked"])
@pytest.mark.parametrize(("wanted", "there"), [(2, 1), (16, 3), (1, 2), (3, 16), (0, 2)])
def test_residual_of_writes(login: Make, wanted: int, there: int, terms: dict[str, int]) -> None:
    """Likewise; nothing is asked for that is not used, and the medium has as many blocks as came."""
    session = login(**SMALL, **terms)
    write(session, bytes(16 * BLOCK))
    data = blocks(wanted, 17)
    task, one = session.command_pdu(scsi.write10(0, there), write=data)
    one.flags |= pdu.WRITE
    session.finish(session.begin(task, one, *session.unsolicited(task, one)))
    flag = pdu.UNDERFLOW if wanted > there else pdu.OVERFLOW
    assert (task.flags, task.residual) == (flag, abs(wanted - there) * BLOCK), session.trace()
    asked = sum(one.desired for one in task.came if one.op == Op.R2T)
    unasked = 0 if terms else min(wanted * BLOCK, 2048)
    assert task.status == GOOD, session.trace()
    moved = min(wanted, there)
    assert asked == max(moved * BLOCK - unasked, 0)
    assert read(session, 16).data == data[: moved * BLOCK] + bytes((16 - moved) * BLOCK)


SHORT: dict[str, tuple[bytes, int]] = {
    "part of a block": (scsi.write10(0, 1), 200),
    "a block and a part": (scsi.write10(0, 4), 700),
    "verified in part": (scsi.write_verify10(0, 2), 700),
    "compared": (scsi.verify10(0, 2, 1), 512),
    "compare and write": (scsi.compare_and_write(0, 1), 512),
    "or": (scsi.orwrite16(0, 2), 512),
}


@pytest.mark.parametrize("what", SHORT)
def test_short_data_that_is_refused(login: Make, what: str) -> None:
    """Part of a block, or of what is all or nothing: nothing is asked for, or written; what lacks is told."""
    session = login(**SMALL, **NO_UNASKED)
    cdb, length = SHORT[what]
    write(session, bytes(4 * BLOCK))
    task = session.command(cdb, write=b"\xee" * length)
    assert (task.status, task.key[0]) == (CHECK_CONDITION, 0x5), session.trace()
    assert task.kinds == [Op.RESPONSE]
    assert task.flags == pdu.OVERFLOW
    assert read(session, 4).data == bytes(4 * BLOCK)


def test_residual_of_inquiry(login: Make) -> None:
    """Less than the allocation length says, which the initiator has room for."""
    session = login()
    task = session.command(scsi.inquiry(255), read=255)
    assert task.flags == pdu.UNDERFLOW
    assert task.residual == 255 - len(task.data)
    assert len(task.data) == 5 + task.data[4]


def test_no_direction(login: Make) -> None:
    """A command that moves data, whose initiator does not expect any: not sent, and told."""
    session = login()
    task = session.command(scsi.read10(0, 2))
    assert (task.status, task.flags, task.residual) == (GOOD, pdu.OVERFLOW, 1024), session.trace()


@pytest.mark.parametrize("write_too", [False, True])
def test_expected_length_of_gigabytes(login: Make, write_too: bool) -> None:
    """No memory is taken for it."""
    session = login(**SMALL, **NO_UNASKED)
    edtl = 0xFFFFFE00
    before = int(Path("/proc/meminfo").read_text().split()[4])
    if write_too:
        session.answers_r2ts = False
        task, one = session.command_pdu(scsi.write10(0, 1), edtl=edtl)
        task.write = blocks(1, 18)
        session.begin(task, one)
        while not task.asked:
            session.pump()
        asked = task.asked.pop(0)
        assert asked.desired == 512
        session.send(*session.data_out(task, 0, 512, asked.ttt))
        session.finish(task)
    else:
        task = session.command(scsi.read10(0, 1), read=edtl)
    assert (task.flags, task.residual) == (pdu.UNDERFLOW, edtl - 512)
    assert before - int(Path("/proc/meminfo").read_text().split()[4]) < 100 << 10
