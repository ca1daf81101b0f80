# SPDX-License-Identifier: GPL-2.0-or-later
"""An N_Port: login state per remote port, exchanges in both roles, extended link services.

This is what a firmware does below its host interface; the scripted ports use it directly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ..loop import Loop, Timer
from . import frames as fc
from .frames import Command, Frame, Response

R_A_TOV = 10.0
ELS_TIMEOUT = 2 * R_A_TOV
CHUNK = 65536
"""Largest payload of one data sequence."""


class Outcome(Enum):
    """How an exchange that this port originated ended."""

    DONE = "done"
    REJECTED = "rejected"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    ABORTED = "aborted"
    LINK_DOWN = "link down"
    LOGGED_OUT = "logged out"
    MALFORMED = "malformed answer"


class Medium(Protocol):
    """What a port is plugged into."""

    def send(self, source: NPort, frame: Frame) -> None:
        """Carry a frame."""


class PortUser(Protocol):
    """Who acts through a port: a firmware model or a script.  All calls come from the loop."""

    def link_changed(self, up: bool) -> None:
        """The port got an address, or lost its link."""

    def els_received(self, request: ElsRequest) -> bool:
        """A link service request; True: the user answers it, False: the port does."""

    def login_changed(self, remote: Remote) -> None:
        """A remote port logged in or out."""

    def command_received(self, exchange: TargetExchange) -> None:
        """An FCP command or task management function from a logged-in port."""

    def abort_received(self, abort: AbortRequest) -> None:
        """ABTS for an exchange of a logged-in port; the user answers it."""

    def link_disturbed(self, kind: str) -> None:
        """``lip`` or ``state change`` with an unchanged address, or another event of the medium."""


@dataclass(slots=True)
class Remote:
    """A remote port as this port sees it."""

    port_id: int
    wwpn: int
    wwnn: int
    plogi: bool = False
    prli: bool = False
    service: int = 0


ElsDone = Callable[[Outcome, bytes], None]
"""Called with the outcome and the answer's payload."""


@dataclass(slots=True)
class ElsExchange:
    """A link service or CT request that waits for its answer."""

    d_id: int
    done: ElsDone
    timer: Timer


@dataclass(frozen=True, slots=True)
class ElsRequest:
    """A received link service request."""

    port: NPort
    frame: Frame

    @property
    def code(self) -> int:
        """ELS code, or SRR for the FC-4 link service."""
        return self.frame.payload[0] if self.frame.payload else 0

    @property
    def s_id(self) -> int:
        """Who asks."""
        return self.frame.s_id

    def answer(self, payload: bytes) -> None:
        """Send the answer."""
        kind = fc.R_FC4_REPLY if self.frame.r_ctl == fc.R_FC4_REQUEST else fc.R_ELS_REPLY
        self.port.reply(self.frame, kind, payload)

    def refuse(self, reason: int, explanation: int = 0) -> None:
        """Send LS_RJT."""
        self.answer(fc.reject(reason, explanation))


@dataclass(frozen=True, slots=True)
class AbortRequest:
    """A received ABTS; ``exchange`` is None if it is not known (any more)."""

    port: NPort
    frame: Frame
    exchange: TargetExchange | None

    def accept(self) -> None:
        """The exchange is no more: BA_ACC."""
        frame = self.frame
        rx_id = self.exchange.rx_id if self.exchange else frame.rx_id
        payload = (
            bytes((0, 0, 0, 0)) + frame.ox_id.to_bytes(2, "big") + rx_id.to_bytes(2, "big") + b"\0\0\xff\xff"
        )
        self.port.forget(self.exchange)
        self.port.reply(frame, fc.R_BA_ACC, payload)

    def refuse(self, reason: int, explanation: int) -> None:
        """BA_RJT."""
        self.port.reply(self.frame, fc.R_BA_RJT, bytes((0, reason, explanation, 0)))


@dataclass(frozen=True, slots=True)
class Result:
    """End of an FCP exchange at the initiator; ``received`` counts bytes of data in, ``sent`` of data out."""

    outcome: Outcome
    response: Response
    received: int
    sent: int


