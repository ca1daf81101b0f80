# SPDX-License-Identifier: GPL-2.0-or-later
"""/dev/scst-iscsi: what kmod/include/uapi/scst_iscsi.h says, in Python. A test compares the two."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from pyscstadmin.iscsi.login import LoggedIn
from pyscstadmin.iscsi.pdu import TextRequest
from pyscstadmin.iscsi.text import Asked, Said

__all__ = ["DEVICE", "Device", "Event", "Kernel", "Kind", "Reason"]

DEVICE = "/dev/scst-iscsi"

_NAME, _PORTAL, _STATE, _SECRET = 224, 64, 128, 64
_TEXT = 8192
_EVENTS = 64
_FINAL, _CONTINUE = 0x80, 0x40


class Kind(IntEnum):
    """enum scst_iscsi_event_type."""

    CONFIG = 1
    GONE = 2
    TEXT = 3


class Reason(IntEnum):
    """enum scst_iscsi_reason."""

    NONE = 0
    LOGOUT = 1
    PEER = 2
    REINSTATED = 3
    PROTOCOL = 4
    DIGEST = 5
    SILENT = 6
    STUCK = 7
    DISABLED = 8
    DROPPED = 9
    RESET = 10
    MEMORY = 11


class AdoptStruct(ctypes.Structure):
    """struct scst_iscsi_adopt."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("fd", ctypes.c_int32),
        ("target", ctypes.c_char * _NAME),
        ("initiator", ctypes.c_char * _NAME),
        ("portal", ctypes.c_char * _PORTAL),
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


class SecretStruct(ctypes.Structure):
    """struct scst_iscsi_secret."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("target", ctypes.c_char * _NAME),
        ("user", ctypes.c_char * _NAME),
        ("secret", ctypes.c_uint8 * _SECRET),
        ("len", ctypes.c_uint32),
    )


class PortalStateStruct(ctypes.Structure):
    """struct scst_iscsi_portal_state."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("portal", ctypes.c_char * _PORTAL),
        ("state", ctypes.c_char * _STATE),
    )


class IsnsStateStruct(ctypes.Structure):
    """struct scst_iscsi_isns_state."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("state", ctypes.c_char * _STATE),
    )


class DropStruct(ctypes.Structure):
    """struct scst_iscsi_drop."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("how", ctypes.c_uint32),
        ("tsih", ctypes.c_uint16),
        ("seconds", ctypes.c_uint16),
    )


class EventStruct(ctypes.Structure):
    """struct scst_iscsi_event."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("number", ctypes.c_uint64),
        ("tsih", ctypes.c_uint16),
        ("reason", ctypes.c_uint16),
        ("lost", ctypes.c_uint32),
    )


class TextStruct(ctypes.Structure):
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


class TextAnswerStruct(ctypes.Structure):
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


_WRITE, _READ = 1, 2


def _number(direction: int, number: int, kind: type[ctypes.Structure]) -> int:
    return direction << 30 | ctypes.sizeof(kind) << 16 | ord("I") << 8 | number


ADOPT = _number(_READ | _WRITE, 0x40, AdoptStruct)
SECRET = _number(_READ | _WRITE, 0x41, SecretStruct)
PORTAL = _number(_WRITE, 0x42, PortalStateStruct)
DROP = _number(_WRITE, 0x43, DropStruct)
TEXT = _number(_READ | _WRITE, 0x44, TextStruct)
TEXT_ANSWER = _number(_WRITE, 0x45, TextAnswerStruct)
ISNS = _number(_WRITE, 0x46, IsnsStateStruct)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened. `tsih`, `reason`: of a session that is gone. `lost`: events before it."""

    kind: int
    tsih: int = 0
    reason: int = 0
    lost: int = 0


class Device(Protocol):
    """What the kernel can be asked for. Every method may raise OSError."""

    def adopt(self, login: LoggedIn, fd: int, wait_ms: int) -> int:
        """Make a session of a connection; returns its TSIH. May wait as long as `wait_ms`."""

    def secret(self, target: str, user: str) -> bytes | None:
        """What a user ('' for the target: of discovery) proves himself with."""

    def portal_state(self, portal: str, state: str) -> None:
        """What `state` of a portal is to show."""

    def isns_state(self, state: str) -> None:
        """What `isns_state` is to show."""

    def drop(self, tsih: int, seconds: int | None = None) -> None:
        """End a session: at once, or the initiator is asked to and has so many seconds."""

    def text(self, after: int) -> Asked | None:
        """The next text of a session that waits for an answer, behind the one of that number."""

    def answer(self, number: int, said: Said) -> None:
        """Answer it."""

    def events(self) -> list[Event]:
        """What has happened since the last call."""

    def fileno(self) -> int:
        """To poll for events."""

    def close(self) -> None:
        """Let go of it; sessions do not notice."""


