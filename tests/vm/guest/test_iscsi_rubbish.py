# SPDX-License-Identifier: GPL-2.0-or-later
"""Rubbish over the network, at the daemon and at the kernel: what initiators send, changed at random.

Whatever comes, what the target sends is PDUs in the order of their numbers, with right digests; nobody waits
for ever; a session of another target goes on as if nothing were; afterwards nothing is left of the others,
and the kernel has said nothing (that is looked at after each test).

``SCST_RUBBISH``: seconds of each test. ``SCST_SEED``: that of another run; ``SCST_RUBBISH_FROM``: which of
its connections are first, as each has random numbers of its own.
"""

from __future__ import annotations

import os
import random
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.fuzz import logins
from tests.iscsi import adopter as handover
from tests.iscsi import pdu
from tests.iscsi.adopter import EVENT_GONE, Adopter
from tests.iscsi.crc import digest
from tests.iscsi.initiator import GOOD, Closed, Session
from tests.iscsi.login import login
from tests.iscsi.pdu import FINAL, NONE, Op, Pdu
from tests.vm.guest import iscsi, iscsid, scsi, tree
from tests.vm.guest.full_phase import DIGESTS, NO_UNASKED, SMALL, blocks, read, write
from tests.vm.guest.iscsi import BLOCK
from tests.vm.guest.iscsid import by_daemon, portal
from tests.vm.guest.long import often

SCST_MODULES = iscsi.MODULES

SECONDS = float(os.environ.get("SCST_RUBBISH", often(4, 600)))
SEED = int(os.environ.get("SCST_SEED", time.time_ns()))
FROM = int(os.environ.get("SCST_RUBBISH_FROM", "0"))
WITNESS = "iqn.2026-11.test:witness"
TERMS: tuple[dict[str, int], ...] = (
    {**SMALL, **DIGESTS},
    {**SMALL, **NO_UNASKED, "max_outstanding_r2t": 3},
    {**SMALL, "protocol_level": 2},
    {},
)
# How many sessions at a time; those with one ISID throw each other out.
BESIDE = 3
# Until what was sent has been looked at, mostly.
BEAT = 0.05
ISIDS = tuple(bytes.fromhex(f"40000000000{number}") for number in range(1, BESIDE + 2))

Say = Callable[[str], None]


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
def witness_target(iscsi_target: iscsi.Target, tmp_path: Path) -> Iterator[iscsi.Target]:
    """A target of its own: resets of the other one are none of its business."""
    path = tmp_path / "witness"
    path.write_bytes(bytes(1 << 20))
    target = iscsi.Target(WITNESS)
    target.make()
    target.luns.map(0, device := tree.fileio("witness", path))
    target.enable()
    yield target
    target.enable(False)
    iscsi.wait_sessions(0, WITNESS)
    target.luns.unmap(0)
    target.path.rmdir()
    device.enable(False)
    device.remove()


@contextmanager
def looking_on(session: Session) -> Iterator[Witness]:
    """From before to after it."""
    iscsi.hear(session)
    seen = Witness(session)
    yield seen
    seen.look()


@pytest.fixture
def witness(witness_target: iscsi.Target) -> Iterator[Witness]:
    """Handed over by the test."""
    with iscsi.adopter(WITNESS) as adopter, looking_on(adopter.login()) as seen:
        yield seen


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Say:
    """To the log at once: a machine that goes down says it no more."""

    def to_log(text: str) -> None:
        with capfd.disabled():
            print(f"\n{text}", flush=True)

    return to_log


class Ends:
    """How sessions have ended; to be asked now and then, as few of them are kept for who is late."""

    def __init__(self) -> None:
        self.told = handover.Events()
        self.why: Counter[str] = Counter()

    def __enter__(self) -> Ends:
        return self

    def __exit__(self, *_: object) -> None:
        self.told.close()

    def total(self) -> int:
        """So far."""
        self.why.update(reason for kind, _, reason in self.told.read() if kind == EVENT_GONE)
        return self.why.total()


# --- what is sent ---