class InitiatorExchange:
    """An FCP exchange this port originated."""

    __slots__ = (
        "aborting",
        "command",
        "d_id",
        "done",
        "finished",
        "on_data",
        "ox_id",
        "port",
        "received",
        "rx_id",
        "sent",
        "source",
    )

    def __init__(
        self,
        port: NPort,
        d_id: int,
        command: Command,
        done: Callable[[Result], None],
        on_data: Callable[[int, bytes], None] | None,
        source: Callable[[int, int], bytes] | None,
    ) -> None:
        self.port, self.d_id, self.command, self.done = port, d_id, command, done
        self.on_data, self.source = on_data, source
        self.ox_id = 0
        self.rx_id = fc.NO_ID
        self.received = self.sent = 0
        self.aborting: Callable[[bool], None] | None = None
        self.finished = False

    def frame(self, frame: Frame) -> None:
        """A frame of this exchange arrived."""
        kind = frame.r_ctl
        if frame.rx_id != fc.NO_ID:
            self.rx_id = frame.rx_id
        if kind == fc.R_DATA:
            self.received += len(frame.payload)
            if self.on_data is not None:
                self.on_data(frame.param, frame.payload)
        elif kind == fc.R_STATUS:
            self._status(frame)
        elif kind == fc.R_XFER_RDY:
            self._send_data(
                int.from_bytes(frame.payload[:4], "big"), int.from_bytes(frame.payload[4:8], "big")
            )
        elif kind in (fc.R_BA_ACC, fc.R_BA_RJT):
            self._abort_answered(kind == fc.R_BA_ACC)

    def _send_data(self, offset: int, length: int) -> None:
        end = min(offset + length, self.command.length)
        while offset < end and not self.finished:
            size = min(CHUNK, end - offset)
            data = self.source(offset, size) if self.source else bytes(size)
            self.sent += len(data)
            self.port.send(
                fc.R_DATA,
                self.d_id,
                fc.TYPE_FCP,
                fc.F_DATA & ~fc.F_RESPONDER,
                self.ox_id,
                self.rx_id,
                data,
                offset,
            )
            offset += size

    def _status(self, frame: Frame) -> None:
        try:
            response = Response.decode(frame.payload)
        except ValueError:
            self.finish(Outcome.MALFORMED, Response())
            return
        if response.confirm:
            self.port.send(fc.R_CONFIRM, self.d_id, fc.TYPE_FCP, fc.F_REQUEST, self.ox_id, self.rx_id, b"")
        self.finish(Outcome.DONE, response)

    def finish(self, outcome: Outcome, response: Response) -> None:
        """End the exchange; the second end does nothing."""
        if self.finished:
            return
        self.finished = True
        if self.aborting is None:
            self.port.close_initiator(self)
        self.done(Result(outcome, response, self.received, self.sent))

    def abort(self, answered: Callable[[bool], None]) -> None:
        """Send ABTS; ``answered(accepted)`` when the target answers, False also when it does not in time."""
        self.aborting = answered
        self.port.send(fc.R_ABTS, self.d_id, fc.TYPE_BASIC, 0x090000, self.ox_id, self.rx_id, b"")
        self.port.loop.call_later(ELS_TIMEOUT, lambda: self._abort_answered(False))

    def _abort_answered(self, accepted: bool) -> None:
        answered, self.aborting = self.aborting, None
        if answered is None:
            return
        self.port.close_initiator(self)
        self.finish(Outcome.ABORTED, Response())
        answered(accepted)


