# SPDX-License-Identifier: GPL-2.0-or-later
"""What ports are plugged into: a switch and an arbitrated loop, both with faults a test can cause."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from ..loop import Loop
from . import frames as fc
from .frames import Frame
from .nameserver import NameServer
from .nport import NPort

LINK_DELAY = 0.05
"""Seconds from plugging in to an address."""
RSCN_DELAY = 0.005
AL_PAS = bytes.fromhex(
    "0102040810 0f171b1d1e1f18 2325262729 2a2b2c2d2e 313233343536393a3c 43454647494a4b4c4d4e"
    "515253545556595a5c"
    "63656667696a6b6c6d6e 717273747576797a7c 808182848890 8f97989b9d9e9f a3a5a6a7a9aaabacadae"
    "b1b2b3b4b5b6b9babc"
    "c3c5c6c7c9cacbcccdce d1d2d3d4d5d6d9dadc e0e1e2e4e8ef".replace(" ", "")
)
LOOP_ORDER = tuple(sorted(AL_PAS, reverse=True))
"""AL_PA of loop id 0 to 125."""
FL_PORT_LOOP_ID = 0x7E


class FrameSink(Protocol):
    """A recorder of frames."""

    def frame(self, when: float, frame: Frame) -> None:
        """Record one sequence."""


@dataclass(slots=True)
class FrameFault:
    """A rule for frames on the wire; it ends after ``count`` hits."""

    matches: Callable[[Frame], bool]
    count: int
    delay: float | None = None
    """None: the frame is lost; else seconds it comes late (frames behind it overtake it)."""
    clip: int = 0
    """Not 0: only so many bytes of the payload's end are lost, as when one frame of a sequence is."""
    hits: int = 0

    def apply(self, frame: Frame) -> tuple[Frame | None, float]:
        """What arrives, and how late."""
        self.hits += 1
        if self.delay is not None:
            return frame, self.delay
        if self.clip and len(frame.payload) > self.clip:
            return frame._replace(payload=frame.payload[: -self.clip]), 0.0
        return None, 0.0


@dataclass(slots=True)
class Wire:
    """Delivery of frames in order, with recording and faults."""

    loop: Loop
    deliver: Callable[[Frame], None]
    sink: FrameSink | None = None
    faults: list[FrameFault] = field(default_factory=list)
    carried: int = 0
    _queue: deque[Frame] = field(default_factory=deque)

    def carry(self, frame: Frame) -> None:
        """Put a frame on its way."""
        if self.sink is not None:
            self.sink.frame(self.loop.now(), frame)
        if self.faults:
            passed = self._filter(frame)
            if passed is None:
                return
            frame = passed
        if not self._queue:
            self.loop.call_soon(self._drain)
        self._queue.append(frame)

    def _filter(self, frame: Frame) -> Frame | None:
        for fault in self.faults:
            if not fault.matches(frame):
                continue
            if fault.hits + 1 >= fault.count:
                self.faults.remove(fault)
            result, delay = fault.apply(frame)
            if result is not None and delay:
                self.loop.call_later(delay, partial(self._late, result))
                return None
            return result
        return frame

    def _late(self, frame: Frame) -> None:
        self.carried += 1
        self.deliver(frame)

    def _drain(self) -> None:
        queue = self._queue
        # The queue stays non-empty while its first frame is handled, so that answers are taken along here.
        while queue:
            self.carried += 1
            self.deliver(queue[0])
            queue.popleft()


