# SPDX-License-Identifier: GPL-2.0-or-later
"""Ports driven by Python: an initiator with a small blocking API, and a target that serves RAM disks."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from ..loop import Loop
from . import frames as fc
from .disk import ILLEGAL_REQUEST, LUN_NOT_SUPPORTED, RamDisk, Reply, check
from .frames import Command, Response
from .media import AnyMedium
from .nameserver import ct_request
from .nport import AbortRequest, ElsRequest, InitiatorExchange, NPort, Outcome, Remote, Result, TargetExchange

DEFAULT_TIMEOUT = 30.0


class ScriptError(Exception):
    """A scripted step did not succeed; the message says which and how it ended."""


class PortBase:
    """What both kinds of scripted ports share: names, a cable, a log of events."""

    def __init__(self, loop: Loop, medium: AnyMedium, wwpn: int, service: int, wwnn: int = 0) -> None:
        self.loop, self.medium = loop, medium
        self.nport = NPort(loop, wwpn, wwnn or wwpn ^ 0x1 << 56, self, service)
        self.events: list[str] = []

    @property
    def port_id(self) -> int:
        """The address; 0 while offline."""
        return self.nport.port_id

    def plug(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Plug the cable in and wait for an address; ScriptError if none comes."""
        self.medium.plug(self.nport)
        if not self.loop.run_until(lambda: self.nport.online, timeout):
            raise ScriptError(f"{fc.format_wwn(self.nport.wwpn)} got no address within {timeout:g} s")

    def unplug(self) -> None:
        """Pull the cable."""
        self.medium.unplug(self.nport)

    def link_changed(self, up: bool) -> None:
        """See PortUser."""
        self.events.append("up" if up else "down")

    def els_received(self, request: ElsRequest) -> bool:
        """See PortUser: everything gets its standard answer."""
        self.events.append(fc.ELS_NAMES.get(request.code, f"ELS {request.code:02x}"))
        return False

    def login_changed(self, remote: Remote) -> None:
        """See PortUser."""

    def link_disturbed(self, kind: str) -> None:
        """See PortUser."""
        self.events.append(kind)

    def command_received(self, exchange: TargetExchange) -> None:
        """See PortUser: an initiator takes no commands."""
        exchange.respond(Response(fc.STATUS_CHECK))

    def abort_received(self, abort: AbortRequest) -> None:
        """See PortUser."""
        abort.refuse(fc.REASON_LOGICAL, 3)

    def register(self, features: int) -> None:
        """Register FCP with the fabric's name server, as a firmware or driver would.

        Waits for the answers.
        """
        own = self.port_id.to_bytes(4, "big")
        types = bytes(2) + b"\x01" + bytes(29)
        self._ct(0x0217, own + types)
        self._ct(0x021F, own + bytes((0, 0, features, 8)))

    def _ct(self, code: int, payload: bytes) -> bytes:
        answer: list[bytes] = []
        self.nport.ct(fc.NAME_SERVER, ct_request(code, payload), lambda outcome, data: answer.append(data))
        if not self.loop.run_until(lambda: bool(answer), DEFAULT_TIMEOUT) or len(answer[0]) < 16:
            raise ScriptError(f"the name server did not answer request {code:04x}")
        return answer[0]


@dataclass(slots=True)
class Task:
    """A command in flight at a scripted initiator."""

    result: Result | None = None
    data: bytearray = field(default_factory=bytearray)
    started: InitiatorExchange | None = None
    data_sequences: int = 0

    @property
    def done(self) -> bool:
        """It has ended."""
        return self.result is not None

    @property
    def end(self) -> Result:
        """How it ended; ScriptError while it runs."""
        if self.result is None:
            raise ScriptError("the command has not ended")
        return self.result

    @property
    def exchange(self) -> InitiatorExchange:
        """Its exchange; ScriptError if it could not be started."""
        if self.started is None:
            raise ScriptError("the command was not started")
        return self.started

    def place(self, offset: int, data: bytes) -> None:
        """Data in."""
        self.data_sequences += 1
        end = offset + len(data)
        if len(self.data) < end:
            self.data.extend(bytes(end - len(self.data)))
        self.data[offset:end] = data

    def finish(self, result: Result) -> None:
        """The exchange ended."""
        self.result = result


@dataclass(frozen=True, slots=True)
class ScsiResult:
    """Outcome of `ScriptedInitiator.scsi`."""

    outcome: Outcome
    status: int
    sense: bytes
    residual: int
    data: bytes

    @property
    def key_code(self) -> tuple[int, int, int]:
        """Sense key, ASC and ASCQ of fixed-format sense; zeros without sense."""
        sense = self.sense.ljust(14, b"\0")
        return sense[2] & 0xF, sense[12], sense[13]


