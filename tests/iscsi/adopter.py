# SPDX-License-Identifier: GPL-2.0-or-later
"""Who hands connections to the kernel in place of the daemon: the test says what was agreed on.

One process is both ends: what the initiator sends waits in the socket until the other end reads it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.iscsi import pdu
from tests.iscsi.initiator import PATIENCE, Session, Terms
from tests.iscsi.login import FULL, INITIATOR, ISID, OPERATIONAL, Login
from tests.iscsi.pdu import FINAL, Op, Pdu

NODE = Path("/dev/scst-iscsi")
NAME, PORTAL, STATE, SECRET_MAX = 224, 64, 128, 64
EVENT = struct.Struct("=IIQHHI")
EVENT_CONFIG, EVENT_GONE, EVENT_TEXT = 1, 2, 3
TEXT_MAX = 8192
REASONS = (
    "none", "logout", "peer", "reinstated", "protocol", "digest", "silent", "stuck", "disabled", "dropped",
    "reset", "memory",
)  # fmt: skip
DROP_NOW, DROP_ASK = 0, 1
SHOWN = 40


class Adopt(ctypes.Structure):
    """struct scst_iscsi_adopt."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("fd", ctypes.c_int32),
        ("target", ctypes.c_char * NAME),
        ("initiator", ctypes.c_char * NAME),
        ("portal", ctypes.c_char * PORTAL),
        ("isid", ctypes.c_uint8 * 6),
        ("cid", ctypes.c_uint16),
        ("stat_sn", ctypes.c_uint32),
        ("exp_cmd_sn", ctypes.c_uint32),
        ("max_xmit", ctypes.c_uint32),
        ("max_recv", ctypes.c_uint32),
        ("max_burst", ctypes.c_uint32),
        ("first_burst", ctypes.c_uint32),
        ("max_outstanding_r2t", ctypes.c_uint32),
        ("queue_depth", ctypes.c_uint32),
        ("nop_interval", ctypes.c_uint32),
        ("nop_timeout", ctypes.c_uint32),
        ("send_timeout", ctypes.c_uint32),
        ("wait_ms", ctypes.c_uint32),
        ("initial_r2t", ctypes.c_uint8),
        ("immediate_data", ctypes.c_uint8),
        ("header_digest", ctypes.c_uint8),
        ("data_digest", ctypes.c_uint8),
        ("protocol_level", ctypes.c_uint8),
        ("reserved", ctypes.c_uint8 * 3),
        ("response", ctypes.c_uint64),
        ("response_len", ctypes.c_uint32),
        ("tsih", ctypes.c_uint16),
        ("reserved2", ctypes.c_uint16),
    )


class Drop(ctypes.Structure):
    """struct scst_iscsi_drop."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("how", ctypes.c_uint32),
        ("tsih", ctypes.c_uint16),
        ("seconds", ctypes.c_uint16),
    )


class Text(ctypes.Structure):
    """struct scst_iscsi_text."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("tsih", ctypes.c_uint16),
        ("flags", ctypes.c_uint8),
        ("reserved", ctypes.c_uint8),
        ("number", ctypes.c_uint64),
        ("data", ctypes.c_uint64),
        ("len", ctypes.c_uint32),
        ("tag", ctypes.c_uint32),
        ("transfer_tag", ctypes.c_uint32),
        ("max_xmit", ctypes.c_uint32),
    )