class Switch:
    """A fabric of one switch: addresses, name server, state change notifications."""

    topology = "fabric"

    def __init__(self, loop: Loop, domain: int = 1, sink: FrameSink | None = None) -> None:
        self.loop, self.domain = loop, domain
        self.wire = Wire(loop, self._deliver, sink)
        self.names = NameServer(self._changed)
        self.wwpn, self.wwnn = 0x2001000DEC000001, 0x1000000DEC000001
        self._ports: dict[int, NPort] = {}
        self._slots: list[NPort | None] = []
        self._virtual: dict[int, NPort] = {}
        self._registered: set[int] = set()
        self._pending: set[int] = set()
        self.link_delay = LINK_DELAY

    @property
    def ports(self) -> dict[int, NPort]:
        """Online ports by address."""
        return self._ports

    # Cables.

    def plug(self, port: NPort) -> None:
        """Plug a port in; it is online after the link delay.  A known port gets its old address back."""
        if port.medium is self:
            return
        port.medium = self
        if port not in self._slots:
            self._slots.append(port)
        self.loop.call_later(self.link_delay, lambda: self._bring_up(port))

    def _bring_up(self, port: NPort) -> None:
        if port.medium is not self or port.online:
            return
        self._log_in(port, self.domain << 16 | (self._slots.index(port) + 1) << 8)

    def _log_in(self, port: NPort, port_id: int) -> None:
        if self.wire.sink is not None:
            self._record_flogi(port, port_id)
        self._ports[port_id] = port
        port.link_up(port_id, self.topology)
        self.names.add(port_id, port.wwpn, port.wwnn)
        port.els(
            fc.FABRIC_CONTROLLER, bytes((fc.ELS_SCR, 0, 0, 0, 0, 0, 0, 3)), lambda outcome, payload: None
        )

    def _record_flogi(self, port: NPort, port_id: int) -> None:
        """The address is given without frames; show in the record what a real port would have sent."""
        assert self.wire.sink is not None
        request = fc.login_payload(fc.ELS_FLOGI, port.wwpn, port.wwnn)
        answer = fc.login_payload(fc.ELS_LS_ACC, self.wwpn, self.wwnn)
        now = self.loop.now()
        self.wire.sink.frame(
            now, Frame(fc.R_ELS_REQUEST, fc.F_PORT, 0, fc.TYPE_ELS, fc.F_REQUEST, 0, fc.NO_ID, 0, request)
        )
        self.wire.sink.frame(
            now, Frame(fc.R_ELS_REPLY, port_id, fc.F_PORT, fc.TYPE_ELS, fc.F_ANSWER, 0, 0, 0, answer)
        )

    def unplug(self, port: NPort) -> None:
        """Pull a port's cable; its virtual ports go with it."""
        if port.medium is not self:
            return
        for index, virtual in list(self._virtual.items()):
            if index >> 8 == port.port_id >> 8 and port.online:
                self.remove_virtual(virtual)
        port_id = port.port_id
        port.link_down()
        port.medium = None
        self._forget(port_id)

    def _forget(self, port_id: int) -> None:
        self._registered.discard(port_id)
        if self._ports.pop(port_id, None) is not None:
            self.names.remove(port_id)

    def add_virtual(self, parent: NPort, port: NPort) -> bool:
        """FDISC: one more address behind the parent's cable; False if there is none."""
        if parent.medium is not self or not parent.online:
            return False
        for al_pa in range(1, 256):
            port_id = parent.port_id | al_pa
            if port_id not in self._ports:
                port.medium = self
                self._virtual[port_id] = port
                self._log_in(port, port_id)
                return True
        return False

    def remove_virtual(self, port: NPort) -> None:
        """A virtual port logs out of the fabric."""
        port_id = port.port_id
        self._virtual.pop(port_id, None)
        port.link_down()
        port.medium = None
        self._forget(port_id)

    def swap(self, first: NPort, second: NPort) -> None:
        """Exchange the cables of two ports: each comes back with the other's address."""
        places = self._slots.index(first), self._slots.index(second)
        self.unplug(first)
        self.unplug(second)
        self._slots[places[0]], self._slots[places[1]] = second, first
        self.plug(first)
        self.plug(second)

    def disturb(self, port: NPort) -> None:
        """A short disturbance of the link that keeps the address: for a fabric port a link bounce."""
        if port.online:
            port.user.link_disturbed("link reset")

    # State changes.

    def _changed(self, port_id: int) -> None:
        if not self._pending:
            self.loop.call_later(RSCN_DELAY, self._notify)
        self._pending.add(port_id)

    def _notify(self) -> None:
        pending, self._pending = self._pending, set()
        for port_id in sorted(self._registered):
            affected = sorted(pending - {port_id})
            if affected:
                self._send_rscn(port_id, affected)

    def _send_rscn(self, port_id: int, affected: list[int]) -> None:
        pages = b"".join(other.to_bytes(4, "big") for other in affected)
        payload = bytes((fc.ELS_RSCN, 4)) + (4 + len(pages)).to_bytes(2, "big") + pages
        self.wire.carry(
            Frame(
                fc.R_ELS_REQUEST,
                port_id,
                fc.FABRIC_CONTROLLER,
                fc.TYPE_ELS,
                fc.F_REQUEST,
                1,
                fc.NO_ID,
                0,
                payload,
            )
        )

    def rscn(self, affected: int) -> None:
        """Tell every registered port that something about a port changed (although nothing did)."""
        for port_id in sorted(self._registered - {affected}):
            self._send_rscn(port_id, [affected])

    # Frames.

    def send(self, source: NPort, frame: Frame) -> None:
        """Carry a frame of a plugged-in port."""
        self.wire.carry(frame)

    def _deliver(self, frame: Frame) -> None:
        port = self._ports.get(frame.d_id)
        if port is not None:
            port.receive(frame)
        elif frame.d_id >= 0xFFFFF0:
            self._service(frame)
        elif frame.r_ctl == fc.R_ELS_REQUEST:
            self.wire.carry(
                Frame(
                    fc.R_F_RJT,
                    frame.s_id,
                    frame.d_id,
                    0,
                    fc.F_RESPONDER,
                    frame.ox_id,
                    fc.NO_ID,
                    0x01030000,
                    b"",
                )
            )

    def _service(self, frame: Frame) -> None:
        if frame.r_ctl == fc.R_CT_REQUEST:
            self._answer(frame, fc.R_CT_REPLY, self.names.handle(frame.payload))
        elif frame.r_ctl == fc.R_ELS_REQUEST:
            self._answer(frame, fc.R_ELS_REPLY, self._els(frame))

    def _els(self, frame: Frame) -> bytes:
        code = frame.payload[0] if frame.payload else 0
        if code == fc.ELS_PLOGI:
            return fc.login_payload(fc.ELS_LS_ACC, self.wwpn, self.wwnn)
        if code == fc.ELS_SCR and frame.d_id == fc.FABRIC_CONTROLLER:
            self._registered.add(frame.s_id)
            return fc.LS_ACC
        if code in (fc.ELS_LOGO, fc.ELS_ADISC):
            return fc.LS_ACC
        return fc.reject(fc.REASON_UNSUPPORTED)

    def _answer(self, request: Frame, r_ctl: int, payload: bytes) -> None:
        self.wire.carry(
            Frame(r_ctl, request.s_id, request.d_id, request.type, fc.F_ANSWER, request.ox_id, 0, 0, payload)
        )


