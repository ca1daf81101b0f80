# SPDX-License-Identifier: GPL-2.0-or-later
"""A control socket: faults at run time for a test bed that serves boards to machines started by hand.

One JSON object per line, ``{"do": VERB, ...}``; the answer is one line, ``{"ok": true, ...}`` or
``{"ok": false, "error": TEXT}``.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from .boards import TestBed
from .fc import frames as fc
from .fc.media import FrameFault, Switch
from .isp.chip import Chip, ChipFaults

FRAME_KINDS = {
    "command": fc.R_COMMAND,
    "data": fc.R_DATA,
    "status": fc.R_STATUS,
    "transfer-ready": fc.R_XFER_RDY,
    "els": fc.R_ELS_REQUEST,
    "abts": fc.R_ABTS,
}
COUNTS = ("lose", "queue_full", "ctio_failures", "ctio_status", "exchanges", "iocbs")
RATES = ("delay", "dma_rate", "request_rate")
MAX_LINE = 65536

Request = dict[str, Any]


class ControlError(Exception):
    """The request cannot be carried out; the message goes to the client."""


class Controller:
    """The verbs; usable without a socket."""

    def __init__(self, bed: TestBed) -> None:
        self.bed = bed
        self.verbs: dict[str, Callable[[Request], Request]] = {
            "list": self._list,
            "cable": self._cable,
            "crash": self._crash,
            "remove": self._remove,
            "disconnect": self._disconnect,
            "disturb": self._disturb,
            "rscn": self._rscn,
            "swap": self._swap,
            "chip": self._chip_faults,
            "frames": self._frames,
            "calm": self._calm,
            "habits": self._habits,
            "notify": self._notify,
        }

    def execute(self, request: Request) -> Request:
        """Carry out one request; ControlError says why not."""
        verb = request.get("do")
        if not isinstance(verb, str) or verb not in self.verbs:
            raise ControlError(f"there is no verb {verb!r}; known are {', '.join(self.verbs)}")
        return {"ok": True, **self.verbs[verb](request)}

    def _chip(self, request: Request, key: str = "board") -> Chip:
        name = request.get(key)
        for chip in self.bed.chips:
            if chip.name == name:
                return chip
        raise ControlError(
            f"there is no board {name!r}; known are {', '.join(chip.name for chip in self.bed.chips)}"
        )

    @staticmethod
    def _number(request: Request, key: str, default: float) -> float:
        value = request.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise ControlError(f"{key} has to be a number that is not negative, not {value!r}")
        return value

    def _switch(self) -> Switch:
        if not isinstance(self.bed.medium, Switch):
            raise ControlError("this needs a switch, the boards are on a loop")
        return self.bed.medium

    def _list(self, request: Request) -> Request:
        ports = {
            f"{port_id:06x}": fc.format_wwn(port.wwpn)
            for port_id, port in sorted(self.bed.medium.ports.items())
        }
        boards = [
            {
                "board": chip.name,
                "model": chip.model.name,
                "wwpn": fc.format_wwn(chip.settings.wwpn),
                "cable": chip.cable,
                "socket": str(endpoint.path),
                "used": endpoint.client is not None,
            }
            for chip, endpoint in zip(self.bed.chips, self.bed.endpoints, strict=True)
        ]
        return {"boards": boards, "ports": ports}

    def _cable(self, request: Request) -> Request:
        connected = request.get("connected")
        if not isinstance(connected, bool):
            raise ControlError("connected has to be true or false")
        self._chip(request).plug(connected)
        return {}

    def _crash(self, request: Request) -> Request:
        self._chip(request).system_error()
        return {}

    def _remove(self, request: Request) -> Request:
        self._chip(request).remove()
        return {}

    def _disconnect(self, request: Request) -> Request:
        self.bed.endpoints[self.bed.chips.index(self._chip(request))].disconnect(
            "asked for on the control socket"
        )
        return {}

    def _disturb(self, request: Request) -> Request:
        self.bed.medium.disturb(self._chip(request).port)
        return {}

    def _rscn(self, request: Request) -> Request:
        port_id = self._chip(request).port.port_id
        for _ in range(int(self._number(request, "count", 1))):
            self._switch().rscn(port_id)
        return {}

    def _swap(self, request: Request) -> Request:
        self._switch().swap(self._chip(request).port, self._chip(request, "with").port)
        return {}

    def _chip_faults(self, request: Request) -> Request:
        faults = self._chip(request).faults
        for key in COUNTS:
            setattr(faults, key, int(self._number(request, key, getattr(faults, key))))
        for key in RATES:
            setattr(faults, key, self._number(request, key, getattr(faults, key)))
        faults.stall = self._flag(request, "stall", faults.stall)
        return {"lost": faults.lost}

    @staticmethod
    def _flag(request: Request, key: str, default: bool) -> bool:
        value = request.get(key, default)
        if not isinstance(value, bool):
            raise ControlError(f"{key} has to be true or false, not {value!r}")
        return value

    def _habits(self, request: Request) -> Request:
        habits = self._chip(request).habits
        names = [each.name for each in fields(habits)]
        for key in request.keys() - {"do", "board"}:
            if key not in names:
                raise ControlError(f"there is no habit {key!r}; known are {', '.join(names)}")
            setattr(habits, key, self._flag(request, key, True))
        return {name: getattr(habits, name) for name in names}

    def _notify(self, request: Request) -> Request:
        kind, port = request.get("kind"), request.get("port", "")
        if not isinstance(kind, str) or not isinstance(port, str):
            raise ControlError("kind and port have to be text")
        try:
            self._chip(request).notify(kind, fc.parse_wwn(port) if port else 0)
        except ValueError as err:
            raise ControlError(str(err)) from None
        return {}

    def _frames(self, request: Request) -> Request:
        kind = request.get("kind")
        if kind not in FRAME_KINDS:
            raise ControlError(f"there are no frames {kind!r}; known are {', '.join(FRAME_KINDS)}")
        code = FRAME_KINDS[kind]
        late = self._number(request, "delay", 0)
        fault = FrameFault(
            lambda frame: frame.r_ctl == code,
            int(self._number(request, "count", 1)),
            late or None,
            int(self._number(request, "clip", 0)),
        )
        self.bed.medium.wire.faults.append(fault)
        return {}

    def _calm(self, request: Request) -> Request:
        self.bed.medium.wire.faults.clear()
        for chip in self.bed.chips:
            chip.faults = ChipFaults(lost=chip.faults.lost)
        return {}


class ControlSocket:
    """Serves a `Controller` on a UNIX socket."""

    def __init__(self, bed: TestBed, path: Path) -> None:
        """Listen; OSError if the path cannot be bound."""
        self._controller = Controller(bed)
        self._loop, self._path = bed.loop, path
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind(str(path))
        self._listener.listen(8)
        self._clients: dict[socket.socket, bytearray] = {}
        self._loop.watch(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        peer, _ = self._listener.accept()
        self._clients[peer] = bytearray()
        self._loop.watch(peer.fileno(), lambda: self._readable(peer))

    def _drop(self, peer: socket.socket) -> None:
        self._clients.pop(peer, None)
        self._loop.unwatch(peer.fileno())
        peer.close()

    def _readable(self, peer: socket.socket) -> None:
        buffer = self._clients[peer]
        try:
            data = peer.recv(4096)
        except OSError:
            data = b""
        buffer += data
        if not data or len(buffer) > MAX_LINE:
            self._drop(peer)
            return
        while b"\n" in buffer and peer in self._clients:
            line, _, rest = bytes(buffer).partition(b"\n")
            buffer[:] = rest
            self._answer(peer, line)

    def _answer(self, peer: socket.socket, line: bytes) -> None:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ControlError("a request is a JSON object with the key 'do'")
            answer = self._controller.execute(request)
        except (ValueError, RecursionError) as err:
            answer = {"ok": False, "error": f"malformed JSON: {err}"}
        except ControlError as err:
            answer = {"ok": False, "error": str(err)}
        try:
            peer.sendall(json.dumps(answer).encode() + b"\n")
        except OSError:
            self._drop(peer)

    def close(self) -> None:
        """Stop serving."""
        for peer in list(self._clients):
            self._drop(peer)
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