def data_for(asked: Pdu, session: Session) -> Pdu:
    """Some of what an R2T asks for."""
    length = min(asked.desired, session.terms.max_xmit)
    fields = {20: asked.ttt, 28: session.exp_stat_sn or 0, 40: asked.offset}
    flags = FINAL if length == asked.desired else 0
    return Pdu(op=Op.DATA_OUT, flags=flags, lun=asked.lun, itt=asked.itt, fields=fields, data=bytes(length))


def of_each_kind(session: Session, stream: random.Random, r2ts: list[Pdu]) -> list[bytes]:
    """What a session could send next, as bytes, of which one is going to be changed."""
    lba, count = stream.randrange(64), stream.choice((1, 2, 8, 16))
    task, one = session.command_pdu(scsi.write10(lba, count), write=blocks(count))
    made = [one, *session.unsolicited(task, one)]
    made.append(session.command_pdu(scsi.read10(lba, count), read=count * BLOCK)[1])
    made.append(session.command_pdu(bytes([0x7F, *bytes(6), 24]).ljust(32, b"\0"))[1])
    made += session.data_out(task, 0, count * BLOCK, stream.choice((0, 0x100, 0x200, stream.getrandbits(32))))
    made += [data_for(one, session) for one in r2ts]
    made.append(session.ping_pdu(stream.randbytes(stream.randrange(600)), stream.random() < 0.5))
    made.append(session.tmf_pdu(stream.randrange(16), stream.randrange(3), task, ref_cmd_sn=one.cmd_sn))
    made.append(session.request(stream.choice((Op.LOGOUT, Op.TEXT, Op.SNACK, stream.randrange(64))), True))
    made.append(Pdu(op=Op.DATA_OUT, flags=stream.choice((0, FINAL)), itt=task.itt, fields={20: NONE}))
    # Mostly in the order of their numbers: what is beyond a gap waits, and is not looked at.
    if stream.random() < 0.3:
        stream.shuffle(made)
    return [session.encode(one) for one in made[: stream.randint(1, len(made))]]


def right_again(session: Session, wire: bytes) -> bytes:
    """A header that was changed gets a right digest: what is behind that is tried, too."""
    head = pdu.BHS + 4 * (wire[4] if len(wire) > 4 else 0)
    digests = session.digests and session.terms.header_digest
    if not digests or len(wire) < head + pdu.DIGEST:
        return wire
    return wire[:head] + digest(wire[:head]) + wire[head + pdu.DIGEST :]


def changed(session: Session, stream: random.Random, r2ts: list[Pdu]) -> bytes:
    """Some PDUs, of which one or two are not what they should be."""
    made = of_each_kind(session, stream, r2ts)
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


# --- in the full-feature phase: the kernel ---


@dataclass
class Rubbish:
    """A session that sends it."""

    session: Session
    stream: random.Random
    r2ts: list[Pdu] = field(default_factory=list)

    def hear(self) -> None:
        """What there is, each PDU as it should be. Raises Closed."""
        while select.select([self.session.sock], [], [], 0)[0]:
            one = self.session.receive()
            if one.op == Op.R2T:
                self.r2ts = [*self.r2ts[-3:], one]

    def send(self, wire: bytes) -> None:
        """In portions; the target takes all, or closes: there is nothing that it could have to wait for."""
        step = self.stream.choice((len(wire), len(wire), 100, 7))
        for at in range(0, len(wire), step):
            self.session.sock.sendall(wire[at : at + step])

    def step(self) -> bool:
        """Some rubbish. False: it is over."""
        expected = self.session.exp_cmd_sn
        if expected is not None and self.stream.random() < 0.9:
            self.session.cmd_sn = expected
        r2ts, self.r2ts = self.r2ts, []
        try:
            self.send(changed(self.session, self.stream, r2ts))
            self.hear()
        except (ConnectionError, Closed):
            return False
        return True


def begin(adopter: Adopter, number: int) -> tuple[Rubbish, int]:
    """The session of that number, and for how many steps it goes on."""
    stream = random.Random(f"{SEED}/{number}")
    # An older session of the same port ends first, which none of its commands can hinder for long.
    waits = int(iscsi.PATIENCE * 1000)
    session = adopter.login(isid=stream.choice(ISIDS), wait_ms=waits, **stream.choice(TERMS))
    session.sock.settimeout(iscsi.PATIENCE)
    return Rubbish(session, stream), stream.randint(1, 12)


