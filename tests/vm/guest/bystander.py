# SPDX-License-Identifier: GPL-2.0-or-later
"""An initiator that reads the same blocks all the time, and how long it waits for each answer.

In a process of its own, which comes before all others: it waits for no CPU, but for the target, or for what
the machine does on its own. To tell these apart a packet of the same size goes to and fro between two sockets
beside each command (:mod:`tests.iscsi.waits`).
"""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.iscsi import login
from tests.iscsi.initiator import Session, add
from tests.iscsi.pdu import BHS, STATUS, Op
from tests.iscsi.waits import Sample, Span, Verdict, judge, within
from tests.vm.guest import iscsi, scsi, tree
from tests.vm.guest.iscsid import ADDRESS

BLOCKS = 8
PAUSE = 0.003
PRIORITY = 40
PATIENCE = 120 * tree.SLOW


class Reader:
    """A session, and READs whose PDUs are made in advance, as far as they can be."""

    def __init__(self, session: Session) -> None:
        _, one = session.command_pdu(scsi.read10(0, BLOCKS), read=BLOCKS * iscsi.BLOCK)
        self.session = session
        # Without a timeout of Python's, for which it would poll.
        session.sock.setblocking(True)
        session.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", round(PATIENCE), 0))
        self.request = bytearray(session.encode(one))
        self.answer = bytearray(BHS + BLOCKS * iscsi.BLOCK)
        self.itt, self.cmd_sn, self.exp_stat_sn = one.itt, one.cmd_sn, session.exp_stat_sn or 0

    def read(self) -> None:
        """Once, to its end. Raises AssertionError when there is anything else than data and GOOD."""
        struct.pack_into(">I", self.request, 16, self.itt)
        struct.pack_into(">II", self.request, 24, self.cmd_sn, self.exp_stat_sn)
        self.session.sock.sendall(self.request)
        count = self.session.sock.recv_into(self.answer, len(self.answer), socket.MSG_WAITALL)
        op, flags, _, status = self.answer[:4]
        assert count == len(self.answer), f"{count} bytes"
        assert (op, flags & STATUS, status) == (Op.DATA_IN, STATUS, 0), bytes(self.answer[:BHS]).hex()
        self.itt, self.cmd_sn, self.exp_stat_sn = self.itt + 1, add(self.cmd_sn), add(self.exp_stat_sn)


class Echo:
    """The same bytes to and fro, without a target."""

    def __init__(self, reader: Reader) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.near = socket.create_connection(listener.getsockname())
            self.far, _ = listener.accept()
        self.near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request, self.answer = bytearray(len(reader.request)), bytearray(len(reader.answer))

    def read(self) -> None:
        """Once."""
        self.near.sendall(self.request)
        self.far.recv_into(self.request, len(self.request), socket.MSG_WAITALL)
        self.far.sendall(self.answer)
        self.near.recv_into(self.answer, len(self.answer), socket.MSG_WAITALL)


def timed(one: Reader | Echo) -> float:
    """How long it takes."""
    began = time.monotonic()
    one.read()
    return time.monotonic() - began


def watch(target: str, initiator: str, until: int) -> list[Sample]:
    """Read until that pipe closes."""
    gc.disable()
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    samples: list[Sample] = []
    with login.login(ADDRESS, target, initiator=initiator) as session:
        iscsi.hear(session)
        reader = Reader(session)
        echo = Echo(reader)
        while not select.select([until], [], [], 0)[0]:
            began = time.monotonic()
            # Which of them is first makes no difference.
            if len(samples) % 2:
                took, beside = timed(reader), timed(echo)
            else:
                beside, took = timed(echo), timed(reader)
            samples.append(Sample(began, took, beside))
            time.sleep(PAUSE)
    return samples


class Bystander:
    """It runs while this is entered; the times at which something happens to others are marked as such.

    Its process has all sockets that this one has at the time.
    """

    def __init__(self, target: str, initiator: str, folder: Path) -> None:
        self.target, self.initiator = target, initiator
        self.file = folder / "bystander.json"
        self.disturbed_spans: list[Span] = []
        self.undisturbed_spans: list[Span] = []

    def __enter__(self) -> Bystander:
        until, self._end = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._end)
            self._run(until)
        os.close(until)
        return self

    def _run(self, until: int) -> None:
        """The process of its own."""
        status = 1
        try:
            samples = watch(self.target, self.initiator, until)
            self.file.write_text(json.dumps([(one.at, one.took, one.beside) for one in samples]))
            status = 0
        except BaseException as error:
            self.file.write_text(json.dumps(repr(error)))
        finally:
            os._exit(status)

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> int:
        """Its exit status."""
        if self._pid:
            os.close(self._end)
            _, self._status = os.waitpid(self._pid, 0)
            self._pid = 0
        return self._status

    @contextmanager
    def disturbed(self) -> Iterator[None]:
        """Meanwhile something happens that it should not notice."""
        began = time.monotonic()
        yield
        self.disturbed_spans.append((began, time.monotonic()))

    def undisturbed(self, seconds: float) -> None:
        """Nothing happens for a while."""
        began = time.monotonic()
        time.sleep(seconds)
        self.undisturbed_spans.append((began, time.monotonic()))

    def verdict(self) -> Verdict:
        """It ends; what it has seen."""
        status = self._stop()
        found = json.loads(self.file.read_text())
        assert status == 0, found
        samples = [Sample(*one) for one in found]
        return judge(within(samples, self.disturbed_spans), within(samples, self.undisturbed_spans))