class ArbitratedLoop:
    """A private loop: every change is a LIP, addresses are AL_PAs, nobody answers for absent ports."""

    topology = "loop"

    def __init__(self, loop: Loop, sink: FrameSink | None = None) -> None:
        self.loop = loop
        self.wire = Wire(loop, self._deliver, sink)
        self._ports: dict[int, NPort] = {}
        self._hard: dict[NPort, int] = {}
        self.link_delay = LINK_DELAY
        self.wwpn = self.wwnn = 0

    @property
    def ports(self) -> dict[int, NPort]:
        """Online ports by address."""
        return self._ports

    def set_hard_address(self, port: NPort, loop_id: int) -> None:
        """The address (loop id 0 to 125) a port asks for at the next LIP."""
        self._hard[port] = LOOP_ORDER[loop_id]

    def plug(self, port: NPort) -> None:
        """Insert a port; a LIP follows."""
        if port.medium is self:
            return
        port.medium = self
        self.loop.call_later(self.link_delay, lambda: self._insert(port))

    def _insert(self, port: NPort) -> None:
        if port.medium is not self or port.online:
            return
        wanted = self._hard.get(port)
        free = [al_pa for al_pa in LOOP_ORDER if al_pa not in self._ports]
        if not free:
            return
        al_pa = wanted if wanted in free else free[0]
        assert al_pa is not None
        self._ports[al_pa] = port
        port.link_up(al_pa, self.topology)
        self.lip(except_for=port)

    def unplug(self, port: NPort) -> None:
        """Remove a port; a LIP follows."""
        if port.medium is not self:
            return
        self._ports.pop(port.port_id, None)
        gone = port.port_id
        port.link_down()
        port.medium = None
        for other in list(self._ports.values()):
            remote = other.remotes.get(gone)
            if remote is not None:
                other.drop_login(remote)
        self.lip()

    def lip(self, except_for: NPort | None = None) -> None:
        """Initialise the loop again: addresses stay, everybody is told."""
        for port in list(self._ports.values()):
            if port is not except_for:
                port.user.link_disturbed("lip")

    def disturb(self, port: NPort) -> None:
        """A LIP caused by a port."""
        if port.online:
            self.lip()

    def send(self, source: NPort, frame: Frame) -> None:
        """Carry a frame."""
        self.wire.carry(frame)

    def _deliver(self, frame: Frame) -> None:
        port = self._ports.get(frame.d_id)
        if port is not None:
            port.receive(frame)
        elif frame.r_ctl == fc.R_ELS_REQUEST:
            # Nobody opened: the originator notices at once.
            source = self._ports.get(frame.s_id)
            if source is not None:
                source.receive(
                    Frame(
                        fc.R_F_RJT, frame.s_id, frame.d_id, 0, fc.F_RESPONDER, frame.ox_id, fc.NO_ID, 0, b""
                    )
                )


AnyMedium = Switch | ArbitratedLoop