class TargetExchange:
    """An FCP exchange another port originated: the target's side."""

    __slots__ = (
        "_buffer",
        "_wanted",
        "command",
        "moved",
        "on_confirm",
        "on_gone",
        "open",
        "ox_id",
        "port",
        "rx_id",
        "s_id",
    )

    def __init__(self, port: NPort, s_id: int, ox_id: int, rx_id: int, command: Command) -> None:
        self.port, self.s_id, self.ox_id, self.rx_id, self.command = port, s_id, ox_id, rx_id, command
        self.open = True
        self.moved = 0
        self.on_confirm: Callable[[], None] | None = None
        self.on_gone: Callable[[], None] | None = None
        self._wanted: tuple[int, int, Callable[[bytes], None]] | None = None
        self._buffer = bytearray()

    def send_data(self, offset: int, data: bytes) -> None:
        """Data in; sent in sequences of `CHUNK` bytes."""
        self.moved += len(data)
        for start in range(0, len(data), CHUNK):
            self.port.send(
                fc.R_DATA,
                self.s_id,
                fc.TYPE_FCP,
                fc.F_DATA,
                self.ox_id,
                self.rx_id,
                data[start : start + CHUNK] if len(data) > CHUNK else data,
                offset + start,
            )

    def request_data(self, offset: int, length: int, done: Callable[[bytes], None]) -> None:
        """Data out: FCP_XFER_RDY, then ``done(data)`` when all of it has arrived."""
        self._wanted = (offset, length, done)
        self._buffer = bytearray()
        self.port.send(
            fc.R_XFER_RDY,
            self.s_id,
            fc.TYPE_FCP,
            fc.F_ANSWER & ~fc.F_LAST_SEQUENCE,
            self.ox_id,
            self.rx_id,
            fc.xfer_rdy(offset, length),
            offset,
        )

    def respond(self, response: Response, on_confirm: Callable[[], None] | None = None) -> None:
        """FCP_RSP; the exchange ends, or with ``response.confirm`` when FCP_CONF arrives."""
        self.port.send(
            fc.R_STATUS, self.s_id, fc.TYPE_FCP, fc.F_ANSWER, self.ox_id, self.rx_id, response.encode()
        )
        if response.confirm and on_confirm is not None:
            self.on_confirm = on_confirm
        else:
            self.port.forget(self)

    def frame(self, frame: Frame) -> None:
        """A frame from the initiator."""
        if frame.r_ctl == fc.R_DATA:
            self._data(frame)
        elif frame.r_ctl == fc.R_CONFIRM and self.on_confirm is not None:
            confirmed, self.on_confirm = self.on_confirm, None
            self.port.forget(self)
            confirmed()

    def _data(self, frame: Frame) -> None:
        if self._wanted is None:
            return
        offset, length, done = self._wanted
        if frame.param != offset + len(self._buffer):
            return
        self._buffer += frame.payload
        if len(self._buffer) >= length:
            self._wanted = None
            self.moved += length
            done(bytes(self._buffer[:length]))

    def gone(self) -> None:
        """The exchange was cut off: logout, link loss, abort."""
        self.open = False
        self.stop_waiting()

    def refuse_data(self) -> None:
        """The initiator gives the exchange up: data that still comes is not taken."""
        self._wanted = None

    def stop_waiting(self) -> None:
        """What the target waits for (data, a confirmation) will not come; the exchange itself stays."""
        self._wanted = None
        lost, self.on_gone = self.on_gone, None
        if lost is not None:
            lost()


