# SPDX-License-Identifier: GPL-2.0-or-later
"""A session of one connection: blocking, and each PDU that comes is held against the rules.

:meth:`Session.start` sends a command with what goes with it unasked, :meth:`Session.finish` does the rest.
Who wants to do it wrong builds PDUs by :meth:`Session.request` and its like, and sends what he has changed.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.iscsi import pdu
from tests.iscsi.crc import digest
from tests.iscsi.pdu import BHS, DIGEST, FINAL, NONE, Malformed, Op, Pdu, Reason, Tmf

WRAP = 1 << 32
GOOD, CHECK_CONDITION = 0, 2
PATIENCE = 20.0


def add(number: int, count: int = 1) -> int:
    """In serial arithmetic."""
    return (number + count) % WRAP


def before(first: int, second: int) -> bool:
    """Is the first earlier than the second (RFC 1982)?"""
    return 0 < (second - first) % WRAP < WRAP // 2


def want(condition: object, what: str) -> None:
    """Raises Malformed."""
    if not condition:
        raise Malformed(what)


class Closed(EOFError):
    """The peer has closed or reset the connection; *between*: not in the middle of a PDU."""

    def __init__(self, between: bool) -> None:
        super().__init__("closed" if between else "closed in the middle of a PDU")
        self.between = between


@dataclass
class Terms:
    """What has been agreed on."""

    header_digest: bool = False
    data_digest: bool = False
    max_xmit: int = 8192  # the target's MaxRecvDataSegmentLength
    max_recv: int = 8192  # ours
    max_burst: int = 262144
    first_burst: int = 65536
    initial_r2t: bool = True
    immediate_data: bool = True
    max_outstanding_r2t: int = 1


@dataclass
class Task:
    """A command, and what has come of it."""

    itt: int
    read: int
    write: bytes
    lun: bytes
    counted: bool = True  # ExpDataSN and what is reserved are right
    data: bytearray = field(default_factory=bytearray)
    came: list[Pdu] = field(default_factory=list)
    asked: list[Pdu] = field(default_factory=list)  # R2Ts that have not been answered
    data_sn: int = 0
    r2t_sn: int = 0
    sequence: int = 0  # bytes of it so far
    done: bool = False
    response: int = 0
    status: int = -1
    flags: int = 0
    residual: int = 0
    sense: bytes = b""

    @property
    def key(self) -> tuple[int, int, int]:
        """Sense key, ASC, ASCQ; fixed or descriptor format."""
        if not self.sense:
            return 0, 0, 0
        if self.sense[0] & 0x7F in (0x72, 0x73):
            return self.sense[1] & 0x0F, self.sense[2], self.sense[3]
        return self.sense[2] & 0x0F, self.sense[12], self.sense[13]

    @property
    def kinds(self) -> list[int]:
        """Opcodes of what came."""
        return [one.op for one in self.came]

    def take_data(self, one: Pdu, terms: Terms) -> None:
        """A Data-In PDU."""
        want(one.data_sn == self.data_sn, f"DataSN {one.data_sn}, and not {self.data_sn}")
        want(one.offset == len(self.data), f"offset {one.offset}, and not {len(self.data)}")
        want(one.lun in (bytes(8), self.lun) or not self.counted, "LUN")
        want(not one.flags & pdu.ACK_WANTED, "A at error recovery level 0")
        self.data_sn += 1
        self.data += one.data
        self.sequence += len(one.data)
        want(len(self.data) <= self.read, f"{len(self.data)} bytes, expected were {self.read}")
        want(self.sequence <= terms.max_burst, f"a sequence of {self.sequence} bytes")
        if one.final:
            self.sequence = 0
        else:
            want(self.sequence < terms.max_burst, "a whole burst, and F is not set")
        if one.flags & pdu.STATUS:
            want(one.final, "S without F")
            self.end(one)

    def take_request(self, one: Pdu, terms: Terms) -> None:
        """An R2T."""
        want(one.data_sn == self.r2t_sn, f"R2TSN {one.data_sn}, and not {self.r2t_sn}")
        want(one.ttt != NONE, "an R2T without tag")
        want(one.lun == self.lun or not self.counted, "LUN of an R2T")
        want(0 < one.desired <= terms.max_burst, f"an R2T for {one.desired} bytes")
        want(one.offset + one.desired <= len(self.write), "an R2T for more than there is")
        self.r2t_sn += 1
        self.asked.append(one)
        want(len(self.asked) <= terms.max_outstanding_r2t, f"{len(self.asked)} R2Ts at once")

    def end(self, one: Pdu) -> None:
        """The status."""
        self.done, self.status, self.flags = True, one.byte3, one.flags & 0x1E
        self.residual = one.residual
        if one.op == Op.RESPONSE:
            self.response = one.byte2
            want(not one.byte2 or not self.counted, f"response {one.byte2:#x}, though there is a status")
            right = one.data_sn == self.data_sn + self.r2t_sn
            want(right or one.byte2 or not self.counted, f"ExpDataSN {one.data_sn}")
            if len(one.data) >= 2:
                length = int.from_bytes(one.data[:2], "big")
                want(length <= len(one.data) - 2, "a length of sense beyond the data")
                self.sense = one.data[2 : 2 + length]
        else:
            want(self.status == GOOD, "a status with data that is not GOOD")
        want(self.flags & 6 != 6, "U and O")
        want(self.flags & 6 or not self.residual, "a residual without U and O")
        if self.read and not self.write and not self.response:
            self.check_read()

    def check_read(self) -> None:
        """Is what is missing told?"""
        missing = self.read - len(self.data)
        if self.flags & pdu.UNDERFLOW:
            want(self.residual == missing, f"residual {self.residual}, and {missing} are missing")
        elif self.status == GOOD:
            want(not missing, f"{missing} bytes are missing, and no residual tells of it")


class Session:
    """*sent* and *came*: all PDUs so far, oldest first; :meth:`trace` for people."""

    def __init__(self, sock: socket.socket, terms: Terms | None = None, patience: float = PATIENCE) -> None:
        self.sock = sock
        self.terms = terms or Terms()
        self.strict = True
        self.digests = False  # from the full-feature phase on
        self.counts_r2ts = True  # the target does, in ExpDataSN, and sets no LUN in Data-In
        self.answers_nops = True
        self.answers_r2ts = True
        self.cmd_sn = 1
        self.exp_stat_sn: int | None = None
        self.exp_cmd_sn: int | None = None
        self.max_cmd_sn = 0
        self.itts = itertools.count(0x1000)
        self.tasks: dict[int, Task] = {}
        self.others: dict[int, list[Pdu]] = {}
        self.rejects: list[Pdu] = []
        self.asyncs: list[Pdu] = []
        self.nops: list[Pdu] = []
        self.log: list[str] = []
        sock.settimeout(patience)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Without a word."""
        self.sock.close()

    def trace(self) -> str:
        """All PDUs, a line each."""
        return "\n".join(self.log)

    # --- bytes ---

    def encode(self, *pdus: Pdu) -> bytes:
        """As they go over the wire now."""
        header, data = (
            self.digests and self.terms.header_digest,
            self.digests and self.terms.data_digest,
        )
        return b"".join(one.encode(header, data) for one in pdus)

    def send(self, *pdus: Pdu) -> None:
        """In one piece."""
        self.log += [f"-> {one}" for one in pdus]
        self.sock.sendall(self.encode(*pdus))

    def read_bytes(self, count: int, between: bool = False) -> bytes:
        """Exactly so many. Raises Closed."""
        data = bytearray()
        while len(data) < count:
            try:
                chunk = self.sock.recv(count - len(data))
            except ConnectionError:
                chunk = b""
            if not chunk:
                self.log.append("<- closed")
                raise Closed(between and not data)
            data += chunk
        return bytes(data)

    def checked(self, data: bytes, on: bool, what: str) -> bytes:
        """Data whose digest follows, if digests are on."""
        if on:
            want(self.read_bytes(DIGEST) == digest(data), f"{what} digest")
        return data

    def receive(self) -> Pdu:
        """The next PDU. Raises TimeoutError, Closed, Malformed."""
        header = self.read_bytes(BHS, between=True)
        more, length = pdu.head_lengths(header)
        want(length <= self.terms.max_recv, f"{length} bytes of data in a PDU")
        ahs = self.read_bytes(more)
        self.checked(header + ahs, self.digests and self.terms.header_digest, "header")
        one = pdu.decode_header(header)
        one.ahs = ahs
        if length:
            data = self.read_bytes(length + pdu.padding(length))
            one.data = self.checked(data, self.digests and self.terms.data_digest, "data")[:length]
        self.log.append(f"<- {one}")
        if self.strict:
            self.check(one)
        return one

    def check(self, one: Pdu) -> None:
        """What holds for all that a target sends."""
        want(one.op in set(Op) and one.op >= Op.NOP_IN and not one.immediate, f"opcode {one.op:#x}")
        want(not one.ahs, "additional headers")
        if self.counts_r2ts:
            header = one.header()
            said = [place for place in pdu.RESERVED.get(one.op, ()) if header[place]]
            want(not said, f"reserved bytes {said} of {one}")
        if one.carries_status:
            want(self.exp_stat_sn in (None, one.stat_sn), f"StatSN {one.stat_sn:#x}, not {self.exp_stat_sn}")
            self.exp_stat_sn = add(one.stat_sn)
        elif one.op in (Op.NOP_IN, Op.R2T):
            want(self.exp_stat_sn in (None, one.stat_sn), f"StatSN {one.stat_sn:#x}, not {self.exp_stat_sn}")
        if self.exp_cmd_sn is not None:
            want(not before(one.exp_cmd_sn, self.exp_cmd_sn), "ExpCmdSN goes back")
            want(not before(one.max_cmd_sn, self.max_cmd_sn), "MaxCmdSN goes back")
        want(not before(add(one.max_cmd_sn), one.exp_cmd_sn), "MaxCmdSN is below ExpCmdSN - 1")
        self.exp_cmd_sn, self.max_cmd_sn = one.exp_cmd_sn, one.max_cmd_sn

    # --- what an initiator sends ---

    def request(self, op: int, immediate: bool = False, **more: object) -> Pdu:
        """Any request, with the numbers it has to have; CmdSN is taken unless it is immediate."""
        one = Pdu(op=op, immediate=immediate, itt=next(self.itts), **more)  # type: ignore[arg-type]
        one.fields = {24: self.cmd_sn, 28: self.exp_stat_sn or 0, **one.fields}
        if not immediate:
            self.cmd_sn = add(self.cmd_sn)
        return one

    def command_pdu(
        self,
        cdb: bytes,
        lun: int = 0,
        read: int = 0,
        write: bytes = b"",
        attr: int = pdu.SIMPLE,
        immediate: bool = False,
        immediate_data: int | None = None,
        unsolicited: bool | None = None,
        edtl: int | None = None,
    ) -> tuple[Task, Pdu]:
        """A command that has not been sent. By default as much data goes unasked as may."""
        terms = self.terms
        flags = attr | (pdu.READ if read else 0) | (pdu.WRITE if write or (edtl and not read) else 0)
        if immediate_data is None:
            immediate_data = min(terms.max_xmit, terms.first_burst) if terms.immediate_data else 0
        now = write[:immediate_data]
        if unsolicited is None:
            unsolicited = not terms.initial_r2t and len(now) < min(len(write), terms.first_burst)
        one = self.request(
            Op.COMMAND,
            immediate,
            flags=flags | (0 if unsolicited else FINAL),
            lun=pdu.lun_field(lun),
            cdb=cdb,
            data=now,
            fields={20: edtl if edtl is not None else len(write) or read},
            ahs=pdu.extended_cdb(cdb[16:]) if len(cdb) > 16 else b"",
        )
        task = Task(one.itt, edtl if edtl is not None and read else read, write, one.lun, self.counts_r2ts)
        return task, one

    def data_out(
        self, task: Task, offset: int, length: int, ttt: int = NONE, step: int | None = None
    ) -> list[Pdu]:
        """A sequence of Data-Out PDUs."""
        step = step or self.terms.max_xmit
        made = []
        for number, at in enumerate(range(offset, offset + length, step)):
            data = task.write[at : min(at + step, offset + length)]
            made.append(
                Pdu(
                    op=Op.DATA_OUT,
                    flags=FINAL if at + step >= offset + length else 0,
                    lun=task.lun if ttt != NONE else bytes(8),
                    itt=task.itt,
                    fields={20: ttt, 28: self.exp_stat_sn or 0, 36: number, 40: at},
                    data=data,
                )
            )
        return made

    def unsolicited(self, task: Task, one: Pdu) -> list[Pdu]:
        """The Data-Out PDUs that follow a command unasked."""
        if one.final:
            return []
        done = len(one.data)
        return self.data_out(task, done, min(len(task.write), self.terms.first_burst) - done)

    def begin(self, task: Task, *pdus: Pdu) -> Task:
        """Send a command's PDUs, and remember it."""
        self.tasks[task.itt] = task
        self.send(*pdus)
        return task

    def start(self, cdb: bytes, **more: object) -> Task:
        """Send a command, and what goes with it unasked; arguments: :meth:`command_pdu`."""
        task, one = self.command_pdu(cdb, **more)  # type: ignore[arg-type]
        return self.begin(task, one, *self.unsolicited(task, one))

    def finish(self, task: Task) -> Task:
        """Until it is over."""
        while not task.done:
            self.pump()
        return task

    def command(self, cdb: bytes, **more: object) -> Task:
        """A command from its beginning to its end."""
        return self.finish(self.start(cdb, **more))

    def answer_r2ts(self, task: Task) -> None:
        """Send what the target has asked for."""
        while task.asked:
            one = task.asked.pop(0)
            self.send(*self.data_out(task, one.offset, one.desired, one.ttt))

    # --- what a target sends ---

    def pump(self) -> Pdu:
        """Take one PDU, and do what is to be done about it."""
        one = self.receive()
        task = self.tasks.get(one.itt)
        if one.op in (Op.DATA_IN, Op.R2T, Op.RESPONSE):
            if task is None:
                raise Malformed(f"for no task: {one}")
            self.take(task, one)
        elif one.op == Op.REJECT:
            self.rejects.append(one)
        elif one.op == Op.ASYNC:
            self.asyncs.append(one)
        elif one.op == Op.NOP_IN and one.itt == NONE:
            self.nops.append(one)
            if self.answers_nops and one.ttt != NONE:
                self.send(self.pong(one))
        else:
            self.others.setdefault(one.itt, []).append(one)
        return one

    def take(self, task: Task, one: Pdu) -> None:
        """What belongs to a command."""
        task.came.append(one)
        if one.op == Op.DATA_IN:
            task.take_data(one, self.terms)
        elif one.op == Op.R2T:
            task.take_request(one, self.terms)
            if self.answers_r2ts:
                self.answer_r2ts(task)
        else:
            task.end(one)
        if task.done:
            del self.tasks[task.itt]

    def wait(self, asked: Pdu) -> Pdu:
        """The answer to what is no command."""
        while not self.others.get(asked.itt):
            self.pump()
        return self.others[asked.itt].pop(0)

    def wait_reject(self, reason: Reason) -> Pdu:
        """A Reject, for this reason."""
        while not self.rejects:
            self.pump()
        one = self.rejects.pop(0)
        want(one.byte2 == reason and one.itt == NONE, f"reason {one.byte2:#x}, and not {reason!r}")
        return one

    def wait_closed(self) -> list[Pdu]:
        """Until the peer closes; what comes before that."""
        came = []
        try:
            while True:
                came.append(self.pump())
        except Closed:
            return came

    # --- the rest of the full-feature phase ---

    def ping_pdu(self, data: bytes = b"", immediate: bool = False, lun: int = 0) -> Pdu:
        """A NOP-Out that wants an answer."""
        one = self.request(Op.NOP_OUT, immediate, data=data, lun=pdu.lun_field(lun))
        one.fields[20] = NONE
        return one

    def ping(self, data: bytes = b"", immediate: bool = False) -> Pdu:
        """Ask for a sign of life; the answer."""
        one = self.ping_pdu(data, immediate)
        self.send(one)
        return self.wait(one)

    def ping_immediate(self) -> Pdu:
        """A sign of life of a session whose window is closed, or that has sent nothing yet."""
        return self.ping(immediate=True)

    def pong(self, asked: Pdu) -> Pdu:
        """The answer to a NOP-In."""
        fields = {20: asked.ttt, 24: self.cmd_sn, 28: self.exp_stat_sn or 0}
        return Pdu(op=Op.NOP_OUT, immediate=True, lun=asked.lun, itt=NONE, fields=fields)

    def tmf_pdu(
        self,
        function: int,
        lun: int = 0,
        task: Task | None = None,
        ref_cmd_sn: int = 0,
        immediate: bool = True,
        itt: int = NONE,
    ) -> Pdu:
        """A task management function that has not been sent."""
        one = self.request(Op.TMF, immediate, flags=FINAL | function, lun=pdu.lun_field(lun))
        one.fields |= {20: task.itt if task else itt, 32: ref_cmd_sn}
        return one

    def manage(self, function: Tmf, **more: object) -> int:
        """Task management; the response."""
        one = self.tmf_pdu(function, **more)  # type: ignore[arg-type]
        self.send(one)
        return self.wait(one).byte2

    def text(self, keys: dict[str, str]) -> dict[str, str]:
        """A negotiation in the full-feature phase; for SendTargets use :meth:`text_bytes`."""
        return pdu.split(self.text_bytes(pdu.join(keys)))

    def text_bytes(self, text: bytes) -> bytes:
        """The whole answer, however many PDUs it takes."""
        one = self.request(Op.TEXT, data=text)
        one.fields[20] = NONE
        found = b""
        while True:
            self.send(one)
            answer = self.wait(one)
            found += answer.data
            if answer.final:
                want(answer.ttt == NONE, "a tag with the end of a text")
                return found
            want(answer.ttt != NONE, "a text that goes on without a tag")
            itt, one = one.itt, self.request(Op.TEXT)
            one.itt, one.fields[20], one.lun = itt, answer.ttt, answer.lun

    def targets(self, which: str = "All") -> list[tuple[str, list[str]]]:
        """SendTargets: names, and the addresses of each."""
        found: list[tuple[str, list[str]]] = []
        for item in self.text_bytes(pdu.join({"SendTargets": which})).decode().split("\0"):
            key, _, value = item.partition("=")
            if key == "TargetName":
                found.append((value, []))
            elif key == "TargetAddress":
                found[-1][1].append(value)
        return found

    def logout(self, reason: int = 0, cid: int = 0, immediate: bool = False) -> int:
        """The response to a Logout; the connection closes after it."""
        one = self.request(Op.LOGOUT, immediate, flags=FINAL | reason, fields={20: cid << 16})
        self.send(one)
        return self.wait(one).byte2


def sequences(came: Sequence[Pdu]) -> Iterator[list[Pdu]]:
    """Data-In PDUs by sequence: each ends with F."""
    run: list[Pdu] = []
    for one in came:
        if one.op == Op.DATA_IN:
            run.append(one)
            if one.final:
                yield run
                run = []
    assert not run, "the last sequence has no end"