def test_rubbish(adopter: Adopter, witness: Witness, say: Say) -> None:
    """Some sessions at a time, each until it is over or has had enough."""
    say(f"seed {SEED}")
    until, number, going = time.monotonic() + SECONDS, FROM, list[tuple[Rubbish, int]]()
    with Ends() as ended:
        while going or time.monotonic() < until:
            while len(going) < BESIDE and time.monotonic() < until:
                going.append(begin(adopter, number))
                number += 1
            for one, steps in going:
                if not steps or not one.step():
                    one.session.close()
                    adopter.sessions.remove(one.session)
            going = [(one, steps - 1) for one, steps in going if one.session.sock.fileno() >= 0]
            if ended.total() % 16 == 0:
                witness.look()
        iscsi.wait_sessions(0)
        tree.wait_for("the last news", lambda: ended.total() >= number - FROM, iscsi.PATIENCE)
        say(f"{ended.total()} sessions, {number - FROM} begun: {dict(ended.why.most_common())}")
        assert ended.total() == number - FROM


# --- logins: the daemon, and the kernel behind it ---


@pytest.fixture
def witness_of_daemon(witness_target: iscsi.Target, capfd: pytest.CaptureFixture[str]) -> Iterator[Witness]:
    """Let in by scst-iscsid; later its target wants a proof that nobody has."""
    targets = (iscsi.Target(iscsi.NAME), witness_target)
    for target in targets:
        portal(target)
    with by_daemon() as running:
        with login(iscsid.ADDRESS, WITNESS) as session:
            tree.write(witness_target.path / "auth", "chap")
            with looking_on(session) as seen:
                yield seen
        assert running.process.poll() is None, "the daemon has ended"
    for target in targets:
        (target.path / "portals/p").unlink()
    (tree.ROOT / "drivers/iscsi/portals/p").rmdir()
    assert "Traceback" not in capfd.readouterr().err


def recorded(target: str) -> list[bytes]:
    """What initiators have sent to log in, and to discover, now to this target."""
    kept = [text.replace(logins.TARGET.encode(), target.encode()) for text in logins.recorded().values()]
    return [logins.joined(list(logins.pdus_of(text))) for text in kept]


def connection(number: int, text: bytes, stream: random.Random, answered: bool) -> None:
    """It says this, rubbish behind it, and no more; the other end has to close, too. *answered*: it is sure
    to be; who has closed before that is not let in.
    """
    source = f"127.1.{number >> 7 & 127}.{1 + (number & 127)}"  # the more who guess, the longer it takes
    with (
        suppress(ConnectionError),
        socket.create_connection(iscsid.ADDRESS, iscsi.PATIENCE, (source, 0)) as sock,
    ):
        sock.sendall(text + changed(Session(sock, patience=iscsi.PATIENCE), stream, []))
        wait = iscsi.PATIENCE if answered else BEAT
        while select.select([sock], [], [], wait)[0]:
            if not sock.recv(1 << 16):
                return
            wait = BEAT
        with suppress(OSError):  # it was reset
            sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass


def test_rubbish_in_logins(witness_of_daemon: Witness, say: Say) -> None:
    """What initiators have sent, changed, and PDUs of the full-feature phase behind it."""
    say(f"seed {SEED}")
    until, number = time.monotonic() + SECONDS, FROM
    kept, proving = recorded(iscsi.NAME), recorded(WITNESS)
    with Ends() as ended:
        for text in kept:
            connection(0, text, random.Random(SEED), True)
        while time.monotonic() < until:
            stream = random.Random(f"{SEED}/{number}")
            text = stream.choice(proving if stream.random() < 0.1 else kept)
            same = stream.random() < 0.3
            connection(number, text if same else logins.changed(stream, text), stream, same)
            number += 1
            ended.total()
        iscsi.wait_sessions(0)
        let_in = ended.total()
        say(f"{number - FROM} connections, of which {let_in} were let in: {dict(ended.why.most_common())}")
    assert let_in, "nobody was let in"
    assert len(iscsi.sessions(WITNESS)) == 1, "somebody is in without the secret"