class NPort:
    """A port with names; addresses come from the medium it is plugged into."""

    def __init__(self, loop: Loop, wwpn: int, wwnn: int, user: PortUser, service: int) -> None:
        """``service``: FCP service parameters announced in PRLI (ROLE_* bits)."""
        self.loop, self.wwpn, self.wwnn, self.user, self.service = loop, wwpn, wwnn, user, service
        self.medium: Medium | None = None
        self.port_id = 0
        self.topology = "fabric"
        self.remotes: dict[int, Remote] = {}
        self._els: dict[int, ElsExchange] = {}
        self._initiated: dict[int, InitiatorExchange] = {}
        self._received: dict[tuple[int, int], TargetExchange] = {}
        self._next_ox_id = 0
        self._next_rx_id = 0

    @property
    def online(self) -> bool:
        """The port has an address and can send."""
        return self.port_id != 0

    # Link, called by the medium.

    def link_up(self, port_id: int, topology: str) -> None:
        """The port got an address (again)."""
        self.port_id, self.topology = port_id, topology
        self.user.link_changed(True)

    def link_down(self) -> None:
        """The link is gone: every login and every open exchange with it."""
        if not self.online:
            return
        self.port_id = 0
        for remote in list(self.remotes.values()):
            self.drop_login(remote, Outcome.LINK_DOWN)
        self.remotes.clear()
        for ox_id in list(self._els):
            self._finish_els(ox_id, Outcome.LINK_DOWN, b"")
        self.user.link_changed(False)

    def drop_login(self, remote: Remote, outcome: Outcome = Outcome.LOGGED_OUT) -> None:
        """Log a remote port out implicitly; open exchanges with it end."""
        was = remote.plogi
        remote.plogi = remote.prli = False
        self._end_exchanges(remote.port_id, outcome)
        if was:
            self.user.login_changed(remote)

    def _end_exchanges(self, port_id: int, outcome: Outcome) -> None:
        for exchange in [x for x in self._initiated.values() if x.d_id == port_id]:
            self.close_initiator(exchange)
            exchange.aborting = None
            exchange.finish(outcome, Response())
        for target in [x for x in self._received.values() if x.s_id == port_id]:
            self.forget(target)
            target.gone()

    # Sending.

    def send(
        self,
        r_ctl: int,
        d_id: int,
        kind: int,
        f_ctl: int,
        ox_id: int,
        rx_id: int,
        payload: bytes,
        param: int = 0,
    ) -> None:
        """Put a frame on the wire; without a link it is lost."""
        if self.medium is not None and self.port_id:
            self.medium.send(
                self, Frame(r_ctl, d_id, self.port_id, kind, f_ctl, ox_id, rx_id, param, payload)
            )

    def reply(self, request: Frame, r_ctl: int, payload: bytes) -> None:
        """Answer a received request."""
        self.send(r_ctl, request.s_id, request.type, fc.F_ANSWER, request.ox_id, request.rx_id, payload)

    def _allocate(self) -> int:
        for _ in range(0xFFFF):
            self._next_ox_id = (self._next_ox_id + 1) % 0xFFFF
            if self._next_ox_id not in self._els and self._next_ox_id not in self._initiated:
                return self._next_ox_id
        raise RuntimeError("all 65535 exchange ids are in use")

    def _request(self, r_ctl: int, kind: int, d_id: int, payload: bytes, done: ElsDone) -> None:
        if not self.online:
            self.loop.call_soon(lambda: done(Outcome.LINK_DOWN, b""))
            return
        ox_id = self._allocate()
        timer = self.loop.call_later(ELS_TIMEOUT, lambda: self._finish_els(ox_id, Outcome.TIMEOUT, b""))
        self._els[ox_id] = ElsExchange(d_id, done, timer)
        self.send(r_ctl, d_id, kind, fc.F_REQUEST, ox_id, fc.NO_ID, payload)

    def els(self, d_id: int, payload: bytes, done: ElsDone) -> None:
        """Send a link service request."""
        self._request(fc.R_ELS_REQUEST, fc.TYPE_ELS, d_id, payload, done)

    def ct(self, d_id: int, payload: bytes, done: ElsDone) -> None:
        """Send a common transport request (name server and the like)."""
        self._request(fc.R_CT_REQUEST, fc.TYPE_CT, d_id, payload, done)

    def fc4_request(self, d_id: int, payload: bytes, done: ElsDone) -> None:
        """Send an FC-4 link service request (SRR)."""
        self._request(fc.R_FC4_REQUEST, fc.TYPE_FCP, d_id, payload, done)

    def _finish_els(self, ox_id: int, outcome: Outcome, payload: bytes) -> None:
        exchange = self._els.pop(ox_id, None)
        if exchange is not None:
            exchange.timer.cancel()
            exchange.done(outcome, payload)

    # Logins.

    def login(self, d_id: int, done: ElsDone) -> None:
        """PLOGI; on success the remote port is in `remotes`, and exchanges of an older login are over."""

        def answered(outcome: Outcome, payload: bytes) -> None:
            if outcome is Outcome.DONE:
                self._end_exchanges(d_id, Outcome.LOGGED_OUT)
                wwpn, wwnn = fc.login_names(payload)
                self.remotes[d_id] = Remote(d_id, wwpn, wwnn, plogi=True)
            done(outcome, payload)

        self.els(d_id, fc.login_payload(fc.ELS_PLOGI, self.wwpn, self.wwnn), answered)

    def process_login(self, d_id: int, done: ElsDone) -> None:
        """PRLI to a port that is logged in."""

        def answered(outcome: Outcome, payload: bytes) -> None:
            remote = self.remotes.get(d_id)
            if outcome is Outcome.DONE and remote is not None and remote.plogi:
                remote.prli, remote.service = True, fc.prli_service(payload)
            done(outcome, payload)

        self.els(d_id, fc.prli_payload(fc.ELS_PRLI, self.service), answered)

    def logout(self, d_id: int, done: ElsDone) -> None:
        """LOGO; this side forgets the login whatever the answer is."""
        payload = (
            bytes((fc.ELS_LOGO, 0, 0, 0, 0)) + self.port_id.to_bytes(3, "big") + self.wwpn.to_bytes(8, "big")
        )
        self.els(d_id, payload, done)
        remote = self.remotes.get(d_id)
        if remote is not None:
            self.drop_login(remote)

    # FCP, initiator.

    def start(
        self,
        d_id: int,
        command: Command,
        done: Callable[[Result], None],
        on_data: Callable[[int, bytes], None] | None = None,
        source: Callable[[int, int], bytes] | None = None,
    ) -> InitiatorExchange | None:
        """Send a command; None if the port is not logged in there.

        ``on_data(offset, data)`` takes data in, ``source(offset, length)`` gives data out.
        """
        remote = self.remotes.get(d_id)
        if remote is None or not remote.prli or not self.port_id:
            return None
        exchange = InitiatorExchange(self, d_id, command, done, on_data, source)
        exchange.ox_id = self._allocate()
        self._initiated[exchange.ox_id] = exchange
        self.send(fc.R_COMMAND, d_id, fc.TYPE_FCP, fc.F_REQUEST, exchange.ox_id, fc.NO_ID, command.encode())
        return exchange

    def close_initiator(self, exchange: InitiatorExchange) -> None:
        """Free the exchange's id."""
        self._initiated.pop(exchange.ox_id, None)

    def forget(self, exchange: TargetExchange | None) -> None:
        """A received exchange is over."""
        if exchange is not None:
            exchange.open = False
            self._received.pop((exchange.s_id, exchange.ox_id), None)

    def received_exchanges(self) -> Iterator[TargetExchange]:
        """Open exchanges of other ports."""
        return iter(list(self._received.values()))

    # Receiving.

    def receive(self, frame: Frame) -> None:
        """A frame for this port."""
        if frame.d_id != self.port_id:
            return
        kind = frame.r_ctl
        if kind == fc.R_COMMAND:
            self._command(frame)
        elif kind == fc.R_ABTS:
            self._abts(frame)
        elif kind in (fc.R_ELS_REQUEST, fc.R_FC4_REQUEST):
            self._els_request(ElsRequest(self, frame))
        elif kind in (fc.R_ELS_REPLY, fc.R_FC4_REPLY) or (kind == fc.R_CT_REPLY and frame.type == fc.TYPE_CT):
            self._els_answer(frame)
        elif kind == fc.R_F_RJT:
            self._finish_els(frame.ox_id, Outcome.UNREACHABLE, frame.payload)
        elif not frame.f_ctl & fc.F_RESPONDER:
            target = self._received.get((frame.s_id, frame.ox_id))
            if target is not None:
                target.frame(frame)
        else:
            own = self._initiated.get(frame.ox_id)
            if own is not None and own.d_id == frame.s_id:
                own.frame(frame)

    def _els_answer(self, frame: Frame) -> None:
        rejected = frame.type != fc.TYPE_CT and frame.payload[:1] == bytes((fc.ELS_LS_RJT,))
        self._finish_els(frame.ox_id, Outcome.REJECTED if rejected else Outcome.DONE, frame.payload)

    def _command(self, frame: Frame) -> None:
        remote = self.remotes.get(frame.s_id)
        if remote is None or not remote.prli:
            self.logout(frame.s_id, lambda outcome, payload: None)
            return
        try:
            command = Command.decode(frame.payload)
        except ValueError:
            return
        self._next_rx_id = (self._next_rx_id + 1) % 0xFFFF
        exchange = TargetExchange(self, frame.s_id, frame.ox_id, self._next_rx_id, command)
        stale = self._received.get((frame.s_id, frame.ox_id))
        if stale is not None:
            # The initiator reuses an id: for it the old exchange is over.
            stale.gone()
        self._received[frame.s_id, frame.ox_id] = exchange
        self.user.command_received(exchange)

    def _abts(self, frame: Frame) -> None:
        abort = AbortRequest(self, frame, self._received.get((frame.s_id, frame.ox_id)))
        if frame.s_id in self.remotes:
            self.user.abort_received(abort)
        else:
            abort.refuse(fc.REASON_LOGICAL, 0)

    def _els_request(self, request: ElsRequest) -> None:
        if not self.user.els_received(request):
            self.answer_els(request)

    def answer_els(self, request: ElsRequest) -> None:
        """The answer a port gives when its user does not care."""
        code, s_id = request.code, request.s_id
        remote = self.remotes.get(s_id)
        if code == fc.ELS_PLOGI:
            self.accept_login(request)
        elif code == fc.ELS_PRLI and remote is not None and remote.plogi:
            self.accept_process_login(request, remote)
        elif code in (fc.ELS_LOGO, fc.ELS_PRLO, fc.ELS_TPRLO):
            request.answer(fc.LS_ACC)
            if remote is not None:
                self.drop_login(remote)
        elif code in (fc.ELS_ADISC, fc.ELS_PDISC):
            self._answer_discovery(request, remote)
        elif code in (fc.ELS_RSCN, fc.ELS_ECHO, fc.ELS_RRQ):
            request.answer(fc.LS_ACC)
        elif code == fc.ELS_FPIN:
            # A notification that nobody answers.
            return
        elif code == fc.ELS_PRLI:
            request.refuse(fc.REASON_UNABLE, fc.EXPLAIN_LOGIN_REQUIRED)
        else:
            request.refuse(fc.REASON_UNSUPPORTED)

    def _answer_discovery(self, request: ElsRequest, remote: Remote | None) -> None:
        if remote is None or not remote.plogi:
            request.refuse(fc.REASON_UNABLE, fc.EXPLAIN_LOGIN_REQUIRED)
        elif request.code == fc.ELS_PDISC:
            request.answer(fc.login_payload(fc.ELS_LS_ACC, self.wwpn, self.wwnn))
        else:
            names = self.wwpn.to_bytes(8, "big") + self.wwnn.to_bytes(8, "big")
            request.answer(fc.LS_ACC + bytes(4) + names + self.port_id.to_bytes(4, "big"))

    def accept_login(self, request: ElsRequest) -> Remote:
        """Accept a PLOGI: an older login of that port ends with it."""
        old = self.remotes.get(request.s_id)
        if old is not None:
            self.drop_login(old)
        wwpn, wwnn = fc.login_names(request.frame.payload)
        remote = self.remotes[request.s_id] = Remote(request.s_id, wwpn, wwnn, plogi=True)
        request.answer(fc.login_payload(fc.ELS_LS_ACC, self.wwpn, self.wwnn))
        self.user.login_changed(remote)
        return remote

    def accept_process_login(self, request: ElsRequest, remote: Remote) -> None:
        """Accept a PRLI."""
        remote.prli, remote.service = True, fc.prli_service(request.frame.payload)
        request.answer(fc.prli_payload(fc.ELS_LS_ACC, self.service))
        self.user.login_changed(remote)