class TextAnswer(ctypes.Structure):
    """struct scst_iscsi_text_answer."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("flags", ctypes.c_uint8),
        ("reject", ctypes.c_uint8),
        ("reserved", ctypes.c_uint16),
        ("number", ctypes.c_uint64),
        ("data", ctypes.c_uint64),
        ("len", ctypes.c_uint32),
        ("transfer_tag", ctypes.c_uint32),
        ("max_xmit", ctypes.c_uint32),
        ("reserved2", ctypes.c_uint32),
    )


def iowr(number: int, size: int) -> int:
    """The number of an ioctl that reads and writes."""
    return 3 << 30 | size << 16 | ord("I") << 8 | number


ADOPT = iowr(0x40, ctypes.sizeof(Adopt))
TEXT = iowr(0x44, ctypes.sizeof(Text))
TEXT_ANSWER = 1 << 30 | ctypes.sizeof(TextAnswer) << 16 | ord("I") << 8 | 0x45
DROP = 1 << 30 | ctypes.sizeof(Drop) << 16 | ord("I") << 8 | 0x43


def final_response(isid: bytes, data: bytes = b"") -> bytes:
    """The last Login response, without what the kernel fills in."""
    flags = FINAL | OPERATIONAL << 2 | FULL
    return Pdu(op=Op.LOGIN_RESPONSE, flags=flags, lun=isid + bytes(2), itt=0, data=data).encode()


class Adopter:
    """The open device, and a socket that listens."""

    def __init__(self, target: str, patience: float = PATIENCE, family: int = socket.AF_INET) -> None:
        self.target, self.patience = target, patience
        self.listener = socket.create_server(
            ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family
        )
        self.file = os.open(NODE, os.O_RDWR | os.O_CLOEXEC)
        self.sessions: list[Session] = []

    def __enter__(self) -> Adopter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Everything; the initiators just go. What was said is of use where a test has failed."""
        for number, session in enumerate(self.sessions):
            print(f"session {number}:", *session.log[-SHOWN:], sep="\n")
            session.close()
        self.listener.close()
        os.close(self.file)

    def text(self, after: int = 0, room: int = TEXT_MAX) -> tuple[Text, bytes] | None:
        """The next text that waits for an answer; None: none does."""
        data = ctypes.create_string_buffer(TEXT_MAX)
        found = Text(size=ctypes.sizeof(Text), number=after, data=ctypes.addressof(data), len=room)
        try:
            fcntl.ioctl(self.file, TEXT, found)
        except FileNotFoundError:
            return None
        return found, data.raw[: found.len]

    def answer(self, text: Text, data: bytes = b"", **more: Any) -> None:
        """Answer it."""
        kept = ctypes.create_string_buffer(data, len(data))
        usual: dict[str, Any] = {
            "size": ctypes.sizeof(TextAnswer),
            "flags": FINAL,
            "number": text.number,
            "data": ctypes.addressof(kept),
            "len": len(data),
            "transfer_tag": pdu.NONE,
        }
        fcntl.ioctl(self.file, TEXT_ANSWER, TextAnswer(**usual | more))

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Both ends of a connection, the initiator's first."""
        ours = socket.create_connection(self.listener.getsockname()[:2], self.patience)
        theirs, _ = self.listener.accept()
        return ours, theirs

    def arguments(self, fd: int, **more: Any) -> Adopt:
        """What the kernel is told; by default what :data:`tests.iscsi.login.OFFER` would come to."""
        usual: dict[str, Any] = {
            "size": ctypes.sizeof(Adopt),
            "fd": fd,
            "target": self.target,
            "initiator": INITIATOR,
            "portal": "test",
            "isid": ISID,
            "stat_sn": 1,
            "exp_cmd_sn": 1,
            "max_xmit": 262144,
            "max_recv": 262144,
            "max_burst": 1048576,
            "first_burst": 262144,
            "max_outstanding_r2t": 8,
            "queue_depth": 32,
            "wait_ms": 5000,
            "immediate_data": 1,
            "protocol_level": 1,
        }
        made = Adopt()
        for name, value in {**usual, **more}.items():
            if name == "isid":
                value = (ctypes.c_uint8 * 6)(*value)
            setattr(made, name, value.encode() if isinstance(value, str) else value)
        return made

    def adopt(self, fd: int, response: bytes | None = None, **more: Any) -> int:
        """Hand a descriptor over; the session's TSIH. Raises OSError."""
        made = self.arguments(fd, **more)
        ready = final_response(bytes(made.isid)) if response is None else response
        kept = ctypes.create_string_buffer(ready, len(ready))
        made.response = made.response or ctypes.addressof(kept)
        made.response_len = made.response_len or len(ready)
        fcntl.ioctl(self.file, ADOPT, made)
        return int(made.tsih)

    def login(self, **more: Any) -> Session:
        """A session in its full-feature phase; arguments: fields of :class:`Adopt`. Raises OSError."""
        session, theirs = self.before_login(**more)
        try:
            tsih = self.adopt(theirs.fileno(), **more)
        except BaseException:
            session.close()
            raise
        finally:
            theirs.close()
        return self.after_login(session, tsih, **more)

    def before_login(self, **more: Any) -> tuple[Session, socket.socket]:
        """Connected; the request has been sent, and read at the other end."""
        args = self.arguments(0, **more)
        ours, theirs = self.connect()
        session = Session(ours, patience=self.patience)
        session.cmd_sn = args.exp_cmd_sn
        login = Login(
            session, initiator=args.initiator.decode(), target=args.target.decode(), isid=bytes(args.isid)
        )
        request = login.request(OPERATIONAL, FULL, pdu.join(login.names()))
        session.send(request)
        theirs.settimeout(self.patience)
        theirs.recv(len(session.encode(request)), socket.MSG_WAITALL)
        return session, theirs

    def after_login(self, session: Session, tsih: int, **more: Any) -> Session:
        """The answer is there: the full-feature phase."""
        args = self.arguments(0, **more)
        answer = session.receive()
        assert answer.op == Op.LOGIN_RESPONSE, session.trace()
        assert (answer.flags, answer.get(36)) == (FINAL | OPERATIONAL << 2 | FULL, 0), session.trace()
        assert answer.stat_sn == args.stat_sn, session.trace()
        assert answer.exp_cmd_sn == args.exp_cmd_sn, session.trace()
        assert answer.lun == bytes(args.isid) + struct.pack(">H", tsih), session.trace()
        session.terms = Terms(
            bool(args.header_digest),
            bool(args.data_digest),
            args.max_recv,
            args.max_xmit,
            args.max_burst,
            args.first_burst,
            bool(args.initial_r2t),
            bool(args.immediate_data),
            args.max_outstanding_r2t,
        )
        session.digests = True
        self.sessions.append(session)
        return session

    def drop(self, tsih: int, how: int = DROP_NOW, seconds: int = 0) -> None:
        """End a session. Raises OSError."""
        fcntl.ioctl(self.file, DROP, Drop(ctypes.sizeof(Drop), how, tsih, seconds))


class Events:
    """What the device tells a reader."""

    def __init__(self) -> None:
        self.file = os.open(NODE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self) -> None:
        """Read no more."""
        os.close(self.file)

    def read(self, room: int = 64 * EVENT.size) -> list[tuple[int, int, str]]:
        """Type, TSIH and reason of all that there are now."""
        found = []
        with suppress(BlockingIOError):
            data = os.read(self.file, room)
            assert len(data) % EVENT.size == 0, data
            for size, kind, _, tsih, reason, _ in EVENT.iter_unpack(data):
                assert size == EVENT.size
                found.append((kind, tsih, REASONS[reason]))
        return found


@contextmanager
def events() -> Iterator[Events]:
    """A reader."""
    opened = Events()
    try:
        yield opened
    finally:
        opened.close()
