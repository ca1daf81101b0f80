# SPDX-License-Identifier: GPL-2.0-or-later
"""The least that lets a real initiator in: no authentication, one set of answers, and the hand-over.

It stands in for the daemon where the kernel alone is tried.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterable

from tests.iscsi import adopter, pdu
from tests.iscsi.initiator import Closed, Session, Terms
from tests.iscsi.login import FULL, OPERATIONAL
from tests.iscsi.pdu import CONTINUES, FINAL, NONE, Op, Pdu

LEAST = {"MaxBurstLength": 1048576, "FirstBurstLength": 262144, "MaxOutstandingR2T": 8, "MaxConnections": 1}
FIXED = {
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "0",
    "DataPDUInOrder": "Yes",
    "DataSequenceInOrder": "Yes",
    "ErrorRecoveryLevel": "0",
    "AuthMethod": "None",
    "OFMarker": "No",
    "IFMarker": "No",
}
DECLARED = ("InitiatorName", "InitiatorAlias", "TargetName", "SessionType", "MaxRecvDataSegmentLength")
MAX_RECV = 262144
ANY_DIGEST = ("None", "CRC32C")


def answer(key: str, value: str, digests: bool = False) -> str | None:
    """To what an initiator offers; None: it is told, not asked. *digests*: rather with them."""
    if key in DECLARED:
        return None
    if key in LEAST:
        return str(min(LEAST[key], int(value, 0)))
    if key in ("InitialR2T", "ImmediateData"):
        return value
    if key in ("HeaderDigest", "DataDigest"):
        words = value.split(",")
        return (
            "CRC32C" if digests and "CRC32C" in words else next(word for word in words if word in ANY_DIGEST)
        )
    return FIXED.get(key, "NotUnderstood")


class Responder:
    """Listens at an address until it is closed; *targets*: what SendTargets lists; *digests*: rather with
    them.

    `agreed`: keys and values of each session.
    """

    def __init__(
        self, targets: Iterable[str], address: tuple[str, int] = ("127.0.0.1", 3260), digests: bool = False
    ) -> None:
        self.targets = list(targets)
        self.digests = digests
        self.address = address
        self.file = os.open(adopter.NODE, os.O_RDWR | os.O_CLOEXEC)
        self.errors: list[str] = []
        self.agreed: list[dict[str, str]] = []
        self.listener = socket.create_server(address)
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def __enter__(self) -> Responder:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        os.close(self.file)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            with sock:
                _Login(self, sock).run()
        except (Closed, OSError, TimeoutError) as error:
            self.errors.append(repr(error))


class _Login:
    """One connection's."""

    def __init__(self, owner: Responder, sock: socket.socket) -> None:
        self.owner, self.sock = owner, sock
        self.peer = Session(sock, Terms(max_recv=8192))
        self.peer.strict = False
        self.keys: dict[str, str] = {}
        self.said: dict[str, str] = {}
        self.stat_sn = 1

    def run(self) -> None:
        """To its end."""
        text = b""
        while True:
            one = self.peer.receive()
            text += one.data
            if one.flags & CONTINUES:
                self.send(one, one.flags & 0x0C, {})
                continue
            keys, text = pdu.split(text), b""
            self.keys |= keys
            digests = self.owner.digests
            reply = {key: value for key in keys if (value := answer(key, keys[key], digests)) is not None}
            if one.flags >> 2 & 3 == OPERATIONAL and "MaxRecvDataSegmentLength" not in self.said:
                reply["MaxRecvDataSegmentLength"] = str(MAX_RECV)
            if "TargetName" in keys:
                reply["TargetPortalGroupTag"] = "1"
            self.said |= reply
            if one.final and one.flags & 3 == FULL:
                return self.full(one, reply)
            self.send(one, one.flags & 0x8F, reply)

    def send(self, asked: Pdu, flags: int, keys: dict[str, str], tsih: int = 0) -> None:
        """A Login response."""
        self.sock.sendall(self.response(asked, flags, keys, tsih))
        self.stat_sn += 1

    def response(self, asked: Pdu, flags: int, keys: dict[str, str], tsih: int = 0) -> bytes:
        """As bytes."""
        lun = asked.lun[:6] + struct.pack(">H", tsih)
        fields = {24: self.stat_sn, 28: asked.cmd_sn, 32: asked.cmd_sn + 8}
        made = Pdu(
            op=Op.LOGIN_RESPONSE, flags=flags, lun=lun, itt=asked.itt, fields=fields, data=pdu.join(keys)
        )
        return made.encode()

    def full(self, asked: Pdu, reply: dict[str, str]) -> None:
        """The full-feature phase: the kernel's, or a discovery's."""
        if self.keys.get("SessionType") == "Discovery":
            self.send(asked, asked.flags & 0x8F, reply, 1)
            return self.discover()
        ready = self.response(asked, asked.flags & 0x8F, reply)
        kept = ctypes.create_string_buffer(ready, len(ready))
        made = self.arguments(asked)
        made.response, made.response_len = ctypes.addressof(kept), len(ready)
        fcntl.ioctl(self.owner.file, adopter.ADOPT, made)
        self.owner.agreed.append(self.said)
        return None

    def arguments(self, asked: Pdu) -> adopter.Adopt:
        """What was agreed on."""

        def number(key: str, usual: int) -> int:
            return int(self.said.get(key, usual))

        burst = number("MaxBurstLength", 262144)
        return adopter.Adopt(
            size=ctypes.sizeof(adopter.Adopt),
            fd=self.sock.fileno(),
            target=self.keys["TargetName"].encode(),
            initiator=self.keys["InitiatorName"].encode(),
            portal=b"test",
            isid=(ctypes.c_uint8 * 6)(*asked.lun[:6]),
            cid=asked.short(20),
            stat_sn=self.stat_sn,
            exp_cmd_sn=asked.cmd_sn,
            max_xmit=int(self.keys.get("MaxRecvDataSegmentLength", "8192")),
            max_recv=MAX_RECV,
            max_burst=burst,
            first_burst=min(number("FirstBurstLength", 65536), burst),
            max_outstanding_r2t=number("MaxOutstandingR2T", 1),
            queue_depth=64,
            nop_interval=15,
            nop_timeout=30,
            send_timeout=60,
            wait_ms=5000,
            initial_r2t=self.said.get("InitialR2T", "Yes") == "Yes",
            immediate_data=self.said.get("ImmediateData", "Yes") == "Yes",
            header_digest=self.said.get("HeaderDigest") == "CRC32C",
            data_digest=self.said.get("DataDigest") == "CRC32C",
            protocol_level=1,
        )

    def discover(self) -> None:
        """SendTargets, and logout."""
        place = "{}:{},1".format(*self.owner.address)
        text = pdu.join(
            [pair for name in self.owner.targets for pair in (("TargetName", name), ("TargetAddress", place))]
        )
        while True:
            one = self.peer.receive()
            logout = one.op == Op.LOGOUT
            fields = {20: 0 if logout else NONE, 24: self.stat_sn, 28: one.cmd_sn + 1, 32: one.cmd_sn + 8}
            op = Op.LOGOUT_RESPONSE if logout else Op.TEXT_RESPONSE
            data = b"" if logout else text
            self.sock.sendall(Pdu(op=op, flags=FINAL, itt=one.itt, fields=fields, data=data).encode())
            self.stat_sn += 1
            if logout:
                return