class Kernel:
    """The device itself."""

    def __init__(self, path: str = DEVICE) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)

    def _ioctl(self, number: int, argument: ctypes.Structure) -> None:
        # A size that the kernel does not know all of is no fault as long as what it does not know is 0.
        argument.size = ctypes.sizeof(argument)
        fcntl.ioctl(self._fd, number, argument, True)

    def adopt(self, login: LoggedIn, fd: int, wait_ms: int) -> int:
        """Make a session of a connection."""
        argument = adopt_struct(login, fd, wait_ms)
        response = ctypes.create_string_buffer(login.response, len(login.response))
        argument.response = ctypes.addressof(response)
        self._ioctl(ADOPT, argument)
        return int(argument.tsih)

    def secret(self, target: str, user: str) -> bytes | None:
        """The secret of a user."""
        names = target.encode(), user.encode()
        if any(len(name) >= _NAME for name in names):
            return None
        argument = SecretStruct(target=names[0], user=names[1])
        try:
            self._ioctl(SECRET, argument)
            return bytes(argument.secret[: argument.len])
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV, errno.ENODATA, errno.EINVAL):
                raise
            return None
        finally:
            ctypes.memset(ctypes.addressof(argument), 0, ctypes.sizeof(argument))

    def portal_state(self, portal: str, state: str) -> None:
        """What `state` of a portal is to show."""
        self._ioctl(PORTAL, PortalStateStruct(portal=portal.encode(), state=_line(state)))

    def isns_state(self, state: str) -> None:
        """What `isns_state` is to show; nothing where the kernel's part knows of no such thing."""
        try:
            self._ioctl(ISNS, IsnsStateStruct(state=_line(state)))
        except OSError as error:
            if error.errno != errno.ENOTTY:
                raise

    def drop(self, tsih: int, seconds: int | None = None) -> None:
        """End a session."""
        self._ioctl(DROP, DropStruct(how=int(seconds is not None), tsih=tsih, seconds=seconds or 0))

    def text(self, after: int) -> Asked | None:
        """The next text; None also where the kernel's part knows of none yet."""
        room = ctypes.create_string_buffer(_TEXT)
        found = TextStruct(number=after, data=ctypes.addressof(room), len=_TEXT)
        try:
            self._ioctl(TEXT, found)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTTY):
                raise
            return None
        flags, data = found.flags, room.raw[: found.len]
        request = TextRequest(
            bool(flags & _FINAL), bool(flags & _CONTINUE), found.tag, found.transfer_tag, 0, 0, data=data
        )
        return Asked(found.number, found.tsih, request, found.max_xmit)

    def answer(self, number: int, said: Said) -> None:
        """Answer it."""
        data = ctypes.create_string_buffer(said.data, len(said.data))
        flags = said.final * _FINAL | said.more * _CONTINUE
        answer = TextAnswerStruct(
            flags=flags,
            reject=said.reject,
            number=number,
            data=ctypes.addressof(data),
            len=len(said.data),
            transfer_tag=said.transfer_tag,
            max_xmit=said.max_xmit,
        )
        self._ioctl(TEXT_ANSWER, answer)

    def events(self) -> list[Event]:
        """What has happened."""
        size = ctypes.sizeof(EventStruct)
        try:
            data = os.read(self._fd, size * _EVENTS)
        except BlockingIOError:
            return []
        found = [EventStruct.from_buffer_copy(data, at) for at in range(0, len(data) - size + 1, size)]
        return [Event(event.type, event.tsih, event.reason, event.lost) for event in found]

    def fileno(self) -> int:
        """To poll for events."""
        return self._fd

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


def _line(state: str) -> bytes:
    """As much of it as there is room for."""
    return state.encode()[: _STATE - 1].decode(errors="ignore").encode()


def adopt_struct(login: LoggedIn, fd: int, wait_ms: int) -> AdoptStruct:
    """What is handed over, but for where the response is."""
    values, params = login.values, login.target.params
    return AdoptStruct(
        fd=fd,
        target=login.target.name.encode(),
        initiator=login.initiator.encode(),
        portal=login.connection.portal.encode(),
        isid=(ctypes.c_uint8 * 6)(*login.isid),
        cid=login.cid,
        stat_sn=login.stat_sn,
        exp_cmd_sn=login.exp_cmd_sn,
        max_xmit=values.max_xmit,
        max_recv=values.max_recv,
        max_burst=values.max_burst,
        first_burst=values.first_burst,
        max_outstanding_r2t=values.max_outstanding_r2t,
        queue_depth=params.queue_depth,
        nop_interval=params.nop_interval,
        nop_timeout=params.nop_timeout,
        send_timeout=params.send_timeout,
        wait_ms=wait_ms,
        initial_r2t=values.initial_r2t,
        immediate_data=values.immediate_data,
        header_digest=values.header_digest,
        data_digest=values.data_digest,
        protocol_level=values.protocol_level,
        response_len=len(login.response),
    )