class ScriptedInitiator(PortBase):
    """An initiator port for tests."""

    def __init__(self, loop: Loop, medium: AnyMedium, wwpn: int) -> None:
        super().__init__(loop, medium, wwpn, fc.ROLE_INITIATOR | fc.ROLE_READ_XFER_RDY_DISABLED)

    def _wait(self, step: Callable[[Callable[[Outcome, bytes], None]], None], what: str) -> bytes:
        answers: list[tuple[Outcome, bytes]] = []
        step(lambda outcome, payload: answers.append((outcome, payload)))
        if not self.loop.run_until(lambda: bool(answers), DEFAULT_TIMEOUT):
            raise ScriptError(f"{what} got no answer")
        outcome, payload = answers[0]
        if outcome is not Outcome.DONE:
            raise ScriptError(f"{what}: {outcome.value} {payload[4:8].hex()}".rstrip())
        return payload

    def find(self, wwpn: int) -> int:
        """The address of an online port by name; ScriptError if there is none."""
        for port_id, port in self.medium.ports.items():
            if port.wwpn == wwpn:
                return port_id
        raise ScriptError(f"no port {fc.format_wwn(wwpn)} is online")

    def login(self, target: int) -> Remote:
        """PLOGI and PRLI to an address; ScriptError if either is refused."""
        self._wait(lambda done: self.nport.login(target, done), f"PLOGI to {target:06x}")
        self._wait(lambda done: self.nport.process_login(target, done), f"PRLI to {target:06x}")
        return self.nport.remotes[target]

    def els(self, target: int, payload: bytes) -> bytes:
        """Any link service request; its answer."""
        return self._wait(
            lambda done: self.nport.els(target, payload, done), f"ELS {payload[0]:02x} to {target:06x}"
        )

    def logout(self, target: int) -> None:
        """LOGO."""
        self._wait(lambda done: self.nport.logout(target, done), f"LOGO to {target:06x}")

    def start(
        self,
        target: int,
        cdb: bytes,
        data: bytes = b"",
        *,
        read: int = 0,
        lun: int = 0,
        length: int | None = None,
        attribute: int = 0,
        task: int = 0,
    ) -> Task:
        """Send a command and return at once; ``length`` overrides the FCP data length.

        ScriptError: not logged in.
        """
        command = Command(
            fc.lun_bytes(lun),
            cdb.ljust(16, b"\0"),
            max(read, len(data)) if length is None else length,
            read > 0,
            bool(data),
            attribute,
            task,
        )
        running = Task()
        running.started = self.nport.start(
            target, command, running.finish, running.place, lambda offset, size: data[offset : offset + size]
        )
        if running.started is None:
            raise ScriptError(f"{self.port_id:06x} is not logged in at {target:06x}")
        return running

    def finish(self, task: Task, timeout: float = DEFAULT_TIMEOUT) -> ScsiResult:
        """Wait for a command; ScriptError if it takes longer than ``timeout`` seconds."""
        if not self.loop.run_until(lambda: task.done, timeout):
            raise ScriptError(f"a command did not end within {timeout:g} s")
        response = task.end.response
        return ScsiResult(
            task.end.outcome, response.status, response.sense, response.residual, bytes(task.data)
        )

    def scsi(
        self,
        target: int,
        cdb: bytes,
        data: bytes = b"",
        *,
        read: int = 0,
        lun: int = 0,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> ScsiResult:
        """Run a command to its end."""
        return self.finish(self.start(target, cdb, data, read=read, lun=lun), timeout)

    def task_management(
        self, target: int, function: int, lun: int = 0, timeout: float = DEFAULT_TIMEOUT
    ) -> int:
        """A task management function (TASK_* bit); its response code."""
        task = self.start(target, bytes(16), lun=lun, task=function)
        self.finish(task, timeout)
        if task.end.outcome is not Outcome.DONE:
            raise ScriptError(f"task management function {function:02x}: {task.end.outcome.value}")
        info = task.end.response.info
        return info[3] if len(info) >= 4 else fc.TMF_COMPLETE

    def abort(self, task: Task, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """ABTS for a command in flight; True: accepted."""
        answers: list[bool] = []
        task.exchange.abort(answers.append)
        if not self.loop.run_until(lambda: bool(answers), timeout):
            raise ScriptError("ABTS got no answer")
        return answers[0]


class ScriptedTarget(PortBase):
    """A target port with RAM disks; ``delay`` seconds are added to every command."""

    def __init__(self, loop: Loop, medium: AnyMedium, wwpn: int, disks: dict[int, RamDisk]) -> None:
        super().__init__(loop, medium, wwpn, fc.ROLE_TARGET | fc.ROLE_READ_XFER_RDY_DISABLED)
        self.disks = disks
        self.delay = 0.0
        self.queue_full = 0
        """So many of the next commands are answered TASK SET FULL."""
        self.hold = False
        """Commands are taken and not answered (until aborted)."""
        self.hold_tasks = False
        """So is task management."""
        self.log: list[str] = []
        self.executed = 0

    def link_changed(self, up: bool) -> None:
        """Register with the name server as soon as there is one."""
        super().link_changed(up)
        if up and self.nport.topology == "fabric":
            own = self.port_id.to_bytes(4, "big")
            for code, payload in (
                (0x0217, own + bytes(2) + b"\x01" + bytes(29)),
                (0x021F, own + bytes((0, 0, 1, 8))),
            ):
                self.nport.ct(fc.NAME_SERVER, ct_request(code, payload), lambda outcome, data: None)

    def command_received(self, exchange: TargetExchange) -> None:
        """See PortUser."""
        command = exchange.command
        if command.task:
            self._task(exchange)
        elif self.hold:
            self.log.append(f"held {command.cdb[0]:02x}")
        elif self.queue_full > 0:
            self.queue_full -= 1
            exchange.respond(Response(fc.STATUS_FULL, residual=command.length))
        elif self.delay:
            self.loop.call_later(self.delay, lambda: self._begin(exchange))
        else:
            self._begin(exchange)

    def _begin(self, exchange: TargetExchange) -> None:
        if not exchange.open:
            return
        command = exchange.command
        disk = self.disks.get(fc.lun_number(command.lun))
        wanted = min(disk.out_length(command.cdb), command.length) if disk and command.write else 0
        if wanted:
            exchange.request_data(0, wanted, lambda data: self._run(exchange, data))
        else:
            self._run(exchange, b"")

    def _run(self, exchange: TargetExchange, data: bytes) -> None:
        command = exchange.command
        self.executed += 1
        reply = self._execute(exchange.s_id, command, data)
        moved = len(data)
        if reply.data:
            part = reply.data[: command.length]
            exchange.send_data(0, part)
            moved = len(part)
        total = len(reply.data) if reply.data else moved
        residual = command.length - total if reply.status == 0 or total else command.length
        exchange.respond(
            Response(reply.status, reply.sense, residual if command.read or command.write else 0)
        )

    def _execute(self, s_id: int, command: Command, data: bytes) -> Reply:
        disk = self.disks.get(fc.lun_number(command.lun))
        if command.cdb[0] == 0xA0:
            luns = b"".join(fc.lun_bytes(lun) for lun in sorted(self.disks))
            return Reply(data=struct.pack(">I4x", len(luns)) + luns)
        if disk is None:
            if command.cdb[0] == 0x12 and not command.cdb[1] & 1:
                return Reply(
                    data=(b"\x7f\0\x06\x02\x1f\0\0\0" + bytes(28))[: int.from_bytes(command.cdb[3:5], "big")]
                )
            return check(ILLEGAL_REQUEST, LUN_NOT_SUPPORTED)
        remote = self.nport.remotes.get(s_id)
        return disk.execute(remote.wwpn if remote else 0, command.cdb, data)

    def _task(self, exchange: TargetExchange) -> None:
        function, lun = exchange.command.task, fc.lun_number(exchange.command.lun)
        self.log.append(f"task management {function:02x} lun {lun}")
        if self.hold_tasks:
            return
        disk = self.disks.get(lun)
        if disk is None and function != fc.TASK_TARGET_RESET:
            exchange.respond(fc.task_response(fc.TMF_BAD_LUN))
            return
        for other in list(self.nport.received_exchanges()):
            same = other.command.lun == exchange.command.lun or function == fc.TASK_TARGET_RESET
            own = other.s_id == exchange.s_id
            if other is not exchange and same and (own or function != fc.TASK_ABORT_SET):
                self.nport.forget(other)
        if function in (fc.TASK_LUN_RESET, fc.TASK_TARGET_RESET):
            names = [remote.wwpn for remote in self.nport.remotes.values() if remote.prli]
            for unit in self.disks.values() if function == fc.TASK_TARGET_RESET else [disk]:
                if unit is not None:
                    unit.attention(names)
        exchange.respond(fc.task_response(fc.TMF_COMPLETE))

    def abort_received(self, abort: AbortRequest) -> None:
        """See PortUser: a known exchange is given up."""
        self.log.append("abort")
        if abort.exchange is None:
            abort.refuse(fc.REASON_LOGICAL, 3)
        else:
            abort.accept()
