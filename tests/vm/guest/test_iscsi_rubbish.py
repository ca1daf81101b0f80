# SPDX-License-Identifier: GPL-2.0-or-later
"""Rubbish over the network, at the daemon and at the kernel: what initiators send, changed at random.

A session of another target goes on as if nothing were; afterwards nothing is left of the others, and the
kernel has said nothing (that is looked at after each test). ``SCST_RUBBISH``: seconds of each test.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fuzz import logins
from tests.iscsi import pdu
from tests.iscsi.adopter import Adopter
from tests.iscsi.crc import digest
from tests.iscsi.initiator import GOOD, Session
from tests.iscsi.pdu import FINAL, NONE, Op, Pdu
from tests.vm.guest import iscsi, scsi, tree
from tests.vm.guest.full_phase import DIGESTS, NO_UNASKED, SMALL, blocks, read, write
from tests.vm.guest.iscsi import BLOCK
from tests.vm.guest.long import often
from tests.vm.guest.test_iscsi import Daemon

SCST_MODULES = iscsi.MODULES

SECONDS = float(os.environ.get("SCST_RUBBISH", often(4, 600)))
SEED = int(os.environ.get("SCST_SEED", time.time_ns()))
PORTAL = ("127.0.0.1", 3260)
TERMS: tuple[dict[str, int], ...] = (
    {**SMALL, **DIGESTS},
    {**SMALL, **NO_UNASKED, "max_outstanding_r2t": 3},
    {**SMALL, "protocol_level": 2},
    {},
)


@dataclass
class Witness:
    """Who is beside it."""

    session: Session
    count: int = 0

    def look(self) -> None:
        """What it writes is there afterwards."""
        self.count += 1
        data = blocks(8, self.count)
        assert write(self.session, data, self.count % 64).status == GOOD
        assert read(self.session, 8, self.count % 64).data == data


@pytest.fixture
def witness(iscsi_target: iscsi.Target, tmp_path: Path) -> Iterator[Witness]:
    """At a target of its own: resets of the other one are none of its business."""
    name = "iqn.2026-11.test:witness"
    path = tmp_path / "witness"
    path.write_bytes(bytes(1 << 20))
    target = iscsi.Target(name)
    target.make()
    target.luns.map(0, device := tree.fileio("witness", path))
    target.enable()
    with iscsi.adopter(name) as adopter:
        session = adopter.login()
        iscsi.hear(session)
        yield Witness(session)
        assert session.ping(b"alive").data == b"alive"
    target.enable(False)
    target.luns.unmap(0)
    target.path.rmdir()
    device.enable(False)
    device.remove()


def of_each_kind(session: Session, stream: random.Random) -> list[bytes]:
    """What a session could send next, as bytes, of which one is going to be changed."""
    lba, count = stream.randrange(64), stream.choice((1, 2, 8, 16))
    task, one = session.command_pdu(scsi.write10(lba, count), write=blocks(count))
    made = [one, *session.unsolicited(task, one)]
    made.append(session.command_pdu(scsi.read10(lba, count), read=count * BLOCK)[1])
    made.append(session.command_pdu(bytes([0x7F, *bytes(6), 24]).ljust(32, b"\0"))[1])
    made += session.data_out(task, 0, count * BLOCK, stream.choice((0, 0x100, 0x200, stream.getrandbits(32))))
    made.append(session.ping_pdu(stream.randbytes(stream.randrange(600)), stream.random() < 0.5))
    made.append(session.tmf_pdu(stream.randrange(16), stream.randrange(3), task, ref_cmd_sn=one.cmd_sn))
    made.append(session.request(stream.choice((Op.LOGOUT, Op.TEXT, Op.SNACK, stream.randrange(64))), True))
    made.append(Pdu(op=Op.DATA_OUT, flags=stream.choice((0, FINAL)), itt=task.itt, fields={20: NONE}))
    stream.shuffle(made)
    return [session.encode(one) for one in made[: stream.randint(1, len(made))]]


def right_again(session: Session, wire: bytes) -> bytes:
    """A header that was changed gets a right digest: what is behind that is tried, too."""
    head = pdu.BHS + 4 * (wire[4] if len(wire) > 4 else 0)
    if not session.terms.header_digest or len(wire) < head + pdu.DIGEST:
        return wire
    return wire[:head] + digest(wire[:head]) + wire[head + pdu.DIGEST :]


def changed(session: Session, stream: random.Random) -> bytes:
    """Some PDUs, of which one or two are not what they should be."""
    made = of_each_kind(session, stream)
    for _ in range(stream.choice((0, 1, 1, 2))):
        at = stream.randrange(len(made))
        wire = bytearray(made[at])
        for _ in range(stream.choice((1, 1, 3))):
            value = stream.choice((0, 1, 0x7F, 0x80, 0xFF, stream.randrange(256)))
            wire[stream.randrange(min(len(wire), 52))] = value
        made[at] = right_again(session, bytes(wire))
        if stream.random() < 0.1:
            made[at] = logins.bytes_changed(stream, made[at])
    return b"".join(made)


def answers(sock: socket.socket) -> None:
    """Read what there is; nobody checks it."""
    sock.setblocking(False)
    with suppress(BlockingIOError):
        while sock.recv(1 << 16):
            pass
    sock.setblocking(True)


def full_phase(adopter: Adopter, stream: random.Random) -> None:
    """One session, until it is over or has had enough."""
    session = adopter.login(**stream.choice(TERMS))
    adopter.sessions.remove(session)
    session.digests = True
    with suppress(ConnectionError, TimeoutError), session:
        session.sock.settimeout(iscsi.PATIENCE)
        for _ in range(stream.randint(1, 12)):
            wire = changed(session, stream)
            step = stream.choice((len(wire), len(wire), 100, 7))
            for at in range(0, len(wire), step):
                session.sock.sendall(wire[at : at + step])
            answers(session.sock)
            session.cmd_sn = pdu_window(session, stream)


def pdu_window(session: Session, stream: random.Random) -> int:
    """Mostly a number that may be the next one: one that was rejected has not come."""
    return (session.cmd_sn - stream.choice((0, 0, 1, 2, 5))) % (1 << 32)


def test_rubbish(adopter: Adopter, witness: Witness) -> None:
    """In the full-feature phase: the kernel."""
    print(f"seed {SEED}")
    stream, until, count = random.Random(SEED), time.monotonic() + SECONDS, 0
    while time.monotonic() < until:
        full_phase(adopter, stream)
        count += 1
        if count % 16 == 0:
            witness.look()
            iscsi.wait_sessions(0)
    print(f"{count} sessions")
    iscsi.wait_sessions(0)


@pytest.fixture
def daemon(iscsi_target: iscsi.Target) -> Iterator[Daemon]:
    """It lets in by a portal."""
    folder = tree.ROOT / "drivers/iscsi/portals/p"
    folder.mkdir()
    tree.write(folder / "address", PORTAL[0])
    link = iscsi_target.path / "portals/p"
    link.symlink_to(folder)
    with Daemon() as running:
        tree.wait_for("a portal", lambda: tree.read(folder / "state") == "listening", iscsi.PATIENCE)
        yield running
        assert running.process.poll() is None, "the daemon has ended"
    link.unlink()
    folder.rmdir()


def test_rubbish_in_logins(witness: Witness, daemon: Daemon) -> None:
    """What initiators have sent, changed, and PDUs of the full-feature phase behind it: daemon and kernel."""
    print(f"seed {SEED}")
    stream, until, count = random.Random(SEED), time.monotonic() + SECONDS, 0
    kept = [text.replace(logins.TARGET.encode(), iscsi.NAME.encode()) for text in logins.recorded().values()]
    kept = [logins.joined(list(logins.pdus_of(text))) for text in kept]
    while time.monotonic() < until:
        count += 1
        text = stream.choice(kept)
        text = text if stream.random() < 0.3 else logins.changed(stream, text)
        with suppress(ConnectionError, TimeoutError), socket.create_connection(PORTAL, 1) as sock:
            sock.sendall(text + changed(Session(sock), stream))
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(1)
            while sock.recv(1 << 16):
                pass
    print(f"{count} connections")
    witness.look()
    iscsi.wait_sessions(0)
