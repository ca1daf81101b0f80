# SPDX-License-Identifier: GPL-2.0-or-later
"""What it takes to answer, in packets.

What has come is given back to TCP when the answers are out, so that they acknowledge it. An initiator that
sends a header and its data in a packet each, as Linux's does, gets one packet for both, if the command is
carried out at once.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

import pytest

from tests.iscsi.adopter import Adopter
from tests.iscsi.initiator import GOOD, Session, Task
from tests.iscsi.pdu import BHS, DIGEST
from tests.vm.guest import iscsi, scsi
from tests.vm.guest.full_phase import DIGESTS, Make, alive, blocks, read, write
from tests.vm.guest.iscsi import BLOCK
from tests.vm.guest.long import more

SCST_MODULES = iscsi.MODULES

COUNT = 8
AT_ONCE = 1  # the LUN that swallows everything
WARM, MEASURED = 30, 40
# In struct tcp_info: tcpi_segs_in, and two fields behind it tcpi_data_segs_in.
SEGS_IN = struct.Struct("=140xI8xI")


def acknowledgements(session: Session) -> int:
    """Packets from the target that were nothing else."""
    info = session.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SEGS_IN.size)
    packets, with_data = SEGS_IN.unpack(info)
    return int(packets - with_data)


def pieces(session: Session, data: bytes, lun: int = 0) -> tuple[Task, list[bytes]]:
    """A write that has not been sent: its header, its data, and the data's digest, if there is one."""
    task, one = session.command_pdu(scsi.write10(0, len(data) // BLOCK), lun, write=data)
    assert one.data == data
    session.tasks[task.itt] = task
    wire = session.encode(one)
    head = BHS + (DIGEST if session.terms.header_digest else 0)
    cut = head + len(data)
    return task, [piece for piece in (wire[:head], wire[head:cut], wire[cut:]) if piece]


def send(session: Session, parts: Sequence[bytes]) -> None:
    for part in parts:
        session.sock.sendall(part)


@pytest.mark.parametrize("terms", [{}, {"header_digest": 1}], ids=["plain", "digest"])
def test_answers_acknowledge(login: Make, terms: dict[str, int]) -> None:
    """A write takes one packet of the target's."""
    session, data = login(**terms), blocks(COUNT)
    before = 0
    for number in range(WARM + MEASURED):
        if number == WARM:
            before = acknowledgements(session)
        task, parts = pieces(session, data, AT_ONCE)
        send(session, parts)
        assert session.finish(task).status == GOOD
    # Where the machine is so slow that a timer is faster, there is one now and then.
    assert acknowledgements(session) - before < MEASURED / 2
    alive(session)


@pytest.mark.parametrize("room", [1, 8192, *more(4096, 12288)])
def test_little_room(adopter: Adopter, login: Make, room: int) -> None:
    """The window that an answer tells of is not yet that of what it has answered: it is told afterwards."""
    adopter.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    session = login(**DIGESTS)
    for number in range(2):
        data = blocks(16, number)
        task, parts = pieces(session, data)
        send(session, [part[at : at + 1500] for part in parts for at in range(0, len(part), 1500)])
        assert session.finish(task).status == GOOD
        assert write(session, data + data, 16).status == GOOD
        assert read(session, 48).data == 3 * data
    alive(session)
